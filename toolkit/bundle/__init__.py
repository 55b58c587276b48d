"""Bundles: folders of files that score new data, verified before a parser reads them, without code.

A bundle holds safetensors, JSON, native booster files and skops files with a fixed list of types
(`toolkit.bundle.estimators`). Its `manifest.json` names every file with its SHA-256 and size.

    write(folder, {"encoder.json": {...}, "model": lambda target: save(target, config, fitted)})
    bundle = read(folder)                  # verifies first; BundleError names the file
    bundle.json("encoder.json"), bundle.path("model")

The manifest says that a folder is as it was written. It cannot say who wrote it: the list of
types and the formats themselves are what keeps a foreign bundle from running code.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.bundle.files import read_json, write_json
from toolkit.bundle.manifest import Manifest, relative_name, seal, verify
from toolkit.errors import BundleError

__all__ = ["Bundle", "Manifest", "read", "seal", "verify", "write"]

# What one entry of a bundle may be: something JSON holds, raw bytes (text in UTF-8), or a function
# that writes files at the path it is given (a file, or a folder that it makes).
Content = Mapping[str, Any] | list[Any] | bytes | str | Callable[[Path], Any]


@dataclass(frozen=True)
class Bundle:
    """A verified bundle folder."""

    folder: Path
    manifest: Manifest

    def path(self, name: str) -> Path:
        """A file or a folder of the bundle; BundleError if the manifest does not name it."""
        if not any(file == name or file.startswith(f"{name}/") for file in self.manifest.files):
            raise BundleError(f"the bundle has no `{name}`", where=str(self.folder))
        return self.folder / name

    def json(self, name: str) -> Any:
        return read_json(self.path(name))


def write(folder: Path, contents: Mapping[str, Content]) -> Manifest:
    """Write a bundle aside and rename it into place: it is whole or absent.

    contents: relative path → what it holds (see `Content`). `folder` must not exist yet, or be empty.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise BundleError("the bundle's folder is not empty", where=str(folder), fix="name a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, content in contents.items():
            _write_one(aside / relative_name(name), content)
        manifest = seal(aside)
        aside.chmod(0o755)
        os.replace(aside, folder)  # replaces an empty folder, never one that holds files
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return manifest


def _write_one(path: Path, content: Content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if callable(content):
        content(path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        write_json(path, content)


def read(folder: Path) -> Bundle:
    """Verify a bundle and open it. Raises BundleError naming the first file that is wrong."""
    return Bundle(Path(folder), verify(folder))
