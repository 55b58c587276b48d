"""Conditions on what happened before the cutoff, for choosing rows of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from toolkit.config.measures import Condition
from toolkit.config.time import span
from toolkit.data import sql
from toolkit.data.sql import col
from toolkit.data.tables import KNOWN, TIME, Tables
from toolkit.errors import ConfigError
from toolkit.prepare.frame import (
    CUTOFF,
    OWNER,
    ROW,
    Frame,
    Look,
    Query,
    Source,
    admit,
    clocks,
    filled,
    link,
    need_table,
    on_row,
    sub,
)


def condition(node: Condition, frame: Frame, tables: Tables, where: str) -> Query:
    """How often something happened in (cutoff - ending - within, cutoff - ending]: a query with `@row` and `count`."""
    table = need_table(tables, node.table, f"{where}.table")
    if not table.spec.clock and (node.within or node.ending):
        raise ConfigError(
            f"table `{table.name}` has no clock, so nothing in it lies `within` a span",
            where=where,
            fix=f"declare `clock` for table `{table.name}`, or leave out `within` and `ending`",
        )
    admitted = admit(node.where, table, f"{where}.where")
    rows = exp.select(sql.named(col(link(table, tables)), OWNER), col(KNOWN), col(TIME))
    rows = rows.from_(sql.table(table.name))
    if admitted:
        rows = rows.where(admitted.of(table.name))
    look = Look(replace(frame, at=CUTOFF, past_only=True), table)
    on = sql.both(look.owned(), look.seen())
    ending, within = (span(text) if text else None for text in (node.ending, node.within))
    before = [ending] if ending else []
    if ending:
        on = sql.both(on, exp.LTE(this=col(TIME, "t"), expression=look.back(ending)))
    if within:
        on = sql.both(on, exp.GT(this=col(TIME, "t"), expression=look.back(*before, within)))
    tree = (
        exp.select(col(ROW, "f"), sql.named(exp.Count(this=exp.Star()), "count"))
        .from_(look.rows())
        .join(sub(rows, "t"), on=on, join_type="inner")
        .group_by(col(ROW, "f"))
    )
    used = set(admitted.columns if admitted else ()) | clocks(table)
    return Query(tree, (), {"count": 0.0}, {"count": frozenset(table.sources(used))}, frozenset({table.name}))


def filtered(
    rows: exp.Select, having: Sequence[Condition], frame: Frame, tables: Tables, where: str
) -> exp.Select:
    """Rows of a frame (alias `f`) for which all conditions hold."""
    for index, node in enumerate(having):
        query = condition(node, frame, tables, f"{where}.{index}")
        alias = f"h{index}"
        count = filled(col("count", alias), 0.0)
        rows = rows.join(sub(query.tree, alias), on=on_row(alias), join_type="left")
        rows = rows.where(exp.GTE(this=count, expression=sql.literal(node.at_least)))
        if node.at_most is not None:
            rows = rows.where(exp.LTE(this=count.copy(), expression=sql.literal(node.at_most)))
    return rows


def read_by(having: Sequence[Condition], frame: Frame, tables: Tables, where: str) -> frozenset[Source]:
    """The columns that conditions look at."""
    queries = [condition(node, frame, tables, f"{where}.{index}") for index, node in enumerate(having)]
    return frozenset().union(*(query.sources["count"] for query in queries))
