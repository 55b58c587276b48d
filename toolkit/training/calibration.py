"""From a raw score to a probability, fitted on validation rows only.

binary:     Platt scaling (Platt 1999) or isotonic regression (Zadrozny & Elkan 2002).
multiclass: temperature scaling (Guo et al. 2017): one parameter, so a rare class cannot be
            overfitted, and neither the most probable class nor the order of classes changes.
            One-vs-rest with normalisation changes both.
regression: nothing to calibrate.

Every binary calibrator is monotone non-decreasing: it never reorders a list.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from toolkit.errors import ConfigError
from toolkit.evaluation.metrics import tally

Floats = NDArray[np.float64]

ISOTONIC_LEAST = 1000  # of each class; below, isotonic steps follow noise (Niculescu-Mizil & Caruana 2005)
TINY = 1e-7  # probabilities are kept this far from 0 and 1 before their log-odds are taken


class Calibration(BaseModel):
    """How scores become probabilities.

    method: `platt`, `isotonic`, `none` (the score is already a probability), or `auto`: isotonic with
    at least 1,000 positives and 1,000 negatives among the validation rows, otherwise platt. For a
    multiclass target all but `none` mean temperature scaling.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    method: Literal["auto", "platt", "isotonic", "none"] = "auto"


@dataclass(frozen=True)
class Calibrator:
    """A fitted calibrator: plain numbers, so that a bundle holds it as JSON.

    identity:    probability = score
    platt:       1 / (1 + exp(−(slope·x + intercept))), slope ≥ 0
    isotonic:    linear between the points (points_x, points_p), flat outside
    temperature: softmax(slope·x), slope = 1 / temperature

    log_odds: x is the log-odds of the score (the log, for multiclass) instead of the score itself.
    reason: why this method, in words.
    """

    method: Literal["identity", "platt", "isotonic", "temperature"]
    reason: str
    log_odds: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    points_x: tuple[float, ...] = ()
    points_p: tuple[float, ...] = ()

    def apply(self, score: ArrayLike) -> Floats:
        """Score [rows] or [rows, classes] → probability of the same shape (regression: the score)."""
        x = np.asarray(score, dtype=np.float64)
        if self.method == "identity":
            return x
        if self.method == "temperature":
            return _softmax(self.slope * (_log(x) if self.log_odds else x))
        if self.method == "platt":
            return _sigmoid(self.slope * (_log_odds(x) if self.log_odds else x) + self.intercept)
        points_x, points_p = np.array(self.points_x), np.array(self.points_p)
        # Rounding may lift an interpolated value a hair above its right neighbour; that would reorder.
        ceiling = points_p[np.minimum(np.searchsorted(points_x, x, side="right"), len(points_p) - 1)]
        return np.minimum(np.interp(x, points_x, points_p), ceiling)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"points_x": list(self.points_x), "points_p": list(self.points_p)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Calibrator:
        return cls(**data | {"points_x": tuple(data["points_x"]), "points_p": tuple(data["points_p"])})


def fit_calibrator(
    config: Calibration,
    task: Literal["binary", "multiclass", "regression"],
    y: ArrayLike,
    score: ArrayLike,
    score_is_probability: bool | None = None,
) -> Calibrator:
    """Fit on validation rows.

    y [rows] of 0/1 or class codes; score [rows] or [rows, classes]. score_is_probability: whether the
    model's scores are probabilities (or margins); None looks whether they all could be.
    Raises ConfigError when method `none` is declared for scores that are not probabilities.
    """
    if task == "regression":
        return Calibrator("identity", "a predicted quantity needs no calibration")
    y, score = np.asarray(y), np.asarray(score, dtype=np.float64)
    if np.isnan(score).any():
        raise ValueError("scores contain NaN")
    if score_is_probability is None:
        score_is_probability = _looks_like_probability(score)
    if config.method == "none":
        if not score_is_probability:
            raise ConfigError(
                "calibration is `none`, but this model's scores are not probabilities",
                where="calibration.method",
                why="thresholds, expected values and reports read the calibrated score as a probability",
                fix="use auto, platt or isotonic",
            )
        return Calibrator("identity", "declared: none")
    if task == "multiclass":
        return _temperature(y.astype(np.intp), score, score_is_probability)
    return _binary(config.method, y.astype(np.float64), score, score_is_probability)


def _binary(method: str, y: Floats, score: Floats, log_odds: bool) -> Calibrator:
    positives, negatives = int(y.sum()), int(len(y) - y.sum())
    counts = f"{positives:,} positives and {negatives:,} negatives in validation"
    # Platt's targets: the rate of a class of n rows is not believed nearer to 0 or 1 than 1/(n+2).
    low, high = 1 / (negatives + 2), (positives + 1) / (positives + 2)
    if min(positives, negatives) == 0:
        # One class teaches only its rate. With no negative the rate is `high`; with no row at all, 1/2.
        rate = high if positives else low
        return Calibrator("platt", f"{counts}: a constant rate", slope=0.0, intercept=_logit(rate))
    enough = min(positives, negatives) >= ISOTONIC_LEAST
    if method == "isotonic" or (method == "auto" and enough):
        points_x, points_p = _isotonic(y, score, low, high)
        reason = f"isotonic: {counts}"
        return Calibrator("isotonic", reason, points_x=tuple(points_x), points_p=tuple(points_p))
    slope, intercept = _platt(y, _log_odds(score) if log_odds else score, low, high)
    reason = f"platt: {counts}" + ("" if slope > 0 else "; a higher score is not likelier, so a constant")
    return Calibrator("platt", reason, log_odds=log_odds, slope=slope, intercept=intercept)


