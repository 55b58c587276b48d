"""Users of a chat community: what they write and when, in which mood, who falls silent, who answers when addressed.

Its causes were written from what is plausible, before any model was fitted, and left alone since. What a model
reaches here says how near it comes to this world's ceiling, not how well it would do on a community's own export.

`chat_story` draws the users and holds the one weekly step, `chat_texts` words the messages, `chat_tables` writes
what is exported, `chat_truth` reads the truth.

**Traits**, drawn once: how much a user usually writes, the usual mood, how quick with replies, the daily rhythm (a
peak on the clock where the user lives, sharp or flat, and how much of it falls on weekends). Two thirds of the
users are older than the export's first week, the others join while it runs.

**Hidden state**, moving weekly. *Mood*: AR(1) with a memory of 0.85 around the user's own level; now and then a bad
experience takes it down at once. *Drive*: the logarithm of messages a week, AR(1) with a memory of 0.92, lifted
and lowered by mood. *Fading*: more often in a bad mood, interest wanes for five weeks. *Leaving*: at the beginning
of each week, with a chance whose logit falls with mood and drive and is higher in a newcomer's first weeks; who
has left writes and answers no more. Nobody tells the export of it.

**Messages**: a Poisson number a week, at hours and on weekdays by the user's rhythm, somewhat under half of them
replies. A little over half carry a tone, positive the more often the better the mood. Words say the tone; one in
eight of them by a negated word of the other side, one in five with an emoji, one in twenty-five in sarcasm, which
says the other side's words. Some words are in no lexicon. Replies come sooner from the driven and the
well-tempered. Some messages have no text (a picture).

**Outreach** is planned each Sunday at 18:00 for the week that follows: three in ten of the users who have written in
the last six weeks, at an hour from 6 to 22 (UTC) on any weekday, drawn without regard to the user. The logit
of an answer within a day is linear in how near the hour is to the user's peak, in the weekday, in mood, in drive and in
how many contacts the four weeks before had.

**Exported** on the Monday after the last week, at nine, with what is planned for the week that has begun: `users.csv` (user_id, joined_at, region), `messages.csv` (message_id, user_id,
sent_at, channel, reply_to, reply_seconds, text), `contacts.csv` (contact_id, user_id, planned_at, send_at, topic),
`answers.csv` (contact_id, user_id, answered_at). Stamps are UTC.
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


class ChatWorld(BaseModel):
    """Users of a chat community, their messages, and outreach to them, as four CSV files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["chat"] = "chat"
    size: int = Field(default=4_000, ge=100, le=500_000, description="how many users")
    weeks: int = Field(default=52, ge=12, le=260, description="weeks of messages, from 2023-01-02")
    seed: int = Field(default=13, ge=0)


def simulate(world: ChatWorld, folder: Path, progress: Tell | None = None) -> None:
    """Write the four CSV files into a folder, and the truth under `folder/truth/`.

    The same world gives the same bytes. `progress(what, share done)` is called as the weeks pass.
    `truth/world.json` is written last: without it the folder is not whole.
    """
    import numpy as np

    from toolkit.simulate import chat_story, chat_tables, chat_truth

    with written(world, folder, progress) as (folder, truth, tell):
        tell("users", 0.0)
        users = chat_story.draw(world.size, world.weeks, np.random.default_rng([world.seed, 0]))
        left = chat_truth.left_weeks(users, world.weeks + 1, world.seed)
        chat_tables.write_users(users, folder, np.random.default_rng([world.seed, 2]))
        chances = []
        rng = np.random.default_rng([world.seed, 3])
        with chat_tables.Export(folder, users, world.weeks, rng) as export:
            for week, state in chat_story.weeks_of(users, world.weeks + 1, world.seed):
                if week % 8 == 0:
                    tell(f"week {week}", 0.05 + 0.95 * week / world.weeks)
                here = (users.arrival <= week) & (week < left)
                chances.append(export.outreach(week, state, here))
                export.messages(week, state, here)
        chat_truth.save(users, left, chances, truth)


def silence(folder: Path, sunday: date, draws: int = 50, seed: int = 0) -> pd.DataFrame:
    """How likely each active user is to write nothing for 30 days; see `chat_truth.silence`."""
    from toolkit.simulate import chat_truth

    return chat_truth.silence(folder, sunday, draws, seed)


def tone(folder: Path, sunday: date) -> pd.DataFrame:
    """The tone to expect of each user's messages in the week after; see `chat_truth.tone`."""
    from toolkit.simulate import chat_truth

    return chat_truth.tone(folder, sunday)


def answers(folder: Path) -> pd.DataFrame:
    """How likely each contact was to be answered; see `chat_truth.answers`."""
    from toolkit.simulate import chat_truth

    return chat_truth.answers(folder)


worlds.add(Component("chat", ChatWorld, simulate))
