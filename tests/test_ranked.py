"""The list one calls from: for the newest moment, of the cohort, in the order of the scores, with its reasons.

The shop of `conftest`, whose clients order again the younger they are; its recipe writes a list `calls`.
"""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import SHOP, Work, shop_files, write_files

from toolkit.actions import changes, reasons
from toolkit.actions.changes import Last, Moved, Place
from toolkit.cli.main import main
from toolkit.config.listing import BigMove, Listing
from toolkit.modalities import NOTHING, Column
from toolkit.models import Batch, Task
from toolkit.models.combine import Mixture
from toolkit.models.ensemble import Combined, Member
from toolkit.prepare.features import Feature
from toolkit.registry import models

CALLS = """\
file: calls
size: 100
columns: {TOWN: profile.town, age: age, lately: history.count_6mo, spent: history.amount_sum_6mo}
words: {"number of rows in orders": orders, history.count_6mo: orders in half a year}
models: all
"""
EVERY = "cutoffs: {every: 3 months}\n"
# Nobody who has not ordered within a year is in it.
ACTIVE = EVERY + "having: [{table: orders, within: 12 months}]\n"
WORDS = ["recipe=shop", "listing=calls", "model=[logistic,lightgbm,blend]", "engine.threads=1"]
LISTS = ("calls.csv", "calls.lightgbm.csv", "calls.blend.csv")
FIXED = ["rank", "id", "snapshot", "P_ORDERS_AGAIN", "decile", "TOWN", "age", "lately", "spent"]
FIXED += ["reason_1", "reason_2", "reason_3", "change", "previous_rank", "big_move"]


def texts(path: Path) -> pd.DataFrame:
    """A CSV file, every cell as it stands there."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a run in `run`, made once."""
    folder = tmp_path_factory.mktemp("calls")
    write_files(folder, SHOP | {f"data/{name}": content for name, content in shop_files().items()})
    write_files(folder, {"conf/listing/calls.yaml": CALLS, "conf/cohort/yearly.yaml": ACTIVE})
    with contextlib.chdir(folder):
        assert main([*WORDS, "model.logistic.C=1", "hydra.run.dir=run"]) == 0
    return folder


@pytest.fixture
def shop(finished: Path, work: Work) -> Work:
    """The same in a fresh folder."""
    shutil.copytree(finished, work.folder, dirs_exist_ok=True)
    return work


def scored(shop: Work, output: str, *words: str) -> Path:
    said = shop.run("score", "run=run", f"output={output}", *words)
    assert said.code == 0, said.err
    return shop.folder / output


