"""Lists of the test: what each would have brought, how steady they are, whom they have never seen, and how few say yes."""

from __future__ import annotations

import io
import json
import math
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import evidences as made_up
import numpy as np
import pandas as pd
import pytest
from conftest import Work
from rich.console import Console
from small import LIGHTGBM, LOGISTIC, dated, experiment, people
from test_gather import evidence_of

from toolkit.config.schema import Config
from toolkit.errors import DataError
from toolkit.evaluation.bootstrap import EntityBootstrap
from toolkit.evaluation.gains import wilson
from toolkit.evaluation.lists import Lists
from toolkit.report import list_words, page, words
from toolkit.report.record import fold_lines
from toolkit.report.summary import markdown, screen, targets_table
from toolkit.training.outcome import Outcome
from toolkit.training.split import TEST

YEARS = ["2019-01-01", "2020-01-01", "2021-01-01", "2022-01-01"]
FACTS: dict[str, Any] = {"name": "small", "description": "", "seconds": 1.0, "stages": "", "assumptions": [], "rejected": [], "backtest": []}  # fmt: skip


def weekly(entities: int, weeks: int, seed: int = 0, base: float = -3.0, luck: float = 1.0) -> tuple[np.ndarray, ...]:  # fmt: skip
    """The same entities every week, alike from week to week: y, score, group, entity [rows]."""
    rng = np.random.default_rng(seed)
    entity, group = (
        np.tile(np.arange(entities), weeks),
        np.repeat([f"week {n}" for n in range(weeks)], entities),
    )
    lasting = rng.normal(size=entities)[entity]
    likes = rng.random(entities)[entity]  # whether it says yes is decided once, as that of a customer is
    score = lasting + 0.1 * rng.normal(size=len(entity))
    return (likes < 1 / (1 + np.exp(-base - luck * lasting))).astype(float), score, group, entity


# --- precision and capture --------------------------------------------------------------------------


def test_figures_by_hand() -> None:
    """Two lists; the second is shorter than the greatest size, and has a row without a label, which is none."""
    y = np.array([1, 0, 1, 0, 0, 1, 0, np.nan])
    score = np.array([9, 8, 7, 6, 5, 1, 2, 3.0])
    lists = Lists.of(y, np.array([*"aaaaa", *"bbb"]), np.arange(8), None)
    first, third = lists.judge(score, [1, 3])[0]
    assert (first.by_list, first.precision, first.capture, first.short) == ([1.0, 0.0], 0.5, 1 / 3, 0)
    assert third.by_list == pytest.approx([2 / 3, 1 / 2])
    assert (third.precision, third.capture, third.short) == (pytest.approx(7 / 12), 1.0, 1)
    assert math.isnan(first.interval[0])
    assert [fact["base_rate"] for fact in lists.facts()] == [0.4, 0.5]


def test_capture_counts_entities_and_not_their_rows() -> None:
    """One says yes in three weeks and is first in the last of them; another in one week, and is never called."""
    y = np.array([1, 1, 0, 1, 0, 0, 1, 0, 0.0])
    score = np.array([1, 2, 3, 1, 2, 3, 9, 2, 3.0])
    entity, group = np.tile(np.arange(3), 3), np.repeat([*"abc"], 3)
    lists = Lists.of(y, group, entity, EntityBootstrap(entity, 50, 0))
    (at,), _ = lists.judge(score, [1])
    assert at.capture == 0.5  # of rows with a yes it would be a quarter
    tied = Lists.of(y, group, entity, None).judge(np.zeros(9), [1])[0][0]
    assert tied.capture == pytest.approx(((1 - (2 / 3) ** 3) + 1 / 3) / 2)


def test_none_captured_does_not_mean_never() -> None:
    y, _, group, entity = weekly(300, 4, base=-2.0)
    (at,), _ = Lists.of(y, group, entity, EntityBootstrap(entity, 50, 0)).judge(-y, [20])
    low, high = wilson(np.zeros(1), np.array([len(np.unique(entity[y == 1]))]))
    assert (at.capture, at.capture_interval) == (0, (pytest.approx(low[0]), pytest.approx(high[0])))
    assert high[0] > 0.02


