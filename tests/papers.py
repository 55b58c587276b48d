"""Small documents made on the spot: PDF by hand and by reportlab, pictures of pages by Pillow."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from toolkit.config.tables import Dataset, FolderSource
from toolkit.data import tables
from toolkit.data.cache import Cache
from toolkit.data.engine import Engine
from toolkit.data.tables import Tables

WORDS = (
    "agreement party lease amount survey notice total address number hereby shall title county paint deliver witness "
    "clause between signed under respective inspection report schedule annual payment insurance water heating gate "
    "window garden kitchen measure district record office public engine ledger account balance due receipt order"
)
VOCABULARY = WORDS.split()
HELVETICA = b"/Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>"
COLUMNS = {
    "documents": {"document": "text", "label": "text", "file": "text", "format": "text", "pages": "integer", "bytes": "integer",
                  "text": "text", "words": "integer", "confidence": "number", "engine": "text", "twin": "text"},
    "pages": {"document": "text", "page": "integer", "text": "text", "words": "integer", "confidence": "number", "quality": "number",
              "engine": "text", "turned": "integer", "skew": "number", "image": "image", "ink_1_1": "number"},
    "words": {"document": "text", "page": "integer", "position": "integer", "line": "integer", "word": "text",
              "left": "number", "top": "number", "right": "number", "bottom": "number", "confidence": "number"},
}  # fmt: skip


def prose(seed: int, words: int = 120) -> str:
    return " ".join(random.Random(seed).choices(VOCABULARY, k=words))


def lines_of(text: str, length: int = 9) -> list[str]:
    words = text.split()
    return [" ".join(words[at : at + length]) for at in range(0, len(words), length)]


def pdf(pages: Sequence[str], **options: Any) -> bytes:
    """A PDF with a page of text for each text. options: of reportlab's canvas."""
    from reportlab.pdfgen.canvas import Canvas

    buffer = io.BytesIO()
    canvas = Canvas(buffer, invariant=True, **options)
    for page in pages:
        for number, line in enumerate(lines_of(page)):
            canvas.drawString(72, 780 - 16 * number, line)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def by_hand(
    content: bytes,
    resources: bytes = HELVETICA,
    page: bytes = b"/MediaBox[0 0 612 792]",
    objects: Sequence[bytes] = (),
) -> bytes:
    """A PDF of one page. content: its drawing; objects: further ones, from number 5 on."""
    every = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/Contents 4 0 R/Resources<<" + resources + b">>" + page + b">>",
        stream(content),
        *objects,
    ]
    out, places = b"%PDF-1.4\n", []
    for number, one in enumerate(every, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(every) + 1)
    end = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(every) + 1, len(out))
    return out + head + table + end


def stream(content: bytes, facts: bytes = b"") -> bytes:
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (facts, len(content), content)


def endless_pdf() -> bytes:
    """A small PDF that takes PDFium longer than anybody waits: each form draws the next one thirty times."""
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 600 700]"
    forms = [
        stream(b"/X Do " * 30, form + b"/Resources<</XObject<</X %d 0 R>>>>" % number)
        for number in range(6, 14)
    ]
    return by_hand(b"/X Do", b"/XObject<</X 5 0 R>>", objects=[*forms, stream(b"0 0 m 9 9 l S", form)])


def scan(text: str, size: tuple[int, int] = (850, 1100), letters: int = 22, ink: int = 20) -> Image.Image:
    """A clean picture of a page, grey."""
    image = Image.new("L", size, 255)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(letters)
    for number, line in enumerate(lines_of(text, 7)):
        draw.text((60, 60 + number * 2 * letters), line, fill=ink, font=font)
    return image


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def dataset(**reading: Any) -> dict[str, Any]:
    """A dataset of documents, no picture of which is read unless `reading` says so."""
    documents = {name: reading.pop(name) for name in ("index", "file", "text") if name in reading}
    entity = {"key": "document", "known": "always", "on_bad_row": "drop", "columns": COLUMNS["documents"]}
    besides = {"entity": "document", "known": "always"}
    return {
        "entity": "documents",
        "documents": documents | {"reading": {"ocr": {"engine": "none"}} | reading},
        "tables": {"documents": entity, "pages": besides | {"columns": COLUMNS["pages"]}, "words": besides | {"columns": COLUMNS["words"]}},
    }  # fmt: skip


def load(
    declared: dict[str, Any],
    folder: Path,
    cache: Path,
    names: Sequence[str] = ("documents",),
    threads: int = 1,
    **more: Any,
) -> Tables:
    engine = Engine(threads)
    try:
        source = FolderSource(kind="folder", path=str(folder))
        return tables.load(
            Dataset.model_validate(declared), source, list(names), engine, Cache(cache), **more
        )
    finally:
        engine.close()
