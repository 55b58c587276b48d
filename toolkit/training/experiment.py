"""One split from labels to judged models: fit, calibrate, choose on validation, then look at the test once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from toolkit.config.measures import TargetNode
from toolkit.config.schema import Config
from toolkit.data.cache import Cache, code_digest
from toolkit.errors import DataError
from toolkit.evaluation import metrics
from toolkit.evaluation.bootstrap import Draws, EntityBootstrap, interval
from toolkit.evaluation.door import TestDoor
from toolkit.models import store
from toolkit.models.encode import Encoder
from toolkit.models.interface import Batch, Column, Fitted, Task
from toolkit.prepare import audit as audits
from toolkit.prepare.matrix import Compiled, Matrix
from toolkit.prepare.targets import LabelState, labels
from toolkit.registry import models
from toolkit.training.calibration import Calibrator, fit_calibrator
from toolkit.training.coherence import corrected_share, project
from toolkit.training.split import TEST, TRAIN, VALIDATION, Assignment
from toolkit.training.threshold import Threshold, choose, decide

BASELINES = ("prior", "rule")
HEADLINE = {"binary": "roc_auc", "multiclass": "macro_auc", "regression": "r2"}
LOWER_IS_BETTER = {"log_loss", "rmse", "mae", "brier"}
Progress = Callable[[str, float], None]


@dataclass
class Candidate:
    """One model on one target: how it was fitted, and how it did.

    validation, test: metric → value; intervals: metric → (low, high) on the test; margin: its headline
    metric minus the rule's, with the interval of the paired difference.
    """

    model: str
    target: str
    seconds: float
    notes: list[str]
    calibrator: Calibrator
    threshold: Threshold | None
    validation: dict[str, float]
    test: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)
    margin: tuple[float, float, float] | None = None
    chosen: bool = False
    groups: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Scores:
    """Of one model on one target, for validation then test rows: raw score, probability, decision."""

    score: np.ndarray
    probability: np.ndarray
    decision: np.ndarray


@dataclass
class Outcome:
    """Everything one split gave. rows: positions of validation and test rows in the matrix, in that order."""

    assignment: Assignment
    tasks: list[Task]
    states: dict[str, LabelState]
    encoder: Encoder
    fitted: dict[str, Fitted]
    candidates: list[Candidate]
    scores: dict[tuple[str, str], Scores]
    findings: list[audits.Finding]
    rows: np.ndarray
    n_valid: int
    y: np.ndarray
    base_rates: dict[str, dict[str, Any]]
    coherence: dict[str, float]
    unseen: dict[str, int]
    test_reads: int = 0

    def of(self, target: str) -> list[Candidate]:
        return [candidate for candidate in self.candidates if candidate.target == target]

    def chosen(self, target: str) -> Candidate:
        return next(candidate for candidate in self.of(target) if candidate.chosen)


def label_all(
    compiled: Compiled, matrix: Matrix, train: np.ndarray
) -> tuple[list[Task], np.ndarray, dict[str, LabelState]]:
    """Tasks, y float32 [rows, targets] and the states fitted on training rows."""
    tasks, states = [], {}
    y = np.empty((len(matrix), len(compiled.targets)), np.float32)
    for index, (name, target) in enumerate(compiled.targets.items()):
        y[:, index], states[name] = labels(
            target, matrix.values[name], matrix.eligible[name], matrix.cutoff, train
        )
        classes = states[name].classes if target.type == "multiclass" else ()
        tasks.append(Task(name, target.type, classes))  # type: ignore[arg-type]
    return tasks, y, states


def base_rates(tasks: Sequence[Task], y: np.ndarray, assignment: Assignment) -> dict[str, dict[str, Any]]:
    """Per target and part: labelled rows, and the share of positives (mean; share per class)."""
    found: dict[str, dict[str, Any]] = {}
    for index, task in enumerate(tasks):
        found[task.name] = {}
        for name, part in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST)):
            column = y[assignment.rows(part), index]
            column = column[~np.isnan(column)]
            entry: dict[str, Any] = {"rows": len(column)}
            if task.type == "multiclass":
                shares = np.bincount(column.astype(int), minlength=len(task.classes)) / max(len(column), 1)
                entry["shares"] = dict(zip(task.classes, map(float, shares), strict=True))
            else:
                entry["mean"] = float(column.mean()) if len(column) else None
            found[task.name][name] = entry
    return found


def check_labels(tasks: Sequence[Task], y: np.ndarray, assignment: Assignment) -> None:
    """A binary target needs both classes to be trained and to be judged by."""
    for index, task in enumerate(tasks):
        for name, part in (("training", TRAIN), ("validation", VALIDATION)):
            column = y[assignment.rows(part), index]
            column = column[~np.isnan(column)]
            if not len(column):
                raise DataError(
                    f"target `{task.name}` has no labelled {name} rows",
                    where=f"target.{task.name}",
                    fix="look at `among`, the cutoffs and the split (verb `plan`)",
                )
            if task.type != "regression" and len(np.unique(column)) < 2:
                what = (
                    "is constant"
                    if task.type == "multiclass"
                    else f"is always {'yes' if column[0] else 'no'}"
                )
                raise DataError(
                    f"target `{task.name}` {what} in all {len(column):,} {name} rows",
                    where=f"target.{task.name}",
                    why="nothing can be learnt from one class",
                    fix="another definition, horizon or cohort (verb `plan` shows base rates)",
                )


def run_split(
    config: Config,
    compiled: Compiled,
    matrix: Matrix,
    assignment: Assignment,
    cache: Cache,
    fingerprint: str,
    progress: Progress,
    audited: bool = True,
) -> Outcome:
    """Fit everything on one split. Test labels are read once, at the end."""
    train_rows = np.flatnonzero(assignment.rows(TRAIN))
    valid_rows = np.flatnonzero(assignment.rows(VALIDATION))
    test_rows = np.flatnonzero(assignment.rows(TEST))
    tasks, y, states = label_all(compiled, matrix, assignment.rows(TRAIN))
    check_labels(tasks, y, assignment)
    rates = base_rates(tasks, y, assignment)
    door = TestDoor(y[test_rows])
    y[test_rows] = np.nan

    progress("encoding", 0.0)
    encoder, X, unseen, ids = encode(matrix, train_rows)
    X_train, X_valid, X_test = X[train_rows], X[valid_rows], X[test_rows]
    del X
    findings: list[audits.Finding] = []
    if audited:
        progress("leak audit", 0.0)
        parts = audits.Parts(
            X_train,
            y[train_rows],
            X_valid,
            y[valid_rows],
            X_test,
            matrix.entity[train_rows],
            matrix.entity[test_rows],
        )
        known = {name: target.sources for name, target in compiled.targets.items() if target.partly_known}
        findings = audits.audit(config.audit, parts, compiled.features, encoder.columns, tasks, known, ids)

    train, valid = Batch(X_train, y[train_rows]), Batch(X_valid, y[valid_rows])
    X_eval = np.concatenate([X_valid, X_test])
    configs: dict[str, Any] = {name: models.get(name).config(kind=name) for name in BASELINES}
    configs |= config.model
    outcome = Outcome(assignment, tasks, states, encoder, {}, [], {}, findings, np.concatenate([valid_rows, test_rows]),
                      len(valid_rows), np.empty(0), rates, {}, unseen)  # fmt: skip
    for number, (name, model_config) in enumerate(configs.items()):
        progress(f"fitting {name}", number / len(configs))
        fitted, seconds = fit(
            name,
            model_config,
            tasks,
            encoder.columns,
            train,
            valid,
            config,
            cache,
            fingerprint + assignment.name,
            progress,
        )
        outcome.fitted[name] = fitted
        for index, (task, raw) in enumerate(zip(tasks, fitted.predict(X_eval), strict=True)):
            candidate, scores = judge_validation(
                config, config.target[task.name], task, name, raw, y[valid_rows, index], matrix, outcome
            )
            candidate.seconds, candidate.notes = seconds, list(fitted.notes[index])
            outcome.candidates.append(candidate)
            outcome.scores[(name, task.name)] = scores
    choose_models(config, outcome, [name for name in config.model])
    make_coherent(config, outcome)
    progress("evaluating on the test rows", 0.0)
    outcome.y = np.concatenate([y[valid_rows], door.open()])
    outcome.test_reads = door.reads
    judge_test(config, outcome, matrix)
    return outcome


def encode(
    matrix: Matrix, train_rows: np.ndarray
) -> tuple[Encoder, np.ndarray, dict[str, int], frozenset[str]]:
    """Encoder fitted on training rows, X float32 [rows, features], unseen levels, id-like text features."""
    columns = [Column(feature.name, feature.kind) for feature in matrix.features]  # type: ignore[arg-type]
    encoder = Encoder.fit(matrix.columns, columns, train_rows)
    encoded = encoder.transform(matrix.columns)
    ids = set()
    for column in columns:
        if column.kind == "categorical":
            codes = matrix.columns[column.name].codes[train_rows]
            present = codes[codes >= 0]
            if len(present) >= 100 and len(np.unique(present)) >= 0.9 * len(present):
                ids.add(column.name)
    return encoder, encoded.X, encoded.unseen, frozenset(ids)


def fit(
    name: str,
    model_config: Any,
    tasks: Sequence[Task],
    columns: Sequence[Column],
    train: Batch,
    valid: Batch,
    config: Config,
    cache: Cache,
    fingerprint: str,
    progress: Progress,
) -> tuple[Fitted, float]:
    """Fit one model on all tasks, or find it among the fits that an interrupted or earlier run left."""
    component = models.get(model_config.kind)

    def tell(target: str, done: int, total: int) -> None:
        progress(f"fitting {name}: {target} {done}/{total}", done / max(total, 1))

    def compute() -> tuple[Fitted, float]:
        begun = time.perf_counter()
        found = component.build(model_config).fit(
            tasks, columns, train, valid, seed=config.seed, threads=threads(config), progress=tell
        )
        return found, time.perf_counter() - begun

    if name in BASELINES:
        return compute()
    material = {
        "data": fingerprint, "model": model_config.model_dump(mode="json"), "seed": config.seed, "split": config.split.model_dump(),
        "threads": threads(config), "code": code_digest("models", "training"), "versions": library_versions(),
    }  # fmt: skip
    kept: list[tuple[Fitted, float]] = []

    def build(folder: Path) -> None:
        fitted, seconds = compute()
        store.save(folder / "model", model_config, fitted)
        (folder / "fit.json").write_text(
            json.dumps({"seconds": seconds, "notes": [list(n) for n in fitted.notes]})
        )
        kept.append((fitted, seconds))

    folder = cache.entry("fits", material, build, name)
    if kept:
        return kept[0]
    return store.load(folder / "model"), float(json.loads((folder / "fit.json").read_text())["seconds"])


def threads(config: Config) -> int:
    import os

    return config.engine.threads or os.cpu_count() or 1


def library_versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("numpy", "scikit-learn", "lightgbm", "xgboost-cpu", "duckdb", "pandas")
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except Exception:  # noqa: BLE001, PERF203  another distribution of it (xgboost) may be installed
            found[name] = "?"
    return found


def sizes(config: Config) -> list[int | float]:
    return [
        float(text.rstrip("%")) / 100 if text.endswith("%") else int(text) for text in config.evaluation.at
    ]


def judge_validation(
    config: Config,
    target: TargetNode,
    task: Task,
    model: str,
    raw: np.ndarray,
    y_valid: np.ndarray,
    matrix: Matrix,
    outcome: Outcome,
) -> tuple[Candidate, Scores]:
    """Calibrate and set the threshold on validation rows; apply both to all rows."""
    n = outcome.n_valid
    has = ~np.isnan(y_valid)
    calibrator = fit_calibrator(
        config.calibration,
        task.type,
        y_valid[has],
        raw[:n][has],
        score_is_probability=task.type != "regression",
    )
    probability = calibrator.apply(raw)
    threshold: Threshold | None = None
    if task.type == "binary":
        lists = lists_of(matrix, outcome)
        threshold = choose(target.threshold or config.threshold, y_valid[has], raw[:n][has], lists[:n][has])
        decision = np.concatenate(
            [decide(threshold, raw[:n], lists[:n]), decide(threshold, raw[n:], lists[n:])]
        )
    else:
        decision = probability.argmax(axis=1) if task.type == "multiclass" else np.zeros(len(raw), bool)
    scores = Scores(raw, probability, decision)
    figures = metrics.evaluate(
        task.type, y_valid[has], raw[:n][has], probability[:n][has], decision[:n][has], sizes(config)
    )
    return Candidate(model, task.name, 0.0, [], calibrator, threshold, figures), scores


def lists_of(matrix: Matrix, outcome: Outcome) -> np.ndarray:
    """The list that each evaluated row belongs to: its cutoff."""
    return matrix.cutoff[outcome.rows].astype("datetime64[s]").astype(str)


def choose_models(config: Config, outcome: Outcome, names: Sequence[str]) -> None:
    """Mark the model that validation prefers, per target."""
    for task in outcome.tasks:
        metric = config.evaluation.select_by if task.type == "binary" else HEADLINE[task.type]
        sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
        able = [candidate for candidate in outcome.of(task.name) if candidate.model in names]
        best = max(able, key=lambda c: np.nan_to_num(sign * c.validation.get(metric, np.nan), nan=-np.inf))
        best.chosen = True


def make_coherent(config: Config, outcome: Outcome) -> None:
    """Project the chosen models' probabilities of nested targets on the order that is declared."""
    for chain in config.coherent:
        chosen = [outcome.scores[(outcome.chosen(target).model, target)] for target in chain]
        before = np.column_stack([scores.probability for scores in chosen])
        after = project(before)
        outcome.coherence[" <= ".join(chain)] = corrected_share(before, after)
        for index, scores in enumerate(chosen):
            scores.probability = after[:, index]


