"""What happens to users of a community: who they are, how mood and drive move, when they leave. Nothing exported.

All arrays are [users], in the order in which users are drawn, which is random in every respect.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

Array = np.ndarray

REGIONS = (  # name, hours ahead of UTC, share
    ("Americas West", -8, 0.14),
    ("Americas East", -5, 0.22),
    ("Europe", 1, 0.34),
    ("South Asia", 5, 0.16),
    ("East Asia", 8, 0.14),
)
PEAKS = ((9.0, 1.5, 0.30), (13.0, 1.5, 0.25), (20.5, 1.8, 0.45))  # local hour, spread, share of users

MOOD_MEMORY, MOOD_SHOCK = 0.85, 0.35  # from week to week
BAD, BAD_COSTS = 0.008, 1.5  # chance of a bad experience in a week; what it takes off the mood
DRIVE_MEMORY, DRIVE_SHOCK, OF_MOOD = 0.92, 0.22, 0.06
FADES, FADES_FOR, FADE = 0.006, 5, 0.45  # chance in a usual mood; weeks; what each takes off the drive
MOST_DRIVE = 3.2
USUAL_MOOD, USUAL_DRIVE = 0.3, 0.6
LEAVE, LEAVE_MOOD, LEAVE_DRIVE, LEAVE_NEW, NEW = (
    -5.4,
    -0.9,
    -0.8,
    1.0,
    3,
)  # logit of leaving; weeks one is new

OPINION = 0.55  # share of messages with a tone
TONE_BASE, TONE_MOOD, TONE_SPREAD = 0.1, 1.3, 0.6  # logit of a positive one; spread from message to message

ANSWER, ANSWER_HOUR, ANSWER_DAY, ANSWER_MOOD, ANSWER_DRIVE, ANSWER_TIRED = -0.9, 0.9, 0.6, 0.4, 0.5, -0.4


@dataclass(frozen=True)
class Users:
    """Drawn once; what is shown of them is the week of arrival and the region."""

    arrival: Array  # int32, week of joining; negative: before the first week
    region: Array  # int8 into REGIONS
    mood: Array  # float64, to which the mood returns
    drive: Array  # float64, to which the drive returns
    quick: Array  # float64, log of the usual seconds to a reply, against everybody's
    peak: Array  # float64, hour of the day in UTC around which most is written
    sharp: Array  # float64, how much the hours differ
    weekend: Array  # float64, log of a weekend day against a working day
    patience: Array  # float64, the sum of hazards at which a user leaves: exponential, mean 1


@dataclass
class State:
    """Hidden, moving weekly: float64, float64, int8 [users]. fading: weeks that the interest still wanes."""

    mood: Array
    drive: Array
    fading: Array

    def copy(self) -> State:
        return State(self.mood.copy(), self.drive.copy(), self.fading.copy())


def draw(size: int, weeks: int, rng: np.random.Generator) -> Users:
    """A population."""
    share = np.array([share for *_, share in REGIONS])
    region = rng.choice(len(REGIONS), size, p=share / share.sum()).astype(np.int8)
    hours, spread, kinds = (np.array(part) for part in zip(*PEAKS, strict=True))
    kind = rng.choice(len(PEAKS), size, p=kinds)
    local = hours[kind] + spread[kind] * rng.standard_normal(size)
    offset = np.array([offset for _, offset, _ in REGIONS])[region]
    founder = rng.random(size) < 0.66
    arrival = np.where(founder, -rng.integers(1, 150, size), rng.integers(0, weeks, size))
    return Users(
        arrival=arrival.astype(np.int32),
        region=region,
        mood=USUAL_MOOD + 0.5 * rng.standard_normal(size),
        drive=USUAL_DRIVE + 0.8 * rng.standard_normal(size),
        quick=0.5 * rng.standard_normal(size),
        peak=(local - offset) % 24,
        sharp=rng.uniform(0.6, 2.2, size),
        weekend=-0.2 + 0.7 * rng.standard_normal(size),
        patience=rng.standard_exponential(size),
    )


def start(users: Users, rng: np.random.Generator) -> State:
    """The state before the first week, at rest around each user's own level."""
    size = len(users.mood)
    mood = users.mood + MOOD_SHOCK / np.sqrt(1 - MOOD_MEMORY**2) * rng.standard_normal(size)
    drive = users.drive + DRIVE_SHOCK / np.sqrt(1 - DRIVE_MEMORY**2) * rng.standard_normal(size)
    return State(mood, drive, np.zeros(size, np.int8))


