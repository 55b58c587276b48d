"""The citation graph Cora on its standard split: 140 labelled papers, 500 to choose by, 1,000 to judge.

Kipf and Welling, "Semi-Supervised Classification with Graph Convolutional Networks" (2017), table 2: a GCN
has an accuracy of 0.815, a network of the words alone 0.551.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Work
from small import real

pytestmark = pytest.mark.slow
QUIET = ("report.html=false", "report.explain=false", "evaluation.bootstrap=0", "engine.threads=2")


def accuracies(work: Work, *words: str) -> dict[str, list[float]]:
    """Model → accuracy on the test rows, in each job of a sweep over seeds."""
    said = work.run("-m", "recipe=cora", f"source.path={real('cora')}", *QUIET, *words)
    assert said.code == 0, said.err
    found: dict[str, list[float]] = {}
    for path in sorted(Path("outputs/cora/multirun").glob("*/*/metrics.json")):
        for name, one in json.loads(path.read_text())["targets"]["topic"]["models"].items():
            found.setdefault(name, []).append(one["test"]["accuracy"])
    return found


def test_the_standard_split_is_read_from_its_column(work: Work) -> None:
    said = work.run("plan", "recipe=cora", f"source.path={real('cora')}")
    assert "split test: train 140, validation 500, test 1,000, unused 1,068" in said.out
    assert (
        "citation_graph: 2,708 nodes with 2048 features (paper_words); 100.0% of rows are connected"
        in said.out
    )
    assert "[5,278 edges, both ways]" in said.out


def test_citations_tell_more_than_words(work: Work) -> None:
    found = accuracies(work, "seed=0,1")
    assert len(found["graph_small"]) == 2
    assert np.mean(found["logistic"]) > 0.45  # the most frequent topic: 0.32
    assert np.mean(found["graph_small"]) > np.mean(found["logistic"]) + 0.2
    assert np.mean(found["graph_small"]) > 0.78  # 0.803 ± 0.008 over five seeds
