"""Score tables with a bundle: the features are recomputed by the code that trained on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from toolkit.bundling import Scorer
from toolkit.config.schema import Engine as EngineConfig
from toolkit.config.tables import Source
from toolkit.config.time import to_utc
from toolkit.data import sql
from toolkit.data.cache import Cache
from toolkit.data.engine import Engine
from toolkit.data.sql import col
from toolkit.data.tables import Tables
from toolkit.errors import BundleError, DataError
from toolkit.prepare import matrix as matrices
from toolkit.prepare.cohort import COHORT, FEATURES, filtered
from toolkit.prepare.matrix import Declaration, Matrix
from toolkit.prepare.measure import ROW
from toolkit.report.lists import write_csv
from toolkit.report.predictions import file_name, score_columns, write_list
from toolkit.runfolder import aside
from toolkit.training.coherence import project
from toolkit.training.threshold import decide


@dataclass(frozen=True)
class Scored:
    """Scores of a cohort. table: one row per (entity, cutoff); rejected: table → (rows, reasons)."""

    matrix: Matrix
    tables: Tables
    table: pa.Table
    raw: dict[str, np.ndarray]
    probability: dict[str, np.ndarray]
    decision: dict[str, np.ndarray]
    eligible: dict[str, np.ndarray]
    unseen: dict[str, int]
    cutoffs: tuple[datetime, ...]


def moments_of(text: str | None, tables: Tables, zone: str) -> tuple[datetime, ...]:
    """The cutoff to score at: a day, or `latest`, the moment up to which the tables reach."""
    dated = [table for table in tables.loaded.values() if table.spec.clock and table.last]
    if not dated:
        return ()
    last = max(table.last for table in dated if table.last)
    if text in (None, "latest"):
        return (last,)
    assert text is not None
    try:
        moment = to_utc(datetime.fromisoformat(text), zone)
    except ValueError:
        raise DataError(
            f"`cutoff={text}` is not a day", fix="write cutoff=2024-01-31, or cutoff=latest"
        ) from None
    first = min(table.first for table in dated if table.first)
    if moment <= first:
        raise DataError(
            f"at the cutoff {moment:%Y-%m-%d} nothing was known yet: the first row is of {first:%Y-%m-%d}",
            where="cutoff",
        )
    return (moment,)


def score(
    scorer: Scorer,
    source: Source,
    cutoff: str | None,
    cache: Cache,
    engine_config: EngineConfig,
    progress: Callable[[str, float], None] | None = None,
) -> Scored:
    """Score every entity of the cohort at one cutoff. Raises by name where the input does not fit."""
    engine = Engine(engine_config.threads, engine_config.memory, cache.root / "scratch")
    declared = scorer.declaration
    needed = Declaration(declared.dataset, declared.cohort, {}, declared.features)
    among = {name: node.among for name, node in declared.target.items() if node.among}
    names = set(needed.tables()) | {condition.table for nodes in among.values() for condition in nodes}
    optional: dict[str, set[str]] = {}
    for table, column in scorer.labels:
        optional.setdefault(table, set()).add(column)
    tables = matrices.load_tables(
        needed, source, engine, cache, progress, [n for n in declared.dataset.tables if n in names], optional
    )
    dated_cohort = declared.cohort.cutoffs is not None
    cutoffs = moments_of(cutoff, tables, declared.cohort.timezone) if dated_cohort else ()
    compiled = matrices.compile_all(needed, tables, engine, cache, cutoffs, labelled=False)
    matrix = matrices.build(compiled, engine, cache, progress)
    if tuple(feature.name for feature in compiled.features) != scorer.features:
        raise BundleError(
            "the features that this input gives are not those of the bundle",
            where="features",
            why="the bundle was written by another version of the toolkit",
        )
    encoded = scorer.encoder.transform(matrix.columns)
    eligible = {}
    for head in scorer.heads:
        mask = np.ones(len(matrix), bool)
        if head.name in among:
            rows = exp.select(col(ROW, "f")).from_(sql.table(COHORT, "f"))
            chosen = filtered(rows, among[head.name], FEATURES, tables, f"target.{head.name}.among")
            mask[:] = False
            mask[engine.arrow(chosen)[ROW].to_numpy()] = True
        eligible[head.name] = mask
    engine.close()
    return predict(scorer, matrix, tables, encoded.X, encoded.unseen, eligible, cutoffs)


def predict(
    scorer: Scorer,
    matrix: Matrix,
    tables: Tables,
    X: np.ndarray,
    unseen: dict[str, int],
    eligible: dict[str, np.ndarray],
    cutoffs: tuple[datetime, ...],
) -> Scored:
    """Encoded rows to scores, probabilities and decisions of every target."""
    lists = matrix.cutoff.astype("datetime64[s]").astype(str)
    by_model = {name: fitted.predict(X) for name, fitted in scorer.models.items()}
    raw = {head.name: by_model[head.model][head.position] for head in scorer.heads}
    probability = {head.name: head.calibrator.apply(raw[head.name]) for head in scorer.heads}
    for chain in scorer.coherent:
        after = project(np.column_stack([probability[name] for name in chain]))
        for index, name in enumerate(chain):
            probability[name] = after[:, index]
    decision = {}
    columns: dict[str, Any] = {
        "entity": pa.array(matrix.entity.tolist(), pa.string()),
        "cutoff": pa.array(matrix.cutoff),
    }
    for head in scorer.heads:
        if head.threshold is not None:
            decision[head.name] = decide(head.threshold, raw[head.name], lists)
        elif head.type == "multiclass":
            decision[head.name] = probability[head.name].argmax(axis=1)
        else:
            decision[head.name] = np.zeros(len(X), bool)
        columns |= score_columns(
            head.name, head.type, head.classes, raw[head.name], probability[head.name], decision[head.name]
        )
        if not eligible[head.name].all():
            columns[f"{head.name}.applies"] = eligible[head.name]
    return Scored(matrix, tables, pa.table(columns), raw, probability, decision, eligible, unseen, cutoffs)


def write(scorer: Scorer, scored: Scored, folder: Path) -> list[str]:
    """Scores, ranked lists and rejected rows into a new folder, whole or absent. Returns lines that account for every row."""
    with aside(folder) as work:
        pq.write_table(scored.table, work / "scores.parquet")
        (work / "lists").mkdir()
        for head in scorer.heads:
            rows = scored.eligible[head.name]
            write_list(
                work / "lists" / f"{file_name(head.name)}.csv",
                scored.matrix.entity[rows],
                scored.matrix.cutoff[rows],
                head.type,
                head.classes,
                scored.raw[head.name][rows],
                scored.probability[head.name][rows],
                scored.decision[head.name][rows],
                scorer.list_size,
            )
        for table in scored.tables.loaded.values():
            if table.rejected:
                found = pq.read_table(table.rejected)
                (work / "rejected").mkdir(exist_ok=True)
                write_csv(
                    work / "rejected" / f"{table.name}.csv",
                    found.column_names,
                    zip(*found.to_pydict().values(), strict=True),
                )
        lines = account(scorer, scored)
        (work / "summary.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines


def account(scorer: Scorer, scored: Scored) -> list[str]:
    """Rows in = rows scored + rows outside the cohort + rows rejected with a reason."""
    entity = scored.tables[scorer.declaration.dataset.entity]
    outside = entity.rows_kept - len(scored.matrix)
    at = f" at {scored.cutoffs[0]:%Y-%m-%d %H:%M}" if scored.cutoffs else ""
    lines = [f"{entity.rows_read:,} rows of {entity.name}: {len(scored.matrix):,} scored{at}, {outside:,} not in the cohort, "
             f"{entity.rows_rejected:,} rejected"]  # fmt: skip
    for table in scored.tables.loaded.values():
        lines += [
            f"rejected from {table.name}: {reason}: {count:,} rows" for reason, count in table.reasons.items()
        ]
    lines += [
        f"{name}: {count:,} rows hold a level never seen in training"
        for name, count in scored.unseen.items()
        if count
    ]
    return lines
