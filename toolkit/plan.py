"""What a run would do, without training: rows, base rates, every feature and where it comes from, the SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from toolkit.config.schema import Config
from toolkit.data import sql
from toolkit.errors import DataError
from toolkit.training.split import NAMES, TEST, TRAIN, UNUSED, VALIDATION

if TYPE_CHECKING:
    from toolkit.runner import Prepared


def text(config: Config, prepared: Prepared) -> str:
    """The whole plan as plain text."""
    parts = [
        tables(prepared),
        cohort(prepared),
        targets(config, prepared),
        features(prepared),
        models(config),
        statements(prepared),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def overview(config: Config, prepared: Prepared) -> str:
    """The plan without the SQL."""
    parts = [
        tables(prepared),
        cohort(prepared),
        targets(config, prepared),
        features(prepared),
        models(config),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def tables(prepared: Prepared) -> list[str]:
    lines = ["TABLES"]
    for table in prepared.tables.loaded.values():
        span = (
            f"{table.first:%Y-%m-%d} to {table.last:%Y-%m-%d}" if table.first and table.last else "no clock"
        )
        lines.append(f"  {table.name}: {table.rows_kept:,} rows from {table.origin}, {span}")
        if table.rows_rejected:
            why = "; ".join(f"{reason}: {count:,}" for reason, count in table.reasons.items())
            lines.append(f"    rejected {table.rows_rejected:,} of {table.rows_read:,}: {why}")
        if table.inferred:
            lines.append(
                "    inferred: " + ", ".join(f"{name} {table.columns[name].type}" for name in table.inferred)
            )
        if table.ignored:
            lines.append("    in the file, not declared, not used: " + ", ".join(table.ignored))
    lines += [f"  assumed: {text}" for text in prepared.compiled.assumptions()]
    return lines


def cohort(prepared: Prepared) -> list[str]:
    matrix = prepared.matrix
    lines = ["COHORT", f"  {len(matrix):,} rows, {len(np.unique(matrix.entity)):,} entities"]
    for assignment in prepared.assignments:
        lines.append(
            f"  {assignment.name}: "
            + ", ".join(f"{name} {n:,}" for name, n in assignment.counts().items() if n)
        )
        if prepared.compiled.cutoffs:
            for moment in np.unique(matrix.cutoff):
                at = matrix.cutoff == moment
                shares = {
                    NAMES[p]: int((assignment.part[at] == p).sum()) for p in (TRAIN, VALIDATION, TEST, UNUSED)
                }
                shown = ", ".join(f"{name} {n:,}" for name, n in shares.items() if n)
                lines.append(f"    {np.datetime_as_string(moment, 'D')}: {int(at.sum()):,} rows ({shown})")
    return lines


def targets(config: Config, prepared: Prepared) -> list[str]:
    """Base rates per target and split. They describe the data; nothing is chosen by them."""
    from toolkit.training.experiment import base_rates, label_all

    lines = ["TARGETS"]
    for assignment in prepared.assignments[-1:]:
        try:
            tasks, y, states = label_all(prepared.compiled, prepared.matrix, assignment.rows(TRAIN))
        except DataError as error:
            return [*lines, f"  {error}"]
        rates = base_rates(tasks, y, assignment)
        for task in tasks:
            target = prepared.compiled.targets[task.name]
            horizon = f", within {target.horizon} after the cutoff" if target.horizon else ""
            lines.append(f"  {task.name}: {target.node.kind}{horizon} ({task.type})")
            if target.node.description:
                lines.append(f"    {target.node.description}")
            if target.partly_known:
                lines.append("    partly known at the cutoff: its measure also looks at what happened before")
            if states[task.name].quantiles:
                lines.append(
                    "    quantile fitted on training rows: "
                    + ", ".join(f"{k} {v:g}" for k, v in states[task.name].quantiles.items())
                )
            shown = []
            for name, entry in rates[task.name].items():
                rate = (
                    ", ".join(f"{c} {s:.2%}" for c, s in entry["shares"].items())
                    if "shares" in entry
                    else f"{entry['mean'] or 0:.4f}"
                )
                shown.append(f"{name} {rate} of {entry['rows']:,}")
            lines.append(
                "    " + ("mean: " if task.type == "regression" else "base rate: ") + "; ".join(shown)
            )
            lines.append("    made of: " + ", ".join(f"{t}.{c}" for t, c in sorted(target.sources)))
    return lines


def features(prepared: Prepared) -> list[str]:
    found = prepared.compiled.features
    lines = [f"FEATURES ({len(found)})"]
    for feature in found:
        sources = ", ".join(f"{table}.{column}" for table, column in sorted(feature.sources)) or "the cutoff"
        lines.append(
            f"  {feature.name}  [{feature.kind}; window {feature.window}]  {feature.text}; from {sources}"
        )
    return lines


def models(config: Config) -> list[str]:
    lines = ["MODELS", "  prior, rule: baselines, always there"]
    for name, model in config.model.items():
        settings = ", ".join(f"{key}={value}" for key, value in model.model_dump(exclude={"kind"}).items())
        lines.append(f"  {name}: {model.kind} ({settings})")
    lines.append(
        f"  one per target: {', '.join(config.target)}; calibration {config.calibration.method}; threshold {config.threshold.kind}"
    )
    return lines


def statements(prepared: Prepared) -> list[str]:
    return ["SQL", *("\n".join(_statement(name, tree)) for name, tree in all_sql(prepared))]


def _statement(name: str, tree: str) -> list[str]:
    return [f"-- {name}", tree + ";", ""]


def all_sql(prepared: Prepared) -> Iterator[tuple[str, str]]:
    """Every statement that makes rows, features or labels, by name."""
    compiled = prepared.compiled
    for name, tree in compiled.cohort_sql:
        yield f"cohort: {name}", sql.render(tree, pretty=True)
    for part in compiled.sets:
        for name, step in part.query.steps:
            yield f"features {part.name}, first: {name}", sql.render(step, pretty=True)
        yield f"features {part.name}", sql.render(part.query.tree, pretty=True)
    for name, target in compiled.targets.items():
        for step_name, step in target.query.steps:
            yield f"target {name}, first: {step_name}", sql.render(step, pretty=True)
        yield f"target {name}", sql.render(target.query.tree, pretty=True)
