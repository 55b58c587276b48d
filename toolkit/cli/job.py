"""What Hydra calls with a composed configuration: the verb, once, or as one job of a sweep.

A job of a sweep may run in another process (`hydra/launcher=joblib`). So it is an object that travels,
registers the plug-in again where it arrives, and leaves what became of it in the sweep's folder.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.cli import screen
from toolkit.cli.masking import MASK
from toolkit.errors import ConfigError, UserError, raise_interruption

if TYPE_CHECKING:
    from toolkit.sweep.folder import Record, SweepFolder

LONGEST = 240
GATE_FAILED = 3  # exit code of a run that is whole, and failed a fairness gate


def handler(verb: str) -> Callable[[Any], int]:
    """The verb's function; imported here, so that help and mistakes answer at once."""
    name = "listing" if verb == "list" else verb  # a module that defines `list` loses the type
    return getattr(importlib.import_module("toolkit.cli.verbs"), name)


@dataclass
class Job:
    """The task function of Hydra's. For what sets the fields from `sweep` on, see toolkit/sweep/sweeper.py."""

    verb: str
    config_dir: str | None
    codes: list[int] = field(default_factory=list)
    sweep: SweepFolder | None = None
    home: int = 0
    swept: frozenset[str] = frozenset()
    numbers: dict[str, int] = field(default_factory=dict)
    declared: tuple[str, ...] = ()
    threads: int = 0
    quiet: bool = False

    def __call__(self, config: Any) -> None:
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        from toolkit.config.compose import install

        if self.home not in (0, os.getpid()):
            _end_with(self.home)
        install(self.config_dir)
        hydra = HydraConfig.get()
        if self.sweep is None and hydra.mode == RunMode.MULTIRUN:
            # A sweeper that is not ours lists the overrides in a file, secrets among them.
            Path(hydra.sweep.dir, "multirun.yaml").unlink(missing_ok=True)
        try:
            if self.sweep is None:
                self._alone(config)
            else:
                with self.sweep.working_on(hydra.job.num):
                    self._of_several(config, hydra.job.num, self.sweep)
        finally:
            _remove_if_empty(Path(hydra.runtime.output_dir))

    def _alone(self, config: Any) -> None:
        from toolkit.config.compose import composed

        variables: Mapping[str, str] = {}
        try:
            given = composed(config)
            variables = given.provenance.variables
            self.codes.append(handler(self.verb)(given))
        except UserError as error:
            raise_interruption(error)
            screen.show(_with_variable(error, variables))
            self.codes.append(2)
        except Exception as error:
            raise_interruption(error)
            self.codes.append(1)  # a bug of ours: Hydra raises it again
            raise

    def _of_several(self, config: Any, number: int, sweep: SweepFolder) -> None:
        """Do the job and keep a record of it; what goes wrong with it stays its own affair."""
        from toolkit.cli.masking import without_secrets
        from toolkit.config.compose import composed
        from toolkit.sweep.folder import Record

        record = sweep.record(number)
        if record is not None and record.state not in ("running", "done"):
            return  # it has failed, and its turn comes again because the process of another one has died
        begun = time.perf_counter()
        before, record = record, Record(number, "running", sweep.names[number])
        variables: Mapping[str, str] = {}
        scrub: Callable[[str], str] = str
        try:
            given = composed(config)
            variables, scrub = given.provenance.variables, without_secrets(given)
            record = replace(record, overrides=[self._masked(word, scrub) for word in given.overrides])
            if self.verb == "run" and sweep.finished(number):
                sweep.keep(replace(before or record, state="done"))
                return
            sweep.keep(record)
            _refuse_edited(config, self.declared[number])
            if self.threads:
                given.plain["engine"] = _with_threads(given.plain.get("engine"), self.threads)
            with self._voice(bool(given.plain.get("verbose"))):
                code = handler(self.verb)(given)
            # Gates look at the test: a run that fails one stays comparable, or the test would choose among them.
            record = replace(record, state="failed" if code and code != GATE_FAILED else "done", code=code)
        except UserError as error:
            raise_interruption(error)
            told = _with_variable(error, variables)
            screen.show(told)
            where = f" ({told.where})" if told.where else ""
            record = replace(record, state="failed", code=2, reason=_one_line(scrub(f"{told.what}{where}")))
        except Exception as error:
            raise_interruption(error)
            print(scrub(traceback.format_exc()), file=sys.stderr)
            said = _one_line(scrub(f"{type(error).__name__}: {error}"))
            record = replace(record, state="bug", code=1, reason=f"a bug in the toolkit: {said}")
        record = replace(record, seconds=time.perf_counter() - begun)
        sweep.keep(record)
        if self.verb == "run" or record.code:
            self.say(line_of(record, self.swept, sweep.run(number)))

    def _masked(self, word: str, scrub: Callable[[str], str]) -> str:
        """An override without secrets: `key=***1`, if another job has another secret there."""
        said, number = scrub(word), self.numbers.get(word)
        return said.replace(MASK, f"{MASK}{number}") if number and said != word else said

    @contextlib.contextmanager
    def _voice(self, verbose: bool) -> Iterator[None]:
        """A job of a sweep says one line when it is done. How far it is, is shown if it has a terminal alone."""
        kept = io.StringIO()
        with contextlib.ExitStack() as stack:
            if self.verb == "run" and not verbose:
                stack.enter_context(contextlib.redirect_stdout(kept))
                if self.threads or not sys.stderr.isatty():
                    stack.enter_context(contextlib.redirect_stderr(kept))
            yield

    def ended(self, records: list[Record]) -> int:
        """All jobs have had their turn: the leaderboard, and the exit code of the whole."""
        assert self.sweep is not None
        failed = [record for record in records if record.state != "done"]
        if self.verb == "run":
            from toolkit.cli.comparing import leaderboard

            failed = leaderboard(self.sweep, records, self.quiet)
        return max(
            (record.code or 1 for record in failed),
            default=max((record.code for record in records), default=0),
        )

    def say(self, text: str) -> None:
        from rich.text import Text

        from toolkit.cli.terminal import OUT

        if not self.quiet:
            OUT.print(Text(text), soft_wrap=True)


