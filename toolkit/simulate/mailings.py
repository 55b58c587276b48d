"""Recipients of a mailing programme: what is planned for them each week, and what they open, click and act upon.

Written from what is plausible, before any model was fitted to it, and left alone since. What a model reaches here
says how near it comes to this world's ceiling, not how well it would do on one's own mailings.

`mailings_story` draws recipients and campaigns and holds the weekly step, `mailings_tables` writes what is
exported, `mailings_truth` reads the truth.

**Recipients**: segment, region, value tier, when they joined (two thirds before the first week), the topic they
asked for (half of them; it tells of their interest) and how often they are mailed. Hidden, drawn once: the *habit*
of opening mail at all, which differs most between people; the *interest* in each of five topics; the *hour* of the
day at which they read; how much they look for a *discount*; and whether their mail program *fetches* images by
itself, as those of a quarter do: it reports nearly every mailing as opened, whatever its owner does.

**Hidden state**, moving weekly. *Mood*: AR(1) with a memory of 0.9 around nothing. *Fatigue*: each mailing adds
one, a week takes three tenths; who is mailed most weeks comes near three.

**Campaigns**: four a week, on working days mostly: type, topic, length of the subject, personalised or not,
discount, images, send time; and a hidden *appeal* of what the subject says. Each recipient gets one of them at
most: more often one of the topic asked for. Before holidays and at the year's end more people are mailed.

**An open** has a logit linear in habit, mood, interest in the topic, appeal, personalisation, how near the hour is
to the recipient's, and falls with fatigue, with subjects far from 45 characters, and on holidays (the days
between the years count half). A discount draws those who look for it, around Black Friday everybody. **A click**
follows an open (the owner's, not the program's) by interest, discount and images; **an action** follows a click
by tier and tenure. An open comes some hours after the mailing, a click minutes later, an action hours to days.

**Exported** on the Monday after the last week, at nine, UTC: `recipients.csv`, `sends.csv` (a row for each mailing
to a recipient, planned on Friday at noon for the week to come, with its content: those of the week that has
begun too), `responses.csv` (event: open, click or action; when it happened; of which send, sent when, of which
topic), `campaigns.csv`.
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


class MailingWorld(BaseModel):
    """Recipients of weekly mailings, what is planned for them, and their responses, as CSV files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["mailings"] = "mailings"
    size: int = Field(default=3_000, ge=100, le=500_000, description="how many recipients")
    weeks: int = Field(default=78, ge=12, le=104, description="weeks of mailings, from 2023-01-02")
    seed: int = Field(default=17, ge=0)


def simulate(world: MailingWorld, folder: Path, progress: Tell | None = None) -> None:
    """Write the CSV files into a folder, and the truth under `folder/truth/`.

    The same world gives the same bytes. `progress(what, share done)` is called as the weeks pass.
    `truth/world.json` is written last: without it the folder is not whole.
    """
    import numpy as np

    from toolkit.simulate import mailings_story, mailings_tables, mailings_truth

    with written(world, folder, progress) as (folder, truth, tell):
        tell("recipients", 0.0)
        people = mailings_story.draw(world.size, world.weeks, np.random.default_rng([world.seed, 0]))
        mailings_tables.write_recipients(people, folder)
        kept = []
        with mailings_tables.Export(folder, world.weeks) as export:
            for week in mailings_story.weeks_of(people, world.weeks + 1, world.seed):
                if week.number % 8 == 0:
                    tell(f"week {week.number}", 0.05 + 0.95 * week.number / world.weeks)
                export.add(week, people)
                kept.append(week)
        mailings_truth.save(kept, truth / "chances.parquet")


def ceiling(folder: Path, sunday: date, draws: int = 50, seed: int = 0) -> pd.DataFrame:
    """How likely each planned mailing is opened, clicked, acted upon; see `mailings_truth.ceiling`."""
    from toolkit.simulate import mailings_truth

    return mailings_truth.ceiling(folder, sunday, draws, seed)


def reached(chance: object, happened: object) -> dict[str, float]:
    """What a perfect reader reaches: ROC-AUC, precision and recall; see `mailings_truth.reached`."""
    from toolkit.simulate import mailings_truth

    return mailings_truth.reached(chance, happened)  # type: ignore[arg-type]


worlds.add(Component("mailings", MailingWorld, simulate))
