"""The report as one self-contained HTML page: `write(evidence, path)`.

Nothing is fetched: style, script, charts and downloads are within the file, and a content security
policy lets nothing else run. Every name and value is escaped, by Jinja's autoescape or by `Markup`.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from toolkit.report import (
    charts,
    fairness_words,
    figures,
    inline,
    list_words,
    members,
    phrases,
    review_words,
    words,
)
from toolkit.report.embed import downloads, embedded
from toolkit.report.evidence import Evidence, Gains, Target, Tuned

if TYPE_CHECKING:
    from jinja2 import Environment

LARGEST = 1_900_000  # bytes of the page; under 2 MB with room to spare
MOST_GROUPS = 60  # lines of a segment's table
MOST_DRIFT = 30
MOST_IDLE = 50
MOST_TRIALS = 100


def write(evidence: Evidence, path: Path) -> None:
    """Draw the evidence as one HTML file at `path`."""
    path.write_text(render(evidence), encoding="utf-8")


def render(evidence: Evidence) -> str:
    """The page. Downloads come last: they get the bytes that the rest has left."""
    env = environment(evidence)
    parts = [env.get_template("overview.html").render()]
    parts += [_target(env, evidence, target, index) for index, target in enumerate(evidence.targets, 1)]
    parts += [env.get_template("entities.html").render()] if evidence.extracted else []
    parts += [_data(env, evidence), env.get_template("card.html").render()]
    style = env.get_template("style.css").render()
    script = env.get_template("gains.js").render(leans=figures.LEANS)
    capacities = _capacities(evidence)
    used = sum(len(part.encode()) for part in (*parts, style, script, capacities))
    files = downloads(evidence, LARGEST - used)
    warned = {t.list_file: said for t in evidence.targets if t.list_file and (said := words.warning(t))}
    parts.append(
        env.get_template("downloads.html").render(files=files, warned=warned, today=_scoring(evidence))
    )
    return env.get_template("page.html").render(
        style=Markup(style), script=Markup(script), style_hash=_hash(style), script_hash=_hash(script),
        capacities=Markup(capacities), body=Markup("\n").join(Markup(part) for part in parts),
        navigation=Markup(env.get_template("navigation.html").render(sections=sections)),
    )  # fmt: skip


def environment(evidence: Evidence) -> Environment:
    """Jinja with autoescape and what the templates call; one per page, because it remembers explained terms."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    env = Environment(
        loader=PackageLoader("toolkit.report", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    explained: set[str] = set()
    declared = _declared(evidence)

    def first_time(term: str) -> bool:
        new = term not in explained
        explained.add(term)
        return new

    env.filters |= {
        "count": figures.count, "figure": figures.figure, "fixed": figures.fixed, "signed": figures.signed, "share": figures.share,
        "quantity": figures.quantity, "seconds": figures.seconds, "plain": figures.plain, "day": figures.day, "moment": figures.moment,
        "metric": figures.metric, "score": score, "named": figures.named, "is_number": figures.is_number, "cell": cell, "top": top,
        "percent": figures.percent, "figure2": lambda value: figures.figure(value, 2), "fixed2": figures.fixed2, "quantile": quantile, "prose": prose,
        "line": lambda found: _Line(found or {}), "base64": lambda found: base64.b64encode(found).decode(),
        "interval": lambda found, form="figure": figures.interval(found, getattr(figures, form)),
        "words": lambda key: str(key).replace("_", " ").strip().capitalize() if str(key).islower() else str(key),
        "attr_form": lambda value, form: FORMS[form](value),
    }  # fmt: skip
    env.globals |= {
        "evidence": evidence, "chart": charts, "mark": inline, "shade": inline.shade, "first_time": first_time,
        "METRICS": figures.METRICS, "verdict": words.verdict, "standing": words.standing, "overall": words.overall, "expectation": words.expectation,
        "expected": words.expected, "warning": words.warning, "capacity": phrases.capacity, "past": list_words, "compared": words.bars_compared,
        "meaning": lambda target: phrases.meaning(target, declared.get(target.name) or {}), "direction": phrases.direction, "example": phrases.example,
        "role": phrases.role, "calibration_note": phrases.calibration_note, "line_drawn": phrases.line_drawn, "sections": sections, "commonest": commonest, "keys_of": keys_of,
        "against_members": members.against_members, "against_models": members.against_models, "review": review_words, "by_value": by_value, "MOST_TRIALS": MOST_TRIALS, "list": list,
        "bars_top": lambda bars: top(v for _, number, _, around in bars for v in (number, *(around or ()))),
        "fair": fairness_words, "fair_top": lambda c: top(v for g in c.groups for v in (g.rates.get("selection_rate"), *g.intervals.get("selection_rate", ()))),
        "reason_top": lambda e: top(abs(r.contribution) for r in e.reasons),
    }  # fmt: skip
    return env


FORMS: dict[str, Callable[[Any], str]] = {
    "share": figures.share,
    "figure1": lambda value: figures.figure(value, 1),
    "percent": figures.percent,
    "figure2": lambda value: figures.figure(value, 2),
}


# --- one target -------------------------------------------------------------------------------------


def sections(target: Target) -> list[tuple[str, str]]:
    """The sections that a target has: (anchor, name for the contents)."""
    there = {
        ("list", "The list"): bool(target.deciles or target.gains), ("lists", "Past lists"): target.lists is not None, ("tiers", "Tiers"): bool(target.tiers), ("review", "For a person"): target.review is not None, ("models", "Models"): True,
        ("calibration", "Calibration"): target.calibration is not None, ("threshold", "Threshold"): target.cut is not None,
        ("classes", "Classes"): target.confusion is not None and target.confusion.size > 0,
        ("errors", "Errors"): bool(target.residuals), ("segments", "Segments"): bool(by_segment(target.groups)),
        ("fairness", "Fairness"): target.fairness is not None,
        ("drivers", "Drivers"): bool(target.drivers or target.examples),
    }  # fmt: skip
    return [section for section, present in there.items() if present]


def _target(env: Environment, evidence: Evidence, target: Target, index: int) -> str:
    head, yes = target.headline, target.type == "binary"
    folds = [
        line
        for line in evidence.backtest
        if line.get("target") == target.name and line.get("model") != "prior"
    ]
    drawn = [v for line in target.models for v in (line.test.get(head), *(line.intervals.get(head) or ()))]
    grouped = [v for g in target.groups for v in (g.get(head), *(g.get("interval") or ()))]
    folded = [
        v for f in folds for v in (f.get("value"), *((f.get("interval_95") or {}).get(f.get("metric")) or ()))
    ]
    quantiles = (target.residuals or {}).get("quantiles", {}).values()
    scales = {}
    for name, values in (("model", drawn), ("group", grouped), ("fold", folded)):
        scales[f"{name}_low"], scales[f"{name}_high"] = scale(
            values, 0.5 if head in ("roc_auc", "macro_auc") else 0.0
        )
    return env.get_template("target.html").render(
        target=target, index=index, folds=[_Line(fold) for fold in folds], start=start(target), groups=by_segment(target.groups),
        columns=[m for m in words.COLUMNS.get(target.type, ()) if any(m in line.test for line in target.models)],
        money=any(d.value is not None for d in target.deciles),
        decile_top=top(v for d in target.deciles for v in (d.rate, *(d.interval or ()))),
        driver_top=top(v for d in target.drivers for v in (d.importance, *(d.interval or ()))),
        shape_top=top(abs(v) for d in target.drivers[:15] for _, _, v in d.shape if figures.is_number(v)),
        effects=any(d.shape or d.direction or not d.clear for d in target.drivers),
        probable=bool(target.deciles) and all(figures.is_number(d.lowest_probability) for d in target.deciles),
        texts={d.feature: d.text for d in target.drivers},
        error_digits=1 if top(abs(v) for v in quantiles if figures.is_number(v)) >= 10 else 3,
        model_reference=0.5 if yes or head == "macro_auc" else 0.0, **scales,
    )  # fmt: skip


def start(target: Target) -> int:
    """Where the slider stands at first: the verdict's size, else a tenth of the rows."""
    if target.gains is None:
        return 0
    rows = target.gains.rows
    return min(target.verdict.size, rows) if target.verdict and target.verdict.size else math.ceil(rows / 10)


def by_segment(groups: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]], int]]:
    """Groups under the segment that they belong to, and how many are not shown."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for group in groups:
        found.setdefault(str(group.get("by", "")), []).append(_Line(group))
    if len(found.get("cutoff", ())) < 2:  # one moment is no segment
        found.pop("cutoff", None)
    return [(by, lines[:MOST_GROUPS], max(len(lines) - MOST_GROUPS, 0)) for by, lines in found.items()]


class _Line(dict[str, Any]):
    """A line of a table; what it does not say is None."""

    def __missing__(self, key: str) -> None:
        return None


# --- the shared parts -------------------------------------------------------------------------------


def _data(env: Environment, evidence: Evidence) -> str:
    data = evidence.data
    cohort: dict[str, dict[str, int]] = {}
    for line in data.cohort:
        per = cohort.setdefault(str(line.get("cutoff") or ""), {})
        per[str(line.get("part"))] = per.get(str(line.get("part")), 0) + int(line.get("rows") or 0)
    parts = [part for part in ("train", "validation", "test") if any(part in per for per in cohort.values())]
    drift = sorted(data.drift, key=lambda d: -d.psi if figures.is_number(d.psi) else 0)
    return env.get_template("data.html").render(
        cohort=cohort, cohort_parts=parts, drift=drift[:MOST_DRIFT], drift_more=max(len(drift) - MOST_DRIFT, 0),
        drift_parts=[part for part in ("train", "validation", "test") if any(part in d.missing for d in drift)],
        drift_top=top((d.psi for d in drift), least=0.25), tables=[_Line(table) for table in data.tables],
        findings=[_Line(finding) for finding in data.findings],
        idle=list(data.idle.items())[:MOST_IDLE], idle_more=max(len(data.idle) - MOST_IDLE, 0),
    )  # fmt: skip


def _declared(evidence: Evidence) -> Mapping[str, Any]:
    """The targets as the resolved configuration declares them: name → keys; empty where it cannot be read."""
    import yaml

    try:
        config = yaml.safe_load(evidence.config)
    except yaml.YAMLError:
        return {}
    found = config.get("target") if isinstance(config, dict) else None
    return {k: v for k, v in found.items() if isinstance(v, dict)} if isinstance(found, dict) else {}


def _scoring(evidence: Evidence) -> dict[str, str]:
    """The date of the embedded lists (empty without a clock), and the command that makes today's."""
    tested = [str(line.get("cutoff") or "") for line in evidence.data.cohort if line.get("part") == "test"]
    newest = figures.day(max(tested, default=""))
    command = str(evidence.card.get("how to score") or "")
    return {"as_of": "" if newest == figures.NONE else newest, "command": command}


