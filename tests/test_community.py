"""Recipes `community_churn`, `mood_trend` and `contact_timing`: labels and features against plain Python, and best hours.

One small world, read a second time from its CSV files without the compiler; a cutoff is the end of its Sunday.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import random
import shutil
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from small import Experiment, experiment
from test_lexicon import oracle

from toolkit import bundling
from toolkit.actions import what_if
from toolkit.actions.ranked import stand
from toolkit.cli.main import main
from toolkit.config.paths import packaged
from toolkit.config.schema import Config
from toolkit.config.tables import FolderSource
from toolkit.data.cache import Cache
from toolkit.scoring import batch
from toolkit.simulate.chat import ChatWorld, simulate

WORLD = ChatWorld(size=260, weeks=30, seed=5)
DAY = timedelta(days=1)
SMALL = [
    "engine.threads=1",
    "evaluation.bootstrap=20",
    "report.html=false",
    "split.test.cutoffs=4",
    "split.validation.cutoffs=4",
]
FEW = ["model.random_forest.trees=20"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with the world's files in `data`; the tests work in it."""
    found = tmp_path_factory.mktemp("community")
    simulate(WORLD, found / "data")
    shutil.rmtree(found / "data" / "truth")
    before = Path.cwd()
    os.chdir(found)
    yield found
    os.chdir(before)


