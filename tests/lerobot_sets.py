"""Small data sets of LeRobot as altbench exports them, of a task that no simulator knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import state_viewers
from state_viewers import TinyViewer

from altbench.core import registry
from altbench.core.demonstration import Demonstration, Recording
from altbench.core.task import InitialState
from altbench.core.types import ControlMode, UInt8

SIZE = (20, 25)


def smooth(frames: int, shift: float) -> UInt8:
    """Images (T, H, W, 3) of coloured waves, which a codec keeps well."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(SIZE[0]), np.arange(SIZE[1]), indexing="ij")
    waves = [np.sin(0.2 * x + 0.1 * t + shift + k) * np.cos(0.15 * y + k) for k in range(3)]
    return (127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


def demonstration(index: int, frames: int = 6, mode: ControlMode = "ee_pose") -> Demonstration:
    viewer, states = TinyViewer(), state_viewers.states(frames + 1, frames)[:frames]
    states[:, 5] = np.where(np.arange(frames) < frames - 1, 0.8, 1.0)
    views = [viewer.look(state) for state in states]
    rng = np.random.default_rng(index)
    return Demonstration(
        index=index,
        pixels={camera: smooth(frames, index + k) for k, camera in enumerate(viewer.info.cameras)},
        agent_pos=np.stack([view.agent_pos for view in views]),
        actions=rng.normal(size=(frames, viewer.info.action_dim(mode))).astype(np.float32),
        states=states,
        initial_state=InitialState(states[0], views[0].object_pose),
        control_mode=mode,
    )


def export(out: Path, mode: ControlMode = "ee_pose", **choices: Any) -> list[Demonstration]:
    made = [demonstration(0, 6, mode), demonstration(1, 9, mode), demonstration(2, 4, mode)]
    recording = Recording(mode, SIZE, len(made), made, {"mujoco": "3.9.0"})
    exporter: Any = registry.exporter("lerobot")
    exporter(recording, TinyViewer(), str(out), **choices)
    return made
