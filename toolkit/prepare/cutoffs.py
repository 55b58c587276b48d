"""When a cutoff is: from a list or a step, in the cohort's time zone, within what the tables cover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toolkit.config.measures import Cohort, Every
from toolkit.config.time import TICK, Span, last_moment, span, step, to_local, to_utc
from toolkit.data.rejects import REASON
from toolkit.data.tables import KNOWN, TIME, Loaded, Tables
from toolkit.errors import ConfigError, DataError
from toolkit.prepare.frame import as_clock, clock_types, need_table

Horizons = Mapping[str, tuple[Span, set[str]]]  # target → (horizon, tables that it is measured in)
MOST = 10_000  # cutoffs
FAR = datetime(9999, 1, 1)  # open ends such as 9999-12-31 lie too near the end of calendars to be moved


@dataclass(frozen=True)
class Moments:
    """Cutoffs as instants in UTC; none: tables without a clock."""

    cutoffs: tuple[datetime, ...]


def moments(cohort: Cohort, tables: Tables, horizons: Horizons) -> Moments:
    """The cohort's cutoffs, in order. Raises if a target's horizon is not covered by the tables that it reads."""
    for name, (_, used) in horizons.items():
        for table in sorted(used):
            if not need_table(tables, table, f"target.{name}").spec.clock:
                raise ConfigError(
                    f"target `{name}` looks at table `{table}`, which has no clock",
                    where=f"target.{name}",
                    why="a horizon needs to know when things happened",
                    fix=f"declare `clock` for table `{table}`",
                )
    if cohort.cutoffs is None:
        for name in horizons:
            raise ConfigError(
                f"target `{name}` has a horizon, but the cohort has no cutoffs that it could follow",
                where="cohort.cutoffs",
                fix="declare the cutoffs, for example `cutoffs: {every: 1 year}`",
            )
        return Moments(())
    clocked = [table for table in tables.loaded.values() if table.spec.clock]
    dated = [table for table in clocked if table.last]
    if not dated:
        if emptied := next((error for table in clocked if (error := _emptied(table))), None):
            raise emptied
        raise ConfigError(
            "the cohort has cutoffs, but no table has a clock",
            where="cohort.cutoffs",
            fix="declare a table's `clock`, or leave `cohort.cutoffs` empty (null)",
        )
    zone = cohort.timezone
    first = min(_utc(table.first, table, zone) for table in dated if table.first)
    ends = {name: _end(used, tables, zone) for name, (_, used) in horizons.items()}
    if isinstance(cohort.cutoffs, Every):
        if (seen := _observed(cohort.cutoffs, tables)) and (end := data_end(seen, zone)):
            by = _end_of_day(seen, end, zone)
            ends = {name: _end(used, tables, zone, by) for name, (_, used) in horizons.items()}
        cutoffs = _steps(cohort, cohort.cutoffs, tables, dated, horizons, ends)
    else:
        days = [parse_day(text, f"cohort.cutoffs.{index}", True) for index, text in enumerate(cohort.cutoffs)]
        cutoffs = sorted({cutoff_on(day, cohort) for day in days})
        if not cutoffs:
            raise ConfigError(
                "the cohort has an empty list of cutoffs",
                where="cohort.cutoffs",
                fix="write at least one day, for example [2024-01-01], or null for tables without a clock",
            )
    for cutoff in cutoffs:
        if cutoff + TICK < first:
            raise DataError(
                f"at the cutoff {day_of(cutoff, zone)} nothing was known yet: the first row is of {day_of(first, zone)}",
                where="cohort.cutoffs",
                fix="choose later cutoffs",
            )
    for name, (horizon, used) in horizons.items():
        _covered(name, horizon, [tables[table] for table in sorted(used)], cutoffs[-1], ends[name], zone)
    return Moments(tuple(cutoffs))


def parse_day(text: str, where: str, offset: bool = False) -> datetime:
    """A day, or a day and a time, as YAML writes it; `offset`: may it say its own offset from UTC?"""
    try:
        if text[10:11] not in ("", "T", " "):  # Python takes 2024-01-31+02:00 for two in the morning
            raise ValueError
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"`{text}` is not a day", where=where, fix="write it as 2024-01-31") from None
    if found.tzinfo and not offset:
        raise ConfigError(
            f"`{text}` has an offset; days here are in the cohort's `timezone`",
            where=where,
            fix="write it as 2024-01-31",
        )
    return found


def cutoff_on(day: datetime, cohort: Cohort) -> datetime:
    """The cutoff that a cohort has on a day (a wall-clock midnight): its beginning or its end, in naive UTC.

    A moment with a time of day, or with an offset of its own, is taken as it is.
    """
    if cohort.moment == "day_end" and not day.tzinfo and day.time() == datetime.min.time():
        day = last_moment(day)
    return to_utc(day, cohort.timezone)


def day_of(moment: datetime, zone: str) -> str:
    """An instant as the zone's calendar shows it, with the time unless a day begins or ends then."""
    local = to_local(moment, zone)
    whole = local.time() == datetime.min.time() or (local + TICK).time() == datetime.min.time()
    return f"{local:%Y-%m-%d}" if whole else f"{local:%Y-%m-%d %H:%M}"


