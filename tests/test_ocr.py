"""A page's picture and its words: damaged pages of known text, each engine, and who is asked when."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import stat
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("pypdfium2")
canvas = pytest.importorskip("reportlab.pdfgen.canvas")

import cv2  # noqa: E402
import pypdfium2  # noqa: E402

from toolkit.config.reading import Cleaning, Ocr, PageImage, Reading  # noqa: E402
from toolkit.documents import cleaning, engines, layout, recognise  # noqa: E402
from toolkit.documents.doubt import covered, plausible, sureness, worth  # noqa: E402
from toolkit.documents.engines import engine, rapid, tesseract, textract  # noqa: E402
from toolkit.documents.ink import look  # noqa: E402
from toolkit.documents.order import in_order  # noqa: E402
from toolkit.documents.page import Words  # noqa: E402
from toolkit.documents.quality import quality  # noqa: E402
from toolkit.errors import ConfigError, DataError  # noqa: E402

HAS_TESSERACT = bool(shutil.which("tesseract")) or bool(os.environ.get("CI_TESSERACT"))
needs_tesseract = pytest.mark.skipif(not HAS_TESSERACT, reason="tesseract is not installed")

LINES = """The committee met on Tuesday, 14 March 2023, to review the annual budget
of 1,250,000.00 dollars. Members agreed that the proposed schedule should be kept
until the end of September, provided that every supplier signs the agreement before
the first of April. A copy of each invoice must be sent to the office at 4821 Maple
Avenue, together with reference number AB-20417. Any objection has to reach the
secretary within thirty days after the notice was delivered; otherwise the decision
becomes final. The chair thanked the working group for its careful analysis.""".splitlines()
TRUTH = " ".join(LINES).split()


def drawn(lines: list[str] = LINES, *, size: float = 11, dpi: int = 200, more: Any = None) -> np.ndarray:
    """uint8 [height, width]: a small sheet with those lines, as pypdfium2 draws a PDF at so many dots per inch."""
    held = io.BytesIO()
    sheet = canvas.Canvas(held, pagesize=(500, 320))
    sheet.setFont("Times-Roman", size)
    for number, line in enumerate(lines):
        sheet.drawString(45, 280 - number * size * 1.4, line)
    if more:
        more(sheet)
    sheet.showPage()
    sheet.save()
    page = pypdfium2.PdfDocument(held.getvalue())[0].render(scale=dpi / 72, grayscale=True).to_numpy()
    return np.ascontiguousarray(page.reshape(page.shape[:2]))


def found(words: Words, truth: list[str] = TRUTH) -> float:
    """Share of the words printed that were read, to the letter."""
    return (Counter(words.text) & Counter(truth)).total() / len(truth)


def askew(picture: np.ndarray, degrees: float) -> np.ndarray:
    """Turned counter-clockwise on white."""
    height, width = picture.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=255)


def noisy(picture: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, deviation, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def blurred(picture: np.ndarray, radius: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), radius)


def faxed(picture: np.ndarray) -> np.ndarray:
    """Half the dots, black or white, with specks."""
    small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    dots = np.where(noisy(small, 45) > 150, 255, 0).astype(np.uint8)
    return cv2.resize(dots, picture.shape[::-1], interpolation=cv2.INTER_NEAREST)


def shadowed(picture: np.ndarray) -> np.ndarray:
    """A stain, and light that falls from the left."""
    height, width = picture.shape
    y, x = np.mgrid[:height, :width]
    spot = np.exp(-((x - 0.55 * width) ** 2 + (y - 0.45 * height) ** 2) / (2 * (0.2 * width) ** 2))
    return np.clip(picture * (1 - 0.55 * spot) * np.linspace(1, 0.5, width), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def page() -> np.ndarray:
    return drawn()


def settings(engine: str = "tesseract", keep: str = "surer", **more: Any) -> Reading:
    return Reading(ocr=Ocr(engine=engine), cleaning=Cleaning(keep=keep, **more))  # type: ignore[arg-type]


class Scripted:
    """An engine that says what it is told, and counts how often it is asked."""

    def __init__(self, name: str, words: Words | Exception) -> None:
        self.name, self.version, self.words, self.asked = name, "1", words, 0

    def chance(self, confidence: np.ndarray) -> np.ndarray:
        return confidence

    def read(self, picture: np.ndarray, languages: object) -> Words:
        self.asked += 1
        if isinstance(self.words, Exception):
            raise self.words
        return self.words


def said(text: str, confidence: float) -> Words:
    """Those words, spread over all of the page."""
    words = tuple(text.split())
    boxes = np.tile(np.array([[0, 0, 1, 1]], np.float32), (len(words), 1))
    return Words(words, boxes, np.full(len(words), confidence, np.float32), np.zeros(len(words), np.int32))


@pytest.fixture
def cast(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts engines in line for `recognise`."""

    def put(*readers: Scripted) -> None:
        by_name: dict[str, Any] = {one.name: one for one in readers} | {"none": engines.Nothing()}
        monkeypatch.setattr(recognise, "in_line", lambda ocr: [one.name for one in readers])
        monkeypatch.setattr(recognise, "engine", lambda name, ocr: by_name[name])

    return put


