"""Proof of the first promise on the user's own data: the future and the held-out rows are scrambled, and nothing moves.

Three experiments, each comparing what came out before and after:
1. All that became known after a cutoff is shuffled, dropped, doubled and distorted: the cohort and
   every feature at that cutoff stay the same (exactly; floating sums to 1e-9 relative, because
   parallel sums add in another order).
2. The validation and test rows are scrambled, features and outcomes: everything fitted on training
   rows (label quantiles, encoder, baselines, models without early stopping) stays the same.
3. The test rows alone are scrambled: everything fitted at all (early stopping, calibration,
   thresholds, the choice of model) stays the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlglot import exp

from toolkit.config.schema import Config
from toolkit.data import sql
from toolkit.data.cache import Cache, digest, file_digest
from toolkit.data.engine import Engine
from toolkit.data.sql import col
from toolkit.data.tables import KNOWN, Loaded, Tables
from toolkit.models import store
from toolkit.prepare import matrix as matrices
from toolkit.prepare.cohort import COHORT
from toolkit.prepare.features import Feature
from toolkit.prepare.matrix import Declaration, Matrix
from toolkit.prepare.measure import ENTITY, ROW

TOLERANCE = 1e-9
ROWS = 20_000  # entities looked at, and future rows distorted, at most
MOMENTS = 3
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Proof:
    """One statement about the user's data, and whether it holds."""

    text: str
    holds: bool


def all_proofs(config: Config, progress: Progress) -> list[Proof]:
    """The three experiments; what cannot be proved (undated tables) is said."""
    from toolkit import runner

    place = runner.workplace(config, progress)
    with place.stage("reading tables"):
        tables = matrices.load_tables(
            runner.declaration(config), config.source, place.engine, place.cache, progress
        )
    proofs = future(runner.declaration(config), tables, place.engine, config.seed, progress)
    proofs += held_out(config, tables, place, progress)
    undated = [name for name, table in tables.loaded.items() if not table.spec.clock]
    proofs += [
        Proof(
            f"table `{name}` has no clock: that its rows were known at the cutoff is assumed, not proved",
            True,
        )
        for name in undated
    ]
    place.engine.close()
    return proofs


# --- 1. the future ----------------------------------------------------------------------------------


