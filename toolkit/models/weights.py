"""Class weights: the setting that models share, and what it means for rows."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from toolkit.models.interface import Task

ClassWeight = Annotated[
    Literal["none", "balanced"],
    Field(description="balanced: every class weighs the same in total. Probabilities then need calibration."),
]


def row_weights(
    class_weight: ClassWeight, task: Task, y: np.ndarray, rows: np.ndarray | None = None
) -> np.ndarray | None:
    """Weights [rows] of the labels `rows` (None: of `y`), by the class counts of the training labels `y`.

    None where every row weighs the same: the setting says so, or the target is a number.
    """
    if class_weight == "none" or task.type == "regression":
        return None
    return balanced_weights(y, y if rows is None else rows)


def balanced_weights(y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Weights [rows] that give every class of the training labels `y` the same total, mean 1 on `y`.

    For two classes this is scale_pos_weight = negatives / positives, up to a constant that keeps the
    total weight at the number of rows, so that regularisation keeps its meaning.
    """
    count = np.bincount(y)
    return (len(y) / (len(count) * count))[rows]
