"""The simple rule: a decision table on the one column that tells most, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from toolkit.bundle.files import read_json, write_json
from toolkit.models.interface import Column, Task
from toolkit.models.one_by_one import OneByOne, Rows

_SAMPLE = 100_000  # rows that quantiles are taken from


class Rule(OneByOne):
    """A table on the single best column, chosen on training rows: the bar a model must clear."""

    kind: Literal["rule"] = "rule"
    bins: int = Field(5, ge=2, le=50, description="Most ranges a numeric column is cut into (by quantiles).")
    smoothing: float = Field(
        10.0,
        gt=0,
        le=1e6,
        description="Rows of the overall rate added to every cell, so small cells do not shout.",
    )

    def fit_one(
        self, task: Task, columns: Sequence[Column], train: Rows, valid: Rows, **options: Any
    ) -> RuleFitted:
        outcome = _outcome(task, train.y)
        overall = outcome.mean(axis=0)
        best: tuple[float, RuleFitted] | None = None
        for index, column in enumerate(columns):
            edges = _edges(train.X[:, index], self.bins) if column.kind == "numeric" else []
            cells = (len(edges) + 1 if column.kind == "numeric" else len(column.levels)) + 1
            cell = _cells(train.X[:, index], column.kind, edges, cells)
            count = np.bincount(cell, minlength=cells).astype(np.float64)
            total = np.stack([np.bincount(cell, one, minlength=cells) for one in outcome.T], axis=1)
            loss = _left_out_loss(
                task, train.y, outcome, cell, count, total, self.smoothing * overall, self.smoothing
            )
            if best is None or loss < best[0]:
                table = (total + self.smoothing * overall) / (count + self.smoothing)[:, None]
                rule = RuleFitted(
                    task.type, index, len(columns), column.kind, edges, table.tolist(), notes=[]
                )
                rule.notes.append(_words(task, column, edges, count, table))
                best = loss, rule
        assert best is not None
        return best[1]

    def load_one(self, folder: Path, task: Task, iterations: int | None, notes: list[str]) -> RuleFitted:
        return RuleFitted(**read_json(folder / "rule.json"), notes=notes)


@dataclass
class RuleFitted:
    """A decision table. edges: upper ends of all ranges but the last; the last cell is for missing values.

    table: [cells][1] rate or mean, or [cells][classes] shares.
    """

    type: str
    index: int
    columns: int
    column_kind: str
    edges: list[float]
    table: list[list[float]]
    notes: list[str]
    iterations: int | None = None

    def predict(self, X: np.ndarray) -> np.ndarray:
        table = np.asarray(self.table)
        rows = table[_cells(X[:, self.index], self.column_kind, self.edges, len(table))]
        return rows if self.type == "multiclass" else rows[:, 0]

    def importance(self) -> np.ndarray:
        return np.eye(self.columns)[self.index]

    def save(self, folder: Path) -> None:
        facts = {name: value for name, value in vars(self).items() if name not in ("notes", "iterations")}
        write_json(folder / "rule.json", facts)


def _outcome(task: Task, y: np.ndarray) -> np.ndarray:
    """What the cells average: [rows, classes] indicators for multiclass, else y itself as [rows, 1]."""
    if task.type == "multiclass":
        return np.eye(len(task.classes))[y]
    return y.astype(np.float64)[:, None]


def _edges(x: np.ndarray, bins: int) -> list[float]:
    """Upper ends of up to `bins` ranges; a column of few values gets one range per value."""
    x = x[:: max(1, len(x) // _SAMPLE)]
    values = np.unique(x[~np.isnan(x)])
    if len(values) <= bins:
        return [float(value) for value in values[:-1]]
    cuts = np.unique(np.nanquantile(x, np.arange(1, bins) / bins, method="lower"))
    return [float(cut) for cut in cuts if cut < values[-1]]


def _cells(x: np.ndarray, kind: str, edges: list[float], cells: int) -> np.ndarray:
    """The table's cell of each row; the last cell is for missing values and unknown codes."""
    if kind == "numeric":
        found = np.searchsorted(np.asarray(edges), x.astype(np.float64), side="left")
        return np.where(np.isnan(x), cells - 1, found)
    return np.where((x >= 0) & (x < cells - 1), np.nan_to_num(x, nan=0.0), cells - 1).astype(np.int64)


def _left_out_loss(
    task: Task,
    y: np.ndarray,
    outcome: np.ndarray,
    cell: np.ndarray,
    count: np.ndarray,
    total: np.ndarray,
    prior: np.ndarray,
    smoothing: float,
) -> float:
    """Training loss when each row is left out of its own cell, so that many small cells do not win.

    Log loss for classes, squared error for regression; both have a closed form per cell.
    """
    others = count - 1 + smoothing  # [cells], rows that judge one of the cell's rows
    with np.errstate(divide="ignore", invalid="ignore"):
        if task.type == "regression":
            pooled = total[:, 0] + prior[0]
            squares = np.bincount(cell, y * y, minlength=len(count))
            loss = (others + 1) ** 2 * squares - 2 * (others + 1) * pooled * total[:, 0] + count * pooled**2
            return float(np.sum(np.where(count > 0, loss / others**2, 0.0)))
        if task.type == "binary":
            total = np.column_stack([count - total[:, 0], total[:, 0]])
            prior = np.array([smoothing - prior[0], prior[0]])
        each = total * np.log((total - 1 + prior) / others[:, None])
    return float(-np.sum(np.where(total > 0, np.nan_to_num(each, neginf=-1e300), 0.0)))


def _words(task: Task, column: Column, edges: list[float], count: np.ndarray, table: np.ndarray) -> str:
    """The table as a sentence a reader can check by hand; the largest cells of a long one."""
    if column.kind == "numeric":
        lower = ["", *(f"{edge:g} < " for edge in edges)]
        upper = [*(f" ≤ {edge:g}" for edge in edges), ""]
        names = [f"{low}value{up}" for low, up in zip(lower, upper, strict=True)] if edges else ["any value"]
    else:
        names = [f"`{level}`" for level in column.levels]
    names.append("missing")
    shown = sorted(np.argsort(-count, kind="stable")[:12])
    cells = [
        f"{names[one]}: {_rate(task, table[one])} ({count[one]:,.0f} rows)" for one in shown if count[one]
    ]
    rest = int((count > 0).sum()) - len(cells)
    return f"by `{column.name}` alone: " + "; ".join(cells) + (f"; and {rest} smaller cells" if rest else "")


def _rate(task: Task, values: np.ndarray) -> str:
    if task.type == "regression":
        return f"{values[0]:.4g}"
    if task.type == "binary":
        return f"{values[0]:.1%}"
    top = int(np.argmax(values))
    return f"{task.classes[top]} {values[top]:.0%}"
