"""Tuning on pure noise: 50 trials, 20 seeds. What does the test say, and the report?

Wanted: mean test ROC-AUC 0.50 ± 0.02, and "no better than chance" in at least 18 of 20 reports.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from common import machine, metrics, toolkit

ROWS, COLUMNS, TRIALS, SEEDS = 3_000, 20, 50, 20


def main() -> None:
    values, honest = [], 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for seed in range(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS):
            rng = np.random.default_rng(seed)
            frame = pd.DataFrame(
                rng.normal(size=(ROWS, COLUMNS)).round(4), columns=[f"x{i}" for i in range(COLUMNS)]
            )
            frame.insert(0, "id", [f"{number:05d}" for number in range(ROWS)])
            frame["label"] = np.where(rng.random(ROWS) < 0.3, "yes", "no")
            frame.to_csv(folder / "noise.csv", index=False)
            run = folder / f"run-{seed}"
            toolkit(
                "recipe=flat_churn", f"source.path={folder}", "vars.file=noise.csv", "vars.key=id", "vars.label=label",
                "vars.positive=yes", "tuning=optuna", f"tuning.trials={TRIALS}", "model=[lightgbm,logistic]", f"seed={seed}",
                f"hydra.run.dir={run}", folder=folder,
            )  # fmt: skip
            found = metrics(run)["targets"]["label"]
            values.append(found["models"][found["chosen"]]["test"]["roc_auc"])
            text = re.sub(r"\s+", " ", (run / "report.html").read_text(encoding="utf-8"))
            honest += "no better than chance" in text.lower()
            print(
                f"seed {seed}: {found['chosen']} {values[-1]:.3f}, {honest} of {seed + 1} say so", flush=True
            )
    print(
        f'mean test ROC-AUC {np.mean(values):.4f} (sd {np.std(values):.3f}); "no better than chance" in {honest} of '
        f"{len(values)}; {TRIALS} trials of each of 2 models; {machine()}"
    )


if __name__ == "__main__":
    main()
