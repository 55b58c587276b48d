"""How decisions differ between groups of a protected attribute, with 95 % intervals by entity bootstrap.

    found = compare(y, decision, groups, attribute="sex", least=50, boot=boot)
    found.of("demographic_parity_ratio").value, .interval

Point estimates are fairlearn's (Bird et al. 2020). In the bootstrap's replicates the same formulas run on
counts of rows, selected, positives and both, for fairlearn would need as many passes over the rows:

    selection rate    selected / rows             true-positive rate    both / positives
    base rate         positives / rows            false-positive rate   (selected - both) / (rows - positives)
    precision         both / selected

Measures (a rate's gap is its largest less its smallest value among groups): demographic_parity_difference,
the gap of selection rates, and _ratio, their smallest over their largest; equal_opportunity_difference, the gap
of true-positive rates (Hardt, Price & Srebro 2016); equalized_odds_difference, the larger of the gaps of
true- and false-positive rates; disparate_impact, the smallest selection rate over that of a reference group
(the four-fifths rule of the EEOC, 29 CFR 1607.4 D, compares it with 0.8).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.config.fairness import MEASURES, RATIOS, UNKNOWN
from toolkit.errors import ConfigError
from toolkit.evaluation.bootstrap import EntityBootstrap, interval
from toolkit.evaluation.gains import wilson
from toolkit.evaluation.metrics import NAN, Floats, ratio

RATES = ("base_rate", "selection_rate", "true_positive_rate", "false_positive_rate", "precision")
LEAST_OF_EACH = 5  # rows of an answer, fewer than which a rate among them says nothing
MOST_UNKNOWN = 0.5  # of the rows; beyond it what is known of the rest is no comparison
_LOOKED_AT = {  # by a measure, where it is not the selection rate
    "equal_opportunity_difference": ("true_positive_rate",),
    "equalized_odds_difference": ("true_positive_rate", "false_positive_rate"),
}
Interval = tuple[float, float]


def need_fairlearn() -> None:
    """Raises ConfigError if fairlearn is not installed."""
    if find_spec("fairlearn") is None:
        raise ConfigError(
            "comparing decisions between groups needs fairlearn, which is not installed",
            where="fairness.attributes",
            fix="pip install 'toolkit[fairness]', or compare nothing: fairness=none",
        )


@dataclass(frozen=True)
class Group:
    """One group's rates. rows: None where withheld says why; impact: its selection rate over the reference's.

    undefined: rate → why it cannot be told.
    """

    name: str
    rows: int | None
    withheld: str = ""
    rates: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)
    impact: float = NAN
    impact_interval: Interval = (NAN, NAN)


@dataclass(frozen=True)
class Measured:
    """One measure. low, high: the groups at either end; undefined: why there is no value; left_out: groups that it is not about."""

    name: str
    value: float = NAN
    interval: Interval = (NAN, NAN)
    low: str = ""
    high: str = ""
    undefined: str = ""
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Decisions on one target by one attribute. unknown: share of rows without a value; not_compared: why, if so.

    coarse: figures are rounded, for otherwise those of a withheld group could be told from the totals.
    """

    attribute: str
    rows: int
    unknown: float
    groups: list[Group]
    measures: list[Measured]
    reference: str = ""
    not_compared: str = ""
    coarse: bool = False

    @property
    def known(self) -> list[Group]:
        """The groups without that of the rows that have no value, which stands last."""
        return self.groups[:-1] if self.unknown else self.groups

    def of(self, measure: str) -> Measured:
        return next(one for one in self.measures if one.name == measure)


