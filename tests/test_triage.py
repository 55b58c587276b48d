"""What a person should look at: rows that are unsure, doubtful, or unlike anything in training."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from drawer import DECLARED, KINDS, STRANGE, papers, write

from toolkit import bundling
from toolkit.cli.main import main
from toolkit.config.triage import Doubt, Queue, Sure, Unlike
from toolkit.errors import BundleError
from toolkit.modalities import NOTHING, Column, Modalities, Texts
from toolkit.training.triage import NEVER, Triage, doubtful, threshold_of
from toolkit.training.unlike import Guard

HASHED = {"hashed": {"kind": "text", "table": "papers", "column": "said", "size": 64}}
TRIAGE = {
    "kind": "queue", "doubts": {"poorly_read": {"column": "confidence", "under": 0.6}},
    "unlike": {"alarms": 0.04}, "thumbnails": 6,
}  # fmt: skip
LOST = 40  # papers of a kind that training has not


# --- from which probability on a row is sure ----------------------------------------------------------


def test_the_threshold_is_the_least_at_which_validation_rows_show_the_accuracy() -> None:
    rng = np.random.default_rng(0)
    top = rng.uniform(0.3, 1, 4_000)
    right = rng.random(4_000) < top  # calibrated: the accuracy above t is (1 + t) / 2
    at, why = threshold_of(Sure(accuracy=0.9, certainty=0.9), right, top)
    assert 0.79 < at < 0.86
    assert "90.0% of sure rows right, with 90% certainty: shown by" in why
    above = top >= at
    assert right[above].mean() >= 0.9
    assert threshold_of(Sure(accuracy=0.9, certainty=0.99), right, top)[0] > at
    assert threshold_of(Sure(accuracy=0.97, certainty=0.9), right, top)[0] > at


def test_what_is_shown_holds_for_new_rows_as_often_as_said() -> None:
    """Positive control: at a certainty of one half, accuracies fall short about every second time."""
    rng = np.random.default_rng(1)
    short = {}
    for certainty in (0.5, 0.95):
        below = 0
        for _ in range(200):
            top = rng.uniform(0.5, 1, 300)
            at, _ = threshold_of(Sure(accuracy=0.85, certainty=certainty), rng.random(300) < top, top)
            below += at < NEVER and (1 + max(at, 0.5)) / 2 < 0.85  # the accuracy above it, in the long run
        short[certainty] = below / 200
    assert short[0.95] < 0.15
    assert short[0.5] > 0.3


def test_too_few_validation_rows_show_nothing_and_no_row_is_sure() -> None:
    at, why = threshold_of(Sure(accuracy=0.97), np.ones(50, bool), np.full(50, 0.99))
    assert at == NEVER
    assert (
        why
        == "50 validation rows do not show 97.0% of sure rows right, with 90% certainty, at any probability (76 could, all of them right): no row is sure"
    )
    assert threshold_of(Sure(accuracy=0.97), np.zeros(0, bool), np.zeros(0))[0] == NEVER
    assert threshold_of(Sure(accuracy=None, probability=0.8), np.ones(0, bool), np.zeros(0)) == (
        0.8,
        "as declared",
    )


def test_rows_that_tie_are_sure_together() -> None:
    top, right = np.repeat([0.9, 0.6], 200), np.repeat([True, True], 200)
    right[-40:] = False  # four in five of the others
    assert threshold_of(Sure(accuracy=0.95), right, top)[0] == 0.9


def test_a_number_may_be_under_over_or_missing() -> None:
    value = np.array([0.1, 0.5, 0.9, np.nan])
    assert doubtful(Doubt(column="x", under=0.5), value).tolist() == [True, False, False, False]
    assert doubtful(Doubt(column="x", over=0.5), value).tolist() == [False, False, True, False]
    assert doubtful(Doubt(column="x", missing=True), value).tolist() == [False, False, False, True]


# --- the guard ------------------------------------------------------------------------------------------


def rows_of(frame: pd.DataFrame) -> tuple[np.ndarray, Modalities, np.ndarray]:
    X = frame[["sheets", "density"]].to_numpy(np.float32)
    y = frame["label"].map({kind: place for place, kind in enumerate(KINDS)}).to_numpy(np.float64)
    return X, Modalities(texts=(Texts("words", frame["said"].to_numpy(object)),)), y


NUMBERS = [Column("sheets"), Column("density")]


def test_a_kind_that_training_has_not_is_caught_far_above_the_false_alarm_rate() -> None:
    train, valid, test = (rows_of(papers(rows, seed=rows)) for rows in (800, 400, 600))
    guard = Guard.fit(Unlike(alarms=0.05), NUMBERS, train, valid[:2], 0)
    bare = [(np.zeros((len(rows[0]), 0), np.float32), *rows[1:]) for rows in (train, valid)]
    texts_alone = Guard.fit(Unlike(), [], bare[0], bare[1][:2], 0)
    assert set(texts_alone.limits) == {"words"}
    strange = rows_of(papers(200, (STRANGE,), seed=9))

    def caught(rows: tuple[np.ndarray, Modalities, np.ndarray]) -> float:
        return float(np.any(list(guard.unlike(*rows[:2]).values()), axis=0).mean())

    assert caught(valid) <= 0.05
    assert caught(test) < 0.1
    assert caught(strange) > 0.9
    assert guard.unlike(*strange[:2])["words"].mean() > 0.9
    # The control: what is strange is no longer so once training has some of it.
    taught = tuple(np.concatenate([a, b]) for a, b in ((train[0], strange[0]), (train[2], np.full(200, 9.0))))
    words = np.concatenate([train[1].texts[0].text, strange[1].texts[0].text])
    again = Guard.fit(
        Unlike(alarms=0.05),
        NUMBERS,
        (taught[0], Modalities(texts=(Texts("words", words),)), taught[1]),
        valid[:2],
        0,
    )
    fresh = rows_of(papers(200, (STRANGE,), seed=10))
    assert again.unlike(*fresh[:2])["words"].mean() < 0.1


def test_a_row_of_wild_numbers_is_unlike_by_its_numbers() -> None:
    train, valid = rows_of(papers(300)), rows_of(papers(300, seed=1))
    guard = Guard.fit(Unlike(), NUMBERS, train, valid[:2], 0)
    wild = np.array([[60, 0.3], [2, 0.3]], np.float32)
    besides = Modalities(texts=(Texts("words", valid[1].texts[0].text[:2]),))
    assert guard.unlike(wild, besides)["numbers"].tolist() == [True, False]


def test_rows_kept_are_shared_out_among_classes_and_a_rare_one_is_kept_whole() -> None:
    X = np.arange(2_000, dtype=np.float32)[:, None]
    y = np.where(np.arange(2_000) < 30, 1.0, 0.0)
    guard = Guard.fit(Unlike(rows=100, neighbours=1), [Column("x")], (X, NOTHING, y), (X[:50], NOTHING), 0)
    assert guard.numbers is not None
    assert len(guard.numbers.rows) == 100
    assert guard.distances(X[:30], NOTHING)["numbers"].max() == 0


def test_a_row_lies_as_far_alone_as_among_others_and_a_copy_not_at_all() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(1, 4, 900), rng.integers(0, 5, 900) * 0.137, rng.normal(size=900)])
    X = X.astype(np.float32)
    columns = [Column(name) for name in "abc"]
    guard = Guard.fit(Unlike(neighbours=1), columns, (X, NOTHING, np.zeros(900)), (X[:300], NOTHING), 0)
    assert guard.distances(X, NOTHING)["numbers"].max() == 0
    asked = X[:60] + np.float32(0.01)
    together = guard.distances(asked, NOTHING)["numbers"]
    alone = [guard.distances(asked[[row]], NOTHING)["numbers"][0] for row in range(60)]
    assert together.tolist() == alone
    assert together.min() > 0


def test_a_guard_is_the_same_after_it_was_kept() -> None:
    train, valid = rows_of(papers(200)), rows_of(papers(100, seed=1))
    guard = Guard.fit(Unlike(), NUMBERS, train, valid[:2], 0)
    again = Guard.from_arrays(guard.to_arrays())
    for name, far in guard.distances(*valid[:2]).items():
        assert np.array_equal(far, again.distances(*valid[:2])[name])
    assert again.limits == guard.limits


# --- a run, and scoring with it ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Ran:
    folder: Path
    run: Path
    scored: Path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run on papers of four kinds; scored are new ones, among them of a fifth."""
    folder = tmp_path_factory.mktemp("papers")
    write(folder / "data", papers(1_000))
    fresh, strange = papers(160, seed=5, first=5_000), papers(LOST, (STRANGE,), seed=6, first=9_000)
    write(folder / "new", pd.concat([fresh, strange]))
    recipe = DECLARED | {
        "name": "drawer", "source": {"kind": "folder", "path": "data"}, "features": DECLARED["features"] | HASHED,
        "model": {"trees": {"kind": "lightgbm", "num_iterations": 40, "early_stopping_rounds": None}},
        "triage": TRIAGE, "evaluation": {"bootstrap": 50}, "engine": {"threads": 1},
    }  # fmt: skip
    (folder / "recipes").mkdir()
    defaults = [{"override /model": []}]
    (folder / "recipes/drawer.yaml").write_text(
        yaml.safe_dump({"defaults": defaults} | recipe, sort_keys=False)
    )
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["recipe=drawer", "report.explain=false", "quiet=true"]) == 0
        [run] = [path for path in (folder / "outputs/drawer").iterdir() if path.is_dir()]
        assert main(["score", f"run={run}", "input=new", "output=scored", "quiet=true"]) == 0
    finally:
        os.chdir(before)
    return Ran(folder, run, folder / "scored")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_queue_of_a_run_says_why_and_what_the_model_thinks(ran: Ran) -> None:
    queue = read(ran.run / "review.csv")
    metrics = json.loads((ran.run / "metrics.json").read_text())["targets"]["label"]["review"]
    assert len(queue) == metrics["queued"]["hits"] > 0
    assert list(queue[0]) == [
        "id",
        "why",
        "class_1",
        "probability_1",
        "class_2",
        "probability_2",
        "class_3",
        "probability_3",
        "confidence",
    ]
    predictions = pd.read_parquet(ran.run / "predictions.parquet").query("part == 'test'").set_index("entity")
    columns = [f"label.probability.{kind}" for kind in sorted(KINDS)]
    for line in queue:
        row = predictions.loc[line["id"]]
        assert line["class_1"] == row["label.decision"]
        assert float(line["probability_1"]) == pytest.approx(row[columns].max(), abs=1e-4)
        assert ("unsure" in line["why"]) == (row[columns].max() < metrics["threshold"])
        assert ("poorly_read" in line["why"]) == (float(line["confidence"]) < 0.6)
    unsure = (predictions[columns].max(axis=1) < metrics["threshold"]).sum()
    assert metrics["causes"]["unsure"] == unsure


