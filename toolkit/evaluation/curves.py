"""The curves and tables of a report as plain numbers: deciles, gains, reliability, thresholds, classes, residuals.

Rows are ranked as in the lists that a run writes: best score first, ties in the order of the key. Bands
are 95 % intervals over replicates that draw entities, each with all its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.bootstrap import EntityBootstrap
from toolkit.evaluation.metrics import NAN, Floats, decision_metrics, ece_bins, ratio, tally
from toolkit.report.evidence import Bin, Cut, Decile, Gains

DECILES = 10
STEPS = 100  # points of a gains curve, evenly
FIRST_STEPS = 30  # and more of them in the first hundredth, where lists end
CUT_POINTS = 200
RELIABILITY_BINS = 15
CELLS = 24  # of a histogram of residuals, each way


def order_of(score: Floats, key: NDArray) -> NDArray[np.intp]:
    """Positions of rows, best score first, ties by key: [rows]."""
    return np.lexsort((key, -score))


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

    def counts(self, rows: NDArray[np.intp], cell: NDArray[np.intp], cells: int) -> Floats:
        """Rows per cell in each replicate [cells, replicates]; rows: positions; cell: of each of them.

        Where every entity has one row, counts of cells are multinomial, and are drawn as such: the same
        bootstrap, without its half a million draws per replicate.
        """
        if self._alone:
            found = np.bincount(cell, minlength=cells + 1).astype(float)
            found[cells] = len(self.entity) - len(rows)  # rows without a label are drawn, too
            draws = np.random.default_rng(self.seed).multinomial(
                len(self.entity), found / found.sum(), size=self.replicates
            )
            return draws[:, :cells].T.astype(float)
        from scipy.sparse import csr_array

        table = csr_array(
            (np.ones(len(rows)), (cell, self._boot.codes[rows])), shape=(cells, len(self._boot.weights))
        )
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
) -> tuple[list[Decile], Gains | None]:
    """Tenths of the rows and the cumulative gains.

    y [rows] of 0/1, NaN where there is no label (such rows are left out); score, key [rows]; rule: the
    rule's score [rows]; value: what each row brings [rows]; also: further depths that the curve has a
    point at. Without labelled rows there is nothing: ([], None).
    """
    rows = np.flatnonzero(~np.isnan(y))
    if not len(rows):
        return [], None
    rows = rows[order_of(score[rows], key[rows])]
    hit = (y[rows] == 1).astype(np.intp)
    at = depths(len(rows), also)
    cell = np.searchsorted(at[1:], np.arange(len(rows)), side="right")
    drawn = resample.counts(rows, 2 * cell + hit, 2 * (len(at) - 1))
    drawn_hits = _from_zero(drawn[1::2])
    drawn_rows = _from_zero(drawn[0::2] + drawn[1::2])
    money = None if value is None else _from_zero(np.nan_to_num(value[rows])[:, None])[:, 0]
    found = _from_zero(hit[:, None])[at, 0]
    low, high = band(_at_depths(at / len(rows), drawn_rows, drawn_hits, len(rows)))
    gains = Gains(
        called=at, found=found, low=low, high=high, rule=_in_expectation(y[rows], rule, rows, at), rows=len(rows),
        positives=int(hit.sum()), value=None if money is None else money[at],
        value_total=None if money is None else float(money[-1]),
    )  # fmt: skip
    return _deciles(gains, score[rows], drawn_rows, drawn_hits), gains


def _from_zero(counts: NDArray) -> NDArray:
    """Cumulated over axis 0, with a zero in front."""
    return np.concatenate([np.zeros((1, *counts.shape[1:]), counts.dtype), counts.cumsum(axis=0)])


def _at_depths(share: Floats, taken: Floats, hits: Floats, rows: int) -> Floats:
    """Positives among the best share of each replicate's rows, scaled to `rows`: [points, replicates]."""
    out = np.full((len(share), taken.shape[1]), NAN)
    for r in range(taken.shape[1]):
        if total := taken[-1, r]:
            out[:, r] = np.interp(share * total, taken[:, r], hits[:, r]) * rows / total
    return out


