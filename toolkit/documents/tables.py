"""Documents, pages and words as tables, written batch by batch: as many documents as there are, the same memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.documents.layout import NAMES as LAYOUT

REJECTED = "@rejected"  # column of `documents`: why a document was not read; NULL of those that were
OWN = {  # of a document; the index's other columns come between the key and these
    "file": pa.string(), "format": pa.string(), "pages": pa.int32(), "bytes": pa.int64(), "text": pa.string(),
    "words": pa.int32(), "confidence": pa.float64(), "quality": pa.float64(), "engine": pa.string(),
}  # fmt: skip
TWIN = "twin"  # the last column: the key of the first of its near duplicates
SECONDS = "seconds"  # of `pages`: how long reading took
PAGES = {
    "document": pa.string(), "page": pa.int32(), "text": pa.string(), "words": pa.int32(), "confidence": pa.float64(),
    "quality": pa.float64(), "engine": pa.string(), "turned": pa.int32(), "skew": pa.float64(), "cleaned": pa.bool_(),
    SECONDS: pa.float64(), "image": pa.binary(),
}  # fmt: skip
PAGES |= {name: pa.float32() for name in LAYOUT if name not in PAGES}
WORDS = {
    "document": pa.string(), "page": pa.int32(), "position": pa.int32(), "line": pa.int32(), "word": pa.string(),
    "left": pa.float32(), "top": pa.float32(), "right": pa.float32(), "bottom": pa.float32(), "confidence": pa.float32(),
}  # fmt: skip
BATCH = 32_000_000  # bytes


def documents_schema(columns: Sequence[str]) -> pa.Schema:
    """Of the table `documents`. columns: what the index, or the folder, says besides."""
    ours = {"document": pa.string(), **dict.fromkeys(columns, pa.string()), **OWN, REJECTED: pa.string()}
    return pa.schema(list(ours.items()))


def schema_of(columns: Mapping[str, pa.DataType]) -> pa.Schema:
    return pa.schema(list(columns.items()))


class Writer:
    """A Parquet file that grows by rows, or whole columns, of which few are held at a time."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self.file = pq.ParquetWriter(path, schema, compression="zstd")
        self.parts: list[pa.RecordBatch] = []
        self.held = 0

    def add(self, columns: Mapping[str, Any]) -> None:
        """Add rows. columns: name → values [rows]; NaN is missing."""
        arrays = [pa.array(columns[field.name], field.type, from_pandas=True) for field in self.schema]
        part = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        self.parts.append(part)
        self.held += part.nbytes
        if self.held > BATCH:
            self._flush()

    def _flush(self) -> None:
        if self.parts:
            self.file.write_table(pa.Table.from_batches(self.parts, self.schema).combine_chunks())
        self.parts, self.held = [], 0

    def close(self) -> None:
        self._flush()
        self.file.close()


def with_column(source: Path, name: str, values: Sequence[str], path: Path) -> None:
    """A Parquet file with a further column of texts at its end, copied batch by batch."""
    held = pq.ParquetFile(source)
    schema = held.schema_arrow.append(pa.field(name, pa.string()))
    done = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for batch in held.iter_batches(2_000):
            added = pa.array(values[done : done + len(batch)], pa.string())
            file.write_batch(pa.RecordBatch.from_arrays([*batch.columns, added], schema=schema))
            done += len(batch)
        if not done:
            file.write_table(schema.empty_table())
