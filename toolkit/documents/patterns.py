"""Declared patterns in many texts at once: RE2, whose time grows with a text's length whatever the pattern.

A pattern is RE2 as pyarrow has it, with two conveniences: a blank outside of brackets stands for a blank, a gap
between cells or a line break (in brackets for a blank alone), and round brackets capture nothing. Cue words are plain: `Loan No.` is found in any case, however its
blanks are broken, and `…` in one stands for up to 80 characters.

    expression(r"[A-Z]\\w+", after=["between … and"])

Every place is marked by one replacement over the whole column of texts, and read from the marked text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

GAP = r"(?s:.{1,80}?)"  # what `…` in a cue stands for
BETWEEN = r"[\s:#.,;\"'“”()_=]*"  # what may stand between a cue and what it announces
FIRST, SECOND, THIRD, LAST = "\x01", "\x02", "\x03", "\x04"
MARKED = re.compile(f"{FIRST}([^{SECOND}]*){SECOND}([^{THIRD}]*){THIRD}([^{LAST}]*){LAST}")
CONTROL = r"[\x00-\x1f\x7f]"  # no word has one, so that marks are marks
NOTHING = "\ufffd"
TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\((?!\?)|\(\?P?<\w+>| ", re.DOTALL)


@dataclass(frozen=True)
class Spans:
    """Where a pattern was found: text, first character, the one behind the last; int64 [found] each, rising."""

    row: np.ndarray
    start: np.ndarray
    end: np.ndarray


def plain(pattern: str) -> str:
    """The pattern as RE2 gets it: blanks that may be line breaks, brackets that capture nothing."""

    def changed(found: re.Match[str]) -> str:
        token = found[0]
        return r"\s" if token == " " else "(?:" if token.startswith("(") else token

    return TOKEN.sub(changed, pattern)


def expression(match: str, after: Sequence[str] = (), before: Sequence[str] = (), reach: int = 0) -> str:
    """One RE2 of two groups, what leads to a find and the find itself.

    reach: characters that may stand between a cue and the find, besides blanks and punctuation.
    """
    far = f"(?s:.{{0,{reach}}}?)" if reach else ""
    lead = f"{_any(after)}{BETWEEN}{far}" if after else ""
    tail = f"{BETWEEN}{far}{_any(before)}" if before else ""
    return f"({lead})({plain(match)}){tail}"


def _any(cues: Sequence[str]) -> str:
    return f"(?i:{'|'.join(map(_cue, cues))})"


def _cue(cue: str) -> str:
    """A cue that begins and ends in no longer word; nor do its parts."""
    return GAP.join(_edged(part) for part in cue.split("…"))


def _edged(words: str) -> str:
    begin, end = (r"\b" if re.search(edge, words.strip(), re.ASCII) else "" for edge in (r"^\w", r"\w$"))
    return begin + r"\s+".join(map(re.escape, words.split())) + end


def problem(match: str) -> str | None:
    """Why a pattern cannot be used; None if it can."""
    import pyarrow as pa

    try:
        found = find(pa.array([""]), expression(match))
    except pa.ArrowInvalid as error:
        return f"`{match}` is not a regular expression of RE2: {error}"
    return f"`{match}` matches where nothing stands" if len(found.row) else None


def find(texts: pa.Array, expression: str) -> Spans:
    """All places of an `expression` in texts [rows] without control characters but line breaks; none overlap."""
    import pyarrow.compute as pc

    wanted = pc.fill_null(pc.match_substring_regex(texts, pattern=expression), False)
    rows = np.flatnonzero(wanted.to_numpy(zero_copy_only=False))
    marks = f"{FIRST}\\1{SECOND}\\2{THIRD}\\0{LAST}"
    marked = pc.replace_substring_regex(texts.take(rows), pattern=expression, replacement=marks)
    row, start, end = [], [], []
    for place, text in zip(rows.tolist(), marked.to_pylist(), strict=True):
        shift = 0  # characters of the marked text that are not in the text itself
        for found in MARKED.finditer(text):
            lead, value, whole = (found.end(g) - found.start(g) for g in (1, 2, 3))
            at = found.start() - shift + lead
            row.append(place)
            start.append(at)
            end.append(at + value)
            shift += found.end() - found.start() - whole
    return Spans(np.array(row, np.int64), np.array(start, np.int64), np.array(end, np.int64))


def divided(spans: Spans, texts: Sequence[str], words: Sequence[str]) -> Spans:
    """Finds cut where one of some words stands between blanks."""
    if not words:
        return spans
    cut = re.compile(rf"\s+(?:{'|'.join(map(re.escape, words))})\s+", re.IGNORECASE)
    parts = []
    for row, start, end in zip(spans.row.tolist(), spans.start.tolist(), spans.end.tolist(), strict=True):
        for gap in cut.finditer(texts[row], start, end):
            parts.append((row, start, gap.start()))
            start = gap.end()
        parts.append((row, start, end))
    row, start, end = np.array(parts, np.int64).reshape(-1, 3).T
    return Spans(row, start, end)
