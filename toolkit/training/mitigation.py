"""A threshold for each group of a protected attribute, found on validation rows such that a constraint holds.

`demographic_parity` selects the same share of every group; `equal_opportunity` the same share of every group's
positives. Among all levels of that share the one is taken that the declared threshold likes best (highest F1,
least cost, …), as Hardt, Price & Srebro (2016) derive predictors from a score. Their thresholds are drawn at random
between two, to meet the constraint exactly (so does fairlearn's ThresholdOptimizer); these are not: the same row is
decided alike each time, and the constraint holds on validation as nearly as whole rows allow.

A capacity is kept by rank, list by list: the list's places are dealt to groups in proportion to their rows (for
equal opportunity: to the rows that the common level selects), by the method of Webster and Sainte-Lague.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from toolkit.config.fairness import Mitigation
from toolkit.errors import DataError
from toolkit.evaluation.fairness import LEAST_OF_EACH
from toolkit.training.threshold import (
    Floats,
    MaximiseF1,
    MinimiseCost,
    ReachPrecision,
    Threshold,
    ThresholdConfig,
    cuts_of,
    decide,
)


@dataclass(frozen=True)
class GroupThresholds:
    """Thresholds by group, plain numbers for a bundle.

    values: group → threshold on the raw score; weights: group → its rows' weight when a capacity's places are
    dealt. Rows of any other group, and of none, are decided by `common` (weight 1).
    """

    attribute: str
    constraint: str
    common: Threshold
    values: dict[str, float]
    weights: dict[str, float]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> GroupThresholds:
        return cls(**{**data, "common": Threshold.from_dict(data["common"])})


def able_groups(
    mitigation: Mitigation, y: ArrayLike, groups: pd.Categorical, least: int, positives: int = LEAST_OF_EACH
) -> list[str]:
    """Groups that can have a threshold of their own: `least` rows, and for equal opportunity so many positives."""
    yes = np.asarray(y) == 1
    wanted = positives if mitigation.constraint == "equal_opportunity" else 0
    return [
        str(name)
        for name in groups.categories
        if (groups == name).sum() >= least and (yes & (groups == name)).sum() >= wanted
    ]


def need_two(mitigation: Mitigation, able: Sequence[str], least: int, target: str) -> None:
    """Raises DataError where fewer than two groups can have a threshold of their own."""
    if len(able) >= 2:
        return
    short = f"{least} rows"
    short += f" and {LEAST_OF_EACH} positives" if mitigation.constraint == "equal_opportunity" else ""
    raise DataError(
        f"`{target}` has no thresholds by group of `{mitigation.attribute}`: fewer than two groups have {short} in validation",
        where="fairness.mitigation",
        fix="no mitigation (`mitigation: null`), coarser groups, or more validation rows",
    )


def choose_by_group(
    wanted: ThresholdConfig, mitigation: Mitigation, common: Threshold, y: ArrayLike, score: ArrayLike,
    groups: pd.Categorical, able: Sequence[str],
) -> GroupThresholds:  # fmt: skip
    """Choose on validation rows: y of 0/1 [rows], raw score [rows], groups [rows].

    able: groups that get a threshold of their own (`able_groups`), all others keep the common one.
    """
    y, score = np.asarray(y, np.float64), np.asarray(score, np.float64)
    constraint = mitigation.constraint
    if len(able) < 2:
        return GroupThresholds(mitigation.attribute, constraint, common, {}, {}, common.reason)
    parts = [cuts_of(y[groups == name], score[groups == name]) for name in able]
    if constraint == "demographic_parity":
        shares = [part.selected / part.selected[-1] for part in parts]
    else:
        shares = [part.hits / part.hits[-1] for part in parts]
    levels = np.unique(np.concatenate(shares))
    at = [_nearest(share, levels) for share in shares]
    selected = np.sum([part.selected[cut] for part, cut in zip(parts, at, strict=True)], axis=0)
    hits = np.sum([part.hits[cut] for part, cut in zip(parts, at, strict=True)], axis=0)
    best, liked = _best(wanted, common, selected, hits, sum(part.positives for part in parts))
    chosen = [int(cut[best]) for cut in at]
    whose = "each group" if constraint == "demographic_parity" else "the positives of each group"
    weights = dict.fromkeys(able, 1.0)
    if common.by_rank and constraint == "equal_opportunity" and selected[best]:
        overall = selected[best] / sum(part.selected[-1] for part in parts)
        weights = {
            name: float(part.selected[cut] / part.selected[-1] / overall)
            for name, part, cut in zip(able, parts, chosen, strict=True)
        }
    others = [str(name) for name in groups.categories if name not in able]
    reason = (
        f"the same share of {whose} of {mitigation.attribute} on validation ({levels[best]:.1%}); {liked}"
    )
    reason += f"; the common threshold for {', '.join(others)}" if others else ""
    values = {name: part.value(cut) for name, part, cut in zip(able, parts, chosen, strict=True)}
    return GroupThresholds(mitigation.attribute, constraint, common, values, weights, reason)


def _nearest(share: Floats, levels: Floats) -> NDArray[np.intp]:
    """For each level the cut whose share is nearest, and of those with the same share the first [levels]."""
    above = np.searchsorted(share, levels, side="left")
    below = np.searchsorted(share, share[np.maximum(above - 1, 0)], side="left")
    return np.where(np.abs(share[above] - levels) <= np.abs(share[below] - levels), above, below)


def _best(
    wanted: ThresholdConfig, common: Threshold, selected: Floats, hits: Floats, positives: float
) -> tuple[int, str]:
    """The level that the declared threshold likes best, and why; selected, hits [levels]."""
    if isinstance(wanted, MaximiseF1):
        f1 = 2 * hits / np.maximum(selected + positives, 1)
        best = int(f1.argmax())
        return best, f"highest F1 with that: {f1[best]:.3f}"
    if isinstance(wanted, MinimiseCost):
        cost = wanted.false_positive * (selected - hits) + wanted.false_negative * (positives - hits)
        best = int(cost.argmin())
        return best, f"least cost with that: {cost[best]:g}"
    if isinstance(wanted, ReachPrecision):
        believed = hits >= min(wanted.least_positives, positives)
        precision = np.where(believed, hits / np.maximum(selected, 1), -1)
        enough = np.flatnonzero(precision >= wanted.precision)
        if len(enough):
            return int(enough[-1]), f"largest selection with precision of at least {wanted.precision:g}"
        best = int(precision.argmax())
        return best, f"precision {wanted.precision:g} is not reached; the highest is {precision[best]:.3f}"
    share = common.achieved.get("selected_share", 0.0)
    best = int(np.abs(selected - share * selected.max()).argmin())
    return best, common.reason


def decide_by_group(
    chosen: GroupThresholds,
    score: ArrayLike,
    groups: pd.Categorical,
    lists: ArrayLike,
    place: ArrayLike,
    eligible: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Which rows to act on [rows], among those that the target applies to.

    score, groups, lists, place: [rows] each, as `threshold.decide_among` takes them.
    """
    score = np.asarray(score, np.float64)
    if not chosen.common.by_rank:
        names = np.array([*map(str, groups.categories), ""], object)
        values = np.array([chosen.values.get(name, chosen.common.value) for name in names])
        return (score >= values[groups.codes]) & eligible
    rows = np.flatnonzero(eligible)
    lists, place = np.asarray(lists)[rows], np.asarray(place)[rows]
    merit = _dealt(chosen.weights, score[rows], groups[rows], lists, place)
    found = np.zeros(len(score), bool)
    found[rows] = decide(chosen.common, merit, lists, place)
    return found


def _dealt(
    weights: dict[str, float], score: Floats, groups: pd.Categorical, lists: NDArray, place: NDArray
) -> Floats:
    """An order of rows in each list, the highest first, whose beginnings hold groups in proportion [rows].

    The k-th best row of a group of n rows and weight w gets -(k - 1/2) / (w n): taken from the top, places go to
    groups as Webster's method deals seats, and those that an exhausted group leaves go to the others.
    """
    merit = np.empty(len(score))
    codes = groups.codes
    weight = np.array([weights.get(str(name), 1.0) for name in groups.categories] + [1.0])
    _, which = np.unique(lists, return_inverse=True)
    pair = which * (len(weight) + 1) + np.where(codes < 0, len(weight) - 1, codes)
    order = np.lexsort((place, -score, pair))
    sizes = np.bincount(pair, minlength=int(pair.max()) + 1 if len(pair) else 0)
    rank = np.arange(len(score)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    size = sizes[pair[order]] * np.maximum(weight[codes[order]], 1e-9)
    merit[order] = -(rank + 0.5) / size
    return merit
