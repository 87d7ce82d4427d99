"""docs/actions-and-observations.md, held against the code: its numbers, and what it says that the arm does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from altbench.api import AGENT_POS_DIM, DELTA_ACTION_DIM, POSE_ACTION_DIM, task_of
from altbench.core import registry
from altbench.core.task import TaskEnv

PAGE = Path(__file__).parents[3] / "docs" / "actions-and-observations.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def poses() -> Iterator[gymnasium.Env[Any, Any]]:
    env = gymnasium.make("altbench/Lift-v0")
    yield env
    env.close()


@pytest.fixture(scope="module")
def deltas() -> Iterator[gymnasium.Env[Any, Any]]:
    env = gymnasium.make("altbench/Lift-v0", obs_type="state", control_mode="ee_delta")
    yield env
    env.close()


def told(page: str, sentence: str) -> None:
    """Fail unless the page says `sentence`, wherever its lines end."""
    assert sentence in " ".join(page.split()), "the page no longer says what is checked here"


def indices(page: str, heading: str) -> list[int]:
    """Every index that the first table below `heading` explains."""
    below = page.partition(heading)[2].partition("\n#")[0]
    spans = re.findall(r"^\| (\d+)(?: to (\d+))? \|", below, re.MULTILINE)
    return [i for first, last in spans for i in range(int(first), int(last or first) + 1)]


def agent_pos(task: TaskEnv) -> Any:
    return task.observe(pixels=False)["agent_pos"].astype(float)


def test_the_tables_explain_every_number_once(page: str) -> None:
    assert indices(page, "### `ee_pose`") == list(range(POSE_ACTION_DIM))
    assert indices(page, "### `ee_delta`") == list(range(DELTA_ACTION_DIM))
    assert indices(page, "### `agent_pos`") == list(range(AGENT_POS_DIM))


def test_the_pages_numbers_are_the_tasks(page: str) -> None:
    lift, transport = registry.task("Lift"), registry.task("Transport")
    told(page, f"{POSE_ACTION_DIM} numbers for each arm.")
    told(page, f"{DELTA_ACTION_DIM} numbers for each arm, each −1 to 1")
    told(page, f"float32, {AGENT_POS_DIM} numbers for each arm")
    told(page, f"({lift.control_hz:g} Hz)")
    told(page, f"horizon (Lift: {lift.horizon} steps)")
    told(page, "The cameras are " + " (fixed, looks at the table) and ".join(f"`{c}`" for c in lift.cameras))
    told(page, "Transport has `{}`, `{}` and `{}`".format(*transport.cameras))
    assert {registry.task(name).control_hz for name in registry.BUILT_IN["task"]} == {20.0}


@pytest.mark.sim
def test_spaces_and_images_are_as_the_page_says(page: str, poses: gymnasium.Env[Any, Any]) -> None:
    told(page, "(Lift: x ±0.30, y ±0.35, z 0.80 to 1.20)")
    space = poses.action_space
    assert isinstance(space, gymnasium.spaces.Box) and space.dtype == np.float32
    np.testing.assert_allclose(space.low[:3], (-0.3, -0.35, 0.8), atol=1e-6)
    np.testing.assert_allclose(space.high[:3], (0.3, 0.35, 1.2), atol=1e-6)
    observation, _ = poses.reset(seed=0)
    told(page, "uint8, (height, width, 3), RGB, 0 to 255, 84×84")
    for image in observation["pixels"].values():
        assert image.shape == (84, 84, 3) and image.dtype == np.uint8
    told(page, "Row 0 is the top of the picture.")
    red = np.argwhere((observation["pixels"]["agentview"].astype(int) @ (1, -1, -1)) > 40).mean(axis=0)
    assert np.abs(red - projected(task_of(poses), "agentview", "cube_main")).max() < 3, "the cube is where it should be"


def projected(task: Any, camera: str, body: str) -> Any:
    """The row and column (84×84) at which `camera` sees `body`, by the camera's own matrix."""
    data, model = task._simulator.data, task._simulator.model
    seen = data.camera(camera).xmat.reshape(3, 3).T @ (data.body(body).xpos - data.camera(camera).xpos)
    focal = 42 / np.tan(np.radians(model.camera(camera).fovy[0]) / 2)
    return np.array([42 - focal * seen[1] / -seen[2], 42 + focal * seen[0] / -seen[2]])


