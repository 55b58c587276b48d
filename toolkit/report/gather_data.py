"""The report's part on data, and the model card: what was read, how it shifted, what a scorer must know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.config.schema import Config
from toolkit.evaluation import drift
from toolkit.evaluation.effects import distribution
from toolkit.evaluation.metrics import Floats
from toolkit.evaluation.overlap import rank_correlation
from toolkit.evaluation.univariate import sample_rows
from toolkit.models.interface import Column, Task
from toolkit.prepared import Prepared
from toolkit.report.evidence import Data, Distribution, Drift
from toolkit.report.explain import encode
from toolkit.report.listed import days_of
from toolkit.training.fairness import gates_of
from toolkit.training.outcome import Outcome
from toolkit.training.split import NAMES, TEST, TRAIN, VALIDATION

SAMPLE = 20_000  # rows of each part that are looked at
HEAT = 14  # features of the heat map
SHOWN = 6  # distributions per target
CLASSES = 6  # classes shown apart; the rest together

PARTS = {part: NAMES[part] for part in (TRAIN, VALIDATION, TEST)}


def data_of(
    config: Config, prepared: Prepared, outcome: Outcome, strongest: Mapping[str, Sequence[str]]
) -> Data:
    """strongest: target → its features, strongest first; they are what the heat map and distributions show."""
    train, test = (_some(outcome.assignment.rows(part), config.seed) for part in (TRAIN, TEST))
    X_train, X_test = (encode(outcome.encoder, prepared.matrix, rows) for rows in (train, test))
    together = _by_turns(strongest.values())
    heated, correlation = _heat_map(outcome.encoder.columns, together, X_train)
    return Data(
        tables=_tables(prepared), assumptions=prepared.compiled.assumptions(), rows=outcome.assignment.counts(),
        cohort=_cohort(config, prepared, outcome), drift=_drift(prepared, outcome, X_train, X_test),
        findings=[finding.to_dict() for finding in outcome.findings], idle=dict(outcome.idle), correlated=heated,
        correlation=correlation, distributions=_distributions(config, prepared, outcome, strongest),
        found=prepared.found,
    )  # fmt: skip


def _some(part: NDArray[np.bool_], seed: int) -> NDArray[np.intp]:
    rows = np.flatnonzero(part)
    return rows[sample_rows(len(rows), SAMPLE, seed)]


def _tables(prepared: Prepared) -> list[dict[str, Any]]:
    return [
        {"name": t.name, "rows_read": t.rows_read, "rows_kept": t.rows_kept, "rejected": dict(t.reasons),
         "origin": str(t.origin), "fingerprint": t.digest_of()}
        for t in prepared.tables.loaded.values()
    ]  # fmt: skip


def _cohort(config: Config, prepared: Prepared, outcome: Outcome) -> list[dict[str, Any]]:
    """Rows per cutoff and part, cutoffs in order of time; without a clock one cutoff, named ""."""
    codes, moments = pd.factorize(prepared.matrix.cutoff, sort=True, use_na_sentinel=False)
    days = days_of(np.asarray(moments), config.cohort.timezone)
    return [
        {"cutoff": day, "part": name, "rows": int(count)}
        for part, name in NAMES.items()
        for day, count in zip(days, np.bincount(codes[outcome.assignment.part == part], minlength=len(days)), strict=True)
        if count
    ]  # fmt: skip


def _drift(prepared: Prepared, outcome: Outcome, X_train: NDArray, X_test: NDArray) -> list[Drift]:
    """Every feature, the most shifted first."""
    columns = outcome.encoder.columns
    shift, floor = drift.psi(X_train, X_test, np.array([column.kind == "categorical" for column in columns]))
    gaps = drift.missing(prepared.matrix.columns, outcome.assignment.part, PARTS)
    found = [
        Drift(c.name, float(value), gaps[c.name], float(least))
        for c, value, least in zip(columns, shift, floor, strict=True)
    ]
    return sorted(found, key=lambda one: (-np.nan_to_num(one.psi), one.feature))


def _by_turns(ranked: Any) -> list[str]:
    """The first of each ranking, then the second of each, …, without repeats."""
    return [name for name in dict.fromkeys(chain.from_iterable(zip_longest(*ranked))) if name is not None]


def _heat_map(columns: Sequence[Column], names: Sequence[str], X: NDArray) -> tuple[list[str], Floats]:
    """The strongest numeric features that vary, and their Spearman correlation among training rows."""
    at = {column.name: c for c, column in enumerate(columns) if column.kind == "numeric"}
    able = [n for n in names if n in at and len(X) and np.nanmin(X[:, at[n]], initial=np.inf) < np.nanmax(X[:, at[n]], initial=-np.inf)]  # fmt: skip
    shown = able[:HEAT]
    return shown, rank_correlation(X[:, [at[name] for name in shown]].astype(float))


def _distributions(
    config: Config, prepared: Prepared, outcome: Outcome, strongest: Mapping[str, Sequence[str]]
) -> list[Distribution]:
    """Of each target's strongest features, by label, among validation rows."""
    some = sample_rows(outcome.n_valid, SAMPLE, config.seed)
    X = encode(outcome.encoder, prepared.matrix, outcome.rows[some])
    at = {column.name: c for c, column in enumerate(outcome.encoder.columns)}
    found = []
    for index, task in enumerate(outcome.tasks):
        groups = _groups(task, outcome.y[some, index])
        for name in list(strongest.get(task.name, ()))[:SHOWN]:
            labels, shares = distribution(X[:, at[name]], groups, outcome.encoder.columns[at[name]])
            found.append(Distribution(name, task.name, labels, shares))
    return found


