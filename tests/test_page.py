"""The report as a page: what it says, in which order, that it stays whole, inert, small, and the same."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import math
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import evidences as made
import numpy as np
import pytest

from toolkit.report.embed import downloads, embedded
from toolkit.report.evidence import Driver, Evidence, Reason, Verdict
from toolkit.report.figures import count, figure, interval, quantity, rough, share, signed
from toolkit.report.page import render, write
from toolkit.report.phrases import calibration_note, capacity, direction, example, line_drawn, meaning, role
from toolkit.report.svg import ticks
from toolkit.report.words import overall, standing, verdict, warning
from toolkit.training.coherence import Corrected

NB = "\u00a0"
HOSTILE = [
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", '=HYPERLINK("http://evil.example","x")',
    "\"quoted\" & 'single'", "🎁 parcels", "اسم العمود", "{{ 7 * 7 }}", "orders." + "very_long_column_name_" * 13,
]  # fmt: skip
VOID = {"meta", "link", "input", "br", "img", "hr", "col"}


class Page(HTMLParser):
    """Elements with their attributes, the text that is read, and whatever was not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.crossed: list[str] = []
        self.parts: list[str] = []
        self.headings: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data: str) -> None:
        if {"script", "style"} & set(self.stack):
            return
        self.parts.append(data)
        if {"h1", "h2", "h3"} & set(self.stack):
            self.headings[-1] += data

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.parts).replace(NB, " "))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def read(evidence: Evidence) -> Page:
    page = Page(render(evidence))
    assert page.crossed == []
    assert page.stack == []
    return page


# --- numbers as people read them --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (1243, 1186, 1300, "1,243 ± 60"),  # the margin to its first digit
        (12_343, 12_223, 12_463, "12,343 ± 120"),  # two digits where the first is a 1
        (101, 95, 107, "101 ± 6"),
        (7, 7, 7, "7"),
        (0.4, 0, 1, "0.4 (95 % interval 0 to 1)"),  # one call
        (3, 0, 7.6, "3 (95 % interval 0 to 8)"),  # no ± that reaches below none
        (4, 0.2, 7.8, "4 (95 % interval 0 to 8)"),  # also where the interval is symmetric
        (12, 7, 22, "12 (95 % interval 7 to 22)"),  # nor one that hides on which side there is more room
        (98, 92, 100, "98 (95 % interval 92 to 100)"),  # nor one that finds more than are called
        (7, math.nan, math.nan, "7"),
        (math.nan, 1, 2, "–"),
    ],
)
def test_an_expectation_keeps_its_units_and_its_margin_says_what_it_knows(
    value: float, low: float, high: float, said: str
) -> None:
    assert rough(value, low, high).replace(NB, " ") == said


def test_numbers_have_separators_a_true_minus_and_a_dash_where_there_is_none() -> None:
    assert [count(1234567.0), count(-1200), count(None), count(math.nan)] == ["1,234,567", "−1,200", "–", "–"]
    assert [figure(0.7514), figure(-0.02), figure(0.00004), figure(math.inf)] == [
        "0.751",
        "−0.020",
        "0.00004",
        "–",
    ]
    assert [signed(0.04), signed(-0.04), signed(0.0), signed(-0.0)] == ["+0.040", "−0.040", "0.000", "0.000"]
    assert [share(s).replace(NB, " ") for s in (0.25, 0.031, 0.0, 1.0, None)] == [
        "25 %",
        "3.1 %",
        "0 %",
        "100 %",
        "–",
    ]
    assert [quantity(v) for v in (812, 24_300, 1_240_000, 2.5e9)] == [
        "812",
        "24,300",
        "1.24 million",
        "2.5 billion",
    ]
    assert interval((0.1, 0.2)) == "0.100 to 0.200"
    assert interval((math.nan, math.nan)) == interval(None) == ""


