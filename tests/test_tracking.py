"""Trackers are told of a finished run; what goes wrong in them never costs the run."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Said, Work

from toolkit.tracking import flat, metric_name, read, track
from toolkit.tracking.settings import MLflow, TensorBoard


@pytest.fixture
def run(work: Work) -> Path:
    assert work.run("recipe=shop").code == 0
    (folder,) = work.runs()
    return folder


def test_a_run_is_read_as_flat_parameters_and_metrics(run: Path) -> None:
    found = read(run)
    assert found.recipe == "shop"
    assert found.params["split.kind"] == "temporal"
    assert found.params["cohort.cutoffs"] == '["2021-01-01", "2022-01-01"]'
    assert 0.5 < found.metrics["orders_again/test/roc_auc"] <= 1
    same = found.metrics["orders_again/logistic/test/roc_auc"]
    assert same == found.metrics["orders_again/test/roc_auc"]  # logistic is the chosen one
    assert "orders_again/prior/test/roc_auc" in found.metrics


def test_a_run_of_a_sweep_is_named_after_both_and_tells_its_overrides(work: Work) -> None:
    assert work.run("-m", "recipe=shop", "seed=1,2", "+vars.api_key=Hunter2xyz", "hydra.sweep.dir=out/mine").code == 0  # fmt: skip
    found = [read(work.folder / "out/mine" / name) for name in "01"]
    assert [one.name for one in found] == ["mine/0", "mine/1"]
    assert "seed=2" in found[1].params["overrides"].split()
    assert "Hunter2" not in found[1].params["overrides"]


def test_names_hold_no_letter_that_a_tracker_refuses() -> None:
    assert metric_name("a b", "test", "lift@5%") == "a b/test/lift_at_5pct"
    assert metric_name("<x>:y") == "_x__y"


def test_leaves_are_dotted() -> None:
    assert dict(flat({"a": {"b": 1, "c": {}}, "d": [1, "x"], "e": "007"})) == {
        "a.b": "1", "a.c": "{}", "d": '[1, "x"]', "e": "007",
    }  # fmt: skip


class TestMLflow:
    pytest.importorskip("mlflow")

    def test_a_local_database_and_the_whole_folder(self, run: Path, tmp_path: Path) -> None:
        from mlflow import MlflowClient

        home = tmp_path / "mlflow"
        assert track(MLflow(kind="mlflow", folder=str(home)), run) is None
        client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("shop")
        assert experiment is not None
        (logged,) = client.search_runs([experiment.experiment_id])
        assert logged.info.status == "FINISHED"
        assert logged.data.params["split.kind"] == "temporal"
        assert logged.data.metrics == pytest.approx(read(run).metrics)
        files = {path.path for path in client.list_artifacts(logged.info.run_id)}
        assert {"metrics.json", "config.yaml", "summary.md", "bundle"} <= files

    def test_jobs_at_the_same_moment_make_one_database(self, run: Path, tmp_path: Path) -> None:
        script = (
            "import sys; from pathlib import Path\n"
            "from toolkit.tracking import track; from toolkit.tracking.settings import MLflow\n"
            "said = track(MLflow(kind='mlflow', folder=sys.argv[1], artifacts=False), Path(sys.argv[2]))\n"
            "sys.exit(said)"
        )
        command = [sys.executable, "-c", script, str(tmp_path / "mlflow"), str(run)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        jobs = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(3)]
        said = [job.communicate()[1] for job in jobs]
        assert [job.returncode for job in jobs] == [0, 0, 0], said
        with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as database:
            assert database.execute("select count(*) from runs").fetchone() == (3,)
            assert database.execute("select count(*) from experiments where name = 'shop'").fetchone() == (1,)

    def test_a_server_out_of_reach_costs_a_line_and_not_the_run(self, work: Work) -> None:
        with socket.socket() as taken:  # bound and not listening: refused at once
            taken.bind(("127.0.0.1", 0))
            address = f"http://me:hush-hush@127.0.0.1:{taken.getsockname()[1]}"
            said = work.run("recipe=shop", "tracking=mlflow", f"tracking.uri={address}")
        assert said.code == 0
        (folder,) = work.runs()
        assert (folder / "metrics.json").is_file()
        assert "tracking=mlflow" in said.out + said.err
        assert "hush" not in said.out + said.err
        assert "Traceback" in (folder / "run.log").read_text()
        assert not [path for path in folder.rglob("*") if path.is_file() and b"hush" in path.read_bytes()]

    def test_nothing_leaves_the_machine(
        self, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[object] = []
        real: Callable[..., None] = socket.socket.connect

        def connect(self: socket.socket, address: object) -> None:
            asked.append(address)
            real(self, address)

        monkeypatch.setattr(socket.socket, "connect", connect)
        with socket.socket() as probe, socket.socket() as server:  # the control: the guard sees a call
            server.bind(("127.0.0.1", 0))
            server.listen()
            probe.connect(server.getsockname())
        assert len(asked) == 1
        assert track(MLflow(kind="mlflow", folder=str(tmp_path / "mlflow")), run) is None
        assert len(asked) == 1


def test_tensorboard_gets_the_same_figures(run: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert track(TensorBoard(kind="tensorboard", folder=str(tmp_path / "board")), run) is None
    found = accumulator.EventAccumulator(str(tmp_path / "board" / "shop" / run.name))
    found.Reload()
    (event,) = found.Scalars("orders_again/test/roc_auc")
    assert event.value == pytest.approx(read(run).metrics["orders_again/test/roc_auc"], abs=1e-6)


def test_a_tracker_that_is_not_installed_is_named_with_what_to_install(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    said = track(MLflow(kind="mlflow", folder=str(tmp_path / "mlflow")), run)
    assert said is not None
    assert "pip install 'toolkit[mlflow]'" in said


def test_a_typed_mistake_is_told_before_any_work(work: Work) -> None:
    said: Said = work.run("recipe=shop", "tracking=mlflo")
    assert said.code == 2
    assert "mlflow" in said.err
