"""Features made of other features: values, lineage, what is refused, and the same values computed anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import dated, experiment, people

from toolkit.data.engine import Engine
from toolkit.errors import ConfigError, LeakError
from toolkit.prepare.expressions import recomputed
from toolkit.proof import all_proofs

SETS: dict[str, Any] = {
    "who": {"kind": "attributes", "table": "people"},
    "history": {
        "kind": "windows", "table": "events", "windows": ["12 months"],
        "features": [{"agg": "count"}, {"agg": ["sum", "mean"], "column": "amount"}],
    },
}  # fmt: skip
MADE = {
    "kind": "expressions",
    "features": {
        "per_event": "history.amount_sum_12mo / history.count_12mo",
        "roman": "case when who.town = 'Rome' then who.score else 0 end",
        "busy": "history.count_12mo > 3",
    },
}


def made(folder: Path, features: dict[str, Any] | None = None, **parts: Any) -> Any:
    return experiment(dated(folder, *people(200), features=SETS | {"made": MADE} | (features or {}), **parts))


def test_they_are_what_they_say_and_follow_the_order_of_sets(tmp_path: Path) -> None:
    prepared = made(tmp_path).prepared
    columns = prepared.matrix.columns
    names = [feature.name for feature in prepared.matrix.features]
    assert names[-3:] == ["made.per_event", "made.roman", "made.busy"]
    count, total = columns["history.count_12mo"], columns["history.amount_sum_12mo"]
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where(count > 0, total / count, np.nan)
    assert np.allclose(columns["made.per_event"], expected, equal_nan=True, rtol=1e-6)
    assert np.isnan(expected).any()  # x / 0 has no value
    rome = np.asarray(columns["who.town"]) == "Rome"
    assert np.array_equal(columns["made.roman"], np.where(rome, columns["who.score"], 0))
    assert np.array_equal(columns["made.busy"], (count > 3).astype(np.float32))


def test_their_lineage_is_that_of_what_they_read(tmp_path: Path) -> None:
    features = {f.name: f for f in made(tmp_path).prepared.compiled.features}
    both = features["history.amount_sum_12mo"].sources | features["history.count_12mo"].sources
    assert features["made.per_event"].sources == both
    assert ("people", "town") in features["made.roman"].sources


def test_an_expression_over_a_label_is_a_leak(tmp_path: Path) -> None:
    target = {"label": {"kind": "column", "column": "group", "positive": "A"}}
    sets = {
        "who": SETS["who"] | {"columns": ["town", "score"]},
        "made": {"kind": "expressions", "features": {"x": "told.y"}},
    }
    told = {
        "told": {
            "kind": "measures",
            "features": {"y": {"table": "people", "agg": "nunique", "column": "group"}},
        }
    }
    with pytest.raises(LeakError, match="target `label` derives from"):
        experiment(dated(tmp_path, *people(200), target=target, features=sets | told))


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("history.cuont_12mo", "did you mean `history.count_12mo`"),
        ("made.busy + 1", "which is not a column here"),  # not over its own kind
        ("(select 1)", "may not"),
    ],
)
def test_what_they_may_not_read_is_refused(tmp_path: Path, expression: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        made(tmp_path, {"more": {"kind": "expressions", "features": {"x": expression}}})
    assert said in str(error.value)
    assert error.value.where == "features.more.features.x"


def test_computed_anew_they_are_the_same_to_the_last_bit_and_follow_a_change(tmp_path: Path) -> None:
    done = made(tmp_path)
    columns, declared = done.prepared.matrix.columns, done.config.features
    engine = Engine(threads=1)
    names = {"made.per_event", "made.roman", "made.busy"}
    again = recomputed(declared, columns, ["history.count_12mo", "who.score"], engine)
    assert set(again) == names
    for name in names:
        assert np.array_equal(again[name], columns[name], equal_nan=True), name
    changed = columns | {"history.count_12mo": np.full(len(columns["made.busy"]), 7, np.float32)}
    again = recomputed(declared, changed, ["history.count_12mo"], engine)
    assert set(again) == {"made.per_event", "made.busy"}  # the others do not read it
    assert (again["made.busy"] == 1).all()
    assert recomputed(declared, columns, ["who.group"], engine) == {}


def test_the_future_stays_out_of_them(tmp_path: Path) -> None:
    config = dated(tmp_path, *people(200), features=SETS | {"made": MADE})
    assert all(proof.holds for proof in all_proofs(config, lambda what, share: None))
