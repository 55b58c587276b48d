"""Sweeps: what Hydra users expect, a leaderboard at the end, and no job that harms another."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Said, Work, write_files
from forked import Process, Server

import toolkit
from toolkit.evaluation.bootstrap import EntityBootstrap, interval
from toolkit.sweep import board_page, leaderboard
from toolkit.sweep.folder import Record, SweepFolder, opened, same_sweep
from toolkit.sweep.leaderboard import Leaderboard
from toolkit.sweep.overrides import numbered, swept, value_of
from toolkit.sweep.paired import NotComparableError, pair
from toolkit.sweep.runs import Run, Scored
from toolkit.sweep.sweeper import share

JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
TROUBLE = '''\
"""A model of somebody's: as constant as can be, or in trouble."""
import os, time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
import numpy as np
from toolkit.bundle.files import read_arrays, write_arrays
from toolkit.errors import DataError
from toolkit.models.one_by_one import OneByOne
from toolkit.registry import Component

class Trouble(OneByOne):
    """Constant, or in trouble."""
    kind: Literal["trouble"] = "trouble"
    how: str = "fine"

    def fit_one(self, task, columns, train, valid, **options: Any):
        if self.how == "mistake":
            raise DataError("bad luck with the data", where="model.mistake", fix="none")
        if self.how == "bug":
            raise ZeroDivisionError("ours")
        if self.how == "die":
            os._exit(9)
        while self.how == "wait" and not Path("go").exists():
            time.sleep(0.05)
        print("libraries print what they like")
        return Constant(float(train.y.mean()))

    def load_one(self, folder, task, iterations, notes):
        return Constant(float(read_arrays(folder / "mean.safetensors")["mean"][0]))

@dataclass
class Constant:
    mean: float
    iterations: int | None = None
    notes: list = field(default_factory=list)

    def predict(self, X):
        return np.full(len(X), self.mean) + 0.001 * np.nan_to_num(X[:, 0]) / 1000

    def importance(self):
        return None

    def save(self, folder):
        write_arrays(folder / "mean.safetensors", {"mean": np.array([self.mean])})