def _in_expectation(y: Floats, rule: Floats | None, rows: NDArray, at: NDArray) -> Floats:
    """Positives that a score finds at each depth, the mean over all orders of tied rows; empty without a score."""
    if rule is None:
        return np.zeros(0)
    _, count, positive = tally(y, rule[rows])
    return np.interp(at, np.append(0, count.cumsum()), np.append(0, positive.cumsum()))


def _deciles(gains: Gains, ordered: Floats, drawn_rows: Floats, drawn_hits: Floats) -> list[Decile]:
    ends = -(-np.arange(DECILES + 1) * gains.rows // DECILES)
    at = np.searchsorted(gains.called, ends)
    low, high = band(ratio(np.diff(drawn_hits[at], axis=0), np.diff(drawn_rows[at], axis=0)))
    out, prevalence = [], gains.positives / gains.rows
    for d in range(DECILES):
        rows = int(ends[d + 1] - ends[d])
        if not rows:  # fewer rows than tenths
            continue
        positives = int(gains.found[at[d + 1]] - gains.found[at[d]])
        out.append(
            Decile(
                number=d + 1, rows=rows, positives=positives, rate=positives / rows,
                lift=ratio(positives / rows, prevalence), capture=ratio(float(gains.found[at[d + 1]]), gains.positives),
                lowest_score=float(ordered[ends[d + 1] - 1]), interval=None if np.isnan(low[d]) else (float(low[d]), float(high[d])),
                value=None if gains.value is None else float(gains.value[at[d + 1]] - gains.value[at[d]]),
                value_capture=None if gains.value is None or not gains.value_total
                else float(gains.value[at[d + 1]] / gains.value_total),
            )
        )  # fmt: skip
    return out


def found_among(y: Floats, score: Floats, key: NDArray, resample: Resample, size: int) -> tuple[int, Any]:
    """Positives among the best `size` labelled rows, and the interval (None without replicates)."""
    _, gains = ranked(y, score, key, resample, also=[size])
    if gains is None:
        return 0, None
    at = int(np.searchsorted(gains.called, size))
    interval = None if np.isnan(gains.low[at]) else (float(gains.low[at]), float(gains.high[at]))
    return int(gains.found[at]), interval


def wilson(hits: NDArray, rows: NDArray, z: float = 1.959964) -> tuple[Floats, Floats]:
    """95 % interval of shares (Wilson 1927): stays in [0, 1] and has a width where nothing was hit."""
    share, shrink = ratio(hits, rows), 1 + ratio(z**2, rows)
    centre = (share + ratio(z**2, 2 * rows)) / shrink
    half = z * np.sqrt(ratio(share * (1 - share), rows) + ratio(z**2, 4 * rows**2)) / shrink
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)


def reliability(y: Floats, probability: Floats) -> list[Bin]:
    """Mean prediction and observed rate in at most 15 bins of equally many rows; y [rows] of 0/1."""
    cell = ece_bins(probability)
    rows = np.bincount(cell, minlength=RELIABILITY_BINS).astype(float)
    hits, total = (np.bincount(cell, weights=w, minlength=RELIABILITY_BINS) for w in (y, probability))
    low, high = wilson(hits, rows)
    return [
        Bin(total[b] / rows[b], hits[b] / rows[b], float(low[b]), float(high[b]), int(rows[b]))
        for b in np.flatnonzero(rows)
    ]


