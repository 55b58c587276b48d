"""Rows in memory as scaled tensors, sliced into batches: no loader, no worker, no copy per row.

Sequences stay ragged until a batch is cut; a batch is padded to its own longest row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from toolkit.errors import DataError, did_you_mean
from toolkit.modalities import Graph, Images, Modalities, Sequences
from toolkit.models.interface import require_width
from toolkit.models.neural.graph import (
    Block,
    Edges,
    averaged,
    connected,
    edges,
    gather,
    neighbourhood,
    with_own,
)
from toolkit.models.neural.image import Shown
from toolkit.models.neural.network import Network
from toolkit.models.neural.pretrained import Backbone
from toolkit.models.neural.scaling import ScaledEvents, ScaledImages, ScaledNodes, Scaling
from toolkit.models.neural.sequence import Padded

_SHARE = 0.5  # of a GPU's free memory that rows may take


class Events(NamedTuple):
    """Ragged events: row i has `start[i] : start[i] + lengths[i]` of numeric [events, channels] and codes."""

    start: Tensor
    lengths: Tensor
    numeric: Tensor
    codes: Tensor | None

    def of(self, rows: Tensor) -> Padded:
        """Padded to the longest of these rows; the padding holds other rows' events, which nobody reads."""
        lengths = self.lengths[rows]
        steps = int(lengths.max()) if len(rows) else 0
        index = self.start[rows, None] + torch.arange(steps, device=rows.device)
        flat = index.clamp_(max=max(len(self.numeric) - 1, 0)).flatten()
        numeric = self.numeric.index_select(0, flat).unflatten(0, (len(rows), steps))
        codes = self.codes
        padded = None if codes is None else codes.index_select(0, flat).unflatten(0, (len(rows), steps))
        return Padded(numeric, lengths, padded)


class Places(NamedTuple):
    """Where rows stand in a graph.

    gathered: `gather` of the scaled features at the nodes that are needed; node: int64 [rows], each row's
    node; place: int64 [all nodes], its position in `gathered`, 0 where it has none; connected: bool [rows];
    relations: for two hops the edges of the whole graph, else ().
    """

    gathered: Tensor
    node: Tensor
    place: Tensor
    connected: Tensor
    relations: tuple[Edges, ...]

    def of(self, rows: Tensor) -> tuple[Tensor, Block | None]:
        """What the network's graph branch takes for some rows."""
        nodes = self.node[rows]
        if not self.relations:
            return self.gathered[self.place[nodes]], None
        block = neighbourhood(self.relations, nodes)
        block = block._replace(relations=tuple(averaged(one) for one in block.relations))
        return self.gathered[self.place[block.nodes]], block


class Pictures(NamedTuple):
    """Ragged pictures: row i has `start[i] : start[i] + lengths[i]` of pixels, as `Shown` has them."""

    start: Tensor
    lengths: Tensor
    pixels: Tensor

    def of(self, rows: Tensor) -> Shown:
        """Those of some rows, one after the other."""
        lengths = self.lengths[rows]
        before = lengths.cumsum(0) - lengths
        total = int(lengths.sum())
        first = torch.repeat_interleave(self.start[rows] - before, lengths, output_size=total)
        return Shown(self.pixels[first + torch.arange(total, device=rows.device)], lengths)


