"""The embedded engine: DuckDB behind a few verbs that take syntax trees."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from toolkit.data import sql
from toolkit.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


class Engine:
    """One DuckDB connection; every statement is a tree, rendered in one place."""

    def __init__(self, threads: int = 0, memory: str = "4GB", scratch: Path | None = None) -> None:
        self.threads = threads or os.cpu_count() or 1
        self.connection = duckdb.connect()
        self.connection.execute(f"SET threads = {int(self.threads)}")
        self.connection.execute("SET memory_limit = $limit", {"limit": memory})
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute("SET enable_progress_bar = false")
        self.connection.execute("SET autoinstall_known_extensions = false")  # nothing is downloaded
        self.connection.execute("SET ieee_floating_point_ops = false")  # x / 0 is missing, not infinite
        strict = "error_on_division_by_zero"  # … nor an error, as it is from version 2 on
        if self.connection.execute("FROM duckdb_settings() WHERE name = $n", {"n": strict}).fetchall():
            self.connection.execute(f"SET {strict} = false")
        if scratch is not None:
            self.connection.execute("SET temp_directory = $folder", {"folder": str(scratch)})

    def run(self, tree: exp.Expression) -> list[tuple[Any, ...]]:
        """Run a statement to its end; its rows, which are few or none."""
        return self._guarded(tree, lambda text: self.connection.execute(text).fetchall())

    @staticmethod
    def _guarded(tree: exp.Expression, ask: Callable[[str], Any]) -> Any:
        text = sql.render(tree)
        try:
            return ask(text)
        except duckdb.OutOfMemoryException as error:
            raise DataError(
                f"the engine needs more memory: {str(error).splitlines()[0]}",
                where="engine.memory",
                fix="allow it more, for example engine.memory=16GB",
            ) from error
        except duckdb.Error as error:
            raise DataError(
                f"the engine could not run a query: {str(error).splitlines()[0]}",
                why=text if len(text) < 600 else text[:600] + " …",
                fix="look at the `where`, `derive` and `value` expressions that it comes from (verb `plan` shows them)",
            ) from error

    def arrow(self, tree: exp.Expression) -> pa.Table:
        """Rows of a query, columns as Arrow arrays."""
        return self._guarded(tree, lambda text: self.connection.sql(text).to_arrow_table())

    def one(self, tree: exp.Expression) -> tuple[Any, ...]:
        """The single row of a query."""
        return self.run(tree)[0]

    def prepare(self, name: str, tree: exp.Expression) -> None:
        """Keep a query over the parameters $1, $2 … under a name: it is planned once, for `asked`."""
        self._guarded(tree, lambda text: self.connection.execute(f"PREPARE {_name(name)} AS {text}"))

    def asked(self, name: str, values: Iterable[str]) -> tuple[Any, ...] | None:
        """The first row of a prepared query, if it has one. values: texts, in the parameters' order."""
        given = exp.Tuple(expressions=[sql.literal(one) for one in values])
        try:
            return self.connection.execute(f"EXECUTE {_name(name)} {sql.render(given)}").fetchone()
        except duckdb.Error as error:
            raise DataError(f"the engine could not read the row: {str(error).splitlines()[0]}") from error

    def view(self, name: str, path: Path) -> None:
        """A Parquet file under a name."""
        source = sql.call("read_parquet", sql.literal(str(path)))
        self.run(_create("VIEW", name, exp.select("*").from_(source)))

    def keep(self, name: str, tree: exp.Expression) -> None:
        """A query's rows, kept in memory under a name."""
        self.run(_create("TABLE", name, tree))

    def show(self, name: str, tree: exp.Expression) -> None:
        """A query under a name, run anew by all that reads it."""
        self.run(_create("TEMPORARY VIEW", name, tree))

    def drop(self, name: str) -> None:
        """Forget what is kept or shown under a name."""
        views = "SELECT view_name FROM duckdb_views() WHERE temporary AND view_name = $name"
        kind = "VIEW" if self.connection.execute(views, {"name": name}).fetchall() else "TABLE"
        self.connection.execute(f"DROP {kind} IF EXISTS {sql.render(sql.table(name))}")

    def register(self, name: str, table: Any) -> None:
        """An Arrow table or a data frame under a name."""
        self.connection.register(name, table)

    def unregister(self, name: str) -> None:
        self.connection.unregister(name)

    def add_function(self, name: str, function: Callable[[pa.Array], pa.Array]) -> None:
        """A function from texts to numbers, [rows] each, that queries may call; it gets missing texts, too."""
        self.connection.create_function(
            name,
            function,
            ["VARCHAR"],
            "DOUBLE",
            type="arrow",
            null_handling="special",  # type: ignore[call-overload]
        )

    def remove_function(self, name: str) -> None:
        self.connection.remove_function(name)

    def write(self, tree: exp.Expression, path: Path) -> None:
        """A query's rows as Parquet."""
        self.run(
            exp.Copy(
                this=exp.paren(tree),
                kind=False,
                files=[sql.literal(str(path))],
                params=[exp.CopyParameter(this=exp.Var(this="FORMAT"), expression=exp.Var(this="PARQUET"))],
            )
        )

    def close(self) -> None:
        self.connection.close()


def _name(name: str) -> str:
    return sql.render(exp.to_identifier(name, quoted=True))


def _create(kind: str, name: str, tree: exp.Expression) -> exp.Create:
    return exp.Create(
        this=sql.table(name),
        kind=f"TEMPORARY {kind}" if kind == "TABLE" else kind,
        expression=tree,
        replace=True,
    )
