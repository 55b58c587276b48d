"""The cohort: which (entity, cutoff) pairs are rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlglot import exp

from toolkit.config.measures import Cohort
from toolkit.config.tables import Dataset
from toolkit.config.time import Span
from toolkit.data import sql
from toolkit.data.engine import Engine
from toolkit.data.sql import col
from toolkit.data.tables import KNOWN, Tables
from toolkit.prepare.condition import filtered, read_by
from toolkit.prepare.cutoffs import Moments, data_end, moments, parse_day
from toolkit.prepare.frame import (
    CUTOFF,
    END,
    ENTITY,
    OWNER,
    ROW,
    Frame,
    Source,
    admit,
    clock_types,
    horizon_end,
    instant,
    sub,
)

__all__ = [
    "COHORT",
    "NODES",
    "Moments",
    "data_end",
    "everybody",
    "filtered",
    "looking_back",
    "moments",
    "parse_day",
    "statements",
]
COHORT, CANDIDATES, NODES = "@cohort", "@candidates", "@nodes"


def looking_back(cohort: Cohort, name: str = COHORT) -> Frame:
    """The cohort's rows, or other moments, as features see them."""
    return Frame(
        name,
        zone=cohort.timezone,
        dated=cohort.cutoffs is not None,
        day_end=cohort.moment == "day_end",
    )


def everybody(cohort: Cohort) -> Cohort | None:
    """The cohort of all entities known at each cutoff; None if that is what it is already."""
    return cohort.model_copy(update={"where": None, "having": []}) if cohort.where or cohort.having else None


def tables_of_cohort(cohort: Cohort, dataset: Dataset) -> set[str]:
    """Tables that decide who is in the cohort."""
    out = (name for name, table in dataset.tables.items() if table.on_bad_row == "leave_out")
    return {dataset.entity, *out, *(condition.table for condition in cohort.having)}


def chosen_by(cohort: Cohort, tables: Tables) -> frozenset[Source]:
    """The columns that decide who is in the cohort."""
    entity = tables[tables.dataset.entity]
    where = admit(cohort.where, entity, "cohort.where")
    read = read_by(cohort.having, looking_back(cohort), tables, "cohort.having")
    return read | frozenset(entity.sources(where.columns if where else frozenset()))


def statements(
    cohort: Cohort, cutoffs: Sequence[datetime], tables: Tables, name: str = COHORT
) -> list[tuple[str, exp.Expression]]:
    """The frame of rows, as tables to keep in turn: the last is called `name`.

    It has `@row` 0 … n-1 in order of (cutoff, entity), `entity` and `cutoff`. Entities of a dated entity
    table are rows only once they were known.
    """
    entity = tables[tables.dataset.entity]
    where = admit(cohort.where, entity, "cohort.where")
    moments_table = exp.Values(
        expressions=[exp.Tuple(expressions=[sql.moment(c)]) for c in cutoffs]
        or [exp.Tuple(expressions=[exp.cast(exp.null(), "TIMESTAMP")])],
        alias=exp.TableAlias(
            this=exp.to_identifier("f", quoted=True), columns=[exp.to_identifier(CUTOFF, quoted=True)]
        ),
    )
    looks = exp.select(col(CUTOFF))
    if entity.spec.clock and cutoffs:
        by = instant(looking_back(cohort, CANDIDATES), CUTOFF, clock_types(entity)[0])
        looks = looks.select(sql.named(by, "@known by"))
    candidates = (
        exp.select(sql.named(exp.Window(this=sql.call("row_number")), ROW),
                   sql.named(col(entity.spec.keys[0], "t"), ENTITY), col(CUTOFF, "f"))
        .from_(sql.table(entity.name, "t"))
        .join(sub(looks.from_(moments_table), "f"), join_type="cross")
    )  # fmt: skip
    if entity.spec.clock and cutoffs:
        candidates = candidates.where(exp.LTE(this=col(KNOWN, "t"), expression=col("@known by", "f")))
    if where:
        candidates = candidates.where(exp.paren(where.of("t")))
    for table in tables.loaded.values():
        if table.left_out:
            out = exp.select(col(OWNER)).from_(sql.call("read_parquet", sql.literal(str(table.left_out))))
            known = exp.In(this=col(entity.spec.keys[0], "t"), query=out.subquery())
            candidates = candidates.where(exp.not_(known))
    rows = exp.select(col(ENTITY, "f"), col(CUTOFF, "f")).from_(sql.table(CANDIDATES, "f"))
    frame = looking_back(cohort, CANDIDATES)
    rows = filtered(rows, cohort.having, frame, tables, "cohort.having")
    order = exp.Order(expressions=[exp.Ordered(this=col(CUTOFF)), exp.Ordered(this=col(ENTITY))])
    number = exp.Sub(this=exp.Window(this=sql.call("row_number"), order=order), expression=sql.literal(1))
    final = exp.select(sql.named(number, ROW), col(ENTITY), col(CUTOFF)).from_(sub(rows, "r"))
    return [(CANDIDATES, candidates), (name, final.order_by(col(ROW)))]


def looking_ahead(cohort: Frame, horizon: Span, at: str, engine: Engine) -> Frame:
    """The cohort with the end of a horizon; labels may look at everything up to then."""
    name = f"{COHORT} +{horizon.short}"
    end = sql.named(horizon_end(cohort, horizon), END)
    engine.keep(name, exp.select("*", end).from_(sql.table(COHORT)))
    at = END if at == "horizon_end" else CUTOFF
    return replace(cohort, name=name, at=at, past_only=False, horizon=horizon)
