"""Marks within a table's cell: small SVG in shares of the cell's width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from toolkit.report.evidence import Interval
from toolkit.report.figures import count, is_number, signed
from toolkit.report.svg import join, line, rect


def _place(value: float, low: float, high: float) -> float:
    return min(max((value - low) / ((high - low) or 1), 0), 1) * 100


def bar(value: Any, most: float, found: Interval = None, kind: str = "bar") -> Markup:
    """A horizontal bar of a cell's width, with its interval."""
    parts = [
        Markup('<rect x="0" y="2" height="10" width="{:.2f}%" class="{}"/>').format(
            _place(value, 0, most) if is_number(value) else 0, kind
        )
    ]
    if found is not None and all(is_number(end) for end in found):
        parts.append(
            Markup('<line x1="{:.2f}%" x2="{:.2f}%" y1="7" y2="7" class="whisker"/>').format(
                _place(found[0], 0, most), _place(found[1], 0, most)
            )
        )
    return Markup('<svg class="inline" aria-hidden="true">{}</svg>').format(join(parts))


def forest(
    value: Any, found: Interval, low: float, high: float, reference: float | None = None, kind: str = "point"
) -> Markup:
    """A point and its interval on the scale that a table's rows share; a line where the reference is."""
    parts = []
    if is_number(reference):
        at = _place(reference, low, high)  # type: ignore[arg-type]
        parts.append(Markup('<line x1="{0:.2f}%" x2="{0:.2f}%" y1="0" y2="14" class="axis"/>').format(at))
    if found is not None and all(is_number(end) for end in found):
        parts.append(
            Markup('<line x1="{:.2f}%" x2="{:.2f}%" y1="7" y2="7" class="whisker"/>').format(
                _place(found[0], low, high), _place(found[1], low, high)
            )
        )
    if is_number(value):
        parts.append(
            Markup('<circle cx="{:.2f}%" cy="7" r="4" class="{}"/>').format(_place(value, low, high), kind)
        )
    return Markup('<svg class="inline" aria-hidden="true">{}</svg>').format(join(parts))


def diverging(value: Any, most: float) -> Markup:
    """A bar to the right of the middle for what raises the score, to the left for what lowers it."""
    half = _place(abs(value), 0, most) / 2 if is_number(value) else 0
    rising = is_number(value) and value > 0
    return Markup(
        '<svg class="inline" aria-hidden="true"><rect x="{:.2f}%" y="2" height="10" width="{:.2f}%" class="{}"/><line x1="50%" x2="50%" y1="0" y2="14" class="axis"/></svg>'
    ).format(50 if rising else 50 - half, half, "bar" if rising else "bar quiet")


def shape(parts: Sequence[tuple[str, int, float]], most: float) -> Markup:
    """A feature's mean contribution per bin or level: columns up and down from a middle line.

    most: the greatest contribution that a column may have, the same for all features of a target.
    """
    values = [(text, rows, value) for text, rows, value in parts if is_number(value)][:24]
    if len(values) < 2:
        return Markup("")
    step, middle = 120 / len(values), 18
    columns = [rect(i * step + step * 0.1, middle - max(v, 0) / most * 16, step * 0.8, abs(v) / most * 16, "bar" if v > 0 else "bar quiet", f"{text}: {signed(v)} ({count(rows)} rows)")
               for i, (text, rows, v) in enumerate(values)]  # fmt: skip
    return Markup('<svg class="shape" viewBox="0 0 120 36" aria-hidden="true">{}{}</svg>').format(
        line(0, middle, 120, middle, "axis"), join(columns)
    )


def shade(value: Any, most: float = 1.0) -> str:
    """The class of a heat map's cell: p0…p9 for positive, n0…n9 for negative values."""
    if not is_number(value) or not most:
        return ""
    return f"{'n' if value < 0 else 'p'}{min(int(abs(value) / most * 9.999), 9)}"
