"""`compare`: any runs side by side, on the rows that they share."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import Work

from toolkit.sweep import comparison
from toolkit.sweep.runs import read


@pytest.fixture
def runs(work: Work) -> list[str]:
    """Three runs of the shop: logistic, LightGBM, and logistic without a feature set."""
    words = [
        ["model=logistic"],
        ["model=lightgbm", "model.lightgbm.num_iterations=20"],
        ["model=logistic", "features=[history]", "model.logistic.C=0.5"],
    ]
    for number, some in enumerate(words):
        assert work.run("recipe=shop", f"hydra.run.dir=runs/r{number}", *some).code == 0
    return [f"runs/r{number}" for number in range(3)]


def lines(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_configuration_and_features_side_by_side(work: Work, runs: list[str]) -> None:
    said = work.run("compare", *runs, "output=beside")
    assert said.code == 0, said.err
    beside = work.folder / "beside"
    assert {path.name for path in beside.iterdir()} == {
        "comparison.csv", "comparison.md", "comparison.html", "configuration.csv", "features.csv"
    }  # fmt: skip
    figures = {(line["other"], line["metric"]): line for line in lines(beside / "comparison.csv")}
    assert {line["part"] for line in figures.values()} == {"validation"}
    for number, (name, model) in enumerate([("r1", "lightgbm"), ("r2", "logistic")], 1):
        there = json.loads((work.folder / runs[number] / "metrics.json").read_text())["targets"][
            "orders_again"
        ]
        line = figures[name, "roc_auc"]
        assert float(line["other_value"]) == pytest.approx(
            there["models"][model]["validation"]["roc_auc"], abs=1e-5
        )
        gap = float(line["other_value"]) - float(line["first_value"])
        assert float(line["difference"]) == pytest.approx(gap, abs=1e-5)
        assert float(line["low"]) <= float(line["difference"]) <= float(line["high"])
        rows = pd.read_parquet(work.folder / runs[number] / "predictions.parquet").query(
            "part == 'validation'"
        )
        assert int(line["rows"]) == rows["orders_again.label"].notna().sum()
    keys = {line["key"]: line for line in lines(beside / "configuration.csv")}
    assert set(keys) == {"model.logistic", "model.lightgbm", "features.profile"}
    assert keys["features.profile"]["r2"] == "–"
    assert "C: 0.5" in keys["model.logistic"]["r2"]
    changes = {(line["run"], line["change"], line["feature"]) for line in lines(beside / "features.csv")}
    assert changes == {("r2", "removed", "profile.town"), ("r2", "removed", "profile.age")}
    assert "shared labelled rows" in said.out
    assert "0 added, 2 removed" in said.out
    assert "leave out that the thresholds were fitted on the same validation rows" in said.out


def test_test_figures_come_on_demand_with_a_warning(work: Work, runs: list[str]) -> None:
    assert "test rows" not in work.run("compare", *runs[:2]).out
    said = work.run("compare", *runs[:2], "test=all")
    assert "orders_again, test rows" in said.out
    assert "whoever chooses by them has no test left" in said.out


def test_a_sweeps_leaderboard_is_shown_again(work: Work) -> None:
    assert work.run("-m", "recipe=shop", "model=logistic,lightgbm", "hydra.sweep.dir=sweep").code == 0
    said = work.run("compare", "sweep")
    assert said.code == 0, said.err
    assert "test (selected only)" in said.out
    assert "warning" not in said.out
    said = work.run("compare", "sweep", "test=all", "output=again")
    assert "whoever chooses by them" in said.out
    assert all(line["test_mean"] for line in lines(work.folder / "again/leaderboard.csv"))
    assert "../sweep/0/" in (work.folder / "again/leaderboard.html").read_text()
    shutil.rmtree(work.folder / "sweep/1")
    said = work.run("compare", "sweep")
    assert "there is no folder `sweep/1`" in said.out
    assert work.run("compare", "sweep/0", "sweep").code == 2  # a sweep is no run


def test_runs_of_different_recipes_share_what_rows_they_share(work: Work, runs: list[str]) -> None:
    recipe = (work.folder / "recipes/shop.yaml").read_text()
    work.write({"recipes/late.yaml": recipe + "source: {path: fewer}\n"})
    shutil.copytree(work.folder / "data", work.folder / "fewer")
    clients = (work.folder / "data/clients.csv").read_text().splitlines()
    (work.folder / "fewer/clients.csv").write_text("\n".join(clients[:180]) + "\n")
    orders = (work.folder / "data/orders.csv").read_text().splitlines()
    kept = {line.split(",")[0] for line in clients[:180]}
    (work.folder / "fewer/orders.csv").write_text(
        "\n".join(line for line in orders if line.split(",")[0] in kept | {"client"}) + "\n"
    )
    assert work.run("recipe=late", "hydra.run.dir=runs/late").code == 0
    said = work.run("compare", runs[0], "runs/late")
    assert said.code == 0, said.err
    assert "rows are in one of the two only" in said.out


class TestRefused:
    def test_labels_that_differ(self, work: Work, runs: list[str]) -> None:
        target = (work.folder / "conf/target/orders_again.yaml").read_text()
        work.write({"conf/target/orders_again.yaml": target.replace("6 months", "1 month")})
        assert work.run("recipe=shop", "hydra.run.dir=runs/other").code == 0
        said = work.run("compare", runs[0], "runs/other")
        assert said.code == 2
        assert "labels differ in" in said.err

    def test_no_target_in_common(self, work: Work, runs: list[str]) -> None:
        work.write(
            {
                "data/rows.csv": "id,label,x\n"
                + "".join(f"{n},{'yes' if n % 3 else 'no'},{n % 7}\n" for n in range(200))
            }
        )
        assert work.run("recipe=flat", "hydra.run.dir=runs/flat").code == 0
        said = work.run("compare", runs[0], "runs/flat")
        assert said.code == 2
        assert "share no target" in said.err

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["runs/r0"], "two runs or more"),
            (["runs/r0", "runs/r00"], "did you mean `runs/r0`?"),
            (["runs/r0", "runs/r0"], "given twice"),
            (["runs/r0", "data"], "is not a run's folder"),
            (["runs/r0", "runs"], "the runs in it are r0, r1, r2"),
            (["sweeps"], "`sweeps` is the folder of sweeps"),
            (["runs/r0", "runs/r1", "tset=all"], "did you mean `test`?"),
            (["runs/r0", "runs/r1", "test=some"], "can only be `all`"),
        ],
    )
    def test_what_is_no_pair_of_runs(
        self, work: Work, runs: list[str], words: list[str], message: str
    ) -> None:
        work.write({"sweeps/2021/sweep.json": "{}", "sweeps/2022/sweep.json": "{}"})
        said = work.run("compare", *words)
        assert said.code == 2
        assert message in said.err
        assert "Traceback" not in said.err

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("metrics.json", "{"),
            ("metrics.json", '{"targets": 3}'),
            ("config.yaml", "a: [}"),
            ("predictions.parquet", "x"),
        ],
    )
    def test_a_damaged_run(self, work: Work, runs: list[str], name: str, content: str) -> None:
        (work.folder / "runs/r1" / name).write_text(content)
        said = work.run("compare", *runs[:2])
        assert said.code == 2, said.out
        assert "cannot be read" in said.err


def test_help(work: Work) -> None:
    assert "RUN" in work.run("compare", "--help").out
    assert "compare" in work.run("--help").out


def test_what_only_one_run_declares_is_one_line(work: Work, runs: list[str]) -> None:
    found = dict(comparison.configuration_differences([read(Path(folder)) for folder in runs[:2]]))
    assert found["model.logistic"][1] == "–"
    assert found["model.lightgbm"][1].startswith("{kind: lightgbm, num_iterations: 20")
