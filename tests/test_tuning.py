"""Tuning: what is tried, what chooses, and that no trial is lost, doubled or fitted on what it must not see."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Work
from pydantic import ValidationError
from small import clean, dated, experiment, flat, people

from toolkit.config.schema import Config
from toolkit.errors import ConfigError
from toolkit.models import LightGBM  # type: ignore[attr-defined]
from toolkit.models.neural.settings import Multimodal
from toolkit.proof import all_proofs
from toolkit.proof.scramble import scramble_rows
from toolkit.training.split import TEST
from toolkit.tuning.settings import Optuna
from toolkit.tuning.space import Search, grid, ordered, suggest
from toolkit.tuning.storage import cut_torn_end, open_storage

SPACE: dict[str, Any] = {
    "num_leaves": {"int": [2, 31], "log": True},
    "learning_rate": {"float": [0.02, 0.5], "log": True},
    "bagging_freq": {"categorical": [0, 1]},
    "bagging_fraction": {"float": [0.4, 0.9], "when": {"bagging_freq": 1}},
}
MODEL = {
    "trees": {"kind": "lightgbm", "num_iterations": 60, "early_stopping_rounds": 10, "search": SPACE},
}


YEARS = {"cutoffs": [f"{year}-07-01" for year in range(2018, 2022)]}


def optuna(**settings: Any) -> dict[str, Any]:
    return {"kind": "optuna", "trials": 8, "startup_trials": 4} | settings


def read(space: dict[str, Any]) -> dict[str, Search]:
    return {name: Search.model_validate(one) for name, one in space.items()}


def tuned(config: Config, **settings: Any) -> Any:
    found = experiment(config)
    return found.run(tuning=Optuna.model_validate(optuna(**settings))).studies["trees"]


class TestTheSpace:
    def test_a_condition_is_asked_after_what_it_looks_at(self) -> None:
        space = {name: Search.model_validate(one) for name, one in reversed(SPACE.items())}
        assert ordered(space).index("bagging_freq") < ordered(space).index("bagging_fraction")

    def test_a_conditional_setting_is_tried_only_where_the_condition_holds(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        model = LightGBM.model_validate(MODEL["trees"])
        drawn = [suggest(study.ask(), model.search, model.model_dump()) for _ in range(40)]
        assert {("bagging_fraction" in one) == (one["bagging_freq"] == 1) for one in drawn} == {True}
        assert {one["bagging_freq"] for one in drawn} == {0, 1}
        assert all(2 <= one["num_leaves"] <= 31 and 0.02 <= one["learning_rate"] <= 0.5 for one in drawn)

    @pytest.mark.parametrize(
        ("search", "said"),
        [
            ({"num_leafs": {"int": [2, 31]}}, "did you mean `num_leaves`"),
            ({"num_leaves": {"int": [31, 2]}}, "not in order"),
            ({"num_leaves": {"int": [0, 31]}}, "`search.num_leaves` reaches 0"),
            ({"learning_rate": {"float": [0, 0.1], "log": True}}, "above 0"),
            ({"learning_rate": {"float": [0.01, 0.1], "int": [1, 2]}}, "say one of"),
            ({"class_weight": {"categorical": ["none", "ballanced"]}}, "ballanced"),
            ({"max_bin": {"int": [2, 9], "when": {"max_depth": 1}}, "max_depth": {"int": [1, 2], "when": {"max_bin": 2}}}, "circle"),
        ],
    )  # fmt: skip
    def test_mistakes_are_told_before_any_work(self, search: dict[str, Any], said: str) -> None:
        with pytest.raises(ValidationError, match=said):
            LightGBM.model_validate(MODEL["trees"] | {"search": search})

    def test_it_is_no_part_of_the_model_that_is_fitted_or_kept(self) -> None:
        assert "search" not in LightGBM.model_validate(MODEL["trees"]).model_dump()


GRID: dict[str, Any] = {
    "num_leaves": {"categorical": [4, 15]},
    "min_data_in_leaf": {"int": [5, 25], "step": 10},
    "bagging_freq": {"categorical": [0, 1]},
    "bagging_fraction": {"float": [0.5, 0.9], "step": 0.2, "when": {"bagging_freq": 1}},
}


class TestAGrid:
    def test_every_combination_is_tried_once_and_conditions_count(self, tmp_path: Path) -> None:
        """2 leaves × 3 least rows × (no bagging, or 3 shares of it)."""
        model = {"trees": MODEL["trees"] | {"num_iterations": 5, "search": GRID}}
        config = flat(tmp_path, clean(400), model=model)
        settings = {"sampler": "grid", "trials": None, "pruner": "none"}
        found = tuned(config, **settings)
        tried = [tuple(sorted(trial["settings"].items())) for trial in found.trials]
        assert len(tried) == len(set(tried)) == 2 * 3 * (1 + 3)
        shares = {trial["settings"].get("bagging_fraction") for trial in found.trials}
        assert shares == {None, 0.5, 0.7, 0.9}
        assert [trial["settings"] for trial in found.trials] != grid(read(GRID), {})  # mixed, by the seed
        again = tuned(config, **settings)  # gone on with: nothing is left
        assert again.trials == found.trials

    def test_a_grid_goes_forward_in_time(self, tmp_path: Path) -> None:
        model = {
            "trees": MODEL["trees"]
            | {"num_iterations": 5, "search": {"num_leaves": {"categorical": [4, 15]}}}
        }
        years = {
            "cutoffs": [f"{year}-{month}-01" for year in (2018, 2019, 2020, 2021) for month in ("02", "08")]
        }
        target = {"again": {"kind": "event_within", "table": "events", "horizon": "6 months"}}
        config = dated(tmp_path, *people(300), model=model, cohort=years, target=target)
        found = tuned(
            config, sampler="grid", trials=None, pruner="none", objective={"kind": "rolling", "folds": 5}
        )
        assert len(found.trials) == 2
        assert found.metric == "roc_auc, mean of 5 folds"
        assert all(len(trial["iterations"]) == 5 for trial in found.trials)

    def test_a_model_with_ranges_is_fitted_as_it_is_and_that_is_said(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        few = MODEL["trees"] | {"search": {"num_leaves": {"categorical": [4, 15]}}}
        logistic = {"kind": "logistic", "search": {"C": {"float": [0.1, 10]}}}
        settings = Optuna.model_validate(optuna(sampler="grid", trials=None))
        found = experiment(flat(tmp_path, clean(300), model={"trees": few, "logistic": logistic}))
        assert list(found.run(tuning=settings).studies) == ["trees"]
        assert "not tuned: the `search` of `logistic` has ranges" in caplog.text
        found = experiment(flat(tmp_path, clean(300), model={"logistic": logistic}))
        with pytest.raises(ConfigError, match="no model declares a `search` space of values"):
            found.run(tuning=settings)

    @pytest.mark.parametrize(
        ("search", "settings", "said"),
        [
            ({"num_leaves": {"int": [2, 31]}}, {"trials": None, "models": ["trees"]}, r"search\.num_leaves[\s\S]*int: \[2, 31\] is a range, and a grid needs values"),
            ({"lambda_l1": {"float": [0.1, 9], "log": True}}, {"trials": None, "models": ["trees"]}, "float: .* is a range"),
            ({"num_leaves": {"categorical": [4, 8, 9]}}, {"trials": 2}, "3 combinations, and 2 trials leave some out"),
        ],
    )  # fmt: skip
    def test_a_grid_without_an_end_or_cut_short_is_refused(
        self, tmp_path: Path, search: dict[str, Any], settings: dict[str, Any], said: str
    ) -> None:
        model = {"trees": MODEL["trees"] | {"search": search}}
        tuning = optuna(sampler="grid", **settings)
        with pytest.raises(ValidationError, match=said):
            flat(tmp_path, clean(50), model=model, tuning=tuning)
        flat(tmp_path, clean(50), model=model, tuning=tuning | {"sampler": "tpe", "trials": 2})  # the control


class TestAStudy:
    def test_its_best_settings_are_fitted_and_its_trials_kept(self, work: Work) -> None:
        work.write({"conf/model/trees.yaml": json.dumps(MODEL["trees"])})
        said = work.run(
            "recipe=shop",
            "model=[trees,logistic]",
            "tuning=optuna",
            "tuning.trials=6",
            "tuning.startup_trials=4",
        )
        assert said.code == 0, said.err
        (run,) = work.runs()
        found = json.loads((run / "tuning.json").read_text())["trees"]
        assert [trial["number"] for trial in found["trials"]] == list(range(6))
        best = max((t for t in found["trials"] if t["state"] == "complete"), key=lambda t: t["value"])
        assert found["best"] == best["settings"]
        metrics = json.loads((run / "metrics.json").read_text())
        fitted = metrics["targets"]["orders_again"]["models"]["trees"]
        assert fitted["validation"]["roc_auc"] == pytest.approx(
            best["value"]
        )  # the same rows, the same settings
        page = (run / "report.html").read_text()
        assert "Everything tried" in page
        assert page.count("num_leaves") >= 6

    def test_a_network_is_tuned_by_settings_of_its_parts(self, work: Work) -> None:
        network = {
            "kind": "multimodal", "use": ["tabular"], "optimizer": {"kind": "adamw", "weight_decay": 0.02},
            "trainer": {"epochs": 4}, "tabular": {"hidden": 8, "width": 8},
            "search": {
                "optimizer.lr": {"float": [0.001, 0.03], "log": True},
                "loss.smoothing": {"float": [0.0, 0.1]},
                "fusion.kind": {"categorical": ["none", "concat"]},
                "fusion.dropout": {"float": [0.0, 0.5], "when": {"fusion.kind": "concat"}},
            },
        }  # fmt: skip
        work.write({"conf/model/net.yaml": json.dumps(network)})
        said = work.run("recipe=shop", "model=[net]", "tuning=optuna", "tuning.trials=5", "report.html=false")
        assert said.code == 0, said.err
        (run,) = work.runs()
        found = json.loads((run / "tuning.json").read_text())["net"]
        tried = [trial["settings"] for trial in found["trials"]]
        assert len(tried) == 5
        assert len({one["optimizer.lr"] for one in tried}) == 5
        assert all(("fusion.dropout" in one) == (one["fusion.kind"] == "concat") for one in tried)
        assert found["best"] in tried

    def test_a_setting_of_a_part_is_checked_like_any_other(self) -> None:
        for search, said in [
            ({"optimizer.lrr": {"float": [0.1, 0.2]}}, "did you mean `optimizer.lr`"),
            ({"optimizer.lr": {"float": [0.1, 20]}}, "`search.optimizer.lr` reaches 20"),
            ({"optimizer": {"float": [0.1, 0.2]}}, "`optimizer`, which is no setting"),
            ({"loss.kind": {"categorical": ["bce"]}}, "`search.loss.kind` reaches 'bce'"),  # it has no alpha
        ]:
            with pytest.raises(ValidationError, match=said):
                Multimodal.model_validate({"kind": "multimodal", "search": search})

    def test_a_model_without_a_space_is_named(self, work: Work) -> None:
        message = work.refused("recipe=shop", "model=[prior]", "tuning=optuna")
        assert "no model declares a `search` space" in message

    def test_the_same_seed_tries_the_same(self, tmp_path: Path) -> None:
        found = [tuned(flat(tmp_path / name, clean(800), model=MODEL)) for name in ("one", "two")]
        told = [[(t["settings"], t["value"], t["state"]) for t in study.trials] for study in found]
        assert told[0] == told[1]

    def test_more_trials_go_on_with_those_there_are(self, tmp_path: Path) -> None:
        config = flat(tmp_path, clean(800), model=MODEL)
        few, many = tuned(config, trials=5), tuned(config, trials=9)
        whole = tuned(flat(tmp_path / "whole", clean(800), model=MODEL), trials=9)
        settings = [[trial["settings"] for trial in study.trials] for study in (few, many, whole)]
        assert settings[1][:5] == settings[0]
        assert [trial["begun"] for trial in many.trials][:5] == [trial["begun"] for trial in few.trials]
        assert settings[1] == settings[2]  # the interruption has changed nothing

    def test_fewer_trials_are_the_first_of_those_there_are(self, tmp_path: Path) -> None:
        config = flat(tmp_path, clean(800), model=MODEL)
        many, few = tuned(config, trials=9), tuned(config, trials=5)
        alone = tuned(flat(tmp_path / "alone", clean(800), model=MODEL), trials=5)
        assert len(many.trials) == 9
        told = [([t["settings"] for t in one.trials], one.best, one.value) for one in (few, alone)]
        assert told[0] == told[1]  # what lies in the cache decides nothing

    def test_another_seed_searches_elsewhere(self, tmp_path: Path) -> None:
        one, two = (tuned(flat(tmp_path / str(n), clean(800), model=MODEL, seed=n), trials=3) for n in (1, 2))
        assert one.trials[0]["settings"] != two.trials[0]["settings"]

    def test_minutes_that_are_spent_stay_spent(self, tmp_path: Path) -> None:
        config = flat(tmp_path, clean(800), model=MODEL)
        first, second = (tuned(config, trials=None, minutes=0.01) for _ in range(2))
        assert [t["begun"] for t in first.trials] == [t["begun"] for t in second.trials]

    def test_what_changes_the_meaning_of_the_running_metric_is_refused(self, work: Work) -> None:
        searched = {"search": {"class_weight": {"categorical": ["none", "balanced"]}}}
        work.write({"conf/model/trees.yaml": json.dumps(MODEL["trees"] | searched)})
        message = work.refused("recipe=shop", "model=[trees]", "tuning=optuna")
        assert "`class_weight` cannot be searched while trials are given up early" in message
        assert "tuning.pruner=none" in message

    def test_a_database_out_of_reach_is_told_without_its_password(self, work: Work) -> None:
        address = "postgresql://bob:S3cretPw99@nowhere.invalid/x"
        message = work.refused(
            "recipe=shop", "model=[lightgbm]", "tuning=optuna", f"tuning.storage={address}"
        )
        assert "tuning.storage" in message
        assert "S3cret" not in message

    def test_a_space_or_data_that_change_begin_anew(self, tmp_path: Path) -> None:
        first = tuned(flat(tmp_path, clean(800), model=MODEL), trials=4)
        other = {"trees": MODEL["trees"] | {"search": SPACE | {"num_leaves": {"int": [2, 8]}}}}
        second = tuned(flat(tmp_path, clean(800), model=other), trials=4)
        third = tuned(flat(tmp_path, clean(801), model=MODEL), trials=4)
        assert len({study.trials[0]["begun"] + str(study.value) for study in (first, second, third)}) == 3
        assert [len(study.trials) for study in (second, third)] == [4, 4]

    def test_settings_that_are_behind_are_given_up(self, tmp_path: Path) -> None:
        bad = {"trees": MODEL["trees"] | {"num_iterations": 200, "search": {"learning_rate": {"float": [0.001, 0.5], "log": True}}}}  # fmt: skip
        found = tuned(
            flat(tmp_path, clean(800), model=bad), trials=12, startup_trials=3, pruner="successive_halving"
        )
        states = [trial["state"] for trial in found.trials]
        assert states.count("pruned") >= 2
        assert len(states) == 12

    def test_a_time_that_is_up_begins_no_trial(self, tmp_path: Path) -> None:
        found = tuned(flat(tmp_path, clean(800), model=MODEL), trials=None, minutes=0.02)
        assert found.trials

    def test_a_rolling_objective_judges_on_earlier_cutoffs(self, tmp_path: Path) -> None:
        config = dated(tmp_path, *people(), model=MODEL, cohort=YEARS)
        found = tuned(config, trials=4, objective={"kind": "rolling", "folds": 2})
        assert found.metric == "roc_auc, mean of 2 folds"
        assert all(len(trial["iterations"]) == 2 for trial in found.trials if trial["state"] == "complete")


class TestHonesty:
    @pytest.mark.parametrize("objective", [{"kind": "validation"}, {"kind": "rolling", "folds": 2}])
    def test_no_trial_sees_a_test_row(self, tmp_path: Path, objective: dict[str, Any]) -> None:
        found = experiment(dated(tmp_path, *people(), model=MODEL, cohort=YEARS))
        tuning = Optuna.model_validate(optuna(trials=4, objective=objective))
        test = found.prepared.assignments[-1].rows(TEST)
        rng = np.random.default_rng(0)
        values = []
        for rows in (np.zeros_like(test), test, ~test):
            found.place.cache.root = tmp_path / f"cache-{len(values)}"
            scrambled = scramble_rows(found.prepared.matrix, rows, rng)
            study = found.run(scrambled, tuning=tuning).studies["trees"]
            values.append([trial["value"] for trial in study.trials])
        assert values[0] == values[1]
        assert values[0] != values[2]  # the control: rows that it may see do count

    def test_check_covers_it(self, tmp_path: Path) -> None:
        config = dated(tmp_path, *people(), model=MODEL, tuning=optuna())
        proofs = all_proofs(config, lambda what, share: None)
        assert [proof.text for proof in proofs if not proof.holds] == []
        assert any("tuning of trees" in proof.text for proof in proofs)


FIRST = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[1].split(":")
from toolkit.tuning import study as studies
from test_tuning import tuned, MODEL
from small import flat, clean
studies._try = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
tuned(flat(Path(sys.argv[2]), clean(800), model=MODEL), trials=6, sampler="random")
"""
SCRIPT = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[1].split(":")
from toolkit.tuning import study as studies
from test_tuning import tuned, MODEL
from small import flat, clean
real = studies._try
def hanging(trial, model, objective):
    if trial.number == 3:  # its settings are drawn, and then nothing
        studies.suggest(trial, model.search, model.model_dump())
        print("begun", flush=True)
        time.sleep(60)
    real(trial, model, objective)
