"""Fairness in words, and as a table: lines for the screen, sentences for the page, rows for the CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from toolkit.evaluation.fairness import MOST_UNKNOWN, RATES, Comparison, Measured
from toolkit.report.figures import count, figure, interval, is_number, share, signed
from toolkit.training.fairness import GateResult, Judged, Mitigated

NAMES = {
    "demographic_parity_difference": ("Demographic parity, difference", "gap between the highest and the lowest share selected"),
    "demographic_parity_ratio": ("Demographic parity, ratio", "the lowest share selected over the highest"),
    "equal_opportunity_difference": ("Equal opportunity, difference", "gap in the share of true positives that is found"),
    "equalized_odds_difference": ("Equalised odds, difference", "the larger gap of true- and of false-positive rates"),
    "disparate_impact": ("Disparate impact", "the lowest share selected over the reference group’s"),
}  # fmt: skip
COST = {"f1": "F1", "precision": "precision", "recall": "recall", "selected": "acted on"}
HEADER = ("target", "attribute", "group", "rows", "figure", "value", "low_95", "high_95", "note")


def lines(target: str, judged: Judged) -> list[str]:
    """One line per attribute, then the gates and what a mitigation cost."""
    if judged.not_applicable:
        return [f"fairness: not applicable, {judged.not_applicable}"]
    found = [f"fairness {target}, {one.attribute}: {_line(one)}" for one in judged.comparisons]
    if judged.mitigated:
        found.append(f"fairness {target}, mitigated: {cost_line(judged.mitigated)}")
    return found


def gate_lines(gates: list[GateResult]) -> list[str]:
    """What each gate says, those that fail the run in capitals."""
    return [f"{'GATE FAILED' if one.fails_the_run else 'gate'}: {one}" for one in gates]


def _line(found: Comparison) -> str:
    small = [group.name for group in found.groups if group.withheld]
    tail = f"; withheld: {', '.join(small)}" if small else ""
    if 0 < found.unknown <= MOST_UNKNOWN:
        tail += f"; unknown for {found.unknown:.1%} of rows"
    if found.not_compared:
        loud = "NOT COMPARED" if found.unknown > MOST_UNKNOWN else "not compared"
        return f"{loud}, {found.not_compared}{tail}"
    known = {group.name: group.rates["selection_rate"] for group in found.known if group.rates}
    low, high = min(known, key=lambda g: known[g]), max(known, key=lambda g: known[g])
    text = f"selected {known[low]:.1%} ({low}) to {known[high]:.1%} ({high})"
    for name, word in (
        ("demographic_parity_ratio", "ratio"),
        ("equal_opportunity_difference", "equal opportunity difference"),
    ):
        measure = next((one for one in found.measures if one.name == name), None)
        if measure is not None:
            text += f", {word} {_with_ends(measure)}"
    return text + tail


def _with_ends(found: Measured) -> str:
    if found.undefined:
        return f"– ({found.undefined})"
    low, high = found.interval
    return f"{found.value:.3f}" + ("" if math.isnan(low) else f" [{low:.3f}, {high:.3f}]")


def cost_line(found: Mitigated) -> str:
    parts = [
        f"{COST[name]} {_of(name, before)} → {_of(name, after)}"
        for name, (before, after, _) in found.cost.items()
    ]
    return f"{found.constraint.replace('_', ' ')} by {found.attribute}: {', '.join(parts)}"


def _of(name: str, value: float) -> str:
    return count(value) if name == "selected" else figure(value)


def _more(value: float) -> str:
    """A change of a count: `+91`."""
    return f"+{count(value)}" if is_number(value) and value > 0 else count(value)


def cost_rows(found: Mitigated, comparisons: list[Comparison]) -> list[tuple[str, str, str, str, str]]:
    """What changes on the test rows: name, before, after, difference, its interval; first the cost, then the gain."""
    rows = []
    for name, (before, after, ends) in found.cost.items():
        form = _more if name == "selected" else signed
        told = form(after - before) if is_number(after) and is_number(before) else "–"
        rows.append((COST[name], _of(name, before), _of(name, after), told, interval(ends, form)))
    now = next(one for one in comparisons if one.attribute == found.attribute)
    for measure in now.measures:
        then = next((one for one in found.before.measures if one.name == measure.name), None)
        if then is not None:
            rows.append((
                NAMES[measure.name][0], figure(then.value), figure(measure.value),
                signed(measure.value - then.value) if is_number(measure.value) and is_number(then.value) else "–", "",
            ))  # fmt: skip
    return rows


def lines_drawn(found: Mitigated) -> str:
    """The thresholds in use, where they are on the score."""
    if not found.thresholds:
        return ""
    each = ", ".join(f"`{name}` {figure(value)}" for name, value in found.thresholds.items())
    return f"Raw scores from which rows are acted on: {each}; for other groups, and before for all, {figure(found.common)}."


def sentence(found: Comparison) -> str:
    """The comparison in one sentence, first thing under its heading."""
    if found.not_compared:
        return f"Not compared: {found.not_compared}."
    known = [g for g in found.known if g.rates]
    low = min(known, key=lambda g: g.rates["selection_rate"])
    high = max(known, key=lambda g: g.rates["selection_rate"])
    if not high.rates["selection_rate"]:
        return "Nobody is selected."
    return (
        f"Of `{high.name}` {share(high.rates['selection_rate'])} are selected, of `{low.name}` "
        f"{share(low.rates['selection_rate'])}; among them {share(high.rates['base_rate'])} and "
        f"{share(low.rates['base_rate'])} say yes."
    )


def table(fairness: Mapping[str, Judged]) -> list[tuple[Any, ...]]:
    """Every figure on a line of its own, as `HEADER` names them."""
    rows: list[tuple[Any, ...]] = []
    for target, judged in fairness.items():
        if judged.not_applicable:
            rows.append(
                (target, "", "", None, "", None, None, None, f"not applicable: {judged.not_applicable}")
            )
        for found in judged.comparisons:
            at = (target, found.attribute)
            for group in found.groups:
                if group.withheld:
                    rows.append((*at, group.name, None, "", None, None, None, f"withheld: {group.withheld}"))
                for rate in RATES if group.rates else ():
                    ends = group.intervals.get(rate, (math.nan, math.nan))
                    rows.append((*at, group.name, group.rows, rate, *_numbers(group.rates[rate], *ends), group.undefined.get(rate, "")))  # fmt: skip
                if is_number(group.impact):
                    rows.append((*at, group.name, group.rows, "selection_rate_over_reference", *_numbers(group.impact, *group.impact_interval), f"reference: {found.reference}"))  # fmt: skip
            if found.not_compared:
                rows.append((*at, "", None, "", None, None, None, f"not compared: {found.not_compared}"))
            for one in found.measures:
                note = one.undefined or f"{one.low} against {one.high}"
                note += f"; without {', '.join(one.left_out)}" if one.left_out else ""
                rows.append((*at, "", None, one.name, *_numbers(one.value, *one.interval), note))
        for gate in judged.gates:
            rows.append((target, gate.attribute, "", None, f"gate {gate.gate}", *_numbers(gate.value, *gate.interval), "; ".join(filter(None, [gate.state, gate.why]))))  # fmt: skip
    return rows


def _numbers(*values: float) -> tuple[float | None, ...]:
    return tuple(round(value, 6) if is_number(value) else None for value in values)
