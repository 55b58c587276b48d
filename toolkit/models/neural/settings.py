"""The neural model's configuration, and what the groups loss, optimizer, scheduler and trainer hold.

Plain settings: torch is loaded when a model is fitted or read, not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from toolkit.config.node import Node
from toolkit.models.interface import Batch, Column, ModelConfig, Progress, Task

if TYPE_CHECKING:
    from toolkit.models.neural.fitted import NeuralFitted

Modality = Literal["tabular", "sequence", "graph", "image"]
Width = Annotated[int, Field(ge=1, le=8192)]
Dropout = Annotated[float, Field(ge=0, lt=1, description="Share of the channels dropped while training.")]
Category = Annotated[int, Field(ge=1, le=512, description="Channels of a category's embedding.")]


# --- branches, fusion, heads ------------------------------------------------------------------------


class TabularSettings(Node):
    """The branch that reads the design matrix."""

    hidden: Width = Field(256, description="Width of the hidden layer.")
    width: Width = Field(256, description="Width of what the branch says.")
    dropout: Dropout = 0.2
    residual: bool = Field(False, description="Two residual blocks in place of two plain layers.")
    numbers: Literal["plain", "piecewise_linear"] = Field(
        "piecewise_linear",
        description="How a number enters: as it is, or embedded piece by piece between quantiles.",
    )
    bins: int = Field(48, ge=2, le=256, description="Pieces of a number (piecewise_linear).")
    number: Width = Field(16, description="Channels of a number (piecewise_linear).")
    category: Category = 8
    members: int = Field(
        1,
        ge=1,
        le=128,
        description="Networks that share weights and whose mean is taken (TabM); two layers each. 1: no ensemble.",
    )

    @model_validator(mode="after")
    def members_have_plain_layers(self) -> Self:
        if self.residual and self.members > 1:
            raise ValueError("`members` share two plain layers; they go without `residual`")
        return self


class SequenceSettings(Node):
    """The branch that reads events in order."""

    encoder: Literal["lstm", "gru", "tcn", "transformer"] = Field(
        "lstm", description="LSTM or GRU, dilated convolutions, or a transformer."
    )
    hidden: Width | Annotated[tuple[Width, ...], Field(min_length=1, max_length=12)] = Field(
        64,
        description="States per direction; convolutions and transformer have twice as many. A list: of each "
        "layer (LSTM and GRU).",
    )
    width: Width = Field(256, description="Width of what the branch says.")
    layers: int = Field(
        1,
        ge=1,
        le=12,
        description="Layers; convolutions are three at least. Left out beside a list of `hidden`.",
    )
    bidirectional: bool = Field(
        True, description="LSTM and GRU read both ways; false: oldest to newest only."
    )
    heads: int = Field(4, ge=1, le=64, description="Attention heads of the transformer.")
    pool: Literal["last"] | Annotated[int, Field(ge=1, le=64)] = Field(
        4,
        description="Heads of the attention pooling over events; last: the state at the newest event, as it is "
        "where `width` is its width.",
    )
    dropout: Dropout = 0.1
    category: Category = 8

    @model_validator(mode="after")
    def what_is_recurrent_goes_with_recurrent_layers(self) -> Self:
        if self.encoder not in ("lstm", "gru"):
            for name, given in (("a list of `hidden`", isinstance(self.hidden, tuple)),
                                ("`bidirectional: false`", not self.bidirectional)):  # fmt: skip
                if given:
                    raise ValueError(f"{name} goes with lstm and gru, not with {self.encoder}")
        if isinstance(self.hidden, tuple) and self.layers not in (1, len(self.hidden)):
            raise ValueError(f"`hidden` lists {len(self.hidden)} layers, and `layers` says {self.layers}")
        return self

    @model_validator(mode="after")
    def heads_share_the_channels(self) -> Self:
        if self.encoder == "transformer" and isinstance(self.hidden, int) and (2 * self.hidden) % self.heads:
            raise ValueError(
                f"`heads: {self.heads}` does not divide the channels, twice `hidden: {self.hidden}`"
            )
        return self


class GraphSettings(Node):
    """The branch that reads relations between entities."""

    hidden: Width = Field(128, description="Width of the hidden layers.")
    width: Width = Field(128, description="Width of what the branch says.")
    hops: Literal[1, 2] = Field(1, description="1: neighbours; 2: their neighbours too.")
    dropout: Dropout = 0.1
    input_dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of the nodes' features dropped while training."
    )
    weighted: bool = Field(True, description="Means over neighbours by the edges' weights; false: all alike.")
    own: Literal["beside", "among"] = Field(
        "beside",
        description="A node's own vector beside the mean of its neighbours, or among them: half the weights, for few rows.",
    )


class Augment(Node):
    """How far pictures are altered, each time anew, while the branch learns; never when it scores. 0: not at all."""

    shift: float = Field(0.05, ge=0, le=0.5, description="Share of the picture's height and width.")
    rotate: float = Field(2.0, ge=0, le=180, description="Degrees.")
    scale: float = Field(0.08, ge=0, le=0.5, description="Share of the picture's size.")
    contrast: float = Field(0.3, ge=0, le=0.9, description="Share of the ink.")
    noise: float = Field(0.1, ge=0, le=1, description="Of the ink, of which black is 1.")
    erase: float = Field(
        0.0, ge=0, le=1, description="Share of height and width of a rectangle that is blanked, at most."
    )


class ImageSettings(Node):
    """The branch that reads pictures."""

    channels: int = Field(
        16, ge=4, le=256, description="Channels of the first layer; twice as many after each block."
    )
    blocks: int = Field(4, ge=1, le=6, description="Convolutions, each of which halves the picture.")
    width: Width = Field(128, description="Width of what the branch says.")
    pool: Literal["mean"] | Annotated[int, Field(ge=1, le=64)] = Field(
        "mean", description="Of several pictures of a row: their mean, or heads of an attention over them."
    )
    dropout: Dropout = 0.1
    augment: Augment = Field(Augment(), description="How pictures are altered while learning.")
    backbone: str | None = Field(
        None,
        min_length=1,
        description="A pretrained network in place of these convolutions: a folder, or a name on the model hub.",
    )
    freeze: bool = Field(
        True,
        description="The backbone stays as it is and each picture is read by it once, unaltered; false: it "
        "learns along, for which optimizer.lr is 1e-4 rather than more.",
    )


class FusionSettings(Node):
    """How the branches' vectors become one."""

    kind: Literal["attention", "concat", "gated", "none"] = Field(
        "attention",
        description="Attention across modalities, concatenation, or gates, then a layer; none: the branches' vectors as they are.",
    )
    width: Width = Field(512, description="Width of the fused vector.")
    channels: Width = Field(128, description="Width that each modality is brought to.")
    heads: int = Field(8, ge=1, le=64, description="Attention heads.")
    dropout: Dropout = 0.1

    @model_validator(mode="after")
    def heads_share_the_channels(self) -> Self:
        if self.kind == "attention" and self.channels % self.heads:
            raise ValueError(f"`heads: {self.heads}` does not divide `channels: {self.channels}`")
        return self


