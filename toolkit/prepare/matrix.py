"""The design matrix: rows, features and raw target values of a recipe, each part cached by its content."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from sqlglot import exp

from toolkit.config.calendars import Calendar
from toolkit.config.features import Attributes, Expressions, FeatureSet
from toolkit.config.measures import Cohort
from toolkit.config.modalities import EventSequence, PageImages, Panel, RawText, RelationGraph
from toolkit.config.tables import Source
from toolkit.config.text import HashedText
from toolkit.data import sql
from toolkit.data import tables as data_tables
from toolkit.data.cache import Cache, code_digest
from toolkit.data.engine import Engine
from toolkit.data.sql import col
from toolkit.data.tables import Tables
from toolkit.errors import ConfigError, DataError
from toolkit.modalities import Images, Nodes, Sequences, Texts
from toolkit.prepare import cohort as cohorts
from toolkit.prepare import graphs, leaks, pictures, protected, raw_texts, sequences, texts
from toolkit.prepare.calendars import need_holidays
from toolkit.prepare.cohort import COHORT, NODES
from toolkit.prepare.compiled import Compiled, Declaration, Kept, fingerprint
from toolkit.prepare.expressions import compile_expressions
from toolkit.prepare.features import CompiledSet, Feature, Tabular, compile_set
from toolkit.prepare.frame import CUTOFF, ENTITY, ROW, Frame
from toolkit.prepare.frame import Source as ColumnSource
from toolkit.prepare.graphs import CompiledGraph, compile_graph
from toolkit.prepare.panels import compile_panel
from toolkit.prepare.protected import CompiledProtected
from toolkit.prepare.results import Results, columns, eligible, mentioned, raw_values
from toolkit.prepare.sequences import CompiledSequence, compile_sequence
from toolkit.prepare.targets import compile_target
from toolkit.prepare.texts import CompiledText

__all__ = [
    "Compiled",
    "Declaration",
    "Matrix",
    "build",
    "compile_all",
    "eligible",
    "fingerprint",
    "load_tables",
    "raw_values",
]
CODE = ("data", "prepare")
Progress = Callable[[str, float], None]


@dataclass
class Matrix:
    """Rows, features and raw target values.

    entity: texts [rows]; cutoff: datetime64 [rows] (NaT without a clock); columns: feature → float32
    [rows] or pandas Categorical [rows]; values: target → raw values [rows]; eligible: target → [rows];
    worth: target → what each row brings [rows], where that is declared; sequences, graphs, texts, images: what
    rows have besides columns; protected: attribute → its group of each row, missing where it is not known
    [rows]; cluster: what intervals draw in place of entities, of `evaluation.draw_by` [rows]; unit: what stays in
    one fold where rows are dealt anew, in place of entities, texts [rows].
    """

    entity: np.ndarray
    cutoff: np.ndarray
    features: list[Feature]
    columns: dict[str, Any]
    values: dict[str, np.ndarray] = field(default_factory=dict)
    eligible: dict[str, np.ndarray] = field(default_factory=dict)
    worth: dict[str, np.ndarray] = field(default_factory=dict)
    sequences: tuple[Sequences, ...] = ()
    graphs: tuple[Nodes, ...] = ()
    texts: tuple[Texts, ...] = ()
    images: tuple[Images, ...] = ()
    protected: dict[str, pd.Categorical] = field(default_factory=dict)
    cluster: np.ndarray | None = None
    unit: np.ndarray | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.entity)

    @property
    def dealt_by(self) -> np.ndarray:
        """What rows are dealt to folds by [rows]."""
        return self.entity if self.unit is None else self.unit

    @property
    def drawn(self) -> np.ndarray:
        """What each row is drawn with in the bootstrap: its cluster, else its entity [rows]."""
        return self.entity if self.cluster is None else self.cluster

    def notes(self) -> list[str]:
        """What is to be known of events and edges: where there are none, and where some were left out."""
        found = [
            f"sequence `{each.name}`: no row has an event" for each in self.sequences if not len(each.numeric)
        ]
        found += [f"text `{each.name}`: no row has one" for each in self.texts if not any(each.text)]
        found += [f"images `{each.name}`: no row has one" for each in self.images if not len(each.pixels)]
        for nodes in self.graphs:
            found += [
                f"graph `{nodes.name}`: relation `{kind}` has no edge at any cutoff"
                for kind, relation in nodes.relations.items()
                if not len(relation.indices)
            ]
            found += [
                f"graph `{nodes.name}`: {count:,} edges of `{kind}` are left out, for one end is no entity known at "
                "the cutoff"
                for kind, count in nodes.dropped.items()
                if count
            ]
        return found


def compile_all(
    declaration: Declaration,
    tables: Tables,
    engine: Engine,
    cache: Cache,
    cutoffs: Sequence[datetime] | None = None,
    labelled: bool = True,
) -> Compiled:
    """Everything up to running the queries: the cohort's rows, the refusals, the feature and target queries.

    cutoffs: score at these moments rather than the declared ones; labelled: compile the targets too.
    """
    if cutoffs is None:
        cutoffs = cohorts.moments(declaration.cohort, tables, declaration.horizons()).cutoffs
    cutoffs = tuple(cutoffs)
    rows = kept(COHORT, declaration.cohort, cutoffs, tables, engine, cache)
    frame = cohorts.looking_back(declaration.cohort)
    targets = {}
    if labelled:
        targets = {
            name: compile_target(name, node, tables, frame, engine)
            for name, node in declaration.target.items()
        }
    labels = leaks.label_columns(list(targets.values()), tables)
    parts = leaks.split_columns(declaration.split, tables, declaration.split_key)
    telling = leaks.telling_columns(list(targets.values()), tables)
    shielded = protected.compile_protected(declaration.protected, tables, frame)
    hidden = frozenset({*labels, *parts, *telling, *protected.hidden(shielded)})
    tabular: dict[str, Tabular | HashedText] = {}
    events: list[CompiledSequence] = []
    drawn: dict[str, RelationGraph] = {}
    read: list[raw_texts.CompiledRawText] = []
    seen: list[pictures.CompiledImages] = []
    for name, node in declaration.features.items():
        if isinstance(node, Calendar):
            need_holidays(name, node, cutoffs, declaration.cohort.timezone)
        if isinstance(node, EventSequence):
            events.append(compile_sequence(name, node, tables, frame))
        elif isinstance(node, Panel):
            events.append(compile_panel(name, node, tables, frame))
        elif isinstance(node, RelationGraph):
            drawn[name] = node
        elif isinstance(node, RawText):
            read.append(raw_texts.compile_raw_text(name, node, tables, frame))
        elif isinstance(node, PageImages):
            seen.append(pictures.compile_images(name, node, tables, frame))
        elif not isinstance(node, Expressions):
            tabular[name] = _without_texts(node, declaration.features)
    sets = {name: _compile_set(name, node, tables, frame, hidden) for name, node in tabular.items()}
    columns = {name: part for name, part in sets.items() if not isinstance(part, CompiledText)}
    for name, node in declaration.features.items():
        if isinstance(node, Expressions):
            sets[name] = compile_expressions(name, node, columns, frame)
    nodes, described = rows, sets
    if drawn and (everybody := cohorts.everybody(declaration.cohort)):
        nodes = kept(NODES, everybody, cutoffs, tables, engine, cache)
        frame = cohorts.looking_back(everybody, NODES)
        used = {name for node in drawn.values() for name in node.nodes}
        described = {
            name: _compile_set(name, node, tables, frame, hidden)
            for name, node in tabular.items()
            if name in used
        }
    relations = [compile_graph(name, node, tables, frame, described) for name, node in drawn.items()]
    selections = {f"target.{name}.among": target.chosen_by for name, target in targets.items()}
    selections["cohort"] = cohorts.chosen_by(declaration.cohort, tables)
    selections["split"] = parts
    made = [*sets.values(), *events, *relations, *read, *seen]
    leaks.refuse(made, labels, selections, parts, telling)
    protected.refuse(made, shielded, labels)
    labels |= dict.fromkeys(parts, "split")
    compiled = Compiled(
        tables,
        cutoffs,
        list(sets.values()),
        events,
        relations,
        targets,
        labels,
        rows,
        nodes,
        protected=shielded,
        texts=read,
        images=seen,
    )
    if not cutoffs:
        _needs_no_cutoffs(compiled, declaration)
    return compiled


def _without_texts(node: Tabular | HashedText, features: Mapping[str, FeatureSet]) -> Tabular | HashedText:
    """`columns: all` without what the recipe reads as texts: those are no categories."""
    if not isinstance(node, Attributes) or node.columns != "all":
        return node
    read = [one.column for one in features.values() if isinstance(one, RawText) and one.table == node.table]
    return node.model_copy(update={"exclude": [*node.exclude, *read]}) if read else node


def _compile_set(
    name: str, node: Tabular | HashedText, tables: Tables, frame: Frame, hidden: frozenset[ColumnSource]
) -> CompiledSet:
    if isinstance(node, HashedText):
        return texts.compile_text(name, node, tables, frame)
    return compile_set(name, node, tables, frame, hidden)


def kept(
    name: str,
    cohort: Cohort,
    cutoffs: tuple[datetime, ...],
    tables: Tables,
    engine: Engine,
    cache: Cache,
) -> Kept:
    """The moments of a cohort, found or made, as a view of the engine's under a name."""
    statements = cohorts.statements(cohort, cutoffs, tables, name)
    read = cohorts.tables_of_cohort(cohort, tables.dataset)
    key = {
        "cohort": cohort.model_dump(exclude={"description"}), "cutoffs": [c.isoformat() for c in cutoffs],
        "tables": tables.fingerprints(read, mentioned(tree for _, tree in statements)), "code": code_digest(*CODE),
    }  # fmt: skip

    def build(folder: Path) -> None:
        for step, tree in statements:
            engine.keep(step, tree)
        engine.write(exp.select("*").from_(sql.table(name)).order_by(col(ROW)), folder / "rows.parquet")
        for step, _ in statements:
            engine.drop(step)

    engine.view(name, cache.entry("cohorts", key, build) / "rows.parquet")
    return Kept(name, key, tuple(statements))


