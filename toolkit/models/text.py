"""What models make of texts: words and runs of words, weighed by TF-IDF, and what is left of them by an SVD.

    vectors, matrix = TextVectors.fit(Tfidf(), train.modalities.texts)   # of a fit's own training rows
    vectors.matrix(modalities)                                           # float64 [rows, words], sparse

The words and their weights are learnt from the training rows of that fit, so that a fold knows no word of the
rows that it predicts. scikit-learn's `TfidfVectorizer` reads the texts (words of two letters and more, in small
letters; weights of length 1); kept are its words and weights, as JSON and safetensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from toolkit.bundle.files import read_arrays, read_json, write_arrays, write_json
from toolkit.config.node import Node
from toolkit.errors import BundleError, DataError
from toolkit.modalities import Modalities, Texts

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_WORDS, _ARRAYS = "words.json", "words.safetensors"
_KEPT = 10_000  # texts whose vectors are kept, for whoever asks again: explaining shuffles the same ones


class Characters(Node):
    """Runs of characters inside words, which survive misreadings that whole words do not."""

    shortest: int = Field(3, ge=1, le=10, description="characters")
    longest: int = Field(5, ge=1, le=10, description="characters")
    size: int | None = Field(
        5_000, ge=1, description="so many, the most frequent in training rows; null: all of them"
    )

    @model_validator(mode="after")
    def from_short_to_long(self) -> Self:
        if self.shortest > self.longest:
            raise ValueError(f"`shortest` ({self.shortest}) is above `longest` ({self.longest})")
        return self


class Tfidf(Node):
    """How texts become numbers: which words count, and how much."""

    size: int | None = Field(
        50_000, ge=1, description="so many words and runs, the most frequent in training rows; null: all"
    )
    ngrams: int = Field(1, ge=1, le=5, description="1: words; 2: pairs of neighbours too; 3: runs of three …")
    min_df: int = Field(1, ge=1, description="training rows that a word must occur in to count")
    sublinear: bool = Field(True, description="a word said n times counts 1 + ln n times, not n times")
    stop_words: Literal["none", "english"] = Field(
        "none", description="english: leave out scikit-learn's list of common words"
    )
    characters: Characters | None = Field(
        None, description="runs of characters beside the words, weighed by themselves; null: none"
    )


@dataclass(frozen=True)
class _Block:
    """One way of cutting one text up. text: its name; terms: [terms], in order; idf: float64 [terms]."""

    text: str
    kind: str
    terms: tuple[str, ...]
    idf: np.ndarray


@dataclass(frozen=True)
class TextVectors:
    """The fitted words of all texts of a recipe, text by text, words before runs of characters."""

    settings: Tfidf
    blocks: tuple[_Block, ...]
    _memo: list[_Memo] = field(default_factory=list, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._memo.extend(_Memo(_restored(self.settings, block)) for block in self.blocks)

    @classmethod
    def fit(cls, settings: Tfidf, texts: Sequence[Texts]) -> tuple[TextVectors, csr_array]:
        """Learn the words of training rows. Returns also their vectors, float64 [rows, words].

        Raises DataError where a recipe has no text, or no training row a word.
        """
        require_texts(texts)
        blocks = []
        for text in texts:
            read = _strings(text)
            for kind in _kinds(settings):
                vectorizer = _vectorizer(settings, kind)
                try:
                    vectorizer.fit(read)
                except ValueError as error:  # no word at all, or none as frequent as asked
                    raise DataError(
                        f"no training row of `{text.name}` has a word to learn from",
                        where=f"features.{text.name}",
                        why=str(error),
                        fix="look at the column's texts, or lower `min_df`",
                    ) from None
                terms = tuple(str(term) for term in vectorizer.get_feature_names_out())
                blocks.append(_Block(text.name, kind, terms, vectorizer.idf_))
        vectors = cls(settings, tuple(blocks))
        return vectors, vectors.matrix(Modalities(texts=tuple(texts)))

    @property
    def names(self) -> list[str]:
        """The texts that are read."""
        return list(dict.fromkeys(block.text for block in self.blocks))

    @property
    def width(self) -> int:
        return sum(len(block.terms) for block in self.blocks)

    def terms(self) -> list[tuple[str, str, str]]:
        """[width] the text's name, `words` or `characters`, and the term."""
        return [(block.text, block.kind, term) for block in self.blocks for term in block.terms]

    def matrix(self, modalities: Modalities) -> csr_array:
        """float64 [rows, width]; a row without a text, or without a known word, is all 0."""
        from scipy.sparse import csr_array, hstack

        read = {text.name: _strings(text) for text in modalities.texts}
        if missing := [name for name in self.names if name not in read]:
            raise DataError(
                f"the model reads the text `{missing[0]}`, which these rows do not have",
                where=f"features.{missing[0]}",
                fix="give the rows with the texts that the model was fitted on",
            )
        parts = [memo.of(read[block.text]) for block, memo in zip(self.blocks, self._memo, strict=True)]
        return parts[0] if len(parts) == 1 else csr_array(hstack(parts, format="csr"))

    def arrays(self) -> dict[str, np.ndarray]:
        """All that is fitted: the weights, and the terms as bytes."""
        found = {}
        for number, block in enumerate(self.blocks):
            found[f"idf {number}"] = block.idf
            found[f"terms {number}"] = np.frombuffer("\n".join(block.terms).encode(), np.uint8)
        return found

    def save(self, folder: Path) -> None:
        facts = [{"text": b.text, "kind": b.kind, "terms": list(b.terms)} for b in self.blocks]
        write_json(folder / _WORDS, facts)
        write_arrays(folder / _ARRAYS, {f"idf {number}": b.idf for number, b in enumerate(self.blocks)})

    @classmethod
    def load(cls, settings: Tfidf, folder: Path) -> TextVectors:
        """Read what `save` wrote. Raises BundleError for what it cannot have written."""
        path = folder / _WORDS
        facts, arrays = read_json(path), read_arrays(folder / _ARRAYS)
        try:
            blocks = tuple(
                _Block(_text(one["text"]), _text(one["kind"]), tuple(map(_text, one["terms"])), arrays[f"idf {number}"])
                for number, one in enumerate(facts)
            )  # fmt: skip
            kinds = _kinds(settings)
            if not blocks or [b.kind for b in blocks] != kinds * (len(blocks) // len(kinds)):
                raise ValueError("its parts are not those that its settings make")
            for block in blocks:
                if block.idf.shape != (len(set(block.terms)),) or not np.isfinite(block.idf).all():
                    raise ValueError("terms and weights do not go together")
                if not block.terms or len(set(block.terms)) < len(block.terms):
                    raise ValueError("a term is given twice, or there is none")
        except (KeyError, TypeError, ValueError) as error:
            raise unreadable(path, "the words of a text", error) from error
        return cls(settings, blocks)


@dataclass(frozen=True)
class Reduced:
    """Texts as a few numbers: the strongest directions of their TF-IDF vectors (Deerwester et al. 1990, LSA).

    components: float32 [size, words].
    """

    vectors: TextVectors
    components: np.ndarray

    @classmethod
    def fit(cls, settings: Tfidf, size: int, texts: Sequence[Texts], seed: int) -> Reduced:
        """At most `size` directions: no more than there are words, or training rows."""
        from sklearn.decomposition import TruncatedSVD

        vectors, matrix = TextVectors.fit(settings, texts)
        svd = TruncatedSVD(min(size, *matrix.shape), random_state=seed)
        svd.fit(matrix)
        return cls(vectors, svd.components_.astype(np.float32))

    @property
    def size(self) -> int:
        return len(self.components)

    def told(self) -> str:
        """What became of the texts, in words."""
        return f"{self.size:,} directions of {self.vectors.width:,} words and runs, learnt from training rows"

    def matrix(self, modalities: Modalities) -> np.ndarray:
        """float32 [rows, size]."""
        return (self.vectors.matrix(modalities) @ self._directions).astype(np.float32)

    @cached_property
    def _directions(self) -> np.ndarray:
        """float64 [words, size], as it is multiplied by."""
        return np.ascontiguousarray(self.components.T, np.float64)

    def arrays(self) -> dict[str, np.ndarray]:
        """All that is fitted."""
        return self.vectors.arrays() | {"components": self.components}

    def save(self, folder: Path) -> None:
        self.vectors.save(folder)
        write_arrays(folder / "directions.safetensors", {"components": self.components})

    @classmethod
    def load(cls, settings: Tfidf, folder: Path) -> Reduced:
        vectors, path = TextVectors.load(settings, folder), folder / "directions.safetensors"
        components = read_arrays(path).get("components")
        if components is None or components.ndim != 2 or components.shape[1] != vectors.width:
            raise unreadable(path, "directions of these words", ValueError("its shape is another one"))
        return cls(vectors, components)


def require_texts(texts: Sequence[Texts]) -> None:
    """DataError if there is no text to read."""
    if not texts:
        raise DataError(
            "the model reads texts, and the recipe has none",
            where="features",
            fix="add a feature set: {kind: raw_text, table: …, column: …}, or use a model of columns",
        )


def without_text(texts: Sequence[Texts]) -> list[str]:
    """Notes on training rows that have no text."""
    found = []
    for text in texts:
        blank = sum(not one.strip() for one in _strings(text))
        if blank:
            found.append(
                f"{blank:,} of {len(text):,} training rows have no text in `{text.name}`: "
                "such a row is scored as one without any known word"
            )
    return found


def unreadable(path: Path, what: str, error: Exception) -> BundleError:
    return BundleError(
        f"`{path.name}` does not hold {what}, of a model of this version",
        where=str(path),
        why=f"{type(error).__name__}: {error}",
        fix="install the toolkit version that wrote the bundle, or fit the model again",
    )


class _Memo:
    """Vectors of the texts that were asked for last; a text's vector does not depend on the texts beside it."""

    def __init__(self, make: Callable[[list[str]], csr_array]) -> None:
        self._make = make
        self._known: tuple[dict[str, int], Any] = ({}, None)

    def of(self, texts: list[str]) -> csr_array:
        from scipy.sparse import csr_array, vstack

        place, rows = self._known
        new = list(dict.fromkeys(text for text in texts if text not in place))
        if rows is None or len(place) + len(new) > _KEPT:
            new, place, rows = list(dict.fromkeys(texts)), {}, None
        if new or rows is None:
            more = self._make(new or [""])
            rows = more if rows is None else csr_array(vstack([rows, more], format="csr"))
            place = place | {text: len(place) + number for number, text in enumerate(new)}
            if len(place) <= _KEPT:
                self._known = (place, rows)
        return rows[np.array([place[text] for text in texts], np.int64)]


def _kinds(settings: Tfidf) -> list[str]:
    return ["words", *(["characters"] if settings.characters else [])]


def _vectorizer(settings: Tfidf, kind: str, **more: Any) -> Any:
    """scikit-learn's, not fitted."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    if kind == "characters":
        runs = settings.characters or Characters()
        more |= {
            "analyzer": "char_wb",
            "ngram_range": (runs.shortest, runs.longest),
            "max_features": runs.size,
        }
    else:
        stop = None if settings.stop_words == "none" else settings.stop_words
        more |= {"ngram_range": (1, settings.ngrams), "max_features": settings.size, "stop_words": stop}
    return TfidfVectorizer(min_df=settings.min_df, sublinear_tf=settings.sublinear, **more)


def _restored(settings: Tfidf, block: _Block) -> Callable[[list[str]], csr_array]:
    """What turns texts into vectors [rows, terms], of a fitted or a loaded block alike."""
    from scipy.sparse import csr_array

    vectorizer = _vectorizer(settings, block.kind, vocabulary={term: n for n, term in enumerate(block.terms)})
    vectorizer.idf_ = block.idf

    def make(texts: list[str]) -> csr_array:
        found = csr_array(vectorizer.transform(texts))
        found.sort_indices()
        return found

    return make


def _strings(text: Texts) -> list[str]:
    return [one if one is not None else "" for one in text.text.tolist()]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