@pytest.mark.sim
def test_pose_actions_do_what_the_page_says(page: str, poses: gymnasium.Env[Any, Any]) -> None:
    task = task_of(poses)
    poses.reset(seed=0)
    start, began = agent_pos(task), task.sim_state()[0]
    stay = np.array([*start[:9], -1], np.float32)
    told(page, "`[*agent_pos[:9], -1]` stays where it is")
    for _ in range(20):
        task.advance(stay)
    assert np.abs(agent_pos(task)[:9] - start[:9]).max() < 0.01
    assert task.sim_state()[0] - began == pytest.approx(1.0), "20 Hz"
    told(page, "−1 opens the gripper, 1 closes it")
    told(page, "m; open 0.04 and −0.04, closed 0 and 0")
    np.testing.assert_allclose(agent_pos(task)[9:], (0.04, -0.04), atol=0.002)
    up = stay.copy()
    up[2] += 0.05
    told(page, "a target 5 cm away takes about five.")
    heights = [task.advance(up) and agent_pos(task)[2] - start[2] for _ in range(10)]
    assert heights[0] < 0.03 and heights[6] == pytest.approx(0.05, abs=0.01)
    told(page, "Six zeros keep the present orientation.")
    up[3:9], up[9] = 0, 1
    for _ in range(20):
        task.advance(up)
    np.testing.assert_allclose(agent_pos(task)[3:9], start[3:9], atol=0.03)
    np.testing.assert_allclose(agent_pos(task)[9:], 0, atol=0.002)


@pytest.mark.sim
def test_delta_actions_do_what_the_page_says(page: str, deltas: gymnasium.Env[Any, Any]) -> None:
    from scipy.spatial.transform import Rotation

    task: Any = task_of(deltas)
    observation, _ = deltas.reset(seed=0)
    start = agent_pos(task)
    told(page, "| 1 is 0.05 m |")
    told(page, "| 1 is 0.5 rad |")
    for axis in range(3):
        goal = task.as_pose(np.eye(7, dtype=np.float32)[axis])
        np.testing.assert_allclose(goal[:3] - start[:3], 0.05 * np.eye(3)[axis], atol=1e-6)
        turned = task.as_pose(np.eye(7, dtype=np.float32)[3 + axis])[3:9].astype(float)
        turn = rotation(turned) * rotation(start[3:9]).inv()
        np.testing.assert_allclose(turn.as_rotvec(), 0.5 * np.eye(3)[axis], atol=1e-5)
    assert isinstance(turn, Rotation)
    told(
        page,
        "Lift has 12 numbers: position of the cube (m, world), its rot6d, and the vector from the grip site to it (m).",
    )
    state = observation["environment_state"]
    assert state.shape == (12,)
    np.testing.assert_allclose(state[:3], task.privileged()["cube_position"], atol=1e-6)
    np.testing.assert_allclose(state[9:], state[:3] - start[:3], atol=1e-6)
    told(page, "So ten steps of 1 move it by less than ten times 0.05 m.")
    for _ in range(10):
        task.advance(np.array([0, 0, 1, 0, 0, 0, -1], np.float32))
    assert 0.05 < agent_pos(task)[2] - start[2] < 0.4


def rotation(rot6d: Any) -> Any:
    from scipy.spatial.transform import Rotation

    x, y = rot6d[:3], rot6d[3:]
    return Rotation.from_matrix(np.stack([x, y, np.cross(x, y)], axis=1))


def test_the_batch_of_a_policy_is_as_its_contract_says(page: str) -> None:
    from altbench.core.policy import Decision, Observation

    fields = re.findall(r"^\| `(\w+)(?:\[camera\])?` \| (?:uint8|float32) \(B, To", page, re.MULTILINE)
    assert fields == list(Observation.__dataclass_fields__)
    told(page, "It returns `Decision.actions`, float32 (B, Ta, 10) with `ee_pose`, (B, Ta, 7) with `ee_delta`.")
    assert "actions" in Decision.__dataclass_fields__ and (POSE_ACTION_DIM, DELTA_ACTION_DIM) == (10, 7)