def _needs_no_cutoffs(compiled: Compiled, declaration: Declaration) -> None:
    """Without cutoffs nothing may look at a table with a clock, for no row of it would be known."""
    tables = compiled.tables
    looks: dict[str, frozenset[str] | set[str]] = {
        f"feature set `{part.name}`": part.query.tables for part in compiled.parts
    }
    looks |= {
        f"target `{name}`": {table for table, _ in target.read | target.chosen_by} - {tables.dataset.entity}
        for name, target in compiled.targets.items()
    }
    looks["the cohort"] = {condition.table for condition in declaration.cohort.having}
    for what, names in looks.items():
        for name in sorted(names):
            if tables[name].spec.clock:
                raise ConfigError(
                    f"{what} looks at table `{name}`, which has a clock, but the cohort has no cutoffs",
                    where="cohort.cutoffs",
                    fix="declare the cutoffs",
                )


def build(compiled: Compiled, engine: Engine, cache: Cache, progress: Progress | None = None) -> Matrix:
    """Run the queries (or find their results) and put columns, events and edges together."""
    started = time.perf_counter()
    rows = engine.arrow(exp.select(col(ENTITY), col(CUTOFF)).from_(sql.table(COHORT)).order_by(col(ROW)))
    entity = rows[ENTITY].to_numpy(zero_copy_only=False)
    if not len(entity):
        raise DataError(
            "the cohort has no rows",
            where="cohort",
            why="; ".join(compiled.found) or None,
            fix="look at `where`, `having` and the cutoffs (verb `plan`)",
        )
    matrix = Matrix(entity, rows[CUTOFF].to_numpy(zero_copy_only=False), compiled.features, {})
    results = Results(compiled.rows.key, compiled.tables, engine, cache)
    parts = len(compiled.parts) + len(compiled.targets)
    done = itertools.count()

    @contextmanager
    def told(what: str, name: str) -> Iterator[None]:
        if progress:
            progress(what, next(done) / parts)
        begun = time.perf_counter()
        yield
        matrix.seconds[name] = time.perf_counter() - begun

    for part in compiled.sets:
        with told(f"features {part.name}", part.name):
            matrix.columns |= _columns(results.of("features", part.query, part.name), part, len(matrix))
    for sequence in compiled.sequences:
        with told(f"events {sequence.name}", sequence.name):
            path = results.of("features", sequence.query, sequence.name)
            matrix.sequences += (sequences.assemble(path, sequence, len(matrix)),)
    for text in compiled.texts:
        with told(f"texts {text.name}", text.name):
            found = pq.read_table(results.of("features", text.query, text.name))
            matrix.texts += (raw_texts.assemble(found, text, len(matrix)),)
    for shown in compiled.images:
        with told(f"images {shown.name}", shown.name):
            file = pq.ParquetFile(results.of("features", shown.query, shown.name))
            matrix.images += (pictures.assemble(file.iter_batches(1024), shown, len(matrix)),)
    for graph in compiled.graphs:
        with told(f"graph {graph.name}", graph.name):
            matrix.graphs += (_drawn(graph, compiled, matrix, results),)
    for name, target in compiled.targets.items():
        with told(f"target {name}", f"target {name}"):
            path = results.of("targets", target.query, name)
            matrix.values[name] = raw_values(pq.read_table(path), "value", target.fill, len(entity))
            matrix.eligible[name] = eligible(target.eligible, engine, len(entity))
            if target.worth:
                path = results.of("targets", target.worth, name)
                fill = target.worth.fills["value"]
                matrix.worth[name] = raw_values(pq.read_table(path), "value", fill, len(entity))
    protected.check(compiled.protected, {}, compiled.features)
    for one in compiled.protected:
        matrix.protected[one.name] = protected.grouped(one, _protected(one, results, matrix))
    matrix.seconds["total"] = time.perf_counter() - started
    return matrix


