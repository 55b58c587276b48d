"""Tiers: declared cuts of the final probability, in every list and score, and judged on test rows that took no part."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import SHOP, Work, shop_files, write_files

from toolkit.cli.main import main
from toolkit.config.listing import Listing
from toolkit.evaluation.bootstrap import EntityBootstrap
from toolkit.evaluation.tiers import figures, judge, names_of, tier_of
from toolkit.report.summary import where

TIERS = {"low": 0.0, "medium": 0.3, "high": 0.6, "critical": 0.8}
LISTING = "file: calls\nsize: 1000\ntiers: {low: 0, medium: 0.15, high: 0.3, critical: 0.45}\n"
SOON = "kind: event_within\ntable: orders\nhorizon: 3 months\n"
WORDS = ["recipe=shop", "listing=calls", "target=[orders_soon,orders_again]", "coherent=[[orders_soon,orders_again]]",
         "evaluation.bootstrap=50", "engine.threads=1", "report.explain=false"]  # fmt: skip


def texts(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


class TestATier:
    def test_begins_at_its_probability_and_ends_below_the_next(self) -> None:
        p = np.array([0, 0.2999, 0.3, 0.5999, 0.6, 0.7999, 0.8, 1.0])
        assert tier_of(p, TIERS).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]

    def test_is_that_of_the_probability_as_lists_show_it(self) -> None:
        """A list shows six digits: a row at which one reads 0.6 must not be called medium."""
        assert names_of(np.array([0.5999996, 0.5999994]), TIERS) == ["high", "medium"]

    def test_is_none_where_the_target_does_not_apply(self) -> None:
        assert names_of(np.array([0.9, 0.9]), TIERS, np.array([True, False])) == ["critical", None]


class TestWhatItIsWorth:
    Y = np.array([0, 0, 1, 0, 1, 1, 1, np.nan])
    P = np.array([0.1, 0.2, 0.25, 0.35, 0.4, 0.7, 0.75, 0.9])

    def judged(self, boot: EntityBootstrap | None = None) -> dict[str, Any]:
        return figures(judge(self.Y, self.P, TIERS, np.arange(8), boot))

    def test_is_counted_on_labelled_rows(self) -> None:
        """By hand: medium has a no and a yes; from medium on 3 of 4 say yes, 3 of all 4, and 1 of all 3 that say no."""
        medium = self.judged()["medium"]
        assert (medium["from"], medium["rows"], medium["observed"]) == (0.3, 2, 0.5)
        assert medium["share"] == 2 / 7
        assert medium["mean_probability"] == pytest.approx(0.375)
        on = medium["on"]
        assert (on["rows"], on["precision"], on["recall"], on["false_positive_rate"]) == (
            4,
            0.75,
            0.75,
            1 / 3,
        )

    def test_counts_every_row_once_and_the_lowest_tier_acts_on_all(self) -> None:
        found = self.judged(EntityBootstrap(np.arange(8), 100, 1))
        assert sum(tier["rows"] for tier in found.values()) == 7
        on = found["low"]["on"]
        assert (on["rows"], on["recall"], on["false_positive_rate"]) == (7, 1, 1)

    def test_of_a_tier_without_a_row_nothing_is_said(self) -> None:
        critical = self.judged()["critical"]  # its only row has no label
        assert critical["rows"] == 0
        assert np.isnan(critical["observed"])
        assert np.isnan(critical["on"]["precision"])

    def test_a_tier_that_is_all_yes_is_not_said_to_be_certain(self) -> None:
        """Every replicate of three hits has only hits; three rows show no more than 44 % (Wilson, n = 3)."""
        y, p = np.array([1, 1, 1, *[0] * 40]), np.array([0.9] * 3 + [0.1] * 40)
        found = judge(y, p, TIERS, np.arange(43), EntityBootstrap(np.arange(43), 200, 1))[-1]
        assert found.observed == 1
        assert found.observed_interval[0] == pytest.approx(0.44, abs=0.01)

    def test_rows_of_one_entity_make_no_interval_narrower(self) -> None:
        draw = np.random.default_rng(2)
        p = draw.uniform(size=400)
        y = (draw.uniform(size=400) < p).astype(float)
        entity = np.arange(400)
        once = judge(y, p, TIERS, entity, EntityBootstrap(entity, 200, 1))[2].observed_interval
        y, p, entity = (np.repeat(values, 9) for values in (y, p, entity))
        often = judge(y, p, TIERS, entity, EntityBootstrap(entity, 200, 1))[2].observed_interval
        alone = judge(y, p, TIERS, entity, EntityBootstrap(np.arange(len(y)), 200, 1))[2].observed_interval
        assert often == pytest.approx(once)
        assert alone[1] - alone[0] < 0.6 * (once[1] - once[0])  # the control


class TestATable:
    @pytest.mark.parametrize(
        ("tiers", "what", "fix"),
        [
            ("{low: 0, high: 0.6, medium: 0.3}", "`medium` at 0.3 comes after `high` at 0.6", "low: 0, medium: 0.3"),
            ("{low: 0, medium: 0.3, high: 0.3}", "`medium` and `high` both begin at 0.3", "leave one of them out"),
            ("{medium: 0.3, high: 0.6}", "the lowest tier, `medium`, begins at 0.3", "write medium: 0"),
            ("{low: 0, certain: 1}", "`certain` begins at 1", "low: 0"),
            ("{low: 0, high: 60}", "`high` begins at 60", "low: 0"),
            ("{low: -0.1, high: 0.5}", "`low` begins at -0.1", "low: 0"),
            ("{low: 0, high: .nan}", "`high` begins at nan", "low: 0"),
            ("{low: 0, high: often}", "must be a number", ""),
        ],
    )  # fmt: skip
    def test_that_is_none_is_refused_with_file_and_line(
        self, work: Work, tiers: str, what: str, fix: str
    ) -> None:
        work.write({"conf/listing/calls.yaml": f"file: calls\ntiers: {tiers}\n"})
        message = work.refused("recipe=shop", "listing=calls")
        assert what in message
        assert fix in message
        assert "conf/listing/calls.yaml:2 (listing.tiers." in message

    def test_whose_target_is_unknown_or_no_yes_or_no_is_refused(self, work: Work) -> None:
        work.write({"conf/listing/calls.yaml": LISTING + "tiers_of: orders_agian\n", "conf/target/spends.yaml": (
            "kind: value\nof: {table: orders, agg: sum, column: amount, window: horizon}\nhorizon: 6 months\n")})  # fmt: skip
        message = work.refused("recipe=shop", "listing=calls")
        assert "conf/listing/calls.yaml:4 (listing.tiers_of)" in message
        assert "did you mean `orders_again`?" in message
        message = work.refused("recipe=shop", "listing=calls", "listing.tiers_of=null", "target=[spends]")
        assert "no target here is yes or no" in message

    def test_that_the_command_line_cannot_replace_says_so(self, work: Work) -> None:
        said = work.refused("show", "recipe=churn", "listing.tiers={low: 0, much: 0.5}")
        assert "`listing.tiers` has no key `much`" in said
        assert "'+listing.tiers.much=…' adds it" in said

    def test_keeps_its_order_through_a_bundles_json(self) -> None:
        listing = Listing(tiers=TIERS)
        again = Listing.model_validate(json.loads(json.dumps(listing.model_dump(mode="json"))))
        assert list(again.tiers) == list(TIERS)

    def test_of_one_target_does_not_judge_another(self) -> None:
        assert Listing(tiers=TIERS, tiers_of="a").tiers_for("b", "binary") == {}
        assert Listing(tiers=TIERS).tiers_for("b", "regression") == {}
        assert Listing(tiers=TIERS).tiers_for("b", "binary") == TIERS


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nested targets, made once: what happens in 3 months happens in 6."""
    folder = tmp_path_factory.mktemp("tiers")
    write_files(folder, SHOP | {f"data/{name}": content for name, content in shop_files(400).items()})
    write_files(folder, {"conf/listing/calls.yaml": LISTING, "conf/target/orders_soon.yaml": SOON})
    with contextlib.chdir(folder):
        assert main([*WORDS, "hydra.run.dir=run"]) == 0
        assert main(["score", "run=run", "output=scores"]) == 0
    return folder


