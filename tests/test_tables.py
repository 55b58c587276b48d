"""Keys and rows are never silently altered: rows in = rows kept + rows rejected with a reason."""

from __future__ import annotations

import random
from datetime import date, datetime
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import CLIENTS, ORDERS, Place, Work, column, rejected, rows, write_files
from pydantic import ValidationError

from toolkit.config.tables import Dataset, FolderSource
from toolkit.data.tables import load
from toolkit.errors import ConfigError, DataError


def clients(**columns: Any) -> dict[str, Any]:
    return {"key": "id", "known": "always", "columns": {"id": "text", **columns}}


def dropping(spec: dict[str, Any]) -> dict[str, Any]:
    return {**spec, "on_bad_row": "drop"}


class TestKeysAreText:
    def test_a_leading_zero_stays_also_beside_a_blank_key(self, place: Place) -> None:
        table = place.one(dropping(clients(town="text")), "id,town\n001,Rome\n,Oslo\n7,Bonn\n")
        assert column(table, "id") == ["001", "7"]
        assert table.reasons == {"`id` is missing": 1}

    @pytest.mark.parametrize("key", ["9007199254740993", "1e5", "0x1F", "1.0", "NA", "null", "None", "-0"])
    def test_what_looks_like_a_number_or_like_nothing_stays_itself(self, place: Place, key: str) -> None:
        assert column(place.one(clients(), f"id,x\n{key},1\n"), "id") == [key]

    def test_blanks_around_a_key_belong_to_it_unless_the_source_says_trim(self, place: Place) -> None:
        text = "id\n 007 \n007\n"
        assert column(place.one(clients(), text), "id") == [" 007 ", "007"]
        with pytest.raises(DataError, match="in 1 of 2 rows"):
            place.one(clients(), text, csv={"trim": True})

    def test_a_key_of_blanks_only_is_missing(self, place: Place) -> None:
        assert place.one(dropping(clients(x="text")), "id,x\n  ,1\n1,2\n").reasons == {"`id` is missing": 1}

    def test_a_key_declared_as_integer_is_still_read_as_text(self, place: Place) -> None:
        spec = {**clients(), "columns": {"id": "integer"}}
        table = place.one(spec, "id\n001\n 2\n")
        assert column(table, "id") == ["001", " 2"]
        assert table.columns["id"].type == "text"

    def test_so_are_keys_of_other_tables_and_the_ends_of_a_relation(self, place: Place) -> None:
        declared = {
            "entity": "clients",
            "tables": {
                "clients": CLIENTS,
                "ties": {"known": "always", "columns": {"a": "integer", "b": "integer", "w": "number"}},
                "guessed": {"known": "always", "infer": True, "entity": "client"},
            },
            "relations": {"ties": {"table": "ties", "ends": ["a", "b"]}},
        }
        files = {
            "clients.csv": "id,town,age\n01,Rome,40\n",
            "ties.csv": "a,b,w\n01,02,1\n",
            "guessed.csv": "client,n\n1,5\n",
        }
        loaded = place.load(declared, files)
        assert rows(loaded["ties"]) == [{"a": "01", "b": "02", "w": 1.0}]
        assert rows(loaded["guessed"]) == [{"client": "1", "n": 5}]

    def test_a_bound_on_a_key_is_refused_rather_than_forgotten(self, place: Place) -> None:
        spec = {**clients(), "columns": {"id": {"type": "integer", "ge": 1}}}
        with pytest.raises(ConfigError, match="`ge` does not go with `id`"):
            place.one(spec, "id\n1\n")

    def test_whole_numbers_of_a_typed_file_become_the_same_digits(self, place: Place) -> None:
        place.folder.joinpath("clients.parquet").unlink(missing_ok=True)
        pq.write_table(pa.table({"id": [9007199254740993, 7]}), place.folder / "clients.parquet")
        assert column(place.load({"clients": clients()})["clients"], "id") == ["9007199254740993", "7"]

    def test_floating_point_keys_are_refused(self, place: Place) -> None:
        """A blank among whole numbers makes pandas write 1.0: what stood there is lost already."""
        pq.write_table(pa.table({"id": [1.0, None, 3.0]}), place.folder / "clients.parquet")
        with pytest.raises(DataError, match=r"`id` of `clients.parquet` holds floating-point"):
            place.load({"clients": clients()})


