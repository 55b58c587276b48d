"""The parts of the neural model: what is masked stays unseen, sums agree with hand formulas and with PyG."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from toolkit.modalities import Relation
from toolkit.models.neural import graph, sequence
from toolkit.models.neural.fusion import CrossModal, Fusion, FusionSizes, Gated, fusion
from toolkit.models.neural.graph import GraphBranch, GraphSizes
from toolkit.models.neural.heads import Heads, HeadSizes
from toolkit.models.neural.losses import (
    MultiTargetLoss,
    TargetLoss,
    asymmetric,
    binary_cross_entropy,
    focal,
    multiclass,
)
from toolkit.models.neural.network import Network, NetworkSizes
from toolkit.models.neural.sequence import Padded, SequenceBranch, SequenceSizes, reverse
from toolkit.models.neural.tabular import PiecewiseLinear, TabularBranch, TabularSizes, quantile_edges

ENCODERS = ["lstm", "gru", "tcn", "transformer"]
STACKED: dict[str, Any] = {"encoder": "lstm", "hidden": (8, 6), "bidirectional": False, "pool": "last"}
BRANCHES = [*ENCODERS, "stacked"]  # layers of their own width, one way, the newest state
FUSIONS = ["attention", "concat", "gated"]
NO_FUSION = "none"  # the vectors side by side: nothing there could learn across them
NAN = float("nan")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def finite_gradients(module: nn.Module) -> bool:
    return all(p.grad is not None and bool(p.grad.isfinite().all()) for p in module.parameters())


def learns(module: nn.Module, out: Any, y: Tensor, steps: int = 150) -> float:
    """Share of rows right after a few full-batch steps; out() gives logits [rows]."""
    optimiser = torch.optim.Adam(module.parameters(), 0.01)
    module.train()
    for _ in range(steps):
        optimiser.zero_grad()
        binary_cross_entropy(out(), y).mean().backward()
        optimiser.step()
    module.eval()
    return float(((out() > 0) == (y > 0)).float().mean())


class WithHead(nn.Module):
    """A part and one logit on top, so that it can learn alone."""

    def __init__(self, part: nn.Module, width: int) -> None:
        super().__init__()
        self.part, self.head = part, nn.Linear(width, 1)

    def forward(self, *inputs: Any) -> Tensor:
        return self.head(self.part(*inputs)).squeeze(1)


# Tabular


@pytest.mark.parametrize("numbers", ["plain", "piecewise_linear"])
@pytest.mark.parametrize("residual", [False, True])
def test_every_tabular_option_learns_xor_of_a_number_and_a_category(numbers: Any, residual: bool) -> None:
    sizes = TabularSizes(1, (2,), 16, 16, 4, numbers, 4, 4, residual, dropout=0.0)
    X, codes = torch.randn(200, 1), torch.randint(0, 2, (200, 1))
    y = ((X[:, 0] > 0) ^ (codes[:, 0] > 0)).float()
    model = WithHead(TabularBranch(sizes), 16)
    assert learns(model, lambda: model(X, codes), y) > 0.9
    assert finite_gradients(model)


def test_a_missing_and_an_unknown_level_share_a_vector_that_no_level_has() -> None:
    branch = TabularBranch(TabularSizes(1, (3, 2), 8, 8)).eval()
    out = branch(torch.zeros(5, 1), torch.tensor([[-1, 0], [3, 0], [99, 0], [0, 0], [2, 0]]))
    torch.testing.assert_close(out[0], out[1])
    torch.testing.assert_close(out[0], out[2])
    assert not torch.allclose(out[0], out[3])
    assert not torch.allclose(out[0], out[4])


def test_piecewise_linear_encoding_is_the_papers_equation() -> None:
    layer = PiecewiseLinear(2, 3, 4)
    layer.edges.copy_(torch.tensor([[0.0, 1.0, 3.0, 4.0], [0.0, 1.0, math.inf, math.inf]]))
    encoded = layer.encode(torch.tensor([[2.0, 0.25], [-1.0, 3.0], [6.0, -2.0]]))
    # First column: 2 is past the first bin and half through the second; ends go on linearly.
    assert encoded[:, 0].tolist() == [[1.0, 0.5, 0.0], [-1.0, 0.0, 0.0], [1.0, 1.0, 3.0]]
    # Second column has one bin only, which is first and last.
    assert encoded[:, 1].tolist() == [[0.25, 0.0, 0.0], [3.0, 0.0, 0.0], [-2.0, 0.0, 0.0]]


def test_quantile_edges_of_repeated_values_are_distinct_and_of_a_constant_make_no_bin() -> None:
    X = torch.stack([torch.arange(101.0), (torch.arange(101) > 50).float(), torch.full((101,), 7.0)], 1)
    edges = quantile_edges(X, 4)
    assert edges[0].tolist() == [0.0, 25.0, 50.0, 75.0, 100.0]
    assert edges[1].tolist() == [0.0, 1.0] + [math.inf] * 3
    layer = PiecewiseLinear(3, 4, 2)
    layer.edges.copy_(edges)
    assert layer.encode(X)[:, 2].abs().sum() == 0
    assert layer.encode(X).isfinite().all()


# Sequence


def sequence_branch(encoder: Any, **more: Any) -> SequenceBranch:
    sizes = SequenceSizes(2, (3,), width=12, hidden=8, category=3, heads=2, pool=2, dropout=0.0)
    return SequenceBranch(
        dataclasses.replace(sizes, **(STACKED if encoder == "stacked" else {"encoder": encoder}) | more)
    )


def events(lengths: list[int], steps: int) -> Padded:
    return Padded(
        torch.randn(len(lengths), steps, 2),
        torch.tensor(lengths),
        torch.randint(-1, 3, (len(lengths), steps, 1)),
    )


def test_reverse_turns_the_events_and_leaves_the_padding() -> None:
    x = torch.tensor([[1, 2, 3, 9], [4, 9, 9, 9], [9, 9, 9, 9]])[:, :, None]
    lengths = torch.tensor([3, 1, 0])
    assert reverse(x, lengths)[:, :, 0].tolist() == [[3, 2, 1, 9], [4, 9, 9, 9], [9, 9, 9, 9]]
    assert torch.equal(reverse(reverse(x, lengths), lengths), x)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("encoder", BRANCHES)
def test_a_row_is_encoded_alike_alone_padded_and_in_any_batch(encoder: str, layers: int) -> None:
    branch = sequence_branch(encoder, layers=layers).eval()
    batch = events([5, 1, 0, 7], 7)
    together = branch(batch)
    wide = Padded(
        torch.full((4, 11, 2), NAN).index_copy(1, torch.arange(7), batch.numeric),
        batch.lengths,
        torch.full((4, 11, 1), 2).index_copy(1, torch.arange(7), batch.codes),
    )
    torch.testing.assert_close(branch(wide), together, atol=1e-6, rtol=0)
    with torch.no_grad():  # torch's fast path for inference included
        torch.testing.assert_close(branch(wide), together, atol=1e-6, rtol=0)
    for row, length in enumerate(batch.lengths.tolist()):
        alone = Padded(*(part[[row], :length] if part.ndim > 1 else part[[row]] for part in batch))
        torch.testing.assert_close(branch(alone)[0], together[row], atol=1e-6, rtol=0)


@pytest.mark.parametrize("encoder", BRANCHES)
def test_padding_is_never_read_but_every_event_is(encoder: str) -> None:
    branch = sequence_branch(encoder).eval()
    batch = events([5, 2, 0], 6)
    for row, step in [(0, 5), (1, 2), (1, 5), (2, 0)]:
        other = batch.numeric.clone()
        other[row, step] = 1e6
        assert torch.equal(branch(batch._replace(numeric=other)), branch(batch))
    for step in range(5):  # positive control: the first event and the last one matter
        other = batch.numeric.clone()
        other[0, step] += 1
        assert not torch.allclose(branch(batch._replace(numeric=other))[0], branch(batch)[0])


def test_the_recurrent_branch_equals_torchs_own_bidirectional_layer_on_packed_rows() -> None:
    branch = sequence_branch("lstm")
    ours, theirs = branch.encoder, nn.LSTM(5, 8, batch_first=True, bidirectional=True)
    for name, value in ours.forwards[0].named_parameters():
        getattr(theirs, name).data.copy_(value)
    for name, value in ours.backwards[0].named_parameters():
        getattr(theirs, name + "_reverse").data.copy_(value)
    x, lengths = torch.randn(3, 6, 5), torch.tensor([6, 2, 4])
    mask = torch.arange(6) < lengths[:, None]
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    torch.testing.assert_close(ours(x, lengths, mask)[mask], expected[mask])


def test_stacked_layers_are_torchs_own_one_after_the_other_and_the_newest_state_is_what_they_say() -> None:
    branch = sequence_branch("stacked", levels=(), width=6).eval()
    first, second = branch.encoder.forwards
    assert (len(branch.encoder.backwards), first.hidden_size, second.hidden_size) == (0, 8, 6)
    batch = Padded(torch.randn(3, 5, 2), torch.tensor([5, 2, 1]))
    expected = [
        second(first(batch.numeric[[row], :length])[0])[0][0, -1] for row, length in enumerate((5, 2, 1))
    ]
    torch.testing.assert_close(branch(batch), torch.stack(expected))
    wider = sequence_branch("stacked", width=9)
    assert wider(events([3, 0], 3)).shape == (2, 9)
    assert SequenceSizes(2).states == 256  # as it was: both ways, attention
    assert [type(part).__name__ for part in (branch.pooling, sequence_branch("lstm").pooling)] == [
        "Newest",
        "AttentionPooling",
    ]


def test_channels_are_dropped_between_layers_and_only_while_training() -> None:
    branch = sequence_branch("stacked", levels=(), dropout=0.5)
    x, lengths = torch.randn(4, 3, 2), torch.tensor([3, 3, 3, 3])
    mask = torch.ones(4, 3, dtype=torch.bool)
    assert not torch.equal(branch.encoder(x, lengths, mask), branch.encoder(x, lengths, mask))
    branch.eval()
    assert torch.equal(branch.encoder(x, lengths, mask), branch.encoder(x, lengths, mask))


@pytest.mark.parametrize("encoder", BRANCHES)
def test_every_encoder_learns_whether_first_and_last_event_differ(encoder: str) -> None:
    lengths = torch.randint(2, 5, (128,))
    numeric = torch.randn(128, 4, 2).sign()
    last = numeric[torch.arange(128), lengths - 1, 0]
    y = (numeric[:, 0, 0] != last).float()
    # In a channel of its own, whether an event is the first: attention alone knows the end, not the start.
    numeric[:, :, 1] = (torch.arange(4) == 0).float()
    model = WithHead(sequence_branch(encoder), 12)
    data = Padded(numeric, lengths, torch.zeros(128, 4, 1, dtype=torch.int64))
    assert learns(model, lambda: model(data), y) > 0.9


@pytest.mark.parametrize("encoder", BRANCHES)
@pytest.mark.parametrize(("lengths", "steps"), [([3, 0, 1], 3), ([0, 0], 2), ([0, 0], 0)])
def test_gradients_are_finite_even_where_nobody_has_events(encoder: str, lengths: Any, steps: int) -> None:
    branch = sequence_branch(encoder)
    branch(events(lengths, steps)).square().sum().backward()
    assert finite_gradients(branch)


# Graph


def random_relation(nodes: int, edges: int, seed: int) -> tuple[Relation, np.ndarray]:
    """A relation, node 0 hearing from nobody, and its weights as a matrix [nodes, nodes]."""
    random = np.random.default_rng(seed)
    node = np.sort(random.integers(1, nodes, edges))
    source, weight = random.integers(0, nodes, edges), random.uniform(0.5, 2, edges).astype("float32")
    dense = np.zeros((nodes, nodes), "float32")
    np.add.at(dense, (node, source), weight)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(node, minlength=nodes))])
    return Relation(indptr.astype("int64"), source, weight), dense


def test_aggregation_is_a_product_with_the_dense_weights_and_so_is_its_gradient() -> None:
    relation, dense = random_relation(9, 30, 1)
    edges = graph.averaged(graph.edges(relation))
    share = torch.tensor(dense / np.maximum(dense.sum(1, keepdims=True), 1e-9))
    X = torch.randn(9, 4, requires_grad=True)
    other = X.detach().clone().requires_grad_()
    torch.testing.assert_close(graph.aggregate(X, edges), share @ other)
    graph.aggregate(X, edges).square().sum().backward()
    (share @ other).square().sum().backward()
    torch.testing.assert_close(X.grad, other.grad)
    assert graph.aggregate(X, edges)[0].tolist() == [0.0] * 4  # nobody to hear from
    assert graph.connected([edges]).tolist() == (dense.sum(1) > 0).tolist()


def test_a_hop_with_unit_weights_equals_sageconv_of_torch_geometric() -> None:
    from torch_geometric.nn import SAGEConv

    relation, _ = random_relation(9, 30, 2)
    edges, X = graph.averaged(graph.edges(relation, weighted=False)), torch.randn(9, 4)
    theirs = SAGEConv(4, 6)
    node = torch.repeat_interleave(torch.arange(9), edges.indptr.diff())
    ours = nn.functional.linear(
        graph.gather(X, [edges]),
        torch.cat([theirs.lin_r.weight, theirs.lin_l.weight], 1),
        theirs.lin_l.bias,
    )
    torch.testing.assert_close(ours, theirs(X, torch.stack([edges.indices, node])))


@pytest.mark.parametrize("hops", [1, 2])
def test_some_nodes_get_the_same_as_with_the_whole_graph(hops: int) -> None:
    relations = [graph.averaged(graph.edges(random_relation(12, 20, seed)[0])) for seed in (3, 4)]
    gathered = graph.gather(torch.randn(12, 3), relations)
    branch = GraphBranch(GraphSizes(3, 2, width=5, hidden=7, hops=hops)).eval()
    whole = branch.embed(gathered, relations)
    nodes = torch.tensor([7, 0, 7, 3])
    if hops == 1:
        some = branch(gathered[nodes])
    else:
        block = graph.neighbourhood(relations, nodes)
        assert len(block.nodes) < 12, "the control: not the whole graph"
        some = branch(gathered[block.nodes], block)
    torch.testing.assert_close(some, whole[nodes])
    some.square().sum().backward()
    assert finite_gradients(branch)


@pytest.mark.parametrize("hops", [1, 2])
def test_the_graph_branch_learns_xor_of_a_nodes_own_and_its_neighbours_sign(hops: int) -> None:
    ring = Relation(np.arange(65), np.roll(np.arange(64), 1), np.ones(64, "float32"))
    relations, X = [graph.averaged(graph.edges(ring))], torch.randn(64, 1).sign()
    y = (X[:, 0] != X[relations[0].indices, 0]).float()
    gathered = graph.gather(X, relations)
    branch = GraphBranch(GraphSizes(1, 1, 8, 16, hops, dropout=0.0))
    model = WithHead(branch, 8)
    assert learns(model, lambda: model.head(branch.embed(gathered, relations)).squeeze(1), y) > 0.95


# Fusion and heads


@pytest.mark.parametrize("kind", FUSIONS)
def test_a_missing_modality_has_no_influence_and_a_present_one_has(kind: Any) -> None:
    fusion = Fusion([3, 4, 5], FusionSizes(kind, 16, 8, 2)).eval()
    vectors = [torch.randn(4, width) for width in (3, 4, 5)]
    present = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]]).bool()
    before = fusion(vectors, present)
    assert before.isfinite().all()
    hidden = [v.masked_fill(~present[:, [m]], NAN) for m, v in enumerate(vectors)]
    assert torch.equal(fusion(hidden, present), before)
    for modality in range(3):
        other = [v + (m == modality) for m, v in enumerate(vectors)]
        changed = (fusion(other, present) - before).abs().amax(1) > 1e-4
        assert torch.equal(changed, present[:, modality])
    zeros = [torch.zeros_like(v) for v in vectors]  # absent is not the same as all zeros
    assert not torch.allclose(fusion(zeros, torch.ones_like(present))[3], before[3], atol=1e-3)


def test_tokens_that_are_present_neither_attend_to_missing_ones_nor_are_mixed_with_them() -> None:
    present = torch.tensor([[1, 0, 1], [0, 1, 1]]).bool()
    tokens = torch.randn(2, 3, 8)
    other = torch.where(present[:, :, None], tokens, 5.0)
    cross, gated = CrossModal(8, 2, 0.0).eval(), Gated(3, 8)
    torch.testing.assert_close(cross(other, present)[present], cross(tokens, present)[present])
    everything = torch.ones_like(present)  # positive control
    assert not torch.allclose(cross(other, everything)[present], cross(tokens, everything)[present])
    nn.init.zeros_(gated.gates.weight)  # gates may know what is missing; what they let through may not
    torch.testing.assert_close(gated(other, present), gated(tokens, present))
    assert not torch.allclose(gated(other, everything), gated(tokens, everything))


@pytest.mark.parametrize("kind", [*FUSIONS, NO_FUSION])
def test_gradients_through_a_missing_modality_are_finite_and_zero(kind: Any) -> None:
    fused = fusion([3, 3], FusionSizes(kind, 16, 8, 2))
    tokens = [torch.randn(3, 3, requires_grad=True) for _ in range(2)]
    fused(tokens, torch.tensor([[1, 1], [1, 0], [0, 0]]).bool()).square().sum().backward()
    assert tokens[1].grad[1:].abs().sum() == 0
    assert tokens[1].grad[0].abs().sum() > 0
    assert finite_gradients(fused)


def test_no_fusion_puts_vectors_side_by_side_and_a_learned_one_where_a_modality_is_missing() -> None:
    fused = fusion([2, 3], FusionSizes("none"))
    first, second = torch.randn(2, 2), torch.randn(2, 3)
    found = fused([first, second], torch.tensor([[1, 1], [1, 0]]).bool())
    torch.testing.assert_close(found[0], torch.cat([first[0], second[0]]))
    torch.testing.assert_close(found[1], torch.cat([first[1], fused.missing[1]]))
    assert fused.width == found.shape[1] == 5


@pytest.mark.parametrize("kind", FUSIONS)
def test_every_fusion_learns_xor_across_modalities(kind: Any) -> None:
    tokens = [torch.randn(128, 3).sign(), torch.randn(128, 2).sign()]
    y = (tokens[0][:, 0] != tokens[1][:, 0]).float()
    model = WithHead(Fusion([3, 2], FusionSizes(kind, 16, 8, 2, 0.0)), 16)
    everything = torch.ones(128, 2, dtype=torch.bool)
    assert learns(model, lambda: model(tokens, everything), y) > 0.95


@pytest.mark.parametrize("cross", [False, True])
def test_heads_give_one_output_per_target_and_listen_to_each_other_only_if_told(cross: bool) -> None:
    heads = Heads(6, HeadSizes((1, 3, 1), 8, cross, 2, 0.0))
    fused = torch.randn(5, 6)
    logits = heads(fused)
    assert [tuple(logit.shape) for logit in logits] == [(5,), (5, 3), (5,)]
    logits[0].sum().backward()
    others = heads.first.weight.grad[8:].abs().sum()
    assert bool(others > 0) == cross
    assert Heads(6, HeadSizes((1,), 8, cross)).cross is None


def test_heads_without_a_hidden_layer_are_linear() -> None:
    heads = Heads(6, HeadSizes((1, 3), 0)).eval()
    a, b = torch.randn(5, 6), torch.randn(5, 6)
    for sum_, one, two, none in zip(heads(a + b), heads(a), heads(b), heads(torch.zeros(5, 6)), strict=True):
        torch.testing.assert_close(sum_, one + two - none)
    hidden = Heads(6, HeadSizes((1, 3), 8)).eval()  # positive control: a hidden layer bends
    assert not torch.allclose(
        hidden(a + b)[0], hidden(a)[0] + hidden(b)[0] - hidden(torch.zeros(5, 6))[0], atol=1e-4
    )


# Losses


def test_focal_without_focus_is_half_of_cross_entropy_and_in_general_the_papers_formula() -> None:
    z, y = torch.tensor([-2.0, 0.5, 3.0]), torch.tensor([1.0, 0.0, 1.0])
    reference = nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")
    torch.testing.assert_close(binary_cross_entropy(z, y), reference)
    torch.testing.assert_close(focal(z, y, 0.5, 0.0), reference / 2)
    p = torch.sigmoid(z)
    p_t, alpha_t = torch.where(y > 0, p, 1 - p), torch.where(y > 0, 0.75, 0.25)
    torch.testing.assert_close(focal(z, y), -alpha_t * (1 - p_t) ** 2 * p_t.log())


def test_asymmetric_is_its_formula_and_ignores_easy_negatives() -> None:
    z, y = torch.tensor([-2.0, 0.5, -4.0]), torch.tensor([1.0, 0.0, 0.0])
    p = torch.sigmoid(z)
    hand = [-(1 - p[0]) * p[0].log(), -((p[1] - 0.05) ** 4) * (1 - p[1] + 0.05).log(), 0.0]
    torch.testing.assert_close(asymmetric(z, y), torch.tensor(hand))
    torch.testing.assert_close(asymmetric(z, y, 0, 0, 0), binary_cross_entropy(z, y), atol=1e-6, rtol=1e-5)


def test_class_weights_and_smoothing_against_hand_formulas() -> None:
    z, y = torch.tensor([0.3, -0.7]), torch.tensor([1.0, 0.0])
    p = torch.sigmoid(z)
    torch.testing.assert_close(
        binary_cross_entropy(z, y, (2.0, 5.0)), torch.stack([-5 * p[0].log(), -2 * (1 - p[1]).log()])
    )
    smooth = TargetLoss("binary", "bce", smoothing=0.1).rows(z, y)
    torch.testing.assert_close(smooth[0], -0.95 * p[0].log() - 0.05 * (1 - p[0]).log())
    logits, label = torch.randn(1, 3), torch.tensor([2.0])
    log_p = logits.log_softmax(1)[0]
    torch.testing.assert_close(multiclass(logits, label, (1.0, 1.0, 4.0))[0], -4 * log_p[2])
    torch.testing.assert_close(
        multiclass(logits, label, smoothing=0.3)[0], -0.7 * log_p[2] - 0.1 * log_p.sum()
    )
    torch.testing.assert_close(multiclass(logits, label, gamma=2)[0], -((1 - log_p[2].exp()) ** 2) * log_p[2])


def test_squared_and_huber_errors_of_numbers() -> None:
    z, y = torch.tensor([1.5, 4.0]), torch.tensor([1.0, 1.0])
    torch.testing.assert_close(TargetLoss("regression", "mse").rows(z, y), torch.tensor([0.25, 9.0]))
    torch.testing.assert_close(TargetLoss("regression", "huber").rows(z, y), torch.tensor([0.125, 2.5]))
    with pytest.raises(ValueError, match="regression target takes mse or huber, not focal"):
        TargetLoss("regression", "focal")


MIXED = (
    TargetLoss("binary", "focal", 0.5),
    TargetLoss("multiclass", "bce", 0.3),
    TargetLoss("regression", "huber", 0.2),
)


@pytest.mark.parametrize("uncertainty", [False, True])
def test_missing_labels_have_no_influence_and_leave_finite_gradients(uncertainty: bool) -> None:
    logits = [torch.randn(4), torch.randn(4, 3), torch.randn(4)]
    y = torch.tensor([[1.0, 2.0, NAN], [NAN, 0.0, NAN], [0.0, NAN, NAN], [1.0, 1.0, NAN]])
    loss = MultiTargetLoss(MIXED, uncertainty)
    for logit in logits:
        logit.requires_grad_()
    total = loss(logits, y)
    total.backward()
    assert logits[0].grad[1] == 0
    assert logits[1].grad[2].abs().sum() == 0
    assert logits[2].grad.abs().sum() == 0
    assert all(logit.grad.isfinite().all() for logit in logits)
    other = [logit.detach().clone() for logit in logits]
    other[0][1], other[1][2], other[2][:] = 1e9, math.inf, NAN
    torch.testing.assert_close(loss(other, y), total)
    hand = 0.5 * focal(logits[0], y[:, 0])[[0, 2, 3]].mean()
    hand = hand + 0.3 * multiclass(logits[1][[0, 1, 3]], y[[0, 1, 3], 1]).mean()
    torch.testing.assert_close(total, hand)  # at log-variance 0, Kendall's sum is the plain one
    if uncertainty:
        assert loss.log_variance.grad[2] == 0  # a target without labels does not drift


def test_uncertainty_weighting_is_kendalls_formula() -> None:
    loss = MultiTargetLoss([TargetLoss("binary", "bce"), TargetLoss("regression", "mse")], True)
    loss.log_variance.data = torch.tensor([0.4, -1.0])
    logits, y = [torch.randn(3), torch.randn(3)], torch.tensor([[1.0, 0.5], [0.0, 2.0], [1.0, 1.0]])
    (first, second), _ = loss.each(logits, y)
    hand = math.exp(-0.4) * first + 0.2 + 0.5 * math.exp(1.0) * second - 0.5
    torch.testing.assert_close(loss(logits, y), hand)


@pytest.mark.parametrize("kind", ["focal", "bce", "asymmetric"])
def test_gradients_are_finite_where_a_row_is_surely_right_or_surely_wrong(kind: Any) -> None:
    for gamma in (0.0, 0.5, 2.0):
        z = torch.tensor([90.0, -90.0, 90.0, -90.0, 0.0], requires_grad=True)
        loss = TargetLoss("binary", kind, gamma=gamma, gamma_positive=gamma, gamma_negative=gamma, margin=0.0)
        loss.rows(z, torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0])).sum().backward()
        assert z.grad.isfinite().all()


# The whole network


SIZES = NetworkSizes(
    HeadSizes((1, 3, 1), 8, heads=2),
    TabularSizes(3, (4,), 8, 8, numbers="piecewise_linear"),
    (SequenceSizes(2, (3,), 8, 4, pool=2), SequenceSizes(1, (), 8, 4, encoder="transformer", heads=2)),
    GraphSizes(3, 2, 8, 8, hops=2),
    FusionSizes("attention", 16, 8, 2),
)


def whole_input(network: Network, rows: int = 6) -> dict[str, Any]:
    relations = [graph.averaged(graph.edges(random_relation(rows, 10, seed)[0])) for seed in (5, 6)]
    gathered = graph.gather(torch.randn(rows, 3), relations)
    return {
        "numeric": torch.randn(rows, 3),
        "codes": torch.randint(-1, 4, (rows, 1)),
        "sequences": [
            events([3, 0, 1, 2, 0, 4][:rows], 4),
            Padded(torch.randn(rows, 2, 1), torch.arange(rows) % 3),
        ],
        "nodes": network.graph.embed(gathered, relations),
        "connected": graph.connected(relations),
    }


def test_all_modalities_and_types_of_target_learn_together_with_finite_gradients() -> None:
    network = Network(SIZES)
    y = torch.tensor([[1.0, 2.0, 0.5], [0.0, NAN, 1.0]] * 3)
    logits = network(**whole_input(network))
    assert [tuple(logit.shape) for logit in logits] == [(6,), (6, 3), (6,)]
    MultiTargetLoss(MIXED, uncertainty=True)(logits, y).backward()
    assert finite_gradients(network)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_half_precision_gives_nearly_the_same(encoder: Any, fusion: Any) -> None:
    sequences = tuple(dataclasses.replace(s, encoder=encoder, heads=2) for s in SIZES.sequences)
    fused = dataclasses.replace(SIZES.fusion, kind=fusion)
    network = Network(dataclasses.replace(SIZES, sequences=sequences, fusion=fused)).eval()
    with torch.autocast("cpu", torch.bfloat16):
        inputs = whole_input(network)
        rounded = network(**inputs)
        sum(logit.float().square().sum() for logit in rounded).backward()
    assert finite_gradients(network)
    exact = network(**(inputs | {"nodes": inputs["nodes"].float()}))
    for ours, theirs in zip(rounded, exact, strict=True):
        torch.testing.assert_close(ours.float(), theirs, atol=0.1, rtol=0)


def test_rows_do_not_influence_each_other_when_scored() -> None:
    network = Network(SIZES).eval()
    inputs = whole_input(network)
    together = network(**inputs)
    alone = {name: value[[1]] for name, value in inputs.items() if name != "sequences"}
    alone["sequences"] = [Padded(*(p if p is None else p[[1]] for p in s)) for s in inputs["sequences"]]
    for one, all_rows in zip(network(**alone), together, strict=True):
        torch.testing.assert_close(one[0], all_rows[1], atol=1e-6, rtol=0)


def test_sizes_and_weights_come_back_from_json_and_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    network = Network(SIZES)
    network.tabular.numbers.edges.copy_(quantile_edges(torch.randint(0, 3, (50, 3)).float(), 16))
    inputs = whole_input(network)
    network(**inputs)  # moves BatchNorm's running means off their start
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    sizes = TypeAdapter(NetworkSizes).validate_json(json.dumps(dataclasses.asdict(SIZES)))
    assert sizes == SIZES
    stacked = dataclasses.replace(SIZES, sequences=(SequenceSizes(2, (3,), 8, **STACKED),))
    assert TypeAdapter(NetworkSizes).validate_json(json.dumps(dataclasses.asdict(stacked))) == stacked
    again = Network(sizes)
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    for ours, theirs in zip(network.eval()(**inputs), again.eval()(**inputs), strict=True):
        assert torch.equal(ours, theirs)


def test_any_one_modality_is_enough_and_none_is_refused() -> None:
    heads = HeadSizes((1,))
    assert len(Network(NetworkSizes(heads, TabularSizes(2)))(torch.randn(4, 2))[0]) == 4
    only_events = Network(NetworkSizes(heads, sequences=SIZES.sequences[:1]))
    assert only_events(sequences=[events([1, 0], 2)])[0].isfinite().all()
    only_graph = Network(NetworkSizes(heads, graph=GraphSizes(3, 1)))
    assert len(only_graph(nodes=only_graph.graph(torch.randn(4, 6)))[0]) == 4
    with pytest.raises(ValueError, match="at least one modality"):
        Network(NetworkSizes(heads))


def test_importing_the_models_does_not_load_torch() -> None:
    code = "import sys, toolkit.models; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("encoder", ["lstm", "gru", "tcn", "transformer"])
def test_groups_of_like_length_give_what_the_whole_batch_gives(
    encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    branch = SequenceBranch(SequenceSizes(3, (4,), width=8, hidden=16, encoder=encoder)).eval()
    lengths = torch.randint(0, 12, (700,))
    lengths[:300] = 0  # a group in which nobody has events
    events = Padded(torch.randn(700, 12, 3), lengths, torch.randint(0, 4, (700, 12, 1)))
    grouped = branch(events)
    monkeypatch.setattr(sequence, "GROUP", 10_000)
    torch.testing.assert_close(grouped, branch(events))


def test_balanced_classes_count_in_the_asymmetric_loss_too() -> None:
    logits, y = torch.tensor([0.3, 0.3]), torch.tensor([0.0, 1.0])
    plain = TargetLoss("binary", "asymmetric").rows(logits, y)
    weighed = TargetLoss("binary", "asymmetric", class_weight=(0.5, 50.0)).rows(logits, y)
    torch.testing.assert_close(weighed, plain * torch.tensor([0.5, 50.0]))


def test_weights_of_both_signs_are_heard_no_louder_than_they_are() -> None:
    relation = Relation(np.array([0, 2]), np.array([0, 1]), np.array([1, -0.99999], np.float32))
    heard = graph.aggregate(torch.tensor([[1.0], [2.0]]), graph.averaged(graph.edges(relation)))
    assert abs(float(heard[0, 0])) < 1


def test_a_node_among_its_neighbours_is_the_propagation_of_a_gcn() -> None:
    """(D + I)⁻¹ (A + I) X for edges of weight 1, written with dense matrices; a node alone hears itself."""
    rng = np.random.default_rng(0)
    A = (rng.random((30, 30)) < 0.1).astype(np.float32)
    np.fill_diagonal(A, 0)
    A[7] = 0
    node, neighbour = np.nonzero(A)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(node, minlength=30))])
    relation = Relation(indptr, neighbour, np.ones(len(neighbour), np.float32))
    X = torch.randn(30, 5)
    own = torch.from_numpy(A) + torch.eye(30)
    edges = graph.averaged(graph.with_own(graph.edges(relation)))
    torch.testing.assert_close(graph.aggregate(X, edges), own @ X / own.sum(1, keepdim=True))
    assert torch.equal(graph.aggregate(X, edges)[7], X[7])
    assert graph.gather(X, [edges], beside=False).shape == (30, 5)


def test_two_hops_are_a_gcn_of_two_layers() -> None:
    """Â relu(Â X W₁) W₂ (Kipf, Welling 2017, equation 9, rows normalised and weighted), written with dense matrices."""
    relation, dense = random_relation(12, 40, 5)
    edges = graph.averaged(graph.with_own(graph.edges(relation)))
    A = torch.from_numpy(dense) + torch.eye(12)
    A = A / A.sum(1, keepdim=True)
    branch = GraphBranch(GraphSizes(4, 1, width=3, hidden=6, hops=2, own="among")).eval()
    X = torch.randn(12, 4)
    ours = branch.embed(graph.gather(X, [edges], beside=False), [edges])
    hidden = torch.relu(nn.functional.linear(A @ X, branch.first.weight, branch.first.bias))
    torch.testing.assert_close(ours, nn.functional.linear(A @ hidden, branch.last.weight, branch.last.bias))
