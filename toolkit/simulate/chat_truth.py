"""The truth of the chat world: who leaves when, and what could be known of what comes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from toolkit.errors import DataError
from toolkit.simulate import chat_story as story
from toolkit.simulate.chat_story import Array, Users
from toolkit.simulate.chat_tables import FIRST_DAY, user_ids

NEVER = np.iinfo(np.int32).max
HORIZON = 30  # days


def left_weeks(users: Users, weeks: int, seed: int) -> Array:
    """The week from whose beginning on each user is gone, NEVER for none. int32 [users]."""
    total = np.zeros(len(users.mood))
    left = np.full(len(users.mood), NEVER, np.int32)
    for week, state in story.weeks_of(users, weeks, seed):
        total -= np.log1p(-story.hazard(state, users, week))
        left[(left == NEVER) & (total >= users.patience)] = week
    return left


def save(users: Users, left: Array, chances: Sequence[dict[str, Any]], folder: Path) -> None:
    """`users.parquet` (user_id, week of leaving or null, traits) and `contacts.parquet` (chance of an answer)."""
    table = pa.table({
        "user_id": user_ids(len(left)), "left": pa.array(left, mask=left == NEVER), "arrival": users.arrival,
        "mood": users.mood, "drive": users.drive, "peak": users.peak, "weekend": users.weekend,
    })  # fmt: skip
    pq.write_table(table, folder / "users.parquet", compression="zstd")
    pq.write_table(pa.concat_tables(map(pa.table, chances)), folder / "contacts.parquet", compression="zstd")


def silence(folder: Path, sunday: date, draws: int = 50, seed: int = 0) -> pd.DataFrame:
    """The chance to write nothing in the 30 days after a Sunday, of users who wrote in the 30 days up to it.

    For a reader who knows everybody's traits, mood and drive, past and present, but not who has left: that is
    inferred from the silence since the last message. With alive and left as masses, each week takes

        left += alive · hazard;  alive *= (1 − hazard) · exp(−rate)

    and the chance is that of both, over `draws` futures of mood and drive. The ROC-AUC and PR-AUC of it are
    what a perfect reader of all that can be known reaches. Returns a row per such user: `user_id`, `chance`,
    `silent` (0/1). Raises DataError if the folder holds no such truth.
    """
    world, users, week = _world(folder, sunday, HORIZON // 7 + 1)
    last, ahead = _messages(folder, sunday, len(users.mood))
    active = last >= 7 * week + 7 - HORIZON
    alive, gone = np.ones(len(last)), np.zeros(len(last))
    now = None
    for number, state in story.weeks_of(users, week + 1, world["seed"]):
        silent = last < 7 * number  # nothing from this week on
        hazard = story.hazard(state, users, number)
        gone = np.where(silent, gone + alive * hazard, 0.0)
        alive = np.where(silent, alive * (1 - hazard) * np.exp(-story.rate(state)), 1.0)
        now = state
    assert now is not None
    known = np.where(active, gone + alive, 1.0)
    gone_now = gone / known
    days = story.weekdays(users).cumsum(axis=1)
    stays = np.zeros(len(last))
    for number in range(draws):
        rng = np.random.default_rng([seed, number])
        state, mass, lost = now.copy(), np.ones(len(last)), np.zeros(len(last))
        for later in range(HORIZON // 7 + 1):
            story.step(state, users, rng)
            hazard = story.hazard(state, users, week + 1 + later)
            rest = min(7, HORIZON - 7 * later)
            lost += mass * hazard
            mass *= (1 - hazard) * np.exp(-story.rate(state) * days[:, rest - 1])
        stays += (lost + mass) / draws
    chance = gone_now + (1 - gone_now) * stays
    return pd.DataFrame({
        "user_id": user_ids(len(last)).to_numpy(zero_copy_only=False)[active],
        "chance": chance[active], "silent": (ahead == 0).astype(np.int8)[active],
    })  # fmt: skip


def tone(folder: Path, sunday: date, draws: int = 50, seed: int = 0) -> pd.DataFrame:
    """The mean tone to expect of the messages of the week after a Sunday, +1, 0 and -1 each.

    For a reader of the mood of that Sunday. How well it goes with the mean sentiment of what is then
    written (squared correlation) is the R² that a perfect reader reaches: most of the rest is luck, as few messages
    are written in a week. Returns a row per user: `user_id`, `tone`.
    """
    world, users, week = _world(folder, sunday, 1)
    now = next(state for number, state in story.weeks_of(users, week + 1, world["seed"]) if number == week)
    expected = np.zeros(len(users.mood))
    for number in range(draws):
        state = now.copy()
        story.step(state, users, np.random.default_rng([seed, number]))
        expected += story.expected_tone(state.mood) / draws
    return pd.DataFrame({"user_id": user_ids(len(expected)).to_numpy(zero_copy_only=False), "tone": expected})


def answers(folder: Path) -> pd.DataFrame:
    """A row per contact: `contact_id`, the chance of an answer (0 where the user has left), `answered` (0/1).

    The chance is that of the moment of sending, with mood and drive of that week: a little more than anybody
    can know on the Sunday before.
    """
    _world(folder, None, 0)
    return pq.read_table(Path(folder) / "truth" / "contacts.parquet").to_pandas()


def _world(folder: Path, sunday: date | None, after: int) -> tuple[dict[str, Any], Users, int]:
    """The world's settings, its users, and the number of the week that a Sunday ends."""
    path = Path(folder) / "truth" / "world.json"
    if not path.is_file():
        raise DataError(f"no whole simulated world in {folder}", fix="simulate it again")
    world = json.loads(path.read_text(encoding="utf-8"))
    users = story.draw(world["size"], world["weeks"], np.random.default_rng([world["seed"], 0]))
    days = (sunday - FIRST_DAY).days if sunday else 6
    if days % 7 != 6 or not 0 <= days // 7 < world["weeks"] - after:
        raise DataError(
            f"there is no truth for {sunday and sunday.isoformat()}",
            why=f"it is kept for Sundays with {after} simulated weeks after them",
            fix=f"a Sunday from {FIRST_DAY.isoformat()} on, {world['weeks'] - after} weeks long",
        )
    return world, users, days // 7


def _messages(folder: Path, sunday: date, size: int) -> tuple[Array, Array]:
    """Per user: the day of the last message up to a Sunday, counted from the first Monday; messages in 30 days after."""
    options = pyarrow.csv.ConvertOptions(include_columns=["user_id", "sent_at"])
    rows = pyarrow.csv.read_csv(
        Path(folder) / "messages.csv",
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=options,
    )
    who = pc.cast(pc.utf8_slice_codeunits(rows["user_id"], 1), pa.int64()).to_numpy() - 1
    day = (rows["sent_at"].to_numpy().astype("datetime64[D]") - np.datetime64(FIRST_DAY)).astype(int)
    end = (sunday - FIRST_DAY).days
    last = np.full(size, -NEVER, np.int64)
    np.maximum.at(last, who[day <= end], day[day <= end])
    ahead = np.bincount(who[(day > end) & (day <= end + HORIZON)], minlength=size)
    return last, ahead
