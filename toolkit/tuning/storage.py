"""Where a study is kept: SQLite, a journal file, or a database by its address."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HEARTBEAT, GRACE = 30, 120  # seconds; of a database that other machines use, too


def open_storage(kind: str, folder: Path) -> Any:
    """An Optuna storage. kind: `sqlite` and `journal` lie in the folder, all else is a database's address."""
    from optuna.storages import JournalStorage, RDBStorage, RetryFailedTrialCallback

    if kind == "journal":
        return JournalStorage(_journal(folder / "journal.log"))
    if kind == "sqlite":
        with alone(folder / "making.lock"):
            return RDBStorage(
                f"sqlite:///{folder / 'study.db'}", engine_kwargs={"connect_args": {"timeout": 60}}
            )
    return RDBStorage(
        kind,
        heartbeat_interval=HEARTBEAT,
        grace_period=GRACE,
        failed_trial_callback=RetryFailedTrialCallback(),
    )


def _journal(path: Path) -> Any:
    """A journal that a process killed while writing cannot spoil.

    Its last line may be torn. A reader passes over that, but what the next writer appends would be glued
    to it, and the line in the middle that nobody can read would lose the study. So a writer cuts the torn
    end off first. The lock is the system's, which lets go of it when a process dies.
    """
    from optuna.storages.journal import JournalFileBackend

    class Lock:
        def __init__(self) -> None:
            self.handle: int | None = None

        def acquire(self) -> bool:
            self.handle = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR)
            fcntl.flock(self.handle, fcntl.LOCK_EX)
            cut_torn_end(path)
            return True

        def release(self) -> None:
            assert self.handle is not None
            os.close(self.handle)
            self.handle = None

    path.touch()
    return JournalFileBackend(str(path), lock_obj=Lock())  # type: ignore[arg-type]  # its base class is private


def cut_torn_end(path: Path) -> None:
    """Cut off what stands after the last end of a line."""
    size = path.stat().st_size if path.exists() else 0
    if not size:
        return
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """No other process is in here at the same time."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
