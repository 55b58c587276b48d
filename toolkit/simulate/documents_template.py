"""Templates: what all documents of one have in common, and the author who fills one in."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from toolkit.simulate import documents_kinds
from toolkit.simulate.documents_facts import ROLES, Facts, Word, worded
from toolkit.simulate.documents_kinds import Grid, Kind
from toolkit.simulate.documents_sheet import Style

T = TypeVar("T")


@dataclass(frozen=True)
class Template:
    """A form: its layout and title, how it is set, which of its type's wording it uses, what it calls the parties."""

    name: str
    kind: str
    layout: str
    title: str
    style: Style
    roles: Mapping[str, str]
    own: float  # share of sentences of its type
    mention: float  # share of sentences about other types; the rest are everybody's
    sentences: tuple[str, ...]
    shared: tuple[str, ...]
    headings: tuple[str, ...]
    fields: tuple[str, ...]
    checks: tuple[str, ...]
    grids: tuple[Grid, ...]
    issuer: str
    long: float  # usual length, in pages

    @classmethod
    def draw(cls, kind: str, number: int) -> Template:
        """The same in every world: its name is its seed."""
        says = documents_kinds.kinds()[kind]
        layout, title = says.forms[number]
        rng = random.Random(f"template {kind} {number}")

        def some(pool: Sequence[str], share: float) -> tuple[str, ...]:
            return tuple(rng.sample(pool, max(3, round(share * len(pool)))))

        letter = kind == "other" and layout == "letter"
        return cls(
            name=f"{kind}_{number + 1:02d}", kind=kind, layout=layout, title=title, style=Style.draw(rng),
            roles={role: rng.choice(names) for role, names in ROLES.items()},
            own=rng.uniform(0.35, 0.8), mention=rng.uniform(0.2, 0.4) if letter else rng.uniform(0.03, 0.2),
            sentences=some(says.sentences, rng.uniform(0.3, 0.45) if kind == "other" else rng.uniform(0.6, 0.85)), shared=some(documents_kinds.SENTENCES, 0.6),
            headings=some((*says.headings, *documents_kinds.HEADINGS), 0.5),
            fields=some((*says.fields, *documents_kinds.FIELDS), 0.6), checks=some((*says.checks, *documents_kinds.CHECKS), 0.6),
            grids=tuple(rng.sample((*says.grids, rng.choice(documents_kinds.GRIDS)), 2)), issuer=rng.choice(says.issuer),
            long=1.0 if layout == "flyer" else rng.choice((0.6, 0.8, 1.0, 1.0, 1.4, 2.0, 2.8)),
        )  # fmt: skip


class Author:
    """Fills in a template for one matter: what comes next is drawn, and comes again only after all the rest."""

    def __init__(self, template: Template, rng: random.Random) -> None:
        kinds = documents_kinds.kinds()
        self.template, self.rng, self.facts = template, rng, Facts(rng)
        self.kind: Kind = kinds[template.kind]
        about = [name for name in kinds if name != template.kind]
        self.about = rng.choice(about)  # a paper speaks of one other type more than of the rest
        mentions = [
            text
            for name in about
            for text in kinds[name].mention
            for _ in range(6 if name == self.about else 1)
        ]
        self._own, self._shared, self._mentions = (
            self._around(pool) for pool in (template.sentences, template.shared, mentions)
        )
        self._headings, self._fields = self._around(template.headings), self._around(template.fields)
        self._checks, self._grids = self._around(template.checks), self._around(template.grids)

    def say(self, pattern: str) -> list[Word]:
        return worded(pattern, self.facts, self.template.roles)

    def sentence(self) -> list[Word]:
        drawn = self.rng.random() - self.template.own
        pool = self._own if drawn < 0 else self._mentions if drawn < self.template.mention else self._shared
        words = self.say(next(pool))
        first, mark = words[0]
        return [(first[0].upper() + first[1:], mark), *words[1:]]

    def paragraph(self, sentences: int) -> list[Word]:
        return [word for _ in range(sentences) for word in self.sentence()]

    def heading(self) -> list[Word]:
        return self.say(next(self._headings))

    def field(self) -> tuple[list[Word], list[Word]]:
        """What is asked, what is filled in."""
        label, _, value = next(self._fields).partition("; ")
        return self.say(label), self.say(value)

    def check(self) -> list[Word]:
        return self.say(next(self._checks))

    def grid(self) -> Grid:
        return next(self._grids)

    def _around(self, pool: Sequence[T]) -> Iterator[T]:
        while True:
            yield from self.rng.sample(pool, len(pool))
