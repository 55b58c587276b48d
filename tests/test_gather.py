"""What a report is told: the evidence of real small runs, and of those where something is missing."""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small import AGAIN, FOREST, LIGHTGBM, LOGISTIC, Experiment, clean, dated, experiment, flat, people

from toolkit.errors import LeakError
from toolkit.report.evidence import Evidence
from toolkit.report.explain import Explained, explain, taken
from toolkit.report.gather import gather
from toolkit.report.predictions import write_lists
from toolkit.runfolder import plain
from toolkit.training.outcome import Outcome
from toolkit.training.split import TEST, VALIDATION

ROLES = ["best", "threshold", "unexpected_no", "unexpected_yes", "low"]
COLUMN = {"kind": "column", "column": "y", "positive": "yes"}


def evidence_of(made: Experiment, outcome: Outcome) -> tuple[Evidence, dict[str, Explained]]:
    """Everything, with stand-ins for what the run has written."""
    explained = explain(made.config, made.prepared, outcome)
    facts = {"name": made.config.name, "description": "", "backtest": []}
    metrics = {"seconds": {"all": 1.0}, "nothing": math.nan}
    lists = {f"{task.name}.csv": b"rank\n" for task in outcome.tasks}
    found = gather(
        made.config, made.prepared, outcome, explained, facts=facts, metrics=metrics, resolved="seed: 0\n",
        lists=lists, environment={"python": "3", "overrides": ["a=b"]},
    )  # fmt: skip
    return found, explained


def of(config: Any, **update: Any) -> Evidence:
    made = experiment(config)
    return evidence_of(made, made.run(**update))[0]


def whole(evidence: Evidence) -> str:
    """The evidence as JSON: whatever is in it can be written down."""

    def unfold(value: Any) -> Any:
        if is_dataclass(value):
            return {field.name: unfold(getattr(value, field.name)) for field in fields(value)}
        if isinstance(value, list | tuple):
            return [unfold(item) for item in value]
        if isinstance(value, dict):
            return {str(key): unfold(item) for key, item in value.items()}
        return plain(value)

    return json.dumps(unfold(evidence), sort_keys=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Outcome, Evidence]:
    """A flat table with a signal, two models, intervals, segments; two targets, of which one is a number."""
    frame = clean(3_000)
    frame["spent"] = 3 * frame["visits"] + np.random.default_rng(0).normal(0, 2, len(frame))
    config = flat(
        tmp_path_factory.mktemp("flat"), frame, model=LOGISTIC | LIGHTGBM,
        target={"y": COLUMN, "spent": {"kind": "column", "column": "spent", "type": "regression"}},
        evaluation={"bootstrap": 100, "segments": ["all.town"], "list_size": 100},
    )  # fmt: skip
    made = experiment(config)
    outcome = made.run()
    return made, outcome, evidence_of(made, outcome)[0]


def test_the_verdict_counts_the_list_that_is_written(run: tuple[Experiment, Outcome, Evidence]) -> None:
    made, outcome, evidence = run
    target = evidence.targets[0]
    verdict, n = target.verdict, outcome.n_valid
    scores = outcome.scores[(outcome.chosen("y").model, "y")].score[n:]
    entity = made.prepared.matrix.entity[outcome.rows[n:]].astype(str)
    best = np.lexsort((entity, -scores))[:100]
    assert (verdict.size, verdict.because) == (100, "the length of the ranked list")
    assert verdict.found == outcome.y[n:, 0][best].sum()
    assert verdict.interval[0] <= verdict.found <= verdict.interval[1]
    assert verdict.at_random == pytest.approx(100 * outcome.y[n:, 0].mean())
    assert verdict.better_than_chance is True
    assert verdict.better_than_rule == (verdict.margin[1] > 0)
    assert verdict.rule.startswith("by `all.")
    assert verdict.value == outcome.chosen("y").test["roc_auc"]


def test_the_door_stays_shut(run: tuple[Experiment, Outcome, Evidence]) -> None:
    assert run[1].test_reads == 1


