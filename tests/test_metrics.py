"""Point estimates: scikit-learn's where it has them, hand-worked numbers where it does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from toolkit.evaluation.metrics import Task, ece, ece_bins, evaluate, k_label, top_k, undefined


@pytest.fixture
def binary():
    rng = np.random.default_rng(0)
    y = (rng.random(500) < 0.3).astype(int)
    score = np.round(rng.normal(size=500) + y, 1)  # with ties
    return y, score, 1 / (1 + np.exp(-score)), score > 0.5


def test_binary_metrics_are_those_of_scikit_learn(binary):
    y, score, p, d = binary
    got = evaluate("binary", y, score, p, d)
    assert got == pytest.approx(
        {
            "roc_auc": sk.roc_auc_score(y, score),
            "pr_auc": sk.average_precision_score(y, score),
            "prevalence": y.mean(),
            "log_loss": sk.log_loss(y, p),
            "brier": sk.brier_score_loss(y, p),
            "ece": ece(y, p),
            "f1": sk.f1_score(y, d),
            "precision": sk.precision_score(y, d),
            "recall": sk.recall_score(y, d),
            "selected_share": d.mean(),
        }
    )


def test_ranking_reads_the_score_and_calibration_the_probability(binary):
    y, score, p, _ = binary
    ranking = evaluate("binary", y, score, p)
    shifted = evaluate("binary", y, 100 + 7 * score, p)
    assert shifted["roc_auc"] == ranking["roc_auc"]
    assert shifted["brier"] == ranking["brier"]
    assert "brier" not in evaluate("binary", y, score)
    assert "f1" not in evaluate("binary", y, score)


def test_precision_and_lift_at_k_by_hand():
    y = np.array([1, 1, 0, 1, 0, 0, 0, 0, 0, 0])
    got = evaluate("binary", y, -np.arange(10), k_list=(0.2, 4, 50))
    assert got["precision@20%"] == 1.0
    assert got["lift@20%"] == pytest.approx(1 / 0.3)
    assert got["precision@4"] == 0.75
    assert got["precision@50"] == pytest.approx(0.3)  # the whole list


def test_rows_that_tie_at_k_share_the_place():
    y = np.array([1, 1, 0, 0, 0])
    score = np.array([2.0, 1, 1, 1, 0])
    # The first is sure; the second place is one of three tied rows, of which one is positive.
    assert evaluate("binary", y, score, k_list=(2,))["precision@2"] == pytest.approx((1 + 1 / 3) / 2)
    backwards = evaluate("binary", y[::-1], score[::-1], k_list=(2,))
    assert backwards["precision@2"] == pytest.approx((1 + 1 / 3) / 2)


@pytest.mark.parametrize(
    ("k", "name"), [(0.01, "1%"), (0.005, "0.5%"), (500, "500"), (1, "1"), (1.0, "100%")]
)
def test_k_is_a_count_or_a_fraction(k, name):
    assert k_label(k) == name


@pytest.mark.parametrize("k", [0, -1, 1.5, True, 0.0])
def test_any_other_k_is_refused(k):
    with pytest.raises(ValueError, match="fraction"):
        k_label(k)


def test_ece_is_near_zero_for_a_calibrated_model_and_the_shift_for_a_shifted_one():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.1, 0.6, 200_000)
    y = (rng.random(len(p)) < p).astype(float)
    assert ece(y, p) < 0.01
    assert ece(y, p + 0.2) == pytest.approx(0.2, abs=0.01)


def test_ece_bins_are_fifteen_of_equal_mass_and_never_part_equal_probabilities():
    p = np.random.default_rng(0).beta(1, 30, 15_000)
    assert np.bincount(ece_bins(p)).tolist() == pytest.approx([1000] * 15, abs=1)
    tied = ece_bins(np.round(p, 2))
    assert len(set(zip(tied, np.round(p, 2), strict=True))) == len(set(np.round(p, 2)))


def test_ece_sees_rare_positives_that_equal_width_bins_would_hide():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.001, 0.02, 100_000)
    y = (rng.random(len(p)) < p[::-1]).astype(float)  # the mean is right, the order is not
    assert abs(y.mean() - p.mean()) < 0.001
    assert ece(y, p) > 0.004


def test_one_class_or_no_rows_give_nan_and_a_reason():
    zeros = evaluate("binary", np.zeros(4), np.arange(4.0), np.full(4, 0.1), np.zeros(4), (2,))
    reasons = undefined("binary", np.zeros(4), zeros)
    assert math.isnan(zeros["roc_auc"])
    assert reasons["roc_auc"] == "no positive row"
    assert reasons["precision"] == "no row is selected"
    assert zeros["prevalence"] == 0
    assert zeros["precision@2"] == 0
    assert undefined("binary", np.ones(3), evaluate("binary", np.ones(3), np.arange(3.0))) == {
        "roc_auc": "no negative row"
    }

    empty = np.zeros(0)
    cases: list[tuple[Task, np.ndarray]] = [
        ("binary", empty),
        ("multiclass", np.zeros((0, 3))),
        ("regression", empty),
    ]
    for task, score in cases:
        p = None if task == "regression" else score
        values = evaluate(task, empty, score, p, None, (0.1, 5))
        assert all(math.isnan(v) for v in values.values())
        assert set(undefined(task, empty, values).values()) == {"no rows"}


def test_labels_other_than_zero_and_one_and_missing_scores_are_refused():
    with pytest.raises(ValueError, match="labels"):
        evaluate("binary", [0, 1, 2], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="score"):
        evaluate("binary", [0, 1], [0.1, np.nan])


def test_a_certain_and_wrong_prediction_costs_a_finite_log_loss():
    assert evaluate("binary", [1, 0], [0.0, 1.0], [0.0, 1.0])["log_loss"] == pytest.approx(-math.log(1e-15))


def test_multiclass_metrics_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 600)
    p = rng.dirichlet(np.ones(4), 600) + 0.3 * np.eye(4)[y]
    p /= p.sum(axis=1, keepdims=True)
    chosen = p.argmax(axis=1)
    found = evaluate("multiclass", y, p, p)
    sure, right = p.max(axis=1), (chosen == y).astype(float)
    assert found.pop("ece") == pytest.approx(evaluate("binary", right, sure, sure)["ece"])
    assert found == pytest.approx(
        {
            "accuracy": sk.accuracy_score(y, chosen),
            "balanced_accuracy": sk.balanced_accuracy_score(y, chosen),
            "macro_f1": sk.f1_score(y, chosen, average="macro"),
            "log_loss": sk.log_loss(y, p),
            "macro_auc": sk.roc_auc_score(y, p, multi_class="ovr"),
        }
    )


def test_a_class_that_does_not_occur_is_left_out_of_the_means():
    y = np.array([0, 1, 0, 1])
    p = np.array([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.3, 0.6, 0.1]])
    assert evaluate("multiclass", y, p, p)["balanced_accuracy"] == 1
    assert evaluate("multiclass", y, p, p)["macro_auc"] == 1


def test_regression_metrics_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    y = np.round(rng.gamma(1, 100, 300))
    prediction = y + rng.normal(0, 50, 300)
    got = evaluate("regression", y, prediction)
    assert got["mae"] == pytest.approx(sk.mean_absolute_error(y, prediction))
    assert got["rmse"] == pytest.approx(sk.root_mean_squared_error(y, prediction))
    assert got["r2"] == pytest.approx(sk.r2_score(y, prediction))
    assert got["median_absolute_error"] == pytest.approx(sk.median_absolute_error(y, prediction))
    assert evaluate("regression", y, y**3)["spearman"] == pytest.approx(1)


def test_a_constant_prediction_has_no_rank_correlation():
    values = evaluate("regression", [1.0, 2, 3], [2.0, 2, 2])
    assert undefined("regression", [1.0, 2, 3], values) == {
        "spearman": "the labels or the predictions do not vary"
    }
    assert values["r2"] == 0


def test_top_k_answers_for_many_samples_at_once():
    positive = np.array([[1, 0], [0, 2]])
    count = np.array([[1, 1], [3, 3]])
    got = top_k(positive, count, [2])
    assert got["precision@2"] == pytest.approx([1 / 2, (2 / 3) / 2])
