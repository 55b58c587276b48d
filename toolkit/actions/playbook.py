"""What to do about the rows of a ranked list: the declared rules, matched, filled in and given to their owners.

    check(config, features, tables, labels)          # before anything is fitted
    play(scorer, scored, standing, ranked, once)     # → Played; `write` puts it beside the list

Rules see a row's tier, its strongest reasons, and a condition over features and columns of the entity table.
Messages are plain replacement of declared names, in one pass: no cell can name a place of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from toolkit.actions import ranked as lists
from toolkit.actions.enrichment.text import LONGEST, cut, one_line, shown
from toolkit.actions.ranked import Ranked, Standing, Told
from toolkit.actions.reasons import Once
from toolkit.bundling import Scorer
from toolkit.config.deadline import due
from toolkit.config.enrichment import PLACEHOLDER
from toolkit.config.playbook import ANYBODY, MATCHED, OwnerColumn, Play, Rules, Todo, whose
from toolkit.config.schema import Config
from toolkit.data import sql
from toolkit.data.engine import Engine
from toolkit.data.tables import Loaded, Tables
from toolkit.errors import ConfigError, DataError, did_you_mean
from toolkit.prepare.features import Feature
from toolkit.report.figures import percent
from toolkit.report.lists import write_csv
from toolkit.scoring.batch import Scored

TABLE, AT = "rows", "@at"
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

    rows: of the list; without: of them, those that no rule is for; cut: actions beyond `most`; held: rule → rows;
    passed: (rule, name) → rows that it was for, had `name` not been missing.
    """

    actions: list[Action]
    key: str
    score: str
    rows: int
    without: int
    cut: int
    held: dict[str, int]
    passed: dict[tuple[str, str], int]

    def lines(self, stem: str) -> list[str]:
        """What to say of them."""
        acted = self.rows - self.without
        each = ", ".join(
            f"{action} ({many:,})" for action, many in Counter(a.action for a in self.actions).items()
        )
        said = [
            f"{stem}.actions.csv: {len(self.actions):,} actions for {acted:,} of {self.rows:,} rows"
            + (f": {each}" if each else "")
        ]
        owners = Counter(a.owner for a in self.actions if a.owner).most_common()
        if owners:
            more = f", and {len(owners) - SAID:,} more" if len(owners) > SAID else ""
            said.append("  by owner: " + ", ".join(f"{name} {many:,}" for name, many in owners[:SAID]) + more)
        for why, many in Counter(a.not_assigned for a in self.actions if a.not_assigned).items():
            said.append(f"  not assigned: {many:,} ({why})")
        if self.without:
            said.append(f"  no rule is for {self.without:,} of the rows")
        if self.cut:
            said.append(
                f"  left out: {self.cut:,} less urgent actions of rows that have as many as `most` allows"
            )
        for (rule, name), many in self.passed.items():
            said.append(
                f"  rule `{rule}` passed over {many:,} rows: `{name}` is missing and has no text under `missing`"
            )
        if never := [rule for rule, many in self.held.items() if not many]:
            more = f", and {len(never) - SAID:,} more" if len(never) > SAID else ""
            said.append("  never held: " + ", ".join(f"`{rule}`" for rule in never[:SAID]) + more)
        return said


# --- before anything is fitted ----------------------------------------------------------------------


def check(
    config: Config, features: Sequence[Feature], tables: Tables, labels: Collection[tuple[str, str]]
) -> None:
    """Names and conditions in `playbook` that only the data decides. labels: columns that tell of a target.

    Raises ConfigError naming the nearest.
    """
    node = config.playbook
    if not isinstance(node, Rules):
        return
    entity = tables[tables.dataset.entity]
    names = [feature.name for feature in features]
    hidden = {column for table, column in labels if table == entity.name}
    known = [*names, *(column for column in entity.columns if column not in hidden)]
    for name, column in [(f"columns.{n}", column) for n, column in node.columns.items()] + _owner_columns(
        node
    ):
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
    for name, rule in node.rules.items():
        for which in ("reason", "against"):
            for at, pattern in enumerate(getattr(rule.when, which)):
                if not any(fnmatchcase(feature, pattern) for feature in names):
                    raise ConfigError(
                        f"no feature is called `{pattern}`", where=f"playbook.rules.{name}.when.{which}.{at}",
                        fix=did_you_mean(pattern, names),
                    )  # fmt: skip
    _hold(node, _empty(node, features, entity, known))


