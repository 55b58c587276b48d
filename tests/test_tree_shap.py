"""Contributions of many rows: those of the libraries themselves, to the last digits, and much sooner."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest

from toolkit.models import Batch, Task, boosting
from toolkit.models.interface import Column
from toolkit.models.lightgbm import LightGBM
from toolkit.models.tree_shap import Tree, contributions, fits
from toolkit.models.xgboost import XGBoost

COLUMNS = [Column("town", "categorical", tuple("abcdefghij")), Column("plan", "categorical", ("x", "y", "z"))]
COLUMNS += [Column(f"n{place}") for place in range(6)]
TASKS = {
    "binary": Task("t", "binary"),
    "multiclass": Task("t", "multiclass", ("low", "mid", "high")),
    "regression": Task("t", "regression"),
}


def made(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Numbers with gaps and many zeros, two columns of levels, and a sum that needs them all."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, len(COLUMNS))).astype(np.float32)
    X[:, 0], X[:, 1] = rng.integers(0, 10, rows), rng.integers(0, 3, rows)
    X[:, 3] = np.where(rng.random(rows) < 0.5, 0, np.round(X[:, 3]))
    X[rng.random(X.shape) < 0.1] = np.nan
    known = np.nan_to_num(X)
    return X, np.sin(2 * known[:, 0]) * 2 + known[:, 2:].sum(axis=1) + (known[:, 1] == 1) * known[
        :, 2
    ] + np.isnan(X[:, 4])


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("model", [LightGBM, XGBoost], ids=["lightgbm", "xgboost"])
def test_of_many_rows_are_those_of_the_library_row_by_row(
    model: type, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, total = made(3_000)
    y = {"binary": total > 0, "multiclass": np.digitize(total, [-2, 2]), "regression": total}[kind].astype(
        np.float32
    )
    fitted = model(num_iterations=30) if model is LightGBM else model(num_boost_round=30)
    fitted = fitted.fit(
        [TASKS[kind]], COLUMNS, Batch(X, y[:, None]), Batch(X[:0], y[:0, None]), seed=0, threads=1
    )
    monkeypatch.setattr(boosting, "MANY", 10**9)
    [by_library] = fitted.contributions(X[:500])
    monkeypatch.setattr(boosting, "MANY", 1)
    [many] = fitted.contributions(X[:500])
    near = 1e-10 if model is LightGBM else 2e-5  # XGBoost adds up in float32
    np.testing.assert_allclose(
        many.values, by_library.values, atol=near * max(np.abs(by_library.values).max(), 1)
    )
    np.testing.assert_allclose(many.bias, by_library.bias, atol=1e-9)
    sums = many.bias + many.values.sum(axis=1)
    np.testing.assert_allclose(sums, by_library.bias + by_library.values.sum(axis=1), rtol=1e-9, atol=1e-9)


def test_a_row_has_the_same_alone_and_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    X, total = made(2_000)
    y = (total > 0).astype(np.float32)[:, None]
    fitted = LightGBM(num_iterations=10).fit(
        [TASKS["binary"]], COLUMNS, Batch(X, y), Batch(X[:0], y[:0]), seed=0, threads=1
    )
    monkeypatch.setattr(boosting, "MANY", 1)
    [whole] = fitted.contributions(X)
    monkeypatch.setattr("toolkit.models.tree_shap.ROWS", 7)
    [parts] = fitted.contributions(X[:100])
    np.testing.assert_array_equal(parts.values, whole.values[:100])
    monkeypatch.setattr("toolkit.models.tree_shap.TABLED", 1)  # long paths: the patterns that occur
    [found] = fitted.contributions(X[:100])
    np.testing.assert_allclose(found.values, parts.values, atol=1e-12)


def test_they_are_shapley_values_by_the_definition() -> None:
    """A tree by hand, the same column asked twice; expectations by the covers, as TreeSHAP defines them."""
    tree = Tree(
        [0, 1, 0],
        [lambda v: v < 1, lambda v: v < 0, lambda v: v < -1],
        np.array([[1, -1], [2, -2], [-3, -4]]),
        np.array([10.0, 6.0, 4.0]), np.array([4.0, 2.0, 1.0, 3.0]), np.array([5.0, -2.0, 1.0, 7.0]),
    )  # fmt: skip

    def expected(node: int, x: np.ndarray, known: tuple[int, ...]) -> float:
        if node < 0:
            return float(tree.value[~node])
        ends = tree.children[node]
        if tree.feature[node] in known:
            first = bool(tree.goes[node](x[[tree.feature[node]]])[0])
            return expected(ends[0 if first else 1], x, known)
        covers = [tree.leaf_cover[~end] if end < 0 else tree.cover[end] for end in ends]
        return sum(c * expected(end, x, known) for c, end in zip(covers, ends, strict=True)) / sum(covers)

    X = np.array([[-2, -1, 9], [0, -1, 9], [0, 1, 9], [2, 0, 9]], np.float32)
    found, bias = contributions([tree], X)
    assert bias == pytest.approx(expected(0, X[0], ()))
    for x, row in zip(X, found, strict=True):
        for k in range(3):
            others = [j for j in range(3) if j != k]
            value = sum(
                factorial(size) * factorial(2 - size) / 6 * (expected(0, x, (*some, k)) - expected(0, x, some))
                for size in range(3) for some in combinations(others, size)
            )  # fmt: skip
            assert row[k] == pytest.approx(value, abs=1e-12)


def test_a_path_of_more_features_than_a_pattern_holds_is_left_to_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 70)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.float32)[:, None]
    columns = [Column(f"n{place}") for place in range(70)]
    chain = Tree(
        feature=list(range(70)),
        goes=[lambda values: values <= -1.5] * 70,
        children=np.array([[-n - 1, n + 1 if n < 69 else -71] for n in range(70)]),
        cover=np.arange(300.0, 160.0, -2.0),
        leaf_cover=np.array([2.0] * 70 + [160.0]),
        value=np.arange(71.0),
    )
    assert not fits([chain])
    model = LightGBM(num_iterations=5)
    fitted = model.fit(
        [Task("t", "binary")], columns, Batch(X, y), Batch(X[:0], y[:0]), seed=0, threads=1
    ).parts[0]
    assert all(map(fits, fitted.trees())), "positive control: shallow trees are tabulated"
    expected = fitted.contributions(X[:50]).values
    monkeypatch.setattr(boosting, "MANY", 10)
    monkeypatch.setattr(type(fitted), "trees", lambda self: [[chain]])
    np.testing.assert_array_equal(fitted.contributions(X[:50]).values, expected)
