"""The people of the donor world and the ties between them: everything that is drawn once.

All arrays are in order of arrival, so the donors on file in a month are a prefix of each array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.sparse import csr_array

Array = np.ndarray
Block = TypeVar("Block")  # a dataclass of arrays of one length

FIRST_YEAR, MONTHS = 2016, 108  # the ledger covers 2016-01 to 2024-12
MONTH_START = np.arange("2016-01", "2025-02", dtype="datetime64[M]").astype("datetime64[D]").astype(np.int32)
END = int(MONTH_START[MONTHS])  # 2025-01-01, in days since 1970, as all days here

TYPES = ("Alum", "Parent", "Friend", "Faculty/Staff", "Corporate Contact", "Trustee")
TYPE_SHARE = (0.48, 0.18, 0.21, 0.05, 0.07, 0.01)
TYPE_AFFINITY = np.array([0.2, 0.0, -0.2, 0.1, -0.3, 1.0], np.float32)
TYPE_CAPACITY = np.array([0.0, 0.2, -0.1, -0.2, 0.4, 1.5], np.float32)
REGIONS = ("Northeast", "Mid-Atlantic", "South", "Midwest", "Southwest", "Mountain", "West", "International")
REGION_SHARE = (0.24, 0.16, 0.15, 0.16, 0.08, 0.05, 0.12, 0.04)
PERIODS, PERIOD_SHARE = (0, 1, 3, 6, 12), (0.28, 0.14, 0.12, 0.12, 0.34)  # months; 0 is irregular

CATEGORIES = ("family", "professional", "alumni", "activity", "social")
INFLUENCE = np.array([1.0, 0.7, 0.0, 0.0, 0.2], np.float32)
RELATIONS = (  # name and category; the order is the code in `Ties.relation`
    *(("spouse", 0), ("parent", 0), ("sibling", 0)),
    *(("colleague", 1), ("business partner", 1), ("mentor", 1)),
    *(("classmate", 2), ("alumni chapter", 2)),
    *(("committee", 3), ("club", 3)),
    *(("friend", 4), ("neighbor", 4)),
)
CATEGORY_OF = np.array([category for _, category in RELATIONS], np.int8)


@dataclass(frozen=True)
class People:
    """One entry per donor, in order of arrival; float32 traits are roughly standard normal. All [donors]."""

    number: Array  # int32, the digits of the ID: a random permutation
    added: Array  # int32, day the record became known
    arrival: Array  # int16, month of `added` counted from 2016-01; -1 before the ledger begins
    household: Array  # int32
    role: Array  # int8, within the household: 0 and 1 a couple, 2 and up their children
    type: Array  # int8 into TYPES
    region: Array  # int8 into REGIONS
    age: Array  # int16, in years at `added`
    affinity: Array
    capacity: Array
    receptivity: Array  # in (0, 1)
    taste: Array  # for events
    period: Array  # float32, months between gifts when committed; 0 is irregular
    managed: Array  # bool, staff visit


@dataclass(frozen=True)
class Ties:
    """Undirected ties, each pair once, as positions in `People`. All [ties]."""

    a: Array  # int32
    b: Array  # int32
    relation: Array  # int8 into RELATIONS
    strength: Array  # float32 in (0, 1]
    since: Array  # int32, day the institution learns of it; at or after END: never in the tables


def first(block: Block, n: int) -> Block:
    """The same dataclass of arrays, with views of the first n entries."""
    return type(block)(**{name: array[:n] for name, array in vars(block).items()})


def draw(size: int, rng: np.random.Generator) -> tuple[People, Ties]:
    """A population and its ties."""
    people = _people(size, rng)
    return people, _ties(people, rng)


def influence_matrix(ties: Ties, size: int) -> csr_array:
    """How much of a neighbour's glow reaches a donor: strength × weight of the kind. [donors, donors]."""
    weight = ties.strength * INFLUENCE[CATEGORY_OF[ties.relation]]
    acts = weight > 0
    a, b, weight = ties.a[acts], ties.b[acts], weight[acts]
    entries = (np.concatenate([weight, weight]), (np.concatenate([a, b]), np.concatenate([b, a])))
    return csr_array(entries, shape=(size, size))


