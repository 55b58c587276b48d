"""Triage, fitted and judged: which rows a person should look at, and why.

Fitted on validation rows: the probability from which a row is sure, and, without their labels, how far from
training rows is unlike them. Test rows are only judged by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toolkit.config.schema import Config
from toolkit.config.targets import type_of
from toolkit.config.triage import Doubt, Queue, Sure, target_of
from toolkit.data.tables import Tables
from toolkit.errors import ConfigError, did_you_mean
from toolkit.evaluation.gains import wilson
from toolkit.modalities import Column, Modalities
from toolkit.models.interface import Batch
from toolkit.prepare.features import Feature
from toolkit.prepare.matrix import Matrix
from toolkit.training.unlike import Guard

UNSURE, UNLIKE = "unsure", "unlike"
NEVER = 2.0  # a probability that no row reaches
Values = Callable[[str], np.ndarray]  # a declared column → numbers [rows], NaN is missing


@dataclass(frozen=True)
class Triage:
    """Fitted. target: whose; threshold: the least probability of a sure row; reason: where it comes from."""

    node: Queue
    target: str
    threshold: float = 0.0
    reason: str = ""
    guard: Guard | None = None

    def flags(self, probability: np.ndarray, X: np.ndarray, modalities: Modalities, values: Values) -> Flags:
        """What is to be looked at among rows. probability: [rows, classes]; X, modalities: as models see them."""
        top = probability.max(axis=1)
        causes: dict[str, np.ndarray] = {}
        if self.node.sure is not None:
            causes[UNSURE] = top < self.threshold
        numbers = {column: values(column) for column in {d.column: 0 for d in self.node.doubts.values()}}
        causes |= {name: doubtful(doubt, numbers[doubt.column]) for name, doubt in self.node.doubts.items()}
        if self.guard is not None:
            causes |= {f"{UNLIKE}: {space}": one for space, one in self.guard.unlike(X, modalities).items()}
        return Flags(causes, numbers)

    def to_dict(self) -> dict[str, Any]:
        """All but the guard."""
        return {
            "node": self.node.model_dump(mode="json"), "target": self.target, "threshold": self.threshold,
            "reason": self.reason,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, facts: dict[str, Any], guard: Guard | None) -> Triage:
        node = Queue.model_validate(facts["node"])
        return cls(node, str(facts["target"]), float(facts["threshold"]), str(facts["reason"]), guard)


@dataclass(frozen=True)
class Flags:
    """causes: name → whether a row is to be looked at for it [rows]; numbers: column → what doubts looked at [rows]."""

    causes: dict[str, np.ndarray]
    numbers: dict[str, np.ndarray]

    @property
    def queued(self) -> np.ndarray:
        """Rows with some cause [rows]."""
        return np.any(list(self.causes.values()), axis=0)

    def order(self, probability: np.ndarray) -> np.ndarray:
        """Positions of queued rows: those with most causes first, then those whose likeliest class is least likely."""
        rows = np.flatnonzero(self.queued)
        causes = np.sum(list(self.causes.values()), axis=0)[rows]
        return rows[np.lexsort((probability[rows].max(axis=1), -causes))]

    def among(self, rows: np.ndarray) -> Flags:
        """Only where a mask holds."""
        return Flags({name: holds & rows for name, holds in self.causes.items()}, self.numbers)

    def why(self, row: int) -> str:
        return "; ".join(name for name, holds in self.causes.items() if holds[row])


def doubtful(doubt: Doubt, value: np.ndarray) -> np.ndarray:
    """[rows]; value: float [rows], NaN is missing."""
    missing = np.isnan(value)
    found = missing & doubt.missing
    if doubt.under is not None:
        found |= ~missing & (value < doubt.under)
    if doubt.over is not None:
        found |= ~missing & (value > doubt.over)
    return found


# --- before anything is fitted ----------------------------------------------------------------------


def check(
    config: Config, features: Sequence[Feature], tables: Tables, labels: Collection[tuple[str, str]]
) -> None:
    """Names in `triage` that only the data decides. labels: columns that tell of a target.

    Raises ConfigError naming the nearest.
    """
    if not isinstance(config.triage, Queue):
        return
    entity = tables[tables.dataset.entity]
    hidden = {column for table, column in labels if table == entity.name}
    able = [one.name for one in features if one.kind == "numeric"]
    able += [
        name
        for name, column in entity.columns.items()
        if column.type in ("number", "integer", "boolean") and name not in hidden
    ]
    for name, doubt in config.triage.doubts.items():
        if doubt.column not in able:
            raise ConfigError(
                f"`{doubt.column}` is neither a numeric feature nor a column of numbers of table `{entity.name}`",
                where=f"triage.doubts.{name}.column",
                fix=did_you_mean(doubt.column, able),
            )


def values_of(matrix: Matrix, tables: Tables, rows: np.ndarray) -> Values:
    """Numbers of some rows (positions) by name: of a feature, else of a column of the entity table."""

    def find(name: str) -> np.ndarray:
        if name in matrix.columns:
            return np.asarray(matrix.columns[name], np.float64)[rows]
        entity = tables[tables.dataset.entity]
        key = entity.spec.keys[0]
        table = pq.read_table(entity.path, columns=[key, name])
        place = pd.Index(table[key].to_pylist()).get_indexer(matrix.entity[rows])
        cells = pc.cast(table[name].take(pa.array(place)), pa.float64())
        return cells.to_numpy().astype(np.float64)

    return find


# --- fitting ----------------------------------------------------------------------------------------


def threshold_of(sure: Sure, right: np.ndarray, top: np.ndarray) -> tuple[float, str]:
    """The least probability from which rows reach the accuracy, and where it comes from, in words.

    right: whether the likeliest class is a validation row's [rows]; top: its probability [rows]. Shown is an
    accuracy by the lower end of a binomial proportion (Clopper & Pearson 1934) at the declared certainty, as for
    a selective classifier with guaranteed risk (Geifman & El-Yaniv 2017).
    """
    from scipy.stats import beta

    if sure.probability is not None:
        return sure.probability, "as declared"
    assert sure.accuracy is not None
    wanted = f"{sure.accuracy:.1%} of sure rows right"
    order = np.argsort(-top, kind="stable")
    hits, rows = np.cumsum(right[order]), np.arange(1, len(order) + 1)
    last = np.append(np.diff(top[order]) != 0, True) if len(order) else np.zeros(0, bool)
    shown = beta.ppf(1 - sure.certainty, hits, rows - hits + 1)  # NaN where none is right
    able = np.flatnonzero(last & (shown >= sure.accuracy))
    if not len(able):
        short = f"{len(order):,} validation rows do not show {wanted}, with {sure.certainty:.0%} certainty, at any probability"
        few = math.ceil(math.log(1 - sure.certainty) / math.log(sure.accuracy)) if sure.accuracy < 1 else 0
        least = f" ({few:,} could, all of them right)" if len(order) < few else ""
        return NEVER, f"{short}{least}: no row is sure"
    at = able[-1]
    return float(top[order][at]), (
        f"{wanted}, with {sure.certainty:.0%} certainty: shown by {int(hits[at]):,} of {int(rows[at]):,} validation rows"
    )


def fit(
    config: Config, target: str, y: np.ndarray, probability: np.ndarray, train: Batch, valid: Batch, place: int,
    columns: Sequence[Column],
) -> Triage:  # fmt: skip
    """y: labels of validation rows [rows], NaN is none; probability: the chosen model's, by a calibrator that has
    not seen the row [rows, classes]; train, valid: as models see them; place: of the target in `train.y`.
    """
    node = config.triage
    assert isinstance(node, Queue)
    threshold, reason, guard, has = 0.0, "", None, ~np.isnan(y)
    if node.sure is not None:
        right = probability[has].argmax(axis=1) == y[has]
        threshold, reason = threshold_of(node.sure, right, probability[has].max(axis=1))
    if node.unlike is not None:
        known = (train.X, train.modalities, train.y[:, place])
        guard = Guard.fit(node.unlike, columns, known, (valid.X, valid.modalities), config.seed)
    return Triage(node, target, threshold, reason, guard)


def declared(config: Config) -> str | None:
    """The target whose rows are queued, if any are."""
    if not isinstance(config.triage, Queue):
        return None
    return target_of(config.triage, {name: type_of(node) for name, node in config.target.items()})


# --- on test rows -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """So many of so many rows, and the 95 % interval of the share (Wilson)."""

    hits: int
    rows: int
    interval: tuple[float, float]

    @classmethod
    def of(cls, which: np.ndarray) -> Share:
        low, high = wilson(np.array([which.sum()]), np.array([len(which)]))
        return cls(int(which.sum()), len(which), (float(low[0]), float(high[0])))

    @property
    def value(self) -> float:
        return self.hits / self.rows if self.rows else float("nan")


@dataclass(frozen=True)
class Judged:
    """What triage is worth on the test. queued: of all rows; causes: name → rows that have it;

    right: of all labelled rows, of those that are left to the model, and of those that are queued, how many get
    their class; unlike: rows that the guard calls unlike, of labelled ones, whose kind is known: false alarms.
    """

    target: str
    threshold: float
    reason: str
    queued: Share
    causes: dict[str, int]
    right: dict[str, Share]
    unlike: Share | None
    flags: Flags = field(repr=False, compare=False)

    def figures(self) -> dict[str, Any]:
        """For metrics.json."""

        def told(share: Share) -> dict[str, Any]:
            return {
                "hits": share.hits,
                "rows": share.rows,
                "share": share.value,
                "interval_95": share.interval,
            }

        return {
            "target": self.target, "threshold": self.threshold, "reason": self.reason, "queued": told(self.queued),
            "causes": self.causes, "accuracy": {name: told(one) for name, one in self.right.items()},
            "false_alarms": self.unlike and told(self.unlike),
        }  # fmt: skip


def judge(triage: Triage, flags: Flags, y: np.ndarray, decision: np.ndarray) -> Judged:
    """y: labels of test rows [rows], NaN is none; decision: the decided class [rows]."""
    has, queued = ~np.isnan(y), flags.queued
    right = decision == y
    parts = {"all": has, "left to the model": has & ~queued, "queued": has & queued}
    alarms = [one for name, one in flags.causes.items() if name.startswith(UNLIKE)]
    return Judged(
        triage.target, triage.threshold, triage.reason, Share.of(queued),
        {name: int(one.sum()) for name, one in flags.causes.items()},
        {name: Share.of(right[rows]) for name, rows in parts.items()},
        Share.of(np.any(alarms, axis=0)[has]) if alarms else None, flags,
    )  # fmt: skip
