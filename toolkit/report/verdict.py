"""The verdict on a target: whom to call, what to expect of it, and whether that beats chance and the simple rule."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.config.schema import Config
from toolkit.evaluation.gains import Gains, Interval
from toolkit.evaluation.metrics import Floats
from toolkit.models.interface import Task
from toolkit.report.evidence import Verdict
from toolkit.report.listed import Listed
from toolkit.training.outcome import HEADLINE, Candidate, Outcome


def verdict(
    config: Config,
    outcome: Outcome,
    index: int,
    key: NDArray[np.intp],
    entries: Listed,
    gains: Gains | None,
) -> Verdict | None:
    """Of the target with this index, by its chosen model. None where no test row has a label; of a yes-or-no
    target, where none of the newest list has one.

    key: each test row's [test rows]; entries: the newest list; gains: its curve, with a point at `size`; None
    where the target is not binary.
    """
    task, n = outcome.tasks[index], outcome.n_valid
    chosen = outcome.chosen(task.name)
    y = outcome.y[n:, index]
    known = y[~np.isnan(y)]
    if not len(known) or (task.type == "binary" and gains is None):
        return None
    metric = HEADLINE[task.type]
    ends = chosen.intervals.get(metric, (math.nan, math.nan))
    interval = None if math.isnan(ends[0]) else ends
    margin = known_margin(chosen)
    rule = next((candidate for candidate in outcome.of(task.name) if candidate.model == "rule"), None)
    told = Verdict(
        size=0, found=0, interval=None, at_random=0.0, metric=metric, value=chosen.test[metric],
        value_interval=interval, margin=margin, rule=rule.notes[0] if rule and rule.notes else "",
        better_than_rule=None if margin is None else margin[1] > 0,
        better_than_chance=chosen.beats_chance,
        test_rows=len(known),
        rarest=len(known) if task.type == "regression" else _rarest(task, known),
        **(_entities_of_the_rarest(y, key) if task.type == "binary" else {}),
    )  # fmt: skip
    return told if gains is None else _of_the_list(config, told, chosen, entries, gains)


def _rarest(task: Task, known: Floats) -> int:
    """Rows of the rarest class; of several classes, among those that occur."""
    counts = np.bincount(known.astype(np.intp), minlength=2)
    return int(counts.min() if task.type == "binary" else counts[counts > 0].min())


def _entities_of_the_rarest(y: Floats, key: NDArray[np.intp]) -> dict[str, Any]:
    """How many entities have the rarer answer, and which it is; y, key [test rows]."""
    of = {label: len(np.unique(key[y == label])) for label in (0, 1)}
    return {"rarest_entities": min(of.values()), "rarest_answer": "yes" if of[1] <= of[0] else "no"}


def _of_the_list(config: Config, told: Verdict, chosen: Candidate, entries: Listed, gains: Gains) -> Verdict:
    """What the best `size` of the newest list bring, off the curve that the page draws."""
    much, because = size(config, entries, chosen)
    at = int(np.searchsorted(gains.called, much))
    labelled = ~np.isnan(entries.y)
    capacity = _capacity(chosen, len(entries.rows))
    money = around = at_random = None
    if gains.value is not None and gains.value_low is not None and gains.value_high is not None:
        money, around = float(gains.value[at]), _ends(gains.value_low[at], gains.value_high[at])
        at_random = much / gains.rows * float(gains.value[-1])
    return replace(
        told, size=much, because=because, found=int(gains.found[at]), interval=_ends(gains.low[at], gains.high[at]),
        at_random=much * gains.positives / gains.rows, rows=gains.rows, positives=gains.positives,
        acted=int((entries.decision[labelled] == 1).sum()),
        covers_all=capacity is not None and capacity >= len(entries.rows),
        money=money, money_interval=around, money_at_random=at_random,
    )  # fmt: skip


def _ends(low: float, high: float) -> Interval:
    return None if math.isnan(low) else (float(low), float(high))


def _capacity(chosen: Candidate, rows: int) -> int | None:
    """How many of so many rows a declared capacity holds; None where none is declared."""
    threshold = chosen.threshold
    if threshold is None or not threshold.by_rank:
        return None
    return threshold.count or math.floor(rows * (threshold.fraction or 0) + 1e-9)


def size(config: Config, entries: Listed, chosen: Candidate) -> tuple[int, str]:
    """How many of the newest list to speak of, and why so many. Test labels have no say in it.

    A declared capacity; else the length of the written list, if that leaves as many rows out; else the rows
    above the threshold, if they are no more than half; else a tenth.
    """
    rows = int((~np.isnan(entries.y)).sum())
    half, capacity = rows // 2, _capacity(chosen, rows)
    acted = int((entries.decision[~np.isnan(entries.y)] == 1).sum())
    if capacity is not None:
        return min(capacity, rows), "the capacity"
    if config.evaluation.list_size <= half:
        return config.evaluation.list_size, "the length of the ranked list"
    if 0 < acted <= half:
        return acted, "the rows above the threshold"
    return min(max(rows // 10, 1), rows), "a tenth of the rows"


def known_margin(candidate: Candidate) -> tuple[float, float, float] | None:
    margin = candidate.margin
    return None if margin is None or any(math.isnan(part) for part in margin) else margin
