"""LightGBM (Ke et al. 2017) through its native interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from toolkit.errors import BundleError
from toolkit.models.interface import Column, Progress, Task, shares
from toolkit.models.one_by_one import OneByOne, Rows, balanced_weights


class LightGBM(OneByOne):
    """Gradient-boosted trees by LightGBM: the usual first choice for tables. Keys are LightGBM's own."""

    kind: Literal["lightgbm"] = "lightgbm"
    num_iterations: int = Field(2000, ge=1, le=100_000, description="Most rounds of boosting.")
    learning_rate: float = Field(0.05, gt=0, le=1, description="Shrinkage of each round.")
    num_leaves: int = Field(31, ge=2, le=131_072, description="Most leaves of a tree.")
    max_depth: int = Field(-1, ge=-1, le=64, description="Most levels of a tree; -1: no limit.")
    min_data_in_leaf: int = Field(20, ge=0, le=1_000_000, description="Fewest training rows in a leaf.")
    feature_fraction: float = Field(1.0, gt=0, le=1, description="Share of the columns drawn for each tree.")
    bagging_fraction: float = Field(
        1.0, gt=0, le=1, description="Share of the rows drawn; needs bagging_freq > 0."
    )
    bagging_freq: int = Field(0, ge=0, le=10_000, description="Rounds between draws of rows; 0: no draws.")
    lambda_l1: float = Field(0.0, ge=0, le=1e6, description="L1 penalty on leaf values.")
    lambda_l2: float = Field(0.0, ge=0, le=1e6, description="L2 penalty on leaf values.")
    max_bin: int = Field(255, ge=2, le=65_535, description="Most bins of a numeric column.")
    early_stopping_rounds: int = Field(
        100, ge=1, le=10_000, description="Rounds without a better validation metric before stopping."
    )
    early_stopping_metric: Literal["logloss", "auc"] = Field(
        "logloss", description="What early stopping watches for classes; numbers always use squared error."
    )
    class_weight: Literal["none", "balanced"] = Field(
        "none",
        description="balanced: every class weighs the same in total. Probabilities then need calibration.",
    )

    def parameters(self, task: Task, *, seed: int, threads: int) -> dict[str, Any]:
        """What is passed to `lightgbm.train`, in its own words."""
        own = ("num_leaves", "learning_rate", "max_depth", "min_data_in_leaf", "feature_fraction")
        more = ("bagging_fraction", "bagging_freq", "lambda_l1", "lambda_l2", "max_bin")
        objective, metric = {
            "binary": ("binary", {"logloss": "binary_logloss", "auc": "auc"}),
            "multiclass": ("multiclass", {"logloss": "multi_logloss", "auc": "auc_mu"}),
            "regression": ("regression", {"logloss": "l2", "auc": "l2"}),
        }[task.type]
        return {
            **{name: getattr(self, name) for name in own + more},
            "objective": objective,
            "metric": metric[self.early_stopping_metric],
            **({"num_class": len(task.classes)} if task.type == "multiclass" else {}),
            "seed": seed,
            "num_threads": threads,
            # The same seed gives the same trees: no choice of layout by timing.
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }

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
    ) -> LightGBMFitted:
        import lightgbm

        parameters = self.parameters(task, seed=seed, threads=threads)
        balanced = self.class_weight == "balanced" and task.type != "regression"

        def dataset(rows: Rows, reference: Any = None) -> Any:
            return lightgbm.Dataset(
                rows.X,
                rows.y,
                weight=balanced_weights(train.y, rows.y) if balanced else None,
                reference=reference,
                categorical_feature=[i for i, column in enumerate(columns) if column.kind == "categorical"],
                params=parameters,
            )

        told, reason = can_stop_early(task, valid, self.early_stopping_metric)
        fit_rows = dataset(train)
        callbacks: list[Any] = []
        if told:
            callbacks.append(lightgbm.early_stopping(self.early_stopping_rounds, verbose=False))
        if progress:
            callbacks.append(lambda env: progress(task.name, env.iteration + 1, env.end_iteration))
        booster = lightgbm.train(
            parameters,
            fit_rows,
            num_boost_round=self.num_iterations,
            valid_sets=[dataset(valid, fit_rows)] if told else [],
            callbacks=callbacks,
        )
        rounds = (
            booster.best_iteration if told and booster.best_iteration > 0 else booster.current_iteration()
        )
        note = f"stopped at {rounds} of {self.num_iterations} rounds" if told else reason
        # What is kept is what is saved, so that a loaded model cannot differ from a fitted one.
        text = booster.model_to_string(num_iteration=rounds)
        return LightGBMFitted(_booster(text), text, rounds, [note])

    def load_one(self, folder: Path, task: Task, iterations: int | None, notes: list[str]) -> LightGBMFitted:
        path = folder / "lightgbm.txt"
        text = path.read_text(encoding="utf-8")
        try:
            return LightGBMFitted(_booster(text), text, iterations, notes)
        except Exception as error:
            raise BundleError(
                f"`{path.name}` is not a LightGBM model", where=str(path), why=str(error)
            ) from error


@dataclass
class LightGBMFitted:
    """A booster and the text it was read from."""

    booster: Any
    text: str
    iterations: int | None
    notes: list[str]

    def predict(self, X: np.ndarray) -> np.ndarray:
        if not len(X):  # LightGBM refuses an empty input
            return self.predict(np.zeros((1, self.booster.num_feature()), np.float32))[:0]
        return np.asarray(self.booster.predict(X), np.float64)

    def importance(self) -> np.ndarray:
        return shares(self.booster.feature_importance("gain"))

    def save(self, folder: Path) -> None:
        (folder / "lightgbm.txt").write_text(self.text, encoding="utf-8")


def _booster(text: str) -> Any:
    import lightgbm

    return lightgbm.Booster(model_str=text)


def can_stop_early(task: Task, valid: Rows, metric: str) -> tuple[bool, str]:
    """Whether validation rows can tell when to stop, and if not, the note that says why."""
    if not len(valid):
        return False, "no validation rows: all rounds were used"
    if task.type != "regression" and metric == "auc" and len(np.unique(valid.y)) < max(2, len(task.classes)):
        return False, "validation rows lack a class, so AUC is undefined: all rounds were used"
    return True, ""
