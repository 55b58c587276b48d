"""The image branch: pictures of a row, such as the first pages of a document → one vector.

Small enough to learn from some hundred rows on a CPU. What is seen is ink: 0 is white paper, 1 is black, so
that whatever lies beyond a picture's edge is more paper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate

from toolkit.models.neural.pretrained import Backbone
from toolkit.models.neural.sequence import AttentionPooling, steps_mask

GROUP = 64  # pictures that are encoded together where nothing is learnt: memory stays flat, and caches warm
_SQUARE = 16  # pixels that light is judged over
_LEAST = 0.01  # deviation of ink below which a page is blank


class Shown(NamedTuple):
    """Pictures of a batch of rows, those of the first row first, ragged.

    pixels: uint8 [pictures, height, width], 255 is white; or float32 [pictures, channels], what a frozen
    backbone made of them; lengths: int64 [rows], pictures of each row.
    """

    pixels: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class Augmentation:
    """How far a picture may be altered each time it is shown in training; 0: not at all.

    shift, scale: shares of its size; rotate: degrees; contrast: share of the ink; noise: standard deviation of
    what is added to the ink; erase: share of height and of width of a rectangle that is blanked at most.
    """

    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    erase: float = 0.0


@dataclass(frozen=True)
class ImageSizes:
    """channels: of the first layer, twice as many after each block; pool: of a row's pictures, mean or heads.

    frozen: channels of what a frozen backbone gives; backbone: of one that learns along (`Backbone.facts`).
    """

    width: int = 128
    channels: int = 16
    blocks: int = 4
    pool: int | Literal["mean"] = "mean"
    dropout: float = 0.1
    augment: Augmentation = field(default_factory=Augmentation)
    frozen: int = 0
    backbone: Mapping[str, Any] | None = None


def ink(pixels: Tensor) -> Tensor:
    """uint8 [pictures, height, width], 255 is white → float32 [pictures, 1, height, width] in [0, 1], 0 is white."""
    return (1 - pixels.float() / 255)[:, None]


def augmented(x: Tensor, by: Augmentation) -> Tensor:
    """Ink [pictures, 1, height, width], each altered at random; drawn from torch's own generator."""
    rows, _, height, width = x.shape

    def drawn(most: float) -> Tensor:
        return (2 * torch.rand(rows, device=x.device) - 1) * most

    if by.shift or by.rotate or by.scale:
        angle, size = drawn(math.radians(by.rotate)), 1 + drawn(by.scale)
        cos, sin = angle.cos() / size, angle.sin() / size
        # Both axes go from -1 to 1, so a turn of a picture that is no square has to be told its sides.
        across = torch.stack([cos, -sin * (height / width), drawn(2 * by.shift)], 1)
        down = torch.stack([sin * (width / height), cos, drawn(2 * by.shift)], 1)
        grid = affine_grid(torch.stack([across, down], 1), list(x.shape), align_corners=False)
        x = grid_sample(x, grid, align_corners=False)
    if by.contrast:
        x = x * (1 + drawn(by.contrast))[:, None, None, None]
    if by.noise:
        x = x + torch.randn_like(x) * (by.noise * torch.rand(rows, 1, 1, 1, device=x.device))
    if by.erase:
        inside = [
            _span(rows, length, by.erase, x.device).view(shape)
            for length, shape in ((height, (rows, 1, height, 1)), (width, (rows, 1, 1, width)))
        ]
        x = x.masked_fill(inside[0] & inside[1], 0.0)
    return x


