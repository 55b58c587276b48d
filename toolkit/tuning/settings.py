"""How settings are tried: how often, chosen by what, given up when, kept where."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from toolkit.config.node import Node


class NoTuning(Node):
    """Models are fitted with their settings as they are."""

    kind: Literal["none"] = "none"


class OnValidation(Node):
    """The validation rows say how good a trial is."""

    kind: Literal["validation"] = "validation"


class OnFolds(Node):
    """Rolling origin: earlier cutoffs train, later ones say how good a trial is; the mean over folds counts."""

    kind: Literal["rolling"]
    folds: int = Field(3, ge=2, le=20)


Objective = Annotated[OnValidation | OnFolds, Field(discriminator="kind")]


class Optuna(Node):
    """Optuna: one study per model that declares a `search` space."""

    kind: Literal["optuna"]
    trials: int | None = Field(50, ge=1, description="trials of a study, finished or pruned; null: no limit")
    minutes: float | None = Field(
        None, gt=0, description="no trial begins once the trials have taken so long"
    )
    sampler: Literal["tpe", "random", "gp", "cmaes", "quasi_random", "grid"] = Field(
        "tpe",
        description="how settings are drawn; grid: every combination, once, of models whose `search` has values only",
    )
    pruner: Literal["median", "successive_halving", "hyperband", "none"] = Field(
        "median", description="gives up a trial whose running metric is behind those of earlier trials"
    )
    startup_trials: int = Field(10, ge=1, description="trials drawn at random, and never given up")
    objective: Objective = OnValidation()
    metric: Literal["roc_auc", "pr_auc", "log_loss"] | None = Field(
        None, description="what trials of yes-or-no targets are judged by; null: as `evaluation.select_by`"
    )
    models: list[str] | None = Field(
        None,
        min_length=1,
        description="the recipe's models that are tuned; null: all that have a `search` space",
    )
    workers: int = Field(
        1, ge=1, le=64,
        description="processes over one study, sharing the threads; with more than one the trials are not reproducible",
    )  # fmt: skip
    storage: str = Field(
        "", description="sqlite, journal, or a database's URL; empty: sqlite for one worker, journal for more"
    )

    @model_validator(mode="after")
    def an_end_is_in_sight(self) -> Optuna:
        if self.trials is None and self.minutes is None and self.sampler != "grid":
            raise ValueError("say `trials`, `minutes` or both: otherwise tuning never ends")
        if self.storage not in ("", "sqlite", "journal") and "://" not in self.storage:
            raise ValueError(
                f"`storage: {self.storage}` is not `sqlite`, `journal` or an address such as postgresql://…"
            )
        return self


Tuning = Annotated[NoTuning | Optuna, Field(discriminator="kind")]
