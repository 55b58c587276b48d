"""Engines that turn a picture into words, behind one seam and looked up by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Protocol

import numpy as np

from toolkit.config.reading import Ocr
from toolkit.documents.page import Words
from toolkit.errors import ConfigError, did_you_mean

LOCAL = ("tesseract", "rapidocr")


class Engine(Protocol):
    """Reads pictures."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Names and numbers of all that decides what it reads: a part of the key of what is kept."""
        ...

    def chance(self, confidence: np.ndarray) -> np.ndarray:
        """[words] how likely words of these confidences are right: engines have scales of their own.

        Drawn by eye through the words of one known page under a dozen kinds of damage (noise, blur, fax, stains,
        faint ink, 80 to 200 dpi): a rough map. Textract's is taken as it is said.
        """
        ...

    def read(self, picture: np.ndarray, languages: Sequence[str]) -> Words:
        """The words of an upright picture uint8 [height, width].

        Raises ConfigError where it is not installed or set up, and DataError where it fails on this picture.
        """
        ...


class Nothing:
    """Reads nothing: pages are pictures."""

    name = "none"
    version = "none"

    def chance(self, confidence: np.ndarray) -> np.ndarray:
        return confidence

    def read(self, picture: np.ndarray, languages: Sequence[str]) -> Words:
        return Words.none()


def engine(name: str, ocr: Ocr) -> Engine:
    """The engine of that name; one that is not installed or set up says so when it is to read."""
    return _engine(name, ocr.region, ocr.endpoint)


@cache
def _engine(name: str, region: str | None, endpoint: str | None) -> Engine:
    if name == "tesseract":
        from toolkit.documents.engines.tesseract import Tesseract

        return Tesseract()
    if name == "rapidocr":
        from toolkit.documents.engines.rapid import Rapid

        return Rapid()
    if name == "textract":
        from toolkit.documents.engines.textract import Textract

        return Textract(region, endpoint)
    if name == "none":
        return Nothing()
    raise ConfigError(
        f"no OCR engine is called `{name}`", fix=did_you_mean(name, (*LOCAL, "textract", "none", "auto"))
    )


def installed(name: str) -> bool:
    """Can this local engine be used here?"""
    if name == "tesseract":
        from toolkit.documents.engines.tesseract import binary

        return binary() is not None
    from toolkit.documents.engines.rapid import models

    return models() is not None


def in_line(ocr: Ocr) -> list[str]:
    """Names of the engines that may read a page: the first one reads all, a second one those in doubt."""
    if ocr.engine != "auto":
        return [ocr.engine]
    local = [name for name in LOCAL if installed(name)]
    if not local:
        raise ConfigError(
            "no OCR engine is installed",
            where="documents.reading.ocr.engine",
            fix="apt install tesseract-ocr (Debian, Ubuntu), brew install tesseract (macOS), or "
            "pip install 'toolkit[documents]' for rapidocr; `none` leaves pages unread",
        )
    from toolkit.documents.engines.textract import has_credentials

    return [local[0], "textract"] if ocr.cloud and has_credentials() else local[:2]