def future(
    declaration: Declaration, tables: Tables, engine: Engine, seed: int, progress: Progress
) -> list[Proof]:
    """Scramble what became known after each cutoff (the first, a middle and the last one)."""
    moments = matrices.cohorts.moments(declaration.cohort, tables, declaration.horizons()).cutoffs
    if not moments:
        return [Proof("no cutoffs: nothing lies after one", True)]
    picked = sorted({moments[0], moments[len(moments) // 2], moments[-1]})[:MOMENTS]
    proofs = []
    for number, cutoff in enumerate(picked):
        progress(f"scrambling what lies after {cutoff:%Y-%m-%d}", number / len(picked))
        with tempfile.TemporaryDirectory(prefix="toolkit-check-") as folder:
            before = _features_at(declaration, tables, engine, cutoff, Path(folder) / "before")
            scrambled, touched = scramble_after(tables, engine, cutoff, seed + number, Path(folder))
            try:
                after = _features_at(declaration, scrambled, engine, cutoff, Path(folder) / "after")
            finally:
                for name, table in tables.loaded.items():
                    engine.view(name, table.path)
        proofs += compare(before, after, cutoff, touched)
    return proofs


def _features_at(
    declaration: Declaration, tables: Tables, engine: Engine, cutoff: datetime, folder: Path
) -> Matrix:
    """The features of a sample of the cohort at one cutoff, computed afresh."""
    compiled = matrices.compile_all(
        replace(declaration, target={}), tables, engine, Cache(folder), (cutoff,), labelled=False
    )
    count = engine.one(exp.select(exp.Count(this=exp.Star())).from_(sql.table(COHORT)))[0]
    if count > ROWS:  # the same entities whatever else is in the cohort
        lot = exp.Mod(this=sql.call("hash", col(ENTITY)), expression=sql.literal(-(-count // ROWS)))
        number = exp.Sub(
            this=exp.Window(
                this=sql.call("row_number"), order=exp.Order(expressions=[exp.Ordered(this=col(ENTITY))])
            ),
            expression=sql.literal(1),
        )
        sample = (
            exp.select(sql.named(number, ROW), col(ENTITY), col("cutoff"))
            .from_(sql.table(COHORT))
            .where(exp.EQ(this=lot, expression=sql.literal(0)))
        )
        engine.write(sample, folder / "sample.parquet")
        engine.view(COHORT, folder / "sample.parquet")
        compiled.cohort_key["sample"] = ROWS
    return matrices.build(compiled, engine, Cache(folder))


def scramble_after(
    tables: Tables, engine: Engine, cutoff: datetime, seed: int, folder: Path
) -> tuple[Tables, dict[str, int]]:
    """Tables whose rows known by the cutoff are as they were and whose later rows are nonsense, as views.

    Returns them with the number of rows scrambled per table. Later rows stay later: `@known` remains
    after the cutoff, all else, keys of entities and times of events included, is dealt anew.
    """
    rng = np.random.default_rng(seed)
    loaded, touched = {}, {}
    for name, table in tables.loaded.items():
        if not table.spec.clock:
            loaded[name] = table
            continue
        rows = pq.read_table(table.path)
        late = pc.fill_null(pc.greater(rows[KNOWN], pa.scalar(cutoff, rows[KNOWN].type)), False)
        future_rows = rows.filter(late)
        touched[name] = future_rows.num_rows
        keep_index = np.flatnonzero(rng.random(future_rows.num_rows) < 0.7)
        doubled = np.concatenate([keep_index, rng.permutation(keep_index)[: len(keep_index) // 2]])
        columns = {
            field.name: _distorted(future_rows[field.name], doubled, field.name, rng) for field in rows.schema
        }
        path = folder / f"{digest(name)[:12]}.parquet"
        nonsense = pa.table(columns, schema=rows.schema) if len(doubled) else future_rows.slice(0, 0)
        pq.write_table(pa.concat_tables([rows.filter(pc.invert(late)), nonsense]), path)
        engine.view(name, path)
        loaded[name] = replace(table, path=path, fingerprint=file_digest(path))
    return Tables(tables.dataset, loaded), touched


def _distorted(
    column: pa.ChunkedArray, rows: np.ndarray, name: str, rng: np.random.Generator
) -> pa.ChunkedArray:
    """A column dealt anew among the rows; numbers are also stretched."""
    dealt = column.take(pa.array(rng.permutation(rows)))
    if pa.types.is_floating(column.type):
        stretched = pc.multiply(pc.add(dealt, 1.0), pa.array(rng.uniform(0.1, 10.0, len(rows))))
        return pc.cast(stretched, column.type)
    return dealt


def compare(before: Matrix, after: Matrix, cutoff: datetime, touched: dict[str, int]) -> list[Proof]:
    """Are cohort and features the same? One line, or one for each feature that moved."""
    what = ", ".join(f"{name} {count:,}" for name, count in touched.items())
    if len(before) != len(after) or not np.array_equal(before.entity, after.entity):
        return [
            Proof(
                f"{cutoff:%Y-%m-%d}: the cohort changed when rows after the cutoff were scrambled ({what})",
                False,
            )
        ]
    moved = [
        feature for feature in before.features if (count := _differences(before, after, feature)) and count
    ]
    if not moved:
        return [Proof(f"{cutoff:%Y-%m-%d}: {len(before.features)} features of {len(before):,} rows stay the same when all that "
                      f"became known later is scrambled (rows: {what})", True)]  # fmt: skip
    return [Proof(f"{cutoff:%Y-%m-%d}: feature `{feature.name}` changes in {_differences(before, after, feature):,} of {len(before):,} "
                  "rows when what became known later is scrambled", False) for feature in moved]  # fmt: skip


def _differences(before: Matrix, after: Matrix, feature: Feature) -> int:
    """Rows in which a feature differs. The columns are float32, so 1e-9 of double sums shows as one step at most."""
    a, b = before.columns[feature.name], after.columns[feature.name]
    if isinstance(a, pd.Categorical):
        return int(
            (
                np.asarray(a.astype(object), object).astype(str)
                != np.asarray(b.astype(object), object).astype(str)
            ).sum()
        )
    with np.errstate(invalid="ignore"):
        close = np.abs(a.astype(float) - b.astype(float)) <= np.maximum(
            np.spacing(np.abs(a)), TOLERANCE * np.abs(a)
        )
    return int((~(close | (np.isnan(a) & np.isnan(b)) | (a == b))).sum())


# --- 2. and 3. held-out rows ------------------------------------------------------------------------


def held_out(config: Config, tables: Tables, place: Any, progress: Progress) -> list[Proof]:
    """Scramble validation and test rows of a sample, then test rows alone; compare digests of what is fitted."""
    from toolkit import runner
    from toolkit.training.split import TEST, VALIDATION

    compiled = matrices.compile_all(runner.declaration(config), tables, place.engine, place.cache)
    matrix = matrices.build(compiled, place.engine, place.cache, progress)
    assignment = runner.splits(config, compiled, matrix)[-1]
    matrix, assignment = _sample(matrix, assignment, config.seed)
    rng = np.random.default_rng(config.seed)
    held = assignment.rows(VALIDATION) | assignment.rows(TEST)
    scrambled = scramble_rows(matrix, held, rng)
    only_test = scramble_rows(matrix, assignment.rows(TEST), rng)
    proofs = []
    with tempfile.TemporaryDirectory(prefix="toolkit-check-") as folder:
        progress("fitting on training rows, held-out rows scrambled", 0.0)
        before = fitted_on_training(config, compiled, matrix, assignment, Path(folder) / "a", progress)
        after = fitted_on_training(config, compiled, scrambled, assignment, Path(folder) / "b", progress)
        proofs += _same(before, after, "validation and test rows are scrambled")
        progress("fitting all, test rows scrambled", 0.5)
        before = fitted_at_all(config, compiled, matrix, assignment, Path(folder) / "c", progress)
        after = fitted_at_all(config, compiled, only_test, assignment, Path(folder) / "d", progress)
        proofs += _same(before, after, "test rows are scrambled")
    return proofs


def _same(before: dict[str, str], after: dict[str, str], when: str) -> list[Proof]:
    moved = [name for name in before if before[name] != after.get(name)]
    if moved:
        return [Proof(f"{name} changes when {when}", False) for name in moved]
    return [Proof(f"{len(before)} fitted states stay the same when {when}: {', '.join(before)}", True)]


def _sample(matrix: Matrix, assignment: Any, seed: int) -> tuple[Matrix, Any]:
    """Some of the rows, all parts of the split in proportion."""
    if len(matrix) <= ROWS:
        return matrix, assignment
    rows = np.sort(np.random.default_rng(seed).choice(len(matrix), ROWS, replace=False))
    return _rows(matrix, rows), replace(assignment, part=assignment.part[rows])


def _rows(matrix: Matrix, rows: np.ndarray) -> Matrix:
    return Matrix(
        matrix.entity[rows], matrix.cutoff[rows], matrix.features, {name: column[rows] for name, column in matrix.columns.items()},
        {name: values[rows] for name, values in matrix.values.items()}, {name: mask[rows] for name, mask in matrix.eligible.items()},
    )  # fmt: skip


def scramble_rows(matrix: Matrix, rows: np.ndarray, rng: np.random.Generator) -> Matrix:
    """The matrix with features and outcomes of some rows dealt anew among them, numbers stretched, levels unknown."""
    at = np.flatnonzero(rows)
    columns: dict[str, Any] = {}
    for name, column in matrix.columns.items():
        if isinstance(column, pd.Categorical):
            changed = column.add_categories(["a level that training rows do not have"])
            codes = changed.codes.astype(np.int32).copy()
            codes[at] = rng.permutation(codes[at])
            codes[at[: len(at) // 2]] = len(changed.categories) - 1
            columns[name] = pd.Categorical.from_codes(codes, categories=changed.categories)
        else:
            changed = column.copy()
            changed[at] = rng.permutation(changed[at]) * rng.uniform(-3, 3, len(at)).astype(
                np.float32
            ) + np.float32(1)
            columns[name] = changed
    values = {}
    for name, raw in matrix.values.items():
        changed = raw.copy()
        changed[at] = rng.permutation(changed[at])
        if changed.dtype != object:
            changed[at] = changed[at] * rng.uniform(0, 5, len(at))
        values[name] = changed
    return replace(matrix, columns=columns, values=values)


def fitted_on_training(
    config: Config, compiled: Any, matrix: Matrix, assignment: Any, folder: Path, progress: Progress
) -> dict[str, str]:
    """Digests of everything that may be fitted on training rows alone; models get no validation rows."""
    from toolkit.models.interface import Batch
    from toolkit.registry import models
    from toolkit.training.experiment import BASELINES, encode, label_all, threads
    from toolkit.training.split import TRAIN

    train = np.flatnonzero(assignment.rows(TRAIN))
    tasks, y, states = label_all(compiled, matrix, assignment.rows(TRAIN))
    encoder, X, _, _ = encode(matrix, train)
    found = {f"labels of {name}": digest(state.to_dict()) for name, state in states.items()}
    found["encoder"] = digest(encoder.to_dict())
    empty = Batch(X[:0], y[:0])
    configs: dict[str, Any] = {name: models.get(name).config(kind=name) for name in BASELINES} | dict(
        config.model
    )
    for name, model in configs.items():
        small = {
            key: 50
            for key in ("num_iterations", "num_rounds", "max_iter", "n_estimators")
            if key in type(model).model_fields
        }
        model = model.model_copy(
            update={key: min(value, getattr(model, key)) for key, value in small.items()}
        )
        fitted = (
            models.get(model.kind)
            .build(model)
            .fit(
                tasks,
                encoder.columns,
                Batch(X[train], y[train]),
                empty,
                seed=config.seed,
                threads=threads(config),
            )
        )
        store.save(folder / name, model, fitted)
        found[f"model {name}"] = _folder_digest(folder / name)
    return found


def fitted_at_all(
    config: Config, compiled: Any, matrix: Matrix, assignment: Any, folder: Path, progress: Progress
) -> dict[str, str]:
    """Digests of everything that a run fits and chooses."""
    from toolkit.training.experiment import run_split

    quick = config.model_copy(
        update={"evaluation": config.evaluation.model_copy(update={"bootstrap": 0, "segments": []})}
    )
    outcome = run_split(
        quick, compiled, matrix, assignment, Cache(folder / "cache"), "check", progress, audited=False
    )
    found = {f"labels of {name}": digest(state.to_dict()) for name, state in outcome.states.items()}
    found["encoder"] = digest(outcome.encoder.to_dict())
    for name, fitted in outcome.fitted.items():
        if name in config.model:
            store.save(folder / name, config.model[name], fitted)
            found[f"model {name}"] = _folder_digest(folder / name)
    for candidate in outcome.candidates:
        at = f"{candidate.model} on {candidate.target}"
        found[f"calibration of {at}"] = digest(candidate.calibrator.to_dict())
        found[f"threshold of {at}"] = digest(candidate.threshold.to_dict() if candidate.threshold else None)
    found["choice of models"] = digest([outcome.chosen(task.name).model for task in outcome.tasks])
    return found


def _folder_digest(folder: Path) -> str:
    return digest(
        [
            (str(path.relative_to(folder)), file_digest(path))
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
    )
