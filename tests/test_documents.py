"""Files become documents, pages and words: what they hold is read once in its life, and near duplicates are found."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Place, Work, rejected, rows
from papers import HELVETICA, VOCABULARY, by_hand, dataset, load, pdf, prose, saved, scan, stream
from PIL import Image

import toolkit
from toolkit.config.reading import Limits, Reading
from toolkit.config.schema import GroupedSplit, RandomSplit
from toolkit.documents import duplicates, store
from toolkit.documents.opening import opened
from toolkit.documents.page import PageRead, Words
from toolkit.documents.pictures import grey
from toolkit.documents.plain import decoded
from toolkit.errors import DataError
from toolkit.training.split import TEST, TRAIN, VALIDATION, assign

NONE = Reading.model_validate({"ocr": {"engine": "none"}})
BOTH = ("documents", "pages")


def held(tmp_path: Path, content: bytes, page: int = 0, reading: Reading = NONE) -> Any:
    path = tmp_path / "a file"
    path.write_bytes(content)
    with opened(path, Limits()) as document:
        return document.page(page, reading)


# --- what a file holds -------------------------------------------------------------------------------


def test_a_pdf_gives_the_words_that_it_holds_and_where_they_stand(tmp_path: Path) -> None:
    words = held(tmp_path, by_hand(b"BT /F1 20 Tf 72 720 Td (Twenty big) Tj 0 -360 Td (words) Tj ET")).words
    assert words.text == ("Twenty", "big", "words")
    assert words.line.tolist() == [0, 0, 1]
    assert words.plain() == "Twenty big\nwords"
    assert (words.confidence == 1).all()
    left, top, right, bottom = words.boxes.T
    assert left[[0, 2]] == pytest.approx(
        [72 / 612] * 2, abs=0.01
    )  # in points from below, in shares from above
    assert bottom[[0, 2]] == pytest.approx([72 / 792, 432 / 792], abs=0.01)
    assert (right > left).all()
    assert (bottom > top).all()


@pytest.mark.parametrize(
    ("turned", "where"), [(0, (0.12, 0.09)), (90, (0.91, 0.12)), (180, (0.88, 0.91)), (270, (0.09, 0.88))]
)
def test_boxes_are_those_of_the_page_as_it_is_shown(
    tmp_path: Path, turned: int, where: tuple[float, float]
) -> None:
    page = b"/MediaBox[0 0 612 792]/Rotate %d" % turned
    found = held(tmp_path, by_hand(b"BT /F1 12 Tf 72 720 Td (I) Tj ET", page=page))
    assert found.words.boxes[0, :2] == pytest.approx(where, abs=0.02)
    drawn = found.picture[::-1].T if turned in (90, 270) else found.picture  # the ink is where the box is
    height, width = found.picture.shape
    at = np.argwhere(found.picture < 128).mean(axis=0) / (height, width)
    assert at[::-1] == pytest.approx(found.words.boxes[0].reshape(2, 2).mean(axis=0), abs=0.01), drawn.shape


def hebrew(visual: str) -> bytes:
    """A PDF that draws letters from left to right, and says which they are."""
    letters = sorted(set(visual))
    codes = {letter: 33 + at for at, letter in enumerate(letters)}
    table = "".join(f"<{code:02x}> <{ord(letter):04x}>\n" for letter, code in codes.items())
    cmap = f"begincmap 1 begincodespacerange <00> <ff> endcodespacerange {len(codes)} beginbfchar\n{table}endbfchar endcmap"
    font = (
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode 6 0 R/FirstChar 32/LastChar 60/Widths["
        + b"500 " * 29
        + b"]>>"
    )
    drawn = "".join(f"{codes[letter]:02x}" for letter in visual).encode()
    content = b"BT /F1 20 Tf 72 700 Td <" + drawn + b"> Tj ET"
    return by_hand(content, b"/Font<</F1 5 0 R>>", objects=[font, stream(cmap.encode())])


def test_text_from_right_to_left_comes_in_the_order_in_which_it_is_read(tmp_path: Path) -> None:
    text = "שלום עולם"  # hello world
    words = held(tmp_path, hebrew(text[::-1])).words  # as it is drawn
    assert words.text == tuple(text.split())
    assert words.boxes[0, 0] > words.boxes[1, 0]  # the first word stands to the right
    arabic = "مرحبا بالعالم"
    for encoding in ("utf-8", "utf-16"):
        assert held(tmp_path, arabic.encode(encoding)).words.text == tuple(arabic.split())


def test_what_is_filled_into_a_form_is_read(tmp_path: Path) -> None:
    import io

    from reportlab.pdfgen.canvas import Canvas

    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    canvas.drawString(72, 700, "Name:")
    canvas.acroForm.textfield(name="name", value="Ada Lovelace", x=200, y=690, width=200, height=24)
    canvas.save()
    assert held(tmp_path, buffer.getvalue()).words.text == ("Name:", "Ada", "Lovelace")


def test_a_scan_with_a_stamp_is_a_picture_and_a_scan_with_its_text_is_not(tmp_path: Path) -> None:
    facts = b"/Type/XObject/Subtype/Image/ColorSpace/DeviceGray/BitsPerComponent 8/Width 2/Height 2"
    resources = HELVETICA + b"/XObject<</I 5 0 R>>"

    def page(text: str) -> bytes:
        content = b"q 612 0 0 792 0 0 cm /I Do Q BT /F1 9 Tf 40 40 Td (" + text.encode() + b") Tj ET"
        return by_hand(content, resources, objects=[stream(b"\xff\xf0\xff\xf0", facts)])

    stamped = held(tmp_path, page("Page 1 of 2"))
    assert stamped.words is None
    assert stamped.picture.shape == (2200, 1700)
    assert len(held(tmp_path, page(prose(1, 40))).words) == 40
    broken = by_hand(b"BT /F1 20 Tf 72 720 Td (\\001\\002\\003\\004\\005) Tj ET")  # letters of no meaning
    assert held(tmp_path, broken).words is None


def test_pictures_are_grey_on_white_upright_and_square() -> None:
    ink = Image.new("L", (40, 60), 255)
    ink.paste(0, (0, 0, 20, 10))  # a black corner, left above
    wanted = np.array(ink)

    clear = Image.new("RGBA", ink.size, (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (0, 0, 20, 10))
    see_through = Image.new("P", ink.size, 0)
    see_through.putpalette([0, 0, 0, 0, 0, 0])
    see_through.paste(1, (0, 0, 20, 10))
    see_through.info["transparency"] = 0
    deep = Image.fromarray(np.asarray(ink, np.uint16) * 257)
    twelve = Image.fromarray((np.asarray(ink, np.uint16) * 16).clip(0, 4095))
    real = Image.fromarray(np.asarray(ink, np.float32) / 255)
    for image in (
        ink,
        clear,
        clear.convert("LA"),
        see_through,
        deep,
        twelve,
        real,
        ink.convert("CMYK"),
        ink.convert("1"),
    ):
        assert np.abs(grey(image).astype(int) - wanted).max() <= 1, image.mode

    side = ink.rotate(90, expand=True)
    side.getexif()[0x0112] = 6  # a camera held on its side: to be turned by 90 degrees clockwise
    assert (grey(side) == wanted).all()
    fax = ink.resize((40, 30), Image.Resampling.BOX)
    fax.info["dpi"] = (204, 98)
    assert grey(fax).shape == (62, 40)


def test_a_tiff_has_pages(tmp_path: Path) -> None:
    pages = [scan(prose(number)) for number in range(3)]
    content = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    assert (held(tmp_path, content, 2).picture == np.array(pages[2])).all()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_texts_are_read_in_the_encoding_that_they_are_in(encoding: str) -> None:
    text = "Straße – 5 €\n“naïve”"
    assert decoded(text.encode(encoding)) == text


# --- a page is read once in its life -----------------------------------------------------------------


def test_a_page_is_kept_as_it_was_read(tmp_path: Path) -> None:
    words = Words(
        ("a", "שלום"),
        np.array([[0, 0, 0.5, 1]] * 2, np.float32),
        np.array([1, 0.5], np.float32),
        np.zeros(2, np.int32),
    )
    kept = store.Kept(
        PageRead(words, "tesseract", 0.5, 180, -1.5, True, {"lines": 2.0}, seconds=0.25), "a  שלום\n", b"png"
    )
    store.put(tmp_path, "ab" * 32, 3, kept)
    found = store.get(tmp_path, "ab" * 32, 3)
    assert found
    assert (found.text, found.picture, found.read.words.text) == (
        kept.text,
        kept.picture,
        words.text,
    )
    assert (found.read.words.boxes == words.boxes).all()
    assert found.read.layout == {"lines": 2.0}
    assert (found.read.turned, found.read.skew, found.read.cleaned, found.read.engine) == (
        180,
        -1.5,
        True,
        "tesseract",
    )
    assert store.get(tmp_path, "ab" * 32, 4) is None
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:100])  # the machine has lost its power
    assert store.get(tmp_path, "ab" * 32, 3) is None
    assert not store.there(tmp_path, "ab" * 32, 3)


RUN = """
import sys, json
from pathlib import Path
from papers import dataset, load
if __name__ == "__main__":
    load(dataset(), Path(sys.argv[1]), Path(sys.argv[2]), ("documents", "pages"), 2,
         optional={"documents": {"label"}}, progress=lambda what, share: print(what, flush=True))
