"""The neural model learns what only it can see, goes on where it was stopped, and leaves a bundle without code."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from toolkit.errors import ConfigError, DataError
from toolkit.modalities import NOTHING, Graph, Modalities, Relation, Sequences
from toolkit.models import Batch, Column, Fitted, Task, store
from toolkit.models.neural import settings
from toolkit.models.neural.batches import order
from toolkit.models.neural.optimizing import Schedule, curve, optimizer
from toolkit.models.neural.scaling import Numbers, ScaledNodes
from toolkit.registry import models

TINY: dict[str, Any] = {
    "kind": "multimodal",
    "tabular": {"hidden": 16, "width": 8, "bins": 8, "number": 4, "dropout": 0.1},
    "sequence": {"hidden": 16, "width": 16, "pool": 2, "dropout": 0.0},
    "graph": {"hidden": 16, "width": 8, "dropout": 0.0},
    "fusion": {"width": 16, "channels": 8, "heads": 2, "dropout": 0.0},
    "heads": {"hidden": 8, "heads": 2, "dropout": 0.1},
    "loss": {"kind": "bce"},
    "optimizer": {"kind": "adamw", "lr": 0.01},
    "trainer": {"epochs": 4, "batch_rows": 64, "patience": 20, "accelerator": "cpu"},
}
COLUMNS = [
    Column("number"),
    Column("gappy"),
    Column("empty"),
    Column("level", "categorical", ("a", "b", "c")),
]
XOR, WARM = Task("turned", "binary"), Task("warm", "binary")
MIXED = [
    Task("will", "binary"),
    Task("which", "multiclass", ("low", "never", "high")),
    Task("much", "regression"),
]


def rows(count: int, seed: int) -> Batch:
    """`number` and `level` decide three targets. Events: the last two differ or not (target 3). Graph: the mean
    `warmth` of neighbours is above 0 or not (target 4), which the columns and a row's own warmth do not tell."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, 4)).astype(np.float32)
    X[:, 3] = rng.integers(0, 3, count)
    score = X[:, 0] + (X[:, 3] == 1)
    X[rng.random(count) < 0.3, 1], X[:, 2] = np.nan, np.nan
    lengths = rng.integers(2, 7, count)
    offsets = np.r_[0, np.cumsum(lengths)]
    codes = rng.integers(0, 2, (offsets[-1], 1)).astype(np.int32)
    turned = codes[offsets[1:] - 1, 0] != codes[offsets[1:] - 2, 0]
    events = Sequences(
        "visits", offsets, np.ones((offsets[-1], 1), np.float32), codes, ("one",), (("kind", ("x", "y")),)
    )
    warmth = rng.normal(size=count).astype(np.float32)
    heard = rng.integers(0, count, (count, 3))
    knows = Relation(np.arange(0, 3 * count + 1, 3), heard.ravel(), np.ones(3 * count, np.float32))
    friends = Graph("friends", warmth[:, None], (Column("warmth"),), np.arange(count), {"knows": knows})
    y = np.column_stack(
        [score > 0, np.where(score > 0.5, 2, 0), 100 + 30 * score, turned, warmth[heard].mean(1) > 0]
    )
    return Batch(X, y.astype(np.float32), Modalities((events,), (friends,)))


TRAIN, VALID, TEST = rows(600, 1), rows(300, 2), rows(300, 3)


def configured(**changes: Any) -> settings.Multimodal:
    merged = {
        key: {**TINY.get(key, {}), **value} if isinstance(value, dict) and key not in ("loss", "optimizer", "scheduler") else value
        for key, value in changes.items()
    }  # fmt: skip
    config = models.get("multimodal").config.model_validate(TINY | merged)
    assert isinstance(config, settings.Multimodal)
    return config


def labels(batch: Batch, *targets: int) -> Batch:
    return replace(batch, y=batch.y[:, list(targets)])