studies._try = hanging
tuned(flat(Path(sys.argv[2]), clean(800), model=MODEL), trials=6, storage=sys.argv[3])
"""


class TestAKill:
    @pytest.mark.parametrize("storage", ["sqlite", "journal"])
    def test_no_trial_is_lost_or_doubled(self, tmp_path: Path, storage: str) -> None:
        paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, paths, str(tmp_path), storage], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        study = tuned(flat(tmp_path, clean(800), model=MODEL), trials=6, storage=storage)
        states = [trial["state"] for trial in study.trials]
        assert states[3] == "fail"
        assert study.trials[3]["why"] == "its process died"
        assert study.trials[4]["settings"] == study.trials[3]["settings"]  # tried again
        assert study.trials[4]["again"] == 3
        assert len(states) == 7
        assert sum(state in ("complete", "pruned") for state in states) == 6
        assert "running" not in states

    def test_a_study_killed_before_its_first_draw_goes_on_as_it_would_have_gone(self, tmp_path: Path) -> None:
        paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        for _ in range(2):
            done = subprocess.run([sys.executable, "-c", FIRST, paths, str(tmp_path / "killed")], check=False)
            assert done.returncode == -signal.SIGKILL
        killed, whole = (
            tuned(flat(tmp_path / name, clean(800), model=MODEL), trials=6, sampler="random")
            for name in ("killed", "whole")
        )
        tried = [[t["settings"] for t in one.trials if t["state"] != "fail"] for one in (killed, whole)]
        assert tried[0] == tried[1]

    def test_a_torn_last_line_loses_nothing_but_itself(self, tmp_path: Path) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)

        def opened() -> Any:
            return optuna.create_study(
                storage=open_storage("journal", tmp_path), study_name="s", load_if_exists=True
            )

        for value in (1.0, 2.0):
            study = opened()
            study.tell(study.ask(), value)
        whole = (tmp_path / "journal.log").read_bytes()
        (tmp_path / "journal.log").write_bytes(whole + b'{"op_code": 4, "worker_id": "tor')
        assert [trial.value for trial in opened().trials] == [1.0, 2.0]
        study = opened()
        study.tell(study.ask(), 3.0)  # would be glued to the torn line
        assert [trial.value for trial in opened().trials] == [1.0, 2.0, 3.0]

    def test_the_control_a_journal_as_it_comes_is_lost(self, tmp_path: Path) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        path = tmp_path / "journal.log"

        def opened() -> Any:
            storage = JournalStorage(JournalFileBackend(str(path)))
            return optuna.create_study(storage=storage, study_name="s", load_if_exists=True)

        study = opened()
        study.tell(study.ask(), 1.0)
        path.write_bytes(path.read_bytes() + b'{"op_code": 4, "worker_id": "tor')
        with pytest.raises(ValueError):  # noqa: PT012
            study = opened()
            study.tell(study.ask(), 2.0)
            opened()

    def test_cutting_leaves_whole_lines_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "lines"
        for before, after in ((b"", b""), (b"a\nb\n", b"a\nb\n"), (b"a\nb", b"a\n"), (b"a", b"")):
            path.write_bytes(before)
            cut_torn_end(path)
            assert path.read_bytes() == after


class TestWorkers:
    def test_one_that_is_killed_does_not_end_the_study(self, tmp_path: Path) -> None:
        config = flat(tmp_path, clean(800), model=MODEL)
        with ThreadPoolExecutor(1) as pool:
            ended = pool.submit(tuned, config, trials=10, workers=2)
            while not list((tmp_path / "cache" / "tuning").glob("*/worker-*")) and not ended.done():
                time.sleep(0.05)
            children = subprocess.run(
                ["pgrep", "-P", str(os.getpid()), "-f", "loky"], capture_output=True, text=True
            )
            os.kill(int(children.stdout.split()[0]), signal.SIGKILL)
            study = ended.result()
        assert sum(trial["state"] in ("complete", "pruned") for trial in study.trials) == 10

    def test_two_over_one_study_spend_one_budget(self, tmp_path: Path) -> None:
        study = tuned(flat(tmp_path, clean(800), model=MODEL), trials=7, workers=2)
        assert [trial["number"] for trial in study.trials] == list(range(7))
        assert {trial["state"] for trial in study.trials} <= {"complete", "pruned"}
        left = {path.name.split("-")[0] for path in (tmp_path / "cache" / "tuning").glob("*/*")}
        assert "worker" not in left
        assert "journal.log" in left
