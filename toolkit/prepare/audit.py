"""The leak audit: what looks too good to be known at the cutoff, named with the reason.

It looks at the encoded training and validation rows and at the features (never the labels) of the
test rows. A finding is a question to the modeller, not a verdict: a recipe answers by name
(`audit.acknowledge`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from toolkit.config.schema import Audit
from toolkit.errors import ConfigError, LeakError, did_you_mean
from toolkit.models.interface import Column, Task
from toolkit.prepare import audit_columns, audit_rows
from toolkit.prepare.audit_view import Finding, Lineage, Parts, View, lineage_of
from toolkit.prepare.features import Feature

__all__ = ["Finding", "Lineage", "Parts", "audit", "lineage_of"]


def audit(
    config: Audit,
    parts: Parts,
    features: Sequence[Feature],
    columns: Sequence[Column],
    tasks: Sequence[Task],
    lineage: Lineage,
) -> list[Finding]:
    """Every suspicion, the answered ones with their answer.

    Raises ConfigError if the recipe answers for something that is not there, and LeakError if a
    finding is unanswered and the recipe refuses findings.
    """
    _known_names(config, features, lineage)
    view = View(config, parts, tuple(features), tuple(columns), tuple(tasks), lineage)
    found = [
        *audit_columns.single_columns(view),
        *audit_columns.high_cardinality(view),
        *audit_columns.missingness(view),
        *audit_columns.hindsight(view),
        *audit_rows.ids(view),
        *audit_rows.keys(view),
        *audit_rows.jumps(view),
        *audit_rows.twins(view),
        *audit_rows.early_stamps(view),
    ]
    found = [_answered(finding, config, view) for finding in found]
    unanswered = [finding for finding in found if finding.answer is None]
    if unanswered and config.on_finding == "refuse":
        raise LeakError(
            f"the leak audit has {len(unanswered)} finding{'s' if len(unanswered) > 1 else ''}",
            where=unanswered[0].feature,
            why="; ".join(finding.text for finding in unanswered[:5]),
            fix="leave the column out, or answer in the recipe: audit: {acknowledge: {<feature>: <why it is no leak>}}",
        )
    return found


def _known_names(config: Audit, features: Sequence[Feature], lineage: Lineage) -> None:
    names = {feature.name for feature in features} | {"@key", "@twins"}
    names |= {f"@clock.{table}" for table in lineage.dated}
    for name in config.acknowledge:
        if name not in names:
            raise ConfigError(
                f"`audit.acknowledge` names `{name}`, which is not a feature",
                where=f"audit.acknowledge.{name}",
                fix=did_you_mean(name, names),
            )


def _answered(finding: Finding, config: Audit, view: View) -> Finding:
    """The recipe's answer, or the one that the declaration itself gives."""
    if finding.feature in config.acknowledge:
        return replace(finding, answer=config.acknowledge[finding.feature])
    sources = {feature.name: feature.sources for feature in view.features}.get(finding.feature, frozenset())
    measured = view.lineage.targets.get(finding.target or "", frozenset()) - view.lineage.roles
    if finding.target in view.lineage.partly_known and sources & measured:
        return replace(finding, answer="the target is partly known at the cutoff, through the same column")
    return finding
