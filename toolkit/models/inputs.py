"""The stage between a table's columns and a model: one-hot, scaling, and the best few columns; texts as columns.

    inputs: {one_hot: true, scale: true, keep: 30, score: f_test, text: {size: 50000, ngrams: 1, reduce: 100}}

It is a part of the fitted model: fitted on the training rows of that fit and for each target by itself, so
that a fold's stage has seen the fold's training rows and no others. What the model says of its inputs is
told of the columns that they were made from; what it makes of texts is told of the texts as a whole.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from toolkit.bundle.files import read_arrays, write_arrays
from toolkit.config.node import Node
from toolkit.errors import BundleError
from toolkit.modalities import NOTHING, Modalities
from toolkit.models.design import Design
from toolkit.models.explain import Contributions, ExplainedOne, ExplainedOneByOne
from toolkit.models.interface import Column, Progress, Task
from toolkit.models.one_by_one import FittedOne, Rows
from toolkit.models.text import Reduced, Tfidf, without_text

_FILE = "inputs.safetensors"
_CHUNK = 65_536  # rows at a time
_NAMED = 60  # columns that a note names
_MUTUAL_ROWS = 20_000  # rows that mutual information is estimated on: it looks for neighbours


class TextInputs(Tfidf):
    """Texts as a few numbers: TF-IDF, and the strongest directions of it."""

    reduce: int = Field(
        100, ge=1, le=2_000, description="numbers made of the texts: directions of a truncated SVD"
    )


class Inputs(Node):
    """What is made of the columns, and of texts, before a model sees them."""

    one_hot: bool = Field(False, description="a 0/1 column per level of a category, and one for missing")
    scale: bool = Field(
        False,
        description="numbers standardised, the median in their gaps and a 0/1 column that tells where they were",
    )
    keep: int | None = Field(
        None, ge=1, description="so many columns, the best ones by `score`; null: all of them"
    )
    score: Literal["f_test", "mutual_info"] = Field(
        "f_test",
        description="what a column tells of the target: F of an analysis of variance (of a number: of the "
        "correlation), or mutual information by nearest neighbours",
    )
    text: TextInputs | None = Field(
        None,
        description="the texts of the recipe (feature sets of kind raw_text) as columns beside; null: not read",
    )

    @model_validator(mode="after")
    def something_is_done(self) -> Inputs:
        if not (self.one_hot or self.scale or self.keep or self.text):
            raise ValueError(
                "`inputs` asks for nothing: say `one_hot`, `scale`, `keep` or `text`, or `inputs: null`"
            )
        return self


@dataclass(frozen=True)
class Stage:
    """A fitted stage: [rows, columns] → [rows, kept].

    What is made, before any of it is left out: the numbers (scaled, and an indicator for each with gaps in
    training rows; or as they are), then the categories (0/1 per level; or their codes). kept: [kept]
    positions among these.
    """

    design: Design
    one_hot: bool
    scale: bool
    kept: np.ndarray

    @classmethod
    def fit(cls, settings: Inputs, task: Task, columns: Sequence[Column], train: Rows, seed: int) -> Stage:
        """train: the labelled training rows."""
        design = Design.fit(train.X, columns)
        made = _origin(design, settings.one_hot, settings.scale)
        kept = np.arange(len(made))
        if settings.keep is not None and settings.keep < len(made):
            told = np.full(len(made), -np.inf)
            scores = np.nan_to_num(_scores(settings.score, task, design, train, seed), nan=-1.0)
            np.maximum.at(told, _becomes(design, settings.one_hot, settings.scale), scores)
            kept = np.sort(np.argsort(-told, kind="stable")[: settings.keep])
        return cls(design, settings.one_hot, settings.scale, kept)

    def origin(self) -> np.ndarray:
        """[kept] the input column that each was made from."""
        return _origin(self.design, self.one_hot, self.scale)[self.kept]

    def columns(self, columns: Sequence[Column]) -> list[Column]:
        """What is kept, as columns of a table: [kept]."""
        design, made = self.design, []
        made += [Column(columns[one].name) for one in design.numeric]
        if self.scale:
            made += [Column(f"{columns[one].name} is missing") for one in design.numeric[design.gaps]]
        for one in design.categorical:
            if not self.one_hot:
                made.append(columns[one])
                continue
            name = columns[one].name
            made += [Column(f"{name} = {level}") for level in columns[one].levels]
            made.append(Column(f"{name} is missing"))
        return [made[one] for one in self.kept]

    def matrix(self, X: np.ndarray) -> np.ndarray:
        """float32 [rows, kept]; X: float32 [rows, columns]."""
        out = np.empty((len(X), len(self.kept)), np.float32)
        for start in range(0, len(X), _CHUNK):
            out[start : start + _CHUNK] = self._some(X[start : start + _CHUNK])
        return out

    def _some(self, X: np.ndarray) -> np.ndarray:
        """What is kept and no more is made dense: with many levels the design is sparse, and wide."""
        design, wide = self.design, self.design.matrix(X)
        start = len(design.numeric) + len(design.gaps)
        made = start if self.scale else len(design.numeric)
        numbers, levels = self.kept[self.kept < made], self.kept[self.kept >= made] - made
        parts = [
            _dense(wide[:, numbers]) if self.scale else X[:, design.numeric[numbers]],
            _dense(wide[:, start + levels]) if self.one_hot else X[:, design.categorical[levels]],
        ]
        return np.concatenate(parts, axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """All that is fitted."""
        return vars(self.design) | {"kept": self.kept}


def _dense(wide: Any) -> np.ndarray:
    return wide if isinstance(wide, np.ndarray) else wide.toarray()


def _origin(design: Design, one_hot: bool, scale: bool) -> np.ndarray:
    """[made] the input column that each was made from."""
    numbers = [design.numeric, design.numeric[design.gaps]] if scale else [design.numeric]
    levels = design.levels + 1 if one_hot else np.ones_like(design.levels)
    return np.concatenate([*numbers, np.repeat(design.categorical, levels)])


def _becomes(design: Design, one_hot: bool, scale: bool) -> np.ndarray:
    """[design columns] → what is made of each: a category that stays one is worth its best level."""
    numbers = np.arange(len(design.numeric))
    gaps = len(numbers) + np.arange(len(design.gaps)) if scale else design.gaps
    start = len(numbers) + (len(gaps) if scale else 0)
    slots = np.arange(int(np.sum(design.levels + 1)))
    of = np.arange(len(design.levels))
    return np.concatenate([numbers, gaps, start + (slots if one_hot else np.repeat(of, design.levels + 1))])


def _scores(which: str, task: Task, design: Design, train: Rows, seed: int) -> np.ndarray:
    """What each design column tells of the target [design columns]; NaN for a constant one."""
    from sklearn import feature_selection

    number = task.type == "regression"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a constant column divides by 0, and gets NaN
        if which == "f_test":
            score = feature_selection.f_regression if number else feature_selection.f_classif
            return np.asarray(score(design.matrix(train.X), train.y)[0], np.float64)
        rows = np.arange(len(train))
        if len(rows) > _MUTUAL_ROWS:
            rows = np.sort(np.random.default_rng(seed).choice(rows, _MUTUAL_ROWS, replace=False))
        wide = _dense(design.matrix(train.X[rows]))
        flags = np.arange(wide.shape[1]) >= len(design.numeric)
        score = feature_selection.mutual_info_regression if number else feature_selection.mutual_info_classif
        return np.asarray(score(wide, train.y[rows], discrete_features=flags, random_state=seed))


# --- a model behind its stage -----------------------------------------------------------------------


@dataclass
class Staged:
    """A model of one target that sees what its stage makes of the columns, then what is made of the texts."""

    stage: Stage
    part: ExplainedOne
    iterations: int | None
    notes: list[str]
    texts: Reduced | None = None

    @property
    def reads_more(self) -> bool:
        return self.texts is not None

    def predict(self, X: np.ndarray, modalities: Modalities = NOTHING) -> np.ndarray:
        return self.part.predict(self.matrix(X, modalities))

    def matrix(self, X: np.ndarray, modalities: Modalities) -> np.ndarray:
        """What the model sees: float32 [rows, kept + directions of the texts]."""
        made = self.stage.matrix(X)
        return made if self.texts is None else np.hstack([made, self.texts.matrix(modalities)])

    def contributions(self, X: np.ndarray, modalities: Modalities = NOTHING) -> Contributions:
        """What each column adds: the sum over what was made of it. What texts add is in the bias of each row."""
        made, origin = self.part.contributions(self.matrix(X, modalities)), self.stage.origin()
        values = np.zeros((len(X), self.stage.design.width, *made.values.shape[2:]))
        for place, column in enumerate(origin):
            values[:, column] += made.values[:, place]
        if self.texts is None:
            return Contributions(values, made.bias)
        return Contributions(values, made.bias + made.values[:, len(origin) :].sum(axis=1))

    def importance(self) -> np.ndarray | None:
        """Of the columns; what the model leans on its texts is not among them."""
        found = self.part.importance()
        if found is None:
            return None
        origin = self.stage.origin()
        return np.bincount(origin, found[: len(origin)], minlength=self.stage.design.width)

    def arrays(self) -> dict[str, np.ndarray]:
        """All that is fitted before the model."""
        return self.stage.arrays() | ({} if self.texts is None else self.texts.arrays())

    def save(self, folder: Path) -> None:
        self.part.save(folder)
        write_arrays(folder / _FILE, self.stage.arrays())
        if self.texts is not None:
            self.texts.save(folder)


class WithInputs(ExplainedOneByOne):
    """Base of models that can have such a stage before them; they write `fit_columns` and `load_columns`."""

    inputs: Inputs | None = Field(
        None, description="What is made of the columns first; null: the model sees them as they are."
    )

    @property
    def reads_more(self) -> bool:
        return self.inputs is not None and self.inputs.text is not None

    @abstractmethod
    def fit_columns(
        self,
        task: Task,
        columns: Sequence[Column],
        train: Rows,
        valid: Rows,
        *,
        seed: int,
        threads: int,
        progress: Progress | None,
    ) -> ExplainedOne:
        """`fit_one` on the columns that the model sees."""

    @abstractmethod
    def load_columns(
        self, folder: Path, task: Task, iterations: int | None, notes: list[str]
    ) -> ExplainedOne:
        """Read what the part's `save` wrote."""

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
        from threadpoolctl import threadpool_limits

        options: dict[str, Any] = {"seed": seed, "threads": threads, "progress": progress}
        if self.inputs is None:
            return self.fit_columns(task, columns, train, valid, **options)
        stage = Stage.fit(self.inputs, task, columns, train, seed)
        made = len(_origin(stage.design, stage.one_hot, stage.scale))
        seen = stage.columns(columns)
        notes = [_told(self.inputs, [column.name for column in seen], made, len(columns))] if columns else []
        fit_X, valid_X, texts = stage.matrix(train.X), stage.matrix(valid.X), None
        if (text := self.inputs.text) is not None:
            with threadpool_limits(threads):
                texts = Reduced.fit(text, text.reduce, train.modalities.texts, seed)
            seen += [Column(f"direction {number} of the texts") for number in range(1, texts.size + 1)]
            fit_X = np.hstack([fit_X, texts.matrix(train.modalities)])
            valid_X = np.hstack([valid_X, texts.matrix(valid.modalities)])
            notes.append(f"reads {' and '.join(texts.vectors.names)}: {texts.told()}")
            notes += without_text(train.modalities.texts)
        part = self.fit_columns(task, seen, Rows(fit_X, train.y), Rows(valid_X, valid.y), **options)
        return Staged(stage, part, part.iterations, [*part.notes, *notes], texts)

    def load_one(self, folder: Path, task: Task, iterations: int | None, notes: list[str]) -> FittedOne:
        part = self.load_columns(folder, task, iterations, notes)
        if self.inputs is None:
            return part
        path = folder / _FILE
        arrays = read_arrays(path)
        try:
            kept = arrays.pop("kept")
            stage = Stage(Design(**arrays), self.inputs.one_hot, self.inputs.scale, kept)
        except (KeyError, TypeError) as error:
            raise BundleError(
                f"`{path.name}` does not hold the input stage of a model of this version",
                where=str(path),
                why=str(error),
                fix="install the toolkit version that wrote the bundle, or fit the model again",
            ) from error
        text = self.inputs.text
        return Staged(stage, part, iterations, notes, None if text is None else Reduced.load(text, folder))


def _told(settings: Inputs, kept: Sequence[str], made: int, columns: int) -> str:
    """What became of the columns, in words."""
    what = f"{made:,} made of {columns:,} features" if settings.one_hot or settings.scale else f"{made:,}"
    if len(kept) == made:
        return (
            f"sees all {what}" if settings.keep is None else f"sees all {what}, fewer than {settings.keep:,}"
        )
    by = {"f_test": "F test", "mutual_info": "mutual information"}[settings.score]
    named = ", ".join(kept[:_NAMED]) + (f" and {len(kept) - _NAMED:,} more" if len(kept) > _NAMED else "")
    return f"sees the {len(kept):,} of {what} that tell most of the target on training rows ({by}): {named}"
