"""What a proof says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

ROWS = 20_000  # looked at, at most
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Proof:
    """One statement about the user's data, and whether it holds; `assumed`: it was not put to the test."""

    text: str
    holds: bool
    assumed: bool = False
