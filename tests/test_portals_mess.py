"""Exports of portals as they really come: what each mess must turn into, by the shipped declarations alone.

Every test writes three small files by hand and prepares them with `conf/` as it is shipped. Portal `9` is
there to make the files whole: it is used every day (or every week) and never closes.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import Work
from small import Experiment, config, experiment

from toolkit.bundling import frozen_dataset
from toolkit.config.paths import packaged
from toolkit.errors import ConfigError, DataError, LeakError, UserError
from toolkit.prepare.cutoffs import latest

COUNTS = [f"{what}_{product}" for what in ("ACTIONS", "USERS")
          for product in ("CRM_CONTACTS", "CRM_COMPANIES", "CRM_DEALS", "EMAIL")]  # fmt: skip
FIRST, LAST = date(2020, 1, 6), date(2020, 6, 28)  # a Monday, a Sunday
SUNDAY = date(2020, 3, 8)
COMPANY = {"ALEXA_RANK": "5000", "EMPLOYEE_RANGE": "1 to 5", "INDUSTRY": ""}


def shipped(kind: str, name: str) -> dict[str, Any]:
    return yaml.safe_load((packaged("conf") / kind / f"{name}.yaml").read_text(encoding="utf-8"))


def used(portal: str, *stamps: date | str, actions: int = 10, **counts: int) -> list[dict[str, Any]]:
    """Rows of usage: `actions` of contacts by one person at each stamp."""
    texts = [stamp if isinstance(stamp, str) else f"{stamp} 00:00:00.000" for stamp in stamps]
    usual = {"ACTIONS_CRM_CONTACTS": actions, "USERS_CRM_CONTACTS": 1}
    return [{"id": portal, "WHEN_TIMESTAMP": text} | usual | counts for text in texts]


def days(first: date, last: date, step: int = 1) -> list[date]:
    return [first + timedelta(days=n) for n in range(0, (last - first).days + 1, step)]


def customer(portal: str, closed: Any, mrr: Any = 100, **company: str) -> dict[str, Any]:
    return {"id": portal, "CLOSEDATE": str(closed), "MRR": mrr} | COMPANY | company


def prospect(portal: str, **company: str) -> dict[str, Any]:
    return {"id": portal} | COMPANY | company


def write(
    folder: Path,
    customers: list[dict[str, Any]],
    prospects: list[dict[str, Any]],
    usage: list[dict[str, Any]],
    filler: bool = True,
    step: int = 1,
) -> Path:
    """The three files. filler: portal 9 is used throughout, and portal 8 closes on the last day, when all is known."""
    if filler:
        prospects = [prospect("9"), *prospects]
        customers = [*customers, customer("8", LAST)]
        usage = used("9", *days(FIRST, LAST, step)) + usage
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    columns = ["id", "CLOSEDATE", "MRR", *COMPANY]
    pd.DataFrame(customers, columns=columns).to_csv(data / "customers.csv", index=False)
    pd.DataFrame(prospects, columns=["id", *COMPANY]).to_csv(data / "noncustomers.csv", index=False)
    frame = pd.DataFrame(usage, columns=["id", "WHEN_TIMESTAMP", *COUNTS])
    frame.fillna(0).astype(dict.fromkeys(COUNTS, int)).to_csv(data / "usage_actions.csv", index=False)
    return folder


def prepared(folder: Path, **parts: Any) -> Experiment:
    """The shipped dataset, cohort, target and features over the files in `folder`. parts: others in their place."""
    names = ("usage_windows", "usage_recency", "firmographics")
    cutoffs = {"test": {"cutoffs": 1}, "validation": {"cutoffs": 1}}
    common = {
        "dataset": shipped("dataset", "portals"), "cohort": shipped("cohort", "every_sunday"),
        "target": {"convert_30d": shipped("target", "convert_30d")},
        "features": {name: shipped("features", name) for name in names},
        "split": {"kind": "temporal"} | cutoffs,
    }  # fmt: skip
    return experiment(config(folder, **(common | parts)))


def rows(found: Experiment) -> pd.DataFrame:
    """Portal, Sunday, label, features."""
    matrix = found.prepared.matrix
    sundays = pd.to_datetime(matrix.cutoff).date
    frame = pd.DataFrame({"id": matrix.entity, "sunday": sundays, "label": matrix.values["convert_30d"]})
    return pd.concat([frame, pd.DataFrame(matrix.columns)], axis=1).set_index(["id", "sunday"])


def said(found: Experiment) -> str:
    return "\n".join(found.prepared.found)


class TestTheSunday:
    def test_what_is_used_until_midnight_is_known_and_what_follows_is_not(self, tmp_path: Path) -> None:
        monday = SUNDAY + timedelta(days=1)
        usage = (
            used("1", FIRST) + used("1", f"{SUNDAY} 23:59:00.000", actions=3) + used("1", monday, actions=70)
        )
        at = rows(prepared(write(tmp_path, [], [prospect("1")], usage))).loc["1"]
        assert at.loc[SUNDAY, "usage_windows.ACTIONS_sum_7d"] == 3
        assert at.loc[SUNDAY, "usage_recency.days_since_last"] == 0
        assert at.loc[SUNDAY + timedelta(days=7), "usage_windows.ACTIONS_sum_7d"] == 70
        assert at.loc[SUNDAY + timedelta(days=7), "usage_windows.ACTIONS_sum_14d"] == 73

    @pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
    def test_so_it_is_with_stamps_to_the_microsecond(self, tmp_path: Path, zone: str) -> None:
        """A clock that is no date but an instant, in the cohort's zone."""
        dataset = shipped("dataset", "portals")
        dataset["tables"]["usage_actions"]["columns"]["WHEN_TIMESTAMP"] = {
            "type": "timestamp",
            "timezone": zone,
        }
        monday = SUNDAY + timedelta(days=1)
        usage = used("1", FIRST) + used("1", f"{SUNDAY} 23:59:59.999999", actions=3)
        usage += used("1", f"{monday} 00:00:00.000", actions=70)
        cohort = shipped("cohort", "every_sunday") | {"timezone": zone}
        at = rows(prepared(write(tmp_path, [], [prospect("1")], usage), dataset=dataset, cohort=cohort)).loc[
            "1"
        ]
        values = at["usage_windows.ACTIONS_sum_7d"].to_list()
        assert 3 in values
        assert 70 in values
        assert 73 not in values

    def test_who_closes_on_it_is_out_and_who_closes_after_it_is_a_yes_for_thirty_days(
        self, tmp_path: Path
    ) -> None:
        after = {"1": 0, "2": 1, "3": 30, "4": 31}  # days after the Sunday
        customers = [customer(portal, SUNDAY + timedelta(days=n)) for portal, n in after.items()]
        usage = [row for portal in after for row in used(portal, FIRST)]
        found = rows(prepared(write(tmp_path, customers, [], usage)))
        on_it = found.xs(SUNDAY, level="sunday")["label"]
        assert "1" not in on_it.index
        assert on_it.loc[["2", "3", "4"]].to_list() == [1, 1, 0]
        week_before = found.xs(SUNDAY - timedelta(days=7), level="sunday")["label"]
        assert week_before.loc[["1", "2", "3", "4"]].to_list() == [1, 1, 0, 0]  # seven and eight days ahead
        assert max(found.loc["1"].index) == SUNDAY - timedelta(days=7)  # never a row again

    def test_it_is_the_sunday_that_is_shown(self, tmp_path: Path) -> None:
        found = prepared(write(tmp_path, [], [], []))
        assert {moment.isoweekday() for moment in rows(found).index.get_level_values("sunday")} == {7}

    def test_from_the_first_full_window_to_the_last_complete_horizon(self, tmp_path: Path) -> None:
        sundays = sorted(set(rows(prepared(write(tmp_path, [], [], []))).index.get_level_values("sunday")))
        assert sundays[0] == date(2020, 2, 9)  # 30 days from Monday 6 January end on 4 February
        assert sundays[-1] == date(2020, 5, 24)  # 30 days before 28 June is 29 May
        assert sundays == days(sundays[0], sundays[-1], 7)

    def test_a_day_mistyped_far_ahead_makes_no_horizon_complete(self, tmp_path: Path) -> None:
        files = write(tmp_path, [customer("1", "2099-01-01")], [], used("1", FIRST))
        assert max(rows(prepared(files)).index.get_level_values("sunday")) == date(2020, 5, 24)

    def test_a_closing_that_is_planned_makes_none_complete_either_and_is_said(self, tmp_path: Path) -> None:
        """Of a closing two weeks after the last use nobody knows whether others will close by then."""
        planned = customer("1", LAST + timedelta(days=14))
        found = prepared(write(tmp_path / "one", [planned], [], used("1", FIRST)))
        assert max(rows(found).index.get_level_values("sunday")) == date(2020, 5, 24)
        line = "closings: rows reach to 2020-07-12, later than `usage_actions`, which ends on 2020-06-28"
        assert line in said(found)
        assert line not in said(prepared(write(tmp_path / "none", [], [], [])))
        dataset = shipped("dataset", "portals")
        dataset["tables"]["closings"]["observed_until"] = "2020-07-12"
        declared = prepared(tmp_path / "one", dataset=dataset)
        assert max(rows(declared).index.get_level_values("sunday")) == date(2020, 6, 7)
        assert line not in said(declared)

    @pytest.mark.parametrize("table", ["customers", "usage_actions"])
    def test_dates_in_another_form_are_named_with_an_example(self, tmp_path: Path, table: str) -> None:
        path = write(tmp_path, [], [], []) / "data" / f"{table}.csv"
        frame = pd.read_csv(path, dtype=str)
        column = "CLOSEDATE" if table == "customers" else "WHEN_TIMESTAMP"
        frame[column] = pd.to_datetime(frame[column]).dt.strftime("%m/%d/%Y")
        frame.to_csv(path, index=False)
        with pytest.raises(DataError) as error:
            prepared(tmp_path)
        count = len(frame)
        assert error.value.what == (
            f"{count} of {count} rows of `{table}.csv` were set aside: `{column}` is not a date, "
            f"for example `{frame[column][0]}`"
        )
        assert "`format: '%m/%d/%Y'`" in str(error.value.fix)

    def test_closings_before_all_usage_leave_no_sunday_and_the_error_says_what_limits(
        self, tmp_path: Path
    ) -> None:
        closed = [customer("8", FIRST + timedelta(days=3))]
        files = write(tmp_path, closed, [prospect("9")], used("9", *days(FIRST, LAST)), filler=False)
        with pytest.raises(DataError, match="no cutoff fits") as error:
            prepared(files)
        why = str(error.value.why)
        assert "2020-02-05, 30 days after `usage_actions` begins" in why
        assert (
            "`closings`, which ends on 2020-01-09: the last with 30 days after it is about 2019-12-11" in why
        )

    def test_the_newest_list_is_of_the_last_sunday_that_is_over(self, tmp_path: Path) -> None:
        usage = used("9", *days(FIRST, date(2020, 7, 1)))  # a Wednesday
        found = prepared(write(tmp_path, [customer("8", LAST)], [prospect("9")], usage, filler=False))
        moment = latest(found.config.cohort, found.prepared.tables)
        assert moment == datetime(2020, 6, 28, 23, 59, 59, 999999)


