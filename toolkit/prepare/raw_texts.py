"""Texts as they stand: one per row, for models that learn their own words from training rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from sqlglot import exp

from toolkit.config.modalities import RawText
from toolkit.data import sql
from toolkit.data.sql import col
from toolkit.data.tables import TIME, Tables
from toolkit.modalities import Texts
from toolkit.prepare.features import CompiledSet, Feature
from toolkit.prepare.frame import OWNER, ROW, Frame, Look, Query, clocks, link, need_texts, sub

TEXT = "@text"


@dataclass(frozen=True)
class CompiledRawText(CompiledSet):
    """A text set: its query gives `@row` and `@text`."""


def compile_raw_text(name: str, node: RawText, tables: Tables, frame: Frame) -> CompiledRawText:
    """A raw text set over a frame. Of several rows the texts stand in the order of their time, then of themselves."""
    where = f"features.{name}"
    table = need_texts(tables, node.table, node.column, where)
    rows = exp.select("*", sql.named(col(link(table, tables)), OWNER)).from_(sql.table(table.name))
    look = Look(frame, table)
    on = sql.both(look.owned(), look.seen())
    order = exp.Order(
        this=col(node.column, "t"),
        expressions=[exp.Ordered(this=col(TIME, "t")), exp.Ordered(this=col(node.column, "t"))],
    )
    joined = exp.GroupConcat(this=order, separator=sql.literal("\n"))
    tree = (
        exp.select(col(ROW, "f"), sql.named(joined, TEXT))
        .from_(look.rows())
        .join(sub(rows, "t"), on=on, join_type="inner")
        .group_by(col(ROW, "f"))
    )
    sources = frozenset(table.sources({node.column, *clocks(table)}))
    feature = Feature(f"{name}.text", name, "text", None, sources, "all", f"{node.column} of {table.name}")
    return CompiledRawText(name, (feature,), Query(tree, tables=frozenset({table.name})))


def assemble(result: pa.Table, compiled: CompiledRawText, rows: int) -> Texts:
    """The texts of a result, which come in any order; None where a row has none."""
    text = np.full(rows, None, object)
    text[result[ROW].to_numpy()] = result[TEXT].to_numpy(zero_copy_only=False)
    return Texts(compiled.name, text)
