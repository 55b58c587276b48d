"""95 % intervals by entity bootstrap: entities are drawn with replacement, each with all its rows.

Rows of one entity resemble each other, so resampling rows would give intervals that are too narrow;
resampling entities keeps the dependence (the cluster bootstrap; Davison & Hinkley 1997, §3.8).

What makes it fast: rows are sorted by score once, into bins. A sparse matrix S [2·bins, entities]
counts the negatives and the positives of each entity in each bin, and W [entities, replicates] says
how often each entity is drawn. S @ W is then the binned sample of every replicate at once, and a
metric is arithmetic on arrays [bins, replicates]. What is a plain sum over rows (squared error, log
loss, counts of decisions) is a dense row more.

All models and targets share W, so the difference of two models is paired by construction:

    boot = EntityBootstrap(entities, replicates=200, seed=1)
    a = boot.binary(y, score_a)
    b = boot.binary(y, score_b)
    low, high = interval(difference("roc_auc", a, b))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toolkit.evaluation import metrics
from toolkit.evaluation.metrics import Floats, ratio

Draws = dict[str, Floats]  # metric → [replicates]; NaN where a replicate cannot answer

MAX_BINS = 4096
BLOCK_BYTES = 64_000_000  # of float64 multiplicities held at once: 16 replicates of 500,000 entities


def interval(draws: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of one metric's draws [replicates].

    (NaN, NaN) when more than 5 % of the replicates cannot answer (no positive drawn, say): an
    interval over the rest would describe luckier samples than this one.
    """
    draws = np.asarray(draws, dtype=np.float64)
    known = draws[~np.isnan(draws)]
    if len(known) == 0 or len(known) < 0.95 * len(draws):
        return metrics.NAN, metrics.NAN
    tail = (1 - level) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def difference(metric: str, a: Draws, b: Draws) -> Floats:
    """Paired draws [replicates] of a − b; both must come from one EntityBootstrap and the same rows."""
    return a[metric] - b[metric]


