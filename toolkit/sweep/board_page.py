"""A leaderboard as a page, and as CSV."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.report.lists import write_csv
from toolkit.sweep.document import Cell, Document, Link, Section, markdown, number, page, signed
from toolkit.sweep.effects import mean, spread
from toolkit.sweep.leaderboard import LOOKING, Board, Leaderboard, Line

TITLE = "Leaderboard"


def document(found: Leaderboard) -> Document:
    return Document(
        f"{TITLE}: {found.name}",
        list(lead(found)),
        [
            *(section for board in found.boards for section in sections(board, found.test_of_all)),
            *failures(found),
        ],
        [LOOKING] if found.test_of_all else [],
    )


def lead(found: Leaderboard) -> Iterator[str]:
    """The result in words."""
    board = found.chief
    line = board.selected if board else None
    if board and line:
        on = "" if len(found.boards) == 1 else f" on the {board.title}" if board.metric else ""
        seeds = f" over {len(line.values)} seeds" if len(line.values) > 1 else ""
        test = f"; on the test rows {around(mean(line.test), spread(line.test))}" if line.test else ""
        yield f"selected by validation{on}: {line.setting.name}: {board.metric} {around(line.mean, line.spread)}{seeds}{test}"
    yield from found.notes
    done = found.jobs - len(found.failed)
    yield f"{done} of {found.jobs} jobs done" + (f", {len(found.failed)} failed" if found.failed else "")


def sections(board: Board, test_of_all: bool) -> list[Section]:
    test = "test" if test_of_all else "test (selected only)"
    header = [
        "setting",
        "seeds",
        f"validation {board.metric}",
        "difference to the selected [95 %]",
        "shared rows",
        test,
        "runs",
    ]
    rows: list[list[Cell]] = [[
        line.setting.name, str(len(line.values)), around(line.mean, line.spread), _difference(line),
        _shared(line),
        around(mean(line.test), spread(line.test)) if line.test else "",
        [Link(f"seed {run.seed}", run.report) for run in line.setting.runs],
    ] for line in board.lines]  # fmt: skip
    strong = frozenset(i for i, line in enumerate(board.lines) if line.selected)
    said = "; ".join(
        dict.fromkeys(f"no difference: {line.why_none}" for line in board.lines if line.why_none)
    )
    found = [Section(board.title, header, rows, said, 1, strong)]
    if board.effects:
        header = ["override", "value", "runs", f"mean validation {board.metric}", "spread"]
        rows = [[e.key, e.value, str(e.runs), number(e.mean), number(e.spread)] for e in board.effects]
        found.append(Section(f"{board.title}: which overrides mattered", header, rows, EFFECTS, 2))
    return found


EFFECTS = (
    "The mean over the runs with that value, whatever the other overrides were, of those that every value was tried "
    "with; the override whose values lie furthest apart comes first. What lies no further apart than the seeds do may be chance."
)


def failures(found: Leaderboard) -> list[Section]:
    if not found.failed:
        return []
    rows = [
        [str(record.job), " ".join(record.overrides), record.reason or record.state]
        for record in found.failed
    ]
    return [Section("Jobs that failed", ["job", "overrides", "reason"], rows, "", 3)]


def around(value: float, deviation: float) -> str:
    return number(value) + ("" if math.isnan(deviation) else f" ± {number(deviation)}")


def _difference(line: Line) -> str:
    if line.selected:
        return "selected"
    found = line.difference
    return "–" if found is None else signed(found.value, found.low, found.high)


def _shared(line: Line) -> str:
    d = line.difference
    return "" if d is None else f"{d.rows:,}" + (f" ({d.unshared:,} in one only)" if d.unshared else "")


def write(found: Leaderboard, folder: Path) -> None:
    """`leaderboard.csv`, `overrides.csv`, `leaderboard.html` and, last, `leaderboard.md`."""
    write_csv(folder / "leaderboard.csv", CSV, (line for board in found.boards for line in _csv(board)))
    effects = ((board.title, board.metric, e.key, e.value, e.runs, *map(_plain, (e.mean, e.spread)))
               for board in found.boards for e in board.effects)  # fmt: skip
    header = ["target", "metric", "override", "value", "runs", "validation_mean", "validation_sd"]
    write_csv(folder / "overrides.csv", header, effects)
    shown = document(found)
    (folder / "leaderboard.html").write_text(page(shown, folder), encoding="utf-8")
    (folder / "leaderboard.md").write_text(markdown(shown, folder), encoding="utf-8")


CSV = ["target", "metric", "place", "setting", "selected", "seeds", "validation_mean", "validation_sd", "validation_min",
       "validation_max", "difference", "difference_low", "difference_high", "shared_rows", "unshared_rows", "test_mean", "test_sd", "runs"]  # fmt: skip


def _csv(board: Board) -> Iterator[list[Any]]:
    for place, line in enumerate(board.lines, 1):
        d = line.difference
        yield [
            board.title, board.metric, place if board.ranked else None, line.setting.name, "yes" if line.selected else "no", len(line.values),
            *map(_plain, (line.mean, line.spread, min(line.values), max(line.values))),
            *((_plain(d.value), _plain(d.low), _plain(d.high), d.rows, d.unshared) if d else (None,) * 5),
            *((_plain(mean(line.test)), _plain(spread(line.test))) if line.test else (None,) * 2),
            " ".join(run.folder.name for run in line.setting.runs),
        ]  # fmt: skip


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
