"""A model from a package that the user installed is used like the toolkit's own; no name reaches others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent / "third_party"
ROOT = Path(__file__).parents[1]

USE = """
import json, sys
from pathlib import Path
import numpy as np
import toolkit.models as m
from toolkit.models import store
from toolkit.registry import models

component = models.get("nearest_mean")
config = component.config(kind="nearest_mean", temperature=2.0)
rng = np.random.default_rng(0)
y = rng.integers(0, 2, 400)
X = (rng.normal(size=(400, 3)) + y[:, None]).astype(np.float32)
batch = m.Batch(X, y[:, None].astype(np.float32))
columns = [m.Column(name) for name in "abc"]
fitted = component.build(config).fit([m.Task("t", "binary")], columns, batch, batch, seed=0, threads=1)
store.save(Path(sys.argv[1]), config, fitted)
same = np.array_equal(fitted.predict(X)[0], store.load(Path(sys.argv[1])).predict(X)[0])
right = float(np.mean((fitted.predict(X)[0] > 0.5) == y))
print(json.dumps([component.description, same, right > 0.8, "lightgbm" in models.names()]))
"""


def install(package: Path, target: Path) -> None:
    """What `pip install --target` leaves of a pure Python package: its modules and its metadata."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    module = project["name"].replace("-", "_")
    shutil.copytree(package / module, target / module)
    metadata = target / f"{module}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    )
    (metadata / "entry_points.txt").write_text(points)


def run(code: str, *arguments: Path, path: list[Path]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_an_installed_package_adds_a_model(tmp_path: Path) -> None:
    install(EXAMPLE, tmp_path / "site")
    done = run(USE, tmp_path / "saved", path=[tmp_path / "site", ROOT])
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.strip() == '["The class whose mean row is nearest, as a soft choice.", true, true, true]'
    )
    assert done.stderr == ""


@pytest.mark.parametrize("reachable", [False, True], ids=["absent", "importable but not installed"])
def test_without_the_installed_entry_point_there_is_no_such_model(tmp_path: Path, reachable: bool) -> None:
    path = [EXAMPLE, ROOT] if reachable else [ROOT]
    done = run(USE, tmp_path / "saved", path=path)
    assert "no models component is called `nearest_mean`" in done.stderr
