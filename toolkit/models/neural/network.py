"""The whole network: branches → fusion → heads, built from sizes alone.

`NetworkSizes` is plain data (it goes into JSON and comes back through pydantic's `TypeAdapter`), so sizes
and a `state_dict` in safetensors are all that a bundle needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from toolkit.models.neural.fusion import FusionSizes, fusion
from toolkit.models.neural.graph import GraphBranch, GraphSizes
from toolkit.models.neural.heads import Heads, HeadSizes
from toolkit.models.neural.image import ImageBranch, ImageSizes, Shown
from toolkit.models.neural.sequence import Padded, SequenceBranch, SequenceSizes
from toolkit.models.neural.tabular import TabularBranch, TabularSizes


@dataclass(frozen=True)
class NetworkSizes:
    """What the network is made of. A modality that is not there is None (sequences, images: empty)."""

    heads: HeadSizes
    tabular: TabularSizes | None = None
    sequences: tuple[SequenceSizes, ...] = ()
    graph: GraphSizes | None = None
    fusion: FusionSizes = field(default_factory=FusionSizes)
    images: tuple[ImageSizes, ...] = ()


class Network(nn.Module):
    """One branch per modality, fusion over those that a row has, one head per target.

    The graph branch is called apart, as the caller knows which nodes a batch needs:
    `network(numeric, nodes=network.graph(gathered[node]), connected=connected[node])`.
    """

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        self.tabular = TabularBranch(sizes.tabular) if sizes.tabular else None
        self.sequences = nn.ModuleList(SequenceBranch(each) for each in sizes.sequences)
        self.graph = GraphBranch(sizes.graph) if sizes.graph else None
        self.images = nn.ModuleList(ImageBranch(each) for each in sizes.images)
        branches = [self.tabular, *self.sequences, self.graph, *self.images]
        widths = [int(branch.width) for branch in branches if branch is not None]
        if not widths:
            raise ValueError("a network needs at least one modality")
        self.fusion = fusion(widths, sizes.fusion)
        self.members = self.tabular.members if self.tabular else 1
        self.heads = Heads(self.fusion.width, sizes.heads, self.members)

    def forward(
        self,
        numeric: Tensor | None = None,
        codes: Tensor | None = None,
        sequences: Sequence[Padded] = (),
        nodes: Tensor | None = None,
        connected: Tensor | None = None,
        images: Sequence[Shown] = (),
    ) -> list[Tensor]:
        """Per target [rows] or [rows, classes] logits; of a network with members each row that often, in a row.

        numeric: float32 [rows, numeric]; codes: int [rows, categorical]; sequences: one Padded per
        sequence branch; nodes: [rows, graph width], what `self.graph` says of each row's node;
        connected: bool [rows], False hides the graph for rows that have no neighbours (None: hides none);
        images: one Shown per image branch.
        """
        vectors, present = [], []
        if self.tabular is not None:
            assert numeric is not None, "the network was built with a tabular branch"
            vectors.append(self.tabular(numeric, codes))
            present.append(torch.ones(len(numeric), dtype=torch.bool, device=numeric.device))
        for branch, events in zip(self.sequences, sequences, strict=True):
            vectors.append(branch(events))
            present.append(events.lengths > 0)
        if self.graph is not None:
            assert nodes is not None, "the network was built with a graph branch"
            vectors.append(nodes)
            all_rows = torch.ones(len(nodes), dtype=torch.bool, device=nodes.device)
            present.append(all_rows if connected is None else connected)
        for branch, shown in zip(self.images, images, strict=True):
            vectors.append(branch(shown))
            present.append(shown.lengths > 0)
        known = torch.stack(present, 1)
        if self.members > 1:  # what the other branches say is said to every member
            vectors = [vectors[0].flatten(0, 1), *(self._each(vector) for vector in vectors[1:])]
            known = self._each(known)
        return self.heads(self.fusion(vectors, known))

    def _each(self, tensor: Tensor) -> Tensor:
        return tensor.repeat_interleave(self.members, 0)
