"""What is learnt from training rows before the network: scales, which modalities there are, target units.

Numbers become normal scores: the value's rank among training values, as a quantile of the standard normal
distribution, and in between by straight lines (the "quantile normalisation" of Gorishniy et al. 2021).
Nothing lies far out, however heavy a column's tails; missing is 0, the median, and marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from toolkit.modalities import Column, Graph, Images, Sequences

_SAMPLE = 200_000  # values of a column that its ranks are taken from, evenly spaced
_KNOTS = 160
_MOST = 10  # a value shared by more than this part of the rows counts as such a part
_HOT = 32  # levels of a node's category that have a channel of their own: the most frequent ones


@dataclass(frozen=True)
class Numbers:
    """Numeric columns as normal scores, then an indicator for each that had gaps in training.

    at: int64 [columns] positions in the input; knots, scores: float32 [columns, most knots], knots ascending
    and followed by infinities; gaps: int64 [indicators] positions among `at`.
    """

    at: np.ndarray
    knots: np.ndarray
    scores: np.ndarray
    gaps: np.ndarray

    @classmethod
    def fit(cls, X: np.ndarray, at: Sequence[int], scaled: Sequence[int] = ()) -> Numbers:
        """X: float32 [training rows, input columns], NaN missing; scaled: those of `at` that stay as they are."""
        kept = {*scaled}
        pairs = [_AS_IT_IS if one in kept else _ranked(X[:, one]) for one in at]
        most = max((len(knots) for knots, _ in pairs), default=1)
        knots = np.full((len(pairs), most), np.inf, np.float32)
        scores = np.zeros((len(pairs), most), np.float32)
        for row, (values, ranks) in enumerate(pairs):
            knots[row, : len(values)] = values
            scores[row, : len(values)], scores[row, len(values) :] = ranks, ranks[-1]
        gaps = []
        before = np.zeros(len(X), bool)
        for column, one in enumerate(at):
            gone = np.isnan(X[:, one])
            told = one in kept and np.array_equal(
                gone, before
            )  # a text is missing in all its columns at once
            if gone.any() and not gone.all() and not told:
                gaps.append(column)
            before = gone
        return cls(np.array(at, np.int64), knots, scores, np.array(gaps, np.int64))

    @property
    def width(self) -> int:
        return len(self.at) + len(self.gaps)

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """float32 [rows, columns + indicators]."""
        out = np.empty((len(X), self.width), np.float32)
        for column, at in enumerate(self.at):
            real = int(np.isfinite(self.knots[column]).sum())
            values = np.interp(X[:, at], self.knots[column, :real], self.scores[column, :real])
            out[:, column] = np.nan_to_num(values, nan=0.0)
        for number, column in enumerate(self.gaps):
            out[:, len(self.at) + number] = np.isnan(X[:, self.at[column]])
        return out

    def names(self, columns: Sequence[str]) -> list[str]:
        """Of what it gives; columns: names of the input's columns."""
        own = [columns[one] for one in self.at]
        return own + [f"{own[one]} (missing)" for one in self.gaps]


_AS_IT_IS = (np.array([-1, 1], np.float32), np.array([-1, 1], np.float32))  # a straight line


