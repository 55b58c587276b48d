"""Telling a tracker about a finished run: its parameters, metrics, files and bundle.

A tracker reads the run's folder, which is whole by then and holds no secret. Whatever goes wrong in it
is told and written to its log, and the run stays good. Nothing is sent anywhere but to the tracker that the
configuration names.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from toolkit.tracking.settings import MLflow, NoTracking, TensorBoard, Tracking

__all__ = ["MLflow", "NoTracking", "TensorBoard", "Tracked", "Tracking", "track"]


@dataclass(frozen=True)
class Tracked:
    """A run as trackers take it: flat parameters and flat metrics. name: of its folder, with the sweep's before it."""

    name: str
    recipe: str
    params: dict[str, str]
    metrics: dict[str, float]
    folder: Path


def track(settings: Tracking, folder: Path) -> str | None:
    """Tell the tracker about the run in `folder`. Returns what went wrong, in one line, or None."""
    try:
        if isinstance(settings, MLflow):
            from toolkit.tracking import mlflow

            mlflow.write(settings, read(folder))
        elif isinstance(settings, TensorBoard):
            from toolkit.tracking import tensorboard

            tensorboard.write(settings, read(folder))
    except ModuleNotFoundError as error:
        return f"tracking={settings.kind}: `{error.name}` is not installed; pip install 'toolkit[{settings.kind}]'"
    except Exception as error:  # a finished run is never lost to its tracker
        with open(folder / "run.log", "a", encoding="utf-8") as file:
            file.write(_without_password(settings, traceback.format_exc()))
        why = (str(error).splitlines() or ["?"])[0]
        return _without_password(settings, f"tracking={settings.kind}: {type(error).__name__}: {why}")
    return None


def _without_password(settings: Tracking, text: str) -> str:
    """Text without the password that the server's address may hold."""
    password = urlsplit(settings.uri).password if isinstance(settings, MLflow) else None
    return text.replace(password, "***") if password else text


def read(folder: Path) -> Tracked:
    """A finished run's folder as flat parameters and metrics."""
    from toolkit.sweep.folder import FILE as SWEEP

    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    told = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    of_sweep = (folder.parent / SWEEP).is_file()  # its runs are called 0, 1, …
    return Tracked(
        name=f"{folder.parent.name}/{folder.name}" if of_sweep else folder.name,
        recipe=str(found["recipe"] or folder.parent.name),
        params=dict(flat(config)) | {"overrides": " ".join(told["overrides"])},
        metrics=dict(_metrics(found)),
        folder=folder,
    )


def flat(config: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of a configuration as dotted key and text; a list is one leaf."""
    for key, value in config.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            yield from flat(value, name)
        else:
            yield name, value if isinstance(value, str) else json.dumps(value, default=str)


def _metrics(found: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """target/model/part/metric of every model, target/part/metric of the chosen one, and the times."""
    for target, entry in found["targets"].items():
        for model, figures in entry["models"].items():
            for part in ("validation", "test"):
                for metric, value in figures[part].items():
                    if value is None:
                        continue
                    yield metric_name(target, model, part, metric), float(value)
                    if model == entry["chosen"]:
                        yield metric_name(target, part, metric), float(value)
            for metric, (low, high) in figures["interval_95"].items():
                if low is not None and high is not None:
                    yield metric_name(target, model, "test", f"{metric}.low"), float(low)
                    yield metric_name(target, model, "test", f"{metric}.high"), float(high)
    for metric, value in found["weighted_mean_of_binary_targets"].items():
        if value is not None:
            yield metric_name("weighted_mean", "test", metric), float(value)
    for stage, seconds in found["seconds"].items():
        yield metric_name("seconds", stage), float(seconds)


def metric_name(*parts: str) -> str:
    """A name of the letters that every tracker takes."""
    words = (part.replace("%", "pct").replace("@", "_at_") for part in parts)
    return "/".join(re.sub(r"[^\w.\- ]", "_", word) for word in words)
