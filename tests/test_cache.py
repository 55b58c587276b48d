"""What was made once is not made again, and what it was made from is all that decides: content, not time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import SHOP, shop_files, write_files
from pydantic import TypeAdapter

from toolkit.config.features import FeatureSet
from toolkit.config.measures import Cohort
from toolkit.config.tables import Dataset, FolderSource
from toolkit.config.targets import Target
from toolkit.data.cache import Cache, digest
from toolkit.data.engine import Engine
from toolkit.prepare import matrix

DECLARED: dict[str, Any] = {
    "dataset": yaml.safe_load(SHOP["conf/dataset/shop.yaml"]),
    "cohort": yaml.safe_load(SHOP["conf/cohort/yearly.yaml"]),
    "target": {"again": yaml.safe_load(SHOP["conf/target/orders_again.yaml"])},
    "features": {
        "profile": yaml.safe_load(SHOP["conf/features/profile.yaml"]),
        "history": yaml.safe_load(SHOP["conf/features/history.yaml"]),
    },
}
ALL = ["tables:clients", "tables:orders", "cohorts", "features:profile", "features:history", "targets:again"]


class Shop:
    """The shop's declaration and files; `built()` prepares the matrix and says what was not found."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.declared = folder, deepcopy(DECLARED)
        write_files(folder / "data", shop_files(40))

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        path = self.folder / "data" / name
        stamps = path.stat()
        path.write_text(change(path.read_text()))
        os.utime(path, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))  # the clock does not tell

    def built(self) -> list[str]:
        cache, engine = Cache(self.folder / "cache"), Engine(threads=1)
        declared = matrix.Declaration(
            Dataset.model_validate(self.declared["dataset"]), Cohort.model_validate(self.declared["cohort"]),
            TypeAdapter(dict[str, Target]).validate_python(self.declared["target"]),
            TypeAdapter(dict[str, FeatureSet]).validate_python(self.declared["features"]),
        )  # fmt: skip
        source = FolderSource(kind="folder", path=str(self.folder / "data"))
        try:
            tables = matrix.load_tables(declared, source, engine, cache)
            matrix.build(matrix.compile_all(declared, tables, engine, cache), engine, cache)
        finally:
            engine.close()
        return [name if not name.startswith("cohorts") else "cohorts" for name in cache.built]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    found = Shop(tmp_path)
    assert found.built() == ALL
    assert found.built() == []
    return found