"""


def kept_pages(cache: Path) -> dict[str, tuple[int, int]]:
    """Page → the very file that keeps it, and when it was written."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in cache.glob("pages/*/*/*.safetensors")
    }


def test_a_run_that_is_killed_reads_no_page_twice(tmp_path: Path) -> None:
    papers, cache, script = tmp_path / "papers", tmp_path / "cache", tmp_path / "run.py"
    papers.mkdir()
    for number in range(8):
        (papers / f"{number}.pdf").write_bytes(pdf([prose(10 * number + page) for page in range(5)]))
    script.write_text(RUN)
    paths = os.pathsep.join([str(Path(toolkit.__file__).parents[1]), str(Path(__file__).parent)])
    process = subprocess.Popen(
        [sys.executable, str(script), str(papers), str(cache)], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert process.stdout
    for line in process.stdout:
        if line.startswith("reading pages 15/40"):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    before = kept_pages(cache)
    assert 15 <= len(before) < 40
    said: list[str] = []
    found = load(
        dataset(),
        papers,
        cache,
        BOTH,
        optional={"documents": {"label"}},
        progress=lambda what, share: said.append(what),
    )
    after = kept_pages(cache)
    assert len(after) == 40
    assert {name: after[name] for name in before} == before
    read = (
        int(said[-1].split("/")[-1])
        if (said := [one for one in said if one.startswith("reading pages ")])
        else 0
    )
    assert 0 <= 40 - len(before) - read <= 2  # its two readers may have finished the pages that they were at
    assert len(rows(found["pages"])) == 40
    assert found["documents"].rows_kept == 8

    name = next(iter(after))  # a control: a page that is not there any more is read, and that can be seen
    Path(name).unlink()
    load(dataset(), papers, cache, ("documents", "pages", "words"), optional={"documents": {"label"}})
    again = kept_pages(cache)
    assert [other for other in again if again[other] != after[other]] == [name]


def test_another_table_of_the_same_documents_reads_nothing_again(tmp_path: Path) -> None:
    papers = tmp_path / "papers"
    (papers / "x").mkdir(parents=True)
    (papers / "x" / "a.pdf").write_bytes(pdf([prose(1), prose(2)]))
    (papers / "x" / "the same.pdf").write_bytes(pdf([prose(1), prose(2)]))
    first = load(dataset(), papers, tmp_path / "cache")
    before = kept_pages(tmp_path / "cache")
    assert len(before) == 2  # the same content under two names
    tables = load(dataset(), papers, tmp_path / "cache", ("documents", "pages", "words"))
    assert kept_pages(tmp_path / "cache") == before
    assert rows(first["documents"]) == rows(tables["documents"])
    words = pd.DataFrame(rows(tables["words"]))
    assert (words.groupby(["document", "page"])["position"].max() == 120).all()
    pages = rows(tables["pages"])
    assert [(row["document"], row["page"], row["words"]) for row in pages] == [
        (name, page, 120) for name in ("x/a.pdf", "x/the same.pdf") for page in (1, 2)
    ]
    assert pages[0]["text"].split() == prose(1).split()
    assert pages[0]["image"].startswith(b"\x89PNG")
    assert [row["twin"] for row in rows(tables["documents"])] == ["x/a.pdf", "x/a.pdf"]
    wider = dataset(image={"height": 64, "width": 64})  # other settings are another reading
    load(wider, papers, tmp_path / "cache")
    assert len(kept_pages(tmp_path / "cache")) == 4


# --- near duplicates ---------------------------------------------------------------------------------


def of_text(text: str) -> duplicates.Print:
    return duplicates.fingerprint(text, text, [])


def test_texts_with_a_few_other_words_are_twins_and_those_of_one_template_are_not() -> None:
    text = prose(1, 300)
    few, many = text.split(), text.split()
    for at in range(0, 300, 60):
        few[at] = "other"
    for at in range(0, 300, 12):
        many[at] = f"name{at}"
    texts = [
        text,
        " ".join(few),
        text.upper().replace(" ", "\n"),
        " ".join(many),
        prose(2, 300),
        "",
        "",
        "yes",
        "yes",
        "no",
    ]
    assert duplicates.groups([of_text(one) for one in texts]).tolist() == [0, 0, 0, 3, 4, 5, 5, 7, 7, 9]


def test_the_share_of_equal_hashes_is_the_share_of_runs_in_common() -> None:
    """Broder (1997): the resemblance of two sets is the chance that their least hashes are equal."""
    draw = np.random.default_rng(0)
    words = draw.integers(0, 2**63, 3_000).astype(np.uint64)
    for shared in (0.2, 0.5, 0.9):
        other = np.concatenate(
            [
                words[: int(3_000 * shared)],
                draw.integers(0, 2**63, 3_000 - int(3_000 * shared)).astype(np.uint64),
            ]
        )
        resemblance = shared / (2 - shared)
        found = (duplicates.min_hash(words) == duplicates.min_hash(other)).mean()
        assert found == pytest.approx(
            resemblance, abs=3 * np.sqrt(resemblance * (1 - resemblance) / duplicates.HASHES) + 0.01
        )


def test_pictures_of_one_page_are_twins_however_they_were_saved() -> None:
    first, second = scan(prose(1)), scan(prose(2))
    draw = np.random.default_rng(0)
    noisy = Image.fromarray(
        (np.asarray(first) + draw.normal(0, 8, first.size[::-1])).clip(0, 255).astype(np.uint8)
    )
    dark = Image.eval(first, lambda value: int(value * 0.85))
    blank = Image.new("L", first.size, 255)
    pictures = [first, second, noisy, first.resize((425, 550)), dark, blank, blank]
    prints = [duplicates.fingerprint(str(at), "", [np.asarray(one)]) for at, one in enumerate(pictures)]
    assert duplicates.groups(prints).tolist() == [0, 1, 0, 0, 0, 5, 6]


# --- splits that keep twins together -----------------------------------------------------------------


def test_what_is_together_is_on_one_side_and_classes_keep_their_share() -> None:
    draw = np.random.default_rng(1)
    entity = np.array([f"d{number}" for number in range(2_000)], object)
    group = np.array([f"g{number}" for number in draw.integers(0, 700, 2_000)], object)
    group[:300] = None  # no group: each on its own
    label = np.where(draw.random(2_000) < 0.1, "rare", "common")
    label[group == "g7"] = "rare"
    for split in (
        RandomSplit(kind="random", stratify="label", together="twin"),
        GroupedSplit(kind="grouped", together="twin"),
    ):
        (found,) = assign(split, entity, np.full(2_000, np.datetime64("NaT")), [], 0, label, said=group)
        sides = pd.Series(found.part[300:]).groupby(group[300:]).nunique()
        assert sides.max() == 1
        shares = [(found.part == part).mean() for part in (TRAIN, VALIDATION, TEST)]
        assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.01 if isinstance(split, RandomSplit) else 0.04)
    (free,) = assign(RandomSplit(kind="random"), entity, np.full(2_000, np.datetime64("NaT")), [], 0)
    assert pd.Series(free.part[300:]).groupby(group[300:]).nunique().max() > 1  # a control


