"""Configuration of data: where tables come from, what their rows must look like, when they were known."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

import toolkit.simulate  # noqa: F401  registers the worlds
from toolkit.config.names import Path, WrongNameError, refuse, unknown
from toolkit.config.node import Node
from toolkit.config.reading import Documents
from toolkit.config.text import TextScore
from toolkit.config.time import SpanText, ZoneText
from toolkit.registry import worlds

ColumnType = Literal["text", "integer", "number", "boolean", "date", "timestamp", "image"]


class Column(Node):
    """One column of a table: its type and what its values must satisfy."""

    type: ColumnType = Field(
        description="text, integer, number, boolean, date, timestamp or image (the bytes of a PNG or JPEG)"
    )
    nullable: bool = Field(True, description="may a value be missing?")
    values: list[str] | None = Field(None, description="closed vocabulary")
    ge: float | None = Field(None, description="smallest value allowed")
    gt: float | None = Field(None, description="values must be greater than this")
    le: float | None = Field(None, description="largest value allowed")
    lt: float | None = Field(None, description="values must be less than this")
    matches: str | None = Field(None, description="regular expression that the whole text must match")
    missing: list[str] = Field(
        [], description="texts or numbers that stand for a missing value, e.g. ['?', '-1']"
    )
    format: str | None = Field(None, description="strptime format of a date or timestamp, e.g. '%d.%m.%Y'")
    decimal: Literal[".", ","] = Field(
        ".", description="decimal sign of a number; beside a comma, dots group the thousands"
    )
    timezone: ZoneText | None = Field(
        None, description="zone of stamps without an offset (default: UTC); stamps with one are converted"
    )
    unreadable: Literal["bad_row", "missing"] = Field(
        "bad_row",
        description="a cell that is not of the type: breaks the contract, or is missing and counted",
    )
    description: str = ""

    @model_validator(mode="after")
    def checks_fit_the_type(self) -> Column:
        bounds = [name for name in ("ge", "gt", "le", "lt") if getattr(self, name) is not None]
        if bounds and self.type not in ("integer", "number"):
            raise ValueError(f"`{bounds[0]}` goes with integer or number, not with {self.type}")
        if (self.values or self.matches) and self.type != "text":
            raise ValueError(f"`values` and `matches` go with text, not with {self.type}")
        if self.format and self.type not in ("date", "timestamp"):
            raise ValueError(f"`format` goes with date or timestamp, not with {self.type}")
        if self.decimal != "." and self.type != "number":
            raise ValueError(f"`decimal` goes with number, not with {self.type}")
        if self.timezone and self.type != "timestamp":
            raise ValueError(f"`timezone` goes with timestamp, not with {self.type}")
        return self


def _short_column(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


ColumnOrType = Annotated[Column, BeforeValidator(_short_column, json_schema_input_type=Column | ColumnType)]


BY_ROW = "@row"  # as `key:` says that rows are known by their position in the file
POSITION = "@position"  # the column that then holds it: 1, 2, 3 … as text


class Table(Node):
    """A declared table: what identifies a row, when the row became known, and its columns."""

    read: str | list[str] | None = Field(
        None,
        description="file or database table to read, or several whose rows are put together, earlier ones "
        "first; default: found by the table's name",
    )
    key: list[str] | str | None = Field(
        None,
        description="column(s) that identify a row; read as text, unique. '@row': the row's position in "
        "the file, which stays the same only as long as the file does",
    )
    entity: str | None = Field(None, description="column that holds the key of the entity the row is about")
    clock: str | None = Field(None, description="column saying when the row became known")
    event_time: str | None = Field(None, description="column saying when it happened, if not the clock")
    covers: SpanText | Literal["auto"] | None = Field(
        None,
        description="what a row's clock is the beginning of: 7 days means that the row is known 7 days after "
        "it; auto: 7 days if all clocks fall on one weekday; default: a date covers its day, a stamp nothing",
    )
    known: Literal["always"] | None = Field(
        None, description="`always`: an undated table whose rows are assumed to be known at every cutoff"
    )
    columns: dict[str, ColumnOrType] = Field({}, description="declared columns; a short form is `name: type`")
    infer: bool = Field(
        False, description="infer the types of the columns that are not declared, and show them"
    )
    score: dict[str, TextScore] = Field(
        {}, description="columns of numbers that declared words and patterns make of a column of texts"
    )
    derive: dict[str, str] = Field(
        {}, description="further columns as SQL expressions over the declared ones and the scores"
    )
    remarks: dict[str, str] = Field(
        {}, description="what is counted and said of the rows, which stay: words → SQL condition"
    )
    on_bad_row: Literal["refuse", "drop", "leave_out"] = Field(
        "refuse",
        description="rows that break the contract: refuse the table, drop them (written aside), or drop them "
        "and leave their entities out of every cohort, since what the rows would say of them is not known",
    )
    incomplete_end: Literal["keep", "drop"] = Field(
        "keep",
        description="drop: rows of the last day of the clock are set aside if they are far fewer, or add up "
        "to far less, than on the same weekday before",
    )
    repeats: Literal["keep", "drop"] = Field(
        "keep",
        description="rows of a table without a key that repeat an earlier row in every cell of the file; they are "
        "counted and said; drop: they are set aside",
    )
    observed_until: str | None = Field(
        None, description="day up to which the table is complete, if later than its last row"
    )
    description: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """What is to be read, in order; () for what has the table's own name."""
        return () if self.read is None else (self.read,) if isinstance(self.read, str) else tuple(self.read)

    @property
    def keys(self) -> tuple[str, ...]:
        if self.key is None:
            return ()
        if self.key == BY_ROW:
            return (POSITION,)
        return (self.key,) if isinstance(self.key, str) else tuple(self.key)

    @model_validator(mode="after")
    def says_when_rows_are_known(self) -> Table:
        if self.clock is None and self.known is None:
            raise ValueError("says neither `clock` (column when a row became known) nor `known: always`")
        if self.clock is not None and self.known is not None:
            raise ValueError("has both a `clock` and `known: always`; keep one")
        if self.event_time and not self.clock:
            raise ValueError("`event_time` needs a `clock` that says when the row became known")
        for option in ("covers", "incomplete_end"):
            if getattr(self, option) not in (None, "keep") and not self.clock:
                raise ValueError(f"`{option}` goes with a `clock`")
        if self.repeats == "drop" and self.key is not None:
            raise ValueError(
                "`repeats: drop` goes with a table without a `key`; with one, each key stands once"
            )
        if self.on_bad_row == "leave_out" and not self.entity:
            raise ValueError(
                "`on_bad_row: leave_out` needs an `entity`: the column that names who is left out"
            )
        if self.read is not None and (not self.files or len(set(self.files)) < len(self.files)):
            raise ValueError("`read` names at least one file, and each once")
        if self.key == BY_ROW and len(self.files) > 1:
            raise ValueError(f"`key: '{BY_ROW}'` goes with one file: a position says nothing about which one")
        if not self.columns and not self.infer:
            raise ValueError("declares no `columns`; list them, or say `infer: true`")
        return self

    @model_validator(mode="after")
    def roles_are_columns(self) -> Table:
        if self.infer:
            return self
        roles = [(role, getattr(self, role)) for role in ("entity", "clock", "event_time")]
        roles += [("key", name) for name in self.keys if name != POSITION]
        refuse(
            "Table",
            (
                WrongNameError.among(
                    (role,), name, f"`{role}: {name}` is not among the table's columns", self.columns
                )
                for role, name in roles
                if name and name not in self.columns
            ),
        )
        return self

    @model_validator(mode="after")
    def scores_are_of_texts(self) -> Table:
        wrong = [
            WrongNameError.among(
                ("score", name, "of"), score.of, f"there is no column `{score.of}`", self.columns
            )
            for name, score in self.score.items()
            if not self.infer and score.of not in self.columns
        ]
        refuse("Table", wrong)
        for name, score in self.score.items():
            if score.of in self.columns and self.columns[score.of].type != "text":
                raise ValueError(
                    f"`score.{name}` is of `{score.of}`, which is no text but {self.columns[score.of].type}"
                )
        return self

    @model_validator(mode="after")
    def clocks_are_times(self) -> Table:
        for role in ("clock", "event_time"):
            name = getattr(self, role)
            if name in self.columns and self.columns[name].type not in ("date", "timestamp"):
                raise ValueError(
                    f"`{role}: {name}` must be a date or a timestamp, not {self.columns[name].type}"
                )
        return self


