"""The leaderboard of a sweep: settings side by side on validation, and which overrides mattered.

A setting is a job's overrides without the seed. The best one on validation is selected, if all were
validated on the same rows and labels; the test is looked at for the selected one only, unless asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from toolkit.evaluation.bootstrap import interval
from toolkit.evaluation.metrics import LOWER_IS_BETTER
from toolkit.sweep.effects import Effect, effects, mean, spread
from toolkit.sweep.folder import Record
from toolkit.sweep.overrides import swept as swept_keys
from toolkit.sweep.overrides import value_of
from toolkit.sweep.paired import Difference, NotComparableError, pair, same_rows
from toolkit.sweep.runs import Run, Scored

MEAN = "weighted mean of the targets"
LOOKING = "test figures of settings that were not selected: whoever chooses by them has no test left"


@dataclass(frozen=True)
class Setting:
    """What was overridden, besides the seed, and its finished runs."""

    overrides: tuple[str, ...]
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        return " ".join(self.overrides) or "as declared"


@dataclass(frozen=True)
class Line:
    """A setting on a board: mean and spread (standard deviation) over its seeds.

    difference: to the selected setting on the rows that both have; why_none: why there is none.
    """

    setting: Setting
    values: tuple[float, ...]
    test: tuple[float, ...]
    selected: bool
    difference: Difference | None = None
    why_none: str = ""

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def spread(self) -> float:
        return spread(self.values)


@dataclass(frozen=True)
class Board:
    """One target, or the weighted mean of several. effects: the overrides that mattered most first; ranked:
    the lines are best first, which they are only where all stand on the same rows and labels."""

    title: str
    metric: str
    lines: list[Line]
    effects: list[Effect]
    ranked: bool = True

    @property
    def selected(self) -> Line | None:
        return next((line for line in self.lines if line.selected), None)


@dataclass(frozen=True)
class Leaderboard:
    """All boards of a sweep. jobs: how many there were; chief: the board that selects, one of `boards`;
    failed: jobs that gave no run to compare."""

    name: str
    jobs: int
    boards: list[Board]
    chief: Board | None
    failed: list[Record]
    notes: list[str] = field(default_factory=list)
    test_of_all: bool = False


def build(name: str, found: Sequence[tuple[Record, Run | None]], test_of_all: bool = False) -> Leaderboard:
    """The leaderboard of a sweep's jobs: records, and the runs of those that are done."""
    done = [(record, run) for record, run in found if run is not None]
    failed = [record for record, run in found if run is None]
    swept = swept_keys([record.overrides for record, _ in found if record.overrides])
    settings = _settings(done, swept)
    if not settings:
        return Leaderboard(name, len(found), [], None, failed)
    targets = list(dict.fromkeys(target for _, run in done for target in run.targets))
    shared = [t for t in targets if all(t in run.targets for _, run in done)]
    tables = {target: _Table(settings, target) for target in targets}
    mixed = (
        _Mixed([tables[t] for t in shared])
        if len(shared) > 1 and len({tables[t].kind for t in shared}) == 1
        else None
    )
    selecting = mixed or tables[(shared or targets)[0]]
    others = selecting.others
    best = None if others else selecting.best()
    shown = [*([mixed] if mixed else []), *tables.values()]
    boards = [table.board(best, test_of_all, done, swept) for table in shown]
    chief = boards[shown.index(selecting)]
    notes = _notes(settings, chief, others, targets, shared, mixed)
    return Leaderboard(name, len(found), boards, chief, failed, notes, test_of_all)


def _settings(done: Sequence[tuple[Record, Run]], swept: Sequence[str]) -> list[Setting]:
    groups: dict[tuple[str, ...], list[Run]] = {}
    for record, run in done:
        words = ((key, value_of(record.overrides, key)) for key in swept if key != "seed")
        groups.setdefault(tuple(f"{key}={value}" for key, value in words if value is not None), []).append(
            run
        )
    return [Setting(words, tuple(sorted(runs, key=lambda run: run.seed))) for words, runs in groups.items()]


