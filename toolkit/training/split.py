"""Which rows train, validate and test: decided before anything is fitted, from keys and cutoffs alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from toolkit.config.schema import (
    ByCutoffs,
    ColumnSplit,
    RandomSplit,
    RollingSplit,
    Split,
    TemporalSplit,
)
from toolkit.config.time import Span, span, to_local
from toolkit.errors import ConfigError, DataError, did_you_mean

TRAIN, VALIDATION, TEST, UNUSED = 0, 1, 2, -1
NAMES = {TRAIN: "train", VALIDATION: "validation", TEST: "test", UNUSED: "unused"}

TENTHS = 10
RARE = 20  # entities; a class of fewer cannot be shared out evenly


@dataclass(frozen=True)
class Assignment:
    """part: int8 [rows], one of TRAIN, VALIDATION, TEST, UNUSED (rows inside a gap, or of no part)."""

    name: str
    part: np.ndarray

    def rows(self, part: int) -> np.ndarray:
        return self.part == part

    def counts(self) -> dict[str, int]:
        return {name: int((self.part == part).sum()) for part, name in NAMES.items()}


def assign(
    split: Split,
    entity: np.ndarray,
    cutoff: np.ndarray,
    horizons: Sequence[Span],
    seed: int,
    strata: np.ndarray | None = None,
    zone: str = "UTC",
    said: np.ndarray | None = None,
) -> list[Assignment]:
    """One assignment, or one for each fold of a backtest (the last fold is the newest).

    entity: texts [rows]; cutoff: datetime64 in UTC [rows]; horizons: those of all
    targets; strata: labels
    [rows] to keep in proportion; zone: the cohort's time zone, on whose calendar spans are measured;
    said: texts [rows], or None, of the column that a split by column goes by, or whose equal values stay
    on one side; an entity without a value is on its own.
    An entity's lot depends on its key and the seed only, not on who else is there, unless strata are
    kept in proportion.
    """
    if isinstance(split, TemporalSplit | RollingSplit):
        gaps = _gaps(split, horizons)
        tests, folds = (split.test.cutoffs, 1) if isinstance(split, TemporalSplit) else (1, split.folds)
        rows = Rows(entity, cutoff, seed, zone)
        moments = _moments(split, tests + folds, gaps, rows)
        return [
            _temporal(
                f"fold {folds - back}" if isinstance(split, RollingSplit) else "test",
                split, moments[: len(moments) - back], tests, gaps, rows, lambda: _fix(split, moments, gaps, rows),
            )
            for back in reversed(range(folds))
        ]  # fmt: skip
    if isinstance(split, ColumnSplit):
        assert said is not None
        return [_by_column(split, said)]
    unit = entity if said is None else np.where(pd.isna(said), entity, said)
    lot = _lots(unit, seed)
    if isinstance(split, RandomSplit) and strata is not None:
        lot = _within(lot, entity, unit, strata)
    part = np.full(len(entity), TRAIN, np.int8)
    part[lot < split.test + split.validation] = VALIDATION
    part[lot < split.test] = TEST
    return [_checked(Assignment("test", part))]


def _by_column(split: ColumnSplit, said: np.ndarray) -> Assignment:
    part = np.full(len(said), UNUSED, np.int8)
    for number in (TRAIN, VALIDATION, TEST):
        name = NAMES[number]
        value = getattr(split, name)
        part[said == value] = number
        if not (part == number).any():
            counts = pd.Series(said).value_counts()
            raise DataError(
                f"no row has `{split.column}` = `{value}`, so there are no rows for {name}",
                where=f"split.{name}",
                why="found: " + ", ".join(f"`{text}` ({n:,} rows)" for text, n in counts.head(8).items()),
                fix=f"say which value means {name}: {did_you_mean(value, map(str, counts.index[:100]))}",
            )
    return Assignment("test", part)


@dataclass(frozen=True)
class Rows:
    """What a temporal split looks at: entity [rows], cutoff in UTC [rows]."""

    entity: np.ndarray
    cutoff: np.ndarray
    seed: int
    zone: str

    def ended(self, moment: np.datetime64, spans: Sequence[Span], by: np.datetime64) -> bool:
        """Have all spans that begin at a moment ended by another one?"""
        return all(span.after(_datetime(moment), self.zone) <= _datetime(by) for span in spans)


def _moments(
    split: TemporalSplit | RollingSplit, needed: int, gaps: Sequence[Span], rows: Rows
) -> list[np.datetime64]:
    cutoff = rows.cutoff
    found = list(np.unique(cutoff[~np.isnat(cutoff)])) if len(cutoff) else []
    if len(found) < needed:
        raise ConfigError(
            f"a temporal split needs {needed} cutoffs here, and the cohort has {len(found)}",
            where="split",
            fix=_fix(split, found, gaps, rows),
        )
    return found


def _fix(
    split: TemporalSplit | RollingSplit, moments: Sequence[np.datetime64], gaps: Sequence[Span], rows: Rows
) -> str:
    """What to write on the command line so that these cutoffs can be split: of what works, the most even."""

    def train(held: int, tests: int, back: int) -> int:
        """How many cutoffs train where the last ones test and validate, if the newest `back` did not exist."""
        known = moments[: len(moments) - back]
        if len(known) <= tests:
            return 0
        earlier = [moment for moment in known if rows.ended(moment, gaps, known[-tests])]
        if held == 0 or len(earlier) <= held:  # entities validate, at every cutoff before the test
            return len(earlier) if held == 0 else 0
        return sum(rows.ended(moment, gaps, earlier[-held]) for moment in earlier[:-held])

    rolling = isinstance(split, RollingSplit)
    most = split.folds if isinstance(split, RollingSplit) else split.test.cutoffs
    wanted = split.validation.cutoffs if isinstance(split.validation, ByCutoffs) else 0
    for kinds in ([*range(1, wanted + 1)], [0]):
        found = []
        for held in kinds:
            for last in range(2 if rolling else 1, most + 1):
                n = train(held, 1, last - 1) if rolling else train(held, last, 0)
                if n:
                    found.append((min(n, last, held or n), n, held, last))
        if found:
            _, _, held, last = max(found)
            part = f"split.folds={last}" if rolling else f"split.test.cutoffs={last}"
            if held:
                return f"write split.validation.cutoffs={held} {part}, or declare more cutoffs"
            dealt = "'split.validation={fraction: 0.2}' " if wanted else ""
            return f"write {dealt}{part}, or declare more cutoffs"
    return "declare earlier cutoffs or a shorter horizon, or use `split=grouped`, which deals entities"


def _gaps(split: TemporalSplit | RollingSplit, horizons: Sequence[Span]) -> list[Span]:
    """What must have ended before the next part begins: every horizon, and a longer gap if one is declared.

    All are asked, not the longest alone: whether 30 days or a month is longer depends on the month.
    """
    declared = span(split.gap) if split.gap else None
    longest = max(horizons, key=lambda length: length.days, default=None)
    if declared and longest and declared.days < longest.days - 3:  # 30 days against a month is no mistake
        raise ConfigError(
            f"the gap of {declared} is shorter than the horizon of {longest}",
            where="split.gap",
            why="labels of the rows before the gap would not be known yet at the cutoff after it",
            fix="leave `gap` out (it is the horizon then), or make it longer",
        )
    return [*dict.fromkeys(horizons), *([declared] if declared else [])]


def _temporal(
    name: str,
    split: TemporalSplit | RollingSplit,
    moments: Sequence[np.datetime64],
    tests: int,
    gaps: Sequence[Span],
    rows: Rows,
    fix: Callable[[], str],
) -> Assignment:
    """The last `tests` moments test; whatever trains must have its horizon end by the first of them."""
    validation = split.validation
    first_test = moments[-tests]
    earlier = [moment for moment in moments[:-tests] if rows.ended(moment, gaps, first_test)]
    if not earlier:
        raise ConfigError(
            f"{name}: no cutoff lies {' and '.join(map(str, gaps))} before the cutoff {day(first_test, rows)}",
            where="split",
            why="labels of later cutoffs are not known yet on the day of the test",
            fix=fix(),
        )
    part = np.full(len(rows.entity), UNUSED, np.int8)
    part[np.isin(rows.cutoff, moments[-tests:])] = TEST
    if isinstance(validation, ByCutoffs):
        held = earlier[-validation.cutoffs :]
        train = [moment for moment in earlier[: -validation.cutoffs] if rows.ended(moment, gaps, held[0])]
        if not train:
            raise ConfigError(
                f"{name}: {len(earlier)} cutoffs lie before the test: too few to validate on {validation.cutoffs} and train",
                where="split.validation",
                why="a cutoff trains if its horizon has ended before the first one that validates",
                fix=fix(),
            )
        part[np.isin(rows.cutoff, held)] = VALIDATION
        part[np.isin(rows.cutoff, train)] = TRAIN
    else:
        old = np.isin(rows.cutoff, earlier)
        part[old] = np.where(_lots(rows.entity[old], rows.seed) < validation.fraction, VALIDATION, TRAIN)
    return _checked(Assignment(name, part))


def day(moment: np.datetime64, rows: Rows) -> str:
    return f"{to_local(_datetime(moment), rows.zone):%Y-%m-%d}"


def _checked(assignment: Assignment) -> Assignment:
    counts = assignment.counts()
    for name in ("train", "validation", "test"):
        if not counts[name]:
            raise DataError(
                f"the split leaves no rows for {name}",
                where="split",
                why=", ".join(f"{key}: {n:,}" for key, n in counts.items()),
                fix="more rows, other fractions, or other cutoffs",
            )
    return assignment


def _datetime(moment: np.datetime64) -> datetime:
    return pd.Timestamp(moment).to_pydatetime()


def _lots(entity: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) per row, the same for all rows of an entity: SipHash of its key under the seed."""
    key = hashlib.sha256(f"split {seed}".encode()).hexdigest()[:16]
    hashed = pd.util.hash_array(np.asarray(entity, dtype=object), hash_key=key, categorize=True)
    return hashed / 2.0**64


