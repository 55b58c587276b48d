"""The list one calls from: who, in which order, with what is known about them and why.

    standing = stand(scorer, scored, head)        # everybody, best first
    list_of(scorer, scored, standing).table       # the first of them, as written

A run and scoring write the same list for the same tables, for both come here from the bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from toolkit.actions import reasons
from toolkit.bundling import Head, Scorer, listed_models
from toolkit.config.listing import FIXED
from toolkit.config.playbook import Rules
from toolkit.config.schema import Config
from toolkit.data.tables import Loaded, Tables
from toolkit.errors import ConfigError, did_you_mean, nearest
from toolkit.evaluation.metrics import Floats
from toolkit.evaluation.tiers import DIGITS, names_of
from toolkit.evaluation.ties import best_first
from toolkit.modalities import Column
from toolkit.prepare.features import Feature
from toolkit.report.listed import days_of
from toolkit.report.lists import file_name
from toolkit.scoring.batch import Scored

ALIKE = 0.5  # of what the speaker of a story adds
MOST_EXACT = 2.0**53  # whole numbers beyond it are not exact


@dataclass(frozen=True)
class Ranked:
    """One target's list, best first.

    table: columns as in the CSV, cells raw, not yet defused [rows]; key: name of the entity's column;
    target: whose list it is.
    """

    table: pa.Table
    key: str
    target: str


@dataclass(frozen=True)
class Standing:
    """Everybody whom a target applies to, best first, ties as in `ties` [rows].

    rows: positions among the scored rows; entity: keys; value: probability (of the decided class), or the
    number predicted; decision: a multiclass target's class.
    """

    head: Head
    rows: NDArray[np.intp]
    entity: NDArray
    value: Floats
    decision: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.rows)


def check(config: Config, features: Sequence[str], tables: Tables) -> None:
    """Names in `listing` that only the data decides. Raises ConfigError naming the nearest."""
    listing = config.listing
    if listing.file is None:
        return
    entity = tables[tables.dataset.entity]
    known = [*features, *entity.columns]
    for heading, name in listing.columns.items():
        where = f"listing.columns.{heading}"
        if heading == heading_of(entity):
            raise ConfigError(
                f"the heading `{heading}` is the key's, which the list has anyway", where=where, fix="choose another"
            )  # fmt: skip
        if name not in known:
            raise ConfigError(
                f"`{name}` is neither a feature nor a column of table `{entity.name}`",
                where=where,
                fix=did_you_mean(name, known),
            )
    for name in listed_models(config):
        if name not in config.model:
            raise ConfigError(
                f"no model of this recipe is called `{name}`",
                where="listing.models",
                fix=did_you_mean(name, config.model),
            )


def unheard(config: Config, features: Sequence[Feature]) -> list[str]:
    """A line on names in `listing.words` that no feature of the recipe has, or says; [] if all of them are heard.

    Words of feature sets that the recipe does not choose may stand there: a list is declared for many recipes.
    """
    listing, names = config.listing, [feature.name for feature in features]
    if listing.file is None or not listing.reasons:
        return []
    said = {name for feature in features for name in reasons.names_in(feature.text, listing.words)}
    phrases = {feature.text for feature in features} | {feature.text.split(",")[0] for feature in features}
    lost = []
    for name in listing.words:
        chosen, dot, _ = name.partition(".")
        if name in names or name in said or (dot and chosen not in config.features):
            continue
        close = nearest(name, names if dot else phrases)
        if close or dot:
            lost.append(f"`{name}`" + (f" (did you mean `{close}`?)" if close else ""))
    more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
    return [f"listing.words: no feature is, or says, {', '.join(lost[:3])}{more}"] if lost else []


def stand(scorer: Scorer, scored: Scored, head: Head) -> Standing:
    """Rank everybody whom the head's target applies to, by the raw score as the lists of the test do."""
    if head in scorer.heads:
        raw, value = scored.raw[head.name], scored.probability[head.name]
    else:
        raw, value = scored.others[head.model, head.name]
    decision = np.zeros(len(raw), np.intp)
    if head.type == "multiclass":
        decision = value.argmax(axis=1)
        raw, value = raw.max(axis=1), value[np.arange(len(value)), decision]
    rows = np.flatnonzero(scored.eligible[head.name])
    rows = rows[best_first(raw[rows], scored.place[rows])]
    return Standing(head, rows, scored.matrix.entity[rows], np.round(value[rows], DIGITS), decision[rows])