# --- a recipe over documents -------------------------------------------------------------------------

KINDS = {"letter": VOCABULARY[:14], "list": VOCABULARY[10:24], "plan": VOCABULARY[20:34]}
FILES = {
    "conf/features/of_pages.yaml": "kind: windows\ntable: pages\nwindows: [all]\nfeatures:\n  - {agg: mean, column: words}\n"
    "  - {agg: max, column: ink_1_1}\n",
    "conf/features/of_words.yaml": "kind: windows\ntable: words\nwindows: [all]\nfeatures:\n"
    + "".join(
        f"  - {{agg: count, where: \"word = '{word}'\", name: {word}}}\n" for word in VOCABULARY[:34:3]
    ),
    "conf/target/label.yaml": "kind: column\ncolumn: label\ntype: multiclass\n",
    "conf/split/by_twin.yaml": "kind: random\ntest: 0.2\nvalidation: 0.2\nstratify: label\ntogether: twin\n",
    "recipes/papers.yaml": """\
defaults:
  - override /dataset: documents
  - override /source: folder
  - override /cohort: once
  - override /target: [label]
  - override /features: [of_pages, of_words]
  - override /split: by_twin
  - override /model: [logistic]
  - override /ocr: none
name: papers
evaluation: {bootstrap: 0}
engine: {threads: 1}
report: {html: false, explain: false}
""",
}


