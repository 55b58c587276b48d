"""Proof that the future stays out: what became known after a cutoff is scrambled, and no feature moves.

All that became known after a cutoff is shuffled, dropped, doubled and distorted: the cohort and every
feature at that cutoff stay the same, and the targets do not (else nothing would be proved).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from sqlglot import exp

from toolkit.data import sql
from toolkit.data.cache import Cache
from toolkit.data.engine import Engine
from toolkit.data.sql import col
from toolkit.data.tables import Tables
from toolkit.prepare import cohort as cohorts
from toolkit.prepare import matrix as matrices
from toolkit.prepare.cohort import COHORT
from toolkit.prepare.frame import CUTOFF, ENTITY, ROW, Query
from toolkit.prepare.matrix import Declaration
from toolkit.prepare.targets import compile_target
from toolkit.proof.proof import ROWS, Progress, Proof
from toolkit.proof.scramble import scramble_after

RELATIVE, ABSOLUTE = 1e-9, 1e-12  # parallel sums add in another order; the latter of a column's largest value
MOMENTS = 3


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
        progress(f"scrambling the future: after {cutoff:%Y-%m-%d}", number / len(picked))
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
            f.name: matrices.raw_values(result, f.column, f.fill, len(state.entity)) for f in part.features
        }
    for name in declaration.horizons():
        frame = cohorts.looking_back(declaration.cohort)
        target = compile_target(name, declaration.target[name], tables, frame, engine)
        state.targets[name] = matrices.raw_values(
            _rows_of(target.query, engine), "value", target.fill, len(state.entity)
        )
    return state


def _rows_of(query: Query, engine: Engine) -> pa.Table:
    for name, step in query.steps:
        engine.keep(name, step)
    result = engine.arrow(query.tree)
    for name, _ in query.steps:
        engine.drop(name)
    return result


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
