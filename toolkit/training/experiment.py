"""One split from labels to judged models: fit, calibrate, choose on validation, then look at the test once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from toolkit.config.schema import Config, RollingSplit
from toolkit.data.cache import Cache, digest
from toolkit.errors import ConfigError, DataError, UnfitError
from toolkit.evaluation.door import TestDoor
from toolkit.evaluation.ties import places
from toolkit.modalities import Modalities
from toolkit.models.encode import Encoder
from toolkit.models.ensemble import Ensemble
from toolkit.models.interface import Batch, Column, Task
from toolkit.prepare import audit as audits
from toolkit.prepare.matrix import Compiled, Matrix
from toolkit.prepare.targets import LabelState, labels
from toolkit.training import ensembles, fairness, triage
from toolkit.training.crossfit import deal
from toolkit.training.fitting import (
    BASELINES,
    Material,
    Progress,
    fit,
    library_versions,
    threads,
    with_baselines,
)
from toolkit.training.judge import (
    Held,
    choose_models,
    judge_test,
    judge_validation,
    lists_of,
    make_coherent,
    units,
)
from toolkit.training.outcome import HEADLINE, Candidate, Outcome, Scores
from toolkit.training.split import TEST, TRAIN, UNUSED, VALIDATION, Assignment, assign
from toolkit.tuning.objective import Fold
from toolkit.tuning.settings import OnValidation, Optuna
from toolkit.tuning.tune import tune

__all__ = [
    "BASELINES",
    "HEADLINE",
    "Candidate",
    "Outcome",
    "Scores",
    "base_rates",
    "label_all",
    "library_versions",
    "run_split",
    "with_baselines",
]


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

    fingerprint: digest of what the features are made from; audited: look for leaks as well.
    """
    train_rows, valid_rows, test_rows = (
        np.flatnonzero(assignment.rows(part)) for part in (TRAIN, VALIDATION, TEST)
    )
    tasks, y, states = label_all(compiled, matrix, assignment.rows(TRAIN))
    door = TestDoor(y, test_rows)
    check_labels(tasks, y, assignment, compiled.found)

    progress("encoding", 0.0)
    encoder = fit_encoder(matrix, train_rows)
    train = batch(encoder, matrix, train_rows, y)
    rows, n = np.concatenate([valid_rows, test_rows]), len(valid_rows)
    X_eval, unseen = encoded(encoder, matrix, rows)
    besides = modalities(encoder, matrix, rows)
    valid = Batch(X_eval[:n], y[valid_rows], besides.some(np.arange(n)))
    outcome = Outcome(
        assignment, tasks, states, encoder, rows, n, readable(config, tasks, y[rows]), {}, unseen
    )
    outcome.idle = idle_columns(train.X, encoder.columns)
    if audited:
        progress("leak audit", 0.0)
        outcome.findings = look_for_leaks(
            config, compiled, matrix, outcome, train, valid, X_eval[n:], train_rows
        )

    parts = [hashlib.sha256(part.data).hexdigest() for part in (train_rows, valid_rows)]
    origin = digest([fingerprint, encoder.to_dict(), parts])
    material = Material(tasks, encoder.columns, train, valid, origin)
    eligible = {task.name: matrix.eligible[task.name][rows] for task in tasks}
    held = Held(
        X_eval, besides, lists_of(matrix, rows), places(matrix.entity[rows]), eligible,
        deal(matrix.dealt_by[valid_rows], config.seed),
    )  # fmt: skip
    folds = partial(tuning_folds, config, compiled, matrix, assignment, material)
    declared, outcome.studies = tune(
        config,
        tasks,
        encoder.columns,
        folds,
        material.key(),
        threads(config),
        library_versions(),
        cache,
        progress,
    )
    outcome.models = with_baselines(declared, rule=bool(encoder.columns))
    ground = ensembles.Ground.of(
        config, compiled, matrix, train_rows, material,
        lambda name, model, some: fit(name, model, some, config, cache, progress),
    )  # fmt: skip
    for number, (name, model) in enumerate(ensembles.singles_first(outcome.models)):
        progress(f"fitting {name}", number / len(outcome.models))
        if isinstance(model, Ensemble):
            fitted, seconds = ensembles.put_together(model, declared, outcome.fitted, held.said, ground)
            held.said[name] = ensembles.judged(fitted, X_eval, besides, held.said, valid.y, held.fold)
            outcome.fitted[name] = fitted
            outcome.remarks += [f"{name}: {line}" for line in fitted.remarks]
        else:
            try:
                outcome.fitted[name], seconds = fit(name, model, material, config, cache, progress)
            except UnfitError as error:
                ground.failed[name] = ensembles.left_out(name, declared, error)
                outcome.remarks.append(f"left out: {ground.failed[name]}")
                continue
        progress(f"judging on validation rows: {name}", number / len(outcome.models))
        judge_validation(config, outcome, name, seconds, held)
    choose_models(config, outcome)
    fairness.mitigate(config, outcome, matrix, held)
    make_coherent(config, outcome, eligible)
    flags = look_for_doubt(config, outcome, matrix, compiled, train, Batch(X_eval, y[rows], besides))

    progress("evaluating on the test rows", 0.0)
    y[test_rows] = door.open()
    outcome.test_reads = door.reads
    y = readable(config, tasks, y)
    outcome.y[n:] = y[test_rows]
    outcome.base_rates = base_rates(tasks, y, assignment, matrix.entity)
    judge_test(config, outcome, matrix, progress)
    if outcome.triage and flags:
        place = [task.name for task in tasks].index(outcome.triage.target)
        scores = outcome.scores[(outcome.chosen(outcome.triage.target).model, outcome.triage.target)]
        outcome.review = triage.judge(outcome.triage, flags, outcome.y[n:, place], scores.decision[n:])
    return outcome


