"""The leak audit names what was planted, says nothing of what is clean, and takes answers by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small import HISTORY, clean, dated, experiment, flat, people, real

from toolkit.cli.main import main
from toolkit.config.schema import Audit, Config
from toolkit.errors import ConfigError, LeakError
from toolkit.models.interface import Column, Task
from toolkit.prepare import audit as audits
from toolkit.prepare.audit_columns import missingness
from toolkit.prepare.audit_view import View
from toolkit.prepare.features import Feature
from toolkit.registry import models

ROWS = 3_000


def findings(config: Config, **update: Any) -> dict[str, audits.Finding]:
    """What the audit says in a run of a model that learns nothing: feature → its first finding."""
    nothing = models.get("prior").config(kind="prior")
    outcome = experiment(config).run(**{"model": {"nothing": nothing}} | update)
    return {finding.feature: finding for finding in reversed(outcome.findings)}


def flat_findings(folder: Path, frame: pd.DataFrame, **parts: Any) -> dict[str, audits.Finding]:
    return findings(flat(folder, frame, **parts))


# --- negative controls ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_clean_flat_table_raises_nothing(tmp_path: Path, seed: int) -> None:
    assert flat_findings(tmp_path, clean(seed=seed)) == {}


@pytest.mark.parametrize("rows", [120, 1_000])
def test_pure_noise_raises_nothing_however_small(tmp_path: Path, rows: int) -> None:
    rng = np.random.default_rng(rows)
    frame = pd.DataFrame(rng.normal(size=(rows, 40)), columns=[f"x{i}" for i in range(40)])
    frame["y"] = rng.choice(["yes", "no"], rows)
    assert flat_findings(tmp_path, frame) == {}


@pytest.mark.parametrize("seed", range(3))
def test_a_clean_temporal_recipe_raises_nothing(tmp_path: Path, seed: int) -> None:
    """The past of the very thing that is predicted is its best predictor, and totals grow with every cutoff."""
    calendar = {"kind": "calendar", "of": "cutoff", "parts": ["year", "month"]}
    features = {"who": {"kind": "attributes", "table": "people"}, "history": HISTORY, "when": calendar}
    assert findings(dated(tmp_path, *people(seed=seed), features=features)) == {}


# --- planted leaks ----------------------------------------------------------------------------------


def test_a_copy_of_the_label_under_another_name_is_named(tmp_path: Path) -> None:
    frame = clean()
    frame["outcome_code"] = np.where(frame["y"] == "yes", 7, 3)
    found = flat_findings(tmp_path, frame)
    assert list(found) == ["all.outcome_code"]
    assert found["all.outcome_code"].kind == "single column"
    assert found["all.outcome_code"].value == 1.0
    assert "AUC of 1.000" in found["all.outcome_code"].text


def test_a_noisy_copy_of_the_label_is_named(tmp_path: Path) -> None:
    frame = clean()
    rng = np.random.default_rng(1)
    frame["echo"] = (frame["y"] == "yes") * 1.0 + rng.normal(0, 0.5, ROWS)
    found = flat_findings(tmp_path, frame)
    assert list(found) == ["all.echo"]
    assert 0.9 < found["all.echo"].value < 0.97  # Φ(1 / (0.5 √2)) = 0.921


def test_two_copies_do_not_hide_each_other(tmp_path: Path) -> None:
    """Neither stands out against the other, so each is compared with columns that say something else."""
    frame = clean()
    rng = np.random.default_rng(1)
    seconds = np.exp((frame["y"] == "yes") * 1.3 + rng.normal(0, 1, ROWS))  # AUC Φ(1.3 / √2) = 0.82
    frame["seconds"], frame["minutes"] = seconds.round(3), (seconds / 60).round(4)
    frame["age"] = rng.integers(18, 90, ROWS)  # else age alone is nearly as strong
    assert set(flat_findings(tmp_path, frame)) == {"all.seconds", "all.minutes"}


def test_a_duration_that_is_known_only_afterwards_stands_out(tmp_path: Path) -> None:
    """No single threshold finds it: an AUC of 0.8 is honest where others reach 0.75, and not where they reach 0.6."""
    frame = clean()
    rng = np.random.default_rng(1)
    frame["seconds"] = np.exp((frame["y"] == "yes") * 1.3 + rng.normal(0, 1, ROWS)).round(2)
    frame["age"] = rng.integers(18, 90, ROWS)
    found = flat_findings(tmp_path, frame)
    assert list(found) == ["all.seconds"]
    assert "the next unrelated column reaches 0.6" in found["all.seconds"].text


def test_keys_dealt_by_outcome_are_named(tmp_path: Path) -> None:
    frame = clean().sort_values("y", ignore_index=True)
    frame["id"] = [
        f"C{number}" for number in range(9_000, 9_000 + ROWS)
    ]  # as text, C10000 comes before C9000
    found = flat_findings(tmp_path, frame)
    assert list(found) == ["@key"]
    assert "order of the entity keys" in found["@key"].text


def test_keys_whose_last_character_tells_are_named(tmp_path: Path) -> None:
    frame = clean()
    rng = np.random.default_rng(1)
    frame["id"] = 2 * rng.permutation(ROWS) + (frame["y"] == "yes")
    found = flat_findings(tmp_path, frame)
    assert list(found) == ["@key"]
    assert "last character" in found["@key"].text


def test_a_column_that_numbers_the_rows_is_named(tmp_path: Path) -> None:
    frame = clean()
    rng = np.random.default_rng(1)
    frame["file_no"] = rng.permutation(ROWS) + 5_000
    frame["reference"] = [f"R-{number:x}" for number in rng.permutation(10**6)[:ROWS]]
    found = flat_findings(tmp_path, frame)
    assert set(found) == {"all.file_no", "all.reference"}
    assert {finding.kind for finding in found.values()} == {"id"}


def test_an_id_is_seen_through_an_entitys_many_rows(tmp_path: Path) -> None:
    persons, events = people()
    persons["badge"] = np.random.default_rng(1).permutation(len(persons)) + 3_000
    assert list(findings(dated(tmp_path, persons, events))) == ["who.badge"]


def test_a_missingness_that_tells_the_label_is_named(tmp_path: Path) -> None:
    frame = clean()
    rng = np.random.default_rng(1)
    yes = (frame["y"] == "yes").to_numpy()
    frame["callback"] = np.where(rng.random(ROWS) < np.where(yes, 0.2, 0.6), rng.normal(size=ROWS), np.nan)
    frame["closed_by"] = np.where(yes & (rng.random(ROWS) < 0.15), rng.choice(["web", "phone"], ROWS), None)
    found = flat_findings(tmp_path, frame)
    assert set(found) == {"all.callback", "all.closed_by"}
    assert {finding.kind for finding in found.values()} == {"missingness"}
    assert "100.0% positive" in found["all.closed_by"].text


def weekly_view(seed: int, entities: int, yes: int, told: float, weeks: int = 8) -> View:
    """A column that is there or not for good, and is missing for a share of those who say yes, week after week.

    A third of the others lack it. Training and validation rows are of the same kind, of other entities.
    """
    rng = np.random.default_rng(seed)
    y, gone = (np.repeat(values, weeks) for values in (
        rng.permutation(2 * entities) % entities < yes, rng.random(2 * entities) < 1 / 3))  # fmt: skip
    gone[y] = np.repeat(rng.random(int(y.sum()) // weeks) < told, weeks)
    X = np.where(gone, np.nan, rng.normal(size=len(y)))[:, None].astype(np.float32)
    entity = np.repeat(np.arange(2 * entities).astype(str).astype(object), weeks)
    a, b, label = slice(0, entities * weeks), slice(entities * weeks, None), y[:, None].astype(float)
    never = np.full(entities * weeks, "NaT", "datetime64[us]")
    parts = audits.Parts(
        X[a], label[a], X[b], label[b], X[b], entity[a], entity[b], never, never, {}, entity[b]
    )
    feature = Feature("size", "", "numeric", None, frozenset({("t", "size")}), "always", "")
    return View(
        Audit(), parts, (feature,), (Column("size", "numeric"),), (Task("y", "binary"),), audits.Lineage()
    )


def test_a_missingness_is_judged_by_entities_and_not_by_their_weeks() -> None:
    """Six say yes, in eight weeks each: that five of them lack a value happens by chance. Sixty do not so."""
    views = [weekly_view(seed, 1_000, 6, told=1 / 3) for seed in range(60)]
    assert sum(bool(list(missingness(view))) for view in views) == 0
    by_row = [replace(view, parts=replace(view.parts, entity_valid=None)) for view in views]
    assert sum(bool(list(missingness(view))) for view in by_row) > 3  # the control
    (finding,) = missingness(weekly_view(0, 1_000, 60, told=0.8))
    view = weekly_view(0, 1_000, 60, told=0.8)
    gone, y = np.isnan(view.parts.X_valid[:, 0]), view.parts.y_valid[:, 0]
    decided = f"{y[gone].mean():.1%} positive in {gone.sum():,} validation rows"
    assert f"{decided} where it is missing, {y.mean():.1%} overall" in finding.text


def test_few_entities_of_one_answer_are_not_pure_because_of_their_many_weeks() -> None:
    """None of those without a value says yes; by rows chance would give many exceptions, by entities two."""
    (alone,) = missingness(weekly_view(1, 3_000, 60, told=0.0))
    assert "0.0% positive" in alone.text
    assert list(missingness(weekly_view(1, 400, 6, told=0.0))) == []


def test_twins_on_both_sides_of_the_split_are_named(tmp_path: Path) -> None:
    frame = clean(2_000)
    doubled = pd.concat([frame, frame.sample(300, random_state=0)], ignore_index=True)
    found = flat_findings(tmp_path, doubled)
    assert list(found) == ["@twins"]


def test_rows_that_meet_by_chance_are_no_twins(tmp_path: Path) -> None:
    """Four coarse columns give 6,561 cells for 3,000 rows: many meet, none is the same case."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(0, 9, (ROWS, 4)), columns=list("abcd"))
    frame["y"] = rng.choice(["yes", "no"], ROWS)
    assert flat_findings(tmp_path, frame) == {}


