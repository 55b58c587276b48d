"""What each part of the network is worth: modalities, loss and cross-target attention, beside LightGBM and a blend.

    python tests/benchmarks/ablation.py [donors] [seeds]

Two multiruns on simulated donors; prints the weighted mean of the targets' ROC-AUC, mean ± spread over
seeds, on validation and on test rows. The test column is for the record: nothing is chosen by it here.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import yaml
from common import machine, metrics, toolkit

NETWORK = (
    "model=multimodal",
    "scheduler=plateau",
    "trainer=default",
    "trainer.epochs=15",
    "trainer.patience=4",
)
USE = "model.multimodal.use=[tabular],[tabular,sequence],[tabular,graph],[tabular,sequence,graph]"
SWEEPS = [
    (*NETWORK, USE, "loss=focal,bce"),
    (*NETWORK, "model.multimodal.heads.cross_target=false", "loss=focal"),
    ("model=[lightgbm]",),
    ("model=[multimodal,lightgbm,blend]", *NETWORK[1:], "loss=focal"),
]


def means(run: Path) -> dict[str, tuple[float, float]]:
    """Model → weighted mean ROC-AUC over the targets, on validation and on test rows."""
    targets = metrics(run)["targets"]
    declared = yaml.safe_load((run / "config.yaml").read_text())["target"]
    weights = [declared[target].get("weight", 1.0) for target in targets]
    found = {}
    for name in next(iter(targets.values()))["models"]:
        of = [target["models"][name] for target in targets.values()]
        found[name] = tuple(
            float(np.average([one[part]["roc_auc"] for one in of], weights=weights))
            for part in ("validation", "test")
        )
    return found


def main(donors: int, seeds: int) -> None:
    print(machine(), f"{donors:,} donors, {seeds} seeds")
    seed = "seed=" + ",".join(map(str, range(seeds)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, words in enumerate(SWEEPS):
            toolkit(
                "-m", "recipe=donor_multitarget", f"source.world.size={donors}", seed, *words, "report.html=false",
                "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"hydra.sweep.dir=sweep{number}", folder=folder,
            )  # fmt: skip
            table: dict[str, list[tuple[float, float]]] = defaultdict(list)
            for job in json.loads((folder / f"sweep{number}" / "sweep.json").read_text())["jobs"]:
                told = [word for word in job["overrides"] if word.startswith(("model", "loss"))]
                for model, pair in means(folder / f"sweep{number}" / job["folder"]).items():
                    if model not in ("prior", "rule"):
                        table[f"{model}: {' '.join(told)}"].append(pair)
            for what, pairs in table.items():
                (v, t), (dv, dt) = np.mean(pairs, axis=0), np.std(pairs, axis=0, ddof=min(1, seeds - 1))
                print(f"{what:110} validation {v:.4f} ± {dv:.4f}, test {t:.4f} ± {dt:.4f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000, int(sys.argv[2]) if len(sys.argv) > 2 else 3)
