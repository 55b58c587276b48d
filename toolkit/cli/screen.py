"""How a mistake is printed: one screen, no traceback."""

from __future__ import annotations

import sys

from toolkit.errors import UserError


def show(error: UserError) -> None:
    """Print what is wrong, where, why and the fix on stderr; plain lines if it is not a terminal."""
    if not sys.stderr.isatty():
        print(f"error: {error}", file=sys.stderr)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_row(Text("error", style="bold red"), Text(error.what))
    for name, text in error.details():
        if text:
            grid.add_row(Text(name, style="green" if name == "fix" else "dim"), Text(text))
    Console(stderr=True, highlight=False).print(grid)
