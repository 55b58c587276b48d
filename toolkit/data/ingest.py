"""From raw rows to kept ones: typed, checked against the contract, the rejected set aside with a reason.

Rows read = rows kept + rows rejected. A folder in the cache then holds `rows.parquet`, `report.json`
and, if rows were rejected, `rejected.parquet` with them whole.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from toolkit.config.tables import BY_ROW, POSITION, Column, Table
from toolkit.config.text import TextScore
from toolkit.config.time import Span, span
from toolkit.data import contract, lexicon, rhythm, sql
from toolkit.data.engine import Engine
from toolkit.data.rejects import (
    AGAIN,
    RAW,
    REASON,
    REJECTED,
    ROW,
    SHAPES,
    TYPED,
    Malformed,
    refusal,
    rejected_rows,
    repeats,
    swallowed,
    write_left_out,
    write_rejected,
)
from toolkit.data.sources import Raw, unreadable
from toolkit.data.text import LINES, SCANS
from toolkit.errors import DataError

KNOWN, TIME = "@known", "@time"
KEPT = "@kept"  # while a table is read
END_OF_TIME = "9999-12-31 23:59:59"
LAST_BEGINNING = "8999-12-31"  # periods that begin later end beyond the calendar


def build(
    raw: Raw,
    table: Table,
    keys: frozenset[str],
    derive: dict[str, sql.Expression],
    remarks: dict[str, sql.Expression],
    engine: Engine,
    folder: Path,
) -> None:
    """Read, check and write one table. Raises DataError if rows break a contract that refuses them.

    keys: columns that are keys here or elsewhere, and so stay text; derive: derived columns; remarks:
    what is counted among the kept rows, words → condition.
    """
    streamed = _streamed(raw, table)
    files, malformed = _keep(raw, streamed, engine)
    columns, undeclared = _declared(raw, table, keys, engine)
    inferred: dict[str, Column] = {}
    if table.infer:
        free = [name for name in undeclared if name not in keys]
        inferred = contract.infer(free, engine, RAW) | {
            name: Column(type="text") for name in undeclared if name in keys
        }
        undeclared = []
    columns = {
        name: (columns | inferred)[name] for name in raw.columns if name in columns or name in inferred
    }
    _refuse_mixed_zones(raw, columns, engine)
    said = [f"`{was}` of {file} is read as `{name}`" for file, was, name in raw.renamed]
    said += [*raw.said, *_type(columns, table, raw.refused, streamed, engine)]
    rejected = rejected_rows(table, columns, files, engine)
    total = sum(files.values()) + len(malformed)
    counts = Counter([*rejected.values(), *(text for _, _, text in malformed)])
    if counts and (table.on_bad_row == "refuse" or swallowed(malformed)):
        raise refusal(raw, table, columns, rejected, malformed, counts, total, engine)
    if table.on_bad_row == "leave_out" and rejected:
        write_left_out(table, rejected, engine, folder)
    stamps = rhythm.of(table.clock, TYPED, engine) if table.clock else None
    covers = table.covers
    if covers == "auto":
        covers = "7 days" if stamps and stamps.weekday else None
    if (
        not table.keys
        and not raw.made
        and (again := [row for row in repeats(raw, engine) if row not in rejected])
    ):
        dropped = table.repeats == "drop"
        said.append(
            f"rows that repeat an earlier one in every cell: {len(again):,}"
            + (
                "; they are set aside"
                if dropped
                else "; if these are none of their own, declare `repeats: drop`"
            )
        )
        if dropped:
            rejected |= dict.fromkeys(again, AGAIN)
    if stamps:
        said += stamps.words(table.covers, covers)
        if stray := rhythm.stray_end(str(table.clock), TYPED, engine):
            said.append(stray)
        if end := rhythm.incomplete_end(str(table.clock), _numbers(columns, keys), TYPED, engine):
            said.append(end.words(str(table.clock), table.incomplete_end == "drop"))
            if table.incomplete_end == "drop":
                rejected = dict.fromkeys(end.rows(TYPED, engine), end.reason) | rejected
    counts = Counter([*rejected.values(), *(text for _, _, text in malformed)])
    if rejected:
        places = pa.array(list(rejected), pa.int64())
        engine.register(
            REJECTED, pa.table({ROW: places, REASON: pa.array(list(rejected.values()), pa.string())})
        )
    _write(table, columns, derive, span(covers) if covers else None, bool(rejected), engine, folder)
    if counts:
        write_rejected(raw, bool(rejected), malformed, files, engine, folder)
    engine.view(KEPT, folder / "rows.parquet")
    for words, condition in remarks.items():
        matching = sql.over(exp.Count(this=exp.Star()), condition.of(KEPT))
        if count := engine.one(exp.select(matching).from_(sql.table(KEPT)))[0]:
            said.append(f"{words}: {count:,} rows")
    ends = exp.select(exp.Min(this=sql.col(TIME)), exp.Max(this=sql.col(TIME))).from_(sql.table(KEPT))
    first, last = engine.one(ends)
    for name in (RAW, TYPED):
        engine.drop(name)
    scores = _scores(table, columns)
    types = {name: Column(type="number") for name in scores}
    types |= derived_types(derive, pq.read_schema(folder / "rows.parquet"))
    derived = {name: {score.of} for name, score in scores.items()}
    for name, expression in derive.items():
        derived[name] = {scores[c].of if c in scores else c for c in expression.columns}
    (folder / "report.json").write_text(json.dumps({
        "rows_read": total, "rows_kept": total - sum(counts.values()), "reasons": dict(counts.most_common()),
        "columns": {name: column.model_dump() for name, column in (columns | types).items()},
        "inferred": [name for name in raw.columns if name in inferred and name not in keys], "ignored": undeclared,
        "derived": {name: sorted(bases) for name, bases in derived.items()},
        "first": first and first.isoformat(), "last": last and last.isoformat(),
        "files": files, "only_in": _only_in(raw), "covers": covers, "remarks": said,
    }))  # fmt: skip


def _streamed(raw: Raw, table: Table) -> bool:
    """Are the rows read again by each that asks, rather than held in memory? Those of pictures, and of words, are."""
    pictures = any(column.type == "image" for column in table.columns.values())
    return (pictures or raw.made) and not (raw.text or raw.parts or table.score)


def _keep(raw: Raw, streamed: bool, engine: Engine) -> tuple[dict[str, int], Malformed]:
    """Keep the raw rows, numbered from one, file after file. Returns the rows of each file, and lines that are none."""
    files: dict[str, int] = {}
    malformed: Malformed = []
    kept: list[exp.Select] = []
    number = exp.Window(this=sql.call("row_number"))
    for index, part in enumerate(raw.parts or (raw,)):
        for name in (LINES, SCANS):
            engine.drop(name)
        before = sum(files.values())
        row = sql.named(exp.Add(this=number.copy(), expression=sql.literal(before)), ROW)
        name = f"{RAW} {index}" if raw.parts else RAW
        try:
            hold = engine.show if streamed else engine.keep
            hold(name, exp.select(row, "*").from_(part.query.subquery()))
        except DataError as error:
            raise unreadable(part.origin, part.where, error.__cause__ or error) from None
        files[part.origin] = engine.one(exp.select(exp.Count(this=exp.Star())).from_(sql.table(name)))[0]
        lines = _malformed(part, engine)
        malformed += [(n, line, f"{why} of {part.origin}") for n, line, why in lines] if raw.parts else lines
        kept.append(exp.select("*").from_(sql.table(name)))
    if raw.parts:
        together = exp.union(*kept, distinct=False)
        engine.keep(RAW, exp.select("*").from_(together.subquery()).order_by(sql.col(ROW)))
        for index in range(len(kept)):
            engine.drop(f"{RAW} {index}")
    return files, malformed


def _only_in(raw: Raw) -> dict[str, list[str]]:
    """Column → the files that have it, where several are read and some lack it."""
    found = {name: [part.origin for part in raw.parts if name in part.columns] for name in raw.columns}
    return {name: files for name, files in found.items() if len(files) < len(raw.parts)}


def _declared(
    raw: Raw, table: Table, keys: frozenset[str], engine: Engine
) -> tuple[dict[str, Column], list[str]]:
    """The declared columns of the raw rows (keys as text), and the other columns' names."""
    columns = {name: column for name, column in table.columns.items() if name in raw.columns}
    _images_are_bytes(raw, table, columns, engine)
    contract.check_declared(columns, f"dataset.tables.{raw.name}.columns", engine)
    for name in keys & set(columns):
        kept = columns[name].model_dump(include={"nullable", "values", "matches", "missing", "description"})
        columns[name] = Column(type="text", **kept)
    if any(column.decimal == "," for column in columns.values()):
        held = engine.arrow(exp.select("*").from_(sql.table(RAW)).limit(0)).schema
        for name, column in columns.items():  # how texts are written says nothing about a column of numbers
            if not pa.types.is_string(held.field(name).type):
                columns[name] = column.model_copy(update={"decimal": "."})
    if table.key == BY_ROW:
        columns[POSITION] = Column(type="text")
    return columns, [name for name in raw.columns if name not in columns]


