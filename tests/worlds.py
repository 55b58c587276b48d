"""Small random worlds with everything that goes wrong in data, to be declared, loaded and compiled.

Events lie exactly at cutoffs and window edges, coincide, become known late or before they happen; keys
have leading zeros; values are missing; some entities have nothing, some are not known yet.
"""

from __future__ import annotations

import csv
import random
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta
from pydantic import TypeAdapter
from sqlglot import exp

from toolkit.config.features import FeatureSet
from toolkit.config.measures import Cohort
from toolkit.config.tables import Dataset, FolderSource
from toolkit.config.targets import Target
from toolkit.data.cache import Cache
from toolkit.data.engine import Engine
from toolkit.data.tables import Tables
from toolkit.prepare import matrix as matrices
from toolkit.prepare.matrix import Compiled, Declaration

# name in YAML → (name in features, length)
SPANS: dict[str, tuple[str, relativedelta]] = {
    "36h": ("36h", relativedelta(hours=36)),
    "7d": ("7d", relativedelta(days=7)),
    "30d": ("30d", relativedelta(days=30)),
    "2 weeks": ("2w", relativedelta(days=14)),
    "1 month": ("1mo", relativedelta(months=1)),
    "3 months": ("3mo", relativedelta(months=3)),
    "12 months": ("12mo", relativedelta(months=12)),
    "1 year": ("1y", relativedelta(years=1)),
}

TABLES: dict[str, Any] = {
    "people": {
        "key": "id", "known": "always",
        "columns": {"id": "text", "town": "text", "age": "integer", "vip": "boolean", "born": "date", "seen": "timestamp"},
    },
    "members": {  # one row for each entity, dated
        "key": "id", "entity": "id", "clock": "joined",
        "columns": {"id": "text", "joined": "timestamp", "grade": "text", "dues": "number", "born": "date"},
    },
    "orders": {  # dates; known when they happen
        "entity": "client", "clock": "day",
        "columns": {"client": "text", "day": "date", "amount": "number", "kind": "text", "paid": "boolean"},
        "derive": {"double": "2 * amount"},
    },
    "clicks": {  # instants; known when they happen
        "entity": "client", "clock": "at",
        "columns": {"client": "text", "at": "timestamp", "amount": "number", "kind": "text"},
    },
    "visits": {  # happen at an instant, known on a day that may be earlier or later
        "entity": "client", "clock": "logged", "event_time": "began",
        "columns": {"client": "text", "logged": "date", "began": "timestamp", "amount": "integer", "kind": "text"},
    },
    "calls": {  # happen on a day, known at an instant
        "entity": "client", "clock": "stored", "event_time": "day",
        "columns": {"client": "text", "stored": "timestamp", "day": "date", "amount": "number", "kind": "text"},
    },
    "marks": {  # undated, several rows for each entity
        "entity": "client", "known": "always",
        "columns": {"client": "text", "amount": "number", "kind": "text"},
    },
    "ties": {
        "clock": "since",
        "columns": {"a": "text", "b": "text", "sort": "text", "strength": "number", "since": "date"},
    },
    "links": {"known": "always", "columns": {"source": "text", "sink": "text"}},
}  # fmt: skip
RELATIONS = {
    "ties": {"table": "ties", "ends": ["a", "b"], "type": "sort", "weight": "strength"},
    "arrows": {"table": "ties", "ends": ["a", "b"], "type": "sort", "directed": True},
    "links": {"table": "links", "ends": ["source", "sink"]},
}
CACHE = tempfile.TemporaryDirectory(prefix="toolkit-tests-")  # tables that many tests share are read once
EVENTS = ("orders", "clicks", "visits", "calls")


def to_utc(wall: datetime, zone: str) -> datetime:
    return wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).replace(tzinfo=None)


def to_wall(moment: datetime, zone: str) -> datetime:
    return moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def shifted(moment: datetime, length: relativedelta, zone: str) -> datetime:
    """A UTC instant moved on the zone's calendar, hours by the physical clock."""
    if length.hours:
        return moment + length
    return to_utc(to_wall(moment, zone) + length, zone)


@dataclass
class World:
    """Rows as Python values, and the files that say the same."""

    zone: str
    cutoffs: list[datetime]  # UTC
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for table, rows in self.rows.items():
            with open(folder / f"{table}.csv", "w", newline="") as file:
                writer = csv.DictWriter(file, list(TABLES[table]["columns"]))
                writer.writeheader()
                writer.writerows(rows)


