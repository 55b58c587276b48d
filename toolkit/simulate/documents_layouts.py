"""Layouts: how a contract, a form, a letter, a bill … fills its pages."""

from __future__ import annotations

import random

from toolkit.simulate.documents_facts import Word
from toolkit.simulate.documents_sheet import GREY, INK, Page, Sheets
from toolkit.simulate.documents_template import Author, Template

ROMAN = "I II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI XVII XVIII XIX XX".split()


def draw(template: Template, rng: random.Random) -> tuple[bytes, list[Page], str]:
    """A document of the template: its PDF, what is printed on each page, and which other type it speaks of most."""
    author = Author(template, rng)
    code = f"{''.join(word[0] for word in template.title.split())[:4].upper()}{rng.randint(10, 99)}"
    sheets = Sheets(template.style, rng, f"Form {code}" if template.style.footer == "code" else code)
    length = min(3.3, max(0.35, template.long * rng.uniform(0.5, 1.3)))
    if rng.random() < 0.08:  # stamped on arrival
        _stamp(sheets, author)
    LAYOUTS[template.layout](sheets, author, length)
    return sheets.finish(), sheets.pages, author.about


# pieces


def _stamp(sheets: Sheets, author: Author) -> None:
    rng, canvas = sheets.rng, sheets.canvas
    words = author.say(rng.choice(("RECEIVED {date}", "COPY", "FILED {date}", "ORIGINAL", "FILE COPY")))
    size = rng.uniform(11, 16)
    width = sheets.breadth(words, "Helvetica-Bold", size) + 14
    x, y = sheets.right - width, sheets.top + 4
    canvas.setStrokeColorRGB(0.6, 0.1, 0.1)
    canvas.setLineWidth(1.5)
    canvas.rect(x, y, width, size * 1.6)
    sheets.at(words, x + 7, y + 0.45 * size, width, "Helvetica-Bold", size, colour=(0.6, 0.1, 0.1))


def _letterhead(sheets: Sheets, author: Author) -> None:
    style, canvas, rng = sheets.style, sheets.canvas, sheets.rng
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


def _title(sheets: Sheets, author: Author, size: float | None = None) -> None:
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


def _number(sheets: Sheets, index: int) -> str:
    return {
        "1.": f"{index}. ", "Section 1.": f"Section {index}. ", "I.": f"{ROMAN[(index - 1) % 20]}. ",
        "(a)": f"({'abcdefghijklmnopqrstuvwxyz'[(index - 1) % 26]}) ", "none": "",
    }[sheets.style.numbering]  # fmt: skip


def _section(sheets: Sheets, author: Author) -> None:
    sheets.need(4 * sheets.style.size)
    if sheets.style.shaded:
        height = 1.5 * sheets.style.size
        sheets.canvas.setFillColorRGB(0.87, 0.87, 0.87)
        sheets.canvas.rect(sheets.left, sheets.y - height, sheets.width, height, stroke=0, fill=1)
    sheets.text(author.heading(), bold=True, size=sheets.style.size + 0.5, align="left", after=0.4)


def _signatures(sheets: Sheets, author: Author) -> None:
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
            sheets.at(dated, sheets.left + 0.6 * sheets.width, line + 2, 0.4 * sheets.width, style.font(), style.size)
        sheets.at(author.say(signer), sheets.left, line - style.size - 1, sheets.width, style.font(), style.size - 0.5)
        sheets.y = line - 2.2 * style.size


def _fields(sheets: Sheets, author: Author, rows: int, across: int) -> None:
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


def _grid(sheets: Sheets, author: Author, rows: int) -> None:
    grid, style, rng = author.grid(), sheets.style, sheets.rng
    header = [author.say(cell) for cell in grid.header.split("; ")]
    first = 0.44 if len(header) == 3 else 0.3
    widths = (first, *[(1 - first) / (len(header) - 1)] * (len(header) - 1))
    sheets.need(6 * style.size)
    sheets.text(author.say(grid.title), bold=True, align="left", after=0.2)
    sheets.row(header, widths, bold=True, boxed=style.ruled, shade=0.85 if style.shaded else None)
    for index in range(rows):
        text = grid.rows[index] if index < len(grid.rows) else rng.choice(grid.rows)
        stripe = 0.94 if style.shaded and index % 2 and not style.ruled else None
        sheets.row([author.say(cell) for cell in text.split(";")], widths, boxed=style.ruled, shade=stripe)
    sheets.y -= style.size


def _checks(sheets: Sheets, author: Author, rows: int, answers: tuple[str, ...]) -> None:
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


def _picture(sheets: Sheets, height: float) -> None:
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


def _bullets(sheets: Sheets, author: Author, count: int) -> None:
    for _ in range(count):
        sheets.need(2 * sheets.style.size)
        sheets.canvas.setFillColorRGB(*INK)
        sheets.canvas.circle(sheets.left + 6, sheets.y - 0.65 * sheets.style.size, 1.8, stroke=0, fill=1)
        sheets.text(author.sentence(), indent=16, align="left", after=0.25)


