"""A ranked list as plain numbers: its tenths, and what one finds by calling from the top.

Rows are ranked as in the lists that a run writes: best score first, ties as in `ties`. Intervals are
at 95 %, over replicates that draw entities, each with all its rows. Those of rates speak of the population;
those of gains of what another list like this one brings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.bootstrap import EntityBootstrap
from toolkit.evaluation.metrics import NAN, Floats, ratio, tally
from toolkit.evaluation.ties import best_first

DECILES = 10
STEPS = 100  # points of a gains curve, evenly
FIRST_STEPS = 30  # and more of them in the first hundredth, where lists end
Z = 1.959964  # 95 % of a normal distribution lie within

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Decile:
    """A tenth of a list, best scores first. rows: labelled ones, which all figures are of."""

    number: int
    rows: int
    positives: int
    rate: float
    lift: float
    capture: float  # share of all positives in this tenth and those before it
    lowest_score: float
    interval: Interval = None  # of the rate
    value: float | None = None  # sum of the declared value column in this tenth
    value_capture: float | None = None
    lowest_probability: float | None = None  # calibrated, as in the list


@dataclass(frozen=True)
class Gains:
    """Cumulative gains on a list's labelled rows: arrays [points], from calling nobody to calling all."""

    called: np.ndarray  # rows called
    found: np.ndarray  # positives among them
    low: np.ndarray  # 95 % interval of `found` in another list like this one
    high: np.ndarray
    rule: np.ndarray  # positives that the best single rule finds with as many calls
    rows: int
    positives: int
    value: np.ndarray | None = None  # sum of the value column among them
    value_total: float | None = None
    value_low: np.ndarray | None = None  # 95 % interval of `value` in another list like this one
    value_high: np.ndarray | None = None


