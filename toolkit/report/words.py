"""What a report says first: the verdict on each target and on all of them.

Everything here returns plain text; the templates escape it. The smaller sentences are in `phrases.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.evaluation import metrics
from toolkit.report.evidence import (
    Interval,
    ModelLine,
    Target,
    Verdict,
)
from toolkit.report.figures import (
    WITHIN,
    WITHIN_BRIEFLY,
    count,
    few_or_count,
    figure,
    interval,
    is_number,
    metric,
    quantity,
    rough,
    share,
    signed,
    times,
)

# What the model table shows after the headline metric.
COLUMNS = {
    "binary": ("pr_auc", "f1", "precision", "recall", "brier"),
    "multiclass": ("accuracy", "macro_f1", "log_loss", "ece"),
    "regression": ("rmse", "mae", "spearman"),
}


# --- the verdict ------------------------------------------------------------------------------------

CLOSE = 0.05  # an interval that ends within this of chance shows that little is there
LEAST_ROWS, LEAST_OF_EACH = 30, 5  # labelled test rows; fewer say nothing about the next list
USELESS = "No better than chance"
FEW = 100  # entities with the rarer answer, below which it is said how few they are


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
        return Said("Nothing can be said yet", ["The newest test rows have no labels, or only one answer, so the model was not put to the test."], "doubt")  # fmt: skip
    if few(found):
        return Said("Too few test rows to say", _few_lines(target, found), "doubt")
    if found.better_than_chance is False:
        return Said(USELESS, _useless(target, found), "bad")
    lines = [*_against_chance(target, found), against_rule(found), *scarce(target), *_too_many(found)]
    if worse_than_rule(found):
        return Said("Worse than a simple rule", [expectation(target, found) + ".", *lines], "bad")
    if target.type == "binary" and found.covers_all:
        return Said(f"You can call all {count(found.size)}, so the order does not matter", [*_tenth(target), against_rule(found)], "doubt")  # fmt: skip
    return Said(expectation(target, found), lines, "good" if found.better_than_rule else "doubt")


def few(found: Verdict) -> bool:
    """Whether the metric was measured on too few rows, or too few of one answer."""
    entities = found.rarest if found.rarest_entities is None else found.rarest_entities
    return found.test_rows < LEAST_ROWS or min(found.rarest, entities) < LEAST_OF_EACH


def worse_than_rule(found: Verdict) -> bool:
    """Whether the margin's interval lies below zero."""
    return found.margin is not None and found.margin[2] < 0


def expectation(target: Target, found: Verdict) -> str:
    """What to expect of the chosen model on rows that it has never seen."""
    if target.type == "binary":
        if found.interval is None:
            return f"{count(found.found)} of the first {count(found.size)} said yes; luck was not ruled out"
        return f"Call these {count(found.size)}: expect {expected(found)} to say yes"
    name, value = _telling(target, _line(target, "chosen"))
    if name == "accuracy":
        return f"Names the right class for {share(value)} of rows" + _beside(target, name)
    if name == "mae":
        return f"Predictions are off by {figure(value)} on average" + _beside(target, name)
    return f"{metric(found.metric)} of {figure(found.value)} on rows it has never seen"


def _telling(target: Target, line: ModelLine | None) -> tuple[str, float]:
    """The metric that a sentence can be made of, and what the model has of it."""
    name = {"multiclass": "accuracy", "regression": "mae"}.get(target.type, "")
    value = line.test.get(name) if line else None
    return (name, float(value)) if value is not None and is_number(value) else ("", math.nan)


def _line(target: Target, which: str) -> ModelLine | None:
    """The chosen model's line, or that of a baseline by its name."""
    return next((m for m in target.models if (m.chosen if which == "chosen" else m.model == which)), None)


def _beside(target: Target, name: str) -> str:
    """What the naive guess has of the same metric."""
    found, value = _telling(target, _line(target, "prior"))
    if found != name:
        return ""
    return f"; the naive guess {share(value) if name == 'accuracy' else figure(value)}"


