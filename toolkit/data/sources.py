"""From a declared source to raw rows: text files, Parquet, databases, simulated worlds.

Text files are read with every cell as text: what a cell means is decided by the contract, cell by
cell, so that `001` stays `001` and a surname `NA` stays a surname.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import duckdb
from sqlglot import exp

from toolkit.config.tables import CsvOptions, DatabaseSource, FolderSource, SimulatedSource, Source, Table
from toolkit.data import sql
from toolkit.data.cache import Cache, code_digest, digest, file_digest
from toolkit.data.engine import Engine
from toolkit.errors import DataError, did_you_mean
from toolkit.registry import worlds

TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".data")
COMPRESSIONS = ("", ".gz", ".zst", ".bz2", ".xz", ".zip")
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Raw:
    """One table as it lies at its source.

    name: the table's name; origin: what a message calls it (a file name, a database table);
    fingerprint: changes when its content does; columns: names in order; text: are all cells text?
    """

    name: str
    origin: str
    fingerprint: str
    columns: tuple[str, ...]
    text: bool
    query: exp.Expression
    rejects: bool = False  # the reader itself sets malformed lines aside, in `raw_rejects`


def open_raw(
    name: str,
    table: Table,
    source: Source,
    engine: Engine,
    cache: Cache,
    scratch: Path,
    progress: Progress | None = None,
) -> Raw:
    """Find a table at its source. Raises DataError naming what is missing and what is there."""
    if isinstance(source, SimulatedSource):
        folder = simulated(source, cache, progress)
        return _parquet(name, folder / f"{table.read or name}.parquet", engine, known=folder)
    if isinstance(source, DatabaseSource):
        return _database(name, table.read or name, source, engine, scratch)
    path = _find(name, table, source)
    if path.suffix == ".parquet":
        return _parquet(name, path, engine)
    return _csv(name, path, source.csv, engine, scratch)


def simulated(source: SimulatedSource, cache: Cache, progress: Progress | None = None) -> Path:
    """The folder of a simulated world's tables, made once per declaration and code."""
    component = worlds.get(source.world.kind)
    material = {"world": source.world.model_dump(), "code": code_digest("simulate")}
    return cache.entry(
        "worlds", material, lambda folder: component.build(source.world, folder, progress), source.world.kind
    )


def _find(name: str, table: Table, source: FolderSource) -> Path:
    folder = Path(source.path).expanduser()
    if folder.is_file():  # a single flat file may be named directly
        return folder
    if not folder.is_dir():
        raise DataError(
            f"the folder `{source.path}` does not exist",
            where="source.path",
            fix="set source.path=<folder that holds the tables>",
        )
    if table.read:
        path = folder / table.read
        if path.is_file():
            return path
    else:
        endings = [end + zipped for end in TEXT_ENDINGS for zipped in COMPRESSIONS] + [".parquet"]
        found = [folder / f"{name}{ending}" for ending in endings if (folder / f"{name}{ending}").is_file()]
        if len(found) > 1:
            raise DataError(
                f"table `{name}` has several files: {', '.join(p.name for p in found)}",
                where=str(folder),
                fix=f"name one: dataset.tables.{name}.read=<file>",
            )
        if found:
            return found[0]
    there = sorted(path.name for path in folder.iterdir() if path.is_file())
    raise DataError(
        f"there is no file for table `{name}`" + (f": `{table.read}`" if table.read else ""),
        where=str(folder),
        fix=did_you_mean(table.read or f"{name}.csv", there),
    )


def _parquet(name: str, path: Path, engine: Engine, known: Path | None = None) -> Raw:
    if not path.is_file():
        raise DataError(
            f"there is no table `{name}` here",
            where=str(path.parent),
            fix=did_you_mean(path.name, [p.name for p in path.parent.glob("*.parquet")]),
        )
    query = exp.select("*").from_(sql.call("read_parquet", sql.literal(str(path))))
    columns = _columns(query, engine, path)
    # A cached world is already named by its content; other files are read to know theirs.
    fingerprint = digest([known.name, path.name]) if known else file_digest(path)
    return Raw(name, path.name, fingerprint, columns, False, query)


def _columns(query: exp.Expression, engine: Engine, path: Path) -> tuple[str, ...]:
    try:
        return tuple(engine.connection.sql(sql.render(query)).columns)
    except duckdb.Error as error:
        raise DataError(
            f"`{path.name}` cannot be read: {str(error).splitlines()[0]}",
            where=str(path),
            fix="the file is damaged, cut off, or of another format; write it again",
        ) from error


def _database(name: str, read: str, source: DatabaseSource, engine: Engine, scratch: Path) -> Raw:
    """A database table, copied to Parquet first: its content is then fixed and has a fingerprint."""
    alias = "source_database"
    attached = {
        row[0] for row in engine.connection.execute("SELECT database_name FROM duckdb_databases()").fetchall()
    }
    if source.type in ("duckdb", "sqlite") and not Path(source.path).expanduser().is_file():
        raise DataError(f"the database `{source.path}` does not exist", where="source.path")
    if alias not in attached:
        try:
            if source.type != "duckdb":
                engine.connection.load_extension(source.type)
            kind = "" if source.type == "duckdb" else f"TYPE {source.type}, "
            engine.connection.execute(
                f"ATTACH {sql.render(sql.literal(source.path))} AS {alias} ({kind}READ_ONLY)"
            )
        except duckdb.Error as error:
            raise DataError(
                f"the {source.type} database cannot be opened: {str(error).splitlines()[0]}",
                where="source",
                fix=f"is the DuckDB extension `{source.type}` installed, and the path right?",
            ) from error
    rows = engine.connection.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_catalog = $c", {"c": alias}
    ).fetchall()
    if read not in {row[0] for row in rows}:
        raise DataError(
            f"the database has no table `{read}`",
            where=source.path,
            fix=did_you_mean(read, [row[0] for row in rows]),
        )
    node = exp.Table(
        this=exp.to_identifier(read, quoted=True),
        db=exp.to_identifier(source.db_schema or "main", quoted=True),
        catalog=exp.to_identifier(alias),
    )
    path = scratch / f"{name}.parquet"
    engine.write(exp.select("*").from_(node), path)
    return _parquet(name, path, engine)


