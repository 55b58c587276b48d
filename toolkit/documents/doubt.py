"""How far what was read is to be believed, on one scale for all engines."""

from __future__ import annotations

import re

import numpy as np

from toolkit.documents.engines import Engine
from toolkit.documents.ink import Ink
from toolkit.documents.page import Words

_EDGES = "\"'“”‘’«»()[]{}<>.,;:!?…*•-–—_/|"
_NUMBER = re.compile(r"[#$€£+-]?\d[\d.,:/%°-]*(st|nd|rd|th|[A-Za-z])?")
_CODE = re.compile(r"[A-Z0-9]+([-./:#&][A-Z0-9]+)*")
_VOWELS = re.compile(r"[aeiouyàáâãäåæèéêëìíîïòóôõöøœùúûüýÿ]", re.IGNORECASE)
_HEAP = re.compile(r"[bcdfghjklmnpqrstvwxz]{6,}|(.)\1\1", re.IGNORECASE)


def plausible(word: str) -> bool:
    """Could this be a word, a number or a code? By its form alone: no dictionary, any Latin language.

    Letters of scripts without capitals are taken as they are.
    """
    core = word.strip(_EDGES)
    if not core:
        return len(word) == 1 or set(word) <= set("-–—_.•*")
    if _NUMBER.fullmatch(core):
        return True
    if "@" in core or "://" in core or core.lower().startswith("www."):
        return True
    parts = [part for part in re.split(r"[-–'’/&.]", core) if part]
    return all(_form(part) or len(part) == 1 < len(parts) for part in parts) or bool(
        any(letter.isdigit() for letter in core) and _CODE.fullmatch(core)
    )


def _form(part: str) -> bool:
    """One run of letters or digits: lower, Title or CAPITALS, with a vowel if it is long, no heap of consonants."""
    if part.isdigit():
        return True
    if not part.isalpha():
        return False
    if len(part) == 1:
        return part in "aAIiOo" or part.isupper() or not part.isascii()
    cased = part.islower() or part.isupper() or part.istitle() or part[:2] in ("Mc", "De", "La")
    if not (cased or part.lower() == part.upper()):
        return False
    if not part.isascii():
        return True
    return (part.isupper() and len(part) <= 5) or (bool(_VOWELS.search(part)) and not _HEAP.search(part))


def chance(words: Words, reader: Engine) -> np.ndarray:
    """float64 [words]: how likely each word is right, whatever engine read it.

    What the engine's confidence means (`Engine.chance`), and a third of that for a form that no word has.
    """
    form = np.array([1.0 if plausible(word) else 1 / 3 for word in words.text])
    return reader.chance(words.confidence.astype(np.float64)) * form


def worth(words: Words, reader: Engine) -> float:
    """Letters that are likely right, less a quarter of those that are likely wrong.

    Of two readings of a page, more is better: half a page of right words beats none, and noise is worth nothing.
    """
    right = chance(words, reader)
    return float((_letters(words) * (right - (1 - right) / 4)).sum())


def sureness(words: Words, reader: Engine) -> float:
    """Mean chance of the words to be right, by their letters; 0 without words."""
    letters = _letters(words)
    return float(np.average(chance(words, reader), weights=letters)) if letters.sum() else 0.0


def covered(words: Words, ink: Ink) -> float:
    """Share of a page's letters that lie in a word that was read; 1 where there are no letters.

    An engine is sure of what it read, and silent on what it did not see.
    """
    if not len(ink.letters):
        return 1.0
    height, width = ink.mask.shape
    inside = np.zeros((height, width), bool)
    for left, top, right, bottom in words.boxes:
        inside[
            max(0, int(top * height) - 2) : int(bottom * height) + 3,
            max(0, int(left * width) - 2) : int(right * width) + 3,
        ] = True
    x, y, wide, tall = ink.letters.T
    return float(inside[y + tall // 2, x + wide // 2].mean())


def _letters(words: Words) -> np.ndarray:
    return np.array([len(word) for word in words.text], np.float64)
