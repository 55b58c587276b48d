"""Hydra's exceptions as the user's mistakes: what is wrong, where, the nearest valid name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from toolkit.config.compose import landing
from toolkit.config.declaration import entries, read
from toolkit.config.paths import Root, options, readable
from toolkit.config.provenance import find_choice
from toolkit.errors import ConfigError, did_you_mean, nearest

MIXED = "Cannot merge "  # … DictConfig with ListConfig: a mapping stands where a list was, or the reverse


def translate(error: Exception, overrides: list[str], search: list[Root]) -> ConfigError | None:
    """The mistake behind an exception that Hydra raised while composing; None if it is a bug."""
    if isinstance(error, OverrideParseException):
        return ConfigError(
            f"cannot read `{error.override}`",
            where="command line",
            why=None if error.message.startswith("Lexer") else error.message.split("\n")[0],
            fix="write key=value; put values with blanks, commas or brackets in quotes twice: 'key=\"a, b\"'",
        )
    if isinstance(error, MissingConfigException):
        return _unknown_option(error, overrides, search)
    if "Could not override" in str(error):
        return _unknown_key(f"{error}\n{error.__cause__ or ''}", overrides, search)
    if "Multiple values for" in str(error):
        group = re.sub(r".*Multiple values for (\S+?)\. .*", r"\1", str(error).replace("\n", " "))
        return ConfigError(
            f"the defaults list sets `{group}` a second time", fix=f"write `- override /{group}: …` there"
        )
    if MIXED in str(error) or MIXED in str(error.__cause__):
        return _mixed(str(error), overrides, search)
    if "requires --multirun" in str(error) or "Ambiguous value for argument" in str(error):
        given = next((word for word in overrides if f"'{word}'" in str(error)), "key=a,b")
        key, _, value = given.partition("=")
        return ConfigError(
            f"`{given}` names several values",
            where="command line",
            fix=f"for all of them at once write '{key}=[{value}]', for one run each add -m",
        )
    if isinstance(error, HydraException | OmegaConfBaseException | yaml.YAMLError) or _raised_by_hydra(error):
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
        lines = [line.strip() for line in f"{error}\n{cause or ''}".split("\n") if line.strip()]
        told = [line for line in lines if not re.match(r"(full_key|object_type|reference_type)[:=]", line)]
        names = re.findall(r"'([^']+)'", told[0]) if told else []
        where = next((word for word in overrides for name in names if name in word), None)
        return ConfigError(
            told[0] if told else type(error).__name__,
            where=f"command line ({where})" if where else None,
            why="; ".join(told[1:3]) or None,
        )
    return None


def _raised_by_hydra(error: Exception) -> bool:
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    module = frame.tb_frame.f_globals.get("__name__", "") if frame else ""
    return module.split(".")[0] in ("hydra", "omegaconf", "antlr4") and isinstance(
        error, ValueError | TypeError
    )


def _unknown_option(error: MissingConfigException, overrides: list[str], search: list[Root]) -> ConfigError:
    groups = options(search)
    missing = str(error.missing_cfg_file or "")
    group, _, name = (
        missing.partition("/") if missing.partition("/")[0] in groups else missing.rpartition("/")
    )
    parent = re.match(r"In '([^']+)'", str(error))
    where = parent.group(1) if parent else None
    if any(re.match(rf"[+~]*{re.escape(group)}(@.*)?=", word) for word in overrides):
        where = f"command line ({next(word for word in overrides if word.lstrip('+~').startswith(group))})"
    else:
        where = next(
            (found for file in _chosen(overrides, search) if (found := find_choice(file, group, name))), where
        )
    if group == "recipe":
        what = f"no recipe is called `{name}`"
    elif group in groups:
        what = f"`{group}` has no option called `{name}`"
    else:
        return ConfigError(
            f"no declaration `{group}/{name}.yaml` is found", where=where, fix=_groups_fix(group, groups)
        )
    return ConfigError(what, where=where, fix=did_you_mean(name, groups.get(group, {})))


def replacing(error: Exception, overrides: list[str]) -> list[str] | None:
    """The overrides with one that cannot be merged as a replacement.

    Hydra merges; a list for a mapping, the reverse, or a mapping of other keys is meant to replace: `~key`
    and `+key=value`. None if the error is another one, or if the value has lists or mappings inside, which
    might be what cannot be merged: then its neighbours would be lost.
    """
    given = (
        _given(str(error), overrides)
        if MIXED in f"{error}{error.__cause__}"
        else _other_keys(error, overrides)
    )
    if given is None or given[:1] in "+~":
        return None
    key, _, value = given.partition("=")
    parsed = OverridesParser.create().parse_override(given).value()
    inner = parsed.values() if isinstance(parsed, dict) else []
    if any(isinstance(item, dict | list) for item in inner):
        return None
    return [word for old in overrides for word in ([f"~{key}", f"+{key}={value}"] if old == given else [old])]


def _given(message: str, overrides: list[str]) -> str | None:
    """The override that Hydra could not merge, as it stands on the command line."""
    found = re.match(r"Error merging override (.*)", message)
    return next((word for word in overrides if found and word == found.group(1).strip()), None)


def _other_keys(error: Exception, overrides: list[str]) -> str | None:
    """The override that sets a mapping which is there to one that shares no key with it."""
    found, cause = re.match(r"Could not override '([^']+)'", str(error)), error.__cause__
    missing, there = str(getattr(cause, "full_key", None) or ""), getattr(cause, "parent_node", None)
    if not found or not missing.startswith(f"{found[1]}."):
        return None
    given = next((word for word in overrides if word.startswith(f"{found[1]}={{")), None)
    value = OverridesParser.create().parse_override(given).value() if given else None
    return given if isinstance(value, dict) and not {*map(str, value)} & {*map(str, there or ())} else None


def _mixed(message: str, overrides: list[str], search: list[Root]) -> ConfigError:
    """A list where a mapping stands, or the reverse, on the command line or in a recipe."""
    if found := re.match(r"Error merging override (.*)", message):
        key, _, value = found.group(1).strip().lstrip("+").partition("=")
        return ConfigError(
            f"`{key}` cannot be set so: there is a list where a mapping stands, or the reverse",
            where=f"command line ({found.group(1).strip()})",
            fix=f"to replace it as a whole write '~{key}' '+{key}={value}'",
        )
    parent = re.match(r"In '([^']+)'", message)
    place, key = _mixed_in_file(parent.group(1) if parent else "", search)
    return ConfigError(
        f"`{key}` is a list in one file and a mapping in another" if key else "a list meets a mapping",
        where=place,
        why="a later file adds to a mapping and replaces a list; it cannot turn the one into the other",
        fix=f"write the whole `{key.partition('.')[0] or 'group'}` as an option of its own, "
        f"conf/{key.partition('.')[0] or 'GROUP'}/NAME.yaml, and choose it in the defaults list",
    )


def _mixed_in_file(name: str, search: list[Root]) -> tuple[str, str]:
    """`file:line` and key in a recipe where some option of the group has the other kind of value."""
    groups = options(search)
    group, _, option = name.partition("/")
    file = groups.get(group, {}).get(option)
    if file is None:
        return name, ""
    for key, kind, line in _kinds(read(file).tree):
        for name, other in groups.get(key[0], {}).items():
            at = tuple((landing(f"{key[0]}/{name}") or key[0]).split("."))
            for there, other_kind, _ in _kinds(read(other).tree, at):
                if key == there and kind is not other_kind:
                    return f"{readable(file)}:{line}", ".".join(key)
    return readable(file), ""


def _kinds(tree: yaml.Node | None, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], type, int]]:
    """Keys of a file that hold a list or a mapping: key, kind, line."""
    for key, value in entries(tree) if tree is not None else ():
        if isinstance(value, yaml.CollectionNode) and key.value != "defaults":
            yield (*at, key.value), type(value), key.start_mark.line + 1
            yield from _kinds(value, (*at, key.value))


def _chosen(overrides: list[str], search: list[Root]) -> list[Path]:
    """The recipe's file, then the files that start every composition."""
    recipes = options(search).get("recipe", {})
    named = [word.partition("=")[2] for word in overrides if word.startswith("recipe=")]
    starts = [root.folder / "config.yaml" for root in search if not root.group]
    return [recipes[name] for name in named if name in recipes] + [file for file in starts if file.is_file()]


