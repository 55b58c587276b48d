"""Class weights: the setting that models share, and what it means for rows."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from toolkit.models.interface import Task
from toolkit.models.one_by_one import balanced_weights

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
