"""What a report shows, as plain data: filled by `report/gather.py`, drawn by `report/page.py`.

Nothing here is text for people yet, and nothing is drawn. Intervals are (low, high) at 95 % by entity
bootstrap; None where there is none. Curves have at most a few hundred points, whatever the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.evaluation.curves import Bin, Cut
from toolkit.evaluation.gains import Decile, Gains, Interval
from toolkit.evaluation.lists import AtSize, Steadiness
from toolkit.evaluation.tiers import Tier
from toolkit.training.coherence import Corrected

if TYPE_CHECKING:
    from toolkit.training.fairness import Judged as Fair
    from toolkit.training.triage import Judged


@dataclass(frozen=True)
class Calibration:
    """Reliability on the test rows, before and after calibration; figures: brier, ece, log_loss."""

    method: str
    reason: str
    before: list[Bin]
    after: list[Bin]
    figures_before: dict[str, float]
    figures_after: dict[str, float]


@dataclass(frozen=True)
class Verdict:
    """Whom to call and what to expect, from the test rows. `size` is the capacity, or the length of the list.

    size, found, interval, at_random and money speak of the labelled rows of the newest list (latest test cutoff),
    of a binary target; of another type they are 0. interval is of what another list like it brings, so it holds
    the luck of each call besides the estimate's error. because: what decided the size, in words.
    """

    size: int
    found: int
    interval: Interval
    at_random: float
    metric: str
    value: float
    value_interval: Interval
    margin: tuple[float, float, float] | None  # over the best single rule, with its interval
    rule: str  # the rule in words
    better_than_rule: bool | None  # the interval of the margin excludes zero (None: no interval)
    better_than_chance: (
        bool | None
    )  # by DeLong's test of an AUC; else the interval excludes that of a naive model
    because: str = ""
    rows: int = 0  # labelled rows of the newest list, and positives among them
    positives: int = 0
    acted: int = 0  # labelled rows of the newest list that the threshold acts on
    covers_all: bool = False  # the capacity is no smaller than the list, so its order decides nothing
    money: float | None = None  # sum of the value column among the first `size` rows of the newest list
    money_interval: Interval = None  # of another list like it, as `interval`
    money_at_random: float | None = None
    test_rows: int = 0  # labelled test rows of all cutoffs, on which the metric was measured; any type
    rarest: int = 0  # rows of the rarest class among them (of a number: all of them)
    rarest_entities: int | None = None  # entities that have such a row; None where it was not counted
    rarest_answer: str = "yes"  # of a binary target


@dataclass(frozen=True)
class ModelLine:
    """One model: validation headline, test metrics with intervals, margin, seconds."""

    model: str
    chosen: bool
    baseline: bool
    validation: float | None
    test: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    margin: tuple[float, float, float] | None
    seconds: float
    notes: list[str]
    undefined: dict[str, str] = field(default_factory=dict)  # metric → why it cannot be told
    behind: tuple[float, float, float] | None = None  # the chosen model's headline metric less its own
    over_members: dict[str, tuple[float, float, float]] = field(default_factory=dict)  # of an ensemble
    over_models: dict[str, dict[str, tuple[float, float, float]]] = field(default_factory=dict)  # by metric


@dataclass(frozen=True)
class Waiting:
    """A test row that a person should look at. png: its first picture, small; b"" where it has none."""

    entity: str
    why: str
    guess: str
    probability: float
    png: bytes


@dataclass(frozen=True)
class Review:
    """What triage is worth on the test, and the first rows of its queue. file: the queue's."""

    judged: Judged
    file: str
    first: list[Waiting]


@dataclass(frozen=True)
class Driver:
    """What a feature does: loss of the headline metric when it is shuffled, and how it moves the score.

    shape: per bin or level (its text, rows, mean contribution to the score); direction: "rises",
    "falls", "mixed", "levels", or "" where it is not measured (several classes).
    """

    feature: str
    text: str  # the feature in words
    importance: float
    interval: Interval
    contribution: float | None = None  # mean absolute native contribution
    direction: str = "mixed"
    shape: list[tuple[str, int, float]] = field(default_factory=list)
    levels: tuple[str, str] | None = (
        None  # of a categorical feature: what lowers and what raises the score most
    )
    clear: bool = True  # the importance's interval excludes zero; True where there is no interval


@dataclass(frozen=True)
class Reason:
    """Why one entity scores as it does: a feature, its value as text, what it adds to the score."""

    feature: str
    value: str
    contribution: float
    text: str = ""  # the feature in words


@dataclass(frozen=True)
class Example:
    """One entity of the test rows, explained.

    role: "best", "threshold" (the last one to be acted upon), "unexpected_no" (a high score, and it did not
    happen; the prediction was too high), "unexpected_yes" (the reverse), "low" (three quarters down the list).
    """

    entity: str
    cutoff: str
    score: float
    probability: float | None
    label: float | None
    rank: int
    reasons: list[Reason]
    role: str = ""
    predicted: str = ""  # the decided class of several; `probability` is that class's
    note: str = ""  # how far the reasons are to be believed
    help: str = ""  # what would bring it to the other side


@dataclass(frozen=True)
class ListLine:
    """What one model's lists would have brought, at each declared size, and how much of a list stays on the next."""

    model: str
    chosen: bool
    baseline: bool
    at: list[AtSize]
    steadiness: Steadiness | None


@dataclass(frozen=True)
class Todo:
    """What to do about a row: by whom and by when, "" where that is not said."""

    action: str
    owner: str
    deadline: str
    not_assigned: str


