"""What happens to clients: who they are, how their satisfaction moves, when they leave. Nothing of what is exported.

All arrays are [clients], in the order in which clients are drawn, which is random in every respect. Days are
counted from the first day of the export; a client's own days from its start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

Array = np.ndarray

REGIONS = (
    ("North", 0.34, 1.0),
    ("South", 0.26, 1.0),
    ("East", 0.22, 1.1),
    ("West", 0.18, 1.8),
)  # wait for answers
AGES = (("18-29", 0.18), ("30-44", 0.37), ("45-59", 0.32), ("60+", 0.13))
EASE = np.array([0.2, 0.1, -0.1, -0.5], np.float32)  # of using many features, by age group
PLANS = ("Starter", "Team", "Business", "Enterprise")
PER_SEAT = np.array([12.0, 18.0, 26.0, 38.0])
MONTHLY = np.array([0.70, 0.40, 0.12, 0.0])  # share that pays by the month, by plan
YOUNG_MONTHLY = np.array([0.15, 0.05, 0.0, -0.05])  # more of them by age group
INDUSTRIES = ("Software", "Consulting", "Legal", "Construction", "Education", "Health", "Retail", "Media")
INDUSTRY_FIT = np.array([0.2, 0.3, 0.5, 0.1, -0.3, 0.0, -0.5, -0.2], np.float32)
TERM = {True: 30, False: 365}  # days, of those who pay by the month and by the year

MOMENTUM, DRIFT = np.exp(-1 / 21), 0.018  # of satisfaction's speed: memory, spread per day
RETURN = 1 / 75  # of satisfaction to its level, per day
HABIT = 1 / 25  # of the way to what satisfaction suggests, per day
SPONSOR_LEAVES, SPONSOR_COMES, WITHOUT_SPONSOR = 0.0012, 0.010, 1.2
TICKET, WAIT, PATIENCE, GRIEF, GRIEF_FADES = (
    0.008,
    1.3,
    3,
    0.5,
    1 / 30,
)  # days of waiting, and what too long does
RISE, RISE_HURTS = 0.3, 0.35  # share of the renewals with a higher price
MARKET_RETURN, MARKET_SHOCK = 1 / 60, 0.13
DECIDE, OF_SATISFACTION, OF_HABIT, NEAR_RENEWAL, WOOED, NEW = -8.4, 1.3, 0.7, 0.8, 0.5, 0.4  # logit per day
WON_BACK, RELIEF = 0.004, 0.6
FADE = 3.0  # how far the drive falls after the decision
NOTICE_MONTHLY, NOTICE_LATE, NOTICE_EARLY, LATE = 0.030, 0.040, 0.004, 90
UNFORETOLD = 8e-5  # sold, closed: per day
SILENT = 30  # days without use after which a client counts as gone


@dataclass(frozen=True)
class Clients:
    """Drawn once; fit, breadth and pace are never shown."""

    start: Array  # int32, day on which it became a client; negative: before the first day
    region: Array  # int8 into REGIONS
    age: Array  # int8 into AGES
    industry: Array  # int8 into INDUSTRIES
    seats: Array  # int32
    plan: Array  # int8 into PLANS
    monthly: Array  # bool, pays by the month
    fee: Array  # float64, a month, on the first day
    fit: Array  # float32
    breadth: Array  # float32, taste for many features
    pace: Array  # float32, days in which use fades once it has decided

    @property
    def term(self) -> Array:
        return np.where(self.monthly, TERM[True], TERM[False])

    def days_left(self, day: int) -> Array:
        """Days until the running term ends; at its first day the whole term."""
        return self.term - (day - self.start) % self.term

    def here(self, day: int) -> Array:
        return self.start <= day


@dataclass
class State:
    """Hidden, at the end of a day; arrays [clients] unless said."""

    satisfaction: Array
    speed: Array  # of satisfaction, per day
    grief: Array
    habit: Array
    sponsor: Array  # bool, who brought the service in is there
    decided: Array  # int32, days since the decision to leave; 0: none
    market: Array  # [industries]
    waiting: Array  # int16, days that a ticket still waits; -1: no open ticket
    waited: Array  # int16, days that the ticket has waited
    notice: Array  # int32, the day of the notice; NEVER: none
    last: Array  # int32, the last day with use, far back for none
    # what happened on the day itself
    active: Array  # bool
    opened: Array  # bool, a ticket
    answered: Array  # bool
    raised: Array  # bool, the price

    def copy(self) -> State:
        return State(**{field.name: getattr(self, field.name).copy() for field in fields(self)})


NEVER = np.iinfo(np.int32).max


def draw(size: int, days: int, rng: np.random.Generator) -> Clients:
    """A population."""
    region = rng.choice(len(REGIONS), size, p=[share for _, share, _ in REGIONS]).astype(np.int8)
    age = rng.choice(len(AGES), size, p=[share for _, share in AGES]).astype(np.int8)
    industry = rng.integers(0, len(INDUSTRIES), size).astype(np.int8)
    seats = np.clip(np.round(np.exp(1.6 + 1.1 * rng.standard_normal(size))), 1, 500).astype(np.int32)
    ladder = np.log(seats) + 0.5 * rng.standard_normal(size)
    plan = np.digitize(ladder, [1.2, 2.6, 4.0]).astype(np.int8)
    monthly = rng.random(size) < np.clip(MONTHLY[plan] + YOUNG_MONTHLY[age] * (MONTHLY[plan] > 0), 0, 1)
    fee = np.round(PER_SEAT[plan] * seats * np.exp(0.1 * rng.standard_normal(size)), 2)
    founder = rng.random(size) < 0.55
    start = np.where(founder, -rng.integers(1, 1_100, size), rng.integers(0, days, size))
    fit = INDUSTRY_FIT[industry] + 0.1 * plan + 0.2 * founder + 0.6 * rng.standard_normal(size)
    return Clients(
        start=start.astype(np.int32),
        region=region,
        age=age,
        industry=industry,
        seats=seats,
        plan=plan,
        monthly=monthly,
        fee=fee,
        fit=fit.astype(np.float32),
        breadth=(EASE[age] + 0.5 * rng.standard_normal(size)).astype(np.float32),
        pace=rng.uniform(20, 90, size).astype(np.float32),
    )


def level(clients: Clients) -> Array:
    """The satisfaction to which a client returns."""
    return 0.45 * clients.fit


def begin(clients: Clients, rng: np.random.Generator) -> State:
    """The state before the first day, at rest around each client's own level."""
    size = len(clients.fit)
    satisfaction = level(clients) + 0.7 * rng.standard_normal(size)
    return State(
        satisfaction=satisfaction,
        speed=DRIFT * rng.standard_normal(size),
        grief=np.zeros(size),
        habit=satisfaction + 0.3 * rng.standard_normal(size),
        sponsor=rng.random(size) < SPONSOR_COMES / (SPONSOR_COMES + SPONSOR_LEAVES),
        decided=np.zeros(size, np.int32),
        market=0.7 * rng.standard_normal(len(INDUSTRIES)),
        waiting=np.full(size, -1, np.int16),
        waited=np.zeros(size, np.int16),
        notice=np.full(size, NEVER, np.int32),
        last=np.full(size, -10_000, np.int32),
        active=np.zeros(size, bool),
        opened=np.zeros(size, bool),
        answered=np.zeros(size, bool),
        raised=np.zeros(size, bool),
    )


