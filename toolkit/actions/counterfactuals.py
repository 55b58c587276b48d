"""What would help the rows of a ranked list: few, small, plausible changes, checked by the whole pipeline.

check(config, features, matrix)                 # before anything is fitted: names, kinds, ranges
reference(config, matrix, outcome)              # training rows, for the bundle
helped = help_rows(scorer, X, besides)          # for encoded rows: `search.Found`, and a sentence each
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit import bundling
from toolkit.actions import counterfactual_words as words
from toolkit.actions.ranked import DIGITS
from toolkit.bundling import Scorer
from toolkit.config.counterfactual import THRESHOLD, Change, Changes
from toolkit.config.listing import Listing
from toolkit.config.schema import Config
from toolkit.errors import ConfigError, did_you_mean
from toolkit.evaluation.counterfactual.levers import levers
from toolkit.evaluation.counterfactual.reference import Reference
from toolkit.evaluation.counterfactual.search import Found, Judged, search
from toolkit.modalities import Modalities
from toolkit.models.interface import Column
from toolkit.prepare.expressions import made_of
from toolkit.prepare.features import Feature
from toolkit.prepare.matrix import Matrix
from toolkit.report.entities import Helping
from toolkit.report.lists import write_csv
from toolkit.scoring.probability import probability
from toolkit.training.outcome import Outcome
from toolkit.training.split import TRAIN

COLUMN = "what_would_help"


@dataclass(frozen=True)
class Helped:
    """Of some rows: what was found for each, and the same in words; idle: features that nothing moves → why;
    left: of `left_behind`."""

    found: list[Found]
    said: list[str]
    idle: dict[str, str]
    left: Sequence[str] = ()

    def lines(self, stem: str) -> list[str]:
        """What to say of a list's rows."""
        counts = pd.Series([one.outcome for one in self.found]).value_counts()
        told = ", ".join(f"{outcome} {count:,}" for outcome, count in counts.items())
        lines = [
            f"{stem}.counterfactuals.csv: what would help {len(self.found):,} rows: {told or 'none needs it'}"
        ]
        lines += [f"  `{name}` {why}" for name, why in self.idle.items()]
        if self.left:
            some = ", ".join(f"`{name}`" for name in self.left[:3]) + (", …" if len(self.left) > 3 else "")
            lines.append(
                f"  a changed row is not counted anew: of what is made of the same rows as what changes, "
                f"{len(self.left):,} move by themselves or not at all ({some}); `also` ties windows of one count"
            )
        return lines


def declared(config: Config) -> Changes | None:
    """What the recipe says of changes, if anything."""
    return config.counterfactual if isinstance(config.counterfactual, Changes) else None


def target_of(node: Changes, targets: Sequence[str]) -> str:
    return node.target or targets[0]


def check(config: Config, features: Sequence[Feature], matrix: Matrix) -> None:
    """Names and values that only the data decides. Raises ConfigError naming the nearest, or the range."""
    if not (node := declared(config)):
        return
    kinds = {feature.name: feature.kind for feature in features if feature.name in matrix.columns}
    follows = {name: found.columns for name, found in made_of(config.features, list(kinds)).items()}
    for name, change in node.features.items():
        where = f"counterfactual.features.{name}"
        for key, one in ((where, name), *_named(change, where)):
            if one not in kinds:
                raise ConfigError(f"no feature is called `{one}`", where=key, fix=did_you_mean(one, kinds))
            if one != name and kinds[one] != "numeric":
                raise ConfigError(f"`{one}` is a text, and `{name}` moves by numbers", where=key)
        for one in (name, *change.also):
            _stands_alone(one, follows, where)
        if kinds[name] == "numeric":
            _number(name, change, matrix.columns[name], where)
        else:
            _text(name, change, matrix.columns[name], where)


def _stands_alone(name: str, follows: Mapping[str, Collection[str]], where: str) -> None:
    """Raises ConfigError where a changed row would say two things: expressions are not computed anew."""
    read = [other for other, of in follows.items() if name in of]
    if name in follows or read:
        made = name if name in follows else read[0]
        of = ", ".join(f"`{one}`" for one in sorted(follows[made]))
        raise ConfigError(
            f"`{made}` follows from {of}, and would not any more if `{name}` changed", where=where,
            why="what is changed is the row as the model sees it, and its expressions are not computed anew",
            fix="change another feature, or leave the expression out",
        )  # fmt: skip


def _named(change: Change, where: str) -> Iterator[tuple[str, str]]:
    """Keys and names of the other features that a change speaks of."""
    yield from ((f"{where}.also", other) for other in change.also)
    for key in ("at_least", "at_most"):
        if isinstance(end := getattr(change, key), str):
            yield f"{where}.{key}", end


def _number(name: str, change: Change, column: NDArray, where: str) -> None:
    if change.values is not None:
        raise ConfigError(
            f"`{name}` is a number, and `values` are for texts", where=f"{where}.values",
            fix="give `at_least` and `at_most`",
        )  # fmt: skip
    known = column[~np.isnan(column)]
    if not len(known):
        raise ConfigError(f"`{name}` is missing in all rows, so there is nothing to change", where=where)
    if change.step and change.step % 1 and (known == np.floor(known)).all():
        raise ConfigError(
            f"`{name}` holds whole numbers, and a step of {change.step:g} would break them", where=f"{where}.step",
            fix="give a whole number",
        )  # fmt: skip
    low = change.at_least if isinstance(change.at_least, float) else -np.inf
    high = change.at_most if isinstance(change.at_most, float) else np.inf
    if not ((known >= low) & (known <= high)).any():
        raise ConfigError(
            f"no row's `{name}` lies between {low:g} and {high:g}, so none could change", where=where,
            why=f"its values go from {known.min():g} to {known.max():g}, and a row outside of the range keeps the feature",
            fix="a range that holds some rows' values",
        )  # fmt: skip


