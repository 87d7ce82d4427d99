"""Trackio: a local dashboard (`trackio show`). TRACKIO_DIR says where it keeps runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import trackio

PROJECT = "altbench"


class TrackioSink:
    """A `Sink` that logs a run into Trackio's local database."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        del folder  # Trackio keeps all runs in one place
        self._run = trackio.init(project=PROJECT, name=name, config=dict(config), resume="never", embed=False)

    def scalars(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        """Log the values at the curve's step."""
        self._run.log({f"{curve}/{key}": value for key, value in values.items()}, step=step)

    def summary(self, values: Mapping[str, float]) -> None:
        """Log final numbers."""
        self._run.log(dict(values))

    def table(self, name: str, data: pd.DataFrame) -> None:
        """Log the table."""
        self._run.log({f"tables/{name}": trackio.Table(dataframe=data)})

    def close(self) -> None:
        """Write what is left."""
        self._run.finish()