def test_ticks_are_round_and_lie_within() -> None:
    assert ticks(0, 18_000) == [0, 5_000, 10_000, 15_000]
    assert ticks(0.687, 0.776) == [0.7, 0.72, 0.74, 0.76]
    assert ticks(3, 3) == [3]


# --- the verdict ------------------------------------------------------------------------------------


def of(**changes: Any) -> Verdict:
    found = Verdict(
        5_000,
        1_243,
        (1_186, 1_300),
        410.0,
        "roc_auc",
        0.75,
        (0.72, 0.78),
        (0.045, 0.028, 0.059),
        "by `x` alone: a: 3%",
        True,
        True,
        rows=40_000,
        positives=3_280,
        test_rows=40_000,
        rarest=3_280,
    )
    return replace(found, **changes)


def said(**changes: Any) -> tuple[str, str, str]:
    found = verdict(replace(made.binary(), verdict=of(**changes)))
    return found.headline.replace(NB, " "), " ".join(found.lines), found.tone


def test_the_verdict_says_whom_to_call_what_to_expect_and_what_chance_gives() -> None:
    headline, lines, tone = said()
    assert headline == "Call these 5,000: expect 1,243 ± 60 to say yes"
    assert "Calling 5,000 at random gives 410. The list finds 3.0 times as many." in lines
    assert (
        "It beats the best simple rule (by `x` alone): AUC +0.045, 95 % interval +0.028 to +0.059; the interval excludes zero."
        in lines
    )
    assert tone == "good"


def test_a_model_that_only_equals_the_rule_is_said_to() -> None:
    _, lines, tone = said(margin=(0.004, -0.01, 0.02), better_than_rule=False)
    assert "not distinguishable from the best simple rule" in lines
    assert "includes zero. The rule is simpler." in lines
    assert tone == "doubt"
    assert (
        "does worse than the best simple rule"
        in said(margin=(-0.04, -0.06, -0.02), better_than_rule=False)[1]
    )


def test_no_better_than_chance_is_said_plainly() -> None:
    headline, lines, tone = said(
        found=412, interval=(372, 452), value=0.503, value_interval=(0.48, 0.52), better_than_chance=False
    )
    assert headline == "No better than chance"
    assert (
        "Of 5,000 called by this list, 412 said yes (another such list: 372 to 452, 95 % interval); 5,000 called at random give 410. Do not choose by this list."
        in lines
    )
    assert tone == "bad"


def test_without_an_interval_nothing_is_claimed() -> None:
    headline, lines, tone = said(
        interval=None, value_interval=None, margin=None, better_than_rule=None, better_than_chance=None
    )
    assert headline == "1,243 of the first 5,000 said yes; luck was not ruled out"
    assert "cannot be told whether this is more than luck" in lines
    assert "was not compared" in lines
    assert tone == "doubt"
    for nothing in (None, of(value=math.nan)):
        assert verdict(replace(made.binary(), verdict=nothing)).headline == "Nothing can be said yet"


def test_the_other_types_say_how_right_they_are() -> None:
    assert (
        verdict(made.multiclass()).headline.replace(NB, " ")
        == "Names the right class for 71 % of rows; the naive guess 48 %"
    )
    assert (
        verdict(made.regression()).headline == "Predictions are off by 96.2 on average; the naive guess 141.9"
    )
    lines = " ".join(verdict(made.regression()).lines)
    assert "MAE 96.2 (95 % interval 93.1 to 99.4); the best simple rule has 118.0." in lines
    assert "R² on rows it has never seen: 0.520 (95 % interval 0.490 to 0.550)." in lines


def test_several_targets_are_summed_up_in_a_sentence() -> None:
    good, bad = made.binary("a"), made.binary("b", good=False)
    assert standing(good) == "beats the best simple rule"
    assert standing(bad) == "no better than chance"
    assert (
        overall([good, bad]) == "One of two targets beats the best simple rule; one is no better than chance"
    )
    assert overall([good, good, good]) == "All three targets beat the best simple rule"


