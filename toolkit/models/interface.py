"""What a model is to the rest of the toolkit.

A model's configuration is the model: a frozen pydantic class with `fit` and `load`, registered as
`Component(name, Config, build=lambda config: config)`.

    fitted = config.fit(tasks, columns, train, valid, seed=0, threads=2)
    fitted.predict(X)                       # one array per task

`fit` always takes a list of tasks, so a model that learns several targets at once and one that learns
them one by one (`toolkit.models.one_by_one`) look the same from outside. A model of the latter sort may
say so, `one_by_one = True`, and `join` fits of one task each into one: the runner then keeps each of
them by itself, and a target more is a fit more. A model that reads more than the design matrix (events in
order, a graph) finds it in `Batch.modalities`; `predict` takes the same for its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolkit.errors import DataError, did_you_mean
from toolkit.modalities import NOTHING, Column, Modalities
from toolkit.tuning.space import Search, flat, ordered, placed


class Progress(Protocol):
    """What a model calls while it learns: after each round, or after each tree."""

    def __call__(
        self, target: str, done: int, total: int, running: tuple[str, float] | None = None, /
    ) -> None:
        """target; rounds done, and in total; running: `auc` or a loss on validation rows, and its value."""


@dataclass(frozen=True)
class Task:
    """One target. classes: the names behind a multiclass label's index; weight: among several targets."""

    name: str
    type: Literal["binary", "multiclass", "regression"]
    classes: tuple[str, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True)
class Batch:
    """Rows a model is fitted on.

    X: float32 [rows, columns]; NaN is missing; a categorical column holds codes 0 … len(levels) - 1.
    y: float32 [rows, targets]; NaN is a missing label (the row is left out of that target's fit);
       0 or 1 for binary, the class's index for multiclass.
    modalities: what the same rows have besides; a model of tables does not look at it.
    """

    X: np.ndarray
    y: np.ndarray
    modalities: Modalities = NOTHING


class Fitted(Protocol):
    """A fitted model. Every list has one item per task, in the order of `tasks`."""

    @property
    def tasks(self) -> Sequence[Task]: ...

    @property
    def iterations(self) -> Sequence[int | None]:
        """Rounds or trees in use; None where the model has none."""

    @property
    def notes(self) -> Sequence[Sequence[str]]:
        """What a reader of the report should know, in plain sentences."""

    def predict(self, X: np.ndarray, modalities: Modalities = NOTHING) -> list[np.ndarray]:
        """Per task float64: [rows] probability of class 1 (binary) or value, or [rows, classes]."""

    def importance(self) -> list[np.ndarray | None]:
        """Per task [columns]: each column's share of the model's gain (or |coefficient|); sums to 1."""

    def save(self, folder: Path) -> None:
        """Write into an existing folder: safetensors, JSON, native booster files or skops only."""


class Model(Protocol):
    """What the registry builds from a configuration."""

    def fit(
        self,
        tasks: Sequence[Task],
        columns: Sequence[Column],
        train: Batch,
        valid: Batch,
        *,
        seed: int,
        threads: int,
        progress: Progress | None = None,
    ) -> Fitted:
        """Fit on `train`; `valid` (which may have no rows) only to stop early or to choose a setting.

        A model that says `resumes = True` also takes `keep`: a folder of its own that outlives a killed
        process. It leaves there what it needs to go on, and goes on from what it finds there.
        """

    def load(self, folder: Path) -> Fitted:
        """Read what `Fitted.save` wrote."""


class ModelConfig(BaseModel):
    """Base of model configurations: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    search: dict[str, Search] = Field(
        {}, exclude=True, description="settings that tuning may try, and between which ends"
    )

    @model_validator(mode="after")
    def search_names_settings_that_it_takes(self) -> Self:
        declared = self.model_dump()
        settings = [name for name in flat(declared) if name != "kind"]
        for name, space in self.search.items():
            for key in (name, *space.when):
                if key not in settings:
                    raise ValueError(
                        f"`search` names `{key}`, which is no setting; {did_you_mean(key, settings)}"
                    )
            for value in space.examples():
                try:
                    type(self).model_validate(placed(declared, {name: value}))
                except ValidationError as error:
                    raise ValueError(
                        f"`search.{name}` reaches {value!r}: {error.errors()[0]['msg']}"
                    ) from None
        ordered(self.search)
        return self


def require_columns(columns: Sequence[Column]) -> None:
    """DataError if there is nothing to learn from."""
    if not columns:
        raise DataError(
            "the model gets no columns",
            where="features",
            fix="declare at least one feature, or use `model=prior`",
        )


def require_width(X: np.ndarray, width: int) -> None:
    """DataError if the input is not [rows, width]."""
    if X.ndim != 2 or X.shape[1] != width:
        raise DataError(
            f"the model was fitted on {width} columns; the input has shape {list(X.shape)}",
            fix="encode the input with the encoder saved beside the model",
        )


def shares(weights: np.ndarray) -> np.ndarray:
    """Non-negative weights [columns] as shares that sum to 1 (all 0 if nothing was used)."""
    total = float(np.sum(weights))
    return np.asarray(weights, np.float64) / (total if total > 0 else 1.0)
