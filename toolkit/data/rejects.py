"""Rows that a table does not keep: which, why, the message that refuses them, and the files that hold them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlglot import exp

from toolkit.config.tables import BY_ROW, Column, Table
from toolkit.data import contract, sql
from toolkit.data.engine import Engine
from toolkit.data.sources import Raw
from toolkit.errors import DataError

ROW, REASON, OWNER = "@row", "@reason", "@entity"
AGAIN = "repeats an earlier row in every cell"
RAW, TYPED, REJECTED = "@raw", "@typed", "@rejected"  # while a table is read
SHAPES = {"TOO MANY COLUMNS": "too many cells in the line", "MISSING COLUMNS": "too few cells in the line",
          "UNQUOTED VALUE": "a quote that is not closed", "INVALID ENCODING": "bytes that are not UTF-8",
          "LINE SIZE OVER MAXIMUM": "a line of more than 16 MB"}  # fmt: skip
Malformed = list[tuple[int, str, str]]  # (line, text, reason) of lines that have the wrong shape


def rejected_rows(
    table: Table, columns: dict[str, Column], files: dict[str, int], engine: Engine
) -> dict[int, str]:
    """Row number → the first reason why it breaks the contract."""
    rows = exp.select(sql.col(ROW)).from_(sql.table(TYPED)).order_by(sql.col(ROW))
    readable = exp.Is(this=sql.col(REASON), expression=exp.null())
    broken = engine.arrow(rows.select(sql.col(REASON)).where(exp.not_(readable)))
    rejected = dict(zip(broken[ROW].to_pylist(), broken[REASON].to_pylist(), strict=True))
    if checked := contract.checked_columns(table, columns):
        if not table.keys and contract.only_required(
            columns
        ):  # of millions of rows, those that lack something
            lacks = (exp.Is(this=sql.col(name), expression=exp.null()) for name in checked)
            rows = rows.where(exp.or_(*lacks))
        typed = engine.arrow(rows.select(*(sql.col(name) for name in checked)).where(readable))
        frame = typed.to_pandas(date_as_object=False).set_index(ROW)
        repeated = contract.repeated(table)
        where = _first_of_key(table, frame, files) if len(files) > 1 else {}
        for row, text in contract.violations(table, columns, frame):
            rejected.setdefault(row, where.get(row, text) if text == repeated else text)
    return rejected


def repeats(raw: Raw, engine: Engine) -> list[int]:
    """Numbers of the rows that repeat an earlier one in every cell."""
    cells = [sql.col(name) for name in raw.columns]
    mark = sql.call(
        "hash", *cells
    )  # tells millions of rows apart; the few that share one are compared by cell
    twice = exp.select(sql.named(mark, "mark")).from_(sql.table(RAW)).group_by(mark.copy())
    twice = twice.having(exp.GT(this=exp.Count(this=exp.Star()), expression=sql.literal(1)))
    place = exp.Window(
        this=sql.call("row_number"),
        partition_by=[cell.copy() for cell in cells],
        order=exp.Order(expressions=[exp.Ordered(this=sql.col(ROW))]),
    )
    rows = exp.select(sql.col(ROW), sql.named(place, "place")).from_(sql.table(RAW))
    rows = rows.where(exp.In(this=mark.copy(), query=twice.subquery()))
    later = exp.GT(this=sql.col("place"), expression=sql.literal(1))
    found = exp.select(sql.col(ROW)).from_(rows.subquery()).where(later).order_by(sql.col(ROW))
    return engine.arrow(found)[ROW].to_pylist()


def _first_of_key(table: Table, frame: pd.DataFrame, files: dict[str, int]) -> dict[int, str]:
    """Row number of each later row of a key → the reason that names the file of the first one, and its own."""
    ends = np.cumsum(list(files.values()))
    key = ", ".join(table.keys)
    again = frame[frame.duplicated(list(table.keys), keep=False)]
    first = pd.Series(again.index, again.index).groupby([again[name] for name in table.keys]).transform("min")
    found = {}
    again_at = first.index.to_numpy()[first.to_numpy() != first.index]
    for row, earlier in zip(again_at.tolist(), first[again_at].tolist(), strict=True):
        there, here = (list(files)[int(np.searchsorted(ends, number))] for number in (earlier, row))
        stands = f"in an earlier row of {here}" if here == there else f"in {there}"
        found[row] = f"a row of {here}: its key ({key}) stands {stands} already"
    return found


def swallowed(malformed: Malformed) -> bool:
    """Did an open quote swallow the lines after it? Then nobody can say how many rows are lost."""
    return any(
        text.startswith(SHAPES["UNQUOTED VALUE"]) and "\n" in line.strip() for _, line, text in malformed
    )


def refusal(
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
    if any(text.endswith(" already") for text in counts):
        fix += f", or another `key`: the columns that tell its rows apart, or '{BY_ROW}' if none do"
    if swallowed(malformed):
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


def write_left_out(table: Table, rejected: dict[int, str], engine: Engine, folder: Path) -> None:
    """The keys of the entities that rejected rows are about, as far as the rows say them."""
    rows = engine.arrow(exp.select(sql.col(ROW), sql.col(str(table.entity))).from_(sql.table(TYPED)))
    bad = rows.filter(pc.is_in(rows[ROW], pa.array(list(rejected), rows[ROW].type)))
    keys = pc.unique(bad[table.entity].drop_null())
    pq.write_table(pa.table({OWNER: keys}), folder / "left_out.parquet")


def write_rejected(
    raw: Raw,
    some_rejected: bool,
    malformed: Iterable[tuple[int, str, str]],
    files: dict[str, int],
    engine: Engine,
    folder: Path,
) -> None:
    """Rejected rows whole, as text (but for pictures): where they stood (record, or line of the file), why, and their cells.

    Where several files were read, records are counted in each of them.
    """
    lines = list(malformed)
    parts = [pa.table({"@line": pa.array([line for line, _, _ in lines], pa.int64()),
                       REASON: pa.array([text for _, _, text in lines], pa.string()),
                       "@text": pa.array([line for _, line, _ in lines], pa.string())})]  # fmt: skip
    if some_rejected:
        held = engine.arrow(exp.select("*").from_(sql.table(RAW)).limit(0)).schema
        binary = {name for name in raw.columns if pa.types.is_binary(held.field(name).type)}
        cells = [
            sql.named(exp.cast(exp.null() if name in binary else sql.col(name, RAW), "VARCHAR"), name)
            for name in raw.columns
        ]
        same = exp.EQ(this=sql.col(ROW, RAW), expression=sql.col(ROW, REJECTED))
        rows = exp.select(sql.col(ROW, RAW), sql.col(REASON, REJECTED), *cells).from_(sql.table(RAW))
        cells_of = engine.arrow(rows.join(sql.table(REJECTED), on=same).order_by(sql.col(ROW, RAW)))
        if len(files) > 1:
            cells_of = _in_files(cells_of, files)
        parts = [cells_of, *(parts if lines else [])]
    pq.write_table(pa.concat_tables(parts, promote_options="default"), folder / "rejected.parquet")


def _in_files(rows: pa.Table, files: dict[str, int]) -> pa.Table:
    """Rows with the file that each stood in, and their numbers counted from its beginning."""
    ends = np.cumsum(list(files.values()))
    number = rows[ROW].to_numpy()
    at = np.searchsorted(ends, number)
    begins = np.concatenate([[0], ends[:-1]])
    rows = rows.set_column(0, ROW, pa.array(number - begins[at]))
    return rows.add_column(0, "@file", pa.array([list(files)[place] for place in at], pa.string()))
