"""Which rows train, validate and test: decided before anything is fitted, from keys and cutoffs alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from toolkit.config.schema import (
    ByCutoffs,
    ByFraction,
    GroupedSplit,
    RandomSplit,
    RollingSplit,
    Split,
    TemporalSplit,
)
from toolkit.config.time import Span, span
from toolkit.errors import ConfigError, DataError

TRAIN, VALIDATION, TEST, UNUSED = 0, 1, 2, -1
NAMES = {TRAIN: "train", VALIDATION: "validation", TEST: "test", UNUSED: "unused"}


@dataclass(frozen=True)
class Assignment:
    """part: int8 [rows], one of TRAIN, VALIDATION, TEST, UNUSED (rows inside a gap)."""

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
    horizon: Span | None,
    seed: int,
    strata: np.ndarray | None = None,
) -> list[Assignment]:
    """One assignment, or one for each fold of a backtest (the last fold is the newest).

    entity: texts [rows]; cutoff: datetime64 [rows]; horizon: the longest one; strata: labels [rows] to
    keep in proportion. An entity's lot depends on its key and the seed only, not on who else is there.
    """
    if isinstance(split, TemporalSplit):
        moments = _moments(cutoff, split.test.cutoffs + 1)
        return [_temporal("test", split, moments, split.test.cutoffs, entity, cutoff, horizon, seed)]
    if isinstance(split, RollingSplit):
        moments = _moments(cutoff, split.folds + 1)
        return [
            _temporal(
                f"fold {split.folds - back}",
                split,
                moments[: len(moments) - back],
                1,
                entity,
                cutoff,
                horizon,
                seed,
            )
            for back in reversed(range(split.folds))
        ]
    lot = _lots(entity, seed)
    if isinstance(split, RandomSplit) and strata is not None:
        lot = _within(lot, entity, strata)
    part = np.full(len(entity), TRAIN, np.int8)
    part[lot < split.test + split.validation] = VALIDATION
    part[lot < split.test] = TEST
    return [_checked(Assignment("test", part))]


def _moments(cutoff: np.ndarray, needed: int) -> list[np.datetime64]:
    found = list(np.unique(cutoff[~np.isnat(cutoff)])) if len(cutoff) else []
    if len(found) < needed:
        raise ConfigError(
            f"a temporal split needs {needed} cutoffs here, and the cohort has {len(found)}",
            where="split",
            fix="declare more cutoffs, or use `split=grouped` or `split=random`",
        )
    return found


def _temporal(
    name: str,
    split: TemporalSplit | RollingSplit,
    moments: Sequence[np.datetime64],
    tests: int,
    entity: np.ndarray,
    cutoff: np.ndarray,
    horizon: Span | None,
    seed: int,
) -> Assignment:
    """The last `tests` moments test; whatever trains must have its horizon end by the first of them."""
    first_test = moments[-tests]
    gap = span(split.gap) if split.gap else horizon
    earlier = [m for m in moments[:-tests] if gap is None or gap.after(_datetime(m)) <= _datetime(first_test)]
    if not earlier:
        raise ConfigError(
            f"no cutoff lies a whole horizon ({gap}) before the test cutoff {_datetime(first_test):%Y-%m-%d}",
            where="split",
            why="labels of later cutoffs are not known yet on the day of the test",
            fix="add earlier cutoffs to the cohort",
        )
    part = np.full(len(entity), UNUSED, np.int8)
    part[np.isin(cutoff, moments[-tests:])] = TEST
    rule = split.validation
    if isinstance(rule, ByCutoffs):
        held = earlier[-rule.cutoffs :]
        train = [
            m
            for m in earlier[: -rule.cutoffs]
            if gap is None or gap.after(_datetime(m)) <= _datetime(held[0])
        ]
        if not train:
            raise ConfigError(
                f"{len(earlier)} cutoffs lie before the test: too few to validate on {rule.cutoffs} and train",
                where="split.validation",
                fix="validation: {fraction: 0.2}, or more cutoffs",
            )
        part[np.isin(cutoff, held)] = VALIDATION
        part[np.isin(cutoff, train)] = TRAIN
    else:
        assert isinstance(rule, ByFraction)
        old = np.isin(cutoff, earlier)
        held_entities = _lots(entity, seed) < rule.fraction
        part[old & held_entities] = VALIDATION
        part[old & ~held_entities] = TRAIN
    return _checked(Assignment(name, part))


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


def _within(lot: np.ndarray, entity: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Lots turned into even ranks inside each class, so that every part holds its share of it.

    An entity belongs to the class of its first row; all of its rows follow.
    """
    people = pd.DataFrame(
        {"entity": entity, "lot": lot, "class": pd.Series(strata).astype(str)}
    ).drop_duplicates("entity")
    rank = people.groupby("class")["lot"].rank(method="first") - 0.5
    people["lot"] = rank / people.groupby("class")["lot"].transform("size")
    return people.set_index("entity")["lot"].loc[entity].to_numpy()
