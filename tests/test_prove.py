"""`check` holds on honest recipes, and catches by name each leak that is planted in the code."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlglot
from small import FOREST, HISTORY, LIGHTGBM, LOGISTIC, clean, dated, flat, people, quiet
from sqlglot import exp

from toolkit.cli.main import main
from toolkit.config.schema import Config
from toolkit.data import sql
from toolkit.models.interface import Batch
from toolkit.prepare import frame as frames
from toolkit.prepare import matrix as matrices
from toolkit.prepared import declaration as declared_by
from toolkit.proof import all_proofs
from toolkit.proof import future as futures
from toolkit.training import experiment as experiments
from toolkit.training.experiment import Outcome
from toolkit.training.fitting import Material
from toolkit.training.judge import Held
from toolkit.workplace import workplace

TOP = {
    "kind": "top_fraction", "fraction": 0.3, "of": {"table": "events", "agg": "sum", "column": "amount", "window": "horizon"},
    "horizon": "12 months",
}  # fmt: skip


@pytest.fixture
def recipe(tmp_path: Path) -> Config:
    """Three cutoffs; a quantile target; models with and without early stopping."""
    target = {"top": TOP}
    return dated(tmp_path, *people(), target=target, model=LOGISTIC | LIGHTGBM | FOREST)


def failures(config: Config) -> list[str]:
    return [proof.text for proof in all_proofs(config, quiet) if not proof.holds]


# --- negative controls ------------------------------------------------------------------------------


def test_an_honest_recipe_is_proved(recipe: Config) -> None:
    proofs = all_proofs(recipe, quiet)
    assert [proof.text for proof in proofs if not proof.holds] == []
    said = "\n".join(proof.text for proof in proofs)
    for cutoff in ("2020-01-01", "2021-01-01", "2022-01-01"):
        assert f"{cutoff}: cohort and " in said
    assert "while top changes" in said  # the scramble reaches what targets look at
    for state in (
        "labels of top",
        "encoder",
        "model forest",
        "threshold of lightgbm on top",
        "choice of models",
    ):
        assert state in said
    assumed = [proof.text for proof in proofs if proof.assumed]
    assert assumed == [
        "table `people` has no clock: that its rows were known at the cutoff is assumed, not proved"
    ]


def test_a_flat_table_is_proved_too(tmp_path: Path) -> None:
    assert failures(flat(tmp_path, clean(800), model=LIGHTGBM)) == []


def test_cutoffs_in_a_zone_are_compared_with_days_of_that_zone(tmp_path: Path) -> None:
    """Midnight in Auckland is noon in UTC the day before: a row of that very day is known, and must stay."""
    cohort = {"cutoffs": ["2020-01-01", "2021-01-01", "2022-01-01"], "timezone": "Pacific/Auckland"}
    assert failures(dated(tmp_path, *people(), cohort=cohort)) == []


def test_the_engine_sees_the_true_tables_again_afterwards(recipe: Config) -> None:
    with workplace(recipe, quiet) as place:
        declaration = declared_by(recipe)
        tables = matrices.load_tables(declaration, recipe.source, place.engine, place.cache)
        total = exp.select(exp.Sum(this=sql.col("amount")), exp.Count(this=exp.Star())).from_(
            sql.table("events")
        )
        before = place.engine.one(total)
        futures.future(declaration, tables, place.engine, 0, quiet)
        assert place.engine.one(total) == pytest.approx(before)


def test_the_verb_exits_with_0_and_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["check", "recipe=donor_retention", "model=logistic"]
    assert main(arguments) == 0
    assert "stay the same" in capsys.readouterr().out
    peek_a_month_ahead(monkeypatch)
    assert main(arguments) == 1
    assert "FAIL" in capsys.readouterr().out


# --- 1. the future ----------------------------------------------------------------------------------


def peek_a_month_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at a table takes the cutoff for a month later than it is."""
    honest = frames.instant

    def later(frame: Any, column: str, clock: str, *back: Any) -> exp.Expression:
        month = exp.Interval(this=exp.Literal.string("1"), unit=exp.Var(this="MONTH"))
        return exp.paren(exp.Add(this=honest(frame, column, clock, *back), expression=month))

    monkeypatch.setattr(frames, "instant", later)


def test_features_that_look_a_month_past_the_cutoff_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dated(tmp_path, *people(), cohort={"cutoffs": ["2020-01-01", "2021-01-01", "2022-01-01"]})
    peek_a_month_ahead(monkeypatch)
    said = "\n".join(failures(config))
    assert "feature `history.count_3mo` changes in" in said
    assert "feature `history.amount_sum_all` changes in" in said
    assert "`who.town`" not in said


