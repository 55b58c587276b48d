"""What there is to know of the tables before any model is fitted: counts, each said in a line, nothing changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlglot import exp

from toolkit.config.measures import Cohort, Every
from toolkit.config.time import TICK
from toolkit.data import sql
from toolkit.data.engine import Engine
from toolkit.data.sql import col
from toolkit.data.tables import KNOWN, Loaded, Tables
from toolkit.prepare.cohort import COHORT
from toolkit.prepare.cutoffs import data_end, day_of
from toolkit.prepare.frame import CUTOFF, ENTITY, OWNER, as_clock, clock_types, sub

SPELLINGS = {  # ways in which one key is written differently, and what is left of it without them
    "`.0` at the end": r"\.0+$",
    "leading zeros": r"^0+",
    "blanks around it": r"^\s+|\s+$",
    "leading zeros and `.0` at the end": r"^0+|\.0+$",
}


def found(cohort: Cohort, tables: Tables, engine: Engine, measured: Collection[str] = ()) -> list[str]:
    """Lines on files put together, remarks, strangers, entities left out, rows after an entity has left, and
    entities that leave without having been in. The cohort's rows are with the engine already.

    measured: the tables that labels are made of."""
    entity = tables[tables.dataset.entity]
    lines = []
    for table in tables.loaded.values():
        lines += [f"{table.name}: {text}" for text in (*_files(table), *table.remarks)]
        if table.spec.entity and table is not entity:
            lines += [f"{table.name}: {text}" for text in _strangers(table, entity, tables, engine)]
        if table.left_out:
            keys = sql.call("read_parquet", sql.literal(str(table.left_out)))
            count = engine.one(exp.select(exp.Count(this=exp.Star())).from_(keys))[0]
            if count:
                lines.append(
                    f"{table.name}: entities left out of the cohort at every cutoff, since a row of theirs was "
                    f"rejected: {count:,}"
                )
    lines += [line for name in sorted(measured) for line in _planned(tables[name], cohort, tables)]
    for condition in cohort.having:
        if condition.at_most == 0 and not (condition.where or condition.within or condition.ending):
            lines += _after(tables[condition.table], tables, engine)
            lines += _never(tables[condition.table], tables, cohort.timezone, engine)
    return lines


def _files(table: Loaded) -> Iterator[str]:
    if len(table.files) > 1:
        yield "read from " + " and ".join(f"{name} ({rows:,} rows)" for name, rows in table.files.items())
    for column, files in table.only_in.items():
        if column in table.columns:
            yield f"`{column}` is in {' and '.join(files)} only, and missing in the rows of the others"


def _strangers(table: Loaded, entity: Loaded, tables: Tables, engine: Engine) -> Iterator[str]:
    """Rows of entities that neither the entity table has, so that no cohort has them, nor a relation, as neighbours."""
    owner = col(str(table.spec.entity))
    keys = [(entity.name, entity.spec.keys[0])]
    keys += [
        (relation.table, end)
        for relation in tables.dataset.relations.values()
        if relation.table in tables.loaded
        for end in relation.ends
    ]
    selects = [
        exp.select(sql.named(col(key), "key"))
        .from_(sql.table(name))
        .where(exp.not_(exp.Is(this=col(key), expression=exp.null())))
        for name, key in keys
    ]
    known = (
        exp.select(col("key")).from_(sub(exp.union(*selects, distinct=True), "k"))
        if selects[1:]
        else selects[0]
    )
    rows, owners = engine.one(
        exp.select(exp.Count(this=exp.Star()), exp.Count(this=exp.Distinct(expressions=[owner])))
        .from_(sql.table(table.name))
        .where(exp.not_(exp.In(this=owner.copy(), query=known.subquery())))
    )
    if rows:
        line = (
            f"{rows:,} rows are of {owners:,} keys that table `{entity.name}` does not have, and are not used"
        )
        yield line + _spelt_otherwise(table, entity, known, engine)
    nobody = exp.Is(this=owner.copy(), expression=exp.null())
    none = exp.select(exp.Count(this=exp.Star())).from_(sql.table(table.name)).where(nobody)
    if rows := engine.one(none)[0]:
        yield f"{rows:,} rows say no key in `{table.spec.entity}`, and are not used"


def _spelt_otherwise(table: Loaded, entity: Loaded, known: exp.Select, engine: Engine) -> str:
    """How many strangers are entities whose keys are written in another way, by the first way that explains most."""
    here, there = col(str(table.spec.entity), "t"), col(entity.spec.keys[0], "e")
    best: tuple[int, str] = (0, "")
    for words, surplus in SPELLINGS.items():
        bare = [
            exp.select(sql.named(node, "key"), sql.named(_without(surplus, node), "bare")).distinct()
            .from_(sql.table(name, node.table)).where(exp.not_(exp.Is(this=node.copy(), expression=exp.null())))
            for name, node in ((table.name, here), (entity.name, there))
        ]  # fmt: skip
        bare[0] = bare[0].where(exp.not_(exp.In(this=here.copy(), query=known.copy().subquery())))
        same = exp.EQ(this=col("bare", "t"), expression=col("bare", "e"))
        count, mine, theirs = engine.one(
            exp.select(
                exp.Count(this=exp.Distinct(expressions=[col("key", "t")])),
                sql.call("arg_min", col("key", "t"), col("key", "t")),
                sql.call("arg_min", col("key", "e"), col("key", "t")),
            )
            .from_(sub(bare[0], "t"))
            .join(sub(bare[1], "e"), on=same, join_type="inner")
        )
        if count > best[0]:
            best = (
                count,
                (
                    f"; {count:,} of these keys differ from one there only by {words} (`{mine}` here, `{theirs}` in "
                    f"`{entity.name}`): write them alike"
                ),
            )
    return best[1]


def _without(surplus: str, key: exp.Expression) -> exp.Expression:
    return sql.call("regexp_replace", key.copy(), sql.literal(surplus), sql.literal(""), sql.literal("g"))


def _planned(table: Loaded, cohort: Cohort, tables: Tables) -> Iterator[str]:
    """Rows of a label's table that are later than the table that cutoffs lie in."""
    every = cohort.cutoffs
    if not isinstance(every, Every) or not every.observed_in or table.spec.observed_until or not table.last:
        return
    seen = tables[every.observed_in]
    end = data_end(seen, cohort.timezone)
    if table is not seen and end and (last := data_end(table, cohort.timezone)) and last > end:
        yield (
            f"{table.name}: rows reach to {day_of(last - TICK, cohort.timezone)}, later than `{seen.name}`, which ends "
            f"on {day_of(end - TICK, cohort.timezone)}: later ones may be planned or mistyped, so labels are made up "
            "to then; if the table is complete for longer, declare its `observed_until`"
        )