def fit(tasks: list[Task], *targets: int, train: Batch = TRAIN, valid: Batch = VALID, **more: Any) -> Fitted:
    extra = {key: more.pop(key) for key in ("keep", "progress", "seed") if key in more}
    return configured(**more).fit(
        tasks, COLUMNS, labels(train, *targets), labels(valid, *targets), **{"seed": 3, "threads": 1} | extra
    )


def scores(fitted: Fitted, batch: Batch = TEST) -> list[np.ndarray]:
    return fitted.predict(batch.X, batch.modalities)


def auc(y: np.ndarray, score: np.ndarray) -> float:
    positive, negative = score[y == 1], score[y == 0]
    difference = positive[:, None] - negative[None, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


@pytest.fixture(scope="module")
def mixed() -> Fitted:
    """Three targets of all types over all modalities."""
    return fit(MIXED, 0, 1, 2, trainer={"epochs": 8})


# --- it learns what columns do not tell -------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "target", "use", "epochs"),
    [(XOR, 3, "sequence", 15), (WARM, 4, "graph", 8)],
    ids=["events", "graph"],
)
def test_a_signal_in_one_modality_is_learnt_with_it_and_not_without(
    task: Task, target: int, use: str, epochs: int
) -> None:
    trainer = {"epochs": epochs, "batch_rows": 32}
    with_it = fit([task], target, use=["tabular", use], trainer=trainer)
    without = fit([task], target, use=["tabular"], trainer={"epochs": 2})
    assert auc(TEST.y[:, target], scores(with_it)[0]) > 0.9
    assert abs(auc(TEST.y[:, target], scores(without)[0]) - 0.5) < 0.12
    assert use in with_it.notes[0][0]
    assert use not in without.notes[0][0]


