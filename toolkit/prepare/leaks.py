"""Leaks refused by construction: no feature is made of a column that a target derives from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from toolkit.config.tables import Dataset
from toolkit.config.targets import ColumnTarget
from toolkit.data.tables import Tables
from toolkit.errors import ConfigError, LeakError
from toolkit.prepare.features import CompiledSet
from toolkit.prepare.frame import Source, need_column, one_per_entity
from toolkit.prepare.targets import CompiledTarget


def label_columns(targets: Sequence[CompiledTarget], tables: Tables) -> dict[Source, str]:
    """Columns that may not become features: (table, column) → the target that derives from it.

    In a dated table with many rows per entity, features see the rows before the cutoff and targets
    those after it, so its columns may serve both. A row that stands alone for its entity, or carries
    no date, has one value for both sides of the cutoff: its columns may not. The edges of a relation
    are seen from the cutoff by targets too, so they tell nothing of what comes after it.
    """
    found: dict[Source, str] = {}
    for target in targets:
        for source in target.read:
            table = tables[source[0]]
            alone = len(table.spec.keys) == 1 and table.spec.keys[0] in (
                table.spec.entity,
                tables[tables.dataset.entity].spec.keys[0] if source[0] == tables.dataset.entity else None,
            )
            both_sides = (not table.spec.clock or alone) and source not in edges(tables.dataset)
            if isinstance(target.node, ColumnTarget) or both_sides:
                found[source] = target.name
    return found


def telling_columns(targets: Sequence[CompiledTarget], tables: Tables) -> dict[Source, str]:
    """Columns that would tell a label from the file that they stand in: (table, column) → why, in words.

    A target may be measured in a file that another table without a clock also reads, beside other files.
    There the target's own columns stand without a date, and a column that the other files lack tells by
    being there that an entity is in that file: it may serve a target, and no feature.
    """
    found: dict[Source, str] = {}
    for target in targets:
        for source in sorted(target.read):
            read = tables[source[0]]
            for table in tables.loaded.values():
                if table is read or table.spec.clock or not set(read.files) & set(table.files):
                    continue
                if source[1] in table.columns:
                    found[table.name, source[1]] = (
                        f"which target `{target.name}` reads as `{read.name}.{source[1]}`"
                    )
                for column, files in table.only_in.items():
                    if column in table.columns and set(files) <= set(read.files):
                        found.setdefault(
                            (table.name, column),
                            f"which only {' and '.join(files)} has, where target `{target.name}` is measured",
                        )
    return found


def split_columns(column: str | None, tables: Tables, where: str = "split.column") -> frozenset[Source]:
    """What decides the split, or who stays together in it, where a column of the entity table does.

    Keys are no features anyway. where: the key of the configuration that names it.
    """
    if column is None:
        return frozenset()
    table = tables[tables.dataset.entity]
    need_column(table, column, where)
    if not one_per_entity(table, tables):
        raise ConfigError(
            f"table `{table.name}` may have several rows for one entity, which could say different things",
            where=where,
            fix="a table with one row per entity, or another kind of split",
        )
    return frozenset(source for source in table.sources({column}) if source[1] not in table.spec.keys)


def edges(dataset: Dataset) -> set[Source]:
    """The columns that make the edges of relations."""
    return {
        (relation.table, column)
        for relation in dataset.relations.values()
        for column in (*relation.ends, relation.type, relation.weight)
        if column
    }


def refuse(
    sets: Sequence[CompiledSet],
    labels: Mapping[Source, str],
    selections: Mapping[str, frozenset[Source]],
    parts: frozenset[Source] = frozenset(),
    telling: Mapping[Source, str] | None = None,
) -> None:
    """Raise LeakError where a feature, or the choice of rows, reads a label's column, or a feature the split's.

    selections: where rows are chosen (a dotted key) → the columns that they are chosen by; parts: the
    columns that decide who trains and who tests; telling: what `telling_columns` found.
    """
    telling = telling or {}
    for compiled in sets:
        for feature in compiled.features:
            for table, column in sorted(feature.sources & set(telling)):
                raise LeakError(
                    f"feature `{feature.name}` is made of `{table}.{column}`, {telling[table, column]}",
                    where=f"features.{feature.set}",
                    why="which file an entity stands in tells the label",
                    fix=f"leave the column out (`exclude: [{column}]`)",
                )
            for table, column in sorted(feature.sources & set(labels)):
                raise LeakError(
                    f"feature `{feature.name}` is made of `{table}.{column}`, which target "
                    f"`{labels[table, column]}` derives from",
                    where=f"features.{feature.set}",
                    why="the label, or what it is made of, would be known before it happens",
                    fix=f"leave the column out (`exclude: [{column}]`), or drop the target",
                )
            for table, column in sorted(feature.sources & parts):
                raise LeakError(
                    f"feature `{feature.name}` is made of `{table}.{column}`, which decides the split",
                    where=f"features.{feature.set}",
                    why="it has other values in test rows than in training rows, and none in new ones",
                    fix=f"leave the column out (`exclude: [{column}]`), or split by another one",
                )
    known = "choose them by columns that are known at the cutoff"
    for where, sources in selections.items():
        for table, column in sorted(sources & (labels.keys() | telling.keys())):
            said, fix = telling.get((table, column)), known
            if said is None:
                said, fix = (
                    f"which target `{labels[table, column]}` derives from",
                    f"{known}, or drop the target",
                )
            raise LeakError(
                f"rows are chosen by `{table}.{column}`, {said}",
                where=where,
                why="rows would be chosen by what is to be predicted",
                fix=fix,
            )
