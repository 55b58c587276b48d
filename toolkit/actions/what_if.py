"""What each listed row would score with other values of features that one may choose, and which serve it best.

    found = best(scorer, scored, standing)     # the first rows of a standing, each `best` times

A chosen value takes the place of the row's own, features that expressions make of it are computed anew, and the row
goes through the same encoder, model, calibrator and chain of nested targets as any other: with its own values it
scores what the list says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from toolkit.actions.ranked import DIGITS, Standing, heading_of, score_column, shown
from toolkit.bundling import Head, Scorer
from toolkit.config.calendars import Calendar
from toolkit.config.listing import Choice, WhatIf
from toolkit.config.modalities import RelationGraph
from toolkit.config.schema import Config
from toolkit.config.targets import type_of
from toolkit.data.engine import Engine
from toolkit.data.tables import Tables
from toolkit.errors import ConfigError, did_you_mean
from toolkit.evaluation.metrics import Floats
from toolkit.modalities import Modalities
from toolkit.models.encode import Encoder
from toolkit.prepare.expressions import made_of, recomputed
from toolkit.prepare.features import Feature
from toolkit.prepare.frame import clocks
from toolkit.prepared import Prepared
from toolkit.report.listed import days_of
from toolkit.scoring.batch import Scored
from toolkit.scoring.probability import probability
from toolkit.training.split import TRAIN

AT_A_TIME = 200_000  # rows scored at once, combinations of a row counted as rows
Value = float | str


def check(config: Config, features: Sequence[Feature], tables: Tables) -> None:
    """Names in `listing.what_if` that only the data decides, and features that would say the old value.

    Raises ConfigError where a feature is none, follows from others, or shares a column with one that would stay.
    """
    node = config.listing.what_if
    if node is None or config.listing.file is None:
        return
    where = "listing.what_if.choose"
    if many := next(
        (name for name, target in config.target.items() if type_of(target) == "multiclass"), None
    ):
        raise ConfigError(f"target `{many}` has several classes, and none of them is the best", where=where,
                          fix="choose for targets that are yes or no, or a number")  # fmt: skip
    by_name = {feature.name: feature for feature in features}
    follows = {name: found.columns for name, found in made_of(config.features, list(by_name)).items()}
    chosen = {choice.feature for choice in node.choose.values()}
    for heading, choice in node.choose.items():
        _can_be_chosen(choice, f"{where}.{heading}", by_name, follows)
    drawn = {n for graph in config.features.values() if isinstance(graph, RelationGraph) for n in graph.nodes}
    stays = by_name.keys() - chosen - follows.keys()  # what follows says what the features say that it reads
    for heading, choice in node.choose.items():
        feature = by_name[choice.feature]
        told, others = _told(feature, tables), stays
        if isinstance(config.features[feature.set], Calendar):  # its parts are chosen one by one
            others = {name for name in stays if by_name[name].set != feature.set}
        for name in sorted(others):
            if shared := told & by_name[name].sources:
                table, column = min(shared)
                raise ConfigError(
                    f"`{name}` is made of `{table}.{column}`, as `{choice.feature}` is, and would keep its value",
                    where=f"{where}.{heading}.feature",
                    why="the row would say two things of one column",
                    fix=f"choose `{name}`, too, make it an expression over `{choice.feature}`, or leave it out",
                )
        if feature.set in drawn:
            raise ConfigError(
                f"`{choice.feature}` also describes nodes of a graph, where it would keep its value",
                where=f"{where}.{heading}.feature",
                fix="choose a feature of a set that no graph has among its `nodes`",
            )


def _can_be_chosen(
    choice: Choice, where: str, features: Mapping[str, Feature], follows: Mapping[str, Collection[str]]
) -> None:
    if choice.feature not in features:
        raise ConfigError(
            f"`{choice.feature}` is not a feature",
            where=f"{where}.feature",
            fix=did_you_mean(choice.feature, features),
        )
    if choice.feature in follows:
        read = ", ".join(f"`{name}`" for name in sorted(follows[choice.feature]))
        raise ConfigError(
            f"`{choice.feature}` follows from {read}", where=f"{where}.feature", fix="choose those"
        )
    numeric = features[choice.feature].kind == "numeric"
    if numeric == isinstance(choice.values[0], str):
        raise ConfigError(
            f"`{choice.feature}` is {'a number' if numeric else 'a text'}, and `{choice.values[0]}` is none",
            where=f"{where}.values",
            fix="numbers for a number, quoted texts for a text",
        )


def unseen(config: Config, prepared: Prepared) -> list[str]:
    """Lines on values of choices that no training row has: what models say of them is a guess."""
    node, matrix = config.listing.what_if, prepared.matrix
    train = np.flatnonzero(prepared.assignments[-1].rows(TRAIN))
    lines = []
    for heading, choice in (node.choose if node and config.listing.file else {}).items():
        column = matrix.columns[choice.feature]
        known = column[train].dropna() if isinstance(column, pd.Categorical) else column[train]
        lost = [value for value in choice.values if not (np.asarray(known) == value).any()]
        if lost:
            some = ", ".join(f"{value:g}" if isinstance(value, float) else value for value in lost[:8])
            lines.append(
                f"listing.what_if.choose.{heading}: no training row has `{choice.feature}` = {some}"
                f"{' …' if len(lost) > 8 else ''}; what the model says of them is a guess"
            )
    return lines


@dataclass(frozen=True)
class Tried:
    """Scores of some rows under every combination. combinations: one value per choice [combinations];
    raw: as the model says it [rows, combinations]; value: calibrated and coherent, or the number itself, likewise."""

    combinations: list[tuple[Value, ...]]
    raw: Floats
    value: Floats


def try_all(scorer: Scorer, scored: Scored, head: Head, rows: NDArray[np.intp], node: WhatIf) -> Tried:
    """Score some rows (positions) under every combination of the choices."""
    place = {column.name: index for index, column in enumerate(scorer.encoder.columns)}
    chosen = [choice.feature for choice in node.choose.values()]
    values_of: list[Sequence[Value]] = [choice.values for choice in node.choose.values()]
    combinations = list(product(*values_of))
    raw, value = np.empty((2, len(rows), len(combinations)))
    engine = Engine(threads=1)  # in the order of rows
    try:
        for some in np.array_split(np.arange(len(rows)), len(raw.ravel()) // AT_A_TIME + 1):
            if not len(some):
                continue
            at = rows[np.repeat(some, len(combinations))]  # each row, as often as there are combinations
            columns = {name: column[at] for name, column in scored.matrix.columns.items()}
            new: dict[str, Any] = {
                name: _column([values[c] for values in combinations] * len(some), columns[name])
                for c, name in enumerate(chosen)
            }
            new |= recomputed(scorer.declaration.features, columns | new, chosen, engine)
            X, changed = scored.X[at], [place[name] for name in new]
            encoder = Encoder(tuple(scorer.encoder.columns[c] for c in changed), scorer.encoder.capped)
            X[:, changed] = encoder.transform(new, len(at)).X
            said, meant = _scores(scorer, head, X, scored.besides.some(at))
            raw[some], value[some] = said.reshape(len(some), -1), meant.reshape(len(some), -1)
    finally:
        engine.close()
    return Tried(combinations, raw, value)


def _scores(scorer: Scorer, head: Head, X: NDArray[np.float32], besides: Modalities) -> tuple[Floats, Floats]:
    """Raw score and probability (or number) as lists show it: a chosen model's is put in order with its chain."""
    if head in scorer.heads:
        raw, value, _ = probability(scorer, head.name, X, besides)
        return raw, value
    raw = scorer.models[head.model].predict(X, besides)[head.position]
    raw = np.expm1(raw) if head.logged else raw
    return raw, head.calibrator.apply(raw)


