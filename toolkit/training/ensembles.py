"""Putting models together: a blend's weights from validation rows, a stack's learner from training rows.

What a stack learns from are members' scores of training rows that they were not fitted on: for each fold of
the training rows, every member is fitted anew on others. Of a temporal split a fold is a cutoff, and its
members are fitted on the cutoffs whose horizons had ended by then, as they are for the test; rows of cutoffs
that have none before them are left out of the learner. Of other splits a fold is a fifth (`folds`) of the
entities, as validation and test are.

What is shared between folds: the encoder's levels and the targets' quantiles, fitted on all training rows.
No label enters the encoder, and neither has seen a validation or test row. A fold's members stop early on
the split's validation rows, as the members themselves do, and never on the rows that they then predict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from toolkit.config.schema import Config, RollingSplit, TemporalSplit
from toolkit.config.time import Span, span
from toolkit.data.cache import digest
from toolkit.models.combine import MetaLearner, Mixture
from toolkit.models.ensemble import Blend, Combined, Ensemble, Member, Stack
from toolkit.models.interface import Batch, Fitted, Task
from toolkit.prepare.matrix import Compiled, Matrix
from toolkit.training.crossfit import deal, held_out
from toolkit.training.fitting import Material
from toolkit.training.split import Rows

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
    where the split does not look at time; fit: (name in progress and cache, model, material) → fitted, seconds.
    """

    material: Material
    rows: Rows
    spans: Sequence[Span] | None
    fit: Callable[[str, Any, Material], tuple[Fitted, float]]

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

    def folds(self, count: int) -> tuple[list[Fold], str]:
        """The folds of the training rows, and what they are, in words."""
        if found := self._of_time(count):
            latest = "latest cutoff" if len(found) == 1 else f"{len(found)} latest cutoffs"
            return found, f"those of the {latest}, predicted by fits on earlier ones"
        fold = deal(self.rows.entity, self.rows.seed, count)
        entities = [Fold(np.flatnonzero(fold != n), np.flatnonzero(fold == n)) for n in range(count)]
        return entities, f"predicted by fits on other entities, in {count} folds"

    def _of_time(self, most: int) -> list[Fold]:
        """The last cutoffs that have others before them whose spans have ended."""
        if self.spans is None:
            return []
        cutoff, found = self.rows.cutoff, []
        moments = np.unique(cutoff[~np.isnat(cutoff)])
        for at, moment in enumerate(moments):
            before = [one for one in moments[:at] if self.rows.ended(one, self.spans, moment)]
            if before:
                found.append(Fold(np.flatnonzero(np.isin(cutoff, before)), np.flatnonzero(cutoff == moment)))
        return found[-most:]


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
    names = model.members(declared)
    members = tuple(Member(name, declared[name], fitted[name]) for name in names)
    if isinstance(model, Stack):
        return _stack(model, members, ground)
    assert isinstance(model, Blend)
    return _blend(model, members, ground.material, [said[name] for name in names]), 0.0


# --- blend ------------------------------------------------------------------------------------------


def _blend(model: Blend, members: tuple[Member, ...], material: Material, said: Sequence[Scores]) -> Combined:
    names = [member.name for member in members]
    combiners, notes = [], []
    for index, task in enumerate(material.tasks):
        y, score = _labelled(material.valid.y[:, index], [one[index] for one in said])
        if isinstance(model.weights, dict):
            mixture, why = Mixture.relative([model.weights[name] for name in names]), "as declared"
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


def _stack(model: Stack, members: tuple[Member, ...], ground: Ground) -> tuple[Combined, float]:
    folds, how = ground.folds(model.folds)
    said, seconds = _out_of_fold(members, ground, folds)
    names, y = [member.name for member in members], ground.material.train.y
    learners, notes = [], []
    for index, task in enumerate(ground.material.tasks):
        labelled = ~np.isnan(y[:, index])
        has = labelled & ~np.isnan(said[index][0].reshape(len(y), -1)[:, 0])
        if not _learnable(task, y[has, index]):
            learners.append(MetaLearner.mean(task, len(members), int(labelled.sum())))
            notes.append(["the mean of its members: they could not be fitted on a part of the training rows"])
            continue
        learner = MetaLearner.fit(task, [one[has] for one in said[index]], y[has, index], model.C)
        learners.append(learner)
        rows = f"learnt from {int(has.sum()):,} of {int(labelled.sum()):,} training rows"
        notes.append([f"{_formula(task, names, learner)}; {rows}, {how}"])
    return Combined(tuple(ground.material.tasks), members, tuple(learners), notes), seconds


def _out_of_fold(
    members: Sequence[Member], ground: Ground, folds: Sequence[Fold]
) -> tuple[list[list[np.ndarray]], float]:
    """For each task and member the scores of training rows, NaN where no fold predicts them; seconds of the fits.

    In a fold only targets that can be learnt there are: with a label, and of classes with two of them.
    """
    material, seconds = ground.material, 0.0
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
            name = f"{member.name}, fold {number} of {len(folds)}"
            fitted, took = ground.fit(name, member.config, part)
            seconds += took
            for index, scores in zip(able, fitted.predict(X, besides), strict=True):
                said[index][place][fold.predicted] = scores
    return said, seconds


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
