"""Secrets: which values of a configuration are nowhere shown or kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolkit.config.compose import Composed
from toolkit.config.secrets import named_secret, shaped_secret

MASK = "***"


def secrets(composed: Composed) -> dict[tuple[str, ...], str]:
    """The values that are nowhere shown or kept, by key: from the environment, or secret by key or shape."""
    found = {}

    def walk(value: Any, path: tuple[str, ...]) -> None:
        if isinstance(value, dict | list):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                walk(item, (*path, str(key)))
        elif value not in (None, "") and not isinstance(value, bool):
            named = ".".join(path) in composed.from_environment or named_secret(path)
            # Paths are long words with digits too; one that is there is no password.
            shaped = isinstance(value, str) and shaped_secret(value) and not _exists(value)
            if named or shaped:
                found[path] = str(value)

    walk(composed.plain, ())
    return found


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except OSError:  # too long for a name
        return False


def masked(composed: Composed) -> dict[str, Any]:
    """The resolved configuration without secrets."""
    hidden = secrets(composed)

    def walk(value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, (*path, str(key))) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*path, str(index))) for index, item in enumerate(value)]
        return MASK if path in hidden else value

    return walk(composed.plain, ())


def without_secrets(composed: Composed) -> Callable[[str], str]:
    """What replaces, in a text such as an override, every secret of the configuration by a mask."""
    hidden = sorted(set(secrets(composed).values()), key=len, reverse=True)

    def scrub(text: str) -> str:
        for secret in hidden:
            # A short one, perhaps no more than a number, is not torn out of longer words.
            whole = rf"(?<!\w){re.escape(secret)}(?!\w)" if len(secret) < 6 else re.escape(secret)
            text = re.sub(whole, MASK, text)
        return text

    return scrub
