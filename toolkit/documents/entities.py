"""Entities in the words of pages: found by declared patterns, checked by declared validators, with box and confidence.

    found = find(batches, node)     # batches of the table of words → Found

Each page is a text of its words, with a blank between words, a tab where a line has a wide gap (cells of a table) and
a line break between lines. A find's confidence is
the mean confidence of its words (each by its letters), times what its pattern and its validators are believed, times
0.9 for each letter taken for a digit. Its box is that of all its words. What is found and not listed is counted, with
the reason: candidates = listed entities + rejected ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from math import isnan
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from toolkit.config.entities import Entities, EntityKind, EntityPatterns
from toolkit.documents import patterns
from toolkit.documents.validators import LONGEST, RefusedError, Verdict
from toolkit.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

    from toolkit.data.tables import Tables

COLUMNS = ("document", "page", "line", "word", "left", "top", "right", "bottom", "confidence")
SIDES = ("left", "top", "right", "bottom")
MISREAD = str.maketrans("OoQIlZzSsBG", "00011225586")
MISREADABLE = r"^[^\pL]*(?:[OoQIlZzSsBG][^\pL]*)+$"  # a word all of whose letters look like digits
SIGNS = str.maketrans("‐‑‒–—―−’‘“”\u00a0", "-------''\"\" ")  # one for one, so that places stay
APART = 4  # letters: words of a line that stand so far from one another are in cells of their own
PENALTY = 0.9  # for each letter taken for a digit
LONGEST_PAGE = 100_000  # characters; what is longer, as a plain text may be, is cut between words
SAME, INSIDE, OVER = "stands there already", "overlaps a longer find", "more than `most` in the document"


class Entity(NamedTuple):
    """A row of entities.csv; box: shares of the page's width and height; times: how often the value stands there."""

    document: str
    page: int
    line: int
    kind: str
    text: str
    value: str
    left: float | None
    top: float | None
    right: float | None
    bottom: float | None
    confidence: float
    pattern: str
    times: int


@dataclass
class Found:
    """Entities in the order of documents and pages; rejected: (kind, pattern, reason) → candidates."""

    entities: list[Entity] = field(default_factory=list)
    rejected: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    candidates: int = 0
    documents: int = 0
    pages: int = 0
    having: Counter[str] = field(default_factory=Counter)  # kind → documents that have one


def check(node: Entities, tables: Tables) -> None:
    """Raise ConfigError if a declared table does not hold words with their places."""
    for table in node.tables:
        for name in COLUMNS:
            if name not in tables[table].columns:
                raise ConfigError(
                    f"table `{table}` has no column `{name}`, so no entities can be looked for in it",
                    where="entities.table",
                    why=f"a table of words has {', '.join(COLUMNS)}",
                    fix=did_you_mean(name, tables[table].columns),
                )


def find(batches: Iterable[pa.RecordBatch | pa.Table], node: EntityPatterns) -> Found:
    """Look through words in reading order, a document's rows one after the other; few documents are in memory."""
    searches = [_Search(name, kind) for name, kind in node.kinds.items()]
    found, seen = Found(), set[str]()
    for table in _whole_documents(batches):
        pages = Pages.of(table)
        found.pages += len({*zip(pages.document, pages.page, strict=True)})
        runs = [document for document, _ in groupby(pages.document)]
        found.documents += len(runs)
        if again := seen.intersection(runs) or {one for one, times in Counter(runs).items() if times > 1}:
            raise DataError(
                f"the words of document `{min(again)}` do not stand together",
                where="entities.table",
                why="a table of words has them in reading order, document by document",
                fix="order its rows by document, page and place on the page",
            )
        seen.update(runs)
        listed = [one for search in searches for one in search.through(pages, found)]
        order = {document: place for place, document in enumerate(runs)}
        places = {name: place for place, name in enumerate(node.kinds)}
        listed.sort(key=lambda one: (order[one.document], one.page, one.line, places[one.kind]))
        found.entities += listed
    return found


