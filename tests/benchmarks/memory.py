"""How the peak memory of `recipe=donor_multitarget` grows with donors: one epoch, few trees, all else as shipped.

python tests/benchmarks/memory.py [donors …]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from common import ROOT, machine

WORDS = (
    "recipe=donor_multitarget",
    "trainer.epochs=1",
    "model.lightgbm.num_iterations=20",
    "quiet=true",
)
CHILD = (
    "import resource, subprocess, sys\n"
    "subprocess.run([sys.executable, '-m', 'toolkit', *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)\n"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def peak(donors: int) -> float:
    """GB, of the largest process of a run."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *WORDS, f"source.world.size={donors}"], cwd=folder, check=True,
            capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    return int(done.stdout.split()[-1]) / 1e6


if __name__ == "__main__":
    print(machine())
    for donors in map(int, sys.argv[1:] or ["50000", "500000"]):
        found = peak(donors)
        print(f"{donors:>9,} donors: peak {found:.1f} GB, {1e6 * found / donors:.1f} KB a donor", flush=True)
