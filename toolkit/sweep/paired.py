"""Two settings on the rows that they share: the difference of a metric, with the interval of a paired bootstrap.

Each setting is a list of scored rows, one per seed. A replicate draws entities once, and uses the same
draw for both settings and for all seeds (a seed may change which rows validate; an entity stays itself).
The metric is computed seed by seed and averaged: the interval is that of the mean difference over entities
like these, given these seeds. It says nothing about seeds that were not tried; their spread does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.evaluation import metrics
from toolkit.evaluation.bootstrap import Draws, EntityBootstrap, interval
from toolkit.sweep.runs import Scored

REPLICATES = 1_000
FEWER = 200  # with more entities than this, whose intervals are narrow anyway
MANY = 100_000
RANKS = {"roc_auc", "pr_auc"}


class NotComparableError(Exception):
    """Why two settings share no rows to be compared on, in one sentence."""


@dataclass(frozen=True)
class Difference:
    """a − b on shared rows, averaged over seeds. draws: [replicates]; rows: of all seeds together; unshared:
    rows that only one side has; entities: those drawn from (draws of the very same ones belong together)."""

    value: float
    low: float
    high: float
    draws: np.ndarray
    rows: int
    unshared: int
    entities: frozenset[str]

    @property
    def certain(self) -> bool:
        """The interval leaves zero out."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Pair:
    """The rows that two settings share, per seed, in the same order; and the replicates."""

    both: Sequence[tuple[Scored, Scored]]
    boot: EntityBootstrap
    entities: frozenset[str]
    unshared: int  # rows of either that the other does not have

    @property
    def rows(self) -> int:
        return sum(len(a.y) for a, _ in self.both)

    def values(self, side: int) -> dict[str, float]:
        """Every metric of one side on the shared rows, averaged over seeds."""
        found = [metrics.evaluate(pair[side].type, pair[side].y, *pair[side].arguments) for pair in self.both]  # type: ignore[arg-type]
        return {name: float(np.mean([one[name] for one in found])) for name in found[0]}

    def differences(self, names: Sequence[str]) -> dict[str, Difference]:
        """a − b for some metrics."""
        ranks_only = {*names} <= RANKS
        a, b = (
            {name: np.mean([draws[name] for draws in side], axis=0) for name in names}
            for side in self._draws(ranks_only)
        )
        left, right = self.values(0), self.values(1)
        return {
            name: Difference(left[name] - right[name], *interval(a[name] - b[name]), a[name] - b[name], self.rows, self.unshared, self.entities)
            for name in names
        }  # fmt: skip

    def _draws(self, ranks_only: bool) -> tuple[list[Draws], list[Draws]]:
        """Per side and seed the draws of every metric. All seeds' rows lie behind each other in `boot`."""
        found: tuple[list[Draws], list[Draws]] = ([], [])
        total, start = self.rows, 0
        for pair in self.both:
            rows = np.arange(start, start + len(pair[0].y))
            start += len(rows)
            for side, scored in enumerate(pair):
                found[side].append(_draws_of(self.boot, scored, rows, total, ranks_only))
        return found


def pair(a: Sequence[Scored], b: Sequence[Scored]) -> Pair:
    """The rows that the settings share, seed by seed. Raises NotComparableError."""
    both = [_shared(left, right) for left, right in zip(a, b, strict=True)]
    entities = np.concatenate([left.drawn for left, _ in both])
    distinct = frozenset(entities)
    boot = EntityBootstrap(entities, FEWER if len(distinct) > MANY else REPLICATES, seed=0)
    rows = sum(len(left.y) for left, _ in both)
    return Pair(both, boot, distinct, sum(len(one.y) for one in (*a, *b)) - 2 * rows)


def same_rows(a: Scored, b: Scored) -> bool:
    """Whether the labelled rows and their labels are the same: only then do figures on them rank."""
    try:
        left, _ = _shared(a, b)
    except NotComparableError:
        return False
    return len(left.y) == len(a.y) == len(b.y)


def _shared(a: Scored, b: Scored) -> tuple[Scored, Scored]:
    if (a.type, a.classes) != (b.type, b.classes):
        raise NotComparableError("the target is of another type, or has other classes")
    if a.keys.has_duplicates or b.keys.has_duplicates:
        raise NotComparableError("rows stand twice in the predictions")
    at = b.keys.get_indexer(a.keys)
    rows = np.flatnonzero(at >= 0)
    if not len(rows):
        raise NotComparableError("they share no labelled rows (same entity and cutoff)")
    left, right = a.take(rows), b.take(at[rows])
    differ = int((~np.isclose(left.y, right.y, rtol=1e-6, atol=0)).sum())
    if differ:
        raise NotComparableError(
            f"labels differ in {differ:,} of {len(rows):,} shared rows: not the same target"
        )
    return left, right


def _draws_of(boot: EntityBootstrap, scored: Scored, rows: np.ndarray, total: int, ranks_only: bool) -> Draws:
    def wide(values: np.ndarray | None) -> np.ndarray | None:
        if values is None:
            return None
        found = np.zeros((total, *values.shape[1:]))
        found[rows] = values
        return found

    y, score, probability, decision = map(wide, (scored.y, *scored.arguments))
    if ranks_only and scored.type == "binary":
        probability = decision = None  # only what ranks rows is asked
    if scored.type == "regression":
        return boot.regression(y, score, rows=rows)  # type: ignore[arg-type]
    ask = boot.binary if scored.type == "binary" else boot.multiclass
    return ask(y, score, probability, decision, rows=rows)  # type: ignore[arg-type]
