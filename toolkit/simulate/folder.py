"""The folder that a world is written to: whole, or without `truth/world.json`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel

Tell = Callable[[str, float], None]  # what is at work, share done


@contextmanager
def written(world: BaseModel, folder: Path, progress: Tell | None) -> Iterator[tuple[Path, Path, Tell]]:
    """The folder, `folder/truth/` and what tells progress; at the end the world's settings are written, as the last file."""
    tell = progress or (lambda what, share: None)
    folder, truth = Path(folder), Path(folder) / "truth"
    truth.mkdir(parents=True, exist_ok=True)
    settings = truth / "world.json"
    settings.unlink(missing_ok=True)
    yield folder, truth, tell
    settings.write_text(world.model_dump_json(indent=2) + "\n", encoding="utf-8")
    tell("done", 1.0)
