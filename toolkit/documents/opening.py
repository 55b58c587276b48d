"""What a file is, by its content: its name is not asked. Its pages, behind one interface for all formats."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np

from toolkit.config.reading import Limits, Reading
from toolkit.documents.page import Words
from toolkit.errors import ConfigError, need

HEAD = 4096  # bytes by which a format is known
READ = "a PDF, TIFF, PNG, JPEG or plain text"
SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
}
OTHERS = {  # what is often found among documents, named so that a message can say what to do about it
    b"PK\x03\x04": "a ZIP archive, or an office document",
    b"\xd0\xcf\x11\xe0": "an office document of the old kind",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"\x1f\x8b": "a gzip archive",
    b"{\\rtf": "rich text",
    b"%!PS": "PostScript",
    b"AT&TFORM": "a DjVu document",
}
ENDINGS = {
    "pdf": "pdf", "png": "png", "jpg": "jpeg", "jpeg": "jpeg", "jpe": "jpeg", "tif": "tiff", "tiff": "tiff",
    "txt": "text", "text": "text", "md": "text", "csv": "text", "log": "text",
}  # fmt: skip
NO_TEXT = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")


class RejectedError(Exception):
    """A document that is not read. Its text is the reason, the same for all documents of the same fate."""


@dataclass(frozen=True)
class Held:
    """What a page holds before any picture is read.

    words: those that the file itself holds, or None if its picture must be read; text: as the file has it,
    where words alone would lose blanks and line breaks; picture: uint8 [height, width], 255 is white, at
    the resolution that is asked of it; None of a plain text.
    """

    words: Words | None
    text: str | None = None
    picture: np.ndarray | None = None


class Opened(Protocol):
    """An open document. Pages count from 0."""

    @property
    def pages(self) -> int: ...

    def page(self, index: int, reading: Reading) -> Held:
        """Raises RejectedError where the page is damaged, or larger than allowed."""


def need_documents() -> None:
    """Raises ConfigError if what reads documents is not installed, or is and does not load (a library of the system).

    It is loaded here, since each document would else be rejected for it.
    """
    for module, package in (("pypdfium2", "pypdfium2"), ("PIL", "Pillow"), ("cv2", "OpenCV")):
        need("documents", module, "dataset.documents", f"reading documents needs {package}")
        try:
            import_module(module)
        except (ImportError, OSError) as error:
            raise ConfigError(
                f"reading documents needs {package}, which is installed and cannot be loaded: {error}",
                where="dataset.documents",
                fix="pip install --force-reinstall 'toolkit[documents]'",
            ) from None


def kind_of(head: bytes) -> str:
    """pdf, png, jpeg, tiff or text, by the first bytes of a file. Raises RejectedError for anything else."""
    if not head:
        raise RejectedError("is empty (0 bytes)")
    for signature, kind in SIGNATURES.items():
        if head.startswith(signature):
            return kind
    if b"%PDF-" in head[:1024]:  # the header may stand anywhere in there
        return "pdf"
    for signature, name in OTHERS.items():
        if head.startswith(signature):
            raise RejectedError(f"is {name}, not {READ}")
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        raise RejectedError(f"is a WebP picture, not {READ}")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16
        return "text"
    if NO_TEXT.search(head):
        raise RejectedError(f"is not {READ}")
    return "text"


def named_otherwise(path: Path, kind: str) -> bool:
    """Does the file's name say that it is of another format?"""
    ending = path.suffix.lower().removeprefix(".")
    return ending in ENDINGS and ENDINGS[ending] != kind


def opened(path: Path, limits: Limits) -> AbstractContextManager[Opened]:
    """An open document. Raises RejectedError where it cannot be opened, or breaks a limit.

    Sizes are known from headers: nothing is decoded before it is known to be small enough.
    """
    from toolkit.documents import pdf, pictures, plain

    with open(path, "rb") as file:
        kind = kind_of(file.read(HEAD))
    if kind == "pdf":
        return pdf.opened(path, limits)
    if kind == "text":
        return plain.opened(path, limits)
    return pictures.opened(path, kind, limits)


def allowed_pages(pages: int, limits: Limits) -> int:
    """How many pages are read. Raises RejectedError for too many, if those are rejected."""
    if pages > limits.pages and limits.on_more_pages == "reject":
        raise RejectedError(f"has more than {limits.pages:,} pages")
    return min(pages, limits.pages)


def refuse_large(width: float, height: float, limits: Limits) -> None:
    """Raises RejectedError for a picture of more pixels than allowed."""
    if width * height > limits.megapixels * 1e6:
        raise RejectedError(f"holds a picture of more than {limits.megapixels:g} megapixels")
