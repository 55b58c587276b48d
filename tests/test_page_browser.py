"""The report in a real browser: the slider moves, nothing leaves the file, nothing overflows, nothing complains."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import evidences as made
import numpy as np
import pytest
from test_page import NB, hostile

from toolkit.evaluation.gains import Gains, Resample, ranked
from toolkit.evaluation.ties import places
from toolkit.report.evidence import Evidence
from toolkit.report.page import write
from toolkit.report.phrases import capacity

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


def missing(why: str) -> Any:
    """A browser is optional at home, and not where CI_BROWSER=1."""
    return pytest.fail(why) if os.environ.get("CI_BROWSER") == "1" else pytest.skip(why)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        missing("playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as play:
        try:
            browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except Error as error:
            missing(f"no Chromium: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@dataclass
class Opened:
    page: Any
    said: list[str] = field(default_factory=list)  # by the console, and errors
    asked: list[str] = field(default_factory=list)  # requests


def opened(
    browser: Any, evidence: Evidence, folder: Path, size: dict[str, int] = DESKTOP, scheme: str = "light"
) -> Opened:
    write(evidence, folder / "report.html")
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    found = Opened(context.new_page())
    found.page.on("console", lambda message: found.said.append(message.text))
    found.page.on("pageerror", lambda error: found.said.append(str(error)))
    found.page.on("dialog", lambda dialog: (found.said.append(dialog.message), dialog.dismiss()))
    found.page.on("request", lambda request: found.asked.append(request.url))
    found.page.goto((folder / "report.html").as_uri())
    return found


def sentences(page: Any, figure: str = "1") -> list[str]:
    return page.locator(f"[data-gains='{figure}'] output p").all_text_contents()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("kind", ["whole", "hostile", "bare", "degenerate"])
def test_it_is_quiet_stays_in_the_file_and_within_the_window(
    browser: Any, tmp_path: Path, size: dict[str, int], scheme: str, kind: str
) -> None:
    whole = made.evidence(made.binary(), made.binary("b", good=False), made.multiclass(), made.regression())
    evidence = {"whole": whole, "hostile": hostile(), "bare": made.bare(), "degenerate": made.degenerate()}[
        kind
    ]
    found = opened(browser, evidence, tmp_path, size, scheme)
    assert found.said == []
    assert [url for url in found.asked if not url.startswith(("file:", "data:"))] == []
    assert sum(url.startswith("file:") for url in found.asked) == 1
    assert found.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    paper = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) > 3 * 128) == (scheme == "light")


def test_the_first_screen_of_a_phone_says_whom_to_call(browser: Any, tmp_path: Path) -> None:
    page = opened(browser, made.evidence(), tmp_path, PHONE).page
    box = page.locator(".verdict h2").bounding_box()
    assert box["y"] + box["height"] < PHONE["height"]


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_slider_answers_to_keyboard_mouse_and_number(
    browser: Any, tmp_path: Path, size: dict[str, int]
) -> None:
    found = opened(browser, made.evidence(), tmp_path, size)
    page, curve = found.page, made.gains()
    slider = page.get_by_role("slider")
    number = page.get_by_role("spinbutton")
    assert slider.is_visible()
    assert sentences(page) == capacity(curve, 1_500)  # as it was written, before anything moves

    slider.focus()
    slider.press("ArrowRight")  # a hundredth of 18,000
    assert number.input_value() == "1680"
    assert sentences(page) == capacity(curve, 1_680)
    slider.press("PageDown")
    assert sentences(page) == capacity(curve, 1)  # never nobody
    slider.press("End")
    assert sentences(page) == capacity(curve, 18_000)

    slider.click()  # in its middle, once it has stopped moving
    called = int(number.input_value())
    assert 8_000 < called < 10_000
    assert sentences(page) == capacity(curve, called)

    number.fill("4321")
    assert slider.input_value() == "4321"
    assert sentences(page) == capacity(curve, 4_321)
    assert sentences(page)[0].replace(NB, " ").startswith("Call 4,321 of 18,000 (24 %): expect ")
    number.fill("999999")  # more than there are: all of them
    assert sentences(page) == capacity(curve, 18_000)
    assert found.said == []


def test_every_capacity_is_said_alike_by_page_and_script(browser: Any, tmp_path: Path) -> None:
    """The script repeats the rounding of `words` and `figures`; here it is held to it."""
    page = opened(browser, made.evidence(), tmp_path).page
    curve, number = made.gains(), page.get_by_role("spinbutton")
    for called in [*range(1, 200, 7), *range(200, 18_000, 611)]:
        number.fill(str(called))
        assert sentences(page) == capacity(curve, called)


def scarce() -> Gains:
    """A list of a few yes, which bring very unequal sums."""
    draw = np.random.default_rng(4)
    score = draw.random(900)
    y = (draw.random(900) < 0.05 * score**3).astype(float)
    worth = y * draw.lognormal(5, 1.5, 900)
    curve = ranked(y, score, places(np.arange(900)), Resample(np.arange(900), 200, 0), score, worth, [35])[1]
    assert curve is not None
    assert 5 < curve.positives < 20
    return curve


def test_few_yes_are_said_alike_and_without_a_margin_below_none(browser: Any, tmp_path: Path) -> None:
    curve = scarce()
    page = opened(browser, made.evidence(replace(made.binary(), gains=curve)), tmp_path).page
    number, said = page.get_by_role("spinbutton"), []
    for called in [*range(1, 100, 3), *range(100, 901, 50)]:
        number.fill(str(called))
        assert sentences(page) == capacity(curve, called)
        said += sentences(page)
    assert any("(95 % interval 0 to " in sentence.replace(NB, " ") for sentence in said)
    assert not any("−" in sentence for sentence in said)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_band_of_gains_stays_within_the_plot_and_the_marker_on_the_line(
    browser: Any, tmp_path: Path, size: dict[str, int]
) -> None:
    curve = scarce()
    assert curve.high.max() > 1.3 * curve.positives  # another list may hold more than this one does
    page = opened(browser, made.evidence(replace(made.binary(), gains=curve)), tmp_path, size).page
    chart = page.locator("[data-gains='1'] svg")
    box = {name: chart.locator(name).first.bounding_box() for name in ("path.band", "path.main", "line.axis")}
    label = chart.get_by_text("found who say yes").bounding_box()
    assert box["path.band"]["y"] >= label["y"] + 0.7 * label["height"]
    assert box["path.band"]["y"] + box["path.band"]["height"] <= box["line.axis"]["y"] + 1
    page.get_by_role("spinbutton").fill("900")
    dot = chart.locator("circle.marker").bounding_box()
    top = chart.locator("path.main").bounding_box()["y"]  # of all that are called; the page may have moved
    assert dot["y"] + dot["height"] / 2 == pytest.approx(top, abs=2)


def test_each_target_has_a_slider_of_its_own(browser: Any, tmp_path: Path) -> None:
    page = opened(
        browser, made.evidence(made.binary("a"), made.binary("b", good=False, money=False)), tmp_path
    ).page
    page.get_by_role("spinbutton").nth(1).fill("6000")
    assert sentences(page, "1") == capacity(made.gains(), 1_500)
    assert sentences(page, "2") == capacity(made.gains(power=1.02, money=False), 6_000)


def test_without_a_rule_and_without_scripts_the_sentence_stands(browser: Any, tmp_path: Path) -> None:
    write(made.evidence(), tmp_path / "report.html")
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto((tmp_path / "report.html").as_uri())
    assert sentences(page) == capacity(made.gains(), 1_500)
    assert not page.locator(".capacity").first.is_visible()


def test_downloads_are_the_files(browser: Any, tmp_path: Path) -> None:
    page = opened(browser, made.evidence(), tmp_path).page
    with page.expect_download() as waiting:
        page.get_by_role("link", name="orders_again.csv").click()
    assert waiting.value.suggested_filename == "orders_again.csv"
    assert Path(waiting.value.path()).read_bytes() == made.ranked()


def test_it_prints_whole_without_what_only_a_screen_can_do(browser: Any, tmp_path: Path) -> None:
    page = opened(browser, made.evidence(made.binary(), made.regression()), tmp_path).page
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert not page.locator(".capacity").first.is_visible()
    assert page.locator("svg.gains").first.is_visible()
    page.set_viewport_size({"width": 690, "height": 980})  # A4 less its margins
    wide = page.evaluate(
        "[...document.querySelectorAll('svg.chart, table')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert wide == 0
