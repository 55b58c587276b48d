"""The file and line that each key of the composed configuration came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf._utils import split_key

from toolkit.config.declaration import entries, read
from toolkit.config.paths import readable

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

    def __init__(self, build: Callable[[], dict[Key, Origin]]) -> None:
        self._build = build

    @cached_property
    def origins(self) -> dict[Key, Origin]:
        """Dotted key, as a tuple → the last place that wrote it. `()` is the outermost file."""
        return self._build()

    def where(self, key: str | Sequence[str | int]) -> Origin:
        """Origin of a key, or of the nearest part of the tree around it that was written."""
        path = tuple(split_key(key) if key else ()) if isinstance(key, str) else tuple(str(k) for k in key)
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins.get(path, DEFAULT)

    @classmethod
    def of_hydra(
        cls, loader: Any, config_name: str, overrides: list[str], sources: Sequence[Any]
    ) -> Provenance:
        """Follow Hydra's own order: its defaults list, then the command line; later wins.

        loader: Hydra's config loader; config_name: the file that it starts from; sources: the search
        path, each with `file(config_path)`.
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

        return cls(build)

    @classmethod
    def of_files(cls, files: Iterable[tuple[Path, Key]]) -> Provenance:
        """Files merged in order, each at a place in the tree."""

        def build() -> dict[Key, Origin]:
            origins: dict[Key, Origin] = {}
            for file, at in files:
                _add_file(origins, file, at)
            return origins

        return cls(build)


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
    here = Origin(f"command line ({override.input_line})")

    def add(key: Key, value: Any) -> None:
        if not isinstance(value, dict):
            _forget_below(origins, key)
        origins[key] = here
        for inner, below in value.items() if isinstance(value, dict) else ():
            add((*key, str(getattr(inner, "text", inner))), below)

    key = tuple(split_key(override.key_or_group))
    if override.is_delete():
        _forget_below(origins, key)
        origins.pop(key, None)
    elif key[0] != "hydra":
        add(key, override.value())


def _forget_below(origins: dict[Key, Origin], key: Key) -> None:
    for known in [k for k in origins if len(k) > len(key) and k[: len(key)] == key]:
        del origins[known]
