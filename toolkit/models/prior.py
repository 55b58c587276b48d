"""The naive baseline: what one would say of every row without looking at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from toolkit.bundle.files import read_json, write_json
from toolkit.models.interface import Column, Task
from toolkit.models.one_by_one import OneByOne, Rows


class Prior(OneByOne):
    """Predict the training rows' base rate, class shares or mean for every row."""

    kind: Literal["prior"] = "prior"
    needs_columns: ClassVar[bool] = False

    def fit_one(
        self, task: Task, columns: Sequence[Column], train: Rows, valid: Rows, **options: Any
    ) -> PriorFitted:
        if task.type == "multiclass":
            share = np.bincount(train.y, minlength=len(task.classes)) / len(train)
            return PriorFitted(share.tolist())
        return PriorFitted(float(np.mean(train.y)))

    def load_one(self, folder: Path, task: Task, iterations: int | None, notes: list[str]) -> PriorFitted:
        return PriorFitted(read_json(folder / "prior.json")["value"], iterations, notes)


@dataclass
class PriorFitted:
    """value: base rate or mean, or one share per class."""

    value: float | list[float]
    iterations: int | None = None
    notes: list[str] = field(default_factory=list)

    def predict(self, X: np.ndarray) -> np.ndarray:
        value = np.asarray(self.value, np.float64)
        return np.tile(value, (len(X), *[1] * value.ndim))

    def importance(self) -> None:
        return None

    def save(self, folder: Path) -> None:
        write_json(folder / "prior.json", {"value": self.value})
