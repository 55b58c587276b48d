"""Leaks refused by construction: no feature is made of a column that a target derives from."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.config.measures import ColumnTarget
from toolkit.data.tables import Tables
from toolkit.errors import LeakError
from toolkit.prepare.features import CompiledSet
from toolkit.prepare.measure import Source
from toolkit.prepare.targets import CompiledTarget


def label_columns(targets: Sequence[CompiledTarget], tables: Tables) -> dict[Source, str]:
    """Columns that may not become features: (table, column) → the target that derives from it.

    In a dated table with many rows per entity, features see the rows before the cutoff and targets
    those after it, so its columns may serve both. A row that stands alone for its entity, or carries
    no date, has one value for both sides of the cutoff: its columns may not.
    """
    found: dict[Source, str] = {}
    for target in targets:
        for table_name, column in target.sources:
            table = tables[table_name]
            one_row = len(table.spec.keys) == 1 and table.spec.keys[0] in (
                table.spec.entity,
                _entity_key(table_name, tables),
            )
            if isinstance(target.node, ColumnTarget) or not table.spec.clock or one_row:
                found[(table_name, column)] = target.name
    return found


def _entity_key(table: str, tables: Tables) -> str | None:
    return tables[table].spec.keys[0] if table == tables.dataset.entity else None


def refuse(sets: Sequence[CompiledSet], labels: dict[Source, str], selection: frozenset[Source]) -> None:
    """Raise LeakError where a feature, or the choice of the cohort, reads a label's column."""
    for compiled in sets:
        for feature in compiled.features:
            for source in sorted(feature.sources & set(labels)):
                raise LeakError(
                    f"feature `{feature.name}` is made of `{source[0]}.{source[1]}`, which target "
                    f"`{labels[source]}` derives from",
                    where=f"features.{feature.set}",
                    why="the label, or what it is made of, would be known before it happens",
                    fix=f"leave the column out (`exclude: [{source[1]}]`), or drop the target",
                )
    for source in sorted(selection & set(labels)):
        raise LeakError(
            f"the cohort is chosen by `{source[0]}.{source[1]}`, which target `{labels[source]}` derives from",
            where="cohort",
            why="rows would be chosen by what is to be predicted",
        )
