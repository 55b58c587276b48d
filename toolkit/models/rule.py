"""The simple rule: a decision table on the one column that tells most, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from toolkit.bundle.files import read_json, write_json
from toolkit.evaluation.univariate import FIRST, MISSING, OTHER, Bins, bin_columns, strength, tables
from toolkit.models.interface import Column, Task
from toolkit.models.one_by_one import OneByOne, Rows

_SHOWN = 6  # ranges or levels that the note spells out


class Rule(OneByOne):
    """A table on the single best column, chosen on training rows: the bar a model must clear."""

    kind: Literal["rule"] = "rule"

    def fit_one(
        self,
        task: Task,
        columns: Sequence[Column],
        train: Rows,
        valid: Rows,
        *,
        seed: int,
        threads: int,
        progress: Any,
    ) -> RuleFitted:
        categorical = np.array([column.kind == "categorical" for column in columns])
        # Half of the training rows learn the tables, the other half chooses: a column that merely
        # numbers the rows does not win. The winner's table is then learnt again from all of them.
        learns = np.random.default_rng(seed).permutation(len(train)) % 2 == 0
        bins = bin_columns(train.X[learns], categorical)
        learnt = tables(bins, bins.codes(train.X[learns]), train.y[learns], task.type)
        how_well = strength(learnt, bins.codes(train.X[~learns]), train.y[~learns])
        best = int(np.argmax(np.nan_to_num(how_well, nan=-np.inf)))

        x = train.X[:, best : best + 1]
        bins = bin_columns(x, categorical[best : best + 1])
        codes = bins.codes(x)
        table = tables(bins, codes, train.y, task.type).values[0]
        rule = RuleFitted(
            type=task.type,
            index=best,
            columns=len(columns),
            categorical=bool(categorical[best]),
            cuts=bins.cuts[0].tolist(),
            table=table.tolist(),
            notes=[],
        )
        count = np.bincount(codes[:, 0], minlength=len(table))
        rule.notes.append(_words(task, columns[best], rule.cuts, count, table))
        return rule

    def load_one(self, folder: Path, task: Task, iterations: int | None, notes: list[str]) -> RuleFitted:
        return RuleFitted(**read_json(folder / "rule.json"), notes=notes)


@dataclass
class RuleFitted:
    """A decision table. cuts: as in `univariate.Bins`; table: [bins] rates or means, or [bins, classes]."""

    type: str
    index: int
    columns: int
    categorical: bool
    cuts: list[float]
    table: list[Any]
    notes: list[str]
    iterations: int | None = None

    def predict(self, X: np.ndarray) -> np.ndarray:
        bins = Bins((np.asarray(self.cuts, np.float32),), np.array([self.categorical]))
        return np.asarray(self.table)[bins.column_codes(0, X[:, self.index])]

    def importance(self) -> np.ndarray:
        return np.eye(self.columns)[self.index]

    def save(self, folder: Path) -> None:
        facts = {name: value for name, value in vars(self).items() if name not in ("notes", "iterations")}
        write_json(folder / "rule.json", facts)


def _words(task: Task, column: Column, cuts: list[float], count: np.ndarray, table: np.ndarray) -> str:
    """The table as a sentence that a reader can check by hand; a long one is shown coarser."""
    if column.kind == "categorical":
        levels = sorted(range(len(cuts)), key=lambda i: -count[FIRST + i])
        groups = [(f"`{column.levels[int(cuts[i])]}`", [FIRST + i]) for i in levels[:_SHOWN]]
        rest = [FIRST + i for i in levels[_SHOWN:]]
        groups.append((f"{len(rest)} other levels" if rest else "any other level", [OTHER, *rest]))
    else:
        ends = [-np.inf, *cuts, np.inf]
        ranges = np.array_split(np.arange(len(cuts) + 1), min(_SHOWN, len(cuts) + 1))
        groups = [(_range(ends[cells[0]], ends[cells[-1] + 1]), list(FIRST + cells)) for cells in ranges]
    groups.append(("missing", [MISSING]))
    parts = []
    for name, cells in groups:
        if rows := int(count[cells].sum()):
            value = np.average(table[cells], axis=0, weights=count[cells])
            parts.append(f"{name}: {_rate(task, value)} ({rows:,} rows)")
    return f"by `{column.name}` alone: " + "; ".join(parts)


def _range(low: float, high: float) -> str:
    if np.isinf(low) and np.isinf(high):
        return "any value"
    if np.isinf(low):
        return f"up to {high:g}"
    return f"above {low:g}" if np.isinf(high) else f"above {low:g} to {high:g}"


def _rate(task: Task, value: Any) -> str:
    if task.type == "regression":
        return f"{value:.4g}"
    if task.type == "binary":
        return f"{value:.1%}"
    top = int(np.argmax(value))
    return f"{task.classes[top]} {value[top]:.0%}"
