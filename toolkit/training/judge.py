"""Judging fitted models: calibrate, cut and choose on validation rows; then measure on the test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from toolkit.config.schema import Config
from toolkit.evaluation import metrics, tiers
from toolkit.evaluation.bootstrap import Draws, EntityBootstrap, difference, interval
from toolkit.evaluation.curves import auc_error, confusion, per_class
from toolkit.evaluation.gains import Z
from toolkit.evaluation.lists import AtSize, Lists
from toolkit.evaluation.ties import places
from toolkit.modalities import Modalities
from toolkit.models.ensemble import Ensemble
from toolkit.models.interface import Task
from toolkit.prepare.matrix import Matrix
from toolkit.training import fairness
from toolkit.training.calibration import Calibration, Calibrator, fit_calibrator
from toolkit.training.coherence import cohere
from toolkit.training.crossfit import FOLDS, held_out, obstacle
from toolkit.training.figures import measured, resampled
from toolkit.training.groups import acquainted, by_acquaintance, by_group, segment
from toolkit.training.outcome import HEADLINE, Candidate, Outcome, Scores
from toolkit.training.threshold import Threshold, choose, decide, decide_among

Progress = Callable[[str, float], None]
COMPARED = ("accuracy", "macro_f1", "log_loss")  # of several classes: an ensemble against each single model
CROSS_FITTED, NOTHING = f"cross-fitted on {FOLDS} folds of entities", "nothing is fitted on it"


@dataclass(frozen=True)
class Held:
    """The rows that models are judged on: validation rows, then test rows.

    X: float32 [rows, columns]; modalities: what they have besides; lists: the list that each row belongs to
    [rows]; place: of `ties.places` [rows]; eligible: target → the rows that it applies to [rows]; fold: of the
    cross-fitting, [validation rows]; said: model → its scores of the rows, for each task, once it has been
    asked: ensembles are made of them.
    """

    X: np.ndarray
    modalities: Modalities
    lists: np.ndarray
    place: np.ndarray
    eligible: Mapping[str, np.ndarray]
    fold: np.ndarray
    said: dict[str, Sequence[np.ndarray]] = field(default_factory=dict)


def units(config: Config, target: str) -> Callable[[np.ndarray], np.ndarray]:
    """From what a model learns to what people read: a target fitted as ln(1 + value) is reported as the value."""
    logged = getattr(config.target[target], "transform", "none") == "log1p"
    return np.expm1 if logged else lambda values: values


def lists_of(matrix: Matrix, rows: np.ndarray) -> np.ndarray:
    """The list that each row belongs to: its cutoff, as text [rows]."""
    codes, moments = pd.factorize(matrix.cutoff[rows], use_na_sentinel=False)
    return np.asarray(moments).astype("datetime64[s]").astype(str)[codes]


# --- on validation rows -----------------------------------------------------------------------------


def judge_validation(config: Config, outcome: Outcome, name: str, seconds: float, held: Held) -> None:
    """Add a fitted model's candidates: calibrated and cut on validation rows, applied to all of `held`.

    What calibrator and threshold do for the validation rows themselves is cross-fitted, so that all
    validation figures are of rows that they have not seen.
    """
    fitted, n = outcome.fitted[name], outcome.n_valid
    if name not in held.said:
        held.said[name] = fitted.predict(held.X, held.modalities)
    for index, (task, raw) in enumerate(zip(outcome.tasks, held.said[name], strict=True)):
        raw = units(config, task.name)(raw)
        y = outcome.y[:n, index]
        has = ~np.isnan(y)
        calibrator, threshold, scores, basis = _calibrate_and_cut(config, task, raw, y, held)
        if getattr(fitted, "weighed", False) and basis != CROSS_FITTED:
            basis = CROSS_FITTED if basis == NOTHING else f"{basis}; weights {CROSS_FITTED}"
        candidate = Candidate(
            name, task.name, seconds, list(fitted.notes[index]), calibrator, threshold,
            measured(config, task, y, scores, slice(0, n), has), basis,
        )  # fmt: skip
        if task.type != "regression":
            before = metrics.calibration_metrics(task.type, y[has], raw[:n][has])
            candidate.uncalibrated["validation"] = before
        outcome.candidates.append(candidate)
        outcome.scores[(name, task.name)] = scores


def _calibrate_and_cut(
    config: Config, task: Task, raw: np.ndarray, y: np.ndarray, held: Held
) -> tuple[Calibrator, Threshold | None, Scores, str]:
    """Calibrator and threshold fitted on the validation rows that have a label, what they make of all rows,
    and how the validation rows' part of that came about.

    raw: score [rows] or [rows, classes]; y: labels [validation rows], NaN where there is none.
    """
    rows = np.flatnonzero(~np.isnan(y))
    y, score, fold = y[rows], raw[rows], held.fold[rows]
    is_probability = task.type != "regression"  # what models promise of their scores
    calibrator = fit_calibrator(config.calibration, task.type, y, score, is_probability)
    probability = calibrator.apply(raw)
    if task.type == "regression":
        return calibrator, None, Scores(raw, probability, np.zeros(len(raw), bool)), NOTHING
    reason = obstacle(fold, y, classes=task.type == "binary")
    basis = f"in-sample: {reason}" if reason else CROSS_FITTED
    if calibrator.method != "identity" and not reason:
        same = config.calibration  # but not `auto` anew, whose choice depends on the number of rows
        if calibrator.method != "temperature":
            same = Calibration(method=calibrator.method)
        probability[rows] = held_out(
            lambda y, score: fit_calibrator(same, task.type, y, score, is_probability).apply, y, score, fold
        )
    if task.type == "multiclass":
        return calibrator, None, Scores(raw, probability, probability.argmax(axis=1)), basis

    wanted = config.target[task.name].threshold or config.threshold
    threshold = choose(wanted, y, score, held.lists[rows], held.place[rows])
    # part by part: a capacity is filled in each list of each part
    able, n = held.eligible[task.name], len(held.fold)
    decision = np.concatenate(
        [
            decide_among(threshold, raw[part], held.lists[part], held.place[part], able[part])
            for part in (slice(0, n), slice(n, None))
        ]
    )
    if not threshold.by_rank and not reason:
        decision[rows] = held_out(lambda y, score: partial(decide, choose(wanted, y, score)), y, score, fold)
    return calibrator, threshold, Scores(raw, probability, decision), basis


def choose_models(config: Config, outcome: Outcome) -> None:
    """Mark, per target, the declared model that validation prefers; baselines are not chosen."""
    for task in outcome.tasks:
        wanted = {"binary": config.evaluation.select_by, "multiclass": config.evaluation.select_classes_by}
        metric = wanted.get(task.type, HEADLINE[task.type])
        sign = -1.0 if metric in metrics.LOWER_IS_BETTER else 1.0
        able = [candidate for candidate in outcome.of(task.name) if candidate.model in config.model]
        best = max(able, key=lambda c: np.nan_to_num(sign * c.validation.get(metric, np.nan), nan=-np.inf))
        best.chosen = True


def make_coherent(config: Config, outcome: Outcome, eligible: Mapping[str, np.ndarray]) -> None:
    """Project the chosen models' probabilities of nested targets on the declared order; nest their decisions.

    Their validation figures are taken anew: those of other models, which nothing corrects, stay. The decisions of one threshold for all, too: what thresholds by group cost is the difference from them.
    """
    for chain in config.coherent:
        chosen = {target: outcome.scores[(outcome.chosen(target).model, target)] for target in chain}
        probability = {target: scores.probability for target, scores in chosen.items()}
        decision = {target: scores.decision for target, scores in chosen.items()}
        if outcome.common:
            outcome.common |= cohere(chain, probability, outcome.common, eligible)[1]
        probability, decision, corrected = cohere(chain, probability, decision, eligible)
        outcome.coherence[" <= ".join(chain)] = corrected
        for target, scores in chosen.items():
            scores.probability, scores.decision = probability[target], decision[target]
            index = next(i for i, task in enumerate(outcome.tasks) if task.name == target)
            y = outcome.y[: outcome.n_valid, index]
            outcome.chosen(target).validation = measured(
                config, outcome.tasks[index], y, scores, slice(0, outcome.n_valid), ~np.isnan(y)
            )


# --- on test rows -----------------------------------------------------------------------------------


def judge_test(config: Config, outcome: Outcome, matrix: Matrix, progress: Progress) -> None:
    """Metrics on the test rows with intervals by entity bootstrap; margins over the rule; groups; lists."""
    test = slice(outcome.n_valid, None)
    rows = outcome.rows[test]
    replicates, drawn = config.evaluation.bootstrap, matrix.drawn[rows]
    boot = EntityBootstrap(drawn, replicates, config.seed) if replicates else None
    by = {"cutoff": lists_of(matrix, rows)} | {
        s: segment(matrix, s, rows) for s in config.evaluation.segments
    }
    met = acquainted(outcome, matrix, rows)
    place = places(matrix.entity[rows])
    for index, task in enumerate(outcome.tasks):
        y, headline = outcome.y[test, index], HEADLINE[task.type]
        has = ~np.isnan(y)
        draws: dict[str, Draws] = {}
        for candidate in outcome.of(task.name):
            share = index / len(outcome.tasks)
            progress(f"evaluating on the test rows: {candidate.model} on {task.name}", share)
            scores = outcome.scores[(candidate.model, task.name)]
            candidate.test = measured(config, task, y, scores, test, has)
            if task.type != "regression":
                before = metrics.calibration_metrics(task.type, y[has], scores.score[test][has])
                candidate.uncalibrated["test"] = before
            candidate.undefined = metrics.undefined(task.type, y[has], candidate.test)
            if boot is not None and has.any():
                draws[candidate.model] = resampled(config, boot, task, y, scores, test, has)
                candidate.intervals = {name: interval(d) for name, d in draws[candidate.model].items()}
                candidate.beats_chance = _beats_chance(task, candidate, y, scores.score[test], drawn)
            if task.type == "multiclass":
                candidate.per_class = _per_class(boot, task, y, scores, test, has)
            if candidate.chosen:
                candidate.groups = by_group(config, boot, task, y, scores, test, has, by)
                candidate.groups += by_acquaintance(config, boot, task, y, scores, test, has, met, place)
        chosen = outcome.chosen(task.name)
        for candidate in outcome.of(task.name):
            if "rule" in draws and candidate.model != "rule":
                rule = next(other for other in outcome.of(task.name) if other.model == "rule")
                candidate.margin = _over(headline, candidate, rule, draws)
            members = getattr(outcome.fitted[candidate.model], "members", ()) if draws else ()
            by_name = {other.model: other for other in outcome.of(task.name)}
            for member in members:
                candidate.over_members[member.name] = _over(headline, candidate, by_name[member.name], draws)
            if members and task.type == "multiclass":
                alone = [
                    by_name[n]
                    for n, one in config.model.items()
                    if n in draws and not isinstance(one, Ensemble)
                ]
                candidate.over_models = {
                    metric: {other.model: _over(metric, candidate, other, draws) for other in alone}
                    for metric in COMPARED
                }
            if candidate is not chosen and {chosen.model, candidate.model} <= draws.keys():
                candidate.behind = _over(headline, chosen, candidate, draws)
        if wanted := config.listing.tiers_for(task.name, task.type):
            probability = outcome.scores[(chosen.model, task.name)].probability[test]
            outcome.tiers[task.name] = tiers.judge(y, probability, wanted, drawn, boot)
        if (judged := fairness.judge(config, outcome, index, matrix, boot)) is not None:
            outcome.fairness[task.name] = judged
        if task.type == "binary":
            _judge_lists(config, outcome, task, Lists.of(y, by["cutoff"], place, boot))


def _per_class(
    boot: EntityBootstrap | None, task: Task, y: np.ndarray, scores: Scores, part: slice, has: np.ndarray
) -> list[dict[str, Any]]:
    """Of each class `curves.per_class`, and the intervals of precision, recall and F1."""
    decision, classes = scores.decision[part], len(task.classes)
    table = confusion(y[has], decision[has], classes)
    found = per_class(table, task.classes, y[has], scores.score[part][has])
    if boot is None or not has.any():
        return found
    draws = boot.per_class(np.where(has, y, 0), decision, classes, rows=has)
    return [
        line | {f"{name}_95": interval(each[place]) for name, each in draws.items()}
        for place, line in enumerate(found)
    ]


def _over(
    metric: str, one: Candidate, other: Candidate, draws: Mapping[str, Draws]
) -> tuple[float, float, float]:
    """A metric of one model less that of another, with the interval of the paired difference."""
    low, high = interval(difference(metric, draws[one.model], draws[other.model]))
    return one.test[metric] - other.test[metric], low, high


def _judge_lists(config: Config, outcome: Outcome, task: Task, lists: Lists) -> None:
    """What every model's lists would have brought at each cutoff of the test. The naive baseline has no order."""
    sizes, test = config.evaluation.per_list, slice(outcome.n_valid, None)
    outcome.lists[task.name] = lists.facts()
    ruled: tuple[list[AtSize], np.ndarray] | None = None
    for candidate in sorted(outcome.of(task.name), key=lambda c: c.model != "rule"):
        if candidate.model == "prior":
            continue
        score = outcome.scores[(candidate.model, task.name)].score[test]
        found, draws = lists.judge(score, sizes)
        candidate.steadiness = lists.steadiness(score, sizes)
        if candidate.model == "rule":
            ruled = found, draws
        elif ruled is not None:
            found = [
                replace(at, over_rule=(at.precision - rule.precision, *interval(mine - its)))
                for at, rule, mine, its in zip(found, ruled[0], draws, ruled[1], strict=True)
            ]
        candidate.per_list = found


def _beats_chance(
    task: Task, candidate: Candidate, y: np.ndarray, score: np.ndarray, entity: np.ndarray
) -> bool | None:
    """Whether the headline metric of a candidate with intervals is above chance; None if it is not defined."""
    metric = HEADLINE[task.type]
    least, has = candidate.intervals[metric][0], ~np.isnan(y)
    if task.type == "binary":
        error = auc_error(y[has] == 1, score[has], entity[has])
        least = least if np.isnan(error) else candidate.test[metric] - Z * error
    return None if np.isnan(least) else bool(least > metrics.CHANCE[metric])
