"""One row of the entity table, as its columns stand in a file, to the row's features.

The statements are those that read whole files: the contract's (`toolkit.data.ingest`), the cohort's and the
feature sets', put together into one query that is planned once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlglot import exp

from toolkit.config.calendars import Calendar
from toolkit.config.features import Attributes, Expressions
from toolkit.config.modalities import RawText
from toolkit.config.tables import Column, Table
from toolkit.data import contract, ingest, sql
from toolkit.data.contract import A_NAME
from toolkit.data.engine import Engine
from toolkit.data.rejects import RAW, REASON, ROW, TYPED
from toolkit.data.sql import Expression, col
from toolkit.data.tables import Loaded, Tables
from toolkit.errors import ConfigError, DataError
from toolkit.models.encode import shortened
from toolkit.prepare import cohort as cohorts
from toolkit.prepare.cohort import COHORT
from toolkit.prepare.compiled import Declaration
from toolkit.prepare.expressions import compile_expressions
from toolkit.prepare.features import CompiledSet, compile_set
from toolkit.prepare.raw_texts import TEXT, CompiledRawText, compile_raw_text

QUERY, INSIDE, NOBODY = "@one row", "@inside", "@nobody"
Step = tuple[str, exp.Expression]


class Cells:
    """The entity table's columns of single rows → features, and texts by their sets. Not for several threads at once.

    Raises ConfigError if the declared features need more than those columns: another table, or a moment.
    """

    def __init__(self, declared: Declaration, labels: Iterable[tuple[str, str]]) -> None:
        """labels: (table, column) pairs that rows need not have; no feature reads them."""
        name = declared.dataset.entity
        _columns_are_enough(declared)
        self.name, self.table = name, declared.dataset.tables[name]
        self.key = self.table.keys[0]
        self.labels = {column for table, column in labels if table == name}
        self.columns = {c: column for c, column in self.table.columns.items() if c not in self.labels}
        derive = _derived(name, self.table, self.labels)
        self.place = list(self.columns).index(self.key)
        self.needs_key = any(self.key in one.columns for one in derive.values())
        self.where = declared.cohort.where
        self.checked = contract.checked_columns(self.table, self.columns)
        self.limited = contract.limited_columns(self.columns)

        self.engine = Engine(threads=1, memory="1GB")
        typed, _ = ingest.typed_rows(self.columns, RAW)
        read = [(TYPED, typed), (name, ingest.whole_rows(self.table, self.columns, derive, None))]
        empty = [(RAW, _raw(self.columns, [exp.null()] * len(self.columns))), *read]
        schema = self.engine.arrow(_with(empty, exp.select("*").from_(sql.table(name)))).schema
        types = self.columns | ingest.derived_types(derive, schema)
        sources = {c: tuple(sorted(one.columns)) for c, one in derive.items()}
        loaded = Loaded(name, self.table, Path(), "the row", "", 1, 1, {}, types, derived=sources)
        tables = Tables(declared.dataset, {name: loaded})
        given = [exp.Parameter(this=exp.Literal.number(place + 1)) for place in range(len(self.columns))]
        steps = [(RAW, _raw(self.columns, given)), *read, *cohorts.statements(declared.cohort, (), tables)]
        tree = exp.select(col(REASON, TYPED)).from_(sql.table(TYPED))
        tree = tree.join(sql.table(COHORT), on=exp.true(), join_type="left")
        tree = tree.select(sql.named(exp.Is(this=col(ROW, COHORT), expression=exp.null()), "@outside"))
        tree = tree.select(*(sql.named(col(c, TYPED), f"@{c}") for c in self.checked))
        self.features: list[str] = []
        frame = cohorts.looking_back(declared.cohort)
        parts: dict[str, CompiledSet] = {}
        for set_name, node in declared.features.items():
            if isinstance(node, RawText):
                parts[set_name] = compile_raw_text(set_name, node, tables, frame)
            elif not isinstance(node, Expressions):
                parts[set_name] = compile_set(set_name, node, tables, frame, frozenset())  # type: ignore[arg-type]
        made = {
            set_name: compile_expressions(set_name, node, parts, frame)
            for set_name, node in declared.features.items()
            if isinstance(node, Expressions)
        }
        for set_name, part in (parts | made).items():
            own = f"@set {set_name}"
            steps.append((own, part.query.tree))
            same = exp.EQ(this=col(ROW, COHORT), expression=col(ROW, own))
            tree = tree.join(sql.table(own), on=same, join_type="left")
            if isinstance(part, CompiledRawText):
                tree = tree.select(sql.named(col(TEXT, own), set_name))
                self.features.append(set_name)
                continue
            for feature in part.features:
                kind = "VARCHAR" if feature.kind == "categorical" else "DOUBLE"
                tree = tree.select(sql.named(exp.cast(col(feature.column, own), kind), feature.name))
                self.features.append(feature.name)
        self.engine.prepare(QUERY, _with(steps, tree))

    @property
    def names(self) -> list[str]:
        """What a row may have: the table's columns, its labels too, which are not looked at."""
        return [*self.columns, *sorted(self.labels)]

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Features of a row given as column → value; absent and None are missing.

        Raises DataError where the row breaks the table's contract, or is none of the cohort.
        """
        cells = [_text(name, row.get(name), column) for name, column in self.columns.items()]
        if not cells[self.place].strip() and not self.needs_key:  # whose row it is decides nothing
            cells[self.place] = NOBODY
        found = self.engine.asked(QUERY, cells)
        assert found is not None
        reason, outside, *values = found
        if why := reason or self._broken(values[: len(self.checked)]):
            cell = next((name for name in row if f"`{name}`" in why), None)
            raise DataError(
                f"the row breaks the contract of table `{self.name}`: {why}",
                where=cell,
                why=f"it has {shortened(row[cell])}" if cell else None,
                fix="correct the row, or leave the column out where it is missing",
            )
        if outside:
            raise DataError(
                "the row is none of the cohort",
                where="cohort.where",
                why=f"of a table, only rows for which `{self.where}` holds are scored",
            )
        return dict(zip(self.features, values[len(self.checked) :], strict=True))

    def _broken(self, values: Sequence[Any]) -> str | None:
        """Why typed values of the checked columns break the contract, if they do."""
        required = contract.required(self.table, self.columns)
        for name, value in zip(self.checked, values, strict=True):
            if value is None and name in required:
                return f"`{name}` is missing"
        if not self.limited:
            return None
        import pandas as pd

        frame = pd.DataFrame({name: [value] for name, value in zip(self.checked, values, strict=True)})
        return next((text for _, text in contract.violations(self.table, self.columns, frame)), None)


def _columns_are_enough(declared: Declaration) -> None:
    """ConfigError if a row of the entity table alone does not say what the features are."""
    entity = declared.dataset.entity
    fix = "give the features themselves"
    if declared.cohort.cutoffs is not None:
        raise ConfigError("the cohort has cutoffs: its features are of a moment", where="cohort", fix=fix)
    for name, node in declared.features.items():
        own = isinstance(node, Attributes | RawText) and node.table == entity
        own |= isinstance(node, Calendar) and node.table in (None, entity)
        own |= isinstance(node, Expressions)  # of the other sets' features
        if not own:
            raise ConfigError(
                f"feature set `{name}` is made of more than the columns of `{entity}`",
                where=f"features.{name}",
                fix=fix,
            )
    if declared.dataset.tables[entity].score:
        raise ConfigError(f"texts of `{entity}` are scored", where=f"dataset.tables.{entity}.score", fix=fix)
    if declared.cohort.having or any(t.on_bad_row == "leave_out" for t in declared.dataset.tables.values()):
        raise ConfigError("who is in the cohort depends on other tables", where="cohort", fix=fix)


def _derived(name: str, table: Table, absent: set[str]) -> dict[str, Expression]:
    """The derived columns that need none of the absent ones."""
    where = f"dataset.tables.{name}.derive"
    found = {c: sql.expression(text, table.columns, f"{where}.{c}") for c, text in table.derive.items()}
    return {c: one for c, one in found.items() if not one.columns & absent}


def _raw(columns: Mapping[str, Column], cells: Sequence[exp.Expression]) -> exp.Select:
    named = (sql.named(exp.cast(cell, "VARCHAR"), name) for name, cell in zip(columns, cells, strict=True))
    return exp.select(sql.named(sql.literal(1), ROW), *named)


def _with(steps: Sequence[Step], tree: exp.Select) -> exp.Select:
    """A query over earlier ones, by name."""
    for name, step in steps:
        alias = exp.TableAlias(this=exp.to_identifier(name, quoted=True))
        tree = tree.with_(alias, as_=step, copy=False)
    return tree


def _text(name: str, value: Any, column: Column) -> str:
    """A JSON value as a file would hold it: what is missing is blank (a NULL would have the query planned anew)."""
    if value is None:
        return ""
    if isinstance(value, str):
        if "\0" in value:
            raise DataError(f"`{name}` holds a character that no text may hold (NUL)", where=name)
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if value != value:
            return ""
        text = np.format_float_positional(value, trim="-") if np.isfinite(value) else str(value)
        return text.replace(".", ",") if column.decimal == "," else text
    raise DataError(
        f"`{name}` is {A_NAME[column.type]}, and the row has {shortened(value)}",
        where=name,
        fix="give a text, a number, true or false, or null where it is missing",
    )
