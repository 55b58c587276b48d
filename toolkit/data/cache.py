"""A content-addressed store: what was made once from the same declaration and data is not made again.

An entry's name is the hash of everything that it was made from: the declaration, the content of what
it read, and the code that made it. So an edited feature or file never meets a stale result, and what
does not depend on the edit is found again. Entries are written aside and renamed: whole or absent.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from toolkit.runfolder import alone


def digest(material: Any) -> str:
    """SHA-256 of a JSON-able value in canonical form."""
    text = json.dumps(material, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def code_digest(*packages: str) -> str:
    """SHA-256 over the source of some of our own packages: changed code makes new entries."""
    root = Path(__file__).parents[1]
    found = sorted(path for package in packages for path in (root / package).rglob("*.py"))
    engine = version("duckdb")  # another release may answer in another way
    return digest([engine, *((str(path.relative_to(root)), file_digest(path)) for path in found)])


class Cache:
    """Folders under one root, named by kind and content."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.built: list[str] = []  # kinds and names built rather than found, in order

    def entry(self, kind: str, material: Any, build: Callable[[Path], None], label: str = "") -> Path:
        """The folder made from `material`; `build(folder)` fills it if it does not exist yet.

        Two processes that ask at the same moment build it once: the second waits at a lock.
        """
        final = self.root / kind / digest(material)[:32]
        final.parent.mkdir(parents=True, exist_ok=True)
        with alone(final.with_suffix(".lock")):
            if final.exists():
                os.utime(final)
                return final
            for left in final.parent.glob(f".{final.name}-*"):  # a build that was killed
                shutil.rmtree(left, ignore_errors=True)
            aside = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
            try:
                build(aside)
                aside.rename(final)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
            self.built.append(f"{kind}:{label or final.name}")
        return final

    def place(self, kind: str, name: str) -> Path:
        """A folder that several runs add to; unlike an entry it is never whole. Its name says what it depends on."""
        folder = self.root / kind / name
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        return folder

    def sweep(self, days: float) -> None:
        """Remove entries that nobody has asked for in so many days, and what killed builds left.

        An entry is renamed first: a sweep that is killed leaves no half of one under its name.
        """
        oldest = time.time() - days * 86_400
        for path in self.root.glob("*/*"):
            with suppress(OSError):
                if path.suffix == ".lock" or path.stat().st_mtime > oldest:
                    continue
                name = path.name.removeprefix(".").split("-")[0]
                with alone(path.with_name(f"{name}.lock"), wait=False) as mine:
                    if not mine or path.stat().st_mtime > oldest:
                        continue
                    gone = path
                    if not path.name.startswith("."):
                        gone = path.rename(path.with_name(f".{name}-gone-{uuid4().hex[:8]}"))
                    shutil.rmtree(gone)
