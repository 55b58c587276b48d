"""The verb `compare`, and the leaderboard that ends a sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from toolkit.cli.terminal import OUT, pairs
from toolkit.errors import ConfigError, UserError, did_you_mean

if TYPE_CHECKING:
    from toolkit.sweep.folder import Record, SweepFolder
    from toolkit.sweep.runs import Run

HELP = """python -m toolkit compare RUN RUN… [test=all] [output=FOLDER]
python -m toolkit compare SWEEP [test=all] [output=FOLDER]

Puts runs side by side with the first one: metrics with the interval of the paired difference on the
rows that they share, what differs in their configurations, and in their features. Of a sweep's folder
it shows the leaderboard.

  RUN     a run's folder: outputs/<recipe>/<time>
  SWEEP   a sweep's folder: outputs/<recipe>/multirun/<time>
  test    all: test figures of all of them too; who chooses by them has no test left
  output  folder to write Markdown, CSV and HTML into
"""
KEYS = ("test", "output")
CHANGED = "table `{}` is not what the newest job read: the data changed while the sweep went on"


def compare(arguments: list[str]) -> int:
    """Compare runs, or show a sweep's leaderboard again."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print(HELP)
        return 0
    words = [word for word in arguments if word.partition("=")[0] in KEYS and "=" in word]
    folders = [Path(word) for word in arguments if word not in words]
    given = pairs(words, KEYS)
    for folder in folders:
        key, sign, _ = str(folder).partition("=")
        if sign and not folder.exists():
            raise ConfigError(
                f"`{folder}` is no folder, and `{key}` is not an argument here",
                where="command line",
                fix=did_you_mean(key, KEYS),
            )
    if given.get("test", "all") != "all":
        raise ConfigError("`test` can only be `all`", where="command line", fix="test=all, or leave it out")
    test = "test" in given

    from toolkit.sweep import board_page, comparison, document, leaderboard, runs
    from toolkit.sweep.folder import FILE, records_of

    if len(folders) == 1 and (folders[0] / FILE).is_file():
        found = leaderboard.build(*_of_sweep(folders[0], records_of(folders[0])), test)
        if not found.boards:
            raise ConfigError(f"no run of `{folders[0]}` is left", where="command line")
        document.screen(board_page.document(found), OUT)
        _write(given, lambda folder: board_page.write(found, folder))
        return 0
    inside = sorted(path.parent.name for path in folders[0].glob(f"*/{FILE}")) if len(folders) == 1 else []
    if inside:
        raise ConfigError(
            f"`{folders[0]}` is the folder of sweeps, not a sweep",
            where="command line",
            fix=f"give one of them: {', '.join(str(folders[0] / name) for name in inside[-5:])}",
        )
    if len(folders) < 2:
        raise ConfigError("two runs or more are compared", where="command line", fix="compare RUN RUN…")
    beside = comparison.compare([runs.read(folder) for folder in folders], test)
    document.screen(comparison.document(beside), OUT)
    _write(given, lambda folder: comparison.write(beside, folder))
    return 0


def _write(given: dict[str, str], write: Callable[[Path], None]) -> None:
    from toolkit.runfolder import aside

    if "output" not in given:
        return
    with aside(Path(given["output"])) as place:
        write(place.path)
    OUT.print(Text(f"files: {place.final}"), soft_wrap=True)


def leaderboard(sweep: SweepFolder, records: Sequence[Record], quiet: bool) -> list[Record]:
    """End a sweep: write the leaderboard into its folder and print it. Nothing stays if no job succeeded.

    Returns the jobs that gave no run to compare.
    """
    from toolkit.sweep import board_page, document
    from toolkit.sweep.leaderboard import build

    found = build(*_of_sweep(sweep.path, records))
    if found.boards:
        board_page.write(found, sweep.path)
        sweep.close(list(records))
    else:
        sweep.remove()
    if quiet:
        OUT.print(Text(str(sweep.path)), soft_wrap=True)
        return found.failed
    OUT.print()
    document.screen(board_page.document(found), OUT)
    if found.boards:
        OUT.print(Text(f"files: {sweep.path}"), soft_wrap=True)
    return found.failed


def _of_sweep(folder: Path, records: Sequence[Record]) -> tuple[str, list[tuple[Record, Run | None]]]:
    """A sweep's name, and its jobs with the runs that they gave."""
    from toolkit.sweep import runs

    found: list[tuple[Record, Run | None]] = []
    for record in records:
        run = None
        if record.state == "done":
            try:
                run = runs.read(folder / record.folder)
            except UserError as error:  # it has been removed, or meddled with
                record = replace(record, state="failed", reason=error.what)
        found.append((record, run))
    other = runs.of_other_data([run for _, run in found if run])
    for at, (record, run) in enumerate(found):
        if run and run.folder in other:
            found[at] = (
                replace(record, state="failed", code=2, reason=CHANGED.format(other[run.folder])),
                None,
            )
    names = dict.fromkeys(str(run.metrics.get("recipe") or "run") for _, run in found if run)
    return ", ".join(names) or "sweep", found
