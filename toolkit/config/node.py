"""What every configuration object shares: no unknown keys, no change after it is made."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Node(BaseModel):
    """A checked piece of configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
