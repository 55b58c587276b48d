"""Configuration of measures, conditions and cohorts.

A *measure* is one number per row (entity, cutoff): an aggregate over a table's rows in a window, an
expression over several such numbers, or an aggregate of the neighbours' numbers over a relation.
Targets and features are both made of measures; only the moment that they look from differs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union, get_args

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from toolkit.config.node import Node
from toolkit.config.time import SpanText, StepText, WindowText, ZoneText

Simple = Literal[
    "count", "exists", "sum", "mean", "min", "max", "std", "nunique", "days", "first", "last",
    "days_since_last", "days_since_first", "slope", "share_of_periods",
    "gap_mean", "gap_std", "gap_max", "gap_last",
]  # fmt: skip
SIMPLE: tuple[str, ...] = get_args(Simple)
WITHOUT_COLUMN = {
    "count", "exists", "days", "days_since_last", "days_since_first", "share_of_periods",
    "gap_mean", "gap_std", "gap_max", "gap_last",
}  # fmt: skip


class Aggregate(Node):
    """One aggregate over a table's rows of the entity, in a window."""

    table: str
    agg: Simple
    column: str | None = Field(None, description="column aggregated; not for count, days, recency and gaps")
    where: str | None = Field(None, description="SQL condition over the table's columns")
    window: WindowText = Field("all", description="span before the moment, `all`, or `horizon`")
    period: SpanText | None = Field(None, description="for share_of_periods: length of one period")

    @model_validator(mode="after")
    def parts_fit(self) -> Aggregate:
        if self.agg in WITHOUT_COLUMN and self.column:
            raise ValueError(f"`agg: {self.agg}` takes no `column`")
        if self.agg not in WITHOUT_COLUMN and not self.column:
            raise ValueError(f"`agg: {self.agg}` needs a `column`")
        if (self.agg == "share_of_periods") != (self.period is not None):
            raise ValueError("`period` goes with `agg: share_of_periods`, and that needs one")
        if self.agg == "share_of_periods" and self.window in ("all", "horizon"):
            raise ValueError("`agg: share_of_periods` needs a `window` that is a span, for example 5 years")
        return self


class Combined(Node):
    """An expression over named measures, for example a ratio."""

    terms: dict[str, Measure]
    value: str = Field(description="SQL expression over the names of the terms")


class OverRelation(Node):
    """An aggregate, over an entity's neighbours, of their measure."""

    relation: str
    types: list[str] | None = Field(None, description="kinds of relation that count; default: all")
    weight: bool = Field(False, description="multiply by the relation's weight")
    agg: Literal["sum", "mean", "max", "count"] = "sum"
    of: Measure | None = Field(None, description="the neighbours' measure; none for count")

    @model_validator(mode="after")
    def counts_need_no_measure(self) -> OverRelation:
        if (self.of is None) != (self.agg == "count"):
            raise ValueError("`of` is needed for sum, mean and max over neighbours, and only there")
        return self


def _form(value: Any) -> str:
    has = value.__contains__ if isinstance(value, dict) else lambda key: hasattr(value, key)
    return "relation" if has("relation") else "terms" if has("terms") else "aggregate"


Measure = Annotated[
    Union[  # noqa: UP007
        Annotated[Aggregate, Tag("aggregate")],
        Annotated[Combined, Tag("terms")],
        Annotated[OverRelation, Tag("relation")],
    ],
    Discriminator(_form),
]
Combined.model_rebuild()
OverRelation.model_rebuild()


class Condition(Node):
    """Something that must have happened (or not) before the cutoff."""

    table: str
    where: str | None = None
    within: SpanText | None = Field(None, description="how far back from the cutoff; default: ever")
    ending: SpanText | None = Field(None, description="the span ends this long before the cutoff, not at it")
    at_least: int = Field(1, ge=0, description="rows needed; default: 1, or 0 where `at_most` is given")
    at_most: int | None = Field(None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def at_most_alone_allows_none(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("at_most") is not None:
            return {"at_least": 0} | value
        return value

    @model_validator(mode="after")
    def bounds_can_hold(self) -> Condition:
        if self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(
                f"`at_least: {self.at_least}` is more than `at_most: {self.at_most}`: no row could pass"
            )
        return self


class Every(Node):
    """Cutoffs at regular steps."""

    every: StepText = Field(description="`1 week on sunday`, `1 month`, `1 year`")
    start: str | None = Field(None, description="first day; default: the first day with data before it")
    end: str | None = Field(None, description="last day; default: the last one with a complete horizon")
    observed_in: str | None = Field(
        None, description="table that every cutoff must lie in: after its first row and not after its end"
    )
    after: SpanText | None = Field(
        None,
        description="so long after the beginning of that table (default: of all of them), for windows to be full",
    )


class Cohort(Node):
    """Which (entity, cutoff) pairs are rows."""

    cutoffs: list[str] | Every | None = Field(
        None, description="days, a step, or none for tables without a clock"
    )
    moment: Literal["day_begin", "day_end"] = Field(
        "day_begin", description="is a cutoff's day still to come (its midnight), or over and known?"
    )
    timezone: ZoneText = Field("UTC", description="zone in which a cutoff's midnight lies")
    where: str | None = Field(None, description="SQL condition over the entity table's columns")
    having: list[Condition] = Field([], description="what must have happened before the cutoff")
    description: str = ""

    @field_validator("cutoffs", mode="before")
    @classmethod
    def as_text(cls, value: Any) -> Any:
        return [str(item) for item in value] if isinstance(value, list | tuple) else value