class TestStampsOfWeeks:
    """Called daily, stamped weekly: a stamp is the beginning of its week, so the row is known when that is over."""

    SUNDAYS = date(2020, 1, 5)  # weeks that begin on a Sunday, the day of the cutoff

    def files(self, folder: Path, first: date) -> Path:
        stamps = days(first, LAST, 7)
        usage = used("9", *stamps) + used("1", first) + used("1", first + timedelta(days=70), actions=500)
        return write(folder, [customer("8", LAST)], [prospect("9"), prospect("1")], usage, filler=False)

    def test_weeks_from_monday_are_known_at_the_end_of_their_sunday(self, tmp_path: Path) -> None:
        found = prepared(self.files(tmp_path, FIRST))
        at = rows(found).loc["1"]
        monday = FIRST + timedelta(days=70)
        assert at.loc[monday - timedelta(days=1), "usage_windows.ACTIONS_sum_7d"] == 0
        assert at.loc[monday + timedelta(days=6), "usage_windows.ACTIONS_sum_7d"] == 500
        assert at.loc[monday + timedelta(days=6), "usage_recency.days_since_last"] == 0
        assert "every stamp is a Monday" in said(found)
        assert "totals of the 7 days from their stamp on" in said(found)

    @pytest.mark.parametrize(("covers", "seen"), [("auto", 0), ("7 days", 0), (None, 500)])
    def test_a_week_that_begins_on_the_cutoff_is_not_seen_by_it(
        self, tmp_path: Path, covers: str | None, seen: int
    ) -> None:
        """The last case shows what `covers` prevents: without it, the coming week is known on its first day."""
        dataset = shipped("dataset", "portals")
        dataset["tables"]["usage_actions"]["covers"] = covers
        found = prepared(self.files(tmp_path, self.SUNDAYS), dataset=dataset)
        sunday = self.SUNDAYS + timedelta(days=70)
        assert rows(found).loc[("1", sunday), "usage_windows.ACTIONS_sum_7d"] == seen
        if covers is None:
            assert "declare `covers: 7 days`" in said(found)

    def test_days_are_days(self, tmp_path: Path) -> None:
        found = prepared(write(tmp_path, [], [], []))
        assert found.prepared.tables["usage_actions"].covers is None
        assert "every stamp" not in said(found)

    def test_what_was_found_is_what_is_scored_with(self, tmp_path: Path) -> None:
        """A folder with one new week says nothing of a rhythm: the bundle has it written down."""
        found = prepared(self.files(tmp_path, FIRST))
        frozen = frozen_dataset(found.config.dataset, found.prepared.tables)
        assert frozen.tables["usage_actions"].covers == "7 days"
        assert frozen.tables["closings"].covers is None

    @pytest.mark.parametrize(("stray", "told"), [(3, True), (12, False), (0, False)])
    def test_nearly_all_on_one_weekday_is_taken_as_days_and_said(
        self, tmp_path: Path, stray: int, told: bool
    ) -> None:
        stamps = days(FIRST, LAST, 7)
        usage = [row for portal in ("1", "2", "9") for row in used(portal, *stamps)]
        usage += [row for n in range(stray) for row in used("1", FIRST + timedelta(days=7 * n + 2))]
        people = [prospect(portal) for portal in ("1", "2", "9")]
        closed = [customer("8", LAST - timedelta(days=7))]
        found = prepared(write(tmp_path, closed, people, usage, filler=False))
        line = "96.2% of the stamps are a Monday (25 different days), others too: rows are taken as daily"
        assert (line in said(found)) == told
        assert (found.prepared.tables["usage_actions"].covers is None) == (stray > 0)


