"""The contract of a table: what each cell means, and which rows break it.

Two steps. `present` and `typed` turn raw cells into the declared type, as syntax trees, with the
`reason` where a cell cannot be. `violations` lets pandera check the typed rows: missing values, ranges,
vocabularies, patterns, unique keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from toolkit.config.tables import Column, Table
from toolkit.data import sql
from toolkit.data.engine import Engine
from toolkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

A_NAME = {"text": "a text", "integer": "a whole number", "number": "a number", "boolean": "yes or no",
          "date": "a date", "timestamp": "a timestamp"}  # fmt: skip
WHOLE = r"[+-]?\d+(\.0*)?"
CODE = r"[+-]?0\d+.*|\d{16,}"  # 007, or more digits than a number holds exactly
WITH_COMMA = r"[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?"
PLAINLY_COMMA = r".*,(\d{1,2}|\d{4,})"  # 1,5 is no thousand; 1,500 may be
DOTTED_DAY = r"\d{1,2}\.\d{1,2}\.\d{4}"
CALENDAR = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}([ T].*)?"  # the engine would also take 'infinity' and 'epoch'
CLOCK = r".*\d:\d{2}.*"
OFFSET = r".*\d:\d{2}.*([+-]\d{2}(:?\d{2})?|[A-Za-z][A-Za-z_/]*)"  # +02:00, Z, UTC, Europe/Berlin
YES, NO = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")


def present(name: str, column: Column) -> exp.Expression:
    """The raw cell as text; NULL where it stands for a missing value (blank, or a declared marker).

    A picture stays the bytes that it is.
    """
    if column.type == "image":
        picture = exp.cast(sql.col(name), "BLOB")
        size = sql.call("octet_length", picture.copy())
        return _case(exp.GT(this=size, expression=sql.literal(0)), picture)
    cell: exp.Expression = exp.cast(sql.col(name), "VARCHAR")
    bare = exp.Trim(this=cell)
    filled = exp.NEQ(this=bare, expression=sql.literal(""))
    known = _case(filled, cell.copy() if column.type == "text" else bare.copy())
    if not column.missing:
        return known
    gone: list[exp.Expression] = [_among(bare.copy(), tuple(column.missing))]
    if column.type in ("integer", "number"):  # -1 also means -1.0
        number = exp.TryCast(this=bare.copy(), to=exp.DataType.build("DOUBLE"))
        gone += [
            exp.EQ(this=number.copy(), expression=sql.literal(float(m)))
            for m in column.missing if re.fullmatch(r"[+-]?\d+(\.\d*)?", m)
        ]  # fmt: skip
    return exp.Case().when(exp.or_(*gone), exp.null()).else_(known)


def typed(cell: exp.Expression, column: Column) -> exp.Expression:
    """A text cell as the declared type; NULL if it cannot be. Stamps become naive UTC."""
    kind = column.type
    if kind in ("text", "image"):
        return cell
    if kind == "integer":
        bare = sql.call("regexp_replace", cell, sql.literal(r"\.0*$"), sql.literal(""))
        return _case(_matches(cell, WHOLE), exp.TryCast(this=bare, to=exp.DataType.build("BIGINT")))
    if kind == "number":
        if column.decimal == ",":
            bare = sql.call("replace", sql.call("replace", cell, sql.literal("."), sql.literal("")),
                            sql.literal(","), sql.literal("."))  # fmt: skip
            cell = _case(_matches(cell, WITH_COMMA), bare)
        number = exp.TryCast(this=cell, to=exp.DataType.build("DOUBLE"))
        return _case(exp.not_(sql.call("isnan", number)), number)
    if kind == "boolean":
        low = exp.Lower(this=cell)
        return exp.Case().when(_among(low, YES), exp.true()).when(_among(low, NO), exp.false())
    if column.format:
        stamp: exp.Expression = sql.call("try_strptime", cell, sql.literal(column.format))
    else:
        # As written: a stamp's own offset does not move it to another day.
        stamp = _case(_matches(cell, CALENDAR), exp.TryCast(this=cell, to=exp.DataType.build("TIMESTAMP")))
    if kind == "date":
        return _within_the_calendar(exp.TryCast(this=stamp, to=exp.DataType.build("DATE")), "DATE")
    if column.format and "%z" in column.format:
        return _within_the_calendar(_in_zone(stamp, "UTC"), "TIMESTAMP")
    local = _in_zone(_in_zone(exp.cast(stamp, "TIMESTAMP"), column.timezone or "UTC"), "UTC")
    absolute = _in_zone(exp.TryCast(this=cell, to=exp.DataType.build("TIMESTAMPTZ")), "UTC")
    value = exp.Case().when(has_offset(cell, column), absolute).else_(local)
    return _within_the_calendar(value, "TIMESTAMP")


def has_offset(cell: exp.Expression, column: Column) -> exp.Expression:
    """Does a stamp's text carry its own zone or offset from UTC?"""
    if column.format:
        return sql.literal("%z" in column.format)
    return sql.both(_matches(cell, CALENDAR), _matches(cell, OFFSET))  # type: ignore[return-value]


