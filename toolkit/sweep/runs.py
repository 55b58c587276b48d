"""Finished runs, read back: what they were told, what came out, and their predictions row by row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml

from toolkit.errors import ConfigError, UserError, nearest
from toolkit.runfolder import read_facts

NEEDED = ("metrics.json", "config.yaml", "predictions.parquet")


@dataclass(frozen=True)
class Run:
    """A run's folder. metrics: metrics.json; config: config.yaml, which is without secrets."""

    folder: Path
    metrics: dict[str, Any]
    config: dict[str, Any]

    @property
    def seed(self) -> int:
        return int(self.config.get("seed") or 0)

    @property
    def targets(self) -> dict[str, Any]:
        return self.metrics["targets"]

    def metric(self, target: str) -> str:
        """The validation metric that chose this run's model for a target."""
        headline = self.targets[target]["headline"]
        key = {"binary": "select_by", "multiclass": "select_classes_by"}.get(self.targets[target]["type"], "")
        return str((self.config.get("evaluation") or {}).get(key, headline))

    def value(self, target: str, metric: str, part: str = "validation") -> float:
        """A metric of the chosen model on `validation` or `test` rows; NaN if it is not defined there."""
        entry = self.targets[target]
        value = entry["models"][entry["chosen"]][part].get(metric)
        return float("nan") if value is None else float(value)

    def weight(self, target: str) -> float:
        return float((self.config["target"][target] or {}).get("weight", 1.0))

    @cached_property
    def features(self) -> tuple[str, ...] | None:
        """Names of the features, None if the run keeps no bundle."""
        names = read_facts(self.folder / "bundle" / "recipe.json").get("feature_names")
        return None if names is None else tuple(names)

    @cached_property
    def data(self) -> dict[str, str]:
        """Table → fingerprint of what was read; empty if the run does not say."""
        said = read_facts(self.folder / "data.json")
        return {name: str(table.get("fingerprint")) for name, table in said.items()}

    @cached_property
    def written(self) -> str:
        """When, in UTC; texts that sort."""
        return str(read_facts(self.folder / "environment.json").get("written") or "")

    @cached_property
    def report(self) -> Path:
        """The page to look at."""
        return next((path for name in ("report.html", "summary.md") if (path := self.folder / name).is_file()), self.folder)  # fmt: skip

    def scored(self, target: str, part: str) -> Scored:
        """The chosen model's predictions on the labelled rows of `validation` or `test`."""
        entry = self.targets[target]
        binary, several = entry["type"] == "binary", entry["type"] == "multiclass"
        label, score = f"{target}.label", f"{target}.score"
        wide = [f"{target}.probability.{name}" for name in entry["classes"]]
        columns = {label: label} | ({name: name for name in wide} if several else {score: score})
        columns |= {f"{target}.{name}": name for name in ("probability", "decision") if binary}
        by = (self.config.get("evaluation") or {}).get("draw_by")
        grouped = ["drawn_by"] if by else []
        try:
            table = pq.read_table(
                self.folder / NEEDED[2], columns=["entity", "cutoff", "part", *grouped, *columns]
            ).to_pandas()
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(
                "the run's predictions cannot be read",
                where=str(self.folder / NEEDED[2]),
                why=str(error).split("\n")[0],
            ) from None
        table = table[(table["part"] == part) & table[label].notna()]
        keys = pd.MultiIndex.from_arrays([table["entity"].astype(str), table["cutoff"]])
        return Scored(
            entry["type"], tuple(entry["classes"]), keys, table[label].to_numpy(np.float64),
            table[wide].to_numpy(np.float64) if several else table[score].to_numpy(np.float64),
            table[f"{target}.probability"].to_numpy(np.float64) if binary else None,
            table[f"{target}.decision"].to_numpy(bool) if binary else None,
            table["drawn_by"].to_numpy() if grouped else None,
        )  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """Labelled rows and what a model made of them.

    keys: (entity, cutoff) [rows]; y: labels [rows]; score [rows], or probabilities [rows, classes];
    probability and decision [rows] of a yes-or-no target; cluster: what intervals draw, where that is not the
    entity [rows].
    """

    type: str
    classes: tuple[str, ...]
    keys: pd.MultiIndex
    y: np.ndarray
    score: np.ndarray
    probability: np.ndarray | None
    decision: np.ndarray | None
    cluster: np.ndarray | None = None

    @property
    def drawn(self) -> np.ndarray:
        """What each row is drawn with in the bootstrap [rows]."""
        return self.keys.get_level_values(0).to_numpy() if self.cluster is None else self.cluster

    def take(self, rows: np.ndarray) -> Scored:
        """Some of the rows (positions), in that order."""
        probability = None if self.probability is None else self.probability[rows]
        decision = None if self.decision is None else self.decision[rows]
        cluster = None if self.cluster is None else self.cluster[rows]
        return Scored(
            self.type, self.classes, self.keys[rows], self.y[rows], self.score[rows], probability, decision, cluster
        )  # fmt: skip

    @property
    def arguments(self) -> tuple[np.ndarray | None, ...]:
        """Score, probability and decision as `evaluation.metrics` takes them."""
        if self.type == "multiclass":
            return self.score, self.score, None
        return self.score, self.probability, self.decision


def read(folder: Path) -> Run:
    """A run's folder. Raises ConfigError if it is none, or holds what cannot be read."""
    if not folder.is_dir():
        beside = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
        close = nearest(folder.name, beside)
        fix = f"did you mean `{folder.parent / close}`?" if close else "outputs/<recipe>/<time>"
        raise ConfigError(f"there is no folder `{folder}`", where="command line", fix=fix)
    lacking = [name for name in NEEDED if not (folder / name).is_file()]
    if lacking:
        inside = sorted(path.parent.name for path in folder.glob("*/metrics.json"))
        raise ConfigError(
            f"`{folder}` is not a run's folder: it has no {', '.join(lacking)}",
            where="command line",
            fix=f"the runs in it are {', '.join(inside[:12])}"
            if inside
            else "give the folder of a finished run",
        )
    try:
        metrics = json.loads((folder / NEEDED[0]).read_text(encoding="utf-8"))
        config = yaml.safe_load((folder / NEEDED[1]).read_text(encoding="utf-8"))
        run = Run(folder, metrics, config)
        for target in run.targets:
            run.value(target, run.metric(target))
            run.weight(target)
    except UserError:
        raise
    except (ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            "the run cannot be read",
            where=str(folder),
            why=f"{type(error).__name__}: {str(error).split(chr(10))[0]}",
        ) from None
    return run


def of_other_data(runs: Sequence[Run]) -> dict[Path, str]:
    """Folders of the runs whose tables are not as the newest run of the same declared source read them, and which table."""
    newest: dict[tuple[str, str], str] = {}
    found: dict[Path, str] = {}
    for run in sorted(runs, key=lambda run: (run.written, run.folder.name), reverse=True):
        declared = json.dumps([run.config.get("dataset"), run.config.get("source")], default=str)
        for table, fingerprint in run.data.items():
            if newest.setdefault((declared, table), fingerprint) != fingerprint:
                found.setdefault(run.folder, table)
    return found


def headlines(folder: Path) -> Iterator[tuple[str, str, float]]:
    """Per target the metric that chose, and the chosen model's validation value; nothing for another's folder."""
    try:
        run = read(folder)
    except ConfigError:
        return
    for target in run.targets:
        metric = run.metric(target)
        yield target, metric, run.value(target, metric)
