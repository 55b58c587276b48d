"""Pages as files: PDF with its text, PDF of pictures, TIFF, PNG, JPEG, plain text."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.simulate.documents_damage import FAX_DPI, KINDS

Array = np.ndarray
ENDINGS = {"pdf": "pdf", "scan": "pdf", "tiff": "tif", "png": "png", "jpeg": "jpg", "text": "txt"}
SINGLE = ("png", "jpeg")  # hold one page
_NO_DAY = time.gmtime(0)  # the same world gives the same bytes


def pictures(pdf: bytes, dpi: int, wanted: Sequence[int] | None = None) -> list[Array]:
    """The pages of a PDF (all, or those wanted, from 0) as grey pictures [height, width]."""
    import pypdfium2

    with pypdfium2.PdfDocument(pdf) as document:
        drawn = [
            document[index].render(scale=dpi / 72, grayscale=True).to_numpy()
            for index in (range(len(document)) if wanted is None else wanted)
        ]
    return [np.array(page.reshape(page.shape[:2])) for page in drawn]


def scanned(
    pages: Sequence[Array], form: str, damage: str, strength: float, dpi: int, rng: np.random.Generator
) -> bytes:
    """A file of damaged pictures. form: scan, tiff, png or jpeg; pages: grey [height, width]."""
    from PIL import Image

    spoilt = [KINDS[damage](page, dpi, strength, rng) for page in pages]
    bilevel = damage == "fax" or (
        form in ("scan", "tiff") and damage in ("clean", "light", "rotation", "skew") and rng.random() < 0.35
    )
    if damage == "fax":
        dots = (FAX_DPI, 98 if strength > 0.6 else 196)
    else:
        dots = (dpi, dpi)
    if form == "png" and not bilevel:  # sixteen greys, as scanners do
        spoilt = [page // 16 * 17 for page in spoilt]
    images = [Image.fromarray(page) for page in spoilt]
    if bilevel:
        images = [image.point(lambda grey: 255 * (grey > 150)).convert("1") for image in images]
    file, first, rest = io.BytesIO(), images[0], images[1:]
    quality = int(rng.integers(50, 86))
    several: dict[str, Any] = {"save_all": True, "append_images": rest, "dpi": dots}
    several |= {} if bilevel else {"quality": quality}
    if form == "scan":
        first.save(file, "PDF", **several, creationDate=_NO_DAY, modDate=_NO_DAY)
    elif form == "tiff":
        first.save(file, "TIFF", **several, compression="group4" if bilevel else "jpeg")
    elif form == "png":
        first.save(file, "PNG", dpi=dots, compress_level=4)
    else:
        first.convert("L" if bilevel else first.mode).save(file, "JPEG", dpi=dots, quality=quality)
    return file.getvalue()


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
