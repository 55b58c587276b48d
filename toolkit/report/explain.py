"""What drives the chosen models, per target: drivers from validation rows, and five rows of the test explained.

explained = explain(config, prepared, outcome)      # target → Explained; seconds, not milliseconds
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.actions.reasons import described
from toolkit.config.schema import Config
from toolkit.evaluation import importance, univariate
from toolkit.evaluation.effects import effect, replaced, telling_levels, usual_values
from toolkit.evaluation.importance import Loss, permutation
from toolkit.evaluation.metrics import Floats
from toolkit.modalities import Graph, Images, Modalities, Sequences, Texts
from toolkit.models import shapley
from toolkit.models.encode import Encoder
from toolkit.models.explain import Explains, telling_words
from toolkit.models.interface import Column, Fitted, Task
from toolkit.models.one_by_one import OneByOneFitted
from toolkit.prepare.features import Feature
from toolkit.prepare.matrix import Matrix
from toolkit.prepared import Prepared
from toolkit.report.entities import Helping, examples
from toolkit.report.evidence import Driver, Example
from toolkit.report.listed import places_among
from toolkit.report.lists import file_name, write_csv
from toolkit.training.experiment import modalities
from toolkit.training.judge import units
from toolkit.training.outcome import HEADLINE, Outcome
from toolkit.training.split import TRAIN

MOST_COLUMNS = 30  # shuffled per target
SHAPLEY_ROWS = 200  # by the library `shap`: scikit-learn's trees take 10 ms per hundred and row
USUAL_ROWS = 5_000  # training rows that say what is usual

# Rows are spent by the model's size, and not by the clock, so that the same run says the same: predictions
# cost about 25 ns per tree and row, native contributions a hundred times that.
SHUFFLED = (1_500_000, 1_000, importance.SAMPLE)  # trees × rows; least and most rows
CONTRIBUTED = (120_000, 200, 1_000)
USUAL_TREES = 300  # where a model does not say

_WHOLE = {
    Sequences: "all of a row's events, in order",
    Graph: "who a row is related to, and what it is like among them",
    Texts: "all words of a row's text",
    Images: "all of a row's pictures",
}


def check(config: Config) -> None:
    """What `report.explain_by` needs is installed; ConfigError otherwise."""
    if config.report.explain_by == "shap":
        shapley.available()


@dataclass(frozen=True)
class Explained:
    """One target's drivers, strongest first, how they were found, and five entities."""

    drivers: list[Driver]
    explained_by: str
    examples: list[Example]


def write(explained: dict[str, Explained], folder: Path) -> None:
    """`<target>.csv` of each target that was explained: its drivers, the strongest first, with nothing rounded."""
    head = [
        "feature",
        "description",
        "loss",
        "loss_low",
        "loss_high",
        "mean_absolute_contribution",
        "direction",
    ]
    for target, one in explained.items():
        rows = [
            [
                d.feature,
                d.text,
                _known(d.importance),
                *(d.interval or (None, None)),
                d.contribution,
                d.direction or None,
            ]
            for d in one.drivers
        ]
        folder.mkdir(exist_ok=True)
        write_csv(folder / f"{file_name(target)}.csv", head, rows)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


@dataclass(frozen=True)
class Head:
    """One target of a fitted model: index among the run's targets, place among the model's."""

    task: Task
    index: int
    place: int


def explain(
    config: Config,
    prepared: Prepared,
    outcome: Outcome,
    progress: Callable[[str, float], None] | None = None,
    helping: Helping | None = None,
) -> dict[str, Explained]:
    """Explain each target's chosen model. Deterministic by the seed. helping: says what would help an entity."""
    found: dict[str, Explained] = {}
    looks = Looks(config, prepared, outcome, helping)
    for name, fitted, heads in _chosen(outcome):
        if progress:
            progress(f"explaining {name}: {heads[0].task.name}", len(found) / len(outcome.tasks))
        found |= looks.explained(name, fitted, heads)
    return {task.name: found[task.name] for task in outcome.tasks}