def test_what_is_left_to_the_model_is_right_more_often_than_what_is_queued(ran: Ran) -> None:
    found = json.loads((ran.run / "metrics.json").read_text())["targets"]["label"]["review"]["accuracy"]
    assert found["left to the model"]["share"] > found["all"]["share"] > found["queued"]["share"]
    assert found["left to the model"]["rows"] + found["queued"]["rows"] == found["all"]["rows"] == 201
    low, high = found["left to the model"]["interval_95"]
    assert low < found["left to the model"]["share"] <= high


def test_new_papers_of_a_strange_kind_are_queued_as_unlike_training(ran: Ran) -> None:
    said = {line["id"]: line["why"] for line in read(ran.scored / "review.csv")}
    strange = [f"{number:05d}" for number in range(9_000, 9_000 + LOST)]
    known = [f"{number:05d}" for number in range(5_000, 5_160)]
    caught = np.mean(["unlike" in said.get(key, "") for key in strange])
    alarms = np.mean(["unlike" in said.get(key, "") for key in known])
    assert caught > 0.9
    assert alarms < 0.1
    told = json.loads((ran.run / "metrics.json").read_text())["targets"]["label"]["review"]["false_alarms"]
    low, high = told["interval_95"]
    assert low - 0.05 < alarms < high + 0.05
    scores = pd.read_parquet(ran.scored / "scores.parquet").set_index("entity")
    assert dict(scores["label.review"].dropna()) == said
    assert len(scores) == 160 + LOST
    assert (
        f"review.csv: {len(said):,} of 200 rows for a person to look at"
        in (ran.scored / "summary.txt").read_text()
    )