class TestCells:
    def test_a_surname_na_is_a_surname(self, place: Place) -> None:
        table = place.one(clients(surname="text"), "id,surname\n1,NA\n2,NULL\n3,nan\n4,\n5,None\n")
        assert column(table, "surname") == ["NA", "NULL", "nan", None, "None"]

    def test_markers_of_missing_values_are_declared_and_numbers_mean_their_value(self, place: Place) -> None:
        spec = clients(
            town={"type": "text", "missing": ["?"]}, n={"type": "number", "missing": ["-1", "n/a"]}
        )
        table = place.one(spec, "id,town,n\n1,?,-1\n2,Rome,-1.0\n3,-1,n/a\n4,NaN,NaN\n")
        assert column(table, "town") == [None, "Rome", "-1", "NaN"]
        assert column(table, "n") == [None, None, None, None]

    def test_numbers_and_truth(self, place: Place) -> None:
        spec = clients(n="number", i="integer", b="boolean")
        table = place.one(spec, "id,n,i,b\n1, 1.5 ,12,yes\n2,1e3,7.0,F\n3,-.5,9007199254740993,1\n4,,,\n")
        assert column(table, "n") == [1.5, 1000.0, -0.5, None]
        assert column(table, "i") == [12, 7, 9007199254740993, None]
        assert column(table, "b") == [True, False, True, None]

    @pytest.mark.parametrize(
        ("cell", "day"),
        [
            ("2020-06-01", date(2020, 6, 1)),
            ("2020-06-01 00:00:00.000", date(2020, 6, 1)),
            ("2020/6/1", date(2020, 6, 1)),
            ("2020-06-01T00:00:00Z", date(2020, 6, 1)),
            # as written: the offset does not move it to 31 May
            ("2020-06-01T00:00:00+02:00", date(2020, 6, 1)),
            ("9999-12-31", date(9999, 12, 31)),
        ],
    )
    def test_dates_as_they_are_written(self, place: Place, cell: str, day: date) -> None:
        table = place.one({**clients(d="date"), "known": None, "clock": "d"}, f"id,d\n1,{cell}\n")
        assert column(table, "d") == [day]

    @pytest.mark.parametrize(
        "cell",
        ["infinity", "epoch", "2020-02-30", "01.02.2020", "12020-01-01", "20-01-02", "0044-03-15 (BC)", "x"],
    )
    def test_what_is_no_date_is_no_date(self, place: Place, cell: str) -> None:
        with pytest.raises(DataError, match="1 of 1 rows") as error:
            place.one(clients(d="date"), f"id,d\n1,{cell}\n")
        assert f"`d` is not a date (for example {cell!r}): 1 row" in str(error.value)
        assert "format: '%d.%m.%Y'" in str(error.value)

    def test_a_declared_format(self, place: Place) -> None:
        spec = clients(
            d={"type": "date", "format": "%d.%m.%Y"}, t={"type": "timestamp", "format": "%H:%M %d-%m-%Y"}
        )
        table = place.one(spec, "id,d,t\n1,02.01.2020,12:30 01-02-2020\n")
        assert rows(table) == [{"id": "1", "d": date(2020, 1, 2), "t": datetime(2020, 2, 1, 12, 30)}]
        with pytest.raises(ConfigError, match="`%Q` is not a date format"):
            place.one(clients(d={"type": "date", "format": "%Q"}), "id,d\n1,02.01.2020\n")


