"""Rows that broke a table's contract, as files that a person can open and correct."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from toolkit.data.tables import Tables
from toolkit.report.lists import file_name, write_csv

OURS = ("@row", "@line", "@file", "@reason", "@text")


def write_rejected(tables: Tables, folder: Path) -> None:
    """One CSV per table with rejected rows: where each stood, the reason, its cells. No folder if none."""
    for table in tables.loaded.values():
        if table.rejected:
            folder.mkdir(exist_ok=True)
            rows = pq.read_table(table.rejected)
            header = [name.removeprefix("@") if name in OURS else name for name in rows.column_names]
            lines = zip(*(column.to_pylist() for column in rows.columns), strict=True)
            write_csv(folder / f"{file_name(table.name)}.csv", header, lines)
