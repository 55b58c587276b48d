"""What would help a row: valid, few, small and plausible changes; and honest words where there are none.

`World` has a week's and a month's count (a week is part of a month), open questions, a rate and a plan, and a fitted
LightGBM. What the search finds is held against all combinations of the declared steps.
"""

from __future__ import annotations

import contextlib
import csv
import io
import shutil
from collections.abc import Callable
from dataclasses import MISSING as MISSING_DEFAULT
from dataclasses import fields, replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import small
from conftest import SHOP, Work, write_files
from pydantic import ValidationError

from toolkit import bundling
from toolkit.actions.counterfactual_words import Words
from toolkit.actions.counterfactuals import Helped, aim_of, check, left_behind
from toolkit.cli.main import main
from toolkit.config.counterfactual import Change, Changes, wrong
from toolkit.config.listing import Listing
from toolkit.errors import ConfigError
from toolkit.evaluation.counterfactual.levers import EDGE, MISSING, OUTSIDE, Lever, levers
from toolkit.evaluation.counterfactual.reference import Reference
from toolkit.evaluation.counterfactual.search import Found, Judged, Step, search
from toolkit.modalities import NOTHING, Column
from toolkit.models import Batch, Task
from toolkit.models.combine import Mixture
from toolkit.models.ensemble import Combined, Member
from toolkit.models.lightgbm import LightGBM
from toolkit.prepare.features import Feature
from toolkit.scoring import batch
from toolkit.scoring.probability import probability, some_of

COLUMNS = (
    Column("week"), Column("month"), Column("questions"), Column("rate"), Column("noise"),
    Column("plan", "categorical", ("basic", "plus", "premium")),
)  # fmt: skip
TASK = Task("leaves", "binary")