def test_the_order_of_keys_does_not_decide_between_tied_rows() -> None:
    """Customers have the lower ids. A score that says nothing must not find them all the same."""
    y = (np.arange(1_000) < 50).astype(float)
    lists = Lists.of(y, np.zeros(1_000), np.arange(1_000), EntityBootstrap(np.arange(1_000), 100, 0))
    (at,), draws = lists.judge(np.zeros(1_000), [50])
    assert at.precision == pytest.approx(0.05)
    assert abs(draws.mean() - 0.05) < 0.01
    assert (
        lists.judge(-np.arange(1_000.0), [50])[0][0].precision == 1
    )  # the control: by id it would be all of them


@pytest.mark.parametrize("digits", [9, 0], ids=["distinct", "tied"])
def test_replicates_equal_the_naive_bootstrap(digits: int) -> None:
    y, score, group, entity = weekly(400, 3, base=-1.0)
    score = np.round(score, digits)
    boot, sizes = EntityBootstrap(entity, 20, 0), [5, 40, 395]
    lists = Lists.of(y, group, entity, boot)
    _, draws = lists.judge(score, sizes)
    for r in (0, 7, 19):
        for s, size in enumerate(sizes):
            shares = []
            for name in np.unique(group):
                rows = np.flatnonzero(group == name)
                rows = np.repeat(rows, boot.weights[entity[rows], r])  # each as often as it is drawn
                values, where = np.unique(-score[rows], return_inverse=True)
                left, hits = min(size, len(rows)), 0.0
                for value in range(len(values)):
                    tied = where == value
                    hits += min(left, tied.sum()) * y[rows][tied].mean()
                    left -= min(left, tied.sum())
                shares.append(hits / min(size, len(rows)))
            assert draws[s, r] == pytest.approx(np.mean(shares))


def test_intervals_cover_over_entities_and_would_not_over_rows() -> None:
    """What happens in ten weeks to the same entities is not ten times the evidence. The row bootstrap thinks so."""
    y, score, group, entity = weekly(60_000, 1, base=-2.0)
    truth = Lists.of(y, group, entity, None).judge(score, [3_000])[0][0].precision  # the top twentieth
    covered, widths = {"entities": 0, "rows": 0}, {"entities": 0.0, "rows": 0.0}
    for seed in range(150):
        y, score, group, entity = weekly(600, 10, seed + 1, base=-2.0)
        for what, unit in (("entities", entity), ("rows", np.arange(len(y)))):
            lists = Lists.of(y, group, entity, EntityBootstrap(unit, 100, seed))
            low, high = lists.judge(score, [30])[0][0].interval
            covered[what] += low <= truth <= high
            widths[what] += high - low
    assert covered["entities"] / 150 > 0.86
    assert covered["rows"] / 150 < 0.75  # the control
    assert widths["rows"] < 0.7 * widths["entities"]


def test_lists_without_a_positive_have_an_interval_all_the_same() -> None:
    y, score, group, entity = weekly(200, 4)
    boot = EntityBootstrap(entity, 50, 0)
    for same in (0.0, 1.0):
        (at,), _ = Lists.of(np.full(len(y), same), group, entity, boot).judge(score, [10])
        called = np.unique(np.concatenate([np.argsort(-score[group == g], kind="stable")[:10] for g in np.unique(group)]))  # fmt: skip
        low, high = wilson(np.array([same * len(called)]), np.array([len(called)]))
        assert at.interval == (pytest.approx(low[0]), pytest.approx(high[0]))
        assert at.interval[0] < at.interval[1]


def test_five_models_on_ten_lists_of_five_thousand_are_quick() -> None:
    y, score, group, entity = weekly(5_000, 10)
    lists = Lists.of(y, group, entity, EntityBootstrap(entity, 200, 0))
    lists.steadiness(score, [10])  # imports
    begun = time.process_time()
    for n in range(5):
        lists.judge(np.round(score, n), [10, 25, 50, 100])
        lists.steadiness(score, [10, 25, 50, 100])
    assert time.process_time() - begun < 2


# --- steadiness -------------------------------------------------------------------------------------


