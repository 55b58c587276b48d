"""Validation rows judged by a calibrator and a threshold that have not seen them.

Both are fitted on all validation rows. Judged on the same rows they would look better than they are,
isotonic regression most of all, and a choice of model by log loss would prefer what overfits. So the
validation rows are dealt into folds, and each fold gets the probabilities and decisions that the other
folds would have given it (Stone 1974, cross-validatory assessment).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FOLDS = 5
Fit = Callable[[NDArray, NDArray], Callable[[NDArray], NDArray]]


def deal(entity: NDArray, seed: int, folds: int = FOLDS) -> NDArray[np.intp]:
    """A fold for each row [rows]: all rows of an entity in one, the entities evenly among them."""
    codes, names = pd.factorize(entity)
    return np.random.default_rng(seed).permutation(len(names))[codes] % folds


def obstacle(fold: NDArray[np.intp], y: NDArray, classes: bool) -> str | None:
    """Why these rows cannot be cross-fitted, or None: without any one fold, something must be left to fit on.

    fold, y [rows]; classes: whether the rows left must be of two classes.
    """
    for number in np.unique(fold):
        rest = y[fold != number]
        if not len(rest):
            return "all of its validation rows are in one fold"
        if classes and rest.min() == rest.max():
            return f"its {int((y != rest[0]).sum()):,} validation rows of one class are all in one fold"
    return None


def held_out(fit: Fit, y: NDArray, score: NDArray, fold: NDArray[np.intp]) -> NDArray:
    """Each row's result by what `fit` made of the other folds: [rows, …].

    fit: from labels [some rows] and scores [some rows, …] to a function of the scores of others.
    """
    # Sorted once: each fit sorts its rows by score, which is quick when they are sorted already.
    order = np.argsort(-score, kind="stable") if score.ndim == 1 else np.arange(len(score))
    y, score, fold = y[order], score[order], fold[order]
    parts = {n: fit(y[fold != n], score[fold != n])(score[fold == n]) for n in np.unique(fold)}
    first = next(iter(parts.values()))
    found = np.empty((len(y), *first.shape[1:]), first.dtype)
    for number, part in parts.items():
        found[order[fold == number]] = part
    return found
