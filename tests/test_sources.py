"""Where tables come from: text in any common dress, Parquet, databases; and what is said when they do not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Place, column, rejected, rows

from toolkit.config.tables import DatabaseSource, Dataset
from toolkit.data import tables
from toolkit.data.sources import packaged_extension
from toolkit.errors import ConfigError, DataError, UserError

SPEC: dict[str, Any] = {"key": "id", "known": "always", "columns": {"id": "text", "town": "text"}}
TEXT = "id,town\n001,Zürich\n002,København\n"
# an engine that does not look for extensions on the net
ALONE = duckdb.connect(config={"autoinstall_known_extensions": "false"})
ROWS = [{"id": "001", "town": "Zürich"}, {"id": "002", "town": "København"}]


def zipped(data: bytes, *names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names or ("clients.csv",):
            archive.writestr(name, data)
    return buffer.getvalue()


def zst_file(data: bytes, folder: Path) -> bytes:
    path = folder / "x.zst"
    with pa.output_stream(str(path), compression="zstd") as out:
        out.write(data)
    found = path.read_bytes()
    path.unlink()
    return found


class TestTextFiles:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "latin-1", "utf-16", "utf-16-le"])
    def test_encodings_are_found(self, place: Place, encoding: str) -> None:
        options = {"csv": {"encoding": encoding}} if encoding == "utf-16-le" else {}
        assert rows(place.one(SPEC, TEXT.encode(encoding), **options)) == ROWS

    def test_a_wrong_encoding_is_said(self, place: Place) -> None:
        with pytest.raises(DataError, match="is not utf-16"):
            place.one(SPEC, TEXT.encode(), csv={"encoding": "utf-16"})
        with pytest.raises(DataError, match="is not ascii"):
            place.one(SPEC, TEXT.encode(), csv={"encoding": "ascii"})
        with pytest.raises(DataError, match=r"breaks the contract .* in 2 of 2 rows") as error:
            place.one(SPEC, TEXT.encode("latin-1"), csv={"encoding": "utf-8"})
        assert "bytes that are not UTF-8: 2 rows" in str(error.value)
        with pytest.raises(ConfigError, match="`utf-9` is not an encoding"):
            place.one(SPEC, TEXT, csv={"encoding": "utf-9"})

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_delimiters_are_found(self, place: Place, delimiter: str) -> None:
        assert rows(place.one(SPEC, TEXT.replace(",", delimiter))) == ROWS

    def test_a_delimiter_inside_a_quoted_name_does_not_count(self, place: Place) -> None:
        spec = {"key": "a,b,c", "known": "always", "columns": {"a,b,c": "text", "town": "text"}}
        assert rows(place.one(spec, '"a,b,c";town\n1;R\n')) == [{"a,b,c": "1", "town": "R"}]

    def test_a_delimiter_of_ones_own(self, place: Place) -> None:
        assert rows(place.one(SPEC, TEXT.replace(",", "^"), csv={"delimiter": "^"})) == ROWS
        with pytest.raises(ConfigError, match="not one character"):
            place.one(SPEC, TEXT, csv={"delimiter": "||"})

    @pytest.mark.parametrize(
        ("ending", "press"),
        [
            (".gz", gzip.compress),
            (".bz2", bz2.compress),
            (".xz", lzma.compress),
            (".zip", zipped),
            (".zst", None),
        ],
    )
    @pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
    def test_compressions(
        self, place: Place, ending: str, press: Callable[[bytes], bytes] | None, encoding: str
    ) -> None:
        data = TEXT.encode(encoding)
        pressed = press(data) if press else zst_file(data, place.folder)
        loaded = place.load({"clients": SPEC}, {f"clients.csv{ending}": pressed})
        assert rows(loaded["clients"]) == ROWS

    @pytest.mark.parametrize(
        ("ending", "press"),
        [
            (".gz", gzip.compress),
            (".bz2", bz2.compress),
            (".xz", lzma.compress),
            (".zip", zipped),
            (".zst", None),
        ],
    )
    def test_a_compressed_file_that_is_cut_off(
        self, place: Place, ending: str, press: Callable[[bytes], bytes] | None
    ) -> None:
        data = b"id,town\n" + b"".join(b"%d,town %d\n" % (i, i * i) for i in range(5000))
        pressed = press(data) if press else zst_file(data, place.folder)
        with pytest.raises(DataError, match=f"`clients.csv{ending}` cannot be read") as error:
            place.load({"clients": SPEC}, {f"clients.csv{ending}": pressed[: len(pressed) // 2]})
        assert "write it again" in str(error.value)

    def test_archives_hold_one_file(self, place: Place) -> None:
        data = zipped(TEXT.encode(), "a.csv", "__MACOSX/._a.csv")
        assert rows(place.load({"clients": SPEC}, {"clients.csv.zip": data})["clients"]) == ROWS
        with pytest.raises(DataError, match="holds 2 files, not one"):
            place.load({"clients": SPEC}, {"clients.csv.zip": zipped(TEXT.encode(), "a.csv", "b.csv")})

    def test_line_breaks_quotes_and_delimiters_inside_a_cell(self, place: Place) -> None:
        text = 'id,town\r\n1,"New\r\nYork"\r\n2,"he said ""hi"", left"\r\n3,"a\nb"\r\n"4",O"Neil\r\n'
        assert column(place.one(SPEC, text), "town") == [
            "New\r\nYork",
            'he said "hi", left',
            "a\nb",
            'O"Neil',
        ]

    def test_empty_lines_are_no_rows_and_the_last_line_needs_no_end(self, place: Place) -> None:
        assert place.one(SPEC, "id,town\n1,R\n\n\n2,O").rows_read == 2

    def test_names_and_cells_are_trimmed_on_request(self, place: Place) -> None:
        table = place.one(SPEC, "id , town\n1, Rome \n", csv={"trim": True})
        assert rows(table) == [{"id": "1", "town": "Rome"}]

    def test_a_saved_row_index_without_a_name(self, place: Place) -> None:
        table = place.one(SPEC, ",id,town\n0,1,Rome\n")
        assert (rows(table), table.ignored) == ([{"id": "1", "town": "Rome"}], ("column_1",))

    def test_lines_of_the_wrong_shape_are_counted_and_kept_aside(self, place: Place) -> None:
        text = "id,town\n1,R\n2,O,extra\n3\n4,B\n"
        with pytest.raises(DataError, match="in 2 of 4 rows") as error:
            place.one(SPEC, text)
        assert "line 3, 4" in str(error.value.where)
        assert error.value.why == "too many cells in the line: 1 row; too few cells in the line: 1 row"
        table = place.one({**SPEC, "on_bad_row": "drop"}, text)
        assert (table.rows_read, table.rows_kept) == (4, 2)
        assert rejected(table) == [
            {"@line": 3, "@reason": "too many cells in the line", "@text": "2,O,extra"},
            {"@line": 4, "@reason": "too few cells in the line", "@text": "3"},
        ]

    def test_malformed_lines_and_broken_rows_together(self, place: Place) -> None:
        spec = {**SPEC, "columns": {"id": "text", "n": "integer"}, "on_bad_row": "drop"}
        table = place.one(spec, "id,n\n1,x\n2,2,2\n3,3\n")
        assert (table.rows_read, table.rows_kept) == (3, 1)
        assert [(r["@row"], r["@line"], r["id"], r["@text"]) for r in rejected(table)] == [
            (1, None, "1", None), (None, 3, None, "2,2,2")
        ]  # fmt: skip

    @pytest.mark.parametrize("policy", ["refuse", "drop"])
    def test_an_open_quote_is_never_dropped_for_it_swallows_rows(self, place: Place, policy: str) -> None:
        spec = {**SPEC, "on_bad_row": policy}
        with pytest.raises(DataError, match="a quote that is not closed") as error:
            place.one(spec, 'id,town\n1,R\n2,"O\n3,B\n4,P\n')
        assert "line 3" in str(error.value.where)
        assert "close the quote" in str(error.value.fix)

    def test_mixed_line_endings_are_named(self, place: Place) -> None:
        with pytest.raises(DataError, match="its lines end in different ways"):
            place.one(SPEC, "id,town\r\n1,R\n2,O\r\n3,B\n")

    def test_old_macintosh_line_endings(self, place: Place) -> None:
        assert rows(place.one(SPEC, TEXT.replace("\n", "\r"))) == ROWS


class TestWhatIsMissing:
    def refused(self, place: Place, text: str | bytes, spec: dict[str, Any] = SPEC) -> UserError:
        with pytest.raises(DataError) as error:
            place.one(spec, text)
        return error.value

    def test_an_empty_file(self, place: Place) -> None:
        error = self.refused(place, "")
        assert error.what == "`clients.csv` is empty (0 bytes)"
        assert str(error.where).endswith("data/clients.csv")

    def test_a_file_of_blank_lines(self, place: Place) -> None:
        assert "has no header line" in self.refused(place, "\n\n").what

    def test_a_header_that_names_a_column_twice(self, place: Place) -> None:
        assert "has the column `town` twice" in self.refused(place, "id,town,town\n1,2,3\n").what

    def test_a_missing_column_and_the_nearest_one(self, place: Place) -> None:
        error = self.refused(place, "id,twon\n1,2\n")
        assert error.what == "`clients.csv` has no column `town`, which table `clients` declares"
        assert "did you mean `twon`?" in str(error.fix)

    def test_no_header(self, place: Place) -> None:
        assert "is the first line of the file its header?" in str(self.refused(place, "1,Rome\n2,Oslo\n").fix)

    def test_a_column_named_for_a_role(self, place: Place) -> None:
        spec = {"key": "key", "known": "always", "infer": True}
        error = self.refused(place, "id,town\n1,2\n", spec)
        assert "has no column `key`, which table `clients` names as its key" in error.what

    def test_what_is_no_text(self, place: Place) -> None:
        assert "is not a text file" in self.refused(place, zipped(b"x" * 100)).what

    def test_a_missing_file_and_the_nearest_one(self, place: Place) -> None:
        with pytest.raises(DataError, match="there is no file for table `clients`") as error:
            place.load({"clients": SPEC}, {"client.csv": TEXT})
        assert "did you mean `client.csv`?" in str(error.value.fix)
        with pytest.raises(DataError, match=r"there is no file for table `clients`: `clinet.csv`") as error:
            place.load({"clients": {**SPEC, "read": "clinet.csv"}})
        assert "did you mean `client.csv`?" in str(error.value.fix)

    def test_a_missing_folder_and_the_nearest_one(self, place: Place) -> None:
        with pytest.raises(DataError, match=r"the folder `.*/daat` does not exist") as error:
            place.load({"clients": SPEC}, {}, path=str(place.folder.parent / "daat"))
        assert "did you mean `data`?" in str(error.value.fix)

    def test_a_folder_in_place_of_a_file(self, place: Place) -> None:
        (place.folder / "clients.csv").mkdir()
        with pytest.raises(DataError, match=r"`clients.csv`, .* is a folder, not a file"):
            place.load({"clients": SPEC})

    def test_two_files_for_one_table(self, place: Place) -> None:
        with pytest.raises(DataError, match=r"several files: clients.csv, clients.csv.gz"):
            place.load(
                {"clients": SPEC}, {"clients.csv": TEXT, "clients.csv.gz": gzip.compress(TEXT.encode())}
            )

    def test_a_single_file_may_be_named_as_the_source(self, place: Place) -> None:
        path = place.folder / "anything.csv"
        path.write_text(TEXT)
        assert rows(place.load({"clients": SPEC}, {}, path=str(path))["clients"]) == ROWS


class TestParquet:
    def write(self, place: Place, **columns: Any) -> Path:
        path = place.folder / "clients.parquet"
        pq.write_table(pa.table(columns), path)
        return path

    def test_typed_columns_keep_their_values(self, place: Place) -> None:
        berlin = pa.array(
            [datetime(2020, 6, 1, 12, tzinfo=UTC), None], pa.timestamp("us", tz="Europe/Berlin")
        )
        self.write(
            place, id=[2**53 + 1, 2], amount=[Decimal("1.10"), None], at=berlin, f=[0.1, float("nan")],
            day=[date(2020, 1, 1), None], ok=[True, None], n=pa.array([2**53 + 1, None]),
            seen=pa.array([datetime(2020, 6, 1, 12), None], pa.timestamp("ns")),
        )  # fmt: skip
        spec = {"key": "id", "known": "always", "columns": {
            "id": "text", "amount": "number", "at": "timestamp", "f": "number", "day": "date", "ok": "boolean",
            "n": "integer", "seen": {"type": "timestamp", "timezone": "Europe/Berlin"}}}  # fmt: skip
        first, second = rows(place.load({"clients": spec})["clients"])
        assert first == {
            "id": "9007199254740993", "amount": 1.1, "at": datetime(2020, 6, 1, 12), "f": 0.1, "day": date(2020, 1, 1),
            "ok": True, "n": 2**53 + 1, "seen": datetime(2020, 6, 1, 10),
        }  # fmt: skip
        assert second == {**dict.fromkeys(first), "id": "2"}

    def test_text_keys_and_infinities(self, place: Place) -> None:
        self.write(place, id=["001", "1"], town=["NA", ""], x=[1.0, float("-inf")])
        spec = {**SPEC, "columns": {"id": "text", "town": "text", "x": "number"}, "on_bad_row": "drop"}
        table = place.load({"clients": spec})["clients"]
        assert rows(table) == [{"id": "001", "town": "NA", "x": 1.0}]
        assert table.reasons == {"`x` is infinite": 1}

    @pytest.mark.parametrize("keep", [0.9, 0.5, 0.01, 0.0])
    def test_a_truncated_file(self, place: Place, keep: float) -> None:
        path = self.write(place, id=[str(i) for i in range(5000)], town=["x"] * 5000)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])
        with pytest.raises(DataError, match=r"`clients.parquet` cannot be read") as error:
            place.load({"clients": SPEC})
        assert "damaged, cut off" in str(error.value.fix)

    def test_a_file_damaged_inside(self, place: Place) -> None:
        path = self.write(place, id=[str(i) for i in range(5000)], town=["x"] * 5000)
        data = bytearray(path.read_bytes())
        data[4:2000] = bytes(1996)
        path.write_bytes(bytes(data))
        with pytest.raises(DataError, match=r"`clients.parquet` cannot be read"):
            place.load({"clients": SPEC})

    def test_text_called_parquet(self, place: Place) -> None:
        with pytest.raises(DataError, match=r"`clients.parquet` cannot be read"):
            place.load({"clients": SPEC}, {"clients.parquet": TEXT})

    def test_names_that_differ_only_in_capitals(self, place: Place) -> None:
        self.write(place, id=["1"], town=["a"], Town=["b"])
        with pytest.raises(DataError, match="the column `Town` twice"):
            place.load({"clients": SPEC})


class TestDatabases:
    def load(self, place: Place, spec: dict[str, Any] = SPEC, **source: Any) -> tables.Loaded:
        dataset = Dataset.model_validate({"entity": "clients", "tables": {"clients": spec}})
        where = DatabaseSource.model_validate({"kind": "database", **source})
        return tables.load(dataset, where, ["clients"], place.engine, place.cache)["clients"]

    def duckdb_file(self, place: Place, *statements: str) -> str:
        path = str(place.folder / "shop.duckdb")
        with duckdb.connect(path) as connection:
            for statement in statements:
                connection.execute(statement)
        return path

    def test_a_duckdb_file(self, place: Place) -> None:
        path = self.duckdb_file(
            place,
            "CREATE TABLE clients AS SELECT * FROM (VALUES ('001', 'Zürich'), ('002', 'København')) t(id, town)",
        )
        table = self.load(place, path=path)
        assert (rows(table), table.origin) == (ROWS, "clients")

    def test_a_table_of_another_name_and_schema(self, place: Place) -> None:
        path = self.duckdb_file(
            place, "CREATE SCHEMA crm", 'CREATE TABLE crm."the ""people""" AS SELECT 7 AS id, \'NA\' AS town',
            "CREATE TABLE twin AS SELECT 1 AS id", "CREATE TABLE crm.twin AS SELECT 1 AS id",
        )  # fmt: skip
        spec = {**SPEC, "read": 'the "people"'}
        assert rows(self.load(place, spec, path=path, schema="crm")) == [{"id": "7", "town": "NA"}]
        assert self.load(place, spec, path=path).rows_kept == 1
        with pytest.raises(DataError, match="several schemas have a table `twin`"):
            self.load(place, {**SPEC, "read": "twin"}, path=path)

    def test_an_edited_database_is_read_again(self, place: Place) -> None:
        path = self.duckdb_file(place, "CREATE TABLE clients AS SELECT '1' AS id, 'a' AS town")
        assert column(self.load(place, path=path), "town") == ["a"]
        place.engine.close()
        self.duckdb_file(place, "UPDATE clients SET town = 'b'")
        place.engine = type(place.engine)(threads=2)
        assert column(self.load(place, path=path), "town") == ["b"]

    def test_what_is_missing_is_named(self, place: Place) -> None:
        path = self.duckdb_file(place, "CREATE TABLE client AS SELECT '1' AS id, 'a' AS town")
        with pytest.raises(DataError, match="the database has no table `clients`") as error:
            self.load(place, path=path)
        assert "did you mean `client`?" in str(error.value.fix)
        with pytest.raises(DataError, match=r"the database `nowhere.duckdb` does not exist"):
            self.load(place, path="nowhere.duckdb")

    def test_a_file_that_is_no_database(self, place: Place) -> None:
        path = place.folder / "x.duckdb"
        path.write_text(TEXT * 1000)
        with pytest.raises(DataError, match="the duckdb database cannot be opened"):
            self.load(place, path=str(path))

    def test_no_message_repeats_a_password(self, place: Place) -> None:
        secret = "host=127.0.0.1 port=1 user=x password=hunter2"
        with pytest.raises(
            DataError, match=r"the postgres database cannot be opened|`postgres`.* is not installed"
        ) as error:
            self.load(place, path=secret, type="postgres")
        assert "hunter2" not in str(error.value)

    def test_sqlite_through_the_engines_extension(self, place: Place) -> None:
        try:
            ALONE.load_extension(packaged_extension("sqlite") or "sqlite")
        except duckdb.Error:
            pytest.skip("the DuckDB extension `sqlite` is not installed on this machine")
        import sqlite3

        path = str(place.folder / "shop.sqlite")
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE clients (id TEXT, town TEXT)")
            connection.executemany("INSERT INTO clients VALUES (?, ?)", [tuple(row.values()) for row in ROWS])
        assert rows(self.load(place, path=path, type="sqlite")) == ROWS

    def test_a_database_has_no_positions(self, place: Place) -> None:
        path = self.duckdb_file(place, "CREATE TABLE clients AS SELECT '1' AS id, 'a' AS town")
        with pytest.raises(ConfigError, match="have no position"):
            self.load(place, {**SPEC, "key": "@row"}, path=path)

    def test_an_extension_from_a_python_package(
        self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The package's file for this very release is the one that the engine is told to load."""
        inside = tmp_path / f"duckdb_extension_sqlite_scanner/extensions/v{duckdb.__version__}"
        inside.mkdir(parents=True)
        (inside.parents[1] / "__init__.py").touch()
        (inside / "sqlite_scanner.duckdb_extension").write_bytes(b"no extension")
        monkeypatch.syspath_prepend(tmp_path)
        path = place.folder / "x.sqlite"
        path.write_bytes(b"SQLite format 3\0" + bytes(100))
        with pytest.raises(DataError, match="the sqlite database cannot be opened") as error:
            self.load(place, path=str(path), type="sqlite")
        assert str(inside) in error.value.what

    def test_an_extension_that_is_not_there(self, place: Place) -> None:
        path = place.folder / "x.sqlite"
        path.write_bytes(b"SQLite format 3\0" + bytes(100))
        try:
            ALONE.load_extension(packaged_extension("sqlite") or "sqlite")
        except duckdb.Error:
            for kind in ("sqlite", "duckdb"):  # the engine knows a SQLite file when it sees one
                with pytest.raises(
                    DataError, match=r"the DuckDB extension `sqlite`.* is not installed"
                ) as error:
                    self.load(place, path=str(path), type=kind)
                assert f"pip install duckdb-extension-sqlite-scanner=={duckdb.__version__}" in str(
                    error.value.fix
                )
                assert "install_extension('sqlite')" in str(error.value.fix)
        else:
            pytest.skip("the DuckDB extension `sqlite` is installed on this machine")