def _text(name: str, change: Change, column: pd.Categorical, where: str) -> None:
    levels = [str(level) for level in column.categories]
    if change.values is None:
        raise ConfigError(
            f"`{name}` is a text, and nothing says which values it may take", where=where,
            fix=f"values: [{', '.join(levels[:5])}]",
        )  # fmt: skip
    for value in change.values:
        if value not in levels:
            raise ConfigError(
                f"no row's `{name}` is `{value}`", where=f"{where}.values", fix=did_you_mean(value, levels)
            )


def reference(config: Config, matrix: Matrix, outcome: Outcome) -> Reference | None:
    """What training rows are like, in the columns that changes concern; None where none are declared."""
    if not (node := declared(config)):
        return None
    train = np.flatnonzero(outcome.assignment.rows(TRAIN))
    columns = outcome.encoder.columns
    X = outcome.encoder.transform({c.name: matrix.columns[c.name][train] for c in columns}, len(train)).X
    at = {column.name: place for place, column in enumerate(columns)}
    names = [
        name
        for key, change in node.features.items()
        for name in (key, *(one for _, one in _named(change, "")))
    ]
    return Reference.fit(X, columns, [at[name] for name in dict.fromkeys(names) if name in at], config.seed)


class Help:
    """What a bundle says of changes: `Help.of(scorer, features)`, None where nothing is declared."""

    def __init__(self, scorer: Scorer, node: Changes, known: Reference, features: Sequence[Feature]) -> None:
        self.scorer, self.node, self.known = scorer, node, known
        self.columns = scorer.encoder.columns
        self.target = target_of(node, [head.name for head in scorer.heads])
        self.levers, self.idle = levers(node.features, self.columns, known)
        self.left = left_behind(node, features)
        self.aim = aim_of(node, scorer.listing)
        self.words = words.Words(node, self.aim, self.columns, features, scorer.listing.words)

    @classmethod
    def of(cls, scorer: Scorer, features: Sequence[Feature]) -> Help | None:
        node, known = scorer.counterfactual, scorer.reference
        return cls(scorer, node, known, features) if isinstance(node, Changes) and known else None

    def judge(self, X: NDArray[np.float32], besides: Modalities) -> Judged:
        """Encoded rows [rows, columns] by the whole pipeline, probabilities as the list writes them."""
        raw, value, acted = probability(self.scorer, self.target, X, besides)
        over = acted if self.aim is None else np.round(value, DIGITS) >= self.aim
        assert over is not None
        return Judged(over, value, raw) if self.node.below is None else Judged(~over, value, -raw)

    def rows(self, X: NDArray[np.float32], besides: Modalities) -> Helped:
        """What would help encoded rows, one by one."""
        at = {column.name: place for place, column in enumerate(self.columns)}
        found = search(
            X,
            lambda changed, rows: self.judge(changed, besides.some(rows)),
            self.levers,
            self.known,
            np.array([at[name] for name in self.known.names], np.intp),
            most=self.node.most,
            tries=self.node.tries,
            seconds=self.node.seconds,
            ordinary=self.node.ordinary,
        )
        return Helped(found, [self.words.sentence(one) for one in found], self.idle, self.left)


def left_behind(node: Changes, features: Sequence[Feature]) -> list[str]:
    """Features made of the same rows of a table as one that may change, and tied to none by `also`.

    A week with more use has a later last use, too; what is changed is the row as the model sees it, so nothing
    sees to that but what is declared.
    """
    tied = {other for change in node.features.values() for other in change.also}
    counted = [one for one in features if one.window not in ("always", "latest")]
    by_name = {one.name: one for one in counted}
    moved = [by_name[name] for name in node.features if name in by_name]
    return [
        one.name
        for one in counted
        if one.name not in tied and any(one is not other and one.sources & other.sources for other in moved)
    ]


def helping(config: Config, features: Sequence[Feature], bundle: Path) -> Helping | None:
    """For the report: what would help encoded rows of a target, by a run's bundle; None where nothing is declared."""
    if not declared(config):
        return None
    asked = Help.of(bundling.read(bundle, accept_gate=True), features)  # the run says so itself
    assert asked is not None
    return lambda target, X, besides: asked.rows(X, besides).said if target == asked.target else []


def aim_of(node: Changes, listing: Listing) -> float | None:
    """The probability (or number) to pass; None: the threshold."""
    if isinstance(node.aim, str):
        return None if node.aim == THRESHOLD else listing.tiers[node.aim]
    return node.aim


def write(
    path: Path,
    helped: Helped,
    key: str,
    places: Sequence[int],
    keys: Sequence[str],
    columns: Sequence[Column],
) -> None:
    """`<list>.counterfactuals.csv`: a line for each row asked about. places: in the list, from 0; keys: theirs."""
    most = max((len(one.steps) for one in helped.found), default=1)
    heads = ["rank", key, "outcome", "before", "after"]
    heads += [f"{what}_{n}" for n in range(1, max(most, 1) + 1) for what in ("feature", "from", "to")]
    by_name: Mapping[str, Column] = {column.name: column for column in columns}
    rows = []
    for place, who, one in zip(places, keys, helped.found, strict=True):
        cells: list[Any] = [place + 1, who, one.outcome, round(one.before, 6), round(one.after, 6)]
        for step in one.steps:
            column = by_name[step.lever.name]
            cells += [step.lever.name, words.value(step.old, column), words.value(step.new, column)]
        cells += [None] * (len(heads) - len(cells))
        rows.append([*cells, "; ".join(f"{name} {why}" for name, why in one.kept.items()) or None])
    write_csv(path, [*heads, "cannot_change"], rows)
