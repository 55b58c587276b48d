"""What is looked for in the words of documents: patterns, cue words around them, and who says that a find is one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, field_validator

import toolkit.documents.validators  # noqa: F401  registers the checks
from toolkit.config.node import Node
from toolkit.registry import validators

Expression = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
Validator = validators.union()
Cue = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class NoEntities(Node):
    """Nothing is looked for."""

    kind: Literal["none"] = "none"

    @property
    def tables(self) -> tuple[str, ...]:
        return ()


class Finder(Node):
    """A pattern, and what must stand before or after what it finds.

    Case counts, unless the pattern says `(?i)`; of cues it does not.
    """

    match: Expression = Field(
        description="regular expression (RE2); a blank stands for a blank or a line break, `[ ]` for a blank"
    )
    after: list[Cue] = Field(
        [], description="one of these words stands before it: `Loan No.`; `…` is up to 80 characters"
    )
    before: list[Cue] = Field([], description="one of these words stands after it")
    reach: int = Field(
        0, ge=0, le=200, description="characters that may stand between, besides blanks and punctuation"
    )
    split: list[Cue] = Field([], description="words between which a find is several ones: `and`")
    sure: float = Field(1, gt=0, le=1, description="how far its finds are believed: confidence is times this")

    @field_validator("match")
    @classmethod
    def match_is_an_expression(cls, value: str) -> str:
        from toolkit.documents.patterns import problem

        if why := problem(value):
            raise ValueError(why)
        return value


def _short_finder(value: Any) -> Any:
    return {"match": value} if isinstance(value, str) else value


FinderOrMatch = Annotated[Finder, BeforeValidator(_short_finder, json_schema_input_type=Finder | str)]


class EntityKind(Node):
    """One kind of entity."""

    description: str = ""
    patterns: dict[str, FinderOrMatch] = Field(
        min_length=1, description="name → pattern; of finds that overlap the longest counts"
    )
    validators: list[Validator] = Field(  # type: ignore[valid-type]
        [], description="checks, each of what the one before makes of a find; the last one's value is written"
    )
    normalise: Literal["value", "text", "digits", "upper"] = Field(
        "value",
        description="what is written as value: the validators', or the text in one line, its digits, its capitals",
    )
    confusable: bool = Field(
        False, description="letters misread for digits pass inside numbers (O for 0, l for 1, S for 5 …), and are believed less"
    )  # fmt: skip
    unique: bool = Field(True, description="a value is listed once per document, where it was read best")
    most: int | None = Field(None, ge=1, description="entities of a document, the surest ones")


class EntityPatterns(Node):
    """Entities are looked for by patterns in the words of each page, and checked."""

    kind: Literal["patterns"]
    table: str = Field(
        "words",
        description="table of words in reading order: document, page, line, word, left, top, right, bottom, confidence",
    )
    show: Literal["masked", "plain"] = Field(
        "masked", description="in the report: `J••• S••••`, or as it stands"
    )
    examples: int = Field(3, ge=0, le=20, description="of each kind, in the report")
    kinds: dict[str, EntityKind] = Field(min_length=1, description="name of a kind → how it is found")

    @property
    def tables(self) -> tuple[str, ...]:
        """What has to be loaded."""
        return (self.table,)


Entities = Annotated[NoEntities | EntityPatterns, Field(discriminator="kind")]
