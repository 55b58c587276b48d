"""The guard against rows unlike anything in training (open-set recognition).

A row is as far from training as its k-th nearest training row (Sun et al. 2022, out-of-distribution detection
with deep nearest neighbours), looked at twice: in its words, as hashed TF-IDF vectors of length 1, where a
word that no training row has lies far from all; and in its numbers, standardised. A model cannot be asked:
whatever it is shown, it knows nothing but its own classes, and may be sure of one of them.

Training rows are what is near; the distances beyond which a row is unlike are quantiles over validation rows,
which no label is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from toolkit.config.triage import Unlike
from toolkit.errors import ConfigError
from toolkit.modalities import Column, Modalities, Texts

if TYPE_CHECKING:
    from scipy.sparse import csr_array

PLACES = 1 << 16  # of hashed words
WORD = r"(?u)\b[^\W\d_]{2,}\b"  # letters only: numbers differ from row to row whatever it is about
FAR = 6.0  # standard deviations that a number counts at most: one wild cell is no new kind of row
CHUNK = 512  # rows whose distances are held at once


def word_counts(texts: Sequence[Texts]) -> csr_array:
    """Words of all texts of each row, hashed: float32 [rows, PLACES], ln(1 + times)."""
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(
        n_features=PLACES, alternate_sign=False, norm=None, token_pattern=WORD, dtype=np.float32
    )
    joined = ["\n".join(filter(None, parts)) for parts in zip(*(one.text for one in texts), strict=True)]
    found = csr_array(hashing.transform(joined))
    found.data = np.log1p(found.data)
    return found


@dataclass(frozen=True)
class Words:
    """The words of training rows. idf: float32 [PLACES]; rows: float32 [kept, PLACES], each of length 1."""

    idf: np.ndarray
    rows: csr_array

    @classmethod
    def fit(cls, texts: Sequence[Texts], kept: np.ndarray) -> Words:
        """Weights from all training rows, as scikit-learn's smooth idf; kept: positions of those that stay."""
        counts = word_counts(texts)
        having = np.bincount(counts.indices, minlength=PLACES)
        idf = (np.log((1 + counts.shape[0]) / (1 + having)) + 1).astype(np.float32)
        return cls(idf, _unit(counts[kept], idf))

    def distance(self, texts: Sequence[Texts], k: int) -> np.ndarray:
        """1 − the cosine to the k-th nearest kept row [rows]; 1 for a row without a word."""
        asked = _unit(word_counts(texts), self.idf)
        out = np.ones(asked.shape[0], np.float32)
        for start in range(0, len(out), CHUNK):
            near = (asked[start : start + CHUNK] @ self.rows.T).toarray()
            out[start : start + CHUNK] = 1 - np.partition(near, -k, axis=1)[:, -k]
        return out


def _unit(counts: csr_array, idf: np.ndarray) -> csr_array:
    """Weighed and of length 1 (or 0)."""
    weighed = counts.copy()
    weighed.data = weighed.data * idf[weighed.indices]
    length = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
    length[length == 0] = 1
    weighed.data /= np.repeat(length, np.diff(weighed.indptr)).astype(np.float32)
    return weighed


@dataclass(frozen=True)
class Numbers:
    """The numbers of training rows. columns: [used] positions; centre, spread: [used]; rows: float32 [kept, used]."""

    columns: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    rows: np.ndarray

    @classmethod
    def fit(cls, X: np.ndarray, columns: Sequence[Column], kept: np.ndarray) -> Numbers:
        """Numeric columns that vary; their median, and the deviation of all but the outermost hundredths."""
        numeric = np.array([i for i, one in enumerate(columns) if one.kind == "numeric"], np.intp)
        known = numeric[~np.isnan(X[:, numeric]).all(axis=0)]
        # NumPy gives no rows at all for no columns: rows of texts alone
        low, centre, high = np.nanpercentile(X[:, known], [1, 50, 99], axis=0).reshape(3, len(known))
        spread = np.nanstd(np.clip(X[:, known], low, high), axis=0)
        able = spread > 0
        made = cls(known[able], centre[able], spread[able], np.zeros((0, int(able.sum())), np.float32))
        return cls(made.columns, made.centre, made.spread, made.scaled(X[kept]))

    def scaled(self, X: np.ndarray) -> np.ndarray:
        """float32 [rows, used]; a missing number is the usual one."""
        scaled = (X[:, self.columns] - self.centre) / self.spread
        return np.clip(np.nan_to_num(scaled, nan=0.0), -FAR, FAR).astype(np.float32)

    def distance(self, X: np.ndarray, k: int) -> np.ndarray:
        """Root mean squared difference to the k-th nearest kept row [rows], whatever rows are asked with it."""
        from scipy.spatial.distance import cdist

        asked = self.scaled(X)
        out = np.empty(len(asked), np.float32)
        for start in range(0, len(out), CHUNK):
            # Pair by pair: as a product of matrices, a copy of a row would lie as far as rounding happens to say.
            apart = cdist(asked[start : start + CHUNK], self.rows)
            out[start : start + CHUNK] = np.partition(apart, k - 1, axis=1)[:, k - 1]
        return out / np.float32(np.sqrt(max(len(self.columns), 1)))


