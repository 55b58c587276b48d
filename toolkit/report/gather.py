"""From a run to the evidence that its report shows: `gather` reads, measures and chooses nothing.

    explained = explain(config, prepared, outcome)
    evidence = gather(config, prepared, outcome, explained, facts=…, metrics=…, resolved=…, lists=…, environment=…)

The test's labels are those in `outcome.y`; the door is not opened again. What looks at rows that a model
or a threshold was chosen on says so in `evidence.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.config.schema import Config
from toolkit.evaluation import curves, overlap
from toolkit.evaluation.curves import Resample
from toolkit.evaluation.metrics import Floats, calibration_metrics
from toolkit.models.interface import Task
from toolkit.prepared import Prepared
from toolkit.report.evidence import (
    Calibration,
    Cut,
    Decile,
    Evidence,
    ModelLine,
    Overlap,
    Target,
    Tuned,
    Verdict,
)
from toolkit.report.explain import Explained
from toolkit.report.gather_data import data_of, model_card
from toolkit.report.listed import Listed, listed, order_of_keys
from toolkit.report.lists import file_name
from toolkit.runfolder import plain
from toolkit.training.outcome import HEADLINE, Candidate, Outcome, Scores

NAIVE = {"roc_auc": 0.5, "macro_auc": 0.5, "r2": 0.0}  # what the headline is when nothing is known


def gather(
    config: Config,
    prepared: Prepared,
    outcome: Outcome,
    explained: Mapping[str, Explained],
    *,
    facts: Mapping[str, Any],
    metrics: Mapping[str, Any],
    resolved: str,
    lists: Mapping[str, bytes],
    environment: Mapping[str, Any],
    tuned: Sequence[Tuned] = (),
) -> Evidence:
    """All that a report says of the newest split.

    explained: of `explain`; facts, metrics, environment: of `record`, as the run writes them; resolved: the
    configuration as YAML without secrets; lists: file name → the CSV as written.
    """
    sight = _Sight(config, prepared, outcome, order_of_keys(prepared.matrix, outcome))
    targets = [
        _target(sight, index, explained.get(task.name, Explained([], "", [])), lists)
        for index, task in enumerate(outcome.tasks)
    ]
    strongest = {target.name: [driver.feature for driver in target.drivers] for target in targets}
    return Evidence(
        name=facts["name"], description=facts["description"], written=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=dict(metrics["seconds"]), targets=targets, overlap=_overlap(outcome),
        data=data_of(config, prepared, outcome, strongest), card=model_card(config, prepared, outcome, environment),
        config=resolved, metrics=plain(dict(metrics)), lists=dict(lists), backtest=list(facts["backtest"]),
        coherence=dict(outcome.coherence), tuned=list(tuned),
    )  # fmt: skip


@dataclass(frozen=True)
class _Sight:
    """What all targets are measured with: key: each test row's key as a number in the order of text."""

    config: Config
    prepared: Prepared
    outcome: Outcome
    key: NDArray[np.intp]

    @property
    def n(self) -> int:
        return self.outcome.n_valid

    def resample(self, rows: NDArray[np.intp] | slice = slice(None)) -> Resample:
        return Resample(self.key[rows], self.config.evaluation.bootstrap, self.config.seed)

    def value(self, target: str) -> Floats | None:
        """What each test row brings in the horizon, where the target declares a worth [test rows]."""
        worth = getattr(self.prepared.matrix, "worth", {}).get(target)
        return None if worth is None else worth[self.outcome.rows[self.n :]]


def _target(sight: _Sight, index: int, explained: Explained, lists: Mapping[str, bytes]) -> Target:
    outcome, task = sight.outcome, sight.outcome.tasks[index]
    compiled = sight.prepared.compiled.targets[task.name]
    chosen = outcome.chosen(task.name)
    scores = outcome.scores[(chosen.model, task.name)]
    y = outcome.y[sight.n :, index]
    deciles: list[Decile] = []
    classes: list[dict[str, Any]] = []
    gains, table, missed = None, None, None
    has = ~np.isnan(y)
    entries = listed(sight.prepared.matrix, outcome, index, sight.key)
    verdict = _verdict(sight, index, chosen, entries)
    if task.type == "binary":
        rule = outcome.scores.get(("rule", task.name))
        deciles, gains = curves.ranked(
            y, scores.score[sight.n :], sight.key, sight.resample(), rule.score[sight.n :] if rule else None,
            sight.value(task.name), [verdict.size] if verdict else [],
        )  # fmt: skip
    elif task.type == "multiclass":
        table = curves.confusion(y[has], scores.decision[sight.n :][has], len(task.classes))
        classes = curves.per_class(table, task.classes, y[has], scores.score[sight.n :][has])
    else:
        missed = curves.residuals(y[has], scores.score[sight.n :][has])
    name = f"{file_name(task.name)}.csv"
    return Target(
        name=task.name, type=task.type, description=compiled.node.description,
        horizon=str(getattr(compiled.node, "horizon", "")), classes=task.classes, base_rates=outcome.base_rates[task.name],
        state=outcome.states[task.name].to_dict(), headline=HEADLINE[task.type],
        models=[_line(sight.config, task, candidate) for candidate in outcome.of(task.name)],
        verdict=verdict, deciles=deciles, gains=gains,
        calibration=_calibration(task, chosen, scores, y, sight.n), cut=_cut(sight, index, chosen, scores),
        groups=[_reasoned(group, task) for group in chosen.groups], drivers=explained.drivers,
        explained_by=explained.explained_by, examples=explained.examples, confusion=table, per_class=classes,
        residuals=missed, list_file=name if name in lists else "",
    )  # fmt: skip