def _capacities(evidence: Evidence) -> str:
    """What the slider's script reads, as JSON; nothing if there is no slider."""
    found = {
        str(index): _gains(target.gains)
        for index, target in enumerate(evidence.targets, 1)
        if target.gains is not None and len(target.gains.called) and target.gains.positives
    }
    sentences = {
        "capacity": phrases.CAPACITY, "compared": phrases.COMPARED, "ruled": phrases.RULED,
        "worth": phrases.WORTH, "within": phrases.WORTH_WITHIN, "around": figures.WITHIN,
    }  # fmt: skip
    return embedded({"sentences": sentences, "targets": found}) if found else ""


def _gains(gains: Gains) -> dict[str, Any]:
    curves = {name: getattr(gains, name).tolist() for name in ("called", "found", "low", "high", "rule")}
    worth = {
        name: curve.tolist() if (curve := getattr(gains, name)) is not None and gains.value_total else None
        for name in ("value", "value_low", "value_high")
    }
    axes = charts.gains_axes(gains)
    return {**curves, **worth, "total": gains.value_total, "rows": gains.rows,
            "positives": gains.positives, "box": axes.box, "top": axes.y1}  # fmt: skip


# --- small things that templates ask for ------------------------------------------------------------


def top(values: Iterable[Any], least: float = 0.0) -> float:
    """The greatest number, 1 if there is none above zero."""
    found = [float(value) for value in values if figures.is_number(value)]
    return max([least, *found]) or 1.0


