"""Proof that held-out rows stay out: they are scrambled, features and outcomes, and nothing fitted moves.

1. The validation and test rows are scrambled: everything fitted on training rows (label quantiles,
   encoder, baselines, models without early stopping) stays the same.
2. The test rows alone are scrambled: everything fitted at all (early stopping, calibration,
   thresholds, the choice of model) stays the same.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.config.schema import Config
from toolkit.data.cache import Cache, digest
from toolkit.errors import DataError, UnfitError
from toolkit.models.encode import Encoder
from toolkit.models.ensemble import Ensemble
from toolkit.models.inputs import Staged
from toolkit.models.interface import Batch, Fitted
from toolkit.models.tfidf_linear import TfidfLinearFitted
from toolkit.prepare.matrix import Compiled, Matrix
from toolkit.prepared import Prepared
from toolkit.proof.proof import ROWS, Progress, Proof
from toolkit.proof.scramble import scramble_rows, some_rows
from toolkit.registry import models
from toolkit.training import ensembles, experiment
from toolkit.training.fitting import Material, unfit
from toolkit.training.split import TEST, TRAIN, VALIDATION, Assignment
from toolkit.tuning.settings import Optuna

# Fits are kept short: what is proved is who gets to see which rows, not how good a model is.
QUICK = {
    "num_iterations": 40,
    "num_boost_round": 40,
    "max_iterations": 40,
    "trees": 20,
    "early_stopping_rounds": 5,
    "folds": 2,
}
LEARNING_RATE = 0.3
EPOCHS = 2
TRIALS = 3


def held_out(config: Config, prepared: Prepared, progress: Progress) -> list[Proof]:
    """Scramble validation and test rows of a sample, then test rows alone; compare digests of what is fitted."""
    compiled = prepared.compiled
    matrix, assignment = _sample(compiled, prepared.matrix, prepared.assignments[-1], config.seed)
    config = quick(config)
    rng = np.random.default_rng(config.seed)
    test = assignment.rows(TEST)
    experiments = (
        ("validation and test rows are scrambled", fitted_on_training, assignment.rows(VALIDATION) | test),
        ("test rows are scrambled", fitted_at_all, test),
    )
    proofs = []
    for when, fitted, rows in experiments:
        states = []
        for number, version in enumerate((matrix, scramble_rows(matrix, rows, rng))):
            progress(f"fitting: {when}", number / 2)
            with tempfile.TemporaryDirectory(prefix="toolkit-check-") as folder:
                states.append(fitted(config, compiled, version, assignment, Path(folder)))
        proofs += _same(states[0], states[1], when)
    return proofs


def quick(config: Config) -> Config:
    """The configuration with short fits on one thread, and nothing that is only reported."""
    small = {name: _quick(model) for name, model in config.model.items()}
    evaluation = config.evaluation.model_copy(update={"bootstrap": 0, "segments": []})
    engine = config.engine.model_copy(update={"threads": 1})
    tuning = config.tuning
    if isinstance(tuning, Optuna):
        few = {"trials": TRIALS, "minutes": None, "workers": 1, "storage": "sqlite"}
        tuning = tuning.model_copy(update=few)
    return config.model_copy(
        update={"model": small, "evaluation": evaluation, "engine": engine, "tuning": tuning}
    )


def _quick(model: Any) -> Any:
    """A model's configuration with short fits."""
    update = {key: min(most, now) for key, most in QUICK.items() if (now := getattr(model, key, None))}
    if hasattr(model, "learning_rate"):
        update["learning_rate"] = max(model.learning_rate, LEARNING_RATE)
    if hasattr(model, "trainer"):
        few_epochs = {"epochs": min(model.trainer.epochs, EPOCHS)}
        update["trainer"] = model.trainer.model_copy(update=few_epochs)
    if hasattr(model, "top"):
        update["top"] = _quick(model.top)
    return model.model_copy(update=update)


def _sample(
    compiled: Compiled, matrix: Matrix, assignment: Assignment, seed: int
) -> tuple[Matrix, Assignment]:
    """Some of the rows, all parts of the split in proportion; all of them if a class is too rare for a sample."""
    if len(matrix) <= ROWS:
        return matrix, assignment
    rows = np.sort(np.random.default_rng(seed).choice(len(matrix), ROWS, replace=False))
    sample, part = some_rows(matrix, rows), replace(assignment, part=assignment.part[rows])
    try:
        tasks, y, _ = experiment.label_all(compiled, sample, part.rows(TRAIN))
        experiment.check_labels(tasks, y, part)
    except DataError:
        return matrix, assignment
    return sample, part