def _line(config: Config, task: Task, candidate: Candidate) -> ModelLine:
    return ModelLine(
        model=candidate.model, chosen=candidate.chosen, baseline=candidate.model not in config.model,
        validation=_known(candidate.validation.get(HEADLINE[task.type])), test=candidate.test,
        intervals={name: ends for name, ends in candidate.intervals.items() if not math.isnan(ends[0])},
        margin=_known_margin(candidate), seconds=candidate.seconds, notes=list(candidate.notes),
    )  # fmt: skip


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _known_margin(candidate: Candidate) -> tuple[float, float, float] | None:
    margin = candidate.margin
    return None if margin is None or any(math.isnan(part) for part in margin) else margin


# --- the verdict ------------------------------------------------------------------------------------


def _verdict(sight: _Sight, index: int, chosen: Candidate, entries: Listed) -> Verdict | None:
    """None where no test row has a label."""
    outcome, task = sight.outcome, sight.outcome.tasks[index]
    if np.isnan(outcome.y[sight.n :, index]).all():
        return None
    metric = HEADLINE[task.type]
    ends = chosen.intervals.get(metric, (math.nan, math.nan))
    interval = None if math.isnan(ends[0]) else ends
    margin = _known_margin(chosen)
    rule = next((candidate for candidate in outcome.of(task.name) if candidate.model == "rule"), None)
    size, because, found, around, rows, positives = 0, "", 0, None, 0, 0
    if task.type == "binary":
        size, because = _size(sight, entries, chosen)
        rows, positives = int((~np.isnan(entries.y)).sum()), int((entries.y == 1).sum())
        found, around = curves.found_among(
            entries.y, entries.strength, sight.key[entries.rows], sight.resample(entries.rows), size
        )
    return Verdict(
        size=size, found=found, interval=around, at_random=size * positives / rows if rows else 0.0, metric=metric,
        value=chosen.test[metric], value_interval=interval, margin=margin,
        rule=rule.notes[0] if rule and rule.notes else "", better_than_rule=None if margin is None else margin[1] > 0,
        better_than_chance=None if interval is None else interval[0] > NAIVE[metric], because=because, rows=rows,
        positives=positives,
    )  # fmt: skip


def _size(sight: _Sight, entries: Listed, chosen: Candidate) -> tuple[int, str]:
    """How many of the newest list to speak of, and why so many. Test labels have no say in it.

    A declared capacity; else the length of the written list, if that leaves as many rows out; else the rows
    above the threshold, if they are no more than half; else a tenth.
    """
    rows = int((~np.isnan(entries.y)).sum())
    threshold, half = chosen.threshold, rows // 2
    acted = int((entries.decision[~np.isnan(entries.y)] == 1).sum())
    if threshold and (threshold.count or threshold.fraction):
        share = math.floor(rows * (threshold.fraction or 0) + 1e-9)
        return min(threshold.count or share, rows), "the capacity"
    if sight.config.evaluation.list_size <= half:
        return sight.config.evaluation.list_size, "the length of the ranked list"
    if 0 < acted <= half:
        return acted, "the rows above the threshold"
    return min(max(rows // 10, 1), rows), "a tenth of the rows"


# --- calibration, threshold, groups -----------------------------------------------------------------


def _calibration(task: Task, chosen: Candidate, scores: Scores, y: Floats, n: int) -> Calibration | None:
    """On labelled test rows: of a yes-or-no target's probability, or of the decided class's."""
    has = ~np.isnan(y)
    if task.type == "regression" or not has.any():
        return None
    raw, after, decision = (part[has] for part in scores.part(slice(n, None)))
    truth = y[has]
    sides = []
    for probability in (raw, after):
        figures = calibration_metrics(task.type, truth, probability)
        if task.type == "multiclass":
            rows = np.arange(len(truth))
            bins = curves.reliability((decision == truth).astype(float), probability[rows, decision])
        else:
            bins = curves.reliability(truth, probability)
        sides.append((bins, figures))
    (before, figures_before), (now, figures_after) = sides
    return Calibration(
        chosen.calibrator.method, chosen.calibrator.reason, before, now, figures_before, figures_after
    )


def _cut(sight: _Sight, index: int, chosen: Candidate, scores: Scores) -> Cut | None:
    y = sight.outcome.y[: sight.n, index]
    has = ~np.isnan(y)
    if chosen.threshold is None or not has.any():
        return None
    return curves.cut(y[has], scores.score[: sight.n][has], chosen.threshold.value, chosen.threshold.reason)


def _reasoned(group: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """A group whose headline metric cannot be told says why."""
    headline = HEADLINE[task.type]
    value = group.get(headline)
    if "withheld" in group or (value is not None and not math.isnan(value)):
        ends = group.get("interval")
        known = ends is None or not math.isnan(ends[0])
        return dict(group) if known else dict(group) | {"interval": None}
    if task.type == "binary":
        why = "no positive row" if not group.get("mean") else "no negative row"
    elif task.type == "multiclass":
        why = "only one class occurs"
    else:
        why = "the labels do not vary"
    return dict(group) | {headline: None, "interval": None, "undefined": why}


# --- several targets --------------------------------------------------------------------------------


def _overlap(outcome: Outcome) -> Overlap | None:
    able = [index for index, task in enumerate(outcome.tasks) if task.type != "multiclass"]
    if len(able) < 2 or outcome.n_valid == len(outcome.rows):
        return None
    names = [outcome.tasks[index].name for index in able]
    score = np.column_stack(
        [outcome.scores[(outcome.chosen(name).model, name)].score[outcome.n_valid :] for name in names]
    )
    y = outcome.y[outcome.n_valid :, able].astype(float)
    y[:, [outcome.tasks[index].type == "regression" for index in able]] = np.nan
    return Overlap(
        names, overlap.shared_positives(y), overlap.shared_top(score), overlap.rank_correlation(score)
    )
