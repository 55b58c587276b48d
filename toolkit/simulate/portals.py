"""Free portals of a software company: what they use week by week, and which become paying customers.

The causes below come from plausibility, but not untouched by results: three times, models had been fitted to
an earlier version, and usage was then made to say more, fit to say less, and closings more frequent (a sixth
of the portals active in a usual week, some 0.8 % that close within 30 days). What a model reaches here says
how near it comes to this world's ceiling, not how well it would do on a company's own portals.

`portals_story` draws the portals and holds the one weekly step, `portals_tables` writes what is exported,
`portals_truth` reads the truth.

**Traits**, drawn once. *Fit*: companies of 11 to 1,000 people, of some industries, with a ranked website
fit better; most of it stays unseen. *Taste*: which of four products is tried first. A little over half of
the portals are older than the export's first week, the others arrive while it runs.

**Hidden state**, moving weekly. *Interest*: a slow wave (memory of about ten weeks) around a level that
fit decides. *Project*: now and then, more often where the fit is good, someone evaluates the product in
earnest: for six weeks the drive grows, then it fades within a month. So usage that grows foretells more
than the same usage that fades.

**Usage** follows interest and project together: whether anything is used in a week, how many products,
how many actions, by how many people. **Closing** follows a weekly hazard: its logit is linear in interest,
project and fit. Closing dates lie mostly on working days.

**What is exported**, on a Wednesday, so the last week is incomplete:

- `customers.csv` (id, CLOSEDATE, MRR, ALEXA_RANK, EMPLOYEE_RANGE, INDUSTRY), `noncustomers.csv` (without
  the first two), `usage_actions.csv` (a row only where something was used).
- Customers have ids from 1, the others from 100,001. Some customers stand in `noncustomers.csv`, too; some
  rows stand twice; some customers were sold to twice.
- Usage goes on, and rises, after the closing. Every stamp is the Monday on which a week begins
  (`stamps: weekly`), or the day itself (`stamps: daily`), written `2020-06-01 00:00:00.000`.
- INDUSTRY is empty in 85 %, EMPLOYEE_RANGE a text, now and then one that says nothing; ALEXA_RANK 16000001
  where a site has none; MRR sometimes zero or negative; a few closing dates missing or no dates.
- Some portals closed before the first week of usage.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from toolkit.registry import Component, worlds
from toolkit.simulate.folder import Tell, written

if TYPE_CHECKING:
    from datetime import date

    import pandas as pd


class PortalWorld(BaseModel):
    """Free portals, their weekly usage and who buys, as three messy CSV files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["portals"] = "portals"
    size: int = Field(default=5_000, ge=200, le=5_000_000, description="how many portals, customers included")
    weeks: int = Field(default=80, ge=12, le=520, description="weeks of usage, from 2019-01-07")
    stamps: Literal["weekly", "daily"] = Field(
        "weekly", description="rows are totals of a week, stamped with its Monday, or of a day"
    )
    seed: int = Field(default=11, ge=0)


def simulate(world: PortalWorld, folder: Path, progress: Tell | None = None) -> None:
    """Write the three CSV files into a folder, and the truth under `folder/truth/`.

    The same world gives the same bytes. `progress(what, share done)` is called as the weeks pass.
    `truth/world.json` is written last: without it the folder is not whole.
    """
    import numpy as np

    from toolkit.simulate import portals_story, portals_tables, portals_truth

    with written(world, folder, progress) as (folder, truth, tell):
        tell("portals", 0.0)
        portals = portals_story.draw(world.size, world.weeks, np.random.default_rng([world.seed, 0]))
        close_day = portals_truth.close_days(portals, world.weeks, world.seed)
        exported = 7 * (world.weeks - 1) + portals_tables.LAST_DAYS - 1
        known = np.where(close_day <= exported, close_day, portals_truth.NEVER)
        rng = np.random.default_rng([world.seed, 2])
        number = portals_tables.ids(known < portals_truth.NEVER, rng)
        portals_tables.write_companies(portals, number, known, exported, folder, rng)
        daily = world.stamps == "daily"
        with portals_tables.Usage(
            folder, number, daily, world.weeks, np.random.default_rng([world.seed, 3])
        ) as usage:
            for week, state in portals_story.weeks_of(portals, world.weeks, world.seed):
                if week % 8 == 0:
                    tell(f"week {week}", 0.1 + 0.9 * week / world.weeks)
                usage.add(week, state, portals, close_day < 7 * week)
        portals_truth.save(portals, number, close_day, truth / "portals.parquet")


def ceiling(folder: Path, sunday: date, draws: int = 50, seed: int = 0) -> pd.DataFrame:
    """How likely each free portal is to close within 30 days of a Sunday; see `portals_truth.ceiling`."""
    from toolkit.simulate import portals_truth

    return portals_truth.ceiling(folder, sunday, draws, seed)


worlds.add(Component("portals", PortalWorld, simulate))
