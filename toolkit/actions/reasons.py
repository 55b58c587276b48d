"""Why a row stands where it stands, in words: what its columns add to its score, the strongest first.

Trees and linear models say it themselves (`toolkit.models.explain`); an ensemble's reasons are its
members', each by how much it counts; of any other model a column adds what the score loses when the
column is put at its usual value in training rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation import univariate
from toolkit.evaluation.effects import additive, number_text, replaced, usual_values
from toolkit.evaluation.metrics import Floats
from toolkit.modalities import Column, Modalities
from toolkit.models.ensemble import Combined
from toolkit.models.explain import Explains, Saying
from toolkit.models.interface import Fitted
from toolkit.models.one_by_one import OneByOneFitted
from toolkit.prepare.features import Feature
from toolkit.prepare.matrix import Matrix
from toolkit.training.outcome import Outcome
from toolkit.training.split import TRAIN

USUAL_ROWS = 5_000  # training rows that say what is usual
MOST_COLUMNS = 30  # tried one at a time where a model does not explain itself
NEGLIGIBLE = 0.1  # of a row's strongest reason; weaker ones are none
LONGEST = 60  # characters of a text
Single = Callable[[Fitted, int], Floats]  # a model that is no ensemble, and the target's place → `of_single`


def usual(matrix: Matrix, outcome: Outcome, seed: int) -> NDArray[np.float32]:
    """Each column's median or most frequent level in training rows [columns], NaN where mostly missing."""
    train = np.flatnonzero(outcome.assignment.rows(TRAIN))
    rows = train[univariate.sample_rows(len(train), USUAL_ROWS, seed)]
    some = {column.name: matrix.columns[column.name][rows] for column in outcome.encoder.columns}
    X = outcome.encoder.transform(some, len(rows)).X
    return usual_values(X, np.array([column.kind == "categorical" for column in outcome.encoder.columns]))


def added(
    fitted: Fitted,
    place: int,
    X: NDArray[np.float32],
    besides: Modalities,
    usual: NDArray[np.float32],
    decision: NDArray[np.intp] | None = None,
    single: Single | None = None,
) -> Floats:
    """What each column adds to each row's score, in log-odds or the target's unit [rows, columns].

    place: of the target among the model's; decision: of a multiclass target the class that is spoken of
    [rows]; single: what to ask for the part of a model that is no ensemble, in place of the model itself.
    """
    if isinstance(fitted, Combined):
        shares = fitted.combiners[place].shares
        found = np.zeros(X.shape)
        for share, member in zip(shares, fitted.members, strict=True):
            if share > 0:
                found += share * added(member.fitted, place, X, besides, usual, decision, single)
        return found
    values = single(fitted, place) if single else of_single(fitted, place, X, besides, usual)
    if values.ndim == 3:
        assert decision is not None
        values = values[np.arange(len(X)), :, decision]
    return np.nan_to_num(values)


def of_single(
    fitted: Fitted, place: int, X: NDArray[np.float32], besides: Modalities, usual: NDArray[np.float32]
) -> Floats:
    """What each column adds, by a model that is no ensemble [rows, columns], per class [rows, columns, classes]."""
    if isinstance(fitted, OneByOneFitted):  # the other targets are not asked
        fitted = replace(
            fitted, tasks=(fitted.tasks[place],), seen=(fitted.seen[place],), parts=(fitted.parts[place],)
        )
        place = 0
    if isinstance(fitted, Explains):
        values = fitted.contributions(X, besides)[place].values
    else:
        task = fitted.tasks[place]
        [values] = replaced(
            lambda X: [additive(fitted.predict(X, besides)[place], task)], X, usual, _tried(fitted, place, X)
        )
    return values


class Once:
    """`of_single` of some of many rows, asked for several lists: no model is asked about a row twice.

    Trees take long to say it, and each of them speaks in its own list and in those of its ensembles.
    """

    def __init__(self, X: NDArray[np.float32], besides: Modalities, usual: NDArray[np.float32]) -> None:
        self.X, self.besides, self.usual = X, besides, usual
        self._kept: dict[tuple[int, int], tuple[Fitted, NDArray[np.intp], Floats]] = {}

    def of(self, fitted: Fitted, place: int, rows: NDArray[np.intp]) -> Floats:
        """rows: positions. The order of the answer is theirs."""
        key = (id(fitted), place)
        _, at, values = self._kept.get(key, (fitted, np.full(len(self.X), -1, np.intp), np.empty(0)))
        new = rows[at[rows] < 0]
        if len(new):
            more = of_single(fitted, place, self.X[new], self.besides.some(new), self.usual)
            at[new] = np.arange(len(new)) + len(values)
            values = np.concatenate([values, more]) if len(values) else more
        self._kept[key] = (fitted, at, values)  # the model too: ids of what is gone are given again
        return values[at[rows]]


