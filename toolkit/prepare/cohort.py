"""The cohort: which (entity, cutoff) pairs are rows, and when a cutoff is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlglot import exp

from toolkit.config.measures import Cohort, Condition, Every
from toolkit.config.time import Span, step, to_utc
from toolkit.data import sql
from toolkit.data.engine import Engine
from toolkit.data.sql import col
from toolkit.data.tables import KNOWN, Loaded, Tables
from toolkit.errors import ConfigError, DataError
from toolkit.prepare.measure import CUTOFF, END, ENTITY, ROW, Frame, admit, condition, holds

COHORT = "@cohort"
FEATURES = Frame(COHORT)


@dataclass(frozen=True)
class Moments:
    """Cutoffs as instants in UTC, and how they were found."""

    cutoffs: tuple[datetime, ...]  # empty: tables without a clock
    note: str = ""


def data_end(table: Loaded, zone: str) -> datetime | None:
    """The instant up to which a table is complete: as declared, otherwise its last row."""
    declared = table.spec.observed_until
    if declared:
        end = to_utc(parse_day(declared, f"dataset.tables.{table.name}.observed_until"), zone)
        return max(end, table.last) if table.last else end
    return table.last


def parse_day(text: str, where: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"`{text}` is not a day", where=where, fix="write it as 2024-01-31") from None


def moments(cohort: Cohort, tables: Tables, horizons: dict[str, tuple[Span, set[str]]]) -> Moments:
    """The cohort's cutoffs. Raises if a target's horizon is not covered by the tables that it reads.

    horizons: target → (horizon, tables).
    """
    if cohort.cutoffs is None:
        return Moments(())
    dated = [t for t in tables.loaded.values() if t.spec.clock and t.last]
    if not dated:
        raise ConfigError(
            "the cohort has cutoffs, but no table has a clock",
            where="cohort.cutoffs",
            fix="declare a table's `clock`, or leave `cohort.cutoffs` empty (null)",
        )
    ends = {name: _end(used, tables, cohort) for name, (_, used) in horizons.items()}
    if isinstance(cohort.cutoffs, Every):
        cutoffs = _steps(cohort, cohort.cutoffs, dated, horizons, ends)
    else:
        if not cohort.cutoffs:
            raise ConfigError("the cohort has an empty list of cutoffs", where="cohort.cutoffs")
        cutoffs = sorted(
            {to_utc(parse_day(text, "cohort.cutoffs"), cohort.timezone) for text in cohort.cutoffs}
        )
    first = min(t.first for t in dated if t.first)
    for cutoff in cutoffs:
        if cutoff <= first:
            raise DataError(
                f"at the cutoff {cutoff:%Y-%m-%d} nothing was known yet: the first row is of {first:%Y-%m-%d}",
                where="cohort.cutoffs",
            )
    for name, (horizon, used) in horizons.items():
        _covered(name, horizon, used, cutoffs[-1], ends[name], cohort)
    return Moments(tuple(cutoffs))


def _end(used: set[str], tables: Tables, cohort: Cohort) -> datetime | None:
    """The end of the data that a target is measured in: the latest of its tables' ends."""
    ends = [data_end(tables[name], cohort.timezone) for name in used if tables[name].spec.clock]
    known = [end for end in ends if end]
    return max(known) if known else None


def _slack(horizon: Span) -> timedelta:
    """The last row of a complete table lies somewhat before its end: a day, or a twentieth of the horizon."""
    return timedelta(days=max(1.0, horizon.days / 20))


def _covered(
    name: str, horizon: Span, used: set[str], cutoff: datetime, end: datetime | None, cohort: Cohort
) -> None:
    tables = ", ".join(f"`{table}`" for table in sorted(used))
    if end is None or cutoff >= end:
        raise DataError(
            f"the cutoff {cutoff:%Y-%m-%d} lies beyond the data: {tables} ends on {end:%Y-%m-%d}"
            if end
            else f"the table {tables} that target `{name}` is measured in has no rows",
            where="cohort.cutoffs",
            fix="choose an earlier cutoff",
        )
    if horizon.after(cutoff) > end + _slack(horizon):
        raise DataError(
            f"target `{name}`: the horizon of {horizon} after {cutoff:%Y-%m-%d} ends on "
            f"{horizon.after(cutoff):%Y-%m-%d}, but {tables} ends on {end:%Y-%m-%d}",
            where=f"target.{name}.horizon",
            why="what has not been observed yet would be counted as not happening",
            fix="choose an earlier cutoff or a shorter horizon; if the table is complete and merely silent, "
            "say so with `observed_until`",
        )


