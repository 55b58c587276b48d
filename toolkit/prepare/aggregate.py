"""Aggregates of one table's rows in windows, several in one pass over the table.

A row lies in a window of length `w` if `at - w < @time <= at` (see `frame`). Missing values are left
out by every aggregate of a column. Of simultaneous rows, `last` takes the one known later and of
those the larger value, `first` the one known earlier and the smaller value: the same every time,
whatever the order of the file. A gap lies between two rows that follow each other; simultaneous rows
have a gap of zero days, and a gap belongs to the windows of its later row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from sqlglot import exp

from toolkit.config.time import Span
from toolkit.data import sql
from toolkit.data.sql import Expression, col
from toolkit.data.tables import KNOWN, TIME, Loaded, Tables
from toolkit.errors import ConfigError
from toolkit.prepare.frame import OWNER, ROW, Frame, Look, Query, clocks, link, sub, wall_clock

ZERO = {"count", "exists", "sum", "days", "nunique", "share_of_periods"}
GAPS = {"gap_mean", "gap_std", "gap_max", "gap_last"}
NUMBERS = {"sum", "mean", "std", "min", "max", "slope", "acceleration"}
ORDERED = {"days", "days_since_last", "days_since_first", "first", "last", "slope", "share_of_periods",
           "acceleration", *GAPS}  # fmt: skip
GAP = "@gap"
NAN = exp.cast(exp.Literal.string("nan"), "DOUBLE")
UNIT_CLASS = {"hour": "hours", "day": "days", "week": "days", "month": "months", "year": "months"}
UNITS = {"hour": 1, "day": 1, "week": 7, "month": 1, "year": 12}


@dataclass(frozen=True)
class Item:
    """One aggregate in a query. window: a span before `at`, None for all, "horizon" for what follows the cutoff."""

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

    @property
    def spans(self) -> list[Span | str | None]:
        """The windows that it looks at."""
        return [self.short, self.long] if self.agg == "acceleration" else [self.window]


def aggregate(
    items: Sequence[Item],
    table: Loaded,
    frame: Frame,
    tables: Tables,
    where: str,
    only: Expression | None = None,
) -> Query:
    """A query with one column per item. only: a condition on the table's rows that all items share."""
    for item in items:
        refuse(item, table, frame, where)
    look = Look(frame, table)
    by_row = any(item.agg in GAPS for item in items) and table.spec.event_time is not None
    rows = _rows(items, table, tables, only, not by_row)
    condition = sql.both(look.owned(), look.seen(), None if by_row else _widest(items, look))
    values: list[exp.Expression] = [sql.named(value_of(item, look), item.name) for item in items]
    if by_row:
        source = _gaps_by_row(rows, look, condition)
        values = [value.transform(_from_one) for value in values]
        tree = exp.select(col(ROW, "t"), *values).from_(source).group_by(col(ROW, "t"))
    else:
        tree = (
            exp.select(col(ROW, "f"), *values)
            .from_(look.rows())
            .join(rows, on=condition, join_type="inner")
            .group_by(col(ROW, "f"))
        )
    sources = {}
    for item in items:
        used = set(item.where.columns if item.where else ()) | set(only.columns if only else ())
        used |= clocks(table) | ({item.column} if item.column else set())
        sources[item.name] = frozenset(table.sources(used))
    return Query(tree, (), {item.name: item.fill for item in items}, sources, frozenset({table.name}))


def refuse(item: Item, table: Loaded, frame: Frame, where: str) -> None:
    """Refuse what the table, its column or the frame cannot answer."""
    if not table.spec.clock and (item.agg in ORDERED or any(item.spans)):
        raise ConfigError(
            f"table `{table.name}` has no clock, so it has no windows, recency or order",
            where=where,
            fix="use `windows: [all]` with count, sum, mean …, or declare its `clock`",
        )
    if item.window == "horizon" and (frame.past_only or frame.at == "cutoff"):
        raise ConfigError(
            "`window: horizon` lies after the cutoff, and what looks from the cutoff does not see it",
            where=where,
            fix="a span, for example 12 months, or `all`",
        )
    kind = table.columns[item.column].type if item.column else None
    if kind == "text" and item.agg in NUMBERS:
        raise ConfigError(
            f"`agg: {item.agg}` needs numbers, and `{item.column}` is text",
            where=where,
            fix="nunique, first, last or share of a text, or another column",
        )
    if kind in ("date", "timestamp") and item.agg != "nunique":
        raise ConfigError(
            f"`agg: {item.agg}` needs numbers or texts, and `{item.column}` is a {kind}",
            where=where,
            fix="days_since_last and days_since_first say when rows happened; `derive` makes a number of a date",
        )
    if item.agg == "share" and not _fits(item.value, kind):
        raise ConfigError(
            f"`{item.value}` is no value of `{item.column}`, a {kind}", where=where, fix="look at `values`"
        )
    if item.short and item.long and item.short.days >= item.long.days:
        raise ConfigError(
            f"the short window, {item.short}, is not shorter than the long one, {item.long}",
            where=where,
            fix="for example `short: 3 months` and `long: 24 months`",
        )
    if item.period:
        _periods(item, where)


