"""Who does what, by when, about the rows of a ranked list: rules over tiers, reasons and columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from toolkit.config.deadline import DeadlineText
from toolkit.config.enrichment import NAME, PLACEHOLDER
from toolkit.config.listing import Listing
from toolkit.config.names import WrongNameError
from toolkit.config.node import Node

ANYBODY = "*"  # in `capacity`: every owner that is not named
MATCHED = "reason"
ALWAYS = ("key", "rank", "snapshot", "score", "owner", "action")  # what a message may name besides columns
TAKEN = re.compile(rf"{'|'.join(ALWAYS)}|tier|deadline|{MATCHED}(_\d+)?")


class NoPlaybook(Node):
    """Lists say who, and not what to do."""

    kind: Literal["none"] = "none"


class OwnerColumn(Node):
    """The owner of a row's action stands in a column."""

    column: str = Field(description="a column of the entity table, or a feature")
    otherwise: str | None = Field(
        None, min_length=1, description="the owner where the cell is missing; null: nobody, which is said"
    )


class Todo(Node):
    """What to do about a row."""

    action: str = Field(min_length=1, description="what to do, in words")
    owner: str | OwnerColumn | None = Field(None, description="who does it: a name, or {column: NAME}")
    deadline: DeadlineText | None = Field(
        None, description="span after the list's snapshot: 2 days, 1 week, 3 business days"
    )
    message: str | None = Field(
        None, min_length=1, description="text with `{name}` of declared columns, key, score, tier, deadline, reason_1 …"
    )  # fmt: skip
    priority: int = Field(
        5,
        ge=1,
        le=9,
        description="1 is the most urgent: decides where `most` or `capacity` does not hold all",
    )


class When(Node):
    """Which rows a rule is for; all that is given must hold."""

    tier: list[str] = Field([], description="one of these tiers")
    reason: list[str] = Field(
        [], description="one of these features (`set.feature`, or a pattern: `usage.*`) is among the strongest "
        "reasons that raise the row's score",
    )  # fmt: skip
    against: list[str] = Field([], description="the same, of reasons that lower it")
    where: str | None = Field(
        None, description="SQL condition over features (`set.feature`) and columns of the entity table"
    )


class Play(Todo):
    """What to do about the rows of which a condition holds."""

    when: When = Field(When(), description="which rows; without it: all of them")
    stop: bool = Field(False, description="where this rule holds, no later one is looked at")


