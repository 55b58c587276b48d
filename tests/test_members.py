"""Members of a network (TabM): shared weights, own scales, judged one by one, and their mean is the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from toolkit.models.interface import Batch, Column, Task
from toolkit.models.neural.heads import HeadSizes, OfMembers
from toolkit.models.neural.losses import MultiTargetLoss, TargetLoss
from toolkit.models.neural.network import Network, NetworkSizes
from toolkit.models.neural.sequence import Padded, SequenceSizes
from toolkit.models.neural.settings import Multimodal
from toolkit.models.neural.tabular import Shared, TabularSizes

MEMBERS = 3
SIZES = NetworkSizes(
    HeadSizes((1, 3), 4, heads=2),
    TabularSizes(2, (3,), 8, 8, members=MEMBERS),
    (SequenceSizes(1, (), 8, 4, encoder="gru"),),
)


def inputs(rows: int) -> dict[str, object]:
    generator = torch.Generator().manual_seed(rows)
    return {
        "numeric": torch.randn(rows, 2, generator=generator),
        "codes": torch.randint(-1, 3, (rows, 1), generator=generator),
        "sequences": [Padded(torch.randn(rows, 2, 1, generator=generator), torch.arange(rows) % 3)],
    }


def test_a_member_is_a_dense_layer_of_scaled_shared_weights() -> None:
    layer = Shared(MEMBERS, 4, 5, dropout=0.0, first=True)
    torch.nn.init.normal_(layer.after)
    x = torch.randn(6, 4)
    found = layer(x[:, None])
    for member in range(MEMBERS):
        weight = layer.after[member][:, None] * layer.linear.weight * layer.before[member]
        torch.testing.assert_close(found[:, member], torch.relu(x @ weight.T + layer.bias[member]))
    assert set(layer.before.unique().tolist()) == {-1.0, 1.0}, "members begin apart"


def test_a_members_own_layer_sees_that_members_vectors_only() -> None:
    layer = OfMembers(MEMBERS, 4, 2)
    x = torch.randn(5, MEMBERS, 4)
    found = layer(x.flatten(0, 1)).unflatten(0, (5, MEMBERS))
    for member in range(MEMBERS):
        torch.testing.assert_close(found[:, member], x[:, member] @ layer.weight[member] + layer.bias[member])


def test_members_of_a_row_stand_together_and_rows_do_not_influence_each_other() -> None:
    network = Network(SIZES).eval()
    binary, classes = network(**inputs(5))
    assert (binary.shape, classes.shape) == ((5 * MEMBERS,), (5 * MEMBERS, 3))
    assert binary.unflatten(0, (5, MEMBERS)).std(1).min() > 0, "members differ"
    one = {name: value[[3]] for name, value in inputs(5).items() if name != "sequences"}
    one["sequences"] = [Padded(*(part if part is None else part[[3]] for part in inputs(5)["sequences"][0]))]
    torch.testing.assert_close(network(**one)[0], binary[3 * MEMBERS : 4 * MEMBERS], atol=1e-6, rtol=0)


def test_the_loss_is_the_mean_of_the_members_losses_and_not_that_of_their_mean() -> None:
    loss = MultiTargetLoss([TargetLoss("binary", "bce")])
    logits, y = torch.randn(4 * MEMBERS), torch.tensor([[1.0], [0.0], [float("nan")], [1.0]])
    apart = [loss([logits[member::MEMBERS]], y) for member in range(MEMBERS)]
    torch.testing.assert_close(loss([logits], y), torch.stack(apart).mean())
    together = loss([logits.unflatten(0, (4, MEMBERS)).mean(1)], y)
    assert abs(float(together - loss([logits], y))) > 1e-3  # positive control


def test_a_fitted_network_answers_by_its_members_mean_and_comes_back_from_its_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 3)).astype(np.float32)
    y = np.column_stack([X[:, 0] * X[:, 1] > 0, X[:, 0] + X[:, 2]]).astype(np.float32)
    tasks, columns = (
        [Task("yes", "binary"), Task("number", "regression")],
        [Column(name, "numeric") for name in "abc"],
    )
    config = Multimodal.model_validate(
        {"use": ["tabular"], "tabular": {"members": 4, "hidden": 32, "width": 32}, "fusion": {"kind": "none"},
         "heads": {"hidden": 0}, "loss": {"kind": "bce"}, "trainer": {"epochs": 25, "batch_rows": 64}, "optimizer": {"kind": "adamw", "lr": 0.01}}
    )  # fmt: skip
    fitted = config.fit(tasks, columns, Batch(X[:400], y[:400]), Batch(X[400:], y[400:]), seed=0, threads=1)
    yes, number = fitted.predict(X[400:])
    assert ((yes > 0.5) == y[400:, 0]).mean() > 0.85
    assert np.corrcoef(number, y[400:, 1])[0, 1] > 0.9
    with torch.inference_mode():
        logits = fitted.network(torch.from_numpy(fitted.scaling.numbers(X[400:])))
    by_hand = logits[0].double().sigmoid().unflatten(0, (-1, 4)).mean(1).numpy()
    np.testing.assert_allclose(yes, by_hand, atol=1e-6)
    fitted.save(tmp_path)
    for ours, theirs in zip(config.load(tmp_path).predict(X[400:]), (yes, number), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_members_and_residual_blocks_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="go without `residual`"):
        Multimodal.model_validate({"tabular": {"members": 8, "residual": True}})