@dataclass(frozen=True)
class Guard:
    """A fitted guard. limits: by space (`words`, `numbers`) the distance beyond which a row is unlike."""

    neighbours: int
    words: Words | None
    numbers: Numbers | None
    limits: dict[str, float]

    @classmethod
    def fit(
        cls, node: Unlike, columns: Sequence[Column], train: tuple[np.ndarray, Modalities, np.ndarray],
        valid: tuple[np.ndarray, Modalities], seed: int,
    ) -> Guard:  # fmt: skip
        """train: X [rows, columns], modalities and class codes [rows] of training rows; valid: of validation rows.

        Each space gets its share of the alarms, so that no more validation rows than `alarms` are unlike in any.
        Raises ConfigError where rows have neither texts nor numbers.
        """
        X, besides, y = train
        kept = _shared_out(y, node.rows, seed)
        words = Words.fit(besides.texts, kept) if besides.texts else None
        numbers = Numbers.fit(X, columns, kept)
        found = cls(min(node.neighbours, len(kept)), words, numbers if len(numbers.columns) else None, {})
        apart = found.distances(*valid)
        if not apart:
            raise ConfigError(
                "rows have neither texts nor numbers by which they could be unlike others",
                where="triage.unlike",
                fix="a feature set of kind raw_text or attributes, or `unlike: null`",
            )
        at = 1 - node.alarms / len(apart)
        limits = {
            name: float(np.quantile(each, at, method="higher")) if len(each) else float("inf")
            for name, each in apart.items()
        }
        return cls(found.neighbours, found.words, found.numbers, limits)

    def distances(self, X: np.ndarray, modalities: Modalities) -> dict[str, np.ndarray]:
        """Space → how far each row is from training rows [rows]."""
        found = {}
        if self.words is not None:
            found["words"] = self.words.distance(modalities.texts, self.neighbours)
        if self.numbers is not None:
            found["numbers"] = self.numbers.distance(X, self.neighbours)
        return found

    def unlike(self, X: np.ndarray, modalities: Modalities) -> dict[str, np.ndarray]:
        """Space → whether each row lies beyond its limit [rows]."""
        return {name: far > self.limits[name] for name, far in self.distances(X, modalities).items()}

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All of it."""
        found: dict[str, np.ndarray] = {"neighbours": np.array([self.neighbours])}
        found |= {f"limit {name}": np.array([limit]) for name, limit in self.limits.items()}
        if self.words is not None:
            rows = self.words.rows
            found |= {"idf": self.words.idf, "data": rows.data, "indices": rows.indices.astype(np.int32)}
            found["indptr"] = rows.indptr.astype(np.int64)
        if self.numbers is not None:
            found |= {f"numbers {name}": array for name, array in vars(self.numbers).items()}
        return found

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """What `to_arrays` gave. Raises KeyError, TypeError or ValueError for anything else."""
        from scipy.sparse import csr_array

        words, numbers = None, None
        if "idf" in arrays:
            parts = (arrays["data"], arrays["indices"], arrays["indptr"])
            rows = csr_array(parts, shape=(len(arrays["indptr"]) - 1, PLACES))
            rows.check_format()
            words = Words(arrays["idf"], rows)
        prefix = "numbers "
        if its := {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}:
            numbers = Numbers(**its)
        limits = {n.removeprefix("limit "): float(a[0]) for n, a in arrays.items() if n.startswith("limit ")}
        return cls(int(arrays["neighbours"][0]), words, numbers, limits)


def _shared_out(y: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Positions of at most so many rows, in order: of each class as many, of a rare one all. y: NaN has no label."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    if len(y) <= most:
        return np.arange(len(y))
    place: Counter[Any] = Counter()
    turn = np.empty(len(y), np.intp)
    for row in order:
        label = -1 if np.isnan(y[row]) else int(y[row])
        turn[row] = place[label]
        place[label] += 1
    return np.sort(np.lexsort((np.argsort(order), turn))[:most])
