"""What to know of a run besides its table of models: leaks, assumptions, lists, tiers, rejected rows, a line each."""

from __future__ import annotations

import math
from typing import Any

from toolkit.report import fairness_words, review_words
from toolkit.report.list_words import typical
from toolkit.report.members import against_members, against_models
from toolkit.report.words import FEW
from toolkit.training.experiment import HEADLINE, Candidate, Outcome


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
    lines += facts.get("entities", [])
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