def _owner_columns(node: Rules) -> list[tuple[str, str]]:
    return [
        (".".join([*keys, "owner", "column"]), todo.owner.column)
        for _, keys, todo in node.todos()
        if isinstance(todo.owner, OwnerColumn)
    ]


def _empty(node: Rules, features: Sequence[Feature], entity: Loaded, known: Sequence[str]) -> dict[str, Any]:
    """No rows of the columns that conditions read, in their types. Raises ConfigError for one that is not known."""
    schema = pq.read_schema(entity.path)
    types = {name: schema.field(name).type for name in entity.columns}
    types |= {f.name: pa.string() if f.kind == "categorical" else pa.float64() for f in features}
    return {name: pa.array([], types[name]) for name in _read_by_conditions(node, known)}


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
    read = _read_by_conditions(node, [*names, *entity.columns])
    wanted = dict.fromkeys([*read, *node.columns.values(), *(column for _, column in _owner_columns(node))])
    cells = lists.shown({name: name for name in wanted}, scored, entity, rows)
    holds = _hold(node, {name: cells[name] for name in read})
    told = lists.told(scorer, scored, standing, rows, once)
    texts = {name: cells[name].to_pylist() for name in wanted}
    table, score = ranked.table, lists.score_column(standing.head)
    fixed = table.select(["rank", ranked.key, "snapshot", score]).to_pylist()
    tiers = table["tier"].to_pylist() if "tier" in table.column_names else [None] * len(fixed)

    held = dict.fromkeys(node.rules, 0)
    passed: Counter[tuple[str, str]] = Counter()
    actions: list[Action] = []
    without = cut_off = 0
    for at, line in enumerate(fixed):
        row = _Row(
            line["rank"], line[ranked.key], line["snapshot"], tiers[at] or "", line[score],
            {name: texts[column][at] for name, column in node.columns.items()},
            {column: texts[column][at] for _, column in _owner_columns(node)}, _Reasons.of(told, at, node.reasons),
            standing.head.type != "regression",
        )  # fmt: skip
        mine = list(
            _of_row(node, row, {name: bool(found[at]) for name, found in holds.items()}, held, passed)
        )
        mine.sort(key=lambda action: action.priority)
        actions += mine[: node.most]
        cut_off += max(len(mine) - node.most, 0)
        without += not mine
    return Played(
        _assigned(actions, node.capacity), ranked.key, score, len(fixed), without, cut_off, held, dict(passed)
    )


@dataclass(frozen=True)
class _Reasons:
    """A row's strongest reasons, (feature, text) each: those that raise its score, and those that lower it."""

    raising: list[tuple[str, str]]
    lowering: list[tuple[str, str]]

    @classmethod
    def of(cls, told: Told | None, row: int, most: int) -> _Reasons:
        if told is None:
            return cls([], [])
        raising, lowering = told.sides(row, most)
        return cls(raising, lowering)


@dataclass(frozen=True)
class _Row:
    rank: int
    key: str
    snapshot: str
    tier: str
    score: float
    columns: dict[str, Any]
    owners: dict[str, Any]
    reasons: _Reasons
    probable: bool


def _of_row(
    node: Rules, row: _Row, holds: Mapping[str, bool], held: dict[str, int], passed: Counter[tuple[str, str]]
) -> Iterator[Action]:
    """The actions of one row, in the order of the rules; counts the rules that hold, and those that pass it over."""
    found = False
    for name, rule in node.rules.items():
        matched = _matched(rule, row, holds.get(name, True))
        if matched is None:
            continue
        held[name] += 1
        action = _filled(node, name, rule, row, *matched)
        if isinstance(action, str):
            passed[name, action] += 1
            continue
        found = True
        yield action
        if rule.stop:
            return
    if not found and row.tier in node.otherwise:
        name = f"otherwise.{row.tier}"
        action = _filled(node, name, node.otherwise[row.tier], row, f"tier {row.tier}, and no rule", None)
        if isinstance(action, str):
            passed[name, action] += 1
        else:
            yield action


def _matched(rule: Play, row: _Row, holds: bool) -> tuple[str, str | None] | None:
    """Why a rule is for a row, and the reason in words that it asks for; None if it is not."""
    when, why, reason = rule.when, [], None
    if when.tier:
        if row.tier not in when.tier:
            return None
        why.append(f"tier {row.tier}")
    for patterns, said in ((when.reason, row.reasons.raising), (when.against, row.reasons.lowering)):
        if not patterns:
            continue
        text = next((text for name, text in said if any(fnmatchcase(name, p) for p in patterns)), None)
        if text is None:
            return None
        why.append(text)
        if patterns is when.reason:
            reason = text
    if when.where:
        if not holds:
            return None
        why.append(when.where)
    return "; ".join(why) or "every row", reason


