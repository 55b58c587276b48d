"""Feature sets as SQL, with the lineage of every feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from toolkit.config.measures import (
    Attributes,
    Calendar,
    FeatureSet,
    Measures,
    Neighbours,
    WindowFeature,
    Windows,
)
from toolkit.config.time import Span, span
from toolkit.data import sql
from toolkit.data.sql import col
from toolkit.data.tables import KNOWN, TIME, Loaded, Tables
from toolkit.errors import ConfigError
from toolkit.prepare.measure import (
    CUTOFF,
    ENTITY,
    GAPS,
    ROW,
    WITHOUT_WINDOW,
    Frame,
    Item,
    Neighbour,
    Query,
    Source,
    admit,
    aggregate,
    link,
    measure,
    need_column,
    need_table,
    neighbours,
    window_of,
)


@dataclass(frozen=True)
class Feature:
    """One column of the design matrix.

    name: `<set>.<what>`; kind: numeric or categorical; fill: value of rows without any source row
    (None: missing); sources: the (table, column) pairs it is made of; text: what it is, in words.
    """

    name: str
    set: str
    kind: str
    fill: float | None
    sources: frozenset[Source]
    window: str
    text: str

    @property
    def column(self) -> str:
        """The name inside its feature set."""
        return self.name.removeprefix(f"{self.set}.")


@dataclass(frozen=True)
class CompiledSet:
    """A feature set: its features, the query that makes them, the tables it reads, assumptions it rests on."""

    name: str
    features: tuple[Feature, ...]
    query: Query
    assumptions: tuple[str, ...] = ()


def compile_set(
    name: str, node: FeatureSet, tables: Tables, frame: Frame, hidden: frozenset[Source]
) -> CompiledSet:
    """One feature set over a frame. hidden: label columns, which `columns: all` leaves out."""
    where = f"features.{name}"
    if isinstance(node, Attributes):
        compiled = _attributes(name, node, tables, frame, where, hidden)
    elif isinstance(node, Windows):
        compiled = _windows(name, node, tables, frame, where)
    elif isinstance(node, Calendar):
        compiled = _calendar(name, node, tables, frame, where)
    elif isinstance(node, Neighbours):
        compiled = _neighbours(name, node, tables, frame, where)
    else:
        compiled = _measures(name, node, tables, frame, where)
    names = [feature.name for feature in compiled.features]
    for feature in names:
        if names.count(feature) > 1:
            raise ConfigError(
                f"two features would be called `{feature}`", where=where, fix="give one of them a `name`"
            )
    used = [tables[table] for table in sorted(compiled.query.tables) if not tables[table].spec.clock]
    assumptions = tuple(
        f"table `{t.name}` has no clock: its rows are taken as known at every cutoff" for t in used
    )
    return CompiledSet(name, compiled.features, compiled.query, assumptions)


def _numeric(column_type: str) -> bool:
    return column_type in ("integer", "number", "boolean", "date", "timestamp")


def _attributes(
    name: str, node: Attributes, tables: Tables, frame: Frame, where: str, hidden: frozenset[Source]
) -> CompiledSet:
    table = need_table(tables, node.table, f"{where}.table")
    key = link(table, tables)
    history = bool(table.spec.clock)
    if not history and table.spec.keys != (key,):
        raise ConfigError(
            f"table `{table.name}` may have several rows for one entity, so it has no attributes",
            where=f"{where}.table",
            fix="declare its `clock` (the latest row then counts), or use `kind: windows`",
        )
    chosen = list(table.columns) if node.columns == "all" else list(node.columns)
    for index, column in enumerate([*chosen, *node.exclude]):
        need_column(table, column, f"{where}.columns.{index}")
    if node.columns == "all":
        never = {key, *table.spec.keys, table.spec.clock, table.spec.event_time}
        chosen = [c for c in chosen if c not in never and not (table.sources({c}) & hidden)]
    chosen = [column for column in chosen if column not in node.exclude]
    condition = admit(node.where, table, f"{where}.where")
    on: exp.Expression | None = exp.EQ(this=col(key, "t"), expression=col(ENTITY, "f"))
    if history:
        on = sql.both(on, exp.LTE(this=col(KNOWN, "t"), expression=col(CUTOFF, "f")))
    on = sql.both(on, condition.of("t") if condition else None)
    tree = (
        exp.select(col(ROW, "f"))
        .from_(sql.table(frame.name, "f"))
        .join(sql.table(table.name, "t"), on=on, join_type="inner")
    )
    features = []
    for column in chosen:
        kind = table.columns[column].type
        value: exp.Expression = col(column, "t")
        if (
            history
        ):  # the latest row; of simultaneous ones, the largest value, so that it is the same every time
            value = sql.call(
                "arg_max_null", value, sql.call("row", col(KNOWN, "t"), col(TIME, "t"), value.copy())
            )
        if kind in ("date", "timestamp"):  # a date becomes its distance to the cutoff, in days
            moment = exp.cast(value, "TIMESTAMP")
            value = sql.days_between(
                moment, exp.AnyValue(this=col(CUTOFF, "f")) if history else col(CUTOFF, "f")
            )
        elif kind == "boolean":
            value = exp.cast(value, "INT")
        tree = tree.select(sql.named(value, column))
        used = {column, *(condition.columns if condition else ()), *([table.spec.clock] if history else [])}
        text = f"{column} of {table.name}" + (", as known at the cutoff" if history else "")
        if kind in ("date", "timestamp"):
            text = f"days from {column} to the cutoff"
        features.append(
            Feature(
                f"{name}.{column}",
                name,
                "numeric" if _numeric(kind) else "categorical",
                None,
                frozenset(table.sources({u for u in used if u})),
                "latest" if history else "always",
                text,
            )
        )
    if history:
        tree = tree.group_by(col(ROW, "f"))
    if not features:
        raise ConfigError("a feature set without features", where=where)
    return CompiledSet(name, tuple(features), Query(tree, tables=frozenset({table.name})))


def _windows(name: str, node: Windows, tables: Tables, frame: Frame, where: str) -> CompiledSet:
    table = need_table(tables, node.table, f"{where}.table")
    only = admit(node.where, table, f"{where}.where")
    items: list[Item] = []
    kinds: dict[str, str] = {}
    for index, feature in enumerate(node.features):
        at = f"{where}.features.{index}"
        items += _items(feature, node, table, at)
    for item in items:
        text_column = item.column and table.columns[item.column].type == "text"
        if text_column and item.agg in ("sum", "mean", "std", "slope", "min", "max"):
            raise ConfigError(f"`agg: {item.agg}` needs numbers, and `{item.column}` is text", where=where)
        kinds[item.name] = "categorical" if text_column and item.agg in ("first", "last") else "numeric"
    query = aggregate(items, table, frame, tables, where, only)
    features = tuple(
        Feature(f"{name}.{item.name}", name, kinds[item.name], item.fill, query.sources[item.name],
                _window_words(item), _words(item, table))
        for item in items
    )  # fmt: skip
    return CompiledSet(name, features, query)


def _items(feature: WindowFeature, node: Windows, table: Loaded, where: str) -> list[Item]:
    condition = admit(feature.where, table, f"{where}.where")
    columns: Sequence[str | None] = [need_column(table, c, f"{where}.column") for c in feature.columns] or [
        None
    ]
    items = []
    for agg in feature.aggs:
        if agg in GAPS and condition:
            raise ConfigError(
                "gaps are between all rows of the set; put the `where` on the feature set", where=where
            )
        for column in columns if agg not in WITHOUT_WINDOW | {"count", "exists", "days"} else [None]:
            stem = "_".join(part for part in (feature.name, column, agg) if part)
            if agg == "acceleration":
                assert feature.short is not None
                assert feature.long is not None
                short, long = span(feature.short), span(feature.long)
                what = feature.columns[0] if feature.columns else None
                stem = "_".join(part for part in (feature.name, what, agg) if part)
                items.append(
                    Item(f"{stem}_{short.short}_{long.short}", agg, what, condition, short=short, long=long)
                )
                continue
            windows = feature.windows or (
                ["all"] if agg in ("days_since_last", "days_since_first", *GAPS) else node.windows
            )
            for text in windows:
                window = window_of(text)
                if window == "horizon":
                    raise ConfigError(
                        "a feature's window closes at the cutoff; `horizon` lies after it", where=where
                    )
                suffix = (
                    ""
                    if window is None and agg.startswith("days_since")
                    else f"_{window.short if isinstance(window, Span) else 'all'}"
                )
                if agg == "share":
                    items += [
                        Item(f"{stem}_{value}{suffix}", agg, column, condition, window, value=value)
                        for value in feature.values or []
                    ]
                else:
                    period = span(feature.period) if feature.period else None
                    if agg == "share_of_periods" and window is None:
                        raise ConfigError("`agg: share_of_periods` needs windows that are spans", where=where)
                    items.append(Item(f"{stem}{suffix}", agg, column, condition, window, period))
    return items


def _window_words(item: Item) -> str:
    if item.agg == "acceleration":
        return f"{item.short} against {item.long}"
    return str(item.window) if isinstance(item.window, Span) else "all"


def _words(item: Item, table: Loaded) -> str:
    what = {
        "count": "number of rows", "exists": "any row", "days": "distinct days", "days_since_last": "days since the last row",
        "days_since_first": "days since the first row", "gap_mean": "mean days between rows",
        "gap_std": "spread of the days between rows", "gap_max": "longest gap in days", "gap_last": "last gap in days",
        "slope": f"trend of {item.column} per year", "share_of_periods": f"share of periods of {item.period} with a row",
        "share": f"share of rows with {item.column} = {item.value}",
        "acceleration": f"recent rate of {item.column or 'rows'} over the long-run rate",
    }.get(item.agg, f"{item.agg} of {item.column}")  # fmt: skip
    where = f" where {sql.render(item.where.tree)}" if item.where else ""
    span_words = f", last {item.window}" if isinstance(item.window, Span) else ""
    return f"{what} in {table.name}{where}{span_words}"


def _calendar(name: str, node: Calendar, tables: Tables, frame: Frame, where: str) -> CompiledSet:
    entity = tables[tables.dataset.entity]
    tree = exp.select(col(ROW, "f")).from_(sql.table(frame.name, "f"))
    used: frozenset[Source] = frozenset()
    cutoff = col(CUTOFF, "f")
    moment: exp.Expression = cutoff
    read: frozenset[str] = frozenset()
    if node.of != "cutoff":
        need_column(entity, node.of, f"{where}.of")
        if entity.columns[node.of].type not in ("date", "timestamp"):
            raise ConfigError(f"`{node.of}` is not a date", where=f"{where}.of")
        on: exp.Expression | None = exp.EQ(this=col(entity.spec.keys[0], "t"), expression=col(ENTITY, "f"))
        if entity.spec.clock:
            on = sql.both(on, exp.LTE(this=col(KNOWN, "t"), expression=cutoff))
        tree = tree.join(sql.table(entity.name, "t"), on=on, join_type="inner")
        moment = exp.cast(col(node.of, "t"), "TIMESTAMP")
        used, read = frozenset(entity.sources({node.of})), frozenset({entity.name})
    features = []
    for part in node.parts:
        if part in ("days_until_cutoff", "years_until_cutoff"):
            value = sql.days_between(moment, cutoff)
            if part == "years_until_cutoff":
                value = exp.Div(this=exp.paren(value), expression=sql.literal(365.25))
        else:
            value = sql.call({"weekday": "isodow", "dayofyear": "dayofyear"}.get(part, part), moment)
        tree = tree.select(sql.named(value, f"{node.of}_{part}"))
        features.append(
            Feature(f"{name}.{node.of}_{part}", name, "numeric", None, used, "always", f"{part} of {node.of}")
        )
    return CompiledSet(name, tuple(features), Query(tree, tables=read))


def _neighbours(name: str, node: Neighbours, tables: Tables, frame: Frame, where: str) -> CompiledSet:
    wanted = []
    for feature in node.features:
        for kind in node.types or [None]:  # type: ignore[list-item]
            wanted.append(
                Neighbour(
                    f"{feature.name}_{kind}" if kind else feature.name,
                    feature.agg,
                    feature.weight,
                    feature.of,
                    (kind,) if kind else (),
                )
            )
    query = neighbours(node.relation, wanted, frame, tables, where)
    features = tuple(
        Feature(
            f"{name}.{item.name}",
            name,
            "numeric",
            query.fills[item.name],
            query.sources[item.name],
            "neighbours",
            f"{item.agg} over {' '.join(item.types) or 'all'} neighbours"
            + (", weighted" if item.weight else ""),
        )
        for item in wanted
    )
    return CompiledSet(name, features, query)


def _measures(name: str, node: Measures, tables: Tables, frame: Frame, where: str) -> CompiledSet:
    tree = exp.select(col(ROW, "f")).from_(sql.table(frame.name, "f"))
    steps: list[tuple[str, exp.Expression]] = []
    features, used = [], set()
    for index, (key, item) in enumerate(node.features.items()):
        query = measure(item, frame, tables, f"{where}.features.{key}")
        alias = f"q{index}"
        tree = tree.join(
            exp.Subquery(this=query.tree, alias=exp.TableAlias(this=exp.to_identifier(alias, quoted=True))),
            on=exp.EQ(this=col(ROW, alias), expression=col(ROW, "f")),
            join_type="left",
        )
        fill = query.fills["value"]
        value: exp.Expression = col("value", alias)
        if fill is not None:
            value = exp.Coalesce(this=value, expressions=[sql.literal(fill)])
        tree = tree.select(sql.named(value, key))
        steps += query.steps
        used |= query.tables
        features.append(
            Feature(
                f"{name}.{key}",
                name,
                "numeric",
                fill,
                query.sources["value"],
                "as declared",
                "declared measure",
            )
        )
    return CompiledSet(name, tuple(features), Query(tree, tuple(steps), tables=frozenset(used)))
