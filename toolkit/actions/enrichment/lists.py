"""Which list of a run or of a scoring is enriched, and what is written beside it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.actions import enrichment
from toolkit.actions.enrichment import Enriched, Ready
from toolkit.config.enrichment import Rows
from toolkit.config.schema import Config
from toolkit.errors import ConfigError, DataError, UserError, did_you_mean
from toolkit.runfolder import read_facts

if TYPE_CHECKING:
    from toolkit.actions.listing import Written
    from toolkit.actions.ranked import Ranked
    from toolkit.workplace import Progress

log = logging.getLogger("toolkit")


def checked(config: Config) -> Ready | None:
    """What a recipe declares, checked before anything is computed; None if it enriches nothing.

    Raises ConfigError, also for a field that the list will not have.
    """
    node = config.enrichment
    if not isinstance(node, Rows):
        return None
    target = (node.target or next(iter(config.target))).upper()
    key = config.dataset.tables[config.dataset.entity].key
    known = ["rank", "snapshot", *(["tier"] if config.listing.tiers else []), "decile", "change", "previous_rank", "big_move", *([key] if isinstance(key, str) else []),
             *(f"{kind}_{target}" for kind in ("P", "VALUE", "CLASS")), *config.listing.columns,
             *(f"reason_{i + 1}" for i in range(config.listing.reasons))]  # fmt: skip
    for name, column in node.fields.items():
        if column not in known:
            raise ConfigError(
                f"the ranked list will have no column `{column}`", where=f"enrichment.fields.{name}",
                why="a prompt may show what stands in the list: declare it in listing.columns",
                fix=did_you_mean(column, known),
            )  # fmt: skip
    return enrichment.ready(node)


def of_lists(ready: Ready, lists: Sequence[Written], folder: Path, progress: Progress) -> list[str]:
    """Enrich the list of the declared target, by its chosen model, and write it beside. Returns what to say.

    What goes wrong here is said, and costs neither the run nor its lists.
    """
    wanted = ready.node.target or lists[0].ranked.target
    chosen = next(one for one in lists if one.ranked.target == wanted)  # the chosen model's comes first
    try:
        found = enrichment.enrich(ready, chosen.ranked, progress)
    except UserError as error:
        log.warning("%s.csv is not enriched: %s; `enrich` does it later", chosen.stem, error.what)
        return [f"{chosen.stem}.csv is not enriched: {error.what}"]
    return said(found, enrichment.write(found, folder, f"{chosen.stem}_{ready.node.suffix}"))


def said(found: Enriched, path: Path) -> list[str]:
    """`list_enriched.csv: 100 rows: 98 by …`, and what it took."""
    lines = [f"{path.name}: {found.words()}"]
    if spent := found.facts.get("spent_in_this_run"):
        from toolkit.actions.enrichment.budget import money

        cost = "" if spent["cost"] is None else f", cost {money(spent['cost'])}"
        lines.append(
            f"  {spent['requests']:,} requests, {spent['tokens_in'] + spent['tokens_out']:,} tokens{cost}"
        )
        lines += [f"  stopped: {found.facts['stopped']}"] if found.facts["stopped"] else []
    elif found.facts["why"] != "declared":
        lines.append(f"  {found.facts['why']}")
    return lines


def kept(folder: Path, target: str | None = None, stem: str | None = None) -> tuple[str, Ranked]:
    """A list that a run or a scoring has written: its stem, and the list. Raises ConfigError, DataError."""
    import pyarrow.parquet as pq

    from toolkit.actions.changes import KEPT
    from toolkit.actions.ranked import Ranked

    known = {}
    for path in sorted((folder / KEPT).glob("*.list.parquet")):
        name = path.name.removesuffix(".list.parquet")
        facts = read_facts(folder / KEPT / f"{name}.json")
        if {"key", "target"} <= facts.keys():
            known[name] = facts
    if not known:
        raise ConfigError(
            f"there is no ranked list in `{folder}`", where="run",
            fix="name the folder of a run whose recipe has listing=latest, or of a scoring with its bundle",
        )  # fmt: skip
    fitting = [name for name, facts in known.items() if target in (None, facts["target"])]
    if stem is None and not fitting:
        raise ConfigError(
            f"`{folder}` has no list of `{target}`", where="run", fix=f"list=<one of {', '.join(known)}>"
        )
    chosen = stem or min(fitting, key=len)  # names of further models' lists are longer
    if chosen not in known:
        raise ConfigError(f"`{folder}` has no list `{chosen}`", where="list", fix=did_you_mean(chosen, known))
    try:
        table = pq.read_table(folder / KEPT / f"{chosen}.list.parquet")
    except (OSError, ValueError) as error:
        raise DataError(f"the list `{chosen}` of `{folder}` cannot be read: {error}", where="run") from None
    return chosen, Ranked(table, known[chosen]["key"], known[chosen]["target"])
