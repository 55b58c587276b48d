"""Layouts: how a contract, a form, a letter, a bill … fills its pages."""

from __future__ import annotations

import random
from collections.abc import Iterator

from toolkit.simulate.documents_facts import Word
from toolkit.simulate.documents_pieces import (
    bullets,
    checks,
    fields,
    grid,
    letterhead,
    number,
    picture,
    section,
    signatures,
    stamp,
    title,
)
from toolkit.simulate.documents_sheet import GREY, Page, Sheets
from toolkit.simulate.documents_template import Author, Template


def draw(template: Template, rng: random.Random) -> tuple[bytes, list[Page], str]:
    """A document of the template: its PDF, what is printed on each page, and which other type it speaks of most."""
    author = Author(template, rng)
    code = f"{''.join(word[0] for word in template.title.split())[:4].upper()}{rng.randint(10, 99)}"
    sheets = Sheets(template.style, rng, f"Form {code}" if template.style.footer == "code" else code)
    length = min(3.3, max(0.35, template.long * rng.uniform(0.5, 1.3)))
    if rng.random() < 0.08:  # stamped on arrival
        stamp(sheets, author)
    LAYOUTS[template.layout](sheets, author, length)
    return sheets.finish(), sheets.pages, author.about


def _up_to(sheets: Sheets, length: float) -> Iterator[None]:
    """Once, and again until so many pages are filled."""
    yield
    while sheets.filled() < length:
        yield


def contract(sheets: Sheets, author: Author, length: float) -> None:
    rng = sheets.rng
    if rng.random() < 0.3:
        letterhead(sheets, author)
    title(sheets, author)
    sheets.text(author.paragraph(2))
    index = 1
    for _ in _up_to(sheets, length - 0.12):
        head: list[Word] = [(word, None) for word in number(sheets, index).split()] + author.heading()
        sheets.need(4 * sheets.style.size)
        sheets.text(head, bold=True, align="left", after=0.1)
        sheets.text(author.paragraph(rng.randint(1, 4)))
        index += 1
    signatures(sheets, author)


def form(sheets: Sheets, author: Author, length: float) -> None:
    rng = sheets.rng
    if rng.random() < 0.5:
        letterhead(sheets, author)
    title(sheets, author)
    fields(sheets, author, rng.randint(2, 4), rng.choice((2, 2, 3)))
    for _ in _up_to(sheets, length - 0.1):
        section(sheets, author)
        part = rng.random()
        if part < 0.35:
            checks(sheets, author, rng.randint(2, 5), ())
        elif part < 0.6:
            fields(sheets, author, rng.randint(1, 3), rng.choice((2, 3)))
        else:
            sheets.text(author.paragraph(rng.randint(1, 3)))
    signatures(sheets, author)


def columns(sheets: Sheets, author: Author, length: float) -> None:
    rng = sheets.rng
    if rng.random() < 0.4:
        letterhead(sheets, author)
    title(sheets, author)
    sheets.split(2)
    while sheets.filled() < length - 0.15 or sheets.columns:
        section(sheets, author)
        if rng.random() < 0.2:
            bullets(sheets, author, rng.randint(2, 4))
        elif rng.random() < 0.1:
            picture(sheets, rng.uniform(70, 120))
        else:
            sheets.text(author.paragraph(rng.randint(1, 4)))
    sheets.join()
    if rng.random() < 0.5:
        signatures(sheets, author)


def recorded(sheets: Sheets, author: Author, length: float) -> None:
    """With the corner that the recorder stamps, and a notary below."""
    rng, style, canvas = sheets.rng, sheets.style, sheets.canvas
    begun = sheets.y
    sheets.right -= 0.45 * sheets.width
    for line in (
        "RECORDING REQUESTED BY",
        "{title_company}",
        "WHEN RECORDED MAIL TO",
        "{buyer}",
        "{address}",
    ):
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
    title(sheets, author)
    for _ in _up_to(sheets, length - 0.3):
        sheets.text(author.paragraph(rng.randint(1, 4)), after=0.8)
    signatures(sheets, author)
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
    letterhead(sheets, author)
    sheets.text(author.say("{day}"), align="left", after=1.2)
    for line in ("{client}", "{elsewhere}")[: rng.randint(1, 2)]:
        sheets.text(author.say(line), align="left", after=0.1)
    sheets.y -= sheets.style.size
    if rng.random() < 0.7:
        sheets.text(author.say(f"Re: {author.template.title}[, {{address}}||]"), bold=True, align="left")
    sheets.text(author.say("Dear [{client}|Sir or Madam|Customer|Friends|Homeowner]:"), align="left")
    for _ in _up_to(sheets, min(length, 1.8) - 0.2):
        sheets.text(author.paragraph(rng.randint(2, 4)), after=0.8)
    if rng.random() < 0.25:
        grid(sheets, author, rng.randint(3, 4))
    sheets.need(70)
    sheets.text(author.say("[Sincerely|Yours truly|Best regards|Very truly yours],"), align="left")
    sheets.scribble(sheets.left, sheets.y - 18, 120)
    sheets.y -= 30
    sheets.text(author.say(rng.choice(author.kind.signers)), align="left")


