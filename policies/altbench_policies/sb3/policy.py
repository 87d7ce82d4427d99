"""A policy that was trained with Stable-Baselines3 on a task's state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from altbench.api import Decision, Footprint, Observation, Policy, Requirements, TaskInfo
from altbench_policies import input_checks
from altbench_policies.sb3.config import StableBaselinesSpec
from altbench_policies.sb3.model import Reader, control_mode, load_model
from altbench_policies.vision import count_bytes


class StableBaselines(Policy[StableBaselinesSpec]):
    """A checkpoint of Stable-Baselines3 (A2C, DDPG, PPO, SAC, TD3) that sees the state.

    It is loaded only if trusted. Observation and control mode follow from the spaces in
    the checkpoint. One deterministic action per decision.
    """

    name: ClassVar[str] = "sb3"
    version: ClassVar[int] = 1
    runtime_fields = frozenset({"path", "trust"})  # `sha256` says what it computes, wherever the file lies

    def __init__(self, task: TaskInfo, config: StableBaselinesSpec) -> None:
        super().__init__(task, config)
        self._model = load_model(config)
        self._mode = control_mode(self._model.action_space, task)
        self._reader = Reader.of(self._model.observation_space, task)
        self._begun: set[int] = set()

    @property
    def requirements(self) -> Requirements:
        """The state, no images; the number of its actions decides the control mode."""
        return Requirements(
            cameras=(),
            obs_horizon=1,
            pred_horizon=1,
            action_horizon=1,
            control_mode=self._mode,
            needs_state="environment_state" in self._reader.keys,
        )

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Begin the slots; nothing is random, and nothing is kept between decisions."""
        del seeds
        self._begun.update(slots)

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Return the model's most likely action (B, 1, Da)."""
        input_checks.check_begun(slots, self._begun)
        actions, _ = self._model.predict(self._reader.read(observation), deterministic=True)
        return Decision(np.asarray(actions, dtype=np.float32)[:, None])

    def footprint(self) -> Footprint:
        """Return the bytes of all the model's networks, critics included."""
        return Footprint(count_bytes(self._model.policy))

    def inference_note(self) -> str:
        """Return the algorithm."""
        return f"{type(self._model).__name__}, deterministic"
