"""The fitted neural model: scores rows, is saved as safetensors and JSON. Needs torch, but no training library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from toolkit.bundle.files import read_arrays, read_json, write_arrays, write_json
from toolkit.errors import BundleError
from toolkit.modalities import NOTHING, Modalities
from toolkit.models.interface import Task, require_width
from toolkit.models.neural.batches import Inputs, by_length, inputs
from toolkit.models.neural.network import Network, NetworkSizes
from toolkit.models.neural.pretrained import Backbone
from toolkit.models.neural.scaling import Scaling
from toolkit.models.one_by_one import spread

_SLICE = 131_072  # rows scaled at a time
_SHOWN = 2_048  # rows whose pictures are taken at a time
_BATCH = 4_096  # rows scored at a time


@dataclass(frozen=True)
class Unit:
    """How a target's output is read. seen: class indices in training rows; y = centre + scale · output."""

    seen: tuple[int, ...] = ()
    centre: float = 0.0
    scale: float = 1.0

    @property
    def outputs(self) -> int:
        return len(self.seen) or 1


@dataclass(frozen=True)
class NeuralFitted:
    """The network and all that turns rows into its input and its output into predictions.

    best: epochs that the weights saw; epochs: what each epoch came to; threads: used to predict (0: as set);
    backbone: the one that reads pictures and stayed as it was.
    """

    tasks: tuple[Task, ...]
    units: tuple[Unit, ...]
    scaling: Scaling
    sizes: NetworkSizes
    network: Network
    weighted: bool
    best: int
    said: tuple[str, ...]
    epochs: tuple[dict[str, Any], ...]
    device: torch.device
    threads: int = 0
    backbone: Backbone | None = None

    @property
    def reads_more(self) -> bool:
        """Whether it needs more of a row than its columns."""
        return bool(self.sizes.sequences or self.sizes.graph or self.sizes.images)

    @property
    def iterations(self) -> list[int | None]:
        return [self.best] * len(self.tasks)

    @property
    def notes(self) -> list[list[str]]:
        return [list(self.said) for _ in self.tasks]

    def predict(self, X: np.ndarray, modalities: Modalities = NOTHING) -> list[np.ndarray]:
        require_width(X, self.scaling.columns)
        outputs = []
        hops = self.sizes.graph.hops if self.sizes.graph else 1
        beside = not self.sizes.graph or self.sizes.graph.own == "beside"
        slice_rows = _SHOWN if self.sizes.images else _SLICE
        with scoring(self.network, self.threads):
            for start in range(0, max(len(X), 1), slice_rows):
                rows = np.arange(start, min(start + slice_rows, len(X)))
                part = modalities if len(rows) == len(X) else modalities.some(rows)
                ready = inputs(
                    self.scaling,
                    X[start : start + slice_rows],
                    part,
                    hops=hops,
                    weighted=self.weighted,
                    beside=beside,
                    backbone=self.backbone,
                )
                outputs.append(predicted(self.network, ready.on(self.device), self.tasks, self.units))
        joined = [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
        return [
            spread(one, task, list(unit.seen))
            for one, task, unit in zip(joined, self.tasks, self.units, strict=True)
        ]

    def importance(self) -> list[np.ndarray | None]:
        return [None] * len(self.tasks)

    def save(self, folder: Path) -> None:
        facts = {
            "tasks": [asdict(task) for task in self.tasks],
            "units": [asdict(unit) for unit in self.units],
            "scaling": self.scaling.facts(),
            "sizes": TypeAdapter(NetworkSizes).dump_python(self.sizes, mode="json"),
            "weighted": self.weighted,
            "best": self.best,
            "notes": self.said,
            "epochs": self.epochs,
        }
        write_json(folder / "network.json", facts)
        write_arrays(folder / "scaling.safetensors", self.scaling.arrays())
        write_arrays(folder / "network.safetensors", _weights(self.network))
        if self.backbone is not None:
            # Whole, so that a bundle scores where its backbone never was; a name could mean other weights there.
            write_json(folder / "backbone.json", self.backbone.facts)
            write_arrays(folder / "backbone.safetensors", _weights(self.backbone))


def _weights(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: one.detach().cpu().numpy() for name, one in module.state_dict().items()}


def load(folder: Path, accelerator: str) -> NeuralFitted:
    """Read what `save` wrote. Raises BundleError."""
    facts = read_json(folder / "network.json")
    weights = read_arrays(folder / "network.safetensors")
    try:
        sizes = TypeAdapter(NetworkSizes).validate_python(facts["sizes"])
        with torch.random.fork_rng(devices=[]):  # the first weights are drawn, and overwritten
            network = Network(sizes)
        network.load_state_dict({name: torch.from_numpy(one) for name, one in weights.items()})
        device, backbone = chosen(accelerator), None
        if (folder / "backbone.json").is_file():
            backbone = Backbone.built(read_json(folder / "backbone.json"))
            frozen = read_arrays(folder / "backbone.safetensors")
            backbone.load_state_dict({name: torch.from_numpy(one) for name, one in frozen.items()})
            backbone.to(device).eval()
        return NeuralFitted(
            TypeAdapter(tuple[Task, ...]).validate_python(facts["tasks"]),
            TypeAdapter(tuple[Unit, ...]).validate_python(facts["units"]),
            Scaling.read(facts["scaling"], read_arrays(folder / "scaling.safetensors")),
            sizes,
            network.to(device).eval(),
            bool(facts["weighted"]),
            int(facts["best"]),
            tuple(facts["notes"]),
            tuple(facts["epochs"]),
            device,
            backbone=backbone,
        )
    except (KeyError, TypeError, ValueError, RuntimeError, ValidationError) as error:
        raise BundleError(
            "the neural model's files do not belong together", where=str(folder), why=str(error)
        ) from error


def chosen(accelerator: str) -> torch.device:
    """The device to score on; the CPU where the one that trained is not there."""
    if accelerator in ("auto", "cuda") and torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator == "mps" and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


@contextmanager
def threaded(threads: int) -> Iterator[None]:
    """torch's number of threads, put back at the end; 0: as it is."""
    before = torch.get_num_threads()
    try:
        if threads:
            torch.set_num_threads(threads)
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def scoring(network: Network, threads: int = 0) -> Iterator[None]:
    """Evaluation mode, no gradients, whole float32 (a GPU's LSTM would otherwise round to 10 bits)."""
    training = network.training
    network.eval()
    try:
        with threaded(threads), torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            yield
    finally:
        network.train(training)


def predicted(
    network: Network, rows: Inputs, tasks: Sequence[Task], units: Sequence[Unit], batch_rows: int = _BATCH
) -> list[np.ndarray]:
    """Per target float64 [rows] or [rows, seen classes], inside `scoring`."""
    out = [
        np.empty((rows.rows, unit.outputs) if task.type == "multiclass" else rows.rows)
        for task, unit in zip(tasks, units, strict=True)
    ]
    for batch in by_length(rows.rows, rows.lengths, batch_rows):
        logits = rows.logits(network, torch.from_numpy(batch).to(rows.device))
        for number, (task, unit, logit) in enumerate(zip(tasks, units, logits, strict=True)):
            read = _read(task, unit, logit.cpu().double()).unflatten(0, (-1, network.members))
            out[number][batch] = read.mean(1).numpy()
    return out


def _read(task: Task, unit: Unit, logit: torch.Tensor) -> torch.Tensor:
    if task.type == "binary":
        return logit.sigmoid()
    return logit.softmax(1) if task.type == "multiclass" else unit.centre + unit.scale * logit
