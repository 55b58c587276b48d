"""What a run leaves for machines and later readers: metrics, data, environment, predictions, lists."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toolkit import __version__
from toolkit.config.schema import Config
from toolkit.evaluation import tiers
from toolkit.prepared import Prepared
from toolkit.report import fairness_words
from toolkit.report.lists import write_csv
from toolkit.report.predictions import write_lists, write_predictions
from toolkit.report.rejected import write_rejected
from toolkit.runfolder import write_json
from toolkit.training.experiment import HEADLINE, Outcome, library_versions
from toolkit.training.fairness import failed_gates
from toolkit.workplace import Workplace

FAIRNESS = "fairness.csv"


def fold_lines(outcome: Outcome) -> list[dict[str, Any]]:
    kinds = {task.name: task.type for task in outcome.tasks}
    return [
        {"fold": outcome.assignment.name, "target": c.target, "model": c.model, "chosen": c.chosen,
         "metric": HEADLINE[kinds[c.target]], "value": c.test[HEADLINE[kinds[c.target]]], "test": c.test, "interval_95": c.intervals,
         "per_list": [asdict(at) for at in c.per_list]}
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
        "found": prepared.found,
        "rejected": [(t.name, t.rows_rejected, _reasons(t.reasons)) for t in prepared.tables.loaded.values() if t.rows_rejected],
    }  # fmt: skip


def _reasons(counts: Mapping[str, int]) -> str:
    """The most frequent reasons, and how many more there are."""
    text = "; ".join(f"{why}: {n:,}" for why, n in list(counts.items())[:3])
    return text + (f"; {len(counts) - 3} more reasons in rejected/" if len(counts) > 3 else "")


def write_data(prepared: Prepared, folder: Path) -> None:
    """What was read: fingerprints, and the rows that were set aside."""
    write_json(folder / "data.json", {
        name: {"origin": t.origin, "fingerprint": t.digest_of(), "rows_read": t.rows_read, "rows_kept": t.rows_kept,
               "files": t.files, "found": t.remarks, "rejected": t.reasons, "inferred": {c: t.columns[c].type for c in t.inferred}, "ignored_columns": t.ignored}
        for name, t in prepared.tables.loaded.items()
    })  # fmt: skip
    write_rejected(prepared.tables, folder / "rejected")


def write_outcome(config: Config, prepared: Prepared, outcome: Outcome, folder: Path) -> None:
    """What came out: audit, predictions, ranked lists, and what tuning tried."""
    write_json(folder / "audit.json", [finding.to_dict() for finding in outcome.findings])
    write_predictions(prepared.matrix, outcome, folder / "predictions.parquet", config.listing.tiers)
    if outcome.fairness:
        write_csv(folder / FAIRNESS, fairness_words.HEADER, fairness_words.table(outcome.fairness))
    if outcome.studies:
        write_json(folder / "tuning.json", {name: asdict(found) for name, found in outcome.studies.items()})
    zone = config.cohort.timezone
    write_lists(config.evaluation.list_size, prepared.matrix, outcome, zone, folder / "lists")


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
                                 "over_rule": c.margin, "behind_chosen": c.behind, "over_members": c.over_members, "over_models": c.over_models, "per_class": c.per_class, "per_list": [asdict(at) for at in c.per_list],
                                 "steadiness": c.steadiness and asdict(c.steadiness), "beats_chance": c.beats_chance, "fit_seconds": c.seconds, "notes": c.notes,
                                 "threshold": c.threshold and c.threshold.to_dict(), "thresholds_by_group": c.by_group and c.by_group.to_dict(),
                                 "calibration": {"method": c.calibrator.method, "reason": c.calibrator.reason, "before": c.uncalibrated},
                                 "validation_basis": c.basis}
                       for c in outcome.of(task.name)},
            "review": outcome.review.figures() if outcome.review and outcome.review.target == task.name else None,
            "groups": outcome.chosen(task.name).groups, "lists": outcome.lists.get(task.name, []),
            "tiers": tiers.figures(outcome.tiers[task.name]) if task.name in outcome.tiers else None,
            "fairness": asdict(outcome.fairness[task.name]) if task.name in outcome.fairness else None,
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
        "recipe": config.name, "failed_gates": failed_gates(outcome), "targets": targets,
        "weighted_mean_of_binary_targets": mean, "rows": outcome.assignment.counts(),
        "test_label_reads": outcome.test_reads, "remarks": outcome.remarks, "coherence": {chain: {"corrected_share": one.share, "mean_move": one.move} for chain, one in outcome.coherence.items()},
        "unseen_levels": outcome.unseen, "of_no_use": outcome.idle,
        "tuning": {name: {"metric": found.metric, "best": found.best, "value": found.value, "trials": len(found.trials)}
                   for name, found in outcome.studies.items()},
        "backtest": backtest, "seconds": work.seconds | {"total": time.perf_counter() - begun}, "built": work.cache.built,
    }  # fmt: skip
