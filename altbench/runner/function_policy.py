"""A function as a policy: one observation in, one action out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from altbench.core.errors import ContractError
from altbench.core.policy import Decision, Observation, Policy, Requirements
from altbench.core.spec import Spec
from altbench.core.task import TaskInfo
from altbench.core.types import ControlMode, ObsType

Act = Callable[[dict[str, Any]], Any]
"""A policy as a function: the latest observation in, one action (Da,) out."""


class FunctionPolicy(Policy[Spec]):
    """A function that is asked at every control step (To = 1, Ta = 1)."""

    name = "function"

    def __init__(
        self, task: TaskInfo, act: Act, control_mode: ControlMode = "ee_pose", obs_type: ObsType = "pixels"
    ) -> None:
        super().__init__(task, Spec())
        self._act = act
        self._requirements = Requirements(
            cameras=task.cameras if obs_type == "pixels" else (),
            obs_horizon=1,
            pred_horizon=1,
            action_horizon=1,
            control_mode=control_mode,
            needs_state=obs_type == "state",
        )

    @property
    def requirements(self) -> Requirements:
        """One observation and one action at a time."""
        return self._requirements

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Begin episodes; a function has nothing to forget."""

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Ask the function for each slot's action; numbers of any float or integer type are converted."""
        answers = [self._answer(_latest(observation, row)) for row in range(len(slots))]
        return Decision(np.stack(answers)[:, None])

    def _answer(self, observation: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
        wanted = (self.task.action_dim(self._requirements.control_mode),)
        came = np.asarray(self._act(observation))
        if came.shape != wanted or not np.issubdtype(came.dtype, np.number):
            raise ContractError(
                f"expected an action of shape {wanted} ({self._requirements.control_mode}), "
                f"got {came.dtype} {came.shape}"
            )
        return came.astype(np.float32)


def _latest(observation: Observation, row: int) -> dict[str, Any]:
    """Return one slot's latest observation, as the task's environment gives it."""
    found: dict[str, Any] = {"agent_pos": observation.agent_pos[row, -1]}
    if observation.environment_state is not None:
        found["environment_state"] = observation.environment_state[row, -1]
    else:
        found["pixels"] = {camera: images[row, -1] for camera, images in observation.pixels.items()}
    return found
