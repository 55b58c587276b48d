"""Calibrators tell the truth and never reorder; thresholds keep what they promise; nested targets nest."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy.special import expit

from toolkit.errors import ConfigError, DataError
from toolkit.evaluation.metrics import ece, row_log_loss
from toolkit.training.calibration import Calibration, Calibrator, fit_calibrator
from toolkit.training.coherence import Corrected, cohere, nested, project
from toolkit.training.crossfit import FOLDS, deal, held_out, obstacle
from toolkit.training.threshold import (
    FillCapacity,
    MaximiseF1,
    MinimiseCost,
    ReachPrecision,
    Threshold,
    ThresholdConfig,
    choose,
    decide,
    decide_among,
)


def overconfident(rows, seed=0):
    """Labels drawn at rate sigmoid(x − 1); the score claims sigmoid(3x)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    return (rng.random(rows) < expit(x - 1)).astype(int), expit(3 * x), x


# ---- calibration ----------------------------------------------------------------------------------


def test_platt_finds_the_known_slope_and_intercept_on_the_log_odds():
    y, score, _ = overconfident(100_000)
    fitted = fit_calibrator(Calibration(method="platt"), "binary", y, score)
    # sigmoid(x − 1) with log-odds 3x: slope 1/3, intercept −1
    assert fitted.log_odds
    assert fitted.slope == pytest.approx(1 / 3, abs=0.01)
    assert fitted.intercept == pytest.approx(-1, abs=0.03)


def test_platt_works_on_margins_of_any_scale():
    y, _, x = overconfident(100_000)
    fitted = fit_calibrator(Calibration(method="platt"), "binary", y, 1e6 + 1000 * x)
    assert not fitted.log_odds
    assert fitted.slope == pytest.approx(1e-3, rel=0.03)


def test_platt_s_targets_keep_a_separable_sample_from_certainty():
    fitted = fit_calibrator(Calibration(method="platt"), "binary", [0, 0, 0, 1, 1], [1.0, 2, 3, 7, 8])
    # 3 negatives and 2 positives: targets 1/5 and 3/4 (Platt 1999, §2.2)
    p = fitted.apply([1.0, 2, 3, 7, 8])
    assert p[:3].mean() == pytest.approx(0.2, abs=0.02)
    assert p[3:].mean() == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_calibration_mends_an_overconfident_score_on_rows_it_has_not_seen(method):
    fitted = fit_calibrator(Calibration(method=method), "binary", *overconfident(20_000)[:2])
    y, score, _ = overconfident(20_000, seed=1)
    assert ece(y, score) > 0.1
    assert ece(y, fitted.apply(score)) < 0.02


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_calibrator_never_reorders(method):
    y, score, _ = overconfident(5000)
    fitted = fit_calibrator(Calibration(method=method), "binary", y, score)
    p = fitted.apply(np.sort(np.concatenate([score, np.linspace(0, 1, 200_001)])))
    assert (np.diff(p) >= 0).all()
    assert p.min() > 0
    assert p.max() < 1


def test_nor_by_a_rounding_error_of_the_interpolation():
    points_x, points_p = (-1.458912753505715, 1.3048355415439372), (0.14138544428161337, 0.5313641361254197)
    just_below = np.nextafter(points_x[1], 0)
    assert np.interp(just_below, points_x, points_p) > points_p[1]  # what plain interpolation does
    fitted = Calibrator("isotonic", "", points_x=points_x, points_p=points_p)
    assert fitted.apply([just_below]) <= fitted.apply([points_x[1]])


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_nor_does_it_turn_round_a_model_worse_than_chance(method):
    y, score, _ = overconfident(5000)
    fitted = fit_calibrator(Calibration(method=method), "binary", y, 1 - score)
    p = fitted.apply([0.0, 0.5, 1.0])
    assert (np.diff(p) >= 0).all()
    assert p[1] == pytest.approx(y.mean(), abs=0.02)