def test_the_capacity_sentences_read_the_curves() -> None:
    curve = made.gains()  # 3,600 of 18,000
    found = float(np.interp(4_500, curve.called, curve.found))
    first, second, third, fourth = (sentence.replace(NB, " ") for sentence in capacity(curve, 4_500))
    assert first.startswith("Call 4,500 of 18,000 (25 %): expect ")
    assert (
        f"at random would find 900: the list finds {found / 900:.1f} times as many, and {100 * found / 3600:.0f} % of all"
        in second
    )
    assert "the best simple rule would find" in third.lower()
    assert "of 912,345 in all" in fourth
    bare = replace(curve, rule=np.array([]), value=None, value_total=None)
    assert capacity(bare, 4_500)[2:] == ["", ""]


# --- what must not be promised ----------------------------------------------------------------------


def test_too_few_rows_to_tell_are_not_called_chance() -> None:
    """An interval that ends near chance shows that there is little; one that reaches far shows too few rows."""
    little = said(value=0.503, value_interval=(0.48, 0.52), better_than_chance=False)
    unsure = said(value=0.58, value_interval=(0.46, 0.69), better_than_chance=False)
    assert little[0] == unsure[0] == "No better than chance"
    assert "does not tell a yes from a no" in little[1]
    assert "With 40,000 test rows, 3,280 of them with the rarest answer, it cannot be told from chance: AUC 0.580, 95 % interval 0.460 to 0.690. More test rows are needed." in unsure[1]  # fmt: skip
    useless = replace(made.regression().verdict or of(), value=0.01, value_interval=(-0.02, 0.03), better_than_chance=False)  # fmt: skip
    lines = verdict(replace(made.regression(), verdict=useless)).lines
    assert (
        lines[0]
        == "On rows that it has never seen, the model adds nothing to the naive guess: R² 0.010, 95 % interval −0.020 to 0.030."
    )


@pytest.mark.parametrize(
    ("changes", "headline", "line", "tone"),
    [
        ({"margin": (-0.04, -0.06, -0.02), "better_than_rule": False}, "Worse than a simple rule", "Use the rule.", "bad"),
        ({"test_rows": 24, "rarest": 9}, "Too few test rows to say", "24 test rows have an answer, 9 of them the rarest one.", "doubt"),
        ({"test_rows": 900, "rarest": 3}, "Too few test rows to say", "At least 30 rows, 5 of each answer, are needed", "doubt"),
        ({"size": 18_000, "covers_all": True}, "You can call all 18,000, so the order does not matter", "Were only a tenth called (1,800), expect ", "doubt"),
        ({"size": 109, "rows": 1_093, "positives": 280, "acted": 921, "because": "a tenth of the rows"}, "Call these 109", "The threshold would act on 921 of 1,093 (84 %), too many to be a choice", "good"),
        ({"money": 51_200.0, "money_interval": (47_000.0, 55_000.0), "money_at_random": 9_000.0}, "Call these 5,000", "These 5,000 bring 51,200 (95 % interval 47,000 to 55,000); as many at random bring 9,000.", "good"),
    ],
)  # fmt: skip
def test_a_list_is_recommended_only_where_it_may_be(
    changes: dict[str, Any], headline: str, line: str, tone: str
) -> None:
    found = said(**changes)
    assert found[0].startswith(headline)
    assert line in found[1].replace(NB, " ")
    assert found[2] == tone


def test_of_a_list_that_brought_nothing_the_worth_is_not_said() -> None:
    nothing = {"found": 0, "money": 0.0, "money_interval": None}
    assert " bring " not in said(**nothing, money_at_random=0.0)[1]
    told = said(**nothing, money_at_random=90.0)[1].replace(NB, " ")
    assert "These 5,000 bring 0; as many at random bring 90." in told


def test_a_warning_stands_wherever_one_might_act() -> None:
    page = read(made.evidence(made.binary(good=False)))
    assert page.text.count("No better than chance: do not choose by it.") == 3  # slider, drivers, downloads
    assert warning(made.binary()) == ""


