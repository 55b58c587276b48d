"""Permutation importance: how much of the headline metric is lost when a column's values change places.

The rows are dealt into folds, and a column is shuffled inside each of them, once. The loss of a fold is
one draw; the folds' spread speaks of other rows as well as of other shuffles, for the price of a single
prediction of all rows. (Breiman 2001; Fisher, Rudin & Dominici 2019.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.curves import auc
from toolkit.evaluation.metrics import NAN, Floats, mean_defined, ratio
from toolkit.models.interface import Task

FOLDS = 10
FOLD_ROWS = 20  # a fold has about as many rows at least
SAMPLE = 5_000


@dataclass(frozen=True)
class Loss:
    """Loss of the headline metric [columns asked for] and its 95 % interval; NaN where it cannot be told."""

    mean: Floats
    low: Floats
    high: Floats


def permutation(
    predict: Callable[[NDArray], list[Floats]], X: NDArray, y: Floats, tasks: Sequence[Task], entity: NDArray,
    columns: Sequence[int], seed: int,
) -> list[Loss]:  # fmt: skip
    """Per task, in the metric's unit. Rows are not to be those that the model was fitted on.

    predict: X → scores per task; X float32 [rows, all columns]; y [rows, tasks], NaN where there is no label;
    entity [rows]: all rows of one are in the same fold; columns: those to shuffle, by position.
    """
    rng = np.random.default_rng(seed)
    folds = deal(entity, rng)
    before = _by_fold(tasks, y, predict(X), folds)
    changed, losses = X.copy(), np.empty((len(columns), len(folds), len(tasks)))
    for number, c in enumerate(columns):
        for fold in folds:
            changed[fold, c] = X[rng.permutation(fold), c]
        losses[number] = before - _by_fold(tasks, y, predict(changed), folds)
        changed[:, c] = X[:, c]
    return [_summed_up(losses[:, :, t]) for t in range(len(tasks))]


def deal(entity: NDArray, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Positions of the rows of each fold; at most ten folds, fewer where rows are few."""
    names, codes = np.unique(entity, return_inverse=True)
    number = int(np.clip(len(entity) // FOLD_ROWS, 1, FOLDS))
    lot = rng.permutation(len(names))[codes] % number
    return [found for f in range(number) if len(found := np.flatnonzero(lot == f))]


def _area(task: Task, y: Floats, score: Floats) -> float:
    """ROC-AUC or mean one-vs-rest AUC; NaN where the rows cannot tell."""
    if not len(y):
        return NAN
    if task.type == "binary":
        return auc(y == 1, score)
    return float(mean_defined(np.array([auc(y == c, score[:, c]) for c in range(score.shape[1])])))


def _by_fold(tasks: Sequence[Task], y: Floats, scores: list[Floats], folds: list[NDArray[np.intp]]) -> Floats:
    """The headline metric [folds, tasks]; of a number each fold's part in the R² of all rows.

    A fold of twenty values has a spread of its own, and an R² over it that is off: so the squared errors are held
    against the spread of all rows, and the mean over folds is the R² itself.
    """
    out = np.empty((len(folds), len(tasks)))
    for t, task in enumerate(tasks):
        labelled = [fold[~np.isnan(y[fold, t])] for fold in folds]
        if task.type == "regression":
            out[:, t] = _r2_by_fold(y[:, t], scores[t], labelled)
        else:
            out[:, t] = [_area(task, y[rows, t], scores[t][rows]) for rows in labelled]
    return out


def _r2_by_fold(y: Floats, score: Floats, labelled: list[NDArray[np.intp]]) -> Floats:
    """labelled: rows of each fold. NaN for a fold without any, or where labels do not vary: [folds]."""
    known = y[~np.isnan(y)]
    spread = float(((known - known.mean()) ** 2).sum()) if len(known) else 0.0
    wrong = np.array([((y[rows] - score[rows]) ** 2).sum() if len(rows) else NAN for rows in labelled])
    return 1 - ratio(np.count_nonzero(~np.isnan(wrong)) * wrong, spread)


def _summed_up(losses: Floats) -> Loss:
    """Mean over folds [columns] and Student's interval of it; no interval from fewer than three folds."""
    from scipy.stats import t as student

    known = ~np.isnan(losses)
    n = known.sum(axis=1)
    mean = ratio(np.where(known, losses, 0).sum(axis=1), n)
    squares = np.where(known, (losses - mean[:, None]) ** 2, 0).sum(axis=1)
    half = student.ppf(0.975, np.maximum(n - 1, 1)) * np.sqrt(ratio(squares, (n - 1.0) * n))
    half[n < 3] = NAN
    return Loss(mean, mean - half, mean + half)


def sample(y: Floats, task: Task | None, limit: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Positions of at most `limit` labelled rows. y [rows], NaN where there is no label.

    Of a yes-or-no target as many of both classes as there are, up to half: AUC compares positives with
    negatives, so it does not depend on their shares, and a rare class tells most.
    """
    rows = np.flatnonzero(~np.isnan(y))
    if len(rows) <= limit:
        return rows
    if task is None or task.type != "binary":
        return np.sort(rng.choice(rows, limit, replace=False))
    positive, negative = rows[y[rows] == 1], rows[y[rows] != 1]
    wanted = min(len(positive), max(limit // 2, limit - len(negative)))
    chosen = [
        rng.choice(positive, wanted, replace=False),
        rng.choice(negative, limit - wanted, replace=False),
    ]
    return np.sort(np.concatenate(chosen))
