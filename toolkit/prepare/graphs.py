"""Graphs: what relations were known at each cutoff, from a declaration through SQL to compressed rows.

A node is an entity known at a cutoff, whether or not it is a row of the cohort; no edge joins two
cutoffs. What an edge is, is as `measure.neighbours` has it: every row of the relation counts, duplicates
as well; an entity is no neighbour of itself; the first end hears from the second, and unless the relation
is directed the second from the first; an edge without a weight counts as 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlglot import exp

from toolkit.config.modalities import RelationGraph
from toolkit.data import sql
from toolkit.data.sql import col
from toolkit.data.tables import Loaded, Tables
from toolkit.errors import ConfigError, DataError, did_you_mean
from toolkit.modalities import Relation
from toolkit.prepare.features import CompiledSet, Feature
from toolkit.prepare.frame import CUTOFF, ENTITY, ROW, Frame, Look, Query, clocks, sub
from toolkit.prepare.measure import edge_rows, relation_of

FIRST, SECOND, TYPE, WEIGHT, NODE = "@first", "@second", "@type", "@weight", "@node"


@dataclass(frozen=True)
class CompiledGraph(CompiledSet):
    """A graph: its features are its relations, one for each kind of edge.

    sets: what describes a node, compiled over the frame of nodes; typed: do edges say their kind?
    """

    sets: tuple[CompiledSet, ...]
    directed: bool
    typed: bool

    @property
    def kinds(self) -> list[str]:
        return [relation.column for relation in self.features]


def compile_graph(
    name: str, node: RelationGraph, tables: Tables, frame: Frame, described: Mapping[str, CompiledSet]
) -> CompiledGraph:
    """A graph over a frame of nodes: a query with the two nodes of each edge, its kind and its weight.

    described: the feature sets that may describe a node, over the same frame. A missing node is an
    entity that is not known at the cutoff.
    """
    where = f"features.{name}"
    for index, other in enumerate(node.nodes):
        if other not in described:
            raise ConfigError(
                f"no feature set with columns is called `{other}`",
                where=f"{where}.nodes.{index}",
                fix=did_you_mean(other, described),
            )
    relation, table = relation_of(node.relation, tables, where, bool(node.types), node.weight is True)
    weighted = node.weighted(relation)
    look = Look(frame, table)
    edges = edge_rows(relation, table)
    if node.types and relation.type:
        edges = edges.where(
            exp.In(this=col(relation.type), expressions=[sql.literal(kind) for kind in node.types])
        )
    weight = col(WEIGHT, "t") if weighted else sql.named(sql.literal(1.0), WEIGHT)
    known = exp.select(col(CUTOFF, "f"), col(FIRST, "t"), col(SECOND, "t"), col(TYPE, "t"), weight)
    seen = look.seen()
    known = known.from_(look.moments()).join(
        sub(edges, "t"), on=seen, join_type="inner" if seen is not None else "cross"
    )
    tree = exp.select(
        sql.named(col(ROW, "a"), FIRST), sql.named(col(ROW, "b"), SECOND), col(TYPE, "e"), col(WEIGHT, "e")
    ).from_(sub(known, "e"))
    for end, alias in ((FIRST, "a"), (SECOND, "b")):
        same = exp.EQ(this=col(ENTITY, alias), expression=col(end, "e"))
        then = exp.NullSafeEQ(this=col(CUTOFF, alias), expression=col(CUTOFF, "e"))
        tree = tree.join(sql.table(frame.name, alias), on=exp.and_(same, then), join_type="left")

    read = {*relation.ends, *clocks(table)} | {relation.type for _ in node.types or () if relation.type}
    read |= {relation.weight} if weighted and relation.weight else set()
    sources = frozenset(table.sources(read))
    features = tuple(
        Feature(
            f"{name}.{kind}", name, "numeric", None, sources, "known at the cutoff", _words(table, weighted)
        )
        for kind in node.types or [node.relation]
    )
    sets = tuple(described[other] for other in node.nodes)
    query = Query(tree, tables=frozenset({table.name}))
    return CompiledGraph(name, features, query, sets, relation.directed, bool(node.types))


def _words(table: Loaded, weighted: bool) -> str:
    return f"edges of {table.name}" + (", weighted" if weighted else "")


def assemble(path: Path, compiled: CompiledGraph, nodes: int) -> tuple[dict[str, Relation], dict[str, int]]:
    """Kind → edges between known entities; kind → edges that were left out because an end is not known."""
    rows = pq.read_table(path, read_dictionary=[TYPE])
    first, second = (rows[end].combine_chunks() for end in (FIRST, SECOND))
    known = pc.and_(first.is_valid(), second.is_valid()).to_numpy(zero_copy_only=False)
    ends = [
        end.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
        for end in (first, second)
    ]
    weight = rows[WEIGHT].cast(pa.float64()).to_numpy()
    kind = _kind(rows[TYPE], compiled) if compiled.typed else np.zeros(len(rows), np.int8)
    del rows, first, second
    relations, dropped = {}, {}
    for number, name in enumerate(compiled.kinds):
        of = kind == number
        at = np.flatnonzero(of & known)
        dropped[name] = int(of.sum()) - len(at)
        hears, heard, weights = ends[0][at], ends[1][at], _finite(weight[at], f"{compiled.name}.{name}")
        if not compiled.directed:
            hears, heard = np.concatenate([hears, heard]), np.concatenate([heard, hears])
            weights = np.concatenate([weights, weights])
        relations[name] = compressed(hears, heard, weights, nodes)
    return relations, dropped


def _kind(column: pa.ChunkedArray, compiled: CompiledGraph) -> np.ndarray:
    """Which of the graph's relations each edge belongs to: int8 or int64 [edges]."""
    coded = column.unify_dictionaries().combine_chunks()
    if not pa.types.is_dictionary(coded.type):
        coded = coded.cast(pa.string()).dictionary_encode()
    place = {name: number for number, name in enumerate(compiled.kinds)}
    lookup = np.array([place[text] for text in coded.dictionary.to_pylist()], np.int64)
    return lookup[coded.indices.to_numpy(zero_copy_only=False)]


