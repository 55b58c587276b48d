"""Fitting models on one split, or finding what an interrupted or earlier run has fitted on the same."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.config.schema import Config
from toolkit.data.cache import Cache, code_digest, digest
from toolkit.errors import UnfitError, UserError, raise_interruption
from toolkit.models import store
from toolkit.models.interface import Batch, Column, Fitted, Task
from toolkit.registry import models

BASELINES = ("prior", "rule")
# What a model raises where its code is wrong, and not its data: that stays a bug, with its traceback.
BUGS = (
    TypeError, AttributeError, NameError, LookupError, AssertionError, NotImplementedError, ZeroDivisionError,
)  # fmt: skip
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Material:
    """What all models of a split are fitted on.

    origin: digest of all that X is made from, and of which rows train and which validate.
    """

    tasks: Sequence[Task]
    columns: Sequence[Column]
    train: Batch
    valid: Batch
    origin: str

    def apart(self) -> list[Material]:
        """The same for each task alone."""
        return [
            replace(
                self,
                tasks=[task],
                train=replace(self.train, y=self.train.y[:, [index]]),
                valid=replace(self.valid, y=self.valid.y[:, [index]]),
            )
            for index, task in enumerate(self.tasks)
        ]

    def key(self) -> dict[str, Any]:
        """What stands for it in the cache. Labels stand for themselves: how they came about is not asked."""
        labels = hashlib.sha256()
        for batch in (self.train, self.valid):
            labels.update(np.ascontiguousarray(batch.y).data)
        tasks = [(task.name, task.type, task.classes) for task in self.tasks]
        weights = [task.weight for task in self.tasks] if len(tasks) > 1 else []
        return {"origin": self.origin, "tasks": tasks, "weights": weights, "labels": labels.hexdigest()}


def with_baselines(declared: Mapping[str, Any], rule: bool = True) -> dict[str, Any]:
    """The configurations of all models to fit: naive baseline, best single rule, and those declared.

    rule: False where there is no column that a rule could look at.
    """
    names = BASELINES if rule else BASELINES[:1]
    return {name: models.get(name).config(kind=name) for name in names} | dict(declared)


def fit(
    name: str, model: Any, material: Material, config: Config, cache: Cache, progress: Progress
) -> tuple[Fitted, float]:
    """Fit one model on all tasks, or find it. Returns the fitted model and the seconds that it took.

    name: the model's, and behind a comma which of its fits it is. Raises UnfitError if it cannot be fitted.
    A model that fits its tasks one by one has an entry in the cache for each: a target more is a fit more.
    """
    component = models.get(model.kind)
    built = component.build(model)
    if name in BASELINES:
        return _fit(name, built, material, config, progress)
    settings = {
        "model": model.model_dump(mode="json"), "seed": config.seed, "threads": threads(config), "versions": library_versions(),
        "component": component.digest, "code": code_digest("models", "training"),
    }  # fmt: skip

    def find(some: Material, label: str) -> tuple[Fitted, float]:
        new: list[tuple[Fitted, float]] = []
        made_of = settings | some.key()
        unfinished = digest(made_of)[:32]

        def build(folder: Path) -> None:
            keep = cache.place("unfinished", unfinished) if getattr(built, "resumes", False) else None
            fitted, seconds = _fit(name, built, some, config, progress, keep)
            store.save(folder / "model", model, fitted)
            (folder / "fit.json").write_text(json.dumps({"seconds": seconds}), encoding="utf-8")
            new.append((fitted, seconds))

        folder = cache.entry("fits", made_of, build, label)
        if new:  # what a killed fit goes on from is not needed once the whole one is kept
            shutil.rmtree(cache.root / "unfinished" / unfinished, ignore_errors=True)
            return new[0]
        seconds = json.loads((folder / "fit.json").read_text(encoding="utf-8"))["seconds"]
        return store.load(folder / "model"), float(seconds)

    if not getattr(built, "one_by_one", False):
        return find(material, name)
    found = [find(some, f"{name} on {some.tasks[0].name}") for some in material.apart()]
    return built.join([fitted for fitted, _ in found]), sum(seconds for _, seconds in found)


def _fit(
    name: str, built: Any, material: Material, config: Config, progress: Progress, keep: Path | None = None
) -> tuple[Fitted, float]:
    begun = time.perf_counter()

    def tell(target: str, done: int, total: int, running: tuple[str, float] | None = None) -> None:
        now = f", {running[0]} {running[1]:.4f}" if running else ""
        progress(f"fitting {name}: {target} {done}/{total}{now}", done / max(total, 1))

    with unfit(name, material.tasks):
        fitted = built.fit(
            material.tasks, material.columns, material.train, material.valid,
            seed=config.seed, threads=threads(config), progress=tell, **({"keep": keep} if keep else {}),
        )  # fmt: skip
    return fitted, time.perf_counter() - begun


@contextmanager
def unfit(name: str, tasks: Sequence[Task]) -> Iterator[None]:
    """Raise UnfitError, which names the model and its targets, for whatever keeps it from being fitted."""
    what = f"{name} on " + ", ".join(f"`{task.name}`" for task in tasks)
    try:
        yield
    except BUGS as error:
        error.add_note(f"while fitting {what}")
        raise
    except Exception as error:
        raise_interruption(error)
        ours = isinstance(error, UserError)
        lines = str(error).strip().splitlines()
        said = error.what if isinstance(error, UserError) else lines[0] if lines else type(error).__name__
        raise UnfitError(
            f"{what} could not be fitted: {said}",
            where=(error.where if ours else None) or f"model.{name.partition(',')[0]}",  # type: ignore[attr-defined]
            why=error.why if ours else f"{type(error).__name__}, raised by the model's own library",  # type: ignore[attr-defined]
            fix=error.fix if ours else "other settings for it, or a line-up without it",  # type: ignore[attr-defined]
        ) from error


def threads(config: Config) -> int:
    return config.engine.threads or os.cpu_count() or 1


def library_versions() -> dict[str, str]:
    """Versions of the libraries that decide what comes out."""
    from importlib.metadata import PackageNotFoundError, version

    def of(*names: str) -> str:
        for name in names:
            try:
                return version(name)
            except PackageNotFoundError:
                continue
        return "?"

    libraries = (
        "numpy",
        "scikit-learn",
        "lightgbm",
        "xgboost",
        "torch",
        "pytorch-lightning",
        "duckdb",
        "pandas",
    )
    return {name: of(name, f"{name}-cpu") for name in libraries}
