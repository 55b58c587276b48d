"""The sequence branch: the last events of a row, oldest first and padded at the end → one vector.

No part of it reads padding: what a row's padding holds, and how much of it there is, changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from toolkit.models.neural.tabular import Categories

GROUP = 256  # rows that are encoded together


class Padded(NamedTuple):
    """Events of a batch of rows, oldest first, padded at the end to the longest row.

    numeric: float32 [rows, steps, channels], standardised, missing values filled; lengths: int64 [rows];
    codes: [rows, steps, categorical], -1 missing; None where the events have no categories.
    """

    numeric: Tensor
    lengths: Tensor
    codes: Tensor | None = None


@dataclass(frozen=True)
class SequenceSizes:
    """numeric: channels of an event; levels: of each categorical one; pool: heads of the pooling, or last.

    hidden: states per direction, of each layer where several are given (LSTM, GRU); convolutions and
    transformer, which have no direction, have twice as many.
    layers: convolutions are three at least (steps seen to either side: 7 with three, 15 with four).
    """

    numeric: int
    levels: tuple[int, ...] = ()
    width: int = 256
    hidden: int | tuple[int, ...] = 128
    category: int = 8
    encoder: Literal["lstm", "gru", "tcn", "transformer"] = "lstm"
    layers: int = 1
    heads: int = 4
    pool: int | Literal["last"] = 4
    dropout: float = 0.1
    bidirectional: bool = True

    @property
    def stacked(self) -> tuple[int, ...]:
        """States per direction of each layer."""
        return (self.hidden,) * self.layers if isinstance(self.hidden, int) else tuple(self.hidden)

    @property
    def states(self) -> int:
        """Width of an encoded event."""
        return self.stacked[-1] * (2 if self.bidirectional else 1)


def steps_mask(lengths: Tensor, steps: int) -> Tensor:
    """True where there is an event: bool [rows, steps]."""
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


def reverse(x: Tensor, lengths: Tensor) -> Tensor:
    """Each row's events in reverse order, padding left at the end: [rows, steps, channels], its own inverse."""
    rows, steps = x.shape[:2]
    step = torch.arange(steps, device=x.device)
    mirrored = lengths[:, None] - 1 - step
    first = torch.arange(rows, device=x.device)[:, None] * steps
    # Whole events are copied: half the time of a gather, which indexes each channel.
    order = torch.where(mirrored >= 0, mirrored, step) + first
    return x.flatten(0, 1).index_select(0, order.flatten()).view_as(x)


class Recurrent(nn.Module):
    """LSTM or GRU layers, one on the other; a bidirectional one is two of one direction, the second on reversed rows.

    Between layers, channels of a row are dropped for all its events alike (see `SequenceBranch`). torch's own bidirectional layer starts its backward direction in the padding unless the batch is
    packed, and packing is several times slower; padding at the end of a row never reaches what is before.
    Hochreiter, Schmidhuber (1997); Cho et al. (2014).
    """

    def __init__(self, inputs: int, sizes: SequenceSizes) -> None:
        super().__init__()
        kind = nn.LSTM if sizes.encoder == "lstm" else nn.GRU
        ways = 2 if sizes.bidirectional else 1
        layers = list(zip((inputs, *(ways * width for width in sizes.stacked)), sizes.stacked, strict=False))
        self.forwards = nn.ModuleList(kind(width, hidden, batch_first=True) for width, hidden in layers)
        self.backwards = nn.ModuleList(
            kind(width, hidden, batch_first=True) for width, hidden in layers if sizes.bidirectional
        )
        self.dropout = nn.Dropout1d(sizes.dropout)

    def forward(self, x: Tensor, lengths: Tensor, mask: Tensor) -> Tensor:
        """[rows, steps, inputs] → [rows, steps, states]."""
        for layer, ahead in enumerate(self.forwards):
            if layer:
                x = self.dropout(x.transpose(1, 2)).transpose(1, 2)
            forth, _ = ahead(x)
            if self.backwards:
                mirrored, _ = self.backwards[layer](reverse(x, lengths))
                forth = torch.cat([forth, reverse(mirrored, lengths)], 2)
            x = forth
        return x


class TemporalConvolution(nn.Module):
    """Residual convolutions over steps, dilated 1, 2, 4, … (Bai, Kolter, Koltun 2018).

    Not causal: all events lie before the cutoff. The padding is set to zero before each convolution,
    which is what a convolution sees beyond a row's end anyhow; LayerNorm, as BatchNorm would mix rows.
    """

    def __init__(self, inputs: int, sizes: SequenceSizes) -> None:
        super().__init__()
        self.out = sizes.states
        self.project = nn.Linear(inputs, self.out)
        blocks = max(3, sizes.layers)
        self.norms = nn.ModuleList(nn.LayerNorm(self.out) for _ in range(blocks))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(self.out, self.out, 3, padding=2**block, dilation=2**block) for block in range(blocks)
        )
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, x: Tensor, lengths: Tensor, mask: Tensor) -> Tensor:
        """[rows, steps, inputs] → [rows, steps, 2 · hidden]."""
        x = self.project(x)
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            seen = norm(x).masked_fill(~mask[:, :, None], 0.0)
            x = x + self.dropout(torch.relu(convolution(seen.transpose(1, 2)).transpose(1, 2)))
        return x


