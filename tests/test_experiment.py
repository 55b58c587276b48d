"""One split: what was fitted before is found again, what changed is fitted anew, and rows exist once in memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small import AGAIN, FOREST, LIGHTGBM, LOGISTIC, clean, dated, experiment, flat, people

from toolkit.errors import DataError
from toolkit.registry import models
from toolkit.training import experiment as experiments
from toolkit.training.split import TRAIN


class Killed(BaseException):
    """Stands for a signal: nothing may catch it."""


def fitted(config: Any) -> list[str]:
    """Which models a run of a configuration fits rather than finds."""
    made = experiment(config)
    made.run()
    return [name.removeprefix("fits:") for name in made.place.cache.built if name.startswith("fits:")]


def test_an_interrupted_run_finds_its_finished_fits_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = flat(tmp_path, clean(600), model=LOGISTIC | FOREST | LIGHTGBM)
    honest = experiments.fit

    def killed_at_the_last(name: str, *rest: Any) -> Any:
        if name == "lightgbm":
            raise Killed
        return honest(name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(experiments, "fit", killed_at_the_last)
        with pytest.raises(Killed):
            experiment(config).run()
    assert fitted(config) == ["lightgbm"]
    assert fitted(config) == []


def test_a_fit_that_is_found_is_the_fit_that_was_made(tmp_path: Path) -> None:
    config = flat(tmp_path, clean(600), model=LOGISTIC | FOREST | LIGHTGBM, evaluation={"bootstrap": 20})
    first, again = experiment(config).run(), experiment(config).run()
    for a, b in zip(first.candidates, again.candidates, strict=True):
        assert np.array_equal(first.scores[(a.model, "y")].score, again.scores[(b.model, "y")].score)
        assert (a.test, a.intervals, a.notes) == (b.test, b.intervals, b.notes)
        assert a.model in ("prior", "rule") or a.seconds == b.seconds


def test_what_a_fit_depends_on_makes_a_new_one(tmp_path: Path) -> None:
    frame = clean(600)

    def once_more(**parts: Any) -> list[str]:
        return fitted(flat(tmp_path, parts.pop("frame", frame), **{"model": LOGISTIC | FOREST} | parts))

    assert once_more() == ["logistic", "forest"]
    assert once_more() == []
    stronger = {"logistic": {"kind": "logistic", "C": 0.1}}
    assert once_more(model=stronger | FOREST) == ["logistic"]
    assert once_more(seed=1) == ["logistic", "forest"]
    assert once_more(split={"kind": "random", "test": 0.3}) == ["logistic", "forest"]
    assert once_more(frame=frame.assign(age=frame["age"] + 1)) == ["logistic", "forest"]
    less = {"all": {"kind": "attributes", "table": "rows", "exclude": ["town"]}}
    assert once_more(features=less) == ["logistic", "forest"]
    # What only judges does not fit again.
    assert (
        once_more(evaluation={"bootstrap": 10}, threshold={"kind": "reach_precision", "precision": 0.6}) == []
    )


def test_another_meaning_of_the_label_makes_new_fits(tmp_path: Path) -> None:
    """The fraction of a quantile, or which value means yes, appears in no query: the labels themselves are the key."""
    persons, events = people()
    of = {"table": "events", "agg": "sum", "column": "amount", "window": "horizon"}

    def top(fraction: float, **parts: Any) -> list[str]:
        target = {
            "top": {"kind": "top_fraction", "fraction": fraction, "of": of, "horizon": "12 months"} | parts
        }
        return fitted(dated(tmp_path, persons, events, target=target))

    assert top(0.2) == ["logistic"]
    assert top(0.2, description="in other words", weight=2.0) == []
    assert top(0.4) == ["logistic"]
    assert top(0.2, among=[{"table": "events", "within": "24 months"}]) == ["logistic"]

    frame = clean(600)
    yes = {"y": {"kind": "column", "column": "y", "positive": "no"}}
    assert fitted(flat(tmp_path / "flat", frame)) == ["logistic"]
    assert fitted(flat(tmp_path / "flat", frame, target=yes)) == ["logistic"]


def test_the_encoder_is_fitted_on_training_rows(tmp_path: Path) -> None:
    frame = clean(600)
    frame.loc[0, "town"] = "Nowhere"
    made = experiment(flat(tmp_path, frame))
    row = int(np.flatnonzero(made.prepared.matrix.entity == str(_ids(frame)[0]))[0])
    for part, knows in ((TRAIN, True), (1, False), (2, False)):
        assignment = made.prepared.assignments[-1]
        assignment.part[row] = part
        outcome = made.run(assignment=assignment)
        town = next(column for column in outcome.encoder.columns if column.name == "all.town")
        assert ("Nowhere" in town.levels) == knows
        assert outcome.unseen["all.town"] == (0 if knows else 1)


def _ids(frame: pd.DataFrame) -> np.ndarray:
    """The keys that `flat` gives."""
    return np.random.default_rng(0).permutation(len(frame)) + 100_000


def test_a_target_without_labels_or_with_one_class_is_refused_by_name(tmp_path: Path) -> None:
    frame = clean(600)
    frame["y"] = np.where(np.arange(600) == 0, "yes", "no")
    with pytest.raises(DataError, match=r"target `y` is always no in all \d+ (training|validation) rows"):
        experiment(flat(tmp_path / "one", frame)).run()
    never = AGAIN | {"among": [{"table": "events", "at_least": 10_000}]}
    with pytest.raises(DataError, match="target `again` has no labelled training rows"):
        experiment(dated(tmp_path / "none", *people(), target={"again": never})).run()


def test_a_test_without_positives_has_no_auc_and_says_why(tmp_path: Path) -> None:
    made = experiment(flat(tmp_path, clean(600), evaluation={"bootstrap": 10}))
    assignment = made.prepared.assignments[-1]
    yes = made.prepared.matrix.values["y"] == "yes"
    assignment.part[(assignment.part == 2) & yes] = -1
    chosen = made.run(assignment=assignment).chosen("y")
    assert np.isnan(chosen.test["roc_auc"])
    assert chosen.undefined["roc_auc"] == "no positive row"


def test_the_array_is_held_once(tmp_path: Path) -> None:
    """Beyond the matrix's own columns a split holds the encoded training rows, and the others, once each."""
    rows, width = 60_000, 40
    rng = np.random.default_rng(0)
    frame = clean(400)
    made = experiment(flat(tmp_path, frame, model={"nothing": {"kind": "prior"}}))
    matrix = made.prepared.matrix
    wide = np.resize(np.arange(len(frame)), rows)
    features = [matrix.features[0]] * width
    columns = {}
    for number in range(width):
        name = f"all.x{number}"
        features[number] = type(matrix.features[0])(**vars(matrix.features[0]) | {"name": name})
        columns[name] = rng.normal(size=rows).astype(np.float32)
    big = type(matrix)(
        np.array([f"e{number}" for number in range(rows)], dtype=object), matrix.cutoff[wide], features, columns,
        {"y": matrix.values["y"][wide]}, {"y": np.ones(rows, bool)},
    )  # fmt: skip
    part = np.repeat(np.array([0, 1, 2], np.int8), [rows * 6 // 10, rows * 2 // 10, rows * 2 // 10])
    size = rows * width * 4
    train_rows, rest = np.flatnonzero(part == 0), np.flatnonzero(part != 0)
    encoder = experiments.fit_encoder(big, train_rows)
    tracemalloc.start()
    X_train, _ = experiments.encoded(encoder, big, train_rows)
    X_rest, _ = experiments.encoded(encoder, big, rest)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(X_train) + len(X_rest) == rows
    assert held < 1.05 * size
    assert peak < 2 * size  # the columns of one part are copied while it is put together


def test_every_model_kind_goes_through_a_split(tmp_path: Path) -> None:
    kinds = [name for name in models.names() if name not in ("prior", "rule")]
    short = {"num_iterations": 10, "num_boost_round": 10, "max_iterations": 10, "trees": 10}
    chosen = {}
    for kind in kinds:
        fields = models.get(kind).config.model_fields
        chosen[kind] = {"kind": kind} | {key: value for key, value in short.items() if key in fields}
    outcome = experiment(flat(tmp_path, clean(800), model=chosen)).run()
    assert {candidate.model for candidate in outcome.candidates} == {"prior", "rule", *kinds}
    assert all(
        candidate.test["roc_auc"] > 0.55 for candidate in outcome.candidates if candidate.model in kinds
    )