class TestRecency:
    def test_a_quarter_counts_as_long_and_never_is_missing(self, tmp_path: Path) -> None:
        """What lies further back is no longer ago: otherwise portals that left long ago top the list."""
        features = {name: shipped("features", name) for name in ("usage_recency", "usage_growth")}
        usage = used("1", FIRST, FIRST + timedelta(days=10))
        at = rows(prepared(write(tmp_path, [], [prospect("1")], usage), features=features)).loc["1"]
        ago = at["usage_recency.days_since_last"]
        assert ago.loc[date(2020, 2, 9)] == 24
        assert ago.loc[date(2020, 5, 24)] == 90  # and not 129
        assert (at["usage_recency.contacts_days_since_last"] == ago).all()
        assert at["usage_recency.deals_days_since_last"].isna().all()
        assert at["usage_growth.tenure_days"].loc[date(2020, 2, 9)] == 34
        assert at["usage_growth.tenure_days"].max() == 90


class TestRowsThatStandTwice:
    def test_are_used_once_and_set_aside(self, tmp_path: Path) -> None:
        twice = used("1", SUNDAY, actions=7)
        other = used("1", SUNDAY, actions=5)  # of the same portal and day, and no repetition
        found = prepared(write(tmp_path, [], [prospect("1")], used("1", FIRST) + twice + other + twice))
        assert rows(found).loc[("1", SUNDAY), "usage_windows.ACTIONS_sum_7d"] == 12
        table = found.prepared.tables["usage_actions"]
        assert table.reasons == {"repeats an earlier row in every cell": 1}
        assert len(pd.read_parquet(table.rejected)) == 1
        assert "rows that repeat an earlier one in every cell: 1; they are set aside" in said(found)
        dataset = shipped("dataset", "portals")
        dataset["tables"]["usage_actions"]["repeats"] = "keep"
        kept = prepared(tmp_path, dataset=dataset)
        assert rows(kept).loc[("1", SUNDAY), "usage_windows.ACTIONS_sum_7d"] == 19
        assert "rows that repeat an earlier one in every cell: 1; if these are none" in said(kept)


