"""What was sent, and every reply, in a SQLite file: a reply is paid for once, and caps hold over restarts.

A request stands here before it is sent and its reply before the next is asked, so a process may be
killed at any moment: what it had in flight is then known, and counts towards the caps as if it had
been answered in full.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from toolkit.actions.enrichment.replies import Reply
from toolkit.errors import ConfigError
from toolkit.runfolder import alone

FILE = "replies.sqlite"
TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT, attempt INTEGER, reply TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (key, attempt)
);
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY, job TEXT NOT NULL, key TEXT NOT NULL, sent TEXT NOT NULL, ended TEXT, outcome TEXT,
    tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS requests_of ON requests (job);
"""
REPLIED = "reply"


@dataclass(frozen=True)
class Spent:
    """Requests and tokens; of requests that never ended as many tokens as they could have cost at most."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


class Ledger:
    """One open file; each method is one committed transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def replies(self, key: str) -> list[Reply]:
        """The replies that a content has got so far, in order."""
        rows = self._run("SELECT reply FROM replies WHERE key = ? ORDER BY attempt", key)
        try:
            return [Reply(**json.loads(text)) for (text,) in rows]
        except (ValueError, TypeError):  # not written by us: as if there were none
            return []

    def spent(self, job: str) -> Spent:
        """What a job has cost so far, in all its runs."""
        sums = "count(*), coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0)"
        (row,) = self._run(f"SELECT {sums} FROM requests WHERE job = ?", job)
        return Spent(*row)

    def sending(self, job: str, key: str, at_most: Spent) -> int:
        """Note a request that is about to be sent; returns its number."""
        columns = "job, key, sent, tokens_in, tokens_out"
        row = (job, key, _now(), at_most.tokens_in, at_most.tokens_out)
        self._run(f"INSERT INTO requests ({columns}) VALUES (?, ?, ?, ?, ?)", *row)
        ((number,),) = self._run("SELECT last_insert_rowid()")
        return int(number)

    def failed(self, number: int, outcome: str, cost: Spent) -> None:
        """A request ended without a reply."""
        self._ended(number, outcome, cost)
        self.connection.commit()

    def replied(self, number: int, key: str, attempt: int, reply: Reply, cost: Spent) -> None:
        """A request's reply, and what it cost: both are kept, or neither."""
        self._ended(number, REPLIED, cost)
        self.connection.execute(
            "INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?)",
            (key, attempt, json.dumps(asdict(reply)), _now()),
        )
        self.connection.commit()

    def _ended(self, number: int, outcome: str, cost: Spent) -> None:
        self.connection.execute(
            "UPDATE requests SET ended = ?, outcome = ?, tokens_in = ?, tokens_out = ? WHERE id = ?",
            (_now(), outcome, cost.tokens_in, cost.tokens_out, number),
        )

    def _run(self, text: str, *values: object) -> list[tuple]:
        rows = self.connection.execute(text, values).fetchall()
        self.connection.commit()
        return rows


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@contextmanager
def opened(folder: Path) -> Iterator[Ledger]:
    """The ledger in a folder, for this process alone; another one that wants it waits. Raises ConfigError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder / ".lock"):
            connection = sqlite3.connect(folder / FILE)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")  # a reply outlives a power cut, too
                connection.executescript(TABLES)
                yield Ledger(connection)
            finally:
                connection.close()
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(
            f"the replies in `{folder / FILE}` cannot be kept: {error}", where="enrichment.folder",
            why="no reply is asked for that could not be kept: it would be paid for again",
            fix="make room, or name another folder; a damaged file may be moved away",
        ) from None  # fmt: skip
