"""How good settings are: a mean over targets and folds, on rows that neither train nor test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.evaluation import metrics
from toolkit.models.interface import Batch, Column, Fitted, Task
from toolkit.registry import models

STRIDE = 100_000  # more rounds than any fit has: trials of other lengths are compared at the same round
REPORTS = 100  # of the running metric per fit, at most: each is a write to the study's storage

Report = Callable[[int, float], None]  # step, running metric (more is better)


@dataclass(frozen=True)
class Fold:
    """Rows to fit on, rows to stop early on, and rows that say how good it was."""

    train: Batch
    valid: Batch
    judge: Batch


@dataclass(frozen=True)
class Objective:
    """What a study maximises: the mean of a metric over folds, and over targets by weight.

    Binary targets count by `metric` (a loss with its sign turned), the others by macro AUC or R².
    """

    tasks: Sequence[Task]
    columns: Sequence[Column]
    folds: Sequence[Fold]
    weights: Mapping[str, float]
    metric: str
    seed: int
    threads: int

    @property
    def name(self) -> str:
        """The metric in words."""
        names = {name_of(task, self.metric) for task in self.tasks}
        text = " and ".join(sorted(names))
        text += f", weighted mean of {len(self.tasks)} targets" if len(self.tasks) > 1 else ""
        return text + (f", mean of {len(self.folds)} folds" if len(self.folds) > 1 else "")

    def __call__(self, model: Any, report: Report) -> tuple[float, list[Fitted]]:
        """How good a model's settings are (more is better), and the fits. `report` may raise to give up."""
        built = models.get(model.kind).build(model)
        found, fits = [], []
        for number, fold in enumerate(self.folds):
            fitted = built.fit(
                self.tasks, self.columns, fold.train, fold.valid, seed=self.seed, threads=self.threads,
                progress=self._running(number, report),
            )  # fmt: skip
            fits.append(fitted)
            found.append(self.judged(fitted, fold.judge))
        return float(np.mean(found)), fits

    def judged(self, fitted: Fitted, rows: Batch) -> float:
        """The weighted mean over targets on some rows; a target whose metric is not defined does not count."""
        total = weight = 0.0
        predicted = fitted.predict(rows.X, rows.modalities)
        for index, (task, score) in enumerate(zip(self.tasks, predicted, strict=True)):
            has = ~np.isnan(rows.y[:, index])
            probability = None if task.type == "regression" else score[has]
            figures = metrics.evaluate(task.type, rows.y[has, index], score[has], probability)
            metric = name_of(task, self.metric)
            value = -figures[metric[4:]] if metric.startswith("neg_") else figures[metric]
            if not np.isnan(value):
                total += self.weights[task.name] * value
                weight += self.weights[task.name]
        return total / weight if weight else float("nan")

    def _running(self, fold: int, report: Report) -> Callable[..., None]:
        """What a model calls while it learns; steps count on over targets and folds."""
        place = {task.name: number for number, task in enumerate(self.tasks)}

        def progress(target: str, done: int, total: int, running: tuple[str, float] | None = None) -> None:
            if running is None or target not in place:
                return
            every = max(1, total // REPORTS)
            if done % every == 0:
                name, value = running
                step = (fold * len(self.tasks) + place[target]) * STRIDE + done
                report(step, value if name == "auc" else -value)

        return progress


def name_of(task: Task, metric: str) -> str:
    """The metric that a target counts by."""
    chosen = metric if task.type == "binary" else metrics.HEADLINE[task.type]
    return f"neg_{chosen}" if chosen in metrics.LOWER_IS_BETTER else chosen
