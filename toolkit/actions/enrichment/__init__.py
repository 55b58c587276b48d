"""Enrichment: fields that a language model, or declared rules, write beside the best rows of a ranked list.

Declared fields of a row go into a prompt (`prompts`), one request per row (`service`, `asking`), under
hard caps (`budget`), every reply kept (`ledger`) and trusted with nothing but its own row's declared
fields (`replies`). Where there is no key, and for every row without a valid reply, rules write them
(`rules`). Who wrote a row stands in the row.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.actions.enrichment import prompts, replies, rules
from toolkit.actions.enrichment.service import Key, address, find_key
from toolkit.actions.enrichment.text import cell
from toolkit.config.enrichment import BY, NOTE, Rows
from toolkit.errors import ConfigError, DataError, did_you_mean
from toolkit.report.lists import write_csv
from toolkit.runfolder import write_json

if TYPE_CHECKING:
    import pyarrow as pa

    from toolkit.actions.enrichment.asking import Answer, Content
    from toolkit.actions.ranked import Ranked
    from toolkit.workplace import Progress

log = logging.getLogger("toolkit")
TEMPLATE, OPENAI = "template", "openai"
VERSION = 1  # of what a reply depends on besides what is hashed


@dataclass(frozen=True)
class Ready:
    """A checked declaration. why: why this provider; key: None where nothing is asked."""

    node: Rows
    prompt: prompts.Prompt
    key: Key | None
    why: str

    @property
    def provider(self) -> str:
        return TEMPLATE if self.key is None else OPENAI


@dataclass(frozen=True)
class Enriched:
    """table: the list's best rows with the declared fields, who wrote them, and why [rows]; facts: what it took."""

    table: pa.Table
    facts: dict[str, Any]

    def words(self) -> str:
        """`100 rows: 98 by openai:gpt-4o-mini, 2 by template`"""
        parts = [f"{count:,} by {by}" for by, count in self.facts["rows_by"].items()]
        return f"{self.table.num_rows:,} rows: {', '.join(parts)}" if parts else "0 rows"


def ready(node: Rows) -> Ready:
    """Check all that can be checked before there is a list: prompt, rules, key. Raises ConfigError."""
    prompt = prompts.load(node)
    rules.admitted(node)
    if node.provider == TEMPLATE:
        return Ready(node, prompt, None, "declared")
    key = find_key(node.key_variable)
    if key is not None:
        if not (key.value.isascii() and key.value.isprintable()):
            raise ConfigError(
                f"the key in {node.key_variable} ({key.origin}) holds letters that no key has",
                where="enrichment.key_variable",
                fix="copy it again, without quotes or blanks around it",
            )
        return Ready(node, prompt, key, f"the key is from {key.origin}")
    nowhere = f"{node.key_variable} is neither in the environment nor in .env"
    if node.provider == "auto":
        return Ready(node, prompt, None, f"no key: {nowhere}")
    if node.base_url:  # a model on one's own machine needs none
        return Ready(node, prompt, Key("none", "nowhere"), "declared, without a key")
    raise ConfigError(
        "the provider `openai` needs a key", where="enrichment.provider", why=nowhere,
        fix=f"set {node.key_variable} in the environment or in .env; or enrichment.provider=template",
    )  # fmt: skip


def enrich(ready: Ready, ranked: Ranked, progress: Progress) -> Enriched:
    """Write the declared fields beside the best rows. Order, keys and every other column stay as they are.

    progress(stage, share): told before and while a service is asked. Raises DataError where the list lacks a column.
    """
    import pyarrow as pa

    node = ready.node
    _check_columns(node, ranked)
    best = ranked.table.slice(0, node.top)
    fields = rules.selected(node, best)
    if ready.key is None:
        progress("enrichment by rules", 0.0)
    by_rules = rules.fill(node, fields)
    facts: dict[str, Any] = {
        "provider": ready.provider,
        "why": ready.why,
        "prompt": node.prompt,
        "target": ranked.target,
    }
    answers: Sequence[Answer | None] = [None] * best.num_rows
    if ready.key is not None and best.num_rows:
        answers, asked = _asked(ready, fields.to_pylist(), progress)
        facts |= asked
    columns: dict[str, list[str]] = {name: [] for name in (*node.output, BY, NOTE)}
    for ruled, answer in zip(by_rules, answers, strict=True):
        valid = answer.values if answer else None
        line = {
            **(valid or ruled),
            BY: f"{OPENAI}:{node.model}" if valid else TEMPLATE,
            NOTE: answer.note if answer else "",
        }
        for name, value in line.items():
            columns[name].append(value)
    for name, values in columns.items():
        best = best.append_column(name, pa.array(values, pa.string()))
    facts |= {"rows": best.num_rows, "rows_by": dict(Counter(columns[BY])),
              "reasons": dict(Counter(note for note, by in zip(columns[NOTE], columns[BY], strict=True) if note and by == TEMPLATE))}  # fmt: skip
    if facts["reasons"]:
        reason, count = max(facts["reasons"].items(), key=lambda item: item[1])
        many = sum(facts["reasons"].values())
        log.warning(
            "enrichment: %d rows are by rules instead of %s, mostly (%d): %s", many, node.model, count, reason
        )
    return Enriched(best, facts)


