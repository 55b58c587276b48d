"""Models that learn one target at a time: the loop over targets, and what every target needs checked.

A model of this kind writes `fit_one` and `load_one`. It gets only labelled rows, and class indices
without gaps: classes absent from training rows come back as probability 0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from toolkit.bundle.files import read_json, write_json
from toolkit.errors import DataError
from toolkit.modalities import NOTHING, Column, Modalities
from toolkit.models.interface import (
    Batch,
    ModelConfig,
    Progress,
    Task,
    require_columns,
    require_width,
)


@dataclass(frozen=True)
class Rows:
    """Labelled rows of one target. X: float32 [rows, columns]; y: int64 or (regression) float64 [rows].

    modalities: what the same rows have besides, for a model that says `reads_more`.
    """

    X: np.ndarray
    y: np.ndarray
    modalities: Modalities = NOTHING

    def __len__(self) -> int:
        return len(self.y)

    def some(self, rows: np.ndarray) -> Rows:
        """Those at some positions."""
        return Rows(self.X[rows], self.y[rows], self.modalities.some(rows))


class FittedOne(Protocol):
    """A model fitted on one target; the members mean what they mean in `Fitted`.

    One that says `reads_more = True` gets what rows have besides columns too: `predict(X, modalities)`.
    """

    iterations: int | None
    notes: list[str]

    def predict(self, X: np.ndarray, /) -> np.ndarray: ...

    def importance(self) -> np.ndarray | None: ...

    def save(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class OneByOneFitted:
    """One fitted model per task. seen: per multiclass task, the indices of the classes in training rows."""

    tasks: tuple[Task, ...]
    seen: tuple[list[int], ...]
    columns: int
    parts: tuple[FittedOne, ...]

    @property
    def iterations(self) -> list[int | None]:
        return [part.iterations for part in self.parts]

    @property
    def notes(self) -> list[list[str]]:
        return [part.notes for part in self.parts]

    @property
    def reads_more(self) -> bool:
        """Whether it looks at more than columns."""
        return any(getattr(part, "reads_more", False) for part in self.parts)

    def predict(self, X: np.ndarray, modalities: Modalities = NOTHING) -> list[np.ndarray]:
        require_width(X, self.columns)
        return [
            spread(part.predict(*asked(part, X, modalities)), task, seen)
            for part, task, seen in zip(self.parts, self.tasks, self.seen, strict=True)
        ]

    def importance(self) -> list[np.ndarray | None]:
        return [part.importance() for part in self.parts]

    def save(self, folder: Path) -> None:
        facts = [
            {"name": task.name, "type": task.type, "classes": list(task.classes), "seen": seen}
            | {"iterations": part.iterations, "notes": part.notes}
            for task, seen, part in zip(self.tasks, self.seen, self.parts, strict=True)
        ]
        write_json(folder / "tasks.json", {"columns": self.columns, "tasks": facts})
        for number, part in enumerate(self.parts):
            (folder / str(number)).mkdir()  # by number: a target's name need not be a file's name
            part.save(folder / str(number))


class OneByOne(ModelConfig, ABC):
    """Base of models that fit each target on its own, so that a fit of one target can be kept by itself."""

    one_by_one: ClassVar[bool] = True
    needs_columns: ClassVar[bool] = True

    @property
    def reads_more(self) -> bool:
        """Whether its rows come with what they have besides columns."""
        return False

    @abstractmethod
    def fit_one(
        self,
        task: Task,
        columns: Sequence[Column],
        train: Rows,
        valid: Rows,
        *,
        seed: int,
        threads: int,
        progress: Progress | None,
    ) -> FittedOne:
        """Fit one target; `task.classes` lists only the classes seen in training rows."""

    @abstractmethod
    def load_one(self, folder: Path, task: Task, iterations: int | None, notes: list[str]) -> FittedOne:
        """Read what the part's `save` wrote."""

    def fit(
        self,
        tasks: Sequence[Task],
        columns: Sequence[Column],
        train: Batch,
        valid: Batch,
        *,
        seed: int,
        threads: int,
        progress: Progress | None = None,
    ) -> OneByOneFitted:
        if self.needs_columns and not self.reads_more:
            require_columns(columns)
        if not self.reads_more:
            train, valid = Batch(train.X, train.y), Batch(valid.X, valid.y)
        parts, seen = [], []
        for number, task in enumerate(tasks):
            fit_rows, valid_rows, present = labelled(task, number, train, valid)
            part = self.fit_one(
                among(task, present),
                columns,
                fit_rows,
                valid_rows,
                seed=seed,
                threads=threads,
                progress=progress,
            )
            parts.append(part)
            seen.append(present)
        return OneByOneFitted(tuple(tasks), tuple(seen), len(columns), tuple(parts))

    def join(self, fits: Sequence[OneByOneFitted]) -> OneByOneFitted:
        """Fits on the same columns as one: what `fit` gives for all their tasks at once, to the last bit."""
        return OneByOneFitted(
            tuple(task for fitted in fits for task in fitted.tasks),
            tuple(seen for fitted in fits for seen in fitted.seen),
            fits[0].columns,
            tuple(part for fitted in fits for part in fitted.parts),
        )

    def load(self, folder: Path) -> OneByOneFitted:
        facts: dict[str, Any] = read_json(folder / "tasks.json")
        tasks = tuple(Task(one["name"], one["type"], tuple(one["classes"])) for one in facts["tasks"])
        seen = tuple(one["seen"] for one in facts["tasks"])
        parts = tuple(
            self.load_one(
                folder / str(number), among(tasks[number], seen[number]), one["iterations"], one["notes"]
            )
            for number, one in enumerate(facts["tasks"])
        )
        return OneByOneFitted(tasks, seen, facts["columns"], parts)


