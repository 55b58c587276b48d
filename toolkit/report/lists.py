"""CSV files that are safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

# A cell that begins like a formula is run by spreadsheets; one that is a plain number is not.
FORMULA = re.compile(r"^\s*[=+\-@\t\r]")
NUMBER = re.compile(r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$")


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
