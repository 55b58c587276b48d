"""The one generic runner: a typed configuration in, a run's folder out."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from toolkit import __version__, bundling, plan
from toolkit.config.measures import ColumnTarget
from toolkit.config.schema import Config, RandomSplit
from toolkit.data.cache import Cache
from toolkit.data.engine import Engine
from toolkit.data.tables import Tables
from toolkit.errors import ConfigError, did_you_mean
from toolkit.prepare import matrix as matrices
from toolkit.prepare.matrix import Compiled, Declaration, Matrix
from toolkit.report import summary
from toolkit.report.predictions import write_lists, write_predictions
from toolkit.report.rejected import write_rejected
from toolkit.runfolder import aside, write_json
from toolkit.training.experiment import HEADLINE, Outcome, library_versions, run_split
from toolkit.training.split import Assignment, assign

log = logging.getLogger("toolkit")
Progress = Callable[[str, float], None]


@dataclass
class Workplace:
    """What the stages share: engine, cache, progress, and the seconds each stage took."""

    engine: Engine
    cache: Cache
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        self.progress(name, 0.0)
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun
        log.info("%s: %.2f s", name, self.seconds[name])

    def __enter__(self) -> Workplace:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()


def workplace(config: Config, progress: Progress) -> Workplace:
    """The engine and the cache that a configuration asks for."""
    root = Path(config.cache)
    root.mkdir(parents=True, exist_ok=True)
    engine = Engine(config.engine.threads, config.engine.memory, root / "scratch")
    return Workplace(engine, Cache(root), progress)


def declaration(config: Config) -> Declaration:
    return Declaration(config.dataset, config.cohort, config.target, config.features)


@dataclass
class Prepared:
    """A recipe's data, ready to be split and fitted."""

    tables: Tables
    compiled: Compiled
    matrix: Matrix
    assignments: list[Assignment]


def prepare(config: Config, work: Workplace) -> Prepared:
    """Tables, cohort, features, raw target values, splits."""
    declared = declaration(config)
    with work.stage("reading tables"):
        tables = matrices.load_tables(declared, config.source, work.engine, work.cache, work.progress)
    with work.stage("cohort"):
        compiled = matrices.compile_all(declared, tables, work.engine, work.cache)
    with work.stage("features and targets"):
        matrix = matrices.build(compiled, work.engine, work.cache, work.progress)
    return Prepared(tables, compiled, matrix, splits(config, compiled, matrix))


def splits(config: Config, compiled: Compiled, matrix: Matrix) -> list[Assignment]:
    spans = [target.horizon for target in compiled.targets.values() if target.horizon]
    strata = None
    if isinstance(config.split, RandomSplit) and config.split.stratify:
        name = config.split.stratify
        if name not in config.target:
            raise ConfigError(
                f"`split.stratify` names `{name}`, which is not a target",
                where="split.stratify",
                fix=did_you_mean(name, config.target),
            )
        if not isinstance(config.target[name], ColumnTarget):
            raise ConfigError(
                f"`split.stratify: {name}` must be a `column` target",
                where="split.stratify",
                why="the split is decided before any other label can be known",
            )
        strata = matrix.values[name]
    return assign(
        config.split, matrix.entity, matrix.cutoff, spans, config.seed, strata, config.cohort.timezone
    )


def check_names(config: Config, features: list[str]) -> None:
    """Names that the configuration uses for things that only the data decides."""
    for name in config.evaluation.segments:
        if name not in features:
            raise ConfigError(
                f"`evaluation.segments` names `{name}`, which is not a feature",
                where="evaluation.segments",
                fix=did_you_mean(name, features),
            )


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
                        backtest += fold_lines(outcome)
            with work.stage("writing"):
                write_data(prepared, place.path)
                write_outcome(config, prepared, outcome, place.path)
                (place.path / "config.yaml").write_text(
                    yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True), encoding="utf-8"
                )
                write_json(place.path / "environment.json", environment(config, overrides))
            facts = facts_of(config, prepared, backtest, work, begun)
            write_json(place.path / "metrics.json", metrics_of(config, outcome, backtest, work, begun))
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


