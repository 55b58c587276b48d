"""How well each engine reads simulated pages, by kind of damage, and what a page costs.

    python tests/benchmarks/ocr_accuracy.py [pages of each kind] [engines, such as tesseract,rapidocr]

Pages are drawn as in the world of documents, of all types in turn, at 200 dpi, each kind of damage at strengths spread
evenly over its range; every kind and engine sees the same pages. Compared are words in lower case without punctuation.
`in order`: 1 - edit distance of the words / words printed (wrong, missing and added words count, and so do tables read
by column where they are printed by row); `at all`: share of the printed words that were read, wherever they stand.
Seconds are CPU seconds of one thread, children (tesseract) included. Faxes get square dots first, as a reader of files
gives them.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from common import machine

from toolkit.config.reading import Ocr, Reading
from toolkit.documents.recognise import recognise
from toolkit.simulate import documents_files, documents_kinds, documents_layouts
from toolkit.simulate.documents_damage import FAX_DPI, KINDS
from toolkit.simulate.documents_template import Template

DPI = 200


def folded(text: str) -> list[str]:
    """Words in lower case, letters and digits only; what has none is no word."""
    words = ("".join(sign for sign in word if sign.isalnum()) for word in text.lower().split())
    return [word for word in words if word]


def edits(read: list[str], printed: list[str]) -> int:
    """Levenshtein distance of two lists of words."""
    row = np.arange(len(printed) + 1)
    names = {word: number for number, word in enumerate({*read, *printed})}
    wanted = np.array([names[word] for word in printed])
    steps = np.arange(len(printed) + 1)
    for number, word in enumerate(read, start=1):
        best = np.empty_like(row)
        best[0] = number
        best[1:] = np.minimum(row[:-1] + (wanted != names[word]), row[1:] + 1)
        row = np.minimum.accumulate(best - steps) + steps  # words left out on the way
    return int(row[-1])


def cpu() -> float:
    return sum(used.ru_utime + used.ru_stime for used in map(getrusage, (RUSAGE_SELF, RUSAGE_CHILDREN)))


@dataclass
class Tally:
    words: int = 0
    wrong: int = 0
    found: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, read: list[str], printed: list[str], seconds: float) -> None:
        self.words += len(printed)
        self.wrong += edits(read, printed)
        self.found += (Counter(read) & Counter(printed)).total()
        self.seconds.append(seconds)

    def cells(self) -> list[str]:
        order, found = 1 - self.wrong / self.words, self.found / self.words
        return [f"{order:.3f}", f"{found:.3f}", f"{np.mean(self.seconds):.2f}", f"{np.max(self.seconds):.2f}"]


def pages(count: int) -> list[tuple[np.ndarray, list[str]]]:
    """Pages at 200 dpi, grey, and the words printed on them."""
    rng = random.Random("ocr accuracy")
    found = []
    for turn in range(count):
        kinds = documents_kinds.kinds()
        kind = list(kinds)[turn % len(kinds)]
        template = Template.draw(kind, rng.randrange(len(kinds[kind].forms)))
        pdf, printed, _ = documents_layouts.draw(template, rng)
        found.append((documents_files.pictures(pdf, DPI, [0])[0], folded("\n".join(printed[0].lines))))
    return found


def spoilt(page: np.ndarray, kind: str, strength: float, seed: int) -> np.ndarray:
    """The page as a reader of files would hand it on: grey, with square dots."""
    import cv2

    found = KINDS[kind](page.copy(), DPI, strength, np.random.default_rng(seed))
    if found.ndim == 3:
        return cv2.cvtColor(found, cv2.COLOR_RGB2GRAY)
    if kind == "fax":
        height, width = page.shape
        return cv2.resize(
            found, (width * FAX_DPI // DPI, height * FAX_DPI // DPI), interpolation=cv2.INTER_LINEAR
        )
    return found


def main(count: int, engines: list[str]) -> None:
    drawn = pages(count)
    print(machine(), f"{count} pages of each kind of damage, {sum(len(words) for _, words in drawn):,} words")
    print(
        "| engine | damage | in order | at all | CPU s a page | most |\n|---|---|---|---|---|---|", flush=True
    )
    for engine in engines:
        reading = Reading(ocr=Ocr(engine=engine))  # type: ignore[arg-type]
        recognise(drawn[0][0], reading)  # models are loaded
        begun, seconds = time.perf_counter(), 0.0
        for kind in KINDS:
            tally = Tally()
            for number, (page, printed) in enumerate(drawn):
                picture = spoilt(page, kind, (number + 0.5) / count, number)
                before = cpu()
                read = recognise(picture, reading)
                tally.add(folded(read.words.plain()), printed, cpu() - before)
            seconds += sum(tally.seconds)
            print(f"| {engine} | {kind} | {' | '.join(tally.cells())} |", flush=True)
        wall = time.perf_counter() - begun
        print(f"\n{engine}: {seconds / len(KINDS) / count:.2f} CPU s a page; {wall:.0f} s by the clock\n")


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 9,
        sys.argv[2].split(",") if len(sys.argv) > 2 else ["tesseract", "rapidocr"],
    )