def labelled(folder: Path, each: int) -> None:
    """Documents in a folder for each kind; every fifth stands there twice, the second time with another word."""
    for at, (kind, words) in enumerate(KINDS.items()):
        (folder / kind).mkdir(parents=True)
        for number in range(each):
            text = " ".join(np.random.default_rng(100 * at + number).choice(words, 80))
            (folder / kind / f"{number}.txt").write_text(text)
            if number % 5 == 0:
                (folder / kind / f"{number} again.txt").write_text(f"{text} indeed")


def test_a_folder_of_labelled_documents_is_a_recipe_and_scores_new_ones(work: Work) -> None:
    work.write(dict(FILES))
    labelled(work.folder / "papers", 30)
    (work.folder / "papers/letter/locked.pdf").write_bytes(b"%PDF-1.4 nothing")
    (work.folder / "papers/lonely").mkdir()
    (work.folder / "papers/lonely/x.txt").write_text("nobody is like me " * 9)
    (work.folder / "papers/plan/first.pdf").write_bytes(pdf([" ".join(KINDS["plan"] * 3)] * 2))
    plan = work.run("plan", "recipe=papers", "source.path=papers")
    assert plan.code == 0, plan.err
    assert "documents: 110 rows from papers, no clock" in plan.out
    assert "rejected 1 of 111: is cut off or damaged: 1" in plan.out
    assert "found: documents: near duplicates (`twin`): 36 documents in 18 groups" in plan.out
    assert (
        "found: label: classes of one row, which can be learnt or judged, not both: 1 (`lonely`)" in plan.out
    )
    said = work.run("recipe=papers", "source.path=papers")
    assert said.code == 0, said.err
    assert "rejected: documents: 1 rows (is cut off or damaged: 1)" in said.out
    (run,) = work.runs()
    with open(run / "rejected/documents.csv") as file:
        (row,) = csv.DictReader(file)
    assert (row["reason"], row["document"], row["label"]) == (
        "is cut off or damaged",
        "letter/locked.pdf",
        "letter",
    )
    (work.folder / "new").mkdir()
    for name, kind in (("a.txt", "plan"), ("b.txt", "list"), ("sub/c.txt", "letter")):
        (work.folder / "new" / name).parent.mkdir(exist_ok=True)
        (work.folder / "new" / name).write_text(" ".join(KINDS[kind] * 6))
    (work.folder / "new" / "d.pdf").touch()
    said = work.run("score", f"run={run}", "input=new", "output=scored")
    assert said.code == 0, said.err
    assert "4 rows of documents: 3 scored, 0 not in the cohort, 1 rejected" in said.out
    scores = pd.read_parquet(work.folder / "scored/scores.parquet")
    assert dict(zip(scores["entity"], scores["label.decision"], strict=True)) == {
        "a.txt": "plan", "b.txt": "list", "sub/c.txt": "letter",
    }  # fmt: skip
    assert "is empty (0 bytes)" in (work.folder / "scored/rejected/documents.csv").read_text()
    assert "not used" not in said.out  # nothing in those files is a column
    one = work.run("score", f"run={run}", "input=new/b.txt", "output=scored one")  # a file is a folder of one
    assert "1 rows of documents: 1 scored" in one.out, one.err


