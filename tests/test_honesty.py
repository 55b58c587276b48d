"""Reported numbers are honest: noise scores 0.5, the test is read once and decides nothing, intervals tell the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from small import FOREST, LIGHTGBM, LOGISTIC, Experiment, clean, dated, experiment, flat, people, quiet

import toolkit
from toolkit import runner
from toolkit.config.schema import Config, Evaluation
from toolkit.evaluation.door import TestDoor
from toolkit.evaluation.metrics import row_log_loss
from toolkit.training import experiment as experiments
from toolkit.training.experiment import Outcome
from toolkit.training.split import TEST, VALIDATION

# --- pure noise -------------------------------------------------------------------------------------


def noise(folder: Path, seed: int) -> Outcome:
    """Labels that nothing knows, wide features, several flexible models, all that is chosen on validation."""
    rng = np.random.default_rng(seed)
    rows = 1_500
    frame = pd.DataFrame(rng.normal(size=(rows, 20)).round(3), columns=[f"x{i}" for i in range(20)])
    frame["town"] = rng.choice([f"town {i}" for i in range(60)], rows)
    frame["y"] = np.where(rng.random(rows) < 0.3, "yes", "no")
    return experiment(
        flat(folder, frame, model=LOGISTIC | LIGHTGBM | FOREST, evaluation={"bootstrap": 100}, seed=seed)
    ).run()


def assert_says_nothing(outcome: Outcome) -> None:
    """Every model's AUC is 0.5 within four standard errors of a test of 300 rows, and no finding is made."""
    for candidate in outcome.candidates:
        assert abs(candidate.test["roc_auc"] - 0.5) < 4 * 0.036, (
            candidate.model
        )  # √((P+N+1)/12PN), 90 and 210
    assert outcome.findings == []


@pytest.mark.parametrize("seed", [1, 2])
def test_on_pure_noise_every_model_scores_a_half(tmp_path: Path, seed: int) -> None:
    assert_says_nothing(noise(tmp_path, seed))


@pytest.mark.slow
def test_on_pure_noise_the_95_percent_intervals_hold_the_half_19_times_in_20(tmp_path: Path) -> None:
    outcomes = [noise(tmp_path / str(seed), seed) for seed in range(40)]
    chosen = [outcome.chosen("y") for outcome in outcomes]
    held = [c.intervals["roc_auc"][0] <= 0.5 <= c.intervals["roc_auc"][1] for c in chosen]
    assert np.mean(held) >= 0.85  # 0.95 and three standard errors of 40 draws
    assert abs(np.mean([c.test["roc_auc"] for c in chosen]) - 0.5) < 0.02
    for outcome in outcomes:
        assert_says_nothing(outcome)


# --- the test is read once --------------------------------------------------------------------------


def test_the_door_takes_the_labels_away_and_gives_them_back_once() -> None:
    y = np.arange(6, dtype=np.float32)[:, None]
    door = TestDoor(y, np.array([1, 4]))
    assert np.isnan(y[[1, 4]]).all()
    assert y[[0, 2, 3, 5], 0].tolist() == [0, 2, 3, 5]
    assert door.reads == 0
    assert door.open()[:, 0].tolist() == [1, 4]
    assert door.reads == 1
    with pytest.raises(RuntimeError, match="read already"):
        door.open()


def test_a_split_opens_the_door_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doors: list[TestDoor] = []

    class Watched(TestDoor):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            doors.append(self)

    monkeypatch.setattr(experiments, "TestDoor", Watched)
    outcome = experiment(flat(tmp_path, clean(600), model=LOGISTIC | LIGHTGBM)).run()
    assert [door.reads for door in doors] == [1] == [outcome.test_reads]


def rolling(folder: Path, **parts: Any) -> Config:
    cutoffs = ["2019-01-01", "2020-01-01", "2021-01-01", "2022-01-01"]
    of = {"table": "events", "agg": "sum", "column": "amount", "window": "horizon"}
    top = {"kind": "top_fraction", "fraction": 0.3, "of": of, "horizon": "12 months"}
    split = {"kind": "rolling", "folds": 3}
    return dated(folder, *people(), cohort={"cutoffs": cutoffs}, target={"top": top}, split=split, **parts)


