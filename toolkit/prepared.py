"""A recipe's data, ready to be split and fitted: tables, cohort, design matrix, splits."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.config.measures import ColumnTarget
from toolkit.config.schema import Config, RandomSplit
from toolkit.data.tables import Tables
from toolkit.errors import ConfigError, did_you_mean
from toolkit.prepare import matrix as matrices
from toolkit.prepare.matrix import Compiled, Declaration, Matrix
from toolkit.training.split import Assignment, assign
from toolkit.workplace import Workplace


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
