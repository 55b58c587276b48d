"""Measures as SQL: one number per row of a frame, from what lies in a window.

A *frame* is a table with `@row`, `entity`, `cutoff` and, for targets, `horizon_end`. An aggregate
joins a table's rows to the frame's by entity and looks at those with

    @known <= cutoff                     for features: what was known
    at - window < @time <= at            at = cutoff, or horizon_end for targets

The queries return `@row` and values only for rows that have something; `Item.fill` says what the
others have. That spares a join and a sort over the whole frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlglot import exp

from toolkit.config.measures import Aggregate, Combined, Condition, Measure, OverRelation
from toolkit.config.time import Span, span
from toolkit.data import sql
from toolkit.data.sql import Expression, col
from toolkit.data.tables import KNOWN, TIME, Loaded, Tables
from toolkit.errors import ConfigError, did_you_mean

ROW, ENTITY, CUTOFF, END = "@row", "entity", "cutoff", "horizon_end"
ZERO = {"count", "exists", "sum", "days", "nunique", "share_of_periods"}
GAPS = {"gap_mean": exp.Avg, "gap_std": exp.StddevSamp, "gap_max": exp.Max, "gap_last": None}
WITHOUT_WINDOW = {"days_since_last", "days_since_first", "share_of_periods", "acceleration", *GAPS}
Source = tuple[str, str]


@dataclass(frozen=True)
class Frame:
    """A table of moments to look from. `at`: the column that windows end at; `past_only`: @known <= cutoff."""

    name: str
    at: str = CUTOFF
    past_only: bool = True
    horizon: Span | None = None


@dataclass(frozen=True)
class Item:
    """One aggregate in a query. `window`: a span before `at`, None for all, "horizon" for what follows the cutoff."""

    name: str
    agg: str
    column: str | None = None
    where: Expression | None = None
    window: Span | str | None = None
    period: Span | None = None
    value: str | None = None  # for share
    short: Span | None = None
    long: Span | None = None

    @property
    def fill(self) -> float | None:
        return 0.0 if self.agg in ZERO else None


@dataclass(frozen=True)
class Query:
    """A tree and the tables that must be kept before it runs; columns it returns besides `@row`."""

    tree: exp.Select
    steps: tuple[tuple[str, exp.Expression], ...] = ()
    fills: dict[str, float | None] = field(default_factory=dict)
    sources: dict[str, frozenset[Source]] = field(default_factory=dict)
    tables: frozenset[str] = frozenset()


def link(table: Loaded, tables: Tables) -> str:
    """The column that holds the entity's key."""
    if table.spec.entity:
        return table.spec.entity
    if table.name == tables.dataset.entity:
        return table.spec.keys[0]
    raise ConfigError(
        f"table `{table.name}` does not say which column holds the entity's key",
        where=f"dataset.tables.{table.name}.entity",
        fix="name it: `entity: <column>`",
    )


def admit(text: str | None, table: Loaded, where: str) -> Expression | None:
    return sql.expression(text, table.columns, where) if text else None


def window_of(text: str) -> Span | str | None:
    return None if text == "all" else text if text == "horizon" else span(text)


def need_column(table: Loaded, name: str, where: str) -> str:
    if name not in table.columns:
        raise ConfigError(
            f"table `{table.name}` has no column `{name}`", where=where, fix=did_you_mean(name, table.columns)
        )
    return name


def need_table(tables: Tables, name: str, where: str) -> Loaded:
    if name not in tables.loaded:
        raise ConfigError(
            f"no table is called `{name}`", where=where, fix=did_you_mean(name, tables.dataset.tables)
        )
    return tables.loaded[name]


