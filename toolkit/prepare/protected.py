"""Protected attributes of rows: read beside the features to judge decisions by, and kept out of the features.

Their values are those known at the cutoff, by the very queries that features are made with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from toolkit.config.fairness import Protected
from toolkit.config.features import Attributes
from toolkit.data.tables import Loaded, Tables
from toolkit.errors import ConfigError, DataError, LeakError, did_you_mean
from toolkit.prepare.features import CompiledSet, Feature, compile_set
from toolkit.prepare.frame import Frame, Source, need_column

MOST_GROUPS = 50
DAYS_PER_YEAR = 365.25
PREFIX = "@protected "


@dataclass(frozen=True)
class CompiledProtected:
    """A protected attribute. type: its column's; part: the query for it, None where it is a feature anyway.

    sources: the columns that it is made of; alone: those that no feature may be made of.
    """

    name: str
    node: Protected
    type: str
    part: CompiledSet | None
    sources: frozenset[Source]
    alone: frozenset[Source]


def compile_protected(
    declared: Mapping[str, Protected], tables: Tables, frame: Frame
) -> tuple[CompiledProtected, ...]:
    """The queries for the attributes that are columns. Raises ConfigError for columns that are not there."""
    found = []
    for name, node in declared.items():
        if node.column is None:
            found.append(CompiledProtected(name, node, "", None, frozenset(), frozenset()))
            continue
        where = f"fairness.attributes.{name}"
        table = tables[node.table or tables.dataset.entity]
        need_column(table, node.column, f"{where}.column")
        kind = table.columns[node.column].type
        _fits(node, kind, frame, where)
        asked = Attributes(kind="attributes", table=table.name, columns=[node.column])
        part = compile_set(f"{PREFIX}{name}", asked, tables, frame, frozenset())
        sources = frozenset(table.sources({node.column}))
        alone = frozenset() if node.as_feature else sources
        found.append(CompiledProtected(name, node, kind, part, sources, alone))
    return tuple(found)


def _fits(node: Protected, kind: str, frame: Frame, where: str) -> None:
    """Bins go with numbers and with dates, which are years up to a cutoff and always need them."""
    dated = kind in ("date", "timestamp")
    if node.bins and kind not in ("integer", "number") and not dated:
        raise ConfigError(
            f"`{node.column}` is {kind}, and `bins` are the edges of numbers",
            where=f"{where}.bins",
            fix="leave `bins` out; `values` puts texts together",
        )
    if dated and not (node.bins and frame.dated):
        raise ConfigError(
            f"`{node.column}` is a date: its groups are years up to the cutoff",
            where=where,
            why=None if frame.dated else "the cohort has no cutoffs",
            fix="give the edges in years, bins: [30, 60]"
            if frame.dated
            else "declare cutoffs, or a column of years",
        )


def hidden(protected: Sequence[CompiledProtected]) -> frozenset[Source]:
    """Columns that `columns: all` leaves out."""
    return frozenset().union(*(one.alone for one in protected))


def refuse(
    sets: Sequence[CompiledSet], protected: Sequence[CompiledProtected], labels: Mapping[Source, str]
) -> None:
    """Raise LeakError where a feature is made of an attribute that is none, or an attribute of a label's column."""
    for one in protected:
        for table, column in sorted(one.sources & set(labels)):
            raise LeakError(
                f"the protected attribute `{one.name}` is made of `{table}.{column}`, which target "
                f"`{labels[table, column]}` derives from",
                where=f"fairness.attributes.{one.name}",
                why="groups would be made by what is to be predicted",
                fix="name another column",
            )
        for compiled in sets:
            for feature in compiled.features:
                for table, column in sorted(feature.sources & one.alone):
                    raise LeakError(
                        f"feature `{feature.name}` is made of `{table}.{column}`, the protected attribute `{one.name}`",
                        where=f"features.{feature.set}",
                        why="a protected attribute is read to judge decisions, and is no feature unless declared so",
                        fix=f"leave `{column}` out of the feature set, or let models see it: "
                        f"fairness.attributes.{one.name}.as_feature: true",
                    )


def refuse_reading(
    read: Sequence[tuple[str, str]], entity: Loaded, protected: Sequence[CompiledProtected]
) -> None:
    """Raise LeakError where rules read an attribute that they may not. read: (key in YAML, column of the entity table)."""
    for one in protected:
        for where, column in read:
            if entity.sources({column}) & one.alone and not one.node.in_playbook:
                raise LeakError(
                    f"the playbook reads `{column}`, the protected attribute `{one.name}`",
                    where=where,
                    why="who is acted on, or how, would differ by it, and no measure of fairness would tell",
                    fix="read another column, or say that it may: "
                    f"fairness.attributes.{one.name}.in_playbook: true",
                )