def _people(size: int, rng: np.random.Generator) -> People:
    def normal() -> Array:
        return rng.standard_normal(size, dtype=np.float32)

    members = rng.choice(np.arange(1, 5), size, p=(0.70, 0.21, 0.06, 0.03))  # more households than needed
    household = np.repeat(np.arange(size, dtype=np.int32), members)[:size]
    begins = np.concatenate([[0], np.cumsum(members)])[household]
    role = (np.arange(size) - begins).astype(np.int8)

    kind = rng.choice(len(TYPES), size, p=TYPE_SHARE).astype(np.int8)
    home_age = np.clip(49 + 15 * normal(), 22, 88)[household]
    age = np.where(role < 2, home_age + 2 * normal(), home_age - 27 + 3 * normal())
    age = np.clip(age, 19, 95).astype(np.int16)
    affinity = TYPE_AFFINITY[kind] + np.sqrt(0.5) * (normal()[household] + normal())
    home = normal()[household]
    capacity = (
        TYPE_CAPACITY[kind]
        + np.sqrt(0.7) * home
        + np.sqrt(0.3) * normal()
        + (age - 49).astype(np.float32) / 60
    )

    founder = rng.random(size) < 0.45
    ledger_day = int(MONTH_START[0])
    before = ledger_day - 1 - rng.integers(0, 12 * 365, size)
    month = rng.integers(0, MONTHS, size)
    within = rng.integers(1, 27, size)  # from the 2nd on: nothing happens on New Year's Day
    added = np.where(founder, before, MONTH_START[month] + within).astype(np.int32)
    arrival = np.where(founder, -1, month).astype(np.int16)

    taste = normal()
    receptivity = 1 / (1 + np.exp(-(normal() + 0.4 * taste)))
    managed = rng.random(size) < 1 / (1 + np.exp(3.0 - 1.2 * capacity))
    people = People(
        number=(rng.permutation(size) + 1).astype(np.int32),
        added=added,
        arrival=arrival,
        household=household,
        role=role,
        type=kind,
        region=rng.choice(len(REGIONS), size, p=REGION_SHARE).astype(np.int8)[household],
        age=age,
        affinity=affinity.astype(np.float32),
        capacity=capacity.astype(np.float32),
        receptivity=receptivity.astype(np.float32),
        taste=taste,
        period=rng.choice(np.array(PERIODS, np.float32), size, p=PERIOD_SHARE),
        managed=managed,
    )
    order = np.lexsort((people.number, people.added))
    return People(**{name: array[order] for name, array in vars(people).items()})


def _ties(people: People, rng: np.random.Generator) -> Ties:
    size = len(people.number)
    # Lognormal sociability gives heavy-tailed degrees; one donor in eight knows nobody on file.
    sociable = np.exp(rng.standard_normal(size) - 0.5) * (rng.random(size) > 0.12)
    employer = (max(size // 25, 1) * rng.random(size) ** 2).astype(np.int64)  # a few large, many small
    graduate = people.type == TYPES.index("Alum")
    cohort = people.added // 365 - people.age  # year of birth, so about the class
    club = rng.integers(0, max(size // 40, 1), size)
    hood = people.region.astype(np.int64) * 1_000_000 + rng.integers(0, max(size // 800, 1), size)

    found = [_households(people)]
    for category, group, degree in (
        (1, employer, 4.0 * (rng.random(size) < 0.6)),
        (2, cohort, 5.0 * graduate),
        (3, club, 2.0),
        (4, hood, 3.0),
    ):
        a, b = _pairs(group, rng.poisson(degree * sociable), rng)
        codes = np.flatnonzero(category == CATEGORY_OF)
        found.append((a, b, rng.choice(codes, len(a), p=_fading(len(codes))).astype(np.int8)))
    a, b, relation = (np.concatenate(parts) for parts in zip(*found, strict=True))

    low, high = np.minimum(a, b), np.maximum(a, b)
    _, kept = np.unique(low.astype(np.int64) * size + high, return_index=True)  # the closest kind stays
    a, b, relation = low[kept].astype(np.int32), high[kept].astype(np.int32), relation[kept]
    shape = np.array([(6, 2), (3, 3), (2, 4), (2, 4), (3, 3)])[CATEGORY_OF[relation]]
    strength = np.clip(np.round(rng.beta(shape[:, 0], shape[:, 1]), 3), 0.05, 1).astype(np.float32)
    lag = np.where(rng.random(len(a)) < 0.6, 0, rng.exponential(900, len(a)))
    since = (np.maximum(people.added[a], people.added[b]) + lag).astype(np.int32)
    return Ties(a, b, relation, strength, since + np.isin(since, MONTH_START[::12]))


def _households(people: People) -> tuple[Array, Array, Array]:
    """Every pair within a household: the couple, parents with children, siblings."""
    order = np.lexsort((people.role, people.household))
    home, role = people.household[order], people.role[order]
    parts = []
    for step in (1, 2, 3):
        same = np.flatnonzero(home[step:] == home[:-step])
        older, younger = role[same], role[same + step]
        code = np.where(younger == 1, 0, np.where(older < 2, 1, 2)).astype(np.int8)
        parts.append((order[same], order[same + step], code))
    a, b, relation = (np.concatenate(part) for part in zip(*parts, strict=True))
    return a, b, relation


def _pairs(group: Array, degree: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Random pairs within groups so that a donor has about `degree` of them (configuration model)."""
    stubs = np.repeat(np.arange(len(group)), degree)
    stubs = rng.permutation(stubs)
    stubs = stubs[np.argsort(group[stubs], kind="stable")]
    a, b = stubs[0::2][: len(stubs) // 2], stubs[1::2]
    good = (group[a] == group[b]) & (a != b)
    return a[good], b[good]


def _fading(n: int) -> Array:
    """Shares 1/2, 1/4, … that sum to 1."""
    share = 0.5 ** np.arange(n)
    return share / share.sum()
