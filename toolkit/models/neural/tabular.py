"""The tabular branch: numbers and categories of a row → one vector.

Numbers arrive standardised, missing ones filled and marked by indicator columns; categories as codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TabularSizes:
    """numeric: columns, indicators included; levels: how many levels each categorical column has.

    indicators: how many of the numeric columns, the last ones, are 0 or 1 and enter as they are; bins and number (channels per numeric column) matter to piecewise-linear embeddings only.
    members: 1, or how many networks share the weights.
    """

    numeric: int
    levels: tuple[int, ...] = ()
    width: int = 256
    hidden: int = 256
    category: int = 8
    numbers: Literal["plain", "piecewise_linear"] = "plain"
    bins: int = 16
    number: int = 8
    residual: bool = False
    dropout: float = 0.2
    indicators: int = 0
    members: int = 1


class Categories(nn.Module):
    """One learned vector per level of each categorical column; the columns share one table.

    A missing code (-1) and one beyond the known levels have a vector of their own in each column.
    """

    first: Tensor
    levels: Tensor

    def __init__(self, levels: Sequence[int], channels: int) -> None:
        super().__init__()
        sizes = torch.tensor([0, *(level + 1 for level in levels)], dtype=torch.int64)
        self.register_buffer("first", sizes.cumsum(0)[:-1], persistent=False)
        self.register_buffer("levels", sizes[1:] - 1, persistent=False)
        self.table = nn.Embedding(max(int(sizes.sum()), 1), channels)
        self.out = len(levels) * channels

    def forward(self, codes: Tensor) -> Tensor:
        """Codes [..., columns] → [..., columns · channels]."""
        known = (codes >= 0) & (codes < self.levels)
        return self.table(torch.where(known, codes + 1, 0).long() + self.first).flatten(-2)


def quantile_edges(X: Tensor, bins: int) -> Tensor:
    """Bin edges float32 [columns, bins + 1] at equally spaced quantiles of X [rows, columns] (training rows).

    A value that many rows share counts as a bin's rows, no more, so that it does not use up the bins: where
    nine rows in ten are 0, the rest still has most of them. A column with fewer distinct values has fewer
    bins: its edges are followed by infinities.
    """
    edges = torch.full((X.shape[1], bins + 1), torch.inf)
    steps = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    for column in range(X.shape[1]):
        distinct, counts = X[:, column].float().unique(return_counts=True)
        if len(distinct):
            share = counts.double().clamp(max=max(len(X) / bins, 1)).cumsum(0)
            place = torch.searchsorted(share, steps * share[-1]).clamp(max=len(distinct) - 1)
            found = distinct[place].unique()
            edges[column, : len(found)] = found
    return edges


class PiecewiseLinear(nn.Module):
    """Piecewise-linear encoding, then a linear layer and ReLU of each column's own.

    Gorishniy, Rubachev, Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning" (2022),
    equation 1: a bin below the value counts 1, one above it 0, the value's own the share passed; the first
    bin goes on below its lower edge, the last one above its upper edge.
    """

    edges: Tensor

    def __init__(self, columns: int, bins: int, channels: int) -> None:
        super().__init__()
        # Until `quantile_edges` of training rows is copied in: what standardised values mostly span.
        self.register_buffer("edges", torch.linspace(-3, 3, bins + 1).repeat(columns, 1))
        self.weight = nn.Parameter(torch.empty(columns, bins, channels).uniform_(-1, 1) / bins**0.5)
        self.bias = nn.Parameter(torch.zeros(columns, channels))
        self.out = columns * channels

    def encode(self, X: Tensor) -> Tensor:
        """[rows, columns] → [rows, columns, bins]."""
        real = self.edges[:, 1:].isfinite()
        low = torch.where(real, self.edges[:, :-1], 0.0)
        slope = torch.where(real, 1 / (self.edges[:, 1:] - low), 0.0)
        floor, ceiling = torch.zeros_like(low), torch.ones_like(low)
        floor[:, 0] = -torch.inf
        following = torch.cat([real[:, 1:], torch.zeros_like(real[:, :1])], 1)
        ceiling[real & ~following] = torch.inf
        return torch.minimum(torch.maximum((X[:, :, None] - low) * slope, floor), ceiling)

    def forward(self, X: Tensor) -> Tensor:
        """[rows, columns] → [rows, columns · channels]."""
        embedded = torch.einsum("rcb,cbd->rcd", self.encode(X), self.weight)
        return torch.relu(embedded + self.bias).flatten(1)


class Residual(nn.Module):
    """x + MLP(BatchNorm(x)): the ResNet block of Gorishniy et al., "Revisiting Deep Learning Models" (2021)."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(width),
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[rows, width] → [rows, width]."""
        return x + self.layers(x)


def _layer(inputs: int, outputs: int, dropout: float) -> list[nn.Module]:
    """A dense layer. BatchNorm brings a bias of its own."""
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU(), nn.Dropout(dropout)]


class Shared(nn.Module):
    """A dense layer whose weights all members share, each scaling what goes in and what comes out as its own.

    BatchEnsemble (Wen, Tran, Ba 2020) as TabM has it (Gorishniy, Kotelnikov, Babenko 2025, section 3.3): only
    the first layer's scales differ at the start, by random signs, so that members begin apart.
    """

    def __init__(self, members: int, inputs: int, outputs: int, dropout: float, first: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        signs = 1.0 - 2.0 * torch.randint(0, 2, (members, inputs))
        self.before = nn.Parameter(signs if first else torch.ones(members, inputs))
        self.after = nn.Parameter(torch.ones(members, outputs))
        self.bias = nn.Parameter(torch.empty(members, outputs).uniform_(-1, 1) / inputs**0.5)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, members, inputs] → [rows, members, outputs]."""
        return self.dropout(torch.relu(self.linear(x * self.before) * self.after + self.bias))