class TestTheLastWeek:
    MANY = [str(number) for number in range(100, 140)]

    def files(self, folder: Path, step: int, last: int, actions: int) -> Path:
        """Forty portals; in the last period `last` of them, with so many actions each."""
        stamps = days(FIRST, LAST - timedelta(days=6 if step == 7 else 0), step)
        usage = [row for portal in self.MANY for row in used(portal, *stamps[:-1])]
        usage += [row for portal in self.MANY[:last] for row in used(portal, stamps[-1], actions=actions)]
        people = [prospect(portal) for portal in self.MANY]
        closed = [customer("7", LAST - timedelta(days=8)), customer("8", LAST)]
        return write(folder, closed, people, usage, filler=False)

    @pytest.mark.parametrize(
        ("step", "last", "actions", "kept"),
        [(7, 40, 10, True), (7, 38, 9, True), (7, 12, 10, False), (7, 40, 4, False), (1, 40, 10, True), (1, 11, 10, False)],
    )  # fmt: skip
    def test_is_set_aside_if_it_is_not_over(
        self, tmp_path: Path, step: int, last: int, actions: int, kept: bool
    ) -> None:
        table = prepared(self.files(tmp_path, step, last, actions)).prepared.tables["usage_actions"]
        assert (table.rows_rejected == 0) == kept
        assert table.rows_rejected in (0, last)
        assert table.rows_read == table.rows_kept + table.rows_rejected
        assert any("incomplete" in reason for reason in table.reasons) != kept

    def test_otherwise_it_is_said(self, tmp_path: Path) -> None:
        dataset = shipped("dataset", "portals")
        dataset["tables"]["usage_actions"]["incomplete_end"] = "keep"
        found = prepared(self.files(tmp_path, 7, 12, 10), dataset=dataset)
        assert found.prepared.tables["usage_actions"].rows_rejected == 0
        assert "declare `incomplete_end: drop`" in said(found)


