"""Events in order, as they were known at the cutoff, against an oracle in plain Python; and what is refused.

The worlds (see `worlds`) hold simultaneous events, events known late or in advance, missing values, keys
that nobody has, entities without events, three time zones, and events exactly at cutoffs and window edges.
"""

from __future__ import annotations

import math
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlglot
from oracle import DAY, Oracle, Row, Test
from small import dated, experiment, people, quiet
from worlds import TABLES, Made, World, dataset, declare, make, tiny, world

from toolkit import plan
from toolkit.config.schema import Audit
from toolkit.config.tables import Dataset
from toolkit.data import sql
from toolkit.data.cache import Cache
from toolkit.errors import ConfigError, DataError, LeakError
from toolkit.modalities import Sequences
from toolkit.models.interface import Task
from toolkit.prepare import audit as audits
from toolkit.prepare import matrix as matrices
from toolkit.proof import all_proofs
from toolkit.proof.scramble import NEW_LEVEL, scramble_rows, some_rows
from toolkit.training import experiment as experiments

WORLDS = {
    "utc": (11, "UTC", ["2023-03-01", "2024-02-29", "2024-12-31"]),
    "berlin": (12, "Europe/Berlin", ["2024-03-31", "2024-10-27", "2024-11-01T06:30"]),
    "new_york": (13, "America/New_York", ["2024-03-10", "2024-11-03", "2025-02-28"]),
}  # fmt: skip
CHEAP: tuple[str, Test] = (
    "amount < 100 or kind = 'a'",
    lambda r: _less(r["amount"], 100) or r["kind"] == "a",
)
ASKED: dict[str, dict[str, Any]] = {
    "orders": {"table": "orders", "last": 5, "columns": ["amount", "kind", "paid"]},
    "all_orders": {"table": "orders", "last": 1000, "columns": ["double"], "time": ["age"]},
    "clicks": {"table": "clicks", "last": 3, "columns": ["kind", "amount"], "window": "30d"},
    "hours": {"table": "clicks", "last": 1000, "window": "36h"},
    "visits": {"table": "visits", "last": 4, "columns": ["amount", "kind"]},
    "late": {"table": "visits", "last": 1000, "columns": ["kind"], "window": "12 months", "where": CHEAP[0]},
    "calls": {"table": "calls", "last": 2, "columns": ["kind", "amount"], "where": CHEAP[0], "time": ["gap"]},
    "bare": {"table": "calls", "last": 3, "columns": ["amount"], "time": []},
}  # fmt: skip


def _less(value: float | None, than: float) -> bool | None:
    return None if value is None else value < than


def declared(asked: dict[str, Any]) -> dict[str, Any]:
    return {"town": {"kind": "attributes", "table": "people", "columns": ["town"]}} | {
        name: {"kind": "sequence", **each} for name, each in asked.items()
    }


def expected(oracle: Oracle, asked: dict[str, Any], entity: str, cutoff: datetime) -> list[Row]:
    """The events that are kept, oldest first, as channel → value."""
    table = asked["table"]
    test = CHEAP[1] if "where" in asked else None
    late = bool(TABLES[table].get("event_time"))

    def order(r: Row) -> tuple[Any, ...]:
        values = [
            2 * r["amount"] if c == "double" and r["amount"] is not None else r.get(c)
            for c in asked.get("columns", [])
        ]
        return (r["time"], r["known"] if late else 0, *((v is not None, v if v is not None else 0) for v in values))  # fmt: skip

    rows = sorted(oracle.seen(table, entity, cutoff, test=test), key=order)
    found = []
    for index, r in enumerate(rows):
        event = {c: r.get(c) for c in asked.get("columns", [])}
        if "double" in event:
            event["double"] = None if r["amount"] is None else 2 * r["amount"]
        clocks = {
            "gap": math.log1p((r["place"] - rows[index - 1]["place"]) / DAY) if index else None,
            "age": math.log1p((oracle.seconds(cutoff, table) - r["place"]) / DAY),
        }
        event |= {name: clocks[name] for name in asked.get("time", ["gap", "age"])}
        found.append((r["time"], event))
    window = asked.get("window", "all")
    begin = datetime.min if window == "all" else oracle.before(cutoff, window)
    return [event for time, event in found if time > begin][-asked["last"] :]