def _protected(one: CompiledProtected, results: Results, matrix: Matrix) -> Any:
    """The values of a protected attribute [rows]."""
    if one.part is None:
        return matrix.columns[one.node.feature or ""]
    path = results.of("features", one.part.query, one.name)
    return columns(path, one.part.features, len(matrix))[one.part.features[0].name]


def _columns(path: Path, part: CompiledSet, rows: int) -> dict[str, Any]:
    if isinstance(part, CompiledText):
        return texts.assemble(pq.ParquetFile(path).iter_batches(), part, rows)
    return columns(path, part.features, rows)


def _drawn(graph: CompiledGraph, compiled: Compiled, matrix: Matrix, results: Results) -> Nodes:
    """A graph with its nodes' columns: the very columns of the matrix where rows and nodes are the same."""
    names = [feature.name for part in graph.sets for feature in part.features]
    row_node, described = np.arange(len(matrix)), matrix.columns
    nodes = len(matrix)
    if compiled.nodes is not compiled.rows:
        results = replace(results, frame=compiled.nodes.key)
        nodes = results.engine.one(exp.select(exp.Count(this=exp.Star())).from_(sql.table(NODES)))[0]
        found = results.engine.arrow(graphs.nodes_of_rows(COHORT, NODES))
        row_node = np.full(len(matrix), -1)
        row_node[found[ROW].to_numpy()] = found[graphs.NODE].to_numpy()
        assert (row_node >= 0).all(), "every row is an entity known at its cutoff, and all of those are nodes"
        described = {name: column for other in matrix.graphs for name, column in other.columns.items()}
        for part in graph.sets:
            if part.features[0].name not in described:
                path = results.of("features", part.query, part.name)
                described |= _columns(path, part, nodes)
    edges = results.of("features", graph.query, graph.name)
    relations, dropped = graphs.assemble(edges, graph, nodes)
    return Nodes(graph.name, {name: described[name] for name in names}, row_node, relations, dropped)


def load_tables(
    declaration: Declaration,
    source: Source,
    engine: Engine,
    cache: Cache,
    progress: Progress | None = None,
    only: Sequence[str] | None = None,
    optional: dict[str, set[str]] | None = None,
) -> Tables:
    """The tables that the declaration reads."""
    names = declaration.tables() if only is None else list(only)
    return data_tables.load(declaration.dataset, source, names, engine, cache, optional, progress)
