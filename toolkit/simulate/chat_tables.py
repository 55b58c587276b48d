"""The four files of the chat world as they are exported."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from toolkit.simulate import chat_story as story
from toolkit.simulate import chat_texts as texts
from toolkit.simulate.chat_story import Array, State, Users

FIRST_DAY = date(2023, 1, 2)  # a Monday
WEEK, DAY, HOUR = 7 * 86_400, 86_400, 3_600  # seconds
CHANNELS = ("general", "help", "random", "showcase", "feedback")
TOPICS = ("survey", "feature news", "event invitation", "feedback request")
CONTACTED, LATELY = 0.3, 6  # share of those who have written in so many weeks
EXPORTED = 9 * HOUR  # after the last week
EARLIEST, LATEST = 6, 22  # hours (UTC) at which outreach is sent
PLANNED = 6 * HOUR  # before the week begins
REPLY, REPLY_SECONDS = 0.45, np.log(1_500)
ANSWER_WITHIN = 24 * HOUR


def user_ids(size: int) -> pa.Array:
    return pa.array([f"u{number:06d}" for number in range(1, size + 1)])


def stamps(seconds: Array) -> pa.Array:
    """Seconds since the first Monday as texts, UTC."""
    moments = np.datetime64(FIRST_DAY).astype("datetime64[s]") + np.asarray(seconds, np.int64)
    return pc.strftime(pa.array(moments), format="%Y-%m-%d %H:%M:%S")


def write_users(users: Users, folder: Path, rng: np.random.Generator) -> None:
    """`users.csv`: a row per user."""
    size = len(users.mood)
    joined = WEEK * users.arrival.astype(np.int64) + rng.integers(0, HOUR, size)  # early in the week
    region = pa.array([name for name, *_ in story.REGIONS]).take(pa.array(users.region))
    region = pc.if_else(pa.array(rng.random(size) < 0.05), pa.scalar(None, pa.string()), region)
    table = pa.table({"user_id": user_ids(size), "joined_at": stamps(joined), "region": region})
    pyarrow.csv.write_csv(table, folder / "users.csv")


class Export:
    """`messages.csv`, `contacts.csv` and `answers.csv`, week by week."""

    def __init__(self, folder: Path, users: Users, weeks: int, rng: np.random.Generator) -> None:
        self.end = WEEK * weeks + EXPORTED
        self.users, self.rng = users, rng
        self.ids = user_ids(len(users.mood))
        self.hours, self.weekdays = story.hours(users).cumsum(axis=1), story.weekdays(users).cumsum(axis=1)
        self.written = np.full(len(self.ids), -(10**6))  # the week of the last message
        self.contacted = np.zeros((4, len(self.ids)), np.int8)  # of the last four weeks, by turns
        self.sent = self.asked = 0
        self.files = {name: folder / f"{name}.csv" for name in ("messages", "contacts", "answers")}
        self.writers: dict[str, pyarrow.csv.CSVWriter] = {}

    def __enter__(self) -> Export:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self.writers.values():
            writer.close()

    def messages(self, week: int, state: State, here: Array) -> None:
        """A week's messages of those who are there."""
        rng, users = self.rng, self.users
        number = np.where(here, rng.poisson(story.rate(state)), 0)
        who = np.repeat(np.arange(len(number)), number)
        day = _drawn(self.weekdays[who], rng)
        second = DAY * day + HOUR * _drawn(self.hours[who], rng) + rng.integers(0, HOUR, len(who))
        order = np.argsort(second, kind="stable")
        order = order[WEEK * week + second[order] < self.end]
        who, second = who[order], second[order]
        opinion = rng.random(len(who)) < story.OPINION
        positive = rng.random(len(who)) < story.positive(state.mood[who], rng.standard_normal(len(who)))
        tone = np.where(opinion, np.where(positive, 1, -1), 0)
        ids = pa.array([f"m{n:08d}" for n in range(self.sent + 1, self.sent + len(who) + 1)], pa.string())
        seconds = REPLY_SECONDS + users.quick[who] - 0.35 * (state.drive[who] - story.USUAL_DRIVE)
        seconds = seconds - 0.25 * (state.mood[who] - story.USUAL_MOOD) + 0.9 * rng.standard_normal(len(who))
        wait = np.clip(np.exp(seconds), 5, 5 * DAY).astype(np.int64)
        to = np.searchsorted(second, second - wait, side="right") - 1  # the newest message that old
        reply = (rng.random(len(who)) < REPLY) & (to >= 0)
        self._add("messages", {
            "message_id": ids, "user_id": self.ids.take(pa.array(who)), "sent_at": stamps(WEEK * week + second),
            "channel": _names(CHANNELS, len(who), rng), "reply_to": ids.take(pa.array(to, mask=~reply)),
            "reply_seconds": pa.array(second - second[to], mask=~reply), "text": texts.write(tone, rng),
        })  # fmt: skip
        self.sent += len(who)
        self.written[who] = week

    def outreach(self, week: int, state: State, here: Array) -> dict[str, Array | pa.Array]:
        """A week's contacts, planned on the Sunday before it, and their answers; the truth about them."""
        rng, users = self.rng, self.users
        known = (self.written >= week - LATELY) & (week > 0)
        who = np.flatnonzero(known & (rng.random(len(known)) < CONTACTED))
        hour, weekday = rng.integers(EARLIEST, LATEST + 1, len(who)), rng.integers(0, 7, len(who))
        lately = self.contacted.sum(axis=0)[who]
        self.contacted[week % 4] = 0
        self.contacted[week % 4, who] = 1
        chance = story.answer(state, users, who, hour, weekday, lately) * here[who]
        answered = rng.random(len(who)) < chance
        send = WEEK * week + DAY * weekday + HOUR * hour + 60 * rng.integers(0, 60, len(who))
        delay = np.minimum(rng.exponential(3 * HOUR, len(who)) + 30, ANSWER_WITHIN - 1).astype(np.int64)
        ids = pa.array([f"c{n:07d}" for n in range(self.asked + 1, self.asked + len(who) + 1)], pa.string())
        self.asked += len(who)
        user = self.ids.take(pa.array(who))
        planned = stamps(np.full(len(who), WEEK * week - PLANNED))
        self._add("contacts", {
            "contact_id": ids, "user_id": user, "planned_at": planned, "send_at": stamps(send),
            "topic": _names(TOPICS, len(who), rng),
        })  # fmt: skip
        yes = np.flatnonzero(answered & (send + delay < self.end))
        yes = yes[np.argsort((send + delay)[yes], kind="stable")]
        self._add("answers", {
            "contact_id": ids.take(pa.array(yes)), "user_id": user.take(pa.array(yes)),
            "answered_at": stamps((send + delay)[yes]),
        })  # fmt: skip
        return {"contact_id": ids, "chance": chance, "answered": answered.astype(np.int8)}

    def _add(self, name: str, columns: dict[str, pa.Array]) -> None:
        table = pa.table(columns)
        if name not in self.writers:
            self.writers[name] = pyarrow.csv.CSVWriter(self.files[name], table.schema)
        self.writers[name].write_table(table)


def _drawn(cumulated: Array, rng: np.random.Generator) -> Array:
    """One place for each row of cumulated shares [rows, places]."""
    lot = rng.random(len(cumulated))[:, None]
    return np.minimum((lot > cumulated).sum(axis=1), cumulated.shape[1] - 1)


def _names(names: tuple[str, ...], size: int, rng: np.random.Generator) -> pa.Array:
    return pa.array(names).take(pa.array(rng.integers(0, len(names), size)))
