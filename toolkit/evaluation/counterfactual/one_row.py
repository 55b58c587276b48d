"""The search for one row: all single changes, then pairs, then more.

Of one number of changes everything is tried where `tries` reach; otherwise pairs of the values that were
worth their size by themselves, and what can be added to the best of them. The fewest changes win, then the
smallest. It is a generator that hands over changed rows and gets them judged.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import prod
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.counterfactual.levers import Lever, Moves
from toolkit.evaluation.counterfactual.reference import Reference

SLICE = 512  # changed rows judged at a time
FEWEST, MOST_VALUES = 4, 24  # values of a feature tried in pairs where not all can be
NEAREST = 2_048  # changes that do not reach the aim, looked through for one like training rows
CHECKED = 256  # changes of one number that are held against training rows, the smallest first
Floats = NDArray[np.float64]
Outcome = Literal["found", "not needed", "none exists", "none found", "time ran out", "nothing may change"]


class Judged(NamedTuple):
    """reached [rows]; value: probability or number [rows]; score: higher is nearer to the aim [rows]."""

    reached: NDArray[np.bool_]
    value: Floats
    score: Floats


@dataclass(frozen=True)
class Step:
    """One change of one row."""

    lever: Lever
    old: float
    new: float


@dataclass(frozen=True)
class Found:
    """What was found for one row.

    steps: the changes, or those that come nearest without reaching it; before, after: value; kept: features
    that this row cannot change → why; unlike: changes that reach it and are like no training row; tried:
    changed rows that were judged; seconds: its share of the time.
    """

    outcome: Outcome
    before: float
    after: float
    steps: tuple[Step, ...] = ()
    kept: dict[str, str] = field(default_factory=dict)
    unlike: int = 0
    tried: int = 0
    seconds: float = 0.0


Request = Generator[NDArray[np.float32], Judged | None, Found]


class _LateError(Exception):
    """The row's time is over."""


