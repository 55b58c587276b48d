"""The fast bootstrap is the naive one, covers what it should, and pairs two models."""

from __future__ import annotations

import time

import numpy as np
import pytest

from toolkit.evaluation.bootstrap import EntityBootstrap, difference, interval, score_bins
from toolkit.evaluation.metrics import evaluate


def sample(rows=400, entities=120, seed=0):
    rng = np.random.default_rng(seed)
    entity = rng.integers(0, entities, rows)
    trait = rng.normal(size=entities)[entity]  # rows of one entity resemble each other
    y = (rng.random(rows) < 1 / (1 + np.exp(1 - trait))).astype(int)
    score = np.round(trait + rng.normal(size=rows), 1)
    return entity, y, score, 1 / (1 + np.exp(-score)), score > 0.8


def naive(boot, rows, r, task, arrays, k_list=()):
    """The same replicate the slow way: repeat each row as often as its entity was drawn."""
    again = np.repeat(rows, boot.weights[boot.codes[rows], r])
    y, score, *rest = (a[again] for a in arrays)
    p, decision = [*rest, None, None][:2]
    return evaluate(task, y, score, p, decision, k_list)


@pytest.mark.parametrize("subset", [False, True])
def test_binary_draws_equal_the_naive_bootstrap(subset):
    entity, *arrays = sample()
    y, score, p, decision = arrays
    k_list = (0.05, 0.2, 30)
    boot = EntityBootstrap(entity, replicates=40, seed=3)
    mask = np.arange(len(entity)) % 3 > 0 if subset else np.ones(len(entity), bool)
    rows = np.flatnonzero(mask)
    draws = boot.binary(y, score, p, decision, k_list, rows=mask if subset else None)
    assert draws.keys() == evaluate("binary", y, score, p, decision, k_list).keys()
    for r in range(40):
        expected = naive(boot, rows, r, "binary", arrays, k_list)
        for name in expected.keys() - {"ece"}:  # whose bins stay those of the whole sample
            assert draws[name][r] == pytest.approx(expected[name], abs=1e-12), name


def test_ece_draws_surround_the_point_estimate():
    entity, y, score, p, _ = sample(4000, 4000)
    draws = EntityBootstrap(entity, 200, 1).binary(y, score, np.clip(p + 0.2, 0, 1))["ece"]
    low, high = interval(draws)
    assert low < evaluate("binary", y, score, np.clip(p + 0.2, 0, 1))["ece"] < high


def test_with_many_distinct_scores_the_bins_change_no_figure_visibly():
    rng = np.random.default_rng(0)
    y = (rng.random(60_000) < 0.02).astype(int)
    score = rng.normal(size=60_000) + 2 * y
    boot = EntityBootstrap(np.arange(60_000), replicates=3, seed=0)
    k_list = (0.001, 0.01, 100)
    draws = boot.binary(y, score, k_list=k_list)
    for r in range(3):
        expected = naive(boot, np.arange(60_000), r, "binary", (y, score), k_list)
        assert draws["roc_auc"][r] == pytest.approx(expected["roc_auc"], abs=1e-5)
        assert draws["pr_auc"][r] == pytest.approx(expected["pr_auc"], abs=1e-3)
        for k in ("0.1%", "1%", "100"):
            assert draws[f"precision@{k}"][r] == pytest.approx(expected[f"precision@{k}"], abs=0.005)


@pytest.mark.parametrize("rows", [4097, 5000, 100_000, 3_000_000])
def test_bins_keep_the_order_hold_to_their_number_and_are_finest_at_the_top(rows):
    score = np.random.default_rng(0).permutation(rows).astype(float)
    bins, n = score_bins(score)
    assert n <= 4096
    assert n > 3000
    assert (np.diff(bins[np.argsort(-score)]) >= 0).all()
    assert (np.bincount(bins)[:400] == 1).all()


def test_equal_scores_share_a_bin():
    score = np.round(np.random.default_rng(0).normal(size=50_000), 4)
    bins, _ = score_bins(score)
    for value in np.unique(score)[::500]:
        assert len(set(bins[score == value])) == 1


def test_multiclass_draws_equal_the_naive_bootstrap():
    rng = np.random.default_rng(0)
    entity, y = rng.integers(0, 60, 300), rng.integers(0, 3, 300)
    p = np.round(rng.dirichlet(np.ones(3), 300), 2) + 0.4 * np.eye(3)[y]
    boot = EntityBootstrap(entity, 20, 0)
    draws = boot.multiclass(y, p, p)
    for r in range(20):
        expected = naive(boot, np.arange(300), r, "multiclass", (y, p, p))
        assert draws.keys() == expected.keys()
        for name in expected.keys() - {"ece"}:  # whose bins stay those of the whole sample
            assert draws[name][r] == pytest.approx(expected[name]), name


