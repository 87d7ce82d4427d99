"""Weights & Biases: a run of a project. `WANDB_MODE=offline` keeps it on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import wandb

PROJECT = "altbench"
"""The project, if WANDB_PROJECT names none."""


class WandbSink:
    """A `Sink` that logs a run; what it keeps on disk is in RUN/wandb."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        settings = wandb.Settings(silent=True, console="off")
        project = wandb.setup().settings.project or PROJECT
        self._run = wandb.init(project=project, name=name, dir=str(folder), config=dict(config), settings=settings)
        self._curves: set[str] = set()

    def scalars(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        """Log the values over a step of the curve's own: each training begins at 0."""
        if curve not in self._curves:
            self._curves.add(curve)
            self._run.define_metric(f"{curve}/*", step_metric=f"{curve}/step")
        self._run.log({f"{curve}/step": step, **{f"{curve}/{key}": value for key, value in values.items()}})

    def summary(self, values: Mapping[str, float]) -> None:
        """Set numbers of the run's summary."""
        self._run.summary.update(dict(values))

    def table(self, name: str, data: pd.DataFrame) -> None:
        """Log the table, every value as text or number."""
        shown = data.astype(object).where(data.notna(), None)
        columns = list(map(str, shown.columns))
        self._run.log(
            {f"tables/{name}": wandb.Table(columns=columns, data=shown.values.tolist(), allow_mixed_types=True)}
        )

    def close(self) -> None:
        """Send what is left, or write it if offline."""
        self._run.finish()
