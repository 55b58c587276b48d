"""From raw rows to kept ones: typed, checked against the contract, the rejected set aside with a reason.

Rows read = rows kept + rows rejected. A folder in the cache then holds `rows.parquet`, `report.json`
and, if rows were rejected, `rejected.parquet` with them whole.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from toolkit.config.tables import BY_ROW, POSITION, Column, Table
from toolkit.data import contract, sql
from toolkit.data.engine import Engine
from toolkit.data.sources import Raw, unreadable
from toolkit.data.text import LINES, SCANS
from toolkit.errors import DataError

KNOWN, TIME, ROW, REASON = "@known", "@time", "@row", "@reason"
RAW, TYPED, REJECTED, KEPT = "@raw", "@typed", "@rejected", "@kept"  # while a table is read
END_OF_TIME = "9999-12-31 23:59:59"
SHAPES = {"TOO MANY COLUMNS": "too many cells in the line", "MISSING COLUMNS": "too few cells in the line",
          "UNQUOTED VALUE": "a quote that is not closed", "INVALID ENCODING": "bytes that are not UTF-8",
          "LINE SIZE OVER MAXIMUM": "a line of more than 16 MB"}  # fmt: skip


def build(
    raw: Raw,
    table: Table,
    keys: frozenset[str],
    derive: dict[str, sql.Expression],
    engine: Engine,
    folder: Path,
) -> None:
    """Read, check and write one table. Raises DataError if rows break a contract that refuses them.

    keys: columns that are keys here or elsewhere, and so stay text; derive: derived columns.
    """
    columns, undeclared = _read(raw, table, keys, engine)
    malformed = _malformed(raw, engine)
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
    _type(columns, engine)
    rejected = _rejected(table, columns, engine)
    total = engine.one(exp.select(exp.Count(this=exp.Star())).from_(sql.table(RAW)))[0] + len(malformed)
    counts = Counter([*rejected.values(), *(text for _, _, text in malformed)])
    if counts and (table.on_bad_row == "refuse" or _swallowed(malformed)):
        raise _refusal(raw, table, columns, rejected, malformed, counts, total, engine)
    if rejected:
        places = pa.array(list(rejected), pa.int64())
        engine.register(
            REJECTED, pa.table({ROW: places, REASON: pa.array(list(rejected.values()), pa.string())})
        )
    _write(table, columns, derive, bool(rejected), engine, folder)
    if counts:
        _write_rejected(raw, bool(rejected), malformed, engine, folder)
    engine.view(KEPT, folder / "rows.parquet")
    span = exp.select(exp.Min(this=sql.col(TIME)), exp.Max(this=sql.col(TIME))).from_(sql.table(KEPT))
    first, last = engine.one(span)
    for name in (RAW, TYPED):
        engine.drop(name)
    types = _derived_types(derive, folder / "rows.parquet")
    (folder / "report.json").write_text(json.dumps({
        "rows_read": total, "rows_kept": total - sum(counts.values()), "reasons": dict(counts.most_common()),
        "columns": {name: column.model_dump() for name, column in (columns | types).items()},
        "inferred": [name for name in raw.columns if name in inferred and name not in keys], "ignored": undeclared,
        "derived": {name: sorted(expression.columns) for name, expression in derive.items()},
        "first": first and first.isoformat(), "last": last and last.isoformat(),
    }))  # fmt: skip


def _read(
    raw: Raw, table: Table, keys: frozenset[str], engine: Engine
) -> tuple[dict[str, Column], list[str]]:
    """Keep the raw rows, numbered from one. Returns the declared columns (keys as text) and the others."""
    for name in (LINES, SCANS):
        engine.drop(name)
    number = sql.named(exp.Window(this=sql.call("row_number")), ROW)
    try:
        engine.keep(RAW, exp.select(number, "*").from_(raw.query.subquery()))
    except DataError as error:
        raise unreadable(raw.origin, raw.where, error.__cause__ or error) from None
    columns = {name: column for name, column in table.columns.items() if name in raw.columns}
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


def _malformed(raw: Raw, engine: Engine) -> list[tuple[int, str, str]]:
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


def _swallowed(malformed: list[tuple[int, str, str]]) -> bool:
    """Did an open quote swallow the lines after it? Then nobody can say how many rows are lost."""
    return any(text == SHAPES["UNQUOTED VALUE"] and "\n" in line.strip() for _, line, text in malformed)


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


def _type(columns: dict[str, Column], engine: Engine) -> None:
    """Keep the typed rows, each with the reason if a cell of it cannot be read."""
    values, reasons = [], []
    for name, column in columns.items():
        cell = contract.present(name, column)
        value = contract.typed(cell, column)
        values.append(sql.named(value, name))
        if column.type != "text":
            reasons.append(contract.reason(name, column, cell, value))
    reason = exp.Coalesce(this=reasons[0], expressions=[*reasons[1:], exp.null()]) if reasons else exp.null()
    engine.keep(
        TYPED,
        exp.select(sql.col(ROW), *values, sql.named(exp.cast(reason, "VARCHAR"), REASON)).from_(
            sql.table(RAW)
        ),
    )


def _rejected(table: Table, columns: dict[str, Column], engine: Engine) -> dict[int, str]:
    """Row number → the first reason why it breaks the contract."""
    rows = exp.select(sql.col(ROW)).from_(sql.table(TYPED)).order_by(sql.col(ROW))
    readable = exp.Is(this=sql.col(REASON), expression=exp.null())
    broken = engine.arrow(rows.select(sql.col(REASON)).where(exp.not_(readable)))
    rejected = dict(zip(broken[ROW].to_pylist(), broken[REASON].to_pylist(), strict=True))
    if checked := contract.checked_columns(table, columns):
        typed = engine.arrow(rows.select(*(sql.col(name) for name in checked)).where(readable))
        frame = typed.to_pandas(date_as_object=False).set_index(ROW)
        for row, text in contract.violations(table, columns, frame):
            rejected.setdefault(row, text)
    return rejected


def _refusal(
    raw: Raw,
    table: Table,
    columns: dict[str, Column],
    rejected: dict[int, str],
    malformed: list[tuple[int, str, str]],
    counts: Counter[str],
    total: int,
    engine: Engine,
) -> DataError:
    """The message: how many rows of which file break what, with an example of each, and what to do."""
    first = {text: row for row, text in sorted(rejected.items(), reverse=True)}
    lines = []
    commas = False
    for text, count in counts.most_common(6):
        about = text if not text.endswith(" is missing") else ""
        name = next((name for name in columns if about.startswith(f"`{name}` ")), None)
        example = ""
        if name is not None and text in first:
            cell = exp.select(exp.cast(sql.col(name), "VARCHAR")).from_(sql.table(RAW))
            here = exp.EQ(this=sql.col(ROW), expression=sql.literal(first[text]))
            value = str(engine.one(cell.where(here))[0])
            example = f" (for example {value[:40]!r})"
            commas |= about.endswith("is not a number") and bool(
                re.fullmatch(contract.WITH_COMMA, value.strip())
            )
        lines.append(f"{text}{example}: {count:,} row{'s' if count > 1 else ''}")
    places = [f"record {', '.join(str(row) for row in sorted(rejected)[:3])}"] if rejected else []
    places += [f"line {', '.join(str(line) for line, _, _ in malformed[:3])}"] if malformed else []
    fix = f"correct the file or the declaration, or say `on_bad_row: drop` for table `{raw.name}`"
    if any("stands in an earlier row" in text for text in counts):
        fix += f", or another `key`: the columns that tell its rows apart, or '{BY_ROW}' if none do"
    if _swallowed(malformed):
        fix = "close the quote in the file; the rows after it cannot be told apart, so none can be dropped"
    elif commas:
        fix += ", or declare its decimal sign: `decimal: ','`"
    elif any(text.endswith(("is not a date", "is not a timestamp")) for text in counts):
        fix += ", or declare how its dates are written: `format: '%d.%m.%Y'`"
    return DataError(
        f"`{raw.origin}` breaks the contract of table `{raw.name}` in {sum(counts.values()):,} of {total:,} rows",
        where=f"{raw.where}, {'; '.join(places)}",
        why="; ".join(lines) + (" …" if len(counts) > 6 else ""),
        fix=fix,
    )


def _instant(name: str | None, columns: dict[str, Column]) -> exp.Expression:
    if name is None:
        return exp.cast(exp.null(), "TIMESTAMP")
    if columns[name].type != "date":
        return sql.col(name)
    # A date is known, and over, at the end of its day.
    end = exp.cast(exp.Add(this=sql.col(name), expression=sql.literal(1)), "TIMESTAMP")
    return exp.Least(this=end, expressions=[exp.cast(exp.Literal.string(END_OF_TIME), "TIMESTAMP")])


def _write(
    table: Table,
    columns: dict[str, Column],
    derive: dict[str, sql.Expression],
    some_rejected: bool,
    engine: Engine,
    folder: Path,
) -> None:
    rows = exp.select(
        *(sql.col(name, TYPED) for name in columns),
        *(sql.named(exp.paren(expression.of(TYPED)), name) for name, expression in derive.items()),
        sql.named(_instant(table.clock, columns), KNOWN),
        sql.named(_instant(table.event_time or table.clock, columns), TIME),
    ).from_(sql.table(TYPED))
    if some_rejected:
        same = exp.EQ(this=sql.col(ROW, TYPED), expression=sql.col(ROW, REJECTED))
        rows = rows.join(sql.table(REJECTED), on=same, join_type="anti").order_by(sql.col(ROW, TYPED))
    engine.write(rows, folder / "rows.parquet")  # without a join the engine keeps the order of the file


def _write_rejected(
    raw: Raw, some_rejected: bool, malformed: Iterable[tuple[int, str, str]], engine: Engine, folder: Path
) -> None:
    """Rejected rows whole, as text: where they stood (record, or line of the file), why, and their cells."""
    lines = list(malformed)
    parts = [pa.table({"@line": pa.array([line for line, _, _ in lines], pa.int64()),
                       REASON: pa.array([text for _, _, text in lines], pa.string()),
                       "@text": pa.array([line for _, line, _ in lines], pa.string())})]  # fmt: skip
    if some_rejected:
        cells = [sql.named(exp.cast(sql.col(name, RAW), "VARCHAR"), name) for name in raw.columns]
        same = exp.EQ(this=sql.col(ROW, RAW), expression=sql.col(ROW, REJECTED))
        rows = exp.select(sql.col(ROW, RAW), sql.col(REASON, REJECTED), *cells).from_(sql.table(RAW))
        parts = [
            engine.arrow(rows.join(sql.table(REJECTED), on=same).order_by(sql.col(ROW, RAW))),
            *(parts if lines else []),
        ]
    pq.write_table(pa.concat_tables(parts, promote_options="default"), folder / "rejected.parquet")


def _derived_types(derive: dict[str, sql.Expression], path: Path) -> dict[str, Column]:
    """Types of the derived columns, as the engine gave them."""
    found = pq.read_schema(path)
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