def _more(target: Target) -> list[str]:
    """The headline's interval, and the best simple rule's figure of the same metric."""
    line, rule = _line(target, "chosen"), _line(target, "rule")
    name, value = _telling(target, line)
    if not name or line is None:
        return []
    form = share if name == "accuracy" else figure
    said = f"{metric(name)[0].upper()}{metric(name)[1:]} {form(value)}"
    if within := interval(line.intervals.get(name), form):
        said += f" (95 % interval {within})"
    if _telling(target, rule)[0]:
        said += f"; the best simple rule has {form(_telling(target, rule)[1])}"
    return [said + "."]


def expected(found: Verdict, within: str = WITHIN) -> str:
    """How many of those called will say yes, with ± or the interval's ends."""
    return rough(found.found, *(found.interval or (math.nan, math.nan)), found.size, within)


def _within(found: Verdict) -> str:
    """The 95 % interval of how many say yes, in brackets after a count of the past."""
    ends = interval(found.interval, count)
    return f" (another such list: {ends}, 95 % interval)" if ends else ""


def _against_chance(target: Target, found: Verdict) -> list[str]:
    if target.type == "binary":
        line = f"Calling {count(found.size)} at random gives {few_or_count(found.at_random)}."
        if found.at_random > 0:
            line += f" The list finds {times(found.found / found.at_random)} as many."
        lines = [line]
        # where calling at random brings nothing, the whole list does not, and says nothing of the next one
        if found.money is not None and is_number(found.money) and (found.money or found.money_at_random):
            lines.append(_money(found))
    else:
        name, within = metric(found.metric), interval(found.value_interval)
        within = f" (95 % interval {within})" if within else ""
        lines = [*_more(target), f"{name} on rows it has never seen: {figure(found.value)}{within}."]
    if found.better_than_chance is None:
        lines.append("Without an interval it cannot be told whether this is more than luck.")
    return lines


def _too_many(found: Verdict) -> list[str]:
    """Why the threshold does not say how many to call, where it selects most of the list."""
    if not (found.acted > found.rows / 2 and found.because.startswith("a tenth")):
        return []
    part = f"{count(found.acted)} of {count(found.rows)} ({share(found.acted / found.rows)})"
    return [f"The threshold would act on {part}, too many to be a choice; so this speaks of a tenth."]


def _money(found: Verdict) -> str:
    line = f"These {count(found.size)} bring {quantity(found.money)}"
    if within := interval(found.money_interval, quantity):
        line += f" (95 % interval {within})"
    if is_number(found.money_at_random):
        line += f"; as many at random bring {quantity(found.money_at_random)}"
    return line + "."


def _tenth(target: Target) -> list[str]:
    """What the first tenth of the list gives, where the capacity covers the whole of it."""
    gains = target.gains
    if gains is None or not gains.rows:
        return []
    size = math.ceil(gains.rows / 10)
    found, low, high = (float(np.interp(size, gains.called, c)) for c in (gains.found, gains.low, gains.high))
    random = size * gains.positives / gains.rows
    return [f"Were only a tenth called ({count(size)}), expect {rough(found, low, high, size)} to say yes; {count(size)} at random give {few_or_count(random)}."]  # fmt: skip


def _few_lines(target: Target, found: Verdict) -> list[str]:
    there = f"{count(found.test_rows)} test rows have an answer"
    if target.type != "regression":
        there += f", {count(found.rarest)} of them the rarest one"
    needed = f"At least {LEAST_ROWS} rows, {LEAST_OF_EACH} of each answer, are needed to say what the next list will give."
    if found.rarest_entities is not None and found.rarest_entities < found.rarest:
        there += f", from {_entities(found.rarest_entities)}"
        needed = f"At least {LEAST_ROWS} rows, and {LEAST_OF_EACH} entities with each answer, are needed to say what the next list will give."
    if target.type == "regression":
        needed = f"At least {LEAST_ROWS} are needed."
    return [there + ".", needed, f"For what it is worth: {metric(found.metric)} {figure(found.value)}."]


