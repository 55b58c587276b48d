"""The end of a run on one screen, and the same as Markdown."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from toolkit.config.paths import readable
from toolkit.report.record import FAIRNESS
from toolkit.report.remarks import known, number, with_interval
from toolkit.report.words import USELESS
from toolkit.training.experiment import HEADLINE, Outcome

# Test metrics after the headline one, most telling first: narrow terminals show as many as fit.
COLUMNS = {
    "binary": ("pr_auc", "f1", "precision", "recall", "brier", "ece"),
    "multiclass": ("accuracy", "macro_f1", "log_loss", "ece"),
    "regression": ("rmse", "mae", "spearman"),
}
WORDS = {"roc_auc": "AUC", "macro_auc": "AUC", "r2": "R²", "pr_auc": "PR", "f1": "F1", "precision": "prec", "recall": "rec",
         "brier": "Brier", "ece": "ECE", "accuracy": "acc", "macro_f1": "F1", "log_loss": "log loss", "rmse": "RMSE",
         "mae": "MAE", "spearman": "rho"}  # fmt: skip


TOO_FEW = "too few to compare"


def over_rule(margin: tuple[float, float, float] | None, none: str = "") -> str:
    """`+0.012 [-0.001, +0.025]`; in words where too few replicates could answer; `none` without a margin."""
    if margin is None:
        return none
    value, low, high = margin
    return TOO_FEW if math.isnan(low) or math.isnan(value) else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def rows_of(outcome: Outcome, target: str, kind: str, metrics: Sequence[str]) -> list[list[str]]:
    """One line per model: mark, name, validation and test headline, margin over the rule, metrics, seconds."""
    headline = HEADLINE[kind]
    lines = []
    for candidate in outcome.of(target):
        margin = over_rule(candidate.margin) if candidate.model != "prior" else ""
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
    """One sentence: how the chosen model does against chance and the best simple rule, as the report says it."""
    chosen = outcome.chosen(target)
    rule = next((candidate for candidate in outcome.of(target) if candidate.model == "rule"), None)
    metric = HEADLINE[kind]
    text = f"{chosen.model}: {WORDS[metric]} {with_interval(chosen, metric)}"
    if chosen.beats_chance is False:
        text += f"; {USELESS[0].lower()}{USELESS[1:]}"
    if rule is None or chosen.margin is None:
        return text
    note = rule.notes[0].split(":")[0] if rule.notes else "one column"
    margin = over_rule(chosen.margin)
    if margin == TOO_FEW:
        return f"{text}; {TOO_FEW} with the best single rule ({note})"
    if chosen.margin[1] > 0:
        word = "better than"
    elif chosen.margin[2] < 0:
        word = "worse than"
    else:
        word = "not distinguishable from"
    return f"{text}; {word} the best single rule ({note}) by {margin}"


def base_rate_line(outcome: Outcome, target: str, digits: int = 4) -> str:
    parts = []
    for name, entry in outcome.base_rates[target].items():
        if "mean" in entry:
            parts.append(f"{name} {entry['rows']:,} rows, {number(entry['mean'], digits)}")
        else:
            parts.append(f"{name} {entry['rows']:,} rows")
    return "; ".join(parts)


def screen(
    outcome: Outcome, facts: dict[str, Any], folder: Path, console: Console, verbose: bool = False
) -> None:
    """Print the end of a run: models per target, what to know besides, and where the files are.

    On a terminal it fits the screen: where tables of all targets do not, each target gets a line or two,
    and notes are cut (`summary.md` has all of them). verbose: everything, however long.
    """
    one_screen = console.is_terminal and not verbose
    foot = [Text(line) for line in [*told(facts), *where(folder)]]
    head: list[Any] = []
    for task in outcome.tasks:
        head += [*target_block(outcome, task.name, task.type, console), Text("")]
    room = console.height - 2 - _height(foot, console)  # a line for the audit, one for the prompt
    if one_screen and len(outcome.tasks) > 1 and _height(head, console) > room:
        head = [targets_table(outcome, console), Text("")]
    notes = [Text(line) for line in known(outcome, facts)]
    if one_screen and _height([*head, *notes], console) > room + 1:
        kept = max(room + 1 - _height(head, console), 1)
        notes = [Text(line.plain, no_wrap=True, overflow="ellipsis") for line in notes]
        if len(notes) > kept:
            more = len(notes) - kept + 1
            notes = notes[: kept - 1] or notes[:1]
            notes[-1] = Text(f"{notes[-1].plain}  (+{more} in summary.md)") if kept == 1 else notes[-1]
            notes += [Text(f"… {more} more lines in summary.md", style="dim")] if kept > 1 else []
    console.print(Group(*head, *notes, *foot), soft_wrap=not console.is_terminal)


def _height(parts: Sequence[Any], console: Console) -> int:
    return len(console.render_lines(Group(*parts), pad=False)) if parts else 0


def target_block(outcome: Outcome, target: str, kind: str, console: Console) -> list[Any]:
    """Name and base rates, the table of models with as many columns as fit, the verdict."""
    metrics = COLUMNS[kind]
    lines = rows_of(outcome, target, kind, metrics)
    header = header_of(kind, metrics, len(outcome.tasks))
    widths = _widths(header, lines)
    shown = [0, 1, 3, 4]  # mark, model, test and margin; then what fits: validation, seconds, further metrics
    for column in (2, len(header) - 1, *range(5, len(header) - 1)):
        if sum(widths[c] + 2 for c in [*shown, column]) - 2 <= console.width:
            shown.append(column)
    shown.sort()
    table = Table(header_style="dim", pad_edge=False, box=None)
    spare = console.width - sum(widths[c] + 2 for c in shown if c != 1)
    for column in shown:
        most = max(spare, 8) if column == 1 and console.is_terminal else None
        table.add_column(
            Text(header[column]), justify="left" if column < 2 else "right", no_wrap=True, max_width=most
        )
    for line in lines:
        table.add_row(*(Text(line[column]) for column in shown), style="bold" if line[0] else "")
    name, rates = Text(target, "bold"), Text(base_rate_line(outcome, target, 3), "dim")
    title = Text("  ").join([name, rates])
    if title.cell_len > console.width:
        title = Text("\n").join([name, rates])
    return [title, table, Text(verdict(outcome, target, kind))]


def targets_table(outcome: Outcome, console: Console) -> Table:
    """Several targets in one table: baseline, best rule, and the chosen model with interval and margin."""
    kinds = {task.type for task in outcome.tasks}
    metric = f" {WORDS[HEADLINE[kinds.pop()]]}" if len(kinds) == 1 else ""
    rows = []
    for task in outcome.tasks:
        chosen, headline = outcome.chosen(task.name), HEADLINE[task.type]
        by_model = {candidate.model: candidate for candidate in outcome.of(task.name)}
        plain = [
            number(by_model[name].test.get(headline)) if name in by_model else "–"
            for name in ("prior", "rule")
        ]
        unit = "" if metric else f"{WORDS[headline]} "
        margin = over_rule(chosen.margin, "–")
        rows.append([task.name, *plain, f"● {chosen.model}", unit + with_interval(chosen, headline), margin])
    header = ["target", "baseline", "best rule", "chosen", f"test{metric} [95 %]", "over the rule [95 %]"]
    if sum(_widths(header, rows)) + 2 * (len(header) - 1) > console.width:  # two lines for each target
        header = [header[0], header[4], header[5]]
        rows = [
            [f"{name}\n  {model}", f"{test}\n{prior} baseline, {rule} rule", margin]
            for name, prior, rule, model, test, margin in rows
        ]
    most = console.width - sum(width + 2 for width in _widths(header, rows)[1:])  # names give way to numbers
    table = Table(header_style="dim", pad_edge=False, box=None)
    for column, name in enumerate(header):
        table.add_column(
            Text(name),
            justify="left" if name in ("target", "chosen") else "right",
            no_wrap=True,
            overflow="ellipsis",
            max_width=max(most, 8) if column == 0 else None,
        )
    for row in rows:
        table.add_row(*(_dim_below(cell) for cell in row))
    return table


def _widths(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """What each column needs; a cell may have several lines."""
    return [
        max(cell_len(line) for cell in column for line in cell.split("\n"))
        for column in zip(header, *rows, strict=True)
    ]


def _dim_below(cell: str) -> Text:
    """The first line as it is, the second one dim."""
    first, line, second = cell.partition("\n")
    return Text.assemble(first, line, (second, "dim"))


def where(folder: Path) -> list[str]:
    """Where the files are, as one would type it."""
    here = readable(folder)
    lines = [f"report: {here}/report.html"] if (folder / "report.html").exists() else []
    lists = sorted((folder / "lists").glob("*.csv"))
    if lists:
        lines.append(
            f"lists: {here}/lists/" + (lists[0].name if len(lists) == 1 else f" ({len(lists)} files)")
        )
    ranked = sorted(path.stem for path in (folder / "ranking").glob("*.json"))  # one for each ranked list
    lines += [f"list: {here}/{stem}.csv" for stem in [one for one in ranked if "." not in one] or ranked]
    lines += [f"actions: {here}/{path.name}" for path in sorted(folder.glob("*.actions.csv"))]
    lines += [f"fairness: {here}/{FAIRNESS}"] if (folder / FAIRNESS).exists() else []
    if (folder / "bundle").exists():
        lines.append(f"bundle: {here}/bundle")
    return [*lines, f"files: {here}"]


def told(facts: dict[str, Any]) -> list[str]:
    """How long it took, and what libraries warned of."""
    return [*warnings_line(facts.get("warnings", [])), f"{facts['seconds']:.1f} s in all ({facts['stages']})"]


def warnings_line(warned: Sequence[str]) -> list[str]:
    """`3 warnings, see run.log: the most frequent one`; no line if there are none."""
    if not warned:
        return []
    many = f"{len(warned):,} warnings" if len(warned) > 1 else "1 warning"
    return [f"{many}, see run.log: {warned[0] if len(warned[0]) <= 160 else warned[0][:160] + ' …'}"]


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
        chosen = outcome.chosen(task.name)
        if (threshold := chosen.threshold) is not None:
            lines += [_cell(f"Threshold {threshold.value:.6g}: {threshold.reason}."), ""]
        if (by_group := chosen.by_group) is not None:
            each = ", ".join(f"{name} {value:.6g}" for name, value in by_group.values.items())
            lines += [
                _cell(f"Instead of it, by group of {by_group.attribute}: {each} ({by_group.reason})."),
                "",
            ]
    lines += [
        "## Run",
        "",
        *(f"- {_cell(line.strip())}" for line in [*known(outcome, facts), *told(facts)]),
        "",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text of ours or of the data's as Markdown shows it, on one line: no HTML, no cell's end, no link."""
    return html.escape(text, quote=False).replace("|", "\\|").replace("](", "]\\(").replace("\n", " ")