class TestIds:
    def test_that_overlap_or_repeat_are_accounted_for_row_by_row(self, tmp_path: Path) -> None:
        customers = [customer("1", "2020-03-10"), customer("1", "2020-05-01"), customer("2", "2020-04-01")]
        prospects = [prospect("2"), prospect("3"), prospect("3"), prospect("03")]
        usage = [row for portal in ("1", "2", "3", "03") for row in used(portal, FIRST)]
        found = prepared(write(tmp_path, customers, prospects, usage))
        table = found.prepared.tables["portals"]
        assert table.files == {"customers.csv": 4, "noncustomers.csv": 5}
        assert table.reasons == {
            "a row of customers.csv: its key (id) stands in an earlier row of customers.csv already": 1,
            "a row of noncustomers.csv: its key (id) stands in customers.csv already": 1,
            "a row of noncustomers.csv: its key (id) stands in an earlier row of noncustomers.csv already": 1,
        }
        assert table.rows_read == 9 == table.rows_kept + table.rows_rejected
        assert "portals: read from customers.csv (4 rows) and noncustomers.csv (5 rows)" in said(found)
        at = rows(found)
        assert max(at.loc["1"].index) == date(2020, 3, 8)  # the first of its two closings ends it
        assert at.loc[("2", date(2020, 3, 29)), "label"] == 1  # a customer, wherever else it stands
        assert at.loc["3", "label"].sum() == 0
        assert len(at.loc["03"]) == len(at.loc["3"])  # and 03 is not 3

    def test_rows_set_aside_keep_their_file_and_place(self, tmp_path: Path) -> None:
        found = prepared(write(tmp_path, [customer("1", "2020-03-10")], [prospect("1")], used("1", FIRST)))
        rejected = pd.read_parquet(found.prepared.tables["portals"].rejected)
        assert rejected[["@row", "@file", "id"]].values.tolist() == [[2, "noncustomers.csv", "1"]]

    def test_usage_of_portals_in_neither_file_is_counted(self, tmp_path: Path) -> None:
        found = prepared(write(tmp_path, [], [], used("77", FIRST, SUNDAY)))
        assert "usage_actions: 2 rows are of 1 keys that table `portals` does not have" in said(found)
        assert "77" not in rows(found).index.get_level_values("id")

    def test_and_so_is_usage_of_nobody(self, tmp_path: Path) -> None:
        found = prepared(write(tmp_path, [], [], used("", FIRST, SUNDAY, LAST)))
        assert "usage_actions: 3 rows say no key in `id`" in said(found)

    @pytest.mark.parametrize(
        ("form", "words"),
        [
            ("{}.0", "`.0` at the end"),
            ("00{}", "leading zeros"),
            ("00{}.0", "leading zeros and `.0` at the end"),
        ],
    )
    def test_that_are_written_otherwise_are_named(self, tmp_path: Path, form: str, words: str) -> None:
        files = write(tmp_path, [customer("1", "2020-03-10")], [], used("1", FIRST))
        path = files / "data" / "customers.csv"
        frame = pd.read_csv(path, dtype=str)
        path_of_all = files / "data" / "noncustomers.csv"
        frame["id"] = [form.format(key) for key in frame["id"]]
        frame.to_csv(path, index=False)
        line = f"1 of these keys differ from one there only by {words} (`1` here, `{form.format('1')}` in `portals`)"
        found = prepared(files)  # half of the keys match: 9 is written as ever
        assert line in said(found)
        with pytest.raises(DataError, match="is always no in all") as error:
            found.run()
        assert line in str(error.value.why)
        everyone = pd.read_csv(path_of_all, dtype=str)
        everyone["id"] = [form.format(key) for key in everyone["id"]]
        everyone.to_csv(path_of_all, index=False)
        with pytest.raises(DataError, match="the cohort has no rows") as error:
            prepared(files)
        assert f"2 of these keys differ from one there only by {words}" in str(error.value.why)

    def test_real_strangers_are_not_said_to_be_written_otherwise(self, tmp_path: Path) -> None:
        found = prepared(write(tmp_path, [], [], used("77", FIRST)))
        assert "1 keys that table `portals` does not have, and are not used" in said(found)
        assert "differ from one there" not in said(found)

    def test_names_of_columns_in_other_letters_are_read_and_said(self, tmp_path: Path) -> None:
        files = write(tmp_path, [customer("1", "2020-03-10")], [], used("1", FIRST))
        before = rows(prepared(files))
        path = files / "data" / "noncustomers.csv"
        head, rest = path.read_text().split("\n", 1)
        path.write_text(f"{head.lower().replace('id', 'ID')}\n{rest}")
        usage = files / "data" / "usage_actions.csv"
        head, rest = usage.read_text().split("\n", 1)
        usage.write_text(f"{head.lower()}\n{rest}")
        found = prepared(files)
        pd.testing.assert_frame_equal(rows(found), before)
        assert "portals: `ID` of noncustomers.csv is read as `id`" in said(found)
        assert "usage_actions: `when_timestamp` of usage_actions.csv is read as `WHEN_TIMESTAMP`" in said(
            found
        )
        path.write_text(path.read_text().replace("industry", "industry,INDUSTRY", 1))
        with pytest.raises(DataError, match="has the column `INDUSTRY` twice"):
            prepared(files)

    def test_a_column_that_neither_file_has(self, tmp_path: Path) -> None:
        files = write(tmp_path, [], [], [])
        dataset = shipped("dataset", "portals")
        dataset["tables"]["portals"]["columns"]["CITY"] = "text"
        with pytest.raises(DataError, match=r"neither `customers\.csv` nor `noncustomers\.csv` has a column"):
            prepared(files, dataset=dataset)

    def test_a_file_without_ids_is_an_error(self, tmp_path: Path) -> None:
        write(tmp_path, [], [], [])
        path = tmp_path / "data" / "noncustomers.csv"
        path.write_text(path.read_text().replace("id,", "portal,", 1))
        with pytest.raises(DataError, match=r"`noncustomers.csv` has no column `id`"):
            prepared(tmp_path)


