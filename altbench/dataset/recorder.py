"""Recording one attempt at a demonstration: an expert acts in one episode of a task."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import numpy as np

from altbench.core import registry
from altbench.core.demonstration import Demonstration
from altbench.core.errors import SimulationDiverged
from altbench.core.task import Expert, InitialState, TaskEnv, TaskInfo, task_of
from altbench.core.types import ControlMode, Float32, Float64, RenderProfile
from altbench.dataset import attempts
from altbench.dataset.attempts import Attempt
from altbench.dataset.control_modes import delta_task
from altbench.dataset.policy_expert import ExpertChoice, PolicyExpert


@dataclass
class _Frames:
    """An episode's frames: observations, states (Ds,) and actions (Da,).

    An observation and a state are those before the action of the same index.
    """

    observations: list[dict[str, Any]] = field(default_factory=list)
    states: list[Float64] = field(default_factory=list)
    actions: list[Float32] = field(default_factory=list)


class Recorder:
    """A task's environment and its expert. Close it after use.

    A second environment provides `environment_state`: one with `obs_type="pixels"` does
    not show it, and one environment has one observation type.
    """

    def __init__(
        self,
        info: TaskInfo,
        image_size: tuple[int, int],
        render_profile: RenderProfile,
        expert: ExpertChoice | None,
        control_mode: ControlMode = "ee_pose",
    ) -> None:
        self._info, self._control_mode = info, control_mode
        self._expert = self._make_expert(expert)
        style: dict[str, Any] = {"image_size": image_size, "render_profile": render_profile}
        self._env = gymnasium.make(info.env_id, obs_type="pixels", control_mode=control_mode, **style)
        self._deltas = delta_task(self._env) if control_mode == "ee_delta" else None
        self._state_env = gymnasium.make(info.env_id, obs_type="state", control_mode="ee_pose")
        self._last, self._ended = _Frames(), ""

    def close(self) -> None:
        """Close both environments."""
        self._env.close()
        self._state_env.close()

    def record(self, seed: int, options: dict[str, Any]) -> Demonstration | None:
        """Record the episode of `seed` and `options`, the arguments of `reset`.

        None if the expert fails or the simulation diverges. The demonstration has
        number 0 and no grid pose: the caller knows which one it is.
        """
        self._ended = attempts.DIVERGED
        try:
            frames = self._play(seed, options)
        except SimulationDiverged:
            return None
        self._ended = attempts.HORIZON if frames is None else attempts.SUCCESS
        return None if frames is None else self._demonstration(frames, seed)

    def succeeds(self, seed: int, options: dict[str, Any]) -> bool:
        """Play the episode of `seed` and `options` without images; return whether the expert succeeds, as in `record`."""
        try:
            return self._play(seed, options, pixels=False) is not None
        except SimulationDiverged:
            return False

    def last_attempt(self, index: int, number: int, most: int) -> Attempt:
        """Return what the last `record` saw, as attempt `number` of `most` at demonstration `index`."""
        return Attempt(index, number, most, self._ended, self._last.observations)

    def _play(self, seed: int, options: dict[str, Any], pixels: bool = True) -> _Frames | None:
        """Play one episode until it succeeds; None if it reaches the task's horizon.

        `pixels=False`: observations have no images.
        """
        task, frames = task_of(self._env), _Frames()
        self._last = frames
        self._env.reset(seed=seed, options=options)
        self._expert.reset(task, seed)
        while True:
            frames.observations.append(task.observe(pixels))
            frames.states.append(task.sim_state())
            frames.actions.append(self._action(task, frames.observations[-1]["agent_pos"]))
            _, terminated, truncated, _ = task.advance(frames.actions[-1])
            if terminated:
                return frames
            if truncated:
                return None

    def _action(self, task: TaskEnv, agent_pos: Float32) -> Float32:
        """Return the expert's action in the file's control mode.

        A delta action goes as far towards the expert's pose as one control step may.
        """
        pose = self._expert.act(task)
        if self._deltas is None:
            return pose
        delta: Float32 = np.clip(self._deltas.as_delta(pose[None], agent_pos[None])[0], -1, 1)
        return delta

    def _demonstration(self, frames: _Frames, seed: int) -> Demonstration:
        start = task_of(self._env).initial_state()
        return Demonstration(
            index=0,
            pixels={c: np.stack([o["pixels"][c] for o in frames.observations]) for c in self._info.cameras},
            agent_pos=np.stack([o["agent_pos"] for o in frames.observations]),
            actions=np.stack(frames.actions).astype(np.float32),
            states=np.stack(frames.states),
            initial_state=start,
            seed=seed,
            control_mode=self._control_mode,
            environment_state=np.stack([self._environment_state(state, start) for state in frames.states]),
        )

    def _environment_state(self, state: Float64, start: InitialState) -> Float32:
        """Return the `environment_state` (De,) of a state of the episode from `start`."""
        restored = replace(start, sim_state=state)
        observation, _ = self._state_env.reset(seed=0, options={"split": "replay", "initial_state": restored})
        found: Float32 = observation["environment_state"]
        return found

    def _make_expert(self, choice: ExpertChoice | None) -> Expert:
        if choice is None:
            return registry.expert(self._info.name)
        policy = choice.make(self._info)
        return PolicyExpert(policy, lambda task: self._environment_state(task.sim_state(), task.initial_state()))