class HeadSettings(Node):
    """From the fused vector to the targets, a small network each."""

    hidden: int = Field(64, ge=0, le=8192, description="Width of each head's hidden layer; 0: none.")
    cross_target: bool = Field(False, description="Let heads of several targets attend to each other.")
    heads: int = Field(4, ge=1, le=64, description="Attention heads across targets.")
    dropout: Dropout = 0.1

    @model_validator(mode="after")
    def heads_share_the_channels(self) -> Self:
        if self.cross_target and not self.hidden:
            raise ValueError("`cross_target` goes between the layers of heads, and `hidden: 0` leaves one")
        if self.cross_target and self.hidden % self.heads:
            raise ValueError(f"`heads: {self.heads}` does not divide `hidden: {self.hidden}`")
        return self


# --- loss -------------------------------------------------------------------------------------------


class _Loss(Node):
    class_weight: Literal["none", "balanced"] = Field(
        "none",
        description="balanced: every class weighs the same in total. Probabilities then need calibration.",
    )
    smoothing: float = Field(0.0, ge=0, lt=0.5, description="Share of a label spread over all classes.")
    uncertainty: bool = Field(
        False, description="Weigh several targets by learned variances (Kendall, Gal, Cipolla 2018)."
    )
    regression: Literal["huber", "mse"] = Field(
        "huber", description="Loss of numbers, in standard deviations."
    )
    delta: float = Field(1.0, gt=0, le=1e3, description="Where huber turns from square to straight.")