def _images_are_bytes(raw: Raw, table: Table, columns: dict[str, Column], engine: Engine) -> None:
    """Columns of pictures hold bytes, and what holds pictures is declared to."""
    held = engine.arrow(exp.select("*").from_(sql.table(RAW)).limit(0)).schema
    for name, column in columns.items():
        if column.type == "image" and not pa.types.is_binary(held.field(name).type):
            raise DataError(
                f"the column `{name}` of `{raw.origin}` holds no pictures",
                where=f"dataset.tables.{raw.name}.columns.{name}",
                why="a picture is the bytes of a PNG or JPEG in a Parquet file",
                fix="declare it as text, or write the file as Parquet with such a column",
            )
    undeclared = [name for name in raw.columns if name not in columns and table.infer]
    for name in undeclared:
        if pa.types.is_binary(held.field(name).type) and _is_picture(name, engine):
            raise DataError(
                f"the column `{name}` of `{raw.origin}` holds pictures, which is nothing to be inferred",
                where=f"dataset.tables.{raw.name}.columns",
                fix=f"declare it: `columns: {{{name}: image}}`",
            )


def _is_picture(name: str, engine: Engine) -> bool:
    """Does the first cell of bytes begin like a PNG or a JPEG?"""
    filled = exp.not_(exp.Is(this=sql.col(name), expression=exp.null()))
    found = engine.arrow(exp.select(sql.col(name)).from_(sql.table(RAW)).where(filled).limit(1))[
        name
    ].to_pylist()
    return bool(found) and found[0].startswith((b"\x89PNG", b"\xff\xd8\xff"))


