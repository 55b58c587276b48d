"""Losses: logits and labels → one number, over any mix of targets. A missing label (NaN) has no influence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, huber_loss, logsigmoid


def focal(logits: Tensor, y: Tensor, alpha: float = 0.75, gamma: float = 2.0) -> Tensor:
    """-α y (1 - p)^γ log p - (1 - α)(1 - y) p^γ log(1 - p), [rows]: Lin et al., "Focal Loss" (2017).

    Powers are taken of logarithms, so that sure rows (p at 0 or 1) have finite gradients.
    """
    log_p, log_q = logsigmoid(logits), logsigmoid(-logits)
    positive = -alpha * y * torch.exp(gamma * log_q) * log_p
    return positive - (1 - alpha) * (1 - y) * torch.exp(gamma * log_p) * log_q


def binary_cross_entropy(logits: Tensor, y: Tensor, weight: Sequence[float] = (1.0, 1.0)) -> Tensor:
    """-w₁ y log p - w₀ (1 - y) log(1 - p), [rows]. weight: of class 0 and of class 1."""
    return -weight[1] * y * logsigmoid(logits) - weight[0] * (1 - y) * logsigmoid(-logits)


def asymmetric(
    logits: Tensor, y: Tensor, gamma_positive: float = 1.0, gamma_negative: float = 4.0, margin: float = 0.05
) -> Tensor:
    """-y (1 - p)^γ₊ log p - (1 - y) pₘ^γ₋ log(1 - pₘ), pₘ = max(p - margin, 0), [rows].

    Ridnik et al., "Asymmetric Loss For Multi-Label Classification" (2021): negatives that are easy
    (p below the margin) count nothing.
    """
    positive = -y * torch.exp(gamma_positive * logsigmoid(-logits)) * logsigmoid(logits)
    rest = (torch.sigmoid(-logits) + margin).clamp(1e-7, 1.0)  # 1 - pₘ
    power = (1 - rest).clamp(min=1e-7) ** gamma_negative if gamma_negative else torch.ones_like(rest)
    return positive - (1 - y) * power * rest.log()


def multiclass(
    logits: Tensor,
    y: Tensor,
    weight: Sequence[float] | None = None,
    smoothing: float = 0.0,
    gamma: float = 0.0,
) -> Tensor:
    """Cross-entropy [rows] of logits [rows, classes] at the class's index y; weight: of each class.

    smoothing: share of a label spread over all classes (Szegedy et al. 2016); gamma: focal, (1 - p_y)^γ.
    """
    index = y.long()
    weights = None if weight is None else logits.new_tensor(weight)
    loss = cross_entropy(logits, index, weights, label_smoothing=smoothing, reduction="none")
    if gamma:
        log_p = -cross_entropy(logits, index, reduction="none")
        loss = loss * (-torch.expm1(log_p)).clamp(min=1e-7) ** gamma
    return loss


@dataclass(frozen=True)
class TargetLoss:
    """The loss of one target. weight: in the sum over targets; class_weight: per class, from training rows.

    kind, by type of target: binary has all but mse and huber; multiclass has bce (then plain
    cross-entropy) and focal (without alpha); regression has mse and huber.
    """

    type: Literal["binary", "multiclass", "regression"]
    kind: Literal["focal", "bce", "asymmetric", "mse", "huber"]
    weight: float = 1.0
    class_weight: tuple[float, ...] | None = None
    smoothing: float = 0.0
    alpha: float = 0.75
    gamma: float = 2.0
    gamma_positive: float = 1.0
    gamma_negative: float = 4.0
    margin: float = 0.05
    delta: float = 1.0

    def __post_init__(self) -> None:
        kinds = {
            "binary": ("focal", "bce", "asymmetric"),
            "multiclass": ("focal", "bce"),
            "regression": ("mse", "huber"),
        }
        if self.kind not in kinds[self.type]:
            raise ValueError(f"a {self.type} target takes {' or '.join(kinds[self.type])}, not {self.kind}")

    def rows(self, logits: Tensor, y: Tensor) -> Tensor:
        """Loss of each row, [rows]; y: float32 [rows] without NaN."""
        if self.type == "regression":
            if self.kind == "mse":
                return (logits - y) ** 2
            return huber_loss(logits, y, delta=self.delta, reduction="none")
        if self.type == "multiclass":
            gamma = self.gamma if self.kind == "focal" else 0.0
            return multiclass(logits, y, self.class_weight, self.smoothing, gamma)
        y = y * (1 - self.smoothing) + self.smoothing / 2
        if self.kind == "focal":
            return focal(logits, y, self.alpha, self.gamma)
        if self.kind == "asymmetric":
            loss = asymmetric(logits, y, self.gamma_positive, self.gamma_negative, self.margin)
            negative, positive = self.class_weight or (1.0, 1.0)
            return loss * torch.where(y > 0.5, positive, negative)
        return binary_cross_entropy(logits, y, self.class_weight or (1.0, 1.0))


def masked_mean(loss: TargetLoss, logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over rows whose label is there (0 with zero gradients if none is), and whether any is: two scalars."""
    known = ~y.isnan()
    rows = loss.rows(logits.float(), torch.where(known, y, 0.0))
    # Chosen rather than multiplied: a hidden row's infinite loss times 0 would be NaN.
    return torch.where(known, rows, 0.0).sum() / known.sum().clamp(min=1), known.any()


class MultiTargetLoss(nn.Module):
    """Σ weight · loss over targets; or, with `uncertainty`, each scaled by a learned variance.

    Kendall, Gal, Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses" (2018), s = log σ²:
    exp(-s) · loss + s / 2 for classes, half of the first term for numbers. A target without any label in
    a batch adds nothing, its s / 2 included, which nothing would hold back.
    """

    def __init__(self, losses: Sequence[TargetLoss], uncertainty: bool = False) -> None:
        super().__init__()
        self.losses = tuple(losses)
        self.log_variance = nn.Parameter(torch.zeros(len(self.losses))) if uncertainty else None

    def each(self, logits: Sequence[Tensor], y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss of each target, [targets], and whether it has any label, bool [targets].

        Members of a network are judged one by one, not by their mean: that keeps them different.
        """
        y = y.repeat_interleave(len(logits[0]) // len(y), 0)
        pairs = [
            masked_mean(loss, logit, y[:, target])
            for target, (loss, logit) in enumerate(zip(self.losses, logits, strict=True))
        ]
        return torch.stack([mean for mean, _ in pairs]), torch.stack([known for _, known in pairs])

    def forward(self, logits: Sequence[Tensor], y: Tensor) -> Tensor:
        """Logits as the heads give them, y: float32 [rows, targets], NaN missing → a scalar."""
        means, known = self.each(logits, y)
        weights = means.new_tensor([loss.weight for loss in self.losses])
        if self.log_variance is not None:
            half = means.new_tensor([0.5 if loss.type == "regression" else 1.0 for loss in self.losses])
            means = half * torch.exp(-self.log_variance) * means + self.log_variance / 2
        return (weights * torch.where(known, means, 0.0)).sum()
