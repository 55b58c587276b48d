"""XGBoost (Chen & Guestrin 2016) through its native interface, with histogram trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from toolkit.errors import BundleError
from toolkit.models.interface import Column, Progress, Task, shares
from toolkit.models.lightgbm import can_stop_early
from toolkit.models.one_by_one import OneByOne, Rows, balanced_weights


class XGBoost(OneByOne):
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
        """What is passed to `xgboost.train`, in its own words."""
        own = ("learning_rate", "max_depth", "min_child_weight", "gamma", "subsample")
        more = ("colsample_bytree", "reg_alpha", "reg_lambda", "max_bin")
        objective, loss = {
            "binary": ("binary:logistic", "logloss"),
            "multiclass": ("multi:softprob", "mlogloss"),
            "regression": ("reg:squarederror", "rmse"),
        }[task.type]
        by_auc = self.early_stopping_metric == "auc" and task.type != "regression"
        return {
            **{name: getattr(self, name) for name in own + more},
            "objective": objective,
            "eval_metric": "auc" if by_auc else loss,
            **({"num_class": len(task.classes)} if task.type == "multiclass" else {}),
            "tree_method": "hist",
            "seed": seed,
            "nthread": threads,
            "verbosity": 0,
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
    ) -> XGBoostFitted:
        import xgboost

        balanced = self.class_weight == "balanced" and task.type != "regression"
        types = ["c" if column.kind == "categorical" else "q" for column in columns]

        def matrix(rows: Rows, reference: Any = None) -> Any:
            return xgboost.QuantileDMatrix(
                rows.X,
                rows.y,
                weight=balanced_weights(train.y, rows.y) if balanced else None,
                ref=reference,
                max_bin=self.max_bin,
                feature_types=types,
                enable_categorical=True,
                nthread=threads,
            )

        class Report(xgboost.callback.TrainingCallback):
            def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
                if progress:
                    progress(task.name, epoch + 1, rounds)
                return False

        rounds = self.num_boost_round
        told, reason = can_stop_early(task, valid, self.early_stopping_metric)
        fit_rows = matrix(train)
        booster = xgboost.train(
            self.parameters(task, seed=seed, threads=threads),
            fit_rows,
            num_boost_round=rounds,
            evals=[(matrix(valid, fit_rows), "validation")] if told else [],
            early_stopping_rounds=self.early_stopping_rounds if told else None,
            verbose_eval=False,
            callbacks=[Report()] if progress else [],
        )
        used = booster.best_iteration + 1 if told else rounds
        note = f"stopped at {used} of {rounds} rounds" if told else reason
        # What is kept is what is saved, so that a loaded model cannot differ from a fitted one.
        raw = bytes(booster[:used].save_raw("ubj"))
        return XGBoostFitted(_booster(raw), raw, types, used, [note], threads)

    def load_one(self, folder: Path, task: Task, iterations: int | None, notes: list[str]) -> XGBoostFitted:
        path = folder / "xgboost.ubj"
        raw = path.read_bytes()
        try:
            booster = _booster(raw)
            return XGBoostFitted(booster, raw, booster.feature_types or [], iterations, notes)
        except Exception as error:
            raise BundleError(
                f"`{path.name}` is not an XGBoost model", where=str(path), why=str(error)
            ) from error


@dataclass
class XGBoostFitted:
    """A booster and the bytes it was read from. types: "q" or "c" per column."""

    booster: Any
    raw: bytes
    types: list[str]
    iterations: int | None
    notes: list[str]
    threads: int = 0  # used to predict (0: all); the result does not depend on it

    def predict(self, X: np.ndarray) -> np.ndarray:
        import xgboost

        if not len(X):  # XGBoost forgets the number of classes of an empty input
            return self.predict(np.zeros((1, len(self.types)), np.float32))[:0]
        rows = xgboost.DMatrix(
            X, feature_types=self.types, enable_categorical=True, nthread=self.threads or None
        )
        return self.booster.predict(rows).astype(np.float64)

    def importance(self) -> np.ndarray:
        gain = np.zeros(len(self.types))
        for name, value in self.booster.get_score(importance_type="total_gain").items():
            gain[int(name.removeprefix("f"))] = value
        return shares(gain)

    def save(self, folder: Path) -> None:
        (folder / "xgboost.ubj").write_bytes(self.raw)


def _booster(raw: bytes) -> Any:
    import xgboost

    booster = xgboost.Booster(params={"verbosity": 0})
    booster.load_model(bytearray(raw))
    return booster
