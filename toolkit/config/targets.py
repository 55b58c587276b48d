"""Configuration of targets: what is to be predicted, made of measures that look ahead from the cutoff."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from toolkit.config.measures import Condition, Measure
from toolkit.config.node import Node
from toolkit.config.time import SpanText, span
from toolkit.training.threshold import ThresholdConfig


class TargetNode(Node):
    """What every target has."""

    description: str = ""
    among: list[Condition] = Field([], description="rows that the target applies to; others have no label")
    weight: float = Field(1.0, gt=0, description="weight in the mean over targets")
    threshold: ThresholdConfig | None = Field(
        None, description="a threshold of its own, in place of the recipe's"
    )


class HorizonTarget(TargetNode):
    horizon: SpanText = Field(description="span after the cutoff in which it happens")
    worth: Measure | None = Field(
        None, description="what a row brings in the horizon, summed in the report's deciles and gains"
    )


class Occurrence(Node):
    """Something happens within the horizon."""

    kind: Literal["event_within"]
    table: str
    where: str | None = Field(None, description="SQL condition over the table's columns")
    at_least: int = Field(1, ge=1, description="rows needed")


class Absence(Node):
    """Nothing happens within the horizon."""

    kind: Literal["inactivity"]
    table: str
    where: str | None = Field(None, description="SQL condition over the table's columns")


class Lull(Node):
    """At some moment of the horizon, nothing has happened for so long. Nested: in a longer horizon, all the more."""

    kind: Literal["silence"]
    table: str
    where: str | None = Field(None, description="SQL condition over the table's columns")
    lasting: SpanText = Field(
        description="hours, days or weeks without a row; they may begin before the cutoff, and end with the horizon"
    )

    @field_validator("lasting")
    @classmethod
    def is_of_one_length(cls, value: str) -> str:
        if span(value).unit in ("month", "year"):
            raise ValueError(f"`{value}` has no fixed length; write for example 30 days")
        return value


Definition = Annotated[Occurrence | Absence | Lull, Field(discriminator="kind")]


class EventWithin(Occurrence, HorizonTarget):
    """Something happens within the horizon."""


class Inactivity(Absence, HorizonTarget):
    """Nothing happens within the horizon."""


class Silence(Lull, HorizonTarget):
    """At some moment of the horizon, nothing has happened for so long."""


class AnyOf(HorizonTarget):
    """At least one of several definitions holds within the horizon; plan says how often each does, and both."""

    kind: Literal["any_of"]
    definitions: dict[str, Definition] = Field(
        min_length=2, max_length=20, description="name → what may happen; without a horizon of its own"
    )


class ThresholdTarget(HorizonTarget):
    """A measure reaches a value."""

    kind: Literal["threshold"]
    of: Measure
    at: Literal["cutoff", "horizon_end"] = "horizon_end"
    op: Literal[">=", ">", "<=", "<"] = ">="
    value: float


class TopFraction(HorizonTarget):
    """A measure is among the top fraction; the quantile is fitted on training rows only."""

    kind: Literal["top_fraction"]
    of: Measure
    at: Literal["cutoff", "horizon_end"] = "horizon_end"
    fraction: float = Field(gt=0, lt=1)
    direction: Literal["highest", "lowest"] = "highest"
    fit: Literal["pooled", "per_cutoff"] = "pooled"


class Value(HorizonTarget):
    """The measure itself (regression)."""

    kind: Literal["value"]
    of: Measure
    at: Literal["cutoff", "horizon_end"] = "horizon_end"
    transform: Literal["none", "log1p"] = "none"


class Classes(HorizonTarget):
    """One of several classes: the first whose condition over the named measures holds."""

    kind: Literal["classes"]
    terms: dict[str, Measure]
    at: Literal["cutoff", "horizon_end"] = "horizon_end"
    classes: dict[str, str] = Field(
        min_length=2, description="class → SQL condition over the terms; first match"
    )


class ColumnTarget(TargetNode):
    """A label that is already a column of the entity table."""

    kind: Literal["column"]
    column: str
    type: Literal["binary", "multiclass", "regression"] = "binary"
    positive: str | None = Field(None, description="the value that means yes (binary)")


Target = Annotated[
    EventWithin
    | Inactivity
    | Silence
    | AnyOf
    | ThresholdTarget
    | TopFraction
    | Value
    | Classes
    | ColumnTarget,
    Field(discriminator="kind"),
]


def type_of(target: TargetNode) -> Literal["binary", "multiclass", "regression"]:
    """What a target asks for: yes or no, one of several, a number."""
    if isinstance(target, ColumnTarget):
        return target.type
    return (
        "regression"
        if isinstance(target, Value)
        else "multiclass"
        if isinstance(target, Classes)
        else "binary"
    )
