"""Nested targets keep their order: what happens within 30 days has happened within 60.

Models fitted one by one need not agree with that, so each row's probabilities are moved to the
nearest non-decreasing ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Corrected:
    """What `project` did. share: of rows that were out of order; move: mean distance of the probabilities moved."""

    share: float
    move: float

    @classmethod
    def of(cls, before: ArrayLike, after: ArrayLike) -> Corrected:
        """From [rows, chain] before and after; zeros without rows."""
        distance = np.abs(np.asarray(after, dtype=np.float64) - np.asarray(before))
        moved = distance > 0
        return cls(
            float(moved.any(axis=1).mean()) if len(moved) else 0.0,
            float(distance[moved].mean()) if moved.any() else 0.0,
        )


def cohere(
    chain: Sequence[str],
    probability: Mapping[str, Floats],
    decision: Mapping[str, NDArray],
    eligible: Mapping[str, NDArray[np.bool_]],
) -> tuple[dict[str, Floats], dict[str, NDArray[np.bool_]], Corrected]:
    """A chain of targets, narrowest first, whose probabilities are in order and whose decisions are nested.

    probability, decision, eligible: target → [rows]; nobody is acted on for a target that does not apply
    to them. Returns probabilities and decisions of the chain, and how much had to be corrected.
    """
    before = np.column_stack([probability[name] for name in chain])
    after = project(before)
    acted = nested(np.column_stack([decision[name] for name in chain]))
    return (
        {name: after[:, index] for index, name in enumerate(chain)},
        {name: acted[:, index] & eligible[name] for index, name in enumerate(chain)},
        Corrected.of(before, after),
    )


def project(probabilities: ArrayLike) -> Floats:
    """The nearest non-decreasing rows, in the sense of least squares.

    probabilities [rows, chain], narrowest target first. Max-min formula of isotonic regression
    (Robertson, Wright & Dykstra 1988, §1.4): p̂_k = max over i ≤ k of min over j ≥ k of mean(p_i … p_j).
    A mean of probabilities is one, so the result stays in [0, 1]; rows in order come back unchanged.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    rows, chain = p.shape
    total = np.concatenate([np.zeros((rows, 1)), p.cumsum(axis=1)], axis=1)
    out = np.full_like(p, -np.inf)
    for i in range(chain):
        least = np.full(rows, np.inf)  # min over j ≥ k of the means that begin at i
        for k in range(chain - 1, i - 1, -1):
            least = np.minimum(least, (total[:, k + 1] - total[:, i]) / (k + 1 - i))
            out[:, k] = np.maximum(out[:, k], least)
    # The means carry rounding: leave alone what was in order already.
    in_order = (np.diff(p, axis=1) >= 0).all(axis=1)
    out[in_order] = p[in_order]
    return np.clip(out, p.min(axis=1, keepdims=True), p.max(axis=1, keepdims=True)) if chain else out


def nested(decisions: ArrayLike) -> NDArray[np.bool_]:
    """Decisions [rows, chain], made coherent: whoever is acted on for a target is for every wider one."""
    return np.logical_or.accumulate(np.asarray(decisions, dtype=bool), axis=1)
