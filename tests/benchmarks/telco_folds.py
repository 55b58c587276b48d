"""flat_churn on telco_churn by five stratified folds: ROC-AUC and F1 on the fold left out, mean and spread.

    python tests/benchmarks/telco_folds.py [seed]

Each fold is a run of its own over the file with a column `part`: a fifth is the test, a fifth of the rest validates
(early stopping, the blend's weights, calibration, threshold, which model is chosen), what is left trains. Wanted: mean
ROC-AUC 0.845 or more.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from common import REAL, machine, metrics, toolkit
from sklearn.model_selection import StratifiedKFold, train_test_split

WANTED = 0.845
MODELS = ("logistic", "lightgbm", "blend")


def main(seed: int) -> None:
    table = pd.read_csv(REAL / "telco_churn" / "telco_churn.csv", dtype=str, keep_default_na=False)
    y = (table["Churn"] == "Yes").to_numpy()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ("chosen", *MODELS)}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folds = StratifiedKFold(5, shuffle=True, random_state=seed).split(table, y)
        for number, (rest, test) in enumerate(folds, 1):
            _, valid = train_test_split(rest, test_size=0.2, stratify=y[rest], random_state=seed)
            part = np.full(len(table), "train", object)
            part[test], part[valid] = "test", "validation"
            data, run = folder / str(number), folder / f"run{number}"
            data.mkdir()
            table.assign(part=part).to_csv(data / "telco_churn.csv", index=False)
            toolkit(
                "recipe=flat_churn", f"source.path={data}", f"model=[{','.join(MODELS)}]", "split=column", "split.column=part",
                "evaluation.bootstrap=0", "report.html=false", "quiet=true", f"seed={seed}", f"hydra.run.dir={run}", folder=folder,
            )  # fmt: skip
            (said,) = metrics(run)["targets"].values()
            tests = {name: said["models"][name]["test"] for name in MODELS} | {
                "chosen": said["models"][said["chosen"]]["test"]
            }
            for name, figures in tests.items():
                found[name].append((figures["roc_auc"], figures["f1"]))
            each = ", ".join(f"{name} {tests[name]['roc_auc']:.4f}" for name in MODELS)
            print(f"fold {number}: {each}; chosen: {said['chosen']}", flush=True)
    print(f"\n{'model':10} {'ROC-AUC':>16} {'F1':>16}   mean ± sd over folds; {machine()}")
    for name, folds_of in found.items():
        (auc, f1), (auc_sd, f1_sd) = np.mean(folds_of, axis=0), np.std(folds_of, axis=0, ddof=1)
        print(f"{name:10} {auc:.4f} ± {auc_sd:.4f}  {f1:.4f} ± {f1_sd:.4f}")
    reached = np.mean(found["chosen"], axis=0)[0] >= WANTED
    print(f"chosen model: ROC-AUC {'reaches' if reached else 'DOES NOT REACH'} {WANTED}")
    sys.exit(not reached)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
