"""What the terminal says while a verb works and when it has ended; what libraries say is kept apart."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import Work
from rich.console import Console

import toolkit
from toolkit.cli.terminal import SILENCE, Stage, Ticker, job_title, lasted
from toolkit.models.interface import Task
from toolkit.models.linear import Logistic
from toolkit.report import summary
from toolkit.training.outcome import Candidate, Outcome
from toolkit.warned import Warned, gathering


def seen(text: str) -> str:
    """Without the terminal's codes."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def ticking(terminal: bool, width: int = 80, **how: Any) -> tuple[Ticker, io.StringIO]:
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=terminal, width=width, highlight=False, _environ={"TERM": "xterm"}
    )
    return Ticker(console=console, **how), file


class TestProgress:
    def test_a_terminal_shows_a_bar_and_then_a_line_with_the_seconds(self) -> None:
        ticker, file = ticking(True)
        with ticker:
            ticker("reading tables", 0.0)
            ticker("reading tables: reading gifts", 0.5)
            assert ticker.live is not None
            ticker.live.refresh()
            ticker("cohort", 0.0)
        shown = seen(file.getvalue())
        assert "reading tables ━" in shown
        assert "50%" in shown
        assert "\n  reading gifts" in shown.replace("\r", "")
        assert re.search(r"✓ reading tables  0\.\d s", shown)
        assert re.search(r"✓ cohort  0\.\d s", shown)

    def test_a_stage_that_fails_is_not_ticked(self) -> None:
        ticker, file = ticking(True)
        with pytest.raises(ZeroDivisionError), ticker:  # noqa: PT012
            ticker("cohort", 0.0)
            raise ZeroDivisionError
        assert "✓" not in file.getvalue()

    def test_the_running_stage_never_takes_more_than_its_lines(self) -> None:
        ticker, file = ticking(True, width=40)
        with ticker:
            ticker("fitting " + "x" * 300 + ": " + "y" * 300, 0.3)
            assert ticker.live is not None
            ticker.live.refresh()
        assert max(len(line) for line in re.split(r"[\r\n]", seen(file.getvalue())) if "✓" not in line) <= 40

    def test_elsewhere_there_is_one_line_per_stage(self) -> None:
        ticker, file = ticking(False)
        with ticker:
            for done in range(100):
                ticker(f"fitting lightgbm: gives {done}/100", done / 100)
            ticker("writing", 0.0)
        lines = file.getvalue().splitlines()
        assert [line.split(" s  ")[1] for line in lines] == ["fitting lightgbm", "writing"]

    def test_elsewhere_a_long_stage_says_now_and_then_how_far_it_is(self) -> None:
        ticker, file = ticking(False)
        with ticker:
            ticker("fitting", 0.0)
            ticker("fitting: epoch 1/9", 0.1)  # just begun: nothing to say yet
            ticker.printed_at -= SILENCE
            ticker("fitting: epoch 2/9", 0.2)
            ticker("fitting: epoch 3/9", 0.3)  # just said
        assert re.findall(r"epoch \d", file.getvalue()) == ["epoch 2"]

    def test_quiet_says_nothing_and_verbose_every_detail_and_the_log(self) -> None:
        for terminal in (True, False):
            ticker, file = ticking(terminal, quiet=True, verbose=True)
            with ticker:
                ticker("cohort", 0.0)
                warnings.warn("hm", stacklevel=1)
            assert file.getvalue() == ""
        ticker, file = ticking(False, verbose=True)
        with ticker:
            ticker("reading tables: reading gifts", 0.0)
            ticker("reading tables: reading donors", 0.5)
            logging.getLogger("toolkit").info("0.2 s for it")
            warnings.warn("no convergence", stacklevel=1)
        for text in ("reading gifts", "reading donors", "0.2 s for it", "! ", "no convergence"):
            assert text in file.getvalue()

    def test_time_left_follows_the_pace_of_the_round_and_begins_anew_with_the_next(self) -> None:
        stage = Stage("fitting", begun=100.0)
        stage.tell("a 0/10", 0.0, 100.0)
        stage.tell("a 1/10", 0.1, 101.0)
        assert stage.left(101.0) is None  # too soon to say
        stage.tell("a 5/10", 0.5, 110.0)
        assert stage.left(110.0) == pytest.approx(10.0)  # as much again as it took
        stage.tell("b 1/10", 0.1, 120.0)
        assert stage.left(120.0) is None
        stage.tell("b 5/10", 0.5, 124.0)
        assert stage.left(124.0) == pytest.approx(5.0)  # 0.4 in 4 s, 0.5 to go

    def test_spans_are_told_as_people_read_them(self) -> None:
        assert [lasted(s) for s in (0.71, 48.2, 185, 3840)] == ["0.7 s", "48 s", "3 min 05 s", "1 h 04 min"]

    def test_a_job_of_a_sweep_says_which_one_it_is(self) -> None:
        assert job_title(1, ["model=xgboost", "seed=2"]) == "job 1  model=xgboost seed=2"
        title = job_title(1, ["seed=2"])
        assert title == "job 1  seed=2"
        ticker, file = ticking(False, job=title)
        with ticker:
            ticker("cohort", 0.0)
        assert re.fullmatch(r"job 1  seed=2\n\[job 1\] +0\.\d s  cohort\n", file.getvalue())
        ticker, file = ticking(True, job=title)
        with ticker:
            ticker("cohort", 0.0)
            assert ticker.live is not None
            ticker.live.refresh()
        assert "job 1  seed=2" in file.getvalue()
        assert "✓" not in file.getvalue()  # a sweep's own line tells that the job is done


