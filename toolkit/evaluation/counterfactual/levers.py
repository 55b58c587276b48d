"""What may change in a row, as declared and as training rows allow it: levers, and their moves for one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.config.counterfactual import Change
from toolkit.evaluation.counterfactual.reference import Reference
from toolkit.modalities import Column

STEPS = 20  # of a range without a declared step
LONGEST_GRID = 10_000  # values of one feature for one row; beyond, steps are left out evenly
MISSING, OUTSIDE, EDGE = "is missing", "is outside of its range", "is at the end of its range"
Floats = NDArray[np.float64]


class Moves(NamedTuple):
    """Everything that one lever can do to one row, the smallest change first. value, cost [moves]."""

    value: Floats
    cost: Floats


@dataclass(frozen=True)
class Lever:
    """One feature that may change. Positions are those of the model's columns.

    low, high: of a new value; low_of, high_of: columns that it may not pass; scale: what a change is measured
    in; codes: new levels of a categorical one.
    """

    name: str
    change: Change
    column: int
    low: float
    high: float
    low_of: int | None
    high_of: int | None
    step: float
    scale: float
    also: NDArray[np.intp]
    codes: NDArray[np.intp]

    def moves(self, value: float) -> Moves | str:
        """Of a row with this value; why there are none, in words."""
        if np.isnan(value):
            return MISSING
        if self.change.values is not None:
            new = self.codes[self.codes != value].astype(np.float64)
            return Moves(new, np.ones(len(new))) if len(new) else EDGE
        least, most = self.change.at_least, self.change.at_most
        if (isinstance(least, float) and value < least) or (isinstance(most, float) and value > most):
            return OUTSIDE
        new = self._steps(value)
        cost = np.abs(new - value) / self.scale
        order = np.argsort(cost, kind="stable")
        return Moves(new[order], cost[order]) if len(new) else EDGE

    def _steps(self, value: float) -> Floats:
        """value ± whole numbers of steps that lie in the range, on the declared side."""
        found = []
        for sign, allowed in (
            (1, self.change.direction != "decrease"),
            (-1, self.change.direction != "increase"),
        ):
            room = (self.high - value) if sign > 0 else (value - self.low)
            many = int(np.floor(room / self.step + 1e-9)) if allowed and room > 0 else 0
            if many:
                first = 1
                if sign > 0 and value < self.low:
                    first = int(np.ceil((self.low - value) / self.step - 1e-9))
                elif sign < 0 and value > self.high:
                    first = int(np.ceil((value - self.high) / self.step - 1e-9))
                counts = np.arange(first, many + 1)
                if len(counts) > LONGEST_GRID:
                    counts = np.unique(np.linspace(first, many, LONGEST_GRID).round().astype(np.int64))
                found.append(value + sign * counts * self.step)
        return np.concatenate(found) if found else np.empty(0)


def levers(
    features: dict[str, Change], columns: Sequence[Column], reference: Reference
) -> tuple[list[Lever], dict[str, str]]:
    """The levers of a fitted model's columns, and the declared features that are none → why."""
    at = {column.name: place for place, column in enumerate(columns)}
    found, idle = [], {}
    for name, change in features.items():
        if name not in at:
            idle[name] = "says nothing in training rows, so the model does not see it"
            continue
        place, column = reference.place(name), columns[at[name]]
        low, high = reference.low[place], reference.high[place]
        if change.values is not None:
            codes = np.array(
                [column.levels.index(value) for value in change.values if value in column.levels], np.intp
            )
            if not len(codes):
                idle[name] = "no training row has one of its values"
                continue
            nothing = np.empty(0, np.intp)
            found.append(Lever(name, change, at[name], 0, 0, None, None, 1, 1, nothing, codes))
            continue
        if not reference.scale[place] > 0:
            idle[name] = "has one value in all training rows"
            continue
        ends = (change.at_least, change.at_most)
        if unseen := next((end for end in ends if isinstance(end, str) and end not in at), None):
            idle[name] = f"may not pass `{unseen}`, which says nothing in training rows"
            continue
        if isinstance(ends[0], float):
            low = max(ends[0], reference.least[place])
        if isinstance(ends[1], float):
            high = min(ends[1], reference.most[place])
        whole = bool(reference.whole[place])
        step = change.step or _round(max(high - low, 0) / STEPS, whole)
        found.append(
            Lever(
                name, change, at[name], float(low), float(high),
                at.get(ends[0]) if isinstance(ends[0], str) else None,
                at.get(ends[1]) if isinstance(ends[1], str) else None,
                float(step), float(reference.scale[place]),
                np.array([at[other] for other in change.also if other in at], np.intp), np.empty(0, np.intp),
            )
        )  # fmt: skip
    return found, idle


def _round(step: float, whole: bool) -> float:
    """The nearest 1, 2 or 5 times a power of ten above, so that new values read well."""
    if step <= 0:
        return 1.0
    if whole and step <= 1:
        return 1.0
    power = 10.0 ** np.floor(np.log10(step))
    return float(next(times * power for times in (1, 2, 5, 10) if times * power >= step * (1 - 1e-9)))
