"""What the rows of recipe `prospect_conversion` are, written down a second time: plain Python over the CSV files.

Written from what the recipe promises and from the comments in its YAML, without the compiler. A Sunday looks at
the days up to and including itself: `day <= sunday`, a window of `n` days at `sunday - n < day`. Totals of a week
lie on the week's last day, since before that nobody knows them.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

PRODUCTS = ("CRM_CONTACTS", "CRM_COMPANIES", "CRM_DEALS", "EMAIL")
SHORT = ("contacts", "companies", "deals", "email")  # the same, as the recency features call them
ACTIONS = tuple(f"ACTIONS_{product}" for product in PRODUCTS)
USERS = tuple(f"USERS_{product}" for product in PRODUCTS)
SAYS_NOTHING = {"", "Unknown", "unknown", "n/a", "N/A", "NULL", "None", "nan"}
UNRANKED = {0.0, 16_000_001.0}
HORIZON = 30
LONGEST_WINDOW = 30
LONG = 90  # a quarter counts as long, of use and of none


def number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def day_of(text: str) -> date | None:
    """`2020-06-01`, `2020-06-01 00:00:00.000`; None for what is no date."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


@dataclass(frozen=True)
class Use:
    """What a portal used on a day, or in the week that ends on it. counts: of each column, None where unreadable."""

    day: date
    counts: dict[str, float | None]

    @cached_property
    def actions(self) -> float:
        return sum(self.counts[name] or 0 for name in ACTIONS)

    @cached_property
    def users(self) -> float:
        return max(self.counts[name] or 0 for name in USERS)

    @cached_property
    def products(self) -> int:
        return sum((self.counts[name] or 0) > 0 for name in ACTIONS)

    def value(self, column: str) -> float | None:
        derived = {"ACTIONS": "actions", "USERS": "users", "PRODUCTS": "products"}
        return getattr(self, derived[column]) if column in derived else self.counts[column]