def test_isotonic_calibration_is_isotonic_regression():
    from sklearn.isotonic import IsotonicRegression

    y, score, _ = overconfident(3000)
    score = score.round(2)  # many ties
    low, high = 1 / (len(y) - y.sum() + 2), (y.sum() + 1) / (y.sum() + 2)
    known = IsotonicRegression(y_min=low, y_max=high, out_of_bounds="clip").fit(score, y)
    fitted = fit_calibrator(Calibration(method="isotonic"), "binary", y, score)
    anywhere = np.linspace(-0.1, 1.1, 5000)
    assert fitted.apply(anywhere) == pytest.approx(known.predict(anywhere), abs=1e-12)
    assert len(fitted.points_x) < 60  # of a hundred scores: only the ends of steps are kept


def test_auto_takes_isotonic_only_with_a_thousand_of_each_class():
    rng = np.random.default_rng(0)
    for positives, method in [(999, "platt"), (1000, "isotonic")]:
        y = np.repeat([1, 0], [positives, 3000])
        fitted = fit_calibrator(Calibration(), "binary", y, rng.random(len(y)))
        assert fitted.method == method
        assert f"{positives:,} positives" in fitted.reason


@pytest.mark.parametrize(("y", "rate"), [([0] * 8, 1 / 10), ([1] * 8, 9 / 10), ([], 1 / 2)])
def test_one_class_gives_a_constant_rate_not_an_exception(y, rate):
    fitted = fit_calibrator(Calibration(), "binary", y, np.linspace(0, 1, len(y)))
    assert fitted.apply([0.0, 0.3, 1.0]) == pytest.approx([rate] * 3)


def test_one_score_for_all_rows_gives_their_rate():
    fitted = fit_calibrator(Calibration(), "binary", [0, 0, 0, 1] * 500, np.full(2000, 0.9))
    assert fitted.apply([0.9]) == pytest.approx([0.25], abs=0.001)


def test_none_leaves_probabilities_alone_and_refuses_margins():
    y, score, x = overconfident(100)
    assert (fit_calibrator(Calibration(method="none"), "binary", y, score).apply(score) == score).all()
    with pytest.raises(ConfigError, match="not probabilities"):
        fit_calibrator(Calibration(method="none"), "binary", y, x)


def test_validation_rows_that_are_all_right_do_not_make_the_next_mistake_infinitely_sure():
    """Fifty rows, each right with 0.6: what they show is about 1 − 1/52, not the lowest temperature there is."""
    score = np.full((50, 3), 0.2)
    y = np.arange(50) % 3
    score[np.arange(50), y] = 0.6
    fitted = fit_calibrator(Calibration(), "multiclass", y, score)
    assert 0.97 < fitted.apply(score).max() < 0.99
    more = fit_calibrator(Calibration(), "multiclass", np.tile(y, 100), np.tile(score, (100, 1)))
    assert more.apply(score).max() > 0.999


@pytest.mark.parametrize("as_probability", [True, False])
def test_temperature_scaling_finds_the_temperature_and_keeps_the_choice(as_probability):
    rng = np.random.default_rng(0)
    logit = rng.normal(size=(30_000, 4))
    true = np.exp(logit) / np.exp(logit).sum(axis=1, keepdims=True)
    y = (true.cumsum(axis=1) < rng.random((30_000, 1))).sum(axis=1)
    claimed = np.exp(2.5 * logit) / np.exp(2.5 * logit).sum(axis=1, keepdims=True)
    score = claimed if as_probability else 2.5 * logit
    fitted = fit_calibrator(Calibration(), "multiclass", y, score)
    assert 1 / fitted.slope == pytest.approx(2.5, rel=0.03)
    p = fitted.apply(score)
    assert p.sum(axis=1) == pytest.approx(1)
    assert (p.argmax(axis=1) == score.argmax(axis=1)).all()


def test_regression_is_left_alone():
    fitted = fit_calibrator(Calibration(), "regression", [1.0, 2], [5.0, -3])
    assert (fitted.apply([5.0, -3]) == [5, -3]).all()


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_calibrator_survives_json_bit_for_bit(method):
    y, score, _ = overconfident(3000)
    fitted = fit_calibrator(Calibration(method=method), "binary", y, score)
    again = Calibrator.from_dict(json.loads(json.dumps(fitted.to_dict(), allow_nan=False)))
    assert again == fitted
    assert (again.apply(score) == fitted.apply(score)).all()


# ---- cross-fitting --------------------------------------------------------------------------------


