"""What happens to portals: who they are, how their interest moves, when they buy. Nothing of what is exported.

All arrays are [portals], in the order in which portals are drawn, which is random in every respect.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Array = np.ndarray

RANGES = (  # text in the export, share, how well such a company fits
    ("1 to 5", 0.34, -0.6),
    ("6 to 10", 0.17, -0.2),
    ("11 to 25", 0.15, 0.3),
    ("26 to 50", 0.11, 0.6),
    ("51 to 200", 0.11, 0.7),
    ("201 to 1000", 0.07, 0.5),
    ("1,001 to 10,000", 0.04, 0.1),
    ("10,001 or more", 0.01, -0.5),
)
INDUSTRIES = (
    "Software",
    "Marketing",
    "Consulting",
    "Retail",
    "Manufacturing",
    "Education",
    "Health",
    "Finance",
)
INDUSTRY_FIT = np.array([0.4, 0.3, 0.2, -0.1, 0.0, -0.4, -0.2, 0.1], np.float32)
PRODUCTS = ("CRM_CONTACTS", "CRM_COMPANIES", "CRM_DEALS", "EMAIL")
TASTE = np.array([0.4, -0.2, -0.5, 0.0], np.float32)  # how soon a product is tried

MEMORY, SHOCK = 0.92, 0.30  # of the interest, from week to week
SPARK, SPARK_GROWS, SPARK_FADES = (
    0.004,
    6,
    0.80,
)  # chance of a project each week; weeks that it grows; then memory
PUSH = 0.45  # what a growing project adds each week
BASE, OF_INTEREST, OF_PROJECT, OF_FIT = -7.4, 1.3, 1.0, 0.4  # logit of closing in a week
WEEKDAY = np.array([0.19, 0.20, 0.20, 0.19, 0.16, 0.03, 0.03])  # on which day, Monday first


@dataclass(frozen=True)
class Portals:
    """Drawn once; fit and taste are never shown."""

    arrival: Array  # int32, the week in which it is first used; negative: before the first week
    range: Array  # int8 into RANGES
    industry: Array  # int8 into INDUSTRIES
    ranked: Array  # bool, has a traffic rank
    rank: Array  # int32
    fit: Array  # float32
    taste: Array  # float32 [portals, products]
    threshold: Array  # float32, the sum of hazards at which it closes: exponential, mean 1
    weekday: Array  # int8, the day of the week on which it closes, 0 is Monday


@dataclass
class State:
    """Hidden, moving weekly. interest: a slow wave around what fits; project: of an evaluation under way;
    left: weeks that it goes on growing; float32, float32, int8 [portals]."""

    interest: Array
    project: Array
    left: Array

    @property
    def drive(self) -> Array:
        """What moves usage."""
        return self.interest + self.project


def draw(size: int, weeks: int, rng: np.random.Generator) -> Portals:
    """A population."""
    share = np.array([share for _, share, _ in RANGES])
    employees = rng.choice(len(RANGES), size, p=share / share.sum()).astype(np.int8)
    industry = rng.integers(0, len(INDUSTRIES), size).astype(np.int8)
    ranked = rng.random(size) < 0.35 + 0.03 * employees
    rank = np.clip(np.exp(15.2 - 0.25 * employees + 1.2 * rng.standard_normal(size)), 1_000, 15_900_000)
    fit = np.array([fit for *_, fit in RANGES])[employees] + INDUSTRY_FIT[industry] + 0.3 * ranked
    fit = fit + 0.6 * rng.standard_normal(size)
    founder = rng.random(size) < 0.55
    arrival = np.where(founder, -rng.integers(1, 120, size), rng.integers(0, weeks, size))
    return Portals(
        arrival=arrival.astype(np.int32),
        range=employees,
        industry=industry,
        ranked=ranked,
        rank=rank.astype(np.int32),
        fit=fit.astype(np.float32),
        taste=(TASTE + 0.7 * rng.standard_normal((size, len(PRODUCTS)))).astype(np.float32),
        threshold=rng.standard_exponential(size, dtype=np.float32),
        weekday=rng.choice(7, size, p=WEEKDAY).astype(np.int8),
    )


def start(portals: Portals, rng: np.random.Generator) -> State:
    """The state before the first week, at rest around each portal's own level."""
    size = len(portals.fit)
    spread = SHOCK / np.sqrt(1 - MEMORY**2)
    interest = level(portals) + spread * rng.standard_normal(size, dtype=np.float32)
    return State(interest.astype(np.float32), np.zeros(size, np.float32), np.zeros(size, np.int8))


def level(portals: Portals) -> Array:
    """The interest to which a portal returns."""
    return (0.35 * portals.fit).astype(np.float32)


def step(state: State, portals: Portals, rng: np.random.Generator) -> None:
    """One week on, in place."""
    size = len(state.interest)
    own = level(portals)
    state.interest += (MEMORY - 1) * (state.interest - own) + SHOCK * rng.standard_normal(
        size, dtype=np.float32
    )
    begins = (state.left == 0) & (rng.random(size, dtype=np.float32) < SPARK * np.exp(0.5 * portals.fit))
    state.left[begins] = SPARK_GROWS
    growing = state.left > 0
    state.project = np.where(growing, state.project + PUSH, SPARK_FADES * state.project).astype(np.float32)
    state.left[growing] -= 1


def hazard(state: State, portals: Portals, week: int) -> Array:
    """The chance of closing in the week [portals]; none before a portal is there."""
    logit = BASE + OF_INTEREST * state.interest + OF_PROJECT * state.project + OF_FIT * portals.fit
    return np.where(portals.arrival <= week, 1 / (1 + np.exp(-logit)), 0.0)


def weeks_of(portals: Portals, weeks: int, seed: int) -> Iterator[tuple[int, State]]:
    """The true state of every week, the same each time that it is asked for."""
    rng = np.random.default_rng([seed, 1])
    state = start(portals, rng)
    for week in range(weeks):
        step(state, portals, rng)
        yield week, state
