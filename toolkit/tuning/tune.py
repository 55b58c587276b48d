"""All studies of a split: each declared model that has a `search` space gets the settings that did best."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toolkit.config.schema import Config
from toolkit.data.cache import Cache, code_digest, digest
from toolkit.errors import ConfigError
from toolkit.models.interface import Column, Task
from toolkit.registry import models
from toolkit.tuning.objective import Fold, Objective
from toolkit.tuning.settings import Optuna
from toolkit.tuning.space import endless
from toolkit.tuning.study import Studied, applied, study

log = logging.getLogger("toolkit")
Progress = Callable[[str, float], None]
UNSTEADY = ("early_stopping_metric", "class_weight")


def tune(
    config: Config, tasks: Sequence[Task], columns: Sequence[Column], folds: Callable[[], Sequence[Fold]], origin: Mapping[str, Any],
    threads: int, versions: Mapping[str, str], cache: Cache, progress: Progress,
) -> tuple[dict[str, Any], dict[str, Studied]]:  # fmt: skip
    """The models as they are to be fitted, and the studies behind them, by the model's name.

    folds: makes what trials are fitted on and judged by; origin: digests of what that is made from;
    versions: of the libraries. A
    study lies in the cache under everything that a trial's result depends on, so more trials go on with
    the trials there are.
    """
    tuning = config.tuning
    if not isinstance(tuning, Optuna):
        return dict(config.model), {}
    chosen = config.model if tuning.models is None else tuning.models
    spaces = {n: model for n, model in config.model.items() if n in chosen and getattr(model, "search", None)}
    gridded = tuning.sampler == "grid"
    example = "{categorical: [0.05, 0.1]}" if gridded else "{float: [0.01, 0.3], log: true}"
    if gridded:
        ranges = {name: endless(model.search) for name, model in spaces.items()}
        for name in [name for name, keys in ranges.items() if keys]:
            log.warning("not tuned: the `search` of `%s` has ranges, and a grid needs values", name)
            del spaces[name]
    if not spaces:
        raise ConfigError(
            f"`tuning` has nothing to try: no model declares a `search` space{' of values' * gridded}",
            where="tuning",
            why=f"the models are {', '.join(config.model)}",
            fix=f"declare it in the model's file, for example search: {{learning_rate: {example}}}",
        )
    if tuning.pruner != "none":
        for name, model in spaces.items():
            for key in set(UNSTEADY) & set(model.search):
                raise ConfigError(
                    f"`{key}` cannot be searched while trials are given up early",
                    where=f"model.{name}.search.{key}",
                    why="it changes what the running metric means, by which trials are compared",
                    fix="tuning.pruner=none, or one model for each value of it",
                )
    objective = Objective(
        tasks, columns, folds(), {name: target.weight for name, target in config.target.items()}, tuning.metric or config.evaluation.select_by,
        config.seed, max(1, threads // tuning.workers),
    )  # fmt: skip
    found, studies = dict(config.model), {}
    for name, model in spaces.items():
        material = {
            "origin": origin, "model": model.model_dump(mode="json"), "kind": models.get(model.kind).digest, "code": code_digest("models", "tuning", "training", "evaluation"), "versions": versions,
            "search": {key: one.model_dump(mode="json") for key, one in model.search.items()}, "metric": objective.name, "weights": objective.weights,
            "tuning": tuning.model_dump(exclude={"trials", "minutes", "workers", "storage", "models", "metric"}), "seed": config.seed,
        }  # fmt: skip
        studies[name] = study(
            name, tuning, model, objective, cache.place("tuning", digest(material)[:32]), progress
        )
        found[name] = applied(model, studies[name].best)
    return found, studies
