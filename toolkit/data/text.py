"""Delimited text files: encoding, compression, delimiter and header found, every cell read as text.

What a cell means is decided by the contract, cell by cell, so that `001` stays `001` and a surname
`NA` stays a surname. Lines of the wrong shape are set aside by the reader, in the table `LINES`.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sqlglot import exp

from toolkit.config.tables import CsvOptions
from toolkit.data import sql
from toolkit.errors import ConfigError, DataError

ENDINGS = (".csv", ".tsv", ".txt", ".data")
COMPRESSIONS = ("", ".gz", ".zst", ".bz2", ".xz", ".zip")
DELIMITERS = ",;\t|"
LINES, SCANS = "__rejected_lines", "__rejected_scans"
LONGEST_LINE = 16_777_216
# RuntimeError is what zipfile says to a password or an unknown method.
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)


def open_text(path: Path, options: CsvOptions, scratch: Path) -> tuple[tuple[str, ...], exp.Select]:
    """The column names of a text file, and the query that reads its rows as text.

    scratch: where a UTF-8 copy is written if the engine cannot read the file as it is.
    """
    if path.stat().st_size == 0:
        raise DataError(f"`{path.name}` is empty (0 bytes)", where=str(path), fix="write the file again")
    _options_fit(options)
    encoding = _guess_encoding(path) if options.encoding == "auto" else options.encoding
    plain = path
    if codecs.lookup(encoding).name != "utf-8" or path.suffix.lower() not in ENDINGS:
        plain = scratch
        _copy(path, encoding, scratch)
    names, delimiter = _header(path, plain, options)
    arguments = {
        "columns": exp.Struct(expressions=[
            exp.PropertyEQ(this=exp.Literal.string(name), expression=exp.Literal.string("VARCHAR")) for name in names
        ]),
        "header": exp.true(), "auto_detect": exp.false(), "compression": sql.literal("none"),
        "delim": sql.literal(delimiter), "quote": sql.literal(options.quote), "escape": sql.literal(options.quote),
        "ignore_errors": exp.true(), "store_rejects": exp.true(), "rejects_limit": sql.literal(0),
        "rejects_table": sql.literal(LINES), "rejects_scan": sql.literal(SCANS),
        "strict_mode": exp.true(), "max_line_size": sql.literal(LONGEST_LINE),
    }  # fmt: skip
    settings = [exp.Kwarg(this=exp.Var(this=key), expression=value) for key, value in arguments.items()]
    cells = [sql.named(exp.Trim(this=sql.col(n)), n) if options.trim else sql.col(n) for n in names]
    return names, exp.select(*cells).from_(sql.call("read_csv", sql.literal(str(plain)), *settings))


def _options_fit(options: CsvOptions) -> None:
    if options.delimiter != "auto" and len(options.delimiter) != 1:
        raise ConfigError(
            f"the delimiter `{options.delimiter}` is not one character",
            where="source.csv.delimiter",
            fix='write for example ";" or "\\t", or auto',
        )
    if options.encoding != "auto":
        try:
            codecs.lookup(options.encoding)
        except LookupError:
            raise ConfigError(
                f"`{options.encoding}` is not an encoding",
                where="source.csv.encoding",
                fix="utf-8, latin-1, cp1252, utf-16 …, or auto",
            ) from None


def _header(path: Path, plain: Path, options: CsvOptions) -> tuple[tuple[str, ...], str]:
    """Names and delimiter. Cells of the first line without a name (a saved row index) are numbered."""
    with open(plain, encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline(1_000_000)
        delimiter = options.delimiter
        if delimiter == "auto":
            unquoted = re.sub('"[^"]*"', "", first)
            delimiter = max(DELIMITERS, key=unquoted.count)
        file.seek(0)
        try:
            header = next(csv.reader(file, delimiter=delimiter, quotechar=options.quote or None), [])
        except csv.Error as error:
            raise DataError(
                f"the header of `{path.name}` cannot be read: {error}", where=f"{path}:1"
            ) from None
    if "\0" in first:
        raise _no_text(path)
    names = [cell.strip() if options.trim else cell for cell in header]
    if not any(name.strip() for name in names):
        raise DataError(
            f"`{path.name}` has no header line", where=f"{path}:1", fix="the first line names the columns"
        )
    names = [name if name.strip() else f"column_{number}" for number, name in enumerate(names, 1)]
    seen: set[str] = set()
    for name in names:  # the engine's names do not tell capitals from small letters
        if name.lower() in seen:
            raise DataError(
                f"`{path.name}` has the column `{name}` twice",
                where=f"{path}:1",
                why="names that differ only in capitals count as the same",
                fix="rename one of them in the file",
            )
        seen.add(name.lower())
    return tuple(names), delimiter


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, decompressed. A file that is cut off or damaged is the user's to replace."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                inside = [n for n in archive.namelist() if not n.startswith("__MACOSX/") and n[-1:] != "/"]
                if len(inside) != 1:
                    raise DataError(
                        f"`{path.name}` holds {len(inside)} files, not one",
                        where=str(path),
                        fix="one file per archive",
                    )
                with archive.open(inside[0]) as file:
                    yield file
        elif suffix == ".zst":
            import pyarrow as pa

            with pa.input_stream(str(path), compression="zstd") as file:
                yield file
        else:
            opener = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(suffix, open)
            with opener(path, "rb") as file:  # type: ignore[operator]
                yield file
    except BROKEN as error:
        raise DataError(
            f"`{path.name}` cannot be read: {error}",
            where=str(path),
            fix="the file is damaged, cut off, or of another format; write it again",
        ) from None


def _copy(path: Path, encoding: str, target: Path) -> None:
    """A plain UTF-8 copy of the file."""
    try:
        with _reading(path) as raw, open(target, "w", encoding="utf-8", newline="") as copy:
            reader = io.TextIOWrapper(raw, encoding=encoding, newline="")
            while block := reader.read(1 << 20):
                copy.write(block)
    except UnicodeError as error:
        raise DataError(
            f"`{path.name}` is not {encoding}: {error}",
            where=str(path),
            fix="set source.csv.encoding to the file's encoding",
        ) from None


def _guess_encoding(path: Path) -> str:
    """By byte-order mark; otherwise UTF-8 if all of it decodes, else Windows' Western code page."""
    with _reading(path) as raw:
        start = raw.read(1 << 20)
        if start.startswith(codecs.BOM_UTF8):
            return "utf-8-sig"
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        if b"\0" in start:
            raise _no_text(path)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while start:
                decoder.decode(start)
                start = raw.read(1 << 20)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def _no_text(path: Path) -> DataError:
    return DataError(
        f"`{path.name}` is not a text file",
        where=str(path),
        fix="tables are read from CSV (in any encoding; UTF-16 without a mark: "
        "source.csv.encoding=utf-16-le) and from Parquet",
    )