def latest(cohort: Cohort, tables: Tables) -> datetime | None:
    """The newest cutoff that the tables allow, its horizon complete or not; None without cutoffs or dated rows.

    The last step of the cohort's rhythm up to the end of the table that cutoffs lie in (of all tables,
    if none is named); where cutoffs are listed, the end of the data itself.
    """
    dated = [table for table in tables.loaded.values() if table.spec.clock and table.last]
    if cohort.cutoffs is None or not dated:
        return None
    zone, every = cohort.timezone, cohort.cutoffs
    seen = _observed(every, tables) if isinstance(every, Every) else None
    end = max(end for table in ([seen] if seen else dated) if (end := data_end(table, zone)))
    if isinstance(every, Every):
        found = _walk(cohort, every, _start(every, dated, zone), end)
        return found[-1] if found else None
    if cohort.moment == "day_end":  # the end of the last day that is over
        local = to_local(end + TICK, zone)
        return to_utc(datetime(local.year, local.month, local.day) - TICK, zone)
    return end


def data_end(table: Loaded, zone: str, by: datetime | None = None) -> datetime | None:
    """The instant up to which a table is complete: as declared, otherwise its last row.

    Rows known before they happen say nothing about the time after the last one became known.
    by: rows after this moment are not looked at.
    """
    last = _utc(table.last, table, zone) if table.last else None
    if by and last and last > by:
        limit = pa.scalar(as_clock(by, clock_types(table)[1], zone), pa.timestamp("us"))
        times = pq.read_table(table.path, columns=[TIME])[TIME]
        before = pc.max(times.filter(pc.less_equal(times, limit))).as_py()
        last = _utc(before, table, zone) if before else None
    if last and table.spec.event_time:
        known = pc.max(pq.read_table(table.path, columns=[KNOWN])[KNOWN]).as_py()
        last = min(last, to_utc(min(known, FAR), zone) if clock_types(table)[0] == "date" else known)
    if table.spec.observed_until:
        declared = parse_day(table.spec.observed_until, f"dataset.tables.{table.name}.observed_until")
        end = to_utc(declared + timedelta(days=1), zone)  # the day itself is observed
        return max(end, last) if last else end
    return last


def _utc(moment: datetime, table: Loaded, zone: str) -> datetime:
    moment = min(moment, FAR)
    return to_utc(moment, zone) if clock_types(table)[1] == "date" else moment


def _end(used: set[str], tables: Tables, zone: str, by: datetime | None = None) -> datetime | None:
    """The end of the data that a target is measured in: the earliest of its tables' ends.

    A table that merely falls silent earlier says so with `observed_until`. by: rows after this moment prove
    nothing: a day that is planned, or mistyped, does not make a table complete until then.
    """
    ends = [data_end(tables[name], zone, by) for name in used if tables[name].spec.clock]
    return min((end for end in ends if end), default=None)


