"""Texts as columns: words of all texts seen from a cutoff, hashed to a fixed number of places.

Weinberger et al., "Feature Hashing for Large Scale Multitask Learning" (2009): a word's hash says its
place and its sign, so that words which meet at a place cancel as often as they add. A word weighs
1 + ln(how often it stands in the row's texts), and each row has length 1. Nothing is fitted: nothing can
leak, and scoring needs no vocabulary.

The hash is the first 60 bits of MD5, the same in every process, release and on every machine. Its
remainder is the place, its highest bit the sign.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from sqlglot import exp

from toolkit.config.text import HashedText
from toolkit.config.time import span
from toolkit.data import sql
from toolkit.data.sql import col
from toolkit.data.tables import KNOWN, TIME, Tables
from toolkit.errors import ConfigError
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
    need_texts,
    sub,
)

WORDS, WORD, NEXT, HASH, TIMES, PLACE, WEIGHT = (
    "@words", "@word", "@next", "@hash", "@times", "@place", "@weight",
)  # fmt: skip
LETTERS = r"[\p{L}\p{M}\p{N}]+"  # a word: letters, their marks, digits
DIGITS, SIGN = 15, 1 << 59  # of the hash: hexadecimal digits, and its highest bit
UNIT = 1 << 24  # weights are whole numbers of 1 / UNIT: their sum is the same in whatever order words come


@dataclass(frozen=True)
class CompiledText(CompiledSet):
    """A text set: its query gives `@row`, `@place` and `@weight`, no column for each feature."""


def compile_text(name: str, node: HashedText, tables: Tables, frame: Frame) -> CompiledText:
    """A text set over a frame."""
    where = f"features.{name}"
    table = need_texts(tables, node.table, node.column, where)
    if node.window != "all" and not table.spec.clock:
        raise ConfigError(
            f"table `{table.name}` has no clock, so it has no windows",
            where=f"{where}.window",
            fix="`window: all`, or declare its `clock`",
        )
    only = admit(node.where, table, f"{where}.where")
    text = sql.call("lower", sql.call("nfc_normalize", col(node.column)))
    words = sql.call("regexp_extract_all", text, sql.literal(LETTERS))
    rows = exp.select(
        sql.named(col(link(table, tables)), OWNER), sql.named(words, WORDS), col(KNOWN), col(TIME)
    ).from_(sql.table(table.name))
    if only:
        rows = rows.where(only.of(table.name))
    look = Look(frame, table)
    after = None
    if node.window != "all":
        after = exp.GT(this=col(TIME, "t"), expression=look.since(span(node.window)))
    on = sql.both(look.owned(), look.seen(), after)
    seen = exp.select(col(ROW, "f"), col(WORDS, "t")).from_(look.rows())
    tree = _hashed(seen.join(sub(rows, "t"), on=on, join_type="inner"), node)

    used = {node.column, *(only.columns if only else ()), *clocks(table)}
    sources = frozenset(table.sources(used))
    window = "all texts" if node.window == "all" else node.window
    what = f"{node.column} of {table.name}: words{' and pairs of words' if node.ngrams == 2 else ''}, hashed"
    digits = max(3, len(str(node.size - 1)))
    features = tuple(
        Feature(f"{name}.h{place:0{digits}d}", name, "numeric", None, sources, window, what, name, True)
        for place in range(node.size)
    )
    return CompiledText(name, features, Query(tree, tables=frozenset({table.name})))


def _hashed(seen: exp.Select, node: HashedText) -> exp.Select:
    """From `@row` and the words of a text to `@row`, `@place`, `@weight`: each place of a row once."""
    word: exp.Expression = sql.call("unnest", col(WORDS))
    if node.ngrams == 2:  # lists unnested side by side: the shorter one goes on with NULL
        after = sql.call("unnest", sql.call("list_slice", col(WORDS), sql.literal(2), sql.literal(-1)))
        seen = exp.select(col(ROW), sql.named(word, WORD), sql.named(after, NEXT)).from_(sub(seen, "s"))
        pair = exp.DPipe(this=exp.DPipe(this=col(WORD), expression=sql.literal(" ")), expression=col(NEXT))
        word = sql.call("unnest", sql.call("list_value", col(WORD), pair))
    tokens = exp.select(col(ROW), sql.named(word, WORD)).from_(sub(seen, "w"))
    digits = sql.call("left", sql.call("md5", col(WORD)), sql.literal(DIGITS))
    hashed = exp.cast(exp.DPipe(this=sql.literal("0x"), expression=digits), "BIGINT")
    numbers = exp.select(col(ROW), sql.named(hashed, HASH)).from_(sub(tokens, "t"))
    numbers = numbers.where(exp.not_(exp.Is(this=col(WORD), expression=exp.null())))
    times = exp.select(col(ROW), col(HASH), sql.named(exp.Count(this=exp.Star()), TIMES))
    times = times.from_(sub(numbers, "n")).group_by(col(ROW), col(HASH))

    weight = exp.Add(this=sql.literal(1), expression=sql.call("ln", col(TIMES)))
    units = exp.cast(
        sql.call("round", exp.Mul(this=exp.paren(weight), expression=sql.literal(UNIT))), "BIGINT"
    )
    minus = exp.GTE(this=col(HASH), expression=sql.literal(SIGN))
    signed = exp.Case(ifs=[exp.If(this=minus, true=exp.Neg(this=units))], default=units.copy())
    place = exp.Mod(this=col(HASH), expression=sql.literal(node.size))
    total = exp.cast(exp.Sum(this=signed), "BIGINT")
    return (
        exp.select(col(ROW), sql.named(place, PLACE), sql.named(total, WEIGHT))
        .from_(sub(times, "c"))
        .group_by(col(ROW), place.copy())
    )


def assemble(batches: Iterable[pa.RecordBatch], compiled: CompiledText, rows: int) -> dict[str, np.ndarray]:
    """Feature → float32 [rows], from a result in any order; each row of length 1, without any word missing."""
    X = np.zeros((len(compiled.features), rows), np.float32)
    missing = np.ones(rows, bool)
    for batch in batches:
        at = batch[ROW].to_numpy()
        X[batch[PLACE].to_numpy(), at] = batch[WEIGHT].to_numpy() / UNIT
        missing[at] = False
    length = np.zeros(rows)
    for column in X:
        length += np.square(column, dtype=np.float64)
    length = np.sqrt(length)
    length[length == 0] = 1  # all words have cancelled
    length[missing] = np.nan
    for column in X:
        column /= length
    return {feature.name: X[place] for place, feature in enumerate(compiled.features)}
