"""Numbers as people read them, and what the metrics are called.

What cannot be said (None, NaN, infinite) is an en dash, never `nan`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np

from toolkit.report.evidence import Interval

NONE = "–"
POWERS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

# Metric → (name, what it says). The explanation is printed once, where the metric first appears.
METRICS = {
    "roc_auc": ("AUC", "AUC is how often the model puts a yes above a no: 0.5 is a coin flip, 1 is perfect."),
    "macro_auc": ("AUC", "AUC is how often a row of a class is put above a row of the others, averaged over classes: 0.5 is a coin flip, 1 is perfect."),
    "r2": ("R²", "R² is the share of the differences between rows that the model explains: 0 is no better than always saying the mean, 1 is perfect."),
    "pr_auc": ("PR-AUC", "PR-AUC is the precision averaged over all recalls; chance reaches the share of yes."),
    "f1": ("F1", "F1 is the harmonic mean of precision and recall."),
    "precision": ("precision", ""), "recall": ("recall", ""),
    "brier": ("Brier", "The Brier score is the mean squared error of the probabilities: lower is better."),
    "ece": ("ECE", "ECE, the expected calibration error, is how far predicted and observed rates lie apart on average: lower is better."),
    "log_loss": ("log loss", "Log loss punishes confident mistakes: lower is better."),
    "accuracy": ("accuracy", "Accuracy is the share of rows given their right class."),
    "balanced_accuracy": ("balanced accuracy", ""), "macro_f1": ("macro F1", ""),
    "rmse": ("RMSE", "RMSE is the typical error, large ones weighing more; MAE is the mean error; both in the target's unit."),
    "mae": ("MAE", ""), "median_absolute_error": ("median error", ""),
    "spearman": ("rank correlation", ""), "prevalence": ("share of yes", ""), "selected_share": ("share selected", ""),
}  # fmt: skip


def is_number(value: Any) -> bool:
    """Whether there is a finite number to print; True and False are none."""
    plain = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return plain and math.isfinite(value)


def _minus(text: str) -> str:
    """With a true minus sign, and no minus before zero."""
    return text.replace("-", "−") if any(c in "123456789" for c in text) else text.lstrip("-")


def _rounded(value: float, digits: int) -> str:
    """So many digits; halves away from zero, as browsers round."""
    return f"{Decimal(float(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):f}"


def count(value: Any) -> str:
    """1234.0 → `1,234`; halves away from zero, as browsers round."""
    if not is_number(value):
        return NONE
    return _minus(f"{math.copysign(math.floor(abs(value) + 0.5), value):,.0f}")


def few_or_count(value: Any) -> str:
    """How many on average: as a count, below ten with a digit where it is no whole number: `0.4`."""
    if not is_number(value) or abs(value) >= 9.95:
        return count(value)
    return _minus(_rounded(value, 1).removesuffix(".0"))


def figure(value: Any, digits: int = 3) -> str:
    """A metric: `0.751`; large ones as counts, tiny ones to as many significant digits."""
    if not is_number(value):
        return NONE
    size = abs(value)
    if size >= 1000:
        return count(value)
    if 0 < size < 10**-digits:
        significant = max(digits - 1, 1)
        if size >= 10 ** -(digits + 2):
            return _minus(f"{value:.{significant - 1 - math.floor(math.log10(size))}f}".rstrip("0"))
        mantissa, power = f"{value:.{significant - 1}e}".split("e")
        return _minus(f"{mantissa} × 10") + str(int(power)).translate(POWERS)
    return _minus(f"{value:.{digits if size < 10 else 1}f}")


def fixed(value: Any) -> str:
    """Three digits, whatever the size: for columns in which most are about zero."""
    return _minus(f"{value:.3f}") if is_number(value) else NONE


def fixed2(value: Any) -> str:
    """Two digits, whatever the size: ratios beside each other."""
    return _minus(f"{value:.2f}") if is_number(value) else NONE


def signed(value: Any, digits: int = 3) -> str:
    text = figure(value, digits)
    return f"+{text}" if is_number(value) and value > 0 else text


def share(value: Any, digits: int | None = None) -> str:
    """0.2507 → `25 %`; small ones keep a digit."""
    if not is_number(value):
        return NONE
    percent = 100 * value
    if digits is None:
        if 0 < percent < 0.05:
            return "below 0.1\u00a0%"
        digits = 0 if abs(percent) >= 9.95 or percent == 0 else 1
    return _minus(_rounded(percent, digits)) + "\u00a0%"


def percent(value: Any) -> str:
    """A threshold: one digit more than a share, since rows lie close to it."""
    return share(value, 1)


def quantity(value: Any) -> str:
    """A sum as one says it: `812`, `24,300`, `1.24 million`."""
    if not is_number(value):
        return NONE
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if abs(value) >= size:
            return _minus(f"{value / size:.3g}") + f" {word}"
    return count(value) if abs(value) >= 100 or value == int(value) else figure(value, 1)


def seconds(value: Any) -> str:
    if not is_number(value):
        return NONE
    if value < 60:
        return f"{value:.1f} s"
    return f"{int(value // 60)} min {int(value % 60)} s"


def interval(found: Interval | Sequence[float], form: Callable[[Any], str] = figure) -> str:
    """`0.721 to 0.779`, or nothing."""
    if found is None or not all(is_number(end) for end in found):
        return ""
    return f"{form(found[0])} to {form(found[1])}"


WITHIN = "{value} (95\u00a0% interval {low} to {high})"
WITHIN_BRIEFLY = "{value} ({low} to {high})"
LEANS = 0.1  # of an interval's width that its middle may lie off the value, for ± to be said


def rough(value: float, low: float, high: float, most: float = math.inf, within: str = WITHIN) -> str:
    """`1,243 ± 60`: half the interval's width, to one digit (two if it starts with 1).

    An interval that is not about symmetric, or whose ± would reach zero or beyond `most`, is said by its ends:
    `3 (95 % interval 0 to 8)`. within: how. The value keeps its units: what stands beside it (chance, the rule)
    must not differ by rounding alone.
    """
    if not is_number(value):
        return NONE
    half = (high - low) / 2 if is_number(low) and is_number(high) else 0.0
    if half < 0.5:
        return few_or_count(value)
    place = 10 ** math.floor(math.log10(half))
    if half < 2 * place:
        place /= 10
    place = max(place, 1)
    arm = math.floor(half / place + 0.5) * place
    if abs((low + high) / 2 - value) > LEANS * 2 * half or value - arm <= 0 or value + arm > most:
        return within.format(value=few_or_count(value), low=count(low), high=count(high))
    return f"{few_or_count(value)}\u00a0±\u00a0{count(arm)}"


def times(value: Any) -> str:
    """A lift: `3.0 times`."""
    return f"{_minus(_rounded(value, 1))} times" if is_number(value) else NONE


def ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{count(number)}{ending}"


def metric(name: str) -> str:
    """A metric's name for people; `lift@5%` stays as it is."""
    return METRICS.get(name, (name.replace("_", " "), ""))[0]


