"""The design matrix: rows, features and raw target values of a recipe, each part cached by its content."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlglot import exp

from toolkit.config.measures import Calendar, Cohort, FeatureSet, Target
from toolkit.config.tables import BY_ROW, Dataset, Source
from toolkit.config.time import Span
from toolkit.data import sql
from toolkit.data import tables as data_tables
from toolkit.data.cache import Cache, code_digest, digest
from toolkit.data.engine import Engine
from toolkit.data.sql import col
from toolkit.data.tables import Tables
from toolkit.errors import ConfigError, DataError, did_you_mean
from toolkit.modalities import Nodes, Sequences
from toolkit.prepare import cohort as cohorts
from toolkit.prepare import leaks
from toolkit.prepare.cohort import COHORT
from toolkit.prepare.features import CompiledSet, Feature, compile_set
from toolkit.prepare.frame import CUTOFF, ENTITY, ROW, Query
from toolkit.prepare.frame import Source as ColumnSource
from toolkit.prepare.measure import relations_of, tables_of
from toolkit.prepare.targets import CompiledTarget, compile_target, horizon_of, measured_in

CODE = ("data", "prepare")
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Declaration:
    """What the matrix is made of; a part of the whole configuration, and all that a bundle needs to score."""

    dataset: Dataset
    cohort: Cohort
    target: Mapping[str, Target]
    features: Mapping[str, FeatureSet]

    def tables(self) -> list[str]:
        """Names of the tables that are read, in the order of their declaration."""
        names = cohorts.tables_of_cohort(self.cohort, self.dataset)
        for node in [*self.features.values(), *self.target.values()]:
            names |= tables_of(node)
            names |= {
                self.dataset.relations[r].table for r in relations_of(node) if r in self.dataset.relations
            }
            if isinstance(node, Calendar):
                names.add(self.dataset.entity)
        for name in sorted(names):
            if name not in self.dataset.tables:
                raise ConfigError(
                    f"no table is called `{name}`",
                    where="dataset.tables",
                    fix=did_you_mean(name, self.dataset.tables),
                )
        return [name for name in self.dataset.tables if name in names]

    def horizons(self) -> dict[str, tuple[Span, set[str]]]:
        """Target → its horizon and the tables that it is measured in."""
        found = {}
        for name, node in self.target.items():
            span = horizon_of(node)
            if span is not None:
                found[name] = (span, measured_in(node))
        return found


@dataclass
class Compiled:
    """The declaration as queries over loaded tables; the cohort's frames are kept in the engine."""

    tables: Tables
    cutoffs: tuple[datetime, ...]
    sets: list[CompiledSet]
    targets: dict[str, CompiledTarget]
    labels: dict[ColumnSource, str]
    cohort_sql: list[tuple[str, exp.Expression]]
    cohort_key: dict[str, Any]

    @property
    def features(self) -> list[Feature]:
        return [feature for compiled in self.sets for feature in compiled.features]

    def assumptions(self) -> list[str]:
        """What is taken on trust: rows of undated tables, whatever reads them."""
        loaded = self.tables.loaded.items()
        return [
            f"table `{name}` has no clock: its rows are taken as known at every cutoff"
            for name, table in loaded
            if not table.spec.clock
        ] + [
            f"table `{name}` has no key: a row is known by its position, as long as the file stays the same"
            for name, table in loaded
            if table.spec.key == BY_ROW
        ]


