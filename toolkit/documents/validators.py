"""What makes a candidate an entity: named checks that give its value in one form, or say why it is none.

    Date(kind="date").check("March 3, 2024")   # Verdict(value="2024-03-03", sure=1.0)
    Luhn(kind="luhn").check("4111 1111 1111 1112")   # RefusedError: the check digit is wrong

A check is found by its `kind` in the registry; an entry point of the group `toolkit.validators` adds one. Its
configuration is a node with a method `check(text) -> Verdict`, which raises RefusedError with a reason that holds nothing
of the text, since reasons are counted.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from toolkit.config.node import Node
from toolkit.registry import Component, validators

LONGEST = 300  # characters of a candidate; none of the checks looks at a longer one
SHORT_YEAR, GUESSED = 0.9, 0.8  # how far a reading is believed that needed a guess
MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
          "november", "december")  # fmt: skip


class RefusedError(ValueError):
    """No entity, and why."""


@dataclass(frozen=True)
class Verdict:
    """An entity's value in one form, and how far the check is sure of it, above 0 and up to 1."""

    value: str
    sure: float = 1.0


class Date(Node):
    """A day of the calendar, as ISO 8601: 03/04/2024, 2024-03-04, March 4th, 2024, 4th day of March, 2024."""

    kind: Literal["date"] = "date"
    order: Literal["mdy", "dmy", "ymd"] = Field(
        "mdy", description="of 03/04/05; a year of four digits is known"
    )
    earliest: datetime.date = Field(datetime.date(1600, 1, 1), description="no day before this one")
    latest: datetime.date = Field(datetime.date(2199, 12, 31), description="no day after this one")
    short_years_until: int | None = Field(
        2050, description="a year of two digits is one of the hundred years that end here; null: refused"
    )
    months: Annotated[list[str], Field(min_length=12, max_length=12)] = Field(
        list(MONTHS), description="names; three letters of one are enough"
    )

    def check(self, text: str) -> Verdict:
        text = text.strip(" .,;")
        parts = re.fullmatch(r"(\d{1,4})\s*([/.\-])\s*(\d{1,2})\s*\2\s*(\d{1,4})", text)
        if parts:
            numbers, sure = [parts[1], parts[3], parts[4]], 1.0
            order = "ymd" if len(parts[1]) > 2 else self.order
            by = dict(zip(order, numbers, strict=True))
            year, month, day = by["y"], int(by["m"]), by["d"]
        else:
            year, month, day, sure = self._named(text)
        if len(year) == 2 and self.short_years_until is not None:
            end = self.short_years_until
            year, sure = str(end - (end - int(year)) % 100), sure * SHORT_YEAR
        if len(year) != 4:
            raise RefusedError("a year of another number of digits")
        try:
            found = datetime.date(int(year), month, int(day))
        except ValueError:
            raise RefusedError("no such day") from None
        if found < self.earliest:
            raise RefusedError(f"before {self.earliest}")
        if found > self.latest:
            raise RefusedError(f"after {self.latest}")
        return Verdict(found.isoformat(), sure)

    def _named(self, text: str) -> tuple[str, int, str, float]:
        """Year, month, day of a date that names its month."""
        import difflib

        words = re.findall(r"[^\W\d_]+|\d+", text.lower())
        numbers = [word for word in words if word.isdigit()]
        named = [
            w for w in words if not w.isdigit() and w not in ("st", "nd", "rd", "th", "day", "of", "the")
        ]
        if len(named) != 1 or len(named[0]) < 3:
            raise RefusedError("no month")
        months, sure = [name.lower() for name in self.months], 1.0
        fitting = [place for place, name in enumerate(months) if name.startswith(named[0])]
        if not fitting and len(named[0]) > 4:  # a letter misread
            close = difflib.get_close_matches(named[0], months, n=1, cutoff=0.75)
            fitting, sure = [months.index(name) for name in close], GUESSED
        if len(fitting) != 1:
            raise RefusedError("no month")
        if len(numbers) != 2:
            raise RefusedError("no day, or no year")
        first, second = numbers
        day, year = (second, first) if len(first) == 4 else (first, second)
        return year, fitting[0] + 1, day, sure


