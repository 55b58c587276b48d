"""MLflow, through its client: an experiment per recipe, a run per run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from toolkit.runfolder import alone
from toolkit.tracking import Tracked
from toolkit.tracking.settings import MLflow

LONGEST = 6_000  # characters of a parameter's value that MLflow takes
BATCH = 100  # parameters of one request
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "GIT_PYTHON_REFRESH": "quiet",
}


def write(settings: MLflow, run: Tracked) -> None:
    """Log parameters, metrics, files and the bundle."""
    for name, value in QUIET.items():  # before the import: it reads them then
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    name = settings.experiment or run.recipe
    if settings.uri:
        client = MlflowClient(settings.uri)
        experiment = _experiment(client, name, None)
    else:
        root = Path(settings.folder).resolve()
        root.mkdir(parents=True, exist_ok=True)
        with alone(root / ".lock"):  # two jobs must not make the database at the same moment
            client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
            experiment = _experiment(client, name, (root / "artifacts" / name).as_uri())
    now = int(time.time() * 1000)
    started = client.create_run(experiment, run_name=run.name, tags={"run_folder": str(run.folder)})
    key = started.info.run_id
    try:
        for some in _batched(run.params.items()):
            params = [Param(name, value[:LONGEST]) for name, value in some]
            client.log_batch(key, params=params)
        for some in _batched(run.metrics.items()):
            client.log_batch(key, metrics=[Metric(name, value, now, 0) for name, value in some])
        if settings.artifacts:
            client.log_artifacts(key, str(run.folder))
    except BaseException:
        client.set_terminated(key, "FAILED")
        raise
    client.set_terminated(key)


def _experiment(client: Any, name: str, place: str | None) -> str:
    """The id of the experiment of that name, which another job may be making at the same moment."""
    from mlflow.exceptions import MlflowException

    if (found := client.get_experiment_by_name(name)) is None:
        try:
            return client.create_experiment(name, artifact_location=place)
        except MlflowException:
            if (found := client.get_experiment_by_name(name)) is None:
                raise
    return found.experiment_id


def _batched(items: Iterable[tuple[str, Any]]) -> Iterator[list[tuple[str, Any]]]:
    rest = iter(items)
    while some := list(islice(rest, BATCH)):
        yield some
