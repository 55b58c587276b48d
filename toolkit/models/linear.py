"""Logistic regression and ridge, on a design that is itself fitted on training rows only."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from toolkit.bundle.files import read_arrays, write_arrays
from toolkit.errors import BundleError
from toolkit.models.design import Design
from toolkit.models.explain import Contributions
from toolkit.models.inputs import WithInputs
from toolkit.models.interface import Column, Progress, Task, shares
from toolkit.models.one_by_one import Rows
from toolkit.models.weights import ClassWeight, row_weights

_NEWTON = 500  # coefficients up to which solving with the full Hessian is the faster and surer way
_CHUNK = 65_536  # rows predicted at a time

Strength = Annotated[float, Field(gt=0, le=1e8)]


class Logistic(WithInputs):
    """Logistic regression (ridge for a number), on standardised, imputed and one-hot columns."""

    kind: Literal["logistic"] = "logistic"
    C: Strength | tuple[Strength, ...] = Field(
        1.0,
        description="Inverse strength of the L2 penalty, as in scikit-learn (ridge: alpha = 1 / C). "
        "Of several, the one with the least loss on validation rows is kept.",
    )
    class_weight: ClassWeight = "none"
    max_iterations: int = Field(200, ge=1, le=100_000, description="Most steps of the solver.")

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
    ) -> LinearFitted:
        from threadpoolctl import threadpool_limits

        design = Design.fit(train.X, columns)
        weight = row_weights(self.class_weight, task, train.y)
        strengths = self.C if isinstance(self.C, tuple) else (self.C,)
        notes = []
        if len(strengths) > 1 and not len(valid):
            notes.append(f"no validation rows to choose C by: the first, {strengths[0]:g}, was used")
            strengths = strengths[:1]
        with threadpool_limits(threads), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not converged is said in a note
            matrix = design.matrix(train.X)
            tried = []
            for number, strength in enumerate(strengths, 1):
                tried.append(self._solve(task, design, matrix, train.y, weight, strength, seed))
                if progress:
                    progress(task.name, number, len(strengths))
        fitted = tried[0]
        if len(strengths) > 1:
            losses = [_loss(task, one.predict(valid.X), valid.y) for one in tried]
            best = int(np.argmin(losses))
            fitted = tried[best]
            listing = ", ".join(f"{one:g}" for one in strengths)
            notes.append(f"C = {strengths[best]:g} had the least loss on validation rows, of {listing}")
        fitted.notes[:0] = notes
        return fitted

    def _solve(
        self,
        task: Task,
        design: Design,
        matrix: Any,
        y: np.ndarray,
        weight: np.ndarray | None,
        strength: float,
        seed: int,
    ) -> LinearFitted:
        from sklearn.linear_model import LogisticRegression, Ridge

        center = design.center(matrix)
        narrow = matrix.shape[1] * max(len(task.classes), 1) <= _NEWTON
        if task.type == "regression":
            solver = "cholesky" if isinstance(matrix, np.ndarray) else "sparse_cg"
            ridge = Ridge(alpha=1 / strength, solver=solver, max_iter=self.max_iterations).fit(matrix, y)
            coef, intercept = ridge.coef_[None, :], np.atleast_1d(ridge.intercept_)
            return LinearFitted(task.type, design, coef, intercept, center, None, [])
        model = LogisticRegression(
            C=strength,
            solver="newton-cholesky" if narrow else "lbfgs",
            tol=1e-6 if narrow else 1e-4,  # Newton's last digits cost one step more
            max_iter=self.max_iterations,
            random_state=seed,
        ).fit(matrix, y, sample_weight=weight)
        steps = int(np.max(model.n_iter_))
        notes = [f"the solver stopped after its {steps} steps without converging"]
        converged = steps < self.max_iterations
        return LinearFitted(
            task.type, design, model.coef_, model.intercept_, center, steps, [] if converged else notes
        )

    def load_columns(
        self, folder: Path, task: Task, iterations: int | None, notes: list[str]
    ) -> LinearFitted:
        path = folder / "linear.safetensors"
        arrays = read_arrays(path)
        try:
            own = {name: arrays.pop(name) for name in ("coef", "intercept", "center")}
            return LinearFitted(task.type, Design(**arrays), **own, iterations=iterations, notes=notes)
        except (KeyError, TypeError) as error:
            raise BundleError(
                f"`{path.name}` does not hold the arrays of a linear model of this version",
                where=str(path),
                why=str(error),
                fix="install the toolkit version that wrote the bundle, or fit the model again",
            ) from error


@dataclass
class LinearFitted:
    """coef: [1 or classes, design columns]; intercept: [1 or classes]; center: [design columns] training mean."""

    type: str
    design: Design
    coef: np.ndarray
    intercept: np.ndarray
    center: np.ndarray
    iterations: int | None
    notes: list[str]

    def __post_init__(self) -> None:
        # One memory layout, fitted or loaded: sums over another layout differ in the last digits.
        self.coef = np.ascontiguousarray(self.coef, np.float64)

    def predict(self, X: np.ndarray) -> np.ndarray:
        from scipy.special import expit, softmax

        score = np.concatenate([self._products(chunk) + self.intercept for chunk in _chunks(X)])
        if self.type == "regression":
            return score[:, 0]
        if self.type == "binary":
            return expit(score[:, 0])
        return softmax(_every_class(score.T).T, axis=1)

    def _products(self, X: np.ndarray) -> np.ndarray:
        """[rows, 1 or classes]; a row's sum does not depend on the rows beside it, as it would with BLAS."""
        matrix = self.design.matrix(X)
        if isinstance(matrix, np.ndarray):
            return np.einsum("ij,kj->ik", matrix, self.coef)
        return matrix @ self.coef.T

    def contributions(self, X: np.ndarray) -> Contributions:
        """coef × (design − its training mean), summed over the design columns that a column became."""
        from scipy.sparse import csr_array

        coef, bias = self.coef, self.intercept + self.coef @ self.center
        if self.type == "multiclass":
            coef, bias = _every_class(coef), _every_class(bias)
        classes, size = coef.shape
        # [design columns, columns × classes]: a design column's coefficients, where the column's cells are.
        cells = self.design.origin()[:, None] * classes + np.arange(classes)
        entries = (coef.T.ravel(), cells.ravel(), np.arange(size + 1) * classes)
        gather = csr_array(entries, shape=(size, self.design.width * classes))
        added = np.concatenate([_dense(self.design.matrix(chunk) @ gather) for chunk in _chunks(X)])
        values = (added - self.center @ gather).reshape(len(X), self.design.width, classes)
        if self.type == "multiclass":
            return Contributions(values, bias)
        return Contributions(values[:, :, 0], bias[0])

    def importance(self) -> np.ndarray:
        """Each column's share of the sum of |coefficient| times the spread of what it multiplies."""
        weight = np.abs(self.coef).sum(axis=0) * self.design.spread(self.center)
        return shares(np.bincount(self.design.origin(), weight, minlength=self.design.width))

    def save(self, folder: Path) -> None:
        own = {"coef": self.coef, "intercept": self.intercept, "center": self.center}
        write_arrays(folder / "linear.safetensors", vars(self.design) | own)


def _chunks(X: np.ndarray) -> list[np.ndarray]:
    return [X[start : start + _CHUNK] for start in range(0, len(X), _CHUNK)] or [X]


def _dense(matrix: Any) -> np.ndarray:
    return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()


def _every_class(score: np.ndarray) -> np.ndarray:
    """[classes, …]: scikit-learn keeps one row for two classes, whose first class scores 0."""
    return score if len(score) > 1 else np.concatenate([np.zeros_like(score), score])


def _loss(task: Task, prediction: np.ndarray, y: np.ndarray) -> float:
    """Mean log loss, or mean squared error."""
    if task.type == "regression":
        return float(np.mean((prediction - y) ** 2))
    if task.type == "binary":
        prediction = np.column_stack([1 - prediction, prediction])
    return float(-np.mean(np.log(np.clip(prediction[np.arange(len(y)), y], 1e-15, None))))
