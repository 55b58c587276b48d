"""Panels of days (or weeks, or hours): every step against an oracle in plain Python; bad data, and what is refused.

The worlds (see `worlds`) hold rows exactly at the edges of days, rows known late or in advance, missing
values, summer time that begins and ends inside a panel, and entities without a row.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlglot
from dateutil.relativedelta import relativedelta
from oracle import Oracle, Row, Test
from small import LIGHTGBM, dated, experiment, people, quiet
from sqlglot import exp
from test_sequences import CHEAP, Case, events_of, late_visits, same
from test_sequences import VISITS as STORED
from worlds import Made, dataset, declare, make, shifted, tiny, world

from toolkit import plan
from toolkit.config.tables import Dataset
from toolkit.data import sql
from toolkit.data.cache import Cache
from toolkit.errors import ConfigError, LeakError
from toolkit.prepare import matrix as matrices
from toolkit.proof import all_proofs
from toolkit.scoring import history

WORLDS = {  # zone, cutoffs; near the turns of summer time
    "utc": (21, "UTC", ["2023-03-01", "2024-02-29", "2024-12-31"]),
    "berlin": (22, "Europe/Berlin", ["2024-04-02", "2024-10-29", "2024-11-01T06:30"]),
    "new_york": (23, "America/New_York", ["2024-03-12", "2024-11-05", "2025-02-28"]),
}  # fmt: skip
EVERY = {"1 day": relativedelta(days=1), "1 week": relativedelta(days=7), "12h": relativedelta(hours=12)}
FIVE = {
    "n": {"agg": "count"},
    "cheap": {"agg": "count", "where": CHEAP[0], "fill": "missing"},
    "spent": {"agg": "sum", "column": "amount"},
    "known_sum": {"agg": "sum", "column": "amount", "fill": "missing"},
    "mean": {"agg": "mean", "column": "amount"},
    "held": {"agg": "mean", "column": "amount", "fill": "last", "where": CHEAP[0]},
    "top": {"agg": "max", "column": "amount", "fill": -1},
    "low": {"agg": "min", "column": "amount", "fill": "last"},
    "spread": {"agg": "std", "column": "amount", "fill": "zero"},
    "kinds": {"agg": "nunique", "column": "kind"},
    "kind": {"agg": "last", "column": "kind", "fill": "last"},
    "began": {"agg": "first", "column": "kind"},
    "newest": {"agg": "last", "column": "amount"},
    "any": {"agg": "exists", "where": CHEAP[0]},
}  # fmt: skip
ASKED: dict[str, dict[str, Any]] = {
    "orders": {"table": "orders", "last": 9, "channels": FIVE},
    "clicks": {"table": "clicks", "last": 9, "channels": FIVE},
    "late": {"table": "visits", "last": 12, "channels": FIVE},
    "weeks": {"table": "calls", "last": 5, "every": "1 week", "channels": FIVE, "seen": False},
    "hours": {"table": "clicks", "last": 6, "every": "12h", "channels": {"n": FIVE["n"], "low": FIVE["low"]}},
    "all": {"last": 10, "channels": {
        "orders": {"table": "orders"} | FIVE["n"], "calls": {"table": "calls"} | FIVE["mean"],
        "visits": {"table": "visits"} | FIVE["low"], "clicks": {"table": "clicks"} | FIVE["kind"],
    }},
    "born": {"table": "calls", "last": 600, "since": "born", "channels": {"n": FIVE["n"], "low": FIVE["low"]}},
    "since": {"table": "clicks", "last": 40, "since": "seen", "channels": {"n": FIVE["n"], "held": FIVE["held"]}},
}  # fmt: skip


class Slow:
    """Panels of a world, step by step and row by row."""

    def __init__(self, oracle: Oracle, asked: dict[str, Any], ahead: timedelta = timedelta()) -> None:
        self.oracle, self.asked, self.ahead = oracle, asked, ahead
        self.every = EVERY[asked.get("every", "1 day")]
        self.tables = list({c.get("table") or asked["table"]: 0 for c in asked["channels"].values()})

    @cache  # noqa: B019
    def edge(self, cutoff: datetime, steps: int) -> datetime:
        return shifted(cutoff, -steps * self.every, self.oracle.world.zone) if steps else cutoff

    def step(self, cutoff: datetime, moment: datetime) -> int:
        """1 for the last; no further than is asked for."""
        for step in range(1, self.asked["last"] + 1):
            if moment > self.edge(cutoff, step):
                return step
        return int(self.asked["last"])

    def length(self, entity: str, cutoff: datetime) -> int:
        own = [r["time"] for t in self.tables for r in self.oracle.seen(t, entity, cutoff)]
        if "since" not in self.asked:
            return self.step(cutoff, min(own)) if own else 0
        everybody = {r for t in self.tables for r in self.oracle.by_entity[t]}
        all_rows = [r["time"] for t in self.tables for e in everybody for r in self.oracle.seen(t, e, cutoff)]
        since = self.oracle.instant(self.oracle.by_entity["people"][entity][0][self.asked["since"]])
        if since and since > cutoff:
            return 0
        return min(self.step(cutoff, moment) for moment in (since, min(all_rows)) if moment)

    def panel(self, entity: str, cutoff: datetime) -> list[Row]:
        """The steps, oldest first, as channel → value."""
        cutoff += self.ahead
        length = self.length(entity, cutoff)
        rows = {t: self.oracle.seen(t, entity, cutoff) for t in self.tables}
        steps: list[Row] = [{} for _ in range(self.asked["last"])]
        for name, channel in self.asked["channels"].items():
            table = channel.get("table") or self.asked["table"]
            test: Test = CHEAP[1] if "where" in channel else lambda r: True
            chosen = [r for r in rows[table] if test(r) is True]
            carried = self.oracle.plain(
                [r for r in chosen if r["time"] <= self.edge(cutoff, self.asked["last"])],
                "last", channel.get("column", "amount"), cutoff, table, None,
            )  # fmt: skip
            for at, step in enumerate(range(self.asked["last"], 0, -1)):
                value = self.value(channel, table, self.within(chosen, cutoff, step), cutoff)
                fill = channel.get(
                    "fill", "zero" if channel["agg"] in ("count", "sum", "nunique", "exists") else "missing"
                )
                if value is None:
                    value = {"zero": 0.0, "missing": None, "last": carried}.get(fill, fill)
                steps[at][name] = carried = value
        if self.asked.get("seen", True):
            for at, step in enumerate(range(self.asked["last"], 0, -1)):
                steps[at]["seen"] = int(any(self.within(rows[t], cutoff, step) for t in self.tables))
        return steps[len(steps) - length :]

    def within(self, rows: list[Row], cutoff: datetime, step: int) -> list[Row]:
        return [r for r in rows if self.edge(cutoff, step) < r["time"] <= self.edge(cutoff, step - 1)]

    def value(self, channel: dict[str, Any], table: str, rows: list[Row], cutoff: datetime) -> Any:
        """Missing where no row has a value."""
        column = channel.get("column")
        if not [r for r in rows if column is None or r[column] is not None]:
            return None
        return self.oracle.plain(rows, channel["agg"], column, cutoff, table, None)


@pytest.fixture(scope="module", params=WORLDS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    seed, zone, days = WORLDS[request.param]
    found = world(seed, zone, days, people=50)
    folder = tmp_path_factory.mktemp(request.param)
    found.write(folder)
    features = {name: {"kind": "panel", **each} for name, each in ASKED.items()}
    made = make(folder, declare({"cutoffs": days, "timezone": zone}, features), threads=1)
    return found, made, Oracle(found), made.matrix()


def test_the_steps_of_every_row_agree_with_the_oracle(case: Case) -> None:
    _, made, oracle, matrix = case
    assert [each.name for each in matrix.sequences] == list(ASKED)
    for each in matrix.sequences:
        slow = Slow(oracle, ASKED[each.name])
        for row in made.cohort():
            wanted = slow.panel(row["entity"], row["cutoff"])
            found = events_of(each, row["@row"])
            assert same(found, wanted), (each.name, row, found, wanted)


def test_the_worlds_would_show_a_difference(case: Case) -> None:
    """Positive control: there is much to agree on, and an oracle that stands a little later disagrees."""
    _, made, oracle, matrix = case
    for each in matrix.sequences:
        asked = ASKED[each.name]
        assert each.lengths.max() == asked["last"]
        assert (
            len(np.unique(each.lengths)) > 1
        )  # of "born", for the tables begin only so long before a cutoff
        assert (each.lengths.min() == 0) == (each.name != "born")
        later = Slow(
            oracle,
            asked,
            timedelta(days=1) if "orders" in asked.get("table", "orders") else timedelta(seconds=1),
        )
        if each.name in ("weeks", "born"):  # rows of days: a second changes nothing
            later.ahead = timedelta(days=1)
        agree = [
            same(events_of(each, r["@row"]), later.panel(r["entity"], r["cutoff"])) for r in made.cohort()
        ]
        assert not all(agree), each.name


def test_a_panel_is_a_sequence_of_equal_channels(case: Case) -> None:
    *_, matrix = case
    orders = matrix.sequences[0]
    texts = ["kind", "began"]
    assert list(orders.channels) == [name for name in FIVE if name not in texts] + ["seen"]
    assert [name for name, _ in orders.categorical] == texts
    assert (orders.offsets.dtype, orders.numeric.dtype, orders.codes.dtype) == (
        np.int64,
        np.float32,
        np.int32,
    )
    assert matrix.columns == {}


# --- a few rows, written out ------------------------------------------------------------------------

DESK: dict[str, Any] = {
    "clients": {"key": "id", "known": "always",
                "columns": {"id": "text", "left": "text", "signed": "date", "town": "text"}},
    "use": {"entity": "client", "clock": "day", "columns": {"client": "text", "day": "date", "hits": "integer"}},
    "tickets": {"entity": "client", "clock": "at",
                "columns": {"client": "text", "at": "timestamp", "mood": "number", "topic": "text"}},
    "notes": {"entity": "client", "known": "always", "columns": {"client": "text", "said": "text"}},
}  # fmt: skip
FILES = {
    "clients": "id, left, signed, town\n1, no, 2021-12-01, Rome\n2, no, 2021-12-30, Oslo\n3, yes, , Bonn\n4, no, 2022-01-01, Bonn",
    "use": "client, day, hits\n1, 2021-12-27, 3\n1, 2021-12-29, 1\n1, 2021-12-29, 4\n1, 2021-12-31, 2\n1, 2022-01-01, 90\n"
           "1, 2022-03-01, 91\n2, 2021-12-30, 7\n4, 2022-01-02, 8",
    "tickets": "client, at, mood, topic\n1, 2021-11-05 08:00:00, 0.5, bill\n1, 2021-12-30 23:59:59, -1, bug\n"
               "1, 2022-01-01 00:00:01, 9, late",
    "notes": "client, said\n1, hm",
}  # fmt: skip
CHANNELS = {
    "hits": {"agg": "sum", "column": "hits"},
    "mood": {"table": "tickets", "agg": "mean", "column": "mood", "fill": "last"},
}
PANEL = {"kind": "panel", "table": "use", "last": 4, "channels": CHANNELS}


def desk(folder: Path, panel: dict[str, Any], files: dict[str, str] | None = None, **more: Any) -> Made:
    target = more.pop("target", None)
    data = Dataset.model_validate({"entity": "clients", "tables": DESK})
    folder = tiny(folder, FILES | (files or {}))
    return make(folder, declare({"cutoffs": ["2022-01-01"]} | more, {"p": panel}, target, data))


def panel_of(made: Made, row: int) -> list[tuple[Any, ...]]:
    return [tuple(event.values()) for event in events_of(made.matrix().sequences[0], row)]


def test_days_missing_doubled_and_still_to_come(tmp_path: Path) -> None:
    """28 December has no row, 29 December two; what happens on the day that begins at the cutoff, or later, is unseen."""
    made = desk(tmp_path, PANEL)
    assert panel_of(made, 0) == [  # hits, mood (carried from November), seen
        (0.0, 0.5, 0.0),
        (5.0, 0.5, 1.0),
        (0.0, -1.0, 1.0),
        (2.0, -1.0, 1.0),
    ]


def test_a_day_before_the_first_row_is_no_day_and_nobodys_row_no_panel(tmp_path: Path) -> None:
    made = desk(tmp_path, PANEL)
    assert made.matrix().sequences[0].lengths.tolist() == [4, 2, 0, 0]  # the fourth begins after the cutoff
    assert panel_of(made, 1) == [(7.0, None, 1.0), (0.0, None, 0.0)]


def test_rows_in_any_order_give_the_same_panel(tmp_path: Path) -> None:
    header, *lines = FILES["use"].split("\n")
    seen = []
    for seed in range(3):
        random.Random(seed).shuffle(lines)
        made = desk(tmp_path / str(seed), PANEL, {"use": "\n".join([header, *lines])})
        seen.append([panel_of(made, row) for row in range(4)])
    assert seen[0] == seen[1] == seen[2]


def test_days_since_a_date_of_the_entity_are_days_with_or_without_rows(tmp_path: Path) -> None:
    """The first day of an entity counts; nothing lies before the first row that anybody has; who begins at the cutoff has no day."""
    made = desk(tmp_path, PANEL | {"last": 9, "since": "signed", "channels": {"hits": CHANNELS["hits"]}})
    assert made.matrix().sequences[0].lengths.tolist() == [5, 2, 5, 0]  # `use` begins on 27 December
    assert panel_of(made, 2) == [(0.0, 0.0)] * 5  # since when is not known
    feature = made.compiled.sequences[0].features[0]
    assert ("clients", "signed") in feature.sources


def test_the_end_of_a_day_is_the_end_of_its_step(tmp_path: Path) -> None:
    """`moment: day_end`: 1 January is over; a stamp of its first second is of that day, one of the next midnight unseen."""
    stamps = "client, at, mood, topic\n1, 2022-01-01 00:00:00, 1, a\n1, 2022-01-01 23:59:59, 2, a\n1, 2022-01-02 00:00:00, 99, a"
    channels = {"hits": CHANNELS["hits"], "n": {"table": "tickets", "agg": "count"}}
    made = desk(
        tmp_path,
        PANEL | {"last": 2, "channels": channels, "seen": False},
        {"tickets": stamps},
        moment="day_end",
    )
    assert panel_of(made, 0) == [(2.0, 0.0), (90.0, 2.0)]


def test_a_weekly_total_lies_in_the_week_that_it_covers(tmp_path: Path) -> None:
    tables = DESK | {"use": DESK["use"] | {"covers": "7 days"}}
    data = Dataset.model_validate({"entity": "clients", "tables": tables})
    files = {
        "use": "client, day, hits\n1, 2021-12-12, 1\n1, 2021-12-19, 2\n1, 2021-12-26, 3\n1, 2022-01-02, 4"
    }
    panel = {
        "kind": "panel",
        "table": "use",
        "last": 2,
        "every": "1 week",
        "channels": {"hits": CHANNELS["hits"]},
    }
    made = make(tiny(tmp_path, FILES | files), declare({"cutoffs": ["2022-01-02"]}, {"p": panel}, None, data))
    assert panel_of(made, 0) == [(2.0, 1.0), (3.0, 1.0)]


def test_a_condition_may_look_at_the_clock_itself(tmp_path: Path) -> None:
    late = {"agg": "count", "where": "day > '2021-12-30'"}
    days = {"agg": "nunique", "column": "day"}
    made = desk(
        tmp_path, PANEL | {"channels": {"late": late, "days": days}, "seen": False, "every": "2 days"}
    )
    assert panel_of(made, 0) == [(0.0, 1.0), (0.0, 1.0), (1.0, 1.0)]


def test_without_cutoffs_there_are_no_last_days(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"feature set `p` looks at table `tickets`, which has a clock"):
        desk(tmp_path, PANEL, cutoffs=None)


def test_a_shorter_history_than_the_runs_is_told_by_how_far_back_a_panel_looks() -> None:
    declared = declare(
        {"cutoffs": ["2022-01-01"]},
        {"p": PANEL},
        None,
        Dataset.model_validate({"entity": "clients", "tables": DESK}),
    )
    assert list(history._looks(declared, "use")) == [("p", "4 days")]
    assert list(history._looks(declared, "tickets")) == [("p", "4 days"), ("p", "all")]  # a value is carried


def test_each_table_is_read_once_for_all_its_channels(tmp_path: Path) -> None:
    """And once for its first rows, however many channels there are."""
    many = {f"c{n}": {"agg": "sum", "column": "hits", "where": f"hits > {n}"} for n in range(15)}
    made = desk(tmp_path, PANEL | {"channels": many | {"mood": CHANNELS["mood"]}})
    read = [table.name for table in made.compiled.sequences[0].query.tree.find_all(exp.Table)]
    assert (read.count("use"), read.count("tickets")) == (2, 2)


def test_an_edited_channel_builds_the_panel_anew(tmp_path: Path) -> None:
    def built(panel: dict[str, Any]) -> list[str]:
        made = desk(tmp_path, panel)
        made.cache = Cache(tmp_path / "cache")
        made.matrix()
        return made.cache.built

    assert built(PANEL) == ["features:p"]
    assert built(PANEL) == []
    for change in ({"last": 3}, {"every": "2 days"}, {"seen": False}, {"since": "signed"},
                   {"channels": CHANNELS | {"hits": CHANNELS["hits"] | {"fill": -1}}}):  # fmt: skip
        assert built(PANEL | change) == ["features:p"], change


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "says", "where"),
    [
        ({"channels": {"a": {"agg": "sum", "column": "hit"}}}, "no column `hit`", "channels.a.column"),
        ({"channels": {"a": {"agg": "count", "where": "hit > 1"}}}, "uses `hit`", "channels.a.where"),
        ({"channels": CHANNELS | {"a": {"table": "notes", "agg": "count"}}}, "no clock, so its rows lie on no day", "channels.a.table"),
        ({"table": "notes", "channels": {"a": {"agg": "count"}, "b": CHANNELS["mood"]}}, "no clock, so its rows lie on no day", "table"),
        ({"channels": {"a": {"table": "tickets", "agg": "mean", "column": "topic"}}}, "needs numbers", "channels.a"),
        ({"channels": {"a": {"table": "tickets", "agg": "last", "column": "topic", "fill": 0}}}, "no number stands for a text", "channels.a.fill"),
        ({"every": "6h"}, "have a day and no hour", "every"),
        ({"since": "town"}, "`town` is not a date but text", "since"),
        ({"since": "singed"}, "no column `singed`", "since"),
    ],
)  # fmt: skip
def test_what_the_tables_cannot_answer_is_refused(
    tmp_path: Path, wrong: dict[str, Any], says: str, where: str
) -> None:
    with pytest.raises(ConfigError) as error:
        desk(tmp_path, PANEL | wrong)
    assert says in error.value.what
    assert error.value.where == f"features.p.{where}"
    assert error.value.fix


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"last": 0}, "greater than or equal to 1"),
        ({"every": "1 month"}, "steps are of one length, and `1 month` is not"),
        ({"channels": {}}, "at least 1 item"),
        ({"table": None}, "channel `hits` names no `table`"),
        ({"channels": {"a": {"agg": "sum"}}}, "`agg: sum` needs a `column`"),
        ({"channels": {"a": {"agg": "count", "column": "hits"}}}, "`agg: count` takes no `column`"),
        ({"channels": {"a": {"agg": "sum", "column": "hits", "fill": "last"}}}, "`fill: last` goes with mean"),
        ({"channels": {"a": {"agg": "count", "fill": ".nan"}}}, "fill"),
        ({"channels": {"seen": {"agg": "count"}}}, "two channels would be called `seen`; `seen: false`"),
        ({"channels": {"a b": {"agg": "count"}}}, "letters, digits and _"),
        ({"channels": {"a": {"agg": "slope", "column": "hits"}}}, "agg"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused_before_any_table_is_read(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        declare({"cutoffs": None}, {"p": PANEL | wrong}, data=dataset())


def test_a_typo_is_answered_by_file_line_and_the_nearest_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from toolkit.cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "features").mkdir(parents=True)
    lines = ["# The last 12 months, step by step", "kind: panel", "last: 12", "every: 30 days", "table: giving_history",
             "channels:", "  gifts: {agg: count}", "  given: {agg: sum, column: Gift_Amuont}"]  # fmt: skip
    (tmp_path / "conf" / "features" / "months.yaml").write_text("\n".join(lines))
    small = [
        "recipe=donor_multitarget",
        "features=[months]",
        "model=lightgbm",
        "source.world.size=300",
        "target=[recent_engager]",
    ]
    assert main(["plan", *small]) == 2
    said = capsys.readouterr().err
    assert "has no column `Gift_Amuont`" in said
    assert "conf/features/months.yaml:8" in said
    assert "did you mean `Gift_Amount`?" in said


def test_a_channel_or_a_beginning_made_of_the_label_is_refused(tmp_path: Path) -> None:
    clients = {
        "key": "id",
        "clock": "signed",
        "columns": {"id": "text", "signed": "date", "left": "boolean", "paused": "date"},
    }
    data = Dataset.model_validate({"entity": "clients", "tables": DESK | {"clients": clients}})
    folder = tiny(
        tmp_path,
        FILES | {"clients": "id, signed, left, paused\n1, 2021-12-01, no, 2021-12-03\n3, 2021-12-01, yes, "},
    )
    label = {"kind": "column", "column": "left"}
    panels = [
        ({"channels": {"a": {"table": "clients", "agg": "max", "column": "left"}}}, label, "left"),
        ({"channels": {"a": {"table": "clients", "agg": "count", "where": "left"}}}, label, "left"),
        ({"channels": {"a": {"agg": "count"}}, "since": "paused"}, label | {"column": "paused", "positive": "2021-12-03"}, "paused"),
    ]  # fmt: skip
    for leak, target, column in panels:
        with pytest.raises(
            LeakError, match=rf"made of `clients.{column}`, which target `left` derives from"
        ) as error:
            make(folder, declare({"cutoffs": ["2022-01-01"]}, {"p": PANEL | leak}, {"left": target}, data))
        assert error.value.where == "features.p"


# --- proofs, and a network that reads panels alone --------------------------------------------------

MONTHS = {
    "kind": "panel", "last": 12, "every": "30 days", "table": "events",
    "channels": {"n": {"agg": "count"}, "spent": {"agg": "sum", "column": "amount"},
                 "size": {"agg": "mean", "column": "amount", "fill": "last"},
                 "visits": {"table": "visits", "agg": "count"},
                 "sort": {"table": "visits", "agg": "last", "column": "sort", "fill": "last"}},
}  # fmt: skip
SMALL = {
    "kind": "multimodal", "use": ["sequence"], "fusion": {"kind": "none"}, "heads": {"hidden": 8}, "loss": {"kind": "bce"},
    "sequence": {"hidden": [12, 8], "width": 8, "bidirectional": False, "pool": "last"}, "trainer": {"epochs": 3},
}  # fmt: skip


def recipe(folder: Path, **more: Any) -> Any:
    persons, events = people(300)
    more = {"features": {"who": {"kind": "attributes", "table": "people"}, "months": MONTHS}} | more
    return dated(folder, persons, events, {"visits": (late_visits(), STORED)}, **more)


def test_panels_are_proved_to_be_of_the_past_and_of_training_rows(tmp_path: Path) -> None:
    """A recipe of a panel alone, with a network of layers of their own width; rows are stored weeks after they happen."""
    proofs = all_proofs(recipe(tmp_path, features={"months": MONTHS}, model={"lstm": SMALL}), quiet)
    assert [proof.text for proof in proofs if not proof.holds] == []
    said = [proof.text for proof in proofs if "6 channels of their events stay the same" in proof.text]
    assert [text[:10] for text in said] == ["2020-01-01", "2021-01-01", "2022-01-01"]
    assert any("model lstm" in proof.text for proof in proofs)


@pytest.mark.parametrize(
    ("honest", "wrong", "moved"),
    [
        ('"t"."@known" <= "f"."@cutoff date"', 'TRUE', ("n", "spent", "size", "visits", "sort", "seen")),
        ('"t"."@known" <=', '"t"."@time" <=', ("visits", "sort", "seen")),
    ],
    ids=["no clock at all", "when it happened for when it was known"],
)  # fmt: skip
def test_a_panel_that_sees_too_much_is_caught_by_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, honest: str, wrong: str, moved: tuple[str, ...]
) -> None:
    """Positive control, in the compiled query."""
    compiling = matrices.compile_panel

    def meddled(*arguments: Any) -> Any:
        compiled = compiling(*arguments)
        text = sql.render(compiled.query.tree)
        assert honest in text
        tree = sqlglot.parse_one(text.replace(honest, wrong), dialect="duckdb")
        object.__setattr__(compiled.query, "tree", tree)
        return compiled

    monkeypatch.setattr(matrices, "compile_panel", meddled)
    said = "\n".join(p.text for p in all_proofs(recipe(tmp_path, model=LIGHTGBM), quiet) if not p.holds)
    for channel in MONTHS["channels"].keys() | {"seen"}:  # type: ignore[attr-defined]
        assert (f"2020-01-01: channel `months.{channel}` changes in" in said) == (channel in moved), channel


def test_the_plan_says_what_a_panel_is(tmp_path: Path) -> None:
    found = experiment(recipe(tmp_path, features={"months": MONTHS}, model={"lstm": SMALL}))
    with found.place:
        text = plan.text(found.config, found.prepared)
        outcome = found.run()
    assert "  months: the last 12 steps of 30 days of events, visits; 100.0% of rows have any" in text
    assert (
        "months.size  [numeric; window 12 x 30 days]  mean of amount in events, per 30 days; where there is none, the one before; "
        in text
    )
    assert "months.sort  [categorical" in text
    assert outcome.test_reads == 1
