"""Recipe `churn` end to end, small: every part of what it declares leaves what it promises."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Work

from toolkit.cli.main import main

SMALL = (
    "recipe=churn", "source.world.size=240", "source.world.weeks=66", "split.test.cutoffs=1", "split.validation.cutoffs=2", "engine.threads=1", "evaluation.bootstrap=20",
    "model.random_forest_balanced.trees=15", "model.lstm.sequence.hidden=[8,4]", "model.lstm.sequence.width=4",
    "model.lstm.heads.hidden=4", "trainer.epochs=1", "model.stack_forest_lstm.folds=2", "model.lightgbm.num_iterations=30",
    "counterfactual.top=3", "counterfactual.tries=200", "report.explain=false",
)  # fmt: skip
TARGETS = ("churn_30d", "churn_60d", "churn_90d")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder."""
    folder = tmp_path_factory.mktemp("churn")
    with pytest.MonkeyPatch.context() as patch:  # in this process: half of a small run is what it imports
        patch.chdir(folder)
        assert main([*SMALL, f"hydra.run.dir={folder}/run", f"cache={folder}/cache"]) == 0
    return folder / "run"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def metrics(done: Path) -> dict[str, Any]:
    return json.loads((done / "metrics.json").read_text())


def test_the_stack_stands_beside_its_members_and_its_rivals(metrics: dict[str, Any]) -> None:
    wanted = {
        "prior",
        "rule",
        "random_forest_balanced",
        "lstm",
        "stack_forest_lstm",
        "lightgbm",
        "logistic",
        "days_since_use",
    }
    for target in TARGETS:
        assert set(metrics["targets"][target]["models"]) >= wanted


def test_probabilities_are_nested_over_horizons(done: Path) -> None:
    found = pd.read_parquet(done / "predictions.parquet")
    narrow, wide, widest = (found[f"{target}.probability"].to_numpy() for target in TARGETS)
    assert (narrow <= wide).all()
    assert (wide <= widest).all()
    assert not np.array_equal(narrow, widest)


def test_every_row_of_a_list_has_its_tier_its_reasons_and_what_it_is(done: Path) -> None:
    bounds = {"critical": 0.8, "high": 0.6, "medium": 0.3, "low": 0.0}
    lists = [path for path in done.glob("ranked_clients*.csv") if path.stem.count(".") <= 1]
    found = [row for path in lists for row in rows(path) if "tier" in row]
    assert len(found) > 100
    assert all(row["reason_1"] for row in found if int(row["rank"]) <= 5)  # where nothing speaks for it: none
    for row in found:
        (value,) = (float(cell) for name, cell in row.items() if name.startswith("P_"))
        assert row["tier"] == next(name for name, least in bounds.items() if value >= least)
        assert row["BILLING"] in ("monthly", "yearly")
        assert "region" not in (row["reason_1"] + row["reason_2"] + row["reason_3"]).lower()


def test_actions_and_what_would_help_are_written(done: Path) -> None:
    assert list(done.glob("*.actions.csv"))
    assert list(done.glob("*.counterfactuals.csv"))


def test_decisions_are_compared_between_protected_groups(metrics: dict[str, Any]) -> None:
    assert "region" in json.dumps(metrics["targets"]["churn_90d"]["fairness"])
    assert "age_group" in json.dumps(metrics["targets"]["churn_90d"]["fairness"])


def test_one_target_alone_says_what_else_has_to_go(work: Work) -> None:
    said = work.refused("show", "recipe=churn", "target=[churn_30d]")
    assert "no target is called `churn_90d`" in said
    assert work.run(
        "show", "recipe=churn", "target=[churn_30d]", "coherent=[]", "playbook=none", "counterfactual=none"
    )
