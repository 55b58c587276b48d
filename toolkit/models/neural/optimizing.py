"""Optimizers and learning rates over time, as the settings say, by torch's own classes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from toolkit.models.neural import settings

DECAYING = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.LSTM, nn.GRU, nn.MultiheadAttention)


def optimizer(chosen: settings.Optimizer, module: nn.Module) -> torch.optim.Optimizer:
    """Only matrices of linear, recurrent and convolution layers decay: no bias, norm, embedding or variance."""
    decaying = {
        parameter
        for layer in module.modules()
        if isinstance(layer, DECAYING)
        for parameter in layer.parameters(recurse=False)
        if parameter.ndim > 1 and parameter.requires_grad
    }
    rest = [
        parameter
        for parameter in module.parameters()
        if parameter not in decaying and parameter.requires_grad
    ]
    ordered = [parameter for parameter in module.parameters() if parameter in decaying]
    groups = [{"params": ordered, "weight_decay": chosen.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    if isinstance(chosen, settings.SGD):
        return torch.optim.SGD(groups, chosen.lr, chosen.momentum, nesterov=chosen.momentum > 0, fused=True)
    return torch.optim.AdamW(groups, chosen.lr, (chosen.beta1, chosen.beta2), fused=True)


class Schedule:
    """The learning rate over time. Warm-up and cosine move at each batch, plateau at each epoch."""

    def __init__(
        self,
        chosen: settings.Scheduler,
        optimizer: torch.optim.Optimizer,
        batches: int,
        epochs: int,
        rising: bool,
    ) -> None:
        """batches: of an epoch; rising: more of what `after_epoch` is told is better."""
        self.plateau: ReduceLROnPlateau | None = None
        self.curve: LambdaLR | None = None
        if isinstance(chosen, settings.Plateau):
            self.plateau = ReduceLROnPlateau(
                optimizer,
                "max" if rising else "min",
                factor=chosen.factor,
                patience=chosen.patience,
                threshold=1e-4,
                threshold_mode="abs",
                min_lr=chosen.least,
            )
        else:
            self.curve = LambdaLR(optimizer, curve(chosen, batches, epochs))

    def after_batch(self) -> None:
        if self.curve:
            self.curve.step()

    def after_epoch(self, value: float) -> None:
        if self.plateau and not math.isnan(value):
            self.plateau.step(value)

    def state(self) -> dict[str, object]:
        """Plain values, for JSON."""
        found = (self.plateau or self.curve).state_dict()  # type: ignore[union-attr]
        found.pop("lr_lambdas", None)
        return {key: value for key, value in found.items() if isinstance(value, int | float | str | list)}

    def restore(self, state: dict[str, object]) -> None:
        (self.plateau or self.curve).__dict__.update(state)


def curve(chosen: settings.Cosine | settings.Constant, batches: int, epochs: int) -> Callable[[int], float]:
    """Step (0, 1, …) → share of the learning rate: a linear rise, then a half cosine, or 1."""
    warm, last = round(chosen.warmup * batches), batches * epochs

    def share(step: int) -> float:
        if step < warm:
            return (step + 1) / (warm + 1)
        if isinstance(chosen, settings.Constant):
            return 1.0
        passed = min((step - warm) / max(last - warm, 1), 1.0)
        return chosen.least + (1 - chosen.least) * (1 + math.cos(math.pi * passed)) / 2

    return share
