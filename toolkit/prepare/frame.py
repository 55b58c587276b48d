"""Frames: the moments that measures look from, and what a query over one gives back.

A *frame* is a table with `@row`, `entity`, `cutoff` (naive UTC) and, for targets, `horizon_end`. A
table's row is seen from a moment `at` (the cutoff; for targets the horizon's end) if

    @known <= cutoff                     for features: what was known
    @time <= at                          what had happened

Stamps are instants. Dates are days of the cohort's time zone, over at the zone's midnight. Windows of
days, months and years are measured on the zone's calendar.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlglot import exp

from toolkit.config.time import TICK, Span, to_local
from toolkit.data import sql
from toolkit.data.sql import Expression, col
from toolkit.data.tables import KNOWN, TIME, Loaded, Tables
from toolkit.errors import ConfigError, did_you_mean

ROW, ENTITY, CUTOFF, END = "@row", "entity", "cutoff", "horizon_end"
OWNER = "@entity"  # the column of a table's rows that holds the entity's key, under one name
Source = tuple[str, str]


@dataclass(frozen=True)
class Frame:
    """A table of moments to look from.

    at: the column that windows end at; past_only: only what was known at the cutoff; zone: the time
    zone in which cutoffs are midnights; dated: are there cutoffs at all? day_end: cutoffs are the last
    microsecond of their day, so that a date of that day is known and a stamp of the next midnight is not.
    """

    name: str
    at: str = CUTOFF
    past_only: bool = True
    horizon: Span | None = None
    zone: str = "UTC"
    dated: bool = True
    day_end: bool = False


@dataclass(frozen=True)
class Query:
    """A tree and the tables that must be kept before it runs; columns it returns besides `@row`.

    It returns only rows that have something; `fills` says what the others have (None: missing). That
    spares a join and a sort over the whole frame.
    """

    tree: exp.Select
    steps: tuple[tuple[str, exp.Expression], ...] = ()
    fills: dict[str, float | None] = field(default_factory=dict)
    sources: dict[str, frozenset[Source]] = field(default_factory=dict)
    tables: frozenset[str] = frozenset()


def instant(frame: Frame, column: str, clock: str, *back: Span) -> exp.Expression:
    """A moment of the frame, spans before it, to be compared with a clock of type `clock`.

    A timestamp is compared in UTC, a date with the wall clock of the frame's zone. The spans are
    subtracted one after another. Hours are subtracted from the instant, all else on the wall clock.
    """
    moment: exp.Expression = col(column)
    for length in back:
        moment = _moved(moment, length, frame.zone, exp.Sub)
    if clock != "date":
        return moment
    moment = wall_clock(moment, frame.zone)  # dates are over at midnight, a microsecond after a day's end
    return exp.Add(this=moment, expression=sql.interval(Span(1, "microsecond"))) if frame.day_end else moment


def horizon_end(frame: Frame, horizon: Span) -> exp.Expression:
    """The end of a horizon that begins at the cutoff (naive UTC)."""
    return _moved(col(CUTOFF), horizon, frame.zone, exp.Add)


def _moved(
    moment: exp.Expression, length: Span, zone: str, way: type[exp.Add] | type[exp.Sub]
) -> exp.Expression:
    local = length.unit != "hour"
    if local:
        moment = wall_clock(moment, zone)
    for part in _parts(length):
        moment = way(this=moment, expression=sql.interval(part))
    return utc(moment, zone) if local else moment


def _parts(length: Span) -> list[Span]:
    """A span as the intervals to move by, one after another.

    The engine holds intervals of 30 days and of 1 month for equal, and of two expressions that differ
    in nothing else it computes one (its common_subexpressions optimizer). So a whole number of 30 days
    is moved by in two parts, which equal no number of months.
    """
    per_month = {"hour": 720, "day": 30, "week": 30}.get(length.unit)
    if per_month is None or length.count % per_month:
        return [length]
    return [Span(length.count - 1, length.unit), Span(1, length.unit)]


def _in_smaller_units(length: Span) -> Span:
    """1 year as 12 months and 1 week as 7 days, so that each moment is computed once."""
    factor, unit = {"year": (12, "month"), "week": (7, "day")}.get(length.unit, (1, length.unit))
    return Span(length.count * factor, unit)


def as_clock(moment: datetime, clock: str, zone: str) -> datetime:
    """The same in Python: a naive UTC instant, to be compared with `@known` or `@time` of a clock's type.

    Dates lie at midnights: whether the microsecond is added before that midnight makes no difference to
    a cutoff at the beginning of a day.
    """
    return to_local(moment, zone) + TICK if clock == "date" else moment


def wall_clock(moment: exp.Expression, zone: str) -> exp.Expression:
    """A naive UTC instant as the wall clock in `zone` shows it."""
    if zone == "UTC":
        return moment
    return sql.call("timezone", sql.literal(zone), sql.call("timezone", sql.literal("UTC"), moment))


def utc(wall: exp.Expression, zone: str) -> exp.Expression:
    if zone == "UTC":
        return wall
    return sql.call("timezone", sql.literal("UTC"), sql.call("timezone", sql.literal(zone), wall))


class Look:
    """A frame as one table sees it: the moments that a query compares with the table's clocks.

    Each is computed once per row of the frame, in the subquery `rows()`, and carried through the join
    under a name of its own.
    """

    def __init__(self, frame: Frame, table: Loaded) -> None:
        self.frame, self.table = frame, table
        self.dated = table.spec.clock is not None
        self.known_type, self.time_type = clock_types(table)
        self.columns: dict[str, exp.Expression] = {ROW: col(ROW), ENTITY: col(ENTITY)}

    def _carried(self, name: str, value: exp.Expression) -> exp.Column:
        self.columns[name] = value
        return col(name, "f")

    def moment(self, column: str, clock: str) -> exp.Column:
        """A moment of the frame, to be compared with a clock (or column) of type `clock`."""
        return self._carried(f"@{column} {clock}", instant(self.frame, column, clock))

    @property
    def at(self) -> exp.Column:
        """The moment that windows end at, as the table's event time counts it."""
        return self.moment(self.frame.at, self.time_type)

    @property
    def cutoff(self) -> exp.Column:
        return self.moment(CUTOFF, self.time_type)

    def back(self, *lengths: Span) -> exp.Column:
        """Spans before `at`, one after another."""
        lengths = tuple(_in_smaller_units(length) for length in lengths)
        name = f"@{' '.join(length.short for length in lengths)} back"
        return self._carried(name, instant(self.frame, self.frame.at, self.time_type, *lengths))

    def before_cutoff(self, length: Span) -> exp.Column:
        """A span before the cutoff, wherever windows end."""
        value = instant(self.frame, CUTOFF, self.time_type, _in_smaller_units(length))
        return self._carried(f"@cutoff {length.short} back", value)

    def since(self, window: Span | str) -> exp.Column:
        """The moment after which a window begins."""
        return self.back(window) if isinstance(window, Span) else self.cutoff

    def seen(self) -> exp.Expression | None:
        """The condition under which a row (alias `t`) is seen; None: always."""
        if not self.dated:
            return None
        happened = exp.LTE(this=col(TIME, "t"), expression=self.at)
        if not self.frame.past_only:
            return happened
        known = exp.LTE(this=col(KNOWN, "t"), expression=self.moment(CUTOFF, self.known_type))
        same = self.table.spec.event_time in (None, self.table.spec.clock) and self.frame.at == CUTOFF
        return known if same else sql.both(known, happened)

    def owned(self) -> exp.Expression:
        """The condition that a row (alias `t`) is the entity's."""
        return exp.EQ(this=col(OWNER, "t"), expression=col(ENTITY, "f"))

    def moments(self) -> exp.Subquery:
        """The frame's cutoffs as `f`, each once, with every moment asked for so far."""
        asked = (sql.named(value, name) for name, value in self.columns.items() if name not in (ROW, ENTITY))
        return sub(exp.select(col(CUTOFF), *asked).distinct().from_(sql.table(self.frame.name)), "f")

    def rows(self) -> exp.Subquery:
        """The frame as `f`, with every moment asked for so far."""
        return sub(
            exp.select(*(sql.named(value, name) for name, value in self.columns.items())).from_(
                sql.table(self.frame.name)
            ),
            "f",
        )


