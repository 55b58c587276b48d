"""What features, cohorts and targets are, written down a second time: slowly, row by row, in plain Python.

Nothing here is shared with the compiler. Every instant is a naive UTC datetime; a date becomes the
instant at which it ends in the cohort's zone.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import cache
from typing import Any

from dateutil.relativedelta import relativedelta
from worlds import RELATIONS, SPANS, TABLES, World, shifted, to_utc, to_wall

Row = dict[str, Any]
Test = Callable[[Row], bool | None]
DAY = 86_400.0


def span(text: str) -> relativedelta:
    return SPANS[text][1]


@dataclass(eq=False)
class Oracle:
    """Answers for one world."""

    world: World

    def __post_init__(self) -> None:
        self.by_entity: dict[str, dict[str, list[Row]]] = {}
        for table, rows in self.world.rows.items():
            spec = TABLES[table]
            owner = spec.get("entity") or spec.get("key")
            held: dict[str, list[Row]] = {}
            for row in rows:
                seen = dict(row)
                if spec.get("clock"):
                    seen["known"] = self.instant(row[spec["clock"]])
                    happened = row[spec.get("event_time", spec["clock"])]
                    seen["time"], seen["place"] = self.instant(happened), self.coordinate(happened)
                held.setdefault(row[owner] if owner else "", []).append(seen)
            self.by_entity[table] = held

    def instant(self, value: date | datetime | None) -> datetime | None:
        if isinstance(value, datetime) or value is None:
            return value
        return to_utc(datetime(value.year, value.month, value.day) + timedelta(days=1), self.world.zone)

    @staticmethod
    def coordinate(value: date | datetime | None) -> float | None:
        """Seconds on the axis on which days are counted: calendar days for dates, physical time for stamps."""
        if value is None:
            return None
        end = (
            value
            if isinstance(value, datetime)
            else datetime(value.year, value.month, value.day) + timedelta(days=1)
        )
        return (end - datetime(1970, 1, 1)).total_seconds()

    def seconds(self, moment: datetime, table: str) -> float:
        """A UTC instant on the axis of a table's event time."""
        spec = TABLES[table]
        kind = spec["columns"][spec.get("event_time", spec["clock"])]
        wall = to_wall(moment, self.world.zone) if kind == "date" else moment
        return (wall - datetime(1970, 1, 1)).total_seconds()

    @cache  # noqa: B019
    def before(self, moment: datetime, text: str, times: int = 1) -> datetime:
        """`times` spans before a moment."""
        return shifted(moment, -times * span(text), self.world.zone)

    def after(self, moment: datetime, text: str) -> datetime:
        return shifted(moment, span(text), self.world.zone)

    def seen(
        self,
        table: str,
        entity: str,
        cutoff: datetime,
        at: datetime | None = None,
        known_only: bool = True,
        test: Test | None = None,
    ) -> list[Row]:
        """The entity's rows that had happened at `at` (and were known at the cutoff)."""
        at = at or cutoff
        rows = self.by_entity[table].get(entity, [])
        if TABLES[table].get("clock"):
            rows = [r for r in rows if r["time"] is not None and r["time"] <= at]
            rows = [r for r in rows if r["known"] <= cutoff] if known_only else rows
        return [r for r in rows if test is None or test(r) is True]

    def silent(
        self, table: str, entity: str, cutoff: datetime, end: datetime, lasting: str, test: Test | None = None
    ) -> bool:
        """Is there a moment up to the end with nothing in the span before it? It begins at the cutoff, when
        a row has lain back for so long, or never."""
        times = [row["time"] for row in self.seen(table, entity, cutoff, end, False, test)]
        moments = [cutoff + timedelta(microseconds=1), *(self.after(time, lasting) for time in times), end]
        return any(
            not any(time <= moment < self.after(time, lasting) for time in times)
            for moment in moments
            if cutoff < moment <= end
        )

    def aggregate(
        self,
        table: str,
        entity: str,
        cutoff: datetime,
        agg: str,
        column: str | None = None,
        window: str = "all",
        test: Test | None = None,
        only: Test | None = None,
        at: datetime | None = None,
        known_only: bool = True,
        period: str | None = None,
        value: Any = None,
        short: str | None = None,
        long: str | None = None,
    ) -> Any:
        at = at or cutoff
        rows = self.seen(table, entity, cutoff, at, known_only, only)
        if agg.startswith("gap"):
            rows = sorted(rows, key=lambda r: r["time"])
            for index, row in enumerate(rows):
                row["gap"] = (row["place"] - rows[index - 1]["place"]) / DAY if index else None
        rows = [r for r in rows if test is None or test(r) is True]

        def inside(text: str) -> list[Row]:
            if text == "all":
                return rows
            begin = cutoff if text == "horizon" else self.before(at, text)
            return [r for r in rows if r["time"] > begin]

        chosen = inside(window) if short is None else rows
        if agg == "acceleration":

            def rate(text: str, days: float) -> float | None:
                found = inside(text)
                numbers = [r[column] for r in found if r[column] is not None] if column else [1] * len(found)
                return math.fsum(numbers) / days if numbers or not column else None

            days = {
                "7d": 7.0,
                "30d": 30.0,
                "1 month": 365.25 / 12,
                "3 months": 365.25 / 4,
                "12 months": 365.25,
            }
            fast, slow = rate(short, days[short]) or 0.0, rate(long, days[long])  # type: ignore[arg-type, index]
            return None if not slow else fast / slow
        if agg == "share_of_periods":
            count, begin, hits = 0, at, 0
            while True:
                lower = self.before(at, period, count + 1)  # type: ignore[arg-type]
                if lower < self.before(at, window):
                    return hits / count
                hits += any(lower < r["time"] <= begin for r in rows)
                count, begin = count + 1, lower
        return self.plain(chosen, agg, column, at, table, value)

    def plain(
        self, rows: list[Row], agg: str, column: str | None, at: datetime, table: str, value: Any
    ) -> Any:
        """One aggregate of rows that are all in the window."""
        values = [r[column] for r in rows if r[column] is not None] if column else []
        numbers = [float(v) for v in values] if agg in ("sum", "mean", "min", "max", "std") else []
        known_first = bool(TABLES[table].get("event_time"))

        def order(r: Row) -> tuple[Any, ...]:
            return (r["time"], r["known"], r[column]) if known_first else (r["time"], r[column])

        match agg:
            case "count":
                return len(rows)
            case "exists":
                return int(bool(rows))
            case "sum":
                return math.fsum(numbers)
            case "mean":
                return math.fsum(numbers) / len(numbers) if numbers else None
            case "min":
                return min(numbers, default=None)
            case "max":
                return max(numbers, default=None)
            case "std":
                return statistics.stdev(numbers) if len(numbers) > 1 else None
            case "nunique":
                return len(set(values))
            case "days":
                return len({self.calendar_day(r, table) for r in rows})
            case "first":
                return min((r for r in rows if r[column] is not None), key=order, default={column: None})[
                    column
                ]
            case "last":
                return max((r for r in rows if r[column] is not None), key=order, default={column: None})[
                    column
                ]
            case "days_since_last":
                return (self.seconds(at, table) - max(r["place"] for r in rows)) / DAY if rows else None
            case "days_since_first":
                return (self.seconds(at, table) - min(r["place"] for r in rows)) / DAY if rows else None
            case "share":
                return sum(v == value for v in values) / len(values) if values else None
            case "slope":
                points = [
                    (Fraction(r["place"]) / Fraction(DAY * 365.25), Fraction(r[column]))
                    for r in rows
                    if r[column] is not None
                ]
                return _slope(points)
        gaps = [r for r in rows if r["gap"] is not None]
        if not gaps:
            return None
        sizes = [r["gap"] for r in gaps]
        match agg:
            case "gap_mean":
                return statistics.fmean(sizes)
            case "gap_std":
                return statistics.stdev(sizes) if len(sizes) > 1 else None
            case "gap_max":
                return max(sizes)
            case "gap_last":
                last = max(r["time"] for r in gaps)
                return max(r["gap"] for r in gaps if r["time"] == last)
        raise AssertionError(agg)

    def calendar_day(self, row: Row, table: str) -> date:
        spec = TABLES[table]
        value = row[spec.get("event_time", spec["clock"])]
        return to_wall(value, self.world.zone).date() if isinstance(value, datetime) else value

    def latest(self, table: str, entity: str, cutoff: datetime, column: str, test: Test | None = None) -> Any:
        """An attribute: the column in the latest row that was known and in effect at the cutoff."""
        rows = self.seen(table, entity, cutoff, test=test)
        if not rows:
            return None
        if not TABLES[table].get("clock"):
            return rows[0][column]
        top = max((r["time"], r["known"]) for r in rows)
        return max(
            (r[column] for r in rows if (r["time"], r["known"]) == top and r[column] is not None),
            default=None,
        )

    @cache  # noqa: B019
    def neighbours(
        self, name: str, entity: str, cutoff: datetime, types: tuple[str, ...] | None = None
    ) -> list[tuple[str, float]]:
        """(neighbour, weight), once for each edge known at the cutoff."""
        relation = RELATIONS[name]
        found = []
        a, b = relation["ends"]
        for row in self.by_entity[relation["table"]][""]:
            if TABLES[relation["table"]].get("clock") and not row["known"] <= cutoff:
                continue
            if types is not None and row[relation["type"]] not in types:
                continue
            if row[a] is None or row[b] is None or row[a] == row[b]:
                continue
            weight = row[relation["weight"]] if relation.get("weight") else None
            weight = 1.0 if weight is None else weight
            if row[a] == entity:
                found.append((row[b], weight))
            if row[b] == entity and not relation.get("directed"):
                found.append((row[a], weight))
        return found

    def over(
        self,
        edges: list[tuple[str, float]],
        agg: str,
        weighted: bool,
        of: Callable[[str], float | None] | None,
    ) -> float | None:
        """An aggregate over neighbours."""
        if of is None:
            return math.fsum(w for _, w in edges) if weighted else len(edges)
        found = [(of(other), w if weighted else 1.0) for other, w in edges]
        present = [(v, w) for v, w in found if v is not None]
        if agg == "sum":
            return math.fsum(v * w for v, w in present)
        if agg == "max":
            return max((v * w for v, w in present), default=None)
        total = math.fsum(w for _, w in present)
        return math.fsum(v * w for v, w in present) / total if total else None


def _slope(points: list[tuple[Fraction, Fraction]]) -> float | None:
    n = len(points)
    if not n:
        return None
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return float(sum((x - mean_x) * (y - mean_y) for x, y in points) / spread) if spread else None


def same(found: Any, expected: Any) -> bool:
    """Equal exactly; floats to 1e-9."""
    if found is None or expected is None or isinstance(expected, str):
        return found is None and expected is None if expected is None or found is None else found == expected
    return math.isclose(float(found), float(expected), rel_tol=1e-9, abs_tol=1e-9)


def disagreements(found: dict[int, Any], expected: dict[int, Any]) -> list[tuple[int, Any, Any]]:
    return [(row, found[row], expected[row]) for row in expected if not same(found[row], expected[row])]