COMPONENT = Component("trouble", Trouble, build=lambda config: config)
'''


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What starts sweeps, with a package of models that get into trouble installed."""
    site = tmp_path_factory.mktemp("site")
    write_files(site, {
        "trouble/__init__.py": TROUBLE,
        "trouble-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: trouble\nVersion: 1.0\n",
        "trouble-1.0.dist-info/entry_points.txt": "[toolkit.models]\ntrouble = trouble:COMPONENT\n",
    })  # fmt: skip
    found = Server(Path(toolkit.__file__).parents[1], site)
    yield found
    found.close()


class Sweeps:
    """A working folder with models that get into trouble, and the command line as a process."""

    def __init__(self, work: Work, server: Server) -> None:
        self.work, self.folder, self.server = work, work.folder, server
        work.write({f"conf/model/{how}.yaml": f"kind: trouble\nhow: {how}\n"
                    for how in ("fine", "mistake", "bug", "die", "wait")})  # fmt: skip

    def start(self, *words: str) -> Process:
        return self.server.start(self.folder, "-m", "recipe=shop", "report.html=false", *words)

    def run(self, *words: str) -> Said:
        process = self.start(*words)
        out, err = process.communicate()
        return Said(process.returncode or 0, out, err)

    def all(self) -> list[Path]:
        return sorted((self.folder / "outputs").glob("*/multirun/*"))

    def only(self) -> Path:
        (found,) = self.all()
        return found


@pytest.fixture
def sweeps(work: Work, server: Server) -> Sweeps:
    return Sweeps(work, server)


def lines(sweep: Path, name: str = "leaderboard.csv") -> list[dict[str, str]]:
    with open(sweep / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def until(true: Callable[[], Any], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


# --- what Hydra users expect --------------------------------------------------------------------------


def test_a_sweep_ends_with_a_leaderboard(work: Work) -> None:
    said = work.run(
        "-m", "recipe=shop", "model=lightgbm,logistic,[logistic,lightgbm]", "seed=1,2", "report.html=false"
    )
    assert said.code == 0, said.err
    (sweep,) = (work.folder / "outputs/shop/multirun").iterdir()
    assert {path.name for path in sweep.iterdir()} == {
        *map(str, range(6)), "sweep.json", "leaderboard.csv", "leaderboard.md", "leaderboard.html", "overrides.csv"
    }  # fmt: skip
    found = lines(sweep)
    assert {line["setting"] for line in found} == {
        "model=lightgbm", "model=logistic", "model=[logistic,lightgbm]"
    }  # fmt: skip
    assert [line["seeds"] for line in found] == ["2", "2", "2"]
    assert [line["selected"] for line in found] == ["yes", "no", "no"]
    best = found[0]
    values = []
    for name in best["runs"].split():
        entry = json.loads((sweep / name / "metrics.json").read_text())["targets"]["orders_again"]
        values.append(entry["models"][entry["chosen"]]["validation"]["roc_auc"])
    assert float(best["validation_mean"]) == pytest.approx(np.mean(values), abs=1e-6)
    assert float(best["validation_sd"]) == pytest.approx(np.std(values, ddof=1), abs=1e-6)
    for text in ("job 5  model=[logistic,lightgbm] seed=2", "selected by validation", "6 of 6 jobs done"):
        assert text in said.out
    models = [set(json.loads((sweep / str(n) / "metrics.json").read_text())["targets"]["orders_again"]["models"])
              for n in range(6)]  # fmt: skip
    assert models[0] == {"prior", "rule", "lightgbm"}
    assert models[4] == {"prior", "rule", "logistic", "lightgbm"}


def test_lists_of_models_are_swept_too(work: Work) -> None:
    said = work.run("plan", "-m", "recipe=shop", "model=[lightgbm],[xgboost,logistic]", "quiet=true")
    assert said.code == 0, said.err
    assert list(work.folder.glob("outputs/*/multirun")) == []


def test_the_joblib_launcher_gives_the_same_numbers_and_prepares_once(sweeps: Sweeps) -> None:
    words = ("model=logistic,fine", "seed=1,2", "evaluation.bootstrap=0")
    said = sweeps.run(*words, *JOBLIB)
    assert said.code == 0, said.err
    beside = sweeps.only()
    metrics = [json.loads((beside / str(n) / "metrics.json").read_text()) for n in range(4)]
    built = [entry for one in metrics for entry in one["built"] if not entry.startswith("fits:")]
    kinds = {entry.split(":")[0] for entry in built}
    assert kinds == {"tables", "cohorts", "features", "targets"}
    kept = [
        path
        for kind in kinds
        for path in (sweeps.folder / "outputs/.cache" / kind).iterdir()
        if path.is_dir()
    ]
    assert len(built) == len(kept)  # each was built by one of the jobs, and found by the others
    assert "libraries print" not in said.out
    shutil.rmtree(beside)
    assert sweeps.run(*words).code == 0  # the same, one after the other
    for number in range(4):
        again = json.loads((sweeps.only() / str(number) / "metrics.json").read_text())
        for name, model in again["targets"]["orders_again"]["models"].items():
            assert model["test"] == metrics[number]["targets"]["orders_again"]["models"][name]["test"]


def test_a_job_gets_its_share_of_the_cores(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [share(n, 12) for n in (1, 2, 3, 8, 100, -1, -2)] == [0, 4, 2, 1, 1, 1, 1]
    assert share(8, 2) == 4  # two jobs are left
    assert share(4, 1) == 0


def test_threads_are_shared_out_where_none_are_declared(sweeps: Sweeps) -> None:
    assert sweeps.run("model=fine", "engine.threads=0,3", *JOBLIB).code == 0
    for number, wanted in enumerate([max((os.cpu_count() or 1) // 2, 1), 3]):
        said = (sweeps.only() / str(number) / "config.yaml").read_text()
        assert f"  threads: {wanted}\n" in said


def test_a_folder_of_the_users_choice(work: Work) -> None:
    words = (
        "-m",
        "recipe=shop",
        "seed=1,2",
        "report.html=false",
        "hydra.sweep.dir=mine",
        "hydra.sweep.subdir='s-${seed}'",
    )
    assert work.run(*words).code == 0
    assert {path.name for path in (work.folder / "mine").iterdir()} >= {"s-1", "s-2", "leaderboard.md"}
    again = work.run(*words)
    assert again.code == 2
    assert "holds another sweep, or one that has ended" in again.err


def test_a_sweep_over_recipes_lies_in_one_folder(work: Work) -> None:
    recipe = (work.folder / "recipes/shop.yaml").read_text()
    work.write({"recipes/other.yaml": recipe.replace("[profile, history]", "[profile]")})
    assert work.run("-m", "recipe=shop,other").code == 0
    (sweep,) = (work.folder / "outputs").glob("*/multirun/*")
    assert {line["setting"] for line in lines(sweep)} == {"recipe=shop", "recipe=other"}


# --- failing jobs -------------------------------------------------------------------------------------


REASONS = {"mistake": "bad luck with the data", "bug": "a bug in the toolkit: ZeroDivisionError: ours"}


@pytest.mark.parametrize(
    ("launcher", "bad", "code"),
    [((), ["mistake"], 2), ((), ["bug"], 1), (JOBLIB, ["mistake", "bug"], 2)],
    ids=["basic-mistake", "basic-bug", "joblib-both"],
)
def test_a_failing_job_leaves_the_others_running(
    sweeps: Sweeps, launcher: tuple[str, ...], bad: list[str], code: int
) -> None:
    models = ["fine", *bad, "logistic"]
    said = sweeps.run(f"model={','.join(models)}", "hydra.sweeper.max_batch_size=2", *launcher)
    assert said.code == code, said.err
    sweep = sweeps.only()
    assert {path.name for path in sweep.iterdir() if path.is_dir()} == {"0", str(len(bad) + 1)}
    for how in bad:
        for text in (said.out, (sweep / "leaderboard.md").read_text().replace("\\", "")):
            assert REASONS[how] in text
        assert REASONS[how] in (sweep / "leaderboard.html").read_text()
    assert len(lines(sweep)) == 2
    assert ("Traceback" in said.err) == ("bug" in bad)
    assert f"2 of {len(models)} jobs done, {len(bad)} failed" in said.out


def test_a_job_that_kills_its_process_is_the_only_one_lost(sweeps: Sweeps) -> None:
    said = sweeps.run("model=die,fine,logistic", *JOBLIB)
    assert said.code == 1, said.err
    assert {path.name for path in sweeps.only().iterdir() if path.is_dir()} == {"1", "2"}
    assert "its process died" in said.out


def test_if_no_job_succeeds_nothing_stays(sweeps: Sweeps) -> None:
    said = sweeps.run("model=mistake", "seed=1,2")
    assert said.code == 2
    assert said.out.count("bad luck") >= 2
    assert "0 of 2 jobs done" in said.out
    assert sweeps.all() == []
    assert [path.name for path in (sweeps.folder / "outputs").iterdir()] == [".cache"]


def test_a_mistake_in_one_job_is_told_before_any_starts(work: Work) -> None:
    said = work.run("-m", "recipe=shop", "model=logistic,xgbost")
    assert said.code == 2
    assert "xgbost" in said.err
    assert list((work.folder / "outputs").glob("*/multirun/*")) == []


@pytest.mark.parametrize("launcher", [(), JOBLIB], ids=["basic", "joblib"])
def test_the_exit_code_of_other_verbs_comes_from_their_jobs(work: Work, launcher: tuple[str, ...]) -> None:
    work.write({"recipes/wrong.yaml": "defaults: [shop]\nsplit: {test: {cutoffs: 9}}\n"})
    said = (work.process if launcher else work.run)("plan", "-m", "recipe=shop,wrong", *launcher)
    assert said.code == 2, said
    assert "train" in said.out  # the plan of the other


# --- after a kill -------------------------------------------------------------------------------------


def test_the_same_command_goes_on_where_a_killed_sweep_stopped(sweeps: Sweeps) -> None:
    words = ("model=fine,wait", "seed=1,2")
    process = sweeps.start(*words)
    running = '"state": "running"'
    until(
        lambda: any(
            running in path.read_text() for path in sweeps.folder.glob("outputs/*/multirun/*/.jobs/2.json")
        )
    )
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    sweep = sweeps.only()
    assert not (sweep / "leaderboard.md").exists()
    before = {path: path.stat().st_mtime_ns for n in "01" for path in (sweep / n).rglob("*")}

    (sweeps.folder / "go").touch()
    said = sweeps.run(*words)
    assert said.code == 0, said.err
    assert sweeps.only() == sweep
    assert "2 of 4 jobs are done" in said.out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [line["seeds"] for line in lines(sweep)] == ["2", "2"]
    assert {path.name for path in sweep.iterdir() if path.is_dir()} == set("0123")

    assert sweeps.run(*words).code == 0  # it has ended: the same command begins anew
    assert len(sweeps.all()) == 2


def test_jobs_done_before_the_data_changed_are_done_again(sweeps: Sweeps) -> None:
    words = ("model=fine,wait,logistic",)
    process = sweeps.start(*words)
    until(lambda: list(sweeps.folder.glob("outputs/*/multirun/*/.jobs/1.json")))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    data = [json.loads((sweeps.only() / "0/data.json").read_text())["orders"]["rows_read"]]
    with open(sweeps.folder / "data/orders.csv", "a") as file:
        file.write("0001,2021-03-01,5.0\n")
    (sweeps.folder / "go").touch()
    said = sweeps.run(*words)
    assert said.code == 0, said.err
    assert "the data has changed since 1 of the jobs were done" in said.out
    data += [json.loads((sweeps.only() / n / "data.json").read_text())["orders"]["rows_read"] for n in "012"]
    assert data == [data[0], *[data[0] + 1] * 3]
    assert len(lines(sweeps.only())) == 3


def test_a_job_that_read_other_data_is_not_compared(sweeps: Sweeps) -> None:
    process = sweeps.start("model=fine,wait,logistic")
    until(lambda: list(sweeps.folder.glob("outputs/*/multirun/*/.unfinished-1-*")))
    until(lambda: list((sweeps.folder / "outputs/.cache/features").glob("*")))
    time.sleep(3)  # the second job has read its data by now
    with open(sweeps.folder / "data/orders.csv", "a") as file:
        file.write("0001,2021-03-01,5.0\n")
    (sweeps.folder / "go").touch()
    out, err = process.communicate()
    assert process.returncode == 2, err
    assert out.count("table `orders` is not what the newest job read") == 2
    assert [line["setting"] for line in lines(sweeps.only())] == ["model=logistic"]


def test_workers_end_with_the_sweep_and_the_share_of_cores_does_not_change(sweeps: Sweeps) -> None:
    words = ("model=fine,wait", *JOBLIB)
    process = sweeps.start(*words)
    until(lambda: list(sweeps.folder.glob("outputs/*/multirun/*/0/metrics.json"))
          and list(sweeps.folder.glob("outputs/*/multirun/*/.jobs/1.json")))  # fmt: skip
    os.kill(process.pid, signal.SIGKILL)  # the sweep alone, not its workers
    process.communicate()

    def gone() -> bool:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    try:
        until(gone, 15)
    finally:
        if not gone():
            os.killpg(process.pid, signal.SIGKILL)
    (sweeps.folder / "go").touch()
    said = sweeps.run(*words)
    assert said.code == 0, said.err
    assert "1 of 2 jobs are done" in said.out
    threads = {re.search(r"  threads: \d+", (sweeps.only() / n / "config.yaml").read_text())[0] for n in "01"}  # type: ignore[index]
    assert len(threads) == 1


@pytest.mark.parametrize("multirun", [False, True])
@pytest.mark.parametrize("wrapped", ["cause", "context", "mistake"])
def test_an_interruption_behind_another_error_is_no_bug(
    work: Work, monkeypatch: pytest.MonkeyPatch, multirun: bool, wrapped: str
) -> None:
    from toolkit import runner
    from toolkit.errors import DataError

    def run(*_: Any, **__: Any) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            if wrapped == "cause":
                raise RuntimeError("query interrupted") from error
            if wrapped == "mistake":
                raise DataError("the file cannot be read") from None
            raise RuntimeError("query interrupted")  # noqa: B904

    monkeypatch.setattr(runner, "run", run)
    said = work.run(*(["-m", "seed=1,2"] if multirun else []), "recipe=shop")
    assert said.code == 130
    assert "interrupted" in said.err
    assert "Traceback" not in said.err
    assert "bug" not in said.out + said.err


def test_a_file_of_the_users_is_not_taken_for_hydras(work: Work) -> None:
    work.write({"mine/multirun.yaml": "precious"})
    assert work.run("plan", "recipe=shop", "hydra.sweep.dir=mine").code == 0
    assert work.run("recipe=shop", "hydra.sweep.dir=mine").code == 0
    assert (work.folder / "mine/multirun.yaml").read_text() == "precious"


def test_another_declaration_is_another_sweep(sweeps: Sweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_NOTE", "a")
    words = ["model=fine,wait", "description='${oc.env:SHOP_NOTE}'"]
    process = sweeps.start(*words)
    until(lambda: list(sweeps.folder.glob("outputs/*/multirun/*/0/metrics.json")))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    killed = sweeps.only()
    (sweeps.folder / "go").touch()
    yearly = 'cutoffs: ["2021-01-0{}", "2022-01-01"]\n'

    def anew() -> bool:
        """Whether the command begins a sweep of its own, and does not go on with the killed one."""
        before = len(sweeps.all())
        assert sweeps.run(*words).code == 0
        assert len(sweeps.all()) == before + (not (killed / "leaderboard.md").exists())
        return not (killed / "leaderboard.md").exists()

    sweeps.work.write({"conf/cohort/yearly.yaml": yearly.format(2)})
    assert anew()
    sweeps.work.write({"conf/cohort/yearly.yaml": yearly.format(1)})
    words[0] = "model=wait,fine"
    assert anew()
    words[0] = "model=fine,wait"
    monkeypatch.setenv("SHOP_NOTE", "b")
    assert anew()
    monkeypatch.setenv("SHOP_NOTE", "a")
    assert not anew()  # the control: all is again as it was


def test_an_edit_while_it_runs_is_noticed(sweeps: Sweeps) -> None:
    process = sweeps.start("model=wait,fine")
    until(lambda: list(sweeps.folder.glob("outputs/*/multirun/*/.jobs/0.json")))
    sweeps.work.write({"conf/model/fine.yaml": "kind: trouble\nhow: otherwise\n", "go": ""})
    out, err = process.communicate()
    assert process.returncode == 2, err
    assert "edited since the sweep began" in out
    assert [line["setting"] for line in lines(sweeps.only())] == ["model=wait"]


def test_a_sweep_that_is_under_way_is_left_alone(tmp_path: Path) -> None:
    material = same_sweep([], [["seed=1"]], [{"a": 1}])
    with opened(tmp_path / "a", material, named=False) as (first, again):
        assert not again
        with opened(tmp_path / "a", material, named=False) as (second, again):
            assert not again
            assert second.path != first.path
    with opened(tmp_path / "b", material, named=False) as (third, again):  # both are free now
        assert again
        assert third.path in (first.path, second.path)
        third.close([Record(0, "done")])
    assert "hunter2" not in json.dumps(json.loads((first.path / "sweep.json").read_text()))


@pytest.mark.parametrize("first_is", ["holding", "beginning"])
def test_two_sweeps_into_one_folder_at_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_is: str
) -> None:
    """Both saw an empty folder; one was quicker to hold it, or has written and ended already."""
    from contextlib import ExitStack

    from toolkit.errors import ConfigError
    from toolkit.sweep import folder as module

    real, first = module._new, ExitStack()

    def late(wanted: Path, named: bool) -> Path:
        made = real(wanted, named)
        monkeypatch.setattr(module, "_new", real)
        first.enter_context(opened(tmp_path / "a", [1], named=True))
        if first_is == "beginning":
            first.close()
        return made

    monkeypatch.setattr(module, "_new", late)
    with first, pytest.raises(ConfigError), opened(tmp_path / "a", [2], named=True):
        pass
    with opened(tmp_path / "a", [1], named=True) as (_, again):
        assert again  # the first one's


def test_other_code_makes_another_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.sweep import folder as module

    before = same_sweep([], [["seed=1"]], [{}])
    assert before == same_sweep([], [["seed=1"]], [{}])
    monkeypatch.setattr(module, "code_digest", lambda *_: "other")
    assert before != same_sweep([], [["seed=1"]], [{}])


def test_a_torn_file_of_a_killed_sweep_is_no_sweep(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/sweep.json").write_text('{"digest": "')
    with opened(tmp_path / "b", [1], named=False) as (folder, again):
        assert not again
        assert folder.path == tmp_path / "b"
        assert SweepFolder(folder.path).record(0) is None


# --- the leaderboard, by numbers ----------------------------------------------------------------------


def write_run(folder: Path, number: int, seed: int, score: np.ndarray, y: np.ndarray, entity: np.ndarray, **parts: Any) -> tuple[Record, Run]:  # fmt: skip
    """A finished run as far as a leaderboard reads it: validation rows, and as many test rows."""
    from toolkit.evaluation.metrics import evaluate

    target, path = parts.get("target", "gives"), folder / str(number)
    path.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame({
        "entity": np.tile(entity, 2), "cutoff": pd.Timestamp("2020-01-01"), "part": np.repeat(["validation", "test"], len(y)),
        f"{target}.label": np.tile(y, 2), f"{target}.score": np.tile(score, 2), f"{target}.probability": np.tile(score, 2),
        f"{target}.decision": np.tile(score, 2) > 0.5,
    })  # fmt: skip
    frame.to_parquet(path / "predictions.parquet")
    figures = evaluate("binary", y, score)
    metrics = {"recipe": "r", "targets": {target: {
        "type": "binary", "classes": [], "headline": "roc_auc", "chosen": "m",
        "models": {"m": {"validation": figures, "test": figures | {"roc_auc": 0.123456}}}}}}  # fmt: skip
    record = Record(number, "done", str(number), parts.get("overrides", [f"model=m{number}", f"seed={seed}"]))
    return record, Run(path, metrics, {"seed": seed, "target": {target: {"weight": 1.0}}})


@pytest.fixture
def board(tmp_path: Path) -> Leaderboard:
    """Two settings, a better and a worse one, over two seeds; a third equals the better one but for noise."""
    rng = np.random.default_rng(0)
    found: list[tuple[Record, Run | None]] = []
    names = ["good", "good_too", "bad"]
    for seed in (1, 2):
        entity = rng.permutation(2_000)[:800].astype(str)  # the seed decides who validates
        y = rng.integers(0, 2, 800).astype(float)
        signal_ = y + rng.normal(0, 1.5, 800)
        for number, (name, noise) in enumerate(zip(names, (0.0, 0.05, 3.0), strict=True)):
            score = 1 / (1 + np.exp(-(signal_ + rng.normal(0, 1, 800) * noise)))
            overrides = ["recipe=r", f"model={name}", f"seed={seed}"]
            found.append(write_run(tmp_path, 10 * seed + number, seed, score, y, entity, overrides=overrides))
    found.append((Record(30, "failed", "30", ["recipe=r", "model=bad", "seed=3"], "no luck", 2), None))
    return leaderboard.build("r", found)


def test_settings_are_ordered_and_paired(board: Leaderboard) -> None:
    (gives,) = board.boards
    by_name = {line.setting.name: line for line in gives.lines}
    assert gives.selected is gives.lines[0]
    assert gives.lines[-1].setting.name == "model=bad"
    assert by_name["model=bad"].difference.certain
    assert by_name["model=bad"].difference.high < 0
    tied = next(line for line in gives.lines[1:] if line.setting.name != "model=bad")
    assert not tied.difference.certain
    assert tied.difference.value == pytest.approx(tied.mean - gives.lines[0].mean)
    assert tied.difference.rows == 1600
    assert "1 of 2 other settings cannot be told apart" in board.notes[0]


def test_the_test_is_shown_of_the_selected_one_only(board: Leaderboard, tmp_path: Path) -> None:
    assert [bool(line.test) for line in board.boards[0].lines] == [True, False, False]
    board_page.write(board, tmp_path)
    assert [line["test_mean"] for line in lines(tmp_path)] == ["0.123456", "", ""]
    assert (tmp_path / "leaderboard.md").read_text().count("0.1235") == 2  # its line, and the sentence


def test_which_overrides_mattered(board: Leaderboard) -> None:
    effects = board.boards[0].effects
    assert [effect.key for effect in effects] == ["model"] * 3 + ["seed"] * 2
    good = next(effect for effect in effects if effect.value == "good")
    line = next(line for line in board.boards[0].lines if line.setting.name == "model=good")
    assert (good.mean, good.runs) == (pytest.approx(line.mean), 2)


def test_a_value_is_judged_by_what_every_value_was_tried_with(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    y, entity = rng.integers(0, 2, 200).astype(float), np.arange(200).astype(str)
    found: list[tuple[Record, Run | None]] = []
    for number, (model, seed, score) in enumerate([("a", 1, y), ("a", 2, 1 - y), ("b", 1, y * 0.9)]):
        words = [f"model={model}", f"seed={seed}"]
        found.append(write_run(tmp_path, number, seed, score, y, entity, overrides=words))
    found.append((Record(3, "died", "3", ["model=b", "seed=2"], "gone", 1), None))
    effects = {e.value: e for e in leaderboard.build("r", found).boards[0].effects if e.key == "model"}
    assert {name: (e.mean, e.runs) for name, e in effects.items()} == {"a": (1.0, 1), "b": (1.0, 1)}


def test_seeds_alone_and_single_values_are_no_override_that_matters(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    y, entity = rng.integers(0, 2, 100).astype(float), np.arange(100).astype(str)
    seeds = [write_run(tmp_path, n, n, rng.random(100), y, entity, overrides=[f"seed={n}"]) for n in (1, 2)]
    assert leaderboard.build("r", seeds).boards[0].effects == []
    left = write_run(tmp_path, 3, 1, rng.random(100), y, entity, overrides=["model=a"])
    lost = (Record(4, "died", "4", ["model=b"], "gone", 1), None)
    assert leaderboard.build("r", [left, lost]).boards[0].effects == []


class TestOnlyWhatSharesRowsIsRanked:
    """Two settings, the second with the better figure; what they were validated on differs, or does not."""

    def build(self, tmp_path: Path, other: str) -> Leaderboard:
        rng = np.random.default_rng(6)
        y, entity = rng.integers(0, 2, 300).astype(float), np.arange(300).astype(str)
        worse = np.clip(0.5 + (y - 0.5) * 0.1 + rng.normal(0, 0.3, 300), 0, 1)
        end = 290 if other == "rows" else 300
        labels = np.where(np.arange(300) < 5, 1 - y, y) if other == "labels" else y
        order = rng.permutation(end)
        found = [
            write_run(tmp_path, 0, 0, worse, y, entity, overrides=["split=temporal"]),
            write_run(tmp_path, 1, 0, labels[order] * 0.9, labels[order], entity[order],
                      overrides=["split=random"]),
        ]  # fmt: skip
        return leaderboard.build("r", found)

    def test_the_same_rows_in_another_order(self, tmp_path: Path) -> None:
        found = self.build(tmp_path, "order")
        assert found.chief is not None
        assert found.chief.selected is not None
        assert found.chief.selected.setting.name == "split=random"

    @pytest.mark.parametrize("other", ["rows", "labels"])
    def test_other_rows_or_labels(self, tmp_path: Path, other: str) -> None:
        found = self.build(tmp_path, other)
        (board,) = found.boards
        assert board.selected is None
        assert not any(line.test for line in board.lines)
        assert board.effects == []
        assert "nothing is selected: 1 of 2 settings cannot be compared" in found.notes[0]
        board_page.write(found, tmp_path)
        assert {(line["place"], line["selected"]) for line in lines(tmp_path)} == {("", "no")}
        assert "nothing is selected" in (tmp_path / "leaderboard.md").read_text()


def test_what_cannot_be_compared_with_the_selected_one_is_counted(tmp_path: Path) -> None:
    """A setting with fewer seeds may have other rows: it is listed, with how many rows are not shared."""
    rng = np.random.default_rng(7)
    y, entity = rng.integers(0, 2, 200).astype(float), np.arange(200).astype(str)
    found = [write_run(tmp_path, n, n, rng.random(200), y, entity, overrides=["model=full", f"seed={n}"])
             for n in (1, 2)]  # fmt: skip
    found += [
        write_run(tmp_path, 3, 1, rng.random(150), y[:150], entity[:150], overrides=["model=part", "seed=1"]),
        write_run(tmp_path, 4, 3, rng.random(200), y, entity, overrides=["model=none", "seed=3"]),
    ]
    board = leaderboard.build("r", found)
    by_name = {line.setting.name: line for line in board.boards[0].lines}
    assert by_name["model=part"].difference.unshared == 50
    assert by_name["model=none"].difference is None
    assert "of 2 other settings cannot be told apart" in board.notes[0]
    assert "; 1 cannot be compared with it" in board.notes[0]
    board_page.write(board, tmp_path)
    assert "150 (50 in one only)" in (tmp_path / "leaderboard.md").read_text()
    assert {line["unshared_rows"] for line in lines(tmp_path)} == {"", "50"}


def test_the_lead_is_of_the_board_that_selects(tmp_path: Path) -> None:
    """The first job has a target of its own; they are chosen by the one that all have."""
    rng = np.random.default_rng(8)
    y, entity = rng.integers(0, 2, 200).astype(float), np.arange(200).astype(str)
    found = [write_run(tmp_path, n, 0, score, y, entity, overrides=[f"target={n}"])
             for n, score in enumerate([rng.random(200), y * 0.9])]  # fmt: skip
    own, config = found[0][1].metrics["targets"], found[0][1].config["target"]
    frame = pd.read_parquet(tmp_path / "0/predictions.parquet")
    for name in ("label", "score", "probability", "decision"):
        frame[f"own.{name}"] = frame[f"gives.{name}"]
    frame.to_parquet(tmp_path / "0/predictions.parquet")
    entry, weight = own.pop("gives"), config.pop("gives")
    own |= {"own": entry, "gives": entry}
    config |= {"own": weight, "gives": weight}
    board = leaderboard.build("r", found)
    assert [one.title for one in board.boards] == ["own", "gives"]
    assert board.chief is board.boards[1]
    first = next(board_page.lead(board))
    assert first.startswith("selected by validation on the gives: target=1: roc_auc 1.0000")
    assert "1 of 1 other" not in board.notes[0]


def test_seeds_are_averaged_within_a_replicate() -> None:
    """By hand: the same draw of entities for both settings and seeds, mean over seeds, then the interval."""
    rng = np.random.default_rng(1)

    def scored(score: np.ndarray) -> Scored:
        keys = pd.MultiIndex.from_arrays([np.arange(300).astype(str), [0] * 300])
        return Scored("binary", (), keys, y, score, score, score > 0.5)

    y = rng.integers(0, 2, 300).astype(float)
    a = [scored(np.clip(y * 0.4 + rng.random(300) * 0.6, 0, 1)) for _ in range(2)]
    b = [scored(rng.random(300)) for _ in range(2)]
    found = pair(a, b).differences(["roc_auc"])["roc_auc"]
    boot = EntityBootstrap(np.arange(300).astype(str), 1000, seed=0)
    draws = [np.mean([boot.binary(y, one.score)["roc_auc"] for one in side], axis=0) for side in (a, b)]
    assert (found.low, found.high) == pytest.approx(interval(draws[0] - draws[1]))
    assert len(found.entities) == 300


def test_rows_in_another_order_are_paired_by_key_and_other_labels_refused() -> None:
    keys = pd.MultiIndex.from_arrays([list("abcdef"), [0] * 6])
    y = np.array([0, 1, 0, 1, 0, 1.0])
    one = Scored("binary", (), keys, y, np.arange(6) / 6, None, None)
    order = np.array([5, 3, 1, 0, 2])  # one row is missing
    both = pair([one], [one.take(order)])
    assert both.rows == 5
    assert both.unshared == 1
    assert both.differences(["roc_auc"])["roc_auc"].value == 0
    flipped = Scored("binary", (), keys[order], 1 - y[order], one.score[order], None, None)
    with pytest.raises(NotComparableError, match="labels differ in 5 of 5"):
        pair([one], [flipped])
    other = Scored(
        "binary", (), pd.MultiIndex.from_arrays([list("uvwxyz"), [0] * 6]), y, one.score, None, None
    )
    with pytest.raises(NotComparableError, match="share no labelled rows"):
        pair([one], [other])


def test_a_setting_with_a_failed_seed_is_not_selected(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 200).astype(float)
    entity = np.arange(200).astype(str)
    best = write_run(tmp_path, 0, 1, y * 0.9, y, entity, overrides=["model=lucky", "seed=1"])
    rest = [
        write_run(tmp_path, n, n, rng.random(200), y, entity, overrides=["model=full", f"seed={n}"])
        for n in (1, 2)
    ]
    lost = (Record(3, "died", "3", ["model=lucky", "seed=2"], "gone", 1), None)
    found = leaderboard.build("r", [best, *rest, lost])
    assert found.boards[0].selected.setting.name == "model=full"
    assert found.boards[0].lines[0].setting.name == "model=lucky"
    assert any("fewer finished seeds" in note for note in found.notes)


def test_several_targets_have_a_board_each_and_one_of_their_mean(work: Work) -> None:
    work.write(
        {"conf/target/orders_soon.yaml": "kind: event_within\ntable: orders\nhorizon: 3 months\nweight: 3\n"}
    )
    said = work.run("-m", "recipe=shop", "target=[orders_again,orders_soon]", "model=logistic,lightgbm")
    assert said.code == 0, said.err
    (sweep,) = (work.folder / "outputs").glob("*/multirun/*")
    found = lines(sweep)
    assert list(dict.fromkeys(line["target"] for line in found)) == [
        "weighted mean of the targets", "orders_again", "orders_soon"
    ]  # fmt: skip
    value = {(line["target"], line["setting"]): float(line["validation_mean"]) for line in found}
    mean = (value["orders_again", "model=logistic"] + 3 * value["orders_soon", "model=logistic"]) / 4
    assert value["weighted mean of the targets", "model=logistic"] == pytest.approx(mean, abs=1e-5)
    assert len({line["setting"] for line in found if line["selected"] == "yes"}) == 1


# --- what is written is safe --------------------------------------------------------------------------


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [str(value) for name, value in attrs if name in ("href", "src")]


def test_names_are_inert_and_links_lead_to_the_runs(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    y, entity = rng.integers(0, 2, 100).astype(float), np.arange(100).astype(str)
    nasty = '<script>alert(1)</script>=HYPERLINK("x")|a](javascript:b) 🎈' + "n" * 300
    found = [write_run(tmp_path / "a b#", n, 1, rng.random(100), y, entity, target=nasty,
                       overrides=[f"+vars.x={value}", "seed=1"]) for n, value in enumerate([nasty, "=1+1"])]  # fmt: skip
    for _, run in found:
        (run.folder / "report.html").write_text("")
    board_page.write(leaderboard.build(nasty, found), tmp_path)
    page = Links((tmp_path / "leaderboard.html").read_text())
    assert "script" not in page.tags
    assert set(page.found) == {"a%20b%23/0/report.html", "a%20b%23/1/report.html"}
    text = (tmp_path / "leaderboard.md").read_text()
    assert "<script" not in text
    assert not re.search(r"(?<!\\)\]\(javascript", text)
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("| ")]
    assert {row.count("|") for row in rows} <= {8, 6}
    for name in ("leaderboard.csv", "overrides.csv"):
        for line in lines(tmp_path, name):
            assert not any(str(cell).startswith(("=", "+", "@")) for cell in line.values())
    assert any(float(line["difference"]) < 0 for line in lines(tmp_path) if line["difference"])


def test_a_secret_is_in_no_file_of_a_sweep(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", "Hunter2fromenv")
    said = work.run(
        "-m", "recipe=shop", "seed=1,2", "+vars.api_key=Hunter2xyz", "+vars.other='${oc.env:SHOP_KEY}'"
    )
    assert said.code == 0, said.err
    for path in (work.folder / "outputs").rglob("*"):
        assert path.is_dir() or b"Hunter2" not in path.read_bytes()
    assert "Hunter2" not in said.out


def test_jobs_that_differ_in_a_secret_only_stay_apart(work: Work) -> None:
    said = work.run(
        "-m", "recipe=shop", "+vars.api_key=Hunter2abc,Hunter2xyz", "seed=1,2", "report.html=false"
    )
    assert said.code == 0, said.err
    (sweep,) = (work.folder / "outputs").glob("*/multirun/*")
    assert {(line["setting"], line["seeds"]) for line in lines(sweep)} == {
        ("vars.api_key=***1", "2"), ("vars.api_key=***2", "2")
    }  # fmt: skip
    for path in (work.folder / "outputs").rglob("*"):
        assert path.is_dir() or b"Hunter2" not in path.read_bytes()
    assert "Hunter2" not in said.out


def test_of_repeated_overrides_the_last_one_counts() -> None:
    assert value_of(["model=a", "seed=1", "model=b"], "model") == "b"
    assert value_of(["seed=1"], "model") is None
    assert numbered([["k=a", "s=1"], ["k=b", "s=1"]]) == {"k=a": 1, "k=b": 2}


def test_what_is_swept_is_what_differs() -> None:
    assert swept([["recipe=a", "seed=1", "+vars.x=2"], ["recipe=a", "seed=2", "+vars.x=2"]]) == ["seed"]
    assert swept([["a=1"], ["a=1", "b=2"]]) == ["b"]
    assert math.isnan(leaderboard.spread([1.0]))
