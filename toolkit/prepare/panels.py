"""Panels: the last days of each row before its cutoff, every day with the same channels, filled by rule.

Step k lies in (cutoff - k · every, cutoff - (k - 1) · every], so at a midnight cutoff the last step is the
day that ended then; days are those of the wall clock in the cohort's zone, hours those of physics. A row of
a table counts in the step that it happened in, if it is seen at all (see `frame`): known by the cutoff.

A row has as many steps as its entity had days, at most `last`: from the entity's first row in any of the
tables on, or from `since` on but not before the first row that anybody has there (unknown: from that row
on). What lies before is no step, rather than a step of zeros; an entity without a row has none.

Each table is read once for all of its channels. Unless something is carried from before the panel, it is
joined by time as well as by entity: a stretch as long as the panel and a step is one bucket of time, and no
panel lies in more than two, so a long history of many cutoffs costs no more than a short one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlglot import exp

from toolkit.config.modalities import COUNTED, SEEN, Channel, Panel
from toolkit.config.time import Span
from toolkit.data import sql
from toolkit.data.sql import col
from toolkit.data.tables import KNOWN, TIME, Loaded, Tables
from toolkit.errors import ConfigError
from toolkit.prepare.aggregate import Item, refuse, value_of
from toolkit.prepare.features import Feature
from toolkit.prepare.frame import (
    CUTOFF,
    OWNER,
    ROW,
    Frame,
    Look,
    Query,
    Source,
    admit,
    clock_types,
    clocks,
    instant,
    link,
    need_column,
    need_table,
    sub,
    wall_clock,
)
from toolkit.prepare.sequences import PLACE, CompiledSequence

STEPS, SINCE, BUCKET = "@steps", "@since", "@bucket"
MICROSECONDS = {"hour": 3_600_000_000, "day": 86_400_000_000, "week": 604_800_000_000}


def compile_panel(name: str, node: Panel, tables: Tables, frame: Frame) -> CompiledSequence:
    """A panel over a frame: a query with `@row`, `@place` (1 is the last step) and one column per channel."""
    where, window = f"features.{name}", f"{node.last} x {node.every}"
    used = {table: need_table(tables, table, where) for table in node.by_table()}
    items: dict[str, list[Item]] = {}
    for at, channels in node.by_table().items():
        _check_table(node, used[at], next(iter(channels)), where)
        items[at] = [_item(*one, used[at], frame, where) for one in channels.items()]
    since = _since_column(node, tables, f"{where}.since")

    parts = [_stepped(node, items[at], table, tables, frame) for at, table in used.items()]
    lengths = (
        _since(node, since, used.values(), tables, frame)
        if since
        else _own_first(node, used.values(), tables, frame)
    )
    told = frozenset(tables[tables.dataset.entity].sources({since})) if since else frozenset[Source]()
    made = {item.name: (item, used[at]) for at, own in items.items() for item in own}
    features = []
    for channel, (item, table) in ((channel, made[channel]) for channel in node.channels):
        kind = "categorical" if _is_text(item, table) else "numeric"
        sources = frozenset(table.sources(_read(item, table))) | told
        text = _words(item, node.channels[channel], table, node.every)
        features.append(Feature(f"{name}.{channel}", name, kind, None, sources, window, text))
    if node.seen:
        sources = (
            frozenset(source for table in used.values() for source in table.sources(clocks(table))) | told
        )
        text = f"1 where a step of {node.every} has a row in {', '.join(used)}, else 0"
        features.append(Feature(f"{name}.{SEEN}", name, "numeric", None, sources, window, text))
    tree = _filled(node, parts, features, lengths)
    query = Query(tree, tables=frozenset({*used, *([tables.dataset.entity] if since else [])}))
    return CompiledSequence(name, tuple(features), query, node.last, f"steps of {node.every}")


# --- what is asked for ------------------------------------------------------------------------------


def _check_table(node: Panel, table: Loaded, channel: str, where: str) -> None:
    if not table.spec.clock:
        own = node.channels[channel].table is not None
        raise ConfigError(
            f"table `{table.name}` has no clock, so its rows lie on no day",
            where=f"{where}.channels.{channel}.table" if own else f"{where}.table",
            fix="declare its `clock`, or use `kind: attributes` or `kind: windows` with `windows: [all]`",
        )
    if node.step.unit == "hour" and clock_types(table)[1] == "date":
        raise ConfigError(
            f"the rows of table `{table.name}` have a day and no hour",
            where=f"{where}.every",
            fix="steps of days or weeks, or a table whose clock is a timestamp",
        )


def _item(name: str, channel: Channel, table: Loaded, frame: Frame, where: str) -> Item:
    where = f"{where}.channels.{name}"
    if channel.column:
        need_column(table, channel.column, f"{where}.column")
    item = Item(name, channel.agg, channel.column, admit(channel.where, table, f"{where}.where"))
    refuse(item, table, frame, where)
    if _is_text(item, table) and channel.filled is not None:
        raise ConfigError(
            f"`{channel.column}` is text, and no number stands for a text",
            where=f"{where}.fill",
            fix="`last` or `missing`",
        )
    return item


def _is_text(item: Item, table: Loaded) -> bool:
    return item.agg in ("first", "last") and table.columns[item.column or ""].type == "text"


def _read(item: Item, table: Loaded) -> set[str]:
    """The columns that a channel is made of."""
    return clocks(table) | _looked_at(item)


def _looked_at(item: Item) -> set[str]:
    own = {item.column} if item.column else set()
    return own | set(item.where.columns if item.where else ())


def _words(item: Item, channel: Channel, table: Loaded, every: str) -> str:
    what = "number of rows" if item.agg == "count" else "any row" if item.agg == "exists" else item.agg
    of = f" of {item.column}" if item.column else ""
    where = f" where {sql.render(item.where.tree)}" if item.where else ""
    other = "the one before" if channel.fill == "last" else channel.filled
    return f"{what}{of} in {table.name}{where}, per {every}; where there is none, " + (
        "missing" if other is None else other if isinstance(other, str) else f"{other:g}"
    )


def _since_column(node: Panel, tables: Tables, where: str) -> str | None:
    if node.since is None:
        return None
    entity = tables[tables.dataset.entity]
    kind = entity.columns[need_column(entity, node.since, where)].type
    if kind not in ("date", "timestamp"):
        raise ConfigError(f"`{node.since}` is not a date but {kind}", where=where, fix="a date column")
    if node.step.unit == "hour" and kind == "date":
        raise ConfigError(
            f"`{node.since}` is a day without an hour", where=where, fix="steps of days, or a timestamp"
        )
    return node.since


# --- steps ------------------------------------------------------------------------------------------


def _place(look: Look, time: exp.Expression, kind: str, every: Span) -> exp.Expression:
    """The step that a moment before the cutoff lies in, 1 being the last. kind: of the moment, date or timestamp."""
    zone = look.frame.zone
    at: exp.Expression = look.moment(CUTOFF, kind)
    if kind == "timestamp" and every.unit != "hour" and zone != "UTC":
        look.columns["@wall"] = wall_clock(col(CUTOFF), zone)
        at, time = col("@wall", "f"), wall_clock(time, zone)
    ago = exp.Sub(this=_epoch(at), expression=_epoch(time))
    whole = exp.IntDiv(this=exp.paren(ago), expression=sql.literal(_length(every)))
    # In an hour that the clock shows twice, what was before may show a later time.
    return sql.call("greatest", exp.Add(this=whole, expression=sql.literal(1)), sql.literal(1))


def _epoch(moment: exp.Expression) -> exp.Expression:
    return sql.call("epoch_us", moment)


def _length(every: Span) -> int:
    return every.count * MICROSECONDS[every.unit]


def _stepped(node: Panel, items: Sequence[Item], table: Loaded, tables: Tables, frame: Frame) -> exp.Select:
    """One table's channels by `@row` and `@place`; what is carried from before the panel has place last + 1."""
    look = Look(frame, table)
    carried = {item.name for item in items if node.channels[item.name].fill == "last"}
    place = _place(look, col(TIME, "t"), look.time_type, node.step)
    on = sql.both(look.owned(), look.seen())
    names = {name for item in items for name in _looked_at(item)}
    columns: list[exp.Expression] = [sql.named(col(link(table, tables)), OWNER)]
    columns += [col(name) for name in (*sorted(names), KNOWN, TIME)]
    if carried:
        place = sql.call("least", place, sql.literal(node.last + 1))
    else:
        width = sql.literal((node.last + 1) * _length(node.step))
        columns.append(sql.named(exp.IntDiv(this=_epoch(col(TIME)), expression=width.copy()), BUCKET))
        newest = exp.IntDiv(this=_epoch(instant(frame, CUTOFF, look.time_type)), expression=width)
        older = exp.Sub(this=newest.copy(), expression=sql.literal(1))
        look.columns[BUCKET] = sql.call("unnest", sql.call("list_value", newest, older))
        on = sql.both(on, exp.EQ(this=col(BUCKET, "t"), expression=col(BUCKET, "f")))
    rows = exp.select(*columns).from_(sql.table(table.name))
    seen = [col(name, "t") for name in (*sorted(names), KNOWN, TIME)]
    pairs = exp.select(col(ROW, "f"), sql.named(place, PLACE), *seen)
    pairs = pairs.from_(look.rows()).join(sub(rows, "t"), on=on, join_type="inner")
    values = [_value(item, node, look, item.name in carried) for item in items]
    stepped = exp.select(col(ROW, "t"), col(PLACE, "t"), *values).from_(sub(pairs, "t"))
    if not carried:
        stepped = stepped.where(exp.LTE(this=col(PLACE, "t"), expression=sql.literal(node.last)))
    return stepped.group_by(col(ROW, "t"), col(PLACE, "t"))


