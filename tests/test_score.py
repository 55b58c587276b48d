"""Scoring equals training, or refuses: new tables through the same code, every row accounted for."""

from __future__ import annotations

import contextlib
import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import SHOP, Work, write_files

from toolkit import bundling
from toolkit.cli.main import main

SHIPPED = Path(__file__).parents[1] / "recipes/data/donor_retention"
CUTOFF = "cutoff=2018-01-01"


def difference(run: Path, scores: Path) -> float:
    """The largest difference between a run's test rows and scores of the same rows; the keys must be equal."""
    ran = pq.read_table(run / "predictions.parquet").to_pandas().query("part == 'test'")
    new = pq.read_table(scores / "scores.parquet").to_pandas()
    both = ran.merge(new, on=["entity", "cutoff"], suffixes=("", " new"), validate="1:1")
    assert len(both) == len(ran) == len(new)
    worst = 0.0
    for name in (column.removesuffix(" new") for column in both if column.endswith(" new")):
        if name.endswith(".decision"):
            assert (both[name] == both[f"{name} new"]).all(), name
        else:
            worst = max(worst, (both[name] - both[f"{name} new"]).abs().max())
    assert any(name.endswith((".score new", "decision new")) for name in both)
    return float(worst)


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and ".cache" not in path.parts)


