"""Clients of a document service: what they do day by day, and which of them leave.

Written from plausibility before any model had seen it, and frozen then: no constant was moved to reach a figure.
What a model reaches here says how near it comes to this world's ceiling, not how well it would do on a company's
own clients.

`clients_story` draws the clients and holds the one daily step, `clients_tables` writes what is exported,
`clients_truth` reads the truth.

**Traits**, drawn once: region, age group of the main contact, industry, seats, plan and billing (by the month or by
the year), all exported; *fit* (industry, size and much that stays unseen), taste for breadth, hidden. A little over
half of the clients are older than the export's first day, the others arrive while it runs.

**Hidden state**, moving daily. *Satisfaction*: a slow wave around what fits, with momentum: what has moved for weeks
goes on moving (three weeks), and it returns within a quarter. *Grievance*: tickets that wait too long, and price
rises at a renewal, fade within a month or two. *Habit*: follows satisfaction with a month's delay, and falls while the
person who had brought the service in has left. *Decision*: some day a client decides to leave, the likelier the less
satisfied and the weaker the habit, shortly before a renewal, in the first months, and where competitors woo (volatile
markets). From then on usage fades within three weeks to three months, exports rise, and now and then a client is won
back. A few leave for reasons that nothing foretells (sold, closed). On the first day nobody has decided yet, so the
first months are quieter than those after.

**Leaving** shows in two ways. *Notice*: those who pay by the month give it within weeks of deciding, those who pay by
the year mostly within the last quarter of their term. *Silence*: small teams just stop coming.

**What is exported**, one Parquet file per table; each row carries the day on which it became known, and nothing
in it was known later than that:

- `clients` (started_on, region, age_group, industry, company_size, value_tier, owner), `contracts` (a row per term,
  on its first day: plan, billing, term_days, seats, monthly_fee), `cancellations` (the day of the notice, when the
  contract will end, the reason given).
- `activity`: a row per client and day with any use: logins, users, sessions, minutes, longest pause between
  sessions, documents, edits, shares, searches, exports, API calls, data, features, errors, logins by phone.
- `emails` (sent, opened, clicked: a row each, on its day, by topic), `tickets` (kind and sentiment, when opened),
  `answers` (hours it took, sentiment after), `surveys` (NPS, stars), `visits` (help, pricing, comparison pages),
  `setup` (integrations connected and disconnected, customisations), `market` (monthly volatility of a client's
  industry).

**Fairness.** Region and age group move nothing by themselves. Clients in the West wait longer for answers (the office
lies far off), and so are aggrieved more often; younger contacts more often pay by the month, and older ones use
fewer features. So base rates differ between groups, and columns that are no protected attribute stand in for them.

After models had been fitted, what is exported was mended, and nothing else: a term that begins on the day of the
notice has its contract row, minutes, pauses and MB are numbers with a fraction; and the default size was cut for the sake of time.
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


class ClientWorld(BaseModel):
    """Clients of a document service, what they do day by day and who leaves, as eleven Parquet files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["clients"] = "clients"
    size: int = Field(default=3_000, ge=100, le=1_000_000, description="how many clients, left ones included")
    weeks: int = Field(default=131, ge=30, le=520, description="weeks of activity, from 2024-01-01")
    seed: int = Field(default=23, ge=0)


def simulate(world: ClientWorld, folder: Path, progress: Tell | None = None) -> None:
    """Write the Parquet files into a folder, and the truth under `folder/truth/`.

    The same world gives the same bytes. `progress(what, share done)` is called as the weeks pass.
    `truth/world.json` is written last: without it the folder is not whole.
    """
    import numpy as np

    from toolkit.simulate import clients_story, clients_tables, clients_truth

    with written(world, folder, progress) as (folder, truth, tell):
        tell("clients", 0.0)
        days = 7 * world.weeks
        clients = clients_story.draw(world.size, days, np.random.default_rng([world.seed, 0]))
        with clients_tables.Export(folder, clients, days, np.random.default_rng([world.seed, 2])) as export:
            for day, state in clients_story.days_of(clients, days, world.seed):
                if day % 28 == 0:
                    tell(f"day {day}", 0.1 + 0.9 * day / days)
                export.add(day, state)
        clients_truth.save(export.ids, clients, state, truth / "clients.parquet")


def ceiling(folder: Path, cutoff: date, draws: int = 100, seed: int = 0) -> pd.DataFrame:
    """How likely each active client is to leave within 30, 60 and 90 days; see `clients_truth.ceiling`."""
    from toolkit.simulate import clients_truth

    return clients_truth.ceiling(folder, cutoff, draws, seed)


worlds.add(Component("clients", ClientWorld, simulate))
