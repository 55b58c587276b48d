"""The reading stage: a folder's documents as the tables `documents`, `pages` and `words`.

First all are looked at (what are they, how many pages have they?), then the pages that have never been read
are, in parallel, and then the tables are written from what is kept of each page. A run that is killed
takes up where it was.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.config.reading import Reading
from toolkit.data.cache import digest, file_digest
from toolkit.documents import duplicates, plain, store, tables
from toolkit.documents.folder import LABEL, Entry, checked
from toolkit.documents.opening import RejectedError, allowed_pages, named_otherwise
from toolkit.documents.page import PageRead
from toolkit.documents.readers import Readers
from toolkit.documents.reading import Looked, Task, work
from toolkit.errors import ConfigError, DataError

log = logging.getLogger("toolkit")
Progress = Callable[[str, float], None]
NAMED = 3  # of what is said of several


@dataclass(frozen=True)
class Listed:
    """A document, with the hash of its content (of its text, if it is one) and its size; rejected: why not."""

    entry: Entry
    content: str = ""
    bytes: int = 0
    rejected: str | None = None


@dataclass
class Outcome:
    """What became of the files, by the hash of their content."""

    looked: dict[str, Looked] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)


def listed(entries: Sequence[Entry], reading: Reading) -> list[Listed]:
    """The documents with what their content is known by; files too large or empty are not read for it."""
    return [_listed(entry, reading) for entry in entries]


def _listed(entry: Entry, reading: Reading) -> Listed:
    if entry.rejected:
        return Listed(entry, rejected=entry.rejected)
    if entry.file is None:
        text = entry.text or ""
        return Listed(entry, digest(text), len(text.encode("utf-8", "replace")))
    try:
        size = checked(entry.file, reading.limits)
        return Listed(entry, file_digest(entry.file), size)
    except RejectedError as error:
        return Listed(entry, rejected=str(error))
    except PermissionError:
        return Listed(entry, rejected="may not be opened (permission denied)")
    except OSError:
        return Listed(entry, rejected="cannot be opened")


def versions(documents: Sequence[Listed], reading: Reading) -> str:
    """What decides the words of a page, besides its content: a digest of settings, engines and code.

    An engine that is not there is no mistake as long as no picture asks for it.
    """
    from importlib.metadata import version as release

    from toolkit.documents.opening import need_documents
    from toolkit.documents.recognise import version

    if all(each.entry.file is None for each in documents):
        return store.code()
    need_documents()
    try:
        engines = version(reading)
    except ConfigError as error:
        engines = f"none: {error.what}"
    settings = reading.model_dump(mode="json", exclude={"limits": True, "ocr": {"region", "endpoint"}})
    return digest([settings, engines, release("pypdfium2"), release("pillow"), store.code()])


def read(
    documents: Sequence[Listed],
    reading: Reading,
    kept: Path,
    processes: int,
    progress: Progress | None = None,
) -> Outcome:
    """Look at all files, and read every page that is not kept yet. kept: the folder of pages."""
    outcome = Outcome()
    files = {each.content: each for each in reversed(documents) if each.entry.file and not each.rejected}
    tasks = [Task(each.entry.file, content, reading, kept) for content, each in reversed(files.items())]  # type: ignore[arg-type]
    tell = progress or (lambda what, share: None)
    slow = f"takes longer than {reading.limits.seconds:g} s"
    seen = found = done = 0
    todo = []
    with Readers(work, processes) as readers:
        for answer in readers.answers(tasks, reading.limits.seconds):
            seen += 1
            tell(f"looking at documents {seen:,}/{len(tasks):,}", 0.05 * seen / len(tasks))
            if answer.what == "rejected":
                outcome.rejected[answer.task.content] = answer.value or slow
            else:
                outcome.looked[answer.task.content] = answer.value
        for task in tasks:
            if looked := outcome.looked.get(task.content):
                missing = tuple(n for n in range(looked.pages) if not store.there(kept, task.content, n))
                found += looked.pages - len(missing)
                todo += [replace(task, pages=missing)] if missing else []
        total = sum(len(task.pages) for task in todo)
        for answer in readers.answers(todo, reading.limits.seconds):
            if answer.what == "step":
                done += 1
                tell(f"reading pages {done:,}/{total:,}", 0.05 + 0.9 * done / total)
            elif answer.what == "rejected":
                outcome.rejected[answer.task.content] = answer.value or slow
    log.info("pages read: %d; found as they had been read before: %d", done, found)
    return outcome


def write(
    documents: Sequence[Listed], outcome: Outcome, reading: Reading, kept: Path, wanted: Sequence[str],
    columns: Sequence[str], folder: Path, progress: Progress | None = None,
) -> list[str]:  # fmt: skip
    """Write the wanted tables as Parquet files. columns: what the documents' list says besides.

    Returns what there is to say of the documents, a line each.
    """
    writers = {}
    if "documents" in wanted:
        writers["documents"] = tables.Writer(folder / "documents.part", tables.documents_schema(columns))
    for name, schema in (("pages", tables.PAGES), ("words", tables.WORDS)):
        if name in wanted:
            writers[name] = tables.Writer(folder / f"{name}.parquet", tables.schema_of(schema))
    prints: list[duplicates.Print] = []
    numbers: list[int] = []  # of the documents that were read
    counts: Counter[str] = Counter()
    other: list[str] = []
    for number, each in enumerate(documents):
        if progress and number % 100 == 0:
            progress("writing tables", 0.95 + 0.05 * number / len(documents))
        rejected, pages = _pages(each, outcome, reading, kept)
        if "documents" in writers:
            writers["documents"].add(_document(each, rejected, pages, outcome, columns))
        if rejected:
            continue
        for page, one in enumerate(pages, 1):
            counts[one.read.engine] += 1
            counts["empty"] += not len(one.read.words)
            counts["turned"] += one.read.turned != 0
            if "pages" in writers:
                writers["pages"].add(_page(each.entry.key, page, one))
            if "words" in writers and len(one.read.words):
                writers["words"].add(_words(each.entry.key, page, one.read))
        looked = outcome.looked.get(each.content)
        if looked and each.entry.file and named_otherwise(each.entry.file, looked.format):
            other.append(f"`{each.entry.key}` is {looked.format}")
        if "documents" in writers:
            text = plain.PAGE.join(one.text for one in pages)
            prints.append(duplicates.fingerprint(each.content, text, _pictures(pages)))
            numbers.append(number)
    for writer in writers.values():
        writer.close()
    if "documents" not in writers:
        return []
    firsts = duplicates.groups(prints)
    twins: list[str] = [each.entry.key for each in documents]
    for at, first in enumerate(firsts):
        twins[numbers[at]] = documents[numbers[first]].entry.key
    part = folder / "documents.part"
    tables.with_column(part, tables.TWIN, twins, folder / "documents.parquet")
    part.unlink()
    named = [documents[number].entry for number in numbers]
    return _said(counts, other, firsts) + _at_odds(named, firsts)


def _at_odds(entries: Sequence[Entry], firsts: np.ndarray) -> list[str]:
    """A line on near duplicates of more than one label: which of them is right, nothing here can tell.

    firsts: position of the first of each document's near duplicates [documents].
    """
    groups: dict[int, dict[str, str]] = {}
    for entry, first in zip(entries, firsts.tolist(), strict=True):
        if label := entry.columns.get(LABEL):
            groups.setdefault(first, {}).setdefault(label, entry.key)
    odd = [list(by_label.values()) for by_label in groups.values() if len(by_label) > 1]
    if not odd:
        return []
    named = "; ".join(" and ".join(f"`{key}`" for key in keys[:2]) for keys in odd[:NAMED])
    more = " …" if len(odd) > NAMED else ""
    return [f"near duplicates of different labels, of which one is wrong: {len(odd):,} ({named}{more})"]


def _said(counts: Counter[str], other: Sequence[str], firsts: np.ndarray) -> list[str]:
    engines = [f"{name} {counts[name]:,}" for name in sorted(counts) if name not in ("empty", "turned")]
    said = [f"pages by what read them: {', '.join(engines)}"] if engines else []
    said += [f"pages that were turned to stand upright: {counts['turned']:,}"] if counts["turned"] else []
    said += [f"pages without a word: {counts['empty']:,}"] if counts["empty"] else []
    if other:
        more = " …" if len(other) > NAMED else ""
        said.append(
            f"read as what they are, not as their names say: {len(other):,} ({', '.join(other[:NAMED])}{more})"
        )
    sizes = np.bincount(firsts)[np.unique(firsts)] if len(firsts) else np.zeros(0, int)
    if (sizes > 1).any():
        many = (sizes > 1).sum()
        groups = f"{many:,} group{'' if many == 1 else 's'}"
        said.append(f"near duplicates (`{tables.TWIN}`): {sizes[sizes > 1].sum():,} documents in {groups}")
    return said


def _pages(
    each: Listed, outcome: Outcome, reading: Reading, kept: Path
) -> tuple[str | None, list[store.Kept]]:
    """Why a document is rejected, or its pages."""
    if each.rejected:
        return each.rejected, []
    if each.entry.file is None:
        texts = plain.pages_of(each.entry.text or "")
        try:
            texts = texts[: allowed_pages(len(texts), reading.limits)]
        except RejectedError as error:
            return str(error), []
        return None, [store.Kept(PageRead(plain.words_of(text), "text"), text, None) for text in texts]
    if reason := outcome.rejected.get(each.content):
        return reason, []
    pages = []
    for number in range(outcome.looked[each.content].pages):
        page = store.get(kept, each.content, number)
        if page is None:
            raise DataError(
                f"page {number + 1} of `{each.entry.key}` was kept, and cannot be read any more",
                where=str(store.place(kept, each.content, number)),
                fix="run again: it is read anew",
            )
        pages.append(page)
    return None, pages


def _pictures(pages: Sequence[store.Kept]) -> Any:
    from PIL import Image

    for page in pages:
        if page.picture:
            yield np.asarray(Image.open(BytesIO(page.picture)))


def _document(
    each: Listed, rejected: str | None, pages: Sequence[store.Kept], outcome: Outcome, columns: Sequence[str]
) -> Mapping[str, Any]:
    looked = outcome.looked.get(each.content)
    kind = looked.format if looked else "text" if each.entry.file is None and not rejected else None
    row: dict[str, Any] = dict.fromkeys([*tables.OWN, "document", *columns], None)
    row |= {name: each.entry.columns.get(name) for name in columns}
    row |= {"document": each.entry.key, tables.REJECTED: rejected, "format": kind}
    row |= {"file": each.entry.key if each.entry.file else None, "bytes": each.bytes or None}
    if not rejected:
        letters = np.array([len(word) for one in pages for word in one.read.words.text], float)
        sure = list(chain.from_iterable(one.read.words.confidence.tolist() for one in pages))
        grades = [one.read.quality for one in pages if one.read.quality == one.read.quality]
        row |= {
            "pages": len(pages), "words": len(letters), "text": plain.PAGE.join(one.text for one in pages),
            "confidence": float(np.average(sure, weights=letters)) if len(letters) else None,
            "quality": float(np.mean(grades)) if grades else None,
            "engine": "+".join(dict.fromkeys(one.read.engine for one in pages)),
        }  # fmt: skip
    return {name: [value] for name, value in row.items()}


def _page(document: str, page: int, one: store.Kept) -> Mapping[str, Any]:
    read = one.read
    layout = {name: read.layout.get(name) for name in tables.LAYOUT}
    row = layout | {
        "document": document, "page": page, "text": one.text, "words": len(read.words), "confidence": read.words.sureness(),
        "quality": read.quality, "engine": read.engine, "turned": read.turned, "skew": read.skew, "cleaned": read.cleaned,
        "seconds": read.seconds, "image": one.picture,
    }  # fmt: skip
    return {name: [value] for name, value in row.items()}


def _words(document: str, page: int, read: PageRead) -> Mapping[str, Any]:
    words = read.words
    left, top, right, bottom = words.boxes.T
    return {
        "document": [document] * len(words), "page": [page] * len(words), "position": np.arange(1, len(words) + 1),
        "line": words.line, "word": words.text, "left": left, "top": top, "right": right, "bottom": bottom,
        "confidence": words.confidence,
    }  # fmt: skip