def _groups(task: Task, y: Floats) -> dict[str, NDArray[np.bool_]]:
    """Rows by label: yes and no; classes, the most frequent apart; thirds of a number."""
    if task.type == "binary":
        return {"yes": y == 1, "no": y == 0}
    if task.type == "multiclass":
        counts = np.array([(y == c).sum() for c in range(len(task.classes))])
        order = np.argsort(-counts, kind="stable")
        groups = {task.classes[c]: y == c for c in order[:CLASSES]}
        rest = np.isin(y, order[CLASSES:])
        return groups | ({"all other classes": rest} if rest.any() else {})
    known = y[~np.isnan(y)]
    low, high = np.quantile(known, [1 / 3, 2 / 3]) if len(known) else (0.0, 0.0)
    return {"lowest third": y <= low, "middle third": (y > low) & (y <= high), "highest third": y > high}


# --- the model card ---------------------------------------------------------------------------------


def model_card(
    config: Config, prepared: Prepared, outcome: Outcome, environment: Mapping[str, Any]
) -> dict[str, Any]:
    """What to know before using the model (Mitchell et al. 2019). Keys are headings."""
    cohort, matrix = config.cohort, prepared.matrix
    dates = {}
    for part, name in PARTS.items():
        days = [
            day
            for day in days_of(np.unique(matrix.cutoff[outcome.assignment.rows(part)]), cohort.timezone)
            if day
        ]
        if days:
            dates[f"{name} cutoffs"] = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]} ({len(days)})"
    having = [condition.model_dump(exclude_defaults=True) for condition in cohort.having]
    return {
        "intended use": config.description or f"Ranking the entities of `{config.dataset.entity}` by "
        + ", ".join(f"`{task.name}`" for task in outcome.tasks),
        "cohort": {
            "entity": config.dataset.entity, "description": cohort.description, "condition": cohort.where or "all",
            "must have happened before": "; ".join(", ".join(f"{k} {v}" for k, v in one.items()) for one in having) or "nothing",
            "time zone": cohort.timezone,
        },
        "horizons": {name: str(getattr(node, "horizon", "none: a column")) for name, node in config.target.items()},
        "dates": dates or {"cutoffs": "none: the tables have no clock"},
        "rows": outcome.assignment.counts(),
        "models": {task.name: outcome.chosen(task.name).model for task in outcome.tasks},
        **_protected(config, outcome),
        **({"intervals": f"drawn by `{by}`: entities of one value resemble each other"} if (by := config.evaluation.draw_by) else {}),
        "limits": _limits(prepared, outcome),
        "seed": config.seed,
        "environment": {key: value for key, value in environment.items() if key != "overrides"},
        "data fingerprints": {table.name: table.digest_of() for table in prepared.tables.loaded.values()},
        "how to score": "python -m toolkit score run=<this folder> input=<folder with the tables>" + (" cutoff=latest" if dates else ""),
    }  # fmt: skip


def _protected(config: Config, outcome: Outcome) -> dict[str, Any]:
    """Protected attributes and what became of the gates, where such are declared."""
    if not (declared := config.fairness.attributes):
        return {}
    found: dict[str, Any] = {
        name: ("a feature" if node.as_feature else "no feature; read to judge decisions")
        + ("; the playbook may read it" if node.in_playbook else "")
        for name, node in declared.items()
    }
    if wanted := config.fairness.mitigation:
        found[wanted.attribute] += f"; decisions by a threshold for each group ({wanted.constraint})"
    gates = [str(gate) for gate in gates_of(outcome)]
    return {"protected attributes": found} | ({"fairness gates": gates} if gates else {})


def _limits(prepared: Prepared, outcome: Outcome) -> list[str]:
    limits = [f"Taken on trust: {text}." for text in prepared.compiled.assumptions()]
    for name, target in prepared.compiled.targets.items():
        if target.partly_known:
            limits.append(
                f"`{name}` is partly known at the cutoff: its measure also looks at what happened before."
            )
        if target.node.among:
            limits.append(f"`{name}` applies to some rows only; the others have neither label nor decision.")
    for name, rows in outcome.unseen.items():
        if rows:
            limits.append(
                f"`{name}`: {rows:,} validation and test rows hold a level that training rows do not."
            )
    asked = sum(finding.answer is None for finding in outcome.findings)
    if asked:
        limits.append(f"The leak audit has {asked} unanswered finding{'s' if asked > 1 else ''}.")
    limits.append(
        "Figures describe the test rows; they hold for later rows as far as those are alike (see drift)."
    )
    return limits
