"""Proof of the first promise on the user's own data: the future and the held-out rows are scrambled, and nothing moves.

Three experiments, each comparing what came out before and after:
1. All that became known after a cutoff is shuffled, dropped, doubled and distorted: the cohort and
   every feature at that cutoff stay the same, and the targets do not (else nothing would be proved).
2. The validation and test rows are scrambled, features and outcomes: everything fitted on training
   rows (label quantiles, encoder, baselines, models without early stopping) stays the same.
3. The test rows alone are scrambled: everything fitted at all (early stopping, calibration,
   thresholds, the choice of model) stays the same.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from sqlglot import exp

from toolkit.config.schema import Config
from toolkit.data import sql
from toolkit.data.cache import Cache, digest
from toolkit.data.engine import Engine
from toolkit.data.sql import col
from toolkit.data.tables import Tables
from toolkit.errors import DataError
from toolkit.models.encode import Encoder
from toolkit.models.interface import Batch, Fitted
from toolkit.prepare import cohort as cohorts
from toolkit.prepare import matrix as matrices
from toolkit.prepare.cohort import COHORT
from toolkit.prepare.frame import CUTOFF, ENTITY, ROW, Query
from toolkit.prepare.matrix import Declaration, Matrix
from toolkit.prepare.scramble import scramble_after, scramble_rows, some_rows
from toolkit.prepare.targets import compile_target
from toolkit.registry import models

if TYPE_CHECKING:
    from toolkit.runner import Workplace
    from toolkit.training.split import Assignment

RELATIVE, ABSOLUTE = 1e-9, 1e-12  # parallel sums add in another order; the latter of a column's largest value
ROWS = 20_000  # looked at, at most
MOMENTS = 3
# Fits are kept short: what is proved is who gets to see which rows, not how good a model is.
QUICK = {
    "num_iterations": 40,
    "num_boost_round": 40,
    "max_iterations": 40,
    "trees": 20,
    "early_stopping_rounds": 5,
}
LEARNING_RATE = 0.3
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Proof:
    """One statement about the user's data, and whether it holds; `assumed`: it was not put to the test."""

    text: str
    holds: bool
    assumed: bool = False


def all_proofs(config: Config, progress: Progress) -> list[Proof]:
    """The three experiments; what cannot be proved (undated tables) is said."""
    from toolkit import runner

    declaration = runner.declaration(config)
    place = runner.workplace(config, progress)
    try:
        with place.stage("reading tables"):
            tables = matrices.load_tables(declaration, config.source, place.engine, place.cache, progress)
        proofs = future(declaration, tables, place.engine, config.seed, progress)
        proofs += held_out(config, tables, place, progress)
    finally:
        place.engine.close()
    undated = [name for name, table in tables.loaded.items() if not table.spec.clock]
    return proofs + [
        Proof(f"table `{name}` has no clock: that its rows were known at the cutoff is assumed, not proved", True, True)
        for name in undated
    ]  # fmt: skip


# --- 1. the future ----------------------------------------------------------------------------------


@dataclass
class State:
    """What is computed at one cutoff: entities [rows]; features and raw target values as the engine gives
    them, float64 or texts [rows]."""

    entity: np.ndarray
    features: dict[str, np.ndarray] = field(default_factory=dict)
    targets: dict[str, np.ndarray] = field(default_factory=dict)


