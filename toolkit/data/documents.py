"""Tables that are read from documents: what the source is, what of it is kept, and the tables as raw rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlglot import exp

from toolkit.config.reading import Documents
from toolkit.config.tables import CsvOptions, Dataset, FolderSource, SimulatedSource, Source
from toolkit.data import sql, text
from toolkit.data.cache import Cache, code_digest, digest
from toolkit.data.engine import Engine
from toolkit.data.sources import Progress, Raw, parquet, simulated
from toolkit.errors import ConfigError, DataError, did_you_mean

NAMES = ("documents", "pages", "words")
INDEX = "index.csv"
TABLE_ENDINGS = tuple(f"{end}{zipped}" for end in (".csv", ".tsv") for zipped in text.COMPRESSIONS)
CELLS = "@index"  # while an index is read


def made(dataset: Dataset, name: str) -> str | None:
    """Which of the tables of documents a table of the dataset is; None if it is an ordinary one."""
    files = dataset.tables[name].files or (name,)
    return files[0] if dataset.documents and len(files) == 1 and files[0] in NAMES else None


@dataclass(frozen=True)
class Place:
    """Where documents lie. index: the file that lists them, or None for all files of the folder (or the one file)."""

    root: Path
    index: Path | None
    origin: str
    file: Path | None = None


def raw_tables(
    dataset: Dataset, names: list[str], source: Source, engine: Engine, cache: Cache, scratch: Path,
    labels: set[str] | None, progress: Progress | None = None,
) -> dict[str, Raw]:  # fmt: skip
    """Table → its raw rows, of those that are read from documents.

    names: of the tables that are loaded; scratch: a folder for copies; labels: columns of the entity table
    that may be absent, when new documents are scored; None: none may.
    """
    wanted = {name: kind for name in names if (kind := made(dataset, name))}
    if not wanted or dataset.documents is None:
        return {}
    from toolkit.documents import stage, tables

    node, reading = dataset.documents, dataset.documents.reading
    place = _place(node, source, cache, progress, labels is not None)
    tables_of = [dataset.tables[name] for name, kind in wanted.items() if kind == "documents"]
    labelled = any("label" in table.columns for table in tables_of)
    entries, columns = _entries(node, place, source, engine, scratch, labels or set(), labelled)
    if progress:
        progress(f"hashing {len(entries):,} documents", 0.0)
    documents = stage.listed(entries, reading)
    versions = stage.versions(documents, reading)
    kinds = sorted(set(wanted.values()))
    material = {
        "documents": [(each.entry.key, each.content, each.rejected, dict(each.entry.columns)) for each in documents],
        "reading": reading.model_dump(mode="json"), "versions": versions, "tables": kinds, "columns": columns,
        "code": code_digest("documents"),
    }  # fmt: skip

    def build(folder: Path) -> None:
        kept = cache.place("pages", versions[:32])
        outcome = stage.read(documents, reading, kept, engine.threads, progress)
        said = stage.write(documents, outcome, reading, kept, kinds, columns, folder, progress)
        (folder / "said.json").write_text(json.dumps(said))

    folder = cache.entry("documents", material, build, place.origin)
    said = tuple(json.loads((folder / "said.json").read_text()))
    found = {}
    for name, kind in wanted.items():
        raw = parquet(name, folder / f"{kind}.parquet")
        raw = replace(
            raw, origin=place.origin, where=str(place.root), fingerprint=digest([material, kind]), made=True
        )
        # How long a page took is nobody's feature: unless declared, there is nothing to say of it.
        unasked = {tables.REJECTED, tables.SECONDS} - set(dataset.tables[name].columns)
        raw = replace(raw, columns=tuple(column for column in raw.columns if column not in unasked))
        if kind == "documents":
            raw = replace(raw, refused=tables.REJECTED, said=said)
        found[name] = raw
    return found


def _place(node: Documents, source: Source, cache: Cache, progress: Progress | None, scoring: bool) -> Place:
    """Where the documents of a source lie. Raises by name where there are none."""
    if isinstance(source, SimulatedSource):
        root = simulated(source, cache, progress)
    elif isinstance(source, FolderSource):
        root = Path(source.path).expanduser().absolute()
    else:
        raise ConfigError(
            "documents are read from a folder, not from a database",
            where="source.kind",
            fix="source=folder source.path=<folder of documents>",
        )
    if root.is_file():
        if root.name.lower().endswith(TABLE_ENDINGS):
            return Place(root.parent, root, root.name)
        return Place(root.parent, None, root.name, root)
    if not root.is_dir():
        near = [path.name for path in root.parent.iterdir() if path.is_dir()] if root.parent.is_dir() else []
        raise DataError(
            f"the folder `{root.name}` does not exist",
            where=f"source.path ({root})",
            fix=f"set source.path=<folder of documents>; {did_you_mean(root.name, near)}",
        )
    index = root / (node.index or INDEX)
    if index.is_file():
        return Place(root, index, index.name)
    # New documents need no list: it would say their labels.
    if (node.index or node.text) and not scoring:
        there = [path.name for path in root.iterdir() if path.is_file()]
        raise DataError(
            f"`{root.name}` has no `{index.name}`, which lists the documents",
            where=f"dataset.documents.{'index' if node.index else 'text'} in {root}",
            fix=f"{did_you_mean(index.name, there)}; or leave `index` out: all files of the folder",
        )
    return Place(root, None, root.name)


def _entries(
    node: Documents,
    place: Place,
    source: Source,
    engine: Engine,
    scratch: Path,
    labels: set[str],
    labelled: bool,
) -> tuple[list[Any], list[str]]:
    """The documents as they are listed, and the names of what is said of them besides.

    labels: columns that may be absent; labelled: does the table declare a column `label`?
    """
    from toolkit.documents import folder

    if place.file is not None:
        return folder.of_file(place.file), []
    if place.index is None:
        found = folder.of_folder(place.root)
        if not found:
            raise DataError(
                f"no file lies in the folder `{place.origin}`",
                where=str(place.root),
                fix="set source.path=<folder of documents>",
            )
        if folder.LABEL in labels:  # the folders of new documents mean nothing
            return found, []
        if labelled and not any(each.columns[folder.LABEL] for each in found):
            raise DataError(
                f"the files of `{place.origin}` lie in no folders, which would be their labels",
                where=str(place.root),
                fix=f"a folder for each label, or `{node.index or INDEX}` with columns `{node.file}` and `{folder.LABEL}`",
            )
        return found, [folder.LABEL]
    options = source.csv if isinstance(source, FolderSource) else CsvOptions()
    names, rows = _rows(place.index, options, engine, scratch)
    texts = node.text is not None
    column = node.text or node.file
    if column not in names:
        raise DataError(
            f"`{place.index.name}` has no column `{column}`, which "
            + ("holds the texts" if texts else "says where each document lies"),
            where=f"dataset.documents.{'text' if texts else 'file'} for {place.index}",
            fix=did_you_mean(column, names),
        )
    never = {column, *((node.file,) if texts else ())}
    besides = [name for name in names if name not in never]
    taken = [name for name in besides if name.lower() in _taken()]
    if taken:
        raise DataError(
            f"`{place.index.name}` has a column `{taken[0]}`, which reading makes itself",
            where=str(place.index),
            why=f"of a document are known: {', '.join(sorted(_taken()))}",
            fix="rename the column in the file",
        )
    if node.text is not None:
        return folder.of_texts(rows, node.file, node.text), besides
    return folder.of_index(rows, place.root, node.file), besides


def _taken() -> set[str]:
    from toolkit.documents import tables

    return {"document", *tables.OWN, tables.TWIN, tables.REJECTED}


def _rows(
    index: Path, options: CsvOptions, engine: Engine, scratch: Path
) -> tuple[tuple[str, ...], Iterator[Mapping[str, str | None]]]:
    """The columns of an index, and its rows. Raises DataError where lines of it are none."""
    names, query = text.open_text(index, options, scratch / f"{digest(str(index))[:16]}.csv")
    for name in (text.LINES, text.SCANS, CELLS):
        engine.drop(name)
    engine.keep(CELLS, query)
    rows = engine.arrow(exp.select("*").from_(sql.table(CELLS)))
    wrong = engine.arrow(exp.select(sql.col("line")).distinct().from_(sql.table(text.LINES)))
    for name in (text.LINES, text.SCANS, CELLS):
        engine.drop(name)
    if wrong.num_rows:
        lines = sorted(wrong["line"].to_pylist())
        raise DataError(
            f"`{index.name}` has {len(lines):,} lines that are no rows",
            where=f"{index}, line {', '.join(map(str, lines[:3]))}",
            why="too many or too few cells, or a quote that is not closed",
            fix="correct the index: each line is a document",
        )
    return names, iter(rows.to_pylist())