def test_the_shipped_lstm_learns_what_only_the_order_of_events_tells(tmp_path: Path) -> None:
    """`conf/model/lstm.yaml`, narrower: two layers, one way, the newest state, a dense layer; no columns."""
    shipped = yaml.safe_load((Path(__file__).parents[1] / "conf" / "model" / "lstm.yaml").read_text("utf-8"))
    narrow = {"hidden": [12, 8], "width": 8, "dropout": 0.0}
    assert shipped["sequence"]["hidden"] == [128, 64]
    config = configured(**shipped | {
        "sequence": shipped["sequence"] | narrow, "heads": {"hidden": 8, "dropout": 0.0},
        "optimizer": TINY["optimizer"], "scheduler": {"kind": "constant"}, "trainer": {"epochs": 20, "batch_rows": 32},
    })  # fmt: skip
    fitted = config.fit([XOR], COLUMNS, labels(TRAIN, 3), labels(VALID, 3), seed=3, threads=1)
    assert auc(TEST.y[:, 3], scores(fitted)[0]) > 0.9
    assert fitted.notes[0][0] == "modalities: sequence `visits`"
    store.save(tmp_path / "lstm", config, fitted)
    assert np.array_equal(scores(store.load(tmp_path / "lstm"))[0], scores(fitted)[0])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"hidden": []}, "hidden"),
        ({"hidden": [8, 0]}, "hidden"),
        ({"hidden": [8, 4], "layers": 3}, "`hidden` lists 2 layers, and `layers` says 3"),
        ({"hidden": [8, 4], "encoder": "tcn"}, "a list of `hidden` goes with lstm and gru, not with tcn"),
        ({"bidirectional": False, "encoder": "transformer"}, "`bidirectional: false` goes with lstm and gru"),
        ({"pool": "first"}, "last"),
    ],
)  # fmt: skip
def test_settings_of_the_sequence_branch_that_mean_nothing_are_refused(
    wrong: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        configured(sequence=wrong)


def test_targets_of_all_types_are_learnt_together(mixed: Fitted) -> None:
    binary, classes, number = scores(mixed)
    assert auc(TEST.y[:, 0], binary) > 0.9
    assert classes.shape == (300, 3)
    np.testing.assert_allclose(classes.sum(1), 1)
    assert (classes[:, 1] == 0).all()  # never seen in training
    assert auc(TEST.y[:, 1] == 2, classes[:, 2]) > 0.9
    assert np.corrcoef(number, TEST.y[:, 2])[0, 1] > 0.85
    assert abs(number.mean() - TEST.y[:, 2].mean()) < 10  # in the target's own unit
    assert mixed.importance() == [None] * 3
    assert mixed.notes[0][0] == "modalities: tabular, sequence `visits`, graph `friends`"


def test_a_missing_label_teaches_nothing() -> None:
    """Rows without any label may hold anything; a label that is missing for some rows is of no harm."""
    tasks = [Task("will", "binary"), Task("much", "regression")]
    y = TRAIN.y.copy()
    y[:100] = np.nan
    y[100:200, 0] = np.nan
    X = TRAIN.X.copy()
    X[:100, 0] = 1e6
    wild = fit(tasks, 0, 2, train=replace(TRAIN, X=X, y=y), use=["tabular"])
    tame = fit(tasks, 0, 2, train=replace(TRAIN, y=y), use=["tabular"])
    for one, other in zip(scores(wild), scores(tame), strict=True):
        np.testing.assert_array_equal(one, other)
    assert auc(TEST.y[:, 0], scores(wild)[0]) > 0.85


@pytest.mark.parametrize("loss", ["focal", "bce", "asymmetric"])
@pytest.mark.parametrize("weight", ["none", "balanced"])
def test_every_loss_fits_every_type(loss: str, weight: str) -> None:
    chosen = {
        "kind": loss,
        "class_weight": weight,
        "uncertainty": True,
        "smoothing": 0.1,
        "regression": "mse",
    }
    found = fit(MIXED, 0, 1, 2, use=["tabular"], loss=chosen, trainer={"epochs": 2})
    assert all(np.isfinite(one).all() for one in scores(found))


@pytest.mark.parametrize("encoder", ["lstm", "gru", "tcn", "transformer"])
def test_every_encoder_and_two_hops_fit(encoder: str) -> None:
    sequence = {"encoder": encoder, "heads": 2}
    found = fit([XOR], 3, sequence=sequence, graph={"hops": 2}, trainer={"epochs": 1})
    alone = found.predict(TEST.X[5:6], TEST.modalities.some(np.array([5])))[0]
    np.testing.assert_allclose(alone, scores(found)[0][5:6], atol=1e-6)


# --- same seed, same bits ---------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    first, again, other = (
        scores(fit(MIXED, 0, 1, 2, seed=seed, trainer={"epochs": 2})) for seed in (3, 3, 4)
    )
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first[0], other[0])


def test_a_fit_leaves_random_numbers_threads_and_determinism_as_they_were() -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(3), np.random.rand(3), torch.get_num_threads()
    torch.manual_seed(5)
    np.random.seed(5)
    fit([XOR], 3, trainer={"epochs": 1})
    assert torch.equal(torch.rand(3), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])
    assert torch.get_num_threads() == expected[2]
    assert not torch.are_deterministic_algorithms_enabled()


def test_rows_of_an_epoch_come_once_each_in_any_company() -> None:
    first, second = order(10_001, 100, 7, 0), order(10_001, 100, 7, 1)
    np.testing.assert_array_equal(np.sort(np.concatenate(first)), np.arange(10_001))
    assert min(len(batch) for batch in first) >= 2  # the odd row joins another batch
    assert not np.array_equal(first[0], second[0])
    assert all(np.array_equal(a, b) for a, b in zip(first, order(10_001, 100, 7, 0), strict=True))
    # Batches of like lengths would be batches of like rows, in which BatchNorm sees no difference between them.
    lengths = np.random.default_rng(0).integers(0, 50, 10_001)
    assert np.std([lengths[batch].mean() for batch in first]) < 2 * lengths.std() / np.sqrt(100)


def test_bf16_learns_too_with_clipped_gradients() -> None:
    """As on a GPU, where it is the default: there gradients are clipped by us, as Lightning's own way refuses."""
    fitted = fit([XOR], 3, use=["sequence"], trainer={"epochs": 15, "precision": "bf16"})
    assert auc(labels(TEST, 3).y[:, 0], scores(fitted)[0]) > 0.7


