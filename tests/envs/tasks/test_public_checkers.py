"""Every registered id with every observation type and control mode passes Gymnasium's and Stable-Baselines3's checkers."""

from __future__ import annotations

import itertools
import warnings
from typing import Any, get_args

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from altbench.core import registry
from altbench.core.types import ControlMode, ObsType

pytestmark = pytest.mark.sim
ALLOWED = {"pixels": "Nested observation spaces", "ee_pose": "symmetric and normalized"}
TASKS = [name for name in registry.names("task") if name != "Fake"]  # which tests alone may have registered
VARIANTS = list(itertools.product(TASKS, get_args(ObsType), get_args(ControlMode)))
QUICK = [one for one in VARIANTS if one[0] == "Lift" or (one[0] != "Transport" and one[1] == "state")]
"""The others take 37 s together, since each makes a simulator with images, or one of two arms."""
SMALL: dict[str, Any] = {"image_size": (24, 24), "render_size": (24, 24)}  # all is checked but what an image shows


@pytest.mark.parametrize(
    ("name", "obs_type", "control_mode"),
    [pytest.param(*one, marks=[] if one in QUICK else pytest.mark.slow) for one in VARIANTS],
)
def test_passes_the_public_checkers(name: str, obs_type: str, control_mode: str) -> None:
    looks = SMALL if obs_type == "pixels" else {}
    made = gymnasium.make(
        registry.task(name).env_id, disable_env_checker=True, obs_type=obs_type, control_mode=control_mode, **looks
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gymnasium_check_env(made.unwrapped, skip_render_check=True)  # which would make two more environments
        sb3_check_env(made.unwrapped, skip_render_check=True)
    made.close()
    allowed = [text for choice, text in ALLOWED.items() if choice in (obs_type, control_mode)]
    messages = [str(warning.message) for warning in caught]
    assert [m for m in messages if not any(text in m for text in allowed)] == []
