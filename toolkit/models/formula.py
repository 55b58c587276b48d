"""A declared rule: an SQL expression over features, such as what people who know the field go by.

The more it says, the higher a row ranks. What is fitted is only the way from its value to a probability (or
to a number), and that way never turns the order round: a rule that points the wrong way is worse than chance
and is said to be.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from toolkit.bundle.files import read_json, write_json
from toolkit.errors import ConfigError
from toolkit.models.interface import Column, Task
from toolkit.models.one_by_one import OneByOne, Rows

if TYPE_CHECKING:
    from toolkit.data.engine import Engine

LEAST_SLOPE = 0.01  # of the log-odds between the least and the greatest value
_kept = threading.local()


class Formula(OneByOne):
    """A declared rule over features, ranked by as it stands: what a model has to beat."""

    kind: Literal["formula"] = "formula"
    score: str = Field(
        description="SQL expression over features (`set.feature`): the more, the higher a row ranks. Where it has no value, because a "
        "feature is missing, the row ranks last; `coalesce(set.feature, 0)` says otherwise. x / 0 has no value.",
    )

    @field_validator("score")
    @classmethod
    def it_says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("`score` is empty; write an expression over features, such as usage.sum_30d")
        return value

    def fit_one(
        self, task: Task, columns: Sequence[Column], train: Rows, valid: Rows, *, seed: int, threads: int, progress: Any
    ) -> FormulaFitted:  # fmt: skip
        if task.type == "multiclass":
            raise ConfigError(
                f"a formula ranks by one value, and target `{task.name}` has several classes",
                where="model",
                fix="use it with targets that are yes or no, or a number",
            )
        read = names_in(self.score, [column.name for column in columns])
        used = {column.name: n for n, column in enumerate(columns) if column.name in read}
        levels = {
            name: list(columns[n].levels) for name, n in used.items() if columns[n].kind == "categorical"
        }
        value = evaluate(self.score, train.X, used, levels)
        known = value[np.isfinite(value)]
        centre, scale = _middle(known)
        missing = len(value) - len(known)
        notes = [f"by `{self.score}`: the more, the higher a row ranks"]
        if missing:
            notes.append(
                f"it has no value in {missing:,} of {len(value):,} training rows; such rows rank last"
            )
        fitted = FormulaFitted(
            task.type, self.score, used, levels, len(columns), centre, scale, 0.0, 1.0, notes
        )
        fitted.learn(value, train.y)
        return fitted

    def load_one(self, folder: Path, task: Task, iterations: int | None, notes: list[str]) -> FormulaFitted:
        return FormulaFitted(**read_json(folder / "formula.json"), notes=notes)


@dataclass
class FormulaFitted:
    """An expression and what its value means. used: feature → its place in X; levels: of those with codes.

    A value x is placed at 1/2 + arctan((x − centre) / scale) / π, between 0 and 1, and a missing one at 0.
    binary: log-odds = intercept + slope · place; regression: the value itself in its place.
    """

    type: str
    score: str
    used: dict[str, int]
    levels: dict[str, list[str]]
    columns: int
    centre: float
    scale: float
    intercept: float
    slope: float
    notes: list[str]
    missing: float = 0.0  # of a number: what rows without a value get
    iterations: int | None = None

    def learn(self, value: np.ndarray, y: np.ndarray) -> None:
        """Intercept and slope from the values and labels of training rows [rows]."""
        known = np.isfinite(value)
        if self.type == "regression":
            x, label = value[known], y[known]
            varies = len(x) > 1 and np.ptp(x) > 0
            slope, intercept = np.polyfit(x, label, 1) if varies else (0.0, float(np.mean(y)))
            self.slope, self.intercept = float(slope), float(intercept)
            self.missing = float(y[~known].mean()) if not known.all() else float(np.mean(y))
            return
        self.intercept, self.slope = _log_odds(self._place(value), y)
        if self.slope <= LEAST_SLOPE and known.any():
            self.notes.append("in training rows a yes is no more frequent where its value is higher")

    def predict(self, X: np.ndarray) -> np.ndarray:
        from scipy.special import expit

        value = evaluate(self.score, X, self.used, self.levels)
        if self.type == "regression":
            return np.where(np.isfinite(value), self.intercept + self.slope * value, self.missing)
        return expit(self.intercept + self.slope * self._place(value))

    def _place(self, value: np.ndarray) -> np.ndarray:
        place = 0.5 + np.arctan((np.nan_to_num(value) - self.centre) / self.scale) / np.pi
        return np.where(np.isfinite(value), place, 0.0)

    def importance(self) -> np.ndarray:
        share = np.zeros(self.columns)
        share[list(self.used.values())] = 1 / max(len(self.used), 1)
        return share

    def save(self, folder: Path) -> None:
        facts = {name: value for name, value in vars(self).items() if name not in ("notes", "iterations")}
        write_json(folder / "formula.json", facts)


def names_in(score: str, features: Sequence[str], where: str = "model.score") -> frozenset[str]:
    """The features that an expression reads. Raises ConfigError for one that is not admitted."""
    from toolkit.data.sql import expression

    return expression(score, features, where).columns


def evaluate(
    score: str, X: np.ndarray, used: Mapping[str, int], levels: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """The value of an expression in each row: float64 [rows], NaN where it has none.

    X: float32 [rows, columns], of which `used` are looked at; those with `levels` hold codes, and are texts to
    the expression. Missing is NULL, as in SQL.
    """
    import pyarrow as pa
    from sqlglot import exp

    from toolkit.data.sql import expression, named

    tree = expression(score, used, "model.score").tree
    if not len(X):
        return np.zeros(0)
    rows = {name: _column(X[:, at], levels.get(name)) for name, at in used.items()}
    engine = _engine()
    engine.register("rows", pa.table(rows or {"none": np.zeros(len(X))}))
    try:
        found = engine.arrow(exp.select(named(tree.copy(), "value")).from_("rows"))["value"]
    finally:
        engine.unregister("rows")
    if not (pa.types.is_boolean(found.type) or _is_number(found.type)):
        raise ConfigError(
            f"`{score}` is no number, but {found.type}",
            where="model.score",
            fix="rank by a number or a condition",
        )
    return np.asarray(found.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _engine() -> Engine:
    """This thread's own, kept: opening one takes longer than all else that a single row needs."""
    from toolkit.data.engine import Engine

    if getattr(_kept, "process", None) != os.getpid():  # a connection does not outlive a fork
        _kept.engine, _kept.process = Engine(threads=1), os.getpid()  # one thread: in the order of rows
    return _kept.engine