def _chosen(outcome: Outcome) -> Iterator[tuple[str, Fitted, list[Head]]]:
    """The chosen models with the targets they are chosen for; those that learnt one by one, one by one."""
    by_model: dict[str, list[Head]] = {}
    for index, task in enumerate(outcome.tasks):
        by_model.setdefault(outcome.chosen(task.name).model, []).append(Head(task, index, index))
    for name, heads in by_model.items():
        fitted = outcome.fitted[name]
        if not isinstance(fitted, OneByOneFitted):
            yield name, fitted, heads
            continue
        for head in heads:
            i = head.index
            alone = replace(
                fitted, tasks=(fitted.tasks[i],), seen=(fitted.seen[i],), parts=(fitted.parts[i],)
            )
            yield name, alone, [replace(head, place=0)]


def taken(columns: dict[str, Any], rows: NDArray[np.intp]) -> dict[str, Any]:
    """Some rows of the matrix's columns; of a column of texts only the levels that occur among them."""
    found: dict[str, Any] = {}
    for name, column in columns.items():
        if isinstance(column, pd.Categorical):
            kept, codes = np.unique(column.codes[rows], return_inverse=True)
            gap = int(len(kept) > 0 and kept[0] == -1)
            found[name] = pd.Categorical.from_codes(codes - gap, categories=column.categories[kept[gap:]])
        else:
            found[name] = column[rows]
    return found


