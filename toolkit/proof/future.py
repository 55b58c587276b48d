"""Proof that the future stays out: what became known after a cutoff is scrambled, and no feature moves.

All that became known after a cutoff is shuffled, dropped, doubled and distorted: the cohort and every
feature at that cutoff stay the same, and the targets do not (else nothing would be proved).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from sqlglot import exp

from toolkit.data import sql
from toolkit.data.cache import Cache, digest
from toolkit.data.engine import Engine
from toolkit.data.sql import col
from toolkit.data.tables import Tables
from toolkit.modalities import Relation, Sequences
from toolkit.prepare import cohort as cohorts
from toolkit.prepare import graphs, pictures, raw_texts, sequences, texts
from toolkit.prepare import matrix as matrices
from toolkit.prepare.cohort import COHORT
from toolkit.prepare.features import CompiledSet
from toolkit.prepare.frame import CUTOFF, ENTITY, ROW, Query
from toolkit.prepare.graphs import CompiledGraph
from toolkit.prepare.matrix import Declaration
from toolkit.prepare.targets import compile_target
from toolkit.prepare.texts import CompiledText
from toolkit.proof.proof import ROWS, Progress, Proof
from toolkit.proof.scramble import scramble_after

RELATIVE, ABSOLUTE = 1e-9, 1e-12  # parallel sums add in another order; the latter of a column's largest value
MOMENTS = 3


@dataclass
class State:
    """What is computed at one cutoff: entities [rows]; features and raw target values as the engine gives
    them, float64 or texts [rows]; events of the rows, with float64 numbers; all nodes of the graphs [nodes],
    their relations as ragged rows, and what describes those nodes that are no rows (a sample)."""

    entity: np.ndarray
    features: dict[str, np.ndarray] = field(default_factory=dict)
    targets: dict[str, np.ndarray] = field(default_factory=dict)
    events: list[Sequences] = field(default_factory=list)
    nodes: np.ndarray = field(default_factory=lambda: np.empty(0, object))
    relations: list[Sequences] = field(default_factory=list)
    described: dict[str, np.ndarray] = field(default_factory=dict)


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
    relations: list[Sequences] = []
    nodes = _entities(compiled.nodes.name, engine) if compiled.graphs else np.empty(0, object)
    for graph in compiled.graphs:  # whole, before there is a sample
        engine.write(graph.query.tree, folder / "edges.parquet")
        relations += _as_ragged(graph, *graphs.assemble(folder / "edges.parquet", graph, len(nodes)))
    for name in {compiled.rows.name, compiled.nodes.name}:
        _sampled(name, engine, folder / f"{name}.parquet")
    state = State(_entities(COHORT, engine), nodes=nodes, relations=relations)
    for part in compiled.sets:
        state.features |= _values(part, len(state.entity), engine)
    if compiled.described:
        rows = len(_entities(compiled.nodes.name, engine))
        for part in compiled.described:
            state.described |= _values(part, rows, engine)
    for sequence in compiled.sequences:
        engine.write(sequence.query.tree, folder / "events.parquet")
        found = sequences.assemble(folder / "events.parquet", sequence, len(state.entity), np.float64)
        state.events.append(found)
    for text in compiled.texts:
        read = raw_texts.assemble(_rows_of(text.query, engine), text, len(state.entity))
        state.features[text.features[0].name] = read.text
    for shown in compiled.images:
        state.features[shown.features[0].name] = _pictures(_rows_of(shown.query, engine), len(state.entity))
    for name in declaration.horizons():
        frame = cohorts.looking_back(declaration.cohort)
        target = compile_target(name, declaration.target[name], tables, frame, engine)
        state.targets[name] = matrices.raw_values(
            _rows_of(target.query, engine), "value", target.fill, len(state.entity)
        )
    return state


def _sampled(name: str, engine: Engine, path: Path) -> None:
    """Put a sample in the place of a frame with very many rows: the same entities whatever else is in it."""
    count = engine.one(exp.select(exp.Count(this=exp.Star())).from_(sql.table(name)))[0]
    if count <= ROWS:
        return
    lot = exp.Mod(this=sql.call("hash", col(ENTITY)), expression=sql.literal(-(-count // ROWS)))
    order = exp.Order(expressions=[exp.Ordered(this=col(ENTITY))])
    number = exp.Sub(this=exp.Window(this=sql.call("row_number"), order=order), expression=sql.literal(1))
    sample = exp.select(sql.named(number, ROW), col(ENTITY), col(CUTOFF)).from_(sql.table(name))
    engine.write(sample.where(exp.EQ(this=lot, expression=sql.literal(0))), path)
    engine.view(name, path)


def _entities(name: str, engine: Engine) -> np.ndarray:
    rows = engine.arrow(exp.select(col(ENTITY)).from_(sql.table(name)).order_by(col(ROW)))
    return rows[ENTITY].to_numpy(zero_copy_only=False)


def _values(part: CompiledSet, rows: int, engine: Engine) -> dict[str, np.ndarray]:
    result = _rows_of(part.query, engine)
    if isinstance(part, CompiledText):
        return texts.assemble(result.to_batches(), part, rows)
    return {f.name: matrices.raw_values(result, f.column, f.fill, rows) for f in part.features}


def _pictures(result: pa.Table, rows: int) -> np.ndarray:
    """A digest of the pictures of each row, in order: object [rows]."""
    found = np.full(rows, None, object)
    for one in result.sort_by([(ROW, "ascending"), (pictures.PLACE, "ascending")]).to_pylist():
        found[one[ROW]] = digest([found[one[ROW]], hashlib.sha256(one[pictures.PICTURE]).hexdigest()])
    return found


def _as_ragged(
    graph: CompiledGraph, relations: Mapping[str, Relation], dropped: Mapping[str, int]
) -> list[Sequences]:
    """Each relation as rows of (neighbour, weight); a last row holds how many edges were left out."""
    return [
        Sequences(
            f"{graph.name}.{kind}",
            np.append(found.indptr, found.indptr[-1] + 1),
            np.append(found.weight, np.float32(0))[:, None],
            np.append(found.indices, dropped[kind])[:, None],
            ("weight",),
            (("neighbour", ()),),
        )
        for kind, found in relations.items()
    ]


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
    if not np.array_equal(before.nodes, after.nodes):
        text = f"{cutoff:%Y-%m-%d}: the nodes of the graphs change when rows known after the cutoff are scrambled ({what})"
        return [Proof(text, False)], list(before.targets)
    rows = len(before.entity)
    moved = {f"feature `{name}`": _differ(a, after.features[name]) for name, a in before.features.items()}
    told = f"cohort and {len(moved)} features of {rows:,} rows"
    for one, other in zip(before.events, after.events, strict=True):
        moved |= {f"channel `{one.name}.{name}`": count for name, count in ragged(one, other).items()}
    if before.events:
        told += f", {len(moved) - len(before.features)} channels of their events"
    targets = [name for name, values in before.targets.items() if _differ(values, after.targets[name])]
    found = [Proof(f"{cutoff:%Y-%m-%d}: {name} changes in {count:,} of {rows:,} rows when what became known later is "
                   "scrambled", False) for name, count in moved.items() if count]  # fmt: skip
    drawn = {f"relation `{one.name}`": max(ragged(one, other).values())
             for one, other in zip(before.relations, after.relations, strict=True)}  # fmt: skip
    drawn |= {f"feature `{name}`": _differ(a, after.described[name]) for name, a in before.described.items()}
    if before.relations:
        told += f", {len(before.relations)} relations between {len(before.nodes):,} nodes"
    if before.described:
        told += f" and {len(before.described)} features of theirs"
    found += [Proof(f"{cutoff:%Y-%m-%d}: {name} changes for {count:,} nodes when what became known later is scrambled", False)
              for name, count in drawn.items() if count]  # fmt: skip
    if not found:
        while_ = (
            f", while {', '.join(targets)} change" + ("s" if len(targets) == 1 else "") if targets else ""
        )
        found = [Proof(f"{cutoff:%Y-%m-%d}: {told} stay the same when all that became "
                       f"known later is scrambled (rows: {what}){while_}", True)]  # fmt: skip
    return found, targets


def ragged(before: Sequences, after: Sequences) -> dict[str, int]:
    """Channel → rows whose events differ in it; rows that have another number of events differ in all."""
    rows = np.flatnonzero(before.lengths == after.lengths)
    others = len(before) - len(rows)
    a, b = before.some(rows), after.some(rows)
    owner = np.repeat(np.arange(len(rows)), a.lengths)
    pairs = {name: (a.numeric[:, i], b.numeric[:, i]) for i, name in enumerate(a.channels)}
    for i, (name, levels) in enumerate(a.categorical):
        one, other = a.codes[:, i], b.codes[:, i]
        if levels or b.categorical[i][1]:  # by the texts: the codes are of one state only
            one, other = (
                np.array([*each.categorical[i][1], None], object)[each.codes[:, i]] for each in (a, b)
            )
        pairs[name] = one, other
    return {name: len(np.unique(owner[_unlike(*pair)])) + others for name, pair in pairs.items()}


def _differ(a: np.ndarray, b: np.ndarray) -> int:
    """Rows in which two columns differ."""
    return int(_unlike(a, b).sum())


def _unlike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two columns differ [rows]: exactly, but for the rounding of floating sums."""
    if a.dtype == object or b.dtype == object or a.dtype.kind == "i":
        return np.asarray(a != b)
    largest = np.nanmax(np.abs(a), initial=0.0)
    return ~np.isclose(a, b, rtol=RELATIVE, atol=ABSOLUTE * largest, equal_nan=True)
