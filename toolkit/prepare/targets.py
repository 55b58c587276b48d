"""Targets: what is measured for each row, and how a label is made of it.

The measuring is SQL and looks at the horizon; the labelling is numpy and may need a quantile, which
is fitted on training rows only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlglot import exp

from toolkit.config.measures import Aggregate, Combined, Measure
from toolkit.config.targets import (
    AnyOf,
    Classes,
    ColumnTarget,
    EventWithin,
    Inactivity,
    Lull,
    Silence,
    Target,
    ThresholdTarget,
    TopFraction,
    Value,
)
from toolkit.config.time import Span, span
from toolkit.data import sql
from toolkit.data.engine import Engine
from toolkit.data.sql import col
from toolkit.data.tables import Tables
from toolkit.errors import ConfigError, DataError, did_you_mean
from toolkit.prepare.cohort import looking_ahead
from toolkit.prepare.condition import filtered, read_by
from toolkit.prepare.definitions import happening
from toolkit.prepare.frame import ENTITY, ROW, Frame, Query, Source, need_column
from toolkit.prepare.measure import joined_terms, measure, substitute, tables_of, together


@dataclass(frozen=True)
class CompiledTarget:
    """A target over the cohort: the query of its raw values (`@row`, `value`, rows absent: `fill`)."""

    name: str
    node: Target
    type: str  # binary, multiclass, regression
    query: Query
    fill: float | None
    sources: frozenset[Source]
    eligible: exp.Select | None  # rows that the target applies to; None: all
    chosen_by: frozenset[Source]  # columns that decide to which rows it applies
    partly_known: bool
    horizon: Span | None
    worth: Query | None = None  # what rows bring, for the report; never a label, nor a feature

    @property
    def read(self) -> frozenset[Source]:
        """Columns that may not become features: those behind the label, and behind what a row brings."""
        return self.sources | (self.worth.sources["value"] if self.worth else frozenset())


@dataclass(frozen=True)
class LabelState:
    """What labelling has fitted on training rows: quantiles by cutoff (or pooled), classes."""

    type: str
    classes: tuple[str, ...] = ()
    quantiles: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.type, "classes": list(self.classes), "quantiles": self.quantiles}


def horizon_of(node: Target) -> Span | None:
    return None if isinstance(node, ColumnTarget) else span(node.horizon)


def measured_in(node: Target) -> set[str]:
    """Tables that a target's values come from."""
    return tables_of(node.model_copy(update={"among": []}))


def compile_target(name: str, node: Target, tables: Tables, cohort: Frame, engine: Engine) -> CompiledTarget:
    """A target's query over the cohort. Keeps the frames that it looks from."""
    where = f"target.{name}"
    horizon = horizon_of(node)
    eligible = applies_to(name, node, tables, cohort)
    chosen_by = read_by(node.among, cohort, tables, f"{where}.among")
    if horizon is None:
        assert isinstance(node, ColumnTarget)
        query = _column(node, tables, cohort, where)
        return CompiledTarget(
            name, node, node.type, query, None, query.sources["value"], eligible, chosen_by, False, None
        )
    frame = looking_ahead(cohort, horizon, getattr(node, "at", "horizon_end"), engine)
    kind, partly = "binary", False
    if isinstance(node, EventWithin | Inactivity | Silence | AnyOf):
        query, partly = happening(node, frame, tables, where), _lull_in(node)
    elif isinstance(node, Classes):
        query, kind = _classes(node, frame, tables, where), "multiclass"
        partly = any(_looks_back(term) for term in node.terms.values())
    else:
        assert not isinstance(node, ColumnTarget)
        query = measure(node.of, frame, tables, f"{where}.of")
        kind = "regression" if isinstance(node, Value) else "binary"
        partly = _looks_back(node.of)
    sources = frozenset(source for part in query.sources.values() for source in part)
    fill = query.fills["value"]
    worth = measure(node.worth, frame, tables, f"{where}.worth") if node.worth else None
    return CompiledTarget(name, node, kind, query, fill, sources, eligible, chosen_by, partly, horizon, worth)


def applies_to(name: str, node: Target, tables: Tables, cohort: Frame) -> exp.Select | None:
    """The rows of the cohort that a target applies to (`@row`); None: all."""
    if not node.among:
        return None
    rows = exp.select(col(ROW, "f")).from_(sql.table(cohort.name, "f"))
    return filtered(rows, node.among, cohort, tables, f"target.{name}.among")


def _lull_in(node: Target) -> bool:
    """Is there a silence in it, which may have begun before the cutoff?"""
    return isinstance(node, Lull) or (
        isinstance(node, AnyOf) and any(isinstance(one, Lull) for one in node.definitions.values())
    )