@dataclass
class Matrix:
    """Rows, features and raw target values.

    entity: texts [rows]; cutoff: datetime64 [rows] (NaT without a clock); columns: feature → float32
    [rows] or pandas Categorical [rows]; values: target → raw values [rows]; eligible: target → [rows];
    worth: target → what each row brings [rows], where that is declared; sequences, graphs: what rows have
    besides columns.
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
    seconds: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.entity)


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
    statements = cohorts.statements(declaration.cohort, cutoffs, tables)
    read = cohorts.tables_of_cohort(declaration.cohort, declaration.dataset)
    key = {
        "cohort": declaration.cohort.model_dump(exclude={"description"}), "cutoffs": [c.isoformat() for c in cutoffs],
        "tables": tables.fingerprints(read, _columns(tree for _, tree in statements)), "code": code_digest(*CODE),
    }  # fmt: skip

    def build(folder: Path) -> None:
        for name, tree in statements:
            engine.keep(name, tree)
        engine.write(exp.select("*").from_(sql.table(COHORT)).order_by(col(ROW)), folder / "rows.parquet")
        for name, _ in statements:
            engine.drop(name)

    folder = cache.entry("cohorts", key, build)
    engine.view(COHORT, folder / "rows.parquet")
    frame = cohorts.looking_back(declaration.cohort)
    targets = {}
    if labelled:
        targets = {
            name: compile_target(name, node, tables, frame, engine)
            for name, node in declaration.target.items()
        }
    labels = leaks.label_columns(list(targets.values()), tables)
    sets = [
        compile_set(name, node, tables, frame, frozenset(labels))
        for name, node in declaration.features.items()
    ]
    selections = {f"target.{name}.among": target.chosen_by for name, target in targets.items()}
    selections["cohort"] = cohorts.chosen_by(declaration.cohort, tables)
    leaks.refuse(sets, labels, selections)
    if not cutoffs:
        _needs_no_cutoffs(sets, targets, declaration, tables)
    return Compiled(tables, tuple(cutoffs), sets, targets, labels, statements, key)


def _needs_no_cutoffs(
    sets: Sequence[CompiledSet],
    targets: Mapping[str, CompiledTarget],
    declaration: Declaration,
    tables: Tables,
) -> None:
    """Without cutoffs nothing may look at a table with a clock, for no row of it would be known."""
    looks: dict[str, frozenset[str] | set[str]] = {
        f"feature set `{compiled.name}`": compiled.query.tables for compiled in sets
    }
    looks |= {
        f"target `{name}`": {table for table, _ in target.read | target.chosen_by} - {tables.dataset.entity}
        for name, target in targets.items()
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
    """Run the queries (or find their results) and put the columns together."""
    started = time.perf_counter()
    rows = engine.arrow(exp.select(col(ENTITY), col(CUTOFF)).from_(sql.table(COHORT)).order_by(col(ROW)))
    entity = rows[ENTITY].to_numpy(zero_copy_only=False)
    if not len(entity):
        raise DataError(
            "the cohort has no rows",
            where="cohort",
            fix="look at `where`, `having` and the cutoffs (verb `plan`)",
        )
    matrix = Matrix(entity, rows[CUTOFF].to_numpy(zero_copy_only=False), compiled.features, {})
    parts = len(compiled.sets) + len(compiled.targets)
    for number, part in enumerate(compiled.sets):
        if progress:
            progress(f"features {part.name}", number / parts)
        begun = time.perf_counter()
        path = _result("features", part.query, part.name, compiled, engine, cache)
        _scatter(pq.read_table(path), part.features, matrix)
        matrix.seconds[part.name] = time.perf_counter() - begun
    for number, (name, target) in enumerate(compiled.targets.items()):
        if progress:
            progress(f"target {name}", (len(compiled.sets) + number) / parts)
        begun = time.perf_counter()
        path = _result("targets", target.query, name, compiled, engine, cache)
        matrix.values[name] = raw_values(pq.read_table(path), "value", target.fill, len(entity))
        matrix.eligible[name] = eligible(target.eligible, engine, len(entity))
        if target.worth:
            path = _result("targets", target.worth, name, compiled, engine, cache)
            matrix.worth[name] = raw_values(
                pq.read_table(path), "value", target.worth.fills["value"], len(entity)
            )
        matrix.seconds[f"target {name}"] = time.perf_counter() - begun
    matrix.seconds["total"] = time.perf_counter() - started
    return matrix


def _result(
    kind: str,
    query: Query,
    label: str,
    compiled: Compiled,
    engine: Engine,
    cache: Cache,
) -> Path:
    """The query's rows as Parquet, found or made. Its text stands for the declaration."""
    material = {
        "query": stable_text(query),
        "cohort": compiled.cohort_key,
        "tables": compiled.tables.fingerprints(set(query.tables), columns_of(query)),
    }

    def make(folder: Path) -> None:
        try:
            for name, step in query.steps:
                engine.keep(name, step)
            engine.write(query.tree, folder / "values.parquet")
        except DataError as error:  # an expression that some value does not fit: say which declaration it is
            error.where = error.where or f"{'target' if kind == 'targets' else kind}.{label}"
            raise
        finally:
            for name, _ in query.steps:
                engine.drop(name)

    return cache.entry(kind, material, make, label) / "values.parquet"


