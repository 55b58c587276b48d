"""A linear model of texts: TF-IDF, then a linear SVM or logistic regression; ridge for a number.

An SVM has margins, no probabilities. They are made of margins that are fitted out of fold on training rows:
for yes or no by Platt's sigmoid (1999), for classes by a softmax at one temperature, under which the class
decided is the SVM's own. Both are a factor and a constant, which go into the coefficients.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from toolkit.bundle.files import read_arrays, write_arrays
from toolkit.modalities import NOTHING, Modalities, Texts
from toolkit.models.design import Design
from toolkit.models.explain import Contributions, ExplainedOneByOne, Saying
from toolkit.models.interface import Column, Progress, Task, shares
from toolkit.models.one_by_one import Rows
from toolkit.models.text import TextVectors, Tfidf, unreadable, without_text
from toolkit.models.weights import ClassWeight, row_weights

_FILE = "linear.safetensors"
_CHUNK = 8_192  # rows predicted at a time
LEARNT = -1  # of rows that every fold learns from


class TfidfLinear(ExplainedOneByOne):
    """Words and runs of words of texts, weighed by TF-IDF, in a linear SVM or logistic regression."""

    kind: Literal["tfidf_linear"] = "tfidf_linear"
    text: Tfidf = Tfidf()
    classifier: Literal["logistic", "svm"] = Field(
        "logistic", description="logistic regression, or a linear SVM with probabilities fitted out of fold."
    )
    C: Annotated[float, Field(gt=0, le=1e8)] = Field(
        1.0, description="Inverse strength of the L2 penalty, as in scikit-learn (ridge: alpha = 1 / C)."
    )
    columns: bool = Field(
        False,
        description="Read the recipe's columns too: standardised, imputed and one-hot, together about as long "
        "as a text's vector.",
    )
    folds: int = Field(5, ge=2, le=20, description="SVM: parts of the training rows for the probabilities.")
    class_weight: ClassWeight = "none"
    max_iterations: int = Field(1_000, ge=1, le=100_000, description="Most steps of the solver.")

    @property
    def reads_more(self) -> bool:
        return True

    def fit_one(
        self,
        task: Task,
        columns: Sequence[Column],
        train: Rows,
        valid: Rows,
        *,
        seed: int,
        threads: int,
        progress: Progress | None,
    ) -> TfidfLinearFitted:
        from threadpoolctl import threadpool_limits

        texts = train.modalities.texts
        vectors, matrix = TextVectors.fit(self.text, texts)
        design = Design.fit(train.X, columns) if self.columns and columns else None
        if design is not None:
            matrix = _beside(matrix, design, train.X)
        notes = [f"reads {' and '.join(vectors.names)}: {vectors.width:,} words and runs of training rows"]
        notes += without_text(texts)
        with threadpool_limits(threads), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not converged is said in a note
            coef, intercept, steps = self._solve(task, matrix, train.y, seed)
            if task.type != "regression" and self.classifier == "svm":
                fold = _folds(train.y, texts, self.folds, seed)
                factor, constant, how = self._scale(task, matrix, train.y, fold, seed)
                coef, intercept = factor * coef, factor * intercept + constant
                notes.append(how)
        if steps is not None and steps >= self.max_iterations:
            notes.append(f"the solver stopped after its {steps} steps without converging")
        if progress:
            progress(task.name, 1, 1)
        center = np.asarray(matrix.mean(axis=0)).ravel()
        square = np.asarray(matrix.multiply(matrix).mean(axis=0)).ravel()
        spread = np.sqrt(np.maximum(square - center**2, 0.0))
        own = (coef, intercept, center, spread)
        return TfidfLinearFitted(task.type, len(columns), vectors, design, *own, steps, notes)

    def _solve(
        self, task: Task, matrix: Any, y: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray, int | None]:
        """Coefficients [1 or classes, width], intercepts [1 or classes] and the solver's steps."""
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.svm import LinearSVC

        if task.type == "regression":
            ridge = Ridge(alpha=1 / self.C, solver="sparse_cg", tol=1e-6, max_iter=self.max_iterations)
            ridge.fit(matrix, y)
            return np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_), None
        options = {"C": self.C, "max_iter": self.max_iterations, "random_state": seed}
        model: Any = LinearSVC(**options) if self.classifier == "svm" else LogisticRegression(**options)
        model.fit(matrix, y, sample_weight=row_weights(self.class_weight, task, y))
        return model.coef_, model.intercept_, int(np.max(model.n_iter_))

    def _scale(
        self, task: Task, matrix: Any, y: np.ndarray, fold: np.ndarray | None, seed: int
    ) -> tuple[float, float, str]:
        """What margins are multiplied by, and what is added, so that they are log-odds; and how it was found."""
        if fold is None:
            return 1.0, 0.0, "too few rows of some class to fit probabilities: margins count as log-odds"
        margins = np.zeros((len(y), len(task.classes) if task.type == "multiclass" else 1))
        asked = fold != LEARNT
        for number in np.unique(fold[asked]):
            rest, out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            coef, intercept, _ = self._solve(task, matrix[rest], y[rest], seed)
            margins[out] = _every_class(task, matrix[out] @ coef.T + intercept)
        margins, y = margins[asked], y[asked]
        rows = f"on margins of {len(y):,} training rows, out of fold"
        if task.type == "binary":
            factor, constant = _platt(margins[:, 0], y)
            return factor, constant, f"probabilities by a sigmoid fitted {rows}"
        factor = _temperature(margins, y)
        return factor, 0.0, f"probabilities by a softmax at temperature {1 / factor:.3g}, fitted {rows}"

    def load_one(
        self, folder: Path, task: Task, iterations: int | None, notes: list[str]
    ) -> TfidfLinearFitted:
        vectors, path = TextVectors.load(self.text, folder), folder / _FILE
        arrays = read_arrays(path)
        try:
            own = {name: arrays.pop(name) for name in ("coef", "intercept", "center", "spread")}
            width = int(arrays.pop("columns")[0])
            design = Design(**arrays) if arrays else None
            fitted = TfidfLinearFitted(
                task.type, width, vectors, design, **own, iterations=iterations, notes=notes
            )
            classes = len(task.classes) if task.type == "multiclass" else 1
            size = vectors.width + (0 if design is None else len(design.origin()))
            if fitted.coef.shape != (classes, size) or {fitted.center.shape, fitted.spread.shape} != {
                (size,)
            }:
                raise ValueError(f"{fitted.coef.shape} coefficients for {size} inputs")
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise unreadable(path, "a linear model of texts", error) from error
        return fitted


