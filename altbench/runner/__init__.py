"""Doing it: a sweep becomes jobs, jobs become checkpoints, cells and measurements in a run's folder."""

from altbench.runner.main import run

__all__ = ["run"]