def labelled(task: Task, number: int, train: Batch, valid: Batch) -> tuple[Rows, Rows, list[int]]:
    """The labelled rows of one target, with class indices made gapless, and the classes present.

    Validation rows of a class that no training row has are left out: nothing can be learnt of them.
    Raises DataError if no row is labelled, a label is not valid, or training rows have one class only.
    """
    fit_rows, valid_rows = (_with_label(batch, number) for batch in (train, valid))
    if not len(fit_rows):
        raise DataError(
            f"target `{task.name}` has no label in any training row",
            where=f"target.{task.name}",
            fix="check its declaration and the split: training rows need labels",
        )
    if task.type == "regression":
        return fit_rows, valid_rows, []
    allowed = 2 if task.type == "binary" else len(task.classes)
    present = np.unique(fit_rows.y)
    foreign = [label for label in present if label not in range(allowed)]
    if foreign:
        raise DataError(
            f"target `{task.name}` ({task.type}) has the label {foreign[0]:g}",
            where=f"target.{task.name}",
            why=f"labels must be 0 … {allowed - 1}",
            fix="declare the target's type to match its labels",
        )
    if len(present) < 2:
        name = task.classes[int(present[0])] if task.classes else f"{present[0]:g}"
        raise DataError(
            f"target `{task.name}` has one class only in training rows: all {len(fit_rows):,} are `{name}`",
            where=f"target.{task.name}",
            why="a model cannot learn to tell apart what it sees one side of",
            fix="widen the training rows or the horizon, or change the target's condition",
        )
    known = np.isin(valid_rows.y, present)
    if not known.all():
        valid_rows = valid_rows.some(np.flatnonzero(known))
    index = [replace(rows, y=np.searchsorted(present, rows.y)) for rows in (fit_rows, valid_rows)]
    return index[0], index[1], [int(one) for one in present]


def _with_label(batch: Batch, number: int) -> Rows:
    y = batch.y[:, number]
    has = ~np.isnan(y)
    rows = Rows(batch.X, y.astype(np.float64), batch.modalities)
    return rows if has.all() else rows.some(np.flatnonzero(has))  # a million rows are not copied for nothing


def asked(part: FittedOne, X: np.ndarray, modalities: Modalities) -> tuple[Any, ...]:
    """What a part's `predict` takes."""
    return (X, modalities) if getattr(part, "reads_more", False) else (X,)


def among(task: Task, seen: list[int]) -> Task:
    """The task with only the classes that training rows have."""
    return (
        replace(task, classes=tuple(task.classes[one] for one in seen)) if task.type == "multiclass" else task
    )


def spread(prediction: np.ndarray, task: Task, seen: list[int]) -> np.ndarray:
    """[rows, seen classes] → [rows, classes], with 0 for classes never seen; other tasks unchanged."""
    if task.type != "multiclass" or len(seen) == len(task.classes):
        return prediction
    full = np.zeros((len(prediction), len(task.classes)))
    full[:, seen] = prediction
    return full