# --- stopped and gone on ----------------------------------------------------------------------------


class Stopped(Exception):  # noqa: N818  what a tuner raises to give up a trial
    pass


def stopping(epoch: int) -> Callable[..., None]:
    """Raise in the middle of an epoch."""

    def progress(target: str, done: int, total: int, running: Any = None) -> None:
        if done == epoch and running is None:
            raise Stopped

    return progress


@pytest.mark.parametrize("scheduler", ["plateau", "cosine", "constant"])
def test_a_fit_that_goes_on_ends_bit_for_bit_as_one_never_stopped(scheduler: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {"scheduler": {"kind": scheduler}, "loss": {"kind": "bce", "uncertainty": True}}
    if scheduler == "plateau":
        more["scheduler"]["patience"] = 0
    whole = fit(MIXED, 0, 1, 2, **more)
    with pytest.raises(Stopped):
        fit(MIXED, 0, 1, 2, keep=tmp_path / "keep", progress=stopping(3), **more)
    told: list[int] = []
    resumed = fit(MIXED, 0, 1, 2, keep=tmp_path / "keep", progress=lambda *now: told.append(now[1]), **more)
    assert min(told) == 3  # two epochs were not done again
    for one, other in zip(scores(whole), scores(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    finished = fit(MIXED, 0, 1, 2, keep=tmp_path / "keep", **more)  # nothing is left to do
    np.testing.assert_array_equal(scores(finished)[0], scores(whole)[0])


def test_a_state_that_is_torn_or_of_something_else_is_left_aside_and_noted(tmp_path: Path) -> None:
    plain = scores(fit([XOR], 3, trainer={"epochs": 2}))[0]
    (tmp_path / "state.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{torn")
    torn = fit([XOR], 3, trainer={"epochs": 2}, keep=tmp_path)
    assert "cannot be read" in torn.notes[0][-1]
    foreign = fit([XOR], 3, trainer={"epochs": 2}, keep=tmp_path, seed=9)
    assert "other data or settings" in foreign.notes[0][-1]
    np.testing.assert_array_equal(scores(torn)[0], plain)
    ours = fit([XOR], 3, trainer={"epochs": 2}, keep=tmp_path, seed=9)
    assert "state" not in " ".join(ours.notes[0])
    np.testing.assert_array_equal(scores(ours)[0], scores(foreign)[0])


@pytest.mark.slow
def test_a_fit_that_was_killed_goes_on(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from test_neural_training import XOR, fit
        fit([XOR], 3, keep=Path({str(tmp_path)!r}), trainer={{"epochs": 300, "patience": 300}})
    """)
    process = subprocess.Popen([sys.executable, "-c", code])
    while not (tmp_path / "state.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    more: dict[str, Any] = {"trainer": {"epochs": 300, "patience": 300}}
    told: list[int] = []

    def stop(target: str, done: int, total: int, running: Any = None) -> None:
        told.append(done)
        raise Stopped

    with pytest.raises(Stopped):
        fit([XOR], 3, keep=tmp_path, progress=stop, **more)
    assert told[0] > 1


def test_an_interrupt_is_an_interrupt() -> None:
    """Lightning would turn it into an exit and leave the process deaf to the next one."""

    def press(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit([XOR], 3, progress=press)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_best_epoch_counts_and_waiting_has_an_end() -> None:
    """Labels at random: validation soon gets no better."""
    rng = np.random.default_rng(0)
    noise = [replace(b, y=rng.integers(0, 2, (len(b.y), 1)).astype(np.float32)) for b in (TRAIN, VALID)]
    told: list[tuple] = []
    found = fit([XOR], 0, train=noise[0], valid=noise[1], use=["tabular"], trainer={"epochs": 40, "patience": 2},
                progress=lambda *now: told.append(now) if now[3] else None)  # fmt: skip
    values = [running[1] for *_, running in told]
    best = int(np.argmax(values)) + 1
    assert found.iterations == [best]
    assert len(values) == best + 2 < 40
    assert auc(noise[1].y[:, 0], found.predict(VALID.X, VALID.modalities)[0]) == pytest.approx(max(values))


def test_without_validation_rows_all_epochs_are_used() -> None:
    nobody = Batch(VALID.X[:0], VALID.y[:0], VALID.modalities.some(np.arange(0)))
    found = fit([XOR], 3, valid=nobody, trainer={"epochs": 3})
    assert found.iterations == [3]
    assert "all 3 epochs" in found.notes[0][1]


# --- saved and scored -------------------------------------------------------------------------------


def test_a_saved_model_scores_alike_without_any_training_library(mixed: Fitted, tmp_path: Path) -> None:
    store.save(tmp_path / "model", configured(), mixed)
    assert {path.suffix for path in (tmp_path / "model").iterdir()} == {".json", ".safetensors"}
    np.savez(tmp_path / "rows.npz", X=TEST.X, **{str(at): one for at, one in enumerate(scores(mixed))})
    code = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        for name in ("pytorch_lightning", "lightning", "torch_geometric"):
            sys.modules[name] = None
        import numpy as np
        import toolkit.models
        assert "torch" not in sys.modules
        from toolkit.models import store
        from test_worlds import TEST
        folder = Path({str(tmp_path)!r})
        kept = np.load(folder / "rows.npz")
        found = store.load(folder / "model").predict(TEST.X, TEST.modalities)
        for at, one in enumerate(found):
            np.testing.assert_allclose(one, kept[str(at)], rtol=1e-6, atol=1e-6)
    """).replace("test_worlds", "test_neural_training")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_rows_score_alike_however_they_are_batched(mixed: Fitted) -> None:
    whole = scores(mixed)
    some = np.array([7, 250, 3])
    for all_of, part in zip(whole, mixed.predict(TEST.X[some], TEST.modalities.some(some)), strict=True):
        np.testing.assert_allclose(part, all_of[some], rtol=1e-5, atol=1e-6)
    none = mixed.predict(TEST.X[:0], TEST.modalities.some(np.arange(0)))
    assert [one.shape for one in none] == [(0,), (0, 3), (0,)]


def test_rows_without_events_relations_or_values_are_scored(mixed: Fitted) -> None:
    bare = Modalities(
        (replace(TEST.modalities.sequences[0], offsets=np.zeros(301, np.int64)),),
        (
            replace(
                TEST.modalities.graphs[0],
                relations={
                    "knows": Relation(np.zeros(301, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
                },
            ),
        ),
    )
    X = np.full_like(TEST.X, np.nan)
    X[:10, 3] = 77  # a level that training did not know
    assert all(np.isfinite(one).all() for one in mixed.predict(X, bare))


def test_foreign_input_is_refused_by_name(mixed: Fitted) -> None:
    with pytest.raises(DataError, match="fitted with the sequences `visits`"):
        mixed.predict(TEST.X)
    with pytest.raises(DataError, match="fitted on 4 columns"):
        mixed.predict(TEST.X[:, :3], TEST.modalities)
    renamed = replace(TEST.modalities.sequences[0], channels=("two",))
    with pytest.raises(DataError, match="other channels"):
        mixed.predict(TEST.X, replace(TEST.modalities, sequences=(renamed,)))


# --- bad input --------------------------------------------------------------------------------------


def test_a_loss_that_leaves_the_numbers_stops_the_fit_and_names_target_epoch_and_batch(
    tmp_path: Path,
) -> None:
    wild: dict[str, Any] = {
        "optimizer": {"kind": "sgd", "lr": 10.0},
        "loss": {"kind": "bce", "regression": "mse"},
        "trainer": {"gradient_clip": 0.0, "epochs": 30},
    }
    tasks = [Task("will", "binary"), Task("much", "regression")]
    with pytest.raises(DataError, match=r"the loss of .*`much`.* in epoch \d+, batch \d+ of 10") as error:
        fit(tasks, 0, 2, use=["tabular"], **wild)
    assert "learning rate 10" in str(error.value.why)
    assert re.search(r"column `\w+", str(error.value.why))
    assert "optimizer.lr" in str(error.value.fix)
    tame = fit(tasks, 0, 2, use=["tabular"], **wild | {"optimizer": {"kind": "adamw"}})  # the check can pass
    assert all(np.isfinite(one).all() for one in scores(tame))


def test_a_modality_that_is_empty_for_everybody_is_left_out_and_noted() -> None:
    def emptied(batch: Batch) -> Batch:
        sequences = replace(batch.modalities.sequences[0], offsets=np.zeros(len(batch.X) + 1, np.int64))
        return replace(batch, modalities=replace(batch.modalities, sequences=(sequences,)))

    found = fit([WARM], 4, train=emptied(TRAIN), valid=emptied(VALID), trainer={"epochs": 1})
    assert found.notes[0][:2] == [
        "modalities: tabular, graph `friends`",
        "sequence `visits` has no event in any training row: left out",
    ]
    with pytest.raises(DataError, match="no training row has anything"):
        fit([WARM], 4, train=emptied(TRAIN), valid=emptied(VALID), use=["sequence"])


def test_rows_without_columns_need_another_modality() -> None:
    config = configured(trainer={"epochs": 1})
    train, valid = (replace(labels(b, 3), X=b.X[:, :0]) for b in (TRAIN, VALID))
    found = config.fit([XOR], [], train, valid, seed=0, threads=1)
    assert found.notes[0][0] == "modalities: sequence `visits`, graph `friends`"
    with pytest.raises(DataError, match="no columns"):
        config.fit(
            [XOR],
            [],
            replace(train, modalities=NOTHING),
            replace(valid, modalities=NOTHING),
            seed=0,
            threads=1,
        )


def test_two_graphs_are_too_many() -> None:
    graph = TRAIN.modalities.graphs[0]
    twice = replace(TRAIN, modalities=Modalities((), (graph, replace(graph, name="kin"))))
    with pytest.raises(ConfigError, match="friends, kin"):
        fit([WARM], 4, train=twice)


@pytest.mark.parametrize("count", [2, 65])
def test_few_rows_and_an_odd_row_are_enough_for_a_batch(count: int) -> None:
    picked = np.r_[np.flatnonzero(TRAIN.y[:, 0] == 0)[:1], np.flatnonzero(TRAIN.y[:, 0] == 1)[: count - 1]]
    few = Batch(TRAIN.X[picked], TRAIN.y[picked], TRAIN.modalities.some(picked))
    found = fit([Task("will", "binary")], 0, train=few, trainer={"epochs": 1})
    assert np.isfinite(scores(found)[0]).all()


def test_a_target_that_validation_cannot_judge_does_not_count() -> None:
    y = VALID.y.copy()
    y[:, 3] = 0
    told: list[Any] = []
    fit(
        [XOR, WARM],
        3,
        4,
        valid=replace(VALID, y=y),
        trainer={"epochs": 1},
        progress=lambda *now: told.append(now[3]),
    )
    assert told[-1][0] == "auc"
    assert 0 < told[-1][1] < 1


# --- scales -----------------------------------------------------------------------------------------


def test_numbers_become_normal_scores_whatever_their_tails() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=50_000), np.exp(3 * rng.normal(size=50_000))]).astype(np.float32)
    X[:100, 1] = np.nan
    numbers = Numbers.fit(X, [0, 1])
    out = numbers(X)
    assert out.shape == (50_000, 3)  # and an indicator of the gaps
    assert np.abs(out[:, 0] - X[:, 0]).mean() < 0.02  # a normal column is left as it is
    assert abs(out[100:, 1].std() - 1) < 0.02
    assert np.corrcoef(out[100:, 1], np.log(X[100:, 1]))[0, 1] > 0.999
    assert out[:100, 1:].tolist() == [[0, 1]] * 100
    far = numbers(np.array([[1e30, -1e30]], np.float32))
    assert np.abs(far).max() < 6
    assert numbers.names(["a", "b"]) == ["a", "b", "b (missing)"]


def test_many_zeros_leave_room_for_the_rest() -> None:
    x = np.r_[np.zeros(9_000), np.linspace(1, 1000, 1_000)].astype(np.float32)[:, None]
    out = Numbers.fit(x, [0])(x)[:, 0]
    assert np.ptp(out[9_000:]) > 2
    assert (np.diff(out[9_000:]) > 0).mean() > 0.99


def test_hashed_words_stay_as_they_are_and_a_missing_text_is_marked_once() -> None:
    """Nothing is fitted to them, so that a word no training row has still counts at its neighbours."""
    words = np.array([[0.6, 0.8, 0, 5], [np.nan, np.nan, np.nan, 7], [0, 0, -1, np.nan]], np.float32)
    numbers = Numbers.fit(words, range(4), scaled=range(3))
    out = numbers(words)
    np.testing.assert_array_equal(out[:, :3], np.nan_to_num(words[:, :3]))
    assert numbers.names("abcd")[4:] == ["a (missing)", "d (missing)"]
    fitted = Numbers.fit(words, range(4))  # positive control: as other columns, each for itself
    assert not np.array_equal(fitted(words)[:, :3], out[:, :3])
    assert len(fitted.gaps) == 4


def test_only_the_nodes_of_training_rows_teach_scales() -> None:
    graph = TRAIN.modalities.graphs[0]
    few = graph.some(np.arange(50))
    wild = graph.X.copy()
    wild[200:] = 1e9
    one, other = ScaledNodes.fit(few), ScaledNodes.fit(replace(few, X=wild))
    np.testing.assert_array_equal(one.numbers.knots, other.numbers.knots)
    everyone = ScaledNodes.fit(replace(graph, X=wild))  # the check can fail
    assert not np.array_equal(one.numbers.knots, everyone.numbers.knots)


# --- learning rates ---------------------------------------------------------------------------------


def test_learning_rates_rise_and_fall_as_declared() -> None:
    cosine = curve(settings.Cosine(warmup=1, least=0.1), batches=10, epochs=5)
    assert [cosine(step) for step in (0, 9)] == pytest.approx([1 / 11, 10 / 11])
    assert cosine(10) == 1
    assert cosine(30) == pytest.approx(0.55)
    assert cosine(50) == pytest.approx(0.1)
    assert curve(settings.Constant(), 10, 5)(0) == 1
    weights = torch.nn.Linear(2, 2)
    chosen = optimizer(settings.SGD(lr=1.0), weights)
    plateau = Schedule(settings.Plateau(factor=0.1, patience=1), chosen, 10, 5, rising=True)
    rates = []
    for value in (0.5, 0.6, 0.6, 0.6, 0.7):
        plateau.after_epoch(value)
        rates.append(chosen.param_groups[0]["lr"])
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1])


def test_biases_and_norms_do_not_decay() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.LSTM(4, 2))
    decaying, rest = optimizer(settings.AdamW(), layers).param_groups
    assert all(one.ndim == 2 for one in decaying["params"])
    assert len(decaying["params"]) == 3
    assert rest["weight_decay"] == 0
    assert len(decaying["params"]) + len(rest["params"]) == len(list(layers.parameters()))


# --- several processes ------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_share_the_batches_and_agree(tmp_path: Path) -> None:
    trainer = {"epochs": 8, "devices": 2, "strategy": "ddp"}
    first, again = (fit([WARM], 4, trainer=trainer) for _ in range(2))
    assert auc(TEST.y[:, 4], scores(first)[0]) > 0.9
    np.testing.assert_array_equal(scores(first)[0], scores(again)[0])
    with pytest.raises(ValueError, match="needs `strategy: ddp`"):
        configured(trainer={"devices": 2})
