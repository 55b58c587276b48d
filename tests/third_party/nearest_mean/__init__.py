"""A third-party model: each class is known by the mean of its rows; the nearest mean wins.

Everything that a package must do is here: a configuration with `kind`, a fitted part that predicts
and saves plain arrays, and a `Component` that an entry point names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from toolkit.bundle.files import read_arrays, write_arrays
from toolkit.errors import ConfigError
from toolkit.models import Column, Task
from toolkit.models.one_by_one import OneByOne, Rows
from toolkit.registry import Component


class NearestMean(OneByOne):
    """The class whose mean row is nearest, as a soft choice."""

    kind: Literal["nearest_mean"] = "nearest_mean"
    temperature: float = Field(1.0, gt=0, description="How soft the choice is.")

    def fit_one(
        self, task: Task, columns: Sequence[Column], train: Rows, valid: Rows, **options: Any
    ) -> NearestMeanFitted:
        if task.type != "binary":
            raise ConfigError(f"nearest_mean learns yes or no, but `{task.name}` is {task.type}")
        means = [np.nanmean(train.X[train.y == label], axis=0) for label in (0, 1)]
        return NearestMeanFitted(np.nan_to_num(np.stack(means)), self.temperature)

    def load_one(
        self, folder: Path, task: Task, iterations: int | None, notes: list[str]
    ) -> NearestMeanFitted:
        return NearestMeanFitted(read_arrays(folder / "means.safetensors")["means"], self.temperature)


@dataclass
class NearestMeanFitted:
    """means: [2, columns]."""

    means: np.ndarray
    temperature: float
    iterations: int | None = None
    notes: list[str] = field(default_factory=list)

    def predict(self, X: np.ndarray) -> np.ndarray:
        distance = [np.nansum((X - mean) ** 2, axis=1) for mean in self.means]
        return 1 / (1 + np.exp((distance[1] - distance[0]).astype(np.float64) / self.temperature))

    def importance(self) -> None:
        return None

    def save(self, folder: Path) -> None:
        write_arrays(folder / "means.safetensors", {"means": self.means})


component = Component("nearest_mean", NearestMean, build=lambda config: config)
