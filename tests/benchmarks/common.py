"""What the benchmarks share: run the toolkit as a user does, and say on what machine."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("TOOLKIT_REAL_DATA", ROOT.parent / "shared" / "data"))


def machine() -> str:
    return f"{date.today()}, {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def toolkit(*arguments: str, folder: Path) -> float:
    """Run the command line in `folder`; seconds. Raises with its output if it fails."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "toolkit", *arguments], cwd=folder, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"toolkit {' '.join(arguments)}\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - begun


def peak_of_children() -> float:
    """Largest resident set of any finished child process, in GB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6


def metrics(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())