# ---- looking at a page ------------------------------------------------------------------------------------------


def test_quality_tells_a_clean_page_from_a_blurred_one_and_a_fax(page: np.ndarray) -> None:
    """Above 0.9 a page reads as drawn; at 0.8 the default doubt begins."""

    def of(picture: np.ndarray) -> float:
        return quality(picture, look(picture))

    assert of(page) > 0.9
    assert of(drawn(size=9)) > 0.9
    assert of(askew(page, 2)) > 0.9, "turning blurs a little: no reason to read twice"
    assert of(blurred(page, 3)) < of(blurred(page, 2)) < 0.8
    assert of(faxed(page)) < 0.8
    assert of(noisy(page, 70)) < 0.8
    assert of(drawn(dpi=60)) < 0.8
    assert of((255 - (255 - page) * 0.08).astype(np.uint8)) < 0.8, "hardly darker than the paper"


@pytest.mark.parametrize("degrees", [-9.3, -2.0, 0.0, 0.7, 4.4])
def test_skew_is_found_to_a_fifth_of_a_degree(page: np.ndarray, degrees: float) -> None:
    sideways, found = cleaning.lines_of(look(askew(page, degrees)))
    assert not sideways
    assert abs(found - degrees) <= 0.2
    _, left = cleaning.lines_of(look(cleaning.straightened(askew(page, degrees), found)))
    assert abs(left) <= 0.2


def test_lines_say_whether_a_page_lies_on_its_side_and_letters_where_its_head_is(page: np.ndarray) -> None:
    for turn in (90, 270):
        assert cleaning.lines_of(look(cleaning.turned(page, turn)))[0]
    assert cleaning.head_up(look(page).letters) > 0.2
    assert cleaning.head_up(look(cleaning.turned(page, 180)).letters) < -0.2


def test_a_page_without_ink_is_empty_and_no_engine_is_asked(cast: Any) -> None:
    reader = Scripted("tesseract", said("words from nowhere", 0.9))
    cast(reader)
    white = np.full((900, 700), 255, np.uint8)
    rim = askew(np.full((900, 700), 225, np.uint8), 3)
    for blank in (white, noisy(white, 25), shadowed(np.full((900, 700), 240, np.uint8)), rim, 255 - white):
        read = recognise.recognise(blank, Reading())
        assert (len(read.words), read.engine, reader.asked) == (0, "none", 0)
        assert read.image is not None
        assert np.isfinite(list(read.layout.values())).all()
    one_word = recognise.recognise(drawn(["Void"], size=40), Reading())
    assert reader.asked >= 1, "one word is not nothing"
    assert one_word.engine == "tesseract"


def test_layout_sees_tables_signatures_type_and_margins() -> None:
    def table(sheet: Any) -> None:
        sheet.grid([60, 160, 260, 360, 440], [60, 80, 100, 120])

    def signed(sheet: Any) -> None:
        path = sheet.beginPath()
        path.moveTo(250, 60)
        for step in range(6):
            path.curveTo(255 + 20 * step, 100, 265 + 20 * step, 20, 275 + 20 * step, 62)
        sheet.setLineWidth(1.5)
        sheet.drawPath(path)

    def of(picture: np.ndarray) -> dict[str, float]:
        return layout.measures(picture, said("Report 12 AB", 0.9))

    plain, tabled, named = (of(drawn(LINES[:4], more=more)) for more in (None, table, signed))
    assert tuple(plain) == layout.NAMES
    assert np.isfinite(list(plain.values())).all()
    assert (plain["rules_across"], plain["rules_down"], plain["signatures"]) == (0, 0, 0)
    assert (tabled["rules_across"], tabled["rules_down"], tabled["signatures"]) == (4, 5, 0)
    assert named["signatures"] == 0, "the words cover the whole page: no place for a signature"
    bare = {more: layout.measures(drawn(LINES[:4], more=more), Words.none()) for more in (table, signed)}
    assert (bare[table]["signatures"], bare[signed]["signatures"]) == (0, 1)
    assert plain["ink_1_2"] > 0.02 > plain["ink_4_2"] == 0
    assert plain["digits"] == pytest.approx(2 / 10)
    assert plain["capitals"] == pytest.approx(3 / 10)
    boxes = np.array([[0.1, 0.1, 0.5, 0.12], [0.1, 0.2, 0.9, 0.22], [0.1, 0.3, 0.6, 0.36]], np.float32)
    typed = layout.measures(
        drawn(LINES[:4]),
        Words(("aa", "bb", "cc"), boxes, np.ones(3, np.float32), np.arange(3, dtype=np.int32)),
    )
    assert typed["margin_left"] == pytest.approx(0.1, abs=1e-6)
    assert typed["large_text"] == pytest.approx(1 / 3)
    assert typed["line_spacing"] == pytest.approx(0.11, abs=1e-6)