def test_steadiness_by_hand() -> None:
    """Of the first three (1, 2, 3) one has left; of the two that remain one is among the next first three."""
    entity = np.array([1, 2, 3, 4, 5, 2, 3, 4, 5, 6])
    group = np.array([*"aaaaa", *"bbbbb"])
    score = np.array([9, 8, 7, 6, 5, 9, 1, 8, 7, 2.0])
    found = Lists.of(np.zeros(10), group, entity, None).steadiness(score, [3])
    assert found is not None
    assert (found.pairs, found.overlap, found.by_pair, found.remain) == (1, {3: 0.5}, {3: [0.5]}, {3: pytest.approx(2 / 3)})  # fmt: skip
    assert found.rank_correlation == pytest.approx(pd.Series([8, 7, 6, 5.0]).corr(pd.Series([9, 1, 8, 7.0]), "spearman"))  # fmt: skip
    assert Lists.of(np.zeros(5), group[:5], entity[:5], None).steadiness(score[:5], [3]) is None


def test_scores_that_stay_are_steady_and_noise_is_not() -> None:
    y, score, group, entity = weekly(500, 6)
    lists = Lists.of(y, group, entity, None)
    steady, noise = (
        lists.steadiness(score, [50]),
        lists.steadiness(np.random.default_rng(0).random(len(y)), [50]),
    )
    assert steady is not None
    assert noise is not None
    assert steady.overlap[50] > 0.7 > 0.2 > noise.overlap[50]
    assert steady.rank_correlation > 0.9 > 0.1 > abs(noise.rank_correlation)


# --- in a run ---------------------------------------------------------------------------------------


def yearly(folder: Path, **parts: Any) -> Config:
    persons, events = people(400)
    evaluation = {"bootstrap": 60, "per_list": [40, 10, 10], "smallest_group": 20} | parts.pop(
        "evaluation", {}
    )
    return dated(folder, persons, events, **{
        "cohort": {"cutoffs": YEARS, "having": [{"table": "events"}]}, "evaluation": evaluation,
        "split": {"kind": "temporal", "test": {"cutoffs": 2}}, "model": LOGISTIC | LIGHTGBM,
    } | parts)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Outcome]:
    made = experiment(yearly(tmp_path_factory.mktemp("yearly")))
    return made, made.run()


def test_a_run_judges_every_model_on_every_list(run: tuple[Any, Outcome]) -> None:
    made, outcome = run
    test = outcome.rows[outcome.n_valid :]
    year, y = (
        made.prepared.matrix.cutoff[test].astype("datetime64[Y]").astype(int) + 1970,
        outcome.y[outcome.n_valid :, 0],
    )
    assert [fact["rows"] for fact in outcome.lists["again"]] == [(year == n).sum() for n in (2021, 2022)]
    assert [fact["positives"] for fact in outcome.lists["again"]] == [
        y[year == n].sum() for n in (2021, 2022)
    ]
    for candidate in outcome.of("again"):
        if candidate.model == "prior":
            assert candidate.per_list == []
            continue
        assert [at.size for at in candidate.per_list] == [10, 40]
        score = outcome.scores[(candidate.model, "again")].score[outcome.n_valid :]
        if candidate.model == "logistic":  # hardly a tie
            best = [np.argsort(-score[year == n], kind="stable")[:10] for n in (2021, 2022)]
            hits = [y[year == n][rows].mean() for n, rows in zip((2021, 2022), best, strict=True)]
            assert candidate.per_list[0].by_list == pytest.approx(hits)
        assert all(at.interval[0] <= at.precision <= at.interval[1] for at in candidate.per_list)
        assert (candidate.per_list[0].over_rule is None) == (candidate.model == "rule")
        assert candidate.steadiness is not None
        assert candidate.steadiness.pairs == 1
    chosen = outcome.chosen("again")
    others = {c.model: c.behind for c in outcome.of("again") if c is not chosen}
    assert chosen.behind is None
    for name, behind in others.items():
        other = next(c for c in outcome.of("again") if c.model == name)
        assert behind is not None
        assert behind[0] == pytest.approx(chosen.test["roc_auc"] - other.test["roc_auc"])
    assert all(len(line["per_list"]) == 2 for line in fold_lines(outcome) if line["model"] != "prior")


