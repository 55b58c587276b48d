"""Stacks that a modeler can trust: memory earns nothing, members of all modalities, one that fails, what they are worth."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import Work
from small import FOREST, LIGHTGBM, LOGISTIC, clean, dated, experiment, flat, people, quiet

from toolkit.config.paths import packaged
from toolkit.config.schema import Config
from toolkit.errors import UnfitError
from toolkit.models import Task
from toolkit.models.combine import MetaLearner
from toolkit.models.ensemble import Combined
from toolkit.models.one_by_one import OneByOne, Rows
from toolkit.proof import all_proofs
from toolkit.registry import Component, models
from toolkit.report import record, summary
from toolkit.report.members import against_members
from toolkit.training.experiment import encoded, label_all
from toolkit.tuning.settings import Optuna

YES = Task("y", "binary")
STACK = {"stack": {"kind": "stack"}}


# --- models that only a test would register -----------------------------------------------------------


@dataclass
class Known:
    """Rows by their bytes, and their labels."""

    labels: dict[bytes, float]
    iterations: int | None = None
    notes: list[str] = field(default_factory=list)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.array([self.labels.get(row.tobytes(), 0.5) for row in X])

    def importance(self) -> None:
        return None

    def save(self, folder: Path) -> None:
        facts = {row.hex(): label for row, label in self.labels.items()}
        (folder / "known.json").write_text(json.dumps(facts))


class Memory(OneByOne):
    """Gives the label of a row that it has seen, and of any other 0.5."""

    kind: Literal["memory"] = "memory"

    def fit_one(self, task: Task, columns: Any, train: Rows, valid: Rows, **options: Any) -> Known:
        return Known({row.tobytes(): float(label) for row, label in zip(train.X, train.y, strict=True)})

    def load_one(self, folder: Path, task: Task, iterations: int | None, notes: list[str]) -> Known:
        facts = json.loads((folder / "known.json").read_text())
        return Known({bytes.fromhex(row): label for row, label in facts.items()}, iterations, notes)


class Failing(OneByOne):
    """Cannot be fitted on fewer rows than it wants, or on a target that it does not like."""

    kind: Literal["failing"] = "failing"
    rows: int = 0
    target: str = ""
    bug: bool = False

    def fit_one(self, task: Task, columns: Any, train: Rows, valid: Rows, **options: Any) -> Known:
        if task.name == self.target or len(train) < self.rows:
            if self.bug:
                raise KeyError("no such thing")
            raise RuntimeError("out of memory\nand more of it")
        return Known({})

    def load_one(self, folder: Path, task: Task, iterations: int | None, notes: list[str]) -> Known:
        return Known({}, iterations, notes)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    for one in (Memory, Failing):
        models.add(Component(one.model_fields["kind"].default, one, build=lambda made: made))
    yield
    for name in ("memory", "failing"):
        del models.components[name]


def of(made: Config, lines: dict[str, Any]) -> Config:
    """The recipe with models that its schema does not know."""
    declared = {name: models.get(line["kind"]).config.model_validate(line) for name, line in lines.items()}
    return made.model_copy(update={"model": declared})


# --- memory earns nothing -------------------------------------------------------------------------------

WEEKS = {"cutoffs": [str(day.date()) for day in pd.date_range("2020-01-06", periods=40, freq="7D")]}
SOON = {"soon": {"kind": "event_within", "table": "events", "horizon": "28 days"}}


@pytest.mark.parametrize("split", ["entities", "weekly cutoffs"])
def test_members_that_know_their_training_rows_by_heart_count_for_nothing(tmp_path: Path, split: str) -> None:
    lines = {"logistic": {"kind": "logistic"}, "memory": {"kind": "memory"}} | STACK
    if split == "entities":
        made = experiment(of(flat(tmp_path, clean(1_500)), lines))
    else:
        cohort = WEEKS | {"having": [{"table": "events"}]}
        made = experiment(of(dated(tmp_path, *people(200), cohort=cohort, target=SOON), lines))
    outcome = made.run()
    (task,) = outcome.tasks
    stack: Combined = outcome.fitted["stack"]  # type: ignore[assignment]
    (learner,) = stack.combiners
    assert learner.shares[1] < 0.02

    train = np.flatnonzero(outcome.assignment.rows(0))
    X = encoded(outcome.encoder, made.prepared.matrix, train)[0]
    test = {c.model: c.test["log_loss"] for c in outcome.of(task.name)}
    assert test["stack"] == pytest.approx(test["logistic"], abs=0.02)

    # The control: a learner that is fed with what members say of the rows that they were fitted on is fooled.
    labels = label_all(made.prepared.compiled, made.prepared.matrix, outcome.assignment.rows(0))[1]
    y = labels[train, 0]
    has = ~np.isnan(y)
    said = [member.fitted.predict(X[has])[0] for member in stack.members]
    assert np.mean((said[1] > 0.5) == y[has]) > 0.95
    fooled = MetaLearner.fit(task, said, y[has], 1.0)
    assert fooled.shares[1] > 0.8


def test_many_close_cutoffs_cost_few_fits_and_teach_from_most_rows(tmp_path: Path) -> None:
    cohort = WEEKS | {"having": [{"table": "events"}]}
    made = experiment(
        dated(tmp_path, *people(200), cohort=cohort, target=SOON, model=LOGISTIC | FOREST | STACK)
    )
    outcome = made.run()
    fits = [name for name in made.place.cache.built if ", fold " in name]
    assert len(fits) == 5 * 2
    (note,) = next(c.notes for c in outcome.of("soon") if c.model == "stack")
    found = re.search(
        r"learnt from ([\d,]+) of ([\d,]+) training rows, those of the (\d+) latest cutoffs in 5 blocks", note
    )
    assert found, note
    learnt, whole, cutoffs = (int(text.replace(",", "")) for text in found.groups())
    assert cutoffs >= 25
    assert learnt > 0.7 * whole


# --- across modalities ------------------------------------------------------------------------------------

VISITS = {
    "entity": "id", "clock": "day", "observed_until": "2022-12-31",
    "columns": {"id": "text", "day": "date", "kind": "text"},
}  # fmt: skip
TINY = {
    "kind": "multimodal", "use": ["sequence"], "sequence": {"encoder": "lstm", "hidden": 12, "width": 12, "pool": 2, "dropout": 0.0},
    "fusion": {"kind": "none"}, "heads": {"hidden": 8}, "loss": {"kind": "bce"}, "optimizer": {"kind": "adamw", "lr": 0.02},
    "trainer": {"epochs": 6, "batch_rows": 64, "accelerator": "cpu"},
}  # fmt: skip


def ordered_visits(rows: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """People, payments and visits: who pays in a year depends on `score` and on how the last visits before it went.

    The last visit before each January is of kind a or b, and no column says which: only events in order do.
    """
    rng = np.random.default_rng(0)
    ids = np.array([f"{number:05d}" for number in range(rows)])
    score = rng.normal(size=rows)
    persons = pd.DataFrame({"id": ids, "score": score.round(3)})
    visits, payments = [], [pd.DataFrame({"id": ids, "day": "2018-02-01", "amount": 1.0})]
    for year in (2019, 2020, 2021, 2022):
        last = rng.random(rows) < 0.5
        for day, kind in ((f"{year - 1}-11-05", ~last), (f"{year - 1}-12-05", last)):
            visits.append(pd.DataFrame({"id": ids, "day": day, "kind": np.where(kind, "a", "b")}))
        pays = rng.random(rows) < 1 / (1 + np.exp(-(1.5 * score + 3.0 * last - 1.5)))
        payments.append(pd.DataFrame({"id": ids[pays], "day": f"{year}-06-01", "amount": 1.0}))
    return persons, pd.concat(payments, ignore_index=True), pd.concat(visits, ignore_index=True)


def test_a_forest_on_columns_and_an_lstm_on_events_are_stacked_out_of_fold_in_time_order(
    tmp_path: Path,
) -> None:
    persons, payments, visits = ordered_visits(500)
    made = experiment(
        dated(
            tmp_path, persons, payments, {"visits": (visits, VISITS)},
            cohort={"cutoffs": [f"{year}-01-01" for year in (2019, 2020, 2021, 2022)]},
            features={"who": {"kind": "attributes", "table": "people"},
                      "path": {"kind": "sequence", "table": "visits", "last": 2, "columns": ["kind"]}},
            model={"forest": {"kind": "random_forest", "trees": 60, "min_samples_leaf": 20}, "lstm": TINY} | STACK,
            evaluation={"bootstrap": 100},
        )
    )  # fmt: skip
    outcome = made.run()
    assert (
        len([name for name in made.place.cache.built if ", fold " in name]) == 2 * 2
    )  # 2019 for 2020, both for 2021
    (note, *_) = next(c.notes for c in outcome.of("again") if c.model == "stack")
    assert "those of the 2 latest cutoffs, predicted by fits on earlier ones" in note
    test = {c.model: c.test["roc_auc"] for c in outcome.of("again")}
    assert min(test["forest"], test["lstm"]) > 0.6
    assert test["stack"] > max(test["forest"], test["lstm"]) + 0.03
    (stack,) = [c for c in outcome.of("again") if c.model == "stack"]
    assert set(stack.over_members) == {"forest", "lstm"}
    assert all(low > 0 for _, low, _ in stack.over_members.values())


# --- a member that cannot be fitted -----------------------------------------------------------------------

LINE = {"logistic": {"kind": "logistic"}, "forest": FOREST["forest"]}
FACTS: dict[str, Any] = {"assumptions": [], "rejected": [], "backtest": []}
BAD = {"bad": {"kind": "failing", "target": "y"}}


def test_a_model_of_a_line_up_that_cannot_be_fitted_is_named_with_its_target(tmp_path: Path) -> None:
    with pytest.raises(UnfitError) as told:
        experiment(of(flat(tmp_path, clean(300)), LINE | BAD)).run()
    assert str(told.value) == (
        "bad on `y` could not be fitted: out of memory\n  where: model.bad\n"
        "  why: RuntimeError, raised by the model's own library\n"
        "  fix: other settings for it, or a line-up without it"
    )
    assert isinstance(told.value.__cause__, RuntimeError)


def test_a_bug_stays_one_and_says_where_it_was_met(tmp_path: Path) -> None:
    bug = {"bad": BAD["bad"] | {"bug": True}}
    with pytest.raises(KeyError) as told:
        experiment(of(flat(tmp_path, clean(300)), LINE | bug)).run()
    assert told.value.__notes__ == ["while fitting bad on `y`"]


@pytest.mark.parametrize("kind", ["stack", "blend"])
def test_an_ensemble_stops_for_a_member_that_fails_unless_told_to_go_on(tmp_path: Path, kind: str) -> None:
    made = flat(tmp_path, clean(400))
    with pytest.raises(UnfitError, match="bad on `y` could not be fitted") as told:
        experiment(of(made, LINE | BAD | {"both": {"kind": kind}})).run()
    assert "model.both.on_failure=leave_out to go on without it" in str(told.value)

    on = of(made, LINE | BAD | {"both": {"kind": kind, "on_failure": "leave_out"}})
    run = experiment(on)
    outcome = run.run()
    assert [member.name for member in outcome.fitted["both"].members] == ["logistic", "forest"]
    said = "bad on `y` could not be fitted: out of memory"
    assert outcome.remarks == [f"left out: {said}"]
    assert {c.model for c in outcome.candidates} == {"prior", "rule", "logistic", "forest", "both"}
    assert f"left out: {said}" in summary.known(outcome, FACTS)
    assert record.metrics_of(on, outcome, [], run.place, 0.0)["remarks"] == [f"left out: {said}"]
    assert f"goes without: {said}" in next(c.notes for c in outcome.of("y") if c.model == "both")
    mixed = of(made, LINE | BAD | {"both": on.model["both"].model_dump(), "other": {"kind": "blend"}})
    with pytest.raises(UnfitError, match=r"model\.other\.on_failure=leave_out"):
        experiment(mixed).run()
    assert [proof.text for proof in all_proofs(on, quiet) if not proof.holds] == []


def test_a_member_that_fails_in_a_fold_stops_the_stack_or_is_left_out_of_it_alone(tmp_path: Path) -> None:
    made = flat(tmp_path, clean(500))
    train = int(experiment(made).prepared.assignments[-1].rows(0).sum())
    some = {"some": {"kind": "failing", "rows": train - 5}}  # it can learn from all rows, and not from a part
    with pytest.raises(
        UnfitError, match=r"some, fold 1 of 5 on `y` could not be fitted: out of memory"
    ) as told:
        experiment(of(made, LINE | some | STACK)).run()
    assert "where: model.some" in str(told.value)
    assert "model.stack.on_failure=leave_out" in str(told.value)
    outcome = experiment(
        of(made, LINE | some | {"stack": {"kind": "stack", "on_failure": "leave_out"}})
    ).run()
    assert [member.name for member in outcome.fitted["stack"].members] == ["logistic", "forest"]
    assert outcome.remarks == [
        "stack: goes without: some, fold 1 of 5 on `y` could not be fitted: out of memory"
    ]
    assert "some" in {c.model for c in outcome.candidates}


def test_a_blend_whose_weighed_members_fail_counts_those_left_alike(tmp_path: Path) -> None:
    weights = {"bad": 1, "logistic": 0, "forest": 0}
    lines = LINE | BAD | {"both": {"kind": "blend", "on_failure": "leave_out", "weights": weights}}
    outcome = experiment(of(flat(tmp_path, clean(400)), lines)).run()
    said = {name: outcome.scores[(name, "y")].score for name in ("logistic", "forest", "both")}
    assert said["both"] == pytest.approx((said["logistic"] + said["forest"]) / 2)
    assert "equal: no member that is left has a weight" in outcome.fitted["both"].notes[0][0]


def test_settings_that_a_library_refuses_are_a_failed_trial_and_a_bug_stays_one(tmp_path: Path) -> None:
    search = {"rows": {"categorical": [0, 10_000]}}
    lines = {"some": {"kind": "failing", "search": search}}
    made = of(flat(tmp_path, clean(300)), lines)
    settings = Optuna(kind="optuna", sampler="grid", trials=None, pruner="none")
    study = experiment(made).run(tuning=settings).studies["some"]
    assert {trial["settings"]["rows"]: (trial["state"], trial["why"]) for trial in study.trials} == {
        0: ("complete", ""), 10_000: ("fail", "out of memory"),
    }  # fmt: skip
    assert study.best == {"rows": 0}
    bug = of(made, {"some": lines["some"] | {"bug": True}})
    with pytest.raises(KeyError, match="no such thing"):
        experiment(bug).run(tuning=settings)


def test_an_ensemble_of_one_is_none(tmp_path: Path) -> None:
    lines = {"logistic": {"kind": "logistic"}} | BAD | {"both": {"kind": "blend", "on_failure": "leave_out"}}
    with pytest.raises(UnfitError, match="an ensemble needs two members, and of `logistic`, `bad` fewer"):
        experiment(of(flat(tmp_path, clean(300)), lines)).run()


# --- against its members ----------------------------------------------------------------------------------


def test_an_ensemble_stands_beside_each_member_with_the_interval_of_the_paired_difference(
    tmp_path: Path,
) -> None:
    lines = LOGISTIC | FOREST | LIGHTGBM | STACK | {"blend": {"kind": "blend", "of": ["logistic", "forest"]}}
    made = experiment(flat(tmp_path, clean(1_500), model=lines, evaluation={"bootstrap": 200}))
    outcome = made.run()
    by_name = {c.model: c for c in outcome.of("y")}
    assert set(by_name["stack"].over_members) == {"logistic", "forest", "lightgbm"}
    assert set(by_name["blend"].over_members) == {"logistic", "forest"}
    assert not by_name["forest"].over_members
    for name, (value, low, high) in by_name["stack"].over_members.items():
        assert value == by_name["stack"].test["roc_auc"] - by_name[name].test["roc_auc"]
        assert low < value < high
        alone = [
            ends[1] - ends[0]
            for ends in (by_name[name].intervals["roc_auc"], by_name["stack"].intervals["roc_auc"])
        ]
        assert high - low < min(alone)  # of the same draws: luck that both share goes
    worst = min(by_name["stack"].over_members, key=lambda name: by_name["stack"].over_members[name][1])
    assert by_name["stack"].over_members[worst][1] < 0  # on this table a straight line is all there is
    said = against_members("stack", "roc_auc", by_name["stack"].over_members)
    assert said.startswith("stack does not beat all 3 of its members on the test: AUC ")
    assert any(said in line for line in summary.known(outcome, FACTS))
    found = json.loads(json.dumps(
        record.metrics_of(made.config, outcome, [], made.place, 0.0)["targets"]["y"]["models"]["stack"]["over_members"]
    ))  # fmt: skip
    assert found["forest"] == list(by_name["stack"].over_members["forest"])


def test_what_is_said_of_an_ensemble_and_its_members() -> None:
    better, alike, worse = (0.02, 0.01, 0.03), (0.003, -0.002, 0.008), (-0.02, -0.03, -0.01)
    assert against_members("stack", "roc_auc", {"forest": better, "lstm": better}) == (
        "stack beats both of its members on the test: AUC +0.020 [+0.010, +0.030] over forest, "
        "+0.020 [+0.010, +0.030] over lstm"
    )
    said = against_members("stack", "roc_auc", {"forest": better, "lstm": alike, "net": worse})
    assert said == (
        "stack does not beat all 3 of its members on the test: AUC +0.020 [+0.010, +0.030] over forest, "
        "+0.003 [−0.002, +0.008] over lstm (not distinguishable), −0.020 [−0.030, −0.010] against net (worse)"
    )
    few = against_members("stack", "r2", {"a": (np.nan, np.nan, np.nan), "b": better})
    assert "does not beat both" in few
    assert "too little to compare it with a" in few


def test_the_report_and_the_screen_say_it(work: Work) -> None:
    said = work.run(
        "recipe=shop",
        "model=[lightgbm,logistic,stack]",
        "model.lightgbm.num_iterations=20",
        "evaluation.bootstrap=100",
    )
    assert said.code == 0, said.err
    (run,) = work.runs()
    pattern = r"stack (beats|does not beat) both of its members on the test"
    assert re.search(pattern, re.sub(r"\s+", " ", said.out))
    assert re.search(pattern, (run / "report.html").read_text())
    assert re.search(pattern, (run / "summary.md").read_text())


def test_every_shipped_ensemble_can_be_told_from_the_command_line_to_go_on() -> None:
    """`model.NAME.on_failure=leave_out` is what the error advises, and it sets a key that must be there."""
    found = [
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in packaged("conf").glob("model/*.yaml")
    ]
    ensembles = [declared for declared in found if declared["kind"] in ("stack", "blend")]
    assert len(ensembles) >= 5
    assert all(declared["on_failure"] == "stop" for declared in ensembles)
