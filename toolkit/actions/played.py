"""The actions for a list: who does what by when, what did not become an action and why, and the file of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.config.playbook import ANYBODY
from toolkit.report.lists import write_csv

SAID = 8  # owners, and rules that hold nowhere, in a line


@dataclass(frozen=True)
class Action:
    """One line of the list of actions. not_assigned: why it has no owner; "" where it has, or none is declared."""

    rank: int
    key: str
    snapshot: str
    tier: str
    score: float
    action: str
    owner: str
    deadline: str
    message: str
    why: str
    rule: str
    priority: int
    not_assigned: str = ""


@dataclass(frozen=True)
class Played:
    """The actions for a list, by rank, and what did not become one.

    rows: of the list; without: of them, those without an action; left_out: actions beyond `most`; held: rule → rows;
    passed: (rule, name) → rows that it was for, had `name` not been missing.
    """

    actions: list[Action]
    key: str
    score: str
    rows: int
    without: int
    left_out: int
    held: dict[str, int]
    passed: dict[tuple[str, str], int]

    def by_action(self) -> Counter[str]:
        return Counter(action.action for action in self.actions)

    def by_owner(self) -> Counter[str]:
        return Counter(action.owner for action in self.actions if action.owner)

    def lines(self, stem: str) -> list[str]:
        """What to say of them on a screen."""
        said = f"{stem}.actions.csv: {len(self.actions):,} actions for {self.rows - self.without:,} of {self.rows:,} rows"
        lines = [": ".join(filter(None, [said, _each(self.by_action())]))]
        if owners := self.by_owner():
            lines.append(f"  by owner: {_each(owners)}")
        return lines + [f"  {line}" for line in self.remarks()]

    def remarks(self) -> list[str]:
        """What did not become an action, or has nobody to do it, and rules that are for no row."""
        left = Counter(action.not_assigned for action in self.actions if action.not_assigned)
        each = ", ".join(f"{many:,} ({why})" for why, many in left.most_common(SAID))
        said = [f"not assigned: {each}{_more(len(left))}"] if left else []
        if self.without:
            said.append(f"no action: {self.without:,} of the {self.rows:,} rows of the list")
        if self.left_out:
            said.append(
                f"left out: {self.left_out:,} less urgent actions of rows that have as many as `most` allows"
            )
        said += [
            f"rule `{rule}` passed over {many:,} rows: `{name}` is missing, and has no text under `missing`"
            for (rule, name), many in self.passed.items()
        ]
        if never := [f"`{rule}`" for rule, many in self.held.items() if not many]:
            said.append(f"rules that hold for no row: {', '.join(never[:SAID])}{_more(len(never))}")
        return said


def _each(found: Counter[str]) -> str:
    """`Call 40, Write 3`, the most frequent first."""
    return ", ".join(f"{name} {many:,}" for name, many in found.most_common(SAID)) + _more(len(found))


def _more(there: int) -> str:
    return f", and {there - SAID:,} more" if there > SAID else ""


def assigned(actions: list[Action], capacity: Mapping[str, int]) -> list[Action]:
    """Each owner's most urgent actions, the best rows first, up to the capacity; the others have no owner, and say so."""
    left, found = dict(capacity), list(actions)
    for at in sorted(range(len(actions)), key=lambda i: (actions[i].priority, actions[i].rank)):
        owner = actions[at].owner
        most = capacity.get(owner, capacity.get(ANYBODY))
        if not owner or most is None:
            continue
        left.setdefault(owner, most)
        left[owner] -= 1
        if left[owner] < 0:
            found[at] = replace(actions[at], owner="", not_assigned=f"beyond the {most:,} of {owner}")
    return found


def write(played: Played, folder: Path, stem: str) -> None:
    """`<list>.actions.csv`, by rank, of one row the most urgent first."""
    header = ["rank", played.key, "snapshot", "tier", played.score, "action", "owner", "deadline", "message",
              "why", "rule", "priority", "not_assigned"]  # fmt: skip
    write_csv(
        folder / f"{stem}.actions.csv", header, (tuple(vars(action).values()) for action in played.actions)
    )
