"""One month in the life of every donor: the single step behind both the tables and the ceiling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from toolkit.simulate.donors_people import MONTH_START, Array, People, first

DORMANT, CASUAL, COMMITTED, LAPSING = range(4)
# Monthly chance of a better and of a worse mood when nothing pushes, and where each leads.
UP, UP_TO = (
    np.array([0.018, 0.030, 0.0, 0.05], np.float32),
    np.array([CASUAL, COMMITTED, COMMITTED, COMMITTED]),
)
DOWN, DOWN_TO = (
    np.array([0.0, 0.045, 0.033, 0.12], np.float32),
    np.array([DORMANT, DORMANT, LAPSING, DORMANT]),
)
SHOCK = 0.003
# Monthly rate of gifts: when the rhythm is not due or absent, and when it is due.
IDLE_RATE = np.array([0.002, 0.045, 0.015, 0.010], np.float32)
IRREGULAR_RATE = np.array([0.002, 0.045, 0.20, 0.12], np.float32)
DUE_RATE = np.array([0.002, 0.10, 1.3, 0.8], np.float32)
ENTRY_GIFT = np.array([0.06, 0.12, 0.55, 0.20, 0.50, 0.60], np.float32)  # by type: added because they gave
GIVING_SEASON = np.array(
    [-0.2, -0.2, -0.1, 0.0, 0.0, 0.2, -0.2, -0.2, 0.0, 0.0, 0.25, 0.55], np.float32
)  # log
EVENT_SEASON = np.array([-0.6, -0.2, 0.0, 0.3, 0.4, 0.3, -0.5, -0.6, 0.2, 0.5, 0.1, -0.2], np.float32)  # log
MOMENTUM_MEMORY, GLOW_MEMORY, RECENT_MEMORY, VISIT_MEMORY = 0.95, 0.7, 0.9, 0.8  # kept per month
PATH_MONTHS = 12


@dataclass(frozen=True)
class State:
    """All that the future depends on, and the running accounts the labels are read from. All [donors]."""

    mood: Array  # int8
    momentum: Array  # float32, about standard normal
    level: Array  # float32, logarithm of the usual amount
    stretch: Array  # float32, 1 or more: how far the rhythm has slowed
    elapsed: Array  # float32, months since the last gift
    path: Array  # int8, 0 none, 1 event, 2 then a gift, 3 then a larger one
    path_age: Array  # int8, months since the path's last stage
    path_amount: Array  # float32, the amount of its first gift
    glow: Array  # float32, what neighbours feel
    gave: Array  # float32, fading count of gifts
    attended: Array  # float32, fading count of events
    visited: Array  # float32, fading count of visits
    score: Array  # float32, latest engagement score; NaN before the first
    lifetime: Array  # float64, given since the ledger began
    last_gift: Array  # int32, day of the last gift; -1 never
    gift_years: Array  # int32, bit k set if a gift fell in FIRST_YEAR + k
    year_amount: Array  # float64, given this calendar year
    year_events: Array  # float32, events attended this calendar year


@dataclass(frozen=True)
class Happenings:
    """What one month brought: positions of donors, days since 1970, and what describes them."""

    month: int
    givers: Array
    gift_day: Array
    gift_amount: Array
    gift_mood: Array
    guests: Array
    visited: Array
    visit_day: Array
    visit_warmth: Array  # float32, how the donor came across
    scored: Array  # empty but in June and December
    score: Array


def usual_level(people: People) -> Array:
    """Logarithm of the amount a donor returns to; frequent givers give less each time."""
    yearly = np.where(people.period > 0, 12 / np.maximum(people.period, 1), 2)
    wealthy = np.maximum(people.capacity - 1.5, 0)  # the rich are richer than a lognormal has them
    return (4.1 + 0.95 * people.capacity + 0.9 * wealthy - 0.35 * np.log(yearly)).astype(np.float32)


def start(people: People, rng: np.random.Generator) -> State:
    """Everyone's state on the day before they come on file."""
    n = len(people.number)
    lean = people.affinity + 0.8 * rng.standard_normal(n, dtype=np.float32)
    mood = np.digitize(lean, (0.8, 1.6)).astype(np.int8)  # dormant, casual or committed
    zero = np.zeros(n, np.float32)
    return State(
        mood=mood,
        momentum=rng.standard_normal(n, dtype=np.float32),
        level=usual_level(people) + 0.4 * rng.standard_normal(n, dtype=np.float32),
        stretch=np.ones(n, np.float32),
        elapsed=np.floor(rng.random(n, dtype=np.float32) * np.maximum(people.period, 6)),
        path=np.zeros(n, np.int8),
        path_age=np.zeros(n, np.int8),
        path_amount=zero.copy(),
        glow=zero.copy(),
        gave=zero.copy(),
        attended=zero.copy(),
        visited=zero.copy(),
        score=np.full(n, np.nan, np.float32),
        lifetime=np.zeros(n),
        last_gift=np.full(n, -1, np.int32),
        gift_years=np.zeros(n, np.int32),
        year_amount=np.zeros(n),
        year_events=zero.copy(),
    )


