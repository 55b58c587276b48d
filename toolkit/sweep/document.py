"""A page of tables as plain data, and the same page for a terminal, in Markdown and in HTML.

What stands in it are texts of the user's and of the data's: each way of writing takes care of its own.
"""

from __future__ import annotations

import html
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table
from rich.text import Text

LONGEST = 100  # characters of a cell on a terminal; files hold all of them


@dataclass(frozen=True)
class Link:
    """A text that leads to a file of the same disk."""

    text: str
    path: Path

    def __str__(self) -> str:
        return self.text

    def href(self, base: Path) -> str:
        """Relative to the folder that the page lies in."""
        return quote(os.path.relpath(self.path.resolve(), base.resolve()).replace(os.sep, "/"))


Cell = str | Link | list[Link]


@dataclass(frozen=True)
class Section:
    """A table with what stands above it. left: how many columns are texts; strong: rows that stand out."""

    title: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()
    said: str = ""
    left: int = 1
    strong: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Document:
    title: str
    lead: Sequence[str]
    sections: Sequence[Section]
    warnings: Sequence[str] = field(default=())


def screen(document: Document, console: Console) -> None:
    """Print it. Links are left out: a terminal cannot follow them."""
    for section in document.sections:
        console.print(Text(section.title, style="bold"), soft_wrap=True)
        if section.said:
            console.print(Text(section.said), soft_wrap=True)
        if section.rows:
            table = Table(box=None, header_style="dim", pad_edge=False)
            keep = [i for i in range(len(section.header)) if not isinstance(section.rows[0][i], list)]
            for i in keep:
                table.add_column(Text(section.header[i]), justify="left" if i < section.left else "right")
            for number, row in enumerate(section.rows):
                style = "bold" if number in section.strong else ""
                table.add_row(*(Text(_cut(str(row[i]))) for i in keep), style=style)
            console.print(table)
        console.print()
    for line in document.warnings:
        console.print(Text(f"warning: {line}", style="yellow"), soft_wrap=True)
    for line in document.lead:
        console.print(Text(line), soft_wrap=True)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def markdown(document: Document, base: Path) -> str:
    """The page in Markdown, to lie in the folder `base`."""
    lines = [f"# {_md(document.title)}", ""]
    lines += [f"**Warning: {_md(line)}**\n" for line in document.warnings]
    lines += [f"{_md(line)}\n" for line in document.lead]
    for section in document.sections:
        lines += [f"## {_md(section.title)}", ""]
        lines += [f"{_md(section.said)}\n"] if section.said else []
        if not section.rows:
            continue
        marks = ["---" if i < section.left else "---:" for i in range(len(section.header))]
        lines += ["| " + " | ".join(map(_md, section.header)) + " |", "|" + "|".join(marks) + "|"]
        for number, row in enumerate(section.rows):
            cells = [_md_cell(cell, base) for cell in row]
            cells = [f"**{cell}**" if number in section.strong and cell and i == 0 else cell for i, cell in enumerate(cells)]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _md_cell(cell: Cell, base: Path) -> str:
    if isinstance(cell, list):
        return ", ".join(_md_cell(link, base) for link in cell)
    return f"[{_md(cell.text)}](<{cell.href(base)}>)" if isinstance(cell, Link) else _md(cell)


def _md(text: str) -> str:
    """A text on one line: no HTML, no cell's end, no link."""
    safe = html.escape(" ".join(str(text).split()), quote=False)
    for mark in ("\\", "`", "*", "_", "|", "[", "]"):
        safe = safe.replace(mark, f"\\{mark}")
    return safe


def page(document: Document, base: Path) -> str:
    """The page as one HTML file without scripts, to lie in the folder `base`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def links(cell: Any) -> list[tuple[str, str]] | None:
        found = cell if isinstance(cell, list) else [cell] if isinstance(cell, Link) else None
        return None if found is None else [(link.text, link.href(base)) for link in found]

    return environment.get_template("page.html").render(document=document, links=links)


def number(value: float, digits: int = 4) -> str:
    return "–" if math.isnan(value) else f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.{digits}f}"


def signed(value: float, low: float, high: float) -> str:
    """`+0.012 [−0.001, +0.025]`, without the interval if there is none."""
    if math.isnan(value):
        return "–"
    return f"{value:+.4f}" + ("" if math.isnan(low) else f" [{low:+.4f}, {high:+.4f}]")
