"""The tables of the client world as they are exported: signals of the hidden state, with noise, each on its day."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.simulate.clients_story import (
    AGES,
    INDUSTRIES,
    NEVER,
    PLANS,
    REGIONS,
    Array,
    Clients,
    State,
    drive,
    mood,
)

FIRST_DAY = np.datetime64("2024-01-01")  # a Monday
FLUSH = 28  # days
FEATURES, CONNECTORS = 14, 8  # of the service: how many there are
TOPICS = ("product", "tips", "newsletter", "comparison")
KINDS = ("question", "bug", "billing", "feature_request")
TIERS, TIER_FROM = ("bronze", "silver", "gold", "platinum"), (60, 250, 1_000)  # by the first monthly fee
OWNERS = (
    ("A. Brandt", "M. Okafor"),
    ("L. Rossi", "P. Vidal"),
    ("K. Novak", "E. Petrov"),
    ("S. Quinn", "D. Reyes"),
)
REASONS = ("price", "went to a competitor", "missing features", "not used", "company closed or sold")
ACTIVITY = (
    "logins", "users", "sessions", "minutes", "longest_pause", "documents", "edits", "shares", "searches", "exports",
    "api_calls", "data_mb", "features", "errors", "phone_logins",
)  # fmt: skip


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


class Export:
    """All tables, filled day by day and written in parts; `truth/` is not its concern."""

    def __init__(self, folder: Path, clients: Clients, days: int, rng: np.random.Generator) -> None:
        size = len(clients.fit)
        self.folder, self.clients, self.days, self.rng = Path(folder), clients, days, rng
        self.ids = np.array([f"C{number:06d}" for number in rng.permutation(size) + 1])
        self.rows: dict[str, list[dict[str, Array]]] = {}
        self.writers: dict[str, pq.ParquetWriter] = {}
        self.features = np.clip(rng.binomial(FEATURES, sigmoid(-0.6 + clients.breadth)), 1, FEATURES)
        self.connected = np.zeros(size, int)
        self.seats, self.fee = clients.seats.copy(), clients.fee.copy()
        self.rhythm = rng.integers(0, 14, size)  # of newsletters
        self.phone = np.array([0.45, 0.3, 0.18, 0.08])[clients.age]

    def __enter__(self) -> Export:
        self._clients()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        for writer in self.writers.values():
            writer.close()

    def add(self, day: int, state: State) -> None:
        """What a day leaves behind."""
        feeling, pull = mood(state), np.maximum(state.market, 0)[self.clients.industry]
        staying = self.clients.here(day) & (state.notice == NEVER)
        self._contracts(day, state)
        self._activity(day, state)
        self._support(day, state, feeling)
        self._asked(day, state, feeling, staying)
        self._emails(day, feeling, pull, staying)
        self._visits(day, state, feeling, pull, staying)
        self._setup(day, state)
        if (FIRST_DAY + day).astype("datetime64[M]") == FIRST_DAY + day:  # a month begins
            here = np.flatnonzero(staying)
            index = 20 * np.exp(0.4 * state.market + 0.05 * self.rng.standard_normal(len(state.market)))
            self._put("market", day, here, volatility=np.round(index[self.clients.industry[here]], 2))
        if day % FLUSH == FLUSH - 1:
            self._flush()

    def _clients(self) -> None:
        c, early = self.clients, self.clients.start < self.days
        texts = {
            "region": np.array([name for name, *_ in REGIONS])[c.region],
            "age_group": np.array([name for name, _ in AGES])[c.age],
            "industry": np.array(INDUSTRIES)[c.industry],
            "value_tier": np.array(TIERS)[np.digitize(c.fee, TIER_FROM)],
            "owner": np.array(OWNERS)[c.region, self.rng.integers(0, 2, len(c.fit))],
        }
        size = np.round(c.seats * np.exp(np.abs(0.8 * self.rng.standard_normal(len(c.fit)))))
        columns = {
            "client": self.ids,
            "started_on": FIRST_DAY + c.start,
            **texts,
            "company_size": size.astype(np.int32),
        }
        order = np.argsort(self.ids)
        table = pa.table({name: pa.array(values[order][early[order]]) for name, values in columns.items()})
        pq.write_table(table, self.folder / "clients.parquet", compression="zstd")
        run = -c.start % c.term  # days into the term that runs on the first day; 0: it begins then
        at = np.flatnonzero((c.start < 0) & (run > 0))
        self._term(-run[at], at, np.zeros(len(at), bool))

    def _put(self, table: str, day: int | Array, at: Array, **columns: Array) -> None:
        """Rows of the clients `at`, known on the day."""
        if len(at):
            when = np.broadcast_to(FIRST_DAY + day, len(at))
            self.rows.setdefault(table, []).append({"client": self.ids[at], "day": when, **columns})

    def _flush(self) -> None:
        for name, parts in self.rows.items():
            table = pa.table(
                {key: pa.array(np.concatenate([part[key] for part in parts])) for key in parts[0]}
            )
            if name not in self.writers:
                path = self.folder / f"{name}.parquet"
                self.writers[name] = pq.ParquetWriter(path, table.schema, compression="zstd")
            self.writers[name].write_table(table)
        self.rows = {}

    def _contracts(self, day: int, state: State) -> None:
        c = self.clients
        runs = c.here(day) & (state.notice >= day)  # a term that begins on the day of the notice has begun
        at = np.flatnonzero(runs & (c.days_left(day) == c.term))
        self._term(day, at, state.raised[at])
        at = np.flatnonzero(state.notice == day)
        ends = day + c.days_left(day)[at]
        # what is said on leaving: hardly ever that nobody used it
        lot = self.rng.random(len(at)) + 0.25 * (state.decided[at] == 0)
        reason = np.array(REASONS)[np.digitize(lot, [0.3, 0.55, 0.75, 0.9])]
        self._put("cancellations", day, at, ends_on=FIRST_DAY + ends, reason=reason)

    def _term(self, day: int | Array, at: Array, raised: Array) -> None:
        c = self.clients
        self.fee[at] = np.round(
            self.fee[at] * np.where(raised, 1 + 0.05 + 0.1 * self.rng.random(len(at)), 1), 2
        )
        self._put(
            "contracts", day, at, plan=np.array(PLANS)[c.plan[at]], term_days=c.term[at].astype(np.int32),
            billing=np.where(c.monthly[at], "monthly", "yearly"), seats=self.seats[at], monthly_fee=self.fee[at].copy(),
        )  # fmt: skip

    def _activity(self, day: int, state: State) -> None:
        rng, c = self.rng, self.clients
        at = np.flatnonzero(state.active)
        d, decided = drive(state, c)[at], state.decided[at] > 0
        users = 1 + rng.binomial(c.seats[at] - 1, sigmoid(0.8 * d - 1.0))
        logins = users + rng.poisson(0.6 * users * np.exp(0.4 * np.minimum(d, 2)))
        sessions = logins + rng.poisson(0.5, len(at))
        minutes = sessions * rng.gamma(2.0, 6.0, len(at)) * np.exp(0.3 * np.clip(d, -3, 2))
        documents = rng.poisson(3.0 * users * np.exp(0.6 * np.clip(d, -3, 2)))
        exports = rng.poisson(0.10 * users * np.where(decided, 2.5, 1.0))
        data = documents * rng.lognormal(0.3, 0.6, len(at))
        used = 1 + rng.binomial(self.features[at], sigmoid(-0.8 + 0.7 * d))
        pause = rng.exponential(90.0, len(at)) * np.exp(-0.4 * np.clip(d, -3, 3))
        counts = {
            "logins": logins, "users": users, "sessions": sessions, "minutes": minutes,
            "longest_pause": np.minimum(pause, 1_200), "documents": documents, "edits": rng.binomial(documents, 0.45),
            "shares": rng.poisson(0.3 * users * np.exp(0.5 * np.clip(d, -3, 2))), "searches": rng.poisson(1.2 * users),
            "exports": exports, "api_calls": rng.poisson(15.0 * self.connected[at] * np.exp(0.3 * np.clip(d, -3, 2))),
            "data_mb": data, "features": np.minimum(used, FEATURES),
            "errors": rng.poisson(0.08 * sessions * (1 + state.grief[at])), "phone_logins": rng.binomial(logins, self.phone[at]),
        }  # fmt: skip
        real = ("minutes", "longest_pause", "data_mb")
        typed = {
            name: np.round(counts[name], 1) if name in real else counts[name].astype(np.int32)
            for name in ACTIVITY
        }
        self._put("activity", day, at, **typed)

    def _support(self, day: int, state: State, feeling: Array) -> None:
        rng = self.rng
        at = np.flatnonzero(state.opened)
        kind = np.digitize(rng.random(len(at)) + 0.15 * (feeling[at] < 0), [0.40, 0.70, 0.85])
        tone = np.tanh(0.2 + 0.6 * feeling[at] - 0.3 * (kind == 1) + 0.5 * rng.standard_normal(len(at)))
        self._put("tickets", day, at, kind=np.array(KINDS)[kind], sentiment=np.round(tone, 2))
        at = np.flatnonzero(state.answered)
        hours = np.round(24 * (state.waited[at] + rng.random(len(at))), 1)
        tone = np.tanh(
            0.5 + 0.6 * feeling[at] - 0.4 * (state.waited[at] > 3) + 0.5 * rng.standard_normal(len(at))
        )
        self._put("answers", day, at, hours=hours, sentiment=np.round(tone, 2))

    def _asked(self, day: int, state: State, feeling: Array, staying: Array) -> None:
        """NPS each quarter, which few answer; stars given in the product."""
        rng = self.rng
        due = staying & ((day - self.clients.start) % 91 == 90) & (rng.random(len(feeling)) < 0.35)
        at = np.flatnonzero(due)
        score = np.clip(np.round(7.4 + 1.5 * feeling[at] + 1.4 * rng.standard_normal(len(at))), 0, 10)
        self._put("surveys", day, at, kind=np.full(len(at), "nps"), score=score.astype(np.int32))
        at = np.flatnonzero(state.active & (rng.random(len(feeling)) < 0.006))
        stars = np.clip(np.round(3.7 + 0.7 * feeling[at] + 0.7 * rng.standard_normal(len(at))), 1, 5)
        self._put("surveys", day, at, kind=np.full(len(at), "stars"), score=stars.astype(np.int32))

    def _emails(self, day: int, feeling: Array, pull: Array, staying: Array) -> None:
        """One every fortnight; opened within days or never, clicked at once or never."""
        rng = self.rng
        at = np.flatnonzero(staying & ((day + self.rhythm) % 14 == 0))
        topic = rng.choice(len(TOPICS), len(at), p=[0.3, 0.3, 0.25, 0.15])
        compared = topic == 3
        interest = np.where(compared, -1.6 - 0.6 * feeling[at] + 0.8 * pull[at], -0.5 + 0.9 * feeling[at])
        opened = rng.random(len(at)) < sigmoid(interest)
        clicked = opened & (rng.random(len(at)) < sigmoid(-1.3 + 0.5 * np.where(compared, 0, feeling[at])))
        seen = day + rng.geometric(0.5, len(at)) - 1
        name = np.array(TOPICS)[topic]
        for what, rows, when in (("sent", at >= 0, np.full(len(at), day)), ("opened", opened, seen), ("clicked", clicked, seen)):  # fmt: skip
            rows = rows & (when < self.days)
            self._put("emails", when[rows], at[rows], what=np.full(int(rows.sum()), what), topic=name[rows])

    def _visits(self, day: int, state: State, feeling: Array, pull: Array, staying: Array) -> None:
        """Pages of help, of prices, of comparisons with others: a row per client, day and page."""
        rng, c = self.rng, self.clients
        near = ~c.monthly & (c.days_left(day) <= 60)
        rates = {
            "help": 0.04 * np.exp(0.5 * state.grief) * (0.3 + state.active),
            "pricing": 0.006
            * np.exp(-0.5 * feeling)
            * np.where(near, 2.5, 1.0)
            * np.where(state.decided > 0, 2.0, 1.0),
            "comparison": 0.003 * np.exp(-0.5 * feeling + 0.8 * pull) * np.where(state.decided > 0, 3.0, 1.0),
        }
        for page, rate in rates.items():
            views = rng.poisson(np.where(staying, rate, 0.0))
            at = np.flatnonzero(views)
            self._put("visits", day, at, page=np.full(len(at), page), views=views[at].astype(np.int32))

    def _setup(self, day: int, state: State) -> None:
        """Integrations come with use, and go once a client leaves; customisations come with use."""
        lots = self.rng.random((3, len(self.connected)))
        d = np.clip(drive(state, self.clients), -3, 2)
        more = state.active & (self.connected < CONNECTORS) & (lots[0] < 0.004 * np.exp(0.6 * d))
        fewer = state.active & (self.connected > 0) & (lots[1] < np.where(state.decided > 0, 0.02, 0.0008))
        custom = state.active & (lots[2] < 0.012 * np.exp(0.6 * d))
        self.connected += more.astype(int) - fewer.astype(int)
        for what, rows, change in (
            ("connected", more, 1),
            ("disconnected", fewer, -1),
            ("customised", custom, 1),
        ):
            at = np.flatnonzero(rows)
            self._put(
                "setup", day, at, what=np.full(len(at), what), change=np.full(len(at), change, np.int32)
            )