class EntityBootstrap:
    """The replicates: how often each entity is drawn in each of them.

    Multiplicities are multinomial, the bootstrap proper: a replicate holds as many entities as the
    data. Poisson(1) would only approximate it, can draw no entity at all when there are few, and here
    is no faster. They are kept as bytes, `weights` [entities, replicates] (100 MB for 500,000 × 200).
    """

    def __init__(self, entities: ArrayLike, replicates: int = 200, seed: int = 0) -> None:
        """entities [rows]: which entity each row belongs to (integers or text)."""
        names, codes = np.unique(np.asarray(entities), return_inverse=True)
        self.codes: NDArray[np.intp] = codes
        self.replicates = replicates
        n = len(names)
        rng = np.random.default_rng(seed)
        self.weights = np.zeros((n, replicates), np.uint8)
        for block in self._blocks(n) if n else ():
            drawn = [np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(block.start, block.stop)]
            self.weights[:, block] = np.array(drawn, dtype=np.uint8).T  # one strided write, not one per draw

    # Every method below takes arrays over all rows and `rows`, a mask [rows] (or indices) of those to use.

    def binary(
        self,
        y: ArrayLike,
        score: ArrayLike,
        probability: ArrayLike | None = None,
        decision: ArrayLike | None = None,
        k_list: Sequence[int | float] = (),
        rows: ArrayLike | None = None,
    ) -> Draws:
        """Draws of every metric of `metrics.evaluate("binary", …)`, same names.

        Exact for up to 4096 distinct scores. Beyond that scores share bins, each as wide as a fixed
        small share (under 0.2 % for 500,000 rows) of its rank from the top, because precision lives
        at the top. Calibration bins stay those of the whole sample; so does the threshold.
        """
        use = self._rows(rows)
        y, score = metrics.labels(y)[use], metrics.finite(score, "score")[use]
        sums: list[Floats] = []
        if probability is not None:
            p = metrics.finite(probability, "probability")[use]
            sums += [metrics.row_log_loss(y, p), (p - y) ** 2]
            bins = metrics.ece_bins(p)
            sums += [np.where(bins == b, y - p, 0) for b in range(metrics.ECE_BINS)]
        if decision is not None:
            chosen = np.asarray(decision).astype(np.float64)[use]
            sums += [chosen, chosen * y]
        bin_, bins_n = score_bins(score)
        counts, totals = self._resample(use, 2 * bin_ + (y == 1), 2 * bins_n, sums)
        negative, positive = counts[0::2], counts[1::2]

        n, positives = counts.sum(axis=0), positive.sum(axis=0)
        draws = metrics.ranking(positive, negative)
        draws["prevalence"] = ratio(positives, n)
        if probability is not None:
            draws["log_loss"], draws["brier"] = ratio(totals[0], n), ratio(totals[1], n)
            draws["ece"] = ratio(np.abs(totals[2 : 2 + metrics.ECE_BINS]).sum(axis=0), n)
        if decision is not None:
            draws |= metrics.decision_metrics(totals[-1], totals[-2], positives, n)
        return draws | (metrics.top_k(positive, positive + negative, k_list) if k_list else {})

    def multiclass(
        self,
        y: ArrayLike,
        score: ArrayLike,
        probability: ArrayLike | None = None,
        decision: ArrayLike | None = None,
        rows: ArrayLike | None = None,
    ) -> Draws:
        """Draws of every metric of `metrics.evaluate("multiclass", …)`; score [rows, classes]."""
        use = self._rows(rows)
        y, score = np.asarray(y).astype(np.intp)[use], metrics.finite(score, "score")[use]
        classes = score.shape[1]
        sums: list[Floats] = []
        chosen = score.argmax(axis=1)
        if probability is not None:
            p = metrics.finite(probability, "probability")[use]
            chosen, sums = p.argmax(axis=1), [metrics.class_log_loss(y, p)]
            right, sureness = metrics.top_class(y, p)
            bins = metrics.ece_bins(sureness)
            sums += [np.where(bins == b, right - sureness, 0) for b in range(metrics.ECE_BINS)]
        if decision is not None:
            chosen = np.asarray(decision).astype(np.intp)[use]
        counts, totals = self._resample(use, y * classes + chosen, classes**2, sums)
        draws = metrics.confusion_metrics(counts.reshape(classes, classes, -1))
        if probability is not None:
            n = counts.sum(axis=0)
            draws["log_loss"] = ratio(totals[0], n)
            draws["ece"] = ratio(np.abs(totals[1:]).sum(axis=0), n)
        areas = np.empty((classes, self.replicates))
        for c in range(classes):
            bin_, bins_n = score_bins(score[:, c])
            by_class, _ = self._resample(use, 2 * bin_ + (y == c), 2 * bins_n, [])
            areas[c] = metrics.ranking(by_class[1::2], by_class[0::2])["roc_auc"]
        draws["macro_auc"] = metrics.mean_defined(areas)
        return draws

    def per_class(
        self, y: ArrayLike, decision: ArrayLike, classes: int, rows: ArrayLike | None = None
    ) -> dict[str, Floats]:
        """Draws of precision, recall and F1 of each class: [classes, replicates] each."""
        use = self._rows(rows)
        y, chosen = (np.asarray(codes).astype(np.intp)[use] for codes in (y, decision))
        counts, _ = self._resample(use, y * classes + chosen, classes**2, [])
        table = counts.reshape(classes, classes, -1)
        hits, true, predicted = np.einsum("kkr->kr", table), table.sum(axis=1), table.sum(axis=0)
        found = metrics.decision_metrics(hits, predicted, true, table.sum(axis=(0, 1)))
        return {name: found[name] for name in ("precision", "recall", "f1")}

    def regression(self, y: ArrayLike, score: ArrayLike, rows: ArrayLike | None = None) -> Draws:
        """Draws of every metric of `metrics.evaluate("regression", …)`; score is the prediction."""
        use = self._rows(rows)
        y, score = metrics.finite(y, "y")[use], metrics.finite(score, "score")[use]
        error = np.abs(score - y)
        centred = y - y.mean() if len(y) else y  # else y² − ȳ² loses its digits
        bin_, bins_n = score_bins(-error)  # smallest errors first
        counts, totals = self._resample(use, bin_, bins_n, [error, error**2, centred, centred**2])
        n = counts.sum(axis=0)
        spread = totals[3] - ratio(totals[2] ** 2, n)
        spread[spread <= 1e-12 * totals[3]] = 0
        return {
            "mae": ratio(totals[0], n),
            "rmse": np.sqrt(ratio(totals[1], n)),
            "r2": 1 - ratio(totals[1], spread),
            "spearman": self._spearman(use, y, score),
            "median_absolute_error": _median(counts, bin_, error),
        }

    def statistic(
        self, rows: ArrayLike | None, sums: Sequence[ArrayLike], formula: Callable[..., Floats]
    ) -> Floats:
        """Draws [replicates] of any formula of row sums: `formula(n, sum_1, …)`, sums [rows] each.

        The mean of v is `statistic(None, [v], lambda n, v: v / n)`.
        """
        use = self._rows(rows)
        columns = [np.asarray(values, dtype=np.float64)[use] for values in sums]
        counts, totals = self._resample(use, np.zeros(len(self.codes[use]), np.intp), 1, columns)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(formula(counts[0], *totals), dtype=np.float64)

    # ---- resampling ----

    def _rows(self, rows: ArrayLike | None) -> NDArray | slice:
        return slice(None) if rows is None else np.asarray(rows)

    def _blocks(self, entities: int) -> list[slice]:
        """The replicates in slices, each as wide as BLOCK_BYTES allows, at most 25."""
        width = max(1, min(25, BLOCK_BYTES // (8 * max(entities, 1))))
        return [slice(s, min(s + width, self.replicates)) for s in range(0, self.replicates, width)]

    def _resample(
        self, use: NDArray | slice, cell: NDArray, cells: int, sums: Sequence[Floats]
    ) -> tuple[Floats, Floats]:
        """Row counts per cell [cells, replicates] and row sums [sums, replicates] of every replicate."""
        from scipy.sparse import csc_array

        present, entity = np.unique(self.codes[use], return_inverse=True)
        whole = len(present) == len(self.weights)
        # CSC: W is then read in order, and the result, which is small, is what is written at random.
        S = csc_array((np.ones(len(entity)), (cell, entity)), shape=(cells, len(present)))
        D = np.array([np.bincount(entity, weights=values, minlength=len(present)) for values in sums])
        counts = np.empty((cells, self.replicates))
        totals = np.empty((len(sums), self.replicates))
        for block in self._blocks(len(present)):
            W = (self.weights[:, block] if whole else self.weights[present, block]).astype(np.float64)
            counts[:, block] = S @ W
            if len(sums):
                totals[:, block] = D @ W
        return counts, totals

    def _spearman(self, use: NDArray | slice, y: Floats, score: Floats) -> Floats:
        """Pearson correlation of mid-ranks (Spearman 1904), replicate by replicate."""
        entity = self.codes[use]
        bin_y, bin_s = score_bins(y)[0], score_bins(score)[0]
        draws = np.full(self.replicates, metrics.NAN)
        for r in range(self.replicates):
            w = self.weights[entity, r].astype(np.float64)
            n = w.sum()
            if n == 0:
                continue
            a, b = (_mid_ranks(bin_, w)[bin_] - (n + 1) / 2 for bin_ in (bin_y, bin_s))
            spread = np.sqrt((w @ a**2) * (w @ b**2))
            draws[r] = ratio(w @ (a * b), spread)
        return draws


def score_bins(score: Floats, limit: int = MAX_BINS) -> tuple[NDArray[np.intp], int]:
    """Bin of each row [rows], best score = bin 0, and the number of bins; equal scores share a bin.

    One bin per distinct score up to `limit` of them. Beyond, a bin that starts at rank r from the top
    spans max(1, e·r) ranks, e being the finest width that keeps to about `limit` bins.
    """
    if len(score) == 0:
        return np.zeros(0, np.intp), 0
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    if new.sum() > limit:
        first_rank = np.flatnonzero(new)
        edges = _geometric_ranks(len(score), limit)
        coarse = np.searchsorted(edges, first_rank, side="right")
        new[first_rank] = np.concatenate([[True], coarse[1:] != coarse[:-1]])
    bins = np.empty(len(score), np.intp)
    bins[order] = np.cumsum(new) - 1
    return bins, int(new.sum())


def _geometric_ranks(rows: int, limit: int) -> Floats:
    """Increasing ranks at which bins start: 1, 2, …, 1/e, then growing by the factor 1 + e; under `limit`."""
    e = 1 / limit
    while (1 + np.log(max(rows * e, 1))) / e > limit - 1:
        e *= 1.02
    single = np.arange(1, int(1 / e) + 1)
    steps = int(np.log(max(rows * e, 1)) / np.log1p(e)) + 1
    return np.concatenate([single, single[-1] * (1 + e) ** np.arange(1, steps + 1)])


def _mid_ranks(bin_: NDArray[np.intp], weight: Floats) -> Floats:
    """Mean rank of the rows of each bin [bins], from `weight` copies of each row."""
    mass = np.bincount(bin_, weights=weight)
    return mass.cumsum() - (mass - 1) / 2


def _median(counts: Floats, bin_: NDArray[np.intp], values: Floats) -> Floats:
    """Median per replicate, from counts [bins, replicates] of bins in increasing order of value."""
    if len(counts) == 0:
        return np.full(counts.shape[1], metrics.NAN)
    centre = np.bincount(bin_, weights=values) / np.bincount(bin_)
    taken = counts.cumsum(axis=0)
    n = taken[-1]
    lower = (taken >= np.floor((n + 1) / 2)).argmax(axis=0)
    upper = (taken >= np.floor(n / 2) + 1).argmax(axis=0)
    return np.where(n > 0, (centre[lower] + centre[upper]) / 2, metrics.NAN)