def world(seed: int, zone: str, days: list[str], people: int = 40) -> World:
    """A random world around some cutoffs (days in the zone)."""
    draw = random.Random(seed)
    cutoffs = sorted(to_utc(datetime.fromisoformat(day), zone) for day in days)
    found = World(zone, cutoffs)
    keys = [f"{n:03d}" if n % 3 else str(n) for n in range(1, people + 1)]
    edges = [shifted(c, -length, zone) for c in cutoffs for _, length in SPANS.values()]
    edges += [shifted(c, length, zone) for c in cutoffs for _, length in SPANS.values()] + cutoffs * 4

    def maybe(value: Any, share: float = 0.15) -> Any:
        return None if draw.random() < share else value

    def instant() -> datetime:
        near = draw.choice(edges)
        kind = draw.random()
        if kind < 0.35:
            return near
        if kind < 0.6:
            return near + timedelta(seconds=draw.choice([-1, 1, 3600, -3600]))
        return near + timedelta(seconds=draw.randint(-200, 200) * 86_399)

    def day() -> date:
        return to_wall(instant(), zone).date() - timedelta(days=draw.choice([0, 1, 1, 1, 2]))

    def money() -> float | None:
        return maybe(round(draw.choice([draw.uniform(-20, 500), 25.0, 25.0, 0.0]), 2))

    found.rows["people"] = [
        {
            "id": key,
            "town": maybe(draw.choice(["Rome", "Oslo", "NA", "O'Hara"])),
            "age": maybe(draw.randint(18, 90)),
            "vip": maybe(draw.random() < 0.4),
            "born": maybe(date(1940, 2, 29) + timedelta(days=draw.randint(0, 25_000))),
            "seen": maybe(instant()),
        }
        for key in keys
    ]
    found.rows["members"] = [
        {
            "id": key,
            "joined": instant(),
            "grade": maybe(draw.choice("abc")),
            "dues": money(),
            "born": maybe(day()),
        }
        for key in keys
    ]
    for table in EVENTS:
        rows: list[dict[str, Any]] = []
        for key in keys[: int(people * 0.9)]:  # the others have none
            for _ in range(draw.choice([0, 1, 2, 5, 9, 20])):
                stamps = {
                    "orders": ("day",),
                    "clicks": ("at",),
                    "visits": ("logged", "began"),
                    "calls": ("stored", "day"),
                }
                row: dict[str, Any] = {"client": key, "amount": money(), "kind": maybe(draw.choice("abB"))}
                if table == "visits" and row["amount"] is not None:
                    row["amount"] = int(row["amount"])
                if table == "orders":
                    row["paid"] = maybe(draw.random() < 0.5)
                tied = rows and rows[-1]["client"] == key and draw.random() < 0.3
                for name in stamps[table]:
                    is_date = TABLES[table]["columns"][name] == "date"
                    row[name] = (
                        rows[-1][name] if tied and draw.random() < 0.8 else day() if is_date else instant()
                    )
                rows.append(row)
        rows += [{**rows[0], "client": "nobody"}, {**rows[0], "client": "7"}]  # 7 is no 007
        draw.shuffle(rows)
        found.rows[table] = rows
    found.rows["marks"] = [
        {"client": draw.choice(keys), "amount": money(), "kind": maybe(draw.choice("abB"))}
        for _ in range(people * 2)
    ]
    ends = [*keys, "ghost"]
    found.rows["ties"] = [
        {"a": maybe(draw.choice(ends), 0.03), "b": maybe(draw.choice(ends), 0.03), "sort": maybe(draw.choice(["kin", "work"])),
         "strength": maybe(round(draw.random(), 2), 0.2), "since": day()}
        for _ in range(people * 4)
    ]  # fmt: skip
    found.rows["ties"] += [dict(found.rows["ties"][0]) for _ in range(2)]
    found.rows["links"] = [
        {"source": draw.choice(ends), "sink": draw.choice(ends)} for _ in range(people * 2)
    ]
    return found


@dataclass
class Made:
    """A world, declared, loaded and compiled."""

    tables: Tables
    engine: Engine
    cache: Cache
    declaration: Declaration
    compiled: Compiled
    found: dict[str, dict[int, Any]] = field(default_factory=dict)

    def cohort(self) -> list[dict[str, Any]]:
        return self.arrow(exp.select("*").from_(exp.Table(this=exp.to_identifier("@cohort", quoted=True))))

    def arrow(self, tree: exp.Expression) -> list[dict[str, Any]]:
        return self.engine.arrow(tree).to_pylist()

    def values(self, query: Any) -> dict[int, dict[str, Any]]:
        """`@row` → column → value as the engine gives it, in full precision."""
        for name, step in query.steps:
            self.engine.keep(name, step)
        return {row.pop("@row"): row for row in self.arrow(query.tree)}

    def features(self) -> dict[str, dict[int, Any]]:
        """Feature → `@row` → value, filled; asked for once."""
        if self.found:
            return self.found
        rows = [row["@row"] for row in self.cohort()]
        found = self.found
        for part in self.compiled.sets:
            values = self.values(part.query)
            for feature in part.features:
                found[feature.name] = {
                    row: values[row][feature.column] if row in values else feature.fill for row in rows
                }
        return found

    def raw(self, target: str) -> dict[int, Any]:
        """`@row` → a target's raw value, filled."""
        compiled = self.compiled.targets[target]
        values = self.values(compiled.query)
        return {
            row["@row"]: values[row["@row"]]["value"] if row["@row"] in values else compiled.fill
            for row in self.cohort()
        }

    def matrix(self) -> matrices.Matrix:
        return matrices.build(self.compiled, self.engine, self.cache)


def dataset(entity: str = "people", tables: dict[str, Any] | None = None) -> Dataset:
    return Dataset.model_validate(
        {"entity": entity, "tables": tables or TABLES, "relations": RELATIONS if tables is None else {}}
    )


def declare(
    cohort: dict[str, Any],
    features: dict[str, Any],
    target: dict[str, Any] | None = None,
    data: Dataset | None = None,
) -> Declaration:
    return Declaration(
        data or dataset(),
        Cohort.model_validate(cohort),
        TypeAdapter(dict[str, Target]).validate_python(target or {}),
        TypeAdapter(dict[str, FeatureSet]).validate_python(features),
    )


def make(folder: Path, declaration: Declaration, threads: int = 2) -> Made:
    """Load the files in `folder` and compile the declaration over them."""
    engine, cache = Engine(threads, "1GB"), Cache(Path(CACHE.name))
    source = FolderSource(kind="folder", path=str(folder))
    tables = matrices.load_tables(declaration, source, engine, cache)
    return Made(tables, engine, cache, declaration, matrices.compile_all(declaration, tables, engine, cache))


def tiny(folder: Path, files: dict[str, str]) -> Path:
    """A folder with CSV files written out in a test; blanks around cells are for the reader only."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        lines = [",".join(cell.strip() for cell in line.split(",")) for line in text.strip().splitlines()]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder
