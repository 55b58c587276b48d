"""Hard caps on requests, tokens and money, and an estimate before anything is sent."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from toolkit.actions.enrichment.ledger import Spent
from toolkit.actions.enrichment.prompts import Message
from toolkit.actions.enrichment.replies import Reply, schema
from toolkit.config.enrichment import Choice, Rows

OVERHEAD = 50  # tokens that an API adds around messages
LETTERS = 4  # of English text in a token, for the estimate; for the cap a token has at least one byte


@dataclass(frozen=True)
class Estimate:
    """What is about to be asked. rows: contents without a reply yet; cost: None if prices are unknown."""

    rows: int
    kept: int
    tokens_in: int
    tokens_out: int
    cost: float | None

    def words(self, model: str) -> str:
        """`480 requests to gpt-4o-mini, about 310,000 tokens (cost 0.12); 20 replies are kept from before`"""
        text = f"{self.rows:,} requests to {model}, about {self.tokens_in + self.tokens_out:,} tokens"
        text += " (prices unknown)" if self.cost is None else f" (cost about {money(self.cost)})"
        return text + (f"; {self.kept:,} replies are kept from before" if self.kept else "")


def money(cost: float) -> str:
    """An amount, with two digits at least."""
    return f"{cost:,.2f}" if cost >= 1 or not cost else f"{cost:.2g}"


@dataclass
class Budget:
    """What a job may still spend. spent: so far; held: by requests under way, at most."""

    node: Rows
    spent: Spent
    held: dict[int, Spent] = field(default_factory=dict)

    def at_most(self, messages: list[Message]) -> Spent:
        """What a request can cost at most: no token is shorter than a byte."""
        size = sum(len(m["content"].encode()) for m in messages) + len(json.dumps(schema(self.node)))
        return Spent(1, size + OVERHEAD, self.node.max_output_tokens)

    def cost(self, spent: Spent) -> float:
        """In the currency of the prices."""
        prices = self.node.prices
        return (spent.tokens_in * prices.input + spent.tokens_out * prices.output) / 1e6

    def refusal(self, request: Spent) -> str | None:
        """Which cap a further request might break; None if it may be sent."""
        whole = sum(self.held.values(), self.spent + request)
        node = self.node
        if whole.requests > node.max_requests:
            return f"the cap of {node.max_requests:,} requests is reached"
        if whole.tokens > node.max_tokens:
            return f"the cap of {node.max_tokens:,} tokens is reached"
        if node.max_cost is not None and self.cost(whole) > node.max_cost:
            return f"the cap of {node.max_cost:g} on cost is reached"
        return None

    def settled(self, number: int, cost: Spent) -> None:
        """A request has ended."""
        del self.held[number]
        self.spent += cost


def billed(reply: Reply, at_most: Spent) -> Spent:
    """What a reply cost: as its service says, otherwise the most that it can be."""
    return Spent(
        1,
        at_most.tokens_in if reply.tokens_in is None else reply.tokens_in,
        at_most.tokens_out if reply.tokens_out is None else reply.tokens_out,
    )


def estimate(node: Rows, budget: Budget, asked: list[list[Message]], kept: int) -> Estimate:
    """Tokens and cost of asking each once. asked: the messages of each content without a reply."""
    letters = sum(len(m["content"]) for messages in asked for m in messages)
    around = (len(json.dumps(schema(node))) // LETTERS + OVERHEAD) * len(asked)
    lengths = [max(map(len, output.values)) if isinstance(output, Choice) else output.at_most
               for output in node.output.values()]  # fmt: skip
    reply = (sum(lengths) + sum(map(len, node.output)) + 8 * len(lengths)) // LETTERS + 15
    spent = Spent(len(asked), letters // LETTERS + around, min(reply, node.max_output_tokens) * len(asked))
    priced = node.prices.input and node.prices.output
    return Estimate(
        len(asked), kept, spent.tokens_in, spent.tokens_out, budget.cost(spent) if priced else None
    )
