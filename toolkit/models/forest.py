"""Random forests (Breiman 2001) by scikit-learn; missing values go down the tree as they are."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from toolkit.bundle.files import read_json, write_json
from toolkit.errors import ConfigError, DataError
from toolkit.modalities import NOTHING, Modalities
from toolkit.models.interface import (
    Batch,
    Column,
    ModelConfig,
    Progress,
    Task,
    require_columns,
    require_width,
    shares,
)
from toolkit.models.one_by_one import labelled, spread
from toolkit.models.weights import ClassWeight

# What `max_samples: auto` draws for a tree: so many rows, or as many as hold so many rare ones. ROC-AUC and
# CPU-seconds on 200,000 made-up rows x 30 columns, tests of 100,000 to 300,000 rows:
#   17.5 % positive, 300 trees: all rows 0.7659, 317 s; 100,000: 0.7661, 210 s; 50,000: 0.7656, 100 s
#   2.3 % positive, 60 trees:   all rows 0.8109, 81 s; 100,000: 0.8083, 49 s; 50,000: 0.8008, 25 s
#   0.33 % positive, 100 trees: all rows 0.7881, 137 s; 50,000: 0.7659, 52 s
_ROWS = 50_000
_RARE_ROWS = 5_000
_CHUNK = 16_384  # rows predicted at a time; also what threads share out
_FEW = 16  # rows: for so few, scikit-learn spends its time on getting ready, for each tree anew


class RandomForest(ModelConfig):
    """Random forest: many deep trees on resampled rows, averaged; a sturdy model with little to tune."""

    kind: Literal["random_forest"] = "random_forest"
    trees: int = Field(300, ge=1, le=10_000, description="Number of trees.")
    max_depth: int | None = Field(
        12, ge=1, le=64, description="Most levels of a tree; null lets trees grow out (large bundles)."
    )
    min_samples_split: int = Field(
        2, ge=2, le=1_000_000, description="Fewest training rows in a node that is split."
    )
    min_samples_leaf: int = Field(5, ge=1, le=1_000_000, description="Fewest training rows in a leaf.")
    max_features: Literal["sqrt", "log2"] | Annotated[float, Field(gt=0, le=1)] = Field(
        "sqrt", description="Columns looked at per split: sqrt, log2, or a share of all columns."
    )
    max_samples: (
        Literal["auto"] | Annotated[int, Field(ge=100)] | Annotated[float, Field(gt=0, lt=1)] | None
    ) = Field(
        "auto",
        description="Rows drawn for each tree, with replacement: at most so many, or a share of them; null: as "
        "many as there are; auto: 50,000, or as many as hold 5,000 outside the most common class.",
    )
    class_weight: ClassWeight = "none"
    multi_output: bool = Field(
        False,
        description="Grow one forest for all targets together (all classes, or all numbers), on rows where "
        "every label is known; false grows one forest per target.",
    )

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
    ) -> ForestsFitted:
        require_columns(columns)
        together = self.multi_output and len(tasks) > 1
        if together and len({task.type == "regression" for task in tasks}) > 1:
            raise ConfigError(
                "one forest cannot learn classes and numbers together",
                where="model.multi_output",
                fix="set `multi_output: false`, or give the numeric targets a recipe of their own",
            )
        groups = [list(range(len(tasks)))] if together else [[number] for number in range(len(tasks))]
        forests, seen, notes = [], [], []
        for group in groups:
            rows = _complete(train, group)
            empty = Batch(rows.X[:0], rows.y[:0])
            ready = [labelled(tasks[number], number, rows, empty) for number in group]
            labels = [fit_rows.y for fit_rows, _, _ in ready]
            drawn = self._drawn(tasks[group[0]].type, labels)
            forest = self._forest(tasks[group[0]].type, drawn, seed, threads)
            forest.fit(ready[0][0].X, np.column_stack(labels) if together else labels[0])
            forest._sample_weight = None  # scikit-learn keeps a weight per training row: not for a bundle
            forests.append(forest)
            seen += [present for _, _, present in ready]
            notes += [_told(len(group), len(train.y), len(labels[0]), drawn)] * len(group)
            if progress:
                progress(tasks[group[-1]].name, self.trees, self.trees)
        return ForestsFitted(tuple(tasks), len(columns), tuple(forests), seen, notes, self.trees, threads)

    def load(self, folder: Path) -> ForestsFitted:
        from toolkit.bundle.estimators import load

        facts = read_json(folder / "forests.json")
        tasks = tuple(Task(one["name"], one["type"], tuple(one["classes"])) for one in facts["tasks"])
        forests = tuple(load(folder / f"{number}.skops") for number in range(facts["forests"]))
        return ForestsFitted(tasks, facts["columns"], forests, facts["seen"], facts["notes"], facts["trees"])

    @property
    def one_by_one(self) -> bool:
        """Whether each target has a forest of its own, so that a fit of one target can be kept by itself."""
        return not self.multi_output

    def join(self, fits: Sequence[ForestsFitted]) -> ForestsFitted:
        """Fits on the same columns as one: what `fit` gives for all their tasks at once."""
        return replace(
            fits[0],
            tasks=tuple(task for fitted in fits for task in fitted.tasks),
            forests=tuple(forest for fitted in fits for forest in fitted.forests),
            seen=[seen for fitted in fits for seen in fitted.seen],
            notes=[notes for fitted in fits for notes in fitted.notes],
        )

    def _drawn(self, task_type: str, labels: Sequence[np.ndarray]) -> int | float | None:
        """`max_samples` in scikit-learn's words: None, a full resample, for rows that no cap cuts."""
        rows, cap = len(labels[0]), self.max_samples
        if cap == "auto":
            cap = _ROWS
            if task_type != "regression":
                rare = min(rows - int(np.bincount(y).max()) for y in labels)
                cap = max(cap, ceil(rows * _RARE_ROWS / rare))
        return None if isinstance(cap, int) and cap >= rows else cap

    def _forest(self, task_type: str, drawn: int | float | None, seed: int, threads: int) -> Any:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        options: dict[str, Any] = {
            "n_estimators": self.trees,
            "max_depth": self.max_depth,
            "min_samples_split": self.min_samples_split,
            "min_samples_leaf": self.min_samples_leaf,
            "max_features": self.max_features,
            "max_samples": drawn,
            "random_state": seed,
            "n_jobs": threads,
        }
        if task_type == "regression":
            return RandomForestRegressor(**options)
        weight = "balanced" if self.class_weight == "balanced" else None
        return RandomForestClassifier(**options, class_weight=weight)


