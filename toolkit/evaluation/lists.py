"""What a list a cutoff would have brought: precision and capture at declared sizes, and how steady lists are.

A list is the labelled rows of one cutoff, best score first. Figures are means over lists, because a list is
what people work through; intervals draw entities, each with its rows in all lists, because an entity that
stands in every list is one piece of evidence and not many.

Rows that tie at the edge of a size share it: the result is the mean over all orders of the tied rows, whatever
their keys. How steady lists are is of whole lists, in which ties are as they are written (`ties`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.bootstrap import EntityBootstrap, interval
from toolkit.evaluation.gains import wilson
from toolkit.evaluation.metrics import NAN, Floats, mean_defined, ratio, tally
from toolkit.evaluation.overlap import rank_correlation
from toolkit.evaluation.ties import best_first

Ends = tuple[float, float]
UNKNOWN: Ends = (NAN, NAN)


@dataclass(frozen=True)
class AtSize:
    """What the first `size` rows of each list bring by one model.

    precision: share of positives among them, the mean over lists; capture: of the entities that are
    positive in any list, the share that is among the first ones of a list in which it is; by_list: precision in each list; short: lists with fewer rows, which count whole; over_rule:
    precision less that of the best single rule, with the interval of the paired difference.
    """

    size: int
    precision: float
    capture: float
    by_list: list[float]
    short: int
    interval: Ends = UNKNOWN
    capture_interval: Ends = UNKNOWN
    over_rule: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Steadiness:
    """How much of a list stays on the next one, as means over pairs of lists that follow each other.

    overlap: size → of its first rows whose entity is in the next list at all, the share that is among the
    first ones there, too; by_pair: the same for each pair; remain: size → the share that is in the next list
    at all; rank_correlation: Spearman, of the entities that both lists have.
    """

    pairs: int
    overlap: dict[int, float]
    by_pair: dict[int, list[float]]
    remain: dict[int, float]
    rank_correlation: float


@dataclass(frozen=True)
class Lists:
    """The lists of some rows, in the order of their names, and what they are judged with. An entity is in a list once.

    rows: for each list the positions of its labelled rows; y [rows] of 0/1; entity [rows]: of
    `ties.places`; boot: replicates over the same rows, None where there are none.
    """

    names: list[str]
    rows: list[NDArray[np.intp]]
    y: Floats
    entity: NDArray[np.intp]
    boot: EntityBootstrap | None
    positives: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, y: Floats, group: NDArray, entity: NDArray[np.intp], boot: EntityBootstrap | None) -> Lists:
        """y [rows] of 0/1, NaN where there is no label; group [rows]: the list that each row belongs to."""
        names, code = np.unique(group, return_inverse=True)
        code = np.where(np.isnan(y), len(names), code)
        order = np.argsort(code, kind="stable")
        ends = np.searchsorted(code[order], np.arange(len(names) + 1))
        rows = [order[a:b] for a, b in pairwise(ends)]
        there = [n for n, part in enumerate(rows) if len(part)]
        return cls(
            [str(names[n]) for n in there], [rows[n] for n in there], y, entity, boot,
            [int(y[rows[n]].sum()) for n in there],
        )  # fmt: skip

    def facts(self) -> list[dict[str, Any]]:
        """Each list's cutoff, rows, positives and base rate: what calling at random gives, at any size."""
        return [
            {"cutoff": name, "rows": len(rows), "positives": positives, "base_rate": positives / len(rows)}
            for name, rows, positives in zip(self.names, self.rows, self.positives, strict=True)
        ]

    def judge(self, score: Floats, sizes: Sequence[int]) -> tuple[list[AtSize], Floats]:
        """Figures of a model at each size, and the replicates of its precision [sizes, replicates].

        score [rows]. Without lists there is nothing: ([], [0, 0]).
        """
        if not self.rows or not sizes:
            return [], np.zeros((0, 0))
        orders = [rows[best_first(score[rows], self.entity[rows])] for rows in self.rows]
        taken = np.array([[min(k, len(rows)) for k in sizes] for rows in self.rows], float)
        found = np.array([_found(self.y[rows], score[rows], taken[n]) for n, rows in enumerate(self.rows)])
        by_list, draws = ratio(found, taken), np.zeros((len(sizes), 0))
        if self.boot is not None:
            draws = self._replicates(orders, score, sizes)
        captured = self._captured(score, taken)
        at = []
        for s, size in enumerate(sizes):
            best = np.unique(self.entity[np.concatenate([order[:size] for order in orders])])
            share = float(ratio(float(found[:, s].sum()), float(taken[:, s].sum())))
            at.append(
                AtSize(
                    size, float(by_list[:, s].mean()), captured[s][0],
                    by_list[:, s].tolist(), sum(len(rows) < size for rows in self.rows),
                    _ends(draws[s], share, len(best)), captured[s][1],
                )
            )  # fmt: skip
        return at, draws

    def _captured(self, score: Floats, taken: Floats) -> list[tuple[float, Ends]]:
        """Capture at each size, with the interval over entities. taken: rows of each list [lists, sizes].

        Of tied rows each is among the first ones as likely as the others. The lists are taken as they are: a
        replicate draws those who say yes, not whom they compete with.
        """
        yes = np.concatenate([rows[self.y[rows] == 1] for rows in self.rows])
        who, code = np.unique(self.entity[yes], return_inverse=True)
        if not len(who):
            return [(NAN, UNKNOWN)] * taken.shape[1]
        inside = np.concatenate(
            [_inside(score[rows], taken[n])[:, self.y[rows] == 1] for n, rows in enumerate(self.rows)], axis=1
        )
        drawn = np.zeros((len(who), 0))
        if self.boot is not None:
            first = yes[np.unique(code, return_index=True)[1]]  # a row of each
            drawn = self.boot.weights[self.boot.codes[first]].astype(float)
        out = []
        for chances in inside:
            never = np.ones(len(who))
            np.multiply.at(never, code, 1 - chances)
            share = float((1 - never).mean())
            out.append((share, _ends(ratio((1 - never) @ drawn, drawn.sum(axis=0)), share, len(who))))
        return out

    def _replicates(self, orders: Sequence[NDArray[np.intp]], score: Floats, sizes: Sequence[int]) -> Floats:
        """Mean precision over lists in each replicate [sizes, replicates]."""
        assert self.boot is not None
        parts = [_drawn(self.boot, order, self.y[order], score[order], sizes) for order in orders]
        hits, taken = np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts])
        return mean_defined(ratio(hits, taken))

    def steadiness(self, score: Floats, sizes: Sequence[int]) -> Steadiness | None:
        """How much of each list stays on the next one; None where no list follows another.

        score [rows]. Ties are in the order of `ties`, as lists are written.
        """
        if len(self.rows) < 2:
            return None
        orders = [self.entity[rows[best_first(score[rows], self.entity[rows])]] for rows in self.rows]
        kept: dict[int, list[float]] = {size: [] for size in sizes}
        there: dict[int, list[float]] = {size: [] for size in sizes}
        alike = []
        for (first, second), (a, b) in zip(pairwise(orders), pairwise(self.rows), strict=True):
            for size in sizes:
                remain = np.intersect1d(first[:size], second, assume_unique=True)
                stay = np.intersect1d(remain, second[:size], assume_unique=True)
                kept[size].append(ratio(len(stay), len(remain)))
                there[size].append(ratio(len(remain), len(first[:size])))
            _, at_a, at_b = np.intersect1d(
                self.entity[a], self.entity[b], assume_unique=True, return_indices=True
            )
            both = np.column_stack([score[a[at_a]], score[b[at_b]]])
            alike.append(rank_correlation(both)[0, 1] if len(both) > 1 else NAN)
        return Steadiness(
            len(self.rows) - 1, {size: _mean(kept[size]) for size in sizes}, kept,
            {size: _mean(there[size]) for size in sizes}, _mean(alike),
        )  # fmt: skip


