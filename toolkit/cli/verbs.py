"""The verbs: each turns what was composed, or its arguments, into one call and prints the result."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from hydra.core.hydra_config import HydraConfig
from rich.table import Table
from rich.text import Text

from toolkit.cli.comparing import compare
from toolkit.cli.enriching import enrich
from toolkit.cli.job import GATE_FAILED
from toolkit.cli.masking import masked, without_secrets
from toolkit.cli.scoring import score
from toolkit.cli.terminal import OUT, Ticker, job_title, pairs
from toolkit.config.check import validate
from toolkit.config.compose import Composed
from toolkit.config.paths import readable
from toolkit.config.provenance import DEFAULT
from toolkit.config.schema import Config
from toolkit.errors import ConfigError, UserError, did_you_mean
from toolkit.runfolder import free

if TYPE_CHECKING:
    from toolkit.runner import Done

__all__ = ["check", "compare", "enrich", "listing", "plan", "run", "schema", "score", "show", "simulate"]


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
    with _ticker(config, composed, recorded=True) as ticker, located(composed):
        done = runner.run(config, _folder(composed), kept[0], ticker, kept[1], ticker.warned)
    if config.quiet:
        OUT.print(Text(str(done.folder)), soft_wrap=True)
    else:
        summary.screen(done.outcome, done.facts, done.folder, OUT, config.verbose)
    return _gated(composed, done)


def _gated(composed: Composed, done: Done) -> int:
    """Say which gates failed the run, if any did."""
    from toolkit.cli import screen
    from toolkit.training.fairness import failed_gates

    if not (failed := failed_gates(done.outcome)):
        return 0
    screen.show(UserError(
        f"the run is whole, and failed {'its fairness gate' if len(failed) == 1 else 'fairness gates'}: {'; '.join(failed)}",
        where=f"{composed.provenance.where('fairness.gates')} (fairness.gates)",
        why=f"`on_failure: fail`: {readable(done.folder)} says so, and its bundle scores with accept_gate=true only",
        fix="see the section on protected groups in report.html; `fairness.mitigation` gives each group its own threshold",
    ))  # fmt: skip
    return GATE_FAILED


def _ticker(config: Config, composed: Composed, recorded: bool = False) -> Ticker:
    """What tells how far it is, as the configuration asks for."""
    scrub, job = without_secrets(composed), composed.job
    if job.isdigit():
        job = job_title(int(job), [scrub(word) for word in composed.overrides])
    return Ticker(config.quiet, verbose=config.verbose, job=job, scrub=scrub, recorded=recorded)


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
    from toolkit.actions import counterfactuals, playbook, ranked, what_if
    from toolkit.actions.enrichment.lists import checked
    from toolkit.prepared import check_names, prepare
    from toolkit.report import explain as explaining
    from toolkit.workplace import workplace

    config = typed(composed)
    with _ticker(config, composed) as ticker, located(composed), workplace(config, ticker) as work:
        checked(config)
        prepared = prepare(config, work)
        features = [feature.name for feature in prepared.compiled.features]
        check_names(config, features)
        ranked.check(config, features, prepared.tables)
        made = prepared.compiled
        playbook.check(config, made.features, prepared.tables, made.labels, made.protected)
        explaining.check(config)
        counterfactuals.check(config, prepared.compiled.features, prepared.matrix)
        what_if.check(config, prepared.compiled.features, prepared.tables)
        text = plans.text(config, prepared)
    sys.stdout.write(text)
    return 0


def check(composed: Composed) -> int:
    """Prove on the user's own data that nothing from after a cutoff, or from held-out rows, gets in."""
    from toolkit.proof import all_proofs

    config = typed(composed)
    with _ticker(config, composed) as ticker, located(composed):
        proofs = all_proofs(config, ticker)
    for proof in proofs:
        mark = "FAIL" if not proof.holds else "note" if proof.assumed else "ok  "
        OUT.print(Text(f"{mark}  {proof.text}"), soft_wrap=True)
    return 0 if all(proof.holds for proof in proofs) else 1