@dataclass
class ForestsFitted:
    """One scikit-learn forest for all tasks, or one for each."""

    tasks: tuple[Task, ...]
    columns: int
    forests: tuple[Any, ...]
    seen: list[list[int]]
    notes: list[list[str]]
    trees: int
    threads: int = 1  # used to predict; the result does not depend on it

    @property
    def iterations(self) -> list[int]:
        return [self.trees] * len(self.tasks)

    def predict(self, X: np.ndarray, modalities: Modalities = NOTHING) -> list[np.ndarray]:
        require_width(X, self.columns)
        outputs = [output for forest in self.forests for output in self._outputs(forest, X)]
        return [
            output[:, 1] if task.type == "binary" else spread(output, task, seen)
            for output, task, seen in zip(outputs, self.tasks, self.seen, strict=True)
        ]

    def _outputs(self, forest: Any, X: np.ndarray) -> list[np.ndarray]:
        """One array per target of a forest.

        Threads share out rows, not trees: a forest that adds up its trees in several threads does so
        in changing order, and the last digits change with it.
        """
        forest.set_params(n_jobs=1)
        if 0 < len(X) <= _FEW:
            return _tree_by_tree(forest, X)
        if not len(X):  # scikit-learn refuses an empty input
            return [output[:0] for output in _predict(forest, np.zeros((1, self.columns), np.float32))]
        chunks = [X[start : start + _CHUNK] for start in range(0, len(X), _CHUNK)]
        with ThreadPoolExecutor(self.threads) as pool:
            parts = list(pool.map(lambda chunk: _predict(forest, chunk), chunks))
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    def importance(self) -> list[np.ndarray]:
        each = [shares(forest.feature_importances_) for forest in self.forests]
        return each if len(each) == len(self.tasks) else each * len(self.tasks)

    def save(self, folder: Path) -> None:
        from toolkit.bundle.estimators import dump

        tasks = [{"name": task.name, "type": task.type, "classes": list(task.classes)} for task in self.tasks]
        facts = {"tasks": tasks, "seen": self.seen, "notes": self.notes, "columns": self.columns}
        write_json(folder / "forests.json", facts | {"trees": self.trees, "forests": len(self.forests)})
        for number, forest in enumerate(self.forests):
            forest.set_params(n_jobs=1)  # the machine's threads are no part of the model
            dump(forest, folder / f"{number}.skops")


def _tree_by_tree(forest: Any, X: np.ndarray) -> list[np.ndarray]:
    """What `_predict` gives, to the bit: the trees' values are added up in the same order."""
    X = np.ascontiguousarray(X, np.float32)
    total: Any = 0.0
    for one in forest.estimators_:
        total = total + one.tree_.predict(X)  # [rows, classes], or [rows, targets, classes]
    mean = total / len(forest.estimators_)
    if not hasattr(forest, "predict_proba"):
        return [mean[:, target].reshape(len(X)) for target in range(forest.n_outputs_)]
    if forest.n_outputs_ == 1:
        return [mean]
    return [mean[:, target, :classes] for target, classes in enumerate(forest.n_classes_)]


def _predict(forest: Any, X: np.ndarray) -> list[np.ndarray]:
    if not hasattr(forest, "predict_proba"):
        values = forest.predict(X)
        return [values] if values.ndim == 1 else list(values.T)
    probability = forest.predict_proba(X)
    return probability if isinstance(probability, list) else [probability]


def _complete(train: Batch, group: list[int]) -> Batch:
    """The rows that have a label for every target of the group."""
    if len(group) == 1:
        return train
    complete = ~np.isnan(train.y[:, group]).any(axis=1)
    if not complete.any():
        raise DataError("no training row has a label for every target", fix="set `model.multi_output: false`")
    return train if complete.all() else Batch(train.X[complete], train.y[complete])


def _told(targets: int, rows: int, used: int, drawn: int | float | None) -> list[str]:
    """What a reader should know of one forest; used: the rows whose labels it was grown on."""
    told = []
    if targets > 1:
        lost = f"; {rows - used:,} rows lack some label" if rows > used else ""
        told.append(f"one forest for {targets} targets{lost}")
    if isinstance(drawn, int):
        told.append(f"each tree was grown on {drawn:,} rows drawn from {used:,}")
    return told