def _slack(horizon: Span) -> timedelta:
    """The last row of a complete table lies somewhat before its end: a day, or a twentieth of the horizon."""
    return timedelta(days=max(1.0, horizon.days / 20))


def _fits(horizon: Span, cutoff: datetime, end: datetime, zone: str) -> bool:
    return horizon.after(cutoff, zone) - _slack(horizon) <= end


def _covered(
    name: str, horizon: Span, used: Sequence[Loaded], cutoff: datetime, end: datetime | None, zone: str
) -> None:
    tables = ", ".join(f"`{table.name}`" for table in used)
    if end is None and (emptied := next((error for table in used if (error := _emptied(table))), None)):
        raise emptied
    if end is None or cutoff >= end:
        raise DataError(
            f"the cutoff {day_of(cutoff, zone)} lies beyond the data: {tables} ends on {day_of(end, zone)}"
            if end
            else f"{tables}, which target `{name}` is measured in, has no rows"
            + (" before the table that cutoffs lie in ends" if any(table.last for table in used) else ""),
            where="cohort.cutoffs",
            fix="choose an earlier cutoff" if end else "are the tables of the same time?",
        )
    if not _fits(horizon, cutoff, end, zone):
        raise DataError(
            f"target `{name}`: the horizon of {horizon} after {day_of(cutoff, zone)} ends on "
            f"{day_of(horizon.after(cutoff, zone), zone)}, but {tables} ends on {day_of(end, zone)}",
            where=f"target.{name}.horizon",
            why="what has not been observed yet would be counted as not happening",
            fix="choose an earlier cutoff or a shorter horizon; if the table is complete and merely silent, "
            "say so with `observed_until`",
        )


def _emptied(table: Loaded) -> DataError | None:
    """The error of a table that had rows, and kept none."""
    if not table.rows_read or table.rows_kept:
        return None
    reason = next(iter(table.reasons), "")
    column = next((name for name in table.columns if reason.startswith(f"`{name}` ")), None)
    example = ""
    if column and table.rejected:
        rejected = pq.read_table(table.rejected)
        cells = rejected.filter(pc.equal(rejected[REASON], reason))[column].drop_null()
        example = f", for example `{cells[0].as_py()[:40]}`" if len(cells) else ""
    dates = column and table.columns[column].type in ("date", "timestamp")
    return DataError(
        f"{table.reasons.get(reason, 0):,} of {table.rows_read:,} rows of `{table.origin}` were set aside: "
        f"{reason}{example}",
        where=f"dataset.tables.{table.name}" + (f".columns.{column}" if column else ""),
        why=f"so table `{table.name}` has no rows",
        fix="declare how its dates are written, for example `format: '%m/%d/%Y'`" if dates and example
        else "correct the file or the declaration",
    )  # fmt: skip


def _steps(
    cohort: Cohort,
    every: Every,
    tables: Tables,
    dated: Sequence[Loaded],
    horizons: Horizons,
    ends: Mapping[str, datetime | None],
) -> list[datetime]:
    """Calendar steps in the zone, from the first day with data before it to the last full horizon."""
    zone, seen = cohort.timezone, _observed(every, tables)
    start = _start(every, dated, zone)
    limits = [(horizon, end) for name, (horizon, _) in horizons.items() if (end := ends[name])]
    last = max(_utc(table.last, table, zone) for table in dated if table.last)
    until = min((end for _, end in limits), default=last)
    if every.end:
        until = cutoff_on(parse_day(every.end, "cohort.cutoffs.end"), cohort)
    found = _walk(cohort, every, start, until)
    if not every.end:
        found = [m for m in found if all(m < end and _fits(h, m, end, zone) for h, end in limits)]
    begin = None
    if seen or every.after:
        begin = min(_begin(table, zone) for table in ([seen] if seen else dated))
        begin = span(every.after).after(begin, zone) if every.after else begin
        stop = (data_end(seen, zone) if seen else None) or FAR
        found = [moment for moment in found if begin <= moment + TICK and moment <= stop]
    if len(found) > MOST:
        raise ConfigError(
            f"every {every.every} from {start:%Y-%m-%d} to {day_of(until, zone)} is more than {MOST:,} cutoffs",
            where="cohort.cutoffs",
            fix="a longer step, or `start` and `end`",
        )
    if not found:
        raise _nothing_fits(every, tables, horizons, ends, seen, begin, zone)
    return found


