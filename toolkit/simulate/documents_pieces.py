"""Pieces that layouts put together: letterheads, titles, fields, tables, check boxes, signatures, pictures."""

from __future__ import annotations

from toolkit.simulate.documents_sheet import GREY, INK, Sheets
from toolkit.simulate.documents_template import Author

ROMAN = [
    "I",
    "II",
    "III",
    "IV",
    "V",
    "VI",
    "VII",
    "VIII",
    "IX",
    "X",
    "XI",
    "XII",
    "XIII",
    "XIV",
    "XV",
    "XVI",
    "XVII",
    "XVIII",
    "XIX",
    "XX",
]


def stamp(sheets: Sheets, author: Author) -> None:
    rng, canvas = sheets.rng, sheets.canvas
    words = author.say(rng.choice(("RECEIVED {date}", "COPY", "FILED {date}", "ORIGINAL", "FILE COPY")))
    size = rng.uniform(11, 16)
    width = sheets.breadth(words, "Helvetica-Bold", size) + 14
    x, y = sheets.right - width, sheets.top + 4
    canvas.setStrokeColorRGB(0.6, 0.1, 0.1)
    canvas.setLineWidth(1.5)
    canvas.rect(x, y, width, size * 1.6)
    sheets.at(words, x + 7, y + 0.45 * size, width, "Helvetica-Bold", size, colour=(0.6, 0.1, 0.1))


def letterhead(sheets: Sheets, author: Author) -> None:
    style, canvas = sheets.style, sheets.canvas
    name, size = author.say(author.template.issuer), style.size + 6
    place = author.say("{elsewhere} {phone}")
    if style.letterhead == "band":
        canvas.setFillColorRGB(*style.colour)
        canvas.rect(sheets.left, sheets.y - 2.1 * size, sheets.width, 2.1 * size, stroke=0, fill=1)
        sheets.at(
            name, sheets.left + 8, sheets.y - 1.4 * size, sheets.width - 16, style.font(bold=True), size,
            colour=(1, 1, 1),
        )  # fmt: skip
        sheets.y -= 2.5 * size
    else:
        align = "centre" if style.letterhead == "centred" else "left"
        indent = 0.0
        if style.letterhead == "left":  # a mark beside the name
            canvas.setFillColorRGB(*style.colour)
            shape = sum(map(ord, author.template.name)) % 3
            x, y = sheets.left + 14, sheets.y - 15
            if shape == 0:
                canvas.circle(x, y, 14, stroke=0, fill=1)
            elif shape == 1:
                canvas.rect(x - 14, y - 14, 28, 28, stroke=0, fill=1)
            else:
                path = canvas.beginPath()
                path.moveTo(x - 15, y - 13)
                path.lineTo(x, y + 15)
                path.lineTo(x + 15, y - 13)
                path.close()
                canvas.drawPath(path, stroke=0, fill=1)
            indent = 36.0
        sheets.text(name, bold=True, size=size, align=align, indent=indent, after=0.1, colour=style.colour)
        sheets.text(place, size=style.size - 1, align=align, indent=indent, after=0.4)
    sheets.rule(1.0, 14)


def title(sheets: Sheets, author: Author, size: float | None = None) -> None:
    style, canvas = sheets.style, sheets.canvas
    text = author.template.title
    size = size or style.size + 5
    words = author.say(text.upper() if style.title in ("caps", "band") else text)
    if style.title == "band":
        canvas.setFillColorRGB(*style.colour)
        canvas.rect(sheets.left, sheets.y - 1.9 * size, sheets.width, 1.9 * size, stroke=0, fill=1)
        fits = min(size, size * (sheets.width - 12) / sheets.breadth(words, style.font(bold=True), size))
        sheets.at(
            words, sheets.left + 6, sheets.y - 1.35 * size, sheets.width - 12, style.font(bold=True), fits, "centre",
            colour=(1, 1, 1),
        )  # fmt: skip
        sheets.y -= 2.6 * size
        return
    begun = sheets.y
    align = "left" if style.title in ("plain", "ruled") else "centre"
    sheets.y -= 4
    sheets.text(words, bold=True, size=size, align=align, after=0.5, family=style.title_family)
    if style.title == "boxed":
        canvas.setStrokeColorRGB(*INK)
        canvas.setLineWidth(1.2)
        canvas.rect(sheets.left - 4, sheets.y + 2, sheets.width + 8, begun - sheets.y)
    if style.title == "ruled":
        sheets.rule(1.6, 8)
    sheets.y -= 6


