"""Heads: the fused vector → one output per target."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class HeadSizes:
    """outputs: per target, 1 (binary, regression) or the number of classes; hidden: 0 leaves one layer; cross_target: let heads attend."""

    outputs: tuple[int, ...]
    hidden: int = 128
    cross_target: bool = False
    heads: int = 4
    dropout: float = 0.1


class CrossTarget(nn.Module):
    """Each target's hidden vector attends to those of all targets: x + Attention(LayerNorm(x + target))."""

    def __init__(self, targets: int, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.target = nn.Parameter(0.02 * torch.randn(targets, channels))
        self.attention = nn.MultiheadAttention(channels, heads, dropout, batch_first=True)

    def forward(self, hidden: Tensor) -> Tensor:
        """[rows, targets, channels] → the same shape."""
        seen = self.norm(hidden + self.target)
        return hidden + self.attention(seen, seen, seen, need_weights=False)[0]


class OfMembers(nn.Module):
    """A dense layer of each member's own; rows · members stand as one, a row's members together."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-1, 1) / inputs**0.5)
        self.bias = nn.Parameter(torch.empty(members, outputs).uniform_(-1, 1) / inputs**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[rows · members, inputs] → [rows · members, outputs]."""
        each = x.unflatten(0, (-1, len(self.weight))).transpose(0, 1)  # [members, rows, inputs]
        return (torch.bmm(each, self.weight) + self.bias[:, None]).transpose(0, 1).flatten(0, 1)


def _dense(members: int, inputs: int, outputs: int) -> nn.Module:
    return nn.Linear(inputs, outputs) if members == 1 else OfMembers(members, inputs, outputs)


class Heads(nn.Module):
    """A 2-layer MLP per target; between the layers, on demand, attention across targets. `hidden: 0`: one layer."""

    def __init__(self, inputs: int, sizes: HeadSizes, members: int = 1) -> None:
        super().__init__()
        targets = len(sizes.outputs)
        # The first layers of all heads are one matrix: one large product instead of many small ones.
        self.first = _dense(members, inputs, targets * sizes.hidden) if sizes.hidden else None
        self.dropout = nn.Dropout(sizes.dropout)
        cross = sizes.hidden and sizes.cross_target and targets > 1  # one target has nobody to listen to
        self.cross = CrossTarget(targets, sizes.hidden, sizes.heads, sizes.dropout) if cross else None
        self.second = nn.ModuleList(
            _dense(members, sizes.hidden or inputs, outputs) for outputs in sizes.outputs
        )

    def forward(self, fused: Tensor) -> list[Tensor]:
        """[rows, inputs] → per target [rows] (logit of class 1, or value) or [rows, classes] (logits)."""
        if self.first is None:
            hidden = fused[:, None].expand(-1, len(self.second), -1)
        else:
            hidden = self.dropout(torch.relu(self.first(fused))).unflatten(1, (len(self.second), -1))
        if self.cross:
            hidden = self.cross(hidden)
        logits = [layer(hidden[:, target]) for target, layer in enumerate(self.second)]
        return [logit.squeeze(1) if logit.shape[1] == 1 else logit for logit in logits]
