"""Intervals in YAML expressions, written so that the engine cannot mistake one for another.

DuckDB holds intervals of 30 days and of 1 month for equal, and of two expressions that differ in nothing
else it computes one: `day + interval 30 day` beside `day + interval 1 month` gives twice the same. So a
whole number of 30 days is moved by in two steps, which equal no number of months. What the engine could
put together again (a sum of intervals, an interval times a number) is refused.
"""

from __future__ import annotations

import re
from typing import Any

from sqlglot import exp

from toolkit.errors import ConfigError

PER_MONTH = {  # how many of a unit are held for a month; None: months and years are what they are
    "MICROSECOND": 2_592_000_000_000, "MILLISECOND": 2_592_000_000, "SECOND": 2_592_000, "MINUTE": 43_200,
    "HOUR": 720, "DAY": 30, "WEEK": 30, "MONTH": None, "QUARTER": None, "YEAR": None,
}  # fmt: skip
COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between)


def kept_apart(tree: exp.Expression, text: str, where: str) -> exp.Expression:
    """The tree with its intervals in the safe form. Raises ConfigError for one that has none."""
    root = exp.Paren(this=tree)
    for node in reversed(list(root.find_all(exp.Interval))):  # the innermost first
        unit = str(node.args["unit"].name).upper().removesuffix("S") if node.args.get("unit") else ""
        if unit not in PER_MONTH:
            raise _refusal(text, where, f"units: {', '.join(PER_MONTH).lower()}; one in each interval")
        if node.this.find(exp.Column):  # not a constant, so never held for another one
            continue
        count, per_month = str(node.this.name), PER_MONTH[unit]
        if not isinstance(node.this, exp.Literal) or not re.fullmatch(r"-?\d{1,18}", count):
            raise _refusal(text, where, "its length is a whole number, or made of columns")
        outer: Any = node
        while isinstance(outer.parent, exp.Paren) and outer.parent is not root:
            outer = outer.parent
        around = outer.parent
        if isinstance(around, COMPARISONS):
            continue
        moved = _moved(around, outer)
        if around is None or moved is None:
            raise _refusal(text, where, "an interval is added to a time, taken from one, or compared")
        if per_month and int(count) and not int(count) % per_month:
            safe: Any = moved.copy()
            for part in (int(count) - 1, 1):
                safe = type(around)(this=safe, expression=_interval(part, unit))
            around.replace(exp.paren(safe))
    for both in list(root.find_all(exp.Add, exp.Sub)):  # the engine reads '30 days' as an interval, too
        if any(side.is_string and re.search("[A-Za-z:]", side.name) for side in (both.this, both.expression)):
            raise _refusal(text, where, "a text is neither added nor subtracted")
    return root.this


def _moved(around: Any, interval: exp.Expression) -> exp.Expression | None:
    """What an interval is added to or subtracted from; None if that is no time."""
    if not isinstance(around, exp.Add | exp.Sub):
        return None
    other = around.expression if interval is around.this else around.this
    backwards = isinstance(around, exp.Sub) and interval is around.this
    is_interval = other.find(exp.Interval) and not other.find(exp.Column)
    return None if backwards or is_interval else other


def _interval(count: int, unit: str) -> exp.Interval:
    return exp.Interval(this=exp.Literal.string(str(count)), unit=exp.Var(this=unit))


def _refusal(text: str, where: str, rule: str) -> ConfigError:
    return ConfigError(
        f"`{text if len(text) <= 200 else text[:200] + ' …'}` uses an interval in a way that is not safe",
        where=where,
        why=f"{rule}; the engine holds 30 days and 1 month for equal",
        fix="write for example `day + interval 3 month + interval 10 day`, or `day + interval (2 * n) day`",
    )