def list_of(scorer: Scorer, scored: Scored, standing: Standing, once: reasons.Once | None = None) -> Ranked:
    """The first rows of a standing: rank, key, snapshot, score, decile, the declared columns, reasons.

    once: one for all lists of a scoring, of `telling`.
    """
    listing, head = scorer.listing, standing.head
    size = listing.rows(len(standing))
    rows = standing.rows[:size]
    entity = scored.tables[scorer.declaration.dataset.entity]
    key = heading_of(entity)
    columns: dict[str, Any] = {
        "rank": np.arange(1, size + 1),
        key: pa.array(standing.entity[:size].tolist(), pa.string()),
        "snapshot": days_of(scored.matrix.cutoff[rows], scorer.declaration.cohort.timezone),
        score_column(head): standing.value[:size],
    }
    if (tiers := tiers_of(scorer, scored, standing)) is not None:
        columns["tier"] = pa.array(tiers[:size], pa.string())
    columns["decile"] = deciles(size, len(standing))
    if head.type == "multiclass":
        classes = [head.classes[i] for i in standing.decision[:size]]
        columns[f"CLASS_{head.name.upper()}"] = pa.array(classes, pa.string())
    columns |= shown(listing.columns, scored, entity, rows)
    for number, texts in enumerate(_reasons(scorer, scored, standing, rows, once), 1):
        columns[f"reason_{number}"] = pa.array(texts, pa.string())
    return Ranked(pa.table(columns), key, head.name)


def heading_of(entity: Loaded) -> str:
    """The key's heading: its own name, unless that is one of the list's."""
    key = entity.spec.keys[0]
    return "entity" if FIXED.fullmatch(key) else key


def score_column(head: Head) -> str:
    """`P_CONVERT_30D`: the calibrated probability (of the class that is named); of a number its prediction."""
    return f"{'VALUE' if head.type == 'regression' else 'P'}_{head.name.upper()}"


def deciles(size: int, of: int) -> NDArray[np.intp]:
    """Tenth of the whole ranking, 1 the best, of its first rows [size]."""
    return np.arange(size) * 10 // max(of, 1) + 1


def stem_of(scorer: Scorer, head: Head) -> str:
    """The list's file name without `.csv`: it names the target where there are several, and any further model."""
    parts = [scorer.listing.file or "ranked"]
    parts += [file_name(head.name)] if len(scorer.heads) > 1 else []
    parts += [] if head in scorer.heads else [file_name(head.model)]
    return ".".join(parts)


def tiers_of(scorer: Scorer, scored: Scored, standing: Standing) -> list[str | None] | None:
    """Everybody's tier, in the standing's order: by its own probability, or by that of the declared target.

    None where the list has no tiers; a row to which the declared target does not apply has none.
    """
    listing, head = scorer.listing, standing.head
    if tiers := listing.tiers_for(head.name, head.type):
        return names_of(standing.value, tiers)
    if not listing.tiers or not listing.tiers_of:
        return None
    of, rows = listing.tiers_of, standing.rows
    return names_of(scored.probability[of][rows], listing.tiers, scored.eligible[of][rows])


def shown(named: Mapping[str, str], scored: Scored, entity: Loaded, rows: NDArray[np.intp]) -> dict[str, Any]:
    """Columns of some rows, heading → pyarrow array: features as they are in the matrix, else cells of the entity table."""
    features = scored.matrix.columns
    wanted = [name for name in dict.fromkeys(named.values()) if name not in features]
    cells: dict[str, Any] = {}
    if wanted:
        key = entity.spec.keys[0]
        table = pq.read_table(entity.path, columns=list(dict.fromkeys([key, *wanted])))
        place = pd.Index(table[key].to_pylist()).get_indexer(scored.matrix.entity[rows])
        cells = {name: _whole(table[name].take(pa.array(place)).combine_chunks()) for name in wanted}
    return {
        heading: _cells(features[name], rows) if name in features else cells[name]
        for heading, name in named.items()
    }


def _cells(column: Any, rows: NDArray[np.intp]) -> pa.Array:
    """A feature of some rows, as people read it: texts, whole numbers, or the shortest text of a float32."""
    if isinstance(column, pd.Categorical):
        some = column[rows]
        return pa.array(
            [None if gap else str(text) for text, gap in zip(some, some.isna(), strict=True)], pa.string()
        )
    values = column[rows]
    gaps = ~np.isfinite(values)
    texts = values.astype(str).tolist()
    return _whole(
        pa.array([None if gap else float(text) for text, gap in zip(texts, gaps, strict=True)], pa.float64())
    )


