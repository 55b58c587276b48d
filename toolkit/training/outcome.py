"""What one split gave: the candidates (a model on a target), their scores, and which of them were chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.evaluation.lists import AtSize, Steadiness
from toolkit.evaluation.metrics import HEADLINE
from toolkit.evaluation.tiers import Tier
from toolkit.models.encode import Encoder
from toolkit.models.interface import Fitted, Task
from toolkit.prepare.audit import Finding
from toolkit.prepare.targets import LabelState
from toolkit.training.calibration import Calibrator
from toolkit.training.coherence import Corrected
from toolkit.training.mitigation import GroupThresholds
from toolkit.training.split import Assignment
from toolkit.training.threshold import Threshold
from toolkit.tuning.study import Studied

if TYPE_CHECKING:
    from toolkit.training import triage as triages
    from toolkit.training.fairness import Judged

__all__ = ["HEADLINE", "Candidate", "Margin", "Outcome", "Scores"]

Margin = tuple[float, float, float]  # a difference, and the ends of its interval


@dataclass
class Candidate:
    """One model on one target: how it was fitted, and how it did.

    validation, test: metric → value; uncalibrated: part → the same calibration metrics of the raw score,
    where that is a probability; basis: how the validation probabilities and decisions came about, in
    words; intervals: metric → (low, high) on the test; margin: its headline metric minus the rule's, with
    the interval of the paired difference; behind: the chosen model's minus its own, likewise; over_members: an
    ensemble's minus each member's, likewise; over_models: of several classes, metric → each of the recipe's models
    that are no ensembles → likewise; per_class: rows, precision, recall, F1 and AUC of each class, with intervals
    (`precision_95`, …); per_list, steadiness: what the lists of the test would have brought,
    and how alike they are (binary targets); by_group: thresholds by protected group, which then decide in place
    of the one.
    """

    model: str
    target: str
    seconds: float
    notes: list[str]
    calibrator: Calibrator
    threshold: Threshold | None
    validation: dict[str, float]
    basis: str = ""
    uncalibrated: dict[str, dict[str, float]] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)
    margin: Margin | None = None
    behind: Margin | None = None
    over_members: dict[str, Margin] = field(default_factory=dict)
    over_models: dict[str, dict[str, Margin]] = field(default_factory=dict)
    per_class: list[dict[str, Any]] = field(default_factory=list)
    per_list: list[AtSize] = field(default_factory=list)
    steadiness: Steadiness | None = None
    # The interval of the headline metric lies above what a guess would have. An AUC's is DeLong's here:
    # two hundred replicates leave their tails vague.
    beats_chance: bool | None = None
    chosen: bool = False
    groups: list[dict[str, Any]] = field(default_factory=list)
    by_group: GroupThresholds | None = None


@dataclass
class Scores:
    """Of one model on one target, for validation then test rows: raw score, probability, decision.

    Those of test rows are by the calibrator and the threshold that are kept. Those of labelled validation
    rows are by others, which have not seen the row (`toolkit.training.crossfit`).
    """

    score: np.ndarray
    probability: np.ndarray
    decision: np.ndarray

    def part(self, rows: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Score, probability and decision of some of the rows, in the order that metrics take them."""
        return self.score[rows], self.probability[rows], self.decision[rows]


@dataclass
class Outcome:
    """Everything one split gave.

    rows: positions of validation and test rows in the matrix, in that order; y: their labels
    [rows, targets], those of test rows NaN until the door has opened; idle: features that say nothing in
    training rows → why; models: name → configuration as fitted; studies: what tuning tried for them;
    remarks: what else whoever ran it should read on the screen; lists: target → cutoff, rows, positives and
    base rate of each list of the test (binary targets); tiers: target → what its chosen model's tiers are worth
    on the test, where there are tiers; common: target → decisions by one threshold for all, where thresholds by
    group have replaced them; fairness: target → how decisions differ between protected groups, where such are
    declared; triage, review: which rows a person should look at, and what that is worth on the test, likewise.
    """

    assignment: Assignment
    tasks: list[Task]
    states: dict[str, LabelState]
    encoder: Encoder
    rows: np.ndarray
    n_valid: int
    y: np.ndarray
    base_rates: dict[str, dict[str, Any]]
    unseen: dict[str, int]
    findings: list[Finding] = field(default_factory=list)
    models: dict[str, Any] = field(default_factory=dict)
    studies: dict[str, Studied] = field(default_factory=dict)
    fitted: dict[str, Fitted] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    scores: dict[tuple[str, str], Scores] = field(default_factory=dict)
    coherence: dict[str, Corrected] = field(default_factory=dict)
    idle: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    tiers: dict[str, list[Tier]] = field(default_factory=dict)
    common: dict[str, np.ndarray] = field(default_factory=dict)
    fairness: dict[str, Judged] = field(default_factory=dict)
    triage: triages.Triage | None = None
    review: triages.Judged | None = None
    test_reads: int = 0

    def of(self, target: str) -> list[Candidate]:
        return [candidate for candidate in self.candidates if candidate.target == target]

    def chosen(self, target: str) -> Candidate:
        return next(candidate for candidate in self.of(target) if candidate.chosen)
