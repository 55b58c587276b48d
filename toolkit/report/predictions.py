"""Predictions as files: every row for the modeller, ranked lists for whoever makes the calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.errors import DataError
from toolkit.prepare.matrix import Matrix
from toolkit.report.lists import write_csv
from toolkit.training.experiment import Outcome


def write_predictions(matrix: Matrix, outcome: Outcome, path: Path) -> None:
    """Validation and test rows: keys, labels, and score, probability and decision of every model."""
    rows, n = outcome.rows, outcome.n_valid
    columns: dict[str, Any] = {
        "entity": pa.array(matrix.entity[rows].tolist(), pa.string()), "cutoff": pa.array(matrix.cutoff[rows]),
        "part": pa.array(np.repeat(["validation", "test"], [n, len(rows) - n]).tolist(), pa.string()),
    }  # fmt: skip
    for index, task in enumerate(outcome.tasks):
        y = outcome.y[:, index]
        columns[f"{task.name}.label"] = pa.array(y, mask=np.isnan(y))
        chosen = outcome.chosen(task.name).model
        for candidate in outcome.of(task.name):
            scores = outcome.scores[(candidate.model, task.name)]
            prefix = task.name if candidate.model == chosen else f"{task.name}.{candidate.model}"
            columns |= score_columns(
                prefix,
                task.type,
                task.classes,
                scores.score,
                scores.probability,
                scores.decision,
                full=candidate.model == chosen,
            )
    pq.write_table(pa.table(columns), path)


def score_columns(
    prefix: str,
    kind: str,
    classes: tuple[str, ...],
    score: np.ndarray,
    probability: np.ndarray,
    decision: np.ndarray,
    full: bool = True,
) -> dict[str, Any]:
    """Columns of a prediction, the same in a run and in scoring."""
    if kind == "multiclass":
        found: dict[str, Any] = {
            f"{prefix}.probability.{name}": probability[:, i] for i, name in enumerate(classes)
        }
        return found | {f"{prefix}.decision": pa.array([classes[i] for i in decision], pa.string())}
    found = {f"{prefix}.score": score}
    if kind == "binary" and full:
        found |= {f"{prefix}.probability": probability, f"{prefix}.decision": decision}
    return found


def write_lists(size: int, matrix: Matrix, outcome: Outcome, folder: Path) -> None:
    """Per target the best rows of the latest test cutoff, best first."""
    folder.mkdir()
    rows, n = outcome.rows[outcome.n_valid :], outcome.n_valid
    cutoff = matrix.cutoff[rows]
    latest = np.ones(len(rows), bool) if np.isnat(cutoff).all() else cutoff == cutoff.max()
    for task in outcome.tasks:
        scores = outcome.scores[(outcome.chosen(task.name).model, task.name)]
        eligible = latest & matrix.eligible[task.name][rows]
        write_list(
            folder / f"{file_name(task.name)}.csv",
            matrix.entity[rows][eligible],
            cutoff[eligible],
            task.type,
            task.classes,
            scores.score[n:][eligible],
            scores.probability[n:][eligible],
            scores.decision[n:][eligible],
            size,
        )


def write_list(
    path: Path,
    entity: np.ndarray,
    cutoff: np.ndarray,
    kind: str,
    classes: tuple[str, ...],
    score: np.ndarray,
    probability: np.ndarray,
    decision: np.ndarray,
    size: int,
) -> None:
    """One ranked list: rank, entity, cutoff, probability (or value), decile, decision; ties in order of the key."""
    strength = score.max(axis=1) if kind == "multiclass" else score
    order = np.lexsort((entity.astype(str), -strength))
    decile = np.empty(len(order), int)
    decile[order] = np.arange(len(order)) * 10 // max(len(order), 1) + 1
    days = (
        pd.Series(cutoff).dt.strftime("%Y-%m-%d").where(~np.isnat(cutoff), None).to_numpy(dtype=object)
        if len(cutoff)
        else cutoff
    )
    lines = []
    for rank, row in enumerate(order[:size], 1):
        if kind == "multiclass":
            best = int(decision[row])
            value, verdict = round(float(probability[row, best]), 6), classes[best]
        else:
            value, verdict = (
                round(float(probability[row]), 6),
                ("yes" if decision[row] else "no") if kind == "binary" else "",
            )
        lines.append([rank, entity[row], days[row], value, decile[row], verdict])
    value_name = "value" if kind == "regression" else "probability"
    write_csv(
        path,
        ["rank", "entity", "cutoff", value_name, "decile", "act" if kind == "binary" else "class"],
        lines,
    )


def file_name(name: str) -> str:
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:80]
    if not safe:
        raise DataError(f"target `{name}` has no letters to name a file by")
    return safe