def step(state: State, users: Users, rng: np.random.Generator) -> None:
    """One week on, in place."""
    size = len(state.mood)
    begins = rng.random(size) < FADES * np.exp(-0.8 * (state.mood - USUAL_MOOD))
    state.fading[begins & (state.fading == 0)] = FADES_FOR
    state.drive += (DRIVE_MEMORY - 1) * (state.drive - users.drive) + OF_MOOD * (state.mood - users.mood)
    state.drive += DRIVE_SHOCK * rng.standard_normal(size) - FADE * (state.fading > 0)
    state.fading -= state.fading > 0
    state.mood += (MOOD_MEMORY - 1) * (state.mood - users.mood) + MOOD_SHOCK * rng.standard_normal(size)
    state.mood -= BAD_COSTS * (rng.random(size) < BAD)


def weeks_of(users: Users, weeks: int, seed: int) -> Iterator[tuple[int, State]]:
    """The true state of every week, the same each time that it is asked for."""
    rng = np.random.default_rng([seed, 1])
    state = start(users, rng)
    for week in range(weeks):
        step(state, users, rng)
        yield week, state


def hazard(state: State, users: Users, week: int) -> Array:
    """The chance of leaving at the beginning of a week [users]; none before and in the week of arrival."""
    logit = LEAVE + LEAVE_MOOD * (state.mood - USUAL_MOOD) + LEAVE_DRIVE * (state.drive - USUAL_DRIVE)
    logit = logit + LEAVE_NEW * (week - users.arrival <= NEW)
    return np.where(users.arrival < week, expit(logit), 0.0)


def rate(state: State) -> Array:
    """Messages to expect in a week [users]."""
    return np.exp(np.minimum(state.drive, MOST_DRIVE))


def hours(users: Users) -> Array:
    """How a day's messages fall on its hours, UTC: [users, 24], rows sum to 1."""
    weight = np.exp(users.sharp[:, None] * nearness(users.peak[:, None], np.arange(24) + 0.5))
    return weight / weight.sum(axis=1, keepdims=True)


def weekdays(users: Users) -> Array:
    """How a week's messages fall on its days, Monday first: [users, 7], rows sum to 1."""
    weight = np.exp(users.weekend[:, None] * np.array([0, 0, 0, 0, 0, 1, 1]))
    return weight / weight.sum(axis=1, keepdims=True)


def nearness(peak: Array, hour: Array) -> Array:
    """1 at the peak hour, -1 half a day away."""
    return np.cos((hour - peak) * 2 * np.pi / 24)


def positive(mood: Array, noise: Array) -> Array:
    """The chance that a message with a tone has a positive one; noise: standard normal, of the message."""
    return expit(TONE_BASE + TONE_MOOD * mood + TONE_SPREAD * noise)


def expected_tone(mood: Array) -> Array:
    """The mean of +1, 0 and -1 over messages written in a mood."""
    at, weight = np.polynomial.hermite_e.hermegauss(9)
    chance = positive(mood[:, None], at) @ weight / weight.sum()
    return OPINION * (2 * chance - 1)


def answer(state: State, users: Users, who: Array, hour: Array, weekday: Array, lately: Array) -> Array:
    """The chance of an answer within a day, of users who are still there [contacts].

    who: users' positions; hour: of sending, UTC; weekday: 0 is Monday; lately: contacts in four weeks before.
    """
    logit = ANSWER + ANSWER_HOUR * users.sharp[who] * nearness(users.peak[who], hour + 0.5)
    logit = logit + ANSWER_DAY * users.weekend[who] * ((weekday >= 5) - 2 / 7)
    logit = logit + ANSWER_MOOD * (state.mood[who] - USUAL_MOOD)
    logit = logit + ANSWER_DRIVE * (state.drive[who] - USUAL_DRIVE) + ANSWER_TIRED * lately
    return expit(logit)
