"""Fairness of a run's decisions: thresholds by group on validation rows; figures and gates on test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from toolkit.config.fairness import Gate, Mitigation
from toolkit.config.schema import Config
from toolkit.evaluation import fairness
from toolkit.evaluation.bootstrap import EntityBootstrap, interval
from toolkit.evaluation.fairness import Comparison, Interval
from toolkit.evaluation.metrics import NAN, Floats, ratio
from toolkit.models.interface import Task
from toolkit.prepare.matrix import Matrix
from toolkit.training.crossfit import held_out, obstacle
from toolkit.training.figures import measured
from toolkit.training.mitigation import able_groups, choose_by_group, decide_by_group, need_two
from toolkit.training.outcome import Outcome
from toolkit.training.threshold import ThresholdConfig, choose

COSTS = ("f1", "precision", "recall", "selected")


@dataclass(frozen=True)
class GateResult:
    """A gate on one target. state: passed, failed, or not judged, which passes no gate; why: in words."""

    gate: str
    target: str
    attribute: str
    measure: str
    bound: float
    value: float
    interval: Interval
    state: str
    on_failure: str
    why: str = ""

    @property
    def failed(self) -> bool:
        return self.state != "passed"

    @property
    def fails_the_run(self) -> bool:
        return self.failed and self.on_failure == "fail"

    def __str__(self) -> str:
        """`demographic_parity_ratio of sex >= 0.8 on y: 0.31 [0.28, 0.34], failed`."""
        if self.state == "not judged":
            return f"{self.gate} on {self.target}: cannot be judged, {self.why}"
        low, high = self.interval
        ends = "" if np.isnan(low) else f" [{low:.3f}, {high:.3f}]"
        return f"{self.gate} on {self.target}: {self.value:.3f}{ends}, {self.state}"


@dataclass(frozen=True)
class Mitigated:
    """What thresholds by group cost and gave, on the test rows.

    before: the comparison by the attribute with the common threshold; cost: metric → before, after, and the
    interval of the paired difference; thresholds: group → raw score, none where a capacity decides.
    """

    attribute: str
    constraint: str
    reason: str
    before: Comparison
    cost: dict[str, tuple[float, float, Interval]]
    common: float
    thresholds: dict[str, float]


@dataclass(frozen=True)
class Judged:
    """Fairness of the decisions on one target. not_applicable: why there are none to judge."""

    comparisons: list[Comparison] = field(default_factory=list)
    gates: list[GateResult] = field(default_factory=list)
    mitigated: Mitigated | None = None
    not_applicable: str = ""


# --- on validation rows -----------------------------------------------------------------------------


def mitigate(config: Config, outcome: Outcome, matrix: Matrix, held: Any) -> None:
    """Give the chosen models of yes-or-no targets thresholds by group, and all of `held`'s rows their decisions.

    held: of `judge.Held`. As with the common threshold, the validation rows' own decisions are cross-fitted.
    """
    wanted, n = config.fairness.mitigation, outcome.n_valid
    if wanted is None:
        return
    groups = matrix.protected[wanted.attribute][outcome.rows]
    for index, task in enumerate(outcome.tasks):
        candidate = outcome.chosen(task.name)
        common, scores = candidate.threshold, outcome.scores[(candidate.model, task.name)]
        if task.type != "binary" or common is None:
            continue
        y, raw = outcome.y[:n, index], scores.score
        has = ~np.isnan(y)
        rows = np.flatnonzero(has)
        kind, least = config.target[task.name].threshold or config.threshold, config.fairness.smallest_group
        names = able_groups(wanted, y[rows], groups[rows], least)
        need_two(wanted, names, least, task.name)
        found = choose_by_group(kind, wanted, common, y[rows], raw[rows], groups[rows], names)
        outcome.common[task.name] = scores.decision.copy()
        able = held.eligible[task.name]
        parts = (slice(0, n), slice(n, None))
        decision = np.concatenate([
            decide_by_group(found, raw[part], groups[part], held.lists[part], held.place[part], able[part])
            for part in parts
        ])  # fmt: skip
        fold = held.fold[rows]
        if not common.by_rank and obstacle(fold, y[rows], classes=True) is None:
            cells = np.column_stack([raw[rows], groups.codes[rows]])
            fit = partial(_fit, kind, wanted, groups.categories, names)
            decision[rows] = held_out(fit, y[rows], cells, fold)
        scores.decision = decision
        candidate.by_group = found
        candidate.validation = measured(config, task, y, scores, slice(0, n), has)


def _fit(
    kind: ThresholdConfig,
    wanted: Mitigation,
    categories: pd.Index,
    names: Sequence[str],
    y: np.ndarray,
    cells: np.ndarray,
) -> Callable[[np.ndarray], np.ndarray]:
    """From labels [rows], and scores and codes of groups [rows, 2], to a function of the cells of other rows."""

    def groups(cells: np.ndarray) -> pd.Categorical:
        return pd.Categorical.from_codes(cells[:, 1].astype(int), categories=categories)

    common = choose(kind, y, cells[:, 0])
    there = [name for name in able_groups(wanted, y, groups(cells), 1, 1) if name in names]
    found = choose_by_group(kind, wanted, common, y, cells[:, 0], groups(cells), there)

    def decide(cells: np.ndarray) -> np.ndarray:
        nobody = np.zeros(len(cells), int)
        return decide_by_group(found, cells[:, 0], groups(cells), nobody, nobody, nobody == 0)

    return decide


# --- on test rows -----------------------------------------------------------------------------------


def judge(
    config: Config, outcome: Outcome, index: int, matrix: Matrix, boot: EntityBootstrap | None
) -> Judged | None:
    """Compare the decisions of the chosen model on the labelled test rows; None if nothing is declared.

    boot: of the test rows, None for no intervals.
    """
    declared, task = config.fairness, outcome.tasks[index]
    if not declared.attributes:
        return None
    if task.type != "binary":
        return Judged(not_applicable=f"{task.name} is a {task.type} target: no threshold, nobody is selected")
    y = outcome.y[outcome.n_valid :, index]
    decision = outcome.scores[(outcome.chosen(task.name).model, task.name)].decision
    exact = {
        name: _compared(config, outcome, matrix, name, y, decision, boot) for name in declared.attributes
    }
    gates = [
        _judged(gate, task, exact[gate.attribute])
        for gate in declared.gates
        if gate.targets is None or task.name in gate.targets
    ]
    mitigated = None
    if declared.mitigation and task.name in outcome.common:
        mitigated = _mitigated(config, outcome, index, matrix, boot)
    return Judged([fairness.coarse(one) for one in exact.values()], gates, mitigated)


def _compared(
    config: Config, outcome: Outcome, matrix: Matrix, name: str, y: np.ndarray, decision: np.ndarray,
    boot: EntityBootstrap | None,
) -> Comparison:  # fmt: skip
    test = slice(outcome.n_valid, None)
    return fairness.compare(
        y, decision[test], matrix.protected[name][outcome.rows[test]], attribute=name, least=config.fairness.smallest_group,
        boot=boot, rows=~np.isnan(y), reference=config.fairness.attributes[name].reference, measures=config.fairness.measures,
    )  # fmt: skip


def _judged(gate: Gate, task: Task, found: Comparison) -> GateResult:
    why, value, ends = found.not_compared, NAN, (NAN, NAN)
    if not why:
        measure = found.of(gate.measure)
        why, value, ends = measure.undefined, measure.value, measure.interval
    state = "not judged" if why else "passed" if gate.holds(value) else "failed"
    if found.coarse:
        value, ends = round(value, 2), (round(ends[0], 2), round(ends[1], 2))
    return GateResult(
        str(gate),
        task.name,
        gate.attribute,
        gate.measure,
        gate.bound,
        value,
        ends,
        state,
        gate.on_failure,
        why,
    )


def _mitigated(
    config: Config, outcome: Outcome, index: int, matrix: Matrix, boot: EntityBootstrap | None
) -> Mitigated:
    task = outcome.tasks[index]
    candidate = outcome.chosen(task.name)
    found = candidate.by_group
    assert found is not None
    test, y = slice(outcome.n_valid, None), outcome.y[outcome.n_valid :, index]
    before, after = outcome.common[task.name], outcome.scores[(candidate.model, task.name)].decision
    compared = _compared(config, outcome, matrix, found.attribute, y, before, boot)
    then, now = (_costs(y, decision[test]) for decision in (before, after))
    ends = _cost_intervals(boot, y, before[test], after[test]) if boot else {}
    cost = {name: (float(then[name]), float(now[name]), ends.get(name, (NAN, NAN))) for name in COSTS}
    by_rank, common = found.common.by_rank, found.common.value
    return Mitigated(
        found.attribute, found.constraint, found.reason, fairness.coarse(compared), cost, common,
        {} if by_rank else dict(found.values),
    )  # fmt: skip


def _costs(y: np.ndarray, decision: np.ndarray) -> dict[str, Any]:
    has = ~np.isnan(y)
    chosen, yes = decision[has].astype(float), (y[has] == 1).astype(float)
    return _of_sums(chosen.sum(), yes.sum(), (chosen * yes).sum())


def _of_sums(selected: Any, positives: Any, both: Any) -> dict[str, Any]:
    return {
        "f1": ratio(2 * both, selected + positives), "precision": ratio(both, selected),
        "recall": ratio(both, positives), "selected": selected,
    }  # fmt: skip


def _cost_intervals(
    boot: EntityBootstrap, y: np.ndarray, before: np.ndarray, after: np.ndarray
) -> dict[str, Interval]:
    """Intervals of the paired differences, after less before."""
    yes = (np.nan_to_num(y) == 1).astype(float)

    def draws(decision: np.ndarray) -> Mapping[str, Floats]:
        chosen = decision.astype(float)
        _, selected, positives, both = boot.statistic(
            ~np.isnan(y), [chosen, yes, chosen * yes], lambda *sums: np.stack(sums)
        )
        return _of_sums(selected, positives, both)

    then, now = draws(before), draws(after)
    return {name: interval(now[name] - then[name]) for name in COSTS}


def gates_of(outcome: Outcome) -> list[GateResult]:
    """Every gate of a run."""
    return [gate for judged in outcome.fairness.values() for gate in judged.gates]


def failed_gates(outcome: Outcome) -> list[str]:
    """The gates that fail the run, in words."""
    return [str(gate) for gate in gates_of(outcome) if gate.fails_the_run]
