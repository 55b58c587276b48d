"""The file and line that each key of the composed configuration came from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf._utils import split_key

from toolkit.config.declaration import entries, read
from toolkit.config.paths import readable
from toolkit.config.secrets import looks_secret

Key = tuple[str, ...]


@dataclass(frozen=True)
class Origin:
    """Where a value was written: a line of a file, the command line, or nowhere (a default)."""

    text: str
    file: Path | None = None
    line: int | None = None

    def __str__(self) -> str:
        return self.text


DEFAULT = Origin("default")


class Provenance:
    """Looks keys up; reads the files a second time, with line numbers, only when first asked."""

    def __init__(
        self, build: Callable[[], dict[Key, Origin]], variables: Mapping[str, str] | None = None
    ) -> None:
        self._build = build
        self.variables = variables or {}  # dotted key → the key that its value is taken from: `${vars.file}`

    @cached_property
    def origins(self) -> dict[Key, Origin]:
        """Dotted key, as a tuple → the last place that wrote it. `()` is the outermost file."""
        return self._build()

    def where(self, key: str | Sequence[str | int]) -> Origin:
        """Origin of a key, or of the nearest part of the tree around it that was written.

        What is taken from a variable as it is was written where the variable was.
        """
        path = tuple(split_key(key) if key else ()) if isinstance(key, str) else tuple(str(k) for k in key)
        dotted = ".".join(path)
        seen = {dotted}
        while (variable := self.variables.get(dotted)) and variable not in seen:
            dotted = variable
            seen.add(dotted)
        if len(seen) > 1 and (origin := self.origins.get(tuple(split_key(dotted)))):
            return replace(origin, text=f"{origin} as {dotted}") if origin.file else origin
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins.get(path, DEFAULT)

    def source(self, dotted: str) -> str:
        """The key that this one repeats, if it lies in something taken whole from elsewhere; else itself."""
        steps = split_key(dotted)
        for length in range(len(steps), 0, -1):
            if variable := self.variables.get(".".join(steps[:length])):
                return ".".join([variable, *steps[length:]])
        return dotted

    @classmethod
    def of_hydra(
        cls,
        loader: Any,
        config_name: str,
        overrides: list[str],
        sources: Sequence[Any],
        variables: Mapping[str, str],
    ) -> Provenance:
        """Follow Hydra's own order: its defaults list, then the command line; later wins.

        loader: Hydra's config loader; config_name: the file that it starts from; sources: the search
        path, each with `file(config_path)`; variables: dotted key → the key that its value is taken from.
        """

        def build() -> dict[Key, Origin]:
            defaults = loader.compute_defaults_list(config_name, overrides, RunMode.RUN)
            origins: dict[Key, Origin] = {}
            for default in defaults.defaults:
                file = next(filter(None, (source.file(default.config_path) for source in sources)), None)
                if file is not None:
                    _add_file(origins, file, tuple(split_key(default.package)) if default.package else ())
            for override in defaults.config_overrides:
                _add_override(origins, override)
            return origins

        return cls(build, variables)

    @classmethod
    def of_files(cls, files: Iterable[tuple[Path, Key]]) -> Provenance:
        """Files merged in order, each at a place in the tree."""

        def build() -> dict[Key, Origin]:
            origins: dict[Key, Origin] = {}
            for file, at in files:
                _add_file(origins, file, at)
            return origins

        return cls(build)


def comment_at(origin: Origin) -> str | None:
    """What the file says about a value: the comment behind it, or the lines of comment above it."""
    if origin.file is None or origin.line is None:
        return None
    lines = read(origin.file).text.splitlines()
    if behind := re.search(r"\?\?\?[^#]*\s#\s*(.+)", lines[origin.line - 1]):
        return behind.group(1).strip()
    above: list[str] = []
    for line in reversed(lines[: origin.line - 1]):
        if not line.lstrip().startswith("# ") or "$schema=" in line:
            break
        above.insert(0, line.lstrip("# ").rstrip())
    return " ".join(above) or None


def find_choice(file: Path, group: str, name: str) -> str | None:
    """`file:line` where the defaults list of a file chooses `name` for `group`, if it does."""
    tree = read(file).tree
    lists = [value for key, value in entries(tree) if key.value == "defaults"] if tree else []
    for item in [item for found in lists if isinstance(found, yaml.SequenceNode) for item in found.value]:
        for key, value in entries(item):
            if key.value.split()[-1].lstrip("/").partition("@")[0] == group:
                names = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for chosen in names:
                    if chosen.value == name:
                        return f"{readable(file)}:{chosen.start_mark.line + 1}"
    return None


def _add_file(origins: dict[Key, Origin], file: Path, at: Key) -> None:
    tree = read(file).tree
    if tree is None:
        return

    def origin(node: yaml.Node) -> Origin:
        line = node.start_mark.line + 1
        return Origin(f"{readable(file)}:{line}", file, line)

    def add(key: Key, mark: yaml.Node, value: yaml.Node) -> None:
        if not isinstance(value, yaml.MappingNode):  # a list or scalar replaces; mappings merge
            _forget_below(origins, key)
        origins[key] = origin(mark)
        for inner, below in entries(value):
            add((*key, inner.value), inner, below)
        if isinstance(value, yaml.SequenceNode):
            for index, item in enumerate(value.value):
                add((*key, str(index)), item, item)

    origins[at] = origin(tree)
    for key, value in entries(tree):
        if key.value != "defaults" and (key.value != "hydra" or at):
            add((*at, key.value), key, value)


def _add_override(origins: dict[Key, Origin], override: Override) -> None:
    said = str(override.input_line)
    key = tuple(split_key(override.key_or_group))
    for path, value in _ends(key, override.value()):
        if value not in (None, "") and not isinstance(value, bool) and looks_secret(path, value):
            said = said.replace(str(value), "***")
    here = Origin(f"command line ({said})")

    def add(key: Key, value: Any) -> None:
        if not isinstance(value, dict):
            _forget_below(origins, key)
        origins[key] = here
        for inner, below in value.items() if isinstance(value, dict) else ():
            add((*key, str(getattr(inner, "text", inner))), below)

    if override.is_delete():
        _forget_below(origins, key)
        origins.pop(key, None)
    elif key[0] != "hydra":
        add(key, override.value())


def _ends(path: Key, value: Any) -> Iterator[tuple[Key, Any]]:
    """The values without further ones inside, each with its key."""
    pairs = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if pairs is None:
        yield path, getattr(value, "text", value)
        return
    for key, inner in pairs:
        yield from _ends((*path, str(getattr(key, "text", key))), inner)


def _forget_below(origins: dict[Key, Origin], key: Key) -> None:
    for known in [k for k in origins if len(k) > len(key) and k[: len(key)] == key]:
        del origins[known]