def with_other_labels(made: Experiment, rows: np.ndarray, seed: int = 0) -> Any:
    """The matrix with the outcomes of some rows (a mask) dealt anew."""
    values = {}
    for name, column in made.prepared.matrix.values.items():
        changed = column.copy()
        changed[rows] = np.random.default_rng(seed).permutation(changed[rows])
        values[name] = changed
    return replace(made.prepared.matrix, values=values)


def test_with_garbage_for_test_labels_only_the_test_metrics_differ(tmp_path: Path) -> None:
    made = experiment(flat(tmp_path, clean(1_200), model=LOGISTIC | LIGHTGBM | FOREST))
    honest = made.run()
    made.place.cache.root = tmp_path / "other"  # nothing fitted before is found
    garbage = made.run(matrix=with_other_labels(made, honest.assignment.rows(TEST)))
    for a, b in zip(honest.candidates, garbage.candidates, strict=True):
        assert (a.model, a.chosen, a.validation) == (b.model, b.chosen, b.validation)
        assert (a.calibrator, a.threshold) == (b.calibrator, b.threshold)
        for part in ("score", "probability", "decision"):
            ours, theirs = (getattr(o.scores[(a.model, "y")], part) for o in (honest, garbage))
            assert np.array_equal(ours, theirs), (a.model, part)
    assert honest.findings == garbage.findings
    assert honest.encoder == garbage.encoder
    assert honest.chosen("y").test["roc_auc"] > 0.65
    assert abs(garbage.chosen("y").test["roc_auc"] - 0.5) < 0.1


def test_validation_alone_chooses_the_model(tmp_path: Path) -> None:
    """The positive control of the test above: with other validation labels another model is chosen."""
    made = experiment(flat(tmp_path, clean(1_200), model=LOGISTIC | FOREST))
    honest = made.run()
    for outcome in (
        honest,
        made.run(matrix=with_other_labels(made, honest.assignment.rows(VALIDATION), seed=2)),
    ):
        of_models = [c for c in outcome.of("y") if c.model in ("logistic", "forest")]
        best = max(of_models, key=lambda c: c.validation["roc_auc"])
        assert outcome.chosen("y") is best
        assert not any(c.chosen for c in outcome.of("y") if c is not best)


def test_a_baseline_is_never_chosen(tmp_path: Path) -> None:
    prior = {"nothing": {"kind": "prior"}}
    outcome = experiment(flat(tmp_path, clean(600), model=prior)).run()
    assert outcome.chosen("y").model == "nothing"
    rule = next(c for c in outcome.of("y") if c.model == "rule")
    assert rule.validation["roc_auc"] > outcome.chosen("y").validation["roc_auc"]


# --- validation figures are of rows that nothing was fitted on -----------------------------------------


