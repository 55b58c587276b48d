"""The verbs: each turns what was composed, or its arguments, into one call and prints the result."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.text import Text

from toolkit.config.check import looks_secret, validate
from toolkit.config.compose import Composed
from toolkit.config.schema import Config
from toolkit.errors import ConfigError, did_you_mean

WIDE = 140  # where output is not a terminal, lines are as long as they need
OUT = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
ERR = Console(stderr=True, highlight=False)


class Ticker:
    """Says on stderr what is being done: a live line on a terminal, a line per stage elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.last, self.begun = quiet, "", time.perf_counter()
        self.status = ERR.status("", spinner="dots") if ERR.is_terminal and not quiet else None

    def __call__(self, what: str, share: float) -> None:
        if self.quiet:
            return
        seconds = time.perf_counter() - self.begun
        if self.status is not None:
            self.status.update(Text(f"{seconds:5.0f} s  {what}" + (f"  {share:.0%}" if share else "")))
            self.status.start()
        elif what.split(":")[0] != self.last:
            self.last = what.split(":")[0]
            ERR.print(Text(f"{seconds:7.1f} s  {self.last}"), soft_wrap=True)

    def stop(self) -> None:
        if self.status is not None:
            self.status.stop()


def typed(composed: Composed) -> Config:
    """The composed configuration as typed objects, named after its recipe."""
    chosen = dict(composed.plain)
    chosen["name"] = chosen.get("name") or composed.recipe
    return validate(Config, chosen, composed.provenance)


def masked(composed: Composed) -> dict[str, Any]:
    """The resolved configuration without secrets."""

    def walk(value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, (*path, str(key))) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*path, str(index))) for index, item in enumerate(value)]
        dotted = ".".join(path)
        return "***" if dotted in composed.from_environment or looks_secret(path, value) else value

    return walk(composed.plain, ())


def run(composed: Composed) -> int:
    """Fit, judge, write the run's folder, print the summary."""
    from toolkit import runner
    from toolkit.report import summary

    config = typed(composed)
    ticker = Ticker(config.quiet)
    try:
        outcome = runner.run(config, composed.folder, masked(composed), ticker, list(composed.overrides))
    finally:
        ticker.stop()
    import json

    facts = json.loads((composed.folder / "facts.json").read_text(encoding="utf-8"))
    if config.quiet:
        OUT.print(Text(str(composed.folder)))
    else:
        summary.screen(outcome, facts, OUT)
    return 0


def plan(composed: Composed) -> int:
    """What would happen, without training."""
    from toolkit import plan as plans
    from toolkit import runner

    config = typed(composed)
    ticker = Ticker(config.quiet)
    try:
        place = runner.workplace(config, ticker)
        prepared = runner.prepare(config, place)
        runner.check_names(config, [feature.name for feature in prepared.compiled.features])
    finally:
        ticker.stop()
    sys.stdout.write(plans.text(config, prepared))
    return 0


def check(composed: Composed) -> int:
    """Prove on the user's own data that nothing from after a cutoff, or from held-out rows, gets in."""
    from toolkit.prepare import prove

    config = typed(composed)
    ticker = Ticker(config.quiet)
    try:
        proofs = prove.all_proofs(config, ticker)
    finally:
        ticker.stop()
    for proof in proofs:
        OUT.print(Text(f"{'ok  ' if proof.holds else 'FAIL'}  {proof.text}"), soft_wrap=True)
    return 0 if all(proof.holds for proof in proofs) else 1


def show(composed: Composed) -> int:
    """The resolved configuration, each line with where it came from; secrets masked."""
    config = typed(composed)
    del config

    def walk(value: Any, path: tuple[str, ...], indent: int) -> None:
        pad = "  " * indent
        for key, item in value.items():
            here = (*path, str(key))
            if isinstance(item, dict) and item:
                print(f"{pad}{key}:")
                walk(item, here, indent + 1)
                continue
            text = (
                yaml.safe_dump(item, default_flow_style=True, allow_unicode=True, width=10_000)
                .strip()
                .removesuffix("\n...")
            )
            print(f"{pad}{key}: {text}".ljust(60) + f"  # {composed.provenance.where(here)}")

    walk(masked(composed), (), 0)
    return 0


def simulate(composed: Composed) -> int:
    """Make the simulated world of a recipe and say where its tables are."""
    from toolkit.config.tables import SimulatedSource
    from toolkit.data.cache import Cache
    from toolkit.data.sources import simulated

    config = typed(composed)
    if not isinstance(config.source, SimulatedSource):
        raise ConfigError(
            f"the source of this recipe is `{config.source.kind}`, not a simulated world",
            where="source.kind",
            fix="choose one: source=donor_world",
        )
    ticker = Ticker(config.quiet)
    begun = time.perf_counter()
    try:
        folder = simulated(config.source, Cache(Path(config.cache)), ticker)
    finally:
        ticker.stop()
    OUT.print(Text(f"{folder}  ({time.perf_counter() - begun:.1f} s)"), soft_wrap=True)
    for path in sorted(folder.glob("*.parquet")):
        import pyarrow.parquet as pq

        OUT.print(Text(f"  {path.name}: {pq.ParquetFile(path).metadata.num_rows:,} rows"))
    return 0


