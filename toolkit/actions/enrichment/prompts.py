"""Prompts: two text files with named places, and a row's declared fields as data.

`system.txt` says the task once for all rows and holds nothing of any row. `task.txt` is sent per row;
what the row holds enters it as JSON in which `<`, `>` and `&` are escaped, so that no cell can close
the tag that it stands in, and in one pass, so that no cell can name a place of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.config.enrichment import DATA, OUTPUT, PLACEHOLDER, ROW, Choice, Rows, Text
from toolkit.config.paths import packaged, readable
from toolkit.errors import ConfigError, did_you_mean

Message = dict[str, str]
ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
QUOTED = 2_000  # characters of a wrong reply that are sent back


@dataclass(frozen=True)
class Prompt:
    """system: as it is sent; task: with `{row}`, `{data}` and `{<field>}` still open."""

    system: str
    task: str

    def messages(self, row: str, data: Mapping[str, Any]) -> list[Message]:
        """What is sent for one row. row: its token; data: its declared fields, cleaned."""
        given = {name: as_json(value) for name, value in data.items()}
        given |= {DATA: as_json({ROW: row, **data}), ROW: row}
        return [{"role": "system", "content": self.system},
                {"role": "user", "content": _filled(self.task, given)}]  # fmt: skip


def again(messages: list[Message], reply: str | None, wrong: str) -> list[Message]:
    """The same, after a reply that was not valid."""
    said = [{"role": "assistant", "content": reply[:QUOTED]}] if reply else []
    ask = f"That reply was not valid: {wrong}. Reply again, with one JSON object of the schema and nothing else."
    return [*messages, *said, {"role": "user", "content": ask}]


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).translate(ESCAPED)


def load(node: Rows) -> Prompt:
    """Read prompts/<name>/ from the working folder, otherwise the packaged one. Raises ConfigError."""
    folders = [Path.cwd() / "prompts" / node.prompt, packaged(f"prompts/{node.prompt}")]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        there = {path.name for near in folders if near.parent.is_dir() for path in near.parent.iterdir()
                 if path.is_dir()}  # fmt: skip
        raise ConfigError(
            f"there is no prompt `{node.prompt}`", where="enrichment.prompt",
            why="it is a folder prompts/<name>/ with system.txt and task.txt",
            fix=did_you_mean(node.prompt, there),
        )  # fmt: skip
    system, task = (_read(folder / f"{name}.txt") for name in ("system", "task"))
    _check(folder / "system.txt", system, [OUTPUT], "what a row holds may stand in task.txt only")
    used = _check(
        folder / "task.txt", task, [ROW, DATA, OUTPUT, *node.fields], "declare it in enrichment.fields"
    )
    if DATA not in used and not (ROW in used and used & {*node.fields}):
        raise ConfigError(
            "the task does not show the row", where=readable(folder / "task.txt"),
            fix="write {data} where the row's token and fields shall stand, or {row} and single fields",
        )  # fmt: skip
    vocabulary = {OUTPUT: described(node)}
    return Prompt(_filled(system, vocabulary), _filled(task, vocabulary))


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the prompt `{readable(path)}` cannot be read: {error}") from None
    if not text:
        raise ConfigError(f"the prompt `{readable(path)}` is empty")
    return text


def _check(path: Path, text: str, names: list[str], why: str) -> set[str]:
    """The places that a text names; raises ConfigError for one that is not there."""
    for number, line in enumerate(text.split("\n"), 1):
        for name in PLACEHOLDER.findall(line):
            if name not in names:
                raise ConfigError(
                    f"the prompt names `{{{name}}}`, which it may not", where=f"{readable(path)}:{number}",
                    why=why, fix=did_you_mean(name, names),
                )  # fmt: skip
    return set(PLACEHOLDER.findall(text))


def _filled(text: str, given: Mapping[str, str]) -> str:
    return PLACEHOLDER.sub(lambda found: given.get(found[1], found[0]), text)


def described(node: Rows) -> str:
    """The declared output in words, for `{output}`."""
    lines = []
    for name, output in node.output.items():
        about = f" {output.description}" if output.description else ""
        if isinstance(output, Choice):
            lines.append(f"- {name}:{about} One of:")
            lines += [
                f"    {value}{f': {meaning}' if meaning else ''}" for value, meaning in output.values.items()
            ]
        else:
            lines.append(
                f"- {name}:{about} One line of at most {output.at_most} characters{_no_links(output)}."
            )
    return "\n".join(lines)


def _no_links(output: Text) -> str:
    return "" if output.links else ", without links or addresses"
