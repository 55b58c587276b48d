"""Loaded tables: each row keeps the declared contract, and carries the instants at which it counts.

Every row carries two instants besides its columns: `@known`, when it became known, and `@time`, when it
happened. A date is known at the end of its day, so a row stamped with the cutoff's own date lies after
the cutoff.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from toolkit.config.tables import BY_ROW, POSITION, Column, DatabaseSource, Dataset, Source, Table
from toolkit.config.time import Span, span
from toolkit.data import ingest, sql
from toolkit.data.cache import Cache, code_digest, digest
from toolkit.data.documents import raw_tables
from toolkit.data.engine import Engine
from toolkit.data.ingest import KNOWN, TIME
from toolkit.data.rejects import REASON, ROW
from toolkit.data.sources import Raw, open_raw
from toolkit.errors import ConfigError, DataError, did_you_mean

__all__ = ["KNOWN", "ROW", "TIME", "Loaded", "Tables", "load"]


@dataclass(frozen=True)
class Loaded:
    """A table that keeps its contract.

    fingerprint: digest of all that decides its rows and declared columns; columns: name → type, derived
    ones included; inferred: those whose type was not declared; derived: derived column → the declared
    columns that it is made of; files: what was read → its rows; only_in: column → the files that have it,
    where others lack it; covers: what a row's clock is the beginning of, if not its day or moment;
    remarks: what there is to say of the rows; left_out: a file with the keys of entities that broken rows
    are about, where such entities are no rows of any cohort.
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
    files: dict[str, int] = field(default_factory=dict)
    only_in: dict[str, tuple[str, ...]] = field(default_factory=dict)
    covers: Span | None = None
    remarks: tuple[str, ...] = ()
    left_out: Path | None = None

    @property
    def rows_rejected(self) -> int:
        return self.rows_read - self.rows_kept

    def digest_of(self, mentioned: set[str] | None = None) -> str:
        """A digest of the rows, with the derived columns among those mentioned (None: all of them)."""
        derive = self.spec.derive.items()
        return digest(
            [self.fingerprint, {c: text for c, text in derive if mentioned is None or c in mentioned}]
        )

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

    def fingerprints(self, names: set[str], mentioned: set[str] | None = None) -> dict[str, str]:
        """Table → a digest of what a reader gets from it.

        mentioned: the columns that are read, in small letters; a derived column among the others does not count. None: all.
        """
        return {name: self.loaded[name].digest_of(mentioned) for name in sorted(names)}


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
    _names_differ(list(dataset.tables), "dataset.tables", "table")
    loaded: dict[str, Loaded] = {}
    with tempfile.TemporaryDirectory(prefix="toolkit-") as folder:
        labels = None if optional is None else optional.get(dataset.entity, set())
        read = raw_tables(dataset, names, source, engine, cache, Path(folder), labels, progress)
        for name in names:
            if progress:
                progress(f"reading {name}", len(loaded) / max(len(names), 1))
            table = dataset.tables[name]
            raw = (
                read[name]
                if name in read
                else open_raw(name, table, source, engine, cache, Path(folder), progress)
            )
            if dataset.tables[name].key == BY_ROW:
                if isinstance(source, DatabaseSource):
                    raise ConfigError(
                        f"rows of the database table `{raw.origin}` have no position",
                        where=f"dataset.tables.{name}.key",
                        why="a database gives its rows in any order",
                        fix="name the column(s) that identify a row",
                    )
                raw = raw.numbered()
            keys = _keys(name, dataset)
            loaded[name] = _load(
                raw, dataset.tables[name], keys, engine, cache, (optional or {}).get(name, set())
            )
            engine.view(name, loaded[name].path)
    if dataset.entity in loaded and not loaded[dataset.entity].rows_kept:
        empty = loaded[dataset.entity]
        raise DataError(
            f"`{empty.origin}` has no rows, so table `{empty.name}` has no entity to score"
            if not empty.rows_read
            else f"all {empty.rows_read:,} rows of `{empty.origin}` were rejected",
            where=f"dataset.tables.{empty.name}",
            why="; ".join(f"{text}: {count:,} rows" for text, count in list(empty.reasons.items())[:6])
            or None,
            fix="is it the right file, and does it hold more than its header?",
        )
    return Tables(dataset, loaded)


