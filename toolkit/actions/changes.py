"""What changed since the last list: who is new, who moved and how far, who left and why."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from toolkit.config.listing import BigMove
from toolkit.errors import DataError
from toolkit.report.lists import defused
from toolkit.runfolder import read_facts

KEPT = "ranking"  # folder beside the lists: everybody's place, and what the list was made by


@dataclass(frozen=True)
class Place:
    """Where somebody stood: rank from 1 on, and the probability (or value) of then."""

    rank: int
    value: float


@dataclass(frozen=True)
class Last:
    """An earlier list.

    places: key → place, of everybody who was ranked, or of those on the list where no more is known;
    of: how many were ranked, if that is known; listed: how many of them were on the list.
    """

    snapshot: str
    places: dict[str, Place]
    of: int | None
    listed: int


@dataclass(frozen=True)
class Moved:
    """How one row moved: new, up, down or same; its rank of then; whether that is a big move."""

    change: str
    previous_rank: int | None
    big: bool


@dataclass(frozen=True)
class Dropped:
    """Who was on the last list and is not on this one."""

    key: str
    place: Place
    why: str


def newest_before(folders: Iterable[Path], stem: str, bundle: str, cutoff: str) -> Path | None:
    """The folder with this bundle's list of the newest moment before `cutoff` (ISO); None if there is none."""
    found = []
    for folder in folders:
        facts = read_facts(folder / KEPT / f"{stem}.json")
        if facts.get("bundle") == bundle and (at := str(facts.get("cutoff") or "")) and at < cutoff:
            found.append((at, folder.name, folder))
    return max(found)[2] if found else None


def read(place: Path, stem: str, key: str, column: str) -> Last:
    """The list in a folder that a run or a scoring wrote, or in a CSV file alone.

    key, column: headings of the key and of the score. Raises DataError where it is no such list.
    """
    folder, name = (place, stem) if place.is_dir() else (place.parent, place.stem)
    facts, whole = read_facts(folder / KEPT / f"{name}.json"), folder / KEPT / f"{name}.parquet"
    if place.is_file() and not facts:
        return _read_csv(place, key, column)
    if not facts or not whole.is_file():
        raise DataError(
            f"there is no list `{name}.csv` with what belongs to it in `{folder}`",
            where="previous",
            fix="name the folder of a run or of a scoring, or a list's CSV file",
        )
    if facts.get("score_column") != column:
        raise DataError(
            f"`{folder / name}.csv` ranks by `{facts.get('score_column')}`, and not by `{column}`",
            where="previous",
            fix="name a list of the same target",
        )
    table = pq.read_table(whole)
    each = zip(*(table[name].to_pylist() for name in ("key", "rank", "value")), strict=True)
    places = {key: Place(rank, value) for key, rank, value in each}
    return Last(str(facts["snapshot"]), places, len(places), int(facts["listed"]))


def _read_csv(path: Path, key: str, column: str) -> Last:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file))
        places = {_as_written(line[key]): Place(int(line["rank"]), float(line[column])) for line in lines}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"`{path}` is not a list with `rank`, `{key}` and `{column}`",
            where="previous",
            why=f"{type(error).__name__}: {error}"[:200],
            fix="name the folder of a run or of a scoring, or a list's CSV file",
        ) from None
    return Last(str(lines[0].get("snapshot") or "") if lines else "", places, None, len(places))


def _as_written(cell: str) -> str:
    """A key as it was before its cell was defused."""
    return cell[1:] if cell.startswith("'") and defused(cell[1:]) == cell else cell


def moves(keys: list[str], values: list[float], of: int, last: Last, big: BigMove, odds: bool) -> list[Moved]:
    """How the rows of a list moved; keys, values: in order, from rank 1 on; odds: values are probabilities."""
    found = []
    for rank, (key, value) in enumerate(zip(keys, values, strict=True), 1):
        before = last.places.get(key)
        if before is None:
            found.append(Moved("new", None, False))
            continue
        change = "same" if rank == before.rank else "up" if rank < before.rank else "down"
        now, then = rank / of, before.rank / (last.of or of)
        far = abs(now - then) >= big.places and (now <= big.top) != (then <= big.top)
        far |= odds and bool(abs(value - before.value) >= big.probability - 1e-9)
        found.append(Moved(change, before.rank, far))
    return found


def dropped(
    listed: list[str], ranked: np.ndarray, scored: np.ndarray, known: Iterable[str], last: Last, table: str
) -> list[Dropped]:
    """Who has left the list, in the last list's order, and why.

    listed: keys on the list; ranked: of everybody in order; scored: of the cohort; known: of the entity
    table, which is `table`.
    """
    on = set(listed)
    gone = [(key, place) for key, place in last.places.items() if place.rank <= last.listed and key not in on]
    if not gone:
        return []
    rank = {key: number for number, key in enumerate(ranked.tolist(), 1)}
    cohort, everybody = set(scored.tolist()), set(known)

    def why(key: str) -> str:
        if key in rank:
            return f"below the list: rank {rank[key]:,}"
        if key in cohort:
            return "the target does not apply any more"
        return "no longer in the cohort" if key in everybody else f"no longer in table {table}"

    gone.sort(key=lambda item: item[1].rank)
    return [Dropped(key, place, why(key)) for key, place in gone]
