"""`recipe=donor_multitarget`: the whole run, simulation included, in a fresh folder; then scoring with its bundle.

python tests/benchmarks/whole_recipe.py [donors]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from common import machine, metrics, peak_of_children, toolkit


def main(donors: int) -> None:
    print(machine(), f"{donors:,} donors")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = folder / "run"
        seconds = toolkit(
            "recipe=donor_multitarget",
            f"source.world.size={donors}",
            f"hydra.run.dir={run}",
            "quiet=true",
            folder=folder,
        )
        found = metrics(run)
        print(f"whole run {seconds:.0f} s, peak {peak_of_children():.1f} GB; stages: "
              + ", ".join(f"{key} {value:.0f}" for key, value in found["seconds"].items()))  # fmt: skip
        for target, facts in found["targets"].items():
            model = facts["models"][facts["chosen"]]
            low, high = model["interval_95"]["roc_auc"]
            rule = facts["models"]["rule"]["test"]["roc_auc"]
            print(f"  {target}: AUC {model['test']['roc_auc']:.4f} [{low:.4f}, {high:.4f}], rule {rule:.4f}, F1 {model['test']['f1']:.3f}, "
                  f"fit of all targets {model['fit_seconds']:.0f} s")  # fmt: skip
        print(
            "  weighted means:",
            {key: round(value, 4) for key, value in found["weighted_mean_of_binary_targets"].items()},
        )
        scores = folder / "scores"
        seconds = toolkit("score", f"run={run}", "cutoff=2024-01-01", f"output={scores}", folder=folder)
        scored = pd.read_parquet(scores / "scores.parquet").set_index("entity")
        tested = pd.read_parquet(run / "predictions.parquet").query("part == 'test'").set_index("entity")
        gap = max(
            np.abs(scored.loc[tested.index, f"{t}.score"] - tested[f"{t}.score"]).max()
            for t in found["targets"]
        )
        print(f"scoring {len(scored):,} donors x {len(found['targets'])} targets, features recomputed: {seconds:.0f} s; "
              f"largest difference to the run's scores {gap:.1e}")  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500_000)
