"""Leaks refused by construction: no feature, and no choice of rows, reads what a label is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from worlds import Made, declare, make, tiny

from toolkit.config.tables import Dataset
from toolkit.errors import LeakError

FILES = {
    "clients": "id, town, plan, left, ends, joined\n01, Rome, a, yes, 2023-05-01, 2020-01-01\n02, Oslo, b, no, 2023-06-01, 2021-01-01",
    "orders": "client, day, amount\n01, 2021-01-01, 5\n01, 2022-06-01, 7\n02, 2023-12-31, 9",
    "leaving": "client, day, reason\n01, 2022-06-01, price",
    "ties": "a, b, strength\n01, 02, 1",
}
TABLES: dict[str, Any] = {
    "clients": {
        "key": "id", "known": "always",
        "columns": {"id": "text", "town": "text", "plan": "text", "left": "text", "ends": "date", "joined": "date"},
        "derive": {"gone": "left = 'yes'", "shout": "upper(left) || '!'", "home": "lower(town)"},
    },
    "orders": {"entity": "client", "clock": "day", "columns": {"client": "text", "day": "date", "amount": "number"}},
    "leaving": {"key": "client", "entity": "client", "clock": "day",
                "columns": {"client": "text", "day": "date", "reason": "text"}},
    "ties": {"known": "always", "columns": {"a": "text", "b": "text", "strength": "number"}},
}  # fmt: skip
RELATIONS = {"ties": {"table": "ties", "ends": ["a", "b"], "weight": "strength"}}
LEFT = {"left": {"kind": "column", "column": "left", "positive": "yes"}}
HARMLESS = {"home": {"kind": "attributes", "table": "clients", "columns": ["home"]},
            "n": {"kind": "windows", "table": "orders", "features": [{"agg": "count"}]}}  # fmt: skip
COUNT = {"table": "clients", "agg": "count"}


def made(folder: Path, features: dict[str, Any], target: Any = None, **cohort: Any) -> Made:
    data = Dataset.model_validate({"entity": "clients", "tables": TABLES, "relations": RELATIONS})
    declared = declare({"cutoffs": ["2022-01-01"]} | cohort, HARMLESS | features, target or LEFT, data)
    return make(tiny(folder, FILES), declared)


def attributes(*columns: str, **more: Any) -> dict[str, Any]:
    return {"kind": "attributes", "table": "clients", "columns": list(columns), **more}


@pytest.mark.parametrize(
    "leak",
    [
        attributes("left"),
        attributes("gone"),
        attributes("shout", "town"),
        attributes("town", where="left = 'no'"),
        attributes("town", where="gone"),
        {"kind": "windows", "table": "clients", "features": [{"agg": "nunique", "column": "left"}]},
        {"kind": "windows", "table": "clients", "features": [{"agg": "count", "where": "left = 'yes'"}]},
        {"kind": "windows", "table": "clients", "features": [{"agg": "count"}], "where": "not gone"},
        {"kind": "windows", "table": "clients", "features": [{"agg": "share", "column": "left", "values": ["yes"]}]},
        {"kind": "measures", "features": {"x": {**COUNT, "where": "left = 'yes'"}}},
        {"kind": "measures", "features": {"x": {"terms": {"a": COUNT, "b": {**COUNT, "where": "gone"}}, "value": "a - b"}}},
        {"kind": "neighbours", "relation": "ties", "features": [
            {"name": "x", "agg": "sum", "of": {**COUNT, "where": "left = 'yes'"}}]},
        {"kind": "neighbours", "relation": "ties", "features": [
            {"name": "x", "agg": "max", "of": {"terms": {"a": {**COUNT, "where": "gone"}}, "value": "a"}}]},
        {"kind": "measures", "features": {"x": {"relation": "ties", "agg": "sum", "of": {**COUNT, "where": "gone"}}}},
    ],
)  # fmt: skip
def test_a_feature_made_of_the_label_is_refused(tmp_path: Path, leak: dict[str, Any]) -> None:
    with pytest.raises(LeakError, match=r"made of `clients.left`, which target `left` derives from") as error:
        made(tmp_path, {"leak": leak})
    assert error.value.where == "features.leak"
    assert error.value.why
    assert error.value.fix


def test_a_date_that_a_label_is_made_of_has_no_calendar(tmp_path: Path) -> None:
    target = {"ends": {"kind": "column", "column": "ends", "type": "multiclass"}}
    with pytest.raises(LeakError, match=r"clients.ends"):
        made(tmp_path, {"leak": {"kind": "calendar", "of": "ends", "parts": ["year"]}}, target)


def test_a_label_that_is_derived_hides_what_it_is_made_of(tmp_path: Path) -> None:
    target = {"gone": {"kind": "column", "column": "gone"}}
    for column in ("left", "shout", "gone"):
        with pytest.raises(LeakError, match=r"clients.left"):
            made(tmp_path / column, {"leak": attributes(column)}, target)


@pytest.mark.parametrize(
    ("cohort", "where"),
    [
        ({"where": "left = 'no'"}, "cohort"),
        ({"where": "not gone and town = 'Rome'"}, "cohort"),
        ({"having": [{"table": "clients", "where": "left = 'no'"}]}, "cohort"),
    ],
)
def test_rows_are_not_chosen_by_the_label(tmp_path: Path, cohort: dict[str, Any], where: str) -> None:
    with pytest.raises(LeakError, match="rows are chosen by") as error:
        made(tmp_path, {}, None, **cohort)
    assert error.value.where == where
    assert error.value.fix


def test_nor_are_the_rows_of_another_target(tmp_path: Path) -> None:
    among = [{"table": "clients", "where": "left = 'no'"}]
    other = {"kind": "event_within", "table": "orders", "horizon": "1 year", "among": among}
    with pytest.raises(LeakError, match="rows are chosen by") as error:
        made(tmp_path, {}, LEFT | {"orders": other})
    assert error.value.where == "target.orders.among"


def test_all_columns_leaves_the_label_out_and_what_is_made_of_it(tmp_path: Path) -> None:
    all_of_them = {"all": {"kind": "attributes", "table": "clients"}}
    found = made(tmp_path, all_of_them)
    names = [f.name for f in found.compiled.features if f.set == "all"]
    assert names == ["all.town", "all.plan", "all.ends", "all.joined", "all.home"]
    assert found.compiled.labels == {("clients", "left"): "left"}


def test_a_row_that_stands_alone_has_one_value_for_both_sides_of_the_cutoff(tmp_path: Path) -> None:
    target = {"leaves": {"kind": "event_within", "table": "leaving", "horizon": "5 months"}}
    for number, leak in enumerate((
        {"kind": "windows", "table": "leaving", "features": [{"agg": "count"}]},
        {"kind": "attributes", "table": "leaving", "columns": ["reason"]},
    )):  # fmt: skip
        with pytest.raises(LeakError, match=r"leaving.day"):
            made(tmp_path / str(number), {"leak": leak}, target)


def test_a_history_may_serve_both_sides_of_the_cutoff(tmp_path: Path) -> None:
    """Positive control: orders before the cutoff are features, orders after it the label."""
    target = {
        "again": {"kind": "event_within", "table": "orders", "where": "amount > 6", "horizon": "1 year"}
    }
    features = {
        "sums": {"kind": "windows", "table": "orders", "features": [{"agg": "sum", "column": "amount"}]}
    }
    found = made(tmp_path, features, target)
    assert found.features()["sums.amount_sum_all"] == {0: 5, 1: 0}
    assert found.raw("again") == {0: 1, 1: 0}


def test_the_edges_of_a_relation_may_serve_both(tmp_path: Path) -> None:
    """Undated edges are taken as known always, by features and targets alike: they tell nothing new."""
    near = {"relation": "ties", "agg": "sum", "of": {"table": "orders", "agg": "count", "window": "horizon"}}
    target = {"circle": {"kind": "value", "of": near, "horizon": "1 year"}}
    features = {
        "ties": {
            "kind": "neighbours",
            "relation": "ties",
            "features": [{"name": "n", "agg": "count", "weight": True}],
        }
    }
    found = made(tmp_path, features, target)
    assert found.features()["ties.n"] == {0: 1, 1: 1}
    assert found.raw("circle") == {0: 0, 1: 1}
