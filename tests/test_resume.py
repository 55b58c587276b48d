"""`resume=FOLDER`: a run that was killed in the middle of an epoch ends as one that was never stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Work

import toolkit

NET = {
    "kind": "multimodal", "use": ["tabular"], "tabular": {"hidden": 64, "width": 64},
    "trainer": {"epochs": 12, "patience": 12, "batch_rows": 32},
}  # fmt: skip
COMMAND = ("recipe=shop", "model=[net]", "report.html=false", "engine.threads=1")


def judged(run: Path) -> dict[str, object]:
    model = json.loads((run / "metrics.json").read_text())["targets"]["orders_again"]["models"]["net"]
    return {part: model[part] for part in ("validation", "test")}


def killed_in_an_epoch(work: Work) -> Path:
    """Start the command as a user does, kill it once its network has done some epochs; what is left of it."""
    environment = os.environ | {"PYTHONPATH": str(Path(toolkit.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit", *COMMAND], cwd=work.folder, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    states = work.folder / "outputs/.cache/unfinished"
    while not list(states.glob("*/state.safetensors")):
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)  # or so small a network would be done before it is killed
    (left,) = (path for path in work.runs() if path.name.startswith(".unfinished-"))
    refused = work.run(f"resume={left}")
    assert "is still at work" in refused.err
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(states.glob("*/state.safetensors"))
    return left


def test_a_run_killed_in_an_epoch_ends_as_one_that_was_never_stopped(work: Work) -> None:
    work.write({"conf/model/net.yaml": json.dumps(NET)})
    left = killed_in_an_epoch(work)
    said = work.run(f"resume={left}")
    assert said.code == 0, said.err
    (resumed,) = (path for path in work.runs() if not path.name.startswith("."))
    note = next(line for line in (resumed / "run.log").read_text().splitlines() if "recipe=shop" in line)
    assert "model=[net]" in note  # it is the same command

    whole = work.run(*COMMAND, "cache=elsewhere")
    assert whole.code == 0, whole.err
    (other,) = (path for path in work.runs() if not path.name.startswith(".") and path != resumed)
    assert judged(resumed) == judged(other)
    built = json.loads((resumed / "metrics.json").read_text())["built"]
    assert not any("clients" in one for one in built), built  # tables were found
    assert any("clients" in one for one in json.loads((other / "metrics.json").read_text())["built"])
    assert not list((work.folder / "outputs/.cache/unfinished").glob("*/state.safetensors"))


def test_what_was_left_goes_with_the_run_that_went_on_from_it_and_a_finished_one_is_refused(
    work: Work,
) -> None:
    assert work.run("recipe=shop", "report.html=false").code == 0
    (run,) = work.runs()
    left = run.with_name(".unfinished-2026-01-01_00-00-00-abcdef01")
    left.mkdir()
    shutil.copy(run / "environment.json", left)
    assert work.run(f"resume={left}", "--cfg", "job").code == 0
    assert work.run(f"resume={left}").code == 0
    assert not left.exists()
    assert len(work.runs()) == 2
    said = work.run(f"resume={run}")
    assert said.code == 2
    assert "is finished" in said.err
    assert len(work.runs()) == 2

    left.mkdir()  # the control: a run that fails again leaves it
    overrides = {"overrides": ["recipe=shop", "source.path=nowhere"]}
    (left / "environment.json").write_text(json.dumps(overrides))
    assert work.run(f"resume={left}").code == 2
    assert left.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["resume=outputs/none"], "there is no folder `outputs/none`"),
        (["resume=data"], "does not say how it was started"),
        (["resume=data", "seed=3"], "stands beside `seed=3`"),
        (["resume=masked"], "started with a secret"),
    ],
)
def test_what_cannot_be_resumed_is_told(work: Work, words: list[str], said: str) -> None:
    overrides = {"overrides": ["recipe=shop", "source.path=***"]}
    work.write({"masked/environment.json": json.dumps(overrides)})
    message = work.refused(*words)
    assert said in message
    assert "fix:" in message
