"""The simulated world of portals: three files with the mess that its docstring tells of, and a hidden truth."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.metrics import average_precision_score, roc_auc_score

from toolkit.errors import DataError
from toolkit.registry import worlds
from toolkit.simulate import portals_story
from toolkit.simulate.portals import PortalWorld, ceiling, simulate

FILES = {
    "customers": ["id", "CLOSEDATE", "MRR", "ALEXA_RANK", "EMPLOYEE_RANGE", "INDUSTRY"],
    "noncustomers": ["id", "ALEXA_RANK", "EMPLOYEE_RANGE", "INDUSTRY"],
    "usage_actions": ["id", "WHEN_TIMESTAMP", "ACTIONS_CRM_CONTACTS", "ACTIONS_CRM_COMPANIES", "ACTIONS_CRM_DEALS", "ACTIONS_EMAIL",
                      "USERS_CRM_CONTACTS", "USERS_CRM_COMPANIES", "USERS_CRM_DEALS", "USERS_EMAIL"],
}  # fmt: skip
SUNDAY = date(2019, 11, 24)
WORLD = PortalWorld(size=4_000)


def made(folder: Path, world: PortalWorld) -> dict[str, pd.DataFrame]:
    simulate(world, folder)
    return {name: pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False) for name in FILES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("portals")


@pytest.fixture(scope="module")
def files(folder: Path) -> dict[str, pd.DataFrame]:
    return made(folder, WORLD)


@pytest.fixture(scope="module")
def usage(files: dict[str, pd.DataFrame]) -> pd.DataFrame:
    frame = files["usage_actions"]
    counts = frame.columns[2:]
    return frame.assign(
        **{name: frame[name].astype(int) for name in counts}, day=pd.to_datetime(frame["WHEN_TIMESTAMP"])
    )


def test_it_is_registered() -> None:
    assert worlds.get("portals").config is PortalWorld


def test_the_files_have_the_columns_of_real_exports(files: dict[str, pd.DataFrame]) -> None:
    assert {name: frame.columns.to_list() for name, frame in files.items()} == FILES


def test_every_stamp_is_a_monday_written_as_exports_write_it(usage: pd.DataFrame) -> None:
    assert usage["WHEN_TIMESTAMP"].str.fullmatch(r"\d{4}-\d\d-\d\d 00:00:00\.000").all()
    assert set(usage["day"].dt.dayofweek) == {0}
    assert usage["day"].nunique() == WORLD.weeks
    assert usage["day"].min() == pd.Timestamp("2019-01-07")


def test_rows_stand_only_where_something_was_used(usage: pd.DataFrame) -> None:
    actions = usage.filter(like="ACTIONS_")
    assert (actions.sum(axis=1) > 0).all()
    people = usage.filter(like="USERS_").to_numpy()
    assert ((people > 0) <= (actions.to_numpy() > 0)).all()
    assert len(usage) < 0.35 * WORLD.size * WORLD.weeks


def test_the_last_week_is_not_over(usage: pd.DataFrame) -> None:
    totals = usage.groupby("day")["ACTIONS_CRM_CONTACTS"].sum()
    assert totals.iloc[-1] < 0.7 * totals.iloc[-9:-1].median()
    assert totals.iloc[-2] > 0.8 * totals.iloc[-9:-2].median()


def test_ids_tell_customers_from_the_others_and_some_stand_twice(files: dict[str, pd.DataFrame]) -> None:
    customers, others = files["customers"]["id"].astype(int), files["noncustomers"]["id"].astype(int)
    overlap = set(customers) & set(others)
    assert overlap
    assert customers.max() < min(set(others) - overlap)
    assert customers.duplicated().any()
    assert others.duplicated().any()
    assert len(set(customers) | set(others)) == WORLD.size


def test_what_is_said_of_companies_has_gaps_and_a_sentinel(files: dict[str, pd.DataFrame]) -> None:
    both = pd.concat([files["customers"], files["noncustomers"]])
    assert 0.8 < (both["INDUSTRY"] == "").mean() < 0.9
    assert 0.3 < (both["ALEXA_RANK"] == "16000001").mean() < 0.7
    assert {"201 to 1000", "1,001 to 10,000", "10,001 or more", ""} <= set(both["EMPLOYEE_RANGE"])
    empty = [(frame["INDUSTRY"] == "").mean() for frame in (files["customers"], files["noncustomers"])]
    assert abs(empty[0] - empty[1]) < 0.08  # what is missing does not tell the file


def test_closings_have_odd_money_and_now_and_then_no_date(files: dict[str, pd.DataFrame]) -> None:
    customers = files["customers"]
    money = customers["MRR"].astype(float)
    assert (money == 0).any()
    assert (money < 0).any()
    closed = pd.to_datetime(customers["CLOSEDATE"], errors="coerce")
    assert 0 < closed.isna().mean() < 0.03
    assert (closed < "2019-01-07").any()  # before the first week of usage
    assert closed.max() <= pd.Timestamp("2019-01-07") + pd.Timedelta(
        7 * WORLD.weeks - 5, "D"
    )  # the day of the export


def test_usage_goes_on_after_the_closing(files: dict[str, pd.DataFrame], usage: pd.DataFrame) -> None:
    closed = files["customers"].drop_duplicates("id").set_index("id")["CLOSEDATE"]
    later = usage["day"] > pd.to_datetime(usage["id"].map(closed), errors="coerce") + pd.Timedelta(7, "D")
    assert later.sum() > 1_000


def test_few_close_within_thirty_days(folder: Path, files: dict[str, pd.DataFrame]) -> None:
    shares = [
        ceiling(folder, SUNDAY + timedelta(days=7 * week), draws=1)["closes"].mean()
        for week in range(0, 24, 4)
    ]
    assert 0.002 < np.mean(shares) < 0.015


def test_the_ceiling_is_calibrated_and_beats_what_usage_alone_says(
    folder: Path, files: dict[str, pd.DataFrame], usage: pd.DataFrame
) -> None:
    sundays = [SUNDAY + timedelta(days=7 * week) for week in range(0, 24, 5)]
    parts = []
    for sunday in sundays:
        found = ceiling(folder, sunday, draws=10)
        recent = usage[(usage["day"].dt.date < sunday) & (usage["day"].dt.date > sunday - timedelta(days=29))]
        found["rule"] = found["id"].map(recent.groupby("id")["ACTIONS_CRM_CONTACTS"].sum()).fillna(0)
        parts.append(found)
    rows = pd.concat(parts)
    expected = rows["chance"].sum()
    assert abs(rows["closes"].sum() - expected) < 4 * np.sqrt(expected)
    best = roc_auc_score(rows["closes"], rows["chance"])
    rule = roc_auc_score(rows["closes"], rows["rule"])
    assert 0.75 < best < 0.98
    assert 0.6 < rule < best  # usage says something, and not all
    assert average_precision_score(rows["closes"], rows["chance"]) > 5 * rows["closes"].mean()


def test_the_ceiling_speaks_of_portals_that_are_free_and_agrees_with_the_file(
    folder: Path, files: dict[str, pd.DataFrame]
) -> None:
    found = ceiling(folder, SUNDAY, draws=1).set_index("id")["closes"]
    closed = pd.to_datetime(
        files["customers"].drop_duplicates("id").set_index("id")["CLOSEDATE"], errors="coerce"
    )
    ahead = (closed - pd.Timestamp(SUNDAY)).dt.days.dropna()
    assert not set(ahead.index[ahead <= 0]) & set(found.index)
    soon = set(ahead.index[(ahead > 0) & (ahead <= 30)])
    assert soon <= set(found.index[found == 1])
    assert found.sum() - len(soon) <= 3  # those whose date is missing in the file


def test_the_same_world_gives_the_same_bytes(tmp_path: Path) -> None:
    small = PortalWorld(size=400, weeks=20)
    simulate(small, tmp_path / "a")
    simulate(small, tmp_path / "b")
    simulate(PortalWorld(size=400, weeks=20, seed=1), tmp_path / "c")
    for name in FILES:
        a, b, c = ((tmp_path / folder / f"{name}.csv").read_bytes() for folder in "abc")
        assert a == b != c


def test_days_are_the_same_story_told_by_day(tmp_path: Path) -> None:
    weekly = made(tmp_path / "w", PortalWorld(size=400, weeks=20))
    daily = made(tmp_path / "d", PortalWorld(size=400, weeks=20, stamps="daily"))
    assert weekly["customers"].equals(daily["customers"])
    assert weekly["noncustomers"].equals(daily["noncustomers"])
    stamps = pd.to_datetime(daily["usage_actions"]["WHEN_TIMESTAMP"])
    assert set(stamps.dt.dayofweek) == set(range(7))
    assert stamps.max().dayofweek == 2  # exported on a Wednesday
    whole = weekly["usage_actions"]["ACTIONS_EMAIL"].astype(int)[
        weekly["usage_actions"]["WHEN_TIMESTAMP"] < "2019-05-20"
    ]
    dealt = daily["usage_actions"]["ACTIONS_EMAIL"].astype(int)[
        daily["usage_actions"]["WHEN_TIMESTAMP"] < "2019-05-20"
    ]
    assert dealt.sum() == pytest.approx(whole.sum(), rel=0.1)


def test_projects_make_usage_grow_before_a_closing() -> None:
    """The cause that the docstring names: a growing project raises the hazard and the drive of usage alike."""
    rng = np.random.default_rng(0)
    portals = portals_story.draw(2_000, 30, rng)
    state = portals_story.start(portals, rng)
    calm = portals_story.hazard(state, portals, 30)
    state.project += 2
    assert (portals_story.hazard(state, portals, 30) > 3 * calm).mean() > 0.9
    assert (portals_story.hazard(state, portals, -200) == 0).all()  # not there yet


@pytest.mark.parametrize("day", [date(2019, 11, 25), date(2018, 12, 30), date(2020, 7, 19), date(2030, 1, 6)])
def test_no_truth_is_invented(folder: Path, files: dict[str, pd.DataFrame], day: date) -> None:
    with pytest.raises(DataError, match="there is no truth for"):
        ceiling(folder, day)


def test_a_folder_without_a_world(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no whole simulated world"):
        ceiling(tmp_path, SUNDAY)


def test_what_a_world_cannot_be() -> None:
    for wrong in ({"size": 5}, {"weeks": 3}, {"stamps": "hourly"}, {"portals": 7}):
        with pytest.raises(ValidationError):
            PortalWorld.model_validate(wrong)
