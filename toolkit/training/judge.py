"""Judging fitted models: calibrate, cut and choose on validation rows; then measure on the test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from toolkit.config.schema import Config
from toolkit.evaluation import metrics
from toolkit.evaluation.bootstrap import Draws, EntityBootstrap, interval
from toolkit.evaluation.curves import auc_error
from toolkit.evaluation.gains import Z
from toolkit.modalities import Modalities
from toolkit.models.interface import Task
from toolkit.prepare.matrix import Matrix
from toolkit.training.calibration import Calibration, Calibrator, fit_calibrator
from toolkit.training.coherence import cohere
from toolkit.training.crossfit import FOLDS, held_out, obstacle
from toolkit.training.outcome import HEADLINE, Candidate, Outcome, Scores
from toolkit.training.threshold import Threshold, choose, decide, decide_among

Progress = Callable[[str, float], None]
MOST_GROUPS = 200
CROSS_FITTED, NOTHING = f"cross-fitted on {FOLDS} folds of entities", "nothing is fitted on it"


@dataclass(frozen=True)
class Held:
    """The rows that models are judged on: validation rows, then test rows.

    X: float32 [rows, columns]; modalities: what they have besides; lists: the list that each row belongs to [rows]; eligible: target → the
    rows that it applies to [rows]; fold: of the cross-fitting, [validation rows]; said: model → its scores of
    the rows, for each task, once it has been asked: ensembles are made of them.
    """

    X: np.ndarray
    modalities: Modalities
    lists: np.ndarray
    eligible: Mapping[str, np.ndarray]
    fold: np.ndarray
    said: dict[str, Sequence[np.ndarray]] = field(default_factory=dict)


def sizes(config: Config) -> list[int | float]:
    """Sizes of lists at which precision and lift are given: shares and counts."""
    return [
        float(text.rstrip("%")) / 100 if text.endswith("%") else int(text) for text in config.evaluation.at
    ]


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
            _figures(config, task, y, scores, slice(0, n), has), basis,
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
    threshold = choose(wanted, y, score, held.lists[rows])
    # part by part: a capacity is filled in each list of each part
    able, n = held.eligible[task.name], len(held.fold)
    decision = np.concatenate(
        [
            decide_among(threshold, raw[part], held.lists[part], able[part])
            for part in (slice(0, n), slice(n, None))
        ]
    )
    if not threshold.by_rank and not reason:
        decision[rows] = held_out(lambda y, score: partial(decide, choose(wanted, y, score)), y, score, fold)
    return calibrator, threshold, Scores(raw, probability, decision), basis


def choose_models(config: Config, outcome: Outcome) -> None:
    """Mark, per target, the declared model that validation prefers; baselines are not chosen."""
    for task in outcome.tasks:
        metric = config.evaluation.select_by if task.type == "binary" else HEADLINE[task.type]
        sign = -1.0 if metric in metrics.LOWER_IS_BETTER else 1.0
        able = [candidate for candidate in outcome.of(task.name) if candidate.model in config.model]
        best = max(able, key=lambda c: np.nan_to_num(sign * c.validation.get(metric, np.nan), nan=-np.inf))
        best.chosen = True


def make_coherent(config: Config, outcome: Outcome, eligible: Mapping[str, np.ndarray]) -> None:
    """Project the chosen models' probabilities of nested targets on the declared order; nest their decisions."""
    for chain in config.coherent:
        chosen = {target: outcome.scores[(outcome.chosen(target).model, target)] for target in chain}
        probability = {target: scores.probability for target, scores in chosen.items()}
        decision = {target: scores.decision for target, scores in chosen.items()}
        probability, decision, share = cohere(chain, probability, decision, eligible)
        outcome.coherence[" <= ".join(chain)] = share
        for target, scores in chosen.items():
            scores.probability, scores.decision = probability[target], decision[target]


# --- on test rows -----------------------------------------------------------------------------------