class Relation(Node):
    """An edge table between entities."""

    table: str
    ends: tuple[str, str] = Field(description="the two columns that hold entity keys")
    type: str | None = Field(None, description="column with the kind of relation")
    weight: str | None = Field(None, description="column with the strength of an edge")
    directed: bool = Field(False, description="true: only from the first end to the second")
    description: str = ""


class Dataset(Node):
    """Tables and the relations between their entities."""

    entity: str = Field(description="table whose rows are the entities that are scored")
    root: str | None = Field(
        None, description="folder that holds the tables, in place of the recipe's source"
    )
    documents: Documents | None = Field(
        None,
        description="the folder holds documents, which are read into tables `documents`, `pages` and `words`",
    )
    tables: dict[str, Table]
    relations: dict[str, Relation] = {}
    description: str = ""

    @model_validator(mode="after")
    def entity_is_a_keyed_table(self) -> Dataset:
        if self.entity not in self.tables:
            what = f"`entity: {self.entity}` is not among the dataset's tables"
            refuse("Dataset", [WrongNameError.among(("entity",), self.entity, what, self.tables)])
        if len(self.tables[self.entity].keys) != 1:
            raise ValueError(f"table `{self.entity}` is the entity table and needs exactly one `key` column")
        return self

    @model_validator(mode="after")
    def nothing_points_at_a_position(self) -> Dataset:
        if self.tables[self.entity].key == BY_ROW:
            linked = [name for name, table in self.tables.items() if table.entity]
            linked += [f"relation {name}" for name in self.relations]
            if linked:
                raise ValueError(
                    f"table `{self.entity}` has `key: '{BY_ROW}'`, and a row's position is nothing that "
                    f"{', '.join(linked)} could name; give it a key column"
                )
        return self

    @model_validator(mode="after")
    def relations_name_tables(self) -> Dataset:
        refuse("Dataset", unknown(self.relations, "table", self.tables, "table", ("relations",)))
        for name, relation in self.relations.items():
            table = self.tables[relation.table]
            valid = [*table.columns, *table.score, *table.derive]
            parts: list[tuple[Path, str | None]] = [
                (("type",), relation.type),
                (("weight",), relation.weight),
            ]
            parts += [(("ends", index), end) for index, end in enumerate(relation.ends)]
            refuse(
                "Dataset",
                (
                    WrongNameError.among(("relations", name, *at), column,
                                f"table `{relation.table}` has no column `{column}`", valid)
                    for at, column in parts
                    if column and not table.infer and column not in valid
                ),
            )  # fmt: skip
        return self