def _unknown_key(message: str, overrides: list[str], search: list[Root]) -> ConfigError:
    found = re.search(r"Could not override '([^']+)'", message)
    key = found.group(1) if found else ""
    parent = re.match(r"In '([^']+)'", message)
    given = next((word for word in overrides if word.lstrip("+~").partition("=")[0] == key), None)
    where = f"command line ({given})" if given and not parent else parent.group(1) if parent else None
    groups = options(search)
    if key in groups:
        return ConfigError(
            f"`{key}` is a group, of which an option is chosen",
            where=where,
            fix=f"choose one, for example {key}={next(iter(groups[key]))}, and set what differs: {key}.<name>=…; "
            f"options: {', '.join(groups[key])}",
        )
    if "." not in key:
        return ConfigError(f"there is no group or key `{key}`", where=where, fix=_groups_fix(key, groups))
    inner = re.search(r"full_key: (\S+)", message)
    if inner and given and inner.group(1).startswith(f"{key}."):
        new = inner.group(1).removeprefix(f"{key}.")
        return ConfigError(
            f"`{key}` has no key `{new}`",
            where=where,
            why="a mapping on the command line is put into the one that is there, and does not replace it",
            fix=f"'+{key}.{new}=…' adds it; another mapping goes into a file of your own",
        )
    deeper = key.split(".")
    group = next((n for n in range(len(deeper) - 2, 0, -1) if deeper[n] in groups), None)
    return ConfigError(
        f"nothing composed has a key `{key}`",
        where=where,
        fix=f"`{deeper[group]}` is a group of its own: {'.'.join(deeper[group:])}=…"
        if group
        else f"check the name with `show`; for a key that is only left out, write '+{given or key + '=…'}'",
    )


def _groups_fix(name: str, groups: dict[str, dict[str, Path]]) -> str:
    close = nearest(name, groups)
    return f"did you mean `{close}`? groups: {', '.join(groups)}" if close else f"groups: {', '.join(groups)}"