class TestWarnings:
    def test_each_is_kept_once_with_how_often_it_came(self, capfd: pytest.CaptureFixture[str]) -> None:
        warned = Warned()
        with gathering(warned):
            for number in range(5):
                warnings.warn(f"lbfgs stopped after {number} rounds", UserWarning, stacklevel=1)
            logging.getLogger("matplotlib.font_manager").warning("no such font")
            logging.getLogger("toolkit").warning("tracking is off")
            print("[LightGBM] [Warning] odd")
            print("half a line", end="", file=sys.stderr)
        first, *others = warned.lines()
        assert re.fullmatch(r"test_terminal: lbfgs stopped after 0 rounds \(UserWarning\) \(×5\)", first)
        assert sorted(others) == [
            "[LightGBM] [Warning] odd",
            "half a line",
            "matplotlib: no such font",
            "tracking is off",
        ]
        assert capfd.readouterr() == ("", "")

    def test_what_was_ignored_stays_ignored(self) -> None:
        warned = Warned()
        with warnings.catch_warnings(), gathering(warned):
            warnings.simplefilter("ignore", FutureWarning)
            warnings.warn("later", FutureWarning, stacklevel=1)
        assert warned.lines() == []

    def test_everything_is_as_before_when_it_ends_also_badly(self, capfd: pytest.CaptureFixture[str]) -> None:
        before = (sys.stdout, sys.stderr, warnings.showwarning, logging.getLogger().handlers[:])
        kept = []
        with pytest.raises(ZeroDivisionError), gathering(Warned()):  # noqa: PT012
            kept.append(sys.stderr)
            raise ZeroDivisionError
        assert (sys.stdout, sys.stderr, warnings.showwarning, logging.getLogger().handlers[:]) == before
        print("later", file=kept[0])  # a library's log handler that was made meanwhile
        assert capfd.readouterr().err == "later\n"

    def test_secrets_are_taken_out(self) -> None:
        warned = Warned(lambda text: text.replace("hunter2", "***"))
        with gathering(warned):
            print("cannot reach postgres://me:hunter2@db")
        assert warned.lines() == ["cannot reach postgres://me:***@db"]