def fold_lines(outcome: Outcome) -> list[dict[str, Any]]:
    kinds = {task.name: task.type for task in outcome.tasks}
    return [
        {"fold": outcome.assignment.name, "target": c.target, "model": c.model, "chosen": c.chosen,
         "metric": HEADLINE[kinds[c.target]], "value": c.test[HEADLINE[kinds[c.target]]], "test": c.test, "interval_95": c.intervals}
        for c in outcome.candidates
    ]  # fmt: skip


def facts_of(
    config: Config, prepared: Prepared, backtest: list[dict[str, Any]], work: Workplace, begun: float
) -> dict[str, Any]:
    """What the summary says besides the models."""
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in work.seconds.items())
    return {
        "name": config.name or "run", "description": config.description, "backtest": backtest,
        "seconds": time.perf_counter() - begun, "stages": stages, "assumptions": prepared.compiled.assumptions(),
        "rejected": [(t.name, t.rows_rejected, "; ".join(f"{why}: {n:,}" for why, n in list(t.reasons.items())[:3]))
                     for t in prepared.tables.loaded.values() if t.rows_rejected],
    }  # fmt: skip


def write_data(prepared: Prepared, folder: Path) -> None:
    """What was read: fingerprints, and the rows that were set aside."""
    write_json(folder / "data.json", {
        name: {"origin": t.origin, "fingerprint": t.fingerprint, "rows_read": t.rows_read, "rows_kept": t.rows_kept,
               "rejected": t.reasons, "inferred": {c: t.columns[c].type for c in t.inferred}, "ignored_columns": t.ignored}
        for name, t in prepared.tables.loaded.items()
    })  # fmt: skip
    write_rejected(prepared.tables, folder / "rejected")


def write_outcome(config: Config, prepared: Prepared, outcome: Outcome, folder: Path) -> None:
    """What came out: plan, audit, predictions, lists, and the bundle."""
    (folder / "plan.txt").write_text(plan.text(config, prepared), encoding="utf-8")
    write_json(folder / "audit.json", [finding.to_dict() for finding in outcome.findings])
    write_predictions(prepared.matrix, outcome, folder / "predictions.parquet")
    zone = config.cohort.timezone
    write_lists(config.evaluation.list_size, prepared.matrix, outcome, zone, folder / "lists")
    bundling.write(config, prepared.compiled, outcome, folder / "bundle")


def environment(config: Config, overrides: list[str]) -> dict[str, Any]:
    return {"toolkit": __version__, "python": platform.python_version(), "machine": platform.platform(),
            "libraries": library_versions(), "seed": config.seed, "overrides": overrides,
            "written": datetime.now(UTC).isoformat(timespec="seconds")}  # fmt: skip


def metrics_of(
    config: Config, outcome: Outcome, backtest: list[dict[str, Any]], work: Workplace, begun: float
) -> dict[str, Any]:
    targets: dict[str, Any] = {}
    for task in outcome.tasks:
        targets[task.name] = {
            "type": task.type, "classes": task.classes, "headline": HEADLINE[task.type],
            "base_rates": outcome.base_rates[task.name], "label_state": outcome.states[task.name].to_dict(),
            "chosen": outcome.chosen(task.name).model,
            "models": {c.model: {"validation": c.validation, "test": c.test, "interval_95": c.intervals, "undefined": c.undefined,
                                 "over_rule": c.margin, "fit_seconds": c.seconds, "notes": c.notes,
                                 "threshold": c.threshold and c.threshold.to_dict(),
                                 "calibration": {"method": c.calibrator.method, "reason": c.calibrator.reason}}
                       for c in outcome.of(task.name)},
            "groups": outcome.chosen(task.name).groups,
        }  # fmt: skip
    weights = {name: target.weight for name, target in config.target.items()}
    binary = [t.name for t in outcome.tasks if t.type == "binary"]
    mean = {}
    if binary:
        total = sum(weights[name] for name in binary)
        mean = {
            m: sum(weights[name] * outcome.chosen(name).test[m] for name in binary) / total
            for m in ("roc_auc", "pr_auc", "f1")
        }
    return {
        "recipe": config.name, "targets": targets, "weighted_mean_of_binary_targets": mean, "rows": outcome.assignment.counts(),
        "test_label_reads": outcome.test_reads, "coherence_corrected_share": outcome.coherence, "unseen_levels": outcome.unseen, "of_no_use": outcome.idle,
        "backtest": backtest, "seconds": work.seconds | {"total": time.perf_counter() - begun}, "built": work.cache.built,
    }  # fmt: skip