def test_calibration_is_that_of_the_metrics(run: tuple[Experiment, Outcome, Evidence]) -> None:
    _, outcome, evidence = run
    found, chosen = evidence.targets[0].calibration, outcome.chosen("y")
    assert {name: chosen.test[name] for name in ("brier", "ece", "log_loss")} == found.figures_after
    assert (
        sum(b.rows for b in found.after)
        == sum(b.rows for b in found.before)
        == len(outcome.rows) - outcome.n_valid
    )


def test_the_cut_is_of_validation_rows(run: tuple[Experiment, Outcome, Evidence]) -> None:
    _, outcome, evidence = run
    cut, n = evidence.targets[0].cut, outcome.n_valid
    y, score = outcome.y[:n, 0], outcome.scores[(outcome.chosen("y").model, "y")].score[:n]
    i = len(cut.thresholds) // 2
    acted = score >= cut.thresholds[i]
    assert cut.recall[i] == pytest.approx(y[acted].sum() / y.sum())
    assert cut.chosen == outcome.chosen("y").threshold.value
    scores = outcome.scores[(outcome.chosen("y").model, "y")]
    acted = scores.score[n:] >= cut.chosen
    assert (
        scores.probability[n:][~acted].max() <= cut.chosen_probability <= scores.probability[n:][acted].min()
    )


def test_drivers_are_the_columns_that_made_the_label(run: tuple[Experiment, Outcome, Evidence]) -> None:
    yes, spent = run[2].targets
    assert {d.feature for d in yes.drivers[:3]} == {"all.age", "all.visits", "all.plan"}
    assert spent.drivers[0].feature == "all.visits"
    moves = {d.feature: d.direction for d in yes.drivers}
    assert (moves["all.age"], moves["all.visits"], moves["all.plan"]) == ("rises", "rises", "levels")
    assert spent.drivers[0].interval[0] > 0
    assert all(d.clear == (d.interval[0] > 0 or d.interval[1] < 0) for d in yes.drivers)
    assert {d.levels is not None for d in yes.drivers if d.direction == "levels"} == {True}
    assert "validation rows" in yes.explained_by
    assert yes.drivers[0].text.endswith("of rows")


def test_examples_are_five_entities_with_their_values(run: tuple[Experiment, Outcome, Evidence]) -> None:
    made, _, evidence = run
    for target in evidence.targets:
        assert [example.role for example in target.examples] == ROLES
        assert len({example.entity for example in target.examples}) == 5
        assert target.examples[0].rank == 1
    matrix = made.prepared.matrix
    for example in evidence.targets[0].examples:
        row = int(np.flatnonzero(matrix.entity == example.entity)[0])
        for reason in example.reasons:
            column = matrix.columns[reason.feature]
            value = column[row]
            assert reason.value == (
                value if isinstance(value, str) else "missing" if np.isnan(value) else reason.value
            )
    wrong, right = evidence.targets[0].examples[2:4]
    assert (wrong.label, right.label) == (0, 1)
    assert wrong.score > right.score


def test_native_reasons_and_the_score_agree(run: tuple[Experiment, Outcome, Evidence]) -> None:
    """The best row is pushed up by its reasons, the low one down."""
    examples = run[2].targets[0].examples
    assert sum(reason.contribution for reason in examples[0].reasons) > 0
    assert sum(reason.contribution for reason in examples[-1].reasons) < 0


def test_a_number_has_residuals_and_no_list_of_positives(run: tuple[Experiment, Outcome, Evidence]) -> None:
    _, outcome, evidence = run
    target = evidence.targets[1]
    assert (target.deciles, target.gains, target.cut, target.calibration) == ([], None, None, None)
    assert target.residuals["counts"].sum() == len(outcome.rows) - outcome.n_valid
    assert target.verdict.better_than_chance is True
    assert target.verdict.size == 0
    assert evidence.overlap.targets == ["y", "spent"]
    assert np.isnan(evidence.overlap.both[0, 1])


