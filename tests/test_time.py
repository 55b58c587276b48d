"""Spans, steps and time zones as YAML writes them."""

from __future__ import annotations

from datetime import datetime

import pytest

from toolkit.config.time import Span, span, step, to_local, to_utc


def day(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "expected", "short"),
    [
        ("30d", Span(30, "day"), "30d"), ("1 day", Span(1, "day"), "1d"), ("2 weeks", Span(2, "week"), "2w"),
        ("12 months", Span(12, "month"), "12mo"), ("1y", Span(1, "year"), "1y"), ("6H", Span(6, "hour"), "6h"),
    ],
)  # fmt: skip
def test_spans_are_whole_calendar_units(text: str, expected: Span, short: str) -> None:
    assert span(text) == expected
    assert span(text).short == short


@pytest.mark.parametrize("text", ["", "0d", "-1d", "1.5 years", "12", "months", "12 moons", "9999 years"])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"write for example|thousand years"):
        span(text)


@pytest.mark.parametrize(
    ("start", "length", "after", "before"),
    [
        ("2024-01-31", "1 month", "2024-02-29", "2023-12-31"), ("2023-01-31", "1 month", "2023-02-28", "2022-12-31"),
        ("2024-02-29", "1 year", "2025-02-28", "2023-02-28"), ("2024-03-31", "1 month", "2024-04-30", "2024-02-29"),
        ("2024-02-29", "30d", "2024-03-30", "2024-01-30"), ("2024-12-15", "1 month", "2025-01-15", "2024-11-15"),
    ],
)  # fmt: skip
def test_months_and_years_end_on_the_last_day_there_is(
    start: str, length: str, after: str, before: str
) -> None:
    assert span(length).after(day(start)) == day(after)
    assert span(length).before(day(start)) == day(before)


def test_a_day_in_a_zone_ends_at_the_zones_midnight() -> None:
    """Berlin's clocks went forward on 2024-03-31: that day had 23 hours."""
    midnight = to_utc(day("2024-03-31"), "Europe/Berlin")
    assert midnight == day("2024-03-30T23:00")
    assert span("1 day").after(midnight, "Europe/Berlin") == day("2024-03-31T22:00")
    assert span("24h").after(midnight, "Europe/Berlin") == day("2024-03-31T23:00")
    first_of_march = to_utc(day("2024-03-01"), "Europe/Berlin")
    assert to_local(span("1 month").before(first_of_march, "Europe/Berlin"), "Europe/Berlin") == day(
        "2024-02-01"
    )
    assert span("1 month").before(first_of_march) == day("2024-01-29T23:00")  # what UTC would make of it


def test_a_moment_with_an_offset_keeps_its_instant() -> None:
    assert to_utc(datetime.fromisoformat("2024-01-01T00:00+05:00"), "Europe/Berlin") == day(
        "2023-12-31T19:00"
    )


@pytest.mark.parametrize(
    ("text", "start", "expected"),
    [
        ("1 month", "2024-01-31", ["2024-01-31", "2024-02-29", "2024-03-31"]),  # the 31st is not forgotten
        ("1 week on sunday", "2024-03-14", ["2024-03-17", "2024-03-24", "2024-03-31"]),
        ("2 weeks on Monday", "2024-03-04", ["2024-03-04", "2024-03-18"]),
        ("1 year", "2022-02-28", ["2022-02-28", "2023-02-28", "2024-02-28"]),
        ("12h", "2024-03-30T12:00", ["2024-03-30T12:00", "2024-03-31", "2024-03-31T12:00"]),
    ],
)
def test_steps_walk_the_calendar_both_ends_included(text: str, start: str, expected: list[str]) -> None:
    end = day("2024-03-31T12:00") if "h" in text.split()[0] else day("2024-03-31")
    assert list(step(text).moments(day(start), end)) == [day(d) for d in expected]


@pytest.mark.parametrize("text", ["1 month on sunday", "1 week on someday", "sunday"])
def test_a_weekday_goes_with_weeks(text: str) -> None:
    with pytest.raises(ValueError, match="week"):
        step(text)