def number(sheets: Sheets, index: int) -> str:
    return {
        "1.": f"{index}. ", "Section 1.": f"Section {index}. ", "I.": f"{ROMAN[(index - 1) % 20]}. ",
        "(a)": f"({'abcdefghijklmnopqrstuvwxyz'[(index - 1) % 26]}) ", "none": "",
    }[sheets.style.numbering]  # fmt: skip


def section(sheets: Sheets, author: Author) -> None:
    sheets.need(5 * sheets.style.size)
    if sheets.style.shaded:
        height = 1.5 * sheets.style.size
        sheets.canvas.setFillColorRGB(0.87, 0.87, 0.87)
        sheets.canvas.rect(sheets.left, sheets.y - height, sheets.width, height, stroke=0, fill=1)
    sheets.text(author.heading(), bold=True, size=sheets.style.size + 0.5, align="left", after=0.4)


def signatures(sheets: Sheets, author: Author) -> None:
    style, rng = sheets.style, sheets.rng
    sheets.y -= style.size
    for signer in author.kind.signers[: rng.randint(1, len(author.kind.signers))]:
        sheets.need(44)
        line = sheets.y - 26
        sheets.canvas.setStrokeColorRGB(*INK)
        sheets.canvas.setLineWidth(0.6)
        sheets.canvas.line(sheets.left, line, sheets.left + 0.5 * sheets.width, line)
        if rng.random() < 0.8:
            sheets.scribble(sheets.left + 12, line + 3, 0.3 * sheets.width)
        if rng.random() < 0.7:
            dated = author.say("Date: {date}")
            sheets.at(
                dated,
                sheets.left + 0.6 * sheets.width,
                line + 2,
                0.4 * sheets.width,
                style.font(),
                style.size,
            )
        sheets.at(
            author.say(signer),
            sheets.left,
            line - style.size - 1,
            sheets.width,
            style.font(),
            style.size - 0.5,
        )
        sheets.y = line - 2.2 * style.size


def fields(sheets: Sheets, author: Author, rows: int, across: int) -> None:
    """Boxes: the question small, the answer below it; or question and answer beside each other."""
    style = sheets.style
    if not style.ruled:
        for _ in range(rows):
            label, value = author.field()
            sheets.row([[*label[:-1], (label[-1][0] + ":", None)], value], (0.36, 0.64), boxed=False)
        sheets.y -= style.size
        return
    height, width = 2.7 * style.size, sheets.width / across
    for _ in range(rows):
        sheets.need(height)
        asked = [author.field() for _ in range(across)]
        for column, (label, _) in enumerate(asked):
            x = sheets.left + column * width
            sheets.canvas.setStrokeColorRGB(*GREY)
            sheets.canvas.setLineWidth(0.6)
            sheets.canvas.rect(x, sheets.y - height, width, height)
            small = max(6.0, style.size - 2.5)
            sheets.at(label, x + 3, sheets.y - small - 1, width - 6, style.font(), small, new=not column)
        first = True
        for column, (_, value) in enumerate(asked):
            needs = sheets.breadth(value, style.font(), style.size)
            size = max(5.5, min(style.size, style.size * (width - 8) / needs))
            sheets.at(
                value, sheets.left + column * width + 4, sheets.y - height + 5, width - 6, style.font(), size,
                new=first,
            )  # fmt: skip
            first = False
        sheets.y -= height
    sheets.y -= style.size


