"""The tasks of altbench as environments of LeRobot: `lerobot-eval --env.type=altbench`.

    lerobot-eval --env.discover_packages_path=lerobot_env_altbench --env.type=altbench --env.task=Lift ...

It needs LeRobot and altbench in one environment (docs/lerobot.md). LeRobot makes the
environments, resets them with its own seeds, and asks each for `task`,
`task_description` and `_max_episode_steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig

import altbench  # registers the environments' ids
from altbench.core import registry
from altbench.core.errors import ConfigError
from altbench.core.task import TaskInfo, task_of

__all__ = ["AltbenchEnv", "LeRobotTask", "altbench"]

SPLITS = ("uniform", "grid", "interpolate", "extrapolate_side", "extrapolate_back")
"""The splits whose episodes need no demonstrations."""


class LeRobotTask(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A task as LeRobot asks for it: with its name, its words, and a split."""

    def __init__(self, env: gymnasium.Env[Any, Any], split: str) -> None:
        super().__init__(env)
        info = task_of(env).info
        self.task, self.task_description, self.split = info.name, info.instruction or info.name, split

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode of the split; LeRobot's own options are not the task's."""
        own = {name: value for name, value in (options or {}).items() if not name.startswith("lerobot_")}
        return self.env.reset(seed=seed, options={"split": self.split, **own})


@EnvConfig.register_subclass("altbench")
@dataclass
class AltbenchEnv(EnvConfig):  # type: ignore[misc] # LeRobot has no types here
    """LeRobot's configuration of a task.

    `task`: one of `altbench list`. `split`: which episodes, one of `SPLITS`.
    `image_size`: height and width of the images, the policy's. `control_mode`: what the
    policy's actions mean. `episode_length`: control steps; None means the task's
    horizon.
    """

    task: str | None = "Lift"
    fps: int = 20
    split: str = "uniform"
    image_size: int = 84
    control_mode: str = "ee_pose"
    render_profile: str = "fast"
    episode_length: int | None = None

    def __post_init__(self) -> None:
        info = self._info()
        valid = [split for split in SPLITS if split in info.splits]
        if self.split not in valid:
            raise ConfigError(f"--env.split: expected one of {valid}, got {self.split!r}")
        self.fps = round(info.control_hz)
        shape = (self.image_size, self.image_size, 3)
        actions = info.action_dim("ee_delta" if self.control_mode == "ee_delta" else "ee_pose")
        self.features = {
            "action": PolicyFeature(type=FeatureType.ACTION, shape=(actions,)),
            "agent_pos": PolicyFeature(type=FeatureType.STATE, shape=(info.agent_pos_dim,)),
            **{f"pixels/{c}": PolicyFeature(type=FeatureType.VISUAL, shape=shape) for c in info.cameras},
        }
        self.features_map = {
            "action": "action",
            "agent_pos": "observation.state",
            **{f"pixels/{camera}": f"observation.images.{camera}" for camera in info.cameras},
        }

    def _info(self) -> TaskInfo:
        return registry.task(self.task or "Lift")

    @property
    def gym_id(self) -> str:
        """Gymnasium's id of the task."""
        return self._info().env_id

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """What `gymnasium.make` gets."""
        limit = {} if self.episode_length is None else {"max_episode_steps": self.episode_length}
        size = (self.image_size, self.image_size)
        drawn = {"image_size": size, "render_profile": self.render_profile, "render_mode": "rgb_array"}  # for its films
        return {"control_mode": self.control_mode, **drawn, **limit}

    def create_envs(
        self, n_envs: int, use_async_envs: bool = False
    ) -> dict[str, dict[int, gymnasium.vector.VectorEnv[Any, Any, Any]]]:
        """Return `n_envs` environments of the task, in processes of their own if asked."""
        made = [_maker(self.gym_id, self.gym_kwargs, self.split) for _ in range(n_envs)]
        reset = gymnasium.vector.AutoresetMode.SAME_STEP
        if use_async_envs and n_envs > 1:
            # Not "fork": a renderer's context does not survive it.
            return {self.type: {0: gymnasium.vector.AsyncVectorEnv(made, context="spawn", autoreset_mode=reset)}}
        return {self.type: {0: gymnasium.vector.SyncVectorEnv(made, autoreset_mode=reset)}}


def _maker(env_id: str, options: dict[str, Any], split: str) -> Callable[[], gymnasium.Env[Any, Any]]:
    def make() -> gymnasium.Env[Any, Any]:
        return LeRobotTask(gymnasium.make(env_id, disable_env_checker=True, **options), split)

    return make