def compare(
    y: NDArray,
    decision: NDArray,
    groups: pd.Categorical,
    *,
    attribute: str,
    least: int,
    boot: EntityBootstrap | None = None,
    rows: NDArray[np.bool_] | None = None,
    reference: str | None = None,
    measures: Sequence[str] = MEASURES,
) -> Comparison:
    """Compare the decisions on labelled rows.

    y: 0 or 1 [rows]; decision: acted on or not [rows]; groups [rows], missing values being a group of their own,
    of `nameless`, which is shown and not compared; boot: of these rows, None for no intervals; rows: a mask of those to use;
    least: groups with fewer rows are withheld; reference: a group, default: the most selected one.
    """
    use = np.ones(len(y), bool) if rows is None else rows
    categories = [str(category) for category in groups.categories]
    nobody = nameless(categories)
    names = np.array([*categories, nobody], object)[groups.codes]
    present = [name for name in categories if (names[use] == name).any()]
    total, unknown = int(use.sum()), float((names[use] == nobody).mean()) if use.any() else 0.0
    shown = [*present, nobody] if unknown else present
    masks = {name: use & (names == name) for name in shown}
    withheld = {name for name, mask in masks.items() if mask.sum() < least}
    told = [name for name in shown if name not in withheld]
    compared = [name for name in told if name != nobody]
    counts = {name: _counts(y, decision, masks[name]) for name in told}
    draws = {name: _draws(boot, y, decision, masks[name]) for name in told} if boot else {}
    why = _not_compared(attribute, unknown, present, compared, least)
    against, impact, impact_draws = _impact(compared if not why else [], counts, draws, reference)
    frame = _by_group(y, decision, names, masks, told)
    found = []
    for name in shown:
        if name in withheld:
            found.append(Group(name, None, f"fewer than {least} rows"))
            continue
        missing = _undefined(counts[name])
        rates = {rate: NAN if rate in missing else float(frame[rate].loc[name]) for rate in RATES}
        ends = {}
        if boot:
            drawn = _rates(draws[name])
            among = _among(y, decision, masks[name])
            ends = {
                rate: interval(drawn[rate]) if 0 < rates[rate] < 1 else _all_or_none(rates[rate], among[rate], boot)
                for rate in RATES if rate not in missing
            }  # fmt: skip
        found.append(Group(
            name, int(counts[name][0]), "", rates, ends, missing, impact.get(name, NAN),
            interval(impact_draws[name]) if impact.get(name) and name in impact_draws and name != against else (NAN, NAN),
        ))  # fmt: skip
    measured = []
    for measure in measures if not why else ():
        measured.append(_measure(measure, y, decision, names, masks, compared, counts, draws, against))
    hidden = sum(int(masks[name].sum()) for name in withheld)
    return Comparison(attribute, total, unknown, found, measured, against, why, 0 < hidden < least)


def coarse(found: Comparison) -> Comparison:
    """Rows to the nearest ten and rates to the nearest hundredth, where exact ones would tell a withheld group's."""
    if not found.coarse:
        return found

    def two(ends: Interval) -> Interval:
        return round(ends[0], 2), round(ends[1], 2)

    groups = [
        replace(
            g, rows=None if g.rows is None else round(g.rows / 10) * 10, impact=round(g.impact, 2),
            rates={k: round(v, 2) for k, v in g.rates.items()}, intervals={k: two(v) for k, v in g.intervals.items()},
            impact_interval=two(g.impact_interval),
        )
        for g in found.groups
    ]  # fmt: skip
    measures = [replace(m, value=round(m.value, 2), interval=two(m.interval)) for m in found.measures]
    return replace(found, groups=groups, measures=measures)


def nameless(categories: Collection[str]) -> str:
    """What rows without a value are called: `unknown`, or, where a group has that name, `missing`."""
    names = itertools.chain((UNKNOWN, "missing"), (f"missing {number}" for number in itertools.count(2)))
    return next(name for name in names if name not in categories)


# --- counts -----------------------------------------------------------------------------------------


def _counts(y: NDArray, decision: NDArray, mask: NDArray[np.bool_]) -> Floats:
    """Rows, selected, positives, both [4]."""
    chosen, yes = decision[mask].astype(bool), y[mask] == 1
    return np.array([mask.sum(), chosen.sum(), yes.sum(), (chosen & yes).sum()], float)


def _draws(boot: EntityBootstrap, y: NDArray, decision: NDArray, mask: NDArray[np.bool_]) -> Floats:
    """The same in every replicate [4, replicates]."""
    chosen, yes = decision.astype(float), (np.nan_to_num(y) == 1).astype(float)
    return boot.statistic(mask, [chosen, yes, chosen * yes], lambda *sums: np.stack(sums))


def _rates(counts: Floats) -> dict[str, Floats]:
    """Rates from counts [4, …]; NaN where a denominator is zero."""
    n, selected, positives, both = counts
    return {
        "base_rate": ratio(positives, n), "selection_rate": ratio(selected, n),
        "true_positive_rate": ratio(both, positives), "false_positive_rate": ratio(selected - both, n - positives),
        "precision": ratio(both, selected),
    }  # fmt: skip


