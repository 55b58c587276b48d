"""What a report says in words: the verdict, the capacity, what drives a score.

Everything here returns plain text; the templates escape it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.report.evidence import Driver, Example, Gains, Interval, Target, Verdict
from toolkit.report.figures import (
    NONE,
    count,
    figure,
    interval,
    is_number,
    metric,
    ordinal,
    quantity,
    rough,
    share,
    short,
    signed,
    times,
)

# What the model table shows after the headline metric.
COLUMNS = {
    "binary": ("pr_auc", "f1", "precision", "recall", "brier"),
    "multiclass": ("accuracy", "macro_f1", "log_loss"),
    "regression": ("rmse", "mae", "spearman"),
}


# --- the verdict ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """A verdict: the sentence that one reads first, what follows, and its tone (good, doubt, bad)."""

    headline: str
    lines: list[str]
    tone: str


def verdict(target: Target) -> Said:
    """Whom to call and what to expect; or plainly that the model is of no use."""
    found = target.verdict
    if found is None or not is_number(found.value):
        return Said("Nothing can be said yet", ["The test rows have no labels, or only one answer, so the model was not put to the test."], "doubt")  # fmt: skip
    if found.better_than_chance is False:
        return Said("No better than chance", _useless(target, found), "bad")
    tone = "good" if found.better_than_rule else "doubt"
    return Said(expectation(target, found), [*_against_chance(target, found), against_rule(found)], tone)


def expectation(target: Target, found: Verdict) -> str:
    """What to expect of the chosen model on rows that it has never seen."""
    if target.type == "binary":
        return f"Call these {count(found.size)}: expect {expected(found)} to say yes"
    chosen = next((line for line in target.models if line.chosen), None)
    test = chosen.test if chosen else {}
    if target.type == "multiclass" and is_number(test.get("accuracy")):
        return f"Names the right class for {share(test['accuracy'])} of rows"
    if target.type == "regression" and is_number(test.get("mae")):
        return f"Predictions are off by {figure(test['mae'])} on average"
    return f"{metric(found.metric)} of {figure(found.value)} on rows it has never seen"


def expected(found: Verdict) -> str:
    """How many of those called say yes, with ±."""
    return rough(found.found, *(found.interval or (math.nan, math.nan)))


def _against_chance(target: Target, found: Verdict) -> list[str]:
    if target.type == "binary":
        line = f"Calling {count(found.size)} at random gives {count(found.at_random)}."
        if found.at_random > 0:
            line += f" The list finds {times(found.found / found.at_random)} as many."
        lines = [line]
    else:
        name, (low, high) = metric(found.metric), found.value_interval or (math.nan, math.nan)
        within = f" ({interval((low, high))})" if is_number(low) else ""
        lines = [f"{name} on rows it has never seen: {figure(found.value)}{within}."]
    if found.better_than_chance is None:
        lines.append("Without an interval it cannot be told whether this is more than luck.")
    return lines


def _useless(target: Target, found: Verdict) -> list[str]:
    name = metric(found.metric)
    lines = [
        f"On rows that it has never seen, the model does not tell a yes from a no: {name} {figure(found.value)}"
        + (f", with 95 % confidence {interval(found.value_interval)}." if found.value_interval else ".")
        if target.type == "binary"
        else f"On rows that it has never seen, the model adds nothing to the naive guess: {name} {figure(found.value)}."
    ]
    if target.type == "binary":
        lines.append(
            f"Of {count(found.size)} called by this list, {expected(found)} said yes; {count(found.size)} called at random give {count(found.at_random)}."
        )
    return [*lines, "Do not choose by this list."]


def against_rule(found: Verdict) -> str:
    """How the model does against the best simple rule, and whether that is more than luck."""
    rule = f"the best simple rule ({short_rule(found.rule)})" if found.rule else "the best simple rule"
    if found.margin is None:
        return f"It was not compared with {rule}."
    value, low, high = found.margin
    name = metric(found.metric)
    size = f"{name} {signed(value)}"
    if not (is_number(low) and is_number(high)):
        return f"Against {rule}: {size}; without an interval it cannot be told whether that is luck."
    bounds = f"{size}, 95 % interval {signed(low)} to {signed(high)}"
    if low > 0:
        return f"It beats {rule}: {bounds}; the interval excludes zero."
    if high < 0:
        return f"It does worse than {rule}: {bounds}. Use the rule."
    return f"It is not distinguishable from {rule}: {bounds}, which includes zero. The rule is simpler."


def short_rule(rule: str) -> str:
    """`by x alone`, without the rates per level that follow it."""
    return rule.split(" alone: ")[0] + " alone" if " alone: " in rule else rule.rstrip(".")


SHORT = {"good": "beats the best simple rule", "bad": "no better than chance"}


def standing(target: Target) -> str:
    """The verdict in a few words, for the overview of several targets."""
    found = target.verdict
    if found is None or not is_number(found.value):
        return "not put to the test"
    if found.better_than_chance is False:
        return SHORT["bad"]
    if found.better_than_rule:
        return SHORT["good"]
    if found.margin is None or found.better_than_rule is None:
        return "better than chance" if found.better_than_chance else "not compared"
    return "worse than the best simple rule" if found.margin[2] < 0 else "no better than the best simple rule"


def overall(targets: Sequence[Target]) -> str:
    """How the targets fare together, in one sentence."""
    found = [standing(target) for target in targets]
    best, bad = found.count(SHORT["good"]), found.count(SHORT["bad"])
    if best == len(found):
        every = "Both" if len(found) == 2 else f"All {_few(len(found)).lower()}"
        return f"{every} targets beat the best simple rule"
    text = f"{_few(best)} of {_few(len(found)).lower()} targets beat{'s' if best == 1 else ''} the best simple rule"
    return text + (
        f"; {_few(bad).lower()} {'is' if bad == 1 else 'are'} no better than chance" if bad else ""
    )


def _few(number: int) -> str:
    names = ("None", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
    return names[number] if number < len(names) else count(number)


# --- the capacity slider ----------------------------------------------------------------------------

# The page's script fills the same sentences, so that they are written once.
CAPACITY = "Call {called} of {rows} ({share}): expect {found} to say yes."
COMPARED = (
    "Calling at random would find {random}: the list finds {lift} as many, and {capture} of all who say yes."
)
RULED = "The best simple rule would find {rule}."
WORTH = "They bring {value} of {total} in all ({portion})."


def capacity(gains: Gains, called: float) -> list[str]:
    """The sentences for a number of calls; those on the rule and on value are empty where there is none."""
    found, low, high, rule = (
        float(np.interp(called, gains.called, curve)) if len(curve) else math.nan
        for curve in (gains.found, gains.low, gains.high, gains.rule)
    )
    random = called * gains.positives / gains.rows if gains.rows else math.nan
    first = CAPACITY.format(
        called=count(called), rows=count(gains.rows), share=share(called / gains.rows if gains.rows else None),
        found=rough(found, low, high),
    )  # fmt: skip
    second = COMPARED.format(
        random=count(random), lift=times(found / random if random else None),
        capture=share(found / gains.positives if gains.positives else None),
    )  # fmt: skip
    third = RULED.format(rule=count(rule)) if is_number(rule) else ""
    if gains.value is None or not gains.value_total:
        return [first, second, third, ""]
    value = float(np.interp(called, gains.called, gains.value))
    portion = share(value / gains.value_total)
    return [
        first,
        second,
        third,
        WORTH.format(value=quantity(value), total=quantity(gains.value_total), portion=portion),
    ]


def meaning(target: Target) -> str:
    """What a yes is."""
    return target.description.rstrip(".") or target.name + (
        f", within {target.horizon}" if target.horizon else ""
    )


# --- features and examples --------------------------------------------------------------------------

DIRECTIONS = {
    "rises": "the more, the higher the score",
    "falls": "the more, the lower the score",
    "mixed": "up and down",
    "levels": "depends on the level",
}


def direction(driver: Driver) -> str:
    """How a feature moves the score; of levels, the one that raises and the one that lowers it most."""
    if driver.direction != "levels" or len(driver.shape) < 2:
        return DIRECTIONS.get(driver.direction, driver.direction)
    ordered = sorted(driver.shape, key=lambda part: part[2])
    return f"highest for {short(ordered[-1][0]) or NONE}, lowest for {short(ordered[0][0]) or NONE}"


def _clauses(reasons: Sequence[Any], text_of: Mapping[str, str], verb: str) -> str:
    said = [
        f"{r.text or text_of.get(r.feature) or r.feature} ({short(r.value) or NONE})" for r in reasons[:3]
    ]
    if not said:
        return ""
    listed = said[0] if len(said) == 1 else ", ".join(said[:-1]) + " and " + said[-1]
    return f"{listed} {verb if len(said) > 1 else verb + 's'}"


ROLES = {
    "best": "At the top of the list", "threshold": "The last one to be acted on", "low": "Far down the list",
    "unexpected_no": "Expected, but did not", "unexpected_yes": "Not expected, but did",
}  # fmt: skip
NUMBER_ROLES = {"unexpected_no": "Predicted too high", "unexpected_yes": "Predicted too low"}


def role(found: Example, target: Target) -> str:
    """Why this entity was picked to be explained."""
    names = ROLES if target.type == "binary" else ROLES | NUMBER_ROLES
    return names.get(found.role, found.role.replace("_", " "))


def example(found: Example, target: Target) -> str:
    """One entity's score in sentences."""
    rows = target.verdict.rows if target.verdict and target.verdict.rows >= found.rank else 0
    text_of = {driver.feature: driver.text for driver in target.drivers}
    place = f"Ranked {ordinal(found.rank)}" + (f" of {count(rows)}" if rows else "")
    if target.type == "regression":
        place += f", predicted {figure(found.score)}"
    elif is_number(found.probability):
        place += f", with a probability of {share(found.probability)}"
    up = _clauses([r for r in found.reasons if r.contribution > 0], text_of, "raise")
    down = _clauses([r for r in found.reasons if r.contribution < 0], text_of, "lower")
    because = [f"{clause} the score" for clause in (up, down) if clause]
    sentences = [place + ".", *(f"{clause[0].upper()}{clause[1:]}." for clause in because)]
    if target.type == "binary" and is_number(found.label):
        sentences.append("The answer was yes." if found.label else "The answer was no.")
    elif target.type == "regression" and is_number(found.label):
        sentences.append(f"The true value was {figure(found.label)}.")
    elif (
        target.type == "multiclass" and is_number(found.label) and int(found.label or 0) < len(target.classes)
    ):
        sentences.append(f"The true class was {target.classes[int(found.label or 0)]}.")
    return " ".join(sentences)


def bars_compared(target: Target) -> list[tuple[str, float, str, Interval]]:
    """The expectation as three bars: the list, the best simple rule, chance (name, number, text, interval)."""
    found, gains = target.verdict, target.gains
    if target.type != "binary" or found is None or not found.size or not is_number(found.value):
        return []
    bars = [("This list", float(found.found), expected(found), found.interval)]
    if gains is not None and len(gains.rule) and found.rows in (0, gains.rows):  # of the same rows
        rule = float(np.interp(found.size, gains.called, gains.rule))
        bars.append(("Best simple rule", rule, count(rule), None))
    return [*bars, ("Calling at random", found.at_random, count(found.at_random), None)]