def evened(x: Tensor) -> Tensor:
    """Ink against that around it: local contrast normalisation (Jarrett et al. 2009), over squares of 16 pixels.

    Photos have shadows, and scans are pale: x minus the mean about it, by the deviation about it or, where that is
    less, by the page's own, so that blank paper stays blank. [pictures, 1, height, width], as it comes.
    """

    def about(values: Tensor) -> Tensor:
        return avg_pool2d(values, _SQUARE, ceil_mode=True, count_include_pad=False)

    def smooth(values: Tensor) -> Tensor:
        return interpolate(values, size=x.shape[2:], mode="bilinear", align_corners=False)

    away = x - smooth(about(x))
    spread = about(away.square()).sqrt()
    return away / smooth(torch.maximum(spread, spread.mean((2, 3), keepdim=True)).clamp(min=_LEAST))


def _span(rows: int, length: int, share: float, device: torch.device) -> Tensor:
    """For each row a stretch of at most a share of the length, anywhere: bool [rows, length]."""
    half = torch.rand(rows, 1, device=device) * share / 2
    middle = torch.rand(rows, 1, device=device)
    at = (torch.arange(length, device=device) + 0.5) / length
    return (at - middle).abs() < half


class Convolutions(nn.Module):
    """3 × 3 convolutions over evened ink, each normalised, and halved by a maximum; then mean and maximum of the page.

    BatchNorm (Ioffe, Szegedy 2015): of some hundred pages it learns in a dozen epochs what GroupNorm has not half of.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, channels, 5, 2, 2, bias=False)]
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        for _ in range(blocks):
            layers += [nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(2 * channels), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
            channels *= 2
        self.layers = nn.Sequential(*layers)
        self.width = 2 * channels

    def forward(self, x: Tensor) -> Tensor:
        """Ink [pictures, 1, height, width] → [pictures, 2 · channels of the last block]."""
        # Channels last: a quarter less time on a CPU. Weights stay as they are, as do the optimizer's moments.
        first, *rest = self.layers
        x = first(evened(x)).contiguous(memory_format=torch.channels_last)
        for layer in rest:
            x = layer(x)
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)


class ImageBranch(nn.Module):
    """A network over each picture, then the mean over a row's pictures, or attention."""

    def __init__(self, sizes: ImageSizes) -> None:
        super().__init__()
        self.width, self.augment = sizes.width, sizes.augment
        self.encoder: nn.Module | None = None
        inputs = sizes.frozen
        if sizes.backbone is not None:
            self.encoder = Backbone.built(sizes.backbone)
            inputs = self.encoder.width
        elif not sizes.frozen:
            self.encoder = Convolutions(sizes.channels, sizes.blocks)
            inputs = self.encoder.width
        self.norm = nn.LayerNorm(inputs)
        self.dropout = nn.Dropout(sizes.dropout)
        self.pooling: nn.Module | None = None
        if sizes.pool != "mean":
            self.pooling = AttentionPooling(inputs, sizes.pool, sizes.width)
        self.project = nn.Linear(inputs, sizes.width) if self.pooling is None else None

    def forward(self, shown: Shown) -> Tensor:
        """→ [rows, width]; rows without pictures are for the fusion to mask."""
        pixels, lengths = shown
        if not len(pixels):
            return self.norm.weight.new_zeros(len(lengths), self.width)
        vectors = self.dropout(self.norm(self._encoded(pixels)))
        mask = steps_mask(lengths, int(lengths.max()))
        padded = vectors.new_zeros(*mask.shape, vectors.shape[1])
        padded[mask] = vectors  # in the order of rows, as the pictures come
        if self.pooling is not None:
            return self.pooling(padded, mask)
        assert self.project is not None
        return self.project(padded.sum(1) / lengths.clamp(min=1)[:, None])

    def _encoded(self, pixels: Tensor) -> Tensor:
        """[pictures, …] → [pictures, inputs]."""
        if self.encoder is None:
            return pixels
        if self.training:  # a picture that is alone is shown twice, as BatchNorm needs two
            x = ink(pixels if len(pixels) > 1 else pixels.expand(2, -1, -1))
            return self.encoder(augmented(x, self.augment))[: len(pixels)]
        return torch.cat([self.encoder(ink(group)) for group in pixels.split(GROUP)])
