"""Sheets of paper with words on them: a PDF is drawn, and what is printed is kept in reading order."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from toolkit.simulate.documents_facts import Entity, Word

FONTS = {  # family → plain, bold, italic
    "Helvetica": ("Helvetica", "Helvetica-Bold", "Helvetica-Oblique"),
    "Times": ("Times-Roman", "Times-Bold", "Times-Italic"),
    "Courier": ("Courier", "Courier-Bold", "Courier-Oblique"),
}
PAPERS = {"letter": (612.0, 792.0), "a4": (595.3, 841.9), "legal": (612.0, 1008.0)}
INK, GREY = (0.0, 0.0, 0.0), (0.45, 0.45, 0.45)
COLOURS = ((0.0, 0.0, 0.0), (0.10, 0.20, 0.45), (0.45, 0.08, 0.10), (0.08, 0.35, 0.18), (0.25, 0.25, 0.25))


@dataclass(frozen=True)
class Style:
    """How a template is set, drawn once from its name."""

    family: str
    title_family: str
    size: float
    leading: float  # in sizes
    margin: float
    paper: str
    colour: tuple[float, float, float]
    title: str  # plain, centred, caps, boxed, band, ruled
    justified: bool
    fill: str | None  # font of what is filled in
    numbering: str  # 1. | Section 1. | I. | (a) | none
    shaded: bool
    ruled: bool
    footer: str  # page, code, initials, bates, none
    letterhead: str  # centred, left, band, none

    @classmethod
    def draw(cls, rng: random.Random) -> Style:
        family = rng.choice(("Helvetica", "Helvetica", "Times", "Times", "Courier"))
        return cls(
            family=family,
            title_family=rng.choice((family, "Helvetica", "Times")),
            size=rng.choice((8.5, 9.0, 9.5, 10.0, 10.5, 11.0, 12.0)) - (0.5 if family == "Courier" else 0.0),
            leading=rng.uniform(1.15, 1.5),
            margin=rng.uniform(40, 84),
            paper=rng.choice(("letter",) * 8 + ("a4", "legal")),
            colour=rng.choice(COLOURS),
            title=rng.choice(("plain", "centred", "centred", "caps", "boxed", "band", "ruled")),
            justified=rng.random() < 0.4,
            fill=rng.choice((None, None, "Courier", "Helvetica-Oblique", "Times-Italic", "Courier-Bold")),
            numbering=rng.choice(("1.", "1.", "Section 1.", "I.", "(a)", "none")),
            shaded=rng.random() < 0.5,
            ruled=rng.random() < 0.6,
            footer=rng.choice(("page", "page", "code", "initials", "bates", "none")),
            letterhead=rng.choice(("centred", "left", "left", "band")),
        )

    def font(self, bold: bool = False, italic: bool = False) -> str:
        return FONTS[self.family][1 if bold else 2 if italic else 0]


@dataclass
class Page:
    """What is printed on a page: lines in reading order, entities where their first word stands."""

    lines: list[str] = field(default_factory=list)
    entities: list[Entity] = field(default_factory=list)


class Sheets:
    """Pages that are being drawn, from the top: `y` is where the next line goes, in points from the bottom."""

    def __init__(self, style: Style, rng: random.Random, footer: str = "", limit: int = 4) -> None:
        from reportlab.pdfgen.canvas import Canvas

        self.style, self.rng, self.footer, self.limit = style, rng, footer, limit
        self.paper = PAPERS[style.paper]
        self._bytes = io.BytesIO()
        self.canvas = Canvas(self._bytes, pagesize=self.paper, invariant=1, pageCompression=1)
        self.pages = [Page()]
        self.left, self.right = style.margin, self.paper[0] - style.margin
        self.top, self.bottom = self.paper[1] - style.margin, style.margin + 14
        self.y = self.top
        self.columns: list[tuple[float, float]] = []  # those still to fill on this page
        self._shape: tuple[list[tuple[float, float]], float] | None = None

    @property
    def width(self) -> float:
        return self.right - self.left

    def filled(self) -> float:
        """Pages that are drawn so far."""
        return len(self.pages) - 1 + (self.top - self.y) / (self.top - self.bottom)

    def split(self, count: int, gap: float = 18) -> None:
        """From here on, the page has columns."""
        each = (self.width - gap * (count - 1)) / count
        edges = [(self.left + i * (each + gap), self.left + i * (each + gap) + each) for i in range(count)]
        self._shape = (edges, self.y)
        (self.left, self.right), *self.columns = edges

    def join(self) -> None:
        """One column again, below the longest."""
        if self._shape:
            if len(self.columns) < len(self._shape[0]) - 1:
                self.y = self.bottom
            self._shape, self.columns = None, []
            self.left, self.right = self.style.margin, self.paper[0] - self.style.margin

    def need(self, height: float) -> None:
        """Go on to the next column or page unless so much is left."""
        if self.y - height < self.bottom:
            self.turn()

    def turn(self) -> None:
        if self._shape and self.columns:
            (self.left, self.right), *self.columns = self.columns
            self.y = self._shape[1]
            return
        self._end()
        self.pages.append(Page())
        self.canvas.showPage()
        self.y = self.top
        if self._shape:
            edges = self._shape[0]
            self._shape = (edges, self.y)
            (self.left, self.right), *self.columns = edges

    def finish(self) -> bytes:
        """The PDF."""
        self._end()
        self.canvas.showPage()
        self.canvas.save()
        return self._bytes.getvalue()

    def _end(self) -> None:
        style, number = self.style, len(self.pages)
        left, right, y = style.margin, self.paper[0] - style.margin, style.margin * 0.6
        text = {
            "page": f"Page {number}", "code": f"{self.footer}  Page {number}", "bates": f"{self.footer}{number:04d}",
            "initials": f"Page {number}   Initials ( ____ ) ( ____ )", "none": "",
        }[style.footer]  # fmt: skip
        align = "centre" if style.footer == "page" else "left" if style.footer == "code" else "right"
        if text:
            self.at([(word, None) for word in text.split()], left, y, right - left, style.font(), 8, align)

    # what is drawn

    def breadth(self, words: Sequence[Word], font: str, size: float) -> float:
        """Width of a line of words, in points."""
        steps = self._steps(words, font, size)
        return sum(width for width, _ in steps) + sum(gap for _, gap in steps[:-1])

    def broken(self, words: Sequence[Word], width: float, font: str, size: float) -> list[list[Word]]:
        """Words in lines that fit the width."""
        lines: list[list[Word]] = []
        room = 0.0
        for word, (wide, gap) in zip(words, self._steps(words, font, size), strict=True):
            if not lines or wide > room:
                lines.append([])
                room = width
            lines[-1].append(word)
            room -= wide + gap
        return lines

    def at(
        self, words: Sequence[Word], x: float, y: float, width: float, font: str, size: float,
        align: str = "left", colour: tuple[float, float, float] = INK, new: bool = True,
    ) -> None:  # fmt: skip
        """A line at a place; `new=False`: read on in the line before."""
        if not words:
            return
        steps = self._steps(words, font, size)
        spare = width - sum(wide + gap for wide, gap in steps) + steps[-1][1]
        stretch = spare / (len(words) - 1) if align == "justified" and len(words) > 3 else 0.0
        x += max(0.0, {"centre": spare / 2, "right": spare}.get(align, 0.0))
        self.canvas.setFillColorRGB(*colour)
        for begin, end, used in self._runs(words, font):
            self.canvas.setFont(used, size)
            self.canvas.drawString(x, y, " ".join(word for word, _ in words[begin:end]), wordSpace=stretch)
            x += sum(wide + gap + stretch for wide, gap in steps[begin:end])
        page = self.pages[-1]
        text = " ".join(word for word, _ in words)
        if new or not page.lines:
            page.lines.append(text)
        else:
            page.lines[-1] += f" {text}"
        for _, mark in words:
            if mark and not any(mark is known for known in page.entities[-40:]):
                page.entities.append(mark)

    def text(
        self, words: Sequence[Word], *, bold: bool = False, italic: bool = False, size: float | None = None,
        align: str | None = None, indent: float = 0.0, after: float = 0.5, colour: tuple[float, float, float] = INK,
        family: str | None = None,
    ) -> None:  # fmt: skip
        """A paragraph from here on, over columns and pages; `after`: the space below it, in lines."""
        style = self.style
        size = size or style.size
        font = FONTS[family or style.family][1 if bold else 2 if italic else 0]
        align = align or ("justified" if style.justified else "left")
        step = size * style.leading
        lines = self.broken(words, self.width - indent, font, size)
        for index, line in enumerate(lines):
            follows = index + 1 < len(lines)
            together = index  # an entity stands on one page
            while together + 1 < len(lines) and _runs_on(lines[together], lines[together + 1]):
                together += 1
            self.need(step * (together - index + 1))
            used = "left" if align == "justified" and not follows else align
            self.at(
                line, self.left + indent, self.y - size, self.width - indent, font, size, used, colour=colour
            )
            self.y -= step
        self.y -= step * after

    def row(
        self, cells: Sequence[Sequence[Word]], widths: Sequence[float], *, bold: bool = False, boxed: bool = True,
        shade: float | None = None, size: float | None = None,
    ) -> None:  # fmt: skip
        """A row of a table, each cell on one line, set smaller where it is long. widths: shares of the width."""
        size, font = size or self.style.size, self.style.font(bold=bold)
        height = size * 1.7
        self.need(height)
        canvas, x = self.canvas, self.left
        first = True
        for cell, share in zip(cells, widths, strict=True):
            width = share * self.width
            if shade is not None:
                canvas.setFillColorRGB(shade, shade, shade)
                canvas.rect(x, self.y - height, width, height, stroke=0, fill=1)
            if boxed:
                canvas.setStrokeColorRGB(*GREY)
                canvas.setLineWidth(0.6)
                canvas.rect(x, self.y - height, width, height, stroke=1, fill=0)
            needs = self.breadth(cell, font, size)
            small = max(5.5, min(size, size * (width - 8) / needs)) if needs else size
            self.at(cell, x + 4, self.y - height + 0.55 * size, width - 8, font, small, new=first)
            first = first and not cell
            x += width
        self.y -= height

    def box(self, x: float, y: float, side: float, ticked: bool) -> None:
        """A check box; no word of it is read."""
        canvas = self.canvas
        canvas.setStrokeColorRGB(*INK)
        canvas.setLineWidth(0.8)
        canvas.rect(x, y, side, side, stroke=1, fill=0)
        if ticked:
            canvas.setLineWidth(1.2)
            canvas.line(x + 0.15 * side, y + 0.15 * side, x + 0.85 * side, y + 0.85 * side)
            canvas.line(x + 0.15 * side, y + 0.85 * side, x + 0.85 * side, y + 0.15 * side)

    def rule(self, weight: float = 0.8, after: float = 4) -> None:
        self.canvas.setStrokeColorRGB(*self.style.colour)
        self.canvas.setLineWidth(weight)
        self.canvas.line(self.left, self.y, self.right, self.y)
        self.y -= after

    def scribble(self, x: float, y: float, width: float) -> None:
        """A signature: strokes that nobody can read."""
        rng, path = self.rng, self.canvas.beginPath()
        at, height = x, rng.uniform(8, 17)
        path.moveTo(at, y)
        for _ in range(rng.randint(4, 9)):
            step = width / 9 * rng.uniform(0.5, 1.5)
            path.curveTo(
                at + step * rng.uniform(-0.4, 0.8), y + height * rng.uniform(0.2, 1.3),
                at + step * rng.uniform(0.2, 1.4), y - height * rng.uniform(-0.2, 0.6), at + step, y + height * rng.uniform(-0.1, 0.3),
            )  # fmt: skip
            at += step
        self.canvas.setStrokeColorRGB(*rng.choice(((0.05, 0.05, 0.3), (0.0, 0.0, 0.0), (0.1, 0.15, 0.5))))
        self.canvas.setLineWidth(rng.uniform(0.8, 1.8))
        self.canvas.drawPath(path, stroke=1, fill=0)

    def _fonts(self, words: Sequence[Word], font: str) -> list[str]:
        return [self.style.fill if mark is not None and self.style.fill else font for _, mark in words]

    def _steps(self, words: Sequence[Word], font: str, size: float) -> list[tuple[float, float]]:
        """Width of each word, and of the gap after it: the wider of the blanks of its font and the next one's."""
        from reportlab.pdfbase.pdfmetrics import stringWidth

        fonts = self._fonts(words, font)
        blank = {used: stringWidth(" ", used, size) for used in {*fonts}}
        return [
            (stringWidth(word, used, size), max(blank[used], blank[following]))
            for (word, _), used, following in zip(words, fonts, [*fonts[1:], *fonts[-1:]], strict=True)
        ]

    def _runs(self, words: Sequence[Word], font: str) -> list[tuple[int, int, str]]:
        """Stretches of words that are set in one font."""
        fonts = self._fonts(words, font)
        edges = [i for i in range(len(words)) if not i or fonts[i] != fonts[i - 1]]
        return [
            (begin, end, fonts[begin]) for begin, end in zip(edges, [*edges[1:], len(words)], strict=True)
        ]


def _runs_on(line: Sequence[Word], following: Sequence[Word]) -> bool:
    """Does an entity begin in one line and end in the next?"""
    return line[-1][1] is not None and line[-1][1] is following[0][1]
