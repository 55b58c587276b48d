"""Next Monday's list for many portals: one Sunday's features, scores, reasons and segments from raw CSV files.

python tests/benchmarks/prospects_score.py [portals]

The bundle is that of `recipe=prospect_conversion` on 2,000 portals; the files to score are another world's.
Told apart: the first scoring reads the files, the second finds the tables in the cache.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pyarrow.csv as csv
from common import machine, peak_of_children, toolkit


def main(portals: int) -> None:
    print(machine(), f"{portals:,} portals")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = folder / "run"
        toolkit("recipe=prospect_conversion", "source.world.size=2000", f"hydra.run.dir={run}", "enrichment.provider=template",
                "report.html=false", folder=folder)  # fmt: skip
        words = (f"source.world.size={portals}", "source.world.seed=11", "cache=world")
        print(f"simulating {toolkit('simulate', 'recipe=prospect_conversion', *words, folder=folder):.0f} s")
        (files,) = (path.parent for path in (folder / "world").rglob("usage_actions.csv"))
        rows = csv.read_csv(files / "usage_actions.csv").num_rows
        for what in ("files read", "tables in the cache"):
            scores = folder / what.replace(" ", "_")
            words = (f"run={run}", f"input={files}", "snapshot=latest", f"output={scores}")
            seconds = toolkit("score", *words, folder=folder)
            listed = csv.read_csv(scores / "ranked_prospects.csv").num_rows
            print(f"{what}: {rows:,} rows of usage → features, scores and a list of {listed:,} in {seconds:.0f} s; "
                  f"peak {peak_of_children():.1f} GB", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500_000)