def _csv(name: str, path: Path, options: CsvOptions, engine: Engine, scratch: Path) -> Raw:
    if path.stat().st_size == 0:
        raise DataError(f"`{path.name}` is empty (0 bytes)", where=str(path))
    fingerprint = digest([file_digest(path), options.model_dump()])
    path_read = _as_utf8(path, options.encoding, scratch / f"{name}.csv")
    with _open(path_read) as file:
        first = file.readline(1_000_000)
        delimiter = options.delimiter
        if delimiter == "auto":
            delimiter = max(",;\t|", key=first.count) if any(d in first for d in ",;\t|") else ","
        file.seek(0)
        header = next(csv.reader(file, delimiter=delimiter, quotechar=options.quote), [])
    names = [cell.strip() if options.trim else cell for cell in header]
    if not any(names):
        raise DataError(f"`{path.name}` has no header line", where=f"{path}:1")
    unnamed = [index + 1 for index, cell in enumerate(names) if not cell.strip()]
    if unnamed:  # a saved row index, mostly
        names = [cell if cell.strip() else f"column_{index + 1}" for index, cell in enumerate(names)]
    twice = sorted({cell for cell in names if names.count(cell) > 1})
    if twice:
        raise DataError(
            f"`{path.name}` has the column `{twice[0]}` twice",
            where=f"{path}:1",
            fix="rename one of them in the file",
        )
    cells = exp.Struct(
        expressions=[
            exp.PropertyEQ(this=exp.Literal.string(cell), expression=exp.Literal.string("VARCHAR"))
            for cell in names
        ]
    )
    arguments: list[exp.Expression] = [sql.literal(str(path_read))]
    settings = {
        "columns": cells,
        "header": exp.true(),
        "auto_detect": exp.false(),
        "delim": sql.literal(delimiter),
        "quote": sql.literal(options.quote),
        "escape": sql.literal(options.quote),
        "ignore_errors": exp.true(),
        "store_rejects": exp.true(),
        "rejects_limit": sql.literal(0),
        "rejects_table": sql.literal("raw_rejects"),
        "rejects_scan": sql.literal("raw_scans"),
        "strict_mode": exp.true(),
        "max_line_size": sql.literal(16_777_216),
    }
    arguments += [exp.Kwarg(this=exp.Var(this=key), expression=value) for key, value in settings.items()]
    trimmed = [
        sql.named(exp.Trim(this=sql.col(cell)), cell) if options.trim else sql.col(cell) for cell in names
    ]
    query = exp.select(*trimmed).from_(sql.call("read_csv", *arguments))
    return Raw(name, path.name, fingerprint, tuple(names), True, query, rejects=True)


def _open(path: Path) -> IO[str]:
    opener = {".gz": gzip.open}.get(path.suffix, open)
    return io.TextIOWrapper(opener(path, "rb"), encoding="utf-8-sig", newline="")  # type: ignore[arg-type]


def _as_utf8(path: Path, encoding: str, scratch: Path) -> Path:
    """The file itself if the engine can read it as it is, otherwise a UTF-8 copy under `scratch`."""
    suffix = path.suffix.lower()
    if encoding == "auto":
        encoding = _guess_encoding(path)
    if encoding in ("utf-8", "ascii") and suffix in (*TEXT_ENDINGS, ".gz"):
        return path
    scratch.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _bytes(path) as raw, open(scratch, "w", encoding="utf-8", newline="") as copy:
            reader = io.TextIOWrapper(raw, encoding=encoding, newline="")  # type: ignore[arg-type]
            while block := reader.read(1 << 20):
                copy.write(block)
    except UnicodeError as error:
        raise DataError(
            f"`{path.name}` is not {encoding}: {error}",
            where=str(path),
            fix="set source.csv.encoding to the file's encoding",
        ) from None
    except LookupError:
        raise DataError(f"`{encoding}` is not an encoding", where="source.csv.encoding") from None
    return scratch


def _bytes(path: Path) -> IO[bytes]:
    suffix = path.suffix.lower()
    if suffix == ".zip":
        archive = zipfile.ZipFile(path)
        if len(archive.namelist()) != 1:
            raise DataError(f"`{path.name}` holds {len(archive.namelist())} files, not one", where=str(path))
        return archive.open(archive.namelist()[0])
    if suffix == ".zst":
        import pyarrow as pa

        return pa.input_stream(str(path), compression="zstd")  # type: ignore[return-value]
    return {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(suffix, open)(path, "rb")  # type: ignore[operator]


def _guess_encoding(path: Path) -> str:
    """By byte-order mark; otherwise UTF-8 if all of it decodes, else Windows' Western code page."""
    with _bytes(path) as raw:
        start = raw.read(4)
        if start[:3] == b"\xef\xbb\xbf":
            return "utf-8-sig"
        if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return "utf-16"
        import codecs

        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            decoder.decode(start)
            while block := raw.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"
