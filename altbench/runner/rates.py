"""What work costs: seconds and bytes, as measured once, for estimates before a run.

`python benchmarks/rates.py` writes rates.toml.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from altbench.core.spec import Spec, read_toml

PATH = Path(__file__).with_name("rates.toml")
"""The measured rates that altbench brings."""


class Rates(Spec):
    """What work costs on `machine`, on one thread; policies are named `policy:preset`.

    `episodes`: task -> policy -> seconds of an episode. `steps`: policy -> seconds of a
    gradient step. `fits`: policy -> seconds of a fit without steps. `demonstrations`:
    task -> seconds to collect one. `frames`: task -> control steps of one. `cell_s`:
    seconds of a cell beside its episodes. `measurement_s`: seconds of a measurement of
    time and memory. `around_s`: seconds of a run before and after its jobs: loading,
    tables and figures. `checkpoint_bytes`: policy -> bytes on disk. `step_bytes`: bytes of
    a recorded control step. `pixel_bytes`: bytes of a demonstration's file for each
    byte of its images. `measured`: the day.
    """

    machine: str = ""
    measured: str = ""
    episodes: Mapping[str, Mapping[str, float]] = {}
    steps: Mapping[str, float] = {}
    fits: Mapping[str, float] = {}
    demonstrations: Mapping[str, float] = {}
    frames: Mapping[str, float] = {}
    cell_s: float = 0.0
    around_s: float = 0.0
    measurement_s: float = 0.0
    checkpoint_bytes: Mapping[str, int] = {}
    step_bytes: float = 0.0
    pixel_bytes: float = 0.0


@cache
def shipped() -> Rates:
    """Return the rates that altbench brings."""
    return Rates.parse(read_toml(PATH), PATH.name)


def preset_of(policy: str, preset: str) -> str:
    """Return how the rates name a policy at a preset: `policy:preset`."""
    return f"{policy}:{preset}"


def steps_of(config: Mapping[str, Any], frames: int) -> int:
    """Return the gradient steps of a fit with the settings `config`; 0 if they name none.

    `frames`: in the training set, for policies that count in epochs.
    """
    if "train_steps" not in config:
        return 0
    if config["train_steps"] is not None:
        return int(config["train_steps"])
    batch = min(int(config.get("batch_size") or 1), max(frames, 1))
    steps = math.ceil(float(config.get("epochs") or 0) * frames / batch)
    most = int(config.get("max_steps") or 0)
    steps = max(steps, int(config.get("min_steps") or 0))
    return min(steps, most) if most else steps
