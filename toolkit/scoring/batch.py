"""Score tables with a bundle: the features are recomputed by the code that trained on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit.actions import entities, review
from toolkit.bundling import Scorer
from toolkit.config.schema import Engine as EngineConfig
from toolkit.config.tables import Source
from toolkit.data.cache import Cache
from toolkit.data.engine import Engine
from toolkit.data.tables import Tables
from toolkit.errors import BundleError, DataError, nearest
from toolkit.evaluation.ties import places
from toolkit.modalities import NOTHING, Modalities, Sequences
from toolkit.prepare import cutoffs as moments
from toolkit.prepare import matrix as matrices
from toolkit.prepare.cohort import looking_back
from toolkit.prepare.cutoffs import cutoff_on, data_end, day_of
from toolkit.prepare.found import found as found_in
from toolkit.prepare.frame import as_clock, clock_types
from toolkit.prepare.matrix import Declaration, Matrix
from toolkit.prepare.targets import applies_to, horizon_of
from toolkit.report.lists import file_name
from toolkit.report.predictions import days_of, score_columns, tier_column, write_list
from toolkit.report.rejected import write_rejected
from toolkit.scoring import history
from toolkit.training.coherence import cohere
from toolkit.training.mitigation import decide_by_group
from toolkit.training.threshold import decide_among
from toolkit.training.triage import Flags, values_of


@dataclass(frozen=True)
class Scored:
    """Scores of a cohort. table: one row per (entity, cutoff); X, besides: the rows as models see them.

    others: (model, target) → raw score and probability, of models that were not chosen; place: each row's place
    among rows that tie, of `ties.places`; found: lines on new tables, of `found` and `history`; flags: what a person should
    look at, where the bundle has a triage.
    """

    matrix: Matrix
    tables: Tables
    X: np.ndarray
    besides: Modalities
    table: pa.Table
    raw: dict[str, np.ndarray]
    probability: dict[str, np.ndarray]
    decision: dict[str, np.ndarray]
    eligible: dict[str, np.ndarray]
    others: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]
    unseen: dict[str, int]
    cutoffs: tuple[datetime, ...]
    place: np.ndarray
    found: tuple[str, ...] = ()
    flags: Flags | None = None


def moments_of(
    text: str | None, tables: Tables, declaration: Declaration, key: str = "cutoff"
) -> tuple[datetime, ...]:
    """The cutoff to score at: a day, or `latest`, the moment up to which the tables reach; () without cutoffs.

    key: what the day was given as, for messages.
    """
    zone, latest = declaration.cohort.timezone, text in (None, "latest")
    if declaration.cohort.cutoffs is None:
        if latest:
            return ()
        raise DataError(
            f"`{key}={text}`: this bundle scores tables without a clock, at no moment",
            where="command line",
            fix=f"leave out `{key}=`",
        )
    dated = [table for table in tables.loaded.values() if table.spec.clock]
    if latest:
        end = moments.latest(declaration.cohort.model_copy(update={"cutoffs": []}), tables)  # of no rhythm
        if end is None:
            raise DataError(
                f"no dated row in {', '.join(f'`{table.origin}`' for table in dated)}, so there is no latest moment",
                fix=f"name one: {key}=2024-01-31",
            )
        return (end,)
    assert text is not None
    try:
        moment = cutoff_on(datetime.fromisoformat(text), declaration.cohort)
    except (ValueError, OverflowError):
        close = nearest(text, ["latest"])
        raise DataError(
            f"`{key}={text}` is not a day",
            where="command line",
            fix=f"did you mean {key}=latest?" if close else f"write {key}=2024-01-31, or {key}=latest",
        ) from None
    firsts = {table.name: table.first for table in dated if table.first}
    if firsts and all(
        as_clock(moment, clock_types(tables[name])[1], zone) < first for name, first in firsts.items()
    ):
        raise DataError(
            f"at the cutoff {day_of(moment, zone)} nothing was known yet: "
            f"the first row is of {min(firsts.values()):%Y-%m-%d}",
            where="command line",
            fix="choose a later cutoff",
        )  # fmt: skip
    ends = [end for table in dated if (end := data_end(table, zone))]
    horizons = [found for node in declaration.target.values() if (found := horizon_of(node))]
    if ends and moment - max(ends) > timedelta(days=max((h.days for h in horizons), default=365)):
        raise DataError(
            f"the cutoff {day_of(moment, zone)} lies far beyond the data, which ends on {day_of(max(ends), zone)}",
            where="command line",
            why="everybody would look as if nothing had happened to them for longer than a horizon",
            fix=f"newer tables, an earlier cutoff, or {key}=latest",
        )
    return (moment,)


def newest(tables: Tables, declaration: Declaration) -> tuple[datetime, ...]:
    """The newest moment of the cohort's rhythm that the tables reach; () without cutoffs."""
    if declaration.cohort.cutoffs is None:
        return ()
    found = moments.latest(declaration.cohort, tables)
    if found is None:
        raise DataError(
            "the tables reach no moment of the cohort's rhythm",
            where="cohort.cutoffs",
            fix="newer tables, or name a moment: snapshot=2024-01-31",
        )
    return (found,)


