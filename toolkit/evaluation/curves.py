"""The curves and tables of a report as plain numbers: reliability, thresholds, classes, residuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.gains import depths, wilson
from toolkit.evaluation.metrics import NAN, Floats, decision_metrics, ece_bins, ratio, tally

RELIABILITY_BINS = 15
CELLS = 24  # of a histogram of residuals, each way


@dataclass(frozen=True)
class Bin:
    """Rows of about the same predicted probability: mean prediction and observed rate."""

    predicted: float
    observed: float
    low: float  # Wilson interval of `observed`
    high: float
    rows: int


@dataclass(frozen=True)
class Cut:
    """Precision, recall, F1 and share of rows above each threshold: arrays [points] on validation rows."""

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    share: np.ndarray
    chosen: float
    reason: str
    chosen_probability: float | None = None  # the calibrated probability at the threshold, as in the list


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


def cut(y: Floats, score: Floats, chosen: float, reason: str, probability: float | None = None) -> Cut:
    """Precision, recall, F1 and share of rows at or above each threshold, thresholds rising.

    y [rows] of 0/1 and raw score [rows], of validation rows; at most 200 thresholds, more of them among
    the best scores, and the last one above the threshold chosen is one of them. probability: the threshold
    chosen, calibrated.
    """
    scores, count, positive = tally(y, score)
    taken, hits = count.cumsum(), positive.cumsum()
    wanted = depths(len(scores)) - 1
    own = np.searchsorted(-scores, -chosen, side="right") - 1
    at = np.unique(np.concatenate([wanted, [own]]))
    at = at[(at >= 0)][::-1]
    figures = decision_metrics(hits[at], taken[at], float(y.sum()), float(len(y)))
    return Cut(
        scores[at], figures["precision"], figures["recall"], figures["f1"], figures["selected_share"], chosen, reason, probability
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


def auc_error(positive: NDArray[np.bool_], score: Floats, entity: NDArray) -> float:
    """Standard error of `auc`: DeLong et al. (1988), the rows of one entity together (Obuchowski 1997).

    Exact, where a bootstrap of few replicates is not sure about its tails. NaN with fewer than two entities of a
    class: one does not show how entities differ, however many rows it has.
    """
    from scipy.stats import rankdata

    _, codes = np.unique(entity, return_inverse=True)
    if min(len(np.unique(codes[positive])), len(np.unique(codes[~positive]))) < 2:
        return NAN
    hits = int(positive.sum())
    misses = len(positive) - hits
    rank, area = rankdata(score), auc(positive, score)
    # The share of the other class that a row beats: what it says of the area.
    beaten = np.empty(len(score))
    beaten[positive] = (rank[positive] - rankdata(score[positive])) / misses
    beaten[~positive] = 1 - (rank[~positive] - rankdata(score[~positive])) / hits
    said = (beaten - area) / np.where(positive, hits, misses)
    each = np.bincount(codes, weights=said)
    return float(np.sqrt((each**2).sum() * len(each) / max(len(each) - 1, 1)))


def residuals(y: Floats, prediction: Floats) -> dict[str, Any] | None:
    """How predictions miss: quantiles of predicted − true, and a histogram of both.

    quantiles: {"5%": …}; true_edges, predicted_edges [cells + 1] (the same), counts [cells, cells], true by
    predicted, values beyond the edges counted in the outer cells. None without rows.
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
    return {"quantiles": quantiles, "true_edges": edges, "predicted_edges": edges, "counts": counts}


def _edges(values: Floats) -> Floats:
    """Edges for a histogram of values between their 1st and 99th hundredths; in proportion where they are skewed."""
    low, first, third, high = np.quantile(values, [0.01, 0.25, 0.75, 0.99])
    if low == high:
        return np.linspace(low - 0.5, low + 0.5, CELLS + 1)
    if low >= 0 and high - low > 10 * (third - first):
        return np.expm1(np.linspace(np.log1p(low), np.log1p(high), CELLS + 1))
    return np.linspace(low, high, CELLS + 1)
