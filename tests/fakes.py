"""Fakes without a simulator: a task in numpy, its expert, and demonstrations of it.

`FakeTask` keeps the whole contract of `altbench.api.TaskEnv` and of the bench's
environments: a point (the gripper) must come within `REACH` of a target on a table.
Everything is exact and cheap (20 µs a step), so that tests of the bench's own logic use
it; a random policy solves about one episode in ten. `register()` registers it as task
`Fake`, with its expert.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from altbench.core import registry
from altbench.core.demonstration import Demonstration, NativeModel, RestorableTask
from altbench.core.errors import ConfigError, ContractError
from altbench.core.seeds import derive_seed
from altbench.core.task import DeltaTask, InitialState, TaskInfo
from altbench.core.types import ControlMode, Float32, Float64, ObsType, UInt8
from altbench.dataset.format import DatasetMeta

WORKSPACE = 0.25  # half the width of the cube the gripper may move in, m
TASK = TaskInfo(
    name="Fake",
    version=1,
    horizon=40,
    grid_size=6,
    pose_names=("x", "y"),
    movable=True,
    workspace=((-WORKSPACE,) * 3, (WORKSPACE,) * 3),
    instruction="reach the target",
)
TABLE = 0.14  # half the width of the square the target may stand in, m
MAX_STEP = 0.03  # how far the gripper moves in one control step, m
REACH = 0.02  # m
ROT6D = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
GRID = np.array([(x, y) for x in (-0.12, 0.0, 0.12) for y in (-0.1, 0.1)])
COLOURS = {"target": (220, 40, 40), "gripper": (40, 200, 60)}


class FakeTask(DeltaTask, RestorableTask):
    """A point in a cube that must reach a target.

    Its state vector: time, gripper (3), target (2). `fail_seeds`: episodes with these
    seeds never succeed (for tests of failing experts).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    info = TASK

    def __init__(
        self,
        obs_type: ObsType = "pixels",
        control_mode: ControlMode = "ee_pose",
        render_profile: str = "fast",
        image_size: tuple[int, int] = (16, 16),
        placement: str = "default",
        render_mode: str = "rgb_array",
        fail_seeds: frozenset[int] = frozenset(),
    ) -> None:
        self.obs_type, self.control_mode, self.image_size = obs_type, control_mode, image_size
        self.render_mode, self.fail_seeds = render_mode, fail_seeds
        self.action_space = _action_space(control_mode)
        self.observation_space = _observation_space(obs_type, image_size)
        self._time, self._steps, self._hopeless = 0.0, 0, False
        self._gripper, self._target = np.zeros(3), np.zeros(2)
        self._move: tuple[int, float | Float64] | None = None
        self._moved, self._angle = False, 0.0
        self._initial = InitialState(self.sim_state(), self._target.copy())

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        options = options or {}
        split = options.get("split", "uniform")
        if split not in TASK.splits:
            raise ConfigError(f"unknown split {split!r}")
        noise = self.np_random.normal(0.0, 0.01, 3)
        drawn = self.np_random.uniform(-TABLE, TABLE, 2)
        self._time, self._steps, self._hopeless = 0.0, 0, seed in self.fail_seeds
        self._move, self._moved = _requested_move(options), False
        self._angle = 0.0 if self._move is None else self.np_random.uniform(-np.pi, np.pi)
        self._gripper = np.array([0.0, 0.0, 0.15]) + noise
        self._target = self._place(split, drawn, options)
        self._initial = InitialState(self.sim_state(), self._target.copy())
        return self.observe(self.obs_type == "pixels"), self._info()

    def _place(self, split: str, drawn: Float64, options: Mapping[str, Any]) -> Float64:
        if split == "uniform":
            return drawn
        if split == "grid":
            return GRID[options.get("episode", 0) % TASK.grid_size].copy()
        start: InitialState = options["initial_state"]
        if split == "replay":
            self._time, self._gripper = float(start.sim_state[0]), start.sim_state[1:4].copy()
            return start.sim_state[4:].copy()
        return start.object_pose.copy()

    def advance(self, action: Float32) -> tuple[float, bool, bool, dict[str, Any]]:
        if np.shape(action) != self.action_space.shape:
            raise ContractError(f"expected an action of shape {self.action_space.shape}, got {np.shape(action)}")
        if self._move is not None and self._move[0] == self._steps:
            by = self._move[1]
            there = isinstance(by, np.ndarray)
            away = 0.0 if there else by * np.array([np.cos(self._angle), np.sin(self._angle)])
            self._target = by.copy() if there else self._target + away
            self._moved = True
        if self.control_mode == "ee_pose":
            move = np.asarray(action[:3], np.float64) - self._gripper
        else:
            move = MAX_STEP * np.asarray(action[:3], np.float64)
        move = move * min(1.0, MAX_STEP / max(float(np.linalg.norm(move)), 1e-9))
        self._gripper = np.clip(self._gripper + move, -WORKSPACE, WORKSPACE)
        self._time += 1.0 / TASK.control_hz
        self._steps += 1
        info = self._info()
        return float(info["is_success"]), info["is_success"], self.is_over(self._steps), info

    def _info(self) -> dict[str, Any]:
        gap = float(np.linalg.norm(self._gripper - np.append(self._target, 0.0)))
        success = gap < REACH and not self._hopeless
        return {"is_success": success} if self._move is None else {"is_success": success, "moved": self._moved}

    def observe(self, pixels: bool = True) -> dict[str, Any]:
        agent_pos = np.concatenate([self._gripper, ROT6D, [0.04, -0.04]]).astype(np.float32)
        if self.obs_type == "state":
            state = np.concatenate([self._target, self._gripper]).astype(np.float32)
            return {"environment_state": state, "agent_pos": agent_pos}
        images = {camera: self._draw(camera) for camera in TASK.cameras} if pixels else {}
        return {"pixels": images, "agent_pos": agent_pos}

    def _draw(self, camera: str) -> UInt8:
        """Draw squares for target and gripper from above; for the wrist, the target
        alone.

        The wrist's target is relative to the gripper.
        """
        image = np.full((*self.image_size, 3), 90, np.uint8)
        spots = {"target": self._target, "gripper": self._gripper[:2]}
        if camera == "wrist":
            spots = {"target": self._target - self._gripper[:2]}
        for name, xy in spots.items():
            row, column = ((xy / WORKSPACE + 1.0) / 2.0 * np.array(self.image_size)).astype(int)
            image[max(row - 1, 0) : max(row + 2, 0), max(column - 1, 0) : max(column + 2, 0)] = COLOURS[name]
        return image

    def render(self) -> UInt8:
        return self._draw("agentview")

    def initial_state(self) -> InitialState:
        return self._initial

    def sim_state(self) -> Float64:
        return np.concatenate([[self._time], self._gripper, self._target])

    def native_model(self) -> NativeModel:
        cameras = {"agentview": "agentview", "wrist": "robot0_eye_in_hand"}
        return NativeModel("RoboFake", ("Panda",), cameras, joints={}, state_dim=6)

    def as_delta(self, actions: Float32, agent_pos: Float32) -> Float32:
        moves = (actions[:, :3].astype(np.float64) - agent_pos[:, :3]) / MAX_STEP
        return np.concatenate([moves, np.zeros_like(moves), actions[:, 9:]], axis=1).astype(np.float32)

    def object_pose(self) -> Float64:
        return self._target.copy()

    def privileged(self) -> dict[str, Float64]:
        return {"gripper_pos": self._gripper.copy(), "target_pos": np.append(self._target, 0.0)}


