"""One simulator of each kind for all tests of environments: making one takes seconds, resetting one milliseconds."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium
import pytest

import altbench
from altbench_envs.robosuite_env.adapter import RobosuiteEnv

assert altbench.__version__  # importing it registers altbench/Lift-v0


def _made(**options: object) -> Iterator[RobosuiteEnv]:
    env = gymnasium.make("altbench/Lift-v0", **options)
    assert isinstance(env.unwrapped, RobosuiteEnv)
    yield env.unwrapped
    env.close()


@pytest.fixture(scope="session")
def pixels_env() -> Iterator[RobosuiteEnv]:
    """Lift as policies see it: images, absolute pose actions."""
    yield from _made(render_mode="rgb_array")


@pytest.fixture(scope="session")
def state_env() -> Iterator[RobosuiteEnv]:
    """Lift without images, absolute pose actions."""
    yield from _made(obs_type="state")


@pytest.fixture(scope="session")
def delta_env() -> Iterator[RobosuiteEnv]:
    """Lift as reinforcement learners see it: state, robosuite's seven."""
    yield from _made(obs_type="state", control_mode="ee_delta")
