"""What to do about the rows of a ranked list: the declared rules, matched, filled in and given to their owners.

    check(config, features, tables, labels)          # before anything is fitted
    play(scorer, scored, standing, ranked, once)     # → Played, which `played.write` puts beside the list

Rules see a row's tier, its strongest reasons, and a condition over features and columns of the entity table.
Messages are plain replacement of declared names, in one pass: no cell can name a place of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.actions import conditions
from toolkit.actions import ranked as lists
from toolkit.actions.enrichment.text import one_line, shown
from toolkit.actions.played import Action, Played, assigned
from toolkit.actions.ranked import Ranked, Standing, Told
from toolkit.actions.reasons import Once
from toolkit.bundling import Scorer
from toolkit.config.deadline import due
from toolkit.config.enrichment import PLACEHOLDER
from toolkit.config.playbook import MATCHED, OwnerColumn, Rules, Todo, When, whose
from toolkit.config.schema import Config
from toolkit.data.tables import Loaded, Tables
from toolkit.errors import ConfigError, did_you_mean
from toolkit.prepare.features import Feature
from toolkit.prepare.protected import CompiledProtected, refuse_reading
from toolkit.report.figures import percent
from toolkit.scoring.batch import Scored

# --- before anything is fitted ----------------------------------------------------------------------


def check(
    config: Config, features: Sequence[Feature], tables: Tables, labels: Collection[tuple[str, str]],
    protected: Sequence[CompiledProtected] = (),
) -> None:  # fmt: skip
    """Names and conditions in `playbook` that only the data decides. labels: columns that tell of a target.

    Raises ConfigError naming the nearest, and LeakError where it reads a protected attribute and may not.
    """
    node = config.playbook
    if not isinstance(node, Rules):
        return
    entity = tables[tables.dataset.entity]
    names = [feature.name for feature in features]
    hidden = {column for table, column in labels if table == entity.name}
    known = [*names, *(column for column in entity.columns if column not in hidden)]
    said = [(f"columns.{n}", column) for n, column in node.columns.items()] + _owner_columns(node)
    for name, column in said:
        if column not in known:
            where = f"playbook.{name}"
            if column in hidden:
                raise ConfigError(
                    f"`{column}` tells of a target, and is not known yet of the rows of a list", where=where,
                    fix="name a feature, or another column",
                )  # fmt: skip
            raise ConfigError(
                f"`{column}` is neither a feature nor a column of table `{entity.name}`", where=where,
                fix=did_you_mean(column, known),
            )  # fmt: skip
    asked = conditions.read_in(node, known).items()
    said += [(f"rules.{name}.when.where", column) for name, columns in asked for column in columns]
    refuse_reading([(f"playbook.{name}", c) for name, c in said if c in entity.columns], entity, protected)
    for name, rule in node.rules.items():
        for which in ("reason", "against"):
            for at, pattern in enumerate(getattr(rule.when, which)):
                where = f"playbook.rules.{name}.when.{which}.{at}"
                found = [feature for feature in names if fnmatchcase(feature, pattern)]
                if found and all(config.listing.words.get(feature) == "" for feature in found):
                    raise ConfigError(
                        f"`{pattern}` is called nothing in `listing.words`, so it is never a reason", where=where,
                        fix="call it something there, or name another feature",
                    )  # fmt: skip
                if not found:
                    raise ConfigError(
                        f"no feature is called `{pattern}`", where=where,
                        fix=did_you_mean(pattern, names),
                    )  # fmt: skip
    conditions.holding(node, _missing(node, features, entity, known), 1)  # wrong types show on any row


def _owner_columns(node: Rules) -> list[tuple[str, str]]:
    return [
        (".".join([*keys, "owner", "column"]), todo.owner.column)
        for _, keys, todo in node.todos()
        if isinstance(todo.owner, OwnerColumn)
    ]


def _missing(
    node: Rules, features: Sequence[Feature], entity: Loaded, known: Sequence[str]
) -> dict[str, Any]:
    """A row of missing cells in the columns that conditions read, in their types. Raises ConfigError for one that is not known."""
    schema = pq.read_schema(entity.path)
    types = {name: schema.field(name).type for name in entity.columns}
    types |= {f.name: pa.string() if f.kind == "categorical" else pa.float64() for f in features}
    return {name: pa.nulls(1, types[name]) for name in conditions.read_by(node, known)}


# --- the rows of a list -----------------------------------------------------------------------------


def is_for(scorer: Scorer, target: str, chosen: bool) -> bool:
    """Whether the playbook is for a list: the chosen model's, of the playbook's target."""
    node = scorer.playbook
    names = [head.name for head in scorer.heads]
    return isinstance(node, Rules) and chosen and whose(node, scorer.listing, names) == target


def play(
    scorer: Scorer, scored: Scored, standing: Standing, ranked: Ranked, once: Once | None = None
) -> Played:
    """The actions for the rows of a list."""
    node = scorer.playbook
    assert isinstance(node, Rules)
    rows = standing.rows[: ranked.table.num_rows]
    entity = scored.tables[scorer.declaration.dataset.entity]
    names = [feature.name for feature in scored.matrix.features]
    owners = [column for _, column in _owner_columns(node)]
    read = conditions.read_by(node, [*names, *entity.columns])
    said = [*node.columns.values(), *owners]
    cells = lists.shown({name: name for name in (*read, *said)}, scored, entity, rows)
    holds = conditions.holding(node, {name: cells[name] for name in read}, len(rows))
    meant = {name: (_meant(rule.when.reason, names), _meant(rule.when.against, names))
             for name, rule in node.rules.items()}  # fmt: skip
    told = lists.told(scorer, scored, standing, rows, once)
    texts = {name: [_text(cell) for cell in cells[name].to_pylist()] for name in said}
    score, number = lists.score_column(standing.head), standing.head.type == "regression"
    table = ranked.table
    if "tier" not in table.column_names:
        table = table.append_column("tier", pa.nulls(len(table), pa.string()))

    rules = _Rules(node, meant, holds)
    actions: list[Action] = []
    without = left_out = 0
    for at, line in enumerate(table.select(["rank", ranked.key, "snapshot", "tier", score]).to_pylist()):
        row = _Row(
            line["rank"], line[ranked.key], line["snapshot"], line["tier"] or "", line[score], at, told,
            *(told.sides(at, node.reasons) if told else ([], [])),
            {name: texts[column][at] for name, column in node.columns.items()}
            | {"score": _text(line[score]) if number else percent(line[score])},
            {column: texts[column][at] for column in owners},
        )  # fmt: skip
        mine = sorted(rules.actions(row), key=lambda action: action.priority)
        actions += mine[: node.most]
        left_out += max(len(mine) - node.most, 0)
        without += not mine
    return Played(
        assigned(actions, node.capacity), ranked.key, score, len(rows), without, left_out, rules.held,
        dict(rules.passed),
    )  # fmt: skip


def _meant(patterns: Sequence[str], names: Sequence[str]) -> frozenset[int]:
    """The columns that some names or patterns mean."""
    return frozenset(c for c, name in enumerate(names) if any(fnmatchcase(name, p) for p in patterns))


@dataclass(frozen=True)
class _Row:
    """A row of the list. raising, lowering: of `Told.sides`; columns, owners: texts, "" where missing."""

    rank: int
    key: str
    snapshot: str
    tier: str
    score: float
    at: int
    told: Told | None
    raising: list[list[int]]
    lowering: list[list[int]]
    columns: dict[str, str]
    owners: dict[str, str]

    def say(self, c: int) -> str:
        return one_line(self.told.say(self.at, c)) if self.told else ""


@dataclass
class _Rules:
    """The rules, and how often they held and passed a row over.

    meant: rule → the columns that it asks for among the reasons that raise, and that lower, a score; holds: rule with
    a condition → whether it holds [rows].
    """

    node: Rules
    meant: dict[str, tuple[frozenset[int], frozenset[int]]]
    holds: dict[str, np.ndarray]
    held: dict[str, int] = field(init=False)
    passed: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.held = dict.fromkeys(self.node.rules, 0)

    def actions(self, row: _Row) -> list[Action]:
        """What the rules say to do about a row, in their order."""
        found: list[Action] = []
        for name, rule in self.node.rules.items():
            holds = name not in self.holds or bool(self.holds[name][row.at])
            why = _why(rule.when, row, self.meant[name], holds)
            if why is None:
                continue
            self.held[name] += 1
            if (action := self._action(name, rule, row, *why)) is not None:
                found.append(action)
                if rule.stop:
                    break
        if not found and row.tier in self.node.otherwise:
            name, todo = f"otherwise.{row.tier}", self.node.otherwise[row.tier]
            action = self._action(name, todo, row, f"tier {row.tier}, and no rule", "")
            found += [action] if action else []
        return found

    def _action(self, name: str, todo: Todo, row: _Row, why: str, reason: str) -> Action | None:
        """None, and counted, where its message lacks something."""
        action, missing = _action(self.node, name, todo, row, why, reason)
        if missing:
            self.passed[name, missing] += 1
        return None if missing else action


def _why(
    when: When, row: _Row, meant: tuple[frozenset[int], frozenset[int]], holds: bool
) -> tuple[str, str] | None:
    """Why a rule is for a row, and the reason in words that it asks for; None if it is not for it."""
    if (when.tier and row.tier not in when.tier) or not holds:
        return None
    why, reason = [f"tier {row.tier}"] if when.tier else [], ""
    for asked, side in ((meant[0], row.raising), (meant[1], row.lowering)):
        if not asked:
            continue
        found = next((c for group in side for c in group if c in asked), None)
        if found is None:
            return None
        why.append(row.say(found))
        reason = reason or why[-1]
    why += [when.where] if when.where else []
    return "; ".join(why) or "every row", reason


def _action(node: Rules, name: str, todo: Todo, row: _Row, why: str, reason: str) -> tuple[Action, str]:
    """What a rule says to do about a row, and the name of what its message lacks; "" if it lacks nothing."""
    owner, not_assigned = "", ""
    if isinstance(todo.owner, OwnerColumn):
        owner = row.owners[todo.owner.column] or todo.owner.otherwise or ""
        not_assigned = "" if owner else f"`{todo.owner.column}` is missing"
    elif todo.owner:
        owner = todo.owner
    deadline = _deadline(todo, row.snapshot, node.holidays)
    message, missing = "", ""
    if todo.message is not None:
        places = dict.fromkeys(PLACEHOLDER.findall(todo.message))
        given = row.columns | {
            "key": _text(row.key), "rank": str(row.rank), "snapshot": row.snapshot or "–", "tier": row.tier,
            "owner": owner or "–", "action": todo.action, "deadline": deadline, MATCHED: reason,
        }  # fmt: skip
        given |= {f"{MATCHED}_{n}": row.say(group[0]) for n, group in enumerate(row.raising, 1)
                  if f"{MATCHED}_{n}" in places}  # fmt: skip
        filled = {place: given.get(place) or node.missing.get(place, "") for place in places}
        missing = next((place for place, text in filled.items() if not text), "")
        message = PLACEHOLDER.sub(lambda found: filled[found[1]], todo.message).strip()
    action = Action(
        row.rank, row.key, row.snapshot, row.tier, row.score, todo.action, owner, deadline, message, why, name,
        todo.priority, not_assigned,
    )  # fmt: skip
    return action, missing


def _text(cell: Any) -> str:
    """A cell inside a sentence: one line, nothing invisible; "" where it is missing."""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int) and 1900 <= cell < 2100:  # most likely a year
        return str(cell)
    return shown(cell)


def _deadline(todo: Todo, snapshot: str, holidays: Sequence[date]) -> str:
    """The day; the span itself where a list is of no day."""
    if not todo.deadline:
        return ""
    if not snapshot:
        return f"within {todo.deadline}"
    return due(todo.deadline, date.fromisoformat(snapshot), holidays).isoformat()