class TestClosings:
    @pytest.mark.parametrize("cell", ["", "pending", "0000-00-00"])
    def test_without_a_date_are_neither_customer_nor_prospect(self, tmp_path: Path, cell: str) -> None:
        usage = used("1", FIRST) + used("2", FIRST)
        files = write(tmp_path, [customer("1", cell), customer("2", "2020-04-01")], [], usage)
        found = prepared(files)
        assert "1" not in rows(found).index.get_level_values("id")
        assert (
            "entities left out of the cohort at every cutoff, since a row of theirs was rejected: 1"
            in said(found)
        )
        assert found.prepared.tables["closings"].rows_rejected == 1
        dataset = shipped("dataset", "portals")
        dataset["tables"]["closings"]["on_bad_row"] = "drop"
        dropped = rows(prepared(files, dataset=dataset)).loc["1", "label"]
        assert (dropped == 0).all()  # what it would silently have been: a portal that never closed
        assert len(dropped)

    def test_with_zero_or_negative_money_are_closings_all_the_same(self, tmp_path: Path) -> None:
        customers = [customer("1", "2020-03-10", 0), customer("2", "2020-03-10", -50), customer("3", "2020-03-10", "free"),
                     customer("4", "2020-03-10", 70)]  # fmt: skip
        usage = [row for portal in "1234" for row in used(portal, FIRST)]
        found = prepared(write(tmp_path, customers, [], usage))
        assert rows(found).xs(SUNDAY, level="sunday").loc[list("1234"), "label"].to_list() == [1, 1, 1, 1]
        assert "MRR is zero or negative: 2 rows" in said(found)
        assert "`MRR` is not a number, and so is missing: 1 rows" in said(found)
        assert set(found.prepared.matrix.worth["convert_30d"]) == {0.0, 70.0}

    def test_usage_after_them_reaches_no_feature_and_is_counted(self, tmp_path: Path) -> None:
        closed = date(2020, 4, 15)
        before = used("1", *days(FIRST, date(2020, 4, 1)))
        after = used("1", *days(closed + timedelta(days=1), LAST), actions=9999)
        found = prepared(write(tmp_path / "with", [customer("1", closed)], [], before + after))
        assert (
            f"usage_actions: {len(after)} rows became known after their entity's first row in `closings`"
            in said(found)
        )
        alone = prepared(write(tmp_path / "without", [customer("1", closed)], [], before))
        pd.testing.assert_frame_equal(rows(found), rows(alone))

    def test_of_portals_that_never_were_a_row_are_counted(self, tmp_path: Path) -> None:
        first, last = date(2020, 2, 9), date(2020, 5, 24)  # Sundays
        unused = [
            customer(str(n), day) for n, day in enumerate([first, first + timedelta(days=1), last], 100)
        ]
        zeros = used("101", FIRST, actions=0, USERS_CRM_CONTACTS=0)  # a row, and no use
        seen = [customer("1", SUNDAY), customer("2", SUNDAY)]
        usage = used("1", FIRST) + used("2", SUNDAY - timedelta(days=1)) + zeros
        found = said(prepared(write(tmp_path / "some", [*seen, *unused], [prospect("3")], usage)))
        assert (
            "closings: 5 of 6 entities with a row in it are in the cohort at no cutoff, so that no label counts them "
            "(first row up to the first cutoff: 1, between the first and the last: 3, after the last: 1)"
        ) in found  # 2 closes before the first Sunday after its first use, 8 was never used
        usage += used("8", FIRST)
        found = said(prepared(write(tmp_path / "none", seen[:1], [prospect("3")], usage)))
        assert "at no cutoff" not in found  # control: 1 and 8 were rows before

    def test_a_portal_is_known_from_its_first_use_on(self, tmp_path: Path) -> None:
        found = rows(prepared(write(tmp_path, [], [prospect("1")], used("1", SUNDAY))))
        assert min(found.loc["1"].index) == SUNDAY


