"""How several targets go together: shared positives, shared tops, similar ranks."""

from __future__ import annotations

import numpy as np

from toolkit.evaluation.metrics import Floats, ratio

SAMPLE = 100_000  # rows of a rank correlation


def shared_positives(y: Floats) -> Floats:
    """Of the row's target's positives, the share that are positives of the column's: [targets, targets].

    y [rows, targets] of 0/1, NaN where a target has no label: a pair is judged by the rows that have both.
    """
    has, hit = (~np.isnan(y)).astype(float), (y == 1).astype(float)
    return ratio(hit.T @ hit, hit.T @ has)


def shared_top(score: Floats, share: float = 0.1) -> Floats:
    """Of the row's target's best scores, the share that are among the column's best: [targets, targets].

    score [rows, targets]; at least one row is best, ties by row. NaN without rows.
    """
    rows, targets = score.shape
    best = np.zeros((rows, targets))
    for t in range(targets):
        best[np.argsort(-score[:, t], kind="stable")[: max(1, round(share * rows))], t] = 1
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
