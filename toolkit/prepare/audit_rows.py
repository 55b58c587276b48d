"""What the leak audit looks for in rows and keys: ids, keys dealt by outcome, jumps, twins, early stamps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from toolkit.evaluation import univariate
from toolkit.prepare.audit_view import SAMPLE, Finding, View, chance, either

KEY_AUC = 0.7
ID_ROWS = 300  # below this a column of whole numbers may be free of repeats by chance
JUMP, JUMP_UNSEEN = (
    0.75,
    0.9,
)  # AUC of telling test from training rows; where no drift is known to compare with
DRIFT = 0.1  # how much more than between training cutoffs
TWIN_SHARE, TWIN_ROWS, TWIN_GROUP = 0.02, 10, 5


def ids(view: View) -> Iterator[Finding]:
    """A column that numbers the entities: it can only be learnt by heart, or sorts by what it should not know."""
    first = np.unique(view.parts.entity_train, return_index=True)[1]  # an entity has a row per cutoff
    for index, (feature, column) in enumerate(zip(view.features, view.columns, strict=True)):
        if feature.window not in ("always", "latest"):
            continue
        if column.kind == "categorical":
            codes = view.parts.levels.get(feature.name, (np.empty(0, int),))[0]
            present = codes[first][codes[first] >= 0] if len(codes) else codes
            distinct = len(np.unique(present))
            if len(present) >= 100 and distinct >= 0.9 * len(present):
                yield Finding("id", feature.name, None, f"`{feature.name}` has {distinct:,} levels in {len(present):,} training rows: "
                              "it is an id or free text, not an attribute", distinct / len(present))  # fmt: skip
            continue
        values = view.parts.X_train[first, index]
        head = values[:1000]
        if (
            len(values) < ID_ROWS
            or np.isnan(head).any()
            or (head % 1).any()
            or len(np.unique(head)) < len(head)
        ):
            continue
        values = np.unique(values[~np.isnan(values)])
        if (
            len(values) >= 0.999 * len(first)
            and values[-1] - values[0] < 20 * len(first)
            and not (values % 1).any()
        ):
            yield Finding("id", feature.name, None, f"`{feature.name}` takes another whole number for nearly every entity: it is an "
                          "id, and its order may follow the label", len(values) / len(first))  # fmt: skip


def keys(view: View) -> Iterator[Finding]:
    """The keys themselves tell the label, by their order or their last character: they were dealt by outcome."""
    rows = univariate.sample_rows(len(view.parts.entity_train), SAMPLE)
    entity = pd.Series(view.parts.entity_train[rows]).astype(str)
    X = np.column_stack([_order(entity), pd.factorize(entity.str[-1])[0]]).astype(np.float32)
    whose = pd.factorize(entity)[0]
    half = (np.random.default_rng(0).random(len(X)) < 0.5)[whose]  # an entity's rows stay together
    bins = univariate.bin_columns(X[half], [False, True])
    codes = bins.codes(X)
    for index, task in enumerate(view.tasks):
        y = view.parts.y_train[rows, index]
        fit, judge = half & ~np.isnan(y), ~half & ~np.isnan(y)
        if task.type != "binary" or not fit.any():
            continue
        table = univariate.tables(bins, codes[fit], y[fit], "binary")
        auc = np.nan_to_num(univariate.strength(table, codes[judge], y[judge]))
        if auc.max() >= max(KEY_AUC, chance(*either(y[judge] == 1, whose[judge]))):
            what = "order" if auc[0] >= auc[1] else "last character"
            yield Finding("key", "@key", task.name, f"the {what} of the entity keys predicts `{task.name}` with an AUC of {auc.max():.3f}: "
                          "keys were dealt by outcome or in time, so anything that follows them leaks", float(auc.max()))  # fmt: skip


def _order(entity: pd.Series) -> np.ndarray:
    """The rank of keys [rows]: by their number if they are a number behind one common prefix, else as text."""
    parts = entity.str.extract(r"^(.*?)(\d{1,15})$")
    numbered = parts[1].notna().all() and parts[0].nunique() == 1
    return (parts[1].astype(float) if numbered else entity).rank(method="dense").to_numpy()


def jumps(view: View) -> Iterator[Finding]:
    """A column takes other values in the test rows than in the training rows.

    What grows with every cutoff (a tenure, a lifetime total) drifts: the step from the last training
    cutoff to the test is compared with the steps between the training cutoffs.
    """
    parts = view.parts
    moments = np.unique(parts.cutoff_train[~np.isnat(parts.cutoff_train)])
    made = np.array([bool(feature.sources) for feature in view.features], bool)  # not of the cutoff alone
    test = univariate.sample_rows(len(parts.X_test), 25_000)
    if len(moments):  # the first test cutoff is the next step
        test = np.flatnonzero(parts.cutoff_test == parts.cutoff_test.min())
        test = test[univariate.sample_rows(len(test), 25_000)]

    def at(moment: np.datetime64 | None) -> np.ndarray:
        rows = (
            np.arange(len(parts.X_train)) if moment is None else np.flatnonzero(parts.cutoff_train == moment)
        )
        return parts.X_train[rows[univariate.sample_rows(len(rows), 25_000)]]

    steps = [at(moment) for moment in moments[-3:]] or [at(None)]
    auc = _told_apart(view, steps[-1], parts.X_test[test])
    drift = [_told_apart(view, before, after) for before, after in pairwise(steps)]
    if drift:
        limit = np.maximum(JUMP, np.max(drift, axis=0) + DRIFT)
    else:
        limit = np.full(len(auc), JUMP_UNSEEN if len(moments) else JUMP)
    limit = np.maximum(limit, chance(len(steps[-1]) / 2, len(test) / 2))
    for column in np.flatnonzero((auc >= limit) & made):
        name = view.features[column].name
        known = f" (between training cutoffs {np.max(drift, axis=0)[column]:.3f})" if drift else ""
        yield Finding("jump", name, None, f"`{name}` tells training from test rows with an AUC of {auc[column]:.3f}{known}: its "
                      "distribution jumps between the splits", float(auc[column]))  # fmt: skip


def _told_apart(view: View, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How well each column tells two sets of rows apart: AUC [columns] on a half that it did not learn from."""
    X = np.concatenate([before, after])
    side = np.repeat([0.0, 1.0], [len(before), len(after)])
    half = np.random.default_rng(0).random(len(X)) < 0.5
    bins = univariate.bin_columns(X[half], view.categorical)
    table = univariate.tables(bins, bins.codes(X[half]), side[half], "binary")
    return np.nan_to_num(univariate.strength(table, bins.codes(X[~half]), side[~half]), nan=0.5)


