"""Tesseract, by its command line: one process per page, the picture and the words through pipes."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache

import numpy as np

from toolkit.documents.page import Words
from toolkit.errors import ConfigError, DataError

SECONDS = 60  # a page that takes longer is refused


def binary() -> str | None:
    """Where the program lies, if it is installed."""
    return shutil.which("tesseract")


def _run(arguments: Sequence[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    program = binary()
    if program is None:
        raise ConfigError(
            "tesseract is not installed",
            where="documents.reading.ocr.engine",
            fix="apt install tesseract-ocr (Debian, Ubuntu) or brew install tesseract (macOS); or "
            "ocr.engine=rapidocr, which pip installs",
        )
    # Pages are read in parallel: each of one thread. OpenMP within a page makes all of them slower.
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    try:
        return subprocess.run(
            [program, *arguments], input=stdin, capture_output=True, env=environment, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"tesseract did not read a page within {SECONDS} seconds") from None


@cache
def _languages(program: str) -> tuple[str, ...]:
    lines = _run(["--list-langs"]).stdout.decode("utf-8", "replace").splitlines()
    return tuple(line.strip() for line in lines[1:] if line.strip())


@cache
def _version(program: str) -> str:
    answer = _run(["--version"])
    first = (answer.stdout or answer.stderr).decode("utf-8", "replace").split("\n", 1)[0]
    return first.removeprefix("tesseract").strip()


def _check_languages(languages: Sequence[str]) -> None:
    there = _languages(binary() or "")
    missing = [name for name in languages if name not in there]
    if missing:
        packages = " ".join(f"tesseract-ocr-{name.replace('_', '-').lower()}" for name in missing)
        raise ConfigError(
            f"tesseract has no language {', '.join(missing)}",
            where="documents.reading.ocr.languages",
            why=f"installed: {', '.join(there) or 'none'}",
            fix=f"apt install {packages} (Debian, Ubuntu) or brew install tesseract-lang (macOS)",
        )


class Tesseract:
    """https://tesseract-ocr.github.io"""

    name = "tesseract"

    @property
    def version(self) -> str:
        program = binary()
        return _version(program) if program else "absent"

    def chance(self, confidence: np.ndarray) -> np.ndarray:
        return np.clip(confidence / 0.96, 0, 1) ** 2  # it never says more than 0.97

    def read(self, picture: np.ndarray, languages: Sequence[str]) -> Words:
        _check_languages(languages)
        height, width = picture.shape
        answer = _run(
            ["stdin", "stdout", "-l", "+".join(languages), "tsv"],
            b"P5 %d %d 255\n" % (width, height) + picture.tobytes(),
        )
        if answer.returncode:
            said = answer.stderr.decode("utf-8", "replace").strip().splitlines()
            raise DataError("tesseract could not read a page", why=said[-1] if said else None)
        return parsed(answer.stdout.decode("utf-8", "replace"), width, height)


def parsed(tsv: str, width: int, height: int) -> Words:
    """The words (level 5) of tesseract's TSV of a picture of that size, whose confidence is 0 to 100."""
    text, boxes, confidence, line = [], [], [], []
    lines: dict[tuple[str, ...], int] = {}
    for row in csv.DictReader(tsv.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
        word = (row["text"] or "").strip()
        if row["level"] != "5" or not word:
            continue
        left, top, wide, tall = (int(row[key]) for key in ("left", "top", "width", "height"))
        text.append(word)
        boxes.append((left / width, top / height, (left + wide) / width, (top + tall) / height))
        confidence.append(min(1.0, max(0.0, float(row["conf"]) / 100)))
        line.append(lines.setdefault((row["block_num"], row["par_num"], row["line_num"]), len(lines)))
    return Words.of(text, boxes, confidence, line)