def encode(encoder: Encoder, matrix: Matrix, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """X of some rows [rows, columns], as models see them."""
    return encoder.transform(taken(matrix.columns, rows), len(rows)).X


def rows_for(fitted: Fitted, spend: tuple[int, int, int]) -> int:
    """How many rows a model is asked about."""
    budget, least, most = spend
    trees = max((rounds or USUAL_TREES for rounds in fitted.iterations), default=USUAL_TREES)
    return int(np.clip(budget // trees, least, most))


class Looks:
    """What explaining needs of a run: rows, their encoding, the features' words."""

    def __init__(
        self, config: Config, prepared: Prepared, outcome: Outcome, helping: Helping | None = None
    ) -> None:
        self.config, self.matrix, self.outcome, self.helping = config, prepared.matrix, outcome, helping
        self.columns: Sequence[Column] = outcome.encoder.columns
        self.features = {feature.name: feature for feature in prepared.compiled.features}
        self.rng = np.random.default_rng(config.seed)
        self.key = places_among(prepared.matrix, outcome)
        train = np.flatnonzero(outcome.assignment.rows(TRAIN))
        self.train = self.encode(train[univariate.sample_rows(len(train), USUAL_ROWS, config.seed)])
        self.categorical = np.array([column.kind == "categorical" for column in self.columns])
        self.usual = usual_values(self.train, self.categorical)

    def encode(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        return encode(self.outcome.encoder, self.matrix, rows)

    def taken(self, rows: NDArray[np.intp]) -> dict[str, Any]:
        """Some rows' values as they are in the matrix."""
        return taken(self.matrix.columns, rows)

    def besides(self, rows: NDArray[np.intp]) -> Modalities:
        """What the rows have besides columns; it stays as it is while columns are tried."""
        return modalities(self.outcome.encoder, self.matrix, rows)

    def explained(self, name: str, fitted: Fitted, heads: list[Head]) -> dict[str, Explained]:
        """The targets of one model. All of them are answered by the same predictions."""
        y = self.outcome.y[: self.outcome.n_valid, [head.index for head in heads]]
        alone = heads[0].task if len(heads) == 1 else None
        labelled = np.where(np.isnan(y).all(axis=1), np.nan, y[:, 0] if alone else 0.0)
        rows = importance.sample(labelled, alone, rows_for(fitted, SHUFFLED), self.rng)
        plain = importance.sample(labelled, None, rows_for(fitted, CONTRIBUTED), self.rng)
        X, X_plain = self.encode(self.outcome.rows[rows]), self.encode(self.outcome.rows[plain])
        besides, besides_plain = self.besides(self.outcome.rows[rows]), self.besides(self.outcome.rows[plain])

        native = isinstance(fitted, Explains)
        tried = self._strongest(fitted, heads, X, y[rows]) if not native else list(range(len(self.columns)))
        by_trees = self._by_trees(fitted, heads, X_plain)
        if by_trees:
            X_plain = X_plain[:SHAPLEY_ROWS]
        added = by_trees or self.added(fitted, heads, X_plain, besides_plain, tried)
        sizes = np.array([_per_column(np.abs(values)).mean(axis=0) for values in added])
        scale = sizes.sum(axis=1, keepdims=True)
        order = np.argsort(-(sizes / np.where(scale > 0, scale, 1)).max(axis=0), kind="stable")
        asked = [int(c) for c in order[:MOST_COLUMNS] if sizes[:, c].max() > 0]
        whole: Sequence[Sequences | Graph | Texts | Images] = []
        if not isinstance(fitted, OneByOneFitted) or fitted.reads_more:
            whole = besides.all
        losses = permutation(
            lambda X: self._scores(fitted, heads, *_parted(X, len(self.columns), besides)),
            _with_places(X, len(whole)), y[rows], [head.task for head in heads], self.matrix.entity[self.outcome.rows[rows]],
            [*asked, *range(len(self.columns), len(self.columns) + len(whole))], self.config.seed,
        )  # fmt: skip

        found = {}
        for i, head in enumerate(heads):
            drivers = self._drivers(head.task, asked, losses[i], added[i], sizes[i], X_plain)
            beside = _besides(whole, losses[i], len(asked), telling_words(fitted, head.place))
            drivers = _sorted([*drivers, *beside])
            how = "native" if native else "trees" if by_trees else "replaced"
            words = self._words(name, head.task, how, len(rows), len(X_plain), asked, sizes[i])
            found[head.task.name] = Explained(
                drivers, words, examples(self, fitted, head, asked, self.helping)
            )
        return found

    def _by_trees(self, fitted: Fitted, heads: list[Head], X: NDArray) -> list[Floats]:
        """Per target what each column adds to each of the first rows' scores, by `shap`; [] where it does not."""
        if self.config.report.explain_by != "shap":
            return []
        found = [shapley.tree_shap(fitted, head.place, X[:SHAPLEY_ROWS]) for head in heads]
        return [one.values for one in found if one] if all(found) else []

    def _scores(self, fitted: Fitted, heads: list[Head], X: NDArray, besides: Modalities) -> list[Floats]:
        """Per target the raw score in the units of its labels."""
        predicted = fitted.predict(X, besides)
        return [units(self.config, head.task.name)(predicted[head.place]) for head in heads]

    def added(
        self, fitted: Fitted, heads: list[Head], X: NDArray, besides: Modalities, columns: Sequence[int]
    ) -> list[Floats]:
        """Per target what each column adds to each row's score [rows, all columns] ([…, classes])."""
        if isinstance(fitted, Explains):
            parts = fitted.contributions(X, besides)
            return [parts[head.place].values for head in heads]
        return replaced(lambda X: self._scores(fitted, heads, X, besides), X, self.usual, columns)

    def _strongest(self, fitted: Fitted, heads: list[Head], X: NDArray, y: Floats) -> list[int]:
        """Columns worth trying in a model that does not explain itself: by its own gains, or one at a time."""
        if len(self.columns) <= MOST_COLUMNS:
            return list(range(len(self.columns)))
        told = [gain for head in heads if (gain := fitted.importance()[head.place]) is not None]
        if not told:
            bins = univariate.bin_columns(X, self.categorical)
            codes = bins.codes(X)
            for i, head in enumerate(heads):
                has = ~np.isnan(y[:, i])
                learnt = univariate.tables(bins, codes[has], y[has, i], head.task.type)
                told.append(np.nan_to_num(univariate.strength(learnt, codes[has], y[has, i]), nan=-np.inf))
        return [int(c) for c in np.argsort(-np.max(told, axis=0), kind="stable")[:MOST_COLUMNS]]

    def _drivers(
        self, task: Task, asked: list[int], loss: Loss, added: Floats, sizes: Floats, X: NDArray
    ) -> list[Driver]:
        drivers = []
        for place, c in enumerate(asked):
            if sizes[c] == 0:  # another target's column
                continue
            column = self.columns[c]
            moves, levels = "", None
            shape: list[tuple[str, int, float]] = []
            if task.type != "multiclass":  # a class has a shape, the target has none
                moves, shape = effect(X[:, c], added[:, c], column)
                levels = telling_levels(shape, column) if moves == "levels" else None
            mean, low, high = (float(values[place]) for values in (loss.mean, loss.low, loss.high))
            drivers.append(
                Driver(
                    column.name, self.text(column), mean, None if np.isnan(low) else (low, high), float(sizes[c]),
                    moves, shape, levels, clear=not np.isnan(mean) and not low <= 0 <= high,
                )
            )  # fmt: skip
        return drivers

    def text(self, column: Column) -> str:
        """A feature's words, as reasons in lists have them."""
        feature: Feature | None = self.features.get(column.name)
        if feature is None:
            return column.name
        words = {name: said for name, said in self.config.listing.words.items() if said}  # "": never a reason
        return described(feature, words)

    def _words(
        self, name: str, task: Task, by: str, rows: int, plain: int, asked: list[int], sizes: Floats
    ) -> str:
        idle, own = int((sizes == 0).sum()), sum(bool(sizes[c]) for c in asked)
        unit = {"binary": "log-odds", "multiclass": "raw score of a class", "regression": "raw score"}[
            task.type
        ]
        how = (
            f"contributions by the model itself, in {unit}, on {plain:,} of them" if by == "native"
            else f"Shapley values of its trees, on {plain:,} of them" if by == "trees"
            else f"contributions by replacing a value with its usual one in training rows, in units of the score, on {plain:,} of them"
        )  # fmt: skip
        left = len(self.columns) - own - idle
        rest = f"; {left} weaker {_features(left)} left out" if left and by != "replaced" else ""
        rest += f"; {idle} {_features(idle)} not used or not tried" if idle else ""
        return (
            f"{name}: loss of {HEADLINE[task.type]} on {rows:,} validation rows when a feature's values change places; "
            f"{how}; {own} of {len(self.columns)} features{rest}"
        )

    def matrix_rows(self, test: NDArray[np.intp]) -> NDArray[np.intp]:
        """Positions among test rows → positions in the matrix."""
        return self.outcome.rows[self.outcome.n_valid + test]


def _with_places(X: NDArray, whole: int) -> NDArray:
    """X with a column for each modality that says whose events (or neighbours) a row has: at first its own.

    So a modality is shuffled as a column is, and all that a row has of it stays together.
    """
    place = np.arange(len(X), dtype=np.float32)[:, None]
    return np.hstack([X, np.repeat(place, whole, axis=1)])


def _parted(X: NDArray, columns: int, besides: Modalities) -> tuple[NDArray, Modalities]:
    """The other way round: the columns, and each row's modalities as their places say."""
    if X.shape[1] == columns:
        return X, besides
    return X[:, :columns], besides.dealt(list(X[:, columns:].T.astype(np.intp)))


def _besides(
    whole: Sequence[Sequences | Graph | Texts | Images], loss: Loss, first: int, words: str
) -> list[Driver]:
    """Events and relations as drivers, each as a whole; one that the model does not look at is none."""
    found = []
    for place, each in enumerate(whole, first):
        mean, low, high = (float(values[place]) for values in (loss.mean, loss.low, loss.high))
        if mean == 0 and (np.isnan(low) or low == high == 0):
            continue
        text = _WHOLE[type(each)] + (f" – {words}" if words and isinstance(each, Texts) else "")
        sure = not np.isnan(mean) and not low <= 0 <= high
        found.append(
            Driver(each.name, text, mean, None if np.isnan(low) else (low, high), None, "", clear=sure)
        )
    return found


def _sorted(drivers: list[Driver]) -> list[Driver]:
    """The strongest first."""
    return sorted(drivers, key=lambda d: (-np.nan_to_num(d.importance), -(d.contribution or 0), d.feature))


def _features(many: int) -> str:
    return "feature is" if many == 1 else "features are"


def _per_column(values: Floats) -> Floats:
    """[rows, columns, classes] → [rows, columns], the mean over classes."""
    return values.mean(axis=2) if values.ndim == 3 else values