def mood(state: State) -> Array:
    """Satisfaction as it is felt."""
    return state.satisfaction - state.grief


def drive(state: State, clients: Clients) -> Array:
    """What moves usage: habit, and how far it has faded since the decision to leave."""
    return state.habit - FADE * np.minimum(state.decided / clients.pace, 1)


def step(state: State, clients: Clients, day: int, rng: np.random.Generator) -> None:
    """One day on, in place."""
    size, here = len(clients.fit), clients.here(day)
    staying = here & (state.notice == NEVER)
    state.market += -MARKET_RETURN * state.market + MARKET_SHOCK * rng.standard_normal(len(INDUSTRIES))
    _feel(state, clients, day, staying, rng)
    _decide(state, clients, day, staying, rng)
    chance = 1 / (
        1 + np.exp(-(0.6 + 1.3 * drive(state, clients) + 0.5 * np.log(clients.seats) + season(day)))
    )
    state.active = here & (rng.random(size) < chance) & ~gone(state, clients, day)
    state.last[state.active] = day


def _feel(state: State, clients: Clients, day: int, staying: Array, rng: np.random.Generator) -> None:
    """Satisfaction, grievance, habit and the sponsor move on; tickets are opened and answered."""
    size = len(clients.fit)
    noise, lots = rng.standard_normal((2, size)), rng.random((4, size))
    state.speed = MOMENTUM * state.speed + DRIFT * np.sqrt(1 - MOMENTUM**2) * noise[0]
    state.satisfaction += state.speed - RETURN * (state.satisfaction - level(clients))
    state.grief -= GRIEF_FADES * state.grief
    state.raised = staying & (clients.days_left(day) == clients.term) & (day > clients.start)
    state.raised &= lots[0] < RISE * clients.term / TERM[False]
    state.grief += RISE_HURTS * state.raised
    state.answered = staying & (state.waiting == 0)
    state.grief += GRIEF * (state.answered & (state.waited > PATIENCE))
    state.opened = (
        staying & (state.waiting < 0) & (lots[1] < TICKET * clients.seats**0.3 * np.exp(0.3 * state.grief))
    )
    wait = rng.exponential(WAIT, size) * np.array([slow for *_, slow in REGIONS])[clients.region]
    wait = np.where(state.opened, np.minimum(wait, 60).astype(np.int16), state.waiting - 1)
    state.waited = np.where(state.opened, wait, state.waited).astype(np.int16)
    state.waiting = np.maximum(wait, -1).astype(np.int16)
    state.sponsor = np.where(state.sponsor, lots[2] >= SPONSOR_LEAVES, lots[2] < SPONSOR_COMES)
    state.habit += HABIT * (mood(state) - WITHOUT_SPONSOR * ~state.sponsor - state.habit) + 0.03 * noise[1]


