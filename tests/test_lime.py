"""Local explanations besides a model's own: a linear model around a row with its fidelity, and Shapley values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small

from toolkit.config.schema import Report
from toolkit.errors import ConfigError
from toolkit.evaluation.lime import TRUSTED, surrogate
from toolkit.models import Batch, Task, shapley
from toolkit.models.forest import RandomForest
from toolkit.models.hist_gbm import HistGBM
from toolkit.models.interface import Column
from toolkit.models.lightgbm import LightGBM
from toolkit.report.explain import check, explain

NUMERIC = np.zeros(6, bool)


def train(rows: int = 3_000) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, 6)).astype(np.float32)


class TestLime:
    def test_finds_what_matters_around_a_row_with_its_sign_and_says_that_it_follows(self) -> None:
        row = np.array([2, 2, -2, 0, 2, 2], np.float32)
        found = surrogate(
            lambda X: 3 * (X[:, 0] > 0.7) - 2.0 * (X[:, 1] > 0.7),
            row,
            train(),
            range(6),
            NUMERIC,
            np.random.default_rng(1),
        )
        assert found.weights[0] == pytest.approx(3, abs=0.15)
        assert found.weights[1] == pytest.approx(-2, abs=0.15)
        assert np.abs(found.weights[2:]).max() < 0.15
        assert found.fidelity > 0.95
        assert found.trusted
        assert found.words().endswith("on fresh perturbations.")

    def test_says_that_it_does_not_follow_a_model_that_no_line_follows(self) -> None:
        """The sign of a product changes with every column, and none of them says anything alone."""
        row = np.full(6, 0.1, np.float32)
        found = surrogate(
            lambda X: np.sign(X.prod(axis=1)), row, train(), range(6), NUMERIC, np.random.default_rng(1)
        )
        assert found.fidelity < TRUSTED
        assert not found.trusted
        assert "should not be trusted" in found.words()

    def test_its_fidelity_is_of_rows_that_it_was_not_fitted_on(self) -> None:
        """Noise has no R² on fresh rows, however many columns could learn it by heart."""
        rng = np.random.default_rng(3)
        wide = rng.normal(size=(500, 60)).astype(np.float32)
        found = surrogate(
            lambda X: rng.normal(size=len(X)),
            wide[0],
            wide,
            range(60),
            np.zeros(60, bool),
            np.random.default_rng(1),
            150,
        )
        assert found.fidelity < 0.1

    def test_is_sparse_leaves_columns_alone_that_it_is_not_asked_about_and_is_the_same_again(self) -> None:
        rng = np.random.default_rng(0)
        wide = rng.normal(size=(500, 40)).astype(np.float32)
        asked = list(range(5, 40))
        seen = []

        def predict(X: np.ndarray) -> np.ndarray:
            seen.append(X)
            return X.sum(axis=1)

        first, again = (
            surrogate(predict, wide[0], wide, asked, np.zeros(40, bool), np.random.default_rng(1))
            for _ in range(2)
        )
        assert np.count_nonzero(first.weights) <= 10
        assert (np.concatenate(seen)[:, :5] == wide[0, :5]).all()
        np.testing.assert_array_equal(first.weights, again.weights)

    def test_a_score_that_does_not_move_and_gaps_and_levels_are_no_trouble(self) -> None:
        X = train()
        X[::3, 0] = np.nan
        X[:, 1] = np.arange(len(X)) % 4
        levels = np.array([False, True, False, False, False, False])
        row = X[0].copy()  # its first column is a gap
        flat = surrogate(lambda X: np.zeros(len(X)), row, X, range(6), levels, np.random.default_rng(1))
        assert np.isnan(flat.fidelity)
        assert "nothing to say" in flat.words()
        found = surrogate(
            lambda X: np.isnan(X[:, 0]) + (X[:, 1] == row[1]) * 2.0,
            row,
            X,
            range(6),
            levels,
            np.random.default_rng(1),
        )
        assert found.weights[:2] == pytest.approx([1, 2], abs=0.1)


COLUMNS = [Column(f"c{place}") for place in range(6)]


def fitted(model: object, task: Task) -> tuple[object, np.ndarray]:
    X = train(1_500)
    X[np.random.default_rng(1).random(X.shape) < 0.1] = np.nan
    total = np.nan_to_num(X[:, 0]) * 2 + np.isnan(X[:, 1]) + np.nan_to_num(X[:, 2] * X[:, 3])
    y = {"binary": total > 0, "multiclass": np.digitize(total, [-1, 1]), "regression": total}[task.type]
    y = y.astype(np.float32)[:, None]
    return model.fit([task], COLUMNS, Batch(X, y), Batch(X[:0], y[:0]), seed=0, threads=1), X[:40]  # type: ignore[attr-defined]


class TestShapley:
    @pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
    def test_of_forests_add_up_to_what_the_forest_says(self, kind: str) -> None:
        task = Task("t", kind, ("a", "b", "c") if kind == "multiclass" else ())  # type: ignore[arg-type]
        forest, X = fitted(RandomForest(trees=15, max_depth=6), task)
        found = shapley.tree_shap(forest, 0, X)  # type: ignore[arg-type]
        assert found is not None
        np.testing.assert_allclose(found.bias + found.values.sum(axis=1), forest.predict(X)[0], atol=1e-9)  # type: ignore[attr-defined]

    def test_of_scikit_learns_boosting_add_up_to_its_log_odds(self) -> None:
        boosted, X = fitted(HistGBM(max_iterations=15), Task("t", "binary"))
        found = shapley.tree_shap(boosted, 0, X)  # type: ignore[arg-type]
        assert found is not None
        said = boosted.predict(X)[0]  # type: ignore[attr-defined]
        np.testing.assert_allclose(
            found.bias + found.values.sum(axis=1), np.log(said / (1 - said)), atol=1e-9
        )

    def test_a_model_that_says_its_contributions_itself_is_not_asked_twice(self) -> None:
        trees, X = fitted(LightGBM(num_iterations=5), Task("t", "binary"))
        assert shapley.tree_shap(trees, 0, X) is None  # type: ignore[arg-type]

    def test_of_any_model_add_up_and_are_exact_for_a_linear_one(self) -> None:
        X, weights = train(), np.array([2.0, -1.0, 0.5, 0.0, 3.0, 1.0])
        values, base = shapley.by_permutation(lambda Z: Z @ weights, X[0], X[:30], [0, 1, 2, 3], 0)
        assert base + values.sum() == pytest.approx(X[0] @ weights, abs=1e-6)
        np.testing.assert_allclose(values[:4], weights[:4] * (X[0, :4] - X[:30, :4].mean(axis=0)), atol=1e-5)
        assert (values[4:] == 0).all()

    def test_without_the_library_the_run_is_refused_with_the_fix(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        config = small.flat(tmp_path, small.clean(50), report=Report(explain_by="shap"))
        with pytest.raises(ConfigError, match="not installed") as error:
            check(config)
        assert "toolkit[shap]" in str(error.value.fix)


@pytest.mark.parametrize(
    ("model", "by", "note"),
    [(small.LOGISTIC, "lime", "LIME"), (small.FOREST, "shap", ""), (small.FOREST, "lime", "LIME"), (small.LIGHTGBM, "shap", "")],
    ids=["logistic by lime", "forest by shap", "forest by lime", "lightgbm by shap"],
)  # fmt: skip
def test_the_five_entities_of_a_report_are_explained_as_declared(
    tmp_path: Path, model: dict[str, object], by: str, note: str
) -> None:
    made = small.experiment(small.flat(tmp_path, small.clean(900), model=model, report={"explain_by": by}))
    [found] = explain(made.config, made.prepared, made.run()).values()
    assert len(found.examples) == 5
    for one in found.examples:
        assert note in one.note
        assert bool(one.note) == bool(note)
        assert one.reasons
    assert ("Shapley values of its trees" in found.explained_by) == (by == "shap" and "forest" in model)
    ages = [r for one in found.examples for r in one.reasons if r.feature == "all.visits"]
    assert ages  # what drives the label speaks
