"""One column alone: a strong one looks strong, an id does not, and missing values have a say."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from toolkit.evaluation.univariate import (
    MISSING,
    OTHER,
    Tables,
    bin_columns,
    sample_rows,
    strength,
    tables,
)


def judge(X, y, task, categorical=None):
    """Strength [columns] on the second half of tables learnt from the first."""
    X, y = np.asarray(X, np.float32), np.asarray(y)
    half = len(y) // 2
    bins = bin_columns(X[:half], categorical)
    table = tables(bins, bins.codes(X[:half]), y[:half], task)
    return strength(table, bins.codes(X[half:]), y[half:]), table, bins


def test_numeric_bins_hold_about_equal_mass_in_order():
    x = np.random.default_rng(0).gamma(1, 1, (10_000, 1))
    codes = bin_columns(x).codes(x)[:, 0]
    sizes = np.bincount(codes)[2:]
    assert len(sizes) == 20
    assert sizes.min() > 450
    assert sizes.max() < 550
    assert (np.diff(codes[np.argsort(x[:, 0], kind="stable")]) >= 0).all()


@pytest.mark.parametrize("heavy", [0.0, 3.0, 9.0])
def test_a_frequent_value_stands_alone_at_the_bottom_in_the_middle_and_at_the_top(heavy):
    rng = np.random.default_rng(0)
    x = np.where(rng.random(10_000) < 0.95, heavy, rng.uniform(0, 9, 10_000)).astype(np.float32)[:, None]
    codes = bin_columns(x).codes(x)[:, 0]
    assert len(set(codes[x[:, 0] == heavy])) == 1
    assert set(x[codes == codes[x[:, 0] == heavy][0], 0]) == {np.float32(heavy)}
    assert len(set(codes)) > 10  # and the rest is still told apart


def test_few_values_each_have_a_bin_and_missing_has_its_own():
    x = np.array([[0], [1], [1], [5], [np.nan]])
    codes = bin_columns(x).codes(x)[:, 0]
    assert codes.tolist() == [2, 3, 3, 4, MISSING]


def test_rare_and_unseen_levels_share_a_bin():
    x = np.repeat(np.arange(300), np.r_[np.full(200, 3), np.ones(100, int)])[:, None]
    bins = bin_columns(x, [True])
    codes = bins.codes(np.array([[0], [199], [200], [299], [12345], [np.nan]]))[:, 0]
    assert codes[0] != codes[1]
    assert codes[2:].tolist() == [OTHER, OTHER, OTHER, MISSING]
    assert 0 < bins.width <= 203


def test_a_bin_s_mean_is_drawn_to_the_prior_as_if_by_twenty_rows():
    x = np.array([[0.0]] * 20 + [[1.0]] * 180)
    y = np.array([1] * 20 + [0] * 180)
    bins = bin_columns(x)
    codes = bins.codes(x)
    table = tables(bins, codes, y, "binary")
    assert table.predict(codes[:1, 0], 0) == pytest.approx([(20 + 20 * 0.1) / 40])
    assert table.values[0, MISSING] == pytest.approx(0.1)  # never seen: the prior


def test_strength_of_a_binary_target_is_the_auc_of_the_rule():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 3)).astype(np.float32)
    X[:, 1] = np.round(X[:, 1])
    X[rng.random(X.shape) < 0.1] = np.nan
    y = (rng.random(4000) < 1 / (1 + np.exp(-np.nan_to_num(X[:, 0] - X[:, 1] ** 2)))).astype(int)
    got, table, bins = judge(X, y, "binary")
    codes = bins.codes(X[2000:])
    for c in range(3):
        assert got[c] == pytest.approx(roc_auc_score(y[2000:], table.predict(codes[:, c], c)))
    assert got[0] > 0.6
    assert got[1] > 0.6  # not monotone, and seen all the same
    assert got[2] == pytest.approx(0.5, abs=0.05)


def test_bins_of_equal_value_tie():
    codes = np.array([[2], [3], [4], [4]], np.int16)
    table = Tables("binary", np.array([[0.0, 0, 0.5, 0.5, 0.1]]))
    # Pairs: positive in bin 2 against bins 3 (tie), 4 and 4 (won).
    assert strength(table, codes, np.array([1, 0, 0, 0])) == pytest.approx([2.5 / 3])


def test_a_planted_leak_is_near_one_and_an_id_near_a_half():
    rng = np.random.default_rng(0)
    y = (rng.random(20_000) < 0.05).astype(int)
    leak = np.where(y == 1, 1.0, np.nan)  # the missingness gives it away
    ident = rng.permutation(20_000).astype(float)
    sorted_id = np.argsort(np.argsort(-y, kind="stable")).astype(float)  # numbered after sorting by label
    X = np.column_stack([leak, ident, ident, sorted_id])
    got, _, _ = judge(X, y, "binary", [False, False, True, False])
    assert got[0] == pytest.approx(1)
    assert got[1] == pytest.approx(0.5, abs=0.04)
    assert got[2] == pytest.approx(0.5, abs=0.01)  # as levels: all unseen
    assert got[3] > 0.99


def test_strength_of_a_regression_target_is_r2_of_the_rule():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 2)).astype(np.float32)
    y = 1e6 + 10 * X[:, 0] ** 2 + rng.normal(size=4000)
    got, table, bins = judge(X, y, "regression")
    codes = bins.codes(X[2000:])
    for c in range(2):
        assert got[c] == pytest.approx(r2_score(y[2000:], table.predict(codes[:, c], c)), abs=1e-6)
    assert got[0] > 0.7
    assert got[1] < 0.02


def test_strength_of_a_multiclass_target_is_the_mean_auc_over_classes():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 3000)
    X = np.column_stack([y + rng.normal(size=3000), rng.normal(size=3000)])
    got, table, bins = judge(X, y, "multiclass")
    p = table.predict(bins.codes(X[1500:])[:, 0], 0)
    assert p.sum(axis=1) == pytest.approx(1)
    areas = [roc_auc_score(y[1500:] == c, p[:, c]) for c in range(3)]
    assert got[0] == pytest.approx(np.mean(areas))
    assert got[1] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("task", "y"), [("binary", 0), ("multiclass", 0), ("regression", 3.5)])
def test_a_target_that_does_not_vary_gives_nan(task, y):
    got, _, _ = judge(np.arange(20.0)[:, None], np.full(20, y), task)
    assert np.isnan(got).all()


def test_columns_that_are_empty_constant_or_infinite_say_nothing_and_break_nothing():
    rng = np.random.default_rng(0)
    X = np.column_stack([np.full(400, np.nan), np.ones(400), np.full(400, np.nan), np.full(400, np.inf)])
    got, _, _ = judge(X, rng.integers(0, 2, 400), "binary", [False, False, True, False])
    assert got == pytest.approx([0.5] * 4)


def test_sampled_rows_are_distinct_ordered_and_repeatable():
    rows = sample_rows(1000, 100, seed=4)
    assert len(set(rows)) == 100
    assert (np.diff(rows) > 0).all()
    assert (rows == sample_rows(1000, 100, seed=4)).all()
    assert len(sample_rows(50, 100)) == 50