class Money(Node):
    """An amount, as a decimal number with two places: $1,250.00, USD 99."""

    kind: Literal["money"] = "money"
    least: float = Field(0, description="no smaller amount")
    most: float = Field(1e12, description="no greater amount")
    signs: list[str] = Field(
        ["US$", "$", "USD", "€", "EUR", "£", "GBP"], description="currencies, as written"
    )
    sign_needed: bool = Field(False, description="an amount without a currency is none")
    group: Literal[",", ".", " ", "'"] = Field(",", description="sign between groups of three digits")
    decimal: Literal[".", ","] = Field(".", description="decimal sign")

    @model_validator(mode="after")
    def signs_differ(self) -> Money:
        if self.group == self.decimal:
            raise ValueError("`group` and `decimal` are two different signs")
        return self

    def check(self, text: str) -> Verdict:
        signed = [sign for sign in self.signs if sign.upper() in text.upper()]
        for sign in sorted(signed, key=len, reverse=True):
            text = re.sub(re.escape(sign), " ", text, flags=re.IGNORECASE)
        if self.sign_needed and not signed:
            raise RefusedError("no currency")
        number = re.sub(r"\s+", "", text).strip(",;:") if self.group != " " else " ".join(text.split())
        group, point = re.escape(self.group), re.escape(self.decimal)
        if not re.search(r"\d", number):
            raise RefusedError("no number")
        parts = re.fullmatch(rf"(\d{{1,3}}(?:{group}\d{{3}})+|\d+)(?:{point}(\d\d))?{point}?", number)
        if parts is None:
            raise RefusedError("its digits are not grouped as those of an amount")
        amount = Decimal(f"{re.sub(r'[^0-9]', '', parts[1])}.{parts[2] or '00'}")
        if amount < Decimal(str(self.least)):
            raise RefusedError(f"less than {self.least:g}")
        if amount > Decimal(str(self.most)):
            raise RefusedError(f"more than {self.most:g}")
        return Verdict(str(amount))


class Digits(Node):
    """So many digits; blanks, hyphens and the like between them do not count."""

    kind: Literal["digits"] = "digits"
    least: int = Field(1, ge=1, description="no fewer digits")
    most: int = Field(30, ge=1, description="no more digits")
    all_the_same: bool = Field(False, description="accept 0000000")

    def check(self, text: str) -> Verdict:
        found = re.sub(r"\D", "", text, flags=re.ASCII)
        if not self.least <= len(found) <= self.most:
            raise RefusedError(f"not {self.least} to {self.most} digits")
        if not self.all_the_same and len(found) > 1 and len(set(found)) == 1:
            raise RefusedError("one digit, repeated")
        return Verdict(found)


class Luhn(Node):
    """Digits of which the last one is a check digit (ISO/IEC 7812-1, annex B: cards, some account numbers)."""

    kind: Literal["luhn"] = "luhn"

    def check(self, text: str) -> Verdict:
        found = re.sub(r"[\s\-]", "", text)
        if not re.fullmatch(r"\d{2,}", found, re.ASCII):
            raise RefusedError("more than digits")
        doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(found))]
        if sum(number - 9 * (number > 9) for number in doubled) % 10:
            raise RefusedError("the check digit is wrong")
        return Verdict(found)


class Iban(Node):
    """An international bank account number by its check digits (ISO 13616: remainder 1 modulo 97)."""

    kind: Literal["iban"] = "iban"

    def check(self, text: str) -> Verdict:
        found = re.sub(r"[\s\-]", "", text).upper()
        if not re.fullmatch(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}", found, re.ASCII):
            raise RefusedError("not the form of an account number")
        if int("".join(str(int(sign, 36)) for sign in found[4:] + found[:4])) % 97 != 1:
            raise RefusedError("the check digits are wrong")
        return Verdict(found)


class Form(Node):
    """A number of a declared form, in capitals and without blanks: `###-##` is 123-45."""

    kind: Literal["form"] = "form"
    forms: list[Annotated[str, Field(min_length=2, max_length=60)]] = Field(
        min_length=1, description="`#`: a digit, `@`: a letter, `*`: either; all else stands for itself"
    )
    SIGNS: ClassVar[dict[str, str]] = {"#": "[0-9]", "@": "[A-Z]", "*": "[A-Z0-9]"}

    def check(self, text: str) -> Verdict:
        found = re.sub(r"\s+", "", text).upper()
        for form in self.forms:
            pattern = "".join(self.SIGNS.get(sign) or re.escape(sign) for sign in form.upper() if sign != " ")
            if re.fullmatch(pattern, found):
                return Verdict(found)
        raise RefusedError("none of the declared forms")


