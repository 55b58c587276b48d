"""What there is to know of the tables before any model is fitted: counts, each said in a line, nothing changed."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from toolkit.config.measures import Cohort
from toolkit.data import sql
from toolkit.data.engine import Engine
from toolkit.data.sql import col
from toolkit.data.tables import KNOWN, Loaded, Tables
from toolkit.prepare.frame import sub


def found(cohort: Cohort, tables: Tables, engine: Engine) -> list[str]:
    """Lines on files put together, remarks, strangers, entities left out, and rows after an entity has left."""
    entity = tables[tables.dataset.entity]
    lines = []
    for table in tables.loaded.values():
        lines += [f"{table.name}: {text}" for text in (*_files(table), *table.remarks)]
        if table.spec.entity and table is not entity:
            lines += [f"{table.name}: {text}" for text in _strangers(table, entity, engine)]
        if table.left_out:
            keys = sql.call("read_parquet", sql.literal(str(table.left_out)))
            count = engine.one(exp.select(exp.Count(this=exp.Star())).from_(keys))[0]
            if count:
                lines.append(
                    f"{table.name}: entities left out of the cohort at every cutoff, since a row of theirs was "
                    f"rejected: {count:,}"
                )
    for condition in cohort.having:
        if condition.at_most == 0 and not (condition.where or condition.within or condition.ending):
            lines += _after(tables[condition.table], tables, engine)
    return lines


def _files(table: Loaded) -> Iterator[str]:
    if len(table.files) > 1:
        yield "read from " + " and ".join(f"{name} ({rows:,} rows)" for name, rows in table.files.items())
    for column, files in table.only_in.items():
        if column in table.columns:
            yield f"`{column}` is in {' and '.join(files)} only, and missing in the rows of the others"


def _strangers(table: Loaded, entity: Loaded, engine: Engine) -> Iterator[str]:
    """Rows of entities that the entity table does not have: no cohort has them."""
    owner = col(str(table.spec.entity))
    known = exp.select(col(entity.spec.keys[0])).from_(sql.table(entity.name))
    known = known.where(exp.not_(exp.Is(this=col(entity.spec.keys[0]), expression=exp.null())))
    rows, owners = engine.one(
        exp.select(exp.Count(this=exp.Star()), exp.Count(this=exp.Distinct(expressions=[owner])))
        .from_(sql.table(table.name))
        .where(exp.not_(exp.In(this=owner.copy(), query=known.subquery())))
    )
    if rows:
        yield f"{rows:,} rows are of {owners:,} keys that table `{entity.name}` does not have, and are not used"
    nobody = exp.Is(this=owner.copy(), expression=exp.null())
    none = exp.select(exp.Count(this=exp.Star())).from_(sql.table(table.name)).where(nobody)
    if rows := engine.one(none)[0]:
        yield f"{rows:,} rows say no key in `{table.spec.entity}`, and are not used"


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
