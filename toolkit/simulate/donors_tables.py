"""The six tables of the donor world as an institution would export them, in Parquet."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.simulate.donors_people import (
    CATEGORIES,
    CATEGORY_OF,
    END,
    FIRST_YEAR,
    MONTH_START,
    REGIONS,
    RELATIONS,
    TYPES,
    Array,
    People,
    Ties,
)
from toolkit.simulate.donors_story import LAPSING, Happenings

RATINGS = ("A", "B", "C", "D", "E")  # A gives most
STAGES = ("Identification", "Qualification", "Cultivation", "Solicitation", "Stewardship")
DESIGNATIONS = (
    "Unrestricted",
    "Scholarships",
    "Athletics",
    "Library",
    "Medical Research",
    "Arts",
    "Engineering",
    "Student Life",
)
GIFT_TYPES = ("Credit Card", "Check", "Cash", "Donor-Advised Fund", "Stock", "Pledge Payment")
GIFT_TYPE_SHARE = (0.46, 0.30, 0.08, 0.05, 0.03, 0.08)
EVENT_TYPES = ("Reunion", "Gala", "Lecture", "Athletics", "Volunteer Day", "Webinar")
EVENT_SHARE = np.array([0.22, 0.10, 0.20, 0.18, 0.12, 0.18])
CONTACT_TYPES = ("Visit", "Phone Call", "Email", "Meeting")

TALK = (  # from cool to warm
    (
        "Polite but brief; asked to be contacted less often.",
        "Has other priorities this year and would not discuss support.",
        "Seemed distant and unhappy with recent changes.",
        "Did not commit to another conversation.",
    ),
    (
        "Catch-up conversation about family and work.",
        "Happy to hear the news and made no promises.",
        "Asked general questions and will think about it.",
        "Pleasant exchange without a decision.",
    ),
    (
        "Very enthusiastic and asked how to do more.",
        "Spoke warmly of recent involvement and wants to stay close.",
        "Is considering a larger commitment soon.",
        "Offered to introduce friends to the cause.",
    ),
)
OPENINGS = ("Met in person.", "Spoke by phone.", "Exchanged emails.", "Met with the dean present.")
ENDINGS = (
    "Will follow up next quarter.",
    "Send the annual report.",
    "No further action.",
    "Thank-you note sent.",
)


def text_ids(prefix: str, numbers: Array, width: int) -> pa.Array:
    """Keys such as `D0000017`: a prefix and a zero-padded number. [rows], text."""
    size = len(prefix) + width
    letters = np.empty((len(numbers), size), np.uint8)
    letters[:, : len(prefix)] = np.frombuffer(prefix.encode("ascii"), np.uint8)
    for place in range(width):
        letters[:, size - 1 - place] = 48 + numbers // 10**place % 10
    offsets = np.arange(0, (len(numbers) + 1) * size, size, dtype=np.int32)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(letters.reshape(-1)))


def donor_ids(people: People, who: Array | slice = slice(None)) -> pa.Array:
    """IDs of donors by their position in `people`."""
    return text_ids("D", people.number[who], 7)


def _words(codes: Array, words: tuple[str, ...], missing: Array | None = None) -> pa.Array:
    """Codes as text; null where `missing`."""
    indices = pa.array(np.asarray(codes, np.int32), mask=missing)
    return pa.DictionaryArray.from_arrays(indices, pa.array(words)).cast(pa.string())


def _dates(days: Array) -> pa.Array:
    return pa.array(np.asarray(days, np.int32)).cast(pa.date32())


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd")


def write_donors(people: People, folder: Path, rng: np.random.Generator) -> None:
    """Profiles as of `Added_On`: what was assessed at intake, with error and gaps."""
    n = len(people.number)
    wealth = people.capacity + 0.8 * rng.standard_normal(n)
    rating = len(RATINGS) - 1 - np.digitize(wealth, (-0.8, 0.4, 1.4, 2.4))
    stage = np.digitize(0.6 * people.affinity + 0.5 * wealth + rng.standard_normal(n), (0.3, 1.0, 1.7, 2.4))
    added_year = people.added.astype("datetime64[D]").astype("datetime64[Y]").astype(int) + 1970
    class_year = np.minimum(added_year - people.age + 22, added_year).astype(np.int32)
    no_class = (people.type != TYPES.index("Alum")) | (rng.random(n) < 0.03)
    table = pa.table(
        {
            "ID": donor_ids(people),
            "Primary_Constituent_Type": _words(people.type, TYPES),
            "Class_Year": pa.array(class_year, mask=no_class),
            "Rating": _words(rating, RATINGS, rng.random(n) < 0.4),
            "Prospect_Stage": _words(stage, STAGES, rng.random(n) < 0.5),
            "Geographic_Region": _words(people.region, REGIONS),
            "Estimated_Age": pa.array(
                np.clip(people.age + np.round(3 * rng.standard_normal(n)), 18, 99).astype(np.int32),
                mask=rng.random(n) < 0.3,
            ),
            "Added_On": _dates(people.added),
        }
    )
    _write(table.take(np.argsort(people.number)), folder / "donors.parquet")


def write_relationships(people: People, ties: Ties, folder: Path) -> None:
    """Ties the institution learns of before the ledger ends; the lower ID first, each pair once."""
    known = np.flatnonzero(ties.since < END)
    a, b = ties.a[known], ties.b[known]
    swap = people.number[a] > people.number[b]
    a, b = np.where(swap, b, a), np.where(swap, a, b)
    order = np.lexsort((people.number[b], people.number[a]))
    a, b, known = a[order], b[order], known[order]
    relation = ties.relation[known]
    table = pa.table(
        {
            "Donor_ID_1": donor_ids(people, a),
            "Donor_ID_2": donor_ids(people, b),
            "Relationship_Type": _words(relation, tuple(name for name, _ in RELATIONS)),
            "Relationship_Category": _words(CATEGORY_OF[relation], CATEGORIES),
            "Relationship_Strength": np.round(ties.strength[known].astype(np.float64), 3),
            "Since": _dates(ties.since[known]),
        }
    )
    _write(table, folder / "relationships.parquet")


class Ledger:
    """Writes the event tables as months pass, a row group per year, in order of date and then of ID."""

    def __init__(self, folder: Path, people: People, rng: np.random.Generator) -> None:
        n = len(people.number)
        self.folder, self.people, self.rng = folder, people, rng
        self.habit = rng.choice(len(GIFT_TYPES), n, p=GIFT_TYPE_SHARE).astype(np.int8)
        self.cause = rng.integers(0, len(DESIGNATIONS), n).astype(np.int8)
        self.pending: dict[str, list[pa.Table]] = {}
        self.writers: dict[str, pq.ParquetWriter] = {}
        self.rows: dict[str, int] = {}

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        for writer in self.writers.values():
            writer.close()

    def add(self, month: Happenings) -> None:
        """Describe a month and keep it for the next row group."""
        self._gifts(month)
        self._events(month)
        self._visits(month)
        if month.month % 6 == 5:
            self._scores(month)
        if month.month % 12 == 11:
            self._flush()

    def _gifts(self, month: Happenings) -> None:
        order = np.lexsort((self.people.number[month.givers], month.gift_day))
        who, day, amount = month.givers[order], month.gift_day[order], month.gift_amount[order]
        n = len(who)
        unusual = self.rng.random(n) < np.where(month.gift_mood[order] == LAPSING, 0.5, 0.15)
        other = self.rng.choice(len(GIFT_TYPES), n, p=GIFT_TYPE_SHARE)
        kind = np.where(unusual, other, self.habit[who])
        kind = np.where((amount >= 10_000) & (kind <= 2), self.rng.integers(3, 6, n), kind)
        to = np.where(self.rng.random(n) < 0.6, self.cause[who], 0)
        year, calendar = FIRST_YEAR + month.month // 12, month.month % 12
        campaign = (
            "Year-End" if calendar >= 10 else "Giving Day" if calendar == 3 else "Annual Fund",
            str(year),
        )
        capital = self.rng.random(n) < np.where(amount >= 1000, 0.3, 0.03)
        columns = {
            "Gift_Date": _dates(day),
            "Gift_Amount": amount.astype(np.float64),
            "Designation": _words(to, DESIGNATIONS),
            "Gift_Type": _words(kind, GIFT_TYPES),
            "Campaign": _words(capital, (" ".join(campaign), "Capital Campaign")),
        }
        self._keep("giving_history", ("Gift_ID", "G"), who, columns)

    def _events(self, month: Happenings) -> None:
        guests = month.guests
        # An alumni reunion is for alumni; the others choose among the rest.
        share = np.where(np.arange(len(EVENT_TYPES)) == 0, 0, EVENT_SHARE)
        alum = self.people.type[guests] == TYPES.index("Alum")
        luck = self.rng.random(len(guests))
        kind = np.where(
            alum,
            np.searchsorted(np.cumsum(EVENT_SHARE), luck, side="right"),
            np.searchsorted(np.cumsum(share) / share.sum(), luck, side="right"),
        ).clip(0, len(EVENT_TYPES) - 1)
        day = MONTH_START[month.month] + 7 + 3 * kind
        order = np.lexsort((self.people.number[guests], day))
        kind, companions = kind[order], self.rng.binomial(3, 0.2, len(guests))
        online = kind == EVENT_TYPES.index("Webinar")
        columns = {
            "Event_Date": _dates(day[order]),
            "Event_Type": _words(kind, EVENT_TYPES),
            "Event_Format": _words(online, ("In Person", "Online")),
            "Guests": pa.array(np.where(online, 0, companions).astype(np.int32)),
        }
        self._keep("event_attendance", ("Attendance_ID", "A"), guests[order], columns)

    def _visits(self, month: Happenings) -> None:
        order = np.lexsort((self.people.number[month.visited], month.visit_day))
        who, n = month.visited[order], len(month.visited)
        tone = np.digitize(month.visit_warmth[order], (-0.4, 0.6))
        kind, line, ending = (self.rng.integers(0, 4, n) for _ in range(3))
        topic = np.where(
            self.rng.random(n) < 0.8, self.cause[who], self.rng.integers(0, len(DESIGNATIONS), n)
        )
        parts = zip(kind, tone, line, topic, ending, strict=True)
        text = [
            f"{OPENINGS[k]} {TALK[t][i]} Talked about {DESIGNATIONS[c].lower()}. {ENDINGS[e]}"
            for k, t, i, c, e in parts
        ]
        columns = {
            "Contact_Date": _dates(month.visit_day[order]),
            "Contact_Type": _words(kind, CONTACT_TYPES),
            "Report_Text": pa.array(text, pa.string()),
        }
        self._keep("contact_reports", ("Report_ID", "R"), who, columns)

    def _scores(self, month: Happenings) -> None:
        order = np.argsort(self.people.number[month.scored])
        columns = {
            "Scored_On": _dates(np.full(len(order), MONTH_START[month.month + 1] - 1)),
            "Engagement_Score": pa.array(np.round(month.score[order].astype(np.float64), 1)),
        }
        self._keep("engagement_history", None, month.scored[order], columns)

    def _keep(self, name: str, key: tuple[str, str] | None, who: Array, columns: dict[str, pa.Array]) -> None:
        """Number the rows onwards from the last month and hold them until the year is flushed."""
        begin = self.rows.get(name, 0)
        self.rows[name] = begin + len(who)
        keys = {}
        if key:
            keys[key[0]] = text_ids(key[1], np.arange(begin + 1, begin + len(who) + 1), 8)
        table = pa.table({**keys, "Donor_ID": donor_ids(self.people, who), **columns})
        self.pending.setdefault(name, []).append(table)

    def _flush(self) -> None:
        for name, tables in self.pending.items():
            if not tables:
                continue
            whole = pa.concat_tables(tables).combine_chunks()
            if name not in self.writers:
                path = self.folder / f"{name}.parquet"
                self.writers[name] = pq.ParquetWriter(path, whole.schema, compression="zstd")
            self.writers[name].write_table(whole, row_group_size=max(len(whole), 1))
        self.pending = {name: [] for name in self.pending}
