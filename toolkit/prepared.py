"""A recipe's data, ready to be split and fitted: tables, cohort, design matrix, splits."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.config.schema import ColumnSplit, Config, GroupedSplit, RandomSplit
from toolkit.config.targets import ColumnTarget, type_of
from toolkit.data.documents import made
from toolkit.data.tables import Tables
from toolkit.documents import entities
from toolkit.documents.tables import TWIN
from toolkit.errors import ConfigError, did_you_mean
from toolkit.evaluation.fairness import need_fairlearn
from toolkit.models.formula import Formula, names_in
from toolkit.prepare import matrix as matrices
from toolkit.prepare import protected, twins
from toolkit.prepare.found import found
from toolkit.prepare.frame import link
from toolkit.prepare.matrix import Compiled, Declaration, Matrix
from toolkit.training.split import NAMES, TEST, TRAIN, VALIDATION, Assignment, assign
from toolkit.workplace import Workplace

log = logging.getLogger("toolkit")


def declaration(config: Config) -> Declaration:
    split, column, key = config.split, None, "split.column"
    if isinstance(split, ColumnSplit):
        column = split.column
    elif isinstance(split, RandomSplit | GroupedSplit):
        column, key = split.together, "split.together"
    shielded = config.fairness.attributes
    return Declaration(config.dataset, config.cohort, config.target, config.features, column, shielded, key)


@dataclass
class Prepared:
    """A recipe's data, ready to be split and fitted. found: what is to be known of the tables, a line each."""

    tables: Tables
    compiled: Compiled
    matrix: Matrix
    assignments: list[Assignment]
    found: list[str] = field(default_factory=list)


def prepare(config: Config, work: Workplace) -> Prepared:
    """Tables, cohort, features, raw target values, splits."""
    declared = declaration(config)
    if declared.protected:
        need_fairlearn()
    with work.stage("reading tables"):
        names = {*declared.tables(), *config.entities.tables}
        only = [name for name in config.dataset.tables if name in names]
        tables = matrices.load_tables(declared, config.source, work.engine, work.cache, work.progress, only)
        entities.check(config.entities, tables)
    with work.stage("cohort"):
        compiled = matrices.compile_all(declared, tables, work.engine, work.cache)
        measured = {name for _, used in declared.horizons().values() for name in used}
        compiled.found = seen = found(config.cohort, tables, work.engine, measured)
        seen += protected.said(compiled.protected, tables)
    with work.stage("features and targets"):
        matrix = matrices.build(compiled, work.engine, work.cache, work.progress)
    matrix.cluster = clusters(config.evaluation.draw_by, tables, matrix.entity)
    protected.check(compiled.protected, matrix.protected, compiled.features)
    seen += protected.gaps(matrix.protected)
    matrix.unit = together(config, tables, matrix)
    for note in matrix.notes():
        log.warning("%s", note)
    assignments = splits(config, compiled, matrix)
    for note in (near := twins_across(tables, matrix, assignments[-1])):
        log.warning("%s", note)
    alone, never = single(config, matrix), unlearnt(config, matrix, assignments[-1])
    return Prepared(tables, compiled, matrix, assignments, [*seen, *alone, *never, *near])


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
    said = None
    if (column := declaration(config).split) is not None:
        said = of_entities(column, compiled.tables, matrix.entity)
    return assign(
        config.split, matrix.entity, matrix.cutoff, spans, config.seed, strata, config.cohort.timezone, said
    )


def together(config: Config, tables: Tables, matrix: Matrix) -> np.ndarray | None:
    """What is dealt as one wherever rows are dealt: as the split says; near duplicates of documents in any case.

    Texts [rows]; None where it is the entity.
    """
    columns = {getattr(config.split, "together", None), TWIN if has_twins(tables) else None} - {None}
    said = [of_entities(column, tables, matrix.entity) for column in sorted(filter(None, columns))]
    units = [np.where(pd.isna(one), matrix.entity, one) for one in said]
    return joined(*units) if len(units) == 2 else units[0] if units else None