def test_all_rows_of_an_entity_are_in_one_fold_and_the_folds_are_even():
    entity = np.array([f"e{number}" for number in np.random.default_rng(0).integers(0, 500, 3000)])
    fold = deal(entity, seed=1)
    assert all(len(set(fold[entity == name])) == 1 for name in set(entity))
    assert np.ptp([len(set(entity[fold == number])) for number in range(FOLDS)]) <= 1
    assert (deal(entity, seed=1) == fold).all()
    assert (deal(entity, seed=2) != fold).any()


def test_no_row_is_judged_by_a_fit_that_has_seen_it():
    rng = np.random.default_rng(0)
    score, fold = rng.permutation(1000) / 1000, deal(np.arange(1000), 0)
    fits = []

    def which_saw(y, seen):
        number = len(fits)
        fits.append(set(seen))
        return lambda asked: np.full(len(asked), number)

    judged_by = held_out(which_saw, np.zeros(1000), score, fold)
    assert len(fits) == FOLDS
    for number, seen in enumerate(fits):
        assert seen.isdisjoint(score[judged_by == number])
        assert len(seen) + (judged_by == number).sum() == 1000


def test_cross_fitting_gives_each_row_the_result_of_its_own_score():
    score = np.random.default_rng(0).random((100, 3))
    fold = deal(np.arange(100), 0)
    for asked in (score, score[:, 0]):
        assert (
            held_out(lambda y, s: lambda others: 2 * others, np.zeros(100), asked, fold) == 2 * asked
        ).all()


def test_on_noise_isotonic_regression_beats_the_base_rate_on_its_own_rows_and_on_no_others():
    def fit(y, score):
        return fit_calibrator(Calibration(method="isotonic"), "binary", y, score).apply

    own, others = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        y, score = (rng.random(300) < 0.4).astype(float), rng.random(300)
        constant = row_log_loss(y, np.full(300, y.mean())).mean()
        held = held_out(fit, y, score, deal(np.arange(300), seed))
        own.append(row_log_loss(y, fit(y, score)(score)).mean() - constant)
        others.append(row_log_loss(y, held).mean() - constant)
    assert np.mean(own) < -0.003
    assert np.mean(others) > 0.003


def test_on_noise_a_cross_fitted_threshold_finds_no_precision_that_is_not_there():
    config = ReachPrecision(kind="reach_precision", precision=0.9)
    own, others = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        y, score = (rng.random(2000) < 0.1).astype(float), rng.random(2000)
        own.append(choose(config, y, score).achieved["precision"])
        fold = deal(np.arange(2000), seed)
        chosen = held_out(lambda y, s: lambda new: decide(choose(config, y, s), new), y, score, fold)
        others += y[chosen].tolist()
    assert np.mean(own) > 0.13  # flattered: the best of many cuts
    assert np.mean(others) == pytest.approx(0.1, abs=0.015)


def test_what_cannot_be_cross_fitted_is_said():
    fold = np.array([0, 0, 1, 1, 2, 2])
    assert obstacle(fold, np.array([1, 0, 1, 0, 1, 0]), classes=True) is None
    lone = np.array([0, 1, 0, 0, 0, 0])
    assert obstacle(fold, lone, classes=True) == "its 1 validation rows of one class are all in one fold"
    assert obstacle(fold, lone, classes=False) is None
    assert "in one fold" in obstacle(np.zeros(6), lone, classes=False)


# ---- threshold ------------------------------------------------------------------------------------


@pytest.fixture
def validation():
    rng = np.random.default_rng(0)
    y = (rng.random(3000) < 0.2).astype(int)
    return y, np.round(rng.normal(size=3000) + 1.5 * y, 1)  # many ties


def every_cut(y, score):
    """The slow truth: each distinct score as a threshold → (selected, hits)."""
    return [(int((score >= v).sum()), int(y[score >= v].sum())) for v in np.unique(score)]


def test_maximise_f1_is_the_best_of_all_cuts(validation):
    y, score = validation
    best = max(2 * hits / (selected + y.sum()) for selected, hits in every_cut(y, score))
    threshold = choose(MaximiseF1(), y, score)
    assert threshold.achieved["f1"] == pytest.approx(best)
    assert threshold.reached