class FakeExpert:
    """An expert that goes straight to the target in `ee_pose` actions.

    Its speed is drawn from the seed; it closes the gripper when near.
    """

    def __init__(self) -> None:
        self._speed = MAX_STEP

    def reset(self, env: Any, seed: int) -> None:
        self._speed = MAX_STEP * np.random.default_rng(seed).uniform(0.6, 1.0)

    def act(self, env: Any) -> Float32:
        known = env.privileged()
        gap = known["target_pos"] - known["gripper_pos"]
        distance = float(np.linalg.norm(gap))
        position = known["gripper_pos"] + gap * min(1.0, self._speed / max(distance, 1e-9))
        return np.concatenate([position, ROT6D, [1.0 if distance < 2 * REACH else -1.0]]).astype(np.float32)


def register() -> None:
    """Register `Fake` as a task with an expert; a second call changes nothing."""
    registry.register("task", "Fake", "fakes:FakeTask")
    registry.register("expert", "Fake", "fakes:FakeExpert")


def make_demonstrations(
    n: int, *, image_size: tuple[int, int] = (16, 16), root_seed: int = 0, placement: str = "grid"
) -> tuple[Demonstration, ...]:
    """Make `n` successful demonstrations of the fake task.

    Demonstration i is at grid pose i modulo 6 (or uniform).
    """
    env, expert = FakeTask(image_size=image_size), FakeExpert()
    return tuple(_demonstrate(env, expert, i, derive_seed(root_seed, "demo", i), placement) for i in range(n))


