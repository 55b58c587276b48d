"""Expression features of a single row that does not name them, where it names what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sqlglot import exp

from toolkit.config.features import FeatureSet
from toolkit.data import sql
from toolkit.data.engine import Engine
from toolkit.models.encode import level_name
from toolkit.models.interface import Column
from toolkit.prepare.expressions import GIVEN, made_of

QUERY = "@made"


class Made:
    """The declared expressions, planned once. Not for several threads at once.

    reads: feature → the features that it is made of.
    """

    def __init__(self, declared: Mapping[str, FeatureSet], columns: tuple[Column, ...]) -> None:
        names = [column.name for column in columns]
        found = made_of(declared, names)
        self.reads = {name: expression.columns for name, expression in found.items()}
        used = frozenset().union(*self.reads.values())
        self.inputs = [(place, column) for place, column in enumerate(columns) if column.name in used]
        if found:
            given = exp.select(*(_typed(n, column) for n, (_, column) in enumerate(self.inputs, 1)))
            made = [sql.named(exp.cast(exp.paren(e.of(GIVEN)), "DOUBLE"), name) for name, e in found.items()]
            self.engine = Engine(threads=1, memory="1GB")
            self.engine.prepare(
                QUERY, exp.select(*made).from_(given.subquery(exp.to_identifier(GIVEN, quoted=True)))
            )

    def of(self, row: Mapping[str, Any], X: np.ndarray) -> dict[str, float | None]:
        """Feature → its value, of those that a row of features lacks and whose inputs it names.

        X: the row, encoded: float32 [1, features], which is as the matrix holds numbers.
        """
        wanted = [name for name, reads in self.reads.items() if name not in row and reads <= row.keys()]
        if not wanted:
            return {}
        cells = (
            _written(row.get(column.name) if column.kind == "categorical" else float(X[0, place]))
            for place, column in self.inputs
        )
        values = dict(zip(self.reads, self.engine.asked(QUERY, cells) or (), strict=True))
        return {name: values[name] for name in wanted}


def _typed(number: int, column: Column) -> exp.Expression:
    """A parameter as expressions see the matrix's column; a blank is missing (a NULL would have the query planned anew)."""
    cell = exp.Nullif(this=exp.Parameter(this=exp.Literal.number(number)), expression=sql.literal(""))
    return sql.named(exp.cast(cell, "VARCHAR" if column.kind == "categorical" else "DOUBLE"), column.name)


def _written(value: Any) -> str:
    if value is None or value != value:
        return ""
    return repr(value) if isinstance(value, float) else level_name(value)