def _keys(name: str, dataset: Dataset) -> frozenset[str]:
    """Columns of a table that hold a key, its own or another table's: they are text, whatever is declared."""
    table = dataset.tables[name]
    ends = {end for relation in dataset.relations.values() if relation.table == name for end in relation.ends}
    return frozenset({*table.keys, *ends, *({table.entity} if table.entity else ())})


def _names_differ(names: list[str], where: str, what: str) -> None:
    """The engine does not tell capitals from small letters, and names with @ are ours."""
    for index, name in enumerate(names):
        if name.startswith("@"):
            raise ConfigError(
                f"the {what} `{name}` cannot be called so", where=where, fix="leave out the `@`"
            )
        if name.lower() in {other.lower() for other in names[:index]}:
            raise ConfigError(
                f"two {what}s are called `{name}`",
                where=where,
                why="names that differ only in capitals count as the same",
            )


def _load(
    raw: Raw, table: Table, keys: frozenset[str], engine: Engine, cache: Cache, optional: set[str]
) -> Loaded:
    absent = {name for name in table.columns if name not in raw.columns} & optional
    _columns_are_there(raw, table, absent)
    _keys_are_exact(raw, table, keys)
    derive = _derived(raw, table, absent)
    remarks = _remarks(raw, table, absent)
    material = {
        "content": raw.fingerprint, "name": raw.name, "absent": sorted(absent), "keys": sorted(keys), "code": code_digest("data"),
        "table": table.model_dump(exclude={"description": True, "observed_until": True, "derive": True, "remarks": True, "columns": {"__all__": {"description"}}}),
    }  # fmt: skip
    folder = cache.entry(
        "tables",
        material | {"derive": table.derive, "remarks": table.remarks},
        lambda aside: ingest.build(raw, table, keys, derive, remarks, engine, aside),
        raw.name,
    )
    report = json.loads((folder / "report.json").read_text())
    first, last = (datetime.fromisoformat(report[key]) if report[key] else None for key in ("first", "last"))
    return Loaded(
        name=raw.name, spec=table, path=folder / "rows.parquet", origin=raw.origin, fingerprint=digest(material),
        rows_read=report["rows_read"], rows_kept=report["rows_kept"], reasons=report["reasons"],
        columns={name: Column.model_validate(value) for name, value in report["columns"].items()},
        inferred=tuple(report["inferred"]), ignored=tuple(report["ignored"]),
        derived={name: tuple(bases) for name, bases in report["derived"].items()}, first=first, last=last,
        rejected=folder / "rejected.parquet" if report["reasons"] else None, files=report["files"],
        only_in={column: tuple(files) for column, files in report["only_in"].items()},
        covers=span(report["covers"]) if report["covers"] else None, remarks=tuple(report["remarks"]),
        left_out=folder / "left_out.parquet" if (folder / "left_out.parquet").is_file() else None,
    )  # fmt: skip


def _columns_are_there(raw: Raw, table: Table, absent: set[str]) -> None:
    """Every column that the declaration names, in `columns` or for a role, is in the file."""
    roles = {
        "key": table.keys,
        "entity": (table.entity,),
        "clock": (table.clock,),
        "event time": (table.event_time,),
    }
    named = dict.fromkeys(table.columns, "declares")
    named |= {name: f"names as its {role}" for role, names in roles.items() for name in names if name}
    for name, says in named.items():
        if name in raw.columns or name in absent:
            continue
        raise DataError(
            f"{_none_of(raw)} has a column `{name}`, which table `{raw.name}` {says}"
            if raw.parts
            else f"`{raw.origin}` has no column `{name}`, which table `{raw.name}` {says}",
            where=f"{_declared_at(name, raw, table)} for {raw.where}",
            fix=_another_column(name, raw, table, not set(named) & set(raw.columns) and len(named) > 1),
        )
    placing = [(role, name) for role, names in roles.items() for name in names if name]
    for part in raw.parts:  # a declared column may be missing in some of them, but not what places a row
        for role, name in placing:
            if name not in part.columns:
                raise DataError(
                    f"`{part.origin}` has no column `{name}`, which table `{raw.name}` names as its {role}",
                    where=f"{_declared_at(name, raw, table)} for {part.where}",
                    fix=did_you_mean(name, part.columns),
                )
    for name in raw.columns[table.key == BY_ROW :]:
        if name.lower() in (ROW, REASON, KNOWN, TIME, POSITION, "@entity", "@gap", "@file"):
            raise DataError(
                f"`{raw.origin}` has a column `{name}`, a name that is taken here",
                where=raw.where,
                fix="rename the column in the file",
            )


