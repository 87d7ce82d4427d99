"""A robosuite task as a Gymnasium environment.

It gives the task altbench's observations, actions, splits and seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast, get_args

import gymnasium
import numpy as np

from altbench.api import (
    ConfigError,
    ContractError,
    ControlMode,
    DeltaTask,
    Float32,
    Float64,
    InitialState,
    NativeModel,
    ObsType,
    PoseTask,
    RenderProfile,
    RestorableTask,
    TaskInfo,
    UInt8,
    UnknownNameError,
    suggestion,
)
from altbench_envs.robosuite_env.actions import pose_action, rot6d_from_matrix, turns_between
from altbench_envs.robosuite_env.events import MOVE_OPTIONS, Move, Relocation, Shift, requested_move, requested_place
from altbench_envs.robosuite_env.placement import STATE_SPLITS
from altbench_envs.robosuite_env.rendering import Renderer
from altbench_envs.robosuite_env.scene import Scene
from altbench_envs.robosuite_env.simulator import Simulator
from altbench_envs.robosuite_env.visuals import Visuals

REACH = 2.0
"""The bound (m) of a fixed-base arm's grip site, from the world's origin."""
FINGER_REACH = 0.1
"""The bound (m) of a finger's position."""
RESET_OPTIONS = ("split", "episode", "initial_state", *MOVE_OPTIONS)
ROBOT_STREAM, OBJECT_STREAM, EVENT_STREAM = 0, 1, 2
"""The streams of an episode's seed: the robot's noise is the same in every split."""


