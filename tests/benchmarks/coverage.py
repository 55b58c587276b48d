"""Do 95 % intervals cover the truth? 200 simulated runs; wanted: 92 to 98 % of them.

The truth is the ROC-AUC of the very model that a run has fitted and chosen, on 200,000 fresh rows.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from common import machine
from sklearn.metrics import average_precision_score, roc_auc_score

sys.path.insert(0, str(Path(__file__).parents[1]))
from small import LOGISTIC, experiment, flat

ROWS, FRESH, RUNS = 2_000, 200_000, 200
TRUTHS = {"roc_auc": roc_auc_score, "pr_auc": average_precision_score}


def world(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Five columns, two of which tell something; a quarter of the rows say yes."""
    frame = pd.DataFrame(rng.normal(size=(rows, 5)).astype(np.float32), columns=list("abcde"))
    risk = 0.8 * frame["a"] - 0.5 * frame["b"] + rng.normal(0, 1, rows) - 1.3
    return frame.assign(y=np.where(rng.random(rows) < 1 / (1 + np.exp(-risk)), "yes", "no"))


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    fresh = world(FRESH, np.random.default_rng(10_000_000))
    covered = dict.fromkeys(TRUTHS, 0)
    for seed in range(runs):
        with tempfile.TemporaryDirectory() as place:
            frame = world(ROWS, np.random.default_rng(seed))
            settings = {"bootstrap": 500}
            found = experiment(flat(Path(place), frame, seed=seed, model=LOGISTIC, evaluation=settings))
            outcome = found.run()
            found.place.__exit__()
        chosen = outcome.chosen("y")
        columns = {f"all.{name}": fresh[name].to_numpy() for name in "abcde"}
        score = outcome.fitted[chosen.model].predict(outcome.encoder.transform(columns)[0])[0]
        for metric, measure in TRUTHS.items():
            low, high = chosen.intervals[metric]
            covered[metric] += low <= measure(fresh["y"] == "yes", score) <= high
        if (seed + 1) % 20 == 0:
            print(
                seed + 1, {metric: f"{hits / (seed + 1):.1%}" for metric, hits in covered.items()}, flush=True
            )
    said = ", ".join(f"{metric} {hits} of {runs} ({hits / runs:.1%})" for metric, hits in covered.items())
    print(f"intervals that cover the truth: {said}; {machine()}")


if __name__ == "__main__":
    main()
