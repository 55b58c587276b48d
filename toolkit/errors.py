"""Errors a user can act on: what is wrong, where, why, and the fix.

Everything a user can cause ends in one of these; the command line prints it on one screen without
a traceback. Any other exception is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib.util import find_spec


class UserError(Exception):
    """Something the user can put right.

    what:  one sentence naming the thing (column, key, file) and what is wrong with it.
    where: `file:line`, dotted configuration key, table or column.
    why:   the rule that it breaks, if that is not plain from `what`.
    fix:   what to change.
    """

    def __init__(
        self, what: str, *, where: str | None = None, why: str | None = None, fix: str | None = None
    ) -> None:
        super().__init__(what)
        self.what, self.where, self.why, self.fix = what, where, why, fix

    def __str__(self) -> str:
        parts = [self.what]
        parts += [f"  {name}: {text}" for name, text in self.details() if text]
        return "\n".join(parts)

    def details(self) -> list[tuple[str, str | None]]:
        """The labelled lines below the first sentence, in reading order."""
        return [("where", self.where), ("why", self.why), ("fix", self.fix)]


class ConfigError(UserError):
    """The declaration is wrong; found before any data is read."""


class DataError(UserError):
    """The data does not keep the declared contract, or cannot answer what is asked."""


class LeakError(UserError):
    """A declaration would let the future, or a label, into the features."""


class UnfitError(DataError):
    """A model could not be fitted; the error behind it is its cause."""


class BundleError(UserError):
    """A bundle is damaged, foreign, or does not fit the input."""


def need(extra: str, module: str, where: str, why: str) -> None:
    """Raise ConfigError if a package of one of the toolkit's extras is not installed.

    module: what it is imported as; where: the configuration's key that asks for it; why: what it is for.
    """
    if find_spec(module) is None:
        raise ConfigError(
            f"{why}, which is not installed", where=where, fix=f"pip install 'toolkit[{extra}]'"
        )


def raise_interruption(error: BaseException) -> None:
    """Raise the Ctrl-C behind an error, if there is one: a library that was interrupted may raise its own."""
    seen: set[int] = set()
    behind: list[BaseException | None] = [error]
    while behind:
        one = behind.pop()
        if one is None or id(one) in seen:
            continue
        if isinstance(one, KeyboardInterrupt):
            raise one
        seen.add(id(one))
        behind += [one.__cause__, one.__context__]


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The valid name closest to a mistyped one, or None if nothing is close."""
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """A fix line for an unknown name: the nearest valid one and the whole list."""
    choices = sorted(choices)
    close = nearest(name, choices)
    listing = ", ".join(choices[:40]) + (" …" if len(choices) > 40 else "")
    hint = f"did you mean `{close}`? " if close else ""
    return f"{hint}valid here: {listing}" if choices else hint or "nothing is valid here"
