"""The simulated donor world: sound tables, a hidden truth, and the causes its docstring tells of."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from toolkit.errors import DataError
from toolkit.registry import worlds
from toolkit.simulate import donors_people, donors_story, donors_truth
from toolkit.simulate.donors import DonorWorld, ceiling, simulate

TEXT, DAY, INT, FLOAT = pa.string(), pa.date32(), pa.int32(), pa.float64()
SCHEMAS = {
    "donors": {
        "ID": TEXT,
        "Primary_Constituent_Type": TEXT,
        "Class_Year": INT,
        "Rating": TEXT,
        "Prospect_Stage": TEXT,
        "Geographic_Region": TEXT,
        "Estimated_Age": INT,
        "Added_On": DAY,
    },
    "engagement_history": {"Donor_ID": TEXT, "Scored_On": DAY, "Engagement_Score": FLOAT},
    "giving_history": {
        "Gift_ID": TEXT,
        "Donor_ID": TEXT,
        "Gift_Date": DAY,
        "Gift_Amount": FLOAT,
        "Designation": TEXT,
        "Gift_Type": TEXT,
        "Campaign": TEXT,
    },
    "relationships": {
        "Donor_ID_1": TEXT,
        "Donor_ID_2": TEXT,
        "Relationship_Type": TEXT,
        "Relationship_Category": TEXT,
        "Relationship_Strength": FLOAT,
        "Since": DAY,
    },
    "event_attendance": {
        "Attendance_ID": TEXT,
        "Donor_ID": TEXT,
        "Event_Date": DAY,
        "Event_Type": TEXT,
        "Event_Format": TEXT,
        "Guests": INT,
    },
    "contact_reports": {
        "Report_ID": TEXT,
        "Donor_ID": TEXT,
        "Contact_Date": DAY,
        "Contact_Type": TEXT,
        "Report_Text": TEXT,
    },
}
CLOCKS = {
    "engagement_history": "Scored_On",
    "giving_history": "Gift_Date",
    "event_attendance": "Event_Date",
    "contact_reports": "Contact_Date",
}
CUTOFF = date(2024, 1, 1)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    simulate(DonorWorld(size=3_000), folder)
    return folder


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough to see causes; about two seconds."""
    folder = tmp_path_factory.mktemp("large")
    simulate(DonorWorld(size=30_000, seed=11), folder)
    return folder


@pytest.fixture(scope="module")
def tables(small: Path) -> dict[str, pd.DataFrame]:
    return {name: pd.read_parquet(small / f"{name}.parquet") for name in SCHEMAS}


# --- the tables are sound ---------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEMAS)
def test_columns_and_types(small: Path, name: str) -> None:
    schema = pq.read_schema(small / f"{name}.parquet")
    assert dict(zip(schema.names, schema.types, strict=True)) == SCHEMAS[name]


def test_the_folder_shows_six_tables_and_keeps_the_truth_apart(small: Path) -> None:
    assert {p.name for p in small.iterdir()} == {f"{name}.parquet" for name in SCHEMAS} | {"truth"}


def test_keys_are_unique_text_and_every_donor_exists(tables: dict[str, pd.DataFrame]) -> None:
    ids = tables["donors"]["ID"]
    assert sorted(ids) == [f"D{k:07d}" for k in range(1, 3_001)]
    for table, key in (
        ("giving_history", "Gift_ID"),
        ("event_attendance", "Attendance_ID"),
        ("contact_reports", "Report_ID"),
    ):
        assert tables[table][key].is_unique
    for table in CLOCKS:
        assert tables[table]["Donor_ID"].isin(ids).all()
    assert not tables["engagement_history"].duplicated(["Donor_ID", "Scored_On"]).any()


@pytest.mark.parametrize(("table", "clock"), CLOCKS.items())
def test_events_fall_in_the_ledger_and_not_before_the_record(
    tables: dict[str, pd.DataFrame], table: str, clock: str
) -> None:
    when, added = tables[table][clock], tables["donors"].set_index("ID")["Added_On"]
    assert when.min() >= date(2016, 1, 2)
    assert when.max() < date(2025, 1, 1)
    assert (when.to_numpy() >= added[tables[table]["Donor_ID"]].to_numpy()).all()
    assert not when.map(lambda day: (day.month, day.day) == (1, 1)).any()


def test_scores_are_half_yearly_for_everyone_on_file(tables: dict[str, pd.DataFrame]) -> None:
    scores, added = tables["engagement_history"], tables["donors"]["Added_On"]
    assert scores["Engagement_Score"].between(0, 100).all()
    assert {(day.month, day.day) for day in scores["Scored_On"]} == {(6, 30), (12, 31)}
    for day, known in scores.groupby("Scored_On")["Donor_ID"].nunique().items():
        assert known == (added <= day).sum()
    assert scores["Scored_On"].max() == date(2024, 12, 31)


