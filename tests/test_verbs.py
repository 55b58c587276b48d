"""The verbs: what they print, what they leave behind, how they end."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import duckdb
import numpy as np
import pytest
import yaml
from conftest import SHOP, Work, shop_files, write_files
from pydantic import BaseModel

from toolkit import proof
from toolkit.cli.main import main
from toolkit.registry import Component, models


def left_behind(work: Work) -> set[str]:
    """Folders under outputs/."""
    return {path.name for path in (work.folder / "outputs").glob("*")}


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder in which the shop's plan has been made once, into plan.txt."""
    folder = tmp_path_factory.mktemp("planned")
    write_files(folder, SHOP | {f"data/{name}": text for name, text in shop_files().items()})
    said = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(said):
        assert main(["plan", "recipe=shop", "cache=" + str(folder / "outputs/.cache")]) == 0
    (folder / "plan.txt").write_text(said.getvalue())
    return folder


@pytest.fixture
def plan(planned: Path) -> str:
    return (planned / "plan.txt").read_text()


class TestPlan:
    def test_it_says_what_would_be_read_and_what_is_assumed(self, plan: str) -> None:
        assert re.search(r"clients: 240 rows from clients.csv, no clock", plan)
        assert re.search(r"orders: [\d,]+ rows from orders.csv, 2020-01-01 to 2022-12-\d\d", plan)
        assert "assumed: table `clients` has no clock" in plan

    def test_it_says_how_many_rows_each_cutoff_and_part_has(self, plan: str) -> None:
        assert "480 rows, 240 entities" in plan
        ((train, validation),) = re.findall(r"2021-01-01: 240 rows \(train (\d+), validation (\d+)\)", plan)
        assert int(train) + int(validation) == 240
        assert "2022-01-01: 240 rows (test 240)" in plan

    def test_it_says_the_base_rate_of_each_part(self, work: Work, plan: str) -> None:
        rates = dict(re.findall(r"(train|validation|test) (0\.\d+) of", plan))
        assert work.run("recipe=shop").code == 0
        (run,) = work.runs()
        ran = json.loads((run / "metrics.json").read_text())["targets"]["orders_again"]["base_rates"]
        assert rates == {part: f"{entry['mean']:.4f}" for part, entry in ran.items()}

    def test_it_says_where_every_feature_comes_from_and_its_window(self, plan: str) -> None:
        lines = plan[plan.index("FEATURES (8)") : plan.index("MODELS")]
        for name, window, source in (
            ("profile.age", "always", "clients.age"),
            ("history.count_6mo", "6 months", "orders.day"),
            ("history.amount_max_all", "all", "orders.amount"),
        ):
            (line,) = (line for line in lines.splitlines() if f"  {name}  [" in line)
            assert f"window {window}]" in line
            assert source in line.split("; from ")[1]

    def test_it_says_what_would_be_fitted(self, plan: str) -> None:
        assert "prior, rule: baselines, always there" in plan
        assert re.search(r"logistic: logistic \(.*C=1.0, .*\)", plan)

    def test_its_sql_runs_and_gives_the_cached_features(self, planned: Path, plan: str) -> None:
        script = plan.split("\nSQL\n")[1]
        connection, answers = duckdb.connect(), {}
        for comment, statement in re.findall(r"^-- (.*)\n((?:.*\n)*?.*;)$", script, re.MULTILINE):
            answer = connection.execute(statement)
            if not statement.startswith("CREATE"):
                answers[comment] = answer.df().set_index("@row").sort_index()
        assert set(answers) == {"features profile", "features history", "target orders_again"}
        for comment, found in answers.items():
            kind = "targets" if comment.startswith("target") else "features"
            kept = [
                connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
                .df()
                .set_index("@row")
                .sort_index()
                for path in (planned / "outputs/.cache" / kind).glob("*/values.parquet")
            ]
            (same,) = (values for values in kept if list(values) == list(found))
            numeric = found.select_dtypes("number").columns
            np.testing.assert_allclose(found[numeric], same[numeric], rtol=1e-9)
            rest = [name for name in found if name not in numeric]
            assert found[rest].equals(same[rest])

    def test_it_is_the_same_again_when_everything_is_in_the_cache(self, work: Work) -> None:
        first, second = work.run("plan", "recipe=shop"), work.run("plan", "recipe=shop")
        assert (first.code, first.out) == (0, second.out)
        assert left_behind(work) == {".cache"}


