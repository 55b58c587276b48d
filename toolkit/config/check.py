"""The typed check after composition: every mistake by key, file and line, in plain words.

`validate` is the way from composed YAML to typed objects; the rest of this module turns pydantic's
errors into words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from toolkit.config.names import WrongNameError
from toolkit.config.place import Path, Place, bare, place_of
from toolkit.config.provenance import Provenance
from toolkit.config.secrets import looks_secret
from toolkit.errors import ConfigError, did_you_mean

LIMIT = 12
Model = TypeVar("Model", bound=BaseModel)
Located = tuple[Place, Any]  # one of pydantic's errors, and its place


@dataclass(frozen=True)
class Mistake:
    """One wrong key: where it stands, what is wrong, what to write instead."""

    key: str
    what: str
    where: str
    fix: str | None = None

    def __str__(self) -> str:
        return f"{self.where}  {self.what}" + (f"\n      {self.fix}" if self.fix else "")


def validate(root: type[Model], plain: Mapping[str, Any], provenance: Provenance) -> Model:
    """`plain` as a typed `root`. Raises one ConfigError that lists every mistake (the first twelve)."""
    try:
        return root.model_validate(plain)
    except ValidationError as error:
        found = mistakes(root, error, plain, provenance)
    if len(found) == 1:
        raise ConfigError(found[0].what, where=f"{found[0].where} ({found[0].key})", fix=found[0].fix)
    lines = [f"{len(found)} mistakes in the configuration"] + [
        f"  {i}. {m}" for i, m in enumerate(found[:LIMIT], 1)
    ]
    if len(found) > LIMIT:
        lines.append(f"  … and {len(found) - LIMIT} more")
    raise ConfigError("\n".join(lines))


def mistakes(
    root: type[BaseModel], error: ValidationError, plain: Mapping[str, Any], provenance: Provenance
) -> list[Mistake]:
    """One Mistake for each thing that is wrong; the alternatives of a union are told as one."""
    found = [(_place(root, item), item) for item in error.errors(include_url=False)]
    order = {id(item): index for index, (_, item) in enumerate(found)}
    groups = sorted(_grouped(found, plain), key=lambda group: order[id(group[0][1])])
    told = dict.fromkeys(_mistake(group, provenance) for group in groups)
    keys = {mistake.key for mistake in told}
    # `model.x.loss: ${loss}` repeats what is wrong with `loss`: it is told once, where it can be mended.
    return [m for m in told if (source := provenance.source(m.key)) == m.key or source not in keys]


def _place(root: type[BaseModel], item: Any) -> Place:
    """Where an error lies. Those of config/names.py say their key as it is, without pydantic's tags."""
    told = isinstance(item.get("ctx", {}).get("error"), WrongNameError)
    return Place(item["loc"], Any, None, None, ()) if told else place_of(root, item["loc"])


def _grouped(found: list[Located], plain: Any, depth: int = 0) -> Iterator[list[Located]]:
    """Errors one by one, except that those of a value that fits no member of a union stay together."""
    unions: dict[Path, list[Located]] = {}
    for place, item in found:
        if len(place.unions) > depth:
            unions.setdefault(place.unions[depth][0], []).append((place, item))
        else:
            yield [(place, item)]
    for at, group in unions.items():
        inside = _member_errors(group, at, depth, _value_at(plain, at))
        if inside:
            yield from _grouped(inside, plain, depth + 1)
        else:
            yield group


def _member_errors(group: list[Located], at: Path, depth: int, value: Any) -> list[Located]:
    """The errors inside the member that the value's shape points to; [] if it fits none."""
    members: dict[str, list[Located]] = {}
    for place, item in group:
        members.setdefault(place.unions[depth][1], []).append((place, item))
    inside = [errors for errors in members.values() if any(len(place.path) > len(at) for place, _ in errors)]
    if len(members) == 1:
        return group
    return min(inside, key=len) if inside and isinstance(value, dict | list) else []


def _value_at(plain: Any, path: Path) -> Any:
    for step in path:
        try:
            plain = plain[step]
        except (KeyError, IndexError, TypeError):
            return None
    return plain


def _mistake(group: list[Located], provenance: Provenance) -> Mistake:
    place, item = group[0]
    wanted = [_expected(item) for _, item in group]
    if len(group) > 1 and all(wanted):
        what = f"{_name(place)} must be {' or '.join(dict.fromkeys(map(str, wanted)))}{_got(place, item)}"
        fix = _allowed(place)
    else:  # a rule that the value breaks says more than "must be text"
        place, item = next((pair for pair in group if _expected(pair[1]) is None), group[0])
        what, fix = _words(place, item)
    return Mistake(_dotted(place.path), what, str(provenance.where(place.path)), fix)


