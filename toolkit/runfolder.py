"""A run's folder: written aside, renamed at the end. It is whole or absent."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import ConfigError


@contextmanager
def aside(final: Path) -> Iterator[Path]:
    """A folder beside `final` to write into; it takes the final name when the block ends well.

    A run that is killed or fails leaves `.unfinished-<name>` behind for a look, and `final` as it was.
    """
    if final.exists() and any(final.iterdir()):
        raise ConfigError(
            f"the folder `{final}` already holds something",
            where="hydra.run.dir",
            fix="choose another folder, or remove it",
        )
    work = final.parent / f".unfinished-{final.name}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    yield work
    if final.exists():
        final.rmdir()
    work.rename(final)


def write_json(path: Path, value: Any) -> None:
    """JSON with numbers that every parser reads: NaN and infinity become null."""
    path.write_text(
        json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )


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
