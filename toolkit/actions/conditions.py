"""Conditions of a playbook's rules, evaluated by the engine over the rows of a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from sqlglot import exp

from toolkit.config.playbook import Rules
from toolkit.data import sql
from toolkit.data.engine import Engine
from toolkit.errors import ConfigError, DataError

TABLE, AT = "rows", "@at"


def read_in(node: Rules, known: Sequence[str]) -> dict[str, list[str]]:
    """Rule with a condition → the features and columns that it reads. Raises ConfigError for one that is not admitted."""
    return {name: sorted(tree.columns) for name, tree in _admitted(node, known).items()}


def read_by(node: Rules, known: Sequence[str]) -> list[str]:
    """The features and columns that conditions read. Raises ConfigError for one that is not admitted."""
    return list(dict.fromkeys(name for names in read_in(node, known).values() for name in names))


def holding(node: Rules, cells: Mapping[str, Any], size: int) -> dict[str, np.ndarray]:
    """Rule with a condition → whether it holds [rows]; where it has no value it does not.

    cells: what conditions read, pyarrow arrays; size: their rows. Raises ConfigError for one that is no
    condition, and DataError for one that compares what cannot be compared.
    """
    found: dict[str, np.ndarray] = {}
    conditions = _admitted(node, list(cells))
    if not conditions:
        return found
    engine = Engine(threads=1)
    try:
        engine.register(TABLE, pa.table({**cells, AT: pa.array(range(size), pa.int64())}))
        for name, condition in conditions.items():
            where = f"playbook.rules.{name}.when.where"
            query = (
                exp.select(sql.named(condition.tree, "holds")).from_(sql.table(TABLE)).order_by(sql.col(AT))
            )
            try:
                column = engine.arrow(query)["holds"]
            except DataError as error:
                error.where, error.fix = where, "compare columns with values of their type"
                raise
            if not pa.types.is_boolean(column.type):
                raise ConfigError(
                    f"`{node.rules[name].when.where}` is no condition, but {column.type}", where=where,
                    fix="compare it with something, for example > 0",
                )  # fmt: skip
            found[name] = column.to_numpy(zero_copy_only=False) == True  # noqa: E712  NULL is no yes
    finally:
        engine.close()
    return found


def _admitted(node: Rules, known: Sequence[str]) -> dict[str, sql.Expression]:
    return {
        name: sql.expression(rule.when.where, known, f"playbook.rules.{name}.when.where")
        for name, rule in node.rules.items()
        if rule.when.where is not None
    }
