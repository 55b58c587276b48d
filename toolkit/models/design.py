"""The matrix a linear model multiplies: imputed, standardised and one-hot, fitted on training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.models.interface import Column

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_DENSE = 500  # design columns up to which a dense matrix is the faster one


@dataclass(frozen=True)
class Design:
    """How to turn [rows, columns] into [rows, design columns]; all members are arrays, to be saved as such.

    The design's columns are: each numeric column, standardised after its median replaced what is
    missing; a 0/1 column per numeric column with missing training values; then, per categorical
    column, a 0/1 column per level and one for missing (and unknown) values.
    """

    numeric: np.ndarray  # [numeric] positions in the input
    fill: np.ndarray  # [numeric] training median
    mean: np.ndarray  # [numeric]
    scale: np.ndarray  # [numeric] training standard deviation, 1 where constant
    gaps: np.ndarray  # [indicators] positions among the numeric columns
    categorical: np.ndarray  # [categorical] positions in the input
    levels: np.ndarray  # [categorical] number of levels

    @classmethod
    def fit(cls, X: np.ndarray, columns: Sequence[Column]) -> Design:
        """X: float32 [training rows, columns]."""
        numeric = [one for one, column in enumerate(columns) if column.kind == "numeric"]
        categorical = [one for one, column in enumerate(columns) if column.kind == "categorical"]
        facts = [_describe(X[:, one]) for one in numeric]
        fill, mean, scale, gap = np.array(facts, np.float64).reshape(-1, 4).T
        return cls(
            numeric=np.array(numeric, np.int64),
            fill=fill,
            mean=mean,
            scale=scale,
            gaps=np.flatnonzero(gap),
            categorical=np.array(categorical, np.int64),
            levels=np.array([len(columns[one].levels) for one in categorical], np.int64),
        )

    @property
    def width(self) -> int:
        """Number of input columns."""
        return len(self.numeric) + len(self.categorical)

    def origin(self) -> np.ndarray:
        """[design columns] the input column each design column comes from."""
        return np.concatenate(
            [self.numeric, self.numeric[self.gaps], np.repeat(self.categorical, self.levels + 1)]
        )

    def matrix(self, X: np.ndarray) -> np.ndarray | csr_array:
        """float64 [rows, design columns]; sparse when the levels are many."""
        rows, start = len(X), len(self.numeric) + len(self.gaps)
        size = start + int(np.sum(self.levels + 1))
        out = np.zeros((rows, size if size <= _DENSE else start))
        part = out[:, : len(self.numeric)]
        part[:] = X[:, self.numeric]
        missing = np.isnan(part)
        np.copyto(part, self.fill, where=missing)
        part -= self.mean
        part /= self.scale
        out[:, len(self.numeric) : start] = missing[:, self.gaps]
        slots = start + self._slots(X)
        if size > _DENSE:
            return _beside(out, slots, size)
        out[np.arange(rows)[:, None], slots] = 1.0
        return out

    def _slots(self, X: np.ndarray) -> np.ndarray:
        """[rows, categorical] the one-hot position of each code, counted over all categorical columns."""
        codes = X[:, self.categorical]
        known = (codes >= 0) & (codes < self.levels)  # NaN compares false
        codes = np.where(known, np.nan_to_num(codes, nan=0.0), self.levels).astype(np.int64)
        first = np.cumsum(self.levels + 1) - (self.levels + 1)
        return codes + first

    def center(self, matrix: Any) -> np.ndarray:
        """[design columns] mean over training rows, given their design matrix."""
        center = np.asarray(matrix.mean(axis=0)).ravel()
        center[: len(self.numeric)] = 0.0  # standardised
        return center

    def spread(self, center: np.ndarray) -> np.ndarray:
        """[design columns] standard deviation over training rows, given their mean."""
        spread = np.sqrt(np.maximum(center * (1 - center), 0.0))
        spread[: len(self.numeric)] = 1.0  # standardised; a constant column's coefficient is 0 anyway
        return spread


def _describe(x: np.ndarray) -> tuple[float, float, float, bool]:
    """Median, then mean and deviation once it replaced what is missing, and whether anything was."""
    missing = np.isnan(x)
    seen = x[~missing].astype(np.float64)
    if not len(seen):
        return 0.0, 0.0, 1.0, True
    fill = float(np.median(seen))
    share = len(seen) / len(x)
    mean = share * float(seen.mean()) + (1 - share) * fill
    variance = share * float(np.mean((seen - mean) ** 2)) + (1 - share) * (fill - mean) ** 2
    constant = bool(seen.min() == seen.max())  # asked exactly: rounding leaves a tiny variance
    return fill, mean, 1.0 if constant else float(np.sqrt(variance)), bool(missing.any())


def _beside(left: np.ndarray, slots: np.ndarray, size: int) -> csr_array:
    """[rows, size] sparse: `left` in the first columns, a 1 at each of `slots` [rows, categorical]."""
    from scipy.sparse import csr_array

    rows = len(left)
    ones = (np.ones(slots.size), slots.ravel(), np.arange(rows + 1) * slots.shape[1])
    wide = csr_array(left)
    wide.resize((rows, size))
    return csr_array(wide + csr_array(ones, shape=(rows, size)))
