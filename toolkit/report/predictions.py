"""Predictions as files: every row for the modeller, ranked lists for whoever makes the calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.evaluation.tiers import names_of
from toolkit.evaluation.ties import best_first, places
from toolkit.prepare.matrix import Matrix
from toolkit.report.listed import days_of, listed, places_among
from toolkit.report.lists import file_name, write_csv
from toolkit.training.experiment import Outcome


def write_predictions(
    matrix: Matrix, outcome: Outcome, path: Path, tiers: Mapping[str, float] | None = None
) -> None:
    """Validation and test rows: keys, labels, and score, probability and decision of every model.

    tiers: the declared ones; those of targets that have them are written.
    """
    rows, n = outcome.rows, outcome.n_valid
    columns: dict[str, Any] = {
        "entity": pa.array(matrix.entity[rows].tolist(), pa.string()), "cutoff": pa.array(matrix.cutoff[rows]),
        "part": pa.array(np.repeat(["validation", "test"], [n, len(rows) - n]).tolist(), pa.string()),
    }  # fmt: skip
    if matrix.cluster is not None:  # sweeps draw by it, too
        columns["drawn_by"] = pa.array(matrix.cluster[rows].tolist(), pa.string())
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
        if tiers and task.name in outcome.tiers:
            probability = outcome.scores[(chosen, task.name)].probability
            columns |= tier_column(task.name, probability, tiers, matrix.eligible[task.name][rows])
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


def tier_column(
    target: str, probability: np.ndarray, tiers: Mapping[str, float], applies: np.ndarray
) -> dict[str, Any]:
    """The tier of each row, the same in a run and in scoring; none where the target does not apply."""
    return {f"{target}.tier": pa.array(names_of(probability, tiers, applies), pa.string())}


def write_lists(size: int, matrix: Matrix, outcome: Outcome, zone: str, folder: Path) -> None:
    """Per target the best rows of the latest test cutoff, best first."""
    folder.mkdir()
    key = places_among(matrix, outcome)
    for index, task in enumerate(outcome.tasks):
        best = listed(matrix, outcome, index, key)
        _write_ordered(
            folder / f"{file_name(task.name)}.csv", task.type, task.classes, best.entity[:size],
            days_of(best.cutoff[:size], zone), best.probability[:size], best.decision[:size], len(best.rows),
        )  # fmt: skip


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
    """One ranked list of rows in any order: best first, ties as in `ties`."""
    rows = np.arange(len(entity))
    strength = score.max(axis=1) if kind == "multiclass" else score
    value = probability[rows, decision] if kind == "multiclass" else probability
    order = best_first(strength, places(entity))[:size]
    _write_ordered(
        path, kind, classes, entity[order], [day[row] for row in order], value[order], decision[order], len(rows)
    )  # fmt: skip


def _write_ordered(
    path: Path,
    kind: str,
    classes: tuple[str, ...],
    entity: np.ndarray,
    day: Sequence[str],
    value: np.ndarray,
    decision: np.ndarray,
    of: int,
) -> None:
    """rank, entity, cutoff, probability (or value), decile, decision; of: rows of the whole list."""
    header = ["rank", "entity", "cutoff", "value" if kind == "regression" else "probability", "decile"]
    header += {"binary": ["act"], "multiclass": ["class"], "regression": []}[kind]
    lines = []
    for place in range(len(entity)):
        line = [place + 1, entity[place], day[place], round(float(value[place]), 6), place * 10 // of + 1]
        if kind == "binary":
            line.append("yes" if decision[place] else "no")
        elif kind == "multiclass":
            line.append(classes[decision[place]])
        lines.append(line)
    write_csv(path, header, lines)