def _end_with(parent: int) -> None:
    """End this worker when the process that sweeps ends, even if that is killed and cannot tell it."""
    name = "ends with the sweep"
    if os.getppid() != parent or any(thread.name == name for thread in threading.enumerate()):
        return  # a launcher may work on another machine

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name=name, daemon=True).start()


def line_of(record: Record, swept: frozenset[str], run: Path) -> str:
    """`job 3  model=lightgbm seed=1  gives: roc_auc 0.731  4.2 s`: a job in one line."""
    from toolkit.sweep.overrides import key_of
    from toolkit.sweep.runs import headlines

    words = " ".join(word for word in record.overrides if key_of(word) in swept)
    said = f"failed: {record.reason}"
    if record.state == "done":
        said = ", ".join(f"{target}: {metric} {value:.3f}" for target, metric, value in headlines(run))
        said += "  FAILED A FAIRNESS GATE" if record.code == GATE_FAILED else ""
    return f"job {record.job}  {words}  {said}  {record.seconds:.1f} s"


def _refuse_edited(config: Any, declared: str) -> None:
    """A job composes when its turn comes. What has been edited meanwhile would be compared with what was not."""
    from omegaconf import OmegaConf

    from toolkit.data.cache import digest

    if digest(OmegaConf.to_container(config)) != declared:
        raise ConfigError(
            "a declaration has been edited since the sweep began",
            why="its jobs would not be of one experiment",
            fix="start the sweep again; what has been prepared and fitted is found in the cache",
        )


def _with_threads(engine: Any, threads: int) -> Any:
    """The engine's settings with this job's share of the cores, unless they say how many threads."""
    if not isinstance(engine, dict | None):
        return engine  # a mistake, told by the check that follows
    return (engine or {}) | {"threads": (engine or {}).get("threads") or threads}


def _with_variable(error: UserError, variables: Mapping[str, str]) -> UserError:
    """The mistake, with the variable to set if that is where the wrong value comes from."""
    for key, variable in variables.items():
        if re.search(rf"(^|\(){re.escape(key)}[ )]", f"{error.where} "):
            error.fix = "; ".join(filter(None, [error.fix, f"set {variable}=…"]))
            break
    return error


def _one_line(text: str) -> str:
    """On one line, and not without end: the whole has been shown when it happened."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _remove_if_empty(folder: Path) -> None:
    for empty in (folder, folder.parent):
        try:
            if empty in (Path.cwd(), *Path.cwd().parents):  # hydra.run.dir=. is the user's own folder
                return
            empty.rmdir()
        except OSError:
            return