def test_data_and_card_say_what_was_read(run: tuple[Experiment, Outcome, Evidence]) -> None:
    made, _, evidence = run
    data = evidence.data
    assert data.tables[0]["rows_read"] == 3_000
    assert {entry["part"]: entry["rows"] for entry in data.cohort} == {
        k: v for k, v in data.rows.items() if v
    }
    assert [one.feature for one in data.drift] != []
    rate = next(one for one in data.drift if one.feature == "all.rate")
    assert all(0.05 < share < 0.15 for share in rate.missing.values())
    assert "all.town" not in data.correlated  # levels have no order
    assert np.allclose(np.diag(data.correlation), 1)
    first = data.distributions[0]
    assert set(first.shares) == {"yes", "no"}
    assert sum(first.shares["yes"]) == pytest.approx(1)
    assert len(first.labels) == len(first.shares["no"])
    assert evidence.card["seed"] == made.config.seed
    assert "overrides" not in evidence.card["environment"]
    assert evidence.metrics["nothing"] is None
    assert evidence.targets[0].list_file == "y.csv"


def test_the_same_seed_gives_the_same_evidence(run: tuple[Experiment, Outcome, Evidence]) -> None:
    made, outcome, evidence = run
    again = evidence_of(made, outcome)[0]
    assert whole(again).replace(again.written, "") == whole(evidence).replace(evidence.written, "")


# --- kinds of runs ----------------------------------------------------------------------------------------------


def test_a_model_that_does_not_explain_itself_is_explained_by_replacement(tmp_path: Path) -> None:
    evidence = of(flat(tmp_path, clean(1_500), model=FOREST))
    target = evidence.targets[0]
    assert "replacing a value" in target.explained_by
    assert {d.feature for d in target.drivers[:3]} >= {"all.age", "all.visits"}
    assert next(d for d in target.drivers if d.feature == "all.age").direction == "rises"
    assert target.examples[0].reasons
    assert target.verdict.value_interval is None  # bootstrap: 0
    assert target.verdict.better_than_chance is None
    assert np.isnan(target.gains.low).all()


def test_pure_noise_is_no_better_than_chance(tmp_path: Path) -> None:
    said = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame(
            {"a": rng.normal(size=800), "b": rng.integers(0, 5, 800), "y": rng.choice(["yes", "no"], 800)}
        )
        evidence = of(flat(tmp_path / str(seed), frame, evaluation={"bootstrap": 200}, seed=seed))
        said += bool(evidence.targets[0].verdict.better_than_chance)
    assert said <= 1


def test_several_classes(tmp_path: Path) -> None:
    frame = clean(2_000)
    frame["y"] = np.select([frame["age"] > 70, frame["visits"] > 4], ["old", "eager"], "other")
    target = {"y": {"kind": "column", "column": "y", "type": "multiclass"}}
    found = of(flat(tmp_path, frame, target=target, model=LIGHTGBM, evaluation={"bootstrap": 50})).targets[0]
    assert found.confusion.sum() == sum(line["rows"] for line in found.per_class)
    assert {d.feature for d in found.drivers[:2]} == {"all.age", "all.visits"}
    assert sum(b.rows for b in found.calibration.after) == found.confusion.sum()
    assert found.verdict.better_than_chance is True
    assert found.verdict.test_rows == found.confusion.sum()
    assert found.verdict.rarest == found.confusion.sum(axis=1).min()
    assert {d.direction for d in found.drivers} == {""}
    assert {example.predicted for example in found.examples} <= {"old", "eager", "other"}
    assert all(example.probability >= 1 / 3 for example in found.examples)  # that of the decided class
    assert len(found.examples) >= 4
    assert found.examples[0].reasons