class Focal(_Loss):
    """Focal loss (Lin et al. 2017): rows that are sure already count little. Multiclass: without alpha."""

    kind: Literal["focal"] = "focal"
    alpha: float = Field(
        0.75, gt=0, lt=1, description="Weight of class 1; class 0 has the rest. balanced sets it."
    )
    gamma: float = Field(2.0, ge=0, le=10, description="How little sure rows count; 0: cross-entropy.")


class CrossEntropy(_Loss):
    """Binary cross-entropy, and cross-entropy for more classes: probabilities are honest as they come."""

    kind: Literal["bce"] = "bce"


class Asymmetric(_Loss):
    """Asymmetric loss (Ridnik et al. 2021): easy negatives count nothing. Multiclass: cross-entropy."""

    kind: Literal["asymmetric"] = "asymmetric"
    gamma_positive: float = Field(1.0, ge=0, le=10, description="How little sure positives count.")
    gamma_negative: float = Field(4.0, ge=0, le=10, description="How little sure negatives count.")
    margin: float = Field(
        0.05, ge=0, lt=0.5, description="Probability below which a negative counts nothing."
    )


Loss = Annotated[Focal | CrossEntropy | Asymmetric, Field(discriminator="kind")]


# --- optimizer, scheduler, trainer ------------------------------------------------------------------


class AdamW(Node):
    """AdamW (Loshchilov, Hutter 2019). Biases, norms and embeddings do not decay."""

    kind: Literal["adamw"] = "adamw"
    lr: float = Field(2e-3, gt=0, le=10, description="Learning rate.")
    weight_decay: float = Field(0.01, ge=0, le=10, description="Pull of the weights to zero.")
    beta1: float = Field(0.9, ge=0, lt=1, description="Memory of the mean of gradients.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Memory of the mean of their squares.")


class SGD(Node):
    """Stochastic gradient descent with Nesterov's momentum. Biases, norms and embeddings do not decay."""

    kind: Literal["sgd"] = "sgd"
    lr: float = Field(0.05, gt=0, le=10, description="Learning rate.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Memory of earlier steps.")
    weight_decay: float = Field(1e-4, ge=0, le=10, description="Pull of the weights to zero.")


Optimizer = Annotated[AdamW | SGD, Field(discriminator="kind")]


class Plateau(Node):
    """Cut the learning rate when the validation metric stops rising (without validation rows: the loss falling)."""

    kind: Literal["plateau"] = "plateau"
    factor: float = Field(0.3, gt=0, lt=1, description="What the learning rate is multiplied by.")
    patience: int = Field(2, ge=0, le=1000, description="Epochs without a better metric before a cut.")
    least: float = Field(1e-6, ge=0, le=1, description="Learning rate below which it is not cut.")


class Cosine(Node):
    """Rise over the first epochs, then fall along a half cosine until the last (Loshchilov, Hutter 2017)."""

    kind: Literal["cosine"] = "cosine"
    warmup: float = Field(1.0, ge=0, le=1000, description="Epochs of linear rise.")
    least: float = Field(0.01, ge=0, lt=1, description="Share of the learning rate left at the end.")