def made(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """X [rows, 6] and who leaves: those who come seldom, have open questions, or a basic plan at a low rate."""
    rng = np.random.default_rng(seed)
    pace = rng.gamma(1.5, 3.0, rows)
    week = rng.poisson(pace)
    month = week + rng.poisson(3 * pace)
    questions, rate = rng.poisson(1.2, rows), np.round(rng.normal(0, 1, rows), 2)
    plan = rng.integers(0, 3, rows)
    risk = (
        1.5
        - 0.15 * week
        - 0.05 * month
        + 0.8 * questions
        - 0.5 * rate
        + np.where((plan == 0) & (rate < 0), 1.0, 0.0)
    )
    X = np.column_stack([week, month, questions, rate, rng.normal(0, 1, rows), plan]).astype(np.float32)
    return X, (rng.random(rows) < 1 / (1 + np.exp(-risk))).astype(np.float32)


class World:
    """Training rows, a fitted model, and rows to be helped."""

    def __init__(self) -> None:
        X, y = made(4_000, 0)
        self.train = X[:3_000]
        model = LightGBM(num_iterations=60, learning_rate=0.1, num_leaves=8, early_stopping_rounds=20)
        self.fitted = model.fit(
            [TASK],
            COLUMNS,
            Batch(X[:3_000], y[:3_000, None]),
            Batch(X[3_000:], y[3_000:, None]),
            seed=0,
            threads=1,
        )
        self.rows, _ = made(400, 1)

    def risk(self, X: np.ndarray) -> np.ndarray:
        return self.fitted.predict(X)[0]

    def below(self, aim: float) -> Callable[[np.ndarray, np.ndarray], Judged]:
        def judge(X: np.ndarray, rows: np.ndarray) -> Judged:
            value = self.risk(X)
            return Judged(value < aim, value, -value)

        return judge

    def reference(self, *wanted: int) -> Reference:
        return Reference.fit(self.train, COLUMNS, wanted, seed=0)

    def search(
        self, features: dict[str, Change], rows: np.ndarray, aim: float = 0.3, **limits: Any
    ) -> list[Found]:
        names = [column.name for column in COLUMNS]
        wanted = [names.index(n) for name, c in features.items() for n in (name, *c.also, *_other_ends(c))]
        known = self.reference(*dict.fromkeys(wanted))
        able, _ = levers(features, COLUMNS, known)
        places = np.array([names.index(name) for name in known.names])
        limits = {"most": 3, "tries": 20_000, "seconds": 60.0} | limits
        return search(rows, self.below(aim), able, known, places, **limits)


def _other_ends(change: Change) -> list[str]:
    return [end for end in (change.at_least, change.at_most) if isinstance(end, str)]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


THREE = {
    "week": Change(direction="increase", at_most=20, step=1),
    "questions": Change(direction="decrease", at_least=0),
    "plan": Change(values={"plus": "", "premium": ""}),
}
FOUR = THREE | {"rate": Change(direction="increase", step=0.25)}


def changed(row: np.ndarray, found: Found) -> np.ndarray:
    """The row with what was found put in."""
    other = row.copy()
    for step in found.steps:
        other[step.lever.column] = step.new
    return other


def everything(
    world: World, features: dict[str, Change], row: np.ndarray, aim: float, most: int
) -> tuple[int, float] | None:
    """Fewest changes, and of those the least cost, among all combinations of the declared steps; None: none reaches."""
    names = [column.name for column in COLUMNS]
    known = world.reference(*[names.index(name) for name in features])
    able, _ = levers(features, COLUMNS, known)
    places = [names.index(name) for name in known.names]
    far = max(known.distance(row[None, places])[0], known.ordinary(0.99))
    options = [
        (lever, moves)
        for lever in able
        if not isinstance(moves := lever.moves(float(row[lever.column])), str)
    ]
    for size in range(1, most + 1):
        best = None
        for some in combinations(options, size):
            grid = list(product(*(range(len(moves.value)) for _, moves in some)))
            X, cost = np.repeat(row[None], len(grid), axis=0), np.zeros(len(grid))
            for place, (lever, moves) in enumerate(some):
                at = [one[place] for one in grid]
                X[:, lever.column] = moves.value[at]
                cost += moves.cost[at]
            good = world.risk(X) < aim
            good[good] = known.distance(X[good][:, places]) <= far * (1 + 1e-9)
            if good.any() and (best is None or cost[good].min() < best):
                best = float(cost[good].min())
        if best is not None:
            return size, best
    return None


def plain(found: Found) -> tuple[Any, ...]:
    """All but the time."""
    steps = [(step.lever.name, step.old, step.new) for step in found.steps]
    return found.outcome, found.before, found.after, steps, found.kept, found.unlike, found.tried


def cost(found: Found) -> float:
    return sum(
        1.0 if step.lever.change.values is not None else abs(step.new - step.old) / step.lever.scale
        for step in found.steps
    )


class TestWhatIsFound:
    def test_is_valid_the_model_agrees(self, world: World) -> None:
        rows = world.rows[:150]
        found = world.search(FOUR, rows)
        done = [(row, one) for row, one in zip(rows, found, strict=True) if one.outcome == "found"]
        assert len(done) > 50
        after = world.risk(np.array([changed(row, one) for row, one in done]))
        assert (after < 0.3).all()
        np.testing.assert_allclose(after, [one.after for _, one in done], rtol=1e-12)
        np.testing.assert_allclose(world.risk(rows), [one.before for one in found], rtol=1e-12)
        there = [one.outcome == "not needed" for one in found]
        np.testing.assert_array_equal(world.risk(rows) < 0.3, there)

    def test_is_the_fewest_and_smallest_of_all_there_are_and_none_where_there_is_none(
        self, world: World
    ) -> None:
        rows = world.rows[world.risk(world.rows) >= 0.3][:60]
        outcomes = set()
        for row, one in zip(rows, world.search(THREE, rows), strict=True):
            best = everything(world, THREE, row, 0.3, 3)
            outcomes.add(one.outcome)
            if best is None:
                assert one.outcome in ("none exists", "nothing may change")
            else:
                assert (one.outcome, len(one.steps)) == ("found", best[0])
                assert cost(one) == pytest.approx(best[1])
        assert {"found", "none exists"} <= outcomes  # both sides have been looked at

    def test_is_found_for_95_in_100_rows_where_one_exists_when_not_everything_can_be_tried(
        self, world: World
    ) -> None:
        rows = world.rows[world.risk(world.rows) >= 0.3][:60]
        found = world.search(FOUR, rows, tries=600)
        truth = [everything(world, FOUR, row, 0.3, 3) for row in rows]
        exists = [(one, best) for one, best in zip(found, truth, strict=True) if best is not None]
        hit = [(one, best) for one, best in exists if one.outcome == "found"]
        assert len(exists) > 30
        assert any(best[0] > 1 for _, best in exists)
        assert len(hit) >= 0.95 * len(exists)
        assert sum(len(one.steps) == best[0] for one, best in hit) >= 0.95 * len(hit)
        assert np.median([cost(one) / best[1] for one, best in hit if len(one.steps) == best[0]]) < 1.05
        for one, best in zip(found, truth, strict=True):  # it claims no more than it knows
            assert not (one.outcome == "none exists" and best is not None)
            assert one.tried <= 600 + 3 * 3 * 60

    def test_changes_what_may_change_on_its_side_in_its_range_by_its_steps_and_keeps_whole_numbers(
        self, world: World
    ) -> None:
        rows = world.rows[:200]
        seen = set()
        for row, one in zip(rows, world.search(FOUR, rows), strict=True):
            for step in one.steps:
                name, size = step.lever.name, step.new - step.old
                seen.add(name)
                assert step.old == row[step.lever.column]
                if name == "week":
                    assert size > 0
                    assert step.new <= 20
                    assert float(step.new).is_integer()
                elif name == "questions":
                    assert size < 0
                    assert step.new >= 0
                    assert float(step.new).is_integer()
                elif name == "rate":
                    assert size / 0.25 == pytest.approx(round(size / 0.25), abs=1e-5)
                    assert step.new <= np.quantile(world.train[:, 3], 0.99) + 1e-6
                else:
                    assert step.new in (1, 2)
        assert seen == set(FOUR)

    def test_does_not_depend_on_the_rows_beside_it_nor_on_the_run(self, world: World) -> None:
        rows = world.rows[:80]
        together, again = world.search(FOUR, rows), world.search(FOUR, rows)
        alone = [world.search(FOUR, rows[[place]])[0] for place in range(0, 80, 9)]
        assert [plain(one) for one in together] == [plain(one) for one in again]
        assert [plain(one) for one in together[::9]] == [plain(one) for one in alone]


class TestPlausible:
    def test_no_new_value_lies_beyond_what_training_rows_have(self, world: World) -> None:
        far = {"rate": Change(direction="increase", at_most=1e6)}
        [lever], _ = levers(far, COLUMNS, world.reference(3))
        assert lever.moves(0.0).value.max() <= world.train[:, 3].max()  # type: ignore[union-attr]
        [lever], _ = levers({"rate": Change()}, COLUMNS, world.reference(3))
        low, high = np.quantile(world.train[:, 3], [0.01, 0.99])
        moves = lever.moves(0.0)
        assert low - 0.02 <= moves.value.min() < 0 < moves.value.max() <= high + 0.02  # type: ignore[union-attr]

    def test_a_combination_that_no_training_row_is_like_is_thrown_out_and_said(self, world: World) -> None:
        # Many visits in a week of a month without visits: each value is ordinary, the two together are not.
        reference = world.reference(0)
        assert reference.names == ("week", "month")  # what goes with it is looked at too
        ordinary, odd = np.array([[5, 20]], np.float32), np.array([[12, 0]], np.float32)
        assert reference.distance(ordinary)[0] <= reference.ordinary(0.99) < reference.distance(odd)[0]
        row = np.array([0, 0, 1, 0.0, 0, 1], np.float32)
        alone = {"week": Change(direction="increase")}
        needed = world.risk(np.array([[w, 0, 1, 0.0, 0, 1] for w in range(21)], np.float32)).min() + 1e-6
        [found] = world.search(alone, row[None], aim=float(needed))
        assert found.outcome == "none exists"
        assert found.unlike > 0

    def test_windows_of_one_count_move_together_where_declared(self, world: World) -> None:
        with_month = {"week": Change(direction="increase", at_most=20, also=["month"])}
        rows = world.rows[world.risk(world.rows) >= 0.3]
        known = world.reference(0, 1)
        able, _ = levers(with_month, COLUMNS, known)
        asked = []

        def judge(X: np.ndarray, at: np.ndarray) -> Judged:
            asked.append((X - rows[at])[:, :2])
            return world.below(0.3)(X, at)

        found = search(rows, judge, able, known, np.array([0, 1]), most=1, tries=1_000, seconds=60)
        moved = np.concatenate(asked)
        np.testing.assert_array_equal(moved[:, 0], moved[:, 1])
        assert any(one.outcome == "found" for one in found)

    def test_a_relation_of_two_features_holds_in_what_is_found(self, world: World) -> None:
        bound = {"week": Change(direction="increase", at_most="month"), "plan": THREE["plan"]}
        free = {"week": Change(direction="increase"), "plan": THREE["plan"]}
        rows = world.rows[(world.risk(world.rows) >= 0.35) & (world.rows[:, 1] < 14)]
        asked: list[np.ndarray] = []

        def judge(X: np.ndarray, at: np.ndarray) -> Judged:
            asked.append(X)
            return world.below(0.35)(X, at)

        broken = []
        for features in (bound, free):
            able, _ = levers(features, COLUMNS, world.reference(0, 1, 5))
            asked.clear()
            search(
                rows,
                judge,
                able,
                world.reference(0, 1, 5),
                np.array([0, 1, 5]),
                most=2,
                tries=5_000,
                seconds=60,
            )
            broken.append(np.concatenate(asked)[:, 0] > np.concatenate(asked)[:, 1])
        assert not broken[0].any()
        assert broken[1].any()  # the control: without it somebody comes 12 times in 10 visits


class TestWhatCannotBeChanged:
    def lever(self, world: World, **change: Any) -> Lever:
        return levers({"week": Change(**change)}, COLUMNS, world.reference(0))[0][0]

    def test_a_missing_value_a_row_outside_of_a_declared_range_and_one_at_its_end_are_told_apart(
        self, world: World
    ) -> None:
        assert self.lever(world).moves(np.nan) == MISSING
        assert self.lever(world, at_least=2, at_most=9).moves(1.0) == OUTSIDE
        assert self.lever(world, at_least=2, at_most=9).moves(10.0) == OUTSIDE
        assert self.lever(world, direction="increase", at_most=9).moves(9.0) == EDGE
        assert self.lever(world, direction="increase", at_most=9, step=5).moves(5.0) == EDGE
        moves = self.lever(world, direction="increase", at_most=9, step=3).moves(2.0)
        assert moves.value.tolist() == [5, 8]  # type: ignore[union-attr]

    def test_a_row_beyond_all_training_rows_and_within_the_declared_range_moves_towards_them(
        self, world: World
    ) -> None:
        most = float(world.train[:, 0].max())
        lever = self.lever(world, at_most=most + 10)
        assert lever.high == most
        moves = lever.moves(most + 2)
        assert not isinstance(moves, str)
        assert moves.value.max() <= most

    def test_what_it_may_not_pass_has_to_be_seen_by_the_model(self, world: World) -> None:
        able, idle = levers({"week": Change(at_most="gone")}, COLUMNS, world.reference(0))
        assert able == []
        assert "may not pass `gone`" in idle["week"]
        assert levers({"week": Change(at_most="month")}, COLUMNS, world.reference(0, 1))[0]  # the control

    def test_it_is_told_for_the_row_and_the_other_features_still_change(self, world: World) -> None:
        row = world.rows[world.risk(world.rows) >= 0.5][:1].copy()
        row[0, 0] = np.nan
        [found] = world.search(FOUR, row, aim=0.999)
        assert found.kept == {"week": MISSING} | {k: v for k, v in found.kept.items() if k != "week"}
        only = {"week": FOUR["week"]}
        [found] = world.search(only, row, aim=0.01)
        assert (found.outcome, found.kept, found.steps) == ("nothing may change", {"week": MISSING}, ())

    def test_a_feature_that_never_varies_or_whose_value_no_training_row_has_moves_nothing(
        self, world: World
    ) -> None:
        flat = world.train.copy()
        flat[:, 2] = 1
        known = Reference.fit(flat, COLUMNS, (2, 5), seed=0)
        able, idle = levers(
            {"questions": Change(), "plan": Change(values={"gold": ""}), "gone": Change()}, COLUMNS, known
        )
        assert able == []
        assert set(idle) == {"questions", "plan", "gone"}

    def test_what_is_made_of_the_same_rows_and_not_tied_is_named(self) -> None:
        """More days with use leave the last use where it was, unless the two are tied."""

        def feature(name: str, window: str, *sources: tuple[str, str]) -> Feature:
            return Feature(f"use.{name}", "use", "numeric", None, frozenset(sources), window, name)

        clock = ("use", "day")
        features = [
            feature("days_7d", "7 days", clock), feature("days_30d", "30 days", clock),
            feature("days_since_last", "all", clock), feature("calls_7d", "7 days", clock, ("use", "calls")),
            feature("notes_7d", "7 days", ("notes", "day")), feature("age", "always", clock),
        ]  # fmt: skip

        def left(*tied: str) -> list[str]:
            change = Change(also=[f"use.{name}" for name in tied])
            node = Changes(kind="changes", above=0.5, features={"use.days_7d": change})
            return left_behind(node, features)

        assert left() == ["use.days_30d", "use.days_since_last", "use.calls_7d"]
        assert left("days_30d") == ["use.days_since_last", "use.calls_7d"]
        said = Helped([], [], {}, left("days_30d")).lines("calls")
        assert "2 move by themselves or not at all (`use.days_since_last`, `use.calls_7d`)" in said[-1]
        assert len(Helped([], [], {}, []).lines("calls")) == len(said) - 1


class TestTime:
    def test_a_row_that_takes_too_long_gets_the_best_so_far_and_is_told_so(self, world: World) -> None:
        rows = world.rows[world.risk(world.rows) >= 0.6][:3]
        [one, *_] = rushed = world.search(FOUR, rows, aim=1e-6, seconds=1e-9)
        assert {found.outcome for found in rushed} == {"time ran out"}
        assert one.seconds > 0
        patient = world.search(FOUR, rows, aim=1e-6)
        assert {found.outcome for found in patient} == {"none exists"}
        for found in patient:  # what comes nearest is told
            assert found.steps
            assert found.after < found.before


SENTENCES = {
    "week": Change(direction="increase", words="{change} more visits a week", one="one more visit a week"),
    "questions": Change(
        direction="decrease", words="{change} answered questions", one="an answered question"
    ),
    "plan": Change(values={"plus": "a move to Plus", "premium": ""}),
    "rate": Change(),
}


class TestWords:
    @pytest.fixture
    def steps(self, world: World) -> dict[str, Callable[[float, float], Step]]:
        able, _ = levers(SENTENCES, COLUMNS, world.reference(0, 2, 3, 5))
        return {lever.name: (lambda old, new, lever=lever: Step(lever, old, new)) for lever in able}

    def words(self, **aim: Any) -> Words:
        node = Changes(kind="changes", features=SENTENCES, **aim)
        features = [Feature(c.name, "all", c.kind, None, frozenset(), "", f"the {c.name}") for c in COLUMNS]
        [value] = aim.values()
        return Words(node, None if value == "threshold" else value, COLUMNS, features, {"rate": "the pace"})

    def test_say_it_as_a_colleague_would(self, steps: Any) -> None:
        found = Found("found", 0.712, 0.5512, (steps["week"](3, 5), steps["questions"](1, 0)))
        assert self.words(below=0.6).sentence(found) == (
            "two more visits a week and an answered question would bring it under 0.6 (0.712 → 0.551)"
        )
        found = Found(
            "found",
            0.2,
            0.7,
            (steps["week"](3, 4), steps["plan"](0, 1), steps["rate"](-0.5, np.float32(0.1))),
        )
        assert self.words(above="threshold").sentence(found) == (
            "one more visit a week, a move to Plus and the pace 0.1 in place of -0.5 would bring it to the threshold or more "
            "(0.200 → 0.700)"
        )
        found = Found("found", 0.7, 0.5, (steps["plan"](0, 2), steps["week"](0, 14)))
        assert "the plan premium in place of basic and 14 more visits a week" in self.words(
            below=0.6
        ).sentence(found)

    @pytest.mark.parametrize(
        ("found", "said"),
        [
            (Found("not needed", 0.4, 0.4), "it is under 0.6 already (0.400)"),
            (Found("none exists", 0.7, 0.7), "nothing within the declared ranges brings it under 0.6 (it is 0.700)"),
            (Found("none exists", 0.7, 0.7, unlike=3), "but for changes that no row of the past is like"),
            (Found("none found", 0.7, 0.7, tried=20_000), "nothing was found that brings it under 0.6, among 20,000 changes tried"),
            (Found("time ran out", 0.7, 0.7), "time ran out before anything was found that brings it under 0.6"),
            (Found("nothing may change", 0.7, 0.7, kept={"rate": MISSING}), "nothing may change here: the pace is missing"),
        ],
    )  # fmt: skip
    def test_are_honest_where_nothing_helps(self, found: Found, said: str) -> None:
        assert said in self.words(below=0.6).sentence(found)

    def test_tell_what_comes_nearest(self, steps: Any) -> None:
        found = Found("none exists", 0.9, 0.65, (steps["questions"](4, 1),))
        assert self.words(below=0.6).sentence(found).endswith("nearest: three answered questions (0.650)")


# --- in a run ------------------------------------------------------------------------------------------------

CALLS = "file: calls\nsize: 900\nreasons: 2\n"
MORE = """\
kind: changes
above: 0.6
top: 40
features:
  columns.week: {direction: increase, at_most: 20, also: [columns.month], words: "{change} more visits a week", one: one more visit a week}
  columns.questions: {direction: decrease, words: "{change} answered questions", one: an answered question}
  columns.plan: {values: {plus: a move to Plus, premium: a move to Premium}}
"""
RUN = ["recipe=flat", "listing=calls", "counterfactual=more", "engine.threads=1"]
FILES = SHOP | {"conf/listing/calls.yaml": CALLS, "conf/counterfactual/more.yaml": MORE}


def stays() -> str:
    """The world as a table; the label is who stays."""
    X, y = made(900, 3)
    frame = pd.DataFrame(X[:, :4], columns=["week", "month", "questions", "rate"])
    frame[["week", "month", "questions"]] = frame[["week", "month", "questions"]].astype(int)
    frame["plan"] = np.array(["basic", "plus", "premium"])[X[:, 5].astype(int)]
    frame["label"] = np.where(y == 1, "no", "yes")
    return frame.rename_axis("id").reset_index().to_csv(index=False)


def texts(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a run in `run`, made once."""
    folder = tmp_path_factory.mktemp("helped")
    write_files(folder, FILES | {"data/rows.csv": stays()})
    with contextlib.chdir(folder):
        assert main([*RUN, "model=[logistic,lightgbm,blend]", "hydra.run.dir=run"]) == 0
    return folder


@pytest.fixture
def folder(finished: Path, work: Work) -> Work:
    shutil.copytree(finished, work.folder, dirs_exist_ok=True)
    return work


class TestBesideTheList:
    def test_a_sentence_stands_in_the_list_for_its_first_rows_that_are_not_there_and_details_in_a_file(
        self, finished: Path
    ) -> None:
        listed, told = texts(finished / "run/calls.csv"), texts(finished / "run/calls.counterfactuals.csv")
        score = listed.P_LABEL.astype(float)
        wanted = listed[score < 0.6].head(40)
        assert len(wanted) > 0
        assert told.id.tolist() == wanted.id.tolist()
        assert told["rank"].tolist() == wanted["rank"].tolist()
        assert listed[listed.what_would_help != ""].id.tolist() == wanted.id.tolist()
        assert told.before.astype(float).tolist() == wanted.P_LABEL.astype(float).tolist()
        done = told.outcome == "found"
        assert done.any()
        assert (told.after[done].astype(float) >= 0.6).all()
        said = wanted.set_index("id").what_would_help[told.id[done]]
        assert said.str.contains(r"would bring it to 0\.6 or more \(0\.\d{3} → 0\.\d{3}\)").all()
        log = (finished / "run/run.log").read_text()
        assert "counterfactuals.csv: what would help" in log
        assert "not counted anew" not in log  # these are columns, and no windows of the same rows

    def test_the_report_says_it_of_the_five_entities_and_the_drivers_are_a_file(self, finished: Path) -> None:
        page = (finished / "run/report.html").read_text()
        assert page.count("<b>What would help</b>") == 5
        drivers = texts(finished / "run/drivers/label.csv")
        assert drivers.feature[0] in ("columns.week", "columns.month", "columns.questions")
        assert (drivers.mean_absolute_contribution.astype(float) > 0).all()

    def test_a_run_that_fails_its_gate_says_it_too(self, work: Work) -> None:
        """Its bundle scores with `accept_gate=true` only, and the report is written all the same."""
        gate = "{attribute: plan, measure: demographic_parity_difference, at_most: 0, on_failure: fail}"
        work.write(FILES | {"data/rows.csv": stays(), "conf/fairness/fair.yaml": (
            f"attributes: {{plan: {{column: plan, as_feature: true}}}}\nsmallest_group: 10\ngates: [{gate}]\n"
        )})  # fmt: skip
        assert work.run(*RUN, "fairness=fair", "hydra.run.dir=run").code == 3
        assert "What would help" in (work.folder / "run/report.html").read_text()

    def test_scoring_the_same_tables_writes_the_same(self, folder: Work) -> None:
        said = folder.run("score", "run=run", "output=again")
        assert said.code == 0, said.err
        for name in ("calls.csv", "calls.counterfactuals.csv"):
            before, after = (list(csv.reader((folder.folder / at / name).open())) for at in ("run", "again"))
            assert [row[: len(before[0]) - 3] for row in after] == [
                row[: len(before[0]) - 3] for row in before
            ]

    def test_the_probability_is_the_one_that_scoring_gives_to_the_last_digit(self, finished: Path) -> None:
        """Of a changed row too: the pipeline of the search is not another one."""
        scorer = bundling.read(finished / "run/bundle")
        X, _ = made(50, 9)
        X = X[:, [0, 1, 2, 3, 5]]
        assert [column.name for column in scorer.encoder.columns] == [
            f"columns.{n}" for n in ("week", "month", "questions", "rate", "plan")
        ]
        names = tuple(f"row{place}" for place in range(50))
        matrix = batch.Matrix(np.array(names), np.zeros(50, "datetime64[s]"), [], {})
        eligible = {head.name: np.ones(50, bool) for head in scorer.heads}
        whole = batch.predict(scorer, matrix, None, X, {}, eligible, ())  # type: ignore[arg-type]
        _, value, acted = probability(scorer, "label", X)
        np.testing.assert_array_equal(value, whole.probability["label"])
        np.testing.assert_array_equal(acted, whole.decision["label"])

    def test_the_bundle_holds_no_key_of_a_training_row(self, finished: Path) -> None:
        reference = bundling.read(finished / "run/bundle").reference
        assert reference is not None
        assert set(reference.names) == {"columns.week", "columns.month", "columns.questions", "columns.plan"}


class TestNestedTargets:
    def test_what_is_judged_is_the_probability_after_it_has_been_put_in_order(self, world: World) -> None:
        """Three horizons whose models disagree: the middle one's own probability is not what the list shows."""
        task = [Task(name, "binary") for name in ("soon", "later", "latest")]
        part = world.fitted.parts[0]  # type: ignore[attr-defined]
        fitted = replace(world.fitted, tasks=tuple(task), parts=(part,) * 3, seen=world.fitted.seen * 3)  # type: ignore[call-arg, attr-defined, type-var]
        from toolkit.bundling import Head
        from toolkit.training.calibration import Calibrator
        from toolkit.training.threshold import Threshold

        heads = tuple(
            Head(one.name, "binary", (), "model", place, Calibrator("platt", "", slope=4.0, intercept=shift),
                 Threshold("maximise_f1", 0.5, "", {}))
            for place, (one, shift) in enumerate(zip(task, (-1.0, -2.0, -2.5), strict=True))
        )  # fmt: skip
        given = {one.name: None for one in fields(bundling.Scorer) if one.default is MISSING_DEFAULT}
        given |= {"heads": heads, "others": (), "models": {"model": fitted}, "listing": Listing()}
        scorer = bundling.Scorer(**given | {"coherent": (("soon", "later", "latest"),)})  # type: ignore[arg-type]
        X = world.rows
        matrix = batch.Matrix(np.arange(len(X)).astype(str), np.zeros(len(X), "datetime64[s]"), [], {})
        eligible = {head.name: np.ones(len(X), bool) for head in heads}
        whole = batch.predict(scorer, matrix, None, X, {}, eligible, ())  # type: ignore[arg-type]
        for name in ("soon", "later", "latest"):
            raw, value, acted = probability(scorer, name, X)
            np.testing.assert_array_equal(value, whole.probability[name])
            np.testing.assert_array_equal(acted, whole.decision[name])
        own = heads[1].calibrator.apply(raw)
        assert (np.abs(own - whole.probability["later"]) > 0.01).any()  # the control

    def test_an_ensemble_is_asked_for_one_target_as_for_all(self, world: World) -> None:
        tasks = (Task("a", "binary"), Task("b", "binary"))
        X, y = made(800, 5)
        y2 = np.column_stack([y, 1 - y])
        models = [LightGBM(num_iterations=n, early_stopping_rounds=5) for n in (5, 15)]
        members = tuple(
            Member(
                str(n),
                model,
                model.fit(tasks, COLUMNS, Batch(X, y2), Batch(X[:0], y2[:0]), seed=n, threads=1),
            )
            for n, model in enumerate(models)
        )
        both = Combined(tasks, members, (Mixture((0.3, 0.7)), Mixture((0.8, 0.2))), [[], []])
        every = both.predict(X)
        for place in (0, 1):
            [alone] = some_of(both, [place], X, NOTHING)
            np.testing.assert_array_equal(alone, every[place])


class TestMistakes:
    @pytest.mark.parametrize(
        ("yaml", "said", "fix"),
        [
            ("above: 60\nfeatures: {columns.week: {}}", "60 is no probability", "between 0 and 1"),
            ("above: treshold\nfeatures: {columns.week: {}}", "no tier of the listing", "did you mean `threshold`?"),
            ("above: 0.6\nbelow: 0.2\nfeatures: {columns.week: {}}", "either `below` or `above`", ""),
            ("features: {columns.week: {}}", "either `below` or `above`", ""),
            ("above: 0.6\ntarget: lable\nfeatures: {columns.week: {}}", "no target is called `lable`", "label"),
            ("above: 0.6\nfeatures: {columns.week: {direction: up}}", "direction", "increase"),
            ("above: 0.6\nfeatures: {columns.week: {words: '{chnge} visits'}}", "`{chnge}` means nothing here", ""),
        ],
    )  # fmt: skip
    def test_of_the_declaration_is_answered_by_its_key(
        self, work: Work, yaml: str, said: str, fix: str
    ) -> None:
        work.write(
            FILES | {"data/rows.csv": stays(), "conf/counterfactual/more.yaml": f"kind: changes\n{yaml}\n"}
        )
        message = work.refused(*RUN)
        assert said in message
        assert fix in message
        assert "counterfactual" in message

    @pytest.mark.parametrize(
        ("features", "where", "said", "fix"),
        [
            ({"all.weak": {}}, "all.weak", "no feature is called `all.weak`", "did you mean `all.week`?"),
            ({"all.week": {"also": ["all.moth"]}}, "all.week.also", "`all.moth`", "did you mean `all.month`?"),
            ({"all.week": {"at_most": "month"}}, "all.week.at_most", "`month`", "all.month"),
            ({"all.week": {"at_most": "all.plan"}}, "all.week.at_most", "`all.plan` is a text", "None"),
            ({"all.plan": {}}, "all.plan", "nothing says which values it may take", "values: ["),
            ({"all.plan": {"values": ["pluss"]}}, "all.plan.values", "no row's `all.plan` is `pluss`", "did you mean `plus`?"),
            ({"all.week": {"values": ["many"]}}, "all.week.values", "`all.week` is a number", "at_least"),
            ({"all.week": {"at_least": 200}}, "all.week", "so none could change", "a range that holds some rows' values"),
            ({"all.week": {"step": 0.5}}, "all.week.step", "would break them", "give a whole number"),
        ],
    )  # fmt: skip
    def test_that_only_the_data_show_is_told_before_anything_is_fitted(
        self, prepared: small.Experiment, features: dict[str, Any], where: str, said: str, fix: str
    ) -> None:
        node = Changes.model_validate({"kind": "changes", "above": 0.6, "features": features})
        config = prepared.config.model_copy(update={"counterfactual": node})
        with pytest.raises(ConfigError) as error:
            check(config, prepared.prepared.compiled.features, prepared.prepared.matrix)
        assert error.value.where == f"counterfactual.features.{where}"
        assert said in error.value.what
        assert fix in str(error.value.fix)

    @pytest.fixture(scope="class")
    def prepared(self, tmp_path_factory: pytest.TempPathFactory) -> small.Experiment:
        frame = pd.read_csv(io.StringIO(stays())).rename(columns={"label": "y"})
        return small.experiment(small.flat(tmp_path_factory.mktemp("checked"), frame))

    def test_a_list_is_needed_and_a_capacity_is_no_threshold(self, work: Work) -> None:
        work.write(FILES | {"data/rows.csv": stays()})
        assert "needs a ranked list" in work.refused("recipe=flat", "counterfactual=more")
        message = work.refused(*RUN, "counterfactual.above=threshold", "threshold=fill_capacity")
        assert "capacity is no threshold of a single row" in message
        own = "target.label.threshold={kind: fill_capacity, count: 9}"
        message = work.refused("show", *RUN, "counterfactual.above=threshold", f"+{own}")
        assert "capacity is no threshold of a single row" in message
        by_plan = "attributes: {plan: {column: plan}}\nmitigation: {attribute: plan, constraint: demographic_parity}\n"
        work.write({"conf/fairness/by_plan.yaml": by_plan})
        message = work.refused("show", *RUN, "counterfactual.above=threshold", "fairness=by_plan")
        assert "gives each group a threshold of its own" in message
        assert work.run("show", *RUN, "counterfactual.above=0.6", "fairness=by_plan")

    @pytest.mark.parametrize("name", ["columns.week", "made.busy"])
    def test_what_an_expression_reads_or_makes_stays(self, work: Work, name: str) -> None:
        """An expression is not computed anew, so the changed row would contradict itself."""
        work.write(FILES | {"data/rows.csv": stays(), "conf/features/made.yaml": (
            "kind: expressions\nfeatures: {busy: '\"columns.week\" - \"columns.questions\"'}\n"
        )})  # fmt: skip
        work.write(
            {"conf/counterfactual/more.yaml": f"kind: changes\nabove: 0.6\nfeatures: {{{name}: {{}}}}\n"}
        )
        message = work.refused("plan", *RUN, "features=[columns,made]")
        assert "`made.busy` follows from `columns.questions`, `columns.week`" in message
        assert f"more.yaml:3 (counterfactual.features.{name})" in message

    def test_groups_with_thresholds_of_their_own_have_no_common_one(self) -> None:
        node = Changes(kind="changes", below="threshold", features={"a": Change()})
        [told] = wrong(node, {"leaves": "binary"}, Listing(file="calls"), "each group has its own")
        assert "each group has its own" in str(told)

    def test_a_tier_of_the_target_is_an_aim_and_that_of_another_is_none(self) -> None:
        node = Changes(kind="changes", below="high", features={"a": Change()})
        types = {"leaves": "binary", "pays": "binary"}
        tiered = {"file": "calls", "tiers": {"low": 0, "high": 0.6}}
        assert list(wrong(node, types, Listing(**tiered), "")) == []
        assert aim_of(node, Listing(**tiered)) == 0.6
        [other] = wrong(node, types, Listing(**tiered, tiers_of="pays"), "")
        [lowest] = wrong(node.model_copy(update={"below": "low"}), types, Listing(**tiered), "")
        assert "no tier" in str(other)
        assert "begins above 0" in str(lowest)

    def test_plan_finds_it_too(self, work: Work) -> None:
        wrong = "kind: changes\nabove: 0.6\nfeatures: {columns.weak: {}}\n"
        work.write(FILES | {"data/rows.csv": stays(), "conf/counterfactual/more.yaml": wrong})
        assert "did you mean `columns.week`" in work.refused("plan", *RUN)

    def test_a_feature_leads_or_follows_and_is_led_by_one(self) -> None:
        with pytest.raises(ValidationError, match="cannot change by itself"):
            Changes(kind="changes", above=0.5, features={"a": Change(also=["b"]), "b": Change()})
        with pytest.raises(ValidationError, match="moves along with both"):
            Changes(kind="changes", above=0.5, features={"a": Change(also=["c"]), "b": Change(also=["c"])})
        with pytest.raises(ValidationError, match="with room to move"):
            Change(at_least=3, at_most=3)
