"""Five rows of the newest test list, with the reasons for their scores, and what would help them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.evaluation import lime
from toolkit.evaluation.effects import additive, number_text
from toolkit.evaluation.metrics import Floats
from toolkit.modalities import Modalities
from toolkit.models import shapley
from toolkit.models.explain import Explains, Saying, sayings
from toolkit.models.interface import Fitted, Task
from toolkit.report.evidence import Example, Reason
from toolkit.report.listed import Listed, days_of, listed

if TYPE_CHECKING:
    from toolkit.report.explain import Head, Looks

REASONS = 5
LONGEST_VALUE = 200  # characters of a value shown
BACKGROUND = 30  # training rows that stand for what is left out, for `shap`
# Target, encoded rows, what they have besides → a sentence each on what would help; none where none is declared.
Helping = Callable[[str, NDArray[np.float32], Modalities], list[str]]


@dataclass(frozen=True)
class Local:
    """What each column adds to each row's score [rows, columns]; notes: what is to be known of that, per row."""

    added: Floats
    notes: list[str]


def examples(
    looks: Looks, fitted: Fitted, head: Head, asked: Sequence[int], helping: Helping | None
) -> list[Example]:
    """asked: columns worth asking about, the strongest first."""
    entries = listed(looks.matrix, looks.outcome, head.index, looks.key)
    chosen = _telling(entries, head.task)
    if not chosen:
        return []
    places = list(chosen.values())
    at = looks.matrix_rows(np.array([entries.rows[place] for place in places]))
    X, besides, raw = looks.encode(at), looks.besides(at), looks.taken(at)
    said = local(looks, fitted, head, X, besides, asked, entries.decision[places])
    words = sayings(fitted, head.place, besides, entries.decision[places])
    days = days_of(entries.cutoff, looks.config.cohort.timezone)
    helped = helping(head.task.name, X, besides) if helping else []
    out = []
    for i, (role, place) in enumerate(chosen.items()):
        added = said.added[i]
        strongest = [int(c) for c in np.argsort(-np.abs(added), kind="stable")[:REASONS] if added[c]]
        reasons = [
            Reason(looks.columns[c].name, _value(raw[looks.columns[c].name], i), float(added[c]),
                   looks.text(looks.columns[c]))
            for c in strongest
        ]  # fmt: skip
        if words:
            reasons += [_of_text(one) for one in words[i] if one.added]
            reasons = sorted(reasons, key=lambda reason: -abs(reason.contribution))[:REASONS]
        label = entries.y[place]
        out.append(
            Example(
                entity=str(entries.entity[place]), cutoff=days[place], score=float(entries.strength[place]),
                probability=None if head.task.type == "regression" else float(entries.probability[place]),
                label=None if np.isnan(label) else float(label), rank=place + 1, reasons=reasons, role=role,
                predicted=head.task.classes[int(entries.decision[place])] if head.task.type == "multiclass" else "",
                note=said.notes[i], help=helped[i] if helped else "",
            )
        )  # fmt: skip
    return out


def _of_text(saying: Saying) -> Reason:
    """What a text adds, and the words of it that say so; its value is not the text, which may be long."""
    value = f"says {', '.join(saying.words)}" if saying.words else "says no word that counts"
    return Reason(saying.text, value, saying.added, f"words of {saying.text}")


def local(
    looks: Looks, fitted: Fitted, head: Head, X: NDArray[np.float32], besides: Modalities, asked: Sequence[int],
    decision: NDArray,
) -> Local:  # fmt: skip
    """As `report.explain_by` says. decision: of several classes the one that is spoken of [rows]."""
    by, task, none = looks.config.report.explain_by, head.task, [""] * len(X)

    def of_class(values: Floats) -> Floats:
        return values[np.arange(len(X)), ..., decision] if task.type == "multiclass" else values

    if by == "auto" or (by == "shap" and isinstance(fitted, Explains)):
        return Local(of_class(looks.added(fitted, [head], X, besides, asked)[0]), none)
    if by == "shap" and (found := shapley.tree_shap(fitted, head.place, X)):
        return Local(of_class(found.values), none)

    def score(Z: NDArray, row: int) -> Floats:
        """Of changed values of one row, on the scale on which models add up."""
        said = additive(fitted.predict(Z, besides.some(np.full(len(Z), row)))[head.place], task)
        return said[:, int(decision[row])] if task.type == "multiclass" else said

    added, notes = np.zeros(X.shape), none
    if by == "shap":
        for row in range(len(X)):
            added[row], _ = shapley.by_permutation(
                partial(score, row=row), X[row], looks.train[:BACKGROUND], asked, looks.config.seed
            )
        return Local(added, notes)
    notes = []
    for row in range(len(X)):
        rng = np.random.default_rng([looks.config.seed, row])
        linear = lime.surrogate(partial(score, row=row), X[row], looks.train, asked, looks.categorical, rng)
        added[row] = linear.weights
        notes.append(linear.words())
    return Local(added, notes)


def _telling(entries: Listed, task: Task) -> dict[str, int]:
    """Role → place in the list, of labelled rows; each row once.

    best: the highest score; threshold: the last one to be acted upon (without a threshold, the middle);
    unexpected_no, unexpected_yes: what the scores got most wrong; low: three quarters down the list.
    """
    has = np.flatnonzero(~np.isnan(entries.y))
    if not len(has):
        return {}
    y = entries.y[has]
    acted = has[entries.decision[has] == 1] if task.type == "binary" else has[:0]
    high_first, low_first = has, has[::-1]
    if task.type == "regression":
        gap = entries.strength[has] - y
        high_first, low_first = has[np.argsort(-gap, kind="stable")], has[np.argsort(gap, kind="stable")]
        came = np.ones(len(entries.y), bool)
        wrong = came
    else:
        right = entries.decision == entries.y if task.type == "multiclass" else entries.y == 1
        came, wrong = right, ~right
    wanted = {
        "best": has,
        "threshold": np.concatenate([acted[::-1][:1], has[len(has) // 2 :]]),
        "unexpected_no": high_first[wrong[high_first]],
        "unexpected_yes": low_first[came[low_first]],
        "low": has[3 * len(has) // 4 :],
    }
    chosen: dict[str, int] = {}
    for role, places in wanted.items():
        free = (int(place) for place in places[: len(wanted)] if place not in chosen.values())
        place = next(free, None)
        if place is not None:
            chosen[role] = place
    return chosen


def _value(column: Any, row: int) -> str:
    """A value as people read it; a long text is cut."""
    if isinstance(column, pd.Categorical):
        code = column.codes[row]
        text = "missing" if code == -1 else str(column.categories[code])
        return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
    return number_text(column[row])