def _among(y: NDArray, decision: NDArray, mask: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """Rate → the rows that it is a share of."""
    yes = y == 1
    return {
        "base_rate": mask, "selection_rate": mask, "true_positive_rate": mask & yes,
        "false_positive_rate": mask & ~yes, "precision": mask & decision.astype(bool),
    }  # fmt: skip


def _all_or_none(rate: float, among: NDArray[np.bool_], boot: EntityBootstrap) -> Interval:
    """Wilson's interval by the number of entities: of a rate of 0 or 1 every replicate says the same."""
    entities = len(np.unique(boot.codes[among]))
    low, high = wilson(np.array([rate * entities]), np.array([entities]))
    return float(low[0]), float(high[0])


def _undefined(counts: Floats) -> dict[str, str]:
    """Rates that cannot be told of counts [4] → why."""
    n, selected, positives, _ = counts
    there = {
        "true_positive_rate": (positives, "no positives", "too few positives"),
        "false_positive_rate": (n - positives, "no negatives", "too few negatives"),
        "precision": (selected, "nobody selected", "too few selected"),
    }
    return {rate: few if rows else none for rate, (rows, none, few) in there.items() if rows < LEAST_OF_EACH}


def _not_compared(
    attribute: str, unknown: float, present: Sequence[str], compared: Sequence[str], least: int
) -> str:
    """Why groups cannot be compared; "" if they can be."""
    if unknown > MOST_UNKNOWN:
        return f"`{attribute}` is unknown for {unknown:.0%} of the rows"
    if len(present) < 2:
        return f"`{attribute}` has one group only, `{present[0]}`" if present else "there is no labelled row"
    if len(compared) < 2:
        many = f"only `{compared[0]}` has" if compared else "no group has"
        return f"{many} {least} rows or more"
    return ""


def _impact(
    compared: Sequence[str], counts: dict[str, Floats], draws: dict[str, Floats], reference: str | None
) -> tuple[str, dict[str, float], dict[str, Floats]]:
    """The reference group, and every group's selection rate over its own; "" where there is none."""
    if not compared or (reference and reference not in compared):
        return "", {}, {}
    rate = {name: _rates(counts[name])["selection_rate"] for name in compared}
    against = reference or max(compared, key=lambda name: float(rate[name]))
    if not rate[against]:
        return against, {}, {}
    impact = {name: float(rate[name] / rate[against]) for name in compared}
    drawn = {name: _rates(draws[name])["selection_rate"] for name in compared if name in draws}
    return against, impact, {name: ratio(drawn[name], drawn[against]) for name in drawn}


# --- fairlearn --------------------------------------------------------------------------------------


def _by_group(
    y: NDArray, decision: NDArray, names: NDArray, masks: dict[str, NDArray[np.bool_]], told: Sequence[str]
) -> pd.DataFrame:
    """Rates [groups, rates] by fairlearn's MetricFrame; those of `_undefined` mean nothing."""
    if not told:
        return pd.DataFrame(columns=list(RATES))
    from fairlearn import metrics as fair
    from sklearn.metrics import precision_score

    use = np.logical_or.reduce([masks[name] for name in told])
    figures = {
        "base_rate": lambda truth, chosen: fair.mean_prediction(truth, truth),
        "selection_rate": fair.selection_rate, "true_positive_rate": fair.true_positive_rate,
        "false_positive_rate": fair.false_positive_rate,
        "precision": lambda truth, chosen: precision_score(truth, chosen, zero_division=0.0),
    }  # fmt: skip
    return fair.MetricFrame(
        metrics=figures, y_true=y[use].astype(int), y_pred=decision[use].astype(int), sensitive_features=names[use].astype(str)
    ).by_group  # fmt: skip


def _measure(
    measure: str, y: NDArray, decision: NDArray, names: NDArray, masks: dict[str, NDArray[np.bool_]],
    compared: Sequence[str], counts: dict[str, Floats], draws: dict[str, Floats], against: str,
) -> Measured:  # fmt: skip
    needs = _LOOKED_AT.get(measure, ())
    able = [name for name in compared if not set(needs) & set(_undefined(counts[name]))]
    left_out = tuple(name for name in compared if name not in able)
    if len(able) < 2:
        kinds = "positive and negative rows" if len(needs) > 1 else "positive rows"
        return Measured(measure, undefined=f"fewer than two groups have enough {kinds}", left_out=left_out)
    if measure == "disparate_impact" and not against:
        return Measured(measure, undefined="the reference group is withheld, or not among these rows")
    at = able.index(against) if against in able else 0
    each = _rates(np.stack([counts[name] for name in able], axis=1))
    if measure in RATIOS:
        base = each["selection_rate"].max() if measure != "disparate_impact" else each["selection_rate"][at]
        if base == 0:
            who = "nobody" if measure != "disparate_impact" else f"nobody of `{against}`"
            return Measured(measure, undefined=f"{who} is selected", left_out=left_out)
    use = np.logical_or.reduce([masks[name] for name in able])
    value = _by_fairlearn(
        measure, y[use].astype(int), decision[use].astype(int), names[use].astype(str), against
    )
    ends = (NAN, NAN)
    if draws:
        drawn = _rates(np.stack([draws[name] for name in able], axis=1))
        ends = around(measure, value, each, drawn, at)
    low, high = _ends(measure, each, able, at)
    return Measured(measure, value, ends, low, high, "", left_out)


def _by_fairlearn(measure: str, y: NDArray, decision: NDArray, names: NDArray, against: str) -> float:
    from fairlearn import metrics as fair

    if measure == "disparate_impact":
        rates = fair.MetricFrame(
            metrics=fair.selection_rate, y_true=y, y_pred=decision, sensitive_features=names
        ).by_group
        return float(rates.drop(against).min() / rates[against])
    formula: Any = getattr(fair, measure)
    return float(formula(y, decision, sensitive_features=names))


def around(
    measure: str, value: float, rates: dict[str, Floats], drawn: dict[str, Floats], reference: int
) -> Interval:
    """The 95 % interval of a measure, which holds its value; NaN where the replicates cannot tell it.

    rates [groups] and those of replicates [groups, replicates]; reference: position of the group that
    disparate_impact compares with. A largest gap is above 0 by chance, in nearly every replicate, so percentiles of
    it would leave 0 out whatever the truth. How far it can be from the truth is bounded by how far that of any
    two groups is (Tukey 1953): by as much as the gaps between groups move at most, in 95 % of the replicates. Of a
    ratio the gaps are those of logarithms, and a group of which nobody is selected has none.
    """
    moved = []
    for name in _LOOKED_AT.get(measure, ("selection_rate",)):
        before, after = rates[name][:, None], drawn[name]
        if measure in RATIOS:
            if not before.all():
                return NAN, NAN
            with np.errstate(divide="ignore"):
                before, after = np.log(before), np.log(after)
        shift = after - before
        if measure == "disparate_impact":
            moved.append(np.abs(shift - shift[reference]).max(axis=0))
        else:
            moved.append(shift.max(axis=0) - shift.min(axis=0))
    reach = interval(np.max(moved, axis=0), 0.9)[1]  # its upper end: 95 % of the replicates lie below
    if measure not in RATIOS:
        return max(value - reach, 0.0), min(value + reach, 1.0)
    if not np.isfinite(reach):
        return NAN, NAN
    low, high = value * float(np.exp(-reach)), value * float(np.exp(reach))
    return low, high if measure == "disparate_impact" else min(high, 1.0)


def _spread(rate: Floats) -> Floats:
    return rate.max(axis=0) - rate.min(axis=0)


def _ends(measure: str, rates: dict[str, Floats], names: Sequence[str], reference: int) -> tuple[str, str]:
    """The groups with the least and the most of what a measure compares."""
    rate = rates["selection_rate"]
    if measure == "equal_opportunity_difference":
        rate = rates["true_positive_rate"]
    elif measure == "equalized_odds_difference":
        rate = max((rates["true_positive_rate"], rates["false_positive_rate"]), key=_spread)
    elif measure == "disparate_impact":
        others = np.where(np.arange(len(names)) == reference, np.inf, rate)
        return names[int(others.argmin())], names[reference]
    return names[int(rate.argmin())], names[int(rate.argmax())]
