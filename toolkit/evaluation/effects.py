"""What a column does to the score: in which direction, over which values, and what it adds to one row.

Contributions come from the model itself where it can say them (`toolkit.models.explain`), otherwise by
replacement: the score of the row minus its score with the column at its usual value in training rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.metrics import NAN, Floats
from toolkit.models.interface import Column, Task

STEEP = 0.5  # rank correlation of value and contribution from which a column "rises" or "falls"
BINS = 8
DRAWN_IN = 1 / 200  # a forest's 0 and 1 are no certainties, and have no log-odds
LEVEL_ROWS, LEVEL_SHARE = (
    10,
    0.01,
)  # rows, and share of all, from which a level's contribution tells something


def additive(said: Floats, task: Task) -> Floats:
    """A prediction on the scale on which models add up: log-odds, logarithms of classes, or the number itself."""
    if task.type == "regression":
        return said
    kept = (said + DRAWN_IN / 2) / (1 + DRAWN_IN)
    return np.log(kept) if said.ndim == 2 else np.log(kept / (1 - kept))


def replaced(
    predict: Callable[[NDArray], list[Floats]], X: NDArray, usual: NDArray, columns: Sequence[int]
) -> list[Floats]:
    """Per task what each column adds to each row's score: [rows, columns] or [rows, columns, classes].

    X float32 [rows, all columns]; usual [all columns] (`usual_values`). Columns that are not among `columns`
    get 0. What is left over by columns that act together is not shared out.
    """
    base = predict(X)
    found = [np.zeros((len(X), X.shape[1], *score.shape[1:])) for score in base]
    changed = X.copy()
    for c in columns:
        changed[:, c] = usual[c]
        for out, score, other in zip(found, base, predict(changed), strict=True):
            out[:, c] = score - other
        changed[:, c] = X[:, c]
    return found


def usual_values(X: NDArray, categorical: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The median, or the most frequent level, of each column [columns]; NaN where half or more is missing."""
    usual = np.full(X.shape[1], np.nan, np.float32)
    for c in range(X.shape[1]):
        known = X[~np.isnan(X[:, c]), c]
        if 2 * len(known) > len(X):
            usual[c] = np.bincount(known.astype(np.intp)).argmax() if categorical[c] else np.median(known)
    return usual


def effect(values: NDArray, contribution: Floats, column: Column) -> tuple[str, list[tuple[str, int, float]]]:
    """Direction ("rises", "falls", "mixed", "levels") and shape: per bin its text, rows, mean contribution.

    values: encoded [rows], NaN is missing; contribution [rows].
    """
    codes, texts = readable_bins(values, column)
    rows = np.bincount(codes, minlength=len(texts))
    total = np.bincount(codes, weights=contribution, minlength=len(texts))
    shape = [(texts[b], int(rows[b]), float(total[b] / rows[b])) for b in np.flatnonzero(rows)]
    return ("levels" if column.kind == "categorical" else direction(values, contribution)), shape


def telling_levels(shape: Sequence[tuple[str, int, float]], column: Column) -> tuple[str, str] | None:
    """The levels that lower and raise the score most; None where fewer than two have rows enough to tell.

    shape: of `effect`. What is put together as "others" is no level; missing is one.
    """
    least = max(LEVEL_ROWS, LEVEL_SHARE * sum(rows for _, rows, _ in shape))
    known = {*column.levels, "missing"}
    ordered = sorted((mean, text) for text, rows, mean in shape if rows >= least and text in known)
    return (ordered[0][1], ordered[-1][1]) if len(ordered) > 1 else None


def direction(values: NDArray, contribution: Floats) -> str:
    """Whether the contribution rises or falls with the value, by rank correlation among known values."""
    from scipy.stats import spearmanr

    known = ~np.isnan(values)
    x, y = values[known], contribution[known]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return "mixed"
    rho = spearmanr(x, y).statistic
    return "rises" if rho >= STEEP else "falls" if rho <= -STEEP else "mixed"


def readable_bins(values: NDArray, column: Column, most: int = BINS) -> tuple[NDArray[np.intp], list[str]]:
    """Bins that can be read: the bin of each row [rows], and the bins' texts; missing has one of its own.

    A numeric column gets at most `most` bins of about equal mass, or its values where they are few; a
    categorical one its `most` most frequent levels, and one bin for the rest.
    """
    known = ~np.isnan(values)
    codes = np.empty(len(values), np.intp)
    if column.kind == "categorical":
        count = np.bincount(values[known].astype(np.intp), minlength=len(column.levels))
        kept = np.argsort(-count, kind="stable")[:most]
        kept = kept[count[kept] > 0]
        place = np.full(len(count), len(kept))
        place[kept] = np.arange(len(kept))
        texts = [*(column.levels[level] for level in kept), f"{np.count_nonzero(count) - len(kept)} others"]
        codes[known] = place[values[known].astype(np.intp)]
    else:
        x = values[known]
        distinct = np.unique(x)
        edges = distinct[:-1]
        if len(distinct) > most:
            edges = np.unique(np.quantile(x, np.arange(1, most) / most, method="lower"))
            edges = edges[edges < distinct[-1]]
        codes[known] = np.searchsorted(edges, x, side="left")
        texts = _ranges(np.split(distinct, np.searchsorted(distinct, edges, side="right")))
    codes[~known] = len(texts)
    return codes, [*texts, "missing"]


def _ranges(parts: Sequence[NDArray]) -> list[str]:
    """What each bin holds, from its distinct values in order: one value, or from which to which."""
    texts = []
    for number, part in enumerate(parts):
        low, high = (number_text(part[0]), number_text(part[-1])) if len(part) else ("", "")
        if low == high:
            texts.append(low)
        elif number == 0:
            texts.append(f"up to {high}")
        else:
            texts.append(f"{low} or more" if number == len(parts) - 1 else f"{low} to {high}")
    return texts


def number_text(value: float) -> str:
    """A number as people write it: 1,234; 0.1235; missing."""
    value = float(value)
    if np.isnan(value):
        return "missing"
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:,.4g}"


def distribution(
    values: NDArray, groups: dict[str, NDArray[np.bool_]], column: Column
) -> tuple[list[str], dict[str, list[float]]]:
    """Bins' texts and, per group of rows (a mask [rows]), the share of its rows in each bin (NaN: no rows)."""
    codes, texts = readable_bins(values, column)
    used = np.flatnonzero(np.bincount(codes, minlength=len(texts)))
    shares = {}
    for name, rows in groups.items():
        count = np.bincount(codes[rows], minlength=len(texts))[used]
        shares[name] = (count / count.sum() if count.sum() else np.full(len(used), NAN)).tolist()
    return [texts[b] for b in used], shares
