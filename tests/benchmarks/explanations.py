"""Reasons in words for 100,000 rows of boosted trees, and counterfactuals.

    python tests/benchmarks/explanations.py [rows] [threads]

60 features, 5 reasons per row. Made-up rows, so that only time is spoken of: wall clock and CPU seconds of one process,
and each step as a multiple of plain prediction. Counterfactuals: four features may change by twenty steps each, three
at a time, 20,000 tries; the median and the 95 % quantile of seconds per row, and what was found.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from toolkit.actions import reasons
from toolkit.config.counterfactual import Change
from toolkit.evaluation.counterfactual.levers import levers
from toolkit.evaluation.counterfactual.reference import Reference
from toolkit.evaluation.counterfactual.search import Judged, search
from toolkit.modalities import NOTHING, Column
from toolkit.models import Batch, Task
from toolkit.models.lightgbm import LightGBM
from toolkit.models.xgboost import XGBoost
from toolkit.prepare.features import Feature

COLUMNS, REASONS, HELPED = 60, 5, 200


def timed(name: str, work: Callable[[], Any], plain: float | None = None) -> tuple[Any, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    cpu = time.process_time() - cpu
    ratio = f", {cpu / plain:.1f} × plain prediction" if plain else ""
    print(f"  {name}: {time.perf_counter() - wall:.1f} s, {cpu:.1f} CPU-s{ratio}", flush=True)
    return found, cpu


def said(
    texts: list[str], X: np.ndarray, columns: list[Column], values: np.ndarray, chosen: list[list[int]]
) -> list[list[str | None]]:
    """The chosen reasons of each row, in words."""
    return [
        [reasons.in_words(texts[i], float(X[r, i]), 0.0, columns[i], lowers=values[r, i] < 0) for i in some]
        for r, some in enumerate(chosen)
    ]


def main(rows: int = 100_000, threads: int = 1) -> None:
    rng = np.random.default_rng(0)
    columns = [Column(f"set.c{c}") for c in range(COLUMNS)]
    features = [
        Feature(
            one.name,
            "set",
            "numeric",
            None,
            frozenset({("t", f"c{c // 2}")}),
            "",
            f"sum of c{c // 2}, {7 + c} days",
        )
        for c, one in enumerate(columns)
    ]
    X = rng.normal(size=(rows, COLUMNS)).astype(np.float32)
    y = (X[:, :10].sum(axis=1) + 2 * rng.normal(size=rows) > 0).astype(np.float32)[:, None]
    usual, few = np.zeros(COLUMNS, np.float32), min(20_000, rows)
    models = {"lightgbm": LightGBM(num_iterations=200), "xgboost": XGBoost(num_boost_round=200)}
    stories = reasons.stories(features, {f"c{c}" for c in range(COLUMNS)})
    texts = [feature.text for feature in features]
    for name, model in models.items():
        train = Batch(X[:few], y[:few])
        fitted = model.fit(
            [Task("t", "binary")], columns, train, Batch(X[:0], y[:0]), seed=0, threads=threads
        )
        print(f"{name}, 200 trees, {rows:,} rows, {threads} thread(s)")
        _, plain = timed("prediction", lambda one=fitted: one.predict(X))
        values, a = timed("contributions", lambda one=fitted: reasons.added(one, 0, X, NOTHING, usual), plain)
        chosen, b = timed("the strongest", lambda v=values: reasons.strongest(v, stories, REASONS), plain)
        _, c = timed("in words", lambda v=values, s=chosen: said(texts, X, columns, v, s), plain)
        print(f"  all: {a + b + c:.1f} CPU-s, {(a + b + c) / plain:.1f} × plain prediction")
        helped(name, fitted, columns, X)


def helped(name: str, fitted: Any, columns: list[Column], X: np.ndarray) -> None:
    changes = {f"set.c{c}": Change(direction="increase", step=0.15) for c in range(4)}
    reference = Reference.fit(X, columns, range(4), seed=0)
    able, _ = levers(changes, columns, reference)

    def judge(Z: np.ndarray, rows: np.ndarray) -> Judged:
        value = fitted.predict(Z)[0]
        return Judged(value >= 0.6, value, value)

    rows = X[fitted.predict(X)[0] < 0.6][:HELPED]
    found = search(
        rows, judge, able, reference, np.arange(len(reference.names)), most=3, tries=20_000, seconds=60.0
    )
    took = np.array([one.seconds for one in found])
    outcomes = ", ".join(f"{what} {many}" for what, many in Counter(one.outcome for one in found).items())
    print(
        f"  counterfactuals of {name}, {len(rows)} rows: median {np.median(took):.3f} s, 95 % {np.quantile(took, 0.95):.3f} s; {outcomes}"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
