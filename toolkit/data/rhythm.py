"""The rhythm of a table's clock: daily or weekly stamps, a last period that is not yet over, and stray stamps far
behind all others.

Exports are often called daily and hold weekly totals, and end in the middle of a period. Both show in
the stamps alone; no label is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from sqlglot import exp

from toolkit.data import sql
from toolkit.data.engine import Engine

ROW = "@row"
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ONE_WEEKDAY = 0.99  # share of the rows: a few stray stamps do not make a table daily
NEARLY = 0.9  # from here on it is said
FEWEST = 4  # different days before a weekday can be a rhythm
BEFORE, ENOUGH = 8, 3  # same weekdays that the last day is compared with: at most, at least
TYPICAL_ROWS = 20  # rows of such a day below which chance decides how many there are
FAR_LESS = 0.75  # of what there was on the days before
STRAY, OF_MANY = 0.001, 200  # share of the rows that may be stray stamps; fewer rows tell nothing
FAR, FARTHER = 30, 4  # days without a row before they are; and times the longest such time before


@dataclass(frozen=True)
class Stamps:
    """weekday: 1 (Monday) to 7 if all rows fall on it, else None; most: the most frequent one; share: of the rows, on
    it; days: that fall on it."""

    weekday: int | None
    most: int
    share: float
    days: int

    def words(self, declared: str | None, covers: str | None) -> list[str]:
        """What to say of it, given what the declaration says that a stamp covers."""
        if self.weekday is None:
            if self.share < NEARLY or self.days < FEWEST or declared not in (None, "auto"):
                return []
            return [
                f"{self.share:.1%} of the stamps are a {WEEKDAYS[self.most - 1]} ({self.days:,} different days), others "
                "too: rows are taken as daily; if they are totals of a week, declare `covers: 7 days`"
            ]
        day = WEEKDAYS[self.weekday - 1]
        every = "every stamp is" if self.share == 1 else f"{self.share:.1%} of the stamps are"
        found = f"{every} a {day} ({self.days:,} different days)"
        if declared == "auto":
            return [
                f"{found}: rows are taken as totals of the {covers} from their stamp on, known when these are over"
            ]
        if declared:
            return [found]
        return [
            f"{found}: if rows are totals of the week that begins on it, they are known at its end only; "
            "then declare `covers: 7 days`"
        ]


def of(clock: str, view: str, engine: Engine) -> Stamps | None:
    """The rhythm of a clock in a table of typed rows; None without a stamp."""
    day = sql.call("isodow", sql.col(clock))
    found = engine.arrow(
        exp.select(
            sql.named(day, "weekday"),
            sql.named(exp.Count(this=exp.Star()), "rows"),
            sql.named(exp.Count(this=exp.Distinct(expressions=[_day(clock)])), "days"),
        )
        .from_(sql.table(view))
        .where(exp.not_(exp.Is(this=sql.col(clock), expression=exp.null())))
        .group_by(day.copy())
    ).to_pylist()
    if not found:
        return None
    most = max(found, key=lambda row: row["rows"])
    share = most["rows"] / sum(row["rows"] for row in found)
    weekly = share >= ONE_WEEKDAY and most["days"] >= FEWEST
    return Stamps(most["weekday"] if weekly else None, most["weekday"], share, most["days"])


@dataclass(frozen=True)
class IncompleteEnd:
    """The last day of a clock on which there is far less than there was. rows_*: on it, and usual on such a day."""

    clock: str
    day: date
    rows_found: int
    rows_usual: float
    share: float

    @property
    def reason(self) -> str:
        return f"of the last period ({self.day}), which is incomplete"

    def words(self, clock: str, dropped: bool) -> str:
        what = f"{self.rows_found:,} rows; usual are {self.rows_usual:,.0f}, with higher totals"
        end = (
            "its rows are set aside" if dropped
            else "if the period is not over, declare `incomplete_end: drop` and its rows are set aside"
        )  # fmt: skip
        return f"the last `{clock}`, {self.day}, holds {self.share:.0%} of what the same weekday held before ({what}): {end}"

    def rows(self, view: str, engine: Engine) -> list[int]:
        """The numbers of the rows on that day."""
        same = exp.EQ(this=_day(self.clock), expression=exp.cast(exp.Literal.string(str(self.day)), "DATE"))
        return engine.arrow(exp.select(sql.col(ROW)).from_(sql.table(view)).where(same))[ROW].to_pylist()


def incomplete_end(clock: str, numbers: list[str], view: str, engine: Engine) -> IncompleteEnd | None:
    """The last day of a clock if it has far fewer rows, or far lower totals, than the same weekday before it.

    numbers: columns that are added up; the median of their ratios counts, so that one column's chance does not.
    """
    last = engine.one(exp.select(exp.Max(this=_day(clock))).from_(sql.table(view)))[0]
    if last is None:
        return None
    since = last - timedelta(days=7 * BEFORE)
    sums = [
        sql.named(exp.Sum(this=exp.cast(sql.col(name), "DOUBLE")), str(n)) for n, name in enumerate(numbers)
    ]
    found = engine.arrow(
        exp.select(sql.named(_day(clock), "day"), sql.named(exp.Count(this=exp.Star()), "rows"), *sums)
        .from_(sql.table(view))
        .where(exp.GTE(this=_day(clock), expression=exp.cast(exp.Literal.string(str(since)), "DATE")))
        .group_by(_day(clock))
    ).to_pylist()
    by_day = {row.pop("day"): np.array(list(row.values()), float) for row in found}
    before = [
        by_day[day] for weeks in range(1, BEFORE + 1) if (day := last - timedelta(days=7 * weeks)) in by_day
    ]
    if len(before) < ENOUGH:
        return None
    usual = np.median(before, axis=0)
    if usual[0] < TYPICAL_ROWS:
        return None
    ratios = by_day[last][1:][usual[1:] > 0] / usual[1:][usual[1:] > 0]
    share = min(by_day[last][0] / usual[0], float(np.nanmedian(ratios)) if len(ratios) else np.inf)
    if share >= FAR_LESS:
        return None
    return IncompleteEnd(clock, last, int(by_day[last][0]), float(usual[0]), float(share))


def stray_end(clock: str, view: str, engine: Engine) -> str | None:
    """What to say of a few rows that lie far behind all others, as a mistyped year puts them; None if there are none.

    They move the end of what is observed: months in which nothing happens would pass for silence.
    """
    days = engine.arrow(
        exp.select(sql.named(_day(clock), "day"), sql.named(exp.Count(this=exp.Star()), "rows"))
        .from_(sql.table(view))
        .where(exp.not_(exp.Is(this=sql.col(clock), expression=exp.null())))
        .group_by(_day(clock))
        .order_by(_day(clock))
    )
    day, rows = days["day"].to_numpy(), days["rows"].to_numpy()
    if len(day) < FEWEST or rows.sum() < OF_MANY:
        return None
    gaps = np.diff(day).astype("timedelta64[D]").astype(int)
    longest = np.maximum.accumulate(gaps)[:-1]  # up to each gap but the first
    behind = rows[::-1].cumsum()[::-1][2:]  # rows after each of them
    far = (gaps[1:] >= FAR) & (gaps[1:] > FARTHER * longest) & (behind <= STRAY * rows.sum())
    if not far.any():
        return None
    at = int(np.flatnonzero(far)[0]) + 1  # the gap
    count = int(behind[at - 1])
    many = f"{count:,} rows of {rows.sum():,} lie" if count > 1 else f"a row of {rows.sum():,} lies"
    return (
        f"{many} far behind the others, which end on {day[at]}: `{clock}` up to {day[-1]}. The time between would count "
        f"as observed, and as silence: correct {'them' if count > 1 else 'it'}, or take {'them' if count > 1 else 'it'} out"
    )


def _day(clock: str) -> exp.Expression:
    return exp.cast(sql.col(clock), "DATE")
