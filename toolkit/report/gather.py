"""From a run to the evidence that its report shows: `gather` reads, measures and chooses nothing.

    explained = explain(config, prepared, outcome)
    evidence = gather(config, prepared, outcome, explained, facts=…, metrics=…, resolved=…, lists=…, environment=…)

The test's labels are those in `outcome.y`; the door is not opened again. What looks at rows that a model
or a threshold was chosen on says so in `evidence.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.config.schema import Config
from toolkit.evaluation import curves, overlap
from toolkit.evaluation.curves import Cut
from toolkit.evaluation.gains import Decile, Gains, Resample, ranked
from toolkit.evaluation.metrics import Floats
from toolkit.models.interface import Task
from toolkit.prepared import Prepared
from toolkit.report.evidence import (
    Calibration,
    Evidence,
    Extracted,
    ListLine,
    ModelLine,
    NextList,
    Overlap,
    PastLists,
    Target,
    Tuned,
)
from toolkit.report.explain import Explained
from toolkit.report.gather_data import data_of, model_card
from toolkit.report.listed import Listed, days_of, latest, listed, places_among
from toolkit.report.lists import file_name
from toolkit.report.queue import waiting
from toolkit.report.verdict import known_margin, size, verdict
from toolkit.runfolder import plain
from toolkit.training.outcome import HEADLINE, Candidate, Outcome, Scores


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
    next_lists: Mapping[str, NextList] | None = None,
    tables: Mapping[str, bytes] | None = None,
    extracted: Extracted | None = None,
) -> Evidence:
    """All that a report says of the newest split.

    explained: of `explain`; facts, metrics, environment: of `record`, as the run writes them; resolved: the
    configuration as YAML without secrets; lists: file name → the CSV as written; next_lists: target → the
    list for the newest moment; tables: further CSV files; extracted: entities.
    """
    sight = _Sight(config, prepared, outcome, places_among(prepared.matrix, outcome))
    targets = [
        replace(
            _target(sight, index, explained.get(task.name, Explained([], "", [])), lists),
            next_list=(next_lists or {}).get(task.name),
        )
        for index, task in enumerate(outcome.tasks)
    ]
    columns = {column.name for column in outcome.encoder.columns}  # events and relations are none
    strongest = {
        target.name: [driver.feature for driver in target.drivers if driver.feature in columns]
        for target in targets
    }
    return Evidence(
        name=facts["name"], description=facts["description"], written=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=dict(metrics["seconds"]), targets=targets, overlap=_overlap(sight),
        data=data_of(config, prepared, outcome, strongest), card=model_card(config, prepared, outcome, environment),
        config=resolved, metrics=plain(dict(metrics)), lists=dict(lists), backtest=list(facts["backtest"]),
        coherence=dict(outcome.coherence), remarks=list(outcome.remarks), tuned=list(tuned), tables=dict(tables or {}),
        extracted=extracted,
    )  # fmt: skip


@dataclass(frozen=True)
class _Sight:
    """What all targets are measured with: key: each test row's place among rows that tie, of `ties.places`."""

    config: Config
    prepared: Prepared
    outcome: Outcome
    key: NDArray[np.intp]

    @property
    def n(self) -> int:
        return self.outcome.n_valid


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
    if task.type == "binary":
        deciles, gains = _ranked(sight, task, entries, size(sight.config, entries, chosen)[0])
    elif task.type == "multiclass":
        table = curves.confusion(y[has], scores.decision[sight.n :][has], len(task.classes))
        classes = chosen.per_class
    else:
        missed = curves.residuals(y[has], scores.score[sight.n :][has])
    name, zone = f"{file_name(task.name)}.csv", sight.config.cohort.timezone
    return Target(
        name=task.name, type=task.type, description=compiled.node.description,
        horizon=str(getattr(compiled.node, "horizon", "")), classes=task.classes, base_rates=outcome.base_rates[task.name],
        state=outcome.states[task.name].to_dict(), headline=HEADLINE[task.type],
        models=[_line(sight.config, task, candidate) for candidate in outcome.of(task.name)],
        verdict=verdict(sight.config, outcome, index, sight.key, entries, gains), deciles=deciles, gains=gains,
        calibration=_calibration(task, chosen, scores, y, sight.n), cut=_cut(sight, index, chosen, scores),
        groups=[_reasoned(_dated(group, zone), task) for group in chosen.groups], drivers=explained.drivers,
        explained_by=explained.explained_by, examples=explained.examples, confusion=table, per_class=classes,
        residuals=missed, list_file=name if name in lists else "", listed=len(entries.rows),
        lists=_past_lists(sight.config, outcome, task), tiers=outcome.tiers.get(task.name, []),
        fairness=outcome.fairness.get(task.name), review=waiting(sight.config, sight.prepared, outcome, task),
    )  # fmt: skip


