"""Changes in words: `two more calls a week and a settled complaint would bring it under 0.6`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from toolkit.actions.reasons import described
from toolkit.config.counterfactual import PLACEHOLDER, Changes
from toolkit.evaluation.counterfactual.search import Found, Step
from toolkit.evaluation.effects import number_text
from toolkit.modalities import Column
from toolkit.prepare.features import Feature

SPELLED = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


class Words:
    """The sentences of one declaration. aim: what is to be passed, None: the threshold; called: what reasons call features (`listing.words`)."""

    def __init__(
        self,
        node: Changes,
        aim: float | None,
        columns: Sequence[Column],
        features: Sequence[Feature],
        called: Mapping[str, str],
    ) -> None:
        mark = "the threshold" if aim is None else f"{aim:g}"
        self.aim = f"under {mark}" if node.above is None else f"to {mark} or more"
        self.there = f"under {mark}" if node.above is None else f"at {mark} or more"
        self.columns = {column.name: column for column in columns}
        spoken = {name: text for name, text in called.items() if text}
        self.texts = {feature.name: described(feature, spoken) for feature in features}

    def sentence(self, found: Found) -> str:
        """What is said of one row."""
        before, after = number(found.before), number(found.after)
        changes = listed([self.clause(step) for step in found.steps])
        if found.outcome == "found":
            return f"{changes} would bring it {self.aim} ({before} → {after})"
        if found.outcome == "not needed":
            return f"it is {self.there} already ({before})"
        if found.outcome == "nothing may change":
            return f"nothing may change here: {listed([f'{self.texts[name]} {why}' for name, why in found.kept.items()])}"
        said = {
            "none exists": f"nothing within the declared ranges brings it {self.aim}",
            "none found": f"nothing was found that brings it {self.aim}, among {found.tried:,} changes tried",
            "time ran out": f"time ran out before anything was found that brings it {self.aim}",
        }[found.outcome]
        if found.unlike:
            said += ", but for changes that no row of the past is like"
        return (
            f"{said} (it is {before}); nearest: {changes} ({after})"
            if changes
            else f"{said} (it is {before})"
        )

    def clause(self, step: Step) -> str:
        """One change."""
        name, change, column = step.lever.name, step.lever.change, self.columns[step.lever.name]
        told = {"from": value(step.old, column), "to": value(step.new, column)}
        if change.values is not None:
            pattern = change.values.get(told["to"]) or change.words
        else:
            size = abs(step.new - step.old)
            told["change"] = spelled(size)
            pattern = change.one if size == 1 and change.one else change.words
        if not pattern:
            return f"{self.texts[name]} {told['to']} in place of {told['from']}"
        return PLACEHOLDER.sub(lambda found: told.get(found[1], found[0]), pattern)


def value(encoded: float, column: Column) -> str:
    """A value as people read it."""
    if column.kind == "categorical" and not np.isnan(encoded):
        return column.levels[int(encoded)]
    return number_text(
        float(np.format_float_positional(np.float32(encoded))) if np.isfinite(encoded) else encoded
    )


def number(found: float) -> str:
    """A probability, or a number predicted."""
    return f"{found:.3f}" if abs(found) < 1 else number_text(float(f"{found:.4g}"))


def spelled(size: float) -> str:
    """Small whole numbers as words."""
    size = float(np.format_float_positional(np.float32(size)))
    return SPELLED[int(size)] if size in range(1, len(SPELLED)) else number_text(size)


def listed(parts: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
