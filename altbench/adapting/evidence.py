"""What a policy is asked, and what the demonstrations did then."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from altbench.adapters.actions import Context, Poses
from altbench.adapters.spec import Point
from altbench.core.demonstration import Demonstration
from altbench.core.errors import DatasetError
from altbench.core.policy import Observation
from altbench.core.task import TaskInfo
from altbench.core.types import AGENT_POS_DIM, POSE_ACTION_DIM, Float64, Int64

STEPS = 24
"""Control steps after a frame whose actions are compared, at most."""
FEWEST = 4
"""Demonstrations that are needed: some to search with, others to judge by."""
HELD_OUT = 3
"""One of so many demonstrations is held out of the search."""


@dataclass(frozen=True)
class Evidence:
    """M demonstrated frames with their history, and the actions that followed them.

    `observation`: of M slots, with every camera. `targets`: pose actions (M, steps, arms,
    10). `valid` (M, steps): those that were demonstrated; the rest lies beyond the end.
    `context`: what actions are relative to. `held_out`: (M,), of demonstrations that the
    search does not see. `source`: (M,), the demonstration's place in its list.
    """

    observation: Observation
    targets: Float64
    valid: NDArray[np.bool_]
    context: Context
    held_out: NDArray[np.bool_]
    source: Int64

    def __len__(self) -> int:
        return len(self.held_out)

    def without_images(self) -> Evidence:
        """Return the same frames without what the policy sees: what they are judged by."""
        return replace(self, observation=Observation({}, self.observation.agent_pos[:, -1:]))

    def of(self, rows: Int64) -> Evidence:
        """Return some of the frames."""
        seen, track = self.context.seen, self.context.track
        assert track is not None
        context = Context(_rows(seen, rows), _rows(self.context.before, rows), self.context.base, _rows(track, rows))
        return Evidence(
            observed(self.observation, rows),
            self.targets[rows],
            self.valid[rows],
            context,
            self.held_out[rows],
            self.source[rows],
        )


def _rows(poses: Poses, rows: Int64) -> Poses:
    return Poses(poses.positions[rows], poses.matrices[rows])


def observed(observation: Observation, rows: Int64) -> Observation:
    """Return some slots of an observation."""
    pixels = {camera: images[rows] for camera, images in observation.pixels.items()}
    state = observation.environment_state
    return Observation(pixels, observation.agent_pos[rows], None if state is None else state[rows])


def gather(
    demonstrations: Sequence[Demonstration],
    task: TaskInfo,
    history: int,
    frames: int,
    *,
    seed: int = 0,
    base: Point | None = None,
) -> Evidence:
    """Return up to `frames` frames, spread over all demonstrations, a third of them held out.

    `history`: the observations To of a decision. `base`: the robot's (m, world).
    DatasetError if the demonstrations are too few or do not hold pose actions.
    """
    _check(demonstrations, task)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(demonstrations))
    chosen = [(int(d), int(t)) for d, t in _spread(demonstrations, order, frames, rng)]
    parts = [_frame(demonstrations[d], t, history, task) for d, t in chosen]
    names = demonstrations[0].pixels
    state = None
    if demonstrations[0].environment_state is not None:
        state = np.stack([part.state for part in parts if part.state is not None])
    observation = Observation(
        {c: np.stack([part.pixels[c] for part in parts]) for c in names},
        np.stack([part.agent_pos for part in parts]),
        state,
    )
    before = np.stack([part.before for part in parts])
    context = Context(
        Poses.of(observation.agent_pos[:, -1], AGENT_POS_DIM),
        Poses.of(before, POSE_ACTION_DIM),
        base,
        Poses.of(np.stack([part.track for part in parts]), AGENT_POS_DIM),
    )
    held = set(order[::HELD_OUT].tolist())
    return Evidence(
        observation,
        np.stack([part.targets for part in parts]).reshape(len(parts), STEPS, task.arms, POSE_ACTION_DIM),
        np.stack([part.valid for part in parts]),
        context,
        np.array([d in held for d, _ in chosen]),
        np.array([d for d, _ in chosen], dtype=np.int64),
    )


def _check(demonstrations: Sequence[Demonstration], task: TaskInfo) -> None:
    if len(demonstrations) < FEWEST:
        raise DatasetError(f"expected at least {FEWEST} demonstrations to judge a policy by, got {len(demonstrations)}")
    for d in demonstrations:
        if d.control_mode != "ee_pose":
            raise DatasetError(
                f"expected demonstrations with ee_pose actions, got {d.control_mode}; collect them without --control-mode"
            )
        if d.agent_pos.shape[1] != task.agent_pos_dim:
            raise DatasetError(f"expected {task.agent_pos_dim} numbers of agent_pos, got {d.agent_pos.shape[1]}")


def _spread(
    demonstrations: Sequence[Demonstration], order: Int64, frames: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Choose frames: one of each demonstration in turn, each at another moment."""
    each = max(1, -(-frames // len(demonstrations)))
    moments = []
    for d in order:
        last = max(len(demonstrations[d]) - 1, 1)
        edges = np.linspace(0, last, min(each, last) + 1)
        moments.append([int(rng.integers(int(a), max(int(a) + 1, int(b)))) for a, b in itertools.pairwise(edges)])
    turns = [rng.permutation(len(found)) for found in moments]
    found = [
        (int(order[i]), moments[i][turns[i][k]]) for k in range(each) for i in range(len(order)) if k < len(moments[i])
    ]
    return found[:frames]


@dataclass(frozen=True)
class _Frame:
    pixels: dict[str, NDArray[np.uint8]]
    agent_pos: NDArray[np.float32]
    state: NDArray[np.float32] | None
    before: NDArray[np.float32]
    targets: Float64
    valid: NDArray[np.bool_]
    track: NDArray[np.float32]


def _frame(shown: Demonstration, t: int, history: int, task: TaskInfo) -> _Frame:
    past = np.clip(np.arange(t - history + 1, t + 1), 0, None)
    coming = np.arange(t, t + STEPS)
    kept = np.minimum(coming, len(shown) - 1)
    pose = shown.agent_pos[t].reshape(task.arms, AGENT_POS_DIM)[:, :9]
    still = np.concatenate([pose, np.full((task.arms, 1), -1.0, np.float32)], axis=1).reshape(-1)
    return _Frame(
        {camera: images[past] for camera, images in shown.pixels.items()},
        shown.agent_pos[past],
        None if shown.environment_state is None else shown.environment_state[past],
        still if t == 0 else shown.actions[t - 1],
        shown.actions[kept].astype(np.float64),
        coming < len(shown),
        shown.agent_pos[kept],
    )
