"""Donors of a university: who they are, whom they know, what they give, and why.

The causes below were written from plausibility before any model saw a row, and are not to be tuned to
please a score. Base rates, the tail of wealth and the number of ties were then set by volume alone: about
seven gifts per donor, a quarter who never give, some two million ties.

`donors_people` draws the people and their ties, `donors_story` holds the one monthly step,
`donors_tables` writes what the institution sees, `donors_truth` reads the truth.

**Traits**, drawn once, never shown. *Affinity* to the cause. *Capacity* to give; a household shares
most of its capacity and half of its affinity. *Receptivity*: how far others move one. *Rhythm*: gives
every 1, 3, 6 or 12 months, or irregularly. *Taste* for events. *Managed*: staff visit the wealthy.

**Hidden state**, evolving monthly. A *mood*: dormant, casual, committed or lapsing. Affinity, momentum,
warm neighbours and staff visits move it up; their lack moves it down. *Momentum* is a slow tide
(memory of about 20 months) that lifts or lowers the usual amount and the mood alike. Life shocks,
unseen by anyone, throw a few into dormancy each month and change what they can afford.

**Order and timing** carry what totals and counts over windows do not:

1. *Ladder.* Momentum moves amounts before it moves moods, so amounts that climb foretell staying and
   upgrading, amounts that fall foretell lapse, at the same total.
2. *Broken cadence.* A committed donor gives when the own rhythm is due. Four silent months mean nothing
   for an annual giver and much for a monthly one.
3. *Stretching gaps.* A lapsing donor's rhythm slows by an eighth each month before giving stops, the
   amounts shrink by a twentieth, and the payment is less often made in the accustomed way.
4. *Path.* An event, then a gift, then a gift at least half as large again, each within a year of the one
   before, often makes a committed donor with a higher usual amount. The same three things in another
   order do nothing.

**Influence.** What a neighbour gave (logarithm of the amount) and attended glows for some months (it
fades by 30 % a month). A donor feels the sum of neighbours' glow, weighted by the strength of the tie
and its kind: family 1, professional 0.7, social 0.2, alumni and activity nothing. Felt warmth saturates
and, times receptivity, raises the hazards of giving and attending at once, and the mood later.

**What the institution sees** starts on 2016-01-01; nothing happens on a New Year's Day, so a cutoff on
1 January splits cleanly. A donor's row is as of `Added_On` and never updated, so the intake rating and
stage grow stale. Many are added because they gave, most alumni because they graduated. A tie acts once
both donors are on file; the institution learns of it (`Since`) often at once, often years later,
sometimes never. The engagement score, on 30 June and 31 December, is a noisy view of recent gifts,
attendance and visits, and of affinity. A visit's report hints at mood and momentum, not always rightly.
IDs and row order are random with regard to every trait.
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


class DonorWorld(BaseModel):
    """A university's donors: profiles, gifts, scores, ties, events and visit reports, 2016 to 2024."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["donors"] = "donors"
    size: int = Field(default=500_000, ge=50, le=9_000_000, description="how many donors by the end of 2024")
    seed: int = Field(default=7, ge=0)


def simulate(world: DonorWorld, folder: Path, progress: Tell | None = None) -> None:
    """Write `folder/<table>.parquet` for six tables, and the truth under `folder/truth/`.

    The same world gives the same bytes. `progress(what, share done)` is called as the years pass.
    `truth/world.json` is written last: without it the folder is not whole.
    """
    import numpy as np

    from toolkit.simulate import donors_people, donors_story, donors_tables, donors_truth
    from toolkit.simulate.donors_people import FIRST_YEAR, MONTHS

    with written(world, folder, progress) as (folder, truth, tell):
        tell("people and ties", 0.0)
        people, ties = donors_people.draw(world.size, np.random.default_rng([world.seed, 0]))
        influence = donors_people.influence_matrix(ties, world.size)
        state = donors_story.start(people, np.random.default_rng([world.seed, 1]))
        donors_tables.write_donors(people, folder, np.random.default_rng([world.seed, 2]))
        donors_tables.write_relationships(people, ties, folder)
        donors_truth.save(people, truth / "people.parquet")
        donors_truth.save(ties, truth / "ties.parquet")

        chance = np.random.default_rng([world.seed, 3])  # what happens
        detail = np.random.default_rng([world.seed, 4])  # how it is described; never acts back
        with donors_tables.Ledger(folder, people, detail) as ledger:
            for month in range(MONTHS):
                if month % 12 == 0:
                    year = FIRST_YEAR + month // 12
                    tell(str(year), 0.1 + 0.9 * month / MONTHS)
                    donors_truth.save(state, truth / f"state_{year}.parquet")
                ledger.add(donors_story.step(state, people, influence, month, chance))
        donors_truth.save(state, truth / f"state_{FIRST_YEAR + MONTHS // 12}.parquet")


def ceiling(folder: Path, cutoff: date, draws: int = 50, seed: int = 0) -> pd.DataFrame:
    """What a perfect reader of the hidden state could know of the five labels; see `donors_truth.ceiling`."""
    from toolkit.simulate import donors_truth

    return donors_truth.ceiling(folder, cutoff, draws, seed)


worlds.add(Component("donors", DonorWorld, simulate))