def _fits(value: str | None, kind: str | None) -> bool:
    if kind in ("integer", "number"):
        try:
            float(value or "")
        except ValueError:
            return False
    return kind != "boolean" or str(value).lower() in ("true", "false")


def _periods(item: Item, where: str) -> int:
    """How many periods fill the window."""
    window, period = item.window, item.period
    assert isinstance(window, Span)
    assert period is not None
    whole, part = window.count * UNITS[window.unit], period.count * UNITS[period.unit]
    if UNIT_CLASS[window.unit] != UNIT_CLASS[period.unit] or whole % part:
        raise ConfigError(
            f"a window of {window} is not a whole number of periods of {period}",
            where=where,
            fix="for example a window of 5 years with periods of 1 year or 6 months",
        )
    return whole // part


def _rows(
    items: Sequence[Item], table: Loaded, tables: Tables, only: Expression | None, gaps: bool
) -> exp.Subquery:
    """The columns of the table that are needed, as `t`, with `@gap` where an item asks for it.

    Where rows are known when they happen, the row before is the same from every cutoff, and one pass
    over the table finds it (`gaps`). Where they become known later, it depends on the cutoff.
    """
    names = {item.column for item in items if item.column}
    names |= {name for item in items if item.where for name in item.where.columns}
    owner = col(link(table, tables))
    columns: list[exp.Expression] = [
        sql.named(owner, OWNER),
        *(col(name) for name in sorted(names)),
        col(KNOWN),
        col(TIME),
    ]
    if gaps and any(item.agg in GAPS for item in items):
        columns.append(sql.named(_gap(owner.copy(), col(TIME)), GAP))
    rows = exp.select(*columns).from_(sql.table(table.name))
    if only is not None:
        rows = rows.where(only.of(table.name))
    return sub(rows, "t")


def _gap(partition: exp.Expression, time: exp.Expression) -> exp.Expression:
    before = exp.Window(
        this=exp.Lag(this=time),
        partition_by=[partition],
        order=exp.Order(expressions=[exp.Ordered(this=time.copy())]),
    )
    return sql.days_between(before, time.copy())


def _gaps_by_row(rows: exp.Subquery, look: Look, condition: exp.Expression | None) -> exp.Subquery:
    """Rows joined to the frame, both as `t`, with the gaps that are seen from each row of the frame."""
    gap = sql.named(_gap(col(ROW, "f"), col(TIME, "t")), GAP)
    stars = [exp.Column(this=exp.Star(), table=exp.to_identifier("t", quoted=True))]
    moments = [col(name, "f") for name in look.columns if name.startswith("@")]
    return sub(
        exp.select(*moments, *stars, gap).from_(look.rows()).join(rows, on=condition, join_type="inner"), "t"
    )


def _from_one(node: exp.Expression) -> exp.Expression:
    return col(node.name, "t") if isinstance(node, exp.Column) and node.table == "f" else node


def _widest(items: Sequence[Item], look: Look) -> exp.Expression | None:
    """What bounds every item's window, so that the join need not look further back.

    30 days and 1 month, or 24 hours and 1 day, bound each other in some months only: the earlier
    beginning of the two counts.
    """
    if all(item.window == "horizon" for item in items):
        return exp.GT(this=col(TIME, "t"), expression=look.cutoff)
    longest: dict[str, Span] = {}
    for window in (window for item in items for window in item.spans):
        if not isinstance(window, Span):
            return None
        kind = UNIT_CLASS[window.unit]
        longest[kind] = max(longest.get(kind, window), window, key=lambda s: s.count * UNITS[s.unit])
    begins: list[exp.Expression] = [look.back(window) for window in longest.values()]
    earliest = begins[0] if len(begins) == 1 else exp.Least(this=begins[0], expressions=begins[1:])
    return exp.GT(this=col(TIME, "t"), expression=earliest)