def _looks_back(node: Measure) -> bool:
    """Is part of the measure known at the cutoff already?"""
    if isinstance(node, Aggregate):
        return node.window != "horizon"
    if isinstance(node, Combined):
        return any(_looks_back(term) for term in node.terms.values())
    return True  # the neighbours are those known at the cutoff


def _column(node: ColumnTarget, tables: Tables, cohort: Frame, where: str) -> Query:
    entity = tables[tables.dataset.entity]
    need_column(entity, node.column, f"{where}.column")
    if node.positive is not None and node.type != "binary":
        raise ConfigError(
            "`positive` goes with `type: binary`", where=f"{where}.positive", fix="leave it out"
        )
    kind = entity.columns[node.column].type
    if node.type == "regression" and kind not in ("integer", "number", "boolean"):
        raise ConfigError(
            f"`type: regression` needs numbers, and `{node.column}` is {kind}",
            where=f"{where}.type",
            fix="binary or multiclass, or a column of numbers",
        )
    value = exp.cast(col(node.column, "t"), "DOUBLE" if node.type == "regression" else "VARCHAR")
    owned = exp.EQ(this=col(entity.spec.keys[0], "t"), expression=col(ENTITY, "f"))
    tree = (
        exp.select(col(ROW, "f"), sql.named(value, "value"))
        .from_(sql.table(cohort.name, "f"))
        .join(sql.table(entity.name, "t"), on=owned, join_type="inner")
    )
    sources = frozenset(entity.sources({node.column}))
    return Query(tree, (), {"value": None}, {"value": sources}, frozenset({entity.name}))


def _classes(node: Classes, frame: Frame, tables: Tables, where: str) -> Query:
    tree, values, queries = joined_terms(node.terms, frame, tables, f"{where}.terms")
    case = exp.Case()
    for name, condition in node.classes.items():
        admitted = sql.expression(condition, node.terms, f"{where}.classes.{name}")
        case = case.when(substitute(admitted, values), sql.literal(name))
    return together(tree.select(sql.named(case, "value")), queries, "value")


def labels(
    target: CompiledTarget,
    values: np.ndarray,
    eligible: np.ndarray,
    cutoffs: np.ndarray,
    train: np.ndarray,
    state: LabelState | None = None,
) -> tuple[np.ndarray, LabelState]:
    """Labels [rows] as float32 (class index for multiclass, NaN where there is none), and what was fitted.

    values: raw values [rows] (float64, or texts for classes and columns); train: mask of training rows;
    state: a fitted state to apply instead of fitting one.
    """
    node = target.node
    y, state = _label(node, target, values, eligible, cutoffs, train, state)
    y = y.astype(np.float32)
    y[~eligible] = np.nan
    return y, state


def _label(
    node: Target,
    target: CompiledTarget,
    values: np.ndarray,
    eligible: np.ndarray,
    cutoffs: np.ndarray,
    train: np.ndarray,
    state: LabelState | None,
) -> tuple[np.ndarray, LabelState]:
    if isinstance(node, EventWithin):
        return values >= node.at_least, LabelState("binary")
    if isinstance(node, Inactivity):
        return values == 0, LabelState("binary")
    if isinstance(node, Silence | AnyOf):
        return values > 0, LabelState("binary")
    if isinstance(node, ThresholdTarget):
        compare: Callable[..., Any] = {
            ">=": np.greater_equal,
            ">": np.greater,
            "<=": np.less_equal,
            "<": np.less,
        }[node.op]
        reached = compare(_settled(values), node.value)  # what is missing reaches nothing
        return reached, LabelState("binary")
    if isinstance(node, Value):
        if node.transform == "log1p" and np.nanmin(values, initial=0.0) <= -1:
            raise DataError(
                f"target `{target.name}`: log1p of values at or below -1",
                where=f"target.{target.name}.transform",
                fix="transform: none",
            )
        return np.log1p(values) if node.transform == "log1p" else values, LabelState("regression")
    if isinstance(node, TopFraction):
        return _top(node, target.name, values, cutoffs, train & eligible, state)
    return _named(node, target, values, train & eligible, state)


