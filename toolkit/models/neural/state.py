"""Where a fit stands at the end of an epoch, in one file: all that it needs to go on as if never stopped.

Batches and dropout derive from (seed, epoch), so no random state is kept.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_FILE = "state.safetensors"


@dataclass
class State:
    """epochs: what each came to; best: the best value; best_epoch: how many epochs it took, 0: none yet."""

    epoch: int = 0
    best: float = float("-inf")
    best_epoch: int = 0
    epochs: list[dict[str, Any]] = field(default_factory=list)
    schedule: dict[str, Any] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @property
    def waited(self) -> int:
        """Epochs since the best."""
        return self.epoch - self.best_epoch

    def of(self, part: str) -> dict[str, Tensor]:
        """The tensors of `now`, `best` or `optimizer`, by name."""
        return {
            name[len(part) + 1 :]: one for name, one in self.tensors.items() if name.startswith(f"{part}.")
        }

    def put(self, part: str, tensors: dict[str, Tensor]) -> None:
        """Copy tensors in, in place of those of the part."""
        kept = {name: one for name, one in self.tensors.items() if not name.startswith(f"{part}.")}
        copies = {f"{part}.{name}": one.detach().cpu().clone().contiguous() for name, one in tensors.items()}
        self.tensors = kept | copies


def write(state: State, folder: Path, key: str) -> None:
    """Aside, then renamed: a kill leaves the last epoch's file or this one's. key: of what is fitted on what."""
    from safetensors.torch import save_file

    facts = {name: value for name, value in vars(state).items() if name != "tensors"}
    aside = folder / f".{_FILE}.{os.getpid()}"
    save_file(state.tensors, aside, metadata={"key": key, "facts": json.dumps(facts)})
    os.replace(aside, folder / _FILE)


def read(folder: Path, key: str) -> tuple[State | None, str]:
    """The state in a folder, or None; if a file is there that is no use, a note says why."""
    from safetensors import safe_open

    path = folder / _FILE
    if not path.is_file():
        return None, ""
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            if facts.get("key") != key:
                return None, "what an earlier fit left was of other data or settings; it was not used"
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
        return State(**json.loads(facts["facts"]) | {"tensors": tensors}), ""
    except Exception as error:  # whatever a torn file makes a parser raise
        return None, f"what an earlier fit left cannot be read ({type(error).__name__}); it was not used"


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """All that an optimizer remembers, as `parameter number.name`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, one in state.items()
        for name, value in one.items()
        if value is not None
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], rates: list[float]
) -> None:
    """Put back what `optimizer_tensors` gave, and the learning rate of each group."""
    state: dict[int, dict[str, Tensor]] = {}
    for place, tensor in tensors.items():
        number, name = place.split(".", 1)
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