def test_ties_are_undirected_pairs_known_once_both_are_on_file(tables: dict[str, pd.DataFrame]) -> None:
    ties, added = tables["relationships"], tables["donors"].set_index("ID")["Added_On"]
    assert (ties["Donor_ID_1"] < ties["Donor_ID_2"]).all()
    assert not ties.duplicated(["Donor_ID_1", "Donor_ID_2"]).any()
    assert set(ties["Relationship_Category"]) == set(donors_people.CATEGORIES)
    assert (ties["Relationship_Strength"] > 0).all()
    assert (ties["Relationship_Strength"] <= 1).all()
    for end in ("Donor_ID_1", "Donor_ID_2"):
        assert (ties["Since"].to_numpy() >= added[ties[end]].to_numpy()).all()
    assert ties["Since"].max() < date(2025, 1, 1)


def test_volumes_are_heavy_tailed(large: Path) -> None:
    ids = pd.read_parquet(large / "donors.parquet")["ID"]
    gifts = pd.read_parquet(large / "giving_history.parquet")
    ties = pd.read_parquet(large / "relationships.parquet")
    per_donor = gifts["Donor_ID"].value_counts().reindex(ids, fill_value=0)
    degree = pd.concat([ties["Donor_ID_1"], ties["Donor_ID_2"]]).value_counts().reindex(ids, fill_value=0)
    assert 6 <= per_donor.mean() <= 8
    assert (per_donor == 0).mean() > 0.2
    total = gifts.groupby("Donor_ID")["Gift_Amount"].sum().sort_values(ascending=False)
    assert total.head(len(ids) // 100).sum() > 0.25 * total.sum()
    assert (degree == 0).mean() > 0.05
    assert degree.max() > 10 * degree.mean()


def test_ids_and_row_order_say_nothing_of_traits_or_labels(large: Path) -> None:
    people = donors_truth.load(donors_people.People, large / "truth" / "people.parquet")
    state = donors_truth.load(donors_story.State, large / "truth" / "state_2025.parquet")
    for value in (people.affinity, people.capacity, people.added, people.household, state.lifetime > 0):
        # Independent: the correlation of n pairs has standard error 1/sqrt(n).
        assert abs(np.corrcoef(people.number, value)[0, 1]) < 4 / np.sqrt(len(people.number))
    assert pd.read_parquet(large / "donors.parquet")["ID"].is_monotonic_increasing


# --- the same seed, the same bytes ------------------------------------------------------------


def test_same_seed_same_bytes_other_seed_other_tables(small: Path, tmp_path: Path) -> None:
    simulate(DonorWorld(size=3_000), tmp_path / "again")
    simulate(DonorWorld(size=3_000, seed=8), tmp_path / "other")
    files = sorted(p.relative_to(small) for p in small.rglob("*.*"))
    assert len(files) == 6 + 10 + 3  # tables; a state a year; people, ties, world
    for path in files:
        assert (small / path).read_bytes() == (tmp_path / "again" / path).read_bytes(), path
    for name in SCHEMAS:
        other = (tmp_path / "other" / f"{name}.parquet").read_bytes()
        assert (small / f"{name}.parquet").read_bytes() != other


def test_the_smallest_world_has_all_tables_and_tells_its_progress(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    simulate(DonorWorld(size=50), tmp_path, lambda what, share: told.append((what, share)))
    assert all(pq.read_schema(tmp_path / f"{name}.parquet").names == list(SCHEMAS[name]) for name in SCHEMAS)
    assert [share for _, share in told] == sorted(share for _, share in told)
    assert told[-1] == ("done", 1.0)


def test_registered_typed_and_light() -> None:
    assert worlds.get("donors").config is DonorWorld
    with pytest.raises(ValidationError):
        DonorWorld(size=49)
    with pytest.raises(ValidationError):
        DonorWorld.model_validate({"kind": "donors", "sise": 100})
    code = "import sys, toolkit.simulate; print({'numpy', 'pandas', 'pyarrow', 'scipy'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"


# --- the causes -------------------------------------------------------------------------------


def test_warmth_spreads_over_family_and_professional_ties_but_not_over_alumni_or_activity(
    large: Path,
) -> None:
    """An experiment: a random half of the donors is made to glow; who gives in the next month?

    The exposure is read from the table of ties; its effect is a least-squares slope by category.
    """
    people = donors_truth.load(donors_people.People, large / "truth" / "people.parquet")
    ties = donors_truth.load(donors_people.Ties, large / "truth" / "ties.parquet")
    before = donors_truth.load(donors_story.State, large / "truth" / "state_2024.parquet")
    influence = donors_people.influence_matrix(ties, len(people.number))
    table = pd.read_parquet(large / "relationships.parquet")
    position = pd.Series(np.arange(len(people.number)), index=[f"D{k:07d}" for k in people.number])
    a, b = position[table["Donor_ID_1"]].to_numpy(), position[table["Donor_ID_2"]].to_numpy()
    strength, n = table["Relationship_Strength"].to_numpy(), len(people.number)

    rng = np.random.default_rng(5)
    slopes = []
    for _ in range(25):
        treated = (rng.random(n) < 0.5).astype(np.float32)
        exposure = [np.ones(n)]
        for category in donors_people.CATEGORIES:
            weight = strength * (table["Relationship_Category"] == category)
            reach = np.bincount(a, weight * (treated[b] - 0.5), n) + np.bincount(
                b, weight * (treated[a] - 0.5), n
            )
            exposure.append(np.clip(reach, -1, 1))
        state = donors_story.State(**{name: array.copy() for name, array in vars(before).items()})
        state.glow[:] = 2 * treated
        month = donors_story.step(state, people, influence, 96, rng)
        gave = np.bincount(month.givers, minlength=n)
        slopes.append(np.linalg.lstsq(np.stack(exposure, axis=1), gave, rcond=None)[0][1:])
    slope = dict(zip(donors_people.CATEGORIES, np.mean(slopes, axis=0), strict=True))
    error = dict(zip(donors_people.CATEGORIES, np.std(slopes, axis=0) / np.sqrt(len(slopes)), strict=True))
    assert slope["family"] > 6 * error["family"]
    assert slope["professional"] > 6 * error["professional"]
    assert slope["family"] > slope["professional"] > slope["social"]
    for category in ("alumni", "activity"):
        assert abs(slope[category]) < 4 * error[category], category


def test_a_rising_ladder_foretells_more_than_a_falling_one_with_the_same_total(large: Path) -> None:
    gifts = pd.read_parquet(large / "giving_history.parquet")
    gifts["Gift_Date"] = pd.to_datetime(gifts["Gift_Date"])
    past = gifts[gifts["Gift_Date"].between("2021-01-01", "2022-12-31")].sort_values("Gift_Date")
    future = gifts[gifts["Gift_Date"].dt.year == 2023].groupby("Donor_ID")["Gift_Amount"].sum()
    by = past.groupby("Donor_ID")["Gift_Amount"]
    rows = pd.DataFrame({"count": by.count(), "total": by.sum()})
    order = by.cumcount() - by.transform("count") / 2 + 0.5  # the place in the row of gifts, centred
    lean = (order * np.log(past["Gift_Amount"])).groupby(past["Donor_ID"]).sum()
    rows["rising"] = lean > 0
    rows["next"] = np.log1p(future.reindex(rows.index).fillna(0))
    rows = rows[rows["count"].between(3, 30) & (lean.abs() > 0.2)]
    rows["stratum"] = rows.groupby("count")["total"].rank(pct=True).mul(5).astype(int).add(10 * rows["count"])
    mean = rows.pivot_table(index="stratum", columns="rising", values="next", aggfunc="mean")
    weight = rows["stratum"].value_counts().reindex(mean.index)
    gain = np.average((mean[True] - mean[False]).fillna(0), weights=weight)
    error = rows["next"].std() * 2 / np.sqrt(len(rows))
    assert gain > 4 * error

    shuffled = rows.assign(rising=np.random.default_rng(0).permutation(rows["rising"]))
    mean = shuffled.pivot_table(index="stratum", columns="rising", values="next", aggfunc="mean")
    assert abs(np.average((mean[True] - mean[False]).fillna(0), weights=weight)) < 4 * error


def test_silence_means_more_for_a_monthly_giver_than_for_an_annual_one(large: Path) -> None:
    people = donors_truth.load(donors_people.People, large / "truth" / "people.parquet")
    before = donors_truth.load(donors_story.State, large / "truth" / "state_2023.parquet")
    after = donors_truth.load(donors_story.State, large / "truth" / "state_2024.parquet")
    silent = (before.elapsed >= 4) & (before.elapsed <= 8) & (before.last_gift > 0)
    gave = after.year_amount > 0
    assert gave[silent & (people.period == 12)].mean() > gave[silent & (people.period == 1)].mean() + 0.15


@pytest.mark.parametrize(
    ("life", "stage"),
    [
        (["event", 50, 100], 3),
        ([50, "event", 100], 2),
        ([50, 100, "event"], 1),
        (["event", 100, 50], 0),
    ],
)
def test_only_event_then_gift_then_a_larger_gift_completes_the_path(
    life: list[str | int], stage: int
) -> None:
    people, _ = donors_people.draw(50, np.random.default_rng(0))
    state, someone, nobody = (
        donors_story.start(people, np.random.default_rng(0)),
        np.array([7]),
        np.array([], int),
    )
    for happening in life:
        if happening == "event":
            donors_story._walk_paths(state, nobody, np.array([]), someone)
        else:
            donors_story._walk_paths(state, someone, np.array([float(happening)]), nobody)
    assert state.path[7] == stage


# --- the ceiling ------------------------------------------------------------------------------


def test_the_truth_of_a_year_is_the_truth_of_the_tables(large: Path) -> None:
    """Outcomes read from the hidden state equal the same outcomes computed from the tables."""
    people = donors_truth.load(donors_people.People, large / "truth" / "people.parquet")
    ties = donors_truth.load(donors_people.Ties, large / "truth" / "ties.parquet")
    state = donors_truth.load(donors_story.State, large / "truth" / "state_2025.parquet")
    n, day = len(people.number), int(donors_people.MONTH_START[96])
    found = pd.DataFrame(
        donors_truth.outcomes(state, ties, n, 2024, day), index=[f"D{k:07d}" for k in people.number]
    )

    gifts = pd.read_parquet(large / "giving_history.parquet")
    events = pd.read_parquet(large / "event_attendance.parquet")
    scores = pd.read_parquet(large / "engagement_history.parquet").sort_values("Scored_On")
    known = pd.read_parquet(large / "relationships.parquet").query("Since < @CUTOFF")
    by = gifts.groupby("Donor_ID")
    recent = gifts[gifts["Gift_Date"] >= date(2020, 1, 1)]
    did = np.log1p(gifts[gifts["Gift_Date"] >= CUTOFF].groupby("Donor_ID")["Gift_Amount"].sum()).add(
        events[events["Event_Date"] >= CUTOFF]["Donor_ID"].value_counts(), fill_value=0
    )
    both = pd.concat([known, known.rename(columns={"Donor_ID_1": "Donor_ID_2", "Donor_ID_2": "Donor_ID_1"})])
    both["felt"] = both["Relationship_Strength"] * did.reindex(both["Donor_ID_2"]).fillna(0).to_numpy()
    expected = {
        "high_engagement": scores.groupby("Donor_ID")["Engagement_Score"].last(),
        "network_influencer": both.groupby("Donor_ID_1")["felt"].sum(),
        "consistent_giver": recent["Gift_Date"].map(lambda d: d.year).groupby(recent["Donor_ID"]).nunique(),
        "high_value": by["Gift_Amount"].sum(),
        "recent_engager": by["Gift_Date"].max().map(lambda d: (d - date(1970, 1, 1)).days),
    }
    for name, values in expected.items():
        never = -1 if name == "recent_engager" else 0
        np.testing.assert_allclose(
            found[name], values.reindex(found.index).fillna(never), rtol=1e-5, atol=1e-5, err_msg=name
        )


def test_the_ceiling_beats_simple_rules_and_is_not_certainty(large: Path) -> None:
    chance = ceiling(large, CUTOFF, draws=30)
    on_file = pd.read_parquet(large / "donors.parquet").query("Added_On < @CUTOFF")
    assert set(chance["ID"]) == set(on_file["ID"])
    past = pd.read_parquet(large / "giving_history.parquet").query("Gift_Date < @CUTOFF").groupby("Donor_ID")
    last_gift = pd.to_datetime(past["Gift_Date"].max()).reindex(chance["ID"])
    recency = (last_gift - pd.Timestamp("2015-01-01")).dt.days.fillna(0).to_numpy()
    lifetime = past["Gift_Amount"].sum().reindex(chance["ID"]).fillna(0).to_numpy()
    for name, share in donors_truth.TOP.items():
        label, top = chance[f"{name}_realised"], 0.0
        assert share - 0.01 <= label.mean() <= share + 0.08  # ties at the threshold are all in
        assert chance[name].mean() == pytest.approx(label.mean(), abs=0.02)  # calibrated as a whole
        top = roc_auc_score(label, chance[name])
        assert max(roc_auc_score(label, recency), roc_auc_score(label, lifetime)) < top < 1, name


def test_the_ceiling_is_calibrated_for_each_donor(large: Path) -> None:
    chance = ceiling(large, CUTOFF, draws=30)
    likely = chance[chance["recent_engager"].between(0.4, 0.6)]
    assert likely["recent_engager_realised"].mean() == pytest.approx(0.5, abs=0.08)


def test_a_ceiling_needs_a_true_state(large: Path, tmp_path: Path) -> None:
    for day in (date(2024, 2, 1), date(2025, 1, 1), date(2015, 1, 1)):
        with pytest.raises(DataError, match="no true state"):
            ceiling(large, day)
    with pytest.raises(DataError, match="no whole simulated world"):
        ceiling(tmp_path, CUTOFF)
