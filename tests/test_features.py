"""Features: their names, lineage, kinds, what is refused, and that they are the same every time.

That their values are right is shown in `test_oracle`.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from worlds import Made, declare, make, tiny

from toolkit.config.tables import Dataset
from toolkit.errors import ConfigError

PEOPLE = "id, town, age, vip, born, seen\n01, Rome, 30, true, 1990-01-01, 2020-01-01 00:00:00\n1, Oslo, , , ,"
ORDERS = """
    client, day, amount, kind, paid
    01, 2023-12-30, 10, a, true
    01, 2023-12-30, 30, B, false
    01, 2023-12-31, 20, b, true
    01, 2024-01-01, 99, a, true
"""
VISITS = """
    client, logged, began, amount, kind
    01, 2023-12-01, 2023-11-01 10:00:00, 1, a
    01, 2023-12-05, 2023-11-01 10:00:00, 2, b
    01, 2023-12-01, 2023-10-01 10:00:00, 9, c
    01, 2023-12-01, 2024-02-01 00:00:00, 7, d
    01, 2024-02-01, 2023-12-01 00:00:00, 8, e
"""
TIES = "a, b, sort, strength, since\n01, 1, kin, 0.5, 2020-01-01\n1, 1, kin, 1, 2020-01-01\n1, 01, work, , 2023-12-31"
MARKS = "client, amount, kind\n01, 1, a"
FILES = {"people": PEOPLE, "orders": ORDERS, "visits": VISITS, "ties": TIES, "marks": MARKS}
CUTOFF = {"cutoffs": ["2024-01-01"]}


def made(folder: Path, features: dict[str, Any], cohort: Any = None) -> Made:
    features = {"needed": {"kind": "windows", "table": "orders", "features": [{"agg": "exists"}]}} | features
    return make(tiny(folder, FILES), declare(cohort or CUTOFF, features))


def windows(*features: dict[str, Any], table: str = "orders", **more: Any) -> dict[str, Any]:
    return {"s": {"kind": "windows", "table": table, "features": list(features), **more}}


def names(found: Made) -> list[str]:
    return [f.name for f in found.compiled.features if not f.name.startswith("needed")]


def values(found: Made, entity: str = "01") -> dict[str, Any]:
    rows = {row["entity"]: row["@row"] for row in found.cohort()}
    return {name: by_row[rows[entity]] for name, by_row in found.features().items()}


def test_names_say_column_aggregate_and_window(tmp_path: Path) -> None:
    declared = windows(
        {"agg": "count"},
        {"agg": ["sum", "last"], "column": ["amount", "kind"][:1], "name": "paid", "where": "paid"},
        {"agg": ["days_since_last", "gap_max"]},
        {"agg": "share", "column": "kind", "values": ["a", "b"], "windows": ["all"]},
        {"agg": "share_of_periods", "period": "1 month", "windows": ["1 year"]},
        {"agg": "acceleration", "short": "30d", "long": "1 year", "column": ["amount"]},
        windows=["90d", "12 months", "2 weeks", "all"],
    )
    assert names(made(tmp_path, declared)) == [
        "s.count_90d", "s.count_12mo", "s.count_2w", "s.count_all",
        "s.paid_amount_sum_90d", "s.paid_amount_sum_12mo", "s.paid_amount_sum_2w", "s.paid_amount_sum_all",
        "s.paid_amount_last_90d", "s.paid_amount_last_12mo", "s.paid_amount_last_2w", "s.paid_amount_last_all",
        "s.days_since_last", "s.gap_max_all", "s.kind_share_a_all", "s.kind_share_b_all",
        "s.share_of_periods_1y", "s.amount_acceleration_30d_1y",
    ]  # fmt: skip


def test_a_name_depends_on_its_own_declaration_only(tmp_path: Path) -> None:
    both = windows({"agg": "count"}, {"agg": "max", "column": "amount", "windows": ["30d"]})
    alone = windows({"agg": "max", "column": "amount", "windows": ["30d"]})
    assert names(made(tmp_path / "a", alone))[0] in names(made(tmp_path / "b", both))


def test_every_column_gets_its_acceleration(tmp_path: Path) -> None:
    """Once only the first did."""
    declared = windows(
        {"agg": ["sum", "acceleration"], "column": ["amount", "paid"], "short": "30d", "long": "1 year"}
    )
    assert [n for n in names(made(tmp_path, declared)) if "acceleration" in n] == [
        "s.amount_acceleration_30d_1y",
        "s.paid_acceleration_30d_1y",
    ]


@pytest.mark.parametrize(
    "features",
    [
        [{"agg": "count"}, {"agg": "count", "where": "paid"}],
        [{"agg": "share", "column": "kind", "values": ["b", "B"]}],  # the engine's names ignore case
    ],
)
def test_two_features_of_one_name_are_refused(tmp_path: Path, features: list[dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match="two features would be called") as error:
        made(tmp_path, windows(*features))
    assert error.value.where == "features.s"
    assert error.value.fix == "give one of them a `name`"


def test_lineage_names_every_column_behind_a_feature(tmp_path: Path) -> None:
    declared = windows({"agg": "sum", "column": "double", "where": "kind = 'a'"}, where="paid")
    declared |= {
        "v": {"kind": "windows", "table": "visits", "features": [{"agg": "count"}]},
        "m": {"kind": "measures", "features": {"r": {
            "terms": {"x": {"table": "orders", "agg": "max", "column": "amount"},
                      "y": {"table": "marks", "agg": "count", "where": "kind = 'a'"}}, "value": "x / y"}}},
        "n": {"kind": "neighbours", "relation": "ties", "types": ["kin"], "features": [
            {"name": "w", "agg": "sum", "weight": True, "of": {"table": "marks", "agg": "sum", "column": "amount"}}]},
        "a": {"kind": "attributes", "table": "people", "columns": ["town"], "where": "age > 1"},
        "c": {"kind": "calendar", "of": "born", "parts": ["year"]},
        "now": {"kind": "calendar", "parts": ["year"]},
    }  # fmt: skip
    sources = {f.name: f.sources for f in made(tmp_path, declared).compiled.features}
    assert sources["s.double_sum_all"] == {("orders", c) for c in ("amount", "kind", "paid", "day")}
    assert sources["v.count_all"] == {("visits", "logged"), ("visits", "began")}
    assert sources["m.r"] == {("orders", "amount"), ("orders", "day"), ("marks", "kind")}
    edges = {("ties", c) for c in ("a", "b", "sort", "strength", "since")}
    assert sources["n.w_kin"] == edges | {("marks", "amount")}
    assert sources["a.town"] == {("people", "town"), ("people", "age")}
    assert sources["c.born_year"] == {("people", "born")}
    assert sources["now.cutoff_year"] == set()


def test_undated_tables_are_named_as_an_assumption(tmp_path: Path) -> None:
    declared = windows({"agg": "count"}, table="marks")
    found = made(tmp_path, declared).compiled.assumptions()
    assert [text.split(":")[0] for text in found] == [
        "table `people` has no clock",
        "table `marks` has no clock",
    ]


def test_a_date_is_known_at_the_end_of_its_day(tmp_path: Path) -> None:
    found = values(made(tmp_path, windows({"agg": ["count", "days_since_last", "days"]})))
    assert found["s.count_all"] == 3  # 31 December yes, 1 January no
    assert found["s.days_since_last"] == 0
    assert found["s.days_all"] == 2


def test_an_entity_without_rows_has_zero_of_them_and_no_mean(tmp_path: Path) -> None:
    found = values(
        made(tmp_path, windows({"agg": ["count", "sum", "mean", "last"], "column": "amount"})), "1"
    )
    assert found["s.count_all"] == found["s.amount_sum_all"] == 0
    assert found["s.amount_mean_all"] is found["s.amount_last_all"] is None


def test_what_happened_counts_once_known_and_what_was_corrected_counts_last(tmp_path: Path) -> None:
    """Of five visits one lies ahead and one is not known yet; a correction beats what it corrects."""
    declared = windows({"agg": "count"}, {"agg": ["first", "last"], "column": "kind"}, table="visits")
    declared["now"] = {"kind": "attributes", "table": "visits", "columns": ["kind", "amount"]}
    found = values(made(tmp_path, declared))
    assert found["s.count_all"] == 3
    assert (found["s.kind_first_all"], found["s.kind_last_all"]) == ("c", "b")
    assert (found["now.kind"], found["now.amount"]) == ("b", 2)


def test_thirty_days_are_not_a_month(tmp_path: Path) -> None:
    """The engine holds INTERVAL 30 DAY and 1 MONTH for equal and would compute one of them only."""
    orders = "client, day, amount, kind, paid\n" + "\n".join(
        f"01, 2024-01-{d}, 1, a, true" for d in (29, 30, 31)
    )
    declared = windows({"agg": "count"}, windows=["30d", "1 month", "720h", "60d", "2 months"])
    folder = tiny(tmp_path, FILES | {"orders": orders})
    found = values(make(folder, declare({"cutoffs": ["2024-03-01"]}, declared)))
    assert found == {  # 30 days before 1 March 2024 is 31 January, a month is 1 February
        "s.count_30d": 1, "s.count_1mo": 0, "s.count_720h": 1, "s.count_60d": 3, "s.count_2mo": 3,
    }  # fmt: skip


def test_neighbours_exclude_oneself_and_count_a_missing_weight_as_one(tmp_path: Path) -> None:
    features = [{"name": "n", "agg": "count"}, {"name": "w", "agg": "count", "weight": True}]
    declared = {"s": {"kind": "neighbours", "relation": "ties", "features": features}}
    found = made(tmp_path, declared)
    assert values(found, "1")["s.n"] == values(found, "01")["s.n"] == 2
    assert values(found, "1")["s.w"] == 1.5


def test_flat_tables_without_cutoffs(tmp_path: Path) -> None:
    """Attributes, undated aggregates and neighbours over an undated relation, with no clock anywhere."""
    declared = {
        "a": {"kind": "attributes", "table": "people"},
        "m": {"kind": "windows", "table": "marks", "features": [{"agg": "sum", "column": "amount"}]},
        "n": {"kind": "neighbours", "relation": "links", "features": [
            {"name": "x", "agg": "sum", "of": {"table": "marks", "agg": "sum", "column": "amount"}}]},
        "c": {"kind": "calendar", "of": "born", "parts": ["year"]},
    }  # fmt: skip
    folder = tiny(tmp_path, FILES | {"links": "source, sink\n1, 01"})
    found = make(folder, declare({"cutoffs": None}, declared))
    assert values(found) == {
        "a.town": "Rome", "a.age": 30, "a.vip": 1, "a.born": 7305, "a.seen": 18262, "m.amount_sum_all": 1, "n.x": 0, "c.born_year": 1990,
    }  # fmt: skip
    assert values(found, "1")["n.x"] == 1
    born = next(f for f in found.compiled.features if f.name == "a.born")
    assert born.text == "days from 1970-01-01 to born"


@pytest.mark.parametrize(
    ("features", "cohort", "says"),
    [
        (windows({"agg": "sum", "column": "kind"}), None, "needs numbers, and `kind` is text"),
        (windows({"agg": "max", "column": "day"}), None, "`day` is a date"),
        (windows({"agg": "count"}, windows=["30d"], table="marks"), None, "`marks` has no clock"),
        (windows({"agg": "days_since_last"}, table="marks"), None, "`marks` has no clock"),
        (windows({"agg": "sum", "column": "amout"}), None, "no column `amout`"),
        (windows({"agg": "count"}, table="order"), None, "no table is called `order`"),
        (windows({"agg": "count", "where": "amount >"}), None, "is not an SQL expression"),
        (windows({"agg": "gap_max", "where": "paid"}), None, "gaps are between all rows"),
        (windows({"agg": "count", "windows": ["horizon"]}), None, "closes at the cutoff"),
        (windows({"agg": "share_of_periods", "period": "5 months", "windows": ["1 year"]}), None, "whole number"),
        (windows({"agg": "share_of_periods", "period": "1 month", "windows": ["all"]}), None, "spans"),
        (windows({"agg": "acceleration", "short": "1 year", "long": "30d"}), None, "not shorter"),
        (windows({"agg": "share", "column": "amount", "values": ["ten"]}), None, "no value of `amount`"),
        (windows({"agg": "count"}, table="ties"), None, "does not say which column holds the entity's key"),
        ({"s": {"kind": "attributes", "table": "marks"}}, None, "several rows for one entity"),
        ({"s": {"kind": "attributes", "table": "people", "columns": ["id"], "exclude": ["id"]}}, None, "no column"),
        ({"s": {"kind": "attributes", "table": "people", "exclude": ["twon"]}}, None, "no column `twon`"),
        ({"s": {"kind": "calendar", "of": "age", "parts": ["year"]}}, None, "not a date"),
        ({"s": {"kind": "measures", "features": {"x": {"table": "orders", "agg": "count", "window": "horizon"}}}},
         None, "after the cutoff"),
        ({"s": {"kind": "neighbours", "relation": "tie", "features": [{"name": "n", "agg": "count"}]}}, None, "relation"),
        ({"s": {"kind": "neighbours", "relation": "links", "features": [{"name": "n", "agg": "count", "weight": True}]}},
         None, "no `weight`"),
        ({"s": {"kind": "neighbours", "relation": "links", "types": ["x"], "features": [{"name": "n", "agg": "count"}]}},
         None, "no `type`"),
        ({"s": {"kind": "calendar", "parts": ["year"]}}, {"cutoffs": None}, "needs cutoffs"),
        ({}, {"cutoffs": None}, "`orders`, which has a clock"),
    ],
)  # fmt: skip
def test_mistakes_name_the_key_and_the_fix(
    tmp_path: Path, features: dict[str, Any], cohort: Any, says: str
) -> None:
    tiny(tmp_path, {"links": "source, sink\n1, 01"})
    with pytest.raises(ConfigError) as error:
        made(tmp_path, features, cohort)
    assert says in str(error.value)
    assert error.value.where
    assert error.value.fix, str(error.value)


def test_the_same_values_in_every_run_and_in_every_order_of_rows(tmp_path: Path) -> None:
    """Simultaneous rows and two threads over several row groups: first, last, gaps and attributes hold still."""
    draw = random.Random(0)
    rows = [
        {"client": f"{draw.randrange(300):03d}", "at": f"2023-{draw.randrange(1, 4):02d}-{draw.choice(['01', '09'])} 00:00:00",
         "amount": float(draw.randrange(50)), "kind": draw.choice(["a", "b", None])}
        for _ in range(3_000)
    ]  # fmt: skip
    tables = {
        "people": {"key": "id", "known": "always", "columns": {"id": "text"}},
        "clicks": {
            "entity": "client",
            "clock": "at",
            "columns": {"client": "text", "at": "timestamp", "amount": "number", "kind": "text"},
        },
    }
    data = Dataset.model_validate({"entity": "people", "tables": tables})
    aggs = ["first", "last"]
    features = windows(
        {"agg": aggs, "column": ["amount", "kind"]}, {"agg": ["gap_last", "gap_max"]}, table="clicks"
    )
    features["now"] = {"kind": "attributes", "table": "clicks", "columns": ["amount", "kind"]}
    seen = []
    for turn in range(3):
        folder = tmp_path / str(turn)
        folder.mkdir()
        pq.write_table(pa.table({"id": [f"{n:03d}" for n in range(300)]}), folder / "people.parquet")
        pq.write_table(pa.Table.from_pylist(rows), folder / "clicks.parquet", row_group_size=1000)
        seen.append(make(folder, declare({"cutoffs": ["2023-03-12"]}, features, data=data)).features())
        draw.shuffle(rows)
    assert seen[0] == seen[1] == seen[2]
    assert set(seen[0]["s.gap_last_all"].values()) >= {8.0, 28.0}
