"""Pictures of pages as files: PNG, JPEG, and TIFF of several pages, as grey on white and upright as their camera says."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.config.reading import Limits, Reading
from toolkit.documents.opening import Held, RejectedError, allowed_pages, refuse_large

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

FORMATS = {"png": ("PNG",), "jpeg": ("JPEG", "MPO"), "tiff": ("TIFF",)}
TWELVE_BITS = 4095
SQUARE = 1.1  # pixels may be so much higher than wide, or wider than high, and count as square


@dataclass
class Pictures:
    """An open picture file."""

    image: Any
    pages: int
    limits: Limits

    def page(self, index: int, reading: Reading) -> Held:
        with _damage():
            self.image.seek(index)
            refuse_large(self.image.width, self.image.height, self.limits)
            self.image.load()
            return Held(None, picture=grey(self.image))


@contextmanager
def opened(path: Path, kind: str, limits: Limits) -> Iterator[Pictures]:
    from PIL import Image

    # Sizes are refused here, before anything is decoded; Pillow's own warning would only repeat it.
    Image.MAX_IMAGE_PIXELS = None
    with warnings.catch_warnings(), _damage():
        warnings.simplefilter("ignore")
        image = Image.open(path, formats=FORMATS[kind])
    with image:
        pages = 1
        refuse_large(image.width, image.height, limits)
        with _damage():
            while kind == "tiff" and pages <= limits.pages:  # a header each; no more than is needed
                try:
                    image.seek(pages)
                except EOFError:
                    break
                refuse_large(image.width, image.height, limits)
                pages += 1
            image.seek(0)
        yield Pictures(image, allowed_pages(pages, limits), limits)


@contextmanager
def _damage() -> Iterator[None]:
    """What a decoder says of a file that is not whole."""
    try:
        yield
    except (
        OSError,
        EOFError,
        SyntaxError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        ZeroDivisionError,
    ) as error:
        raise RejectedError("is cut off or damaged") from error


def grey(image: Picture) -> np.ndarray:
    """A picture as uint8 [height, width], upright, on white; 16 bits are scaled, pixels made square."""
    from PIL import Image, ImageOps

    ratio = _pixel_ratio(image)
    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.nan_to_num(np.asarray(image, np.float32))
        top = float(values.max(initial=0))
        whole = image.mode != "F"
        depths = (TWELVE_BITS, 65535) if whole else (1, 255, 65535)  # scanners put 12 bits into 16
        full = next((depth for depth in depths if top <= depth), top)
        image = Image.fromarray((values.clip(0) / full * 255).astype(np.uint8))
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        drawn = image.convert("RGBA")
        white = Image.new("RGBA", drawn.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, drawn)
    if image.mode == "CMYK":
        image = image.convert("RGB")
    image = image.convert("L")
    if not 1 / SQUARE < ratio < SQUARE:
        height, width = image.height, image.width
        stretched = (width, round(height * ratio)) if ratio > 1 else (round(width / ratio), height)
        image = image.resize(stretched, Image.Resampling.BICUBIC)
    return np.array(image, np.uint8)


def _pixel_ratio(image: Picture) -> float:
    """How much higher than wide a pixel is: 2 of a fax at 204 × 98 dots per inch. 1 if the file does not say."""
    try:
        across, down = (float(value) for value in image.info.get("dpi", (1, 1)))
        return across / down if across > 0 and down > 0 and 1 / 4 < across / down < 4 else 1.0
    except (TypeError, ValueError, ZeroDivisionError):
        return 1.0


def png(picture: np.ndarray) -> bytes:
    """A grey picture, uint8 [height, width], as a PNG."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