def _value(item: Item, node: Panel, look: Look, carried: bool) -> exp.Expression:
    """A channel in a step, missing where no row has a value for it."""
    value = value_of(item, look)
    if item.agg in COUNTED and node.channels[item.name].filled != 0:
        of = col(item.column, "t") if item.column else exp.Star()
        some = sql.over(exp.Count(this=of), item.where.of("t") if item.where else None)
        value = exp.Case().when(exp.GT(this=some, expression=sql.literal(0)), value)
    if carried:
        older = exp.GT(this=col(PLACE, "t"), expression=sql.literal(node.last))
        value = (
            exp.Case()
            .when(older, value_of(Item(item.name, "last", item.column, item.where), look))
            .else_(value)
        )
    return sql.named(value, item.name)


# --- how many steps a row has -----------------------------------------------------------------------


def _firsts(table: Loaded, tables: Tables, by_entity: bool) -> exp.Subquery:
    """Rows, as `t`, among which the first one seen from any cutoff is: those of each entity, or of all.

    Where rows are known when they happen, that is the first of them; where they become known later, it
    depends on the cutoff.
    """
    owner = [sql.named(col(link(table, tables)), OWNER)] if by_entity else []
    late = table.spec.event_time not in (None, table.spec.clock)
    clock = [col(KNOWN)] if late else [sql.named(exp.Min(this=col(KNOWN)), KNOWN)]
    rows = exp.select(*owner, *clock, sql.named(exp.Min(this=col(TIME)), TIME)).from_(sql.table(table.name))
    by = [*([col(link(table, tables))] if by_entity else []), *([col(KNOWN)] if late else [])]
    return sub(rows.group_by(*by) if by else rows, "t")


