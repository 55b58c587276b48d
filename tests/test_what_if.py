"""What a row would score with another value: by the same pipeline, its chain of nested targets included."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SHOP, shop_files, write_files

from toolkit import bundling
from toolkit.actions import what_if
from toolkit.actions.ranked import stand
from toolkit.cli.main import main
from toolkit.config.schema import Engine
from toolkit.config.tables import FolderSource
from toolkit.data.cache import Cache
from toolkit.scoring import batch

AGES = sorted({int(line.split(",")[2]) for line in str(shop_files()["clients.csv"]).splitlines()[1:]})
LISTING = f"file: calls\nsize: all\nwhat_if: {{best: 2, choose: {{AGE: {{feature: profile.age, values: {AGES}}}}}}}\n"
SOON = "kind: event_within\ntable: orders\nhorizon: 3 months\n"
# The wider horizon first: the chain is wrong on purpose, so that it corrects every row.
WORDS = ["recipe=shop", "listing=calls", "target=[orders_soon,orders_again]", "coherent=[[orders_again,orders_soon]]",
         "engine.threads=1", "report.html=false"]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("what_if")
    write_files(folder, SHOP | {f"data/{name}": content for name, content in shop_files().items()})
    write_files(folder, {"conf/listing/calls.yaml": LISTING, "conf/target/orders_soon.yaml": SOON})
    with contextlib.chdir(folder):
        assert main([*WORDS, "hydra.run.dir=run"]) == 0
    return folder


def test_with_its_own_value_a_row_of_a_chain_scores_what_the_list_says(finished: Path) -> None:
    scorer = bundling.read(finished / "run/bundle")
    source = FolderSource(kind="folder", path=str(finished / "data"))
    scored = batch.score(scorer, source, None, Cache(finished / "outputs/.cache"), Engine(threads=1))
    node = scorer.listing.what_if
    assert node is not None
    for head in scorer.heads:
        rows = stand(scorer, scored, head).rows
        tried = what_if.try_all(scorer, scored, head, rows, node)
        own = [AGES.index(int(age)) for age in scored.matrix.columns["profile.age"][rows]]
        at = np.arange(len(rows)), own
        np.testing.assert_array_equal(tried.value[at], scored.probability[head.name][rows])
        alone = head.calibrator.apply(scored.raw[head.name][rows])
        assert (np.abs(tried.value[at] - alone) > 1e-3).any()  # the control: the chain has moved them


def test_a_list_of_everybody_has_everybodys_best_choices(finished: Path) -> None:
    listed = pd.read_csv(finished / "run/calls.orders_again.csv", dtype=str)
    best = pd.read_csv(finished / "run/calls.orders_again.best.csv", dtype=str)
    assert best["id"].tolist() == listed["id"].repeat(2).tolist()