def _found(y: Floats, score: Floats, sizes: Floats) -> Floats:
    """Positives among the best rows of a list [sizes], the mean over all orders of tied rows."""
    _, count, positive = tally(y, score)
    return np.interp(sizes, np.append(0, count.cumsum()), np.append(0, positive.cumsum()))


def _inside(score: Floats, sizes: Floats) -> Floats:
    """How likely each row of a list is among its best, whatever the order of tied rows [sizes, rows]."""
    values, tie = np.unique(-score, return_inverse=True)
    count = np.bincount(tie, minlength=len(values))
    before = count.cumsum() - count
    return np.clip((sizes[:, None] - before) / count, 0, 1)[:, tie]


def _drawn(
    boot: EntityBootstrap, order: NDArray[np.intp], y: Floats, score: Floats, sizes: Sequence[int]
) -> tuple[Floats, Floats]:
    """Positives among the best rows of one list, and rows taken, in each replicate [sizes, replicates].

    order, y, score: the list's rows, best score first. A row is there as often as its entity is drawn, so a
    replicate reaches a size after about as many rows: the rest of the list is not looked at.
    """
    last = np.append(score[1:] != score[:-1], True)  # of rows that tie
    ends = np.flatnonzero(last)
    depth, most = 2 * max(sizes) + 50, max(sizes)
    while True:
        edge = min(int(np.searchsorted(ends, depth - 1)), len(ends) - 1)
        depth = int(ends[edge]) + 1  # ties stay whole
        weights = boot.weights[boot.codes[order[:depth]]]
        if depth == len(order) or weights.sum(axis=0, dtype=np.int64).min() >= most:
            break
        depth *= 2
    starts = np.append(0, ends[ends < depth - 1] + 1)
    count = np.add.reduceat(weights, starts, axis=0, dtype=np.int64).astype(float)
    weights[y[:depth] != 1] = 0
    positive = np.add.reduceat(weights, starts, axis=0, dtype=np.int64).astype(float)
    rows, hits = _from_zero(count), _from_zero(positive)
    found, taken = np.empty((len(sizes), boot.replicates)), np.empty((len(sizes), boot.replicates))
    for s, size in enumerate(sizes):
        cell = np.minimum((rows[1:] < size).sum(axis=0), len(count) - 1)[None]
        before, within = (np.take_along_axis(a, cell, 0)[0] for a in (rows, count))
        share = np.clip(np.divide(size - before, within, out=np.zeros_like(within), where=within > 0), 0, 1)
        found[s] = np.take_along_axis(hits, cell, 0)[0] + share * np.take_along_axis(positive, cell, 0)[0]
        taken[s] = before + share * within
    return found, taken


def _from_zero(counts: Floats) -> Floats:
    return np.concatenate([np.zeros((1, counts.shape[1])), counts.cumsum(axis=0)])


def _ends(draws: Floats, share: float, entities: int) -> Ends:
    """The interval of replicates. A share of none or all: by Wilson's, since every replicate says the same."""
    ends = interval(draws)
    if np.isnan(ends[0]) or share not in (0.0, 1.0):
        return ends
    low, high = wilson(np.array([share * entities]), np.array([entities]))
    return float(low[0]), float(high[0])


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else NAN
