"""The training loop, on Lightning: batches in, the best epoch's weights out."""

from __future__ import annotations

import copy
import logging
import math
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from toolkit.errors import DataError
from toolkit.models.interface import Progress, Task
from toolkit.models.neural import state as states
from toolkit.models.neural.batches import Inputs, order
from toolkit.models.neural.fitted import Unit, predicted, scoring
from toolkit.models.neural.losses import MultiTargetLoss
from toolkit.models.neural.network import Network
from toolkit.models.neural.optimizing import Schedule, optimizer
from toolkit.models.neural.state import State
from toolkit.models.neural.targets import mean_quality

if TYPE_CHECKING:
    from toolkit.models.neural.settings import Multimodal

_WITHIN = 4  # times that progress is told within an epoch
_CHECK = 32  # batches between looks at the losses on a GPU, as each look waits for it
_EXPLODED = 1e8  # a loss beyond it has left the road


@dataclass(frozen=True)
class Material:
    """What is learnt from. y: float32 [training rows, targets]; truth: float64 [validation rows, targets], in
    the targets' own units; names: of the numeric columns as scaled, for messages."""

    tasks: Sequence[Task]
    units: Sequence[Unit]
    train: Inputs
    y: Tensor
    valid: Inputs
    truth: np.ndarray
    names: Sequence[str]
    seed: int


