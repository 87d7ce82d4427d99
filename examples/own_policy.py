"""A policy of your own: written, checked and evaluated. `python examples/own_policy.py`"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import altbench as ab


class NearestStartConfig(ab.Spec):
    """Settings of `NearestStart`; a sweep sets them with `config = { chunk = 4 }`."""

    chunk: int = 8


class NearestStart(ab.Trainable[NearestStartConfig]):
    """Replays the demonstration whose first gripper pose is nearest to the present one.

    It sees no images, so it does not know where the cube is: expect no success on Lift.
    """

    name = "nearest_start"

    @property
    def requirements(self) -> ab.Requirements:
        """No images; the last observation; `chunk` actions at a time."""
        chunk = self.config.chunk
        return ab.Requirements(cameras=(), obs_horizon=1, pred_horizon=chunk, action_horizon=chunk)

    def fit(self, demonstrations: Sequence[ab.Demonstration], context: ab.FitContext) -> None:
        """Remember first poses (N, Dp) and actions, padded with the last one to (N, T, Da)."""
        longest = max(len(shown) for shown in demonstrations) + self.config.chunk
        self._starts = np.stack([shown.agent_pos[0] for shown in demonstrations])
        self._actions = np.stack([padded(shown.actions, longest) for shown in demonstrations])

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        """Begin episodes: no demonstration is chosen yet."""
        self._state = dict.fromkeys(slots, (-1, 0))  # slot -> (demonstration, next frame)

    def act(self, observation: ab.Observation, slots: Sequence[int]) -> ab.Decision:
        """Answer each slot with the next chunk of its demonstration."""
        poses = observation.agent_pos[:, -1]
        return ab.Decision(np.stack([self._chunk(pose, slot) for pose, slot in zip(poses, slots, strict=True)]))

    def _chunk(self, pose: np.ndarray, slot: int) -> np.ndarray:
        chosen, frame = self._state[slot]
        if chosen < 0:
            chosen = int(np.argmin(np.linalg.norm(self._starts - pose, axis=1)))
        frame = min(frame, self._actions.shape[1] - self.config.chunk)
        self._state[slot] = (chosen, frame + self.config.chunk)
        return self._actions[chosen, frame : frame + self.config.chunk]

    def save(self, folder: Path) -> None:
        """Write plain arrays; nothing is pickled."""
        np.savez(folder / "table.npz", starts=self._starts, actions=self._actions)

    def load(self, folder: Path, device: str = "cpu") -> None:
        """Read what `save` wrote."""
        with np.load(folder / "table.npz", allow_pickle=False) as found:
            self._starts, self._actions = found["starts"], found["actions"]

    def footprint(self) -> ab.Footprint:
        """Return the bytes of the stored actions and poses."""
        return ab.Footprint(table=self._starts.nbytes + self._actions.nbytes)


def padded(actions: np.ndarray, length: int) -> np.ndarray:
    """Return `actions` (T, Da) with the last one repeated until there are `length`."""
    return np.concatenate([actions, np.repeat(actions[-1:], length - len(actions), axis=0)])


def main(task: str = "Lift", demonstrations: int = 30, episodes: int = 20) -> None:
    """Fit it to demonstrations, check that it keeps the contract, and evaluate it."""
    shown = ab.collect(task, demonstrations)
    policy = NearestStart(ab.get_task(task), NearestStartConfig())
    policy.fit(shown, ab.FitContext(seed=0))
    ab.check_policy(policy, shown)
    ab.evaluate(policy, task, split="recall", episodes=episodes, demonstrations=shown)


if __name__ == "__main__":
    main()
