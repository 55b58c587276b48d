"""Recipe `email_engagement`: labels and features against plain Python over the CSV files, and one whole run."""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from small import config
from test_single_row import as_rows, differs, in_batch, once

from toolkit.config.paths import packaged
from toolkit.prepare import matrix as matrices
from toolkit.prepare.compiled import Declaration
from toolkit.scoring.rows import Rows
from toolkit.simulate.mailings import MailingWorld, simulate
from toolkit.workplace import workplace

SMALL = MailingWorld(size=250, weeks=34)
DAY = timedelta(days=1)


def recipe() -> dict[str, Any]:
    """What the recipe makes its rows of, as it is declared in `conf/`."""
    folder = packaged("conf")
    written = (folder.parent / "recipes" / "email_engagement.yaml").read_text(encoding="utf-8")
    chosen: dict[str, Any] = {}
    for line in yaml.safe_load(written)["defaults"]:
        ((words, names),) = line.items()
        group = words.removeprefix("override /")

        def read(name: str, group: str = group) -> Any:
            return yaml.safe_load((folder / group / f"{name}.yaml").read_text(encoding="utf-8"))

        chosen[group] = {n: read(n) for n in names} if isinstance(names, list) else read(names)
    return {group: chosen[group] for group in ("dataset", "cohort", "target", "features")}


class Export:
    """The CSV files, by recipient; moments are compared as a Sunday that is over sees them."""

    def __init__(self, folder: Path) -> None:
        def rows(name: str) -> list[dict[str, str]]:
            with (folder / f"{name}.csv").open(newline="") as file:
                return list(csv.DictReader(file))

        self.people = {row["recipient_id"]: row for row in rows("recipients")}
        self.sends, self.responses = defaultdict(list), defaultdict(list)
        for row in rows("sends"):
            at = {name: datetime.fromisoformat(row[name]) for name in ("planned_at", "send_at")}
            self.sends[row["recipient_id"]].append(row | at)
        for row in rows("responses"):
            at = {name: datetime.fromisoformat(row[name]) for name in ("occurred_at", "sent_at")}
            self.responses[row["recipient_id"]].append(row | at)

    def planned(self, who: str, sunday: datetime) -> dict[str, Any] | None:
        """What was planned for the week to come: on the Friday before."""
        end = sunday + DAY
        due = [row for row in self.sends[who] if end - 3 * DAY <= row["planned_at"] < end]
        return due[0] if due else None

    def happened(self, who: str, begin: datetime, end: datetime, *events: str) -> list[dict[str, Any]]:
        return [
            row
            for row in self.responses[who]
            if begin <= row["occurred_at"] < end and (not events or row["event"] in events)
        ]

    def sent(self, who: str, begin: datetime, end: datetime) -> int:
        return sum(begin <= row["send_at"] < end for row in self.sends[who])

    def labels(self, who: str, sunday: datetime) -> dict[str, float]:
        week = sunday + DAY, sunday + 8 * DAY
        wanted = {"opens_7d": (), "clicks_7d": ("click", "action"), "acts_7d": ("action",)}
        return {name: float(bool(self.happened(who, *week, *events))) for name, events in wanted.items()}

    def features(self, who: str, sunday: datetime) -> dict[str, Any]:
        end, plan = sunday + DAY, self.planned(who, sunday)
        assert plan is not None
        year = self.happened(who, end - 364 * DAY, end)
        opens = [row for row in year if row["event"] == "open"]
        waits = [(row["occurred_at"] - row["sent_at"]) / timedelta(hours=1) for row in opens]
        own = [r["occurred_at"].hour for r in year if r["event"] == "click"]
        own += [row["occurred_at"].hour for row, wait in zip(opens, waits, strict=True) if wait > 0.2]
        rate = (len(opens) + 1) / (self.sent(who, end - 364 * DAY, end) + 2)
        apart = abs(plan["send_at"].hour - np.mean(own)) if own else np.nan
        days = [datetime.fromisoformat(str(d)) for d in HOLIDAYS]
        day = plan["send_at"].replace(hour=0)
        return {
            "mailing_content.topic": plan["topic"],
            "mailing_content.discount": float(plan["discount"]),
            "mailing_content.personalised": float(plan["personalised"] == "yes"),
            "mailing_calendar.send_at_hour": plan["send_at"].hour,
            "mailing_calendar.send_at_weekday": plan["send_at"].isoweekday(),
            "mailing_calendar.send_at_is_holiday": float(day in days),
            "mailing_calendar.send_at_days_to_holiday": min((d - day).days for d in days if d >= day),
            "mailing_history.opens_count_28d": len(self.happened(who, end - 28 * DAY, end, "open")),
            "mailing_history.clicks_count_91d": len(self.happened(who, end - 91 * DAY, end, "click")),
            "mailing_rates.open_rate_364d": rate,
            "mailing_fit.open_log_odds": np.log(rate / (1.02 - rate)),
            "mailing_fit.hours_apart": min(apart, 24 - apart),
            "mailing_fit.share_of_topic": np.mean([r["topic"] == plan["topic"] for r in year]) if year else np.nan,
            "mailing_fit.asked_for_it": float(asked == plan["topic"]) if (asked := self.people[who]["asked_for"]) else np.nan,
            "mailing_behaviour.hours_to_open_HOURS_min_364d": min(waits, default=np.nan),
            "mailing_behaviour.opens_at_once_count_364d": sum(wait <= 0.2 for wait in waits),
            "mailing_pressure.count_14d": self.sent(who, end - 14 * DAY, end),
        }  # fmt: skip


