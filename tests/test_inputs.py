"""The input stage of models: what it makes and keeps, on whose rows it is fitted, and how it is told and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from small import LIGHTGBM, LOGISTIC, clean, experiment, flat, quiet

from toolkit.models import Batch, Column, Explains, Task, store
from toolkit.models.inputs import Inputs, Stage
from toolkit.models.lightgbm import LightGBM
from toolkit.models.linear import Logistic
from toolkit.models.one_by_one import Rows
from toolkit.models.xgboost import XGBoost
from toolkit.proof import all_proofs
from toolkit.report.explain import explain
from toolkit.training import experiment as experiments

YES, NUMBER = Task("will", "binary"), Task("much", "regression")
WHICH = Task("which", "multiclass", ("a", "b", "c"))
COLUMNS = [
    Column("age"), Column("town", "categorical", ("Rome", "Oslo", "Bonn")), Column("rate"), Column("same"),
    Column("noise"), Column("plan", "categorical", ("a", "b")),
]  # fmt: skip
KBEST = {"one_hot": True, "scale": True, "keep": 5}
MODELS = {
    "xgboost": XGBoost(num_boost_round=15, early_stopping_rounds=None, inputs=Inputs(**KBEST)),
    "lightgbm": LightGBM(num_iterations=15, early_stopping_rounds=None, inputs=Inputs(**KBEST)),
    "logistic": Logistic(inputs=Inputs(**KBEST)),
}


def table(rows: int = 600, seed: int = 0) -> np.ndarray:
    """float32 [rows, 6]: gaps in `rate` and in `town`, one column that never varies."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([
        rng.normal(50, 9, rows), rng.integers(0, 3, rows), np.where(rng.random(rows) < 0.2, np.nan, rng.normal(size=rows)),
        np.ones(rows), rng.normal(size=rows), rng.integers(0, 2, rows),
    ]).astype(np.float32)  # fmt: skip
    X[rng.random(rows) < 0.1, 1] = np.nan
    return X


def label(X: np.ndarray, seed: int = 1) -> np.ndarray:
    """Yes by age, by living in Oslo, and by having no rate."""
    score = 0.1 * (X[:, 0] - 50) + 1.5 * (X[:, 1] == 1) + 1.5 * np.isnan(X[:, 2]) - 0.5
    return (np.random.default_rng(seed).random(len(X)) < 1 / (1 + np.exp(-score))).astype(np.float32)


def fit(model: Any, task: Task, y: np.ndarray, X: np.ndarray) -> Any:
    train = Batch(X, y[:, None].astype(np.float32))
    return model.fit([task], COLUMNS, train, Batch(X[:0], train.y[:0]), seed=0, threads=1)


# --- what is made and kept ----------------------------------------------------------------------------


def test_it_keeps_what_select_k_best_of_scikit_learn_keeps() -> None:
    """The reference: median imputation with indicators, StandardScaler, OneHotEncoder, SelectKBest(f_classif)."""
    from sklearn.compose import make_column_transformer
    from sklearn.feature_selection import SelectKBest, f_classif
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    X, fresh = table(), table(50, seed=9)
    y = label(X)
    frame, other = (
        pd.DataFrame(rows, columns=[c.name for c in COLUMNS]).fillna({"town": 3}) for rows in (X, fresh)
    )
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    gap = make_pipeline(SimpleImputer(strategy="constant", add_indicator=True))
    reference = make_pipeline(
        make_column_transformer(
            (numbers, ["age", "rate", "same", "noise"]), (gap, ["rate"]),
            (OneHotEncoder(handle_unknown="ignore"), ["town", "plan"]),
        ), SelectKBest(f_classif, k=5),
    ).fit(frame, y)  # fmt: skip
    stage = Stage.fit(Inputs(**KBEST), YES, COLUMNS, Rows(X, y.astype(np.int64)), 0)
    theirs = np.asarray(reference.transform(other))
    assert sorted(column.name for column in stage.columns(COLUMNS)) == [
        "age", "rate is missing", "town = Bonn", "town = Oslo", "town is missing",
    ]  # fmt: skip
    ours = stage.matrix(fresh)
    assert ours.shape == theirs.shape == (50, 5)
    for column in ours.T:  # in an order of their own
        assert np.isclose(theirs, column[:, None], atol=1e-5).all(axis=0).any()


