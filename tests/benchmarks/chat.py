"""`community_churn`, `mood_trend` and `contact_timing` as they are shipped, against the ceilings of their simulated world.

    python tests/benchmarks/chat.py [users] [further overrides]

On the same test rows: ROC-AUC and PR-AUC of every model and of the true chance (of silence, of an answer) for a
reader of the hidden state; R² of next week's tone, the ceiling being the squared correlation of the label with
the tone to expect. Differences to the ceiling have 95 % intervals of a bootstrap over users, or contacts (500 draws).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from common import machine, metrics, peak_of_children, toolkit
from sklearn.metrics import average_precision_score, r2_score, roc_auc_score

from toolkit.evaluation.bootstrap import EntityBootstrap, interval
from toolkit.simulate.chat import answers, silence, tone

DRAWS = 500
BINARY = {"roc_auc": roc_auc_score, "pr_auc": average_precision_score}
RECIPES = {
    "community_churn": "silent_30d",
    "mood_trend": "mood_next_week",
    "contact_timing": "answers_contact",
}


def test_rows(run: Path, target: str) -> pd.DataFrame:
    """Labelled test rows: `entity`, `sunday`, `label`, and the score of every model."""
    found = pd.read_parquet(run / "predictions.parquet").query("part == 'test'")
    scores = {
        name: name.removeprefix(f"{target}.").removesuffix(".score")
        for name in found.columns
        if name.startswith(f"{target}.") and name.endswith(".score") and name.count(".") == 2
    }
    scores[f"{target}.score"] = metrics(run)["targets"][target]["chosen"]  # stands without its name
    found["sunday"] = pd.to_datetime(found["cutoff"]).dt.date
    found = found.rename(columns=scores | {f"{target}.label": "label"}).dropna(subset="label")
    return found[["entity", "sunday", "label", *scores.values()]]


def with_ceiling(recipe: str, rows: pd.DataFrame, world: Path) -> pd.DataFrame:
    """The rows with the true `ceiling` of each; the truth's own label must be the recipe's."""
    if recipe == "contact_timing":
        truth = answers(world).rename(
            columns={"contact_id": "entity", "chance": "ceiling", "answered": "truth"}
        )
        joined = rows.merge(truth, on="entity", validate="one_to_one")
    elif recipe == "mood_trend":
        parts = [tone(world, sunday).assign(sunday=sunday) for sunday in sorted(set(rows["sunday"]))]
        truth = pd.concat(parts).rename(columns={"user_id": "entity", "tone": "ceiling"})
        joined = rows.merge(truth, on=["entity", "sunday"], validate="one_to_one")
        slope, base = np.polyfit(
            joined["ceiling"], joined["label"], 1
        )  # tones are ±1, the label is sentiment
        return joined.assign(ceiling=base + slope * joined["ceiling"], truth=joined["label"])
    else:
        parts = [silence(world, sunday).assign(sunday=sunday) for sunday in sorted(set(rows["sunday"]))]
        truth = pd.concat(parts).rename(columns={"user_id": "entity", "chance": "ceiling", "silent": "truth"})
        joined = rows.merge(truth, on=["entity", "sunday"], validate="one_to_one")
    assert len(joined) == len(rows), "every test row has a true chance"
    other = joined[joined["label"] != joined["truth"]]  # answered on the export's last day, after the export
    late = (other["sunday"] == joined["sunday"].max()) & (other["truth"] == 1)
    assert late.all(), "what the recipe calls a yes is one"
    assert len(other) < 0.001 * len(joined), "few are answered so late"
    return joined


def compared(recipe: str, rows: pd.DataFrame) -> None:
    models = [name for name in rows.columns if name not in ("entity", "sunday", "label", "truth")]
    y = rows["label"].to_numpy(float)
    measures = {"r2": r2_score} if recipe == "mood_trend" else BINARY
    scores = {name: np.nan_to_num(rows[name].to_numpy(float), neginf=-1e300) for name in models}
    table = pd.DataFrame(
        {n: {what: f(y, score) for what, f in measures.items()} for n, score in scores.items()}
    ).T
    table = table.sort_values(next(iter(measures)), ascending=False)
    mean = f"{y.mean():.2%} yes" if recipe != "mood_trend" else f"mean {y.mean():.3f}"
    print(f"\n{recipe}: {len(rows):,} test rows of {rows['entity'].nunique():,} entities, {mean}")
    print(table.map("{:.4f}".format).to_string())
    if recipe == "mood_trend":
        return
    boot = EntityBootstrap(rows["entity"].to_numpy(), DRAWS)
    best = next(name for name in table.index if name != "ceiling")
    draws = {name: boot.binary(y, scores[name]) for name in (best, "ceiling")}
    for what in BINARY:
        low, high = interval(draws["ceiling"][what] - draws[best][what])
        gap = table.loc["ceiling", what] - table.loc[best, what]
        print(f"{what}: ceiling - {best} {gap:+.4f} [{low:+.4f}, {high:+.4f}]")


def main(users: int, *overrides: str) -> None:
    print(machine(), f"{users:,} users")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for recipe, target in RECIPES.items():
            run = folder / recipe
            words = (f"recipe={recipe}", f"source.world.size={users}", f"hydra.run.dir={run}", "quiet=true")
            seconds = toolkit(*words, *overrides, folder=folder)
            stages = ", ".join(f"{key} {value:.0f}" for key, value in metrics(run)["seconds"].items())
            (world,) = {path.parent.parent for path in folder.rglob("truth/world.json")}
            compared(recipe, with_ceiling(recipe, test_rows(run, target), world))
            print(f"{seconds:.0f} s: {stages}")
        print(f"peak {peak_of_children():.1f} GB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4_000, *sys.argv[2:])
