"""`altbench demos info`: the contents of a file of demonstrations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from altbench.dataset.files import DatasetInfo

File = Annotated[Path, typer.Argument(help="A demonstrations file (HDF5).", show_default=False)]


def info(file: File) -> None:
    """Show what a file contains: task, frames, cameras, versions, checksum.

    - `altbench demos info data/Lift.hdf5`
    """
    from altbench.dataset import files
    from altbench.system.console import FittingTable, make_console, show

    table = FittingTable(("", str(file)), prose=[1])
    for name, value in _description(files.info(file)).items():
        table.add(name, value)
    show(make_console(), table)


def _description(found: DatasetInfo) -> dict[str, str]:
    """Return the rows of the table: name -> text."""
    meta, lengths, n = found.meta, found.lengths, len(found.lengths)
    height, width = meta.image_size
    shown = f"each {n / meta.grid_size:.3g} times" if n >= meta.grid_size else f"{n} of them"
    grid = f"grid of {meta.grid_size} poses, {shown}"
    return {
        "task": f"{meta.task} (version {meta.task_version})",
        "demonstrations": f"{n} ({sum(found.successes)} successful)",
        "placement": grid if meta.placement == "grid" else "uniform",
        "frames": f"{sum(lengths)} ({min(lengths)} to {max(lengths)} each, {sum(lengths) / n:.1f} on average)",
        "duration": f"{sum(lengths) / meta.control_hz:.1f} s at {meta.control_hz:g} Hz",
        "cameras": f"{', '.join(meta.cameras)}, {height}×{width}, render profile {meta.render_profile}",
        "actions": f"{meta.control_mode}, {meta.action_dim} numbers",
        "root seed": str(meta.root_seed),
        "made with": ", ".join(f"{name} {number}" for name, number in meta.versions.items()),
        "size": f"{found.file_bytes / 1e6:.1f} MB",
        "checksum": found.checksum,
    }
