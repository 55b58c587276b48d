"""What training rows are like: the ranges of their values, and how far they lie from one another.

A changed row is like them if each new value lies within its range, and the row as a whole is not farther
from its nearest training rows than most of those are from theirs (or than it was itself).
Distances are taken on the scale of ranks, where every column counts alike however skewed it is, among the
columns that may change and those that go with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import BundleError
from toolkit.modalities import Column

SAMPLE = 2_000  # training rows kept
NEIGHBOURS = 5
EDGE = 0.01  # share of training rows beyond either end of a usual range
APART = 1 / np.sqrt(6)  # root mean square distance of two random ranks
COMPANY, TIED = 3, 0.5  # columns that go with one that may change: so many, with such a rank correlation
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """Training rows, as far as changes need them. Per column [columns], of categorical ones codes:

    low, high: quantiles; least, most: of all rows; scale: MAD about the median, or the mean absolute deviation
    where more than half are equal, 0 where all are; whole: no value has a fraction. rows: float32 [sample,
    columns], in no order and without keys; names: of the columns.
    """

    names: tuple[str, ...]
    categorical: NDArray[np.bool_]
    low: Floats
    high: Floats
    least: Floats
    most: Floats
    scale: Floats
    whole: NDArray[np.bool_]
    rows: NDArray[np.float32]

    @classmethod
    def fit(
        cls, X: NDArray[np.float32], columns: Sequence[Column], wanted: Sequence[int], seed: int
    ) -> Reference:
        """X: encoded training rows [rows, all columns]; wanted: columns that changes concern, by position."""
        rng = np.random.default_rng(seed)
        some = X[rng.permutation(len(X))[:SAMPLE]]
        categorical = np.array([column.kind == "categorical" for column in columns])
        kept = [*wanted, *company(some, categorical, wanted)]
        facts = np.array([_facts(X[:, c]) for c in kept]).reshape(-1, 6)
        low, high, least, most, scale, whole = facts.T
        names = tuple(columns[c].name for c in kept)
        return cls(names, categorical[kept], low, high, least, most, scale, whole > 0, some[:, kept])

    def to_arrays(self) -> dict[str, NDArray]:
        return {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}

    @classmethod
    def from_arrays(cls, names: Sequence[str], arrays: Mapping[str, Any]) -> Reference:
        """What `to_arrays` gave; BundleError if it is something else."""
        try:
            found = cls(tuple(names), **arrays)
        except TypeError as error:
            raise BundleError(
                "the training rows that changes are held against are not whole", why=str(error)
            ) from error
        if any(len(value) != len(names) for key, value in arrays.items() if key != "rows"):
            raise BundleError(
                "the training rows that changes are held against have other columns than they name"
            )
        return found

    def place(self, name: str) -> int:
        return self.names.index(name)

    def distance(self, X: NDArray[np.float32]) -> Floats:
        """Mean distance to the nearest training rows [rows]; X [rows, columns of this]."""
        if not len(X):
            return np.empty(0)
        far, _ = self._tree.query(self._points(X), k=min(NEIGHBOURS, len(self.rows)))
        return np.asarray(far).reshape(len(X), -1).mean(axis=1)

    def ordinary(self, share: float) -> float:
        """The distance that this share of training rows keeps from the others."""
        k = min(NEIGHBOURS + 1, len(self.rows))
        far = np.asarray(self._tree.query(self._points(self.rows), k=k)[0]).reshape(len(self.rows), -1)
        return float(np.quantile(far[:, 1:].mean(axis=1), share)) if k > 1 else np.inf

    @cached_property
    def _sorted(self) -> list[NDArray]:
        return [np.sort(column[~np.isnan(column)]) for column in self.rows.T]

    @cached_property
    def _tree(self) -> Any:
        from scipy.spatial import cKDTree

        return cKDTree(self._points(self.rows))

    def _points(self, X: NDArray[np.float32]) -> Floats:
        """Ranks between 0 and 1; two levels, or a value and a gap, are as far apart as two ranks usually are."""
        points = []
        for c, column in enumerate(X.T.astype(np.float64)):
            gap = np.isnan(column)
            if self.categorical[c]:
                levels = np.arange(np.nan_to_num(self.most[c]) + 1)
                points.append((column[:, None] == levels) * (APART / np.sqrt(2)))
            else:
                known, many = self._sorted[c], max(len(self._sorted[c]), 1)
                rank = (np.searchsorted(known, column, "left") + np.searchsorted(known, column, "right")) / (
                    2 * many
                )
                points.append(np.where(gap, 0.0, rank)[:, None])
                points.append(gap[:, None] * APART)
        return np.hstack(points)


def _facts(values: NDArray) -> tuple[float, ...]:
    known = values[~np.isnan(values)].astype(np.float64)
    if not len(known):
        return (np.nan, np.nan, np.nan, np.nan, 0.0, 0.0)
    low, high = np.quantile(known, [EDGE, 1 - EDGE], method="inverted_cdf")
    away = np.abs(known - np.median(known))
    scale = float(np.median(away)) or float(away.mean())
    return (low, high, known.min(), known.max(), scale, float((known == np.floor(known)).all()))


def company(X: NDArray[np.float32], categorical: NDArray[np.bool_], wanted: Sequence[int]) -> list[int]:
    """Numeric columns that go with the wanted ones by rank, strongest first, those themselves left out."""
    from scipy.stats import rankdata

    ranks = rankdata(np.where(np.isnan(X), -np.inf, X), axis=0).astype(np.float64)
    ranks -= ranks.mean(axis=0)
    size = np.sqrt((ranks**2).sum(axis=0))
    ranks /= np.where(size > 0, size, 1)
    found: dict[int, None] = {}
    for c in wanted:
        if categorical[c]:
            continue
        tied = np.abs(ranks[:, c] @ ranks)
        tied[[*wanted]] = 0
        tied[categorical] = 0
        found |= dict.fromkeys(int(o) for o in np.argsort(-tied, kind="stable")[:COMPANY] if tied[o] >= TIED)
    return list(found)