def step(
    state: State, people: People, influence: csr_array, month: int, rng: np.random.Generator
) -> Happenings:
    """Live through `month` (0 is 2016-01): advances `state` in place and tells what happened.

    Donors not yet on file stay as they are. `influence` is [donors, donors], see `influence_matrix`.
    """
    n = int(np.searchsorted(people.arrival, month, side="right"))
    felt = np.tanh(influence @ state.glow)[:n]
    s, p = first(state, n), first(people, n)
    new = p.arrival == month
    pull = p.receptivity * felt
    if month % 12 == 0:
        s.year_amount[:] = 0
        s.year_events[:] = 0

    _move_moods(s, p, pull, rng)
    givers, amount, day = _gifts(s, p, pull, new, month, rng)
    guests = _attendances(s, p, pull, new, month, rng)
    visited, visit_day, warmth = _visits(s, p, new, month, rng)
    _walk_paths(s, givers, amount, guests)
    _remember(s, givers, amount, day, guests, visited, month)
    scored = np.arange(n if month % 6 == 5 else 0)
    if len(scored):
        s.score[:] = _scores(s, p, rng)
    return Happenings(
        month,
        givers,
        day,
        amount,
        s.mood[givers],
        guests,
        visited,
        visit_day,
        warmth,
        scored,
        s.score[scored],
    )


def _move_moods(s: State, p: People, pull: Array, rng: np.random.Generator) -> None:
    n = len(pull)
    noise = rng.standard_normal(n, dtype=np.float32)
    s.momentum[:] = MOMENTUM_MEMORY * s.momentum + np.sqrt(1 - MOMENTUM_MEMORY**2) * noise
    gain = 0.5 * p.affinity + 0.6 * s.momentum + 0.9 * pull + 0.3 * np.minimum(s.visited, 2)
    gain = np.exp(np.clip(gain, -2.5, 2.5))
    luck = rng.random(n, dtype=np.float32)
    rises, sinks = luck < UP[s.mood] * gain, luck > 1 - DOWN[s.mood] / gain
    s.mood[:] = np.where(rises, UP_TO[s.mood], np.where(sinks, DOWN_TO[s.mood], s.mood))

    fulfilled = np.flatnonzero(s.path == 3)
    fulfilled = fulfilled[rng.random(len(fulfilled)) < 0.5]
    s.mood[fulfilled] = COMMITTED
    s.level[fulfilled] += 0.5
    s.path[fulfilled] = 0

    struck = np.flatnonzero(rng.random(n, dtype=np.float32) < SHOCK)
    s.mood[struck] = DORMANT
    s.level[struck] += 0.7 * rng.standard_normal(len(struck), dtype=np.float32)

    lapsing = s.mood == LAPSING
    s.stretch[:] = np.where(lapsing, np.minimum(s.stretch * 1.125, 4), 1 + 0.5 * (s.stretch - 1))
    s.level[:] += 0.035 * s.momentum - 0.02 * (s.level - usual_level(p)) - 0.05 * lapsing


