"""LIME: a sparse linear model that follows a model around one row, and how well it does (Ribeiro et al. 2016).

    found = surrogate(predict, row, train, columns, categorical, rng)
    found.weights, found.fidelity

Doubles of the row take some of their values from a training row each, so that they stay like the data. A
column speaks by whether its value is kept (the same quarter of the training values, or the same level): its
weight is what the row's own value adds, compared with what others have. Those closer to the row count more
(doi:10.1145/2939672.2939778, section 3.4; the kernel is that of the authors' library).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DOUBLES = 2_000
SPARSE = 10  # columns of the linear model
TRUSTED = 0.5  # R² below which it does not follow the model
WIDTH = 0.75  # of the kernel, times the root of the number of columns
RIDGE = 1.0
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Surrogate:
    """The linear model around a row.

    weights: what each column's own value adds to the score [all columns], 0 for those left out; fidelity:
    R² on doubles that it was not fitted on, weighted as those were; NaN where the model's score does not vary.
    """

    weights: Floats
    fidelity: float

    @property
    def trusted(self) -> bool:
        return bool(self.fidelity >= TRUSTED)

    def words(self) -> str:
        """How far it is to be believed."""
        if np.isnan(self.fidelity):
            return "A local linear model (LIME) has nothing to say here: around this row the score does not move."
        said = f"A local linear model (LIME) of the scores around this row, R² {self.fidelity:.2f} on fresh perturbations"
        return (
            f"{said}."
            if self.trusted
            else f"{said}: it does not follow the model here and should not be trusted."
        )


def surrogate(
    predict: Callable[[NDArray], Floats],
    row: NDArray[np.float32],
    train: NDArray[np.float32],
    columns: Sequence[int],
    categorical: NDArray[np.bool_],
    rng: np.random.Generator,
    doubles: int = DOUBLES,
) -> Surrogate:
    """predict: X [rows, all columns] → score on a scale that adds up, such as log-odds [rows]; train: training rows
    [rows, all columns]; columns: those that may differ from the row; categorical: [all columns].
    """
    from sklearn.linear_model import Ridge

    asked = np.asarray(columns)
    weights = np.zeros(len(row))
    X, kept, near = _doubles(row, train, asked, categorical, 2 * doubles, rng)
    score = np.asarray(predict(X), np.float64)
    fit, fresh = slice(0, doubles), slice(doubles, None)
    if not len(asked) or np.ptp(score[fit]) == 0 or np.ptp(score[fresh]) == 0:
        return Surrogate(weights, np.nan)
    whole = Ridge(RIDGE).fit(kept[fit], score[fit], near[fit])
    strongest = np.argsort(-np.abs(whole.coef_) * kept[fit].std(axis=0), kind="stable")[:SPARSE]
    sparse = Ridge(RIDGE).fit(kept[fit][:, strongest], score[fit], near[fit])
    weights[asked[strongest]] = sparse.coef_
    return Surrogate(weights, float(sparse.score(kept[fresh][:, strongest], score[fresh], near[fresh])))


def _doubles(
    row: NDArray[np.float32],
    train: NDArray[np.float32],
    asked: NDArray[np.intp],
    categorical: NDArray[np.bool_],
    number: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], Floats, Floats]:
    """Doubles [number, all columns], which columns say the same as the row's [number, asked], and how much each counts."""
    others = train[rng.integers(len(train), size=number)][:, asked]
    taken = rng.random((number, len(asked))) < 0.5
    X = np.repeat(row[None], number, axis=0)
    X[:, asked] = np.where(taken, others, row[asked])
    quarters = np.empty((number, len(asked)), bool)
    for place, c in enumerate(asked):
        quarters[:, place] = _same(row[c], X[:, c], train[:, c], bool(categorical[c]))
    kept = quarters.astype(np.float64)
    away = (1 - kept).sum(axis=1) / max(len(asked), 1)
    return X, kept, np.exp(-away / WIDTH**2)


def _same(own: float, values: NDArray, train: NDArray, categorical: bool) -> NDArray[np.bool_]:
    if np.isnan(own):
        return np.isnan(values)
    if categorical:
        return values == own
    known = train[~np.isnan(train)]
    edges = np.unique(np.quantile(known, [0.25, 0.5, 0.75])) if len(known) else np.empty(0)
    return ~np.isnan(values) & (np.searchsorted(edges, values) == np.searchsorted(edges, own))
