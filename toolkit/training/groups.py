"""For whom a model works: figures per cutoff, per segment, and of entities that it has met or never seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from toolkit.config.schema import Config
from toolkit.evaluation.bootstrap import EntityBootstrap, interval
from toolkit.models.interface import Task
from toolkit.prepare.matrix import Matrix
from toolkit.training.figures import measured, resampled
from toolkit.training.outcome import HEADLINE, Outcome, Scores
from toolkit.training.split import TRAIN, VALIDATION

MOST_GROUPS = 200
LEAST_OF_EACH = 5  # entities with either answer, fewer than which a group's figure says nothing


def by_group(
    config: Config, boot: EntityBootstrap | None, task: Task, y: np.ndarray, scores: Scores, part: slice,
    has: np.ndarray, by: Mapping[str, np.ndarray],
) -> list[dict[str, Any]]:  # fmt: skip
    """The headline metric and the base rate per cutoff and per declared segment; small groups withheld."""
    headline, least, found = HEADLINE[task.type], config.evaluation.smallest_group, []
    for name, values in by.items():
        if (several := len(np.unique(values[has]))) > MOST_GROUPS:
            found.append({"by": name, "withheld": f"{several} values; a segment has at most {MOST_GROUPS}"})
            continue
        for value in np.unique(values[has]):
            rows = has & (values == value)
            entry: dict[str, Any] = {"by": name, "group": str(value), "rows": int(rows.sum())}
            if entry["rows"] < least:
                found.append(entry | {"withheld": f"fewer than {least} rows"})
                continue
            entry |= {
                headline: measured(config, task, y, scores, part, rows)[headline],
            }
            if task.type == "multiclass":
                counts = np.bincount(y[rows].astype(int), minlength=len(task.classes))
                entry["shares"] = dict(zip(task.classes, (counts / counts.sum()).tolist(), strict=True))
            else:
                entry["mean"] = float(y[rows].mean())
            if boot is not None:
                entry["interval"] = interval(resampled(config, boot, task, y, scores, part, rows)[headline])
            found.append(entry)
    return found


def segment(matrix: Matrix, name: str, rows: np.ndarray) -> np.ndarray:
    """An attribute's value of each row as text."""
    column = matrix.columns[name]
    if isinstance(column, pd.Categorical):
        names = np.array([*map(str, column.categories), "missing"], dtype=object)
        return names[column.codes[rows]].astype(str)
    values, codes = np.unique(column[rows], return_inverse=True)
    return np.array(["missing" if np.isnan(value) else f"{value:.9g}" for value in values])[codes]


def acquainted(outcome: Outcome, matrix: Matrix, rows: np.ndarray) -> np.ndarray | None:
    """Whether a row's entity has rows in training or validation [rows]; None where time does not part them."""
    if np.isnat(matrix.cutoff[rows]).all():
        return None
    part = outcome.assignment
    known = pd.unique(matrix.entity[part.rows(TRAIN) | part.rows(VALIDATION)])
    met = pd.Series(matrix.entity[rows]).isin(known).to_numpy()
    return met if met.any() else None


def by_acquaintance(
    config: Config, boot: EntityBootstrap | None, task: Task, y: np.ndarray, scores: Scores, part: slice,
    has: np.ndarray, met: np.ndarray | None, entity: np.ndarray,
) -> list[dict[str, Any]]:  # fmt: skip
    """Figures of entities that the model was fitted or chosen on, and of those that it has never seen.

    met, entity: [rows] each. Withheld, with the number: groups of few rows, or of few entities of either answer.
    """
    if met is None:
        return []
    found, least = [], config.evaluation.smallest_group
    for name, group in (("never seen in training or validation", ~met), ("seen before", met)):
        rows = has & group
        entry: dict[str, Any] = {
            "by": "entity", "group": name, "rows": int(rows.sum()), "entities": _distinct(entity[rows])
        }  # fmt: skip
        if task.type == "binary":
            entry["positives"] = int(y[rows].sum())
            entry["positive_entities"] = _distinct(entity[rows & (y == 1)])
        if entry["rows"] < least:
            found.append(entry | {"withheld": f"fewer than {least} rows" if entry["rows"] else "no such row"})
            continue
        if task.type == "binary" and (said := _few(entity[rows], y[rows])):
            found.append(entry | {"withheld": said})
            continue
        figures = measured(config, task, y, scores, part, rows)
        names = ["roc_auc", "pr_auc"] if task.type == "binary" else [HEADLINE[task.type]]
        entry |= {metric: figures[metric] for metric in names}
        if task.type != "multiclass":
            entry["mean"] = float(y[rows].mean())
        if boot is not None:
            draws = resampled(config, boot, task, y, scores, part, rows)
            entry["interval"] = interval(draws[names[0]])
            entry["interval_95"] = {metric: interval(draws[metric]) for metric in names}
        found.append(entry)
    return found


def _distinct(entity: np.ndarray) -> int:
    return len(np.unique(entity))


def _few(entity: np.ndarray, y: np.ndarray) -> str:
    """That few entities have one of the two answers, if so; entity, y [rows]."""
    for answer, label in (("yes", 1), ("no", 0)):
        if (there := _distinct(entity[y == label])) < LEAST_OF_EACH:
            many = "1 entity" if there == 1 else f"{there} entities"
            return f"{many} with a {answer}, fewer than {LEAST_OF_EACH}"
    return ""