def test_a_threshold_lies_between_distinct_scores_whatever_their_precision(validation):
    y, score = validation
    threshold = choose(MaximiseF1(), y, score)
    assert threshold.value not in score
    assert (decide(threshold, score) == decide(threshold, score.astype(np.float32))).all()
    # Even with nothing in between:
    low, high = 0.1, np.nextafter(0.1, 1)
    assert decide(choose(MaximiseF1(), [0, 1], [low, high]), [low, high]).tolist() == [False, True]


def test_tied_rows_are_decided_alike():
    y, score = [1, 0, 0, 1, 0], [0.9, 0.5, 0.5, 0.5, 0.1]
    threshold = choose(MaximiseF1(), y, score)
    # F1 of the cuts: 2/3 for the first row alone, 4/6 with the tie; the smaller selection wins a draw.
    assert decide(threshold, score).tolist() == [True, False, False, False, False]
    assert threshold.achieved["f1"] == pytest.approx(2 / 3)


def test_reach_precision_selects_as_many_as_it_can(validation):
    y, score = validation
    threshold = choose(ReachPrecision(kind="reach_precision", precision=0.6), y, score)
    largest = max(s for s, hits in every_cut(y, score) if hits / s >= 0.6 and hits >= 5)
    assert threshold.reached
    assert threshold.achieved["selected"] == largest
    assert threshold.achieved["precision"] >= 0.6


def test_a_precision_out_of_reach_is_said_and_the_best_there_is_taken():
    rng = np.random.default_rng(0)
    y, score = (rng.random(5000) < 0.1).astype(int), rng.normal(size=5000)
    y[score.argmax()] = 1  # one lucky row at the top has precision 1, and is not believed
    config = ReachPrecision(kind="reach_precision", precision=0.9)
    threshold = choose(config, y, score)
    assert not threshold.reached
    assert "not reached" in threshold.reason
    best = max(hits / s for s, hits in every_cut(y, score) if hits >= 5)
    assert threshold.achieved["precision"] == pytest.approx(best)
    assert threshold.achieved["precision"] * threshold.achieved["selected"] >= 5


def test_minimise_cost_is_the_least_of_all_cuts(validation):
    y, score = validation
    threshold = choose(MinimiseCost(kind="minimise_cost", false_positive=1, false_negative=4), y, score)
    costs = [(s - hits) + 4 * (y.sum() - hits) for s, hits in every_cut(y, score)]
    assert threshold.achieved["cost"] == min(costs)


def test_minimise_cost_may_select_nothing_or_everything(validation):
    y, score = validation
    dear = MinimiseCost(kind="minimise_cost", false_positive=1e6, false_negative=1)
    cheap = MinimiseCost(kind="minimise_cost", false_positive=1e-6, false_negative=1)
    assert choose(dear, y, np.zeros(len(y))).achieved["selected"] == 0
    assert choose(cheap, y, score).achieved["selected"] >= (score >= score[y == 1].min()).sum()


def test_a_count_takes_exactly_the_best_of_each_list_ties_in_row_order():
    threshold = choose(FillCapacity(kind="fill_capacity", count=2), [1, 0, 1, 0], [4.0, 3, 2, 1])
    score = np.array([1.0, 5, 5, 5, 9, 2, 2, 2])
    lists = np.array(["b", "b", "b", "b", "a", "a", "a", "a"])
    assert decide(threshold, score, lists).tolist() == [False, True, True, False, True, True, False, False]
    assert decide(threshold, [7.0], ["a"]).tolist() == [True]  # a list shorter than the capacity


def test_a_fraction_is_of_each_list_and_never_exceeded(validation):
    y, score = validation
    groups = np.arange(3000) % 7 % 2
    threshold = choose(FillCapacity(kind="fill_capacity", fraction=0.1), y, score, groups)
    chosen = decide(threshold, score, groups)
    for g in (0, 1):
        assert chosen[groups == g].sum() == int(0.1 * (groups == g).sum())
        assert score[groups == g][chosen[groups == g]].min() >= score[groups == g][~chosen[groups == g]].max()
    assert threshold.achieved["selected"] == chosen.sum()
    assert threshold.achieved["precision"] == pytest.approx(y[chosen].mean())
    # One by one, by value: whole ties only, so no more than the capacity.
    assert 0 < (score >= threshold.value).sum() <= chosen.sum()


