"""The manifest of a bundle: every file with its SHA-256 and size, checked before anything is parsed."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import toolkit
from toolkit.bundle.files import read_json, write_json
from toolkit.errors import BundleError

NAME = "manifest.json"
FORMAT = 1
_MAX_BYTES = 4 * 1024 * 1024  # of the manifest itself, the one file read before its hash is known


@dataclass(frozen=True)
class Entry:
    """One file of a bundle."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds: the format's version, the toolkit that wrote it, and its files."""

    format: int
    toolkit: str
    files: dict[str, Entry]


def seal(folder: Path) -> Manifest:
    """Hash every file below `folder` and write its manifest; the last step of writing a bundle."""
    folder = Path(folder)
    files = {
        name: Entry(_sha256(folder / name), (folder / name).stat().st_size)
        for name in sorted(_walk(folder) - {NAME})
    }
    manifest = Manifest(FORMAT, toolkit.__version__, files)
    write_json(folder / NAME, asdict(manifest))
    return manifest


def verify(folder: Path) -> Manifest:
    """Check a bundle whole: no link, no file more or less, every size and hash as written.

    Raises BundleError naming the file. Only the manifest is parsed, and only as JSON of bounded size.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BundleError("there is no bundle here", where=str(folder), fix="give the folder of a bundle")
    found = _walk(folder)
    if NAME not in found:
        raise BundleError(f"the bundle has no `{NAME}`", where=str(folder), fix="give the folder of a bundle")
    manifest = _parse(read_json(folder / NAME, limit=_MAX_BYTES), folder)
    if missing := sorted(manifest.files.keys() - found):
        raise _damaged(folder, f"`{missing[0]}` is missing from the bundle")
    if extra := sorted(found - manifest.files.keys() - {NAME}):
        raise _damaged(folder, f"`{extra[0]}` is in the bundle's folder but not in its manifest")
    for name, entry in manifest.files.items():
        if (folder / name).stat().st_size != entry.bytes or _sha256(folder / name) != entry.sha256:
            raise _damaged(folder, f"`{name}` differs from what was written")
    return manifest


def relative_name(name: str) -> str:
    """`name` itself if it is a plain relative path that stays inside a folder; else BundleError."""
    path = PurePosixPath(name)
    plain = name and "\\" not in name and "\0" not in name and ":" not in name
    if not plain or path.is_absolute() or ".." in path.parts or str(path) != name or name == ".":
        raise BundleError(
            f"`{name}` is not a path inside the bundle",
            why="a bundle names its files by plain relative paths",
            fix="do not use this bundle; get it again from whoever wrote it",
        )
    return name


def _parse(raw: Any, folder: Path) -> Manifest:
    """The manifest from JSON, with every type and path checked."""
    where = str(folder / NAME)
    version = raw.get("format") if isinstance(raw, dict) else None
    if version != FORMAT:
        raise BundleError(
            f"the bundle's format is {version!r}; this toolkit ({toolkit.__version__}) reads {FORMAT}",
            where=where,
            fix="install the toolkit version that wrote the bundle, or write the bundle again",
        )
    files = raw.get("files")
    if not isinstance(files, dict) or not isinstance(raw.get("toolkit"), str):
        raise BundleError("the manifest is not one that this toolkit writes", where=where)
    entries = {}
    for name, entry in files.items():
        ok = isinstance(entry, dict) and entry.keys() == {"sha256", "bytes"}
        if not ok or not isinstance(entry["sha256"], str) or type(entry["bytes"]) is not int:
            raise BundleError(
                f"the manifest's entry for `{name}` is not one this toolkit writes", where=where
            )
        entries[relative_name(name)] = Entry(**entry)
    return Manifest(version, raw["toolkit"], entries)


def _walk(folder: Path) -> set[str]:
    """Relative paths of all regular files below a folder; BundleError on links and special files."""
    names: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=False, onerror=_raise):
        for name in folders + files:
            path = Path(root, name)
            relative = path.relative_to(folder).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                names.add(relative)
            elif not stat.S_ISDIR(mode):
                kind = "a symbolic link" if stat.S_ISLNK(mode) else "not a regular file"
                raise _damaged(folder, f"`{relative}` is {kind}")
    return names


def _raise(error: OSError) -> None:
    raise BundleError("the bundle cannot be read", where=str(error.filename), why=error.strerror)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _damaged(folder: Path, what: str) -> BundleError:
    return BundleError(
        what,
        where=str(folder),
        why="a bundle is used only as it was written",
        fix="copy the bundle again from its run, or write it again",
    )