def test_by_log_loss_an_overfitted_calibration_of_noise_is_not_chosen(tmp_path: Path) -> None:
    """Isotonic regression makes something of any noise, on the rows that it is fitted on."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(1_500, 20)).round(3), columns=[f"x{i}" for i in range(20)])
    frame["y"] = np.where(rng.random(1_500) < 0.3, "yes", "no")
    lines = LOGISTIC | FOREST | {"nothing": {"kind": "prior"}}
    judged = {"bootstrap": 0, "select_by": "log_loss"}
    config = flat(tmp_path, frame, model=lines, evaluation=judged, calibration={"method": "isotonic"})
    outcome = experiment(config).run()
    assert outcome.chosen("y").model == "nothing"
    n = outcome.n_valid
    flattered = {
        c.model: row_log_loss(outcome.y[:n, 0], c.calibrator.apply(outcome.scores[(c.model, "y")].score[:n])).mean()
        for c in outcome.of("y")
    }  # fmt: skip
    assert min(flattered, key=flattered.__getitem__) != "nothing"  # the control: on their own rows they win
    for c in outcome.of("y"):
        assert c.basis == "cross-fitted on 5 folds of entities"
        assert c.validation["log_loss"] >= flattered[c.model] - 1e-12


def test_the_state_before_calibration_is_recorded_beside_the_one_after(tmp_path: Path) -> None:
    frame = clean(6_000)
    frame = frame[(frame["y"] == "no") | (np.arange(6_000) % 5 == 0)]
    alike = {"forest": {"kind": "random_forest", "trees": 40, "class_weight": "balanced"}}
    outcome = experiment(flat(tmp_path, frame, model=alike)).run()
    chosen, n = outcome.chosen("y"), outcome.n_valid
    score = outcome.scores[("forest", "y")].score
    for part, rows, after in (
        ("validation", slice(0, n), chosen.validation),
        ("test", slice(n, None), chosen.test),
    ):
        before = chosen.uncalibrated[part]
        assert set(before) == {"log_loss", "brier", "ece"}
        assert before["brier"] == pytest.approx(((score[rows] - outcome.y[rows, 0]) ** 2).mean())
        assert before["ece"] > 2 * after["ece"]  # classes weighed alike overstate the rarer one
        assert before["log_loss"] > after["log_loss"]


def test_too_few_positives_to_cross_fit_are_judged_in_sample_and_said(tmp_path: Path) -> None:
    made = experiment(flat(tmp_path, clean(600)))
    assignment, yes = made.prepared.assignments[-1], made.prepared.matrix.values["y"] == "yes"
    one_left = np.flatnonzero(assignment.rows(VALIDATION) & yes)[1:]
    assignment.part[one_left] = -1
    chosen = made.run(assignment=assignment).chosen("y")
    assert chosen.basis == "in-sample: its 1 validation rows of one class are all in one fold"
    assert chosen.validation["f1"] == chosen.threshold.achieved["f1"]


# --- intervals --------------------------------------------------------------------------------------


def width(outcome: Outcome) -> float:
    low, high = outcome.chosen("y").intervals["roc_auc"]
    return high - low


def test_rows_of_one_entity_five_times_do_not_shrink_the_interval(tmp_path: Path) -> None:
    made = experiment(flat(tmp_path, clean(900), evaluation={"bootstrap": 200}))
    prepared = made.prepared
    five = np.repeat(np.arange(len(prepared.matrix)), 5)
    repeated = replace(
        prepared.matrix,
        entity=prepared.matrix.entity[five],
        cutoff=prepared.matrix.cutoff[five],
        columns={name: column[five] for name, column in prepared.matrix.columns.items()},
        values={name: values[five] for name, values in prepared.matrix.values.items()},
        eligible={name: mask[five] for name, mask in prepared.matrix.eligible.items()},
    )
    assignment = replace(prepared.assignments[-1], part=prepared.assignments[-1].part[five])
    once, many = made.run(), made.run(matrix=repeated, assignment=assignment)
    assert width(many) == pytest.approx(width(once), rel=0.1)
    # Control: were they other people, the interval would be √5 times narrower.
    others = replace(repeated, entity=np.array([f"{number}" for number in range(len(five))], dtype=object))
    assert width(made.run(matrix=others, assignment=assignment)) < 0.6 * width(once)


def test_groups_have_intervals_and_small_ones_are_withheld(tmp_path: Path) -> None:
    persons, events = people(900)
    persons.loc[persons.index[:40], "town"] = "Lyon"
    made = experiment(
        dated(tmp_path, persons, events, evaluation={"bootstrap": 50, "segments": ["who.town"]})
    )
    groups = {(g["by"], g["group"]): g for g in made.run().chosen("again").groups}
    assert set(groups) == {
        ("cutoff", "2022-01-01T00:00:00"),
        *(("who.town", t) for t in ("Bonn", "Lyon", "Oslo", "Rome")),
        ("entity", "seen before"),
        ("entity", "never seen in training or validation"),
    }
    lyon = groups[("who.town", "Lyon")]
    assert lyon["withheld"] == "fewer than 50 rows"
    assert set(lyon) == {"by", "group", "rows", "withheld"}
    rome = groups[("who.town", "Rome")]
    assert rome["interval"][0] < rome["roc_auc"] < rome["interval"][1]
    assert 0 < rome["mean"] < 1
    towns = [g["rows"] for (by, _), g in groups.items() if by == "who.town"]
    assert sum(towns) == groups[("cutoff", "2022-01-01T00:00:00")]["rows"]


# --- same seed, same result -------------------------------------------------------------------------

SCRIPT = """
import json, sys
from pathlib import Path
from toolkit import runner
from toolkit.config.schema import Config
config = Config.model_validate(json.loads(Path(sys.argv[1]).read_text()))
runner.run(config, Path(sys.argv[2]), {}, lambda what, share: None, [])
"""


def in_fresh_processes(config: Config, *folders: Path) -> None:
    """A whole run in a process and with a cache of its own, into each folder's `run`."""
    environment = os.environ | {"PYTHONPATH": str(Path(toolkit.__file__).parents[1])}
    running = []
    for folder in folders:
        folder.mkdir()
        own = config.model_copy(update={"cache": str(folder / "cache")})
        (folder / "config.json").write_text(json.dumps(own.model_dump(mode="json", by_alias=True)))
        words = [sys.executable, "-c", SCRIPT, str(folder / "config.json"), str(folder / "run")]
        running.append(subprocess.Popen(words, env=environment))
    assert [process.wait(timeout=120) for process in running] == [0] * len(folders)