def later(time: exp.Expression, length: Span, look: Look) -> exp.Expression:
    """A table's `@time`, a span later."""
    if look.time_type == "date":  # lies on the wall clock already
        return exp.Add(this=time, expression=sql.interval(length))
    return _moved(time, length, look.frame.zone, exp.Add)


def clock_types(table: Loaded) -> tuple[str, str]:
    """Types, date or timestamp, of the columns behind `@known` and `@time`."""

    def kind(name: str | None) -> str:
        return table.columns[name].type if name in table.columns else "timestamp"

    return kind(table.spec.clock), kind(table.spec.event_time or table.spec.clock)


def clocks(table: Loaded) -> set[str]:
    """The columns that say when a row was known and when it happened."""
    return {name for name in (table.spec.clock, table.spec.event_time) if name}


def sub(select: exp.Query, alias: str) -> exp.Subquery:
    return exp.Subquery(this=select, alias=exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))


def on_row(alias: str, other: str = "f") -> exp.EQ:
    return exp.EQ(this=col(ROW, alias), expression=col(ROW, other))


def filled(value: exp.Expression, fill: float | None) -> exp.Expression:
    """A column of a query that was joined on: `fill` where the query has no row."""
    return value if fill is None else exp.Coalesce(this=value, expressions=[sql.literal(fill)])


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


def one_per_entity(table: Loaded, tables: Tables) -> bool:
    """Is the table's key the entity's, so that an entity has one row at most?"""
    return table.spec.keys == (link(table, tables),)


def admit(text: str | None, table: Loaded, where: str) -> Expression | None:
    return sql.expression(text, table.columns, where) if text else None


def need_column(table: Loaded, name: str, where: str, image: bool = False) -> str:
    """A column that is there, and holds values; image: or pictures."""
    if name not in table.columns:
        raise ConfigError(
            f"table `{table.name}` has no column `{name}`", where=where, fix=did_you_mean(name, table.columns)
        )
    if table.columns[name].type == "image" and not image:
        raise ConfigError(
            f"`{name}` of table `{table.name}` holds pictures, not values",
            where=where,
            fix="name a column of numbers or texts; `kind: image` reads pictures",
        )
    return name


def need_table(tables: Tables, name: str, where: str) -> Loaded:
    if name not in tables.loaded:
        raise ConfigError(
            f"no table is called `{name}`", where=where, fix=did_you_mean(name, tables.dataset.tables)
        )
    return tables.loaded[name]


def need_texts(tables: Tables, name: str, column: str, where: str) -> Loaded:
    """The table that a feature set at `where` names, whose column holds texts."""
    table = need_table(tables, name, f"{where}.table")
    kind = table.columns[need_column(table, column, f"{where}.column")].type
    if kind != "text":
        raise ConfigError(
            f"`{column}` is no text but {kind}", where=f"{where}.column", fix="a column of texts"
        )
    return table