def judge_test(config: Config, outcome: Outcome, matrix: Matrix) -> None:
    """Metrics on the test rows with intervals by entity bootstrap; margins over the rule; groups."""
    n = outcome.n_valid
    rows = outcome.rows[n:]
    boot = (
        EntityBootstrap(matrix.entity[rows], config.evaluation.bootstrap, config.seed)
        if config.evaluation.bootstrap
        else None
    )
    cutoffs = lists_of(matrix, outcome)[n:]
    for index, task in enumerate(outcome.tasks):
        y = outcome.y[n:, index]
        has = ~np.isnan(y)
        draws: dict[str, Draws] = {}
        for candidate in outcome.of(task.name):
            scores = outcome.scores[(candidate.model, task.name)]
            score, probability, decision = scores.score[n:], scores.probability[n:], scores.decision[n:]
            candidate.test = metrics.evaluate(
                task.type, y[has], score[has], probability[has], decision[has], sizes(config)
            )
            candidate.undefined = metrics.undefined(task.type, y[has], candidate.test)
            if boot is not None and has.any():
                draws[candidate.model] = _draws(boot, task, y, score, probability, decision, has, config)
                candidate.intervals = {name: interval(d) for name, d in draws[candidate.model].items()}
            if candidate.chosen:
                candidate.groups = _groups(config, task, y, scores, n, has, cutoffs, matrix, rows, boot)
        headline = HEADLINE[task.type]
        rule = next((c for c in outcome.of(task.name) if c.model == "rule"), None)
        for candidate in outcome.of(task.name):
            if rule is not None and candidate is not rule and candidate.model in draws:
                low, high = interval(draws[candidate.model][headline] - draws["rule"][headline])
                candidate.margin = (candidate.test[headline] - rule.test[headline], low, high)


