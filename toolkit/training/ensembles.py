"""Putting models together: a blend's weights from validation rows; a stack's learner, and a fusion's trees, from
what members say of training rows that they were not fitted on (`toolkit.training.folds`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from toolkit.data.cache import digest
from toolkit.errors import UnfitError
from toolkit.modalities import Modalities
from toolkit.models.combine import MetaLearner, Mixture
from toolkit.models.ensemble import Blend, Combined, Ensemble, Member, Stack
from toolkit.models.fused import Fused, FusedFitted, heard, heard_columns
from toolkit.models.interface import Batch, Column, Fitted, Task
from toolkit.training.crossfit import held_out
from toolkit.training.fitting import Material
from toolkit.training.folds import Ground, Scores, advised, learnable, out_of_fold

__all__ = ["Ground", "fair", "left_out", "put_together", "singles_first"]


def singles_first(models: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Names and models, those that are made of others last."""
    return sorted(models.items(), key=lambda pair: isinstance(pair[1], Ensemble))


def put_together(
    model: Ensemble, declared: Mapping[str, Any], fitted: Mapping[str, Fitted], said: Mapping[str, Scores],
    ground: Ground,
) -> tuple[Combined | FusedFitted, float]:  # fmt: skip
    """A fitted ensemble, and the seconds of the fits that it needed besides its members.

    declared: the recipe's models, as they were fitted; fitted: those that are no ensembles; said: their scores
    of rows, of which the first are the validation rows.
    """
    names = [name for name in model.members(declared) if name not in ground.failed]
    _enough_are_left(model, model.members(declared), ground.failed)
    members = tuple(Member(name, declared[name], fitted[name]) for name in names)
    own = next((name for name, one in declared.items() if one is model), getattr(model, "kind", ""))
    combined: Combined | FusedFitted
    if isinstance(model, Stack):
        combined, seconds = _stack(own, model, members, ground)
    elif isinstance(model, Fused):
        combined, seconds = _fuse(own, model, members, ground, [said[name] for name in names])
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
        raise advised(error, stopping) from error.__cause__
    return error.what


