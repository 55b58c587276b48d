"""A page's picture → its words: upright, straight, read, and read again where that leaves doubt."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np

from toolkit.config.reading import Cleaning, Reading
from toolkit.documents import cleaning, layout
from toolkit.documents.doubt import covered, sureness, worth
from toolkit.documents.engines import LOCAL, Engine, engine, in_line
from toolkit.documents.ink import Ink, look
from toolkit.documents.order import in_order
from toolkit.documents.page import PageRead, Words
from toolkit.documents.quality import quality
from toolkit.errors import UserError

log = logging.getLogger("toolkit")
STEPS = 2  # raise it when anything between a picture and its words changes: what was kept is then read anew
ASKEW = (
    0.6  # sureness of a page under which it may be the wrong way up: text on its head is read with 0.1 to 0.5
)
ON_ITS_HEAD = -0.15  # what letters' tops and bottoms say (`head_up`) under which a page is first read turned
LEAST_COVERED = 0.75  # share of letters in words, under which much was not seen
PATCH = 0.35  # side of the patch by which ways up are compared, as a share of the page's longer side


@dataclass(frozen=True)
class Attempt:
    """What one engine made of one picture."""

    words: Words
    reader: Engine
    cleaned: bool = False

    @property
    def sureness(self) -> float:
        return sureness(self.words, self.reader)

    @property
    def worth(self) -> float:
        return worth(self.words, self.reader)


def version(reading: Reading) -> str:
    """Names and versions of all that may read a page under these settings, for the key of what is kept.

    Raises ConfigError where `auto` finds no engine.
    """
    import cv2

    readers = [engine(name, reading.ocr) for name in in_line(reading.ocr)]
    if reading.ocr.engine == "auto" and any(one.name == "textract" for one in readers):
        log.warning(
            "pages in doubt are sent to Amazon Textract, as `ocr.cloud` says: ocr.cloud=false keeps them here"
        )
    return "; ".join(
        [f"steps {STEPS}", f"opencv {cv2.__version__}", *(f"{one.name} {one.version}" for one in readers)]
    )


def recognise(picture: np.ndarray, reading: Reading) -> PageRead:
    """Read a page. picture: uint8 [height, width], 255 is white.

    Boxes, layout and the small image are those of the page as it stands upright and straight. A page without
    ink is an empty page: no words, no engine is asked. Raises ConfigError where an engine is missing, DataError
    where it fails on this picture.
    """
    begun = time.perf_counter()
    picture = cleaning.positive(picture)
    if reading.cleaning.perspective:
        picture = cleaning.unfolded(picture)
    ink = look(picture)
    turn, skew, best = 0, 0.0, Attempt(Words.none(), engine("none", reading.ocr))
    grade = float("nan")
    if not ink.empty:
        grade = quality(picture, ink)
        readers = [engine(name, reading.ocr) for name in in_line(reading.ocr)]
        first = _Reader(readers[0], reading, ink.letter_height)
        turn, skew, picture, best = _upright(picture, ink, reading.cleaning, first)
        ink = look(picture) if turn or skew else ink
        best = _surer(picture, ink, grade, best, reading, readers)
    return PageRead(
        words=best.words,
        engine=best.reader.name,
        quality=grade,
        turned=turn,
        skew=skew,
        cleaned=best.cleaned,
        layout=layout.measures(picture, best.words, ink),
        image=layout.small(picture, reading.image),
        seconds=time.perf_counter() - begun,
    )


@dataclass(frozen=True)
class _Reader:
    """An engine, and what is done to pictures before it sees them."""

    engine: Engine
    reading: Reading
    letter_height: float

    def __call__(self, upright: np.ndarray, clean: bool) -> Attempt:
        wanted = self.reading.cleaning
        if clean and wanted.contrast:
            upright = cleaning.contrasted(upright)
        if clean and wanted.denoise:
            upright = cleaning.denoised(upright, self.letter_height)
        if clean and wanted.binarise:
            upright = cleaning.binarised(upright, self.letter_height)
        fit = cleaning.fitted(upright, self.letter_height)
        words = self.engine.read(fit, self.reading.ocr.languages)
        return Attempt(in_order(words, fit.shape[1] / fit.shape[0]), self.engine, clean)


def _upright(
    picture: np.ndarray, ink: Ink, wanted: Cleaning, read: _Reader
) -> tuple[int, float, np.ndarray, Attempt]:
    """Turn the page by degrees clockwise, straighten it, and read it: the likeliest way first.

    How its lines run says whether it lies on its side, its letters' tops whether it stands on its head. Where
    what is then read is not sure, a patch is read all four ways, and the page again if another way is surer.
    """
    clean = wanted.keep == "cleaned"
    sideways, skew = cleaning.lines_of(ink)
    if not wanted.deskew or abs(skew) < cleaning.FINEST:
        skew = 0.0
    turn = 0
    if wanted.orient:
        turn = 90 if sideways else 0
        seen = look(_stood(ink.even, turn, skew)) if turn or skew else ink
        turn += 180 if cleaning.head_up(seen.letters) < ON_ITS_HEAD else 0
    upright = _stood(picture, turn, skew)
    best = read(upright, clean)
    if not wanted.orient or read.engine.name == "none" or best.sureness >= ASKEW:
        return turn, skew, upright, best
    patch = _patch(upright, look(upright))
    worths = {more: read(cleaning.turned(patch, more), clean).worth for more in (0, 180, 90, 270)}
    more = max(worths, key=lambda one: worths[one])
    if more:
        turn = (turn + more) % 360
        upright = cleaning.turned(upright, more)
        best = read(upright, clean)
    return turn, skew, upright, best


def _stood(picture: np.ndarray, turn: int, skew: float) -> np.ndarray:
    picture = cleaning.turned(picture, turn)
    return cleaning.straightened(picture, skew) if skew else picture


def _patch(picture: np.ndarray, ink: Ink) -> np.ndarray:
    """uint8 [side, side]: the square of the page that holds the most ink."""
    import cv2

    side = min(int(PATCH * max(ink.mask.shape)), *ink.mask.shape)
    held = cv2.boxFilter(
        ink.mask.astype(np.float32), -1, (side, side), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT
    )
    held = held[: held.shape[0] - side + 1, : held.shape[1] - side + 1]
    top, left = np.unravel_index(int(held.argmax()), held.shape)
    first, last = (int(top / ink.scale), int(left / ink.scale)), int(side / ink.scale)
    return np.ascontiguousarray(picture[first[0] : first[0] + last, first[1] : first[1] + last])


def _surer(
    upright: np.ndarray, ink: Ink, grade: float, best: Attempt, reading: Reading, readers: list[Engine]
) -> Attempt:
    """The attempt that is worth the most, of those that doubt calls for: cleaned, then by another engine.

    A page is in doubt while its picture's quality is not above `ocr.good`, or its words are less sure than
    that, or many of its letters lie in no word.
    """
    good, keep = reading.ocr.good, reading.cleaning.keep

    def unsure(one: Attempt) -> bool:
        return one.sureness < good or covered(one.words, ink) < LEAST_COVERED

    def attempt(reader: Engine, clean: bool) -> Attempt:
        return _Reader(reader, reading, ink.letter_height)(upright, clean)

    if readers[0].name == "none":
        return best
    if keep == "surer" and (grade <= good or unsure(best)):
        best = max(best, attempt(readers[0], True), key=lambda one: one.worth)
    for reader in readers[1:]:
        if not (grade <= good or unsure(best)):
            break
        try:
            other = attempt(reader, keep == "cleaned")
            best = max(best, other, key=lambda one: one.worth)
            # What is paid for by the page is asked once.
            if keep == "surer" and unsure(best) and reader.name in LOCAL:
                best = max(best, attempt(reader, True), key=lambda one: one.worth)
        except UserError as error:
            log.warning("a page in doubt keeps the words of %s: %s", best.reader.name, error.what)
    return best
