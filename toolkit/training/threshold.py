"""The score above which we act, chosen on validation rows only.

A threshold lies between two distinct scores, never inside a tie: rows with equal scores are decided
alike. The exception is `fill_capacity`, a promise about the length of a list: it is kept by rank, in
each list anew, because a score cut on validation would overfill or underfill the next list.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolkit.errors import DataError
from toolkit.evaluation.metrics import tally

Floats = NDArray[np.float64]


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MaximiseF1(_Config):
    """Act where precision and recall are best balanced: the highest F1."""

    kind: Literal["maximise_f1"] = "maximise_f1"


class ReachPrecision(_Config):
    """Act on as many rows as possible while this share of them is right.

    precision: the share wanted. least_positives: how many right ones a cut must hold before its
    precision is believed; one lucky row at the top is no precision of 100 %.
    """

    kind: Literal["reach_precision"]
    precision: float = Field(gt=0, le=1)
    least_positives: int = Field(default=5, ge=1)


class FillCapacity(_Config):
    """Act on the best `count` rows, or the best `fraction` of the rows, of each list.

    A count is a count of the list that is scored, whatever the size of validation.
    """

    kind: Literal["fill_capacity"]
    count: int | None = Field(default=None, ge=1)
    fraction: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _one_of_them(self) -> FillCapacity:
        if (self.count is None) == (self.fraction is None):
            raise ValueError("give either `count` or `fraction`")
        return self


class MinimiseCost(_Config):
    """Act where the total cost of wrong decisions is least.

    false_positive: cost of acting on a row in vain. false_negative: cost of a positive passed over.
    """

    kind: Literal["minimise_cost"]
    false_positive: float = Field(gt=0)
    false_negative: float = Field(gt=0)


ThresholdConfig = Annotated[
    MaximiseF1 | ReachPrecision | FillCapacity | MinimiseCost, Field(discriminator="kind")
]


@dataclass(frozen=True)
class Threshold:
    """A chosen threshold: plain numbers, so that a bundle holds it as JSON.

    value:    on the raw score; the decision is score >= value. With a capacity it only says where the
              cut lay on validation, for rows that come one by one.
    reason:   how it was chosen, in words.
    achieved: figures on the rows that it was chosen on, so a little flattered: rows, positives,
              selected, selected_share, precision, recall, f1, and cost where one is declared. A ratio
              without a denominator is left out.
    reached:  False when what was asked cannot be had; the reason says what was done instead.
    count, fraction: the capacity of a list, for `fill_capacity`.
    """

    kind: str
    value: float
    reason: str
    achieved: dict[str, float]
    reached: bool = True
    count: int | None = None
    fraction: float | None = None

    @property
    def by_rank(self) -> bool:
        """Whether a capacity decides, whatever the labels: then nothing was fitted on them."""
        return self.count is not None or self.fraction is not None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Threshold:
        return cls(**data)


def choose(
    config: MaximiseF1 | ReachPrecision | FillCapacity | MinimiseCost,
    y: ArrayLike,
    score: ArrayLike,
    groups: ArrayLike | None = None,
    place: ArrayLike | None = None,
) -> Threshold:
    """Choose on validation rows: y [rows] of 0/1, raw score [rows], groups and place [rows]
    (see `decide`).

    Raises DataError when there is no row. Without a positive row `maximise_f1`, `reach_precision` and
    `minimise_cost` select nothing and say so.
    """
    y, score = np.asarray(y).astype(np.float64), _checked(score)
    if len(y) == 0:
        raise DataError(
            "a threshold cannot be chosen: there are no validation rows",
            fix="give validation more rows (an earlier cutoff, a larger fraction)",
        )
    cuts = cuts_of(y, score)
    if isinstance(config, FillCapacity):
        threshold = _fill(config, cuts, score, groups)
    elif cuts.positives == 0:
        reason = f"no positive among {len(y):,} validation rows, so nothing is selected"
        threshold = Threshold(config.kind, cuts.value(0), reason, {}, reached=False)
    elif isinstance(config, MaximiseF1):
        f1 = 2 * cuts.hits / (cuts.selected + cuts.positives)
        best = int(f1.argmax())
        threshold = Threshold(config.kind, cuts.value(best), f"highest F1 on validation: {f1[best]:.3f}", {})
    elif isinstance(config, ReachPrecision):
        threshold = _reach(config, cuts)
    else:
        cost = _cost(config, cuts.hits, cuts.selected, cuts.positives)
        best = int(cost.argmin())
        reason = f"least cost on validation: {cost[best]:g} (nothing selected {cost[0]:g}, all {cost[-1]:g})"
        threshold = Threshold(config.kind, cuts.value(best), reason, {})

    achieved = _figures(y, decide(threshold, score, groups, place))
    if isinstance(config, MinimiseCost):
        hits = (y * (score >= threshold.value)).sum()
        achieved["cost"] = float(_cost(config, hits, achieved["selected"], achieved["positives"]))
    return replace(threshold, achieved=achieved)


def decide(
    threshold: Threshold,
    score: ArrayLike,
    groups: ArrayLike | None = None,
    place: ArrayLike | None = None,
) -> NDArray[np.bool_]:
    """Which rows to act on, [rows].

    score [rows]; groups [rows] names the list each row belongs to (its cutoff), all rows being one
    list without it. With a capacity the best rows of each list are taken up to it, never more; rows
    that tie at its edge are taken by place [rows], which is of `ties.places` wherever rows have keys, so that
    those acted on are the first of the written list; without it in row order. A fraction is of the list's rows, rounded down.
    """
    score = _checked(score)
    if not threshold.by_rank:
        return score >= threshold.value
    names, group = np.unique(
        np.zeros(len(score)) if groups is None else np.asarray(groups), return_inverse=True
    )
    sizes = np.bincount(group, minlength=len(names))
    capacity = np.full(len(names), threshold.count or 0)
    if threshold.fraction is not None:
        capacity = np.floor(sizes * threshold.fraction + 1e-9).astype(np.intp)
    tied = np.arange(len(score)) if place is None else np.asarray(place)
    order = np.lexsort((tied, -score, group))
    rank = np.arange(len(score)) - np.repeat(sizes.cumsum() - sizes, sizes)
    chosen = np.empty(len(score), bool)
    chosen[order] = rank < capacity[group[order]]
    return chosen


def decide_among(
    threshold: Threshold,
    score: ArrayLike,
    groups: ArrayLike,
    place: ArrayLike,
    eligible: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """`decide` among the rows that a target applies to [rows]; no capacity is spent on the others."""
    chosen = np.zeros(len(eligible), bool)
    score, groups, place = (np.asarray(part)[eligible] for part in (score, groups, place))
    chosen[eligible] = decide(threshold, score, groups, place)
    return chosen


@dataclass(frozen=True)
class Cuts:
    """Every way to cut: cut i selects the i highest distinct scores; cut 0 selects nothing."""

    scores: Floats  # [distinct], highest first
    selected: Floats  # [distinct + 1] rows at or above
    hits: Floats  # [distinct + 1] positives among them
    positives: float

    def value(self, cut: int) -> float:
        """A number between the last score selected and the first that is not."""
        if cut == 0:
            return float(np.nextafter(self.scores[0], np.inf))
        if cut == len(self.scores):
            return float(self.scores[-1])
        upper, lower = float(self.scores[cut - 1]), float(self.scores[cut])
        middle = lower + (upper - lower) / 2
        return middle if lower < middle <= upper else upper  # neighbouring floats have no middle


def cuts_of(y: Floats, score: Floats) -> Cuts:
    scores, rows, positives = tally(y, score)
    selected, hits = (np.concatenate([[0.0], count.cumsum()]) for count in (rows, positives))
    return Cuts(scores, selected, hits, float(y.sum()))


def _reach(config: ReachPrecision, cuts: Cuts) -> Threshold:
    least = min(config.least_positives, cuts.positives)
    believed = cuts.hits >= least
    precision = np.where(believed, cuts.hits / np.maximum(cuts.selected, 1), -1)
    enough = np.flatnonzero(precision >= config.precision)
    if len(enough):
        best = int(enough[-1])
        reason = f"largest selection on validation with precision of at least {config.precision:g}"
        return Threshold(config.kind, cuts.value(best), reason, {})
    best = int(np.flatnonzero(precision == precision.max())[-1])
    reason = (
        f"precision {config.precision:g} is not reached on validation; the highest with at least "
        f"{least:g} positives selected is {precision[best]:.3f}, taken instead"
    )
    return Threshold(config.kind, cuts.value(best), reason, {}, reached=False)


def _fill(config: FillCapacity, cuts: Cuts, score: Floats, groups: ArrayLike | None) -> Threshold:
    size = f"{config.count:,} rows" if config.count else f"{100 * (config.fraction or 0):g} % of the rows"
    threshold = Threshold(
        config.kind, 0.0, f"the best {size} of each list", {}, count=config.count, fraction=config.fraction
    )
    taken = int(decide(threshold, score, groups).sum())
    # Where a single row would be cut: the most whole ties that the capacity holds.
    cut = int(np.searchsorted(cuts.selected, taken, side="right")) - 1
    threshold = replace(threshold, value=cuts.value(cut))
    if config.count:
        sizes = [len(score)] if groups is None else np.unique(np.asarray(groups), return_counts=True)[1]
        if min(sizes) < config.count:
            reason = f"{threshold.reason}; a validation list has only {min(sizes):,}, taken whole"
            return replace(threshold, reason=reason, reached=False)
    return threshold


def _cost(config: MinimiseCost, hits: Any, selected: Any, positives: float) -> Any:
    return config.false_positive * (selected - hits) + config.false_negative * (positives - hits)


def _figures(y: Floats, chosen: NDArray[np.bool_]) -> dict[str, float]:
    rows, positives, selected = len(y), float(y.sum()), float(chosen.sum())
    hits = float(y[chosen].sum())
    figures = {"rows": float(rows), "positives": positives, "selected": selected}
    figures["selected_share"] = selected / rows
    if selected:
        figures["precision"] = hits / selected
    if positives:
        figures["recall"] = hits / positives
    if selected + positives:
        figures["f1"] = 2 * hits / (selected + positives)
    return figures


def _checked(score: ArrayLike) -> Floats:
    """As float64: a float32 score compared with a Python float would round the threshold."""
    score = np.asarray(score, dtype=np.float64)
    if np.isnan(score).any():
        raise ValueError("scores contain NaN")
    return score
