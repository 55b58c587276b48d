"""The report's curves against counting by hand, the bootstrap proper, and the edges where curves go wrong."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from toolkit.evaluation import curves, overlap
from toolkit.evaluation.bootstrap import EntityBootstrap
from toolkit.evaluation.drift import missing, psi
from toolkit.evaluation.gains import Resample, wilson
from toolkit.evaluation.gains import ranked as ranked_by

NAN = np.nan


def world(rows: int = 3_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores that tell something about them (rounded, so that some tie), keys."""
    rng = np.random.default_rng(seed)
    score = rng.random(rows).round(3)
    return (rng.random(rows) < 0.4 * score).astype(float), score, rng.permutation(rows)


def ranked(y: np.ndarray, score: np.ndarray, key: np.ndarray, **more: object) -> tuple:
    return ranked_by(y, score, key, Resample(key, 200, 0), **more)  # type: ignore[arg-type]


def test_deciles_count_what_a_reader_would_count() -> None:
    y, score, key = world()
    deciles, gains = ranked(y, score, key, value=10 * y)
    best_first = y[np.lexsort((key, -score))]
    for d, part in zip(deciles, np.array_split(best_first, 10), strict=True):
        assert (d.rows, d.positives) == (len(part), part.sum())
        assert d.rate == pytest.approx(part.mean())
        assert d.lift == pytest.approx(part.mean() / y.mean())
        assert d.interval[0] <= d.rate <= d.interval[1]
        assert d.value == 10 * d.positives
    assert deciles[-1].capture == deciles[-1].value_capture == 1
    assert gains.found[-1] == gains.positives == y.sum()
    assert gains.value_total == 10 * y.sum()


def test_gains_are_sums_over_the_best_rows_and_tied_rule_scores_share() -> None:
    y, score, key = world()
    _, gains = ranked(y, score, key, rule=np.zeros(len(y)), also=[123])
    cumulated = np.append(0, y[np.lexsort((key, -score))].cumsum())
    assert np.array_equal(gains.found, cumulated[gains.called])
    assert {0, 1, 123, 300, 3_000} <= set(gains.called.tolist())
    assert np.allclose(
        gains.rule, gains.called * y.mean()
    )  # a rule that says nothing finds what chance finds
    assert (gains.low <= gains.found).mean() > 0.99
    assert (gains.found <= gains.high).mean() > 0.99


def test_rows_without_a_label_have_their_place_in_the_list_and_no_more() -> None:
    y, score, key = world(1_000)
    gone = np.lexsort((key, -score))[100:250]  # the second tenth, and half of the third
    y[gone] = NAN
    kept = np.setdiff1d(np.arange(1_000), gone)
    deciles, gains = ranked(y, score, key, probability=score / 2)
    _, alone = ranked(y[kept], score[kept], key[kept], also=gains.called)
    assert set(gains.called) <= set(alone.called)
    assert np.array_equal(gains.found, alone.found[np.searchsorted(alone.called, gains.called)])
    assert gains.rows == len(kept)
    assert {d.number: d.rows for d in deciles} == {1: 100, 3: 50} | dict.fromkeys(range(4, 11), 100)
    lowest = np.sort(score)[::-1][99::100]
    assert [d.lowest_score for d in deciles] == [lowest[d.number - 1] for d in deciles]
    assert [d.lowest_probability for d in deciles] == [d.lowest_score / 2 for d in deciles]


