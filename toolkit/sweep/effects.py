"""Which overrides of a sweep mattered: the mean over the runs with each value, like with like."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.sweep.folder import Record
from toolkit.sweep.overrides import value_of
from toolkit.sweep.runs import Run


@dataclass(frozen=True)
class Effect:
    """Mean validation metric of the runs with one value of one override, over what every value was tried with."""

    key: str
    value: str
    runs: int
    mean: float
    spread: float


def effects(
    done: Sequence[tuple[Record, Run]], swept: Sequence[str], of: Callable[[Run], float]
) -> list[Effect]:
    """Of each override with several values. Where jobs are missing, a value is not judged by what the others lack."""
    found: list[tuple[float, list[Effect]]] = []
    for key in swept if any(key != "seed" for key in swept) else ():
        groups: dict[str, dict[tuple[str | None, ...], float]] = {}
        for record, run in done:
            value = of(run)
            if not math.isnan(value):
                rest = tuple(value_of(record.overrides, other) for other in swept if other != key)
                groups.setdefault(value_of(record.overrides, key) or "as declared", {})[rest] = value
        common = set.intersection(*map(set, groups.values())) if groups else set()
        if len(groups) < 2 or not common:
            continue
        of_key = []
        for name, by_rest in groups.items():
            values = [value for rest, value in by_rest.items() if rest in common]
            of_key.append(Effect(key, name, len(values), mean(values), spread(values)))
        found.append((max(e.mean for e in of_key) - min(e.mean for e in of_key), of_key))
    return [effect for _, of_key in sorted(found, key=lambda pair: -pair[0]) for effect in of_key]


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def spread(values: Sequence[float]) -> float:
    """Standard deviation of a sample; NaN for one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
