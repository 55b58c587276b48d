"""What verbs say on the terminal while they work, and the arguments of those that compose nothing."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from toolkit.errors import ConfigError, did_you_mean
from toolkit.warned import Warned, gathering

WIDE = 140  # where output is not a terminal, lines are as long as they need
OUT = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
ERR = Console(stderr=True, highlight=False)
SETTLED = 2.0  # seconds and …
SILENCE = 20.0  # seconds without a line after which, where there is no bar, the running detail gets one
TOLD = 0.02  # … share done before a guess at the time left is worth showing


def lasted(seconds: float) -> str:
    """A span as people read it: 0.7 s, 48 s, 3 min 05 s, 1 h 04 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@dataclass
class Stage:
    """What is being done. A share that falls begins a new round (the next target): the guess starts anew."""

    name: str
    begun: float
    detail: str = ""
    share: float = 0.0
    round_begun: float = 0.0
    round_share: float = 0.0

    def tell(self, detail: str, share: float, now: float) -> None:
        if not self.round_begun or share < self.share:
            self.round_begun, self.round_share = now, share
        self.detail, self.share = detail, min(max(share, 0.0), 1.0)

    def left(self, now: float) -> float | None:
        """Seconds until the share is 1 if it goes on like this (it may stop early); None if that cannot be said."""
        spent, done = now - self.round_begun, self.share - self.round_share
        return spent * (1 - self.share) / done if done >= TOLD and spent >= SETTLED else None