def test_twins_stay_together_or_are_named(work: Work) -> None:
    work.write(dict(FILES))
    labelled(work.folder / "papers", 20)
    lines = ["file,label,part"]
    for kind in KINDS:
        for number in range(20):
            part = ("train", "validation", "test")[number % 3]
            lines.append(f"{kind}/{number}.txt,{kind},{part}")
            if number % 5 == 0:
                lines.append(f"{kind}/{number} again.txt,{kind},{'train' if number else part}")
    (work.folder / "papers/index.csv").write_text("\n".join(lines) + "\n")
    said = work.run("plan", "recipe=papers", "source.path=papers")
    assert "are near duplicates of rows in" not in said.out
    assert "of different labels" not in said.out
    (work.folder / "papers/index.csv").write_text(
        "\n".join(lines).replace("0 again.txt,plan", "0 again.txt,letter")
    )
    odd = work.run("plan", "recipe=papers", "source.path=papers")
    assert (
        "found: documents: near duplicates of different labels, of which one is wrong: 2 "
        "(`plan/0.txt` and `plan/0 again.txt`; `plan/10.txt` and `plan/10 again.txt`)"
    ) in odd.out
    (work.folder / "papers/index.csv").write_text("\n".join(lines) + "\n")
    column = ("split=column", "split.column=part", "+dataset.tables.documents.columns.part=text")
    said = work.run("plan", "recipe=papers", "source.path=papers", *column)
    assert said.code == 0, said.err
    assert (
        "found: validation: 3 of 21 rows are near duplicates of rows in train: `letter/10.txt` and `letter/10 again.txt`"
        in said.out
    )
    assert "found: test: 3 of 18 rows are near duplicates of rows in train or validation" in said.out

    work.write(
        {"conf/features/of_pages.yaml": "kind: attributes\ntable: documents\ncolumns: [words, twin]\n"}
    )
    message = work.refused("recipe=papers", "source.path=papers")
    assert "`of_pages.twin` is made of `documents.twin`, which decides the split" in message
    message = work.refused("recipe=papers", "source.path=papers", "split.together=twim")
    assert "table `documents` has no column `twim`" in message
    assert "split.together" in message


