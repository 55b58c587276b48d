"""Where a finished run is told of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from toolkit.config.node import Node


class NoTracking(Node):
    """The run's folder is all there is."""

    kind: Literal["none"] = "none"


class MLflow(Node):
    """MLflow: a local SQLite database, or a server by its address."""

    kind: Literal["mlflow"]
    uri: str = Field("", description="address of a server; empty: `folder`/mlflow.db")
    folder: str = Field("outputs/mlflow", description="database and artefacts, where no server is named")
    experiment: str = Field("", description="name of the experiment; empty: the recipe's")
    artifacts: bool = Field(True, description="log the run's files and bundle, too")


class TensorBoard(Node):
    """TensorBoard event files."""

    kind: Literal["tensorboard"]
    folder: str = Field("outputs/tensorboard", description="one folder per run is written below it")


Tracking = Annotated[NoTracking | MLflow | TensorBoard, Field(discriminator="kind")]
