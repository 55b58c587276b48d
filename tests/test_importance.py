"""Importance against a model whose truth is known: what it uses counts, what it ignores does not."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.evaluation import effects, importance
from toolkit.models.interface import Column, Task

YES = Task("yes", "binary")
NUMBER = Task("number", "regression")


def linear(weights: np.ndarray):  # type: ignore[no-untyped-def]
    """A fitted model of two tasks: the same weighted sum as a chance and as a number."""

    def predict(X: np.ndarray) -> list[np.ndarray]:
        predict.calls += 1
        total = np.nan_to_num(X) @ weights
        return [1 / (1 + np.exp(-total)), total]

    predict.calls = 0
    return predict


def world(rows: int = 4_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 5)).astype(np.float32)
    total = X @ np.array([2.0, 1.0, 0.0, -1.0, 0.0])
    y = np.column_stack([rng.random(rows) < 1 / (1 + np.exp(-total)), total + rng.normal(size=rows)])
    return X, y.astype(float)


def test_what_the_model_uses_is_found_in_order_and_the_rest_is_nothing() -> None:
    X, y = world()
    before = X.copy()
    predict = linear(np.array([2.0, 1.0, 0.0, -1.0, 0.0]))
    for loss in importance.permutation(predict, X, y, [YES, NUMBER], np.arange(len(X)), range(5), seed=0):
        assert loss.mean[0] == loss.mean.max()
        assert (loss.low[[0, 1, 3]] > 0).all()
        assert loss.mean[[2, 4]] == pytest.approx(0, abs=1e-12)
    assert np.array_equal(X, before)
    assert predict.calls == 6  # once as it is, once per column: both targets share them


def test_a_loss_of_r2_is_twice_the_variance_that_the_column_carries() -> None:
    """Shuffling a column of weight w in a true linear model adds 2w² to the squared error (Fisher et al. 2019)."""
    X, y = world(20_000)
    predict = linear(np.array([2.0, 1.0, 0.0, -1.0, 0.0]))
    [_, loss] = importance.permutation(predict, X, y, [YES, NUMBER], np.arange(len(X)), [0, 1], seed=0)
    spread = 4 + 1 + 1 + 1
    assert loss.mean[0] == pytest.approx(2 * 4 / spread, rel=0.05)
    assert loss.mean[1] == pytest.approx(2 * 1 / spread, rel=0.08)
    assert loss.low[0] < 2 * 4 / spread < loss.high[0]


def test_a_loss_of_r2_from_few_rows_is_as_that_from_many() -> None:
    """Folds of twenty rows have spreads of their own; held against that of all rows, the mean stays in place."""
    predict, losses = linear(np.array([2.0, 1.0, 0.0, -1.0, 0.0])), []
    for seed in range(60):
        X, y = world(60, seed)
        X[:2], y[:2, 1] = 0, (15, -15)  # in one fold or two, and a spread that the others lack
        [loss] = importance.permutation(
            lambda X: predict(X)[1:], X, y[:, 1:], [NUMBER], np.arange(60), [0], seed
        )
        spread = ((y[:, 1] - y[:, 1].mean()) ** 2).mean()
        losses.append(loss.mean[0] * spread)
    assert np.mean(losses) == pytest.approx(2 * 4, rel=0.1)


def test_intervals_speak_of_other_rows_as_well() -> None:
    """A column that the model uses, and that tells nothing: in 19 of 20 worlds its interval holds 0.

    (Of 3,000 worlds, in 95.9 %.)
    """
    holds = 0
    for seed in range(150):
        rng = np.random.default_rng(10_000 + seed)
        X = rng.normal(size=(1_000, 1)).astype(np.float32)
        y = (rng.random((1_000, 1)) < 0.5).astype(float)
        [loss] = importance.permutation(
            lambda X: [X[:, 0].astype(float)], X, y, [YES], np.arange(1_000), [0], seed
        )
        holds += loss.low[0] <= 0 <= loss.high[0]
    assert holds >= 0.9 * 150


def test_the_same_seed_gives_the_same_and_rows_of_one_entity_share_a_fold() -> None:
    X, y = world(600)
    entity = np.repeat(np.arange(200), 3)
    predict = linear(np.ones(5))
    once, again = (
        importance.permutation(predict, X, y, [YES, NUMBER], entity, range(5), seed=3)[0] for _ in range(2)
    )
    assert np.array_equal(once.mean, again.mean)
    for fold in importance.deal(entity, np.random.default_rng(0)):
        assert (np.bincount(entity[fold])[np.unique(entity[fold])] == 3).all()


def test_few_rows_one_class_and_missing_labels_have_no_number_made_up() -> None:
    X, y = world(3)
    for loss in importance.permutation(linear(np.ones(5)), X, y, [YES, NUMBER], np.arange(3), [0], seed=0):
        assert np.isnan(loss.low).all()
    X, y = world(500)
    y[:, 0] = 1
    y[:, 1] = np.nan
    for loss in importance.permutation(linear(np.ones(5)), X, y, [YES, NUMBER], np.arange(500), [0], seed=0):
        assert np.isnan(loss.mean).all()


def test_a_rare_class_is_sampled_whole() -> None:
    rng = np.random.default_rng(0)
    y = np.where(np.arange(100_000) < 300, 1.0, 0.0)
    y[::7] = np.nan
    rows = importance.sample(y, YES, 5_000, rng)
    assert len(rows) == len(np.unique(rows)) == 5_000
    assert not np.isnan(y[rows]).any()
    assert y[rows].sum() == np.nansum(y)
    assert importance.sample(y, None, 1_000, rng).shape == (1_000,)
    assert len(importance.sample(np.ones(80), YES, 50, rng)) == 50  # one class only


# --- direction and shape --------------------------------------------------------------------------------------


def test_direction_is_that_of_the_contribution() -> None:
    x = np.random.default_rng(0).normal(size=1_000).astype(np.float32)
    column = Column("x")
    assert effects.effect(x, 2 * x, column)[0] == "rises"
    assert effects.effect(x, -x, column)[0] == "falls"
    assert effects.effect(x, np.abs(x), column)[0] == "mixed"
    assert effects.effect(np.ones(9, np.float32), x[:9], column)[0] == "mixed"


def test_shapes_hold_all_rows_and_can_be_read() -> None:
    x = np.array([0, 0, 0, 1, 2, np.nan, 5, 0], np.float32)
    assert effects.effect(x, np.nan_to_num(x), Column("x"))[1] == [
        ("0", 4, 0), ("1", 1, 1), ("2", 1, 2), ("5", 1, 5), ("missing", 1, 0),
    ]  # fmt: skip
    many = np.random.default_rng(0).normal(size=1_000).astype(np.float32)
    _, shape = effects.effect(many, many.astype(float), Column("x"))
    assert sum(rows for _, rows, _ in shape) == 1_000
    assert len(shape) <= effects.BINS
    assert [mean for *_, mean in shape] == sorted(mean for *_, mean in shape)
    assert shape[0][0].startswith("up to ")
    assert shape[-1][0].endswith(" or more")


def test_levels_beyond_the_most_frequent_are_together() -> None:
    levels = tuple(f"level {i}" for i in range(40))
    x = np.repeat(np.arange(40), np.arange(40, 0, -1)).astype(np.float32)
    moves, shape = effects.effect(x, np.ones(len(x)), Column("x", "categorical", levels))
    assert moves == "levels"
    assert [text for text, *_ in shape] == [*levels[:8], "32 others"]


def test_levels_that_tell_have_rows_and_a_name() -> None:
    column = Column("x", "categorical", ("a", "b", "c"))
    shape = [("a", 500, 0.1), ("b", 400, -0.1), ("c", 4, -5.0), ("7 others", 90, 3.0), ("missing", 50, 0.2)]
    assert effects.telling_levels(shape, column) == ("b", "missing")
    assert effects.telling_levels(shape[:1] + shape[2:4], column) is None


def test_replacement_gives_a_linear_model_its_own_terms() -> None:
    X, _ = world(50)
    usual = effects.usual_values(X, np.zeros(5, bool))
    [_, added] = effects.replaced(linear(np.arange(5.0)), X, usual, range(5))
    assert np.allclose(added, np.arange(5) * (X - usual), atol=1e-4)


def test_what_is_usual_is_the_median_the_commonest_level_or_a_gap() -> None:
    X = np.array([[1, 2, np.nan], [2, 2, np.nan], [9, 0, 1]], np.float32)
    assert np.array_equal(
        effects.usual_values(X, np.array([False, True, False])), [2, 2, np.nan], equal_nan=True
    )