def _isotonic(y: Floats, score: Floats, low: float, high: float) -> tuple[list[float], list[float]]:
    """Ends of the steps, as scores and rates: the least-squares non-decreasing rate, kept in [low, high]."""
    from scipy.optimize import isotonic_regression

    scores, rows, positives = (column[::-1] for column in tally(y, score))
    rate = np.clip(isotonic_regression(positives / rows, weights=rows).x, low, high)
    end = np.ones(len(rate), bool)
    end[1:-1] = (rate[1:-1] != rate[:-2]) | (rate[1:-1] != rate[2:])
    return scores[end].tolist(), rate[end].tolist()


def _platt(y: Floats, x: Floats, low: float, high: float) -> tuple[float, float]:
    """Slope ≥ 0 and intercept with the least cross-entropy against Platt's targets.

    By Newton's method, as Lin, Lin & Weng (2007), kept in a trust region where they halve the step.
    """
    from scipy.optimize import minimize

    centre, spread = float(x.mean()), float(x.std())
    z = (x - centre) / spread if spread > 0 else np.zeros_like(x)
    target = np.where(y == 1, high, low)
    pull = np.array([np.mean(target * z), np.mean(target)])
    flat = np.array([0.0, _logit(float(pull[1]))])  # the best without a slope

    def loss(parameters: Floats) -> tuple[float, Floats]:
        negative = _sigmoid(-(parameters[0] * z + parameters[1]))
        value = -np.mean(np.log(np.maximum(negative, 1e-300))) - pull @ parameters
        return float(value), np.array([np.mean((1 - negative) * z), np.mean(1 - negative)]) - pull

    def curvature(parameters: Floats) -> Floats:
        p = _sigmoid(parameters[0] * z + parameters[1])
        weight = p * (1 - p)
        mixed = np.mean(weight * z)
        return np.array([[np.mean(weight * z**2), mixed], [mixed, np.mean(weight)]])

    # The loss is convex: where it falls towards a negative slope, the best slope of 0 or above is 0.
    # Held there the calibrator stays monotone even for a model worse than chance.
    if spread == 0 or loss(flat)[1][0] >= 0:
        return 0.0, float(flat[1])
    found = minimize(loss, flat, jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-9})
    slope = float(found.x[0]) / spread
    return slope, float(found.x[1]) - slope * centre


def _temperature(y: NDArray[np.intp], score: Floats, log_odds: bool) -> Calibrator:
    from scipy.optimize import minimize_scalar

    x = _log(score) if log_odds else score
    if len(y) == 0:
        return Calibrator("temperature", "no validation rows: temperature 1", log_odds=log_odds)

    below_peak = x - x.max(axis=1, keepdims=True)  # softmax does not change, and exp cannot overflow
    # As Platt's targets: n rows do not show that a class is likelier than 1 − 1/(n + 2). Without that, a
    # temperature from rows that are all right would be as low as it may, and the next mistake infinitely sure.
    unseen = 1 / (len(y) + 2)
    true = (1 - unseen) * float(below_peak[np.arange(len(y)), y].mean()) + unseen * float(below_peak.mean())

    def loss(log_slope: float) -> float:
        slope = np.exp(log_slope)
        return float(np.log(np.exp(slope * below_peak).sum(axis=1)).mean() - slope * true)

    # Convex in the slope, hence with one minimum in its log; the bounds are temperatures 20 and 1/20.
    found = minimize_scalar(loss, bounds=(-np.log(20), np.log(20)), method="bounded")
    slope = float(np.exp(found.x))
    reason = f"temperature {1 / slope:.3g} from {len(y):,} validation rows"
    return Calibrator("temperature", reason, log_odds=log_odds, slope=slope)


def _looks_like_probability(score: Floats) -> bool:
    inside = bool(((score >= 0) & (score <= 1)).all())
    return inside and (score.ndim == 1 or bool(np.allclose(score.sum(axis=1), 1, atol=1e-4)))


def _log(p: Floats) -> Floats:
    return np.log(np.maximum(p, TINY))


def _log_odds(p: Floats) -> Floats:
    p = np.clip(p, TINY, 1 - TINY)
    return np.log(p) - np.log1p(-p)


def _logit(p: float) -> float:
    return float(np.log(p) - np.log1p(-p))


def _sigmoid(x: Floats) -> Floats:
    from scipy.special import expit

    return expit(x)


def _softmax(x: Floats) -> Floats:
    from scipy.special import softmax

    return softmax(x, axis=1)
