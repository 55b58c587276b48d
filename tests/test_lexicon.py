"""Texts as numbers by a declared lexicon: what words, negations and patterns weigh, and what is missing.

The oracle is the same rule written down a second time, in plain Python over one text after another.
"""

from __future__ import annotations

import random
import re
import time
import unicodedata
from typing import Any

import pyarrow as pa
import pytest
from conftest import Place, column
from pydantic import ValidationError

from toolkit.config.text import TextScore
from toolkit.data.lexicon import scorer
from toolkit.errors import ConfigError

DECLARED: dict[str, Any] = {
    "of": "text",
    "lexicon": {"great": 1, "good": 0.6, "schön": 0.8, "bad": -0.7, "terrible": -1, "don't": -0.1},
    "negations": ["not", "never", "can't"],
    "patterns": {"🎉|👍": 0.5, "[:;]-?[)]": 0.5, r"(?i)\bgive up\b": -0.9},
    "combine": "sum",
}


def scores(texts: list[str | None], **changed: Any) -> list[float | None]:
    found = scorer(TextScore.model_validate(DECLARED | changed))(pa.array(texts, pa.string()))
    return [None if value is None else round(value, 9) for value in found.to_pylist()]


def oracle(text: str | None, declared: dict[str, Any]) -> float | None:
    """The rule, word by word. Words are runs of letters, marks, digits, `_` and inner apostrophes."""
    if text is None or not text.strip():
        return None
    plain = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    total, found = 0.0, 0
    for sentence in re.split(r"[.!?;:,…。！？\n]+", plain):
        words: list[str] = []
        run = ""
        for letter in sentence + " ":
            if unicodedata.category(letter)[0] in "LMN" or letter in "_'":
                run += letter
            elif run:
                words, run = [*words, run.strip("'")], ""
        for place, word in enumerate(words):
            if word in declared["lexicon"]:
                denied = set(words[max(0, place - declared.get("reach", 3)) : place]) & set(
                    declared["negations"]
                )
                total += -declared["lexicon"][word] if denied else declared["lexicon"][word]
                found += 1
    for pattern, weight in declared["patterns"].items():
        count = len(re.findall(pattern, text))
        total, found = total + weight * count, found + count
    if not found:
        return 0.0
    value = {"sum": total, "mean": total / found, "clipped": max(-1.0, min(1.0, total))}[declared["combine"]]
    return round(value, 9)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("great", 1.0),
        ("GREAT, really good", 1.6),
        ("not great", -1.0),
        ("not at all great", -1.0),  # two words between
        ("not one of the many great", 1.0),  # too far
        ("not now. great", 1.0),  # another sentence
        ("not never great", -1.0),  # denied once, however often it is said
        ("I can’t say good", -0.6),  # a typographic apostrophe
        ("great not", 1.0),  # it denies what follows
        ("greatest ungreat", 0.0),  # whole words only
        ("great-looking", 1.0),
        ("'great'", 1.0),
        ("SCHÖN", 0.8),
        ("scho\u0308n", 0.8),  # the same letters, composed otherwise
        ("🎉🎉 :-) ;)", 2.0),
        ("I GIVE UP", -0.9),
        ("see you at 10", 0.0),
        ("", None),
        (" \t\n ", None),
        (None, None),
    ],
)
def test_what_a_text_says(text: str | None, score: float | None) -> None:
    assert scores([text]) == [score]
    assert oracle(text, DECLARED) == score


def test_texts_do_not_touch_their_neighbours() -> None:
    """A negation at the end of one text says nothing of the next."""
    assert scores(["never", "great", None, "not", "good"]) == [0.0, 1.0, None, 0.0, 0.6]


@pytest.mark.parametrize("combine", ["sum", "mean", "clipped"])
def test_it_agrees_with_the_rule_written_down_again(combine: str) -> None:
    rng = random.Random(7)
    pieces = ["great", "Good", "bad", "not", "never", "can't", "terrible", "schön", "so", "über", "🎉", ":)", "give up", ".", "!",
              ",", "…", "\n", "'", "x1", "don’t", "naïve", "日本", "good,bad", "  "]  # fmt: skip
    texts = [" ".join(rng.choices(pieces, k=rng.randint(0, 12))) for _ in range(3_000)]
    declared = DECLARED | {"combine": combine}
    assert scores([*texts], combine=combine) == [oracle(text, declared) for text in texts]
    assert len(set(scores([*texts], combine=combine))) > 20


