"""Ask a service about many rows: a few at a time, each until it is answered, hopeless, or too dear.

A content that several rows share is asked about once. What a row ends with is its values, or the
reason why it has none; nothing else can come out.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from toolkit.actions.enrichment import prompts, replies
from toolkit.actions.enrichment.budget import Budget, billed
from toolkit.actions.enrichment.ledger import Ledger, Spent
from toolkit.actions.enrichment.prompts import Message
from toolkit.actions.enrichment.replies import InvalidReplyError, Reply
from toolkit.actions.enrichment.service import FaultError, Service
from toolkit.config.enrichment import Rows

ATTEMPTS = 2  # replies of a content: the first, and one more after an invalid one
PATIENCE = (
    10  # contents in succession without a reply (fewer before the first one), after which none is asked
)
NOTHING = Spent(1)


@dataclass(frozen=True)
class Content:
    """What is asked about. key: hash of all that the reply depends on; token: how the reply names it."""

    key: str
    token: str
    messages: list[Message]


@dataclass(frozen=True)
class Answer:
    """values: of a valid reply, otherwise None and the reason. note: what else is worth knowing."""

    values: dict[str, str] | None
    note: str = ""


class GivenUpError(Exception):
    """A content stays without a reply; the text says why."""


@dataclass
class Asking:
    """One job under way. progress(words, share done); faults: kind → how often."""

    node: Rows
    service: Service
    ledger: Ledger
    budget: Budget
    job: str
    progress: Callable[[str, float], None]
    faults: Counter[str] = field(default_factory=Counter)
    stopped: str = ""
    silent: int = 0  # contents in succession that got no reply
    heard: bool = False  # the service has replied at least once
    not_before: float = 0.0  # of the monotonic clock: the service asked to wait
    change: asyncio.Event = field(default_factory=asyncio.Event)  # set when a request has ended

    def run(self, contents: Mapping[str, Content]) -> dict[str, Answer]:
        """An answer for every content, by key."""
        return asyncio.run(self._all(contents))

    async def _all(self, contents: Mapping[str, Content]) -> dict[str, Answer]:
        found: dict[str, Answer] = {}
        waiting: Iterator[Content] = iter(contents.values())  # in the list's order: the best rows first

        async def worker() -> None:
            for content in waiting:
                found[content.key] = await self._answer(content)
                self.progress(f"{len(found):,} of {len(contents):,}", len(found) / len(contents))

        try:
            await asyncio.gather(*(worker() for _ in range(min(self.node.parallel, len(contents)))))
        finally:
            await self.service.close()
        return found

    async def _answer(self, content: Content) -> Answer:
        """The first valid reply of two, those included that were kept from before."""
        kept = self.ledger.replies(content.key)
        messages, wrong = content.messages, ""
        for attempt in range(ATTEMPTS):
            try:
                reply = (
                    kept[attempt]
                    if attempt < len(kept)
                    else await self._fetched(content.key, attempt, messages)
                )
            except GivenUpError as error:
                return Answer(
                    None, "; ".join(filter(None, [wrong and f"invalid reply: {wrong}", str(error)]))
                )
            try:
                values = replies.values(reply, content.token, self.node)
            except InvalidReplyError as error:
                if attempt >= len(kept):
                    self.faults[error.kind] += 1
                messages, wrong = prompts.again(messages, reply.content, error.text), error.text
            else:
                return Answer(values, f"second reply; the first: {wrong}" if attempt else "")
        return Answer(None, f"invalid reply, twice: {wrong}")

    async def _fetched(self, key: str, attempt: int, messages: list[Message]) -> Reply:
        """A reply, committed. Raises GivenUpError."""
        said = ""
        for turn in range(self.node.retries + 1):
            number, at_most = await self._may_send(key, messages)
            try:
                reply = await self._asked(messages)
            except FaultError as fault:
                cost, said = NOTHING if fault.free else at_most, fault.text
                self.ledger.failed(number, fault.kind, cost)
                self._settled(number, cost)
                self.faults[fault.kind] += 1
                if fault.hopeless:
                    self.stopped = said
                if not fault.again:
                    break
                if turn < self.node.retries:
                    await self._paused(fault.after, turn)
            else:
                cost = billed(reply, at_most)
                self.ledger.replied(number, key, attempt, reply, cost)
                self._settled(number, cost)
                self.silent, self.heard = 0, True
                return reply
        self.silent += 1
        if not self.stopped and self.silent >= (
            PATIENCE if self.heard else min(PATIENCE, self.node.parallel)
        ):
            self.stopped = f"the service failed {self.silent} rows in succession, the last with: {said}"
        raise GivenUpError(said)

    async def _may_send(self, key: str, messages: list[Message]) -> tuple[int, Spent]:
        """Wait until a request may be sent, and note it: its number, and its cost at most. Raises GivenUpError."""
        at_most = self.budget.at_most(messages)
        while True:
            if self.stopped:
                raise GivenUpError(self.stopped)
            if (left := self.not_before - time.monotonic()) > 0:
                await asyncio.sleep(left)
            elif not (cap := self.budget.refusal(at_most)):
                break
            elif self.budget.held:  # those under way may cost less than they could
                await self.change.wait()
            else:
                raise GivenUpError(cap)
        number = self.ledger.sending(self.job, key, at_most)
        self.budget.held[number] = at_most
        return number, at_most

    def _settled(self, number: int, cost: Spent) -> None:
        self.budget.settled(number, cost)
        self.change.set()
        self.change = asyncio.Event()

    async def _asked(self, messages: list[Message]) -> Reply:
        """The service's reply within the time that a request may take, however slowly its bytes come."""
        try:
            async with asyncio.timeout(self.node.timeout):
                return await self.service.ask(messages)
        except TimeoutError:
            raise FaultError("timeout", f"no whole answer within {self.node.timeout:g} s") from None

    async def _paused(self, after: float | None, turn: int) -> None:
        """Exponential backoff with jitter; where the service says when to come back, nobody comes earlier."""
        longest = self.node.longest_wait
        if after is None:
            await asyncio.sleep(min(self.node.backoff * 2**turn, longest) * random.uniform(0.5, 1.0))
        else:
            until = time.monotonic() + min(after, longest) * random.uniform(1.0, 1.1)
            self.not_before = max(self.not_before, until)