def replace_once(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


class TestWhatAnEditRebuilds:
    def test_a_file_its_table_and_what_reads_it_and_nothing_else(self, shop: Shop) -> None:
        shop.edit("orders.csv", lambda text: text + "0001,2021-03-03,5\n")
        assert shop.built() == ["tables:orders", "features:history", "targets:again"]
        assert shop.built() == []

    def test_a_file_that_the_cohort_reads_rebuilds_all_that_has_its_rows(self, shop: Shop) -> None:
        shop.edit("clients.csv", lambda text: text + "9999,Rome,30\n")
        assert shop.built() == [
            "tables:clients",
            "cohorts",
            "features:profile",
            "features:history",
            "targets:again",
        ]

    def test_so_does_a_file_that_a_condition_of_the_cohort_reads(self, shop: Shop) -> None:
        shop.declared["cohort"]["having"] = [{"table": "orders"}]
        assert shop.built() == ALL[2:]
        shop.edit("orders.csv", lambda text: text + "0001,2021-03-03,5\n")
        assert shop.built() == ["tables:orders", "cohorts", *ALL[3:]]

    def test_a_feature_set_only_itself(self, shop: Shop) -> None:
        shop.declared["features"]["history"]["windows"].append("3 months")
        assert shop.built() == ["features:history"]

    def test_a_changed_where_only_its_feature_set(self, shop: Shop) -> None:
        shop.declared["features"]["history"]["where"] = "amount > 10"
        assert shop.built() == ["features:history"]
        shop.declared["features"]["history"]["where"] = "amount > 11"
        assert shop.built() == ["features:history"]
        shop.declared["features"]["history"]["where"] = "amount > 10"
        assert shop.built() == []  # back to what was made before

    def test_a_target_only_itself(self, shop: Shop) -> None:
        shop.declared["target"]["again"]["horizon"] = "3 months"
        assert shop.built() == ["targets:again"]

    def test_the_contract_of_a_table(self, shop: Shop) -> None:
        shop.declared["dataset"]["tables"]["orders"]["columns"]["amount"]["le"] = 1e9
        assert shop.built() == ["tables:orders", "features:history", "targets:again"]

    def test_a_derived_column_only_what_mentions_it(self, shop: Shop) -> None:
        orders, features = shop.declared["dataset"]["tables"]["orders"], shop.declared["features"]
        orders["derive"] = {"twice": "amount * 2"}
        assert shop.built() == ["tables:orders"]
        features["twice"] = features["history"] | {"where": "Twice > 10"}
        assert shop.built() == ["features:twice"]
        orders["derive"]["twice"] = "amount * 2 + 1"
        assert shop.built() == ["tables:orders", "features:twice"]

    def test_cutoffs_but_no_table(self, shop: Shop) -> None:
        shop.declared["cohort"]["cutoffs"] = ["2021-01-01"]
        assert shop.built() == ALL[2:]

    def test_descriptions_nothing(self, shop: Shop) -> None:
        for node in (shop.declared["cohort"], shop.declared["target"]["again"], shop.declared["features"]["history"],
                     shop.declared["dataset"]["tables"]["orders"], shop.declared["dataset"]["tables"]["orders"]["columns"]["amount"]):  # fmt: skip
            node["description"] = "in other words"
        assert shop.built() == []

    def test_a_file_written_again_with_the_same_content_nothing(self, shop: Shop) -> None:
        path = shop.folder / "data" / "orders.csv"
        path.write_text(path.read_text())
        assert shop.built() == []

    def test_a_cell_of_the_same_length_is_noticed(self, shop: Shop) -> None:
        shop.edit("clients.csv", lambda text: text.replace("Rome", "Lima"))
        assert "tables:clients" in shop.built()


SLOW = """
import sys, time
from pathlib import Path
from toolkit.data.cache import Cache
root, log = map(Path, sys.argv[1:3])
def build(folder):
    with open(log, "a") as file:
        file.write("building\\n")
    (folder / "part").write_text("half")
    time.sleep(float(sys.argv[3]))
    (folder / "part").write_text("whole")
cache = Cache(root)
print((cache.entry("kind", {"a": 1}, build, "it") / "part").read_text(), cache.built)
"""


def start(folder: Path, seconds: float) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", SLOW, str(folder / "cache"), str(folder / "log"), str(seconds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


class TestEntries:
    def test_a_failed_build_leaves_nothing(self, tmp_path: Path) -> None:
        cache = Cache(tmp_path)

        def fail(folder: Path) -> None:
            (folder / "x").write_text("half")
            raise ValueError("no")

        with pytest.raises(ValueError):
            cache.entry("kind", 1, fail)
        assert not [path for path in (tmp_path / "kind").iterdir() if path.is_dir()]
        assert cache.built == []
        folder = cache.entry("kind", 1, lambda folder: (folder / "x").write_text("whole") and None)
        assert (folder / "x").read_text() == "whole"

    def test_a_killed_build_leaves_no_entry_and_is_cleared_away(self, tmp_path: Path) -> None:
        process = start(tmp_path, 60)
        while not list(tmp_path.glob("cache/kind/.*/part")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        entry = tmp_path / "cache" / "kind" / digest({"a": 1})[:32]
        assert not entry.exists()
        again = start(tmp_path, 0)
        assert again.communicate()[0].strip() == "whole ['kind:it']"
        assert [path.name for path in entry.parent.iterdir() if path.is_dir()] == [entry.name]

    def test_two_processes_that_ask_at_once_build_it_once(self, tmp_path: Path) -> None:
        said = sorted(p.communicate()[0].strip() for p in [start(tmp_path, 1), start(tmp_path, 1)])
        assert said == ["whole ['kind:it']", "whole []"]
        assert (tmp_path / "log").read_text() == "building\n"


class TestSweeping:
    def test_entries_that_nobody_asks_for_go_and_the_others_stay(self, tmp_path: Path) -> None:
        cache = Cache(tmp_path)
        old, asked, new = (cache.entry("kind", name, lambda folder: None) for name in ("old", "asked", "new"))
        killed = tmp_path / "kind" / f".{digest('gone')[:32]}-abc"
        killed.mkdir()
        for path in (old, asked, killed):
            os.utime(path, (0, 0))
        cache.entry("kind", "asked", lambda folder: None)
        cache.sweep(days=1)
        assert [path.exists() for path in (old, asked, new, killed)] == [False, True, True, False]
        assert cache.entry("kind", "old", lambda folder: None) == old  # and is made again
        assert len(cache.built) == 4

    def test_one_that_is_killed_leaves_no_half_of_an_entry(self, tmp_path: Path) -> None:
        def build(folder: Path) -> None:
            for number in range(3):
                (folder / str(number)).write_text("")

        path = Cache(tmp_path).entry("kind", "it", build)
        os.utime(path, (0, 0))
        script = (
            "import os, shutil, signal, sys; from pathlib import Path; from toolkit.data.cache import Cache\n"
            "def torn(path):\n"
            "    next(path.iterdir()).unlink()\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
            "shutil.rmtree = torn\n"
            "Cache(Path(sys.argv[1])).sweep(1)"
        )
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment)
        assert done.returncode == -signal.SIGKILL
        again = Cache(tmp_path)
        assert len(list(again.entry("kind", "it", build).iterdir())) == 3
        assert (
            len(list((tmp_path / "kind").iterdir())) == 2
        )  # the entry and its lock: the torn half is gone, too

    def test_one_that_is_being_built_is_not_waited_for(self, tmp_path: Path) -> None:
        def build(folder: Path) -> None:
            os.utime(folder, (0, 0))
            Cache(tmp_path).sweep(1)
            assert folder.is_dir()

        Cache(tmp_path).entry("kind", "it", build)
