"""Targets: from raw values to labels, with what is fitted on training rows only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from worlds import Made, declare, make, tiny

from toolkit.config.targets import AnyOf, Target
from toolkit.errors import ConfigError, DataError, UserError
from toolkit.prepare.definitions import shares
from toolkit.prepare.targets import CompiledTarget, LabelState, labels

NAN = float("nan")
OF = {"table": "orders", "agg": "count"}
PEOPLE = """
    id, town, age, vip, born, seen
    01, Rome, 30, true, 1990-01-01, 2020-01-01 00:00:00
    02, Oslo, 40, false, 1980-01-01,
    03, , 50, , 1970-01-01,
    04, Rome, , true, 1960-01-01,
"""
ORDERS = """
    client, day, amount, kind, paid
    01, 2023-01-10, 10, a, true
    01, 2023-07-01, 10, b, true
    01, 2023-12-31, 20, a, true
    01, 2024-01-01, 30, a, true
    01, 2024-03-31, 40, b, true
    02, 2023-02-01, 50, a, true
    02, 2024-04-01, 60, a, true
    03, 2023-12-01, 70, a, true
    02, 2024-12-30, 10, a, true
"""
CUTOFF = {"cutoffs": ["2024-01-01"]}
HISTORY = {"kind": "windows", "table": "orders", "features": [{"agg": "count"}]}


def label(
    declared: dict[str, Any],
    values: Any,
    cutoffs: Any = None,
    train: Any = None,
    eligible: Any = None,
    state: LabelState | None = None,
) -> tuple[list[float], LabelState]:
    """Labels of raw values, without any table."""
    node = TypeAdapter(Target).validate_python({"horizon": "1 year"} | declared)
    raw = np.array(values, object if any(isinstance(v, str) for v in values) else float)
    n = len(raw)
    moments = np.array(cutoffs or ["2024-01-01"] * n, "datetime64[us]")
    target = CompiledTarget("t", node, "binary", None, None, frozenset(), None, frozenset(), False, None)  # type: ignore[arg-type]
    mask = np.ones(n, bool) if train is None else np.array(train, bool)
    chosen = np.ones(n, bool) if eligible is None else np.array(eligible, bool)
    y, fitted = labels(target, raw, chosen, moments, mask, state)
    assert y.dtype == np.float32
    return y.tolist(), fitted


def top(values: Any, fraction: float = 0.2, **more: Any) -> list[float]:
    declared = {"kind": "top_fraction", "of": OF, "fraction": fraction}
    rows = {key: more.pop(key) for key in ("cutoffs", "train", "eligible", "state") if key in more}
    return label(declared | more, values, **rows)[0]


def made(
    folder: Path, target: dict[str, Any], cohort: dict[str, Any] | None = None, files: Any = None
) -> Made:
    tiny(folder, {"people": PEOPLE, "orders": ORDERS, **(files or {})})
    features = {"who": {"kind": "attributes", "table": "people", "columns": ["seen"]}, "orders": HISTORY}
    return make(folder, declare(cohort or CUTOFF, features, {"t": target}))


def labelled(found: Made) -> list[float | None]:
    """Labels of all rows, in order; all rows train."""
    matrix = found.matrix()
    rows = np.ones(len(matrix), bool)
    y, _ = labels(found.compiled.targets["t"], matrix.values["t"], matrix.eligible["t"], matrix.cutoff, rows)
    return [None if np.isnan(v) else float(v) for v in y]


@pytest.mark.parametrize(
    ("declared", "expected"),
    [  # of 01: 2 in the horizon, of 02: 1 (the day after the quarter), of 03 and 04 none
        ({"kind": "event_within", "table": "orders", "horizon": "3 months"}, [1, 0, 0, 0]),
        ({"kind": "event_within", "table": "orders", "horizon": "6 months"}, [1, 1, 0, 0]),
        ({"kind": "event_within", "table": "orders", "horizon": "6 months", "at_least": 2}, [1, 0, 0, 0]),
        ({"kind": "event_within", "table": "orders", "horizon": "6 months", "where": "kind = 'b'"}, [1, 0, 0, 0]),
        ({"kind": "inactivity", "table": "orders", "horizon": "6 months"}, [0, 0, 1, 1]),
        ({"kind": "inactivity", "table": "orders", "horizon": "6 months", "where": "amount > 50"}, [1, 0, 1, 1]),
        # 01 lies still from 31 March on, 02 from 1 February to 1 April, 03 has begun to in December, 04 always does
        ({"kind": "silence", "table": "orders", "lasting": "91 days", "horizon": "3 months"}, [0, 1, 1, 1]),
        ({"kind": "silence", "table": "orders", "lasting": "90 days", "horizon": "3 months"}, [0, 1, 1, 1]),
        ({"kind": "silence", "table": "orders", "lasting": "89 days", "horizon": "3 months"}, [1, 1, 1, 1]),
        ({"kind": "silence", "table": "orders", "lasting": "91 days", "horizon": "30 days"}, [0, 1, 0, 1]),
        ({"kind": "any_of", "horizon": "3 months", "definitions": {
            "big": {"kind": "event_within", "table": "orders", "where": "amount >= 40"},
            "none": {"kind": "inactivity", "table": "orders"}}}, [1, 1, 1, 1]),
        ({"kind": "any_of", "horizon": "1 year", "definitions": {
            "twice": {"kind": "event_within", "table": "orders", "at_least": 2},
            "huge": {"kind": "event_within", "table": "orders", "where": "amount > 60"}}}, [1, 1, 0, 0]),
        ({"kind": "threshold", "of": {**OF, "agg": "sum", "column": "amount"}, "horizon": "1 year", "value": 110},
         [1, 1, 0, 0]),
        ({"kind": "threshold", "of": {**OF, "agg": "sum", "column": "amount"}, "horizon": "1 year", "value": 110, "op": ">"},
         [0, 1, 0, 0]),
        ({"kind": "threshold", "of": {**OF, "agg": "sum", "column": "amount"}, "at": "cutoff", "horizon": "1 year", "value": 50},
         [0, 1, 1, 0]),
        ({"kind": "threshold", "of": {"table": "orders", "agg": "days_since_last"}, "horizon": "6 months", "value": 90,
          "op": "<="}, [0, 1, 0, 0]),
        ({"kind": "value", "of": {**OF, "agg": "max", "column": "amount", "window": "horizon"}, "horizon": "6 months"},
         [40, 60, None, None]),
        ({"kind": "value", "of": {**OF, "window": "horizon"}, "horizon": "6 months", "transform": "log1p"},
         [np.log1p(np.float32(2)), np.log1p(np.float32(1)), 0, 0]),
        ({"kind": "top_fraction", "of": {"table": "orders", "agg": "days_since_last"}, "direction": "lowest", "fraction": 0.25,
          "horizon": "6 months"}, [0, 1, 0, 0]),
        ({"kind": "classes", "horizon": "6 months", "terms": {"n": {**OF, "window": "horizon"}},
          "classes": {"none": "n = 0", "two": "n >= 2"}}, [1, None, 0, 0]),
        ({"kind": "column", "column": "vip"}, [1, 0, None, 1]),
        ({"kind": "column", "column": "town", "type": "binary", "positive": "Oslo"}, [0, 1, None, 0]),
        ({"kind": "column", "column": "age", "type": "regression"}, [30, 40, 50, None]),
    ],
)  # fmt: skip
def test_each_kind_of_target(tmp_path: Path, declared: dict[str, Any], expected: list[Any]) -> None:
    assert labelled(made(tmp_path, declared)) == [None if e is None else pytest.approx(e) for e in expected]


def test_a_silence_is_nested_and_an_absence_is_not(tmp_path: Path) -> None:
    """What was silent for a while within a quarter was so within a year, even if an order came later."""
    files = {
        "orders": "client, day, amount, kind, paid\n01, 2023-12-20, 1, a, true\n01, 2024-06-01, 1, a, true\n"
    }
    found = {}
    for kind, more in (("silence", {"lasting": "60 days"}), ("inactivity", {})):
        for months in (3, 12):
            declared = {"kind": kind, "table": "orders", "horizon": f"{months} months", **more}
            files["orders"] += "09, 2024-12-31, 1, a, true\n" * (months == 12)
            found[kind, months] = labelled(made(tmp_path / f"{kind}{months}", declared, files=files))[0]
    assert found == {("silence", 3): 1, ("silence", 12): 1, ("inactivity", 3): 1, ("inactivity", 12): 0}


def test_definitions_are_told_side_by_side(tmp_path: Path) -> None:
    declared = {"kind": "any_of", "horizon": "3 months", "definitions": {
        "again": {"kind": "event_within", "table": "orders"}, "vast": {"kind": "event_within", "table": "orders", "where": "amount > 35"},
        "silent": {"kind": "silence", "table": "orders", "lasting": "91 days"}}}  # fmt: skip
    found = made(tmp_path, declared)
    values = found.matrix().values["t"]
    assert values.tolist() == [0b011, 0b100, 0b100, 0b100]  # both, and the others lie still
    node = found.compiled.targets["t"].node
    assert isinstance(node, AnyOf)
    assert shares(node, values) == {"again": 0.25, "vast": 0.25, "silent": 0.75, "several": 0.25}


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"kind": "silence", "table": "orders", "lasting": "1 month"}, "has no fixed length; write for example 30 days"),
        ({"kind": "any_of", "definitions": {"one": {"kind": "inactivity", "table": "orders"}}}, "at least 2 items"),
        ({"kind": "any_of", "definitions": {"a": {"kind": "inactivity", "table": "orders", "horizon": "9 days"},
                                            "b": {"kind": "inactivity", "table": "orders"}}}, "horizon"),
    ],
)  # fmt: skip
def test_definitions_that_make_no_sense(declared: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TypeAdapter(Target).validate_python(declared | {"horizon": "3 months"})


def test_multiclass_takes_its_classes_from_the_column(tmp_path: Path) -> None:
    declared = {"kind": "column", "column": "town", "type": "multiclass"}
    assert labelled(made(tmp_path, declared)) == [1, 0, None, 1]  # Oslo, Rome


def test_among_decides_which_rows_have_a_label(tmp_path: Path) -> None:
    declared = {
        "kind": "inactivity",
        "table": "orders",
        "horizon": "6 months",
        "among": [
            {"table": "orders", "within": "6 months"},
            {"table": "orders", "within": "6 months", "ending": "6 months"},
        ],
    }  # 01 alone ordered in both halves of 2023; that order of 1 July lies in the second
    assert labelled(made(tmp_path, declared)) == [0, None, None, None]


def test_a_quantile_is_fitted_on_training_rows_only() -> None:
    values = [*range(1, 11), 100, 200, 300]
    train = [True] * 10 + [False] * 3
    assert top(values, train=train) == [0] * 8 + [1, 1] + [1, 1, 1]
    changed = [*range(1, 11), -5, 9, NAN]
    y = top(changed, train=train)
    assert y == [0] * 8 + [1, 1] + [0, 1, 0]


def test_rows_out_of_the_target_do_not_move_the_quantile() -> None:
    eligible = [False, True, True, True, True, True]
    assert top([99, 1, 2, 3, 4, 5], eligible=eligible)[1:] == [0, 0, 0, 0, 1]
    assert np.isnan(top([99, 1, 2, 3, 4, 5], eligible=eligible)[0])


def test_the_fraction_counts_rows_and_survives_decimals() -> None:
    assert sum(top(range(100), 0.29)) == 29  # 0.29 × 100 is 28.999999999999996 in floats
    assert sum(top(range(7), 0.01)) == 1
    assert sum(top(range(10), 0.25)) == 2


def test_ties_at_the_quantile_are_all_at_the_top_unless_nothing_is_lower() -> None:
    assert top([1, 2, 3, 3, 3], 0.2) == [0, 0, 1, 1, 1]
    assert top([0, 0, 0, 0, 0, 0, 0, 0, 0, 5], 0.5) == [0] * 9 + [1]  # zeros are no top half
    assert top([NAN, NAN, NAN, 1, 2], 0.6) == [0, 0, 0, 1, 1]  # what has no value is never at the top


def test_sums_that_differ_by_the_order_of_summation_are_ties() -> None:
    assert top([0.1 + 0.2, 0.3, 0.1, 0.1, 0.1], 0.2) == [1, 1, 0, 0, 0]
    reached = {"kind": "threshold", "of": OF, "value": 0.6}
    assert label(reached, [0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1, 0.59])[0] == [1, 1, 0]


def test_the_lowest_can_be_the_top() -> None:
    assert top([5, 4, 3, NAN, 1], 0.2, direction="lowest") == [0, 0, 0, 0, 1]


def test_a_quantile_per_cutoff_and_for_cutoffs_without_training_rows() -> None:
    cutoffs = ["2022-01-01"] * 5 + ["2023-01-01"] * 5 + ["2024-01-01"] * 5
    values = [1, 2, 3, 4, 5, 10, 20, 30, 40, 50, 5, 49, 50, 51, 52]
    train = [True] * 10 + [False] * 5
    assert top(values, cutoffs=cutoffs, train=train, fit="per_cutoff") == [0, 0, 0, 0, 1] * 2 + [
        0,
        0,
        1,
        1,
        1,
    ]
    assert sum(top(values[:10], cutoffs=cutoffs[:10], fit="pooled")) == 2


def test_a_fitted_state_labels_new_rows_alike() -> None:
    declared = {"kind": "top_fraction", "of": OF, "fraction": 0.2}
    _, state = label(declared, range(10))
    assert state.quantiles == {"pooled": 8.0}
    again = LabelState(**{**state.to_dict(), "classes": ()})
    assert label(declared, [7, 8, 9], state=again)[0] == [0, 1, 1]
    yes = {"kind": "column", "column": "vip"}
    node = TypeAdapter(Target).validate_python(yes)
    target = CompiledTarget("t", node, "binary", None, None, frozenset(), None, frozenset(), False, None)  # type: ignore[arg-type]
    ones = np.ones(3, bool)
    moments = np.zeros(3, "datetime64[us]")
    _, state = labels(target, np.array(["Yes", "no", "no"], object), ones, moments, ones)
    assert state.classes == ("Yes",)
    y, _ = labels(target, np.array(["no", "no", None], object), ones, moments, ones, state)
    assert y[:2].tolist() == [0, 0]
    assert np.isnan(y[2])


@pytest.mark.parametrize("values", [[NAN, NAN], [3.0, 3.0, 3.0]])
def test_what_cannot_be_ranked_is_refused(values: list[float]) -> None:
    with pytest.raises(DataError, match=r"same value|value to rank") as error:
        top(values)
    assert error.value.where == "target.t.of"
    assert error.value.fix


def refused(folder: Path, target: dict[str, Any], **more: Any) -> UserError:
    with pytest.raises(UserError) as error:
        labelled(made(folder, target, **more))
    assert error.value.where
    assert error.value.fix, str(error.value)
    return error.value


@pytest.mark.parametrize(
    ("target", "kind", "says"),
    [
        ({"kind": "event_within", "table": "order", "horizon": "1 month"}, ConfigError, "no table is called `order`"),
        ({"kind": "event_within", "table": "marks", "horizon": "1 month"}, ConfigError, "has no clock"),
        ({"kind": "event_within", "table": "orders", "horizon": "1 month", "where": "colour = 1"}, ConfigError, "colour"),
        ({"kind": "column", "column": "label"}, ConfigError, "no column `label`"),
        ({"kind": "column", "column": "age", "positive": "Paris"}, ConfigError, "no value `Paris`"),
        ({"kind": "column", "column": "age"}, ConfigError, "means yes is not said"),
        ({"kind": "column", "column": "born", "type": "regression"}, ConfigError, "needs numbers"),
        ({"kind": "column", "column": "age", "type": "regression", "positive": "1"}, ConfigError, "goes with"),
        ({"kind": "value", "of": {**OF, "window": "horizon"}, "at": "cutoff", "horizon": "1 month"}, ConfigError, "after the cutoff"),
        ({"kind": "value", "of": {"table": "orders", "agg": "sum", "column": "kind"}, "horizon": "1 month"}, ConfigError, "is text"),
        ({"kind": "value", "of": {"table": "orders", "agg": "last", "column": "kind"}, "horizon": "1 month"}, ConfigError, "is text"),
        ({"kind": "value", "of": {"table": "orders", "agg": "max", "column": "day"}, "horizon": "1 month"}, ConfigError, "is a date"),
        ({"kind": "value", "of": {"terms": {"n": OF}, "value": "-2 - n"}, "horizon": "1 month", "transform": "log1p"}, DataError, "log1p"),
        ({"kind": "value", "of": {"table": "orders", "agg": "share_of_periods", "window": "1 year", "period": "5 months"},
          "horizon": "1 month"}, ConfigError, "not a whole number of periods"),
        ({"kind": "event_within", "table": "orders", "horizon": "2 years"}, DataError, "ends on 2026-01-01"),
    ],
)  # fmt: skip
def test_mistakes_name_the_key_and_the_fix(
    tmp_path: Path, target: dict[str, Any], kind: type[UserError], says: str
) -> None:
    files = {"marks": "client, amount, kind\n01, 1, a"}
    error = refused(tmp_path, target, files=files)
    assert isinstance(error, kind)
    assert says in str(error)
    assert error.where.startswith(("target.t", "dataset.tables"))


def test_a_horizon_needs_a_cutoff(tmp_path: Path) -> None:
    target = {"kind": "event_within", "table": "orders", "horizon": "1 month"}
    error = refused(tmp_path, target, cohort={"cutoffs": None})
    assert error.where == "cohort.cutoffs"


@pytest.mark.parametrize(
    ("declared", "partly"),
    [
        ({"kind": "event_within", "table": "orders", "horizon": "1 month"}, False),
        ({"kind": "value", "of": {**OF, "window": "horizon"}, "horizon": "1 month"}, False),
        ({"kind": "value", "of": OF, "horizon": "1 month"}, True),
        ({"kind": "inactivity", "table": "orders", "horizon": "1 month"}, False),
        ({"kind": "silence", "table": "orders", "lasting": "30 days", "horizon": "1 month"}, True),
        (
            {
                "kind": "any_of",
                "horizon": "1 month",
                "definitions": {
                    "one": {"kind": "event_within", "table": "orders"},
                    "no": {"kind": "inactivity", "table": "orders"},
                },
            },
            False,
        ),
        (
            {
                "kind": "any_of",
                "horizon": "1 month",
                "definitions": {
                    "one": {"kind": "event_within", "table": "orders"},
                    "no": {"kind": "silence", "table": "orders", "lasting": "30 days"},
                },
            },
            True,
        ),
    ],
)
def test_a_target_says_what_is_known_at_the_cutoff_already(
    tmp_path: Path, declared: dict[str, Any], partly: bool
) -> None:
    target = made(tmp_path, declared).compiled.targets["t"]
    assert target.partly_known == partly
    assert target.sources == {("orders", "day")}