class Constant(Node):
    """One learning rate throughout, after a linear rise."""

    kind: Literal["constant"] = "constant"
    warmup: float = Field(0.0, ge=0, le=1000, description="Epochs of linear rise.")


Scheduler = Annotated[Plateau | Cosine | Constant, Field(discriminator="kind")]


class Trainer(Node):
    """The training loop."""

    epochs: int = Field(50, ge=1, le=10_000, description="Most passes over the training rows.")
    batch_rows: int = Field(1024, ge=2, le=1_000_000, description="Rows per step.")
    patience: int = Field(
        6, ge=1, le=10_000, description="Epochs without a better validation metric before stopping."
    )
    min_delta: float = Field(1e-4, ge=0, le=1, description="What counts as better.")
    average: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="Share of older steps in the running mean of weights that is used; 0: none.",
    )
    gradient_clip: float = Field(1.0, ge=0, le=1e6, description="Longest gradient of a step; 0: any.")
    precision: Literal["auto", "32", "bf16"] = Field(
        "auto", description="Of the arithmetic while training; auto: bf16 on GPUs that have it, else 32 bits."
    )
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="Where to compute; auto: a CUDA device if there is one, else the CPU."
    )
    devices: int = Field(1, ge=1, le=64, description="How many of them.")
    strategy: Literal["auto", "ddp"] = Field(
        "auto", description="ddp: each device takes its share of every batch."
    )
    deterministic: bool = Field(
        True, description="Same seed, same bits, also where a GPU would be faster without."
    )

    @field_validator("precision", mode="before")
    @classmethod
    def precision_is_a_word(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def several_devices_need_a_strategy(self) -> Self:
        if self.devices > 1 and self.strategy == "auto":
            raise ValueError(f"`devices: {self.devices}` needs `strategy: ddp`")
        return self


# --- the model --------------------------------------------------------------------------------------


class Multimodal(ModelConfig):
    """Neural network over columns, events, relations and pictures: a branch for each, attention, a head per target."""

    resumes: ClassVar[bool] = True

    kind: Literal["multimodal"] = "multimodal"
    use: tuple[Modality, ...] = Field(
        ("tabular", "sequence", "graph", "image"),
        min_length=1,
        description="Modalities that get a branch, if rows have them.",
    )
    tabular: TabularSettings = Field(TabularSettings(), description="The branch of columns.")
    sequence: SequenceSettings = Field(
        SequenceSettings(), description="The branch of events, one per sequence set."
    )
    graph: GraphSettings = Field(GraphSettings(), description="The branch of relations.")
    image: ImageSettings = Field(ImageSettings(), description="The branch of pictures, one per image set.")
    fusion: FusionSettings = Field(FusionSettings(), description="From branches to one vector.")
    heads: HeadSettings = Field(HeadSettings(), description="From that vector to the targets.")
    loss: Loss = Field(Focal(), description="What is minimised.")
    optimizer: Optimizer = Field(AdamW(), description="How.")
    scheduler: Scheduler = Field(Plateau(), description="The learning rate over time.")
    trainer: Trainer = Field(Trainer(), description="The loop around it.")

    @field_validator("use")
    @classmethod
    def each_once(cls, value: tuple[Modality, ...]) -> tuple[Modality, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a modality is named twice")
        return value

    def fit(
        self,
        tasks: Sequence[Task],
        columns: Sequence[Column],
        train: Batch,
        valid: Batch,
        *,
        seed: int,
        threads: int,
        progress: Progress | None = None,
        keep: Path | None = None,
    ) -> NeuralFitted:
        from toolkit.models.neural.training import fit

        return fit(
            self, tasks, columns, train, valid, seed=seed, threads=threads, progress=progress, keep=keep
        )

    def load(self, folder: Path) -> NeuralFitted:
        from toolkit.models.neural.fitted import load

        return load(folder, self.trainer.accelerator)
