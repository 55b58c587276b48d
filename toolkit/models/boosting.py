"""What LightGBM and XGBoost share: early stopping, parameters by their library's names, one fitted form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from toolkit.errors import BundleError
from toolkit.models import tree_shap
from toolkit.models.explain import Contributions
from toolkit.models.interface import ModelConfig, Task, shares
from toolkit.models.one_by_one import Rows
from toolkit.models.tree_shap import Tree

EarlyStoppingRounds = Annotated[
    Annotated[int, Field(ge=1, le=10_000)] | None,
    Field(
        description="Rounds without a better validation metric before stopping; null: all rounds are used."
    ),
]
EarlyStoppingMetric = Annotated[
    Literal["logloss", "auc"],
    Field(description="What early stopping watches for classes; numbers always use squared error."),
]

MANY = 2_000  # rows from which contributions are tabulated per tree

# The keys that are the toolkit's; every other one is passed on to the library, by the name it has there.
_OURS = {
    *("kind", "num_iterations", "num_boost_round", "class_weight", "inputs"),
    *("early_stopping_rounds", "early_stopping_metric"),
}


def library_parameters(config: ModelConfig, task: Task) -> dict[str, Any]:
    """The model's keys that are the library's own, and the number of classes."""
    classes = {"num_class": len(task.classes)} if task.type == "multiclass" else {}
    return config.model_dump(exclude={*_OURS, *ModelConfig.model_fields}) | classes


def why_all_rounds(
    task: Task, valid: Rows, metric: EarlyStoppingMetric, patience: EarlyStoppingRounds
) -> str:
    """The note that says why validation rows do not tell when to stop; empty if they do."""
    if patience is None:
        return "all rounds were used, as declared"
    if not len(valid):
        return "no validation rows: all rounds were used"
    if task.type != "regression" and metric == "auc" and len(np.unique(valid.y)) < max(2, len(task.classes)):
        return "validation rows lack a class, so AUC is undefined: all rounds were used"
    return ""


@dataclass
class BoosterFitted(ABC):
    """A booster and the bytes it was read from.

    What is kept is what is saved, so that a loaded model cannot differ from a fitted one.
    """

    booster: Any
    raw: bytes
    iterations: int | None
    notes: list[str]
    file: ClassVar[str]

    @property
    @abstractmethod
    def columns(self) -> int:
        """Number of columns."""

    @abstractmethod
    def gain(self) -> np.ndarray:
        """[columns] the total gain of each column's splits."""

    @abstractmethod
    def score(self, X: np.ndarray) -> np.ndarray:
        """[rows] or [rows, classes], of at least one row."""

    @abstractmethod
    def additive(self, X: np.ndarray) -> np.ndarray:
        """[rows, columns + 1] or [rows, columns + 1, classes], the bias last; of at least one row."""

    @abstractmethod
    def trees(self) -> list[list[Tree]]:
        """Per class (one of two classes, or of a number) its trees."""

    def margin(self, X: np.ndarray) -> np.ndarray | None:
        """The raw score as the library adds it up [rows] or [rows, classes]; None if as here, in float64."""
        return None

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.score(self._some(X)), np.float64)[: len(X)]

    def contributions(self, X: np.ndarray) -> Contributions:
        """Of many rows by `tree_shap`, which is the faster the more they are; of few by the library itself."""
        if len(X) >= MANY and (trees := self.trees()) and all(map(tree_shap.fits, trees)):
            return self._of_many(trees, X)
        additive = np.asarray(self.additive(self._some(X)), np.float64)
        return Contributions(additive[: len(X), :-1], additive[0, -1])

    def _of_many(self, trees: list[list[Tree]], X: np.ndarray) -> Contributions:
        parts = [tree_shap.contributions(each, X)[0] for each in trees]
        bias = np.asarray(self.additive(X[:1]), np.float64)[0, -1]
        values = parts[0] if len(parts) == 1 else np.stack(parts, axis=2)
        return Contributions(closed(values, bias, self.margin(X)), bias)

    def importance(self) -> np.ndarray:
        return shares(self.gain())

    def save(self, folder: Path) -> None:
        (folder / self.file).write_bytes(self.raw)

    def _some(self, X: np.ndarray) -> np.ndarray:
        """X, or one row in place of none: LightGBM refuses none, XGBoost forgets the number of classes."""
        return X if len(X) else np.zeros((1, self.columns), np.float32)


def closed(values: np.ndarray, bias: np.ndarray, margin: np.ndarray | None) -> np.ndarray:
    """Contributions that add up to the library's own sum, which in float32 differs in the sixth digit.

    The columns take the difference, each by its size; a bias is the same for every row.
    """
    if margin is None:
        return values
    size = np.abs(values)
    gap = margin - bias - values.sum(axis=1)
    return values + size * (gap / np.maximum(size.sum(axis=1), np.finfo(np.float32).tiny))[:, None]


def read_booster(path: Path, parse: Callable[[bytes], Any], library: str) -> tuple[Any, bytes]:
    """The booster in a file, and the file's bytes; BundleError if it is not one of the library's."""
    raw = path.read_bytes()
    try:
        return parse(raw), raw
    except Exception as error:  # what a library raises on foreign bytes is its own affair
        raise BundleError(f"`{path.name}` is not {library} model", where=str(path), why=str(error)) from error
