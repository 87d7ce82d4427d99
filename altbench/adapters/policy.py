"""A policy of other conventions behind an adapter: a policy in ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from altbench.adapters import actions, images, state
from altbench.adapters.actions import Context, Poses
from altbench.adapters.spec import Adapter, as_adapter, check_adapter
from altbench.core.errors import ConfigError, ContractError
from altbench.core.policy import Decision, Footprint, Observation, Policy, Requirements, ServerCost
from altbench.core.spec import Spec
from altbench.core.types import POSE_ACTION_DIM, ControlMode, Float32, Float64


class AdaptedPolicy(Policy[Spec]):
    """A policy that is shown our observations as it takes them, and whose answers become ours.

    `policy`: ready to act. `adapter`: its conventions, or a TOML file with them. Its
    `Requirements` may name cameras that the task does not have, if the adapter says which
    ones they get. ConfigError if the two do not fit.
    """

    name = "adapted"

    def __init__(self, policy: Policy[Any], adapter: Adapter | Path | str) -> None:
        super().__init__(policy.task, policy.config)
        found = as_adapter(adapter)
        if found is None:
            raise ConfigError("adapter: expected an Adapter or a TOML file, got None")
        self.policy, self.adapter = policy, found
        check_adapter(found, policy.requirements, policy.task, type(policy).__name__)
        self._before: dict[int, Float32] = {}
        self._requirements()  # an adapter that leaves no action is refused here

    @property
    def requirements(self) -> Requirements:
        """What the policy needs, in our words."""
        return self._requirements()

    def _requirements(self) -> Requirements:
        needs, how = self.policy.requirements, self.adapter.actions
        cameras = tuple(dict.fromkeys(self.adapter.cameras.get(name, name) for name in needs.cameras))
        size = None if self.adapter.images.size else needs.image_size
        found = replace(needs, cameras=cameras, image_size=size)
        if how is None:
            return found
        steps = actions.horizon(needs.action_horizon, how)
        if steps < 1:
            raise ConfigError(
                f"adapter: actions: offset {how.offset} and frequency {how.frequency:g} leave nothing of chunks of "
                f"{needs.action_horizon}; expected at least one action that is still to come"
            )
        mode: ControlMode = "ee_delta" if how.reference == "step" else "ee_pose"
        most = max(steps, needs.pred_horizon)
        return replace(found, action_horizon=steps, pred_horizon=most, control_mode=mode)

    def files(self) -> Sequence[Path | str]:
        """Return the files that the policy reads."""
        return self.policy.files()

    def place(self, device: str) -> None:
        """Bring the policy's weights to `device`."""
        self.policy.place(device)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Begin episodes; nothing was executed in them yet."""
        for slot in slots:
            self._before.pop(slot, None)
        self.policy.reset(slots, seeds)

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Return the policy's decision with actions in our conventions."""
        decision = self.policy.act(self.observe(observation), slots)
        how = self.adapter.actions
        if how is None:
            return decision
        answers = checked_answers(decision, len(slots))
        if how.reference == "step":
            deltas = actions.as_deltas(answers, how, self.task.arms)
            return replace(decision, actions=_flat(deltas))
        seen = actions.seen_poses(observation.agent_pos)
        ours = _flat(actions.decode(answers, how, Context(seen, self._targets(slots, seen), self.adapter.base)))
        for row, slot in enumerate(slots):
            self._before[slot] = ours[row, -1]
        return replace(decision, actions=ours)

    def observe(self, observation: Observation) -> Observation:
        """Return our observation as the policy takes it."""
        return observe(observation, self.adapter, self.policy.requirements.cameras)

    def _targets(self, slots: Sequence[int], seen: Poses) -> Poses:
        """Return the targets that were executed last; the present pose at an episode's beginning."""
        positions, matrices = seen.positions.copy(), seen.matrices.copy()
        for row, slot in enumerate(slots):
            if slot in self._before:
                last = Poses.of(self._before[slot], POSE_ACTION_DIM)
                positions[row], matrices[row] = last.positions, last.matrices
        return Poses(positions, matrices)

    def footprint(self) -> Footprint | None:
        """Return the bytes of the policy."""
        return self.policy.footprint()

    def identity(self) -> str:
        """Return the digest of what decides outside this process."""
        return self.policy.identity()

    def server_cost(self) -> ServerCost | None:
        """Return what a server told of the last decision; None if this process decides."""
        return self.policy.server_cost()

    def close(self) -> None:
        """End what the policy holds outside this process."""
        self.policy.close()

    def inference_note(self) -> str:
        """Return how the policy decides."""
        return self.policy.inference_note()


def observe(observation: Observation, adapter: Adapter, cameras: Sequence[str]) -> Observation:
    """Return our observation as a policy takes it that calls its images `cameras`.

    Arrays may then have any dtype and shape that the adapter names.
    """
    shown = {name: observation.pixels[adapter.cameras.get(name, name)] for name in cameras}
    pixels = {name: images.to_policy(image, adapter.images) for name, image in shown.items()}
    proprioception = state.to_policy(observation.agent_pos, adapter.state, adapter.base)
    return Observation(pixels, proprioception, observation.environment_state)


def checked_answers(decision: Decision, batch: int) -> Float32:
    """Return a decision's actions; ContractError unless they are finite numbers (B, n, D)."""
    if not isinstance(decision, Decision):
        raise ContractError(f"act: expected a Decision, got {type(decision).__name__}")
    answers = np.asarray(decision.actions)
    if answers.ndim != 3 or answers.shape[0] != batch or answers.dtype.kind != "f":
        raise ContractError(f"act: expected actions ({batch}, Ta, Da) of float32, got {answers.dtype} {answers.shape}")
    if not actions.finite(answers):
        raise ContractError("act: expected finite actions, got NaN or infinity")
    return answers


def _flat(values: Float64) -> Float32:
    flat: Float32 = values.reshape(*values.shape[:2], -1).astype(np.float32)
    return flat


def adapted(policy: Policy[Any], adapter: Adapter | None) -> Policy[Any]:
    """Return `policy` behind `adapter`; the policy itself without one."""
    return policy if adapter is None else AdaptedPolicy(policy, adapter)
