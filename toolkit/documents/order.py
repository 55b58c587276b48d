"""The order in which words are read: cells beside each other by row, columns of prose one after the other.

Engines disagree: tesseract takes tables without rules for columns, rapidocr gives lines wherever they stand.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np

from toolkit.documents.page import Words

LONG, MANY = 25, 3  # letters of a line of prose, and how many such lines make a column
GUTTER = 0.5  # heights of a line that columns are apart at least


@dataclass(frozen=True)
class Lines:
    """Lines as an engine found them, their boxes in heights of the page, and how many letters they have [lines]."""

    left: np.ndarray
    right: np.ndarray
    middle: np.ndarray
    height: np.ndarray
    letters: np.ndarray


def in_order(words: Words, aspect: float) -> Words:
    """The words of an upright, straight page as they are read; lines beside each other in a row become one line.

    aspect: the page's width / height. Scripts that are written from right to left stay as they came.
    """
    if len(words) < 2 or _right_to_left(words):
        return words
    _, line = np.unique(words.line, return_inverse=True)
    lines = _lines(words, line, aspect)
    rows = _ordered(list(range(len(lines.left))), lines)
    row, place = np.empty(len(lines.left), int), np.empty(len(lines.left), int)
    for number, members in enumerate(rows):
        row[members] = number
        place[members] = range(len(members))
    order = np.lexsort((np.arange(len(words)), place[line], row[line]))
    return Words(
        tuple(words.text[index] for index in order),
        words.boxes[order],
        words.confidence[order],
        row[line][order].astype(np.int32),
    )


def _lines(words: Words, line: np.ndarray, aspect: float) -> Lines:
    left, top, right, bottom = words.boxes.astype(np.float64).T
    letters = np.array([len(word) for word in words.text], np.float64)
    each = [np.flatnonzero(line == number) for number in range(line.max() + 1)]
    return Lines(
        np.array([left[one].min() for one in each]) * aspect,
        np.array([right[one].max() for one in each]) * aspect,
        # Medians: a rule or a stroke that was read as a word is as tall as it likes.
        np.array([np.median((top[one] + bottom[one]) / 2) for one in each]),
        np.array([np.median(bottom[one] - top[one]) for one in each]),
        np.array([letters[one].sum() for one in each]),
    )


def rows_of(found: list[int], lines: Lines) -> list[list[int]]:
    """Lines that stand beside each other as rows from top to bottom, each from left to right."""
    rows: list[list[int]] = []
    for index in sorted(found, key=lambda one: lines.middle[one]):
        first = rows[-1][0] if rows else index
        beside = lines.middle[index] - lines.middle[first] < min(lines.height[[index, first]]) / 2
        if rows and beside:
            rows[-1].append(index)
        else:
            rows.append([index])
    return [sorted(row, key=lambda one: lines.left[one]) for row in rows]


def _ordered(found: list[int], lines: Lines) -> list[list[int]]:
    """Rows in the order in which they are read."""
    rows = rows_of(found, lines)
    ordered: list[list[int]] = []
    at = 0
    while at < len(rows):
        if band := _band(rows, at, lines):
            end, left, right = band
            ordered += _ordered(left, lines) + _ordered(right, lines)
            at = end
        else:
            ordered.append(rows[at])
            at += 1
    return ordered


def _band(rows: list[list[int]], start: int, lines: Lines) -> tuple[int, list[int], list[int]] | None:
    """Rows from `start` on that a gutter parts into two columns of prose: where they end, left and right lines."""
    # Columns need not share their baselines: then the next row holds what stands beside this one.
    seen = sorted((one for row in rows[start : start + 2] for one in row), key=lambda one: lines.left[one])
    low = lines.right[seen[0]]
    for one in seen[1:]:
        high = lines.left[one]
        if high - low > GUTTER * lines.height[one] and (found := _parted(rows, start, low, high, lines)):
            return found
        low = max(low, lines.right[one])
    return None


def _parted(
    rows: list[list[int]], start: int, low: float, high: float, lines: Lines
) -> tuple[int, list[int], list[int]] | None:
    sides: tuple[list[int], list[int]] = [], []
    end = start
    for number in range(start, len(rows)):
        row = rows[number]
        parts: tuple[list[int], list[int]] = [], []
        for one in row:
            parts[int(lines.left[one] + lines.right[one] > low + high)].append(one)
        low = max([low, *lines.right[parts[0]]])
        high = min([high, *lines.left[parts[1]]])
        if high - low <= GUTTER * min(lines.height[row]):
            break
        for side, part in zip(sides, parts, strict=True):
            side += part
        end = number + 1
    prose = all(
        (long := lines.letters[side] >= LONG).sum() >= MANY and 2 * lines.letters[side][long].sum() > lines.letters[side].sum()
        for side in sides
    )  # fmt: skip
    return (end, *sides) if prose else None


def _right_to_left(words: Words) -> bool:
    kinds = [unicodedata.bidirectional(letter) for word in words.text for letter in word]
    return sum(kind in ("R", "AL") for kind in kinds) > kinds.count("L")