# layouts


def contract(sheets: Sheets, author: Author, length: float) -> None:
    rng = sheets.rng
    if rng.random() < 0.3:
        _letterhead(sheets, author)
    _title(sheets, author)
    sheets.text(author.paragraph(2))
    index = 1
    while sheets.filled() < length - 0.12:
        head: list[Word] = [(word, None) for word in _number(sheets, index).split()] + author.heading()
        sheets.need(4 * sheets.style.size)
        sheets.text(head, bold=True, align="left", after=0.1)
        sheets.text(author.paragraph(rng.randint(1, 4)))
        index += 1
    _signatures(sheets, author)


def form(sheets: Sheets, author: Author, length: float) -> None:
    rng = sheets.rng
    if rng.random() < 0.5:
        _letterhead(sheets, author)
    _title(sheets, author)
    _fields(sheets, author, rng.randint(2, 4), rng.choice((2, 2, 3)))
    while sheets.filled() < length - 0.1:
        _section(sheets, author)
        part = rng.random()
        if part < 0.35:
            _checks(sheets, author, rng.randint(2, 5), ())
        elif part < 0.6:
            _fields(sheets, author, rng.randint(1, 3), rng.choice((2, 3)))
        else:
            sheets.text(author.paragraph(rng.randint(1, 3)))
    _signatures(sheets, author)


def columns(sheets: Sheets, author: Author, length: float) -> None:
    rng = sheets.rng
    if rng.random() < 0.4:
        _letterhead(sheets, author)
    _title(sheets, author)
    sheets.split(2)
    while sheets.filled() < length - 0.15 or sheets.columns:
        _section(sheets, author)
        if rng.random() < 0.2:
            _bullets(sheets, author, rng.randint(2, 4))
        elif rng.random() < 0.1:
            _picture(sheets, rng.uniform(70, 120))
        else:
            sheets.text(author.paragraph(rng.randint(1, 4)))
    sheets.join()
    if rng.random() < 0.5:
        _signatures(sheets, author)


def recorded(sheets: Sheets, author: Author, length: float) -> None:
    """With the corner that the recorder stamps, and a notary below."""
    rng, style, canvas = sheets.rng, sheets.style, sheets.canvas
    begun = sheets.y
    sheets.right -= 0.45 * sheets.width
    for line in ("RECORDING REQUESTED BY", "{title_company}", "WHEN RECORDED MAIL TO", "{buyer}", "{address}"):
        sheets.text(author.say(line), size=style.size - 1, align="left", after=0.1)
    sheets.right = sheets.paper[0] - style.margin
    x = sheets.left + 0.58 * sheets.width
    if rng.random() < 0.8:
        canvas.setStrokeColorRGB(*GREY)
        canvas.rect(x, sheets.y, sheets.right - x, begun - sheets.y)
        lines = ("Recorded in Official Records", "{county}", "Instrument {book}{n}", "{date}", "Fee {fee}")
        for index, line in enumerate(lines[: rng.randint(3, 5)]):
            sheets.at(author.say(line), x + 6, begun - 14 - 12 * index, sheets.right - x - 8, "Courier", 9)
    sheets.y -= 6
    sheets.rule()
    if rng.random() < 0.5:
        sheets.text(author.say("APN: {apn}"), align="left")
    _title(sheets, author)
    while sheets.filled() < length - 0.3:
        sheets.text(author.paragraph(rng.randint(1, 4)), after=0.8)
    _signatures(sheets, author)
    if rng.random() < 0.7:
        sheets.need(110)
        sheets.text(author.say("State of {state} County of {county}"), align="left")
        sheets.text(author.say(
            "[On|This] {date}, before me, {notary}, Notary Public, personally appeared the signer named above, who proved on "
            "the basis of satisfactory evidence to be the person whose name is subscribed to the within instrument."
        ))  # fmt: skip
        canvas.setStrokeColorRGB(*GREY)
        canvas.setLineWidth(1.4)
        centre = (sheets.right - 50, max(sheets.y - 24, sheets.bottom + 10))
        for radius in (34, 27, 8):
            canvas.circle(*centre, radius, stroke=1, fill=0)
        sheets.scribble(sheets.left + 10, sheets.y - 20, 150)


def letter(sheets: Sheets, author: Author, length: float) -> None:
    rng = sheets.rng
    _letterhead(sheets, author)
    sheets.text(author.say("{day}"), align="left", after=1.2)
    for line in ("{client}", "{elsewhere}")[: rng.randint(1, 2)]:
        sheets.text(author.say(line), align="left", after=0.1)
    sheets.y -= sheets.style.size
    if rng.random() < 0.7:
        sheets.text(author.say(f"Re: {author.template.title}[, {{address}}||]"), bold=True, align="left")
    sheets.text(author.say("Dear [{client}|Sir or Madam|Customer|Friends|Homeowner]:"), align="left")
    while sheets.filled() < min(length, 1.8) - 0.2:
        sheets.text(author.paragraph(rng.randint(2, 4)), after=0.8)
    if rng.random() < 0.25:
        _grid(sheets, author, rng.randint(3, 4))
    sheets.need(70)
    sheets.text(author.say("[Sincerely|Yours truly|Best regards|Very truly yours],"), align="left")
    sheets.scribble(sheets.left, sheets.y - 18, 120)
    sheets.y -= 30
    sheets.text(author.say(rng.choice(author.kind.signers)), align="left")