def test_a_csv_may_carry_the_texts_itself(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", "text"])
        writer.writerows(
            [
                ["007", "a", "one, two\nthree"],
                ["8", "b", ""],
                ["9", "a", "שלום\fעולם"],
                ["9", "b", "again"],
                ["", "b", "lost"],
            ]
        )
    declared = dataset(text="text", file="id")
    tables = load(declared, path, tmp_path / "cache", BOTH)
    found = {row["document"]: row for row in rows(tables["documents"])}
    assert list(found) == ["007", "8", "9"]
    assert found["007"]["text"] == "one, two\nthree"
    assert [found[key]["words"] for key in found] == [3, 0, 2]
    assert found["9"]["pages"] == 2
    assert [row["text"] for row in rows(tables["pages"])] == ["one, two\nthree", None, "שלום", "עולם"]
    assert [row["@reason"] for row in rejected(tables["documents"])] == [
        "stands in an earlier row of the index already",
        "its row has no `id`",
    ]
    assert not (tmp_path / "cache/pages").exists() or not kept_pages(tmp_path / "cache")
    with pytest.raises(DataError, match=r"`texts.csv` has no column `body`, which holds the texts"):
        load(dataset(text="body"), path, tmp_path / "cache")


def test_pages_are_read_by_the_engine_that_is_chosen(tmp_path: Path) -> None:
    """A page that stands on its head, in a file, read by Tesseract."""
    import shutil

    if not shutil.which("tesseract"):
        assert not os.environ.get("CI_TESSERACT"), "CI must have tesseract"
        pytest.skip("tesseract is not installed")
    papers = tmp_path / "papers"
    papers.mkdir()
    text = prose(1, 60)
    (papers / "on its head.png").write_bytes(saved(scan(text, (700, 560)).rotate(180), "PNG"))
    tables = load(
        dataset(ocr={"engine": "tesseract"}),
        papers,
        tmp_path / "cache",
        BOTH,
        optional={"documents": {"label"}},
    )
    (page,) = rows(tables["pages"])
    assert (page["turned"], page["engine"]) == (180, "tesseract")
    assert len(set(page["text"].split()) & set(text.split())) >= 0.9 * len(set(text.split()))
    assert "pages that were turned to stand upright: 1" in tables["documents"].remarks


# --- pictures in tables ------------------------------------------------------------------------------


def test_a_column_of_pictures_passes_through(place: Place) -> None:
    png = saved(Image.new("L", (2, 2)), "PNG")
    held = pa.table({"id": ["1", "2", "3"], "picture": [png, b"", png], "age": [1, 2, -3]})
    pq.write_table(held, place.folder / "clients.parquet")
    spec = {
        "key": "id",
        "known": "always",
        "on_bad_row": "drop",
        "columns": {"id": "text", "picture": "image", "age": {"type": "integer", "ge": 0}},
    }
    found = place.load({"clients": spec})["clients"]
    assert [row["picture"] for row in rows(found)] == [png, None]
    assert rejected(found)[0]["picture"] is None  # nothing that a person could correct in a CSV
    with pytest.raises(
        DataError, match=r"`picture` of `clients.parquet` holds pictures, which is nothing to be inferred"
    ):
        place.load({"clients": {"key": "id", "known": "always", "infer": True}})
    (place.folder / "clients.parquet").unlink()
    with pytest.raises(DataError, match=r"`picture` of `clients.csv` holds no pictures"):
        place.load({"clients": spec}, {"clients.csv": "id,picture,age\n1,a,2\n"})


def test_a_column_of_pictures_is_no_feature(work: Work) -> None:
    png = saved(Image.new("L", (2, 2)), "PNG")
    pq.write_table(pa.table({"id": [f"{n}" for n in range(90)], "picture": [png] * 90, "age": range(90), "label": ["yes", "no", "no"] * 30}),
                   work.folder / "data/rows.parquet")  # fmt: skip
    work.write({"conf/dataset/flat.yaml": "entity: rows\ntables:\n  rows:\n    key: id\n    known: always\n"
                "    columns: {id: text, picture: image, age: number, label: text}\n"})  # fmt: skip
    said = work.run("plan", "recipe=flat")
    assert said.code == 0, said.err
    assert ("columns.age" in said.out, "columns.picture" in said.out) == (True, False)
    work.write({"conf/features/columns.yaml": "kind: attributes\ntable: rows\ncolumns: [picture]\n"})
    assert "`picture` of table `rows` holds pictures, not values" in work.refused("recipe=flat")


def test_what_the_shipped_dataset_declares_is_what_reading_gives() -> None:
    import yaml

    from toolkit.documents import tables

    folder = Path(toolkit.__file__).parents[1] / "conf" / "dataset"
    declared = yaml.safe_load((folder / "documents.yaml").read_text())["tables"]
    made = {
        "documents": tables.documents_schema(["label"]).names,
        "pages": list(tables.PAGES),
        "words": list(tables.WORDS),
    }
    ours = {"documents": {tables.REJECTED}, "pages": {"seconds"}, "words": set()}
    for name, columns in made.items():
        extra = {tables.TWIN} if name == "documents" else set()
        assert set(declared[name]["columns"]) == set(columns) - ours[name] | extra, name
    assert json.dumps(declared)


def test_texts_of_a_csv_are_the_shipped_recipe_document_texts(work: Work) -> None:
    """Texts and nothing else: no number stands beside them, and the whole way works."""
    rows = ["id,label,text"]
    for at, (kind, words) in enumerate(KINDS.items()):
        for number in range(30):
            text = " ".join(np.random.default_rng(100 * at + number).choice(words, 40))
            rows.append(f"={kind}{number},{kind},{text}")
    (work.folder / "texts.csv").write_text("\n".join(rows) + "\n")
    small = ("model=tfidf_linear", "evaluation.bootstrap=0", "report.explain=false", "engine.threads=1")
    said = work.run("recipe=document_texts", "source.path=texts.csv", *small)
    assert said.code == 0, said.err
    (run,) = work.runs()
    assert "document,why," in (run / "review.csv").read_text()
    assert "\n=" not in (run / "review.csv").read_text()  # keys that begin like formulas
    scored = work.run("score", f"run={run}", "input=texts.csv", "output=scored")
    assert "90 rows of documents: 90 scored" in scored.out, scored.err
