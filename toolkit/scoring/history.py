"""Do new tables tell of time as those of the run did? Another rhythm is refused, a shorter history is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from toolkit.config.features import Measures, Windows
from toolkit.config.measures import Aggregate, Condition
from toolkit.config.modalities import Panel
from toolkit.config.node import Node
from toolkit.config.time import span
from toolkit.data import rhythm
from toolkit.data.engine import Engine
from toolkit.data.tables import Loaded, Tables
from toolkit.errors import DataError
from toolkit.prepare.cutoffs import day_of
from toolkit.prepare.frame import as_clock, clock_types
from toolkit.prepare.matrix import Declaration

MOST = 0.9  # of weekly stamps fall on one weekday, however many stray ones there are
NAMED = 4  # of what looks back too far


def frozen(tables: Tables) -> dict[str, dict[str, Any]]:
    """Table with a clock → its first row (ISO), and of one whose rhythm was found in its stamps, whether it is weekly."""
    return {
        name: {
            "first": table.first.isoformat(),
            "weekly": (table.covers is not None) if table.spec.covers == "auto" else None,
        }
        for name, table in tables.loaded.items()
        if table.first
    }


def check_rhythm(stamps: Mapping[str, Mapping[str, Any]], tables: Tables, engine: Engine) -> None:
    """Raises DataError where a table whose rows the run took as weekly totals is daily now, or the reverse."""
    for name, then in stamps.items():
        table = tables.loaded.get(name)
        if then["weekly"] is None or table is None or not table.spec.clock:
            continue
        now = rhythm.of(table.spec.clock, name, engine)
        if now is None or (now.share >= MOST if then["weekly"] else now.weekday is None):
            continue
        here, there = sorted(("on one weekday", "all over the week"), reverse=not then["weekly"])
        raise DataError(
            f"the rows of `{table.origin}` are stamped {here}; those of the run were stamped {there}",
            where=f"dataset.tables.{name}.covers",
            why="a week's totals are not a day's: every feature of them would mean something else",
            fix="give the same export as the run's, or run the recipe on these tables",
        )  # fmt: skip


def shorter(
    stamps: Mapping[str, Mapping[str, Any]], trained: datetime | None, declared: Declaration, tables: Tables,
    cutoff: datetime | None,
) -> Iterator[str]:  # fmt: skip
    """Warnings about tables that reach less far back from the cutoff than they did from the run's newest one.

    What looks back further sees less than any model of the run has been told to expect.
    """
    if trained is None or cutoff is None:
        return
    zone = declared.cohort.timezone
    for name, then in stamps.items():
        table, first = tables.loaded.get(name), datetime.fromisoformat(then["first"])
        if table is None or not table.first or table.first <= first:
            continue
        reach, before = _back(cutoff, table.first, table, zone), _back(trained, first, table, zone)
        if reach >= before:
            continue
        further = [
            what
            for what, window in _looks(declared, name)
            if window == "all" or span(window).days > reach.days
        ]
        further = list(dict.fromkeys(further))
        if further:
            more = f" and {len(further) - NAMED} more" if len(further) > NAMED else ""
            yield (
                f"warning: {name} begins {reach.days:,} days before {day_of(cutoff, zone)}; in the run it began "
                f"{before.days:,} days before the newest cutoff. What looks back further finds less than the models "
                f"learnt from ({', '.join(further[:NAMED])}{more}): give the whole history, or run the recipe on "
                "these tables"
            )  # fmt: skip


def _back(moment: datetime, first: datetime, table: Loaded, zone: str) -> timedelta:
    return as_clock(moment, clock_types(table)[1], zone) - first


def _looks(declared: Declaration, table: str) -> Iterator[tuple[str, str]]:
    """What of the cohort and the features looks at a table: its name, and how far back (a span, or `all`)."""
    nodes: list[tuple[str, Node]] = [("cohort.having", condition) for condition in declared.cohort.having]
    for name, chosen in declared.features.items():
        if isinstance(chosen, Measures):
            nodes += [(f"{name}.{feature}", measure) for feature, measure in chosen.features.items()]
        else:
            nodes.append((name, chosen))
    for what, node in nodes:
        yield from ((what, window) for looked, window in _windows(node) if looked == table)


def _windows(node: Node) -> Iterator[tuple[str, str]]:
    """Tables that a declaration looks at, and how far back."""
    if isinstance(node, Aggregate):
        yield node.table, node.window
    elif isinstance(node, Condition):
        yield node.table, node.within or "all"
    elif isinstance(node, Windows):
        for feature in node.features:
            long = [feature.long] if feature.long else []
            own = long if feature.aggs == ["acceleration"] else [*(feature.windows or node.windows), *long]
            yield from ((node.table, window) for window in own)
    elif isinstance(node, Panel):
        length = str(replace(node.step, count=node.last * node.step.count))
        yield from ((table, length) for table in node.by_table())
        yield from (
            (channel.table or node.table or "", "all")
            for channel in node.channels.values()
            if channel.fill == "last"
        )
    elif isinstance(found := getattr(node, "table", None), str):
        yield found, "all"
    else:
        for value in (getattr(node, name) for name in type(node).model_fields):
            inner = (
                value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
            )
            yield from chain.from_iterable(_windows(one) for one in inner if isinstance(one, Node))
