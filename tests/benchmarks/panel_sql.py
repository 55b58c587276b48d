"""Panels of 30 days x 15 channels against hand-written DuckDB SQL for the same numbers.

    python tests/benchmarks/panel_sql.py [entities] [days] [repeats] [memory]

Made-up tables: `activity`, one row for each entity and day with 12 numbers, and `tickets`, about one in twenty
days, with a mood that is carried forward. 20 cutoffs, so `5000 2000` is 100,000 rows over 10 million daily rows. Both
read the same Parquet files and run in turn in one process on one thread; the toolkit's time includes
compiling, the refusals, writing its cache and putting the arrays together, the rival's is the query fetched as Arrow.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
from common import machine

NUMBERS = [f"n{number:02d}" for number in range(1, 13)]
BEGIN, LAST = date(2018, 1, 1), 30
HAND_WRITTEN = """
WITH grid AS (
  SELECT c.row, c.entity, d.place, (c.cutoff - to_days(d.place::INT))::DATE AS day
  FROM cohort c, (SELECT unnest(range(1, {last} + 1)) AS place) d
), a AS (
  SELECT id, day, {sums} FROM read_parquet('{activity}') GROUP BY id, day
), t AS (
  SELECT id, day, count(*) AS tickets, count(*) FILTER (mood < 0) AS angry, avg(mood) AS mood
  FROM read_parquet('{tickets}') GROUP BY id, day
), carried AS (
  SELECT g.row, g.place, t.tickets, t.angry, p.mood
  FROM grid g LEFT JOIN t ON t.id = g.entity AND t.day = g.day
  ASOF LEFT JOIN (SELECT id, day, mood FROM t WHERE mood IS NOT NULL) p ON p.id = g.entity AND p.day <= g.day
)
SELECT g.row, g.place, {filled}, coalesce(c.tickets, 0) AS tickets, coalesce(c.angry, 0) AS angry, c.mood
FROM grid g LEFT JOIN a ON a.id = g.entity AND a.day = g.day JOIN carried c ON c.row = g.row AND c.place = g.place
"""


def make(folder: Path, entities: int, days: int) -> None:
    """The tables as Parquet; every entity has a row on the first day."""
    folder.mkdir()
    duckdb.sql(f"COPY (SELECT 'c' || range AS id FROM range({entities})) TO '{folder}/people.parquet'")
    numbers = ", ".join(f"(hash(e.range, d.range, {i}) % 7)::INT AS {name}" for i, name in enumerate(NUMBERS))
    each = f"FROM range({entities}) e, range({days}) d"
    day = f"(DATE '{BEGIN}' + d.range::INT) AS day"
    duckdb.sql(f"COPY (SELECT 'c' || e.range AS id, {day}, {numbers} {each}) TO '{folder}/activity.parquet'")
    mood = "((hash(e.range, d.range) % 2001)::DOUBLE / 1000 - 1) AS mood"
    some = "hash(e.range, d.range, 99) % 20 = 0"
    duckdb.sql(
        f"COPY (SELECT 'c' || e.range AS id, {day}, {mood} {each} WHERE {some}) TO '{folder}/tickets.parquet'"
    )


def recipe(folder: Path, days: int, memory: str) -> dict:
    dated = {"entity": "id", "clock": "day"}
    cutoffs = [str(BEGIN + timedelta(days=days - 7 * (week + 1))) for week in range(20)]
    channels = {name: {"agg": "sum", "column": name} for name in NUMBERS}
    channels |= {
        "tickets": {"table": "tickets", "agg": "count"},
        "angry": {"table": "tickets", "agg": "count", "where": "mood < 0"},
        "mood": {"table": "tickets", "agg": "mean", "column": "mood", "fill": "last"},
    }
    return {
        "dataset": {"entity": "people", "tables": {
            "people": {"key": "id", "known": "always", "columns": {"id": "text"}},
            "activity": dated | {"columns": {"id": "text", "day": "date"} | dict.fromkeys(NUMBERS, "integer")},
            "tickets": dated | {"columns": {"id": "text", "day": "date", "mood": "number"}},
        }},
        "source": {"kind": "folder", "path": str(folder / "data")}, "cohort": {"cutoffs": cutoffs},
        "target": {"some": {"kind": "event_within", "table": "tickets", "horizon": "1d"}},
        "features": {"panel": {"kind": "panel", "last": LAST, "table": "activity", "channels": channels, "seen": False}},
        "split": {"kind": "temporal"}, "model": {"logistic": {"kind": "logistic"}}, "cache": str(folder / "cache"),
        "engine": {"threads": 1, "memory": memory},
    }  # fmt: skip


def rival(activity: Path, tickets: Path, cohort: Path, memory: str) -> tuple[float, dict[str, np.ndarray]]:
    scratch = str(cohort.parent / "scratch")
    connection = duckdb.connect(config={"threads": 1, "memory_limit": memory, "temp_directory": scratch})
    connection.execute(
        f"CREATE VIEW cohort AS SELECT \"@row\" AS row, entity, cutoff FROM read_parquet('{cohort}')"
    )
    text = HAND_WRITTEN.format(
        activity=activity, tickets=tickets, last=LAST, sums=", ".join(f"sum({n}) AS {n}" for n in NUMBERS),
        filled=", ".join(f"coalesce(a.{n}, 0) AS {n}" for n in NUMBERS),
    )  # fmt: skip
    begun = time.perf_counter()
    table = connection.sql(text).to_arrow_table()
    seconds = time.perf_counter() - begun
    order = np.lexsort((-table["place"].to_numpy(), table["row"].to_numpy()))
    return seconds, {n: table[n].to_numpy()[order] for n in (*NUMBERS, "tickets", "angry", "mood")}


def main(entities: int, days: int, repeats: int, memory: str) -> None:
    from toolkit.config.schema import Config
    from toolkit.prepare import matrix as matrices
    from toolkit.prepared import declaration
    from toolkit.workplace import workplace

    print(machine(), f"{entities:,} entities x {days:,} days = {entities * days:,} daily rows")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder / "data", entities, days)
        config = Config.model_validate(recipe(folder, days, memory))
        place = workplace(config, lambda what, share: None)
        declared = declaration(config)
        begun = time.perf_counter()
        tables = matrices.load_tables(declared, config.source, place.engine, place.cache)
        print(f"tables read in {time.perf_counter() - begun:.1f} s")
        ours, theirs = [], []
        for number in range(repeats):
            cache = type(place.cache)(folder / f"cold-{number}")
            matrices.compile_all(declared, tables, place.engine, cache, labelled=False)  # the cohort
            cohort = next((folder / f"cold-{number}" / "cohorts").glob("*/rows.parquet"))
            begun = time.perf_counter()
            compiled = matrices.compile_all(declared, tables, place.engine, cache, labelled=False)
            panel = matrices.build(compiled, place.engine, cache).sequences[0]
            ours.append(time.perf_counter() - begun)
            if not number:
                print(
                    f"toolkit {ours[0]:.1f} s, peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB"
                )
            seconds, values = rival(tables["activity"].path, tables["tickets"].path, cohort, memory)
            theirs.append(seconds)
            print(f"toolkit {ours[-1]:.1f} s, hand-written {theirs[-1]:.1f} s")
        assert (panel.lengths == LAST).all()
        for index, channel in enumerate(panel.channels):
            np.testing.assert_allclose(panel.numeric[:, index], values[channel].astype(np.float32), rtol=1e-6)
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        print(f"{len(panel):,} rows x {LAST} days x {len(panel.channels)} channels: toolkit {statistics.median(ours):.1f} s, "
              f"hand-written {statistics.median(theirs):.1f} s, ratio median {statistics.median(ratios):.2f} "
              f"(from {min(ratios):.2f} to {max(ratios):.2f}); values equal")  # fmt: skip


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:4]]
    main(*(given + [5_000, 2_000, 3][len(given) :]), sys.argv[4] if len(sys.argv) > 4 else "4GB")
