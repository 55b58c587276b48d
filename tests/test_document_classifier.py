"""The recipe of documents, whole, on a small file room: from files to types, a queue, and scores of new files."""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from toolkit import bundling
from toolkit.cli.main import main
from toolkit.modalities import Images, Modalities, Texts

SMALL = [
    "source.world.size=90", "source.world.born_digital=1.0", "ocr=none", "engine.threads=1", "evaluation.bootstrap=50",
    "model.page_network.trainer.epochs=1", "model.fused_trees.folds=2", "model.stack_text_image.folds=2",
    "model.fused_trees.top.num_iterations=30", "features.first_pages.height=32", "features.first_pages.width=24",
    "report.explain=false", "quiet=true",
]  # fmt: skip
MODELS = {"tfidf_linear", "tfidf_svm", "page_network", "lightgbm", "stack_text_image", "fused_trees"}


@dataclass(frozen=True)
class Ran:
    folder: Path
    run: Path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("room")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["recipe=document_classifier", *SMALL]) == 0
    finally:
        os.chdir(before)
    [run] = [path for path in (folder / "outputs/document_classifier").iterdir() if path.is_dir()]
    return Ran(folder, run)


def metrics_of(ran: Ran) -> dict[str, Any]:
    return json.loads((ran.run / "metrics.json").read_text())["targets"]["document_type"]


def test_nine_types_are_told_apart_on_templates_that_training_has_not(ran: Ran) -> None:
    found = metrics_of(ran)
    assert len(found["classes"]) == 9
    assert set(found["models"]) >= MODELS
    words = found["models"]["tfidf_linear"]["test"]
    assert words["accuracy"] > found["models"]["prior"]["test"]["accuracy"] + 0.4
    assert words["ece"] >= 0


def test_fusion_stands_beside_every_model_alone_with_paired_intervals(ran: Ran) -> None:
    alone = MODELS - {"stack_text_image", "fused_trees"}
    for name in ("fused_trees", "stack_text_image"):
        over = metrics_of(ran)["models"][name]["over_models"]
        assert set(over) == {"accuracy", "macro_f1", "log_loss"}
        assert all(set(each) == alone for each in over.values())
        assert all(low <= value <= high for each in over.values() for value, low, high in each.values())
    said = (ran.run / "summary.md").read_text()
    assert "models alone on the test: accuracy" in said
    assert "What a person should look at" in (ran.run / "report.html").read_text()


def test_each_type_has_its_figures_with_intervals(ran: Ran) -> None:
    for line in metrics_of(ran)["models"]["fused_trees"]["per_class"]:
        assert {"class", "rows", "precision", "recall", "f1", "precision_95", "recall_95", "f1_95"} <= set(
            line
        )
        if line["f1"] is not None and line["f1_95"][0] is not None:
            assert line["f1_95"][0] <= line["f1"] <= line["f1_95"][1]


def test_documents_in_a_folder_are_scored_from_the_files(
    ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows in are rows scored and rows rejected with a reason; a label is not needed."""
    files = sorted(next(ran.folder.glob("outputs/.cache/**/files/")).glob("*.pdf"))[:6]
    inbox = ran.folder / "inbox"
    inbox.mkdir()
    for path in files:
        shutil.copy(path, inbox / path.name)
    (inbox / "cut.pdf").write_bytes(files[0].read_bytes()[:200])
    before = Path.cwd()
    os.chdir(ran.folder)
    try:
        code = main(["score", f"run={ran.run}", "input=inbox", "output=scored"])
    finally:
        os.chdir(before)
    said = capsys.readouterr()
    assert code == 0, said.err
    scores = pd.read_parquet(ran.folder / "scored/scores.parquet")
    assert len(scores) == 6
    with (ran.folder / "scored/review.csv").open(newline="") as file:
        queue = list(csv.DictReader(file))
    assert {line["document"] for line in queue} == set(scores.dropna(subset="document_type.review")["entity"])
    assert "1 rejected" in said.out


def test_one_document_is_classified_in_no_time(ran: Ran) -> None:
    """From features to a class: processor time, so that a busy machine does not matter."""
    scorer = bundling.read(ran.run / "bundle")
    fitted = scorer.models[scorer.heads[0].model]
    words = " ".join(np.random.default_rng(0).choice(["deed", "seller", "tax", "roof", "loan"], 400))
    X = np.zeros((1, len(scorer.encoder.columns)), np.float32)
    besides = Modalities(
        texts=(Texts("document_text", np.array([words], object)),),
        images=(Images("first_pages", np.array([0, 2]), np.zeros((2, 32, 24), np.uint8)),),
    )
    fitted.predict(X, besides)
    begun = time.process_time()
    for _ in range(5):
        fitted.predict(X, besides)
    assert (time.process_time() - begun) / 5 < 0.05
