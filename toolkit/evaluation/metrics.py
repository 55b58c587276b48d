"""Point estimates of how good predictions are, one flat table of numbers per task.

Ranking metrics read the raw `score`, calibration metrics the calibrated `probability`, decision
metrics the `decision` taken at the threshold; what is not given is left out. A metric that the rows
cannot answer (no rows, one class only) is NaN, and `undefined` says why.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Task = Literal["binary", "multiclass", "regression"]

ECE_BINS = 15
CHANCE = {"roc_auc": 0.5, "macro_auc": 0.5, "r2": 0.0}  # what the headline metric is when nothing is known
HEADLINE = {"binary": "roc_auc", "multiclass": "macro_auc", "regression": "r2"}
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "ece", "rmse", "mae", "median_absolute_error"})
NAN = float("nan")


def evaluate(
    task: Task,
    y: ArrayLike,
    score: ArrayLike,
    probability: ArrayLike | None = None,
    decision: ArrayLike | None = None,
    k_list: Sequence[int | float] = (),
) -> dict[str, float]:
    """Every metric of the task, by name, in the order to print.

    binary:     y [rows] of 0/1, score [rows], probability [rows], decision [rows] of 0/1.
    multiclass: y [rows] class codes 0..classes-1, score [rows, classes], probability [rows, classes],
                decision [rows] class codes (without it: the most probable class).
    regression: y [rows], score [rows] is the prediction; the rest is not used.
    k_list:     binary only; whole numbers are counts of rows, fractions of 1 shares of them:
                (0.01, 500) gives `precision@1%`, `lift@1%`, `precision@500`, `lift@500`.
    """
    if task == "binary":
        return _binary(y, score, probability, decision, k_list)
    if task == "multiclass":
        return _multiclass(y, score, probability, decision)
    if task == "regression":
        return _regression(y, score)
    raise ValueError(f"no task is called {task!r}")


def calibration_metrics(
    task: Literal["binary", "multiclass"], y: ArrayLike, probability: ArrayLike
) -> dict[str, float]:
    """How far probabilities can be believed: log loss and ECE, and for yes or no the Brier score.

    Of several classes the ECE is that of the most probable one (Guo et al. 2017): its probability against how
    often it is right. Shapes as in `evaluate`. Of a raw score that is a probability, this is the state before
    calibration.
    """
    p = finite(probability, "probability")
    if task == "multiclass":
        y = np.asarray(y).astype(np.intp)
        right, sureness = top_class(y, p)
        return {"log_loss": ratio(class_log_loss(y, p).sum(), len(y)), "ece": ece(right, sureness)}
    y = labels(y)
    return {
        "log_loss": ratio(row_log_loss(y, p).sum(), len(y)),
        "brier": ratio(((p - y) ** 2).sum(), len(y)),
        "ece": ece(y, p),
    }


def undefined(task: Task, y: ArrayLike, values: dict[str, float]) -> dict[str, str]:
    """Why each NaN in `values` (from `evaluate` on the same y) is one: metric name → reason."""
    y = np.asarray(y)
    present = np.unique(y)
    if len(y) == 0:
        reason = "no rows"
    elif task == "binary":
        reason = "no positive row" if 1 not in present else "no negative row"
    elif task == "multiclass":
        reason = "only one class occurs"
    else:
        reason = "only one row" if len(y) == 1 else "the labels or the predictions do not vary"
    reasons = {name: reason for name, value in values.items() if math.isnan(value)}
    if task == "binary" and len(y) and "precision" in reasons:
        reasons["precision"] = "no row is selected"
    return reasons


# ---- binary ---------------------------------------------------------------------------------------


def _binary(
    y: ArrayLike,
    score: ArrayLike,
    probability: ArrayLike | None,
    decision: ArrayLike | None,
    k_list: Sequence[int | float],
) -> dict[str, float]:
    y, score = labels(y), finite(score, "score")
    rows, positives = len(y), int(y.sum())
    _, count, positive = tally(y, score)
    values = {
        name: float(v[0]) for name, v in ranking(positive[:, None], (count - positive)[:, None]).items()
    }
    values["prevalence"] = ratio(positives, rows)
    if probability is not None:
        values |= calibration_metrics("binary", y, probability)
    if decision is not None:
        chosen = np.asarray(decision).astype(bool)
        hits, selected = float(y[chosen].sum()), float(chosen.sum())
        values |= decision_metrics(hits, selected, float(positives), float(rows))
    if k_list:
        best = top_k(positive[:, None], count[:, None], k_list)
        values |= {k: float(v[0]) for k, v in best.items()}
    return values


def ece_bins(probability: Floats) -> NDArray[np.intp]:
    """Which of at most 15 equal-mass bins each row is in, [rows]; equal probabilities share one."""
    if len(probability) == 0:
        return np.zeros(0, np.intp)
    edges = np.unique(np.quantile(probability, np.arange(1, ECE_BINS) / ECE_BINS))
    return np.searchsorted(edges, probability, side="left")


def ece(y: Floats, probability: Floats) -> float:
    """Expected calibration error: mean over rows of |share of positives − mean probability| in a bin.

    Equal-mass bins (Nguyen & O'Connor 2015), because with rare positives equal-width bins put
    nearly all rows into the first. It is never negative and so is a little above 0 for a perfectly
    calibrated model too.
    """
    gaps = np.bincount(ece_bins(probability), weights=y - probability, minlength=ECE_BINS)
    return ratio(np.abs(gaps).sum(), len(y))


def row_log_loss(y: Floats, probability: Floats) -> Floats:
    """−ln of the probability given to what happened, [rows]; clipped at 1e-15, so never infinite."""
    return -np.log(np.clip(np.where(y == 1, probability, 1 - probability), 1e-15, 1))


def decision_metrics(hits: Any, selected: Any, positives: Any, rows: Any) -> dict[str, Any]:
    """Precision, recall, F1 and the share selected, from counts (numbers or arrays alike)."""
    return {
        "f1": ratio(2 * hits, selected + positives),
        "precision": ratio(hits, selected),
        "recall": ratio(hits, positives),
        "selected_share": ratio(selected, rows),
    }


def k_label(k: int | float) -> str:
    """500 → `500`, 0.01 → `1%`."""
    valid = 0 < k <= 1 if isinstance(k, float) else k >= 1 and not isinstance(k, bool)
    if not valid:
        raise ValueError(f"k is a count of at least 1 or a fraction in (0, 1], not {k!r}")
    return str(k) if isinstance(k, int) else f"{100 * k:g}%"


def top_k(positive: ArrayLike, count: ArrayLike, k_list: Sequence[int | float]) -> dict[str, Floats]:
    """Precision and lift among the k best rows, for many samples at once.

    positive, count: [bins, samples], positives and rows per score bin, best scores first. Rows that
    tie at the k-th place share it: the result is the mean over all orders of the tied rows. A count
    larger than the list means the whole list; a fraction is rounded to whole rows, at least one.
    Returns [samples] per name.
    """
    positive, count = np.asarray(positive, float), np.asarray(count, float)
    hits, taken = positive.cumsum(axis=0), count.cumsum(axis=0)
    rows = taken[-1] if len(taken) else np.zeros(count.shape[1])
    prevalence = ratio(hits[-1], rows) if len(taken) else np.full(len(rows), NAN)
    columns = np.arange(len(rows))
    out: dict[str, Floats] = {}
    for k in k_list:
        name = k_label(k)
        depth = np.minimum(k, rows) if isinstance(k, int) else np.maximum(np.round(k * rows), rows > 0)
        if len(taken):
            edge = (taken >= depth).argmax(axis=0)  # the bin in which the k-th row lies
            beyond = taken[edge, columns] - depth
            share = ratio(positive[edge, columns], count[edge, columns])
            precision = ratio(hits[edge, columns] - beyond * share, depth)
        else:
            precision = np.full(len(rows), NAN)
        out[f"precision@{name}"] = precision
        out[f"lift@{name}"] = ratio(precision, prevalence)
    return out


def tally(y: Floats, score: Floats) -> tuple[Floats, Floats, Floats]:
    """The distinct scores, highest first, and the rows and positives at each: [distinct] three times.

    The sort is stable, hence quick on rows that are sorted by score already.
    """
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    first = np.ones(len(score), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(first)
    return (
        ordered[starts],
        np.diff(starts, append=len(score)).astype(np.float64),
        np.add.reduceat(y[order], starts),
    )


def ranking(positive: Floats, negative: Floats) -> dict[str, Floats]:
    """ROC-AUC and average precision from rows per distinct score (or bin), best first: [scores, samples] each.

    ROC-AUC by Mann–Whitney: pairs in which the positive stands above, ties counting half.
    """
    hits = positive.cumsum(axis=0)
    P, N = positive.sum(axis=0), negative.sum(axis=0)
    above = np.einsum("ij,ij->j", negative, hits) - np.einsum("ij,ij->j", negative, positive) / 2
    selected = negative.cumsum(axis=0)
    selected += hits
    precision = np.divide(hits, selected, out=hits, where=selected > 0)
    return {
        "roc_auc": ratio(above, P * N),
        "pr_auc": ratio(np.einsum("ij,ij->j", positive, precision), P),
    }


# ---- multiclass -----------------------------------------------------------------------------------


def _multiclass(
    y: ArrayLike, score: ArrayLike, probability: ArrayLike | None, decision: ArrayLike | None
) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    y, score = np.asarray(y).astype(np.intp), finite(score, "score")
    classes = score.shape[1]
    chosen = score.argmax(axis=1) if probability is None else np.asarray(probability).argmax(axis=1)
    if decision is not None:
        chosen = np.asarray(decision).astype(np.intp)
    confusion = np.bincount(y * classes + chosen, minlength=classes**2).reshape(classes, classes, 1)
    values = {name: float(v[0]) for name, v in confusion_metrics(confusion).items()}
    if probability is not None:
        values |= calibration_metrics("multiclass", y, probability)
    # A class that does not occur, or alone occurs, has no AUC and is left out of the mean.
    present = [c for c in range(classes) if 0 < (y == c).sum() < len(y)]
    areas = [float(roc_auc_score(y == c, score[:, c])) for c in present]
    values["macro_auc"] = float(np.mean(areas)) if areas else NAN
    return values


def top_class(y: NDArray[np.intp], probability: Floats) -> tuple[Floats, Floats]:
    """Whether the most probable class is right (0 or 1), and its probability: [rows] each."""
    return (probability.argmax(axis=1) == y).astype(np.float64), probability.max(axis=1)


def class_log_loss(y: NDArray[np.intp], probability: Floats) -> Floats:
    """−ln of the probability given to the true class, [rows]."""
    return -np.log(np.clip(probability[np.arange(len(y)), y], 1e-15, 1))


def confusion_metrics(confusion: ArrayLike) -> dict[str, Floats]:
    """Accuracy, balanced accuracy, macro F1 from confusion [true, predicted, samples]: [samples] each.

    As scikit-learn: balanced accuracy averages over the classes that occur, F1 over those that
    occur or are predicted.
    """
    confusion = np.asarray(confusion, float)
    hits = np.einsum("kkr->kr", confusion)
    true, predicted, rows = confusion.sum(axis=1), confusion.sum(axis=0), confusion.sum(axis=(0, 1))
    return {
        "accuracy": ratio(hits.sum(axis=0), rows),
        "balanced_accuracy": mean_defined(ratio(hits, true)),
        "macro_f1": mean_defined(ratio(2 * hits, true + predicted)),
    }


# ---- regression -----------------------------------------------------------------------------------


def _regression(y: ArrayLike, score: ArrayLike) -> dict[str, float]:
    from scipy.stats import spearmanr
    from sklearn.metrics import r2_score

    y, score = finite(y, "y"), finite(score, "score")
    error = score - y
    varies = len(y) > 1 and np.ptp(y) > 0
    return {
        "mae": ratio(np.abs(error).sum(), len(y)),
        "rmse": math.sqrt(ratio((error**2).sum(), len(y))),
        "r2": float(r2_score(y, score)) if varies else NAN,
        "spearman": float(spearmanr(y, score).statistic) if varies and np.ptp(score) > 0 else NAN,
        "median_absolute_error": float(np.median(np.abs(error))) if len(y) else NAN,
    }


# ---- checks and arithmetic ------------------------------------------------------------------------


def labels(y: ArrayLike) -> Floats:
    """Binary labels as floats 0/1 [rows]; anything else is refused."""
    y = np.asarray(y).astype(np.float64)
    if not np.isin(y, (0.0, 1.0)).all():
        raise ValueError("binary labels are 0 and 1; rows without a label are left out by the caller")
    return y


def finite(values: ArrayLike, name: str) -> Floats:
    """As float64 of the same shape; NaN is refused, because it would sort somewhere and be believed."""
    values = np.asarray(values, dtype=np.float64)
    if np.isnan(values).any():
        raise ValueError(f"{int(np.isnan(values).sum())} values of `{name}` are NaN")
    return values


def ratio(above: Any, below: Any) -> Any:
    """above / below, NaN where below is 0 (numbers or arrays)."""
    if np.ndim(above) == 0 and np.ndim(below) == 0:
        return float(above / below) if below else NAN
    above, below = np.broadcast_arrays(np.asarray(above, float), np.asarray(below, float))
    return np.divide(above, below, out=np.full(above.shape, NAN), where=below != 0)


def mean_defined(values: Floats) -> Floats:
    """Mean over axis 0 of what is not NaN, [samples]; NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values, axis=0)
