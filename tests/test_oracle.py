"""The compiled SQL against a brute-force oracle, on random worlds with nasty data.

Every value must be equal, floats to 1e-9. The worlds hold events exactly at cutoffs and window edges,
simultaneous rows, rows known late or in advance, dates and timestamps, three time zones, leap days and
ends of months (see `worlds`). `questions` declares the features, `oracle` computes them.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from oracle import Oracle, disagreements, same
from questions import TARGETS, Questions, target_answers
from worlds import Made, World, declare, make, world

WORLDS = {
    "utc": (1, "UTC", ["2023-03-01", "2024-02-29", "2024-03-01", "2024-03-31", "2024-12-31", "2025-01-01"]),
    "berlin": (2, "Europe/Berlin",
               ["2024-01-01", "2024-03-31", "2024-04-01", "2024-10-27", "2024-11-01T06:30", "2025-03-01"]),
    "new_york": (3, "America/New_York",
                 ["2024-02-29", "2024-03-10", "2024-03-11", "2024-11-03", "2024-12-01", "2025-02-28"]),
}  # fmt: skip
QUESTIONS = Questions()
Case = tuple[World, Made, Oracle]


@pytest.fixture(scope="module", params=WORLDS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    seed, zone, days = WORLDS[request.param]
    found = world(seed, zone, days, people=58)
    folder = tmp_path_factory.mktemp(request.param)
    found.write(folder)
    declared = declare({"cutoffs": days, "timezone": zone}, QUESTIONS.sets, TARGETS)
    return found, make(folder, declared), Oracle(found)


def test_the_cohort_is_everyone_at_every_cutoff(case: Case) -> None:
    world, made, _ = case
    expected = [(c, e) for c in world.cutoffs for e in sorted(row["id"] for row in world.rows["people"])]
    assert [(r["cutoff"], r["entity"]) for r in made.cohort()] == expected
    assert [r["@row"] for r in made.cohort()] == list(range(len(expected)))


def test_every_feature_of_every_row_agrees_with_the_oracle(case: Case) -> None:
    _, made, oracle = case
    found, rows = made.features(), made.cohort()
    assert sorted(found) == sorted(QUESTIONS.answers)
    wrong = {}
    for name, answer in QUESTIONS.answers.items():
        expected = {r["@row"]: answer(oracle, r["entity"], r["cutoff"]) for r in rows}
        if bad := disagreements(found[name], expected):
            wrong[name] = (len(bad), bad[:3])
    assert not wrong, "\n".join([f"{len(wrong)} features", *map(str, list(wrong.items())[:30])])


def test_every_target_of_every_row_agrees_with_the_oracle(case: Case) -> None:
    _, made, oracle = case
    answers = {r["@row"]: target_answers(oracle, r["entity"], r["cutoff"]) for r in made.cohort()}
    for name in TARGETS:
        bad = disagreements(made.raw(name), {row: found[name] for row, found in answers.items()})
        assert not bad, (name, len(bad), bad[:5])


def test_the_worlds_would_show_a_difference(case: Case) -> None:
    """Positive control: nearly all features vary, and an oracle that looks a second too far disagrees."""
    _, made, oracle = case
    found, rows = made.features(), made.cohort()
    varied = [name for name, values in found.items() if len(set(values.values())) > 1]
    assert len(varied) > 0.97 * len(found)
    for table in ("clicks", "visits", "orders"):
        late: dict[int, Any] = {}
        for row in rows:
            soon = row["cutoff"] + (timedelta(days=1) if table == "orders" else timedelta(seconds=1))
            late[row["@row"]] = oracle.aggregate(table, row["entity"], soon, "count")
        assert disagreements(found[f"{table}.count_all"], late)


def test_the_matrix_holds_the_same_values_as_float32(case: Case) -> None:
    _, made, _ = case
    kept = ("of_", "ratios", "near_", "links")
    made.compiled.sets = [part for part in made.compiled.sets if part.name.startswith(kept)]
    matrix, found = made.matrix(), made.features()
    for feature in matrix.features:
        column = matrix.columns[feature.name]
        values = [found[feature.name][row] for row in range(len(matrix))]
        if feature.kind == "categorical":
            assert [None if v != v else v for v in column.astype(object)] == values
        else:
            expected = np.array([math.nan if v is None else v for v in values], np.float32)
            np.testing.assert_array_equal(column, expected)


def test_values_agree_as_they_should() -> None:
    """Positive control of the comparison itself."""
    assert same(None, None)
    assert same(1, 1.0)
    assert same(0.1 + 0.2, 0.3)
    assert not same(None, 0)
    assert not same(0.0, None)
    assert not same(1.0, 1.0000001)
    assert not same(math.nan, None)
    assert not same("a", "b")
