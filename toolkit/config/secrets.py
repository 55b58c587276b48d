"""Which values had better not be printed or kept: their key names a secret, or they are shaped like one."""

from __future__ import annotations

import re
from typing import Any

NAMED = re.compile(r"(passw(or)?d|passphrase|passwd|pwd|secret|token|credential|apikey|dsn)s?$")
HOLDERS = ("password", "passwords", "secret", "secrets", "token", "tokens", "credential", "credentials")
NAMES = ("dataset", "cohort", "target", "features")
COUNTED = re.compile(r"(max|min|num)_(\w+_)?tokens")  # how many, not which
SHAPED = re.compile(
    r"://[^/\s]*:[^/\s]*@"  # user:password@ in an address
    r"|(^|[?&;,\s])\w*(password|passwd|pwd)\s*=\s*\S"  # password=… in a connection string
    r"|(^|[?&;,\s])\w*(secret|token|api_?key|access_?key|account_?key|signature)=[^\s'\"]{8,}"
    r"|^(sk|pk|rk)(-|_live_|_test_)(?=\S*\d)[-\w]{8,}|^(gh[opsu]_|github_pat_|xox[a-z]-|AKIA|eyJ)[-\w.]{8,}",
    re.IGNORECASE,
)
RANDOM = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])[\w+/=-]{32,}")
# A part of a path or of a name: clients, LoginTokens, export20240501all, V2, 12mo.
WORD = re.compile(r"[A-Z]?[a-z]*\d{0,8}[a-z]*|([A-Z]?[a-z]{2,})+\d{0,8}|[A-Z]+\d{0,8}|\d+[a-z]{0,2}")


def looks_secret(path: tuple[str | int, ...], value: Any) -> bool:
    """Whether a value had better not be shown. path: the keys that lead to it, from the root."""
    return named_secret(path) or shaped_secret(str(value))


def named_secret(path: tuple[str | int, ...]) -> bool:
    """Does the key itself, or a mapping around it called just so, name a secret?

    `vars.api_token`, `tracking.secret_key`, `credentials.user`; but nothing in the parts of a recipe
    whose keys are names of the user's own tables, columns, targets and features.
    """
    steps = [str(step) for step in path if not str(step).isdigit()]
    if not steps or steps[0] in NAMES or COUNTED.fullmatch(steps[-1]):
        return False
    if any(step.lower() in HOLDERS for step in steps[:-1]):
        return True
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", steps[-1])
    last = words[-1].lower() if words else ""
    holds_key = last in ("key", "keys") and len(words) > 1
    text = "".join(words).lower()
    return holds_key or bool(NAMED.search(last)) or "connstr" in text or "connectionstring" in text


def shaped_secret(value: str) -> bool:
    """Is a text shaped like a key, a token, or an address with a password? Paths and names are not."""
    if SHAPED.search(value):
        return True
    parts = re.split(r"[/_+=-]", value)
    return bool(RANDOM.fullmatch(value)) and not all(WORD.fullmatch(part) for part in parts)
