"""Windowed features: from the declared short form to aggregates with names and words of their own."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.config.features import WindowFeature, Windows
from toolkit.config.measures import WITHOUT_COLUMN
from toolkit.config.time import Span, span
from toolkit.data import sql
from toolkit.data.tables import Loaded
from toolkit.errors import ConfigError
from toolkit.prepare.aggregate import GAPS, Item
from toolkit.prepare.frame import admit, need_column
from toolkit.prepare.measure import window_of

ALL_TIME = {"days_since_last", "days_since_first", *GAPS}  # look at all windows only where told to


def items(feature: WindowFeature, node: Windows, table: Loaded, where: str) -> Iterator[Item]:
    """The aggregates of one declared feature: for each aggregate, column and window (and value).

    Names are `<name>_<column>_<aggregate>_<window>`, made of this declaration alone, so that no other
    feature's coming or going changes them.
    """
    condition = admit(feature.where, table, f"{where}.where")
    columns = [need_column(table, name, f"{where}.column") for name in feature.columns]
    for agg in feature.aggs:
        if agg in GAPS and condition:
            raise ConfigError(
                "gaps are between all rows of the set",
                where=f"{where}.where",
                fix="put the `where` on the feature set, or the gaps into a set of their own",
            )
        for column in columns if columns and agg not in WITHOUT_COLUMN else (None,):
            stem = "_".join(part for part in (feature.name, column, agg) if part)
            if agg == "acceleration":
                assert feature.short is not None
                assert feature.long is not None
                short, long = span(feature.short), span(feature.long)
                name = f"{stem}_{short.short}_{long.short}"
                yield Item(name, agg, column, condition, short=short, long=long)
                continue
            for text in feature.windows or (["all"] if agg in ALL_TIME else node.windows):
                yield from _in_window(Item(stem, agg, column, condition, window_of(text)), feature, where)


def _in_window(item: Item, feature: WindowFeature, where: str) -> Iterator[Item]:
    if item.window == "horizon":
        raise ConfigError(
            "a feature's window closes at the cutoff; `horizon` lies after it",
            where=f"{where}.windows",
            fix="a span, for example 12 months, or `all`",
        )
    suffix = f"_{item.window.short}" if isinstance(item.window, Span) else "_all"
    if item.window is None and item.agg.startswith("days_since"):
        suffix = ""
    stem = item.name
    if item.agg == "share":
        for value in feature.values or []:
            yield _named(item, f"{stem}_{value}{suffix}", value=value)
        return
    if item.agg == "share_of_periods" and item.window is None:
        raise ConfigError(
            "`agg: share_of_periods` needs windows that are spans",
            where=f"{where}.windows",
            fix="for example `windows: [5 years]` with `period: 1 year`",
        )
    period = span(feature.period) if feature.period and item.agg == "share_of_periods" else None
    yield _named(item, f"{stem}{suffix}", period=period)


def _named(item: Item, name: str, value: str | None = None, period: Span | None = None) -> Item:
    return Item(name, item.agg, item.column, item.where, item.window, period, value)


def window_words(item: Item) -> str:
    if item.agg == "acceleration":
        return f"{item.short} against {item.long}"
    return str(item.window) if isinstance(item.window, Span) else "all"


def words(item: Item, table: Loaded) -> str:
    """What a windowed feature is, in words."""
    what = {
        "count": "number of rows", "exists": "any row", "days": "distinct days", "days_since_last": "days since the last row",
        "days_since_first": "days since the first row", "gap_mean": "mean days between rows",
        "gap_std": "spread of the days between rows", "gap_max": "longest gap in days", "gap_last": "last gap in days",
        "slope": f"trend of {item.column} per year", "share_of_periods": f"share of periods of {item.period} with a row",
        "share": f"share of rows with {item.column} = {item.value}", "nunique": f"number of different {item.column}",
        "acceleration": f"recent rate of {item.column or 'rows'} over the long-run rate",
    }.get(item.agg, f"{item.agg} of {item.column}")  # fmt: skip
    where = f" where {sql.render(item.where.tree)}" if item.where else ""
    span_words = f", last {item.window}" if isinstance(item.window, Span) else ""
    return f"{what} in {table.name}{where}{span_words}"
