"""Small worlds for tests of honesty: recipes as plain dictionaries over tables that a test makes up.

`flat` is one table without a clock; `dated` is people with events over the years 2018 to 2022. Both
return a typed configuration whose files and cache lie in the test's folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from toolkit.config.paths import packaged
from toolkit.config.schema import Config
from toolkit.prepare import matrix as matrices
from toolkit.prepared import Prepared, prepare
from toolkit.training.experiment import Outcome, run_split
from toolkit.workplace import Workplace, workplace

LOGISTIC = {"logistic": {"kind": "logistic", "C": 1.0}}
LIGHTGBM = {
    "lightgbm": {"kind": "lightgbm", "num_iterations": 60, "learning_rate": 0.1, "early_stopping_rounds": 10}
}
FOREST = {"forest": {"kind": "random_forest", "trees": 40}}
REAL = Path(os.environ.get("TOOLKIT_REAL_DATA") or Path(__file__).parents[2] / "shared" / "data")


def real(name: str) -> Path:
    """A folder of real data, or the test is skipped."""
    if not (REAL / name).is_dir():
        pytest.skip(f"no real data at {REAL / name} (environment variable TOOLKIT_REAL_DATA)")
    return REAL / name


def config(folder: Path, **parts: Any) -> Config:
    """A configuration with what tests do not care for filled in."""
    common = {
        "name": "small", "cache": str(folder / "cache"), "source": {"kind": "folder", "path": str(folder / "data")},
        "model": LOGISTIC, "engine": {"threads": 1}, "evaluation": {"bootstrap": 0},
    }  # fmt: skip
    return Config.model_validate(common | parts)


def shipped(
    recipe: str, groups: tuple[str, ...] = ("dataset", "cohort", "target", "features")
) -> dict[str, Any]:
    """What a recipe makes its rows of, as it is declared in `conf/`."""
    conf = packaged("conf")
    chosen: dict[str, Any] = {}
    written = (conf.parent / "recipes" / f"{recipe}.yaml").read_text(encoding="utf-8")
    for line in yaml.safe_load(written)["defaults"]:
        (words, names), *_ = line.items()
        group = words.removeprefix("override /")

        def read(name: str, group: str = group) -> Any:
            return yaml.safe_load((conf / group / f"{name}.yaml").read_text(encoding="utf-8"))

        if group in groups:
            chosen[group] = {n: read(n) for n in names} if isinstance(names, list) else read(names)
    return chosen


def flat(folder: Path, frame: pd.DataFrame, **parts: Any) -> Config:
    """A recipe over one table: key `id`, label `y` (yes or no), all other columns features."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    if "id" not in frame:
        frame = frame.assign(id=np.random.default_rng(0).permutation(len(frame)) + 100_000)
    frame.to_csv(folder / "data" / "rows.csv", index=False)
    table = {"read": "rows.csv", "key": "id", "known": "always", "infer": True}
    return config(folder, **{
        "dataset": {"entity": "rows", "tables": {"rows": table}}, "cohort": {"cutoffs": None},
        "target": {"y": {"kind": "column", "column": "y", "positive": "yes"}},
        "features": {"all": {"kind": "attributes", "table": "rows"}}, "split": {"kind": "random"},
    } | parts)  # fmt: skip