class TestInstants:
    def test_a_date_is_known_at_the_end_of_its_day(self, place: Place) -> None:
        table = place.load(
            {"clients": CLIENTS, "orders": ORDERS},
            {"clients.csv": "id,town,age\n1,R,3\n", "orders.csv": "client,day,amount\n1,2020-12-31,5\n"},
        )["orders"]
        assert column(table, "@known") == column(table, "@time") == [datetime(2021, 1, 1)]

    def test_stamps_with_an_offset_are_one_instant_whatever_the_zone(self, place: Place) -> None:
        stamps = ["2020-06-01T12:00:00+02:00", "2020-06-01 10:00:00Z", "2020-06-01 05:00-0500",
                  "2020-06-01 12:00 Europe/Berlin", "2020-06-01 10:00:00 UTC"]  # fmt: skip
        text = "id,t\n" + "".join(f"{i},{stamp}\n" for i, stamp in enumerate(stamps))
        assert set(column(place.one(clients(t="timestamp"), text), "t")) == {datetime(2020, 6, 1, 10)}

    def test_the_declared_zone_knows_summer_time(self, place: Place) -> None:
        """Berlin moved to summer time on 29 March 2020 at 02:00 (UTC+1 before, UTC+2 after)."""
        spec = clients(t={"type": "timestamp", "timezone": "Europe/Berlin"})
        text = "id,t\n1,2020-03-29 01:30:00\n2,2020-03-29 03:30:00\n3,2020-03-29 03:30:00Z\n"
        assert column(place.one(spec, text), "t") == [
            datetime(2020, 3, 29, 0, 30), datetime(2020, 3, 29, 1, 30), datetime(2020, 3, 29, 3, 30)
        ]  # fmt: skip

    def test_mixed_zones_are_refused_until_a_zone_is_declared(self, place: Place) -> None:
        text = "id,t\n1,2020-06-01 10:00\n2,2020-06-01 10:00+02:00\n"
        with pytest.raises(
            DataError, match=r"mixes stamps with an offset \(1 rows\) and without \(1 rows\)"
        ) as error:
            place.one(clients(t="timestamp"), text)
        assert "dataset.tables.clients.columns.t.timezone" in str(error.value)
        assert place.one(clients(t={"type": "timestamp", "timezone": "UTC"}), text).rows_kept == 2

    def test_a_row_that_does_not_say_when_it_was_known_or_happened_is_rejected(self, place: Place) -> None:
        spec = dropping({"key": "id", "clock": "seen", "event_time": "done",
                         "columns": {"id": "text", "seen": "date", "done": "date"}})  # fmt: skip
        table = place.one(spec, "id,seen,done\n1,2020-01-02,2020-01-01\n2,,2020-01-01\n3,2020-01-02,\n")
        assert table.reasons == {"`seen` is missing": 1, "`done` is missing": 1}
        assert column(table, "@known") == [datetime(2020, 1, 3)]
        assert (table.first, table.last) == (datetime(2020, 1, 2), datetime(2020, 1, 2))


CHECKED = dropping({
    "key": "id",
    "clock": "day",
    "columns": {
        "id": "text", "day": "date", "n": "number", "i": "integer", "share": {"type": "number", "ge": 0, "le": 1},
        "size": {"type": "text", "values": ["S", "M", "L"]}, "code": {"type": "text", "matches": "[A-Z]{2}"},
        "name": {"type": "text", "nullable": False}, "on": "timestamp", "ok": "boolean",
    },
})  # fmt: skip
GOOD = {"id": "1", "day": "2020-01-01", "n": "1", "i": "1", "share": "0.5", "size": "M", "code": "AB", "name": "x",
        "on": "2020-01-01 10:00", "ok": "yes"}  # fmt: skip
BREACHES = [
    ({"day": "soon"}, "`day` is not a date"),
    ({"on": "10 o'clock"}, "`on` is not a timestamp"),
    ({"n": "12 apples"}, "`n` is not a number"),
    ({"n": "inf"}, "`n` is infinite"),
    ({"n": "1e999"}, "`n` is infinite"),
    ({"i": "1.5"}, "`i` is not a whole number"),
    ({"i": "9223372036854775808"}, "`i` is not a whole number"),
    ({"ok": "perhaps"}, "`ok` is not yes or no"),
    ({"id": ""}, "`id` is missing"),
    ({"id": "0"}, "the key (id) stands in an earlier row already"),
    ({"size": "XXL"}, "`size` is not one of its declared values"),
    ({"size": "m"}, "`size` is not one of its declared values"),
    ({"share": "1.01"}, "`share` is not <= 1"),
    ({"share": "-0.01"}, "`share` is not >= 0"),
    ({"code": "ABC"}, "`code` does not match its pattern"),
    ({"name": ""}, "`name` is missing"),
    ({"day": ""}, "`day` is missing"),
]


