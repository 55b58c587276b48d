"""`resume=FOLDER`: the command of a run that was killed, given again.

What it had finished lies in the cache, and a network's last whole epoch too; so the same command goes on
from there. All that is kept of a run in its own folder is how it was started.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from toolkit.errors import ConfigError, nearest
from toolkit.runfolder import held, read_facts

KEY = "resume="
LEFT = ".unfinished-"  # so begins the name of a run's folder until the run is finished


def resumed(rest: list[str]) -> tuple[list[str], Path | None]:
    """The arguments, those of the run to resume in place of `resume=FOLDER`, and that folder; flags stay."""
    words = [word for word in rest if word.startswith(KEY)]
    if not words:
        return rest, None
    others = [word for word in rest if "=" in word and not word.startswith(("-", KEY))]
    if len(words) > 1 or others:
        raise ConfigError(
            f"`{words[0]}` stands beside {', '.join(f'`{word}`' for word in [*words[1:], *others])}",
            where="command line",
            why="a run goes on as it began, or it is another one",
            fix="leave the others out, or give the whole command again: what fits is found in the cache",
        )
    folder = Path(words[0].removeprefix(KEY))
    return [*command(folder), *(word for word in rest if word not in words)], folder


def forget(folder: Path) -> None:
    """Remove what a killed run has left, once the run that went on from it is finished."""
    if folder.name.startswith(LEFT):
        with held(folder, wait=False) as mine:
            if mine:
                shutil.rmtree(folder, ignore_errors=True)


def command(folder: Path) -> list[str]:
    """The overrides that a run was started with."""
    from toolkit.cli.masking import MASK

    if not folder.is_dir():
        beside = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
        close = nearest(folder.name, beside) or next((n for n in beside if n.startswith(LEFT)), None)
        raise ConfigError(
            f"there is no folder `{folder}`",
            where="resume",
            why="a killed run leaves outputs/<recipe>/.unfinished-<time>-<number>",
            fix=f"did you mean `{folder.parent / close}`?" if close else "give the same command again",
        )
    if (folder / "metrics.json").is_file() and not folder.name.startswith(LEFT):
        raise ConfigError(
            f"the run in `{folder}` is finished",
            where="resume",
            why="there is nothing left of it to do",
            fix="to run it once more, give its command again (environment.json, `overrides`)",
        )
    with held(folder, wait=False) as mine:
        if not mine:
            raise ConfigError(
                f"the run in `{folder}` is still at work", where="resume", fix="wait for it, or end it first"
            )
    overrides = read_facts(folder / "environment.json").get("overrides")
    if not isinstance(overrides, list):
        raise ConfigError(
            f"`{folder}` does not say how it was started",
            where="resume",
            why="it holds no environment.json: it is no run's folder, or a sweep's",
            fix="give the same command again: what was finished is found in the cache",
        )
    if any(MASK in word for word in overrides):
        raise ConfigError(
            f"the run in `{folder}` was started with a secret, which was not kept",
            where="resume",
            fix="give the same command again: what was finished is found in the cache",
        )
    return overrides
