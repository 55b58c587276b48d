"""Models of one run against each other: paired differences of test ROC-AUC, per target and in the weighted mean.

    python tests/benchmarks/rivals.py RUN RIVAL [SECOND_RUN]

RUN: a run's folder; RIVAL: the model that the others are compared with, SECOND_RUN: where it is, if not in RUN.
The interval is that of a bootstrap over entities (500 draws), the same draws for both models and all targets.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from common import machine, metrics

from toolkit.evaluation.bootstrap import EntityBootstrap, interval

DRAWS = 500


def test_rows(run: Path, columns: list[str]) -> pd.DataFrame:
    found = pd.read_parquet(run / "predictions.parquet", columns=["entity", "cutoff", "part", *columns])
    return found[found["part"] == "test"].set_index(["entity", "cutoff"])


def main(run: Path, rival: str, other: Path) -> None:
    targets = {name: one for name, one in metrics(run)["targets"].items() if one["type"] == "binary"}
    declared = yaml.safe_load((run / "config.yaml").read_text())["target"]
    weights = [declared[name].get("weight", 1.0) for name in targets]
    apart = {"prior", "rule"} | ({rival} if run == other else set())
    models = [name for name in next(iter(targets.values()))["models"] if name not in apart]
    rows = test_rows(run, [f"{t}.label" for t in targets])
    boot = EntityBootstrap(rows.index.get_level_values(0).to_numpy(), DRAWS)
    print(f"{machine()}; {len(rows):,} test rows; differences to {rival} [95 %]")

    def aucs(folder: Path, model: str) -> list[tuple[float, np.ndarray]]:
        said = metrics(folder)["targets"]
        names = {  # the chosen model's scores stand without its name
            target: f"{target}.score" if said[target]["chosen"] == model else f"{target}.{model}.score"
            for target in targets
        }
        scores = test_rows(folder, list(names.values())).loc[rows.index]
        found = []
        for target, name in names.items():
            y, score = rows[f"{target}.label"].to_numpy(float), scores[name].to_numpy(float)
            draws = boot.binary(np.nan_to_num(y), score, rows=~np.isnan(y))["roc_auc"]
            found.append((said[target]["models"][model]["test"]["roc_auc"], draws))
        return found

    theirs = aucs(other, rival)
    for model in models:
        ours = aucs(run, model)
        pairs = [(a - b, x - y) for (a, x), (b, y) in zip(ours, theirs, strict=True)]
        pairs.append((np.average([p for p, _ in pairs], weights=weights),
                      np.average([d for _, d in pairs], axis=0, weights=weights)))  # fmt: skip
        for name, (point, draws) in zip([*targets, "weighted mean"], pairs, strict=True):
            low, high = interval(draws)
            print(f"{model:20} {name:24} {point:+.4f} [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    main(folder, sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else folder)
