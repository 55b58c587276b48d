"""Configuration of feature sets that are no columns: events in order, panels of days, a graph of relations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, FiniteFloat, model_validator

from toolkit.config.names import WrongNameError
from toolkit.config.node import Node
from toolkit.config.tables import Dataset, Relation
from toolkit.config.time import PastWindowText, Span, SpanText, span
from toolkit.errors import did_you_mean, nearest

MODALITIES = (
    "sequence",
    "panel",
    "graph",
    "raw_text",
    "image",
)  # the kinds of feature sets that are no columns of the design matrix
Clocked = Literal["gap", "age"]
SEEN = "seen"  # the channel of a panel that says in which steps there were rows
Fill = Literal["zero", "last", "missing"]
Daily = Literal["count", "exists", "sum", "mean", "min", "max", "std", "nunique", "first", "last"]
COUNTED = ("count", "exists", "sum", "nunique")  # of nothing they are 0
CARRIED = ("mean", "min", "max", "first", "last")  # one row's is its value, so it can be carried on
LONGEST_PANEL = 1000  # steps


def _fixed(text: str) -> str:
    if span(text).unit in ("month", "year"):
        raise ValueError(
            f"steps are of one length, and `{text}` is not; write for example 30 days or 4 weeks"
        )
    return text


class EventSequence(Node):
    """The last events of an entity before the cutoff, in order."""

    kind: Literal["sequence"]
    description: str = ""
    table: str
    last: int = Field(ge=1, le=1000, description="events kept, counted from the cutoff back")
    window: PastWindowText = Field("all", description="span before the cutoff, or `all`")
    where: str | None = Field(None, description="SQL condition over the table's columns")
    columns: list[str] = Field(
        [],
        description="what is known of an event: numbers, booleans and texts; `derive` makes numbers of dates",
    )
    time: list[Clocked] = Field(
        ["gap", "age"],
        description="gap: ln(1 + days) since the event before; age: ln(1 + days) from the event to the cutoff",
    )

    @model_validator(mode="after")
    def channels_differ(self) -> EventSequence:
        channels = [*self.columns, *self.time]
        if not channels:
            raise ValueError(
                "an event has nothing that a model could see; name `columns`, or `time: [gap, age]`"
            )
        for index, name in enumerate(channels):
            if name.lower() in (other.lower() for other in channels[:index]):
                raise ValueError(
                    f"two channels would be called `{name}`; `derive` gives a column another name"
                )
        return self


class Channel(Node):
    """What one channel of a panel is in each step: an aggregate of a table's rows."""

    table: str | None = Field(None, description="a table with a clock; default: the panel's")
    agg: Daily
    column: str | None = Field(None, description="column aggregated; none for count and exists")
    where: str | None = Field(None, description="SQL condition over the table's columns")
    fill: FiniteFloat | Fill | None = Field(
        None,
        description="of a step without a value: zero (default of count, exists, sum, nunique), missing (default "
        "of the others), last (the value before it, from before the panel too), or a number",
    )

    @model_validator(mode="after")
    def parts_fit(self) -> Channel:
        if (self.agg in ("count", "exists")) == (self.column is not None):
            raise ValueError(f"`agg: {self.agg}` " + ("takes no" if self.column else "needs a") + " `column`")
        if self.fill == "last" and self.agg not in CARRIED:
            raise ValueError(f"`fill: last` goes with {', '.join(CARRIED)}, not with {self.agg}")
        return self

    @property
    def filled(self) -> float | None:
        """The number that stands where there is no value; None: missing, or the one before."""
        if self.fill is None:
            return 0.0 if self.agg in COUNTED else None
        return 0.0 if self.fill == "zero" else self.fill if isinstance(self.fill, float) else None


class Panel(Node):
    """The last days of an entity before the cutoff, or other steps, each with the same channels."""

    kind: Literal["panel"]
    description: str = ""
    last: int = Field(ge=1, le=LONGEST_PANEL, description="steps, counted from the cutoff back")
    every: Annotated[SpanText, AfterValidator(_fixed)] = Field(
        "1 day", description="length of a step: hours, days or weeks; at midnight cutoffs a day is a day"
    )
    table: str | None = Field(None, description="table of the channels that name none")
    channels: dict[str, Channel] = Field(min_length=1, description="name → what it is in each step")
    since: str | None = Field(
        None,
        description="date column of the entity table: earlier steps are none; default: the entity's first row "
        "in any of the panel's tables",
    )
    seen: bool = Field(
        True,
        description="one more channel, `seen`: 1 if the step has a row in any of the panel's tables, else 0",
    )

    @model_validator(mode="after")
    def channels_can_be_made(self) -> Panel:
        for name, channel in self.channels.items():
            if not (channel.table or self.table):
                raise ValueError(f"channel `{name}` names no `table`, and the panel none for all")
        names = [*self.channels, *([SEEN] if self.seen else [])]
        for index, name in enumerate(names):
            if not name.replace("_", "").isalnum():
                raise ValueError(f"`{name}` is no name of a channel: letters, digits and _ only")
            if name.lower() in (other.lower() for other in names[:index]):
                hint = "; `seen: false` leaves that one out" if name == SEEN else ""
                raise ValueError(f"two channels would be called `{name}`{hint}")
        return self

    @property
    def step(self) -> Span:
        return span(self.every)

    def by_table(self) -> dict[str, dict[str, Channel]]:
        """Table → its channels, tables in the order in which they are first named."""
        found: dict[str, dict[str, Channel]] = {}
        for name, channel in self.channels.items():
            found.setdefault(channel.table or self.table or "", {})[name] = channel
        return found