def table(sheets: Sheets, author: Author, length: float) -> None:
    rng = sheets.rng
    if rng.random() < 0.5:
        letterhead(sheets, author)
    title(sheets, author)
    fields(sheets, author, rng.randint(1, 3), 3)
    for _ in _up_to(sheets, length - 0.2):
        grid(sheets, author, rng.randint(4, 11))
        if rng.random() < 0.5:
            sheets.text(author.paragraph(rng.randint(1, 2)))


def statement(sheets: Sheets, author: Author, length: float) -> None:
    """A bill: boxes, a table, and a stub below a dashed line."""
    rng, style, canvas = sheets.rng, sheets.style, sheets.canvas
    letterhead(sheets, author)
    title(sheets, author)
    for line in ("{buyer}", "{address}"):
        sheets.text(author.say(line), align="left", after=0.1)
    sheets.y -= style.size
    fields(sheets, author, 2, 3)
    grid(sheets, author, rng.randint(4, 9))
    sheets.text(
        author.say("[Total|Amount due|Please pay]: {money}"), bold=True, size=style.size + 2, align="right"
    )
    sheets.text(author.paragraph(rng.randint(1, 4)))
    for _ in _up_to(sheets, length - 0.35):
        section(sheets, author)
        sheets.text(author.paragraph(3))
    sheets.need(110)
    canvas.setDash(4, 3)
    sheets.rule(0.8, 14)
    canvas.setDash()
    sheets.text(
        author.say("[Detach and return with payment|Return this stub with your payment|Payment coupon]"),
        italic=True,
        size=style.size - 1,
    )
    fields(sheets, author, 1, 3)


def report(sheets: Sheets, author: Author, length: float) -> None:
    rng = sheets.rng
    letterhead(sheets, author)
    title(sheets, author, sheets.style.size + 8)
    if rng.random() < 0.5:
        picture(sheets, rng.uniform(120, 200))
    fields(sheets, author, rng.randint(2, 3), 2)
    for _ in _up_to(sheets, length - 0.1):
        section(sheets, author)
        part = rng.random()
        if part < 0.3:
            grid(sheets, author, rng.randint(3, 7))
        elif part < 0.5:
            checks(sheets, author, rng.randint(3, 7), ("OK", "Repair", "N/A"))
        elif part < 0.6:
            picture(sheets, rng.uniform(80, 140))
        else:
            sheets.text(author.paragraph(rng.randint(1, 4)))


def checklist(sheets: Sheets, author: Author, length: float) -> None:
    rng = sheets.rng
    answers = rng.choice(
        (("Yes", "No"), ("Yes", "No", "Unknown"), ("Yes", "No", "N/A"), ("Good", "Fair", "Poor"))
    )
    if rng.random() < 0.3:
        letterhead(sheets, author)
    title(sheets, author)
    fields(sheets, author, rng.randint(1, 2), 2)
    sheets.text(author.paragraph(rng.randint(1, 2)))
    for _ in _up_to(sheets, length - 0.15):
        section(sheets, author)
        checks(sheets, author, rng.randint(4, 9), answers)
        if rng.random() < 0.5:
            sheets.text(author.paragraph(1))
    signatures(sheets, author)


def minutes(sheets: Sheets, author: Author, length: float) -> None:
    rng = sheets.rng
    if rng.random() < 0.6:
        letterhead(sheets, author)
    title(sheets, author)
    sheets.text(author.say("Date: {day} Present: {chair}, {witness}, {officer}"), align="left")
    for _ in _up_to(sheets, length - 0.1):
        section(sheets, author)
        if rng.random() < 0.6:
            bullets(sheets, author, rng.randint(2, 4))
        else:
            sheets.text(author.paragraph(rng.randint(1, 3)))


def flyer(sheets: Sheets, author: Author, length: float) -> None:
    rng, style = sheets.rng, sheets.style
    sheets.text(
        author.say(author.template.title),
        bold=True,
        size=rng.uniform(34, 50),
        align="centre",
        colour=style.colour,
    )
    picture(sheets, rng.uniform(180, 280))
    sheets.text(author.say("{address}"), bold=True, size=style.size + 5, align="centre")
    sheets.text(author.say("[Offered at|Sold for|From] {price}"), size=style.size + 7, align="centre")
    bullets(sheets, author, rng.randint(3, 6))
    letterhead(sheets, author)


LAYOUTS = {
    each.__name__: each
    for each in (
        contract,
        form,
        columns,
        recorded,
        letter,
        table,
        statement,
        report,
        checklist,
        minutes,
        flyer,
    )
}