def cut(y: Floats, score: Floats, chosen: float, reason: str) -> Cut:
    """Precision, recall, F1 and share of rows at or above each threshold, thresholds rising.

    y [rows] of 0/1 and raw score [rows], of validation rows; at most 200 thresholds, more of them among
    the best scores, and the last one above the threshold chosen is one of them.
    """
    scores, count, positive = tally(y, score)
    taken, hits = count.cumsum(), positive.cumsum()
    wanted = depths(len(scores)) - 1
    own = np.searchsorted(-scores, -chosen, side="right") - 1
    at = np.unique(np.concatenate([wanted, [own]]))
    at = at[(at >= 0)][::-1]
    figures = decision_metrics(hits[at], taken[at], float(y.sum()), float(len(y)))
    return Cut(
        scores[at], figures["precision"], figures["recall"], figures["f1"], figures["selected_share"], chosen, reason
    )  # fmt: skip


def confusion(y: NDArray, decision: NDArray, classes: int) -> NDArray[np.intp]:
    """Rows by true and decided class [classes, classes]."""
    cell = y.astype(np.intp) * classes + np.asarray(decision).astype(np.intp)
    return np.bincount(cell, minlength=classes**2).reshape(classes, classes)


def per_class(table: NDArray, names: Sequence[str], y: NDArray, score: Floats) -> list[dict[str, Any]]:
    """Per class: rows, rows predicted, precision, recall, F1 and one-vs-rest AUC (NaN where undefined)."""
    out = []
    for c, name in enumerate(names):
        hits, rows, predicted = float(table[c, c]), float(table[c].sum()), float(table[:, c].sum())
        figures = decision_metrics(hits, predicted, rows, float(table.sum()))
        out.append({
            "class": name, "rows": int(rows), "predicted": int(predicted), "precision": figures["precision"],
            "recall": figures["recall"], "f1": figures["f1"], "auc": auc(y == c, score[:, c]),
        })  # fmt: skip
    return out


def auc(positive: NDArray[np.bool_], score: Floats) -> float:
    """Area under the ROC curve by ranks (Mann–Whitney), NaN if there is one class only."""
    from scipy.stats import rankdata

    hits = float(positive.sum())
    pairs = hits * (len(positive) - hits)
    above = rankdata(score)[positive].sum() - hits * (hits + 1) / 2
    return ratio(float(above), pairs)


def residuals(y: Floats, prediction: Floats) -> dict[str, Any] | None:
    """How predictions miss: quantiles of predicted − true, a histogram of both, and tenths by prediction.

    quantiles: {"5%": …}; true_edges, predicted_edges [cells + 1] (the same), counts [cells, cells], true by
    predicted, values beyond the edges counted in the outer cells; bins: low, high, rows, mean_true,
    mean_predicted. None without rows.
    """
    if not len(y):
        return None
    shares = (0.05, 0.25, 0.5, 0.75, 0.95)
    quantiles = dict(
        zip((f"{s:.0%}" for s in shares), np.quantile(prediction - y, shares).tolist(), strict=True)
    )
    edges = _edges(np.concatenate([y, prediction]))
    true, predicted = (np.clip(values, edges[0], edges[-1]) for values in (y, prediction))
    counts, _, _ = np.histogram2d(true, predicted, bins=[edges, edges])
    bins = []
    for part in np.array_split(np.argsort(prediction, kind="stable"), DECILES):
        if len(part):
            p = prediction[part]
            bins.append({"low": float(p[0]), "high": float(p[-1]), "rows": len(part),
                         "mean_true": float(y[part].mean()), "mean_predicted": float(p.mean())})  # fmt: skip
    return {
        "quantiles": quantiles,
        "true_edges": edges,
        "predicted_edges": edges,
        "counts": counts,
        "bins": bins,
    }


def _edges(values: Floats) -> Floats:
    """Edges for a histogram of values between their 1st and 99th hundredths; in proportion where they are skewed."""
    low, first, third, high = np.quantile(values, [0.01, 0.25, 0.75, 0.99])
    if low == high:
        return np.linspace(low - 0.5, low + 0.5, CELLS + 1)
    if low >= 0 and high - low > 10 * (third - first):
        return np.expm1(np.linspace(np.log1p(low), np.log1p(high), CELLS + 1))
    return np.linspace(low, high, CELLS + 1)
