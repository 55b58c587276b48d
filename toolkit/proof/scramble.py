"""Making nonsense of what must not matter: rows known after a cutoff, and rows held out of training."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toolkit.data.cache import digest, file_digest
from toolkit.data.engine import Engine
from toolkit.data.tables import KNOWN, Tables
from toolkit.modalities import Images, Sequences, Texts
from toolkit.prepare.frame import as_clock, clock_types
from toolkit.prepare.matrix import Matrix

Ragged = TypeVar("Ragged", Sequences, Images)
NEW_LEVEL = "a level that training rows do not have"
NEW_WORD = "awordthatnotrainingrowhas"


def scramble_after(
    tables: Tables, engine: Engine, cutoff: datetime, zone: str, seed: int, folder: Path
) -> tuple[Tables, dict[str, int]]:
    """Tables whose rows known by the cutoff are as they were and whose later rows are nonsense, as views.

    cutoff: naive UTC; zone: the cohort's, in which clocks that are dates are compared. Returns the
    tables with the number of rows scrambled in each. Of the later rows 30 % are dropped and some
    doubled; they stay later (`@known` is dealt among them), and all else, keys and times of events
    included, is dealt anew, column by column.
    """
    rng = np.random.default_rng(seed)
    loaded, touched = {}, {}
    for name, table in tables.loaded.items():
        if not table.spec.clock:
            loaded[name] = table
            continue
        rows = pq.read_table(table.path)
        moment = pa.scalar(as_clock(cutoff, clock_types(table)[0], zone), pa.timestamp("us"))
        late = pc.fill_null(pc.greater(pc.cast(rows[KNOWN], moment.type), moment), False)
        later = rows.filter(late)
        touched[name] = later.num_rows
        kept = np.flatnonzero(rng.random(later.num_rows) < 0.7)
        chosen = np.concatenate([kept, rng.permutation(kept)[: len(kept) // 2]])
        columns = {field.name: _dealt(later[field.name], chosen, rng) for field in rows.schema}
        path = folder / f"{digest(name)[:12]}.parquet"
        pq.write_table(
            pa.concat_tables([rows.filter(pc.invert(late)), pa.table(columns, schema=rows.schema)]), path
        )
        engine.view(name, path)
        loaded[name] = replace(table, path=path, fingerprint=file_digest(path))
    return Tables(tables.dataset, loaded), touched


def _dealt(column: pa.ChunkedArray, rows: np.ndarray, rng: np.random.Generator) -> pa.ChunkedArray:
    """A column's values at some rows in another order; numbers are also stretched."""
    dealt = column.take(pa.array(rng.permutation(rows), pa.int64()))
    if pa.types.is_floating(column.type):
        dealt = pc.multiply(pc.add(dealt, 1.0), pa.array(rng.uniform(0.1, 10.0, len(rows))))
    return pc.cast(dealt, column.type)