def test_a_column_that_jumps_between_the_splits_is_named(tmp_path: Path) -> None:
    """Counted in other units from 2022 on; a level that did not exist before; a total that merely grows is not named."""
    persons, events = people()
    rng = np.random.default_rng(1)
    status = pd.concat([
        pd.DataFrame({"id": persons["id"], "since": f"{year}-06-01", "size": rng.lognormal(0, 1, len(persons)) * (60 if year == 2021 else 1),
                      "scheme": rng.choice(["old", "new" if year == 2021 else "older"], len(persons), p=[0.8, 0.2]),
                      "points": (year - 2017) * 10 + rng.normal(0, 1, len(persons))})
        for year in (2018, 2019, 2020, 2021)
    ])  # fmt: skip
    declared = {"entity": "id", "clock": "since", "infer": True, "columns": {"id": "text", "since": "date"}}
    features = {
        "history": HISTORY,
        "status": {"kind": "attributes", "table": "status", "columns": ["size", "scheme", "points"]},
    }
    found = findings(dated(tmp_path, persons, events, {"status": (status, declared)}, features=features))
    assert {name: finding.kind for name, finding in found.items()} == {"status.size": "jump"}
    status["scheme"] = np.where(status["since"] == "2021-06-01", "new", status["scheme"])
    found = findings(
        dated(tmp_path / "b", persons, events, {"status": (status, declared)}, features=features)
    )
    assert set(found) == {"status.size", "status.scheme"}


