"""The one door to the test labels: it opens once, at the end, and counts."""

from __future__ import annotations

import numpy as np


class TestDoor:
    """Takes the labels of the test rows away until everything is fitted and chosen.

    y: labels of all rows [rows, targets]; rows: positions of the test rows, which are NaN in `y` from
    then on. `open` gives them, [test rows, targets], once; asking again is an error of ours and raises.
    """

    __test__ = False  # not a pytest class

    def __init__(self, y: np.ndarray, rows: np.ndarray) -> None:
        self._y = y[rows]  # a copy
        y[rows] = np.nan
        self.reads = 0

    def open(self) -> np.ndarray:
        self.reads += 1
        if self.reads > 1:
            raise RuntimeError(
                "the test labels have been read already: a second look would choose by the test"
            )
        return self._y