def twins(view: View) -> Iterator[Finding]:
    """Test rows that equal a training row of another entity in every feature: the same case on both sides.

    Large groups of equal rows (nothing ever happened to any of them) are no twins, and where columns
    are few and coarse, rows meet by chance: as often as with every column shuffled by itself.
    """
    parts = view.parts
    X = parts.X_train
    varying = np.flatnonzero([len(np.unique(X[:1000, c])) > 1 for c in range(X.shape[1])])
    if len(varying) < 3:
        return
    train, test = _row_hash(X, varying), _row_hash(parts.X_test, varying)
    groups = pd.Series(np.concatenate([train, test])).value_counts()
    first = pd.Series(parts.entity_train, index=train)
    first = first[~first.index.duplicated()]
    shared = np.isin(test, train) & np.isin(test, groups.index[groups <= TWIN_GROUP])
    other = shared.copy()
    other[shared] = first.loc[test[shared]].to_numpy() != parts.entity_test[shared]
    share = float(other.mean()) if len(other) else 0.0
    if share < TWIN_SHARE or other.sum() < TWIN_ROWS:
        return
    by_chance = np.isin(test, _row_hash(X, varying, np.random.default_rng(0))).mean()
    if share >= 3 * by_chance:
        yield Finding("twins", "@twins", None, f"{int(other.sum()):,} of {len(test):,} test rows ({share:.1%}) equal a training row of "
                      "another entity in every feature: the same case stands on both sides of the split", share)  # fmt: skip


def _row_hash(X: np.ndarray, columns: Iterable[int], rng: np.random.Generator | None = None) -> np.ndarray:
    """A 64-bit hash of each row [rows] of some columns, each shuffled by itself if there is a generator."""
    total = np.zeros(len(X), np.uint64)
    for column in columns:
        values = X[:, column] + np.float32(0)  # -0.0 counts as 0.0
        bits = (rng.permutation(values) if rng else values).view(np.uint32)
        total = (total ^ bits) * np.uint64(0x9E3779B97F4A7C15)
        total ^= total >> np.uint64(29)
    return total


def early_stamps(view: View) -> Iterator[Finding]:
    """A table whose rows are stamped as known before they happened: its clock is not when they became known."""
    for table, share in view.lineage.early.items():
        if share >= 0.01:
            yield Finding("clock", f"@clock.{table}", None, f"{share:.1%} of the rows of table `{table}` are known before they happen "
                          "(clock before event_time): is the clock the day on which they were recorded?", share)  # fmt: skip
