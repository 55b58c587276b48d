"""What has been read of pages, kept: a page is read once in its life, whatever becomes of the run.

A file per page, named by the hash of the document's content and the page's number, in a folder that is
named by all that decides what is read: settings, engines with their versions, code. Each is written aside
and renamed as soon as its page is read.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from toolkit.data.cache import digest, file_digest
from toolkit.documents.page import PageRead, Words

# Modules that decide what a page says, besides those behind `recognise`, which has a version of its own.
DECIDING = ("ink", "layout", "opening", "page", "pdf", "pictures", "plain", "reading")
SCALARS = ("engine", "quality", "turned", "skew", "cleaned", "seconds")


@dataclass(frozen=True)
class Kept:
    """A page as it is kept. text: of the whole page; picture: PNG of the small picture, if there is one."""

    read: PageRead
    text: str
    picture: bytes | None


@cache
def code() -> str:
    """A digest of the code that decides what a page says."""
    here = Path(__file__).parent
    return digest([file_digest(here / f"{name}.py") for name in DECIDING])


def place(folder: Path, document: str, page: int) -> Path:
    """Where a page is kept. document: hash of its content; page: from 0."""
    return folder / document[:2] / f"{document}.{page}.safetensors"


def put(folder: Path, document: str, page: int, kept: Kept) -> None:
    """Keep a page. Whole or absent, and at once."""
    read, words = kept.read, kept.read.words
    facts = {name: getattr(read, name) for name in SCALARS}
    facts |= {"layout": dict(read.layout), "words": words.text, "text": kept.text}
    content = safetensors.numpy.save({
        "facts": np.frombuffer(json.dumps(facts).encode(), np.uint8),
        "boxes": np.ascontiguousarray(words.boxes, np.float32),
        "confidence": np.ascontiguousarray(words.confidence, np.float32),
        "line": np.ascontiguousarray(words.line, np.int32),
        "picture": np.frombuffer(kept.picture or b"", np.uint8),
    })  # fmt: skip
    final = place(folder, document, page)
    final.parent.mkdir(parents=True, exist_ok=True)
    aside = final.with_name(f".{uuid4().hex}")
    aside.write_bytes(content)
    aside.replace(final)


def get(folder: Path, document: str, page: int) -> Kept | None:
    """A page as it was read; None if it has not been, or if what was kept is damaged."""
    path = place(folder, document, page)
    try:
        held = safetensors.numpy.load(path.read_bytes())
        facts: dict[str, Any] = json.loads(held["facts"].tobytes())
        words = Words(tuple(facts["words"]), held["boxes"], held["confidence"], held["line"])
        picture = held["picture"].tobytes() or None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, SafetensorError):
        with suppress(OSError):
            os.unlink(path)
        return None
    scalars = {name: facts[name] for name in SCALARS}
    return Kept(PageRead(words, layout=facts["layout"], **scalars), facts["text"], picture)


def there(folder: Path, document: str, page: int) -> bool:
    return place(folder, document, page).is_file()
