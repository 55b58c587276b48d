"""Pictures of rows: the first ones of each, decoded, in one size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from sqlglot import exp

from toolkit.config.modalities import PageImages
from toolkit.data import sql
from toolkit.data.sql import col
from toolkit.data.tables import Tables
from toolkit.errors import ConfigError, DataError, need
from toolkit.modalities import Images
from toolkit.prepare.features import CompiledSet, Feature
from toolkit.prepare.frame import OWNER, ROW, Frame, Look, Query, clocks, link, need_column, need_table, sub

if TYPE_CHECKING:
    from PIL import Image

PLACE, PICTURE = "@place", "@picture"  # place: 1 is the first


@dataclass(frozen=True)
class CompiledImages(CompiledSet):
    """An image set: its query gives `@row`, `@place` and `@picture`, the bytes of a file."""

    size: tuple[int, int]  # height, width


def compile_images(name: str, node: PageImages, tables: Tables, frame: Frame) -> CompiledImages:
    """An image set over a frame."""
    where = f"features.{name}"
    table = need_table(tables, node.table, f"{where}.table")
    kind = table.columns[need_column(table, node.column, f"{where}.column", image=True)].type
    if kind != "image":
        raise ConfigError(
            f"`{node.column}` is no image but {kind}",
            where=f"{where}.column",
            fix="a column that is declared as `image`",
        )
    need_column(table, node.order, f"{where}.order")
    rows = exp.select("*", sql.named(col(link(table, tables)), OWNER)).from_(sql.table(table.name))
    look = Look(frame, table)
    on = sql.both(
        look.owned(), look.seen(), exp.not_(exp.Is(this=col(node.column, "t"), expression=exp.null()))
    )
    # Of pictures at one place, the one whose key comes first: as good as any, and the same in every run.
    by = dict.fromkeys([node.order, *table.spec.keys])
    order = exp.Order(expressions=[exp.Ordered(this=col(one, "t")) for one in by])
    place = exp.Window(this=sql.call("row_number"), partition_by=[col(ROW, "f")], order=order)
    seen = exp.select(col(ROW, "f"), sql.named(place, PLACE), sql.named(col(node.column, "t"), PICTURE))
    seen = seen.from_(look.rows()).join(sub(rows, "t"), on=on, join_type="inner")
    first = exp.LTE(this=col(PLACE), expression=sql.literal(node.first))
    tree = exp.select(col(ROW), col(PLACE), col(PICTURE)).from_(sub(seen, "s")).where(first)
    sources = frozenset(table.sources({node.column, node.order, *clocks(table)}))
    what = f"the first {node.first} of {table.name}, {node.height} × {node.width} pixels"
    feature = Feature(f"{name}.{node.column}", name, "image", None, sources, "all", what)
    query = Query(tree, tables=frozenset({table.name}))
    return CompiledImages(name, (feature,), query, (node.height, node.width))


def assemble(batches: Iterable[pa.RecordBatch], compiled: CompiledImages, rows: int) -> Images:
    """Decode the pictures of a result, which come in any order. Raises DataError for bytes that are no picture."""
    need("documents", "PIL", f"features.{compiled.name}", "pictures are decoded by Pillow")
    at: list[np.ndarray] = []
    places: list[np.ndarray] = []
    found: list[np.ndarray] = []
    for batch in batches:
        at.append(batch[ROW].to_numpy())
        places.append(batch[PLACE].to_numpy())
        found += [fitted(content, compiled.size, compiled.name) for content in batch[PICTURE].to_pylist()]
    row = np.concatenate(at) if at else np.zeros(0, np.int64)
    order = np.lexsort((np.concatenate(places), row)) if at else np.zeros(0, np.int64)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))])
    pixels = np.empty((len(found), *compiled.size), np.uint8)
    for index, place in enumerate(order):
        pixels[index] = found[place]
    return Images(compiled.name, offsets, pixels)


def fitted(content: bytes, size: tuple[int, int], name: str) -> np.ndarray:
    """A picture's file as uint8 [height, width]: grey, upright as its camera says, its proportions kept, on white.

    What is transparent is white too.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(BytesIO(content)) as picture:
            grey = _grey(ImageOps.exif_transpose(picture))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"a picture of `{name}` cannot be decoded: {error}",
            where=f"features.{name}",
            fix="columns of type image hold the bytes of PNG or JPEG files",
        ) from None
    height, width = size
    return np.asarray(ImageOps.pad(grey, (width, height), Image.Resampling.BOX, color=255), np.uint8)


def _grey(picture: Image.Image) -> Image.Image:
    """8 bits of grey, whatever it came with: Pillow's own way makes transparent ink black and 16 bits white."""
    from PIL import Image

    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture, np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        paper = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(paper, picture.convert("RGBA")).convert("L")
    return picture.convert("L")
