"""How columns differ between the rows that were learnt from and others: shift (PSI) and gaps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolkit.evaluation.metrics import NAN, Floats, ratio
from toolkit.evaluation.univariate import bin_columns


def psi(train: NDArray, other: NDArray, categorical: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Population stability index of each column beyond chance, and what chance brings: [columns] each.

    train, other: X float32 [rows, columns], NaN is missing (a bin of its own). The index is Σ (q − p)·ln(q / p)
    over the bins of the training rows that hold a row: about 20 of equal mass, or the levels. Half a row is added
    to each, so that one that is empty on one side stays finite. Two samples of one population have on average
    (bins − 1)·(1/n + 1/m) of it (Yurdakul & Naranjo 2020), which is taken off, down to 0. Read as: below 0.1
    stable, above 0.25 shifted (Siddiqi 2006, ch. 6). NaN where either side has no rows.
    """
    columns = train.shape[1]
    if not len(train) or not len(other):
        return np.full(columns, NAN), np.full(columns, NAN)
    bins = bin_columns(train, categorical)
    index, used = np.empty(columns), np.empty(columns)
    for c in range(columns):
        p, q = (np.bincount(bins.column_codes(c, X[:, c]), minlength=bins.width) for X in (train, other))
        some = p + q > 0
        p, q = ((counts[some] + 0.5) / (counts[some] + 0.5).sum() for counts in (p, q))
        index[c], used[c] = ((q - p) * np.log(q / p)).sum(), some.sum()
    floor = (used - 1) * (1 / len(train) + 1 / len(other))
    return np.maximum(index - floor, 0), floor


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