def scale(values: Iterable[Any], reference: float) -> tuple[float, float]:
    """A range that holds all values and the reference, with a little room."""
    found = [reference, *(float(value) for value in values if figures.is_number(value))]
    room = 0.04 * (max(found) - min(found)) or 0.5
    return min(found) - room, max(found) + room


def score(value: Any, metric: str) -> str:
    """A test metric: three digits where it has no unit, so that what is zero but for rounding reads as zero."""
    return figures.figure(value) if metric in ("rmse", "mae") else figures.fixed(value)


def keys_of(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for line in lines for key in line))


def cell(value: Any, key: str) -> str:
    """A number of a table by what its column is: whole numbers as counts, the rest as figures."""
    if isinstance(value, str) or (isinstance(value, list | tuple) and not value):
        return figures.plain(value)
    if isinstance(value, list | tuple):
        return figures.interval(value) or figures.NONE
    whole = (
        figures.is_number(value) and float(value) == int(value) and key in ("rows", "predicted", "positives")
    )
    return figures.count(value) if whole else figures.figure(value)


def prose(text: str) -> Markup:
    """A sentence; what it has in backticks, names of columns and the like, set apart."""
    pieces = re.sub(r"(?<=\d) %", "\u00a0%", str(text)).split("`")
    if len(pieces) % 2 == 0:
        return Markup("{}").format(text)
    marked = (
        Markup("<code>{}</code>" if place % 2 else "{}").format(piece) for place, piece in enumerate(pieces)
    )
    return Markup("").join(marked)


def quantile(name: Any) -> str:
    """0.25 → `25 %`; a text stays."""
    return figures.share(name) if figures.is_number(name) else str(name)


def commonest(shares: Mapping[str, float]) -> str:
    name = max(shares, key=lambda key: shares[key] if figures.is_number(shares[key]) else -1)
    return f"{name} ({figures.share(shares[name])})"


def by_value(tuned: Tuned) -> list[_Line]:
    """Finished trials, the best first, then the others in the order they began."""
    finished = [trial for trial in tuned.trials if figures.is_number(trial.get("value"))]
    others = [trial for trial in tuned.trials if not figures.is_number(trial.get("value"))]
    return [_Line(trial) for trial in [*sorted(finished, key=lambda trial: -trial["value"]), *others]]


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
