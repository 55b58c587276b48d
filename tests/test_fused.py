"""Fusion: trees that see the row, and hear out of fold what other models say of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from drawer import DECLARED, papers, write
from pydantic import ValidationError
from scipy.special import softmax
from small import LOGISTIC, clean, config, experiment, flat, quiet
from test_stack_honesty import of

from toolkit.config.schema import Config
from toolkit.evaluation import metrics
from toolkit.evaluation.bootstrap import EntityBootstrap
from toolkit.models import Batch, Task, store
from toolkit.models.fused import Fused, FusedFitted, heard, heard_columns
from toolkit.models.one_by_one import OneByOne, Rows
from toolkit.models.text import Reduced
from toolkit.prepared import joined
from toolkit.proof import all_proofs
from toolkit.proof.held_out import held_out
from toolkit.registry import Component, models
from toolkit.report.members import against_models
from toolkit.training import experiment as experiments
from toolkit.training.experiment import encoded, label_all, modalities
from toolkit.training.folds import Ground

TOP = {"kind": "lightgbm", "num_iterations": 60, "learning_rate": 0.1, "early_stopping_rounds": None}
FUSED = {"fused": {"kind": "fused", "of": ["memory"], "top": TOP, "folds": 3}}
WHICH = Task("y", "multiclass", ("a", "b", "c"))


@dataclass
class Known:
    """Rows by their bytes, and their labels; of another row it says that all classes are as likely."""

    labels: dict[bytes, int]
    classes: int
    iterations: int | None = None
    notes: list[str] = field(default_factory=list)

    def predict(self, X: np.ndarray) -> np.ndarray:
        sure, none = np.eye(self.classes), np.full(self.classes, 1 / self.classes)
        said = [sure[self.labels[row.tobytes()]] if row.tobytes() in self.labels else none for row in X]
        found = np.array(said).reshape(len(X), self.classes)
        return found[:, 1] if self.classes == 2 else found

    def importance(self) -> None:
        return None

    def save(self, folder: Path) -> None:
        facts = {row.hex(): label for row, label in self.labels.items()}
        (folder / "known.json").write_text(json.dumps([facts, self.classes]))


class Memory(OneByOne):
    """Gives the label of a row that it has seen."""

    kind: Literal["memory"] = "memory"

    def fit_one(self, task: Task, columns: Any, train: Rows, valid: Rows, **options: Any) -> Known:
        labels = {row.tobytes(): int(label) for row, label in zip(train.X, train.y, strict=True)}
        return Known(labels, len(task.classes) or 2)

    def load_one(self, folder: Path, task: Task, iterations: int | None, notes: list[str]) -> Known:
        facts, classes = json.loads((folder / "known.json").read_text())
        return Known({bytes.fromhex(row): label for row, label in facts.items()}, classes, iterations, notes)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    models.add(Component("memory", Memory, build=lambda made: made))
    yield
    del models.components["memory"]


# --- memory earns nothing -------------------------------------------------------------------------------


def kinds(rows: int, seed: int = 0) -> pd.DataFrame:
    """Three kinds that two numbers tell apart fairly well."""
    frame = clean(rows, seed)
    risk = 0.06 * (frame["age"] - 50) + np.random.default_rng(seed).normal(0, 1, rows)
    return frame.assign(y=np.select([risk < -0.8, risk < 0.8], ["a", "b"], "c"))


LABEL = {
    "yes or no": {},
    "several classes": {"target": {"y": {"kind": "column", "column": "y", "type": "multiclass"}}},
}


@pytest.mark.parametrize("label", LABEL)
def test_a_member_that_knows_its_training_rows_by_heart_is_not_listened_to(
    tmp_path: Path, label: str
) -> None:
    frame = kinds(1_200) if LABEL[label] else clean(1_200)
    lines = {"alone": TOP, "memory": {"kind": "memory"}} | FUSED
    made = experiment(of(flat(tmp_path, frame, **LABEL[label]), lines))
    outcome = made.run()
    fused: FusedFitted = outcome.fitted["fused"]  # type: ignore[assignment]
    (task,), (top,) = outcome.tasks, fused.tops
    ears = len(heard_columns(task, ["memory"]))
    assert top.importance()[0][-ears:].sum() < 0.03
    test = {c.model: c.test["log_loss"] for c in outcome.of("y")}
    assert test["fused"] == pytest.approx(test["alone"], abs=0.02)

    # The control: trees that hear what the member says of rows that it was fitted on listen to nothing else.
    rows = np.flatnonzero(outcome.assignment.rows(0))
    X = encoded(outcome.encoder, made.prepared.matrix, rows)[0]
    y = label_all(made.prepared.compiled, made.prepared.matrix, outcome.assignment.rows(0))[1][rows]
    said = [member.fitted.predict(X)[0] for member in fused.members]
    wide = np.hstack([X, heard(task, said, len(X))])
    columns = [*outcome.encoder.columns, *heard_columns(task, ["memory"])]
    fooled = Fused(top=TOP).top.fit(
        [task], columns, Batch(wide, y), Batch(wide[:0], y[:0]), seed=0, threads=1
    )
    assert fooled.importance()[0][-ears:].sum() > 0.9


# --- what each part knows ---------------------------------------------------------------------------------

TEXT = {"kind": "tfidf_linear", "classifier": "logistic", "C": 10.0}
TREES = {
    "kind": "lightgbm", "num_iterations": 60, "min_data_in_leaf": 20, "early_stopping_rounds": None,
    "inputs": {"text": {"reduce": 10, "ngrams": 1}},
}  # fmt: skip


def drawer(folder: Path, frame: pd.DataFrame, **parts: Any) -> Config:
    write(folder / "data", frame)
    features = {name: DECLARED["features"][name] for name in ("numbers", "words")}
    declared: dict[str, Any] = DECLARED | {"features": features, "evaluation": {"bootstrap": 100}} | parts
    return config(folder, **declared)


def test_columns_and_texts_together_beat_each_alone_with_paired_intervals(tmp_path: Path) -> None:
    """Numbers tell apart what words do not, and the other way round."""
    lines = {
        "numbers": {"kind": "lightgbm", "num_iterations": 40, "early_stopping_rounds": None}, "words": TEXT,
        "fused": {"kind": "fused", "of": ["words"], "top": TREES, "folds": 2},
    }  # fmt: skip
    made = experiment(drawer(tmp_path, papers(1_500), model=lines))
    outcome = made.run()
    fused = next(c for c in outcome.of("label") if c.model == "fused")
    assert set(fused.over_models) == {"accuracy", "macro_f1", "log_loss"}
    for name in ("numbers", "words"):
        assert fused.over_models["accuracy"][name][1] > 0
    said = against_models("fused", fused.over_models)
    assert said.startswith("fused beats both models alone on the test: accuracy +")
    less = {"log_loss": {"words": (-0.2, -0.3, -0.1)}}  # lower is better
    assert against_models("fused", less, "log_loss") == (
        "fused beats the model alone on the test: log loss +0.200 [+0.100, +0.300] over words"
    )
    assert "hears words on 901 of 901 training rows" in fused.notes[0]

    fitted: FusedFitted = outcome.fitted["fused"]  # type: ignore[assignment]
    store.save(tmp_path / "kept", made.config.model["fused"], fitted)
    again = store.load(tmp_path / "kept")
    X = encoded(outcome.encoder, made.prepared.matrix, outcome.rows)[0]
    besides = modalities(outcome.encoder, made.prepared.matrix, outcome.rows)
    assert np.array_equal(fitted.predict(X, besides)[0], again.predict(X, besides)[0])
    assert np.array_equal(
        fitted.predict(X[:1], besides.some(np.arange(1)))[0], fitted.predict(X, besides)[0][:1]
    )
    values, bias = fitted.contributions(X, besides)[0]
    assert softmax(values.sum(axis=1) + bias, axis=1) == pytest.approx(
        fitted.predict(X, besides)[0], abs=1e-6
    )


def test_what_stays_together_is_in_one_fold(tmp_path: Path) -> None:
    """Ten copies of each paper: a member that is asked about a paper has not seen its copy."""
    frame = papers(60)
    copies = pd.concat([frame.assign(id=frame["id"] + f"-{n}", twin=frame["id"]) for n in range(10)])
    table = DECLARED["dataset"]["tables"]["papers"]
    dataset = {
        "entity": "papers",
        "tables": {"papers": table | {"columns": table["columns"] | {"twin": "text"}}},
    }
    found = {}
    for together in (None, "twin"):
        split = {"kind": "grouped", "together": together}
        made = experiment(drawer(tmp_path, copies, dataset=dataset, split=split))
        matrix, rows = made.prepared.matrix, np.flatnonzero(made.prepared.assignments[-1].rows(0))
        ground = Ground.of(made.config, made.prepared.compiled, matrix, rows, None, None)  # type: ignore[arg-type]
        twin = np.array([key.partition("-")[0] for key in matrix.entity[rows]])
        found[together] = sum(
            len(set(twin[fold.fitted]) & set(twin[fold.predicted])) for fold in ground.folds(5)[0]
        )
    assert found["twin"] == 0
    assert found[None] > 100  # the control


def test_what_either_column_holds_together_is_one_unit() -> None:
    unit = joined(np.array([*"aabbcd"], object), np.array([*"uvvwxy"], object))
    assert pd.factorize(unit)[0].tolist() == [0, 0, 0, 0, 1, 2]


def test_the_proofs_cover_a_fusion(tmp_path: Path) -> None:
    lines = LOGISTIC | {"fused": {"kind": "fused", "of": ["logistic"], "top": TOP, "folds": 2}}
    found = all_proofs(flat(tmp_path, clean(400), model=lines), quiet)
    assert [one.text for one in found if not one.holds] == []
    assert any("model fused" in one.text for one in found)


FEW = {
    "words": TEXT, "fused": {"kind": "fused", "of": ["words"], "top": TREES | {"num_iterations": 5}, "folds": 2}
}  # fmt: skip


def test_the_proofs_cover_what_a_fusion_of_classes_makes_of_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = experiment(drawer(tmp_path, papers(200), model=FEW))
    found = held_out(made.config, made.prepared, quiet)
    assert [one.text for one in found if not one.holds] == []
    assert all("inputs of fused on label" in one.text for one in found)

    # The control: directions that are learnt from the texts of all rows.
    honest, batch, seen = Reduced.fit, experiments.batch, list[Any]()

    def remembers(encoder: Any, matrix: Any, *others: Any) -> Batch:
        seen[:] = matrix.texts
        return batch(encoder, matrix, *others)

    def peeks(settings: Any, size: int, texts: Any, seed: int) -> Reduced:
        return honest(settings, size, seen, seed)

    monkeypatch.setattr(experiments, "batch", remembers)
    monkeypatch.setattr(Reduced, "fit", peeks)
    moved = [one.text for one in held_out(made.config, made.prepared, quiet) if not one.holds]
    assert any(text.startswith("inputs of fused on label changes") for text in moved)


def test_a_class_of_one_paper_texts_that_lack_and_a_fold_without_a_class_stop_nothing(tmp_path: Path) -> None:
    frame = papers(240)
    frame.loc[frame.index[:2], "label"] = ["odd", "rare"]
    frame.loc[frame.index[10:40], "said"] = None
    split = {"kind": "grouped"}
    outcome = (
        made := experiment(drawer(tmp_path, frame, model=FEW, split=split, evaluation={"bootstrap": 0}))
    ).run()
    learnt = {"odd", "rare"} & set(outcome.tasks[0].classes)
    told = " ".join(made.prepared.found)
    for one in {"odd", "rare"} - learnt:
        assert f"`{one}`" in told
        assert "of classes that no training row has" in told
    assert "classes of one row" in told
    probability = outcome.scores[("fused", "label")].probability
    assert probability.sum(axis=1) == pytest.approx(1, abs=1e-6)


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"of": ["logistik"]}, "no model of this recipe is called `logistik`"),
        ({"of": ["fused"]}, "an ensemble cannot be made of itself"),
        ({"of": ["logistic"], "top": {"kind": "logistic"}}, "does not match any of the expected tags"),
        ({"of": ["logistic"], "search": {"folds": {"int": [2, 3]}}}, "an ensemble has no `search`"),
    ],
)
def test_names_that_mean_nothing_are_refused(tmp_path: Path, wrong: dict[str, Any], says: str) -> None:
    lines = LOGISTIC | {"fused": {"kind": "fused"} | wrong}
    with pytest.raises(ValidationError, match=says):
        flat(tmp_path, clean(50), model=lines)


def test_members_that_nobody_declares_are_to_be_declared(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"declare it beside the ensemble: model=\[words,fused\]"):
        flat(tmp_path, clean(50), model={"fused": {"kind": "fused", "of": ["words"]}})


def test_a_fusion_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="an ensemble needs at least one member, and here it has none"):
        flat(tmp_path, clean(50), model={"fused": {"kind": "fused"}})


# --- several classes --------------------------------------------------------------------------------------


def test_the_error_of_calibration_is_that_of_the_likeliest_class() -> None:
    """By hand: sure rows say 0.9 and are right 3 of 4 times, the others say 0.5 and are right 2 of 4."""
    p = np.repeat([[0.9, 0.05, 0.05], [0.25, 0.5, 0.25]], 4, axis=0)
    y = np.array([0, 0, 0, 1, 1, 1, 0, 2])
    assert metrics.calibration_metrics("multiclass", y, p)["ece"] == pytest.approx((4 * 0.15 + 0) / 8)
    boot = EntityBootstrap(np.arange(8), 50)
    draws = boot.multiclass(y, p, p, p.argmax(axis=1))
    assert set(draws) == set(metrics.evaluate("multiclass", y, p, p, p.argmax(axis=1)))


def test_the_intervals_of_a_class_are_those_of_its_own_rows() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 3_000)
    decision = np.where(rng.random(3_000) < 0.8, y, 0)
    draws = EntityBootstrap(np.arange(3_000), 200).per_class(y, decision, 3)
    recall = draws["recall"]
    assert np.all(recall[0] == 1)
    low, high = np.percentile(recall[1], [2.5, 97.5])
    assert low < 0.8 < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.8 * 0.2 / (y == 1).sum()), rel=0.25)


def test_any_of_four_metrics_chooses_among_models_of_several_classes(tmp_path: Path) -> None:
    lines = {
        "words": TEXT,
        "numbers": {"kind": "lightgbm", "num_iterations": 20, "early_stopping_rounds": None},
    }
    made = experiment(drawer(tmp_path, papers(600), model=lines))
    for metric in ("macro_auc", "accuracy", "macro_f1", "log_loss"):
        evaluation = made.config.evaluation.model_copy(update={"bootstrap": 0, "select_classes_by": metric})
        outcome = made.run(evaluation=evaluation)
        values = {c.model: c.validation[metric] for c in outcome.of("label") if c.model in lines}
        best = min if metric == "log_loss" else max
        assert outcome.chosen("label").model == best(values, key=values.__getitem__)
