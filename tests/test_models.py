"""Every model keeps one contract: same interface, same care with odd columns, same result for one seed."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import ValidationError

from toolkit.errors import ConfigError, DataError
from toolkit.models import Batch, Column, Explains, Fitted, ModelConfig, Task
from toolkit.models.encode import Encoder
from toolkit.models.weights import balanced_weights
from toolkit.registry import models

ROOT = Path(__file__).parents[1]
QUICK = {
    "random_forest": {"trees": 20},
    "hist_gbm": {"max_iterations": 40, "early_stopping_rounds": 5},
    "lightgbm": {"num_iterations": 60, "early_stopping_rounds": 5},
    "xgboost": {"num_boost_round": 60, "early_stopping_rounds": 5},
}
OWN = ["prior", "rule", "logistic", "random_forest", "hist_gbm", "lightgbm", "xgboost"]
LEARNERS = [name for name in OWN if name != "prior"]
BOOSTERS = ["hist_gbm", "lightgbm", "xgboost"]
EXPLAINED = ["logistic", "lightgbm", "xgboost"]

BINARY = Task("will", "binary")
MULTI = Task("which", "multiclass", ("low", "never seen", "middle", "high"))
NUMBER = Task("how much", "regression")
TASKS = [BINARY, MULTI, NUMBER]
COLUMNS = [
    *(Column(name) for name in ("signal", "noise", "gappy", "constant", "empty")),
    Column("level", "categorical", ("a", "b", "c", "d")),
    Column("no level", "categorical", ("x",)),
]


def rows(count: int, seed: int) -> Batch:
    """The label depends on `signal` and on whether `level` is c; 50 labels are missing."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, len(COLUMNS))).astype(np.float32)
    X[rng.random(count) < 0.3, 2] = np.nan
    X[:, 3], X[:, 4], X[:, 6] = 0.1, np.nan, np.nan
    X[:, 5] = rng.integers(0, 4, count)
    score = X[:, 0] + 1.5 * (X[:, 5] == 2) + 0.5 * rng.normal(size=count)
    which = np.array([0, 2, 3])[np.digitize(score, [-0.3, 1.0])]
    y = np.column_stack([score > 0.7, which, 10 * score]).astype(np.float32)
    X[rng.random(count) < 0.05, 5] = np.nan
    y[:50] = np.nan
    return Batch(X, y)


TRAIN, VALID, TEST = rows(1200, 1), rows(500, 2), rows(500, 3)
NOBODY = Batch(VALID.X[:0], VALID.y[:0])


def configured(name: str, **settings: object) -> ModelConfig:
    component = models.get(name)
    return component.build(component.config.model_validate(QUICK.get(name, {}) | settings))


def fit(
    name: str, train: Batch = TRAIN, valid: Batch = VALID, tasks: list[Task] = TASKS, **settings: object
) -> Fitted:
    model = configured(name, **settings)
    return model.fit(tasks, COLUMNS, train, valid, seed=7, threads=1)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def fitted() -> dict[str, Fitted]:
    return {name: fit(name) for name in OWN}