class TestTheListOfARun:
    def test_is_of_the_last_step_of_the_rhythm_which_no_label_reaches(self, finished: Path) -> None:
        last = max(line.split(",")[1] for line in (finished / "data/orders.csv").read_text().split()[1:])
        snapshots = set(texts(finished / "run/calls.csv").snapshot)
        labelled = texts(finished / "run/lists/orders_again.csv").cutoff.max()
        assert len(snapshots) == 1
        (snapshot,) = snapshots
        assert labelled < snapshot <= last < str(np.datetime64(snapshot, "M") + 3)
        assert snapshot[5:] in ("02-01", "05-01", "08-01", "11-01")

    def test_holds_the_cohort_of_that_day_and_nobody_else(self, finished: Path) -> None:
        everybody = pq.read_table(finished / "run/ranking/calls.parquet").to_pandas()
        snapshot = texts(finished / "run/calls.csv").snapshot[0]
        orders = pd.read_csv(finished / "data/orders.csv", dtype={"client": str})
        year = str(np.datetime64(snapshot) - np.timedelta64(365, "D"))
        active = set(orders.client[(orders.day >= year) & (orders.day < snapshot)])
        assert set(everybody.key) == active
        assert len(active) < 240  # the control: some are not in it
        assert set(texts(finished / "run/calls.csv").id) < active

    def test_has_one_column_for_each_thing_declared_and_one_file_for_each_model(self, finished: Path) -> None:
        assert {path.name for path in (finished / "run").glob("*.csv")} == set(LISTS)
        for name in LISTS:
            frame = texts(finished / "run" / name)
            assert list(frame) == FIXED
            assert frame["rank"].tolist() == [str(n) for n in range(1, 101)]
            ages = pd.read_csv(finished / "data/clients.csv", dtype=str).set_index("id").age
            assert frame.age.tolist() == ages.loc[frame.id].tolist()

    def test_ranks_everybody_best_first_with_tenths_of_all_and_ties_in_no_telling_order(
        self, finished: Path
    ) -> None:
        for name in LISTS:
            everybody = pq.read_table(finished / "run/ranking" / name.replace("csv", "parquet")).to_pandas()
            frame = texts(finished / "run" / name)
            score = frame.P_ORDERS_AGAIN.astype(float)
            assert score.is_monotonic_decreasing
            assert frame.id.tolist() == everybody.key[:100].tolist()
            rank = np.arange(100)
            assert frame.decile.astype(int).tolist() == (rank * 10 // len(everybody) + 1).tolist()
        trees = texts(finished / "run/calls.lightgbm.csv")
        tied = trees.groupby("P_ORDERS_AGAIN").id.agg(list)
        assert any(len(keys) > 1 and keys != sorted(keys) for keys in tied)

    def test_the_value_of_a_feature_is_what_the_tables_say_on_that_day(self, finished: Path) -> None:
        frame = texts(finished / "run/calls.csv")
        orders = pd.read_csv(finished / "data/orders.csv", dtype={"client": str})
        snapshot = frame.snapshot[0]
        half = str(np.datetime64(f"{int(snapshot[:4])}-05-01"))
        lately = orders[(orders.day >= half) & (orders.day < snapshot)]
        assert snapshot == "2022-11-01"
        assert frame.lately.tolist() == [str((lately.client == key).sum()) for key in frame.id]
        assert all(float(spent) == pytest.approx(lately.amount[lately.client == key].sum(), rel=1e-6)
                   for key, spent in zip(frame.id, frame.spent, strict=True) if spent)  # fmt: skip

    def test_is_shown_with_its_reasons_in_the_declared_words(self, finished: Path) -> None:
        frame = texts(finished / "run/calls.csv")
        said = " ".join(frame.reason_1 + frame.reason_2)
        assert "orders in half a year: " in said or "orders: " in said
        assert "number of rows" not in said
        assert "age of clients: " in said
        assert "(usual: " in said

    def test_begins_on_the_page(self, finished: Path) -> None:
        page = (finished / "run/report.html").read_text()
        frame = texts(finished / "run/calls.csv")
        assert "The list of 1 November 2022" in page or "The list of 2022-11-01" in page
        section = page[page.index('id="t1-next"') :]
        section = section[: section.index("</section>")]
        assert section.count("<tr>") == 21
        assert frame.id[0] in section
        assert frame.reason_1[0] in section
        assert frame.id[20] not in section  # the control: twenty are shown
        assert "calls.csv has 100" in section

    def test_without_a_list_declared_there_is_none(self, work: Work) -> None:
        assert work.run("recipe=shop", "hydra.run.dir=run").code == 0
        assert not list((work.folder / "run").glob("*.csv"))
        assert not (work.folder / "run/ranking").exists()
        assert "t1-next" not in (work.folder / "run/report.html").read_text()


class TestScoring:
    def test_the_same_tables_give_the_same_lists_to_the_bit(self, shop: Work) -> None:
        folder = scored(shop, "new", "cache=fresh")
        for name in LISTS:
            assert (folder / name).read_bytes() == (shop.folder / "run" / name).read_bytes()
        scored(shop, "named", "snapshot=2022-11-01")
        assert (shop.folder / "named/calls.csv").read_bytes() == (folder / "calls.csv").read_bytes()
        scored(shop, "older", "snapshot=2022-08-01")  # the control
        assert (shop.folder / "older/calls.csv").read_bytes() != (folder / "calls.csv").read_bytes()

    def test_newer_tables_give_the_next_list_compared_with_the_runs(self, shop: Work) -> None:
        """Of 2022-11-01 and 2023-02-01: one joins, one is no longer in the table, others stop ordering."""
        before = texts(shop.folder / "run/calls.csv")
        first, gone = before.id[0], before.id[1]
        shutil.copytree(shop.folder / "data", shop.folder / "next")
        clients = (shop.folder / "next/clients.csv").read_text().splitlines()
        clients = [line for line in clients if not line.startswith(f"{gone},")] + ["=new,Oslo,18"]
        (shop.folder / "next/clients.csv").write_text("\n".join(clients) + "\n")
        orders = (shop.folder / "next/orders.csv").read_text().splitlines()
        orders = [line for line in orders if not line.startswith((f"{gone},", f"{first},"))]
        orders += [f"{first},2020-01-05,10", *["=new,2023-01-15,30"] * 9, "0001,2023-02-03,5"]
        (shop.folder / "next/orders.csv").write_text("\n".join(orders) + "\n")

        said = shop.run("score", "run=run", "input=next", "snapshot=latest", "output=weeks/1")
        assert said.code == 0, said.err
        frame = texts(shop.folder / "weeks/1/calls.csv")
        assert list(frame) == FIXED
        assert set(frame.snapshot) == {"2023-02-01"}
        assert frame.change.isin(["new", "up", "down", "same"]).all()
        new = frame[frame.id == "'=new"]
        assert new.change.tolist() == ["new"]
        assert new.previous_rank.tolist() == [""]

        ranks = pq.read_table(shop.folder / "run/ranking/calls.parquet").to_pandas().set_index("key")["rank"]
        for row in frame[frame.change != "new"].itertuples():
            then, now = int(ranks[row.id]), int(row.rank)
            assert int(row.previous_rank) == then
            assert row.change == ("up" if now < then else "down" if now > then else "same")

        dropped = texts(shop.folder / "weeks/1/calls.dropped.csv").set_index("id")
        assert set(dropped.index) == set(before.id) - set(frame.id)
        assert dropped.why[gone] == "no longer in table clients"
        assert dropped.why[first] == "no longer in the cohort"
        assert dropped.previous_rank[first] == "1"
        below = dropped.why[dropped.why.str.startswith("below the list: rank ")]
        assert all(int(why.rsplit(" ", 1)[1]) > 100 for why in below)
        assert f"since 2022-11-01: {(frame.change == 'new').sum()} new, " in said.out
        assert f"{len(dropped)} dropped (calls.dropped.csv)" in said.out

    def test_compares_with_the_newest_earlier_scoring_or_as_told(self, shop: Work) -> None:
        def last(folder: str) -> Any:
            previous = json.loads((shop.folder / folder / "ranking/calls.json").read_text())["previous"]
            return previous and previous["snapshot"]

        scored(shop, "weeks/1", "snapshot=2022-05-01")
        assert last("weeks/1") is None  # the run's list is a later one
        scored(shop, "weeks/2", "snapshot=2022-08-01")
        assert last("weeks/2") == "2022-05-01"
        scored(shop, "weeks/2 again", "snapshot=2022-08-01")
        assert last("weeks/2 again") == "2022-05-01"
        scored(shop, "weeks/3", "snapshot=2022-08-01", "previous=run")
        assert last("weeks/3") == "2022-11-01"
        (shop.folder / "mine.csv").write_bytes((shop.folder / "weeks/1/calls.csv").read_bytes())
        scored(shop, "weeks/4", "snapshot=2022-11-01", "previous=mine.csv")
        assert last("weeks/4") == "2022-05-01"
        assert not (shop.folder / "weeks/4/calls.blend.dropped.csv").exists()  # a file is one list
        frame, alone = texts(shop.folder / "weeks/4/calls.csv"), texts(shop.folder / "mine.csv")
        assert set(frame.id[frame.change == "new"]) == set(frame.id) - set(alone.id)

    def test_another_bundles_list_is_not_taken_unasked(self, shop: Work) -> None:
        assert shop.run(*WORDS, "model.logistic.C=0.1", "hydra.run.dir=other").code == 0
        scored(shop, "weeks/1", "snapshot=2022-05-01")
        said = shop.run("score", "run=other", "snapshot=2022-08-01", "output=weeks/2")
        assert "since" not in said.out
        said = shop.run("score", "run=other", "snapshot=2022-08-01", "output=weeks/3", "previous=weeks/1")
        assert "since 2022-05-01" in said.out

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (["previous=nowhere"], "there is no `nowhere`"),
            (["previous=data/clients.csv"], "is not a list with `rank`, `id` and `P_ORDERS_AGAIN`"),
            (["previous=data"], "there is no list `calls.csv`"),
            (["snapshot=2022-11-01", "cutoff=2022-11-01"], "both name the moment"),
            (["snapshot=sunday"], "`snapshot=sunday` is not a day"),
            (["snapshot=lastest"], "did you mean snapshot=latest?"),
            (["cutoff=2022-13-01"], "`cutoff=2022-13-01` is not a day"),
        ],
    )
    def test_mistakes_are_refused_and_leave_nothing(self, shop: Work, words: list[str], says: str) -> None:
        said = shop.run("score", "run=run", "output=new", *words)
        assert said.code == 2
        assert says in said.err
        assert not (shop.folder / "new").exists()

    def test_a_run_without_a_list_has_nothing_to_compare(self, work: Work) -> None:
        assert work.run("recipe=shop", "hydra.run.dir=run").code == 0
        said = work.run("score", "run=run", "previous=run", "output=new")
        assert said.code == 2
        assert "listing=latest" in said.err