SCORE_HELP = """python -m toolkit score run=FOLDER [input=FOLDER] [cutoff=DAY|latest] [output=FOLDER] [cache=FOLDER]

Scores tables with a run's bundle. The features are recomputed by the code that trained on them.

  run     a run's folder, or a bundle's
  input   folder with the tables (CSV or Parquet); default: where the run found them
  cutoff  moment to score at; default: latest, the end of the data
  output  folder to write; default: outputs/scores/<run>/<time>
"""


def pairs(arguments: list[str], known: tuple[str, ...], usage: str) -> dict[str, str]:
    """key=value arguments of a verb that composes nothing."""
    found = {}
    for argument in arguments:
        key, sign, value = argument.partition("=")
        if not sign or key not in known:
            raise ConfigError(
                f"`{argument}` is not an argument here", where="command line", fix=did_you_mean(key, known)
            )
        found[key] = value
    return found


def score(arguments: list[str]) -> int:
    """Score new tables with a bundle."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print(SCORE_HELP)
        return 0
    from toolkit import bundling
    from toolkit.config.schema import Engine
    from toolkit.data.cache import Cache
    from toolkit.scoring import batch

    given = pairs(arguments, ("run", "input", "cutoff", "output", "cache"), SCORE_HELP)
    if "run" not in given:
        raise ConfigError(
            "which run's bundle should score?", where="command line", fix="run=outputs/<recipe>/<time>"
        )
    folder = Path(given["run"])
    if not folder.is_dir():
        raise ConfigError(f"there is no folder `{folder}`", where="run", fix="run=outputs/<recipe>/<time>")
    is_run = (folder / "bundle").is_dir()
    ticker = Ticker(False)
    try:
        scorer = bundling.read(folder / "bundle" if is_run else folder)
        source, cache = _scoring_source(folder if is_run else None, given)
        Path(cache).mkdir(parents=True, exist_ok=True)
        scored = batch.score(scorer, source, given.get("cutoff"), Cache(Path(cache)), Engine(), ticker)
        stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        output = Path(given.get("output") or Path("outputs/scores") / scorer.name / stamp)
        lines = batch.write(scorer, scored, output)
    finally:
        ticker.stop()
    for line in [*lines, f"files: {output}"]:
        OUT.print(Text(line), soft_wrap=True)
    return 0


def _scoring_source(run_folder: Path | None, given: dict[str, str]) -> tuple[Any, str]:
    """Where the tables to score come from: `input=`, otherwise where the run found its own."""
    from pydantic import TypeAdapter

    from toolkit.config.tables import FolderSource, Source

    recorded: dict[str, Any] = {}
    if run_folder is not None:
        recorded = yaml.safe_load((run_folder / "config.yaml").read_text(encoding="utf-8"))
    cache = given.get("cache") or recorded.get("cache", "outputs/.cache")
    before = recorded.get("source", {})
    if "input" in given:
        csv = before.get("csv", {}) if before.get("kind") == "folder" else {}
        return FolderSource.model_validate({"kind": "folder", "path": given["input"], "csv": csv}), cache
    if not before:
        raise ConfigError(
            "a bundle alone does not say where the tables are",
            where="command line",
            fix="input=<folder with the tables>",
        )
    return TypeAdapter(Source).validate_python(before), cache


def listing(arguments: list[str]) -> int:
    """Recipes and the options of every group, with their one-line descriptions."""
    from toolkit.cli.help import description
    from toolkit.config.paths import options, roots

    found = options(roots())
    wanted = set(arguments) - {"-h", "--help"}
    for unknown in sorted(wanted - set(found)):
        raise ConfigError(
            f"there is no group `{unknown}`", where="command line", fix=did_you_mean(unknown, found)
        )
    for group in ["recipe", *sorted(set(found) - {"recipe"})]:
        if wanted and group not in wanted:
            continue
        OUT.print(Text(group, style="bold"))
        for option, path in sorted(found.get(group, {}).items()):
            OUT.print(Text(f"  {option:28} {description(path)}"), soft_wrap=True)
    return 0


def schema(arguments: list[str]) -> int:
    """Write JSON Schemas beside the configuration, for editors."""
    from toolkit.config import jsonschema

    given = pairs(arguments, ("output",), "python -m toolkit schema [output=FOLDER]")
    folder = Path(given.get("output", "conf/schema"))
    folder.mkdir(parents=True, exist_ok=True)
    for path in jsonschema.write(folder, Config):
        OUT.print(Text(str(path)))
    return 0
