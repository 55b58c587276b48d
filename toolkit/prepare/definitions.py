"""What happens within a horizon, as SQL: rows, no rows, a silence, or any of several such definitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sqlglot import exp

from toolkit.config.measures import Aggregate
from toolkit.config.targets import Absence, AnyOf, Lull, Occurrence
from toolkit.config.time import span
from toolkit.data import sql
from toolkit.data.sql import col
from toolkit.data.tables import TIME, Tables
from toolkit.prepare.frame import (
    OWNER,
    ROW,
    Frame,
    Look,
    Query,
    admit,
    clocks,
    filled,
    later,
    link,
    need_table,
    on_row,
    sub,
)
from toolkit.prepare.measure import measure, together


def happening(node: Occurrence | Absence | Lull | AnyOf, frame: Frame, tables: Tables, where: str) -> Query:
    """A query with `@row` and `value`, over a frame that looks from the end of a horizon.

    value: how many rows (event_within, inactivity), whether there is a silence (0/1), and of `any_of` the sum of
    2^i over the definitions that hold, i = 0, 1, … in the order of declaration.
    """
    if isinstance(node, AnyOf):
        return _any_of(node, frame, tables, where)
    if isinstance(node, Lull):
        return _silence(node, frame, tables, where)
    of = Aggregate(table=node.table, agg="count", where=node.where, window="horizon")
    return measure(of, frame, tables, where)


def shares(node: AnyOf, values: np.ndarray) -> dict[str, float]:
    """Share of the rows in which each definition holds, and in which more than one does (`several`).

    values [rows]: raw values of `any_of`, as `happening` gives them.
    """
    held = values.astype(np.int64)
    found = {name: float((held >> bit & 1).mean()) for bit, name in enumerate(node.definitions)}
    return found | {"several": float((np.bitwise_count(held) > 1).mean())}


def _any_of(node: AnyOf, frame: Frame, tables: Tables, where: str) -> Query:
    total: exp.Expression = sql.literal(0)
    tree = exp.select(col(ROW, "f")).from_(sql.table(frame.name, "f"))
    queries = []
    for bit, (name, definition) in enumerate(node.definitions.items()):
        query, alias = happening(definition, frame, tables, f"{where}.definitions.{name}"), f"d{bit}"
        tree = tree.join(sub(query.tree, alias), on=on_row(alias), join_type="left")
        holds = _holds(definition)(filled(col("value", alias), query.fills["value"]))
        total = exp.Add(
            this=total, expression=exp.Case().when(holds, sql.literal(2**bit)).else_(sql.literal(0))
        )
        queries.append(query)
    return together(tree.select(sql.named(exp.cast(exp.paren(total), "DOUBLE"), "value")), queries, "value")


def _holds(node: Occurrence | Absence | Lull) -> Callable[[exp.Expression], exp.Expression]:
    if isinstance(node, Occurrence):
        return lambda value: exp.GTE(this=value, expression=sql.literal(node.at_least))
    return lambda value: exp.EQ(this=value, expression=sql.literal(0 if isinstance(node, Absence) else 1))


def _silence(node: Lull, frame: Frame, tables: Tables, where: str) -> Query:
    """Is there a moment m in (cutoff, end] without a row in (m - lasting, m]?

    So it is if there is no row in (cutoff - lasting, cutoff], if none follows a row for longer than
    `lasting`, or if the last one lies `lasting` or longer before the end. Rows before cutoff - lasting
    play no part: an entity without later ones is silent, which is what `fills` says.
    """
    table, lasting = need_table(tables, node.table, f"{where}.table"), span(node.lasting)
    admitted = admit(node.where, table, f"{where}.where")
    rows = exp.select(sql.named(col(link(table, tables)), OWNER), col(TIME)).from_(sql.table(table.name))
    if admitted:
        rows = rows.where(admitted.of(table.name))
    look = Look(frame, table)
    time, follows = col(TIME, "t"), exp.Window(
        this=sql.call("lead", col(TIME, "t")),
        partition_by=[col(ROW, "f")],
        order=exp.Order(expressions=[exp.Ordered(this=col(TIME, "t"))]),
    )  # fmt: skip
    inside = exp.GT(this=time, expression=look.before_cutoff(lasting))
    at_cutoff = exp.LTE(this=time.copy(), expression=look.cutoff)
    at_end = exp.LTE(this=time.copy(), expression=look.back(lasting))
    seen = sql.both(look.owned(), look.seen(), inside)
    points = exp.select(
        col(ROW, "f"), sql.named(time.copy(), "time"), sql.named(follows, "next"),
        sql.named(at_cutoff, "before"), sql.named(at_end, "long ago"),
    ).from_(look.rows()).join(sub(rows, "t"), on=seen, join_type="inner")  # fmt: skip
    by = later(col("time", "p"), lasting, look)
    ends = exp.Coalesce(this=exp.GT(this=col("next", "p"), expression=by), expressions=[col("long ago", "p")])
    silent = exp.or_(sql.call("bool_or", ends), exp.not_(sql.call("bool_or", col("before", "p"))))
    value = exp.cast(exp.paren(silent), "DOUBLE")
    tree = (
        exp.select(col(ROW, "p"), sql.named(value, "value")).from_(sub(points, "p")).group_by(col(ROW, "p"))
    )
    used = set(admitted.columns if admitted else ()) | clocks(table)
    return Query(tree, (), {"value": 1.0}, {"value": frozenset(table.sources(used))}, frozenset({table.name}))
