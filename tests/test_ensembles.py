"""Ensembles: weights and learners that are right, fitted on rows that may teach them, judged fairly, kept whole."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Work
from scipy.special import expit, softmax
from small import AGAIN, FOREST, LIGHTGBM, LOGISTIC, clean, dated, experiment, flat, people, quiet

from toolkit import bundle, bundling
from toolkit.config.time import Span
from toolkit.errors import BundleError
from toolkit.modalities import NOTHING
from toolkit.models import Batch, Column, Explains, Task, store
from toolkit.models.combine import LEAST, MetaLearner, Mixture
from toolkit.models.ensemble import Blend, Combined, Stack
from toolkit.models.linear import Logistic
from toolkit.proof import all_proofs
from toolkit.report.explain import explain
from toolkit.training import ensembles
from toolkit.training.ensembles import Ground
from toolkit.training.experiment import Outcome, encoded
from toolkit.training.fitting import Material
from toolkit.training.split import Rows

YES, NUMBER = Task("will", "binary"), Task("much", "regression")
WHICH = Task("which", "multiclass", ("a", "b", "c"))
BLEND, STACK = {"blend": {"kind": "blend"}}, {"stack": {"kind": "stack"}}
TOGETHER = {"forest": FOREST["forest"] | {"multi_output": True}}  # one model of all targets


def log_loss(y: np.ndarray, probability: np.ndarray) -> float:
    given = np.where(y == 1, probability, 1 - probability)
    return float(-np.log(np.maximum(given, LEAST)).mean())


def auc(y: np.ndarray, score: np.ndarray) -> float:
    positive, negative = score[y == 1][:, None], score[y == 0]
    return float((positive > negative).mean() + (positive == negative).mean() / 2)


# --- weights ----------------------------------------------------------------------------------------


def test_weights_recover_the_mixture_that_made_the_labels() -> None:
    """Labels are drawn from 0.6 of one member, 0.4 of another, and nothing of a third."""
    rng, rows, true = np.random.default_rng(0), 20_000, np.array([0.6, 0.4, 0.0])
    said = [expit(2 * rng.normal(size=rows)) for _ in true]
    y = (rng.random(rows) < np.stack(said, axis=1) @ true).astype(float)
    assert np.allclose(Mixture.fit(YES, said, y).weights, true, atol=0.03)

    said = [softmax(2 * rng.normal(size=(rows, 3)), axis=1) for _ in true]
    chances = sum(weight * one for weight, one in zip(true, said, strict=True))
    y = (rng.random((rows, 1)) > np.cumsum(chances, axis=1)).sum(axis=1).astype(float)
    assert np.allclose(Mixture.fit(WHICH, said, y).weights, true, atol=0.03)

    said = [10 * rng.normal(size=rows) for _ in true]
    y = np.stack(said, axis=1) @ true + rng.normal(size=rows)
    assert np.allclose(Mixture.fit(NUMBER, said, y).weights, true, atol=0.03)


def test_no_other_weights_do_better() -> None:
    rng = np.random.default_rng(1)
    score = rng.normal(size=500)
    y = (rng.random(500) < expit(score)).astype(float)
    said = [expit(score + rng.normal(size=500)) for _ in range(3)]
    best = log_loss(y, Mixture.fit(YES, said, y).combine(said))
    others = [Mixture.relative(one).combine(said) for one in rng.dirichlet([1, 1, 1], 2_000)]
    assert best <= min(log_loss(y, mixed) for mixed in others) + 1e-3  # the pull costs that much at most


def test_without_rows_weights_are_equal_and_with_few_they_are_nearly() -> None:
    rng = np.random.default_rng(2)
    none = [np.zeros(0)] * 4
    for task, said in ((YES, none), (NUMBER, none), (WHICH, [np.zeros((0, 3))] * 4)):
        assert np.allclose(Mixture.fit(task, said, np.zeros(0)).weights, 0.25)
    score = rng.normal(size=3_000)
    y = (rng.random(3_000) < expit(score)).astype(float)
    said = [expit(score), np.full(3_000, 0.5), expit(rng.normal(size=3_000))]
    best = [Mixture.fit(YES, [one[:n] for one in said], y[:n]).weights[0] for n in (3, 30, 300, 3_000)]
    assert best == sorted(best)
    assert best[0] < 0.6
    assert best[-1] > 0.9


def test_a_label_that_every_member_held_to_be_impossible_leaves_the_weights_alone() -> None:
    said = [np.array([0.0, 0.9, 0.9]), np.array([0.0, 0.1, 0.1])]
    with_it = Mixture.fit(YES, said, np.array([1.0, 1.0, 1.0])).weights
    without = Mixture.fit(YES, [one[1:] for one in said], np.array([1.0, 1.0])).weights
    assert np.allclose(with_it, without, atol=1e-3)


# --- the learner on top -----------------------------------------------------------------------------


def test_the_learner_recovers_how_members_make_the_label() -> None:
    rng, rows = np.random.default_rng(0), 20_000
    x = rng.normal(size=(rows, 3))
    y = (rng.random(rows) < expit(1.5 * x[:, 0] + 0.5 * x[:, 1] + 0.3)).astype(float)
    learner = MetaLearner.fit(YES, list(expit(x).T), y, 1.0)
    assert np.allclose(learner.coef, [1.5, 0.5, 0], atol=0.05)
    assert learner.intercept[1] - learner.intercept[0] == pytest.approx(0.3, abs=0.05)

    for unit in (1e-6, 1, 1e6):
        y = unit * (2 * x[:, 0] + x[:, 1] + 7)
        value = MetaLearner.fit(NUMBER, list(unit * x.T), y, 1.0)
        assert np.allclose(value.coef, [2, 1, 0], atol=0.01)
        assert np.allclose(value.intercept / unit, [7], atol=0.01)

    said = [softmax(rng.normal(size=(rows, 3)), axis=1) for _ in range(2)]
    chances = softmax(2 * np.log(said[0]) + [0, 0.5, 0], axis=1)
    y = (rng.random((rows, 1)) > np.cumsum(chances, axis=1)).sum(axis=1).astype(float)
    learner = MetaLearner.fit(WHICH, said, y, 1.0)
    assert np.allclose(learner.coef, [2, 0], atol=0.05)
    assert np.abs(learner.combine(said) - chances).max() < 0.02
    assert learner.shares[0] > 0.95


def test_without_the_bound_it_is_the_logistic_regression_of_scikit_learn() -> None:
    """Where no coefficient would be below 0, the bound changes nothing."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(1)
    x = rng.normal(size=(800, 2))
    y = (rng.random(800) < expit(x[:, 0] + 0.6 * x[:, 1] - 1)).astype(float)
    learner = MetaLearner.fit(YES, list(expit(x).T), y, 0.05)
    inputs = np.column_stack([np.log(p / (1 - p)) for p in (800 * expit(x).T + 0.5) / 801])
    theirs = LogisticRegression(C=0.05, tol=1e-9, solver="newton-cholesky").fit(inputs, y)
    assert np.allclose(learner.coef, theirs.coef_[0], atol=1e-4)
    assert np.allclose(np.diff(learner.intercept), theirs.intercept_, atol=1e-4)