def test_the_same_seed_gives_the_same_scores_in_a_fresh_process(tmp_path: Path) -> None:
    config = dated(
        tmp_path, *people(400), model=LOGISTIC | LIGHTGBM | FOREST, seed=7, evaluation={"bootstrap": 20}
    )
    in_fresh_processes(config, tmp_path / "first", tmp_path / "second")
    a, b = tmp_path / "first" / "run", tmp_path / "second" / "run"
    assert (a / "predictions.parquet").read_bytes() == (b / "predictions.parquet").read_bytes()
    targets = [json.loads((run / "metrics.json").read_text())["targets"] for run in (a, b)]
    for target in targets:
        for model in target["again"]["models"].values():
            del model["fit_seconds"]
    assert targets[0] == targets[1]


# --- what a run can be asked for --------------------------------------------------------------------


def run_folder(config: Config, folder: Path) -> tuple[Path, dict[str, Any]]:
    runner.run(config, folder, {}, quiet, [])
    return folder, json.loads((folder / "metrics.json").read_text())


def test_a_backtest_reports_every_fold_with_its_own_label_quantiles(tmp_path: Path) -> None:
    config = rolling(tmp_path)
    _, metrics = run_folder(config, tmp_path / "run")
    folds = {line["fold"] for line in metrics["backtest"] if line["chosen"]}
    assert folds == {"fold 1", "fold 2", "fold 3"}
    assert all(0 <= line["value"] <= 1 for line in metrics["backtest"])
    made = experiment(config)
    quantiles = []
    for assignment in made.prepared.assignments:
        outcome = made.run(assignment=assignment)
        quantiles.append(outcome.states["top"].quantiles["pooled"])
        train = made.prepared.matrix.values["top"][outcome.assignment.part == 0]
        assert (train >= quantiles[-1]).mean() == pytest.approx(0.3, abs=0.01)  # of its own training rows
    assert len(set(quantiles)) == 3


def test_coherent_targets_are_projected_on_their_order(tmp_path: Path) -> None:
    """An event within 10 months is one within 12: no row may say otherwise."""
    soon = {"kind": "event_within", "table": "events", "horizon": "10 months"}
    late = {"kind": "event_within", "table": "events", "horizon": "12 months"}
    config = dated(
        tmp_path, *people(), target={"soon": soon, "late": late}, model=FOREST, coherent=[["soon", "late"]]
    )
    made = experiment(config)
    free, outcome = made.run(coherent=[]), made.run()
    crossed = free.scores[("forest", "soon")].probability > free.scores[("forest", "late")].probability
    assert crossed.any()  # else there was nothing to correct
    narrow, wide = (outcome.scores[("forest", name)].probability for name in ("soon", "late"))
    assert (narrow <= wide).all()
    assert outcome.coherence["soon <= late"].share == pytest.approx(crossed.mean())
    n, task = outcome.n_valid, outcome.tasks[0]
    y = outcome.y[:n, 0]
    for made_so in (free, outcome):  # what is reported of validation rows is of what they are given
        brier = np.mean((made_so.scores[("forest", "soon")].probability[:n] - y) ** 2)
        (forest,) = (one for one in made_so.of(task.name) if one.model == "forest")
        assert forest.validation["brier"] == pytest.approx(brier)
    same = ~crossed
    assert np.array_equal(narrow[same], free.scores[("forest", "soon")].probability[same])


