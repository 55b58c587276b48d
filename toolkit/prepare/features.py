"""Feature sets as SQL, with the lineage of every feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from toolkit.config.calendars import HOLIDAY_PARTS, Calendar
from toolkit.config.features import Attributes, Measures, Neighbours, Windows
from toolkit.data import sql
from toolkit.data.sql import Expression, col
from toolkit.data.tables import KNOWN, TIME, Loaded, Tables
from toolkit.errors import ConfigError
from toolkit.prepare import windows
from toolkit.prepare.aggregate import aggregate
from toolkit.prepare.calendars import HOLIDAY_WORDS, days_off
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
    need_column,
    need_table,
    on_row,
    one_per_entity,
    sub,
    wall_clock,
)
from toolkit.prepare.measure import Neighbour, measure, neighbours

EPOCH = "1970-01-01 00:00:00"
Tabular = Attributes | Windows | Calendar | Neighbours | Measures


@dataclass(frozen=True)
class Feature:
    """One column of the design matrix.

    name: `<set>.<what>`; kind: numeric or categorical; fill: value of rows without any source row
    (None: missing); sources: the (table, column) pairs it is made of; text: what it is, in words; group:
    a name that it shares with features of which one speaks for all; scaled: it is of one scale with the
    others of its set, between -1 and 1.
    """

    name: str
    set: str
    kind: str
    fill: float | None
    sources: frozenset[Source]
    window: str
    text: str
    group: str | None = None
    scaled: bool = False

    @property
    def column(self) -> str:
        """The name inside its feature set."""
        return self.name.removeprefix(f"{self.set}.")


@dataclass(frozen=True)
class CompiledSet:
    """A feature set: its features, and the query that makes them."""

    name: str
    features: tuple[Feature, ...]
    query: Query


def compile_set(
    name: str, node: Tabular, tables: Tables, frame: Frame, hidden: frozenset[Source]
) -> CompiledSet:
    """One feature set over a frame. hidden: label columns, which `columns: all` leaves out."""
    where = f"features.{name}"
    if isinstance(node, Attributes):
        features, query = _attributes(name, node, tables, frame, where, hidden)
    elif isinstance(node, Windows):
        features, query = _windows(name, node, tables, frame, where)
    elif isinstance(node, Calendar):
        features, query = _calendar(name, node, tables, frame, where)
    elif isinstance(node, Neighbours):
        features, query = _neighbours(name, node, tables, frame, where)
    else:
        features, query = _measures(name, node, tables, frame, where)
    taken: dict[str, str] = {}
    for feature in features:
        other = taken.get(feature.name.casefold())
        if other:
            raise ConfigError(
                f"two features would be called `{feature.name}`"
                + (f" (the other: `{other}`)" if other != feature.name else ""),
                where=where,
                fix="give one of them a `name`",
            )
        taken[feature.name.casefold()] = feature.name
    return CompiledSet(name, tuple(features), query)


def _attributes(
    name: str, node: Attributes, tables: Tables, frame: Frame, where: str, hidden: frozenset[Source]
) -> tuple[list[Feature], Query]:
    """Columns of the row known at the cutoff; in a history, of the latest one that had come into effect.

    Of simultaneous rows the one known later counts, and of those the larger value: the same every time.
    """
    table = need_table(tables, node.table, f"{where}.table")
    key = link(table, tables)
    alone = one_per_entity(table, tables)
    if not table.spec.clock and not alone:
        raise _several_rows(table.name, f"{where}.table")
    condition = admit(node.where, table, f"{where}.where")
    chosen = _chosen(node, table, key, where, hidden)
    look = Look(frame, table)
    on = sql.both(look.owned(), look.seen())
    values = [sql.named(_attribute(column, table, look, alone), column) for column in chosen]
    read = {key, *chosen, *(condition.columns if condition else ())}
    rows = exp.select(sql.named(col(key), OWNER), *(col(c) for c in sorted(read)), col(KNOWN), col(TIME))
    rows = rows.from_(sql.table(table.name))
    if condition:
        rows = rows.where(condition.of(table.name))
    tree = (
        exp.select(col(ROW, "f"), *values).from_(look.rows()).join(sub(rows, "t"), on=on, join_type="inner")
    )
    if not alone:
        tree = tree.group_by(col(ROW, "f"))
    features = []
    for column in chosen:
        kind = table.columns[column].type
        text = f"{column} of {table.name}"
        if kind in ("date", "timestamp"):
            text = f"days from {column} to the cutoff" if frame.dated else f"days from 1970-01-01 to {column}"
        text += ", as known at the cutoff" if table.spec.clock else ""
        used = {column, *(condition.columns if condition else ()), *clocks(table)}
        features.append(
            Feature(
                f"{name}.{column}", name, "categorical" if kind == "text" else "numeric", None,
                frozenset(table.sources(used)), "always" if alone else "latest", text,
            )
        )  # fmt: skip
    return features, Query(tree, tables=frozenset({table.name}))


def _several_rows(table: str, where: str) -> ConfigError:
    return ConfigError(
        f"table `{table}` may have several rows for one entity, so it has no attributes",
        where=where,
        fix="declare its `clock` (the latest row then counts), or use `kind: windows`",
    )


def _chosen(node: Attributes, table: Loaded, key: str, where: str, hidden: frozenset[Source]) -> list[str]:
    """The columns that become features, in their declared order."""
    for role, names in (("columns", node.columns), ("exclude", node.exclude)):
        for index, column in enumerate(names if isinstance(names, list) else []):
            need_column(table, column, f"{where}.{role}.{index}")
    if node.columns == "all":
        never = {key, *table.spec.keys, *clocks(table)}
        named = [
            c
            for c, column in table.columns.items()
            if c not in never and column.type != "image" and not table.sources({c}) & hidden
        ]
    else:
        named = list(node.columns)
    chosen = [column for column in named if column not in node.exclude]
    if not chosen:
        raise ConfigError(
            f"no column of table `{table.name}` is left to be a feature",
            where=where,
            fix="look at `columns` and `exclude`; keys, clocks and label columns are no features",
        )
    return chosen


def _attribute(column: str, table: Loaded, look: Look, alone: bool) -> exp.Expression:
    kind = table.columns[column].type
    value: exp.Expression = col(column, "t")
    if not alone:
        value = _latest(value)
    if kind in ("date", "timestamp"):  # a date becomes its distance to the cutoff, in days
        moment = exp.cast(value, "TIMESTAMP")
        if not look.frame.dated:
            return sql.days_between(exp.cast(exp.Literal.string(EPOCH), "TIMESTAMP"), moment)
        cutoff: exp.Expression = look.moment(CUTOFF, kind)
        return sql.days_between(moment, cutoff if alone else exp.AnyValue(this=cutoff))
    return exp.cast(value, "INT") if kind == "boolean" else value


def _latest(value: exp.Expression) -> exp.Expression:
    """A column (of `t`) of the latest row; of simultaneous ones the one known later, then the larger value."""
    order = sql.call("row", col(TIME, "t"), col(KNOWN, "t"), _missing_first(value), value.copy())
    return sql.call("arg_max_null", value.copy(), order)


def _missing_first(value: exp.Expression) -> exp.Expression:
    """Of simultaneous rows, one that says something beats one that does not."""
    return exp.paren(exp.not_(exp.Is(this=value.copy(), expression=exp.null())))


def _windows(
    name: str, node: Windows, tables: Tables, frame: Frame, where: str
) -> tuple[list[Feature], Query]:
    table = need_table(tables, node.table, f"{where}.table")
    only: Expression | None = admit(node.where, table, f"{where}.where")
    items = []
    for index, feature in enumerate(node.features):
        items += list(windows.items(feature, node, table, f"{where}.features.{index}"))
    query = aggregate(items, table, frame, tables, where, only)
    features = []
    for item in items:
        text = item.column and table.columns[item.column].type == "text" and item.agg in ("first", "last")
        features.append(
            Feature(
                f"{name}.{item.name}", name, "categorical" if text else "numeric", item.fill,
                query.sources[item.name], windows.window_words(item), windows.words(item, table),
            )
        )  # fmt: skip
    return features, query


def _calendar(
    name: str, node: Calendar, tables: Tables, frame: Frame, where: str
) -> tuple[list[Feature], Query]:
    """Parts of the cutoff, or of a date of the entity, as the calendar of the cohort's zone shows them."""
    table = need_table(tables, node.table, f"{where}.table") if node.table else tables[tables.dataset.entity]
    look, alone = Look(frame, table), one_per_entity(table, tables)
    cutoff_needed = node.of == "cutoff" or any(part.endswith("_until_cutoff") for part in node.parts)
    if cutoff_needed and not frame.dated:
        raise ConfigError(
            "the calendar of a cutoff needs cutoffs, and the cohort has none",
            where=where,
            fix="declare `cohort.cutoffs`, or take parts of a date column, for example `of: <column>`, `parts: [month]`",
        )
    if node.of == "cutoff":
        moment: exp.Expression = look.moment(CUTOFF, "timestamp")
        kind, sources, read = "timestamp", frozenset[Source](), frozenset[str]()
        rows = None
    else:
        need_column(table, node.of, f"{where}.of")
        kind = table.columns[node.of].type
        if kind not in ("date", "timestamp"):
            raise ConfigError(
                f"`{node.of}` is not a date but {kind}", where=f"{where}.of", fix="`cutoff`, or a date column"
            )
        if not table.spec.clock and not alone:
            raise _several_rows(table.name, f"{where}.table")
        value: exp.Expression = col(node.of, "t")
        moment = exp.cast(value if alone else _latest(value), "TIMESTAMP")
        sources = frozenset(table.sources({node.of, *clocks(table)}))
        read = frozenset({table.name})
        key = col(link(table, tables))
        rows = exp.select(sql.named(key, OWNER), col(node.of), col(KNOWN), col(TIME)).from_(
            sql.table(table.name)
        )
    values, features = [], []
    for part in node.parts:
        if part in ("days_until_cutoff", "years_until_cutoff"):
            cutoff: exp.Expression = look.moment(CUTOFF, kind)
            value = sql.days_between(moment.copy(), cutoff if alone else exp.AnyValue(this=cutoff))
            if part == "years_until_cutoff":
                value = exp.Div(this=exp.paren(value), expression=sql.literal(365.25))
        else:
            day = moment.copy() if kind == "date" else wall_clock(moment.copy(), frame.zone)
            if part in HOLIDAY_PARTS:
                value = days_off(part, exp.cast(day, "DATE"), node.holidays)
            else:
                value = sql.call({"weekday": "isodow"}.get(part, part), day)
        column = f"{node.of}_{part}"
        values.append(sql.named(value, column))
        text = HOLIDAY_WORDS.get(part, f"{part} of {{}}").format(node.of)
        window = "always" if alone or rows is None else "latest"
        features.append(Feature(f"{name}.{column}", name, "numeric", None, sources, window, text))
    on = sql.both(look.owned(), look.seen())
    tree = exp.select(col(ROW, "f"), *values).from_(look.rows())
    if rows is not None:
        tree = tree.join(sub(rows, "t"), on=on, join_type="inner")
        if not alone:
            tree = tree.group_by(col(ROW, "f"))
    return features, Query(tree, tables=read)


