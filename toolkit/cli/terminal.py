"""What verbs say on the terminal while they work, and the arguments of those that compose nothing."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.text import Text

from toolkit.errors import ConfigError, did_you_mean

WIDE = 140  # where output is not a terminal, lines are as long as they need
OUT = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
ERR = Console(stderr=True, highlight=False)


class Ticker:
    """Says on stderr what is being done: a live line on a terminal, a line per stage elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.last, self.begun = quiet, "", time.perf_counter()
        self.status = ERR.status("", spinner="dots") if ERR.is_terminal and not quiet else None

    def __call__(self, what: str, share: float) -> None:
        if self.quiet:
            return
        seconds = time.perf_counter() - self.begun
        if self.status is not None:
            self.status.update(Text(f"{seconds:5.0f} s  {what}" + (f"  {share:.0%}" if share else "")))
            self.status.start()
        elif what.split(":")[0] != self.last:
            self.last = what.split(":")[0]
            ERR.print(Text(f"{seconds:7.1f} s  {self.last}"), soft_wrap=True)

    def __enter__(self) -> Ticker:
        return self

    def __exit__(self, *_: object) -> None:
        if self.status is not None:
            self.status.stop()


def pairs(arguments: list[str], known: tuple[str, ...]) -> dict[str, str]:
    """key=value arguments of a verb that composes nothing."""
    found: dict[str, str] = {}
    for argument in arguments:
        key, sign, value = argument.partition("=")
        if not sign or key not in known:
            raise ConfigError(
                f"`{argument}` is not an argument here", where="command line", fix=did_you_mean(key, known)
            )
        if not value or key in found:
            raise ConfigError(f"`{key}=` is " + ("given twice" if value else "empty"), where="command line")
        found[key] = value
    return found
