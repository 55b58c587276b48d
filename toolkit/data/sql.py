"""SQL as a syntax tree: the only place where identifiers are quoted and expressions are admitted.

Nothing here is pasted together from strings. YAML expressions (`where:`, `derive:`, `value:`) are
parsed by sqlglot; every node must be of an allowed kind, every function on the allow-list, and every
column declared. What comes back is the tree and the columns it reads, so lineage is known.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from toolkit.config.time import Span
from toolkit.data.intervals import kept_apart
from toolkit.errors import ConfigError, did_you_mean

DIALECT = "duckdb"
DEEPEST = 200  # levels of an expression; Python and the engine give up at about 1,000
logging.getLogger("sqlglot").setLevel(logging.ERROR)  # what it cannot parse is refused below

# Expression nodes that YAML may use. Subqueries, windows, commands and lambdas are not among them.
ALLOWED: tuple[type[exp.Expression], ...] = (
    exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Tuple,
    exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.In,
    exp.Between, exp.Like, exp.ILike, exp.NullSafeEQ, exp.NullSafeNEQ,
    exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.DPipe,
    exp.Case, exp.If, exp.Cast, exp.TryCast, exp.DataType, exp.DataTypeParam, exp.Interval, exp.Var,
    # functions
    exp.Lower, exp.Upper, exp.Trim, exp.Length, exp.Substring, exp.Left, exp.Right, exp.Replace,
    exp.Concat, exp.Coalesce, exp.Nullif, exp.Greatest, exp.Least, exp.Abs, exp.Round, exp.Floor,
    exp.Ceil, exp.Ln, exp.Exp, exp.Pow, exp.Sqrt, exp.Sign, exp.Cos, exp.Sin, exp.Extract, exp.Year, exp.Month, exp.Day,
    exp.Quarter, exp.DayOfWeek, exp.Week, exp.DateDiff, exp.StartsWith, exp.EndsWith, exp.Contains,
    exp.RegexpLike, exp.RegexpExtract, exp.RegexpReplace, exp.SplitPart,
)  # fmt: skip
FUNCTIONS = (
    "abs, ceil, coalesce, concat, contains, cos, date_diff, day, dayofweek, ends_with, exp, extract, floor, greatest, if, "
    "least, left, length, ln, lower, month, nullif, pow, quarter, regexp_extract, regexp_matches, regexp_replace, "
    "replace, right, round, sign, sin, split_part, sqrt, starts_with, substring, trim, try_cast, upper, week, year"
)
TYPES = (
    "bigint",
    "boolean",
    "date",
    "decimal",
    "double",
    "float",
    "int",
    "smallint",
    "text",
    "timestamp",
    "varchar",
)
ADMITTED_TYPES = {exp.DataType.build(name, dialect=DIALECT).this for name in TYPES}


@dataclass(frozen=True)
class Expression:
    """An admitted YAML expression: its tree, with columns unqualified, and the columns that it reads."""

    tree: exp.Expression
    columns: frozenset[str]

    def of(self, alias: str) -> exp.Expression:
        """The tree with each column qualified by a table alias."""
        return self.tree.transform(
            lambda node: col(node.name, alias) if isinstance(node, exp.Column) else node
        )


def expression(text: str, columns: Iterable[str], where: str) -> Expression:
    """Admit one YAML expression over the declared `columns`.

    `where` is the dotted key that the text stands at, for the message. Raises ConfigError for
    anything that is not a plain expression over those columns and the allowed functions.
    """
    known = {name.lower(): name for name in columns}
    tree = _parsed(text, where)
    used = set()
    for node in tree.walk():
        if isinstance(node, exp.Column):
            name = ".".join(part.name for part in node.parts)  # a feature is called `set.feature`
            if name.lower() not in known:
                raise ConfigError(
                    f"`{_short(text)}` uses `{node.sql(dialect=DIALECT)}`, which is not a column here",
                    where=where,
                    fix=did_you_mean(name, known.values()),
                )
            used.add(known[name.lower()])
            node.set("this", exp.to_identifier(known[name.lower()], quoted=True))
            for part in ("table", "db", "catalog"):
                node.set(part, None)
        elif isinstance(node, exp.DataType):
            if node.this not in ADMITTED_TYPES:
                raise ConfigError(
                    f"`{_short(text)}` casts to {node.sql(dialect=DIALECT)}",
                    where=where,
                    why=f"allowed types: {', '.join(TYPES)}",
                )
        elif type(node) not in ALLOWED:
            name = node.name if isinstance(node, exp.Anonymous) else node.key
            raise ConfigError(
                f"`{_short(text)}` uses `{name}`, which expressions in YAML may not",
                where=where,
                why="expressions are conditions and arithmetic over columns; no subqueries, windows or other functions",
                fix=f"functions allowed: {FUNCTIONS}",
            )
    return Expression(kept_apart(tree, text, where), frozenset(used))


def _parsed(text: str, where: str) -> exp.Expression:
    """The one expression that a text is, not too deep to be walked, rendered and run."""
    deep = ConfigError(f"`{_short(text)}` is nested too deeply", where=where, why=f"at most {DEEPEST} levels")
    try:
        trees = sqlglot.parse(text, dialect=DIALECT)
    except SqlglotError as error:
        detail = str(error).split("\n")[0].split(" Line ")[0]
        raise ConfigError(
            f"`{_short(text)}` is not an SQL expression: {detail}",
            where=where,
            fix='texts stand in single quotes; a column with blanks, or called like a word of SQL, in double ones: "order"',
        ) from None
    except RecursionError:
        raise deep from None
    if len(trees) != 1 or trees[0] is None:
        raise ConfigError(f"`{_short(text)}` is not one SQL expression", where=where)
    level: list[exp.Expression] = [trees[0]]  # type: ignore[list-item]
    for _ in range(DEEPEST):
        level = [child for node in level for child in node.iter_expressions()]
        if not level:
            return trees[0]  # type: ignore[return-value]
    raise deep


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]} …"


def col(name: str, alias: str | None = None) -> exp.Column:
    """A quoted column: the one place where a name becomes an identifier."""
    return exp.Column(
        this=exp.to_identifier(name, quoted=True),
        table=exp.to_identifier(alias, quoted=True) if alias else None,
    )


def table(name: str, alias: str | None = None) -> exp.Table:
    node = exp.Table(this=exp.to_identifier(name, quoted=True))
    return exp.alias_(node, alias, table=True, quoted=True) if alias else node  # type: ignore[return-value]


def named(node: exp.Expression, name: str) -> exp.Alias:
    return exp.alias_(node, name, quoted=True)  # type: ignore[return-value]


def literal(value: Any) -> exp.Expression:
    return exp.convert(value)  # type: ignore[return-value]


def moment(value: Any) -> exp.Cast:
    """A timestamp literal (naive UTC)."""
    return exp.cast(exp.Literal.string(value.isoformat(sep=" ")), "TIMESTAMP")


def interval(length: Span) -> exp.Interval:
    return exp.Interval(this=exp.Literal.string(str(length.count)), unit=exp.Var(this=length.unit.upper()))


def call(name: str, *arguments: exp.Expression) -> exp.Expression:
    """A function of the engine's by name (ours, never YAML's)."""
    return exp.Anonymous(this=name, expressions=list(arguments))


def over(aggregate: exp.Expression, condition: exp.Expression | None) -> exp.Expression:
    """aggregate FILTER (WHERE condition)."""
    if condition is None:
        return aggregate
    return exp.Filter(this=aggregate, expression=exp.Where(this=condition))


def both(*conditions: exp.Expression | None) -> exp.Expression | None:
    """All conditions that are given, joined by AND."""
    given = [exp.paren(c) if isinstance(c, exp.Or) else c for c in conditions if c is not None]
    return exp.and_(*given) if given else None  # type: ignore[return-value]


def days_between(start: exp.Expression, end: exp.Expression) -> exp.Expression:
    """Days from start to end as a number with fractions."""
    seconds = exp.Sub(this=call("epoch", end), expression=call("epoch", start))
    return exp.Div(this=exp.paren(seconds), expression=literal(86400.0))


def render(node: exp.Expression, pretty: bool = False) -> str:
    return node.sql(dialect=DIALECT, pretty=pretty, comments=False)
