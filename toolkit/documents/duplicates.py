"""Near duplicates: documents that are the same but for the file that holds them, or a word here and there.

Texts by MinHash (Broder, 1997) of their runs of three words, found by locality-sensitive hashing and then
compared; documents of few words by the difference hash of their pages' pictures.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd

RUN = 3  # words
HASHES, BAND = 128, 4
ALIKE = 0.8  # share of runs of words that two texts have in common, from which they are twins
FEW = 20  # words; with fewer, the pictures must be alike too
SIDE = 16  # a picture's hash has 16 × 16 bits
DIFFER = 10  # bits in which the pictures of one page may differ
FLAT = 2.0  # standard deviation of grey below which a picture shows nothing
PAGES = 3  # whose pictures are compared
MOST = 200  # documents that are compared with one
WORD = re.compile(r"\w+")

_seeds = np.random.default_rng(20_000)
_FACTORS = _seeds.integers(1, 2**63, HASHES, np.uint64) | np.uint64(1)
_SHIFTS = _seeds.integers(0, 2**63, HASHES, np.uint64)


@dataclass(frozen=True)
class Print:
    """What a document is known by. content: hash of its bytes, or text; words: how many; text: hash of its words
    as they stand; runs: uint32 [hashes], or None without enough words; pictures: bool [pages, bits] or None."""

    content: str
    words: int
    text: int
    runs: np.ndarray | None
    pictures: np.ndarray | None


def fingerprint(content: str, text: str, pictures: Iterable[np.ndarray]) -> Print:
    """The print of a document. pictures: uint8 [height, width] of its first pages, which
    are looked at where words are few."""
    words = WORD.findall(text.lower())
    codes = pd.util.hash_array(np.array(words, object), categorize=False) if words else np.zeros(0, np.uint64)
    whole = int(_mixed(codes)[-1]) if words else 0
    runs = min_hash(codes) if len(words) >= FEW else None
    seen = islice(pictures, PAGES) if runs is None else ()
    bits = [hashed for picture in seen if (hashed := difference_hash(picture)) is not None]
    return Print(content, len(words), whole, runs, np.stack(bits) if bits else None)


def _mixed(codes: np.ndarray) -> np.ndarray:
    """A hash of everything up to each place [words]."""
    odd = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        return np.cumsum(
            codes * (np.arange(len(codes), dtype=np.uint64) * np.uint64(2) + odd), dtype=np.uint64
        )


def min_hash(codes: np.ndarray) -> np.ndarray:
    """uint32 [hashes]: the share of equal ones is the share of runs of words that two texts have in common.

    codes: uint64 [words].
    """
    with np.errstate(over="ignore"):
        runs = np.zeros(max(len(codes) - RUN + 1, 1), np.uint64)
        for step in range(RUN):
            runs = (runs ^ codes[step : step + len(runs)]) * np.uint64(0xFF51AFD7ED558CCD)
            runs ^= runs >> np.uint64(33)
        least = np.full(HASHES, np.iinfo(np.uint32).max, np.uint32)
        for part in np.array_split(np.unique(runs), len(runs) // 4096 + 1):  # a long text in pieces
            dealt = (part[None, :] * _FACTORS[:, None] + _SHIFTS[:, None]) >> np.uint64(32)
            least = np.minimum(least, dealt.min(axis=1).astype(np.uint32))
        return least


def difference_hash(picture: np.ndarray) -> np.ndarray | None:
    """bool [bits]: is each of 16 × 16 fields darker than the one to its right? None of a picture that shows nothing."""
    import cv2

    if float(picture.std()) < FLAT:
        return None
    fields = cv2.resize(picture, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    return (fields[:, :-1] + 1 < fields[:, 1:]).ravel()


def groups(prints: Sequence[Print]) -> np.ndarray:
    """For each document the first one of its group, int64 [documents]; its own number if it has no twin."""
    parent = np.arange(len(prints))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = int(parent[one])
        return one

    def join(pairs: Iterable[tuple[int, int]]) -> None:
        for a, b in pairs:
            first, second = sorted((root(a), root(b)))
            parent[second] = first

    join(_equal(each.content for each in prints))
    join(_alike_in_text(prints))
    join(_alike_in_looks(prints))
    join(_equal(each.text if 0 < each.words < FEW and each.pictures is None else None for each in prints))
    return np.array([root(one) for one in range(len(prints))], np.int64)


def _equal(marks: Iterable[str | int | None]) -> Iterator[tuple[int, int]]:
    first: dict[str | int, int] = {}
    for number, mark in enumerate(marks):
        if mark is not None:
            yield first.setdefault(mark, number), number


def _alike_in_text(prints: Sequence[Print]) -> Iterator[tuple[int, int]]:
    numbers = [number for number, each in enumerate(prints) if each.runs is not None]
    if numbers:
        hashes = np.stack([each.runs for each in prints if each.runs is not None])
        bands = hashes.reshape(len(hashes), -1, BAND)
        for a, b in _near(hashes, bands, round(HASHES * (1 - ALIKE))):
            yield numbers[a], numbers[b]


def _alike_in_looks(prints: Sequence[Print]) -> Iterator[tuple[int, int]]:
    """Documents of few words whose first pages, as many of each, look alike, and say the same."""
    by: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for number, each in enumerate(prints):
        if each.pictures is not None and each.words < FEW:
            by[len(each.pictures), each.text].append(number)
    for (pages, _), numbers in by.items():
        bits = np.stack([prints[number].pictures for number in numbers])  # type: ignore[misc]
        bits = bits.reshape(len(numbers), -1)
        # Of more bands than bits may differ, one at least is equal in all pairs that are near.
        bands = bits[:, : SIDE * SIDE].reshape(len(numbers), SIDE, SIDE)
        for a, b in _near(bits, bands, DIFFER * pages):
            yield numbers[a], numbers[b]


def _near(marks: np.ndarray, bands: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Pairs whose marks [documents, n] differ in `most` places at most, among those with a band in common.

    bands: [documents, bands, m]. Of a group that is alike, each is compared with the first ones only.
    """
    for band in range(bands.shape[1]):
        buckets: defaultdict[bytes, list[int]] = defaultdict(list)
        for number, mark in enumerate(bands[:, band]):
            buckets[mark.tobytes()].append(number)
        for bucket in buckets.values():
            others: list[int] = []  # no two of them near each other
            for number in bucket:
                if others:
                    apart = (marks[others[-MOST:]] != marks[number]).sum(axis=1)
                    if (near := int(apart.argmin())) is not None and apart[near] <= most:
                        yield others[-MOST:][near], number
                        continue
                others.append(number)
