"""Texts as numbers by a declared lexicon: words, what turns their sign round, and patterns.

    SENTIMENT: {of: text, lexicon: {great: 1, bad: -1}, negations: [not], patterns: {":[)]": 1}}

    "great"  1     "not great"  -1     "not now. great"  1     "so-so"  0     ""  missing

The method is that of rule-based sentiment (Hutto & Gilbert 2014, VADER) in its simplest form. Words are data. All
regular expressions are RE2's, whose time grows with the text's length and no faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.config.text import TextScore
from toolkit.data.engine import Engine

STOP = "."  # where a sentence, or a part of one, ends
STOPS = r"[.!?;:,…。！？\n]+"
BETWEEN = r"[^\p{L}\p{M}\p{N}_'.]+"


@contextmanager
def functions(scores: dict[str, TextScore], engine: Engine) -> Iterator[dict[str, str]]:
    """Score → the function that the engine has for it inside the block, from a text to a number."""
    names = {score: f"text_score_{number}" for number, score in enumerate(scores)}
    for score, name in names.items():
        engine.add_function(name, scorer(scores[score]))
    try:
        yield names
    finally:
        for name in names.values():
            engine.remove_function(name)


def scorer(node: TextScore) -> Callable[[pa.Array], pa.Array]:
    """A function from texts [rows] to numbers [rows]; missing for a missing text and one of blanks only."""
    words = _plain(node.lexicon)
    weights = np.array([*node.lexicon.values(), 0.0])
    negations = _plain(node.negations)

    def score(texts: pa.Array) -> pa.Array:
        if isinstance(texts, pa.ChunkedArray):
            texts = texts.combine_chunks()
        total, found = np.zeros(len(texts)), np.zeros(len(texts))
        if node.lexicon:
            total, found = _by_words(texts, words, weights, negations, node.reach)
        for pattern, weight in node.patterns.items():
            matches = pc.count_substring_regex(texts, pattern=pattern)
            count = pc.fill_null(matches, 0).to_numpy(zero_copy_only=False)
            total, found = total + weight * count, found + count
        value = total / np.maximum(found, 1) if node.combine == "mean" else total
        if node.combine == "clipped":
            value = np.clip(value, -1, 1)
        empty = pc.fill_null(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0), True)
        missing = empty.to_numpy(zero_copy_only=False)
        if node.neutral is None:
            missing = missing | (found == 0)
        else:
            value = np.where(found == 0, node.neutral, value)
        return pa.array(value, pa.float64(), mask=missing)

    return score


def _by_words(
    texts: pa.Array, words: pa.Array, weights: np.ndarray, negations: pa.Array, reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """What the known words of each text weigh together, and how many there are: float64 [rows] each.

    words: those of the lexicon; weights: theirs, and a zero [words + 1].
    """
    marked = pc.replace_substring_regex(_lower(texts), pattern=STOPS, replacement=f" {STOP} ")
    cut = pc.split_pattern_regex(pc.fill_null(marked, ""), pattern=BETWEEN)
    row = pc.list_parent_indices(cut).to_numpy(zero_copy_only=False)
    parts = pc.utf8_trim(pc.list_flatten(cut), "'")
    place = pc.index_in(parts, value_set=words).fill_null(len(words)).to_numpy(zero_copy_only=False)
    weight, known = weights[place], place < len(words)
    if len(negations):
        denies = pc.is_in(parts, value_set=negations).to_numpy(zero_copy_only=False)
        sentence = np.cumsum(pc.equal(parts, STOP).to_numpy(zero_copy_only=False))
        turned = np.zeros(len(row), bool)
        for back in range(1, min(reach, len(row) - 1) + 1):
            same = (row[back:] == row[:-back]) & (sentence[back:] == sentence[:-back])
            turned[back:] |= denies[:-back] & same
        weight = np.where(turned, -weight, weight)
    return (
        np.bincount(row, weight, minlength=len(texts)),
        np.bincount(row[known], minlength=len(texts)).astype(np.float64),
    )


def _plain(words: Iterable[str]) -> pa.Array:
    return _lower(pa.array(list(words), pa.string()))


def _lower(texts: pa.Array) -> pa.Array:
    """Small letters, composed, with straight apostrophes: `Don’t` is `don't`."""
    lower = pc.utf8_lower(pc.utf8_normalize(texts, form="NFC"))
    return pc.replace_substring(lower, pattern="’", replacement="'")
