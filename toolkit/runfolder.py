"""A run's folder: written aside, renamed at the end. It is whole or absent."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from toolkit.errors import ConfigError

YOUNG = 60.0  # seconds


@dataclass
class Aside:
    """A folder being filled at `path`; once it is whole, it lies at `final`."""

    path: Path
    final: Path


@contextmanager
def aside(final: Path) -> Iterator[Aside]:
    """A folder beside `final` to write into; it takes the final name when the block ends well.

    A block that raises leaves nothing; a process that is killed leaves `.unfinished-…`, which the next
    one to write here removes. Neither touches what lies at `final`. Raises ConfigError if that is not empty.
    """
    if _taken(final):
        raise ConfigError(
            f"`{final}` is already there, and not an empty folder",
            where="the folder to write",
            why="what an earlier run wrote is never overwritten",
            fix="choose another folder, or remove it",
        )
    _drop_if_empty(final)
    sweep_unfinished(final.parent)
    place = Aside(final.parent / f".unfinished-{final.name}-{uuid4().hex[:8]}", final)
    place.path.mkdir(parents=True)
    with held(place.path):
        try:
            yield place
            _publish(place)
        except BaseException:
            shutil.rmtree(place.path, ignore_errors=True)
            _drop_if_empty(final.parent)
            raise


@contextmanager
def held(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a folder (or a file) as this process's own, for as long as the process lives; False if another one holds it.

    The system lets go of the lock when the process ends, however it ends.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield _locked(handle, wait)
    finally:
        os.close(handle)


def _locked(handle: int, wait: bool) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


@contextmanager
def alone(path: Path, wait: bool = True) -> Iterator[bool]:
    """Nobody else is in here at the same time who names the same lock file; False if another one is."""
    path.touch()
    with held(path, wait) as mine:
        yield mine


def sweep_unfinished(folder: Path) -> None:
    """Remove what killed processes left here. Young folders stay: their process may be about to hold them."""
    for left in folder.glob(".unfinished-*"):
        with suppress(OSError):
            if left.stat().st_mtime > time.time() - YOUNG:
                continue
            with held(left, wait=False) as mine:
                if mine:
                    shutil.rmtree(left, ignore_errors=True)


def free(wanted: Path) -> Path:
    """`wanted`, or the next name with a number if something lies there already."""
    numbered = (wanted.with_name(f"{wanted.name}-{number}") for number in count(2))
    return next(path for path in chain([wanted], numbered) if not _taken(path))


def _taken(path: Path) -> bool:
    empty = path.is_dir() and not any(path.iterdir())  # Hydra makes the folder before the work begins
    return path.exists() and not empty


def _drop_if_empty(folder: Path) -> None:
    here = Path.cwd()
    if folder.resolve() not in (here, *here.parents):
        with suppress(OSError):
            folder.rmdir()


def _publish(place: Aside) -> None:
    """Rename to the final name, or to the next free one if another run has taken it meanwhile."""
    wanted = place.final
    while True:
        place.final = free(wanted)
        try:
            place.path.rename(place.final)  # replaces an empty folder, never one that holds something
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise


def write_json(path: Path, value: Any) -> None:
    """JSON with numbers that every parser reads: NaN and infinity become null."""
    path.write_text(
        json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )


def read_facts(path: Path) -> dict[str, Any]:
    """What `write_json` left in a folder; {} if there is no such file, or something else in it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def plain(value: Any) -> Any:
    """Arrays, numpy scalars, tuples, dates and NaN as what JSON has."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)