def _malformed(raw: Raw, engine: Engine) -> Malformed:
    """Lines of a text file that have the wrong shape, as the reader set them aside: (line, text, reason)."""
    if not raw.text:
        return []
    names = ("line", "csv_line", "error_type")
    query = exp.select(*(sql.col(name) for name in names)).distinct().from_(sql.table(LINES))
    found = {
        row["line"]: (row["line"], row["csv_line"], SHAPES.get(row["error_type"], row["error_type"].lower()))
        for row in engine.arrow(query).to_pylist()
    }
    return sorted(found.values())


def _refuse_mixed_zones(raw: Raw, columns: dict[str, Column], engine: Engine) -> None:
    stamps = [name for name, column in columns.items() if column.type == "timestamp" and not column.timezone]
    if not stamps or not raw.text:
        return
    counts = []
    for name in stamps:
        cell = contract.present(name, columns[name])
        counts.append(sql.named(exp.Count(this=cell), f"{name} all"))
        own = sql.over(exp.Count(this=exp.Star()), contract.has_offset(cell, columns[name]))
        counts.append(sql.named(own, f"{name} offset"))
    found = engine.one(exp.select(*counts).from_(sql.table(RAW)))
    for name, total, offset in zip(stamps, found[::2], found[1::2], strict=True):
        if 0 < offset < total:
            raise DataError(
                f"column `{name}` mixes stamps with an offset ({offset:,} rows) and without ({total - offset:,} rows)",
                where=f"{raw.where}, table `{raw.name}`",
                why="a stamp without an offset means another instant in every time zone",
                fix=f"say which zone the others are in: dataset.tables.{raw.name}.columns.{name}.timezone",
            )


def typed_rows(
    columns: dict[str, Column],
    raw: str,
    scores: Mapping[str, exp.Expression] = MappingProxyType({}),
    refused: str | None = None,
) -> tuple[exp.Select, dict[str, exp.Expression]]:
    """Raw rows as the declared types, each with the reason if a cell of it cannot be read.

    raw: the table they are in; scores: further columns, of texts; refused: a column of it with reasons that come first. Returns the query, and column → the reason of cells that are taken as missing
    because they cannot be read.
    """
    values: list[exp.Expression] = []
    reasons: list[exp.Expression] = [sql.col(refused)] if refused else []
    excused: dict[str, exp.Expression] = {}
    for name, column in columns.items():
        cell = contract.present(name, column)
        value = contract.typed(cell, column)
        values.append(sql.named(value, name))
        if column.type not in ("text", "image"):
            why = contract.reason(name, column, cell, value)
            if column.unreadable == "missing":
                excused[name] = why
            else:
                reasons.append(why)
    reason = exp.Coalesce(this=reasons[0], expressions=[*reasons[1:], exp.null()]) if reasons else exp.null()
    said = sql.named(exp.cast(reason, "VARCHAR"), REASON)
    values += [sql.named(score, name) for name, score in scores.items()]
    return exp.select(sql.col(ROW), *values, said).from_(sql.table(raw)), excused