def test_several_test_cutoffs_one_list(tmp_path: Path) -> None:
    persons, events = people()
    config = dated(
        tmp_path, persons, events, cohort={"cutoffs": ["2019-01-01", "2020-01-01", "2021-01-01", "2022-01-01"], "having": [{"table": "events"}]},
        split={"kind": "temporal", "test": {"cutoffs": 2}}, evaluation={"bootstrap": 50, "list_size": 50, "smallest_group": 1, "segments": ["who.town"]},
    )  # fmt: skip
    made = experiment(config)
    outcome = made.run()
    evidence, _ = evidence_of(made, outcome)
    verdict = evidence.targets[0].verdict
    newest = made.prepared.matrix.cutoff[outcome.rows[outcome.n_valid :]] == np.datetime64("2022-01-01")
    assert verdict.rows == newest.sum()
    target = evidence.targets[0]
    assert target.gains.rows == verdict.rows == target.listed < len(newest) == verdict.test_rows
    assert 0 < verdict.acted <= verdict.rows
    write_lists(10_000, made.prepared.matrix, outcome, "UTC", tmp_path / "lists")
    written = pd.read_csv(tmp_path / "lists" / "again.csv", dtype={"entity": str})
    rows = outcome.rows[outcome.n_valid :][newest]
    label = pd.Series(outcome.y[outcome.n_valid :, 0][newest], made.prepared.matrix.entity[rows].astype(str))
    tenths = label[written["entity"]].groupby(written["decile"].to_numpy())
    assert [d.positives for d in target.deciles] == tenths.sum().tolist()
    assert [d.rows for d in target.deciles] == tenths.size().tolist()
    lowest = written.groupby("decile")["probability"].last()
    assert [d.lowest_probability for d in target.deciles] == pytest.approx(lowest.tolist(), abs=1e-6)
    assert {example.cutoff for example in evidence.targets[0].examples} == {"2022-01-01"}
    assert [entry["cutoff"] for entry in evidence.data.cohort if entry["part"] == "test"] == [
        "2021-01-01",
        "2022-01-01",
    ]
    assert evidence.card["dates"]["test cutoffs"] == "2021-01-01 to 2022-01-01 (2)"


def test_a_capacity_is_the_size(tmp_path: Path) -> None:
    capacity = {"kind": "fill_capacity", "count": 37}
    verdict = of(flat(tmp_path, clean(800), threshold=capacity)).targets[0].verdict
    assert (verdict.size, verdict.because, verdict.acted, verdict.covers_all) == (
        37,
        "the capacity",
        37,
        False,
    )
    roomy = {"kind": "fill_capacity", "count": 5_000}
    verdict = of(flat(tmp_path / "all", clean(800), threshold=roomy)).targets[0].verdict
    assert (verdict.size, verdict.covers_all) == (verdict.rows, True)


