"""`recipe=churn` as it is shipped: its figures by horizon, against the ceiling of the world, and the stack against its members.

    python tests/benchmarks/churn.py [clients] [further overrides]

The ceiling is what a reader of the hidden state reaches on the same test rows (mean of 100 lives). `high` are the
clients whose calibrated probability is 0.6 or more (tiers high and critical): their precision, and the share of those
who stay that are among them (false-positive rate). ECE is that of the test. Intervals: bootstrap over clients.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pandas as pd
from common import machine, metrics, peak_of_children, toolkit

from toolkit.evaluation.bootstrap import EntityBootstrap, interval
from toolkit.simulate.clients import ceiling
from toolkit.simulate.clients_truth import figures

HORIZONS, HIGH, DRAWS = (30, 60, 90), 0.6, 500
STACK, MEMBERS, RIVALS = (
    "stack_forest_lstm",
    ("random_forest_balanced", "lstm"),
    ("lightgbm", "logistic", "days_since_use"),
)


def test_rows(run: Path) -> pd.DataFrame:
    found = pd.read_parquet(run / "predictions.parquet").query("part == 'test'").copy()
    found["day"] = pd.to_datetime(found["cutoff"]).dt.date
    return found


def truth(run: Path, world: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """The true chances of the same rows; what the recipe calls leaving must be what the world does."""
    parts = [ceiling(world, day).assign(day=day) for day in sorted(set(rows["day"]))]
    joined = rows.merge(
        pd.concat(parts), left_on=["entity", "day"], right_on=["client", "day"], validate="one_to_one"
    )
    assert len(joined) == len(rows), "every test row is an active client, and so has a true chance"
    for days in HORIZONS:
        assert (joined[f"churn_{days}d.label"] == joined[f"leaves_{days}"]).all(), (
            f"{days} days: labels differ"
        )
    return joined


def between(value: float | None, ends: list[float | None]) -> str:
    if value is None:
        return "none"
    low, high = ends
    return f"{value:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else "")


def told(rows: pd.DataFrame, found: dict) -> None:
    """The issue's table, from metrics.json; ceilings and paired differences, from the test rows."""
    best = figures(rows, HIGH)
    boot = EntityBootstrap(rows["entity"].to_numpy(), DRAWS)
    for days in HORIZONS:
        target = f"churn_{days}d"
        entry = found["targets"][target]
        top, chosen = best.loc[days], entry["chosen"]
        y = rows[f"{target}.label"].to_numpy(float)
        print(
            f"\n{target}: {len(rows):,} test rows of {rows['entity'].nunique():,} clients, {y.mean():.2%} leave; chosen by validation: {chosen}"
        )
        on = entry["tiers"]["high"]["on"]
        print(
            f"  {'':24}ROC-AUC [95 %]             ECE     (validation rows {entry['base_rates']['validation']['rows']:,})"
        )
        for model in (STACK, *MEMBERS, *RIVALS, "rule"):
            one = entry["models"][model]
            auc = between(one["test"]["roc_auc"], one["interval_95"]["roc_auc"])
            print(f"  {model:24}{auc:26} {one['test']['ece']:.3f}")
        print(f"  {'ceiling':24}{top['roc_auc']:.3f}")
        print(f"  probability of {HIGH} or more: {on['rows']:,} rows, precision {between(on['precision'], on['precision_interval'])} (wanted 0.75, "
              f"ceiling {top['precision']:.3f}), false-positive rate {between(on['false_positive_rate'], on['false_positive_rate_interval'])} "
              f"(wanted below 0.15, ceiling {top['false_positive_rate']:.4f}), recall {on['recall']:.3f} (ceiling {top['recall']:.3f})")  # fmt: skip
        names = {model: f"{target}.{model}.score" for model in (STACK, *MEMBERS)} | {
            chosen: f"{target}.score"
        }
        draws = {
            model: boot.binary(y, rows[column].to_numpy(float))["roc_auc"] for model, column in names.items()
        }
        for member in MEMBERS:
            gap = entry["models"][STACK]["test"]["roc_auc"] - entry["models"][member]["test"]["roc_auc"]
            low, high = interval(draws[STACK] - draws[member])
            print(f"  {STACK} - {member}: {gap:+.3f} [{low:+.3f}, {high:+.3f}]")
    for chain, one in found["coherence"].items():
        print(
            f"\nput in order, {chain}: {one['corrected_share']:.1%} of rows, by {one['mean_move']:.2%} on average"
        )


def main(clients: int, *overrides: str) -> None:
    print(machine(), f"{clients:,} clients")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = folder / "run"
        words = (f"source.world.size={clients}", f"hydra.run.dir={run}", "quiet=true", *overrides)
        seconds = toolkit("recipe=churn", *words, folder=folder)
        found = metrics(run)
        stages = ", ".join(f"{key} {value:.0f}" for key, value in found["seconds"].items())
        print(f"whole command {seconds:.0f} s, peak {peak_of_children():.1f} GB; stages: {stages}")
        (world,) = {path.parent.parent for path in folder.rglob("truth/world.json")}
        rows = truth(run, world, test_rows(run))
        told(rows, found)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3_000, *sys.argv[2:])
