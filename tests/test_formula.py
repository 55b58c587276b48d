"""A declared rule: it ranks as it is written, says what it cannot value, and is judged and kept like any model."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Work
from small import LIGHTGBM, LOGISTIC, clean, experiment, flat
from sqlglot import exp
from test_ensembles import auc

from toolkit import bundling
from toolkit.data.engine import Engine
from toolkit.errors import ConfigError, DataError, UserError
from toolkit.models import Batch, Column, Task, formula, store
from toolkit.models.formula import Formula, evaluate
from toolkit.prepared import check_names
from toolkit.training.experiment import encoded

YES, NUMBER, WHICH = Task("y", "binary"), Task("much", "regression"), Task("which", "multiclass", ("a", "b"))
COLUMNS = [Column("usage.users_30d"), Column("usage.days_since_last"), Column("who.town", "categorical", ("Oslo", "Rome"))]  # fmt: skip
ACTIVITY = "usage.users_30d / (1 + usage.days_since_last)"


def rows(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Users, days since the last use (missing for a tenth), a town; a yes is likelier where use is wide and recent."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.poisson(3, n), rng.exponential(10, n), rng.integers(0, 2, n)]).astype(np.float32)
    y = (rng.random(n) < 1 / (1 + np.exp(2 - 2 * X[:, 0] / (1 + X[:, 1])))).astype(np.float32)
    X[rng.random(n) < 0.1, 1] = np.nan
    return X, y[:, None]


def fitted(score: str, task: Task = YES, seed: int = 0, columns: list[Column] = COLUMNS) -> Any:
    X, y = rows(seed=seed)
    return Formula(score=score).fit([task], columns, Batch(X, y), Batch(X, y), seed=0, threads=1)


def test_it_ranks_by_the_expression_and_rows_without_a_value_last() -> None:
    X, _ = rows()
    model = fitted(ACTIVITY)
    said, value = model.predict(X)[0], X[:, 0].astype(float) / (1 + X[:, 1].astype(float))
    missing = np.isnan(value)
    order = np.argsort(value[~missing], kind="stable")
    assert (np.diff(said[~missing][order]) >= 0).all()
    assert len(np.unique(said[~missing])) == len(np.unique(value[~missing]))  # nothing is tied that was not
    assert said[missing].max() < said[~missing].min()
    assert ((said > 0) & (said < 1)).all()
    assert f"no value in {missing.sum()} of 400 training rows; such rows rank last" in model.notes[0][1]
    assert model.importance()[0].tolist() == [0.5, 0.5, 0]


def test_its_probabilities_are_near_what_happens() -> None:
    X, y = rows(20_000, seed=5)
    model = Formula(score=ACTIVITY).fit([YES], COLUMNS, Batch(X, y), Batch(X, y), seed=0, threads=1)
    assert model.predict(X)[0].mean() == pytest.approx(y.mean(), abs=0.01)


def test_what_is_missing_can_be_given_a_value_and_texts_are_texts() -> None:
    X = np.array([[4, np.nan, 0], [4, 1, np.nan], [6, 0, 1]], np.float32)
    used, levels = {column.name: n for n, column in enumerate(COLUMNS)}, {"who.town": ["Oslo", "Rome"]}
    assert np.isnan(evaluate(ACTIVITY, X, used, levels)).tolist() == [True, False, False]
    filled = "usage.users_30d / (1 + coalesce(usage.days_since_last, 7))"
    assert evaluate(filled, X, used, levels).tolist() == [0.5, 2, 6]
    town = "case who.town when 'Rome' then 2 when 'Oslo' then 1 else 0 end"
    assert evaluate(town, X, used, levels).tolist() == [1, 0, 2]
    assert evaluate("usage.users_30d > 5", X, used, levels).tolist() == [0, 0, 1]
    assert np.isnan(evaluate("usage.users_30d / usage.days_since_last", X, used, levels)).tolist() == [True, False, True]  # fmt: skip
    assert evaluate("7", X, used, levels).tolist() == [7, 7, 7]
    assert len(evaluate(ACTIVITY, X[:0], used, levels)) == 0


def test_a_rule_that_points_the_wrong_way_is_not_turned_round() -> None:
    X, y = rows()
    model = fitted("-usage.users_30d")
    assert auc(y[:, 0], model.predict(X)[0]) < 0.5
    assert "no more frequent where its value is higher" in model.notes[0][-1]
    assert len(fitted("usage.users_30d").notes[0]) == 1


def test_a_number_is_fitted_by_a_line() -> None:
    X, _ = rows()
    y = (3 + 2 * X[:, :1]).astype(np.float32)
    model = Formula(score="usage.users_30d").fit(
        [NUMBER], COLUMNS, Batch(X, y), Batch(X, y), seed=0, threads=1
    )
    assert np.allclose(model.predict(X)[0], y[:, 0], atol=1e-4)


@pytest.mark.parametrize(
    ("score", "wanted"),
    [
        ("usage.users_30 / 2", "did you mean `usage.users_30d`?"),
        ("usag.users_30d", "is not a column here"),
        ("(select 1)", "may not"),
        ("read_text('/etc/passwd')", "may not"),
        ("sum(usage.users_30d) over ()", "may not"),
        ("usage.users_30d; drop table x", "is not one SQL expression"),
        ("who.town", "is no number"),
    ],
)
def test_what_cannot_be_ranked_by_is_told(score: str, wanted: str) -> None:
    with pytest.raises(UserError) as caught:
        fitted(score)
    assert wanted in str(caught.value)


def test_several_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match="`which` has several classes"):
        fitted(ACTIVITY, WHICH)


def test_a_bundle_keeps_it_as_json_to_the_last_bit(tmp_path: Path) -> None:
    X, _ = rows(seed=3)
    model = fitted("case when who.town = 'Rome' then 2 else 1 end * " + ACTIVITY)
    store.save(tmp_path / "model", Formula(score=ACTIVITY), model)
    assert {path.suffix for path in (tmp_path / "model").rglob("*") if path.is_file()} == {".json"}
    again = store.load(tmp_path / "model")
    assert (again.predict(X)[0] == model.predict(X)[0]).all()
    assert again.notes == model.notes


def test_a_damaged_bundle_runs_nothing_else(tmp_path: Path) -> None:
    store.save(tmp_path / "model", Formula(score=ACTIVITY), fitted(ACTIVITY))
    (path,) = (tmp_path / "model").rglob("formula.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"score": "read_text('/etc/passwd')"}))
    with pytest.raises(ConfigError, match="may not"):
        store.load(tmp_path / "model").predict(rows()[0])


# --- in a run ---------------------------------------------------------------------------------------

RULE = {"activity": {"kind": "formula", "score": "all.age + 3 * all.visits"}}
BLENDS = {"blend": {"kind": "blend"}, "blend_equal": {"kind": "blend", "weights": "equal"}}


def test_it_is_a_rival_like_any_model_and_no_member_unless_it_is_named(tmp_path: Path) -> None:
    made = experiment(flat(tmp_path, clean(1_500), model=LOGISTIC | LIGHTGBM | RULE | BLENDS, evaluation={"bootstrap": 30}))  # fmt: skip
    outcome = made.run()
    by_name = {candidate.model: candidate for candidate in outcome.of("y")}
    assert 0.6 < by_name["activity"].test["roc_auc"] < by_name["logistic"].test["roc_auc"]
    assert by_name["activity"].calibrator is not None
    assert by_name["activity"].margin is not None
    assert by_name["activity"].per_list
    names = {name: [m.name for m in outcome.fitted[name].members] for name in BLENDS}
    assert names == {"blend": ["logistic", "lightgbm"], "blend_equal": ["logistic", "lightgbm"]}
    half = sum(outcome.scores[(name, "y")].score for name in ("logistic", "lightgbm")) / 2
    assert np.allclose(outcome.scores[("blend_equal", "y")].score, half, rtol=0, atol=1e-15)
    assert "50%" in by_name["blend_equal"].notes[0]
    assert not np.allclose(outcome.scores[("blend", "y")].score, half)


def test_a_blend_takes_it_by_name_and_weights_may_be_declared(tmp_path: Path) -> None:
    mixed = {"mixed": {"kind": "blend", "weights": {"logistic": 3, "activity": 1}}}
    outcome = experiment(flat(tmp_path, clean(600), model=LOGISTIC | LIGHTGBM | RULE | mixed)).run()
    want = 0.75 * outcome.scores[("logistic", "y")].score + 0.25 * outcome.scores[("activity", "y")].score
    assert np.allclose(outcome.scores[("mixed", "y")].score, want)


def test_chosen_it_comes_back_from_the_run_s_bundle(tmp_path: Path) -> None:
    made = experiment(flat(tmp_path, clean(800), model=RULE))
    outcome = made.run()
    assert outcome.chosen("y").model == "activity"
    bundling.write(made.config, made.prepared.compiled, outcome, tmp_path / "bundle")
    X = encoded(outcome.encoder, made.prepared.matrix, outcome.rows)[0]
    kept = bundling.read(tmp_path / "bundle").models["activity"]
    assert (kept.predict(X)[0] == outcome.fitted["activity"].predict(X)[0]).all()


def test_a_feature_that_is_not_there_is_told_by_its_key(tmp_path: Path) -> None:
    config = flat(tmp_path, clean(300), model={"activity": {"kind": "formula", "score": "all.agee"}})
    with pytest.raises(ConfigError) as caught:
        check_names(config, ["all.age", "all.visits"])
    assert "model.activity.score" in str(caught.value)
    assert "did you mean `all.age`?" in str(caught.value)


def test_an_empty_rule_is_refused(work: Work) -> None:
    assert "`score` is empty" in work.refused("recipe=shop", "+model.simple={kind: formula, score: ' '}")


# --- tuning by choice -------------------------------------------------------------------------------


def searching(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "search": {"learning_rate": {"float": [0.05, 0.3]}}} | more


def test_tuning_takes_the_models_and_the_metric_that_are_named(tmp_path: Path) -> None:
    models = {
        "lightgbm": searching("lightgbm", num_iterations=40, early_stopping_rounds=5),
        "xgboost": searching("xgboost", num_boost_round=40, early_stopping_rounds=5),
    }
    studies = {}
    for metric in ("pr_auc", "roc_auc", None):
        tuning = {"kind": "optuna", "trials": 2, "models": ["xgboost"], "metric": metric}
        outcome = experiment(flat(tmp_path, clean(500), model=models, tuning=tuning)).run()
        assert [*outcome.studies] == ["xgboost"]
        studies[metric] = outcome.studies["xgboost"]
        assert outcome.models["lightgbm"].learning_rate == 0.05
        assert outcome.models["xgboost"].learning_rate == outcome.studies["xgboost"].best["learning_rate"]
        assert any("stopped at" in note for note in outcome.of("y")[2].notes)  # early stopping stays
    assert studies["pr_auc"].metric == "pr_auc"
    assert studies["roc_auc"].metric == "roc_auc" == studies[None].metric
    assert studies[None].trials == studies["roc_auc"].trials  # found again, not tried again
    assert studies["pr_auc"].value < studies["roc_auc"].value


@pytest.mark.parametrize(
    ("models", "wanted"), [("[xgbost]", "did you mean"), ("[logistic]", "has no `search` space")]
)
def test_what_cannot_be_tuned_is_told_by_its_key(work: Work, models: str, wanted: str) -> None:
    said = work.refused(
        "recipe=shop", "model=[xgboost,logistic]", "~model.logistic.search", "tuning=optuna", f"tuning.models={models}"
    )  # fmt: skip
    assert "tuning.models" in said
    assert wanted in said


class TestItsEngine:
    def test_is_opened_once_in_a_thread_for_opening_takes_longer_than_a_row_may(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened = []
        monkeypatch.setattr(formula, "_kept", threading.local())
        monkeypatch.setattr(Engine, "__init__", _counting(opened))
        X = np.array([[3.0], [np.nan]], np.float32)
        for _ in range(3):
            np.testing.assert_array_equal(evaluate("2 * a", X, {"a": 0}, {}), [6.0, np.nan])
        assert len(opened) == 1
        other = threading.Thread(target=evaluate, args=("2 * a", X, {"a": 0}, {}))
        other.start()
        other.join()
        assert len(opened) == 2

    def test_keeps_no_rows_and_survives_a_mistake(self) -> None:
        with pytest.raises(ConfigError, match="is no number"):
            evaluate("'text'", np.zeros((2, 1), np.float32), {"a": 0}, {})
        np.testing.assert_array_equal(evaluate("a + 1", np.ones((1, 1), np.float32), {"a": 0}, {}), [2.0])
        with pytest.raises(DataError, match="rows"):
            formula._engine().arrow(exp.select("*").from_("rows"))


def _counting(opened: list[int]) -> Callable[..., None]:
    begin = Engine.__init__

    def init(self: Engine, *given: Any, **named: Any) -> None:
        opened.append(1)
        begin(self, *given, **named)

    return init