def _whole_documents(batches: Iterable[pa.RecordBatch | pa.Table]) -> Iterator[pa.Table]:
    """The same rows, cut between documents only."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept: pa.Table | None = None
    for batch in batches:
        table = (batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])).select(COLUMNS)
        table = table if kept is None else pa.concat_tables([kept, table])
        if not table.num_rows:
            continue
        last = table["document"][-1]
        whole = pc.index(table["document"], last).as_py()
        if whole > 0:
            yield table.slice(0, whole)
        kept = table.slice(whole)
    if kept is not None and kept.num_rows:
        yield kept


@dataclass(frozen=True)
class Pages:
    """Words as texts, one for each page.

    texts: as read; plain: dashes and quotes in one form; tolerant: letters inside numbers as digits. They are of the
    same length, so a place in one is a place in all [pages]. begins: first character of each page [pages] and starts:
    of each word [words + 1], among all characters; boxes: [words, 4]; letters, weighed: sums over the words before,
    of letters, and of confidence by letters [words + 1].
    """

    document: list[str]
    page: list[int]
    texts: list[str]
    plain: pa.Array
    tolerant: pa.Array
    begins: np.ndarray
    starts: np.ndarray
    line: np.ndarray
    boxes: np.ndarray
    letters: np.ndarray
    weighed: np.ndarray

    @classmethod
    def of(cls, table: pa.Table) -> Pages:
        """table: words of whole documents. A confidence that is missing is 1: nobody had to read the text."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = {name: table[name].combine_chunks() for name in COLUMNS}
        words = pc.fill_null(column["word"].cast(pa.string()), "")
        words = pc.replace_substring_regex(words, pattern=patterns.CONTROL, replacement=patterns.NOTHING)
        document = pc.fill_null(column["document"].cast(pa.string()), "")
        page, line = (_numbers(column[name], 0).astype(np.int64) for name in ("page", "line"))
        length = _numbers(pc.utf8_length(words), 0).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(length + 1)])
        new = np.ones(len(page), bool)
        other = pc.not_equal(document[1:], document[:-1]).to_numpy(zero_copy_only=False).astype(bool)
        new[1:] = other | (page[1:] != page[:-1])
        inside = starts[:-1] - starts[:-1][new][np.cumsum(new) - 1]
        new[1:] |= inside[1:] // LONGEST_PAGE > inside[:-1] // LONGEST_PAGE
        firsts = np.flatnonzero(new)
        space = np.full(len(page), " ", object)
        boxes = np.stack([_numbers(column[side], np.nan) for side in SIDES], axis=1)
        letter = (boxes[:, 2] - boxes[:, 0]) / np.maximum(length, 1)
        space[1:][boxes[1:, 0] - boxes[:-1, 2] > APART * (letter[1:] + letter[:-1]) / 2] = "\t"
        space[1:][line[1:] != line[:-1]] = "\n"
        space[new] = ""
        spaces, ends = pa.array(space, pa.string()), pa.array([*firsts, len(page)], pa.int32())

        def joined(parts: pa.Array) -> pa.Array:
            pieces = pc.binary_join_element_wise(spaces, parts, "")
            return pc.binary_join(pa.ListArray.from_arrays(ends, pieces), "")

        text = joined(words)
        plain = _changed(words, r"[^\x00-\x7f]", lambda word: word.translate(SIGNS))
        tolerant = _changed(plain, MISREADABLE, _digits)
        letters = np.maximum(length, 1)
        weighed = letters * np.nan_to_num(_numbers(column["confidence"], 1), nan=1)
        return cls(
            document.take(pa.array(firsts)).to_pylist(), page[firsts].tolist(), text.to_pylist(), joined(plain),
            joined(tolerant), starts[firsts], starts, line,
            boxes,
            np.concatenate([[0], np.cumsum(letters)]), np.concatenate([[0], np.cumsum(weighed)]),
        )  # fmt: skip

    def measured(self, spans: patterns.Spans) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First line [finds], box [finds, 4] and mean confidence [finds] of the words of places in pages."""
        if not len(spans.row):
            return np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0)
        begin = self.begins[spans.row]
        first = np.searchsorted(self.starts, begin + spans.start, side="right") - 1
        last = np.searchsorted(self.starts, begin + spans.end, side="left")  # the word behind
        both = np.stack([first, last], axis=1).ravel()
        boxes = np.concatenate([self.boxes, np.full((1, 4), np.nan)])
        box = np.stack([
            (np.fmin if side < 2 else np.fmax).reduceat(boxes[:, side], both)[::2] for side in range(4)
        ], axis=1)  # fmt: skip
        mean = (self.weighed[last] - self.weighed[first]) / (self.letters[last] - self.letters[first])
        return self.line[first], box, mean


def _numbers(column: pa.Array, missing: float) -> np.ndarray:
    import pyarrow.compute as pc

    return pc.fill_null(column.cast("float64"), missing).to_numpy(zero_copy_only=False)


def _changed(words: pa.Array, which: str, how: Callable[[str], str]) -> pa.Array:
    """The words that a pattern is found in, changed; no length changes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    mask = pc.match_substring_regex(words, pattern=which)
    some = [how(word) for word in words.filter(mask).to_pylist()]
    return pc.replace_with_mask(words, mask, pa.array(some, pa.string())) if some else words


def _digits(word: str) -> str:
    """`2O24` is 2024; `SOLD`, and `B1Z` that has more letters than digits, stay."""
    digits = sum(sign.isdigit() for sign in word)
    return word.translate(MISREAD) if 2 * digits >= sum(sign.isalnum() for sign in word) else word