def _check_columns(node: Rows, ranked: Ranked) -> None:
    there = ranked.table.column_names
    for name, column in node.fields.items():
        if column not in there:
            raise DataError(
                f"the list of `{ranked.target}` has no column `{column}`", where=f"enrichment.fields.{name}",
                why="prompts and rules see columns of the ranked list", fix=did_you_mean(column, there),
            )  # fmt: skip
    for name in (*node.output, BY, NOTE):
        if name.lower() in {column.lower() for column in there}:
            raise DataError(
                f"the list of `{ranked.target}` has a column `{name}` already", where=f"enrichment.output.{name}",
                fix="choose another name",
            )  # fmt: skip


def _asked(
    ready: Ready, rows: list[dict[str, Any]], progress: Progress
) -> tuple[list[Answer | None], dict[str, Any]]:
    """An answer for each row, and what it took."""
    from toolkit.actions.enrichment import budget, ledger
    from toolkit.actions.enrichment.asking import Asking
    from toolkit.actions.enrichment.service import Service
    from toolkit.data.cache import digest
    from toolkit.workplace import within

    node, key = ready.node, ready.key
    assert key is not None
    of_row = [_content(ready, {name: cell(value) for name, value in row.items()}) for row in rows]
    contents = {content.key: content for content in of_row}
    job = digest(sorted(contents))
    with ledger.opened(Path(node.folder)) as book:
        before = book.spent(job)
        open_ = [content.messages for content in contents.values() if not book.replies(content.key)]
        purse = budget.Budget(node, before)
        guess = budget.estimate(node, purse, open_, len(contents) - len(open_))
        stage = f"enrichment ({guess.words(node.model)})"
        log.info("%s", stage)
        progress(stage, 0.0)
        asking = Asking(node, Service(node, key.value), book, purse, job, within(progress, stage))
        found = asking.run(contents)
        spent = book.spent(job)
    facts = {
        "model": node.model, "base_url": _without_user(address(node)), "estimate": asdict(guess),
        "contents": len(contents), "faults": dict(asking.faults), "stopped": asking.stopped,
        "spent": _spending(purse, spent), "spent_in_this_run": _spending(purse, _less(spent, before)),
        "caps": {"requests": node.max_requests, "tokens": node.max_tokens, "cost": node.max_cost},
    }  # fmt: skip
    return [found[content.key] for content in of_row], facts


def _content(ready: Ready, data: Mapping[str, Any]) -> Content:
    """What is asked about a row, named by the hash of everything that the reply depends on."""
    from toolkit.actions.enrichment.asking import Content
    from toolkit.data.cache import digest

    node = ready.node
    key = digest([
        VERSION, ready.prompt.system, ready.prompt.task, dict(data), node.model, address(node), node.temperature,
        node.max_output_tokens, replies.schema(node), {n: o.model_dump(exclude={"rules", "otherwise"}) for n, o in node.output.items()},
    ])  # fmt: skip
    token = key[:8]
    return Content(key, token, ready.prompt.messages(token, data))


def _spending(purse: Any, spent: Any) -> dict[str, Any]:
    priced = purse.node.prices.input and purse.node.prices.output
    return {**asdict(spent), "cost": round(purse.cost(spent), 6) if priced else None}


def _less(after: Any, before: Any) -> Any:
    return type(after)(*(a - b for a, b in zip(asdict(after).values(), asdict(before).values(), strict=True)))


def _without_user(url: str) -> str:
    scheme, sign, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return scheme + sign + host.rpartition("@")[2] + slash + path.partition("?")[0]


def write(enriched: Enriched, folder: Path, name: str) -> Path:
    """`<name>.csv`, safe to open in a spreadsheet, and `<name>.json`, what it took. Returns the CSV's path."""
    path = folder / f"{name}.csv"
    columns = [column.to_pylist() for column in enriched.table.columns]
    write_csv(path, enriched.table.column_names, zip(*columns, strict=True))
    write_json(folder / f"{name}.json", enriched.facts)
    return path
