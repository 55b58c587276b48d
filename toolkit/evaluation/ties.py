"""Who comes first among rows that tie: neutral, and the same in every list.

Keys may be dealt by the answer (those who said yes were numbered first), and rows lie in the order of keys.
Ties in either order would find the yes by the number alone, and the gains of a constant score would look like
those of a good one. So an entity's place is that of its key's digest, which no outcome has dealt and which is
the same in every process and release: a list and what is measured of it agree, and a shorter list is a part
of a longer one.

    place = places(matrix.entity)               # [rows]
    order = best_first(score, place)            # positions, best score first
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pandas as pd
from numpy.typing import NDArray

BYTES = 8  # of a digest; two of a million keys share one with a chance of 3 in a hundred million


def places(key: NDArray) -> NDArray[np.intp]:
    """Each row's key as its place among all keys in the order of their digests [rows]; equal for equal keys.

    key [rows]: as text, or what is written as one. Keys with the same digest are in the order of text.
    """
    codes, names = pd.factorize(key)
    texts = names.astype(str)
    digests = b"".join(blake2b(text.encode(), digest_size=BYTES).digest() for text in texts.tolist())
    place = np.empty(len(names), np.intp)
    place[np.lexsort((texts, np.frombuffer(digests, ">u8")))] = np.arange(len(names))
    return place[codes]


def best_first(score: NDArray, place: NDArray[np.intp]) -> NDArray[np.intp]:
    """Positions of rows, best score first, ties by place: [rows]."""
    return np.lexsort((place, -score))