def test_entities_never_seen_are_judged_apart(run: tuple[Any, Outcome]) -> None:
    made, outcome = run
    matrix, test = made.prepared.matrix, outcome.rows[outcome.n_valid :]
    part = outcome.assignment
    met = {*matrix.entity[part.rows(0) | part.rows(1)]}
    stranger = np.array([entity not in met for entity in matrix.entity[test]])
    assert 20 < stranger.sum() < len(test) / 2
    groups = {g["group"]: g for g in outcome.chosen("again").groups if g["by"] == "entity"}
    never, before = groups["never seen in training or validation"], groups["seen before"]
    assert (never["rows"], before["rows"]) == (stranger.sum(), (~stranger).sum())
    assert never["entities"] == len({*matrix.entity[test][stranger]})
    y, score = outcome.y[outcome.n_valid :, 0], outcome.scores[(outcome.chosen("again").model, "again")].score
    pairs = (
        score[outcome.n_valid :][stranger & (y == 1)][:, None] - score[outcome.n_valid :][stranger & (y == 0)]
    )
    assert never["roc_auc"] == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2)
    assert never["positive_entities"] == len({*matrix.entity[test][stranger & (y == 1)]})
    for metric in ("roc_auc", "pr_auc"):
        low, high = never["interval_95"][metric]
        assert low < never[metric] < high


def test_a_group_of_few_is_withheld_with_the_number(tmp_path: Path) -> None:
    groups = experiment(yearly(tmp_path, evaluation={"smallest_group": 10_000})).run().chosen("again").groups
    told = [g for g in groups if g["by"] == "entity"]
    assert {g["withheld"] for g in told} == {"fewer than 10000 rows"}
    assert all(g["rows"] and "roc_auc" not in g for g in told)


def test_the_report_and_the_summary_say_it_in_words(run: tuple[Any, Outcome]) -> None:
    made, outcome = run
    evidence, _ = evidence_of(made, outcome)
    lists = evidence.targets[0].lists
    assert lists is not None
    assert lists.days == ["2021-01-01", "2022-01-01"]
    said = " ".join(list_words.sentences(lists))
    assert "Had the first 10 been called at each of the 2 cutoffs, " in said
    assert "at random and " in said
    assert "by the best simple rule." in said
    assert "of the entities that said yes" in said
    assert "of the next list, too" in said
    html = page.render(evidence)
    assert "What past lists would have brought" in html
    assert html.count("How much of a list stays") == 1
    assert "never seen in training or validation" in html
    text = markdown(outcome, FACTS)
    assert "past lists, again: of the first 10 of 2 lists " in text
    assert "entities never seen in training or validation, again: AUC " in text


def test_one_list_is_no_history() -> None:
    evidence = made_up.evidence()
    assert all(target.lists is None for target in evidence.targets)
    assert "What past lists would have brought" not in page.render(evidence)


def test_sizes_are_whole_numbers_of_rows(work: Work) -> None:
    assert "evaluation.per_list" in work.refused("recipe=shop", "evaluation.per_list=[10,0]")


# --- a handful of positives -------------------------------------------------------------------------


def with_positives(folder: Path, train: int, valid: int, test: int) -> tuple[Any, Any]:
    """A recipe whose parts have so many entities that ever say yes, each at all of its cutoffs there."""
    made = experiment(yearly(folder))
    part, matrix = made.prepared.assignments[-1], made.prepared.matrix
    hit = np.zeros(len(matrix))
    for which, wanted in enumerate((train, valid, test)):
        for one in pd.unique(matrix.entity[part.rows(which)])[:wanted]:
            hit[part.rows(which) & (matrix.entity == one)] = 1
    matrix.values["again"][:] = hit.astype(matrix.values["again"].dtype)
    return made, part


@pytest.mark.parametrize("valid", [1, 2, 5])
@pytest.mark.parametrize("test", [0, 1, 5])
def test_a_handful_of_positives_breaks_nothing_and_is_said(tmp_path: Path, valid: int, test: int) -> None:
    made, _ = with_positives(tmp_path, 40, valid, test)
    outcome = made.run()
    found = outcome.base_rates["again"]
    assert (found["validation"]["positive_entities"], found["test"]["positive_entities"]) == (valid, test)
    assert test <= found["test"]["positives"] <= 2 * test  # at one or two cutoffs each
    evidence, _ = evidence_of(made, outcome)
    json.dumps(fold_lines(outcome), default=str)
    said, text = words.verdict(evidence.targets[0]), markdown(outcome, FACTS)
    page.render(evidence)
    if test == 0:
        assert said.headline == "Nothing can be said yet"
    elif test < 5:
        assert said.headline == "Too few test rows to say"
        assert f"from {'1 entity' if test == 1 else f'{test} entities'}" in said.lines[0]
    if test:
        assert f"few positives, again: {'1 entity says' if test == 1 else f'{test} entities say'} yes, in {found['test']['positives']} of" in text  # fmt: skip
    told = [g["withheld"] for g in outcome.chosen("again").groups if g["by"] == "entity" and "withheld" in g]
    assert test == 5 or all("with a yes, fewer than 5" in why or "no such row" in why for why in told)
    chosen = outcome.chosen("again")
    assert np.isfinite(outcome.scores[(chosen.model, "again")].probability).all()
    if valid == 1:
        assert chosen.basis.startswith("in-sample: its ")  # one entity cannot be dealt to several folds