def day(cutoff: Any) -> str:
    """`2024-01-01T00:00:00` → `2024-01-01`; no cutoff → an en dash."""
    text = str(cutoff or "")
    return text.removesuffix("T00:00:00") if text and text != "NaT" else NONE


def moment(written: str) -> str:
    """`2026-01-01T09:30:00+00:00` → `1 January 2026, 09:30 UTC`; another text stays."""
    try:
        when = datetime.fromisoformat(written)
    except ValueError:
        return written
    zone = " UTC" if when.utcoffset() is not None and not when.utcoffset() else ""
    return f"{when.day} {when:%B %Y, %H:%M}{zone}"


def plain(value: Any) -> str:
    """Any value of a card or a table as text."""
    if value is None or value == "":
        return NONE
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return str(value) if 1900 <= value < 2100 else count(value)  # most likely a year
    if isinstance(value, float | np.floating):
        return figure(float(value), 4)
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {plain(item)}" for key, item in value.items()) or NONE
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(plain(item) for item in value) or NONE
    return str(value)


def short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def named(text: str) -> str:
    """A sentence with the metrics by their names for people: `loss of roc_auc` → `loss of AUC`."""
    return re.sub(r"\b(roc_auc|macro_auc|pr_auc|r2|macro_f1|log_loss|balanced_accuracy|median_absolute_error)\b",
                  lambda found: metric(found[0]), text)  # fmt: skip