def _gifts(
    s: State, p: People, pull: Array, new: Array, month: int, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Who gives, how much, on which day."""
    due = s.elapsed + 1 >= p.period * s.stretch
    rate = np.where(due, DUE_RATE[s.mood], IDLE_RATE[s.mood])
    rate = np.where(p.period == 0, IRREGULAR_RATE[s.mood] / s.stretch, rate)
    tilt = 0.25 * p.affinity + 1.2 * pull + 0.4 * np.minimum(s.visited, 2) + GIVING_SEASON[month % 12]
    chance = 1 - np.exp(-rate * np.exp(tilt))
    chance = np.where(new, ENTRY_GIFT[p.type], chance)
    givers = np.flatnonzero(rng.random(len(rate), dtype=np.float32) < chance)
    s.mood[givers] = np.maximum(s.mood[givers], CASUAL)

    k = len(givers)
    log_amount = s.level[givers] + 0.3 * rng.standard_normal(k) + 0.2 * (month % 12 == 11)
    log_amount += 2.0 * (rng.random(k) < 0.006)  # now and then a windfall, a bequest, a memorial
    return givers, _ask_amount(np.exp(np.minimum(log_amount, 16))), _days(givers, p, new, month, rng)


def _ask_amount(amount: Array) -> Array:
    """Amounts as people write them: one or one and a half digits, at least 5."""
    unit = 10 ** np.floor(np.log10(np.maximum(amount, 5))) / 2
    return np.maximum(np.round(amount / unit) * unit, 5)


def _days(who: Array, p: People, new: Array, month: int, rng: np.random.Generator) -> Array:
    """A day of the month from the 2nd on, not before a newcomer is on file."""
    length = int(MONTH_START[month + 1] - MONTH_START[month])
    day = MONTH_START[month] + rng.integers(1, length, len(who))
    return np.where(new[who], np.maximum(day, p.added[who]), day).astype(np.int32)


def _attendances(s: State, p: People, pull: Array, new: Array, month: int, rng: np.random.Generator) -> Array:
    engaged = (s.mood == COMMITTED) | (s.mood == CASUAL)
    tilt = 0.8 * p.taste + 0.2 * p.affinity + 0.7 * engaged + 1.2 * pull + EVENT_SEASON[month % 12]
    chance = 0.013 * np.exp(np.minimum(tilt, 3.5))
    return np.flatnonzero((rng.random(len(chance), dtype=np.float32) < chance) & ~new)


def _visits(
    s: State, p: People, new: Array, month: int, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    managed = np.flatnonzero(p.managed & ~new)
    chance = 0.05 * (1 + np.minimum(s.gave[managed] + s.attended[managed], 2))
    who = managed[rng.random(len(managed)) < chance]
    mood = np.array([-0.5, 0.2, 0.9, -0.7])[s.mood[who]]
    warmth = mood + 0.5 * s.momentum[who] + 0.7 * rng.standard_normal(len(who))
    return who, _days(who, p, new, month, rng), warmth


def _walk_paths(s: State, givers: Array, amount: Array, guests: Array) -> None:
    """Event, then a gift, then one half as large again; each within a year of the one before."""
    s.path_age[:] = np.minimum(s.path_age + 1, 100)
    s.path[(s.path < 3) & (s.path_age > PATH_MONTHS)] = 0

    stage = s.path[givers]
    larger = amount >= 1.5 * s.path_amount[givers]
    s.path_amount[givers[stage == 1]] = amount[stage == 1]
    s.path[givers] = np.select([stage == 1, (stage == 2) & larger, stage == 2], [2, 3, 0], stage)
    s.path_age[givers[(stage == 1) | (stage == 2)]] = 0

    begins = guests[s.path[guests] <= 1]  # after this month's gifts: an event opens a path for later ones
    s.path[begins] = 1
    s.path_age[begins] = 0


def _remember(
    s: State, givers: Array, amount: Array, day: Array, guests: Array, visited: Array, month: int
) -> None:
    s.elapsed[:] += 1
    s.elapsed[givers] = 0
    for trace, memory, who, weight in (
        (s.glow, GLOW_MEMORY, givers, np.log1p(amount) / 10),
        (s.glow, 1.0, guests, 0.4),
        (s.gave, RECENT_MEMORY, givers, 1.0),
        (s.attended, RECENT_MEMORY, guests, 1.0),
        (s.visited, VISIT_MEMORY, visited, 1.0),
    ):
        trace *= np.float32(memory)
        trace[who] += weight
    s.lifetime[givers] += amount
    s.year_amount[givers] += amount
    s.year_events[guests] += 1
    s.last_gift[givers] = day
    s.gift_years[givers] |= 1 << (month // 12)


def _scores(s: State, p: People, rng: np.random.Generator) -> Array:
    """The institution's engagement score, 0 to 100: a noisy logistic view of the recent past."""
    seen = 0.8 * np.log1p(s.gave) + 0.7 * np.log1p(s.attended) + 0.4 * np.log1p(s.visited)
    noise = 0.45 * rng.standard_normal(len(seen), dtype=np.float32)
    return np.round(100 / (1 + np.exp(1.6 - 0.35 * p.affinity - seen - noise)), 1)
