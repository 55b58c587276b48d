"""Which documents there are, and the work of drawing, spoiling and filing them one by one."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.errors import ConfigError
from toolkit.simulate import documents_files, documents_kinds, documents_layouts
from toolkit.simulate.documents_sheet import Page
from toolkit.simulate.documents_template import Template
from toolkit.simulate.folder import Tell

if TYPE_CHECKING:
    from toolkit.simulate.documents import DocumentWorld

COLUMNS = ("file", "label", "part", "template", "damage")
PARTS = {"train": 0.6, "validation": 0.2, "test": 0.2}
SHARES = {
    "purchase_agreement": 11, "listing_agreement": 10, "disclosure_form": 11, "inspection_report": 11, "mortgage_docs": 12,
    "title_docs": 10, "tax_records": 10, "hoa_docs": 10, "other": 15,
}  # fmt: skip
TEXT_FILES = 0.04
FORMS = {"scan": 0.5, "tiff": 0.18, "png": 0.14, "jpeg": 0.18}
DAMAGE = {
    "clean": 0.16, "light": 0.2, "rotation": 0.09, "skew": 0.09, "blur": 0.08, "noise": 0.08, "stains": 0.09,
    "low_contrast": 0.08, "fax": 0.06, "photo": 0.07,
}  # fmt: skip
DPI = {150: 0.3, 200: 0.6, 300: 0.1}
LAST_PAGE = 1 / 6


@dataclass(frozen=True)
class Plan:
    """A document to be made. number: names its file; form: as in `documents_files`."""

    number: int
    label: str
    part: str
    template: int
    form: str
    damage: str
    strength: float
    dpi: int


@dataclass(frozen=True)
class Made:
    """A document that was made: its file, what is printed on the pages kept, and what is known of it."""

    file: str
    content: bytes
    pages: list[Page]
    template: str
    about: str
    ambiguous: str


def need_drawing() -> None:
    """Raises ConfigError if a library that draws documents is not installed."""
    needed = {
        "reportlab": "reportlab",
        "pypdfium2": "pypdfium2",
        "cv2": "opencv-python-headless",
        "PIL": "pillow",
    }
    missing = [name for module, name in needed.items() if find_spec(module) is None]
    if missing:
        raise ConfigError(
            f"drawing documents needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            where="source.world",
            fix="pip install 'toolkit[documents]'",
        )


def write(world: DocumentWorld, folder: Path, truth: Path, tell: Tell) -> None:
    """The world's files, index and truth; the pages of one document at a time are in memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "files").mkdir(exist_ok=True)
    plans = planned(world)
    index: list[dict[str, Any]] = []
    documents: list[dict[str, Any]] = []
    pages: list[dict[str, Any]] = []
    entities: list[dict[str, Any]] = []
    for done, plan in enumerate(plans):
        if done % 20 == 0:
            tell(f"document {done:,}", done / len(plans))
        made = make(plan, world.seed)
        (folder / made.file).write_bytes(made.content)
        common = {"label": plan.label, "template": made.template, "damage": plan.damage}
        index.append({"file": made.file, "part": plan.part} | common)
        documents.append(
            {"file": made.file} | common
            | {"format": plan.form, "strength": plan.strength, "dpi": plan.dpi, "pages": len(made.pages),
               "about": made.about, "ambiguous": made.ambiguous}
        )  # fmt: skip
        for number, page in enumerate(made.pages, start=1):
            pages.append({"file": made.file, "page": number, "text": "\n".join(page.lines)})
            entities += [
                {"file": made.file, "page": number, "kind": each.kind, "text": each.text, "value": each.value}
                for each in page.entities
            ]
    parts = {part: sorted({row["template"] for row in index if row["part"] == part}) for part in PARTS}
    if world.mess:
        from toolkit.simulate import documents_mess

        tell("mess", 0.99)
        index += documents_mess.add(world.seed, folder, truth, index)
    for name, rows in {"documents": documents, "pages": pages, "entities": entities}.items():
        pq.write_table(pa.Table.from_pylist(rows), truth / f"{name}.parquet")
    documents_files.write_csv(folder / "index.csv", COLUMNS, index)
    puzzles = {row["file"]: row["ambiguous"] for row in documents if row["ambiguous"]}
    told = {"documents": len(documents), "pages": len(pages), "templates": parts, "ambiguous": puzzles}
    (truth / "truth.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def planned(world: DocumentWorld) -> list[Plan]:
    """All documents of a world, shuffled: labels and parts by their shares, templates in turn."""
    rng = random.Random(f"documents {world.seed}")
    kinds = documents_kinds.kinds()
    found: list[tuple[str, str, int]] = []
    for label, count in _dealt(world.size, SHARES).items():
        order = rng.sample(range(len(kinds[label].forms)), len(kinds[label].forms))
        templates = dict(zip(PARTS, _slices(order, _dealt(len(order), PARTS).values()), strict=True))
        for part, number in _dealt(count, PARTS).items():
            chosen = templates[part]
            found += [(label, part, chosen[turn % len(chosen)]) for turn in range(number)]
    rng.shuffle(found)
    return [
        Plan(number, label, part, template, *_state(rng, world.born_digital))
        for number, (label, part, template) in enumerate(found, start=1)
    ]


def make(plan: Plan, seed: int) -> Made:
    """Draw a document and make its file; it depends on nothing but plan and seed."""
    rng = random.Random(f"documents {seed} {plan.number}")
    template = _template(plan.label, plan.template)
    pdf, pages, about = documents_layouts.draw(template, rng)
    ambiguous = ""
    if template.title in GENERIC:
        ambiguous = "a title that says little"
    wanted = list(range(len(pages)))
    if plan.form in documents_files.SINGLE:
        last = len(pages) > 1 and rng.random() < LAST_PAGE
        ambiguous = "the last page only" if last else ambiguous
        wanted = [len(pages) - 1 if last else 0]
    pages = [pages[index] for index in wanted]
    if plan.form == "pdf":
        content = pdf
    elif plan.form == "text":
        whole = Page(
            [line for page in pages for line in page.lines], [one for page in pages for one in page.entities]
        )
        pages, content = [whole], ("\n".join(whole.lines) + "\n").encode()
    else:
        pictures = documents_files.pictures(pdf, plan.dpi, wanted)
        spoil = np.random.default_rng([seed, plan.number])
        content = documents_files.scanned(pictures, plan.form, plan.damage, plan.strength, plan.dpi, spoil)
    file = f"files/{plan.number:05d}.{documents_files.ENDINGS[plan.form]}"
    return Made(file, content, pages, template.name, about, ambiguous)


_template = cache(Template.draw)
_TITLES = Counter(
    title for kind in documents_kinds.kinds().values() for title in {title for _, title in kind.forms}
)
GENERIC = frozenset({title for title, kinds in _TITLES.items() if kinds > 1} | {
    "Report", "Certificate", "Supplemental Statement", "Annual Notice", "Statement of Account", "Summary of Findings"})  # fmt: skip


def _state(rng: random.Random, born_digital: float) -> tuple[str, str, float, int]:
    """Format, damage, its strength, dots per inch."""
    drawn = rng.random()
    if drawn < born_digital:
        return "pdf", "clean", 0.0, 0
    if drawn < born_digital + TEXT_FILES:
        return "text", "clean", 0.0, 0
    damage = rng.choices(list(DAMAGE), list(DAMAGE.values()))[0]
    form = rng.choices(list(FORMS), list(FORMS.values()))[0]
    dpi = rng.choices(list(DPI), list(DPI.values()))[0]
    if damage == "photo":
        form = "jpeg"
    if damage == "fax":
        form = rng.choice(("scan", "tiff"))
    return form, damage, 0.0 if damage == "clean" else round(rng.random(), 3), dpi


def _dealt(total: int, shares: dict[str, Any]) -> dict[str, int]:
    """A number in parts by their shares, by largest remainders; at least one each where there are enough."""
    whole = sum(shares.values())
    exact = {name: total * share / whole for name, share in shares.items()}
    found = {name: max(int(amount), 1) for name, amount in exact.items()}
    for name in sorted(exact, key=lambda name: int(exact[name]) - exact[name]):
        if sum(found.values()) < total:
            found[name] += 1
    most = max(found, key=lambda name: found[name])
    found[most] += total - sum(found.values())
    return found


def _slices(items: Sequence[int], sizes: Any) -> Iterator[Sequence[int]]:
    begin = 0
    for size in sizes:
        yield items[begin : begin + size]
        begin += size