class TestCheck:
    def test_it_ends_with_0_if_everything_holds(self, work: Work) -> None:
        said = work.run("check", "recipe=shop")
        assert said.code == 0, said.out + said.err
        lines = said.out.splitlines()
        assert len(lines) >= 3
        assert {line[:4] for line in lines} == {"ok  ", "note"}  # a table without a clock is taken on trust
        assert left_behind(work) == {".cache"}

    def test_it_ends_with_1_if_something_does_not(self, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
        proofs = [proof.Proof("features are identical", True), proof.Proof("`x` moved", False)]
        monkeypatch.setattr(proof, "all_proofs", lambda *arguments: proofs)
        said = work.run("check", "recipe=shop")
        assert said.code == 1
        assert said.out.splitlines() == ["ok    features are identical", "FAIL  `x` moved"]


class TestShow:
    def test_every_value_stands_beside_where_it_came_from(self, work: Work) -> None:
        said = work.run("show", "recipe=shop", "seed=7", "target.orders_again.horizon=3 months")
        assert said.code == 0
        origins = {
            line.split(":")[0].strip(): line.split("  # ")[1]
            for line in said.out.splitlines()
            if "  # " in line
        }
        assert origins["seed"] == "command line (seed=7)"
        assert origins["horizon"] == "command line (target.orders_again.horizon=3 months)"
        assert origins["path"] == "conf/source/here.yaml:2"
        assert origins["bootstrap"].startswith("recipes/shop.yaml:")
        assert re.fullmatch(r".*/conf/model/logistic.yaml:\d+", origins["C"])

    def test_what_it_prints_is_the_composed_yaml(self, work: Work) -> None:
        shown = yaml.safe_load(work.run("show", "recipe=shop", "seed=7").out)
        composed = yaml.safe_load(work.run("recipe=shop", "seed=7", "--cfg", "job", "--resolve").out)
        composed["name"] = shown["name"]
        assert shown == composed
        assert left_behind(work) == set()

    def test_long_and_odd_values_are_whole_and_secrets_are_not_shown(
        self, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SHOP_PASSWORD", "hunter2-hunter2")
        said = {
            "description": "Two lines: one\n  # and no comment\n\nthe end",
            "audit": {"acknowledge": {"a: b # c": "x" * 300, "on": "'quoted' \\ \"too\"", "7": "é"}},
            "evaluation": {"at": [f"{share}%" for share in range(1, 40)], "bootstrap": 0, "segments": []},
        }
        recipe = (work.folder / "recipes/shop.yaml").read_text().replace("evaluation: {bootstrap: 0}\n", "")
        odd = yaml.safe_dump(said | {"vars": {"note": "${oc.env:SHOP_PASSWORD}"}})
        work.write({"recipes/odd.yaml": recipe + odd})
        shown = work.run("show", "recipe=odd")
        assert shown.code == 0, shown.err
        tree = yaml.safe_load(shown.out)
        for key, value in said.items():
            for inner, item in value.items() if isinstance(value, dict) else [(None, value)]:
                assert (tree[key] if inner is None else tree[key][inner]) == item
        assert "hunter2" not in shown.out
        assert tree["vars"] == {"note": "***"}
        assert max(map(len, shown.out.splitlines())) < 400  # forty sizes take a line each


class TestListAndSchemaAndSimulate:
    def test_list_shows_every_option_with_a_line_about_it(self, work: Work) -> None:
        said = work.run("list")
        assert said.code == 0
        for group in ("recipe", "target", "features", "model", "split"):
            assert f"\n{group}\n" in "\n" + said.out
        assert re.search(r"^  shop ", said.out, re.MULTILINE)
        assert re.search(r"^  logistic +\S+", said.out, re.MULTILINE)

    def test_list_says_which_files_are_not_the_toolkits_own(self, work: Work) -> None:
        said = work.run("list", "recipe")
        (mine,) = re.findall(r"^  shop .*$", said.out, re.MULTILINE)
        (packaged,) = re.findall(r"^  donor_retention  +Donors who .*$", said.out, re.MULTILINE)
        assert mine.endswith("(recipes/shop.yaml)")
        assert "(" not in packaged

    def test_list_shows_models_of_installed_packages(
        self, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Mean(BaseModel):
            """The class whose mean row is nearest.

            More about it.
            """

        monkeypatch.setitem(models.components, "nearest_mean", Component("nearest_mean", Mean, Mean))
        work.write({"conf/model/rule.yaml": "kind: rule\n"})  # without a comment
        said = work.run("list", "model").out
        assert re.search(
            r"^  nearest_mean  +The class whose mean row is nearest\. \(no declaration yet: write",
            said,
            re.MULTILINE,
        )
        assert re.search(r"^  rule  +\w.*\(conf/model/rule\.yaml\)", said, re.MULTILINE)

    def test_list_takes_groups(self, work: Work) -> None:
        said = work.run("list", "model", "split")
        assert [line for line in said.out.splitlines() if not line.startswith(" ")] == ["model", "split"]
        refused = work.run("list", "modle")
        assert refused.code == 2
        assert "did you mean `model`" in refused.err

    def test_schema_writes_one_file_per_group(self, work: Work) -> None:
        said = work.run("schema")
        assert said.code == 0
        written = {path.stem for path in (work.folder / "conf/schema").glob("*.json")}
        assert {"recipe", "target", "features", "model", "dataset"} <= written
        assert all(str(Path("conf/schema", f"{name}.json")) in said.out for name in written)
        assert work.run("schema", "output=elsewhere").code == 0
        assert {path.stem for path in (work.folder / "elsewhere").glob("*")} == written
        assert work.run("schema", "--help").code == 0

    def test_simulate_makes_the_tables_and_says_where(self, work: Work) -> None:
        said = work.process("simulate", "recipe=donor_multitarget", "source.world.size=500")
        assert said.code == 0, said.err
        folder = work.folder / said.out.split("  (")[0]
        assert re.search(r"donors.parquet: 500 rows", said.out)
        assert (folder / "donors.parquet").is_file()
        assert left_behind(work) == {".cache"}

    def test_simulate_needs_a_world(self, work: Work) -> None:
        said = work.run("simulate", "recipe=shop")
        assert said.code == 2
        assert "not a simulated world" in said.err


def test_a_multirun_makes_a_whole_folder_for_each_job(work: Work) -> None:
    said = work.run(
        "-m",
        "recipe=donor_retention",
        "model=logistic,lightgbm",
        "seed=1,2",
        "evaluation.bootstrap=0",
        "engine.threads=1",
    )
    assert said.code == 0, said.err
    jobs = sorted((work.folder / "outputs/donor_retention/multirun").glob("*/*/metrics.json"))
    assert len(jobs) == 4
    chosen = [next(iter(json.loads(job.read_text())["targets"].values()))["chosen"] for job in jobs]
    assert chosen == ["logistic", "logistic", "lightgbm", "lightgbm"]
    assert len({tuple(sorted(p.name for p in job.parent.iterdir())) for job in jobs}) == 1
    for job in jobs:
        assert (job.parent / "bundle/manifest.json").is_file()


def test_quiet_prints_the_folder_and_nothing_else(work: Work) -> None:
    said = work.run("recipe=shop", "quiet=true")
    (run,) = work.runs()
    assert said.out == f"{run}\n"
    assert said.err == ""
