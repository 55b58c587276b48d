"""Words hashed to columns, as they were known at the cutoff, against an oracle in plain Python; and what is refused.

Point in time is tested in the random worlds (see `worlds`), whose texts are single words; what a word is,
weights, signs and pairs in texts that are written out here.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Work
from oracle import Oracle, Row
from small import clean, dated, experiment, flat, people, quiet
from worlds import TABLES, Made, World, declare, make, tiny, world

from toolkit import plan
from toolkit.config.tables import Dataset
from toolkit.errors import ConfigError, LeakError
from toolkit.prepare import matrix as matrices
from toolkit.proof import all_proofs

SIZE = 8


def words_of(text: str) -> list[str]:
    """Runs of letters, their marks and digits, in small letters."""
    kept = (
        c if unicodedata.category(c)[0] in "LMN" else " " for c in unicodedata.normalize("NFC", text).lower()
    )
    return "".join(kept).split()


def hashed(texts: Iterable[str | None], size: int, ngrams: int = 1) -> list[float] | None:
    """What a row's texts come to: [size], of length 1; None without any word."""
    counts: Counter[str] = Counter()
    for text in texts:
        words = words_of(text or "")
        counts.update(words)
        if ngrams == 2:
            counts.update(f"{one} {other}" for one, other in pairwise(words))
    if not counts:
        return None
    found = [0.0] * size
    for word, times in counts.items():
        number = int(hashlib.md5(word.encode()).hexdigest()[:15], 16)
        found[number % size] += (1 + math.log(times)) * (-1 if number >= 2**59 else 1)
    length = math.sqrt(sum(x * x for x in found)) or 1.0
    return [x / length for x in found]


def block(matrix: matrices.Matrix, name: str) -> np.ndarray:
    """The columns of a set: [rows, size]."""
    return np.column_stack([column for key, column in matrix.columns.items() if key.startswith(f"{name}.")])


def agree(found: np.ndarray, wanted: list[float] | None) -> bool:
    if wanted is None:
        return bool(np.isnan(found).all())
    return bool(np.allclose(found, wanted, atol=1e-6))


# --- as known at the cutoff -------------------------------------------------------------------------

WORLDS = {
    "utc": (21, "UTC", ["2023-03-01", "2024-02-29"]),
    "berlin": (22, "Europe/Berlin", ["2024-03-31", "2024-11-01T06:30"]),
}  # fmt: skip
ASKED: dict[str, dict[str, Any]] = {
    "orders": {"table": "orders", "column": "kind"},
    "clicks": {"table": "clicks", "column": "kind", "window": "36h"},
    "visits": {"table": "visits", "column": "kind", "window": "12 months"},
    "calls": {"table": "calls", "column": "kind", "where": "amount < 100"},
    "town": {"table": "people", "column": "town"},
}  # fmt: skip
Case = tuple[World, Made, Oracle, matrices.Matrix]


