"""The end of a run on one screen, and the same as Markdown."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from toolkit.training.experiment import HEADLINE, Candidate, Outcome

# Test metrics after the headline one, most telling first: narrow terminals show as many as fit.
COLUMNS = {
    "binary": ("pr_auc", "f1", "precision", "recall", "brier", "ece"),
    "multiclass": ("accuracy", "macro_f1", "log_loss"),
    "regression": ("rmse", "mae", "spearman"),
}
WORDS = {"roc_auc": "AUC", "macro_auc": "AUC", "r2": "R²", "pr_auc": "PR", "f1": "F1", "precision": "prec", "recall": "rec",
         "brier": "Brier", "ece": "ECE", "accuracy": "acc", "macro_f1": "F1", "log_loss": "log loss", "rmse": "RMSE",
         "mae": "MAE", "spearman": "rho"}  # fmt: skip


def number(value: float | None, digits: int = 3) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}f}"


def with_interval(candidate: Candidate, metric: str) -> str:
    value = candidate.test.get(metric)
    low, high = candidate.intervals.get(metric, (math.nan, math.nan))
    text = number(value)
    return text if math.isnan(low) else f"{text} [{number(low)}, {number(high)}]"


def rows_of(outcome: Outcome, target: str, kind: str, metrics: Sequence[str]) -> list[list[str]]:
    """One line per model: mark, name, validation and test headline, margin over the rule, metrics, seconds."""
    headline = HEADLINE[kind]
    lines = []
    for candidate in outcome.of(target):
        margin = ""
        if candidate.margin and candidate.model != "prior":
            value, low, high = candidate.margin
            margin = f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
        lines.append([
            "●" if candidate.chosen else "", candidate.model, number(candidate.validation.get(headline)),
            with_interval(candidate, headline), margin, *(number(candidate.test.get(m)) for m in metrics),
            number(candidate.seconds, 1),
        ])  # fmt: skip
    return lines


def header_of(kind: str, metrics: Sequence[str], targets: int = 1) -> list[str]:
    first = WORDS[HEADLINE[kind]]
    return [
        "",
        "model",
        f"valid {first}",
        f"test {first} [95 %]",
        "over the rule [95 %]",
        *(WORDS[m] for m in metrics),
        "fit s" if targets == 1 else f"fit s, all {targets}",
    ]


def verdict(outcome: Outcome, target: str, kind: str) -> str:
    """One sentence: how the chosen model does against the best simple rule."""
    chosen = outcome.chosen(target)
    rule = next((candidate for candidate in outcome.of(target) if candidate.model == "rule"), None)
    metric = HEADLINE[kind]
    text = f"{chosen.model}: {metric} {with_interval(chosen, metric)}"
    if rule is None or chosen.margin is None:
        return text
    value, low, high = chosen.margin
    if low > 0:
        word = "better than"
    elif high < 0:
        word = "worse than"
    else:
        word = "not distinguishable from"
    note = rule.notes[0].split(":")[0] if rule.notes else "one column"
    return f"{text}; {word} the best single rule ({note}) by {value:+.3f} [{low:+.3f}, {high:+.3f}]"


def base_rate_line(outcome: Outcome, target: str) -> str:
    parts = []
    for name, entry in outcome.base_rates[target].items():
        if "mean" in entry:
            parts.append(f"{name} {entry['rows']:,} rows, {number(entry['mean'], 4)}")
        else:
            parts.append(f"{name} {entry['rows']:,} rows")
    return "; ".join(parts)


def screen(outcome: Outcome, facts: dict[str, Any], folder: Path, console: Console) -> None:
    """Print it: per target a table, then the leak audit and where the files are."""
    blocks: list[Any] = []
    room = console.width - 85
    for task in outcome.tasks:
        metrics = COLUMNS[task.type][: max(1, room // 8)]
        title = Text(f"{task.name}  ({base_rate_line(outcome, task.name)})")
        table = Table(title=title, title_justify="left", title_style="bold",
                      header_style="dim", pad_edge=False, box=None)  # fmt: skip
        for name in header_of(task.type, metrics, len(outcome.tasks)):
            table.add_column(Text(name), justify="left" if name in ("", "model") else "right", no_wrap=True)
        for line in rows_of(outcome, task.name, task.type, metrics):
            table.add_row(*(Text(cell) for cell in line), style="bold" if line[0] else "")
        blocks += [table, Text(verdict(outcome, task.name, task.type)), Text("")]
    console.print(
        Group(*blocks, *(Text(line) for line in [*closing(outcome, facts), f"files: {folder}"])),
        soft_wrap=not console.is_terminal,
    )


def closing(outcome: Outcome, facts: dict[str, Any]) -> list[str]:
    """What to know besides the models: leaks, assumptions, rejected rows, older folds, time."""
    lines = []
    asked = [finding for finding in outcome.findings if finding.answer is None]
    if asked:
        lines.append(f"leak audit: {len(asked)} to look at")
        lines += [f"  ! {finding.text}" for finding in asked[:8]]
        if len(asked) > 8:
            lines.append(f"  … and {len(asked) - 8} more in audit.json")
    else:
        lines.append(f"leak audit: nothing unanswered ({len(outcome.findings)} answered or expected)")
    if outcome.idle:
        named = [f"{name} ({why})" for name, why in outcome.idle.items()]
        lines.append(f"of no use in training rows: {', '.join(named[:8])}" + (" …" if len(named) > 8 else ""))
    lines += [f"assumed: {text}" for text in facts["assumptions"]]
    lines += [f"rejected: {name}: {count:,} rows ({why})" for name, count, why in facts["rejected"]]
    folds: dict[tuple[str, str, str], list[str]] = {}
    for r in facts["backtest"]:
        if r["model"] != "prior":
            low, high = r["interval_95"].get(r["metric"], (math.nan, math.nan))
            text = number(r["value"]) + ("" if math.isnan(low) else f" [{number(low)}, {number(high)}]")
            mark = "● " if r["chosen"] else ""
            folds.setdefault((r["target"], r["model"], r["metric"]), []).append(f"{mark}{text}")
    lines += [
        f"backtest {target}, {model}: {metric} {', '.join(values)}"
        for (target, model, metric), values in folds.items()
    ]
    for chain, share in outcome.coherence.items():
        lines.append(f"coherent {chain}: {share:.2%} of rows corrected")
    lines.append(f"{facts['seconds']:.1f} s in all ({facts['stages']})")
    return lines


def markdown(outcome: Outcome, facts: dict[str, Any]) -> str:
    """The same summary as Markdown."""
    lines = [f"# {_cell(facts['name'])}", ""]
    if facts["description"]:
        lines += [_cell(facts["description"]), ""]
    for task in outcome.tasks:
        metrics = COLUMNS[task.type]
        header = header_of(task.type, metrics, len(outcome.tasks))
        lines += [f"## {_cell(task.name)}", "", f"{_cell(base_rate_line(outcome, task.name))}.", "",
                  "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]  # fmt: skip
        lines += [
            "| " + " | ".join(_cell(cell) for cell in line) + " |"
            for line in rows_of(outcome, task.name, task.type, metrics)
        ]
        lines += ["", _cell(verdict(outcome, task.name, task.type)) + ".", ""]
        threshold = outcome.chosen(task.name).threshold
        if threshold is not None:
            lines += [_cell(f"Threshold {threshold.value:.6g}: {threshold.reason}."), ""]
    lines += ["## Run", "", *(f"- {_cell(line.strip())}" for line in closing(outcome, facts)), ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text of ours or of the data's as Markdown shows it, on one line: no HTML, no cell's end, no link."""
    return html.escape(text, quote=False).replace("|", "\\|").replace("](", "]\\(").replace("\n", " ")
