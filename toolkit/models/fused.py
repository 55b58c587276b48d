"""Fusion: trees over a row's own columns and texts, and what other models say of it. `model=[page_network,fused_trees]`

Stacked generalization (Wolpert 1992) whose upper model sees the row as well (`passthrough`): it learns when to
believe a member. What it hears of training rows are members' class log-probabilities out of fold, so it
never sees a network that has seen their labels. Not a network's inner values: those of the networks of two
folds share no axes, and the upper model would learn from five languages to listen to a sixth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, cast

import numpy as np
from pydantic import Field

from toolkit.bundle.files import read_json, write_json
from toolkit.modalities import NOTHING, Column, Modalities
from toolkit.models.combine import Said, log_probabilities
from toolkit.models.ensemble import Ensemble, Member, not_of_this_version, read_members, save_members
from toolkit.models.explain import Contributions, Explains
from toolkit.models.interface import Fitted, Task, shares
from toolkit.models.lightgbm import LightGBM
from toolkit.models.xgboost import XGBoost

FILE = "fused.json"


def heard_columns(task: Task, names: Sequence[str]) -> list[Column]:
    """The columns that members become: of yes or no and of a number one each, of classes one per class."""
    if task.type != "multiclass":
        return [Column(f"{name} says") for name in names]
    return [Column(f"{name} says {of}") for name in names for of in task.classes]


def heard(task: Task, said: Said, rows: int) -> np.ndarray:
    """What members say of rows, as columns: float32 [rows, members] or [rows, members × classes].

    Classes: log-probabilities (of yes or no the log-odds), drawn in from 0 as far as so many `rows` can tell;
    numbers as they are. Shape of `said`: as of `predict`.
    """
    if task.type == "regression":
        return np.column_stack(said).astype(np.float32)
    told = log_probabilities(task, said, rows)
    if task.type == "binary":
        return (told[:, :, 1] - told[:, :, 0]).astype(np.float32)
    return told.reshape(len(told), told.shape[1] * told.shape[2]).astype(np.float32)  # -1 fails of no rows


@dataclass(frozen=True)
class FusedFitted:
    """A fitted fusion. tops: of each task, fitted on that task alone; rows: of each task, those it was fitted on.

    The members are those that were fitted on all training rows. remarks: what whoever ran it should read.
    """

    tasks: tuple[Task, ...]
    members: tuple[Member, ...]
    tops: tuple[Fitted, ...]
    rows: tuple[int, ...]
    notes: list[list[str]]
    remarks: tuple[str, ...] = ()

    @property
    def iterations(self) -> list[int | None]:
        """Rounds of the upper models and of all members."""
        parts = [[top.iterations[0] for top in self.tops], *(m.fitted.iterations for m in self.members)]
        return [sum(one or 0 for one in rounds) or None for rounds in zip(*parts, strict=True)]

    @property
    def reads_more(self) -> bool:
        """Do its own trees read more than columns?"""
        return any(getattr(top, "reads_more", False) for top in self.tops)

    def predict(self, X: np.ndarray, modalities: Modalities = NOTHING) -> list[np.ndarray]:
        return self.over(X, modalities, [member.fitted.predict(X, modalities) for member in self.members])

    def contributions(self, X: np.ndarray, modalities: Modalities = NOTHING) -> list[Contributions]:
        """What each column adds by itself; what members and texts add is in the bias of each row."""
        found = []
        said = [member.fitted.predict(X, modalities) for member in self.members]
        for index, (task, top, rows) in enumerate(zip(self.tasks, self.tops, self.rows, strict=True)):
            wide = np.hstack([X, heard(task, [one[index] for one in said], rows)])
            values, bias = cast(Explains, top).contributions(wide, modalities)[0]
            found.append(Contributions(values[:, : X.shape[1]], bias + values[:, X.shape[1] :].sum(axis=1)))
        return found

    def over(
        self, X: np.ndarray, modalities: Modalities, said: Sequence[Sequence[np.ndarray]]
    ) -> list[np.ndarray]:
        """The same, where the members have been asked; said: for each member what its `predict` gives."""
        found = []
        for index, (task, top, rows) in enumerate(zip(self.tasks, self.tops, self.rows, strict=True)):
            wide = np.hstack([X, heard(task, [one[index] for one in said], rows)])
            found += top.predict(wide, modalities)
        return found

    def importance(self) -> list[np.ndarray | None]:
        """The columns' own shares; what goes to a member is its columns', where it tells."""
        found: list[np.ndarray | None] = []
        for index, (task, top) in enumerate(zip(self.tasks, self.tops, strict=True)):
            of = top.importance()[0]
            if of is None:
                found.append(None)
                continue
            each = len(heard_columns(task, [""]))
            own = of[: len(of) - each * len(self.members)].copy()
            for number, member in enumerate(self.members):
                theirs = member.fitted.importance()[index]
                start = len(own) + number * each
                if theirs is not None:
                    own += of[start : start + each].sum() * theirs
            found.append(shares(own) if own.sum() > 0 else None)
        return found

    def save(self, folder: Path) -> None:
        facts = [
            {
                "name": task.name,
                "type": task.type,
                "classes": list(task.classes),
                "rows": rows,
                "notes": notes,
            }
            for task, rows, notes in zip(self.tasks, self.rows, self.notes, strict=True)
        ]
        write_json(folder / FILE, {"members": [member.name for member in self.members], "tasks": facts})
        save_members(folder, self.members)
        for number, top in enumerate(self.tops):
            place = folder / "tops" / str(number)
            place.mkdir(parents=True)
            top.save(place)


class Fused(Ensemble):
    """Trees over a row's own columns and texts, and over what other models say of it, learnt out of fold."""

    kind: Literal["fused"] = "fused"
    needs: ClassVar[int] = 1
    top: Annotated[LightGBM | XGBoost, Field(discriminator="kind")] = Field(
        LightGBM(num_leaves=50, learning_rate=0.05, num_iterations=200, early_stopping_rounds=None),
        description="The trees: fitted on the row's columns, on its texts where `inputs` makes columns of them, "
        "and on what the members say.",
    )
    folds: int = Field(
        5, ge=2, le=50,
        description="Fits of each member on a part of the training rows; of a temporal split, at most so many.",
    )  # fmt: skip

    def load(self, folder: Path) -> FusedFitted:
        path = folder / FILE
        facts = read_json(path)
        try:
            names = [str(name) for name in facts["members"]]
            tasks = tuple(Task(one["name"], one["type"], tuple(one["classes"])) for one in facts["tasks"])
            rows = tuple(int(one["rows"]) for one in facts["tasks"])
            notes = [list(map(str, one["notes"])) for one in facts["tasks"]]
        except (KeyError, TypeError, ValueError) as error:
            raise not_of_this_version(path, error) from error
        tops = tuple(self.top.load(folder / "tops" / str(number)) for number in range(len(tasks)))
        return FusedFitted(tasks, read_members(folder, names), tops, rows, notes)