def test_what_says_nothing_may_be_missing() -> None:
    assert scores(["see you", "great bad", ""], neutral=None, combine="mean") == [None, 0.15, None]
    assert scores(["see you"], neutral=0.1) == [0.1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lexicon": {}, "patterns": {}}, "knows neither words"),
        ({"lexicon": {"well done": 1}}, "not one word"),
        ({"lexicon": {"Great": 1, "great": 0.5}}, "stands there twice"),
        ({"negations": ["not", "no way"]}, "not one word"),
        ({"patterns": {"(": 1}}, "not a regular expression"),
        ({"patterns": {"(?=a)b": 1}}, "not a regular expression"),  # RE2 has no look-ahead
        ({"patterns": {"a*": 1}}, "matches where nothing stands"),
        ({"patterns": {"a" * 201: 1}}, "at most 200"),
        ({"combine": "product"}, "mean"),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TextScore.model_validate(DECLARED | wrong)


def test_no_pattern_takes_longer_than_its_text_is_long() -> None:
    """Backtracking would take 2^40 steps here."""
    begun = time.perf_counter()
    assert scores(["a" * 50_000 + "!"], patterns={"(a+)+$": 1, "(a|aa)+b": 1}) == [0.0]
    assert time.perf_counter() - begun < 5


MESSAGES = {
    "key": "id",
    "known": "always",
    "columns": {"id": "text", "text": "text"},
    "score": {"TONE": DECLARED},
    "derive": {"LOUD": "length(text)", "GLAD": "TONE > 0"},
}
FILE = 'id,text\n1,great\n2,"not great, never"\n3,\n4,ok\n5,NA\n'


def test_a_table_has_the_score_as_a_column_that_expressions_may_read(place: Place) -> None:
    table = place.one(MESSAGES, FILE)
    assert column(table, "TONE") == [1.0, -1.0, None, 0.0, 0.0]
    assert column(table, "GLAD") == [True, False, None, False, False]
    assert table.columns["TONE"].type == "number"
    assert table.derived == {"TONE": ("text",), "GLAD": ("text",), "LOUD": ("text",)}
    assert table.sources({"GLAD"}) == {("clients", "text")}


def test_the_order_of_rows_stays_also_where_some_are_rejected(place: Place) -> None:
    texts = [f"{n:04d},{'great ' * (n % 4)}" for n in range(5_000)]
    spec = MESSAGES | {
        "columns": {"id": {"type": "text", "matches": "[0-9]+"}, "text": "text"},
        "on_bad_row": "drop",
    }
    table = place.one(spec, "\n".join(["id,text", *texts[:3_000], "bad,great", *texts[3_000:]]) + "\n")
    assert column(table, "id") == [f"{n:04d}" for n in range(5_000)]
    assert column(table, "TONE") == [float(n % 4) or None for n in range(5_000)]
    assert table.rows_rejected == 1


def test_another_weight_is_another_table_and_the_same_is_found_again(place: Place) -> None:
    place.one(MESSAGES, FILE)
    place.one(MESSAGES, FILE)
    assert len(place.cache.built) == 1
    other = MESSAGES | {"score": {"TONE": DECLARED | {"lexicon": {"great": 2}}}}
    assert column(place.one(other, FILE), "TONE")[0] == 2.0
    assert len(place.cache.built) == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"score": {"TONE": DECLARED | {"of": "txet"}}}, "did you mean `text`"),
        ({"columns": {"id": "text", "text": "integer"}}, "which is no text but integer"),
    ],
)
def test_it_is_of_a_column_of_texts(place: Place, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        place.one(MESSAGES | wrong, FILE)


def test_two_columns_cannot_have_one_name(place: Place) -> None:
    with pytest.raises(ConfigError, match="two columns are called `TEXT`"):
        place.one(MESSAGES | {"score": {"TEXT": DECLARED}, "derive": {}}, FILE)