def _neighbours(
    name: str, node: Neighbours, tables: Tables, frame: Frame, where: str
) -> tuple[list[Feature], Query]:
    kinds: Sequence[str | None] = node.types or [None]
    wanted = [
        Neighbour(f"{feature.name}_{kind}" if kind else feature.name, feature.agg, feature.weight, feature.of,
                  (kind,) if kind else ())
        for feature in node.features for kind in kinds
    ]  # fmt: skip
    query = neighbours(node.relation, wanted, frame, tables, where)
    features = []
    for item in wanted:
        of = f" of {item.name.replace('_', ' ')}" if item.of else ""
        text = f"{item.agg}{of} over {' '.join(item.types) or 'all'} neighbours"
        text += ", weighted" if item.weight else ""
        features.append(
            Feature(f"{name}.{item.name}", name, "numeric", query.fills[item.name], query.sources[item.name],
                    "neighbours", text)
        )  # fmt: skip
    return features, query


def _measures(
    name: str, node: Measures, tables: Tables, frame: Frame, where: str
) -> tuple[list[Feature], Query]:
    tree = exp.select(col(ROW, "f")).from_(sql.table(frame.name, "f"))
    steps: list[tuple[str, exp.Expression]] = []
    features = []
    used: set[str] = set()
    for index, (key, item) in enumerate(node.features.items()):
        query = measure(item, frame, tables, f"{where}.features.{key}")
        alias = f"q{index}"
        tree = tree.join(sub(query.tree, alias), on=on_row(alias), join_type="left")
        tree = tree.select(sql.named(filled(col("value", alias), query.fills["value"]), key))
        steps += query.steps
        used |= query.tables
        features.append(
            Feature(f"{name}.{key}", name, "numeric", query.fills["value"], query.sources["value"],
                    "as declared", "declared measure")
        )  # fmt: skip
    return features, Query(tree, tuple(steps), tables=frozenset(used))
