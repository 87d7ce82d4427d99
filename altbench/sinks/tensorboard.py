"""TensorBoard: event files in RUN/tensorboard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate
from torch.utils.tensorboard import SummaryWriter


class TensorBoardSink:
    """A `Sink` that writes event files, for `tensorboard --logdir RUN/tensorboard`."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        self._writer = SummaryWriter(folder / "tensorboard" / name)
        self._writer.add_text("sweep", f"```json\n{json.dumps(dict(config), indent=1, default=str)}\n```")

    def scalars(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        """Add a point of each of the curve's values."""
        for key, value in values.items():
            self._writer.add_scalar(f"{curve}/{key}", value, step)

    def summary(self, values: Mapping[str, float]) -> None:
        """Add each number as a scalar of one step."""
        for key, value in values.items():
            self._writer.add_scalar(key, value, 0)

    def table(self, name: str, data: pd.DataFrame) -> None:
        """Add the table as text in Markdown."""
        self._writer.add_text(f"tables/{name}", tabulate(data, headers="keys", tablefmt="pipe", showindex=False))

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
