"""What the leak audit looks for in single columns: too strong, too telling when missing, too well informed.

Each check learns on training rows and is judged on validation rows, so that a column which merely
numbers the rows does not look strong, and none speaks of what chance gives (three standard errors, by
entities: rows of one at several cutoffs say the same again and again).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import rankdata

from toolkit.evaluation import univariate
from toolkit.models.interface import Task
from toolkit.prepare.audit_view import Finding, View, chance, chance_of, distinct, either
from toolkit.prepare.features import Feature

NOTABLE = 0.75  # below this AUC (or R²) a column is not called strong, however weak the others are
STANDS_OUT = 1.6  # a column this much further from 0.5 than the next unrelated one stands out
SINGLE_R2 = 0.9  # of the ranks: a copy with a tenth of noise
MISSING_AUC = 0.65
PURE, PURE_ROWS, PURE_EXPECTED = 0.005, 50, 10  # share of exceptions; rows; exceptions expected by chance
LATE = 0.01  # share of rows that know of what came after the cutoff


# --- a column is too strong -------------------------------------------------------------------------


def single_columns(view: View) -> Iterator[Finding]:
    """One column alone predicts the target suspiciously well: in itself, or far better than any other."""
    bins, codes, codes_valid = view.coded
    for index, task in enumerate(view.tasks):
        y, y_valid = view.labels(index)
        has, has_valid = ~np.isnan(y), ~np.isnan(y_valid)
        table = univariate.tables(bins, codes[has], y[has], task.type)
        strength = univariate.strength(table, codes_valid[has_valid], y_valid[has_valid])
        regression = task.type == "regression"
        nothing = 0.0 if regression else 0.5
        strength = np.nan_to_num(strength, nan=nothing)
        limit = max(SINGLE_R2, view.config.single_column_auc) if regression else view.config.single_column_auc
        floor = max(min(NOTABLE, limit), chance_of(task, y_valid[has_valid], view.entity[1][has_valid]))
        for column in np.flatnonzero(strength >= floor).tolist():
            name, value = view.features[column].name, float(strength[column])
            others = _unrelated(view, table, codes_valid[has_valid], column, task)
            best = max((float(strength[i]) for i in others), default=nothing)
            stands_out = len(others) >= 3 and value - nothing >= STANDS_OUT * max(best - nothing, 0.05)
            if value < limit and not stands_out:
                continue
            measured = f"an R² of {value:.3f} of its ranks" if regression else f"an AUC of {value:.3f}"
            text = f"`{name}` alone predicts `{task.name}` with {measured}"
            text += f"; the next unrelated column reaches {best:.3f}" if stands_out else ""
            yield Finding("single column", name, task.name, f"{text}: is it known at the cutoff?", value)


def _unrelated(view: View, table: univariate.Tables, codes: np.ndarray, column: int, task: Task) -> list[int]:
    """The columns that a strong one must be compared with: none made of the same, none that says the same.

    Features of a dated table are relatives of each other. If the target is measured in that table too
    they stand out by nature (what was done is the best guess at what will be done): then none is left.
    """
    dated = view.tables(column) & view.lineage.dated
    if dated & {name for name, _ in view.lineage.targets.get(task.name, ())}:
        return []
    sources = view.features[column].sources
    related = [
        bool(view.tables(other) & dated if dated else view.features[other].sources & sources)
        for other in range(len(view.features))
    ]
    values = table.values[..., -1] if table.values.ndim == 3 else table.values
    rows = univariate.sample_rows(len(codes), 20_000)
    own = _centred(values[column][codes[rows, column]])
    return [
        other
        for other in range(len(view.features))
        if other != column
        and not related[other]
        and abs(own @ _centred(values[other][codes[rows, other]])) < 0.9
    ]


def _centred(values: np.ndarray) -> np.ndarray:
    values = values - values.mean()
    return values / max(float(np.sqrt(values @ values)), 1e-12)


def high_cardinality(view: View) -> Iterator[Finding]:
    """Free text that names the outcome: it has too many levels for the encoder, so its raw levels are asked.

    Judged on the validation rows whose level occurs in training rows.
    """
    width = {column.name: len(column.levels) for column in view.columns}
    for name, (codes_train, codes_valid) in view.parts.levels.items():
        levels = int(max(codes_train.max(initial=-1), codes_valid.max(initial=-1))) + 1
        if levels <= width.get(name, 0):
            continue
        for index, task in enumerate(view.tasks):
            if task.type == "regression":
                continue
            y, y_valid = view.parts.y_train[:, index], view.parts.y_valid[:, index]
            has = ~np.isnan(y) & (codes_train >= 0)
            rows = np.bincount(codes_train[has], minlength=levels)
            seen = ~np.isnan(y_valid) & (codes_valid >= 0)
            seen[seen] = rows[codes_valid[seen]] > 0
            found = []
            for label in np.unique(y[has]):
                hits = np.bincount(codes_train[has], weights=y[has] == label, minlength=levels)
                prior = hits.sum() / max(rows.sum(), 1)
                positive = y_valid[seen] == label
                limit = max(view.config.single_column_auc, chance(*either(positive, view.whose_valid[seen])))
                auc = _auc(((hits + prior) / (rows + 1))[codes_valid[seen]], positive)
                found.append((auc, limit))
            auc, limit = np.mean(found, axis=0) if found else (np.nan, np.inf)
            if auc >= limit:
                yield Finding("levels", name, task.name,
                              f"the levels of `{name}` name the outcome: where one of its {levels:,} levels occurred in training "
                              f"rows it predicts `{task.name}` with an AUC of {auc:.3f}: is it written after the fact?",
                              float(auc))  # fmt: skip


def _auc(score: np.ndarray, positive: np.ndarray) -> float:
    """ROC-AUC from mid-ranks; NaN with one class only."""
    hits = int(positive.sum())
    pairs = hits * (len(positive) - hits)
    return float((rankdata(score)[positive].sum() - hits * (hits + 1) / 2) / pairs) if pairs else np.nan


# --- a column is too telling when it is missing -----------------------------------------------------


def missingness(view: View) -> Iterator[Finding]:
    """Whether a value is there tells the label: it is filled in after the fact, or because of it.

    For features of events only rows with one count: that nothing ever happened is natural to tell much.
    """
    X, X_valid = view.parts.X_train[view.train], view.parts.X_valid[view.valid]
    told: set[str] = set()
    for column, feature in enumerate(view.features):
        if feature.group in told:  # missing in the same rows
            continue
        told |= {feature.group} if feature.group else set()
        gone, gone_valid = _absent(X[:, column], feature), _absent(X_valid[:, column], feature)
        if not 0.001 < gone.mean() < 0.999:
            continue
        attribute = feature.window in ("always", "latest")
        for index, task in enumerate(view.tasks):
            if task.type != "binary":
                continue
            y, y_valid = view.labels(index)
            has, has_valid = ~np.isnan(y), ~np.isnan(y_valid)
            positive, absent = y_valid[has_valid] == 1, gone_valid[has_valid]
            if not 0 < positive.sum() < len(positive):
                continue
            auc = 0.5 + abs(float(absent[positive].mean() - absent[~positive].mean())) / 2
            whose, whose_valid = view.entity[0][has], view.entity[1][has_valid]
            sides = {"missing": gone[has], "there": ~gone[has]}
            pure = [
                side for side, rows in sides.items() if (attribute or side == "there") and _pure(y[has] == 1, rows, whose)
            ]  # fmt: skip
            telling = attribute and auc >= max(MISSING_AUC, chance(*either(positive, whose_valid)))
            if not (pure or telling):
                continue
            # the rows that decided: training rows that are of one label, else validation rows
            side = pure[0] if pure else "missing"
            told_by, hit, of_them = (
                ("training", y[has] == 1, sides[side]) if pure else ("validation", positive, absent)
            )
            yield Finding("missingness", feature.name, task.name,
                          f"whether `{feature.name}` is missing tells `{task.name}`: {_rate(hit[of_them])} positive in "
                          f"{int(of_them.sum()):,} {told_by} rows where it is {side}, {_rate(hit)} overall; is it filled in "
                          "after the fact?", auc)  # fmt: skip


def _absent(values: np.ndarray, feature: Feature) -> np.ndarray:
    gone = np.isnan(values)
    return gone if feature.fill is None else gone | (values == feature.fill)


def _rate(hit: np.ndarray) -> str:
    return f"{float(hit.mean()) if len(hit) else 0.0:.1%}"


def _pure(positive: np.ndarray, rows: np.ndarray, entity: np.ndarray) -> bool:
    """All but a few of some rows (a mask) have one label, where chance would give at least ten exceptions.

    Rows and exceptions are counted by entities: one that would be an exception in each of four weeks is one.
    """
    if not rows.any():
        return False
    odd = positive if positive[rows].mean() < positive.mean() else ~positive
    exceptions, expected = float(odd[rows].mean()), float(odd.mean())
    if exceptions > min(PURE, expected / 10) or distinct(entity[rows]) < PURE_ROWS:
        return False
    return bool(expected * rows.sum() >= PURE_EXPECTED * odd.sum() / max(distinct(entity[odd]), 1))


# --- a column is too well informed ------------------------------------------------------------------


def hindsight(view: View) -> Iterator[Finding]:
    """Attributes without a clock that know what happened after the cutoff: a snapshot taken later.

    Two signs, neither of which needs the label: a date that lies after the cutoff; and a total that is
    never below what was known at the cutoff (a feature of a dated table), equals it for some entities
    and exceeds it for others: what exceeds it came afterwards.
    """
    if np.isnat(view.parts.cutoff_train).all():
        return
    X = view.parts.X_train[view.train]
    numeric = [column for column in range(len(view.features)) if not view.categorical[column]]
    whole = [column for column in numeric if view.features[column].window == "all"]
    for column in numeric:
        feature, values = view.features[column], X[:, column]
        if feature.window != "always" or view.tables(column) & view.lineage.dated or not feature.sources:
            continue
        if feature.sources <= view.lineage.dates:
            late = float((values < 0).mean())
            if late >= LATE:
                yield Finding("hindsight", feature.name, None, f"`{feature.name}` lies after the cutoff in {late:.1%} of the "
                              "training rows, and its table has no clock: was it written later?", late)  # fmt: skip
            continue
        for other in whole:
            above = _exceeds(values, X[:, other])
            if above >= LATE:
                name = view.features[other].name
                yield Finding("hindsight", feature.name, None, f"`{feature.name}` is never below `{name}` and above it in {above:.1%} "
                              "of the training rows, and its table has no clock: does it count what came after the cutoff?",
                              above)  # fmt: skip
                break


def _exceeds(total: np.ndarray, known: np.ndarray) -> float:
    """Share of rows in which a total exceeds what was known; 0 unless it looks like a later state of the same sum."""
    both = ~(np.isnan(total) | np.isnan(known)) & (known != 0)
    total, known = total[both], known[both]
    equal = np.abs(total - known) <= 1e-5 * np.abs(known)
    if equal.sum() < max(PURE_ROWS, 0.02 * len(total)) or len(np.unique(known[equal])) < 5:
        return 0.0
    return (
        float((total > known)[~equal].sum() / len(total)) if (total < known)[~equal].mean() <= PURE else 0.0
    )
