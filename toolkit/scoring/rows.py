"""Score single rows: a mapping, or a line of JSON, goes in; probabilities and decisions come out.

    rows = Rows.read("outputs/<recipe>/<time>/bundle")
    rows.score({"history.count_12mo": 3, "profile.segment": "A"})

A row is written in one of two forms:

- by features, as the bundle names them (`rows.names`), with the values that batch scoring would compute; expressions
  over them are computed, where a row does not name them;
- where the features are made of the entity table's own columns alone (`rows.cells`), by those columns, as a
  file would hold them: contract, derived columns and features are the declared ones.

A text that the models read is named by its feature set, or by its column in the second form.

What is absent or null is missing; a name that is neither is refused. A row's answer is batch scoring's for the same row:
it takes the same way through encoder, models, calibrators and coherence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit import bundling
from toolkit.actions import reasons
from toolkit.bundling import Head, Scorer
from toolkit.config.modalities import MODALITIES, RawText
from toolkit.errors import BundleError, ConfigError, DataError, did_you_mean
from toolkit.evaluation.tiers import names_of
from toolkit.modalities import Modalities, Texts
from toolkit.models.explain import sayings
from toolkit.models.interface import Fitted
from toolkit.models.one_by_one import OneByOneFitted
from toolkit.scoring.batch import Said, say
from toolkit.scoring.cells import Cells
from toolkit.scoring.made import Made

ONE = np.zeros(1, np.intp)
LONGEST = 1_000_000  # characters of a row's JSON


class Rows:
    """A bundle that scores rows one by one, in the thread that made it.

    names: the features, and the texts by their feature sets; cells: reads rows by the entity table's columns, where that is enough, and `why_not`
    says why it is not; notes: what there is to know of the answers.
    """

    def __init__(self, scorer: Scorer, reasons: int = 0) -> None:
        """reasons: how many of them, in words, beside each probability.

        Raises BundleError if a model needs more than one row's columns, such as its events one by one.
        """
        from threadpoolctl import ThreadpoolController

        heads = tuple(replace(head, threshold=_by_score(head), by_group=None) for head in scorer.heads)
        used = {head.model: scorer.models[head.model] for head in heads}
        _columns_are_enough(scorer, used)
        if reasons and (scorer.usual is None or (scorer.encoder.columns and not scorer.told)):
            raise BundleError(
                "this bundle does not say what is usual, so it has no reasons for single rows",
                fix="run the recipe again with this version of the toolkit, or leave `reasons` out",
            )
        self.scorer = replace(scorer, heads=heads, others=(), models=used)
        self.reasons = reasons
        sets = scorer.declaration.features.items()
        self.texts = tuple(name for name, node in sets if isinstance(node, RawText))
        self.names = (*(column.name for column in scorer.encoder.columns), *self.texts)
        self.key = scorer.declaration.dataset.tables[scorer.declaration.dataset.entity].keys[0]
        self.cells, self.why_not = None, ""
        try:
            self.cells = Cells(scorer.declaration, scorer.labels)
        except ConfigError as error:
            self.why_not = error.what
        self.made = Made(scorer.declaration.features, tuple(scorer.encoder.columns))
        self.notes = _notes(scorer)
        self._undecided = _undecided(scorer)
        self._features = frozenset(self.names)
        self._columns = frozenset(self.cells.names if self.cells else [self.key])
        self._everybody = {head.name: np.ones(1, bool) for head in heads}
        for fitted in used.values():  # libraries load what they need at the first call
            fitted.predict(np.full((1, len(scorer.encoder.columns)), np.nan, np.float32), self._besides({}))
        self._threads = ThreadpoolController()  # for one row, threads wait for each other

    @classmethod
    def read(cls, folder: Path | str, reasons: int = 0, accept_gate: bool = False) -> Rows:
        """Of a bundle's folder. Raises BundleError; accept_gate: as for `bundling.read`."""
        return cls(bundling.read(Path(folder), accept_gate=accept_gate), reasons)

    def score(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of a row, of values that JSON has.

        `targets`: name → `probability`, `decision` (null where the threshold is its group's) and, where tiers are
        declared, `tier`; of a multiclass target the class and each class's
        probability, of a number `value`; `reasons`, where asked for. Besides, where there is something to say:
        the row's key; `unseen`, texts that no training row had, which count as missing; `absent`, features or columns
        that the row does not name, and that are missing therefore.
        Raises DataError naming what is wrong with the row.
        """
        features, answer = self._read(row)
        X, unseen = self.scorer.encoder.row(features)
        if made := self.made.of(features, X):
            X, unseen = self.scorer.encoder.row({**features, **made})
            answer["absent"] = [name for name in answer["absent"] if name not in made]
            if not answer["absent"]:
                del answer["absent"]
        besides = self._besides(features)
        if unseen:
            answer["unseen"] = unseen
        with self._threads.limit(limits=1):
            said = say(self.scorer, X, besides, self._everybody, ONE, ONE)
            answer["targets"] = {head.name: self._one(head, said, X, besides) for head in self.scorer.heads}
        return answer

    def line(self, text: str | bytes) -> str:
        """JSON to JSON, on one line. Raises DataError."""
        return json.dumps(self.score(parsed(text)), ensure_ascii=False)

    def example(self) -> dict[str, Any]:
        """A row of what is usual in training rows, by features."""
        usual = self.scorer.usual
        if usual is None:
            return dict.fromkeys(self.names)
        texts = dict.fromkeys(self.texts, "the row's text")
        columns = zip(self.scorer.encoder.columns, usual.tolist(), strict=True)
        return {
            column.name: None if value != value
            else column.levels[int(value)] if column.kind == "categorical"
            else int(value) if value.is_integer() else float(str(np.float32(value)))
            for column, value in columns
        } | texts  # fmt: skip

    def _read(self, row: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any]]:
        """Features of a row, and the beginning of its answer: whose it is, and which features it lacks."""
        if not isinstance(row, Mapping):
            raise DataError(
                f"a row is an object of names and values, not {type(row).__name__}", fix='{"name": 1.5, …}'
            )
        foreign = [name for name in row if name not in self._features]
        answer: dict[str, Any] = {}
        if row.get(self.key) is not None and self.key not in self._features:
            answer["entity"] = str(row[self.key])
        sets = self.scorer.declaration.features
        both = self._columns.intersection(self.texts)  # a text's set may be called as its column
        by_feature = not self.cells or any(
            name in self._features or str(name).partition(".")[0] in sets for name in row if name not in both
        )
        if unknown := [
            name for name in foreign if name not in self._columns or (by_feature and name != self.key)
        ]:
            raise self._unknown(unknown, by_feature)
        if not by_feature:
            assert self.cells is not None
            features: Mapping[str, Any] = self.cells.read(row)
            expected = [name for name in self.cells.columns if name != self.key]
        else:
            features, expected = row, list(self.names)
        if absent := [name for name in expected if name not in row]:
            answer["absent"] = absent
        return features, answer

    def _unknown(self, names: list[str], by_feature: bool) -> DataError:
        name = names[0]
        valid = self._features if by_feature else self._columns
        more = f" (and {len(names) - 1} more names)" if len(names) > 1 else ""
        column = (
            by_feature
            and name in self.scorer.declaration.dataset.tables[self.scorer.declaration.dataset.entity].columns
        )
        why = None
        if column:
            why = self.why_not or "a row is written by features, or by columns, not by both"
        what = (
            "feature of this bundle"
            if by_feature
            else f"column of table `{self.scorer.declaration.dataset.entity}`"
        )
        return DataError(f"`{name}` is no {what}{more}", where=name, why=why, fix=did_you_mean(name, valid))

    def _besides(self, features: Mapping[str, Any]) -> Modalities:
        """The row's texts."""
        found = []
        for name in self.texts:
            text = features.get(name)
            text = None if text != text else text  # NaN is missing, as it is in a column
            if not isinstance(text, str | None):
                raise DataError(f"`{name}` is {text!r}, which is no text", where=name, fix="a text, or null")
            found.append(Texts(name, np.array([text], object)))
        return Modalities(texts=tuple(found))

    def _one(self, head: Head, said: Said, X: np.ndarray, besides: Modalities) -> dict[str, Any]:
        """What is said of one target."""
        probability, decision = said.probability[head.name][0], said.decision[head.name][0]
        if head.type == "regression":
            found: dict[str, Any] = {"value": float(probability)}
        elif head.type == "multiclass":
            each = dict(zip(head.classes, map(float, probability), strict=True))
            found = {"decision": head.classes[int(decision)], "probability": each}
        else:
            acted = None if head.name in self._undecided else bool(decision)
            found = {"probability": float(probability), "decision": acted}
            if tiers := self.scorer.listing.tiers_for(head.name, head.type):
                [found["tier"]] = names_of(said.probability[head.name], tiers, self._everybody[head.name])
        if self.reasons:
            found["reasons"] = self._why(head, int(decision), X, besides)
        return found

    def _why(self, head: Head, decision: int, X: np.ndarray, besides: Modalities) -> list[str]:
        scorer, usual = self.scorer, self.scorer.usual
        assert usual is not None
        spoken = np.array([decision]) if head.type == "multiclass" else None
        fitted = scorer.models[head.model]
        values = reasons.added(fitted, head.position, X, besides, usual, spoken)
        silent = [place for place, (text, _) in enumerate(scorer.told) if text is None]
        [chosen] = reasons.strongest(values, [story for _, story in scorer.told], self.reasons, silent)
        found = [
            (float(values[0, c]), reasons.in_words(
                str(scorer.told[c][0]), float(X[0, c]), float(usual[c]), scorer.encoder.columns[c], values[0, c] < 0
            ))
            for c in chosen
        ]  # fmt: skip
        if said := sayings(fitted, head.position, besides, spoken):
            found += [(one.added, reasons.of_text(one)) for one in said[0] if one.added]
            found.sort(key=lambda one: (one[0] < 0, -abs(one[0])))
        return [text for _, text in found[: self.reasons]]


def parsed(text: str | bytes) -> dict[str, Any]:
    """A row's JSON. Raises DataError for what is no JSON object, or names something twice."""
    try:
        if len(text) > LONGEST:
            raise ValueError(f"it is longer than {LONGEST:,} characters")
        found = json.loads(text, object_pairs_hook=_once)
        json.dumps(found, ensure_ascii=False).encode()  # JSON may name half a character, which is no text
    except (ValueError, RecursionError) as error:
        raise DataError("the row is no JSON", why=str(error), fix='{"name": 1.5, "other": "text"}') from None
    if not isinstance(found, dict):
        raise DataError("the row is no JSON object", fix='{"name": 1.5, "other": "text"}')
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it names `{next(n for n in names if names.count(n) > 1)}` twice")
    return found


def _by_score(head: Head) -> Any:
    """A threshold for rows that come alone: a capacity's is where the cut lay on validation."""
    return head.threshold and replace(head.threshold, count=None, fraction=None)


def _undecided(scorer: Scorer) -> set[str]:
    """Targets whose decision takes a group that a row does not say, or is nested with such ones."""
    own = {head.name for head in scorer.heads if head.by_group is not None}
    return own.union(*(chain for chain in scorer.coherent if own & {*chain}))


def _columns_are_enough(scorer: Scorer, models: Mapping[str, Fitted]) -> None:
    """BundleError if a model reads what a row of columns does not have."""
    for name, fitted in models.items():
        if _reads_more(fitted):
            sets = scorer.declaration.features.items()
            beside = [f"`{one}`" for one, node in sets if node.kind in MODALITIES and node.kind != "raw_text"]
            raise BundleError(
                f"model `{name}` reads more than a row's columns: {', '.join(beside)}",
                why="events one by one, and relations, are read from tables",
                fix="score tables (input=<folder>), or run the recipe with a model of columns: model=[lightgbm]",
            )


def _reads_more(fitted: Fitted) -> bool:
    parts = [member.fitted for member in getattr(fitted, "members", ())] + [*getattr(fitted, "tops", ())]
    if parts:
        return any(_reads_more(part) for part in parts)
    if isinstance(fitted, OneByOneFitted):  # texts, which a row has
        return False
    return bool(getattr(fitted, "reads_more", False))


def _notes(scorer: Scorer) -> list[str]:
    found = []
    if scorer.triage is not None:
        found.append(
            f"{scorer.triage.target}: whether a person should look at a row is said of tables (`score`), not of a row alone"
        )
    if undecided := _undecided(scorer):
        found.append(
            f"{', '.join(sorted(undecided))}: thresholds differ by group, so rows alone are not decided"
        )
    for head in scorer.heads:
        if scorer.declaration.target[head.name].among:
            found.append(f"{head.name}: whether the target applies to a row is not looked at")
        if head.threshold is not None and head.threshold.by_rank:
            found.append(
                f"{head.name}: {head.threshold.reason}; of a row alone, the decision is where the cut lay on validation"
            )
    return found