def best(scorer: Scorer, scored: Scored, standing: Standing) -> pa.Table:
    """The listed rows, each with its best choices: rank, key, snapshot, declared columns, choice 1 …, values, score."""
    listing, head = scorer.listing, standing.head
    node = listing.what_if
    assert node is not None
    rows = standing.rows[: listing.rows(len(standing))]
    tried = try_all(scorer, scored, head, rows, node)
    sign = -1 if node.prefer == "highest" else 1
    order = np.argsort(sign * tried.raw, axis=1, kind="stable")[:, : node.best]
    entity = scored.tables[scorer.declaration.dataset.entity]
    row = np.repeat(np.arange(len(rows)), order.shape[1])
    columns: dict[str, Any] = {
        "rank": row + 1,
        heading_of(entity): pa.array(standing.entity[row].tolist(), pa.string()),
        "snapshot": days_of(scored.matrix.cutoff[rows[row]], scorer.declaration.cohort.timezone),
        **shown(listing.columns, scored, entity, rows[row]),
        "choice": np.tile(np.arange(1, order.shape[1] + 1), len(rows)),
    }
    for number, heading in enumerate(node.choose):
        values = [combination[number] for combination in tried.combinations]
        columns[heading] = pa.array([_plain(values[c]) for c in order.ravel()])
    score = score_column(head)
    columns[score] = np.round(np.take_along_axis(tried.value, order, axis=1).ravel(), DIGITS)
    columns[f"{score}_AS_IT_IS"] = standing.value[row]
    return pa.table(columns)


def _told(feature: Feature, tables: Tables) -> set[tuple[str, str]]:
    """The columns that a feature tells of: not those that say when rows were known, nor keys."""
    out = set()
    for name, table in tables.loaded.items():
        out |= {(name, column) for column in (*clocks(table), *table.spec.keys, table.spec.entity) if column}
    return set(feature.sources) - out


def _column(values: Sequence[Value], like: Any) -> Any:
    """Values as a column of the matrix, of the kind that the feature's own column is."""
    if isinstance(like, pd.Categorical):
        return pd.Categorical(np.array(values, object))
    return np.array(values, np.float32)


def _plain(value: Value) -> Value | int:
    return int(value) if isinstance(value, float) and value.is_integer() else value
