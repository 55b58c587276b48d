"""How well entities are found in simulated papers: by kind, on printed text and on pages as they were read.

    python tests/benchmarks/entities.py FOLDER [part, such as test] [words.parquet] [misses to show]

FOLDER: a world of documents (`python -m toolkit simulate …` says where it is). Without a file of words, those of the
truth's pages are searched: as printed, in reading order, without boxes. Patterns (conf/entities/real_estate.yaml) were
written looking at training templates only. Compared are values of a document, each once: dates and amounts as they are,
names, addresses and numbers by their letters and digits. A value counts once per document, however often it stands there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from common import ROOT, machine

from toolkit.config.entities import EntityPatterns
from toolkit.documents.entities import COLUMNS, find

KINDS = {
    "party": "parties", "address": "addresses", "date": "dates", "money": "money", "parcel": "parcel_numbers", "loan": "loan_numbers",
}  # fmt: skip


def words_of(file: str, page: int, text: str) -> Iterator[tuple[object, ...]]:
    for line, words in enumerate(text.split("\n")):
        for word in words.split():
            yield file, page, line, word, None, None, None, None, 1.0


def printed(folder: Path, files: set[str]) -> pa.Table:
    """The truth's pages as a table of words."""
    pages = pq.read_table(folder / "truth" / "pages.parquet", columns=["file", "page", "text"]).to_pylist()
    rows = [
        row
        for one in pages
        if one["file"] in files
        for row in words_of(one["file"], one["page"], one["text"])
    ]
    columns = zip(*rows, strict=True)
    return pa.table({name: list(values) for name, values in zip(COLUMNS, columns, strict=True)})


def folded(kind: str, value: str) -> str:
    return value if kind in ("date", "money") else "".join(sign for sign in value.lower() if sign.isalnum())


def main(folder: Path, part: str = "test", words: str = "", show: str = "0") -> None:
    index = pd.read_csv(folder / "index.csv", dtype=str)
    chosen = index[index["part"] == part]
    files = set(chosen["file"])
    table = pq.read_table(words, columns=list(COLUMNS)) if words else printed(folder, files)
    table = table.filter(pa.compute.is_in(table["document"], pa.array(sorted(files))))
    files &= set(table["document"].to_pylist())
    node = EntityPatterns.model_validate(
        yaml.safe_load((ROOT / "conf/entities/real_estate.yaml").read_text())
    )
    begun = time.process_time()
    found = find([table], node)
    seconds = time.process_time() - begun
    truth = pd.read_parquet(folder / "truth" / "entities.parquet")
    print(
        f"{machine()}: {part}, {len(files)} documents, {found.pages} pages, {table.num_rows:,} words, {seconds:.2f} CPU s"
    )
    print(f"{'kind':16}{'printed':>9}{'found':>9}{'precision':>11}{'recall':>9}{'F1':>8}")
    for kind, ours in KINDS.items():
        there = {
            (row.file, folded(kind, row.value))
            for row in truth[truth["kind"] == kind].itertuples()
            if row.file in files
        }
        got = {(one.document, folded(kind, one.value)) for one in found.entities if one.kind == ours}
        both = len(there & got)
        precision, recall = both / max(len(got), 1), both / max(len(there), 1)
        print(
            f"{kind:16}{len(there):9,}{len(got):9,}{precision:11.3f}{recall:9.3f}{2 * both / max(len(there) + len(got), 1):8.3f}"
        )
        for what, some in (("missed", sorted(there - got)), ("wrong", sorted(got - there))):
            for file, value in some[: int(show)]:
                print(f"    {what}: {file}: {value}")
    rejected = sum(found.rejected.values())
    print(f"{found.candidates:,} candidates = {len(found.entities):,} listed + {rejected:,} rejected")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
