"""The files of the mailing world as they are exported."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from toolkit.simulate.mailings_story import (
    CAMPAIGNS,
    FIRST_DAY,
    REGIONS,
    SEGMENTS,
    STEPS,
    TIERS,
    TOPICS,
    TYPES,
    Array,
    People,
    Week,
)

BEGIN = np.datetime64(datetime.combine(FIRST_DAY, time()), "s")
PLANNED = timedelta(days=-3, hours=12)  # from a week's beginning: on Friday at noon
EXPORTED = timedelta(hours=9)  # after the last week
CONTENT = ("type", "topic", "subject_length", "personalised", "discount", "images")


def key(who: Array) -> list[str]:
    """Keys of recipients, which tell nothing of them."""
    return [f"R{number:06d}" for number in np.asarray(who) + 1]


def send_key(week: int, who: Array) -> list[str]:
    """Keys of sends."""
    return [f"S{week:03d}-{number:06d}" for number in np.asarray(who) + 1]


def write_recipients(people: People, folder: Path) -> None:
    """`recipients.csv`."""
    size = len(people.habit)
    asked = np.array([*TOPICS, ""], object)[people.asked]
    joined = BEGIN.astype("datetime64[D]") + people.arrival
    table = {
        "recipient_id": key(np.arange(size)),
        "segment": np.array(SEGMENTS, object)[people.segment],
        "region": np.array(REGIONS, object)[people.region],
        "tier": np.array(TIERS, object)[people.tier],
        "joined_at": np.datetime_as_string(joined),
        "asked_for": asked,
    }
    pc.write_csv(pa.table(table), folder / "recipients.csv", _options())


class Export:
    """`sends.csv`, `responses.csv` and `campaigns.csv`, written week by week; weeks: those that are over."""

    def __init__(self, folder: Path, weeks: int) -> None:
        self.folder, self.weeks = folder, weeks
        self.writers: dict[str, pc.CSVWriter] = {}
        self.until = BEGIN + np.timedelta64(7 * weeks, "D") + np.timedelta64(EXPORTED)
        self.late: list[dict[str, Array]] = []

    def __enter__(self) -> Export:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self.writers.values():
            writer.close()

    def add(self, week: Week, people: People) -> None:
        """One week; the one after the last is planned, and begun at most."""
        begin = BEGIN + np.timedelta64(7 * week.number, "D")
        one = week.campaigns
        campaign = np.array([f"C{week.number:03d}{letter}" for letter in "ABCD"[:CAMPAIGNS]], object)
        content: dict[str, Any] = {
            "type": np.array(TYPES, object)[one.type],
            "topic": np.array(TOPICS, object)[one.topic],
            "subject_length": one.subject_length,
            "personalised": np.where(one.personalised, "yes", "no").astype(object),
            "discount": one.discount,
            "images": one.images,
        }
        planned = np.full(len(week.who), begin + np.timedelta64(PLANNED)).astype("datetime64[s]")
        send_at = begin + (24 * one.day + one.hour).astype("timedelta64[h]")
        self._write("campaigns", {"campaign_id": campaign, "send_at": send_at, **content})
        sent = send_at[week.campaign]
        self._write("sends", {
            "send_id": send_key(week.number, week.who), "recipient_id": key(week.who),
            "campaign_id": campaign[week.campaign], "planned_at": planned, "send_at": sent,
            **{name: values[week.campaign] for name, values in content.items()},
        })  # fmt: skip
        at = sent[:, None] + np.nan_to_num(3_600 * week.after).astype("timedelta64[s]")
        rows, step = np.nonzero(~np.isnan(week.after) & (at <= self.until))
        order = np.argsort(at[rows, step], kind="stable")
        rows, step = rows[order], step[order]
        self._write("responses", {
            "send_id": np.array(send_key(week.number, week.who), object)[rows],
            "recipient_id": np.array(key(week.who), object)[rows],
            "event": np.array(STEPS, object)[step], "occurred_at": at[rows, step],
            "sent_at": sent[rows], "topic": content["topic"][week.campaign[rows]],
        })  # fmt: skip

    def _write(self, name: str, columns: dict[str, Any]) -> None:
        table = pa.table(columns)
        if name not in self.writers:
            self.writers[name] = pc.CSVWriter(
                self.folder / f"{name}.csv", table.schema, write_options=_options()
            )
        self.writers[name].write_table(table)


def _options() -> pc.WriteOptions:
    return pc.WriteOptions(quoting_style="none")
