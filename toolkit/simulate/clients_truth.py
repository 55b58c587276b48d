"""The truth of the client world: who leaves when, and what could be known of it on a day."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.errors import DataError
from toolkit.simulate.clients_story import NEVER, SILENT, Array, Clients, State, days_of, draw, step
from toolkit.simulate.clients_tables import FIRST_DAY

HORIZONS = (30, 60, 90)  # days


def save(ids: Array, clients: Clients, end: State, path: Path) -> None:
    """A row per client: id, day of its start and of its notice (null: none yet), fit, and whether it has decided."""
    none = end.notice == NEVER
    table = pa.table(
        {
            "client": ids,
            "start": clients.start,
            "notice": pa.array(FIRST_DAY + np.where(none, 0, end.notice), pa.date32(), mask=none),
            "fit": clients.fit,
            "decided": end.decided > 0,
        }
    )
    pq.write_table(table, path, compression="zstd")


def left_by(state: State, day: int) -> Array:
    """Who has given notice, or been silent for 30 days, when the day ends. bool [clients]."""
    return (state.notice <= day) | (day - state.last >= SILENT)


def ceiling(folder: Path, cutoff: date, draws: int = 100, seed: int = 0) -> pd.DataFrame:
    """The true chance of leaving within 30, 60 and 90 days of a day's beginning, for a reader of the hidden state.

    A client leaves when it gives notice, or when 30 days have passed without use. Lives on from the true
    state with fresh chance, `draws` times, with the same `step` that made the tables. The ROC-AUC of this
    chance against what happened is what a perfect reader reaches; with few draws the estimate lies a
    little below.

    Returns one row per client that is active then (started, no notice, used within 30 days): `client`, and for
    each horizon `chance_<days>` and `leaves_<days>` (0/1). Raises DataError if the folder holds no such truth.
    """
    truth = Path(folder) / "truth"
    if not (truth / "world.json").is_file():
        raise DataError(f"no whole simulated world in {folder}", fix="simulate it again")
    world = json.loads((truth / "world.json").read_text(encoding="utf-8"))
    days = 7 * world["weeks"]
    first = int((np.datetime64(cutoff) - FIRST_DAY).astype(int))
    if not SILENT <= first <= days - max(HORIZONS):
        raise DataError(
            f"there is no truth for {cutoff.isoformat()}",
            why="it is kept for days with 30 simulated days before and 90 after them",
            fix=f"a day from {FIRST_DAY + SILENT} to {FIRST_DAY + days - max(HORIZONS)}",
        )
    if draws < 1:
        raise DataError("the ceiling needs at least one draw", fix="draws=100")
    clients = draw(world["size"], days, np.random.default_rng([world["seed"], 0]))
    story = days_of(clients, days, world["seed"])
    now = next(state.copy() for day, state in story if day == first - 1)
    ahead = ((day, state) for day, state in story)  # the life that was lived goes on from there
    rows = np.flatnonzero(clients.here(first - 1) & ~left_by(now, first - 1))
    found: dict[str, Array] = {"client": pq.read_table(truth / "clients.parquet")["client"].to_numpy()[rows]}
    for horizon, left in _lived(ahead, clients, first).items():
        found[f"leaves_{horizon}"] = left[rows].astype(np.int8)
    chance = {horizon: np.zeros(len(clients.fit)) for horizon in HORIZONS}
    for number in range(draws):
        rng, state = np.random.default_rng([seed, number]), now.copy()
        lived = ((day, _stepped(state, clients, day, rng)) for day in range(first, first + max(HORIZONS)))
        for horizon, left in _lived(lived, clients, first).items():
            chance[horizon] += left / draws
    return pd.DataFrame(found | {f"chance_{horizon}": chance[horizon][rows] for horizon in HORIZONS})


def _stepped(state: State, clients: Clients, day: int, rng: np.random.Generator) -> State:
    step(state, clients, day, rng)
    return state


def _lived(lives: Iterable[tuple[int, State]], clients: Clients, first: int) -> dict[int, Array]:
    """Who has left by the end of each horizon that begins on day `first`, in one life."""
    left, found = np.zeros(len(clients.fit), bool), {}
    for day, state in lives:
        left |= left_by(state, day)
        if day - first + 1 in HORIZONS:
            found[day - first + 1] = left.copy()
        if day - first + 1 == max(HORIZONS):
            break
    return found


def figures(found: pd.DataFrame, at: float = 0.6) -> pd.DataFrame:
    """What a perfect reader reaches, by horizon: ROC-AUC, and of the clients with a chance of `at` or more their
    number, the share that leaves (precision), and of those who stay the share among them (false-positive rate).

    found: of `ceiling`, of one cutoff or several below each other.
    """
    from scipy.stats import rankdata

    rows = []
    for horizon in HORIZONS:
        chance, left = found[f"chance_{horizon}"].to_numpy(), found[f"leaves_{horizon}"].to_numpy() == 1
        yes, no, called = left.sum(), (~left).sum(), chance >= at
        auc = (rankdata(chance)[left].sum() - yes * (yes + 1) / 2) / max(yes * no, 1)
        rows.append(
            {"horizon": horizon, "rows": len(found), "leaving": left.mean(), "roc_auc": auc, "called": int(called.sum()),
             "precision": (called & left).sum() / max(called.sum(), 1), "recall": (called & left).sum() / max(yes, 1),
             "false_positive_rate": (called & ~left).sum() / max(no, 1)}
        )  # fmt: skip
    return pd.DataFrame(rows).set_index("horizon")