def _whole(cells: pa.Array) -> pa.Array:
    """Numbers without a fraction as whole ones; anything else as it is."""
    if pa.types.is_floating(cells.type):
        known = cells.drop_null().to_numpy()
        if (known == np.floor(known)).all() and (np.abs(known) < MOST_EXACT).all():
            return cells.cast(pa.int64())
    return cells


def telling(scorer: Scorer, scored: Scored) -> reasons.Once | None:
    """What models say of the scored rows, asked as lists need it; None where nothing needs reasons."""
    wanted = scorer.listing.reasons or isinstance(scorer.playbook, Rules)
    if not wanted or scorer.usual is None:
        return None
    return reasons.Once(scored.X, scored.besides, scorer.usual)


@dataclass(frozen=True)
class Told:
    """What speaks for and against the rows of a list.

    values: what each column adds to the score [rows, columns]; chosen: of each row the columns of its reasons,
    strongest first, those that raise the score before those that lower it; X: [rows, columns] as the model sees
    them; words: of each column; stories: of each column those that tell the same story, and are called something.
    """

    values: Floats
    chosen: list[list[int]]
    X: NDArray[np.float32]
    usual: NDArray[np.float32]
    columns: Sequence[Column]
    words: list[str]
    stories: list[list[int]]

    def say(self, row: int, c: int) -> str:
        """A reason in words."""
        lowers = bool(self.values[row, c] < 0)
        return reasons.in_words(
            self.words[c], float(self.X[row, c]), float(self.usual[c]), self.columns[c], lowers=lowers
        )

    def sides(self, row: int, most: int) -> tuple[list[list[int]], list[list[int]]]:
        """The columns of at most so many reasons that raise a row's score, and of those that lower it.

        Each reason is the column that speaks, and after it those of the same story that pull as it does, half as
        much or more.
        """
        sides: tuple[list[list[int]], list[list[int]]] = [], []
        for c in self.chosen[row]:
            lowers = int(self.values[row, c] < 0)
            if len(sides[lowers]) < most:
                pull = self.values[row] * (-1 if lowers else 1)
                also = [o for o in self.stories[c] if o != c and pull[o] >= ALIKE * pull[c]]
                sides[lowers].append([c, *sorted(also, key=lambda o: -pull[o])])
        return sides


def told(
    scorer: Scorer, scored: Scored, standing: Standing, rows: NDArray[np.intp], once: reasons.Once | None
) -> Told | None:
    """The reasons of the first rows of a standing; None where nothing needs them."""
    head, once = standing.head, once or telling(scorer, scored)
    if once is None or scorer.usual is None:
        return None
    X = scored.X[rows]
    values = reasons.added(
        scorer.models[head.model], head.position, X, scored.besides.some(rows), scorer.usual,
        standing.decision[: len(rows)] if head.type == "multiclass" else None,
        lambda fitted, place: once.of(fitted, place, rows),
    )  # fmt: skip
    features = scored.matrix.features
    stories = reasons.stories(features, {c for t in scored.tables.loaded.values() for c in t.columns})
    called = scorer.listing.words
    silent = [c for c, feature in enumerate(features) if not called.get(feature.name, feature.name)]
    chosen = reasons.strongest(values, stories, len(stories), silent)
    words = [reasons.described(feature, called) for feature in features]
    loud = [c for c in range(len(features)) if c not in silent]
    alike = [[o for o in loud if stories[o] == stories[c]] for c in range(len(features))]
    return Told(values, chosen, X, scorer.usual, scorer.encoder.columns, words, alike)


def _reasons(
    scorer: Scorer, scored: Scored, standing: Standing, rows: NDArray[np.intp], once: reasons.Once | None
) -> list[list[str | None]]:
    """For each place, from the strongest reason on, the texts of all rows; None where a row has no such reason."""
    most = scorer.listing.reasons
    found = told(scorer, scored, standing, rows, once) if most else None
    if found is None:
        return []
    said = [[found.say(row, c) for c in chosen[:most]] for row, chosen in enumerate(found.chosen)]
    return [[texts[place] if place < len(texts) else None for texts in said] for place in range(most)]