def aggregate(
    items: Sequence[Item],
    table: Loaded,
    frame: Frame,
    tables: Tables,
    where: str,
    only: Expression | None = None,
) -> Query:
    """Several aggregates of one table in one pass.

    only: a condition on the table's rows that all items share. Returns one column per item.
    """
    dated = table.spec.clock is not None
    if not dated and any(
        item.window is not None
        or item.agg.startswith(("days", "gap", "slope", "first", "last", "accel"))
        or item.period
        for item in items
    ):
        raise ConfigError(
            f"table `{table.name}` has no clock, so it has no windows, recency or order",
            where=where,
            fix="use `windows: [all]` with count, sum, mean …, or declare its `clock`",
        )
    at, cutoff = col(frame.at, "f"), col(CUTOFF, "f")
    time = col(TIME, "t")
    rows, gap_by_row = _rows(items, table, tables, only)
    visible: exp.Expression | None = None
    if dated:
        visible = exp.LTE(this=time, expression=at)
        if frame.past_only:
            visible = sql.both(exp.LTE(this=col(KNOWN, "t"), expression=cutoff), visible)
        visible = sql.both(visible, _widest(items, time, at, cutoff))
    joined = exp.EQ(this=col("@entity", "t"), expression=col(ENTITY, "f"))
    gap = col("@gap", "t")
    select = [sql.named(_value(item, time, at, cutoff, gap), item.name) for item in items]
    if gap_by_row:
        rows = _gaps_by_row(rows, frame, sql.both(joined, visible))
        tree = (
            exp.select(col(ROW, "t"), *[s.transform(_one_alias) for s in select])
            .from_(rows)
            .group_by(col(ROW, "t"))
        )
    else:
        tree = (
            exp.select(col(ROW, "f"), *select)
            .from_(sql.table(frame.name, "f"))
            .join(rows, on=sql.both(joined, visible), join_type="inner")
            .group_by(col(ROW, "f"))
        )
    sources = {}
    for item in items:
        used = set(item.where.columns if item.where else ()) | set(only.columns if only else ())
        used |= {name for name in (item.column, table.spec.event_time or table.spec.clock) if name}
        sources[item.name] = frozenset(table.sources(used))
    return Query(tree, (), {item.name: item.fill for item in items}, sources, frozenset({table.name}))


def _one_alias(node: exp.Expression) -> exp.Expression:
    """Gap queries have frame and table in one subquery `t`."""
    return col(node.name, "t") if isinstance(node, exp.Column) and node.table == "f" else node


def _rows(
    items: Sequence[Item], table: Loaded, tables: Tables, only: Expression | None
) -> tuple[exp.Subquery, bool]:
    """The table's rows as `t`, with `@gap` (days since the one before) where an item asks for it.

    Where rows are known when they happen, the row before is the same from every cutoff, and one pass
    over the table finds it. Where they become known later, it depends on the cutoff: (…, True).
    """
    names = sorted(
        {item.column for item in items if item.column}
        | {name for item in items if item.where for name in item.where.columns}
    )
    columns = [
        sql.named(col(link(table, tables)), "@entity"),
        *(col(n) for n in names),
        col(KNOWN),
        col(TIME),
    ]
    gap_by_row = False
    if any(item.agg in GAPS for item in items):
        gap_by_row = table.spec.event_time is not None
        if not gap_by_row:
            columns.append(sql.named(_gap(col(link(table, tables)), col(TIME)), "@gap"))
    rows = exp.select(*columns).from_(sql.table(table.name))
    if only is not None:
        rows = rows.where(only.of(table.name))
    return _sub(rows, "t"), gap_by_row


def _gap(partition: exp.Expression, time: exp.Expression) -> exp.Expression:
    before = exp.Window(
        this=exp.Lag(this=time),
        partition_by=[partition],
        order=exp.Order(expressions=[exp.Ordered(this=time)]),
    )
    return sql.days_between(before, time)


def _gaps_by_row(rows: exp.Subquery, frame: Frame, condition: exp.Expression | None) -> exp.Subquery:
    seen = (
        exp.select(col(ROW, "f"), col(CUTOFF, "f"), *([col(frame.at, "f")] if frame.at != CUTOFF else []),
                   exp.Column(this=exp.Star(), table=exp.to_identifier("t", quoted=True)),
                   sql.named(_gap(col(ROW, "f"), col(TIME, "t")), "@gap"))
        .from_(sql.table(frame.name, "f")).join(rows, on=condition, join_type="inner")
    )  # fmt: skip
    return _sub(seen, "t")


def _sub(select: exp.Select, alias: str) -> exp.Subquery:
    return exp.Subquery(this=select, alias=exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))