STATES = {  # → the first digits of its postal codes (USPS)
    "AL": "3", "AK": "9", "AZ": "8", "AR": "7", "CA": "9", "CO": "8", "CT": "0", "DE": "1", "DC": "2", "FL": "3",
    "GA": "3", "HI": "9", "ID": "8", "IL": "6", "IN": "4", "IA": "5", "KS": "6", "KY": "4", "LA": "7", "ME": "0",
    "MD": "2", "MA": "05", "MI": "4", "MN": "5", "MS": "3", "MO": "6", "MT": "5", "NE": "6", "NV": "8", "NH": "0",
    "NJ": "0", "NM": "8", "NY": "10", "NC": "2", "ND": "5", "OH": "4", "OK": "7", "OR": "9", "PA": "1", "PR": "0",
    "RI": "0", "SC": "2", "SD": "5", "TN": "3", "TX": "78", "UT": "8", "VT": "0", "VA": "2", "WA": "9", "WV": "2",
    "WI": "5", "WY": "8",
}  # fmt: skip
WAYS = [
    "street", "st", "avenue", "ave", "road", "rd", "drive", "dr", "lane", "ln", "court", "ct", "boulevard", "blvd", "way",
    "place", "pl", "circle", "cir", "terrace", "ter", "parkway", "pkwy", "highway", "hwy", "trail", "trl", "square", "sq",
    "loop", "alley", "aly", "plaza", "row", "run", "path", "crossing", "point", "ridge", "broadway",
]  # fmt: skip


class UsAddress(Node):
    """A postal address of the United States, in one line: number, street, town, state and ZIP code."""

    kind: Literal["us_address"] = "us_address"
    ways: list[str] = Field(WAYS, description="words of streets; an address without one is believed less")
    FORM: ClassVar[re.Pattern[str]] = re.compile(
        r"(?:\d{1,6}[A-Za-z]?|P\.?\s?O\.?\s+Box\s+\d+)\b[\s,]+(.+?)[\s,]+([A-Z]{2})\.?,?\s+(\d{5})(?:-\d{4})?",
        re.DOTALL,
    )

    def check(self, text: str) -> Verdict:
        value = re.sub(r"\s*,\s*", ", ", " ".join(re.sub(r"\s*\n\s*", ", ", text.strip(" ,.\n")).split()))
        value = re.sub(r"(?:, )+", ", ", value)
        value = re.sub(r"\b([A-Z]{2}),? (?=\d{5}(?:-\d{4})?$)", r"\1 ", value)
        parts = self.FORM.fullmatch(value)
        if parts is None:
            raise RefusedError("not number, street, town, state and ZIP code")
        if parts[2] not in STATES:
            raise RefusedError("no such state")
        words = re.findall(r"[^\W\d_]+", parts[1].lower())
        if not words or not re.search(r"[^\W\d_]{2}", parts[1]):
            raise RefusedError("no street")
        known = bool(set(words) & {way.lower() for way in self.ways}) or not value[0].isdigit()
        fits = parts[3][0] in STATES[parts[2]]
        return Verdict(value, (1.0 if known else 0.7) * (1.0 if fits else GUESSED))


class Name(Node):
    """A name of a person or a company, by its capitals."""

    kind: Literal["name"] = "name"
    companies: list[str] = Field([], description="words that companies end in: such a name may hold digits")
    never: list[str] = Field([], description="words that no name holds")
    joints: list[str] = Field(
        [
            "of",
            "and",
            "the",
            "&",
            "de",
            "del",
            "la",
            "le",
            "van",
            "von",
            "der",
            "den",
            "di",
            "da",
            "bin",
            "al",
        ],
        description="words that names hold in small letters",
    )
    least: int = Field(2, ge=1, description="words of a person's name, at least")
    most: int = Field(6, ge=1, description="words, at most")

    def check(self, text: str) -> Verdict:
        words = text.strip(" ,;:\n").split()
        bare = [word.strip(".,;:()\"'“”").lower() for word in words]
        company = any(word in _lower(self.companies) for word in bare)
        if any(word in _lower(self.never) for word in bare):
            raise RefusedError("holds a word that no name holds")
        if not company and len(words) < self.least:
            raise RefusedError(f"fewer than {self.least} words")
        if company and not set(bare) - _lower([*self.companies, *self.joints]):
            raise RefusedError("a kind of company, and no name")
        if len(words) > self.most:
            raise RefusedError(f"more than {self.most} words")
        if not company and any(re.search(r"\d", word) for word in words):
            raise RefusedError("a digit in a person's name")
        for word, small in zip(words, bare, strict=True):
            if small not in self.joints and not re.match(r"[(\"'“]*[^\W_a-z]", word):
                raise RefusedError("a word in small letters")
        if not company and not any(len(small) > 1 and small not in self.joints for small in bare[-1:]):
            raise RefusedError("no last name")
        value = " ".join(words)
        if not value.endswith(tuple(self.companies)):  # `Inc.` has its stop, a sentence's is none of the name
            value = value.rstrip(".")
        return Verdict(value, 1.0 if company else SHORT_YEAR)


def _lower(words: Sequence[str]) -> set[str]:
    return {word.lower().strip(".") for word in words}


for _config in (Date, Money, Digits, Luhn, Iban, Form, UsAddress, Name):
    validators.add(Component(_config.model_fields["kind"].default, _config, lambda config: config))