def look_for_doubt(
    config: Config, outcome: Outcome, matrix: Matrix, compiled: Compiled, train: Batch, held: Batch
) -> triage.Flags | None:
    """Fit the triage on validation rows, and flag the test rows; no label of theirs is known yet.

    held: validation rows, then test rows.
    """
    if (target := triage.declared(config)) is None:
        return None
    n, place = outcome.n_valid, [task.name for task in outcome.tasks].index(target)
    probability = outcome.scores[(outcome.chosen(target).model, target)].probability
    valid, test = (
        Batch(held.X[part], held.y[part], held.modalities.some(np.arange(len(held.X))[part]))
        for part in (slice(0, n), slice(n, None))
    )
    outcome.triage = triage.fit(
        config, target, valid.y[:, place], probability[:n], train, valid, place, outcome.encoder.columns
    )
    values = triage.values_of(matrix, compiled.tables, outcome.rows[n:])
    flags = outcome.triage.flags(probability[n:], test.X, test.modalities, values)
    return flags.among(matrix.eligible[target][outcome.rows[n:]])


def tuning_folds(
    config: Config, compiled: Compiled, matrix: Matrix, assignment: Assignment, material: Material
) -> list[Fold]:
    """What trials are fitted on and judged by. No test row is in it.

    On validation rows: those of the split, which also stop a fit early. Rolling origin: the split's rows
    for training and validation are split anew, by cutoff; labels and encoder are fitted in each fold.
    """
    objective = config.tuning.objective if isinstance(config.tuning, Optuna) else OnValidation()
    if isinstance(objective, OnValidation):
        return [Fold(material.train, material.valid, material.valid)]
    rows = np.flatnonzero(assignment.rows(TRAIN) | assignment.rows(VALIDATION))
    spans = [target.horizon for target in compiled.targets.values() if target.horizon]
    split = RollingSplit(kind="rolling", folds=objective.folds, gap=getattr(config.split, "gap", None))
    try:
        inner = assign(
            split, matrix.entity[rows], matrix.cutoff[rows], spans, config.seed, zone=config.cohort.timezone
        )
    except (ConfigError, DataError) as error:
        raise ConfigError(
            f"the rows before the test cannot be split into {objective.folds} rolling folds",
            where="tuning.objective",
            why=str(error).splitlines()[0],
            fix="fewer folds, more cutoffs, or objective: {kind: validation}",
        ) from None
    found = []
    for fold in inner:
        part = np.full(len(matrix), UNUSED, np.int8)
        part[rows] = fold.part
        whole = Assignment(fold.name, part)
        tasks, y, _ = label_all(compiled, matrix, whole.rows(TRAIN))
        check_labels(tasks, y, whole)
        places = [np.flatnonzero(whole.rows(which)) for which in (TRAIN, VALIDATION, TEST)]
        encoder = fit_encoder(matrix, places[0])
        found.append(Fold(*(batch(encoder, matrix, place, y) for place in places)))
    return found


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
        tasks.append(Task(name, target.type, classes, target.node.weight))  # type: ignore[arg-type]
    return tasks, y, states


