"""The newest list of the test: the rows that a target applies to at the latest cutoff, best first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.config.time import to_local
from toolkit.evaluation.metrics import Floats
from toolkit.evaluation.ties import best_first, places
from toolkit.prepare.matrix import Matrix
from toolkit.training.outcome import Outcome


@dataclass(frozen=True)
class Listed:
    """One target's list, in the order in which it is written [rows]; ties as in `ties`.

    rows: positions among the test rows; strength: what the list is ordered by (a multiclass target's
    highest score); probability: of the decided class, or the value; y: labels, NaN where there is none.
    """

    rows: NDArray[np.intp]
    entity: NDArray
    cutoff: NDArray
    strength: Floats
    probability: Floats
    decision: NDArray
    y: Floats


def latest(matrix: Matrix, outcome: Outcome) -> NDArray[np.bool_]:
    """Test rows of the latest cutoff (without a clock: all) [test rows]."""
    cutoff = matrix.cutoff[outcome.rows[outcome.n_valid :]]
    return np.ones(len(cutoff), bool) if np.isnat(cutoff).all() else cutoff == cutoff.max()


def places_among(matrix: Matrix, outcome: Outcome) -> NDArray[np.intp]:
    """Each test row's place among rows that tie [test rows]; equal for one entity."""
    return places(matrix.entity[outcome.rows[outcome.n_valid :]])


def listed(matrix: Matrix, outcome: Outcome, index: int, key: NDArray[np.intp]) -> Listed:
    """The list of the target with this index, by its chosen model. key: of `places_among`."""
    task, n = outcome.tasks[index], outcome.n_valid
    scores = outcome.scores[(outcome.chosen(task.name).model, task.name)]
    test = outcome.rows[n:]
    rows = np.flatnonzero(latest(matrix, outcome) & matrix.eligible[task.name][test])
    strength = scores.score[n:][rows]
    probability, decision = scores.probability[n:][rows], scores.decision[n:][rows]
    if task.type == "multiclass":
        strength = strength.max(axis=1) if len(rows) else np.zeros(0)
        probability = probability[np.arange(len(rows)), decision.astype(np.intp)]
    order = best_first(strength, key[rows])
    rows = rows[order]
    return Listed(
        rows, matrix.entity[test[rows]], matrix.cutoff[test[rows]], strength[order], probability[order],
        decision[order], outcome.y[n:, index][rows],
    )  # fmt: skip


def days_of(cutoff: np.ndarray, zone: str) -> list[str]:
    """Cutoffs (datetime64, naive UTC) as days in the cohort's zone, "" for none [rows]."""
    instants, at = np.unique(cutoff, return_inverse=True)
    days = ["" if moment is None else f"{to_local(moment, zone):%Y-%m-%d}"
            for moment in instants.astype("datetime64[us]").tolist()]  # fmt: skip
    return [days[i] for i in at]