def test_the_short_cut_for_single_rows_is_the_bootstrap_of_entities() -> None:
    """Multinomial counts and drawn entities have the same mean and spread; entities of two rows spread wider."""
    rng = np.random.default_rng(1)
    cell = rng.integers(0, 4, 2_000)
    rows = np.arange(2_000)
    quick = Resample(rows, 4_000, 0)
    drawn = EntityBootstrap(rows, 1_000, 0)
    slow = np.array([np.bincount(cell, weights=drawn.weights[:, r], minlength=4) for r in range(1_000)]).T
    found = quick.counts(rows, cell, 4)
    assert np.allclose(found.mean(axis=1), slow.mean(axis=1), rtol=0.01)
    assert np.allclose(found.std(axis=1), slow.std(axis=1), rtol=0.12)
    twice = Resample(np.arange(2_000) // 2, 1_000, 0).counts(rows, np.repeat(cell[:1_000], 2), 4)
    assert (twice.std(axis=1) > 1.2 * found.std(axis=1)).all()


@pytest.mark.parametrize(("rows", "size", "slope"), [(1_000, 200, 0.4), (300, 30, 0.9), (1_000, 100, 0.02)])
def test_the_next_list_brings_what_was_promised(rows: int, size: int, slope: float) -> None:
    """Of 300 pairs of lists of one world, in about 95 % the second one's find lies in the first one's interval."""
    holds = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        key, found, said = np.arange(rows), [], (0.0, 0.0)
        for _ in range(2):
            score = rng.random(rows)
            y = (rng.random(rows) < slope * score).astype(float)
            _, gains = ranked_by(y, score, key, Resample(key, 200, seed), also=[size], value=100 * y)
            at = np.searchsorted(gains.called, size)
            found.append(gains.found[at])
            said = said if len(found) > 1 else (gains.low[at], gains.high[at])
        holds += said[0] <= found[1] <= said[1]
    assert 0.92 <= holds / 300 <= 0.995


def test_money_has_an_interval_of_another_list() -> None:
    """Where each positive brings 100, the money's interval is a hundred times that of the positives."""
    y, score, key = world(2_000)
    _, gains = ranked(y, score, key, value=100 * y, also=[400])
    middle = slice(20, -20)
    assert np.allclose(gains.value_low[middle], 100 * gains.low[middle], rtol=0.08, atol=300)
    assert np.allclose(gains.value_high[middle], 100 * gains.high[middle], rtol=0.08, atol=300)
    assert (gains.value_low <= gains.value).all()
    assert ranked(y, score, key)[1].value_low is None


def test_few_yes_and_what_they_bring_are_never_below_none_nor_beyond_all() -> None:
    """A few large values: an arm as long as the other would reach below zero."""
    y, score, key = world(2_000)
    y[np.random.default_rng(1).random(2_000) < 0.95] = 0
    worth = y * np.random.default_rng(0).lognormal(4, 2, 2_000)
    _, gains = ranked(y, score, key, value=worth, also=[35])
    assert 0 < gains.found[-1] < 40
    assert gains.low.min() == gains.value_low.min() == 0
    assert (gains.high <= gains.called).all()
    assert (gains.value_high - gains.value > gains.value - gains.value_low)[5:-5].all()
    _, losses = ranked(y, score, key, value=-worth)
    assert losses.value_high.max() == 0
    # The control: where some bring less than nothing, so may the sum.
    _, both = ranked(y, score, key, value=np.where(score > 0.5, worth, -worth))
    assert both.value_low.min() < 0


def test_what_a_list_is_worth_is_unknown_where_nothing_came_of_it_yet() -> None:
    """None of the first rows brought anything: that is no interval of 0 to 0. None of all: not even a guess."""
    y, score, key = world(2_000)
    y[np.argsort(-score)[:50]] = 0
    _, gains = ranked(y, score, key, value=100 * y, also=[50])
    at = np.searchsorted(gains.called, 50)
    assert gains.value[at] == gains.value_low[at] == 0
    assert gains.value_high[at] > 50
    _, nothing = ranked(0 * y, score, key, value=0 * y, also=[50])
    assert np.isnan(nothing.value_low).all()
    assert np.isnan(nothing.value_high).all()


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_none_or_all_hit_is_not_certain(label: float) -> None:
    y, score, key = world(1_000)
    best = np.lexsort((key, -score))
    y[best[:100]] = label
    deciles, gains = ranked(y, score, key, also=[50])
    low, high = wilson(np.array([100 * label]), np.array([100.0]))
    assert deciles[0].interval == pytest.approx((low[0], high[0]))
    at = np.searchsorted(gains.called, 50)
    assert gains.high[at] - gains.low[at] > 3
    assert gains.low[0] == gains.high[0] == 0
    pairs = ranked_by(y, score, key, Resample(best.argsort() // 2, 200, 0))[0]  # fifty entities say less
    assert np.ptp(pairs[0].interval) > 1.5 * np.ptp(deciles[0].interval)


def test_the_error_of_an_area_is_delongs_and_grows_with_repetition() -> None:
    """Against the spread of the area over 400 worlds; doubled rows of one entity say nothing new."""
    areas, errors = [], []
    for seed in range(400):
        y, score, _ = world(300, seed)
        areas.append(curves.auc(y == 1, score))
        errors.append(curves.auc_error(y == 1, score, np.arange(300)))
    assert np.mean(errors) == pytest.approx(np.std(areas), rel=0.1)
    twice = curves.auc_error(np.tile(y, 2) == 1, np.tile(score, 2), np.tile(np.arange(300), 2))
    assert twice == pytest.approx(errors[-1])
    # one entity with four positive rows does not show how entities differ
    assert np.isnan(curves.auc_error(np.arange(9) < 4, np.arange(9.0), np.maximum(np.arange(9), 3)))
    assert np.isnan(curves.auc_error(np.zeros(5, bool), np.arange(5.0), np.arange(5)))


@pytest.mark.parametrize("rows", [1, 3, 9])
def test_a_few_rows_still_have_a_curve(rows: int) -> None:
    y, score, key = world(rows)
    deciles, gains = ranked(y, score, key, rule=score)
    assert sum(d.rows for d in deciles) == gains.rows == rows
    assert gains.called[-1] == rows


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_has_shares_but_no_invented_lift(label: float) -> None:
    _, score, key = world(500)
    deciles, gains = ranked(np.full(500, label), score, key, rule=score)
    assert gains.positives == 500 * label
    assert all(d.rate == label for d in deciles)
    assert all(np.isnan(d.lift) != bool(label) for d in deciles)


def test_nothing_comes_of_no_rows() -> None:
    none = np.zeros(0)
    assert ranked(none, none, none.astype(int)) == ([], None)
    assert ranked(np.full(5, NAN), np.zeros(5), np.arange(5)) == ([], None)
    assert curves.residuals(none, none) is None
    assert curves.reliability(none, none) == []


def test_without_replicates_there_are_no_bands() -> None:
    y, score, key = world(100)
    deciles, gains = ranked_by(y, score, key, Resample(key, 0, 0))
    assert np.isnan(gains.low).all()
    assert all(d.interval is None for d in deciles)


def test_wilson_is_that_of_the_textbook() -> None:
    """Newcombe (1998), table I, method 3: 81/263, 15/148, 0/20, 1/29."""
    low, high = wilson(np.array([81, 15, 0, 1.0]), np.array([263, 148, 20, 29.0]))
    assert np.round(low, 4).tolist() == [0.2553, 0.0624, 0.0, 0.0061]
    assert np.round(high, 4).tolist() == [0.3662, 0.1605, 0.1611, 0.1718]


def test_reliability_bins_of_an_honest_probability_hold_their_rate() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    bins = curves.reliability((rng.random(20_000) < p).astype(float), p)
    assert sum(b.rows for b in bins) == 20_000
    assert sum(b.low <= b.predicted <= b.high for b in bins) >= 13  # of 15
    off = curves.reliability((rng.random(20_000) < p**3).astype(float), p)
    assert sum(b.low <= b.predicted <= b.high for b in off) <= 3


def test_a_cut_is_what_scikit_learn_counts_at_each_threshold() -> None:
    y, score, _ = world(800)
    found = curves.cut(y, score, 0.7004, "as chosen")
    assert (np.diff(found.thresholds) > 0).all()
    assert len(found.thresholds) <= 201
    for i in range(0, len(found.thresholds), 17):
        acted = score >= found.thresholds[i]
        precision, recall, f1, _ = precision_recall_fscore_support(
            y, acted, average="binary", zero_division=0
        )
        assert found.share[i] == pytest.approx(acted.mean())
        got = (found.precision[i], found.recall[i], found.f1[i])
        assert got == pytest.approx((precision, recall, f1))
    above = score[score >= 0.7004].min()
    assert above in found.thresholds


def test_classes_are_counted_one_by_one() -> None:
    y, decision = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 2, 0])
    table = curves.confusion(y, decision, 4)
    assert table.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]
    score = np.eye(4)[decision] + 0.01 * np.arange(24).reshape(6, 4)
    lines = curves.per_class(table, ("a", "b", "c", "d"), y, score)
    assert [line["rows"] for line in lines] == [2, 1, 3, 0]
    assert lines[2]["precision"] == 1
    assert lines[2]["recall"] == pytest.approx(2 / 3)
    assert lines[2]["auc"] == pytest.approx(roc_auc_score(y == 2, score[:, 2]))
    assert np.isnan(lines[3]["auc"])


