"""How far what was read is to be believed, on one scale for all engines."""

from __future__ import annotations

import re

import numpy as np

from toolkit.documents.engines import Engine
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
    parts = re.split(r"[-–'’/&.]", core)
    return all(_form(part) for part in parts if part) or bool(
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
    """float64 [words]: how likely each word is right. Confidences of engines are on scales of their own: each is
    raised to its engine's `steep`, and a word of a form that no word has counts a third."""
    form = np.array([1.0 if plausible(word) else 1 / 3 for word in words.text])
    return words.confidence.astype(np.float64) ** reader.steep * form


def worth(words: Words, reader: Engine) -> float:
    """Letters that are likely right less those that are likely wrong: more is better on the same page."""
    letters = np.array([len(word) for word in words.text], np.float64)
    right = chance(words, reader)
    return float((letters * (right - (1 - right))).sum())


def sure(words: Words, reader: Engine, good: float) -> bool:
    """Is the mean chance of the words, by their letters, at least `good`? Not without words."""
    letters = np.array([len(word) for word in words.text], np.float64)
    return bool(letters.sum()) and float(np.average(chance(words, reader), weights=letters)) >= good
