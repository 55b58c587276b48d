"""Judging fitted models: calibrate, cut and choose on validation rows; then measure on the test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from toolkit.config.schema import Config
from toolkit.evaluation import metrics
from toolkit.evaluation.bootstrap import Draws, EntityBootstrap, interval
from toolkit.models.interface import Fitted, Task
from toolkit.prepare.matrix import Matrix
from toolkit.training.calibration import fit_calibrator
from toolkit.training.coherence import corrected_share, nested, project
from toolkit.training.outcome import HEADLINE, Candidate, Outcome, Scores
from toolkit.training.threshold import Threshold, choose, decide_among

MOST_GROUPS = 200
LOWER_IS_BETTER = {"log_loss", "rmse", "mae", "brier"}


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


def judge_validation(
    config: Config, outcome: Outcome, name: str, fitted: Fitted, X_eval: np.ndarray, lists: np.ndarray,
    eligible: Mapping[str, np.ndarray],
) -> None:  # fmt: skip
    """Add a model's candidates: calibrated and cut on validation rows, applied to all of X_eval.

    X_eval: validation then test rows [rows, columns]; lists: the list each of them belongs to [rows];
    eligible: target → the rows that it applies to [rows].
    """
    n = outcome.n_valid
    for index, (task, raw) in enumerate(zip(outcome.tasks, fitted.predict(X_eval), strict=True)):
        y = outcome.y[:n, index]
        has = ~np.isnan(y)
        raw = units(config, task.name)(raw)
        calibrator = fit_calibrator(
            config.calibration, task.type, y[has], raw[:n][has], score_is_probability=task.type != "regression"
        )  # fmt: skip
        probability = calibrator.apply(raw)
        threshold: Threshold | None = None
        if task.type == "binary":
            wanted = config.target[task.name].threshold or config.threshold
            threshold = choose(wanted, y[has], raw[:n][has], lists[:n][has])
            # part by part: a capacity is filled in each list of each part
            able = eligible[task.name]
            decision = np.concatenate(
                [
                    decide_among(threshold, raw[part], lists[part], able[part])
                    for part in (slice(0, n), slice(n, None))
                ]
            )
        else:
            decision = probability.argmax(axis=1) if task.type == "multiclass" else np.zeros(len(raw), bool)
        scores = Scores(raw, probability, decision)
        figures = _figures(config, task, y, scores, slice(0, n), has)
        outcome.candidates.append(
            Candidate(name, task.name, 0.0, list(fitted.notes[index]), calibrator, threshold, figures)
        )
        outcome.scores[(name, task.name)] = scores


def choose_models(config: Config, outcome: Outcome) -> None:
    """Mark, per target, the declared model that validation prefers; baselines are not chosen."""
    for task in outcome.tasks:
        metric = config.evaluation.select_by if task.type == "binary" else HEADLINE[task.type]
        sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
        able = [candidate for candidate in outcome.of(task.name) if candidate.model in config.model]
        best = max(able, key=lambda c: np.nan_to_num(sign * c.validation.get(metric, np.nan), nan=-np.inf))
        best.chosen = True


def make_coherent(config: Config, outcome: Outcome, eligible: Mapping[str, np.ndarray]) -> None:
    """Project the chosen models' probabilities of nested targets on the declared order; nest their decisions."""
    for chain in config.coherent:
        chosen = [outcome.scores[(outcome.chosen(target).model, target)] for target in chain]
        before = np.column_stack([scores.probability for scores in chosen])
        after = project(before)
        decisions = nested(np.column_stack([scores.decision for scores in chosen]))
        outcome.coherence[" <= ".join(chain)] = corrected_share(before, after)
        for index, scores in enumerate(chosen):
            scores.probability = after[:, index]
            scores.decision = decisions[:, index] & eligible[chain[index]]


# --- on test rows -----------------------------------------------------------------------------------


def judge_test(config: Config, outcome: Outcome, matrix: Matrix) -> None:
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
            scores = outcome.scores[(candidate.model, task.name)]
            candidate.test = _figures(config, task, y, scores, test, has)
            candidate.undefined = metrics.undefined(task.type, y[has], candidate.test)
            if boot is not None and has.any():
                draws[candidate.model] = _draws(config, boot, task, y, scores, test, has)
                candidate.intervals = {name: interval(d) for name, d in draws[candidate.model].items()}
            if candidate.chosen:
                candidate.groups = _groups(config, boot, task, y, scores, test, has, by)
        for candidate in outcome.of(task.name):
            if "rule" in draws and candidate.model != "rule":
                low, high = interval(draws[candidate.model][headline] - draws["rule"][headline])
                rule = next(other for other in outcome.of(task.name) if other.model == "rule")
                candidate.margin = (candidate.test[headline] - rule.test[headline], low, high)


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
    return np.array(["missing" if np.isnan(value) else f"{value:g}" for value in values])[codes]
