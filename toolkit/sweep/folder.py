"""A sweep's folder: which one a command works in, who holds it, and what became of each job.

    sweep.json    digest of command and configuration; once the sweep has ended, its jobs too
    .jobs/        while it lasts: a record and a lock for each job
    0, 1, …       the runs, whole or absent
    leaderboard.* when it has ended

The same command finds the folder that a killed process has left, and goes on in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from glob import escape
from itertools import count
from pathlib import Path
from typing import Any, Literal

from toolkit import __version__
from toolkit.data.cache import code_digest
from toolkit.errors import ConfigError
from toolkit.runfolder import held, sweep_unfinished, write_json

FILE = "sweep.json"
State = Literal["running", "done", "failed", "bug", "died"]


@dataclass(frozen=True)
class Record:
    """What became of a job. folder: of its run, in the sweep's; overrides: of the whole job, without
    secrets; code: its exit code."""

    job: int
    state: State
    folder: str = ""
    overrides: list[str] = field(default_factory=list)
    reason: str = ""
    code: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class SweepFolder:
    """A folder that this process holds, or that a worker of it has been given. names: the runs' folders in it."""

    path: Path
    names: tuple[str, ...] = ()

    def run(self, job: int) -> Path:
        return self.path / self.names[job]

    def finished(self, job: int) -> bool:
        """A run is whole or absent; what a run writes last is a sign of it."""
        return (self.run(job) / "metrics.json").is_file()

    @contextmanager
    def working_on(self, job: int) -> Iterator[None]:
        """Wait while another process works on the job: a worker may outlive the sweep that was killed."""
        lock = self.path / ".jobs" / f"{job}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        with held(lock):
            yield

    def forget(self, job: int) -> None:
        """Remove a job's run and record, so that it is done again."""
        shutil.rmtree(self.run(job))
        self._record(job).unlink(missing_ok=True)

    def record(self, job: int) -> Record | None:
        try:
            return Record(**json.loads(self._record(job).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, record: Record) -> None:
        _write_whole(self._record(record.job), asdict(record))

    def _record(self, job: int) -> Path:
        return self.path / ".jobs" / f"{job}.json"

    def close(self, records: list[Record]) -> None:
        """The sweep has ended: what became of the jobs goes into one file."""
        self._remove_attempts()
        said = _read(self.path) or {}
        jobs = [asdict(record) for record in records]
        _write_whole(self.path / FILE, said | {"ended": _now(), "jobs": jobs})
        shutil.rmtree(self.path / ".jobs", ignore_errors=True)

    def _remove_attempts(self) -> None:
        """What killed processes left of the jobs, however young: each has had its turn under its lock, so
        nobody is at work on one any more."""
        for run in (self.path / name for name in self.names):
            for left in run.parent.glob(f".unfinished-{escape(run.name)}-????????"):
                shutil.rmtree(left, ignore_errors=True)

    def remove(self) -> None:
        """Leave nothing of a sweep in which no job succeeded."""
        shutil.rmtree(self.path / ".jobs", ignore_errors=True)
        self._remove_attempts()
        (self.path / FILE).unlink(missing_ok=True)
        here = Path.cwd()
        with suppress(OSError):  # one of them holds something
            for empty in (self.path, *list(self.path.resolve().parents)[:2]):  # multirun/, the recipe's
                if empty in (here, *here.parents):
                    return
                empty.rmdir()


def records_of(folder: Path) -> list[Record]:
    """The jobs of a sweep that has ended. Raises ConfigError if `folder` holds none."""
    said = _read(folder)
    if said is None or not said.get("ended"):
        raise ConfigError(
            f"`{folder}` holds no sweep that has ended",
            why="a sweep that was killed goes on when the same command is given again",
            fix="give a folder with `sweep.json` and `leaderboard.md`, or the folders of runs",
        )
    return [Record(**job) for job in said["jobs"]]


@contextmanager
def opened(wanted: Path, material: Any, named: bool) -> Iterator[tuple[SweepFolder, bool]]:
    """The folder to sweep in, held until the block ends, and whether an earlier process began it.

    wanted: the folder of a new sweep; material: what makes two commands the same one (`same_sweep`);
    named: the user asks for this very folder. Raises ConfigError if that one is another sweep's.
    """
    begun = [wanted] if named else sorted(wanted.parent.glob("*"), reverse=True)
    for folder in begun:
        said = _read(folder)
        if said is None:
            continue
        with held(folder, wait=False) as mine:
            if mine and _same(_read(folder), material):  # read again: it may have ended meanwhile
                _forget_unfinished(folder)
                yield SweepFolder(folder), True
                return
        if named:
            raise _taken(folder, mine)
    if named and wanted.is_dir():
        _refuse_filled(wanted)
    folder = _new(wanted, named)
    with held(folder, wait=False) as mine:
        if not mine:  # the same folder, asked for twice at the same moment
            raise _taken(folder, mine)
        _refuse_filled(folder)
        salt = secrets.token_hex(16)
        _write_whole(folder / FILE, {"toolkit": __version__, "begun": _now(), "ended": None,
                                     "salt": salt, "digest": _digest(material, salt)})  # fmt: skip
        yield SweepFolder(folder), False


def _taken(folder: Path, mine: bool) -> ConfigError:
    holds = "holds another sweep, or one that has ended"
    return ConfigError(
        f"`{folder}` {holds if mine else 'is being swept by another process'}",
        where="hydra.sweep.dir",
        why="only the same command goes on in a sweep's folder, and only until it has ended",
        fix="choose another folder, or leave the choice to the toolkit",
    )


def _refuse_filled(folder: Path) -> None:
    if any(folder.iterdir()):
        raise ConfigError(
            f"`{folder}` is already there, and not an empty folder",
            where="hydra.sweep.dir",
            why="what an earlier run wrote is never overwritten",
            fix="choose another folder, or remove it",
        )


def same_sweep(hydra: list[str], jobs: list[list[str]], composed: list[Any]) -> Any:
    """What two commands have to share to be the same sweep: our code, the words, and all that they compose into.

    Interpolations stay as they are typed (`${now:…}` would differ each time), except that what they read
    from the environment belongs to it.
    """
    names = sorted(set(re.findall(r"oc\.env:\s*(\w+)", json.dumps(composed, default=str))))
    environment = {name: os.environ.get(name) for name in names}
    return [__version__, code_digest("."), hydra, jobs, composed, environment]


def _same(said: dict[str, Any] | None, material: Any) -> bool:
    return said is not None and not said.get("ended") and said["digest"] == _digest(material, said["salt"])


def _digest(material: Any, salt: str) -> str:
    """Slow on purpose: the configuration may hold a secret that a quick digest would let one guess."""
    text = json.dumps(material, sort_keys=True, default=str, separators=(",", ":")).encode()
    return hashlib.scrypt(text, salt=bytes.fromhex(salt), n=2**14, r=8, p=1, dklen=32).hex()


def _new(wanted: Path, named: bool) -> Path:
    """Make the folder: the one asked for, or the next free name."""
    if named:
        wanted.mkdir(parents=True, exist_ok=True)
        return wanted
    for number in count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError


def _forget_unfinished(folder: Path) -> None:
    """What failed before the kill, or was under way, is tried again."""
    for path in (folder / ".jobs").glob("*.json"):
        record = SweepFolder(folder).record(int(path.stem))
        if record is None or record.state != "done":
            path.unlink()
    sweep_unfinished(folder)


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        said = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) and {"digest", "salt"} <= said.keys() else None


def _write_whole(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    write_json(aside, value)
    aside.replace(path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
