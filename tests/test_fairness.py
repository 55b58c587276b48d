"""Fairness figures and thresholds by group: what the numbers are, and when there are none."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from toolkit.config.fairness import MEASURES, Fairness, Gate, Mitigation
from toolkit.errors import ConfigError
from toolkit.evaluation import fairness
from toolkit.evaluation.bootstrap import EntityBootstrap, interval
from toolkit.evaluation.fairness import coarse, compare
from toolkit.prepare.protected import bin_names
from toolkit.training.mitigation import GroupThresholds, able_groups, choose_by_group, decide_by_group
from toolkit.training.threshold import FillCapacity, MaximiseF1, MinimiseCost, ReachPrecision, choose

SEX = Mitigation(attribute="sex", constraint="demographic_parity")
CHANCES = Mitigation(attribute="sex", constraint="equal_opportunity")


def world(rows: int = 2_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, pd.Categorical]:
    """y, decision, score and groups a, b, c, of which c says yes, scores and is selected least."""
    rng = np.random.default_rng(seed)
    code = rng.choice(3, rows, p=[0.5, 0.3, 0.2])
    hidden = rng.normal(0, 1, rows) - 0.6 * code
    y = (hidden + rng.normal(0, 1, rows) > 0).astype(float)
    return y, hidden > 0.3, hidden, pd.Categorical.from_codes(code, categories=["a", "b", "c"])


class TestFigures:
    def test_are_those_that_one_counts_by_hand(self) -> None:
        """a: 4 of 10 selected, 5 say yes, 3 of them selected; b: 2 of 10, 5 say yes, 1 of them selected."""
        y = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0] * 2, float)
        decision = np.array([1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0], bool)
        found = compare(y, decision, pd.Categorical(["a"] * 10 + ["b"] * 10), attribute="g", least=1)
        assert [group.rows for group in found.groups] == [10, 10]
        a, b = (group.rates for group in found.groups)
        assert (a["base_rate"], a["selection_rate"]) == (0.5, 0.4)
        assert (a["true_positive_rate"], a["false_positive_rate"]) == (0.6, 0.2)
        assert (b["true_positive_rate"], b["false_positive_rate"]) == (0.2, 0.2)
        values = {one.name: round(one.value, 12) for one in found.measures}
        assert values == {
            "demographic_parity_difference": 0.2, "demographic_parity_ratio": 0.5, "equal_opportunity_difference": 0.4,
            "equalized_odds_difference": 0.4, "disparate_impact": 0.5,
        }  # fmt: skip
        assert found.reference == "a"
        assert (found.of("disparate_impact").low, found.of("disparate_impact").high) == ("b", "a")

    @pytest.mark.parametrize("seed", range(5))
    def test_the_rates_of_replicates_agree_with_fairlearn(self, seed: int) -> None:
        y, decision, _, groups = world(seed=seed)
        found = compare(y, decision, groups, attribute="g", least=1)
        counts = np.stack(
            [fairness._counts(y, decision, groups == name) for name in groups.categories], axis=1
        )
        rates = fairness._rates(counts)
        for place, group in enumerate(found.groups):
            for name, value in group.rates.items():
                assert rates[name][place] == pytest.approx(value, abs=1e-12), name

    def test_intervals_hold_the_figure_and_draw_entities_with_all_their_rows(self) -> None:
        y, decision, _, groups = world(1_000)
        alone = EntityBootstrap(np.arange(1_000), 400, seed=1)
        found = compare(y, decision, groups, attribute="g", least=1, boot=alone)
        for one in found.measures:
            assert one.interval[0] <= one.value <= one.interval[1], one
        five = np.repeat(np.arange(1_000), 5)  # each row five times says no more than once
        repeated = compare(
            y[five],
            decision[five],
            groups[five],
            attribute="g",
            least=1,
            boot=EntityBootstrap(five, 400, seed=1),
        )
        wrong = compare(
            y[five], decision[five], groups[five], attribute="g", least=1, boot=EntityBootstrap(np.arange(5_000), 400, seed=1)
        )  # fmt: skip

        def width(one: fairness.Comparison) -> float:
            low, high = one.of("demographic_parity_ratio").interval
            return high - low

        assert width(repeated) == pytest.approx(width(found), rel=1e-9)
        assert width(wrong) < 0.6 * width(found)  # what drawing rows would claim

    @pytest.mark.parametrize("many", [2, 5])
    def test_intervals_hold_the_truth_where_groups_are_equal(self, many: int) -> None:
        """Nobody is treated differently, so every difference is 0 and every ratio 1. Percentiles would never say so."""
        held, by_percentiles, worlds = dict.fromkeys(MEASURES, 0), 0, 20
        for seed in range(worlds):
            rng = np.random.default_rng(seed)
            groups = pd.Categorical(rng.choice(list("abcde")[:many], 1_500))
            y, decision = (rng.random(1_500) < 0.4).astype(float), rng.random(1_500) < 0.3
            boot = EntityBootstrap(np.arange(1_500), 100, seed)
            found = compare(y, decision, groups, attribute="g", least=1, boot=boot)
            for one in found.measures:
                low, high = one.interval
                assert low <= one.value <= high
                held[one.name] += low == 0 if "difference" in one.name else low <= 1 <= high
            draws = [fairness._draws(boot, y, decision, groups == name) for name in groups.categories]
            rate = np.stack([fairness._rates(drawn)["selection_rate"] for drawn in draws])
            by_percentiles += interval(rate.max(axis=0) - rate.min(axis=0))[0] <= 1e-4
        assert min(held.values()) >= 0.85 * worlds, held
        assert by_percentiles < 0.5 * worlds

    def test_where_all_or_none_are_selected_the_replicates_do_not_tell(self) -> None:
        y, decision, _, groups = world(600)
        decision = np.where(groups == "c", False, decision)
        found = compare(
            y, decision, groups, attribute="g", least=1, boot=EntityBootstrap(np.arange(600), 100)
        )
        none = next(group for group in found.groups if group.name == "c")
        assert none.rates["selection_rate"] == 0
        assert none.intervals["selection_rate"] == pytest.approx((0, 3.84 / (none.rows + 3.84)), abs=1e-3)
        for measure in ("demographic_parity_ratio", "disparate_impact"):
            assert found.of(measure).value == 0
            assert np.isnan(found.of(measure).interval).all()
        assert np.isnan(none.impact_interval).all()

    def test_a_declared_reference_may_be_selected_less_than_others(self) -> None:
        y, decision, _, groups = world()
        found = compare(y, decision, groups, attribute="g", least=1, reference="b")
        a, b, c = (group.rates["selection_rate"] for group in found.groups)
        assert [group.impact for group in found.groups] == pytest.approx([a / b, 1.0, c / b])
        assert found.of("disparate_impact").value == pytest.approx(min(a, c) / b)
        assert found.of("demographic_parity_ratio").value == pytest.approx(c / a)


class TestWhatCannotBeTold:
    def test_small_groups_are_withheld_and_not_compared(self) -> None:
        y, decision, _, groups = world()
        codes = np.where(np.arange(len(y)) < 30, 3, groups.codes)
        four = pd.Categorical.from_codes(codes, categories=["a", "b", "c", "few"])
        found = compare(y, decision, four, attribute="g", least=50)
        few = found.groups[-1]
        assert (few.name, few.rows, few.rates, few.withheld) == ("few", None, {}, "fewer than 50 rows")
        assert "few" not in {one.low for one in found.measures} | {one.high for one in found.measures}

    def test_what_the_totals_would_tell_of_a_withheld_group_is_rounded_away(self) -> None:
        y, decision, _, groups = world()
        codes = np.where(np.arange(len(y)) < 30, 3, groups.codes)
        four = pd.Categorical.from_codes(codes, categories=["a", "b", "c", "few"])
        exact = compare(y, decision, four, attribute="g", least=50)
        assert exact.coarse
        told = coarse(exact)
        assert all(group.rows % 10 == 0 for group in told.groups if group.rows is not None)
        assert all(round(value, 2) == value for group in told.groups for value in group.rates.values())
        assert all(round(one.value, 2) == one.value for one in told.measures)
        whole = compare(y, decision, groups, attribute="g", least=50)
        assert coarse(whole) is whole  # nothing is hidden, and nothing rounded

    def test_unknown_is_a_group_that_is_shown_and_not_compared(self) -> None:
        y, decision, _, groups = world()
        gone = np.arange(len(y)) % 4 == 0
        some = pd.Categorical.from_codes(np.where(gone, -1, groups.codes), categories=groups.categories)
        found = compare(y, decision & ~gone, some, attribute="g", least=50)  # nobody unknown is selected
        assert found.unknown == 0.25
        assert found.groups[-1].name == "unknown"
        assert found.groups[-1].rates["selection_rate"] == 0
        assert found.of("demographic_parity_ratio").value > 0

    def test_a_group_that_is_called_unknown_is_one_like_others(self) -> None:
        y, decision, _, groups = world()
        gone = np.arange(len(y)) % 4 == 0
        named = groups.rename_categories({groups.categories[0]: "unknown"})
        some = pd.Categorical.from_codes(np.where(gone, -1, groups.codes), categories=named.categories)
        found = compare(y, decision, some, attribute="g", least=50)
        plain = compare(
            y, decision, pd.Categorical.from_codes(some.codes, groups.categories), attribute="g", least=50
        )
        assert [g.name for g in found.groups] == ["unknown", *(g.name for g in plain.groups[1:-1]), "missing"]
        assert [g.rates for g in found.groups] == [g.rates for g in plain.groups]
        assert found.of("demographic_parity_ratio").value == plain.of("demographic_parity_ratio").value
        assert [g.name for g in found.known] == list(named.categories)

    def test_an_attribute_that_most_rows_lack_is_not_compared(self) -> None:
        y, decision, _, groups = world()
        gone = np.arange(len(y)) % 10 < 6
        some = pd.Categorical.from_codes(np.where(gone, -1, groups.codes), categories=groups.categories)
        found = compare(y, decision, some, attribute="g", least=50)
        assert found.measures == []
        assert found.not_compared == "`g` is unknown for 60% of the rows"

    def test_one_group_is_no_comparison(self) -> None:
        y, decision, _, groups = world()
        alone = pd.Categorical(["a"] * len(y))
        assert "one group only, `a`" in compare(y, decision, alone, attribute="g", least=50).not_compared
        found = compare(y, decision, groups, attribute="g", least=900)
        assert found.not_compared == "only `a` has 900 rows or more"

    def test_a_group_without_positives_is_left_out_of_what_looks_at_them_by_name(self) -> None:
        y, decision, _, groups = world()
        y[groups == "b"] = 0
        found = compare(y, decision, groups, attribute="g", least=50)
        b = found.groups[1]
        assert b.undefined["true_positive_rate"] == "no positives"
        assert np.isnan(b.rates["true_positive_rate"])
        equal = found.of("equal_opportunity_difference")
        assert equal.left_out == ("b",)
        assert {equal.low, equal.high} == {"a", "c"}
        assert found.of("demographic_parity_ratio").left_out == ()
        y[groups == "c"] = 0
        found = compare(y, decision, groups, attribute="g", least=50)
        assert "fewer than two groups" in found.of("equal_opportunity_difference").undefined

    def test_where_nobody_is_selected_there_is_no_ratio(self) -> None:
        y, decision, _, groups = world()
        found = compare(y, decision & False, groups, attribute="g", least=50)
        assert found.of("demographic_parity_difference").value == 0
        assert found.of("demographic_parity_ratio").undefined == "nobody is selected"
        assert found.groups[0].undefined["precision"] == "nobody selected"

    def test_without_fairlearn_the_error_names_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fairness.need_fairlearn()
        monkeypatch.setattr(fairness, "find_spec", lambda name: None)
        with pytest.raises(ConfigError, match="fairlearn") as caught:
            fairness.need_fairlearn()
        assert "pip install 'toolkit[fairness]'" in str(caught.value)


class TestDeclarations:
    def test_a_gate_is_bounded_on_the_side_that_its_measure_has(self) -> None:
        with pytest.raises(ValueError, match="takes `at_least`"):
            Gate(attribute="sex", measure="demographic_parity_ratio", at_most=0.8)
        with pytest.raises(ValueError, match="takes `at_most`"):
            Gate(attribute="sex", measure="equal_opportunity_difference", at_least=0.1)

    def test_gates_and_mitigation_name_declared_attributes(self) -> None:
        gate = {"attribute": "sx", "measure": "disparate_impact", "at_least": 0.8}
        with pytest.raises(ValueError, match="no protected attribute is called `sx`; did you mean `sex`"):
            Fairness.model_validate({"attributes": {"sex": {"column": "sex"}}, "gates": [gate]})
        with pytest.raises(ValueError, match="no protected attribute is called `race`"):
            Fairness.model_validate(
                {"attributes": {"sex": {"column": "sex"}}, "mitigation": {"attribute": "race", "constraint": "equal_opportunity"}}
            )  # fmt: skip

    def test_bins_increase_and_are_named_by_their_edges(self) -> None:
        with pytest.raises(ValueError, match="edges must increase"):
            Fairness.model_validate({"attributes": {"age": {"column": "age", "bins": [60, 30]}}})
        assert bin_names([30, 45.5]) == ["under 30", "30 to under 45.5", "45.5 or more"]

    def test_a_feature_is_named_as_one(self) -> None:
        with pytest.raises(ValueError, match="as_feature: true"):
            Fairness.model_validate({"attributes": {"tier": {"feature": "spend.sum_all"}}})


def shares(decision: np.ndarray, groups: pd.Categorical, among: np.ndarray | None = None) -> np.ndarray:
    use = np.ones(len(decision), bool) if among is None else among
    return np.array([decision[use & (groups == name)].mean() for name in groups.categories])


class TestThresholdsByGroup:
    def found(self, wanted: object, mitigation: Mitigation, **world_of: int) -> tuple[GroupThresholds, tuple]:
        y, _, score, groups = world(**world_of)
        common = choose(wanted, y, score)
        able = able_groups(mitigation, y, groups, 50)
        return choose_by_group(wanted, mitigation, common, y, score, groups, able), (y, score, groups)

    def decided(self, chosen: GroupThresholds, score: np.ndarray, groups: pd.Categorical) -> np.ndarray:
        rows = len(score)
        return decide_by_group(chosen, score, groups, np.zeros(rows), np.arange(rows), np.ones(rows, bool))

    def test_select_the_same_share_of_every_group(self) -> None:
        chosen, (_, score, groups) = self.found(MaximiseF1(), SEX)
        rates = shares(self.decided(chosen, score, groups), groups)
        smallest = min((groups == name).sum() for name in groups.categories)
        assert np.ptp(rates) <= 1 / smallest
        assert np.ptp(shares(score >= chosen.common.value, groups)) > 0.2  # what one threshold does

    def test_select_the_same_share_of_every_groups_positives(self) -> None:
        chosen, (y, score, groups) = self.found(MaximiseF1(), CHANCES)
        positive = y == 1
        rates = shares(self.decided(chosen, score, groups), groups, positive)
        fewest = min((positive & (groups == name)).sum() for name in groups.categories)
        assert np.ptp(rates) <= 1 / fewest
        assert np.ptp(shares(score >= chosen.common.value, groups, positive)) > 0.1

    def test_have_the_best_f1_of_all_that_keep_the_constraint(self) -> None:
        """Every pair of thresholds of two small groups, by brute force."""
        y, _, score, groups = world(120, seed=3)
        two = groups != "c"
        y, score, groups = y[two], score[two], groups[two].remove_categories(["c"])
        common = choose(MaximiseF1(), y, score)
        chosen = choose_by_group(MaximiseF1(), SEX, common, y, score, groups, ["a", "b"])
        mine = self.decided(chosen, score, groups)

        def f1(decision: np.ndarray) -> float:
            return 2 * (decision & (y == 1)).sum() / (decision.sum() + y.sum())

        near, best = np.ptp(shares(mine, groups)), 0.0
        for a, b in itertools.product(score[groups == "a"], score[groups == "b"]):
            decision = np.where(groups == "a", score >= a, score >= b)
            if np.ptp(shares(decision, groups)) <= near + 1e-12:
                best = max(best, f1(decision))
        assert f1(mine) == pytest.approx(best)

    @pytest.mark.parametrize(
        "wanted",
        [
            MinimiseCost(kind="minimise_cost", false_positive=1, false_negative=4),
            ReachPrecision(kind="reach_precision", precision=0.75),
        ],
    )
    def test_do_what_the_declared_threshold_is_for(self, wanted: object) -> None:
        chosen, (y, score, groups) = self.found(wanted, SEX)
        decision = self.decided(chosen, score, groups)
        assert np.ptp(shares(decision, groups)) < 0.01
        if isinstance(wanted, ReachPrecision):
            assert y[decision].mean() >= 0.75
        else:  # false negatives cost more, so more are selected than with the best F1
            plain, _ = self.found(MaximiseF1(), SEX)
            assert decision.sum() > self.decided(plain, score, groups).sum()

    def test_a_row_is_decided_alike_whatever_stands_beside_it(self) -> None:
        chosen, (_, score, groups) = self.found(MaximiseF1(), CHANCES)
        whole, some = (
            self.decided(chosen, score, groups),
            np.random.default_rng(0).permutation(len(score))[:77],
        )
        assert (self.decided(chosen, score[some], groups[some]) == whole[some]).all()

    def test_small_groups_and_rows_of_none_keep_the_common_threshold(self) -> None:
        y, _, score, groups = world()
        codes = np.where(np.arange(len(y)) < 20, 3, groups.codes).astype(int)
        codes[20:40] = -1
        four = pd.Categorical.from_codes(codes, categories=["a", "b", "c", "few"])
        able = able_groups(SEX, y, four, 50)
        assert able == ["a", "b", "c"]
        chosen = choose_by_group(MaximiseF1(), SEX, choose(MaximiseF1(), y, score), y, score, four, able)
        assert (self.decided(chosen, score, four)[:40] == (score[:40] >= chosen.common.value)).all()
        assert "the common threshold for few" in chosen.reason

    def test_travel_as_plain_numbers(self) -> None:
        chosen, _ = self.found(MaximiseF1(), SEX)
        assert GroupThresholds.from_dict(chosen.to_dict()) == chosen

    @pytest.mark.parametrize("mitigation", [SEX, CHANCES])
    def test_a_capacity_is_filled_exactly_in_every_list_and_dealt_in_proportion(
        self, mitigation: Mitigation
    ) -> None:
        y, _, score, groups = world()
        lists = np.repeat(["one", "two"], [1_500, 500])
        able = np.arange(len(y)) % 10 > 0
        wanted = FillCapacity(kind="fill_capacity", count=150)
        common = choose(wanted, y, score, lists, np.arange(len(y)))
        chosen = choose_by_group(wanted, mitigation, common, y, score, groups, list(groups.categories))
        decision = decide_by_group(chosen, score, groups, lists, np.arange(len(y)), able)
        assert not (decision & ~able).any()
        assert [decision[lists == name].sum() for name in ("one", "two")] == [150, 150]
        one = able & (lists == "one")
        if mitigation is SEX:
            assert np.ptp(shares(decision[one], groups[one])) < 0.01
        else:
            assert chosen.weights["a"] > 1 > chosen.weights["c"]  # who says yes more often has more places
        for name in groups.categories:  # the best of each group
            its = one & (groups == name)
            assert score[its & decision].min() >= score[its & ~decision].max()
        other = np.random.default_rng(0).permutation(len(y))
        again = decide_by_group(chosen, score[other], groups[other], lists[other], other, able[other])
        assert (again == decision[other]).all()  # the order of rows decides nothing

    def test_an_exhausted_group_leaves_its_places_to_the_others(self) -> None:
        common = replace(
            choose(FillCapacity(kind="fill_capacity", count=6), np.ones(9), np.arange(9.0)), count=6
        )
        chosen = GroupThresholds("g", "equal_opportunity", common, {}, {"a": 1.0, "b": 50.0}, "")
        groups = pd.Categorical(["a"] * 7 + ["b"] * 2)
        decision = decide_by_group(
            chosen, np.arange(9.0), groups, np.zeros(9), np.arange(9), np.ones(9, bool)
        )
        assert decision.tolist() == [False] * 3 + [True] * 6