def test_a_yes_is_described_or_as_declared() -> None:
    plain = replace(made.binary("label"), description="", horizon="")
    of_column = {"kind": "column", "table": "clients", "column": "left"}
    assert meaning(plain, of_column) == "label, declared as `column`: column `left` of table `clients`"
    assert meaning(plain, {}) == "label"
    config = "target:\n  label: {kind: column, table: clients, column: left}\n"
    assert (
        "“Yes” means: label, declared as column: column left of table clients."
        in read(made.evidence(plain, config=config)).text
    )


def test_examples_speak_their_type_and_of_what_matters() -> None:
    found = made.examples()[2]
    text = example(found, made.binary())
    assert text.startswith("Ranked 41st of 18,000, with a probability of 88 %".replace(" %", NB + "%"))
    assert "(12) and orders in 12 months (9) raise the score. Region (West) lowers the score." in text
    assert "visits" not in text  # 6 % of the strongest
    fallen = replace(found, reasons=[Reason("a", "1", -0.9, "age"), Reason("b", "2", 0.5, "visits")])
    assert "Age (1) lowers the score. Visits (2) raises the score." in example(fallen, made.binary())
    other = replace(found, predicted="team", probability=0.67, label=2.0)
    assert example(other, made.multiclass()).startswith(f"Ranked 41st, predicted team, 67{NB}%.")
    assert example(other, made.multiclass()).endswith("The true class was enterprise.")
    assert [role(found, t) for t in (made.binary(), made.multiclass(), made.regression())] == ["Expected, but did not", "Sure, and wrong", "Predicted too high"]  # fmt: skip


def test_an_effect_is_claimed_only_where_there_is_one() -> None:
    parts = [("North", 5_200, 0.2), ("West", 1_900, -0.3)]
    driver = Driver("region", "", 0.1, (0.05, 0.15), None, "levels", parts, ("West", "North"))
    assert direction(replace(driver, levels=None)) == "depends on the level"
    assert direction(driver) == "highest for North, lowest for West"
    assert direction(replace(driver, clear=False)) == "no clear effect"
    assert direction(replace(driver, direction="", shape=[])) == ""
    flat = [replace(d, direction="", shape=[]) for d in made.drivers()]
    assert "Effect on the score" not in read(made.evidence(replace(made.multiclass(), drivers=flat))).text


def test_calibration_that_did_not_help_is_said_to() -> None:
    found = made.calibration()
    assert calibration_note(found) == ""
    worse = replace(found, figures_after=found.figures_after | {"log_loss": 0.47})
    assert (
        calibration_note(worse)
        == "Calibration did not help on these rows: log loss 0.440 before, 0.470 after."
    )
    only = replace(found, figures_before={"log_loss": 0.5}, figures_after={"log_loss": 0.4})
    text = read(made.evidence(replace(made.multiclass(), calibration=only))).text
    assert "ECE, the expected calibration error" not in text


def test_a_threshold_is_given_as_the_list_has_it() -> None:
    assert line_drawn(replace(made.cut(), chosen_probability=None)).startswith(
        "Rows that score 0.360 or more"
    )


def test_one_cutoff_is_no_segment() -> None:
    groups = [g for g in made.groups() if g["group"] != "2024-01-01T00:00:00"]
    assert any(g["by"] == "cutoff" for g in groups)
    assert "By cutoff" in read(made.evidence()).text
    assert "By cutoff" not in read(made.evidence(replace(made.binary(), groups=groups))).text


def test_lists_say_their_date_and_how_to_make_todays() -> None:
    text = read(made.evidence()).text
    assert "5,000 rows; list as of 2024-01-01, used to test the model" in text
    assert "For today’s list: python -m toolkit score" in text
    clockless = replace(made.data(), cohort=[{"cutoff": "NaT", "part": "test", "rows": 9}])
    assert "A list holds the test rows. For other rows: " in read(made.evidence(data=clockless)).text


