"""Predictions as files: every row for the modeller, ranked lists for whoever makes the calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.config.time import to_local
from toolkit.prepare.matrix import Matrix
from toolkit.report.lists import file_name, write_csv
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


def write_lists(size: int, matrix: Matrix, outcome: Outcome, zone: str, folder: Path) -> None:
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
            days_of(cutoff[eligible], zone),
            task.type,
            task.classes,
            scores.score[n:][eligible],
            scores.probability[n:][eligible],
            scores.decision[n:][eligible],
            size,
        )


def days_of(cutoff: np.ndarray, zone: str) -> list[str]:
    """Cutoffs (datetime64, naive UTC) as days in the cohort's zone, "" for none [rows]."""
    instants, at = np.unique(cutoff, return_inverse=True)
    days = ["" if moment is None else f"{to_local(moment, zone):%Y-%m-%d}"
            for moment in instants.astype("datetime64[us]").tolist()]  # fmt: skip
    return [days[i] for i in at]


def write_list(
    path: Path,
    entity: np.ndarray,
    day: Sequence[str],
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
    header = ["rank", "entity", "cutoff", "value" if kind == "regression" else "probability", "decile"]
    header += {"binary": ["act"], "multiclass": ["class"], "regression": []}[kind]
    lines = []
    for place, row in enumerate(order[:size]):
        value = probability[row, decision[row]] if kind == "multiclass" else probability[row]
        line = [place + 1, entity[row], day[row], round(float(value), 6), place * 10 // len(order) + 1]
        if kind == "binary":
            line.append("yes" if decision[row] else "no")
        elif kind == "multiclass":
            line.append(classes[decision[row]])
        lines.append(line)
    write_csv(path, header, lines)
