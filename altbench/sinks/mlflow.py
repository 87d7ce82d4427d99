"""MLflow: a run of an experiment. Without MLFLOW_TRACKING_URI it is kept in RUN/mlruns."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

EXPERIMENT = "altbench"
MOST_METRICS = 1000
"""How many numbers MLflow takes in one request."""
LONGEST_PARAMETER = 6000
"""How many letters it takes as a parameter."""


class MlflowSink:
    """A `Sink` that logs a run; numbers are sent many at a time."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        self._client = MlflowClient(store_of(folder))
        known = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = known.experiment_id if known else self._client.create_experiment(EXPERIMENT)
        self._run = self._client.create_run(experiment, run_name=name).info.run_id
        self._waiting: list[Metric] = []
        parameters = [Param(key, str(value)[:LONGEST_PARAMETER]) for key, value in config.items()]
        self._client.log_batch(self._run, params=parameters)

    def scalars(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        """Add the values at the curve's step."""
        self._add({f"{curve}/{key}": value for key, value in values.items()}, step)

    def summary(self, values: Mapping[str, float]) -> None:
        """Add final numbers."""
        self._add(values, 0)

    def table(self, name: str, data: pd.DataFrame) -> None:
        """Add the table as the artifact tables/NAME.csv."""
        self._client.log_text(self._run, data.to_csv(index=False), f"tables/{name}.csv")

    def close(self) -> None:
        """Send what is left, and end the run."""
        self._send()
        self._client.set_terminated(self._run)

    def _add(self, values: Mapping[str, float], step: int) -> None:
        self._waiting += [Metric(_allowed(key), float(value), 0, step) for key, value in values.items()]
        if len(self._waiting) >= MOST_METRICS:
            self._send()

    def _send(self) -> None:
        for i in range(0, len(self._waiting), MOST_METRICS):
            self._client.log_batch(self._run, metrics=self._waiting[i : i + MOST_METRICS])
        self._waiting = []


def store_of(folder: Path) -> str:
    """Return where runs are kept: what MLFLOW_TRACKING_URI says, or files in `folder`."""
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    # Newer MLflow keeps runs in files only if it is told so; its databases need far more packages.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return (folder / "mlruns").absolute().as_uri()


def _allowed(name: str) -> str:
    """Return a name without the letters that MLflow refuses."""
    return re.sub(r"[^\w\-. /]", "_", name)
