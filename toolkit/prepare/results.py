"""Queries to arrays: each result is a Parquet file, found or made, and its rows are put in their places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlglot import exp

from toolkit.data import sql
from toolkit.data.cache import Cache
from toolkit.data.engine import Engine
from toolkit.data.tables import Tables
from toolkit.errors import DataError
from toolkit.prepare.features import Feature
from toolkit.prepare.frame import ROW, Query


@dataclass(frozen=True)
class Results:
    """Where results are found or made. frame: what the frame's rows are made from, for the entries' names."""

    frame: Any
    tables: Tables
    engine: Engine
    cache: Cache

    def of(self, kind: str, query: Query, label: str) -> Path:
        """The query's rows as Parquet, found or made. Its text stands for the declaration."""
        material = {
            "query": stable_text(query),
            "cohort": self.frame,
            "tables": self.tables.fingerprints(set(query.tables), columns_of(query)),
        }

        def make(folder: Path) -> None:
            try:
                for name, step in query.steps:
                    self.engine.keep(name, step)
                self.engine.write(query.tree, folder / "values.parquet")
            except (
                DataError
            ) as error:  # an expression that some value does not fit: say which declaration it is
                error.where = error.where or f"{'target' if kind == 'targets' else kind}.{label}"
                raise
            finally:
                for name, _ in query.steps:
                    self.engine.drop(name)

        return self.cache.entry(kind, material, make, label) / "values.parquet"


def columns_of(query: Query) -> set[str]:
    """Names of all columns that a query mentions, in whatever table, in small letters."""
    return mentioned([*(tree for _, tree in query.steps), query.tree])


def mentioned(trees: Iterable[exp.Expression]) -> set[str]:
    return {column.name.lower() for tree in trees for column in tree.find_all(exp.Column)}


def stable_text(query: Query) -> str:
    """The query as text with the numbers of its kept tables counted from one."""
    text = "\n".join([*(f"{name}: {sql.render(tree)}" for name, tree in query.steps), sql.render(query.tree)])
    for number, (name, _) in enumerate(query.steps):
        text = text.replace(f'"{name}"', f'"step {number}"').replace(f"{name}:", f"step {number}:")
    return text


def columns(path: Path, features: Sequence[Feature], rows: int) -> dict[str, Any]:
    """Columns of a result, whose rows come in any order: feature → float32 [rows] or pandas Categorical [rows]."""
    table = pq.read_table(path)
    at = table[ROW].to_numpy()
    found: dict[str, Any] = {}
    for feature in features:
        column = table[feature.column]
        if feature.kind == "categorical":
            coded = pc.dictionary_encode(column.cast(pa.string())).combine_chunks()
            codes = np.full(rows, -1, np.int32)
            codes[at] = coded.indices.fill_null(-1).to_numpy()
            found[feature.name] = pd.Categorical.from_codes(codes, categories=coded.dictionary.to_pandas())
            continue
        full = np.full(rows, np.nan if feature.fill is None else feature.fill, np.float32)
        full[at] = column.cast(pa.float64()).to_numpy().astype(np.float32)
        found[feature.name] = full
    return found


def raw_values(table: pa.Table, name: str, fill: float | None, rows: int) -> np.ndarray:
    """A column of a result, whose rows come in any order: float64 or texts [rows]."""
    at, column = table[ROW].to_numpy(), table[name]
    if (
        pa.types.is_string(column.type)
        or pa.types.is_large_string(column.type)
        or pa.types.is_null(column.type)
    ):
        texts = np.full(rows, None, object)
        texts[at] = column.to_numpy(zero_copy_only=False)
        return texts
    values = np.full(rows, np.nan if fill is None else fill)
    values[at] = column.cast(pa.float64()).to_numpy()
    return values


def eligible(query: exp.Select | None, engine: Engine, rows: int) -> np.ndarray:
    """Which rows a target applies to [rows], from the query for them (`targets.applies_to`)."""
    if query is None:
        return np.ones(rows, bool)
    mask = np.zeros(rows, bool)
    mask[engine.arrow(query)[ROW].to_numpy()] = True
    return mask