@dataclass(frozen=True)
class Inputs:
    """All that a network sees of some rows. numeric: float32 [rows, numeric]; codes: int32 [rows, categorical]."""

    rows: int
    numeric: Tensor | None
    codes: Tensor | None
    events: tuple[Events, ...]
    places: Places | None
    pictures: tuple[Pictures, ...] = ()

    def logits(self, network: Network, rows: Tensor) -> list[Tensor]:
        """Per target [rows] or [rows, classes], of some rows (int64 positions), on the network's device."""
        device = next(network.parameters()).device

        def cut(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[rows].to(device, non_blocking=True)

        events = [each(one.of(rows), lambda t: t.to(device, non_blocking=True)) for one in self.events]
        nodes = None
        if self.places is not None:
            assert network.graph is not None
            nodes = network.graph(*each(self.places.of(rows), lambda t: t.to(device, non_blocking=True)))
        images = [each(one.of(rows), lambda t: t.to(device, non_blocking=True)) for one in self.pictures]
        reached = self.places and cut(self.places.connected)
        return network(cut(self.numeric), cut(self.codes), events, nodes, reached, images)

    @property
    def lengths(self) -> np.ndarray | None:
        """How many steps each row takes: int64 [rows]; None if rows have no events."""
        if not self.events:
            return None
        return torch.stack([one.lengths for one in self.events]).sum(0).cpu().numpy()

    def on(self, device: torch.device) -> Inputs:
        """The same on a device if it has room; else pinned, so that batches travel while it computes."""
        if device.type != "cuda":
            return each(self, lambda tensor: tensor.to(device))
        weight = sum(tensor.numel() * tensor.element_size() for tensor in tensors(self))
        fits = weight < _SHARE * torch.cuda.mem_get_info(device)[0]
        return each(self, lambda tensor: tensor.to(device) if fits else tensor.pin_memory())

    @property
    def device(self) -> torch.device:
        """Where rows are cut."""
        return tensors(self)[0].device


T = TypeVar("T")


def each(value: T, change: Callable[[Tensor], Tensor]) -> T:
    """The same structure of tuples, with every tensor in it changed."""
    found: Any = value
    if isinstance(value, Tensor):
        found = change(value)
    elif isinstance(value, Inputs):
        found = Inputs(value.rows, *(each(one, change) for one in list(vars(value).values())[1:]))
    elif isinstance(value, tuple):
        inner = [each(one, change) for one in value]
        found = type(value)(*inner) if hasattr(value, "_fields") else tuple(inner)
    return found


def tensors(value: Any) -> list[Tensor]:
    """All tensors of such a structure."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    each(value, note)
    return found


def inputs(
    scaling: Scaling,
    X: np.ndarray,
    modalities: Modalities,
    *,
    hops: int,
    weighted: bool,
    beside: bool = True,
    backbone: Backbone | None = None,
) -> Inputs:
    """Scale and encode rows. Raises DataError where they lack what the network was fitted on.

    backbone: a frozen one reads all pictures here, once.
    """
    require_width(X, scaling.columns)
    numeric = codes = None
    if scaling.numbers is not None:
        numeric = torch.from_numpy(scaling.numbers(X))
        if scaling.codes:
            found = np.nan_to_num(X[:, list(scaling.codes)], nan=-1.0).astype(np.int32)
            codes = torch.from_numpy(found)
    events = tuple(
        _events(one, _named(one.name, modalities.sequences, "sequences")) for one in scaling.events
    )
    places = None
    if scaling.nodes is not None:
        graph = _named(scaling.nodes.name, modalities.graphs, "graph")
        places = _places(scaling.nodes, graph, hops, weighted, beside)
    pictures = tuple(
        _pictures(one, _named(one.name, modalities.images, "images"), backbone) for one in scaling.images
    )
    counts = [*(len(one.start) for one in events), *(len(one.start) for one in pictures)]
    for count in [*counts, *([] if places is None else [len(places.node)])]:
        if count != len(X):
            raise DataError(
                f"the design matrix has {len(X):,} rows, what stands beside it {count:,}",
                fix="give both for the same rows",
            )
    return Inputs(len(X), numeric, codes, events, places, pictures)


def _named(name: str, found: Sequence[Any], what: str) -> Any:
    """The one of that name."""
    for one in found:
        if one.name == name:
            return one
    names = [one.name for one in found]
    raise DataError(
        f"the model was fitted with the {what} `{name}`, and the rows to score have none",
        where=f"features.{name}",
        fix=did_you_mean(name, names) if names else "give it beside the design matrix",
    )


def _events(scaled: ScaledEvents, sequences: Sequences) -> Events:
    categorical = tuple(name for name, _ in sequences.categorical)
    _require_same(scaled.name, (*scaled.channels, *scaled.categorical), (*sequences.channels, *categorical))
    lengths = sequences.lengths
    return Events(
        torch.from_numpy(sequences.offsets[:-1].astype(np.int64)),
        torch.from_numpy(lengths.astype(np.int64)),
        torch.from_numpy(scaled.numbers(sequences.numeric)),
        torch.from_numpy(sequences.codes.astype(np.int32)) if categorical else None,
    )


def _pictures(scaled: ScaledImages, images: Images, backbone: Backbone | None) -> Pictures:
    height, width = images.pixels.shape[1:]
    if (height, width) != (scaled.height, scaled.width):
        raise DataError(
            f"`{scaled.name}` has pictures of {height} × {width} pixels",
            where=f"features.{scaled.name}",
            why=f"the model was fitted on {scaled.height} × {scaled.width}",
            fix="prepare the rows by the declaration that is saved with the model",
        )
    pixels = torch.from_numpy(images.pixels)
    return Pictures(
        torch.from_numpy(images.offsets[:-1].astype(np.int64)),
        torch.from_numpy(images.lengths.astype(np.int64)),
        pixels if backbone is None else backbone.encoded(pixels),
    )


def _places(scaled: ScaledNodes, graph: Graph, hops: int, weighted: bool, beside: bool) -> Places:
    features = tuple(feature.name for feature in graph.features)
    _require_same(scaled.name, (*scaled.features, *scaled.relations), (*features, *graph.relations))
    raw = [edges(relation, weighted) for relation in graph.relations.values()]
    related = connected(raw)
    raw = raw if beside else [with_own(one) for one in raw]
    node = torch.from_numpy(graph.row_node.astype(np.int64))
    needed = torch.unique(node)
    if hops == 2:
        needed = neighbourhood(raw, needed).nodes
    # Only what is needed is scaled and gathered, each node with all its edges: few rows cost little.
    block = neighbourhood(raw, needed)
    X = torch.from_numpy(scaled(graph, block.nodes.numpy()))
    gathered = gather(X, [averaged(one) for one in block.relations], X[block.targets], beside)
    place = torch.zeros(len(graph.X), dtype=torch.int64)
    place[needed] = torch.arange(len(needed))
    return Places(gathered, node, place, related[node], tuple(raw) if hops == 2 else ())


def _require_same(name: str, fitted: Sequence[str], given: Sequence[str]) -> None:
    if tuple(fitted) != tuple(given):
        raise DataError(
            f"`{name}` has other channels than the model was fitted on",
            where=f"features.{name}",
            why=f"fitted on {', '.join(fitted)}; given {', '.join(given)}",
            fix="prepare the rows by the declaration that is saved with the model",
        )


def order(rows: int, batch_rows: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The batches of an epoch, int64 positions each; they depend on (seed, epoch) and on nothing else.

    Any row with any other: batches of like lengths would be quicker, and teach worse (`SequenceBranch`). No
    batch has a single row (BatchNorm needs two): it joins another, or, if it is the only row, comes twice.
    """
    shuffled = np.random.default_rng([seed, epoch]).permutation(rows)
    if rows == 1:
        return [np.zeros(2, np.int64)]
    starts = list(range(0, rows, batch_rows))
    if rows - starts[-1] == 1:
        starts.pop()
    return np.split(shuffled, starts[1:])


def by_length(rows: int, lengths: np.ndarray | None, batch_rows: int) -> list[np.ndarray]:
    """Batches for scoring: rows of like lengths together."""
    ordered = np.arange(rows) if lengths is None else np.argsort(lengths, kind="stable")
    return [ordered[at : at + batch_rows] for at in range(0, rows, batch_rows)]