def future(
    declaration: Declaration, tables: Tables, engine: Engine, seed: int, progress: Progress
) -> list[Proof]:
    """Scramble what became known after the first, a middle and the last cutoff; put the views back."""
    moments = cohorts.moments(declaration.cohort, tables, declaration.horizons()).cutoffs
    if not moments:
        return [Proof("no cutoffs: nothing lies after one", True, True)]
    picked = sorted({moments[0], moments[len(moments) // 2], moments[-1]})[:MOMENTS]
    proofs: list[Proof] = []
    moved: list[str] = []
    for number, cutoff in enumerate(picked):
        progress(f"scrambling what lies after {cutoff:%Y-%m-%d}", number / len(picked))
        with tempfile.TemporaryDirectory(prefix="toolkit-check-") as folder:
            before = _state_at(declaration, tables, engine, cutoff, Path(folder) / "before")
            try:
                scrambled, touched = scramble_after(
                    tables, engine, cutoff, declaration.cohort.timezone, seed + number, Path(folder)
                )
                after = _state_at(declaration, scrambled, engine, cutoff, Path(folder) / "after")
            finally:
                for name, table in tables.loaded.items():
                    engine.view(name, table.path)
        found, targets = compare(before, after, cutoff, touched)
        proofs, moved = proofs + found, moved + targets
    if declaration.horizons() and not moved:
        proofs.append(Proof("the scrambled rows change no target at any cutoff: they are not what targets look at, so "
                            "nothing is proved", False))  # fmt: skip
    return proofs


def _state_at(
    declaration: Declaration, tables: Tables, engine: Engine, cutoff: datetime, folder: Path
) -> State:
    """Features and target values of (a sample of) the cohort at one cutoff, computed afresh."""
    compiled = matrices.compile_all(declaration, tables, engine, Cache(folder), (cutoff,), labelled=False)
    count = engine.one(exp.select(exp.Count(this=exp.Star())).from_(sql.table(COHORT)))[0]
    if count > ROWS:  # the same entities whatever else is in the cohort
        lot = exp.Mod(this=sql.call("hash", col(ENTITY)), expression=sql.literal(-(-count // ROWS)))
        order = exp.Order(expressions=[exp.Ordered(this=col(ENTITY))])
        number = exp.Sub(this=exp.Window(this=sql.call("row_number"), order=order), expression=sql.literal(1))
        sample = exp.select(sql.named(number, ROW), col(ENTITY), col(CUTOFF)).from_(sql.table(COHORT))
        engine.write(sample.where(exp.EQ(this=lot, expression=sql.literal(0))), folder / "sample.parquet")
        engine.view(COHORT, folder / "sample.parquet")
    rows = engine.arrow(exp.select(col(ENTITY)).from_(sql.table(COHORT)).order_by(col(ROW)))
    state = State(rows[ENTITY].to_numpy(zero_copy_only=False))
    for part in compiled.sets:
        result = _rows_of(part.query, engine)
        state.features |= {
            f.name: _column(result, f.column, f.fill, len(state.entity)) for f in part.features
        }
    for name in declaration.horizons():
        frame = cohorts.looking_back(declaration.cohort)
        target = compile_target(name, declaration.target[name], tables, frame, engine)
        state.targets[name] = _column(_rows_of(target.query, engine), "value", target.fill, len(state.entity))
    return state


def _rows_of(query: Query, engine: Engine) -> pa.Table:
    for name, step in query.steps:
        engine.keep(name, step)
    result = engine.arrow(query.tree)
    for name, _ in query.steps:
        engine.drop(name)
    return result


def _column(result: pa.Table, name: str, fill: float | None, rows: int) -> np.ndarray:
    """A column of a result, whose rows come in any order: float64 or texts [rows]."""
    at, column = result[ROW].to_numpy(), result[name]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        texts = np.full(rows, None, object)
        texts[at] = column.to_numpy(zero_copy_only=False)
        return texts
    values = np.full(rows, np.nan if fill is None else fill)
    values[at] = column.cast(pa.float64()).to_numpy()
    return values


def compare(
    before: State, after: State, cutoff: datetime, touched: Mapping[str, int]
) -> tuple[list[Proof], list[str]]:
    """Are cohort and features the same? One line, or one for each feature that moved; and the targets that moved."""
    what = ", ".join(f"{name} {count:,}" for name, count in touched.items())
    if not np.array_equal(before.entity, after.entity):
        text = (
            f"{cutoff:%Y-%m-%d}: the cohort changes when rows known after the cutoff are scrambled ({what})"
        )
        return [Proof(text, False)], list(before.targets)
    rows = len(before.entity)
    moved = {name: _differ(values, after.features[name]) for name, values in before.features.items()}
    targets = [name for name, values in before.targets.items() if _differ(values, after.targets[name])]
    found = [Proof(f"{cutoff:%Y-%m-%d}: feature `{name}` changes in {count:,} of {rows:,} rows when what became known later is "
                   "scrambled", False) for name, count in moved.items() if count]  # fmt: skip
    if not found:
        while_ = (
            f", while {', '.join(targets)} change" + ("s" if len(targets) == 1 else "") if targets else ""
        )
        found = [Proof(f"{cutoff:%Y-%m-%d}: cohort and {len(moved)} features of {rows:,} rows stay the same when all that became "
                       f"known later is scrambled (rows: {what}){while_}", True)]  # fmt: skip
    return found, targets


def _differ(a: np.ndarray, b: np.ndarray) -> int:
    """Rows in which two columns differ: exactly, but for the rounding of floating sums."""
    if a.dtype == object or b.dtype == object:
        return int((a != b).sum())
    largest = np.nanmax(np.abs(a), initial=0.0)
    return int((~np.isclose(a, b, rtol=RELATIVE, atol=ABSOLUTE * largest, equal_nan=True)).sum())


# --- 2. and 3. held-out rows ------------------------------------------------------------------------


def held_out(config: Config, tables: Tables, place: Workplace, progress: Progress) -> list[Proof]:
    """Scramble validation and test rows of a sample, then test rows alone; compare digests of what is fitted."""
    from toolkit import runner
    from toolkit.training.split import TEST, VALIDATION

    compiled = matrices.compile_all(runner.declaration(config), tables, place.engine, place.cache)
    matrix = matrices.build(compiled, place.engine, place.cache, progress)
    matrix, assignment = _sample(compiled, matrix, runner.splits(config, compiled, matrix)[-1], config.seed)
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
    small = {}
    for name, model in config.model.items():
        update = {key: min(most, getattr(model, key)) for key, most in QUICK.items() if hasattr(model, key)}
        if hasattr(model, "learning_rate"):
            update["learning_rate"] = max(model.learning_rate, LEARNING_RATE)
        small[name] = model.model_copy(update=update)
    evaluation = config.evaluation.model_copy(update={"bootstrap": 0, "segments": []})
    engine = config.engine.model_copy(update={"threads": 1})
    return config.model_copy(update={"model": small, "evaluation": evaluation, "engine": engine})


def _sample(compiled: Any, matrix: Matrix, assignment: Assignment, seed: int) -> tuple[Matrix, Assignment]:
    """Some of the rows, all parts of the split in proportion; all of them if a class is too rare for a sample."""
    from toolkit.training import experiment
    from toolkit.training.split import TRAIN

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
    config: Config, compiled: Any, matrix: Matrix, assignment: Assignment, folder: Path
) -> dict[str, str]:
    """Digests of everything that may be fitted on training rows alone; models get no validation rows."""
    from toolkit.training import experiment
    from toolkit.training.split import TRAIN

    rows = np.flatnonzero(assignment.rows(TRAIN))
    tasks, y, states = experiment.label_all(compiled, matrix, assignment.rows(TRAIN))
    encoder = experiment.fit_encoder(matrix, rows)
    train = Batch(experiment.encoded(encoder, matrix, rows)[0], y[rows])
    none = Batch(train.X[:0], train.y[:0])
    fitted = {
        name: models.get(model.kind).build(model).fit(tasks, encoder.columns, train, none, seed=config.seed, threads=1)
        for name, model in experiment.with_baselines(config).items()
    }  # fmt: skip
    return _digests(states, encoder, fitted, train.X)


def fitted_at_all(
    config: Config, compiled: Any, matrix: Matrix, assignment: Assignment, folder: Path
) -> dict[str, str]:
    """Digests of everything that a run fits and chooses."""
    from toolkit.training import experiment
    from toolkit.training.split import TRAIN

    cache = Cache(folder)  # a new one: nothing is found, all is fitted
    outcome = experiment.run_split(
        config, compiled, matrix, assignment, cache, "check", _quiet, audited=False
    )
    X, _ = experiment.encoded(outcome.encoder, matrix, np.flatnonzero(assignment.rows(TRAIN)))
    found = _digests(outcome.states, outcome.encoder, outcome.fitted, X)
    for candidate in outcome.candidates:
        at = f"{candidate.model} on {candidate.target}"
        found[f"calibration of {at}"] = digest(candidate.calibrator.to_dict())
        found[f"threshold of {at}"] = digest(candidate.threshold.to_dict() if candidate.threshold else None)
    found["choice of models"] = digest([outcome.chosen(task.name).model for task in outcome.tasks])
    return found


def _digests(
    states: Mapping[str, Any], encoder: Encoder, fitted: Mapping[str, Fitted], X: np.ndarray
) -> dict[str, str]:
    """Label states and encoder as they are kept; a model by what it says of the training rows X, to the last bit.

    Its files would not do: skops writes addresses in memory into them.
    """
    found = {f"labels of {name}": digest(state.to_dict()) for name, state in states.items()}
    found["encoder"] = digest(encoder.to_dict())
    for name, model in fitted.items():
        said = hashlib.sha256(repr(list(model.iterations)).encode())
        for scores in model.predict(X):
            said.update(np.ascontiguousarray(scores).data)
        found[f"model {name}"] = said.hexdigest()
    return found


def _quiet(what: str, share: float) -> None:
    """No progress: the outer stage has said what is being done."""