def scramble_rows(matrix: Matrix, rows: np.ndarray, rng: np.random.Generator) -> Matrix:
    """The matrix with features, events, outcomes and eligibility of some rows (a mask) dealt anew among them.

    Numbers are also stretched, and half of the rows get a level that no other row has. In a graph the rows
    change places; what describes a node was known at its cutoff, whoever may be a row, and stays.
    """
    at = np.flatnonzero(rows)
    columns: dict[str, Any] = {}
    for name, column in matrix.columns.items():
        if isinstance(column, pd.Categorical):
            changed = column.add_categories([NEW_LEVEL])
            codes = changed.codes.astype(np.int32)
            codes[at] = rng.permutation(codes[at])
            codes[at[: len(at) // 2]] = len(changed.categories) - 1
            columns[name] = pd.Categorical.from_codes(codes, categories=changed.categories)
        else:
            changed = column.copy()
            stretch = rng.uniform(-3, 3, len(at)).astype(np.float32)
            changed[at] = rng.permutation(changed[at]) * stretch + np.float32(1)
            columns[name] = changed
    values = {}
    for name, raw in matrix.values.items():
        dealt = raw.copy()
        dealt[at] = rng.permutation(dealt[at])
        if dealt.dtype != object:
            dealt[at] = dealt[at] * rng.uniform(0, 5, len(at))
        values[name] = dealt
    shielded = {}
    for name, groups in matrix.protected.items():
        codes = groups.codes.copy()
        codes[at] = rng.permutation(codes[at])
        shielded[name] = pd.Categorical.from_codes(codes, categories=groups.categories)
    eligible = {}
    for name, mask in matrix.eligible.items():
        eligible[name] = mask.copy()
        eligible[name][at] = rng.permutation(mask[at])
    dealt_nodes = []
    for nodes in matrix.graphs:
        row_node = nodes.row_node.copy()
        row_node[at] = rng.permutation(row_node[at])
        dealt_nodes.append(replace(nodes, row_node=row_node))
    return replace(
        matrix, columns=columns, values=values, eligible=eligible, graphs=tuple(dealt_nodes),
        sequences=tuple(_dealt_events(each, at, rng) for each in matrix.sequences), protected=shielded,
        texts=tuple(_dealt_texts(each, at, rng) for each in matrix.texts),
        images=tuple(_dealt_images(each, at, rng) for each in matrix.images),
    )  # fmt: skip


def _dealt_rows(each: Ragged, at: np.ndarray, rng: np.random.Generator) -> tuple[Ragged, np.ndarray]:
    """The same with what some rows (positions) have dealt among them, and the places of all that they then have."""
    rows = np.arange(len(each))
    rows[at] = rng.permutation(at)
    dealt = each.some(rows)
    ours = np.zeros(len(each), bool)
    ours[at] = True
    return dealt, np.flatnonzero(np.repeat(ours, dealt.lengths))


def _dealt_events(each: Sequences, at: np.ndarray, rng: np.random.Generator) -> Sequences:
    """The sequences with those of some rows dealt among them, their numbers stretched, their texts dealt anew."""
    dealt, events = _dealt_rows(each, at, rng)
    stretch = rng.uniform(-3, 3, (len(events), len(each.channels))).astype(np.float32)
    dealt.numeric[events] = dealt.numeric[events] * stretch + np.float32(1)
    known = []
    for index, (name, levels) in enumerate(each.categorical):
        dealt.codes[events, index] = rng.permutation(dealt.codes[events, index])
        dealt.codes[events[: len(events) // 2], index] = len(levels)
        known.append((name, (*levels, NEW_LEVEL)))
    return replace(dealt, categorical=tuple(known))


def _dealt_texts(each: Texts, at: np.ndarray, rng: np.random.Generator) -> Texts:
    """The texts with those of some rows dealt among them, half of them with a word that no other row has."""
    text = each.text.copy()
    text[at] = rng.permutation(text[at])
    for row in at[: len(at) // 2]:
        text[row] = f"{text[row] or ''} {NEW_WORD}"
    return replace(each, text=text)


def _dealt_images(each: Images, at: np.ndarray, rng: np.random.Generator) -> Images:
    """The pictures with those of some rows dealt among them, as negatives."""
    dealt, shown = _dealt_rows(each, at, rng)
    dealt.pixels[shown] = 255 - dealt.pixels[shown]
    return dealt


def some_rows(matrix: Matrix, rows: np.ndarray) -> Matrix:
    """The matrix of some of its rows (positions)."""
    return replace(
        matrix,
        entity=matrix.entity[rows],
        cutoff=matrix.cutoff[rows],
        columns={name: column[rows] for name, column in matrix.columns.items()},
        values={name: values[rows] for name, values in matrix.values.items()},
        eligible={name: mask[rows] for name, mask in matrix.eligible.items()},
        worth={name: worth[rows] for name, worth in matrix.worth.items()},
        sequences=tuple(each.some(rows) for each in matrix.sequences),
        graphs=tuple(nodes.some(rows) for nodes in matrix.graphs),
        texts=tuple(each.some(rows) for each in matrix.texts),
        images=tuple(each.some(rows) for each in matrix.images),
        protected={name: groups[rows] for name, groups in matrix.protected.items()},
        unit=None if matrix.unit is None else matrix.unit[rows],
        cluster=None if matrix.cluster is None else matrix.cluster[rows],
    )