def said(protected: Sequence[CompiledProtected], tables: Tables) -> list[str]:
    """What is to be known of each attribute: that it is a feature, or which columns are none for its sake."""
    lines = []
    for one in protected:
        if one.node.as_feature:
            what = one.node.feature or one.node.column
            lines.append(
                f"protected attribute `{one.name}` may be seen by models (`{what}`, as_feature: true)"
            )
            continue
        names = sorted(
            f"{table.name}.{column}"
            for table in tables.loaded.values()
            for column in table.columns
            if table.sources({column}) & one.alone
        )
        lines.append(
            f"protected attribute `{one.name}`: {', '.join(f'`{name}`' for name in names)} "
            f"{'is no feature' if len(names) == 1 else 'are no features'}"
            + (", and the playbook may read it (in_playbook: true)" if one.node.in_playbook else "")
        )
    return lines


def gaps(groups: Mapping[str, pd.Categorical]) -> list[str]:
    """A line on each attribute that some of the rows lack."""
    missing = {name: float((found.codes < 0).mean()) for name, found in groups.items() if len(found)}
    return [
        f"protected attribute `{name}` is unknown for {share:.1%} of all rows"
        for name, share in missing.items()
        if share
    ]


def check(
    protected: Sequence[CompiledProtected], groups: Mapping[str, pd.Categorical], features: Sequence[Feature]
) -> None:
    """Names that only the data decides: a feature's, a reference group's."""
    names = [feature.name for feature in features]
    for one in protected:
        where, node = f"fairness.attributes.{one.name}", one.node
        if node.feature and node.feature not in names:
            raise ConfigError(
                f"no feature of this recipe is called `{node.feature}`",
                where=f"{where}.feature",
                fix=did_you_mean(node.feature, names),
            )
        known = list(groups[one.name].categories) if one.name in groups else []
        if node.reference and known and node.reference not in known:
            raise ConfigError(
                f"no group of `{one.name}` is called `{node.reference}`",
                where=f"{where}.reference",
                fix=did_you_mean(node.reference, known),
            )


def grouped(one: CompiledProtected, column: Any) -> Any:
    """The group of each row [rows], missing where the value is; categories in the order of bins, or of names.

    column: float32 [rows] or pandas Categorical [rows]. Raises DataError for more than fifty groups.
    """
    node = one.node
    if isinstance(column, pd.Categorical):
        names = [*(node.values.get(str(c), str(c)) for c in column.categories), None]
        return _named(one, np.array(names, object)[column.codes])
    values = np.asarray(column, np.float64)
    if one.type in ("date", "timestamp"):
        values = values / DAYS_PER_YEAR
    known = ~np.isnan(values)
    if node.bins:
        labels = bin_names(node.bins)
        codes = np.where(known, np.searchsorted(node.bins, values, side="right"), -1).astype(np.intp)
        return pd.Categorical.from_codes(codes, categories=pd.Index(labels))
    distinct, at = np.unique(values[known], return_inverse=True)
    texts = [f"{value:.9g}" for value in distinct]
    if one.type == "boolean":
        texts = ["true" if value else "false" for value in distinct]
    cells = np.full(len(values), None, object)
    cells[known] = np.array([node.values.get(text, text) for text in texts], object)[at]
    return _named(one, cells)


def _named(one: CompiledProtected, names: np.ndarray) -> pd.Categorical:
    distinct = sorted({name for name in names.tolist() if name is not None})
    if len(distinct) > MOST_GROUPS:
        raise DataError(
            f"`{one.node.column or one.node.feature}` has {len(distinct):,} values; a protected attribute has at most "
            f"{MOST_GROUPS} groups",
            where=f"fairness.attributes.{one.name}",
            fix="put numbers into groups by their edges (`bins: [30, 60]`), texts by `values`",
        )
    return pd.Categorical(names, categories=distinct)


def bin_names(edges: Sequence[float]) -> list[str]:
    """`under 30`, `30 to under 60`, `60 or more`."""
    between = [f"{low:g} to under {high:g}" for low, high in pairwise(edges)]
    return [f"under {edges[0]:g}", *between, f"{edges[-1]:g} or more"]
