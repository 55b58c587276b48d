"""A wheel carries its declarations along and works in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
RECIPES = sorted(path.stem for path in (CHECKOUT / "recipes").glob("*.yaml"))

pytestmark = pytest.mark.slow


def pip(verb: str, *arguments: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "-q",
        "--disable-pip-version-check",
        verb,
        "--no-deps",
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(folder), str(CHECKOUT))
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    pip("install", "--target", str(folder), str(wheel))
    return folder


def toolkit(site: Path, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"}
    command = [sys.executable, "-m", "toolkit", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_carries_every_declaration(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for name in ("conf", "recipes", "prompts"):
        for file in (p for p in (CHECKOUT / name).rglob("*") if p.is_file() and p.name[0] != "."):
            assert f"toolkit/_share/{file.relative_to(CHECKOUT).as_posix()}" in inside


def test_help_lists_the_recipes_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    shown = toolkit(installed, tmp_path, "--help")
    for recipe in RECIPES:
        assert recipe in shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not RECIPES, reason="no recipe is shipped yet")
@pytest.mark.parametrize("arguments", [["--cfg", "job"], ["--info", "searchpath"]])
def test_a_recipe_composes_in_an_empty_folder(installed: Path, tmp_path: Path, arguments: list[str]) -> None:
    shown = toolkit(installed, tmp_path, f"recipe={RECIPES[0]}", *arguments)
    assert "target:" in shown or str(installed) in shown


@pytest.mark.skipif(not RECIPES, reason="no recipe is shipped yet")
def test_show_works_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    assert toolkit(installed, tmp_path, "show", f"recipe={RECIPES[0]}")
    assert list(tmp_path.iterdir()) == []
