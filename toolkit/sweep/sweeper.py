"""Hydra's basic sweeper, with a memory: it goes on where a killed sweep stopped, and no job stops another.

Which jobs there are, and what starts them (`hydra/launcher=basic`, `joblib`), stays Hydra's affair.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from toolkit.config.compose import Declarations
from toolkit.data.cache import digest
from toolkit.errors import UserError
from toolkit.sweep.folder import Record, SweepFolder, opened, same_sweep
from toolkit.sweep.overrides import numbered, swept

BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
# Not imported: Hydra loads the modules of its plug-ins anew when it first looks for them.
BasicSweeper: Any = Plugins.instance().class_name_to_class[BASIC]


class Task(Protocol):
    """What the launcher calls for each job; it keeps a record of the job and raises nothing.

    sweep: where the jobs belong; home: the process that sweeps; swept: keys that differ between jobs; numbers:
    tells overrides apart that secrets are masked in; declared: digests of what they composed into when the
    sweep began; threads: those that a job may use, 0: all; quiet: nothing is said but where the results are;
    ended: called with what became of the jobs, gives the exit code.
    """

    sweep: SweepFolder | None
    home: int
    swept: frozenset[str]
    numbers: dict[str, int]
    declared: tuple[str, ...]
    threads: int
    quiet: bool
    codes: list[int]

    def ended(self, records: list[Record]) -> int: ...

    def say(self, text: str) -> None: ...


class Sweeper(BasicSweeper):
    """`hydra/sweeper=basic`, once `install` has run."""

    config: DictConfig
    hydra_context: HydraContext
    launcher: Launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.task: Any = task_function

    def sweep(self, arguments: list[str]) -> None:
        loader = self.hydra_context.config_loader
        words = OverridesParser.create(config_loader=loader).parse_overrides(
            [*self._parse_config(), *arguments]
        )
        batches = self.split_arguments(words, self.max_batch_size)
        jobs = [job for batch in batches for job in batch]
        # Mistakes of any of them are told before the first one starts.
        composed, names = zip(*(self._compose(number, job) for number, job in enumerate(jobs)), strict=True)
        given = list(self.config.hydra.overrides.hydra)
        named = any(word.lstrip("+").startswith("hydra.sweep.dir=") for word in given)
        material = same_sweep(given, jobs, list(composed))
        with opened(Path(self.config.hydra.sweep.dir), material, named) as (found, again):
            folder = replace(found, names=names)
            self._work_in(folder)
            self.task.sweep, self.task.home = folder, os.getpid()
            self.task.swept, self.task.numbers = frozenset(swept(jobs)), numbered(jobs)
            self.task.declared = tuple(map(digest, composed))
            self.task.quiet = all(config.get("quiet") for config in composed)
            done = sum(folder.finished(number) for number in range(len(jobs)))
            if again:
                self.task.say(f"going on in {folder.path}: {done} of {len(jobs)} jobs are done")
            # All jobs count, not those that are left: numbers depend on how many threads made them.
            self.task.threads = share(self.config.hydra.launcher.get("n_jobs") or 1, len(jobs))
            self._launch_all(batches, folder)
            if again and (stale := _of_other_data(folder, len(jobs))):
                self.task.say(f"the data has changed since {len(stale)} of the jobs were done: done again")
                for number in stale:
                    folder.forget(number)
                self._launch_all(batches, folder)
            self.task.codes.append(
                self.task.ended([folder.record(n) or Record(n, "died") for n in range(len(jobs))])
            )

    def _compose(self, number: int, job: list[str]) -> tuple[Any, str]:
        """What a job composes into, and the name of its folder."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, job)
        with read_write(config), open_dict(config):
            config.hydra.job.num, config.hydra.job.id = number, number
            name = str(config.hydra.sweep.subdir)
            del config["hydra"]
        return OmegaConf.to_container(config), name

    def _work_in(self, folder: SweepFolder) -> None:
        """Jobs compose anew, from the overrides: the folder has to be among them."""
        text = QuotedString(str(folder.path.resolve()), Quote.single).with_quotes()
        with read_write(self.config), open_dict(self.config):
            self.config.hydra.sweep.dir = str(folder.path)
            self.config.hydra.overrides.hydra.append(f"hydra.sweep.dir={text}")

    def _launch_all(self, batches: Sequence[Sequence[Sequence[str]]], folder: SweepFolder) -> None:
        start = 0
        for batch in batches:
            self._launch(batch, start, folder)
            start += len(batch)

    def _launch(self, batch: Sequence[Sequence[str]], start: int, folder: SweepFolder) -> None:
        """Run a batch. When a worker process dies (out of memory, say), all workers go with it: then those
        that were at work are tried one by one, so that only the job that kills its process is lost."""
        while True:
            try:
                for returned in self.launcher.launch(batch, initial_job_idx=start):
                    _ = returned.return_value  # raises what the job itself could not tell
                return
            except BrokenProcessPool:
                suspects = [number for number in range(start, start + len(batch)) if _at_work(folder, number)]
                if not suspects:
                    raise
                for number in suspects:
                    try:
                        self.launcher.launch([batch[number - start]], initial_job_idx=number)
                    except BrokenProcessPool:
                        record = folder.record(number) or Record(number, "died")
                        reason = "its process died: killed by the system, perhaps for want of memory"
                        folder.keep(replace(record, state="died", code=1, reason=reason))


def _of_other_data(folder: SweepFolder, jobs: int) -> list[int]:
    """Finished jobs that have not read what the newest ones read."""
    from toolkit.sweep.runs import of_other_data, read

    runs = {}
    for number in range(jobs):
        with suppress(UserError):
            runs[number] = read(folder.run(number))
    other = of_other_data(list(runs.values()))
    return [number for number, run in runs.items() if run.folder in other]


def _at_work(folder: SweepFolder, job: int) -> bool:
    record = folder.record(job)
    return record is not None and record.state == "running"


def share(workers: int, jobs: int) -> int:
    """Threads for each job when `workers` of them (joblib's count: -1 is one per core) run side by side; 0: all."""
    cores = os.cpu_count() or 1
    at_once = min(workers if workers > 0 else max(cores + 1 + workers, 1), max(jobs, 1))
    return max(cores // at_once, 1) if at_once > 1 else 0


class FileConfigSource(Declarations):
    """Our source of plain folders, by the name of Hydra's own.

    A worker process of the joblib launcher gets the registry of sources and then registers Hydra's
    plug-ins; it takes two classes for one if their names are the same, keeps ours, and is content.
    """


def install() -> None:
    """Make the sweeper Hydra's basic one. Hydra takes plug-ins of this kind only from its own packages."""
    Plugins.instance().class_name_to_class[BASIC] = Sweeper
    SourcesRegistry.instance().types[Declarations.SCHEME] = FileConfigSource