def _column(values: np.ndarray, levels: Sequence[str] | None) -> Any:
    import pyarrow as pa

    if levels is None:
        return pa.array(values.astype(np.float64), from_pandas=True)
    codes = pa.array(np.nan_to_num(values, nan=-1).astype(np.int32), mask=np.isnan(values) | (values < 0))
    return pa.DictionaryArray.from_arrays(codes, pa.array(list(levels), pa.string())).cast(pa.string())


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _middle(known: np.ndarray) -> tuple[float, float]:
    """Median and half the interquartile range; of values that hardly differ, their standard deviation."""
    if not len(known):
        return 0.0, 1.0
    low, centre, high = np.quantile(known, [0.25, 0.5, 0.75])
    return float(centre), float((high - low) / 2 or np.std(known) or 1.0)


def _log_odds(place: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Intercept and slope of a logistic regression on one column, the slope above zero; y [rows] of 0/1."""
    from scipy.optimize import minimize
    from scipy.special import expit

    rate = np.clip(y.mean(), 1e-6, 1 - 1e-6)
    start = np.array([np.log(rate / (1 - rate)), LEAST_SLOPE])

    def loss(free: np.ndarray) -> tuple[float, np.ndarray]:
        z = free[0] + free[1] * place
        excess = expit(z) - y
        # a slope of 10, e^10 between the ends, costs what half a row of loss does
        value = np.logaddexp(0, z).sum() - (y * z).sum() + 0.005 * free[1] ** 2
        gradient = np.array([excess.sum(), (excess * place).sum() + 0.01 * free[1]])
        return float(value) / len(y), gradient / len(y)

    bounds = [(None, None), (LEAST_SLOPE, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(found[0]), float(found[1])