def clean(rows: int = 3_000, seed: int = 0) -> pd.DataFrame:
    """A table that predicts honestly: AUC about 0.75 from several columns."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "age": rng.integers(18, 90, rows), "income": np.round(rng.lognormal(10, 1, rows)), "visits": rng.poisson(3, rows),
        "town": rng.choice(["Rome", "Oslo", "Bonn", "Lyon"], rows), "plan": rng.choice(["a", "b"], rows),
        "rate": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(0, 1, rows)),
    })  # fmt: skip
    risk = 0.04 * (frame["age"] - 50) + 0.3 * (frame["visits"] - 3) + (frame["plan"] == "a") - 1
    frame["y"] = np.where(rng.random(rows) < 1 / (1 + np.exp(-risk)), "yes", "no")
    return frame


PEOPLE = {
    "key": "id", "known": "always", "infer": True, "columns": {"id": "text"},
}  # fmt: skip
EVENTS = {
    "entity": "id",
    "clock": "day",
    "columns": {"id": "text", "day": "date", "amount": "number"},
    "observed_until": "2022-12-31",
}
HISTORY = {
    "kind": "windows", "table": "events", "windows": ["3 months", "12 months", "all"],
    "features": [{"agg": "count"}, {"agg": ["sum", "mean", "max", "std"], "column": "amount"}, {"agg": "days_since_last"},
                 {"agg": "slope", "column": "amount", "windows": ["all"]}],
}  # fmt: skip
AGAIN = {"kind": "event_within", "table": "events", "horizon": "12 months"}


def people(rows: int = 600, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """People of a town, a group and a score; events (id, day, amount) that the eager have more of, 2018 to 2022."""
    rng = np.random.default_rng(seed)
    eager = rng.gamma(1.0, 0.6, rows)
    ids = np.array([f"{number:05d}" for number in rng.permutation(rows)])
    persons = pd.DataFrame({
        "id": ids, "town": rng.choice(["Rome", "Oslo", "Bonn"], rows), "group": np.where(eager + rng.normal(0, 1, rows) > 1, "A", "B"),
        "score": np.round(eager + rng.normal(0, 1, rows), 3),
    })  # fmt: skip
    counts = 1 + rng.poisson(5 * eager)
    owner = np.repeat(np.arange(rows), counts)
    days = pd.Timestamp("2018-01-01") + pd.to_timedelta(rng.integers(0, 5 * 365, len(owner)), "D")
    amounts = np.round(rng.lognormal(3, 1, len(owner)) * (1 + eager[owner]), 2)
    events = pd.DataFrame({"id": ids[owner], "day": days.strftime("%Y-%m-%d"), "amount": amounts})
    return persons, events.sort_values("day", ignore_index=True)


def dated(
    folder: Path, persons: pd.DataFrame, events: pd.DataFrame, extra: Mapping[str, Any] | None = None, **parts: Any
) -> Config:  # fmt: skip
    """A temporal recipe: who has an event within 12 months? Cutoffs 2020, 2021 and, the test, 2022.

    extra: further tables, name → (frame, declaration).
    """
    (folder / "data").mkdir(parents=True, exist_ok=True)
    frames = {"people": (persons, PEOPLE), "events": (events, EVENTS), **(extra or {})}
    for name, (frame, _) in frames.items():
        frame.to_csv(folder / "data" / f"{name}.csv", index=False)
    return config(folder, **{
        "dataset": {"entity": "people", "tables": {name: declared for name, (_, declared) in frames.items()}},
        "cohort": {"cutoffs": ["2020-01-01", "2021-01-01", "2022-01-01"], "having": [{"table": "events"}]},
        "target": {"again": AGAIN},
        "features": {"who": {"kind": "attributes", "table": "people"}, "history": HISTORY}, "split": {"kind": "temporal"},
    } | parts)  # fmt: skip


def quiet(what: str, share: float) -> None:
    """No progress."""


@dataclass
class Experiment:
    """A prepared recipe that can be run as it is, or after a test has meddled with it."""

    config: Config
    place: Workplace
    prepared: Prepared

    def run(self, matrix: Any = None, assignment: Any = None, **update: Any) -> Outcome:
        """Fit and judge the newest split. update: parts of the configuration to replace."""
        prepared = self.prepared
        return run_split(
            self.config.model_copy(update=update), prepared.compiled, matrix or prepared.matrix,
            assignment or prepared.assignments[-1], self.place.cache, matrices.fingerprint(prepared.compiled), quiet,
        )  # fmt: skip


def experiment(config: Config) -> Experiment:
    place = workplace(config, quiet)
    return Experiment(config, place, prepare(config, place))