@dataclass
class RowSearch:
    """The search for one row. A combination is a tuple of positions among the row's moves."""

    x: NDArray[np.float32]
    levers: Sequence[Lever]
    reference: Reference
    columns: NDArray[np.intp]
    far: float
    most: int
    tries: int

    def __post_init__(self) -> None:
        self.kept: dict[str, str] = {}
        able: list[tuple[int, Moves]] = []
        for place, one in enumerate(self.levers):
            moves = one.moves(float(self.x[one.column]))
            if isinstance(moves, str):
                self.kept[one.name] = moves
            else:
                able.append((place, moves))
        self.lever = np.repeat([place for place, _ in able], [len(moves.value) for _, moves in able])
        self.value = np.concatenate([np.empty(0), *(moves.value for _, moves in able)])
        self.cost = np.concatenate([np.empty(0), *(moves.cost for _, moves in able)])
        self.groups = [np.flatnonzero(self.lever == place) for place, _ in able]
        self.bound = [
            one for one in self.levers if one.low_of is not None or one.high_of is not None or len(one.also)
        ]
        self.tried = self.unlike = 0
        self.seen: list[tuple[NDArray[np.intp], Judged]] = []

    def run(self, reached: bool, before: float, score: float) -> Request:
        def done(outcome: Outcome, after: float = before, combination: Sequence[int] | NDArray = ()) -> Found:
            steps = tuple(self._step(int(move)) for move in combination)
            return Found(outcome, before, after, steps, self.kept, self.unlike, self.tried)

        if reached:
            return done("not needed")
        if not self.groups:
            return done("nothing may change")
        self.base, everything = score, True
        alone: Judged | None = None
        asked = np.empty((0, 0), np.intp)
        best: tuple[float, NDArray[np.intp]] | None = None
        try:
            for size in range(1, min(self.most, len(self.groups)) + 1):
                asked, complete = self._combinations(size, asked, alone)
                everything &= complete
                asked, judged = yield from self._ask(asked)
                best = self._smallest(asked, judged)
                if best is not None:
                    if not complete:
                        best = yield from self._smaller(best)
                    return done("found", *best)
                if size == 1:
                    self.singles, self.alone = asked[:, 0], judged.score
                alone = judged
        except _LateError as late:
            best = late.args[0] or best
            if best is not None:
                return done("found", *best)
            return done("time ran out", *self._nearest())
        return done("none exists" if everything else "none found", *self._nearest())

    # --- which combinations -----------------------------------------------------------------------

    def _combinations(
        self, size: int, before: NDArray[np.intp], judged: Judged | None
    ) -> tuple[NDArray[np.intp], bool]:
        """Combinations of so many moves [combinations, size], and whether that is all of them.

        before, judged: those of one move less, and what became of them.
        """
        left = max(self.tries - self.tried, 0)
        if sum(prod(map(len, some)) for some in combinations(self.groups, size)) <= left:
            return np.concatenate([_product(some) for some in combinations(self.groups, size)]), True
        if size == 1:
            share = max(self.tries // (2 * len(self.groups)), 2)
            return np.concatenate([_spread(group, share) for group in self.groups])[:, None], False
        assert judged is not None
        share = left // (min(self.most, len(self.groups)) - size + 1)
        if size == 2:
            return np.concatenate([_product(some) for some in combinations(self._thinned(share), 2)])[
                :share
            ], False
        return self._added(before, judged.score, share), False

    def _thinned(self, share: int) -> list[NDArray[np.intp]]:
        """Per lever its telling moves, as many as so many pairs have room for."""
        for values in range(MOST_VALUES, FEWEST - 1, -1):
            thin = [self._telling(group, values) for group in self.groups]
            if sum(prod(map(len, some)) for some in combinations(thin, 2)) <= share:
                break
        return thin

    def _telling(self, group: NDArray[np.intp], most: int) -> NDArray[np.intp]:
        """A lever's moves that are worth their size by themselves, and some that are spread over its range."""
        here = np.flatnonzero(np.isin(self.singles, group))  # in the order of size
        score = self.alone[here]
        ahead = np.maximum.accumulate(np.concatenate([[self.base], score]))[:-1]
        worth = self.singles[here[score > ahead]]
        some = [*_spread(worth, max(most - 3, 1)), *_spread(group, min(3, most))]
        return np.array(sorted(dict.fromkeys(map(int, some))), np.intp)

    def _added(self, before: NDArray[np.intp], score: Floats, share: int) -> NDArray[np.intp]:
        """The best of the combinations, no more than three of the same levers, with one more move each."""
        options = np.concatenate(self._thinned(share))
        order, of_same, kept = np.argsort(-score, kind="stable"), dict[tuple[int, ...], int](), list[int]()
        for place in order:
            levers = tuple(sorted(self.lever[before[place]]))
            of_same[levers] = of_same.get(levers, 0) + 1
            if of_same[levers] <= 3:
                kept.append(place)
            if len(kept) * len(options) >= share:
                break
        found = np.column_stack([np.repeat(before[kept], len(options), axis=0), np.tile(options, len(kept))])
        once = (self.lever[found[:, :-1]] != self.lever[found[:, -1:]]).all(axis=1)
        return np.unique(np.sort(found[once], axis=1), axis=0)[:share]

    # --- what becomes of them ---------------------------------------------------------------------

    def _ask(
        self, asked: NDArray[np.intp]
    ) -> Generator[NDArray[np.float32], Judged | None, tuple[NDArray[np.intp], Judged]]:
        """Those of the combinations that keep the declared relations, and their judgement."""
        kept: list[NDArray[np.intp]] = []
        told: list[Judged] = []
        for start in range(0, len(asked), SLICE):
            some = asked[start : start + SLICE]
            X = self._changed(some)
            if self.bound:
                lawful = self._lawful(X)
                some, X = some[lawful], X[lawful]
            if not len(some):
                continue
            answer = yield X
            if answer is None:
                seen = [np.concatenate(parts) for parts in zip(*told, strict=True)] if told else None
                raise _LateError(self._smallest(np.concatenate(kept), Judged(*seen)) if seen else None)
            self.tried += len(some)
            kept.append(some)
            told.append(answer)
            self.seen.append((some, answer))
        if not told:
            return asked[:0], Judged(np.empty(0, bool), np.empty(0), np.empty(0))
        return np.concatenate(kept), Judged(*(np.concatenate(parts) for parts in zip(*told, strict=True)))

    def _changed(self, asked: NDArray[np.intp]) -> NDArray[np.float32]:
        X = np.repeat(self.x[None], len(asked), axis=0)
        for moves in asked.T:
            for place in np.unique(self.lever[moves]):
                rows, lever = np.flatnonzero(self.lever[moves] == place), self.levers[place]
                new = self.value[moves[rows]]
                for other in lever.also:
                    X[rows, other] = self.x[other] + (new - self.x[lever.column])
                X[rows, lever.column] = new
        return X

    def _lawful(self, X: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Rows that keep what is declared of two features, and whose features that move along stay in range."""
        kept = np.ones(len(X), bool)
        for lever in self.bound:
            value = X[:, lever.column]
            moved = value != self.x[lever.column]
            for end, sign in ((lever.low_of, 1), (lever.high_of, -1)):
                if end is not None:
                    moved_either = moved | (X[:, end] != self.x[end])
                    kept &= ~(moved_either & (sign * (value - X[:, end]) < 0))
            for other in lever.also:
                place = int(np.flatnonzero(self.columns == other)[0])
                low = min(self.reference.least[place], self.x[other])
                high = max(self.reference.most[place], self.x[other])
                kept &= ~(moved & ((X[:, other] < low) | (X[:, other] > high)))
        return kept

    def _smallest(self, asked: NDArray[np.intp], judged: Judged) -> tuple[float, NDArray[np.intp]] | None:
        """Value and combination of the smallest change that reaches the aim and is like training rows."""
        reached = np.flatnonzero(judged.reached)
        size = self.cost[asked[reached]].sum(axis=1)
        reached = reached[np.lexsort((-judged.score[reached], size))]
        done, many = 0, 4
        while done < min(len(reached), CHECKED):
            some = reached[done : done + many]
            alike = self._alike(self._changed(asked[some]))
            if alike.any():
                one = some[int(alike.argmax())]
                return float(judged.value[one]), asked[one]
            done, many = done + len(some), 2 * many
        self.unlike += len(reached)
        return None

    def _alike(self, X: NDArray[np.float32]) -> NDArray[np.bool_]:
        if np.isinf(self.far):
            return np.ones(len(X), bool)
        return self.reference.distance(X[:, self.columns]) <= self.far * (1 + 1e-9)

    def _smaller(
        self, best: tuple[float, NDArray[np.intp]]
    ) -> Generator[NDArray[np.float32], Judged | None, tuple[float, NDArray[np.intp]]]:
        """The same levers moved less, one at a time, as long as that helps."""
        try:
            for _ in range(3):
                before, tried = best, []
                for place, move in enumerate(best[1]):
                    less = np.flatnonzero((self.lever == self.lever[move]) & (self.cost < self.cost[move]))
                    other = np.repeat(best[1][None], len(less), axis=0)
                    other[:, place] = less
                    tried.append(other)
                asked, judged = yield from self._ask(np.concatenate(tried))
                best = self._smallest(asked, judged) or best
                if best is before:
                    break
        except _LateError as late:
            best = late.args[0] or best
        return best

    # --- what is told where nothing reaches -------------------------------------------------------

    def _nearest(self) -> tuple[float, NDArray[np.intp]] | tuple[()]:
        """Value and combination of what comes nearest, of those like training rows."""
        ahead = [(judged.score[one], judged.value[one], some[one])
                 for some, judged in self.seen for one in np.flatnonzero(~judged.reached & (judged.score > self.base))]  # fmt: skip
        ahead.sort(key=lambda one: (-one[0], len(one[2])))
        done, many = 0, 16
        while done < min(len(ahead), NEAREST):
            some = ahead[done : done + many]
            alike = self._alike(
                np.concatenate([self._changed(combination[None]) for *_, combination in some])
            )
            if alike.any():
                _, value, combination = some[int(alike.argmax())]
                return float(value), combination
            done, many = done + len(some), 2 * many
        return ()

    def _step(self, move: int) -> Step:
        lever = self.levers[self.lever[move]]
        return Step(lever, float(self.x[lever.column]), float(np.float32(self.value[move])))


def _product(groups: Sequence[NDArray[np.intp]]) -> NDArray[np.intp]:
    """[combinations, groups] one of each."""
    return np.stack(np.meshgrid(*groups, indexing="ij"), axis=-1).reshape(-1, len(groups))


def _spread(group: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most so many of them, evenly, the last one among them."""
    if len(group) <= most:
        return group
    return group[np.unique(np.linspace(0, len(group) - 1, most + 1).round().astype(np.intp)[1:])]
