"""The contract of a table: what each cell means, and which rows break it.

Two steps. `typed` turns raw cells into the declared type, as syntax trees, with the reason where a
cell cannot be. `violations` lets pandera check the typed rows: missing values, ranges, vocabularies,
patterns, unique keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from toolkit.config.tables import Column, ColumnType, Table
from toolkit.data import sql
from toolkit.data.engine import Engine

if TYPE_CHECKING:
    import pandas as pd

SQL_TYPES: dict[ColumnType, str] = {
    "text": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN", "date": "DATE",
    "timestamp": "TIMESTAMP",
}  # fmt: skip
A_NAME = {"text": "a text", "integer": "a whole number", "number": "a number", "boolean": "yes or no",
          "date": "a date", "timestamp": "a timestamp"}  # fmt: skip
WHOLE = r"[+-]?\d+(\.0*)?"
OFFSET = r".*\d{2}:\d{2}.*(Z|z|[+-]\d{2}(:?\d{2})?)"
YES, NO = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")


def present(name: str, column: Column, is_text: bool) -> exp.Expression:
    """The raw cell as text, NULL where it stands for a missing value (empty, or a declared marker)."""
    cell: exp.Expression = exp.cast(sql.col(name), "VARCHAR")
    if column.type != "text":
        cell = exp.Trim(this=cell)
    cell = exp.Nullif(this=cell, expression=sql.literal(""))
    for marker in column.missing:
        cell = exp.Nullif(this=cell, expression=sql.literal(marker))
    return cell


def typed(cell: exp.Expression, column: Column) -> exp.Expression:
    """A text cell as the declared type; NULL if it cannot be."""
    kind = column.type
    if kind == "text":
        return cell
    if kind == "integer":
        whole = sql.call("regexp_full_match", cell, sql.literal(WHOLE))
        return _case(
            whole,
            exp.TryCast(
                this=sql.call("regexp_replace", cell, sql.literal(r"\.0*$"), sql.literal("")),
                to=exp.DataType.build("BIGINT"),
            ),
        )
    if kind == "number":
        value = exp.TryCast(this=cell, to=exp.DataType.build("DOUBLE"))
        return _case(exp.not_(sql.call("isnan", value)), value)
    if kind == "boolean":
        low = exp.Lower(this=cell)
        return exp.Case().when(_among(low, YES), exp.true()).when(_among(low, NO), exp.false())
    if column.format:
        stamp: exp.Expression = sql.call("try_strptime", cell, sql.literal(column.format))
    else:
        stamp = exp.TryCast(this=cell, to=exp.DataType.build("TIMESTAMP"))
    if kind == "date":
        return exp.TryCast(this=stamp, to=exp.DataType.build("DATE"))
    # Python-side names of zones are checked by the configuration; the engine knows the same database.
    zone = column.timezone or "UTC"
    local = exp.AtTimeZone(
        this=exp.AtTimeZone(this=exp.paren(stamp), zone=sql.literal(zone)), zone=sql.literal("UTC")
    )
    absolute = exp.AtTimeZone(
        this=exp.paren(exp.TryCast(this=cell, to=exp.DataType.build("TIMESTAMPTZ"))), zone=sql.literal("UTC")
    )
    return exp.Case().when(has_offset(cell), absolute).else_(local)


def has_offset(cell: exp.Expression) -> exp.Expression:
    """Does a stamp's text carry its own offset from UTC?"""
    return sql.call("regexp_full_match", cell, sql.literal(OFFSET))


def reason(name: str, column: Column, cell: exp.Expression, value: exp.Expression) -> exp.Case:
    """Why a cell breaks the type: a text, or NULL if it does not."""
    unreadable = sql.both(
        exp.not_(exp.Is(this=cell, expression=exp.null())), exp.Is(this=value, expression=exp.null())
    )
    nan = _among(
        exp.Lower(this=cell), ("nan", "+nan", "-nan")
    )  # a number that says "none" is missing, not wrong
    assert unreadable is not None
    if column.type == "number":
        unreadable = sql.both(unreadable, exp.not_(nan))
    case = exp.Case().when(unreadable, sql.literal(f"`{name}` is not {A_NAME[column.type]}"))
    if column.type == "number":
        case = case.when(sql.call("isinf", value), sql.literal(f"`{name}` is infinite"))
    return case


