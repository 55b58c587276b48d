"""`recipe=prospect_conversion` as it is shipped, against the ceiling of its simulated world, on the same test rows.

    python tests/benchmarks/prospects.py [portals] [further overrides]

The ceiling is the true chance of closing within 30 days, for a reader of the hidden state (mean of 50 lives).
Differences of blends to the best single model have 95 % intervals of a bootstrap over portals (500 draws).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from common import machine, metrics, peak_of_children, toolkit
from sklearn.metrics import average_precision_score, roc_auc_score

from toolkit.evaluation.bootstrap import EntityBootstrap, interval
from toolkit.simulate.portals import ceiling

TARGET, DRAWS = "convert_30d", 500
RULES = ("prior", "rule", "users_by_recency")
MEASURES = {"roc_auc": roc_auc_score, "pr_auc": average_precision_score}


def test_rows(run: Path, world: Path) -> pd.DataFrame:
    """The test's rows with `label`, the score of every model, and the true `ceiling`."""
    found = pd.read_parquet(run / "predictions.parquet").query("part == 'test'")
    scores = {
        name: name.removeprefix(f"{TARGET}.").removesuffix(".score")
        for name in found.columns
        if name.startswith(f"{TARGET}.") and name.endswith(".score") and name.count(".") == 2
    }
    scores[f"{TARGET}.score"] = metrics(run)["targets"][TARGET]["chosen"]  # stands without its name
    found["sunday"] = pd.to_datetime(found["cutoff"]).dt.date
    found = found.rename(columns=scores | {f"{TARGET}.label": "label"})
    found = found[["entity", "sunday", "label", *scores.values()]]
    truths = [ceiling(world, sunday).assign(sunday=sunday) for sunday in sorted(set(found["sunday"]))]
    truth = pd.concat(truths).rename(columns={"id": "entity", "chance": "ceiling"})
    joined = found.merge(truth, on=["entity", "sunday"], validate="one_to_one")
    assert len(joined) == len(found), "every test row is a portal that is free, and so has a true chance"
    assert (joined["label"] == joined["closes"]).all(), "what the recipe calls a closing is one"
    return joined


def compared(rows: pd.DataFrame) -> None:
    models = [name for name in rows.columns if name not in ("entity", "sunday", "label", "closes")]
    y = rows["label"].to_numpy(float)
    table = pd.DataFrame(
        {name: {what: measure(y, rows[name].fillna(-np.inf).clip(lower=-1e300)) for what, measure in MEASURES.items()}
         for name in models}
    ).T.sort_values("roc_auc", ascending=False)  # fmt: skip
    print(f"{len(rows):,} test rows of {rows['entity'].nunique():,} portals on {rows['sunday'].nunique()} Sundays, "
          f"{int(y.sum()):,} close within 30 days ({y.mean():.2%})")  # fmt: skip
    print(table.map("{:.4f}".format).to_string())
    single = [name for name in models if name not in (*RULES, "ceiling") and not name.startswith("blend")]
    boot = EntityBootstrap(rows["entity"].to_numpy(), DRAWS)
    draws = {name: boot.binary(y, rows[name].to_numpy(float)) for name in models if name not in RULES}
    for what in MEASURES:
        best = table.loc[single, what].idxmax()
        for name in ("blend_half", "blend", "ceiling"):
            low, high = interval(draws[name][what] - draws[best][what])
            gap = table.loc[name, what] - table.loc[best, what]
            print(f"{what}: {name} - best single ({best}) {gap:+.4f} [{low:+.4f}, {high:+.4f}]")


def main(portals: int, *overrides: str) -> None:
    print(machine(), f"{portals:,} portals")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = folder / "run"
        words = (f"source.world.size={portals}", f"hydra.run.dir={run}", "quiet=true", *overrides)
        seconds = toolkit("recipe=prospect_conversion", *words, folder=folder)
        stages = ", ".join(f"{key} {value:.0f}" for key, value in metrics(run)["seconds"].items())
        print(f"whole command {seconds:.0f} s, peak {peak_of_children():.1f} GB; stages: {stages}")
        (world,) = {path.parent.parent for path in folder.rglob("truth/world.json")}
        compared(test_rows(run, world))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000, *sys.argv[2:])
