"""What a simulated document is about: people, companies, a house, dates and amounts, as they are printed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

FIRST = (
    "James", "Maria", "Robert", "Linda", "Michael", "Patricia", "David", "Jennifer", "Carlos", "Elena", "Wei",
    "Mei", "Ahmed", "Fatima", "Thomas", "Susan", "Daniel", "Karen", "Paul", "Nancy", "Kevin", "Laura", "Brian",
    "Donna", "George", "Ruth", "Edward", "Carol", "Steven", "Janet", "Raymond", "Alice", "Hiroshi", "Yuki", "Ivan",
    "Olga", "Luis", "Rosa", "Andrew", "Helen", "Peter", "Diane", "Samuel", "Grace", "Victor", "Irene", "Henry",
    "Joyce", "Arthur", "Priya", "Rajesh", "Anita", "Marcus", "Denise", "Omar", "Leila",
)  # fmt: skip
LAST = (
    "Smith", "Johnson", "Garcia", "Miller", "Davis", "Martinez", "Lopez", "Wilson", "Anderson", "Taylor", "Moore",
    "Jackson", "Nguyen", "Chen", "Patel", "Kim", "Walker", "Hall", "Young", "Hernandez", "King", "Wright", "Hill",
    "Scott", "Green", "Baker", "Adams", "Nelson", "Carter", "Mitchell", "Perez", "Roberts", "Turner", "Phillips",
    "Campbell", "Parker", "Evans", "Edwards", "Collins", "Stewart", "Morris", "Rogers", "Reed", "Cook", "Morgan",
    "Bell", "Murphy", "Bailey", "Rivera", "Cooper", "Howard", "Ward", "Torres", "Peterson", "Gray", "Ramirez",
    "Watson", "Brooks", "Sanders", "Price", "Bennett", "Wood", "Barnes", "Ross", "Okafor", "Haddad", "Novak",
    "Tanaka",
)  # fmt: skip
STREETS = (
    "Maple", "Oak", "Cedar", "Elm", "Pine", "Lakeview", "Sunset", "Highland", "Prospect", "Willow", "Chestnut",
    "River", "Orchard", "Meadow", "Valley", "Franklin", "Jefferson", "Lincoln", "Madison", "Monroe", "Harbor",
    "Ridge", "Summit", "Juniper", "Magnolia", "Sycamore", "Laurel", "Mission", "Alameda", "Park",
)  # fmt: skip
WAYS = (
    "Street", "Avenue", "Drive", "Lane", "Road", "Court", "St", "Ave", "Dr", "Ln", "Rd", "Way", "Place", "Blvd",
)  # fmt: skip
TOWNS = (
    ("Fairview", "CA", "94541"), ("Oakdale", "CA", "95361"), ("Riverton", "CA", "92503"), ("San Marino", "CA", "91108"),
    ("Greenville", "SC", "29601"), ("Ashland", "OR", "97520"), ("Bend", "OR", "97701"), ("Salem", "OR", "97301"),
    ("Mesa", "AZ", "85201"), ("Prescott", "AZ", "86301"), ("Boulder", "CO", "80302"), ("Golden", "CO", "80401"),
    ("Georgetown", "TX", "78626"), ("Plano", "TX", "75023"), ("Madison", "WI", "53703"), ("Dayton", "OH", "45402"),
    ("Lancaster", "PA", "17601"), ("Bristol", "CT", "06010"), ("Dover", "NH", "03820"), ("Ocala", "FL", "34470"),
)  # fmt: skip
COUNTIES = (
    "Marin", "Alameda", "Riverside", "Jackson", "Deschutes", "Maricopa", "Boulder", "Travis", "Collin", "Dane",
    "Montgomery", "Lancaster", "Marion",
)  # fmt: skip
FIRMS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "broker": (("Summit", "Keystone", "Harbor", "Golden Gate", "Blue Door", "Cornerstone", "Hearth & Home", "Parkside"),
               ("Realty", "Real Estate Group", "Properties Inc.", "Realty Partners", "Homes LLC")),
    "lender": (("First National", "Pacific Crest", "Liberty", "Evergreen", "Homestead", "Union Valley", "Redwood"),
               ("Bank", "Mortgage Company", "Home Loans Inc.", "Credit Union", "Lending Corp.")),
    "title_company": (("Fidelity West", "Old Town", "Chicago Valley", "Stewardship", "Landmark", "American Crown"),
                      ("Title Company", "Title & Escrow", "Title Insurance Co.", "Escrow Inc.")),
    "association": (("Willow Creek", "Stonebridge", "Lakeside Village", "The Pines", "Harbor Point", "Mesa Verde"),
                    ("Homeowners Association", "Condominium Association", "Community Association", "Owners Association Inc.")),
    "inspector": (("Clearview", "A-Plus", "Cascade", "Solid Rock", "Certified", "Eagle Eye"),
                  ("Home Inspections", "Inspection Services LLC", "Building Consultants", "Property Inspectors Inc.")),
    "company": (("Bright", "Northside", "Delta", "Acme", "Sierra", "Metro", "Hillcrest", "Atlas"),
                ("Plumbing Inc.", "Landscaping LLC", "Insurance Agency", "Moving & Storage", "Roofing Co.", "Law Group",
                 "Consulting LLC", "Cleaning Services", "Electric Co.", "Home Warranty Corp.")),
}  # fmt: skip
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
DATE_STYLES = ("long", "long", "slash", "slash", "short", "iso", "day_first", "legal")


@dataclass(frozen=True, eq=False)
class Entity:
    """Something printed that can be looked for. kind: party, address, date, money, parcel or loan; value: its plain form."""

    kind: str
    text: str
    value: str


Word = tuple[str, Entity | None]  # as printed, with the entity that it belongs to


def _day(day: date, style: str) -> Entity:
    month = MONTHS[day.month - 1]
    suffix = "th" if 10 < day.day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    text = {
        "long": f"{month} {day.day}, {day.year}",
        "slash": f"{day.month:02d}/{day.day:02d}/{day.year}",
        "short": f"{month[:3]} {day.day}, {day.year}",
        "iso": day.isoformat(),
        "day_first": f"{day.day} {month} {day.year}",
        "legal": f"{day.day}{suffix} day of {month}, {day.year}",
    }[style]
    return Entity("date", text, day.isoformat())


def _amount(cents: int, style: str) -> Entity:
    whole, part = divmod(cents, 100)
    exact = part or style == "cents"
    text = f"{whole:,}.{part:02d}" if exact else f"{whole:,}"
    return Entity("money", f"USD {text}" if style == "usd" else f"${text}", f"{whole}.{part:02d}")


class Facts:
    """One matter: who sells which house to whom, through whom, when and for how much; `say` prints a piece of it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.date_style = rng.choice(DATE_STYLES)
        self.money_style = rng.choice(("plain", "plain", "cents", "cents", "usd"))
        self.begun = date(2008, 1, 1) + timedelta(days=rng.randrange(5_800))
        price = 1_000 * rng.randint(140, 1_450) + rng.choice((0, 0, 0, 500))
        share = rng.choice((0.6, 0.7, 0.75, 0.8, 0.9))
        round_sums = {  # dollars, to the hundred
            "price": price, "deposit": price * rng.choice((0.01, 0.02, 0.03)), "loan_amount": price * share,
            "assessed": price * rng.uniform(0.5, 0.95), "land": price * rng.uniform(0.15, 0.35),
        }  # fmt: skip
        self.cents = {name: 10_000 * round(amount / 100) for name, amount in round_sums.items()} | {
            "tax": int(price * rng.uniform(0.8, 1.6)), "dues": 100 * rng.randint(45, 780), "payment": int(price * share * rng.uniform(0.5, 0.75)),
        }  # fmt: skip
        self.days = {"day": self.begun, "closing": self.begun + timedelta(days=rng.randint(25, 75)),
                     "expires": self.begun + timedelta(days=rng.randint(85, 370))}  # fmt: skip
        town, state, code = rng.choice(TOWNS)
        self.town, self.state, self.code = town, state, code
        self.county = rng.choice(COUNTIES)
        self.year = str(self.begun.year)
        self.parcel = f"{rng.randint(100, 999)}-{rng.randint(100, 999)}-{rng.randint(10, 99)}"
        self.loan = rng.choice(
            (f"{rng.randrange(10**9, 10**10)}", f"{rng.randint(10, 99)}-{rng.randrange(10**6, 10**7)}")
        )
        self.house = self._address(town, state, code)
        surname = rng.choice(LAST)
        self.parties = {
            "buyer": self._couple(), "seller": self._person(surname), "agent": self._person(), "officer": self._person(),
            "notary": self._person(), "chair": self._person(), "client": self._person(), "witness": self._person(),
        }  # fmt: skip
        self.parties |= {
            role: f"{rng.choice(names)} {rng.choice(kinds)}" for role, (names, kinds) in FIRMS.items()
        }
        self.plain: Mapping[str, Callable[[], str]] = {
            "n": lambda: str(rng.randint(2, 30)), "few": lambda: str(rng.randint(1, 6)),
            "pct": lambda: f"{rng.choice((1, 1.5, 2, 2.5, 3, 5, 6))}%",
            "rate": lambda: f"{rng.randint(2750, 7625) / 1000:.3f}%", "big": lambda: f"{rng.randint(900, 9800):,}",
            "county": lambda: f"{self.county} County", "town": lambda: self.town, "state": lambda: self.state,
            "somewhere": lambda: rng.choice(TOWNS)[0], "year": lambda: self.year,
            "built": lambda: str(rng.randint(1921, 2006)), "book": lambda: str(rng.randint(100, 2400)),
            "phone": lambda: f"({rng.randint(201, 989)}) 555-{rng.randint(100, 9999):04d}",
            "ref": lambda: f"{rng.choice('ABCDEFGHKLMNPRST')}{rng.choice('ABCDEFGHKLM')}-{rng.randint(1000, 99999)}",
        }  # fmt: skip

    def say(self, slot: str) -> list[Entity | str]:
        """What a slot prints; a couple are two parties. Raises KeyError for a slot that is not known."""
        if slot in self.parties:
            one, *other = self.parties[slot].split(" and ")
            return [
                Entity("party", one, one),
                *(piece for name in other for piece in (" and ", Entity("party", name, name))),
            ]
        return [self._one(slot)]

    def _one(self, slot: str) -> Entity | str:
        rng = self.rng
        if slot in self.cents:
            return _amount(self.cents[slot], self.money_style)
        if slot in self.days:
            return _day(self.days[slot], self.date_style)
        if slot == "date":  # some day around
            return _day(self.begun + timedelta(days=rng.randint(-400, 90)), self.date_style)
        if slot == "money":
            return _amount(rng.randint(300, 250_000) * rng.choice((1, 10, 100)), self.money_style)
        if slot == "fee":
            return _amount(rng.randint(20, 2_500) * 100 + rng.choice((0, 0, 50, 75)), self.money_style)
        if slot == "address":
            return Entity("address", self.house, self.house)
        if slot == "elsewhere":
            text = self._address(*rng.choice(TOWNS))
            return Entity("address", text, text)
        if slot == "person":
            text = self._person()
            return Entity("party", text, text)
        if slot == "apn":
            return Entity("parcel", self.parcel, self.parcel)
        if slot == "loan":
            return Entity("loan", self.loan, self.loan)
        return self.plain[slot]()

    def _person(self, surname: str | None = None) -> str:
        rng = self.rng
        middle = f"{rng.choice('ABCDEFGHJKLMNPRSTW')}. " if rng.random() < 0.35 else ""
        return f"{rng.choice(FIRST)} {middle}{surname or rng.choice(LAST)}"

    def _couple(self) -> str:
        one = self._person()
        return f"{one} and {self._person(one.split()[-1])}" if self.rng.random() < 0.3 else one

    def _address(self, town: str, state: str, code: str) -> str:
        rng = self.rng
        unit = rng.choice(("", "", "", "", f" Unit {rng.randint(1, 48)}", f" #{rng.randint(1, 320)}"))
        return (
            f"{rng.randint(12, 9890)} {rng.choice(STREETS)} {rng.choice(WAYS)}{unit}, {town}, {state} {code}"
        )