@pytest.fixture(scope="module", params=WORLDS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    seed, zone, days = WORLDS[request.param]
    found = world(seed, zone, days, people=50)
    folder = tmp_path_factory.mktemp(request.param)
    found.write(folder)
    features = {name: {"kind": "text", "size": SIZE, **each} for name, each in ASKED.items()}
    made = make(folder, declare({"cutoffs": days, "timezone": zone}, features))
    return found, made, Oracle(found), made.matrix()


def expected(found: World, oracle: Oracle, asked: dict[str, Any], entity: str, cutoff: datetime) -> list[Any]:
    """The texts that are seen."""
    if asked["table"] == "people":
        return [row["town"] for row in found.rows["people"] if row["id"] == entity]

    def cheap(row: Row) -> bool | None:
        return None if row["amount"] is None else row["amount"] < 100

    rows = oracle.seen(asked["table"], entity, cutoff, test=cheap if "where" in asked else None)
    window = asked.get("window", "all")
    begin = datetime.min if window == "all" else oracle.before(cutoff, window)
    return [row[asked["column"]] for row in rows if row["time"] > begin]


def test_the_words_of_every_row_agree_with_the_oracle(case: Case) -> None:
    found, made, oracle, matrix = case
    for name, asked in ASKED.items():
        X = block(matrix, name)
        assert (X.shape[1], X.dtype) == (SIZE, np.float32)
        for row in made.cohort():
            wanted = hashed(expected(found, oracle, asked, row["entity"], row["cutoff"]), SIZE)
            assert agree(X[row["@row"]], wanted), (name, row, X[row["@row"]], wanted)


def test_the_worlds_would_show_a_difference(case: Case) -> None:
    """Positive control: many rows have words and some none, and an oracle that looks too far disagrees."""
    found, made, oracle, matrix = case
    for name, asked in ASKED.items():
        X = block(matrix, name)
        gone = np.isnan(X).all(1)
        assert 0 < gone.sum() < len(X)
        assert np.allclose(np.linalg.norm(X[~gone], axis=1), 1, atol=1e-6)
        if name == "town":
            continue
        date = "date" in TABLES[asked["table"]]["columns"].values()
        ahead = timedelta(days=1) if date else timedelta(seconds=1)
        late = [
            agree(
                X[r["@row"]], hashed(expected(found, oracle, asked, r["entity"], r["cutoff"] + ahead), SIZE)
            )
            for r in made.cohort()
        ]
        assert not all(late), name


# --- what a word is, what it weighs -----------------------------------------------------------------

NOTES: dict[str, Any] = {
    "clients": {"key": "id", "known": "always", "columns": {"id": "text", "left": "text", "about": "text", "age": "integer"}},
    "notes": {"entity": "client", "clock": "day", "columns": {"client": "text", "day": "date", "said": "text"}},
    "tags": {"entity": "client", "known": "always", "columns": {"client": "text", "tag": "text"}},
}  # fmt: skip
FILES = {
    "clients": "id, left, about, age\n1, no, Likes dogs, 3\n2, yes, Likes cats, 4\n3, no, , 5\n4, no, !?, 6\n5, no, Dogs dogs, 7",
    "notes": "client, day, said\n1, 2021-01-01, one two\n1, 2021-06-01, two three\n1, 2022-06-01, four\n2, 2022-01-01, five",
    "tags": "client, tag\n1, red\n1, Red\n1, blue\n2, red",
}  # fmt: skip
SAID = {"kind": "text", "table": "notes", "column": "said", "size": 16}
TEXTS = [
    "Straße, STRASSE & straße 2024!",
    "l'été à l'École; e\u0301te\u0301 décomposé",  # the same word, composed and not
    "don't under_score a1b2 ½",
    "東京 大阪 東京",
    "हिन्दी में",  # vowels that are marks
    "  \t",
    "🙂 – …",
    "one\x00two",
    "the cat the dog the cat",
]


def notes(folder: Path, features: dict[str, Any], **more: Any) -> Made:
    target = more.pop("target", None)
    data = Dataset.model_validate({"entity": "clients", "tables": NOTES})
    return make(tiny(folder, FILES), declare({"cutoffs": ["2022-01-01"]} | more, features, target, data))


@pytest.mark.parametrize("ngrams", [1, 2])
@pytest.mark.parametrize("size", [2, 17, 256])
def test_words_are_what_unicode_calls_so(tmp_path: Path, size: int, ngrams: int) -> None:
    table = {"key": "id", "known": "always", "columns": {"id": "text", "said": "text"}}
    data = Dataset.model_validate({"entity": "people", "tables": {"people": table}})
    pd.DataFrame({"id": range(len(TEXTS)), "said": TEXTS}).astype(str).to_parquet(tmp_path / "people.parquet")
    asked = {"kind": "text", "table": "people", "column": "said", "size": size, "ngrams": ngrams}
    X = block(make(tmp_path, declare({"cutoffs": None}, {"t": asked}, data=data)).matrix(), "t")
    for row, text in enumerate(TEXTS):
        assert agree(X[row], hashed([text], size, ngrams)), (text, X[row])
    assert np.isnan(X[5:7]).all()
    assert not np.isnan(X[[0, 1, 2, 3, 4, 7, 8]]).any()


def test_a_word_has_its_place_for_ever(tmp_path: Path) -> None:
    """A bundle holds no vocabulary, so these numbers may never change: MD5 (RFC 1321) of two words."""
    made = notes(
        tmp_path, {"t": {"kind": "text", "table": "clients", "column": "about", "size": 256}}, cutoffs=None
    )
    X = block(made.matrix(), "t")
    half = math.sqrt(0.5)
    likes, dogs = 0xCC71D8F3DC8842C % 256, 0xD28D2D3560FA76F % 256  # both begin beyond 8: minus
    assert (likes, dogs) == (44, 111)
    assert {int(at): float(X[0, at]) for at in np.flatnonzero(X[0])} == pytest.approx({44: -half, 111: -half})
    assert {int(at): float(X[4, at]) for at in np.flatnonzero(X[4])} == {111: -1.0}


def test_all_texts_of_a_row_count_together_and_pairs_stay_within_one(tmp_path: Path) -> None:
    asked = {"all": SAID, "late": SAID | {"window": "11 months"}, "pairs": SAID | {"ngrams": 2}, "few": SAID | {"where": "said <> 'one two'"},
             "tags": SAID | {"table": "tags", "column": "tag"}}  # fmt: skip
    matrix = notes(tmp_path, asked).matrix()
    assert agree(block(matrix, "all")[0], hashed(["one two", "two three"], 16))
    assert agree(block(matrix, "late")[0], hashed(["two three"], 16))
    assert agree(block(matrix, "pairs")[0], hashed(["one two", "two three"], 16, 2))
    assert not agree(block(matrix, "pairs")[0], hashed(["one two two three"], 16, 2))
    assert agree(block(matrix, "few")[0], hashed(["two three"], 16))
    assert agree(block(matrix, "tags")[0], hashed(["red", "Red", "blue"], 16))
    assert np.isnan(block(matrix, "all")[1:]).all(), "1 January 2022 is over after the cutoff"


def test_a_sum_does_not_depend_on_the_order_of_words(tmp_path: Path) -> None:
    """To the last bit, although a place of two holds thousands of words."""
    table = {"key": "id", "known": "always", "columns": {"id": "text", "said": "text"}}
    data = Dataset.model_validate({"entity": "people", "tables": {"people": table}})
    rng, found = np.random.default_rng(0), []
    words = np.array([f"w{n}" for n in rng.integers(0, 4_000, 20_000)])
    for turn in range(3):
        folder = tmp_path / str(turn)
        folder.mkdir()
        texts = [" ".join(rng.permutation(words)) for _ in range(3)]
        pd.DataFrame({"id": ["1", "2", "3"], "said": texts}).to_parquet(folder / "people.parquet")
        asked = {"t": {"kind": "text", "table": "people", "column": "said", "size": 2}}
        found.append(
            block(make(folder, declare({"cutoffs": None}, asked, data=data)).matrix(), "t").tobytes()
        )
    assert len(set(found)) == 1


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "says", "where"),
    [
        ({"column": "sad"}, "no column `sad`", "features.t.column"),
        ({"column": "day"}, "`day` is no text but date", "features.t.column"),
        ({"table": "tags", "column": "tag", "window": "3 months"}, "has no clock, so it has no windows", "features.t.window"),
        ({"where": "siad = 'x'"}, "uses `siad`", "features.t.where"),
    ],
)  # fmt: skip
def test_what_a_table_cannot_answer_is_refused(
    tmp_path: Path, wrong: dict[str, Any], says: str, where: str
) -> None:
    with pytest.raises(ConfigError) as error:
        notes(tmp_path, {"t": SAID | wrong, "said": SAID})
    assert says in error.value.what
    assert error.value.where == where
    assert error.value.fix


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"window": "horizon"}, "closes at the cutoff"),
        ({"size": 1}, "greater than or equal to 2"),
        ({"size": 10_000}, "less than or equal to 8192"),
        ({"ngrams": 3}, "1 or 2"),
    ],
)
def test_what_means_nothing_is_refused_before_any_table_is_read(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        declare({"cutoffs": None}, {"t": SAID | wrong})


@pytest.mark.parametrize("leak", [{"column": "left"}, {"column": "about", "where": "left = 'yes'"}])
def test_words_of_the_label_are_refused(tmp_path: Path, leak: dict[str, str]) -> None:
    target = {"left": {"kind": "column", "column": "left", "positive": "yes"}}
    said = r"`t.h000` is made of `clients.left`, which target `left` derives from"
    with pytest.raises(LeakError, match=said):
        notes(tmp_path, {"t": {"kind": "text", "table": "clients", **leak}}, target=target, cutoffs=None)


# --- the rest of the way ----------------------------------------------------------------------------

ADDED = {"table": "letters", "kind": "text", "column": "said", "size": 32, "window": "12 months"}


def letters(folder: Path, **more: Any) -> Any:
    """People who write letters; what they write says how eager they are."""
    persons, events = people(400)
    rng = np.random.default_rng(1)
    rows = events[["id", "day"]].assign(
        said=[" ".join(rng.choice(list("abcdefgh"), 4)) for _ in range(len(events))]
    )
    spec = {"entity": "id", "clock": "day", "columns": {"id": "text", "day": "date", "said": "text"}}
    return dated(folder, persons, events, {"letters": (rows, spec)}, features={"words": ADDED}, **more)


def test_the_proofs_cover_hashed_words(tmp_path: Path) -> None:
    proofs = all_proofs(letters(tmp_path), quiet)
    assert all(proof.holds for proof in proofs), [proof.text for proof in proofs if not proof.holds]
    assert sum("32 features" in proof.text for proof in proofs) == 3


def test_the_proof_would_see_a_word_from_the_future(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positive control: texts that are seen whenever they were written."""
    from toolkit.prepare.frame import Look

    monkeypatch.setattr(Look, "seen", lambda self: None)
    proofs = all_proofs(
        letters(tmp_path, cohort={"cutoffs": ["2020-01-01", "2021-01-01", "2022-01-01"]}), quiet
    )
    assert any("feature `words.h" in proof.text and not proof.holds for proof in proofs)


def test_many_columns_are_one_line_of_the_plan(tmp_path: Path) -> None:
    found = experiment(letters(tmp_path))
    lines = plan.features(found.prepared)
    assert lines[0] == "FEATURES (32)"
    assert len(lines) == 2
    assert lines[1].startswith(
        "  words.h000 … h031 (32)  [numeric; window 12 months]  said of letters: words, hashed; from "
    )


def test_a_bundle_scores_words_as_training_saw_them(work: Work) -> None:
    """From other rows than those that it was trained on: half of the clients are gone."""
    work.write({"conf/features/words.yaml": "kind: text\ntable: clients\ncolumn: town\nsize: 8\n"})
    said = work.run("recipe=shop", "features=[history,words]", "report.html=false", "report.explain=false")
    assert said.code == 0, said.err
    (run,) = work.runs()
    for name, column in (("clients", "id"), ("orders", "client")):
        rows = pd.read_csv(work.folder / f"data/{name}.csv", dtype=str)
        (work.folder / "new").mkdir(exist_ok=True)
        rows[rows[column].astype(int) % 2 == 0].to_csv(work.folder / f"new/{name}.csv", index=False)
    said = work.run("score", f"run={run}", "input=new", "cutoff=2022-01-01", "output=scored")
    assert said.code == 0, said.err
    trained = pd.read_parquet(run / "predictions.parquet").query("part == 'test'").set_index("entity")
    scored = pd.read_parquet(work.folder / "scored/scores.parquet").set_index("entity")
    assert 50 < len(scored) < len(trained)
    pd.testing.assert_series_equal(
        scored["orders_again.score"],
        trained["orders_again.score"].loc[scored.index],
        check_exact=False,
        rtol=1e-9,
    )


def test_that_a_text_is_missing_is_one_finding_of_the_audit(tmp_path: Path) -> None:
    """Whoever left has a note saying so, in words that do not matter: 16 columns are missing together."""
    frame = clean(1_000)
    words = np.random.default_rng(0).choice(["red", "green", "blue"], len(frame))
    frame["note"] = np.where(frame["y"] == "yes", words, None)
    asked = {"kind": "text", "table": "rows", "column": "note", "size": 16}
    features = {"who": {"kind": "attributes", "table": "rows", "columns": ["age"]}, "note": asked}
    found = experiment(flat(tmp_path, frame, features=features)).run().findings
    missing = [finding for finding in found if finding.kind == "missingness"]
    assert [finding.feature for finding in missing] == ["note.h000"]
