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
from toolkit.models import store
from toolkit.models.interface import Batch
from toolkit.registry import models
from toolkit.training import experiment as experiments
from toolkit.training.split import TRAIN, VALIDATION

KINDS = [
    name for name in models.names() if name not in ("prior", "rule", "formula", "tfidf_linear")
]  # a formula needs features, and the last one texts


def short(*kinds: str) -> dict[str, dict[str, Any]]:
    """Models of some kinds by their own names, fitted in few rounds."""
    rounds = {"num_iterations": 10, "num_boost_round": 10, "max_iterations": 10, "trees": 10}
    rounds |= {"trainer": {"epochs": 5}}
    return {
        kind: {"kind": kind} | {k: n for k, n in rounds.items() if k in models.get(kind).config.model_fields}
        for kind in kinds
    }


class Killed(BaseException):
    """Stands for a signal: nothing may catch it."""


BOTH = ["logistic on y", "forest on y"]
TOGETHER = {"forest": FOREST["forest"] | {"multi_output": True}}  # one model of all targets


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
    assert fitted(config) == ["lightgbm on y"]
    assert fitted(config) == []


def test_what_a_network_goes_on_from_is_kept_until_its_fit_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = flat(tmp_path, clean(300), model=short("multimodal"))
    state = Path(config.cache) / "unfinished"

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(store, "save", killed)  # learnt to the end, and not yet written down
        with pytest.raises(Killed):
            experiment(config).run()
    assert len([*state.glob("*/state.safetensors")]) == 1
    assert fitted(config) == ["multimodal"]
    assert [*state.glob("*")] == []


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

    assert once_more() == BOTH
    assert once_more() == []
    stronger = {"logistic": {"kind": "logistic", "C": 0.1}}
    assert once_more(model=stronger | FOREST) == ["logistic on y"]
    assert once_more(seed=1) == BOTH
    assert once_more(split={"kind": "random", "test": 0.3}) == BOTH
    assert once_more(frame=frame.assign(age=frame["age"] + 1)) == BOTH
    less = {"all": {"kind": "attributes", "table": "rows", "exclude": ["town"]}}
    assert once_more(features=less) == BOTH
    # What only judges does not fit again.
    assert (
        once_more(evaluation={"bootstrap": 10}, threshold={"kind": "reach_precision", "precision": 0.6}) == []
    )


TWICE = AGAIN | {"at_least": 2}


def test_a_target_more_is_a_fit_more_for_models_that_learn_targets_one_by_one(tmp_path: Path) -> None:
    tables, lines = people(), LOGISTIC | TOGETHER | LIGHTGBM

    def once_more(*targets: str) -> list[str]:
        target = {name: {"again": AGAIN, "twice": TWICE}[name] for name in targets}
        return fitted(dated(tmp_path, *tables, model=lines, target=target))

    assert once_more("again") == ["logistic on again", "forest", "lightgbm on again"]
    assert once_more("again", "twice") == ["logistic on twice", "forest", "lightgbm on twice"]
    assert once_more("twice", "again") == ["forest"]
    assert once_more("again") == []


def test_fits_kept_apart_are_the_fit_of_all_targets_to_the_last_bit(tmp_path: Path) -> None:
    """Also when one was kept by an earlier run, and with rows that have no label of one of the targets."""
    made = people()
    recent = TWICE | {"among": [{"table": "events", "within": "12 months"}]}
    line = short(
        *(kind for kind in KINDS if getattr(models.get(kind).config(kind=kind), "one_by_one", False))
    )
    assert {"logistic", "lightgbm", "xgboost", "hist_gbm"} <= set(line)
    experiment(dated(tmp_path, *made, model=line)).run()
    config = dated(tmp_path, *made, model=line, target={"again": AGAIN, "twice": recent})
    run = experiment(config)
    outcome = run.run()
    matrix, assignment = run.prepared.matrix, run.prepared.assignments[-1]
    tasks, y, _ = experiments.label_all(run.prepared.compiled, matrix, assignment.rows(TRAIN))
    parts = [np.flatnonzero(assignment.rows(part)) for part in (TRAIN, VALIDATION)]
    train, valid = (Batch(experiments.encoded(outcome.encoder, matrix, rows)[0], y[rows]) for rows in parts)
    assert np.isnan(train.y).any()
    X = experiments.encoded(outcome.encoder, matrix, outcome.rows)[0]
    for name, model in config.model.items():
        at_once = models.get(name).build(model).fit(
            tasks, outcome.encoder.columns, train, valid, seed=config.seed, threads=1
        )  # fmt: skip
        joined = outcome.fitted[name]
        assert (list(joined.tasks), joined.iterations) == (list(at_once.tasks), at_once.iterations)
        for one, other in zip(joined.predict(X), at_once.predict(X), strict=True):
            assert np.array_equal(one, other), name


def test_another_meaning_of_the_label_makes_new_fits(tmp_path: Path) -> None:
    """The fraction of a quantile, or which value means yes, appears in no query: the labels themselves are the key."""
    persons, events = people()
    of = {"table": "events", "agg": "sum", "column": "amount", "window": "horizon"}

    def top(fraction: float, **parts: Any) -> list[str]:
        target = {
            "top": {"kind": "top_fraction", "fraction": fraction, "of": of, "horizon": "12 months"} | parts
        }
        return fitted(dated(tmp_path, persons, events, target=target))

    assert top(0.2) == ["logistic on top"]
    assert top(0.2, description="in other words", weight=2.0) == []
    assert top(0.4) == ["logistic on top"]
    assert top(0.2, among=[{"table": "events", "within": "24 months"}]) == ["logistic on top"]

    frame = clean(600)
    yes = {"y": {"kind": "column", "column": "y", "positive": "no"}}
    assert fitted(flat(tmp_path / "flat", frame)) == ["logistic on y"]
    assert fitted(flat(tmp_path / "flat", frame, target=yes)) == ["logistic on y"]


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
    outcome = experiment(flat(tmp_path, clean(800), model=short(*KINDS))).run()
    assert {candidate.model for candidate in outcome.candidates} == {"prior", "rule", *KINDS}
    assert all(
        candidate.test["roc_auc"] > 0.55 for candidate in outcome.candidates if candidate.model in KINDS
    )