def columns_of(query: Query) -> set[str]:
    """Names of all columns that a query mentions, in whatever table, in small letters."""
    return _columns([*(tree for _, tree in query.steps), query.tree])


def _columns(trees: Iterable[exp.Expression]) -> set[str]:
    return {column.name.lower() for tree in trees for column in tree.find_all(exp.Column)}


def stable_text(query: Query) -> str:
    """The query as text with the numbers of its kept tables counted from one."""
    text = "\n".join([*(f"{name}: {sql.render(tree)}" for name, tree in query.steps), sql.render(query.tree)])
    for number, (name, _) in enumerate(query.steps):
        text = text.replace(f'"{name}"', f'"step {number}"').replace(f"{name}:", f"step {number}:")
    return text


def _scatter(table: pa.Table, features: Sequence[Feature], matrix: Matrix) -> None:
    """Columns of a result, whose rows come in any order, into full columns."""
    at = table[ROW].to_numpy()
    for feature in features:
        column = table[feature.column]
        if feature.kind == "categorical":
            coded = pc.dictionary_encode(column.cast(pa.string())).combine_chunks()
            codes = np.full(len(matrix), -1, np.int32)
            codes[at] = coded.indices.fill_null(-1).to_numpy()
            matrix.columns[feature.name] = pd.Categorical.from_codes(
                codes, categories=coded.dictionary.to_pandas()
            )
            continue
        full = np.full(len(matrix), np.nan if feature.fill is None else feature.fill, np.float32)
        full[at] = column.cast(pa.float64()).to_numpy().astype(np.float32)
        matrix.columns[feature.name] = full


def raw_values(table: pa.Table, name: str, fill: float | None, rows: int) -> np.ndarray:
    """A column of a result, whose rows come in any order: float64 or texts [rows]."""
    at, column = table[ROW].to_numpy(), table[name]
    if (
        pa.types.is_string(column.type)
        or pa.types.is_large_string(column.type)
        or pa.types.is_null(column.type)
    ):
        texts = np.full(rows, None, object)
        texts[at] = column.to_numpy(zero_copy_only=False)
        return texts
    values = np.full(rows, np.nan if fill is None else fill)
    values[at] = column.cast(pa.float64()).to_numpy()
    return values


def eligible(query: exp.Select | None, engine: Engine, rows: int) -> np.ndarray:
    """Which rows a target applies to [rows], from the query for them (`targets.applies_to`)."""
    if query is None:
        return np.ones(rows, bool)
    mask = np.zeros(rows, bool)
    mask[engine.arrow(query)[ROW].to_numpy()] = True
    return mask


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


def fingerprint(compiled: Compiled) -> str:
    """One digest of everything that the features are made from. Targets are none of it: labels speak for themselves."""
    queries = [part.query for part in compiled.sets]
    tables = set().union(*(query.tables for query in queries))
    return digest({
        "cohort": compiled.cohort_key, "queries": [stable_text(query) for query in queries],
        "tables": compiled.tables.fingerprints(tables, set().union(*map(columns_of, queries))),
    })  # fmt: skip