def test_residuals_hold_every_row_also_of_skewed_values() -> None:
    rng = np.random.default_rng(0)
    y = rng.lognormal(4, 2, 5_000)
    found = curves.residuals(y, y * rng.lognormal(0, 0.3, 5_000))
    assert found["counts"].sum() == 5_000
    assert found["counts"].max() < 1_000  # not all in one cell
    assert curves.residuals(np.ones(3), np.ones(3))["counts"].sum() == 3


# --- drift, overlap -------------------------------------------------------------------------------------------


def test_psi_sees_a_shift_a_gap_and_new_levels_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(0, 1, (10_000, 5)).astype(np.float32)
    other = rng.normal(0, 1, (10_000, 5)).astype(np.float32)
    other[:, 1] += 1  # a shift by one standard deviation
    other[:4_000, 2] = NAN
    for X, share in ((train, 0.1), (other, 0.6)):
        X[:, 3] = rng.random(10_000) < share
    train[:, 4] = other[:, 4] = 7  # constant
    found, floor = psi(train, other, np.array([False, False, False, True, False]))
    assert found[0] < 0.002
    assert (found[1:4] > 0.25).all()
    assert found[4] == pytest.approx(0, abs=1e-12)
    # Two normals a standard deviation apart: the symmetric divergence is 1; bins lose a little of it.
    assert found[1] == pytest.approx(1, abs=0.1)
    assert floor[0] == pytest.approx(19 * 2 / 10_000)  # twenty bins
    assert np.isnan(psi(train, other[:0], np.zeros(5, bool))).all()