def _own_first(node: Panel, used: Iterable[Loaded], tables: Tables, frame: Frame) -> exp.Select:
    """`@row` and `@steps` since the entity's first row in any of the tables."""
    found = []
    for table in used:
        look = Look(frame, table)
        steps = _place(look, col(TIME, "t"), look.time_type, node.step)
        on = sql.both(look.owned(), look.seen())
        firsts = _firsts(table, tables, by_entity=True)
        rows = exp.select(col(ROW, "f"), sql.named(steps, STEPS)).from_(look.rows())
        found.append(rows.join(firsts, on=on, join_type="inner"))
    longest = sql.call("least", exp.Max(this=col(STEPS)), sql.literal(node.last))
    return exp.select(col(ROW), sql.named(longest, STEPS)).from_(sub(_all(found), "u")).group_by(col(ROW))


def _since(node: Panel, since: str, used: Iterable[Loaded], tables: Tables, frame: Frame) -> exp.Select:
    """`@row` and `@steps` since a date of the entity, or since there are rows at all if that is later."""
    begins = []
    for table in used:
        look = Look(frame, table)
        steps: exp.Expression = exp.Max(this=_place(look, col(TIME, "t"), look.time_type, node.step))
        on, firsts = look.seen(), _firsts(table, tables, by_entity=False)
        rows = exp.select(col(CUTOFF, "f"), sql.named(steps, STEPS)).from_(look.moments())
        begins.append(rows.join(firsts, on=on, join_type="inner").group_by(col(CUTOFF, "f")))
    begin = exp.select(col(CUTOFF), sql.named(exp.Max(this=col(STEPS)), STEPS)).from_(sub(_all(begins), "u"))

    entity = tables[tables.dataset.entity]
    look, kind = Look(frame, entity), entity.columns[since].type
    value: exp.Expression = exp.cast(col(since), "TIMESTAMP")
    if kind == "date":  # a day counts by its end
        value = exp.Add(this=value, expression=sql.interval(Span(1, "day")))
    own = exp.select(
        sql.named(col(entity.spec.keys[0]), OWNER), col(KNOWN), col(TIME), sql.named(value, SINCE)
    )
    own_steps = _place(look, col(SINCE, "t"), kind, node.step)
    most = sql.call("least", col(STEPS, "b"), sql.literal(node.last))
    later = exp.GT(this=col(SINCE, "t"), expression=look.moment(CUTOFF, kind))
    unknown = exp.Is(this=col(SINCE, "t"), expression=exp.null())
    least = sql.call("least", own_steps, most)
    length = exp.Case().when(later, sql.literal(0)).when(unknown, most.copy()).else_(least)
    on = sql.both(look.owned(), look.seen())
    look.columns[CUTOFF] = col(CUTOFF)
    same = exp.EQ(this=col(CUTOFF, "b"), expression=col(CUTOFF, "f"))
    return (
        exp.select(col(ROW, "f"), sql.named(length, STEPS))
        .from_(look.rows())
        .join(sub(own.from_(sql.table(entity.name)), "t"), on=on, join_type="inner")
        .join(sub(begin.group_by(col(CUTOFF)), "b"), on=same, join_type="inner")
    )


