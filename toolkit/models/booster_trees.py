"""The trees in LightGBM's and XGBoost's own formats, as `toolkit.models.tree_shap` takes them.

Splits go as in LightGBM's `Tree::NumericalDecision` and `CategoricalDecision` (include/LightGBM/tree.h), and as
XGBoost's model.schema says: strictly below goes left, in float32; a level of the split's set goes right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.models.tree_shap import Tree

BY_LEVEL, GAPS_FIRST = 1, 2  # bits of decision_type; the next two say what counts as missing
ZERO, NAN = 1, 2
NEAR_ZERO = 1e-35


def of_lightgbm(raw: bytes) -> list[Tree]:
    """All trees, in the order of the file: of several classes, one tree of each class per round."""
    return [_tree(facts) for facts in _facts(raw.decode())]


def of_xgboost(raw: bytes) -> list[tuple[int, Tree]]:
    """Class and tree, of the model as JSON."""
    model = json.loads(raw)["learner"]["gradient_booster"]["model"]
    return [(int(c), _of_json(tree)) for c, tree in zip(model["tree_info"], model["trees"], strict=True)]


def _of_json(facts: dict[str, Any]) -> Tree:
    """XGBoost numbers inner nodes and leaves together."""
    left, right = (np.array(facts[f"{side}_children"]) for side in ("left", "right"))
    number = np.where(
        left >= 0, np.cumsum(left >= 0) - 1, np.negative(np.cumsum(left < 0))
    )  # inner 0, 1, …; leaf i: -i - 1
    inner = np.flatnonzero(left >= 0)
    condition, cover = (
        np.array(facts["split_conditions"], np.float32),
        np.array(facts["sum_hessian"], np.float64),
    )
    levels = {
        node: np.array(facts["categories"][start : start + size])
        for node, start, size in zip(
            facts["categories_nodes"], facts["categories_segments"], facts["categories_sizes"], strict=True
        )
    }
    goes = [
        partial(_is_other_level, levels=levels[node], gaps_first=bool(facts["default_left"][node])) if node in levels
        else partial(_is_less, threshold=condition[node], gaps_first=bool(facts["default_left"][node]))
        for node in inner.tolist()
    ]  # fmt: skip
    return Tree(
        np.array(facts["split_indices"])[inner].tolist(),
        goes,
        np.column_stack([number[left[inner]], number[right[inner]]]),
        cover[inner],
        cover[left < 0],
        condition[left < 0].astype(np.float64),
    )


def _is_less(values: NDArray, threshold: np.float32, gaps_first: bool) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        return np.where(np.isnan(values), gaps_first, values.astype(np.float32) < threshold)


def _is_other_level(values: NDArray, levels: NDArray[np.intp], gaps_first: bool) -> NDArray[np.bool_]:
    gap = np.isnan(values)
    return np.where(gap, gaps_first, ~np.isin(np.where(gap, -1, values).astype(np.int64), levels))


def _facts(text: str) -> Iterator[dict[str, str]]:
    """The `key=value` lines of each tree."""
    for part in text.split("\nTree=")[1:]:
        lines = part.split("\nend of trees")[0].splitlines()[1:]
        yield dict(line.split("=", 1) for line in lines if "=" in line)


def _numbers(facts: dict[str, str], key: str, kind: type = float) -> NDArray:
    return np.array(facts.get(key, "").split(), dtype=kind)


def _tree(facts: dict[str, str]) -> Tree:
    value = _numbers(facts, "leaf_value")
    feature = _numbers(facts, "split_feature", int)
    threshold, kinds = _numbers(facts, "threshold"), _numbers(facts, "decision_type", int)
    bounds, words = _numbers(facts, "cat_boundaries", int), _numbers(facts, "cat_threshold", int)
    goes = []
    for at, kind in zip(threshold, kinds, strict=True):
        if kind & BY_LEVEL:
            bits = words[bounds[int(at)] : bounds[int(at) + 1]]
            levels = np.flatnonzero([(bits[n // 32] >> (n % 32)) & 1 for n in range(32 * len(bits))])
            goes.append(partial(_is_level, levels=levels))
        else:
            goes.append(
                partial(_is_below, threshold=at, gaps_first=bool(kind & GAPS_FIRST), missing=(kind >> 2) & 3)
            )
    return Tree(
        feature.tolist(),
        goes,
        np.column_stack([_numbers(facts, "left_child", int), _numbers(facts, "right_child", int)]),
        _numbers(facts, "internal_count"),
        _numbers(facts, "leaf_count"),
        value,
    )


def _is_below(values: NDArray, threshold: float, gaps_first: bool, missing: int) -> NDArray[np.bool_]:
    gap = np.isnan(values)
    if missing != NAN:
        values = np.where(gap, 0.0, values)
        gap = np.abs(values) <= NEAR_ZERO if missing == ZERO else np.zeros(len(values), bool)
    with np.errstate(invalid="ignore"):
        below = values <= threshold
    return np.where(gap, gaps_first, below)


def _is_level(values: NDArray, levels: NDArray[np.intp]) -> NDArray[np.bool_]:
    return np.isin(np.where(np.isnan(values), -1, values).astype(np.int64), levels)
