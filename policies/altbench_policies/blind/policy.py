"""Blind: the demonstration whose objects stood nearest, executed to its end.

It is told where the objects stand, which no camera says so exactly. So it bounds what
any choice of a demonstration can gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from altbench.api import (
    CheckpointError,
    ContractError,
    DatasetError,
    Decision,
    Demonstration,
    FitContext,
    Float32,
    Footprint,
    Int64,
    Observation,
    Requirements,
    TaskInfo,
    Trainable,
)
from altbench_policies import checkpoint, input_checks
from altbench_policies.control import ControlSpec
from altbench_policies.frames import join
from altbench_policies.lookup.frames import Demonstrated
from altbench_policies.lookup.playback import Playback

ARRAYS = ("first", "units")
"""Arrays of a checkpoint, by name, beside the frames."""
MOVES_WITH_THE_ARM = 1000.0
"""How much more a variance within demonstrations counts than one between them."""
LEVER = 0.01
"""How far from an object's middle a rotation is measured (m). At 3 cm, a round can's yaw counted too much."""
UNIT_LENGTH = 1e-3
"""How far from 1 the length of a rotation's column may be."""


class BlindSpec(ControlSpec):
    """Config of blind; see also ControlSpec.

    `action_horizon`: Ta, the actions of a decision. `frames`: how many frames of each
    demonstration show which numbers of the state move with the arm.
    """

    action_horizon: int = Field(default=8, ge=1)
    frames: int = Field(default=10, ge=1)


@dataclass(frozen=True)
class Shown:
    """E demonstrations: their first states and all their actions.

    `first`: float32 (E, De), in units of `units` (De,). `starts`: int64 (E,), the row
    where each begins.
    """

    first: Float32
    units: Float32
    demonstrated: Demonstrated
    starts: Int64

    @classmethod
    def of(cls, first: Float32, units: Float32, demonstrated: Demonstrated) -> Shown:
        """Add where each demonstration begins."""
        return cls(first, units, demonstrated, np.flatnonzero(demonstrated.frame == 0))


