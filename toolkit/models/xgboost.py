"""XGBoost (Chen & Guestrin 2016) through its native interface, with histogram trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from toolkit.models.booster_trees import of_xgboost
from toolkit.models.boosting import (
    BoosterFitted,
    EarlyStoppingMetric,
    EarlyStoppingRounds,
    closed,
    library_parameters,
    read_booster,
    why_all_rounds,
)
from toolkit.models.inputs import WithInputs
from toolkit.models.interface import Column, Progress, Task
from toolkit.models.one_by_one import Rows
from toolkit.models.tree_shap import Tree
from toolkit.models.weights import ClassWeight, row_weights


class XGBoost(WithInputs):
    """Gradient-boosted trees by XGBoost, grown level by level. Keys are XGBoost's own."""

    kind: Literal["xgboost"] = "xgboost"
    num_boost_round: int = Field(2000, ge=1, le=100_000, description="Most rounds of boosting.")
    learning_rate: float = Field(0.05, gt=0, le=1, description="Shrinkage of each round.")
    max_depth: int = Field(6, ge=0, le=64, description="Most levels of a tree; 0: no limit.")
    min_child_weight: float = Field(1.0, ge=0, le=1e6, description="Least sum of hessians in a leaf.")
    gamma: float = Field(0.0, ge=0, le=1e6, description="Least gain for a split.")
    subsample: float = Field(1.0, gt=0, le=1, description="Share of the rows drawn for each tree.")
    colsample_bytree: float = Field(1.0, gt=0, le=1, description="Share of the columns drawn for each tree.")
    reg_alpha: float = Field(0.0, ge=0, le=1e6, description="L1 penalty on leaf values.")
    reg_lambda: float = Field(1.0, ge=0, le=1e6, description="L2 penalty on leaf values.")
    max_bin: int = Field(256, ge=2, le=65_535, description="Most bins of a numeric column.")
    early_stopping_rounds: EarlyStoppingRounds = 100
    early_stopping_metric: EarlyStoppingMetric = "logloss"
    class_weight: ClassWeight = "none"

    def parameters(self, task: Task, *, seed: int, threads: int) -> dict[str, Any]:
        """What is passed to `xgboost.train`, in its own words."""
        objective, loss, auc = {
            "binary": ("binary:logistic", "logloss", "auc"),
            "multiclass": ("multi:softprob", "mlogloss", "auc"),
            "regression": ("reg:squarederror", "rmse", "rmse"),
        }[task.type]
        return {
            **library_parameters(self, task),
            "objective": objective,
            "eval_metric": auc if self.early_stopping_metric == "auc" else loss,
            "tree_method": "hist",
            "seed": seed,
            "nthread": threads,
            "verbosity": 0,
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
    ) -> XGBoostFitted:
        import xgboost

        def matrix(rows: Rows, reference: Any = None) -> Any:
            return xgboost.QuantileDMatrix(
                rows.X,
                rows.y,
                weight=row_weights(self.class_weight, task, train.y, rows.y),
                ref=reference,
                max_bin=self.max_bin,
                feature_types=["c" if column.kind == "categorical" else "q" for column in columns],
                enable_categorical=True,
                nthread=threads,
            )

        class Report(xgboost.callback.TrainingCallback):
            def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
                running = [(name, values[-1]) for name, values in evals_log.get("validation", {}).items()]
                if progress:
                    progress(task.name, epoch + 1, rounds, running[-1] if running else None)
                return False

        rounds = self.num_boost_round
        note = why_all_rounds(task, valid, self.early_stopping_metric, self.early_stopping_rounds)
        fit_rows = matrix(train)
        booster = xgboost.train(
            self.parameters(task, seed=seed, threads=threads),
            fit_rows,
            num_boost_round=rounds,
            evals=[] if note else [(matrix(valid, fit_rows), "validation")],
            early_stopping_rounds=None if note else self.early_stopping_rounds,
            verbose_eval=False,
            callbacks=[Report()] if progress else [],
        )
        used = rounds if note else booster.best_iteration + 1
        raw = bytes(booster[:used].save_raw("ubj"))
        note = note or f"stopped at {used} of {rounds} rounds"
        return XGBoostFitted(_booster(raw), raw, used, [note], threads)

    def load_columns(
        self, folder: Path, task: Task, iterations: int | None, notes: list[str]
    ) -> XGBoostFitted:
        booster, raw = read_booster(folder / XGBoostFitted.file, _booster, "an XGBoost")
        return XGBoostFitted(booster, raw, iterations, notes)


@dataclass
class XGBoostFitted(BoosterFitted):
    """raw: XGBoost's format in UBJSON, which knows each column's type."""

    threads: int = 0  # used to predict (0: all); the result does not depend on it
    file: ClassVar[str] = "xgboost.ubj"

    @property
    def columns(self) -> int:
        return self.booster.num_features()

    def gain(self) -> np.ndarray:
        gain = np.zeros(self.columns)
        for name, value in self.booster.get_score(importance_type="total_gain").items():
            gain[int(name.removeprefix("f"))] = value
        return gain

    def score(self, X: np.ndarray) -> np.ndarray:
        return self.booster.predict(self._matrix(X))

    def additive(self, X: np.ndarray) -> np.ndarray:
        parts = np.moveaxis(
            self.booster.predict(self._matrix(X), pred_contribs=True).astype(np.float64), -1, 1
        )
        parts[:, :-1] = closed(parts[:, :-1], parts[:, -1], self.margin(X))
        return parts

    def margin(self, X: np.ndarray) -> np.ndarray:
        return self.booster.predict(self._matrix(X), output_margin=True).astype(np.float64)

    def trees(self) -> list[list[Tree]]:
        found = of_xgboost(bytes(self.booster.save_raw("json")))
        classes = max(one for one, _ in found) + 1
        return [[tree for its, tree in found if its == one] for one in range(classes)]

    def _matrix(self, X: np.ndarray) -> Any:
        import xgboost

        types = self.booster.feature_types
        return xgboost.DMatrix(X, feature_types=types, enable_categorical=True, nthread=self.threads or None)


def _booster(raw: bytes) -> Any:
    import xgboost

    booster = xgboost.Booster(params={"verbosity": 0})
    booster.load_model(bytearray(raw))
    return booster
