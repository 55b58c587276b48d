"""What models say of training rows that they were not fitted on: out of fold, for whoever learns from it.

For each fold of the training rows, every member is fitted anew on others. Of a temporal split a fold is a
block of consecutive cutoffs (a single one, where there are few), and its members are fitted on the cutoffs
whose horizons had ended when the block begins, as they are for the test; the oldest cutoffs, with too little
before them, are predicted by nobody. Of other splits a fold is a fifth (`folds`) of the entities, as
validation and test are.

What is shared between folds: the encoder's levels and the targets' quantiles, fitted on all training rows.
No label enters the encoder, and neither has seen a validation or test row. A fold's members stop early on
the split's validation rows, as the members themselves do, and never on the rows that they then predict.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import numpy as np

from toolkit.config.schema import Config, RollingSplit, TemporalSplit
from toolkit.config.time import Span, span
from toolkit.data.cache import digest
from toolkit.errors import UnfitError
from toolkit.models.ensemble import Member, Stack
from toolkit.models.fused import Fused
from toolkit.models.interface import Batch, Fitted, Task
from toolkit.prepare.matrix import Compiled, Matrix
from toolkit.training.crossfit import deal
from toolkit.training.fitting import Material
from toolkit.training.split import Rows

TOO_CLOSE = (
    "no training cutoff's horizon ends before another one, so members are weighed by other entities at the "
    "same cutoffs, and not by later cutoffs as in the test"
)
Scores = Sequence[np.ndarray]  # of one model: for each task [rows] or [rows, classes]


@dataclass(frozen=True)
class Fold:
    """Training rows (positions among them): those that members are fitted on, and those they then predict."""

    fitted: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class Ground:
    """What the models of a split are fitted on, and how: what a stack needs to fit its members again.

    rows: what the training rows are dealt by (entities, or what stays together), and their cutoffs; spans: what must have ended before a cutoff predicts, None
    where the split does not look at time; fit: (name in progress and cache, model, material) → fitted, seconds,
    or UnfitError; failed: models that could not be fitted and are left out → what is said of them.
    """

    material: Material
    rows: Rows
    spans: Sequence[Span] | None
    fit: Callable[[str, Any, Material], tuple[Fitted, float]]
    failed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, config: Config, compiled: Compiled, matrix: Matrix, train_rows: np.ndarray, material: Material,
        fit: Callable[[str, Any, Material], tuple[Fitted, float]],
    ) -> Ground:  # fmt: skip
        rows = Rows(
            matrix.dealt_by[train_rows], matrix.cutoff[train_rows], config.seed, config.cohort.timezone
        )
        spans = None
        if isinstance(config.split, TemporalSplit | RollingSplit):
            spans = [target.horizon for target in compiled.targets.values() if target.horizon]
            spans += [span(config.split.gap)] if config.split.gap else []
        return cls(material, rows, spans, fit)

    def folds(self, count: int) -> tuple[list[Fold], str, str]:
        """The folds of the training rows, what they are, in words, and what is amiss with them, if anything."""
        if found := self._of_time(count):
            cutoffs = len(np.unique(self.rows.cutoff[np.concatenate([fold.predicted for fold in found])]))
            latest = "latest cutoff" if cutoffs == 1 else f"{cutoffs:,} latest cutoffs"
            blocks = f" in {len(found)} blocks" if cutoffs > len(found) else ""
            return found, f"those of the {latest}{blocks}, predicted by fits on earlier ones", ""
        fold = deal(self.rows.entity, self.rows.seed, count)
        entities = [Fold(np.flatnonzero(fold != n), np.flatnonzero(fold == n)) for n in range(count)]
        amiss = "" if self.spans is None else TOO_CLOSE
        return entities, f"predicted by fits on other entities, in {count} folds", amiss

    def _of_time(self, most: int) -> list[Fold]:
        """At most so many blocks of consecutive cutoffs, and for each the cutoffs that had ended when it begins.

        Of all that is ever learnt from, the first block may learn from one part in `most` + 1 at least: a fit on
        the very first of many cutoffs would say little of what members are worth with a history behind them.
        """
        if self.spans is None:
            return []
        cutoff = self.rows.cutoff
        moments = np.unique(cutoff[~np.isnat(cutoff)])
        ended = [self._ended(moments[:at], moment) for at, moment in enumerate(moments)]
        least = max(1, ceil(max(ended, default=0) / (most + 1)))
        able = [at for at, count in enumerate(ended) if count >= least]
        return [
            Fold(
                np.flatnonzero(np.isin(cutoff, moments[: ended[block[0]]])),
                np.flatnonzero(np.isin(cutoff, moments[block])),
            )
            for block in (np.array_split(able, min(most, len(able))) if able else [])
        ]

    def _ended(self, moments: np.ndarray, by: np.datetime64) -> int:
        """How many of these cutoffs, which are in order, have spans that had ended by another one."""
        spans = self.spans or ()
        return bisect_left(moments, True, key=lambda one: not self.rows.ended(one, spans, by))


def advised(error: UnfitError, stopping: Sequence[str]) -> UnfitError:
    """The error, whose fix says how ensembles that have the model can do without it."""
    ways = [error.fix] if error.fix else []
    if stopping:
        settings = " ".join(f"model.{name}.on_failure=leave_out" for name in stopping)
        ways.append(f"{settings} to go on without it")
    return UnfitError(error.what, where=error.where, why=error.why, fix="; or ".join(ways) or None)


def out_of_fold(
    own: str, model: Stack | Fused, members: Sequence[Member], ground: Ground, folds: Sequence[Fold]
) -> tuple[list[list[np.ndarray]], dict[str, str], float]:
    """For each task and member the scores of training rows, NaN where no fold predicts them; the members that
    could not be fitted in some fold, and what is said of them; seconds of the fits.

    own: the stack's name. In a fold only targets that can be learnt there are: with a label, and of classes
    with two of them.
    """
    material, seconds, failed = ground.material, 0.0, dict[str, str]()
    train = material.train
    said = [[_blank(task, len(train.y)) for _ in members] for task in material.tasks]
    for number, fold in enumerate(folds, 1):
        able = [
            index for index, task in enumerate(material.tasks) if learnable(task, train.y[fold.fitted, index])
        ]
        if not able or not len(fold.predicted):
            continue
        part = _part(material, fold.fitted, able)
        X, besides = train.X[fold.predicted], train.modalities.some(fold.predicted)
        for place, member in enumerate(members):
            if member.name in failed:
                continue
            name = f"{member.name}, fold {number} of {len(folds)}"
            try:
                fitted, took = ground.fit(name, member.config, part)
            except UnfitError as error:
                if model.on_failure == "stop":
                    raise advised(error, [own]) from error.__cause__
                failed[member.name] = error.what
                continue
            seconds += took
            for index, scores in zip(able, fitted.predict(X, besides), strict=True):
                said[index][place][fold.predicted] = scores
    return said, failed, seconds


def _part(material: Material, rows: np.ndarray, able: list[int]) -> Material:
    """Some training rows and some targets, with all of the validation rows."""
    train, valid = material.train, material.valid
    return replace(
        material,
        tasks=[material.tasks[index] for index in able],
        train=Batch(train.X[rows], train.y[rows][:, able], train.modalities.some(rows)),
        valid=replace(valid, y=valid.y[:, able]),
        origin=digest([material.origin, hashlib.sha256(rows.data).hexdigest()]),
    )


def learnable(task: Task, y: np.ndarray) -> bool:
    y = y[~np.isnan(y)]
    return len(y) > 0 and (task.type == "regression" or y.min() < y.max())


def _blank(task: Task, rows: int) -> np.ndarray:
    return np.full((rows, len(task.classes)) if task.type == "multiclass" else rows, np.nan)