def test_a_long_name_is_clamped_and_whole_in_its_title() -> None:
    name = "orders." + "very_long_column_name_" * 13
    target = made.binary()
    page = read(made.evidence(replace(target, drivers=[replace(target.drivers[0], feature=name, text="")])))
    assert {"class": "name long", "title": name} in page.all("bdi")


def test_several_targets_have_links_to_their_parts() -> None:
    links = {a.get("href") for a in read(made.evidence(made.binary("a"), made.regression())).all("a")}
    assert {"#t1-list", "#t1-drivers", "#t2-errors", "#t2-models"} <= links


def test_what_is_zero_but_for_rounding_reads_as_zero() -> None:
    line = replace(made.regression().models[0], test={"r2": -6.3e-06}, intervals={"r2": (-1e-05, -1e-07)})
    text = read(made.evidence(replace(made.regression(), models=[line, *made.regression().models[1:]]))).text
    assert "6.3" not in text.split("Models side by side")[1].split("On earlier dates")[0]
    assert [figure(-6.3e-06), figure(0.00063)] == ["−6.3 × 10⁻⁶", "0.00063"]


# --- the page ---------------------------------------------------------------------------------------


def test_a_target_is_told_in_the_order_of_a_reader() -> None:
    page = read(made.evidence())
    assert [h.replace(NB, " ").strip() for h in page.headings] == [
        "orders_again", "Call these 1,500: expect 729 ± 50 to say yes", "How far down the list to go", "Models side by side",
        "Can the probabilities be believed?", "Where to draw the line", "For whom it works", "What drives it", "The data", "Tables",
        "Rows per cutoff", "Leak audit", "Drift and gaps", "Distributions of the strongest features", "Features that move together",
        "Tuning", "lightgbm", "Model card", "Downloads",
    ]  # fmt: skip


def test_the_page_says_what_the_evidence_holds() -> None:
    text = read(made.evidence()).text
    for part in (
        "Which clients order again in the coming year?", "“Yes” means: Orders within 12 months of the cutoff.", "Why 1,500: the declared capacity.",
        "863", "2.40", "287,989", "0.764 to 0.797", "highest F1 on validation: 0.554", "a probability of 34.0 % or more (a raw score of 0.360)", "Lowest probability", "withheld: fewer than 50 rows", "no positive row",
        "days since the last order", "the more, the lower the score", "highest for North, lowest for West", "Ranked 1st of 18,000, with a probability of 93 %.",
        "amount is not above 0: 101", "1 to look at.", "known gap of 2022", "30 trials", "python -m toolkit score", "5,000 rows",
    ):  # fmt: skip
        assert part in text, part


def test_a_term_is_explained_once() -> None:
    text = read(made.evidence(made.binary("a"), made.binary("b"), made.binary("c"))).text
    for explanation in (
        "Lift is how many times",
        "0.5 is a coin flip",
        "Calibration sees to it",
        "ECE, the expected calibration error",
    ):
        assert text.count(explanation) == 1, explanation


def test_several_targets_have_an_overview_and_a_page_each() -> None:
    page = read(
        made.evidence(made.binary("a"), made.binary("b", good=False), made.multiclass(), made.regression())
    )
    anchors = {attributes.get("id") for _, attributes in page.elements}
    assert {"overview", "t1", "t2", "t3", "t4", "data", "card", "downloads"} <= anchors
    assert "Three of four targets beat the best simple rule; one is no better than chance" in page.text
    assert "Of those who say yes to the row’s target" in page.text
    assert "Confusion matrix" in page.text
    assert "Predicted minus true value" in page.text
    links = {link["href"] for link in page.all("a") if (link.get("href") or "").startswith("#")}
    assert {link[1:] for link in links if link} <= anchors  # every link within the page leads somewhere


