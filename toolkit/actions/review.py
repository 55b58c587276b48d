"""The review queue: a file of the rows that a person should look at, the same from a run and from scoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from toolkit.prepared import Prepared
from toolkit.report.listed import days_of
from toolkit.report.lists import write_csv
from toolkit.training.outcome import Outcome
from toolkit.training.triage import Flags, Triage

DIGITS = 4  # of probabilities and other numbers


def write(
    folder: Path, triage: Triage, flags: Flags, key: str, entity: np.ndarray, probability: np.ndarray,
    classes: Sequence[str], days: Sequence[str],
) -> None:  # fmt: skip
    """`<file>.csv`: key, cutoff, why, the likeliest classes with their probabilities, and the numbers doubted.

    key: the heading; entity, days: keys and cutoffs [rows], days all empty without a clock; probability:
    [rows, classes].
    """
    many = min(triage.node.classes, len(classes))
    header = [key, *(["cutoff"] if any(days) else []), "why"]
    header += [name for n in range(1, many + 1) for name in (f"class_{n}", f"probability_{n}")]
    header += list(flags.numbers)
    lines = []
    for row in flags.order(probability):
        best = np.argsort(-probability[row], kind="stable")[:many]
        line: list[object] = [entity[row], *([days[row]] if any(days) else []), flags.why(row)]
        for one in best:
            line += [classes[one], round(float(probability[row, one]), DIGITS)]
        line += [None if np.isnan(v[row]) else round(float(v[row]), DIGITS) for v in flags.numbers.values()]
        lines.append(line)
    write_csv(folder / f"{triage.node.file}.csv", header, lines)


def of_run(prepared: Prepared, outcome: Outcome, zone: str, folder: Path) -> None:
    """The queue of a run's test rows, if it has one."""
    if outcome.triage is None or outcome.review is None:
        return
    target, n = outcome.triage.target, outcome.n_valid
    task = next(task for task in outcome.tasks if task.name == target)
    rows, key = outcome.rows[n:], prepared.tables[prepared.tables.dataset.entity].spec.keys[0]
    probability = outcome.scores[(outcome.chosen(target).model, target)].probability[n:]
    write(
        folder, outcome.triage, outcome.review.flags, key, prepared.matrix.entity[rows], probability, task.classes,
        days_of(prepared.matrix.cutoff[rows], zone),
    )  # fmt: skip


def line(triage: Triage, flags: Flags) -> str:
    """What to say of a queue on a screen."""
    queued = flags.queued
    causes = {name: int(holds.sum()) for name, holds in flags.causes.items()}
    return f"{triage.node.file}.csv: {queued.sum():,} of {len(queued):,} rows for a person to look at ({counted(causes)})"


def counted(causes: Mapping[str, int]) -> str:
    """`unsure 8, unlike: words 4`, what is there."""
    return ", ".join(f"{name} {many:,}" for name, many in causes.items() if many) or "none"
