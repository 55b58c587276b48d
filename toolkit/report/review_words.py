"""What triage is worth, in words: for the screen and for the page."""

from __future__ import annotations

from toolkit.report.figures import count, is_number
from toolkit.training.triage import Judged, Share


def lines(found: Judged) -> list[str]:
    """How many test rows a person should look at and why; how often the model is right about the others."""
    causes = ", ".join(f"{name} {count(many)}" for name, many in found.causes.items())
    queue = f"for a person, {found.target}: {count(found.queued.hits)} of {count(found.queued.rows)} test rows ({causes})"
    left = f"left to the model, {found.target}: {right(found.right['left to the model'])}; of all rows {right(found.right['all'])}"
    said = [queue, left]
    if found.threshold and found.reason:
        said.append(f"sure, {found.target}: {sure(found)}")
    if found.unlike is not None and found.unlike.rows:
        said.append(f"unlike training, {found.target}: {alarms(found)}")
    return said


def right(found: Share) -> str:
    """`98.1 % [97.2 %, 98.8 %] of 1,057 right`."""
    if not found.rows:
        return "no row"
    return f"{with_interval(found)} of {count(found.rows)} right"


def sure(found: Judged) -> str:
    """From which probability on, and where that comes from."""
    at = "" if found.threshold > 1 else f"from a probability of {found.threshold:.3f} on; "
    return f"{at}{found.reason}"


def alarms(found: Judged) -> str:
    """False alarms of the guard: all labelled test rows are of kinds that training has."""
    assert found.unlike is not None
    return f"{with_interval(found.unlike)} of test rows of known classes are called so (false alarms)"


def with_interval(found: Share) -> str:
    low, high = found.interval
    around = f" [{low:.1%}, {high:.1%}]" if is_number(low) else ""
    return f"{found.value:.1%}{around}"
