"""What the rows of recipe `churn` are, written down a second time: plain Python over the exported tables.

Written from what the YAML and its comments promise, without the compiler. A cutoff is the beginning of a day:
rows of earlier days are known, a window of `n` days reaches back to `cutoff - n`, that day included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pyarrow.parquet as pq

Row = dict[str, Any]
Test = Callable[[Row], bool]
Named = Iterator[tuple[str, Any]]
TABLES = (
    "activity",
    "contracts",
    "cancellations",
    "emails",
    "tickets",
    "answers",
    "surveys",
    "visits",
    "setup",
    "market",
)
SILENCE = 30


class Export:
    """The tables, row by row. shift: days that the oracle looks too far ahead; a right one looks none."""

    def __init__(self, folder: Path, shift: int = 0) -> None:
        self.shift = timedelta(days=shift)
        self.clients = {row["client"]: row for row in pq.read_table(folder / "clients.parquet").to_pylist()}
        self.rows: dict[str, dict[str, list[Row]]] = {}
        for name in TABLES:
            held = self.rows.setdefault(name, {})
            for row in pq.read_table(folder / f"{name}.parquet").to_pylist():
                held.setdefault(row["client"], []).append(row)
            for rows in held.values():
                rows.sort(key=lambda row: row["day"])

    def all_of(self, table: str, client: str) -> list[Row]:
        return self.rows[table].get(client, [])

    def is_row(self, client: str, cutoff: date) -> bool:
        """Has been used within 30 days and has not given notice."""
        now = cutoff + self.shift
        started = self.clients[client]["started_on"] < now
        noticed = any(row["day"] < now for row in self.all_of("cancellations", client))
        used = any(now - timedelta(days=30) <= row["day"] < now for row in self.all_of("activity", client))
        return started and used and not noticed

    def gives_notice(self, client: str, cutoff: date, days: int) -> bool:
        now = cutoff + self.shift
        return any(
            now <= row["day"] < now + timedelta(days=days) for row in self.all_of("cancellations", client)
        )

    def falls_silent(self, client: str, cutoff: date, days: int) -> bool:
        """On some day of the horizon, that day and the 29 before it are without use."""
        now, used = cutoff + self.shift, {row["day"] for row in self.all_of("activity", client)}
        ahead = (now + timedelta(days=n) for n in range(days))
        return any(not any(day - timedelta(days=back) in used for back in range(SILENCE)) for day in ahead)

    def leaves(self, client: str, cutoff: date, days: int) -> bool:
        return self.gives_notice(client, cutoff, days) or self.falls_silent(client, cutoff, days)

    def features(self, client: str, cutoff: date) -> dict[str, Any]:
        look = Look(self, client, cutoff + self.shift)
        found = {}
        for part in (use, trends, opinions, market, depth):
            found |= dict(part(look))
        return found


class Look:
    """One client's rows as they were known at a moment."""

    def __init__(self, export: Export, client: str, now: date) -> None:
        self.export, self.client, self.now = export, client, now

    def rows(self, table: str, days: int | None = None, test: Test = lambda row: True) -> list[Row]:
        begin = self.now - timedelta(days=days) if days else date.min
        return [
            row
            for row in self.export.all_of(table, self.client)
            if begin <= row["day"] < self.now and test(row)
        ]

    def sum(self, table: str, column: str, days: int | None = None, test: Test = lambda row: True) -> float:
        return math.fsum(row[column] for row in self.rows(table, days, test))

    def mean(
        self, table: str, column: str, days: int | None = None, test: Test = lambda row: True
    ) -> float | None:
        found = [row[column] for row in self.rows(table, days, test)]
        return fmean(found) if found else None

    def last(self, table: str, column: str, days: int | None = None, test: Test = lambda row: True) -> Any:
        """Of the same day the larger value."""
        rows = self.rows(table, days, test)
        return max((row["day"], row[column]) for row in rows)[1] if rows else None

    def since(self, table: str) -> int | None:
        rows = self.rows(table)
        return (self.now - rows[-1]["day"]).days - 1 if rows else None

    def gaps(self, days: int) -> list[int]:
        """Days from use to use, where the later one lies in the window."""
        known = [row["day"] for row in self.rows("activity")]
        begin = self.now - timedelta(days=days)
        return [(b - a).days for a, b in pairwise(known) if b >= begin]

    def gap(self, days: int) -> float | None:
        return fmean(self.gaps(days)) if self.gaps(days) else None