def _steps(
    cohort: Cohort,
    every: Every,
    dated: list[Loaded],
    horizons: dict[str, tuple[Span, set[str]]],
    ends: dict[str, datetime | None],
) -> list[datetime]:
    """Calendar steps in the cohort's zone, from the first day with data before it to the last full horizon."""
    if every.start:
        start = parse_day(every.start, "cohort.cutoffs.start")
    else:
        first = min(t.first for t in dated if t.first)
        start = datetime(first.year, first.month, first.day) + timedelta(days=1)
        unit = step(every.every).span.unit
        if unit == "month":
            start = datetime(start.year + start.month // 12, start.month % 12 + 1, 1)
        elif unit == "year":
            start = datetime(start.year + 1, 1, 1)
    last = max(t.last for t in dated if t.last)
    limits = [ends[name] + _slack(horizon) for name, (horizon, _) in horizons.items() if ends[name]]  # type: ignore[operator]
    stop = parse_day(every.end, "cohort.cutoffs.end") if every.end else min(limits, default=last)
    found = [to_utc(moment, cohort.timezone) for moment in step(every.every).moments(start, stop)]
    if not every.end:
        longest = [(horizon, ends[name]) for name, (horizon, _) in horizons.items() if ends[name]]
        found = [m for m in found if all(h.after(m) <= end + _slack(h) for h, end in longest)]  # type: ignore[operator]
    if not found:
        raise DataError(
            f"no cutoff fits: every {every.every} from {start:%Y-%m-%d} to {stop:%Y-%m-%d}",
            where="cohort.cutoffs",
            fix="a shorter step or horizon, or an earlier start",
        )
    return found


def cohort_tables(cohort: Cohort, tables: Tables) -> set[str]:
    """Tables that decide who is in the cohort."""
    return {tables.dataset.entity, *(condition.table for condition in cohort.having)}


def keep(
    cohort: Cohort, cutoffs: Sequence[datetime], tables: Tables, engine: Engine, name: str = COHORT
) -> list[tuple[str, exp.Expression]]:
    """Make the frame of rows under `name`: `@row` 0 … n-1 in order of (cutoff, entity), `entity`, `cutoff`.

    Entities of a dated entity table are rows only once they were known. Returns the statements run.
    """
    entity = tables[tables.dataset.entity]
    key = entity.spec.keys[0]
    where = admit(cohort.where, entity, "cohort.where")
    moments_table = exp.Values(
        expressions=[exp.Tuple(expressions=[sql.moment(c)]) for c in cutoffs]
        or [exp.Tuple(expressions=[exp.cast(exp.null(), "TIMESTAMP")])],
        alias=exp.TableAlias(
            this=exp.to_identifier("c", quoted=True), columns=[exp.to_identifier(CUTOFF, quoted=True)]
        ),
    )
    candidates = exp.select(
        sql.named(col(key, entity.name), ENTITY), col(CUTOFF, "c"),
        sql.named(exp.Window(this=sql.call("row_number"), order=exp.Order(
            expressions=[exp.Ordered(this=col(CUTOFF, "c")), exp.Ordered(this=col(key, entity.name))])), ROW),
    ).from_(sql.table(entity.name)).join(moments_table, join_type="cross")  # fmt: skip
    conditions = [where.of(entity.name) if where else None]
    if entity.spec.clock and cutoffs:
        conditions.append(exp.LTE(this=col(KNOWN, entity.name), expression=col(CUTOFF, "c")))
    everyone = sql.both(*conditions)
    if everyone is not None:
        candidates = candidates.where(everyone)
    steps: list[tuple[str, exp.Expression]] = [("@candidates", candidates)]
    rows = exp.select(col(ENTITY, "f"), col(CUTOFF, "f")).from_(sql.table("@candidates", "f"))
    rows = filtered(rows, cohort.having, Frame("@candidates"), tables, "cohort.having")
    number = exp.Sub(
        this=exp.Window(this=sql.call("row_number"), order=exp.Order(
            expressions=[exp.Ordered(this=col(CUTOFF)), exp.Ordered(this=col(ENTITY))])),
        expression=sql.literal(1),
    )  # fmt: skip
    final = exp.select(sql.named(number, ROW), col(ENTITY), col(CUTOFF)).from_(exp.Subquery(this=rows, alias=exp.TableAlias(
        this=exp.to_identifier("r", quoted=True)))).order_by(col(ROW))  # fmt: skip
    steps.append((name, final))
    for step_name, tree in steps:
        engine.keep(step_name, tree)
    engine.drop("@candidates")
    return steps


def filtered(
    rows: exp.Select, having: Sequence[Condition], frame: Frame, tables: Tables, where: str
) -> exp.Select:
    """Rows of a frame (alias `f`) for which all conditions hold."""
    for index, node in enumerate(having):
        alias = f"h{index}"
        query = condition(node, frame, tables, f"{where}.{index}", "count")
        rows = rows.join(
            exp.Subquery(this=query.tree, alias=exp.TableAlias(this=exp.to_identifier(alias, quoted=True))),
            on=exp.EQ(this=col(ROW, alias), expression=col(ROW, "f")),
            join_type="left",
        )
        rows = rows.where(holds(node, exp.Coalesce(this=col("count", alias), expressions=[sql.literal(0)])))
    return rows


def target_frame(horizon: Span | None, at: str, engine: Engine) -> Frame:
    """The cohort with the end of a horizon; labels may look at everything up to then."""
    if horizon is None:
        return replace_past(FEATURES)
    name = f"{COHORT} +{horizon.short}"
    end = exp.Add(this=col(CUTOFF), expression=sql.interval(horizon))
    engine.keep(name, exp.select("*", sql.named(end, END)).from_(sql.table(COHORT)))
    return Frame(name, END if at == "horizon_end" else CUTOFF, past_only=False, horizon=horizon)


def replace_past(frame: Frame) -> Frame:
    return Frame(frame.name, frame.at, past_only=False)
