"""Entities: patterns find candidates in the words of pages, validators say which are entities, and all are accounted for.

Expected values are written by hand from the words beside them; check digits are those of published examples
(ISO/IEC 7812, ISO 13616).
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from conftest import SHOP, Work, shop_files
from pydantic import TypeAdapter, ValidationError

from toolkit.actions import entities as files
from toolkit.config.entities import EntityPatterns, Finder, Validator
from toolkit.config.paths import packaged
from toolkit.documents import entities, patterns
from toolkit.documents.entities import Entity, Found
from toolkit.documents.validators import RefusedError
from toolkit.errors import DataError

SHIPPED = yaml.safe_load((packaged("conf") / "entities" / "real_estate.yaml").read_text(encoding="utf-8"))
DAYS = {
    "kinds": {"days": {"patterns": {"numbers": r"\d{1,2}/\d{1,2}/\d{4}"}, "validators": [{"kind": "date"}]}}
}


def node(declared: dict[str, Any]) -> EntityPatterns:
    return EntityPatterns.model_validate({"kind": "patterns"} | declared)


def words(document: str, *pages: str, confidence: float = 0.9) -> list[dict[str, Any]]:
    """A table of words: each a tenth of the page wide, each line a tenth high; `@` is an empty cell of the line."""
    return [
        {"document": document, "page": page, "line": line, "word": word, "left": at / 10, "top": line / 10,
         "right": at / 10 + 0.09, "bottom": line / 10 + 0.05, "confidence": confidence}
        for page, text in enumerate(pages, 1)
        for line, written in enumerate(text.split("\n"))
        for at, word in enumerate(written.split())
        if word != "@"
    ]  # fmt: skip


def look(declared: dict[str, Any], *rows: list[dict[str, Any]]) -> Found:
    return entities.find([pa.Table.from_pylist([row for some in rows for row in some])], node(declared))


def kinds(found: Iterable[Entity], kind: str) -> list[str]:
    return [entity.value for entity in found if entity.kind == kind]


# --- validators -------------------------------------------------------------------------------------

GOOD = [
    ({"kind": "date"}, "March 3, 2024", "2024-03-03"),
    ({"kind": "date"}, "Sept. 3rd 2024", "2024-09-03"),
    ({"kind": "date"}, "3rd day of March, 2024", "2024-03-03"),
    ({"kind": "date"}, "03/04/2024", "2024-03-04"),
    ({"kind": "date", "order": "dmy"}, "03/04/2024", "2024-04-03"),
    ({"kind": "date", "order": "dmy"}, "2024-03-04", "2024-03-04"),
    ({"kind": "date"}, "2/29/2024", "2024-02-29"),
    ({"kind": "date"}, "3-4-24", "2024-03-04"),
    ({"kind": "date"}, "3-4-51", "1951-03-04"),
    ({"kind": "date"}, "Novernber 3, 2024", "2024-11-03"),
    ({"kind": "money"}, "$1,250,000.00", "1250000.00"),
    ({"kind": "money"}, "USD 99", "99.00"),
    ({"kind": "money", "group": ".", "decimal": ","}, "€ 1.250,50", "1250.50"),
    ({"kind": "digits", "least": 8, "most": 8}, "12-345-678", "12345678"),
    ({"kind": "luhn"}, "4111 1111 1111 1111", "4111111111111111"),
    ({"kind": "iban"}, "GB82 WEST 1234 5698 7654 32", "GB82WEST12345698765432"),
    ({"kind": "form", "forms": ["###-@#"]}, "123 -b4", "123-B4"),
    ({"kind": "us_address"}, "12 Maple Street Unit 4,\nFairview, CA 94541", "12 Maple Street Unit 4, Fairview, CA 94541"),
    ({"kind": "us_address"}, "P.O. Box 12, Salem, OR 97301-1234", "P.O. Box 12, Salem, OR 97301-1234"),
    ({"kind": "name"}, "Karen O'Neil,", "Karen O'Neil"),
    ({"kind": "name"}, "Łukasz de la Cruz", "Łukasz de la Cruz"),
    ({"kind": "name", "companies": ["LLC"]}, "7 Oaks LLC.", "7 Oaks LLC"),
]  # fmt: skip
BAD = [
    ({"kind": "date"}, "13/45/2024", "no such day"),
    ({"kind": "date"}, "2/29/2023", "no such day"),
    ({"kind": "date"}, "Block 12, 2024", "no month"),
    ({"kind": "date"}, "March 2024", "no day, or no year"),
    ({"kind": "date", "short_years_until": None}, "3-4-24", "a year of another number of digits"),
    ({"kind": "date", "earliest": "2000-01-01"}, "3/4/1999", "before 2000-01-01"),
    ({"kind": "date", "latest": "2000-01-01"}, "3/4/2001", "after 2000-01-01"),
    ({"kind": "money"}, "$12,50", "its digits are not grouped as those of an amount"),
    ({"kind": "money"}, "$1,2345.00", "its digits are not grouped as those of an amount"),
    ({"kind": "money", "sign_needed": True}, "450,000", "no currency"),
    ({"kind": "money", "most": 100}, "$100.01", "more than 100"),
    ({"kind": "money", "least": 1}, "$0.99", "less than 1"),
    ({"kind": "digits", "least": 8, "most": 8}, "1234567", "not 8 to 8 digits"),
    ({"kind": "digits"}, "000-000", "one digit, repeated"),
    ({"kind": "luhn"}, "4111 1111 1111 1112", "the check digit is wrong"),
    ({"kind": "iban"}, "GB82 WEST 1234 5698 7654 33", "the check digits are wrong"),
    ({"kind": "iban"}, "GB82", "not the form of an account number"),
    ({"kind": "form", "forms": ["###-@#"]}, "123-44", "none of the declared forms"),
    ({"kind": "us_address"}, "12 Maple Street, Fairview, XX 94541", "no such state"),
    ({"kind": "us_address"}, "Maple Street, Fairview", "not number, street, town, state and ZIP code"),
    ({"kind": "name"}, "Karen", "fewer than 2 words"),
    ({"kind": "name"}, "Karen shall pay", "a word in small letters"),
    ({"kind": "name"}, "Suite 12", "a digit in a person's name"),
    ({"kind": "name", "never": ["Buyer"]}, "Buyer Smith", "holds a word that no name holds"),
    ({"kind": "name", "companies": ["Inc.", "Insurance"]}, "Insurance Inc.", "a kind of company, and no name"),
]  # fmt: skip


def checked(declared: dict[str, Any], text: str) -> Any:
    validator: Any = TypeAdapter(Validator).validate_python(declared)
    return validator.check(text)


@pytest.mark.parametrize(("declared", "text", "value"), GOOD)
def test_a_validator_gives_a_value_in_one_form(declared: dict[str, Any], text: str, value: str) -> None:
    assert checked(declared, text).value == value


@pytest.mark.parametrize(("declared", "text", "reason"), BAD)
def test_a_validator_says_why_not_and_the_reason_holds_nothing_of_the_text(
    declared: dict[str, Any], text: str, reason: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        checked(declared, text)
    assert str(refused.value) == reason


def test_a_reading_that_needed_a_guess_is_believed_less() -> None:
    assert checked({"kind": "date"}, "3/4/2024").sure == 1
    assert checked({"kind": "date"}, "3/4/24").sure < 1
    assert checked({"kind": "date"}, "Novernber 3, 2024").sure < 1
    there, elsewhere = (
        checked({"kind": "us_address"}, f"1 Oak St, Bend, OR {zip}") for zip in ("97701", "10001")
    )
    assert there.sure == 1 > elsewhere.sure


# --- patterns ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pattern", "why"), [
    (r"(\w+)\1", "not a regular expression of RE2"),
    (r"(?<=\$)\d+", "not a regular expression of RE2"),
    (r"(a{1000}){1000}", "not a regular expression of RE2"),
    (r"\d*", "matches where nothing stands"),
])  # fmt: skip
def test_a_pattern_is_refused_that_could_run_away_or_finds_nothing_everywhere(pattern: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Finder(match=pattern)


def test_a_pattern_that_explodes_elsewhere_is_quick() -> None:
    import re

    bomb = r"(a+)+b"
    begun = time.perf_counter()
    assert re.search(bomb, "a" * 20) is None  # control: here each letter more doubles the time
    slow = time.perf_counter() - begun
    begun = time.perf_counter()
    found = patterns.find(pa.array(["a" * 90_000]), patterns.expression(bomb))
    assert len(found.row) == 0
    assert time.perf_counter() - begun < max(50 * slow, 1)


def test_places_are_exact_in_any_script_and_with_cues() -> None:
    texts = ["é🏠 No. 12 and NO 345", "nothing", "Know 7, No: (8)"]
    found = patterns.find(pa.array(texts), patterns.expression(r"\d+", after=["no"]))
    cut = [texts[r][s:e] for r, s, e in zip(found.row, found.start, found.end, strict=True)]
    assert cut == ["12", "345", "8"]  # `Know` holds no cue


def test_a_cue_may_skip_some_words_and_stand_behind() -> None:
    text = pa.array(['between Ann Lee and Bo Li; Cy Dee ("Seller")'])
    name = r"[A-Z]\w+ [A-Z]\w+"
    for cues, start in (({"after": ["between … and"]}, 20), ({"before": ['("Seller")']}, 27)):
        found = patterns.find(text, patterns.expression(name, **cues))
        assert found.start.tolist() == [start]


# --- words to entities ------------------------------------------------------------------------------


def test_an_entity_is_found_across_a_line_break_with_the_box_of_all_its_words() -> None:
    declared = {
        "kinds": {
            "days": {"patterns": {"named": r"[A-Z][a-z]+ \d+, \d{4}"}, "validators": [{"kind": "date"}]}
        }
    }
    [day] = look(declared, words("a", "signed on March\n3, 2024")).entities
    assert (day.text, day.value, day.line, day.page) == ("March 3, 2024", "2024-03-03", 0, 1)
    assert (day.left, day.top, day.right, day.bottom) == (0.0, 0.0, 0.29, 0.15)
    assert day.confidence == 0.9


def test_a_page_ends_what_is_looked_for_and_a_gap_between_cells_ends_what_brackets_ask_for() -> None:
    name = {"kinds": {"names": {"patterns": {"two": r"[A-Z]\w+[ ][A-Z]\w+"}}}}
    assert kinds(look(name, words("a", "Ann Lee")).entities, "names") == ["Ann Lee"]
    assert not look(name, words("a", "Ann @ @ Lee")).entities
    assert not look(name, words("a", "Ann", "Lee")).entities
    over = {"kinds": {"names": {"patterns": {"two": r"[A-Z]\w+ [A-Z]\w+"}}}}
    assert kinds(look(over, words("a", "Ann @ @ Lee")).entities, "names") == ["Ann Lee"]


def test_letters_misread_for_digits_pass_where_that_is_declared_and_are_believed_less() -> None:
    rows = words("a", "O3/04/2O24 SOLD l2/3l/2024")
    assert not look(DAYS, rows).entities
    tolerant = {"kinds": {"days": DAYS["kinds"]["days"] | {"confusable": True}}}
    first, second = look(tolerant, rows).entities
    assert (first.text, first.value) == ("O3/04/2O24", "2024-03-04")
    assert second.value == "2024-12-31"
    assert first.confidence == second.confidence == pytest.approx(0.9 * 0.9**2, abs=1e-4)


def test_of_a_value_that_is_repeated_the_surest_reading_is_listed_and_the_others_are_counted() -> None:
    rows = words("a", "3/4/2024", confidence=0.5) + words("a", "@", "x 03/04/2024")
    found = look(DAYS, rows)
    [day] = found.entities
    assert (day.page, day.times, day.confidence) == (2, 2, 0.9)
    assert found.rejected == {("days", "numbers", entities.SAME): 1}
    each = {"kinds": {"days": DAYS["kinds"]["days"] | {"unique": False, "most": 1}}}
    assert look(each, rows).rejected == {("days", "numbers", entities.OVER): 1}


def test_every_candidate_is_listed_or_counted_with_a_reason() -> None:
    text = "1/2/2024 13/13/2024 1/2/2024 2/30/2023 5/6/2020"
    found = look(DAYS, words("a", text), words("b", "none"), words("c", text))
    assert found.candidates == 10 == len(found.entities) + sum(found.rejected.values())
    assert found.rejected["days", "numbers", "no such day"] == 4
    assert (found.documents, found.pages, found.having["days"]) == (3, 3, 2)


def test_documents_are_whole_however_the_table_is_cut_and_must_stand_together() -> None:
    table = pa.Table.from_pylist([*words("a", "x 1/2/2024", "1/3/2024"), *words("b", "1/2/2024")])
    whole = entities.find([table], node(DAYS)).entities
    assert len(whole) == 3
    assert entities.find(table.to_batches(max_chunksize=1), node(DAYS)).entities == whole
    with pytest.raises(DataError, match="do not stand together"):
        entities.find([table.take([0, 3, 1])], node(DAYS))


def test_words_without_places_or_confidence_are_words() -> None:
    rows = [
        row | dict.fromkeys(("left", "top", "right", "bottom", "confidence"))
        for row in words("a", "1/2/2024")
    ]
    table = pa.Table.from_pylist([*rows, *words("b", "\x01\x02 1/2/2024")])
    first, second = entities.find([table], node(DAYS)).entities
    assert (first.left, first.confidence) == (None, 1.0)
    assert second.value == "2024-01-02"


PAPER = """\
RESIDENTIAL PURCHASE AGREEMENT
made on the 3rd day of March, 2024 by and between John A. Smith and
Mary Jones ("Seller") and Delta Homes LLC.
The property at 12 Maple Street Unit 4,
Fairview, CA 94541 (APN 123-456-78) is sold for $450,000.00 with a
deposit of 4,500. Loan Number: 45-1234567 dated 03/04/2O24
Buyer shall pay on closing. Call (555) 555-0199. Seller and Buyer agree."""


def test_the_shipped_declaration_reads_a_paper() -> None:
    found = look(SHIPPED, words("a", PAPER)).entities
    assert kinds(found, "parties") == ["John A. Smith", "Mary Jones", "Delta Homes LLC"]
    assert kinds(found, "addresses") == ["12 Maple Street Unit 4, Fairview, CA 94541"]
    assert kinds(found, "dates") == ["2024-03-03", "2024-03-04"]
    assert kinds(found, "money") == ["450000.00"]
    assert kinds(found, "parcel_numbers") == ["123-456-78"]
    assert kinds(found, "loan_numbers") == ["45-1234567"]


# --- files, report, scoring -------------------------------------------------------------------------


def test_cells_that_begin_like_formulas_are_defused(tmp_path: Path) -> None:
    declared = {"kinds": {"odd": {"patterns": {"=p": r"=\S+|-\d+"}}}}
    files.write(look(declared, words("=a", '=HYPERLINK("x") -12')), tmp_path)
    rows = list(csv.DictReader((tmp_path / files.FILE).open(encoding="utf-8")))
    assert [(row["document"], row["text"], row["pattern"]) for row in rows] == [
        ("'=a", "'=HYPERLINK(\"x\")", "'=p"), ("'=a", "-12", "'=p"),
    ]  # fmt: skip


WORDS = ["recipe=shop", "entities=days", "engine.threads=1", "report.explain=false"]


@pytest.fixture
def paper(work: Work) -> Work:
    """The shop with papers of its clients, as a table of words."""
    table = """\
  words:
    known: always
    columns: {document: text, page: integer, line: integer, word: text, left: number, top: number, right: number,
              bottom: number, confidence: number}
