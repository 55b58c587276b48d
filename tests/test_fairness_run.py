"""Fairness in a run: what models see, what is written, which gates fail it, and how its bundle decides."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import Work
from pydantic import ValidationError
from small import LIGHTGBM, Experiment, clean, dated, experiment, flat, people, real

from toolkit.errors import ConfigError, DataError, LeakError
from toolkit.evaluation.fairness import Comparison
from toolkit.proof.scramble import scramble_rows
from toolkit.training.fairness import Judged, failed_gates
from toolkit.training.split import TEST

SEX = {"attributes": {"sex": {"column": "sex"}}}
GATE = {"attribute": "sex", "measure": "demographic_parity_ratio", "at_least": 0.8}
EQUAL = {"attribute": "sex", "constraint": "demographic_parity"}


def unequal(rows: int = 3_000, seed: int = 0) -> pd.DataFrame:
    """A table where men say yes, and are selected, far more often than women; `title` gives sex away."""
    rng = np.random.default_rng(seed)
    frame = clean(rows, seed)
    woman = rng.random(rows) < 0.4
    frame["sex"] = np.where(woman, "F", "M")
    frame["wage"] = np.round(rng.normal(0, 1, rows) - 1.2 * woman, 3)
    risk = 0.04 * (frame["age"] - 50) + 1.0 * frame["wage"]
    frame["y"] = np.where(rng.random(rows) < 1 / (1 + np.exp(-risk)), "yes", "no")
    return frame


def judged(
    folder: Path, frame: pd.DataFrame, fairness: dict[str, Any], **parts: Any
) -> tuple[Experiment, Any]:
    found = experiment(flat(folder, frame, fairness=fairness, **parts))
    return found, found.run()


def only(outcome: Any) -> tuple[Judged, Comparison]:
    return outcome.fairness["y"], outcome.fairness["y"].comparisons[0]


class TestProtectedColumns:
    def test_are_no_features_unless_declared_so(self, tmp_path: Path) -> None:
        frame = unequal(600)
        for name, fairness, seen in (
            ("control", {}, True), ("shielded", SEX, False),
            ("declared", {"attributes": {"sex": {"column": "sex", "as_feature": True}}}, True),
        ):  # fmt: skip
            found = experiment(flat(tmp_path / name, frame, fairness=fairness))
            columns = [feature.name for feature in found.prepared.matrix.features]
            assert ("all.sex" in columns) == seen, name
            assert ("all.sex" in found.prepared.matrix.columns) == seen, name
        told = experiment(flat(tmp_path / "shielded", frame, fairness=SEX)).prepared.found
        assert told == ["protected attribute `sex`: `rows.sex` is no feature"]

    def test_nor_is_anything_derived_from_them(self, tmp_path: Path) -> None:
        derived = {"read": "rows.csv", "key": "id", "known": "always", "infer": True,
                   "derive": {"woman": "CASE WHEN sex = 'F' THEN 1 ELSE 0 END"}}  # fmt: skip
        dataset = {"entity": "rows", "tables": {"rows": derived}}
        found = experiment(flat(tmp_path, unequal(600), dataset=dataset, fairness=SEX)).prepared
        assert not {"all.sex", "all.woman"} & {feature.name for feature in found.matrix.features}
        assert found.found == ["protected attribute `sex`: `rows.sex`, `rows.woman` are no features"]
        named = {"all": {"kind": "attributes", "table": "rows", "columns": ["age", "woman"]}}
        with pytest.raises(
            LeakError, match=r"`all.woman` is made of `rows.sex`, the protected attribute `sex`"
        ) as caught:
            experiment(flat(tmp_path, unequal(600), dataset=dataset, features=named, fairness=SEX))
        assert "fairness.attributes.sex.as_feature: true" in str(caught.value)

    def test_may_not_be_made_of_a_label(self, tmp_path: Path) -> None:
        with pytest.raises(LeakError, match=r"made of `rows\.y`, which target `y` derives from"):
            experiment(flat(tmp_path, unequal(600), fairness={"attributes": {"y": {"column": "y"}}}))

    def test_numbers_need_bins_and_texts_may_be_put_together(self, tmp_path: Path) -> None:
        frame = unequal(600)
        with pytest.raises(DataError, match=r"`income` has \d+ values.*at most 50 groups"):
            experiment(flat(tmp_path, frame, fairness={"attributes": {"pay": {"column": "income"}}}))
        with pytest.raises(ConfigError, match="`town` is text, and `bins` are the edges of numbers"):
            experiment(flat(tmp_path, frame, fairness={"attributes": {"t": {"column": "town", "bins": [1]}}}))
        fairness = {"attributes": {
            "age": {"column": "age", "bins": [30, 60]},
            "south": {"column": "town", "values": {"Rome": "south", "Lyon": "south"}},
        }}  # fmt: skip
        fairness["attributes"]["pay"] = {"feature": "all.income", "as_feature": True, "bins": [20_000]}
        groups = experiment(flat(tmp_path, frame, fairness=fairness)).prepared.matrix.protected
        assert list(groups["pay"].categories) == ["under 20000", "20000 or more"]
        assert list(groups["age"].categories) == ["under 30", "30 to under 60", "60 or more"]
        assert list(groups["south"].categories) == ["Bonn", "Oslo", "south"]
        by_id = frame.assign(id=np.random.default_rng(0).permutation(600) + 100_000).sort_values("id")
        assert groups["age"].codes.tolist() == np.digitize(by_id["age"], [30, 60]).tolist()

    def test_are_read_as_known_at_the_cutoff(self, tmp_path: Path) -> None:
        """Everybody changes to tier gold in the middle of 2021: known at the cutoff of 2022, not at those before."""
        persons, events = people(200)
        tiers = pd.concat([
            pd.DataFrame({"id": persons["id"], "day": "2019-01-01", "tier": "silver"}),
            pd.DataFrame({"id": persons["id"], "day": "2021-06-01", "tier": "gold"}),
        ])  # fmt: skip
        table = {"entity": "id", "clock": "day", "columns": {"id": "text", "day": "date", "tier": "text"}}
        fairness = {"attributes": {"tier": {"table": "tiers", "column": "tier"}}}
        matrix = experiment(
            dated(tmp_path, persons, events, {"tiers": (tiers, table)}, fairness=fairness)
        ).prepared.matrix
        late = matrix.cutoff >= np.datetime64("2022-01-01")
        assert late.any()
        assert (np.asarray(matrix.protected["tier"]) == np.where(late, "gold", "silver")).all()

    def test_that_are_not_there_are_told_by_the_nearest_name(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="has no column `sexx`") as caught:
            experiment(flat(tmp_path, unequal(600), fairness={"attributes": {"sex": {"column": "sexx"}}}))
        assert "did you mean `sex`?" in str(caught.value)
        wrong = {"attributes": {"sex": {"column": "sex", "reference": "N"}}}
        with pytest.raises(ConfigError, match="no group of `sex` is called `N`"):
            experiment(flat(tmp_path, unequal(600), fairness=wrong))
        wrong = {"attributes": {"sex": {"feature": "all.sx", "as_feature": True}}}
        with pytest.raises(ConfigError, match=r"no feature of this recipe is called `all\.sx`"):
            experiment(flat(tmp_path, unequal(600), fairness=wrong))


class TestFigures:
    def test_are_of_the_decisions_of_the_run(self, tmp_path: Path) -> None:
        from fairlearn.metrics import demographic_parity_ratio, equalized_odds_difference

        for number, threshold in enumerate(
            ({"kind": "maximise_f1"}, {"kind": "fill_capacity", "fraction": 0.2})
        ):
            found, outcome = judged(
                tmp_path / str(number), unequal(), SEX, threshold=threshold, evaluation={"bootstrap": 100}
            )
            _, comparison = only(outcome)
            test = outcome.rows[outcome.n_valid :]
            decision = outcome.scores[(outcome.chosen("y").model, "y")].decision[outcome.n_valid :]
            sex, y = np.asarray(found.prepared.matrix.protected["sex"])[test], outcome.y[outcome.n_valid :, 0]
            assert comparison.of("demographic_parity_ratio").value == demographic_parity_ratio(
                y, decision, sensitive_features=sex
            )
            assert comparison.of("equalized_odds_difference").value == equalized_odds_difference(
                y, decision, sensitive_features=sex
            )
            low, high = comparison.of("demographic_parity_ratio").interval
            assert low < comparison.of("demographic_parity_ratio").value < high < 0.8  # the planted gap
            assert outcome.test_reads == 1

    def test_test_labels_move_figures_and_nothing_else(self, tmp_path: Path) -> None:
        fairness = SEX | {"mitigation": {"attribute": "sex", "constraint": "equal_opportunity"}}
        found, before = judged(tmp_path, unequal(), fairness)
        test = found.prepared.assignments[-1].rows(TEST)
        matrix = found.prepared.matrix
        told = matrix.values["y"].copy()
        told[test] = np.random.default_rng(0).permutation(told[test])
        after = found.run(matrix=type(matrix)(**{**matrix.__dict__, "values": {"y": told}}))
        one, other = (
            outcome.scores[(outcome.chosen("y").model, "y")].decision for outcome in (before, after)
        )
        assert (one == other).all()
        assert before.chosen("y").by_group == after.chosen("y").by_group
        assert only(before)[1] != only(after)[1]
        scrambled = found.run(matrix=scramble_rows(matrix, test, np.random.default_rng(0)))  # groups, too
        assert scrambled.chosen("y").by_group == before.chosen("y").by_group

    def test_of_a_number_there_are_none(self, tmp_path: Path) -> None:
        target = {"income": {"kind": "column", "column": "income", "type": "regression"}}
        model = {"lightgbm": LIGHTGBM["lightgbm"]}
        outcome = experiment(flat(tmp_path, unequal(600), fairness=SEX, target=target, model=model)).run()
        assert "regression target: no threshold" in outcome.fairness["income"].not_applicable
        for asked in ({"gates": [GATE]}, {"mitigation": EQUAL}):
            with pytest.raises(ValidationError, match="no target of this recipe is yes or no"):
                flat(tmp_path, unequal(600), fairness=SEX | asked, target=target, model=model)
        both = target | {"y": {"kind": "column", "column": "y", "positive": "yes"}}
        wrong = SEX | {"gates": [GATE | {"targets": ["income"]}]}
        with pytest.raises(ValidationError, match="`income` is no yes-or-no target"):
            flat(tmp_path, unequal(600), fairness=wrong, target=both)


class TestGates:
    @pytest.mark.parametrize(("bound", "state"), [(0.01, "passed"), (0.8, "failed")])
    def test_are_judged_by_the_point_estimate(self, tmp_path: Path, bound: float, state: str) -> None:
        gates = [GATE | {"at_least": bound, "on_failure": "fail"}, GATE | {"at_least": bound}]
        _, outcome = judged(tmp_path, unequal(1_500), SEX | {"gates": gates})
        found, comparison = only(outcome)
        assert [gate.state for gate in found.gates] == [state, state]
        assert found.gates[0].value == comparison.of("demographic_parity_ratio").value
        assert len(failed_gates(outcome)) == (state == "failed")  # the other one only warns

    def test_that_cannot_be_judged_have_not_passed(self, tmp_path: Path) -> None:
        frame = unequal(1_500)
        frame.loc[frame.index % 10 < 7, "sex"] = None
        run, outcome = judged(tmp_path, frame, SEX | {"gates": [GATE | {"on_failure": "fail"}]})
        found, comparison = only(outcome)
        assert found.gates[0].state == "not judged"
        assert "`sex` is unknown for" in found.gates[0].why
        assert len(failed_gates(outcome)) == 1
        assert comparison.groups[-1].name == "unknown"
        assert any("`sex` is unknown for 70.0% of all rows" in line for line in run.prepared.found)


class TestMitigation:
    @pytest.mark.parametrize(
        ("constraint", "measure"),
        [("demographic_parity", "demographic_parity_difference"), ("equal_opportunity", "equal_opportunity_difference")],
    )  # fmt: skip
    def test_narrows_the_gap_and_shows_its_cost(self, tmp_path: Path, constraint: str, measure: str) -> None:
        fairness = SEX | {"mitigation": {"attribute": "sex", "constraint": constraint}}
        _, plain = judged(tmp_path, unequal(6_000), SEX)
        _, outcome = judged(tmp_path, unequal(6_000), fairness)
        found, after = only(outcome)
        assert found.mitigated is not None
        assert found.mitigated.before == only(plain)[1]  # the same model with one threshold
        gap = after.of(measure).value
        assert gap < 0.4 * found.mitigated.before.of(measure).value
        assert gap < 0.08
        cost = found.mitigated.cost
        assert cost["f1"][0] == plain.chosen("y").test["f1"]
        assert cost["f1"][1] == outcome.chosen("y").test["f1"] < cost["f1"][0]
        assert outcome.chosen("y").validation["roc_auc"] == plain.chosen("y").validation["roc_auc"]
        assert outcome.chosen("y").test["roc_auc"] == plain.chosen("y").test["roc_auc"]

    def test_validation_rows_are_decided_by_thresholds_that_have_not_seen_them(self, tmp_path: Path) -> None:
        found, outcome = judged(tmp_path, unequal(), SEX | {"mitigation": EQUAL})
        chosen, n = outcome.chosen("y"), outcome.n_valid
        scores = outcome.scores[(chosen.model, "y")]
        sex = np.asarray(found.prepared.matrix.protected["sex"])[outcome.rows]
        cut = np.array([chosen.by_group.values[name] for name in sex])
        assert (scores.decision[n:] == (scores.score[n:] >= cut[n:])).all()
        differ = (scores.decision[:n] != (scores.score[:n] >= cut[:n])).sum()
        assert 0 < differ < 0.1 * n

    def test_costs_what_it_costs_and_not_what_nesting_the_decisions_brings(self, tmp_path: Path) -> None:
        """The wider target's decisions take in the narrower one's, with one threshold for all as with several."""
        frame = unequal(3_000)
        later = np.random.default_rng(1).random(len(frame)) < 0.15
        frame["w"] = np.where((frame["y"] == "yes") | later, "yes", "no")
        target: dict[str, Any] = {n: {"kind": "column", "column": n, "positive": "yes"} for n in ("y", "w")}
        target["w"]["threshold"] = {"kind": "reach_precision", "precision": 0.9}
        nested = {"target": target, "coherent": [["y", "w"]]}
        _, plain = judged(tmp_path, frame, SEX, **nested)
        _, outcome = judged(tmp_path, frame, SEX | {"mitigation": EQUAL}, **nested)
        _, alone = judged(tmp_path, frame, SEX, **nested | {"coherent": []})
        for target in ("y", "w"):
            mitigated = outcome.fairness[target].mitigated
            assert mitigated is not None
            assert mitigated.before == plain.fairness[target].comparisons[0]
            assert mitigated.cost["f1"][0] == plain.chosen(target).test["f1"]
        assert plain.fairness["w"] != alone.fairness["w"]  # nesting does change something

    def test_is_refused_where_there_are_not_two_groups(self, tmp_path: Path) -> None:
        frame = unequal(1_500).assign(sex="F")
        with pytest.raises(DataError, match="fewer than two groups have 50 rows in validation"):
            judged(tmp_path, frame, SEX | {"mitigation": EQUAL})


MINE = """\
# Sex, with a gate that fails
attributes: {sex: {column: sex}}
smallest_group: 30
gates:
  - {attribute: sex, measure: demographic_parity_ratio, at_least: 0.8, on_failure: fail}
