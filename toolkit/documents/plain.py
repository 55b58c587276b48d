"""Plain text: Unicode or cp1252, pages parted by form feeds, words in the order in which they are written."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.config.reading import Limits, Reading
from toolkit.documents.opening import READ, Held, RejectedError, allowed_pages
from toolkit.documents.page import Words

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
         codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip
CONTROLS = re.compile("[\0-\x08\x0e-\x1f\x7f]")
PAGE = "\f"


@dataclass(frozen=True)
class Plain:
    """An open text. texts: of its pages."""

    texts: list[str]

    @property
    def pages(self) -> int:
        return len(self.texts)

    def page(self, index: int, reading: Reading) -> Held:
        text = self.texts[index]
        return Held(words_of(text), text)


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[Plain]:
    texts = pages_of(decoded(path.read_bytes()))
    yield Plain(texts[: allowed_pages(len(texts), limits)])


def decoded(data: bytes) -> str:
    """Bytes as a text: UTF-8 or UTF-16 by their mark, UTF-8 if they are it, else cp1252."""
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError:
                raise RejectedError("is cut off or damaged") from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    if CONTROLS.search(text.replace("\x1b", "")):
        raise RejectedError(f"is not {READ}")
    return text


def pages_of(text: str) -> list[str]:
    """A text's pages; a form feed at its very end begins none."""
    return text.removesuffix(PAGE).split(PAGE)


def words_of(text: str) -> Words:
    """The words of a text. They stand nowhere: their boxes are NaN."""
    words: list[str] = []
    lines: list[int] = []
    for number, line in enumerate(text.splitlines()):
        found = line.split()
        words += found
        lines += [number] * len(found)
    boxes = np.full((len(words), 4), np.nan, np.float32)
    return Words(tuple(words), boxes, np.ones(len(words), np.float32), np.array(lines, np.int32))
