"""`recipe=email_engagement` as it is shipped, against the ceiling of its simulated world, on the same test rows.

    python tests/benchmarks/mailings.py [recipients] [further overrides, such as tuning=grid]

The ceiling is the true chance of an open, click or action within 7 days, for a reader of the hidden state: also of what
no table shows, such as how appealing a subject is. Precision and recall of models are at their thresholds from
validation, those of the ceiling where its F1 on the test is highest; `recall at 85 %` is the highest recall at which
precision reaches 0.85 on the test. Intervals: bootstrap over recipients (200 draws).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from common import machine, metrics, peak_of_children, toolkit

from toolkit.simulate.mailings import ceiling, reached

TARGETS = {"opens_7d": ("open", "opened"), "clicks_7d": ("click", "clicked"), "acts_7d": ("action", "acted")}
WANTED = ("roc_auc", "precision", "recall", "recall_at_85")
DRAWS = 200


def test_rows(run: Path, world: Path) -> pd.DataFrame:
    """The test's rows with labels, scores, decisions and true chances."""
    found = pd.read_parquet(run / "predictions.parquet").query("part == 'test'")
    found["sunday"] = pd.to_datetime(found["cutoff"]).dt.date
    truths = [ceiling(world, sunday).assign(sunday=sunday) for sunday in sorted(set(found["sunday"]))]
    truth = pd.concat(truths).rename(columns={"recipient_id": "entity"})
    both = found.merge(truth, on=["entity", "sunday"], validate="1:1")
    assert len(both) == len(found), "every test row has a truth"
    for target, (_, happened) in TARGETS.items():
        assert (both[f"{target}.label"] == both[happened]).all(), target
    return both


def figures(rows: pd.DataFrame, score: str, label: str, decision: str | None) -> dict[str, float]:
    """What a score reaches; with a decision, precision and recall are the decision's."""
    found = reached(rows[score].to_numpy(), rows[label].to_numpy())
    if decision:
        acted, yes = rows[decision].astype(bool), rows[label] == 1
        found["precision"] = float(yes[acted].mean()) if acted.any() else float("nan")
        found["recall"] = float(acted[yes].mean())
    return found


def interval(rows: pd.DataFrame, *what: str | None) -> dict[str, tuple[float, float]]:
    """95 % of each figure, by drawing recipients."""
    rng, groups = (
        np.random.default_rng(0),
        list(rows.reset_index(drop=True).groupby("entity").indices.values()),
    )
    some = rows[[name for name in what if name]]
    drawn = []
    for _ in range(DRAWS):
        chosen = rng.integers(0, len(groups), len(groups))
        drawn.append(figures(some.iloc[np.concatenate([groups[i] for i in chosen])], *what))  # type: ignore[arg-type]
    return {name: tuple(np.nanquantile([one[name] for one in drawn], [0.025, 0.975])) for name in WANTED}  # type: ignore[misc]


def main(recipients: int, *overrides: str) -> None:
    print(machine(), f"{recipients:,} recipients")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = folder / "run"
        words = (f"source.world.size={recipients}", f"hydra.run.dir={run}", "quiet=true", *overrides)
        seconds = toolkit("recipe=email_engagement", *words, folder=folder)
        print(f"whole command {seconds:.0f} s, peak {peak_of_children():.1f} GB")
        (world,) = {path.parent.parent for path in folder.rglob("truth/world.json")}
        rows, told = test_rows(run, world), metrics(run)["targets"]
    print(f"{len(rows):,} test rows\n")
    print("| target | | ROC-AUC | precision | recall | recall at 85 % |\n|---|---|---|---|---|---|")
    for target, (chance, _) in TARGETS.items():
        label, chosen = f"{target}.label", told[target]["chosen"]
        lines = {"ceiling": (chance, None), f"{chosen} (chosen)": (f"{target}.score", f"{target}.decision")}
        for line, (score, decision) in lines.items():
            value, spread = figures(rows, score, label, decision), interval(rows, score, label, decision)
            cells = [f"{value[one]:.3f} [{spread[one][0]:.3f}, {spread[one][1]:.3f}]" for one in WANTED]
            print(f"| {target} | {line} | {' | '.join(cells)} |")
        for line, model in told[target]["models"].items():
            if line not in ("prior", chosen):
                test = [model["test"][one] for one in WANTED[:3]]
                print(f"| {target} | {line} | {' | '.join(f'{one:.3f}' for one in test)} | |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3_000, *sys.argv[2:])