@dataclass
class TfidfLinearFitted:
    """columns: how many the rows have; design: what is made of them, None where they are not read.

    coef: [1 or classes, words + design columns]; intercept: [1 or classes]; center
    and spread: their means and standard deviations over training rows.
    """

    type: str
    columns: int
    vectors: TextVectors
    design: Design | None
    coef: np.ndarray
    intercept: np.ndarray
    center: np.ndarray
    spread: np.ndarray
    iterations: int | None
    notes: list[str]
    reads_more = True

    def __post_init__(self) -> None:
        # One memory layout, fitted or loaded: sums over another layout differ in the last digits.
        if self.type == "multiclass" and len(self.coef) == 1:
            # Two classes of many: one row tells the second from the first.
            self.coef = np.vstack([np.zeros_like(self.coef), self.coef])
            self.intercept = np.concatenate([np.zeros_like(self.intercept), self.intercept])
        self.coef = np.ascontiguousarray(self.coef, np.float64)

    def predict(self, X: np.ndarray, modalities: Modalities = NOTHING) -> np.ndarray:
        from scipy.special import expit, softmax

        score = self.score(X, modalities)
        if self.type == "multiclass":
            return softmax(score, axis=1)
        return score[:, 0] if self.type == "regression" else expit(score[:, 0])

    def score(self, X: np.ndarray, modalities: Modalities) -> np.ndarray:
        """[rows, 1 or classes] log-odds, raw scores of classes, or the value."""
        parts, modalities = [], Modalities(texts=modalities.texts)
        for start in range(0, max(len(X), 1), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, len(X)))
            parts.append(self._matrix(X[rows], modalities.some(rows)) @ self.coef.T + self.intercept)
        return np.concatenate(parts)

    def _matrix(self, X: np.ndarray, modalities: Modalities) -> Any:
        matrix = self.vectors.matrix(modalities)
        return matrix if self.design is None else _beside(matrix, self.design, X)

    def contributions(self, X: np.ndarray, modalities: Modalities = NOTHING) -> Contributions:
        """coef × (value − its training mean), summed over what a column became; texts are in each row's bias."""
        words = self.vectors.width
        score = self.score(X, modalities)
        values = np.zeros((len(X), self.columns, len(self.coef)))
        if self.design is not None:
            made = _dense(self.design.matrix(X)) * _share(self.design) - self.center[words:]
            for place, column in enumerate(self.design.origin()):
                values[:, column] += made[:, place, None] * self.coef[:, words + place]
        bias = score - values.sum(axis=1)
        if self.type == "multiclass":
            return Contributions(values, bias)
        return Contributions(values[:, :, 0], bias[:, 0])

    def importance(self) -> np.ndarray:
        """Of the columns; what the model leans on its texts is not among them."""
        if self.design is None:
            return np.zeros(self.columns)
        weight = (np.abs(self.coef).sum(axis=0) * self.spread)[self.vectors.width :]
        return shares(np.bincount(self.design.origin(), weight, minlength=self.columns))

    def said(self, modalities: Modalities, label: np.ndarray | None, most: int) -> list[list[Saying]]:
        """What each row's texts add, and the words of theirs that add most to it. label: as of `Explains`."""
        matrix, found = self.vectors.matrix(modalities), []
        terms, names = self.vectors.terms(), self.vectors.names
        owner = np.array([names.index(text) for text, _, _ in terms])
        words = self.vectors.width
        usual = np.stack(
            [np.bincount(owner, row, len(names)) for row in self.coef[:, :words] * self.center[:words]]
        )
        for row in range(matrix.shape[0]):
            k = 0 if label is None else int(label[row])
            places = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
            added = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]] * self.coef[k, places]
            each = []
            for number, name in enumerate(names):
                own = owner[places] == number
                total = float(added[own].sum() - usual[k, number])
                ranked = np.argsort(-added[own] if total > 0 else added[own], kind="stable")[:most]
                told = [places[own][one] for one in ranked if added[own][one] * total > 0]
                each.append(Saying(name, total, tuple(terms[one][2].strip() for one in told)))
            found.append(each)
        return found

    def telling(self, most: int) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Per class (one of two, or of a number) the words that speak most for it, and against it."""
        terms, words = self.vectors.terms(), self.vectors.width
        found = []
        for weight in self.coef[:, :words] * self.spread[:words]:
            order = np.argsort(-weight, kind="stable")
            found.append(
                (
                    tuple(terms[one][2].strip() for one in order[:most] if weight[one] > 0),
                    tuple(terms[one][2].strip() for one in order[::-1][:most] if weight[one] < 0),
                )
            )
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """All that is fitted."""
        return self._own() | self.vectors.arrays()

    def save(self, folder: Path) -> None:
        self.vectors.save(folder)
        write_arrays(folder / _FILE, self._own())

    def _own(self) -> dict[str, np.ndarray]:
        own = {"coef": self.coef, "intercept": self.intercept, "center": self.center, "spread": self.spread}
        own["columns"] = np.array([self.columns])
        return own | ({} if self.design is None else vars(self.design))


def _beside(words: Any, design: Design, X: np.ndarray) -> Any:
    """[rows, words + design columns], sparse."""
    from scipy.sparse import csr_array, hstack

    return csr_array(hstack([words, csr_array(design.matrix(X)) * _share(design)], format="csr"))


def _share(design: Design) -> float:
    """By which standardised columns are multiplied: a row's are then about as long as a text's vector, 1.

    Else the penalty would let the columns speak, and not the words, whose values are small.
    """
    return 1 / np.sqrt(max(design.width, 1))


def _dense(matrix: Any) -> np.ndarray:
    return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()


def _every_class(task: Task, margin: np.ndarray) -> np.ndarray:
    """[rows, classes]: scikit-learn has one margin for two classes, whose first one is at 0."""
    if task.type != "multiclass" or margin.shape[1] == len(task.classes):
        return margin
    return np.hstack([np.zeros_like(margin), margin])


def _folds(y: np.ndarray, texts: Sequence[Texts], folds: int, seed: int) -> np.ndarray | None:
    """A fold for each row [rows], classes evenly among them, rows of the same text in one; None: too few rows.

    A margin of a text that the SVM has learnt from is too sure. Rows of classes that have fewer than there are
    folds are `LEARNT`, as long as two classes are left: a rare class does not take the others their probabilities.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    counts = np.bincount(y)
    if (counts < folds).any() and (counts >= folds).sum() >= 2:
        fold, common = np.full(len(y), LEARNT), np.flatnonzero(counts[y] >= folds)
        among = _folds(
            np.unique(y[common], return_inverse=True)[1], [one.some(common) for one in texts], folds, seed
        )
        if among is None:
            return None
        fold[common] = among
        return fold
    folds = min(folds, int(counts.min()))
    if folds < 2:
        return None
    said = list(zip(*(text.text.tolist() for text in texts), strict=True))
    number: dict[Any, int] = {}
    same = np.array([number.setdefault(one, len(number)) for one in said])
    repeated = len(number) < len(said)
    splitter = StratifiedGroupKFold if repeated else StratifiedKFold
    fold = np.zeros(len(y), np.intp)
    parts = splitter(folds, shuffle=True, random_state=seed).split(
        np.zeros(len(y)), y, same if repeated else None
    )
    for index, (_, out) in enumerate(parts):
        fold[out] = index
    classes = len(np.unique(y))
    whole = all(len(np.unique(y[fold != one])) == classes for one in np.unique(fold))
    return fold if whole and fold.any() else None


def _platt(margin: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Factor > 0 and constant of the sigmoid with the least log loss, labels drawn in as Platt has them."""
    from scipy.optimize import minimize
    from scipy.special import expit

    yes = int(y.sum())
    drawn = np.where(y == 1, (yes + 1) / (yes + 2), 1 / (len(y) - yes + 2))

    def loss(free: np.ndarray) -> tuple[float, np.ndarray]:
        factor = np.exp(free[0])
        logit = factor * margin + free[1]
        excess = expit(logit) - drawn
        gradient = np.array([(excess * margin).mean() * factor, excess.mean()])
        return float((np.logaddexp(0, logit) - drawn * logit).mean()), gradient

    found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-7, 7), (None, None)]).x
    return float(np.exp(found[0])), float(found[1])


def _temperature(margins: np.ndarray, y: np.ndarray) -> float:
    """The factor (1 / temperature) under which a softmax of margins [rows, classes] has the least log loss."""
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    own = margins[np.arange(len(y)), y]

    def loss(free: float) -> float:
        factor = np.exp(free)
        return float((logsumexp(factor * margins, axis=1) - factor * own).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-7, 7), method="bounded").x))
