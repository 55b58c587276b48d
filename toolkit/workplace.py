"""Where a run works: the engine, the cache, and what tells how far it is."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.config.schema import Config
from toolkit.data.cache import Cache
from toolkit.data.engine import Engine

log = logging.getLogger("toolkit")
# progress(what, share done): "stage", or "stage: detail"
Progress = Callable[[str, float], None]


def within(progress: Progress, stage: str) -> Progress:
    """What is told becomes a detail of a stage."""
    return lambda what, share: progress(f"{stage}: {what}", share)


@dataclass
class Workplace:
    """What the stages share: engine, cache, progress, and the seconds each stage took."""

    engine: Engine
    cache: Cache
    progress: Progress
    scratch: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, told: bool = True) -> Iterator[None]:
        """Time what the block does; meanwhile `progress` tells details of it.

        told: False for a block whose parts are stages to those who watch (each model that is fitted).
        """
        begun, outer = time.perf_counter(), self.progress
        if told:
            outer(name, 0.0)
            self.progress = within(outer, name)
        try:
            yield
        finally:
            self.progress = outer
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun
        log.info("%s: %.2f s", name, self.seconds[name])

    def __enter__(self) -> Workplace:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()
        shutil.rmtree(self.scratch, ignore_errors=True)


def workplace(config: Config, progress: Progress) -> Workplace:
    """The engine and the cache that a configuration asks for; what nobody has used for long is swept out."""
    root = Path(config.cache)
    (root / "scratch").mkdir(parents=True, exist_ok=True)
    cache = Cache(root)
    if config.cache_days:
        cache.sweep(config.cache_days)
    scratch = Path(tempfile.mkdtemp(dir=root / "scratch"))  # two engines must never spill into one folder
    engine = Engine(config.engine.threads, config.engine.memory, scratch)
    return Workplace(engine, cache, progress, scratch)
