"""LightGBM (Ke et al. 2017) through its native interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from toolkit.models.booster_trees import of_lightgbm
from toolkit.models.boosting import (
    BoosterFitted,
    EarlyStoppingMetric,
    EarlyStoppingRounds,
    library_parameters,
    read_booster,
    why_all_rounds,
)
from toolkit.models.inputs import WithInputs
from toolkit.models.interface import Column, Progress, Task
from toolkit.models.one_by_one import Rows
from toolkit.models.tree_shap import Tree
from toolkit.models.weights import ClassWeight, row_weights


class LightGBM(WithInputs):
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
    early_stopping_rounds: EarlyStoppingRounds = 100
    early_stopping_metric: EarlyStoppingMetric = "logloss"
    class_weight: ClassWeight = "none"

    def parameters(self, task: Task, *, seed: int, threads: int) -> dict[str, Any]:
        """What is passed to `lightgbm.train`, in its own words."""
        objective, loss, auc = {
            "binary": ("binary", "binary_logloss", "auc"),
            "multiclass": ("multiclass", "multi_logloss", "auc_mu"),
            "regression": ("regression", "l2", "l2"),
        }[task.type]
        return {
            **library_parameters(self, task),
            "objective": objective,
            "metric": auc if self.early_stopping_metric == "auc" else loss,
            "seed": seed,
            "num_threads": threads,
            # The same seed gives the same trees: no choice of layout by timing.
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }

    def fit_columns(
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

        def dataset(rows: Rows, reference: Any = None) -> Any:
            return lightgbm.Dataset(
                rows.X,
                rows.y,
                weight=row_weights(self.class_weight, task, train.y, rows.y),
                reference=reference,
                categorical_feature=[i for i, column in enumerate(columns) if column.kind == "categorical"],
                params=parameters,
            )

        note = why_all_rounds(task, valid, self.early_stopping_metric, self.early_stopping_rounds)
        fit_rows = dataset(train)
        callbacks: list[Any] = []
        if not note and self.early_stopping_rounds is not None:
            callbacks.append(lightgbm.early_stopping(self.early_stopping_rounds, verbose=False))
        if progress:
            callbacks.append(
                lambda env: progress(task.name, env.iteration + 1, env.end_iteration, _running(env))
            )
        booster = lightgbm.train(
            parameters,
            fit_rows,
            num_boost_round=self.num_iterations,
            valid_sets=[] if note else [dataset(valid, fit_rows)],
            callbacks=callbacks,
        )
        rounds = booster.current_iteration()
        if not note:
            rounds = booster.best_iteration if booster.best_iteration > 0 else rounds
            note = f"stopped at {rounds} of {self.num_iterations} rounds"
        raw = booster.model_to_string(num_iteration=rounds).encode()
        return LightGBMFitted(_booster(raw), raw, rounds, [note], threads)

    def load_columns(
        self, folder: Path, task: Task, iterations: int | None, notes: list[str]
    ) -> LightGBMFitted:
        booster, raw = read_booster(folder / LightGBMFitted.file, _booster, "a LightGBM")
        return LightGBMFitted(booster, raw, iterations, notes)


@dataclass
class LightGBMFitted(BoosterFitted):
    """raw: LightGBM's text format in UTF-8; threads: used to predict (0: all), the result does not depend on it."""

    threads: int = 0
    file: ClassVar[str] = "lightgbm.txt"

    @property
    def columns(self) -> int:
        return self.booster.num_feature()

    def gain(self) -> np.ndarray:
        return self.booster.feature_importance("gain")

    def score(self, X: np.ndarray) -> np.ndarray:
        return self.booster.predict(X, num_threads=self.threads)

    def trees(self) -> list[list[Tree]]:
        found, classes = of_lightgbm(self.raw), self.booster.num_model_per_iteration()
        return [found[one::classes] for one in range(classes)]

    def additive(self, X: np.ndarray) -> np.ndarray:
        flat = self.booster.predict(
            X, pred_contrib=True, num_threads=self.threads
        )  # [rows, classes × (columns + 1)]
        classes = self.booster.num_model_per_iteration()
        return flat if classes == 1 else flat.reshape(len(X), classes, -1).swapaxes(1, 2)


def _running(env: Any) -> tuple[str, float] | None:
    """The validation metric of a round, if there is one."""
    if not env.evaluation_result_list:
        return None
    _, name, value, *_ = env.evaluation_result_list[0]
    return name, value


def _booster(raw: bytes) -> Any:
    import lightgbm

    return lightgbm.Booster(model_str=raw.decode())
