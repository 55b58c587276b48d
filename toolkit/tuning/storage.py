"""Where a study is kept: SQLite, a journal file, or a database by its address."""

from __future__ import annotations

import fcntl
import os
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from toolkit.errors import ConfigError
from toolkit.runfolder import alone

HEARTBEAT, GRACE = 30, 120  # seconds; of a database that other machines use, too


def open_storage(kind: str, folder: Path, workers: int = 1) -> Any:
    """An Optuna storage. Raises ConfigError if a database cannot be reached.

    kind: `sqlite` and `journal` lie in the folder; empty is what lies there already, otherwise SQLite for
    one worker and a journal for more; all else is a database's address.
    """
    from optuna.storages import JournalStorage, RDBStorage, RetryFailedTrialCallback

    sqlite, journal = folder / "study.db", folder / "journal.log"
    if not kind:
        begun = "sqlite" if sqlite.exists() else "journal" if journal.exists() else ""
        kind = begun or ("sqlite" if workers == 1 else "journal")
    if kind == "journal":
        return JournalStorage(_journal(journal))
    if kind == "sqlite":
        with alone(folder / "making.lock"):
            return RDBStorage(f"sqlite:///{sqlite}", engine_kwargs={"connect_args": {"timeout": 60}})
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return RDBStorage(kind, heartbeat_interval=HEARTBEAT, grace_period=GRACE,
                              failed_trial_callback=RetryFailedTrialCallback())  # fmt: skip
    except (ImportError, SQLAlchemyError) as error:
        password = urlsplit(kind).password
        said = str(error).splitlines()[0]
        raise ConfigError(
            "the database of `tuning.storage` cannot be used",
            where="tuning.storage",
            why=said.replace(password, "***") if password else said,
            fix="check the address, and that the driver it names is installed",
        ) from None


def get_heartbeat(trial: Any) -> Any:
    """Tells a shared database that the trial's process lives, for as long as it does."""
    from optuna.storages._heartbeat import get_heartbeat_thread

    return get_heartbeat_thread(trial._trial_id, trial.study._storage)


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
