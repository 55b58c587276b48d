"""What a row has besides the design matrix: events in order, a place in a graph of relations, texts, pictures.

Plain arrays, made by `prepare`, encoded by `models.encode`, read by models. Neither knows the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Column:
    """One feature. levels: the texts behind a categorical column's codes, in the codes' order.

    scaled: a number between -1 and 1 that stands on one scale with its neighbours, such as a hashed word:
    models that scale columns leave it as it is.
    """

    name: str
    kind: Literal["numeric", "categorical"] = "numeric"
    levels: tuple[str, ...] = ()
    scaled: bool = False


def _ragged(offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets of some rows (positions) of a ragged array by themselves [rows + 1], and the places of their items."""
    lengths = np.diff(offsets)[rows]
    own = np.concatenate([[0], np.cumsum(lengths)])
    return own, np.repeat(offsets[rows] - own[:-1], lengths) + np.arange(own[-1])


@dataclass(frozen=True)
class Sequences:
    """The last events of each row before its cutoff, ragged: row i has `offsets[i]:offsets[i + 1]`, oldest first.

    offsets: int64 [rows + 1]; numeric: float32 [events, channels], NaN is missing; codes: int32
    [events, categorical], -1 is missing; channels: names of the numeric ones; categorical: (name, levels).
    """

    name: str
    offsets: np.ndarray
    numeric: np.ndarray
    codes: np.ndarray
    channels: tuple[str, ...]
    categorical: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Events of each row: int64 [rows]."""
        return np.diff(self.offsets)

    def some(self, rows: np.ndarray) -> Sequences:
        """The sequences of some rows (positions)."""
        offsets, events = _ragged(self.offsets, rows)
        return replace(self, offsets=offsets, numeric=self.numeric[events], codes=self.codes[events])


@dataclass(frozen=True)
class Relation:
    """Edges of one type as compressed rows: node i hears from `indices[indptr[i]:indptr[i + 1]]`.

    indptr: int64 [nodes + 1]; indices: int64 [edges]; weight: float32 [edges].
    """

    indptr: np.ndarray
    indices: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Nodes:
    """A graph as prepared. A node is an entity at a cutoff; features are not encoded yet.

    columns: feature → float32 [nodes] or pandas Categorical [nodes]; row_node: int64 [rows], the node of each
    row; relations: type → edges known at the cutoff, never between cutoffs; dropped: type → edges that
    pointed to unknown entities.
    """

    name: str
    columns: Mapping[str, Any]
    row_node: np.ndarray
    relations: Mapping[str, Relation]
    dropped: Mapping[str, int] = field(default_factory=dict)

    def some(self, rows: np.ndarray) -> Nodes:
        """The same graph, for some rows (positions)."""
        return replace(self, row_node=self.row_node[rows])


@dataclass(frozen=True)
class Graph:
    """A graph as models see it.

    X: float32 [nodes, features], NaN is missing, a categorical feature holds codes; features: its columns;
    row_node: int64 [rows]; relations: as in `Nodes`.
    """

    name: str
    X: np.ndarray
    features: tuple[Column, ...]
    row_node: np.ndarray
    relations: Mapping[str, Relation]

    def some(self, rows: np.ndarray) -> Graph:
        """The same graph, for some rows (positions)."""
        return replace(self, row_node=self.row_node[rows])


@dataclass(frozen=True)
class Texts:
    """The text of each row as it stands; a model that reads it learns its words from its own training rows.

    text: object [rows], a str, or None where there is none.
    """

    name: str
    text: np.ndarray

    def __len__(self) -> int:
        return len(self.text)

    def some(self, rows: np.ndarray) -> Texts:
        """Those of some rows (positions)."""
        return replace(self, text=self.text[rows])


@dataclass(frozen=True)
class Images:
    """Pictures of each row, ragged: row i has `offsets[i]:offsets[i + 1]`, in order.

    offsets: int64 [rows + 1]; pixels: uint8 [images, height, width], 255 is white.
    """

    name: str
    offsets: np.ndarray
    pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Pictures of each row: int64 [rows]."""
        return np.diff(self.offsets)

    def some(self, rows: np.ndarray) -> Images:
        """Those of some rows (positions)."""
        offsets, shown = _ragged(self.offsets, rows)
        return replace(self, offsets=offsets, pixels=self.pixels[shown])


@dataclass(frozen=True)
class Modalities:
    """What rows have besides X. Everything in it has as many rows as X."""

    sequences: tuple[Sequences, ...] = ()
    graphs: tuple[Graph, ...] = ()
    texts: tuple[Texts, ...] = ()
    images: tuple[Images, ...] = ()

    @property
    def all(self) -> tuple[Sequences | Graph | Texts | Images, ...]:
        """Each of them."""
        return (*self.sequences, *self.graphs, *self.texts, *self.images)

    def some(self, rows: np.ndarray) -> Modalities:
        """Those of some rows (positions)."""
        return self.dealt([rows] * len(self.all))

    def dealt(self, rows: Sequence[np.ndarray]) -> Modalities:
        """Of each modality, in the order of `all`, those of rows of its own (positions)."""
        places = iter(rows)
        return Modalities(
            tuple(each.some(next(places)) for each in self.sequences),
            tuple(each.some(next(places)) for each in self.graphs),
            tuple(each.some(next(places)) for each in self.texts),
            tuple(each.some(next(places)) for each in self.images),
        )


NOTHING = Modalities()