class TestInARun:
    def test_the_tier_is_of_the_coherent_probability_in_predictions_scores_and_lists(
        self, finished: Path
    ) -> None:
        tiers = {"low": 0.0, "medium": 0.15, "high": 0.3, "critical": 0.45}
        for name in ("run/predictions.parquet", "scores/scores.parquet"):
            table = pq.read_table(finished / name).to_pandas()
            assert (table["orders_soon.probability"] <= table["orders_again.probability"]).all()
            for target in ("orders_soon", "orders_again"):
                assert table[f"{target}.tier"].tolist() == names_of(table[f"{target}.probability"], tiers)
            assert table["orders_again.tier"].nunique() > 1  # the control
        for place in ("run", "scores"):
            frame = texts(finished / place / "calls.orders_again.csv")
            assert list(frame)[3:6] == ["P_ORDERS_AGAIN", "tier", "decile"]
            assert frame.tier.tolist() == names_of(frame.P_ORDERS_AGAIN.astype(float), tiers)

    def test_metrics_say_what_the_tests_rows_say(self, finished: Path) -> None:
        found = json.loads((finished / "run/metrics.json").read_text())
        table = pq.read_table(finished / "run/predictions.parquet").to_pandas()
        table = table[(table.part == "test") & table["orders_again.label"].notna()]
        yes = table["orders_again.label"] == 1
        tiers = found["targets"]["orders_again"]["tiers"]
        assert list(tiers) == ["low", "medium", "high", "critical"]
        assert sum(tier["rows"] for tier in tiers.values()) == len(table)
        acted = table["orders_again.tier"].isin(["high", "critical"])
        on = tiers["high"]["on"]
        assert on["rows"] == acted.sum()
        assert on["precision"] == pytest.approx(yes[acted].mean())
        assert on["false_positive_rate"] == pytest.approx(acted[~yes].mean())
        assert on["precision_interval"][0] <= on["precision"] <= on["precision_interval"][1]
        assert found["test_label_reads"] == 1

    def test_the_page_and_the_summary_have_a_line_for_each(self, finished: Path) -> None:
        summary = (finished / "run/summary.md").read_text()
        for target in ("orders_soon", "orders_again"):
            for tier in ("low, from 0", "medium, from 0.15", "high, from 0.3", "critical, from 0.45"):
                assert f"tier {tier}, {target}: " in summary
        assert "acting from here on: precision" in summary
        page = (finished / "run/report.html").read_text()
        section = page[page.index('id="t2-tiers"') :]
        section = section[: section.index("</section>")]
        assert section.count("<tr>") == 5
        assert "not calibrated" not in section
        assert "By tier: <bdi>critical</bdi>" in page

    def test_the_summary_says_where_the_lists_of_several_targets_are(self, finished: Path) -> None:
        lists = [line for line in where(finished / "run") if line.startswith("list: ")]
        assert [line.rsplit("/", 1)[1] for line in lists] == [
            "calls.orders_again.csv",
            "calls.orders_soon.csv",
        ]

    def test_without_calibration_it_is_said_what_the_tiers_stand_on(self, work: Work) -> None:
        work.write({"conf/listing/calls.yaml": LISTING})
        said = work.run("recipe=shop", "listing=calls", "calibration=none", "hydra.run.dir=run")
        assert said.code == 0, said.err
        assert "tiers of orders_again stand on scores that are not calibrated" in said.out
        assert "not calibrated" in (work.folder / "run/report.html").read_text()

    def test_of_a_named_target_stand_in_every_list_and_are_judged_once(self, work: Work) -> None:
        work.write({"conf/listing/calls.yaml": LISTING + "tiers_of: orders_again\n", "conf/target/spends.yaml": (
            "kind: value\nof: {table: orders, agg: sum, column: amount, window: horizon}\nhorizon: 6 months\n")})  # fmt: skip
        said = work.run("recipe=shop", "listing=calls", "target=[spends,orders_again]", "hydra.run.dir=run",
                        "report.html=false")  # fmt: skip
        assert said.code == 0, said.err
        spends, again = (texts(work.folder / f"run/calls.{name}.csv") for name in ("spends", "orders_again"))
        assert dict(zip(spends.id, spends.tier, strict=True)) == dict(zip(again.id, again.tier, strict=True))
        found = json.loads((work.folder / "run/metrics.json").read_text())["targets"]
        assert found["spends"]["tiers"] is None
        assert found["orders_again"]["tiers"]

    def test_without_tiers_nothing_is_said_of_them(self, work: Work) -> None:
        assert work.run("recipe=shop", "listing=latest", "hydra.run.dir=run").code == 0
        assert "tier" not in texts(work.folder / "run/ranked.csv")
        assert "tiers" not in (work.folder / "run/report.html").read_text().split("<main")[1]
