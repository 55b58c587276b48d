"""Every metric of a model's scores on some rows, and the same in each replicate of the bootstrap."""

from __future__ import annotations

import numpy as np

from toolkit.config.schema import Config
from toolkit.evaluation import metrics
from toolkit.evaluation.bootstrap import Draws, EntityBootstrap
from toolkit.models.interface import Task
from toolkit.training.outcome import Scores


def sizes(config: Config) -> list[int | float]:
    """Sizes of lists at which precision and lift are given: shares and counts."""
    return [
        float(text.rstrip("%")) / 100 if text.endswith("%") else int(text) for text in config.evaluation.at
    ]


def measured(
    config: Config, task: Task, y: np.ndarray, scores: Scores, part: slice, rows: np.ndarray
) -> dict[str, float]:
    """Every metric on some rows (a mask) of a part of the split."""
    score, probability, decision = (column[rows] for column in scores.part(part))
    return metrics.evaluate(task.type, y[rows], score, probability, decision, sizes(config))


def resampled(
    config: Config, boot: EntityBootstrap, task: Task, y: np.ndarray, scores: Scores, part: slice, rows: np.ndarray
) -> Draws:  # fmt: skip
    """The same metrics in every replicate."""
    score, probability, decision = scores.part(part)
    clean = np.where(np.isnan(y), 0, y)
    if task.type == "binary":
        return boot.binary(clean, score, probability, decision, sizes(config), rows=rows)
    if task.type == "multiclass":
        return boot.multiclass(clean, score, probability, decision, rows=rows)
    return boot.regression(clean, score, rows=rows)
