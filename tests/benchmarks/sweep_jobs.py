"""A 12-job sweep of donor_retention: the data is prepared once, and two joblib workers halve the time.

python tests/benchmarks/sweep_jobs.py

Both sweeps run the same jobs with one thread each and a cache of their own. What a sweep pays once (its
start, the first worker's imports, the leaderboard) is told apart from what its jobs take.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from pathlib import Path

from common import machine, metrics, toolkit

SWEEP = (
    "-m",
    "recipe=donor_retention",
    "model=lightgbm,xgboost,logistic,random_forest",
    "seed=1,2,3",
    "engine.threads=1",
)
JOBLIB = "hydra/launcher=joblib"


def sweep(*words: str) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds = toolkit(*SWEEP, *words, folder=folder)
        (made,) = folder.glob("outputs/donor_retention/multirun/*")
        runs = [metrics(made / str(number)) for number in range(12)]
        built = Counter(entry for run in runs for entry in run["built"] if not entry.startswith("fits:"))
        jobs = sum(job["seconds"] for job in json.loads((made / "sweep.json").read_text())["jobs"])
        kinds = {entry.split(":")[0] for entry in built}
        kept = sum(path.is_dir() for kind in kinds for path in (folder / "outputs/.cache" / kind).iterdir())
        assert built.total() == kept, (
            built,
            kept,
        )  # what lies in the cache was built once, by one of the jobs
        print(f"{' '.join(words) or 'basic':60} {seconds:6.1f} s; jobs together {jobs:6.1f} s; "
              f"prepared, each once: {', '.join(sorted(built))}", flush=True)  # fmt: skip
    return seconds


def main() -> None:
    print(machine(), f"load {os.getloadavg()[0]:.1f}")
    sweep()
    one = sweep(JOBLIB, "hydra.launcher.n_jobs=1")
    two = sweep(JOBLIB, "hydra.launcher.n_jobs=2")
    print(f"two workers take {two / one:.2f} of the time of one (wanted: at most 0.65)")


if __name__ == "__main__":
    main()
