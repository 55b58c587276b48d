"""Configuration of texts as columns: words, hashed; words, weighed by a lexicon."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from toolkit.config.node import Node
from toolkit.config.time import PastWindowText


class HashedText(Node):
    """Words of a column as a fixed number of columns: nothing is fitted, and no word is kept."""

    kind: Literal["text"]
    description: str = ""
    table: str
    column: str = Field(description="a column of texts")
    window: PastWindowText = Field("all", description="span before the cutoff, or `all`")
    where: str | None = Field(None, description="SQL condition over the table's columns")
    size: int = Field(256, ge=2, le=8192, description="columns that words are hashed to")
    ngrams: Literal[1, 2] = Field(1, description="2: pairs of neighbouring words count too")


WORD = re.compile(r"[\w'’]+")  # what a text is cut into, in Python's words
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class TextScore(Node):
    """A number per text, from declared words and patterns and what each of them weighs.

    Texts and words are compared in small letters. A word counts with the opposite sign where a negation stands
    among the few words before it, in the same sentence.
    """

    of: str = Field(description="a column of texts")
    lexicon: dict[str, float] = Field(
        {}, description="word → what it weighs; `no`, `on` and the like in quotes"
    )
    negations: list[str] = Field([], description="words that turn a later word's sign round")
    reach: int = Field(3, ge=1, le=20, description="how many words later a negation still does")
    patterns: dict[Pattern, float] = Field(
        {}, description="regular expression (RE2) → what each match weighs: emoji, emoticons, phrases"
    )
    combine: Literal["mean", "sum", "clipped"] = Field(
        "mean", description="the mean over what was found, the sum, or the sum between -1 and 1"
    )
    neutral: float | None = Field(
        0.0, description="of a text in which nothing was found; null: missing, as of an empty text"
    )

    @field_validator("lexicon", "negations")
    @classmethod
    def words_are_single(cls, value: dict[str, float] | list[str]) -> dict[str, float] | list[str]:
        for word in value:
            if not WORD.fullmatch(word):
                raise ValueError(f"`{word}` is not one word; a phrase or a sign goes among `patterns`")
        lower = [word.lower() for word in value]
        if again := next((word for word in lower if lower.count(word) > 1), None):
            raise ValueError(f"`{again}` stands there twice; capitals make no difference")
        return value

    @field_validator("patterns")
    @classmethod
    def patterns_are_expressions(cls, value: dict[str, float]) -> dict[str, float]:
        import pyarrow as pa
        import pyarrow.compute as pc

        for pattern in value:
            try:
                matches = pc.count_substring_regex(pa.array([""]), pattern=pattern)[0].as_py()
            except pa.ArrowInvalid as error:
                raise ValueError(f"`{pattern}` is not a regular expression of RE2: {error}") from None
            if matches:
                raise ValueError(f"`{pattern}` matches where nothing stands, so it would count everywhere")
        return value

    @model_validator(mode="after")
    def something_is_known(self) -> TextScore:
        if not self.lexicon and not self.patterns:
            raise ValueError("knows neither words (`lexicon`) nor `patterns`")
        return self
