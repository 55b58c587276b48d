"""Papers of house sales, of nine types: as PDF, as scans and photos that suffered, as plain text.

Written from what such papers look like. Looked at while it was written: pictures of pages, and the words that an OCR
read on nine of them (gaps between fonts were then widened, letters without a sentence given one). A linear model of
the true words was fitted once, at the end: it is right on 97 to 98 % of unseen templates; nothing was changed after.
What a model reaches here says how well it finds its way among templates that it has not seen, not how well it would
do on a team's own files.

`documents_facts` draws what a paper is about, `documents_kinds` (with `_deals`, `_records`, `_homes`) has the wording,
`documents_template` the templates; `documents_sheet`, `documents_pieces` and `documents_layouts` set and draw them,
`documents_damage` spoils pages, `documents_files` writes files, `documents_desk` plans and files it all, `documents_mess` adds files that no reader should trip over.

**Templates**: 13 of each type, 18 of `other`; the same in every world. A template is a title (two or three of each type
say little: "Addendum to Contract", which are purchases and listings both; "Certificate", "Report"), one of eleven layouts (contract, form, two
columns, recorded instrument, letter, tables, bill, report, checklist, minutes, flyer), typography, letterhead, footer,
what it calls the parties, and its own choice out of its type's sentences, headings, fields, checks and tables.
Of the sentences, 35 to 80 % are of the type, 3 to 20 % (letters of `other`: 20 to 40 %) speak of the other types,
mostly of one, and the rest are such as all types share. Layouts go with types, though none with one only.

**Parts**: each type's templates are dealt by the seed to training, validation and test (60, 20 and 20 % of the
documents, about as many of the templates): no template is in two of them.

**Formats**: `born_digital` of the documents are PDF with their text, 4 % plain text; of the others half are PDF of
pictures, the rest TIFF, PNG and JPEG. PNG and JPEG hold one page: the first, or (one in six of those that have more) the last.

**Damage**: one kind to a document, with a strength between 0 and 1, at 150 to 300 dots per inch; the kinds and
ranges are in `documents_damage`. PDF with text and plain text are always clean. Photos are JPEG; faxes have dots
that are not square, as their files say.

**Written**: `index.csv` (file, label, part, template, damage: the last two are for judging, never features),
`files/`; under `truth/`: `pages.parquet` (file, page, text as printed in reading order; tables row by row),
`entities.parquet` (file, page, kind, text, value: parties but no public offices, addresses, dates, amounts with their
sign, parcel and loan numbers), `documents.parquet` (file, label, template, format, damage, strength, dpi, pages, about:
the type that it speaks of most beside its own, ambiguous: why people might not tell its type, or empty),
`truth.json` (templates of each part, ambiguous files), with `mess` also `mess.csv`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from toolkit.registry import Component, worlds
from toolkit.simulate.folder import Tell, written


class DocumentWorld(BaseModel):
    """Papers of house sales, of nine types, as files in many states."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["documents"] = "documents"
    size: int = Field(default=900, ge=45, le=100_000, description="how many documents")
    born_digital: float = Field(
        default=0.3, ge=0, le=1, description="share of documents that are PDF with their text"
    )
    mess: bool = Field(
        default=False, description="add files that are encrypted, cut short, empty, huge, twins …"
    )
    seed: int = Field(default=23, ge=0)


def simulate(world: DocumentWorld, folder: Path, progress: Tell | None = None) -> None:
    """Write documents, their index and their truth into a folder.

    The same world gives the same bytes (of the same libraries). `progress(what, share done)` is called as documents
    are drawn. `truth/world.json` is written last: without it the folder is not whole. Raises ConfigError where
    the libraries that draw pages are not installed.
    """
    from toolkit.simulate import documents_desk

    documents_desk.need_drawing()
    with written(world, folder, progress) as (folder, truth, tell):
        documents_desk.write(world, folder, truth, tell)


worlds.add(Component("documents", DocumentWorld, simulate))