@pytest.mark.parametrize(
    ("settings", "names", "missing"),
    [
        ({"scale": True}, ["age", "rate", "same", "noise", "rate is missing", "town", "plan"], False),
        ({"one_hot": True}, ["age", "rate", "same", "noise", "town = Rome", "town = Oslo", "town = Bonn", "town is missing",
                             "plan = a", "plan = b", "plan is missing"], True),
        ({"keep": 3}, ["age", "rate", "town"], True),
        ({"keep": 3, "score": "mutual_info"}, ["age", "rate", "town"], True),
    ],
)  # fmt: skip
def test_each_part_can_be_had_by_itself(settings: dict[str, Any], names: list[str], missing: bool) -> None:
    """A category that stays one, and a number that keeps its gaps, count by the best that is made of them."""
    X = table(3_000)
    stage = Stage.fit(Inputs(**settings), YES, COLUMNS, Rows(X, label(X).astype(np.int64)), 0)
    columns = stage.columns(COLUMNS)
    assert [column.name for column in columns] == names
    assert [column.kind for column in columns] == ["categorical" if c.name in ("town", "plan") else "numeric" for c in columns]  # fmt: skip
    made = stage.matrix(X)
    assert np.isnan(made[:, names.index("rate")]).any() == missing
    for place, origin in enumerate(stage.origin()):
        assert names[place].split(" ")[0] == COLUMNS[origin].name
    if "scale" not in settings:
        assert np.array_equal(made[:, 0], X[:, 0])


def test_numbers_and_classes_have_their_own_score_and_many_levels_stay_sparse() -> None:
    X = table(2_000)
    much = 3 * X[:, 4] + np.random.default_rng(0).normal(size=2_000)
    for score in ("f_test", "mutual_info"):
        stage = Stage.fit(Inputs(keep=1, score=score), NUMBER, COLUMNS, Rows(X, much), 0)
        assert [column.name for column in stage.columns(COLUMNS)] == ["noise"]
    codes = np.random.default_rng(1).integers(0, 900, 2_000)
    codes[:40] = 7
    wide = np.column_stack([codes, X[:, 0]]).astype(np.float32)
    columns = [Column("where", "categorical", tuple(map(str, range(900)))), Column("age")]
    y = (codes == 7) | (np.random.default_rng(2).random(2_000) < 0.1)
    stage = Stage.fit(
        Inputs(one_hot=True, scale=True, keep=2), YES, columns, Rows(wide, y.astype(np.int64)), 0
    )
    assert "where = 7" in [column.name for column in stage.columns(columns)]
    assert stage.matrix(wide).shape == (2_000, 2)


def test_more_than_there_are_keeps_all_and_says_so() -> None:
    fitted = fit(
        LightGBM(num_iterations=3, inputs=Inputs(one_hot=True, keep=99)), YES, label(table()), table()
    )
    assert "sees all 11 made of 6 features, fewer than 99" in fitted.notes[0]
    with pytest.raises(ValidationError, match="asks for nothing"):
        Inputs()
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Inputs(keep=0)


# --- behind it, a model -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("task", [YES, NUMBER, WHICH])
def test_a_model_behind_it_explains_the_columns_that_were_given_and_comes_back_from_its_files(
    tmp_path: Path, name: str, task: Task
) -> None:
    X = table()
    y = {"binary": label(X), "regression": X[:, 0] + label(X), "multiclass": 2 * label(X)}[task.type]
    fitted = fit(MODELS[name], task, y, X)
    assert isinstance(fitted, Explains)
    (found,), (score,), (share,) = fitted.contributions(X), fitted.predict(X), fitted.importance()
    assert found.values.shape[:2] == X.shape
    assert share is not None
    assert share.sum() == pytest.approx(1)
    assert share[3] == 0  # the column that never varies
    raw = found.bias + found.values.sum(axis=1)
    if task.type == "multiclass":
        seen = np.exp(raw[:, [0, 2]])
        assert np.allclose(seen / seen.sum(axis=1, keepdims=True), score[:, [0, 2]], atol=1e-5)
    else:
        assert np.allclose(raw if task.type == "regression" else 1 / (1 + np.exp(-raw)), score, atol=1e-4)
    store.save(tmp_path / "model", MODELS[name], fitted)
    again: Any = store.load(tmp_path / "model")
    assert np.array_equal(again.predict(X)[0], score)
    assert np.array_equal(again.contributions(X)[0].values, found.values)
    assert again.notes == fitted.notes
    assert again.predict(X[:0])[0].shape[0] == 0
    assert "that tell most of the target on training rows (F test): " in fitted.notes[0][-1]