class CsvOptions(Node):
    """How text files are read."""

    delimiter: str = Field("auto", description="one character, or auto")
    encoding: str = Field(
        "auto", description="utf-8, latin-1, cp1252, utf-16, …, or auto (UTF-8, else cp1252)"
    )
    quote: str = Field('"', max_length=1)
    trim: bool = Field(False, description="strip blanks around names and values")


class FolderSource(Node):
    """A folder with one CSV or Parquet file per table."""

    kind: Literal["folder"]
    path: str = Field(description="the folder; a table is found as <table>.csv, .csv.gz, .tsv, .parquet …")
    csv: CsvOptions = CsvOptions()


class DatabaseSource(Node):
    """A DuckDB file, or a SQL database through DuckDB's own extensions (sqlite, postgres, mysql)."""

    kind: Literal["database"]
    path: str = Field(description="file, or connection string of the extension")
    type: Literal["duckdb", "sqlite", "postgres", "mysql"] = "duckdb"
    db_schema: str | None = Field(None, alias="schema", description="schema that holds the tables")


class SimulatedSource(Node):
    """A simulated world that stands in for private data."""

    kind: Literal["simulated"]
    world: worlds.union()  # type: ignore[valid-type]


Source = Annotated[FolderSource | DatabaseSource | SimulatedSource, Field(discriminator="kind")]