def test_29_percent_of_100_rows_is_29_though_the_product_is_a_hair_less():
    assert 0.29 * 100 < 29
    threshold = choose(FillCapacity(kind="fill_capacity", fraction=0.29), [0, 1] * 50, np.arange(100.0))
    assert decide(threshold, np.arange(100.0)).sum() == 29


def test_a_list_shorter_than_the_capacity_is_said():
    threshold = choose(FillCapacity(kind="fill_capacity", count=50), [0, 1] * 5, np.arange(10.0))
    assert not threshold.reached
    assert "only 10" in threshold.reason
    assert threshold.achieved["selected"] == 10


@pytest.mark.parametrize(
    "config",
    [
        MaximiseF1(),
        ReachPrecision(kind="reach_precision", precision=0.5),
        MinimiseCost(kind="minimise_cost", false_positive=1, false_negative=9),
    ],
)
def test_without_a_positive_nothing_is_selected_and_the_reason_says_so(config):
    threshold = choose(config, np.zeros(9), np.arange(9.0))
    assert not threshold.reached
    assert "no positive" in threshold.reason
    assert threshold.achieved["selected"] == 0
    assert not decide(threshold, np.arange(9.0)).any()


def test_without_rows_there_is_one_clear_error():
    with pytest.raises(DataError, match="no validation rows"):
        choose(MaximiseF1(), [], [])


def test_a_threshold_survives_json(validation):
    for config in (MaximiseF1(), FillCapacity(kind="fill_capacity", count=10)):
        threshold = choose(config, *validation)
        again = Threshold.from_dict(json.loads(json.dumps(threshold.to_dict(), allow_nan=False)))
        assert again == threshold


def test_the_kind_tells_the_configurations_apart_and_unknown_keys_are_refused():
    parse = TypeAdapter(ThresholdConfig).validate_python
    assert parse({"kind": "fill_capacity", "count": 500}) == FillCapacity(kind="fill_capacity", count=500)
    assert parse({"kind": "maximise_f1"}) == MaximiseF1()
    for wrong in (
        {"kind": "fill_capacity"},
        {"kind": "fill_capacity", "count": 5, "fraction": 0.1},
        {"kind": "reach_precision", "precision": 1.2},
        {"kind": "maximise_f1", "beta": 2},
        {"kind": "maximize"},
    ):
        with pytest.raises(ValidationError):
            parse(wrong)


# ---- nested targets -------------------------------------------------------------------------------


def test_projection_by_hand():
    assert project([[0.3, 0.1, 0.5]]).tolist() == [[0.2, 0.2, 0.5]]  # a pair out of order meets in its mean
    assert project([[0.6, 0.3, 0.0]]) == pytest.approx(np.full((1, 3), 0.3))


def test_projection_is_isotonic_regression():
    from sklearn.isotonic import IsotonicRegression

    p = np.random.default_rng(0).random((300, 6))
    expected = [IsotonicRegression().fit_transform(np.arange(6), row) for row in p]
    assert project(p) == pytest.approx(np.array(expected))


def test_projected_rows_are_in_order_exactly_and_ordered_rows_are_untouched():
    rng = np.random.default_rng(0)
    p = rng.random((100_000, 3))
    p[:40_000] = np.sort(p[:40_000], axis=1)
    p[:10_000] = p[:10_000, :1]  # all equal: their mean may round to another number
    after = project(p)
    assert (np.diff(after, axis=1) >= 0).all()
    assert (after[:40_000] == p[:40_000]).all()
    assert Corrected.of(p, after).share == pytest.approx(0.6 * 5 / 6, abs=0.005)  # 1 of 3! orders is right
    assert (project(after) == after).all()


def test_projection_of_nothing_and_of_a_single_target():
    assert project(np.zeros((0, 3))).shape == (0, 3)
    assert Corrected.of(np.zeros((0, 3)), np.zeros((0, 3))) == Corrected(0.0, 0.0)
    two = [[0.2, 0.4], [0.5, 0.1]]
    assert Corrected.of(two, project(two)) == Corrected(0.5, pytest.approx(0.2))  # 0.5 and 0.1 become 0.3
    assert project([[0.4], [0.2]]).tolist() == [[0.4], [0.2]]