def test_all_rounds_are_used_where_that_is_declared() -> None:
    X = table()
    for name in ("xgboost", "lightgbm"):
        fitted = fit(MODELS[name], YES, label(X), X)
        assert fitted.iterations == [15]
        assert "all rounds were used, as declared" in fitted.notes[0]


# --- in a run -----------------------------------------------------------------------------------------


def kbest(**lines: Any) -> dict[str, Any]:
    boosted = LIGHTGBM["lightgbm"] | {"inputs": KBEST}
    return {"lightgbm": boosted, **lines}


def test_each_fold_of_a_stack_and_each_target_selects_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []
    honest = Stage.fit.__func__  # type: ignore[attr-defined]

    def watched(cls: Any, settings: Any, task: Task, columns: Any, train: Rows, seed: int) -> Stage:
        seen.append((task.name, len(train)))
        return honest(cls, settings, task, columns, train, seed)

    monkeypatch.setattr(Stage, "fit", classmethod(watched))
    frame = clean(900).assign(z=lambda f: np.where(f["age"] > 50, "yes", "no"))
    target = {name: {"kind": "column", "column": name, "positive": "yes"} for name in ("y", "z")}
    lines = kbest(**LOGISTIC, stack={"kind": "stack", "folds": 3})
    made = experiment(flat(tmp_path, frame, model=lines, target=target))
    outcome = made.run()
    train = int(outcome.assignment.rows(0).sum())
    assert seen[:2] == [("y", train), ("z", train)]
    assert sorted(name for name, _ in seen[2:]) == ["y"] * 3 + ["z"] * 3
    assert sum(rows for _, rows in seen[2:]) == 2 * 2 * train  # each fold is fitted on two thirds
    (notes,) = [c.notes for c in outcome.candidates if (c.model, c.target) == ("lightgbm", "y")]
    assert any("sees the 5 of " in note for note in notes)
    chosen = next(c for c in outcome.of("y") if c.model == "lightgbm")
    for candidate in outcome.of("y"):
        candidate.chosen = candidate is chosen
    drivers = {driver.feature for driver in explain(made.config, made.prepared, outcome)["y"].drivers}
    assert drivers <= {f"all.{name}" for name in frame if name not in ("y", "z")}


def proofs(folder: Path) -> tuple[str, list[str]]:
    config = flat(folder, clean(500), model=kbest(stack={"kind": "stack"}, **LOGISTIC))
    found = all_proofs(config, quiet)
    return "\n".join(one.text for one in found), [one.text for one in found if not one.holds]


def test_what_is_selected_and_scaled_is_proved_to_be_of_training_rows(tmp_path: Path) -> None:
    said, failed = proofs(tmp_path)
    assert failed == []
    assert said.count("inputs of lightgbm on y") == 2


def test_a_scale_that_has_seen_held_out_rows_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trees say the same of their rows whatever the scale, so it is looked at by itself."""
    honest, label_all, ages = Stage.fit, experiments.label_all, []

    def overheard(compiled: Any, matrix: Any, train: Any) -> Any:
        ages.append(float(np.nanmean(matrix.columns["all.age"])))  # of all rows
        return label_all(compiled, matrix, train)

    def peeking(settings: Inputs, *data: Any) -> Stage:
        stage = honest(settings, *data)
        stage.design.mean[0] = ages[-1]
        return stage

    monkeypatch.setattr(experiments, "label_all", overheard)
    monkeypatch.setattr(Stage, "fit", peeking)
    _, failed = proofs(tmp_path)
    assert "inputs of lightgbm on y changes when validation and test rows are scrambled" in failed
    assert "inputs of lightgbm on y changes when test rows are scrambled" in failed