def test_a_category_with_one_level_per_outcome_is_named(tmp_path: Path) -> None:
    frame = clean()
    frame["stage"] = np.where(frame["y"] == "yes", "won", "lost")
    assert list(flat_findings(tmp_path, frame)) == ["all.stage"]


def test_free_text_that_names_the_outcome_is_named(tmp_path: Path) -> None:
    """Two thousand reason codes, each used for one outcome only: far too many levels for the encoder to show."""
    frame = clean(6_000)
    rng = np.random.default_rng(1)
    code = rng.integers(0, 1_000, len(frame))
    frame["reason"] = [f"{'W' if y == 'yes' else 'L'}{c}" for y, c in zip(frame["y"], code, strict=True)]
    frame["reason"] = frame["reason"].map({text: f"code {n}" for n, text in enumerate(set(frame["reason"]))})
    frame["street"] = [
        f"street {number}" for number in rng.integers(0, 1_000, len(frame))
    ]  # as many, harmless
    found = flat_findings(tmp_path, frame)
    assert {name: finding.kind for name, finding in found.items()} == {"all.reason": "levels"}


def lifetime(persons: pd.DataFrame, events: pd.DataFrame) -> pd.Series:
    return persons["id"].map(events.groupby("id")["amount"].sum()).fillna(0).round(2)


