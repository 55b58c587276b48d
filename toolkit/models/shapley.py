"""Shapley values by the `shap` library, for models that do not say their contributions themselves.

scikit-learn's trees: TreeSHAP (Lundberg et al. 2020), exact, on the scale of the trees: a forest's is the
probability, boosting's the log-odds. Any other model: sampled permutations of the columns, antithetic, what
is left out being taken from training rows (Strumbelj & Kononenko 2014, doi:10.1007/s10115-013-0679-x).
`pip install 'toolkit[shap]'`
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from toolkit.errors import ConfigError
from toolkit.models.explain import Contributions, Explains, among_all
from toolkit.models.forest import ForestsFitted
from toolkit.models.hist_gbm import HistFitted
from toolkit.models.interface import Fitted
from toolkit.models.one_by_one import OneByOneFitted

ROUNDS = 5  # permutations of the columns, each there and back
ADDS_UP = 1e-6  # relative


def available() -> None:
    """ConfigError where the library is not installed."""
    import importlib.util

    if importlib.util.find_spec("shap") is None:
        raise ConfigError(
            "`report.explain_by: shap` needs the library `shap`, which is not installed",
            where="report.explain_by",
            fix="pip install 'toolkit[shap]', or explain_by: auto",
        )


def tree_shap(fitted: Fitted, place: int, X: np.ndarray) -> Contributions | None:
    """What each column adds, by a model of scikit-learn's trees; None for others, or where it does not add up.

    X: float32 [rows, columns], at least one row; place: of the target among the model's.
    """
    found = _trees(fitted, place)
    if isinstance(fitted, Explains) or found is None:
        return None
    import shap

    model, seen = found
    task = fitted.tasks[place]
    try:
        explainer = shap.TreeExplainer(model)
        values = np.asarray(explainer.shap_values(X, check_additivity=False), np.float64)
    except Exception:  # splits by level, and whatever else the library does not read
        return None
    base, raw = np.atleast_1d(np.asarray(explainer.expected_value, np.float64)), _raw(model, X)
    if task.type == "binary" and values.ndim == 3:
        values, base, raw = values[:, :, 1], base[1:], raw[:, 1]
    base = base[0] if values.ndim == 2 else base
    if np.abs(base + values.sum(axis=1) - raw).max() > ADDS_UP * max(np.abs(raw).max(), 1):
        return None
    return among_all(Contributions(values, base), task, seen)


def _trees(fitted: Fitted, place: int) -> tuple[Any, list[int]] | None:
    """The estimator of one target, and its classes; None if it is none, or one of several targets at once."""
    if isinstance(fitted, ForestsFitted) and len(fitted.forests) == len(fitted.tasks):
        return fitted.forests[place], fitted.seen[place]
    if isinstance(fitted, OneByOneFitted) and isinstance(part := fitted.parts[place], HistFitted):
        return part.model, fitted.seen[place]
    return None


def _raw(model: Any, X: np.ndarray) -> np.ndarray:
    """What the trees add up to."""
    if hasattr(model, "decision_function"):
        return model.decision_function(X)
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


def by_permutation(
    predict: Callable[[np.ndarray], np.ndarray],
    row: np.ndarray,
    background: np.ndarray,
    columns: Sequence[int],
    seed: int,
) -> tuple[np.ndarray, float]:
    """What each column adds to one row's score [columns], 0 for those not asked for; and the score without them.

    predict: X [rows, all columns] → score [rows]; row: float32 [all columns]; background: training rows
    [rows, all columns]; columns: those to explain, the others stay as the row has them. score = base + sum.
    """
    import shap

    asked = np.asarray(columns)

    def of_some(Z: np.ndarray) -> np.ndarray:
        X = np.repeat(row[None], len(Z), axis=0)
        X[:, asked] = Z
        return predict(X)

    masker = shap.maskers.Independent(background[:, asked], max_samples=len(background))
    explainer = shap.explainers.Permutation(of_some, masker, seed=seed)
    found = explainer(row[None, asked], max_evals=2 * len(asked) * ROUNDS + 1, silent=True)
    values = np.zeros(len(row))
    values[asked] = found.values[0]
    return values, float(np.ravel(found.base_values)[0])