def without_labels(declared: Declaration) -> Declaration:
    """What scoring needs of a declaration."""
    return Declaration(declared.dataset, declared.cohort, {}, declared.features, protected=declared.protected)


def tables_of(scorer: Scorer) -> list[str]:
    """The tables that scoring reads: not those that only labels are made of."""
    declared = scorer.declaration
    names = set(without_labels(declared).tables())
    names |= {*scorer.entities.tables}
    names |= {condition.table for node in declared.target.values() for condition in node.among}
    return [name for name in declared.dataset.tables if name in names]


def score(
    scorer: Scorer,
    source: Source,
    cutoff: str | None,
    cache: Cache,
    engine_config: EngineConfig,
    progress: Callable[[str, float], None] | None = None,
    snapshot: str | None = None,
) -> Scored:
    """Score every entity of the cohort at one cutoff. Raises by name where the input does not fit.

    cutoff: a day, or `latest`, the end of the data; snapshot: a day, or `latest`, the newest step of the cohort's
    rhythm. Without either it is the latest: a step where the bundle has a ranked list, else the end.
    """
    declared = scorer.declaration
    only = tables_of(scorer)
    if cutoff is None and snapshot is None and scorer.listing.file:
        snapshot = "latest"
    optional: dict[str, set[str]] = {}
    for table, column in scorer.labels:
        optional.setdefault(table, set()).add(column)
    engine = Engine(engine_config.threads, engine_config.memory, cache.root / "scratch")
    try:
        tables = matrices.load_tables(
            without_labels(declared), source, engine, cache, progress, only, optional
        )
        history.check_rhythm(scorer.stamps, tables, engine)
        if snapshot == "latest":
            cutoffs = newest(tables, declared)
        else:
            cutoffs = moments_of(snapshot or cutoff, tables, declared, "snapshot" if snapshot else "cutoff")
        scored = score_at(scorer, tables, cutoffs, engine, cache, progress)
        staying = declared.cohort.model_copy(update={"having": []})  # who leaves concerns labels
        said = found_in(staying, tables, engine)
        at = cutoffs[0] if cutoffs else None
        said += history.shorter(scorer.stamps, scorer.trained, declared, tables, at)
        return replace(scored, found=tuple(said))
    finally:
        engine.close()


def score_at(
    scorer: Scorer,
    tables: Tables,
    cutoffs: tuple[datetime, ...],
    engine: Engine,
    cache: Cache,
    progress: Callable[[str, float], None] | None = None,
) -> Scored:
    """Score the cohort of loaded tables at a moment; the engine's own cohort is another one afterwards."""
    declared = scorer.declaration
    compiled = matrices.compile_all(without_labels(declared), tables, engine, cache, cutoffs, labelled=False)
    if compiled.names != scorer.features:
        raise BundleError(
            "the features that this input gives are not those of the bundle",
            where="features",
            why="the bundle was written by another version of the toolkit",
            fix="score with the version that wrote it (manifest.json), or run the recipe again",
        )
    matrix = matrices.build(compiled, engine, cache, progress)
    frame = looking_back(declared.cohort)
    eligible = {
        name: matrices.eligible(applies_to(name, node, tables, frame), engine, len(matrix))
        for name, node in declared.target.items()
    }
    encoded = scorer.encoder.transform(matrix.columns, len(matrix))
    besides = scorer.encoder.modalities(matrix.sequences, matrix.graphs, matrix.texts, matrix.images)
    unseen = encoded.unseen | unseen_events(matrix.sequences, besides.sequences)
    return predict(scorer, matrix, tables, encoded.X, unseen, eligible, cutoffs, besides)


