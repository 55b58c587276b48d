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
from toolkit.actions import counterfactuals, entities, listing, playbook, ranked, reasons, review, what_if
from toolkit.actions.enrichment import lists as enriching
from toolkit.config.schema import Config
from toolkit.prepare import matrix as matrices
from toolkit.prepared import check_names, prepare
from toolkit.report import explain as explaining
from toolkit.report import page as report
from toolkit.report import record, summary
from toolkit.report.evidence import Tuned
from toolkit.report.explain import Explained, explain
from toolkit.report.gather import gather
from toolkit.runfolder import aside, write_json
from toolkit.tracking import track
from toolkit.training import triage
from toolkit.training.experiment import Outcome, run_split
from toolkit.training.fairness import failed_gates
from toolkit.warned import Warned
from toolkit.workplace import Progress, within, workplace

log = logging.getLogger("toolkit")


@dataclass(frozen=True)
class Done:
    """A finished run: its folder, the outcome of the newest split, and facts for the summary."""

    folder: Path
    outcome: Outcome
    facts: dict[str, Any]


def run(
    config: Config,
    folder: Path,
    resolved: dict[str, Any],
    progress: Progress,
    overrides: list[str],
    warned: Warned | None = None,
) -> Done:
    """A whole run into `folder`, or none.

    resolved, overrides: the configuration and the command line as they are to be kept, without secrets;
    warned: gathers what libraries say (`toolkit.warned.gathering`); the run's log lists it at its end.
    """
    begun = time.perf_counter()
    with aside(folder) as place, logging_to(place.path / "run.log"):
        log.info("toolkit %s: %s %s", __version__, config.name, " ".join(overrides))
        enriches = enriching.checked(config)
        # How it was started, from the start: `resume=` reads it where a killed run has left it.
        write_json(place.path / "environment.json", record.environment(config, overrides))
        with workplace(config, progress) as work:
            prepared = prepare(config, work)
            features = [feature.name for feature in prepared.compiled.features]
            check_names(config, features)
            ranked.check(config, features, prepared.tables)
            made = prepared.compiled
            playbook.check(config, made.features, prepared.tables, made.labels, made.protected)
            explaining.check(config)
            triage.check(config, prepared.compiled.features, prepared.tables, prepared.compiled.labels)
            counterfactuals.check(config, prepared.compiled.features, prepared.matrix)
            what_if.check(config, prepared.compiled.features, prepared.tables)
            notes = ranked.unheard(config, prepared.compiled.features)
            for note in [*notes, *what_if.unseen(config, prepared)]:
                log.warning("%s", note)
            fingerprint = matrices.fingerprint(prepared.compiled)
            backtest: list[dict[str, Any]] = []
            folds = len(prepared.assignments)
            with work.stage("training and evaluation", told=False):
                for number, assignment in enumerate(prepared.assignments, 1):
                    newest = number == folds
                    fold = f"fold {number} of {folds}"
                    outcome = run_split(
                        config,
                        prepared.compiled,
                        prepared.matrix,
                        assignment,
                        work.cache,
                        fingerprint,
                        progress if folds == 1 else within(progress, fold),
                        newest,
                    )
                    if folds > 1:
                        backtest += record.fold_lines(outcome)
            kept = yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True)
            environment = record.environment(config, overrides)
            with work.stage("writing"):
                (place.path / "plan.txt").write_text(plan.text(config, prepared), encoding="utf-8")
                record.write_data(prepared, place.path)
                record.write_outcome(config, prepared, outcome, place.path)
                review.of_run(prepared, outcome, config.cohort.timezone, place.path)
                usual = reasons.usual(prepared.matrix, outcome, config.seed)
                known = counterfactuals.reference(config, prepared.matrix, outcome)
                bundling.write(config, prepared.compiled, outcome, place.path / "bundle", usual, known)
                (place.path / "config.yaml").write_text(kept, encoding="utf-8")
                write_json(place.path / "environment.json", environment)
            lists: list[listing.Written] = []
            if config.listing.file:
                with work.stage("listing"):
                    lists = listing.of_run(prepared, work, place.path)
                log.info("%s", "\n".join(line for one in lists for line in one.lines))
                if enriches:
                    with work.stage("enrichment", told=False):
                        told = enriching.of_lists(enriches, lists, place.path, work.progress)
                    log.info("%s", "\n".join(told))
            extracted, entity_lines = None, list[str]()
            if config.entities.tables:
                with work.stage("entities"):
                    extracted, entity_lines = entities.search(
                        config.entities, prepared.tables, place.path, work.progress
                    )
            explained: dict[str, Explained] = {}
            if config.report.html and config.report.explain:
                with work.stage("explaining"):
                    helping = counterfactuals.helping(
                        config, prepared.compiled.features, place.path / "bundle"
                    )
                    explained = explain(config, prepared, outcome, work.progress, helping)
            explaining.write(explained, place.path / "drivers")
            facts = record.facts_of(config, prepared, backtest, work, begun)
            if config.report.html:
                with work.stage("report"):
                    metrics = record.metrics_of(config, outcome, backtest, work, begun)
                    report.write(
                        gather(
                            config, prepared, outcome, explained, facts=facts, metrics=metrics, resolved=kept,
                            lists={path.name: path.read_bytes() for path in (place.path / "lists").iterdir()},
                            environment=environment,
                            tuned=[Tuned(n, s.metric, s.trials, s.importance) for n, s in outcome.studies.items()],
                            next_lists={one.ranked.target: one.beginning() for one in lists if one.chosen},
                            tables={path.name: path.read_bytes() for path in place.path.glob(record.FAIRNESS)},
                            extracted=extracted,
                        ),
                        place.path / "report.html",
                    )  # fmt: skip
            facts = record.facts_of(config, prepared, backtest, work, begun)
            facts["warnings"] = warned.lines() if warned else []
            facts["actions"] = [line for one in lists if one.played for line in one.played.lines(one.stem)]
            facts["entities"] = entity_lines
            log_warnings(facts["warnings"])
            for gate in failed_gates(outcome):
                log.error("the run fails its fairness gate: %s", gate)
            write_json(place.path / "metrics.json", record.metrics_of(config, outcome, backtest, work, begun))
            text = summary.markdown(outcome, facts)
            (place.path / "summary.md").write_text(text, encoding="utf-8")
    if said := track(config.tracking, place.final):
        facts["warnings"].append(said)
    return Done(place.final, outcome, facts)


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """The toolkit's log into a file of the run."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    before = (log.level, log.propagate)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.setLevel(before[0])
        log.propagate = before[1]
        log.removeHandler(handler)
        handler.close()


def log_warnings(lines: list[str]) -> None:
    """The log's last section: every warning once, with how often it came."""
    if lines:
        log.info("--- %d warnings, the most frequent first ---", len(lines))
        for line in lines:
            log.info("%s", line)
