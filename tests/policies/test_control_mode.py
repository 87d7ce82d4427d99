"""Every trainable policy learns and acts in the control mode that its config names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from altbench.core import registry
from altbench.core.errors import DatasetError
from altbench.core.policy import FitContext
from altbench.core.types import DELTA_ACTION_DIM
from altbench_policies.lookup.flag import Flag

TRAINABLE = (
    *("act", "alt", "alt_plus", "bc", "bc_gmm", "bc_rnn_gmm", "diffusion", "diffusion:transformer"),
    *("fisher", "kdtree", "open_loop", "regressor", "vinn"),
)


@pytest.fixture(scope="module")
def deltas(demonstrations):
    """The demonstrations with seven numbers per action."""
    rng = np.random.default_rng(0)
    actions = [rng.uniform(-1, 1, (len(d), DELTA_ACTION_DIM)).astype(np.float32) for d in demonstrations]
    return [replace(d, actions=a, control_mode="ee_delta") for d, a in zip(demonstrations, actions, strict=True)]


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_policy_learns_delta_actions_if_its_config_says_so(name, make_policy, deltas, observe, tmp_path):
    policy, other = (make_policy(name, control_mode="ee_delta") for _ in range(2))
    assert policy.requirements.control_mode == "ee_delta"
    policy.fit(deltas, FitContext(0))
    policy.save(tmp_path)
    other.load(tmp_path)
    observation = observe(deltas[1], [0, 4], policy.requirements.obs_horizon)
    chunks = []
    for one in (policy, other):
        one.reset([0, 1], [1, 2])
        chunks.append(one.act(observation, [0, 1]).actions)
    assert chunks[0].shape == (2, policy.requirements.action_horizon, DELTA_ACTION_DIM)
    assert np.isfinite(chunks[0]).all()
    np.testing.assert_array_equal(*chunks)


@pytest.mark.parametrize("name", ["kdtree", "open_loop"])
def test_a_lookup_returns_the_demonstrated_deltas(name, make_policy, deltas, observe):
    policy = make_policy(name, control_mode="ee_delta")
    policy.fit(deltas, FitContext(0))
    policy.reset([0], [0])
    decision = policy.act(observe(deltas[2], [0], 1), [0])
    np.testing.assert_array_equal(decision.actions[0], deltas[2].actions[:8])


@pytest.mark.parametrize("name", TRAINABLE)
def test_actions_in_another_control_mode_are_refused(name, make_policy, demonstrations, deltas):
    for policy, shown in ((make_policy(name), deltas), (make_policy(name, control_mode="ee_delta"), demonstrations)):
        mode = policy.requirements.control_mode
        with pytest.raises(DatasetError, match=f"demonstration 3: expected actions in {mode}, .* got ee_"):
            policy.fit(shown, FitContext(0))


@pytest.mark.parametrize("name", sorted({name.partition(":")[0] for name in TRAINABLE}))
def test_published_keys_know_no_control_mode(name):
    kind = registry.policy(name).config_type
    assert "control_mode" not in kind.parse({}, name).model_dump()
    assert kind.parse({"control_mode": "ee_delta"}, name).model_dump()["control_mode"] == "ee_delta"


def test_holding_still_in_delta_actions_is_no_motion_with_the_last_grip():
    held = Flag(registry.policy("alt").config_type.parse({}, "alt"), 2, "ee_delta")._hold(
        np.ones(22, np.float32), np.array([1, -1], np.float32)
    )
    np.testing.assert_array_equal(held, [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, -1])
