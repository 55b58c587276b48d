"""Work for the processes that read documents: what a task is called is what happens."""

from __future__ import annotations

import os
import time
from collections.abc import Callable


def work(task: str, tell: Callable[[], None]) -> str:
    if task == "die":
        os.kill(os.getpid(), 11)
    if task == "oops":
        raise ZeroDivisionError("a bug")
    if task == "hang":
        time.sleep(600)
    return f"read {task}"