def _finite(weights: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        found = weights.astype(np.float32)
    if not np.isfinite(found).all():
        raise DataError(
            f"relation `{name}` has weights that are no numbers, infinite or beyond 3.4e38",
            where=f"features.{name.partition('.')[0]}",
            fix="guard the expression that made them, or say `weight: false`",
        )
    return found


def compressed(hears: np.ndarray, heard: np.ndarray, weight: np.ndarray, nodes: int) -> Relation:
    """Edges [edges] as compressed rows, in order of (node, neighbour, weight), whatever order they came in."""
    key = hears * nodes + heard  # int64 holds pairs of three billion nodes
    order = np.argsort(key)
    key = key[order]
    same = key[1:] == key[:-1]
    if same.any():  # several edges between two nodes: by their weight
        at = np.flatnonzero(np.concatenate([[False], same]) | np.concatenate([same, [False]]))
        order[at] = order[at][np.lexsort((weight[order[at]], key[at]))]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(hears, minlength=nodes))]).astype(np.int64)
    return Relation(indptr, heard[order], weight[order])


def nodes_of_rows(cohort: str, nodes: str) -> exp.Select:
    """The node of each row of the cohort: a query with `@row` and `@node`."""
    same = exp.EQ(this=col(ENTITY, "n"), expression=col(ENTITY, "f"))
    then = exp.NullSafeEQ(this=col(CUTOFF, "n"), expression=col(CUTOFF, "f"))
    return (
        exp.select(col(ROW, "f"), sql.named(col(ROW, "n"), NODE))
        .from_(sql.table(cohort, "f"))
        .join(sql.table(nodes, "n"), on=exp.and_(same, then), join_type="inner")
    )