def test_rows_outside_a_targets_among_have_no_label_and_are_not_judged(tmp_path: Path) -> None:
    recent = [{"table": "events", "within": "12 months"}]
    config = dated(tmp_path, *people(900), target={
        "again": {"kind": "event_within", "table": "events", "horizon": "12 months"},
        "stays": {"kind": "event_within", "table": "events", "horizon": "12 months", "among": recent}})  # fmt: skip
    folder, metrics = run_folder(config, tmp_path / "run")
    table = pq.read_table(folder / "predictions.parquet").to_pandas()
    masked = table["stays.label"].isna()
    assert 0 < masked.sum() < len(table)
    assert not table["again.label"].isna().any()
    assert not table["stays.score"].isna().any()
    test = table["part"] == "test"
    rates = metrics["targets"]["stays"]["base_rates"]["test"]
    assert rates["rows"] == (test & ~masked).sum()
    assert rates["mean"] == pytest.approx(table.loc[test & ~masked, "stays.label"].mean())


def test_a_target_may_have_a_threshold_of_its_own(tmp_path: Path) -> None:
    event = {"kind": "event_within", "table": "events", "horizon": "12 months"}
    config = dated(tmp_path, *people(), target={"again": event, "few": event | {"threshold": {"kind": "fill_capacity", "count": 30}}},
                   threshold={"kind": "reach_precision", "precision": 0.8})  # fmt: skip
    outcome = experiment(config).run()
    kinds = {name: outcome.chosen(name).threshold.kind for name in ("again", "few")}
    assert kinds == {"again": "reach_precision", "few": "fill_capacity"}
    assert outcome.scores[("logistic", "few")].decision[outcome.n_valid :].sum() == 30


def test_a_regression_recipe_runs_to_its_end(tmp_path: Path) -> None:
    of = {"table": "events", "agg": "sum", "column": "amount", "window": "horizon"}
    target = {"amount": {"kind": "value", "of": of, "horizon": "12 months", "transform": "log1p"}}
    config = dated(
        tmp_path, *people(), target=target, model=LOGISTIC | LIGHTGBM | FOREST, evaluation={"bootstrap": 30}
    )
    folder, metrics = run_folder(config, tmp_path / "run")
    found = metrics["targets"]["amount"]
    assert found["type"] == "regression"
    chosen = found["models"][found["chosen"]]
    assert chosen["test"]["spearman"] > 0.2  # in amounts, not in their logarithms, R² hangs on a few rows
    assert chosen["interval_95"]["r2"][0] < chosen["test"]["r2"] < chosen["interval_95"]["r2"][1]
    assert "amount.score" in pq.read_schema(folder / "predictions.parquet").names
    assert (folder / "lists" / "amount.csv").exists()


def test_a_multiclass_recipe_runs_to_its_end(tmp_path: Path) -> None:
    frame = clean(1_500)
    frame["y"] = np.where(frame["y"] == "yes", np.where(frame["visits"] > 3, "often", "once"), "never")
    target = {"y": {"kind": "column", "column": "y", "type": "multiclass"}}
    config = flat(
        tmp_path,
        frame,
        target=target,
        model=LOGISTIC | LIGHTGBM,
        evaluation={"bootstrap": 30, "segments": ["all.town"]},
    )
    folder, metrics = run_folder(config, tmp_path / "run")
    found = metrics["targets"]["y"]
    assert found["classes"] == ["never", "often", "once"]
    assert found["models"][found["chosen"]]["test"]["macro_auc"] > 0.75
    table = pq.read_table(folder / "predictions.parquet").to_pandas()
    assert np.allclose(table.filter(regex=r"^y\.probability\.").sum(axis=1), 1)
    assert {group["group"] for group in found["groups"] if group["by"] == "all.town"} == {
        "Bonn",
        "Lyon",
        "Oslo",
        "Rome",
    }


def test_one_run_folder_says_how_often_the_test_was_read(tmp_path: Path) -> None:
    folder, metrics = run_folder(
        flat(tmp_path, clean(600), evaluation=Evaluation(bootstrap=0).model_dump()), tmp_path / "run"
    )
    assert metrics["test_label_reads"] == 1
    assert yaml.safe_load((folder / "config.yaml").read_text()) == {}