def grid(sheets: Sheets, author: Author, rows: int) -> None:
    """A table with its title; a total is its last row."""
    asked, style, rng = author.grid(), sheets.style, sheets.rng
    header = [author.say(cell) for cell in asked.header.split("; ")]
    first = 0.44 if len(header) == 3 else 0.3
    widths = (first, *[(1 - first) / (len(header) - 1)] * (len(header) - 1))
    sheets.need(6 * style.size)
    sheets.text(author.say(asked.title), bold=True, align="left", after=0.2)
    sheets.row(header, widths, bold=True, boxed=style.ruled, shade=0.85 if style.shaded else None)
    body, last = (
        [row for row in asked.rows if "otal" not in row],
        [row for row in asked.rows if "otal" in row],
    )
    lines = [body[index] if index < len(body) else rng.choice(body) for index in range(rows)] + last
    for index, text in enumerate(lines):
        stripe = 0.94 if style.shaded and index % 2 and not style.ruled else None
        sheets.row([author.say(cell) for cell in text.split(";")], widths, boxed=style.ruled, shade=stripe)
    sheets.y -= style.size


def checks(sheets: Sheets, author: Author, rows: int, answers: tuple[str, ...]) -> None:
    """A box for each answer, or one box before each line."""
    style, rng = sheets.style, sheets.rng
    side, step = style.size * 0.8, style.size * 1.8
    edge = sheets.right - 44 * len(answers)
    if answers:
        sheets.need(3 * step)
        for index, answer in enumerate(answers):
            sheets.at([(answer, None)], edge + 44 * index, sheets.y - style.size, 40, style.font(bold=True), style.size - 1,
                      new=not index)  # fmt: skip
        sheets.y -= step
    for _ in range(rows):
        sheets.need(step)
        y = sheets.y - style.size
        ticked = rng.randrange(len(answers) or 3)
        for index in range(len(answers)):
            sheets.box(edge + 44 * index + 4, y, side, index == ticked)
        if not answers:
            sheets.box(sheets.left, y, side, ticked == 0)
        indent = 0 if answers else 2 * side
        words, font = author.check(), style.font()
        room = (edge if answers else sheets.right) - sheets.left - indent
        size = max(5.5, min(style.size, style.size * room / sheets.breadth(words, font, style.size)))
        sheets.at(words, sheets.left + indent, y, room, font, size)
        if answers and style.ruled:
            sheets.canvas.setStrokeColorRGB(*GREY)
            sheets.canvas.setLineWidth(0.4)
            sheets.canvas.line(sheets.left, y - 4, sheets.right, y - 4)
        sheets.y -= step
    sheets.y -= 0.6 * style.size


def picture(sheets: Sheets, height: float) -> None:
    """A grey photograph of a house, more or less."""
    canvas, rng = sheets.canvas, sheets.rng
    sheets.need(height + 8)
    x, y, width = sheets.left, sheets.y - height, sheets.width
    bands = 12
    for band in range(bands):
        grey = 0.45 + 0.4 * band / bands + rng.uniform(-0.03, 0.03)
        canvas.setFillColorRGB(grey, grey, grey)
        canvas.rect(x, y + height * band / bands, width, height / bands + 0.5, stroke=0, fill=1)
    wide, base, wall = width * rng.uniform(0.3, 0.6), y + 0.12 * height, height * rng.uniform(0.3, 0.45)
    at, grey = x + width * rng.uniform(0.1, 0.3), rng.uniform(0.2, 0.8)
    canvas.setFillColorRGB(grey, grey, grey)
    canvas.rect(at, base, wide, wall, stroke=0, fill=1)
    roof = canvas.beginPath()
    roof.moveTo(at - 0.06 * wide, base + wall)
    roof.lineTo(at + wide * rng.uniform(0.35, 0.65), base + wall + height * rng.uniform(0.15, 0.3))
    roof.lineTo(at + 1.06 * wide, base + wall)
    roof.close()
    canvas.setFillColorRGB(0.18, 0.18, 0.18)
    canvas.drawPath(roof, stroke=0, fill=1)
    for share in (0.15, 0.45, 0.75):
        canvas.rect(at + share * wide, base + 0.4 * wall, 0.12 * wide, 0.35 * wall, stroke=0, fill=1)
    sheets.y -= height + 8


def bullets(sheets: Sheets, author: Author, count: int) -> None:
    for _ in range(count):
        sheets.need(2 * sheets.style.size)
        sheets.canvas.setFillColorRGB(*INK)
        sheets.canvas.circle(sheets.left + 6, sheets.y - 0.65 * sheets.style.size, 1.8, stroke=0, fill=1)
        sheets.text(author.sentence(), indent=16, align="left", after=0.25)