def table_text(records: list[dict[str, str]]) -> str:
    return "\n".join([",".join(GOOD), *(",".join(record.values()) for record in records)]) + "\n"


class TestRowsAreAccountedFor:
    @pytest.mark.parametrize(("change", "reason"), BREACHES)
    def test_each_kind_of_breach_has_its_reason(
        self, place: Place, change: dict[str, str], reason: str
    ) -> None:
        table = place.one(CHECKED, table_text([GOOD | {"id": "0"}, GOOD | change, GOOD | {"id": "2"}]))
        assert (table.rows_read, table.rows_kept, table.reasons) == (3, 2, {reason: 1})
        assert column(table, "id") == ["0", "2"]
        (row,) = rejected(table)
        assert (row["@row"], row["@reason"]) == (2, reason)
        assert {name: row[name] or "" for name in GOOD} == GOOD | change  # whole, as it stood in the file

    def test_all_at_once(self, place: Place) -> None:
        bad = [GOOD | {"id": str(100 + i)} | change for i, (change, _) in enumerate(BREACHES)]
        table = place.one(CHECKED, table_text([GOOD | {"id": "0"}, *bad]))
        assert table.rows_read == len(BREACHES) + 1 == table.rows_kept + table.rows_rejected
        assert sum(table.reasons.values()) == table.rows_rejected == len(BREACHES)
        assert [row["@reason"] for row in rejected(table)] == [reason for _, reason in BREACHES]

    def test_a_row_that_breaks_two_rules_counts_once(self, place: Place) -> None:
        table = place.one(CHECKED, table_text([GOOD, GOOD | {"share": "7", "size": "q", "name": ""}]))
        assert table.reasons == {"`name` is missing": 1}

    def test_two_blank_keys_are_missing_not_duplicates(self, place: Place) -> None:
        table = place.one(CHECKED, table_text([GOOD, GOOD | {"id": ""}, GOOD | {"id": ""}]))
        assert table.reasons == {"`id` is missing": 2}

    def test_a_key_of_several_columns(self, place: Place) -> None:
        spec = dropping({"key": ["a", "b"], "known": "always", "columns": {"a": "text", "b": "text"}})
        loaded = place.load(
            {"clients": CLIENTS, "pairs": spec},
            {"clients.csv": "id,town,age\n1,R,3\n", "pairs.csv": "a,b\n1,1\n1,2\n1,1\n2,1\n1,\n"},
        )["pairs"]
        assert [tuple(row.values()) for row in rows(loaded)] == [("1", "1"), ("1", "2"), ("2", "1")]
        assert loaded.reasons == {"the key (a, b) stands in an earlier row already": 1, "`b` is missing": 1}

    def test_the_pattern_may_be_any_regular_expression(self, place: Place) -> None:
        spec = dropping(clients(code={"type": "text", "matches": r"(?!AA)[A-Zé]{2}|\d+"}))
        table = place.one(spec, 'id,code\n1,AB\n2,AA\n3,é1\n4,12\n5,"12\n"\n6,Éé\n')
        assert column(table, "id") == ["1", "4"]
        with pytest.raises(ConfigError, match="not a regular expression") as error:
            place.one(clients(code={"type": "text", "matches": "(["}), "id,code\n1,AB\n")
        assert error.value.where == "dataset.tables.clients.columns.code.matches"

    def test_refusing_is_the_default_and_names_file_column_count_example_and_fix(self, place: Place) -> None:
        spec = {**CHECKED, "on_bad_row": "refuse"}
        bad = [GOOD | {"id": "2", "n": "x"}, GOOD | {"id": "3", "n": "y"}, GOOD | {"id": "4", "share": "3"}]
        with pytest.raises(DataError) as error:
            place.one(spec, table_text([GOOD, *bad]))
        assert error.value.what == "`clients.csv` breaks the contract of table `clients` in 3 of 4 rows"
        assert str(error.value.where).endswith("clients.csv, record 2, 3, 4")
        assert error.value.why == (
            "`n` is not a number (for example 'x'): 2 rows; `share` is not <= 1 (for example '3'): 1 row"
        )
        assert "on_bad_row: drop" in str(error.value.fix)

    def test_nothing_is_cached_for_a_refused_table(self, place: Place) -> None:
        with pytest.raises(DataError):
            place.one(clients(), "id\n1\n1\n")
        assert not [path for path in (place.cache.root / "tables").iterdir() if path.is_dir()]

    def test_the_order_of_the_rows_is_the_files(self, place: Place) -> None:
        keys = [f"{(i * 7919) % 200_003:06d}" for i in range(100_000)]
        table = place.one(
            dropping(clients(n="number")), "id,n\n" + "".join(f"{k},1\n" for k in keys) + "x,bad\n"
        )
        assert column(table, "id") == keys
        assert table.rows_rejected == 1

    def test_without_any_row_there_is_no_entity_to_score(self, place: Place) -> None:
        with pytest.raises(DataError, match=r"`clients.csv` has no rows"):
            place.one(clients(), "id\n")
        with pytest.raises(DataError, match=r"all 1 rows of `clients.csv` were rejected"):
            place.one(dropping(clients(n="number")), "id,n\n1,x\n")

    def test_a_table_of_events_may_be_empty(self, place: Place) -> None:
        files = {"clients.csv": "id,town,age\n1,R,3\n", "orders.csv": "client,day,amount\n"}
        table = place.load({"clients": CLIENTS, "orders": ORDERS}, files)["orders"]
        assert (table.rows_read, table.first) == (0, None)