def test_one_feature_that_reads_ahead_is_the_only_one_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A floating sum that takes in a single day after the cutoff."""
    config = dated(tmp_path, *people(2_000))
    honest = matrices.compile_set

    def one_day_off(name: str, *rest: Any) -> Any:
        compiled = honest(name, *rest)
        if name == "history":
            text = sql.render(compiled.query.tree)
            late = text.replace('"@known" <= "f"."', '"@known" <= INTERVAL \'1\' DAY + "f"."')
            assert late != text
            whole = sqlglot.parse_one(late, dialect="duckdb")
            object.__setattr__(compiled.query, "tree", whole)
        return compiled

    monkeypatch.setattr(matrices, "compile_set", one_day_off)
    said = failures(config)
    assert said
    assert all("feature `history." in text for text in said)


def test_a_cohort_that_depends_on_the_future_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dated(tmp_path, *people(), cohort={
        "cutoffs": ["2020-01-01", "2021-01-01", "2022-01-01"],
        "having": [{"table": "events", "within": "2 months"}]})  # fmt: skip
    peek_a_month_ahead(monkeypatch)
    assert "2020-01-01: the cohort changes" in failures(config)[0]


def test_a_scramble_that_reaches_no_target_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dated(tmp_path, *people())
    monkeypatch.setattr(futures, "scramble_after", lambda tables, *_: (tables, {}))
    assert "nothing is proved" in failures(config)[0]


def test_rounding_of_parallel_sums_is_no_change_and_a_cent_is() -> None:
    values = np.array([1e6, 0.1, np.nan, 0.0])
    assert futures._differ(values, values * (1 + 1e-12)) == 0
    assert futures._differ(values, values + 0.01) == 3
    assert futures._differ(values, np.array([1e6, 0.1, 0.0, 0.0])) == 1
    assert futures._differ(np.array(["a", None], object), np.array(["a", None], object)) == 0
    assert futures._differ(np.array(["a", None], object), np.array(["b", "c"], object)) == 2


# --- 2. and 3. held-out rows ------------------------------------------------------------------------


def test_an_encoder_fitted_on_all_rows_is_caught(recipe: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = experiments.fit_encoder
    monkeypatch.setattr(
        experiments, "fit_encoder", lambda matrix, train: honest(matrix, np.arange(len(matrix)))
    )
    said = failures(recipe)
    assert "encoder changes when validation and test rows are scrambled" in said
    assert "encoder changes when test rows are scrambled" in said


def test_a_label_quantile_fitted_on_all_rows_is_caught(
    recipe: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = experiments.labels

    def all_rows(
        target: Any, values: Any, eligible: Any, cutoffs: Any, train: Any, *rest: Any
    ) -> tuple[Any, Any]:
        return honest(target, values, eligible, cutoffs, np.ones_like(train), *rest)

    monkeypatch.setattr(experiments, "labels", all_rows)
    assert "labels of top changes when validation and test rows are scrambled" in failures(recipe)


@pytest.fixture
def stash(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A copy of all labels, test rows included, taken before the door closes."""
    found: dict[str, Any] = {}
    honest = experiments.label_all

    def copying(*arguments: Any) -> Any:
        tasks, y, states = honest(*arguments)
        found["y"] = y.copy()
        return tasks, y, states

    monkeypatch.setattr(experiments, "label_all", copying)
    return found


def test_thresholds_and_calibration_tuned_on_the_test_are_caught(
    recipe: Config, stash: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = experiments.judge_validation

    def peeking(config: Config, outcome: Outcome, name: str, seconds: float, held: Held) -> None:
        n, y = outcome.n_valid, outcome.y
        outcome.n_valid, outcome.y = len(held.X), stash["y"][outcome.rows]
        honest(config, outcome, name, seconds, replace(held, fold=np.arange(len(held.X)) % 5))
        outcome.n_valid, outcome.y = n, y

    monkeypatch.setattr(experiments, "judge_validation", peeking)
    said = failures(recipe)
    assert "threshold of logistic on top changes when test rows are scrambled" in said
    assert "calibration of logistic on top changes when test rows are scrambled" in said
    assert not any(text.startswith("model ") for text in said)


def test_early_stopping_on_the_test_is_caught(
    recipe: Config, stash: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = experiments.fit

    def stops_on_the_test(name: str, model: Any, material: Material, *rest: Any) -> Any:
        both = material.valid.X.base  # validation and test rows lie in one array
        test = both[len(material.valid.X) :]
        return honest(name, model, replace(material, valid=Batch(test, stash["y"][-len(test) :])), *rest)

    monkeypatch.setattr(experiments, "fit", stops_on_the_test)
    said = failures(recipe)
    assert "model lightgbm changes when test rows are scrambled" in said
    assert not any(text.startswith(("model forest", "model logistic changes")) for text in said)


def test_a_model_that_looks_at_held_out_features_is_caught(
    recipe: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scaling by validation rows as well: no label is needed for that leak."""
    honest = experiments.fit

    def scaled(name: str, model: Any, material: Material, *rest: Any) -> Any:
        if name != "logistic":
            return honest(name, model, material, *rest)
        mean = np.nanmean(material.valid.X.base, axis=0)
        train = Batch(material.train.X - mean, material.train.y)
        return honest(name, model, replace(material, train=train), *rest)

    monkeypatch.setattr(experiments, "fit", scaled)
    said = failures(recipe)
    assert "model logistic changes when test rows are scrambled" in said


def test_the_sample_is_given_up_where_a_class_is_too_rare_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = clean(2_000)
    frame["y"] = np.where(np.arange(2_000) % 250 == 0, "yes", "no")
    monkeypatch.setattr(futures, "ROWS", 200)
    assert failures(flat(tmp_path, frame, split={"kind": "random", "stratify": "y"})) == []


def test_a_large_cohort_is_proved_on_a_sample_of_its_entities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(futures, "ROWS", 100)
    proofs = all_proofs(dated(tmp_path, *people(), features={"history": HISTORY}), quiet)
    assert all(proof.holds for proof in proofs)
    rows = [int(count) for count in re.findall(r"features of (\d+) rows", "\n".join(p.text for p in proofs))]
    assert len(rows) == 3
    assert all(50 < count < 150 for count in rows)  # of about 560
