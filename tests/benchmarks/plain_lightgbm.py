"""Default LightGBM recipe against a plain LightGBM script with the same parameters, rows and early stopping.

    python tests/benchmarks/plain_lightgbm.py [repeats]

Prints per table: test ROC-AUC of both, seconds of both as whole processes, the recipe's fixed start-up
(the same recipe on 300 rows of the table, less the script on them) and the ratio beyond it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from common import REAL, machine, metrics, toolkit

SCRIPT = """
import sys, json, lightgbm as lgb, pandas as pd
from sklearn.metrics import roc_auc_score
path, key, label, positive, parts, parameters, out = sys.argv[1:]
table = pd.read_csv(path, dtype={key: str}, skipinitialspace=True).set_index(key)
table = table.apply(lambda c: c if c.name == label or c.dtype.kind in "if" else pd.to_numeric(c, errors="coerce")
                    if pd.to_numeric(c, errors="coerce").notna().mean() > 0.9 else c)
part = pd.read_csv(parts, dtype=str).set_index("entity")["part"]
y = (table.pop(label) == positive).astype(float)
X = table.apply(lambda c: c if c.dtype.kind in "if" else c.astype("category"))
rows = {name: part.index[part == name] for name in ("train", "validation", "test")}
settings = json.loads(parameters)
data = {name: lgb.Dataset(X.loc[rows[name]], y.loc[rows[name]]) for name in ("train", "validation")}
rounds, stop = settings.pop("num_iterations"), settings.pop("early_stopping_rounds")
model = lgb.train(settings, data["train"], rounds, valid_sets=[data["validation"]], callbacks=[lgb.early_stopping(stop, verbose=False)])
auc = roc_auc_score(y.loc[rows["test"]], model.predict(X.loc[rows["test"]]))
open(out, "w").write(json.dumps({"auc": auc, "rounds": model.best_iteration}))
"""


def tables(folder: Path) -> list[tuple[str, Path, str, str, str]]:
    """name, file, key, label, positive value. Adult gets a key, since its file has none."""
    adult = folder / "adult" / "adult.csv"
    adult.parent.mkdir()
    parts = [pd.read_csv(REAL / "adult" / name, skipinitialspace=True) for name in ("adult.data",)]
    whole = pd.concat(parts, ignore_index=True)
    whole.insert(0, "id", [f"a{number}" for number in range(len(whole))])
    whole.to_csv(adult, index=False)
    bank = folder / "bank" / "bank.csv"
    bank.parent.mkdir()
    pd.read_csv(REAL / "bank_marketing" / "bank_market.csv").drop(columns="duration").to_csv(
        bank, index=False
    )
    telco = REAL / "telco_churn" / "telco_churn.csv"
    return [("adult", adult, "id", "classification", ">50K"), ("telco_churn", telco, "customerID", "Churn", "Yes"),
            ("bank_marketing without duration", bank, "Cust_num", "y", "yes")]  # fmt: skip


def recipe(path: Path, key: str, label: str, positive: str, folder: Path, run: Path) -> float:
    return toolkit(
        "recipe=flat_churn", f"source.path={path}", f"vars.file={path.name}", f"vars.key={key}", f"vars.label={label}",
        f"'vars.positive=\"{positive}\"'".strip("'"), f"hydra.run.dir={run}", f"cache={run}.cache", "quiet=true", folder=folder,
    )  # fmt: skip


def script(
    path: Path, key: str, label: str, positive: str, run: Path, parameters: str, folder: Path
) -> tuple[float, dict]:
    import json

    out = folder / "script.json"
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", SCRIPT, path, key, label, positive, f"{run}.parts.csv", parameters, out], check=True,
                   capture_output=True)  # fmt: skip
    return time.perf_counter() - begun, json.loads(out.read_text())


def assignment(path: Path, key: str, run: Path) -> None:
    """Write which row was in which part, so that the script uses the same."""
    predictions = pd.read_parquet(run / "predictions.parquet", columns=["entity", "part"])
    keys = pd.read_csv(path, dtype={key: str})[key]
    parts = pd.Series("train", index=keys)
    parts[predictions["entity"]] = predictions["part"].to_numpy()
    parts.rename_axis("entity").rename("part").to_csv(f"{run}.parts.csv")


def main(repeats: int) -> None:
    import json

    from toolkit.models.interface import Task
    from toolkit.registry import models

    config = models.get("lightgbm").config(kind="lightgbm")
    settings = config.parameters(Task("y", "binary"), seed=0, threads=0)
    settings |= {
        "num_iterations": config.num_iterations,
        "early_stopping_rounds": config.early_stopping_rounds,
    }
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, path, key, label, positive in tables(folder):
            small = folder / f"small-{title.split()[0]}" / path.name
            small.parent.mkdir()
            pd.read_csv(path, dtype=str, keep_default_na=False).head(300).to_csv(small, index=False)
            ours, theirs, start, start_script = [], [], [], []
            for number in range(repeats):
                run = folder / f"{title.split()[0]}-{number}"
                ours.append(recipe(path, key, label, positive, folder, run))
                assignment(path, key, run)
                seconds, rival = script(path, key, label, positive, run, json.dumps(settings), folder)
                theirs.append(seconds)
                tiny = folder / f"{title.split()[0]}-tiny-{number}"
                start.append(recipe(small, key, label, positive, folder, tiny))
                assignment(small, key, tiny)
                start_script.append(
                    script(small, key, label, positive, tiny, json.dumps(settings), folder)[0]
                )
            auc = metrics(run)["targets"]["label"]["models"]["lightgbm"]["test"]["roc_auc"]
            t, s = statistics.median(ours), statistics.median(theirs)
            fixed = statistics.median(start) - statistics.median(start_script)
            print(f"{title}: AUC {auc:.4f}, script {rival['auc']:.4f} ({auc - rival['auc']:+.4f}); {t:.1f} s, script {s:.1f} s; "
                  f"fixed start-up {fixed:.1f} s; ratio beyond it {(t - fixed) / s:.2f}")  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
