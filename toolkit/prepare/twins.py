"""Documents on one side of the split whose near duplicates stand on another: counted and named."""

from __future__ import annotations

import numpy as np
import pandas as pd

from toolkit.training.split import NAMES, TEST, TRAIN, VALIDATION, Assignment

NAMED = 3


def across(entity: np.ndarray, twin: np.ndarray, assignment: Assignment) -> list[str]:
    """A line for each part that is to judge, where documents of it have a near duplicate in an earlier one.

    entity, twin: texts [rows]; documents with the same twin are near duplicates.
    """
    rows = pd.DataFrame({"entity": entity, "twin": twin, "part": assignment.part})
    found = []
    for part, learnt in ((VALIDATION, [TRAIN]), (TEST, [TRAIN, VALIDATION])):
        known = rows[rows["part"].isin(learnt)].drop_duplicates("twin").set_index("twin")["entity"]
        here = rows[(rows["part"] == part) & rows["twin"].isin(known.index)].drop_duplicates("entity")
        if len(here):
            pairs = here.head(NAMED)
            named = ", ".join(
                f"`{one}` and `{known[of]}`" for one, of in zip(pairs["entity"], pairs["twin"], strict=True)
            )
            more = " …" if len(here) > NAMED else ""
            found.append(
                f"{NAMES[part]}: {len(here):,} of {(rows['part'] == part).sum():,} rows are near duplicates of rows in "
                f"{' or '.join(NAMES[one] for one in learnt)}: {named}{more}; `split.together: twin` keeps them on one side"
            )
    return found
