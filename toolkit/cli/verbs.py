"""The verbs: each turns what was composed, or its arguments, into one call and prints the result."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from rich.text import Text

from toolkit.cli.masking import masked, without_secrets
from toolkit.cli.scoring import score
from toolkit.cli.terminal import OUT, Ticker, pairs
from toolkit.config.check import validate
from toolkit.config.compose import Composed
from toolkit.config.provenance import DEFAULT
from toolkit.config.schema import Config
from toolkit.errors import ConfigError, UserError, did_you_mean
from toolkit.runfolder import free

__all__ = ["check", "listing", "plan", "run", "schema", "score", "show", "simulate"]


def typed(composed: Composed) -> Config:
    """The composed configuration as typed objects, named after its recipe."""
    chosen = dict(composed.plain)
    chosen["name"] = chosen.get("name") or composed.recipe
    return validate(Config, chosen, composed.provenance)


def run(composed: Composed) -> int:
    """Fit, judge, write the run's folder, print the summary."""
    from toolkit import runner
    from toolkit.report import summary

    config = typed(composed)
    scrub = without_secrets(composed)
    kept = masked(composed), [scrub(word) for word in composed.overrides]
    with Ticker(config.quiet) as ticker, located(composed):
        done = runner.run(config, _folder(composed), kept[0], ticker, kept[1])
    if config.quiet:
        OUT.print(Text(str(done.folder)), soft_wrap=True)
    else:
        summary.screen(done.outcome, done.facts, done.folder, OUT)
    return 0


def _folder(composed: Composed) -> Path:
    """The run's folder: as the command line names it, otherwise the next free one of this second."""
    words = HydraConfig.get().overrides.hydra
    named = any(word.startswith(("hydra.run.", "hydra.sweep.")) for word in words)
    return composed.folder if named else free(composed.folder)


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
    from toolkit.prepared import check_names, prepare
    from toolkit.workplace import workplace

    config = typed(composed)
    with Ticker(config.quiet) as ticker, located(composed), workplace(config, ticker) as work:
        prepared = prepare(config, work)
        check_names(config, [feature.name for feature in prepared.compiled.features])
        text = plans.text(config, prepared)
    sys.stdout.write(text)
    return 0


def check(composed: Composed) -> int:
    """Prove on the user's own data that nothing from after a cutoff, or from held-out rows, gets in."""
    from toolkit.proof import all_proofs

    config = typed(composed)
    with Ticker(config.quiet) as ticker, located(composed):
        proofs = all_proofs(config, ticker)
    for proof in proofs:
        mark = "FAIL" if not proof.holds else "note" if proof.assumed else "ok  "
        OUT.print(Text(f"{mark}  {proof.text}"), soft_wrap=True)
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
