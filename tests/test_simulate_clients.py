"""The simulated world of clients: tables that its docstring tells of, a hidden truth, and nothing told before its day."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from toolkit.errors import DataError
from toolkit.registry import worlds
from toolkit.simulate import clients_story
from toolkit.simulate.clients import ClientWorld, ceiling, simulate
from toolkit.simulate.clients_tables import Export
from toolkit.simulate.clients_truth import HORIZONS, figures

COLUMNS = {
    "clients": ["client", "started_on", "region", "age_group", "industry", "value_tier", "owner", "company_size"],
    "contracts": ["client", "day", "plan", "term_days", "billing", "seats", "monthly_fee"],
    "cancellations": ["client", "day", "ends_on", "reason"],
    "activity": ["client", "day", "logins", "users", "sessions", "minutes", "longest_pause", "documents", "edits", "shares",
                 "searches", "exports", "api_calls", "data_mb", "features", "errors", "phone_logins"],
    "emails": ["client", "day", "what", "topic"],
    "tickets": ["client", "day", "kind", "sentiment"],
    "answers": ["client", "day", "hours", "sentiment"],
    "surveys": ["client", "day", "kind", "score"],
    "visits": ["client", "day", "page", "views"],
    "setup": ["client", "day", "what", "change"],
    "market": ["client", "day", "volatility"],
}  # fmt: skip
WORLD = ClientWorld(size=1_000, weeks=60)
CUTOFF = date(2024, 9, 1)


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    found = {name: pd.read_parquet(folder / f"{name}.parquet") for name in COLUMNS}
    for name, frame in found.items():
        day = "started_on" if name == "clients" else "day"
        frame[day] = pd.to_datetime(frame[day])
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clients")
    simulate(WORLD, folder)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, pd.DataFrame]:
    return tables(folder)


@pytest.fixture(scope="module")
def chances(folder: Path) -> pd.DataFrame:
    return pd.concat(
        [ceiling(folder, date(2024, month, 1), draws=8).assign(month=month) for month in (6, 8, 10)]
    )


def test_it_is_registered() -> None:
    assert worlds.get("clients").config is ClientWorld


def test_the_tables_have_their_columns_and_belong_to_clients(found: dict[str, pd.DataFrame]) -> None:
    assert {name: frame.columns.to_list() for name, frame in found.items()} == COLUMNS
    ids = found["clients"]["client"]
    assert ids.is_unique
    assert len(ids) == WORLD.size
    assert not any(set(frame["client"]) - set(ids) for frame in found.values())


def test_every_row_lies_between_the_start_of_its_client_and_the_end_of_the_export(
    found: dict[str, pd.DataFrame],
) -> None:
    started = found["clients"].set_index("client")["started_on"]
    for name, frame in found.items():
        if name != "clients":
            assert (frame["day"] >= frame["client"].map(started)).all(), name
            assert frame["day"].max() < pd.Timestamp("2024-01-01") + pd.Timedelta(7 * WORLD.weeks, "D"), name


def test_activity_has_a_row_only_where_something_was_done(found: dict[str, pd.DataFrame]) -> None:
    activity = found["activity"]
    assert not activity.duplicated(["client", "day"]).any()
    assert (activity[["logins", "users", "sessions", "features"]] >= 1).all().all()
    assert (activity["users"] <= activity["logins"]).all()
    assert (activity["edits"] <= activity["documents"]).all()
    weekend = activity["day"].dt.dayofweek >= 5
    assert weekend.mean() < 0.2


def test_contracts_run_on_without_a_gap_until_notice_is_given(found: dict[str, pd.DataFrame]) -> None:
    terms = found["contracts"].sort_values(["client", "day"])
    follows = terms.groupby("client")["day"].diff().dropna()
    assert (follows.dt.days == terms.loc[follows.index, "term_days"]).all()
    last = terms.groupby("client").last()
    left = found["cancellations"].set_index("client")
    ends = last["day"] + pd.to_timedelta(last["term_days"], "D")
    assert (pd.to_datetime(left["ends_on"]) == ends[left.index]).all()
    assert (left["day"] <= pd.to_datetime(left["ends_on"])).all()
    assert left.index.is_unique


def test_after_notice_nothing_but_use_goes_on_and_after_the_term_nothing(
    found: dict[str, pd.DataFrame],
) -> None:
    left = found["cancellations"].set_index("client")
    for name, frame in found.items():
        if name not in ("clients", "cancellations"):
            day, notice = frame["day"], frame["client"].map(left["day"])
            late = {"emails": 20, "surveys": 400, "setup": 400, "activity": 400}.get(name, 0)  # opened later
            assert not (day > notice + pd.Timedelta(late, "D")).any(), name
            assert not (
                day > frame["client"].map(pd.to_datetime(left["ends_on"])) + pd.Timedelta(20, "D")
            ).any(), name


def test_an_answer_follows_its_ticket(found: dict[str, pd.DataFrame]) -> None:
    """One ticket at a time: opened, answered, opened, …"""
    parts = [
        found[name][["client", "day"]].assign(step=step) for name, step in (("tickets", 1), ("answers", -1))
    ]
    open_ones = pd.concat(parts).sort_values(["client", "day", "step"]).groupby("client")["step"].cumsum()
    assert open_ones.isin((0, 1)).all()


def test_emails_are_opened_after_they_are_sent(found: dict[str, pd.DataFrame]) -> None:
    emails = found["emails"]
    count = emails.groupby(["client", "what"]).size().unstack(fill_value=0)
    assert (count["sent"] >= count["opened"]).all()
    assert (count["opened"] >= count["clicked"]).all()
    first = emails.groupby(["client", "what"])["day"].min().unstack()
    assert (first["opened"].dropna() >= first.loc[first["opened"].notna(), "sent"]).all()


def test_nothing_tells_of_what_comes_later(tmp_path: Path, found: dict[str, pd.DataFrame]) -> None:
    """The same clients, exported two hundred days earlier: the same rows up to then, to the last cell."""
    days, until = 7 * WORLD.weeks, 7 * WORLD.weeks - 200
    clients = clients_story.draw(WORLD.size, days, np.random.default_rng([WORLD.seed, 0]))
    with Export(tmp_path, clients, until, np.random.default_rng([WORLD.seed, 2])) as export:
        for day, state in clients_story.days_of(clients, until, WORLD.seed):
            export.add(day, state)
    end = pd.Timestamp("2024-01-01") + pd.Timedelta(until, "D")
    for name, early in tables(tmp_path).items():
        day = "started_on" if name == "clients" else "day"
        whole = found[name][found[name][day] < end].reset_index(drop=True)
        pd.testing.assert_frame_equal(early, whole)
        assert len(early) < len(found[name])


def test_use_fades_before_clients_leave_and_not_before_others_stay(found: dict[str, pd.DataFrame]) -> None:
    """What makes it worth predicting, and no more: some of those who leave are as busy as ever."""
    left = found["cancellations"].query("day >= '2024-06-01'").set_index("client")["day"]
    use = found["activity"].assign(until=found["activity"]["client"].map(left))
    before = (use["until"] - use["day"]).dt.days
    late = use[before.between(1, 28)].groupby("client").size().reindex(left.index, fill_value=0)
    early = use[before.between(85, 112)].groupby("client").size().reindex(left.index, fill_value=0)
    assert late.mean() < 0.8 * early.mean()
    assert (late >= early).mean() > 0.1


def test_groups_differ_by_way_of_their_causes_only(found: dict[str, pd.DataFrame]) -> None:
    clients, answers = found["clients"].set_index("client"), found["answers"]
    hours = answers.groupby(answers["client"].map(clients["region"]))["hours"].mean()
    assert hours["West"] > 1.4 * hours["North"]
    first = found["contracts"].groupby("client").first()
    monthly = (first["billing"] == "monthly").groupby(clients["age_group"]).mean()
    assert monthly["18-29"] > monthly["60+"]
    features = (
        found["activity"].groupby(found["activity"]["client"].map(clients["age_group"]))["features"].mean()
    )
    assert features["18-29"] > features["60+"]


def test_slow_answers_cost_goodwill() -> None:
    """The cause that the docstring names, and that only it: region itself is in no hazard."""
    rng = np.random.default_rng(0)
    clients = clients_story.draw(4_000, 200, rng)
    state = clients_story.begin(clients, rng)
    before = state.grief.copy()
    state.waiting[:], state.waited[:] = 0, np.where(np.arange(4_000) < 2_000, 10, 0)
    clients_story.step(state, clients, 150, rng)
    here = clients.here(150)
    grown = (state.grief - before)[here]
    slow = np.arange(4_000)[here] < 2_000
    assert grown[slow].mean() > 0.4 > 0.1 > grown[~slow].mean()


def test_the_ceiling_is_calibrated_nested_and_beats_what_recency_says(
    chances: pd.DataFrame, found: dict[str, pd.DataFrame]
) -> None:
    activity = found["activity"]
    recency = []
    for month, rows in chances.groupby("month"):
        last = activity[activity["day"] < f"2024-{month:02}-01"].groupby("client")["day"].max()
        recency.append((pd.Timestamp(2024, int(month), 1) - rows["client"].map(last)).dt.days)
    since = pd.concat(recency)
    assert since.max() <= 30  # the others are rows no more
    for days in HORIZONS:
        expected = chances[f"chance_{days}"].sum()
        assert abs(chances[f"leaves_{days}"].sum() - expected) < 4 * np.sqrt(expected)
        best = roc_auc_score(chances[f"leaves_{days}"], chances[f"chance_{days}"])
        assert 0.7 < best < 0.98
        assert roc_auc_score(chances[f"leaves_{days}"], since) < best
    for narrow, wide in ((30, 60), (60, 90)):
        assert (chances[f"chance_{narrow}"] <= chances[f"chance_{wide}"] + 1e-12).all()
        assert (chances[f"leaves_{narrow}"] <= chances[f"leaves_{wide}"]).all()


def test_figures_say_what_a_perfect_reader_reaches(chances: pd.DataFrame) -> None:
    table = figures(chances, at=0.5)
    assert table["roc_auc"].to_list() == pytest.approx(
        [roc_auc_score(chances[f"leaves_{days}"], chances[f"chance_{days}"]) for days in HORIZONS]
    )
    called, left = chances["chance_90"] >= 0.5, chances["leaves_90"] == 1
    assert table.loc[90, "precision"] == pytest.approx(left[called].mean())
    assert table.loc[90, "recall"] == pytest.approx(called[left].mean())
    assert table.loc[90, "false_positive_rate"] == pytest.approx(called[~left].mean())


def test_the_ceiling_agrees_with_the_tables(folder: Path, found: dict[str, pd.DataFrame]) -> None:
    """What it says of leaving is what the recipe's definition says of the exported rows."""
    rows, cutoff = ceiling(folder, CUTOFF, draws=1), pd.Timestamp(CUTOFF)
    notice = found["cancellations"].set_index("client")["day"]
    days = found["activity"].groupby("client")["day"].apply(lambda day: sorted((day - cutoff).dt.days))
    recent = {client for client, known in days.items() if any(-30 <= day < 0 for day in known)}
    assert set(rows["client"]) == {client for client in recent if not notice.get(client, cutoff) < cutoff}
    for row in rows.itertuples():
        given = (notice.get(row.client, pd.Timestamp.max) - cutoff).days
        for horizon in HORIZONS:
            known = [day for day in days[row.client] if -30 <= day < horizon]
            gaps = np.diff([*known, horizon]) > 30  # the horizon's last day is the one before
            assert getattr(row, f"leaves_{horizon}") == (given < horizon or gaps.any())


def test_the_same_world_gives_the_same_bytes(tmp_path: Path) -> None:
    small = ClientWorld(size=120, weeks=32)
    simulate(small, tmp_path / "a")
    simulate(small, tmp_path / "b")
    simulate(small.model_copy(update={"seed": 1}), tmp_path / "c")
    for name in COLUMNS:
        a, b, c = ((tmp_path / folder / f"{name}.parquet").read_bytes() for folder in "abc")
        assert a == b != c


@pytest.mark.parametrize("day", [date(2024, 1, 2), date(2023, 6, 1), date(2025, 1, 20), date(2030, 1, 1)])
def test_no_truth_is_invented(folder: Path, day: date) -> None:
    with pytest.raises(DataError, match="there is no truth for"):
        ceiling(folder, day)


def test_a_folder_without_a_world(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no whole simulated world"):
        ceiling(tmp_path, CUTOFF)


def test_what_a_world_cannot_be() -> None:
    for wrong in ({"size": 5}, {"weeks": 3}, {"stamps": "daily"}, {"clients": 7}):
        with pytest.raises(ValidationError):
            ClientWorld.model_validate(wrong)