def judge_test(config: Config, outcome: Outcome, matrix: Matrix, progress: Progress) -> None:
    """Metrics on the test rows with intervals by entity bootstrap; margins over the rule; groups."""
    test = slice(outcome.n_valid, None)
    rows = outcome.rows[test]
    replicates = config.evaluation.bootstrap
    boot = EntityBootstrap(matrix.entity[rows], replicates, config.seed) if replicates else None
    by = {"cutoff": lists_of(matrix, rows)} | {
        s: _segment(matrix, s, rows) for s in config.evaluation.segments
    }
    for index, task in enumerate(outcome.tasks):
        y, headline = outcome.y[test, index], HEADLINE[task.type]
        has = ~np.isnan(y)
        draws: dict[str, Draws] = {}
        for candidate in outcome.of(task.name):
            share = index / len(outcome.tasks)
            progress(f"evaluating on the test rows: {candidate.model} on {task.name}", share)
            scores = outcome.scores[(candidate.model, task.name)]
            candidate.test = _figures(config, task, y, scores, test, has)
            if task.type != "regression":
                before = metrics.calibration_metrics(task.type, y[has], scores.score[test][has])
                candidate.uncalibrated["test"] = before
            candidate.undefined = metrics.undefined(task.type, y[has], candidate.test)
            if boot is not None and has.any():
                draws[candidate.model] = _draws(config, boot, task, y, scores, test, has)
                candidate.intervals = {name: interval(d) for name, d in draws[candidate.model].items()}
                candidate.beats_chance = _beats_chance(
                    task, candidate, y, scores.score[test], matrix.entity[rows]
                )
            if candidate.chosen:
                candidate.groups = _groups(config, boot, task, y, scores, test, has, by)
        for candidate in outcome.of(task.name):
            if "rule" in draws and candidate.model != "rule":
                low, high = interval(draws[candidate.model][headline] - draws["rule"][headline])
                rule = next(other for other in outcome.of(task.name) if other.model == "rule")
                candidate.margin = (candidate.test[headline] - rule.test[headline], low, high)


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


def _figures(
    config: Config, task: Task, y: np.ndarray, scores: Scores, part: slice, rows: np.ndarray
) -> dict[str, float]:
    """Every metric on some rows (a mask) of a part of the split."""
    score, probability, decision = (column[rows] for column in scores.part(part))
    return metrics.evaluate(task.type, y[rows], score, probability, decision, sizes(config))


def _draws(
    config: Config, boot: EntityBootstrap, task: Task, y: np.ndarray, scores: Scores, part: slice, rows: np.ndarray
) -> Draws:  # fmt: skip
    """The same metrics in every replicate."""
    score, probability, decision = scores.part(part)
    clean = np.where(np.isnan(y), 0, y)
    if task.type == "binary":
        return boot.binary(clean, score, probability, decision, sizes(config), rows=rows)
    if task.type == "multiclass":
        return boot.multiclass(clean, score, probability, decision, rows=rows)
    return boot.regression(clean, score, rows=rows)


def _groups(
    config: Config, boot: EntityBootstrap | None, task: Task, y: np.ndarray, scores: Scores, part: slice,
    has: np.ndarray, by: Mapping[str, np.ndarray],
) -> list[dict[str, Any]]:  # fmt: skip
    """The headline metric and the base rate per cutoff and per declared segment; small groups withheld."""
    headline, least, found = HEADLINE[task.type], config.evaluation.smallest_group, []
    for name, values in by.items():
        if (several := len(np.unique(values[has]))) > MOST_GROUPS:
            found.append({"by": name, "withheld": f"{several} values; a segment has at most {MOST_GROUPS}"})
            continue
        for value in np.unique(values[has]):
            rows = has & (values == value)
            entry: dict[str, Any] = {"by": name, "group": str(value), "rows": int(rows.sum())}
            if entry["rows"] < least:
                found.append(entry | {"withheld": f"fewer than {least} rows"})
                continue
            entry |= {
                headline: _figures(config, task, y, scores, part, rows)[headline],
            }
            if task.type == "multiclass":
                counts = np.bincount(y[rows].astype(int), minlength=len(task.classes))
                entry["shares"] = dict(zip(task.classes, (counts / counts.sum()).tolist(), strict=True))
            else:
                entry["mean"] = float(y[rows].mean())
            if boot is not None:
                entry["interval"] = interval(_draws(config, boot, task, y, scores, part, rows)[headline])
            found.append(entry)
    return found


def _segment(matrix: Matrix, name: str, rows: np.ndarray) -> np.ndarray:
    """An attribute's value of each row as text."""
    column = matrix.columns[name]
    if isinstance(column, pd.Categorical):
        names = np.array([*map(str, column.categories), "missing"], dtype=object)
        return names[column.codes[rows]].astype(str)
    values, codes = np.unique(column[rows], return_inverse=True)
    return np.array(["missing" if np.isnan(value) else f"{value:.9g}" for value in values])[codes]
