"""What the leak audit looks at: a split's rows without the labels of the test, and where columns come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from toolkit.config.schema import Audit
from toolkit.config.targets import AnyOf
from toolkit.evaluation import univariate
from toolkit.models.interface import Column, Task
from toolkit.prepare.features import Feature
from toolkit.prepare.matrix import Compiled
from toolkit.prepare.measure import Source

SAMPLE = 200_000  # rows looked at


@dataclass(frozen=True)
class Finding:
    """kind: what was noticed; feature, target: where; text: why it is suspicious; answer: the recipe's."""

    kind: str
    feature: str
    target: str | None
    text: str
    value: float
    answer: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Parts:
    """The rows of a split. No labels of test rows.

    X: encoded [rows, columns]; y [rows, targets]; entity: keys [rows] (without those of the validation rows each
    of them counts as another's); cutoff: datetime64 [rows], NaT
    without a clock; levels: categorical feature → codes [training rows] and [validation rows] before
    rare levels are put together, -1 where missing.
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_valid: np.ndarray
    y_valid: np.ndarray
    X_test: np.ndarray
    entity_train: np.ndarray
    entity_test: np.ndarray
    cutoff_train: np.ndarray
    cutoff_test: np.ndarray
    levels: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    entity_valid: np.ndarray | None = None


@dataclass(frozen=True)
class Lineage:
    """Where things come from. targets: target → its (table, column) pairs; partly_known: targets whose
    measure also looks back; dated: tables with a clock; dates: date columns of tables without one;
    early: dated table → share of its rows that are stamped as known before they happened; roles: clocks
    and keys, which rows share with everything that is made of them."""

    targets: Mapping[str, frozenset[Source]] = field(default_factory=dict)
    partly_known: frozenset[str] = frozenset()
    dated: frozenset[str] = frozenset()
    dates: frozenset[Source] = frozenset()
    early: Mapping[str, float] = field(default_factory=dict)
    roles: frozenset[Source] = frozenset()


def lineage_of(compiled: Compiled) -> Lineage:
    """The lineage of what was compiled."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from toolkit.data.tables import KNOWN, TIME

    tables = compiled.tables.loaded.values()
    early = {}
    for table in tables:
        if table.spec.event_time:
            stamps = pq.read_table(table.path, columns=[KNOWN, TIME])
            early[table.name] = float(pc.mean(pc.less(stamps[KNOWN], stamps[TIME])).as_py() or 0.0)
    return Lineage(
        {name: target.sources for name, target in compiled.targets.items()},
        # Of several definitions, columns do not tell which of them looked back: those answer for nothing.
        frozenset(
            name
            for name, target in compiled.targets.items()
            if target.partly_known and not isinstance(target.node, AnyOf)
        ),
        frozenset(table.name for table in tables if table.spec.clock),
        frozenset((table.name, name) for table in tables if not table.spec.clock
                  for name, column in table.columns.items() if column.type in ("date", "timestamp")),
        early,
        frozenset((table.name, name) for table in tables
                  for name in (table.spec.clock, table.spec.event_time, table.spec.entity, *table.spec.keys) if name),
    )  # fmt: skip


@dataclass(frozen=True)
class View:
    """What every check looks at; samples and bins are made once."""

    config: Audit
    parts: Parts
    features: tuple[Feature, ...]
    columns: tuple[Column, ...]
    tasks: tuple[Task, ...]
    lineage: Lineage

    @cached_property
    def train(self) -> np.ndarray:
        return univariate.sample_rows(len(self.parts.X_train), SAMPLE)

    @cached_property
    def valid(self) -> np.ndarray:
        return univariate.sample_rows(len(self.parts.X_valid), SAMPLE)

    @cached_property
    def categorical(self) -> np.ndarray:
        return np.array([column.kind == "categorical" for column in self.columns])

    @cached_property
    def coded(self) -> tuple[univariate.Bins, np.ndarray, np.ndarray]:
        """Bins, and the sampled training and validation rows in them."""
        X_train, X_valid = self.parts.X_train[self.train], self.parts.X_valid[self.valid]
        bins = univariate.bin_columns(X_train, self.categorical)
        return bins, bins.codes(X_train), bins.codes(X_valid)

    @cached_property
    def whose_valid(self) -> np.ndarray:
        """Whose each validation row is, as a number from 0 on."""
        valid = self.parts.entity_valid
        return np.arange(len(self.parts.X_valid)) if valid is None else pd.factorize(valid)[0]

    @cached_property
    def entity(self) -> tuple[np.ndarray, np.ndarray]:
        """The same of the sampled training and validation rows."""
        return pd.factorize(self.parts.entity_train[self.train])[0], self.whose_valid[self.valid]

    def labels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """A target's labels in the sampled training and validation rows; regression: their ranks in (0, 1)."""
        y, y_valid = self.parts.y_train[self.train, index], self.parts.y_valid[self.valid, index]
        if self.tasks[index].type == "regression":  # heavy tails would hide even a copy from R²
            y, y_valid = _ranks(y), _ranks(y_valid)
        return y, y_valid

    def tables(self, column: int) -> set[str]:
        return {table for table, _ in self.features[column].sources}


def _ranks(y: np.ndarray) -> np.ndarray:
    return rankdata(y, nan_policy="omit") / (np.count_nonzero(~np.isnan(y)) + 1)


def chance(positives: float, negatives: float) -> float:
    """An AUC that chance exceeds once in a thousand: 0.5 and three standard errors (Mann & Whitney 1947).

    Of as many independent observations: entities, where rows repeat them (`either`).
    """
    if min(positives, negatives) < 1:
        return np.inf
    return 0.5 + 3 * float(np.sqrt((positives + negatives + 1) / (12 * positives * negatives)))


def distinct(codes: np.ndarray) -> int:
    """How many of the numbers from 0 on occur."""
    return int(np.count_nonzero(np.bincount(codes)))


def either(positive: np.ndarray, entity: np.ndarray) -> tuple[int, int]:
    """Entities with a positive row, and with a negative one; positive, entity (numbers from 0 on) [rows].

    An entity's rows at several cutoffs resemble each other, in the feature and in the label: they are one
    observation of either answer.
    """
    return distinct(entity[positive]), distinct(entity[~positive])


def chance_of(task: Task, y: np.ndarray, entity: np.ndarray) -> float:
    """The same for a target's labels; the rarest class decides, and for R² the number of entities."""
    if task.type == "regression":
        return 10 / max(distinct(entity), 1)
    classes = np.unique(y)
    if len(classes) < 2:
        return np.inf
    return chance(*min(either(y == label, entity) for label in classes))