class TestDeclarations:
    @pytest.mark.parametrize(
        ("listing", "says"),
        [
            ("columns: {rank: age}", "`rank` is the list's own"),
            ("columns: {P_X: age}", "`P_X` is the list's own"),
            ("columns: {id: age}", "the heading `id` is the key's"),
            ("columns: {AGE: profile.aeg}", "did you mean `profile.age`?"),
            ("models: [logistics]", "did you mean `logistic`?"),
            ("file: ../calls", "file"),
            ("file: fairness", "holds the figures by protected group"),
        ],
    )
    def test_wrong_ones_are_refused_before_anything_is_fitted(
        self, work: Work, listing: str, says: str
    ) -> None:
        work.write(
            {"conf/listing/calls.yaml": f"{'file: calls' if 'file:' not in listing else ''}\n{listing}\n"}
        )
        message = work.refused("recipe=shop", "listing=calls")
        assert says in message
        assert says in work.refused("plan", "recipe=shop", "listing=calls")

    def test_words_that_no_feature_has_are_named_in_the_plan(self, work: Work) -> None:
        words = "{number of rows in orders: orders, history.count_6mo: lately, elsewhere.x: x, numbre of rows in orders: o, history.cuont_6mo: y}"
        work.write({"conf/listing/calls.yaml": f"file: calls\nwords: {words}\n"})
        out = work.run("plan", "recipe=shop", "listing=calls").out
        assert "LISTING\n  calls.csv: the first 5,000" in out
        (note,) = (line for line in out.splitlines() if "listing.words" in line)
        assert "`numbre of rows in orders` (did you mean `number of rows in orders`?)" in note
        assert "`history.cuont_6mo` (did you mean `history.count_6mo`?)" in note
        assert "elsewhere" not in note
        assert "`history.count_6mo`," not in note

    def test_an_enriched_list_must_be_one(self, work: Work) -> None:
        message = work.refused("recipe=prospect_conversion", "listing=none")
        assert "listing=latest, or enrich nothing: enrichment=none" in message

    def test_several_targets_have_a_list_each(self, work: Work) -> None:
        work.write({"conf/target/spends.yaml": (
            "kind: value\nof: {table: orders, agg: sum, column: amount, window: horizon}\nhorizon: 6 months\n")})  # fmt: skip
        words = ["target=[orders_again,spends]", "listing=latest", "listing.columns={}", "hydra.run.dir=run"]
        said = work.run("recipe=shop", *words)
        assert said.code == 0, said.err
        assert {path.name for path in (work.folder / "run").glob("*.csv")} == {
            "ranked.orders_again.csv", "ranked.spends.csv"
        }  # fmt: skip
        frame = texts(work.folder / "run/ranked.spends.csv")
        assert frame.VALUE_SPENDS.astype(float).is_monotonic_decreasing
        assert len(frame) == 240
        # cutoffs that are listed have no rhythm: the list is of the end of the data
        last = max(line.split(",")[1] for line in (work.folder / "data/orders.csv").read_text().split()[1:])
        assert set(frame.snapshot) == {str(np.datetime64(last) + 1)}

    def test_without_a_clock_all_rows_are_listed_and_classes_named(self, work: Work) -> None:
        draw = np.random.default_rng(5)
        x = draw.normal(size=300)
        label = np.where(x > 0.6, "high", np.where(x > -0.6, "some", "none"))
        keys = [f"-{n:03d}x" if n % 2 else f"@{n:03d}" for n in range(300)]
        pd.DataFrame({"id": keys, "label": label, "x": x.round(3)}).to_csv(
            work.folder / "data/rows.csv", index=False
        )
        work.write({"conf/target/label.yaml": "kind: column\ncolumn: label\ntype: multiclass\n"})
        said = work.run("recipe=flat", "listing=latest", "model=[lightgbm]", "hydra.run.dir=run")
        assert said.code == 0, said.err
        frame = texts(work.folder / "run/ranked.csv")
        assert len(frame) == 300
        assert set(frame.CLASS_LABEL) == {"high", "some", "none"}
        assert set(frame.snapshot) == {""}
        assert {cell[1:] for cell in frame.id} == set(keys)  # each begins like a formula, and is defused
        assert (frame.id.str[0] == "'").all()
        assert frame.reason_1.str.startswith("x of rows: ").mean() > 0.9
        html = (work.folder / "run/report.html").read_text()
        assert all(f">{cell[1:]}<" in html for cell in frame.id[:5])  # a page runs no formulas
        assert work.run("score", "run=run", "output=new").code == 0
        assert (work.folder / "new/ranked.csv").read_bytes() == (work.folder / "run/ranked.csv").read_bytes()