def auc(y: np.ndarray, score: np.ndarray) -> float:
    """Mann–Whitney, by counting pairs."""
    positive, negative = score[y == 1], score[y == 0]
    difference = positive[:, None] - negative[None, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


# --- the contract -----------------------------------------------------------------------------------


def test_the_toolkit_registers_these_models() -> None:
    assert set(OWN) <= set(models.names())
    assert all(models.get(name).description for name in OWN)


@pytest.mark.parametrize("name", OWN)
def test_predictions_have_their_shape_and_are_probabilities(name: str, fitted: dict[str, Fitted]) -> None:
    will, which, how_much = fitted[name].predict(TEST.X)
    assert (will.shape, which.shape, how_much.shape) == ((500,), (500, 4), (500,))
    assert all(one.dtype == np.float64 for one in (will, which, how_much))
    assert will.min() >= 0
    assert will.max() <= 1
    np.testing.assert_allclose(which.sum(axis=1), 1, atol=1e-6)
    assert (which[:, 1] == 0).all()  # no training row is of class 1


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_finds_the_planted_signal(name: str, fitted: dict[str, Fitted]) -> None:
    will, which, how_much = fitted[name].predict(TEST.X[50:])
    y = TEST.y[50:]
    assert auc(y[:, 0], will) > (0.75 if name == "rule" else 0.9)
    assert np.mean(which.argmax(axis=1) == y[:, 1]) > (0.55 if name == "rule" else 0.7)
    assert np.corrcoef(how_much, y[:, 2])[0, 1] > (0.6 if name == "rule" else 0.85)


@pytest.mark.parametrize("name", OWN)
def test_the_same_seed_gives_the_same_model(name: str, fitted: dict[str, Fitted]) -> None:
    for one, other in zip(fitted[name].predict(TEST.X), fit(name).predict(TEST.X), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", OWN)
def test_a_row_scores_the_same_alone_as_among_others(name: str, fitted: dict[str, Fitted]) -> None:
    for whole, part in zip(fitted[name].predict(TEST.X), fitted[name].predict(TEST.X[3:4]), strict=True):
        assert np.array_equal(whole[3:4], part)
    for whole, none in zip(fitted[name].predict(TEST.X), fitted[name].predict(TEST.X[:0]), strict=True):
        assert none.shape == (0, *whole.shape[1:])


@pytest.mark.parametrize("name", OWN)
def test_missing_values_where_training_had_none_are_scored(name: str, fitted: dict[str, Fitted]) -> None:
    blank = np.full((3, len(COLUMNS)), np.nan, np.float32)
    full = np.zeros((3, len(COLUMNS)), np.float32)  # and values in columns that were empty
    for X in (blank, full):
        assert all(np.isfinite(one).all() for one in fitted[name].predict(X))


@pytest.mark.parametrize("name", OWN)
def test_rows_without_a_label_are_left_out_of_that_target_only(name: str) -> None:
    hidden = TRAIN.y.copy()
    hidden[:, 0] = np.where(np.arange(len(hidden)) % 2, hidden[:, 0], np.nan)
    seen = np.flatnonzero(np.arange(len(hidden)) % 2)
    one = fit(name, Batch(TRAIN.X, hidden))
    alone = fit(name, Batch(TRAIN.X[seen], TRAIN.y[seen]), tasks=[BINARY])
    assert np.array_equal(one.predict(TEST.X)[0], alone.predict(TEST.X)[0])
    assert np.array_equal(one.predict(TEST.X)[2], fit(name).predict(TEST.X)[2])


@pytest.mark.parametrize("name", OWN)
def test_fitting_prints_nothing(
    name: str, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    fit(name).predict(TEST.X)
    assert capfd.readouterr() == ("", "")
    assert [str(one.message) for one in recwarn] == []


@pytest.mark.parametrize("name", OWN)
def test_fitting_leaves_its_input_alone(name: str) -> None:
    X, y = TRAIN.X.copy(), TRAIN.y.copy()
    fit(name)
    assert np.array_equal(X, TRAIN.X, equal_nan=True)
    assert np.array_equal(y, TRAIN.y, equal_nan=True)


@pytest.mark.parametrize("name", [name for name in OWN if name not in (*BOOSTERS, "rule")])
def test_validation_rows_teach_nothing(name: str, fitted: dict[str, Fitted]) -> None:
    shuffled = Batch(VALID.X[::-1].copy(), VALID.y)
    for one, other in zip(
        fitted[name].predict(TEST.X), fit(name, valid=shuffled).predict(TEST.X), strict=True
    ):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", LEARNERS)
def test_importance_is_a_share_per_column(name: str, fitted: dict[str, Fitted]) -> None:
    for share in fitted[name].importance():
        if name == "hist_gbm":
            assert share is None
        else:
            assert share is not None
            assert share.shape == (len(COLUMNS),)
            assert share.sum() == pytest.approx(1)
            assert set(np.argsort(-share)[:2]) & {0, 5}


# --- contributions ----------------------------------------------------------------------------------


def explained(model: Fitted, X: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per task, the contributions and the raw scores that they add up to."""
    assert isinstance(model, Explains)
    return [(values, bias + values.sum(axis=1)) for values, bias in model.contributions(X)]


def raw_score(model: Fitted, task: int, X: np.ndarray) -> np.ndarray:
    """What the booster itself says before its link function: [rows] or [rows, seen classes]."""
    import lightgbm

    part = model.parts[task]  # type: ignore[attr-defined]
    if isinstance(part.booster, lightgbm.Booster):
        return part.booster.predict(X, raw_score=True)
    return part.booster.predict(part._matrix(X), output_margin=True)


@pytest.mark.parametrize("name", OWN)
def test_boosted_trees_and_linear_models_say_what_each_column_adds(
    name: str, fitted: dict[str, Fitted]
) -> None:
    assert isinstance(fitted[name], Explains) == (name in EXPLAINED)


@pytest.mark.parametrize("name", EXPLAINED)
def test_contributions_and_bias_add_up_to_the_prediction(name: str, fitted: dict[str, Fitted]) -> None:
    from scipy.special import expit, softmax

    will, which, how_much = fitted[name].predict(TEST.X)
    (_, log_odds), (_, scores), (_, value) = explained(fitted[name], TEST.X)
    np.testing.assert_allclose(expit(log_odds), will, atol=1e-6)
    np.testing.assert_allclose(softmax(scores, axis=1), which, atol=1e-6)
    np.testing.assert_allclose(value, how_much, atol=1e-6)


@pytest.mark.parametrize("name", ["lightgbm", "xgboost"])
def test_contributions_and_bias_add_up_to_the_raw_score(name: str) -> None:
    large = Batch(TRAIN.X, TRAIN.y * [1, 1, 1000] + np.float32([0, 0, 5e4]))
    model = fit(name, large, valid=NOBODY)
    for task, (_, score) in enumerate(explained(model, TEST.X)):
        raw = raw_score(model, task, TEST.X)
        seen = score[:, [0, 2, 3]] if task == 1 else score
        assert seen.shape == raw.shape
        np.testing.assert_allclose(seen, raw, atol=1e-6, rtol=1e-12)


def test_what_xgboost_gives_is_corrected_by_its_rounding_only(fitted: dict[str, Fitted]) -> None:
    """The columns take the difference between XGBoost's parts and its score: in the sixth digit at most."""
    for task, (values, _) in enumerate(explained(fitted["xgboost"], TEST.X)):
        part = fitted["xgboost"].parts[task]  # type: ignore[attr-defined]
        own = part.booster.predict(part._matrix(TEST.X), pred_contribs=True)
        seen = np.moveaxis(values[:, :, [0, 2, 3]], 1, 2) if task == 1 else values
        np.testing.assert_allclose(seen, own[..., :-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", EXPLAINED)
def test_contributions_are_in_the_order_of_the_columns(name: str, fitted: dict[str, Fitted]) -> None:
    for (values, _), task in zip(explained(fitted[name], TEST.X), TASKS, strict=True):
        assert values.dtype == np.float64
        assert values.shape == (500, len(COLUMNS), *([4] if task is MULTI else []))
        size = np.abs(values).reshape(500, len(COLUMNS), -1).sum(axis=2).mean(axis=0)
        assert set(np.argsort(-size)[:2]) == {0, 5}  # `signal` and, as one column, `level`
        np.testing.assert_allclose(size[[3, 4, 6]], 0, atol=1e-9)  # constant, or nothing but gaps
    (values, _), *_ = explained(fitted[name], TEST.X)
    known = ~np.isnan(TEST.X[:, 5])
    is_c = TEST.X[known, 5] == 2
    assert values[known, 5][is_c].min() > values[known, 5][~is_c].max()
    assert np.corrcoef(TEST.X[:, 0], values[:, 0])[0, 1] > 0.8


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_class_never_seen_is_explained_as_impossible(name: str, fitted: dict[str, Fitted]) -> None:
    assert isinstance(fitted[name], Explains)
    values, bias = fitted[name].contributions(TEST.X)[1]
    assert np.isneginf(bias[1])
    assert np.isfinite(bias[[0, 2, 3]]).all()
    assert (values[:, :, 1] == 0).all()


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_row_is_explained_the_same_alone_as_among_others(name: str, fitted: dict[str, Fitted]) -> None:
    model = fitted[name]
    assert isinstance(model, Explains)
    alone, none = model.contributions(TEST.X[3:4]), model.contributions(TEST.X[:0])
    for whole, one, empty in zip(model.contributions(TEST.X), alone, none, strict=True):
        np.testing.assert_array_equal(whole.values[3:4], one.values)
        assert empty.values.shape == (0, *whole.values.shape[1:])
        assert np.array_equal(whole.bias, one.bias)
        assert np.array_equal(whole.bias, empty.bias)
    with pytest.raises(DataError, match="fitted on 7 columns"):
        model.contributions(TEST.X[:, :5])


def test_a_linear_contribution_is_the_coefficient_times_the_distance_from_the_mean() -> None:
    model = fit("logistic", tasks=[BINARY])
    X = TRAIN.X[50:]  # its labelled rows
    assert isinstance(model, Explains)
    ((values, bias),) = model.contributions(X)
    part = model.parts[0]  # type: ignore[attr-defined]
    x = X[:, 0].astype(np.float64)
    np.testing.assert_allclose(values[:, 0], part.coef[0, 0] * (x - x.mean()) / x.std(), atol=1e-9)
    # A column's contributions over the training rows have mean 0, one-hot and gap indicators included,
    # so that the bias is the mean score.
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-9)
    assert (bias + values.sum(axis=1)).mean() == pytest.approx(bias)


@pytest.mark.parametrize("name", EXPLAINED)
def test_two_classes_of_a_multiclass_target_are_explained_too(name: str) -> None:
    from scipy.special import softmax

    two = Task("two", "multiclass", ("no", "yes"))
    model = fit(name, Batch(TRAIN.X, TRAIN.y[:, :1]), Batch(VALID.X, VALID.y[:, :1]), tasks=[two])
    ((_, score),) = explained(model, TEST.X)
    np.testing.assert_allclose(softmax(score, axis=1), model.predict(TEST.X)[0], atol=1e-6)


# --- errors the user can act on ---------------------------------------------------------------------


@pytest.mark.parametrize("name", OWN)
def test_one_class_only_names_the_target_and_the_fix(name: str) -> None:
    y = TRAIN.y.copy()
    y[:, 0] = np.where(np.isnan(y[:, 0]), np.nan, 1)
    with pytest.raises(
        DataError, match="`will` has one class only in training rows: all 1,150 are `1`"
    ) as error:
        fit(name, Batch(TRAIN.X, y))
    assert error.value.fix


@pytest.mark.parametrize("name", OWN)
def test_a_target_without_labels_is_named(name: str) -> None:
    with pytest.raises(DataError, match="`will` has no label in any training row"):
        fit(name, Batch(TRAIN.X, np.full_like(TRAIN.y, np.nan)))


@pytest.mark.parametrize("name", LEARNERS)
def test_no_columns_is_an_error(name: str) -> None:
    model = configured(name)
    empty = Batch(TRAIN.X[:, :0], TRAIN.y)
    with pytest.raises(DataError, match="gets no columns"):
        model.fit(TASKS, [], empty, empty, seed=0, threads=1)  # type: ignore[attr-defined]


def test_a_label_outside_its_type_is_an_error() -> None:
    with pytest.raises(DataError, match=r"`will` \(binary\) has the label 3"):
        fit("prior", Batch(TRAIN.X, np.where(np.isnan(TRAIN.y), np.nan, 3).astype(np.float32)))


@pytest.mark.parametrize("name", LEARNERS)
def test_another_width_is_an_error(name: str, fitted: dict[str, Fitted]) -> None:
    with pytest.raises(DataError, match="fitted on 7 columns"):
        fitted[name].predict(TEST.X[:, :5])


# --- early stopping, weights, options ---------------------------------------------------------------


@pytest.mark.parametrize("name", BOOSTERS)
def test_boosting_stops_early_on_validation_and_says_so(name: str) -> None:
    rounds = {"hist_gbm": "max_iterations"}.get(
        name, "num_boost_round" if name == "xgboost" else "num_iterations"
    )
    settings = {rounds: 400, "learning_rate": 0.3}
    stopped = fit(name, tasks=[BINARY], **settings)
    used = stopped.iterations[0]
    assert used is not None
    assert used < 100
    assert stopped.notes == [[f"stopped at {used} of 400 rounds"]]
    # What is used is the model as it was at its best round, not the rounds after it.
    again = fit(name, valid=NOBODY, tasks=[BINARY], **settings | {rounds: used})
    np.testing.assert_allclose(stopped.predict(TEST.X)[0], again.predict(TEST.X)[0], atol=1e-7)


@pytest.mark.parametrize("name", BOOSTERS)
def test_without_validation_rows_all_rounds_are_used(name: str) -> None:
    model = fit(name, valid=NOBODY)
    assert all(
        note == [f"no validation rows: all {model.iterations[0]} rounds were used"] for note in model.notes
    ) or all(note == ["no validation rows: all rounds were used"] for note in model.notes)
    assert set(model.iterations) <= {40, 60}


@pytest.mark.parametrize("name", ["lightgbm", "xgboost"])
def test_early_stopping_by_auc_needs_both_classes_in_validation(name: str) -> None:
    negative = VALID.y[:, 0] == 0
    one_sided = Batch(VALID.X[negative], VALID.y[negative])
    model = fit(name, valid=one_sided, tasks=[BINARY], early_stopping_metric="auc")
    assert model.notes == [["validation rows lack a class, so AUC is undefined: all rounds were used"]]
    assert "stopped at" in fit(name, tasks=[BINARY], early_stopping_metric="auc").notes[0][0]


@pytest.mark.parametrize("name", ["logistic", "random_forest", *BOOSTERS])
def test_balanced_classes_raise_the_rare_class_without_losing_the_order(name: str) -> None:
    rare = (TRAIN.y[:, 0] == 1) & (np.arange(len(TRAIN.y)) % 8 > 0)
    train = Batch(TRAIN.X[~rare], TRAIN.y[~rare])
    plain, balanced = (
        fit(name, train, tasks=[BINARY], class_weight=weight).predict(TEST.X[50:])[0]
        for weight in ("none", "balanced")
    )
    assert balanced.mean() > 1.5 * plain.mean()
    assert auc(TEST.y[50:, 0], balanced) > 0.85


def test_balanced_weights_give_each_class_half_of_the_rows() -> None:
    y = np.array([0, 0, 0, 1])
    np.testing.assert_allclose(balanced_weights(y, y), [2 / 3, 2 / 3, 2 / 3, 2])  # n / (classes × count)


def test_one_forest_can_learn_several_targets_at_once() -> None:
    both = fit("random_forest", tasks=[BINARY, MULTI], multi_output=True)
    assert "one forest for 2 targets; 50 rows lack some label" in both.notes[0]
    will, which = both.predict(TEST.X)
    assert (will.shape, which.shape) == ((500,), (500, 4))
    assert auc(TEST.y[50:, 0], will[50:]) > 0.9
    with pytest.raises(ConfigError, match="classes and numbers together"):
        fit("random_forest", multi_output=True)


def test_a_forest_splits_no_node_of_fewer_rows_than_it_is_told() -> None:
    forests = {
        fewest: fit("random_forest", tasks=[BINARY], min_samples_split=fewest, min_samples_leaf=1)
        for fewest in (2, 200)
    }
    split = {
        fewest: [tree.tree_.n_node_samples[tree.tree_.children_left >= 0].min() for tree in fitted.forests[0].estimators_]
        for fewest, fitted in forests.items()
    }  # fmt: skip
    assert min(split[2]) < 20
    assert min(split[200]) > 100  # a row that is drawn twice counts twice, and stands here once
    plain = fit("random_forest", tasks=[BINARY])
    told = fit("random_forest", tasks=[BINARY], min_samples_split=2)
    assert np.array_equal(plain.predict(TEST.X)[0], told.predict(TEST.X)[0])


def test_a_cap_on_the_rows_per_tree_changes_nothing_for_fewer_rows() -> None:
    whole, capped = fit("random_forest", max_samples=None), fit("random_forest", max_samples=1200)
    for one, other in zip(whole.predict(TEST.X), capped.predict(TEST.X), strict=True):
        assert np.array_equal(one, other)
    assert capped.notes == whole.notes == [[], [], []]


@pytest.mark.parametrize(
    ("rows", "rare", "drawn"),
    [
        (50_000, 10, None),  # small data as it always was
        (60_000, 30_000, 50_000),
        (60_000, 6_000, 50_000),  # 50,000 rows hold 5,000 rare ones
        (60_000, 5_500, 54_546),  # 5,000 rare ones need more rows
        (60_000, 5_000, None),
        (60_000, 3, None),
    ],
)
def test_left_to_itself_a_forest_draws_fewer_rows_unless_an_outcome_is_rare(
    rows: int, rare: int, drawn: int | None
) -> None:
    model = configured("random_forest")
    y = (np.arange(rows) < rare).astype(np.int64)
    assert model.max_samples == "auto"  # type: ignore[attr-defined]
    assert model._drawn("binary", [y]) == model._drawn("binary", [1 - y]) == drawn  # type: ignore[attr-defined]
    two_rare_classes = np.where(y, np.arange(rows) % 2, 2)
    assert model._drawn("multiclass", [two_rare_classes]) == drawn  # type: ignore[attr-defined]
    assert model._drawn("regression", [y * 1.0]) == (None if rows <= 50_000 else 50_000)  # type: ignore[attr-defined]


def test_more_rows_than_the_cap_are_drawn_from_and_the_report_says_so() -> None:
    capped = fit("random_forest", max_samples=200)
    assert capped.notes == [["each tree was grown on 200 rows drawn from 1,150"]] * 3
    drawn = {forest.estimators_[0].tree_.weighted_n_node_samples[0] for forest in capped.forests}  # type: ignore[attr-defined]
    assert drawn == {200}  # with replacement: rows counted as often as drawn
    assert auc(TEST.y[50:, 0], capped.predict(TEST.X[50:])[0]) > 0.85
    for bad in (1, 99, 1.5, 0.0, "all"):
        with pytest.raises(ValidationError, match="max_samples"):
            configured("random_forest", max_samples=bad)


@pytest.mark.parametrize("name", OWN)
def test_fits_of_one_target_each_join_to_what_a_fit_of_all_gives(
    name: str, fitted: dict[str, Fitted]
) -> None:
    def alone(number: int) -> Fitted:
        train, valid = (Batch(some.X, some.y[:, [number]]) for some in (TRAIN, VALID))
        return fit(name, train, valid, tasks=[TASKS[number]])

    model = configured(name)
    assert model.one_by_one  # type: ignore[attr-defined]
    joined = model.join([alone(number) for number in range(3)])  # type: ignore[attr-defined]
    for one, other in zip(joined.predict(TEST.X), fitted[name].predict(TEST.X), strict=True):
        assert np.array_equal(one, other)
    assert list(joined.notes) == list(fitted[name].notes)
    assert list(joined.tasks) == list(fitted[name].tasks)
    assert isinstance(joined, Explains) == isinstance(fitted[name], Explains)


def test_a_forest_for_all_targets_together_is_not_fitted_one_by_one() -> None:
    assert not configured("random_forest", multi_output=True).one_by_one  # type: ignore[attr-defined]


def test_logistic_regression_chooses_its_penalty_on_validation_rows() -> None:
    model = fit("logistic", tasks=[BINARY], C=[1e-6, 1.0])
    assert model.notes == [["C = 1 had the least loss on validation rows, of 1e-06, 1"]]
    assert (
        "no validation rows to choose C by"
        in fit("logistic", valid=NOBODY, tasks=[BINARY], C=[0.1, 1]).notes[0][0]
    )


def test_logistic_regression_agrees_with_its_formula() -> None:
    """One column without gaps: the fitted coefficient solves the penalised likelihood's equation."""
    from scipy.special import expit

    x, y = TRAIN.X[50:, :1], TRAIN.y[50:, :1]
    model = configured("logistic", C=0.5).fit([BINARY], COLUMNS[:1], Batch(x, y), NOBODY, seed=0, threads=1)  # type: ignore[attr-defined]
    part = model.parts[0]
    z = (x[:, 0] - x[:, 0].mean(dtype=np.float64)) / x[:, 0].astype(np.float64).std()
    slope, start = part.coef[0, 0], part.intercept[0]
    residual = y[:, 0] - expit(slope * z + start)
    assert residual.sum() == pytest.approx(0, abs=1e-2)
    assert (residual * z).sum() == pytest.approx(slope / 0.5, abs=1e-2)


def test_many_levels_make_the_linear_design_sparse_and_no_different(monkeypatch: pytest.MonkeyPatch) -> None:
    import toolkit.models.design

    dense = fit("logistic").predict(TEST.X)
    monkeypatch.setattr(toolkit.models.design, "_DENSE", 3)
    model = fit("logistic")
    for one, other in zip(dense, model.predict(TEST.X), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)
    sparse = explained(model, TEST.X)
    monkeypatch.undo()
    for (one, _), (other, _) in zip(sparse, explained(model, TEST.X), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_the_rule_says_its_table_in_words() -> None:
    y = np.column_stack([TRAIN.X[:, 5] == 2, TRAIN.y[:, 1], TRAIN.y[:, 2]]).astype(np.float32)
    model = fit("rule", Batch(TRAIN.X, y), tasks=[BINARY])
    assert model.importance()[0].tolist() == [0, 0, 0, 0, 0, 1, 0]  # type: ignore[union-attr]
    words = model.notes[0][0]
    assert words.startswith("by `level` alone: ")
    share = float(words.split("`c`: ")[1].split("%")[0])
    assert share > 90
    assert "missing: " in words


def test_the_rule_is_not_fooled_by_a_column_that_numbers_the_rows() -> None:
    rng = np.random.default_rng(0)
    count = 2000
    X = np.column_stack(
        [rng.permutation(count), rng.integers(0, 1000, count), rng.normal(size=count)]
    ).astype(np.float32)
    y = (X[:, 2] + 3 * rng.normal(size=count) > 0).astype(np.float32)[:, None]
    columns = [Column("number"), Column("who", "categorical", tuple(map(str, range(1000)))), Column("weak")]
    model = configured("rule").fit([BINARY], columns, Batch(X, y), NOBODY, seed=0, threads=1)  # type: ignore[attr-defined]
    assert model.notes[0][0].startswith("by `weak` alone")


def test_progress_is_told_per_target() -> None:
    calls: list[tuple] = []
    for name in ("random_forest", *BOOSTERS):
        calls.clear()
        model = configured(name)
        model.fit(  # type: ignore[attr-defined]
            [BINARY], COLUMNS, TRAIN, VALID, seed=0, threads=1, progress=lambda *told: calls.append(told)
        )
        assert calls
        assert all(target == "will" and 0 < done <= total for target, done, total, *_ in calls)


# --- declarations -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "conf/model").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_model_file_spells_out_the_defaults(path: Path) -> None:
    """Files of the kinds above: each says every key with its default and a comment."""
    lines = path.read_text().splitlines()
    declared = yaml.safe_load(path.read_text())
    if declared["kind"] not in OWN:
        pytest.skip("another engineer's model")
    if path.stem != declared["kind"]:
        pytest.skip("other settings than the defaults, on purpose")
    assert lines[0] == "# yaml-language-server: $schema=../schema/model.json"
    assert lines[1].startswith("# ")
    config = models.get(declared["kind"]).config
    said = {key: value for key, value in declared.items() if key != "search"}  # what tuning tries, no setting
    assert config.model_validate(said) == config()
    assert said.keys() == config.model_fields.keys() - {"search"}
    assert all("#" in line for line in lines if line and not line.startswith(("#", "kind:", " ")))


@pytest.mark.parametrize("name", OWN)
def test_settings_are_checked_and_described(name: str) -> None:
    config = models.get(name).config
    assert all(field.description for key, field in config.model_fields.items() if key != "kind")
    with pytest.raises(ValidationError, match="Extra inputs"):
        config.model_validate({"kind": name, "learning_rat": 0.1})


# --- the encoder ------------------------------------------------------------------------------------


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "amount": [1.5, None, 3.0, 4.0],
            "flag": [True, False, True, True],
            "maybe": pd.array([True, None, False, True], dtype="boolean"),
            "town": ["b", "a", None, "b"],
            "code": [2.0, None, 2.0, 7.0],
        }
    )


ENCODED = [
    Column("amount"),
    Column("flag"),
    Column("maybe"),
    Column("town", "categorical"),
    Column("code", "categorical"),
]


def test_levels_are_coded_by_frequency_then_name() -> None:
    encoder = Encoder.fit(frame(), ENCODED)
    X, unseen = encoder.transform(frame())
    assert X.dtype == np.float32
    assert encoder.columns[3].levels == ("b", "a")
    assert encoder.columns[4].levels == ("2", "7")  # whole numbers are the same level with or without gaps
    expected = [[1.5, 1, 1, 0, 0], [np.nan, 0, np.nan, 1, np.nan], [3, 1, 0, np.nan, 0], [4, 1, 1, 0, 1]]
    np.testing.assert_array_equal(X, np.array(expected, np.float32))
    assert unseen == {"town": 0, "code": 0}


@pytest.mark.parametrize("dtype", ["str", "object", "category", "string"])
def test_text_of_every_pandas_type_encodes_alike(dtype: str) -> None:
    encoder = Encoder.fit(frame(), ENCODED)
    other = frame().assign(town=frame()["town"].astype(dtype))
    np.testing.assert_array_equal(encoder.transform(other).X, encoder.transform(frame()).X)
    assert Encoder.fit(other, ENCODED) == encoder


def test_a_mapping_of_arrays_is_a_frame_too() -> None:
    table = frame()
    arrays = {name: table[name].to_numpy() for name in table}
    np.testing.assert_array_equal(
        Encoder.fit(arrays, ENCODED).transform(arrays).X, Encoder.fit(table, ENCODED).transform(table).X
    )


def test_only_training_rows_teach_levels_and_unknown_ones_are_counted() -> None:
    table = pd.DataFrame({"town": ["b", "b", "a", "new", "new", None]})
    mask = np.array([True, True, True, False, False, False])
    for rows_given in (mask, np.flatnonzero(mask)):
        encoder = Encoder.fit(table, [Column("town", "categorical")], rows_given)
        assert encoder.columns[0].levels == ("b", "a")
        X, unseen = encoder.transform(table)
        np.testing.assert_array_equal(X[:, 0], np.array([0, 0, 1, np.nan, np.nan, np.nan], np.float32))
        assert unseen == {"town": 2}


def test_levels_beyond_the_cap_become_other() -> None:
    table = pd.DataFrame({"town": ["a"] * 5 + ["other"] * 4 + ["c", "d", "e"]})
    encoder = Encoder.fit(table, [Column("town", "categorical")], max_levels=3)
    assert encoder.columns[0].levels == ("a", "other", "(other)")
    X, unseen = encoder.transform(pd.DataFrame({"town": ["a", "other", "c", "never", "(other)", None]}))
    np.testing.assert_array_equal(X[:, 0], np.array([0, 1, 2, 2, 2, np.nan], np.float32))
    assert unseen == {"town": 0}  # a capped column does not keep the names it would need to tell


def test_a_stored_encoder_encodes_alike() -> None:
    import json

    encoder = Encoder.fit(frame(), ENCODED, max_levels=1)
    again = Encoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again == encoder
    np.testing.assert_array_equal(again.transform(frame()).X, encoder.transform(frame()).X)


@pytest.mark.parametrize("bad", [[1.0, np.inf, -np.inf, 2.0], [1.0, 1e39, -1e39, 2.0]])
def test_infinity_is_refused_by_column_and_count(bad: list[float]) -> None:
    encoder = Encoder.fit(frame(), ENCODED)
    with pytest.raises(DataError, match="column `amount` has 2 values that are infinite") as error:
        encoder.transform(frame().assign(amount=bad))
    assert "row 1" in str(error.value.where)


def test_text_in_a_numeric_column_and_absent_columns_are_refused_by_name() -> None:
    encoder = Encoder.fit(frame(), ENCODED)
    with pytest.raises(DataError, match=r"column `amount` is declared numeric but holds .*'x'"):
        encoder.transform(frame().assign(amount=["x", "1", "2", "3"]))
    with pytest.raises(DataError, match="lacks 1 of 5 columns: `amount`") as error:
        encoder.transform(frame().rename(columns={"amount": "amuont"}))
    assert "amuont" in str(error.value.fix)


def test_nothing_but_missing_values_and_no_rows_encode() -> None:
    encoder = Encoder.fit(frame(), ENCODED)
    blank = frame().assign(amount=None, town=None, maybe=None)
    assert np.isnan(encoder.transform(blank).X[:, [0, 2, 3]]).all()
    assert encoder.transform(frame().iloc[:0]).X.shape == (0, 5)


def test_blocks_do_not_mix_rows() -> None:
    count = 20_001
    table = pd.DataFrame({"a": np.arange(count), "b": -np.arange(count)}, index=np.arange(count)[::-1])
    X = Encoder.fit(table, [Column("b"), Column("a")]).transform(table).X
    assert all(
        X[i, 1] == i == -X[i, 0] for i in itertools.chain(range(0, count, 1000), [8191, 8192, count - 1])
    )