def value_of(item: Item, look: Look) -> exp.Expression:
    """One item as an aggregate expression over the joined rows."""
    time = col(TIME, "t")

    def after(window: Span | str | None) -> exp.Expression | None:
        return exp.GT(this=time.copy(), expression=look.since(window)) if window else None

    condition = sql.both(
        after(item.window) if item.agg != "share_of_periods" else None,
        item.where.of("t") if item.where else None,
    )

    def when(node: exp.Expression, *extra: exp.Expression | None) -> exp.Expression:
        return sql.over(node, sql.both(condition and condition.copy(), *extra))

    def count() -> exp.Expression:
        return exp.Count(this=exp.Star())

    def some(node: exp.Expression) -> exp.Expression:
        return exp.cast(exp.paren(exp.GT(this=node, expression=sql.literal(0))), "INT")

    value = col(item.column, "t") if item.column else exp.null()
    number = _number(value, item.column, look.table)
    match item.agg:
        case "count":
            return when(count())
        case "exists":
            return some(when(count()))
        case "sum":
            return _or_zero(when(exp.Sum(this=number)))
        case "mean":
            return when(exp.Avg(this=number))
        case "min":
            return when(exp.Min(this=number))
        case "max":
            return when(exp.Max(this=number))
        case "std":
            return when(exp.StddevSamp(this=number))
        case "nunique":
            return when(exp.Count(this=exp.Distinct(expressions=[value])))
        case "days":
            day = time if look.time_type == "date" else wall_clock(time, look.frame.zone)
            return when(exp.Count(this=exp.Distinct(expressions=[exp.cast(day, "DATE")])))
        case "first" | "last":
            known = [col(KNOWN, "t")] if look.table.spec.event_time else []
            order = sql.call("row", time, *known, number.copy())
            return when(sql.call("arg_min" if item.agg == "first" else "arg_max", number, order))
        case "days_since_last":
            return sql.days_between(when(exp.Max(this=time)), exp.AnyValue(this=look.at))
        case "days_since_first":
            return sql.days_between(when(exp.Min(this=time)), exp.AnyValue(this=look.at))
        case "slope":  # least squares, units of the column per year
            years = exp.Div(this=exp.paren(sql.days_between(look.at, time)), expression=sql.literal(365.25))
            slope = when(sql.call("regr_slope", number, years))
            return exp.Nullif(this=slope, expression=NAN.copy())  # all at one moment: no slope
        case "share_of_periods":
            return _share_of_periods(item, look, lambda inside: some(when(count(), inside)))
        case "share":
            of_value = when(count(), exp.EQ(this=value, expression=sql.literal(item.value)))
            return _ratio(of_value, when(exp.Count(this=value.copy())))
        case "acceleration":  # rate in the short window over the rate in the long one
            assert item.short is not None
            assert item.long is not None
            what = exp.Sum(this=number) if item.column else count()
            short = _or_zero(when(what, after(item.short)))
            long = when(what.copy(), after(item.long))
            longer = sql.literal(item.long.days / item.short.days)
            return exp.Mul(this=exp.paren(_ratio(short, long)), expression=longer)
        case "gap_mean":
            return when(exp.Avg(this=col(GAP, "t")))
        case "gap_std":
            return when(exp.StddevSamp(this=col(GAP, "t")))
        case "gap_max":
            return when(exp.Max(this=col(GAP, "t")))
        case "gap_last":  # of simultaneous rows one at most has a gap that is not zero: that one
            order = exp.Add(
                this=exp.Mul(this=sql.call("epoch_us", time), expression=sql.literal(2)),
                expression=exp.cast(
                    exp.paren(exp.GT(this=col(GAP, "t"), expression=sql.literal(0))), "BIGINT"
                ),
            )
            return when(sql.call("arg_max", col(GAP, "t"), order))
    raise AssertionError(item.agg)


def _number(value: exp.Expression, column: str | None, table: Loaded) -> exp.Expression:
    """A column's values as doubles; texts as they are."""
    kind = table.columns[column].type if column else None
    double = kind == "number" and column not in table.derived  # an expression may make decimals
    return value if double or kind in ("text", None) else exp.cast(value, "DOUBLE")


def _or_zero(node: exp.Expression) -> exp.Expression:
    return exp.Coalesce(this=node, expressions=[sql.literal(0)])


def _ratio(above: exp.Expression, below: exp.Expression) -> exp.Expression:
    """above / below (the engine's / is a division of doubles), missing where below is zero."""
    return exp.Div(this=above, expression=exp.Nullif(this=below, expression=sql.literal(0)))


def _share_of_periods(
    item: Item, look: Look, hit: Callable[[exp.Expression], exp.Expression]
) -> exp.Expression:
    """The share of consecutive periods before `at` in which something happened."""
    assert item.period is not None
    ends = [
        look.back(replace(item.period, count=item.period.count * (index + 1)))
        for index in range(_periods(item, ""))
    ]
    hits = []
    for index, begin in enumerate(ends):
        after = exp.GT(this=col(TIME, "t"), expression=begin)
        until = exp.LTE(this=col(TIME, "t"), expression=ends[index - 1].copy()) if index else None
        hits.append(hit(sql.both(after, until)))  # type: ignore[arg-type]
    total = reduce(lambda one, other: exp.Add(this=one, expression=other), hits)
    return exp.Div(this=exp.paren(total), expression=sql.literal(float(len(hits))))
