"""`where:`, `derive:` and `value:` are expressions over declared columns, and nothing else gets in."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import duckdb
import pytest
from conftest import Place, column
from sqlglot import exp

from toolkit.data import sql
from toolkit.errors import ConfigError, DataError

COLUMNS = ["amount", "Kind", "day", "order", 'a"b; drop', "two words"]


def admit(text: str) -> sql.Expression:
    return sql.expression(text, COLUMNS, "features.x.where")


def refusal(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        admit(text)
    assert error.value.where == "features.x.where"
    return error.value


class TestWhatIsAdmitted:
    @pytest.mark.parametrize(
        ("text", "columns"),
        [
            ("amount > 5 and kind <> 'Stock'", {"amount", "Kind"}),  # names are found whatever their case
            ("ln(1 + amount) / nullif(amount, 0)", {"amount"}),
            ("case when amount is null then 0 else round(amount, 2) end", {"amount"}),
            ("day between '2020-01-01' and date '2020-12-31'", {"day"}),
            ("extract(year from day) = 2020 or month(day) in (1, 2)", {"day"}),
            ("date_diff('day', day, timestamp '2020-01-01') > 3", {"day"}),
            ("day + interval 3 day > '2020-01-01'", {"day"}),
            ("try_cast(kind as decimal(10, 2)) > 1.5", {"Kind"}),
            ("regexp_matches(kind, '^a.*') and kind like '%x_' and kind ilike 'A%'", {"Kind"}),
            ("kind = 'it''s; drop table x --'", {"Kind"}),
            ('"order" > 1 and "two words" is distinct from 2 and "a""b; drop" > 0', set(COLUMNS[3:])),
            ("coalesce(kind, '') || 'x' = upper(trim(kind))", {"Kind"}),
            ("greatest(amount, 1) // 2 % 3 = -1 and not (amount ^ 2 > 3)", {"amount"}),
            ("amount > 1 /* a remark */ -- and another", {"amount"}),
        ],
    )
    def test_expressions_and_the_columns_they_read(self, text: str, columns: set[str]) -> None:
        assert admit(text).columns == columns

    def test_the_engine_runs_every_one_of_them(self, place: Place) -> None:
        """What is admitted can be rendered: a table with these columns, and each function on the list."""
        connection = duckdb.connect()
        connection.execute("CREATE TABLE t (a DOUBLE, s VARCHAR, d DATE)")
        calls = {
            "abs": "a", "ceil": "a", "coalesce": "a, 1", "concat": "s, 'x'", "contains": "s, 'x'", "cos": "a", "sin": "a",
            "date_diff": "'day', d, d", "ends_with": "s, 'x'", "exp": "a", "extract": "year from d", "floor": "a",
            "greatest": "a, 1", "least": "a, 1", "left": "s, 2", "length": "s", "ln": "a", "lower": "s", "month": "d",
            "nullif": "a, 1", "pow": "a, 2", "quarter": "d", "regexp_extract": "s, 'x'", "regexp_matches": "s, 'x'",
            "regexp_replace": "s, 'x', 'y'", "replace": "s, 'x', 'y'", "right": "s, 2", "round": "a, 1", "sign": "a",
            "split_part": "s, 'x', 1", "sqrt": "a", "starts_with": "s, 'x'", "substring": "s, 1, 2", "trim": "s",
            "try_cast": "s as double", "upper": "s", "year": "d", "day": "d", "week": "d", "dayofweek": "d", "if": "a > 1, 1, 2",
        }  # fmt: skip
        assert set(sql.FUNCTIONS.split(", ")) == set(calls)
        for name, arguments in calls.items():
            tree = sql.expression(f"{name}({arguments})", ["a", "s", "d"], "x").of("t")
            connection.execute(sql.render(exp.select(tree).from_(sql.table("t"))))

    def test_columns_are_qualified_and_quoted_in_one_place(self) -> None:
        rendered = sql.render(admit('"a""b; drop" > 1 and KIND = \'x\'').of('t"x'))
        assert rendered == '"t""x"."a""b; drop" > 1 AND "t""x"."Kind" = \'x\''

    def test_remarks_do_not_reach_the_engine(self) -> None:
        assert sql.render(admit("amount /* x */ > 1 -- y").of("t")) == '"t"."amount" > 1'


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "text",
        [
            "(select 1)",
            "amount in (select amount from donors)",
            "exists(select 1)",
            "amount = any(select 1)",
            "select 1",
            "read_csv('/etc/passwd')",
            "read_text('/etc/passwd') is not null",
            "getenv('HOME') = 'x'",
            "current_setting('threads') = '1'",
            "current_user = 'x'",
            "sum(amount) over ()",
            "sum(amount) > 1",
            "count(*) > 1",
            "row_number() over (order by day) = 1",
            "list_transform([1], x -> x + 1)",
            "kind -> 'a'",
            "[x for x in [1, 2]]",
            "{'a': 1}",
            "amount[1]",
            "unnest([1])",
            "columns(*)",
            "*",
            "now() > day",
            "current_date > day",
            "random() < 0.5",
            "uuid()",
            "pragma version",
            "install httpfs",
            "attach 'x.db'",
            "copy donors to 'x.csv'",
            "set threads = 1",
            "amount > $x",
            "amount > ?",
            "#1",
            "kind collate nocase = 'x'",
            "cast(kind as json)",
            "cast(amount as int[])",
            "kind::blob",
            "e'\\x41' = kind",
            "$$x$$ = kind",
            "nextval('s')",
            "query('select 1')",
            "amount as x",
            "amount = 1; drop table donors",
            "amount = 1; amount = 2",
            "amount, day",
            "amount > 1 limit 1",
            "",
            ";",
            "amount >",
            "'open",
            "/* open",
            "amount > 1)",
        ],
    )
    def test_it_names_where_it_stands_and_says_why(self, text: str) -> None:
        assert str(refusal(text))

    @pytest.mark.parametrize(
        "text", ["donors.amount > 1", "main.donors.amount > 1", "amuont > 1", "@row = 1", "rowid = 1"]
    )
    def test_only_declared_columns(self, text: str) -> None:
        error = refusal(text)
        assert "which is not a column here" in error.what or "may not" in error.what

    def test_the_nearest_column_is_named(self) -> None:
        assert "did you mean `amount`?" in str(refusal("amuont > 1").fix)

    def test_a_function_off_the_list_is_named_with_the_list(self) -> None:
        error = refusal("getenv('HOME')")
        assert "uses `getenv`" in error.what
        assert "regexp_matches" in str(error.fix)

    def test_a_name_that_is_a_word_of_sql_needs_quotes_and_is_told_so(self) -> None:
        with pytest.raises(ConfigError, match="is not an SQL expression") as error:
            sql.expression("case > 1", ["case"], "x")
        assert "in double ones" in str(error.value.fix)
        assert sql.expression('"case" > 1', ["case"], "x").columns == {"case"}

    @pytest.mark.parametrize(
        "text",
        [
            "(" * 5000 + "amount" + ")" * 5000,
            "not " * 5000 + "amount > 1",
            "abs(" * 3000 + "amount" + ")" * 3000,
            "amount" + " + amount" * 5000,
            "-" * 3001 + "amount",
            "case when amount > 1 then 1 else " * 2000 + "0" + " end" * 2000,
            "(" * 300 + "amount" + ")" * 300,
        ],
    )
    def test_too_deep_is_an_error_not_a_crash(self, text: str) -> None:
        error = refusal(text)
        assert len(error.what) < 400

    def test_wide_is_not_deep(self) -> None:
        assert admit("amount in (" + ", ".join(map(str, range(5000))) + ")").columns == {"amount"}
        assert admit(" or ".join(f"amount = {i}" for i in range(150))).columns == {"amount"}


class TestInTheEngine:
    SPEC: dict[str, Any] = {
        "key": "id", "known": "always", "columns": {"id": "text", "a": "number", "s": "text"}
    }  # fmt: skip

    def derive(self, place: Place, text: str) -> list[Any]:
        return column(place.one({**self.SPEC, "derive": {"x": text}}, "id,a,s\n1,4,it's\n2,0,\n"), "x")

    @pytest.mark.parametrize(
        ("text", "values"),
        [
            ("1 / a", [0.25, None]),  # nothing divided by zero: missing, neither infinite nor an error
            ("5 % a", [1.0, None]),
            ("s = 'it''s'", [True, None]),
            ("case when s is null then 'none' else s end", ["it's", "none"]),
            ("try_cast(s as double)", [None, None]),
        ],
    )
    def test_values(self, place: Place, text: str, values: list[Any]) -> None:
        assert self.derive(place, text) == values

    def test_what_only_the_data_shows_to_be_wrong_is_a_clear_error(self, place: Place) -> None:
        with pytest.raises(DataError, match="could not run a query: Conversion Error") as error:
            self.derive(place, "cast(s as double)")
        assert "`derive`" in str(error.value.fix)
        with pytest.raises(DataError, match="could not run a query"):
            self.derive(place, "s + 1")

    def test_the_allow_list_is_needed(self, place: Place) -> None:
        """Positive control: the engine itself would run what the list refuses."""
        text = place.folder / "secret.txt"
        text.write_text("secret")
        assert duckdb.connect().execute("SELECT content FROM read_text($p)", {"p": str(text)}).fetchone() == (
            "secret",
        )
        with pytest.raises(ConfigError):
            self.derive(place, f"(select content from read_text('{text}'))")


class TestIntervals:
    """The engine holds 30 days and 1 month for equal, and computes one of two sums that differ in that alone."""

    SPEC: dict[str, Any] = {
        "key": "id", "known": "always", "columns": {"id": "text", "day": "date", "n": "integer"}
    }  # fmt: skip
    TEXT = "id,day,n\n1,2024-01-31,30\n2,2024-02-10,1\n"
    BOTH = ("day + interval 30 day", "day + interval 1 month")

    def test_the_fault_is_there(self) -> None:
        """Positive control, with the expressions as they are written."""
        rows = "(VALUES (DATE '2024-01-31'), (DATE '2024-02-10')) t(day)"
        both = duckdb.connect().execute(f"SELECT {self.BOTH[0]}, {self.BOTH[1]} FROM {rows}").fetchall()
        if both[0] == (datetime(2024, 3, 1), datetime(2024, 2, 29)):
            pytest.skip("this release of the engine tells them apart")
        assert both[0] == (datetime(2024, 3, 1), datetime(2024, 3, 1))

    @pytest.mark.parametrize("days", ["30 day", "'30' days", "720 hours", "43200 minute"])
    def test_days_and_months_stay_apart_in_one_table(self, place: Place, days: str) -> None:
        derive = {
            "thirty": f"day + interval {days}",
            "month": "day + interval 1 month",
            "turned": f"interval {days} + day",
            "back": f"day - (interval {days})",
            "month_back": "day - interval 1 month",
            "both": f"day + interval {days} + interval 30 day",
            "two_months": "day + interval 2 month",
        }
        table = place.one({**self.SPEC, "derive": derive}, self.TEXT)
        assert [column(table, name)[0].date().isoformat() for name in derive] == [
            "2024-03-01", "2024-02-29", "2024-03-01", "2024-01-01", "2023-12-31", "2024-03-31", "2024-03-31",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "text",
        [
            "day + interval (n) day > '2020-01-01'",  # a length of columns is no constant
            "cast(day as timestamp) - timestamp '2020-01-01' > interval 30 day",  # comparing moves nothing
            "day between date '2020-01-01' - interval 30 day and '2021-01-01'",
            "case when n > 1 then day + interval 30 day else day + interval 1 month end > '2020-01-01'",
            "day + interval 0 day > '2020-01-01'",
        ],
    )
    def test_what_has_a_safe_form_runs(self, place: Place, text: str) -> None:
        column(place.one({**self.SPEC, "derive": {"x": text}}, self.TEXT), "x")

    @pytest.mark.parametrize(
        "text",
        [
            "day + (interval 15 day + interval 15 day)",
            "day + 2 * interval 15 day",
            "day + interval '1 month 15 days'",
            "day + interval '00:30'",
            "day + interval (10 + 20) day",
            "day + interval 1.5 day",
            "day + case when n > 1 then interval 30 day else interval 1 month end",
            "day + '30 days'",
            "interval 30 day - day",
        ],
    )
    def test_what_the_engine_could_put_together_again_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match="uses an interval in a way that is not safe") as error:
            sql.expression(text, ["day", "n"], "x")
        assert "interval" in str(error.value.fix)