def test_a_snapshot_taken_after_the_cutoff_is_named(tmp_path: Path) -> None:
    """None predicts too well. But a total of today is never below what was known, equals it for some, is above for others."""
    persons, events = people(1_500)
    persons["lifetime_amount"] = lifetime(persons, events)
    persons["events_so_far"] = persons["id"].map(events.groupby("id").size())
    persons["last_seen"] = persons["id"].map(events.groupby("id")["day"].max())
    found = findings(dated(tmp_path, persons, events, cohort={
        "cutoffs": ["2020-01-01", "2022-01-01"], "having": [{"table": "events"}]}))  # fmt: skip
    assert set(found) == {"who.lifetime_amount", "who.events_so_far", "who.last_seen"}
    assert {finding.kind for finding in found.values()} == {"hindsight"}


def test_a_total_fixed_before_the_first_cutoff_is_not_named(tmp_path: Path) -> None:
    persons, events = people(1_500)
    persons["amount_2018"] = lifetime(persons, events[events["day"] < "2019-01-01"])
    persons["joined"] = persons["id"].map(events.groupby("id")["day"].min())
    cohort = {"cutoffs": ["2020-01-01", "2021-01-01", "2022-01-01"],
              "having": [{"table": "events"}], "where": "joined < DATE '2020-01-01'"}  # fmt: skip
    assert findings(dated(tmp_path, persons, events, cohort=cohort)) == {}


def test_rows_stamped_before_they_were_known_are_named(tmp_path: Path) -> None:
    """Farewell letters follow an inactive year, but are stamped with its first day, or with the day before."""
    persons, events = people(3_000)
    starts = ["2020-01-01", "2021-01-01", "2022-01-01"]
    parts = []
    for start in starts:
        end = str(int(start[:4]) + 1) + start[4:]
        active = set(events.loc[(events["day"] > start) & (events["day"] <= end), "id"])
        gone = persons.loc[~persons["id"].isin(active), "id"].sample(frac=0.3, random_state=0)
        parts.append(pd.DataFrame({"id": gone, "day": str(pd.Timestamp(start) - pd.Timedelta(days=3))[:10]}))
    letters = pd.concat(parts, ignore_index=True)
    declared = {
        "entity": "id",
        "clock": "day",
        "columns": {"id": "text", "day": "date"},
        "observed_until": "2022-12-31",
    }
    features = {
        "history": HISTORY, "who": {"kind": "attributes", "table": "people"},
        "letters": {"kind": "windows", "table": "letters", "windows": ["3 months"], "features": [{"agg": ["count", "days_since_last"]}]},
    }  # fmt: skip
    found = findings(dated(tmp_path, persons, events, {"letters": (letters, declared)}, features=features))
    assert set(found) == {"letters.count_3mo"}
    assert "0.0% positive" in found["letters.count_3mo"].text