def _top(
    node: TopFraction,
    name: str,
    values: np.ndarray,
    cutoffs: np.ndarray,
    train: np.ndarray,
    state: LabelState | None,
) -> tuple[np.ndarray, LabelState]:
    """Rows at or beyond the quantile. A missing value (nothing to rank) is never at the top.

    Ties: rows that share the quantile's value are all at the top, unless that value is also the lowest
    one there is; then the top begins above it.
    """
    sign = 1.0 if node.direction == "highest" else -1.0
    ranked = np.where(np.isnan(values), -np.inf, sign * _settled(values))
    pooled = node.fit == "pooled"
    keys = np.full(len(values), "pooled") if pooled else cutoffs.astype("datetime64[s]").astype(str)
    if state is None:
        fitted = {
            str(key): _quantile(ranked[train & (keys == key)], node.fraction, name)
            for key in np.unique(keys[train])
        }
        if not fitted:
            raise DataError(
                f"target `{name}`: no training rows to fit the quantile on",
                where=f"target.{name}",
                fix="look at `among`, the cohort and the split (verb `plan`)",
            )
        state = LabelState("binary", quantiles=fitted)
    bounds = np.empty(len(values))
    for key in np.unique(keys):
        # a cutoff without training rows takes the quantile of the latest one before it (or the first)
        before = [known for known in state.quantiles if known <= key]
        bounds[keys == key] = state.quantiles[max(before) if before else min(state.quantiles)]
    return ranked >= bounds, state


def _settled(values: np.ndarray) -> np.ndarray:
    """Values to ten significant digits: in the last ones, parallel sums differ from run to run."""
    sizes = np.abs(values)
    found = np.isfinite(sizes) & (sizes > 0)
    scale = np.ones_like(values)
    scale[found] = 10.0 ** (9 - np.floor(np.log10(sizes[found])))
    return np.where(found & np.isfinite(scale), np.round(values * scale) / scale, values)


def _quantile(ranked: np.ndarray, fraction: float, name: str) -> float:
    """The value from which on rows are at the top, among rows ranked by it (-inf: nothing to rank)."""
    descending = np.sort(ranked)[::-1]
    if descending[0] == -np.inf:
        raise DataError(
            f"target `{name}`: no training row has a value to rank",
            where=f"target.{name}.of",
            fix="another measure, or `among` the rows that have one",
        )
    if descending[0] == descending[-1]:
        raise DataError(
            f"target `{name}`: all {len(descending):,} training rows have the same value",
            where=f"target.{name}.of",
            why="no fraction of equal values is at the top",
            fix="another measure or a longer window",
        )
    size = max(int(fraction * len(descending) + 1e-9), 1)
    value = descending[size - 1]
    if value == descending[-1]:
        value = descending[descending > value][-1]
    return float(value)


def _named(
    node: Any, target: CompiledTarget, values: np.ndarray, train: np.ndarray, state: LabelState | None
) -> tuple[np.ndarray, LabelState]:
    """Labels that are texts: declared classes, or a column's values in training rows (others have no label)."""
    if isinstance(node, ColumnTarget) and node.type == "regression":
        return values.astype(float), LabelState("regression")
    present = np.array([value is not None for value in values])
    found = sorted({value for value in values if value is not None})
    if isinstance(node, Classes):
        names = tuple(node.classes)
    elif node.type == "multiclass":
        seen = {value for value in values[train] if value is not None}
        names = state.classes if state else tuple(sorted(seen))
    else:
        positive = state.classes[0] if state else _positive(node, found, f"target.{target.name}.positive")
        y = np.where(present, values == positive, np.nan)
        return y.astype(float), LabelState("binary", (positive,))
    index = {name: float(number) for number, name in enumerate(names)}
    y = np.array([index.get(value, np.nan) if value is not None else np.nan for value in values])
    return y, LabelState("multiclass", names)


def _choices(found: list[str], wanted: str = "") -> str:
    """What to write for `positive`, or that the column asks for another type of target."""
    if not found:
        return "the column has no values at all"
    if len(found) > 20:
        return f"the column has {len(found)} values: a number is predicted with `type: regression` and no `positive`"
    return did_you_mean(wanted, found) if wanted else f"one of: {', '.join(f'`{value}`' for value in found)}"


def _positive(node: ColumnTarget, found: list[str], where: str) -> str:
    """The value of a column that means yes."""
    if node.positive is None:
        by_lower = {value.lower(): value for value in found}
        for word in ("true", "1", "1.0", "yes"):
            if word in by_lower:
                return by_lower[word]
        raise ConfigError(
            f"which value of `{node.column}` means yes is not said", where=where, fix=_choices(found)
        )
    if node.positive not in found:
        one = f"; every row that has one says `{found[0]}`" if len(found) == 1 else ""
        raise ConfigError(
            f"column `{node.column}` has no value `{node.positive}`{one}",
            where=where,
            fix=_choices(found, node.positive),
        )
    return node.positive
