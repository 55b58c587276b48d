"""One YAML file, read with care: what YAML would silently twist, or a payload needs, is refused by line.

YAML 1.1 reads `001` as 1, `12:30` as 750, `on:` as True, and lets a few lines of aliases expand into
gigabytes. Hydra would build whatever a `_target_` names. None of that may come from a declaration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf._utils import get_yaml_loader

from toolkit.config.paths import readable
from toolkit.errors import ConfigError

MAX_NODES = 100_000
PLAIN_TAGS = {
    f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "merge")
}
# Hydra instantiates what lies below the other keys of its node, so files may set only these.
HYDRA_KEYS: dict[str, set[str]] = {
    "run": {"dir"},
    "sweep": {"dir", "subdir"},
    "job": {"name", "chdir", "config"},
    "mode": set(),
    "output_subdir": set(),
    "searchpath": set(),
    "verbose": set(),
}


@dataclass(frozen=True)
class Declaration:
    """A checked YAML file. `tree` is None for an empty one; `data` holds plain Python values."""

    path: Path
    text: str
    tree: yaml.MappingNode | None
    data: dict[Any, Any]


def read(path: Path) -> Declaration:
    """Read and check one declaration. Raises ConfigError with file and line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError("not a UTF-8 text file", where=readable(path), fix="save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=readable(path)) from None
    return _parsed(path, text)


@lru_cache(maxsize=1024)
def _parsed(path: Path, text: str) -> Declaration:
    """The same text is parsed once: a sweep composes the same files for each of its jobs."""
    loader = get_yaml_loader()(text)
    try:
        tree = loader.get_single_node()
        if tree is None:
            return Declaration(path, text, None, {})
        _check(path, tree)
        if not isinstance(tree, yaml.MappingNode):
            raise _error(path, tree, "a declaration must be a mapping", fix="write `key: value` lines")
        data = loader.construct_document(tree)
    except yaml.YAMLError as error:
        raise _syntax_error(path, error) from None
    except RecursionError:
        raise ConfigError("nested too deeply", where=readable(path), fix="flatten it") from None
    _check_hydra(path, tree)
    return Declaration(path, text, tree, data)


def entries(tree: yaml.Node) -> list[tuple[yaml.Node, yaml.Node]]:
    """(key node, value node) of a mapping, without merge keys (`read` has folded them in)."""
    return tree.value if isinstance(tree, yaml.MappingNode) else []


def _check(path: Path, tree: yaml.Node) -> None:
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def visit(node: yaml.Node) -> int:
        """Size of the node once its aliases are expanded; each node is looked at once."""
        if id(node) in open_nodes:
            raise _error(path, node, "an alias contains itself", fix="write the value out")
        if id(node) in sizes:
            return sizes[id(node)]
        open_nodes.add(id(node))
        _check_node(path, node)
        sizes[id(node)] = 1 + sum(visit(child) for child in _children(node))
        open_nodes.discard(id(node))
        if sizes[id(node)] > MAX_NODES:
            raise _error(path, node, f"expands to more than {MAX_NODES:,} values", why="aliases multiply")
        return sizes[id(node)]

    visit(tree)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _check_node(path: Path, node: yaml.Node) -> None:
    quote = "put it in quotes"
    if node.tag not in PLAIN_TAGS:
        short = node.tag.replace("tag:yaml.org,2002:", "!!")
        raise _error(path, node, f"YAML tag `{short}` is not allowed", fix="write a plain value, in quotes")
    if isinstance(node, yaml.ScalarNode) and node.tag.endswith((":int", ":float")):
        if ":" in node.value:
            raise _error(path, node, f"YAML reads `{node.value}` as a number to base 60", fix=quote)
        if re.fullmatch(r"[-+]?0[0-9_]+", node.value):
            raise _error(path, node, f"YAML reads `{node.value}` as an octal number", fix=quote)
    seen: dict[str, int] = {}
    for key, _ in entries(node):
        if key.tag == "tag:yaml.org,2002:merge":
            continue
        if key.tag == "tag:yaml.org,2002:bool":
            raise _error(path, key, f"YAML reads the key `{key.value}` as true or false", fix=quote)
        if not isinstance(key, yaml.ScalarNode):
            raise _error(path, key, "a key must be plain text", fix=quote)
        if key.value == "_target_":
            raise _error(
                path, key, "`_target_` is not allowed", why="a declaration runs no code", fix=TARGET_FIX
            )
        if key.value in seen:
            raise _error(
                path,
                key,
                f"`{key.value}` stands twice, first in line {seen[key.value]}",
                fix="keep one of them",
            )
        seen[key.value] = key.start_mark.line + 1


TARGET_FIX = "name a component by its `kind`; `toolkit list` shows them"


def _check_hydra(path: Path, tree: yaml.MappingNode) -> None:
    for key, value in entries(tree):
        if key.value == "hydra":
            _only(path, value, set(HYDRA_KEYS), "hydra")
            for inner, settings in entries(value):
                if inner.value == "searchpath":
                    _plain_folders(path, settings)
                if HYDRA_KEYS[inner.value]:
                    _only(path, settings, HYDRA_KEYS[inner.value], f"hydra.{inner.value}")
        elif key.value == "defaults" and isinstance(value, yaml.SequenceNode):
            for item in value.value:
                named = (
                    item if isinstance(item, yaml.ScalarNode) else next((k for k, _ in entries(item)), item)
                )
                package = str(named.value).partition("@")[2]
                if "hydra" in re.split(r"[.:]", package):
                    raise _error(
                        path, named, f"`{named.value}` writes into Hydra's own settings", why=HYDRA_WHY
                    )


HYDRA_WHY = "Hydra can be made to run code there, so files may not"


def _plain_folders(path: Path, node: yaml.Node) -> None:
    for item in [node, *_children(node)]:
        text = item.value if isinstance(item, yaml.ScalarNode) else ""
        if "${" in text or "://" in text.removeprefix("file://"):  # pkg:// would import a module
            raise _error(
                path, item, f"`{text}` may not stand on the search path", fix="write the path of a folder"
            )


def _only(path: Path, node: yaml.Node, allowed: set[str], name: str) -> None:
    if not isinstance(node, yaml.MappingNode):
        raise _error(path, node, f"`{name}` must be a mapping, written out here", why=HYDRA_WHY)
    for key, _ in entries(node):
        if key.value not in allowed:
            raise _error(
                path,
                key,
                f"`{name}.{key.value}` may not be set in a file",
                why=HYDRA_WHY,
                fix=f"allowed here: {', '.join(sorted(allowed))}; others only on the command line",
            )


def _error(path: Path, node: yaml.Node, what: str, **more: str) -> ConfigError:
    return ConfigError(what, where=f"{readable(path)}:{node.start_mark.line + 1}", **more)


def _syntax_error(path: Path, error: yaml.YAMLError) -> ConfigError:
    problem = getattr(error, "problem", None) or str(error).split("\n")[0]
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    hints = {
        "\\t": "indent with blanks, not tabs",
        "mapping values are not allowed": "put a value that contains `: ` in quotes",
        "but found '?'": 'inside braces put it in quotes: {path: "???"}',
        "expected the node content": "put a value that begins with a special character in quotes",
        "expected <block end>": "check the indentation",
    }
    return ConfigError(
        f"not valid YAML: {problem}",
        where=f"{readable(path)}:{mark.line + 1}" if mark else readable(path),
        fix=next(
            (fix for sign, fix in hints.items() if sign in problem), "check this line and the one before"
        ),
    )