def _ranked(sight: _Sight, task: Task, entries: Listed, depth: int) -> tuple[list[Decile], Gains | None]:
    """The newest list's tenths and gains, by the order in which it is written."""
    rows, rule = entries.rows, sight.outcome.scores.get(("rule", task.name))
    worth = sight.prepared.matrix.worth.get(task.name)
    drawn = np.unique(sight.prepared.matrix.drawn[sight.outcome.rows[sight.n :]][rows], return_inverse=True)[
        1
    ]
    resample = Resample(drawn, sight.config.evaluation.bootstrap, sight.config.seed)
    return ranked(
        entries.y, entries.strength, sight.key[rows], resample, rule.score[sight.n :][rows] if rule else None,
        None if worth is None else worth[sight.outcome.rows[sight.n :][rows]], [depth], entries.probability,
    )  # fmt: skip


def _line(config: Config, task: Task, candidate: Candidate) -> ModelLine:
    return ModelLine(
        model=candidate.model, chosen=candidate.chosen, baseline=candidate.model not in config.model,
        validation=_known(candidate.validation.get(HEADLINE[task.type])), test=candidate.test,
        intervals={name: ends for name, ends in candidate.intervals.items() if not math.isnan(ends[0])},
        margin=known_margin(candidate), seconds=candidate.seconds, notes=list(candidate.notes),
        undefined=dict(candidate.undefined), over_members=dict(candidate.over_members),
        over_models=dict(candidate.over_models),
        behind=None if candidate.behind is None or np.isnan(candidate.behind).any() else candidate.behind,
    )  # fmt: skip


def _past_lists(config: Config, outcome: Outcome, task: Task) -> PastLists | None:
    """What each list of the test would have brought; None where there are fewer than two, or no sizes."""
    facts = outcome.lists.get(task.name, [])
    lines = [
        ListLine(c.model, c.chosen, c.model not in config.model, c.per_list, c.steadiness)
        for c in outcome.of(task.name)
        if c.per_list
    ]
    if len(facts) < 2 or not lines:
        return None
    moments = np.array([fact["cutoff"] for fact in facts], "datetime64[s]")
    rows, positives, rates = ([fact[key] for fact in facts] for key in ("rows", "positives", "base_rate"))
    return PastLists(days_of(moments, config.cohort.timezone), rows, positives, rates, lines)


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


# --- calibration, threshold, groups -----------------------------------------------------------------


def _calibration(task: Task, chosen: Candidate, scores: Scores, y: Floats, n: int) -> Calibration | None:
    """On labelled test rows: of a yes-or-no target's probability, or of the decided class's."""
    has = ~np.isnan(y)
    if task.type == "regression" or not has.any():
        return None
    raw, after, decision = (part[has] for part in scores.part(slice(n, None)))
    truth = y[has]
    if task.type == "multiclass":
        rows = np.arange(len(truth))
        truth, raw, after = (decision == truth).astype(float), raw[rows, decision], after[rows, decision]
    before = chosen.uncalibrated["test"]
    return Calibration(
        chosen.calibrator.method, chosen.calibrator.reason, curves.reliability(truth, raw),
        curves.reliability(truth, after), dict(before), {name: chosen.test[name] for name in before},
    )  # fmt: skip


def _cut(sight: _Sight, index: int, chosen: Candidate, scores: Scores) -> Cut | None:
    y = sight.outcome.y[: sight.n, index]
    has = ~np.isnan(y)
    if chosen.threshold is None or not has.any():
        return None
    at, coherent = chosen.threshold.value, {name for chain in sight.config.coherent for name in chain}
    sure = (
        math.isfinite(at) and sight.outcome.tasks[index].name not in coherent
    )  # there a row's depends on others
    probability = float(chosen.calibrator.apply([at])[0]) if sure else None
    return curves.cut(y[has], scores.score[: sight.n][has], at, chosen.threshold.reason, probability)


def _dated(group: Mapping[str, Any], zone: str) -> Mapping[str, Any]:
    """The group of a cutoff is called by its day, as the zone's calendar shows it."""
    if group["by"] != "cutoff" or "group" not in group:
        return group
    [day] = days_of(np.array([group["group"]], "datetime64[s]"), zone)
    return {**group, "group": day}


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


def _overlap(sight: _Sight) -> Overlap | None:
    """On the newest list: of each target, the rows that it applies to."""
    outcome, matrix, n = sight.outcome, sight.prepared.matrix, sight.n
    able = [index for index, task in enumerate(outcome.tasks) if task.type != "multiclass"]
    rows = np.flatnonzero(latest(matrix, outcome)) if n < len(outcome.rows) else np.zeros(0, np.intp)
    if len(able) < 2 or not len(rows):
        return None
    tasks = [outcome.tasks[index] for index in able]
    score, y = np.full((len(rows), len(able)), np.nan), np.full((len(rows), len(able)), np.nan)
    for t, (index, task) in enumerate(zip(able, tasks, strict=True)):
        applies = matrix.eligible[task.name][outcome.rows[n:][rows]]
        score[applies, t] = outcome.scores[(outcome.chosen(task.name).model, task.name)].score[n:][rows][
            applies
        ]
        if task.type == "binary":
            y[:, t] = outcome.y[n:, index][rows]
    return Overlap(
        [task.name for task in tasks], overlap.shared_positives(y), overlap.shared_top(score, sight.key[rows]),
        overlap.rank_correlation(score),
    )  # fmt: skip
