"""Which rows train, validate and test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Work
from pydantic import TypeAdapter
from small import clean, experiment, flat

from toolkit import plan
from toolkit.config.schema import Config, Split
from toolkit.config.time import span
from toolkit.errors import ConfigError, DataError, LeakError
from toolkit.training.split import TEST, TRAIN, UNUSED, VALIDATION, Assignment, assign

KEYS = np.array([f"{n:04d}" for n in range(400)], dtype=object)
MONTHS = np.array([f"2023-{m:02d}-01" for m in range(1, 13)], "datetime64[us]")
ENTITY, CUTOFF = np.tile(KEYS, 12), np.repeat(MONTHS, 400)


def split(declared: dict[str, Any], horizon: str | None = "1 month", **more: Any) -> list[Assignment]:
    node = TypeAdapter(Split).validate_python(declared)
    rows = {"entity": ENTITY, "cutoff": CUTOFF, "seed": 1} | more
    return assign(node, horizons=[span(horizon)] if horizon else [], **rows)


def months(found: Assignment, part: int, cutoff: np.ndarray = CUTOFF) -> list[int]:
    return sorted(set((cutoff[found.rows(part)].astype("datetime64[M]").astype(int) % 12 + 1).tolist()))


def people(found: Assignment, part: int, entity: np.ndarray = ENTITY) -> set[str]:
    return set(entity[found.rows(part)])


def test_the_latest_cutoff_tests_and_the_gap_is_the_horizon() -> None:
    (found,) = split({"kind": "temporal"}, "3 months")
    assert months(found, TEST) == [12]
    assert months(found, TRAIN) == months(found, VALIDATION) == list(range(1, 10))
    assert months(found, UNUSED) == [10, 11]  # their labels are not known yet on 1 December
    assert not people(found, TRAIN) & people(found, VALIDATION)


def test_validation_by_cutoff_keeps_the_gap_on_both_sides() -> None:
    declared = {"kind": "temporal", "test": {"cutoffs": 2}, "validation": {"cutoffs": 2}}
    (found,) = split(declared, "2 months")
    assert (months(found, TEST), months(found, VALIDATION)) == ([11, 12], [8, 9])
    assert (months(found, TRAIN), months(found, UNUSED)) == ([1, 2, 3, 4, 5, 6], [7, 10])


def test_a_fraction_lets_the_newest_labels_train_and_whole_cutoffs_validate_on_them() -> None:
    (dealt,) = split({"kind": "temporal", "validation": {"fraction": 0.2}})
    (later,) = split({"kind": "temporal", "validation": {"cutoffs": 1}})
    assert (max(months(dealt, TRAIN)), max(months(later, TRAIN))) == (11, 10)
    assert (months(dealt, VALIDATION), months(later, VALIDATION)) == (list(range(1, 12)), [11])
    assert people(later, TRAIN) == people(later, VALIDATION)  # only the fraction holds entities apart


def test_a_longer_gap_is_kept_and_a_shorter_one_refused() -> None:
    (found,) = split({"kind": "temporal", "gap": "6 months"}, "1 month")
    assert months(found, TRAIN) == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ConfigError, match="shorter than the horizon") as error:
        split({"kind": "temporal", "gap": "1 month"}, "3 months")
    assert error.value.where == "split.gap"
    assert error.value.fix


def test_without_a_horizon_all_earlier_cutoffs_serve() -> None:
    (found,) = split({"kind": "temporal"}, None)
    assert months(found, TRAIN) == list(range(1, 12))


def test_spans_are_measured_on_the_calendar_of_the_zone() -> None:
    """In New York 1 March to 1 April is a month, although in UTC an hour is missing."""
    local = np.array(["2023-02-01T05", "2023-03-01T05", "2023-04-01T04"], "datetime64[us]").repeat(400)
    rows = {"entity": np.tile(KEYS, 3), "cutoff": local, "zone": "America/New_York"}
    (found,) = split({"kind": "temporal"}, "1 month", **rows)
    assert months(found, TRAIN, local) == [2, 3]
    (found,) = split({"kind": "temporal"}, "1 month", **{**rows, "zone": "UTC"})
    assert months(found, TRAIN, local) == [2]


def test_a_backtest_is_several_temporal_splits_the_newest_last() -> None:
    found = split({"kind": "rolling", "folds": 3}, "2 months")
    assert [f.name for f in found] == ["fold 1", "fold 2", "fold 3"]
    assert [months(f, TEST) for f in found] == [[10], [11], [12]]
    assert [max(months(f, TRAIN)) for f in found] == [8, 9, 10]
    assert months(found[0], UNUSED) == [9, 11, 12]
    assert people(found[0], VALIDATION) == people(found[2], VALIDATION)


def test_grouped_keeps_all_rows_of_an_entity_together() -> None:
    (found,) = split({"kind": "grouped", "test": 0.25, "validation": 0.25})
    parts = [people(found, part) for part in (TRAIN, VALIDATION, TEST)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 400
    assert np.allclose([len(p) / 400 for p in parts], [0.5, 0.25, 0.25], atol=0.06)
    assert months(found, TEST) == months(found, TRAIN) == list(range(1, 13))


@pytest.mark.parametrize("declared", [{"kind": "grouped"}, {"kind": "random"}, {"kind": "temporal"}])
def test_an_entitys_lot_does_not_depend_on_the_others(declared: dict[str, Any]) -> None:
    (all_of_them,) = split(declared)
    order = np.random.default_rng(0).permutation(len(ENTITY))
    kept = order[np.isin(ENTITY[order], KEYS[::3])]  # two thirds gone, rows in another order
    (some,) = split(declared, entity=ENTITY[kept], cutoff=CUTOFF[kept])
    np.testing.assert_array_equal(some.part, all_of_them.part[kept])


def test_another_seed_deals_anew_and_the_same_seed_the_same() -> None:
    first, again, other = (split({"kind": "grouped"}, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.part, again.part)
    assert people(first, TEST) != people(other, TEST)


def test_keys_that_look_alike_are_dealt_apart() -> None:
    keys = np.array([k for n in range(500) for k in (str(n), f"00{n}")], dtype=object)
    (found,) = split({"kind": "grouped"}, entity=keys, cutoff=np.full(1000, np.datetime64("NaT")))
    differing = (found.part[::2] != found.part[1::2]).mean()
    assert 0.4 < differing < 0.7  # 1 - (0.6² + 0.2² + 0.2²) = 0.56


def test_stratified_keeps_the_share_of_each_class_in_every_part() -> None:
    strata = np.where(np.arange(400) % 20 == 0, "yes", "no").astype(object)  # 20 of 400
    strata[7] = None
    none = np.full(400, np.datetime64("NaT"))
    declared = {"kind": "random", "test": 0.2, "validation": 0.2, "stratify": "label"}
    (found,) = split(declared, entity=KEYS, cutoff=none, strata=strata)
    yes = strata == "yes"
    assert [int((found.rows(part) & yes).sum()) for part in (TRAIN, VALIDATION, TEST)] == [12, 4, 4]
    many = {"entity": ENTITY, "cutoff": CUTOFF, "strata": np.tile(strata, 12)}
    (found,) = split(declared, **many)
    assert not people(found, TRAIN) & people(found, TEST)
    assert len(people(found, TEST) & set(KEYS[yes])) == 4


@pytest.mark.parametrize(
    ("declared", "horizon", "where", "says"),
    [
        ({"kind": "temporal"}, "2 years", "split", "no cutoff lies 2 years before"),
        ({"kind": "temporal", "test": {"cutoffs": 12}}, "1 month", "split", "needs 13 cutoffs"),
        ({"kind": "rolling", "folds": 12}, "1 month", "split", "needs 13 cutoffs"),
        ({"kind": "temporal", "validation": {"cutoffs": 11}}, "1 month", "split.validation", "too few"),
        ({"kind": "temporal", "validation": {"cutoffs": 2}}, "9 months", "split.validation", "too few"),
    ],
)
def test_what_cannot_be_split_is_refused_with_the_fix(
    declared: dict[str, Any], horizon: str, where: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        split(declared, horizon)
    assert error.value.where == where
    assert error.value.fix


def test_an_empty_part_is_refused() -> None:
    with pytest.raises(DataError, match="no rows for train") as error:
        split({"kind": "grouped", "test": 0.5, "validation": 0.5})
    assert "train: 0" in str(error.value)


def test_every_horizon_has_ended_before_the_test_not_only_the_longest_on_average() -> None:
    """30 days from 1 February end on 3 March, a month ends on 1 March."""
    node = TypeAdapter(Split).validate_python({"kind": "temporal"})
    moments = np.repeat(np.array(["2022-01-01", "2022-02-01", "2022-03-01"], "datetime64[us]"), 400)
    entity = np.tile(KEYS, 3)
    (found,) = assign(node, entity, moments, [span("30d"), span("1 month")], 1)
    assert months(found, TRAIN, moments) == [1]
    assert months(found, UNUSED, moments) == [2]
    (month_only,) = assign(node, entity, moments, [span("1 month")], 1)
    assert months(month_only, TRAIN, moments) == [1, 2]


def test_horizons_are_measured_on_the_calendar_of_the_cohorts_zone() -> None:
    """A month from 1 March in Tokyo ends on 1 April in Tokyo; from the instant in UTC it would end on 28 March."""
    node = TypeAdapter(Split).validate_python({"kind": "temporal"})
    stamps = np.array(["2023-01-31T15:00", "2023-02-28T15:00", "2023-03-28T15:00"], "datetime64[us]")
    moments, entity = np.repeat(stamps, 400), np.tile(KEYS, 3)
    (found,) = assign(node, entity, moments, [span("1 month")], 1, zone="Asia/Tokyo")
    assert set(moments[found.rows(UNUSED)]) == {stamps[1]}


@pytest.mark.parametrize(
    "strata",
    [
        np.random.default_rng(0).normal(size=400),
        np.array([f"class {n // 2}" for n in range(400)], dtype=object),
    ],
    ids=["a number", "200 classes of two"],
)
def test_stratified_leaves_every_part_its_share_whatever_the_label(strata: np.ndarray) -> None:
    declared = {"kind": "random", "test": 0.2, "validation": 0.2, "stratify": "label"}
    (found,) = split(declared, None, entity=KEYS, cutoff=np.full(400, np.datetime64("NaT")), strata=strata)
    counts = found.counts()
    assert counts["test"] == pytest.approx(80, abs=10)
    assert counts["validation"] == pytest.approx(80, abs=10)
    if strata.dtype != object:
        means = [strata[found.rows(part)].mean() for part in (TRAIN, VALIDATION, TEST)]
        assert max(means) - min(means) < 0.1  # unstratified, a mean of 80 has a standard error of 0.11


# --- by a column ------------------------------------------------------------------------------------

SAID = np.array(
    [*["fit"] * 200, *["tune"] * 100, *["judge"] * 60, *["later"] * 30, *[None] * 10], dtype=object
)
BY_PART = {"kind": "column", "column": "part", "train": "fit", "validation": "tune", "test": "judge"}


def parted(folder: Path, **split: str) -> Config:
    """A flat table of 400 rows whose column `part` says what each is for."""
    return flat(folder, clean(400).assign(part=SAID), split=BY_PART | split)


def test_a_column_says_who_trains_and_all_other_values_are_unused() -> None:
    (found,) = split(BY_PART, entity=KEYS, cutoff=np.full(400, np.datetime64("NaT")), said=SAID)
    assert found.counts() == {"train": 200, "validation": 100, "test": 60, "unused": 40}
    assert (found.part[[0, 200, 300, 360, 390]] == [TRAIN, VALIDATION, TEST, UNUSED, UNUSED]).all()


def test_the_columns_values_reach_their_rows_and_it_is_no_feature(tmp_path: Path) -> None:
    frame = clean(400).assign(part=SAID, id=np.random.default_rng(5).permutation(400))
    made = experiment(flat(tmp_path, frame, split=BY_PART))
    (found,) = made.prepared.assignments
    wanted = frame.set_index(frame["id"].astype(str))["part"].loc[made.prepared.matrix.entity]
    for part, value in ((TRAIN, "fit"), (VALIDATION, "tune"), (TEST, "judge")):
        assert (found.rows(part) == (wanted == value).to_numpy()).all()
    assert [feature.column for feature in made.prepared.compiled.features] == [
        name for name in clean(10) if name != "y"
    ]
    lines = plan.cohort(made.config, made.prepared)
    assert lines[-1] == "  split test: train 200, validation 100, test 60, unused 40"


def test_values_are_compared_as_texts(tmp_path: Path) -> None:
    declared = BY_PART | {"train": "0", "validation": "1", "test": "2"}
    made = experiment(flat(tmp_path, clean(400).assign(part=np.arange(400) % 4), split=declared))
    assert set(made.prepared.assignments[0].counts().values()) == {100}


def test_a_feature_made_of_the_column_is_refused(tmp_path: Path) -> None:
    frame = clean(400).assign(part=SAID)
    named = {"all": {"kind": "attributes", "table": "rows", "columns": ["age", "part"]}}
    with pytest.raises(
        LeakError, match=r"`all.part` is made of `rows.part`, which decides the split"
    ) as error:
        experiment(flat(tmp_path, frame, split=BY_PART, features=named))
    assert error.value.where == "features.all"
    with pytest.raises(LeakError, match="which target `y` derives from") as error:  # the label splits
        experiment(flat(tmp_path, frame, split=BY_PART | {"column": "y"}))
    assert error.value.where == "split"


def test_a_column_that_is_not_there_and_a_part_without_rows_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="table `rows` has no column `prat`") as wrong:
        experiment(parted(tmp_path, column="prat"))
    assert (wrong.value.where, "part" in str(wrong.value.fix)) == ("split.column", True)
    with pytest.raises(DataError, match="no row has `part` = `jugde`") as error:
        experiment(parted(tmp_path, test="jugde"))
    assert error.value.where == "split.test"
    assert (
        error.value.why == "found: `fit` (200 rows), `tune` (100 rows), `judge` (60 rows), `later` (30 rows)"
    )
    assert "did you mean `judge`" in str(error.value.fix)
    with pytest.raises(ValueError, match="three different values"):
        parted(tmp_path, test="fit")


def test_new_rows_need_not_say_what_they_are_for(work: Work) -> None:
    """Nothing of the split is in a bundle."""
    frame = clean(400).assign(part=SAID, label=lambda rows: rows["y"]).drop(columns="y")
    frame.assign(id=range(400)).to_csv(work.folder / "data/rows.csv", index=False)
    said = work.run("recipe=flat", "split=column", *(f"split.{key}={value}" for key, value in BY_PART.items()),
                    "report.html=false", "report.explain=false")  # fmt: skip
    assert said.code == 0, said.err
    (run,) = work.runs()
    (work.folder / "new").mkdir()
    new = clean(50, seed=1).drop(columns="y")
    new.assign(id=range(50)).to_csv(work.folder / "new/rows.csv", index=False)
    said = work.run("score", f"run={run}", "input=new", "output=scored")
    assert said.code == 0, said.err
    assert len(pd.read_parquet(work.folder / "scored/scores.parquet")) == 50
