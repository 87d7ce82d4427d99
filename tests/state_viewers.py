"""A viewer without a simulator: one joint, one finger, one free cube; and files recorded on it in foreign formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from altbench.core.demonstration import JointRanges, NativeModel, View
from altbench.core.errors import DatasetError
from altbench.core.task import TaskInfo
from altbench.core.types import ControlMode, Float32, Float64

TASK = TaskInfo(name="Tiny", version=1, horizon=40, grid_size=4, pose_names=("x", "y"))
JOINTS = {
    "robot0_joint1": JointRanges(slice(1, 2), slice(10, 11)),
    "gripper0_right_finger_joint1": JointRanges(slice(2, 3), slice(11, 12)),
    "cube_joint0": JointRanges(slice(3, 10), slice(12, 18)),
}
NATIVE = NativeModel(
    "RoboTiny", ("Panda",), {"agentview": "agentview", "wrist": "robot0_eye_in_hand"}, JOINTS, state_dim=18
)
SOLVED = 0.9  # m: height of the cube

# As an old robosuite wrote it: the cube first, old names, a joint after the child bodies.
OLD_MODEL = """<mujoco><default><joint type="ball"/></default><worldbody>
<body name="cube"><geom/><joint name="cube_jnt0" type="free"/></body>
<body name="link"><body name="hand"><joint name="gripper0_finger_joint1" type="slide"/></body>
<joint name="robot0_joint1"/></body></worldbody><actuator><motor joint="robot0_joint1"/></actuator></mujoco>"""
OLD_COLUMNS = [0, 8, 9, 1, 2, 3, 4, 5, 6, 7, 16, 17, 10, 11, 12, 13, 14, 15]  # present state = old state[these]
CONTROLLER = {
    "type": "OSC_POSE",
    "input_max": 1,
    "input_min": -1,
    "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5],
    "output_min": [-0.05, -0.05, -0.05, -0.5, -0.5, -0.5],
    "kp": 150,
    "control_delta": True,
    "interpolation": None,
}


class TinyViewer:
    """`altbench.api.StateViewer`: the gripper hangs where joint 1 says, straight; the cube's height decides success.

    An action brings it to its target's x within a step.
    """

    info, native = TASK, NATIVE

    def look(
        self, state: Float64, image_size: tuple[int, int] | None = None, object_pose: Float64 | None = None
    ) -> View:
        if abs(state).max() > 1e6:
            raise DatasetError("expected a state that can be set in the simulator")
        joint, finger, cube = state[1], state[2], state[3:6]
        agent_pos = np.array([joint, 0, 1, 1, 0, 0, 0, 1, 0, finger, -finger], np.float32)
        pixels = {}
        if image_size is not None:
            pixels = {c: np.full((*image_size, 3), int(100 * joint) % 256, np.uint8) for c in TASK.cameras}
        pose = cube[:2].copy() if object_pose is None else object_pose
        return View(agent_pos, cube.astype(np.float32), pose, bool(cube[2] > SOLVED), pixels)

    def after(
        self, state: Float64, action: Float32, control_mode: ControlMode, object_pose: Float64 | None = None
    ) -> Float64:
        later = state.copy()
        later[0] += 1 / TASK.control_hz
        later[1] = action[0] if control_mode == "ee_pose" else state[1] + 0.05 * action[0]
        return later

    def environment(self, control_mode: ControlMode, image_size: tuple[int, int]) -> Any:
        raise NotImplementedError


def states(frames: int = 8, solved_at: int = 6) -> Float64:
    """Present states (T, 18): joint 1 moves 1 cm a frame; the cube is high up from frame `solved_at` on."""
    found = np.zeros((frames, 18))
    found[:, 0] = 0.05 * np.arange(frames)
    found[:, 1] = 0.01 * np.arange(frames)
    found[:, 2], found[:, 3], found[:, 4], found[:, 6] = 0.02, 0.1, -0.1, 1.0
    found[:, 5] = np.where(np.arange(frames) < solved_at, 0.8, 1.0)
    found[:, 10:] = np.arange(frames * 8).reshape(frames, 8)
    return found


def old(present: Float64) -> Float64:
    """`present` as the old model has them."""
    found = np.zeros_like(present)
    found[:, OLD_COLUMNS] = present
    return found


def actions(frames: int = 8) -> Float64:
    """Delta actions (T, 7); the gripper closes half-way."""
    found = np.zeros((frames, 7))
    found[:, 0], found[:, 3], found[:, 6] = 0.2, 0.1, np.where(np.arange(frames) < frames // 2, -1, 1)
    return found


def write_robosuite(path: Path, model: str = OLD_MODEL, **changes: Any) -> Path:
    """A file in robosuite's collection format; `changes` to `env_info`."""
    info = {"env_name": "RoboTiny", "robots": "Panda", "controller_configs": CONTROLLER, **changes}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs.update({"env": "RoboTiny", "env_info": json.dumps(info), "repository_version": "1.0.0"})
        for name in ("demo_1", "demo_2", "demo_10"):
            demo = data.create_group(name)
            demo.attrs["model_file"] = model
            demo["states"], demo["actions"] = old(states()), actions()
    return path


def write_robomimic(path: Path, controller: dict[str, Any] = CONTROLLER, **changes: Any) -> Path:
    """A file in robomimic's format without images; `changes` to `env_args`."""
    kwargs = {"controller_configs": controller, "control_freq": 20}
    args = {"env_name": "RoboTiny", "type": 1, "env_version": "1.4.1", "env_kwargs": kwargs, **changes}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(args)
        demo = data.create_group("demo_0")
        demo.attrs.update({"model_file": OLD_MODEL, "num_samples": 8})
        demo["states"], demo["actions"] = old(states()), actions()
        demo["rewards"] = np.zeros(8)
    return path
