"""The verb `score` for single rows: JSON in, JSON out, one line each."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from toolkit.cli.scoring import said
from toolkit.errors import ConfigError, UserError

EXAMPLE = "example"
TABLES = ("snapshot", "cutoff", "previous", "output", "cache", "enrich")


def score_rows(folder: Path, given: dict[str, str]) -> int:
    """Answer `row=` or the lines of standard input; 1 if some line was refused."""
    from toolkit.scoring.rows import Rows

    for name in TABLES:
        if name in given:
            raise ConfigError(
                f"`{name}=` goes with tables, and here a row is scored", where="command line", fix="leave it out"
            )  # fmt: skip
    if "row" in given and "input" in given:
        raise ConfigError("`row=` and `input=` both say what to score", where="command line", fix="give one")
    accepted = said(given, "accept_gate", "false")
    rows = Rows.read(folder, _reasons(given), accepted)
    if "row" in given:
        answer = rows.example() if given["row"] == EXAMPLE else rows.score(_parsed(given["row"]))
        print(json.dumps(answer, ensure_ascii=False, indent=1))
        return 0
    return _lines(rows, sys.stdin.buffer, given.get("quiet", "false") == "true")


def _parsed(text: str) -> dict[str, Any]:
    from toolkit.scoring.rows import parsed

    return parsed(text)


def _reasons(given: dict[str, str]) -> int:
    text = given.get("reasons", "0")
    if not text.isdigit() or int(text) > 10:
        raise ConfigError(
            f"`reasons={text}` is no number from 0 to 10", where="command line", fix="reasons=3"
        )
    return int(text)


def _lines(rows: Any, lines: BinaryIO, quiet: bool) -> int:
    """An answer line for every line that is not empty; how many, and how long a row took, on standard error."""
    seconds: list[float] = []
    refused = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        begun = time.perf_counter()
        try:
            answer = rows.line(line)
        except UserError as error:
            refused += 1
            told = {"line": number, "error": error.what} | {k: v for k, v in error.details() if v}
            answer = json.dumps(told, ensure_ascii=False)
        seconds.append(time.perf_counter() - begun)
        print(answer, flush=True)
    if not quiet:
        took = ""
        if seconds:
            half, most = 1_000 * np.quantile(seconds, [0.5, 0.99])
            took = f"; a row took {half:.1f} ms (p50), {most:.1f} ms (p99)"
        for text in [
            f"{len(seconds):,} rows: {len(seconds) - refused:,} scored, {refused:,} refused{took}",
            *rows.notes,
        ]:
            print(text, file=sys.stderr)
    return 1 if refused else 0