# --- in words ---------------------------------------------------------------------------------------

EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "string": "text",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen": "a list",
    "dict": "a mapping (`key: value` lines)",
    "model": "a mapping (`key: value` lines)",
    "none": "null",
    "date": "a date (YYYY-MM-DD)",
    "datetime": "a date and time",
    "path": "a path",
}
BOUNDS = {
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "string_pattern_mismatch": "text that matches `{pattern}`",
}


def _expected(item: Any) -> str | None:
    """What the value must be, as the end of a sentence; None for errors of another nature."""
    kind, context = item["type"], item.get("ctx", {})
    if kind in BOUNDS:
        plain = {k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()}
        return BOUNDS[kind].format(**plain)
    if kind in ("too_short", "too_long"):
        word, count = (
            ("least", context["min_length"]) if kind == "too_short" else ("most", context["max_length"])
        )
        return f"of at {word} {count} {'entry' if count == 1 else 'entries'}"
    if kind in ("literal_error", "enum"):
        return " or ".join(f"`{choice}`" for choice in _choices(context["expected"]))
    if kind.endswith(("_type", "_parsing", "_from_float", "_number", "_required")):
        return EXPECTED.get(kind.split("_")[0])
    return None


def _choices(text: str) -> list[str]:
    """Pydantic's `'a', 'b' or 'c'` as a list."""
    return re.findall(r"'([^']*)'", text) or re.split(r", | or ", text)


def _words(place: Place, item: Any) -> tuple[str, str | None]:
    """What is wrong, and the fix."""
    kind, context, name = item["type"], item.get("ctx", {}), _name(place)
    if isinstance(wrong := context.get("error"), WrongNameError):
        return f"{name}: {wrong.what}", wrong.fix
    if kind == "missing":
        return f"{name} is missing", _allowed(place)
    if kind == "extra_forbidden":
        assert place.owner is not None
        valid = [field.alias or key for key, field in place.owner.model_fields.items()]
        return f"unknown key {name}", did_you_mean(str(place.path[-1]), valid)
    if kind == "union_tag_invalid":
        fix = did_you_mean(context["tag"], _choices(context["expected_tags"]))
        return f"{name} has an unknown {context['discriminator']}: `{context['tag']}`".replace(
            "'", "`", 2
        ), fix
    if kind == "union_tag_not_found":
        _, tags = bare(place.kind)
        key = str(context["discriminator"]).strip("'")
        return f"{name} does not say its `{key}`", f"one of: {', '.join(sorted(tags or {}))}"
    if kind == "literal_error":
        choices = _choices(context["expected"])
        wanted = _expected(item) if len(choices) < 5 else "one of its choices"
        return f"{name} must be {wanted}{_got(place, item)}", did_you_mean(str(item["input"]), choices)
    if kind in ("value_error", "assertion_error"):
        text = str(item["msg"]).partition(", ")[2] or str(item["msg"])
        return f"{name}: {text}", _allowed(place) if place.field else None
    expected = _expected(item)
    if expected is None:
        return f"{name}: {item['msg']}", None
    if expected == "text" and isinstance(item["input"], bool | int | float):
        why = "YAML reads yes, no, on and off as true or false; " if isinstance(item["input"], bool) else ""
        return f"{name} must be text{_got(place, item)}", f"{why}put it in quotes"
    return f"{name} must be {expected}{_got(place, item)}", _allowed(place)


def _allowed(place: Place) -> str | None:
    """What the field takes: its choices, and its description."""
    kind, tags = bare(place.kind)
    parts = []
    if tags:
        parts.append(f"a mapping with `kind`, one of: {', '.join(sorted(tags))}")
    elif get_origin(kind) is Literal:
        parts.append("one of: " + ", ".join(str(choice) for choice in get_args(kind)))
    if place.field and place.field.description:
        parts.append(place.field.description)
    return "; ".join(parts) or None


def _dotted(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path)) or "(top level)"


def _name(place: Place) -> str:
    return f"`{_dotted(place.path)}`" if place.path else "the configuration"


def _got(place: Place, item: Any) -> str:
    value = item["input"]
    if isinstance(value, dict | list):
        return f", not a {'mapping' if isinstance(value, dict) else 'list'}"
    if looks_secret(place.path, value):
        return " (its value is not shown)"
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return f", not `{text if len(text) <= 60 else text[:57] + '…'}`"