def _filled(node: Rules, name: str, todo: Todo, row: _Row, why: str, reason: str | None) -> Action | str:
    """The action of a rule for a row; the name of what is missing where its message has no text for that."""
    if isinstance(todo.owner, OwnerColumn):
        owner = _text(row.owners[todo.owner.column]) or todo.owner.otherwise or ""
        not_assigned = "" if owner else f"`{todo.owner.column}` is missing"
    else:
        owner, not_assigned = todo.owner or "", ""
    deadline = _deadline(todo, row.snapshot, node.holidays)
    message = ""
    if todo.message is not None:
        said = {name: _text(value) for name, value in row.columns.items()}
        said |= {f"{MATCHED}_{n}": text for n, (_, text) in enumerate(row.reasons.raising, 1)}
        said |= {
            "key": _text(row.key), "rank": str(row.rank), "snapshot": row.snapshot or "–", "tier": row.tier, "owner": owner or "–",
            "score": percent(row.score) if row.probable else shown(row.score), "action": todo.action, "deadline": deadline,
            MATCHED: reason or "",
        }  # fmt: skip
        for place in dict.fromkeys(PLACEHOLDER.findall(todo.message)):
            if not said.get(place):
                if place not in node.missing:
                    return str(place)
                said[place] = node.missing[place]
        message = PLACEHOLDER.sub(lambda found: said[found[1]], todo.message).strip()
    return Action(
        row.rank, row.key, row.snapshot, row.tier, row.score, todo.action, owner, deadline, message, why, name,
        todo.priority, not_assigned,
    )  # fmt: skip


def _text(cell: Any) -> str:
    """A cell inside a sentence: one line, nothing invisible; "" where it is missing. Texts of digits stay."""
    return cut(one_line(cell), LONGEST) if isinstance(cell, str) else shown(cell)


def _deadline(todo: Todo, snapshot: str, holidays: Sequence[date]) -> str:
    """The day; the span itself where a list is of no day."""
    if not todo.deadline:
        return ""
    if not snapshot:
        return f"within {todo.deadline}"
    return due(todo.deadline, date.fromisoformat(snapshot), holidays).isoformat()


def _assigned(actions: list[Action], capacity: Mapping[str, int]) -> list[Action]:
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


# --- conditions -------------------------------------------------------------------------------------


def _read_by_conditions(node: Rules, known: Sequence[str]) -> list[str]:
    """The features and columns that conditions read. Raises ConfigError for one that is not admitted."""
    trees = _conditions(node, known).values()
    return list(dict.fromkeys(name for tree in trees for name in sorted(tree.columns)))


def _conditions(node: Rules, known: Sequence[str]) -> dict[str, sql.Expression]:
    return {
        name: sql.expression(rule.when.where, known, f"playbook.rules.{name}.when.where")
        for name, rule in node.rules.items()
        if rule.when.where is not None
    }


def _hold(node: Rules, cells: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Rule with a condition → whether it holds [rows]; one that has no value does not.

    cells: what conditions read, pyarrow arrays [rows]. Raises ConfigError for one that is no condition, and
    DataError for one that compares what cannot be compared.
    """
    found: dict[str, np.ndarray] = {}
    conditions = _conditions(node, list(cells))
    if not conditions:
        return found
    size = len(next(iter(cells.values()))) if cells else 0
    engine = Engine(threads=1)  # in the order of rows
    try:
        engine.register(TABLE, pa.table({**cells, AT: pa.array(range(size), pa.int64())}))
        for name, condition in conditions.items():
            where = f"playbook.rules.{name}.when.where"
            query = (
                exp.select(sql.named(condition.tree, "holds")).from_(sql.table(TABLE)).order_by(sql.col(AT))
            )
            try:
                column = engine.arrow(query)["holds"]
            except DataError as error:
                error.where, error.fix = where, "compare columns with values of their type"
                raise
            if not pa.types.is_boolean(column.type):
                raise ConfigError(
                    f"`{node.rules[name].when.where}` is no condition, but {column.type}", where=where,
                    fix="compare it with something, for example > 0",
                )  # fmt: skip
            found[name] = column.fill_null(False).to_numpy(zero_copy_only=False)
    finally:
        engine.close()
    return found