def less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def use(look: Look) -> Named:
    for days in (7, 30, 90):
        yield f"activity_windows.days_{days}d", len(look.rows("activity", days))
        for column in ("logins", "documents", "exports"):
            yield f"activity_windows.{column}_sum_{days}d", look.sum("activity", column, days)
    for column in ("minutes", "longest_pause"):
        yield f"activity_windows.{column}_mean_30d", look.mean("activity", column, 30)
    gaps = look.gaps(90)
    yield (
        "activity_windows.days_since_last_90d",
        look.since("activity") if look.rows("activity", 90) else None,
    )
    yield "activity_windows.gap_mean_90d", look.gap(90)
    yield "activity_windows.gap_std_90d", stdev(gaps) if len(gaps) > 1 else None
    yield "activity_windows.gap_max_90d", max(gaps, default=None)


def trends(look: Look) -> Named:
    late, month = len(look.rows("activity", 15)), len(look.rows("activity", 30))
    yield "activity_trends.active_days_change", 2 * late - month
    for column, name in (("logins", "login_decline"), ("documents", "document_decline")):
        now, all_of = look.sum("activity", column, 30), look.sum("activity", column, 90)
        yield f"activity_trends.{name}", math.log((1 + now) / (1 + (all_of - now) / 2))
    now, both = look.sum("activity", "documents", 14), look.sum("activity", "documents", 28)
    yield "activity_trends.document_decline_14d", math.log((1 + now) / (1 + both - now))
    for name, column, days in (
        ("feature_diversity_change", "features", 30),
        ("pause_growth", "longest_pause", 14),
    ):
        yield (
            f"activity_trends.{name}",
            less(look.mean("activity", column, days), look.mean("activity", column, 90)),
        )
    yield "activity_trends.gap_growth", less(look.gap(30), look.gap(90))
    usual = look.gap(90)
    yield (
        "activity_trends.silence_against_usual",
        None if usual is None else look.since("activity") / (1 + usual),
    )  # type: ignore[operator]

    def share(days: int) -> float:
        count = {
            what: len(
                look.rows(
                    "emails",
                    days,
                    lambda row, what=what: row["what"] == what and row["topic"] != "comparison",
                )
            )
            for what in ("opened", "sent")
        }
        return count["opened"] / (1 + count["sent"])

    yield "activity_trends.email_momentum", share(45) - share(180)


def opinions(look: Look) -> Named:
    yield "satisfaction.sentiment_90d", look.mean("tickets", "sentiment", 90)
    yield "satisfaction.last_sentiment", look.last("tickets", "sentiment")
    yield "satisfaction.open_tickets", len(look.rows("tickets")) - len(look.rows("answers"))
    yield (
        "satisfaction.feature_requests_90d",
        len(look.rows("tickets", 90, lambda row: row["kind"] == "feature_request")),
    )
    yield "satisfaction.slow_answers_90d", len(look.rows("answers", 90, lambda row: row["hours"] > 72))
    nps = look.last("surveys", "score", 365, lambda row: row["kind"] == "nps")
    yield "satisfaction.nps", nps
    yield (
        "satisfaction.nps_change",
        less(nps, look.mean("surveys", "score", 365, lambda row: row["kind"] == "nps")),
    )
    yield "satisfaction.help_views_30d", look.sum("visits", "views", 30, lambda row: row["page"] == "help")


def market(look: Look) -> Named:
    yield (
        "market_context.comparison_opens_90d",
        len(look.rows("emails", 90, lambda row: row["what"] == "opened" and row["topic"] == "comparison")),
    )
    yield (
        "market_context.pricing_views_60d",
        look.sum("visits", "views", 60, lambda row: row["page"] == "pricing"),
    )
    term = look.rows("contracts")[-1]
    yield "market_context.days_to_renewal", max((term["day"] - look.now).days + 1 + term["term_days"], 0)
    fees = [row["monthly_fee"] for row in look.rows("contracts", 400)]
    yield "market_context.price_rise_year", math.log((1 + fees[-1]) / (1 + fees[0])) if fees else 0.0
    yield "market_context.volatility", look.last("market", "volatility")


def depth(look: Look) -> Named:
    most = max((row["users"] for row in look.rows("activity", 30)), default=None)
    yield "depth.users_30d", most
    yield "depth.seat_use", most / look.rows("contracts")[-1]["seats"] if most else None
    yield "depth.integrations", look.sum("setup", "change", None, lambda row: row["what"] != "customised")
    gone = look.rows("setup", 90, lambda row: row["what"] == "disconnected")
    yield "depth.disconnected_90d", len(gone)
    yield "depth.customised", len(look.rows("setup", None, lambda row: row["what"] == "customised"))
