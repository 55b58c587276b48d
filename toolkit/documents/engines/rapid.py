"""RapidOCR: PaddleOCR's networks for finding and reading lines, run by onnxruntime on one thread.

Its models lie in the wheel. The library would download any that is missing; it is given the paths of those
that are there, so it never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.documents.page import Words
from toolkit.errors import ConfigError, DataError

LINES_SIDE = 960  # longest side, in pixels, of the picture in which lines are looked for
SQUEEZE = 0.75  # width is what reading a line costs, and letters need less of it than of height


@cache
def models() -> tuple[Path, Path] | None:
    """Files of the network that finds lines and of the one that reads them, if they are installed."""
    if any(find_spec(name) is None for name in ("rapidocr", "onnxruntime", "cv2")):
        return None
    spec = find_spec("rapidocr")
    folder = Path(spec.origin).parent / "models" if spec and spec.origin else Path()
    finding, reading = (sorted(folder.glob(f"*[_-]{kind}[_-]*.onnx")) for kind in ("det", "rec"))
    return (finding[-1], reading[-1]) if finding and reading else None


@cache
def _reader() -> Any:
    """The loaded networks: a quarter of a second, once per process."""
    files = models()
    if files is None:
        raise ConfigError(
            "rapidocr is not installed, or its wheel came without models",
            where="documents.reading.ocr.engine",
            fix="pip install 'toolkit[documents]'; or install tesseract and say ocr.engine=tesseract",
        )
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_cls": False,
            "Global.max_side_len": 4000,
            "Det.model_path": str(files[0]),
            "Det.limit_type": "max",
            "Det.limit_side_len": LINES_SIDE,
            "Rec.model_path": str(files[1]),
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


class Rapid:
    """https://github.com/RapidAI/RapidOCR"""

    name = "rapidocr"

    @property
    def version(self) -> str:
        files = models()
        return f"{version('rapidocr')} {files[1].stem}" if files else "absent"

    def chance(self, confidence: np.ndarray) -> np.ndarray:
        return 0.98 * np.sqrt(confidence)  # of words of 0.5 to 0.9 nine in ten are right, of others 98 in 100

    def read(self, picture: np.ndarray, languages: Sequence[str]) -> Words:
        """The languages are those of its model (Latin and Chinese letters, digits); the names are not looked at."""
        import cv2

        reader = _reader()
        height, width = picture.shape
        size = (max(1, round(width * SQUEEZE)), height)
        squeezed = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        try:
            found = reader(cv2.cvtColor(squeezed, cv2.COLOR_GRAY2BGR), return_word_box=True)
        except Exception as error:
            raise DataError(
                "rapidocr could not read a page", why=str(error).strip().splitlines()[-1]
            ) from error
        if getattr(found, "txts", None) is None or found.boxes is None or not len(found.boxes):
            return Words.none()
        return as_words(found.txts, found.scores, found.boxes, found.word_results, size[0], height)


def as_words(
    texts: Sequence[str],
    scores: Sequence[float],
    boxes: np.ndarray,
    pieces: Sequence[Any],
    width: int,
    height: int,
) -> Words:
    """Lines as words: each line's text parted at its blanks, its box by its letters.

    boxes: [lines, 4, 2] corners in pixels of a picture of that size. pieces: per line, (text, confidence,
    corners) of what the network thought to be words, or nothing; where they spell the line, they say how
    sure each word is.
    """
    quads = np.asarray(boxes, np.float64).reshape(-1, 4, 2) / (width, height)
    left, top, right, bottom = (
        edge(quads[..., axis], axis=1) for edge, axis in ((np.min, 0), (np.min, 1), (np.max, 0), (np.max, 1))
    )
    text, place, sure, line = [], [], [], []
    for index, said in enumerate(texts):
        letters = _letters(said, pieces[index] if index < len(pieces or ()) else ()) or [scores[index]] * len(
            said.replace(" ", "")
        )
        across = (right[index] - left[index]) / max(len(said), 1)
        at = taken = 0
        for word in said.split(" "):
            if word.strip():
                text.append(word)
                begin = left[index] + at * across
                place.append((begin, top[index], begin + len(word) * across, bottom[index]))
                sure.append(float(np.mean(letters[taken : taken + len(word)])))
                line.append(index)
                taken += len(word)
            at += len(word) + 1
    return Words.of(text, place, sure, line)


def _letters(said: str, pieces: Sequence[Any]) -> list[float] | None:
    """Confidence of each letter of a line, if the pieces spell it."""
    letters = [float(piece[1]) for piece in pieces or () for _ in piece[0]]
    spelt = "".join(piece[0] for piece in pieces or ())
    return letters if spelt and spelt == said.replace(" ", "") else None
