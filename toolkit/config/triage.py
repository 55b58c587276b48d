"""Configuration of triage: which rows a person should look at before anybody acts on what a model says of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, model_validator

from toolkit.config.names import WrongNameError
from toolkit.config.node import Node

Share = Annotated[float, Field(gt=0, lt=1)]
CAUSES = ("unsure", "unlike")  # what a queue says of its own accord


class NoTriage(Node):
    """Every row is taken as the model says."""

    kind: Literal["none"] = "none"


class Sure(Node):
    """From which probability of its likeliest class on a row is sure."""

    accuracy: Share | None = Field(
        0.97, description="that sure rows reach on validation rows; null: see `probability`"
    )
    certainty: Share = Field(
        0.9, description="with which validation rows show it: the fewer there are, the higher the threshold"
    )
    probability: Share | None = Field(None, description="a threshold as it is, in place of `accuracy`")

    @model_validator(mode="after")
    def one_of_both(self) -> Sure:
        if (self.accuracy is None) == (self.probability is None):
            raise ValueError("`sure` takes `accuracy` or `probability`, and the other one is null")
        return self


class Doubt(Node):
    """A number that makes a row doubtful."""

    column: str = Field(description="a feature, or a column of the entity table")
    under: FiniteFloat | None = Field(None, description="a row with less is doubtful")
    over: FiniteFloat | None = Field(None, description="a row with more is doubtful")
    missing: bool = Field(False, description="a row without a value is doubtful")

    @model_validator(mode="after")
    def something_is_doubtful(self) -> Doubt:
        if self.under is None and self.over is None and not self.missing:
            raise ValueError(
                f"nothing of `{self.column}` is doubtful: say `under`, `over` or `missing: true`"
            )
        return self


class Unlike(Node):
    """The guard against rows unlike anything in training: far from all training rows, in words or in numbers."""

    alarms: Annotated[float, Field(gt=0, le=0.5)] = Field(
        0.02, description="share of validation rows that are called unlike, although they are not"
    )
    neighbours: int = Field(3, ge=1, le=100, description="a row is as far as its so-manieth nearest one")
    rows: int = Field(
        5_000, ge=10, le=100_000, description="training rows that are kept for it, each class its share"
    )


class Queue(Node):
    """Rows that a person should look at go to a file, with what the model thinks and why it is asked for."""

    kind: Literal["queue"]
    target: str | None = Field(
        None, description="a target of several classes; null: the recipe's first one of that kind"
    )
    file: str = Field("review", pattern=r"^[A-Za-z0-9_-]{1,60}$", description="the file, without .csv")
    sure: Sure | None = Field(Sure(), description="rows that are not are `unsure`; null: not looked at")
    doubts: dict[str, Doubt] = Field({}, description="name → what else makes a row doubtful")
    unlike: Unlike | None = Field(Unlike(), description="null: not looked at")
    classes: int = Field(3, ge=1, le=20, description="likeliest classes that the file tells of a row")
    thumbnails: int = Field(24, ge=0, le=24, description="first pictures of the queue that the report shows")

    @model_validator(mode="after")
    def something_is_looked_at(self) -> Queue:
        if not (self.sure or self.doubts or self.unlike):
            raise ValueError("a queue looks at something: `sure`, `doubts` or `unlike`")
        for name in self.doubts:
            if name in CAUSES:
                raise ValueError(f"a doubt cannot be called `{name}`: that is what the queue itself says")
        return self


Triage = Annotated[NoTriage | Queue, Field(discriminator="kind")]


def target_of(node: Queue, kinds: Mapping[str, str]) -> str:
    """Whose queue it is. kinds: target → binary, multiclass or regression."""
    return node.target or next(name for name, kind in kinds.items() if kind == "multiclass")


def wrong_target(node: Queue, kinds: Mapping[str, str]) -> Iterator[WrongNameError]:
    """What is wrong with the queue's target."""
    able = [name for name, kind in kinds.items() if kind == "multiclass"]
    if node.target and node.target not in able:
        what = f"no target of several classes is called `{node.target}`"
        yield WrongNameError.among(("triage", "target"), node.target, what, able or kinds)
    elif not able:
        what = "triage is of a target of several classes, and here is none"
        yield WrongNameError(("triage", "kind"), "queue", what, "triage=none")
