"""The truth of the mailing world: how likely each mailing was to be opened, clicked and acted upon."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from toolkit.errors import DataError
from toolkit.simulate.mailings_story import FETCHED, FIRST_DAY, STEPS, Array, Week, delays, draw
from toolkit.simulate.mailings_tables import BEGIN, key

HOURS = 7 * 24  # of the horizon


def save(weeks: Sequence[Week], path: Path) -> None:
    """A row per send: week, recipient's place, hour of the week at which it is sent, and the three chances."""
    table = {
        "week": np.concatenate([np.full(len(week.who), week.number, np.int16) for week in weeks]),
        "who": np.concatenate([week.who.astype(np.int32) for week in weeks]),
        "sent": np.concatenate([week.sent.astype(np.int16) for week in weeks]),
    }
    chance = np.concatenate([week.chance for week in weeks])
    table |= {name: chance[:, place] for place, name in enumerate(STEPS)}
    pq.write_table(pa.table(table), path, compression="zstd")


def ceiling(folder: Path, sunday: date, draws: int = 50, seed: int = 0) -> pd.DataFrame:
    """The true chance, for a reader of the hidden state, of each step within 7 days after a Sunday.

    Of the mailing planned for the week that follows; what a mailing of the week before still brings is left out of the
    chance (few are opened so late), so the ceiling is a little higher still. How many steps come too late for
    the week is the mean over draws.

    Returns a row for each recipient with a mailing planned: `recipient_id`, `open`, `click`, `action` (chances),
    `opened`, `clicked`, `acted` (0/1: reported within those days, of whatever mailing; who clicks or acts has
    opened, too). Raises DataError if the folder holds no such truth.
    """
    truth = Path(folder) / "truth"
    if not (truth / "world.json").is_file():
        raise DataError(f"no whole simulated world in {folder}", fix="simulate it again")
    world = json.loads((truth / "world.json").read_text(encoding="utf-8"))
    days = (sunday - FIRST_DAY).days + 1
    if sunday.isoweekday() != 7 or not 7 <= days <= 7 * (world["weeks"] - 1):
        raise DataError(
            f"there is no truth for {sunday.isoformat()}",
            why="it is kept for Sundays with 7 exported days after them",
            fix=f"a Sunday of the {world['weeks'] - 1} weeks from {FIRST_DAY.isoformat()} on",
        )
    if draws < 1:
        raise DataError("the ceiling needs at least one draw", fix="draws=50")
    people = draw(world["size"], world["weeks"], np.random.default_rng([world["seed"], 0]))
    rows = pq.read_table(truth / "chances.parquet", filters=[("week", "==", days // 7)]).to_pandas()
    who = rows["who"].to_numpy()
    left = HOURS - rows["sent"].to_numpy()[:, None]
    in_time = np.zeros((len(rows), len(STEPS)))
    for number in range(draws):
        in_time += (delays(len(rows), np.random.default_rng([seed, number])) <= left) / draws
    chance = np.cumprod(rows[list(STEPS)].to_numpy(), axis=1) * in_time
    chance[:, 0] = np.where(people.fetches[who], 1 - (1 - FETCHED) * (1 - chance[:, 0]), chance[:, 0])
    found = pd.DataFrame({"recipient_id": key(who)} | {name: chance[:, i] for i, name in enumerate(STEPS)})
    return found.assign(**_happened(Path(folder), days, found["recipient_id"]))


def _happened(folder: Path, days: int, recipients: pd.Series) -> dict[str, Array]:
    """Whether each recipient's responses of the 7 days after `days` hold each step, or a later one."""
    responses = pc.read_csv(folder / "responses.csv").to_pandas()
    at = responses["occurred_at"].to_numpy("datetime64[s]")
    begin = BEGIN + np.timedelta64(days, "D")
    within = responses[(at >= begin) & (at < begin + np.timedelta64(7, "D"))]
    found = {}
    for place, name in enumerate(("opened", "clicked", "acted")):
        keys = within.loc[within["event"].isin(STEPS[place:]), "recipient_id"]
        found[name] = recipients.isin(keys).to_numpy().astype(np.int8)
    return found


def reached(chance: Array, happened: Array) -> dict[str, float]:
    """What acting on a chance reaches: `roc_auc`; `precision` and `recall` where F1 is highest; `recall_at_85`, the
    highest recall at which precision is 0.85 or more (0: nowhere), and `precision_at_80`, the highest precision at
    which recall is 0.80 or more. chance, happened: [rows]."""
    chance, happened = np.asarray(chance, float), np.asarray(happened, float)
    order = np.argsort(-chance, kind="stable")
    last = np.append(np.diff(chance[order]) != 0, True)  # equal chances are taken together
    selected = np.arange(1, len(order) + 1)[last]
    hits = happened[order].cumsum()[last]
    precision, recall = hits / selected, hits / happened.sum()
    best = int(np.argmax(2 * hits / (selected + happened.sum())))
    rank = pd.Series(chance).rank().to_numpy()
    yes = happened.sum()
    area = (rank[happened == 1].sum() - yes * (yes + 1) / 2) / (yes * (len(chance) - yes))
    return {
        "roc_auc": float(area),
        "precision": float(precision[best]),
        "recall": float(recall[best]),
        "recall_at_85": float(recall[precision >= 0.85].max(initial=0.0)),
        "precision_at_80": float(precision[recall >= 0.80].max(initial=0.0)),
    }