def test_validation_without_a_positive_is_refused_with_what_to_do(tmp_path: Path) -> None:
    made, _ = with_positives(tmp_path, 40, 0, 5)
    with pytest.raises(DataError, match=r"always no in all .* validation rows") as caught:
        made.run()
    assert "split.validation" in str(caught.value)


def test_few_positives_name_the_models_that_they_cannot_tell_apart(tmp_path: Path) -> None:
    made, _ = with_positives(tmp_path, 60, 20, 30)
    outcome = made.run()
    evidence, _ = evidence_of(made, outcome)
    line = words.scarce(evidence.targets[0])[0]
    rows = outcome.base_rates["again"]["test"]
    assert line.startswith(f"Few say yes: 30 entities, in {rows['positives']} of {rows['rows']} test rows. So AUC is only known to lie between ")  # fmt: skip
    chosen = outcome.chosen("again")
    alike = [
        c.model
        for c in outcome.of("again")
        if c.behind and c.behind[1] <= 0 and c.model not in ("rule", "prior")
    ]
    assert ("too little to tell the chosen model from" in line) == bool(alike)
    assert all(name in line for name in alike)
    assert chosen.model not in alike


def test_many_positives_are_not_called_few(run: tuple[Any, Outcome]) -> None:
    made, outcome = run
    assert outcome.base_rates["again"]["test"]["positive_entities"] >= words.FEW
    assert words.scarce(evidence_of(made, outcome)[0].targets[0]) == []
    assert "few positives" not in markdown(outcome, FACTS)


def test_a_handful_of_positives_is_said_without_nan(tmp_path: Path) -> None:
    """Two entities say yes in the test: every seventh replicate draws neither, and has nothing to compare."""
    made = experiment(yearly(tmp_path, evaluation={"bootstrap": 60}))
    matrix, test = made.prepared.matrix, made.prepared.assignments[-1].rows(TEST)
    raw = matrix.values["again"]
    kept = np.isin(matrix.entity, pd.unique(matrix.entity[test & (raw > 0)])[:2])
    few = np.where(test & ~kept, 0, raw).astype(raw.dtype)
    outcome = made.run(matrix=replace(matrix, values={"again": few}))
    chosen = outcome.chosen("again")
    assert chosen.margin is not None
    assert math.isnan(chosen.margin[1])
    said = markdown(outcome, FACTS)
    assert not re.search(r"\bnan\b", said)
    assert "[+" not in said.split("## Run")[0]
    assert "too few to compare with the best single rule" in said
    assert "not distinguishable" not in said
    assert "too few to tell" in said
    console = Console(record=True, width=160, file=io.StringIO())
    screen(outcome, FACTS, tmp_path, console)
    shown = console.export_text()
    assert not re.search(r"\bnan\b", shown)
    assert "too few to compare" in shown
    console.print(targets_table(outcome, console))
    assert not re.search(r"\bnan\b", console.export_text())


def test_an_interval_of_draws_that_cannot_answer_is_none() -> None:
    """One entity says yes: in a third of the replicates it is not drawn, and its share of nothing is unknown."""
    entity, group = np.tile(np.arange(100), 3), np.repeat([*"abc"], 100)
    y = (entity == 0).astype(float)
    (at,), draws = Lists.of(y, group, entity, EntityBootstrap(entity, 200, 0)).judge(y, [1])
    assert (at.precision, at.capture) == (1, 1)
    assert math.isnan(at.capture_interval[0])
    assert 0.55 < draws.mean() < 0.7  # 1 − 1/e
