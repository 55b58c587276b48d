"""Names that a declaration uses for what it declares elsewhere: each is looked up, each wrong one told.

pydantic checks one value at a time; that `table: ordrs` names no table is seen only from the whole. A
`WrongNameError` goes out through pydantic like its own errors, with the key of the very name that is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails

from toolkit.errors import did_you_mean

Path = tuple[str | int, ...]


@dataclass
class WrongNameError(ValueError):
    """A name that means nothing where it stands. path: keys from the model that checks down to the name."""

    path: Path
    name: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"

    @classmethod
    def among(cls, path: Path, name: str, what: str, valid: Iterable[str]) -> WrongNameError:
        """The usual one: the fix is the nearest of the valid names."""
        return cls(path, name, what, did_you_mean(name, valid))


def refuse(model: str, found: Iterable[WrongNameError]) -> None:
    """Raise what is wrong, from inside a validator of `model`; nothing if nothing is."""
    details = [
        InitErrorDetails(type="value_error", loc=wrong.path, input=wrong.name, ctx={"error": wrong})
        for wrong in found
    ]
    if details:
        raise ValidationError.from_exception_data(model, details)


def used(declared: Any, field: str, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text that stands at a key called `field`, at any depth, with its path."""
    if isinstance(declared, BaseModel):
        for key in type(declared).model_fields:
            value = getattr(declared, key)
            if key == field and isinstance(value, str):
                yield (*path, key), value
            else:
                yield from used(value, field, (*path, key))
    elif isinstance(declared, dict | list | tuple):
        pairs = declared.items() if isinstance(declared, dict) else enumerate(declared)
        for step, value in pairs:
            yield from used(value, field, (*path, step))


def unknown(
    declared: Any, field: str, valid: Collection[str], noun: str, path: Path = ()
) -> Iterator[WrongNameError]:
    """Names at keys called `field` that are not among the valid ones."""
    for at, name in used(declared, field, path):
        if name not in valid:
            yield WrongNameError.among(at, name, f"no {noun} is called `{name}`", valid)
