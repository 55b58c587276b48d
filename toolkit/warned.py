"""What libraries say while we work (warnings, log records, prints): counted and kept, not sprayed.

Each thing goes to the toolkit's log once, when it is first said; how often it was said stands in
`Warned`. LightGBM and XGBoost hand what their C code says to Python, so it arrives here as well.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

log = logging.getLogger("toolkit")
LONGEST = 400  # characters kept of one warning
NUMBER = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")


class Warned(logging.Handler):
    """What was said → how often; texts that differ in their numbers only are the same."""

    def __init__(self, scrub: Callable[[str], str] = str) -> None:
        super().__init__(logging.WARNING)
        self.scrub = scrub  # takes secrets out: a library may quote the address of a database
        self.texts: dict[str, str] = {}
        self.counts: dict[str, int] = {}

    def add(self, text: str, kept: bool = False) -> None:
        """kept: it stands in the log already."""
        text = self.scrub(" ".join(text.split()))
        text = text if len(text) <= LONGEST else text[:LONGEST] + " …"
        key = NUMBER.sub("#", text)
        self.counts[key] = self.counts.get(key, 0) + 1
        if self.texts.setdefault(key, text) is text and self.counts[key] == 1 and not kept:
            log.warning("%s", text, extra={"counted": True})

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, "counted", False):
            ours = record.name == log.name
            source = "" if ours else f"{record.name.split('.')[0]}: "
            self.add(source + record.getMessage(), kept=ours)

    def lines(self) -> list[str]:
        """Each once, the most frequent first, with how often it was said."""
        order = sorted(self.counts, key=lambda key: -self.counts[key])
        return [
            self.texts[key] + (f" (×{self.counts[key]:,})" if self.counts[key] > 1 else "") for key in order
        ]


class _Printed(io.TextIOBase):
    """Stands in for stdout or stderr; a library that keeps it for later reaches the real one."""

    def __init__(self, warned: Warned, real: TextIO) -> None:
        self.warned, self.real, self.line, self.open = warned, real, "", True

    def write(self, text: str) -> int:
        if not self.open:
            return self.real.write(text)
        *whole, self.line = re.split(r"[\r\n]", self.line + text)
        for line in filter(str.strip, whole):
            self.warned.add(line)
        return len(text)

    def finish(self) -> None:
        self.write("\n")
        self.open = False

    def flush(self) -> None:
        if not self.open:
            self.real.flush()

    def fileno(self) -> int:
        return self.real.fileno()  # C code writes where it always did

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.real, "encoding", None) or "utf-8"


@contextmanager
def gathering(warned: Warned) -> Iterator[None]:
    """Until the block ends: what libraries warn of, log from WARNING on, or print, goes to `warned`."""
    root, streams = logging.getLogger(), (sys.stdout, sys.stderr)
    printed = [_Printed(warned, stream) for stream in streams]
    propagate = log.propagate

    def show(message: Any, category: type[Warning], filename: str, *_: Any, **__: Any) -> None:
        warned.add(f"{_package(filename)}: {message} ({category.__name__})")

    with warnings.catch_warnings():
        warnings.simplefilter("always", append=True)  # what no filter is about: all of it, to be counted
        warnings.showwarning = show
        log.propagate = False  # its records would come twice
        root.addHandler(warned)
        log.addHandler(warned)
        sys.stdout, sys.stderr = printed
        try:
            yield
        finally:
            sys.stdout, sys.stderr = streams
            for stream in printed:
                stream.finish()
            log.removeHandler(warned)
            root.removeHandler(warned)
            log.propagate = propagate


def _package(filename: str) -> str:
    """The package that a file belongs to: what follows `site-packages`, or the file's own name."""
    parts = Path(filename).parts
    after = parts[parts.index("site-packages") + 1 :] if "site-packages" in parts else parts[-1:]
    return Path(after[0]).stem if after else "python"