def test_the_small_picture_keeps_its_proportions(page: np.ndarray) -> None:
    small = layout.small(page, PageImage(height=100, width=80))
    assert small.shape == (100, 80)
    assert small.dtype == np.uint8
    rows = np.flatnonzero((small < 250).any(axis=1))
    assert 20 < rows[0] < rows[-1] < 80, "a wide page lies in the middle of a tall white field"


# ---- doubt --------------------------------------------------------------------------------------------------------


def test_words_of_a_form_that_no_word_has_are_seen() -> None:
    right = (
        "The committee, McDonald's 1,250.00 $12.50 AB-20417 14th (USA) e.g. O'Neil Straße über IV a@b.org -"
    )
    for word in right.split():
        assert plausible(word), word
    for word in ["xvkqtz", "S¥SII", "cOmMit", "}{", "~=~", "bqrtvwx", "aaab1l"]:
        assert not plausible(word), word


def test_what_is_right_is_worth_more_than_what_is_sure_of_itself() -> None:
    reader = Scripted("any", Words.none())
    right, nonsense = said("the annual budget", 0.85), said("tbh xnnvql bJdgcI", 0.9)
    assert worth(right, reader) > worth(nonsense, reader)
    assert worth(said("the annual budget of members", 0.8), reader) > worth(said("the annual", 0.99), reader)
    assert worth(said("some words are right", 0.4), reader) > worth(Words.none(), reader) == 0
    assert worth(said("noise", 0.1), reader) < 0
    assert sureness(Words.none(), reader) == 0


