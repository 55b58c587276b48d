"""Feature preparation against hand-written DuckDB SQL for the same features, 500,000 donors x all their gifts.

    python tests/benchmarks/feature_sql.py [donors] [repeats]

Both read the same Parquet files, give the same columns for every (donor, cutoff) row, and run in turn in
one process. The toolkit's time includes compiling, the refusals, writing its cache and putting the columns
together; the rival's is the query alone, fetched as Arrow.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import yaml
from common import ROOT, machine

HAND_WRITTEN = """
WITH gaps AS (
  SELECT Donor_ID, Gift_Amount, Log_Amount, Gift_Type, Gift_Date + 1 AS known,
         date_diff('second', lag(Gift_Date) OVER (PARTITION BY Donor_ID ORDER BY Gift_Date), Gift_Date) / 86400.0 AS gap
  FROM read_parquet('{gifts}')
), joined AS (
  SELECT c.row, c.cutoff, g.*, (epoch(g.known::TIMESTAMP) - epoch(c.cutoff)) / 86400.0 / 365.25 AS years
  FROM cohort c JOIN gaps g ON g.Donor_ID = c.entity AND g.known <= c.cutoff
), found AS (
  SELECT row, {columns}
  FROM joined GROUP BY row
)
SELECT c.row, {filled} FROM cohort c LEFT JOIN found f USING (row) ORDER BY c.row
"""


def columns() -> dict[str, str]:
    """Feature → aggregate, as an analyst writes them."""
    spans = {"3mo": "3 MONTH", "12mo": "12 MONTH", "24mo": "24 MONTH", "all": None}
    found = {}
    for short, length in spans.items():
        inside = f" FILTER (known > cutoff - INTERVAL {length})" if length else ""
        found[f"count_{short}"] = f"count(*){inside}"
        found[f"Gift_Amount_sum_{short}"] = f"sum(Gift_Amount){inside}"
        found[f"Gift_Amount_max_{short}"] = f"max(Gift_Amount){inside}"
        found[f"Log_Amount_mean_{short}"] = f"avg(Log_Amount){inside}"
    found["days_since_last"] = "(epoch(any_value(cutoff)) - epoch(max(known)::TIMESTAMP)) / 86400.0"
    found["days_since_first"] = "(epoch(any_value(cutoff)) - epoch(min(known)::TIMESTAMP)) / 86400.0"
    found |= {
        "gap_mean_all": "avg(gap)",
        "gap_std_all": "stddev_samp(gap)",
        "gap_last_all": "arg_max(gap, row(known, gap))",
    }
    found["Log_Amount_slope_all"] = "regr_slope(Log_Amount, years)"
    found["Log_Amount_last_all"] = "arg_max(Log_Amount, row(known, Log_Amount))"
    found["Log_Amount_std_all"] = "stddev_samp(Log_Amount)"
    years = [
        f"(count(*) FILTER (known > cutoff - INTERVAL {i + 1} YEAR AND known <= cutoff - INTERVAL {i} YEAR) > 0)::INT"
        for i in range(5)
    ]
    found["share_of_periods_5y"] = "(" + " + ".join(years) + ") / 5.0"
    found["acceleration_6mo_24mo"] = (
        "(count(*) FILTER (known > cutoff - INTERVAL 6 MONTH) / 182.625) / "
        "nullif(count(*) FILTER (known > cutoff - INTERVAL 24 MONTH) / 730.5, 0)"
    )
    for kind in ("Credit Card", "Check", "Stock", "Pledge Payment"):
        found[f"Gift_Type_share_{kind}_all"] = (
            f"count(*) FILTER (Gift_Type = '{kind}') / nullif(count(Gift_Type), 0)"
        )
    return found


def rival(gifts: Path, cohort: Path) -> tuple[float, dict]:
    connection = duckdb.connect()
    connection.execute(
        f"CREATE VIEW cohort AS SELECT \"@row\" AS row, entity, cutoff FROM read_parquet('{cohort}')"
    )
    wanted = columns()
    zero = {name for name in wanted if name.startswith(("count", "Gift_Amount_sum", "share_of"))}
    filled = ", ".join(f'coalesce(f."{n}", 0) AS "{n}"' if n in zero else f'f."{n}"' for n in wanted)
    text = HAND_WRITTEN.format(
        gifts=gifts, columns=", ".join(f'{sql} AS "{name}"' for name, sql in wanted.items()), filled=filled
    )
    begun = time.perf_counter()
    table = connection.sql(text).to_arrow_table()
    seconds = time.perf_counter() - begun
    return seconds, {name: table[name].to_numpy() for name in wanted}


def main(donors: int, repeats: int) -> None:
    from toolkit.config.schema import Config
    from toolkit.prepare import matrix as matrices
    from toolkit.prepared import declaration
    from toolkit.workplace import workplace

    print(machine(), f"{donors:,} donors")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = subprocess.run(
            [sys.executable, "-m", "toolkit", "recipe=donor_multitarget", "target=[recent_engager]", "features=[giving_windows]",
             f"source.world.size={donors}", f"cache={folder}/cache", "--cfg", "job", "--resolve"],
            capture_output=True, text=True, check=True, cwd=ROOT,
        ).stdout  # fmt: skip
        config = Config.model_validate(yaml.safe_load(text))
        place = workplace(config, lambda what, share: None)
        declared = declaration(config)
        tables = matrices.load_tables(declared, config.source, place.engine, place.cache)
        ours, theirs = [], []
        for number in range(repeats):
            cache = type(place.cache)(folder / f"cold-{number}")
            matrices.compile_all(
                declared, tables, place.engine, cache, labelled=False
            )  # the cohort, which both sides get
            cohort = next((folder / f"cold-{number}" / "cohorts").glob("*/rows.parquet"))
            begun = time.perf_counter()
            compiled = matrices.compile_all(declared, tables, place.engine, cache, labelled=False)
            matrix = matrices.build(compiled, place.engine, cache)
            ours.append(time.perf_counter() - begun)
            seconds, values = rival(tables["giving_history"].path, cohort)
            theirs.append(seconds)
        worst = 0.0
        for feature, column in values.items():
            mine = matrix.columns[f"giving_windows.{feature}"]
            other = column.astype(np.float32)
            with np.errstate(invalid="ignore"):
                gap = np.abs(mine - other) / np.maximum(np.abs(other), 1e-3)
            assert (np.isnan(mine) == np.isnan(other)).all(), feature
            worst = max(worst, float(np.nanmax(gap)))
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{len(matrix):,} rows x {len(values)} features: toolkit {statistics.median(ours):.1f} s, hand-written {statistics.median(theirs):.1f} s, "
              f"ratio median {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f}); peak {peak:.1f} GB; "
              f"largest relative difference {worst:.0e}")  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500_000, int(sys.argv[2]) if len(sys.argv) > 2 else 3)
