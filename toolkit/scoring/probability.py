"""Encoded rows to the probability of one target, by the whole pipeline: model, calibration, coherence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.bundling import Scorer
from toolkit.modalities import NOTHING, Modalities
from toolkit.models.ensemble import Combined
from toolkit.models.interface import Fitted
from toolkit.models.one_by_one import OneByOneFitted
from toolkit.scoring.batch import say

Floats = NDArray[np.float64]


def some_of(
    fitted: Fitted, places: Sequence[int], X: NDArray[np.float32], besides: Modalities = NOTHING
) -> list[np.ndarray]:
    """What a model says of some of its targets; those that learnt by themselves are asked alone."""
    if isinstance(fitted, Combined):
        said = [some_of(member.fitted, places, X, besides) for member in fitted.members]
        return [fitted.combiners[place].combine([one[at] for one in said]) for at, place in enumerate(places)]
    if isinstance(fitted, OneByOneFitted):
        alone = replace(
            fitted,
            tasks=tuple(fitted.tasks[place] for place in places),
            seen=tuple(fitted.seen[place] for place in places),
            parts=tuple(fitted.parts[place] for place in places),
        )
        return alone.predict(X, besides)
    every = fitted.predict(X, besides)
    return [every[place] for place in places]


@dataclass(frozen=True)
class Some:
    """A model that is asked about some of its targets only."""

    fitted: Fitted
    places: tuple[int, ...]

    def predict(self, X: NDArray[np.float32], besides: Modalities = NOTHING) -> list[np.ndarray]:
        return some_of(self.fitted, self.places, X, besides)


def about(scorer: Scorer, target: str) -> tuple[Scorer, bool]:
    """The scorer of a target and of the chain that it is in, and whether a single row's score decides."""
    names = next((chain for chain in scorer.coherent if target in chain), (target,))
    chain = [head for name in names for head in scorer.heads if head.name == name]
    places = {m: tuple(head.position for head in chain if head.model == m) for m in (h.model for h in chain)}
    # Whoever is acted on for a narrower target is for this one, so their thresholds count, too.
    decides = not any(
        head.threshold is None or head.threshold.by_rank or head.by_group is not None
        for head in chain[: names.index(target) + 1]
    )
    heads = tuple(
        replace(
            head, position=places[head.model].index(head.position),
            threshold=head.threshold if decides else None, by_group=None,
        )
        for head in chain
    )  # fmt: skip
    models: Any = {name: Some(scorer.models[name], its) for name, its in places.items()}
    nested = tuple(chain for chain in scorer.coherent if target in chain)
    return replace(scorer, heads=heads, others=(), models=models, coherent=nested), decides


def probability(
    scorer: Scorer, target: str, X: NDArray[np.float32], besides: Modalities = NOTHING
) -> tuple[Floats, Floats, NDArray[np.bool_] | None]:
    """The target's raw score [rows], its probability (or number) [rows], and whether its threshold is reached.

    By the code that scores tables. The last is None where there is no threshold of a single row: of a number, of a
    capacity, or where groups have thresholds of their own.
    """
    alone, decides = about(scorer, target)
    everybody, nobody = np.ones(len(X), bool), np.zeros(len(X), np.intp)
    said = say(alone, X, besides, {head.name: everybody for head in alone.heads}, nobody, nobody)
    reached = said.decision[target].astype(bool) if decides else None
    return np.asarray(said.raw[target], np.float64), said.probability[target], reached
