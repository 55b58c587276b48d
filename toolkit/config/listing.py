"""The list one calls from: for which moment, how long, what stands beside each name."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from toolkit.config.node import Node

FIXED = re.compile(
    r"rank|snapshot|decile|change|previous_rank|big_move|what_would_help|(?:P|VALUE|CLASS)_.*|reason_\d+"
)


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
    big_move: BigMove = Field(BigMove(), description="what is marked when a list is compared with the last")

    def rows(self, ranked: int) -> int:
        """How many of the ranked rows it has."""
        return ranked if self.size == "all" else min(self.size, ranked)

    @field_validator("columns")
    @classmethod
    def headings_are_free(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if FIXED.fullmatch(name):
                raise ValueError(f"the heading `{name}` is the list's own; choose another")
        return value