def scarce(target: Target) -> list[str]:
    """How few entities have the rarer answer, how much that leaves open, and which models it cannot tell apart."""
    found = target.verdict
    if found is None or found.rarest_entities is None or found.rarest_entities >= FEW:
        return []
    line = f"Few say {found.rarest_answer}: {_entities(found.rarest_entities)}"
    line += f", in {count(found.rarest)} of {count(found.test_rows)} test rows."
    if found.value_interval is None:
        return [line]
    line += f" So {metric(found.metric)} is only known to lie {_between(found.value_interval)}"
    alike = [m.model for m in target.models if m.behind and m.behind[1] <= 0 and not m.baseline]
    if not alike:
        return [line + "."]
    return [f"{line}, which is too little to tell the chosen model from {_and(alike)}."]


def _entities(number: int) -> str:
    return "1 entity" if number == 1 else f"{count(number)} entities"


def _between(ends: tuple[float, float]) -> str:
    return f"between {figure(ends[0])} and {figure(ends[1])}"


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _useless(target: Target, found: Verdict) -> list[str]:
    """Whether there is nothing to find, or too few rows to find it."""
    yes, name = target.type == "binary", metric(found.metric)
    value = f"{name} {figure(found.value)}"
    if within := interval(found.value_interval):
        value += f", 95 % interval {within}"
    if (
        found.value_interval is None
        or found.value_interval[1] < metrics.CHANCE.get(found.metric, 0.0) + CLOSE
    ):
        what = "does not tell a yes from a no" if yes else "adds nothing to the naive guess"
        lines = [f"On rows that it has never seen, the model {what}: {value}."]
    else:
        kept = f"{count(found.test_rows)} test rows"
        if target.type != "regression":
            kept += f", {count(found.rarest)} of them with the rarest answer,"
        lines = [f"With {kept} it cannot be told from chance: {value}. More test rows are needed."]
    if yes:
        lines.append(
            f"Of {count(found.size)} called by this list, {count(found.found)} said yes{_within(found)}; {count(found.size)} called at random give {few_or_count(found.at_random)}."
        )
    else:
        lines += _more(target)
    return [*lines, "Do not choose by this list."]


def warning(target: Target) -> str:
    """What has to be said again beside the slider, the drivers and the list; nothing where the model is of use."""
    headline = verdict(target).headline
    if headline == USELESS:
        return "No better than chance: do not choose by it."
    if headline == "Worse than a simple rule":
        return "Worse than a simple rule: use the rule."
    return "Too few test rows to rely on it." if headline == "Too few test rows to say" else ""


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
    if worse_than_rule(found):
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
    if few(found):
        return "too few test rows to say"
    if found.better_than_chance is False:
        return SHORT["bad"]
    if found.better_than_rule:
        return SHORT["good"]
    if found.margin is None or found.better_than_rule is None:
        return "better than chance" if found.better_than_chance else "not compared"
    return (
        "worse than the best simple rule" if worse_than_rule(found) else "no better than the best simple rule"
    )


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


def bars_compared(target: Target) -> list[tuple[str, float, str, Interval]]:
    """The expectation as three bars: the list, the best simple rule, chance (name, number, text, interval)."""
    found, gains = target.verdict, target.gains
    if target.type != "binary" or found is None or not found.size or not is_number(found.value):
        return []
    if found.covers_all or few(found):
        return []
    bars = [("This list", float(found.found), expected(found, WITHIN_BRIEFLY), found.interval)]
    if gains is not None and len(gains.rule):
        rule = float(np.interp(found.size, gains.called, gains.rule))
        bars.append(("Best simple rule", rule, few_or_count(rule), None))
    return [*bars, ("Calling at random", found.at_random, few_or_count(found.at_random), None)]