def test_a_clock_before_the_event_is_named(tmp_path: Path) -> None:
    persons, events = people()
    events["booked"] = (pd.to_datetime(events["day"]) - pd.Timedelta(days=20)).dt.strftime("%Y-%m-%d")
    declared = {"entity": "id", "clock": "booked", "event_time": "day", "observed_until": "2022-12-31",
                "columns": {"id": "text", "day": "date", "booked": "date", "amount": "number"}}  # fmt: skip
    found = findings(dated(tmp_path, persons, events, {"events": (events, declared)}))
    assert "@clock.events" in found
    assert "100.0% of the rows of table `events` are known before they happen" in found["@clock.events"].text


def test_a_copy_of_a_regression_target_is_named(tmp_path: Path) -> None:
    """R² of ranks: the tail of a heavy-tailed amount would hide even a copy."""
    frame = clean().drop(columns="y")
    rng = np.random.default_rng(1)
    frame["spend"] = np.round(np.exp(2 * rng.normal(size=ROWS) + 0.03 * frame["age"]), 2)
    target = {"spend": {"kind": "column", "column": "spend", "type": "regression"}}
    assert flat_findings(tmp_path / "clean", frame, target=target) == {}
    frame["invoice"] = np.round(frame["spend"] * 1.19 * np.exp(rng.normal(0, 0.1, ROWS)), 2)
    found = flat_findings(tmp_path / "leaky", frame, target=target)
    assert list(found) == ["all.invoice"]
    assert "R² of 0.9" in found["all.invoice"].text


def test_a_copy_of_a_multiclass_label_is_named(tmp_path: Path) -> None:
    frame = clean().drop(columns="y")
    frame["kind"] = np.random.default_rng(1).choice(["x", "y", "z"], ROWS)
    frame["code"] = frame["kind"].map({"x": 4, "y": 2, "z": 9})
    found = flat_findings(
        tmp_path, frame, target={"kind": {"kind": "column", "column": "kind", "type": "multiclass"}}
    )
    assert list(found) == ["all.code"]


# --- answers ----------------------------------------------------------------------------------------


def leaky() -> pd.DataFrame:
    frame = clean()
    frame["outcome_code"] = np.where(frame["y"] == "yes", 7, 3)
    return frame


def test_a_finding_is_answered_by_name(tmp_path: Path) -> None:
    found = flat_findings(
        tmp_path, leaky(), audit={"acknowledge": {"all.outcome_code": "typed in at the visit"}}
    )
    assert found["all.outcome_code"].answer == "typed in at the visit"


def test_an_answer_for_a_name_that_is_not_there_is_refused(tmp_path: Path) -> None:
    config = flat(tmp_path, leaky(), audit={"acknowledge": {"all.outcom_code": "why not"}})
    with pytest.raises(ConfigError, match=r"did you mean `all.outcome_code`"):
        experiment(config).run()


def test_a_strict_recipe_stops_at_an_open_finding_and_runs_when_it_is_answered(tmp_path: Path) -> None:
    config = flat(tmp_path, leaky(), audit={"on_finding": "refuse"})
    with pytest.raises(LeakError, match=r"`all.outcome_code` alone predicts `y`"):
        experiment(config).run()
    answered = Audit(on_finding="refuse", acknowledge={"all.outcome_code": "typed in at the visit"})
    assert experiment(config).run(audit=answered).chosen("y").test["roc_auc"] > 0.99


def test_a_target_partly_known_at_the_cutoff_answers_for_its_own_column(tmp_path: Path) -> None:
    """Lifetime giving at the cutoff is most of lifetime giving a year on: strong, and no leak."""
    of = {"table": "events", "agg": "sum", "column": "amount"}
    top = {"kind": "top_fraction", "fraction": 0.2, "of": of, "horizon": "12 months"}
    found = findings(
        dated(tmp_path, *people(), target={"top": top}, features={"history": HISTORY}), audit=Audit()
    )
    assert "partly known" in (found["history.amount_sum_all"].answer or "")
    assert all(finding.answer for finding in found.values())


# --- real data --------------------------------------------------------------------------------------


