"""What is known of a page once it has been read: its words, where they stand, how it looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Words:
    """The words of a page in reading order.

    text: [words]; boxes: float32 [words, 4] left, top, right and bottom as shares of the page's width and
    height; confidence: float32 [words] between 0 and 1 (1: the file itself holds the text); line: int32
    [words], from 0, rising.
    """

    text: tuple[str, ...]
    boxes: np.ndarray
    confidence: np.ndarray
    line: np.ndarray

    def __len__(self) -> int:
        return len(self.text)

    @classmethod
    def none(cls) -> Words:
        return cls((), np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))

    @classmethod
    def of(
        cls,
        text: Sequence[str],
        boxes: Sequence[Sequence[float]],
        confidence: Sequence[float],
        line: Sequence[int],
    ) -> Words:
        """From an engine's lists, one item a word; shares and confidences a little outside 0 to 1 are drawn in."""
        if not text:
            return cls.none()
        return cls(
            tuple(text),
            np.clip(np.array(boxes, np.float32), 0, 1),
            np.clip(np.array(confidence, np.float32), 0, 1),
            np.array(line, np.int32),
        )

    def plain(self) -> str:
        """The words as a text: a blank between words, a line break between lines."""
        parts: list[str] = []
        for index, word in enumerate(self.text):
            parts += ["" if not index else "\n" if self.line[index] != self.line[index - 1] else " ", word]
        return "".join(parts)

    def sureness(self) -> float:
        """Mean confidence, each word by its letters; NaN without words."""
        letters = np.array([len(word) for word in self.text], np.float64)
        return float(np.average(self.confidence, weights=letters)) if letters.sum() else float("nan")


@dataclass(frozen=True)
class PageRead:
    """A page, read.

    engine: what read it (pdf, text, tesseract, rapidocr, textract, none); quality: of the picture, between 0
    and 1, NaN where none was needed; turned: degrees by which it was turned clockwise to stand upright; skew:
    degrees by which it was then straightened; cleaned: do the words come from the cleaned picture?
    layout: name → number; image: uint8 [height, width], small, 255 is white; None where there is none.
    """

    words: Words
    engine: str
    quality: float = float("nan")
    turned: int = 0
    skew: float = 0.0
    cleaned: bool = False
    layout: Mapping[str, float] = field(default_factory=dict)
    image: np.ndarray | None = None
    seconds: float = 0.0