def test_members_that_mislead_get_nothing() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=2_000)
    y = (rng.random(2_000) < expit(x)).astype(float)
    assert MetaLearner.fit(YES, [expit(x), expit(-x)], y, 1.0).coef[1] == 0
    assert MetaLearner.fit(NUMBER, [x, -x], x + rng.normal(size=2_000), 1.0).coef[1] == 0


def test_the_learner_of_classes_it_has_not_met_gives_them_nothing() -> None:
    rng = np.random.default_rng(0)
    said = [softmax(rng.normal(size=(300, 3)), axis=1) for _ in range(2)]
    y = 2.0 * (rng.random(300) < said[0][:, 2])
    probability = MetaLearner.fit(WHICH, said, y, 1.0).combine(said)
    assert np.all(probability[:, 1] == 0)
    assert np.allclose(probability.sum(axis=1), 1)


def test_certain_members_are_taken_as_certain_as_rows_can_tell_and_never_tie() -> None:
    said = [np.array([0.0, 1e-9, 0.4, 1 - 1e-9, 1.0])] * 2
    score = MetaLearner.mean(YES, 2, 100).combine(said)
    assert np.all(np.diff(score) > 0)
    assert score[0] == pytest.approx(0.5 / 101)
    learner = MetaLearner.fit(YES, said, np.array([0, 0, 1, 1, 1.0]), 1.0)
    assert np.isfinite([*learner.coef, *learner.intercept]).all()


# --- members that complement each other --------------------------------------------------------------


class Half(Logistic):
    """Logistic regression that sees some columns only, and tells which rows it was fitted on."""

    sees: tuple[int, ...] = ()

    def fit(self, tasks: Any, columns: Any, train: Batch, valid: Batch, **options: Any) -> Seeing:
        FITTED.append((self.sees, train.X[:, -1].copy(), valid.X[:, -1].copy()))
        part = [columns[one] for one in self.sees]
        train, valid = (replace(rows, X=rows.X[:, self.sees]) for rows in (train, valid))
        return Seeing(self.sees, super().fit(tasks, part, train, valid, **options))


