"""Putting models together: a blend's weights from validation rows, a stack's learner from training rows.

What a stack learns from are members' scores of training rows that they were not fitted on: for each fold of
the training rows, every member is fitted anew on others. Of a temporal split a fold is a block of
consecutive cutoffs (a single one, where there are few), and its members are fitted on the cutoffs whose
horizons had ended when the block begins, as they are for the test; the oldest cutoffs, with too little
before them, are left out of the learner. Of other splits a fold is a fifth (`folds`) of the entities, as
validation and test are.

What is shared between folds: the encoder's levels and the targets' quantiles, fitted on all training rows.
No label enters the encoder, and neither has seen a validation or test row. A fold's members stop early on
the split's validation rows, as the members themselves do, and never on the rows that they then predict.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import numpy as np

from toolkit.config.schema import Config, RollingSplit, TemporalSplit
from toolkit.config.time import Span, span
from toolkit.data.cache import digest
from toolkit.errors import UnfitError
from toolkit.models.combine import MetaLearner, Mixture
from toolkit.models.ensemble import Blend, Combined, Ensemble, Member, Stack
from toolkit.models.interface import Batch, Fitted, Task
from toolkit.prepare.matrix import Compiled, Matrix
from toolkit.training.crossfit import deal, held_out
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

    rows: entity and cutoff of the training rows; spans: what must have ended before a cutoff predicts, None
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
        rows = Rows(matrix.entity[train_rows], matrix.cutoff[train_rows], config.seed, config.cohort.timezone)
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


def singles_first(models: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Names and models, those that are made of others last."""
    return sorted(models.items(), key=lambda pair: isinstance(pair[1], Ensemble))


def put_together(
    model: Ensemble, declared: Mapping[str, Any], fitted: Mapping[str, Fitted], said: Mapping[str, Scores],
    ground: Ground,
) -> tuple[Combined, float]:  # fmt: skip
    """A fitted ensemble, and the seconds of the fits that it needed besides its members.

    declared: the recipe's models, as they were fitted; fitted: those that are no ensembles; said: their scores
    of rows, of which the first are the validation rows.
    """
    names = [name for name in model.members(declared) if name not in ground.failed]
    _two_are_left(model.members(declared), ground.failed)
    members = tuple(Member(name, declared[name], fitted[name]) for name in names)
    if isinstance(model, Stack):
        own = next((name for name, one in declared.items() if one is model), model.kind)
        combined, seconds = _stack(own, model, members, ground)
    else:
        assert isinstance(model, Blend)
        combined, seconds = _blend(model, members, ground.material, [said[name] for name in names]), 0.0
    without = [
        f"goes without: {ground.failed[one]}" for one in model.members(declared) if one in ground.failed
    ]
    for notes in combined.notes:
        notes += without
    return combined, seconds


def left_out(name: str, declared: Mapping[str, Any], error: UnfitError) -> str:
    """What is said of a model that could not be fitted, where all ensembles that have it go on without it.

    Raises the error where it is a member of none, or of one that stops.
    """
    having = [
        other
        for other, model in declared.items()
        if isinstance(model, Ensemble) and name in model.members(declared)
    ]
    stopping = [other for other in having if declared[other].on_failure == "stop"]
    if stopping or not having:
        raise _advised(error, stopping) from error.__cause__
    return error.what


def _advised(error: UnfitError, stopping: Sequence[str]) -> UnfitError:
    """The error, whose fix says how ensembles that have the model can do without it."""
    ways = [error.fix] if error.fix else []
    if stopping:
        settings = " ".join(f"model.{name}.on_failure=leave_out" for name in stopping)
        ways.append(f"{settings} to go on without it")
    return UnfitError(error.what, where=error.where, why=error.why, fix="; or ".join(ways) or None)


def _two_are_left(names: Sequence[str], failed: Mapping[str, str]) -> None:
    if sum(name not in failed for name in names) < 2:
        raise UnfitError(
            f"an ensemble needs two members, and of {', '.join(f'`{one}`' for one in names)} fewer could be fitted",
            why="; ".join(failed[name] for name in names if name in failed),
            fix="a line-up without the ensemble, or members that can be fitted",
        )


# --- blend ------------------------------------------------------------------------------------------


def _blend(model: Blend, members: tuple[Member, ...], material: Material, said: Sequence[Scores]) -> Combined:
    names = [member.name for member in members]
    combiners, notes = [], []
    for index, task in enumerate(material.tasks):
        y, score = _labelled(material.valid.y[:, index], [one[index] for one in said])
        if isinstance(model.weights, dict) and any(model.weights[name] for name in names):
            mixture, why = Mixture.relative([model.weights[name] for name in names]), "as declared"
        elif isinstance(model.weights, dict):
            mixture, why = Mixture.relative([1] * len(names)), "equal: no member that is left has a weight"
        elif model.weights == "equal":
            mixture, why = Mixture.relative([1] * len(names)), "equal weights, as declared"
        elif not len(y):
            mixture, why = Mixture.relative([1] * len(names)), "equal: no validation row has a label"
        else:
            loss = "squared error" if task.type == "regression" else "log loss"
            mixture, why = Mixture.fit_scaled(task, score, y), f"least {loss} on {len(y):,} validation rows"
        combiners.append(mixture)
        notes.append([f"weights: {_shares(names, mixture.shares)} ({why})"])
    weighed = model.weights == "validation"
    return Combined(tuple(material.tasks), members, tuple(combiners), notes, weighed)


