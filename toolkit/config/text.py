"""Configuration of texts as columns: words, hashed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

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
