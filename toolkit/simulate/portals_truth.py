"""The truth of the portal world: who closes when, and what could be known of it on a Sunday."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.errors import DataError
from toolkit.simulate.portals_story import WEEKDAY, Array, Portals, State, draw, hazard, step, weeks_of
from toolkit.simulate.portals_tables import FIRST_DAY

NEVER = np.iinfo(np.int32).max
EARLIER = 0.015  # share of the portals that closed before the first week
HORIZON = 30  # days


def close_days(portals: Portals, weeks: int, seed: int) -> Array:
    """The day on which each portal closes, counted from the first Monday, NEVER for none. int32 [portals]."""
    size = len(portals.fit)
    rng = np.random.default_rng([seed, 4])
    total = np.zeros(size)
    day = np.full(size, NEVER, np.int32)
    for week, state in weeks_of(portals, weeks, seed):
        total -= np.log1p(-hazard(state, portals, week))
        now = (day == NEVER) & (total >= portals.threshold)
        day[now] = 7 * week + portals.weekday[now].astype(np.int32)
    before = (rng.random(size) < EARLIER) & (portals.arrival < -4)
    day[before] = -rng.integers(1, 365, int(before.sum()))
    return day


def save(portals: Portals, number: Array, close_day: Array, path: Path) -> None:
    """A row per portal: its id, true closing day (null: never, or after the last week), fit and arrival."""
    closed = np.datetime64(FIRST_DAY) + np.where(close_day == NEVER, 0, close_day)
    table = pa.table(
        {
            "id": pa.array(number).cast(pa.string()),
            "closed": pa.array(closed, pa.date32(), mask=close_day == NEVER),
            "fit": portals.fit,
            "arrival": portals.arrival,
        }
    )
    pq.write_table(table, path, compression="zstd")


def ceiling(folder: Path, sunday: date, draws: int = 50, seed: int = 0) -> pd.DataFrame:
    """The true chance of closing within 30 days of a Sunday, for a reader of the hidden state.

    Lives on from the true state of that week with fresh chance, `draws` times, and takes the mean over the
    draws of 1 - Π(1 - hazard); of the week in which the 30 days end, as much as its days weigh. The
    ROC-AUC and PR-AUC of this chance against what happened are what a perfect reader reaches; with few
    draws the estimate lies a little below.

    Returns one row per portal that is free at the end of that Sunday: `id`, `chance`, `closes` (0/1).
    Raises DataError if the folder holds no such truth.
    """
    truth = Path(folder) / "truth"
    if not (truth / "world.json").is_file():
        raise DataError(f"no whole simulated world in {folder}", fix="simulate it again")
    world = json.loads((truth / "world.json").read_text(encoding="utf-8"))
    weeks, size = world["weeks"], world["size"]
    days = (sunday - FIRST_DAY).days
    last = 7 * weeks - 1 - HORIZON
    if sunday.isoweekday() != 7 or not 0 <= days <= last:
        raise DataError(
            f"there is no truth for {sunday.isoformat()}",
            why="it is kept for Sundays with 30 simulated days after them",
            fix=f"a Sunday from {FIRST_DAY.isoformat()} on, {weeks - 5} weeks long",
        )
    if draws < 1:
        raise DataError("the ceiling needs at least one draw", fix="draws=50")
    portals = draw(size, weeks, np.random.default_rng([world["seed"], 0]))
    week = days // 7
    now = next(state for number, state in weeks_of(portals, weeks, world["seed"]) if number == week)
    found = pq.read_table(truth / "portals.parquet")
    offsets = (found["closed"].cast(pa.int32()).to_numpy() - (FIRST_DAY - date(1970, 1, 1)).days).astype(
        float
    )
    free = ~(offsets <= days)
    chance = np.zeros(size)
    for number in range(draws):
        rng = np.random.default_rng([seed, number])
        state = State(now.interest.copy(), now.project.copy(), now.left.copy())
        stays = np.ones(size)
        for ahead in range(1, HORIZON // 7 + 2):
            step(state, portals, rng)
            share = WEEKDAY[: min(7, HORIZON - 7 * (ahead - 1))].sum()
            stays *= 1 - share * hazard(state, portals, week + ahead)
        chance += (1 - stays) / draws
    closes = (offsets > days) & (offsets <= days + HORIZON)
    return pd.DataFrame(
        {"id": found["id"].to_numpy()[free], "chance": chance[free], "closes": closes[free].astype(np.int8)}
    )