@pytest.fixture
def noisy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose library warns, logs and prints."""
    fit = Logistic.fit

    def loud(self: Logistic, *arguments: Any, **named: Any) -> Any:
        for number in range(3):
            warnings.warn(f"gradient {number} is steep", RuntimeWarning, stacklevel=1)
        print("printed by a library")
        logging.getLogger("lightning").error("logged by a library")
        return fit(self, *arguments, **named)

    monkeypatch.setattr(Logistic, "fit", loud)


SAID = ("gradient 0 is steep", "printed by a library", "logged by a library")


@pytest.mark.usefixtures("noisy")
class TestARunOfANoisyLibrary:
    def test_its_log_has_every_warning_and_the_end_says_how_many(self, work: Work) -> None:
        said = work.run("recipe=shop")
        assert said.code == 0, said.err
        (run,) = work.runs()
        log = (run / "run.log").read_text()
        assert all(text in log for text in SAID)
        section = log[log.index("--- 3 warnings, the most frequent first ---") :]
        assert "gradient 0 is steep (RuntimeWarning) (×3)" in section
        (line,) = (line for line in said.out.splitlines() if "see run.log" in line)
        assert line.startswith("3 warnings, see run.log: ")
        assert "gradient 0 is steep" in line
        assert not any(text in said.err or text in said.out.replace(line, "") for text in SAID)

    def test_quiet_prints_the_folder_only(self, work: Work) -> None:
        said = work.run("recipe=shop", "quiet=true")
        (run,) = work.runs()
        assert (said.out, said.err) == (f"{run}\n", "")

    def test_verbose_prints_them_as_they_come(self, work: Work) -> None:
        said = work.run("recipe=shop", "verbose=true")
        assert all(text in said.err for text in SAID)
        assert said.err.index("fitting logistic") < said.err.index(SAID[1]) < said.err.index("writing")
        assert "cohort: 0." in said.err  # the log's own line


def test_quiet_and_verbose_exclude_each_other(work: Work) -> None:
    assert "exclude each other" in work.refused("recipe=shop", "quiet=true", "verbose=true")


# --- the end of a run -------------------------------------------------------------------------------


def outcome(targets: list[str], models: list[str]) -> Outcome:
    """What a run gave, made up: every model on every target, the last one chosen."""
    found = Outcome(
        None, [Task(name, "binary") for name in targets], {}, None, np.empty(0), 0, np.empty(0), {}, {}
    )  # type: ignore[arg-type]
    identity = SimpleNamespace(method="identity", reason="")
    for target in targets:
        found.base_rates[target] = {
            p: {"rows": 12_345, "mean": 0.25} for p in ("train", "validation", "test")
        }
        for place, model in enumerate(models):
            metrics = dict.fromkeys(("roc_auc", *summary.COLUMNS["binary"]), 0.5 + place / 20)
            found.candidates.append(Candidate(
                model, target, 1.5, ["by `a.column` alone"], identity, None, metrics, test=metrics,  # type: ignore[arg-type]
                intervals={"roc_auc": (0.48, 0.77)}, margin=(0.045, 0.028, 0.059), chosen=model == models[-1],
            ))  # fmt: skip
    return found


FIVE = ["prior", "rule", "logistic", "lightgbm", "xgboost"]
FACTS = {
    "seconds": 12.3, "stages": "reading tables 0.7, cohort 0.1, features and targets 2.0, training and evaluation 8.9, writing 0.6",
    "assumptions": ["table `people` has no clock: its rows are taken as known at every cutoff"] * 4,
    "rejected": [(f"table_{n}", 12, "amount below 0: 12") for n in range(9)], "backtest": [],
    "warnings": ["sklearn: lbfgs failed to converge (ConvergenceWarning) (×12)", "another"],
}  # fmt: skip


def run_folder(folder: Path) -> Path:
    for name in ("report.html", "lists/a.csv", "lists/b.csv", "bundle/manifest.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


def screen(
    found: Outcome, folder: Path, width: int, height: int, verbose: bool = False, terminal: bool = True
) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=width, height=height, highlight=False)
    summary.screen(found, FACTS, folder, console, verbose)
    return seen(file.getvalue())


LONG = [f"target_with_a_very_long_name_number_{n}" for n in range(5)]


class TestTheEndOfARun:
    def test_no_better_than_chance_is_said_as_on_the_page(self, tmp_path: Path) -> None:
        found = outcome(["gives"], FIVE)
        found.chosen("gives").beats_chance = False
        assert "xgboost: AUC 0.700 [0.480, 0.770]; no better than chance" in screen(found, tmp_path, 200, 50)
        found.chosen("gives").beats_chance = True
        assert "no better than chance" not in screen(found, tmp_path, 200, 50)

    @pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 30), (200, 50)])
    @pytest.mark.parametrize("targets", [["gives"], [LONG[0]], ["a", "b", "c", "d", "e"], LONG])
    def test_it_fits_the_screen(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, targets: list[str], width: int, height: int
    ) -> None:
        monkeypatch.chdir(tmp_path)
        shown = screen(outcome(targets, FIVE), run_folder(tmp_path / "outputs/shop/now"), width, height)
        lines = shown.splitlines()
        assert len(lines) < height  # the prompt needs a line, too
        assert max(map(len, lines)) <= width
        for target in targets:
            assert target[:20] in shown
        for text in (
            "●",
            "xgboost",
            "0.700 [0.480, 0.770]",
            "+0.045 [+0.028, +0.059]",
            "leak audit: ",
            "2 warnings, see run.log",
        ):
            assert text in shown
        assert "report: outputs/shop/now/report.html\nlists: outputs/shop/now/lists/ (2 files)" in shown
        assert shown.endswith("bundle: outputs/shop/now/bundle\nfiles: outputs/shop/now\n")

    def test_several_targets_share_a_table_where_theirs_do_not_fit(self, tmp_path: Path) -> None:
        found = outcome(["alpha", "beta", "gamma", "delta", "zeta"], FIVE)
        small, large = (screen(found, tmp_path, 120, height) for height in (24, 90))
        assert re.search(r"beta +0\.500 +0\.550 +● xgboost +0\.700 \[0\.480, 0\.770\] +\+0\.045", small)
        assert "logistic" not in small
        assert large.count("logistic") == 5
        assert screen(found, tmp_path, 120, 24, verbose=True).count("logistic") == 5

    def test_notes_that_do_not_fit_are_counted(self, tmp_path: Path) -> None:
        found = outcome(["gives"], FIVE)
        assert re.search(r"… \d+ more lines in summary.md", screen(found, tmp_path, 80, 24))
        assert "table_8" not in screen(found, tmp_path, 80, 24)
        assert "table_8" in screen(found, tmp_path, 80, 24, verbose=True)
        assert "table_8" in screen(found, tmp_path, 140, 24, terminal=False)

    def test_a_very_long_model_is_cut_before_its_numbers_are(self, tmp_path: Path) -> None:
        shown = screen(outcome(["gives"], ["prior", "rule", "m" * 90]), tmp_path, 80, 24)
        assert re.search(r"● +m+… +0\.600 \[0\.480, 0\.770\] +\+0\.045 \[\+0\.028, \+0\.059\]", shown)


# --- a real terminal --------------------------------------------------------------------------------


def on_a_terminal(work: Work, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout (a pipe) and stderr (a terminal of 80 columns)."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = os.environ | {"PYTHONPATH": str(Path(toolkit.__file__).parents[1]), "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-m", "toolkit", *words], cwd=work.folder, env=environment, stdin=theirs, stderr=theirs,
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        told = b""
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            told += part
        assert process.stdout is not None
        out = process.stdout.read()
    os.close(ours)
    return process.returncode, out, told.decode()


def test_on_a_real_terminal_progress_is_live_and_stdout_holds_results_only(work: Work) -> None:
    code, out, told = on_a_terminal(work, "recipe=shop")
    assert code == 0, told
    stages = re.findall(r"✓ (.+?)  \d", seen(told))
    assert stages[:5] == ["reading tables", "cohort", "features and targets", "encoding", "leak audit"]
    assert stages[-1] == "report"
    assert "fitting logistic" in stages
    assert "\x1b[?25l" in told  # the cursor is hidden while the bar moves …
    assert told.rindex("\x1b[?25h") > told.rindex("\x1b[?25l")  # … and back in the end
    assert out.startswith("orders_again")
    assert "✓" not in out
    assert "\x1b" not in out
