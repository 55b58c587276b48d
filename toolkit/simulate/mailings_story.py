"""What happens to recipients of mailings: who they are, what is sent, what they do. Nothing of what is exported.

Arrays are [recipients], or [sends] of one week, in the order in which recipients are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

Array = np.ndarray

FIRST_DAY = date(2023, 1, 2)  # a Monday
SEGMENTS = ("retail", "education", "health", "finance", "nonprofit")
REGIONS = ("north", "south", "east", "west")
TIERS = ("bronze", "silver", "gold")
TOPICS = ("product", "events", "offers", "stories", "education")
TYPES = ("newsletter", "promotion", "announcement", "digest", "survey")
CAMPAIGNS = 4  # a week
HOLIDAYS = tuple(
    date.fromisoformat(day)
    for day in [
        "2023-01-02",
        "2023-01-16",
        "2023-02-20",
        "2023-05-29",
        "2023-06-19",
        "2023-07-04",
        "2023-09-04",
        "2023-10-09",
        "2023-11-10",
        "2023-11-23",
        "2023-12-25",
        "2024-01-01",
        "2024-01-15",
        "2024-02-19",
        "2024-05-27",
        "2024-06-19",
        "2024-07-04",
        "2024-09-02",
        "2024-10-14",
        "2024-11-11",
        "2024-11-28",
        "2024-12-25",
        "2025-01-01",
    ]
)
BLACK_FRIDAYS = (date(2023, 11, 24), date(2024, 11, 29))

HABIT, INTEREST, MOOD, MEMORY = 1.5, 0.8, 0.5, 0.9  # spreads of what differs; of the mood from week to week
FETCHES, FETCHED = 0.25, 0.96  # share of mail programs that fetch images, and of mailings that they report
FETCHED_AFTER = 0.1  # hours
TIRES, RECOVERS = 0.35, 0.7  # what a unit of fatigue takes from the logit; what a week leaves of it
OPEN, CLICK, ACT = -0.9, -2.6, -1.7  # intercepts
DELAY = (
    (np.log(3.0), 1.3),
    (np.log(0.05), 0.8),
    (np.log(5.0), 1.5),
)  # of each step, hours: mean, spread of the log
STEPS = ("open", "click", "action")


@dataclass(frozen=True)
class People:
    """Drawn once. asked: topic asked for, -1 for none; pace: how often they are mailed; habit, interest
    [recipients, topics], hour, bargain and fetches are never shown."""

    segment: Array
    region: Array
    tier: Array
    arrival: Array  # day counted from FIRST_DAY; negative: before it
    asked: Array
    pace: Array
    habit: Array
    interest: Array
    hour: Array
    bargain: Array
    fetches: Array


@dataclass(frozen=True)
class Campaigns:
    """One week's. day: 0 is Monday; appeal is never shown."""

    type: Array
    topic: Array
    day: Array
    hour: Array
    subject_length: Array
    personalised: Array
    discount: Array  # per cent
    images: Array
    appeal: Array


@dataclass(frozen=True)
class Week:
    """One week's mailings. who, campaign: [sends]; chance: [sends, 3] that the owner opens, that one who opened
    clicks, that one who clicked acts; after: hours from the mailing to each step as reported [sends, 3], NaN where
    it does not happen."""

    number: int
    campaigns: Campaigns
    who: Array
    campaign: Array
    chance: Array
    after: Array

    @property
    def sent(self) -> Array:
        """Hours from the week's beginning [sends]."""
        return 24 * self.campaigns.day[self.campaign] + self.campaigns.hour[self.campaign]


def draw(size: int, weeks: int, rng: np.random.Generator) -> People:
    """A population."""
    segment = rng.integers(0, len(SEGMENTS), size)
    tier = rng.choice(len(TIERS), size, p=[0.55, 0.30, 0.15])
    interest = INTEREST * rng.standard_normal((size, len(TOPICS)))
    interest[np.arange(size), segment] += (
        0.4  # segments and topics are as many; each segment has one of its own
    )
    told = rng.random(size) < 0.5
    favourite = (interest + 0.5 * rng.standard_normal(interest.shape)).argmax(axis=1)
    founder = rng.random(size) < 2 / 3
    return People(
        segment=segment,
        region=rng.integers(0, len(REGIONS), size),
        tier=tier,
        arrival=np.where(founder, -rng.integers(1, 1_500, size), rng.integers(0, 7 * weeks, size)),
        asked=np.where(told, favourite, -1),
        pace=rng.beta(5, 2.5, size),
        habit=HABIT * rng.standard_normal(size) + 0.25 * tier,
        interest=interest,
        hour=np.clip(np.where(rng.random(size) < 0.7, 9.5, 19.5) + 2 * rng.standard_normal(size), 5, 23),
        bargain=np.maximum(rng.standard_normal(size), 0),
        fetches=rng.random(size) < FETCHES,
    )


