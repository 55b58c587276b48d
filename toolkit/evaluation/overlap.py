"""How several targets go together: shared positives, shared tops, similar ranks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.metrics import Floats, ratio
from toolkit.evaluation.ties import best_first

SAMPLE = 100_000  # rows of a rank correlation


def shared_positives(y: Floats) -> Floats:
    """Of the row's target's positives, the share that are positives of the column's: [targets, targets].

    y [rows, targets] of 0/1, NaN where a target has no label: a pair is judged by the rows that have both.
    """
    has, hit = (~np.isnan(y)).astype(float), (y == 1).astype(float)
    return ratio(hit.T @ hit, hit.T @ has)


def shared_top(score: Floats, key: NDArray, share: float = 0.1) -> Floats:
    """Of the row's target's best scores, the share that are among the column's best: [targets, targets].

    score [rows, targets], NaN where a target does not apply; key [rows]: of `ties.places`. A
    target's best are this share of the rows that it applies to, at least one. NaN without such rows.
    """
    best = np.zeros(score.shape)
    for t in range(score.shape[1]):
        able = np.flatnonzero(~np.isnan(score[:, t]))
        best[able[best_first(score[able, t], key[able])][: max(1, round(share * len(able)))], t] = 1
    return ratio(best.T @ best, best.sum(axis=0)[:, None])


def rank_correlation(columns: Floats) -> Floats:
    """Spearman correlation [columns, columns] of columns [rows, columns]; NaN for a constant one.

    A missing value takes the middle rank, and so says nothing. Rows beyond 100,000 are skipped evenly.
    """
    from scipy.stats import rankdata

    step = max(1, -(-len(columns) // SAMPLE))
    ranks = np.full((len(columns[::step]), columns.shape[1]), 0.0)
    for c, values in enumerate(columns[::step].T):
        known = ~np.isnan(values)
        if known.any():
            ranks[known, c] = rankdata(values[known]) - (known.sum() + 1) / 2
    spread = np.sqrt((ranks**2).sum(axis=0))
    return np.clip(ratio(ranks.T @ ranks, np.outer(spread, spread)), -1, 1)
