"""An ensemble against what it is made of, in words: for the screen and for the page."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.report.figures import is_number, metric

Margin = tuple[float, float, float]


def against_members(model: str, headline: str, over: Mapping[str, Margin]) -> str:
    """Whether it beats each of its members on the test, in a sentence without its stop.

    over: member → its headline metric less the member's, with the ends of the paired difference's interval.
    """
    beaten = all(is_number(low) and low > 0 for _, low, _ in over.values())
    of = "both" if len(over) == 2 else f"all {len(over)}"
    said = ", ".join(f"{_against(*margin)} {name}{_doubt(*margin)}" for name, margin in over.items())
    return f"{model} {'beats' if beaten else 'does not beat'} {of} of its members on the test: {metric(headline)} {said}"


def _against(value: float, low: float, high: float) -> str:
    if not (is_number(value) and is_number(low)):
        return "too little to compare it with"
    ends = f"[{_signed(low)}, {_signed(high)}]"
    return f"{_signed(value)} {ends} {'over' if value >= 0 else 'against'}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _doubt(value: float, low: float, high: float) -> str:
    if not (is_number(value) and is_number(low)) or low > 0:
        return ""
    return " (worse)" if high < 0 else " (not distinguishable)"