HOLIDAYS = recipe()["features"]["mailing_calendar"]["holidays"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[matrices.Matrix, Export]:
    folder = tmp_path_factory.mktemp("engagement")
    (folder / "data").mkdir()
    simulate(SMALL, folder / "data")
    declared = config(folder, **recipe(), split={"kind": "temporal"})
    parts = Declaration(declared.dataset, declared.cohort, declared.target, declared.features)
    with workplace(declared, lambda stage, share: None) as work:
        tables = matrices.load_tables(parts, declared.source, work.engine, work.cache)
        compiled = matrices.compile_all(parts, tables, work.engine, work.cache)
        return matrices.build(compiled, work.engine, work.cache), Export(folder / "data")


class TestAgainstPlainPython:
    def test_rows_are_those_for_whom_a_mailing_is_planned(
        self, prepared: tuple[matrices.Matrix, Export]
    ) -> None:
        matrix, export = prepared
        found = set(zip(matrix.entity.tolist(), pd.DatetimeIndex(matrix.cutoff).normalize(), strict=True))
        sundays = {sunday for _, sunday in found}
        assert len(sundays) > 15
        assert all(sunday.isoweekday() == 7 for sunday in sundays)
        expected = {
            (who, day) for day in sundays for who in export.people if export.planned(who, day.to_pydatetime())
        }
        assert found == expected

    def test_labels_and_features_of_rows_drawn_at_random(
        self, prepared: tuple[matrices.Matrix, Export]
    ) -> None:
        matrix, export = prepared
        days = pd.DatetimeIndex(matrix.cutoff).normalize()
        compared = 0
        for row in random.Random(4).sample(range(len(matrix)), 400):
            who, sunday = matrix.entity[row], days[row].to_pydatetime()
            for name, label in export.labels(who, sunday).items():
                assert (matrix.values[name][row] >= 1) == label, (who, sunday, name)
            for name, value in export.features(who, sunday).items():
                found = matrix.columns[name][row]
                where = (who, sunday, name, found, value)
                if isinstance(value, str):
                    assert found == value, where
                else:
                    assert found == pytest.approx(value, rel=1e-5, abs=1e-5, nan_ok=True), where
                compared += 1
        assert compared == 400 * 17

    def test_a_wrong_window_would_be_seen(self, prepared: tuple[matrices.Matrix, Export]) -> None:
        matrix, export = prepared
        days = pd.DatetimeIndex(matrix.cutoff).normalize()
        later = [
            export.features(matrix.entity[row], days[row].to_pydatetime())["mailing_pressure.count_14d"]
            != export.sent(matrix.entity[row], days[row].to_pydatetime() - 13 * DAY + 7 * DAY, days[row].to_pydatetime() + 8 * DAY)
            for row in range(0, len(matrix), 50)
        ]  # fmt: skip
        assert any(later)


class TestAWholeRun:
    @pytest.fixture(scope="class")
    def run(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        words = (
            f"recipe=email_engagement source.world.size={SMALL.size} source.world.weeks={SMALL.weeks}".split()
        )
        models = ["model=[lightgbm_kbest,logistic,opens_by_rate]", "model.lightgbm_kbest.num_iterations=30"]
        return once(tmp_path_factory.mktemp("run"), {}, *words, *models)

    def test_probabilities_are_in_order_and_better_than_chance(self, run: Path) -> None:
        found = pq.read_table(run / "predictions.parquet").to_pandas().query("part == 'test'")
        chain = [found[f"{name}.probability"] for name in ("acts_7d", "clicks_7d", "opens_7d")]
        assert (chain[0] <= chain[1] + 1e-12).all()
        assert (chain[1] <= chain[2] + 1e-12).all()
        yes, no = (found.loc[found["opens_7d.label"] == label, "opens_7d.score"] for label in (1, 0))
        assert (yes.to_numpy()[:, None] > no.to_numpy()).mean() > 0.75

    def test_the_newest_list_is_of_plans_whose_outcome_nobody_knows(self, run: Path) -> None:
        with (run / "ranked.opens_7d.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        last = datetime(2023, 1, 1) + timedelta(weeks=SMALL.weeks)
        assert {row["snapshot"] for row in rows} == {str(last.date())}
        assert all(row["TOPIC"] and row["reason_1"] for row in rows[:20])

    def test_a_single_row_is_scored_as_in_the_batch(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(run.parent)
        scored, one = in_batch(run), Rows.read(run / "bundle", reasons=2)
        assert differs(one, scored, as_rows(scored)[:60]) <= 1e-9
