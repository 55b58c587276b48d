"""The mailing world: the same for the same seed, of the shape it documents, and with a truth that is true."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from toolkit.errors import DataError
from toolkit.simulate import mailings
from toolkit.simulate.mailings import MailingWorld, reached

WORLD = MailingWorld(size=600, weeks=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mailings")
    mailings.simulate(WORLD, path)
    return path


def table(folder: Path, name: str) -> pd.DataFrame:
    stamps = {
        "sends": ["planned_at", "send_at"],
        "responses": ["occurred_at", "sent_at"],
        "recipients": ["joined_at"],
    }
    return pd.read_csv(folder / f"{name}.csv", parse_dates=stamps[name])


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*.*"))
    }


class TestWhatIsExported:
    def test_the_same_world_gives_the_same_bytes_and_another_seed_others(self, tmp_path: Path) -> None:
        small = MailingWorld(size=150, weeks=14)
        for name, world in {"a": small, "b": small, "c": small.model_copy(update={"seed": 1})}.items():
            mailings.simulate(world, tmp_path / name)
        assert digests(tmp_path / "a") == digests(tmp_path / "b")
        assert digests(tmp_path / "a")["responses.csv"] != digests(tmp_path / "c")["responses.csv"]

    def test_plans_are_known_before_their_week_and_at_most_one_a_week(self, folder: Path) -> None:
        sends = table(folder, "sends")
        assert (sends["planned_at"].dt.dayofweek == 4).all()
        assert (sends["planned_at"] < sends["send_at"]).all()
        assert (sends["send_at"] - sends["planned_at"] < timedelta(days=10)).all()
        week = sends["send_at"].dt.to_period("W-SUN")
        assert not sends.assign(week=week).duplicated(["recipient_id", "week"]).any()
        assert sends["send_id"].is_unique

    def test_nobody_is_mailed_before_they_join(self, folder: Path) -> None:
        both = table(folder, "sends").merge(table(folder, "recipients"), on="recipient_id")
        assert (both["send_at"] >= both["joined_at"]).all()

    def test_responses_follow_their_mailing_and_each_other_and_none_is_of_the_future(
        self, folder: Path
    ) -> None:
        responses = table(folder, "responses")
        assert (responses["occurred_at"] > responses["sent_at"]).all()
        steps = responses.pivot(index="send_id", columns="event", values="occurred_at")
        clicked = steps[steps["click"].notna()]
        assert (clicked["open"] <= clicked["click"]).all()
        assert steps.loc[steps["action"].notna(), "click"].notna().all()
        assert responses["occurred_at"].max() <= pd.Timestamp("2023-01-02 09:00") + timedelta(
            weeks=WORLD.weeks
        )

    def test_fewer_open_on_holidays_and_the_tired_open_less(self, folder: Path) -> None:
        truth = pd.read_parquet(folder / "truth" / "chances.parquet")
        sends = truth.assign(
            day=pd.Timestamp("2023-01-02") + pd.to_timedelta(7 * truth["week"] + truth["sent"] // 24, "D")
        )
        off = sends["day"].isin(pd.to_datetime(["2023-05-29", "2023-06-19", "2023-07-04", "2023-09-04"]))
        assert 10 < off.sum() < len(sends) / 10
        assert sends.loc[off, "open"].mean() < sends.loc[~off, "open"].mean() - 0.05


class TestTheTruth:
    def test_its_chances_are_as_frequent_as_they_say(self, folder: Path) -> None:
        found = pd.concat(
            [mailings.ceiling(folder, date(2023, 4, 2) + timedelta(weeks=w), 20) for w in range(20)]
        )
        for chance, happened in (("open", "opened"), ("click", "clicked"), ("action", "acted")):
            error = np.sqrt((found[chance] * (1 - found[chance])).sum()) / len(found)
            late = 0.01  # of the mailing before, which the chance leaves out
            assert -3 * error < found[happened].mean() - found[chance].mean() < 3 * error + late, chance
            tenth = pd.qcut(found[chance].rank(method="first"), 5, labels=False)
            gaps = found.groupby(tenth)[[chance, happened]].mean()
            assert (gaps[happened] - gaps[chance]).abs().max() < 0.05

    def test_what_happened_is_what_the_responses_say(self, folder: Path) -> None:
        sunday = date(2023, 6, 4)
        found = mailings.ceiling(folder, sunday, 2).set_index("recipient_id")
        responses = table(folder, "responses")
        begin = pd.Timestamp(sunday) + timedelta(days=1)
        week = responses[
            (responses["occurred_at"] >= begin) & (responses["occurred_at"] < begin + timedelta(days=7))
        ]
        assert set(found.index[found["opened"] == 1]) == set(week["recipient_id"]) & set(found.index)
        acted = week.loc[week["event"] == "action", "recipient_id"]
        assert set(found.index[found["acted"] == 1]) == set(acted) & set(found.index)
        planned = table(folder, "sends")
        due = planned["send_at"].between(begin, begin + timedelta(days=7), inclusive="left")
        assert set(found.index) == set(planned.loc[due, "recipient_id"])

    def test_a_perfect_reader_is_better_than_the_open_rate(self, folder: Path) -> None:
        found = mailings.ceiling(folder, date(2023, 9, 3))
        responses = table(folder, "responses").query("event == 'open' and occurred_at < '2023-09-04'")
        rate = found["recipient_id"].map(responses["recipient_id"].value_counts()).fillna(0)
        assert (
            reached(found["open"], found["opened"])["roc_auc"]
            > reached(rate, found["opened"])["roc_auc"]
            > 0.7
        )

    @pytest.mark.parametrize(
        "day", [date(2023, 6, 5), date(2022, 12, 25), date(2023, 10, 8), date(2030, 1, 6)]
    )
    def test_a_day_without_truth_is_refused(self, folder: Path, day: date) -> None:
        with pytest.raises(DataError, match="no truth for"):
            mailings.ceiling(folder, day)

    def test_so_is_a_folder_without_a_world(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no whole simulated world"):
            mailings.ceiling(tmp_path, date(2023, 6, 4))


class TestWhatAPerfectReaderReaches:
    def test_by_hand(self) -> None:
        found = reached(np.array([0.9, 0.8, 0.8, 0.3, 0.1]), np.array([1, 1, 0, 1, 0]))
        assert found["roc_auc"] == pytest.approx(
            (2 + 1.5 + 1) / 6
        )  # pairs of a yes and a no, a tie counting half
        assert (found["precision"], found["recall"]) == (0.75, 1.0)  # the first four: F1 6/7
        assert found["recall_at_85"] == pytest.approx(1 / 3)  # only the first row is so precise
        assert found["precision_at_80"] == 0.75