def unseen_events(raw: Sequence[Sequences], encoded: Sequence[Sequences]) -> dict[str, int]:
    """How many rows have an event with a text that no training row's event has, per channel."""
    found = {}
    for before, after in zip(raw, encoded, strict=True):
        owner = np.repeat(np.arange(len(before)), before.lengths)
        for index, (name, _) in enumerate(before.categorical):
            lost = (before.codes[:, index] >= 0) & (after.codes[:, index] < 0)
            found[f"{before.name}.{name}"] = len(np.unique(owner[lost]))
    return found


def predict(
    scorer: Scorer,
    matrix: Matrix,
    tables: Tables,
    X: np.ndarray,
    unseen: dict[str, int],
    eligible: dict[str, np.ndarray],
    cutoffs: tuple[datetime, ...],
    modalities: Modalities = NOTHING,
) -> Scored:
    """Encoded rows to scores, probabilities and decisions of every target."""
    lists = matrix.cutoff.astype("datetime64[s]").astype(str)
    place = places(matrix.entity)
    said = say(scorer, X, modalities, eligible, lists, place, matrix.protected)
    raw, probability, decision = said.raw, said.probability, said.decision
    columns: dict[str, Any] = {
        "entity": pa.array(matrix.entity.tolist(), pa.string()),
        "cutoff": pa.array(matrix.cutoff),
    }
    for head in scorer.heads:
        columns |= score_columns(
            head.name, head.type, head.classes, raw[head.name], probability[head.name], decision[head.name]
        )
        if tiers := scorer.listing.tiers_for(head.name, head.type):
            columns |= tier_column(head.name, probability[head.name], tiers, eligible[head.name])
        if not eligible[head.name].all():
            columns[f"{head.name}.applies"] = eligible[head.name]
    flags = None
    if scorer.triage is not None:
        values = values_of(matrix, tables, np.arange(len(matrix)))
        flags = scorer.triage.flags(probability[scorer.triage.target], X, modalities, values)
        flags = flags.among(eligible[scorer.triage.target])
        why = [flags.why(row) or None for row in range(len(matrix))]
        columns[f"{scorer.triage.target}.review"] = pa.array(why, pa.string())
    return Scored(
        matrix, tables, X, modalities, pa.table(columns), raw, probability, decision, eligible, said.others, unseen,
        cutoffs, place, flags=flags,
    )  # fmt: skip


@dataclass(frozen=True)
class Said:
    """What a bundle's models say of rows: target → [rows] or [rows, classes]; others: as in `Scored`."""

    raw: dict[str, np.ndarray]
    probability: dict[str, np.ndarray]
    decision: dict[str, np.ndarray]
    others: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]


def say(
    scorer: Scorer,
    X: np.ndarray,
    modalities: Modalities,
    eligible: dict[str, np.ndarray],
    lists: np.ndarray,
    place: np.ndarray,
    groups: Mapping[str, Any] = MappingProxyType({}),
) -> Said:
    """Scores, calibrated and coherent probabilities, and decisions of every target.

    X: float32 [rows, columns]; eligible: target → [rows]; lists: the list that each row belongs to [rows];
    place: of `ties.places` [rows]; groups: protected attribute → [rows], where thresholds differ by one.
    """
    by_model = {name: fitted.predict(X, modalities) for name, fitted in scorer.models.items()}
    raw = {head.name: by_model[head.model][head.position] for head in scorer.heads}
    raw |= {head.name: np.expm1(raw[head.name]) for head in scorer.heads if head.logged}
    probability = {head.name: head.calibrator.apply(raw[head.name]) for head in scorer.heads}
    others = {}
    for head in scorer.others:
        score = by_model[head.model][head.position]
        score = np.expm1(score) if head.logged else score
        others[head.model, head.name] = (score, head.calibrator.apply(score))
    decision = {}
    for head in scorer.heads:
        if head.by_group is not None:
            decision[head.name] = decide_by_group(
                head.by_group, raw[head.name], groups[head.by_group.attribute], lists, place, eligible[head.name]
            )  # fmt: skip
        elif head.threshold is not None:
            decision[head.name] = decide_among(
                head.threshold, raw[head.name], lists, place, eligible[head.name]
            )
        elif head.type == "multiclass":
            decision[head.name] = probability[head.name].argmax(axis=1)
        else:
            decision[head.name] = np.zeros(len(X), bool)
    for chain in scorer.coherent:
        in_order, acted, _ = cohere(chain, probability, decision, eligible)
        probability, decision = probability | in_order, decision | acted
    return Said(raw, probability, decision, others)


