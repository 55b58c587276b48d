"""The three files of the portal world as they are exported, with all that goes wrong in exports."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from toolkit.simulate.portals_story import INDUSTRIES, PRODUCTS, RANGES, Array, Portals, State

FIRST_DAY = date(2019, 1, 7)  # a Monday
UNRANKED = 16_000_001
LAST_DAYS = 3  # days of the last week that the export still holds
FIRST_PROSPECT = 100_001  # smaller ids are customers'
COUNTS = tuple(f"{what}_{product}" for what in ("ACTIONS", "USERS") for product in PRODUCTS)
LOUDNESS = np.array([2.6, 1.7, 1.2, 2.0], np.float32)  # log of the actions in a usual week, by product
AFTER_CLOSE = 0.8  # customers use more


def ids(closed: Array, rng: np.random.Generator) -> Array:
    """A number for each portal [portals]: customers are numbered from 1, the others from 100,001 (or higher)."""
    numbers = np.empty(len(closed), np.int64)
    customers = int(closed.sum())
    first = max(FIRST_PROSPECT, 10 * customers + 1)
    numbers[closed] = 1 + rng.permutation(customers)
    numbers[~closed] = first + rng.permutation(len(closed) - customers)
    return numbers


def write_companies(
    portals: Portals,
    number: Array,
    close_day: Array,
    exported: int,
    folder: Path,
    rng: np.random.Generator,
) -> None:
    """`customers.csv` and `noncustomers.csv`. close_day: days since FIRST_DAY, the largest int32: never closed."""
    size = len(number)
    employees = np.array([text for text, *_ in RANGES], object)[portals.range]
    employees[rng.random(size) < 0.18] = ""
    odd = rng.random(size) < 0.004
    employees[odd] = rng.choice(["Unknown", "n/a"], int(odd.sum()))
    rank = np.where(portals.ranked, portals.rank, UNRANKED).astype(object)
    rank[rng.random(size) < 0.01] = ""
    industry = np.array(INDUSTRIES, object)[portals.industry]
    industry[rng.random(size) < 0.85] = ""

    def company(rows: Array) -> dict[str, Array]:
        return {"ALEXA_RANK": rank[rows], "EMPLOYEE_RANGE": employees[rows], "INDUSTRY": industry[rows]}

    customers = np.flatnonzero(close_day < np.iinfo(np.int32).max)
    customers = customers[np.argsort(number[customers])]
    again = customers[rng.random(len(customers)) < 0.02]  # sold to twice, and exported so
    later = rng.integers(40, 200, len(again))
    seen = close_day[again] + later <= exported
    rows = np.concatenate([customers, again[seen]])
    later = np.concatenate([np.zeros(len(customers), int), later[seen]])
    first = np.datetime64(FIRST_DAY)
    closed = np.datetime_as_string(first + close_day[rows] + later).astype(object)
    lot = rng.random(len(rows))
    closed[lot < 0.006] = ""
    closed[(lot >= 0.006) & (lot < 0.009)] = "pending"
    money = np.round(np.exp(5.2 + 0.25 * portals.range[rows] + 0.5 * rng.standard_normal(len(rows))), 2)
    lot = rng.random(len(rows))
    money = np.where(lot < 0.03, 0.0, np.where(lot < 0.05, -money, money))
    _write(folder / "customers.csv", {"id": number[rows], "CLOSEDATE": closed, "MRR": money, **company(rows)})

    others = np.flatnonzero(close_day == np.iinfo(np.int32).max)
    overlap = customers[rng.random(len(customers)) < 0.02]
    repeated = others[rng.random(len(others)) < 0.004]
    rows = np.concatenate([others, overlap, repeated])
    rows = rows[rng.permutation(len(rows))]
    _write(folder / "noncustomers.csv", {"id": number[rows], **company(rows)})


def _write(path: Path, columns: dict[str, Array]) -> None:
    table = pa.table({name: pa.array([str(value) for value in values]) for name, values in columns.items()})
    pc.write_csv(table, path, pc.WriteOptions(quoting_style="needed"))


class Usage:
    """`usage_actions.csv`, week by week: a row only where something was used."""

    def __init__(
        self, folder: Path, number: Array, daily: bool, weeks: int, rng: np.random.Generator
    ) -> None:
        self.number, self.daily, self.weeks, self.rng = number, daily, weeks, rng
        names = ["id", "WHEN_TIMESTAMP", *COUNTS]
        schema = pa.schema([(n, pa.string() if n == "WHEN_TIMESTAMP" else pa.int64()) for n in names])
        self.writer = pc.CSVWriter(
            folder / "usage_actions.csv", schema, write_options=pc.WriteOptions(quoting_style="none")
        )
        self.schema = schema

    def __enter__(self) -> Usage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()

    def add(self, week: int, state: State, portals: Portals, closed: Array) -> None:
        """A week's rows. closed: who is a customer by its beginning [portals]."""
        drive = state.drive + AFTER_CLOSE * closed
        chance = np.where(portals.arrival <= week, 1 / (1 + np.exp(2.3 - 1.6 * drive)), 0.0)
        chance = np.where(portals.arrival == week, 0.7, chance)  # a new portal is looked at
        at = np.flatnonzero(self.rng.random(len(drive)) < chance)
        drive = drive[at]
        tried = self.rng.random((len(at), len(PRODUCTS))) < 1 / (
            1 + np.exp(0.7 - 1.4 * (drive[:, None] + portals.taste[at]))
        )
        volume = np.exp(LOUDNESS + 0.7 * drive[:, None] + 0.6 * self.rng.standard_normal(tried.shape))
        actions = np.where(tried, 1 + self.rng.poisson(volume), 0)
        team = np.minimum(0.4 + 0.5 * portals.range[at], 2.5)
        users = np.where(tried, 1 + self.rng.poisson(team * np.exp(np.minimum(0.5 * drive, 1.5)))[:, None], 0)
        users = np.minimum(users, actions)
        if self.daily:
            self._daily(week, at, actions, users)
            return
        if week == self.weeks - 1:
            actions = self.rng.binomial(actions, LAST_DAYS / 7)
            users = np.minimum(users, actions)
        self._rows(at, np.zeros(len(at), int), week, actions, users)

    def _daily(self, week: int, at: Array, actions: Array, users: Array) -> None:
        """A week's actions dealt to one to five of its days."""
        lot = self.rng.random((len(at), 7)) + np.array([0, 0, 0, 0, 0, 0.4, 0.4])
        days = 1 + self.rng.binomial(4, 0.4, len(at))
        chosen = lot.argsort(axis=1).argsort(axis=1) < days[:, None]
        share = np.where(chosen, self.rng.random(chosen.shape) + 0.2, 0)
        share /= share.sum(axis=1, keepdims=True)
        dealt = np.stack([self.rng.multinomial(actions[:, p], share) for p in range(len(PRODUCTS))], axis=2)
        for day in range(LAST_DAYS if week == self.weeks - 1 else 7):
            some = dealt[:, day]
            self._rows(at, np.full(len(at), day), week, some, np.minimum(users, some))

    def _rows(self, at: Array, day: Array, week: int, actions: Array, users: Array) -> None:
        used = actions.sum(axis=1) > 0
        if not used.any():
            return
        stamp = FIRST_DAY + timedelta(days=7 * week + int(day[0]))
        columns = [
            pa.array(self.number[at[used]]),
            pa.array([f"{stamp} 00:00:00.000"]).take(pa.array(np.zeros(int(used.sum()), int))),
            *(
                pa.array(values[used, p].astype(np.int64))
                for values in (actions, users)
                for p in range(len(PRODUCTS))
            ),
        ]
        self.writer.write_table(pa.table(columns, schema=self.schema))
