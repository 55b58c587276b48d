"""Spans of time and calendars of cutoffs as YAML writes them: `30d`, `12 months`, `1 week on sunday`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, WithJsonSchema

UNITS = {
    "h": "hour", "hour": "hour", "hours": "hour",
    "d": "day", "day": "day", "days": "day",
    "w": "week", "week": "week", "weeks": "week",
    "mo": "month", "month": "month", "months": "month",
    "y": "year", "year": "year", "years": "year",
}  # fmt: skip
DAYS = {"hour": 1 / 24, "day": 1.0, "week": 7.0, "month": 365.25 / 12, "year": 365.25}
LONGEST = 1000 * 365.25  # days; calendars end at the year 9999
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SPAN = re.compile(r"^\s*(\d+)\s*([a-z]+)\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Span:
    """A whole number of calendar units: 12 months is 12 months, however many days they have."""

    count: int
    unit: str

    @property
    def days(self) -> float:
        """Mean length in days (a month is 365.25 / 12), for rates and for ordering spans."""
        return self.count * DAYS[self.unit]

    def after(self, moment: datetime, zone: str = "UTC") -> datetime:
        """`moment` (naive UTC) moved forward on the calendar of `zone`.

        The last day of a shorter month where the day does not exist. Hours are hours on the clock of
        physics; a day, month or year ends at the same time of day in the zone, whatever summer time does.
        """
        return _moved(moment, self.count, self.unit, zone)

    def before(self, moment: datetime, zone: str = "UTC") -> datetime:
        return _moved(moment, -self.count, self.unit, zone)

    def __str__(self) -> str:
        return f"{self.count} {self.unit}{'s' if self.count != 1 else ''}"

    @property
    def short(self) -> str:
        """As it stands in a feature's name: `90d`, `12mo`, `1y`."""
        return (
            f"{self.count}{ {'hour': 'h', 'day': 'd', 'week': 'w', 'month': 'mo', 'year': 'y'}[self.unit] }"
        )


def _moved(moment: datetime, count: int, unit: str, zone: str) -> datetime:
    if zone == "UTC" or unit == "hour":
        return _shift(moment, count, unit)
    return to_utc(_shift(to_local(moment, zone), count, unit), zone)


def _shift(moment: datetime, count: int, unit: str) -> datetime:
    if unit in ("hour", "day", "week"):
        return moment + timedelta(**{f"{unit}s": count})
    months = moment.year * 12 + moment.month - 1 + count * (12 if unit == "year" else 1)
    year, month = divmod(months, 12)
    first_of_next = datetime(year + (month == 11), (month + 1) % 12 + 1, 1)
    last_day = (first_of_next - timedelta(days=1)).day
    return moment.replace(year=year, month=month + 1, day=min(moment.day, last_day))


def span(text: str) -> Span:
    """`30d`, `2 weeks`, `12 months`, `1y` → Span. Raises ValueError with what is allowed."""
    found = SPAN.match(str(text))
    unit = UNITS.get(found.group(2).lower()) if found else None
    if not found or unit is None or int(found.group(1)) < 1:
        raise ValueError(
            f"`{text}` is not a span of time; write for example 30d, 2 weeks, 12 months or 1 year"
        )
    length = Span(int(found.group(1)), unit)
    if length.days > LONGEST:
        raise ValueError(f"`{text}` is longer than a thousand years; for all of the past write `all`")
    return length


def _checked_span(text: str) -> str:
    span(text)
    return text


def _checked_window(text: str) -> str:
    if text not in ("all", "horizon"):
        span(text)
    return text


def _checked_past(text: str) -> str:
    if text == "horizon":
        raise ValueError("a feature's window closes at the cutoff; `horizon` lies after it")
    return text


def _checked_step(text: str) -> str:
    step(text)
    return text


def _checked_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):  # unknown, malformed, or a folder of zones such as `Europe`
        raise ValueError(f"`{text}` is not a time zone; write for example UTC or Europe/Berlin") from None
    return text


def _pattern(extra: str = "") -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": rf"^\s*(\d+\s*[a-zA-Z]+{extra})\s*$"})


SpanText = Annotated[str, AfterValidator(_checked_span), _pattern()]
WindowText = Annotated[str, AfterValidator(_checked_window), _pattern("|all|horizon")]
PastWindowText = Annotated[
    str, AfterValidator(_checked_past), AfterValidator(_checked_window), _pattern("|all")
]
StepText = Annotated[str, AfterValidator(_checked_step), _pattern(r"(\s+on\s+\w+)?")]
ZoneText = Annotated[str, AfterValidator(_checked_zone)]


@dataclass(frozen=True)
class Step:
    """`1 week on sunday`: a span and, for weeks, the weekday it falls on (Monday is 0)."""

    span: Span
    weekday: int | None = None

    def moments(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Moments from `start` (or the first matching weekday after it) to `end`, both included."""
        if self.weekday is not None:
            start += timedelta(days=(self.weekday - start.weekday()) % 7)
        index = 0
        while (moment := _shift(start, self.span.count * index, self.span.unit)) <= end:
            yield moment
            index += 1


def step(text: str) -> Step:
    """`1 month`, `1 week on sunday` → Step."""
    head, _, day = str(text).lower().partition(" on ")
    if not day:
        return Step(span(head))
    if span(head).unit != "week" or day.strip() not in WEEKDAYS:
        raise ValueError(f"`{text}`: `on <weekday>` goes with weeks, for example `1 week on sunday`")
    return Step(span(head), WEEKDAYS.index(day.strip()))


TICK = timedelta(microseconds=1)  # instants are kept in microseconds


def last_moment(day: datetime) -> datetime:
    """The last microsecond of the day that begins at `day`: all of it is over, nothing of the next has begun."""
    return day + timedelta(days=1) - TICK


def to_local(moment: datetime, zone: str) -> datetime:
    """A naive UTC instant as the wall clock in `zone` shows it."""
    return moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def to_utc(moment: datetime, zone: str) -> datetime:
    """A wall-clock moment in `zone` (or one with its own offset) as naive UTC, as all instants are kept."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(zone))
    return moment.astimezone(UTC).replace(tzinfo=None)