def _tried(fitted: Fitted, place: int, X: NDArray) -> Sequence[int]:
    """Columns worth trying: all, or those that the model says it leans on most."""
    gain = fitted.importance()[place]
    if gain is None or X.shape[1] <= MOST_COLUMNS:
        return range(X.shape[1])
    return [int(c) for c in np.argsort(-gain, kind="stable")[:MOST_COLUMNS] if gain[c] > 0]


def stories(features: Sequence[Feature], columns: Collection[str]) -> list[Hashable]:
    """What each feature tells of: features of the same data, and of the same columns by name, tell one story.

    columns: names of the tables' columns; a derived one tells another story than what it is made of.
    """
    named = (frozenset(re.findall(r"\w+", feature.text)) & frozenset(columns) for feature in features)
    return [(feature.sources, words) for feature, words in zip(features, named, strict=True)]


def told(
    features: Sequence[Feature], columns: Collection[str], called: Mapping[str, str]
) -> list[tuple[str | None, int]]:
    """Of each feature what it is called, None if it is never a reason, and the number of its story: plain
    values, for a bundle. columns: as for `stories`; called: as for `described`."""
    numbers: dict[Hashable, int] = {}
    found = [numbers.setdefault(story, len(numbers)) for story in stories(features, columns)]
    texts = (
        described(feature, called) if called.get(feature.name, feature.name) else None for feature in features
    )
    return list(zip(texts, found, strict=True))


def strongest(
    values: Floats, stories: Sequence[Hashable], most: int, silent: Collection[int] = ()
) -> list[list[int]]:
    """Columns of each row's strongest reasons: those that raise its score, then those that lower it.

    values: of `added` [rows, columns]. What the features of one story add is summed, since columns that say
    much the same may pull against each other; the one that adds most speaks for it. silent: columns that
    never speak.
    """
    loud = np.array([c not in silent for c in range(len(stories))])
    members = [np.array(columns) for columns in _places(stories).values() if loud[columns].any()]
    if not members:
        return [[] for _ in values]
    net = np.column_stack([values[:, columns].sum(axis=1) for columns in members])
    speaker = np.column_stack([
        spoken[np.argmax(values[:, spoken] * np.where(net[:, [s]] < 0, -1, 1), axis=1)]
        for s, spoken in enumerate(columns[loud[columns]] for columns in members)
    ])  # fmt: skip
    size = np.abs(net)
    told = size >= np.maximum(NEGLIGIBLE * size.max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    order = np.lexsort((-size, net < 0, ~told), axis=1)[:, :most]
    return [[int(speaker[row, s]) for s in order[row] if told[row, s]] for row in range(len(values))]


def _places(stories: Sequence[Hashable]) -> dict[Hashable, list[int]]:
    found: dict[Hashable, list[int]] = {}
    for place, story in enumerate(stories):
        found.setdefault(story, []).append(place)
    return found


def in_words(text: str, value: float, usual: float, column: Column, lowers: bool) -> str:
    """`sum of calls, last 7 days: 12 (usual: 2)`; one that lowers the score begins with `against: `.

    text: of `described`; value, usual: as the model sees them, encoded.
    """
    said = f"{text}: {_value(value, column)}"
    if (common := _value(usual, column)) != _value(value, column):
        said += " (usually missing)" if np.isnan(usual) else f" (usual: {common})"
    return f"against: {said}" if lowers else said


def of_text(saying: Saying) -> str:
    """`body says 'lien', 'escrow'`; one that lowers the score begins with `against: `."""
    words = ", ".join(f"'{word}'" for word in saying.words)
    said = f"{saying.text} says {words}" if words else f"{saying.text} says nothing that usually raises it"
    if saying.added < 0:
        return f"against: {said}"
    return said if words else f"{saying.text} says nothing that usually lowers it"


def described(feature: Feature, called: Mapping[str, str]) -> str:
    """A feature's words, with what is declared in place of names."""
    if feature.name in called:
        return called[feature.name]
    text = feature.text
    if feature.window == "as declared":  # its words say no more than that: its name says what it is
        text = feature.column.replace("_", " ")
    return _any(called).sub(lambda found: called[found[1]], text) if called else text


def _any(names: Collection[str]) -> re.Pattern[str]:
    """Any of some names or phrases as whole words, the longest first."""
    one = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<!\w)({one})(?!\w)")


def names_in(text: str, names: Collection[str]) -> set[str]:
    """Which of some names or phrases a text says, those inside a longer one too."""
    return {name for name in names if _any([name]).search(text)}


def _value(encoded: float, column: Column) -> str:
    if column.kind == "categorical" and not np.isnan(encoded):
        text = column.levels[int(encoded)]
        return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return number_text(encoded)