def _same(before: Mapping[str, str], after: Mapping[str, str], when: str) -> list[Proof]:
    moved = [name for name in before if before[name] != after.get(name)]
    if moved:
        return [Proof(f"{name} changes when {when}", False) for name in moved]
    return [Proof(f"{len(before)} fitted states stay the same when {when}: {', '.join(before)}", True)]


def fitted_on_training(
    config: Config, compiled: Compiled, matrix: Matrix, assignment: Assignment, folder: Path
) -> dict[str, str]:
    """Digests of everything that may be fitted on training rows alone; models get no validation rows."""
    rows = np.flatnonzero(assignment.rows(TRAIN))
    tasks, y, states = experiment.label_all(compiled, matrix, assignment.rows(TRAIN))
    encoder = experiment.fit_encoder(matrix, rows)
    train = experiment.batch(encoder, matrix, rows, y)
    none = experiment.batch(encoder, matrix, rows[:0], y)
    material = Material(tasks, encoder.columns, train, none, "check")

    def fit(name: str, model: Any, some: Material) -> tuple[Fitted, float]:
        built = models.get(model.kind).build(model)
        with unfit(name, some.tasks):
            return built.fit(
                some.tasks, some.columns, some.train, some.valid, seed=config.seed, threads=1
            ), 0.0

    ground = ensembles.Ground.of(config, compiled, matrix, rows, material, fit)
    fitted: dict[str, Fitted] = {}
    for name, model in ensembles.singles_first(
        experiment.with_baselines(config.model, rule=bool(encoder.columns))
    ):
        if isinstance(model, Ensemble):  # a blend without validation rows has equal weights
            said = {other: one.predict(none.X, none.modalities) for other, one in fitted.items()}
            fitted[name], _ = ensembles.put_together(model, config.model, fitted, said, ground)
        else:
            try:
                fitted[name], _ = fit(name, model, material)
            except UnfitError as error:
                ground.failed[name] = ensembles.left_out(name, config.model, error)
    return _digests(states, encoder, fitted, train)


def fitted_at_all(
    config: Config, compiled: Compiled, matrix: Matrix, assignment: Assignment, folder: Path
) -> dict[str, str]:
    """Digests of everything that a run fits and chooses."""
    cache = Cache(folder)  # a new one: nothing is found, all is fitted
    outcome = experiment.run_split(
        config, compiled, matrix, assignment, cache, "check", _quiet, audited=False
    )
    rows = np.flatnonzero(assignment.rows(TRAIN))
    train = experiment.batch(outcome.encoder, matrix, rows, np.empty((len(matrix), 0), np.float32))
    found = _digests(outcome.states, outcome.encoder, outcome.fitted, train)
    for candidate in outcome.candidates:
        at = f"{candidate.model} on {candidate.target}"
        found[f"calibration of {at}"] = digest(candidate.calibrator.to_dict())
        found[f"threshold of {at}"] = digest(candidate.threshold.to_dict() if candidate.threshold else None)
        if candidate.by_group:
            found[f"thresholds by group of {at}"] = digest(candidate.by_group.to_dict())
    for name, found_out in outcome.studies.items():
        found[f"tuning of {name}"] = digest([found_out.best, found_out.value])
    if outcome.triage:
        guard = outcome.triage.guard.to_arrays() if outcome.triage.guard else {}
        arrays = {name: hashlib.sha256(one.tobytes()).hexdigest() for name, one in guard.items()}
        found["triage"] = digest([outcome.triage.to_dict(), arrays])
    found["choice of models"] = digest([outcome.chosen(task.name).model for task in outcome.tasks])
    return found


def _digests(
    states: Mapping[str, Any], encoder: Encoder, fitted: Mapping[str, Fitted], train: Batch
) -> dict[str, str]:
    """Label states and encoder as they are kept; a model by what it says of the training rows, to the last bit.

    Its files would not do: skops writes addresses in memory into them.
    """
    found = {f"labels of {name}": digest(state.to_dict()) for name, state in states.items()}
    found["encoder"] = digest(encoder.to_dict())
    for name, model in fitted.items():
        said = hashlib.sha256(repr(list(model.iterations)).encode())
        for scores in model.predict(train.X, train.modalities):
            said.update(np.ascontiguousarray(scores).data)
        found[f"model {name}"] = said.hexdigest()
        # Trees say the same of rows on another scale, so what a stage was fitted to is looked at by itself.
        stages = [part for top in getattr(model, "tops", [model]) for part in getattr(top, "parts", ())]
        for task, part in zip(model.tasks, stages, strict=False):
            if isinstance(part, Staged | TfidfLinearFitted):
                arrays = {
                    key: hashlib.sha256(one.tobytes()).hexdigest() for key, one in part.arrays().items()
                }
                found[f"inputs of {name} on {task.name}"] = digest(arrays)
    return found


def _quiet(what: str, share: float) -> None:
    """No progress: the outer stage has said what is being done."""
