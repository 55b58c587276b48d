"""A drawer of made-up papers for tests: each has words, numbers and a picture, and none of them tells all.

Words tell `bill` and `memo` from the others, the picture `card` from `note`, and the number of pages helps.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

KINDS = ("bill", "memo", "card", "note")
STRANGE = "poem"
WORDS = {
    "bill": ["amount", "due", "total", "payable", "invoice", "tax", "remit", "balance", "account"],
    "memo": ["meeting", "agenda", "minutes", "action", "attendees", "project", "update", "weekly"],
    "card": ["greetings", "wishes", "dear", "friends", "regards", "holiday", "warm", "kindly"],
    "note": ["greetings", "wishes", "dear", "friends", "regards", "holiday", "warm", "kindly"],
    "poem": [
        "moonlight",
        "whispering",
        "meadow",
        "sorrow",
        "nightingale",
        "silver",
        "autumn",
        "twilight",
        "roses",
    ],
}
PLAIN = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "for",
    "on",
    "with",
    "at",
    "by",
    "from",
    "this",
    "that",
    "page",
    "date",
    "name",
]
COLUMNS = {
    "id": "text", "label": "text", "said": "text", "sheets": "integer", "density": "number", "confidence": "number",
    "picture": "image",
}  # fmt: skip
DECLARED: dict[str, Any] = {
    "dataset": {"entity": "papers", "tables": {"papers": {"key": "id", "known": "always", "columns": COLUMNS}}},
    "cohort": {"cutoffs": None},
    "target": {"label": {"kind": "column", "column": "label", "type": "multiclass"}},
    "features": {
        "numbers": {"kind": "attributes", "table": "papers", "columns": ["sheets", "density"]},
        "words": {"kind": "raw_text", "table": "papers", "column": "said"},
        "pictures": {"kind": "image", "table": "papers", "column": "picture", "order": "id", "height": 24, "width": 24},
    },
    "split": {"kind": "random", "stratify": "label"},
}  # fmt: skip


def papers(rows: int, kinds: tuple[str, ...] = KINDS, seed: int = 0, first: int = 0) -> pd.DataFrame:
    """So many papers, dealt to the kinds. first: number of the first one's key."""
    rng = np.random.default_rng(seed)
    kind = np.array(kinds)[rng.integers(0, len(kinds), rows)]
    said = []
    for one in kind:
        about = rng.choice(WORDS[one], rng.integers(3, 9))
        said.append(" ".join(rng.permutation([*about, *rng.choice(PLAIN, 12)])))
    dark = np.isin(kind, ["card", "poem"])
    return pd.DataFrame({
        "id": [f"{number:05d}" for number in range(first, first + rows)], "label": kind, "said": said,
        "sheets": 1 + rng.poisson(np.where(np.isin(kind, ["bill", "note"]), 1.5, 0.4)),
        "density": np.round(rng.normal(0.3, 0.05, rows), 3), "confidence": np.round(rng.beta(12, 2, rows), 3),
        "picture": [picture(rng, bool(one)) for one in dark],
    })  # fmt: skip


def picture(rng: np.random.Generator, framed: bool) -> bytes:
    """A PNG of 24 × 24 specks, within a frame or beside a bar."""
    from PIL import Image

    pixels = rng.integers(150, 256, (24, 24)).astype(np.uint8)
    if framed:
        pixels[[2, -3], 2:-2] = pixels[2:-2, [2, -3]] = 40
    else:
        pixels[4:20, 10:13] = 40
    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def write(folder: Path, frame: pd.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / "papers.parquet")
    return folder