def readable(config: Config, tasks: Sequence[Task], y: np.ndarray) -> np.ndarray:
    """Labels [rows, targets] in the units that people read."""
    return np.column_stack([units(config, task.name)(y[:, index]) for index, task in enumerate(tasks)])


def base_rates(
    tasks: Sequence[Task], y: np.ndarray, assignment: Assignment, entity: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Per target and part: labelled rows, and the share of positives (mean; share per class).

    Of yes or no also: positives, entities, and those of them that have a positive. An entity at many cutoffs
    may be positive at several, so rows say little of how many there are.
    """
    found: dict[str, dict[str, Any]] = {}
    for index, task in enumerate(tasks):
        found[task.name] = {}
        for name, part in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST)):
            rows = assignment.rows(part) & ~np.isnan(y[:, index])
            column = y[rows, index]
            entry: dict[str, Any] = {"rows": len(column)}
            if task.type == "multiclass":
                shares = np.bincount(column.astype(int), minlength=len(task.classes)) / max(len(column), 1)
                entry["shares"] = dict(zip(task.classes, map(float, shares), strict=True))
            else:
                entry["mean"] = float(column.mean()) if len(column) else None
            if task.type == "binary":
                yes = entity[rows][column == 1]
                entry |= {"positives": len(yes), "entities": pd.unique(entity[rows]).size}
                entry["positive_entities"] = pd.unique(yes).size
            found[task.name][name] = entry
    return found


def check_labels(
    tasks: Sequence[Task], y: np.ndarray, assignment: Assignment, found: Sequence[str] = ()
) -> None:
    """A target needs labels, and more than one class, to be trained and to be judged by.

    found: what is known of the tables, which may say why it has not.
    """
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
                    why="; ".join(["nothing can be learnt from one class", *found]),
                    fix=_more_of_both(name),
                )


def _more_of_both(part: str) -> str:
    fix = "another definition, horizon or cohort (verb `plan` shows base rates)"
    return fix if part == "training" else f"more validation rows (`split.validation`), or {fix}"


# --- features ---------------------------------------------------------------------------------------


def fit_encoder(matrix: Matrix, train_rows: np.ndarray) -> Encoder:
    """The encoder, fitted on training rows (positions)."""
    columns = [Column(feature.name, feature.kind, scaled=feature.scaled) for feature in matrix.features]  # type: ignore[arg-type]
    encoder = Encoder.fit(matrix.columns, columns, train_rows)
    return encoder.with_events([each.some(train_rows) for each in matrix.sequences])


def encoded(encoder: Encoder, matrix: Matrix, rows: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """X float32 [rows, features] of some rows, and how many of them hold a level unseen in training.

    Parts are encoded one by one, so that X never exists twice: 1,000,000 rows of 80 features are 0.3 GB.
    """
    return encoder.transform({name: column[rows] for name, column in matrix.columns.items()}, len(rows))


def modalities(encoder: Encoder, matrix: Matrix, rows: np.ndarray) -> Modalities:
    """What some rows have besides X, encoded."""
    return encoder.modalities(
        [each.some(rows) for each in matrix.sequences],
        [nodes.some(rows) for nodes in matrix.graphs],
        [each.some(rows) for each in matrix.texts],
        [each.some(rows) for each in matrix.images],
    )


def batch(encoder: Encoder, matrix: Matrix, rows: np.ndarray, y: np.ndarray) -> Batch:
    """Some rows (positions) as models are fitted on them; y [all rows, targets]."""
    return Batch(encoded(encoder, matrix, rows)[0], y[rows], modalities(encoder, matrix, rows))


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
        matrix.entity[valid_rows],
    )  # fmt: skip
    lineage = audits.lineage_of(compiled)
    return audits.audit(
        config.audit, parts, compiled.features, outcome.encoder.columns, outcome.tasks, lineage
    )
