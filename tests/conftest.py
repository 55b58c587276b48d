"""Shared fixtures: a small shop with clients and orders, as files, as a dataset, and as a working folder."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import toolkit
from toolkit.cli.main import main
from toolkit.config.tables import Dataset, FolderSource
from toolkit.data import tables
from toolkit.data.cache import Cache
from toolkit.data.engine import Engine
from toolkit.data.tables import Loaded, Tables

os.environ.pop("OPENAI_API_KEY", None)  # no test may call, or pay for, the real service

Files = dict[str, str | bytes]
CLIENTS = {"key": "id", "known": "always", "columns": {"id": "text", "town": "text", "age": "integer"}}
ORDERS = {
    "entity": "client",
    "clock": "day",
    "columns": {"client": "text", "day": "date", "amount": {"type": "number", "ge": 0}},
}


def write_files(folder: Path, files: Files) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def rows(table: Loaded) -> list[dict[str, Any]]:
    """The kept rows without the two instants."""
    return pq.read_table(table.path).drop_columns(["@known", "@time"]).to_pylist()


def column(table: Loaded, name: str) -> list[Any]:
    return pq.read_table(table.path)[name].to_pylist()


def rejected(table: Loaded) -> list[dict[str, Any]]:
    return pq.read_table(table.rejected).to_pylist() if table.rejected else []


class Place:
    """A folder with files, and the real engine and cache to load them with."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder / "data", Cache(folder / "cache")
        self.folder.mkdir()
        self.engine = Engine(threads=2)

    def load(self, declared: dict[str, Any], files: Files | None = None, **source: Any) -> Tables:
        """Load all tables of a dataset (`entity: clients`, if it is not said) from files."""
        write_files(self.folder, files or {})
        declared = declared if "tables" in declared else {"entity": "clients", "tables": declared}
        dataset = Dataset.model_validate(declared)
        self.engine.close()
        self.engine = Engine(threads=2)
        where = FolderSource.model_validate({"kind": "folder", "path": str(self.folder), **source})
        return tables.load(dataset, where, list(dataset.tables), self.engine, self.cache)

    def one(self, spec: dict[str, Any], content: str | bytes, **source: Any) -> Loaded:
        """Load a single table of entities from the text of a CSV file."""
        return self.load({"clients": spec}, {"clients.csv": content}, **source)["clients"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    found.engine.close()


@dataclass
class Said:
    """What a command line did: exit code, and both streams."""

    code: int
    out: str
    err: str


def shop_files(clients: int = 240, seed: int = 3) -> Files:
    """Clients who order more often the younger they are, 2020 to 2022."""
    draw = random.Random(seed)
    people, orders = ["id,town,age"], ["client,day,amount"]
    for number in range(1, clients + 1):
        age = draw.randint(18, 80)
        people.append(f"{number:04d},{draw.choice(['Rome', 'Oslo', 'Bonn'])},{age}")
        for _ in range(draw.randint(0, 2 + (80 - age) // 8)):
            day = date(2020, 1, 1) + timedelta(days=draw.randint(0, 1095))
            orders.append(f"{number:04d},{day},{draw.randint(1, 500) / 10}")
    return {"clients.csv": "\n".join(people) + "\n", "orders.csv": "\n".join(orders) + "\n"}


SHOP: Files = {
    "conf/dataset/shop.yaml": """\
entity: clients
tables:
  clients:
    key: id
    known: always
    columns: {id: text, town: text, age: integer}
  orders:
    entity: client
    clock: day
    columns: {client: text, day: date, amount: {type: number, ge: 0}}
""",
    "conf/source/here.yaml": "kind: folder\npath: data\n",
    "conf/cohort/yearly.yaml": 'cutoffs: ["2021-01-01", "2022-01-01"]\n',
    "conf/target/orders_again.yaml": "kind: event_within\ntable: orders\nhorizon: 6 months\n",
    "conf/features/profile.yaml": "kind: attributes\ntable: clients\n",
    "conf/features/history.yaml": """\
kind: windows
table: orders
windows: [6 months, all]
features:
  - {agg: count}
  - {agg: [sum, max], column: amount}
""",
    "conf/dataset/flat.yaml": """\
entity: rows
tables:
  rows: {read: rows.csv, key: id, known: always, infer: true}
""",
    "conf/target/label.yaml": 'kind: column\ncolumn: label\npositive: "yes"\n',
    "conf/features/columns.yaml": "kind: attributes\ntable: rows\ncolumns: all\n",
    "recipes/shop.yaml": """\
defaults:
  - override /dataset: shop
  - override /source: here
  - override /cohort: yearly
  - override /target: [orders_again]
  - override /features: [profile, history]
  - override /split: temporal
  - override /model: [logistic]
evaluation: {bootstrap: 0}
engine: {threads: 2}
""",
    "recipes/flat.yaml": """\
defaults:
  - override /dataset: flat
  - override /source: here
  - override /cohort: once
  - override /target: [label]
  - override /features: [columns]
  - override /split: random
  - override /model: [logistic]
evaluation: {bootstrap: 0}
engine: {threads: 2}
""",
}


class Work:
    """A working folder with declarations of its own; `run` is the command line in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys

    def write(self, files: Files) -> None:
        write_files(self.folder, files)

    def run(self, *arguments: str) -> Said:
        self.capsys.readouterr()
        code = main(list(arguments))
        said = self.capsys.readouterr()
        return Said(code, said.out, said.err)

    def process(self, *arguments: str) -> Said:
        """The same in a process of its own, as a user starts it."""
        words = [sys.executable, "-m", "toolkit", *arguments]
        environment = os.environ | {"PYTHONPATH": str(Path(toolkit.__file__).parents[1])}
        done = subprocess.run(
            words, cwd=self.folder, capture_output=True, text=True, timeout=120, env=environment
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def runs(self) -> list[Path]:
        """Everything under outputs/ besides the cache: finished runs, and what a failed one left."""
        return [path for path in (self.folder / "outputs").glob("*/*") if path.parent.name != ".cache"]

    def refused(self, *arguments: str, runner: Callable[..., Said] | None = None) -> str:
        """Run, and demand what every mistake must get: exit code 2, one screen, no traceback, no files."""
        said = (runner or self.run)(*arguments)
        assert said.code == 2, said
        assert "Traceback" not in said.err
        message = said.err[said.err.index("error: ") :]
        assert len(message.splitlines()) <= 12, message
        assert self.runs() == []
        return message


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Work:
    """A working folder with the shop's recipe `shop` and the recipe `flat` for one flat table `rows.csv`."""
    found = Work(tmp_path, capsys)
    found.write(SHOP)
    found.write({f"data/{name}": content for name, content in shop_files().items()})
    monkeypatch.chdir(tmp_path)
    return found
