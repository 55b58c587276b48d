"""What the report says of past lists: what calling from the top of each would have brought, and how steady they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from toolkit.evaluation.lists import AtSize
from toolkit.report.evidence import ListLine, PastLists
from toolkit.report.figures import count, few_or_count, interval, is_number, share


def typical(at: Sequence[AtSize]) -> AtSize:
    """The size to speak of: the middle one of those declared."""
    return at[(len(at) - 1) // 2]


def chosen(lists: PastLists) -> ListLine | None:
    return next((line for line in lists.lines if line.chosen), None)


def sentences(lists: PastLists) -> list[str]:
    """What the chosen model's lists would have brought at a typical size, and how much of one stays on the next."""
    line = chosen(lists)
    if line is None:
        return []
    at = typical(line.at)
    return [
        _brought(lists, at),
        *_captured(at),
        *_against_the_rule(at),
        *_stays(line, at.size),
        *_short(lists, line),
    ]


def at_random(lists: PastLists) -> float:
    """The mean over lists of the share who say yes, whatever the size."""
    return math.fsum(lists.base_rates) / len(lists.base_rates)


def _brought(lists: PastLists, at: AtSize) -> str:
    rule = next((other for line in lists.lines if line.model == "rule" for other in line.at if other.size == at.size), None)  # fmt: skip
    whole = not at.short  # else lists differ in how many are called

    def say(precision: float) -> str:
        return few_or_count(precision * at.size) if whole else share(precision)

    of_them = "of them" if whole else ""
    said = f"Had the first {count(at.size)} been called at each of the {count(len(lists.days))} cutoffs, "
    said += f"{say(at.precision)} {of_them}".rstrip() + " would have said yes on average"
    if within := interval(at.interval, say):
        said += f" (95 % interval {within})"
    others = [f"{say(at_random(lists))} at random"]
    others += [f"{say(rule.precision)} by the best simple rule"] if rule else []
    return f"{said}; {' and '.join(others)}."


def _captured(at: AtSize) -> list[str]:
    if not is_number(at.capture):
        return []
    within = interval(at.capture_interval, share)
    return [f"Together they reach {share(at.capture)} of the entities that said yes" + (f" (95 % interval {within})." if within else ".")]  # fmt: skip


def _against_the_rule(at: AtSize) -> list[str]:
    if at.over_rule is None or not is_number(at.over_rule[1]) or at.over_rule[1] > 0:
        return []
    if at.over_rule[2] < 0:
        return ["At this size the best simple rule does better."]
    return ["At this size that is not distinguishable from the best simple rule."]


def _stays(line: ListLine, size: int) -> list[str]:
    found = line.steadiness
    if found is None or not is_number(found.overlap.get(size)):
        return []
    said = f"Of the first {count(size)}, {share(found.overlap[size])} are among the first {count(size)} of the next list, too"
    if found.remain[size] < 1:
        said += f" ({share(1 - found.remain[size])} are not in it any more, and do not count)"
    return [said + "."]


def _short(lists: PastLists, line: ListLine) -> list[str]:
    """That some lists are shorter than some of the sizes."""
    return [
        f"{count(at.short)} of {count(len(lists.days))} lists have fewer than {count(at.size)} rows; they count whole."
        for at in line.at
        if at.short
    ][:1]