class _Search:
    """One kind of entity, looked for."""

    def __init__(self, name: str, kind: EntityKind) -> None:
        self.name, self.kind = name, kind
        self.expressions = {
            pattern: patterns.expression(one.match, one.after, one.before, one.reach)
            for pattern, one in kind.patterns.items()
        }
        self.validators: list[Any] = list(kind.validators)  # of any registered class
        self.known: dict[str, Verdict | str] = {}

    def through(self, pages: Pages, found: Found) -> list[Entity]:
        """The entities of whole documents; what is rejected is counted in `found`."""
        searched = pages.tolerant if self.kind.confusable else pages.plain
        candidates: list[tuple[int, int, int, Entity]] = []  # page, start, end
        shadow, plain = searched.to_pylist(), pages.plain.to_pylist() if self.kind.confusable else []
        for pattern, expression in self.expressions.items():
            spans = patterns.find(searched, expression)
            spans = patterns.divided(spans, shadow, self.kind.patterns[pattern].split)
            found.candidates += len(spans.row)
            lines, boxes, means = pages.measured(spans)
            believed = self.kind.patterns[pattern].sure
            for at, (row, start, end) in enumerate(
                zip(spans.row.tolist(), spans.start.tolist(), spans.end.tolist(), strict=True)
            ):
                read = shadow[row][start:end]
                verdict = self._judged(read)
                if isinstance(verdict, str):
                    found.rejected[self.name, pattern, verdict] += 1
                    continue
                swaps = sum(a != b for a, b in zip(read, plain[row][start:end], strict=True)) if plain else 0
                sure = float(means[at]) * believed * verdict.sure * PENALTY**swaps
                left, top, right, bottom = (
                    None if isnan(side) else round(side, 4) for side in boxes[at].tolist()
                )
                text = " ".join(pages.texts[row][start:end].split())
                entity = Entity(
                    pages.document[row], pages.page[row], int(lines[at]), self.name, text, verdict.value, left, top, right, bottom,
                    round(sure, 4), pattern, 1,
                )  # fmt: skip
                candidates.append((row, start, end, entity))
        return self._listed(candidates, found)

    def _judged(self, text: str) -> Verdict | str:
        """The validators' verdict, or why a text is none."""
        if text not in self.known:
            if len(self.known) > 100_000:
                self.known.clear()
            self.known[text] = self._checked(text)
        return self.known[text]

    def _checked(self, text: str) -> Verdict | str:
        if len(text) > LONGEST:
            return f"more than {LONGEST} characters"
        value, sure = text, 1.0
        try:
            for validator in self.validators:
                verdict = validator.check(value)
                value, sure = verdict.value, sure * verdict.sure
        except RefusedError as why:
            return str(why)
        forms: dict[str, str] = {
            "value": " ".join(value.split()), "text": " ".join(text.split()),
            "digits": "".join(sign for sign in text if sign.isdigit()), "upper": " ".join(text.upper().split()),
        }  # fmt: skip
        return Verdict(forms[self.kind.normalise], sure)

    def _listed(self, candidates: list[tuple[int, int, int, Entity]], found: Found) -> list[Entity]:
        """Those that do not overlap a longer one, each value once per document if wanted, and no more than wanted."""

        def reject(entity: Entity, reason: str) -> None:
            found.rejected[self.name, entity.pattern, reason] += 1

        apart: list[tuple[int, int, int, Entity]] = []
        taken: dict[int, list[tuple[int, int]]] = {}
        for row, start, end, entity in sorted(candidates, key=lambda c: (c[1] - c[2], -c[3].confidence)):
            others = taken.setdefault(row, [])
            if any(start < other_end and other_start < end for other_start, other_end in others):
                reject(entity, INSIDE)
                continue
            others.append((start, end))
            apart.append((row, start, end, entity))
        listed: dict[str, list[Entity]] = {}
        times: Counter[tuple[str, str]] = Counter((c[3].document, c[3].value) for c in apart)
        seen: set[tuple[str, str]] = set()
        for *_, entity in sorted(apart, key=lambda c: (-c[3].confidence, c[0], c[1])):
            of_document, same = listed.setdefault(entity.document, []), (entity.document, entity.value)
            if self.kind.unique and same in seen:
                reject(entity, SAME)
            elif self.kind.most is not None and len(of_document) >= self.kind.most:
                reject(entity, OVER)
            else:
                seen.add(same)
                of_document.append(entity._replace(times=times[same]) if self.kind.unique else entity)
        found.having[self.name] += sum(bool(entities) for entities in listed.values())
        return [entity for entities in listed.values() for entity in entities]
