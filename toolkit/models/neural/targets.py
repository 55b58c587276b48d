"""Labels as the network sees them, the loss of each target, and how good its predictions are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.models.interface import Batch, Task
from toolkit.models.neural import settings
from toolkit.models.neural.fitted import Unit
from toolkit.models.neural.losses import TargetLoss
from toolkit.models.one_by_one import labelled


@dataclass(frozen=True)
class Targets:
    """Labels, NaN where missing: train, valid float32 [rows, targets], class indices without gaps, numbers
    standardised; truth float64 as valid, numbers in their own unit; counts: of each class in training rows."""

    units: tuple[Unit, ...]
    counts: tuple[tuple[int, ...], ...]
    train: np.ndarray
    valid: np.ndarray
    truth: np.ndarray


def targets(tasks: Sequence[Task], train: Batch, valid: Batch) -> Targets:
    """Raises DataError if a target has no label, a foreign one, or one class only in training rows."""
    units: list[Unit] = []
    counts: list[tuple[int, ...]] = []
    ready = [np.full(batch.y.shape, np.nan, np.float32) for batch in (train, valid)]
    truth = np.full(valid.y.shape, np.nan)
    blank = [Batch(np.empty((len(batch.y), 0), np.float32), batch.y) for batch in (train, valid)]
    for number, task in enumerate(tasks):
        rows, _, seen = labelled(task, number, *blank)
        if task.type == "regression":
            spread = float(np.std(rows.y))
            units.append(Unit((), float(np.mean(rows.y)), spread if spread > 0 else 1.0))
            counts.append(())
            for out, batch in zip(ready, (train, valid), strict=True):
                out[:, number] = (batch.y[:, number].astype(np.float64) - units[-1].centre) / units[-1].scale
            truth[:, number] = valid.y[:, number]
            continue
        units.append(Unit(tuple(seen) if task.type == "multiclass" else ()))
        counts.append(tuple(int(one) for one in np.bincount(rows.y.astype(np.int64), minlength=len(seen))))
        for out, batch in zip(ready, (train, valid), strict=True):
            known = np.isin(batch.y[:, number], seen)  # a class that no training row has teaches nothing
            out[known, number] = np.searchsorted(seen, batch.y[known, number])
        truth[:, number] = ready[1][:, number]
    return Targets(tuple(units), tuple(counts), ready[0], ready[1], truth)


def losses(chosen: settings.Loss, tasks: Sequence[Task], counts: Sequence[Sequence[int]]) -> list[TargetLoss]:
    """The loss of each target; class weights by the counts of training labels."""
    found = []
    own = chosen.model_dump(exclude={"kind", "class_weight", "uncertainty", "regression"})
    for task, count in zip(tasks, counts, strict=True):
        balanced = chosen.class_weight == "balanced" and task.type != "regression"
        weights = tuple(sum(count) / (len(count) * one) for one in count) if balanced else None
        kind = chosen.regression if task.type == "regression" else chosen.kind
        if task.type == "multiclass" and kind == "asymmetric":
            kind = "bce"
        more = (
            {"alpha": count[0] / sum(count)} if balanced and kind == "focal" and task.type == "binary" else {}
        )
        found.append(TargetLoss(task.type, kind, task.weight, weights, **own | more))
    return found


def quality(task: Task, y: np.ndarray, predicted: np.ndarray) -> float:
    """ROC-AUC, mean one-versus-rest AUC over classes, or R²; NaN where the labels do not vary. y: NaN missing."""
    known = ~np.isnan(y)
    y, predicted = y[known], predicted[known]
    if not len(y) or y.min() == y.max():
        return float("nan")
    if task.type == "regression":
        return float(1 - np.sum((y - predicted) ** 2) / np.sum((y - y.mean()) ** 2))
    if task.type == "binary":
        return _auc(y == 1, predicted)
    return float(np.mean([_auc(y == one, predicted[:, int(one)]) for one in np.unique(y)]))


def _auc(positive: np.ndarray, score: np.ndarray) -> float:
    """Mann–Whitney, ties counting half."""
    from scipy.stats import rankdata

    hits = int(positive.sum())
    above = rankdata(score)[positive].sum() - hits * (hits + 1) / 2
    return float(above / (hits * (len(positive) - hits)))


def mean_quality(tasks: Sequence[Task], y: np.ndarray, predicted: Sequence[np.ndarray]) -> float:
    """Weighted mean over the targets whose quality is defined; NaN if none is."""
    found = np.array(
        [quality(task, y[:, at], one) for at, (task, one) in enumerate(zip(tasks, predicted, strict=True))]
    )
    weight = np.array([task.weight for task in tasks])
    known = ~np.isnan(found)
    return float(np.sum(found[known] * weight[known]) / weight[known].sum()) if known.any() else float("nan")