def test_letters_that_no_word_covers_are_counted(page: np.ndarray) -> None:
    ink = look(page)
    assert covered(said("all of it", 0.9), ink) == 1
    upper = Words(
        ("half",), np.array([[0, 0, 1, 0.26]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32)
    )
    assert 0.2 < covered(upper, ink) < 0.8
    assert covered(Words.none(), ink) == 0


# ---- engines ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[pytest.param("tesseract", marks=needs_tesseract), "rapidocr"])
def reader(request: pytest.FixtureRequest) -> str:
    if request.param == "rapidocr":
        pytest.importorskip("rapidocr")
    return str(request.param)


def test_each_engine_reads_a_page_with_words_in_their_places(reader: str, page: np.ndarray) -> None:
    read = recognise.recognise(page, settings(reader))
    assert found(read.words) >= 0.97
    assert (read.engine, read.turned, read.skew, read.cleaned) == (reader, 0, 0.0, False)
    assert read.words.sureness() > 0.9
    assert (np.diff(read.words.line) >= 0).all()
    assert read.words.line[-1] == len(LINES) - 1
    boxes = read.words.boxes
    assert boxes.dtype == np.float32
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert (boxes[:, :2] < boxes[:, 2:]).all()
    # Each word's box holds its ink: by the widths of Times, `Avenue,` begins the fifth line at 45 points of 500.
    place = boxes[read.words.text.index("Avenue,")]
    assert place[0] == pytest.approx(45 / 500, abs=0.02)
    assert (place[1] + place[3]) / 2 == pytest.approx(1 - (280 - 4 * 15.4 + 3) / 320, abs=0.02)


TURNS = [pytest.param("tesseract", turn, marks=needs_tesseract) for turn in (90, 180, 270)]


@pytest.mark.parametrize(("reader", "turn"), [*TURNS, ("rapidocr", 180)])
def test_pages_on_their_side_or_head_are_turned_and_straightened(
    reader: str, turn: int, page: np.ndarray
) -> None:
    picture = askew(np.pad(page, 60, constant_values=255), 1.5)
    read = recognise.recognise(cleaning.turned(picture, 360 - turn), settings(reader))
    assert read.turned == turn
    assert read.skew == pytest.approx(1.5, abs=0.2)
    assert found(read.words) >= 0.95


@needs_tesseract
def test_without_orientation_and_deskew_the_same_pages_read_worse(page: np.ndarray) -> None:
    """The positive control of the two tests above."""
    steep = askew(np.pad(page, 120, constant_values=255), 9)
    assert found(recognise.recognise(steep, settings()).words) >= 0.95
    assert found(recognise.recognise(steep, settings(deskew=False)).words) < 0.7
    over = cleaning.turned(page, 180)
    assert found(recognise.recognise(over, settings(orient=False)).words) < 0.1


@needs_tesseract
def test_the_other_way_up_is_tried_where_the_first_guess_reads_badly(
    page: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "head_up", lambda letters: -1.0)
    read = recognise.recognise(page, settings())
    assert (read.turned, found(read.words)) == (0, 1.0)


def photographed(picture: np.ndarray) -> np.ndarray:
    """The page on a dark table, seen from one side."""
    height, width = picture.shape
    size = (width + 300, height + 300)
    here = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    there = np.array(
        [[160, 90], [width + 60, 150], [width + 190, height + 240], [80, height + 130]], np.float32
    )
    matrix = cv2.getPerspectiveTransform(here, there)
    return cv2.warpPerspective(picture, matrix, size, flags=cv2.INTER_LINEAR, borderValue=50)


@needs_tesseract
def test_a_photographed_page_is_seen_from_above(page: np.ndarray) -> None:
    photo = photographed(page)
    above = recognise.recognise(photo, settings())
    assert found(above.words) >= 0.95
    first = above.words.boxes[above.words.text.index("The")]
    assert first[0] == pytest.approx(45 / 500, abs=0.02)
    assert abs(above.skew) < 0.5
    aslant = recognise.recognise(photo, settings(perspective=False))
    boxes = {word: box[0] for word, box in zip(aslant.words.text, aslant.words.boxes, strict=True)}
    assert boxes.get("The", 1) > 0.13 or found(aslant.words) < 0.9, "the positive control"


def test_scans_are_not_taken_for_photographs(page: np.ndarray) -> None:
    def framed(sheet: Any) -> None:
        sheet.setLineWidth(6)
        sheet.rect(20, 20, 460, 280)
        sheet.rect(60, 40, 200, 60, fill=1)

    for scan in (page, noisy(page, 40), shadowed(page), drawn(more=framed), askew(page, 5)):
        assert cleaning.unfolded(scan) is scan


def test_specks_go_and_full_stops_stay(page: np.ndarray) -> None:
    height = look(page).letter_height
    assert cleaning.denoised(page, height) is page, "nothing to do on a clean page"
    black = np.where(page < 150, 0, 255).astype(np.uint8)
    specked = black.copy()
    rng = np.random.default_rng(0)
    y, x = rng.integers(0, page.shape[0] - 2, 900), rng.integers(0, page.shape[1] - 2, 900)
    for down, across in ((0, 0), (0, 1), (1, 0)):
        specked[y + down, x + across] = 0
    clean = cleaning.denoised(specked, height)
    assert (clean != black).sum() < 0.15 * (specked != black).sum()
    assert (clean[black == 0] == 0).mean() > 0.99


@needs_tesseract
def test_cleaning_is_called_for_by_doubt_and_kept_where_it_helps(page: np.ndarray) -> None:
    stained = shadowed(page)
    raw, cleaned, surer = (
        recognise.recognise(stained, settings(keep=keep)) for keep in ("raw", "cleaned", "surer")
    )
    assert found(raw.words) < 0.9, "a stain hides text from a threshold for the whole page"
    assert found(cleaned.words) >= 0.97
    assert (found(surer.words), surer.cleaned) == (found(cleaned.words), True)


@needs_tesseract
def test_cleaning_that_hurts_is_not_kept(page: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "contrasted", lambda picture: blurred(picture, 5))
    poor = drawn(dpi=80)
    assert found(recognise.recognise(poor, settings(keep="cleaned")).words) < 0.7
    read = recognise.recognise(poor, settings(keep="surer"))
    assert found(read.words) >= 0.9
    assert not read.cleaned


@needs_tesseract
def test_small_scans_are_enlarged(page: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = drawn(dpi=75)
    assert cleaning.fitted(tiny, look(tiny).letter_height).shape[0] > 1.8 * tiny.shape[0]
    assert cleaning.fitted(page, look(page).letter_height) is page
    helped = found(recognise.recognise(tiny, settings(keep="raw")).words)
    monkeypatch.setattr(cleaning, "fitted", lambda picture, letter_height: picture)
    assert found(recognise.recognise(tiny, settings(keep="raw")).words) < helped


@needs_tesseract
def test_scans_of_black_and_white_alone_are_read(page: np.ndarray) -> None:
    """Otsu's threshold of two values is the lower one, which is ink."""
    read = recognise.recognise(np.where(page < 150, 0, 255).astype(np.uint8), settings())
    assert found(read.words) >= 0.97
    assert read.quality > 0.9
    assert not read.cleaned


@needs_tesseract
def test_a_negative_is_read_as_its_positive(page: np.ndarray) -> None:
    assert found(recognise.recognise(255 - page, settings()).words) >= 0.97


def test_binarising_is_by_place(page: np.ndarray) -> None:
    black = cleaning.binarised(shadowed(page), 14)
    assert set(np.unique(black)) == {0, 255}
    truth = page < 128
    assert (black == 0)[truth].mean() > 0.9
    assert (black == 0)[page == 255].mean() < 0.03
    globally = shadowed(page) < 128
    assert globally[page == 255].mean() > 0.1, "one threshold for the page takes the stain for ink"


# ---- engines that are missing, or fail --------------------------------------------------------------------------


def test_a_missing_engine_says_which_package_to_install(
    page: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="tesseract is not installed") as error:
        recognise.recognise(page, settings("tesseract"))
    assert "apt install tesseract-ocr" in str(error.value)
    assert engines.in_line(Ocr(engine="auto")) == ["rapidocr"]
    rapid.models.cache_clear()
    monkeypatch.setattr(rapid, "find_spec", lambda name: None)
    try:
        with pytest.raises(ConfigError, match="no OCR engine is installed"):
            recognise.version(settings("auto"))
    finally:
        rapid.models.cache_clear()


@needs_tesseract
def test_a_missing_language_says_which_package_to_install(page: np.ndarray) -> None:
    reading = Reading(ocr=Ocr(engine="tesseract", languages=["eng", "tlh_klingon"]))
    with pytest.raises(ConfigError, match="tlh_klingon") as error:
        recognise.recognise(page, reading)
    assert "tesseract-ocr-tlh-klingon" in str(error.value)
    assert "installed:" in str(error.value)


def program(folder: Path, body: str) -> str:
    path = folder / "tesseract"
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_tesseract_that_fails_or_hangs_is_an_error_of_the_page(
    page: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    languages = 'if [ "$1" = "--list-langs" ]; then printf "List\\neng\\n"; exit 0; fi\n'
    broken = program(tmp_path, languages + "cat >/dev/null; echo 'out of memory' >&2; exit 1\n")
    monkeypatch.setattr(tesseract, "binary", lambda: broken)
    with pytest.raises(DataError, match="could not read a page") as error:
        recognise.recognise(page, settings())
    assert "out of memory" in str(error.value)
    program(tmp_path, languages + "exec sleep 30\n")
    monkeypatch.setattr(tesseract, "SECONDS", 0.5)
    with pytest.raises(DataError, match=r"within 0\.5 seconds"):
        recognise.recognise(page, settings())


def test_tesseracts_table_is_read_with_quotes_and_blanks() -> None:
    head = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n"
    rows = ["4\t1\t1\t1\t1\t0\t0\t0\t9\t9\t-1\t", '5\t1\t1\t1\t1\t1\t10\t20\t30\t10\t96.5\t"quoted']
    rows += ["5\t1\t1\t1\t1\t2\t50\t20\t10\t10\t95\t ", "5\t1\t1\t1\t2\t1\t10\t40\t30\t10\t-1\tnext"]
    words = tesseract.parsed(head + "\n".join(rows), 100, 200)
    assert words.text == ('"quoted', "next")
    assert words.boxes[0].tolist() == pytest.approx([0.1, 0.1, 0.4, 0.15])
    assert words.confidence.tolist() == pytest.approx([0.965, 0.0])
    assert words.line.tolist() == [0, 1]


def test_rapidocr_is_given_the_models_of_its_wheel_and_downloads_nothing(
    page: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rapidocr")
    import socket

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    files = rapid.models()
    assert files is not None
    assert all(file.is_file() for file in files)
    rapid._reader.cache_clear()
    assert len(engine("rapidocr", Ocr()).read(page[:200], ["eng"])) > 5


def test_lines_are_parted_into_words_by_their_letters() -> None:
    """Two lines side by side are one; the network's own pieces say how sure each word is, where they spell it."""
    boxes = np.array(
        [[[50, 10], [90, 10], [90, 20], [50, 20]], [[0, 11], [40, 11], [40, 21], [0, 21]]], np.float64
    )
    pieces = [(("cd", 0.5, None), ("e", 0.8, None)), (("other", 0.1, None),)]
    words = in_order(rapid.as_words(("c de", "ab f"), (0.7, 0.9), boxes, pieces, 100, 100), 1.0)
    assert words.text == ("ab", "f", "c", "de")
    assert words.line.tolist() == [0, 0, 0, 0]
    assert words.confidence.tolist() == pytest.approx([0.9, 0.9, 0.5, 0.65])
    assert words.boxes[:, 0].tolist() == pytest.approx([0, 0.3, 0.5, 0.7])
    assert words.boxes[3].tolist() == pytest.approx([0.7, 0.1, 0.9, 0.2])


# ---- textract, by its documented form, from a server of our own ---------------------------------------------------


def block(
    kind: str, key: str, text: str, box: tuple[float, ...], children: list[str], confidence: float
) -> dict[str, Any]:
    left, top, width, height = box
    return {
        "BlockType": kind,
        "Id": key,
        "Text": text,
        "Confidence": confidence,
        "Geometry": {"BoundingBox": {"Left": left, "Top": top, "Width": width, "Height": height}},
        "Relationships": [{"Type": "CHILD", "Ids": children}] if children else [],
    }


ANSWER = {
    "DocumentMetadata": {"Pages": 1},
    "Blocks": [
        block("PAGE", "p", "", (0.0, 0.0, 1.0, 1.0), ["l1", "l2"], 99.0),
        block("LINE", "l1", "Annual report", (0.1, 0.1, 0.4, 0.05), ["w1", "w2"], 98.0),
        block("LINE", "l2", "approved", (0.1, 0.2, 0.2, 0.05), ["w3"], 71.5),
        block("WORD", "w1", "Annual", (0.1, 0.1, 0.2, 0.05), [], 99.5),
        block("WORD", "w2", "report", (0.35, 0.1, 0.15, 0.05), [], 97.0),
        block("WORD", "w3", "approved", (0.1, 0.2, 0.2, 0.05), [], 71.5),
    ],
}


def cbor(value: Any) -> bytes:
    """RFC 8949, as much of it as an answer needs: newer SDKs speak it instead of JSON."""

    def head(major: int, count: int) -> bytes:
        return bytes([major << 5 | 25]) + struct.pack(">H", count)

    if isinstance(value, dict):
        return head(5, len(value)) + b"".join(cbor(key) + cbor(item) for key, item in value.items())
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    return b"\xfb" + struct.pack(">d", value) if isinstance(value, float) else head(0, value)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A server that answers like Textract, in the protocol in which it is asked: `answers` are given in turn."""
    pytest.importorskip("boto3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret-of-anyone")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    state = SimpleNamespace(answers=[], asked=[])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.asked.append((self.headers, body))
            status, answer = state.answers.pop(0)
            binary = "cbor" in self.headers["Content-Type"]
            sent = (
                answer
                if isinstance(answer, bytes)
                else cbor(answer)
                if binary
                else json.dumps(answer).encode()
            )
            self.send_response(status)
            if binary:
                self.send_header("smithy-protocol", "rpc-v2-cbor")
            self.send_header("Content-Type", "application/cbor" if binary else "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.engine = textract.Textract("eu-west-1", f"http://127.0.0.1:{server.server_port}")
    state.ocr = Ocr(engine="textract", region="eu-west-1", endpoint=state.engine.endpoint)
    yield state
    server.shutdown()
    server.server_close()


def test_textract_is_sent_the_picture_and_its_blocks_become_words(
    service: SimpleNamespace, page: np.ndarray
) -> None:
    service.answers = [(200, ANSWER)]
    words = service.engine.read(page, ["eng"])
    assert words.text == ("Annual", "report", "approved")
    assert words.plain() == "Annual report\napproved"
    assert words.confidence.tolist() == pytest.approx([0.995, 0.97, 0.715])
    assert words.boxes[1].tolist() == pytest.approx([0.35, 0.1, 0.5, 0.15])
    ((headers, body),) = service.asked
    assert "DetectDocumentText" in (headers.get("X-Amz-Target") or "") or b"Document" in body
    assert b"\x89PNG" in body or base64.b64encode(b"\x89PNG")[:4] in body
    assert "AKIDEXAMPLE" in headers["Authorization"]
    assert "not-a-secret" not in str(headers) + body.decode("latin-1"), (
        "requests are signed; the secret stays here"
    )


def test_textract_waits_when_it_is_throttled_and_gives_up_after_a_while(
    service: SimpleNamespace, page: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import botocore.endpoint

    waits: list[float] = []
    monkeypatch.setattr(botocore.endpoint.time, "sleep", waits.append)
    busy = (
        400,
        {"__type": "com.amazonaws.textract#ProvisionedThroughputExceededException", "message": "slow"},
    )
    service.answers = [busy, (500, {"__type": "ThrottlingException", "message": "slower"}), (200, ANSWER)]
    assert len(service.engine.read(page[:100], ["eng"])) == 3
    assert len(waits) == 2
    service.answers = [busy] * 20
    with pytest.raises(DataError, match="ProvisionedThroughputExceededException"):
        service.engine.read(page[:100], ["eng"])
    assert len(service.asked) == 3 + textract.ATTEMPTS


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (
            (400, {"__type": "BadDocumentException", "message": "no"}),
            DataError,
            "BadDocumentException .HTTP 400.",
        ),
        ((400, {"__type": "AccessDeniedException", "message": "no"}), ConfigError, "AccessDeniedException"),
        ((200, b"<html>proxy</html>"), DataError, "textract"),
        ((200, {"DocumentMetadata": {"Pages": 1}}), DataError, "documented form"),
        ((200, {"Blocks": [ANSWER["Blocks"][1]]}), DataError, "documented form"),  # type: ignore[index]
    ],
)
def test_textract_refusals_and_malformed_answers_are_named(
    service: SimpleNamespace,
    answer: tuple[int, Any],
    kind: type[Exception],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import botocore.endpoint

    monkeypatch.setattr(botocore.endpoint.time, "sleep", lambda seconds: None)
    service.answers = [answer] * 10
    with pytest.raises(kind, match=says) as error:
        service.engine.read(np.full((40, 40), 255, np.uint8), ["eng"])
    assert "AKID" not in str(error.value)
    assert "not-a-secret" not in str(error.value)


def test_textract_without_credentials_says_what_is_missing(
    page: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*textract.CREDENTIALS, "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION"):
        textract.Textract().read(page, ["eng"])


def test_large_pictures_are_sent_as_jpeg() -> None:
    rough = np.random.default_rng(0).integers(0, 256, (2600, 2600), dtype=np.uint8)
    assert textract.encoded(rough)[:3] == b"\xff\xd8\xff"
    assert textract.encoded(rough[:100])[:4] == b"\x89PNG"


# ---- who is asked -------------------------------------------------------------------------------------------------


def test_auto_asks_a_second_engine_about_pages_in_doubt_only(page: np.ndarray, cast: Any) -> None:
    sure, unsure = said(" ".join(TRUTH), 0.95), said(" ".join(TRUTH), 0.6)
    first, second = Scripted("tesseract", sure), Scripted("rapidocr", sure)
    cast(first, second)
    read = recognise.recognise(page, settings("auto"))
    assert (read.engine, first.asked, second.asked) == ("tesseract", 1, 0)

    cast(first := Scripted("tesseract", sure), second := Scripted("rapidocr", sure))
    recognise.recognise(blurred(page, 3), settings("auto"))
    assert (first.asked, second.asked) == (2, 1), "a poor picture: cleaned, and then the other engine"

    cast(first := Scripted("tesseract", unsure), second := Scripted("rapidocr", sure))
    read = recognise.recognise(page, settings("auto"))
    assert (read.engine, second.asked) == ("rapidocr", 1)

    cast(first := Scripted("tesseract", unsure), second := Scripted("rapidocr", said("xqz bJvt", 0.99)))
    assert recognise.recognise(page, settings("auto")).engine == "tesseract", "sure of itself, and wrong"

    seen = said(" ".join(TRUTH[:30]), 0.95)
    half = Words(seen.text, seen.boxes * np.float32(0.3), seen.confidence, seen.line)
    cast(first := Scripted("tesseract", half), second := Scripted("rapidocr", sure))
    recognise.recognise(page, settings("auto"))
    assert second.asked == 1, "sure of what it saw, but it did not see all"


def test_a_second_engine_that_fails_leaves_the_words_of_the_first(
    page: np.ndarray, cast: Any, caplog: pytest.LogCaptureFixture
) -> None:
    cast(
        Scripted("tesseract", said("some words here", 0.6)),
        Scripted("textract", DataError("textract refused")),
    )
    read = recognise.recognise(page, settings("auto"))
    assert read.engine == "tesseract"
    assert "textract refused" in caplog.text


def test_auto_sends_pages_to_textract_only_where_that_is_asked_for_and_credentials_are_set(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = Reading(ocr=Ocr(cloud=True))
    for name in textract.CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(engines, "installed", lambda name: True)
    assert engines.in_line(cloud.ocr) == ["tesseract", "rapidocr"], "no credentials"
    for name in textract.CREDENTIALS:
        monkeypatch.setenv(name, "AKIDX")
    assert engines.in_line(Ocr()) == ["tesseract", "rapidocr"], "keys for another service open no door"
    assert engines.in_line(cloud.ocr) == ["tesseract", "textract"]
    assert "AKID" not in recognise.version(cloud)
    assert "sent to Amazon Textract" in caplog.text, "pages that leave the machine are announced"
    monkeypatch.setattr(engines, "installed", lambda name: name == "rapidocr")
    assert engines.in_line(cloud.ocr) == ["rapidocr", "textract"]


@needs_tesseract
def test_auto_reads_a_poor_page_better_than_its_first_engine_alone(page: np.ndarray) -> None:
    pytest.importorskip("rapidocr")
    poor = blurred(page, 3)
    alone, both = (recognise.recognise(poor, settings(name)) for name in ("tesseract", "auto"))
    assert found(both.words) > found(alone.words) + 0.1
    assert both.engine == "rapidocr"


def test_none_reads_nothing_and_keeps_the_picture(page: np.ndarray) -> None:
    read = recognise.recognise(cleaning.turned(page, 180), settings("none"))
    assert (len(read.words), read.engine, read.turned) == (0, "none", 180)
    assert read.quality > 0.9
    assert read.image is not None


def test_the_version_names_all_that_may_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognise, "in_line", lambda ocr: ["tesseract", "none"])
    monkeypatch.setattr(tesseract, "binary", lambda: None)
    assert recognise.version(Reading()).endswith("tesseract absent; none none")
    monkeypatch.undo()
    if HAS_TESSERACT:
        assert "tesseract 5" in recognise.version(settings("tesseract"))
    assert recognise.version(settings("none")) == recognise.version(settings("none"))


# ---- the order of words --------------------------------------------------------------------------------------------


def placed(*lines: tuple[float, float, str]) -> Words:
    """Words of lines as an engine found them: left, top, text; letters are 0.01 of the page wide, lines 0.02 high."""
    words, boxes, numbers = [], [], []
    for number, (left, top, text) in enumerate(lines):
        for word in text.split():
            words.append(word)
            boxes.append((left, top, left + 0.01 * len(word), top + 0.02))
            numbers.append(number)
            left += 0.01 * (len(word) + 1)
    sure = np.ones(len(words), np.float32)
    return Words(tuple(words), np.array(boxes, np.float32), sure, np.array(numbers, np.int32))


def test_cells_that_were_read_by_column_come_by_row() -> None:
    table = [("Roof", "good", "12"), ("Walls of the garage", "poor", "3"), ("Fence", "fair", "140")]
    rows = [
        (0.1 + 0.3 * column, 0.1 + 0.05 * row, table[row][column]) for column in range(3) for row in range(3)
    ]
    prose = (0.1, 0.4, "All of this was seen on the day of the visit, and on no other day")
    assert placed(*rows, prose).plain().startswith("Roof\nWalls of the garage\nFence\ngood")  # a control
    found = in_order(placed(*rows, prose), 0.77)
    assert found.plain().splitlines() == [" ".join(row) for row in table] + [prose[2]]
    assert found.boxes[1].tolist() == pytest.approx([0.4, 0.1, 0.44, 0.12])


@pytest.mark.parametrize("shift", [0, 0.012])
@pytest.mark.parametrize("by_row", [False, True])
def test_columns_of_prose_stay_columns(shift: float, by_row: bool) -> None:
    """However the engine has ordered them, on the same baselines or not, with a heading above and one within."""
    lines = [
        f"{word} is said of what stands there"
        for word in ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    ]
    left = [(0.1, 0.2 + 0.03 * row, line) for row, line in enumerate(lines)]
    right = [(0.55, 0.2 + shift + 0.03 * row, line.upper()) for row, line in enumerate(lines[:6])]
    right[2] = (0.55, right[2][1], "TERMS")
    title = (0.3, 0.1, "What is said of it on all of this page, and more")
    found = [*left, *right]
    if by_row:
        found = sorted(found, key=lambda one: one[1])
    read = in_order(placed(title, *found), 0.77).plain().splitlines()
    assert read == [title[2], *(line for _, _, line in left), *(line for _, _, line in right)]


def test_scripts_from_right_to_left_stay_as_they_came() -> None:
    words = placed((0.6, 0.1, "שלום"), (0.1, 0.1, "עולם"))
    assert in_order(words, 0.77).text == words.text
    assert in_order(placed((0.6, 0.1, "left"), (0.1, 0.1, "right")), 0.77).text == (
        "right",
        "left",
    )  # a control


@needs_tesseract
def test_a_table_without_rules_is_read_by_row() -> None:
    cells = [
        ("Purchase price", "161,500", "paid"),
        ("Loan amount", "121,100", "open"),
        ("Deposit", "9,000", "paid"),
    ]
    cells += [("Survey", "450", "paid"), ("Transfer fee", "702", "open")]

    def table(sheet: Any) -> None:
        for row, texts in enumerate(cells):
            for column, text in enumerate(texts):
                sheet.drawString(45 + 190 * column, 250 - 26 * row, text)

    read = recognise.recognise(drawn([], more=table), settings()).words.plain()
    assert [" ".join(row) for row in cells] == read.splitlines()