"""
    header = "document,page,line,word,left,top,right,bottom,confidence"
    lines = [
        ",".join(map(str, row.values()))
        for row in words("0001", "paid 3/4/2024 and 13/13/2024") + words("0002", "=1+1")
    ]
    work.write({
        "conf/dataset/shop.yaml": str(SHOP["conf/dataset/shop.yaml"]) + table,
        "conf/entities/days.yaml": yaml.safe_dump({"kind": "patterns"} | DAYS), "data/words.csv": "\n".join([header, *lines]) + "\n",
        **{f"data/{name}": content for name, content in shop_files(120).items()},
    })  # fmt: skip
    return work


def test_a_run_and_its_bundle_write_entities_and_the_report_masks_them(paper: Work) -> None:
    said = paper.run(*WORDS)
    assert said.code == 0, said
    [run] = paper.runs()
    rows = list(csv.DictReader((run / files.FILE).open(encoding="utf-8")))
    assert [(row["document"], row["value"], row["times"]) for row in rows] == [("0001", "2024-03-04", "1")]
    refused = (run / files.REJECTED).read_text(encoding="utf-8").splitlines()
    assert refused == ["kind,pattern,reason,candidates", "days,numbers,no such day,1"]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "3•••••" in page
    assert "3/4/2024" not in page
    assert "1 entity in 2 documents" in said.out
    scored = paper.run("score", f"run={run}", "output=scored", "cutoff=2022-01-01")
    assert scored.code == 0, scored
    assert (paper.folder / "scored" / files.FILE).read_bytes() == (run / files.FILE).read_bytes()
    assert (
        json.loads((run / "bundle" / "recipe.json").read_text(encoding="utf-8"))["entities"]["table"]
        == "words"
    )


def test_mistakes_are_told_with_file_and_line(paper: Work) -> None:
    typo = "kind: patterns\nkinds:\n  days:\n    patterns: {numbers: '\\d+'}\n    validators:\n      - kind: dat\n"
    paper.write({"conf/entities/days.yaml": typo})
    message = paper.refused(*WORDS)
    assert "conf/entities/days.yaml:6" in message
    assert "did you mean `date`?" in message
    paper.write({"conf/entities/days.yaml": typo.replace("kind: dat", "kind: date") + "table: word\n"})
    message = paper.refused(*WORDS)
    assert "did you mean `words`?" in message
    assert "conf/entities/days.yaml:7" in message
    paper.write({"conf/entities/days.yaml": typo.replace("kind: dat", "kind: date") + "table: clients\n"})
    message = paper.refused(*WORDS)
    assert "table `clients` has no column `document`" in message
