"""How columns differ between the rows that were learnt from and others: shift (PSI) and gaps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.evaluation.metrics import NAN, Floats, ratio
from toolkit.evaluation.univariate import Codes, bin_columns


def psi(train: NDArray, other: NDArray, categorical: NDArray[np.bool_]) -> Floats:
    """Population stability index of each column: Σ (q − p)·ln(q / p) over bins, [columns].

    train, other: X float32 [rows, columns], NaN is missing (a bin of its own). Bins are of the training
    rows: about 20 of equal mass, or the levels. Half a row is added to each bin, so that one that is empty
    on one side stays finite. Read as: below 0.1 stable, above 0.25 shifted (Siddiqi 2006, ch. 6). NaN
    where either side has no rows.
    """
    if not len(train) or not len(other):
        return np.full(train.shape[1], NAN)
    bins = bin_columns(train, categorical)
    p, q = (_shares(bins.codes(X), bins.width) for X in (train, other))
    return ((q - p) * np.log(q / p)).sum(axis=1)


def _shares(codes: Codes, width: int) -> Floats:
    """Share of rows in each bin [columns, bins], with half a row added to each."""
    counts = np.array([np.bincount(codes[:, c], minlength=width) for c in range(codes.shape[1])]) + 0.5
    return counts / counts.sum(axis=1, keepdims=True)


def missing(
    columns: Mapping[str, NDArray | pd.Categorical], part: NDArray, names: Mapping[int, str]
) -> dict[str, dict[str, float]]:
    """Share of missing values per column and part. part: [rows]; names: number of a part → its name."""  # fmt: skip
    shift = -min(min(names), int(part.min(initial=0)))
    moved = part.astype(np.intp) + shift
    rows = np.bincount(moved, minlength=max(names) + shift + 1)
    found = {}
    for name, column in columns.items():
        gap = column.codes == -1 if isinstance(column, pd.Categorical) else np.isnan(column)
        gone = np.bincount(moved[gap], minlength=len(rows))
        found[name] = {names[p]: ratio(float(gone[p + shift]), float(rows[p + shift])) for p in names}
    return found