class Loop(pl.LightningModule):
    """Lightning gives devices, precision, clipping and processes; order, judgement and state are ours."""

    def __init__(
        self,
        config: Multimodal,
        network: Network,
        loss: MultiTargetLoss,
        material: Material,
        progress: Progress | None = None,
        keep: tuple[Path, str] | None = None,
    ) -> None:
        """keep: the folder that outlives a killed process, and the key of what is fitted on what."""
        super().__init__()
        self.config, self.network, self.loss, self.material = config, network, loss, material
        self.progress, self.keep = progress, keep
        # What is judged and kept is a running mean of the weights over steps (Polyak, Juditsky 1992).
        self.mean = copy.deepcopy(network).requires_grad_(False) if config.trainer.average else network
        self.steps = len(self.batches(0))
        # Whether validation rows can tell a good epoch from a bad one.
        blank = [np.zeros((len(material.truth), unit.outputs)) for unit in material.units]
        flat = [
            b if task.type == "multiclass" else b[:, 0] for task, b in zip(material.tasks, blank, strict=True)
        ]
        self.watched = not math.isnan(mean_quality(material.tasks, material.truth, flat))
        self.state, self.note = State(), ""
        if keep:
            keep[0].mkdir(parents=True, exist_ok=True)
            found, self.note = states.read(*keep)
            self.state = found or self.state

    def run(self) -> None:
        """Train to the end; afterwards `mean` has the best epoch's weights."""
        settings = self.config.trainer
        if self.state.epoch:
            self.load_state_dict(self.state.of("now"))
        if not self.over:
            device = _best(settings.accelerator)
            with _undisturbed():
                trainer = pl.Trainer(
                    max_epochs=settings.epochs - self.state.epoch,
                    accelerator=device,
                    devices=settings.devices,
                    strategy=_strategy(settings.devices, device),
                    precision=_precision(settings.precision, settings.accelerator),
                    gradient_clip_val=settings.gradient_clip or None,
                    deterministic="warn" if settings.deterministic and device != "cpu" else None,
                    logger=False,
                    enable_checkpointing=False,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                    num_sanity_val_steps=0,
                    use_distributed_sampler=False,
                )
                trainer.fit(self, _Epoch(self))
            if settings.devices > 1:  # it was learnt in other processes; what they left is in the folder
                assert self.keep, "several processes need a folder between them"
                found, _ = states.read(*self.keep)
                self.state = found or self.state
        self.load_state_dict(self.state.of("best") or self.state.of("now"))

    @property
    def over(self) -> bool:
        """Whether the last epoch is done, or nothing has become better for too long."""
        settings = self.config.trainer
        stale = self.watched and self.state.epoch - self.state.best_epoch >= settings.patience
        return stale or self.state.epoch >= settings.epochs

    def batches(self, epoch: int) -> list[np.ndarray]:
        rows = self.material.train.rows
        return order(rows, self.config.trainer.batch_rows, self.material.seed, epoch)

    def notes(self) -> list[str]:
        """What the report says of the training."""
        done, rows = self.state.epoch, self.material.train.rows
        ended = f"no validation labels to judge by: all {done} epochs were used"
        if self.watched:
            ended = f"stopped at {self.state.best_epoch} of at most {self.config.trainer.epochs} epochs ({done} tried)"
        seconds = max(sum(one["seconds"] for one in self.state.epochs), 1e-9)
        told = [ended, f"{rows:,} training rows, {rows * done / seconds:,.0f} a second"]
        return [*told, self.note] if self.note else told

    # --- what Lightning calls, in this order

    def configure_optimizers(self) -> torch.optim.Optimizer:
        settings = self.config
        chosen = optimizer(settings.optimizer, self)
        self.schedule = Schedule(
            settings.scheduler, chosen, self.steps, settings.trainer.epochs, rising=self.watched
        )
        if self.state.epoch:
            states.restore_optimizer(chosen, self.state.of("optimizer"), self.state.rates)
            self.schedule.restore(self.state.schedule)
        return chosen

    def on_fit_start(self) -> None:
        self.train_rows, self.valid_rows = (
            rows.on(self.device) for rows in (self.material.train, self.material.valid)
        )
        self.y = self.material.y.to(self.device)

    def on_train_epoch_start(self) -> None:
        # Dropout derives from (seed, epoch), like the order of rows: a fit that goes on needs no more.
        torch.manual_seed(
            int(np.random.SeedSequence([self.material.seed, self.state.epoch]).generate_state(1)[0])
        )
        self.begun, self.sum = time.perf_counter(), 0.0
        self.unseen: list[Tensor] = []

    def transfer_batch_to_device(self, batch: Tensor, device: torch.device, dataloader_idx: int) -> Tensor:
        return batch  # rows' positions; what they stand for may stay on the CPU

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        logits = self.train_rows.logits(self.network, batch.to(self.train_rows.device))
        loss = self.loss(logits, self.y[batch.to(self.device)])
        self.unseen.append(loss.detach())
        if self.device.type == "cpu" or len(self.unseen) == _CHECK or batch_idx + 1 == self.steps:
            self._look(batch, batch_idx)
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Lightning's own refuses fused optimizers in mixed precision, for the sake of a scaler that bf16 has none of."""
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.schedule.after_batch()
        if self.mean is not self.network:
            self._average(self.state.epoch * self.steps + batch_idx)
        if (batch_idx + 1) % max(1, self.steps // _WITHIN) == 0:
            self._tell()

    def on_train_epoch_end(self) -> None:
        value = self._judged()
        # Of one process, as the value is: else each would change its learning rate at another time.
        loss, now = float(self.trainer.strategy.broadcast(self.sum / self.steps)), self.state
        self.schedule.after_epoch(value if self.watched else loss)
        seconds = time.perf_counter() - self.begun
        rates = [group["lr"] for group in self.optimizers().param_groups]  # type: ignore[union-attr]
        now.epochs.append(
            {"loss": loss, "metric": value if self.watched else None, "rate": rates[0], "seconds": seconds}
        )
        now.epoch += 1
        now.put("now", self.state_dict())
        if not self.watched:
            now.best_epoch = now.epoch
        elif value > now.best + self.config.trainer.min_delta:
            now.best, now.best_epoch = value, now.epoch
            now.put("best", self.state_dict())
        if self.keep:
            now.rates, now.schedule = rates, self.schedule.state()
            now.put("optimizer", states.optimizer_tensors(self.optimizers().optimizer))  # type: ignore[union-attr]
            if self.global_rank == 0:
                states.write(now, *self.keep)
        self._tell(value)
        if self.over:
            self.trainer.should_stop = True

    # --- within an epoch

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """The mean follows the weights: closely at first, as they move a lot."""
        share = 1 - min(self.config.trainer.average, (1 + step) / (10 + step))
        for mean, now in zip(
            self.mean.state_dict().values(), self.network.state_dict().values(), strict=True
        ):
            if torch.equal(mean, now):  # edges of bins, infinities among them, never move
                continue
            if mean.is_floating_point():
                mean.lerp_(now, share)
            else:
                mean.copy_(now)

    def _tell(self, value: float | None = None) -> None:
        """Epochs done, the one at work included; the running value at its end."""
        if not self.progress or self.global_rank:
            return
        done = self.state.epoch + (value is None)
        running: tuple[str, float] | None = None
        if value is not None and not math.isnan(value):
            numbers = any(task.type == "regression" for task in self.material.tasks)
            running = ("1 - R²", 1 - value) if numbers else ("auc", value)
        self.progress(self.material.tasks[-1].name, done, self.config.trainer.epochs, running)

    def _judged(self) -> float:
        """The weighted mean over targets on validation rows; NaN if there is nothing to judge by."""
        if not self.watched:
            return float("nan")
        value = self._score() if self.global_rank == 0 else 0.0
        return float(self.trainer.strategy.broadcast(value))  # of one process, so that all go the same way

    def _score(self) -> float:
        with scoring(self.mean):
            found = predicted(self.mean, self.valid_rows, self.material.tasks, self.material.units)
        for task, one in zip(self.material.tasks, found, strict=True):
            if not np.isfinite(one).all():
                raise self._diverged([task.name], "after its last batch", "", None)
        return mean_quality(self.material.tasks, self.material.truth, found)

    def _look(self, batch: Tensor, batch_idx: int) -> None:
        """Are the losses since the last look numbers?"""
        losses = torch.stack(self.unseen).cpu().double()  # Apple's devices have no float64
        wrong = ~(losses.abs() < _EXPLODED)
        if wrong.any():
            number = batch_idx + 1 - len(losses) + int(wrong.nonzero()[0])
            with torch.no_grad():
                logits = self.train_rows.logits(self.network, batch.to(self.train_rows.device))
                found, _ = self.loss.each(logits, self.y[batch.to(self.device)])
            guilty = ~(found.abs() < _EXPLODED)
            names = [task.name for task, bad in zip(self.material.tasks, guilty.tolist(), strict=True) if bad]
            value = float(losses[wrong][0])
            raise self._diverged(names, f"batch {number + 1} of {self.steps}", f"{value:g}", batch)
        self.sum += float(losses.sum())
        self.unseen = []

    def _diverged(self, names: Sequence[str], where: str, value: str, batch: Tensor | None) -> DataError:
        told = ", ".join(f"`{name}`" for name in names or [task.name for task in self.material.tasks])
        causes = [f"learning rate {self.optimizers().param_groups[0]['lr']:g}"]  # type: ignore[union-attr]
        numeric = self.train_rows.numeric
        if batch is not None and numeric is not None and numeric.shape[1]:
            most = numeric[batch.to(numeric.device)].abs().max(0).values
            column = int(most.argmax())
            causes.append(
                f"largest scaled value {float(most[column]):.3g} in column `{self.material.names[column]}`"
            )
        labels = self.y.abs().nan_to_num(0).max(0).values
        for task, most_y in zip(self.material.tasks, labels.tolist(), strict=True):
            if task.type == "regression" and not most_y < 50:
                causes.append(
                    f"labels of `{task.name}` up to {most_y:.3g} standard deviations from their mean"
                )
        return DataError(
            f"the loss of {told} became {value or 'no number'} in epoch {self.state.epoch + 1}, {where}",
            where=f"target.{names[0] if names else self.material.tasks[0].name}",
            why="; ".join(causes),
            fix="lower optimizer.lr, or keep trainer.gradient_clip above 0; for numbers loss.regression=huber",
        )


@dataclass(frozen=True)
class _Epoch:
    """An epoch's batches, anew each time Lightning asks: int64 [rows of the batch], positions."""

    loop: Loop

    def __len__(self) -> int:
        return self.loop.steps

    def __iter__(self) -> Iterator[Tensor]:
        rank, processes = self.loop.global_rank, self.loop.trainer.world_size
        for batch in self.loop.batches(self.loop.state.epoch):
            share = batch[rank::processes] if len(batch) >= 2 * processes else batch
            yield torch.from_numpy(share)


def _best(accelerator: str) -> str:
    """auto: a CUDA device if there is one. The CPU gives the same bits for the same threads as it is."""
    if accelerator != "auto":
        return accelerator
    return "cuda" if torch.cuda.is_available() else "cpu"


def _strategy(devices: int, device: str) -> str:
    """Lightning's plain `ddp` would start this very command again, once per device; these start functions."""
    if devices == 1:
        return "auto"
    return "ddp_fork" if device == "cpu" else "ddp_spawn"


def _precision(chosen: str, accelerator: str) -> Literal["bf16-mixed", "32-true"]:
    """auto: bf16 on GPUs that have it; on CPUs it is slower for networks of this size."""
    cuda = accelerator in ("auto", "cuda") and torch.cuda.is_available()
    half = chosen == "bf16" or (chosen == "auto" and cuda and torch.cuda.is_bf16_supported())
    return "bf16-mixed" if half else "32-true"


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put back what Lightning changes in the process: logging, determinism, and what an interrupt does."""
    loggers = [
        logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")
    ]
    levels = [logger.level for logger in loggers]
    switches: Any = torch.utils.deterministic
    filling = switches.fill_uninitialized_memory
    switches.fill_uninitialized_memory = False  # a sixth of the time, and nobody reads it
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    handler = signal.getsignal(signal.SIGINT)
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Said at every fit, about Lightning's own use of torch.
            warnings.filterwarnings("ignore", "`isinstance\\(treespec", FutureWarning)
            yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning makes an exit of it, and goes deaf
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from None
        raise
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        switches.fill_uninitialized_memory = filling
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        if workspace is None:
            os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