def _ranked(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots and their normal scores; equal values share the middle of their ranks."""
    from scipy.special import ndtr, ndtri

    seen = x[~np.isnan(x)]
    if not len(seen):
        return np.zeros(1, np.float32), np.zeros(1, np.float32)
    values, counts = np.unique(seen[:: -(-len(seen) // _SAMPLE)], return_counts=True)
    # A value that very many share counts as a tenth: else zeros would push all others into the tail.
    through = np.cumsum(np.minimum(counts, max(counts.sum() / _MOST, 1)))
    ranks = (through + np.r_[0.0, through[:-1]]) / (2 * through[-1])
    # Half of the knots evenly in ranks, half evenly in scores, which is where the tails are.
    levels = np.union1d(np.linspace(0, 1, _KNOTS // 2), ndtr(np.linspace(-4.5, 4.5, _KNOTS // 2)))
    chosen = np.unique(np.searchsorted(ranks, levels).clip(max=len(values) - 1))
    return values[chosen], ndtri(ranks[chosen])


@dataclass(frozen=True)
class ScaledEvents:
    """One set of sequences. channels, categorical: names, to tell foreign input; levels: per categorical channel."""

    name: str
    channels: tuple[str, ...]
    categorical: tuple[str, ...]
    levels: tuple[int, ...]
    numbers: Numbers

    @classmethod
    def fit(cls, sequences: Sequences) -> ScaledEvents:
        """Of the training rows."""
        return cls(
            sequences.name,
            tuple(sequences.channels),
            tuple(name for name, _ in sequences.categorical),
            tuple(len(levels) for _, levels in sequences.categorical),
            Numbers.fit(sequences.numeric, range(len(sequences.channels))),
        )


@dataclass(frozen=True)
class ScaledNodes:
    """The graph's nodes. A node's number of neighbours, per relation, is a feature like those it has.

    hot: (position, levels) of each categorical feature.
    """

    name: str
    features: tuple[str, ...]
    relations: tuple[str, ...]
    hot: tuple[tuple[int, int], ...]
    numbers: Numbers

    @classmethod
    def fit(cls, graph: Graph) -> ScaledNodes:
        """Of the nodes of the training rows, and no others: some of those are known only later."""
        numeric = [at for at, feature in enumerate(graph.features) if feature.kind == "numeric"]
        degrees = [len(graph.features) + number for number in range(len(graph.relations))]
        return cls(
            graph.name,
            tuple(feature.name for feature in graph.features),
            tuple(graph.relations),
            tuple(
                (at, min(len(feature.levels), _HOT))
                for at, feature in enumerate(graph.features)
                if feature.kind == "categorical"
            ),
            Numbers.fit(
                _with_degrees(graph, np.unique(graph.row_node)),
                numeric + degrees,
                [at for at in numeric if graph.features[at].scaled],
            ),
        )

    @property
    def width(self) -> int:
        """Channels of a node: scores and indicators, then per category one per level and one for missing."""
        return self.numbers.width + sum(levels + 1 for _, levels in self.hot)

    def __call__(self, graph: Graph, nodes: np.ndarray) -> np.ndarray:
        """float32 [nodes, width], of some nodes."""
        X = _with_degrees(graph, nodes)
        hot = []
        for at, levels in self.hot:
            code = np.nan_to_num(X[:, at], nan=-1.0).astype(np.int64)
            hot.append(code[:, None] == np.r_[0:levels, -1])
        return np.column_stack([self.numbers(X), *hot]).astype(np.float32, copy=False)


def _with_degrees(graph: Graph, nodes: np.ndarray) -> np.ndarray:
    """Features of some nodes, then how many they hear from in each relation: [nodes, features + relations]."""
    degrees = [relation.indptr[nodes + 1] - relation.indptr[nodes] for relation in graph.relations.values()]
    return np.column_stack([graph.X[nodes], *degrees]).astype(np.float32, copy=False)


@dataclass(frozen=True)
class ScaledImages:
    """One set of pictures, which stay as they are. height, width: pixels, to tell foreign input."""

    name: str
    height: int
    width: int

    @classmethod
    def fit(cls, images: Images) -> ScaledImages:
        """Of the training rows."""
        return cls(images.name, *images.pixels.shape[1:])


@dataclass(frozen=True)
class Scaling:
    """What each modality in use is scaled by; None and () where there is no such branch.

    columns: input columns; codes: positions of the categorical ones, levels: of each.
    """

    columns: int
    numbers: Numbers | None = None
    codes: tuple[int, ...] = ()
    levels: tuple[int, ...] = ()
    events: tuple[ScaledEvents, ...] = ()
    nodes: ScaledNodes | None = None
    images: tuple[ScaledImages, ...] = ()

    def arrays(self) -> dict[str, np.ndarray]:
        """All of `Numbers`, for a safetensors file; `facts` has the rest."""
        return {
            f"{place}.{name}": getattr(numbers, name)
            for place, numbers in self._numbers().items()
            for name in ("at", "knots", "scores", "gaps")
        }

    def facts(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            "columns": self.columns,
            "tabular": self.numbers is not None,
            "codes": self.codes,
            "levels": self.levels,
            "events": [
                {
                    "name": one.name,
                    "channels": one.channels,
                    "categorical": one.categorical,
                    "levels": one.levels,
                }
                for one in self.events
            ],
            "nodes": self.nodes
            and {
                "name": self.nodes.name,
                "features": self.nodes.features,
                "relations": self.nodes.relations,
                "hot": self.nodes.hot,
            },
            "images": [asdict(one) for one in self.images],
        }

    def _numbers(self) -> dict[str, Numbers]:
        found = {f"events.{number}": one.numbers for number, one in enumerate(self.events)}
        if self.numbers is not None:
            found["tabular"] = self.numbers
        if self.nodes is not None:
            found["nodes"] = self.nodes.numbers
        return found

    @classmethod
    def read(cls, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> Scaling:
        """What `facts` and `arrays` gave. KeyError, TypeError or ValueError if it is something else."""

        def numbers(place: str) -> Numbers:
            return Numbers(*(arrays[f"{place}.{name}"] for name in ("at", "knots", "scores", "gaps")))

        nodes = facts["nodes"]
        return cls(
            int(facts["columns"]),
            numbers("tabular") if facts["tabular"] else None,
            tuple(facts["codes"]),
            tuple(facts["levels"]),
            tuple(
                ScaledEvents(
                    one["name"],
                    tuple(one["channels"]),
                    tuple(one["categorical"]),
                    tuple(one["levels"]),
                    numbers(f"events.{number}"),
                )
                for number, one in enumerate(facts["events"])
            ),
            nodes
            and ScaledNodes(
                nodes["name"],
                tuple(nodes["features"]),
                tuple(nodes["relations"]),
                tuple((int(at), int(levels)) for at, levels in nodes["hot"]),
                numbers("nodes"),
            ),
            tuple(
                ScaledImages(one["name"], int(one["height"]), int(one["width"]))
                for one in facts.get("images", ())
            ),
        )


def tabular(columns: Sequence[Column], X: np.ndarray) -> tuple[Numbers, tuple[int, ...], tuple[int, ...]]:
    """Scales of the numeric columns; positions of the categorical ones, and their numbers of levels."""
    numeric = [at for at, column in enumerate(columns) if column.kind == "numeric"]
    codes = tuple(at for at, column in enumerate(columns) if column.kind == "categorical")
    scaled = [at for at in numeric if columns[at].scaled]
    return Numbers.fit(X, numeric, scaled), codes, tuple(len(columns[at].levels) for at in codes)