class RobosuiteEnv(PoseTask, DeltaTask, RestorableTask):
    """One robosuite task as an `altbench.api.TaskEnv`.

    Observation: `pixels` {camera: uint8 (H, W, 3)} or, with `obs_type="state"`,
    `environment_state` float32 (De,); and `agent_pos` float32 (Dp,), for each arm the
    grip site's position (m, world), rot6d, and finger positions (m).

    Action, float32 (Da,): with `control_mode="ee_pose"`, for each arm the grip site's
    target position (m, world), rot6d, and gripper (-1 open to 1 closed); with
    `"ee_delta"`, robosuite's seven numbers in [-1, 1]. Values outside the bounds are
    clipped.

    The reward is 1 and `terminated` is true on success, `truncated` at the horizon, or
    at what `gymnasium.make(..., max_episode_steps=)` says; `info["is_success"]`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012  (Gymnasium's own spelling)

    def __init__(
        self,
        scene: Scene,
        *,
        obs_type: ObsType = "pixels",
        control_mode: ControlMode = "ee_pose",
        render_profile: RenderProfile = "fast",
        image_size: tuple[int, int] = (84, 84),
        cameras: Sequence[str] | None = None,
        placement: str | None = None,
        render_mode: str | None = None,
        render_size: tuple[int, int] = (256, 256),
    ) -> None:
        self.obs_type = _one_of("obs_type", obs_type, get_args(ObsType))
        self.control_mode: ControlMode = _one_of("control_mode", control_mode, get_args(ControlMode))
        self.render_profile: RenderProfile = _one_of("render_profile", render_profile, get_args(RenderProfile))
        self.cameras = tuple(_one_of("camera", name, scene.cameras) for name in cameras or scene.info.cameras)
        self.placement = scene.placements[_one_of("placement", placement or "altbench", scene.placements)]
        self.render_mode = None if render_mode is None else _one_of("render_mode", render_mode, ("rgb_array",))
        self.image_size, self._render_size = _size("image_size", image_size), _size("render_size", render_size)
        self.info, self._scene = scene.info, scene
        self._simulator = Simulator(scene.robosuite_model(), self.control_mode)
        self._renderer: Renderer | None = None
        self.visuals = Visuals(self._simulator, scene.cameras)
        self._initial_state: InitialState | None = None
        self._steps = 0
        self._move: Move | None = None
        self._action_box = self._action_space()
        self.action_space = cast("gymnasium.Space[Float32]", self._action_box)
        self._boxes = self._state_boxes()
        self.observation_space = self._observation_space()
        if self.obs_type == "pixels":
            self._open_renderer()  # so that it fails here, not in the first episode

    # --------------------------------------------------------------------------------------------------- Gymnasium

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode.

        `options`: `split` (default "uniform"); `episode`, the number of a pose of the
        grid or between; `initial_state`, an `altbench.api.InitialState`, for "recall"
        (its object pose) and "replay" (exactly that state). `seed` determines
        everything else.

        `move_at` (a control step) and `by` (m, up to 0.5): just before that step the
        object is shifted by this distance, in a direction drawn from the seed, unless
        it is held or lifted (`events.Shift`). `move_to` (P,), in place of `by`: it is
        put at this object pose (`events.Relocation`). `info["moved"]` records whether it
        was moved. Raises ConfigError if the options do not fit.
        """
        super().reset(seed=seed)
        self.visuals.restore()
        split, episode, start = self._checked(options or {})
        shift = requested_move(options or {}, self._limited_info)
        place = requested_place(options or {}, self._limited_info)
        # One draw, then three streams. Another order, or another draw before these,
        # would give every published seed another episode.
        streams = np.random.SeedSequence(int(self.np_random.integers(2**63))).spawn(3)
        qpos = self._simulator.starting_qpos(np.random.default_rng(streams[ROBOT_STREAM]))
        if start is None:
            pose = self.placement.draw(split, episode, np.random.default_rng(streams[OBJECT_STREAM]))
        else:
            pose = np.asarray(start.object_pose, dtype=np.float64)
        self._scene.place(self._simulator, qpos, pose)
        state = np.concatenate([[0.0], qpos, np.zeros(self._simulator.model.nv)])
        if split == "replay" and start is not None:
            state = np.asarray(start.sim_state, dtype=np.float64)
        self._simulator.restore(state)
        self._initial_state, self._steps = InitialState(state, pose), 0
        rng = np.random.default_rng(streams[EVENT_STREAM])
        self._move = None
        if shift is not None:
            self._move = Shift(self._simulator, self._scene, self.placement, *shift, rng)
        elif place is not None:
            self._move = Relocation(self._simulator, self._scene, *place)
        return self.observe(), self._state_of_affairs()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse to be copied or pickled: what it holds cannot be.

        Raises ContractError.
        """
        raise ContractError(
            f"the environment of {self.info.name} cannot be copied or pickled, since it holds a simulator and an OpenGL "
            'context; make another with gymnasium.make(env.spec), and begin it with reset(options={"split": "replay", '
            '"initial_state": InitialState(env.unwrapped.sim_state(), env.unwrapped.object_pose())})'
        )

    def render(self) -> UInt8 | None:
        """Return the first camera's image, uint8 (H, W, 3).

        None unless `render_mode="rgb_array"`.
        """
        if self.render_mode is None:
            return None
        return self._image(self.cameras[0], self._render_size)

    def close(self) -> None:
        """Free the GL context."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = self.visuals.renderer = None

    # ----------------------------------------------------------------------------------------------------- TaskEnv

    def advance(self, action: Float32) -> tuple[float, bool, bool, dict[str, Any]]:
        """Execute one action (Da,) for one control step, without rendering.

        Returns reward, terminated, truncated, info. Raises ContractError if the action
        has the wrong shape or is not finite, and SimulationDiverged.
        """
        if self._initial_state is None:
            raise ContractError("advance and step need a reset first")
        checked = self._clipped(action)
        if self._move is not None and self._move.at == self._steps:
            self._move.happen()
        self._simulator.step(checked)
        self._steps += 1
        info = self._state_of_affairs()
        success = info["is_success"]
        return float(success), success, self.is_over(self._steps), info

    def observe(self, pixels: bool = True) -> dict[str, Any]:
        """Return the present observation.

        `pixels=False` replaces the images by an empty dict.
        """
        agent_pos = self._bounded("agent_pos", self._agent_pos())
        if self.obs_type == "state":
            state = self._bounded("environment_state", self._scene.environment_state(self._simulator))
            return {"agent_pos": agent_pos, "environment_state": state}
        images = {name: self._image(name, self.image_size) for name in self.cameras} if pixels else {}
        return {"agent_pos": agent_pos, "pixels": images}

    def initial_state(self) -> InitialState:
        """Return the state in which the present episode began."""
        if self._initial_state is None:
            raise ContractError("initial_state needs a reset first")
        return self._initial_state

    def sim_state(self) -> Float64:
        """Return the present flattened state (time, qpos, qvel), float64 (Ds,)."""
        return self._simulator.state()

    def privileged(self) -> dict[str, Float64]:
        """Return the scene's object poses and the grip sites' poses.

        The first arm's are `gripper_position` and `gripper_quaternion` (xyzw), the
        second's `gripper1_position` and `gripper1_quaternion`.
        """
        from scipy.spatial.transform import Rotation

        poses = self._scene.privileged(self._simulator)
        for number, arm in enumerate(self._simulator.arms):
            name = f"gripper{number or ''}"
            poses[f"{name}_position"] = self._simulator.site_position(arm)
            poses[f"{name}_quaternion"] = Rotation.from_matrix(self._simulator.site_matrix(arm)).as_quat()
        return poses

    # ---------------------------------------------------------------------------------------------------- PoseTask

    def as_pose(self, action: Float32) -> Float32:
        """Return the `ee_pose` action with the same goal as an `ee_delta` action.

        The goal depends on the present state.
        """
        parts = np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0).reshape(len(self._simulator.arms), -1)
        goals = [
            self._simulator.delta_goal(arm, part[:6]) for arm, part in zip(self._simulator.arms, parts, strict=True)
        ]
        return np.concatenate([pose_action(*goal, part[6]) for goal, part in zip(goals, parts, strict=True)])

    # --------------------------------------------------------------------------------------------------- DeltaTask

    def as_delta(self, actions: Float32, agent_pos: Float32) -> Float32:
        """Return the `ee_delta` actions (T, Da) with the same goals as `ee_pose` actions.

        `actions` (T, Da), each taken after `agent_pos` (T, Dp) was observed. Poses
        outside the workspace count as on its border, as `advance` takes them.
        """
        space, arms = self._pose_box(), self._simulator.arms
        wanted = np.clip(np.asarray(actions, np.float64), space.low, space.high).reshape(len(actions), len(arms), -1)
        seen = np.asarray(agent_pos, np.float64).reshape(len(actions), len(arms), -1)
        parts = []
        for number, arm in enumerate(arms):
            there, here = wanted[:, number], seen[:, number]
            turns = turns_between(here[:, 3:9], there[:, 3:9])
            parts += [self._simulator.deltas(arm, there[:, :3] - here[:, :3], turns), there[:, 9:]]
        deltas: Float32 = np.concatenate(parts, axis=1).astype(np.float32)
        return deltas

    # ---------------------------------------------------------------------------------------------- RestorableTask

    def native_model(self) -> NativeModel:
        """Return robosuite's and MuJoCo's names of the task, its cameras and joints."""
        scene, simulator = self._scene, self._simulator
        return NativeModel(
            env_name=scene.robosuite_name,
            robots=scene.robots,
            cameras=scene.cameras,
            joints=simulator.joint_ranges(),
            state_dim=len(simulator.state()),
            xml=simulator.xml(),
            fixed_bodies=scene.fixed_bodies,
        )

    def object_pose(self) -> Float64:
        """Return the task's pose variables (P,) in the present state."""
        return self._scene.object_pose(self._simulator)

    # ----------------------------------------------------------------------------------------------------- details

    @property
    def _limited_info(self) -> TaskInfo:
        """The task's description with the present limit of an episode as its horizon."""
        return replace(self.info, horizon=self.episode_limit or self.info.horizon)

    def _checked(self, options: Mapping[str, Any]) -> tuple[str, int, InitialState | None]:
        """Return (split, episode, initial state) of reset's options.

        Raises ConfigError for a wrong option.
        """
        for key in options:
            _one_of("reset option", key, RESET_OPTIONS)
        split = _one_of("split", options.get("split", "uniform"), self.info.splits)
        episode, start = options.get("episode", 0), options.get("initial_state")
        if isinstance(episode, bool) or not isinstance(episode, (int, np.integer)) or episode < 0:
            raise ConfigError(f"episode: expected an integer from 0, got {episode!r}")
        if split not in STATE_SPLITS:
            return split, int(episode), None
        if not isinstance(start, InitialState):
            raise ConfigError(
                f"split {split!r} needs options['initial_state'], an altbench.api.InitialState of a demonstration, got "
                f"{type(start).__name__}"
            )
        poses = len(self.info.pose_names)
        if np.shape(start.object_pose) != (poses,):
            raise ConfigError(
                f"initial_state.object_pose: expected {self.info.pose_names}, got shape {np.shape(start.object_pose)}"
            )
        return split, int(episode), start

    def _clipped(self, action: Float32) -> Float64:
        space = self._action_box
        values = np.asarray(action, dtype=np.float64)
        if values.shape != space.shape:
            raise ContractError(f"action: expected shape {space.shape} for {self.control_mode}, got {values.shape}")
        if not np.isfinite(values).all():
            raise ContractError(f"action: expected finite numbers, got {values}")
        return np.clip(values, space.low, space.high)

    def _agent_pos(self) -> Float64:
        sim, parts = self._simulator, []
        for arm in sim.arms:
            parts += [sim.site_position(arm), rot6d_from_matrix(sim.site_matrix(arm)), sim.data.qpos[arm.fingers]]
        return np.concatenate(parts)

    def _bounded(self, key: str, values: Float64) -> Float32:
        space = self._boxes[key]
        return np.clip(values.astype(np.float32), space.low, space.high)

    def _state_of_affairs(self) -> dict[str, bool]:
        """Return `info`: whether the task is solved and whether an event happened.

        Without an event, `info` says nothing about it.
        """
        success = bool(self._simulator.robosuite._check_success())
        return {"is_success": success} if self._move is None else {"is_success": success, "moved": self._move.moved}

    def _image(self, camera: str, size: tuple[int, int]) -> UInt8:
        number = self._simulator.model.camera(self._scene.cameras[camera]).id
        return self._open_renderer().render(self._simulator.data, number, *size, self.visuals.decorations)

    def _open_renderer(self) -> Renderer:
        if self._renderer is None:
            height, width = (max(sizes) for sizes in zip(self.image_size, self._render_size, strict=True))
            self._renderer = Renderer(self._simulator.model, self.render_profile, height, width)
            self.visuals.renderer = self._renderer
        return self._renderer

    def _action_space(self) -> gymnasium.spaces.Box:
        if self.control_mode == "ee_delta":
            return gymnasium.spaces.Box(-1.0, 1.0, (self.info.action_dim("ee_delta"),), np.float32)
        return self._pose_box()

    def _pose_box(self) -> gymnasium.spaces.Box:
        arms, (low, high) = self.info.arms, self._scene.workspace
        return _box((*low, *(-1.0,) * 7) * arms, (*high, *(1.0,) * 7) * arms)

    def _state_boxes(self) -> dict[str, gymnasium.spaces.Box]:
        limits = np.array([REACH] * 3 + [1.0] * 6 + [FINGER_REACH] * 2)
        boxes = {"agent_pos": _box(np.tile(-limits, self.info.arms), np.tile(limits, self.info.arms))}
        if self.obs_type == "state":
            boxes["environment_state"] = _box(*self._scene.state_bounds)
        return boxes

    def _observation_space(self) -> gymnasium.spaces.Dict:
        spaces: dict[str, gymnasium.Space[Any]] = {**self._boxes}
        if self.obs_type == "pixels":
            image = gymnasium.spaces.Box(0, 255, (*self.image_size, 3), np.uint8)
            spaces["pixels"] = gymnasium.spaces.Dict(dict.fromkeys(self.cameras, image))
        return gymnasium.spaces.Dict(spaces)


def _box(low: Iterable[float], high: Iterable[float]) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(np.array([*low], dtype=np.float32), np.array([*high], dtype=np.float32))


def _one_of(kind: str, value: Any, valid: Iterable[str]) -> Any:
    if value not in (choices := tuple(valid)):
        if not isinstance(value, str):
            raise ConfigError(f"{kind}: expected one of {', '.join(choices)}, got {value!r}{suggestion('', ())}")
        raise UnknownNameError(kind, value, choices)
    return value


def _size(name: str, value: Any) -> tuple[int, int]:
    pair = isinstance(value, Sequence) and len(value) == 2 and all(isinstance(v, (int, np.integer)) for v in value)
    if not pair or not all(8 <= v <= 2048 for v in value):
        raise ConfigError(f"{name}: expected (height, width), each from 8 to 2048, got {value!r}")
    return int(value[0]), int(value[1])
