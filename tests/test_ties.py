"""Rows that tie: in an order that says nothing of the outcome, and the same one in every list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from toolkit.evaluation.gains import Gains, Resample, ranked
from toolkit.evaluation.overlap import shared_top
from toolkit.evaluation.ties import BYTES, best_first, places
from toolkit.report.predictions import write_list
from toolkit.training import threshold

ROWS, POSITIVES = 4_000, 400
SPREAD = 1.96 * np.sqrt(400 * 0.1 * 0.9 * 0.9)  # of the positives among a tenth of all rows: hypergeometric


@pytest.fixture
def dealt() -> tuple[np.ndarray, np.ndarray]:
    """Labels and keys: those who said yes were numbered first, and rows lie in the order of keys."""
    y = np.zeros(ROWS)
    y[:POSITIVES] = 1
    return y, np.array([f"{number:05d}" for number in range(ROWS)], object)


def found(gains: Gains | None, called: int) -> float:
    assert gains is not None
    return float(gains.found[np.searchsorted(gains.called, called)])


def test_a_constant_score_finds_what_chance_finds_though_keys_are_dealt_by_the_outcome(
    dealt: tuple[np.ndarray, np.ndarray],
) -> None:
    y, key = dealt
    score, entity = np.zeros(ROWS), np.arange(ROWS)
    deciles, gains = ranked(y, score, places(key), Resample(entity, 0, 0))
    assert found(gains, 400) == pytest.approx(40, abs=SPREAD)
    assert max(d.lift for d in deciles) < 1.5
    # The control: in the order of keys the first tenth would hold every yes.
    deciles, gains = ranked(y, score, entity, Resample(entity, 0, 0))
    assert found(gains, 400) == POSITIVES
    assert deciles[0].lift == pytest.approx(10)


def test_a_capacity_does_not_find_them_either_and_acts_on_the_first_of_the_list(
    dealt: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    y, key = dealt
    score, lists = np.zeros(ROWS), np.full(ROWS, "2024-01-01")
    wanted = threshold.FillCapacity(kind="fill_capacity", count=400)
    chosen = threshold.choose(wanted, y, score, lists, places(key))
    assert chosen.achieved["precision"] == pytest.approx(0.1, abs=SPREAD / 400)
    assert threshold.choose(wanted, y, score, lists).achieved["precision"] == 1  # the control: in row order

    applies = np.arange(ROWS) % 3 > 0
    acted = threshold.decide_among(chosen, score, lists, places(key), applies)
    write_list(
        tmp_path / "list.csv", key[applies], [""] * applies.sum(), "binary", (), score[applies], score[applies],
        acted[applies], 1_000,
    )  # fmt: skip
    written = pd.read_csv(tmp_path / "list.csv", dtype=str)
    assert (written.act == "yes").tolist() == [True] * 400 + [False] * 600
    assert set(written.entity[:400]) == set(key[acted])


def test_an_order_of_some_is_part_of_the_order_of_all_whatever_the_rows() -> None:
    key = np.array([f"{number}" for number in range(500)], object)
    whole = key[best_first(np.zeros(500), places(key))]
    some = np.random.default_rng(0).permutation(500)[:200]
    assert key[some][best_first(np.zeros(200), places(key[some]))].tolist() == [
        one for one in whole if one in set(key[some])
    ]
    twice = places(np.concatenate([key, key]))
    assert (twice[:500] == twice[500:]).all()
    assert sorted(twice[:500]) == list(range(500))
    score = np.zeros((500, 2))
    assert (shared_top(score, places(key)) == 1).all()  # of two constant scores the same rows are best


def test_the_order_is_the_same_in_every_process_and_release() -> None:
    key = np.array(["1", "01", "a", "b", "é", "10", "9", "日本"], object)
    assert key[np.argsort(places(key))].tolist() == ["a", "b", "9", "01", "é", "日本", "10", "1"]
    assert (places(np.arange(5)) == places(np.arange(5).astype(str).astype(object))).all()
    assert places(key[:0]).tolist() == []


def test_keys_with_the_same_digest_are_in_the_order_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Same:
        def digest(self) -> bytes:
            return bytes(BYTES)

    monkeypatch.setattr("toolkit.evaluation.ties.blake2b", lambda text, digest_size: Same())
    assert places(np.array(["b", "a", "c", "a"], object)).tolist() == [1, 0, 2, 0]