def test_regression_draws_equal_the_naive_bootstrap():
    rng = np.random.default_rng(0)
    entity = rng.integers(0, 80, 301)
    y = np.round(rng.gamma(1, 100, 301), -1)
    score = y + np.round(rng.normal(0, 60, 301))
    boot = EntityBootstrap(entity, 30, 0)
    draws = boot.regression(y, score)
    for r in range(30):
        expected = naive(boot, np.arange(301), r, "regression", (y, score))
        assert {k: v[r] for k, v in draws.items()} == pytest.approx(expected)


def test_a_statistic_of_row_sums_can_be_declared():
    entity = np.array([0, 0, 1, 2])
    value = np.array([1.0, 3, 5, 7])
    boot = EntityBootstrap(entity, 50, 0)
    draws = boot.statistic(None, [value], lambda n, total: total / n)
    for r in range(50):
        assert draws[r] == pytest.approx(np.repeat(value, boot.weights[entity, r]).mean())


def test_every_replicate_draws_as_many_entities_as_there_are_and_the_seed_decides_which():
    names = np.array(["001", "1", "NA", "001"])
    a, b, c = (EntityBootstrap(names, 30, seed).weights for seed in (1, 1, 2))
    assert a.shape == (3, 30)
    assert (a.sum(axis=0) == 3).all()
    assert (a == b).all()
    assert (a != c).any()


@pytest.mark.parametrize("truth", [0.5, 0.8])
def test_intervals_cover_the_true_auc_about_95_times_in_100(truth):
    # Normal scores one unit of variance each: AUC = Φ(shift / √2).
    from scipy.stats import norm

    shift = np.sqrt(2) * norm.ppf(truth)
    rng = np.random.default_rng(0)
    covered = 0
    for simulation in range(500):
        y = (np.arange(300) < 90).astype(int)
        score = rng.normal(size=300) + shift * y
        low, high = interval(EntityBootstrap(np.arange(300), 200, simulation).binary(y, score)["roc_auc"])
        covered += low <= truth <= high
    # 3,000 simulations gave 0.941 and 0.936: percentile intervals of 200 replicates are a little short.
    assert 0.90 <= covered / 500 <= 0.99


def test_resampling_rows_instead_of_entities_would_be_too_sure():
    """Positive control: with ten like rows per entity, the row bootstrap's interval is far narrower."""
    entity = np.repeat(np.arange(100), 10)
    rng = np.random.default_rng(0)
    y, score = (rng.random(100) < 0.4).astype(int)[entity], rng.normal(size=100)[entity]
    by_entity = np.subtract(*interval(EntityBootstrap(entity, 300, 0).binary(y, score)["roc_auc"]))
    by_row = np.subtract(*interval(EntityBootstrap(np.arange(1000), 300, 0).binary(y, score)["roc_auc"]))
    assert abs(by_entity) > 2 * abs(by_row)


def test_a_paired_difference_is_sharper_than_two_separate_intervals():
    rng = np.random.default_rng(0)
    y = (rng.random(2000) < 0.3).astype(int)
    better = rng.normal(size=2000) + y
    worse = better + 0.4 * rng.normal(size=2000)
    boot = EntityBootstrap(np.arange(2000), 200, 0)
    a, b = boot.binary(y, better), boot.binary(y, worse)
    low, high = interval(difference("roc_auc", a, b))
    assert 0 < low < high
    assert interval(a["roc_auc"])[0] < interval(b["roc_auc"])[1]  # apart, they overlap
    assert not difference("roc_auc", a, boot.binary(y, better)).any()


def test_what_replicates_cannot_answer_has_no_interval():
    boot = EntityBootstrap(np.arange(50), 200, 0)
    one_positive = (np.arange(50) == 7).astype(int)  # absent from about 1/e of the replicates
    draws = boot.binary(one_positive, np.arange(50.0))
    assert np.isnan(draws["roc_auc"]).mean() == pytest.approx(np.exp(-1), abs=0.1)
    assert np.isnan(interval(draws["roc_auc"])).all()
    assert not np.isnan(interval(draws["prevalence"])).any()


def test_no_rows_give_nan_not_an_exception():
    boot = EntityBootstrap(np.arange(5), 10, 0)
    none, y, p = np.zeros(5, bool), np.zeros(5), np.full(5, 0.5)
    for draws in (
        boot.binary(y, p, p, y, (2, 0.1), rows=none),
        boot.multiclass(y, np.ones((5, 2)), np.ones((5, 2)), rows=none),
        boot.regression(y, p, rows=none),
    ):
        assert all(np.isnan(d).all() and d.shape == (10,) for d in draws.values())
    assert EntityBootstrap(np.zeros(0, int), 10, 0).weights.shape == (0, 10)


def test_a_hundred_thousand_rows_take_a_fraction_of_a_second():
    rng = np.random.default_rng(0)
    y, score = (rng.random(100_000) < 0.05).astype(int), rng.normal(size=100_000)
    boot = EntityBootstrap(np.arange(100_000), 200, 0)
    start = time.process_time()  # not the clock: others may be busy on the machine
    boot.binary(y, score, 1 / (1 + np.exp(-score)), score > 1, (0.01, 500))
    assert time.process_time() - start < 3  # about 0.2 s on an idle machine
