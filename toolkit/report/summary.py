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
from toolkit.report import fairness_words, review_words
from toolkit.report.list_words import typical
from toolkit.report.members import against_members, against_models
from toolkit.report.record import FAIRNESS
from toolkit.report.words import FEW, USELESS
from toolkit.training.experiment import HEADLINE, Candidate, Outcome

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


def known(outcome: Outcome, facts: dict[str, Any]) -> list[str]:
    """What to know besides the models: leaks, assumptions, rejected rows, older folds."""
    lines = [*outcome.remarks]
    for task in outcome.tasks:
        for one in outcome.of(task.name):
            if one.over_models:
                lines.append(f"{task.name}: {against_models(one.model, one.over_models)}")
            elif one.over_members:
                said = against_members(one.model, HEADLINE[task.type], one.over_members)
                lines.append(f"{task.name}: {said}")
    lines += [
        line for task in outcome.tasks if task.type == "binary" for line in _of_lists(outcome, task.name)
    ]
    lines += [line for target in outcome.tiers for line in _of_tiers(outcome, target)]
    lines += review_words.lines(outcome.review) if outcome.review else []
    for target, judged in outcome.fairness.items():
        lines += [*fairness_words.lines(target, judged), *fairness_words.gate_lines(judged.gates)]
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
    lines += facts.get("actions", [])
    lines += [f"assumed: {text}" for text in facts["assumptions"]]
    lines += [f"found: {text}" for text in facts.get("found", [])]
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
    for chain, found in outcome.coherence.items():
        by = f", by {100 * found.move:.2g} points on average" if found.share else ""
        lines.append(f"coherent {chain}: {found.share:.2%} of rows corrected{by}")
    return lines


def _of_lists(outcome: Outcome, target: str) -> list[str]:
    """Of a yes-or-no target: how few say yes, what past lists would have brought, and how strangers fare."""
    chosen, lines = outcome.chosen(target), []
    test = outcome.base_rates[target]["test"]
    few = test.get("positive_entities", FEW)
    if 0 < few < FEW and test["rows"]:
        known = with_interval(chosen, HEADLINE["binary"])
        rivals = [c for c in outcome.of(target) if c.behind and c.model not in ("prior", "rule")]
        alike = [c.model for c in rivals if c.behind and not c.behind[1] > 0]
        apart = f"; too few to tell {chosen.model} from {', '.join(alike)}" if alike else ""
        entities = "1 entity says" if few == 1 else f"{few:,} entities say"
        lines.append(f"few positives, {target}: {entities} yes, in {test['positives']:,} of {test['rows']:,} test rows: AUC {known}{apart}")  # fmt: skip
    facts = outcome.lists.get(target, [])
    if len(facts) > 1 and chosen.per_list:
        at = typical(chosen.per_list)
        rule = [a for c in outcome.of(target) if c.model == "rule" for a in c.per_list if a.size == at.size]
        within = "" if math.isnan(at.interval[0]) else f" [{at.interval[0]:.1%}, {at.interval[1]:.1%}]"
        said = f"past lists, {target}: of the first {at.size:,} of {len(facts):,} lists {at.precision:.1%}{within} say yes"
        said += f"; {sum(f['base_rate'] for f in facts) / len(facts):.1%} at random"
        said += f", {rule[0].precision:.1%} by the rule" if rule else ""
        if chosen.steadiness and not math.isnan(chosen.steadiness.overlap[at.size]):
            said += f"; {chosen.steadiness.overlap[at.size]:.0%} stay on the next list"
        lines.append(said)
    strangers = [g for g in chosen.groups if g["by"] == "entity"]
    for group in strangers[:1]:
        what = f"{group['rows']:,} rows of {group['entities']:,} entities, {group.get('positive_entities', 0):,} with a yes"
        if "withheld" in group:
            lines.append(f"entities {group['group']}, {target}: {what}: withheld ({group['withheld']})")
            continue
        auc, pr = (_number_and_ends(group, metric) for metric in ("roc_auc", "pr_auc"))
        lines.append(f"entities {group['group']}, {target}: AUC {auc}, PR {pr} ({what})")
    return lines


def _of_tiers(outcome: Outcome, target: str) -> list[str]:
    """One line for each tier, the highest first: what it promises, what happened, and what acting from it on costs."""

    def said(value: float, ends: tuple[float, float]) -> str:
        return "–" if math.isnan(value) else f"{value:.1%}" + ("" if math.isnan(ends[0]) else f" [{ends[0]:.1%}, {ends[1]:.1%}]")  # fmt: skip

    lines = []
    for tier in reversed(outcome.tiers[target]):
        text = f"tier {tier.name}, from {tier.least:g}, {target}: {tier.rows:,} of the test rows"
        if tier.rows:
            text += f", {said(tier.observed, tier.observed_interval)} say yes (promised {tier.mean_probability:.1%})"
        on = tier.acting
        if on.rows and tier.least:
            text += f"; acting from here on: precision {said(on.precision, on.precision_interval)}"
            text += f", false positives {said(on.false_positive_rate, on.false_positive_rate_interval)}"
        lines.append(text)
    if outcome.chosen(target).calibrator.method == "identity":
        lines.append(f"tiers of {target} stand on scores that are not calibrated (calibration: none)")
    return lines


def _number_and_ends(group: dict[str, Any], metric: str) -> str:
    low, high = group.get("interval_95", {}).get(metric, (math.nan, math.nan))
    return number(group[metric]) + ("" if math.isnan(low) else f" [{number(low)}, {number(high)}]")


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
