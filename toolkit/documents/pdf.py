"""PDF by PDFium: the text that a page itself holds, with boxes; its picture only where there is none."""

from __future__ import annotations

import mmap
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, c_double, c_int
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.config.reading import Limits, Reading
from toolkit.documents.opening import Held, RejectedError, allowed_pages, refuse_large
from toolkit.documents.page import Words

POINTS = 72  # per inch
GLANCE = 1.0e6  # pixels of a page that is drawn for its looks only
GRID = 1_000_000  # PDFium gives places on the drawn page in whole pixels
COVERED = 0.5  # share of a page that a picture covers, from which the page is a scan
ENOUGH = 50  # letters that a scan must hold to be taken as read already: fewer are a stamp on it
LEGIBLE = 0.8  # share of a page's characters that must be characters
LOCKED = (4, 5)  # PDFium's codes for a password that is not known, and for a way of locking that is not
HYPHEN = "\x02"  # as PDFium gives a hyphen at the end of a line


@dataclass
class Pdf:
    """An open PDF."""

    document: Any
    pages: int
    limits: Limits

    def page(self, index: int, reading: Reading) -> Held:
        import pypdfium2

        try:
            page = self.document[index]
            if page.formenv:  # what is filled into a form becomes part of its page
                page.flatten()
                page.close()
                page = self.document[index]
            pictures = list(_pictures(page, self.limits))
            words = words_of(page)
            letters = sum(len(word) for word in words.text)
            empty = not letters and next(page.get_objects(max_depth=1), None) is None
            scan = max(pictures, default=0.0) > COVERED
            if empty or (letters and legible(words.text) and (letters >= ENOUGH or not scan)):
                return Held(words, picture=self._drawn(page, None))
            return Held(None, picture=self._drawn(page, reading.ocr.dpi))
        except pypdfium2.PdfiumError as error:
            raise RejectedError("has a damaged page") from error

    def _drawn(self, page: Any, dpi: int | None) -> np.ndarray:
        """The page's picture, uint8 [height, width]. dpi: None for a glance."""
        width, height = page.get_size()
        if dpi is None:
            scale = (GLANCE / max(width * height, 1.0)) ** 0.5
        else:
            scale = dpi / POINTS
            refuse_large(width * scale, height * scale, self.limits)
        drawn = page.render(scale=scale, grayscale=True).to_numpy()
        return np.array(drawn[..., 0] if drawn.ndim == 3 else drawn, np.uint8)


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[Pdf]:
    import pypdfium2

    _refuse_cut_off(path)
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        # PDFium's code for the error may be that of the file before.
        locked = error.err_code in LOCKED and _holds(path, b"/Encrypt")
        raise RejectedError("is encrypted" if locked else "is cut off or damaged") from error
    with document:
        if not len(document):
            raise RejectedError("has no page")
        pages = allowed_pages(len(document), limits)
        document.init_forms()
        yield Pdf(document, pages, limits)


def _content(path: Path) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _holds(path: Path, what: bytes) -> bool:
    with _content(path) as content:
        return content.find(what) >= 0


def _refuse_cut_off(path: Path) -> None:
    """PDFium mends a PDF whose end is missing, without the pages that stood there: that is no reading of it."""
    with _content(path) as content:
        end = content.rfind(b"%%EOF")
        # A PDF that is made for the web has an end mark near its beginning, too.
        if end < 0 or content.find(b"endobj", end) >= 0 or content.find(b" obj", end) >= 0:
            raise RejectedError("is cut off or damaged")


def _pictures(page: Any, limits: Limits) -> Iterator[float]:
    """Share of the page that each picture on it covers. Raises RejectedError for one of too many pixels."""
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

    width, height = page.get_size()
    for each in page.get_objects(filter=[FPDF_PAGEOBJ_IMAGE]):
        wide, high = each.get_px_size()
        refuse_large(wide, high, limits)
        left, bottom, right, top = each.get_bounds()
        yield abs((right - left) * (top - bottom)) / max(width * height, 1.0)


def legible(texts: tuple[str, ...]) -> bool:
    """Are these characters, rather than what is left of a font that does not say what its glyphs mean?"""
    letters = "".join(texts)
    strange = sum(
        unicodedata.category(letter) in ("Cc", "Cn", "Co", "Cs") or letter == "\ufffd" for letter in letters
    )
    return strange <= (1 - LEGIBLE) * len(letters)


def words_of(page: Any) -> Words:
    """The words of a page in the order of its text, lines of right-to-left scripts in reading order."""
    from pypdfium2 import raw

    textpage = page.get_textpage()
    words: list[str] = []
    lines: list[int] = []
    boxes: list[tuple[float, float, float, float]] = []
    word: list[str] = []
    box: list[float] = []
    line, breaks = 0, False

    def end() -> None:
        nonlocal line, breaks
        text = "".join(word).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if text.strip():
            line, breaks = line + (breaks and bool(words)), False
            words.append(text)
            lines.append(line)
            boxes.append((box[0], box[1], box[2], box[3]) if box else (np.nan,) * 4)
        word.clear()
        box.clear()

    left, right, bottom, top = c_double(), c_double(), c_double(), c_double()
    for index in range(textpage.count_chars()):
        code = raw.FPDFText_GetUnicode(textpage, index)
        letter = "-" if chr(code) == HYPHEN else chr(code)
        if letter.isspace() or code == 0:
            end()
            breaks |= letter in "\r\n"
            continue
        word.append(letter)
        if raw.FPDFText_GetCharBox(textpage, index, byref(left), byref(right), byref(bottom), byref(top)):
            here = (left.value, bottom.value, right.value, top.value)
            if here[2] > here[0]:
                box[:] = [min(box[0], here[0]), min(box[1], here[1]), max(box[2], here[2]), max(box[3], here[3])] if box else here  # fmt: skip
    end()
    textpage.close()
    return Words(
        tuple(words), _shares(page, boxes), np.ones(len(words), np.float32), np.array(lines, np.int32)
    )


def _shares(page: Any, boxes: list[tuple[float, float, float, float]]) -> np.ndarray:
    """Boxes in points from the page's corner as shares of the page as it is shown, float32 [boxes, 4]."""
    from pypdfium2 import raw

    x, y = c_int(), c_int()

    def shown(across: float, up: float) -> tuple[float, float]:
        raw.FPDF_PageToDevice(page, 0, 0, GRID, GRID, 0, across, up, byref(x), byref(y))
        return x.value / GRID, y.value / GRID

    found = np.full((len(boxes), 4), np.nan, np.float32)
    for index, (left, bottom, right, top) in enumerate(boxes):
        if left == left:
            (a, b), (c, d) = shown(left, bottom), shown(right, top)
            found[index] = min(a, c), min(b, d), max(a, c), max(b, d)
    return found.clip(0, 1)