def events_of(each: Sequences, row: int) -> list[Row]:
    """The events of a row as channel → value."""
    found = []
    for at in range(each.offsets[row], each.offsets[row + 1]):
        event: Row = {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(each.channels, each.numeric[at], strict=True)
        }
        for (name, levels), code in zip(each.categorical, each.codes[at], strict=True):
            event[name] = None if code < 0 else levels[code]
        found.append(event)
    return found


def same(found: list[Row], wanted: list[Row]) -> bool:
    def alike(a: Any, b: Any) -> bool:
        if a is None or b is None or isinstance(b, str):
            return bool(a == b)
        return math.isclose(a, float(b), rel_tol=1e-6, abs_tol=1e-6)

    return len(found) == len(wanted) and all(
        f.keys() == w.keys() and all(alike(f[key], w[key]) for key in w)
        for f, w in zip(found, wanted, strict=True)
    )


Case = tuple[World, Made, Oracle, matrices.Matrix]


@pytest.fixture(scope="module", params=WORLDS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    seed, zone, days = WORLDS[request.param]
    found = world(seed, zone, days, people=50)
    folder = tmp_path_factory.mktemp(request.param)
    found.write(folder)
    made = make(folder, declare({"cutoffs": days, "timezone": zone}, declared(ASKED)))
    return found, made, Oracle(found), made.matrix()


def test_the_events_of_every_row_agree_with_the_oracle(case: Case) -> None:
    _, made, oracle, matrix = case
    rows = made.cohort()
    assert [each.name for each in matrix.sequences] == list(ASKED)
    for each in matrix.sequences:
        assert len(each) == len(rows)
        for row in rows:
            wanted = expected(oracle, ASKED[each.name], row["entity"], row["cutoff"])
            found = events_of(each, row["@row"])
            assert same(found, wanted), (each.name, row, found, wanted)


def test_the_worlds_would_show_a_difference(case: Case) -> None:
    """Positive control: there is much to agree on, and an oracle that looks a second (of dates: a day) too far disagrees."""
    _, made, oracle, matrix = case
    for each in matrix.sequences:
        asked = ASKED[each.name]
        assert each.lengths.max() > 1
        assert each.lengths.min() == 0
        assert each.lengths.max() <= asked["last"]
        date = "date" in TABLES[asked["table"]]["columns"].values()
        ahead = timedelta(days=1) if date else timedelta(seconds=1)
        late = [
            same(events_of(each, r["@row"]), expected(oracle, asked, r["entity"], r["cutoff"] + ahead))
            for r in made.cohort()
        ]
        assert not all(late), each.name


def test_events_are_no_columns(case: Case) -> None:
    _, made, _, matrix = case
    assert list(matrix.columns) == ["town.town"]
    assert [feature.name for feature in made.compiled.features] == ["town.town"]
    assert "orders.paid" in made.compiled.names
    assert matrix.notes() == []


def test_arrays_have_their_declared_types_and_order(case: Case) -> None:
    *_, matrix = case
    orders = matrix.sequences[0]
    assert orders.channels == ("amount", "paid", "gap", "age")
    assert orders.categorical == (("kind", ("B", "a", "b")),)
    assert (orders.offsets.dtype, orders.numeric.dtype, orders.codes.dtype) == (
        np.int64,
        np.float32,
        np.int32,
    )
    assert set(orders.codes[:, 0]) == {-1, 0, 1, 2}
    bare = matrix.sequences[-1]
    assert (bare.channels, bare.codes.shape[1]) == (("amount",), 0)


# --- a few rows, written out ------------------------------------------------------------------------

SHOP: dict[str, Any] = {
    "clients": {"key": "id", "known": "always", "columns": {"id": "text", "left": "text"}},
    "orders": {"entity": "client", "clock": "day", "columns": {"client": "text", "day": "date", "amount": "number", "kind": "text"}},
    "visits": {"entity": "client", "clock": "stored", "event_time": "day",
               "columns": {"client": "text", "stored": "date", "day": "date", "amount": "number"}},
    "notes": {"entity": "client", "known": "always", "columns": {"client": "text", "said": "text"}},
}  # fmt: skip
FILES = {
    "clients": "id, left\n1, no\n2, no\n3, yes",
    "orders": "client, day, amount, kind\n1, 2021-01-01, 5, a\n1, 2021-01-01, , b\n1, 2021-01-01, 3, b\n1, 2021-03-01, 1, a\n"
              "1, 2022-06-01, 9, a\n2, 2021-12-31, 7, c\n2, 2022-01-01, 8, c",
    "visits": "client, stored, day, amount\n1, 2021-05-01, 2021-05-01, 1\n1, 2022-05-01, 2021-04-01, 2\n1, 2021-06-01, 2021-04-01, 3",
    "notes": "client, said\n1, hm",
}  # fmt: skip
ORDERS = {"kind": "sequence", "table": "orders", "last": 3, "columns": ["amount", "kind"]}


def shop(folder: Path, features: dict[str, Any], files: dict[str, str] | None = None, **more: Any) -> Made:
    target = more.pop("target", None)
    data = Dataset.model_validate({"entity": "clients", "tables": SHOP})
    folder = tiny(folder, FILES | (files or {}))
    return make(folder, declare({"cutoffs": ["2022-01-01"]} | more, features, target, data))


def test_the_last_of_simultaneous_events_are_those_with_the_larger_values(tmp_path: Path) -> None:
    """A missing amount is smaller than any; the order of the file plays no part; the gap is to an event left out."""
    header, *lines = FILES["orders"].split("\n")
    seen = []
    for seed in range(3):
        random.Random(seed).shuffle(lines)
        made = shop(tmp_path / str(seed), {"o": ORDERS}, {"orders": "\n".join([header, *lines])})
        seen.append(events_of(made.matrix().sequences[0], 0))
    assert seen[0] == seen[1] == seen[2]
    assert [(e["amount"], e["kind"]) for e in seen[0]] == [(3, "b"), (5, "a"), (1, "a")]
    gaps = [round(math.expm1(e["gap"])) for e in seen[0]]
    assert gaps == [0, 0, 59]  # the first of them follows one that is not kept
    assert round(math.expm1(seen[0][-1]["age"])) == 305


def test_a_date_is_known_at_the_end_of_its_day_and_no_event_is_no_row_lost(tmp_path: Path) -> None:
    each = shop(tmp_path, {"o": ORDERS}).matrix().sequences[0]
    assert each.lengths.tolist() == [3, 1, 0]  # not the one of 1 January itself
    assert events_of(each, 1) == [{"amount": 7.0, "gap": None, "age": 0.0, "kind": "c"}]


def test_what_was_stored_after_the_cutoff_is_not_there_yet(tmp_path: Path) -> None:
    visits = {"kind": "sequence", "table": "visits", "last": 9, "columns": ["amount"], "time": ["gap"]}
    each = shop(tmp_path, {"v": visits}).matrix().sequences[0]
    assert [(e["amount"], e["gap"] and round(math.expm1(e["gap"]))) for e in events_of(each, 0)] == [
        (3, None),
        (1, 30),
    ]


def test_a_recipe_of_events_alone_has_no_columns(tmp_path: Path) -> None:
    matrix = shop(tmp_path, {"o": ORDERS}).matrix()
    assert (len(matrix), matrix.columns, matrix.features) == (3, {}, [])


def test_the_audit_of_no_columns_finds_nothing(tmp_path: Path) -> None:
    compiled = shop(tmp_path, {"o": ORDERS}).compiled
    none, y = np.empty((40, 0), np.float32), np.random.default_rng(0).integers(0, 2, (40, 1)).astype(float)
    entity, cutoff = np.array([f"{n:02d}" for n in range(40)]), np.full(40, np.datetime64("2022-01-01"))
    parts = audits.Parts(none, y, none, y, none, entity, entity, cutoff, cutoff, {})
    lineage = audits.lineage_of(compiled)
    assert audits.audit(Audit(), parts, [], [], [Task("it", "binary")], lineage) == []


def test_a_sequence_without_any_event_is_empty_and_noted(tmp_path: Path) -> None:
    matrix = shop(tmp_path, {"o": ORDERS | {"where": "amount > 1000"}}).matrix()
    each = matrix.sequences[0]
    assert each.lengths.tolist() == [0, 0, 0]
    assert each.numeric.shape == (0, 3)
    assert each.categorical == (("kind", ()),)
    assert matrix.notes() == ["sequence `o`: no row has an event"]


def test_a_value_beyond_32_bits_is_named(tmp_path: Path) -> None:
    made = shop(tmp_path, {"o": ORDERS}, {"orders": "client, day, amount, kind\n1, 2021-01-01, 1e39, a"})
    with pytest.raises(DataError, match=r"channel `o.amount` has 1 values that are infinite"):
        made.matrix()


@pytest.mark.parametrize(
    ("wrong", "says", "where"),
    [
        ({"columns": ["amout"]}, "no column `amout`", "features.o.columns.0"),
        ({"columns": ["amount", "day"]}, "`day` is a date, and a channel holds numbers or texts", "features.o.columns.1"),
        ({"table": "notes", "columns": ["said"]}, "table `notes` has no clock, so its rows have no order", "features.o.table"),
        ({"where": "amuont > 3"}, "uses `amuont`", "features.o.where"),
    ],
)  # fmt: skip
def test_what_a_table_cannot_answer_is_refused(
    tmp_path: Path, wrong: dict[str, Any], says: str, where: str
) -> None:
    with pytest.raises(ConfigError) as error:
        shop(tmp_path, {"o": ORDERS | wrong, "orders": ORDERS})
    assert says in error.value.what
    assert error.value.where == where
    assert error.value.fix


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"last": 0}, "greater than or equal to 1"),
        ({"last": 1001}, "less than or equal to 1000"),
        ({"window": "horizon"}, "closes at the cutoff"),
        ({"columns": [], "time": []}, "nothing that a model could see"),
        ({"columns": ["amount", "Amount"]}, "two channels would be called `Amount`"),
        ({"columns": ["gap"]}, "two channels would be called `gap`"),
        ({"time": ["gap", "since"]}, "'gap' or 'age'"),
    ],
)
def test_what_means_nothing_is_refused_before_any_table_is_read(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        declare({"cutoffs": None}, {"o": ORDERS | wrong}, data=dataset())


def test_without_cutoffs_there_is_no_last_event(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"feature set `o` looks at table `orders`, which has a clock"):
        shop(tmp_path, {"o": ORDERS}, cutoffs=None)


@pytest.mark.parametrize(
    "leak",
    [
        {"table": "clients_seen", "last": 3, "columns": ["left"]},
        {"table": "clients_seen", "last": 3, "where": "left = 'yes'"},
        {"table": "clients_seen", "last": 3, "columns": ["loud"]},
    ],
)
def test_a_channel_made_of_the_label_is_refused(tmp_path: Path, leak: dict[str, Any]) -> None:
    tables = {"clients_seen": {"key": "id", "clock": "seen", "columns": {"id": "text", "left": "text", "seen": "date"},
                               "derive": {"loud": "upper(left)"}}}  # fmt: skip
    data = Dataset.model_validate({"entity": "clients_seen", "tables": tables})
    folder = tiny(tmp_path, {"clients_seen": "id, left, seen\n1, yes, 2020-01-01\n2, no, 2020-01-01"})
    target = {"left": {"kind": "column", "column": "left", "positive": "yes"}}
    with pytest.raises(
        LeakError, match=r"made of `clients_seen.left`, which target `left` derives from"
    ) as error:
        make(
            folder, declare({"cutoffs": ["2022-01-01"]}, {"leak": {"kind": "sequence", **leak}}, target, data)
        )
    assert error.value.where == "features.leak"


def test_an_edited_length_builds_that_set_anew_and_nothing_else(tmp_path: Path) -> None:
    features = {"o": ORDERS, "v": {"kind": "sequence", "table": "visits", "last": 2, "columns": ["amount"]}}

    def built(features: dict[str, Any]) -> list[str]:
        made = shop(tmp_path, features)
        made.cache = Cache(tmp_path / "cache")
        made.matrix()
        return made.cache.built

    assert built(features) == ["features:o", "features:v"]
    assert built(features) == []
    assert built(features | {"o": ORDERS | {"last": 2}}) == ["features:o"]


def test_the_fingerprint_covers_events(tmp_path: Path) -> None:
    prints = [matrices.fingerprint(shop(tmp_path, {"o": ORDERS | more}).compiled)
              for more in ({}, {"last": 2}, {"window": "1 year"}, {"columns": ["kind", "amount"]}, {"time": []})]  # fmt: skip
    assert len(set(prints)) == len(prints)
    assert prints[0] == matrices.fingerprint(shop(tmp_path, {"o": ORDERS}).compiled)


# --- proofs -----------------------------------------------------------------------------------------

EVENTS = {"kind": "sequence", "table": "events", "last": 8, "columns": ["amount", "sort"]}
VISITS = {
    "entity": "id", "clock": "stored", "event_time": "day",
    "columns": {"id": "text", "stored": "date", "day": "date", "amount": "number", "sort": "text"},
}  # fmt: skip


def late_visits() -> Any:
    """Events that are stored about a month after they happened."""
    _, events = people(300)
    rng = np.random.default_rng(0)
    days = np.array(events["day"], "datetime64[D]")
    return events.assign(
        stored=(days + rng.integers(0, 60, len(days))).astype(str), day=days.astype(str), sort=rng.choice(["a", "b"], len(days))
    )  # fmt: skip


def failures(config: Any) -> list[str]:
    return [proof.text for proof in all_proofs(config, quiet) if not proof.holds]


def recipe(folder: Path) -> Any:
    persons, events = people(300)
    features = {"who": {"kind": "attributes", "table": "people"}, "visits": EVENTS | {"table": "visits"}}
    return dated(folder, persons, events, {"visits": (late_visits(), VISITS)}, features=features)


def test_events_are_proved_to_be_of_the_past(tmp_path: Path) -> None:
    proofs = all_proofs(recipe(tmp_path), quiet)
    assert [proof.text for proof in proofs if not proof.holds] == []
    said = [proof.text for proof in proofs if "4 channels of their events stay the same" in proof.text]
    assert [text[:10] for text in said] == ["2020-01-01", "2021-01-01", "2022-01-01"]


def test_a_mixed_up_clock_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positive control: events count from when they happened, although they were stored after the cutoff."""
    honest = matrices.compile_sequence

    def by_event_time(*arguments: Any) -> Any:
        compiled = honest(*arguments)
        text = sql.render(compiled.query.tree)
        wrong = text.replace('"t"."@known" <=', '"t"."@time" <=')
        assert wrong != text
        object.__setattr__(compiled.query, "tree", sqlglot.parse_one(wrong, dialect="duckdb"))
        return compiled

    monkeypatch.setattr(matrices, "compile_sequence", by_event_time)
    said = "\n".join(failures(recipe(tmp_path)))
    for channel in ("amount", "sort", "gap", "age"):
        assert f"2020-01-01: channel `visits.{channel}` changes in" in said
    assert "feature `who." not in said


def test_texts_of_held_out_events_that_reach_the_vocabulary_are_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = experiments.fit_encoder
    monkeypatch.setattr(
        experiments,
        "fit_encoder",
        lambda matrix, rows: honest(matrix, rows).with_events(matrix.sequences),
    )
    said = failures(recipe(tmp_path))
    assert "encoder changes when test rows are scrambled" in said


def test_scrambled_rows_get_each_others_events(tmp_path: Path) -> None:
    made = shop(tmp_path, {"o": ORDERS | {"last": 9}}, cutoffs=["2022-01-01", "2023-01-01"])
    matrix = made.matrix()
    rows = np.array([False, False, False, True, True, True])
    found = scramble_rows(matrix, rows, np.random.default_rng(0)).sequences[0]
    before = matrix.sequences[0]
    assert [events_of(found, r) for r in range(3)] == [events_of(before, r) for r in range(3)]
    assert sorted(found.lengths[3:]) == sorted(before.lengths[3:])
    events = slice(found.offsets[3], found.offsets[6])
    assert found.categorical[0][1][-1] == NEW_LEVEL
    assert (found.codes[events] == len(before.categorical[0][1])).any()
    assert not np.isin(found.numeric[events, 0], before.numeric[:, 0]).any()
    assert (before.codes < len(before.categorical[0][1])).all()  # the matrix itself is as it was
    few = some_rows(matrix, np.array([4, 0])).sequences[0]
    assert [events_of(few, r) for r in range(2)] == [events_of(before, 4), events_of(before, 0)]


def test_a_run_is_prepared_with_its_events(tmp_path: Path) -> None:
    """Through `prepare`, as a run does; models that see columns only are fitted as before."""
    found = experiment(recipe(tmp_path))
    with found.place:
        assert found.prepared.matrix.sequences[0].name == "visits"
        outcome = found.run()
    assert [column.name for column in outcome.encoder.events["visits"]] == ["sort"]


def test_what_is_empty_is_said_in_the_log_and_in_the_plan(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    persons, events = people(200)
    features = {"who": {"kind": "attributes", "table": "people"}, "e": EVENTS | {"columns": ["amount"], "where": "amount < 0"}}  # fmt: skip
    found = experiment(dated(tmp_path, persons, events, features=features))
    with found.place:
        text = plan.text(found.config, found.prepared)
    assert "sequence `e`: no row has an event" in caplog.text
    assert "  note: sequence `e`: no row has an event\n" in text
    assert "  e: the last 8 rows of events; 0.0% of rows have any, 0.0 on average\n" in text