def joined(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Units of rows that are in one by either of two columns, or by a chain of them; texts [rows], so is what comes."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    (a, names), (b, others) = pd.factorize(one), pd.factorize(other)
    size = len(names) + len(others)
    links = coo_array((np.ones(len(a)), (a, len(names) + b)), shape=(size, size))
    return connected_components(links, directed=False)[1][a].astype(str).astype(object)


def has_twins(tables: Tables) -> bool:
    """Is the entity a document, whose near duplicates are known?"""
    entity = tables.dataset.entity
    return made(tables.dataset, entity) == "documents" and TWIN in tables[entity].columns


def single(config: Config, matrix: Matrix) -> list[str]:
    """Lines on classes that a single row has: they can be learnt or judged, not both."""
    found = []
    for name, node in config.target.items():
        if isinstance(node, ColumnTarget) and type_of(node) == "multiclass":
            counts = pd.Series(matrix.values[name]).value_counts()
            if alone := sorted(map(str, counts.index[counts == 1])):
                named = ", ".join(f"`{one}`" for one in alone[:3]) + (" …" if len(alone) > 3 else "")
                found.append(
                    f"{name}: classes of one row, which can be learnt or judged, not both: {len(alone):,} ({named})"
                )
    return found


def unlearnt(config: Config, matrix: Matrix, assignment: Assignment) -> list[str]:
    """Lines on rows to judge by whose class no training row has: they have no label, and are in no figure."""
    found = []
    for name, node in config.target.items():
        if not isinstance(node, ColumnTarget) or type_of(node) != "multiclass":
            continue
        said = pd.Series(matrix.values[name])
        known = said[assignment.rows(TRAIN)].dropna().unique()
        for part in (VALIDATION, TEST):
            here = said[assignment.rows(part)].dropna()
            lost = here[~here.isin(known)]
            if len(lost):
                classes = sorted(map(str, lost.unique()))
                named = ", ".join(f"`{one}`" for one in classes[:3]) + (" …" if len(classes) > 3 else "")
                found.append(
                    f"{name}: {len(lost):,} {NAMES[part]} rows are of classes that no training row has ({named}): "
                    "no model can name them, and no figure counts them"
                )
    return found


def twins_across(tables: Tables, matrix: Matrix, assignment: Assignment) -> list[str]:
    """Lines on near duplicates of documents on both sides of a split."""
    if not has_twins(tables):
        return []
    return twins.across(matrix.entity, of_entities(TWIN, tables, matrix.entity), assignment)


def of_entities(column: str, tables: Tables, entity: np.ndarray) -> np.ndarray:
    """Values of a column of the entity table, which has one row per entity, as texts or None [rows]."""
    table = tables[tables.dataset.entity]
    key = link(table, tables)
    rows = pq.read_table(table.path, columns=list(dict.fromkeys([key, column])))
    texts = pd.Series(rows[column].cast(pa.string()).to_numpy(), rows[key].to_numpy(), object)
    return texts.reindex(entity).to_numpy()


def clusters(column: str | None, tables: Tables, entity: np.ndarray) -> np.ndarray | None:
    """What intervals draw, as texts [rows]: the column's value; an entity without one is drawn by itself."""
    if column is None:
        return None
    known = tables[tables.dataset.entity].columns
    if column not in known:
        raise ConfigError(
            f"`evaluation.draw_by` names `{column}`, which is no column of table `{tables.dataset.entity}`",
            where="evaluation.draw_by",
            fix=did_you_mean(column, known),
        )
    found = of_entities(column, tables, entity)
    return np.array(
        [f"={v}" if isinstance(v, str) else str(e) for v, e in zip(found, entity, strict=True)], object
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
    for name, model in config.model.items():
        if isinstance(model, Formula):
            names_in(model.score, features, f"model.{name}.score")
