"""One split from labels to judged models: fit, calibrate, choose on validation, then look at the test once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.config.schema import Config
from toolkit.data.cache import Cache, code_digest
from toolkit.errors import DataError
from toolkit.evaluation.door import TestDoor
from toolkit.models import store
from toolkit.models.encode import Encoder
from toolkit.models.interface import Batch, Column, Fitted, Task
from toolkit.prepare import audit as audits
from toolkit.prepare.matrix import Compiled, Matrix
from toolkit.prepare.targets import LabelState, labels
from toolkit.registry import models
from toolkit.training.judge import choose_models, judge_test, judge_validation, lists_of, make_coherent, units
from toolkit.training.outcome import HEADLINE, Candidate, Outcome, Scores
from toolkit.training.split import TEST, TRAIN, VALIDATION, Assignment

__all__ = [
    "HEADLINE",
    "Candidate",
    "Outcome",
    "Scores",
    "base_rates",
    "label_all",
    "library_versions",
    "run_split",
]

BASELINES = ("prior", "rule")
Progress = Callable[[str, float], None]


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
    """Fit everything on one split. Test labels are read once, at the end.

    fingerprint: digest of what the matrix is made from; audited: look for leaks as well.
    """
    train_rows, valid_rows, test_rows = (
        np.flatnonzero(assignment.rows(part)) for part in (TRAIN, VALIDATION, TEST)
    )
    tasks, y, states = label_all(compiled, matrix, assignment.rows(TRAIN))
    door = TestDoor(y, test_rows)
    check_labels(tasks, y, assignment)

    progress("encoding", 0.0)
    encoder = fit_encoder(matrix, train_rows)
    train = Batch(encoded(encoder, matrix, train_rows)[0], y[train_rows])
    rows, n = np.concatenate([valid_rows, test_rows]), len(valid_rows)
    X_eval, unseen = encoded(encoder, matrix, rows)
    valid = Batch(X_eval[:n], y[valid_rows])
    outcome = Outcome(
        assignment, tasks, states, encoder, rows, n, readable(config, tasks, y[rows]), {}, unseen
    )
    outcome.idle = idle_columns(train.X, encoder.columns)
    eligible = {task.name: matrix.eligible[task.name][rows] for task in tasks}
    if audited:
        progress("leak audit", 0.0)
        outcome.findings = look_for_leaks(
            config, compiled, matrix, outcome, train, valid, X_eval[n:], train_rows
        )

    configs = with_baselines(config)
    data = {
        "matrix": fingerprint,
        "encoder": encoder.to_dict(),
        "labels": _content(y, train_rows, valid_rows),
    }
    lists = lists_of(matrix, rows)
    for number, (name, model) in enumerate(configs.items()):
        progress(f"fitting {name}", number / len(configs))
        outcome.fitted[name], seconds = fit(
            name, model, tasks, encoder.columns, train, valid, config, cache, data, progress
        )
        judge_validation(config, outcome, name, outcome.fitted[name], X_eval, lists, eligible)
        for candidate in outcome.candidates[-len(tasks) :]:
            candidate.seconds = seconds
    choose_models(config, outcome)
    make_coherent(config, outcome, eligible)

    progress("evaluating on the test rows", 0.0)
    y[test_rows] = door.open()
    outcome.test_reads = door.reads
    y = readable(config, tasks, y)
    outcome.y[n:] = y[test_rows]
    outcome.base_rates = base_rates(tasks, y, assignment)
    judge_test(config, outcome, matrix)
    return outcome


# --- labels -----------------------------------------------------------------------------------------


def label_all(
    compiled: Compiled, matrix: Matrix, train: np.ndarray
) -> tuple[list[Task], np.ndarray, dict[str, LabelState]]:
    """Tasks, y float32 [rows, targets] and the states fitted on training rows (a mask)."""
    tasks, states = [], {}
    y = np.empty((len(matrix), len(compiled.targets)), np.float32)
    for index, (name, target) in enumerate(compiled.targets.items()):
        y[:, index], states[name] = labels(
            target, matrix.values[name], matrix.eligible[name], matrix.cutoff, train
        )
        classes = states[name].classes if target.type == "multiclass" else ()
        tasks.append(Task(name, target.type, classes))  # type: ignore[arg-type]
    return tasks, y, states


def readable(config: Config, tasks: Sequence[Task], y: np.ndarray) -> np.ndarray:
    """Labels [rows, targets] in the units that people read."""
    return np.column_stack([units(config, task.name)(y[:, index]) for index, task in enumerate(tasks)])


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
    """A target needs labels, and more than one class, to be trained and to be judged by."""
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
                always = "yes" if column[0] else "no"
                what = "is constant" if task.type == "multiclass" else f"is always {always}"
                raise DataError(
                    f"target `{task.name}` {what} in all {len(column):,} {name} rows",
                    where=f"target.{task.name}",
                    why="nothing can be learnt from one class",
                    fix="another definition, horizon or cohort (verb `plan` shows base rates)",
                )


# --- features ---------------------------------------------------------------------------------------


def fit_encoder(matrix: Matrix, train_rows: np.ndarray) -> Encoder:
    """The encoder, fitted on training rows (positions)."""
    columns = [Column(feature.name, feature.kind) for feature in matrix.features]  # type: ignore[arg-type]
    return Encoder.fit(matrix.columns, columns, train_rows)


def encoded(encoder: Encoder, matrix: Matrix, rows: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """X float32 [rows, features] of some rows, and how many of them hold a level unseen in training.

    Parts are encoded one by one, so that X never exists twice: 1,000,000 rows of 80 features are 0.3 GB.
    """
    return encoder.transform({name: column[rows] for name, column in matrix.columns.items()})


def idle_columns(X: np.ndarray, columns: Sequence[Column]) -> dict[str, str]:
    """Features that hold one value, or none, in all training rows: they cannot help, and are named."""
    missing = np.isnan(X).sum(axis=0)
    low, high = np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)
    found = {
        column.name: "all missing" for column, gone in zip(columns, missing, strict=True) if gone == len(X)
    }
    same = (low == high) & (missing == 0)
    return found | {columns[int(index)].name: "constant" for index in np.flatnonzero(same)}


def look_for_leaks(
    config: Config, compiled: Compiled, matrix: Matrix, outcome: Outcome, train: Batch, valid: Batch, X_test: np.ndarray,
    train_rows: np.ndarray,
) -> list[audits.Finding]:  # fmt: skip
    """The audit of one split. It gets no labels of test rows."""
    valid_rows, test_rows = outcome.rows[: outcome.n_valid], outcome.rows[outcome.n_valid :]
    parts = audits.Parts(
        train.X, train.y, valid.X, valid.y, X_test, matrix.entity[train_rows], matrix.entity[test_rows],
        matrix.cutoff[train_rows], matrix.cutoff[test_rows],
        {column.name: (matrix.columns[column.name].codes[train_rows], matrix.columns[column.name].codes[valid_rows])
         for column in outcome.encoder.columns if column.kind == "categorical"},
    )  # fmt: skip
    lineage = audits.lineage_of(compiled)
    return audits.audit(
        config.audit, parts, compiled.features, outcome.encoder.columns, outcome.tasks, lineage
    )


# --- models -----------------------------------------------------------------------------------------


def with_baselines(config: Config) -> dict[str, Any]:
    """The configurations of all models to fit: naive baseline, best single rule, and those declared."""
    return {name: models.get(name).config(kind=name) for name in BASELINES} | config.model


def fit(
    name: str,
    model: Any,
    tasks: Sequence[Task],
    columns: Sequence[Column],
    train: Batch,
    valid: Batch,
    config: Config,
    cache: Cache,
    data: Mapping[str, Any],
    progress: Progress,
) -> tuple[Fitted, float]:
    """Fit one model on all tasks, or find it among the fits that an interrupted or earlier run left.

    data: digests of what it is fitted on. Returns the fitted model and the seconds that it took.
    """

    def tell(target: str, done: int, total: int) -> None:
        progress(f"fitting {name}: {target} {done}/{total}", done / max(total, 1))

    def compute() -> tuple[Fitted, float]:
        begun = time.perf_counter()
        found = models.get(model.kind).build(model).fit(
            tasks, columns, train, valid, seed=config.seed, threads=threads(config), progress=tell
        )  # fmt: skip
        return found, time.perf_counter() - begun

    if name in BASELINES:
        return compute()
    material = dict(data) | {
        "model": model.model_dump(mode="json"), "tasks": [(task.name, task.type, task.classes) for task in tasks],
        "seed": config.seed, "threads": threads(config), "code": code_digest("models", "training"), "component": models.get(model.kind).digest, "versions": library_versions(),
    }  # fmt: skip
    kept: list[tuple[Fitted, float]] = []

    def build(folder: Path) -> None:
        fitted, seconds = compute()
        store.save(folder / "model", model, fitted)
        (folder / "fit.json").write_text(json.dumps({"seconds": seconds}), encoding="utf-8")
        kept.append((fitted, seconds))

    folder = cache.entry("fits", material, build, name)
    if kept:
        return kept[0]
    seconds = json.loads((folder / "fit.json").read_text(encoding="utf-8"))["seconds"]
    return store.load(folder / "model"), float(seconds)


def _content(y: np.ndarray, train_rows: np.ndarray, valid_rows: np.ndarray) -> str:
    """A digest of which rows a model is fitted on and of their labels: how they came about is not asked."""
    import hashlib

    found = hashlib.sha256()
    for part in (train_rows, valid_rows, y[train_rows], y[valid_rows]):
        found.update(np.ascontiguousarray(part).data)
    return found.hexdigest()


def threads(config: Config) -> int:
    return config.engine.threads or os.cpu_count() or 1


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide what comes out."""
    from importlib.metadata import PackageNotFoundError, version

    def of(*names: str) -> str:
        for name in names:
            try:
                return version(name)
            except PackageNotFoundError:
                continue
        return "?"

    libraries = ("numpy", "scikit-learn", "lightgbm", "xgboost", "duckdb", "pandas")
    return {name: of(name, f"{name}-cpu") for name in libraries}