def call(*arguments: str) -> tuple[int, str, str]:
    """The command line in this process: exit code, and both streams."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*arguments])
    return code, out.getvalue(), err.getvalue()


def prepared(recipe: str, *more: str) -> Experiment:
    words = [f"recipe={recipe}", "source=folder", "source.path=data", *SMALL, *more]
    code, shown, err = call("show", *words)
    assert code == 0, err
    return experiment(Config.model_validate(yaml.safe_load(shown)))


def run(recipe: str, *more: str) -> Path:
    code, _, err = call(f"recipe={recipe}", "source=folder", "source.path=data", "quiet=true", *SMALL, *more)
    assert code == 0, err
    return max(Path("outputs", recipe).iterdir())


class Story:
    """The files, by user. shift: what the oracle looks too far ahead; a right one looks none."""

    def __init__(self, folder: Path, shift: timedelta = timedelta(0)) -> None:
        self.shift = shift
        node = yaml.safe_load((packaged("conf") / "dataset" / "community.yaml").read_text(encoding="utf-8"))
        self.lexicon = node["tables"]["messages"]["score"]["SENTIMENT"]
        self.messages: dict[str, list[tuple[datetime, dict[str, Any]]]] = defaultdict(list)
        for row in self._rows(folder / "messages.csv"):
            row |= {"tone": oracle(row["text"] or None, self.lexicon)}
            self.messages[row["user_id"]].append((datetime.fromisoformat(row["sent_at"]), row))
        self.sent: dict[str, list[datetime]] = defaultdict(list)
        self.contact: dict[str, dict[str, Any]] = {}
        for row in self._rows(folder / "contacts.csv"):
            self.contact[row["contact_id"]] = row
            self.sent[row["user_id"]].append(datetime.fromisoformat(row["send_at"]))
        self.answered: dict[str, list[datetime]] = defaultdict(list)
        self.answer: dict[str, datetime] = {}
        for row in self._rows(folder / "answers.csv"):
            self.answer[row["contact_id"]] = datetime.fromisoformat(row["answered_at"])
            self.answered[row["user_id"]].append(self.answer[row["contact_id"]])

    @staticmethod
    def _rows(path: Path) -> list[dict[str, Any]]:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def past(self, user: str, cutoff: datetime, days: int) -> list[dict[str, Any]]:
        end = cutoff + self.shift
        return [row | {"at": at} for at, row in self.messages[user] if end - days * DAY < at <= end]

    def ahead(self, user: str, cutoff: datetime, days: int) -> list[dict[str, Any]]:
        begin = cutoff + self.shift
        return [row for at, row in self.messages[user] if begin < at <= begin + days * DAY]


def mean(values: Any) -> float:
    known = [value for value in values if value is not None]
    return fmean(known) if known else math.nan


def quality(row: dict[str, Any]) -> float:
    soon = 1 / (1 + float(row["reply_seconds"]) / 3600) if row["reply_seconds"] else 0.5
    return (min(len(row["text"]) / 80, 1) + soon + (1 + (row["tone"] or 0)) / 2) / 3


def rows_of(made: Experiment, count: int) -> list[tuple[int, str, datetime]]:
    """Some rows: place, entity, cutoff."""
    matrix = made.prepared.matrix
    places = random.Random(0).sample(range(len(matrix)), min(count, len(matrix)))
    return [(n, matrix.entity[n], pd.Timestamp(matrix.cutoff[n]).to_pydatetime()) for n in places]


def wrong(found: list[float], expected: list[float]) -> int:
    return int((~np.isclose(found, expected, rtol=1e-5, atol=1e-6, equal_nan=True)).sum())


@pytest.fixture(scope="module")
def churn(folder: Path) -> Experiment:
    return prepared("community_churn")


def test_cohort_and_label_of_community_churn(folder: Path, churn: Experiment) -> None:
    story, early = Story(folder / "data"), Story(folder / "data", -3 * DAY)
    matrix = churn.prepared.matrix
    cutoffs = {pd.Timestamp(cutoff).to_pydatetime() for cutoff in matrix.cutoff}
    assert {cutoff.strftime("%A %H:%M") for cutoff in cutoffs} == {"Sunday 23:59"}
    pairs = set(zip(matrix.entity, map(pd.Timestamp, matrix.cutoff), strict=True))
    assert pairs == {(u, pd.Timestamp(c)) for u in story.messages for c in cutoffs if story.past(u, c, 30)}
    values = matrix.values["silent_30d"]  # messages to come; none: silent
    rows = rows_of(churn, 400)
    assert [values[n] for n, *_ in rows] == [len(story.ahead(user, cutoff, 30)) for _, user, cutoff in rows]
    assert [values[n] for n, *_ in rows] != [len(early.ahead(user, cutoff, 30)) for _, user, cutoff in rows]
    assert 0 < (values == 0).mean() < 0.2


def test_features_of_a_community(folder: Path, churn: Experiment) -> None:
    rows, columns = rows_of(churn, 300), churn.prepared.matrix.columns
    for shift, right in ((timedelta(0), True), (DAY, False)):
        story = Story(folder / "data", shift)
        expected: dict[str, list[float]] = defaultdict(list)
        for _, user, cutoff in rows:
            two, month, both = (story.past(user, cutoff, days) for days in (14, 30, 60))
            expected["message_activity.count_14d"].append(len(two))
            last = max((row["at"] for row in both), default=None)
            since = (cutoff - last).total_seconds() / 86_400 if last else math.nan
            expected["message_activity.days_since_last_60d"].append(since)
            expected["message_activity.acceleration_14d_60d"].append(
                len(two) / len(both) * 60 / 14 if both else math.nan
            )
            expected["message_mood.SENTIMENT_mean_14d"].append(mean(row["tone"] for row in two))
            negative = (row["tone"] < 0 if row["tone"] is not None else None for row in month)
            expected["message_mood.NEGATIVE_mean_30d"].append(mean(negative))
            expected["message_mood.QUALITY_mean_60d"].append(mean(quality(row) for row in both))
            begin = cutoff + shift - 180 * DAY
            sent = sum(begin < at <= cutoff + shift for at in story.sent[user])
            answered = sum(begin < at <= cutoff + shift for at in story.answered[user])
            expected["response_behaviour.answered_share_180d"].append(
                min(answered / sent, 1) if sent else math.nan
            )
        for name, values in expected.items():
            found = [float(columns[name][n]) for n, *_ in rows]
            assert (wrong(found, values) == 0) == right, name


def test_next_weeks_tone_is_that_of_the_messages_to_come(folder: Path) -> None:
    made, story = prepared("mood_trend"), Story(folder / "data")
    values, rows = made.prepared.matrix.values["mood_next_week"], rows_of(made, 400)
    expected = [mean(row["tone"] for row in story.ahead(user, cutoff, 7)) for _, user, cutoff in rows]
    assert wrong([values[n] for n, *_ in rows], expected) == 0
    assert 0.05 < np.isnan(expected).mean() < 0.9  # who writes nothing has no label
    late = [mean(row["tone"] for row in story.ahead(user, cutoff + DAY, 7)) for _, user, cutoff in rows]
    assert wrong([values[n] for n, *_ in rows], late) > 100


def test_a_contact_is_a_row_on_the_sunday_that_it_is_planned_and_knows_its_addressee(folder: Path) -> None:
    made, story = prepared("contact_timing"), Story(folder / "data")
    matrix, rows = made.prepared.matrix, rows_of(made, 300)
    assert len(set(matrix.entity)) == len(matrix)
    columns: dict[str, list[float]] = defaultdict(list)
    label = []
    for _, key, cutoff in rows:
        contact = story.contact[key]
        user, send = contact["user_id"], datetime.fromisoformat(contact["send_at"])
        assert contact["planned_at"][:10] == f"{cutoff:%Y-%m-%d}"
        assert timedelta(0) < send - cutoff <= 7 * DAY
        columns["contact_moment.send_at_hour"].append(send.hour)
        columns["contact_moment.send_at_weekday"].append(send.isoweekday())
        angles = [2 * math.pi / 24 * (row["at"].hour + 0.5) for row in story.past(user, cutoff, 180)]
        own = 2 * math.pi / 24 * (send.hour + 0.5)
        columns["contact_fit.near_usual_hours"].append(mean(math.cos(angle - own) for angle in angles))
        begin = cutoff - 180 * DAY
        sent, answered = (
            sum(begin < at <= cutoff for at in rows[user]) for rows in (story.sent, story.answered)
        )
        columns["addressee.answered_share"].append((answered + 1) / (sent + 4))
        label.append(float(key in story.answer and story.answer[key] <= cutoff + 8 * DAY))
    for name, expected in columns.items():
        assert wrong([float(matrix.columns[name][n]) for n, *_ in rows], expected) == 0, name
    assert [matrix.values["answers_contact"][n] for n, *_ in rows] == label
    assert 0.1 < np.mean(label) < 0.5


def test_community_churn_runs_and_the_risk_score_is_the_declared_one(folder: Path) -> None:
    place = run("community_churn", *FEW)
    assert {"ranked.csv", "metrics.json", "bundle"} <= {path.name for path in place.iterdir()}
    listed = pd.read_csv(place / "ranked.csv")
    assert listed["P_SILENT_30D"].is_monotonic_decreasing
    assert str(listed["snapshot"][0]) == "2023-07-30"  # the last Sunday of the export
    said = (place / "summary.md").read_text()
    for name in ("random_forest", "logistic", "silence_risk", "prior", "rule"):
        assert name in said


def test_mood_trend_runs_beside_a_naive_baseline_and_persistence(folder: Path) -> None:
    place = run("mood_trend", "model=[lightgbm,mood_stays]")
    said = (place / "summary.md").read_text()
    for name in ("lightgbm", "mood_stays", "prior", "rule", "R²"):
        assert name in said
    table = pd.read_parquet(place / "predictions.parquet")
    assert len(table) > 100


# ---- best hours ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def timing(folder: Path) -> Path:
    return run("contact_timing", "model=[logistic]", "report.html=true")


@pytest.fixture(scope="module")
def scored(timing: Path) -> tuple[bundling.Scorer, batch.Scored]:
    scorer = bundling.read(timing / "bundle")
    source = FolderSource(kind="folder", path="data")
    return scorer, batch.score(scorer, source, None, Cache(Path("outputs/.cache")), scorer.engine)


def test_drivers_are_called_what_reasons_in_the_list_are_called(timing: Path) -> None:
    drivers = pd.read_csv(timing / "drivers" / "answers_contact.csv").set_index("feature")["description"]
    assert drivers["addressee.sentiment_30d"] == "tone of their messages, last 30 days"
    assert drivers["contact_fit.near_usual_hours"].startswith("how near it is to the hours")
    assert drivers["contact_fit.hour_cos"] == "hour cos"  # never a reason, and still a driver


def test_its_own_hour_gives_a_row_its_own_score(scored: tuple[bundling.Scorer, batch.Scored]) -> None:
    scorer, found = scored
    head, node = scorer.heads[0], scorer.listing.what_if
    assert node is not None
    rows = stand(scorer, found, head).rows
    tried = what_if.try_all(scorer, found, head, rows, node)
    assert tried.raw.shape == (len(rows), 7 * 17)
    columns = found.matrix.columns
    own = [
        tried.combinations.index((columns["contact_moment.send_at_weekday"][n], columns["contact_moment.send_at_hour"][n]))
        for n in rows
    ]  # fmt: skip
    assert np.array_equal(tried.raw[np.arange(len(rows)), own], found.raw[head.name][rows])
    assert np.array_equal(tried.value[np.arange(len(rows)), own], found.probability[head.name][rows])
    assert np.ptp(tried.raw, axis=1).min() > 0.01  # the hour matters to everybody


def test_the_file_holds_the_best_three_of_each_row(
    timing: Path, scored: tuple[bundling.Scorer, batch.Scored]
) -> None:
    scorer, found = scored
    head, node = scorer.heads[0], scorer.listing.what_if
    assert node is not None
    listed, best = pd.read_csv(timing / "ranked.csv"), pd.read_csv(timing / "ranked.best.csv")
    tried = what_if.try_all(scorer, found, head, stand(scorer, found, head).rows, node)
    assert best["contact_id"].to_list() == listed["contact_id"].repeat(3).to_list()
    assert best["choice"].to_list() == [1, 2, 3] * len(listed)
    assert np.allclose(best["P_ANSWERS_CONTACT"], np.sort(tried.value)[:, :-4:-1].ravel(), atol=1e-6)
    assert (best["P_ANSWERS_CONTACT_AS_IT_IS"] == listed["P_ANSWERS_CONTACT"].repeat(3).to_numpy()).all()
    assert not best.duplicated(["contact_id", "WEEKDAY", "HOUR"]).any()


def test_a_contact_moved_to_its_best_hour_scores_what_was_promised(folder: Path, timing: Path) -> None:
    """The very file is changed and scored from the beginning: no part of what is asked what-if is used."""
    best = pd.read_csv(timing / "ranked.best.csv").query("choice == 1").set_index("contact_id")
    shutil.copytree("data", "moved")
    contacts = pd.read_csv("moved/contacts.csv").set_index("contact_id")
    for key, row in best.iterrows():
        day = datetime.fromisoformat(row["snapshot"]) + row["WEEKDAY"] * DAY  # the snapshot is a Sunday
        contacts.loc[key, "send_at"] = f"{day:%Y-%m-%d} {row['HOUR']:02d}:30:00"
    contacts.reset_index().to_csv("moved/contacts.csv", index=False)
    code, _, err = call("score", f"run={timing}", "input=moved", "output=promised", "quiet=true")
    assert code == 0, err
    found = pd.read_csv("promised/ranked.csv").set_index("contact_id")["P_ANSWERS_CONTACT"]
    assert np.allclose(found.loc[best.index], best["P_ANSWERS_CONTACT"], atol=2e-6)
    before = best["P_ANSWERS_CONTACT_AS_IT_IS"]
    assert (found.loc[best.index] >= before - 2e-6).all()
    assert (found.loc[best.index] - before).mean() > 0.02


def test_scoring_writes_the_same_best_hours(timing: Path) -> None:
    code, _, err = call("score", f"run={timing}", "input=data", "output=again", "quiet=true")
    assert code == 0, err
    assert Path("again/ranked.best.csv").read_bytes() == (timing / "ranked.best.csv").read_bytes()


HOUR = "listing.what_if.choose.HOUR"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([f"{HOUR}.feature=contact_moment.send_at_huor"], "did you mean `contact_moment.send_at_hour`"),
        ([f"{HOUR}.feature=contact_fit.near_usual_hours"], "follows from"),
        ([f"{HOUR}.values=[morning]"], "`contact_moment.send_at_hour` is a number, and `morning` is none"),
        ([f"{HOUR}.values=[]"], "at least 1"),
        ([f"{HOUR}.values=[7,7]"], "names a value twice"),
        (["listing.what_if.best=0"], "must be at least 1"),
        (["+features.moment={kind: attributes, table: contacts, columns: [send_at]}"],
         "`moment.send_at` is made of `contacts.send_at`, as `contact_moment.send_at_"),
    ],
)  # fmt: skip
def test_a_choice_that_cannot_be_made_is_refused(folder: Path, words: list[str], said: str) -> None:
    code, _, err = call("plan", "recipe=contact_timing", "source=folder", "source.path=data", *SMALL, *words)
    assert code == 2
    assert said in " ".join(err.split()), err
    assert "Traceback" not in err


def test_hours_that_no_training_row_has_are_told(folder: Path) -> None:
    code, out, err = call("plan", "recipe=contact_timing", "source=folder", "source.path=data", *SMALL, f"{HOUR}.values=[2,9]")  # fmt: skip
    assert code == 0, err
    assert (
        "no training row has `contact_moment.send_at_hour` = 2; what the model says of them is a guess" in out
    )
