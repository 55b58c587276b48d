"""The review queue as the page shows it: what it is worth, and the first pictures of its first rows."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np

from toolkit.config.schema import Config
from toolkit.config.triage import Queue
from toolkit.modalities import Images
from toolkit.models.interface import Task
from toolkit.prepared import Prepared
from toolkit.report.evidence import Review, Waiting
from toolkit.training.outcome import Outcome

WIDTH, HEIGHT = 144, 192  # pixels of a picture at most
WITHOUT = 6  # rows that are shown where there are no pictures


def waiting(config: Config, prepared: Prepared, outcome: Outcome, task: Task) -> Review | None:
    """What a person should look at of a target's test rows; None where nothing is queued for one."""
    found, node = outcome.review, config.triage
    if found is None or found.target != task.name or not isinstance(node, Queue):
        return None
    n, matrix = outcome.n_valid, prepared.matrix
    probability = outcome.scores[(outcome.chosen(task.name).model, task.name)].probability[n:]
    shown = node.thumbnails if matrix.images else min(node.thumbnails, WITHOUT)
    first = []
    for row in found.flags.order(probability)[:shown]:
        place, best = outcome.rows[n:][row], int(probability[row].argmax())
        first.append(
            Waiting(
                str(matrix.entity[place]), found.flags.why(row), task.classes[best], float(probability[row, best]),
                png_of(matrix.images, int(place)),
            )
        )  # fmt: skip
    return Review(found, f"{node.file}.csv", first)


def png_of(images: Sequence[Images], row: int) -> bytes:
    """A row's first picture as a small PNG of 16 greys; b"" where it has none."""
    for one in images:
        if one.lengths[row]:
            return small_png(one.pixels[one.offsets[row]])
    return b""


def small_png(pixels: np.ndarray) -> bytes:
    """uint8 [height, width] → the bytes of a file, no larger than WIDTH × HEIGHT."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    picture.thumbnail((WIDTH, HEIGHT))
    out = BytesIO()
    picture.quantize(16).save(out, "PNG", optimize=True)
    return out.getvalue()
