"""Files that no reader should trip over: encrypted, cut short, empty, huge, misnamed, twins on both sides of a split."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.simulate import documents_damage, documents_files, documents_layouts
from toolkit.simulate.documents_template import Template

SIDE, MANY = 40_000, 5_000  # dots of the bomb, pages of the endless document
HEBREW = "הסכם מכר\nנערך ונחתם בין המוכר לבין הקונה\nהמחיר הוא {price} ישולם במועד המסירה\n"


def add(seed: int, folder: Path, truth: Path, index: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write the files and `truth/mess.csv` (file, what); rows of the index for them.

    One file lies in the folder that no row names (`unlisted.pdf`), one row names a file that is not there.
    """
    rng = random.Random(f"mess {seed}")
    rows, told = [], []
    for name, what, content, row in _all(rng, seed, folder, index):
        file = f"files/{name}"
        if content is not None:
            (folder / file).write_bytes(content)
        told.append({"file": file, "what": what})
        if row is not None:
            usual = {"label": "other", "part": "train", "template": "mess", "damage": "clean"}
            rows.append(usual | row | {"file": file})
    documents_files.write_csv(truth / "mess.csv", ("file", "what"), told)
    return rows


def _all(
    rng: random.Random, seed: int, folder: Path, index: list[dict[str, Any]]
) -> Iterator[tuple[str, str, bytes | None, dict[str, Any] | None]]:
    """Name in `files/`, what is the matter, content (None: no file), what its row of the index says (None: no row)."""
    template = Template.draw("tax_records", 0)
    pdf = documents_layouts.draw(template, rng)[0]
    page = documents_files.pictures(pdf, 150, [0])[0]
    yield "encrypted.pdf", "needs a password", _encrypted(), {}
    yield "truncated.pdf", "cut short", pdf[: len(pdf) // 5], {}
    yield "empty.pdf", "no bytes", b"", {}
    yield "png_inside.pdf", "wrong extension: it is a PNG", _png(page), {}
    yield "noise.tif", "no picture at all", rng.randbytes(4_000), {}
    yield "contract.docx", "a format that is not read", b"PK\x03\x04" + rng.randbytes(400), {}
    yield "bomb.png", f"{SIDE:,} x {SIDE:,} dots", _bomb(), {}
    yield "endless.pdf", f"{MANY:,} pages", _endless(), {}
    yield (
        "upside_down.png",
        "stands on its head",
        _png(np.ascontiguousarray(np.rot90(page, 2))),
        {"label": "tax_records"},
    )
    yield "alpha.png", "has an alpha channel", _png(_with_alpha(page)), {"label": "tax_records"}
    yield "deep.png", "16 bits a dot", _png(page.astype(np.uint16) * 257), {"label": "tax_records"}
    yield "blank.png", "an empty page", _png(np.full_like(page, 255)), {}
    yield (
        "right_to_left.txt",
        "Hebrew",
        HEBREW.format(price="$412,000").encode(),
        {"label": "purchase_agreement"},
    )
    yield (
        "alone.txt",
        "the only document of its label",
        b"A label with one document.\n",
        {"label": "power_of_attorney"},
    )
    yield "missing.pdf", "listed, but not there", None, {}
    yield "unlisted.pdf", "there, but not listed", pdf, None
    known = next(row for row in index if row["part"] == "train" and row["file"].endswith(".pdf"))
    twin = {"label": known["label"], "part": "test"}
    yield (
        "twin.pdf",
        f"the bytes of {known['file']} of training, in test",
        (folder / known["file"]).read_bytes(),
        twin,
    )
    for part in ("train", "validation"):
        again = documents_damage.light(
            page.copy(), 150, rng.random(), np.random.default_rng([seed, len(part)])
        )
        yield f"scanned_{part}.png", "one page, scanned twice, for training and validation", _png(again), {
            "label": "tax_records", "part": part}  # fmt: skip


def _png(page: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(page).save(file, "PNG", compress_level=4)
    return file.getvalue()


def _with_alpha(page: np.ndarray) -> np.ndarray:
    """Black ink on nothing: whoever drops the alpha channel sees a black page. [height, width, 4]"""
    found = np.zeros((*page.shape, 4), np.uint8)
    found[..., 3] = 255 - page
    return found


def _encrypted() -> bytes:
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.pdfgen.canvas import Canvas

    file = io.BytesIO()
    canvas = Canvas(file, invariant=1, encrypt=StandardEncryption("secret", canPrint=0))
    canvas.drawString(72, 700, "Nobody reads this without the password.")
    canvas.save()
    return file.getvalue()


def _endless() -> bytes:
    from reportlab.pdfgen.canvas import Canvas

    file = io.BytesIO()
    canvas = Canvas(file, invariant=1, pageCompression=1)
    for number in range(MANY):
        canvas.drawString(72, 700, f"Page {number + 1} of {MANY}")
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def _bomb() -> bytes:
    """A small PNG that unpacks to 200 MB of black and white dots, 1.6 GB of grey ones."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer, row = zlib.compressobj(9), bytes(1 + SIDE // 8) * 100
    data = b"".join(packer.compress(row) for _ in range(SIDE // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
