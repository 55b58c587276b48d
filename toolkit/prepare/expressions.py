"""Features made of other features: SQL expressions over columns of other sets, in the same rows.

Their lineage is that of what they read, so what is refused of it is refused here; and since it is known which
feature is made of which, one may ask what a row would score if a feature had another value (`recomputed`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sqlglot import exp

from toolkit.config.features import Expressions, FeatureSet
from toolkit.data import sql
from toolkit.data.engine import Engine
from toolkit.data.sql import col
from toolkit.prepare.features import CompiledSet, Feature
from toolkit.prepare.frame import ROW, Frame, Query, filled, on_row, sub
from toolkit.prepare.measure import substitute

GIVEN = "@given"  # columns of features, while expressions over them are computed


def compile_expressions(
    name: str, node: Expressions, sets: Mapping[str, CompiledSet], frame: Frame
) -> CompiledSet:
    """A set of expressions over the frame's rows. sets: those that they may read, compiled over the same frame."""
    known = {feature.name: feature for part in sets.values() for feature in part.features}
    tree = exp.select(col(ROW, "f")).from_(sql.table(frame.name, "f"))
    found = {
        key: sql.expression(text, known, f"features.{name}.features.{key}")
        for key, text in node.features.items()
    }
    used = [
        part
        for part in sets.values()
        if any(known[c].set == part.name for e in found.values() for c in e.columns)
    ]
    values: dict[str, exp.Expression] = {}
    for number, part in enumerate(used):
        alias = f"s{number}"
        tree = tree.join(sub(part.query.tree, alias), on=on_row(alias), join_type="left")
        values |= {f.name: _as_kept(f, alias) for f in part.features}
    features = []
    for key, expression in found.items():
        value = exp.cast(exp.paren(substitute(expression, values)), "DOUBLE")
        tree = tree.select(sql.named(value, key))
        sources = frozenset(source for c in expression.columns for source in known[c].sources)
        features.append(
            Feature(
                f"{name}.{key}", name, "numeric", None, sources, "as declared", node.features[key].strip()
            )
        )
    steps = tuple(step for part in used for step in part.query.steps)
    tables = frozenset(table for part in used for table in part.query.tables)
    return CompiledSet(name, tuple(features), Query(tree, steps, tables=tables))


def _as_kept(feature: Feature, alias: str) -> exp.Expression:
    """A feature as the matrix holds it, numbers in 32 bits: so `recomputed` gives the same to the last bit."""
    value = filled(col(feature.column, alias), feature.fill)
    return value if feature.kind == "categorical" else exp.cast(exp.cast(value, "FLOAT"), "DOUBLE")


def made_of(declared: Mapping[str, FeatureSet], features: Sequence[str]) -> dict[str, sql.Expression]:
    """Feature of an expression set → its expression, which knows what it reads. features: names of all of them."""
    return {
        f"{name}.{key}": sql.expression(text, features, f"features.{name}.features.{key}")
        for name, node in declared.items()
        if isinstance(node, Expressions)
        for key, text in node.features.items()
    }


def recomputed(
    declared: Mapping[str, FeatureSet], columns: Mapping[str, Any], changed: Collection[str], engine: Engine
) -> dict[str, np.ndarray]:
    """The features of expression sets that read a changed one, anew: float32 [rows] each.

    columns: all features as in the matrix [rows], the changed ones with their new values.
    """
    stale = {n: e for n, e in made_of(declared, list(columns)).items() if e.columns & set(changed)}
    if not stale:
        return {}
    given = {
        name: _as_arrow(columns[name]) for name in sorted({c for e in stale.values() for c in e.columns})
    }
    engine.register(GIVEN, pa.table({ROW: np.arange(len(next(iter(given.values())))), **given}))
    values = [sql.named(exp.cast(exp.paren(e.of(GIVEN)), "DOUBLE"), name) for name, e in stale.items()]
    rows = engine.arrow(exp.select(*values).from_(sql.table(GIVEN)).order_by(col(ROW, GIVEN)))
    return {name: rows[name].to_numpy().astype(np.float32) for name in stale}


def _as_arrow(column: Any) -> pa.Array:
    """A column of the matrix as the expressions see it: missing is NULL."""
    if isinstance(column, pd.Categorical):
        return pa.Array.from_pandas(column).cast(pa.string())
    return pa.array(np.asarray(column, np.float64), from_pandas=True)