def _draws(
    boot: EntityBootstrap,
    task: Task,
    y: np.ndarray,
    score: np.ndarray,
    probability: np.ndarray,
    decision: np.ndarray,
    rows: np.ndarray,
    config: Config,
) -> Draws:
    clean = np.where(np.isnan(y), 0, y)
    if task.type == "binary":
        return boot.binary(clean, score, probability, decision, sizes(config), rows=rows)
    if task.type == "multiclass":
        return boot.multiclass(clean, score, probability, decision, rows=rows)
    return boot.regression(clean, score, rows=rows)


def _groups(
    config: Config,
    task: Task,
    y: np.ndarray,
    scores: Scores,
    n: int,
    has: np.ndarray,
    cutoffs: np.ndarray,
    matrix: Matrix,
    rows: np.ndarray,
    boot: EntityBootstrap | None,
) -> list[dict[str, Any]]:
    """The headline metric and the base rate per cutoff and per declared segment; small groups withheld."""
    columns: Mapping[str, np.ndarray] = {"cutoff": cutoffs} | {
        name: _segment(matrix, name, rows) for name in config.evaluation.segments
    }
    headline, found = HEADLINE[task.type], []
    for name, values in columns.items():
        for value in sorted(set(values[has])):
            mask = has & (values == value)
            entry: dict[str, Any] = {"by": name, "group": str(value), "rows": int(mask.sum())}
            if mask.sum() < config.evaluation.smallest_group:
                found.append(entry | {"withheld": f"fewer than {config.evaluation.smallest_group} rows"})
                continue
            figures = metrics.evaluate(
                task.type,
                y[mask],
                scores.score[n:][mask],
                scores.probability[n:][mask],
                scores.decision[n:][mask],
            )
            entry |= {headline: figures[headline], "mean": float(y[mask].mean())}
            if boot is not None:
                draws = _draws(
                    boot, task, y, scores.score[n:], scores.probability[n:], scores.decision[n:], mask, config
                )
                entry["interval"] = interval(draws[headline])
            found.append(entry)
    return found


def _segment(matrix: Matrix, name: str, rows: np.ndarray) -> np.ndarray:
    column = matrix.columns[name]
    if isinstance(column, pd.Categorical):
        return np.asarray(column.astype(object), dtype=object)[rows].astype(str)
    return np.array([f"{value:g}" for value in column[rows]])
