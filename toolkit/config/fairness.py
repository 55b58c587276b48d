"""Whom a model must not treat differently: protected attributes, gates on the gaps, and their mitigation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from toolkit.config.names import Path, WrongNameError, refuse
from toolkit.config.node import Node

UNKNOWN = "unknown"  # what the rows that have no value are called, unless a group is
Measure = Literal[
    "demographic_parity_difference", "demographic_parity_ratio", "equal_opportunity_difference",
    "equalized_odds_difference", "disparate_impact",
]  # fmt: skip
MEASURES: tuple[Measure, ...] = get_args(Measure)
RATIOS = ("demographic_parity_ratio", "disparate_impact")  # 1 is equal; differences: 0 is
Constraint = Literal["demographic_parity", "equal_opportunity"]


class Protected(Node):
    """One protected attribute: where its value is read, and which groups the values make."""

    column: str | None = Field(None, description="a column; of a date the years up to the cutoff")
    table: str | None = Field(None, description="the column's table; default: the entity table")
    feature: str | None = Field(
        None, description="instead of `column`: a feature of the recipe, with `as_feature: true`"
    )
    as_feature: bool = Field(
        False, description="true: models may see it; else it is read to judge decisions, and is no feature"
    )
    in_playbook: bool = Field(
        False, description="true: a playbook's conditions, messages and owners may read it; else they may not"
    )
    bins: list[float] | None = Field(
        None, min_length=1, description="of a number, the edges of groups: [30, 60] makes three"
    )
    values: dict[str, str] = Field(
        {}, description="value → the group it belongs to; a value not named here is a group of its own"
    )
    reference: str | None = Field(
        None,
        description="group that selection is compared with in disparate_impact; default: the most selected",
    )

    @field_validator("bins")
    @classmethod
    def edges_increase(cls, value: list[float] | None) -> list[float] | None:
        if value and any(low >= high for low, high in pairwise(value)):
            raise ValueError("the edges must increase, for example [30, 45, 60]")
        return value

    @model_validator(mode="after")
    def is_read_in_one_place(self) -> Protected:
        if (self.column is None) == (self.feature is None):
            raise ValueError("give either `column` or `feature`")
        if self.feature and not self.as_feature:
            raise ValueError(
                f"`{self.feature}` is a feature, so models see it; say so with `as_feature: true`, "
                "or name a `column` that is none"
            )
        if self.feature and self.table:
            raise ValueError("`table` goes with `column`")
        if self.bins and self.values:
            raise ValueError("`bins` are for numbers and `values` for texts; give one of them")
        return self


class Gate(Node):
    """A bound that a measure has to keep on the test rows, by its point estimate."""

    attribute: str
    measure: Measure
    at_least: float | None = Field(None, ge=0, le=1, description="of a ratio, for example 0.8")
    at_most: float | None = Field(None, ge=0, le=1, description="of a difference, for example 0.1")
    targets: list[str] | None = Field(None, description="whose decisions; default: every yes-or-no target's")
    on_failure: Literal["warn", "fail"] = Field(
        "warn", description="fail: exit code 3, and the bundle scores with `accept_gate=true` only"
    )

    @model_validator(mode="after")
    def the_bound_goes_with_the_measure(self) -> Gate:
        wanted, other = ("at_least", "at_most") if self.measure in RATIOS else ("at_most", "at_least")
        if getattr(self, wanted) is None or getattr(self, other) is not None:
            equal = "1" if self.measure in RATIOS else "0"
            raise ValueError(f"`{self.measure}` is {equal} where groups are equal: it takes `{wanted}`")
        return self

    @property
    def bound(self) -> float:
        found = self.at_least if self.at_least is not None else self.at_most
        assert found is not None
        return found

    def holds(self, value: float) -> bool:
        return value >= self.bound if self.at_least is not None else value <= self.bound

    def __str__(self) -> str:
        return (
            f"{self.measure} of {self.attribute} {'>=' if self.at_least is not None else '<='} {self.bound:g}"
        )


class Mitigation(Node):
    """A threshold for each group, found on validation rows, such that the constraint holds there."""

    attribute: str
    constraint: Constraint = Field(
        description="demographic_parity: equal shares are selected; equal_opportunity: equal shares of the positives"
    )


class Fairness(Node):
    """Protected attributes by which decisions are compared; none: nothing is."""

    attributes: dict[str, Protected] = Field({}, description="protected attributes, by name")
    smallest_group: int = Field(50, ge=1, description="groups with fewer test rows are withheld")
    measures: list[Measure] = Field(
        list(MEASURES), min_length=1, description="what is reported of each attribute"
    )
    gates: list[Gate] = Field([], description="bounds that warn or fail the run")
    mitigation: Mitigation | None = Field(None, description="thresholds by group; null: one for all")

    @field_validator("attributes")
    @classmethod
    def names_are_plain(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not name or name.strip() != name or len(name) > 60:
                raise ValueError(f"`{name}` cannot be the name of an attribute; choose a short plain one")
        return value

    @model_validator(mode="after")
    def what_is_named_is_declared(self) -> Fairness:
        paths: list[tuple[Path, str]] = [
            (("gates", index, "attribute"), gate.attribute) for index, gate in enumerate(self.gates)
        ]
        if self.mitigation:
            paths.append((("mitigation", "attribute"), self.mitigation.attribute))
        refuse("Fairness", [
            WrongNameError.among(path, name, f"no protected attribute is called `{name}`", self.attributes)
            for path, name in paths if name not in self.attributes
        ])  # fmt: skip
        for gate in self.gates:
            if gate.measure not in self.measures:
                raise ValueError(f"a gate is about `{gate.measure}`, which `measures` leaves out")
        return self


def wrong_in(fairness: Fairness, kinds: Mapping[str, str], tables: Collection[str]) -> list[WrongNameError]:
    """Names of targets and tables that are none. kinds: target → its type; gates are about yes-or-no targets."""
    yes_or_no = [name for name, kind in kinds.items() if kind == "binary"]
    found: list[WrongNameError] = []
    path: Path
    for name, attribute in fairness.attributes.items():
        if attribute.table and attribute.table not in tables:
            path = ("fairness", "attributes", name, "table")
            what = f"no table is called `{attribute.table}`"
            found.append(WrongNameError.among(path, attribute.table, what, tables))
    for index, gate in enumerate(fairness.gates):
        for at, name in enumerate(gate.targets or []):
            path = ("fairness", "gates", index, "targets", at)
            if name not in yes_or_no:
                what = f"no target is called `{name}`"
                if name in kinds:
                    what = f"`{name}` is no yes-or-no target, so it has no threshold and nobody is selected"
                found.append(WrongNameError.among(path, name, what, yes_or_no))
    if not yes_or_no:
        why = "no target of this recipe is yes or no, so there is no threshold and nobody is selected"
        asked = {"gates": fairness.gates, "mitigation": fairness.mitigation}
        found += [
            WrongNameError(("fairness", key), key, why, f"leave `{key}` out")
            for key, value in asked.items() if value
        ]  # fmt: skip
    return found
