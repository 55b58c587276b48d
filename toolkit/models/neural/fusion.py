"""Fusion: one vector per modality, some of them missing → one vector per row.

What a missing modality's tensor holds has no influence: its token is hidden from attention, and its place
in the concatenation is taken by a learned vector that says "missing".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class FusionSizes:
    """channels: of the token that each modality is brought to; heads: of the cross-modal attention."""

    kind: Literal["attention", "concat", "gated", "none"] = "attention"
    width: int = 512
    channels: int = 256
    heads: int = 8
    dropout: float = 0.1


class CrossModal(nn.Module):
    """Tokens attend to the tokens that are present: x + Attention(LayerNorm(x)) (Vaswani et al. 2017)."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, heads, dropout, batch_first=True)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Tokens [rows, modalities, channels], present [rows, modalities] → as tokens."""
        # A row with nothing may look at everything (learned vectors only): softmax over nothing is NaN.
        hidden = ~present & present.any(1, keepdim=True)
        seen = self.norm(tokens)
        return tokens + self.attention(seen, seen, seen, key_padding_mask=hidden, need_weights=False)[0]


class Gated(nn.Module):
    """Σ_m gate_m · tanh(token_m), each gate told by all tokens: Arevalo et al., "Gated Multimodal Units" (2017)."""

    def __init__(self, modalities: int, channels: int) -> None:
        super().__init__()
        self.gates = nn.Linear(modalities * channels, modalities * channels)

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Tokens [rows, modalities, channels], present [rows, modalities] → [rows, channels]."""
        gates = torch.sigmoid(self.gates(tokens.flatten(1))).view_as(tokens)
        return (gates * tokens.tanh() * present[:, :, None]).sum(1)


class SideBySide(nn.Module):
    """No layer of its own: the vectors one after the other, a learned vector where one is missing."""

    def __init__(self, inputs: Sequence[int]) -> None:
        super().__init__()
        self.width = sum(inputs)
        self.missing = nn.ParameterList(nn.Parameter(0.02 * torch.randn(width)) for width in inputs)

    def forward(self, vectors: Sequence[Tensor], present: Tensor) -> Tensor:
        """One [rows, inputs[m]] per modality, present: bool [rows, modalities] → [rows, width]."""
        return torch.cat(
            [
                torch.where(present[:, [m]], v, missing.to(v.dtype))
                for m, (v, missing) in enumerate(zip(vectors, self.missing, strict=True))
            ],
            1,
        )


def fusion(inputs: Sequence[int], sizes: FusionSizes) -> Fusion | SideBySide:
    """What `kind` says; inputs: widths of the modalities' vectors."""
    return SideBySide(inputs) if sizes.kind == "none" else Fusion(inputs, sizes)


class Fusion(nn.Module):
    """Modality vectors → tokens of one width → attention, concatenation or gates → [rows, width]."""

    def __init__(self, inputs: Sequence[int], sizes: FusionSizes) -> None:
        super().__init__()
        self.width, modalities = sizes.width, len(inputs)
        self.project = nn.ModuleList(nn.Linear(width, sizes.channels) for width in inputs)
        # Told apart by a learned vector: attention itself does not know which modality a token is of.
        self.modality = nn.Parameter(0.02 * torch.randn(modalities, sizes.channels))
        self.missing = nn.Parameter(0.02 * torch.randn(modalities, sizes.channels))
        self.cross = (
            CrossModal(sizes.channels, sizes.heads, sizes.dropout) if sizes.kind == "attention" else None
        )
        self.gated = Gated(modalities, sizes.channels) if sizes.kind == "gated" else None
        joined = sizes.channels if self.gated else modalities * sizes.channels
        self.out = nn.Sequential(
            nn.Linear(joined, sizes.width), nn.LayerNorm(sizes.width), nn.ReLU(), nn.Dropout(sizes.dropout)
        )

    def forward(self, vectors: Sequence[Tensor], present: Tensor) -> Tensor:
        """One [rows, inputs[m]] per modality, present: bool [rows, modalities] → [rows, width]."""
        clean = [v.masked_fill(~present[:, [m]], 0.0) for m, v in enumerate(vectors)]
        tokens = torch.stack([layer(v) for layer, v in zip(self.project, clean, strict=True)], 1)
        tokens = torch.where(present[:, :, None], tokens + self.modality, self.missing.to(tokens.dtype))
        if self.gated:
            return self.out(self.gated(tokens, present))
        if self.cross:
            tokens = self.cross(tokens, present)
        return self.out(tokens.flatten(1))
