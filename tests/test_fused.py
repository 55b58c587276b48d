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
from small import clean, experiment, flat
from test_stack_honesty import of

from toolkit.models import Task
from toolkit.models.fused import Fused, FusedFitted, heard, heard_columns
from toolkit.models.interface import Batch
from toolkit.models.one_by_one import OneByOne, Rows
from toolkit.registry import Component, models
from toolkit.training.experiment import encoded, label_all

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
