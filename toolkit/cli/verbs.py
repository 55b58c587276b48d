"""The verbs: each turns what was composed, or its arguments, into one call and prints the result."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from rich.console import Console
from rich.text import Text

from toolkit.config.check import looks_secret, validate
from toolkit.config.compose import Composed
from toolkit.config.provenance import DEFAULT
from toolkit.config.schema import Config
from toolkit.errors import ConfigError, UserError, did_you_mean, nearest
from toolkit.runfolder import aside, free

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

    def __enter__(self) -> Ticker:
        return self

    def __exit__(self, *_: object) -> None:
        if self.status is not None:
            self.status.stop()


def typed(composed: Composed) -> Config:
    """The composed configuration as typed objects, named after its recipe."""
    chosen = dict(composed.plain)
    chosen["name"] = chosen.get("name") or composed.recipe
    return validate(Config, chosen, composed.provenance)


MASK = "***"


def secrets(composed: Composed) -> dict[tuple[str, ...], str]:
    """The values that are nowhere shown or kept, by key: from the environment, or secret by key or shape."""
    found = {}

    def walk(value: Any, path: tuple[str, ...]) -> None:
        if isinstance(value, dict | list):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                walk(item, (*path, str(key)))
        elif value not in (None, ""):
            named = ".".join(path) in composed.from_environment or looks_secret(path, "")
            # Paths are long words with digits too; one that is there is no password.
            shaped = isinstance(value, str) and looks_secret((), value) and not _exists(value)
            if named or shaped:
                found[path] = str(value)

    walk(composed.plain, ())
    return found


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except OSError:  # too long for a name
        return False


def masked(composed: Composed) -> dict[str, Any]:
    """The resolved configuration without secrets."""
    hidden = secrets(composed)

    def walk(value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, (*path, str(key))) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*path, str(index))) for index, item in enumerate(value)]
        return MASK if path in hidden else value

    return walk(composed.plain, ())


def without_secrets(composed: Composed) -> Callable[[str], str]:
    """What replaces, in a text such as an override, every secret of the configuration by a mask."""
    hidden = sorted(set(secrets(composed).values()), key=len, reverse=True)

    def scrub(text: str) -> str:
        for secret in hidden:
            text = text.replace(secret, MASK)
        return text

    return scrub


def run(composed: Composed) -> int:
    """Fit, judge, write the run's folder, print the summary."""
    from toolkit import runner
    from toolkit.report import summary

    config = typed(composed)
    scrub = without_secrets(composed)
    kept = masked(composed), [scrub(word) for word in composed.overrides]
    with Ticker(config.quiet) as ticker, located(composed):
        done = runner.run(config, _folder(composed, scrub), kept[0], ticker, kept[1])
    if config.quiet:
        OUT.print(Text(str(done.folder)), soft_wrap=True)
    else:
        summary.screen(done.outcome, done.facts, done.folder, OUT)
    return 0


def _folder(composed: Composed, scrub: Callable[[str], str]) -> Path:
    """The run's folder: as the command line names it, otherwise the next free one of this second."""
    hydra = HydraConfig.get()
    if (
        hydra.mode == RunMode.MULTIRUN
    ):  # Hydra keeps the command line there, secrets and all; each run keeps its own
        Path(hydra.sweep.dir, "multirun.yaml").unlink(missing_ok=True)
    folder = composed.folder.with_name(scrub(composed.folder.name).replace(MASK, "hidden"))
    named = any(word.startswith(("hydra.run.", "hydra.sweep.")) for word in hydra.overrides.hydra)
    return folder if named else free(folder)


@contextmanager
def located(composed: Composed) -> Iterator[None]:
    """Mistakes that only the data shows are told by key; this adds the file and line of the key."""
    try:
        yield
    except UserError as error:
        key = (error.where or "").split(" ")[0]
        origin = composed.provenance.where(key) if key.split(".")[0] in Config.model_fields else DEFAULT
        if origin != DEFAULT:
            error.where = f"{origin} ({error.where})"
        raise


