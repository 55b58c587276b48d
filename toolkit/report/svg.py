"""Hand-written SVG: a plotting area and the marks on it.

Everything is Markup; text is escaped by `Markup.format`. Colours, line widths and sizes of letters are
classes of the page's style sheet, so that light, dark, paper and phone differ there alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from toolkit.report.figures import figure, is_number

Points = Iterable[tuple[float, float]]


@dataclass(frozen=True)
class Axes:
    """A plotting area: the data's ranges laid onto a rectangle of the drawing."""

    x0: float
    x1: float
    y0: float
    y1: float
    width: int = 560
    height: int = 340
    left: int = 58
    right: int = 16
    top: int = 16
    bottom: int = 52

    def x(self, value: float) -> float:
        return self.left + (value - self.x0) / ((self.x1 - self.x0) or 1) * (
            self.width - self.left - self.right
        )

    def y(self, value: float) -> float:
        room = self.height - self.top - self.bottom
        return self.height - self.bottom - (value - self.y0) / ((self.y1 - self.y0) or 1) * room

    @property
    def box(self) -> dict[str, float]:
        """For the page's script: the rectangle's edges."""
        return {
            "left": self.left,
            "right": self.width - self.right,
            "top": self.top,
            "bottom": self.height - self.bottom,
        }


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) that lie within, about as many as asked."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{n * step:.12g}") for n in range(first, math.floor(high / step + 1e-9) + 1)]


def join(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>').format(
        x1, y1, x2, y2, kind
    )


def text(x: float, y: float, text: str, kind: str = "tick", anchor: str = "middle") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>').format(
        x, y, kind, anchor, text
    )


def dot(x: float, y: float, radius: float, kind: str, title: str = "") -> Markup:
    note = Markup("<title>{}</title>").format(title) if title else Markup("")
    return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}" class="{}">{}</circle>').format(
        x, y, radius, kind, note
    )


def rect(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> Markup:
    note = Markup("<title>{}</title>").format(title) if title else Markup("")
    return Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="{}">{}</rect>').format(
        x, y, max(width, 0), max(height, 0), kind, note
    )


def path(axes: Axes, points: Points, kind: str, closed: bool = False) -> Markup:
    found = [f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in points if is_number(x) and is_number(y)]
    if len(found) < 2:
        return Markup("")
    return Markup('<path d="M{}{}" class="{}"/>').format("L".join(found), "Z" if closed else "", kind)


def frame(axes: Axes, label_x: str, label_y: str, form_x: Any = figure, form_y: Any = figure) -> Markup:
    """Horizontal lines with their numbers, numbers below, and what the axes are."""
    base = axes.height - axes.bottom
    parts = []
    for value in ticks(axes.y0, axes.y1):
        parts += [line(axes.left, axes.y(value), axes.width - axes.right, axes.y(value), "grid"),
                  text(axes.left - 8, axes.y(value) + 4, form_y(value), anchor="end")]  # fmt: skip
    for value in ticks(axes.x0, axes.x1):
        parts += [
            line(axes.x(value), base, axes.x(value), base + 4, "axis"),
            text(axes.x(value), base + 20, form_x(value)),
        ]
    parts += [line(axes.left, base, axes.width - axes.right, base, "axis"),
              text((axes.left + axes.width - axes.right) / 2, axes.height - 8, label_x, "label")]  # fmt: skip
    if label_y:
        parts.append(text(axes.left, axes.top - 4, label_y, "label", "start"))
    return join(parts)


def svg(axes: Axes, label: str, *parts: Markup, kind: str = "chart") -> Markup:
    return Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        kind, axes.width, axes.height, label, join(parts)
    )


def tidy(value: float) -> str:
    """A tick's number without needless zeros."""
    return "0" if value == 0 else f"{value:,.10g}".replace("-", "−")
