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


def headline(task: Task, y: Floats, score: Floats) -> float:
    """ROC-AUC, mean one-vs-rest AUC, or R²; NaN where the rows cannot tell."""
    if not len(y):
        return NAN
    if task.type == "binary":
        return auc(y == 1, score)
    if task.type == "multiclass":
        areas = np.array([auc(y == c, score[:, c]) for c in range(score.shape[1])])
        return float(mean_defined(areas))
    return 1 - ratio(float(((y - score) ** 2).sum()), float(((y - y.mean()) ** 2).sum()))


def _by_fold(tasks: Sequence[Task], y: Floats, scores: list[Floats], folds: list[NDArray[np.intp]]) -> Floats:
    """[folds, tasks]"""
    out = np.empty((len(folds), len(tasks)))
    for f, fold in enumerate(folds):
        for t, task in enumerate(tasks):
            rows = fold[~np.isnan(y[fold, t])]
            out[f, t] = headline(task, y[rows, t], scores[t][rows])
    return out


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
