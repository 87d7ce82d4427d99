"""Gymnasium's view of a task: its registered id, and the limit of an episode's length."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, WrapperSpec

from altbench.core.errors import ConfigError, ContractError
from altbench.core.task import env_id, task_of


class TaskSpec(EnvSpec):
    """A task's entry in Gymnasium's registry.

    `max_episode_steps` is the task's horizon. It is looked up when it is first asked
    for, since `import altbench` must not import any task.
    """

    def __init__(self, task: str, entry_point: str, horizon: Callable[[str], int]) -> None:
        self._task, self._horizon = task, horizon
        self._steps: int | None = None
        limit = WrapperSpec("EpisodeLimit", f"{EpisodeLimit.__module__}:EpisodeLimit", {})
        super().__init__(env_id(task), entry_point, kwargs={"task": task}, additional_wrappers=(limit,))

    @property
    def max_episode_steps(self) -> int | None:
        """The task's horizon; None if the task cannot be loaded, which `make` reports."""
        if self._steps is None:
            try:
                self._steps = self._horizon(self._task)
            except ConfigError:
                return None
        return self._steps

    @max_episode_steps.setter
    def max_episode_steps(self, steps: int | None) -> None:
        self._steps = steps


class EpisodeLimit(gymnasium.Wrapper[Any, Any, Any, Any], gymnasium.utils.RecordConstructorArgs):
    """A wrapper that changes no step; it hands `gymnasium.make`'s limit to the task.

    `gymnasium.make(..., max_episode_steps=500)` can only shorten an episode of a task
    that ends at its own horizon. So the task ends at the same limit, longer or shorter,
    and both report truncation at the same step. With `max_episode_steps=-1` it never
    ends. Altbench's own rollouts pass no limit and keep the horizon.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        with suppress(ContractError):  # `check_env` reports an environment that is not a task
            task_of(env).episode_limit = _time_limit(env)


def _time_limit(env: gymnasium.Env[Any, Any]) -> int | None:
    """Return the steps of the TimeLimit around a task; None without a TimeLimit."""
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.wrappers.TimeLimit):
            return env._max_episode_steps
        env = env.env
    return None
