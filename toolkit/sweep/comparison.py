"""Any runs side by side: metrics on the rows that they share, what was declared differently, which features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from toolkit.errors import ConfigError, DataError
from toolkit.evaluation.metrics import LOWER_IS_BETTER
from toolkit.report.lists import write_csv
from toolkit.sweep.document import Document, Link, Section, markdown, number, page, signed
from toolkit.sweep.leaderboard import LOOKING
from toolkit.sweep.paired import Difference, NotComparableError, Pair, pair
from toolkit.sweep.runs import Run

SHOWN = {
    "binary": ("roc_auc", "pr_auc", "log_loss", "brier", "f1", "precision", "recall"),
    "multiclass": ("macro_auc", "accuracy", "macro_f1", "log_loss"),
    "regression": ("r2", "rmse", "mae", "spearman"),
}
ABSENT = "–"
CUT_HERE = (
    "The intervals of f1, precision and recall take the decisions as given: they leave out that the thresholds "
    "were fitted on the same validation rows"
)


@dataclass(frozen=True)
class Versus:
    """A run beside the first one, on one target's shared rows of one part: metric → value and difference."""

    target: str
    part: str
    run: int
    both: Pair
    first: dict[str, float]
    other: dict[str, float]
    differences: dict[str, Difference]


@dataclass(frozen=True)
class Comparison:
    """runs: named; the first one is what the others are compared with."""

    runs: Sequence[Run]
    names: Sequence[str]
    found: Sequence[Versus]
    skipped: Sequence[str]
    test: bool


def compare(runs: Sequence[Run], test: bool) -> Comparison:
    """Raises DataError if a run shares no target, or no comparable rows, with the first one."""
    first, found, skipped = runs[0], [], []
    names = names_of(runs)
    for number_, run in enumerate(runs[1:], 1):
        reasons = []
        shared = [target for target in first.targets if target in run.targets]
        for target in shared:
            for part in ("validation", "test") if test else ("validation",):
                try:
                    found.append(_versus(target, part, number_, first, run))
                except NotComparableError as why:
                    reasons.append(f"{target}, {part}: {why}")
        if not any(versus.run == number_ for versus in found):
            raise DataError(
                f"`{names[number_]}` cannot be compared with `{names[0]}`",
                where=str(run.folder),
                why="; ".join(reasons)
                or f"they share no target: {', '.join(first.targets)} there, {', '.join(run.targets)} here",
                fix="compare runs of one target whose rows (entity and cutoff) and labels are the same",
            )
        skipped += [f"{names[number_]}: {reason}" for reason in reasons]
    return Comparison(runs, names, found, skipped, test)


def names_of(runs: Sequence[Run]) -> list[str]:
    """The shortest ends of the folders' paths that tell the runs apart."""
    paths = [run.folder.resolve().parts for run in runs]
    if len(set(paths)) < len(paths):
        raise ConfigError(
            "a run is given twice", where="command line", fix="give the folders of different runs"
        )
    for length in range(1, max(map(len, paths)) + 1):
        ends = ["/".join(path[-length:]) for path in paths]
        if len(set(ends)) == len(ends):
            return ends
    raise AssertionError


def _versus(target: str, part: str, position: int, first: Run, run: Run) -> Versus:
    both = pair([run.scored(target, part)], [first.scored(target, part)])
    shown = SHOWN[first.targets[target]["type"]]
    return Versus(target, part, position, both, both.values(1), both.values(0), both.differences(shown))


def document(found: Comparison) -> Document:
    runs = Section(
        "Runs",
        ["", "run", "recipe", "seed", "written as"],
        [[_letter(i), name, str(run.metrics.get("recipe") or ""), str(run.seed), Link("report", run.report)]
         for i, (name, run) in enumerate(zip(found.names, found.runs, strict=True))],
        "", 3,
    )  # fmt: skip
    lead = [f"{_letter(0)} is what the others are compared with: a difference above zero means that the other run's value is higher",
            f"lower is better for {', '.join(sorted(LOWER_IS_BETTER & {m for v in found.found for m in v.differences}))}"]  # fmt: skip
    sections = [runs, *_metrics(found), _configuration(found), *_features(found)]
    warnings = [LOOKING] if found.test else []
    return Document("Comparison of runs", lead, sections, [*warnings, *found.skipped])


def _letter(position: int) -> str:
    return chr(ord("A") + position) if position < 26 else str(position + 1)


