"""Counterfactuals: which features may change, how far, and what a change is to bring about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from toolkit.config.listing import Listing
from toolkit.config.names import WrongNameError
from toolkit.config.node import Node

Number = Annotated[float, Field(allow_inf_nan=False)]
Aim = Number | Annotated[str, Field(min_length=1, description="`threshold`, or a tier of the listing")]
End = Number | Annotated[str, Field(min_length=1)]
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
TOLD = ("change", "from", "to")
THRESHOLD = "threshold"


class NoCounterfactual(Node):
    """Nothing is said about what would help."""

    kind: Literal["none"] = "none"


class Change(Node):
    """How one feature may change. A range is of its new value; a row outside of a declared one keeps the feature.

    A number moves by steps from where it is; a text becomes one of `values`. What is missing stays missing.
    """

    direction: Literal["increase", "decrease", "either"] = "either"
    at_least: End | None = Field(
        None, description="least new value: a number, or a feature whose new value it is; null: 1 % of training rows have less"
    )  # fmt: skip
    at_most: End | None = Field(
        None, description="most, likewise; null: 1 % of training rows have more. Neither goes beyond all training rows"
    )  # fmt: skip
    step: float | None = Field(
        None, gt=0, allow_inf_nan=False,
        description="smallest change; null: about a twentieth of the range, and whole where values are",
    )  # fmt: skip
    also: list[str] = Field(
        [], description="features that move by the same amount, such as longer windows of the same count"
    )
    values: dict[str, str] | None = Field(
        None, description="of a feature of texts: the values it may take (a list, or value → what is said of it)"
    )  # fmt: skip
    words: str = Field(
        "", description="what is said of a change, with {change} (its size), {from} and {to}; empty: the feature's own words"
    )  # fmt: skip
    one: str = Field("", description="the same where {change} is 1")

    @field_validator("values", mode="before")
    @classmethod
    def a_list_has_no_words(cls, value: Any) -> Any:
        return {str(name): "" for name in value} if isinstance(value, list) else value

    @field_validator("words", "one")
    @classmethod
    def placeholders_are_known(cls, value: str) -> str:
        for name in PLACEHOLDER.findall(value):
            if name not in TOLD:
                raise ValueError(f"`{{{name}}}` means nothing here; write {{change}}, {{from}} or {{to}}")
        return value

    @model_validator(mode="after")
    def texts_have_no_range(self) -> Change:
        ranged = [
            key
            for key in ("direction", "at_least", "at_most", "step", "also", "one")
            if getattr(self, key) != type(self).model_fields[key].default
        ]
        if self.values is not None:
            if not self.values:
                raise ValueError("`values` names no value, so the feature cannot change")
            if ranged:
                raise ValueError(f"`values` is for texts, `{ranged[0]}` for numbers: leave one of them out")
        low, high = self.at_least, self.at_most
        if isinstance(low, float) and isinstance(high, float) and low >= high:
            raise ValueError(f"no number is at least {low:g} and at most {high:g}, with room to move")
        return self


class Changes(Node):
    """What would bring a row of the ranked list to the other side of a probability: few changes, and small ones.

    Written beside the list as `what_would_help`, and change by change into `<list>.counterfactuals.csv`.
    Every one is scored by the whole pipeline before it is written; it shows what the model would say, and
    not what happens to those who are brought to change.
    """

    kind: Literal["changes"]
    target: str | None = Field(None, description="whose list; default: the first target's")
    below: Aim | None = Field(
        None, description="bring it under this calibrated probability, the threshold that is used, or a tier; of a number, in its unit"
    )  # fmt: skip
    above: Aim | None = Field(
        None, description="bring it to this probability at least, to the threshold, or into a tier"
    )
    features: dict[str, Change] = Field(
        min_length=1, description="feature → how it may change; all else stays"
    )
    ordinary: float | None = Field(
        0.99, gt=0, lt=1,
        description="a change counts if the row is then no farther from its nearest training rows than this share of "
        "those are from theirs; null: anything within the ranges does",
    )  # fmt: skip
    most: int = Field(3, ge=1, le=5, description="features that change at a time")
    top: int = Field(
        100, ge=1, le=100_000, description="rows of the list, from its top, that are not there already"
    )
    seconds: float = Field(0.5, gt=0, description="for each row; then the best so far counts")
    tries: int = Field(
        20_000, ge=100, le=10_000_000,
        description="changed rows that the model is asked about for each row, at most: everything within the "
        "ranges where that is enough, otherwise the most promising",
    )  # fmt: skip

    @model_validator(mode="after")
    def one_aim(self) -> Changes:
        if (self.below is None) == (self.above is None):
            raise ValueError("give either `below` or `above`: where a row is to be brought")
        return self

    @model_validator(mode="after")
    def who_moves_along_does_not_move_by_itself(self) -> Changes:
        led: dict[str, str] = {}
        for name, change in self.features.items():
            for other in change.also:
                if other in self.features:
                    raise ValueError(f"`{other}` moves along with `{name}`, so it cannot change by itself")
                if other in led:
                    raise ValueError(f"`{other}` moves along with both `{led[other]}` and `{name}`")
                led[other] = name
        return self

    @property
    def aim(self) -> float | str:
        found = self.above if self.below is None else self.below
        assert found is not None
        return found


def wrong(
    node: Changes, types: Mapping[str, str], listing: Listing, no_threshold: str
) -> Iterator[WrongNameError]:
    """What is wrong with it in its recipe. types: target → type; no_threshold: why a row has none of its own, or ""."""
    if listing.file is None:
        yield WrongNameError(
            ("counterfactual",), "", "`counterfactual` needs a ranked list",
            "choose one: listing=latest, or say nothing of changes: counterfactual=none",
        )  # fmt: skip
    if node.target is not None and node.target not in types:
        yield WrongNameError.among(
            ("counterfactual", "target"), node.target, f"no target is called `{node.target}`", types
        )
        return
    name = node.target or next(iter(types))
    at = ("counterfactual", "above" if node.below is None else "below")
    if isinstance(node.aim, str):
        tiers = [tier for tier, least in listing.tiers_for(name, types[name]).items() if least > 0]
        if node.aim not in (THRESHOLD, *tiers):
            yield WrongNameError.among(
                at, node.aim, f"`{node.aim}` is no number, and no tier of the listing that begins above 0", [THRESHOLD, *tiers]
            )  # fmt: skip
        elif node.aim == THRESHOLD and no_threshold:
            yield WrongNameError(at, name, no_threshold, "give a probability")
    if types[name] == "multiclass":
        yield WrongNameError(
            at, name, f"`{name}` has classes, and a change has no side of them",
            "name a yes-or-no target or a number in `counterfactual.target`",
        )  # fmt: skip
    elif types[name] == "regression" and isinstance(node.aim, str):
        yield WrongNameError(at, name, f"`{name}` is a number, without threshold and tiers", "give a number")
    elif types[name] == "binary" and isinstance(node.aim, float) and not 0 < node.aim < 1:
        yield WrongNameError(at, name, f"{node.aim:g} is no probability", "give a number between 0 and 1")


Counterfactual = Annotated[NoCounterfactual | Changes, Field(discriminator="kind")]
