"""How well does one column alone predict the target?

Two readers: the "best single rule" beside every model, and the leak audit, which looks for a column
that predicts too well. Each column is cut into bins on training rows, each bin learns the mean label
of its training rows, and that table is judged on validation rows, so that a column which merely
numbers the rows does not look strong.

    bins = bin_columns(X_train, categorical)
    table = tables(bins, bins.codes(X_train), y_train, "binary")
    strength(table, bins.codes(X_valid), y_valid)          # [columns]
    table.predict(codes_of_one_column, column)             # the single rule as a score
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toolkit.evaluation.metrics import NAN, Floats, Task, mean_defined, ratio

Codes = NDArray[np.int16]

MISSING, OTHER, FIRST = 0, 1, 2  # bin 0: missing; bin 1: levels unseen or rare; then the rest in order
NUMERIC_BINS = 20
LEVELS = 200
PRIOR_ROWS = 20.0  # a bin of 20 rows is trusted half, the prior half (m-estimate; Micci-Barreca 2001)


def sample_rows(rows: int, limit: int = 200_000, seed: int = 0) -> NDArray[np.intp]:
    """At most `limit` of `rows` row numbers, without repeats, in order; the same for the same seed."""
    if rows <= limit:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))


@dataclass(frozen=True)
class Bins:
    """How each column is cut. `cuts[c]` holds the upper edges of a numeric column's bins (all but the
    last), or the kept levels of a categorical one, increasing."""

    cuts: tuple[NDArray[np.float32], ...]
    categorical: NDArray[np.bool_]

    @property
    def width(self) -> int:
        """Bins of the widest column, with those for missing and other."""
        return FIRST + 1 + max((len(cut) for cut in self.cuts), default=0)

    def codes(self, X: ArrayLike) -> Codes:
        """Bin of each value: X [rows, columns], NaN is missing → [rows, columns]."""
        X = np.asarray(X, dtype=np.float32)
        out = np.empty(X.shape, np.int16, order="F")
        for c in range(X.shape[1]):
            out[:, c] = self.column_codes(c, X[:, c])
        return out

    def column_codes(self, column: int, values: ArrayLike) -> Codes:
        """Bin of each value [rows] of one column."""
        x, cut = np.asarray(values, dtype=np.float32), self.cuts[column]
        codes = np.searchsorted(cut, x, side="left").astype(np.int16) + np.int16(FIRST)
        if self.categorical[column]:
            known = np.append(cut, np.float32(np.nan))[codes - FIRST] == x
            codes[~known] = OTHER
        codes[np.isnan(x)] = MISSING
        return codes


def bin_columns(X: ArrayLike, categorical: ArrayLike | None = None) -> Bins:
    """Fit bins on training rows.

    X [rows, columns] float32, NaN is missing; categorical [columns], True where the values are codes
    of levels. A numeric column gets about 20 bins of about equal mass, a value held by more than
    1/20 of the rows its own; a categorical column one bin for each of its 200 most frequent levels.
    Missing has a bin of its own; rarer or unseen levels share one.
    """
    X = np.asarray(X, dtype=np.float32)
    flags = np.zeros(X.shape[1], bool) if categorical is None else np.asarray(categorical, dtype=bool)
    cuts = tuple(_levels(X[:, c]) if flags[c] else _edges(X[:, c]) for c in range(X.shape[1]))
    return Bins(cuts, flags)


def _levels(x: NDArray[np.float32]) -> NDArray[np.float32]:
    values, counts = np.unique(x[~np.isnan(x)], return_counts=True)
    return np.sort(values[np.argsort(-counts, kind="stable")[:LEVELS]])


def _edges(x: NDArray[np.float32]) -> NDArray[np.float32]:
    ordered = np.sort(x[~np.isnan(x)])
    if len(ordered) == 0:
        return ordered
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    values, counts = ordered[starts], np.diff(starts, append=len(ordered))
    if len(values) <= NUMERIC_BINS:
        return values[:-1]
    # A frequent value closes a bin, and so does the value just below it: it stands alone.
    heavy = np.flatnonzero(counts > len(ordered) / NUMERIC_BINS)
    rest = np.where(counts > len(ordered) / NUMERIC_BINS, 0, counts).cumsum()
    wanted = NUMERIC_BINS - len(heavy)
    spread = np.searchsorted(rest, rest[-1] * np.arange(1, wanted) / wanted) if wanted > 1 else []
    closing = np.unique(np.concatenate([heavy, heavy - 1, spread]).astype(np.intp))
    return values[closing[(closing >= 0) & (closing < len(values) - 1)]]


@dataclass(frozen=True)
class Tables:
    """What each bin of each column says: mean label, or class shares.

    values: [columns, bins] (binary, regression) or [columns, bins, classes] (multiclass).
    """

    task: Task
    values: Floats

    def predict(self, codes: ArrayLike, column: int) -> Floats:
        """The rule of one column as a score: codes [rows] → [rows] or [rows, classes]."""
        return self.values[column][np.asarray(codes)]


def tables(bins: Bins, codes: Codes, y: ArrayLike, task: Task) -> Tables:
    """Learn the tables from training rows: codes [rows, columns], y [rows] (class codes if multiclass).

    A bin's mean is drawn towards the mean of all rows as if 20 more rows had shown that mean.
    """
    y = np.asarray(y)
    if task == "multiclass":
        of_class = y.astype(np.intp)
        shares = [_means(bins.width, codes, of_class == c) for c in range(int(of_class.max(initial=0)) + 1)]
        return Tables(task, np.stack(shares, axis=-1))
    return Tables(task, _means(bins.width, codes, y))


def strength(table: Tables, codes: Codes, y: ArrayLike) -> Floats:
    """How well each column's table does on other rows than it learnt from, [columns].

    codes [rows, columns] and y [rows] of VALIDATION rows. ROC-AUC for binary, mean one-vs-rest AUC
    for multiclass (0.5 says nothing, 1 is perfect), R² for regression (0 or less says nothing).
    NaN when those rows cannot tell (one class only, a constant label).
    """
    y = np.asarray(y)
    if table.task == "binary":
        return _auc(codes, y == 1, table.values)
    if table.task == "multiclass":
        classes = table.values.shape[-1]
        return mean_defined(np.stack([_auc(codes, y == c, table.values[:, :, c]) for c in range(classes)]))
    width, centred = table.values.shape[1], y - (y.mean() if len(y) else 0)
    spread = (centred**2).sum()
    if not spread:
        return np.full(codes.shape[1], NAN)
    # Σ(y−v)² − Σy² = Σ over bins of v·(n·v − 2·Σy), with y and v counted from the mean of y
    n, total, value = _sums(width, codes), _sums(width, codes, centred), table.values - y.mean()
    return -(value * (n * value - 2 * total)).sum(axis=1) / spread


def _means(width: int, codes: Codes, y: NDArray) -> Floats:
    prior = float(y.mean()) if len(y) else NAN
    total = _sums(width, codes, y.astype(np.float64))
    return (total + PRIOR_ROWS * prior) / (_sums(width, codes) + PRIOR_ROWS)


def _sums(width: int, codes: Codes, weight: Floats | None = None) -> Floats:
    """Rows, or the sum of `weight` [rows], in each bin of each column: [columns, bins]."""
    out = np.empty((codes.shape[1], width))
    for c in range(codes.shape[1]):
        out[c] = np.bincount(codes[:, c], weights=weight, minlength=width)
    return out


def _auc(codes: Codes, positive: NDArray[np.bool_], value: Floats) -> Floats:
    """ROC-AUC [columns] of ranking rows by value [columns, bins]; bins of equal value tie."""
    width = value.shape[1]
    hits = _sums(width, codes[positive])
    false = _sums(width, codes[~positive])
    order = np.argsort(value, axis=1, kind="stable")
    hits, false, value = (np.take_along_axis(a, order, axis=1) for a in (hits, false, value))
    # For each positive, the negatives below it (Mann–Whitney), a tie counting half.
    below = false.cumsum(axis=1) - false
    first = np.concatenate([np.ones((len(value), 1), bool), value[:, 1:] != value[:, :-1]], axis=1)
    group = first.cumsum(axis=1) - 1 + np.arange(len(value))[:, None] * width
    start = np.bincount(group.ravel(), weights=np.where(first, below, 0).ravel())
    tied = np.bincount(group.ravel(), weights=false.ravel())
    pairs = (hits * (start + tied / 2)[group]).sum(axis=1)
    return ratio(pairs, hits.sum(axis=1) * false.sum(axis=1))
