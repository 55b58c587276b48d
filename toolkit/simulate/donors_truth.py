"""The truth of the donor world: saved state, the five labels, and the ceiling of what can be known."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.errors import DataError
from toolkit.simulate.donors_people import (
    FIRST_YEAR,
    MONTH_START,
    MONTHS,
    Array,
    People,
    Ties,
    first,
    influence_matrix,
)
from toolkit.simulate.donors_story import State, step
from toolkit.simulate.donors_tables import donor_ids

Block = TypeVar("Block", People, Ties, State)

TOP = {  # target → the share of donors that counts as positive
    "high_engagement": 0.20,
    "network_influencer": 0.20,
    "consistent_giver": 0.20,
    "high_value": 0.15,
    "recent_engager": 0.25,
}


def save(block: Block, path: Path) -> None:
    """Write a dataclass of arrays, a column per array, in order of arrival."""
    pq.write_table(pa.table(dict(vars(block))), path, compression="zstd")


def load(kind: type[Block], path: Path) -> Block:
    """Read what `save` wrote; the arrays are writable."""
    table = pq.read_table(path)
    return kind(**{name: table[name].to_numpy().copy() for name in table.column_names})


def outcomes(state: State, ties: Ties, n: int, year: int, cutoff: int) -> dict[str, Array]:
    """The five quantities behind the labels for the first n donors, read on 31 December of `year`.

    high_engagement: the latest engagement score. network_influencer: over ties known before `cutoff` (a
    day), strength × (ln(1 + what the neighbour gave in the year) + events the neighbour attended in it).
    consistent_giver: with a gift, of the last five calendar years. high_value: lifetime giving.
    recent_engager: day of the last gift, -1 for never.
    """
    known = ties.since < cutoff
    a, b, strength = ties.a[known], ties.b[known], ties.strength[known]
    did = np.log1p(state.year_amount) + state.year_events
    reach = np.bincount(a, strength * did[b], len(did)) + np.bincount(b, strength * did[a], len(did))
    window = sum(1 << (k - FIRST_YEAR) for k in range(max(year - 4, FIRST_YEAR), year + 1))
    years = np.bitwise_count(state.gift_years & window)
    values = (np.nan_to_num(state.score, nan=-1.0), reach, years, state.lifetime, state.last_gift)
    return {name: value[:n] for name, value in zip(TOP, values, strict=True)}


def label(value: Array, share: float) -> Array:
    """1 where the value reaches the (1 - share) quantile and exceeds the least value. [donors], bool."""
    return (value >= np.quantile(value, 1 - share)) & (value > value.min())


def ceiling(folder: Path, cutoff: date, draws: int = 50, seed: int = 0) -> pd.DataFrame:
    """How likely each label is, given everything about the world on the day of the cutoff.

    Lives the year after `cutoff` (a 1 January) `draws` times with fresh chance, from the true state and
    with the same `step` that made the tables. The ROC-AUC of a probability against its realised label is
    what a perfect reader of the hidden state reaches; with few draws the estimate lies a little below.
    Thresholds are quantiles among all donors added before the cutoff, in each draw; a recipe fits them on
    its training rows, which moves labels near the threshold and the ceiling hardly at all.

    Returns one row per donor added before the cutoff: `ID`, and for each target its probability under the
    target's name and the realised label (0/1) under `<target>_realised`.
    Raises DataError if the folder holds no such truth.
    """
    folder = Path(folder)
    truth, year = folder / "truth", cutoff.year
    month = (year - FIRST_YEAR) * 12
    if (cutoff.month, cutoff.day) != (1, 1) or not 0 <= month < MONTHS:
        raise DataError(
            f"there is no true state for {cutoff.isoformat()}",
            why="the truth is kept for the first day of each year that has a whole year after it",
            fix=f"take 1 January of a year from {FIRST_YEAR} to {FIRST_YEAR + MONTHS // 12 - 1}",
        )
    if not (truth / "world.json").is_file():
        raise DataError(f"no whole simulated world in {folder}", fix="simulate it again")
    if draws < 1:
        raise DataError("the ceiling needs at least one draw", fix="draws=50")

    people, ties = load(People, truth / "people.parquet"), load(Ties, truth / "ties.parquet")
    influence = influence_matrix(ties, len(people.number))
    day = int(MONTH_START[month])
    n = int(np.searchsorted(people.added, day))
    before = load(State, truth / f"state_{year}.parquet")
    after = load(State, truth / f"state_{year + 1}.parquet")

    chance = {name: np.zeros(n) for name in TOP}
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        state = State(**{name: array.copy() for name, array in vars(before).items()})
        for ahead in range(12):
            step(state, people, influence, month + ahead, rng)
        for name, value in outcomes(state, ties, n, year, day).items():
            chance[name] += label(value, TOP[name]) / draws

    columns: dict[str, object] = {"ID": donor_ids(first(people, n)).to_pandas()}
    for name, value in outcomes(after, ties, n, year, day).items():
        columns[name] = chance[name]
        columns[f"{name}_realised"] = label(value, TOP[name]).astype(np.int8)
    return pd.DataFrame(columns)
