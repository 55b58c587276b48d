"""The report's charts. Points that are no numbers are left out; a chart of nothing is empty Markup."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from markupsafe import Markup

from toolkit.report.evidence import Calibration, Cut, Distribution, Gains, PastLists, Tuned
from toolkit.report.figures import count, figure, is_number, percent, quantity, share, short
from toolkit.report.svg import Axes, dot, frame, line, path, rect, svg, text, tidy


def gains_axes(gains: Gains) -> Axes:
    """Up to where the interval reaches: another list may hold more who say yes than this one does."""
    most = max([gains.positives, 1, *(float(high) for high in gains.high if is_number(high))])
    return Axes(0, max(gains.rows, 1), 0, most, height=360, top=28)


def gains_chart(gains: Gains, called: float) -> Markup:
    """Cumulative gains with the interval, the best rule and chance; the script moves the marker."""
    axes = gains_axes(gains)
    band = [
        *zip(gains.called, gains.high, strict=True),
        *reversed([*zip(gains.called, gains.low, strict=True)]),
    ]
    curve = [*zip(gains.called, gains.found, strict=True)]
    found = float(np.interp(called, gains.called, gains.found))
    at = axes.x(called)
    marker = [
        line(at, axes.y(0), at, axes.y(found), "marker line"),
        dot(at, axes.y(found), 5.5, "marker dot"),
    ]
    # Labels stand where the curves are far apart: 62 % of the way for chance, before it for the rule.
    chance = text(
        axes.x(0.72 * gains.rows), axes.y(0.72 * gains.positives) + 26, "at random", "label", "start"
    )
    spot = 0.3 * gains.rows
    model = text(
        axes.x(spot) - 8,
        axes.y(float(np.interp(spot, gains.called, gains.found))) - 12,
        "this list",
        "label strong",
        "end",
    )
    rules = _rule_curve(axes, gains)
    return svg(
        axes, f"Cumulative gains: of {count(gains.positives)} who say yes among {count(gains.rows)}, how many are found by calling from the top of the list",
        frame(axes, "called, from the top of the list", "found who say yes", quantity, quantity),
        path(axes, band, "band", closed=True), path(axes, [(0, 0), (gains.rows, gains.positives)], "chance"),
        rules, path(axes, curve, "main"), chance, model, *marker,
        kind="chart gains",
    )  # fmt: skip


def _rule_curve(axes: Axes, gains: Gains) -> Markup:
    if not len(gains.rule):
        return Markup("")
    spot = 0.3 * gains.rows
    y = axes.y(float(np.interp(spot, gains.called, gains.rule)))
    return path(axes, zip(gains.called, gains.rule, strict=True), "other") + text(
        axes.x(spot) + 10, y + 8, "best simple rule", "label", "start"
    )


def reliability(calibration: Calibration, observed: str) -> Markup:
    """Predicted against observed rate, after calibration with Wilson intervals, before it hollow; rows below."""
    bins = [
        b
        for b in (*calibration.before, *calibration.after)
        if is_number(b.predicted) and is_number(b.observed)
    ]
    if not bins:
        return Markup("")
    top = max([0.05, *(v for b in bins for v in (b.predicted, b.observed, b.high) if is_number(v))])
    top = min(1.0, top * 1.04)
    axes = Axes(0, top, 0, top, width=460, height=430, bottom=100, top=28)
    parts = [path(axes, [(0, 0), (top, top)], "chance")]
    parts += [dot(axes.x(b.predicted), axes.y(b.observed), 3.5, "hollow", f"before: predicted {share(b.predicted)}, observed {share(b.observed)}, {count(b.rows)} rows")
              for b in calibration.before if is_number(b.predicted) and is_number(b.observed)]  # fmt: skip
    most = max([1, *(b.rows for b in calibration.after)])
    for b in calibration.after:
        if not (is_number(b.predicted) and is_number(b.observed)):
            continue
        x = axes.x(b.predicted)
        if is_number(b.low) and is_number(b.high):
            parts.append(line(x, axes.y(b.low), x, axes.y(b.high), "whisker"))
        said = f"predicted {share(b.predicted)}, observed {share(b.observed)}, {count(b.rows)} rows"
        parts += [
            dot(x, axes.y(b.observed), 4.5, "point", said),
            rect(x - 3, axes.height - 18 - 24 * b.rows / most, 6, 24 * b.rows / most, "bar quiet", said),
        ]
    upper = Axes(0, top, 0, top, width=460, height=382, bottom=52, top=28)
    return svg(axes, "Reliability: predicted probability against observed rate",
                frame(upper, "predicted probability", observed, _percent(top), _percent(top)), *parts,
                text(axes.width - axes.right, axes.height - 2, f"rows per bin, at most {count(most)}", "label", "end"))  # fmt: skip


def _percent(top: float) -> Any:
    return lambda value: share(value, 0 if top > 0.12 else 1)


def thresholds(cut: Cut) -> Markup:
    """Precision, recall and the share above each threshold; the chosen one marked."""
    if not any(is_number(x) for x in cut.thresholds):
        return Markup("")
    low, high = _range([*cut.thresholds, cut.chosen])
    axes = Axes(low, high, 0, 1, top=28, right=94)
    parts = []
    last: list[tuple[float, str, str]] = []
    for curve, name, kind in (
        (cut.precision, "precision", "main"),
        (cut.recall, "recall", "other"),
        (cut.share, "share", "faint"),
    ):
        points = [(x, y) for x, y in zip(cut.thresholds, curve, strict=True) if is_number(x) and is_number(y)]
        parts.append(path(axes, points, kind))
        if points:
            last.append((axes.y(max(points)[1]), name, "strong" if kind == "main" else ""))
    parts += [
        text(axes.width - axes.right + 6, y + 4, name, f"label {kind}", "start")
        for y, name, kind in _apart(last, axes.y(0))
    ]
    said = figure(cut.chosen)
    if is_number(cut.chosen_probability):
        said += f" ({percent(cut.chosen_probability)})"
    if is_number(cut.chosen):
        at = axes.x(cut.chosen)
        side = ("end", -6) if at > (axes.left + axes.width) / 2 else ("start", 6)
        parts += [line(at, axes.y(0), at, axes.y(1), "marker line"),
                  text(at + side[1], axes.top - 6, f"chosen: {said}", "label strong", side[0])]  # fmt: skip
    return svg(axes, f"Precision, recall and share of rows above each threshold; {said} is chosen",
                frame(axes, "threshold on the raw score", "", tidy, lambda v: share(v, 0)), *parts)  # fmt: skip


def _range(values: Iterable[Any]) -> tuple[float, float]:
    """The least and the greatest number; (0, 1) without any."""
    found = [float(v) for v in values if is_number(v)]
    return (
        (min(found), max(found))
        if found and min(found) < max(found)
        else (min([0.0, *found]), max([1.0, *found]))
    )


def _apart(
    labels: list[tuple[float, str, str]], lowest: float, least: float = 18
) -> list[tuple[float, str, str]]:
    """Labels at line ends, moved just so far that none covers another and none falls below the axis."""
    placed: list[tuple[float, str, str]] = []
    for y, name, kind in sorted(labels):
        placed.append((max(y, placed[-1][0] + least) if placed else y, name, kind))
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = (min(placed[i][0], lowest), *placed[i][1:])
        lowest = placed[i][0] - least
    return placed


def residual_map(residuals: dict[str, Any]) -> Markup:
    """True against predicted value as shaded cells, darker where more rows are; the diagonal is right.

    Cells are drawn alike whatever they span: edges that grow as powers give logarithmic axes.
    """
    edges_x, edges_y = (
        np.asarray(residuals["true_edges"], float),
        np.asarray(residuals["predicted_edges"], float),
    )
    counts = np.asarray(residuals["counts"], float)
    if not counts.size or not counts.max() > 0:
        return Markup("")
    axes = Axes(0, counts.shape[0], 0, counts.shape[1], width=460, height=420, top=28)
    cells = []
    for i, j in zip(*np.nonzero(counts), strict=True):
        level = 1 + round(8 * math.log1p(counts[i, j]) / math.log1p(counts.max()))
        x, y = axes.x(i), axes.y(j + 1)
        cells.append(
            rect(x, y, axes.x(i + 1) - x, axes.y(j) - y, f"cell c{level}", f"{count(counts[i, j])} rows")
        )
    drawn = frame(
        axes,
        "true value",
        "predicted value",
        lambda i: quantity(edges_x[int(i)]),
        lambda j: quantity(edges_y[int(j)]),
    )
    right = path(axes, [(0, 0), counts.shape], "chance") if np.array_equal(edges_x, edges_y) else Markup("")
    return svg(axes, "Predicted against true value on the test rows", drawn, *cells, right)


def tones(groups: int) -> list[str]:
    """Classes for the bars of some groups: the first in the accent colour, the last grey."""
    return ["", "tone2", "tone3"][: max(groups - 1, 1)] + ["quiet"] * (groups > 1)


def distribution(found: Distribution) -> Markup:
    """Shares per bin of up to four groups, side by side."""
    series = list(found.shares.items())[:4]
    kinds = tones(len(series))
    top = max([0.01, *(v for _, shares in series for v in shares if is_number(v))])
    axes = Axes(
        0, max(len(found.labels), 1), 0, top, width=300, height=140, left=4, right=4, top=8, bottom=24
    )
    step = axes.x(1) - axes.x(0)
    bars = []
    for place, (name, shares) in enumerate(series):
        width = step * 0.84 / len(series)
        for i, value in enumerate(shares):
            if is_number(value) and i < len(found.labels):
                x = axes.x(i) + step * 0.08 + place * width
                bars.append(
                    rect(
                        x,
                        axes.y(value),
                        width,
                        axes.y(0) - axes.y(value),
                        f"bar {kinds[place]}",
                        f"{found.labels[i]}: {share(value)} of {name}",
                    )
                )
    base = axes.height - axes.bottom
    names = [(0, "start"), (len(found.labels) - 1, "end")] if len(found.labels) > 1 else [(0, "start")]
    texts = [text(axes.x(0) if side == "start" else axes.x(axes.x1), base + 17, short(found.labels[i], 18), "tick", side)
             for i, side in names if found.labels]  # fmt: skip
    said = " and ".join(name for name, _ in series)
    return svg(axes, f"Distribution of {short(found.feature, 80)} among {said}", line(axes.left, base, axes.width - axes.right, base, "axis"),
                *bars, *texts, kind="chart small")  # fmt: skip


def precision_by_list(lists: PastLists, size: int) -> Markup:
    """Precision among the first rows of each list: the chosen model, the best simple rule, and at random."""
    last = len(lists.days) - 1
    kinds = {"chosen": "main", "rule": "other", "random": "chance"}
    curves = {"random": lists.base_rates}
    for model in lists.lines:
        which = "chosen" if model.chosen else model.model
        if which in kinds:
            curves[which] = next(at.by_list for at in model.at if at.size == size)
    top = max([0.01, *(v for curve in curves.values() for v in curve if is_number(v))])
    axes = Axes(0, max(last, 1), 0, min(top * 1.05, 1), height=260, top=28, right=94)
    parts, ends = [], []
    for which, curve in curves.items():
        parts.append(path(axes, enumerate(curve), kinds[which]))
        name = {"chosen": "this list", "rule": "best rule", "random": "at random"}[which]
        ends.append((axes.y(curve[-1]), name, "strong" if which == "chosen" else ""))
        if which == "chosen":
            parts += [dot(axes.x(i), axes.y(v), 3.5, "point", f"{lists.days[i]}: {share(v)}, {count(lists.positives[i])} of {count(lists.rows[i])} said yes")
                      for i, v in enumerate(curve)]  # fmt: skip
    parts += [
        text(axes.width - axes.right + 8, y + 4, name, f"label {kind}", "start")
        for y, name, kind in _apart(ends, axes.y(0))
    ]
    base = axes.height - axes.bottom
    days = {0: "start", last: "end"}
    parts += [text(axes.x(i), base + 20, lists.days[i], "tick", side) for i, side in days.items()]
    blank = Axes(0, 0, 0, axes.y1, height=axes.height, top=axes.top, right=axes.right)
    return svg(axes, f"Share who say yes among the first {count(size)} of each of {count(last + 1)} lists",
                frame(blank, "", "", lambda _: "", lambda v: share(v, 0 if top > 0.12 else 1)), *parts)  # fmt: skip


def optimisation(tuned: Tuned) -> Markup:
    """Each finished trial's value and the best so far; more is better."""
    values = [(i, float(t["value"])) for i, t in enumerate(tuned.trials) if is_number(t.get("value"))]
    if not values:
        return Markup("")
    best = np.maximum.accumulate([v for _, v in values])
    steps = [
        (x, y)
        for (i, _), before, y in zip(values, [best[0], *best], best, strict=False)
        for x, y in ((i, before), (i, y))
    ]
    low, high = _range(v for _, v in values)
    axes = Axes(0, max(len(tuned.trials) - 1, 1), low, high, height=240, top=28)
    dots = [
        dot(axes.x(i), axes.y(v), 3, "hollow", f"trial {tuned.trials[i].get('number', i)}: {figure(v, 4)}")
        for i, v in values
    ]
    return svg(axes, f"{len(values)} trials and the best so far", frame(axes, "trial", "", tidy, tidy), *dots,
                path(axes, steps, "main"))  # fmt: skip