def plan(composed: Composed) -> int:
    """What would happen, without training."""
    from toolkit import plan as plans
    from toolkit import runner

    config = typed(composed)
    with Ticker(config.quiet) as ticker, located(composed), runner.workplace(config, ticker) as work:
        prepared = runner.prepare(config, work)
        runner.check_names(config, [feature.name for feature in prepared.compiled.features])
        text = plans.text(config, prepared)
    sys.stdout.write(text)
    return 0


def check(composed: Composed) -> int:
    """Prove on the user's own data that nothing from after a cutoff, or from held-out rows, gets in."""
    from toolkit.prepare import prove

    config = typed(composed)
    with Ticker(config.quiet) as ticker, located(composed):
        proofs = prove.all_proofs(config, ticker)
    for proof in proofs:
        OUT.print(Text(f"{'ok  ' if proof.holds else 'FAIL'}  {proof.text}"), soft_wrap=True)
    return 0 if all(proof.holds for proof in proofs) else 1


def show(composed: Composed) -> int:
    """The resolved configuration, each line with where it came from; secrets masked."""
    typed(composed)  # what is wrong is told first
    scrub = without_secrets(composed)

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
            print(f"{pad}{key}: {text}".ljust(60) + f"  # {scrub(str(composed.provenance.where(here)))}")

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
    begun = time.perf_counter()
    with Ticker(config.quiet) as ticker, located(composed):
        folder = simulated(config.source, Cache(Path(config.cache)), ticker)
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
  cache   folder of prepared data; default: the run's
"""


def pairs(arguments: list[str], known: tuple[str, ...]) -> dict[str, str]:
    """key=value arguments of a verb that composes nothing."""
    found: dict[str, str] = {}
    for argument in arguments:
        key, sign, value = argument.partition("=")
        if not sign or key not in known:
            raise ConfigError(
                f"`{argument}` is not an argument here", where="command line", fix=did_you_mean(key, known)
            )
        if not value or key in found:
            raise ConfigError(f"`{key}=` is " + ("given twice" if value else "empty"), where="command line")
        found[key] = value
    return found


def score(arguments: list[str]) -> int:
    """Score new tables with a bundle."""
    if not arguments or {"-h", "--help"} & set(arguments):
        print(SCORE_HELP)
        return 0
    given = pairs(arguments, ("run", "input", "cutoff", "output", "cache"))
    if "run" not in given:
        raise ConfigError(
            "which run's bundle should score?", where="command line", fix="run=outputs/<recipe>/<time>"
        )
    from toolkit import bundling
    from toolkit.config.schema import Engine
    from toolkit.data.cache import Cache
    from toolkit.report.lists import file_name
    from toolkit.scoring import batch

    folder = _bundle_of(Path(given["run"]))
    scorer = bundling.read(folder)
    source, root = _scoring_source(Path(given["run"], "config.yaml"), given)
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    output = (
        Path(given["output"])
        if "output" in given
        else free(Path("outputs/scores", file_name(scorer.name), stamp))
    )
    with Ticker(False) as ticker, aside(output) as place:
        Path(root).mkdir(parents=True, exist_ok=True)
        scored = batch.score(scorer, source, given.get("cutoff"), Cache(Path(root)), Engine(), ticker)
        lines = batch.write(scorer, scored, place.path)
    for line in [*lines, f"files: {place.final}"]:
        OUT.print(Text(line), soft_wrap=True)
    return 0


def _bundle_of(given: Path) -> Path:
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


def _scoring_source(config: Path, given: dict[str, str]) -> tuple[Any, str]:
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
    if {"-h", "--help"} & set(arguments):
        print(
            "python -m toolkit schema [output=FOLDER]\n\nWrites JSON Schemas for editors; default: conf/schema"
        )
        return 0
    from toolkit.config import jsonschema

    given = pairs(arguments, ("output",))
    folder = Path(given.get("output", "conf/schema"))
    folder.mkdir(parents=True, exist_ok=True)
    for path in jsonschema.write(folder, Config):
        OUT.print(Text(str(path)))
    return 0