class Blind(Trainable[BlindSpec]):
    """The demonstration whose first state is nearest to the episode's, executed blindly.

    Privileged: it sees the task's state.
    """

    name: ClassVar[str] = "blind"
    version: ClassVar[int] = 1

    def __init__(self, task: TaskInfo, config: BlindSpec) -> None:
        super().__init__(task, config)
        self._shown: Shown | None = None
        self._playing: dict[int, Playback] = {}

    @property
    def requirements(self) -> Requirements:
        """The task's state, looked at once per episode; no images."""
        horizon = self.config.action_horizon
        return Requirements((), 1, horizon, horizon, self.config.control_mode, needs_state=True)

    def fit(self, demonstrations: Sequence[Demonstration], context: FitContext) -> None:
        """Keep the first states and all actions."""
        frames = join(demonstrations, (), control_mode=self.config.control_mode)
        windows = np.stack([_first_states(d, self.config.frames) for d in demonstrations])
        units = _units(windows)
        self._shown = Shown.of(windows[:, 0] / units, units, Demonstrated.of(frames))
        context.progress(1, 1, {})

    def save(self, folder: Path) -> None:
        """Write the first states and the actions."""
        shown = self.shown()
        arrays = {**{name: getattr(shown, name) for name in ARRAYS}, **shown.demonstrated.arrays()}
        checkpoint.write(folder, checkpoint.Checkpoint({}, arrays=arrays))

    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote; raises CheckpointError if it is damaged."""
        del device  # these are a few small arrays
        saved = checkpoint.read(folder)
        first, units = (saved.array(name) for name in ARRAYS)
        demonstrated = Demonstrated.from_arrays(saved.arrays, len(saved.array("actions")))
        shown = Shown.of(first, units, demonstrated)
        if first.shape != (len(shown.starts), len(units)):
            raise CheckpointError(
                f"{folder}: expected first states {(len(shown.starts), len(units))}, got {first.shape}; fit again"
            )
        self._shown = shown

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Let each slot choose a demonstration at its next decision."""
        del seeds  # nothing here is random
        for slot in slots:
            self._playing[slot] = Playback()

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Return the next Ta actions of each slot's demonstration.

        Past its end, its last action is repeated.
        """
        shown = self.shown()
        input_checks.check_begun(slots, self._playing)
        self._choose(observation, slots)
        playing = [self._playing[slot] for slot in slots]
        starts = shown.starts[[p.demonstration for p in playing]]
        rows = np.minimum(starts + [p.step for p in playing], shown.demonstrated.last[starts])
        for p in playing:
            p.step += self.config.action_horizon
        similarities = -np.array([[p.distance] for p in playing], np.float32)
        chunk = shown.demonstrated.chunk(rows, self.config.action_horizon)
        return Decision(chunk, matches=shown.demonstrated.names(rows[:, None]), similarities=similarities)

    def footprint(self) -> Footprint:
        """Return the bytes of the first states and of the actions."""
        if self._shown is None:
            return Footprint()
        own = sum(int(getattr(self._shown, name).nbytes) for name in ARRAYS)
        return Footprint(table=own + self._shown.demonstrated.bytes)

    def shown(self) -> Shown:
        """Return what `fit` made; raise CheckpointError before `fit` or `load`."""
        if self._shown is None:
            raise input_checks.not_fitted(self.name)
        return self._shown

    def _choose(self, observation: Observation, slots: Sequence[int]) -> None:
        """Choose the demonstration with the nearest first state for slots that begin."""
        new = [b for b, slot in enumerate(slots) if self._playing[slot].demonstration < 0]
        if not new:
            return
        shown, state = self.shown(), observation.environment_state
        numbers = len(shown.units)
        if state is None or state.shape[2] != numbers:
            came = "none" if state is None else state.shape
            raise ContractError(f"expected environment_state (B, To, {numbers}) as in training, got {came}")
        for b in new:
            apart = np.linalg.norm(shown.first - state[b, -1] / shown.units, axis=1)
            nearest = int(apart.argmin())
            self._playing[slots[b]] = Playback(nearest, 0, float(apart[nearest]))


def _first_states(demonstration: Demonstration, frames: int) -> Float32:
    """Return a demonstration's first states (W, De), its last one repeated past its end."""
    states = demonstration.environment_state
    if states is None:
        raise DatasetError(
            f"demonstration {demonstration.index}: expected environment_state, which tells where the objects stand; "
            "collect the demonstrations again, or leave the policy blind out"
        )
    first: Float32 = states[np.minimum(np.arange(frames), len(states) - 1)]
    return first


def _units(windows: Float32) -> Float32:
    """Return the unit of each number of the state, float32 (De,).

    `windows`: float32 (E, W, De). Positions count in metres, and a rotation by how far
    it moves a point at `LEVER`. A number that changes within demonstrations counts
    little: the arm's distance from the object does not say where the object stands.
    """
    between, within = windows.mean(axis=1).var(axis=0), windows.var(axis=1).mean(axis=0)
    units = np.sqrt(1 + MOVES_WITH_THE_ARM * within / (between + np.float32(1e-6)))
    units[_rotations(windows[:, 0])] /= LEVER
    found: Float32 = units.astype(np.float32)
    return found


def _rotations(states: Float32) -> Int64:
    """Return which numbers of `states` (E, De) are columns of rotation matrices.

    They are three in a row, of length 1 in every state.
    """
    lengths = [np.linalg.norm(states[:, i : i + 3], axis=1) for i in range(states.shape[1] - 2)]
    begins = [i for i, length in enumerate(lengths) if np.abs(length - 1).max() < UNIT_LENGTH]
    return np.unique([i + k for i in begins for k in range(3)]).astype(np.int64)
