"""The list one calls from: for which moment, how long, what stands beside each name."""

from __future__ import annotations

import re
from math import prod
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from toolkit.config.names import WrongNameError, refuse
from toolkit.config.node import Node

FIXED = re.compile(
    r"rank|snapshot|tier|decile|change|previous_rank|big_move|what_would_help|(?:P|VALUE|CLASS)_.*|reason_\d+"
)
BEST = re.compile(r"rank|choice|snapshot|(?:P|VALUE)_.*")  # headings of the list of best choices
MOST_COMBINATIONS = 2_000


class BigMove(Node):
    """From which change on a row counts as a big mover; either is enough.

    In the middle of a ranking scores lie close together and places change by themselves: those count that
    came to the top or left it.
    """

    places: float = Field(
        0.1, gt=0, le=1,
        description="its place, as a share of all ranked rows, has changed by this, into or out of `top`",
    )  # fmt: skip
    top: float = Field(0.1, gt=0, le=1, description="the first rows, as a share of all ranked ones")
    probability: float = Field(0.1, gt=0, le=1, description="its probability has changed by this")


class Choice(Node):
    """A feature that one may choose, and what to choose from."""

    feature: str = Field(
        description="a feature, as `set.feature`; none of a set of expressions, which follow"
    )
    values: list[float] | list[str] = Field(min_length=1, description="values that it may take")


class WhatIf(Node):
    """What each listed row would score with other values of features that one may choose: `<list>.best.csv`.

    Every combination of the choices is tried, and features made of them (`kind: expressions`) are computed anew.
    It says what the model expects, not what a choice causes: that takes rows in which it was made at random.
    """

    choose: dict[str, Choice] = Field(min_length=1, description="heading → the feature and its values")
    best: int = Field(3, ge=1, le=100, description="combinations that are listed of each row, best first")
    prefer: Literal["highest", "lowest"] = Field("highest", description="which score is the best one")

    @property
    def combinations(self) -> int:
        return prod(len(choice.values) for choice in self.choose.values())

    @field_validator("choose")
    @classmethod
    def combinations_can_be_tried(cls, value: dict[str, Choice]) -> dict[str, Choice]:
        count = prod(len(choice.values) for choice in value.values())
        if count > MOST_COMBINATIONS:
            raise ValueError(f"{count:,} combinations are too many; at most {MOST_COMBINATIONS:,}")
        for name, choice in value.items():
            if BEST.fullmatch(name):
                raise ValueError(f"the heading `{name}` is the list's own; choose another")
            if len(set(choice.values)) < len(choice.values):
                raise ValueError(f"`choose.{name}.values` names a value twice")
        if len({choice.feature for choice in value.values()}) < len(value):
            raise ValueError("`choose` names a feature twice")
        return value


class Listing(Node):
    """A ranked list for the newest moment of the cohort's rhythm, later than any labelled one.

    Of a cohort with `every` it is the last step up to which the tables of the features reach; of listed
    cutoffs the end of the data; without a clock, all rows. Scoring writes the same list for newer tables.
    """

    file: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_-]{1,80}$", description="name of the list's file, without `.csv`; null: no list"
    )  # fmt: skip
    size: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        5_000,
        description="rows of the list, with reasons; all: everybody. All are ranked, however short it is",
    )
    columns: dict[str, str] = Field(
        {}, description="heading → the feature, or the column of the entity table, that stands below it"
    )
    reasons: int = Field(3, ge=0, le=10, description="the strongest reasons of each row, in words")
    words: dict[str, str] = Field(
        {},
        description="what reasons call things: a name or phrase in features' words (verb `plan`), or a whole "
        "feature; a feature that is called nothing is no reason",
    )
    models: Literal["chosen", "all"] | list[str] = Field(
        "chosen", description="whose lists are written: the chosen model's, all declared models', or of these too"
    )  # fmt: skip
    tiers: dict[str, float] = Field(
        {},
        description="tier → the least probability of its rows, the lowest tier first and at 0; {}: no tiers",
    )
    tiers_of: str | None = Field(
        None, description="the target whose probability makes the tiers of all lists; null: the list's own"
    )
    what_if: WhatIf | None = Field(
        None, description="the best values, for each row, of features that one may choose; null: none"
    )
    big_move: BigMove = Field(BigMove(), description="what is marked when a list is compared with the last")

    def rows(self, ranked: int) -> int:
        """How many of the ranked rows it has."""
        return ranked if self.size == "all" else min(self.size, ranked)

    @field_validator("file")
    @classmethod
    def name_is_free(cls, value: str | None) -> str | None:
        if value and value.lower() == "fairness":
            raise ValueError(f"`{value}.csv` holds the figures by protected group; choose another name")
        return value

    @field_validator("columns")
    @classmethod
    def headings_are_free(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if FIXED.fullmatch(name):
                raise ValueError(f"the heading `{name}` is the list's own; choose another")
        return value

    def tiers_for(self, target: str, kind: str) -> dict[str, float]:
        """The tiers of a target's own probability; {} where it has none. kind: its type."""
        return self.tiers if kind == "binary" and self.tiers_of in (None, target) else {}

    @model_validator(mode="after")
    def tiers_rise_from_zero(self) -> Listing:
        wrong, before = [], ""
        for name, least in self.tiers.items():
            what, fix = "", "write for example {low: 0, medium: 0.3, high: 0.6, critical: 0.8}"
            if not 0 <= least < 1:
                what = f"tier `{name}` begins at {least:g}, which is no probability below 1"
            elif not before and least:
                what = f"the lowest tier, `{name}`, begins at {least:g}, so rows below that have none"
                fix = f"write {name}: 0, or put a tier at 0 before it"
            elif before and least == self.tiers[before]:
                what, fix = f"tiers `{before}` and `{name}` both begin at {least:g}", "leave one of them out"
            elif before and least < self.tiers[before]:
                what = (
                    f"tiers must rise: `{name}` at {least:g} comes after `{before}` at {self.tiers[before]:g}"
                )
            if what:
                wrong.append(WrongNameError(("tiers", name), name, what, fix))
            before = name
        refuse("Listing", wrong)
        return self
