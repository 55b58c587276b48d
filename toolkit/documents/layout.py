"""How a page looks, in a few numbers, and its small picture."""

from __future__ import annotations

import numpy as np

from toolkit.config.reading import PageImage
from toolkit.documents.ink import Ink, look
from toolkit.documents.page import Words

ROWS, COLUMNS = 4, 3
NAMES = (
    *(f"ink_{row}_{column}" for row in range(1, ROWS + 1) for column in range(1, COLUMNS + 1)),
    "words",
    "lines",
    "text_height",
    "text_height_spread",
    "large_text",
    "line_spacing",
    "margin_left",
    "margin_right",
    "rules_across",
    "rules_down",
    "signatures",
    "digits",
    "capitals",
)


def measures(picture: np.ndarray, words: Words, ink: Ink | None = None) -> dict[str, float]:
    """The numbers of NAMES, all finite. picture: uint8 [height, width], upright; ink: if it was looked for already.

    ink_row_column: share of ink in each of 4 × 3 parts of the page; words, lines: how many; text_height: mean
    height of words as a share of the page's, _spread its standard deviation; large_text: share of letters in
    words over 1.5 times the median height; line_spacing: median distance of lines, as a share of the page's
    height; margins: from the page's edge to where nearly all words begin and end, as shares of its width;
    rules: straight lines of ink longer than a tenth of the page; signatures: large connected strokes in the
    page's lower half where no words stand; digits, capitals: shares of the letters and digits.
    """
    ink = ink or look(picture)
    return dict(
        zip(
            NAMES,
            (float(value) for value in (*_grid(ink), *_type(words), *_strokes(ink, words))),
            strict=True,
        )
    )


def small(picture: np.ndarray, size: PageImage) -> np.ndarray:
    """uint8 [size.height, size.width]: the whole picture, its proportions kept, in the middle of white."""
    import cv2

    height, width = picture.shape
    scale = min(size.height / height, size.width / width)
    tall, wide = max(1, int(height * scale)), max(1, int(width * scale))
    canvas = np.full((size.height, size.width), 255, np.uint8)
    top, left = (size.height - tall) // 2, (size.width - wide) // 2
    canvas[top : top + tall, left : left + wide] = cv2.resize(
        picture, (wide, tall), interpolation=cv2.INTER_AREA
    )
    return canvas


def _grid(ink: Ink) -> list[float]:
    return [
        part.mean() if part.size else 0.0
        for band in np.array_split(ink.mask, ROWS, axis=0)
        for part in np.array_split(band, COLUMNS, axis=1)
    ]


def _type(words: Words) -> list[float]:
    """What the words say of the page's type: from `words` to `margin_right`; without words, zeros."""
    if not len(words):
        return [0.0] * 8
    left, top, right, bottom = words.boxes.astype(np.float64).T
    height = bottom - top
    letters = np.array([len(word) for word in words.text], np.float64)
    large = letters[height > 1.5 * np.median(height)].sum() / letters.sum()
    numbers = np.unique(words.line)
    middles = np.sort([((top + bottom) / 2)[words.line == number].mean() for number in numbers])
    spacing = np.median(np.diff(middles)) if len(middles) > 1 else 0.0
    return [
        len(words), len(numbers), height.mean(), height.std(), large, spacing,
        np.quantile(left, 0.02), 1 - np.quantile(right, 0.98),
    ]  # fmt: skip


def _strokes(ink: Ink, words: Words) -> list[float]:
    """From `rules_across` to `capitals`."""
    import cv2

    mask = ink.mask.astype(np.uint8)
    height, width = mask.shape
    long_across, long_down = max(20, width // 10), max(20, height // 10)
    # Closing by two pixels first: a scanned rule is never quite straight.
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((2, 2), np.uint8))
    across = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((1, long_across), np.uint8))
    down = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((long_down, 1), np.uint8))
    rules = [
        cv2.connectedComponents(cv2.dilate(part, np.ones((3, 3), np.uint8)))[0] - 1 for part in (across, down)
    ]
    ruled = cv2.dilate(cv2.max(across, down), np.ones((3, 3), np.uint8))
    rest = np.where(ruled > 0, np.uint8(0), mask)
    for left, top, right, bottom in words.boxes:
        rest[
            int(top * height) : int(np.ceil(bottom * height)), int(left * width) : int(np.ceil(right * width))
        ] = 0
    rest[: height // 2] = 0
    _, _, pieces, _ = cv2.connectedComponentsWithStats(cv2.dilate(rest, np.ones((3, 3), np.uint8)))
    wide, tall, area = pieces[1:, 2], pieces[1:, 3], pieces[1:, 4]
    drawn = (wide > width * 0.06) & (tall > height * 0.012) & (wide < width * 0.6) & (tall < height * 0.2)
    thin = area < 0.4 * wide * tall
    said = [letter for word in words.text for letter in word if letter.isalnum()]
    shares = [sum(map(kind, said)) / len(said) if said else 0.0 for kind in (str.isdigit, str.isupper)]
    return [*rules, int((drawn & thin).sum()), *shares]