def reason(name: str, column: Column, cell: exp.Expression, value: exp.Expression) -> exp.Case:
    """Why a cell breaks the type: a text, or NULL if it does not."""
    unreadable = sql.both(
        exp.not_(exp.Is(this=cell, expression=exp.null())), exp.Is(this=value, expression=exp.null())
    )
    if column.type == "number":  # a number that says "none" is missing, not wrong
        nan = _among(exp.Lower(this=cell), ("nan", "+nan", "-nan"))
        unreadable = sql.both(unreadable, exp.not_(nan))
    assert unreadable is not None
    case = exp.Case().when(unreadable, sql.literal(f"`{name}` is not {A_NAME[column.type]}"))
    if column.type == "number":
        case = case.when(sql.call("isinf", value), sql.literal(f"`{name}` is infinite"))
    return case


# What an undeclared column is tried as, the narrowest first, and what its cells may show.
TRIES = {
    "integer": Column(type="integer"), "number": Column(type="number"), "comma": Column(type="number", decimal=","),
    "date": Column(type="date"), "dotted": Column(type="date", format="%d.%m.%Y"), "timestamp": Column(type="timestamp"),
}  # fmt: skip
SIGNS = {"code": CODE, "clock": CLOCK, "plainly comma": PLAINLY_COMMA, "dotted day": DOTTED_DAY}
SAMPLE = 1_000


def _case(condition: exp.Expression, value: exp.Expression) -> exp.Case:
    return exp.Case().when(condition, value)


def _matches(cell: exp.Expression, pattern: str) -> exp.Expression:
    return sql.call("regexp_full_match", cell, sql.literal(pattern))


def _among(cell: exp.Expression, values: tuple[str, ...]) -> exp.In:
    return exp.In(this=cell, expressions=[sql.literal(value) for value in values])


def _in_zone(value: exp.Expression, zone: str) -> exp.AtTimeZone:
    # The configuration has checked the name of the zone; the engine knows the same database of zones.
    return exp.AtTimeZone(this=exp.paren(value), zone=sql.literal(zone))


def _within_the_calendar(value: exp.Expression, kind: str) -> exp.Case:
    """Years 1 to 9999, as everything that reads the rows later counts them."""
    low, high = (exp.cast(exp.Literal.string(day), kind) for day in ("0001-01-02", "9999-12-31"))
    return _case(exp.Between(this=exp.paren(value), low=low, high=high), value)


def check_declared(columns: dict[str, Column], where: str, engine: Engine) -> None:
    """Raise ConfigError for a pattern or a date format that cannot be one."""
    for name, column in columns.items():
        try:
            re.compile(column.matches or "")
        except re.error as error:
            raise ConfigError(
                f"`{column.matches}` is not a regular expression: {error}", where=f"{where}.{name}.matches"
            ) from None
        if column.format:
            trial = sql.call("try_strptime", sql.literal("x"), sql.literal(column.format))
            try:
                engine.one(exp.select(trial))
            except DataError as error:
                raise ConfigError(
                    f"`{column.format}` is not a date format",
                    where=f"{where}.{name}.format",
                    why=str(error.__cause__).splitlines()[0],
                    fix="write for example '%d.%m.%Y' or '%Y-%m-%dT%H:%M:%S'",
                ) from None


def infer(names: list[str], engine: Engine, view: str) -> dict[str, Column]:
    """Types of undeclared columns, from all rows: the narrowest that every present cell fits.

    A column with a leading zero in front of another digit, or with numbers too long to be exact, holds
    codes, not numbers. Numbers with a decimal comma are known as such if one of them cannot be a
    thousand (1,5; not 1,500), days with dots (31.12.2024) by their order, which is the same wherever
    they are written so. A column without any cell is text.
    """
    if not names:
        return {}
    everything = dict.fromkeys(names, tuple(TRIES))
    some = _counted(everything, engine, view, SAMPLE)
    # What one cell does not fit, the column does not: most columns are settled by a few rows.
    left = {
        name: tuple(kind for kind in TRIES if some[name][kind] == some[name]["present"]) for name in names
    }
    found = _counted({name: kinds for name, kinds in left.items() if kinds}, engine, view)
    types = {}
    for name in names:
        counts = found.get(name)
        fits = [kind for kind in left[name] if counts and 0 < counts["present"] == counts[kind]]
        if counts and not counts["plainly comma"]:
            fits = [kind for kind in fits if kind != "comma"]
        if counts and counts["dotted day"] != counts["present"]:
            fits = [kind for kind in fits if kind != "dotted"]
        if counts and counts["clock"]:
            fits = [kind for kind in fits if kind == "timestamp"]
        elif counts and counts["code"]:
            fits = [kind for kind in fits if TRIES[kind].type in ("date", "timestamp")]
        types[name] = TRIES[fits[0]] if fits else Column(type="text")
    return types


