"""A fitted model in a folder: which component it is, how it was configured, and its own files."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ValidationError

from toolkit.bundle.files import read_json, write_json
from toolkit.errors import BundleError
from toolkit.models.interface import Fitted
from toolkit.registry import models


def save(folder: Path, config: BaseModel, fitted: Fitted) -> None:
    """Write `fitted` and the configuration it came from into a new folder."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    write_json(folder / "model.json", {"config": config.model_dump(mode="json")})
    fitted.save(folder)


def load(folder: Path) -> Fitted:
    """Read a model that `save` wrote, through the registry. Verify the bundle around it first."""
    config = config_of(folder)
    return models.get(config.kind).build(config).load(Path(folder))  # type: ignore[attr-defined]


def config_of(folder: Path) -> BaseModel:
    """The configuration of a model that `save` wrote."""
    path = Path(folder) / "model.json"
    facts = read_json(path)
    config = facts.get("config") if isinstance(facts, dict) else None
    if not isinstance(config, dict) or not isinstance(config.get("kind"), str):
        raise BundleError("`model.json` does not name a model", where=str(path))
    component = models.get(config["kind"])
    try:
        return component.config.model_validate(config)
    except ValidationError as error:
        raise BundleError(
            f"this version of `{component.name}` does not know the bundle's configuration",
            where=str(path),
            why=str(error),
            fix="install the toolkit version that wrote the bundle, or fit the model again",
        ) from error