def test_the_index_of_a_column_is_its_own_whatever_stands_beside_it() -> None:
    rng = np.random.default_rng(0)
    train, other = (rng.integers(0, 3, (150, 2)).astype(np.float32) for _ in range(2))
    train[:, 0] = other[:, 0] = 7
    wide = [np.column_stack([X, rng.integers(0, 150, len(X)).astype(np.float32)]) for X in (train, other)]
    for alone, among in zip(psi(train, other, np.ones(2, bool)), psi(*wide, np.ones(3, bool)), strict=True):
        assert alone.tolist() == among[:2].tolist()
        assert alone[0] == 0  # constant, however few rows


def test_samples_of_one_population_show_hardly_a_shift() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2, 300, 200)).astype(np.float32)
    found, floor = psi(X[0], X[1], np.zeros(200, bool))
    assert np.mean(found) < 0.3 * np.mean(floor)  # above zero only as it is cut off there
    assert np.mean(found > floor) < 0.02


def test_gaps_are_counted_per_part() -> None:
    part = np.array([0, 0, 1, 1, -1, 2], np.int8)
    found = missing({"a": np.array([NAN, 1, 1, 1, NAN, NAN])}, part, {0: "train", 1: "validation", 2: "test"})
    assert found == {"a": {"train": 0.5, "validation": 0, "test": 1}}


def test_targets_overlap_where_both_have_labels() -> None:
    y = np.array([[1, 1, NAN], [1, 0, 1], [0, 1, 1], [0, 0, 0]])
    both = overlap.shared_positives(y)
    assert both[0].tolist() == [1, 0.5, 1]  # of two positives one has no label for the third
    assert both[2].tolist() == [0.5, 0.5, 1]
    score = np.column_stack([np.arange(100), np.arange(100), -np.arange(100)]).astype(float)
    key = np.arange(100)
    assert overlap.shared_top(score, key).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    score[90:, 1] = NAN  # the second does not apply to the first one's best; of 90 rows nine are best
    assert overlap.shared_top(score, key)[0].tolist() == [1, 0, 0]
    score[:, :] = 0  # ties are by place, in each
    assert overlap.shared_top(score, key[::-1]).tolist() == np.ones((3, 3)).tolist()


def test_rank_correlation_is_spearmans_and_nan_for_a_constant() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 3))
    X[:, 1] = np.exp(X[:, 0]) + 0.5 * X[:, 1]
    assert np.allclose(overlap.rank_correlation(X), spearmanr(X).statistic)
    X[:, 2] = 1
    assert np.isnan(overlap.rank_correlation(X)[2]).all()
