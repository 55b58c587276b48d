"""An ensemble against what it is made of, in words: for the screen and for the page."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.evaluation.metrics import LOWER_IS_BETTER
from toolkit.report.figures import is_number, metric

Margin = tuple[float, float, float]


def against_members(model: str, headline: str, over: Mapping[str, Margin]) -> str:
    """Whether it beats each of its members on the test, in a sentence without its stop.

    over: member → its headline metric less the member's, with the ends of the paired difference's interval.
    """
    of = "both" if len(over) == 2 else f"all {len(over)}"
    return _sentence(model, f"{of} of its members", headline, over)


def against_models(model: str, over: Mapping[str, Mapping[str, Margin]], name: str = "accuracy") -> str:
    """Whether it beats every model that stands alone, by one metric, in a sentence without its stop.

    over: metric → model → as in `against_members`.
    """
    many = len(over[name])
    of = {1: "the model alone", 2: "both models alone"}.get(many, f"all {many} models alone")
    return _sentence(model, of, name, over[name])


def _sentence(model: str, whom: str, name: str, over: Mapping[str, Margin]) -> str:
    over = {other: _upwards(name, margin) for other, margin in over.items()}
    beaten = all(is_number(low) and low > 0 for _, low, _ in over.values())
    said = ", ".join(f"{_against(*margin)} {other}{_doubt(*margin)}" for other, margin in over.items())
    return f"{model} {'beats' if beaten else 'does not beat'} {whom} on the test: {metric(name)} {said}"


def _upwards(name: str, margin: Margin) -> Margin:
    """More is better."""
    value, low, high = margin
    return (-value, -high, -low) if name in LOWER_IS_BETTER else margin


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
