"""Encoded rows to the probability of one target, by the whole pipeline: model, calibration, coherence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from toolkit.bundling import Head, Scorer
from toolkit.modalities import NOTHING, Modalities
from toolkit.models.ensemble import Combined
from toolkit.models.interface import Fitted
from toolkit.models.one_by_one import OneByOneFitted
from toolkit.training.coherence import project

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


def chain_of(scorer: Scorer, target: str) -> list[Head]:
    """The chosen heads that decide a target's probability: its own, or all of the chain that it is in."""
    names = next((chain for chain in scorer.coherent if target in chain), (target,))
    heads = {head.name: head for head in scorer.heads}
    return [heads[name] for name in names]


def probability(
    scorer: Scorer, target: str, X: NDArray[np.float32], besides: Modalities = NOTHING
) -> tuple[Floats, Floats, NDArray[np.bool_] | None]:
    """The target's raw score [rows], its probability (or number) [rows], and whether its threshold is reached.

    The same as scoring gives, to the last digits. The last is None where there is no threshold of a single
    row: of a number, of a capacity, or where groups have thresholds of their own.
    """
    chain = chain_of(scorer, target)
    raw: dict[str, Floats] = {}
    for model in {head.model for head in chain}:
        its = [head for head in chain if head.model == model]
        said = some_of(scorer.models[model], [head.position for head in its], X, besides)
        raw |= {
            head.name: np.asarray(np.expm1(score) if head.logged else score, np.float64)
            for head, score in zip(its, said, strict=True)
        }
    each = [head.calibrator.apply(raw[head.name]) for head in chain]
    at = [head.name for head in chain].index(target)
    after = each[at] if len(chain) == 1 else project(np.column_stack(each))[:, at]
    if any(one.threshold is None or one.threshold.by_rank or one.by_group for one in chain[: at + 1]):
        return raw[target], after, None
    reached = np.zeros(len(X), bool)
    for head in chain[: at + 1]:  # whoever is acted on for a narrower target is for this one
        assert head.threshold is not None
        reached |= raw[head.name] >= head.threshold.value
    return raw[target], after, reached