@dataclass
class Seeing:
    sees: tuple[int, ...]
    fitted: Any
    iterations: list[None] = field(default_factory=lambda: [None])
    tasks: tuple[Task, ...] = (YES,)

    def predict(self, X: np.ndarray, modalities: Any = NOTHING) -> list[np.ndarray]:
        return self.fitted.predict(X[:, self.sees])

    def importance(self) -> list[None]:
        return [None]


FITTED: list[tuple[tuple[int, ...], np.ndarray, np.ndarray]] = []
COLUMNS = [Column(name) for name in ("x", "z", "noise", "row")]
HALVES = {
    "left": Half(sees=(0,)),
    "right": Half(sees=(1,)),
    "useless": Half(sees=(2,)),
}


def halves(rows: int, seed: int) -> Batch:
    """The label depends on x and z alike; the last column numbers the rows."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=(rows, 3)), np.arange(rows)]).astype(np.float32)
    y = rng.random(rows) < expit(1.5 * X[:, 0] + 1.5 * X[:, 1])
    return Batch(X, y[:, None].astype(np.float32))


def ground(train: Batch, valid: Batch, rows: Rows | None = None, spans: Any = None) -> Ground:
    someone = Rows(np.arange(len(train.X)).astype(str), np.full(len(train.X), np.datetime64("NaT")), 0, "UTC")

    def fit(name: str, model: Any, some: Material) -> tuple[Any, float]:
        return model.fit(some.tasks, COLUMNS, some.train, some.valid, seed=0, threads=1, progress=None), 0.0

    return Ground(Material([YES], COLUMNS, train, valid, "test"), rows or someone, spans, fit)


def made_of(names: Sequence[str], ensemble: Any, ground: Ground) -> tuple[Combined, dict[str, Any]]:
    """An ensemble of some halves, and what they say of the validation rows."""
    declared = {name: HALVES[name] for name in names}
    fitted = {name: ground.fit(name, model, ground.material)[0] for name, model in declared.items()}
    said = {name: one.predict(ground.material.valid.X) for name, one in fitted.items()}
    return ensembles.put_together(ensemble, declared, fitted, said, ground)[0], said


def test_two_halves_together_beat_both_and_a_useless_third_counts_for_nothing() -> None:
    train, valid, test = halves(2_000, 1), halves(1_000, 2), halves(4_000, 3)
    y = test.y[:, 0]
    losses, shares = {}, {}
    for name, ensemble in (("blend", Blend()), ("stack", Stack())):
        combined, _ = made_of(["left", "useless", "right"], ensemble, ground(train, valid))
        losses[name], shares[name] = log_loss(y, combined.predict(test.X)[0]), combined.combiners[0].shares
        alone = [log_loss(y, member.fitted.predict(test.X)[0]) for member in combined.members]
        assert losses[name] < min(alone) - 0.02
    assert shares["blend"][1] < 0.02
    assert shares["stack"][1] < 0.05
    assert losses["stack"] < losses["blend"] - 0.03  # halves of log-odds add up; their mean is too timid


def test_equal_and_declared_weights_are_as_declared() -> None:
    train, valid = halves(200, 1), halves(100, 2)
    for weights, wanted in (("equal", [1 / 2, 1 / 2]), ({"right": 1, "left": 3}, [1 / 4, 3 / 4])):
        combined, said = made_of(["right", "left"], Blend(weights=weights), ground(train, valid))
        assert combined.combiners[0].weights == tuple(wanted)
        assert not combined.weighed
        given = sum(weight * said[name][0] for weight, name in zip(wanted, ("right", "left"), strict=True))
        assert np.allclose(combined.predict(valid.X)[0], given)


# --- what a fold may see ------------------------------------------------------------------------------


def yearly(rows: int, months: int, cutoffs: int) -> tuple[Batch, Rows]:
    """Training rows dealt to cutoffs so many months apart."""
    train = halves(rows, 1)
    cutoff = np.datetime64("2015-01") + months * (np.arange(rows) % cutoffs)
    return train, Rows(np.arange(rows).astype(str), cutoff.astype("datetime64[us]"), 0, "UTC")


@pytest.mark.parametrize(
    ("months", "cutoffs", "blocks"),
    [
        (12, 4, [1, 1, 1]), (6, 6, [1, 1, 1, 1]), (18, 3, [1, 1]),  # few: each by itself
        (12, 9, [2, 2, 1, 1, 1]), (1, 60, [9, 8, 8, 8, 8]),  # many: blocks, and before the first of them a part of their own
    ],
)  # fmt: skip
def test_in_time_a_block_of_cutoffs_is_predicted_by_fits_on_those_that_had_ended(
    months: int, cutoffs: int, blocks: list[int]
) -> None:
    train, rows = yearly(1_800, months, cutoffs)
    FITTED.clear()
    valid = halves(200, 2)
    combined, _ = made_of(["left", "right"], Stack(), ground(train, valid, rows, [Span(12, "month")]))
    whole, parts = FITTED[:2], FITTED[2:]
    assert all(len(of) == len(train.X) for _, of, _ in whole)
    assert len(parts) == 2 * len(blocks)
    moments = np.unique(rows.cutoff)
    predicted = np.split(moments[-sum(blocks) :], np.cumsum(blocks)[:-1])
    for number, (_, of, stopped_by) in enumerate(parts):
        begins = predicted[number // 2][0].astype("datetime64[M]")
        ends = rows.cutoff[of.astype(int)].astype("datetime64[M]") + 12
        assert ends.max() <= begins
        assert np.array_equal(stopped_by, valid.X[:, -1])
        known = (rows.cutoff.astype("datetime64[M]") + 12 <= begins).sum()
        assert len(of) == known  # and all of those
    (told,) = combined.notes[0]
    learnt = np.isin(rows.cutoff, moments[-sum(blocks) :]).sum()
    several = f" in {len(blocks)} blocks" if sum(blocks) > len(blocks) else ""
    assert f"learnt from {learnt:,} of 1,800 training rows, those of the {sum(blocks)} latest cutoffs{several}, predicted by fits on earlier ones" in told  # fmt: skip
    assert combined.remarks == ()


def test_without_time_a_fold_is_a_part_of_the_entities_and_every_row_is_predicted() -> None:
    """The control of the test above: the same cutoffs, but of a split that does not look at them."""
    train, rows = yearly(1_200, 12, 4)
    rows = replace(rows, entity=(np.arange(1_200) // 3).astype(str))
    FITTED.clear()
    combined, _ = made_of(["left", "right"], Stack(folds=4), ground(train, halves(200, 2), rows))
    parts = FITTED[2::2]
    assert len(parts) == 4
    left_out = [np.setdiff1d(np.arange(1_200), of.astype(int)) for _, of, _ in parts]
    assert np.array_equal(np.sort(np.concatenate(left_out)), np.arange(1_200))
    assert all(not set(rows.entity[out]) & set(rows.entity[of.astype(int)]) for out, (_, of, _) in zip(left_out, parts, strict=True))  # fmt: skip
    assert len(np.unique(rows.cutoff[left_out[0]])) == 4
    assert "1,200 of 1,200 training rows, predicted by fits on other entities, in 4 folds" in combined.notes[0][0]  # fmt: skip


def test_cutoffs_too_near_for_their_horizon_fall_back_to_entities() -> None:
    train, rows = yearly(600, 1, 5)
    some = ground(train, train, rows, [Span(12, "month")])
    folds, how, amiss = some.folds(5)
    assert "entities" in how
    assert sum(len(fold.predicted) for fold in folds) == 600
    combined, _ = made_of(["left", "right"], Stack(), some)
    assert combined.remarks == (amiss,)  # nobody has to open the notes to read it
    assert amiss.startswith("no training cutoff's horizon ends before another one")
    assert ground(train, train, rows).folds(5)[2] == ""  # the control: a split that does not look at time


def test_a_learner_of_scores_in_sample_would_trust_the_wrong_member(tmp_path: Path) -> None:
    """Why out-of-fold: a forest knows its own training rows by heart."""
    frame = clean(1_200)
    forest = {"forest": {"kind": "random_forest", "trees": 40, "min_samples_leaf": 1}}
    made = experiment(flat(tmp_path, frame, model=LOGISTIC | forest | STACK))
    outcome = made.run()
    learner = outcome.fitted["stack"].combiners[0]
    train = np.flatnonzero(outcome.assignment.rows(0))
    X = encoded(outcome.encoder, made.prepared.matrix, train)[0]
    said = [outcome.fitted[name].predict(X)[0] for name in ("logistic", "forest")]
    y = (made.prepared.matrix.values["y"][train] == "yes").astype(float)
    assert MetaLearner.fit(YES, said, y, 1.0).shares[1] > 0.8
    assert learner.shares[1] < 0.4


def test_a_fold_without_both_classes_is_left_out_and_without_any_the_mean_stays() -> None:
    train, rows = yearly(600, 12, 3)
    oldest = rows.cutoff == rows.cutoff.min()
    y = train.y.copy()
    y[oldest] = 0
    one_class = replace(train, y=y)
    combined, _ = made_of(["left", "right"], Stack(), ground(one_class, train, rows, [Span(12, "month")]))
    assert "learnt from 200 of 600 training rows" in combined.notes[0][0]
    y = np.where(np.isin(rows.cutoff, np.unique(rows.cutoff)[-1:])[:, None], train.y, 0)
    combined, _ = made_of(
        ["left", "right"], Stack(), ground(replace(train, y=y), train, rows, [Span(12, "month")])
    )
    assert combined.notes[0] == [
        "the mean of its members: they could not be fitted on a part of the training rows"
    ]
    assert np.isfinite(combined.predict(train.X)[0]).all()


# --- judged fairly ------------------------------------------------------------------------------------


def test_a_member_with_distorted_probabilities_weighs_by_what_it_tells() -> None:
    """Two members see the label through noise of the same size; one shrinks and shifts its log-odds, as a focal loss does."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=20_000)
    y = (rng.random(20_000) < expit(2 * truth - 1)).astype(float)
    seen = [2 * truth - 1 + rng.normal(size=20_000) for _ in range(2)]
    said = [expit(seen[0]), expit(0.4 * seen[1] + 1)]
    plain, scaled = Mixture.fit(YES, said, y), Mixture.fit_scaled(YES, said, y)
    assert plain.weights[1] < 0.2  # the control
    assert np.allclose(scaled.weights, 0.5, atol=0.1)
    assert log_loss(y, scaled.combine(said)) < log_loss(y, plain.combine(said)) - 0.005
    again = Mixture.from_dict(json.loads(json.dumps(scaled.to_dict())))
    assert (again.combine(said) == scaled.combine(said)).all()
    few = rng.permutation(20_000)[:150]
    assert Mixture.fit_scaled(YES, [one[few] for one in said], y[few]).scales == ()


