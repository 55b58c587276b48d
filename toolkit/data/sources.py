"""From a declared source to raw rows: text files, Parquet, databases, simulated worlds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from toolkit.config.tables import (
    POSITION,
    CsvOptions,
    DatabaseSource,
    FolderSource,
    SimulatedSource,
    Source,
    Table,
)
from toolkit.data import sql, text
from toolkit.data.cache import Cache, code_digest, digest, file_digest
from toolkit.data.engine import Engine
from toolkit.errors import DataError, did_you_mean
from toolkit.registry import worlds

PARQUET = (".parquet", ".pq")
DATABASE = "source_database"
DAMAGED = "the file is damaged, cut off, or of another format; write it again"
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Raw:
    """One table as it lies at its source.

    name: the table's name; origin: what a message calls it (a file name, a database table); where: its
    full place; fingerprint: changes when its content does; columns: names in order; floats: columns
    that the source holds as floating-point numbers; text: are all cells text? parts: the files whose
    rows are put together, if there are several; renamed: (file, name in it, declared name) of columns
    that are declared in other letters, capital or small; refused: a further column, with the reason of each
    row that the source itself rejects; said: what there is to say of the rows; made: was the file written
    here, so that no row of it repeats another, and none need be held in memory?
    """

    name: str
    origin: str
    where: str
    fingerprint: str
    columns: tuple[str, ...]
    query: exp.Select
    text: bool = False
    floats: frozenset[str] = frozenset()
    parts: tuple[Raw, ...] = ()
    renamed: tuple[tuple[str, str, str], ...] = ()
    refused: str | None = None
    said: tuple[str, ...] = ()
    made: bool = False

    def spelt_as(self, declared: Iterable[str]) -> Raw:
        """With declared names, where the file has them in other letters: the engine does not tell them apart."""
        lower = {name.lower(): name for name in declared}
        names = {name: lower.get(name.lower(), name) for name in self.columns}
        if all(name == new for name, new in names.items()):
            return self
        cells = [sql.named(sql.col(name), new) for name, new in names.items()]
        return replace(
            self,
            columns=tuple(names.values()),
            query=exp.select(*cells).from_(self.query.subquery()),
            floats=frozenset(names[name] for name in self.floats),
            renamed=tuple((self.origin, name, new) for name, new in names.items() if name != new),
        )

    def numbered(self) -> Raw:
        """With the row's position (1, 2, 3 … as text) as its first column, for a table without a key."""
        number = exp.cast(exp.Window(this=sql.call("row_number")), "VARCHAR")
        query = exp.select(sql.named(number, POSITION), "*").from_(self.query.subquery())
        return replace(self, columns=(POSITION, *self.columns), query=query)


def open_raw(
    name: str,
    table: Table,
    source: Source,
    engine: Engine,
    cache: Cache,
    scratch: Path,
    progress: Progress | None = None,
) -> Raw:
    """Find a table at its source. Raises DataError naming what is missing and what is there.

    scratch: a folder for copies, which must outlive the reading of the rows.
    """
    found = [
        _open_one(name, read, source, engine, cache, scratch, progress) for read in table.files or (None,)
    ]
    roles = (table.entity, table.clock, table.event_time)
    declared = [*table.columns, *table.keys, *(role for role in roles if role)]
    found = [raw.spelt_as(declared) for raw in found]
    return found[0] if len(found) == 1 else _together(name, found)


def _open_one(
    name: str,
    read: str | None,
    source: Source,
    engine: Engine,
    cache: Cache,
    scratch: Path,
    progress: Progress | None,
) -> Raw:
    """One file or database table. read: what it is called, if not like the table."""
    options = CsvOptions()
    world = None
    if isinstance(source, SimulatedSource):
        world = simulated(source, cache, progress)
        path = _in_world(world, read or name)
    elif isinstance(source, DatabaseSource):
        copy = (scratch / digest([name, read])[:16]).with_suffix(".parquet")
        return _database(name, read or name, source, engine, copy)
    else:
        path, options = _find(name, read, source), source.csv
    if path.suffix.lower() in PARQUET:
        return parquet(name, path, world)
    copy = scratch / digest([name, read])[:16]  # a table's name may hold anything
    columns, query = text.open_text(path, options, copy.with_suffix(".csv"))
    content = [world.name, path.name] if world else file_digest(path)
    return Raw(name, path.name, str(path), digest([content, options.model_dump()]), columns, query, text=True)


