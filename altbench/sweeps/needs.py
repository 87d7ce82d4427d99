"""What a sweep needs before it can run: whether demonstrations must be collected."""

from __future__ import annotations

from altbench.core import registry
from altbench.core.policy import Trainable
from altbench.sweeps.spec import SweepSpec

CALIBRATE = "calibrate"
"""The split whose episodes begin as those of `recall` do, with draws of their own.

Thresholds are set on it, and what they do is measured on `recall`.
"""
FROM_DEMONSTRATIONS = ("replay", "recall", CALIBRATE)
"""The splits whose episodes begin where a demonstration began."""


def task_split(split: str) -> str:
    """Return the split by which a task knows `split`."""
    return "recall" if split == CALIBRATE else split


def needs_demonstrations(sweep: SweepSpec) -> bool:
    """Return whether anything in `sweep` needs demonstrations.

    A policy that learns is fitted to them, and the splits of `FROM_DEMONSTRATIONS` begin
    where they began. A file that the sweep names is always read, since it enters the
    keys.
    """
    if sweep.demonstrations.file or any(e.split in FROM_DEMONSTRATIONS for e in sweep.evaluations):
        return True
    return any(issubclass(registry.policy(entry.registered), Trainable) for entry in sweep.policies)
