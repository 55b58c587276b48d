"""The verb `score`: which bundle, which tables, and where the scores go."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from rich.text import Text

from toolkit.cli.enriching import of_run
from toolkit.cli.masking import MASK
from toolkit.cli.terminal import OUT, Ticker, pairs, switches
from toolkit.errors import ConfigError, nearest
from toolkit.runfolder import aside, free

HELP = """python -m toolkit score run=FOLDER [input=FOLDER] [snapshot=DAY|latest] [cutoff=DAY|latest]
                        [previous=FOLDER|FILE] [output=FOLDER] [cache=FOLDER] [enrich=false]
                        [accept_gate=true] [quiet=true] [verbose=true]
python -m toolkit score run=FOLDER row=JSON|example [reasons=N] [accept_gate=true]
python -m toolkit score run=FOLDER input=- [reasons=N] [accept_gate=true] [quiet=true]

Scores tables with a run's bundle. The features are recomputed by the code that trained on them.

  run       a run's folder, or a bundle's
  input     folder with the tables (CSV or Parquet); default: where the run found them
  snapshot  moment to score at; latest: the newest step of the cohort's rhythm (the default of a run that
            writes a ranked list)
  cutoff    the same; latest: the end of the data (the default of other runs)
  previous  the list to compare a ranked list with: a run's or scoring's folder, or a CSV file; default: the
            newest earlier one of this run
  output    folder to write; default: outputs/scores/<run>/<time>
  cache     folder of prepared data; default: the run's
  enrich    false: a ranked list is not enriched, whatever the run declares
  row       a row to score, {"feature": value, …}; where features are columns of one table, by its columns;
            example: a row of what is usual in training rows, to start from; input=-: JSON lines, in and out
  reasons   of single rows: so many, in words, beside each probability
  accept_gate  true: score although the run failed a fairness gate that was to fail it
  quiet     true: only the folder is said; verbose=true: every detail
"""


def score(arguments: list[str]) -> int:
    """Score new tables with a bundle."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print(HELP)
        return 0
    given = pairs(
        arguments,
        (
            "run",
            "input",
            "snapshot",
            "cutoff",
            "previous",
            "output",
            "cache",
            "enrich",
            "row",
            "reasons",
            "accept_gate",
            "quiet",
            "verbose",
        ),
    )
    say = switches(given)
    if "run" not in given:
        raise ConfigError(
            "which run's bundle should score?", where="command line", fix="run=outputs/<recipe>/<time>"
        )
    if "snapshot" in given and "cutoff" in given:
        raise ConfigError(
            "`snapshot=` and `cutoff=` both name the moment",
            where="command line",
            fix="leave one of them out",
        )
    if "row" in given or given.get("input") == "-":
        from toolkit.cli.single import score_rows

        return score_rows(bundle_of(Path(given["run"])), given)
    if "reasons" in given:
        raise ConfigError(
            "`reasons=` goes with single rows (`row=`, `input=-`)",
            where="command line",
            why="a list's reasons are declared with it: `listing.reasons`",
        )
    from toolkit import bundling
    from toolkit.actions import enrichment, listing
    from toolkit.actions.enrichment import lists as enriching
    from toolkit.data.cache import Cache
    from toolkit.report.lists import file_name
    from toolkit.scoring import batch
    from toolkit.workplace import within

    folder = bundle_of(Path(given["run"]))
    scorer = bundling.read(folder, accept_gate=said(given, "accept_gate", "false"))
    if "previous" in given and not scorer.listing.file:
        raise ConfigError(
            "this run writes no ranked list that could be compared with another",
            where="previous",
            fix="leave it out, or run the recipe with `listing=latest`",
        )
    node = of_run(Path(given["run"])) if said(given, "enrich", "true") and scorer.listing.file else None
    enriches = enrichment.ready(node) if node else None
    source, root = source_of(Path(given["run"], "config.yaml"), given)
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    scores = Path("outputs/scores", file_name(scorer.name))
    output = Path(given["output"]) if "output" in given else free(scores / stamp)
    with Ticker(say["quiet"], verbose=say["verbose"]) as ticker, aside(output) as place:
        Path(root).mkdir(parents=True, exist_ok=True)
        tell = within(ticker, "scoring")
        moment = given.get("cutoff"), given.get("snapshot")
        scored = batch.score(scorer, source, moment[0], Cache(Path(root)), scorer.engine, tell, moment[1])
        ticker("writing", 0.0)
        lines = batch.write(scorer, scored, place.path)
        if scorer.listing.file:
            bundle, cutoff = listing.digest_of(folder), listing.cutoff_of(scored)
            if "previous" in given:
                last = listing.compared_with(scorer, Path(given["previous"]))
            else:
                near = [folder.parent, *beside(scores), *beside(output.parent)]
                last = listing.newest_before(near, bundle, cutoff)
            lists = listing.write(scorer, scored, place.path, bundle, last)
            lines += [line for one in lists for line in one.lines]
            if enriches:
                lines += enriching.of_lists(enriches, lists, place.path, ticker)
    for line in [str(place.final)] if say["quiet"] else [*lines, f"files: {place.final}"]:
        OUT.print(Text(line), soft_wrap=True)
    return 0


def said(given: dict[str, str], key: str, default: str) -> bool:
    """A switch of the command line."""
    if (value := given.get(key, default).lower()) not in ("true", "false"):
        raise ConfigError(f"`{key}={value}` is neither true nor false", where="command line")
    return value == "true"


def beside(folder: Path) -> list[Path]:
    """Folders in a folder."""
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def bundle_of(given: Path) -> Path:
    """The bundle's folder behind `run=`."""
    if not given.is_dir():
        beside = [path.name for path in given.parent.iterdir()] if given.parent.is_dir() else []
        close = nearest(given.name, beside)
        fix = f"did you mean `{given.parent / close}`?" if close else "run=outputs/<recipe>/<time>"
        raise ConfigError(f"there is no folder `{given}`", where="run", fix=fix)
    for folder in (given / "bundle", given):
        if (folder / "manifest.json").is_file():
            return folder
    raise ConfigError(
        f"there is no bundle in `{given}`",
        where="run",
        why="a run's folder holds `bundle/`, and a bundle holds `manifest.json`",
        fix="run=outputs/<recipe>/<time>",
    )


def source_of(config: Path, given: dict[str, str]) -> tuple[Any, str]:
    """Where the tables to score come from: `input=`, otherwise where the run found its own (`config`)."""
    from pydantic import TypeAdapter, ValidationError

    from toolkit.config.tables import FolderSource, Source

    recorded: dict[str, Any] = {}
    if config.is_file():
        try:
            recorded = yaml.safe_load(config.read_text(encoding="utf-8"))
            before = TypeAdapter(Source).validate_python(recorded["source"])
        except (yaml.YAMLError, UnicodeDecodeError, ValidationError, TypeError, KeyError) as error:
            raise ConfigError(
                "the run's configuration cannot be read",
                where=str(config),
                why=str(error).split("\n")[0],
                fix="give the bundle's own folder, run=<run>/bundle, and input=<folder with the tables>",
            ) from None
    cache = given.get("cache") or recorded.get("cache", "outputs/.cache")
    if "input" in given:
        options = {"csv": before.csv} if recorded and isinstance(before, FolderSource) else {}
        return FolderSource(kind="folder", path=given["input"], **options), cache
    if not recorded or MASK in str(recorded["source"]):
        secret = "the run's source holds a secret, which was not kept"
        raise ConfigError(
            secret if recorded else "a bundle alone does not say where the tables are",
            where="command line",
            fix="input=<folder with the tables>",
        )
    return before, cache
