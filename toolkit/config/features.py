"""Configuration of feature sets: named groups of what is known of a row at its cutoff."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from toolkit.config.calendars import Calendar
from toolkit.config.measures import SIMPLE, WITHOUT_COLUMN, Measure
from toolkit.config.modalities import EventSequence, PageImages, Panel, RawText, RelationGraph
from toolkit.config.node import Node
from toolkit.config.text import HashedText
from toolkit.config.time import PastWindowText, SpanText, WindowText


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
    | RelationGraph
    | RawText
    | PageImages,
    Field(discriminator="kind"),
]