def _case(condition: exp.Expression, value: exp.Expression) -> exp.Case:
    return exp.Case().when(condition, value)


def _among(cell: exp.Expression, values: tuple[str, ...]) -> exp.In:
    return exp.In(this=cell, expressions=[sql.literal(value) for value in values])


def infer(names: list[str], engine: Engine, raw_view: str, is_text: bool) -> dict[str, Column]:
    """Types of undeclared columns, from all rows: the narrowest that every present cell fits.

    A column with a leading zero in front of another digit is a code, not a number.
    """
    if not names:
        return {}
    tries: dict[str, Column] = {
        kind: Column(type=kind) for kind in ("integer", "number", "date", "timestamp")
    }  # type: ignore[arg-type]
    columns = []
    for index, name in enumerate(names):
        plain = present(name, tries["integer"], is_text)
        count = exp.Count(this=plain)
        columns.append(sql.named(count, f"{index} present"))
        coded = sql.call("regexp_full_match", plain, sql.literal(r"[+-]?0\d+.*"))
        columns.append(sql.named(sql.over(exp.Count(this=exp.Star()), coded), f"{index} coded"))
        time = sql.call("regexp_full_match", plain, sql.literal(r".*\d:\d\d.*"))
        columns.append(sql.named(sql.over(exp.Count(this=exp.Star()), time), f"{index} time"))
        for kind, column in tries.items():
            columns.append(sql.named(exp.Count(this=typed(plain, column)), f"{index} {kind}"))
    found = engine.arrow(exp.select(*columns).from_(sql.table(raw_view))).to_pylist()[0]
    types = {}
    for index, name in enumerate(names):
        filled = found[f"{index} present"]
        fits = [kind for kind in tries if filled and found[f"{index} {kind}"] == filled]
        if found[f"{index} coded"] and not found[f"{index} time"]:
            fits = [kind for kind in fits if kind in ("date", "timestamp")]
        if found[f"{index} time"]:
            fits = [kind for kind in fits if kind == "timestamp"]
        types[name] = tries[fits[0]] if fits else Column(type="text")
    return types


def violations(table: Table, columns: dict[str, Column], frame: pd.DataFrame) -> list[tuple[int, str]]:
    """(row, reason) for every typed row that breaks a check; rows are the frame's index.

    frame: [rows, checked columns], index = row number in the file.
    """
    import pandera.pandas as pa

    required = {*table.keys, table.clock}  # a row that does not say when it was known fits no cutoff
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
            checks.append(
                pa.Check.str_matches(rf"^(?:{column.matches})$", error=f"`{name}` does not match its pattern")
            )
        schema_columns[name] = pa.Column(checks=checks, nullable=column.nullable and name not in required)
    schema = pa.DataFrameSchema(
        schema_columns, unique=list(table.keys) or None, report_duplicates="exclude_first"
    )
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        found = []
        for row, check, column in errors.failure_cases[["index", "check", "column"]].itertuples(index=False):
            if check == "not_nullable":
                text = f"`{column}` is missing"
            elif check == "multiple_fields_uniqueness":
                text = f"the key ({', '.join(table.keys)}) stands in an earlier row already"
            else:
                text = str(check)
            found.append((int(row), text))
        return found
    return []


def checked_columns(table: Table, columns: dict[str, Column]) -> list[str]:
    """Columns that pandera has something to say about."""
    return [
        name
        for name, column in columns.items()
        if name in (*table.keys, table.clock)
        or not column.nullable
        or column.values is not None
        or column.matches
        or any(bound is not None for bound in (column.ge, column.gt, column.le, column.lt))
    ]