class _Table:
    """The settings on one target."""

    def __init__(self, settings: Sequence[Setting], target: str) -> None:
        self.title = target
        self.settings = [s for s in settings if all(target in run.targets for run in s.runs)]
        runs = [run for setting in self.settings for run in setting.runs]
        kinds = {run.targets[target]["type"] for run in runs}
        chosen_by = {run.metric(target) for run in runs}
        self.metric = chosen_by.pop() if len(chosen_by) == 1 else runs[0].targets[target]["headline"]
        self.kind = (kinds.pop(), self.metric) if len(kinds) == 1 else target
        self._rows: dict[tuple[str, int], Scored] = {}

    def of(self, run: Run, part: str = "validation") -> float:
        """The metric of a run; NaN if it does not have the target."""
        return run.value(self.title, self.metric, part) if self.title in run.targets else math.nan

    def full(self) -> list[Setting]:
        """The settings with the most seeds: a failed seed must not be of advantage."""
        most = max(len(setting.runs) for setting in self.settings)
        return [setting for setting in self.settings if len(setting.runs) == most]

    def best(self) -> Setting:
        """Best mean on validation, among those with the most seeds."""
        sign = -1.0 if self.metric in LOWER_IS_BETTER else 1.0
        return max(
            self.full(),
            key=lambda s: np.nan_to_num(sign * mean([self.of(run) for run in s.runs]), nan=-np.inf),
        )

    @cached_property
    def others(self) -> list[Setting]:
        """Settings with the most seeds that were not validated on the first one's rows and labels."""
        first, *rest = self.full()
        return [setting for setting in rest if not self._same_rows(setting, first)]

    def _same_rows(self, a: Setting, b: Setting) -> bool:
        """Runs are matched in the order of their seeds; where a seed decides who validates, the seeds have to agree."""
        return all(
            same_rows(self._scored(left), self._scored(right))
            for left, right in zip(a.runs, b.runs, strict=True)
        )

    def board(
        self,
        best: Setting | None,
        test_of_all: bool,
        done: Sequence[tuple[Record, Run]],
        swept: Sequence[str],
    ) -> Board:
        lines = []
        for setting in self.settings:
            selected = setting is best
            line = Line(setting, tuple(self.of(run) for run in setting.runs),
                        tuple(self.of(run, "test") for run in setting.runs) if selected or test_of_all else (), selected)  # fmt: skip
            if best and not selected and best in self.settings:
                try:
                    line = replace(line, difference=self.difference(setting, best))
                except NotComparableError as why:
                    line = replace(line, why_none=str(why))
            lines.append(line)
        if self.others:
            return Board(self.title, self.metric, lines, [], ranked=False)
        sign = 1 if self.metric in LOWER_IS_BETTER else -1
        lines.sort(key=lambda line: (math.isnan(line.mean), sign * line.mean))
        return Board(self.title, self.metric, lines, effects(done, swept, self.of))

    def difference(self, a: Setting, b: Setting) -> Difference:
        by_seed = [{run.seed: run for run in setting.runs} for setting in (a, b)]
        seeds = [seed for seed in by_seed[0] if seed in by_seed[1]]
        if not seeds:
            raise NotComparableError("they have no seed in common")
        sides = [[self._scored(runs[seed]) for seed in seeds] for runs in by_seed]
        return pair(*sides).differences([self.metric])[self.metric]

    def _scored(self, run: Run) -> Scored:
        key = (str(run.folder), run.seed)
        if key not in self._rows:
            self._rows[key] = run.scored(self.title, "validation")
        return self._rows[key]


class _Mixed(_Table):
    """The weighted mean of several targets of one type."""

    def __init__(self, tables: Sequence[_Table]) -> None:
        self.title, self.tables = MEAN, tables
        self.settings, self.metric, self.kind = tables[0].settings, tables[0].metric, tables[0].kind

    def of(self, run: Run, part: str = "validation") -> float:
        weights = [run.weight(table.title) for table in self.tables]
        return float(np.average([table.of(run, part) for table in self.tables], weights=weights))

    def _same_rows(self, a: Setting, b: Setting) -> bool:
        return all(table._same_rows(a, b) for table in self.tables)

    def difference(self, a: Setting, b: Setting) -> Difference:
        """Draws of the targets may come from different rows; they are paired where the entities are the same."""
        found = [table.difference(a, b) for table in self.tables]
        weights = [b.runs[0].weight(table.title) for table in self.tables]
        if any(one.entities != found[0].entities for one in found):
            raise NotComparableError("the targets have different entities, so their draws are not paired")
        draws = np.average([one.draws for one in found], axis=0, weights=weights)
        value = float(np.average([one.value for one in found], weights=weights))
        rows, unshared = (max(getattr(one, name) for one in found) for name in ("rows", "unshared"))
        return Difference(value, *interval(draws), draws, rows, unshared, found[0].entities)


def _notes(
    settings: Sequence[Setting], chief: Board, unlike: Sequence[Setting], targets: Sequence[str], shared: Sequence[str], mixed: _Mixed | None
) -> list[str]:  # fmt: skip
    notes = []
    others = [line for line in chief.lines if not line.selected]
    if unlike:
        notes.append(
            f"nothing is selected: {len(unlike)} of {len(settings)} settings cannot be compared: they were not validated "
            "on the same rows and labels as the first one, so a better figure may only mean easier rows"
        )
    elif others:
        tied = sum(line.difference is not None and not line.difference.certain for line in others)
        apart = sum(line.difference is None for line in others)
        notes.append(
            f"{tied} of {len(others)} other settings cannot be told apart from it (the interval of the difference holds zero)"
            + (f"; {apart} cannot be compared with it" if apart else "")
        )
    if len(settings) > 1 and not unlike:
        notes.append(
            f"it is the best of {len(chief.lines)} on validation, so its validation figure flatters it; its test figure does not"
        )
    if len({len(setting.runs) for setting in settings}) > 1:
        notes.append("settings with fewer finished seeds than others are listed, but not selected")
    if len(targets) > 1 and mixed is None and not unlike:
        notes.append(
            f"selected by `{chief.title}`: the targets have no common metric, or not all settings have them"
        )
    return notes