class TestWhatOnlyCustomersHave:
    def with_column(self, name: str, kind: str) -> dict[str, Any]:
        dataset = shipped("dataset", "portals")
        dataset["tables"]["portals"]["columns"][name] = kind
        return dataset

    def files(self, folder: Path) -> Path:
        return write(folder, [customer("1", "2020-03-10")], [], used("1", FIRST))

    @pytest.mark.parametrize(("column", "kind"), [("CLOSEDATE", "date"), ("MRR", "number")])
    def test_is_no_column_of_a_portal_and_refused_where_it_is_made_one(
        self, tmp_path: Path, column: str, kind: str
    ) -> None:
        files = self.files(tmp_path)
        firm = {"firm": {"kind": "attributes", "table": "portals", "columns": [column]}}
        with pytest.raises(UserError, match=f"`portals` has no column `{column}`"):
            prepared(files, features=firm)
        with pytest.raises(LeakError, match=f"made of `portals.{column}`"):
            prepared(files, features=firm, dataset=self.with_column(column, kind))
        hidden = self.with_column(column, kind)
        hidden["tables"]["portals"]["derive"]["paying"] = f"{column} is not null"
        firm["firm"]["columns"] = ["paying"]
        with pytest.raises(LeakError, match=f"made of `portals.{column}`"):
            prepared(files, features=firm, dataset=hidden)
        cohort = shipped("cohort", "every_sunday") | {"where": f"{column} is not null"}
        with pytest.raises(LeakError, match=f"rows are chosen by `portals.{column}`"):
            prepared(files, cohort=cohort, dataset=self.with_column(column, kind))

    def test_is_left_out_of_all_columns(self, tmp_path: Path) -> None:
        firm = {"firm": {"kind": "attributes", "table": "portals", "columns": "all"}}
        dataset = self.with_column("MRR", "number")
        found = prepared(self.files(tmp_path), features=firm, dataset=dataset)
        assert "firm.MRR" not in found.prepared.matrix.columns
        assert "firm.EMPLOYEES" in found.prepared.matrix.columns
        assert "`MRR` is in customers.csv only" in said(found)

    def test_the_table_of_closings_shows_a_feature_nothing(self, tmp_path: Path) -> None:
        """Nobody in the cohort has closed: a feature of that table, if somebody declares one, is empty."""
        node = {
            "kind": "windows",
            "table": "closings",
            "features": [{"agg": "count"}, {"agg": "max", "column": "MRR"}],
        }
        found = rows(prepared(self.files(tmp_path), features={"c": node}))
        assert (found["c.count_all"] == 0).all()
        assert found["c.MRR_max_all"].isna().all()


class TestFirmographics:
    @pytest.mark.parametrize(
        ("text", "middle"),
        [("1 to 5", 3), ("6 to 10", 8), ("201 to 1000", 600.5), ("1,001 to 10,000", 5500.5), ("10,001 or more", 10001),
         ("1.001 to 10.000", 5500.5), ("1.000.000 or more", 1e6), ("1", 1), ("51-200", 125.5), ("", None), ("Unknown", None), ("many", None)],
    )  # fmt: skip
    def test_ranges_are_their_middle(self, tmp_path: Path, text: str, middle: float | None) -> None:
        people = [prospect("1", EMPLOYEE_RANGE=text)]
        found = prepared(write(tmp_path, [], people, used("1", FIRST)))
        row = rows(found).loc["1"].iloc[0]
        assert row["firmographics.EMPLOYEES_UNKNOWN"] == (middle is None)
        assert row["firmographics.EMPLOYEES"] == middle or (
            middle is None and np.isnan(row["firmographics.EMPLOYEES"])
        )
        assert ("EMPLOYEE_RANGE without a number: 1 rows" in said(found)) == (text == "many")

    def test_ranges_stand_in_their_order(self, tmp_path: Path) -> None:
        order = [
            "1 to 5",
            "6 to 10",
            "11 to 25",
            "26 to 50",
            "51 to 200",
            "201 to 1000",
            "1,001 to 10,000",
            "10,001 or more",
        ]
        people = [prospect(str(n), EMPLOYEE_RANGE=text) for n, text in enumerate(order, 100)]
        usage = [row for person in people for row in used(person["id"], FIRST)]
        found = (
            rows(prepared(write(tmp_path, [], people, usage)))["firmographics.EMPLOYEES"].unstack().iloc[:, 0]
        )
        assert found.drop("9").is_monotonic_increasing

    @pytest.mark.parametrize(("cell", "ranked"), [("16000001", False), ("16000001.0", False), ("", False), ("15999999", True), ("-1", False), ("n/a", False)])  # fmt: skip
    def test_unranked_is_no_rank(self, tmp_path: Path, cell: str, ranked: bool) -> None:
        found = prepared(write(tmp_path, [], [prospect("1", ALEXA_RANK=cell)], used("1", FIRST)))
        row = rows(found).loc["1"].iloc[0]
        assert row["firmographics.UNRANKED"] == (not ranked)
        assert np.isnan(row["firmographics.LOG_RANK"]) == (not ranked)
        assert ("`ALEXA_RANK` is not a number, and so is missing: 1 rows" in said(found)) == (cell == "n/a")
        assert ("ALEXA_RANK is negative, and so no rank: 1 rows" in said(found)) == (cell == "-1")