def _counted(
    kinds: dict[str, tuple[str, ...]], engine: Engine, view: str, rows: int | None = None
) -> dict[str, dict[str, int]]:
    """Of each column the cells that are present, that show each of `SIGNS`, and that fit each of some types.

    rows: look at so many only.
    """
    columns = []
    for index, (name, tried) in enumerate(kinds.items()):
        cell = sql.col(name)
        columns.append(sql.named(exp.Count(this=cell), f"{index} present"))
        for label, pattern in SIGNS.items():
            count = sql.over(exp.Count(this=exp.Star()), _matches(cell, pattern))
            columns.append(sql.named(count, f"{index} {label}"))
        for kind in tried:
            columns.append(sql.named(exp.Count(this=typed(cell, TRIES[kind])), f"{index} {kind}"))
    if not columns:
        return {}
    cells = exp.select(*(sql.named(present(name, TRIES["integer"]), name) for name in kinds)).from_(
        sql.table(view)
    )
    source = exp.Subquery(
        this=cells.limit(rows) if rows else cells, alias=exp.TableAlias(this=exp.to_identifier("cells"))
    )
    found = engine.arrow(exp.select(*columns).from_(source)).to_pylist()[0]
    return {
        name: {label: found[f"{index} {label}"] for label in ("present", *SIGNS, *tried)}
        for index, (name, tried) in enumerate(kinds.items())
    }


def violations(table: Table, columns: dict[str, Column], frame: pd.DataFrame) -> list[tuple[int, str]]:
    """(row, reason) for every check that a typed row breaks; a row may come more than once.

    frame: [rows, checked columns], index = row number. Of rows with the same key the first is kept.
    """
    import pandera.pandas as pa

    schema_columns = {}
    for name in frame.columns:
        column = columns[name]
        checks = [
            getattr(pa.Check, check)(bound, error=f"`{name}` is not {sign} {bound:g}")
            for check, sign, bound in (
                ("ge", ">=", column.ge), ("gt", ">", column.gt), ("le", "<=", column.le), ("lt", "<", column.lt),
            ) if bound is not None
        ]  # fmt: skip
        if column.values is not None:
            checks.append(pa.Check.isin(column.values, error=f"`{name}` is not one of its declared values"))
        if column.matches:
            checks.append(pa.Check(_fits(column.matches), error=f"`{name}` does not match its pattern"))
        schema_columns[name] = pa.Column(checks=checks, nullable=name not in required(table, columns))
    unique = list(table.keys) or None
    schema = pa.DataFrameSchema(schema_columns, unique=unique, report_duplicates="exclude_first")
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        found = []
        for row, check, name in errors.failure_cases[["index", "check", "column"]].itertuples(index=False):
            if check == "not_nullable":
                text = f"`{name}` is missing"
            elif check == "multiple_fields_uniqueness":
                text = repeated(table)
            else:
                text = str(check)
            found.append((int(row), text))
        return sorted(found, key=lambda breach: not breach[1].endswith(" is missing"))
    return []


def repeated(table: Table) -> str:
    """The reason of a row whose key came before."""
    return f"the key ({', '.join(table.keys)}) stands in an earlier row already"


def _fits(pattern: str) -> Callable[[pd.Series], pd.Series]:
    """Does the whole text match? (`$` alone would let a line break through.)"""
    return lambda cells: cells.str.fullmatch(rf"(?:{pattern})")


def required(table: Table, columns: dict[str, Column]) -> set[str]:
    """Columns that may not be missing: keys, the times by which rows are placed, and what is declared so."""
    times = {name for name in (table.clock, table.event_time) if name}
    return {*table.keys, *times, *(name for name, column in columns.items() if not column.nullable)}


def _limited(column: Column) -> bool:
    """Does a column say more of its values than their type and that they may be missing?"""
    bounds = (column.ge, column.gt, column.le, column.lt)
    return column.values is not None or bool(column.matches) or any(bound is not None for bound in bounds)


def only_required(columns: dict[str, Column]) -> bool:
    """Can a typed row break nothing but that a value may not be missing?"""
    return not any(_limited(column) for column in columns.values())


def limited_columns(columns: dict[str, Column]) -> list[str]:
    """Columns of whose values something is declared besides their type and that they may be missing."""
    return [name for name, column in columns.items() if _limited(column)]


def checked_columns(table: Table, columns: dict[str, Column]) -> list[str]:
    """Columns that pandera has something to say about."""
    must = required(table, columns)
    return [name for name, column in columns.items() if name in must or _limited(column)]