class Transformer(nn.Module):
    """Transformer encoder (Vaswani et al. 2017), normalised first, positions counted back from the cutoff.

    The last event is position 0 in every row, however many came before it.
    """

    def __init__(self, inputs: int, sizes: SequenceSizes) -> None:
        super().__init__()
        self.out = sizes.states
        self.project = nn.Linear(inputs, self.out)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                self.out, sizes.heads, 2 * self.out, sizes.dropout, batch_first=True, norm_first=True
            )
            for _ in range(sizes.layers)
        )

    def positions(self, lengths: Tensor, steps: int) -> Tensor:
        """Sine and cosine of each event's place before the cutoff: [rows, steps, 2 · hidden]."""
        back = (lengths[:, None] - 1 - torch.arange(steps, device=lengths.device)).clamp(min=0)
        half = torch.arange(self.out // 2, device=lengths.device)
        angle = back[:, :, None] * torch.exp(half * (-9.21 / (self.out // 2)))  # wavelengths up to 10⁴
        return torch.cat([angle.sin(), angle.cos()], 2)

    def forward(self, x: Tensor, lengths: Tensor, mask: Tensor) -> Tensor:
        """[rows, steps, inputs] → [rows, steps, 2 · hidden]."""
        x = self.project(x)
        x = x + self.positions(lengths, x.shape[1]).to(x.dtype)
        # A row without events may look at its padding, as a softmax over nothing is not a number.
        hidden = ~mask & (lengths > 0)[:, None]
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=hidden)
        return x


class AttentionPooling(nn.Module):
    """Several weighted means over a row's events, the weights learned: softmax(W₂ tanh(W₁ H)).

    Lin et al., "A Structured Self-attentive Sentence Embedding" (2017). No events: the bias alone.
    """

    def __init__(self, inputs: int, heads: int, width: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(inputs, inputs // 2), nn.Tanh(), nn.Linear(inputs // 2, heads))
        self.project = nn.Linear(heads * inputs, width)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States [rows, steps, inputs], mask [rows, steps] → [rows, width]."""
        scores = self.score(states).float().masked_fill(~mask[:, :, None], torch.finfo(torch.float32).min)
        weights = (scores.softmax(1) * mask[:, :, None]).to(states.dtype)
        return self.project((weights.transpose(1, 2) @ states).flatten(1))


class Newest(nn.Module):
    """The state at a row's newest event, as it is where it has the width that is asked for. No events: padding's."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(inputs, width) if inputs != width else nn.Identity()

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States [rows, steps, inputs], mask [rows, steps] → [rows, width]."""
        newest = (mask.sum(1) - 1).clamp(min=0)
        return self.project(states[torch.arange(len(states), device=states.device), newest])


class SequenceBranch(nn.Module):
    """Encoder over events, then attention pooling, or the newest event's state."""

    def __init__(self, sizes: SequenceSizes) -> None:
        super().__init__()
        self.width = sizes.width
        self.categories = Categories(sizes.levels, sizes.category) if sizes.levels else None
        inputs = sizes.numeric + (self.categories.out if self.categories else 0)
        encoders = {"tcn": TemporalConvolution, "transformer": Transformer}
        self.encoder = encoders.get(sizes.encoder, Recurrent)(inputs, sizes)
        # Channels of a row, for all its events alike (Gal, Ghahramani 2016): one draw instead of one per event.
        self.dropout = nn.Dropout1d(sizes.dropout)
        self.pooling = (
            Newest(sizes.states, sizes.width)
            if sizes.pool == "last"
            else AttentionPooling(sizes.states, sizes.pool, sizes.width)
        )

    def forward(self, events: Padded) -> Tensor:
        """→ [rows, width]; rows without events are for the fusion to mask.

        A batch holds rows of any length, as one of like lengths would be of like rows, and BatchNorm would see
        another world in each. So it is encoded in groups of like length, each as long as its longest row.
        """
        lengths = events.lengths
        if len(lengths) <= GROUP:
            return self._encoded(events)
        order = lengths.argsort(stable=True)
        groups = order.split(GROUP)
        longest = [int(lengths[group[-1]]) for group in groups]
        parts = [
            self._encoded(
                Padded(
                    events.numeric[group, :steps],
                    lengths[group],
                    None if events.codes is None else events.codes[group, :steps],
                )
            )
            for group, steps in zip(groups, longest, strict=True)
        ]
        return torch.cat(parts)[order.argsort()]

    def _encoded(self, events: Padded) -> Tensor:
        numeric, lengths, codes = events
        if not numeric.shape[1]:  # nobody in this batch has events, and a recurrent layer needs a step
            numeric = numeric.new_zeros(len(numeric), 1, numeric.shape[2])
            codes = None if codes is None else codes.new_zeros(len(codes), 1, codes.shape[2])
        mask = steps_mask(lengths, numeric.shape[1])
        # Whatever the padding holds, NaN included, ends here.
        x = numeric.masked_fill(~mask[:, :, None], 0.0)
        if self.categories:
            assert codes is not None, "the branch was built with categorical channels"
            x = torch.cat([x, self.categories(codes.masked_fill(~mask[:, :, None], -1))], 2)
        states = self.encoder(x, lengths, mask)
        return self.pooling(self.dropout(states.transpose(1, 2)).transpose(1, 2), mask)
