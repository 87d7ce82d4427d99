"""What a sink is, and which there are. Nothing of theirs is imported before it is used."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from altbench.core.errors import ConfigError, UnknownNameError

NONE = "none"
SINKS = {
    "tensorboard": ("altbench.sinks.tensorboard:TensorBoardSink", "tensorboard"),
    "wandb": ("altbench.sinks.wandb:WandbSink", "wandb"),
    "trackio": ("altbench.sinks.trackio:TrackioSink", "trackio"),
    "mlflow": ("altbench.sinks.mlflow:MlflowSink", "mlflow"),
}
"""Name -> the sink's class, and the package that it needs."""


class Sink(Protocol):
    """A place for curves, numbers and tables. It is made as `Sink(folder, name, config)`.

    `folder`: the run's, for what a sink keeps on disk. `name`: what the run is called.
    `config`: the sweep, as plain values.
    """

    def scalars(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        """Add the values of a training curve at a step, which grows from call to call."""

    def summary(self, values: Mapping[str, float]) -> None:
        """Add final numbers, by name."""

    def table(self, name: str, data: pd.DataFrame) -> None:
        """Add a final table."""

    def close(self) -> None:
        """Send or write what is left."""


def check_sink(name: str) -> str:
    """Return the sink's name; UnknownNameError, or ConfigError if its package is missing."""
    if name != NONE and name not in SINKS:
        raise UnknownNameError("sink to --log to", name, [*SINKS, NONE])
    if name != NONE and importlib.util.find_spec(SINKS[name][1]) is None:
        raise ConfigError(
            f"--log {name} needs the package {SINKS[name][1]}, which is missing; install it: pip install 'altbench[{name}]'"
        )
    return name


def open_sink(name: str, folder: Path, title: str, config: Mapping[str, Any]) -> Sink:
    """Open the sink `name` for a run; errors as `check_sink`."""
    module, _, attribute = SINKS[check_sink(name)][0].partition(":")
    made: Sink = getattr(importlib.import_module(module), attribute)(folder, title, config)
    return made
