"""Processes of their own for command lines, without what each spends on its imports.

One process imports what a run needs and forks for every command it is told: what a test kills, lets die or
starts twice is a real process, and begins in a tenth of a second rather than after three of the processor's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVE = """
import json, os, signal, sys
import sklearn.linear_model
import toolkit.cli.job, toolkit.cli.verbs, toolkit.runner, toolkit.report.page
from toolkit.cli.main import main

def begin(words, folder, environment):
    os.setsid()
    signal.alarm(200)  # and a command that hangs is no test that hangs
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for stream, name in (1, "out"), (2, "err"):
        os.dup2(os.open(f"{folder}/.{os.getpid()}.{name}", os.O_WRONLY | os.O_CREAT, 0o600), stream)
    code = 1
    try:
        code = main(words)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

for line in sys.stdin:
    asked = json.loads(line)
    if "wait" in asked:
        answer = os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])
    elif (answer := os.fork()) == 0:
        begin(**asked)
    print(answer, flush=True)
"""


@dataclass
class Process:
    """A command line at work, leader of a process group, as `subprocess.Popen` would give it."""

    server: Server
    pid: int
    folder: Path
    returncode: int | None = None

    def communicate(self) -> tuple[str, str]:
        """Wait for its end. Returns what it wrote to both streams."""
        self.returncode = self.server.ask(wait=self.pid)
        paths = [self.folder / f".{self.pid}.{name}" for name in ("out", "err")]
        out, err = (path.read_text() for path in paths)
        for path in paths:
            path.unlink()
        return out, err


class Server:
    """What forks. path: folders of packages that are to be found besides the toolkit's dependencies."""

    def __init__(self, *path: Path) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
        self.environment = environment
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, **asked: Any) -> int:
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def start(self, folder: Path, *words: str) -> Process:
        """Start `python -m toolkit WORDS` in a folder, with the environment as it is now."""
        environment = dict(os.environ) | {"PYTHONPATH": self.environment["PYTHONPATH"]}
        return Process(self, self.ask(words=words, folder=str(folder), environment=environment), folder)

    def close(self) -> None:
        self.process.communicate()