class TestTheAudit:
    def outcome(self, folder: Path, told: bool) -> list[Any]:
        """Three hundred portals of which sixty close; told: ids by outcome, and an industry where it is."""
        rng = np.random.default_rng(0)
        number = np.arange(300) if told else rng.permutation(300)
        customers, prospects, usage = [], [], []
        for n in range(300):
            portal = str(1000 + number[n])
            industry = "Software" if (n < 60 if told else rng.random() < 0.2) else ""
            closes = date(2020, 2, 12) + timedelta(days=int(rng.integers(0, 130)))
            if n < 60:
                customers.append(customer(portal, closes, INDUSTRY=industry))
            else:
                prospects.append(prospect(portal, INDUSTRY=industry))
            usage += used(
                portal,
                FIRST,
                FIRST + timedelta(days=int(rng.integers(1, 25))),
                actions=int(rng.integers(1, 50)),
            )
        found = prepared(write(folder, customers, prospects, usage), split={"kind": "temporal"})
        return found.run().findings

    def test_names_ids_whose_range_tells_and_what_is_filled_in_for_customers(self, tmp_path: Path) -> None:
        findings = {(finding.kind, finding.feature) for finding in self.outcome(tmp_path, told=True)}
        assert ("key", "@key") in findings
        assert {name for kind, name in findings if kind == "missingness"} & {
            "firmographics.INDUSTRY", "firmographics.INDUSTRY_UNKNOWN"
        } or ("single column", "firmographics.INDUSTRY_UNKNOWN") in findings  # fmt: skip

    def test_says_nothing_where_they_do_not(self, tmp_path: Path) -> None:
        findings = {finding.feature for finding in self.outcome(tmp_path, told=False)}
        assert not findings & {"@key", "firmographics.INDUSTRY", "firmographics.INDUSTRY_UNKNOWN"}


class TestDeclarations:
    def test_paths_are_variables(self, tmp_path: Path, work: Work) -> None:
        """`dataset.root` and `source=folder source.path` say the same."""
        write(
            tmp_path / "export",
            [customer("1", "2020-03-10")],
            [prospect("2")],
            used("1", FIRST) + used("2", FIRST),
        )
        short = ("split.test.cutoffs=1", "split.validation.cutoffs=1", "engine.threads=1")
        root = work.run("plan", "recipe=prospect_conversion", f"dataset.root={tmp_path}/export/data", *short)
        path = work.run(
            "plan",
            "recipe=prospect_conversion",
            "source=folder",
            f"source.path={tmp_path}/export/data",
            *short,
        )
        assert root.code == path.code == 0, root.err + path.err
        assert root.out == path.out
        assert "read from customers.csv (2 rows) and noncustomers.csv (2 rows)" in root.out
        assert "2020-05-24: " in root.out

    def test_a_table_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        cohort = shipped("cohort", "every_sunday")
        cohort["cutoffs"]["observed_in"] = "usage_action"
        with pytest.raises(Exception, match="usage_action"):
            prepared(write(tmp_path, [], [], []), cohort=cohort)

    @pytest.mark.parametrize(
        ("table", "wrong"),
        [({"read": []}, "at least one"), ({"read": ["a", "a"]}, "each once"), ({"read": ["a", "b"], "key": "@row"}, "one file"),
         ({"known": "always", "covers": "7 days"}, "`covers` goes with a `clock`"),
         ({"on_bad_row": "leave_out"}, "needs an `entity`"), ({"repeats": "drop"}, "without a `key`")],
    )  # fmt: skip
    def test_what_does_not_go_together(self, table: dict[str, Any], wrong: str) -> None:
        from toolkit.config.tables import Table

        with pytest.raises(ValueError, match=wrong):
            Table.model_validate({"key": "id", "known": "always", "columns": {"id": "text"}} | table)

    def test_a_remark_over_a_column_that_is_not_there(self, tmp_path: Path) -> None:
        dataset = shipped("dataset", "portals")
        dataset["tables"]["closings"]["remarks"] = {"odd": "MRRR < 0"}
        with pytest.raises(ConfigError, match="MRRR"):
            prepared(write(tmp_path, [], [], []), dataset=dataset)