def _widest(
    items: Sequence[Item], time: exp.Expression, at: exp.Expression, cutoff: exp.Expression
) -> exp.Expression | None:
    """What bounds every item's window, so that the join need not look further back."""
    spans = []
    for item in items:
        window = item.long or item.window
        if not isinstance(window, Span):
            spans = []
            break
        spans.append(window)
    if spans:
        return exp.GT(this=time, expression=sql.minus(at, max(spans, key=lambda s: s.days)))
    if all(item.window == "horizon" for item in items):
        return exp.GT(this=time, expression=cutoff)
    return None


def _inside(
    window: Span | str | None, time: exp.Expression, at: exp.Expression, cutoff: exp.Expression
) -> exp.Expression | None:
    if window is None:
        return None
    return exp.GT(this=time, expression=cutoff if window == "horizon" else sql.minus(at, window))  # type: ignore[arg-type]


def _value(
    item: Item, time: exp.Expression, at: exp.Expression, cutoff: exp.Expression, gap: exp.Expression
) -> exp.Expression:
    """One item as an aggregate expression over the joined rows."""
    condition = sql.both(_inside(item.window, time, at, cutoff), item.where.of("t") if item.where else None)
    value = col(item.column, "t") if item.column else None
    count = exp.Count(this=exp.Star())

    def when(aggregate: exp.Expression, extra: exp.Expression | None = None) -> exp.Expression:
        return sql.over(aggregate, sql.both(condition, extra))

    def number(node: exp.Expression) -> exp.Expression:
        return exp.cast(node, "DOUBLE")

    match item.agg:
        case "count":
            return when(count)
        case "exists":
            return exp.cast(exp.paren(exp.GT(this=when(count), expression=sql.literal(0))), "INT")
        case "sum":
            return exp.Coalesce(this=when(exp.Sum(this=number(value))), expressions=[sql.literal(0)])  # type: ignore[arg-type]
        case "mean":
            return when(exp.Avg(this=number(value)))  # type: ignore[arg-type]
        case "min" | "max":
            return when((exp.Min if item.agg == "min" else exp.Max)(this=value))
        case "std":
            return when(exp.StddevSamp(this=number(value)))  # type: ignore[arg-type]
        case "nunique":
            return when(exp.Count(this=exp.Distinct(expressions=[value])))
        case "days":
            day = exp.cast(time, "DATE")
            return when(exp.Count(this=exp.Distinct(expressions=[day])))
        case "first" | "last":
            # ordered by (time, value), so that simultaneous rows give the same answer every time
            return when(
                sql.call("arg_min" if item.agg == "first" else "arg_max", value, sql.call("row", time, value))
            )  # type: ignore[arg-type]
        case "days_since_last":
            return sql.days_between(when(exp.Max(this=time)), exp.AnyValue(this=at))
        case "days_since_first":
            return sql.days_between(when(exp.Min(this=time)), exp.AnyValue(this=at))
        case "slope":  # least squares, units of the column per year
            years = exp.Div(this=exp.paren(sql.days_between(at, time)), expression=sql.literal(365.25))
            return when(sql.call("regr_slope", number(value), years))  # type: ignore[arg-type]
        case "share_of_periods":
            assert item.period is not None
            assert isinstance(item.window, Span)
            periods = max(1, round(item.window.days / item.period.days))
            hits = []
            for index in range(periods):
                end = replace(item.period, count=item.period.count * index) if index else None
                start = replace(item.period, count=item.period.count * (index + 1))
                inside = sql.both(
                    exp.GT(this=time, expression=sql.minus(at, start)),
                    exp.LTE(this=time, expression=sql.minus(at, end) if end else at),
                )
                hits.append(
                    exp.cast(exp.paren(exp.GT(this=when(count, inside), expression=sql.literal(0))), "INT")
                )
            total = hits[0]
            for hit in hits[1:]:
                total = exp.Add(this=total, expression=hit)
            return exp.Div(this=exp.paren(total), expression=sql.literal(float(periods)))
        case "share":
            some = when(count, exp.EQ(this=value, expression=sql.literal(item.value)))
            return exp.Div(
                this=number(some),
                expression=exp.Nullif(this=when(exp.Count(this=value)), expression=sql.literal(0)),
            )
        case "acceleration":  # rate in the short window over the rate in the long one
            what: exp.Expression = exp.Sum(this=number(value)) if value is not None else count
            assert item.short is not None
            assert item.long is not None
            short = exp.Coalesce(
                this=when(what, _inside(item.short, time, at, cutoff)), expressions=[sql.literal(0)]
            )
            long = when(what.copy(), _inside(item.long, time, at, cutoff))
            return exp.Div(
                this=exp.paren(exp.Div(this=number(short), expression=sql.literal(item.short.days))),
                expression=exp.Nullif(
                    this=exp.Div(this=number(long), expression=sql.literal(item.long.days)),
                    expression=sql.literal(0),
                ),
            )
        case "gap_last":
            return when(sql.call("arg_max", gap, sql.call("row", time, gap)))
        case agg if agg in GAPS:
            return when(GAPS[agg](this=gap))  # type: ignore[misc]
    raise AssertionError(item.agg)