def test_it_can_be_read_by_ear_and_by_keyboard() -> None:
    page = read(made.evidence(made.binary(), made.multiclass(), made.regression()))
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("nav")) == 1
    for drawing in page.all("svg"):
        assert drawing.get("aria-label") or drawing.get("aria-hidden") == "true"
    assert all(cell.get("scope") for cell in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    labelled = {label["for"] for label in page.all("label")}
    assert all(field.get("id") in labelled or field.get("aria-label") for field in page.all("input"))


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_nothing_at_all_still_makes_a_page(kind: str) -> None:
    text = read(made.bare(kind)).text
    assert "Nothing can be said yet" in text
    assert "There is nothing to download" not in text  # the metrics are always there


def test_what_is_no_number_is_a_dash() -> None:
    for evidence in (made.degenerate(), made.bare()):
        text = read(evidence).text
        assert not re.search(r"\b(nan|none|null|inf)\b", text, re.IGNORECASE), text
        assert "–" in text
        drawn = re.sub(r'data:[^"]*|<(style|script)[^>]*>.*?</\1>', "", render(evidence), flags=re.DOTALL)
        assert not re.search(r'="[^"]*\bnan\b', drawn)


# --- safety -----------------------------------------------------------------------------------------


def hostile() -> Evidence:
    """Every name and value that a file can hold, in every place that shows one."""
    names = HOSTILE
    target = made.binary()
    target = replace(
        target, name=names[0], description=names[1], horizon=names[1], explained_by=names[1],
        models=[replace(line, model=name, notes=[name]) for line, name in zip(target.models, names, strict=False)],
        verdict=replace(target.verdict or of(), rule=names[0], because=names[1]),
        groups=[{"by": names[1], "group": name, "rows": 90, "roc_auc": 0.7, "mean": 0.2, "interval": (0.6, 0.8)} for name in names],
        drivers=[Driver(name, name, 0.1, None, None, "levels", [(name, 9, 0.2), (names[0], 9, -0.2)]) for name in names],
        examples=[replace(e, entity=name, cutoff=name, role=name, reasons=[Reason(name, name, 0.3, name)])
                  for e, name in zip(target.examples, names, strict=False)],
    )  # fmt: skip
    data = made.data()
    data = replace(
        data, tables=[{"name": name, "rows_read": 2, "rows_kept": 1, "rejected": {name: 1}} for name in names], assumptions=names,
        cohort=[{"cutoff": name, "part": "test", "rows": 1} for name in names], idle=dict.fromkeys(names, names[0]),
        drift=[replace(data.drift[0], feature=name) for name in names], correlated=names, correlation=np.eye(len(names)),
        findings=[{"text": f"`{name}` leaks", "answer": answer} for name in names for answer in (None, name)],
        distributions=[replace(data.distributions[0], feature=name, labels=[name, name], shares={name: [0.5, 0.5], names[0]: [0.1, 0.9]}) for name in names],
    )  # fmt: skip
    other = replace(made.multiclass(names[1]), classes=tuple(names[:3]))
    return made.evidence(
        target, other, name=names[0], description=names[1], written=names[0], data=data, card={name: {name: [name]} for name in names},
        config="\n".join(names), lists=dict.fromkeys(names, b"rank\n1\n"), coherence={names[0]: Corrected(0.1, 0.02)}, remarks=names, seconds=dict.fromkeys(names, 1.0),
        metrics={name: name for name in names},
        tuned=[replace(made.evidence().tuned[0], model=names[0], importance={names[1]: 1.0}, trials=[{"value": 1.0, "settings": {names[0]: names[1]}}])],
        backtest=[{"fold": names[1], "target": names[0], "model": names[1], "metric": "roc_auc", "value": 0.7, "chosen": True}],
    )  # fmt: skip


def test_names_and_values_are_text_whatever_they_hold() -> None:
    page = read(hostile())
    assert all(not name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.all("img") == []
    assert len(page.all("script")) == 2  # the data and ours
    for name in HOSTILE:
        assert name in page.text
    assert "49" not in re.findall(r"\{\{ 7 \* 7 \}\}|\b49\b", page.text)  # no value is a template


def test_data_for_the_script_cannot_end_its_element() -> None:
    text = embedded(
        {
            "a": "</script>\u2028<!--",
            "b": [math.nan, np.float64(1.5), np.int64(2)],
            "c": np.array([1.0, math.inf]),
        }
    )
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == {"a": "</script>\u2028<!--", "b": [None, 1.5, 2], "c": [1.0, None]}


def test_the_policy_lets_nothing_else_run_and_fits_what_is_there() -> None:
    html = render(made.evidence())
    [policy] = [
        m["content"] or "" for m in Page(html).all("meta") if m.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for kind, element in (("style-src", "style"), ("script-src", "script")):
        content = re.findall(rf"<{element}>(.*?)</{element}>", html, re.DOTALL)
        assert len(content) == 1
        digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
        assert rules[kind] == f"'sha256-{digest}'"
    assert " style=" not in html  # the policy would drop it


def test_the_page_asks_for_nothing_from_outside() -> None:
    html = render(made.evidence(made.binary(), made.regression()))
    for _, attributes in Page(html).elements:
        for name in ("src", "href", "action", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert "@import" not in html
    assert "url(" not in html


# --- downloads, size, sameness ----------------------------------------------------------------------


def content(uri: str) -> bytes:
    return base64.b64decode(uri.split("base64,", 1)[1])


def test_lists_and_metrics_travel_with_the_page() -> None:
    page = read(made.evidence())
    files = {link["download"]: content(link["href"] or "") for link in page.all("a") if "download" in link}
    assert files["orders_again.csv"] == made.ranked()
    assert json.loads(files["metrics.json"] or b"") == {"recipe": "orders_again"}


def test_a_list_too_long_is_cut_at_a_row_and_it_is_said() -> None:
    rows = b"rank,entity\n" + b"".join(b'%d,"two\nlines"\n' % i for i in range(50_000))
    evidence = made.evidence(lists={"orders_again.csv": rows, "small.csv": b"rank\n1\n"})
    files = {file["name"]: file for file in downloads(evidence, 200_000)}
    assert content(files["small.csv"]["uri"]) == b"rank\n1\n"  # a small one is whole
    kept = list(csv.reader(content(files["orders_again.csv"]["uri"]).decode().splitlines(keepends=True)))
    assert 2_000 < len(kept) < 50_001
    assert kept[-1] == [str(len(kept) - 2), "two\nlines"]
    assert "lists/orders_again.csv in the folder of the run" in files["orders_again.csv"]["note"]
    assert sum(len(file["uri"]) for file in files.values()) <= 200_000
    assert downloads(evidence, 0)[0]["uri"] == ""  # no room: named, not embedded


def test_five_targets_with_long_lists_stay_below_two_megabytes_and_are_quick(tmp_path: Path) -> None:
    targets = [made.binary(f"target_{i}") for i in range(5)]
    evidence = made.evidence(
        *targets, lists={t.list_file: made.ranked(40_000) for t in targets}, config="x: 1\n" * 4_000
    )
    begun = time.perf_counter()
    write(evidence, tmp_path / "report.html")
    assert time.perf_counter() - begun < 8
    assert (tmp_path / "report.html").stat().st_size < 2_000_000
    assert "the first " in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_million_levels_do_not_make_a_million_lines() -> None:
    groups = [
        {"by": "code", "group": f"c{i}", "rows": 100, "roc_auc": 0.7, "mean": 0.2, "interval": None}
        for i in range(1_000)
    ]
    levels = [(f"level {i}", 10, 0.1) for i in range(100_000)]
    target = replace(
        made.binary(), groups=groups, drivers=[Driver("code", "", 0.1, None, None, "levels", levels)]
    )
    html = render(made.evidence(target, lists={}))
    assert "940 more groups" in html
    assert len(html) < 600_000


def test_the_same_evidence_gives_the_same_page() -> None:
    assert render(made.evidence(made.binary(), made.regression())) == render(
        made.evidence(made.binary(), made.regression())
    )
