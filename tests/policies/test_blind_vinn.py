"""Blind, which is told where the objects stand; vinn, which averages; regressor, ALT+ without its lookup."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from altbench.checks.policy import check_policy
from altbench.core.errors import CheckpointError, ConfigError, ContractError, DatasetError
from altbench.core.policy import FitContext, Observation
from altbench_policies.alt.config import NEAREST
from altbench_policies.vinn.policy import Averaging


def with_states(demonstrations):
    """The demonstrations, each with an object of its own place and yaw, and the arm's way to it."""
    found = []
    for i, d in enumerate(demonstrations):
        place, yaw = np.array([0.1 * i, 0.05, 0.8]), 0.3 * i
        turn = [np.cos(yaw), np.sin(yaw), 0, -np.sin(yaw), np.cos(yaw), 0]
        way = place - d.agent_pos[:, :3] * 5
        state = np.concatenate([np.tile([*place, *turn], (len(d), 1)), way], axis=1)
        found.append(dataclasses.replace(d, environment_state=state.astype(np.float32)))
    return found


def state_of(demonstration, arm=0.0):
    """The observation of its first state, the arm moved by `arm`."""
    state = demonstration.environment_state[:1].copy()
    state[:, 9:] += arm
    return Observation({}, demonstration.agent_pos[:1][None], state[None])


@pytest.fixture
def blind(make_policy, demonstrations):
    policy = make_policy("blind")
    policy.fit(with_states(demonstrations), FitContext(0))
    return policy


@pytest.mark.parametrize("arm", [-0.1, 0.0, 0.1])
def test_blind_plays_the_demonstration_whose_objects_stood_there_whatever_the_arm(blind, demonstrations, arm):
    for demo in with_states(demonstrations):
        blind.reset([0], [0])
        played = [blind.act(state_of(demo, arm), [0]) for _ in range(4)]
        expected = np.concatenate([demo.actions, np.repeat(demo.actions[-1:], 32 - len(demo), axis=0)])
        np.testing.assert_array_equal(np.concatenate([d.actions[0] for d in played]), expected)
        assert played[1].matches[0, 0].tolist() == [demo.index, 8]


def test_blind_is_privileged_and_asks_for_no_image(blind):
    assert blind.requirements.needs_state
    assert blind.requirements.cameras == ()


def test_blind_keeps_the_contract_and_its_checkpoint(blind, make_policy, demonstrations, tmp_path):
    shown = with_states(demonstrations)
    check_policy(blind, shown)
    blind.save(tmp_path)
    other = make_policy("blind")
    with pytest.raises(CheckpointError, match=r"call fit\(...\) or load"):
        other.shown()
    other.load(tmp_path)
    assert other.footprint() == blind.footprint()
    for policy in (blind, other):
        policy.reset([0], [0])
    one, again = (policy.act(state_of(shown[2]), [0]) for policy in (blind, other))
    np.testing.assert_array_equal(one.actions, again.actions)


def test_blind_says_what_it_lacks(make_policy, blind, demonstrations):
    with pytest.raises(DatasetError, match=r"demonstration 3: expected environment_state"):
        make_policy("blind").fit(demonstrations, FitContext(0))
    blind.reset([0], [0])
    with pytest.raises(ContractError, match=r"expected environment_state \(B, To, 12\)"):
        blind.act(Observation({}, demonstrations[0].agent_pos[:1][None]), [0])
    with pytest.raises(ContractError, match="has not begun"):
        blind.act(state_of(with_states(demonstrations)[0]), [7])


def test_nearer_neighbours_weigh_more_and_a_small_bandwidth_leaves_one():
    similarities = np.array([[1.0, 0.9, 0.5, 0.1]], np.float32)
    wide, narrow, few = (Averaging(k, h).weights(similarities) for k, h in ((4, 0.5), (4, 0.01), (2, 0.5)))
    assert wide.sum() == pytest.approx(1)
    assert (np.diff(wide[0]) < 0).all()
    assert narrow[0, 0] == pytest.approx(1)
    assert few.shape == (1, 2)


def test_one_neighbour_is_alt(fit_policy, observe, demonstrations):
    vinn, alt = fit_policy("vinn", neighbours=1, bandwidth=0.1), fit_policy("alt", **NEAREST)
    seen = observe(demonstrations[1], [4], 1)
    for policy in (vinn, alt):
        policy.reset([0], [0])
    one, other = vinn.act(seen, [0]), alt.act(seen, [0])
    np.testing.assert_array_equal(one.actions, other.actions)
    np.testing.assert_array_equal(one.ood_score, other.ood_score)


def test_vinn_chooses_for_itself_and_keeps_what_it_is_given(fit_policy):
    chosen, given = fit_policy("vinn").averaging, fit_policy("vinn", neighbours=3, bandwidth=0.2).averaging
    assert chosen.neighbours >= 1
    assert chosen.bandwidth > 0
    assert given == Averaging(3, 0.2)


def test_vinn_follows_no_demonstration(make_policy):
    with pytest.raises(ConfigError, match="vinn averages several"):
        make_policy("vinn", lookup="monotone")


def test_vinn_of_one_demonstration_acts(make_policy, observe, demonstrations):
    policy = make_policy("vinn")
    policy.fit(demonstrations[:1], FitContext(0))
    policy.reset([0], [0])
    assert np.isfinite(policy.act(observe(demonstrations[0], [0], 1), [0]).actions).all()


def test_the_regressor_is_alt_plus_own_network(make_policy, demonstrations, observe):
    settings = {"hidden": (32,), "train_steps": 3, "batch_size": 8, "precision": "fp32", "width": 0.25}
    regressor, alt_plus = make_policy("regressor", **settings), make_policy("alt_plus", **settings)
    for policy in (regressor, alt_plus):
        policy.fit(demonstrations, FitContext(4))
        policy.reset([0], [0])
    seen = observe(demonstrations[0], [3], 1)
    alt_plus.regressor.reset([0], [0])
    np.testing.assert_array_equal(regressor.act(seen, [0]).actions, alt_plus.regressor.act(seen, [0]).actions)
    assert regressor.config.model_dump().items() <= alt_plus.config.model_dump().items()