def make_meta(image_size: tuple[int, int] = (16, 16), placement: str = "grid", **changes: Any) -> DatasetMeta:
    """Return the metadata of `make_demonstrations` with the same arguments.

    For `dataset.write(path, demonstrations, meta)`.
    """
    values = {
        "task": TASK.name,
        "task_version": TASK.version,
        "env_id": TASK.env_id,
        "control_hz": TASK.control_hz,
        "image_size": image_size,
        "cameras": TASK.cameras,
        "pose_names": TASK.pose_names,
        "action_dim": TASK.action_dim(),
        "agent_pos_dim": TASK.agent_pos_dim,
        "state_dim": 6,
        "placement": placement,
        "grid_size": TASK.grid_size,
        "root_seed": 0,
        "versions": {"mujoco": "0", "robosuite": "0"},
    }
    return DatasetMeta.parse({**values, **changes}, "fake")


def _demonstrate(env: FakeTask, expert: FakeExpert, index: int, seed: int, placement: str) -> Demonstration:
    env.reset(seed=seed, options={"split": placement, "episode": index})
    expert.reset(env, seed)
    frames: list[tuple[dict[str, Any], Float64, Float32]] = []
    done = False
    while not done:
        frame = env.observe(), env.sim_state(), expert.act(env)
        frames.append(frame)
        _, terminated, truncated, info = env.advance(frame[2])
        done = terminated or truncated
    assert info["is_success"]
    return Demonstration(
        index=index,
        pixels={c: np.stack([f[0]["pixels"][c] for f in frames]) for c in TASK.cameras},
        agent_pos=np.stack([f[0]["agent_pos"] for f in frames]),
        actions=np.stack([f[2] for f in frames]),
        states=np.stack([f[1] for f in frames]),
        initial_state=env.initial_state(),
        seed=seed,
        grid_index=index % TASK.grid_size if placement == "grid" else -1,
    )


def _requested_move(options: Mapping[str, Any]) -> tuple[int, float | Float64] | None:
    """Return the event that `reset`'s options request; any direction is possible."""
    step, by = options.get("move_at"), options.get("by")
    if "move_to" in options:
        return step, np.asarray(options["move_to"], np.float64)
    if step is None and by is None:
        return None
    if not isinstance(step, int) or not 0 <= step < TASK.horizon:
        raise ConfigError(f"move_at: expected a control step from 0 to {TASK.horizon - 1}, got {step!r}")
    if not isinstance(by, float) or not 0 < by < np.inf:
        raise ConfigError(f"by: expected a distance over 0 (m), got {by!r}")
    return step, by


def _action_space(control_mode: ControlMode) -> gymnasium.spaces.Box:
    if control_mode == "ee_delta":
        return gymnasium.spaces.Box(-1.0, 1.0, (7,), np.float32)
    bound = np.array([WORKSPACE] * 3 + [1.0] * 7, np.float32)
    return gymnasium.spaces.Box(-bound, bound, dtype=np.float32)


def _observation_space(obs_type: ObsType, image_size: tuple[int, int]) -> gymnasium.spaces.Dict:
    agent_pos = gymnasium.spaces.Box(-1.0, 1.0, (TASK.agent_pos_dim,), np.float32)
    if obs_type == "state":
        state = gymnasium.spaces.Box(-1.0, 1.0, (5,), np.float32)
        return gymnasium.spaces.Dict({"environment_state": state, "agent_pos": agent_pos})
    image = gymnasium.spaces.Box(0, 255, (*image_size, 3), np.uint8)
    return gymnasium.spaces.Dict(
        {"pixels": gymnasium.spaces.Dict(dict.fromkeys(TASK.cameras, image)), "agent_pos": agent_pos}
    )
