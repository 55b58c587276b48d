"""How fast the command line answers, and that nothing heavy is imported for it.

python tests/benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from common import ROOT, machine, toolkit


def main() -> None:
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        for arguments in (
            ["--help"],
            ["list"],
            ["recipe=donor_retention", "--cfg", "job"],
            ["show", "recipe=donor_retention"],
        ):
            seconds = [toolkit(*arguments, folder=Path(folder)) for _ in range(5)]
            print(
                f"{' '.join(arguments)}: median {statistics.median(seconds):.2f} s, slowest {max(seconds):.2f} s"
            )
        code = (
            "import sys; from toolkit.cli.main import main; "
            "code = main(['recipe=donor_retention', 'quiet=true']); "
            "print('imported after a whole run:', [m for m in ('torch', 'pytorch_lightning', 'torch_geometric', 'openai', 'optuna') if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(ROOT)},
        )
        print(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
