"""The report's smaller sentences: the capacity, what a yes is, features, examples, calibration, threshold.

Everything here returns plain text; the templates escape it. The verdict is in `words.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.report.evidence import Calibration, Cut, Driver, Example, Gains, Reason, Target
from toolkit.report.figures import (
    NONE,
    count,
    few_or_count,
    figure,
    is_number,
    metric,
    ordinal,
    percent,
    quantity,
    rough,
    share,
    short,
    times,
)

# --- the capacity slider ----------------------------------------------------------------------------

# The page's script fills the same sentences, so that they are written once.
CAPACITY = "Call {called} of {rows} ({share}): expect {found} to say yes."
COMPARED = (
    "Calling at random would find {random}: the list finds {lift} as many, and {capture} of all who say yes."
)
RULED = "The best simple rule would find {rule}."
WORTH = "They bring {value} of {total} in all ({portion}){within}; as many at random bring {average}."
WORTH_WITHIN = ", 95 % interval {low} to {high}"


def capacity(gains: Gains, called: float) -> list[str]:
    """The sentences for a number of calls; those on the rule and on value are empty where there is none."""
    found, low, high, rule = (
        float(np.interp(called, gains.called, curve)) if len(curve) else math.nan
        for curve in (gains.found, gains.low, gains.high, gains.rule)
    )
    random = called * gains.positives / gains.rows if gains.rows else math.nan
    first = CAPACITY.format(
        called=count(called), rows=count(gains.rows), share=share(called / gains.rows if gains.rows else None),
        found=rough(found, low, high, called),
    )  # fmt: skip
    second = COMPARED.format(
        random=few_or_count(random), lift=times(found / random if random else None),
        capture=share(found / gains.positives if gains.positives else None),
    )  # fmt: skip
    third = RULED.format(rule=few_or_count(rule)) if is_number(rule) else ""
    if gains.value is None or not gains.value_total:
        return [first, second, third, ""]
    value, least, most = (
        math.nan if curve is None else float(np.interp(called, gains.called, curve))
        for curve in (gains.value, gains.value_low, gains.value_high)
    )
    known = is_number(least) and is_number(most)
    within = WORTH_WITHIN.format(low=_sum(least), high=_sum(most)) if known else ""
    fourth = WORTH.format(
        value=_sum(value), total=_sum(gains.value_total), portion=share(value / gains.value_total),
        within=within, average=_sum(gains.value_total * called / gains.rows),
    )  # fmt: skip
    return [first, second, third, fourth]


def _sum(value: float) -> str:
    """A sum in whole units."""
    return quantity(math.floor(value + 0.5))


def meaning(target: Target, declared: Mapping[str, Any]) -> str:
    """What a yes is: as described, else as declared."""
    if target.description:
        return target.description.rstrip(".")
    nested = declared.get("of")
    of = nested if isinstance(nested, Mapping) else {}
    table, column = (declared.get(key) or of.get(key) for key in ("table", "column"))
    what = (
        f"column `{column}` of table `{table}`" if table and column else f"table `{table}`" if table else ""
    )
    kind = f", declared as `{declared['kind']}`" if declared.get("kind") else ""
    said = target.name + kind + (f": {what}" if what else "")
    return said + (f", within {target.horizon}" if target.horizon else "")


# --- features and examples --------------------------------------------------------------------------

DIRECTIONS = {
    "rises": "the more, the higher the score",
    "falls": "the more, the lower the score",
    "mixed": "up and down",
    "levels": "depends on the level",
}


def direction(driver: Driver) -> str:
    """How a feature moves the score; of levels, the one that raises and the one that lowers it most."""
    if not driver.clear:
        return "no clear effect"
    if driver.direction != "levels" or driver.levels is None:
        return DIRECTIONS.get(driver.direction, driver.direction)
    lowest, highest = driver.levels
    return f"highest for {short(highest) or NONE}, lowest for {short(lowest) or NONE}"


NEGLIGIBLE = 0.1  # of the strongest reason; weaker ones are not spoken of


def _clauses(reasons: Sequence[Reason], text_of: Mapping[str, str], verb: str) -> str:
    said = [
        f"{r.text or text_of.get(r.feature) or r.feature} ({short(r.value) or NONE})" for r in reasons[:3]
    ]
    if not said:
        return ""
    listed = said[0] if len(said) == 1 else ", ".join(said[:-1]) + " and " + said[-1]
    return f"{listed} {verb if len(said) > 1 else verb + 's'}"


ROLES = {
    "binary": {
        "best": "At the top of the list", "threshold": "The last one to be acted on", "low": "Far down the list",
        "unexpected_no": "Expected, but did not", "unexpected_yes": "Not expected, but did",
    },
    "multiclass": {
        "best": "The surest", "threshold": "In the middle", "low": "Among the least sure",
        "unexpected_no": "Sure, and wrong", "unexpected_yes": "Unsure, and right",
    },
    "regression": {
        "best": "The highest prediction", "threshold": "In the middle", "low": "Far down the list",
        "unexpected_no": "Predicted too high", "unexpected_yes": "Predicted too low",
    },
}  # fmt: skip


def role(found: Example, target: Target) -> str:
    """Why this entity was picked to be explained."""
    no_line = target.type == "binary" and target.cut is None  # then it is the middle of the list
    if found.role == "threshold" and no_line:
        return "In the middle"
    return ROLES.get(target.type, {}).get(found.role, found.role.replace("_", " "))


def example(found: Example, target: Target) -> str:
    """One entity's score in sentences; what matters more comes first."""
    text_of = {driver.feature: driver.text for driver in target.drivers}
    place = f"Ranked {ordinal(found.rank)}" + (f" of {count(target.listed)}" if target.listed else "")
    if target.type == "regression":
        place += f", predicted {figure(found.score)}"
    elif found.predicted:
        place += f", predicted {found.predicted}"
        place += f", {share(found.probability)}" if is_number(found.probability) else ""
    elif is_number(found.probability):
        place += f", with a probability of {share(found.probability)}"
    strongest = max((abs(r.contribution) for r in found.reasons if is_number(r.contribution)), default=0.0)
    told = [r for r in found.reasons if abs(r.contribution) >= NEGLIGIBLE * strongest > 0]
    up = [r for r in told if r.contribution > 0]
    down = [r for r in told if r.contribution < 0]
    both = [(up, "raise"), (down, "lower")]
    if told and told[0].contribution < 0:
        both.reverse()
    clauses = [clause for reasons, verb in both if (clause := _clauses(reasons, text_of, verb))]
    sentences = [place + ".", *(f"{clause[0].upper()}{clause[1:]} the score." for clause in clauses)]
    if (label := found.label) is not None and is_number(label):
        if target.type == "binary":
            sentences.append("The answer was yes." if label else "The answer was no.")
        elif target.type == "regression":
            sentences.append(f"The true value was {figure(label)}.")
        elif 0 <= int(label) < len(target.classes):
            right = found.predicted == target.classes[int(label)]
            sentences.append(
                "That was right." if right else f"The true class was {target.classes[int(label)]}."
            )
    return " ".join(sentences)


def calibration_note(found: Calibration) -> str:
    """That calibration did not help, where it did not; by the proper scores, which reward being right."""
    worse = [
        f"{metric(name)} {figure(found.figures_before[name])} before, {figure(found.figures_after[name])} after"
        for name in ("brier", "log_loss")
        if is_number(found.figures_before.get(name))
        and is_number(found.figures_after.get(name))
        and figure(found.figures_after[name]) != figure(found.figures_before[name])
        and found.figures_after[name] > found.figures_before[name]
    ]
    return f"Calibration did not help on these rows: {'; '.join(worse)}." if worse else ""


def line_drawn(cut: Cut) -> str:
    """From which score on rows are acted on; as a probability, as the written list has it, where there is one."""
    if not is_number(cut.chosen):
        return "No threshold was chosen" + (f": {cut.reason}" if cut.reason else "") + "."
    why = cut.reason or "as declared"
    if is_number(cut.chosen_probability):
        return f"Rows with a probability of {percent(cut.chosen_probability)} or more (a raw score of {figure(cut.chosen)}) are acted on: {why}."
    return f"Rows that score {figure(cut.chosen)} or more are acted on: {why}."