def write(scorer: Scorer, scored: Scored, folder: Path) -> list[str]:
    """Scores, ranked lists and rejected rows into a folder. Returns lines that account for every row."""
    pq.write_table(scored.table, folder / "scores.parquet")
    (folder / "lists").mkdir()
    days = days_of(scored.matrix.cutoff, scorer.declaration.cohort.timezone)
    for head in scorer.heads:
        rows = scored.eligible[head.name]
        write_list(
            folder / "lists" / f"{file_name(head.name)}.csv",
            scored.matrix.entity[rows],
            [day for day, applies in zip(days, rows, strict=True) if applies],
            head.type,
            head.classes,
            scored.raw[head.name][rows],
            scored.probability[head.name][rows],
            scored.decision[head.name][rows],
            scorer.list_size,
        )
    if scorer.triage is not None and scored.flags is not None:
        head = next(head for head in scorer.heads if head.name == scorer.triage.target)
        key = scored.tables[scorer.declaration.dataset.entity].spec.keys[0]
        review.write(
            folder, scorer.triage, scored.flags, key, scored.matrix.entity, scored.probability[head.name],
            head.classes, days,
        )  # fmt: skip
    write_rejected(scored.tables, folder / "rejected")
    lines = account(scorer, scored)
    lines += entities.search(scorer.entities, scored.tables, folder)[1]
    (folder / "summary.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines


def account(scorer: Scorer, scored: Scored) -> list[str]:
    """Rows in = rows scored + rows outside the cohort + rows rejected with a reason; then what to know."""
    zone = scorer.declaration.cohort.timezone
    entity = scored.tables[scorer.declaration.dataset.entity]
    outside = entity.rows_kept - len(scored.matrix)
    at = f" at {day_of(scored.cutoffs[0], zone)}" if scored.cutoffs else ""
    lines = [f"{entity.rows_read:,} rows of {entity.name}: {len(scored.matrix):,} scored{at}, {outside:,} not in the cohort, "
             f"{entity.rows_rejected:,} rejected"]  # fmt: skip
    for name, applies in scored.eligible.items():
        if not applies.all():
            lines.append(f"{name}: applies to {applies.sum():,} of the scored rows")
    for table in scored.tables.loaded.values():
        lines += [
            f"rejected from {table.name}: {reason}: {count:,} rows" for reason, count in table.reasons.items()
        ]
        if table.ignored:
            lines.append(f"in {table.origin}, not used: {', '.join(table.ignored)}")
    if scored.flags is not None and scorer.triage is not None:
        lines.append(review.line(scorer.triage, scored.flags))
    lines += scored.found
    lines += [f"the run failed a fairness gate, which was accepted: {gate}" for gate in scorer.gates]
    for name, groups in scored.matrix.protected.items():
        if unknown := int((groups.codes < 0).sum()):
            lines.append(f"`{name}` is unknown for {unknown:,} rows, which the common threshold decides")
    lines += [
        f"{name}: {count:,} rows hold a level never seen in training"
        for name, count in scored.unseen.items()
        if count
    ]
    ends = [data_end(table, zone) for table in scored.tables.loaded.values() if table.spec.clock]
    end = max((end for end in ends if end), default=None)
    for cutoff in scored.cutoffs:
        if end and cutoff > end + timedelta(days=1):
            lines.append(
                f"the cutoff lies {(cutoff - end).days:,} days after the last row; what happened since is not known"
            )
    return lines
