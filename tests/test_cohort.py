"""Which (entity, cutoff) pairs are rows, and when a cutoff is."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from oracle import Oracle
from worlds import TABLES, Made, dataset, declare, make, tiny, world

from toolkit.errors import ConfigError, DataError

PEOPLE = """
    id, town, age, vip, born, seen
    01, Rome, 30, true, 1990-01-01,
    1, Oslo, 40, false, ,
    02, , 50, , ,
"""
ORDERS = """
    client, day, amount, kind, paid
    01, 2021-01-04, 10, a, true
    01, 2022-06-30, 10, a, true
    01, 2022-12-31, 10, b, true
    02, 2022-01-01, 10, a, true
    02, 2023-01-01, 10, a, true
    02, 2023-12-31, 10, a, true
"""
HISTORY = {"h": {"kind": "windows", "table": "orders", "features": [{"agg": "count"}]}}
AGAIN = {"again": {"kind": "event_within", "table": "orders", "horizon": "1 year"}}


def made(folder: Path, cohort: dict[str, Any], target: Any = None, **files: str) -> Made:
    tiny(folder, {"people": PEOPLE, "orders": ORDERS} | files)
    return make(folder, declare(cohort, HISTORY, target))


def rows(found: Made) -> list[tuple[str, str]]:
    return [(f"{row['cutoff']:%Y-%m-%d}", row["entity"]) for row in found.cohort()]


def days(found: Made) -> list[str]:
    return [f"{cutoff:%Y-%m-%d}" for cutoff in found.compiled.cutoffs]


def test_keys_stay_texts(tmp_path: Path) -> None:
    found = made(tmp_path, {"cutoffs": ["2023-01-01"]})
    assert [entity for _, entity in rows(found)] == ["01", "02", "1"]
    assert found.features()["h.count_all"] == {0: 3, 1: 1, 2: 0}  # 01 is not 1


@pytest.mark.parametrize(
    ("cohort", "expected"),
    [
        ({}, ["01", "02", "1"]),
        ({"where": "town = 'Rome' or age > 45"}, ["01", "02"]),
        ({"having": [{"table": "orders", "within": "12 months"}]}, ["01", "02"]),  # (2022-01-01, 2023-01-01]
        ({"having": [{"table": "orders", "within": "12 months", "at_least": 2}]}, ["01"]),
        ({"having": [{"table": "orders", "where": "kind = 'b'"}]}, ["01"]),
        ({"having": [{"table": "orders", "within": "1 year", "ending": "1 year"}]}, ["01"]),
        ({"having": [{"table": "orders", "ending": "1 year"}]}, ["01"]),
        ({"having": [{"table": "orders", "at_most": 0}]}, ["1"]),
        ({"having": [{"table": "orders", "at_least": 0, "at_most": 1}]}, ["02", "1"]),
        ({"having": [{"table": "orders", "at_most": 1}]}, ["02", "1"]),  # no row at all is at most one
        ({"having": [{"table": "orders"}, {"table": "orders", "within": "30d", "at_most": 0}]}, ["02"]),
    ],
)  # fmt: skip
def test_who_is_in(tmp_path: Path, cohort: dict[str, Any], expected: list[str]) -> None:
    assert [e for _, e in rows(made(tmp_path, {"cutoffs": ["2023-01-01"]} | cohort))] == expected


def test_having_agrees_with_the_oracle_at_every_edge(tmp_path: Path) -> None:
    zone, days_ = "Europe/Berlin", ["2024-03-31", "2024-04-01", "2025-03-01"]
    found = world(11, zone, days_, people=60)
    found.write(tmp_path)
    oracle = Oracle(found)
    having = [
        {"table": "visits", "within": "3 months", "ending": "1 month"},
        {"table": "orders", "within": "30d", "at_most": 2, "at_least": 0},
        {"table": "calls", "ending": "7d", "where": "kind <> 'b'"},
    ]
    compiled = make(tmp_path, declare({"cutoffs": days_, "timezone": zone, "having": having}, HISTORY))

    def holds(e: str, c: datetime) -> Any:
        end, month = oracle.before(c, "1 month"), oracle.before(c, "7d")
        visits = [r for r in oracle.seen("visits", e, c) if oracle.before(end, "3 months") < r["time"] <= end]
        orders = oracle.aggregate("orders", e, c, "count", None, "30d")
        calls = [r for r in oracle.seen("calls", e, c) if r["time"] <= month and r["kind"] not in (None, "b")]
        return visits and orders <= 2 and calls

    people = sorted(row["id"] for row in found.rows["people"])
    expected = [(c, e) for c in found.cutoffs for e in people if holds(e, c)]
    assert [(r["cutoff"], r["entity"]) for r in compiled.cohort()] == expected
    assert 10 < len(expected) < 120


def test_entities_are_rows_once_they_are_known(tmp_path: Path) -> None:
    members = """
        id, joined, grade, dues, born
        a, 2022-12-31 23:59:59, x, 1,
        b, 2023-01-01 00:00:00, x, 1,
        c, 2023-01-01 00:00:01, x, 1,
    """
    tiny(tmp_path, {"members": members, "orders": ORDERS, "people": PEOPLE})
    declared = declare({"cutoffs": ["2023-01-01", "2024-01-01"]}, HISTORY, data=dataset("members"))
    found = make(tmp_path, declared)
    assert rows(found) == [(f"{y}-01-01", e) for y, who in ((2023, "ab"), (2024, "abc")) for e in who]


def test_a_cutoff_is_midnight_in_the_cohorts_zone(tmp_path: Path) -> None:
    """An order of 31 December is known at midnight wherever that is; a stamp is an instant."""
    clicks = "client, at, amount, kind\n01, 2022-12-31 22:59:59, 1, a\n01, 2022-12-31 23:00:01, 1, a"
    features = HISTORY | {"c": {"kind": "windows", "table": "clicks", "features": [{"agg": "count"}]}}
    features["now"] = {"kind": "calendar", "parts": ["year", "day"]}
    expected = {"UTC": (3, 2), "Europe/Berlin": (3, 1), "Asia/Tokyo": (3, 0), "America/New_York": (3, 2)}
    for zone, counts in expected.items():
        folder = tiny(tmp_path / zone[-4:], {"people": PEOPLE, "orders": ORDERS, "clicks": clicks})
        found = make(folder, declare({"cutoffs": ["2023-01-01"], "timezone": zone}, features)).features()
        assert (found["h.count_all"][0], found["c.count_all"][0]) == counts, zone
        assert (found["now.cutoff_year"][0], found["now.cutoff_day"][0]) == (2023, 1)


@pytest.mark.parametrize(
    ("cutoffs", "expected"),
    [
        (["2023-01-01", "2022-01-01", "2023-01-01"], ["2022-01-01", "2023-01-01"]),
        ({"every": "1 year"}, ["2022-01-01", "2023-01-01"]),  # the horizon of 2024-01-01 is not over
        ({"every": "1 year", "start": "2021-06-30"}, ["2021-06-30", "2022-06-30"]),
        ({"every": "6 months", "start": "2021-08-31", "end": "2022-12-31"}, ["2021-08-31", "2022-02-28", "2022-08-31"]),
        ({"every": "1 week on sunday", "end": "2021-01-20"}, ["2021-01-10", "2021-01-17"]),
        ({"every": "1 week on tuesday", "end": "2021-01-20"}, ["2021-01-05", "2021-01-12", "2021-01-19"]),
        ({"every": "1 month", "end": "2021-03-15"}, ["2021-02-01", "2021-03-01"]),
    ],
)  # fmt: skip
def test_cutoffs_by_list_and_by_step(tmp_path: Path, cutoffs: Any, expected: list[str]) -> None:
    assert days(made(tmp_path, {"cutoffs": cutoffs}, AGAIN)) == expected


def test_the_first_step_may_be_the_very_day_after_the_first_row(tmp_path: Path) -> None:
    orders = "client, day, amount, kind, paid\n01, 2020-12-31, 1, a, true\n01, 2022-12-31, 1, a, true"
    for step in ("1 year", "1 month", "1 day"):
        found = made(tmp_path, {"cutoffs": {"every": step}}, AGAIN, orders=orders)
        assert days(found)[0] == "2021-01-01"
        assert days(found)[-1] == "2022-01-01" or step == "1 day"  # with a slack of 18 days


def test_steps_begin_at_local_midnights(tmp_path: Path) -> None:
    orders = "client, day, amount, kind, paid\n01, 2023-12-31, 1, a, true\n01, 2024-04-30, 1, a, true"
    cohort = {"cutoffs": {"every": "1 month", "end": "2024-04-01"}, "timezone": "Pacific/Auckland"}
    found = made(tmp_path, cohort, orders=orders)
    assert [c.isoformat() for c in found.compiled.cutoffs] == [
        "2023-12-31T11:00:00", "2024-01-31T11:00:00", "2024-02-29T11:00:00", "2024-03-31T11:00:00",
    ]  # fmt: skip


def test_a_table_that_is_silent_but_complete_says_so(tmp_path: Path) -> None:
    tables = {**TABLES, "orders": {**TABLES["orders"], "observed_until": "2024-12-31"}}
    tiny(tmp_path, {"people": PEOPLE, "orders": ORDERS})
    declared = declare({"cutoffs": ["2024-01-01"]}, HISTORY, AGAIN)
    with pytest.raises(DataError, match="ends on"):
        make(tmp_path, declared)
    data = dataset(tables={name: tables[name] for name in ("people", "orders")})
    assert days(make(tmp_path, declare({"cutoffs": ["2024-01-01"]}, HISTORY, AGAIN, data))) == ["2024-01-01"]


def test_bookings_ahead_do_not_lengthen_the_data(tmp_path: Path) -> None:
    """The last row happens in 2030, but nothing became known after 2023."""
    visits = "client, logged, began, amount, kind\n01, 2022-01-01, 2022-01-01 00:00:00, 1, a\n01, 2023-12-31, 2030-01-01 00:00:00, 1, a"
    target = {"again": {"kind": "event_within", "table": "visits", "horizon": "1 year"}}
    features = {"h": {"kind": "windows", "table": "visits", "features": [{"agg": "count"}]}}
    tiny(tmp_path, {"people": PEOPLE, "visits": visits})
    assert make(tmp_path, declare({"cutoffs": ["2023-01-01"]}, features, target))
    with pytest.raises(DataError, match="ends on 2024-06-01, but `visits` ends on 2024-01-01"):
        make(tmp_path, declare({"cutoffs": ["2023-06-01"]}, features, target))


@pytest.mark.parametrize("last", ["9999-12-31", "2262-04-12"])
def test_an_open_end_far_away_is_no_trouble(tmp_path: Path, last: str) -> None:
    orders = f"client, day, amount, kind, paid\n01, 2020-12-31, 1, a, true\n01, {last}, 1, a, true"
    found = made(tmp_path, {"cutoffs": ["2022-01-01"], "timezone": "America/New_York"}, AGAIN, orders=orders)
    assert found.features()["h.count_all"][0] == 1


@pytest.mark.parametrize(
    ("cohort", "kind", "where", "says"),
    [
        ({"cutoffs": ["2025-01-01"]}, DataError, "cohort.cutoffs", "beyond the data: `orders` ends on 2024-01-01"),
        ({"cutoffs": ["2023-06-01"]}, DataError, "target.again.horizon", "ends on 2024-06-01, but `orders` ends on 2024-01-01"),
        ({"cutoffs": ["2020-01-01"]}, DataError, "cohort.cutoffs", "nothing was known yet"),
        ({"cutoffs": []}, ConfigError, "cohort.cutoffs", "empty list"),
        ({"cutoffs": ["2023-01-01", "tomorrow"]}, ConfigError, "cohort.cutoffs.1", "`tomorrow` is not a day"),
        ({"cutoffs": {"every": "1 year", "start": "2030-01-01"}}, DataError, "cohort.cutoffs", "no cutoff fits"),
        ({"cutoffs": {"every": "1 year", "start": "soon"}}, ConfigError, "cohort.cutoffs.start", "`soon` is not a day"),
        ({"cutoffs": {"every": "1 year", "end": "2022-01-01+02:00"}}, ConfigError, "cohort.cutoffs.end", "not a day"),
        ({"cutoffs": {"every": "1 year", "end": "2022-01-01T00:00+02:00"}}, ConfigError, "cohort.cutoffs.end", "offset"),
        ({"cutoffs": {"every": "1h"}}, ConfigError, "cohort.cutoffs", "more than 10,000 cutoffs"),
        ({"cutoffs": None}, ConfigError, "cohort.cutoffs", "has a horizon, but the cohort has no cutoffs"),
        ({"cutoffs": ["2022-01-01"], "where": "twon = 'Rome'"}, ConfigError, "cohort.where", "`\"twon\"`|twon"),
        ({"cutoffs": ["2022-01-01"], "having": [{"table": "order"}]}, ConfigError, "dataset.tables", "no table is called `order`"),
        ({"cutoffs": ["2022-01-01"], "having": [{"table": "orders", "where": "x = 1"}]}, ConfigError, "cohort.having.0.where", "x"),
        ({"cutoffs": ["2022-01-01"], "having": [{"table": "marks", "within": "1 year"}]}, ConfigError, "cohort.having.0", "no clock"),
    ],
)  # fmt: skip
def test_mistakes_name_the_key_and_the_fix(
    tmp_path: Path, cohort: dict[str, Any], kind: type, where: str, says: str
) -> None:
    with pytest.raises(kind, match=says) as error:
        made(tmp_path, cohort, AGAIN, marks="client, amount, kind\n01, 1, a")
    assert error.value.where == where
    assert error.value.fix, str(error.value)


def test_an_empty_cohort_is_refused(tmp_path: Path) -> None:
    found = made(tmp_path, {"cutoffs": ["2023-01-01"], "where": "age > 100"})
    with pytest.raises(DataError, match="the cohort has no rows") as error:
        found.matrix()
    assert error.value.fix


def test_the_days_of_the_example_are_what_they_seem() -> None:
    assert date(2021, 1, 4).strftime("%A") == "Monday"
    assert date(2021, 1, 4) + timedelta(days=1) == date(2021, 1, 5)