class Ticker:
    """Says on stderr what is being done, and gathers what libraries say meanwhile (`warned`).

    `ticker("fitting lightgbm: gives 12/2000", 0.1)`: what stands before the first `: ` is the stage, the
    rest is its detail. A terminal shows a line for each finished stage and a bar for the running one;
    elsewhere there is one line per stage, and a detail now and then in a long one. quiet: nothing; verbose: also details, warnings and the log.
    job: title of a job of a sweep; scrub: takes secrets out of what libraries say; recorded: a run's log and
    summary tell the warnings, so the end of this does not, unless the run fails.
    """

    def __init__(
        self,
        quiet: bool = False,
        *,
        verbose: bool = False,
        job: str = "",
        scrub: Callable[[str], str] = str,
        recorded: bool = False,
        console: Console | None = None,
    ) -> None:
        # a console of its own: while libraries' prints are gathered, sys.stderr is not the terminal
        self.console = console or Console(file=sys.stderr, highlight=False)
        self.quiet, self.verbose, self.job, self.recorded = quiet, verbose and not quiet, job, recorded
        self.warned = Warned(scrub)
        self.begun = time.perf_counter()
        self.stage: Stage | None = None
        self.said, self.said_at = "", 0.0  # the last detail that got a line
        self.printed_at = self.begun
        self.spinner = Spinner("dots")
        shown = not quiet and self.console.is_terminal and not self.console.is_dumb_terminal
        self.live = Live(
            console=self.console, get_renderable=self._running, transient=True, redirect_stdout=False,
            redirect_stderr=False, refresh_per_second=8,
        ) if shown else None  # fmt: skip
        self._open = ExitStack()

    def __enter__(self) -> Ticker:
        if self.job and not self.quiet and self.live is None:
            self.console.print(Text(self.job), soft_wrap=True)
        if self.verbose:
            self._open.enter_context(_log_shown(self._print))
        self._open.enter_context(gathering(self.warned))
        if self.live is not None:
            self._open.enter_context(self.live)
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        self._end(whole=kind is None)
        self._open.close()
        lines = self.warned.lines()
        if lines and not self.quiet and not self.verbose and (not self.recorded or kind is not None):
            many = "1 warning" if len(lines) == 1 else f"{len(lines)} warnings"
            self._print(Text(f"{many}, verbose=true shows them all: {lines[0]}"))

    def __call__(self, what: str, share: float) -> None:
        if self.quiet:
            return
        now = time.perf_counter()
        name, _, detail = what.partition(": ")
        stage = self.stage
        if stage is None or stage.name != name:
            self._end()
            stage = self.stage = Stage(name, now)
            if self.live is None:
                self._print(Text(f"{now - self.begun:7.1f} s  {name}"))
            share = share if detail else 0.0  # how far the stages as a whole are is not shown
        stage.tell(detail, share, now)
        if detail and (self.verbose or (self.live is None and now - self.printed_at >= SILENCE)):
            self._say(detail, now)

    def _say(self, detail: str, now: float) -> None:
        """A line for each detail; for one that only counts on, one a second."""
        words = re.sub(r"[\d.]+", "#", detail)
        if words != self.said or now - self.said_at >= 1:
            self.said, self.said_at = words, now
            self._print(Text(f"           {detail}", style="dim"))

    def _end(self, whole: bool = True) -> None:
        """On a terminal, the line of a finished stage stays; a sweep has too many of them."""
        stage, self.stage = self.stage, None
        if stage is not None and self.live is not None and whole and (not self.job or self.verbose):
            self.live.refresh()  # its bar goes first
            seconds = lasted(time.perf_counter() - stage.begun)
            self._print(Text.assemble(("✓ ", "green"), stage.name, (f"  {seconds}", "dim")))

    def _print(self, text: Text) -> None:
        if self.live is None and self.job:
            text = Text.assemble(f"[{' '.join(self.job.split()[:2])}] ", text)
        self.console.print(text, soft_wrap=True)
        self.printed_at = time.perf_counter()

    def _running(self) -> Group:
        """The running stage: a line with its bar, and a line with its detail."""
        stage = self.stage
        if stage is None:
            return Group()
        now, width = time.perf_counter(), self.console.width
        spent, left = now - stage.begun, stage.left(now)
        timing = lasted(spent) if left is None else f"{lasted(spent)}, up to {lasted(left)} left"
        line = Table.grid(padding=(0, 1))
        for _ in range(5):
            line.add_column(no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(1.0, stage.share, width=max(8, min(30, width // 5)), pulse=not stage.share)
        share = f"{stage.share:4.0%}" if stage.share else ""
        line.add_row(self.spinner, Text(_cut(stage.name, width // 3)), bar, share, Text(timing, "dim"))
        title = [Text(_cut(self.job, width), "bold")] if self.job else []
        detail = [Text(f"  {_cut(stage.detail, width - 4)}", "dim")] if stage.detail else []
        return Group(*title, line, *detail)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(length - 1, 1)] + "…"


class _Shown(logging.Handler):
    """The toolkit's log on the terminal."""

    def __init__(self, show: Callable[[Text], None]) -> None:
        super().__init__(logging.INFO)
        self.show = show

    def emit(self, record: logging.LogRecord) -> None:
        warns = record.levelno >= logging.WARNING
        text = f"         {'!' if warns else ' '} {record.getMessage()}"
        self.show(Text(text, style="yellow" if warns else "dim"))


@contextmanager
def _log_shown(show: Callable[[Text], None]) -> Iterator[None]:
    log, handler = logging.getLogger("toolkit"), _Shown(show)
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def job_title(number: int, words: Iterable[str]) -> str:
    """`job 2  model=xgboost seed=2`. number: the one of its folder; words: overrides without secrets."""
    return "  ".join([f"job {number}", " ".join(words)])


def pairs(arguments: list[str], known: tuple[str, ...]) -> dict[str, str]:
    """key=value arguments of a verb that composes nothing."""
    found: dict[str, str] = {}
    for argument in arguments:
        key, sign, value = argument.partition("=")
        if not sign or key not in known:
            new = key in ("source", "source.path") and "input" in known
            fix = f"new data: input={value or '<file or folder>'}" if new else did_you_mean(key, known)
            raise ConfigError(f"`{argument}` is not an argument here", where="command line", fix=fix)
        if not value or key in found:
            raise ConfigError(f"`{key}=` is " + ("given twice" if value else "empty"), where="command line")
        found[key] = value
    return found


def switches(given: dict[str, str], known: Sequence[str] = ("quiet", "verbose")) -> dict[str, bool]:
    """`quiet=` and `verbose=` of a verb that composes nothing."""
    found = {}
    for key in known:
        value = given.get(key, "false").lower()
        if value not in ("true", "false"):
            raise ConfigError(f"`{key}={given[key]}` is neither true nor false", where="command line")
        found[key] = value == "true"
    if all(found.values()):
        raise ConfigError("`quiet` and `verbose` exclude each other", where="command line", fix="choose one")
    return found
