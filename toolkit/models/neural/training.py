"""Fitting the neural model: which branches there are, what they are scaled by, then the training loop."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from toolkit.errors import ConfigError, DataError
from toolkit.models.interface import Batch, Column, Progress, Task, require_columns
from toolkit.models.neural.allocation import keep_buffers
from toolkit.models.neural.batches import inputs
from toolkit.models.neural.fitted import NeuralFitted, chosen, threaded
from toolkit.models.neural.fusion import FusionSizes
from toolkit.models.neural.graph import GraphSizes
from toolkit.models.neural.heads import HeadSizes
from toolkit.models.neural.image import Augmentation, ImageSizes
from toolkit.models.neural.loop import Loop, Material
from toolkit.models.neural.losses import MultiTargetLoss
from toolkit.models.neural.network import Network, NetworkSizes
from toolkit.models.neural.pretrained import Backbone, read
from toolkit.models.neural.scaling import ScaledEvents, ScaledImages, ScaledNodes, Scaling, tabular
from toolkit.models.neural.sequence import SequenceSizes
from toolkit.models.neural.tabular import TabularSizes, quantile_edges
from toolkit.models.neural.targets import losses, targets

if TYPE_CHECKING:
    from toolkit.models.neural.settings import Multimodal


def fit(
    config: Multimodal,
    tasks: Sequence[Task],
    columns: Sequence[Column],
    train: Batch,
    valid: Batch,
    *,
    seed: int,
    threads: int,
    progress: Progress | None,
    keep: Path | None,
) -> NeuralFitted:
    """Fit all targets at once; arguments as `Model.fit` says.

    Raises DataError if there is nothing to learn from, or if the loss leaves the finite numbers.
    """
    labels = targets(tasks, train, valid)
    rows = [np.flatnonzero(~np.isnan(y).all(1)) for y in (labels.train, labels.valid)]
    train, valid = (_some(batch, some) for batch, some in zip((train, valid), rows, strict=True))
    scaling, notes = scaled(config, columns, train)
    backbone = read(config.image.backbone) if scaling.images and config.image.backbone else None
    sizes = sized(config, scaling, [unit.outputs for unit in labels.units], backbone)
    device = chosen(config.trainer.accelerator)
    frozen = backbone.to(device) if backbone and config.image.freeze else None
    if backbone:
        notes.append(_told(config, backbone))
    with threaded(threads), _seeded(seed), _kept(keep, config.trainer.devices) as folder:
        keep_buffers()
        ready = [
            inputs(
                scaling,
                batch.X,
                batch.modalities,
                hops=config.graph.hops,
                weighted=config.graph.weighted,
                beside=config.graph.own == "beside",
                backbone=frozen,
            )
            for batch in (train, valid)
        ]
        network = Network(sizes)
        if network.tabular is not None and network.tabular.numbers is not None:
            assert ready[0].numeric is not None
            values = ready[0].numeric[:, : network.tabular.embedded]
            network.tabular.numbers.edges.copy_(quantile_edges(values, config.tabular.bins))
        if backbone and not frozen:
            for branch in network.images:
                branch.get_submodule("encoder").load_state_dict(backbone.state_dict())
        names = scaling.numbers.names([column.name for column in columns]) if scaling.numbers else []
        y, truth = torch.from_numpy(labels.train[rows[0]]), labels.truth[rows[1]]
        loop = Loop(
            config,
            network,
            MultiTargetLoss(losses(config.loss, tasks, labels.counts), config.loss.uncertainty),
            Material(tasks, labels.units, ready[0], y, ready[1], truth, names, seed),
            progress if config.trainer.devices == 1 else None,  # it does not reach into other processes
            (folder, _key(config, tasks, columns, train, valid, seed, threads, backbone)) if folder else None,
        )
        loop.run()
    return NeuralFitted(
        tuple(tasks),
        labels.units,
        scaling,
        sizes,
        loop.mean.eval().to(device),  # Lightning leaves it on the CPU
        config.graph.weighted,
        loop.state.best_epoch,
        (*notes, *loop.notes()),
        tuple(loop.state.epochs),
        device,
        threads,
        frozen,
    )


def scaled(config: Multimodal, columns: Sequence[Column], train: Batch) -> tuple[Scaling, list[str]]:
    """Scales of the modalities that are in use and there; notes on them and on those that are empty."""
    used, notes = [], []
    events, nodes, graphs = [], None, train.modalities.graphs if "graph" in config.use else ()
    for each in train.modalities.sequences if "sequence" in config.use else ():
        if each.offsets[-1] > each.offsets[0]:
            events.append(ScaledEvents.fit(each))
            used.append(f"sequence `{each.name}`")
        else:
            notes.append(f"sequence `{each.name}` has no event in any training row: left out")
    if len(graphs) > 1:
        raise ConfigError(
            f"the model takes one graph, and the recipe has {len(graphs)}: {', '.join(one.name for one in graphs)}",
            where="features",
            fix="one graph with several `types`, or `use` without graph",
        )
    for graph in graphs:
        theirs = np.unique(graph.row_node)
        if any(np.any(one.indptr[theirs + 1] > one.indptr[theirs]) for one in graph.relations.values()):
            nodes = ScaledNodes.fit(graph)
            used.append(f"graph `{graph.name}`")
        else:
            notes.append(f"graph `{graph.name}` relates no training row to anybody: left out")
    images = []
    for pictures in train.modalities.images if "image" in config.use else ():
        if len(pictures.pixels):
            images.append(ScaledImages.fit(pictures))
            used.append(f"images `{pictures.name}`")
        else:
            notes.append(f"images `{pictures.name}`: no training row has one: left out")
    numbers = None
    codes: tuple[int, ...] = ()
    levels: tuple[int, ...] = ()
    if "tabular" in config.use and (columns or not used):
        require_columns(columns)
        numbers, codes, levels = tabular(columns, train.X)
        used.insert(0, "tabular")
    if not used:
        raise DataError(
            "no training row has anything of the modalities in use",
            where="model.multimodal.use",
            why=f"in use: {', '.join(config.use)}",
            fix="name one that the recipe's features give",
        )
    scaling = Scaling(len(columns), numbers, codes, levels, tuple(events), nodes, tuple(images))
    return scaling, [f"modalities: {', '.join(used)}", *notes]


def sized(
    config: Multimodal, scaling: Scaling, outputs: Sequence[int], backbone: Backbone | None = None
) -> NetworkSizes:
    """The network for what there is to see and to say."""
    numbers, nodes = scaling.numbers, scaling.nodes
    relations = config.graph.model_dump(exclude={"weighted"})
    shown = config.image.model_dump(exclude={"augment", "backbone", "freeze"})
    if backbone:
        shown |= {"frozen": backbone.width} if config.image.freeze else {"backbone": backbone.facts}
    return NetworkSizes(
        heads=HeadSizes(tuple(outputs), **config.heads.model_dump()),
        tabular=TabularSizes(
            numbers.width, scaling.levels, indicators=len(numbers.gaps), **config.tabular.model_dump()
        )
        if numbers
        else None,
        sequences=tuple(
            SequenceSizes(one.numbers.width, one.levels, **config.sequence.model_dump())
            for one in scaling.events
        ),
        graph=GraphSizes(nodes.width, len(nodes.relations), **relations) if nodes else None,
        images=tuple(
            ImageSizes(augment=Augmentation(**config.image.augment.model_dump()), **shown)
            for _ in scaling.images
        ),
        fusion=FusionSizes(**config.fusion.model_dump()),
    )


def _told(config: Multimodal, backbone: Backbone) -> str:
    """What reads pictures, in words."""
    weights = sum(one.numel() for one in backbone.parameters())
    how = "stays as it is" if config.image.freeze else "learns along"
    return f"pictures are read by {config.image.backbone}: {weights:,} weights, SHA-256 {backbone.digest()[:12]}…, {how}"


@contextmanager
def _kept(keep: Path | None, devices: int) -> Iterator[Path | None]:
    """The folder to keep the state in; several processes need one between them in any case."""
    if keep or devices == 1:
        yield keep
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def _some(batch: Batch, rows: np.ndarray) -> Batch:
    if len(rows) == len(batch.y):
        return batch
    return Batch(batch.X[rows], batch.y[rows], batch.modalities.some(rows))


def _key(
    config: Multimodal, tasks: Sequence[Task], columns: Sequence[Column], train: Batch, valid: Batch, seed: int, threads: int,
    backbone: Backbone | None,
) -> str:  # fmt: skip
    """Digest of what is fitted on what: a state of anything else is not gone on from."""
    found = hashlib.sha256()
    facts = [
        config.model_dump(mode="json"),
        [asdict(one) for one in tasks],
        [asdict(one) for one in columns],
        seed,
        threads,
        str(chosen(config.trainer.accelerator)),
        backbone and backbone.digest(),
    ]
    found.update(json.dumps([facts, torch.__version__], sort_keys=True).encode())
    for batch in (train, valid):
        arrays = [batch.X, batch.y]
        for one in batch.modalities.sequences:
            arrays += [one.offsets, one.numeric, one.codes]
        for graph in batch.modalities.graphs:
            arrays += [graph.X, graph.row_node]
            for part in graph.relations.values():
                arrays += [part.indptr, part.indices, part.weight]
        for images in batch.modalities.images:
            arrays += [images.offsets, images.pixels]
        for array in arrays:
            found.update(f"{array.shape}".encode())
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """torch's random numbers from a seed; the caller's go on afterwards as if nothing had been drawn."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