def show(composed: Composed) -> int:
    """The resolved configuration, each value with where it came from; secrets masked. It is YAML again."""
    typed(composed)  # what is wrong is told first
    scrub = without_secrets(composed)

    def walk(value: dict[str, Any], path: tuple[str, ...]) -> None:
        pad = "  " * len(path)
        for key, item in value.items():
            here = (*path, str(key))
            name = _yaml(key).strip()
            if isinstance(item, dict) and item:
                OUT.print(Text(f"{pad}{name}:"), soft_wrap=True)
                walk(item, here)
                continue
            first, *more = _value(item)
            origin = f"  # {scrub(str(composed.provenance.where(here)))}"
            OUT.print(Text.assemble(f"{pad}{name}: {first}".ljust(60), (origin, "dim")), soft_wrap=True)
            for line in more:
                OUT.print(Text(f"{pad}  {line}" if line else ""), soft_wrap=True)

    walk(masked(composed), ())
    return 0


LONG = 90  # characters of a list that are still read on one line


def _value(item: Any) -> list[str]:
    """A value as YAML: what stands behind the key, then the lines below. Long lists get a line per item."""
    if isinstance(item, str) and "\n" in item:
        lines = yaml.safe_dump(item, default_style="|", allow_unicode=True, width=10**6).splitlines()
        if lines[0].startswith("|"):  # a style that cannot hold the text is not taken: then it is quoted
            indicator, *text = lines
            return [indicator, *(line.removeprefix("  ") for line in text)]
    flat = _yaml(item)
    if isinstance(item, list) and len(flat) > LONG:
        return ["", *(f"- {_yaml(one)}" for one in item)]
    return [flat]


def _yaml(item: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(item, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.strip().removesuffix("\n...")


def simulate(composed: Composed) -> int:
    """Make the simulated world of a recipe and say where its tables are."""
    from toolkit.config.tables import SimulatedSource
    from toolkit.data.cache import Cache
    from toolkit.data.sources import simulated
    from toolkit.workplace import within

    config = typed(composed)
    if not isinstance(config.source, SimulatedSource):
        raise ConfigError(
            f"the source of this recipe is `{config.source.kind}`, not a simulated world",
            where="source.kind",
            fix="choose one: source=donor_world",
        )
    begun = time.perf_counter()
    with _ticker(config, composed) as ticker, located(composed):
        folder = simulated(config.source, Cache(Path(config.cache)), within(ticker, "simulating"))
    OUT.print(Text(f"{folder}  ({time.perf_counter() - begun:.1f} s)"), soft_wrap=True)
    for path in sorted(folder.glob("*.parquet")):
        import pyarrow.parquet as pq

        OUT.print(Text(f"  {path.name}: {pq.ParquetFile(path).metadata.num_rows:,} rows"))
    for path in sorted(folder.glob("*.csv")):
        OUT.print(Text(f"  {path.name}: {path.stat().st_size / 1e6:,.1f} MB"))
    return 0


def listing(arguments: list[str]) -> int:
    """Recipes and the options of every group, with their one-line descriptions."""
    from toolkit.cli.help import described
    from toolkit.config.paths import options, roots

    wanted = set(arguments) - {"-h", "--help"}
    search = roots()
    groups = options(search)
    for unknown in sorted(wanted - set(groups)):
        raise ConfigError(
            f"there is no group `{unknown}`", where="command line", fix=did_you_mean(unknown, groups)
        )
    for group in ["recipe", *sorted(set(groups) - {"recipe"})]:
        if wanted and group not in wanted:
            continue
        OUT.print(Text(group, style="bold"))
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True, min_width=NAME)
        for option in described(group, groups.get(group, {})):
            name, text = Text(f"  {option.name}", style="cyan"), Text(option.text)
            if option.yours:
                text.append(f"  ({option.yours})", style="dim")
            if OUT.is_terminal:
                grid.add_row(name, text)
            else:  # a line for each, however long: it may be searched
                OUT.print(Text(f"{name.plain:{NAME}} {text.plain}"), soft_wrap=True)
        OUT.print(grid)
    return 0


NAME = 30  # characters for the name of an option


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
