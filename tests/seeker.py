"""A policy of the fake task that sees and moves, and the same policy behind other conventions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fakes
import numpy as np

from altbench.adapters.foreign import ForeignPolicy
from altbench.adapters.spec import Adapter
from altbench.api import Decision, Observation, Policy, Requirements, Spec

STEPS = 8
SPEED = 0.8 * fakes.MAX_STEP  # m a step
FOREIGN = {
    "images": {"order": "bgr"},
    "state": {"unit": "cm"},
    "actions": {"reference": "pose", "rotation": "quat_xyzw", "gripper": (1.0, 0.0)},
}


class Seeker(Policy[Spec]):
    """A policy that goes to the red square, which it sees from above, in chunks."""

    name = "seeker"
    config_type = Spec

    @property
    def requirements(self) -> Requirements:
        return Requirements(self.task.cameras, obs_horizon=2, pred_horizon=STEPS, action_horizon=STEPS)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        pass

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        image, seen = observation.pixels["agentview"][:, -1], observation.agent_pos[:, -1]
        if image.shape[-1] != 3 or seen.shape[1] != 11:
            raise ValueError(f"expected RGB images and 11 numbers, got {image.shape} and {seen.shape}")
        return Decision(np.stack([self._chunk(*one) for one in zip(image, seen, strict=True)]))

    def _chunk(self, image: np.ndarray, seen: np.ndarray) -> np.ndarray:
        here = seen[:3].astype(np.float64)
        rows, columns = np.nonzero((image == fakes.COLOURS["target"]).all(-1))
        spot = (
            [(2 * (np.mean(i) + 0.5) / len(image) - 1) * fakes.WORKSPACE for i in (rows, columns)]
            if len(rows)
            else here[:2]
        )
        there = np.array([*spot, 0.0])
        chunk = []
        for _ in range(STEPS):
            gap = there - here
            distance = float(np.linalg.norm(gap))
            here = here + gap * min(1.0, SPEED / max(distance, 1e-9))
            chunk.append([*here, *seen[3:9], 1.0 if distance < 2 * fakes.REACH else -1.0])
        return np.array(chunk, np.float32)


class ForeignSeeker(ForeignPolicy):
    """The same policy, which takes BGR images, and answers steps from the pose."""

    config_type = Spec

    def __init__(self, task: Any, config: Spec) -> None:
        super().__init__(Seeker(task, config), Adapter.model_validate(FOREIGN))


class Noise(Seeker):
    """A policy that answers noise."""

    def _chunk(self, image: np.ndarray, seen: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(int(1e6 * abs(float(seen[0]))))
        return rng.uniform(-0.25, 0.25, (STEPS, 10)).astype(np.float32)


class Careful(Noise):
    """A seeker that looks for the gripper where proprioception has it, and is lost (noise) if it is missing there."""

    def _chunk(self, image: np.ndarray, seen: np.ndarray) -> np.ndarray:
        row, column = ((seen[:2] / fakes.WORKSPACE + 1.0) / 2.0 * len(image)).astype(int)
        there = image[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].reshape(-1, 3)
        found = any(tuple(colour) in fakes.COLOURS.values() for colour in there.tolist())
        upright = np.allclose(seen[3:9], fakes.ROT6D, atol=1e-3)
        return Seeker._chunk(self, image, seen) if found and upright else Noise._chunk(self, image, seen)


class Blind(Noise):
    """A policy that sees no image, and answers noise."""

    @property
    def requirements(self) -> Requirements:
        return Requirements((), obs_horizon=2, pred_horizon=STEPS, action_horizon=STEPS)

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        return Decision(np.stack([self._chunk(observation.agent_pos, seen) for seen in observation.agent_pos[:, -1]]))


class Crashing(Seeker):
    """A policy that fails whatever it is shown."""

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        raise RuntimeError("no weights")