class TestTheSameAsInTheRun:
    @pytest.mark.parametrize(
        ("model", "settings", "allowed"),
        [
            # one product of a matrix and a vector, whose sums a library may take in another order
            ("logistic", [], 1e-12),
            ("random_forest", ["model.random_forest.trees=20"], 0),
            ("lightgbm", ["model.lightgbm.num_iterations=40"], 0),
            ("hist_gbm", ["model.hist_gbm.max_iterations=40"], 0),
            ("xgboost", ["model.xgboost.num_boost_round=40"], 0),
        ],
    )
    def test_on_real_tables(
        self,
        work: Work,
        tmp_path_factory: pytest.TempPathFactory,
        model: str,
        settings: list[str],
        allowed: float,
    ) -> None:
        cache = tmp_path_factory.getbasetemp() / "cache"  # one for all models
        said = work.run(
            "recipe=donor_retention",
            f"model=[{model}]",
            "evaluation.bootstrap=0",
            f"cache={cache}",
            *settings,
        )
        assert said.code == 0, said.err
        run = only(work.folder, "outputs/donor_retention/*")
        said = work.run("score", f"run={run}", f"input={SHIPPED}", CUTOFF, "output=new", "cache=fresh")
        assert said.code == 0, said.err
        assert (
            "5,000 rows of donors: 1,093 scored at 2018-01-01, 3,907 not in the cohort, 0 rejected"
            in said.out
        )
        assert difference(run, work.folder / "new") <= allowed
        listed = (work.folder / "new/lists/gives_next_year.csv").read_bytes()
        assert listed == (run / "lists/gives_next_year.csv").read_bytes()

    def test_on_a_flat_table_without_the_label_column(self, work: Work) -> None:
        frame = flat(work.folder)
        run = finished(work, "recipe=flat")
        test = pq.read_table(run / "predictions.parquet").to_pandas().query("part == 'test'").entity
        (work.folder / "new").mkdir()
        new = frame[frame.id.isin(test)].drop(columns="label")
        new.sample(frac=1, random_state=1).to_csv(work.folder / "new/rows.csv", index=False)
        said = work.run("score", f"run={run}", "input=new", "output=scores")
        assert said.code == 0, said.err
        assert difference(run, work.folder / "scores") <= 1e-12

        new.assign(x=new.x + 0.01).to_csv(work.folder / "new/rows.csv", index=False)  # the control
        assert work.run("score", f"run={run}", "input=new", "output=others").code == 0
        assert difference(run, work.folder / "others") > 1e-6

    def test_on_five_targets_with_relations_and_a_chain(self, tmp_path: Path) -> None:
        """In processes of their own, as a user starts them; the world is simulated once."""
        settings = [
            "source.world.size=1500",
            "evaluation.bootstrap=0",
            "model.lightgbm.num_iterations=20",
            "trainer.epochs=1",
            "engine.threads=1",
        ]
        chain = "+coherent=[[high_value,consistent_giver]]"
        for words in (
            ["recipe=donor_multitarget", *settings, chain, "hydra.run.dir=run"],
            ["score", "run=run", "cutoff=2024-01-01", "output=new"],
        ):
            done = subprocess.run(
                [sys.executable, "-m", "toolkit", *words], cwd=tmp_path, capture_output=True, text=True,
                env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        assert difference(tmp_path / "run", tmp_path / "new") < 1e-6  # a network's sums depend on batches
        scores = pq.read_table(tmp_path / "new/scores.parquet").to_pandas()
        targets = {name.split(".")[0] for name in scores if name.endswith(".score")}
        assert len(targets) == 5
        assert (scores["high_value.probability"] <= scores["consistent_giver.probability"]).all()

    def test_lists_and_scores_respect_who_a_target_applies_to(self, work: Work) -> None:
        work.write({"conf/target/orders_again.yaml": (
            "kind: event_within\ntable: orders\nhorizon: 6 months\namong: [{table: orders, within: 6 months}]\n")})  # fmt: skip
        run = finished(work, "recipe=shop")
        said = work.run("score", f"run={run}", "cutoff=2022-01-01", "output=new")
        assert said.code == 0, said.err
        assert difference(run, work.folder / "new") <= 1e-12
        scores = pq.read_table(work.folder / "new/scores.parquet").to_pandas()
        applies = scores[scores["orders_again.applies"]].entity
        assert 0 < len(applies) < len(scores)
        assert f"orders_again: applies to {len(applies)} of the scored rows" in said.out
        for folder in (run, work.folder / "new"):
            listed = pd.read_csv(folder / "lists/orders_again.csv", dtype={"entity": str})
            assert sorted(listed.entity) == sorted(applies)
        labelled = pq.read_table(run / "predictions.parquet").to_pandas().query("part == 'test'")
        assert set(labelled.dropna(subset="orders_again.label").entity) == set(applies)

    def test_a_capacity_is_filled_with_those_whom_a_target_applies_to(self, work: Work) -> None:
        work.write({"conf/target/orders_again.yaml": (
            "kind: event_within\ntable: orders\nhorizon: 6 months\namong: [{table: orders, within: 6 months}]\n"
            "threshold: {kind: fill_capacity, count: 20}\n")})  # fmt: skip
        run = finished(work, "recipe=shop")
        assert work.run("score", f"run={run}", "cutoff=2022-01-01", "output=new").code == 0
        assert difference(run, work.folder / "new") <= 1e-12
        for folder in (run, work.folder / "new"):
            listed = pd.read_csv(folder / "lists/orders_again.csv")
            assert listed.act.tolist() == ["yes"] * 20 + ["no"] * (len(listed) - 20)

    @pytest.mark.parametrize("transform", ["none", "log1p"])
    def test_on_a_number(self, work: Work, transform: str) -> None:
        work.write({"conf/target/orders_again.yaml": (
            "kind: value\nof: {table: orders, agg: sum, column: amount, window: horizon}\nhorizon: 6 months\n"
            f"transform: {transform}\n")})  # fmt: skip
        run = finished(work, "recipe=shop", "model=[lightgbm]", "model.lightgbm.num_iterations=20")
        assert work.run("score", f"run={run}", "cutoff=2022-01-01", "output=new").code == 0
        assert difference(run, work.folder / "new") == 0
        listed = pd.read_csv(run / "lists/orders_again.csv")
        assert list(listed) == ["rank", "entity", "cutoff", "value", "decile"]
        assert listed.value.is_monotonic_decreasing
        assert (work.folder / "new/lists/orders_again.csv").read_bytes() == (
            run / "lists/orders_again.csv"
        ).read_bytes()

    def test_on_classes(self, work: Work) -> None:
        work.write({"conf/target/orders_again.yaml": (
            "kind: classes\nhorizon: 6 months\nterms: {n: {table: orders, agg: count, window: horizon}}\n"
            "classes: {none: n = 0, one: n = 1, more: n > 1}\n")})  # fmt: skip
        run = finished(work, "recipe=shop")
        assert work.run("score", f"run={run}", "cutoff=2022-01-01", "output=new").code == 0
        assert difference(run, work.folder / "new") <= 1e-12
        listed = pd.read_csv(run / "lists/orders_again.csv", keep_default_na=False)
        assert set(listed["class"]) <= {"none", "one", "more"}

    def test_of_a_single_entity_in_a_folder_of_its_own(self, work: Work) -> None:
        run = finished(work, "recipe=shop")
        ran = (
            pq.read_table(run / "predictions.parquet").to_pandas().query("part == 'test'").set_index("entity")
        )
        (work.folder / "one").mkdir()
        for name in ("clients.csv", "orders.csv"):
            header, *lines = (work.folder / "data" / name).read_text().splitlines(keepends=True)
            (work.folder / "one" / name).write_text(
                header + "".join(x for x in lines if x.startswith("0007,"))
            )
        said = work.run("score", f"run={run}", "input=one", "cutoff=2022-01-01", "output=new")
        assert "1 rows of clients: 1 scored" in said.out
        (row,) = pq.read_table(work.folder / "new/scores.parquet").to_pylist()
        assert row["entity"] == "0007"
        assert row["orders_again.score"] == pytest.approx(ran.loc["0007", "orders_again.score"], abs=1e-12)

    def test_from_another_folder_with_the_bundle_alone(
        self, work: Work, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        run = finished(work, "recipe=shop")
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        shutil.copytree(run / "bundle", elsewhere / "mine")
        monkeypatch.chdir(elsewhere)
        said = work.run("score", "run=mine", f"input={work.folder}/data", "cutoff=2022-01-01", "output=new")
        assert said.code == 0, said.err
        assert difference(run, elsewhere / "new") <= 1e-12
        assert {path.name for path in elsewhere.iterdir()} == {"mine", "new", "outputs"}


def flat(folder: Path) -> pd.DataFrame:
    """A flat table whose `code` is text in most rows, and whole numbers in some."""
    draw = np.random.default_rng(5)
    rows = 300
    x = draw.normal(size=rows).round(3)
    frame = pd.DataFrame({
        "id": [f"{n:03d}" for n in range(rows)],
        "label": np.where(x + draw.normal(size=rows) > 0, "yes", "no"),
        "x": x, "code": draw.choice(["A1", "7", "12", "B"], rows), "town": draw.choice(["Rome", "Oslo"], rows),
    })  # fmt: skip
    frame.to_csv(folder / "data/rows.csv", index=False)
    return frame


def finished(work: Work, *words: str) -> Path:
    said = work.run(*words, "hydra.run.dir=run")
    assert said.code == 0, said.err
    return work.folder / "run"


Change = Callable[[pd.DataFrame], Any]


class Flat:
    """A finished run on the flat table, and new files like it."""

    def __init__(self, work: Work) -> None:
        self.work, self.number = work, 0
        self.frame = pd.read_csv(work.folder / "data/rows.csv", dtype={"id": str, "code": str})
        (work.folder / "new").mkdir()

    def score(self, frame: pd.DataFrame) -> tuple[Any, pd.DataFrame | None]:
        """What the command line said, and the scores by key."""
        self.number += 1
        frame.to_csv(self.work.folder / "new/rows.csv", index=False)
        said = self.work.run("score", "run=run", "input=new", f"output=scores{self.number}")
        path = self.work.folder / f"scores{self.number}/scores.parquet"
        return said, pq.read_table(path).to_pandas().set_index("entity") if path.exists() else None

    def refused(self, frame: pd.DataFrame) -> str:
        said, scores = self.score(frame)
        assert said.code == 2
        assert "Traceback" not in said.err
        assert scores is None
        assert not list(self.work.folder.glob(".unfinished*"))
        assert "rows.csv" in said.err
        return str(said.err)


@pytest.fixture(scope="module")
def flat_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a finished run of the recipe `flat`, made once."""
    folder = tmp_path_factory.mktemp("flat")
    write_files(folder, SHOP)
    (folder / "data").mkdir()
    flat(folder)
    with contextlib.chdir(folder):
        assert main(["recipe=flat", "hydra.run.dir=run"]) == 0
    return folder


@pytest.fixture
def rows(flat_run: Path, work: Work) -> Flat:
    """The same in a fresh folder."""
    shutil.copytree(flat_run, work.folder, dirs_exist_ok=True)
    return Flat(work)


class TestInputThatDiffers:
    def test_a_column_is_read_as_in_training_however_it_looks_now(self, rows: Flat) -> None:
        """`code` was text; a new file that holds only 7 and 12 would pass for whole numbers."""
        _, all_rows = rows.score(rows.frame)
        digits = rows.frame[rows.frame.code.isin(["7", "12"])]
        _, some = rows.score(digits)
        assert all_rows is not None
        assert some is not None
        assert len(some) == len(digits)
        assert (some["label.score"] - all_rows["label.score"].loc[some.index]).abs().max() <= 1e-12

    def test_one_row(self, rows: Flat) -> None:
        _, all_rows = rows.score(rows.frame)
        said, one = rows.score(rows.frame.iloc[[17]])
        assert "1 rows of rows: 1 scored, 0 not in the cohort, 0 rejected" in said.out
        assert all_rows is not None
        assert one is not None
        assert one["label.score"].item() == pytest.approx(all_rows.loc["017", "label.score"], abs=1e-12)

    def test_an_unseen_level_and_a_further_column_are_scored_and_told(self, rows: Flat) -> None:
        frame = rows.frame.assign(colour="red")
        frame.loc[:2, "town"] = "Paris"
        said, scores = rows.score(frame)
        assert said.code == 0
        assert "columns.town: 3 rows hold a level never seen in training" in said.out
        assert "in rows.csv, not used: colour" in said.out
        assert scores is not None
        assert scores["label.probability"].notna().all()

    def test_an_empty_column_is_scored(self, rows: Flat) -> None:
        said, scores = rows.score(rows.frame.assign(x=None, town=None))
        assert said.code == 0, said.err
        assert scores is not None
        assert np.isfinite(scores["label.score"]).all()

    def test_a_missing_column_is_refused_by_name(self, rows: Flat) -> None:
        assert "has no column `town`" in rows.refused(rows.frame.drop(columns="town"))

    def test_another_type_is_refused_with_the_count(self, rows: Flat) -> None:
        frame = rows.frame.astype({"x": object})
        frame.loc[4, "x"] = "much"
        message = rows.refused(frame)
        assert "1 of 300 rows" in message
        assert "`x` is not a number (for example 'much')" in message

    def test_a_key_that_repeats_is_refused(self, rows: Flat) -> None:
        message = rows.refused(pd.concat([rows.frame, rows.frame.iloc[[3]]]))
        assert "id" in message
        assert "1 of 301 rows" in message

    def test_no_row_is_refused(self, rows: Flat) -> None:
        assert "has no rows" in rows.refused(rows.frame.head(0))

    def test_a_cutoff_where_there_is_none_is_refused(self, rows: Flat) -> None:
        said = rows.work.run("score", "run=run", "cutoff=2024-01-01")
        assert said.code == 2
        assert "without a clock" in said.err
        assert rows.work.run("score", "run=run", "cutoff=latest").code == 0


class TestRowsInAreRowsOut:
    def test_scored_outside_and_rejected_add_up(self, work: Work) -> None:
        """Rows that the contract drops are written with the reason, those outside the cohort counted."""
        dataset = (work.folder / "conf/dataset/shop.yaml").read_text()
        work.write({
            "conf/dataset/shop.yaml": dataset.replace("key: id", "key: id\n    on_bad_row: drop"),
            "conf/cohort/yearly.yaml": 'cutoffs: ["2021-01-01", "2022-01-01"]\nhaving: [{table: orders, within: 12 months}]\n',
        })  # fmt: skip
        run = finished(work, "recipe=shop")
        with open(work.folder / "data/clients.csv", "a") as file:
            file.write("0001,Rome,44\n,Oslo,30\n=9,Bonn,old\n")
        said = work.run("score", f"run={run}", "cutoff=2022-01-01", "output=new")
        assert said.code == 0, said.err
        line = re.search(
            r"(\S+) rows of clients: (\S+) scored.*, (\S+) not in the cohort, (\S+) rejected", said.out
        )
        assert line is not None
        read, scored, outside, rejected = map(int, line.groups())
        assert (read, rejected) == (243, 3)
        assert read == scored + outside + rejected
        assert scored == pq.read_table(work.folder / "new/scores.parquet").num_rows
        assert outside > 0
        with open(work.folder / "new/rejected/clients.csv", newline="") as file:
            lines = list(csv.DictReader(file))
        assert [row["id"] for row in lines] == ["0001", "", "'=9"]
        assert all(row["reason"] for row in lines)
        assert said.out.startswith((work.folder / "new/summary.txt").read_text())


class TestCutoffs:
    def test_latest_is_the_end_of_the_data_and_the_default(self, work: Work) -> None:
        run = finished(work, "recipe=shop")
        orders = (work.folder / "data/orders.csv").read_text().split()[1:]
        last = max(line.split(",")[1] for line in orders)
        after = str(np.datetime64(last) + 1)  # a day is over at its end
        for words in (["cutoff=latest"], []):
            said = work.run("score", f"run={run}", *words)
            assert f"scored at {after}," in said.out

    def test_a_snapshot_is_the_newest_step_of_the_cohorts_rhythm(self, work: Work) -> None:
        """Orders end on a day in December; of steps by the quarter from 2020-02-01 on, November's is the last."""
        work.write({"conf/cohort/yearly.yaml": "cutoffs: {every: 3 months, start: 2020-02-01}\n"})
        run = finished(work, "recipe=shop")
        assert "scored at 2022-11-01," in work.run("score", f"run={run}", "snapshot=latest").out
        assert "scored at 2022-11-20," in work.run("score", f"run={run}", "snapshot=2022-11-20").out
        assert "scored at 2022-11-01," not in work.run("score", f"run={run}").out  # without a list: the end

    def test_of_a_cohort_at_the_end_of_days_is_called_by_that_day(self, work: Work) -> None:
        work.write({"conf/cohort/yearly.yaml": 'cutoffs: ["2021-01-01", "2022-01-01"]\nmoment: day_end\n'})
        run = finished(work, "recipe=shop")
        assert (
            "scored at 2022-01-01," in work.run("score", f"run={run}", "cutoff=2022-01-01", "output=new").out
        )
        assert difference(run, work.folder / "new") <= 1e-12
        orders = (work.folder / "data/orders.csv").read_text().split()[1:]
        last = max(line.split(",")[1] for line in orders)
        assert f"scored at {last}," in work.run("score", f"run={run}", "cutoff=latest").out

    def test_a_cutoff_after_the_data_is_told_and_one_long_after_it_refused(self, work: Work) -> None:
        run = finished(work, "recipe=shop")
        said = work.run("score", f"run={run}", "cutoff=2023-02-01")
        assert said.code == 0, said.err
        assert re.search(r"the cutoff lies \d+ days after the last row", said.out)
        said = work.run("score", f"run={run}", "cutoff=2030-01-01", "output=far")
        assert said.code == 2
        assert "far beyond the data" in said.err
        assert not (work.folder / "far").exists()

    @pytest.mark.parametrize(
        ("cutoff", "says"),
        [("soon", "is not a day"), ("2024-02-30", "is not a day"), ("1999-01-01", "nothing was known yet"), ("", "is empty")],
    )  # fmt: skip
    def test_a_bad_one_is_refused(self, work: Work, cutoff: str, says: str) -> None:
        run = finished(work, "recipe=shop")
        said = work.run("score", f"run={run}", f"cutoff={cutoff}", "output=new")
        assert said.code == 2
        assert says in said.err
        assert not (work.folder / "new").exists()

    def test_a_folder_without_any_event_needs_one(self, work: Work) -> None:
        run = finished(work, "recipe=shop")
        work.write({"data/orders.csv": "client,day,amount\n"})
        said = work.run("score", f"run={run}")
        assert said.code == 2
        assert "cutoff=2024-01-31" in said.err
        said = work.run("score", f"run={run}", "cutoff=2022-01-01")
        assert said.code == 0, said.err
        assert "240 scored" in said.out

    def test_days_are_days_of_the_cohorts_zone(self, work: Work) -> None:
        """Midnight in Tokyo is still the day before in UTC; files and messages show Tokyo's."""
        cohort = 'cutoffs: ["2021-01-01", "2022-01-01"]\ntimezone: Asia/Tokyo\n'
        work.write({"conf/cohort/yearly.yaml": cohort})
        run = finished(work, "recipe=shop")
        said = work.run("score", f"run={run}", "cutoff=2022-01-01", "output=new")
        assert "scored at 2022-01-01," in said.out
        assert difference(run, work.folder / "new") <= 1e-12
        for folder in (run, work.folder / "new"):
            assert set(pd.read_csv(folder / "lists/orders_again.csv").cutoff) == {"2022-01-01"}
        assert "\n    2022-01-01: 240 rows" in (run / "plan.txt").read_text()


class TestNewTablesTellOfTimeAsTheRunsDid:
    WEEKLY = "    clock: day\n    covers: auto\n"

    def tables(self, work: Work, folder: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        (work.folder / folder).mkdir(exist_ok=True)
        frame = pd.read_csv(work.folder / "data/orders.csv", dtype={"client": str}, parse_dates=["day"])
        change(frame).to_csv(work.folder / folder / "orders.csv", index=False)
        if folder != "data":
            shutil.copy(work.folder / "data/clients.csv", work.folder / folder)

    def test_daily_stamps_are_refused_where_the_run_found_weekly_ones_and_the_reverse(
        self, work: Work
    ) -> None:
        def on_mondays(frame: pd.DataFrame) -> pd.DataFrame:
            return frame.assign(day=frame.day - pd.to_timedelta(frame.day.dt.weekday, "D"))

        dataset = (work.folder / "conf/dataset/shop.yaml").read_text()
        work.write({"conf/dataset/shop.yaml": dataset.replace("    clock: day\n", self.WEEKLY)})
        self.tables(work, "daily", lambda frame: frame)
        self.tables(work, "weekly", on_mondays)
        self.tables(work, "a_few", lambda frame: on_mondays(frame).query("day > '2022-11-15'"))
        for was, other in (("weekly", "daily"), ("daily", "weekly")):
            said = work.run(
                "recipe=shop", f"source.path={was}", f"hydra.run.dir=of_{was}", "report.html=false"
            )
            assert said.code == 0, said.err
            assert work.run("score", f"run=of_{was}").code == 0
            refused = work.run("score", f"run=of_{was}", f"input={other}", "output=new")
            assert refused.code == 2
            assert "`orders.csv` are stamped" in refused.err
            assert "dataset.tables.orders.covers" in refused.err
            assert not (work.folder / "new").exists()
        # of a few weeks all are Mondays still, and of too few to be called a rhythm
        assert work.run("score", "run=of_weekly", "input=a_few", "cutoff=2023-01-09").code == 0

    def test_what_is_found_in_them_is_said(self, work: Work) -> None:
        run = finished(work, "recipe=shop")
        self.tables(
            work, "next", lambda frame: frame.assign(client=frame.client.where(frame.index > 2, "who"))
        )
        said = work.run("score", f"run={run}", "input=next", "output=new")
        line = "orders: 3 rows are of 1 keys that table `clients` does not have, and are not used"
        assert line in said.out
        assert line in (work.folder / "new/summary.txt").read_text()
        assert line not in work.run("score", f"run={run}").out

    def test_a_shorter_history_than_the_models_learnt_from_is_warned_of(self, work: Work) -> None:
        run = finished(work, "recipe=shop", "features.history.windows=[6 months,all]")
        self.tables(work, "short", lambda frame: frame[frame.day >= "2021-06-01"])
        said = work.run("score", f"run={run}", "input=short", "cutoff=2022-01-01")
        (line,) = (line for line in said.out.splitlines() if line.startswith("warning: "))
        assert "orders begins 213 days before 2022-01-01; in the run it began 730 days" in line
        assert "(history)" in line
        # not where it reaches as far back as it did from the run's newest cutoff, or nothing looks so far back
        assert "warning" not in work.run("score", f"run={run}", "cutoff=2022-01-01").out
        self.tables(work, "rolling", lambda frame: frame[frame.day >= "2020-03-01"])
        assert "warning" not in work.run("score", f"run={run}", "input=rolling", "cutoff=2022-06-01").out
        assert work.run("recipe=shop", "features.history.windows=[6 months]", "hydra.run.dir=near").code == 0
        near = work.folder / "near"
        assert "warning" not in work.run("score", f"run={near}", "input=short", "cutoff=2022-01-01").out
        far = work.run("score", f"run={near}", "input=short", "cutoff=2021-10-01")
        assert "warning: orders begins 121 days before" in far.out


class TestBundles:
    def test_one_flipped_byte_in_any_file_is_refused_by_name_before_a_parser_reads_it(
        self, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = finished(work, "recipe=shop", "model=[lightgbm]")
        assert work.run("score", f"run={run}", "output=good").code == 0  # the control
        read: list[Path] = []
        monkeypatch.setattr(bundling.store, "load", lambda path: read.append(path))
        monkeypatch.setattr(bundling, "_parsed", lambda *arguments: read.append(arguments[0]))
        bundle = run / "bundle"
        files = [path for path in bundle.rglob("*") if path.is_file()]
        assert len(files) >= 5
        for path in files:
            good = path.read_bytes()
            middle = len(good) // 2
            path.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
            said = work.run("score", f"run={run}", "output=new")
            path.write_bytes(good)
            assert said.code == 2, path
            name = path.relative_to(bundle).as_posix()
            assert f"`{name}`" in said.err or name == "manifest.json", said.err
            assert not (work.folder / "new").exists()
        assert read == []

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (["run=nowhere"], "there is no folder `nowhere`"),
            (["run=rum"], "did you mean `run`"),
            (["run=data"], "there is no bundle in `data`"),
            (["input=data"], "which run's bundle"),
            (["run=run", "inptu=data"], "did you mean `input`"),
            (["run=run", "data"], "`data` is not an argument here"),
            (["run=run", "source.path=data"], "new data: input=data"),
            (["run=run/bundle"], "a bundle alone does not say where the tables are"),
            (["run=run", "input=nowhere"], "the folder `nowhere` does not exist"),
            (["run=run", "output=data"], "already there"),
        ],
    )  # fmt: skip
    def test_wrong_arguments_are_answered_by_name(self, work: Work, words: list[str], says: str) -> None:
        finished(work, "recipe=shop")
        before = files(work.folder)
        said = work.run("score", *words)
        assert said.code == 2
        assert says in said.err
        assert "fix: " in said.err
        assert files(work.folder) == before

    def test_a_source_that_was_secret_must_be_given_again(
        self, work: Work, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SHOP_DATA", "data")
        run = finished(work, "recipe=shop", "source.path='${oc.env:SHOP_DATA}'")
        said = work.run("score", f"run={run}", "cutoff=2022-01-01")
        assert said.code == 2
        assert "holds a secret, which was not kept" in said.err
        assert work.run("score", f"run={run}", "cutoff=2022-01-01", "input=data").code == 0

    def test_help_says_how(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["score", "--help"]) == main(["score"]) == 0
        assert "cutoff=DAY|latest" in capsys.readouterr().out