def _together(name: str, parts: list[Raw]) -> Raw:
    """Several files as one: a column that one of them lacks is missing in its rows."""
    columns = dict.fromkeys(column for part in parts for column in part.columns)
    lower = {column.lower(): column for column in columns}
    for column in columns:
        if lower[column.lower()] != column:
            raise DataError(
                f"table `{name}` finds a column `{column}` in one file and `{lower[column.lower()]}` in another",
                where=", ".join(part.where for part in parts),
                why="names that differ only in capitals count as the same",
                fix="rename one of them in its file",
            )
    cells = []
    for part in parts:  # as text, which all kinds of files can give
        values = [
            sql.named(exp.cast(sql.col(column) if column in part.columns else exp.null(), "VARCHAR"), column)
            for column in columns
        ]
        cells.append(replace(part, query=exp.select(*values).from_(part.query.subquery())))
    return Raw(
        name,
        origin=" and ".join(part.origin for part in parts),
        where=", ".join(part.where for part in parts),
        fingerprint=digest([part.fingerprint for part in parts]),
        columns=tuple(columns),
        query=cells[0].query,
        text=any(part.text for part in parts),
        floats=frozenset().union(*(part.floats for part in parts)),
        parts=tuple(cells),
        renamed=tuple(each for part in parts for each in part.renamed),
    )


def _in_world(folder: Path, read: str) -> Path:
    """A simulated table: Parquet, or CSV in worlds that show what exports look like."""
    path = folder / f"{read}.csv"
    return path if path.is_file() else folder / f"{read}.parquet"


def simulated(source: SimulatedSource, cache: Cache, progress: Progress | None = None) -> Path:
    """The folder of a simulated world's tables, made once per declaration and code."""
    component = worlds.get(source.world.kind)
    material = {
        "world": source.world.model_dump(),
        "code": code_digest("simulate"),
        "component": component.digest,
    }
    return cache.entry(
        "worlds", material, lambda folder: component.build(source.world, folder, progress), source.world.kind
    )


def unreadable(origin: str, where: str, error: BaseException) -> DataError:
    """A file that the engine gives up on: damaged, or text that keeps no rule of CSV."""
    said = str(error).splitlines()[0]
    if "state machine" in said:
        return DataError(
            f"`{origin}` cannot be read: its lines end in different ways",
            where=where,
            why="some end in \\r\\n and some in \\n, so it cannot be told where a row ends",
            fix="save the file again with one kind of line ending",
        )
    return DataError(f"`{origin}` cannot be read: {said}", where=where, fix=DAMAGED)


def _find(name: str, read: str | None, source: FolderSource) -> Path:
    folder = Path(source.path).expanduser()
    if folder.is_file():  # a single flat file may be named directly
        return folder
    if not folder.is_dir():
        beside = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
        raise DataError(
            f"the folder `{source.path}` does not exist",
            where=f"source.path ({folder.absolute()})",
            fix="set source.path=<folder that holds the tables>"
            + (f"; {did_you_mean(folder.name, beside)}" if beside else ""),
        )
    candidates = [folder / read] if read else []
    if not read or not _is_table(Path(read)):  # `people` for people.csv, people.parquet …
        endings = [end + zipped for end in text.ENDINGS for zipped in text.COMPRESSIONS] + [*PARQUET]
        candidates += [folder / f"{read or name}{ending}" for ending in endings]
    found = [path for path in candidates if path.is_file()]
    if len(found) > 1:
        raise DataError(
            f"table `{name}` has several files: {', '.join(path.name for path in found)}",
            where=str(folder),
            fix=f"name one: dataset.tables.{name}.read=<file>",
        )
    if found:
        return found[0]
    for path in candidates:
        if path.is_dir():
            raise DataError(
                f"`{path.name}`, which table `{name}` is read from, is a folder, not a file",
                where=str(path),
                fix=f"name a file: dataset.tables.{name}.read=<file>",
            )
    there = sorted(path.name for path in folder.iterdir() if path.is_file() and _is_table(path))
    key = f"dataset.tables.{name}.read" if read else "source.path"
    raise DataError(
        f"there is no file for table `{name}`" + (f": `{read}`" if read else ""),
        where=f"{key} in {folder.absolute()}",
        fix=did_you_mean(read or f"{name}.csv", there) + "; set source.path=<folder that holds it>"
        if there
        else "no CSV or Parquet file lies there; set source.path=<folder that holds it>",
    )


def _is_table(path: Path) -> bool:
    """Does a file's name end like a text table's, or a Parquet file's?"""
    return bool({*text.ENDINGS, *PARQUET} & {ending.lower() for ending in path.suffixes[-2:]})


