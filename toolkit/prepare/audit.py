"""The leak audit: what looks too good to be known at the cutoff, named with the reason.

It looks at the encoded training and validation rows and at the features (never the labels) of the
test rows. A finding is a question to the modeller, not a verdict: a recipe answers by name
(`audit.acknowledge`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from toolkit.config.schema import Audit
from toolkit.errors import ConfigError, LeakError, did_you_mean
from toolkit.evaluation import univariate
from toolkit.models.interface import Column, Task
from toolkit.prepare.features import Feature

SAMPLE = 200_000
STANDS_OUT = 1.6  # a column this much further from 0.5 than the next unrelated one stands out
NOTABLE = 0.75
MISSING_AUC = 0.65
JUMP = 0.9
TWIN_SHARE, TWIN_GROUP = 0.02, 5


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
    """Encoded rows: X [rows, columns] and y [rows, targets] (y of test rows is not here), entity keys [rows]."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_valid: np.ndarray
    y_valid: np.ndarray
    X_test: np.ndarray
    entity_train: np.ndarray
    entity_test: np.ndarray


def audit(
    config: Audit,
    parts: Parts,
    features: Sequence[Feature],
    columns: Sequence[Column],
    tasks: Sequence[Task],
    partly_known: Mapping[str, frozenset[tuple[str, str]]],
    ids: frozenset[str] = frozenset(),
) -> list[Finding]:
    """Every suspicion. Raises LeakError if one is unanswered and the recipe refuses findings.

    partly_known: targets that are partly known at the cutoff → their sources, which may predict them
    well; ids: text features with (nearly) as many levels as rows, found before encoding.
    """
    names = {feature.name for feature in features}
    for name in config.acknowledge:
        if name not in names | {"@key", "@twins"}:
            raise ConfigError(
                f"`audit.acknowledge` names `{name}`, which is not a feature",
                where=f"audit.acknowledge.{name}",
                fix=did_you_mean(name, names),
            )
    findings = [
        *_single(config, parts, features, columns, tasks, partly_known), *_ids(parts, features, columns, ids),
        *_keys(parts, tasks), *_missing(parts, features, tasks), *_jumps(parts, features, columns), *_twins(parts),
    ]  # fmt: skip
    answered = [
        Finding(**(finding.to_dict() | {"answer": config.acknowledge[finding.feature]}))
        if finding.feature in config.acknowledge else finding
        for finding in findings
    ]  # fmt: skip
    open_ones = [finding for finding in answered if finding.answer is None]
    if open_ones and config.on_finding == "refuse":
        raise LeakError(
            f"the leak audit has {len(open_ones)} findings",
            where=open_ones[0].feature,
            why="; ".join(finding.text for finding in open_ones[:5]),
            fix="leave the column out, or answer in the recipe: audit: {acknowledge: {<feature>: <why it is no leak>}}",
        )
    return answered


def _single(
    config: Audit,
    parts: Parts,
    features: Sequence[Feature],
    columns: Sequence[Column],
    tasks: Sequence[Task],
    partly_known: Mapping[str, frozenset[tuple[str, str]]],
) -> list[Finding]:
    """One column alone predicts the target suspiciously well."""
    train, valid = _sampled(len(parts.X_train)), _sampled(len(parts.X_valid))
    bins = univariate.bin_columns(parts.X_train[train], _categorical(columns))
    codes_train, codes_valid = bins.codes(parts.X_train[train]), bins.codes(parts.X_valid[valid])
    found = []
    for index, task in enumerate(tasks):
        if task.type == "regression":
            continue
        y_train, y_valid = parts.y_train[train, index], parts.y_valid[valid, index]
        has, has_valid = ~np.isnan(y_train), ~np.isnan(y_valid)
        table = univariate.tables(bins, codes_train[has], y_train[has], task.type)
        auc = univariate.strength(table, codes_valid[has_valid], y_valid[has_valid])
        auc = np.where(np.isnan(auc), 0.5, auc)
        for column in np.flatnonzero(auc >= NOTABLE):
            feature = features[column]
            own = feature.sources
            others = [auc[i] for i, other in enumerate(features) if i != column and not (other.sources & own)]
            best = max(others, default=0.5)
            stands_out = auc[column] - 0.5 >= STANDS_OUT * max(best - 0.5, 0.05)
            if auc[column] < config.single_column_auc and not stands_out:
                continue
            text = f"`{feature.name}` alone predicts `{task.name}` with an AUC of {auc[column]:.3f}"
            if stands_out:
                text += f"; the next unrelated column reaches {best:.3f}"
            known = partly_known.get(task.name, frozenset()) & own
            answer = "the target is partly known at the cutoff, through the same column" if known else None
            found.append(
                Finding(
                    "single column",
                    feature.name,
                    task.name,
                    f"{text}: is it known at the cutoff?",
                    float(auc[column]),
                    answer,
                )
            )
    return found


