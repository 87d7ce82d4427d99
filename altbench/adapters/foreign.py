"""A policy of ours that takes and answers other conventions: what an adapter is tried on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from altbench.adapters import actions, images, state
from altbench.adapters.actions import Context, Poses
from altbench.adapters.policy import checked_answers
from altbench.adapters.spec import Actions, Adapter
from altbench.core.demonstration import Demonstration
from altbench.core.errors import ContractError
from altbench.core.policy import Decision, Observation, Policy, Requirements
from altbench.core.spec import Spec
from altbench.core.types import AGENT_POS_DIM, POSE_ACTION_DIM, Float32


class ForeignPolicy(Policy[Spec]):
    """A policy in `ee_pose` whose conventions are those of `adapter`, for tests and benchmarks.

    What `AdaptedPolicy` does with the same adapter, it undoes. `remembered`: demonstrations
    from which it knows what target came before a frame, as a network knows that is trained
    on steps from the previous target; without them it takes the present pose.
    """

    name = "foreign"

    def __init__(self, policy: Policy[Any], adapter: Adapter, remembered: Sequence[Demonstration] = ()) -> None:
        super().__init__(policy.task, policy.config)
        self.policy, self.adapter = policy, adapter
        self._how = adapter.actions or Actions()
        self._frames = _Frames(remembered)
        self._before: dict[int, Float32] = {}

    @property
    def requirements(self) -> Requirements:
        """What the policy needs, in the foreign conventions."""
        needs, foreign = self.policy.requirements, {c: name for name, c in self.adapter.cameras.items()}
        steps = actions.answers_for(needs.action_horizon, self._how)
        return replace(
            needs,
            cameras=tuple(foreign.get(camera, camera) for camera in needs.cameras),
            image_size=None if self.adapter.images.size else needs.image_size,
            action_horizon=steps,
            pred_horizon=max(steps, needs.pred_horizon),
        )

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Begin episodes."""
        for slot in slots:
            self._before.pop(slot, None)
        self.policy.reset(slots, seeds)

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        """Return the policy's decision in the foreign conventions."""
        seen = self._ours(observation)
        decision = self.policy.act(seen, slots)
        ours = checked_answers(decision, len(slots))
        pose = actions.seen_poses(seen.agent_pos)
        before = np.stack([self._previous(slot, seen.agent_pos[row, -1]) for row, slot in enumerate(slots)])
        context = Context(pose, Poses.of(before, POSE_ACTION_DIM), self.adapter.base)
        for row, slot in enumerate(slots):
            self._before[slot] = ours[row, -1]
        targets = ours.reshape(*ours.shape[:2], self.task.arms, POSE_ACTION_DIM).astype(np.float64)
        return replace(decision, actions=actions.encode(targets, self._how, context))

    def _ours(self, observation: Observation) -> Observation:
        """Return a foreign observation as ours; ContractError for images of another shape."""
        pixels = {}
        for name, given in observation.pixels.items():
            size = self.adapter.images.size or self.policy.requirements.image_size
            height, width = given.shape[-2:] if self.adapter.images.layout == "chw" else given.shape[-3:-1]
            colours = given.shape[-3] if self.adapter.images.layout == "chw" else given.shape[-1]
            if colours != 3 or (size is not None and (height, width) != size):
                raise ContractError(f"expected images {self.adapter.images.layout} of {size}, got {given.shape}")
            ours = images.from_policy(given, self.adapter.images, self.policy.requirements.image_size)
            pixels[self.adapter.cameras.get(name, name)] = ours
        arms = self.task.arms
        agent_pos = state.from_policy(observation.agent_pos, self.adapter.state, self.adapter.base, arms)
        return Observation(pixels, agent_pos, observation.environment_state)

    def _previous(self, slot: int, agent_pos: Float32) -> Float32:
        """Return the target (arms x 10) before the present one."""
        found = self._before.get(slot)
        if found is None:
            found = self._frames.before(agent_pos)
        return standing(agent_pos) if found is None else found


class _Frames:
    """Demonstrated frames and the targets that came before them."""

    def __init__(self, demonstrations: Sequence[Demonstration]) -> None:
        self._seen = np.concatenate([d.agent_pos for d in demonstrations]) if demonstrations else None
        self._targets = [None if t == 0 else d.actions[t - 1] for d in demonstrations for t in range(len(d))]

    def before(self, agent_pos: Float32) -> Float32 | None:
        """Return the target before the most similar frame; None at a beginning."""
        if self._seen is None:
            return None
        return self._targets[int(np.argmin(((self._seen - agent_pos) ** 2).sum(axis=1)))]


def standing(agent_pos: Float32) -> Float32:
    """Return the pose action (arms x 10) of an arm that stays, with the gripper open, at `agent_pos` (Dp,)."""
    pose = agent_pos.reshape(-1, AGENT_POS_DIM)[:, :9]
    still: Float32 = np.concatenate([pose, np.full((len(pose), 1), -1.0, np.float32)], axis=1).reshape(-1)
    return still
