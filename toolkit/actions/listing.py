"""Ranked lists as files: `<file>.csv` for people, everybody's place for next time, and who has left since the last."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from toolkit import bundling
from toolkit.actions import changes, counterfactuals, playbook, what_if
from toolkit.actions import played as actions
from toolkit.actions.changes import Dropped, Last, Moved
from toolkit.actions.played import Played
from toolkit.actions.ranked import (
    Ranked,
    Standing,
    list_of,
    score_column,
    stand,
    stem_of,
    telling,
    tiers_of,
)
from toolkit.actions.reasons import Once
from toolkit.bundling import Head, Scorer
from toolkit.data.tables import Tables
from toolkit.errors import ConfigError
from toolkit.prepared import Prepared
from toolkit.report.evidence import NextList, Todo
from toolkit.report.lists import write_csv
from toolkit.runfolder import write_json
from toolkit.scoring import batch
from toolkit.scoring.batch import Scored
from toolkit.workplace import Workplace

Previous = Callable[[str], Path | None]  # the list's stem → the folder or file of the last such list


FIRST = 20  # rows that the report shows
LINES = 40  # actions, and owners, that it counts


@dataclass(frozen=True)
class Written:
    """A list as written.

    stem: its file's name without `.csv`; chosen: whether by the chosen model; of: how many are ranked;
    lines: what to say about it; tiers: tier → how many of all that are ranked; played: what to do about its rows.
    """

    ranked: Ranked
    stem: str
    model: str
    chosen: bool
    of: int
    lines: list[str]
    tiers: dict[str, int]
    played: Played | None = None

    def beginning(self) -> NextList:
        """What the report shows of it."""
        table = self.ranked.table
        score = next(name for name in table.column_names if name.startswith(("P_", "VALUE_")))
        given = [name for name in table.column_names if name.startswith("reason_")]
        rows = [
            (row["rank"], row[self.ranked.key], row[score], [row[name] for name in given if row[name]])
            for row in table.slice(0, FIRST).to_pylist()
        ]
        day = str(table["snapshot"][0]) if rows else ""
        tier = table["tier"].to_pylist()[: len(rows)] if "tier" in table.column_names else []
        found = NextList(
            f"{self.stem}.csv", day, self.ranked.key, table.num_rows, self.of, rows, self.tiers,
            [name or "" for name in tier],
        )  # fmt: skip
        if self.played is None:
            return found
        todo: list[list[Todo]] = [[] for _ in rows]
        for one in self.played.actions:
            if one.rank <= len(rows):
                todo[one.rank - 1].append(Todo(one.action, one.owner, one.deadline, one.not_assigned))
        return replace(
            found, todo=todo, by_action=dict(self.played.by_action().most_common(LINES)),
            by_owner=dict(self.played.by_owner().most_common(LINES)), remarks=self.played.remarks(),
        )  # fmt: skip


def digest_of(bundle: Path) -> str:
    """What tells a bundle from others: the digest of its manifest."""
    return hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()


def cutoff_of(scored: Scored) -> str:
    """The moment of a scoring, ISO; "" without a clock."""
    return scored.cutoffs[0].isoformat() if scored.cutoffs else ""


def compared_with(scorer: Scorer, place: Path) -> Previous:
    """The lists of a folder; a file is one list: that of its name, otherwise the first."""
    if not place.exists():
        raise ConfigError(
            f"there is no `{place}`",
            where="previous",
            fix="name the folder of a run or of a scoring, or a list's CSV file",
        )
    if place.is_dir():
        return lambda stem: place
    stems = [stem_of(scorer, head) for head in scorer.heads + scorer.others]
    wanted = place.stem if place.stem in stems else stems[0]
    return lambda stem: place if stem == wanted else None


def newest_before(folders: Sequence[Path], bundle: str, cutoff: str) -> Previous:
    """The newest lists of the same bundle before a moment, among those of some folders."""
    return lambda stem: changes.newest_before(folders, stem, bundle, cutoff)


def of_run(prepared: Prepared, work: Workplace, folder: Path) -> list[Written]:
    """The lists of a run whose bundle lies in `folder`, for the newest moment that its tables reach."""
    scorer = bundling.read(folder / "bundle", accept_gate=True)  # the run says so itself
    names = batch.tables_of(scorer)
    tables = Tables(prepared.tables.dataset, {name: prepared.tables[name] for name in names})
    cutoffs = batch.newest(tables, scorer.declaration)
    scored = batch.score_at(scorer, tables, cutoffs, work.engine, work.cache, work.progress)
    return write(scorer, scored, folder, digest_of(folder / "bundle"))


def write(
    scorer: Scorer, scored: Scored, folder: Path, bundle: str, previous: Previous = lambda stem: None
) -> list[Written]:
    """Write the lists of every target, those of the chosen models first. bundle: of `digest_of`."""
    once = telling(scorer, scored)
    return [
        _write(scorer, scored, head, folder, bundle, previous, once) for head in scorer.heads + scorer.others
    ]


def _write(
    scorer: Scorer,
    scored: Scored,
    head: Head,
    folder: Path,
    bundle: str,
    previous: Previous,
    once: Once | None,
) -> Written:
    standing, stem = stand(scorer, scored, head), stem_of(scorer, head)
    ranked = list_of(scorer, scored, standing, once)
    ranked, helped = _helped(scorer, scored, standing, ranked, folder, stem)
    column, place = score_column(head), previous(stem)
    last = changes.read(place, stem, ranked.key, column) if place else None
    size = ranked.table.num_rows
    moved: Sequence[Moved] = []
    gone: list[Dropped] = []
    if last:
        keys = standing.entity.tolist()
        moved = changes.moves(
            keys[:size], standing.value[:size].tolist(), len(standing), last, scorer.listing.big_move,
            head.type != "regression",
        )  # fmt: skip
        gone = changes.dropped(
            keys[:size], standing.entity, scored.matrix.entity, _known(scorer, scored), last,
            scorer.declaration.dataset.entity,
        )  # fmt: skip
    ranked = Ranked(_compared(ranked.table, moved), ranked.key, ranked.target)
    table = ranked.table
    write_csv(
        folder / f"{stem}.csv", table.column_names,
        zip(*(table[name].to_pylist() for name in table.column_names), strict=True),
    )  # fmt: skip
    everybody = {
        "key": pa.array(standing.entity.tolist(), pa.string()),
        "rank": np.arange(1, len(standing) + 1),
        "value": standing.value,
    }
    kept = folder / changes.KEPT
    kept.mkdir(exist_ok=True)
    pq.write_table(pa.table(everybody), kept / f"{stem}.parquet")
    pq.write_table(table, kept / f"{stem}.list.parquet")  # with types, for `enrich`
    if last:
        rows = ((one.key, one.place.rank, one.place.value, one.why) for one in gone)
        write_csv(folder / f"{stem}.dropped.csv", [ranked.key, "previous_rank", column, "why"], rows)
    snapshot = str(table["snapshot"][0]) if size else ""
    counts = _counts(moved, gone) if last else {}
    write_json(kept / f"{stem}.json", {
        "target": head.name, "model": head.model, "key": ranked.key, "score_column": column, "snapshot": snapshot,
        "cutoff": cutoff_of(scored), "listed": size, "ranked": len(standing), "bundle": bundle,
        "previous": {"snapshot": last.snapshot} | counts if last else None,
    })  # fmt: skip
    lines = _lines(stem, snapshot, size, standing, last, counts) + helped
    chosen, played = head in scorer.heads, None
    tiers = Counter(tiers_of(scorer, scored, standing) or [])
    found = {name: tiers[name] for name in reversed(scorer.listing.tiers) if tiers}
    if found:
        lines.append("  " + ", ".join(f"{name} {many:,}" for name, many in found.items()))
    if playbook.is_for(scorer, head.name, chosen):
        played = playbook.play(scorer, scored, standing, ranked, once)
        actions.write(played, folder, stem)
        lines += played.lines(stem)
    if node := scorer.listing.what_if:
        choices = what_if.best(scorer, scored, standing)
        cells = zip(*(choices[name].to_pylist() for name in choices.column_names), strict=True)
        write_csv(folder / f"{stem}.best.csv", choices.column_names, cells)
        lines.append(
            f"  {stem}.best.csv: the best {node.best} of {node.combinations:,} choices for each of them"
        )
    return Written(ranked, stem, head.model, chosen, len(standing), lines, found, played)


def _helped(
    scorer: Scorer, scored: Scored, standing: Standing, ranked: Ranked, folder: Path, stem: str
) -> tuple[Ranked, list[str]]:
    """The list with what would help its first rows, where that is declared of it, and what to say."""
    asked = counterfactuals.Help.of(scorer, scored.matrix.features)
    if not asked or standing.head not in scorer.heads or standing.head.name != asked.target:
        return ranked, []
    table = ranked.table
    rows = standing.rows[: table.num_rows]
    there = asked.judge(scored.X[rows], scored.besides.some(rows)).reached
    places = np.flatnonzero(~there)[: asked.node.top]
    rows = rows[places]
    helped = asked.rows(scored.X[rows], scored.besides.some(rows))
    counterfactuals.write(
        folder / f"{stem}.counterfactuals.csv", helped, ranked.key, places.tolist(),
        standing.entity[places].tolist(), scorer.encoder.columns,
    )  # fmt: skip
    said: list[str | None] = [None] * table.num_rows
    for place, sentence in zip(places, helped.said, strict=True):
        said[place] = sentence
    table = table.append_column(counterfactuals.COLUMN, pa.array(said, pa.string()))
    return Ranked(table, ranked.key, ranked.target), helped.lines(stem)


def _compared(table: pa.Table, moved: Sequence[Moved]) -> pa.Table:
    """The list with what has changed; the columns are there, empty, where there is no list before it."""
    rows = moved or [Moved("", None, False)] * table.num_rows
    table = table.append_column("change", pa.array([one.change or None for one in rows], pa.string()))
    table = table.append_column("previous_rank", pa.array([one.previous_rank for one in rows], pa.int64()))
    return table.append_column(
        "big_move", pa.array(["yes" if one.big else None for one in rows], pa.string())
    )


def _known(scorer: Scorer, scored: Scored) -> list[str]:
    """All keys of the entity table."""
    entity = scored.tables[scorer.declaration.dataset.entity]
    return pq.read_table(entity.path, columns=[entity.spec.keys[0]]).column(0).to_pylist()


def _counts(moved: Sequence[Moved], gone: Sequence[Dropped]) -> dict[str, int]:
    found = {name: sum(one.change == name for one in moved) for name in ("new", "up", "down", "same")}
    return found | {"big_move": sum(one.big for one in moved), "dropped": len(gone)}


def _lines(
    stem: str, snapshot: str, size: int, standing: Standing, last: Last | None, counts: dict[str, int]
) -> list[str]:
    at = f", {snapshot}" if snapshot else ""
    lines = [f"{stem}.csv: the first {size:,} of {len(standing):,} by {standing.head.model}{at}"]
    if last:
        since = f" {last.snapshot}" if last.snapshot else " the last list"
        lines.append(
            f"  since{since}: {counts['new']:,} new, {counts['up']:,} up, {counts['down']:,} down, "
            f"{counts['same']:,} in their place, {counts['big_move']:,} big movers; "
            f"{counts['dropped']:,} dropped ({stem}.dropped.csv)"
        )
    return lines