def test_a_list_longer_than_half_the_rows_gives_way_to_the_threshold(tmp_path: Path) -> None:
    frame = clean(800)
    few = (
        of(flat(tmp_path, frame, threshold={"kind": "reach_precision", "precision": 0.85})).targets[0].verdict
    )
    assert few.because == "the rows above the threshold"
    assert few.size <= few.rows // 2
    all_ = {"kind": "minimise_cost", "false_positive": 1.0, "false_negative": 500.0}
    tenth = of(flat(tmp_path / "all", frame, threshold=all_)).targets[0].verdict
    assert (tenth.because, tenth.size) == ("a tenth of the rows", tenth.rows // 10)


def meddled(made: Experiment, change: Any) -> Evidence:
    """The evidence of a run whose test labels are changed afterwards, and judged again."""
    from toolkit.training.judge import judge_test

    outcome = made.run()
    change(outcome)
    judge_test(made.config, outcome, made.prepared.matrix, lambda what, share: None)
    return evidence_of(made, outcome)[0]


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_in_the_test(tmp_path: Path, label: float) -> None:
    def change(outcome: Outcome) -> None:
        outcome.y[outcome.n_valid :] = label

    config = flat(
        tmp_path, clean(900), evaluation={"bootstrap": 30, "segments": ["all.town"], "smallest_group": 5}
    )
    evidence = meddled(experiment(config), change)
    target = evidence.targets[0]
    assert math.isnan(target.verdict.value)
    assert target.verdict.better_than_chance is None
    assert target.verdict.margin is None
    assert target.verdict.rarest == 0
    assert target.models[0].undefined["roc_auc"] == ("no negative row" if label else "no positive row")
    assert target.verdict.interval[0] < target.verdict.interval[1]
    assert target.verdict.found == target.verdict.size * label
    for group in target.groups:
        assert group["roc_auc"] is None
        assert group["interval"] is None
        assert group["undefined"] == ("no negative row" if label else "no positive row")
    whole(evidence)


def test_no_label_in_the_test(tmp_path: Path) -> None:
    def change(outcome: Outcome) -> None:
        outcome.y[outcome.n_valid :] = np.nan

    target = meddled(experiment(flat(tmp_path, clean(900), evaluation={"bootstrap": 30})), change).targets[0]
    assert (target.verdict, target.gains, target.calibration, target.deciles, target.examples) == (
        None,
        None,
        None,
        [],
        [],
    )
    assert target.drivers
    assert target.cut is not None


def test_no_label_in_the_newest_list(tmp_path: Path) -> None:
    """Older test rows have labels: the metric stands, and the verdict on a list does not."""
    persons, events = people()
    made = experiment(dated(
        tmp_path, persons, events, cohort={"cutoffs": ["2019-01-01", "2020-01-01", "2021-01-01", "2022-01-01"], "having": [{"table": "events"}]},
        split={"kind": "temporal", "test": {"cutoffs": 2}}, evaluation={"bootstrap": 30},
    ))  # fmt: skip

    def change(outcome: Outcome) -> None:
        newest = made.prepared.matrix.cutoff[outcome.rows] == np.datetime64("2022-01-01")
        outcome.y[newest] = np.nan

    target = meddled(made, change).targets[0]
    assert (target.verdict, target.gains, target.deciles, target.examples) == (None, None, [], [])
    assert next(line for line in target.models if line.chosen).test["roc_auc"] > 0.5
    assert target.listed > 0


def test_targets_that_apply_to_some_rows_only(tmp_path: Path) -> None:
    persons, events = people()
    again = {"kind": "event_within", "table": "events", "horizon": "12 months"}
    among = again | {"among": [{"table": "events", "within": "12 months"}]}
    config = dated(
        tmp_path, persons, events, target={"again": again, "still": among}, evaluation={"bootstrap": 30}
    )
    made = experiment(config)
    outcome = made.run()
    evidence, _ = evidence_of(made, outcome)
    able = (~np.isnan(outcome.y[outcome.n_valid :, 1])).sum()
    again_, still = evidence.targets
    assert still.gains.rows == still.verdict.rows == able < again_.gains.rows
    assert evidence.overlap.both[1, 0] == 1  # who is able and does it, does it
    assert any("applies to some rows only" in limit for limit in evidence.card["limits"])


def test_columns_that_say_nothing_and_columns_with_a_level_per_row(tmp_path: Path) -> None:
    frame = clean(1_200).assign(constant=1, empty=np.nan, code=[f"code {i}" for i in range(1_200)])
    columns = {"id": "text", "code": "text", "empty": "number"}
    table = {"read": "rows.csv", "key": "id", "known": "always", "infer": True, "columns": columns}
    config = flat(tmp_path, frame, dataset={"entity": "rows", "tables": {"rows": table}}, model=LIGHTGBM)
    evidence = of(config)
    shown = {driver.feature for target in evidence.targets for driver in target.drivers}
    assert not shown & {"all.constant", "all.empty"}
    assert not {"all.constant", "all.empty"} & set(evidence.data.correlated)
    assert next(one for one in evidence.data.drift if one.feature == "all.empty").missing["test"] == 1
    for distribution in evidence.data.distributions:
        assert len(distribution.labels) <= 10
    assert len(whole(evidence)) < 300_000


def test_taking_rows_of_a_column_with_a_million_levels_takes_its_levels_only() -> None:
    rows = 1_000_000
    codes = np.arange(rows, dtype=np.int32)
    codes[5] = -1
    column = pd.Categorical.from_codes(codes, categories=pd.Index([f"level {i}" for i in range(rows)]))
    found = taken({"x": column}, np.array([7, 5, 7, 999_999]))["x"]
    assert found.tolist() == ["level 7", np.nan, "level 7", "level 999999"]
    assert len(found.categories) == 2


def test_a_handful_of_rows(tmp_path: Path) -> None:
    """Twelve rows, of which three are tested."""
    frame = clean(12).assign(y=["yes", "no"] * 6)
    halves = {"kind": "random", "test": 0.4, "validation": 0.3}
    made = experiment(flat(tmp_path, frame, evaluation={"bootstrap": 20}, split=halves))
    part = made.prepared.assignments[-1].part
    part[:] = 0
    yes = made.prepared.matrix.values["y"] == "yes"
    part[np.flatnonzero(yes)[:2]] = part[np.flatnonzero(~yes)[:1]] = VALIDATION
    part[np.flatnonzero(yes)[2:4]] = part[np.flatnonzero(~yes)[1:2]] = TEST
    evidence, _ = evidence_of(made, made.run())
    target = evidence.targets[0]
    assert target.verdict.size == 1
    assert target.gains.rows == 3
    assert 1 <= len(target.examples) <= 3
    whole(evidence)


def test_without_a_rule_the_rest_stands(tmp_path: Path) -> None:
    made = experiment(flat(tmp_path, clean(700), evaluation={"bootstrap": 20}))
    outcome = made.run()
    outcome.candidates = [c for c in outcome.candidates if c.model not in ("rule", "prior")]
    del outcome.scores[("rule", "y")]
    for candidate in outcome.candidates:
        candidate.margin = None
    target = evidence_of(made, outcome)[0].targets[0]
    assert (target.verdict.rule, target.verdict.better_than_rule) == ("", None)
    assert len(target.gains.rule) == 0


# --- money ------------------------------------------------------------------------------------------------------

WORTH = AGAIN | {"worth": {"table": "events", "agg": "sum", "column": "amount", "window": "horizon"}}


def test_deciles_and_gains_carry_what_rows_bring_in_the_horizon(tmp_path: Path) -> None:
    persons, events = people()
    made = experiment(dated(tmp_path, persons, events, target={"again": WORTH}))
    outcome = made.run()
    target = evidence_of(made, outcome)[0].targets[0]
    assert [task.name for task in outcome.tasks] == ["again"]
    assert not any("worth" in name for name in made.prepared.matrix.columns)
    tested = set(made.prepared.matrix.entity[outcome.rows[outcome.n_valid :]])
    year = events["day"].between("2022-01-01", "2022-12-31")  # a day is known when it is over
    after = events[events["id"].isin(tested) & year]
    assert target.gains.value_total == pytest.approx(after["amount"].sum())
    assert target.gains.value[0] == 0
    assert sum(d.value for d in target.deciles) == pytest.approx(target.gains.value_total)
    assert target.deciles[-1].value_capture == pytest.approx(1)
    verdict, at = target.verdict, np.searchsorted(target.gains.called, target.verdict.size)
    assert verdict.money == target.gains.value[at]
    assert verdict.money_at_random == pytest.approx(after["amount"].sum() * verdict.size / verdict.rows)
    assert (
        verdict.money_interval is None
        or verdict.money_interval[0] < verdict.money < verdict.money_interval[1]
    )


def test_a_target_without_a_worth_carries_no_money(tmp_path: Path) -> None:
    target = of(dated(tmp_path, *people())).targets[0]
    assert target.gains.value is None
    assert target.deciles[0].value is None


def test_a_column_of_the_worth_is_refused_as_a_feature(tmp_path: Path) -> None:
    """Where a table has one row per entity, the same value lies on both sides of the cutoff."""
    persons, events = people(60)
    last = events.drop_duplicates("id", keep="last")
    columns = {"id": "text", "day": "date", "amount": "number"}
    declared = {
        "key": "id",
        "entity": "id",
        "clock": "day",
        "columns": columns,
        "observed_until": "2022-12-31",
    }
    worth = {"table": "closing", "agg": "sum", "column": "amount", "window": "horizon"}
    closing = {"kind": "windows", "table": "closing", "features": [{"agg": "max", "column": "amount"}]}
    config = dated(
        tmp_path, persons, events, {"closing": (last, declared)}, target={"again": AGAIN | {"worth": worth}},
        features={"closing": closing},
    )  # fmt: skip
    with pytest.raises(LeakError, match=r"is made of `closing\.amount`"):
        experiment(config)


def test_the_group_of_a_cutoff_is_called_by_its_day() -> None:
    """The end of a Sunday, its last microsecond, is that Sunday; any other group keeps its name."""
    from toolkit.report.gather import _dated

    late = {"by": "cutoff", "group": "2020-06-07T23:59:59", "rows": 3}
    assert _dated(late, "UTC") == late | {"group": "2020-06-07"}
    assert _dated({"by": "cutoff", "group": "2020-06-07T22:00:00"}, "Europe/Berlin")["group"] == "2020-06-08"
    assert _dated({"by": "people.town", "group": "2020"}, "UTC")["group"] == "2020"