def test_weights_flatter_the_rows_they_were_fitted_on_and_the_judged_scores_do_not() -> None:
    """Twelve members of pure noise and 60 validation rows; on fresh rows nothing is better than chance."""
    found = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        said = {str(name): [expit(rng.normal(size=60))] for name in range(12)}
        y = (rng.random((60, 1)) < 0.5).astype(float)
        members = tuple(ensembles.Member(name, None, None) for name in said)  # type: ignore[arg-type]
        mixture = Mixture.fit(YES, [one[0] for one in said.values()], y[:, 0])
        fitted = Combined((YES,), members, (mixture,), [[]], weighed=True)
        fair = ensembles.fair(fitted, said, y, rng.permutation(60) % 5)[0]
        in_sample = mixture.combine([one[0] for one in said.values()])
        found.append([auc(y[:, 0], in_sample), auc(y[:, 0], fair), log_loss(y[:, 0], in_sample), log_loss(y[:, 0], fair)])  # fmt: skip
        fresh = [expit(rng.normal(size=5_000)) for _ in said]
        found[-1].append(log_loss((rng.random(5_000) < 0.5).astype(float), mixture.combine(fresh)))
    auc_own, auc_fair, own, fair_loss, fresh_loss = np.mean(found, axis=0)
    assert auc_own > 0.6  # the control
    assert abs(auc_fair - 0.5) < 0.03
    assert own < fresh_loss - 0.02
    assert fair_loss > fresh_loss - 0.005