def test_the_report_has_a_section_and_pictures_of_what_waits(ran: Ran) -> None:
    page = (ran.run / "report.html").read_text()
    assert "What a person should look at" in page
    assert page.count('src="data:image/png;base64,') == 6
    assert "left to the model, label" in (ran.run / "summary.md").read_text()


def test_a_bundle_without_its_guard_is_refused(ran: Ran, tmp_path: Path) -> None:
    scorer = bundling.read(ran.run / "bundle")
    assert isinstance(scorer.triage, Triage)
    assert scorer.triage.node == Queue.model_validate(TRIAGE)
    broken = tmp_path / "bundle"
    import shutil

    shutil.copytree(ran.run / "bundle", broken)
    (broken / "guard.safetensors").write_bytes(b"other bytes")
    with pytest.raises(BundleError, match="guard"):
        bundling.read(broken)


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("triage.doubts.poorly_read.column=confidense", "did you mean `confidence`"),
        ("+triage.target=lable", "no target of several classes is called `lable`"),
        ("+triage.sure={accuracy:0.9,probability:0.5}", "takes `accuracy` or `probability`"),
        ("+triage.unlike.alarm=0.1", "did you mean `alarms`"),
    ],
)
def test_what_means_nothing_is_refused(
    ran: Ran, capsys: pytest.CaptureFixture[str], override: str, says: str
) -> None:
    before = Path.cwd()
    os.chdir(ran.folder)
    try:
        code = main(["recipe=drawer", override])
    finally:
        os.chdir(before)
    said = capsys.readouterr().err
    assert code == 2, said
    assert says in " ".join(said.split())
    assert "Traceback" not in said
