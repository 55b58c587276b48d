"""What each column adds to a row's raw score: an additive explanation, exact and from the model itself.

    if isinstance(fitted, Explains):
        for values, bias in fitted.contributions(X):  # one per task
            score = bias + values.sum(axis=1)

The raw score is in log-odds for a binary target, one score per class before the softmax for a
multiclass one, the target's own unit for a number; calibration comes after it. Boosted trees give
TreeSHAP values (Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9, path-dependent), linear models
coefficient × (value − training mean), which is the same Shapley value if columns are independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np

from toolkit.modalities import NOTHING, Modalities
from toolkit.models.interface import Task, require_width
from toolkit.models.one_by_one import FittedOne, OneByOne, OneByOneFitted, asked


class Contributions(NamedTuple):
    """The raw scores of one task, taken apart: score = bias + the sum of `values` over columns.

    values: float64 [rows, columns]; multiclass [rows, columns, classes]. Columns are those given to
            `fit`, in that order; a categorical one, or one with an indicator of gaps, is one column.
    bias:   float64 []; multiclass [classes]: the raw score of a row whose columns add nothing; of a model that
            reads texts too, with what a row's texts add: [rows] or [rows, classes]. A class without
            training rows has the bias -inf, so that softmax(score) is its probability, 0.
    """

    values: np.ndarray
    bias: np.ndarray


class Saying(NamedTuple):
    """What one text adds to a row's raw score, more than texts do on average, and the words that add most of it."""

    text: str
    added: float
    words: tuple[str, ...]


@runtime_checkable
class Explains(Protocol):
    """A fitted model that can say what each column adds: `isinstance(fitted, Explains)`."""

    def contributions(self, X: np.ndarray, modalities: Modalities = NOTHING) -> list[Contributions]:
        """X: float32 [rows, columns] and modalities, as for `predict`. Per task, in the order of `tasks`.

        Raises DataError if the width is not that of the training rows.
        """


class ExplainedOne(FittedOne, Protocol):
    """One target's part of such a model; `contributions` takes what `predict` takes."""

    def contributions(self, X: np.ndarray, /) -> Contributions: ...


@dataclass(frozen=True)
class ExplainedFitted(OneByOneFitted):
    """One fitted model per task, each of which says what its columns add."""

    def contributions(self, X: np.ndarray, modalities: Modalities = NOTHING) -> list[Contributions]:
        require_width(X, self.columns)
        return [
            among_all(cast(ExplainedOne, part).contributions(*asked(part, X, modalities)), task, seen)
            for part, task, seen in zip(self.parts, self.tasks, self.seen, strict=True)
        ]


class ExplainedOneByOne(OneByOne):
    """Base of models that fit each target on its own, and whose parts are `ExplainedOne`."""

    def fit(self, *data: Any, **options: Any) -> ExplainedFitted:
        return ExplainedFitted(**vars(super().fit(*data, **options)))

    def join(self, fits: Sequence[OneByOneFitted]) -> ExplainedFitted:
        return ExplainedFitted(**vars(super().join(fits)))

    def load(self, folder: Path) -> ExplainedFitted:
        return ExplainedFitted(**vars(super().load(folder)))


def among_all(seen_only: Contributions, task: Task, seen: list[int]) -> Contributions:
    """[…, seen classes] → […, classes]: nothing is added to a class that no training row has."""
    if task.type != "multiclass" or len(seen) == len(task.classes):
        return seen_only
    values = np.zeros((*seen_only.values.shape[:2], len(task.classes)))
    values[:, :, seen] = seen_only.values
    bias = np.full((*seen_only.bias.shape[:-1], len(task.classes)), -np.inf)
    bias[..., seen] = seen_only.bias
    return Contributions(values, bias)


def sayings(
    fitted: Any, place: int, modalities: Modalities, decision: np.ndarray | None, most: int = 3
) -> list[list[Saying]] | None:
    """Of each row, what its texts add and which words say it; None of a model that does not say.

    place: of the target among the model's; decision: of a multiclass target the class that is spoken of [rows].
    """
    part = fitted.parts[place] if isinstance(fitted, OneByOneFitted) else None
    if part is None or not hasattr(part, "said"):
        return None
    label = None
    if fitted.tasks[place].type == "multiclass":
        assert decision is not None
        seen = fitted.seen[place]
        label = np.clip(np.searchsorted(seen, decision), 0, len(seen) - 1)
    return part.said(modalities, label, most)


def telling_words(fitted: Any, place: int, most: int = 5) -> str:
    """The words that tell most, of all classes; empty of a model that does not say."""
    part = fitted.parts[place] if isinstance(fitted, OneByOneFitted) else None
    if part is None or not hasattr(part, "telling"):
        return ""
    each, task = part.telling(most), fitted.tasks[place]
    if task.type == "multiclass":
        names = [task.classes[one] for one in fitted.seen[place]]
        said = [f"{name}: {', '.join(words)}" for name, (words, _) in zip(names, each, strict=True) if words]
        return "; ".join(said)
    [(raising, lowering)] = each
    sides = (("raised by", raising), ("lowered by", lowering))
    return "; ".join(f"{side} {', '.join(words)}" for side, words in sides if words)
