"""What travels inside a page: data for its script, and files to download."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from toolkit.report.evidence import Evidence
from toolkit.report.figures import count


def embedded(data: Any) -> str:
    """JSON that may stand in a script element: no NaN, and no character that could end the element."""
    text = json.dumps(_finite(data), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _finite(data: Any) -> Any:
    """The same with null for what is no number, and floats as short as a chart needs them."""
    if isinstance(data, Mapping):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple | np.ndarray):
        return [_finite(value) for value in data]
    if isinstance(data, float | np.floating):
        return float(f"{data:.10g}") if math.isfinite(data) else None
    return int(data) if isinstance(data, np.integer) else data


def downloads(evidence: Evidence, room: int) -> list[dict[str, Any]]:
    """The files to embed as data: URIs within `room` bytes; long lists are cut, and it is said that they are."""
    files = [
        (
            "metrics.json",
            "application/json",
            json.dumps(_finite(evidence.metrics), indent=1, default=str).encode(),
        )
    ]
    files += [
        (name, "text/csv", content) for name, content in (*evidence.lists.items(), *evidence.tables.items())
    ]
    found: list[dict[str, Any]] = []
    # The smallest first: what they leave of their equal share goes to the larger ones.
    for done, (name, kind, content) in enumerate(sorted(files, key=lambda file: len(file[2]))):
        limit = max((room // (len(files) - done) - 400) * 3 // 4, 0)
        lines, kept = content.count(b"\n") - 1, content
        note = f"{count(lines)} rows" if kind == "text/csv" else "every figure of this page"
        if len(content) > limit:
            kept = _whole_lines(content, limit) if kind == "text/csv" else b""
            shown = kept.count(b"\n") - 1
            where = (
                f"the whole is {'lists/' if name in evidence.lists else ''}{name} in the folder of the run"
            )
            note = f"the first {count(shown)} of {count(lines)} rows; {where}" if shown > 0 else where
            kept = kept if shown > 0 else b""
        uri = f"data:{kind};charset=utf-8;base64,{base64.b64encode(kept).decode()}" if kept else ""
        found.append({"name": name, "uri": uri, "note": note, "list": name in evidence.lists})
        room -= len(uri) + 400
    order = {name: place for place, name in enumerate([*evidence.lists, *evidence.tables, "metrics.json"])}
    return sorted(found, key=lambda file: order[file["name"]])


def _whole_lines(content: bytes, limit: int) -> bytes:
    """The first lines of a CSV within `limit` bytes; a line ends where no quote is open."""
    end = content[:limit].rfind(b"\n") + 1
    while end and content.count(b'"', 0, end) % 2:
        end = content.rfind(b"\n", 0, end - 1) + 1
    return content[:end]
