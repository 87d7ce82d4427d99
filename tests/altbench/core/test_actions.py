"""The bounds of actions, held against spaces and against the frames beside them."""

from __future__ import annotations

from dataclasses import replace

import fakes
import numpy as np
import pytest

from altbench.core.actions import action_bounds, check_actions, check_space
from altbench.core.errors import ContractError, DatasetError
from altbench.core.types import Float32

FRAMES = 12
SEEN = np.zeros((FRAMES, 11), np.float32)
SEEN[:, 3], SEEN[:, 7] = 1.0, 1.0
SEEN[:, 9] = np.linspace(0.04, 0.01, FRAMES)  # the fingers close
SEEN[:, 10] = -SEEN[:, 9]


def pose() -> Float32:
    """Pose actions that stay, and close the gripper."""
    return np.concatenate([SEEN[:, :9], np.ones((FRAMES, 1), np.float32)], axis=1)


def test_the_bounds_are_those_of_the_environment() -> None:
    for mode in ("ee_delta", "ee_pose"):
        low, high = action_bounds(fakes.TASK, mode)
        space = fakes.FakeTask(control_mode=mode).action_space
        np.testing.assert_allclose(low, space.low)
        np.testing.assert_allclose(high, space.high)
        check_space("it", space.low, space.high, fakes.TASK, mode)


@pytest.mark.parametrize("mode", ["ee_delta", "ee_pose"])
@pytest.mark.parametrize("scale", [0.5, 2.0, np.inf])
def test_a_rescaled_space_is_refused_with_both_sides(mode: str, scale: float) -> None:
    low, high = action_bounds(fakes.TASK, mode)
    with pytest.raises(ContractError, match=r"it: expected the action space of Fake .*got from .*RescaleAction"):
        check_space("it", low * scale, high * scale, fakes.TASK, mode)


def test_without_a_workspace_positions_are_not_compared() -> None:
    task = replace(fakes.TASK, workspace=None)
    check_space("it", -np.ones(10), np.ones(10), task, "ee_pose")
    with pytest.raises(ContractError, match="expected the action space of Fake"):
        check_space("it", -np.ones(10) / 2, np.ones(10) / 2, task, "ee_pose")


def test_sound_actions_pass() -> None:
    check_actions("it", pose(), SEEN, fakes.TASK, "ee_pose")
    check_actions("it", np.eye(7, dtype=np.float32)[[6] * FRAMES], SEEN, fakes.TASK, "ee_delta")
    keeps = pose()
    keeps[:, 3:9] = 0.0
    check_actions("it", keeps, SEEN, fakes.TASK, "ee_pose")


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        (0, np.nan, "expected finite actions, got NaN or infinity in frame 2"),
        (1, 3.0, "frame 2: expected ee_pose actions, whose number 1 is from -0.25 to 0.25, got 3;"),
        (9, 1.5, "frame 2: .* number 9 is from -1 to 1, got 1.5"),
        (3, 0.5, "frame 2: expected a rot6d with columns of length 1"),
    ],
)
def test_actions_outside_their_space_are_refused(column: int, value: float, reason: str) -> None:
    actions = pose()
    actions[2, column] = value
    with pytest.raises(DatasetError, match=f"it: {reason}"):
        check_actions("it", actions, SEEN, fakes.TASK, "ee_pose")


def test_targets_far_from_the_gripper_are_refused() -> None:
    actions = pose()
    actions[:, :2] = 0.25
    with pytest.raises(
        DatasetError, match=r"expected ee_pose targets near the gripper at \[0, 0, 0\], got .*0.35 m away"
    ):
        check_actions("it", actions, SEEN, fakes.TASK, "ee_pose")


@pytest.mark.parametrize("command", [-1.0, 0.0])
def test_fingers_must_follow_the_gripper(command: float) -> None:
    actions = pose()
    actions[:, -1] = command
    with pytest.raises(DatasetError, match=f"expected a gripper command of 1 where the fingers close, got {command:g}"):
        check_actions("it", actions, SEEN, fakes.TASK, "ee_pose")
