"""The search for many rows by the same predictions, each row's a generator of `one_row`.

The clock only ends a search; it never steers one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.counterfactual.levers import Lever
from toolkit.evaluation.counterfactual.one_row import Found, Judged, Request, RowSearch, Step
from toolkit.evaluation.counterfactual.reference import Reference

__all__ = ["Found", "Judge", "Judged", "Step", "search"]

AT_ONCE = 64  # rows searched side by side
TOGETHER = 65_536  # changed rows in one prediction

Judge = Callable[[NDArray[np.float32], NDArray[np.intp]], Judged]  # changed rows; which row each one is of


def search(
    X: NDArray[np.float32],
    judge: Judge,
    levers: Sequence[Lever],
    reference: Reference,
    columns: NDArray[np.intp],
    *,
    most: int,
    tries: int,
    seconds: float,
    ordinary: float | None = 0.99,
) -> list[Found]:
    """For each row of X [rows, all columns]. columns: where those of the reference are among them.

    most: changes at a time; tries: changed rows judged for one row; seconds: for one row; ordinary: share of
    training rows whose distance from the others is ordinary, None: distances do not count.
    """
    if not len(X):
        return []
    base = judge(X, np.arange(len(X)))
    far = np.full(len(X), np.inf)
    if ordinary is not None:
        far = np.maximum(reference.distance(X[:, columns]), reference.ordinary(ordinary))
    found: list[Found | None] = [None] * len(X)
    waiting = iter(range(len(X)))
    active: dict[int, tuple[Request, NDArray[np.float32]]] = {}
    spent = np.zeros(len(X))

    def begin() -> None:
        while len(active) < AT_ONCE and (row := next(waiting, None)) is not None:
            one = RowSearch(X[row], levers, reference, columns, far[row], most, tries)
            advance(
                row,
                one.run(bool(base.reached[row]), float(base.value[row]), float(base.score[row])),
                None,
                True,
            )

    def advance(row: int, request: Request, answer: Judged | None, first: bool = False) -> None:
        try:
            active[row] = (request, next(request) if first else request.send(answer))
        except StopIteration as done:
            active.pop(row, None)
            found[row] = done.value

    clock = time.perf_counter()
    begin()
    while active:
        rows = list(active)
        answers = _judged(judge, rows, [asked for _, asked in active.values()])
        for row, answer in zip(rows, answers, strict=True):
            advance(row, active[row][0], None if spent[row] > seconds else answer)
        begin()
        now = time.perf_counter()
        spent[rows] += (now - clock) / len(rows)
        clock = now
    return [
        Found(**{**vars(one), "seconds": float(took)})
        for one, took in zip((one for one in found if one), spent, strict=True)
    ]


def _judged(judge: Judge, rows: Sequence[int], asked: Sequence[NDArray[np.float32]]) -> Iterator[Judged]:
    """The judgement of each row's changed rows, by as few predictions as memory allows."""
    X, owner = np.concatenate(asked), np.repeat(rows, [len(one) for one in asked])
    parts = [judge(X[at : at + TOGETHER], owner[at : at + TOGETHER]) for at in range(0, len(X), TOGETHER)]
    whole = [np.concatenate(values) for values in zip(*parts, strict=True)]
    ends = np.cumsum([len(one) for one in asked])
    return (
        Judged(*(values[end - len(one) : end] for values in whole))
        for one, end in zip(asked, ends, strict=True)
    )
