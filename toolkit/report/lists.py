"""CSV files that are safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

# A cell that begins like this is run by spreadsheets (OWASP, "CSV Injection"; the wide forms by East
# Asian editions). One that is a plain number is not.
FORMULA = re.compile(r"^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]")
NUMBER = re.compile(r"^ *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *$", re.ASCII)


def defused(cell: Any) -> Any:
    """A text that a spreadsheet would run gets an apostrophe in front; numbers, negative ones too, stay."""
    if isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.match(cell):
        return "'" + cell
    return cell


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """UTF-8, one header line, cells defused, None as empty."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([defused(cell) for cell in header])
        for row in rows:
            writer.writerow(["" if cell is None else defused(cell) for cell in row])


def file_name(name: str) -> str:
    """A target's or a table's name as a file's; names that differ give files that differ."""
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:80]
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