def fair(fitted: Combined, said: Mapping[str, Scores], y: np.ndarray, fold: np.ndarray) -> list[np.ndarray]:
    """An ensemble's scores of rows, validation rows first, as it can be judged by them.

    Weights that were fitted on validation rows know their labels, so the score of such a row is by weights
    fitted on the other folds. said: as in `put_together`; y: [validation rows, tasks], in the units that
    models learn; fold: [validation rows].
    """
    of_members = [said[member.name] for member in fitted.members]
    scores = fitted.combine(of_members)
    for index, task in enumerate(fitted.tasks if fitted.weighed else ()):
        rows = np.flatnonzero(~np.isnan(y[:, index]))
        labels, each = _labelled(y[:, index], [one[index] for one in of_members])
        if len(rows):
            scores[index][rows] = held_out(_weighing(task), labels, np.stack(each, axis=-1), fold[rows])
    return scores


def _weighing(task: Task) -> Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """From labels and scores [rows, …, members] to what the weights make of other scores."""

    def fit(y: np.ndarray, score: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        mixture = Mixture.fit_scaled(task, _apart(score), y)
        return lambda others: mixture.combine(_apart(others))

    return fit


def _apart(score: np.ndarray) -> list[np.ndarray]:
    """[rows, …, members] → for each member [rows, …]."""
    return list(np.moveaxis(score, -1, 0))


# --- stack ------------------------------------------------------------------------------------------


def _stack(own: str, model: Stack, members: tuple[Member, ...], ground: Ground) -> tuple[Combined, float]:
    folds, how, amiss = ground.folds(model.folds)
    said, failed, seconds = _out_of_fold(own, model, members, ground, folds)
    _two_are_left([member.name for member in members], failed)
    left = [place for place, member in enumerate(members) if member.name not in failed]
    members = tuple(members[place] for place in left)
    names, y = [member.name for member in members], ground.material.train.y
    learners, notes = [], []
    for index, task in enumerate(ground.material.tasks):
        each = [said[index][place] for place in left]
        labelled = ~np.isnan(y[:, index])
        has = labelled & ~np.isnan(each[0].reshape(len(y), -1)[:, 0])
        if not _learnable(task, y[has, index]):
            learners.append(MetaLearner.mean(task, len(members), int(labelled.sum())))
            notes.append(["the mean of its members: they could not be fitted on a part of the training rows"])
            continue
        learner = MetaLearner.fit(task, [one[has] for one in each], y[has, index], model.C)
        learners.append(learner)
        rows = f"learnt from {int(has.sum()):,} of {int(labelled.sum()):,} training rows"
        notes.append([f"{_formula(task, names, learner)}; {rows}, {how}"])
    remarks = [*([amiss] if amiss else []), *(f"goes without: {why}" for why in failed.values())]
    notes = [[*lines, *remarks] for lines in notes]
    tasks = tuple(ground.material.tasks)
    return Combined(tasks, members, tuple(learners), notes, remarks=tuple(remarks)), seconds


def _out_of_fold(
    own: str, model: Stack, members: Sequence[Member], ground: Ground, folds: Sequence[Fold]
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
            index
            for index, task in enumerate(material.tasks)
            if _learnable(task, train.y[fold.fitted, index])
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
                    raise _advised(error, [own]) from error.__cause__
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


def _learnable(task: Task, y: np.ndarray) -> bool:
    y = y[~np.isnan(y)]
    return len(y) > 0 and (task.type == "regression" or y.min() < y.max())


def _blank(task: Task, rows: int) -> np.ndarray:
    return np.full((rows, len(task.classes)) if task.type == "multiclass" else rows, np.nan)


# --- both -------------------------------------------------------------------------------------------


def _labelled(y: np.ndarray, said: Scores) -> tuple[np.ndarray, list[np.ndarray]]:
    """Labels, and each member's scores, of the rows that have a label; y: those of the first rows."""
    has = ~np.isnan(y)
    return y[has].astype(np.float64), [one[: len(y)][has] for one in said]


def _shares(names: Sequence[str], shares: np.ndarray) -> str:
    order = np.argsort(-shares, kind="stable")
    return ", ".join(f"{names[one]} {shares[one]:.0%}" for one in order)


def _formula(task: Task, names: Sequence[str], learner: MetaLearner) -> str:
    """What the learner makes of its members, in words."""
    terms = " + ".join(f"{c:.2f} × {name}" for c, name in zip(learner.coef, names, strict=True))
    if task.type == "multiclass":
        return f"log-probability of a class = {terms} + a constant of its own"
    constant = learner.intercept[-1] - (learner.intercept[0] if task.type == "binary" else 0)
    sign = "−" if constant < 0 else "+"
    what = "log-odds" if task.type == "binary" else "value"
    return f"{what} = {terms} {sign} {abs(constant):.3g}"
