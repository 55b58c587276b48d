"""Days off, as they are declared: whether a date is one, and how far the nearest are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlglot import exp

from toolkit.config.calendars import Calendar
from toolkit.config.time import to_local
from toolkit.data import sql
from toolkit.errors import ConfigError

HOLIDAY_WORDS = {
    "is_holiday": "{} is a holiday",
    "days_to_holiday": "days from {} to the next holiday",
    "days_since_holiday": "days from the last holiday to {}",
}


def days_off(part: str, day: exp.Expression, holidays: Sequence[str]) -> exp.Expression:
    """Whether a day is one of some, or how many days it is from the nearest on one side; missing if none is there,
    or if none of the day's year is declared."""
    days = [exp.cast(exp.Literal.string(one), "DATE") for one in holidays]
    years = sorted({int(one[:4]) for one in holidays})
    if part == "is_holiday":
        value: exp.Expression = exp.cast(exp.In(this=day.copy(), expressions=days), "INT")
    else:
        apart = []
        for one in days:
            ends = (one, day.copy()) if part == "days_to_holiday" else (day.copy(), one)
            gap = exp.Sub(this=ends[0], expression=ends[1])
            apart.append(exp.Case().when(exp.GTE(this=ends[0].copy(), expression=ends[1].copy()), gap))
        value = sql.call("least", *apart)  # which passes over NULL
    year = exp.In(this=sql.call("year", day.copy()), expressions=[sql.literal(one) for one in years])
    return exp.Case().when(year, value)


def need_holidays(name: str, node: Calendar, cutoffs: Sequence[datetime], zone: str) -> None:
    """ConfigError if the declared holidays say nothing about the time of some cutoff."""
    if not node.holidays:
        return
    where = f"features.{name}.holidays"
    years = sorted({int(day[:4]) for day in node.holidays})
    for cutoff in cutoffs:
        day = to_local(cutoff, zone).date()
        if day.year not in years:
            raise ConfigError(
                f"the cutoff {day} lies in a year of which no holiday is declared",
                where=where,
                why=f"declared are those of {', '.join(map(str, years))}",
                fix=f"add the holidays of {day.year}",
            )
        for part, beyond, found in (
            ("days_to_holiday", "after", node.holidays[-1] >= str(day)),
            ("days_since_holiday", "before", node.holidays[0] <= str(day)),
        ):
            if part in node.parts and not found:
                raise ConfigError(
                    f"no holiday {beyond} the cutoff {day} is declared, so `{part}` has nothing to count to",
                    where=where,
                    fix=f"add the nearest one {beyond} it, if it lies in another year, too",
                )