@dataclass(frozen=True)
class Resample:
    """Replicates that draw entities with replacement. entity: codes from 0 on [rows]; replicates may be 0: no bands."""

    entity: NDArray
    replicates: int
    seed: int

    @cached_property
    def _alone(self) -> bool:
        return not len(self.entity) or int(np.bincount(self.entity).max()) == 1

    @cached_property
    def _boot(self) -> EntityBootstrap:
        return EntityBootstrap(self.entity, self.replicates, self.seed)

    def counts(
        self, rows: NDArray[np.intp], cell: NDArray[np.intp], cells: int, value: Floats | None = None
    ) -> Floats:
        """Rows per cell in each replicate [cells, replicates]; rows: positions; cell, value: of each of them.

        With values, their sums come after the counts [2·cells, replicates]. Where every entity has one row,
        counts of cells are multinomial, and are drawn as such: the same bootstrap, without its half a million
        draws per replicate.
        """
        if self._alone and value is None:
            found = np.bincount(cell, minlength=cells + 1).astype(float)
            found[cells] = len(self.entity) - len(rows)  # rows without a label are drawn, too
            draws = np.random.default_rng(self.seed).multinomial(
                len(self.entity), found / found.sum(), size=self.replicates
            )
            return draws[:, :cells].T.astype(float)
        from scipy.sparse import csr_array, vstack

        entity, shape = self._boot.codes[rows], (cells, len(self._boot.weights))
        table = csr_array((np.ones(len(rows)), (cell, entity)), shape=shape)
        if value is not None:
            table = vstack([table, csr_array((value, (cell, entity)), shape=shape)], format="csr")
        parts = np.array_split(np.arange(self.replicates), max(1, self.replicates // 20))
        return np.hstack([table @ self._boot.weights[:, part].astype(float) for part in parts])


def band(draws: Floats) -> tuple[Floats, Floats]:
    """The 95 % percentile interval of draws [points, replicates]: low [points], high [points]; NaN without draws."""
    if draws.shape[1] == 0:
        return np.full(len(draws), NAN), np.full(len(draws), NAN)
    low, high = np.quantile(draws, [0.025, 0.975], axis=1)
    return low, high


def depths(rows: int, also: Iterable[int] = ()) -> NDArray[np.intp]:
    """How many rows to call at each point of a gains curve, from 0 to all: increasing [points]."""
    even = -(-np.arange(STEPS + 1) * rows // STEPS)
    first = np.round(np.geomspace(1, max(rows / STEPS, 1), FIRST_STEPS))
    found = np.concatenate([even, first, [d for d in also if 0 < d < rows]]).astype(np.intp)
    return np.unique(np.minimum(found, rows))


def ranked(
    y: Floats,
    score: Floats,
    key: NDArray,
    resample: Resample,
    rule: Floats | None = None,
    value: Floats | None = None,
    also: Iterable[int] = (),
    probability: Floats | None = None,
) -> tuple[list[Decile], Gains | None]:
    """Tenths of a list and the cumulative gains of its labelled rows.

    y [rows] of 0/1, NaN where there is no label (such a row has its place in the list, and no more); score
    [rows]; key [rows]: of `ties.places`; rule: the rule's score [rows]; value: what each row brings [rows]; also: further depths that
    the curve has a point at; probability: the calibrated score [rows]. Without labelled rows there is
    nothing: ([], None).
    """
    order = best_first(score, key)
    labelled = ~np.isnan(y[order])
    rows = order[labelled]
    if not len(rows):
        return [], None
    tenths = -(-np.arange(DECILES + 1) * len(order) // DECILES)  # as in the files of lists
    ends = _from_zero(labelled.astype(np.intp))[tenths]
    hit = (y[rows] == 1).astype(np.intp)
    at = depths(len(rows), [*also, *ends])
    brings = None if value is None else np.nan_to_num(value[rows].astype(float))
    drawn = _Drawn.of(resample, rows, hit, at, brings)
    found, money = _from_zero(hit)[at], None if brings is None else _from_zero(brings)[at]
    entities = _from_zero(_first_seen(resample.entity[rows]))[at]
    low, high = _another_list(at, found, *_estimate(drawn.share(at, drawn.hits), at, found, entities))
    value_low = value_high = None
    if brings is not None and money is not None:
        value_low, value_high = _another_sum(at, money, band(drawn.share(at, drawn.money)), brings)
    gains = Gains(
        called=at, found=found, low=low, high=high, rule=_in_expectation(y[rows], rule, rows, at), rows=len(rows),
        positives=int(hit.sum()), value=money, value_total=None if money is None else float(money[-1]),
        value_low=value_low, value_high=value_high,
    )  # fmt: skip
    last = order[np.maximum(tenths[1:] - 1, 0)]
    return _deciles(
        gains, ends, score[last], None if probability is None else probability[last], drawn, entities
    ), gains


@dataclass(frozen=True)
class _Drawn:
    """Replicates of a list, cumulated from the best row on: labelled rows, positives, value [points, replicates]."""

    rows: Floats
    hits: Floats
    money: Floats

    @classmethod
    def of(
        cls, resample: Resample, rows: NDArray[np.intp], hit: NDArray[np.intp], at: NDArray[np.intp], brings: Floats | None
    ) -> _Drawn:  # fmt: skip
        """at: the depths [points] between which replicates are counted."""
        cell = np.searchsorted(at[1:], np.arange(len(rows)), side="right")
        cells = 2 * (len(at) - 1)
        drawn = resample.counts(rows, 2 * cell + hit, cells, brings)
        no, yes = drawn[0:cells:2], drawn[1:cells:2]
        return cls(_from_zero(no + yes), _from_zero(yes), _from_zero(drawn[cells::2] + drawn[cells + 1 :: 2]))

    def share(self, at: NDArray[np.intp], what: Floats) -> Floats:
        """Hits or money among the best share of each replicate's rows, scaled to the rows: [points, replicates]."""
        rows = int(at[-1])
        out = np.full((len(at), self.rows.shape[1]), NAN)
        for r in range(self.rows.shape[1]):
            if total := self.rows[-1, r]:
                out[:, r] = np.interp(at / rows * total, self.rows[:, r], what[:, r]) * rows / total
        return out


def _estimate(draws: Floats, at: NDArray, found: NDArray, entities: NDArray) -> tuple[Floats, Floats]:
    """95 % interval of the expected positives at each depth [points]; of entities by Wilson where none or all hit."""
    low, high = band(draws)
    for all_, same in ((0, found == 0), (1, found == at)):
        same = same & (at > 0) & ~np.isnan(low)
        bottom, top = wilson(all_ * entities[same], entities[same])
        low[same], high[same] = bottom * at[same], top * at[same]
    return low, high


def _another_list(at: NDArray, found: NDArray, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """95 % prediction interval: the estimate's, widened by the luck of so many calls, and within [0, called].

    Approximated: calls are taken as independent, each a yes with the same chance, and their luck as normal. With
    few yes the binomial is skewed, so this reaches a little too low, which the cut at 0 takes back, and not
    quite far enough up.
    """
    rate = ratio(found + Z**2 / 2, at + Z**2)  # Wilson's centre: none so far does not mean never
    low, high = _widened(found, low, high, Z * np.sqrt(at * rate * (1 - rate)))
    return np.maximum(low, 0), np.minimum(high, at)


def _another_sum(
    at: NDArray, money: Floats, ends: tuple[Floats, Floats], brings: Floats
) -> tuple[Floats, Floats]:
    """95 % prediction interval of a sum of values, as `_another_list` of a count; brings [labelled rows], best first.

    Approximated: calls are independent, and their luck is normal, with the second moment of the rows called, to
    which a few rows of the whole list are added as Wilson's centre does: few values so far do not show how large
    or how frequent they can be. Sums of few, very unequal values are skewed: their upper end is too low. A normal's
    arms may reach where no sum of such values lies: beyond zero they are cut off. NaN where no row brings
    anything: then it is not known how much one can.
    """
    there = brings[brings != 0]
    if not len(there):
        return np.full(len(at), NAN), np.full(len(at), NAN)
    more, rows = Z**2 / 2, at + Z**2
    mean = (money + more * there.mean()) / rows
    square = (_from_zero(brings**2)[at] + more * (there**2).mean()) / rows
    low, high = _widened(money, *ends, Z * np.sqrt(at * np.maximum(square - mean**2, 0)))
    return (
        np.maximum(low, 0) if there.min() > 0 else low,
        np.minimum(high, 0) if there.max() < 0 else high,
    )


def _widened(middle: NDArray, low: Floats, high: Floats, half: Floats) -> tuple[Floats, Floats]:
    """Independent errors add as squares, on either side of the middle."""
    return middle - np.hypot(middle - low, half), middle + np.hypot(high - middle, half)


def _first_seen(entity: NDArray) -> NDArray[np.intp]:
    """1 where a row is the first of its entity [rows], else 0."""
    first = np.zeros(len(entity), np.intp)
    first[np.unique(entity, return_index=True)[1]] = 1
    return first


def _from_zero(counts: NDArray) -> NDArray:
    """Cumulated over axis 0, with a zero in front."""
    return np.concatenate([np.zeros((1, *counts.shape[1:]), counts.dtype), counts.cumsum(axis=0)])


def _in_expectation(y: Floats, rule: Floats | None, rows: NDArray, at: NDArray) -> Floats:
    """Positives that a score finds at each depth, the mean over all orders of tied rows; empty without a score."""
    if rule is None:
        return np.zeros(0)
    _, count, positive = tally(y, rule[rows])
    return np.interp(at, np.append(0, count.cumsum()), np.append(0, positive.cumsum()))


def _deciles(
    gains: Gains, ends: NDArray, lowest: Floats, probability: Floats | None, drawn: _Drawn, entities: NDArray
) -> list[Decile]:
    """ends: labelled rows up to the end of each tenth [0 … 10]; lowest, probability: of each one's last row."""
    at = np.searchsorted(gains.called, ends)
    called, hits, single = np.diff(gains.called[at]), np.diff(gains.found[at]), np.diff(entities[at])
    rates = ratio(np.diff(drawn.hits[at], axis=0), np.diff(drawn.rows[at], axis=0))
    low, high = (part / called.clip(1) for part in _estimate(rates * called[:, None], called, hits, single))
    out, prevalence = [], gains.positives / gains.rows
    for d in np.flatnonzero(called):  # fewer rows than tenths, or a tenth without labels
        rate = hits[d] / called[d]
        value = None if gains.value is None else float(gains.value[at[d + 1]] - gains.value[at[d]])
        capture = (
            gains.value[at[d + 1]] / gains.value_total
            if gains.value is not None and gains.value_total
            else None
        )
        out.append(
            Decile(
                number=int(d) + 1, rows=int(called[d]), positives=int(hits[d]), rate=float(rate), lift=float(ratio(rate, prevalence)),
                capture=float(ratio(float(gains.found[at[d + 1]]), gains.positives)), lowest_score=float(lowest[d]),
                interval=None if np.isnan(low[d]) else (float(low[d]), float(high[d])), value=value,
                value_capture=None if capture is None else float(capture),
                lowest_probability=None if probability is None else float(probability[d]),
            )
        )  # fmt: skip
    return out


def wilson(hits: NDArray, rows: NDArray, z: float = Z) -> tuple[Floats, Floats]:
    """95 % interval of shares (Wilson 1927): stays in [0, 1] and has a width where nothing was hit."""
    share, shrink = ratio(hits, rows), 1 + ratio(z**2, rows)
    centre = (share + ratio(z**2, 2 * rows)) / shrink
    half = z * np.sqrt(ratio(share * (1 - share), rows) + ratio(z**2, 4 * rows**2)) / shrink
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)
