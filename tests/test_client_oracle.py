"""Recipe `churn` against a brute-force oracle: cohort, labels, features and days, row by row.

The simulated world is prepared by the recipe's own declarations and read a second time by `client_oracle`, which
shares nothing with the compiler.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_oracle import Export
from portal_oracle import agrees
from small import Experiment, config, experiment, shipped

from toolkit.simulate.clients import ClientWorld, ceiling, simulate

Pair = tuple[str, date]
HORIZONS = (30, 60, 90)


@dataclass(frozen=True)
class Case:
    """A world prepared by the recipe, where its files are, and the rows that are looked at."""

    folder: Path
    found: Experiment
    row: dict[Pair, int]
    pairs: list[Pair]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("clients")
    simulate(ClientWorld(size=220, weeks=48, seed=4), folder / "data")
    declared = shipped("churn") | {"split": {"kind": "temporal"}}
    declared["target"]["cancels"] = {"kind": "event_within", "table": "cancellations", "horizon": "30 days"}
    found = experiment(config(folder, **declared))
    matrix = found.prepared.matrix
    days = matrix.cutoff.astype("datetime64[D]").tolist()
    row = {pair: n for n, pair in enumerate(zip(matrix.entity.tolist(), days, strict=True))}
    return Case(folder / "data", found, row, sorted(random.Random(3).sample(sorted(row), 150)))


def test_cutoffs_are_firsts_of_months_with_full_windows_and_complete_horizons(case: Case) -> None:
    """The last is the one whose 90 days are over when the tables end, give or take a twentieth of them."""
    export = Export(case.folder)
    ends = [
        max(row["day"] for rows in export.rows[name].values() for row in rows)
        for name in ("activity", "cancellations")
    ]
    last = min(ends) + timedelta(days=1 - 90 + 4.5)
    firsts = [date(2024, month, 1) for month in range(4, 13)]  # use is told from 1 January on
    assert sorted({day for _, day in case.row}) == [day for day in firsts if day <= last]


def test_rows_are_the_clients_that_are_active_and_have_not_given_notice(case: Case) -> None:
    export = Export(case.folder)
    days = {day for _, day in case.row}
    assert case.row.keys() == {
        (client, day) for client in export.clients for day in days if export.is_row(client, day)
    }
    assert case.row.keys() != {
        pair
        for day in days
        for client in export.clients
        if (pair := (client, day)) and Export.is_row(later(export), *pair)
    }


def later(export: Export) -> Export:
    """The same rows, looked at a day too late."""
    other = object.__new__(Export)
    other.__dict__ = export.__dict__ | {"shift": timedelta(days=1)}
    return other


def test_every_label_is_notice_or_silence_within_the_horizon(case: Case) -> None:
    export, values = Export(case.folder), case.found.prepared.matrix.values
    for days in HORIZONS:
        raw = values[f"churn_{days}d"]
        expected = {p: export.gives_notice(*p, days) + 2 * export.falls_silent(*p, days) for p in case.row}
        assert {p: int(raw[row]) for p, row in case.row.items()} == expected
        assert {1, 2} < set(expected.values())
    assert values["cancels"].tolist() == [export.gives_notice(*pair, 30) for pair in case.row]


def test_who_leaves_soon_leaves_later_too(case: Case) -> None:
    values = case.found.prepared.matrix.values
    soon, late, last = (values[f"churn_{days}d"] > 0 for days in HORIZONS)
    assert (soon <= late).all()
    assert (late <= last).all()
    assert soon.sum() < late.sum() < last.sum()


def test_the_ceiling_of_the_world_speaks_of_the_same_rows_and_labels(case: Case) -> None:
    day = date(2024, 7, 1)
    truth = ceiling(case.folder, day, draws=1).set_index("client")
    rows = {client: row for (client, cutoff), row in case.row.items() if cutoff == day}
    assert set(truth.index) == set(rows)
    for days in HORIZONS:
        raw = case.found.prepared.matrix.values[f"churn_{days}d"]
        assert {c: int(raw[row] > 0) for c, row in rows.items()} == truth[f"leaves_{days}"].to_dict()


def disagreements(case: Case, export: Export) -> dict[str, list[tuple[Pair, Any, Any]]]:
    wrong: dict[str, list[tuple[Pair, Any, Any]]] = {}
    columns = case.found.prepared.matrix.columns
    for pair in case.pairs:
        for name, value in export.features(*pair).items():
            if not agrees(stored := columns[name][case.row[pair]], value):
                wrong.setdefault(name, []).append((pair, stored, value))
    return wrong


def test_every_feature_that_the_oracle_knows_agrees(case: Case) -> None:
    wrong = disagreements(case, Export(case.folder))
    assert not wrong, "\n".join(f"{name}: {len(bad)}, {bad[:3]}" for name, bad in wrong.items())
    assert len(Export(case.folder).features(*case.pairs[0])) > 40


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_day_off_and_much_disagrees(case: Case, shift: int) -> None:
    """Positive control: the sample shows a cutoff that is a day too early, or too late."""
    wrong = disagreements(case, Export(case.folder, shift))
    assert len(wrong) > 25
    assert len(wrong["activity_windows.logins_sum_7d"]) > 0.5 * len(case.pairs)


def test_protected_attributes_and_what_is_known_later_are_no_features(case: Case) -> None:
    sources = {source for feature in case.found.prepared.compiled.features for source in feature.sources}
    assert not {column for table, column in sources if table == "clients"} & {
        "region",
        "age_group",
        "value_tier",
        "owner",
    }
    assert not {table for table, _ in sources} & {"cancellations"}


def test_the_days_are_the_last_thirty(case: Case) -> None:
    export, (panel,) = Export(case.folder), case.found.prepared.matrix.sequences
    logins, tickets, pause = (panel.channels.index(name) for name in ("logins", "tickets", "longest_pause"))
    for client, day in case.pairs[:60]:
        at = case.row[client, day]
        steps = panel.numeric[panel.offsets[at] : panel.offsets[at + 1]]
        days = [day - timedelta(days=back) for back in range(len(steps), 0, -1)]
        used = {row["day"]: row for row in export.all_of("activity", client)}
        asked = [row["day"] for row in export.all_of("tickets", client)]
        assert steps[:, logins].tolist() == [used[d]["logins"] if d in used else 0 for d in days]
        assert steps[:, tickets].tolist() == [asked.count(d) for d in days]
        before = [max((d for d in used if d <= one), default=None) for one in days]
        expected = [np.float32(used[d]["longest_pause"]) if d else np.nan for d in before]
        np.testing.assert_array_equal(steps[:, pause], expected)