"""
FAIR = """\
# Sex, each group with its own threshold
attributes: {sex: {column: sex}}
smallest_group: 30
mitigation: {attribute: sex, constraint: demographic_parity}
"""


@pytest.fixture
def place(work: Work) -> Work:
    frame = unequal(1_500).rename(columns={"y": "label"})
    frame.insert(0, "id", np.arange(100_000, 101_500))
    work.write({
        "data/rows.csv": frame.to_csv(index=False), "conf/fairness/mine.yaml": MINE, "conf/fairness/fair.yaml": FAIR,
        "new/rows.csv": frame.drop(columns="label").to_csv(index=False),
        "blind/rows.csv": frame.drop(columns=["label", "sex"]).to_csv(index=False),
    })  # fmt: skip
    return work


QUICK = ("recipe=flat", "report.explain=false", "engine.threads=1")


class TestTheCommandLine:
    def test_a_run_that_fails_a_gate_is_whole_says_so_and_its_bundle_is_not_used_silently(
        self, place: Work
    ) -> None:
        said = place.run(*QUICK, "fairness=mine", "hydra.run.dir=run", "evaluation.bootstrap=50")
        assert said.code == 3
        assert (
            "error: the run is whole, and failed its fairness gate: demographic_parity_ratio of sex >= 0.8"
            in said.err
        )
        assert "conf/fairness/mine.yaml:4" in said.err
        assert "GATE FAILED: demographic_parity_ratio of sex >= 0.8 on label: 0." in said.out
        assert "fairness label, sex: selected" in said.out
        run = place.folder / "run"
        metrics = json.loads((run / "metrics.json").read_text())
        assert len(metrics["failed_gates"]) == 1
        assert metrics["targets"]["label"]["fairness"]["gates"][0]["state"] == "failed"
        page = (run / "report.html").read_text()
        assert "This run failed its fairness gate" in page
        assert "Who is acted on, by protected group" in page
        assert 'download="fairness.csv"' in page
        assert "GATE FAILED" in (run / "summary.md").read_text()
        lines = list(csv.DictReader((run / "fairness.csv").open()))
        assert {line["figure"] for line in lines if line["group"] == "F"} >= {
            "selection_rate",
            "true_positive_rate",
        }
        assert any(line["figure"].startswith("gate ") and line["note"] == "failed" for line in lines)

        refused = place.run("score", "run=run", "input=new", "output=scores")
        assert refused.code == 2
        assert "the run failed a fairness gate: demographic_parity_ratio of sex" in refused.err
        assert "accept_gate=true" in refused.err
        assert not (place.folder / "scores").exists()
        accepted = place.run("score", "run=run", "input=blind", "output=scores", "accept_gate=true")
        assert accepted.code == 0, (
            accepted.err
        )  # the column was there to judge by: new tables need not have it
        assert "the run failed a fairness gate, which was accepted" in accepted.out

    def test_in_a_sweep_a_gate_fails_the_whole_and_chooses_nothing(self, place: Work) -> None:
        """A gate looks at the test: if a run that failed one left the leaderboard, the test would have chosen."""
        said = place.run("-m", *QUICK, "report.html=false", "fairness=none,mine", "hydra.sweep.dir=sweep")
        assert said.code == 3
        assert "FAILED A FAIRNESS GATE" in said.out
        assert "2 of 2 jobs done" in said.out

    def test_a_bundle_with_thresholds_by_group_decides_as_the_run_did_and_needs_the_attribute(
        self, place: Work
    ) -> None:
        said = place.run(*QUICK, "fairness=fair", "hydra.run.dir=run")
        assert said.code == 0, said.err
        assert "mitigated: demographic parity by sex: F1 0." in said.out
        assert "by group of sex" in (place.folder / "run" / "summary.md").read_text()
        scored = place.run("score", "run=run", "input=new", "output=scores")
        assert scored.code == 0, scored.err
        kept = pq.read_table(place.folder / "run" / "predictions.parquet").to_pandas()
        kept = kept[kept["part"] == "test"].set_index("entity")
        new = (
            pq.read_table(place.folder / "scores" / "scores.parquet")
            .to_pandas()
            .set_index("entity")
            .loc[kept.index]
        )
        assert (kept["label.decision"] == new["label.decision"]).all()
        threshold = json.loads((place.folder / "run" / "metrics.json").read_text())
        chosen = threshold["targets"]["label"]["models"]["logistic"]
        common = kept["label.score"] >= chosen["threshold"]["value"]
        assert (kept["label.decision"] != common).any()  # one threshold would have decided otherwise
        assert set(chosen["thresholds_by_group"]["values"]) == {"F", "M"}

        refused = place.run("score", "run=run", "input=blind", "output=other")
        assert refused.code == 2
        assert "`rows.csv` has no column `sex`" in refused.err

    def test_mistakes_are_told_by_file_line_and_the_nearest_name(self, place: Work) -> None:
        place.write({"conf/fairness/mine.yaml": MINE.replace("column: sex", "column: sx")})
        message = place.refused(*QUICK, "fairness=mine")
        assert "table `rows` has no column `sx`" in message
        assert "conf/fairness/mine.yaml:2 (fairness.attributes.sex.column)" in message
        assert "did you mean `sex`?" in message
        place.write({"conf/fairness/mine.yaml": MINE.replace("attribute: sex", "attribute: race")})
        message = place.refused(*QUICK, "fairness=mine")
        assert "no protected attribute is called `race`" in message
        assert "conf/fairness/mine.yaml:" in message

    def test_nothing_is_said_or_written_where_nothing_is_declared(self, place: Work) -> None:
        assert place.run(*QUICK, "hydra.run.dir=run", "report.html=false").code == 0
        run = place.folder / "run"
        assert not (run / "fairness.csv").exists()
        assert json.loads((run / "metrics.json").read_text())["targets"]["label"]["fairness"] is None
        assert "fairness" not in (run / "summary.md").read_text()


def test_the_known_gap_of_adult_is_shown(tmp_path: Path) -> None:
    """30.6 % of the men and 10.9 % of the women of adult.data earn more than 50K, and models widen what they find."""
    frame = pd.read_csv(real("adult") / "adult.data", skipinitialspace=True)
    frame = frame.rename(columns={"classification": "y"})
    frame["y"] = np.where(frame["y"] == ">50K", "yes", "no")
    fairness = {
        "attributes": {"sex": {"column": "sex"}, "race": {"column": "race"}},
        "gates": [GATE, GATE | {"attribute": "race"}],
    }
    found, outcome = judged(tmp_path, frame, fairness, model=LIGHTGBM, evaluation={"bootstrap": 100})
    assert not {"all.sex", "all.race"} & {feature.name for feature in found.prepared.matrix.features}
    sex, race = outcome.fairness["y"].comparisons
    women, men = sex.groups
    assert (women.name, men.name, sex.reference) == ("Female", "Male", "Male")
    assert men.rates["base_rate"] == pytest.approx(0.306, abs=0.02)
    assert women.rates["base_rate"] == pytest.approx(0.109, abs=0.02)
    assert 0.25 < sex.of("demographic_parity_ratio").value < 0.45
    assert sex.of("demographic_parity_ratio").interval[1] < 0.5
    assert sex.of("demographic_parity_difference").interval[0] > 0.15
    groups = {group.name: group for group in race.groups}
    assert groups["Black"].rates["selection_rate"] < 0.7 * groups["White"].rates["selection_rate"]
    assert [gate.state for gate in outcome.fairness["y"].gates] == ["failed", "failed"]