# --- reasons -----------------------------------------------------------------------------------------

TASK = Task("y", "binary")
COLUMNS = (Column("s.a", "numeric"), Column("s.b", "numeric"), Column("s.c", "categorical", ("x", "y")))


def feature(name: str, column: str, text: str = "") -> Feature:
    return Feature(f"s.{name}", "s", "numeric", None, frozenset({("t", column)}), "always", text or name)


STORIES = ["a", "b", "c"]


def planted(rows: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """Column a decides, b helps a little, c is noise."""
    draw = np.random.default_rng(1)
    X = draw.normal(size=(rows, 3)).astype(np.float32)
    X[:, 2] = draw.integers(0, 2, rows)
    y = (3 * X[:, 0] + 0.5 * X[:, 1] + draw.logistic(size=rows) > 0).astype(np.float32)[:, None]
    return X, y


def fit(kind: str, **settings: Any) -> Member:
    X, y = planted()
    config = models.get(kind).config(kind=kind, **settings)
    batch = Batch(X, y)
    return Member(kind, config, config.fit([TASK], COLUMNS, batch, batch, seed=0, threads=1))


USUAL = np.array([0, 0, 0], np.float32)


class TestReasons:
    @pytest.mark.parametrize(
        ("kind", "settings"),
        [
            ("logistic", {}),
            ("lightgbm", {"num_iterations": 30}),
            ("xgboost", {"num_boost_round": 30}),
            (
                "hist_gbm",
                {"max_iterations": 30},
            ),  # does not explain itself: columns are put at their usual values
            ("random_forest", {"trees": 30}),
        ],
    )
    def test_what_decides_comes_first(self, kind: str, settings: dict[str, Any]) -> None:
        X, _ = planted()
        values = reasons.added(fit(kind, **settings).fitted, 0, X, NOTHING, USUAL)
        assert values.shape == X.shape
        told = reasons.strongest(values, STORIES, 3)
        assert np.mean([found[0] == 0 for found, x in zip(told, X[:, 0], strict=True) if x > 1]) > 0.95
        high, low = X[:, 0] > 1, X[:, 0] < -1
        assert (values[high, 0] > 0).all()
        assert (values[low, 0] < 0).all()
        assert np.mean(np.abs(values[high]).argmax(axis=1) == 0) > 0.95

    def test_those_of_a_blend_are_its_members_by_how_much_each_counts(self) -> None:
        X, _ = planted()
        members = (fit("logistic"), fit("lightgbm", num_iterations=20))
        blend = Combined((TASK,), members, (Mixture((0.25, 0.75)),), [[]])
        each = [reasons.added(member.fitted, 0, X, NOTHING, USUAL) for member in members]
        found = reasons.added(blend, 0, X, NOTHING, USUAL)
        assert found == pytest.approx(0.25 * each[0] + 0.75 * each[1])
        alone = replace(blend, combiners=(Mixture((0.0, 1.0)),))
        assert reasons.added(alone, 0, X, NOTHING, USUAL) == pytest.approx(each[1])

    def test_no_model_is_asked_about_a_row_twice_and_says_the_same(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        X, _ = planted()
        members = (fit("logistic"), fit("lightgbm", num_iterations=20))
        blend = Combined((TASK,), members, (Mixture((0.25, 0.75)),), [[]])
        asked: list[int] = []
        alone = reasons.of_single
        monkeypatch.setattr(reasons, "of_single", lambda *given: asked.append(len(given[2])) or alone(*given))
        once = reasons.Once(X, NOTHING, USUAL)
        one, two = np.arange(100)[::-1], np.arange(50, 200)
        for rows, fitted in ((one, members[1].fitted), (two, blend), (one, blend)):
            found = reasons.added(
                fitted, 0, X[rows], NOTHING, USUAL, None, lambda m, p, rows=rows: once.of(m, p, rows)
            )
            told, asked[:] = list(asked), []
            assert np.array_equal(found, reasons.added(fitted, 0, X[rows], NOTHING, USUAL))
            asked[:] = told
        assert asked == [100, 150, 100, 50]  # trees: 100 and 100 new; logistic: 150 and 50 new

    def test_raising_ones_come_first_then_lowering_ones_and_negligible_ones_never(self) -> None:
        values = np.array([[1.0, -3.0, 0.5], [1.0, -3.0, 0.01], [0.0, 0.0, 0.0]])
        assert reasons.strongest(values, STORIES, 3) == [[0, 2, 1], [0, 1], []]
        assert reasons.strongest(values, STORIES, 1) == [[0], [0], []]

    def test_features_of_the_same_data_tell_one_story(self) -> None:
        texts = ["sum of a in t, last 7 days", "max of a in t, last 30 days", "sum of twice_a in t"]
        features = [
            feature("a_7d", "a", texts[0]),
            feature("a_30d", "a", texts[1]),
            feature("d", "a", texts[2]),
        ]
        told = reasons.stories(features, {"a", "twice_a"})
        assert told[0] == told[1] != told[2]
        same = ["a", "a", "b"]
        values = np.array([[3.0, 2.0, 1.0], [2.0, -4.0, 1.0], [2.0, -1.5, 1.0]])
        assert reasons.strongest(values, same, 3) == [[0, 2], [2, 1], [2, 0]]
        assert reasons.strongest(values, same, 3, silent=[0]) == [[1, 2], [2, 1], [2, 1]]
        assert reasons.strongest(values, same, 3, silent=[0, 1, 2]) == [[], [], []]

    def test_in_words(self) -> None:
        words = {"t": "the usage", "amount": "sum spent", "s.whole": "use of everything"}
        calls, whole = feature("x", "x", "sum of amount in t, last 7 days"), feature("whole", "x")
        assert reasons.described(calls, {}) == "sum of amount in t, last 7 days"
        assert reasons.described(calls, words) == "sum of sum spent in the usage, last 7 days"
        assert reasons.described(whole, words) == "use of everything"
        measured = replace(whole, name="s.up_or_down", window="as declared", text="declared measure")
        assert reasons.described(measured, words) == "up or down"

        say, number, town = reasons.in_words, COLUMNS[0], COLUMNS[2]
        assert say("calls", 1234, 2, number, False) == "calls: 1,234 (usual: 2)"
        assert say("calls", 3, 3, number, True) == "against: calls: 3"
        assert say("calls", 1, np.nan, number, False) == "calls: 1 (usually missing)"
        assert say("town", 1, 0, town, False) == "town: y (usual: x)"
        assert say("town", np.nan, 0, town, False) == "town: missing (usual: x)"


# --- changes -----------------------------------------------------------------------------------------


class TestChanges:
    LAST = Last(
        "2020-05-31", {"a": Place(1, 0.5), "b": Place(2, 0.4), "c": Place(3, 0.3), "d": Place(9, 0.1)}, 10, 3
    )

    def test_new_up_down_same(self) -> None:
        keys, values = ["a", "c", "n", "d", "b"], [0.5, 0.3, 0.3, 0.1, 0.1]
        moved = changes.moves(keys, values, 100, self.LAST, BigMove(places=1, probability=1), True)
        assert [one.change for one in moved] == ["same", "up", "new", "up", "down"]
        assert [one.previous_rank for one in moved] == [1, 3, None, 9, 2]
        assert not any(one.big for one in moved)

    def test_a_big_move_is_one_of_places_or_of_probability(self) -> None:
        keys, values = ["b", "a", "d"], [0.5, 0.49, 0.1]
        places = BigMove(places=0.5, probability=1, top=0.4)
        by_place = changes.moves(keys, values, 10, self.LAST, places, True)
        assert by_place == [Moved("up", 2, False), Moved("down", 1, False), Moved("up", 9, True)]
        by_odds = changes.moves(keys, values, 10, self.LAST, BigMove(places=1, probability=0.1), True)
        assert [one.big for one in by_odds] == [True, False, False]
        number = changes.moves(keys, values, 10, self.LAST, BigMove(places=1, probability=0.1), False)
        assert not any(one.big for one in number)

    def test_far_moves_below_the_top_are_none_and_those_into_it_and_out_of_it_are(self) -> None:
        """Chance alone: everybody outside the first tenth is dealt anew. A few who come to the top are marked."""
        draw = np.random.default_rng(0)
        keys = [f"k{n}" for n in range(1000)]
        then = [*keys[:100], *draw.permutation(keys[100:])]
        last = Last("", {key: Place(rank, 0.0) for rank, key in enumerate(then, 1)}, 1000, 1000)
        assert not any(one.big for one in changes.moves(keys, [0.0] * 1000, 1000, last, BigMove(), True))
        everywhere = changes.moves(keys, [0.0] * 1000, 1000, last, BigMove(top=0.999), True)
        assert sum(one.big for one in everywhere) <= 2
        now = [*keys[500:510], *keys[10:500], *keys[:10], *keys[510:]]
        moved = dict(zip(now, changes.moves(now, [0.0] * 1000, 1000, last, BigMove(), True), strict=True))
        far = {key for key in keys[500:510] if then.index(key) >= 110} | set(keys[:10])
        assert {key for key, one in moved.items() if one.big} == far

    def test_who_has_left_and_why(self) -> None:
        ranked = np.array(["x", "c", "b"])
        gone = changes.dropped(
            ["x"], ranked, np.array(["x", "b", "c"]), ["a", "b", "c", "x"], self.LAST, "people"
        )
        assert [(one.key, one.why) for one in gone] == [
            ("a", "no longer in the cohort"), ("b", "below the list: rank 3"), ("c", "below the list: rank 2"),
        ]  # fmt: skip
        assert (
            changes.dropped(["x"], ranked, ranked, ["x"], self.LAST, "people")[0].why
            == "no longer in table people"
        )
        apart = changes.dropped(["x"], np.array(["x"]), np.array(["x", "a"]), ["x", "a"], self.LAST, "people")
        assert apart[0].why == "the target does not apply any more"

    def test_a_key_is_read_back_as_it_was_before_it_was_defused(self, tmp_path: Path) -> None:
        with open(tmp_path / "list.csv", "w", newline="") as file:
            csv.writer(file).writerows(
                [["rank", "id", "P_Y", "snapshot"], [1, "'=1+1", 0.5, "2020-05-31"], [2, "'s", 0.4, ""]]
            )
        last = changes.read(tmp_path / "list.csv", "calls", "id", "P_Y")
        assert list(last.places) == ["=1+1", "'s"]
        assert last.of is None


def test_the_lists_own_headings_are_all_protected() -> None:
    own = [name for name in FIXED if name not in ("id", "TOWN", "age", "lately", "spent")]
    for name in own:
        with pytest.raises(ValueError, match="the list's own"):
            Listing(columns={name: "age"})
    Listing(columns={"age": "age", "reasonable": "age"})  # the control