def _all(found: Sequence[exp.Select]) -> exp.Query:
    whole: exp.Query = found[0]
    for other in found[1:]:
        whole = exp.Union(this=whole, expression=other, distinct=False)
    return whole


# --- the panel --------------------------------------------------------------------------------------


def _filled(
    node: Panel, parts: Sequence[exp.Select], features: Sequence[Feature], lengths: exp.Select
) -> exp.Select:
    """Every step of every row, with what the tables' parts say of it and the rest filled."""
    carried = [name for name, channel in node.channels.items() if channel.fill == "last"]
    top = sql.literal(node.last + 2) if carried else exp.Add(this=col(STEPS), expression=sql.literal(1))
    each = sql.call("unnest", sql.call("range", sql.literal(1), top))
    grid = exp.select(col(ROW), col(STEPS), sql.named(each, PLACE)).from_(sub(lengths, "l"))
    tree = exp.select(col(ROW, "g"), col(STEPS, "g"), col(PLACE, "g"))
    tree = tree.from_(sub(grid.where(exp.GT(this=col(STEPS), expression=sql.literal(0))), "g"))
    for index, part in enumerate(parts):
        on = [exp.EQ(this=col(key, f"p{index}"), expression=col(key, "g")) for key in (ROW, PLACE)]
        tree = tree.join(sub(part, f"p{index}"), on=exp.and_(*on), join_type="left")
    any_row = sql.call("coalesce", *(col(ROW, f"p{index}") for index in range(len(parts))))
    values: dict[str, exp.Expression] = {
        SEEN: exp.Case()
        .when(exp.Is(this=any_row, expression=exp.null()), sql.literal(0))
        .else_(sql.literal(1))
    }
    for index, channels in enumerate(node.by_table().values()):
        for name, channel in channels.items():
            value: exp.Expression = col(name, f"p{index}")
            if channel.filled is not None:
                value = exp.Coalesce(this=value, expressions=[sql.literal(channel.filled)])
            values[name] = value
    kinds: Mapping[str, str] = {feature.column: feature.kind for feature in features}
    for name, kind in kinds.items():
        value = values[name] if kind == "categorical" else exp.cast(values[name], "DOUBLE")
        tree = tree.select(sql.named(value, name))
    shown = [_carried(name) if name in carried else col(name) for name in kinds]
    whole = exp.select(col(ROW), col(STEPS), col(PLACE), *shown).from_(sub(tree, "w"))
    final = exp.select(col(ROW), col(PLACE), *(col(name) for name in kinds)).from_(sub(whole, "s"))
    return final.where(exp.LTE(this=col(PLACE), expression=col(STEPS)))


def _carried(name: str) -> exp.Expression:
    """The value of a step, or the last one before it."""
    last = exp.IgnoreNulls(this=exp.LastValue(this=col(name)))
    order = exp.Order(expressions=[exp.Ordered(this=col(PLACE), desc=True)])
    return sql.named(exp.Window(this=last, partition_by=[col(ROW)], order=order), name)