def _decide(state: State, clients: Clients, day: int, staying: Array, rng: np.random.Generator) -> None:
    """Who decides to leave, is won back, gives notice."""
    lots, left = rng.random((3, len(clients.fit))), clients.days_left(day)
    logit = DECIDE - OF_SATISFACTION * mood(state) - OF_HABIT * state.habit
    logit = logit + NEAR_RENEWAL * (~clients.monthly & (left <= 60)) + NEW * (day - clients.start < 120)
    logit = logit + WOOED * np.maximum(state.market, 0)[clients.industry]
    state.decided = np.where(state.decided > 0, state.decided + 1, 0)
    won = staying & (state.decided > 0) & (lots[0] < WON_BACK)
    state.decided[won] = 0
    state.satisfaction[won] += RELIEF
    state.decided[staying & (state.decided == 0) & ~won & (lots[1] < 1 / (1 + np.exp(-logit)))] = 1
    yearly = np.where(left <= LATE, NOTICE_LATE, NOTICE_EARLY)
    notice = np.where(clients.monthly, NOTICE_MONTHLY * (state.decided > 7), yearly * (state.decided > 0))
    state.notice[staying & (lots[2] < notice + UNFORETOLD)] = day


def gone(state: State, clients: Clients, day: int) -> Array:
    """Whose contract has ended by the day: at the end of the term in which notice was given."""
    known = np.where(state.notice == NEVER, day, state.notice)
    return (state.notice != NEVER) & (day >= known + clients.term - (known - clients.start) % clients.term)


def season(day: int) -> float:
    """What weekends and holidays do to use; the first day is Monday, 1 January."""
    of_year = day % 365.25
    away = -0.5 if 212 <= of_year < 243 else -1.3 if of_year >= 357 or of_year < 2 else 0.0
    return away - 2.2 * (day % 7 >= 5)


def days_of(clients: Clients, days: int, seed: int) -> Iterator[tuple[int, State]]:
    """The true state of every day, the same each time that it is asked for."""
    rng = np.random.default_rng([seed, 1])
    state = begin(clients, rng)
    for day in range(days):
        step(state, clients, day, rng)
        yield day, state