def csv_recipe(folder: Path, path: Path, key: str, label: str, positive: str, **parts: Any) -> Config:
    frame = pd.read_csv(path).rename(columns={key: "id", label: "y"})
    return flat(folder, frame, target={"y": {"kind": "column", "column": "y", "positive": positive}}, **parts)


def test_bank_marketing_names_duration(tmp_path: Path) -> None:
    """The call's duration is known after the call. The keys follow the calendar, and success came late: also right."""
    config = csv_recipe(tmp_path, real("bank_marketing") / "bank_market.csv", "Cust_num", "y", "yes")
    assert set(findings(config)) == {"all.duration", "@key"}


def test_bank_marketing_names_duration_in_a_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = real("bank_marketing")
    monkeypatch.chdir(tmp_path)
    arguments = ["recipe=flat_churn", f"source.path={folder}", "vars.file=bank_market.csv", "vars.key=Cust_num", "vars.label=y",
                 "vars.positive=yes", "model=logistic", "evaluation.bootstrap=0"]  # fmt: skip
    assert main(arguments) == 0
    assert "`all_columns.duration` alone predicts `label`" in capsys.readouterr().out


def test_bank_marketing_without_duration_names_only_its_keys(tmp_path: Path) -> None:
    config = csv_recipe(
        tmp_path, real("bank_marketing") / "bank_market.csv", "Cust_num", "y", "yes",
        features={"all": {"kind": "attributes", "table": "rows", "exclude": ["duration"]}},
    )  # fmt: skip
    assert set(findings(config)) == {"@key"}


def test_telco_churn_is_clean(tmp_path: Path) -> None:
    assert (
        findings(csv_recipe(tmp_path, real("telco_churn") / "telco_churn.csv", "customerID", "Churn", "Yes"))
        == {}
    )


def test_adult_is_clean(tmp_path: Path) -> None:
    frame = pd.read_csv(real("adult") / "adult.data", skipinitialspace=True, na_values="?")
    frame = frame.rename(columns={frame.columns[-1]: "y"})
    target = {"y": {"kind": "column", "column": "y", "positive": ">50K"}}
    assert findings(flat(tmp_path, frame, target=target)) == {}


def test_donor_retention_is_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shipped recipe on the shipped tables."""
    monkeypatch.chdir(tmp_path)
    assert main(["recipe=donor_retention", "model=logistic", "evaluation.bootstrap=0"]) == 0
    assert "leak audit: nothing unanswered" in capsys.readouterr().out


# --- speed ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_400_000_rows_80_columns_5_targets() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(700_000, 80)).astype(np.float32)
    X[:, :20] = np.round(X[:, :20] * 10)
    X[:, 20:30][rng.random((len(X), 10)) < 0.3] = np.nan
    X[:, 30] = rng.permutation(len(X))
    X[:, 70:] = rng.integers(0, 100, (len(X), 10))
    y = (X[:, :5] + rng.normal(0, 20, (len(X), 5)) > 10).astype(np.float32)
    y[:, 1] = X[:, 40] > 0
    keys = rng.permutation(len(X)).astype(str).astype(object)
    features = [
        Feature(f"x{i}", "all", "numeric", None, frozenset({("t", f"x{i}")}), "always", "") for i in range(80)
    ]
    columns = [
        Column(f"x{i}", "categorical" if i >= 70 else "numeric", ("a",) * 100 if i >= 70 else ())
        for i in range(80)
    ]
    a, b = slice(0, 400_000), slice(400_000, 500_000)
    parts = audits.Parts(
        X[a], y[a], X[b], y[b], X[500_000:], keys[a], keys[500_000:], np.full(400_000, "NaT", "datetime64[us]"),
        np.full(200_000, "NaT", "datetime64[us]"),
    )  # fmt: skip
    found = audits.audit(
        Audit(), parts, features, columns, [Task(f"y{i}", "binary") for i in range(5)], audits.Lineage()
    )
    assert {finding.feature for finding in found} == {"x40", "x30"}
