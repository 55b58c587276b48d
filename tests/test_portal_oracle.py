"""Recipe `prospect_conversion` against a brute-force oracle: cohort, label and every feature, row by row.

The simulated world's three files, with further mess sown into them, are prepared by the recipe's own declarations
and read a second time by `portal_oracle`, which shares nothing with the compiler. Rows are drawn at random, members
and others, and near a closing.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from portal_oracle import ACTIONS, HORIZON, USERS, Export, agrees
from small import Experiment, config, experiment, shipped

from toolkit.simulate.portals import PortalWorld, simulate

Pair = tuple[str, date]
SIZES = [
    pytest.param((700, 30, 200), id="quick"),
    pytest.param((5_000, 80, 1_000), id="slow", marks=pytest.mark.slow),
]


def recipe(**parts: Any) -> dict[str, Any]:
    """What the recipe makes its rows of."""
    return shipped("prospect_conversion") | {"split": {"kind": "temporal"}} | parts


def sow(folder: Path, weekly: bool, rng: random.Random) -> None:
    """What the world does not do of its own accord, and exports do."""

    def rewrite(name: str, change: Callable[[list[dict[str, str]]], None]) -> None:
        with (folder / name).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        change(rows)
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def company(rows: list[dict[str, str]]) -> None:
        for row in rng.sample(rows, len(rows) // 10):
            row["ALEXA_RANK"] = rng.choice(["0", "16000001.0", "n/a", "7", "-1"])
        for row in rng.sample(rows, len(rows) // 10):
            row["EMPLOYEE_RANGE"] = rng.choice(["1,001 to 10,000", "many", "51-200", "7", "10.001 or more"])
        for row in rng.sample(rows, len(rows) // 10):
            row["INDUSTRY"] = rng.choice(["None", "Unknown", "Küche, Bad & mehr"])

    def closings(rows: list[dict[str, str]]) -> None:
        company(rows)
        dated = [row for row in rows if row["CLOSEDATE"][:1] == "2"]
        last = date.fromisoformat(max(row["CLOSEDATE"] for row in dated)[:10])
        planned, mistyped = rng.sample(dated, 2)
        planned["CLOSEDATE"], mistyped["CLOSEDATE"] = str(last + timedelta(days=25)), "2099-01-01"
        for row in rng.sample(dated, 3):
            row["CLOSEDATE"] += " 17:30:00.000"

    def usage(rows: list[dict[str, str]]) -> None:
        stamps = sorted({row["WHEN_TIMESTAMP"] for row in rows})
        portals = sorted({row["id"] for row in rows})
        some = rng.sample(rows, len(rows) // 15)
        for row in some:
            row[rng.choice([*ACTIONS, *USERS])] = rng.choice(["", "n/a", "-3", "2.5"])
        rows += [dict(row) for row in rng.sample(rows, 20)]  # exported twice
        for row in rng.sample(rows, 10):
            row["WHEN_TIMESTAMP"] = row["WHEN_TIMESTAMP"][:10] + " 23:59:59.999"
        for row in rng.sample(rows, 5):
            row["WHEN_TIMESTAMP"] = "soon"
        nothing = dict.fromkeys([*ACTIONS, *USERS], "0")
        newcomers = [str(9_000_000 + n) for n in range(30)]  # never used, or in neither file
        for portal in rng.sample(portals, len(portals) // 3) + newcomers:
            rows.append({"id": portal, "WHEN_TIMESTAMP": rng.choice(stamps[:-1])} | nothing)
        rows += [dict(rng.choice(rows), id="8000000") for _ in range(10)]

    def others(rows: list[dict[str, str]]) -> None:
        company(rows)
        rows += [dict(rng.choice(rows), id=str(9_000_000 + n)) for n in range(20)]

    rewrite("customers.csv", closings)
    rewrite("noncustomers.csv", others)
    rewrite("usage_actions.csv", usage)


@dataclass(frozen=True)
class Case:
    """A world prepared by the recipe, where its files are, and the pairs that are looked at."""

    folder: Path
    found: Experiment
    row: dict[Pair, int]
    pairs: list[Pair]

    def label(self, pair: Pair) -> bool:
        return bool(self.found.prepared.matrix.values["convert_30d"][self.row[pair]])

    def feature(self, name: str, pair: Pair) -> Any:
        return self.found.prepared.matrix.columns[name][self.row[pair]]


@pytest.fixture(scope="module", params=SIZES)
def size(request: pytest.FixtureRequest) -> tuple[int, int, int]:
    return request.param


@pytest.fixture(scope="module", params=["weekly", "daily"])
def case(
    request: pytest.FixtureRequest, size: tuple[int, int, int], tmp_path_factory: pytest.TempPathFactory
) -> Case:
    portals, weeks, drawn = size
    folder = tmp_path_factory.mktemp(request.param)
    simulate(PortalWorld(size=portals, weeks=weeks, stamps=request.param, seed=4), folder / "data")
    rng = random.Random(7)
    sow(folder / "data", request.param == "weekly", rng)
    found = experiment(config(folder, **recipe()))
    matrix = found.prepared.matrix
    sundays = matrix.cutoff.astype("datetime64[D]").tolist()
    row = {pair: n for n, pair in enumerate(zip(matrix.entity.tolist(), sundays, strict=True))}
    return Case(folder / "data", found, row, sampled(Export(folder / "data"), row, drawn, rng))


def sampled(export: Export, row: dict[Pair, int], drawn: int, rng: random.Random) -> list[Pair]:
    """A third from all portals on all Sundays, a third from the rows, a third from around closings."""
    sundays, third = export.sundays(), drawn // 3
    everyone = sorted({*export.company, *export.uses})
    near = [
        (portal, sunday) for portal, days in sorted(export.closings.items()) for sunday in sundays
        if any(-7 <= (day - sunday).days <= HORIZON + 7 for day in days)
    ]  # fmt: skip
    pairs = {(rng.choice(everyone), rng.choice(sundays)) for _ in range(third)}
    pairs |= set(rng.sample(sorted(row), third)) | set(rng.sample(near, min(third, len(near))))
    while len(pairs) < drawn:
        pairs.add((rng.choice(everyone), rng.choice(sundays)))
    return sorted(pairs)


def test_sundays_are_those_with_full_windows_and_complete_horizons(case: Case) -> None:
    assert sorted({sunday for _, sunday in case.row}) == Export(case.folder).sundays()


def test_the_cohort_is_who_is_free_and_has_used_something(case: Case) -> None:
    export = Export(case.folder)
    assert {pair for pair in case.pairs if export.is_row(*pair)} == case.row.keys() & set(case.pairs)
    members = len(case.row.keys() & set(case.pairs))
    assert 0.3 * len(case.pairs) < members < 0.95 * len(case.pairs)


def test_so_it_is_for_every_portal_on_every_sunday(case: Case) -> None:
    export = Export(case.folder)
    everyone = {*export.company, *export.uses}
    expected = {(p, sunday) for p in everyone for sunday in export.sundays() if export.is_row(p, sunday)}
    assert expected == case.row.keys()


def test_the_label_is_a_closing_within_thirty_days(case: Case) -> None:
    export = Export(case.folder)
    inside = [pair for pair in case.pairs if pair in case.row]
    assert [case.label(pair) for pair in inside] == [export.converts(*pair) for pair in inside]
    assert sum(export.converts(*pair) for pair in inside) > 5


def test_closings_of_portals_that_never_were_a_row_are_said(case: Case) -> None:
    export, rows = Export(case.folder), {portal for portal, _ in case.row}
    closed = (export.closings.keys() & export.company.keys()) - export.undated
    said = [line for line in case.found.prepared.found if "in the cohort at no cutoff" in line]
    assert len(said) == 1
    assert said[0].startswith(
        f"closings: {len(closed - rows):,} of {len(closed):,} entities with a row in it "
    )
    assert closed - rows


def disagreements(case: Case, export: Export) -> dict[str, list[tuple[Pair, Any, Any]]]:
    wrong: dict[str, list[tuple[Pair, Any, Any]]] = {}
    for pair in case.pairs:
        if pair not in case.row:
            continue
        expected = export.features(*pair)
        assert expected.keys() == case.found.prepared.matrix.columns.keys()
        for name, value in expected.items():
            if not agrees(stored := case.feature(name, pair), value):
                wrong.setdefault(name, []).append((pair, stored, value))
    return wrong


def test_every_feature_agrees(case: Case) -> None:
    wrong = disagreements(case, Export(case.folder))
    assert not wrong, "\n".join(f"{name}: {len(bad)}, {bad[:3]}" for name, bad in wrong.items())


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_day_off_and_nearly_nothing_agrees(case: Case, shift: int) -> None:
    """Positive control: the sample shows a cutoff that is a day too early, or too late."""
    off = Export(case.folder, shift)
    wrong = disagreements(case, off)
    inside = [pair for pair in case.pairs if pair in case.row]
    of_usage = {name for name in case.found.prepared.matrix.columns if name.startswith("usage_")}
    if off.weekly and shift == 1:  # no week ends on a Monday: a day later, only ages differ
        of_usage = {name for name in of_usage if "days_since_last" in name or "tenure" in name}
    assert wrong.keys() <= of_usage
    assert len(wrong) > 0.9 * len(of_usage)  # a maximum of two weeks seldom lies on their first day
    recent = [
        pair for pair in inside if case.feature("usage_recency.days_since_last", pair) < 89
    ]  # 90 is the most
    assert len(recent) > 0.3 * len(inside)
    assert len(wrong["usage_recency.days_since_last"]) > 0.9 * len(recent)
    assert [case.label(pair) for pair in case.row] != [off.converts(*pair) for pair in case.row]
    tried = {*case.pairs, *case.row}  # some were first used, or have closed, on that very day
    assert {pair for pair in tried if off.is_row(*pair)} != case.row.keys()


def test_rows_of_zeros_are_no_use(case: Case) -> None:
    """Positive control: they are among the files, and would be seen."""
    told = "\n".join(case.found.prepared.found)
    assert "usage_actions: rows in which nothing was used, so that they are no use: " in told
    newcomers = {f"{9_000_000 + n}" for n in range(20)}  # have such rows only
    assert newcomers <= Export(case.folder).company.keys()
    assert not newcomers & {portal for portal, _ in case.row}


def test_numbers_agree_as_they_should() -> None:
    """Positive control of the comparison itself."""
    assert agrees(np.float32(0.1), 0.1)
    assert agrees(float("nan"), None)
    assert agrees("Bank", "Bank")
    assert not agrees(float("nan"), 0)
    assert not agrees(np.float32(0), None)
    assert not agrees(np.float32(0.1), 0.1000001)
    assert not agrees(None, "Bank")
    assert not agrees("Bank", "bank")