def _classes(strata: np.ndarray) -> np.ndarray:
    """Labels as texts [rows]; a number of many values as the tenth of the rows that it lies in."""
    values = pd.Series(strata)
    if pd.api.types.is_float_dtype(values) and values.nunique() > TENTHS:
        values = (values.rank(pct=True) * TENTHS).apply(np.ceil)
    return values.astype(str).to_numpy(object)


def _within(lot: np.ndarray, entity: np.ndarray, unit: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Lots turned into even ranks inside each class, so that every part holds its share of it.

    An entity belongs to the class of its first row, what stays together (`unit` [rows]) to the class of most
    of its entities; all of its rows follow. Classes too rare to have their share in every part are dealt
    together. A unit lies in the middle of the ranks that its entities take up: a large one unbalances
    the parts by half of itself at most.
    """
    people = pd.DataFrame({"unit": unit, "lot": lot, "class": _classes(strata)})[
        ~pd.Series(entity).duplicated()
    ]
    by = people.groupby("unit", sort=False)
    units = by.agg(lot=("lot", "first"), size=("lot", "size"))
    units["class"] = (
        by["class"].agg(lambda own: own.mode().iloc[0]) if len(units) < len(people) else by["class"].first()
    )
    small = units.groupby("class")["size"].transform("sum") < RARE
    units.loc[small, "class"] = "rare"
    units = units.sort_values("lot", kind="stable")
    of_class = units.groupby("class")["size"]
    units["lot"] = (of_class.cumsum() - units["size"] / 2) / of_class.transform("sum")
    return units["lot"].loc[unit].to_numpy()
