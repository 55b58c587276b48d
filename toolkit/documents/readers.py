"""Processes that look at documents and read them: one that hangs or breaks down is ended and replaced.

They are programs of their own, neither forked nor made of whatever program runs here, and end by themselves
when whoever started them has gone.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any, Literal

from toolkit.documents.opening import RejectedError
from toolkit.errors import UserError

Tell = Callable[[], None]
Work = Callable[[Any, Tell], Any]  # a task, and what tells of each step; raises RejectedError
log = logging.getLogger("toolkit")
GLANCE = 0.5  # seconds between looks at whether anybody asks any more
BROKEN = "its reader broke down"
THREADS = ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Answer:
    """What a reader says of a task: a step of it is done, all of it (with its value), or why it is not.

    Callers see `step`, `done` and `rejected` only.
    """

    task: Any
    what: Literal["ready", "step", "done", "rejected", "warning", "error", "broken"]
    value: Any = None


@dataclass
class Reader:
    """A process that works, what it works on, and until when. ready: has it said that it is there?"""

    process: subprocess.Popen[bytes]
    connection: Connection
    task: Any = None
    until: float = float("inf")
    ready: bool = False

    def next(self, waiting: deque[Any], seconds: float) -> None:
        """Give it the next task, if there is one."""
        self.task, self.until = None, float("inf")
        if waiting and self.ready:
            self.task = waiting.popleft()
            self.until = time.monotonic() + seconds
            with suppress(OSError):  # it has broken down, which `answer` says
                self.connection.send(self.task)

    def answer(self) -> Answer:
        """What it says; that it is broken, if it says nothing any more."""
        try:
            what, value = self.connection.recv()
        except (EOFError, OSError):
            return Answer(self.task, "broken", BROKEN)
        self.ready = True
        return Answer(self.task, what, value)

    def end(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)  # with what it has started in turn
        self.process.wait()
        self.connection.close()


class Readers:
    """So many processes, started when there is something to do and ended with the block."""

    def __init__(self, work: Work, processes: int) -> None:
        """work: a function of a module, which a new process can import."""
        self.work, self.processes = work, processes
        self.readers: list[Reader] = []

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self.readers:
            reader.end()

    def answers(self, tasks: Iterable[Any], seconds: float) -> Iterator[Answer]:
        """Answers to tasks, as they come; one that takes longer than `seconds` is rejected without a reason.

        A UserError that a reader raises is raised here.
        """
        waiting = deque(tasks)
        for reader in self.readers:
            reader.next(waiting, seconds)
        while len(self.readers) < self.processes and len(self.readers) < len(waiting):
            self.readers.append(_started(self.work))
        while waiting or any(reader.task is not None for reader in self.readers):
            soonest = min(reader.until for reader in self.readers) - time.monotonic()
            ready = wait(
                [one.connection for one in self.readers], max(soonest, 0) if isfinite(soonest) else None
            )
            for index, reader in enumerate(self.readers):
                if reader.connection in ready:
                    answer = reader.answer()
                elif reader.until <= time.monotonic():
                    answer = Answer(reader.task, "broken")
                else:
                    continue
                if answer.what == "error":
                    raise answer.value
                if answer.what == "warning":
                    log.warning("%s", answer.value)
                    continue
                if answer.what == "broken":
                    if reader.task is None:
                        raise RuntimeError("a process that reads documents did not start")
                    reader.end()
                    self.readers[index] = _started(self.work)
                    yield Answer(reader.task, "rejected", answer.value)
                    continue
                if answer.what != "ready":
                    yield answer
                if answer.what != "step":
                    reader.next(waiting, seconds)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:100]


def _started(work: Work) -> Reader:
    ours, theirs = Pipe()
    code = f"from toolkit.documents.readers import serve; serve({theirs.fileno()}, {os.getpid()})"
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    # One thread each: there is a reader for each core. A session of its own: Ctrl-C is for whoever started it.
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True,
        env=os.environ | {"PYTHONPATH": paths} | dict.fromkeys(THREADS, "1"),
    )  # fmt: skip
    theirs.close()
    with suppress(OSError):  # it did not start, which `answer` says
        ours.send(work)
    return Reader(process, ours)


def _end_with(parent: int) -> None:
    """End, with all that was started here, when the process that asks has gone: in the middle of a page, too."""
    while os.getppid() == parent:
        time.sleep(GLANCE)
    os.killpg(0, signal.SIGKILL)


def serve(handle: int, parent: int) -> None:
    """What a reader does: a task after another, until nobody asks any more.

    handle: its end of the line; parent: the process that asks.
    """
    Thread(target=_end_with, args=(parent,), daemon=True).start()
    connection: Connection = Connection(handle)
    work: Work = connection.recv()
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)  # what C libraries have to say of each damaged file
    connection.send(("ready", None))

    def tell() -> None:
        if connection.poll():  # nobody writes while a task is worked on: the other end has gone
            os._exit(0)
        connection.send(("step", None))

    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer: tuple[str, Any] = "done", work(task, tell)
        except RejectedError as error:
            answer = "rejected", str(error)
        except UserError as error:
            answer = "error", error
        except MemoryError:
            answer = "rejected", "needs more memory than there is"
        except Exception as error:  # what libraries raise at damage knows no end; one file stops nobody
            connection.send(("warning", f"{task}: {traceback.format_exc()}"))
            answer = "rejected", f"cannot be read ({type(error).__name__}: {_line(error)})"
        connection.send(answer)
