"""TensorBoard: scalars, and the hyperparameters beside the headline figures."""

from __future__ import annotations

from pathlib import Path

from toolkit.tracking import Tracked
from toolkit.tracking.settings import TensorBoard


def write(settings: TensorBoard, run: Tracked) -> None:
    """Write event files to `<folder>/<recipe>/<run>`."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(Path(settings.folder) / run.recipe / run.name)) as writer:
        for name, value in run.metrics.items():
            writer.add_scalar(name, value, 0)
        chosen = {f"hparam/{name}": value for name, value in run.metrics.items() if name.count("/") == 2}
        writer.add_hparams(dict(run.params), chosen, run_name=".")
        summary = run.folder / "summary.md"
        if summary.is_file():
            writer.add_text("summary", summary.read_text(encoding="utf-8"))