def _nothing_fits(
    every: Every,
    tables: Tables,
    horizons: Horizons,
    ends: Mapping[str, datetime | None],
    seen: Loaded | None,
    begin: datetime | None,
    zone: str,
) -> DataError:
    """No cutoff lies between the limits: which they are."""
    limits = []
    if begin:
        of = f"`{seen.name}`" if seen else "the tables"
        since = f"{every.after} after {of} begins" if every.after else f"when {of} begins"
        limits.append(f"the first may be on {day_of(begin, zone)}, {since}")
    for name, (horizon, used) in horizons.items():
        for table in sorted(used):
            if (end := ends[name]) is None:
                if emptied := _emptied(tables[table]):
                    return emptied
                limits.append(f"target `{name}` is measured in `{table}`, which has no rows that early")
            else:
                limits.append(
                    f"target `{name}` is measured in `{table}`, which ends on {day_of(end - TICK, zone)}: "
                    f"the last with {horizon} after it is about {day_of(end - timedelta(days=horizon.days), zone)[:10]}"
                )
    return DataError(
        f"no cutoff fits: every {every.every}",
        where="cohort.cutoffs",
        why="; ".join(limits) or None,
        fix="are the tables of the same time? more data, a shorter horizon, or a shorter step; a table that is "
        "complete and merely silent says so with `observed_until`",
    )


def _start(every: Every, dated: Sequence[Loaded], zone: str) -> datetime:
    """The wall-clock day that steps are counted from."""
    if every.start:
        return parse_day(every.start, "cohort.cutoffs.start")
    first = min(_utc(table.first, table, zone) for table in dated if table.first)
    return _first_start(to_local(first, zone), step(every.every).span.unit)


def _walk(cohort: Cohort, every: Every, start: datetime, until: datetime) -> list[datetime]:
    """The cutoffs on the steps' days that are no later than `until`, and no more of them than one too many."""
    stop = to_local(until, cohort.timezone)
    found = (cutoff_on(day, cohort) for day in islice(step(every.every).moments(start, stop), MOST + 1))
    return [moment for moment in found if moment <= until]


def _observed(every: Every, tables: Tables) -> Loaded | None:
    """The table that cutoffs lie in, if one is named."""
    if every.observed_in is None:
        return None
    table = need_table(tables, every.observed_in, "cohort.cutoffs.observed_in")
    if table.spec.clock and (emptied := _emptied(table)):
        raise emptied
    if not table.spec.clock or not table.last:
        raise ConfigError(
            f"table `{table.name}` has no dated rows that cutoffs could lie in",
            where="cohort.cutoffs.observed_in",
            fix="name a table with a `clock`",
        )
    return table


def _begin(table: Loaded, zone: str) -> datetime:
    """The moment from which on a table has rows: what its first row covers begins there."""
    assert table.first is not None
    first = table.first
    if table.covers:
        first = table.covers.before(first)
    elif clock_types(table)[1] == "date":
        first -= timedelta(days=1)
    return _utc(first, table, zone)


def _end_of_day(table: Loaded, end: datetime, zone: str) -> datetime:
    """The end of the day that a table ends on: what is dated on it is none too late."""
    instants = clock_types(table)[1] != "date" and not table.covers  # of which midnight begins a day
    return to_utc(_first_start(to_local(end + TICK if instants else end, zone), "day"), zone)


def _first_start(first: datetime, unit: str) -> datetime:
    """The first midnight after `first` at which a year, month or day begins."""
    day = datetime(first.year, first.month, first.day)
    if day < first:
        day += timedelta(days=1)
    if unit == "month" and day.day > 1:
        return datetime(day.year + day.month // 12, day.month % 12 + 1, 1)
    if unit == "year" and (day.month, day.day) != (1, 1):
        return datetime(day.year + 1, 1, 1)
    return day