def parquet(name: str, path: Path, world: Path | None = None) -> Raw:
    if not path.is_file():
        raise DataError(
            f"there is no table `{name}` here",
            where=str(path.parent),
            fix=did_you_mean(path.name, [p.name for p in path.parent.glob("*.parquet")]),
        )
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path.name, str(path), error) from None
    lower = [column.lower() for column in schema.names]
    twice = sorted({column for column in schema.names if lower.count(column.lower()) > 1})
    if twice:
        raise DataError(
            f"`{path.name}` has the column `{twice[0]}` twice",
            where=str(path),
            why="names that differ only in capitals count as the same",
            fix="rename one of them in the file",
        )
    floats = frozenset(field.name for field in schema if pa.types.is_floating(field.type))
    query = exp.select("*").from_(sql.call("read_parquet", sql.literal(str(path))))
    # A world is already named by its content; other files are read to know theirs.
    fingerprint = digest([world.name, path.name]) if world else file_digest(path)
    return Raw(name, path.name, str(path), fingerprint, tuple(schema.names), query, floats=floats)


def _database(name: str, read: str, source: DatabaseSource, engine: Engine, copy: Path) -> Raw:
    """A database table, copied to Parquet first: its content is then fixed and has a fingerprint.

    No message repeats `source.path`: a connection string may hold a password.
    """
    is_file = source.type in ("duckdb", "sqlite")
    place = str(Path(source.path).expanduser()) if is_file else source.path
    if is_file and not Path(place).is_file():
        raise DataError(f"the database `{source.path}` does not exist", where="source.path")
    try:
        _attach(source.type, place, engine)
        listed = engine.connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_catalog = $c",
            {"c": DATABASE},
        ).fetchall()
    except duckdb.Error as error:
        said = str(error).splitlines()[0].replace(place, "…")
        if missing := re.search(r"Extension .*?(\w+)_scanner\.duckdb_extension.* not found", said):
            raise _no_extension(missing.group(1)) from None
        raise DataError(
            f"the {source.type} database cannot be opened: {said}",
            where="source.path",
            fix="is the path right, and the database of that type?",
        ) from None
    there = [table for schema, table in listed if source.db_schema in (None, schema)]
    schemas = [schema for schema, table in listed if table == read and source.db_schema in (None, schema)]
    if len(schemas) != 1:
        raise DataError(
            f"the database has no table `{read}`"
            if not schemas
            else f"several schemas have a table `{read}`",
            where=f"dataset.tables.{name}",
            fix=f"name one: source.schema={schemas[0]}" if schemas else did_you_mean(read, there),
        )
    node = exp.Table(
        this=exp.to_identifier(read, quoted=True),
        db=exp.to_identifier(schemas[0], quoted=True),
        catalog=exp.to_identifier(DATABASE),
    )
    engine.write(exp.select("*").from_(node), copy)
    raw = parquet(read, copy)
    return replace(raw, name=name, origin=read, where=f"{source.type} table {schemas[0]}.{read}")


def _attach(kind: str, place: str, engine: Engine) -> None:
    attached = engine.connection.execute("SELECT database_name FROM duckdb_databases()").fetchall()
    if (DATABASE,) in attached:
        return
    if kind != "duckdb":
        engine.connection.load_extension(packaged_extension(kind) or kind)
    options = "READ_ONLY" if kind == "duckdb" else f"TYPE {kind}, READ_ONLY"
    engine.connection.execute(f"ATTACH {sql.render(sql.literal(place))} AS {DATABASE} ({options})")


def packaged_extension(kind: str) -> str | None:
    """The engine's extension from the Python package that carries it, if that is installed for this release."""
    package = f"duckdb_extension_{kind}_scanner"
    if (found := find_spec(package)) is None or not found.submodule_search_locations:
        return None
    folder = Path(found.submodule_search_locations[0], "extensions", f"v{version('duckdb')}")
    path = folder / f"{kind}_scanner.duckdb_extension"
    return str(path) if path.is_file() else None


def _no_extension(kind: str) -> DataError:
    release = version("duckdb")
    return DataError(
        f"the DuckDB extension `{kind}`, which reads {kind} databases, is not installed",
        where="source.type",
        why=f"nothing is downloaded unasked, and it must be made for DuckDB {release}",
        fix=f"pip install duckdb-extension-{kind}-scanner=={release}; or, with access to the net, once: "
        f"python -c \"import duckdb; duckdb.connect().install_extension('{kind}')\"; "
        "or write the tables as CSV or Parquet",
    )
