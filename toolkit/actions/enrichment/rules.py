"""The provider `template`: declared rules over a row's fields, evaluated by the engine. Offline, always the same."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from sqlglot import exp

from toolkit.actions.enrichment.text import cut, one_line, shown
from toolkit.config.enrichment import PLACEHOLDER, Rows, Text
from toolkit.data import sql
from toolkit.data.engine import Engine
from toolkit.errors import DataError

TABLE, AT = "fields", "@at"


def admitted(node: Rows) -> dict[str, exp.Expression]:
    """Output → the number of the first rule that holds, as SQL; -1 where none does.

    Raises ConfigError for a condition that is no plain expression over fields and earlier outputs.
    """
    found: dict[str, exp.Expression] = {}
    known: list[str] = [*node.fields]
    for name, output in node.output.items():
        whens = [sql.expression(rule.when, known, f"enrichment.output.{name}.rules.{i}.when").tree
                 for i, rule in enumerate(output.rules)]  # fmt: skip
        found[name] = _first(whens)
        known.append(name)
    return found


def _first(conditions: list[exp.Expression]) -> exp.Expression:
    none = sql.literal(-1)
    if not conditions:
        return none
    ifs = [exp.If(this=condition, true=sql.literal(i)) for i, condition in enumerate(conditions)]
    return exp.Case(ifs=ifs, default=none)


def fill(node: Rows, fields: pa.Table) -> list[dict[str, str]]:
    """Output → value for each row. fields: one column per declared field, named so [rows]."""
    firsts = admitted(node)
    rows: list[dict[str, Any]] = fields.to_pylist()
    written: list[dict[str, str]] = [{} for _ in rows]
    if not rows:
        return written
    table = fields.append_column(AT, pa.array(range(len(rows)), pa.int64()))
    engine = Engine(threads=1)
    try:
        for name, output in node.output.items():
            engine.register(TABLE, table)
            query = exp.select(sql.named(firsts[name], "rule")).from_(sql.table(TABLE)).order_by(sql.col(AT))
            try:
                held = engine.arrow(query)["rule"].to_pylist()
            except DataError as error:
                error.where, error.fix = (
                    f"enrichment.output.{name}.rules",
                    "compare fields with values of their type",
                )
                raise
            for at, rule in enumerate(held):
                value = output.otherwise if rule < 0 else output.rules[rule].value
                if isinstance(output, Text):
                    value = _sentence(value, rows[at] | written[at], output.at_most)
                written[at][name] = value
            table = table.append_column(name, pa.array([row[name] for row in written], pa.string()))
    finally:
        engine.close()
    return written


def _sentence(pattern: str, given: dict[str, Any], at_most: int) -> str:
    return cut(one_line(PLACEHOLDER.sub(lambda found: shown(given.get(found[1])), pattern)), at_most)


def selected(node: Rows, table: pa.Table) -> pa.Table:
    """The declared fields of a list, under the names that prompts and rules know them by."""
    return pa.table({name: table[column] for name, column in node.fields.items()})
