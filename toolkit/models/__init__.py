"""Models through one interface; importing this package registers the toolkit's own."""

from __future__ import annotations

from toolkit.models.ensemble import Blend, Stack
from toolkit.models.explain import Contributions, Explains
from toolkit.models.forest import RandomForest
from toolkit.models.formula import Formula
from toolkit.models.fused import Fused
from toolkit.models.hist_gbm import HistGBM
from toolkit.models.interface import Batch, Column, Fitted, Model, ModelConfig, Progress, Task
from toolkit.models.lightgbm import LightGBM
from toolkit.models.linear import Logistic
from toolkit.models.neural.settings import Multimodal
from toolkit.models.prior import Prior
from toolkit.models.rule import Rule
from toolkit.models.tfidf_linear import TfidfLinear
from toolkit.models.xgboost import XGBoost
from toolkit.registry import Component, models

__all__ = [
    "Batch",
    "Column",
    "Contributions",
    "Explains",
    "Fitted",
    "Model",
    "ModelConfig",
    "Progress",
    "Task",
]


def build(config: ModelConfig) -> ModelConfig:
    """A model's configuration is the model."""
    return config


for _config in (
    Prior, Rule, Formula, Logistic, TfidfLinear, RandomForest, HistGBM, LightGBM, XGBoost, Multimodal, Blend, Stack, Fused,
):  # fmt: skip
    models.add(Component(_config.model_fields["kind"].default, _config, build))
