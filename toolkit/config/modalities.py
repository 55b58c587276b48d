"""Configuration of feature sets that are no columns: events in order, and a graph of relations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from toolkit.config.names import WrongNameError
from toolkit.config.node import Node
from toolkit.config.tables import Dataset, Relation
from toolkit.config.time import PastWindowText
from toolkit.errors import did_you_mean, nearest

MODALITIES = ("sequence", "graph")  # the kinds of feature sets that are no columns of the design matrix
Clocked = Literal["gap", "age"]


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