def _after(left: Loaded, tables: Tables, engine: Engine) -> Iterator[str]:
    """Rows that became known after an entity's first row in the table that takes it out of the cohort."""
    if not left.spec.clock or not left.spec.entity:
        return
    first = exp.select(sql.named(col(left.spec.entity), "key"), sql.named(exp.Min(this=col(KNOWN)), "since"))
    first = first.from_(sql.table(left.name)).group_by(col(left.spec.entity))
    for table in tables.loaded.values():
        if table is left or not table.spec.clock or not table.spec.entity:
            continue
        same = exp.EQ(this=col(table.spec.entity, "t"), expression=col("key", "l"))
        later = exp.GT(this=col(KNOWN, "t"), expression=col("since", "l"))
        rows = exp.select(exp.Count(this=exp.Star())).from_(sql.table(table.name, "t"))
        count = engine.one(rows.join(sub(first, "l"), on=sql.both(same, later), join_type="inner"))[0]
        if count:
            yield (
                f"{table.name}: {count:,} rows became known after their entity's first row in `{left.name}`, "
                "from which on it is out of the cohort: no feature sees them"
            )


def _never(left: Loaded, tables: Tables, zone: str, engine: Engine) -> Iterator[str]:
    """Entities that the table takes out of the cohort before they ever were in it."""
    begin, end = engine.one(
        exp.select(exp.Min(this=col(CUTOFF)), exp.Max(this=col(CUTOFF))).from_(sql.table(COHORT))
    )
    if not left.spec.clock or not left.spec.entity or begin is None:
        return
    entity, owner = tables[tables.dataset.entity], col(left.spec.entity)
    inside = _among(owner, exp.select(col(ENTITY)).from_(sql.table(COHORT)))
    first = exp.select(sql.named(exp.Min(this=col(KNOWN)), "since"), sql.named(inside, "inside"))
    first = first.from_(sql.table(left.name)).group_by(owner.copy())
    first = first.where(_among(owner, exp.select(col(entity.spec.keys[0])).from_(sql.table(entity.name))))
    for table in tables.loaded.values():
        if table.left_out:  # said already
            out = sql.call("read_parquet", sql.literal(str(table.left_out)))
            first = first.where(exp.not_(_among(owner, exp.select(col(OWNER)).from_(out))))
    rows = engine.run(first)
    begin, end = (as_clock(moment, clock_types(left)[0], zone) for moment in (begin, end))
    never = [since for since, known in rows if not known]
    early, late = sum(since <= begin for since in never), sum(since > end for since in never)
    if never:
        when = {"up to the first cutoff": early, "between the first and the last": len(never) - early - late,
                "after the last": late}  # fmt: skip
        yield (
            f"{left.name}: {len(never):,} of {len(rows):,} entities with a row in it are in the cohort at no cutoff, so "
            f"that no label counts them (first row {', '.join(f'{text}: {n:,}' for text, n in when.items() if n)})"
        )


def _among(value: exp.Expression, query: exp.Select) -> exp.In:
    return exp.In(this=value.copy(), query=query.subquery())
