"""One document: what it is, as its headers say, and what its pages say. Done in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.config.reading import Reading
from toolkit.documents import store
from toolkit.documents.opening import HEAD, Held, RejectedError, kind_of, opened
from toolkit.documents.page import PageRead, Words
from toolkit.errors import DataError

EMBEDDED = {"pdf": "pdf", "text": "text"}  # engine of words that a file itself holds


@dataclass(frozen=True)
class Task:
    """A document to be looked at, or, where its pages are named, to be read.

    content: hash of the file; folder: where pages are kept.
    """

    path: Path
    content: str
    reading: Reading
    folder: Path
    pages: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class Looked:
    """What is known of a document before it is read."""

    format: str
    pages: int


def work(task: Task, tell: Callable[[], None]) -> Looked | None:
    """Look at a document, or read pages of it, each kept as soon as it is read. Raises RejectedError."""
    try:
        with open(task.path, "rb") as file:
            kind = kind_of(file.read(HEAD))
        with opened(task.path, task.reading.limits) as document:
            if not task.pages:
                return Looked(kind, document.pages)
            for page in task.pages:
                store.put(
                    task.folder,
                    task.content,
                    page,
                    read(document.page(page, task.reading), kind, task.reading),
                )
                tell()
    except PermissionError:
        raise RejectedError("may not be opened (permission denied)") from None
    except FileNotFoundError:
        raise RejectedError("has gone while it was to be read") from None
    except DataError as error:
        raise RejectedError(error.what) from error
    return None


def read(held: Held, kind: str, reading: Reading) -> store.Kept:
    """A page as it is kept: from what its file holds, or else from its picture."""
    from toolkit.documents import layout
    from toolkit.documents.pictures import png

    begun = time.perf_counter()
    if held.words is None:
        from toolkit.documents.recognise import recognise

        assert held.picture is not None
        page = recognise(held.picture, reading)
    elif held.picture is None:
        page = PageRead(held.words, EMBEDDED[kind], seconds=time.perf_counter() - begun)
    else:
        measures = layout.measures(held.picture, _placed(held.words))
        image = layout.small(held.picture, reading.image)
        page = PageRead(
            held.words, EMBEDDED[kind], layout=measures, image=image, seconds=time.perf_counter() - begun
        )
    text = page.words.plain() if held.text is None else held.text
    return store.Kept(page, text, png(page.image) if page.image is not None else None)


def _placed(words: Words) -> Words:
    """The words of which it is known where they stand."""
    known = ~np.isnan(words.boxes).any(axis=1)
    texts = tuple(text for text, there in zip(words.text, known, strict=True) if there)
    return Words(texts, words.boxes[known], words.confidence[known], words.line[known])