def test_only_labelled_validation_rows_are_scored_by_other_weights() -> None:
    train, valid = halves(500, 1), halves(300, 2)
    y = valid.y.copy()
    y[::3] = np.nan
    some = ground(train, replace(valid, y=y))
    combined, said = made_of(["left", "right"], Blend(), some)
    plain, fair = combined.predict(valid.X)[0], ensembles.fair(combined, said, y, np.arange(300) % 5)[0]
    labelled = ~np.isnan(y[:, 0])
    assert np.array_equal(plain[~labelled], fair[~labelled])
    assert not np.isclose(plain[labelled], fair[labelled], rtol=0, atol=1e-12).any()
    stacked, said = made_of(["left", "right"], Stack(), some)
    assert np.array_equal(stacked.predict(valid.X)[0], ensembles.fair(stacked, said, y, np.zeros(300))[0])


# --- in a run -------------------------------------------------------------------------------------------

MIXED = {
    "a": {"kind": "lightgbm", "num_iterations": 60, "learning_rate": 0.1, "early_stopping_rounds": 10},
    "b": {"kind": "logistic"},
}


def half_linear(rows: int = 2_400) -> pd.DataFrame:
    """Half of the signal is a sum over many columns, half a hump over one: for each sort of model its own."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 41)).round(3)
    score = 0.33 * x[:, 1:].sum(axis=1) + 1.3 * np.sign(np.abs(x[:, 0]) - 0.67)
    frame = pd.DataFrame(x, columns=[f"x{number}" for number in range(41)])
    return frame.assign(y=np.where(rng.random(rows) < expit(score), "yes", "no"))


def test_in_a_run_an_ensemble_of_unlike_models_is_best_and_chosen_whatever_the_order(tmp_path: Path) -> None:
    unlike = {"stack": {"kind": "stack"}, "blend": {"kind": "blend"}} | MIXED | {"nothing": {"kind": "prior"}}
    made = experiment(flat(tmp_path, half_linear(), model=unlike))
    outcome = made.run()
    test = {c.model: c.test["roc_auc"] for c in outcome.of("y")}
    assert min(test["blend"], test["stack"]) > max(test["a"], test["b"]) + 0.01
    assert outcome.chosen("y").model in ("blend", "stack")
    blend = outcome.fitted["blend"]
    assert [member.name for member in blend.members] == ["a", "b", "nothing"]
    assert blend.combiners[0].weights[2] < 0.02
    assert [c.basis for c in outcome.of("y") if c.model == "blend"] == ["cross-fitted on 5 folds of entities"]
    n, X = outcome.n_valid, encoded(outcome.encoder, made.prepared.matrix, outcome.rows)[0]
    score, kept = outcome.scores[("blend", "y")].score, blend.predict(X)[0]
    assert np.array_equal(score[n:], kept[n:])  # the test is by the weights that are kept,
    assert not np.isclose(score[:n], kept[:n], rtol=0, atol=1e-9).any()  # validation by those of other folds
    (note,) = next(c.notes for c in outcome.of("y") if c.model == "blend")
    assert "weights: " in note
    assert "(least log loss on " in note


def same(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


CUTOFFS = {
    "cutoffs": ["2019-01-01", "2020-01-01", "2021-01-01", "2022-01-01"],
    "having": [{"table": "events"}],
}
SPENT = {
    "kind": "value", "of": {"table": "events", "agg": "sum", "column": "amount", "window": "horizon"},
    "horizon": "12 months", "transform": "log1p",
}  # fmt: skip
OFTEN = {
    "kind": "classes", "terms": {"n": {"table": "events", "agg": "count", "window": "horizon"}}, "horizon": "12 months",
    "classes": {"never": "n = 0", "once": "n = 1", "often": "n > 1"},
}  # fmt: skip
RECENT = AGAIN | {"at_least": 2, "among": [{"table": "events", "within": "12 months"}]}  # not of all rows


@pytest.mark.parametrize(
    ("target", "forest"),
    [({"again": AGAIN, "twice": RECENT}, TOGETHER), ({"often": OFTEN, "spent": SPENT}, FOREST)],
)
def test_all_kinds_of_targets_and_members_come_back_from_a_bundle_to_the_last_bit(
    tmp_path: Path, target: dict[str, Any], forest: dict[str, Any]
) -> None:
    lines = LOGISTIC | forest | LIGHTGBM | BLEND | STACK
    run = experiment(dated(tmp_path, *people(), model=lines, target=target, cohort=CUTOFFS))
    outcome = run.run()
    X = encoded(outcome.encoder, run.prepared.matrix, outcome.rows)[0]
    for name in ("blend", "stack"):
        for candidate in outcome.candidates:
            candidate.chosen = candidate.model == name
        folder = tmp_path / f"bundle of {name}"
        bundling.write(run.config, run.prepared.compiled, outcome, folder)
        read = bundling.read(folder).models[name]
        fitted = outcome.fitted[name]
        assert same(read.predict(X), fitted.predict(X))
        assert same(read.predict(X[:1]), [one[:1] for one in fitted.predict(X)])
        assert (read.notes, list(read.tasks)) == (fitted.notes, list(fitted.tasks))
        assert read.iterations == fitted.iterations
        assert same(read.importance(), fitted.importance())
        assert all(share.sum() == pytest.approx(1) for share in read.importance())
        assert not isinstance(read, Explains)  # a mixture's log-odds are no sum of its members'
        files = {path.suffix for path in folder.rglob("*") if path.is_file()}
        assert files <= {".json", ".safetensors", ".skops", ".txt"}
        store.save(tmp_path / name, run.config.model[name], read)
        assert same(store.load(tmp_path / name).predict(X), fitted.predict(X))
        assert all(found.drivers for found in explain(run.config, run.prepared, outcome).values())
        for candidate in outcome.candidates:
            if candidate.target != "spent":
                assert candidate.basis == "cross-fitted on 5 folds of entities"
            elif candidate.model != "blend":
                assert candidate.basis == "nothing is fitted on it"
            else:
                assert candidate.basis == "cross-fitted on 5 folds of entities"


def test_a_damaged_ensemble_is_refused_by_name(tmp_path: Path) -> None:
    outcome = experiment(flat(tmp_path, clean(400), model=LOGISTIC | FOREST | BLEND)).run()
    store.save(tmp_path / "model", outcome.models["blend"], outcome.fitted["blend"])
    (tmp_path / "model" / "ensemble.json").write_text('{"members": ["a"]}')
    with pytest.raises(BundleError, match=r"ensemble\.json"):
        store.load(tmp_path / "model")


# --- what is fitted before is found ---------------------------------------------------------------------


def fits(config: Any) -> list[str]:
    made = experiment(config)
    made.run()
    return [name.removeprefix("fits:") for name in made.place.cache.built if name.startswith("fits:")]


def test_members_are_found_and_settings_of_an_ensemble_fit_nothing_again(tmp_path: Path) -> None:
    frame = clean(600)

    def once_more(**lines: Any) -> list[str]:
        return fits(flat(tmp_path, frame, model=LOGISTIC | FOREST | lines))

    parts = [f"{name}, fold {n} of 3 on y" for n in (1, 2, 3) for name in ("logistic", "forest")]
    assert once_more() == ["logistic on y", "forest on y"]
    assert once_more(**BLEND) == []
    assert once_more(blend={"kind": "blend", "weights": {"logistic": 1, "forest": 2}}) == []
    assert once_more(stack={"kind": "stack", "folds": 3}) == parts
    assert once_more(stack={"kind": "stack", "folds": 3, "C": 0.1}, **BLEND) == []
    assert once_more(stack={"kind": "stack", "folds": 2})[:1] == ["logistic, fold 1 of 2 on y"]
    stronger = {"kind": "logistic", "C": 0.1}
    again = once_more(logistic=stronger, stack={"kind": "stack", "folds": 3})
    assert again == ["logistic on y", *(part for part in parts if part.startswith("logistic"))]


def test_found_or_fitted_an_ensemble_is_the_same(tmp_path: Path) -> None:
    config = flat(tmp_path, clean(600), model=LOGISTIC | FOREST | BLEND | STACK)
    first, again = (experiment(config).run() for _ in range(2))
    for a, b in zip(first.candidates, again.candidates, strict=True):
        assert np.array_equal(first.scores[(a.model, "y")].score, again.scores[(b.model, "y")].score)
        assert (a.validation, a.test, a.notes) == (b.validation, b.test, b.notes)


# --- proofs -----------------------------------------------------------------------------------------------


def proofs(folder: Path) -> tuple[str, list[str]]:
    config = dated(folder, *people(400), model=LOGISTIC | FOREST | BLEND | STACK, cohort=CUTOFFS)
    found = all_proofs(config, quiet)
    return "\n".join(one.text for one in found), [one.text for one in found if not one.holds]


def test_held_out_rows_leave_ensembles_alone(tmp_path: Path) -> None:
    said, failed = proofs(tmp_path)
    assert failed == []
    both = [line for line in said.splitlines() if "model blend" in line and "model stack" in line]
    assert [line[line.index("when") :].partition(":")[0] for line in both] == [
        "when validation and test rows are scrambled", "when test rows are scrambled",
    ]  # fmt: skip


def test_weights_that_look_at_the_test_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ensembles.put_together

    def peeking(model: Any, declared: Any, fitted: Any, said: Any, ground: Ground) -> Any:
        """The member that is surest of the last rows, which are of the test, weighs more."""
        found, seconds = honest(model, declared, fitted, said, ground)
        if isinstance(model, Blend):
            sure = [np.abs(said[member.name][0] - 0.5)[-50:].sum() for member in found.members]
            found = replace(found, combiners=(Mixture.relative(sure if sum(sure) else [1] * len(sure)),))
        return found, seconds

    monkeypatch.setattr(ensembles, "put_together", peeking)
    _, failed = proofs(tmp_path)
    assert "model blend changes when test rows are scrambled" in failed
    assert not any(text.startswith("model stack") for text in failed)


# --- from the command line ----------------------------------------------------------------------------------

FEW = ["model.lightgbm.num_iterations=20", "report.html=false"]


def test_the_command_line_puts_models_together(work: Work) -> None:
    said = work.run("recipe=shop", "model=[blend,lightgbm,logistic]", *FEW, "model.blend.weights=equal")
    assert said.code == 0, said.err
    assert re.search(r"^\W+blend +0\.\d", said.out, re.MULTILINE)
    assert len(work.runs()) == 1


def test_a_chosen_ensemble_scores_new_rows_as_in_the_run(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.training import experiment as experiments

    def prefer(config: Any, outcome: Outcome) -> None:
        for candidate in outcome.candidates:
            candidate.chosen = candidate.model == "stack"

    monkeypatch.setattr(experiments, "choose_models", prefer)
    said = work.run("recipe=shop", "model=[lightgbm,logistic,stack]", FEW[0])
    assert said.code == 0, said.err
    (run,) = work.runs()
    assert (run / "report.html").is_file()
    assert {"members"} <= {path.name for path in (run / "bundle" / "models" / "stack").iterdir()}
    bundle.read(run / "bundle")
    said = work.run("score", f"run={run}", "cutoff=2022-01-01", "output=scored")
    assert said.code == 0, said.err
    ran = pd.read_parquet(run / "predictions.parquet").query("part == 'test'")
    new = pd.read_parquet(work.folder / "scored" / "scores.parquet")
    both = ran.merge(new, on=["entity", "cutoff"], suffixes=("", " new"), validate="1:1")
    assert len(both) == len(ran) > 50
    for name in ("orders_again.score", "orders_again.probability"):
        assert np.allclose(both[name], both[f"{name} new"], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["model=[lightgbm,logistic,blend]", "model.blend.of=[lightgbm,logstic]"],
         ["`model.blend.of.1`: no model of this recipe is called `logstic`", "did you mean `logistic`?", "command line"]),
        (["model=[blend]"], ["blend.yaml:4", "at least two members, and here it has none", "model=[lightgbm,logistic,blend]"]),
        (["model=[logistic,stack]"], ["stack.yaml:4", "at least two members, and here it has one, `logistic`"]),
        (["model=[logistic,lightgbm,blend]", "model.blend.of=[logistic,blend]"], ["cannot be made of itself"]),
        (["model=[logistic,lightgbm,blend,stack]", "model.blend.of=[logistic,stack]"],
         ["`stack` is an ensemble itself", "logistic, lightgbm"]),
        (["model=[logistic,lightgbm,blend]", "model.blend.of=[logistic,logistic]"], ["`logistic` stands there twice"]),
        (["model=[logistic,lightgbm,blend]", "model.blend.weights={logistic: 1, lihgtgbm: 2}"],
         ["`model.blend.weights.lihgtgbm`", "did you mean `lightgbm`?"]),
        (["model=[logistic,lightgbm,prior,blend]", "model.blend.of=[logistic,prior]", "model.blend.weights={logistic: 1, lightgbm: 2}"],
         ["`of` and `weights` disagree about"]),
        (["model=[logistic,lightgbm,blend]", "model.blend.weights={logistic: 0, lightgbm: 0}"], ["a number above 0"]),
        (["model=[logistic,lightgbm,blend]", "model.blend.weights={logistic: -1, lightgbm: 2}"], ["at least 0"]),
        (["model=[logistic,lightgbm,stack]", "+model.stack.search={C: {float: [0.1, 1]}}"], ["an ensemble has no `search`"]),
    ],
)  # fmt: skip
def test_what_cannot_be_put_together_is_told_by_its_key(
    work: Work, words: list[str], wanted: list[str]
) -> None:
    message = work.refused("recipe=shop", *words)
    for text in wanted:
        assert text in message, message


def test_tuning_tunes_members_and_the_ensemble_is_made_of_the_tuned(tmp_path: Path) -> None:
    searching = {"logistic": {"kind": "logistic", "search": {"C": {"float": [1e-6, 1e-5], "log": True}}}}
    config = flat(
        tmp_path, clean(400), model=BLEND | FOREST | searching, tuning={"kind": "optuna", "trials": 2}
    )
    outcome = experiment(config).run()
    kept = next(member for member in outcome.fitted["blend"].members if member.name == "logistic")
    assert kept.config.C < 1e-4
    assert "blend" not in outcome.studies
