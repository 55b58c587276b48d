"""A page's picture → its words: upright, straight, read, and read again where that leaves doubt."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from toolkit.config.reading import Reading
from toolkit.documents import cleaning, layout
from toolkit.documents.doubt import sure, worth
from toolkit.documents.engines import Engine, engine, in_line
from toolkit.documents.ink import look
from toolkit.documents.page import PageRead, Words
from toolkit.documents.quality import quality
from toolkit.errors import DataError

log = logging.getLogger("toolkit")
STEPS = 1  # raise it when anything between a picture and its words changes: what was kept is then read anew


def version(reading: Reading) -> str:
    """Names and versions of all that may read a page under these settings, for the key of what is kept.

    Raises ConfigError where `auto` finds no engine.
    """
    import cv2

    readers = (engine(name, reading.ocr) for name in in_line(reading.ocr))
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
    wanted = reading.cleaning
    ink = look(picture)
    if ink.empty:
        image = layout.small(picture, reading.image)
        return PageRead(
            Words.none(), "none", layout=layout.measures(picture, Words.none(), ink), image=image,
            seconds=time.perf_counter() - begun,
        )  # fmt: skip
    readers = [engine(name, reading.ocr) for name in in_line(reading.ocr)]
    grade = quality(picture, ink)

    def read(upright: np.ndarray, reader: Engine, clean: bool) -> Attempt:
        if clean:
            upright = cleaned(upright, reading, ink.letter_height)
        fit = cleaning.fitted(upright, ink.letter_height)
        return Attempt(reader.read(fit, reading.ocr.languages), reader, clean)

    first_clean = wanted.keep == "cleaned"
    turn, skew, upright, best = _upright(
        picture, ink, reading, lambda one: read(one, readers[0], first_clean)
    )

    def doubt() -> bool:
        return grade <= reading.ocr.good or not sure(best.words, best.reader, reading.ocr.good)

    if readers[0].name != "none" and doubt():
        if wanted.keep == "surer":
            best = max(best, read(upright, readers[0], True), key=Attempt.worth)
        for reader in readers[1:]:
            if not doubt():
                break
            try:
                best = max(best, read(upright, reader, best.cleaned), key=Attempt.worth)
            except DataError as error:
                log.warning("%s: the words of %s are kept", error.what, best.reader.name)
    seen = look(upright)
    return PageRead(
        best.words, best.reader.name, grade, turn, skew, best.cleaned,
        layout.measures(upright, best.words, seen), layout.small(upright, reading.image),
        time.perf_counter() - begun,
    )  # fmt: skip


@dataclass(frozen=True)
class Attempt:
    """What one engine made of one picture."""

    words: Words
    reader: Engine
    cleaned: bool

    def worth(self) -> float:
        return worth(self.words, self.reader)


def cleaned(picture: np.ndarray, reading: Reading, letter_height: float) -> np.ndarray:
    """The picture with contrast, denoising and binarisation as they are asked for."""
    wanted = reading.cleaning
    if wanted.contrast:
        picture = cleaning.contrasted(picture)
    if wanted.denoise:
        picture = cleaning.denoised(picture)
    return cleaning.binarised(picture, letter_height) if wanted.binarise else picture


def _upright(
    picture: np.ndarray, ink, reading: Reading, read: Callable[[np.ndarray], Attempt]
) -> tuple[int, float, np.ndarray, Attempt]:
    """Turn the page by degrees clockwise, straighten it, and read it: the likeliest way first.

    How its lines run says whether it lies on its side, its letters' tops whether it stands on its head; where
    what is then read is not sure, the other way is read too, and the surer one stays.
    """
    sideways, skew = cleaning.lines_of(ink)
    if not reading.cleaning.orient:
        sideways = False
    if not reading.cleaning.deskew or abs(skew) < cleaning.FINEST:
        skew = 0.0

    def stood(turn: int) -> np.ndarray:
        one = cleaning.turned(picture, turn)
        return cleaning.straightened(one, skew) if skew else one

    turn = 90 if sideways else 0
    upright = stood(turn)
    if not reading.cleaning.orient:
        return turn, skew, upright, read(upright)
    hint = cleaning.head_up(look(upright).letters)
    if hint < 0:
        turn, upright = turn + 180, cleaning.turned(upright, 180)
    best = read(upright)
    if best.reader.name != "none" and not sure(best.words, best.reader, reading.ocr.good):
        other = read(cleaning.turned(upright, 180))
        if other.worth() > best.worth():
            turn, upright, best = (turn + 180) % 360, cleaning.turned(upright, 180), other
    return turn, skew, upright, best
