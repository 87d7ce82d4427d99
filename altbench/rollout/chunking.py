"""Execution of chunks: Ta actions in, To stacked observations out.

Images that no policy and no perturbation needs are not rendered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium.vector.utils import batch_space

from altbench.core.policy import Observation
from altbench.core.task import TaskEnv, task_of
from altbench.core.types import Float32, UInt8

ImageFilter = Callable[[str, int, UInt8], UInt8]
"""(camera, step, image) -> the image that the policy receives."""
BeforeFrame = Callable[[TaskEnv, int], bool]
"""(task, step) -> whether that step's frame must be drawn although no policy sees it.

It is called before the frame is drawn.
"""


class ChunkWrapper(gymnasium.Wrapper[dict[str, Any], Float32, dict[str, Any], Float32]):
    """A wrapper that steps by chunks (Ta, Da) and stacks the last To observations.

    Each leaf of an observation has the shape (To, ...), oldest first. The steps before
    the last To are not rendered. `info["executed"]` holds the executed actions, float32
    (t, Da), and `info["agent_pos"]` the proprioception after each, (t, Dp), t <= Ta.
    Raises ContractError if the environment is not an `altbench.api.TaskEnv`.
    """

    def __init__(
        self,
        env: gymnasium.Env[dict[str, Any], Float32],
        obs_horizon: int,
        action_horizon: int,
        *,
        pixels: bool = True,
        image_filter: ImageFilter | None = None,
        before_frame: BeforeFrame | None = None,
    ) -> None:
        super().__init__(env)
        self._task = task_of(env)
        self.obs_horizon, self.action_horizon, self.pixels = obs_horizon, action_horizon, pixels
        self.image_filter, self.before_frame = image_filter, before_frame
        self.action_space = batch_space(env.action_space, action_horizon)
        self.observation_space = batch_space(env.observation_space, obs_horizon)
        self._history: deque[dict[str, Any]] = deque(maxlen=obs_horizon)
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode; its first observation fills the whole history."""
        first, info = self.env.reset(seed=seed, options=options)
        self._steps = 0
        self._history.clear()
        if self.before_frame is not None and self.before_frame(self._task, 0):
            first = self._task.observe(pixels=self.pixels)  # `reset` drew it before the scene was changed
        self._history.extend([self._filtered(first)] * self.obs_horizon)
        return self._stacked(), info

    def step(self, action: Float32) -> tuple[dict[str, Any], SupportsFloat, bool, bool, dict[str, Any]]:
        """Execute the chunk's actions until the chunk or the episode ends.

        The reward is the sum over the executed steps.
        """
        total, terminated, truncated = 0.0, False, False
        executed: list[Float32] = []
        agent_pos: list[Float32] = []
        for index, single in enumerate(action):
            seen = index >= len(action) - self.obs_horizon
            reward, terminated, truncated, info, observation = self._one(single, seen)
            total += reward
            self._steps += 1
            executed.append(np.asarray(single, np.float32))
            agent_pos.append(observation["agent_pos"])
            shown = self._filtered(observation)
            if seen or terminated or truncated:
                self._history.append(shown)
            if terminated or truncated:
                break
        info = {**info, "executed": np.stack(executed), "agent_pos": np.stack(agent_pos)}
        return self._stacked(), total, terminated, truncated, info

    def _one(self, action: Float32, seen: bool) -> tuple[float, bool, bool, dict[str, Any], dict[str, Any]]:
        reward, terminated, truncated, info = self._task.advance(action)
        # Ask at every step, seen or not: a perturbation may begin here, or keep this
        # image.
        wanted = self.before_frame is not None and self.before_frame(self._task, self._steps + 1)
        # No decision follows the last step, so its images are not needed either.
        pixels = self.pixels and (seen or wanted) and not (terminated or truncated)
        return reward, terminated, truncated, info, self._task.observe(pixels=pixels)

    def _filtered(self, observation: dict[str, Any]) -> dict[str, Any]:
        if self.image_filter is None or not observation.get("pixels"):
            return observation
        images = {c: self.image_filter(c, self._steps, image) for c, image in observation["pixels"].items()}
        return {**observation, "pixels": images}

    def _stacked(self) -> dict[str, Any]:
        frames = list(self._history)
        cameras = [c for c in frames[-1].get("pixels", {}) if all(c in f["pixels"] for f in frames)]
        stacked: dict[str, Any] = {
            key: np.stack([f[key] for f in frames])
            for key in frames[-1]
            if key != "pixels" and frames[-1][key] is not None
        }
        if "pixels" in frames[-1]:
            stacked["pixels"] = {c: np.stack([f["pixels"][c] for f in frames]) for c in cameras}
        return stacked


def as_batch(stacked: dict[str, Any]) -> Observation:
    """Return the `Observation` of one slot (B = 1) from `ChunkWrapper`'s."""
    state = stacked.get("environment_state")
    return Observation(
        pixels={camera: images[None] for camera, images in stacked.get("pixels", {}).items()},
        agent_pos=stacked["agent_pos"][None],
        environment_state=None if state is None else state[None],
    )
