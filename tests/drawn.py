"""Pages of three layouts, drawn here: letters, tables, two columns; each shifted, of other lengths, with noise."""

from __future__ import annotations

import numpy as np

from toolkit.modalities import Images, Modalities
from toolkit.models import Batch

LAYOUTS = ("letter", "table", "columns")


def page(layout: str, rng: np.random.Generator, height: int = 96, width: int = 72) -> np.ndarray:
    """uint8 [height, width], 255 is white."""
    drawn = np.full((height, width), 255, np.uint8)
    top, left = rng.integers(4, 14, 2)

    def text(first: int, last: int, start: int, end: int, every: int = 5) -> None:
        for y in range(first, last, every):
            drawn[y : y + 2, start : start + int((end - start) * rng.uniform(0.75, 1))] = 40

    if layout == "letter":
        drawn[top : top + 6, left : left + 22] = 0
        text(top + 20, height - rng.integers(12, 36), left, width - 8)
    elif layout == "table":
        step = int(rng.integers(8, 13))
        drawn[top : height - 8 : step, left : width - 6] = 0
        drawn[top : height - 8, np.linspace(left, width - 7, 4).astype(int)] = 0
        text(top + 3, height - 10, left + 3, width - 10, step)
    else:
        middle = (left + width - 6) // 2
        text(top, height - 8, left, middle - 3)
        text(top, height - 8, middle + 3, width - 5)
    return np.clip(drawn + rng.normal(0, 25, drawn.shape), 0, 255).astype(np.uint8)


def pages(rows: int, seed: int, most: int = 2, missing: float = 0.1) -> Batch:
    """Rows of one to `most` pages of one layout, which is the label; some without a page. One column says nothing."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, rows)
    lengths = np.where(rng.random(rows) < missing, 0, rng.integers(1, most + 1, rows))
    drawn = [page(LAYOUTS[label], rng) for label, count in zip(y, lengths, strict=True) for _ in range(count)]
    images = Images("pages", np.r_[0, np.cumsum(lengths)], np.stack(drawn))
    X = rng.normal(size=(rows, 1)).astype(np.float32)
    return Batch(X, y[:, None].astype(np.float32), Modalities(images=(images,)))