class Export:
    """The three files, row by row. shift: days that the oracle looks too far ahead; a right one looks none."""

    def __init__(self, folder: Path, shift: int = 0) -> None:
        self.shift = timedelta(days=shift)
        self.company: dict[str, dict[str, str]] = {}
        self.closings: dict[str, list[date]] = {}
        self.undated: set[str] = set()  # neither customer nor prospect
        for row in self._rows(folder / "customers.csv"):
            self.company.setdefault(row["id"], row)
            day = day_of(row["CLOSEDATE"])
            if day is None:
                self.undated.add(row["id"])
            else:
                self.closings.setdefault(row["id"], []).append(day)
        for row in self._rows(folder / "noncustomers.csv"):
            self.company.setdefault(row["id"], row)
        self.uses: dict[str, list[Use]] = {}
        self._read_usage(self._rows(folder / "usage_actions.csv"))

    @staticmethod
    def _rows(path: Path) -> list[dict[str, str]]:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def _read_usage(self, rows: list[dict[str, str]]) -> None:
        rows = [dict(row) for row in dict.fromkeys(tuple(row.items()) for row in rows)]  # twice is once
        stamped = [(day, row) for row in rows if (day := day_of(row["WHEN_TIMESTAMP"]))]
        self.weekly = len({day.weekday() for day, _ in stamped}) == 1
        self.first_day = min(day for day, _ in stamped)
        lasts = timedelta(days=6 if self.weekly else 0)
        unfinished = self._unfinished(stamped)
        self.last_day = max(day for day, _ in stamped if day != unfinished) + lasts
        for day, row in stamped:
            counts = {name: number(row[name]) for name in (*ACTIONS, *USERS)}
            use = Use(day + lasts, counts)
            if day != unfinished and any((count or 0) > 0 for count in counts.values()):  # else it is no use
                self.uses.setdefault(row["id"], []).append(use)

    def _unfinished(self, stamped: list[tuple[date, dict[str, str]]]) -> date | None:
        """The last stamp, if it has far fewer rows, or far fewer actions, than the four such weekdays before."""
        count: Counter[date] = Counter()
        total: Counter[date] = Counter()
        for day, row in stamped:
            count[day] += 1
            total[day] += sum(number(row[name]) or 0 for name in ACTIONS)  # type: ignore[assignment]
        last = max(count)
        before = [last - timedelta(days=7 * n) for n in range(1, 5)]
        few = any(held[last] < 0.7 * median(held[day] for day in before) for held in (count, total))
        return last if few else None

    # ---- rows ----

    def sundays(self) -> list[date]:
        """From the first full window to the last complete horizon, whose last day may be one without a closing."""
        begin = self.first_day + timedelta(days=LONGEST_WINDOW - 1)
        end = min(self.last_closing + timedelta(days=1 - HORIZON), self.last_day)
        first = begin + timedelta(days=6 - begin.weekday())
        return [first + timedelta(days=7 * n) for n in range((end - first).days // 7 + 1)]

    @property
    def last_closing(self) -> date:
        """Days after the last use may be planned, or mistyped, and complete no horizon."""
        return max(day for days in self.closings.values() for day in days if day <= self.last_day)

    def is_row(self, portal: str, sunday: date) -> bool:
        """Free, and used by then."""
        now = sunday + self.shift
        return (
            portal in self.company
            and portal not in self.undated
            and not any(day <= now for day in self.closings.get(portal, []))
            and any(use.day <= now for use in self.uses.get(portal, []))
        )

    def converts(self, portal: str, sunday: date) -> bool:
        now = sunday + self.shift
        return any(now < day <= now + timedelta(days=HORIZON) for day in self.closings.get(portal, []))

    # ---- features ----

    def features(self, portal: str, sunday: date) -> dict[str, Any]:
        now = sunday + self.shift
        known = [use for use in self.uses.get(portal, []) if use.day <= now]
        found = dict(firmographics(self.company[portal]))
        for part in (windows, recency, momentum, growth):
            found |= dict(part(partial(within, known, now), known, now))
        return found


Within = Callable[[int], list[Use]]
Named = Iterator[tuple[str, Any]]


def within(known: list[Use], now: date, days: int) -> list[Use]:
    return [use for use in known if use.day > now - timedelta(days=days)]


def values(uses: list[Use], column: str) -> list[float]:
    return [value for use in uses if (value := use.value(column)) is not None]


def total(uses: list[Use], column: str) -> float:
    return math.fsum(values(uses, column))


def mean(uses: list[Use], column: str) -> float | None:
    found = values(uses, column)
    return math.fsum(found) / len(found) if found else None


def largest(uses: list[Use], column: str) -> float | None:
    return max(values(uses, column), default=None)


def windows(inside: Within, known: list[Use], now: date) -> Named:
    """Actions, people, days, products of the last 7, 14 and 30 days."""
    for days in (7, 14, 30):
        uses, end = inside(days), f"{days}d"
        for column in ("ACTIONS", *ACTIONS):
            yield f"usage_windows.{column}_sum_{end}", total(uses, column)
        for column in ("ACTIONS", "USERS"):
            yield f"usage_windows.{column}_mean_{end}", mean(uses, column)
        for column in ("ACTIONS", "USERS", "PRODUCTS"):
            yield f"usage_windows.{column}_max_{end}", largest(uses, column)
        yield f"usage_windows.days_{end}", len({use.day for use in uses})
    for column in (*ACTIONS, *USERS):
        yield f"usage_windows.{column}_max_30d", largest(inside(30), column)


def recency(inside: Within, known: list[Use], now: date) -> Named:
    """Days since anything, and each product, was last used; a quarter at most."""
    yield "usage_recency.days_since_last", since_last(known, now)
    for short, column in zip(SHORT, ACTIONS, strict=True):
        of_it = [use for use in known if (use.counts[column] or 0) > 0]
        yield f"usage_recency.{short}_days_since_last", since_last(of_it, now)


def since_last(uses: list[Use], now: date) -> int | None:
    return min([*((now - use.day).days for use in uses), LONG]) if uses else None


def momentum(inside: Within, known: list[Use], now: date) -> Named:
    """Per day of 7 days against per day of 30; the trend of 30 days, per year of 365.25 days."""
    for column in ("ACTIONS", "USERS"):
        fast, slow = total(inside(7), column) / 7, total(inside(30), column) / 30
        yield f"usage_momentum.{column}_acceleration_7d_30d", fast / slow if slow else None
    for column in ("ACTIONS", "USERS", "PRODUCTS"):
        yield f"usage_momentum.{column}_slope_30d", slope(inside(30), column)


def slope(uses: list[Use], column: str) -> float | None:
    """Least squares, in fractions: exact."""
    points = [(Fraction(use.day.toordinal() * 4, 1461), Fraction(use.value(column))) for use in uses]  # type: ignore[arg-type]
    if len({x for x, _ in points}) < 2:
        return None
    x_mean, y_mean = (sum(p[i] for p in points) / len(points) for i in (0, 1))
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    return float(sum((x - x_mean) * (y - y_mean) for x, y in points) / spread)


def growth(inside: Within, known: list[Use], now: date) -> Named:
    """Logarithms, week on week, products used, a quarter of use at most."""
    week, before = total(inside(7), "ACTIONS"), total(inside(14), "ACTIONS") - total(inside(7), "ACTIONS")
    yield "usage_growth.log_actions_7d", math.log1p(max(week, 0))
    yield "usage_growth.log_actions_30d", math.log1p(max(total(inside(30), "ACTIONS"), 0))
    yield "usage_growth.log_users_30d", math.log1p(max(total(inside(30), "USERS"), 0))
    yield "usage_growth.week_on_week", math.log((1 + max(week, 0)) / (1 + max(before, 0)))
    used = [any((use.counts[column] or 0) > 0 for use in inside(30)) for column in ACTIONS]
    yield "usage_growth.products_30d", sum(used)
    first = max(((now - use.day).days for use in known), default=None)
    yield "usage_growth.tenure_days", first if first is None else min(first, LONG)


def firmographics(company: dict[str, str]) -> Named:
    """Of `1,001 to 10,000` the middle, of `10,001 or more` the number; rank and industry, and whether known."""
    numbers = [
        int(text)
        for text in re.findall(r"\d+", re.sub(r"(?<=\d)[.,](?=\d{3})", "", company["EMPLOYEE_RANGE"]))
    ]
    unknown = company["EMPLOYEE_RANGE"] in SAYS_NOTHING or not numbers
    yield "firmographics.EMPLOYEES", None if unknown else (numbers[0] + numbers[-1]) / 2
    yield "firmographics.EMPLOYEES_UNKNOWN", unknown
    rank = number(company["ALEXA_RANK"])
    rank = None if rank is None or rank in UNRANKED or rank < 0 else rank
    yield "firmographics.LOG_RANK", None if rank is None else math.log1p(rank)
    yield "firmographics.UNRANKED", rank is None
    industry = None if company["INDUSTRY"] in SAYS_NOTHING else company["INDUSTRY"]
    yield "firmographics.INDUSTRY", industry
    yield "firmographics.INDUSTRY_UNKNOWN", industry is None


def agrees(stored: Any, expected: Any) -> bool:
    """Texts and absent values exactly; numbers to 1e-9, as float32 stores them."""
    absent = stored is None or stored != stored
    if expected is None or absent:
        return expected is None and absent
    if isinstance(expected, str):
        return stored == expected
    off = 1e-9 * max(1.0, abs(expected))
    return bool(np.float32(expected - off) <= np.float32(stored) <= np.float32(expected + off))
