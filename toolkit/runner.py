"""The one generic runner: a typed configuration in, a run's folder out."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from toolkit import __version__, bundling, plan
from toolkit.config.schema import Config
from toolkit.prepare import matrix as matrices
from toolkit.prepared import check_names, prepare
from toolkit.report import record, summary
from toolkit.runfolder import aside, write_json
from toolkit.training.experiment import Outcome, run_split
from toolkit.workplace import Progress, workplace

log = logging.getLogger("toolkit")


@dataclass(frozen=True)
class Done:
    """A finished run: its folder, the outcome of the newest split, and facts for the summary."""

    folder: Path
    outcome: Outcome
    facts: dict[str, Any]


def run(
    config: Config, folder: Path, resolved: dict[str, Any], progress: Progress, overrides: list[str]
) -> Done:
    """A whole run into `folder`, or none.

    resolved, overrides: the configuration and the command line as they are to be kept, without secrets.
    """
    begun = time.perf_counter()
    with aside(folder) as place, logging_to(place.path / "run.log"):
        log.info("toolkit %s: %s %s", __version__, config.name, " ".join(overrides))
        with workplace(config, progress) as work:
            prepared = prepare(config, work)
            check_names(config, [feature.name for feature in prepared.compiled.features])
            fingerprint = matrices.fingerprint(prepared.compiled)
            backtest: list[dict[str, Any]] = []
            with work.stage("training and evaluation"):
                for number, assignment in enumerate(prepared.assignments):
                    newest = number == len(prepared.assignments) - 1
                    outcome = run_split(
                        config,
                        prepared.compiled,
                        prepared.matrix,
                        assignment,
                        work.cache,
                        fingerprint,
                        progress,
                        newest,
                    )
                    if len(prepared.assignments) > 1:
                        backtest += record.fold_lines(outcome)
            with work.stage("writing"):
                (place.path / "plan.txt").write_text(plan.text(config, prepared), encoding="utf-8")
                record.write_data(prepared, place.path)
                record.write_outcome(config, prepared, outcome, place.path)
                bundling.write(config, prepared.compiled, outcome, place.path / "bundle")
                (place.path / "config.yaml").write_text(
                    yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True), encoding="utf-8"
                )
                write_json(place.path / "environment.json", record.environment(config, overrides))
            facts = record.facts_of(config, prepared, backtest, work, begun)
            write_json(place.path / "metrics.json", record.metrics_of(config, outcome, backtest, work, begun))
            text = summary.markdown(outcome, facts)
            (place.path / "summary.md").write_text(text, encoding="utf-8")
    return Done(place.final, outcome, facts)


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """The toolkit's log into a file of the run."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