def test_no_capacity_is_spent_on_rows_that_the_target_does_not_apply_to() -> None:
    score = np.linspace(1, 0, 100)  # the best rows are those that it does not apply to
    eligible = np.arange(100) >= 50
    threshold = choose(FillCapacity(kind="fill_capacity", count=10), np.tile([1, 0], 50), score)
    chosen = decide_among(threshold, score, np.repeat("one list", 100), np.arange(100), eligible)
    assert list(np.flatnonzero(chosen)) == list(range(50, 60))


def test_whoever_is_acted_on_for_a_target_is_for_every_wider_one() -> None:
    narrow_to_wide = [[True, False, False], [False, True, False], [False, False, False]]
    assert nested(narrow_to_wide).tolist() == [[True, True, True], [False, True, True], [False, False, False]]


def test_a_chain_is_in_order_and_nobody_is_acted_on_for_a_target_that_does_not_apply() -> None:
    probability = {"narrow": np.array([0.3, 0.1, 0.6]), "wide": np.array([0.1, 0.5, 0.2])}
    decision = {"narrow": np.array([True, False, True]), "wide": np.array([False, False, False])}
    eligible = {"narrow": np.array([True] * 3), "wide": np.array([True, True, False])}
    after, acted, corrected = cohere(["narrow", "wide"], probability, decision, eligible)
    assert after["narrow"] == pytest.approx([0.2, 0.1, 0.4])
    assert after["wide"] == pytest.approx([0.2, 0.5, 0.4])
    assert acted["narrow"].tolist() == [True, False, True]
    assert acted["wide"].tolist() == [True, False, False]
    assert corrected.share == pytest.approx(2 / 3)


@pytest.mark.parametrize("shift", [0.0, -2.0, -4.5])
def test_beyond_20_000_validation_rows_what_balancing_and_a_focal_loss_distort_is_put_right(
    shift: float,
) -> None:
    """ECE at most 0.02 on fresh rows; base rates 62, 27 and 5 %. The control: before, it is four times that."""
    from toolkit.models import Batch, Column, Task
    from toolkit.models.forest import RandomForest

    rng = np.random.default_rng(0)

    def draw(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = rng.normal(size=(rows, 4))
        log_odds = 1.2 * x[:, 0] + 0.8 * np.abs(x[:, 1]) + 0.6 * x[:, 2] * x[:, 3] + shift
        return x.astype(np.float32), (rng.random(rows) < expit(log_odds)).astype(float), log_odds

    (X, y, _), valid, fresh = draw(8_000), draw(22_000), draw(60_000)
    forest = RandomForest(trees=40, max_depth=10, class_weight="balanced").fit(
        [Task("y", "binary")], [Column(name) for name in "abcd"], Batch(X, y[:, None].astype(np.float32)),
        Batch(X[:0], y[:0, None].astype(np.float32)), seed=0, threads=1,
    )  # fmt: skip
    scores = {"balanced forest": [forest.predict(rows[0])[0] for rows in (valid, fresh)]}
    # What a network that minimises a focal loss (γ = 2, Lin et al. 2017) says of a row whose chance it sees through
    # noise: the q at which −p · (1 − q)² · ln q − (1 − p) · q² · ln(1 − q) is least, where its derivative is 0.
    q = np.linspace(1e-6, 1 - 1e-6, 100_001)
    yes = (1 - q) ** 2 / q - 2 * (1 - q) * np.log(q)
    no = q**2 / (1 - q) - 2 * q * np.log(1 - q)
    scores["focal loss"] = [
        np.interp(expit(rows[2] + rng.normal(0, 0.3, len(rows[2]))), no / (yes + no), q)
        for rows in (valid, fresh)
    ]
    for name, (known, new) in scores.items():
        fitted = fit_calibrator(Calibration(), "binary", valid[1], known, True)
        assert ece(fresh[1], new) > 0.08, name
        assert ece(fresh[1], fitted.apply(new)) <= 0.02, name