class Rules(Node):
    """Rules, looked at in their order for each row of a target's list, and what to do where none holds."""

    kind: Literal["rules"]
    target: str | None = Field(
        None, description="whose list; default: the target that tiers are of, else the first"
    )
    columns: dict[str, str] = Field(
        {}, description="name in messages → feature, or column of the entity table; messages say nothing else"
    )
    missing: dict[str, str] = Field(
        {}, description="name in messages → what they say where it is missing; without: the rule passes over the row"
    )  # fmt: skip
    reasons: int = Field(
        3,
        ge=1,
        le=10,
        description="of the strongest reasons that raise, and that lower, a score: how many count",
    )
    most: int = Field(1, ge=1, le=20, description="actions for one row, the most urgent ones")
    capacity: dict[str, Annotated[int, Field(ge=0)]] = Field(
        {},
        description="owner → actions of one list, the most urgent and best rows first; `*`: every other owner",
    )
    holidays: list[date] = Field([], description="days that are no business days, besides weekends")
    rules: dict[str, Play] = Field({}, description="name → rule; their order counts")
    otherwise: dict[str, Todo] = Field({}, description="tier → what to do where no rule holds")

    @field_validator("columns")
    @classmethod
    def names_are_names_and_free(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not NAME.fullmatch(name):
                raise ValueError(f"`{name}`: a name has letters, digits and `_`, and begins with no digit")
            if TAKEN.fullmatch(name):
                raise ValueError(f"messages know `{name}` as something else; choose another name")
        return value

    @model_validator(mode="after")
    def there_is_something_to_do(self) -> Rules:
        if not self.rules and not self.otherwise:
            raise ValueError("a playbook has `rules`, or `otherwise`, or both")
        return self

    def todos(self) -> Iterator[tuple[str, tuple[str, ...], Todo]]:
        """(name as in the list of actions, keys down to it, what to do) of all rules and of `otherwise`."""
        for name, rule in self.rules.items():
            yield name, ("rules", name), rule
        for tier, todo in self.otherwise.items():
            yield f"otherwise.{tier}", ("otherwise", tier), todo


Playbook = Annotated[NoPlaybook | Rules, Field(discriminator="kind")]


def whose(node: Rules, listing: Listing, targets: Collection[str]) -> str:
    """The target whose list a playbook is for."""
    return node.target or listing.tiers_of or next(iter(targets))


def wrong_names(node: Rules, listing: Listing, types: Mapping[str, str]) -> Iterator[WrongNameError]:
    """Names in a playbook that mean nothing in its recipe, with their keys. types: target → its type."""
    if node.target is not None and node.target not in types:
        yield WrongNameError.among(
            ("playbook", "target"), node.target, f"no target is called `{node.target}`", types
        )
        return
    of = listing.tiers_of or whose(node, listing, types)
    tiers = listing.tiers if types.get(of) == "binary" else {}
    for path, tier in [
        *((("playbook", "rules", name, "when", "tier", str(at)), tier)
          for name, rule in node.rules.items() for at, tier in enumerate(rule.when.tier)),
        *((("playbook", "otherwise", tier), tier) for tier in node.otherwise),
    ]:  # fmt: skip
        if not tiers:
            what = f"the list of `{whose(node, listing, types)}` has no tiers, so none is called `{tier}`"
            yield WrongNameError(path, tier, what, "declare `tiers` in the listing, or write rules without")
        elif tier not in tiers:
            yield WrongNameError.among(path, tier, f"no tier is called `{tier}`", tiers)
    yield from _wrong_messages(node, bool(tiers))
    yield from _wrong_owners(node)


def _wrong_messages(node: Rules, tiers: bool) -> Iterator[WrongNameError]:
    told = [f"{MATCHED}_{n + 1}" for n in range(node.reasons)]
    for name in node.missing:
        if name not in (may := [*node.columns, *told]):
            what = f"`missing` names `{name}`, which is none of `columns` and no reason"
            yield WrongNameError.among(("playbook", "missing", name), name, what, may)
    for _, keys, todo in node.todos():
        if todo.message is None:
            continue
        path = ("playbook", *keys, "message")
        known = [*node.columns, *ALWAYS, *told]
        known += ["deadline"] if todo.deadline else []
        known += ["tier"] if tiers else []
        known += [MATCHED] if isinstance(todo, Play) and todo.when.reason else []
        for place in PLACEHOLDER.findall(todo.message):
            if place not in known:
                yield WrongNameError.among(
                    path, place, f"nothing is declared that `{{{place}}}` could name", known
                )
        if stray := re.search(r"\{[^{}]{0,40}\}?|\}", PLACEHOLDER.sub("", todo.message)):
            what = (
                f"`{stray[0]}` is no `{{name}}`; braces stand around the name of a column, and nowhere else"
            )
            yield WrongNameError.among(path, stray[0].strip("{} "), what, known)


def _wrong_owners(node: Rules) -> Iterator[WrongNameError]:
    """Owners with a capacity whom no rule names."""
    owners = {todo.owner for *_, todo in node.todos()}
    if any(isinstance(owner, OwnerColumn) for owner in owners):
        return
    named = {owner for owner in owners if isinstance(owner, str)}
    for owner in node.capacity:
        if owner not in named | {ANYBODY}:
            yield WrongNameError.among(
                ("playbook", "capacity", owner), owner, f"no rule gives `{owner}` anything to do", named
            )