_counter = itertools.count()


def measure(node: Measure, frame: Frame, tables: Tables, where: str, name: str = "value") -> Query:
    """One measure over a frame: a query with `@row` and one column `name`."""
    if isinstance(node, Aggregate):
        table = need_table(tables, node.table, f"{where}.table")
        if node.column:
            need_column(table, node.column, f"{where}.column")
        item = Item(
            name, node.agg, node.column, admit(node.where, table, f"{where}.where"), window_of(node.window),
            span(node.period) if node.period else None,
        )  # fmt: skip
        if item.window == "horizon" and frame.past_only:
            raise ConfigError(
                "a feature looks at what was known at the cutoff; `window: horizon` lies after it",
                where=f"{where}.window",
            )
        return aggregate([item], table, frame, tables, where)
    if isinstance(node, Combined):
        return _combined(node, frame, tables, where, name)
    return neighbours(
        node.relation,
        [Neighbour(name, node.agg, node.weight, node.of, tuple(node.types or ()))],
        frame,
        tables,
        where,
    )


def joined_terms(
    terms: dict[str, Measure], frame: Frame, tables: Tables, where: str
) -> tuple[exp.Select, dict[str, exp.Expression], list[Query]]:
    """The frame with every term joined on; the terms as expressions, filled; their queries."""
    queries = [measure(term, frame, tables, f"{where}.{key}", "value") for key, term in terms.items()]
    tree = exp.select().from_(sql.table(frame.name, "f"))
    values: dict[str, exp.Expression] = {}
    for index, (key, query) in enumerate(zip(terms, queries, strict=True)):
        alias = f"m{index}"
        on = exp.EQ(this=col(ROW, alias), expression=col(ROW, "f"))
        tree = tree.join(_sub(query.tree, alias), on=on, join_type="left")
        value: exp.Expression = col("value", alias)
        fill = query.fills["value"]
        values[key] = value if fill is None else exp.Coalesce(this=value, expressions=[sql.literal(fill)])
    return tree, values, queries


def substitute(expression: Expression, values: dict[str, exp.Expression]) -> exp.Expression:
    """An admitted expression with each name replaced by a tree."""
    return expression.tree.transform(
        lambda node: exp.paren(values[node.name].copy()) if isinstance(node, exp.Column) else node
    )


def merged(
    queries: Sequence[Query],
) -> tuple[tuple[tuple[str, exp.Expression], ...], frozenset[Source], frozenset[str]]:
    """Steps, sources and tables of several queries together."""
    return (
        tuple(step for query in queries for step in query.steps),
        frozenset(source for query in queries for sources in query.sources.values() for source in sources),
        frozenset(table for query in queries for table in query.tables),
    )


