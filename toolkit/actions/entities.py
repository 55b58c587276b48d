"""The entities of a run's or a scoring's documents, as files and as what the report says of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.config.entities import Entities, EntityKind, EntityPatterns
from toolkit.data.tables import Tables
from toolkit.documents.entities import COLUMNS, Entity, Found, find
from toolkit.report.evidence import Extracted, KindFound
from toolkit.report.lists import write_csv

if TYPE_CHECKING:
    from toolkit.workplace import Progress

log = logging.getLogger("toolkit")
FILE, REJECTED = "entities.csv", "entities_rejected.csv"
ROWS = 200_000  # words of a batch


def of_tables(node: Entities, tables: Tables, progress: Progress) -> Found | None:
    """Look for what is declared; None where nothing is. Raises DataError if the words are in no order."""
    import pyarrow.parquet as pq

    if not isinstance(node, EntityPatterns):
        return None
    words = pq.ParquetFile(tables[node.table].path)
    rows = max(words.metadata.num_rows, 1)

    def batches() -> Iterator[Any]:
        done = 0
        for batch in words.iter_batches(ROWS, columns=list(COLUMNS)):
            progress(f"{done:,} of {rows:,} words", done / rows)
            yield batch
            done += len(batch)

    return find(batches(), node)


def search(
    node: Entities, tables: Tables, folder: Path, progress: Progress = lambda what, share: None
) -> tuple[Extracted | None, list[str]]:
    """Look for what is declared, and write it into a folder: what the report says of it, and what to say at once."""
    found = of_tables(node, tables, progress)
    if found is None or not isinstance(node, EntityPatterns):
        return None, []
    write(found, folder)
    said = lines(node, found)
    log.info("%s", "\n".join(said))
    return evidence(node, found), said


def lines(node: EntityPatterns, found: Found) -> list[str]:
    """What there is to say of a search: what was found, and what became of the other candidates."""
    counts = Counter(entity.kind for entity in found.entities)
    kinds = ", ".join(f"{counts[kind]:,} {kind}" for kind in node.kinds)
    rejected, reasons = sum(found.rejected.values()), Counter[str]()
    for (_, _, reason), count in found.rejected.items():
        reasons[reason] += count
    most = "; ".join(f"{reason}: {count:,}" for reason, count in reasons.most_common(3))
    many = f"{len(found.entities):,} {'entity' if len(found.entities) == 1 else 'entities'}"
    said = [f"{FILE}: {many} in {found.documents:,} documents, {found.pages:,} pages: {kinds}"]  # fmt: skip
    if rejected:
        said.append(
            f"  of {found.candidates:,} candidates, {rejected:,} are not listed, mostly {most} ({REJECTED})"
        )
    return said


def write(found: Found, folder: Path) -> None:
    """`entities.csv` and `entities_rejected.csv`, safe to open in a spreadsheet: candidates = rows + counts."""
    write_csv(folder / FILE, Entity._fields, found.entities)
    rows = sorted((kind, pattern, reason, count) for (kind, pattern, reason), count in found.rejected.items())
    write_csv(folder / REJECTED, ("kind", "pattern", "reason", "candidates"), rows)


def evidence(node: EntityPatterns, found: Found) -> Extracted:
    """What the report says: counts, and a few examples of each kind, the surest from different documents first."""
    by_kind: dict[str, list[Entity]] = {name: [] for name in node.kinds}
    for entity in found.entities:
        by_kind[entity.kind].append(entity)
    kinds = [_kind(name, node.kinds[name], by_kind[name], found, node) for name in node.kinds]
    return Extracted(FILE, REJECTED, found.documents, found.pages, kinds, node.show == "masked")


def _kind(
    name: str, kind: EntityKind, entities: list[Entity], found: Found, node: EntityPatterns
) -> KindFound:
    rejected: Counter[str] = Counter()
    for (of, _, reason), count in found.rejected.items():
        if of == name:
            rejected[reason] += count
    shown: dict[str, tuple[str, str, float]] = {}
    for entity in entities:  # the first documents': which is as good as any, and the same in every run
        if len(shown) < node.examples and entity.document not in shown:
            hide = mask if node.show == "masked" else str
            shown[entity.document] = (hide(entity.text), hide(entity.value), entity.confidence)
    mean = sum(entity.confidence for entity in entities) / len(entities) if entities else None
    return KindFound(
        name, kind.description, len(entities), found.having[name], mean, dict(rejected.most_common()), list(shown.values())
    )  # fmt: skip


def mask(text: str) -> str:
    """`12 Maple Street` → `1• M•••• S•••••`: each word's first sign, and its length up to six."""
    return " ".join(word[0] + "•" * min(len(word) - 1, 5) for word in text.split())