class TestTypesOfUndeclaredColumns:
    @pytest.mark.parametrize(
        ("cells", "kind"),
        [
            (["1", "2", ""], "integer"),
            (["1.0", " ", "3"], "integer"),
            (["1.5", "", "2"], "number"),
            (["1e3", "nan", "2"], "text"),  # NaN is no number and no blank: whoever means it declares it
            (["007", "12", "13"], "text"),  # a code
            (["0", "0.5", "1"], "number"),
            (["9007199254740993", "1", "2"], "text"),  # too long to be exact
            (["2020-01-01", "", "2020-12-31"], "date"),
            (["2020-01-01 00:00:00", "2020-01-02", ""], "timestamp"),
            (["01/02/2020", "2020-01-01", ""], "text"),
            (["yes", "no", "no"], "text"),
            (["", "", " "], "text"),
            (["inf", "1", "2"], "number"),
        ],
    )
    def test_the_narrowest_type_that_every_cell_fits(self, place: Place, cells: list[str], kind: str) -> None:
        spec = dropping({"key": "id", "known": "always", "infer": True})
        table = place.one(spec, "id,x\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells)))
        assert table.columns["x"].type == kind
        assert table.inferred == ("x",)
        assert table.columns["id"].type == "text"

    def test_declared_columns_keep_their_type_and_without_infer_others_are_ignored(
        self, place: Place
    ) -> None:
        text = "id,zip,n\n1,123,4\n"
        guessed = place.one({**clients(zip="text"), "infer": True}, text)
        assert (guessed.columns["zip"].type, guessed.columns["n"].type) == ("text", "integer")
        plain = place.one(clients(zip="text"), text)
        assert plain.ignored == ("n",)
        assert rows(plain) == [{"id": "1", "zip": "123"}]


class TestNames:
    HOSTILE = (
        'a"b; drop',
        "two words",
        "naïve ☃",
        "order",
        "x" * 300,
        "it's",
        "a.b",
        "cutoff",
        "entity",
        "--",
    )

    def test_columns_may_be_called_anything(self, place: Place) -> None:
        header = ",".join('"' + name.replace('"', '""') + '"' for name in self.HOSTILE)
        spec = clients(**dict.fromkeys(self.HOSTILE, "integer"))
        spec["derive"] = {"sum; --": '"order" + "two words" + "a""b; drop"'}
        table = place.one(spec, f"id,{header}\n1," + ",".join(map(str, range(len(self.HOSTILE)))) + "\n")
        (row,) = rows(table)
        assert row == {"id": "1", **{n: i for i, n in enumerate(self.HOSTILE)}, "sum; --": 3 + 1 + 0}
        assert table.derived == {"sum; --": ('a"b; drop', "order", "two words")}

    @pytest.mark.parametrize(
        "name", ["order", "select", 'x"; drop table y', "raw", "typed", "rejected", "main", "ü x"]
    )
    def test_so_may_tables(self, place: Place, name: str) -> None:
        declared = {
            "entity": name,
            "tables": {name: {**clients(), "read": "c.csv"}, "other": {**clients(), "read": "c.csv"}},
        }
        loaded = place.load(declared, {"c.csv": "id\n1\n"})
        assert [loaded[name].rows_kept, loaded["other"].rows_kept] == [1, 1]

    def test_what_the_engine_cannot_tell_apart_is_refused(self, place: Place) -> None:
        with pytest.raises(DataError, match="the column `ID` twice"):
            place.one(clients(), "id,ID\n1,2\n")
        with pytest.raises(ConfigError, match="two tables are called `Clients`"):
            place.load(
                {"clients": clients(), "Clients": {**clients(), "read": "clients.csv"}},
                {"clients.csv": "id\n1\n"},
            )
        with pytest.raises(ConfigError, match="two columns are called `Town`"):
            place.one({**clients(town="text"), "derive": {"Town": "town"}}, "id,town\n1,R\n")

    @pytest.mark.parametrize("name", ["@row", "@known", "@TIME", "@reason"])
    def test_the_names_of_our_own_columns_are_taken(self, place: Place, name: str) -> None:
        with pytest.raises(DataError, match="a name that is taken here"):
            place.one(clients(), f"id,{name}\n1,2\n")


class TestDerivedColumns:
    def test_they_are_typed_and_know_what_they_are_made_of(self, place: Place) -> None:
        spec = {**clients(a="number", b="integer", d="date"),
                "derive": {"r": "a / b", "big": "a > 1", "y": "year(d)", "t": "coalesce(id, 'x') || '!'"}}  # fmt: skip
        table = place.one(spec, "id,a,b,d\n1,6,2,2020-05-05\n2,1,0,\n")
        assert column(table, "r") == [3.0, None]  # nothing divided by zero is missing, not infinite
        assert column(table, "big") == [True, False]
        assert {name: table.columns[name].type for name in spec["derive"]} == {
            "r": "number", "big": "boolean", "y": "integer", "t": "text"
        }  # fmt: skip
        assert table.sources({"r", "y"}) == {("clients", "a"), ("clients", "b"), ("clients", "d")}

    def test_a_label_that_new_rows_lack_is_absent_and_so_is_what_derives_from_it(self, place: Place) -> None:
        spec = {**clients(a="number", left="text"), "derive": {"gone": "left = 'yes'", "twice": "a * 2"}}
        dataset = Dataset.model_validate({"entity": "clients", "tables": {"clients": spec}})
        write_files(place.folder, {"clients.csv": "id,a\n1,2\n"})
        source = FolderSource(kind="folder", path=str(place.folder))
        with pytest.raises(DataError, match="has no column `left`"):
            load(dataset, source, ["clients"], place.engine, place.cache)
        table = load(dataset, source, ["clients"], place.engine, place.cache, {"clients": {"left"}})[
            "clients"
        ]
        assert rows(table) == [{"id": "1", "a": 2.0, "twice": 4.0}]


class TestRowsKnownByTheirPosition:
    """`key: '@row'`: a file without a column that tells its rows apart."""

    SPEC: ClassVar[dict[str, Any]] = {"key": "@row", "known": "always", "infer": True}

    def test_the_position_is_a_text_and_counts_from_one(self, place: Place) -> None:
        table = place.one(self.SPEC, "town,age\nRome,3\nOslo,4\nRome,3\n")
        assert column(table, "@position") == ["1", "2", "3"]
        assert table.inferred == ("town", "age")

    def test_dropped_rows_keep_theirs(self, place: Place) -> None:
        spec = {"key": "@row", "known": "always", "columns": {"age": "integer"}, "on_bad_row": "drop"}
        table = place.one(spec, "age\n3\nx\n5\n")
        assert column(table, "@position") == ["1", "3"]
        assert rejected(table)[0]["@position"] == "2"

    def test_in_parquet_too_and_in_order_however_many(self, place: Place) -> None:
        place.folder.mkdir(exist_ok=True)
        pq.write_table(pa.table({"x": list(range(300_000))}), place.folder / "clients.parquet")
        table = place.load({"clients": self.SPEC})["clients"]
        assert column(table, "@position") == [str(x + 1) for x in column(table, "x")]

    def test_nothing_may_point_at_a_position(self) -> None:
        declared = {"entity": "clients", "tables": {"clients": self.SPEC, "orders": ORDERS}}
        with pytest.raises(ValidationError, match="a row's position is nothing that orders could name"):
            Dataset.model_validate(declared)

    def test_a_file_with_a_column_of_that_name(self, place: Place) -> None:
        with pytest.raises(DataError, match="a name that is taken here"):
            place.one(self.SPEC, "@position,x\n1,2\n")

    def test_run_and_scoring_name_rows_by_it(self, work: Work) -> None:
        draw = random.Random(4)
        ages = [draw.randint(18, 80) for _ in range(300)]
        lines = [f"{age},{'yes' if draw.random() < age / 100 else 'no'}" for age in ages]
        work.write({"data/rows.csv": "age,label\n" + "\n".join(lines) + "\n"})
        said = work.run("recipe=flat", "dataset.tables.rows.key=@row")
        assert said.code == 0, said.err
        (run,) = work.runs()
        predicted = pq.read_table(run / "predictions.parquet")
        assert set(predicted["entity"].to_pylist()) <= {str(number) for number in range(1, 301)}
        work.write({"new/rows.csv": "age\n20\n70\n"})
        said = work.run("score", f"run={run}", "input=new", "output=scores")
        assert said.code == 0, said.err
        assert pq.read_table(work.folder / "scores/scores.parquet")["entity"].to_pylist() == ["1", "2"]


class TestTypesThatAreInferred:
    @pytest.mark.parametrize(
        ("cells", "kind", "first"),
        [
            ("1,5;2;1.234,25", "number", 1.5),
            ("-3,25;+4,5", "number", -3.25),
            ("1,500;2,250", "text", "1,500"),  # thousands, or a decimal comma: nobody can tell
            ("1.500;2.250", "number", 1.5),
            ("1,5;2.5", "text", "1,5"),
            ("0,5;007,5", "text", "0,5"),
            ("31.12.2024;1.2.2025", "date", date(2024, 12, 31)),
            ("31.12.2024;1.13.2025", "text", "31.12.2024"),
            ("31.12.24;01.02.25", "text", "31.12.24"),
            ("12/31/2024;01/02/2025", "text", "12/31/2024"),
        ],
    )
    def test_numbers_with_a_comma_and_days_with_dots(
        self, place: Place, cells: str, kind: str, first: Any
    ) -> None:
        spec = {"key": "id", "known": "always", "infer": True}
        lines = [f"{number};{cell}" for number, cell in enumerate(cells.split(";"))]
        table = place.one(spec, "id;x\n" + "\n".join(lines) + "\n")
        assert table.columns["x"].type == kind
        assert column(table, "x")[0] == first

    def test_a_declared_comma_leaves_numbers_that_are_no_text_alone(self, place: Place) -> None:
        place.folder.mkdir(exist_ok=True)
        pq.write_table(pa.table({"id": ["1"], "x": [1.234]}), place.folder / "clients.parquet")
        table = place.load({"clients": clients(x={"type": "number", "decimal": ","})})["clients"]
        assert column(table, "x") == [1.234]

    def test_a_number_with_a_comma_is_told_its_remedy(self, place: Place) -> None:
        with pytest.raises(DataError, match="is not a number") as error:
            place.one(clients(x="number"), "id;x\n1;2,5\n")
        assert "decimal: ','" in str(error.value.fix)