class RelationGraph(Node):
    """Relations known at the cutoff; its nodes are all entities known then, whether or not they are rows."""

    kind: Literal["graph"]
    description: str = ""
    relation: str
    types: list[str] | None = Field(
        None, min_length=1, description="one relation for each of these kinds; default: all kinds together"
    )
    weight: bool | None = Field(
        None, description="weigh edges by the relation's weight; default: if it declares one"
    )
    nodes: list[str] = Field(
        min_length=1, description="feature sets of the recipe, computed for every node; columns only"
    )

    @model_validator(mode="after")
    def each_once(self) -> RelationGraph:
        for what, names in (("types", self.types or []), ("nodes", self.nodes)):
            for index, name in enumerate(names):
                if name in names[:index]:
                    raise ValueError(f"`{what}` names `{name}` twice")
        return self

    def weighted(self, relation: Relation) -> bool:
        """Do its edges carry a weight?"""
        return relation.weight is not None if self.weight is None else self.weight


class RawText(Node):
    """The text of each row as it stands, for models that learn their own words from training rows."""

    kind: Literal["raw_text"]
    description: str = ""
    table: str
    column: str = Field(description="a column of texts; several rows of an entity are put one after another")


class PageImages(Node):
    """Pictures of each row, such as the first pages of a document."""

    kind: Literal["image"]
    description: str = ""
    table: str
    column: str = Field("image", description="a column of pictures (type image)")
    order: str = Field("page", description="column by which an entity's pictures are put in order")
    first: int = Field(1, ge=1, le=50, description="pictures kept, from the first on")
    height: int = Field(128, ge=16, le=1024, description="pixels; pictures are fitted in, on white")
    width: int = Field(96, ge=16, le=1024, description="pixels")


def wrong_names(features: Mapping[str, Any], dataset: Dataset) -> Iterator[WrongNameError]:
    """Names in graphs that mean nothing in their recipe, with their path from `features` on."""
    columns = [name for name, node in features.items() if node.kind not in MODALITIES]
    for name, node in features.items():
        if not isinstance(node, RelationGraph):
            continue
        for index, other in enumerate(node.nodes):
            yield from _no_columns(("features", name, "nodes", index), other, features, columns)
        relation = dataset.relations.get(node.relation)
        if relation is None:
            continue  # told where tables and relations are looked up
        missing = f"relation `{node.relation}` declares no "
        at = f"dataset.relations.{node.relation}"
        if node.types and not relation.type:
            yield WrongNameError(
                ("features", name, "types"), node.types[0], f"{missing}`type`",
                f"{at}.type: <column>, or leave `types` out",
            )  # fmt: skip
        elif node.types and relation.type:
            column = dataset.tables[relation.table].columns.get(relation.type)
            for index, kind in enumerate(node.types):
                if column and column.values and kind not in column.values:
                    what = f"`{relation.table}.{relation.type}` has no value `{kind}`"
                    yield WrongNameError.among(("features", name, "types", index), kind, what, column.values)
        if node.weight and not relation.weight:
            yield WrongNameError(
                ("features", name, "weight"), "true", f"{missing}`weight`",
                f"{at}.weight: <column>, or leave `weight` out",
            )  # fmt: skip


def _no_columns(
    path: tuple[str | int, ...], name: str, features: Mapping[str, Any], columns: Collection[str]
) -> Iterator[WrongNameError]:
    if name not in features:
        what = f"no feature set of this recipe is called `{name}`"
        fix = (
            did_you_mean(name, columns)
            if nearest(name, columns)
            else f"add it to the recipe's `features`: {name}"
        )
        yield WrongNameError(path, name, what, fix)
    elif name not in columns:
        what = f"feature set `{name}` is a {features[name].kind} and gives a node no columns"
        yield WrongNameError.among(path, name, what, columns)
