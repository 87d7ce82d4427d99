"""The example in policies/README.md runs, and every policy passes the checker that ships with the bench."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from altbench import registry
from altbench.api import FitContext, Observation, Trainable
from altbench.checks import check_policy

ROOT = Path(__file__).parents[2]


def two_slots(observe, demonstrations, horizon):
    """One slot in each of two demonstrations."""
    first, second = (observe(demonstrations[i], [5], horizon) for i in (0, 2))
    pixels = {c: np.concatenate([first.pixels[c], second.pixels[c]]) for c in first.pixels}
    return Observation(pixels, np.concatenate([first.agent_pos, second.agent_pos]))


@pytest.mark.parametrize("name", ["alt", "bc", "diffusion", "kdtree", "open_loop", "random"])
def test_built_in_policies_pass_the_checker(name, fit_policy, observe, demonstrations):
    policy = fit_policy(name)
    check_policy(policy, two_slots(observe, demonstrations, policy.requirements.obs_horizon))


def test_the_example_is_a_policy(task, observe, demonstrations, tmp_path):
    readme = (ROOT / "policies" / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"^```python\n(.*?)^```$", readme, flags=re.DOTALL | re.MULTILINE)
    assert len(code) == 1
    (tmp_path / "nearest_pose.py").write_text(code[0], encoding="utf-8")
    kind = registry.policy(f"{tmp_path / 'nearest_pose.py'}:NearestPose")
    policy, again = (kind(task, kind.config_type()) for _ in range(2))
    assert isinstance(policy, Trainable)
    policy.fit(demonstrations, FitContext(0))
    (tmp_path / "saved").mkdir()
    policy.save(tmp_path / "saved")
    again.load(tmp_path / "saved")
    seen = two_slots(observe, demonstrations, 1)
    check_policy(again, seen)
    again.reset([0], [0])
    one = dataclasses.replace(seen, agent_pos=demonstrations[0].agent_pos[None, 5:6])
    np.testing.assert_array_equal(again.act(one, [0]).actions[0], demonstrations[0].actions[5:13])
