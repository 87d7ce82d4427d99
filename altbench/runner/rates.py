"""What work costs: seconds and bytes, as measured once, for estimates before a run.

`python benchmarks/rates.py` writes rates.toml.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

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
    byte of its images. `measured`: the day. `precision`: what its gradient steps were
    computed in. `fp32_times`: how many times as long a step takes in fp32, on a
    processor without bfloat16 instructions, as it does in bf16.
    """

    machine: str = ""
    measured: str = ""
    precision: Literal["", "bf16", "fp32"] = ""
    fp32_times: float = 1.0
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


def slower_in(precision: str, rates: Rates) -> float:
    """Return how many times the rates' seconds a gradient step takes in `precision`: fp32 or bf16."""
    if not rates.precision or precision == rates.precision:
        return 1.0
    return rates.fp32_times if precision == "fp32" else 1.0 / rates.fp32_times


@cache
def shipped() -> Rates:
    """Return the rates that altbench brings."""
    return Rates.parse(read_toml(PATH), PATH.name)


def preset_of(policy: str, preset: str) -> str:
    """Return how the rates name a policy at a preset: `policy:preset`."""
    return f"{policy}:{preset}"


@runtime_checkable
class _Stepped(Protocol):
    """Settings of a policy that learns by gradient steps."""

    def total_steps(self, frames: int) -> int:
        """Return the gradient steps of a fit to `frames` frames."""
        ...


def steps_of(settings: Spec, frames: int) -> int:
    """Return the gradient steps of a fit to `frames` frames; 0 if the settings do not tell them.

    They tell them by a method `total_steps`, which training itself asks.
    """
    return settings.total_steps(frames) if isinstance(settings, _Stepped) else 0
