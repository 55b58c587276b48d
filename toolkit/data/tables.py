"""Loaded tables: typed, checked against their contract, kept as Parquet, rejected rows set aside.

Rows read = rows kept + rows rejected with a reason. Every kept row carries two instants besides its
columns: `@known`, when it became known, and `@time`, when it happened. A date is known at the end of
its day, so a row stamped with the cutoff's own date lies after the cutoff.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from toolkit.config.tables import Column, Dataset, Source, Table
from toolkit.data import contract, sql
from toolkit.data.cache import Cache, code_digest, digest
from toolkit.data.engine import Engine
from toolkit.data.sources import Raw, open_raw
from toolkit.errors import DataError, did_you_mean

KNOWN, TIME, ROW = "@known", "@time", "@row"


@dataclass(frozen=True)
class Loaded:
    """A table that keeps its contract.

    columns: name → type, derived ones included; inferred: those whose type was not declared;
    derived: derived column → the declared columns that it is made of.
    """

    name: str
    spec: Table
    path: Path
    origin: str
    fingerprint: str
    rows_read: int
    rows_kept: int
    reasons: dict[str, int]
    columns: dict[str, Column]
    inferred: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    derived: dict[str, tuple[str, ...]] = field(default_factory=dict)
    first: datetime | None = None
    last: datetime | None = None
    rejected: Path | None = None

    @property
    def rows_rejected(self) -> int:
        return self.rows_read - self.rows_kept

    def sources(self, columns: set[str] | frozenset[str]) -> set[tuple[str, str]]:
        """(table, column) pairs behind some columns, derived ones resolved."""
        return {(self.name, base) for name in columns for base in self.derived.get(name, (name,))}


@dataclass(frozen=True)
class Tables:
    """All tables that a recipe uses, registered with the engine under their own names."""

    dataset: Dataset
    loaded: dict[str, Loaded]

    def __getitem__(self, name: str) -> Loaded:
        if name not in self.loaded:
            raise DataError(f"no table is called `{name}`", fix=did_you_mean(name, self.loaded))
        return self.loaded[name]

    def fingerprints(self, names: set[str]) -> dict[str, str]:
        return {name: self.loaded[name].fingerprint for name in sorted(names)}


def load(
    dataset: Dataset,
    source: Source,
    names: list[str],
    engine: Engine,
    cache: Cache,
    optional: dict[str, set[str]] | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Tables:
    """Load tables by name. Raises DataError naming file, column and row count.

    optional: table → columns that may be absent (labels, when new rows are scored).
    """
    loaded = {}
    with tempfile.TemporaryDirectory(prefix="toolkit-") as folder:
        for name in names:
            if progress:
                progress(f"reading {name}", len(loaded) / max(len(names), 1))
            scratch = Path(folder)
            raw = open_raw(name, dataset.tables[name], source, engine, cache, scratch, progress)
            loaded[name] = _load(raw, dataset.tables[name], engine, cache, (optional or {}).get(name, set()))
            engine.view(name, loaded[name].path)
    return Tables(dataset, loaded)


def _load(raw: Raw, table: Table, engine: Engine, cache: Cache, optional: set[str]) -> Loaded:
    absent = [name for name in table.columns if name not in raw.columns]
    for name in absent:
        if name not in optional:
            raise DataError(
                f"`{raw.origin}` has no column `{name}`, which table `{raw.name}` declares",
                where=raw.origin,
                fix=did_you_mean(name, raw.columns),
            )
    for role in ("clock", "event_time", "entity", *table.keys):
        name = getattr(table, role, None) or (role if role in table.keys else None)
        if name and name not in raw.columns:
            raise DataError(
                f"`{raw.origin}` has no column `{name}`, which table `{raw.name}` names as its "
                f"{role if role != name else 'key'}",
                where=raw.origin,
                fix=did_you_mean(name, raw.columns),
            )
    material = {
        "content": raw.fingerprint, "table": table.model_dump(exclude={"description", "observed_until"}),
        "absent": absent, "name": raw.name, "code": code_digest("data"),
    }  # fmt: skip
    folder = cache.entry(
        "tables", material, lambda aside: _build(raw, table, absent, engine, aside), raw.name
    )
    report = json.loads((folder / "report.json").read_text())
    columns = {name: Column.model_validate(value) for name, value in report["columns"].items()}
    return Loaded(
        raw.name, table, folder / "rows.parquet", raw.origin, digest(material),
        report["rows_read"], report["rows_kept"], report["reasons"], columns,
        tuple(report["inferred"]), tuple(report["ignored"]),
        {name: tuple(bases) for name, bases in report["derived"].items()},
        *(datetime.fromisoformat(report[key]) if report[key] else None for key in ("first", "last")),
        folder / "rejected.parquet" if report["rows_read"] > report["rows_kept"] else None,
    )  # fmt: skip


def _build(raw: Raw, table: Table, absent: list[str], engine: Engine, folder: Path) -> None:
    engine.drop("raw_rejects")
    engine.drop("raw_scans")
    numbered = exp.select(sql.named(exp.Window(this=sql.call("row_number")), ROW), "*").from_(
        raw.query.subquery()
    )
    engine.keep("raw", numbered)
    malformed = _malformed(engine, raw)
    columns = {name: column for name, column in table.columns.items() if name not in absent}
    undeclared = [name for name in raw.columns if name not in table.columns]
    inferred = []
    if table.infer:
        keyed = {*table.keys, table.entity}
        for name, column in contract.infer(
            [n for n in undeclared if n not in keyed], engine, "raw", raw.text
        ).items():
            columns[name] = column
            inferred.append(name)
        columns |= {name: Column(type="text") for name in undeclared if name in keyed}
        undeclared = []
    columns = {name: columns[name] for name in raw.columns if name in columns}
    _refuse_mixed_zones(raw, columns, engine)

    values, reasons = {}, []
    for name, column in columns.items():
        text_key = name in table.keys or name == table.entity
        cell = contract.present(name, column, raw.text)
        values[name] = contract.typed(cell, Column(type="text") if text_key else column)
        if column.type != "text" and not text_key:
            reasons.append(contract.reason(name, column, cell, values[name]))
    reason = exp.Coalesce(this=reasons[0], expressions=[*reasons[1:], exp.null()]) if reasons else exp.null()
    engine.keep("typed", exp.select(
        sql.col(ROW), *(sql.named(value, name) for name, value in values.items()),
        sql.named(exp.cast(reason, "VARCHAR"), "@reason"),
    ).from_(sql.table("raw")))  # fmt: skip

    broken = engine.arrow(
        exp.select(sql.col(ROW), sql.col("@reason"))
        .from_(sql.table("typed"))
        .where(exp.not_(exp.Is(this=sql.col("@reason"), expression=exp.null())))
    )
    rejected = dict(zip(broken[ROW].to_pylist(), broken["@reason"].to_pylist(), strict=True))
    checked = contract.checked_columns(table, columns)
    if checked:
        rows = (
            exp.select(sql.col(ROW), *(sql.col(name) for name in checked))
            .from_(sql.table("typed"))
            .where(exp.Is(this=sql.col("@reason"), expression=exp.null()))
            .order_by(sql.col(ROW))
        )
        frame = engine.arrow(rows).to_pandas(date_as_object=False).set_index(ROW)
        as_text = {name: Column(type="text") for name in table.keys}
        for row, text in contract.violations(table, columns | as_text, frame):
            rejected.setdefault(row, text)

    total = engine.one(exp.select(exp.Count(this=exp.Star())).from_(sql.table("raw")))[0]
    counts: dict[str, int] = {}
    for text in [*rejected.values(), *(text for _, text in malformed)]:
        counts[text] = counts.get(text, 0) + 1
    bad = len(rejected) + len(malformed)
    if bad and table.on_bad_row == "refuse":
        rows_text = ", ".join(str(row + raw.text) for row in sorted(rejected)[:3])
        lines = "; ".join(
            f"{text}: {n:,} rows" for text, n in sorted(counts.items(), key=lambda item: -item[1])[:6]
        )
        raise DataError(
            f"`{raw.origin}` breaks the contract of table `{raw.name}` in {bad:,} of {total + len(malformed):,} rows",
            where=f"{raw.origin}, record {rows_text}"
            if rejected
            else f"{raw.origin}, line {malformed[0][0]}",
            why=lines,
            fix=f"correct the file, the declaration, or say `on_bad_row: drop` for table `{raw.name}`",
        )
    engine.register("rejected", pa.table({
        ROW: pa.array(list(rejected), pa.int64()), "reason": pa.array(list(rejected.values()), pa.string()),
    }))  # fmt: skip
    _write(raw, table, columns, engine, folder)
    if bad:
        _write_rejected(raw, malformed, engine, folder)
    derived = {
        name: sorted(sql.expression(text, columns, f"dataset.tables.{raw.name}.derive.{name}").columns)
        for name, text in table.derive.items()
    }
    engine.view("kept", folder / "rows.parquet")
    first, last = engine.one(
        exp.select(exp.Min(this=sql.col(TIME)), exp.Max(this=sql.col(TIME))).from_(sql.table("kept"))
    )
    types = _derived_types(table, folder / "rows.parquet")
    for name in ("raw", "typed"):
        engine.drop(name)
    (folder / "report.json").write_text(json.dumps({
        "rows_read": total + len(malformed), "rows_kept": total - len(rejected),
        "reasons": dict(sorted(counts.items(), key=lambda item: -item[1])),
        "columns": {name: column.model_dump() for name, column in (columns | types).items()},
        "inferred": inferred, "ignored": undeclared, "derived": derived,
        "first": first and first.isoformat(), "last": last and last.isoformat(),
    }))  # fmt: skip


def _malformed(engine: Engine, raw: Raw) -> list[tuple[int, str]]:
    """Lines of a text file that have the wrong shape, as the reader set them aside."""
    if not raw.rejects:
        return []
    query = exp.select(sql.col("line"), sql.col("error_type")).distinct().from_(sql.table("raw_rejects"))
    rows = engine.arrow(query).to_pylist()
    words = {"TOO MANY COLUMNS": "too many cells in the line", "MISSING COLUMNS": "too few cells in the line",
             "UNQUOTED VALUE": "a quote that is not closed"}  # fmt: skip
    by_line = {row["line"]: words.get(row["error_type"], str(row["error_type"]).lower()) for row in rows}
    return sorted(by_line.items())


def _refuse_mixed_zones(raw: Raw, columns: dict[str, Column], engine: Engine) -> None:
    stamps = [name for name, column in columns.items() if column.type == "timestamp" and not column.timezone]
    if not stamps or not raw.text:
        return
    counts = []
    for name in stamps:
        cell = contract.present(name, columns[name], True)
        counts.append(sql.named(exp.Count(this=cell), f"{name} all"))
        counts.append(
            sql.named(sql.over(exp.Count(this=exp.Star()), contract.has_offset(cell)), f"{name} offset")
        )
    found = engine.arrow(exp.select(*counts).from_(sql.table("raw"))).to_pylist()[0]
    for name in stamps:
        total, offset = found[f"{name} all"], found[f"{name} offset"]
        if 0 < offset < total:
            raise DataError(
                f"column `{name}` mixes stamps with an offset ({offset:,} rows) and without ({total - offset:,} rows)",
                where=f"{raw.origin}, table `{raw.name}`",
                why="a stamp without an offset means another instant in every time zone",
                fix=f"say which zone the others are in: dataset.tables.{raw.name}.columns.{name}.timezone",
            )


def _write(raw: Raw, table: Table, columns: dict[str, Column], engine: Engine, folder: Path) -> None:
    def instant(name: str | None) -> exp.Expression:
        if name is None:
            return exp.cast(exp.null(), "TIMESTAMP")
        if columns[name].type == "date":  # a date is known, and over, at the end of its day
            return exp.cast(exp.Add(this=sql.col(name), expression=sql.literal(1)), "TIMESTAMP")
        return sql.col(name)

    derived = [
        sql.named(
            exp.paren(sql.expression(text, columns, f"dataset.tables.{raw.name}.derive.{name}").of("typed")),
            name,
        )
        for name, text in table.derive.items()
    ]
    engine.write(
        exp.select(
            *(sql.col(name, "typed") for name in columns), *derived,
            sql.named(instant(table.clock), KNOWN), sql.named(instant(table.event_time or table.clock), TIME),
        )
        .from_(sql.table("typed"))
        .join(sql.table("rejected"), on=exp.EQ(this=sql.col(ROW, "typed"), expression=sql.col(ROW, "rejected")), join_type="left")
        .where(exp.Is(this=sql.col("reason", "rejected"), expression=exp.null()))
        .order_by(sql.col(ROW, "typed")),
        folder / "rows.parquet",
    )  # fmt: skip


def _derived_types(table: Table, path: Path) -> dict[str, Column]:
    """Types of the derived columns, as the engine gave them."""
    found = pq.read_schema(path)
    return {name: Column(type=_column_type(found.field(name).type)) for name in table.derive}


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


def _write_rejected(raw: Raw, malformed: list[tuple[int, str]], engine: Engine, folder: Path) -> None:
    """Rejected rows whole, as text, with their place and the reason."""
    cells = [sql.named(exp.cast(sql.col(name, "raw"), "VARCHAR"), name) for name in raw.columns]
    rows = engine.arrow(
        exp.select(sql.col(ROW, "raw"), sql.col("reason", "rejected"), *cells)
        .from_(sql.table("raw"))
        .join(sql.table("rejected"), on=exp.EQ(this=sql.col(ROW, "raw"), expression=sql.col(ROW, "rejected")))
        .order_by(sql.col(ROW, "raw"))
    )
    lines = pa.table({ROW: pa.array([line for line, _ in malformed], pa.int64()),
                      "reason": pa.array([text for _, text in malformed], pa.string())})  # fmt: skip
    pq.write_table(pa.concat_tables([rows, lines], promote_options="default"), folder / "rejected.parquet")
