"""Histogram gradient boosting by scikit-learn, stopped early on the toolkit's own validation rows."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from toolkit.models.interface import Column, Progress, Task
from toolkit.models.one_by_one import OneByOne, Rows
from toolkit.models.weights import ClassWeight


class HistGBM(OneByOne):
    """Gradient-boosted trees by scikit-learn: no library beyond it, native missing values and levels."""

    kind: Literal["hist_gbm"] = "hist_gbm"
    max_iterations: int = Field(1000, ge=1, le=100_000, description="Most rounds of boosting.")
    learning_rate: float = Field(0.05, gt=0, le=1, description="Shrinkage of each round.")
    max_leaf_nodes: int = Field(31, ge=2, le=65_536, description="Most leaves of a tree.")
    max_depth: int | None = Field(None, ge=1, le=64, description="Most levels of a tree; null: no limit.")
    min_samples_leaf: int = Field(20, ge=1, le=1_000_000, description="Fewest training rows in a leaf.")
    l2_regularization: float = Field(0.0, ge=0, le=1e6, description="L2 penalty on leaf values.")
    max_features: float = Field(1.0, gt=0, le=1, description="Share of the columns looked at per split.")
    max_bins: int = Field(
        255, ge=2, le=255, description="Most bins of a column; more levels become ordered codes."
    )
    early_stopping_rounds: int = Field(
        50, ge=1, le=10_000, description="Rounds without a better validation loss before stopping."
    )
    class_weight: ClassWeight = "none"

    def fit_one(
        self,
        task: Task,
        columns: Sequence[Column],
        train: Rows,
        valid: Rows,
        *,
        seed: int,
        threads: int,
        progress: Progress | None,
    ) -> HistFitted:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
        from threadpoolctl import threadpool_limits

        by_level = [
            column.kind == "categorical" and len(column.levels) <= self.max_bins for column in columns
        ]
        options: dict[str, Any] = {
            "max_iter": self.max_iterations,
            "learning_rate": self.learning_rate,
            "max_leaf_nodes": self.max_leaf_nodes,
            "max_depth": self.max_depth,
            "min_samples_leaf": self.min_samples_leaf,
            "l2_regularization": self.l2_regularization,
            "max_features": self.max_features,
            "max_bins": self.max_bins,
            "categorical_features": by_level if any(by_level) else None,
            "early_stopping": bool(len(valid)),
            "n_iter_no_change": self.early_stopping_rounds,
            "tol": 0.0,
            "random_state": seed,
        }
        if task.type == "regression":
            model: Any = HistGradientBoostingRegressor(**options)
        else:
            weight = "balanced" if self.class_weight == "balanced" else None
            model = HistGradientBoostingClassifier(**options, class_weight=weight)
        held_out = {"X_val": valid.X, "y_val": valid.y} if len(valid) else {}
        with threadpool_limits(threads), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(_without_empty(train.X), train.y, **held_out)
        ran = int(model.n_iter_)
        if progress:
            progress(task.name, ran, self.max_iterations)
        return HistFitted(model, task.type, *_best(model, ran, bool(len(valid))))

    def load_one(self, folder: Path, task: Task, iterations: int | None, notes: list[str]) -> HistFitted:
        from toolkit.bundle.estimators import load

        return HistFitted(load(folder / "hist_gbm.skops"), task.type, iterations, notes)


@dataclass
class HistFitted:
    """A scikit-learn estimator."""

    model: Any
    type: str
    iterations: int | None
    notes: list[str]

    def predict(self, X: np.ndarray) -> np.ndarray:
        if not len(X):  # scikit-learn refuses an empty input
            return self.predict(np.zeros((1, self.model.n_features_in_), np.float32))[:0]
        if self.type == "regression":
            return self.model.predict(X)
        probability = self.model.predict_proba(X)
        return probability[:, 1] if self.type == "binary" else probability

    def importance(self) -> None:
        return None  # scikit-learn keeps none for these trees; permute columns instead

    def save(self, folder: Path) -> None:
        from toolkit.bundle.estimators import dump

        dump(self.model, folder / "hist_gbm.skops")


def _without_empty(X: np.ndarray) -> np.ndarray:
    """Columns with no value at all as zeros: scikit-learn cannot bin them, and never splits a constant."""
    empty = np.isnan(X).all(axis=0)
    return np.where(empty, np.float32(0), X) if empty.any() else X


def _best(model: Any, ran: int, stopped_early: bool) -> tuple[int, list[str]]:
    """Keep the rounds up to the best validation loss, as LightGBM and XGBoost do; rounds and notes.

    scikit-learn itself keeps the rounds after the best one too.
    """
    if not stopped_early:
        return ran, [f"no validation rows: all {ran} rounds were used"]
    best = max(
        1, int(np.argmax(model.validation_score_))
    )  # a score: higher is better; item 0 is before round 1
    del model._predictors[best:]
    return best, [f"stopped at {best} of {model.max_iter} rounds"]
