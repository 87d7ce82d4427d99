"""How far a policy's targets are from those of the demonstrations: one number for a frame.

1 mm of position, 1° of rotation and 1 % of the steps with a wrong gripper count the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from altbench.adapters import actions, rotations
from altbench.adapters.actions import Poses
from altbench.adapters.spec import Actions
from altbench.adapting.evidence import Evidence
from altbench.core.types import POSE_ACTION_DIM, Float32, Float64

FARTHEST_MM = 500.0
"""An error of position counts up to this: farther is as wrong."""
WRONG_GRIPPER = 100.0
"""What a step with a wrong gripper counts, so that 1 % of them counts 1."""
MATTERS = 1.25
"""Answers matter under a convention if the error of position is so many times as large
with the answers to other frames. Else the convention itself follows the demonstrations:
steps of almost nothing from the last target do, whatever a policy answers.
"""
LEAST = 1.0
"""The least typical error of a step, by which steps are weighed."""


@dataclass(frozen=True)
class Judge:
    """Scores targets against `evidence`.

    `typical`: (steps,), the error of the nearest demonstration at each step. An error
    counts as a share of it, since later steps of a chunk are harder: so a convention
    under which a chunk is shorter has no advantage.
    """

    evidence: Evidence
    typical: Float64

    @classmethod
    def of(cls, evidence: Evidence, nearest: Float64) -> Judge:
        """Return a judge; `nearest`: the nearest demonstrations' actions (M, steps, arms, 10)."""
        plain = cls(evidence, np.ones(nearest.shape[1]))
        count = evidence.valid.sum(axis=0)
        mean = (plain.steps(nearest) * evidence.valid).sum(axis=0) / np.maximum(count, 1)
        # No frame has so many steps after it: nothing is compared there.
        filled = np.where(count > 0, mean, mean.max())
        return cls(evidence, np.maximum(filled, LEAST))

    def repeated(self, count: int) -> Judge:
        """Return a judge of the same frames `count` times over."""
        return (
            self if count == 1 else Judge(self.evidence.of(np.tile(np.arange(len(self.evidence)), count)), self.typical)
        )

    def means(self, steps: Float64, count: int) -> Float64:
        """Return the mean error (count,) of each of `count` repetitions from the errors of all steps."""
        found: Float64 = self.frames(steps).reshape(count, -1).mean(axis=1)
        return found

    def steps(self, targets: Float64) -> Float64:
        """Return the error (M, n) of each step of targets (M, n, arms, 10)."""
        found = Poses.of(targets.reshape(*targets.shape[:2], -1), POSE_ACTION_DIM)
        return self.positions(found.positions) + self.rotations(found.matrices) + self.grippers(targets[..., 9])

    def positions(self, values: Float64) -> Float64:
        """Return errors (M, n) in mm of positions (M, n, arms, 3)."""
        wanted = self.evidence.targets[:, : values.shape[1], :, :3]
        gaps = 1000.0 * np.linalg.norm(values[:, : wanted.shape[1]] - wanted, axis=-1)
        found: Float64 = np.minimum(gaps, FARTHEST_MM).mean(axis=-1)
        return found

    def rotations(self, values: Float64) -> Float64:
        """Return errors (M, n) in degrees of rotations (M, n, arms, 3, 3)."""
        wanted = self._wanted[:, : values.shape[1]]
        found: Float64 = rotations.angle(values[:, : wanted.shape[1]], wanted).mean(axis=-1)
        return found

    def grippers(self, values: Float64) -> Float64:
        """Return 100 (M, n) where a gripper (M, n, arms) is commanded wrongly, else 0."""
        wanted = self.evidence.targets[:, : values.shape[1], :, 9]
        wrong = (values[:, : wanted.shape[1]] > 0) != (wanted > 0)
        found: Float64 = WRONG_GRIPPER * wrong.mean(axis=-1)
        return found

    @property
    def _wanted(self) -> Float64:
        # Frozen, so that it is computed once, here, at the cost of a name in the instance.
        found: Float64 | None = self.__dict__.get("_matrices")
        if found is None:
            found = rotations.matrices(self.evidence.targets[..., 3:9], "rot6d")
            object.__setattr__(self, "_matrices", found)
        return found

    def frames(self, steps: Float64) -> Float64:
        """Return one error (M,) for each frame from the errors (M, n) of its steps."""
        n = min(steps.shape[1], len(self.typical))
        valid = self.evidence.valid[:, :n]
        usual = (self.typical[:n] * valid).sum(axis=1)
        found: Float64 = (steps[:, :n] * valid).sum(axis=1) / np.maximum(usual, LEAST) * self.scale
        return found

    @property
    def scale(self) -> float:
        """The mean typical error of the first eight steps, in which scores are given."""
        return float(self.typical[:8].mean())

    def score(self, answers: Float32, how: Actions) -> Float64:
        """Return the error (M,) of each frame for a policy's answers (M, n, numbers)."""
        return self.frames(self.steps(actions.decode(answers, how, self.evidence.context)))

    def placed(self, values: Float64, how: Actions, count: int = 1) -> Float64:
        """Return the mean errors (count,) of positions, of a policy's numbers (count x M, n, arms, 3).

        They are larger by `scale` if the answers do not matter. `count`: the repetitions
        of the same frames.
        """
        context = self.evidence.context
        each = values.reshape(count, -1, *values.shape[1:])
        rolled = np.roll(each, each.shape[1] // 2, axis=1).reshape(values.shape)
        own, others = (
            self.means(self.positions(actions.positions(numbers, how, context)), count) for numbers in (values, rolled)
        )
        return np.where(others >= MATTERS * own, own, own + self.scale)

    def mean(self, answers: Float32, how: Actions) -> float:
        """Return the mean error of a policy's answers; larger by `scale` if they do not matter."""
        error = float(self.score(answers, how).mean())
        position, _, _ = actions.split(answers, how, self.evidence.targets.shape[2])
        own = float(self.frames(self.positions(actions.positions(position, how, self.evidence.context))).mean())
        return error + float(self.placed(position, how)[0]) - own

    def parts(self, answers: Float32, how: Actions) -> tuple[float, float, float]:
        """Return the mean errors: mm, degrees, and the share of steps with a wrong gripper."""
        targets = actions.decode(answers, how, self.evidence.context)
        found = Poses.of(targets.reshape(*targets.shape[:2], -1), POSE_ACTION_DIM)
        each = (self.positions(found.positions), self.rotations(found.matrices), self.grippers(targets[..., 9]))
        valid = self.evidence.valid[:, : each[0].shape[1]]
        mm, degrees, wrong = (float(one[valid].mean()) for one in each)
        return mm, degrees, wrong / WRONG_GRIPPER


def nearest_actions(evidence: Evidence, library: Evidence) -> Float64:
    """Return the actions (M, steps, arms, 10) after the most similar frame of other demonstrations.

    `library`: the frames to look in. Two frames are similar if proprioception and small
    grey images are.
    """
    here, there = _features(evidence), _features(library)
    middle, spread = there.mean(axis=0), there.std(axis=0) + 1e-6
    here, there = (here - middle) / spread, (there - middle) / spread
    gaps = ((here[:, None] - there[None]) ** 2).sum(axis=-1)
    gaps[evidence.source[:, None] == library.source[None]] = np.inf
    found: Float64 = library.targets[np.argmin(gaps, axis=1)]
    return found


def _features(evidence: Evidence) -> Float64:
    """Return features (M, k): proprioception, and each camera in 6 x 6 grey squares."""
    seen = evidence.observation
    parts: Sequence[Float64] = [_small(images[:, -1]) for _, images in sorted(seen.pixels.items())]
    pose = seen.agent_pos[:, -1].astype(np.float64)
    # Proprioception weighs as much as all images do together.
    weight = np.sqrt(max(sum(part.shape[1] for part in parts), 1) / pose.shape[1])
    return np.concatenate([*parts, np.repeat(pose, max(1, int(weight**2)), axis=1)], axis=1)


def _small(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Float64:
    """Return the mean brightness (M, 36) of 6 x 6 parts of images (M, H, W, 3)."""
    # Sums of whole numbers first: the images are too large to become float64.
    rows = [part.sum(axis=1, dtype=np.uint32) for part in np.array_split(images, 6, axis=1)]
    squares = [part.sum(axis=(1, 2)) for row in rows for part in np.array_split(row, 6, axis=1)]
    sizes = [len(part) for part in np.array_split(np.arange(images.shape[1]), 6)]
    widths = [len(part) for part in np.array_split(np.arange(images.shape[2]), 6)]
    count = np.array([height * width * images.shape[3] for height in sizes for width in widths], np.float64)
    found: Float64 = np.stack(squares, axis=1) / count
    return found


def constant_actions(evidence: Evidence, library: Evidence) -> Float64:
    """Return the same action for every frame and step: the median of the library's."""
    middle = np.median(library.targets[library.valid], axis=0)
    return np.broadcast_to(middle, evidence.targets.shape).copy()
