"""Where one of pydantic's errors lies: its key without union tags, and the type expected there.

Pydantic's error locations hold tags of unions among the keys (`target.a.threshold.of`, where
`threshold` is a kind), so `place_of` follows the type annotations to tell them apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Discriminator, RootModel, Tag
from pydantic.fields import FieldInfo

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """An error's key, without pydantic's tags; the type expected there; the plain unions passed.

    owner: the model whose key it is (None for entries of lists and of free mappings).
    field: the declared field, if there is one.
    """

    path: Path
    kind: Any
    owner: type[BaseModel] | None
    field: FieldInfo | None
    unions: tuple[tuple[Path, str], ...]


def place_of(root: type[BaseModel], loc: Path) -> Place:
    """Follow an error location of `root` through the types."""
    kind: Any = root
    path: list[str | int] = []
    unions: list[tuple[Path, str]] = []
    owner: type[BaseModel] | None = None
    field: FieldInfo | None = None
    for step in loc:
        kind, tags = bare(kind)
        if tags is not None:
            kind = tags.get(str(step), Any)
            continue
        members = _members(kind)
        if len(members) > 1:
            unions.append((tuple(path), _label(str(step))))
            kind = next((member for member in members if _label_of(member) == _label(str(step))), Any)
            continue
        if step == "[key]":
            break
        path.append(step)
        owner, field = None, None
        if _is_model(kind):
            owner, field = kind, _field(kind, str(step))
            kind = _annotation(field) if field else Any
        else:
            inner = [arg for arg in get_args(kind) if arg is not Ellipsis]
            several = get_origin(kind) is tuple and isinstance(step, int) and step < len(inner)
            kind = inner[step] if several and isinstance(step, int) else inner[-1] if inner else Any
    return Place(tuple(path), kind, owner, field, tuple(unions))


def bare(kind: Any) -> tuple[Any, dict[str, Any] | None]:
    """The type without Annotated, Optional and aliases; with tag → member if it is a tagged union."""
    discriminator: Any = None
    while True:
        if get_origin(kind) is Annotated:
            kind, *metadata = get_args(kind)
            discriminator = discriminator or next(filter(None, map(_discriminator, metadata)), None)
        elif hasattr(kind, "__value__"):
            kind = kind.__value__
        elif _is_model(kind) and issubclass(kind, RootModel):
            kind = kind.model_fields["root"].annotation
        elif len(members := _members(kind)) == 1 and members[0] is not kind:
            kind = members[0]
        else:
            break
    if discriminator is None:
        return kind, None
    return kind, {tag: member for member in _members(kind) for tag in _tags(member, discriminator)}


def _discriminator(metadata: Any) -> Any:
    if isinstance(metadata, Discriminator):
        return metadata.discriminator
    return metadata.discriminator if isinstance(metadata, FieldInfo) else None


def _members(kind: Any) -> list[Any]:
    """The alternatives of a union, without None; of anything else, itself."""
    if get_origin(kind) in (Union, UnionType):
        return [arg for arg in get_args(kind) if arg is not type(None)]
    return [kind]


def _tags(member: Any, discriminator: Any) -> Iterator[str]:
    if get_origin(member) is Annotated:
        yield from (m.tag for m in get_args(member)[1:] if isinstance(m, Tag))
        member = get_args(member)[0]
    if isinstance(discriminator, str) and _is_model(member):
        yield from map(str, get_args(member.model_fields[discriminator].annotation))


def _annotation(field: FieldInfo) -> Any:
    """A field's type with the metadata that pydantic has split off."""
    if field.discriminator is not None:
        marker = field.discriminator
        return Annotated[field.annotation, Discriminator(marker) if isinstance(marker, str) else marker]
    markers = [m for m in field.metadata if isinstance(m, Discriminator)]
    return Annotated[field.annotation, markers[0]] if markers else field.annotation


def _field(model: type[BaseModel], key: str) -> FieldInfo | None:
    return next((f for name, f in model.model_fields.items() if key in (name, f.alias)), None)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _label(text: str) -> str:
    """Pydantic's name of a union member, without the validators around it."""
    while wrapped := re.fullmatch(
        r"(?:function-[\w-]+|constrained-\w+|nullable)\[(?:[^,\[\]]*, )?(.*)\]", text
    ):
        text = wrapped.group(1)
    return text.partition("[")[0].removeprefix("constrained-")


def _label_of(member: Any) -> str:
    kind, _ = bare(member)
    origin = get_origin(kind) or kind
    return "literal" if origin is Literal else getattr(origin, "__name__", str(origin))