def _enough_are_left(model: Ensemble, names: Sequence[str], failed: Mapping[str, str]) -> None:
    if sum(name not in failed for name in names) < model.needs:
        needs = "two members" if model.needs == 2 else "a member"
        raise UnfitError(
            f"an ensemble needs {needs}, and of {', '.join(f'`{one}`' for one in names)} fewer could be fitted",
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


def judged(
    fitted: Combined | FusedFitted, X: np.ndarray, modalities: Modalities, said: Mapping[str, Scores], y: np.ndarray,
    fold: np.ndarray,
) -> list[np.ndarray]:  # fmt: skip
    """An ensemble's scores of rows [rows, …], validation rows first, as it can be judged by them: see `fair`."""
    if isinstance(fitted, FusedFitted):  # nothing in it was fitted on validation rows
        return fitted.over(X, modalities, [said[member.name] for member in fitted.members])
    return fair(fitted, said, y, fold)


def fair(fitted: Combined, said: Mapping[str, Scores], y: np.ndarray, fold: np.ndarray) -> list[np.ndarray]:
    """A blend's or a stack's scores of rows, validation rows first, as it can be judged by them.

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


# --- stack and fusion -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Heard:
    """What members say of training rows out of fold.

    members: those that could be fitted in every fold; said: for each task and member the scores, NaN where no
    fold predicts a row; how: which folds these are, in words; seconds: of the fits.
    """

    members: tuple[Member, ...]
    said: list[list[np.ndarray]]
    how: str
    remarks: tuple[str, ...]
    seconds: float

    def rows(self, index: int, y: np.ndarray) -> np.ndarray:
        """Of a task the labelled rows [training rows] that its members speak of."""
        return ~np.isnan(y[:, index]) & ~np.isnan(self.said[index][0].reshape(len(y), -1)[:, 0])


def _hear(own: str, model: Stack | Fused, members: tuple[Member, ...], ground: Ground) -> _Heard:
    """own: the ensemble's name."""
    folds, how, amiss = ground.folds(model.folds)
    said, failed, seconds = out_of_fold(own, model, members, ground, folds)
    _enough_are_left(model, [member.name for member in members], failed)
    left = [place for place, member in enumerate(members) if member.name not in failed]
    remarks = (*([amiss] if amiss else []), *(f"goes without: {why}" for why in failed.values()))
    each = [[of[place] for place in left] for of in said]
    return _Heard(tuple(members[place] for place in left), each, how, remarks, seconds)


def _stack(own: str, model: Stack, members: tuple[Member, ...], ground: Ground) -> tuple[Combined, float]:
    found = _hear(own, model, members, ground)
    names, y = [member.name for member in found.members], ground.material.train.y
    learners, notes = [], []
    for index, task in enumerate(ground.material.tasks):
        has, labelled = found.rows(index, y), int((~np.isnan(y[:, index])).sum())
        if not learnable(task, y[has, index]):
            learners.append(MetaLearner.mean(task, len(names), labelled))
            notes.append(["the mean of its members: they could not be fitted on a part of the training rows"])
            continue
        learner = MetaLearner.fit(task, [one[has] for one in found.said[index]], y[has, index], model.C)
        learners.append(learner)
        rows = f"learnt from {int(has.sum()):,} of {labelled:,} training rows"
        notes.append([f"{_formula(task, names, learner)}; {rows}, {found.how}"])
    notes = [[*lines, *found.remarks] for lines in notes]
    tasks = tuple(ground.material.tasks)
    return Combined(tasks, found.members, tuple(learners), notes, remarks=found.remarks), found.seconds


def _fuse(
    own: str, model: Fused, members: tuple[Member, ...], ground: Ground, said: Sequence[Scores]
) -> tuple[FusedFitted, float]:
    """said: what the members, fitted on all training rows, say of rows, validation rows first."""
    found, material = _hear(own, model, members, ground), ground.material
    by_name = dict(zip((member.name for member in members), said, strict=True))
    names, train, valid = [member.name for member in found.members], material.train, material.valid
    tops, rows, notes, seconds = [], [], [], found.seconds
    for index, task in enumerate(material.tasks):
        has, labelled = found.rows(index, train.y), ~np.isnan(train.y[:, index])
        deaf = not learnable(task, train.y[has, index])
        rows.append(int(labelled.sum() if deaf else has.sum()))
        ears = heard_columns(task, names)
        hears = np.full((len(train.y), len(ears)), np.nan, np.float32)
        if not deaf:
            hears[has] = heard(task, [one[has] for one in found.said[index]], rows[-1])
        of_valid = heard(task, [by_name[name][index][: len(valid.y)] for name in names], rows[-1])
        label = np.where(labelled if deaf else has, train.y[:, index], np.nan)
        wide = replace(
            material,
            tasks=[task],
            columns=[*material.columns, *ears],
            train=Batch(np.hstack([train.X, hears]), label[:, None], train.modalities),
            valid=Batch(np.hstack([valid.X, of_valid]), valid.y[:, [index]], valid.modalities),
            origin=digest([material.origin, hashlib.sha256(hears.data).hexdigest(), names]),
        )
        top, took = ground.fit(f"{own}, on top", model.top, wide)
        seconds += took
        tops.append(top)
        hearing = f"hears {_and(names)} on {rows[-1]:,} of {int(labelled.sum()):,} training rows, {found.how}"
        told = (
            "hears nobody: members could not be fitted on a part of the training rows"
            if deaf
            else _loudness(top, ears, len(material.columns), hearing)
        )
        notes.append([told, *top.notes[0], *found.remarks])
    tasks = tuple(material.tasks)
    return FusedFitted(tasks, found.members, tuple(tops), tuple(rows), notes, found.remarks), seconds


def _loudness(top: Fitted, ears: Sequence[Column], columns: int, hearing: str) -> str:
    """What it hears, and how much of its gain that is."""
    gain = top.importance()[0]
    if gain is None or len(gain) != columns + len(ears):
        return hearing
    return f"{hearing}; {gain[columns:].sum():.0%} of its gain is theirs"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


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
