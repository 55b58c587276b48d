"""How long one row takes, from JSON text to JSON text, in one process.

    python tests/benchmarks/single_row.py RUN [RUN …] [rows=2000]

Rows are drawn around what is usual in training rows; every tenth feature is missing. Prints p50 and p99 in
milliseconds, without and with three reasons, and, where a row can be given by the entity table's columns, so, too.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.cli.scoring import bundle_of
from toolkit.scoring.rows import Rows


def drawn(rows: Rows, rng: np.random.Generator) -> dict[str, Any]:
    """A row by features."""
    row = rows.example()
    for column in rows.scorer.encoder.columns:
        if rng.random() < 0.1:
            row[column.name] = None
        elif column.kind == "categorical":
            row[column.name] = str(rng.choice(column.levels)) if column.levels else None
        elif row[column.name] is not None:
            row[column.name] = float(row[column.name] * np.exp(0.5 * rng.standard_normal()))
    return row


def timed(rows: Rows, lines: list[str]) -> str:
    """p50 and p99 in milliseconds: on the clock, and of the process's own work, which a busy machine does not change much."""
    for line in lines[:50]:
        rows.line(line)
    seconds = []
    for line in lines:
        begun = time.perf_counter(), time.process_time()
        rows.line(line)
        seconds.append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    wall, own = 1_000 * np.quantile(seconds, [0.5, 0.99], axis=0).T
    return f"p50 {wall[0]:.2f} ms, p99 {wall[1]:.2f} ms (CPU {own[0]:.2f} and {own[1]:.2f})"


def main(arguments: list[str]) -> None:
    count = next((int(one[5:]) for one in arguments if one.startswith("rows=")), 2_000)
    for run in (Path(one) for one in arguments if not one.startswith("rows=")):
        rng = np.random.default_rng(0)
        plain, told = (Rows.read(bundle_of(run), reasons) for reasons in (0, 3))
        features = [drawn(plain, rng) for _ in range(count)]
        forms = {"features": [json.dumps(row) for row in features]}
        if plain.cells:  # a feature of one table is called as its column
            columns = [{name.split(".", 1)[1]: value for name, value in row.items()} for row in features]
            forms["columns"] = [
                json.dumps({n: round(v) if isinstance(v, float) else v for n, v in row.items()}) for row in columns
            ]  # fmt: skip
        models = ", ".join(f"{head.name}: {head.model}" for head in plain.scorer.heads)
        print(f"{run}  ({models}; {len(plain.names)} features)")
        for form, lines in forms.items():
            for what, rows in (("", plain), (", 3 reasons", told)):
                print(f"  {form}{what}: {timed(rows, lines)}, {len(lines):,} rows", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
