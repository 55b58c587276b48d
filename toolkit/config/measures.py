"""Configuration of measures, conditions, cohorts, targets and feature sets.

A *measure* is one number per row (entity, cutoff): an aggregate over a table's rows in a window, an
expression over several such numbers, or an aggregate of the neighbours' numbers over a relation.
Targets and features are both made of measures; only the moment that they look from differs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union, get_args

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from toolkit.config.calendars import Calendar
from toolkit.config.modalities import EventSequence, Panel, RelationGraph
from toolkit.config.node import Node
from toolkit.config.text import HashedText
from toolkit.config.time import PastWindowText, SpanText, StepText, WindowText, ZoneText, span
from toolkit.training.threshold import ThresholdConfig

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


class FeatureNode(Node):
    """What every feature set has."""

    description: str = ""


class Attributes(FeatureNode):
    """Columns of a table, as known at the cutoff (the latest row, where the table has a history)."""

    kind: Literal["attributes"]
    table: str
    columns: list[str] | Literal["all"] = "all"
    exclude: list[str] = []
    where: str | None = None


class WindowFeature(Node):
    """One or more aggregates, over every window of the set or windows of its own."""

    agg: list[str] | str = Field(
        description="an aggregate, or several: " + ", ".join(SIMPLE) + ", share, acceleration"
    )
    column: list[str] | str | None = None
    where: str | None = None
    windows: list[WindowText] | None = None
    period: SpanText | None = None
    values: list[str] | None = Field(None, description="for share: one feature per value of the column")
    short: SpanText | None = Field(None, description="for acceleration: the recent window")
    long: SpanText | None = Field(None, description="for acceleration: the window it is compared with")
    name: str | None = Field(
        None, pattern=r"^\w+$", description="stands in the features' names before the aggregate"
    )

    @model_validator(mode="after")
    def aggregates_exist(self) -> WindowFeature:
        from toolkit.errors import did_you_mean

        known = {*SIMPLE, "share", "acceleration"}
        for agg in self.aggs:
            if agg not in known:
                raise ValueError(f"`{agg}` is not an aggregate; {did_you_mean(agg, known)}")
            if agg in WITHOUT_COLUMN and self.column and len(self.aggs) == 1:
                raise ValueError(f"`agg: {agg}` takes no `column`")
            if agg not in WITHOUT_COLUMN and agg != "acceleration" and not self.column:
                raise ValueError(f"`agg: {agg}` needs a `column`")
        if ("share" in self.aggs) != (self.values is not None):
            raise ValueError("`values` goes with `agg: share`, and that needs them")
        if ("acceleration" in self.aggs) != (self.short is not None and self.long is not None):
            raise ValueError("`short` and `long` go with `agg: acceleration`, and that needs both")
        if ("share_of_periods" in self.aggs) != (self.period is not None):
            raise ValueError("`period` goes with `agg: share_of_periods`, and that needs one")
        return self

    @property
    def aggs(self) -> list[str]:
        return [self.agg] if isinstance(self.agg, str) else list(self.agg)

    @property
    def columns(self) -> list[str]:
        return [self.column] if isinstance(self.column, str) else list(self.column or [])


class Windows(FeatureNode):
    """Aggregates over an entity's rows of a table, in windows that end at the cutoff."""

    kind: Literal["windows"]
    table: str
    windows: list[PastWindowText] = ["all"]
    where: str | None = None
    features: list[WindowFeature] = Field(min_length=1)


class NeighbourFeature(Node):
    """One aggregate over neighbours."""

    name: str = Field(pattern=r"^\w+$")
    agg: Literal["sum", "mean", "max", "count"] = "sum"
    weight: bool = False
    of: Measure | None = None

    @model_validator(mode="after")
    def counts_need_no_measure(self) -> NeighbourFeature:
        if (self.of is None) != (self.agg == "count"):
            raise ValueError("`of` is needed for sum, mean and max over neighbours, and only there")
        return self


class Neighbours(FeatureNode):
    """Aggregates over the entities that a relation connects, by kind of relation."""

    kind: Literal["neighbours"]
    relation: str
    types: list[str] | None = Field(
        None, description="one feature for each of these kinds; default: all kinds together"
    )
    features: list[NeighbourFeature] = Field(min_length=1)


class Measures(FeatureNode):
    """Named measures: ratios, accelerations, anything that expressions over aggregates can say."""

    kind: Literal["measures"]
    features: dict[str, Measure] = Field(min_length=1)


class Expressions(FeatureNode):
    """Expressions over features of other sets: interactions, differences, parts of a circle."""

    kind: Literal["expressions"]
    features: dict[str, str] = Field(
        min_length=1, description="name → SQL expression over features of other sets, as `set.feature`"
    )


FeatureSet = Annotated[
    Attributes
    | Windows
    | Calendar
    | Neighbours
    | Measures
    | Expressions
    | HashedText
    | EventSequence
    | Panel
    | RelationGraph,
    Field(discriminator="kind"),
]
