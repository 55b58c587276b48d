"""The graph branch: GraphSAGE over typed, weighted edges → one vector per node.

Hamilton, Ying, Leskovec, "Inductive Representation Learning on Large Graphs" (2017), algorithm 1 with the
mean aggregator: h ← σ(W [h_own | mean of h over neighbours]), here with one mean per relation.

The means of the input features hold no parameters. `gather` computes them once for the whole graph, and
training then needs no graph for the first hop and one hop of edges for the second: exact, not sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from toolkit.modalities import Relation


@dataclass(frozen=True)
class GraphSizes:
    """features: of a node, missing values filled and marked; relations: how many types of edges."""

    features: int
    relations: int
    width: int = 128
    hidden: int = 128
    hops: int = 1
    dropout: float = 0.1
    input_dropout: float = 0.0
    own: Literal["beside", "among"] = "beside"


class Edges(NamedTuple):
    """Edges of one relation as compressed rows: node i hears from `indices[indptr[i]:indptr[i + 1]]`.

    indptr: int64 [nodes + 1]; indices: int64 [edges]; weight: float32 [edges].
    """

    indptr: Tensor
    indices: Tensor
    weight: Tensor


def edges(relation: Relation, weighted: bool = True) -> Edges:
    """A relation as tensors; not weighted: every edge counts 1."""
    weight = torch.from_numpy(relation.weight).float() if weighted else torch.ones(len(relation.indices))
    return Edges(torch.from_numpy(relation.indptr).long(), torch.from_numpy(relation.indices).long(), weight)


def with_own(edges: Edges) -> Edges:
    """The same edges, each node's first one to itself, of weight 1: GCN (Kipf, Welling 2017), rows normalised."""
    nodes = len(edges.indptr) - 1
    indptr = edges.indptr + torch.arange(nodes + 1)
    own = torch.zeros(len(edges.indices) + nodes, dtype=torch.bool)
    own[indptr[:-1]] = True
    indices, weight = torch.arange(nodes).new_empty(len(own)), edges.weight.new_ones(len(own))
    indices[own], indices[~own], weight[~own] = torch.arange(nodes), edges.indices, edges.weight
    return Edges(indptr, indices, weight)


def averaged(edges: Edges) -> Edges:
    """The same edges, weights summing to 1 at each node, so that a sum over them is a (weighted) mean.

    Weights of both signs: their sizes sum to 1, so that nothing is heard louder than it is. A node whose
    weights are all 0 hears zeros.
    """
    lengths = edges.indptr.diff()
    node = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)
    # In float64: float32 loses the small edges of a node with very many.
    exact = torch.float32 if lengths.device.type == "mps" else torch.float64
    total = torch.zeros(len(lengths), dtype=exact, device=lengths.device)
    total.index_add_(0, node, edges.weight.abs().to(exact))
    share = torch.where(total > 0, 1 / total, 0.0)[node]
    return edges._replace(weight=(edges.weight * share).float())


def connected(relations: Sequence[Edges]) -> Tensor:
    """True where a node hears from any other, in any relation: bool [nodes]."""
    return torch.stack([edges.indptr.diff() > 0 for edges in relations]).any(0)


def aggregate(X: Tensor, edges: Edges) -> Tensor:
    """Σ_j weight_ij · X_j: from X [sources, channels] to [nodes, channels], with gradients to X.

    A bag per node is several times faster than scattering a message per edge, and never holds
    [edges, channels]; equal to torch_geometric's SAGEConv aggregation (tested).
    """
    weight = edges.weight.to(X.dtype)
    return embedding_bag(
        edges.indices, X, edges.indptr, mode="sum", per_sample_weights=weight, include_last_offset=True
    )


def gather(X: Tensor, relations: Sequence[Edges], own: Tensor | None = None, beside: bool = True) -> Tensor:
    """[own | aggregate of relation 1 | …]: [nodes, (1 + relations) · channels]. own: X unless given; beside:
    false leaves it out."""
    first = [X if own is None else own] if beside else []
    return torch.cat([*first, *(aggregate(X, edges) for edges in relations)], 1)


class Block(NamedTuple):
    """What the second hop needs for some nodes: `nodes` are they and all they hear from, int64 [block].

    targets: int64 [some], places of those asked for in `nodes`; relations: their edges, indices into `nodes`.
    """

    nodes: Tensor
    targets: Tensor
    relations: tuple[Edges, ...]


def neighbourhood(relations: Sequence[Edges], nodes: Tensor) -> Block:
    """All neighbours of some nodes, int64 [some] (repeats allowed), none left out."""
    picked = []
    for indptr, indices, weight in relations:
        start, length = indptr[nodes], indptr[nodes + 1] - indptr[nodes]
        ends = torch.cat([length.new_zeros(1), length.cumsum(0)])
        shift = torch.repeat_interleave(start - ends[:-1], length)
        edge = shift + torch.arange(len(shift), device=shift.device)
        picked.append((ends, indices[edge], weight[edge]))
    everyone = torch.cat([nodes, *(indices for _, indices, _ in picked)])
    block, place = torch.unique(everyone, return_inverse=True)
    targets, *places = place.split([len(nodes), *(len(indices) for _, indices, _ in picked)])
    return Block(block, targets, tuple(Edges(p[0], at, p[2]) for p, at in zip(picked, places, strict=True)))


class GraphBranch(nn.Module):
    """GraphSAGE of one or two hops, relations combined by one weight matrix over their concatenation.

    Two layers either way, the last one linear: over what the first says of a node, or, with two hops, of the
    node and its neighbours.
    """

    def __init__(self, sizes: GraphSizes) -> None:
        super().__init__()
        if sizes.hops not in (1, 2):
            raise ValueError(f"hops is 1 or 2, not {sizes.hops}")
        self.width, self.hops, self.beside = sizes.width, sizes.hops, sizes.own == "beside"
        gathered = self.beside + sizes.relations
        self.first = nn.Linear(gathered * sizes.features, sizes.hidden)
        self.last = nn.Linear((gathered if self.hops == 2 else 1) * sizes.hidden, sizes.width)
        for layer in (self.first, self.last):  # inputs are sparse or means, and small: a wider start
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.dropout, self.drop_input = nn.Dropout(sizes.dropout), nn.Dropout(sizes.input_dropout)

    def forward(self, gathered: Tensor, block: Block | None = None) -> Tensor:
        """`gather(X, relations)` at some nodes, [some, (1 + relations) · features] → [some, width].

        With two hops: at `block.nodes`, and the result is that of the block's targets.
        """
        hidden = self.dropout(torch.relu(self.first(self.drop_input(gathered))))
        if self.hops == 2:
            assert block is not None, "two hops need the edges between the nodes: neighbourhood()"
            hidden = gather(hidden, block.relations, hidden[block.targets], self.beside)
        return self.last(hidden)

    def embed(self, gathered: Tensor, relations: Sequence[Edges]) -> Tensor:
        """Every node of the graph at once: [nodes, (1 + relations) · features] → [nodes, width]."""
        everyone = torch.arange(len(gathered), device=gathered.device)
        return self(gathered, Block(everyone, everyone, tuple(relations)))