def _type(
    columns: dict[str, Column], table: Table, refused: str | None, streamed: bool, engine: Engine
) -> list[str]:
    """Keep the typed rows with the scores of their texts. Returns what to say of cells that are taken as missing
    because they cannot be read."""
    with lexicon.functions(_scores(table, columns), engine) as functions:
        scores = {}
        for name, function in functions.items():
            of = table.score[name].of
            scores[name] = sql.call(function, contract.present(of, columns[of]))
        typed, excused = typed_rows(columns, RAW, scores, refused)
        (engine.show if streamed else engine.keep)(TYPED, typed)
    if not excused:
        return []
    counts = [sql.named(exp.Count(this=why), name) for name, why in excused.items()]
    found = engine.one(exp.select(*counts).from_(sql.table(RAW)))
    return [
        f"`{name}` is not {contract.A_NAME[columns[name].type]}, and so is missing: {count:,} rows"
        for name, count in zip(excused, found, strict=True)
        if count
    ]


def _scores(table: Table, columns: dict[str, Column]) -> dict[str, TextScore]:
    """The scores of texts that are there."""
    return {name: score for name, score in table.score.items() if score.of in columns}


def _numbers(columns: dict[str, Column], keys: frozenset[str]) -> list[str]:
    """The columns that can be added up."""
    return [
        name for name, column in columns.items() if column.type in ("integer", "number") and name not in keys
    ]


def _instant(name: str | None, columns: dict[str, Column], covers: Span | None = None) -> exp.Expression:
    if name is None:
        return exp.cast(exp.null(), "TIMESTAMP")
    dated = columns[name].type == "date"
    if not dated and not covers:
        return sql.col(name)
    # A date is known, and over, at the end of its day; the beginning of a period at the period's end.
    if covers:
        begin = exp.cast(sql.col(name), "TIMESTAMP")
        near = sql.call("least", begin, exp.cast(exp.Literal.string(LAST_BEGINNING), "TIMESTAMP"))
        end: exp.Expression = exp.Add(this=near, expression=sql.interval(covers))
    else:
        end = exp.cast(exp.Add(this=sql.col(name), expression=sql.literal(1)), "TIMESTAMP")
    return exp.Least(this=end, expressions=[exp.cast(exp.Literal.string(END_OF_TIME), "TIMESTAMP")])


def whole_rows(
    table: Table, columns: dict[str, Column], derive: dict[str, sql.Expression], covers: Span | None
) -> exp.Select:
    """Typed rows with their derived columns and the two instants."""
    happens = _instant(table.event_time, columns) if table.event_time else None
    return exp.select(
        *(sql.col(name, TYPED) for name in [*columns, *_scores(table, columns)]),
        *(sql.named(exp.paren(expression.of(TYPED)), name) for name, expression in derive.items()),
        sql.named(_instant(table.clock, columns, covers), KNOWN),
        sql.named(happens or _instant(table.clock, columns, covers), TIME),
    ).from_(sql.table(TYPED))


def _write(
    table: Table,
    columns: dict[str, Column],
    derive: dict[str, sql.Expression],
    covers: Span | None,
    some_rejected: bool,
    engine: Engine,
    folder: Path,
) -> None:
    rows = whole_rows(table, columns, derive, covers)
    if some_rejected:
        same = exp.EQ(this=sql.col(ROW, TYPED), expression=sql.col(ROW, REJECTED))
        rows = rows.join(sql.table(REJECTED), on=same, join_type="anti").order_by(sql.col(ROW, TYPED))
    engine.write(rows, folder / "rows.parquet")  # without a join the engine keeps the order of the file


def derived_types(derive: Iterable[str], found: pa.Schema) -> dict[str, Column]:
    """Types of the derived columns, as the engine gave them."""
    return {name: Column(type=_column_type(found.field(name).type)) for name in derive}


def _column_type(kind: pa.DataType) -> Any:
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_date(kind):
        return "date"
    return "timestamp" if pa.types.is_timestamp(kind) else "text"
