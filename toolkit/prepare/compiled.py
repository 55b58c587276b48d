"""A recipe's data as it is declared, and as queries over loaded tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlglot import exp

from toolkit.config.calendars import Calendar
from toolkit.config.fairness import Protected
from toolkit.config.features import FeatureSet
from toolkit.config.measures import Cohort
from toolkit.config.tables import BY_ROW, Dataset
from toolkit.config.targets import Target
from toolkit.config.time import Span
from toolkit.data.cache import digest
from toolkit.data.tables import Tables
from toolkit.errors import ConfigError, did_you_mean
from toolkit.prepare import cohort as cohorts
from toolkit.prepare.features import CompiledSet, Feature
from toolkit.prepare.frame import Source
from toolkit.prepare.graphs import CompiledGraph
from toolkit.prepare.measure import relations_of, tables_of
from toolkit.prepare.pictures import CompiledImages
from toolkit.prepare.protected import CompiledProtected
from toolkit.prepare.raw_texts import CompiledRawText
from toolkit.prepare.results import columns_of, stable_text
from toolkit.prepare.sequences import CompiledSequence
from toolkit.prepare.targets import CompiledTarget, horizon_of, measured_in


@dataclass(frozen=True)
class Declaration:
    """What the matrix is made of; a part of the whole configuration, and all that a bundle needs to score."""

    dataset: Dataset
    cohort: Cohort
    target: Mapping[str, Target]
    features: Mapping[str, FeatureSet]
    split: str | None = None  # the entity table's column that decides the split, and is no feature
    protected: Mapping[str, Protected] = field(default_factory=dict)
    split_key: str = "split.column"  # what names that column

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
        names |= {node.table or self.dataset.entity for node in self.protected.values() if node.column}
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


@dataclass(frozen=True)
class Kept:
    """Moments that are kept in the engine under a name. key: what they are made from; statements: how."""

    name: str
    key: dict[str, Any]
    statements: tuple[tuple[str, exp.Expression], ...]


@dataclass
class Compiled:
    """The declaration as queries over loaded tables; the cohort's frames are kept in the engine.

    sets: what gives columns; labels: columns that are no features → the target, or `split`, that they are
    for; nodes: of the graphs, the very rows if the cohort is everybody; found: what is to be known of the
    tables, which may explain why something cannot be made; protected: attributes that decisions are judged by.
    """

    tables: Tables
    cutoffs: tuple[datetime, ...]
    sets: list[CompiledSet]
    sequences: list[CompiledSequence]
    graphs: list[CompiledGraph]
    targets: dict[str, CompiledTarget]
    labels: dict[Source, str]
    rows: Kept
    nodes: Kept
    found: list[str] = field(default_factory=list)
    protected: tuple[CompiledProtected, ...] = ()
    texts: list[CompiledRawText] = field(default_factory=list)
    images: list[CompiledImages] = field(default_factory=list)

    @property
    def features(self) -> list[Feature]:
        """The design matrix's columns."""
        return [feature for compiled in self.sets for feature in compiled.features]

    @property
    def besides(self) -> list[Feature]:
        """What rows have besides columns: channels of events, relations of graphs, texts, pictures."""
        parts = [*self.sequences, *self.graphs, *self.texts, *self.images]
        return [feature for part in parts for feature in part.features]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all that models see."""
        return tuple(feature.name for feature in [*self.features, *self.besides])

    @property
    def described(self) -> list[CompiledSet]:
        """What describes nodes that are not the rows."""
        if self.nodes is self.rows:
            return []
        return list({part.name: part for graph in self.graphs for part in graph.sets}.values())

    @property
    def parts(self) -> list[CompiledSet]:
        """Everything that is made: columns, events, what describes nodes, edges, texts, pictures."""
        return [*self.sets, *self.sequences, *self.described, *self.graphs, *self.texts, *self.images]

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


def fingerprint(compiled: Compiled) -> str:
    """One digest of everything that the features are made from. Targets are none of it: labels speak for themselves."""
    queries = [part.query for part in compiled.parts]
    tables = set().union(*(query.tables for query in queries))
    return digest({
        "cohort": compiled.rows.key, "queries": [stable_text(query) for query in queries],
        "tables": compiled.tables.fingerprints(tables, set().union(*map(columns_of, queries))),
        "graphs": [[graph.directed, graph.kinds, [part.name for part in graph.sets]] for graph in compiled.graphs],
    })  # fmt: skip
