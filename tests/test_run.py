"""A run's folder: whole or absent, and everything in it is what the README says it is."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import SHOP, Work, shop_files, write_files

from toolkit.cli.main import main
from toolkit.errors import ConfigError
from toolkit.evaluation.ties import places
from toolkit.registry import models
from toolkit.report.lists import defused, file_name, write_csv
from toolkit.report.predictions import write_list
from toolkit.runfolder import aside, held

FILES = {
    "summary.md", "lists", "predictions.parquet", "metrics.json", "plan.txt", "audit.json", "data.json",
    "config.yaml", "environment.json", "run.log", "bundle", "report.html", "drivers",
}  # fmt: skip


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def strict(path: Path) -> Any:
    """JSON as the standard has it: no NaN, no infinity, no key twice."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{path.name} holds {constant}")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    return json.loads(path.read_text("utf-8"), parse_constant=refuse, object_pairs_hook=unique)


@pytest.fixture
def run(work: Work) -> Path:
    """The folder of a finished run of the shop's recipe."""
    said = work.run("recipe=shop")
    assert said.code == 0, said.err
    (folder,) = work.runs()
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, made once for the tests that only look at it."""
    folder = tmp_path_factory.mktemp("kept")
    write_files(folder, SHOP | {f"data/{name}": text for name, text in shop_files().items()})
    with contextlib.chdir(folder):
        assert main(["recipe=shop", "hydra.run.dir=run"]) == 0
    return folder / "run"


class TestWholeOrAbsent:
    def test_a_model_that_raises_leaves_no_folder_and_an_earlier_run_as_it_was(
        self, work: Work, run: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = content(run)

        def broken(config: Any) -> NoReturn:
            raise RuntimeError("out of luck")

        monkeypatch.setitem(models.components, "logistic", replace(models.get("logistic"), build=broken))
        with pytest.raises(RuntimeError, match="out of luck"):  # a bug keeps its traceback
            work.run("recipe=shop", "seed=1")
        assert list(run.parent.iterdir()) == [run]
        assert content(run) == before

    def test_so_does_a_bad_table(self, work: Work, run: Path) -> None:
        before = content(run)
        with open(work.folder / "data/clients.csv", "a") as file:
            file.write("0001,Rome,33\n")
        said = work.run("recipe=shop")
        assert said.code == 2
        assert "clients.csv" in said.err
        assert list(run.parent.iterdir()) == [run]
        assert content(run) == before

    def test_a_killed_run_leaves_no_folder_and_the_next_one_goes_on_from_there(
        self, work: Work, run: Path
    ) -> None:
        before = content(run)
        script = (
            "import os, signal\nfrom toolkit.report import record\nfrom toolkit.cli.main import main\n"
            "record.write_outcome = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)\n"
            "main(['recipe=shop', 'seed=5'])"
        )
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=work.folder, env=environment, capture_output=True
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        (left,) = (path for path in run.parent.iterdir() if path != run)
        assert left.name.startswith(".unfinished-")
        assert (left / "data.json").is_file()  # the control: it had come that far
        assert content(run) == before

        assert work.run("recipe=shop", "seed=5").code == 0
        (again,) = (path for path in run.parent.iterdir() if path not in (run, left))
        assert strict(again / "metrics.json")["built"] == []  # tables, features and fits were all found

    def test_what_a_killed_run_left_is_removed_by_the_next_one_unless_it_still_works(
        self, tmp_path: Path
    ) -> None:
        dead, working = tmp_path / ".unfinished-dead", tmp_path / ".unfinished-working"
        for path in (dead, working):
            path.mkdir()
            (path / "part").write_text("")
            os.utime(path, (0, 0))
        with held(working), aside(tmp_path / "run"):
            pass
        assert sorted(path.name for path in tmp_path.iterdir()) == [".unfinished-working", "run"]

    def test_a_folder_that_holds_something_is_refused_before_any_work(self, work: Work) -> None:
        work.write({"mine/notes.txt": "keep"})
        said = work.run("recipe=shop", "hydra.run.dir=mine")
        assert said.code == 2
        assert "`" + str(work.folder / "mine") + "`" in said.err
        assert [path.name for path in (work.folder / "mine").iterdir()] == ["notes.txt"]
        assert not (work.folder / "outputs").exists()

    def test_two_runs_at_once_are_two_folders(self, work: Work) -> None:
        with ThreadPoolExecutor(2) as pool:
            one, two = pool.map(lambda seed: work.process("recipe=shop", f"seed={seed}"), (1, 2))
        assert (one.code, two.code) == (0, 0), one.err + two.err
        assert len(work.runs()) == 2
        for folder in work.runs():
            assert {path.name for path in folder.iterdir()} == FILES

    def test_even_if_both_were_to_have_the_same_name(self, tmp_path: Path) -> None:
        with aside(tmp_path / "run") as first:
            with aside(tmp_path / "run") as second:
                (second.path / "a").write_text("second")
            (first.path / "a").write_text("first")
        assert [(place.final.name, (place.final / "a").read_text()) for place in (second, first)] == [
            ("run", "second"),
            ("run-2", "first"),
        ]

    def test_an_empty_folder_is_taken_a_full_one_or_a_file_is_not(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with aside(tmp_path / "empty") as place:
            (place.path / "a").write_text("")
        (tmp_path / "file").write_text("")
        for taken in ("empty", "file"):
            with pytest.raises(ConfigError, match="already there"), aside(tmp_path / taken):
                raise AssertionError("no work is begun")

    def test_the_same_command_again_gives_the_same(self, work: Work, run: Path) -> None:
        """Promise 10, in a fresh process and without any cache."""
        assert work.process("recipe=shop", "cache=elsewhere").code == 0
        (again,) = (folder for folder in work.runs() if folder != run)
        for name in ("predictions.parquet", "lists/orders_again.csv", "audit.json"):
            assert (again / name).read_bytes() == (run / name).read_bytes(), name
        assert content(again / "bundle") == content(run / "bundle")


class TestEveryFile:
    def test_there_are_these_and_no_others(self, kept: Path) -> None:
        assert {path.name for path in kept.iterdir()} == FILES

    def test_the_readme_names_them(self) -> None:
        readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
        for name in FILES:
            assert f"`{name}" in readme, name

    def test_json_is_strict(self, kept: Path) -> None:
        files = list(kept.rglob("*.json"))
        assert {"metrics.json", "audit.json", "data.json", "environment.json", "manifest.json"} <= {
            f.name for f in files
        }
        for path in files:
            strict(path)

    def test_metrics_hold_every_model_beside_both_baselines(self, kept: Path) -> None:
        metrics = strict(kept / "metrics.json")
        target = metrics["targets"]["orders_again"]
        assert set(target["models"]) == {"prior", "rule", "logistic"}
        assert target["chosen"] == "logistic"
        assert metrics["test_label_reads"] == 1
        labels = pq.read_table(kept / "predictions.parquet").to_pandas()
        for part, found in labels.groupby("part")["orders_again.label"]:
            rates = target["base_rates"][part]
            assert (rates["rows"], rates["mean"]) == (len(found), pytest.approx(found.mean()))
            assert rates["positives"] == found.sum() >= rates["positive_entities"]

    def test_predictions_have_every_validation_and_test_row_once(self, kept: Path) -> None:
        found = pq.read_table(kept / "predictions.parquet").to_pandas()
        counts = strict(kept / "metrics.json")["rows"]
        assert found.part.value_counts().to_dict() == {part: counts[part] for part in ("validation", "test")}
        assert not found.duplicated(["entity", "cutoff"]).any()
        assert found["orders_again.label"].isin([0.0, 1.0]).all()
        assert found["orders_again.probability"].between(0, 1).all()
        assert {"orders_again.score", "orders_again.decision", "orders_again.prior.score"} <= set(found)
        assert set(found[found.part == "test"].cutoff.astype(str)) == {"2022-01-01"}

    def test_the_list_is_the_test_rows_best_first(self, kept: Path) -> None:
        found = pq.read_table(kept / "predictions.parquet").to_pandas()
        test = found[found.part == "test"]
        test = test.assign(place=places(test.entity.to_numpy()))
        wanted = test.sort_values(["orders_again.score", "place"], ascending=[False, True])
        listed = pd.read_csv(kept / "lists/orders_again.csv", dtype={"entity": str})
        assert listed.entity.tolist() == wanted.entity.tolist()
        assert listed["rank"].tolist() == list(range(1, len(test) + 1))
        assert listed.probability.tolist() == pytest.approx(
            wanted["orders_again.probability"].tolist(), abs=1e-6
        )
        assert (listed.act == "yes").tolist() == wanted["orders_again.decision"].tolist()
        assert listed.decile.iloc[[0, -1]].tolist() == [1, 10]
        assert listed.decile.value_counts().between(len(test) // 10, len(test) // 10 + 1).all()

    def test_the_summary_the_plan_and_the_log_say_what_happened(self, kept: Path) -> None:
        summary = (kept / "summary.md").read_text("utf-8")
        assert "| ● | logistic |" in summary
        assert "assumed: table `clients` has no clock" in summary
        plan = (kept / "plan.txt").read_text("utf-8")
        for word in ("orders: ", "history.count_6mo", "base rate", "CREATE OR REPLACE"):
            assert word in plan
        assert "training and evaluation: " in (kept / "run.log").read_text("utf-8")

    def test_a_backtest_shows_every_fold(self, work: Work) -> None:
        cohort = 'cutoffs: ["2020-07-01", "2021-01-01", "2021-07-01", "2022-01-01", "2022-06-01"]\n'
        work.write({"conf/cohort/yearly.yaml": cohort})
        said = work.run("recipe=shop", "split=rolling", "split.folds=2", "evaluation.bootstrap=20")
        assert said.code == 0, said.err
        (run,) = work.runs()
        folds = [f for f in strict(run / "metrics.json")["backtest"] if f["model"] == "logistic"]
        assert [fold["metric"] for fold in folds] == ["roc_auc"] * 2
        line = "backtest orders_again, logistic: roc_auc " + ", ".join(
            f"● {fold['value']:.3f} [{fold['interval_95']['roc_auc'][0]:.3f}, {fold['interval_95']['roc_auc'][1]:.3f}]"
            for fold in folds
        )
        assert line in said.out
        assert line in (run / "summary.md").read_text("utf-8")

    def test_data_and_environment_say_from_what(self, kept: Path) -> None:
        data = strict(kept / "data.json")
        assert data["clients"]["rows_read"] == data["clients"]["rows_kept"] == 240
        assert len(data["orders"]["fingerprint"]) == 64
        assert strict(kept / "environment.json")["overrides"] == ["recipe=shop"]

    def test_rejected_rows_are_written_with_the_reason(self, work: Work) -> None:
        work.write({"conf/dataset/shop.yaml": work_text(work, "conf/dataset/shop.yaml").replace(
            "clock: day", "clock: day\n    on_bad_row: drop")})  # fmt: skip
        with open(work.folder / "data/orders.csv", "a") as file:
            file.write("0001,2021-05-05,=1+1\n0002,soon,5\n0003,2021-05-05,-4\n")
        assert work.run("recipe=shop").code == 0
        (run,) = work.runs()
        lines = read_csv(run / "rejected/orders.csv")
        assert [(line["client"], line["day"], line["amount"]) for line in lines] == [
            ("0001", "2021-05-05", "'=1+1"),
            ("0002", "soon", "5"),
            ("0003", "2021-05-05", "-4"),
        ]
        assert all(line["reason"] for line in lines)
        kept = strict(run / "data.json")["orders"]
        assert kept["rows_read"] - kept["rows_kept"] == sum(kept["rejected"].values()) == 3


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def work_text(work: Work, name: str) -> str:
    return (work.folder / name).read_text()


NASTY = {  # key → the cell that is written
    '=HYPERLINK("http://evil","click")': '\'=HYPERLINK("http://evil","click")',
    "=1+1": "'=1+1",
    "+1": "+1",
    "+SUM(A1)": "'+SUM(A1)",
    "-5": "-5",
    "-5.5e3": "-5.5e3",
    "-5+cmd|' /C calc'!A0": "'-5+cmd|' /C calc'!A0",
    "@x": "'@x",
    "\t=1": "'\t=1",
    "\r=1": "'\r=1",
    "\nx": "'\nx",
    "  =1": "'  =1",
    "\uff1d1+1": "'\uff1d1+1",
    "two\nlines": "two\nlines",
    'quo"te, comma; tab\t': 'quo"te, comma; tab\t',
    "🦊": "🦊",
    "001": "001",
    "a=b": "a=b",
    "NA": "NA",
}


class TestSafeToOpen:
    @pytest.mark.parametrize(("key", "cell"), NASTY.items())
    def test_cells_that_a_spreadsheet_would_run_are_defused(self, key: str, cell: str) -> None:
        assert defused(key) == cell

    def test_numbers_are_left_alone(self) -> None:
        assert [defused(value) for value in (-5, -0.5, None, True)] == [-5, -0.5, None, True]

    def test_keys_come_out_of_a_run_as_they_went_in(self, work: Work) -> None:
        keys = [*(key for key in NASTY if "\r" not in key), *(f"k{number}" for number in range(200))]
        with open(work.folder / "data/rows.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "label", "x|<img src=//evil>[a](b)"])
            writer.writerows(
                [key, "yes" if n % 3 else "no", n % 7 + (n % 3) / 9] for n, key in enumerate(keys)
            )
        said = work.run("recipe=flat", "split.test=0.6", "evaluation.bootstrap=20")
        assert said.code == 0, said.err
        (run,) = work.runs()
        listed = read_csv(run / "lists/label.csv")
        test = pq.read_table(run / "predictions.parquet").to_pandas().query("part == 'test'")
        assert set(test.entity) <= set(keys)
        assert {line["entity"] for line in listed} == {NASTY.get(key, key) for key in test.entity}
        assert set(test.entity) & set(NASTY)  # the control: some of them are there

        summary = (run / "summary.md").read_text("utf-8")
        assert "x\\|&lt;img" in summary  # as the rule's column
        assert "<img" not in summary
        assert "](b" not in summary
        rows = [line for line in summary.splitlines() if line.startswith("|")]
        assert {row.replace("\\|", "").count("|") for row in rows} == {rows[0].count("|")}

    def test_ties_are_ranked_alike_in_whatever_order_rows_come(self, tmp_path: Path) -> None:
        keys, score = np.array(["b", "a", "10", "9", "é"], object), np.array([0.5, 0.5, 0.9, 0.5, 0.5])
        texts = []
        for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
            path = tmp_path / f"{order[0]}.csv"
            write_list(
                path, keys[order], [""] * 5, "binary", (), score[order], score[order], score[order] > 0.6, 4
            )
            texts.append(path.read_text("utf-8"))
        assert texts[0] == texts[1]
        assert [line.split(",")[1] for line in texts[0].split()] == ["entity", "10", "a", "b", "9"]

    def test_headers_are_defused_and_files_of_different_targets_differ(self, tmp_path: Path) -> None:
        write_csv(tmp_path / "a.csv", ["=x", "z"], [[None, "=y"]])
        assert (tmp_path / "a.csv").read_bytes() == b"'=x,z\r\n,'=y\r\n"
        assert file_name("high_value") == "high_value"
        names = ["a b", "a_b", "a/b", "../../b", "日本"]
        assert len({file_name(name) for name in names}) == len(names)
        assert all("/" not in file_name(name) and "." not in file_name(name) for name in names)


class TestSecrets:
    @pytest.fixture
    def secret(self, work: Work, monkeypatch: pytest.MonkeyPatch) -> str:
        """A recipe that reads its folder from the environment, and keys that look like secrets."""
        (work.folder / "hidden-Hunter2").mkdir()
        for name in ("clients.csv", "orders.csv"):
            (work.folder / "data" / name).rename(work.folder / "hidden-Hunter2" / name)
        monkeypatch.setenv("SHOP_FOLDER", "hidden-Hunter2")
        work.write({"conf/source/here.yaml": "kind: folder\npath: ${oc.env:SHOP_FOLDER}\n"})
        return "Hunter2"

    WORDS = (
        "+vars.api_key=Hunter2xyz",
        "+vars.note=sk-Hunter2abcdefghij",
        "+vars.again='see ${oc.env:SHOP_FOLDER}'",
    )

    def test_they_are_in_no_file_of_a_run(self, work: Work, secret: str) -> None:
        said = work.run("recipe=shop", *self.WORDS)
        assert said.code == 0, said.err
        assert secret not in said.out + said.err
        (run,) = work.runs()
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert config["source"]["path"] == config["vars"]["api_key"] == config["vars"]["note"] == "***"
        assert config["features"]["history"]["table"] == "orders"  # the rest is as it was
        holders = [name for name, data in content(run).items() if secret.encode() in data]
        assert holders == []

    def test_show_masks_them(self, work: Work, secret: str) -> None:
        said = work.run("show", "recipe=shop", *self.WORDS)
        assert said.code == 0
        assert secret not in said.out.replace("command line (", "")
        assert "path: '***'" in said.out

    def test_a_path_is_none(self, work: Work) -> None:
        """Long paths with digits look like keys; the run must still know where its tables were."""
        place = work.folder / "exports-of-the-year-2026" / "november-30th-final"
        place.mkdir(parents=True)
        for name in ("clients.csv", "orders.csv"):
            (work.folder / "data" / name).rename(place / name)
        assert work.run("recipe=shop", f"source.path={place}").code == 0
        (run,) = work.runs()
        assert yaml.safe_load((run / "config.yaml").read_text())["source"]["path"] == str(place)
        assert work.run("score", f"run={run}", "cutoff=2022-01-01").code == 0

    def test_a_multirun_keeps_none_either(self, work: Work) -> None:
        """Neither in the names of its folders nor in a file of Hydra's own."""
        said = work.run("-m", "recipe=shop", "seed=1,2", "+vars.api_key=Hunter2xyz")
        assert said.code == 0, said.err
        jobs = list((work.folder / "outputs").glob("shop/multirun/*/*/metrics.json"))
        assert len(jobs) == 2
        for path in (work.folder / "outputs").rglob("*"):
            assert "Hunter2" not in str(path)
            assert path.is_dir() or b"Hunter2" not in path.read_bytes()


def test_a_mistake_that_only_the_data_shows_is_told_by_file_and_line(work: Work) -> None:
    work.write({"conf/target/orders_again.yaml": "kind: event_within\ntable: orders\n\nhorizon: 9 years\n"})
    message = work.refused("recipe=shop")
    assert "where: conf/target/orders_again.yaml:4 (target.orders_again.horizon)" in message