def _metrics(found: Comparison) -> Iterator[Section]:
    groups: dict[tuple[str, str], list[Versus]] = {}
    for versus in found.found:
        groups.setdefault((versus.target, versus.part), []).append(versus)
    for (target, part), several in groups.items():
        header, rows = ["metric"], []
        for versus in several:
            other = _letter(versus.run)
            header += [_letter(0), other, f"{other} − {_letter(0)} [95 %]"]
        for name in several[0].differences:
            row: list[Any] = [name]
            for versus in several:
                d = versus.differences[name]
                row += [
                    number(versus.first[name]),
                    number(versus.other[name]),
                    signed(d.value, d.low, d.high),
                ]
            rows.append(row)
        said = "; ".join(
            f"{_letter(v.run)}: {found.runs[v.run].targets[target]['chosen']} against {found.runs[0].targets[target]['chosen']} "
            f"on {v.both.rows:,} shared labelled rows of {len(v.both.entities):,} entities"
            + (f" ({v.both.unshared:,} rows are in one of the two only)" if v.both.unshared else "")
            for v in several
        )
        if found.runs[0].targets[target]["type"] == "binary" and part == "validation":
            said += f". {CUT_HERE}"
        yield Section(f"{target}, {part} rows", header, rows, said)


def configuration_differences(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Keys whose value is not the same in all runs, with each run's value as YAML; absent as `–`.

    What some of them do not have at all is one line, not one for each key inside.
    """
    return list(_differences([run.config for run in runs], ""))


def _differences(values: Sequence[Any], path: str) -> Iterator[tuple[str, list[str]]]:
    if all(isinstance(value, dict) for value in values):
        for key in dict.fromkeys(key for value in values for key in value):
            yield from _differences(
                [v.get(key, ABSENT) for v in values], f"{path}.{key}" if path else str(key)
            )
    elif (
        len(texts := [value if value is ABSENT else _text(value) for value in values]) and len(set(texts)) > 1
    ):
        yield path, texts


def _text(value: Any) -> str:
    said = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return said.strip().removesuffix("\n...").strip()


def _configuration(found: Comparison) -> Section:
    rows = [[key, *values] for key, values in configuration_differences(found.runs)]
    header = ["key", *map(_letter, range(len(found.runs)))]
    said = "" if rows else "the configurations are the same"
    return Section("Configuration: what differs", header, rows, said, len(header))


def feature_differences(runs: Sequence[Run]) -> list[tuple[list[str], list[str]] | None]:
    """Per run after the first: features added, and removed; None where a run keeps no list of them."""
    first = runs[0].features
    found: list[tuple[list[str], list[str]] | None] = []
    for run in runs[1:]:
        if first is None or run.features is None:
            found.append(None)
            continue
        found.append(
            ([f for f in run.features if f not in first], [f for f in first if f not in run.features])
        )
    return found


def _features(found: Comparison) -> Iterator[Section]:
    rows: list[list[str]] = []
    said = []
    for position, change in enumerate(feature_differences(found.runs), 1):
        name = _letter(position)
        if change is None:
            said.append(f"{name}: a run without a bundle does not say which features it has")
            continue
        rows += [
            [name, sign, feature]
            for sign, features in zip(("added", "removed"), change, strict=True)
            for feature in features
        ]
        said.append(f"{name}: {len(change[0])} added, {len(change[1])} removed")
    yield Section(
        f"Features against {_letter(0)}", ["run", "", "feature"] if rows else (), rows, "; ".join(said), 3
    )


def write(found: Comparison, folder: Path) -> None:
    """`comparison.csv` (metrics), `configuration.csv`, `features.csv`, `comparison.md`, `comparison.html`."""
    names = found.names
    header = [
        "target",
        "part",
        "metric",
        "first",
        "other",
        "first_value",
        "other_value",
        "difference",
        "low",
        "high",
        "rows",
        "entities",
    ]
    write_csv(folder / "comparison.csv", header, (
        [v.target, v.part, name, names[0], names[v.run], *(_plain(x) for x in (v.first[name], v.other[name], d.value, d.low, d.high)),
         v.both.rows, len(v.both.entities)]
        for v in found.found for name, d in v.differences.items()
    ))  # fmt: skip
    write_csv(
        folder / "configuration.csv",
        ["key", *names],
        ([key, *v] for key, v in configuration_differences(found.runs)),
    )
    write_csv(folder / "features.csv", ["run", "change", "feature"], (
        [names[position], sign, feature]
        for position, change in enumerate(feature_differences(found.runs), 1) if change
        for sign, features in zip(("added", "removed"), change, strict=True) for feature in features
    ))  # fmt: skip
    shown = document(found)
    (folder / "comparison.md").write_text(markdown(shown, folder), encoding="utf-8")
    (folder / "comparison.html").write_text(page(shown, folder), encoding="utf-8")


def _plain(value: float) -> float | None:
    return None if value != value else round(value, 6)