def campaigns_of(rng: np.random.Generator) -> Campaigns:
    """Four campaigns of a week, of different topics."""
    topic = rng.permutation(len(TOPICS))[:CAMPAIGNS]
    type_ = rng.integers(0, len(TYPES), CAMPAIGNS)
    sells = (TYPES.index("promotion") == type_) | (TOPICS.index("offers") == topic)
    return Campaigns(
        type=type_,
        topic=topic,
        day=rng.choice(6, CAMPAIGNS, p=[0.16, 0.25, 0.22, 0.21, 0.11, 0.05]),
        hour=rng.choice([7, 9, 10, 14, 17, 19], CAMPAIGNS, p=[0.1, 0.25, 0.25, 0.2, 0.1, 0.1]),
        subject_length=np.clip(np.round(rng.normal(48, 15, CAMPAIGNS)), 12, 110).astype(int),
        personalised=rng.random(CAMPAIGNS) < 0.45,
        discount=np.where(sells, rng.choice([0, 10, 15, 20, 30], CAMPAIGNS), 0),
        images=rng.poisson(2.5, CAMPAIGNS),
        appeal=0.35 * rng.standard_normal(CAMPAIGNS),
    )


def weeks_of(people: People, weeks: int, seed: int) -> Iterator[Week]:
    """Every week's mailings and what becomes of them, the same each time that it is asked for."""
    rng = np.random.default_rng([seed, 1])
    size = len(people.habit)
    mood = MOOD * rng.standard_normal(size)
    fatigue = people.pace / (1 - RECOVERS)
    for number in range(weeks):
        mood = MEMORY * mood + MOOD * np.sqrt(1 - MEMORY**2) * rng.standard_normal(size)
        campaigns = campaigns_of(rng)
        busy = _busy(number)
        mailed = rng.random(size) < np.where(busy, np.maximum(people.pace, 0.9), people.pace)
        taste = rng.gumbel(size=(size, CAMPAIGNS)) + 1.2 * (campaigns.topic == people.asked[:, None])
        chosen = taste.argmax(axis=1)
        who = np.flatnonzero(mailed & (people.arrival < 7 * number))
        chance = _chances(people, campaigns, who, chosen[who], mood[who], fatigue[who], number)
        happens = np.logical_and.accumulate(rng.random(chance.shape) < chance, axis=1)
        after = np.where(happens, delays(len(who), rng), np.nan)
        fetched = people.fetches[who] & (rng.random(len(who)) < FETCHED)
        after[fetched, 0] = FETCHED_AFTER
        yield Week(number, campaigns, who, chosen[who], chance, after)
        fatigue = RECOVERS * fatigue
        fatigue[who] += 1


def delays(sends: int, rng: np.random.Generator) -> Array:
    """Hours from the mailing to each step [sends, 3]."""
    each = [np.exp(mean + spread * rng.standard_normal(sends)) for mean, spread in DELAY]
    return np.cumsum(each, axis=0).T


def _busy(number: int) -> bool:
    """A week with Black Friday in it, the week before, or one before the end of the year."""
    begin = FIRST_DAY + timedelta(days=7 * number)
    near = any(timedelta(days=-7) < begin - day < timedelta(days=7) for day in BLACK_FRIDAYS)
    return near or (begin.month == 12 and begin.day < 22)


def _chances(
    people: People,
    campaigns: Campaigns,
    who: Array,
    campaign: Array,
    mood: Array,
    fatigue: Array,
    number: int,
) -> Array:
    """[sends, 3], as `Week.chance`."""
    day = [FIRST_DAY + timedelta(days=7 * number + int(one)) for one in campaigns.day]
    holiday = np.array([_rest(one) for one in day])[campaign]
    sale = np.array([any(abs((one - friday).days) <= 4 for friday in BLACK_FRIDAYS) for one in day])[campaign]
    interest = people.interest[who, campaigns.topic[campaign]]
    discount = campaigns.discount[campaign] / 10
    apart = np.abs(campaigns.hour[campaign] - people.hour[who])
    near = np.exp(-((np.minimum(apart, 24 - apart) / 4) ** 2))
    survey = campaigns.type[campaign] == TYPES.index("survey")
    opens = (
        OPEN + people.habit[who] + mood + interest + campaigns.appeal[campaign]
        + 0.3 * campaigns.personalised[campaign] + 0.5 * near - TIRES * (fatigue - 1.5)
        - 0.3 * ((campaigns.subject_length[campaign] - 45) / 25) ** 2
        - 0.9 * holiday - 0.4 * survey
        + 0.25 * discount * people.bargain[who] + 0.35 * discount * sale
    )  # fmt: skip
    clicks = (
        CLICK + 0.3 * people.habit[who] + 0.8 * interest + 0.3 * discount * (0.5 + people.bargain[who])
        + 0.15 * np.minimum(campaigns.images[campaign], 4) - 0.5 * holiday
    )  # fmt: skip
    tenure = np.clip(7 * number - people.arrival[who], 0, 1_000) / 1_000
    acts = ACT + 0.5 * people.tier[who] + 0.6 * tenure + 0.5 * interest + 0.15 * discount
    return 1 / (1 + np.exp(-np.column_stack([opens, clicks, acts])))


def _rest(day: date) -> float:
    """How much of a holiday a day is."""
    if day in HOLIDAYS:
        return 1.0
    return 0.5 if (day.month, day.day) >= (12, 24) else 0.0
