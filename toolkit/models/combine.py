"""How an ensemble makes one score of its members': a mixture of them, or a linear model on top of them.

Both are plain numbers, one combiner per target, so that a bundle holds them as JSON. `said` is a list of
what each member says of some rows: [rows] for yes or no and for numbers, [rows, classes] for classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.models.interface import Task, shares
from toolkit.models.one_by_one import spread

FEW = 100  # labels of a class, fewer than which say too little about a scale
WEAKLY = 100.0  # inverse strength of the penalty on a scale's slope
PULL = 1.0  # rows that speak for equal weights
LEAST = 1e-15  # what a member gave a label that it held to be impossible
Said = Sequence[np.ndarray]


@dataclass(frozen=True)
class Mixture:
    """Σ weight × what a member says. weights: [members], at least 0, their sum is 1.

    scales: for each member what makes honest probabilities of its own (Platt 1999); (): they count as they are.
    """

    weights: tuple[float, ...]
    scales: tuple[MetaLearner, ...] = ()

    @classmethod
    def relative(cls, weights: Sequence[float]) -> Mixture:
        return cls(tuple(float(share) for share in shares(np.asarray(weights, np.float64))))

    @classmethod
    def fit(cls, task: Task, said: Said, y: np.ndarray) -> Mixture:
        """The weights under which the labels y [rows] are likeliest, pulled to equal ones.

        Classes: the mixture's log loss. Numbers: squared error over twice what members leave of it on average,
        which is the log loss of normal errors of that size. `PULL` rows more, shared out evenly, are each
        explained by one member alone: −PULL / members · Σ ln(weight) beside the sum over rows (the prior
        Dirichlet(1 + PULL / members, …)). With no row the weights are equal, with hundreds the pull is not
        felt. The sum is convex in the weights, so there is one best answer.
        """
        from scipy.special import softmax

        if task.type == "regression":
            error = np.column_stack(said) - y[:, None]
            scale = float(np.mean(error**2)) or 1.0 if len(y) else 1.0
        else:
            likelihood = np.maximum(np.column_stack([_of_label(task, one, y) for one in said]), LEAST)

        def loss(weight: np.ndarray) -> tuple[float, np.ndarray]:
            """Summed over rows, and its gradient [members]."""
            if task.type == "regression":
                mixed = error @ weight
                return float(mixed @ mixed) / (2 * scale), mixed @ error / scale
            mixed = likelihood @ weight
            return -float(np.log(mixed).sum()), -((1 / mixed) @ likelihood)

        def pulled(free: np.ndarray) -> tuple[float, np.ndarray]:
            weight = softmax(free)
            value, gradient = loss(weight)
            value -= PULL * float(np.log(np.maximum(weight, np.finfo(float).tiny)).mean())
            moved = weight * (gradient - gradient @ weight) + PULL * (weight - 1 / len(said))
            return value / (len(y) + 1), moved / (len(y) + 1)

        return cls(tuple(float(one) for one in softmax(_least(pulled, np.zeros(len(said))))))

    @classmethod
    def fit_scaled(cls, task: Task, said: Said, y: np.ndarray) -> Mixture:
        """The same, of members that are put on one scale first: a focal loss, or balanced classes, distort theirs.

        Where a class has fewer than `FEW` labels, they count as they are.
        """
        classes = len(task.classes) or 2
        if task.type == "regression" or np.bincount(y.astype(np.intp), minlength=classes).min() < FEW:
            return cls.fit(task, said, y)
        scales = tuple(MetaLearner.fit(task, [one], y, WEAKLY) for one in said)
        scaled = [scale.combine([one]) for scale, one in zip(scales, said, strict=True)]
        return cls(cls.fit(task, scaled, y).weights, scales)

    def combine(self, said: Said) -> np.ndarray:
        if self.scales:
            said = [scale.combine([one]) for scale, one in zip(self.scales, said, strict=True)]
        mixed = np.zeros_like(said[0], np.float64)
        for weight, one in zip(self.weights, said, strict=True):
            mixed += weight * one
        return mixed

    @property
    def shares(self) -> np.ndarray:
        """How much each member counts: [members], their sum is 1."""
        return np.array(self.weights)

    def to_dict(self) -> dict[str, Any]:
        return {"weights": list(self.weights), "scales": [scale.to_dict() for scale in self.scales]}

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Mixture:
        return cls(tuple(map(float, facts["weights"])), tuple(map(MetaLearner.from_dict, facts["scales"])))


@dataclass(frozen=True)
class MetaLearner:
    """A linear model of what members say, with coefficients of at least 0.

    Classes: softmax over k of Σ coef · ln p(k) + intercept(k), which for yes or no is a logistic regression
    on log-odds; numbers: Σ coef · value + intercept. coef: [members]; intercept: [classes], of yes or no
    [2], of a number [1]; seen: the indices of the classes it has met; counts: each member's share in what
    tells rows apart [members]. rows: a probability p of K classes enters as (rows · p + 1/K) / (rows + 1),
    so that none is 0: a member's certainty goes as far as the rows that the learner was fitted on can tell.
    """

    task: Task
    coef: np.ndarray
    intercept: np.ndarray
    seen: tuple[int, ...]
    rows: int
    counts: tuple[float, ...]

    @classmethod
    def fit(cls, task: Task, said: Said, y: np.ndarray, strength: float) -> MetaLearner:
        """Fit on what members say of rows [rows] that they were not fitted on, with labels y [rows].

        The least sum over rows of log loss, or of half the squared error over the labels' variance, and
        |coef|² / (2 · strength).
        No coefficient is below 0 (Breiman 1996, stacked regressions): members that say much the same do not
        cancel each other, and one that says nothing gets 0. Needs a row, and of classes rows of two.
        """
        seen: tuple[int, ...] = ()
        if task.type == "regression":
            coef, intercept = _ridge(np.column_stack(said), y, strength)
            varying = np.std(said, axis=1)
        else:
            inputs = log_probabilities(task, said, len(y))
            classes, index = np.unique(y.astype(np.intp), return_inverse=True)
            coef, among = _logit(inputs[:, :, classes], index, strength)
            intercept, seen = np.zeros(inputs.shape[2]), tuple(int(one) for one in classes)
            intercept[classes] = among
            varying = (inputs - inputs.mean(axis=2, keepdims=True)).std(axis=0).mean(axis=1)
        return cls(task, coef, intercept, seen, len(y), tuple(shares(coef * varying).tolist()))

    @classmethod
    def mean(cls, task: Task, members: int, rows: int) -> MetaLearner:
        """Without anything to learn from: the mean of what goes in."""
        size = {"binary": 2, "regression": 1}.get(task.type, len(task.classes))
        each = np.full(members, 1 / members)
        seen = () if task.type == "regression" else tuple(range(size))
        return cls(task, each, np.zeros(size), seen, rows, tuple(each.tolist()))

    def combine(self, said: Said) -> np.ndarray:
        # Member by member, not as a product of matrices: there a row's sum may depend on the rows beside it.
        if self.task.type == "regression":
            return sum((c * one for c, one in zip(self.coef, said, strict=True)), self.intercept[0])
        from scipy.special import expit, softmax

        inputs = log_probabilities(self.task, said, self.rows)
        score = self.intercept + np.zeros((len(inputs), 1))
        for number, weight in enumerate(self.coef):
            score += weight * inputs[:, number]
        if self.task.type == "binary":
            return expit(score[:, 1] - score[:, 0])
        return spread(softmax(score[:, self.seen], axis=1), self.task, list(self.seen))

    @property
    def shares(self) -> np.ndarray:
        """How much each member counts: [members], their sum is 1."""
        return np.array(self.counts)

    def to_dict(self) -> dict[str, Any]:
        task = {"name": self.task.name, "type": self.task.type, "classes": list(self.task.classes)}
        return {
            "task": task, "coef": self.coef.tolist(), "intercept": self.intercept.tolist(), "seen": list(self.seen),
            "rows": self.rows, "counts": list(self.counts),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> MetaLearner:
        task = Task(facts["task"]["name"], facts["task"]["type"], tuple(facts["task"]["classes"]))
        coef, intercept = (np.array(facts[name], np.float64) for name in ("coef", "intercept"))
        seen, counts = tuple(map(int, facts["seen"])), tuple(map(float, facts["counts"]))
        return cls(task, coef, intercept, seen, int(facts["rows"]), counts)


def _ridge(values: np.ndarray, y: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients [members] ≥ 0 and intercept [1]; values: [rows, members]."""
    from sklearn.linear_model import Ridge
    from threadpoolctl import threadpool_limits

    scale = float(np.std(y)) or 1.0  # its solver stops by what is left of the gradient
    ridge = Ridge(alpha=1 / strength, positive=True, tol=1e-9, max_iter=10_000)
    with threadpool_limits(1):
        ridge.fit(values / scale, y / scale)
    return np.asarray(ridge.coef_, np.float64), np.atleast_1d(scale * np.float64(ridge.intercept_))


