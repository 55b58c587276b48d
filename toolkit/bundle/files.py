"""The two plain formats of a bundle: JSON for facts, safetensors for arrays. Both hold only data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import BundleError

_LIMIT = 256 * 1024 * 1024


def write_json(path: Path, value: Any) -> None:
    """Write JSON as UTF-8. NaN and infinity are refused: they are not JSON."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1)
    Path(path).write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, *, limit: int = _LIMIT) -> Any:
    """Read a JSON file of at most `limit` bytes; BundleError if it is larger or not plain JSON."""
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise ValueError(f"it is larger than {limit:,} bytes")
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(
            f"`{Path(path).name}` is not readable JSON", where=str(path), why=str(error)
        ) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):  # two readers could each believe another one
        raise ValueError("a key is given twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as safetensors."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read named arrays; BundleError if the file is not safetensors."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError, KeyError) as error:
        raise BundleError(
            f"`{Path(path).name}` is not a safetensors file", where=str(path), why=str(error)
        ) from error