@dataclass(frozen=True)
class NextList:
    """The beginning of the list for the newest moment. rows: rank, key, score, reasons; of: how many are ranked.

    tiers: tier, the highest first → how many of all that are ranked; tier: of each row shown; todo: what to do about each
    row shown; by_action, by_owner: of all actions of the list; remarks: what did not become an action.
    """

    file: str
    day: str
    key: str
    listed: int
    of: int
    rows: list[tuple[int, str, float, list[str]]]
    tiers: dict[str, int] = field(default_factory=dict)
    tier: list[str] = field(default_factory=list)
    todo: list[list[Todo]] = field(default_factory=list)
    by_action: dict[str, int] = field(default_factory=dict)
    by_owner: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PastLists:
    """The lists of the test, one at each cutoff: day, rows, positives and base rate of each [lists]; the models."""

    days: list[str]
    rows: list[int]
    positives: list[int]
    base_rates: list[float]
    lines: list[ListLine]


@dataclass(frozen=True)
class Target:
    """One target's page."""

    name: str
    type: str
    description: str
    horizon: str
    classes: tuple[str, ...]
    base_rates: dict[str, Any]
    state: dict[str, Any]
    headline: str
    models: list[ModelLine]
    verdict: Verdict | None
    deciles: list[Decile]
    gains: Gains | None
    calibration: Calibration | None
    cut: Cut | None
    groups: list[dict[str, Any]]
    drivers: list[Driver]
    explained_by: str  # which model was explained, and how (permutation; native contributions)
    examples: list[Example]
    confusion: np.ndarray | None = None  # [classes, classes], true by predicted, test rows
    per_class: list[dict[str, Any]] = field(default_factory=list)
    residuals: dict[str, Any] | None = None  # quantiles and a 2-d histogram of predicted against true
    list_file: str = ""
    listed: int = 0  # rows of the newest list, with a label or without: what `Example.rank` counts
    lists: PastLists | None = None  # where the test has more than one cutoff
    next_list: NextList | None = None  # where the recipe declares one
    tiers: list[Tier] = field(
        default_factory=list
    )  # the lowest first, on the test rows; where there are tiers
    fairness: Fair | None = None  # where protected attributes are declared
    review: Review | None = None  # where rows are queued for a person


@dataclass(frozen=True)
class Drift:
    """How a feature's distribution differs between training and test rows, and where it is missing.

    psi: the index less what chance alone brings on average, which is `floor`; read nothing into less than that.
    """

    feature: str
    psi: float
    missing: dict[str, float]  # part → share of rows
    floor: float = 0.0


@dataclass(frozen=True)
class Distribution:
    """A feature's distribution among positives and others (or all rows): bins' text, shares [bins]."""

    feature: str
    target: str
    labels: list[str]
    shares: dict[str, list[float]]


@dataclass(frozen=True)
class Data:
    """Tables, rejected rows, drift, the audit, and the exploratory part."""

    tables: list[dict[str, Any]]
    assumptions: list[str]
    rows: dict[str, int]
    cohort: list[dict[str, Any]]  # rows per cutoff and part
    drift: list[Drift]
    findings: list[dict[str, Any]]
    idle: dict[str, str]
    correlated: list[str]  # features of the heat map
    correlation: np.ndarray  # Spearman [features, features]
    distributions: list[Distribution]
    found: list[str] = field(default_factory=list)  # what is to be known of the tables


@dataclass(frozen=True)
class Overlap:
    """How targets go together on the test rows: [targets, targets]."""

    targets: list[str]
    both: np.ndarray  # share of positives of the row's target that are positives of the column's
    top: np.ndarray  # share of the row's top decile that is in the column's top decile
    rank: np.ndarray  # Spearman correlation of the chosen models' scores


@dataclass(frozen=True)
class KindFound:
    """One kind of entity. documents: that have one; confidence: the mean; rejected: reason → candidates.

    examples: text as read, value, confidence; masked already where they are to be.
    """

    name: str
    description: str
    count: int
    documents: int
    confidence: float | None
    rejected: dict[str, int]
    examples: list[tuple[str, str, float]]


@dataclass(frozen=True)
class Extracted:
    """Entities found in documents. file, rejected_file: in the run's folder."""

    file: str
    rejected_file: str
    documents: int
    pages: int
    kinds: list[KindFound]
    masked: bool


@dataclass(frozen=True)
class Tuned:
    """What tuning tried for one model: see `tuning/`. trials: dicts as in trials.json."""

    model: str
    metric: str
    trials: list[dict[str, Any]]
    importance: dict[str, float]


@dataclass(frozen=True)
class Evidence:
    """All that a report says."""

    name: str
    description: str
    written: str
    seconds: dict[str, float]
    targets: list[Target]
    overlap: Overlap | None
    data: Data
    card: dict[str, Any]  # intended use, cohort, horizons, dates, limits, seeds, environment, fingerprints
    config: str  # the resolved configuration as YAML, without secrets
    metrics: dict[str, Any]  # metrics.json as written
    lists: dict[str, bytes]  # file name → CSV to embed
    backtest: list[dict[str, Any]] = field(default_factory=list)
    coherence: dict[str, Corrected] = field(default_factory=dict)
    tuned: list[Tuned] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    tables: dict[str, bytes] = field(default_factory=dict)  # further CSV files to embed, which are no lists
    extracted: Extracted | None = None  # where entities are looked for
