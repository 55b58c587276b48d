"""Measures as SQL: one number per row of a frame, from aggregates, expressions and neighbours."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlglot import exp

from toolkit.config.measures import Aggregate, Combined, Measure
from toolkit.config.node import Node
from toolkit.config.tables import Relation
from toolkit.config.time import Span, span
from toolkit.data import sql
from toolkit.data.sql import Expression, col
from toolkit.data.tables import KNOWN, TIME, Loaded, Tables
from toolkit.errors import ConfigError, did_you_mean
from toolkit.prepare.aggregate import GAPS, Item, aggregate
from toolkit.prepare.frame import (
    CUTOFF,
    END,
    ENTITY,
    OWNER,
    ROW,
    Frame,
    Look,
    Query,
    Source,
    admit,
    clocks,
    filled,
    need_column,
    need_table,
    on_row,
    sub,
)

__all__ = ["CUTOFF", "END", "ENTITY", "ROW", "Neighbour", "Source", "measure", "neighbours"]
_counter = itertools.count()


def nodes(declared: Any) -> Iterator[Node]:
    """A declaration and everything inside it, at any depth."""
    if isinstance(declared, Node):
        yield declared
        declared = [getattr(declared, key) for key in type(declared).model_fields]
    elif isinstance(declared, Mapping):
        declared = list(declared.values())
    if isinstance(declared, list | tuple):
        for part in declared:
            yield from nodes(part)


def tables_of(declared: Any) -> set[str]:
    """Tables that a declaration names; relations are resolved by the caller."""
    return {node.table for node in nodes(declared) if isinstance(getattr(node, "table", None), str)}  # type: ignore[attr-defined]


def relations_of(declared: Any) -> set[str]:
    """Relations that a declaration goes over."""
    return {node.relation for node in nodes(declared) if hasattr(node, "relation")}


def measure(node: Measure, frame: Frame, tables: Tables, where: str, name: str = "value") -> Query:
    """One measure over a frame: a query with `@row` and one column `name`."""
    if isinstance(node, Aggregate):
        return _aggregate(node, frame, tables, where, name)
    if isinstance(node, Combined):
        return _combined(node, frame, tables, where, name)
    over = Neighbour(name, node.agg, node.weight, node.of, tuple(node.types or ()))
    return neighbours(node.relation, [over], frame, tables, where)


def window_of(text: str) -> Span | str | None:
    return None if text == "all" else text if text == "horizon" else span(text)


def _aggregate(node: Aggregate, frame: Frame, tables: Tables, where: str, name: str) -> Query:
    table = need_table(tables, node.table, f"{where}.table")
    if node.column:
        need_column(table, node.column, f"{where}.column")
        if node.agg in ("first", "last") and table.columns[node.column].type == "text":
            raise ConfigError(
                f"a measure is a number, and `{node.column}` is text",
                where=f"{where}.column",
                fix="a column of numbers; `kind: windows` has first and last of texts",
            )
    condition = admit(node.where, table, f"{where}.where")
    gap = node.agg in GAPS  # gaps are between the rows that the condition leaves
    item = Item(
        name, node.agg, node.column, None if gap else condition, window_of(node.window),
        span(node.period) if node.period else None,
    )  # fmt: skip
    return aggregate([item], table, frame, tables, where, condition if gap else None)


def joined_terms(
    terms: Mapping[str, Measure], frame: Frame, tables: Tables, where: str
) -> tuple[exp.Select, dict[str, exp.Expression], list[Query]]:
    """The frame with every term joined on; the terms as expressions, filled; their queries."""
    queries = [measure(term, frame, tables, f"{where}.{key}") for key, term in terms.items()]
    tree = exp.select(col(ROW, "f")).from_(sql.table(frame.name, "f"))
    values: dict[str, exp.Expression] = {}
    for index, (key, query) in enumerate(zip(terms, queries, strict=True)):
        alias = f"m{index}"
        tree = tree.join(sub(query.tree, alias), on=on_row(alias), join_type="left")
        values[key] = filled(col("value", alias), query.fills["value"])
    return tree, values, queries


def substitute(expression: Expression, values: Mapping[str, exp.Expression]) -> exp.Expression:
    """An admitted expression with each name replaced by a tree."""
    return expression.tree.transform(
        lambda node: exp.paren(values[node.name].copy()) if isinstance(node, exp.Column) else node
    )


def together(tree: exp.Select, queries: Sequence[Query], name: str) -> Query:
    """A tree over several queries as one query with the column `name`, all lineage kept."""
    sources = frozenset(s for query in queries for found in query.sources.values() for s in found)
    used = frozenset(table for query in queries for table in query.tables)
    steps = tuple(step for query in queries for step in query.steps)
    return Query(tree, steps, {name: None}, {name: sources}, used)


def _combined(node: Combined, frame: Frame, tables: Tables, where: str, name: str) -> Query:
    expression = sql.expression(node.value, node.terms, f"{where}.value")
    tree, values, queries = joined_terms(node.terms, frame, tables, f"{where}.terms")
    value = exp.cast(exp.paren(substitute(expression, values)), "DOUBLE")
    return together(tree.select(sql.named(value, name)), queries, name)


@dataclass(frozen=True)
class Neighbour:
    """One aggregate over neighbours; `types` empty: all kinds of relation."""

    name: str
    agg: str
    weight: bool
    of: Measure | None
    types: tuple[str, ...] = ()


def neighbours(
    relation_name: str, features: Sequence[Neighbour], frame: Frame, tables: Tables, where: str
) -> Query:
    """Aggregates over the entities that a relation connects to each row's entity.

    Every row of the relation is an edge; an edge counts if it was known at the cutoff (always, in an
    undated relation), whatever moment the neighbours' own measures look from. An entity is no
    neighbour of itself. A neighbour that is not among the entities has measures too, for example a
    count of 0. An edge without a weight counts as 1.
    """
    relation, table = relation_of(
        relation_name, tables, where, any(f.types for f in features), any(f.weight for f in features)
    )
    number = next(_counter)
    edges, others = f"edges {number}", f"nodes {number}"
    moments = [CUTOFF, END] if frame.at == END else [CUTOFF]
    steps: list[tuple[str, exp.Expression]] = [
        (edges, _edges(relation, table, frame, moments)),
        (others, _others(edges, moments)),
    ]
    tree = exp.select(col(ROW, "x")).from_(sql.table(edges, "x")).group_by(col(ROW, "x"))
    if any(feature.of is not None for feature in features):
        match: list[exp.Expression] = [exp.EQ(this=col(ENTITY, "n"), expression=col("@other", "x"))]
        match += [exp.NullSafeEQ(this=col(m, "n"), expression=col(m, "x")) for m in moments]
        tree = tree.join(sql.table(others, "n"), on=exp.and_(*match), join_type="inner")
    measures: dict[str, Query] = {}
    values: dict[str, exp.Expression] = {}
    for feature in features:
        if feature.of is None or (key := feature.of.model_dump_json()) in measures:
            continue
        query = measure(feature.of, replace(frame, name=others), tables, f"{where}.{feature.name}.of")
        alias = f"m{len(measures)}"
        tree = tree.join(sub(query.tree, alias), on=on_row(alias, "n"), join_type="left")
        measures[key] = query
        values[key] = exp.cast(filled(col("value", alias), query.fills["value"]), "DOUBLE")
        steps += query.steps

    fills: dict[str, float | None] = {}
    sources: dict[str, frozenset[Source]] = {}
    for feature in features:
        key = feature.of.model_dump_json() if feature.of is not None else ""
        tree = tree.select(sql.named(_over_edges(feature, values.get(key)), feature.name))
        fills[feature.name] = 0.0 if feature.agg in ("count", "sum") else None
        read = {*relation.ends, *clocks(table)} | ({relation.type} if relation.type else set())
        read |= {relation.weight} if feature.weight and relation.weight else set()
        inner = measures[key].sources["value"] if key else frozenset()
        sources[feature.name] = frozenset(table.sources(read)) | inner
    used = frozenset({table.name}).union(*(query.tables for query in measures.values()))
    return Query(tree, tuple(steps), fills, sources, used)


def relation_of(
    name: str, tables: Tables, where: str, typed: bool, weighted: bool
) -> tuple[Relation, Loaded]:
    """A declared relation and its table. typed, weighted: is its type, its weight asked for?"""
    relations = tables.dataset.relations
    if name not in relations:
        raise ConfigError(
            f"no relation is called `{name}`", where=f"{where}.relation", fix=did_you_mean(name, relations)
        )
    relation = relations[name]
    for what, asked in (("weight", weighted), ("type", typed)):
        if asked and not getattr(relation, what):
            raise ConfigError(
                f"relation `{name}` declares no `{what}`",
                where=where,
                fix=f"dataset.relations.{name}.{what}: <column>",
            )
    return relation, need_table(tables, relation.table, f"dataset.relations.{name}")


def edge_rows(relation: Relation, table: Loaded) -> exp.Select:
    """The relation's rows with `@first`, `@second`, `@type`, `@weight` and clocks; no entity is related to itself.

    A row that lacks an end is among them.
    """
    first, second = (col(end) for end in relation.ends)
    differ = exp.Coalesce(this=exp.NEQ(this=first, expression=second), expressions=[exp.true()])
    rows = exp.select(
        sql.named(first.copy(), "@first"), sql.named(second.copy(), "@second"), col(KNOWN), col(TIME), *_said(relation)
    )  # fmt: skip
    return rows.from_(sql.table(table.name)).where(differ)


def _said(relation: Relation) -> list[exp.Expression]:
    """The kind of each edge and its weight, 1 where there is none."""
    weight = exp.cast(col(relation.weight), "DOUBLE") if relation.weight else exp.null()
    kind = col(relation.type) if relation.type else exp.null()
    one = exp.Coalesce(this=weight, expressions=[sql.literal(1.0)])
    return [sql.named(kind, "@type"), sql.named(one, "@weight")]


def _edges(relation: Relation, table: Loaded, frame: Frame, moments: Sequence[str]) -> exp.Select:
    """Rows of the frame with the neighbours known at the cutoff: `@row`, `@other`, moments, `@type`, `@weight`."""

    def half(one: str, other: str) -> exp.Select:
        owner, neighbour = sql.named(col(one), OWNER), sql.named(col(other), "@other")
        rows = exp.select(owner, neighbour, col(KNOWN), col(TIME), *_said(relation))
        return rows.from_(sql.table(table.name)).where(exp.NEQ(this=col(one), expression=col(other)))

    first, second = relation.ends
    ways: exp.Query = half(first, second)
    if not relation.directed:
        ways = exp.Union(this=ways, expression=half(second, first), distinct=False)
    look = Look(replace(frame, at=CUTOFF, past_only=True), table)
    condition = sql.both(look.owned(), look.seen())
    look.columns |= {moment: col(moment) for moment in moments}
    return (
        exp.select(col(ROW, "f"), col("@other", "t"), *(col(m, "f") for m in moments),
                   col("@type", "t"), col("@weight", "t"))
        .from_(look.rows())
        .join(sub(ways, "t"), on=condition, join_type="inner")
    )  # fmt: skip


def _others(edges: str, moments: Sequence[str]) -> exp.Select:
    """The frame of neighbours: each with the moments that it is looked at from, once."""
    distinct = exp.select(sql.named(col("@other"), ENTITY), *(col(m) for m in moments)).distinct()
    number = sql.named(exp.Window(this=sql.call("row_number")), ROW)
    return exp.select(number, "*").from_(sub(distinct.from_(sql.table(edges)), "d"))


def _over_edges(feature: Neighbour, value: exp.Expression | None) -> exp.Expression:
    """One aggregate over the edges `x` of a row; value: the neighbour's measure."""
    kinds = None
    if feature.types:
        kinds = exp.In(this=col("@type", "x"), expressions=[sql.literal(kind) for kind in feature.types])

    def when(node: exp.Expression, *extra: exp.Expression) -> exp.Expression:
        return sql.over(node, sql.both(kinds and kinds.copy(), *extra))

    def or_zero(node: exp.Expression) -> exp.Expression:
        return exp.Coalesce(this=node, expressions=[sql.literal(0)])

    weight = col("@weight", "x")
    if value is None:
        return or_zero(when(exp.Sum(this=weight) if feature.weight else exp.Count(this=exp.Star())))
    product = exp.Mul(this=value.copy(), expression=weight) if feature.weight else value.copy()
    if feature.agg == "sum":
        return or_zero(when(exp.Sum(this=product)))
    if feature.agg == "max":
        return when(exp.Max(this=product))
    if not feature.weight:
        return when(exp.Avg(this=product))
    present = exp.not_(exp.Is(this=value.copy(), expression=exp.null()))
    weights = when(exp.Sum(this=weight.copy()), present)
    return exp.Div(
        this=when(exp.Sum(this=product)), expression=exp.Nullif(this=weights, expression=sql.literal(0))
    )