def table(sheets: Sheets, author: Author, length: float) -> None:
    rng = sheets.rng
    if rng.random() < 0.5:
        _letterhead(sheets, author)
    _title(sheets, author)
    _fields(sheets, author, rng.randint(1, 3), 3)
    while sheets.filled() < length - 0.2:
        _grid(sheets, author, rng.randint(4, 11))
        if rng.random() < 0.5:
            sheets.text(author.paragraph(rng.randint(1, 2)))


def statement(sheets: Sheets, author: Author, length: float) -> None:
    """A bill: boxes, a table, and a stub below a dashed line."""
    rng, style, canvas = sheets.rng, sheets.style, sheets.canvas
    _letterhead(sheets, author)
    _title(sheets, author)
    for line in ("{buyer}", "{address}"):
        sheets.text(author.say(line), align="left", after=0.1)
    sheets.y -= style.size
    _fields(sheets, author, 2, 3)
    _grid(sheets, author, rng.randint(4, 9))
    sheets.text(author.say("[Total|Amount due|Please pay]: {money}"), bold=True, size=style.size + 2, align="right")
    sheets.text(author.paragraph(rng.randint(1, 4)))
    while sheets.filled() < length - 0.35:
        _section(sheets, author)
        sheets.text(author.paragraph(3))
    sheets.need(110)
    canvas.setDash(4, 3)
    sheets.rule(0.8, 14)
    canvas.setDash()
    sheets.text(author.say("[Detach and return with payment|Return this stub with your payment|Payment coupon]"), italic=True, size=style.size - 1)
    _fields(sheets, author, 1, 3)


def report(sheets: Sheets, author: Author, length: float) -> None:
    rng = sheets.rng
    _letterhead(sheets, author)
    _title(sheets, author, sheets.style.size + 8)
    if rng.random() < 0.5:
        _picture(sheets, rng.uniform(120, 200))
    _fields(sheets, author, rng.randint(2, 3), 2)
    while sheets.filled() < length - 0.1:
        _section(sheets, author)
        part = rng.random()
        if part < 0.3:
            _grid(sheets, author, rng.randint(3, 7))
        elif part < 0.5:
            _checks(sheets, author, rng.randint(3, 7), ("OK", "Repair", "N/A"))
        elif part < 0.6:
            _picture(sheets, rng.uniform(80, 140))
        else:
            sheets.text(author.paragraph(rng.randint(1, 4)))


def checklist(sheets: Sheets, author: Author, length: float) -> None:
    rng = sheets.rng
    answers = rng.choice((("Yes", "No"), ("Yes", "No", "Unknown"), ("Yes", "No", "N/A"), ("Good", "Fair", "Poor")))
    if rng.random() < 0.3:
        _letterhead(sheets, author)
    _title(sheets, author)
    _fields(sheets, author, rng.randint(1, 2), 2)
    sheets.text(author.paragraph(rng.randint(1, 2)))
    while sheets.filled() < length - 0.15:
        _section(sheets, author)
        _checks(sheets, author, rng.randint(4, 9), answers)
        if rng.random() < 0.5:
            sheets.text(author.paragraph(1))
    _signatures(sheets, author)


def minutes(sheets: Sheets, author: Author, length: float) -> None:
    rng = sheets.rng
    if rng.random() < 0.6:
        _letterhead(sheets, author)
    _title(sheets, author)
    sheets.text(author.say("Date: {day} Present: {chair}, {witness}, {officer}"), align="left")
    while sheets.filled() < length - 0.1:
        _section(sheets, author)
        if rng.random() < 0.6:
            _bullets(sheets, author, rng.randint(2, 4))
        else:
            sheets.text(author.paragraph(rng.randint(1, 3)))


def flyer(sheets: Sheets, author: Author, length: float) -> None:
    rng, style = sheets.rng, sheets.style
    sheets.text(author.say(author.template.title), bold=True, size=rng.uniform(34, 50), align="centre", colour=style.colour)
    _picture(sheets, rng.uniform(180, 280))
    sheets.text(author.say("{address}"), bold=True, size=style.size + 5, align="centre")
    sheets.text(author.say("[Offered at|Sold for|From] {price}"), size=style.size + 7, align="centre")
    _bullets(sheets, author, rng.randint(3, 6))
    _letterhead(sheets, author)


LAYOUTS = {
    each.__name__: each
    for each in (contract, form, columns, recorded, letter, table, statement, report, checklist, minutes, flyer)
}