ROLES: Mapping[str, tuple[str, ...]] = {
    "buyer": ("Buyer", "Buyer", "Purchaser"), "seller": ("Seller", "Seller", "Vendor", "Owner"),
    "property": ("Property", "property", "Premises", "real property", "Home"), "agreement": ("Agreement", "Contract", "agreement"),
    "broker": ("Broker", "Listing Broker", "Agent", "Brokerage"), "lender": ("Lender", "Bank", "Mortgagee", "Note Holder"),
    "borrower": ("Borrower", "Mortgagor", "Trustor"), "closing": ("closing", "close of escrow", "settlement"),
    "association": ("Association", "HOA", "Community"), "sale": ("sale", "transaction", "transfer"),
}  # fmt: skip
_CHOICE, _ROLE, _SLOT = re.compile(r"\[([^\[\]]*)\]"), re.compile(r"<(\w+)>"), re.compile(r"\{(\w+)\}")


def worded(pattern: str, facts: Facts, roles: Mapping[str, str]) -> list[Word]:
    """Words of a pattern: `[one|other]` is a choice, `<buyer>` a role as the template calls it, `{price}` a fact."""
    while "[" in pattern:
        pattern = _CHOICE.sub(lambda found: facts.rng.choice(found[1].split("|")), pattern)
    pattern = _ROLE.sub(lambda found: roles[found[1]], pattern)
    pattern = re.sub(r"\s+([.,;])", r"\1", pattern)  # where a choice said nothing
    text, spans = "", []
    for index, piece in enumerate(_SLOT.split(pattern)):
        for said in facts.say(piece) if index % 2 else [piece]:
            if isinstance(said, Entity):
                spans.append((len(text), len(text) + len(said.text), said))
                text += said.text
            else:
                text += said[1:] if text.endswith(".") and said.startswith(".") else said
    found: list[Word] = []
    for word in re.finditer(r"\S+", text):
        marks = [entity for begin, end, entity in spans if begin < word.end() and word.start() < end]
        found.append((word[0], marks[0] if marks else None))
    return found