class TabularBranch(nn.Module):
    """Embeddings, then a 2-layer MLP with BatchNorm and dropout (or two residual blocks).

    While training, a batch needs two rows at least (BatchNorm). With members: two layers that they share.
    """

    def __init__(self, sizes: TabularSizes) -> None:
        super().__init__()
        self.width = sizes.width
        piecewise = sizes.numbers == "piecewise_linear"
        self.embedded = sizes.numeric - sizes.indicators if piecewise else 0
        self.numbers = PiecewiseLinear(self.embedded, sizes.bins, sizes.number) if self.embedded else None
        self.categories = Categories(sizes.levels, sizes.category) if sizes.levels else None
        inputs = (sizes.numeric - self.embedded) + sum(
            part.out for part in (self.numbers, self.categories) if part is not None
        )
        self.members = sizes.members
        if sizes.members > 1:
            self.layers = nn.Sequential(
                Shared(sizes.members, inputs, sizes.hidden, sizes.dropout, first=True),
                Shared(sizes.members, sizes.hidden, sizes.width, sizes.dropout, first=False),
            )
        elif sizes.residual:
            blocks = [Residual(sizes.width, sizes.hidden, sizes.dropout) for _ in range(2)]
            last = [nn.BatchNorm1d(sizes.width), nn.ReLU()]
            self.layers = nn.Sequential(nn.Linear(inputs, sizes.width), *blocks, *last)
        else:
            first = _layer(inputs, sizes.hidden, sizes.dropout)
            self.layers = nn.Sequential(*first, *_layer(sizes.hidden, sizes.width, sizes.dropout))

    def forward(self, numeric: Tensor, codes: Tensor | None = None) -> Tensor:
        """Numeric [rows, numeric] and codes [rows, categorical] (-1 missing) → [rows, width], or [rows, members, width]."""
        parts = [numeric[:, self.embedded :]]
        if self.numbers:
            parts.append(self.numbers(numeric[:, : self.embedded]))
        if self.categories:
            assert codes is not None, "the branch was built with categorical columns"
            parts.append(self.categories(codes))
        joined = torch.cat(parts, 1)
        return self.layers(joined[:, None] if self.members > 1 else joined)