def _logit(inputs: np.ndarray, y: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients [members] ≥ 0 and intercepts [classes]; inputs: [rows, members, classes]; y: a class each."""
    from scipy.special import log_softmax

    rows, members, classes = inputs.shape
    own = np.eye(classes)[y]

    def loss(free: np.ndarray) -> tuple[float, np.ndarray]:
        coef, intercept = free[:members], free[members:]
        told = log_softmax(np.einsum("imk,m->ik", inputs, coef) + intercept, axis=1)
        excess = np.exp(told) - own
        gradient = np.einsum("imk,ik->m", inputs, excess) + coef / strength
        value = -float(told[np.arange(rows), y].sum()) + float(coef @ coef) / (2 * strength)
        return value / rows, np.concatenate([gradient, excess.sum(axis=0)]) / rows

    start = np.concatenate([np.full(members, 1 / members), np.zeros(classes)])
    bounds = [(0, None)] * members + [(None, None)] * classes
    found = _least(loss, start, bounds)
    return found[:members], found[members:]


def _least(
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray, bounds: Any = None
) -> np.ndarray:
    """Where a smooth loss (value, gradient) is least."""
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    options = {"maxiter": 1_000, "ftol": 1e-13, "gtol": 1e-9}
    with threadpool_limits(1):  # products this small only wait for each other's threads
        return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x


def _of_label(task: Task, probability: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The probability that was given to the label [rows]."""
    if task.type == "binary":
        return np.where(y == 1, probability, 1 - probability)
    return probability[np.arange(len(y)), y.astype(np.intp)]


def log_probabilities(task: Task, said: Said, rows: int) -> np.ndarray:
    """float64 [rows, members, classes], drawn in from 0; of yes or no the classes are no and yes."""
    each = [np.stack([1 - one, one], axis=-1) if task.type == "binary" else one for one in said]
    found = np.stack(each, axis=1).astype(np.float64, copy=False)
    return np.log((rows * found + 1 / found.shape[2]) / (rows + 1))