def _none_of(raw: Raw) -> str:
    names = [f"`{part.origin}`" for part in raw.parts]
    return f"neither {names[0]} nor {names[1]}" if len(names) == 2 else f"none of {', '.join(names)}"


def _declared_at(name: str, raw: Raw, table: Table) -> str:
    """The key of the configuration that names a column."""
    roles = ("key", "entity", "clock", "event_time")
    spelled = next((role for role in roles if getattr(table, role) == name), "key")
    return f"dataset.tables.{raw.name}." + (f"columns.{name}" if name in table.columns else spelled)


def _another_column(name: str, raw: Raw, table: Table, headless: bool) -> str:
    """What to write in place of a column that is not there."""
    fix = did_you_mean(name, raw.columns)
    if table.key == name and name not in table.columns:
        fix += f"; if no column tells the rows apart, write `key: '{BY_ROW}'`"
    return fix + ("; is the first line of the file its header?" if raw.text and headless else "")


def _keys_are_exact(raw: Raw, table: Table, keys: frozenset[str]) -> None:
    where = f"dataset.tables.{raw.name}.columns"
    for name in sorted(keys & raw.floats):
        raise DataError(
            f"the key column `{name}` of `{raw.origin}` holds floating-point numbers",
            where=raw.where,
            why="they cannot tell long keys apart, and leading zeros are gone",
            fix="write the column as text or as whole numbers",
        )
    for name in sorted(keys & set(table.columns)):
        column = table.columns[name]
        for bound in ("ge", "gt", "le", "lt", "format", "timezone"):
            if getattr(column, bound) is not None:
                raise ConfigError(
                    f"`{bound}` does not go with `{name}`, which holds a key",
                    where=f"{where}.{name}.{bound}",
                    why="keys are read as text, so that 001 stays 001",
                    fix="leave it out; `matches` checks the form of a text",
                )


def _derived(raw: Raw, table: Table, absent: set[str]) -> dict[str, sql.Expression]:
    """The derived columns, admitted; one that reads an absent column, or its score, is absent too."""
    where = f"dataset.tables.{raw.name}.derive"
    known = _readable(raw, table, absent)
    _names_differ(known, f"dataset.tables.{raw.name}.score", "column")
    absent = _with_scores(absent, table)
    found = {name: sql.expression(text, known, f"{where}.{name}") for name, text in table.derive.items()}
    _names_differ([*known, *found], where, "column")
    return {name: expression for name, expression in found.items() if not expression.columns & absent}


def _remarks(raw: Raw, table: Table, absent: set[str]) -> dict[str, sql.Expression]:
    """The conditions of what is counted and said, admitted; one over an absent column says nothing."""
    where = f"dataset.tables.{raw.name}.remarks"
    readable = _readable(raw, table, absent)
    found = {
        text: sql.expression(condition, [*readable, *table.derive], where)
        for text, condition in table.remarks.items()
    }
    gone = absent = _with_scores(absent, table)
    gone = gone | {
        name for name, text in table.derive.items() if sql.expression(text, readable, where).columns & absent
    }
    return {text: condition for text, condition in found.items() if not condition.columns & gone}


def _readable(raw: Raw, table: Table, absent: set[str]) -> list[str]:
    """What expressions over a table's rows may name: declared (or found) columns, and scores of texts."""
    columns = [*raw.columns, *absent] if table.infer else list(table.columns)
    return [*(name for name in columns if name != POSITION or table.key != BY_ROW), *table.score]


def _with_scores(absent: set[str], table: Table) -> set[str]:
    """Absent columns, and the scores of absent texts."""
    return absent | {name for name, score in table.score.items() if score.of in absent}