def _categorical(columns: Sequence[Column]) -> np.ndarray:
    return np.array([column.kind == "categorical" for column in columns])


def _sampled(rows: int) -> np.ndarray:
    return univariate.sample_rows(rows, SAMPLE)


def _ids(
    parts: Parts, features: Sequence[Feature], columns: Sequence[Column], ids: frozenset[str]
) -> list[Finding]:
    """A column that numbers the rows: it can only be learnt by heart, or sorts by what it should not know."""
    found = [
        Finding(
            "id",
            name,
            None,
            f"`{name}` has nearly as many levels as there are rows: it is an id, not an attribute",
            1.0,
        )
        for name in sorted(ids)
    ]
    rows = len(parts.X_train)
    if rows < 100:
        return found
    for index, (feature, column) in enumerate(zip(features, columns, strict=True)):
        values = parts.X_train[:, index]
        if column.kind == "categorical" or np.isnan(values[:1000]).any() or (values[:1000] % 1).any():
            continue
        distinct = np.unique(values[~np.isnan(values)])
        spread = distinct[-1] - distinct[0] + 1 if len(distinct) else np.inf
        if len(distinct) >= 0.95 * rows and spread <= 20 * rows and not (distinct % 1).any():
            found.append(
                Finding(
                    "id",
                    feature.name,
                    None,
                    f"`{feature.name}` takes another whole number in nearly every "
                    "row: it is an id, and its order may follow the label",
                    len(distinct) / rows,
                )
            )
    return found


def _keys(parts: Parts, tasks: Sequence[Task]) -> list[Finding]:
    """The order of the keys themselves tells the label: ids were dealt by outcome."""
    order = pd.to_numeric(pd.Series(parts.entity_train), errors="coerce")
    rank = (order if order.notna().all() else pd.Series(parts.entity_train)).rank().to_numpy()
    found = []
    for index, task in enumerate(tasks):
        y = parts.y_train[:, index]
        has = ~np.isnan(y)
        if task.type != "binary" or has.sum() < 100 or len(np.unique(y[has])) < 2:
            continue
        column = rank[has].astype(np.float32)[:, None]
        half = np.arange(len(column)) % 2 == 0
        bins = univariate.bin_columns(column[half])
        table = univariate.tables(bins, bins.codes(column[half]), y[has][half], "binary")
        auc = float(univariate.strength(table, bins.codes(column[~half]), y[has][~half])[0])
        if auc >= 0.7:
            found.append(
                Finding(
                    "key",
                    "@key",
                    task.name,
                    f"the order of the entity keys predicts `{task.name}` with an AUC "
                    f"of {auc:.3f}: keys were dealt by outcome, so anything that follows them leaks",
                    auc,
                )
            )
    return found


