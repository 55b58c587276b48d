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

from toolkit.config.measures import (
    Aggregate,
    Classes,
    ColumnTarget,
    Combined,
    EventWithin,
    Inactivity,
    Measure,
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
from toolkit.errors import ConfigError, DataError
from toolkit.prepare.cohort import filtered, target_frame
from toolkit.prepare.measure import (
    ENTITY,
    ROW,
    Frame,
    Query,
    Source,
    joined_terms,
    measure,
    merged,
    need_column,
    need_table,
    substitute,
)


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
    partly_known: bool
    horizon: Span | None


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


def tables_of(node: Any) -> set[str]:
    """Tables that a target or measure names, at any depth; relations are resolved by the caller."""
    found: set[str] = set()
    if hasattr(node, "model_fields_set") or hasattr(node, "__pydantic_fields__"):
        for key in type(node).model_fields:
            value = getattr(node, key)
            if key == "table" and isinstance(value, str):
                found.add(value)
            else:
                found |= tables_of(value)
    elif isinstance(node, dict):
        for value in node.values():
            found |= tables_of(value)
    elif isinstance(node, list | tuple):
        for value in node:
            found |= tables_of(value)
    return found


def compile_target(name: str, node: Target, tables: Tables, engine: Engine) -> CompiledTarget:
    """A target's query over the cohort. Keeps the frames that it looks from."""
    where = f"target.{name}"
    horizon = horizon_of(node)
    eligible = None
    if node.among:
        rows = exp.select(col(ROW, "f")).from_(sql.table("@cohort", "f"))
        eligible = filtered(rows, node.among, Frame("@cohort"), tables, f"{where}.among")
    if isinstance(node, ColumnTarget):
        query = _column(node, tables, where)
        return CompiledTarget(
            name, node, node.type, query, None, query.sources["value"], eligible, False, None
        )
    for table in sorted(tables_of(node.model_copy(update={"among": []}))):
        if not need_table(tables, table, where).spec.clock:
            raise ConfigError(
                f"target `{name}` looks at table `{table}`, which has no clock",
                where=where,
                fix=f"declare `clock` for table `{table}`: a horizon needs to know when things happened",
            )
    frame = target_frame(horizon, getattr(node, "at", "horizon_end"), engine)
    kind, partly = "binary", False
    if isinstance(node, EventWithin | Inactivity):
        of = Aggregate(table=node.table, agg="count", where=node.where, window="horizon")
        query = measure(of, frame, tables, where)
    elif isinstance(node, Classes):
        query, kind = _classes(node, frame, tables, where), "multiclass"
        partly = any(_looks_back(term) for term in node.terms.values())
    else:
        query = measure(node.of, frame, tables, f"{where}.of")
        kind = "regression" if isinstance(node, Value) else "binary"
        partly = _looks_back(node.of)
    sources = frozenset(source for part in query.sources.values() for source in part)
    return CompiledTarget(name, node, kind, query, query.fills["value"], sources, eligible, partly, horizon)


def _looks_back(node: Measure) -> bool:
    """Is part of the measure known at the cutoff already?"""
    if isinstance(node, Aggregate):
        return node.window != "horizon"
    if isinstance(node, Combined):
        return any(_looks_back(term) for term in node.terms.values())
    return True  # the neighbours are those known at the cutoff


def _column(node: ColumnTarget, tables: Tables, where: str) -> Query:
    entity = tables[tables.dataset.entity]
    need_column(entity, node.column, f"{where}.column")
    if node.positive is not None and node.type != "binary":
        raise ConfigError("`positive` goes with `type: binary`", where=f"{where}.positive")
    value: exp.Expression = col(node.column, "t")
    value = exp.cast(value, "DOUBLE") if node.type == "regression" else exp.cast(value, "VARCHAR")
    tree = exp.select(col(ROW, "f"), sql.named(value, "value")).from_(sql.table("@cohort", "f")).join(
        sql.table(entity.name, "t"), on=exp.EQ(this=col(entity.spec.keys[0], "t"), expression=col(ENTITY, "f")),
        join_type="inner",
    )  # fmt: skip
    sources = frozenset(entity.sources({node.column}))
    return Query(tree, (), {"value": None}, {"value": sources}, frozenset({entity.name}))


def _classes(node: Classes, frame: Frame, tables: Tables, where: str) -> Query:
    tree, values, queries = joined_terms(node.terms, frame, tables, f"{where}.terms")
    case = exp.Case()
    for name, condition in node.classes.items():
        admitted = sql.expression(condition, node.terms, f"{where}.classes.{name}")
        case = case.when(substitute(admitted, values), sql.literal(name))
    steps, sources, used = merged(queries)
    tree = tree.select(col(ROW, "f"), sql.named(case, "value"))
    return Query(tree, steps, {"value": None}, {"value": sources}, used)


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
    if isinstance(node, ThresholdTarget):
        compare: Callable[..., Any] = {
            ">=": np.greater_equal,
            ">": np.greater,
            "<=": np.less_equal,
            "<": np.less,
        }[node.op]
        return compare(values, node.value) & ~np.isnan(values), LabelState("binary")
    if isinstance(node, Value):
        if node.transform == "log1p" and np.nanmin(values, initial=0.0) <= -1:
            raise DataError(
                f"target `{target.name}`: log1p of values at or below -1",
                where=f"target.{target.name}.transform",
            )
        return np.log1p(values) if node.transform == "log1p" else values, LabelState("regression")
    if isinstance(node, TopFraction):
        return _top(node, target.name, values, cutoffs, train & eligible, state)
    return _named(node, target, values, state)


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
    ranked = np.where(np.isnan(values), -np.inf, sign * values)
    keys = (
        np.array(["pooled"] * len(values))
        if node.fit == "pooled"
        else cutoffs.astype("datetime64[s]").astype(str)
    )
    if state is None:
        quantiles = {}
        for key in np.unique(keys[train]):
            rows = np.sort(ranked[train & (keys == key)])[::-1]
            if not len(rows) or rows[0] == -np.inf:
                raise DataError(
                    f"target `{name}`: no training row has a value to rank", where=f"target.{name}.of"
                )
            quantiles[str(key)] = float(_quantile(rows, node.fraction))
        if not quantiles:
            raise DataError(
                f"target `{name}`: no training rows to fit the quantile on", where=f"target.{name}"
            )
        state = LabelState("binary", quantiles=quantiles)
    bounds = np.empty(len(values))
    for key in np.unique(keys):
        # a cutoff without training rows takes the quantile of the latest one before it (or the first)
        known = [k for k in sorted(state.quantiles) if k <= key] or sorted(state.quantiles)
        bounds[keys == key] = state.quantiles[known[-1] if known[-1] <= key else known[0]]
    return ranked >= bounds, state


def _quantile(descending: np.ndarray, fraction: float) -> float:
    value = descending[max(int(np.floor(fraction * len(descending))), 1) - 1]
    if value == descending[-1]:
        above = descending[descending > value]
        value = above[-1] if len(above) else value
    return value


def _named(
    node: Any, target: CompiledTarget, values: np.ndarray, state: LabelState | None
) -> tuple[np.ndarray, LabelState]:
    """Labels that are texts: a column's values, or declared classes."""
    if isinstance(node, ColumnTarget) and node.type == "regression":
        return values.astype(float), LabelState("regression")
    present = np.array([value is not None for value in values])
    found = sorted({value for value in values if value is not None})
    where = f"target.{target.name}"
    if isinstance(node, Classes):
        names = tuple(node.classes)
    elif node.type == "multiclass":
        names = state.classes if state else tuple(found)
    else:
        positive = node.positive
        if positive is None:
            known = {value.lower(): value for value in found}
            positive = next((known[v] for v in ("true", "1", "1.0", "yes") if v in known), None)
        if positive not in found and state is None:
            raise ConfigError(
                f"column `{node.column}` has no value `{node.positive}`"
                if node.positive
                else f"which value of `{node.column}` means yes is not said",
                where=f"{where}.positive",
                fix=f"one of: {', '.join(found[:12])}",
            )
        y = np.where(present, values == positive, np.nan)
        return y.astype(float), LabelState("binary", (str(positive),))
    index = {name: float(number) for number, name in enumerate(names)}
    y = np.array([index.get(value, np.nan) if value is not None else np.nan for value in values])
    return y, LabelState("multiclass", names)
