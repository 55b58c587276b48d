"""Sequences: the last events of each row before its cutoff, from a declaration through SQL to ragged arrays.

An event is seen as any row of a table is (see `frame`): known and happened by the cutoff. Events stand in
the order of their time; of simultaneous ones the one known later comes later, and of those the one with
the larger values (a missing value is smaller than any), so that the order is the same whatever the file's.
The gap of an event is to the event before it among all that are seen, also where that one is not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from toolkit.config.modalities import EventSequence
from toolkit.config.time import span
from toolkit.data import sql
from toolkit.data.sql import col
from toolkit.data.tables import KNOWN, TIME, Loaded, Tables
from toolkit.errors import ConfigError, DataError
from toolkit.modalities import Sequences
from toolkit.prepare.features import CompiledSet, Feature
from toolkit.prepare.frame import (
    OWNER,
    ROW,
    Frame,
    Look,
    Query,
    admit,
    clocks,
    link,
    need_column,
    need_table,
    sub,
)

PLACE, AT, BEGIN = "@place", "@at", "@begin"  # place: 1 is the newest event
WORDS = {"gap": "ln(1 + days) since the event before", "age": "ln(1 + days) from the event to the cutoff"}
BATCH = 1 << 20  # events put in their places at a time


@dataclass(frozen=True)
class CompiledSequence(CompiledSet):
    """A sequence set: its features are its channels. last: events kept of a row, at most; unit: what they are."""

    last: int
    unit: str = "rows"


def compile_sequence(name: str, node: EventSequence, tables: Tables, frame: Frame) -> CompiledSequence:
    """A sequence set over a frame: a query with `@row`, `@place` and one column for each channel."""
    where = f"features.{name}"
    table = need_table(tables, node.table, f"{where}.table")
    if not table.spec.clock:
        raise ConfigError(
            f"table `{table.name}` has no clock, so its rows have no order",
            where=f"{where}.table",
            fix="declare its `clock`, or use `kind: windows` with `windows: [all]`",
        )
    only = admit(node.where, table, f"{where}.where")
    values = [_value(column, table, f"{where}.columns.{place}") for place, column in enumerate(node.columns)]
    rows = exp.select(
        sql.named(col(link(table, tables)), OWNER), col(KNOWN), col(TIME),
        *(sql.named(value, column) for value, column in zip(values, node.columns, strict=True)),
    ).from_(sql.table(table.name))  # fmt: skip
    if only:
        rows = rows.where(only.of(table.name))
    look = Look(frame, table)
    seen = sql.both(look.owned(), look.seen())
    moments = [sql.named(look.at, AT)]
    kept: exp.Expression = exp.LTE(this=col(PLACE), expression=sql.literal(node.last))
    if node.window != "all":
        moments.append(sql.named(look.since(span(node.window)), BEGIN))
        kept = exp.And(this=kept, expression=exp.GT(this=col(TIME), expression=col(BEGIN)))
    stars = [exp.Column(this=exp.Star(), table=exp.to_identifier("t", quoted=True))]
    events = exp.select(col(ROW, "f"), *moments, *stars).from_(look.rows())
    events = events.join(sub(rows, "t"), on=seen, join_type="inner")
    placed = exp.select("*", *_places(node, table)).from_(sub(events, "e"))
    channels = [*(col(column) for column in node.columns), *(_clocked(what) for what in node.time)]
    tree = exp.select(col(ROW), col(PLACE), *channels).from_(sub(placed, "s")).where(kept)

    read = clocks(table) | set(only.columns if only else ())
    features = []
    for column in (*node.columns, *node.time):
        own = {column} if column in node.columns else set()
        kind = "categorical" if own and table.columns[column].type == "text" else "numeric"
        text = f"{column} of each event" if own else WORDS[column]
        sources = frozenset(table.sources(read | own))
        features.append(Feature(f"{name}.{column}", name, kind, None, sources, node.window, text))
    return CompiledSequence(name, tuple(features), Query(tree, tables=frozenset({table.name})), node.last)


def _value(column: str, table: Loaded, where: str) -> exp.Expression:
    kind = table.columns[need_column(table, column, where)].type
    if kind in ("date", "timestamp"):
        raise ConfigError(
            f"`{column}` is a {kind}, and a channel holds numbers or texts",
            where=where,
            fix="`time: [gap, age]` says when events happened; `derive` makes a number of another date",
        )
    return col(column) if kind == "text" else exp.cast(col(column), "DOUBLE")


def _places(node: EventSequence, table: Loaded) -> list[exp.Expression]:
    """The place of each event of a row, and the time of the event before it: one sort serves both."""
    by = [TIME, *([KNOWN] if table.spec.event_time else []), *node.columns]

    def over(function: exp.Expression) -> exp.Window:
        order = exp.Order(
            expressions=[exp.Ordered(this=col(name), desc=True, nulls_first=False) for name in by]
        )
        return exp.Window(this=function, partition_by=[col(ROW)], order=order)

    places: list[exp.Expression] = [sql.named(over(sql.call("row_number")), PLACE)]
    if "gap" in node.time:
        places.append(sql.named(over(exp.Lead(this=col(TIME))), "@before"))
    return places


def _clocked(what: str) -> exp.Expression:
    start, end = (col("@before"), col(TIME)) if what == "gap" else (col(TIME), col(AT))
    return sql.named(
        sql.call("ln", exp.Add(this=sql.literal(1), expression=sql.days_between(start, end))), what
    )


def assemble(
    path: Path, compiled: CompiledSequence, rows: int, dtype: type[np.floating] = np.float32
) -> Sequences:
    """The events of a result, which come in any order, in their places. dtype: of the numeric channels."""
    file = pq.ParquetFile(path)
    lengths = np.zeros(rows, np.int64)
    for batch in file.iter_batches(BATCH, columns=[ROW]):
        lengths += np.bincount(batch[ROW].to_numpy(), minlength=rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    numbers, texts = _kinds(compiled.features)
    numeric = np.empty((offsets[-1], len(numbers)), dtype)
    codes = np.empty((offsets[-1], len(texts)), np.int32)
    levels: list[dict[str, int]] = [{} for _ in texts]
    file = pq.ParquetFile(path, read_dictionary=texts)
    for batch in file.iter_batches(BATCH):
        at = offsets[batch[ROW].to_numpy() + 1] - batch[PLACE].to_numpy()
        for index, name in enumerate(numbers):
            values = batch[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
            numeric[at, index] = _finite(values, f"{compiled.name}.{name}", dtype)
        for index, name in enumerate(texts):
            codes[at, index] = _codes(batch[name], levels[index])
    known = []
    for index, name in enumerate(texts):  # codes by the order of the texts, whatever came first
        names = sorted(levels[index])
        place = np.empty(len(names) + 1, np.int32)
        place[[levels[index][text] for text in names]] = np.arange(len(names))
        place[-1] = -1
        codes[:, index] = place[codes[:, index]]
        known.append((name, tuple(names)))
    return Sequences(compiled.name, offsets, numeric, codes, tuple(numbers), tuple(known))


def _kinds(features: Sequence[Feature]) -> tuple[list[str], list[str]]:
    """Names of the numeric channels, and of the categorical ones."""
    numbers = [feature.column for feature in features if feature.kind == "numeric"]
    return numbers, [feature.column for feature in features if feature.kind == "categorical"]


def _finite(values: np.ndarray, channel: str, dtype: type[np.floating]) -> np.ndarray:
    with np.errstate(over="ignore"):
        found = values.astype(dtype)
    if infinite := int(np.isinf(found).sum()):
        raise DataError(
            f"channel `{channel}` has {infinite:,} values that are infinite or beyond 3.4e38",
            where=f"features.{channel.partition('.')[0]}",
            why="models see 32-bit numbers, and no distance to infinity makes sense",
            fix="guard the division that made them, or leave the column out",
        )
    return found


def _codes(column: pa.Array, levels: dict[str, int]) -> np.ndarray:
    """Codes [events] of a batch's texts, -1 where missing; new texts are added to the levels."""
    coded = column if pa.types.is_dictionary(column.type) else column.cast(pa.string()).dictionary_encode()
    lookup = [levels.setdefault(text, len(levels)) for text in coded.dictionary.to_pylist()]
    indices = coded.indices.cast(pa.int32()).fill_null(-1).to_numpy(zero_copy_only=False)
    return np.array([*lookup, -1], np.int32)[indices]