def _missing(parts: Parts, features: Sequence[Feature], tasks: Sequence[Task]) -> list[Finding]:
    """Whether a value is missing tells the label."""
    train, valid = _sampled(len(parts.X_train)), _sampled(len(parts.X_valid))
    gone, gone_valid = np.isnan(parts.X_train[train]), np.isnan(parts.X_valid[valid])
    share = gone.mean(axis=0)
    candidates = np.flatnonzero((share > 0.001) & (share < 0.999))
    found = []
    for index, task in enumerate(tasks):
        if task.type != "binary":
            continue
        y, y_valid = parts.y_train[train, index], parts.y_valid[valid, index]
        has, has_valid = ~np.isnan(y), ~np.isnan(y_valid)
        base = y[has].mean() if has.any() else np.nan
        for column in candidates:
            missing, v_missing = gone[has, column], gone_valid[has_valid, column]
            auc = abs(_indicator_auc(v_missing, y_valid[has_valid] == 1) - 0.5) + 0.5
            count = int(missing.sum())
            rate = float(y[has][missing].mean()) if count else np.nan
            pure = count >= 50 and (rate == 1.0 or rate == 0.0) and min(base, 1 - base) * count >= 10
            # Missing because nothing ever happened is what recency and means of rare events look like.
            if features[int(column)].window not in ("always", "latest"):
                pure, auc = False, auc if auc >= JUMP else 0.5
            if auc >= MISSING_AUC or pure:
                found.append(Finding(
                    "missingness", features[int(column)].name, task.name,
                    f"whether `{features[int(column)].name}` is missing tells `{task.name}`: {rate:.1%} positive where it is "
                    f"missing, {base:.1%} overall; is it filled in after the fact?", float(auc)))  # fmt: skip
    return found


def _indicator_auc(indicator: np.ndarray, positive: np.ndarray) -> float:
    if positive.all() or not positive.any():
        return 0.5
    return 0.5 + 0.5 * float(indicator[positive].mean() - indicator[~positive].mean())


def _jumps(parts: Parts, features: Sequence[Feature], columns: Sequence[Column]) -> list[Finding]:
    """A column takes other values in the test rows than in the training rows."""
    rows = min(len(parts.X_train), len(parts.X_test), 50_000)
    train = univariate.sample_rows(len(parts.X_train), rows)
    test = univariate.sample_rows(len(parts.X_test), rows)
    X = np.concatenate([parts.X_train[train], parts.X_test[test]])
    side = np.repeat([0.0, 1.0], [len(train), len(test)])
    fit = np.arange(len(X)) % 2 == 0
    bins = univariate.bin_columns(X[fit], _categorical(columns))
    table = univariate.tables(bins, bins.codes(X[fit]), side[fit], "binary")
    auc = univariate.strength(table, bins.codes(X[~fit]), side[~fit])
    return [
        Finding("jump", features[c].name, None, f"`{features[c].name}` tells training from test rows with an AUC of "
                f"{auc[c]:.3f}: its distribution jumps between the splits", float(auc[c]))
        for c in np.flatnonzero(np.nan_to_num(auc, nan=0.5) >= JUMP)
    ]  # fmt: skip


def _twins(parts: Parts) -> list[Finding]:
    """Rows of different entities that are the same in every feature, on both sides of the split.

    Large groups of equal rows (nothing ever happened to any of them) are no twins.
    """
    varying = np.flatnonzero((parts.X_train[:1000] != parts.X_train[:1]).any(axis=0))
    if len(varying) < 3:
        return []
    train, test = _row_hash(parts.X_train[:, varying]), _row_hash(parts.X_test[:, varying])
    groups = pd.Series(np.concatenate([train, test])).value_counts()
    small = groups.index[groups <= TWIN_GROUP]
    first = pd.Series(parts.entity_train, index=train)
    first = first[~first.index.duplicated()]
    shared = np.isin(test, train) & np.isin(test, small)
    other = shared.copy()
    other[shared] = first.loc[test[shared]].to_numpy() != parts.entity_test[shared]
    share = float(other.mean()) if len(other) else 0.0
    if share < TWIN_SHARE or other.sum() < 10:
        return []
    return [Finding("twins", "@twins", None, f"{int(other.sum()):,} of {len(test):,} test rows ({share:.1%}) equal a training "
                    "row of another entity in every feature: the same case stands on both sides of the split", share)]  # fmt: skip


def _row_hash(X: np.ndarray) -> np.ndarray:
    """A 64-bit hash of each row [rows]."""
    total = np.zeros(len(X), np.uint64)
    bits = np.ascontiguousarray(X).view(np.uint32)
    for column in range(bits.shape[1]):
        total = (total ^ bits[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        total ^= total >> np.uint64(29)
    return total