def _combined(node: Combined, frame: Frame, tables: Tables, where: str, name: str) -> Query:
    expression = sql.expression(node.value, node.terms, f"{where}.value")
    tree, values, queries = joined_terms(node.terms, frame, tables, f"{where}.terms")
    steps, sources, used = merged(queries)
    tree = tree.select(
        col(ROW, "f"), sql.named(exp.cast(exp.paren(substitute(expression, values)), "DOUBLE"), name)
    )
    return Query(tree, steps, {name: None}, {name: sources}, used)


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

    Edges count if they were known at the cutoff (always, in an undated relation), whatever moment the
    neighbours' own measures look from.
    """
    relations = tables.dataset.relations
    if relation_name not in relations:
        raise ConfigError(
            f"no relation is called `{relation_name}`",
            where=f"{where}.relation",
            fix=did_you_mean(relation_name, relations),
        )
    relation = relations[relation_name]
    table = need_table(tables, relation.table, f"dataset.relations.{relation_name}")
    number = next(_counter)
    edges, nodes = f"edges {number}", f"nodes {number}"
    if any(f.weight for f in features) and not relation.weight:
        raise ConfigError(f"relation `{relation_name}` declares no `weight`", where=where)
    if any(f.types for f in features) and not relation.type:
        raise ConfigError(f"relation `{relation_name}` declares no `type`", where=where)

    def half(one: str, other: str) -> exp.Select:
        parts = [sql.named(col(one), "@one"), sql.named(col(other), "@other"), col(KNOWN)]
        parts.append(
            sql.named(col(relation.type), "@type") if relation.type else sql.named(exp.null(), "@type")
        )
        # an edge whose strength is missing counts as 1
        weight = (
            exp.Coalesce(this=exp.cast(col(relation.weight), "DOUBLE"), expressions=[sql.literal(1.0)])
            if relation.weight
            else sql.literal(1.0)
        )
        parts.append(sql.named(weight, "@weight"))
        return exp.select(*parts).from_(sql.table(table.name))

    first, second = relation.ends
    both_ways: exp.Expression = half(first, second)
    if not relation.directed:
        both_ways = exp.Union(this=half(first, second), expression=half(second, first), distinct=False)
    on = exp.EQ(this=col("@one", "e"), expression=col(ENTITY, "f"))
    known = exp.LTE(this=col(KNOWN, "e"), expression=col(CUTOFF, "f")) if table.spec.clock else None
    moments = [CUTOFF] + ([END] if frame.at == END else [])
    edge_rows = (
        exp.select(col(ROW, "f"), sql.named(col("@other", "e"), "@other"), *(col(m, "f") for m in moments),
                   col("@type", "e"), col("@weight", "e"))
        .from_(sql.table(frame.name, "f"))
        .join(_sub(both_ways, "e"), on=sql.both(on, known), join_type="inner")  # type: ignore[arg-type]
    )  # fmt: skip
    distinct = (
        exp.select(sql.named(col("@other"), ENTITY), *(col(m) for m in moments))
        .distinct()
        .from_(sql.table(edges))
    )
    node_rows = exp.select(sql.named(exp.Window(this=sql.call("row_number")), ROW), "*").from_(
        _sub(distinct, "d")
    )
    steps: list[tuple[str, exp.Expression]] = [(edges, edge_rows), (nodes, node_rows)]

    node_frame = replace(frame, name=nodes)
    tree = exp.select(col(ROW, "x")).from_(sql.table(edges, "x")).group_by(col(ROW, "x"))
    fills: dict[str, float | None] = {}
    sources: dict[str, frozenset[Source]] = {}
    edge_columns = {name for name in (first, second, relation.type, table.spec.clock) if name}
    used = {table.name}
    values: dict[str, exp.Expression] = {}
    measures: dict[str, Query] = {}
    needs_nodes = any(feature.of is not None for feature in features)
    if needs_nodes:
        match = [exp.EQ(this=col(ENTITY, "n"), expression=col("@other", "x"))]
        match += [exp.EQ(this=col(m, "n"), expression=col(m, "x")) for m in moments]
        tree = tree.join(sql.table(nodes, "n"), on=exp.and_(*match), join_type="inner")
    for feature in features:
        if feature.of is None:
            continue
        key = feature.of.model_dump_json()
        if key not in measures:
            query = measure(feature.of, node_frame, tables, f"{where}.{feature.name}.of")
            alias = f"m{len(measures)}"
            on = exp.EQ(this=col(ROW, alias), expression=col(ROW, "n"))
            tree = tree.join(_sub(query.tree, alias), on=on, join_type="left")
            value: exp.Expression = exp.cast(col("value", alias), "DOUBLE")
            if query.fills["value"] is not None:
                value = exp.Coalesce(this=value, expressions=[sql.literal(query.fills["value"])])
            measures[key], values[key] = query, value
            steps += query.steps
            used |= query.tables
    for feature in features:
        kinds = (
            exp.In(this=col("@type", "x"), expressions=[sql.literal(k) for k in feature.types])
            if feature.types
            else None
        )
        weight = col("@weight", "x")
        if feature.of is None:
            node: exp.Expression = exp.Sum(this=weight) if feature.weight else exp.Count(this=exp.Star())
            amount = exp.Coalesce(this=sql.over(node, kinds), expressions=[sql.literal(0)])
        else:
            value = values[feature.of.model_dump_json()].copy()
            product = exp.Mul(this=value, expression=weight) if feature.weight else value
            if feature.agg == "sum":
                amount = exp.Coalesce(
                    this=sql.over(exp.Sum(this=product), kinds), expressions=[sql.literal(0)]
                )
            elif feature.agg == "max":
                amount = sql.over(exp.Max(this=value), kinds)
            elif feature.weight:
                present = sql.both(kinds, exp.not_(exp.Is(this=value.copy(), expression=exp.null())))
                amount = exp.Div(
                    this=sql.over(exp.Sum(this=product), kinds),
                    expression=exp.Nullif(
                        this=sql.over(exp.Sum(this=weight), present), expression=sql.literal(0)
                    ),
                )
            else:
                amount = sql.over(exp.Avg(this=value), kinds)
        tree = tree.select(sql.named(amount, feature.name))
        fills[feature.name] = 0.0 if feature.of is None or feature.agg == "sum" else None
        columns = edge_columns | ({relation.weight} if feature.weight and relation.weight else set())
        inner = merged([measures[feature.of.model_dump_json()]])[1] if feature.of is not None else frozenset()
        sources[feature.name] = frozenset(table.sources(columns)) | inner
    return Query(tree, tuple(steps), fills, sources, frozenset(used))


def condition(node: Condition, frame: Frame, tables: Tables, where: str, name: str) -> Query:
    """How often something happened before the cutoff: a query with `@row` and a count."""
    table = need_table(tables, node.table, f"{where}.table")
    if not table.spec.clock and (node.within or node.ending):
        raise ConfigError(
            f"table `{table.name}` has no clock, so nothing in it lies `within` a span", where=where
        )
    rows = [sql.named(col(link(table, tables)), "@entity"), col(KNOWN), col(TIME)]
    admitted = admit(node.where, table, f"{where}.where")
    source = exp.select(*rows).from_(sql.table(table.name))
    if admitted:
        source = source.where(admitted.of(table.name))
    cutoff, time = col(CUTOFF, "f"), col(TIME, "t")
    end: exp.Expression = sql.minus(cutoff, span(node.ending)) if node.ending else cutoff
    on = exp.EQ(this=col("@entity", "t"), expression=col(ENTITY, "f"))
    if table.spec.clock:
        on = sql.both(
            on, exp.LTE(this=col(KNOWN, "t"), expression=cutoff), exp.LTE(this=time, expression=end)
        )  # type: ignore[assignment]
    if node.within:
        on = sql.both(on, exp.GT(this=time, expression=sql.minus(exp.paren(end), span(node.within))))  # type: ignore[assignment]
    tree = (
        exp.select(col(ROW, "f"), sql.named(exp.Count(this=exp.Star()), name))
        .from_(sql.table(frame.name, "f"))
        .join(_sub(source, "t"), on=on, join_type="inner")
        .group_by(col(ROW, "f"))
    )
    used = set(admitted.columns if admitted else ()) | {n for n in (table.spec.clock,) if n}
    return Query(tree, (), {name: 0.0}, {name: frozenset(table.sources(used))}, frozenset({table.name}))


def holds(node: Condition, count: exp.Expression) -> exp.Expression:
    """Is a condition's count within its bounds?"""
    low = exp.GTE(this=count, expression=sql.literal(node.at_least))
    high = (
        exp.LTE(this=count.copy(), expression=sql.literal(node.at_most)) if node.at_most is not None else None
    )
    return sql.both(low, high)  # type: ignore[return-value]
