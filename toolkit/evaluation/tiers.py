"""Tiers of a probability: in which one a row is, and what each of them is worth on the test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.bootstrap import EntityBootstrap, interval
from toolkit.evaluation.gains import wilson
from toolkit.evaluation.metrics import NAN, Floats

DIGITS = 6  # of a probability, as lists show it: a row that shows 0.6 is in the tier that begins there
Ends = tuple[float, float]


@dataclass(frozen=True)
class Acting:
    """What acting on a tier and on all above it brings, with 95 % intervals by entity.

    false_positive_rate: of the rows that say no, the share that is acted on.
    """

    rows: int
    share: float
    precision: float
    precision_interval: Ends
    recall: float
    recall_interval: Ends
    false_positive_rate: float
    false_positive_rate_interval: Ends


@dataclass(frozen=True)
class Tier:
    """One tier on labelled rows: least probability, what it promises on average, and what happened."""

    name: str
    least: float
    rows: int
    share: float
    mean_probability: float
    observed: float
    observed_interval: Ends
    acting: Acting


def tier_of(probability: Floats, tiers: Mapping[str, float]) -> NDArray[np.intp]:
    """The place of each row's tier among the declared ones, the lowest first [rows]."""
    return np.searchsorted(list(tiers.values()), np.round(probability, DIGITS), side="right") - 1


def names_of(
    probability: Floats, tiers: Mapping[str, float], applies: NDArray[np.bool_] | None = None
) -> list[str | None]:
    """The name of each row's tier [rows]; None where the target does not apply."""
    names, at = list(tiers), tier_of(probability, tiers)
    known = np.ones(len(at), bool) if applies is None else applies
    return [names[place] if there else None for place, there in zip(at, known, strict=True)]


def judge(
    y: Floats, probability: Floats, tiers: Mapping[str, float], entity: NDArray, boot: EntityBootstrap | None
) -> list[Tier]:
    """Every tier, the lowest first. y: 0, 1, or NaN where there is no label; all of them [rows], boot's rows."""
    has = ~np.isnan(y)
    at, yes = tier_of(probability, tiers), y == 1
    n = int(has.sum())
    found = []
    for place, (name, least) in enumerate(tiers.items()):
        inside, above = has & (at == place), has & (at >= place)
        precision, within = _share(above & yes, above, entity, boot)
        recall, reached = _share(
            above & yes, yes, entity, boot if place else None
        )  # all rows: 1, for certain
        wrong, wrongly = _share(above & ~yes, has & ~yes, entity, boot if place else None)
        observed, around = _share(inside & yes, inside, entity, boot)
        acting = Acting(
            int(above.sum()), above.sum() / n if n else NAN, precision, within,
            recall, reached, wrong, wrongly,
        )  # fmt: skip
        rows = int(inside.sum())
        mean = float(probability[inside].mean()) if rows else NAN
        found.append(Tier(name, least, rows, rows / n if n else NAN, mean, observed, around, acting))
    return found


def _share(
    hit: NDArray[np.bool_], of: NDArray[np.bool_], entity: NDArray, boot: EntityBootstrap | None
) -> tuple[float, Ends]:
    """The share of some rows that hit, and its interval.

    By entity bootstrap; by Wilson's on the number of entities where all or none hit, or so few entities are in it
    that many replicates draw none of them.
    """
    rows = int(of.sum())
    if not rows:
        return NAN, (NAN, NAN)
    share = float(hit.sum() / rows)
    if boot is None:
        return share, (NAN, NAN)
    ends = interval(boot.statistic(None, [hit, of], lambda _, hits, all_: hits / all_))
    if share in (0.0, 1.0) or np.isnan(ends[0]):
        entities = len(np.unique(entity[of]))
        low, high = wilson(np.array([share * entities]), np.array([entities]))
        ends = float(low[0]), float(high[0])
    return share, ends


def figures(tiers: Sequence[Tier]) -> dict[str, dict[str, object]]:
    """Tier → its figures, as metrics.json has them; `on`: acting on this tier and on all above it."""
    return {
        tier.name: {
            "from": tier.least, "rows": tier.rows, "share": tier.share, "mean_probability": tier.mean_probability,
            "observed": tier.observed, "observed_interval": tier.observed_interval, "on": vars(tier.acting),
        }
        for tier in tiers
    }  # fmt: skip
