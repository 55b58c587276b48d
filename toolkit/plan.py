"""What a run would do, without training: rows, base rates, every feature and where it comes from, the SQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import numpy as np
from sqlglot import exp

from toolkit.actions import ranked, what_if
from toolkit.config.playbook import OwnerColumn, Rules, whose
from toolkit.config.schema import Config
from toolkit.config.targets import AnyOf
from toolkit.data import sql
from toolkit.data.tables import Loaded
from toolkit.errors import DataError
from toolkit.prepare.cohort import COHORT, looking_back
from toolkit.prepare.definitions import shares
from toolkit.prepare.features import CompiledSet, Feature
from toolkit.prepare.frame import END, clock_types, horizon_end
from toolkit.prepare.graphs import nodes_of_rows
from toolkit.prepared import Prepared
from toolkit.report.predictions import days_of
from toolkit.training.experiment import base_rates, label_all
from toolkit.training.split import NAMES, TEST, TRAIN, UNUSED, VALIDATION


def text(config: Config, prepared: Prepared) -> str:
    """The whole plan as plain text."""
    parts = [
        tables(prepared),
        cohort(config, prepared),
        targets(prepared),
        features(prepared),
        besides(prepared),
        models(config),
        listing(config, prepared),
        statements(config, prepared),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def tables(prepared: Prepared) -> list[str]:
    lines = ["TABLES"]
    for table in prepared.tables.loaded.values():
        span = f"{_day(table, table.first)} to {_day(table, table.last)}" if table.first else "no clock"
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
    lines += [f"  found: {text}" for text in prepared.found]
    return lines


def _day(table: Loaded, moment: datetime | None) -> str:
    """The day of a row; the moment of a date is the end of its day."""
    if moment is None:
        return "–"
    return f"{moment - timedelta(days=clock_types(table)[1] == 'date'):%Y-%m-%d}"


def cohort(config: Config, prepared: Prepared) -> list[str]:
    """Rows per cutoff and part, for each split."""
    matrix = prepared.matrix
    lines = ["COHORT", f"  {len(matrix):,} rows, {len(np.unique(matrix.entity)):,} entities"]
    moments, at = np.unique(matrix.cutoff, return_inverse=True)
    days = days_of(moments, config.cohort.timezone)
    for assignment in prepared.assignments:
        lines.append(f"  split {assignment.name}: {_counts(assignment.part)}")
        if prepared.compiled.cutoffs:
            for index, day in enumerate(days):
                part = assignment.part[at == index]
                lines.append(f"    {day}: {len(part):,} rows ({_counts(part)})")
    return lines


def _counts(part: np.ndarray) -> str:
    found = {NAMES[p]: int((part == p).sum()) for p in (TRAIN, VALIDATION, TEST, UNUSED)}
    return ", ".join(f"{name} {n:,}" for name, n in found.items() if n)


def targets(prepared: Prepared) -> list[str]:
    """Base rates per target and part of the newest split. They describe the data; nothing is chosen by them."""
    assignment = prepared.assignments[-1]
    lines = ["TARGETS"]
    try:
        tasks, y, states = label_all(prepared.compiled, prepared.matrix, assignment.rows(TRAIN))
    except DataError as error:
        return [*lines, f"  {error}"]
    rates = base_rates(tasks, y, assignment, prepared.matrix.entity)
    for task in tasks:
        target, state = prepared.compiled.targets[task.name], states[task.name]
        horizon = f", within {target.horizon} after the cutoff" if target.horizon else ""
        lines.append(f"  {task.name}: {target.node.kind}{horizon} ({task.type})")
        if target.node.description:
            lines.append(f"    {target.node.description}")
        if target.partly_known:
            lines.append("    partly known at the cutoff: its measure also looks at what happened before")
        if state.quantiles:
            quantiles = ", ".join(f"{key} {value:g}" for key, value in state.quantiles.items())
            lines.append(f"    quantile fitted on training rows: {quantiles}")
        shown = [
            f"{part} {_rate(entry)} of {entry['rows']:,}{_few(entry)}"
            for part, entry in rates[task.name].items()
        ]
        lines.append("    " + ("mean: " if task.type == "regression" else "base rate: ") + "; ".join(shown))
        if isinstance(target.node, AnyOf):
            values = prepared.matrix.values[task.name][assignment.rows(TRAIN)]
            held = ", ".join(f"{name} {share:.2%}" for name, share in shares(target.node, values).items())
            lines.append(f"    definitions, of the training rows: {held}")
        lines.append("    made of: " + ", ".join(f"{t}.{c}" for t, c in sorted(target.sources)))
    return lines


def _rate(entry: dict[str, Any]) -> str:
    if "shares" in entry:
        return ", ".join(f"{name} {share:.2%}" for name, share in entry["shares"].items())
    return "–" if entry["mean"] is None else f"{entry['mean']:.4f}"


def _few(entry: dict[str, Any]) -> str:
    """How many entities say yes, where it is not one for each row."""
    if entry.get("positives", 0) == entry.get("positive_entities", 0):
        return ""
    return f" ({entry['positive_entities']:,} entities in {entry['positives']:,} rows)"


def features(prepared: Prepared) -> list[str]:
    found = prepared.compiled.features
    lines = [f"FEATURES ({len(found)})"]
    for _, group in groupby(found, key=lambda feature: feature.group or feature.name):
        alike = list(group)
        feature = alike[0]
        name = f"{feature.name} … {alike[-1].column} ({len(alike):,})" if alike[1:] else feature.name
        lines.append(
            f"  {name}  [{feature.kind}; window {feature.window}]  {feature.text}; from {_sources(feature)}"
        )
    return lines


def _sources(feature: Feature) -> str:
    return ", ".join(f"{table}.{column}" for table, column in sorted(feature.sources)) or "the cutoff"


def _features_lines(part: CompiledSet) -> list[str]:
    return [f"  {one.name}  {one.text}; from {_sources(one)}" for one in part.features]


def besides(prepared: Prepared) -> list[str]:
    """What rows have besides features: events in order, relations, and what is to be known about them."""
    matrix, lines = prepared.matrix, []
    if prepared.compiled.sequences:
        lines.append(f"SEQUENCES ({len(matrix.sequences)})")
    for events, found in zip(prepared.compiled.sequences, matrix.sequences, strict=True):
        table = ", ".join(sorted(events.query.tables))
        lines.append(
            f"  {found.name}: the last {events.last:,} {events.unit} of {table}; {(found.lengths > 0).mean():.1%} of rows "
            f"have any, {found.lengths.mean():.1f} on average"
        )
        for channel in events.features:
            lines.append(
                f"    {channel.name}  [{channel.kind}; window {channel.window}]  {channel.text}; from {_sources(channel)}"
            )
    for texts in prepared.compiled.texts:
        lines += ["TEXTS", *_features_lines(texts)]
    for shown in prepared.compiled.images:
        lines += ["IMAGES", *_features_lines(shown)]
    if prepared.compiled.graphs:
        lines += [""] * bool(lines) + [f"GRAPHS ({len(matrix.graphs)})"]
    for graph, nodes in zip(prepared.compiled.graphs, matrix.graphs, strict=True):
        count = np.zeros(len(nodes.row_node), np.int64)
        for relation in nodes.relations.values():
            count += np.diff(relation.indptr)[nodes.row_node]
        sets = ", ".join(part.name for part in graph.sets)
        lines.append(
            f"  {nodes.name}: {len(next(iter(nodes.columns.values()))):,} nodes with {len(nodes.columns)} features "
            f"({sets}); {(count > 0).mean():.1%} of rows are connected, by {count.mean():.1f} edges on average"
        )
        for kind, relation in zip(graph.features, nodes.relations.values(), strict=True):
            edges = len(relation.indices) // (1 if graph.directed else 2)
            left = nodes.dropped[kind.column]
            lines.append(
                f"    {kind.name}  [{edges:,} edges, {'one way' if graph.directed else 'both ways'}"
                + (f"; {left:,} left out" if left else "")
                + f"]  {kind.text}; from {_sources(kind)}"
            )
    return lines + [f"  note: {text}" for text in matrix.notes()]


def models(config: Config) -> list[str]:
    lines = ["MODELS", "  prior, rule: baselines, always there"]
    for name, model in config.model.items():
        settings = ", ".join(f"{key}={value}" for key, value in model.model_dump(exclude={"kind"}).items())
        lines.append(f"  {name}: {model.kind} ({settings})")
    lines.append(
        f"  one per target: {', '.join(config.target)}; calibration {config.calibration.method}; threshold {config.threshold.kind}"
    )
    return lines


def listing(config: Config, prepared: Prepared) -> list[str]:
    """The ranked list, and names in it that nothing has."""
    node = config.listing
    if node.file is None:
        return []
    shown = ", ".join([*node.columns, *(f"reason_{n + 1}" for n in range(node.reasons))])
    notes = [f"  note: {text}" for text in ranked.unheard(config, prepared.compiled.features)]
    each = ", ".join(f"{name} from {least:g}" for name, least in node.tiers.items())
    tiers = [f"  tiers{f' of {node.tiers_of}' if node.tiers_of else ''}: {each}"] if each else []
    size = "everybody" if node.size == "all" else f"the first {node.size:,}"
    first = f"  {node.file}.csv: {size}, with {shown or 'nothing else'}"
    best = []
    if node.what_if:
        tried = ", ".join(
            f"{choice.feature} ({len(choice.values)})" for choice in node.what_if.choose.values()
        )
        best = [f"  {node.file}.best.csv: the best {node.what_if.best} choices of {tried} for each of them"]
        notes += [f"  note: {text}" for text in what_if.unseen(config, prepared)]
    return ["LISTING", first, *tiers, *best, *notes, *actions(config)]


def actions(config: Config) -> list[str]:
    """What is to be done about the rows of the list, rule by rule."""
    node = config.playbook
    if not isinstance(node, Rules):
        return []
    lines = [
        f"  {config.listing.file}.actions.csv: at most {node.most} for each row of the list of {whose(node, config.listing, config.target)}"
    ]
    for name, _, todo in node.todos():
        owner = f"column {todo.owner.column}" if isinstance(todo.owner, OwnerColumn) else todo.owner
        said = [
            todo.action,
            *([f"by {owner}"] if owner else []),
            *([f"within {todo.deadline}"] if todo.deadline else []),
        ]
        lines.append(f"    {name}: {', '.join(said)}")
    return lines


def statements(config: Config, prepared: Prepared) -> list[str]:
    """Every statement that makes rows, features and labels, as a script that DuckDB runs as it stands."""
    lines = ["SQL", "", "SET TimeZone = 'UTC';", ""]
    for comment, tree in all_sql(config, prepared):
        lines += [f"-- {comment.replace(chr(10), ' ')}", f"{sql.render(tree, pretty=True)};", ""]
    return lines


def all_sql(config: Config, prepared: Prepared) -> Iterator[tuple[str, exp.Expression]]:
    """The statements with a comment each, in an order in which they can be run."""
    compiled = prepared.compiled
    for name, table in prepared.tables.loaded.items():
        rows = exp.select("*").from_(sql.call("read_parquet", sql.literal(str(table.path))))
        yield f"table {name}", _create("VIEW", name, rows)
    for name, tree in compiled.rows.statements:
        yield "cohort", _create("TABLE", name, tree)
    for part in [*compiled.sets, *compiled.sequences, *compiled.texts, *compiled.images]:
        yield from _of_set(part, f"features {part.name}")
    if compiled.nodes is not compiled.rows:
        for name, tree in compiled.nodes.statements:
            yield "nodes: every entity known at the cutoff", _create("TABLE", name, tree)
        yield "the node of each row", nodes_of_rows(compiled.rows.name, compiled.nodes.name)
        for part in compiled.described:
            yield from _of_set(part, f"features {part.name} of the nodes")
    for part in compiled.graphs:
        yield from _of_set(part, f"features {part.name}")
    past = looking_back(config.cohort)
    horizons = {target.horizon for target in compiled.targets.values() if target.horizon}
    for horizon in sorted(horizons, key=str):
        end = sql.named(horizon_end(past, horizon), END)
        frame = exp.select("*", end).from_(sql.table(COHORT))
        yield "the cohort, looking ahead", _create("TABLE", f"{COHORT} +{horizon.short}", frame)
    for name, target in compiled.targets.items():
        for step, tree in target.query.steps:
            yield f"target {name}: a step", _create("TABLE", step, tree)
        yield f"target {name}", target.query.tree
        if target.eligible is not None:
            yield f"target {name}: the rows it applies to", target.eligible


def _of_set(part: CompiledSet, what: str) -> Iterator[tuple[str, exp.Expression]]:
    for name, tree in part.query.steps:
        yield f"{what}: a step", _create("TABLE", name, tree)
    yield what, part.query.tree


def _create(kind: str, name: str, tree: exp.Expression) -> exp.Create:
    return exp.Create(this=sql.table(name), kind=kind, expression=tree, replace=True)
