"""`evaluation.draw_by`: where entities of one owner resemble each other, intervals draw the owners."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from small import Experiment, experiment, flat

from toolkit.errors import ConfigError
from toolkit.evaluation.bootstrap import EntityBootstrap, interval
from toolkit.proof.scramble import some_rows
from toolkit.report.predictions import write_predictions
from toolkit.sweep.runs import Run

OWNERS, EACH = 120, 25


def orders(owners: int = OWNERS, seed: int = 0) -> pd.DataFrame:
    """Rows of owners who say much the same each time, of a trait that the rows show."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(owners), EACH)
    trait, mood = rng.normal(0, 2, (2, owners))
    yes = rng.random(len(owner)) < 1 / (1 + np.exp(-(trait + mood)[owner]))
    shown = trait[owner] + rng.normal(0, 0.5, len(owner))
    names = np.array([f"o{number:03d}" for number in owner], object)
    return pd.DataFrame({"owner": names, "shown": shown.round(4), "y": np.where(yes, "yes", "no")})


def asked(folder: Path, frame: pd.DataFrame, by: str | None) -> Experiment:
    return experiment(flat(
        folder, frame, evaluation={"bootstrap": 400, "draw_by": by},
        features={"all": {"kind": "attributes", "table": "rows", "columns": ["shown"]}},
    ))  # fmt: skip


def auc(made: Experiment) -> tuple[float, tuple[float, float]]:
    (found,) = (one for one in made.run().of("y") if one.model == "logistic")
    return found.test["roc_auc"], found.intervals["roc_auc"]


def test_owners_are_drawn_and_intervals_are_as_wide_as_that_makes_them(tmp_path: Path) -> None:
    frame = orders()
    alone, by = (asked(tmp_path / name, frame, column) for name, column in (("a", None), ("b", "owner")))
    (value, (low, high)), (same, (least, most)) = auc(alone), auc(by)
    assert same == value
    assert most - least > 1.8 * (high - low)
    outcome = by.run()
    rows, scores = outcome.rows[outcome.n_valid :], outcome.scores["logistic", "y"].score[outcome.n_valid :]
    owner = dict(zip(pd.read_csv(tmp_path / "b/data/rows.csv", dtype=str)["id"], frame["owner"], strict=True))
    owners = np.array([f"={owner[key]}" for key in by.prepared.matrix.entity[rows]])
    boot = EntityBootstrap(owners, 400, by.config.seed)
    assert interval(boot.binary(outcome.y[outcome.n_valid :, 0], scores)["roc_auc"]) == (least, most)


def test_they_hold_the_truth_as_often_as_they_say(tmp_path: Path) -> None:
    """By hand, on 100 worlds: intervals by row hold it far too seldom."""
    large = orders(4_000, seed=1)

    def ends(frame: pd.DataFrame, by: object) -> tuple[float, float]:
        boot = EntityBootstrap(by, 100, 0)  # type: ignore[arg-type]
        return interval(boot.binary(frame["y"] == "yes", frame["shown"].to_numpy())["roc_auc"])

    truth = EntityBootstrap(np.zeros(len(large)), 1).binary(large["y"] == "yes", large["shown"].to_numpy())
    held = {"owner": 0, "row": 0}
    for seed in range(100):
        frame = orders(60, seed=seed + 2)
        for name, by in (("owner", frame["owner"]), ("row", np.arange(len(frame)))):
            low, high = ends(frame, by)
            held[name] += low <= truth["roc_auc"][0] <= high
    assert held["owner"] >= 89
    assert held["row"] <= 65


def test_who_has_no_owner_is_drawn_alone_and_sweeps_draw_alike(tmp_path: Path) -> None:
    frame = orders(40)
    frame.loc[:9, "owner"] = None
    made = asked(tmp_path, frame, "owner")
    matrix = made.prepared.matrix
    none = ~np.char.startswith(matrix.drawn.astype(str), "=")
    assert none.sum() == 10
    assert list(matrix.drawn[none]) == list(matrix.entity[none])
    some = np.arange(7, 20)
    assert list(some_rows(matrix, some).drawn) == list(matrix.drawn[some])
    write_predictions(matrix, made.run(), tmp_path / "predictions.parquet")
    assert "drawn_by" in pq.read_schema(tmp_path / "predictions.parquet").names
    entry = {"type": "binary", "classes": []}
    run = Run(tmp_path, {"targets": {"y": entry}}, {"evaluation": {"draw_by": "owner"}})
    scored = run.scored("y", "test")
    assert set(scored.drawn) <= set(matrix.drawn)
    assert len(set(scored.drawn)) < 0.5 * len(scored.y)
    assert len(scored.take(np.arange(3)).drawn) == 3


def test_a_column_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`evaluation\.draw_by` names `onwer`") as found:
        asked(tmp_path, orders(20), "onwer")
    assert "owner" in str(found.value)
