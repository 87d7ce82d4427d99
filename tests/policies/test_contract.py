"""What every built-in policy must do: shapes, repeatability, independence of batch mates, checkpoints, clear errors."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from altbench.core.errors import CheckpointError, ConfigError, ContractError, DatasetError
from altbench.core.policy import FitContext
from altbench_policies.alt.config import NEAREST

TRAINED = (
    "act",
    "alt",
    "alt_plus",
    "bc",
    "bc_gmm",
    "bc_rnn_gmm",
    "diffusion",
    "diffusion:transformer",
    "regressor",
    "vinn",
)
TRAINABLE = (*TRAINED, "fisher", "kdtree", "open_loop")
ALL = (*TRAINABLE, "random")


@pytest.fixture(scope="module")
def fitted(fit_policy):
    """`fitted(name)`: one fitted policy of each kind, for tests that only decide with it, save it and weigh it."""
    return functools.cache(fit_policy)


def decide(policy, observe, demonstration, frames, slots, seeds):
    policy.reset(slots, seeds)
    return policy.act(observe(demonstration, frames, policy.requirements.obs_horizon), slots)


@pytest.mark.parametrize("name", ALL)
def test_decisions_have_the_shapes_of_the_contract(name, fitted, observe, demonstrations):
    policy = fitted(name)
    decision = decide(policy, observe, demonstrations[1], [0, 4, 9], [2, 0, 5], [7, 8, 9])
    assert decision.actions.shape == (3, policy.requirements.action_horizon, 10)
    assert decision.actions.dtype == np.float32
    assert np.isfinite(decision.actions).all()
    if decision.matches is not None:
        assert decision.matches.dtype == np.int64
        assert decision.similarities.shape == decision.matches.shape[:2]


@pytest.mark.parametrize("name", ALL)
def test_decisions_do_not_depend_on_batch_mates(name, fitted, observe, demonstrations):
    policy = fitted(name)
    together = decide(policy, observe, demonstrations[1], [0, 4, 9], [0, 1, 2], [7, 8, 9])
    alone = decide(policy, observe, demonstrations[1], [4], [6], [8])
    np.testing.assert_allclose(together.actions[1], alone.actions[0], atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_an_episode_repeats_with_its_seed(name, fitted, observe, demonstrations):
    policy = fitted(name)
    observation = observe(demonstrations[0], [3], policy.requirements.obs_horizon)

    def episode(seed):
        policy.reset([0], [seed])
        return np.stack([policy.act(observation, [0]).actions for _ in range(3)])

    np.testing.assert_array_equal(episode(4), episode(4))


@pytest.mark.parametrize("name", ["bc_gmm", "bc_rnn_gmm", "diffusion", "random"])
def test_sampling_policies_draw_anew_at_each_decision_and_seed(name, fitted, observe, demonstrations):
    policy = fitted(name)
    observation = observe(demonstrations[0], [3], policy.requirements.obs_horizon)
    policy.reset([0, 1], [4, 5])
    first, second, other = (policy.act(observation, [slot]).actions for slot in (0, 0, 1))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_saved_policy_decides_the_same_once_loaded(name, fitted, make_policy, observe, demonstrations, tmp_path):
    policy, other = fitted(name), make_policy(name)
    policy.save(tmp_path)
    assert not (tmp_path / "policy.json").exists()
    other.load(tmp_path)
    before, after = (decide(p, observe, demonstrations[2], [0, 5], [0, 1], [1, 2]) for p in (policy, other))
    np.testing.assert_array_equal(before.actions, after.actions)
    np.testing.assert_array_equal(before.matches, after.matches)
    assert policy.footprint() == other.footprint()
    assert policy.requirements == other.requirements


@pytest.mark.parametrize("name", TRAINABLE)
def test_damaged_checkpoints_are_refused_by_file_name(name, fitted, make_policy, tmp_path):
    fitted(name).save(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(CheckpointError, match=path.name):
            make_policy(name).load(tmp_path)
        path.unlink()
        with pytest.raises(CheckpointError, match=path.name):
            make_policy(name).load(tmp_path)
        path.write_bytes(whole)
    make_policy(name).load(tmp_path)


@pytest.mark.parametrize("name", TRAINED)
def test_a_checkpoint_of_other_settings_is_refused(name, fitted, make_policy, tmp_path):
    fitted(name).save(tmp_path)
    with pytest.raises(CheckpointError, match="another configuration"):
        make_policy(name, width=0.5).load(tmp_path)


@pytest.mark.parametrize("name", TRAINED)
def test_the_same_seed_trains_the_same_weights(name, make_policy, demonstrations, tmp_path):
    weights = []
    for run, seed in enumerate((1, 1, 2)):
        policy = make_policy(name)
        policy.fit(demonstrations, FitContext(seed))
        folder = tmp_path / str(run)
        folder.mkdir()
        policy.save(folder)
        weights.append((folder / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize("name", ALL)
def test_global_random_state_is_neither_read_nor_touched(name, make_policy, observe, demonstrations):
    def run():
        policy = make_policy(name)
        if name != "random":
            policy.fit(demonstrations, FitContext(3))
        return decide(policy, observe, demonstrations[0], [1], [0], [5]).actions

    first = run()
    torch.manual_seed(123)
    np.random.seed(123)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    second = run()
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", TRAINED)
def test_no_training_steps_leave_a_policy_that_acts(name, fit_policy, observe, demonstrations):
    policy = fit_policy(name, train_steps=0)
    assert np.isfinite(decide(policy, observe, demonstrations[0], [0], [0], [0]).actions).all()


@pytest.mark.parametrize("name", TRAINED)
def test_bf16_trains(name, fit_policy, observe, demonstrations):
    policy = fit_policy(name, precision="bf16")
    assert np.isfinite(decide(policy, observe, demonstrations[0], [0], [0], [0]).actions).all()


@pytest.mark.parametrize("name", TRAINED)
def test_footprint_counts_every_weight(name, fitted, tmp_path):
    policy = fitted(name)
    policy.save(tmp_path)
    header = 8 + int.from_bytes((tmp_path / "weights.safetensors").read_bytes()[:8], "little")
    on_disk = (tmp_path / "weights.safetensors").stat().st_size - header
    assert policy.footprint().weights == pytest.approx(on_disk, abs=400)  # but for the few constants that are not saved


def test_the_table_counts_keys_and_actions(fit_policy, demonstrations):
    frames = sum(len(d) for d in demonstrations)
    assert fit_policy("alt", appearance=0, **NEAREST).footprint().table == frames * (16 * 4 + 10 * 4 + 3 * 8)


@pytest.mark.parametrize("name", TRAINABLE)
def test_acting_unfitted_says_what_to_do(name, make_policy, observe, demonstrations):
    policy = make_policy(name)
    policy.reset([0], [0])
    with pytest.raises(CheckpointError, match=r"call fit\(...\) or load"):
        policy.act(observe(demonstrations[0], [0], policy.requirements.obs_horizon), [0])


@pytest.mark.parametrize("name", ALL)
def test_acting_in_a_slot_that_has_not_begun_says_so(name, fitted, observe, demonstrations):
    policy = fitted(name)
    with pytest.raises(ContractError, match=r"slot 99 has not begun.*reset"):
        policy.act(observe(demonstrations[0], [0], policy.requirements.obs_horizon), [99])


@pytest.mark.parametrize("name", TRAINABLE)
def test_images_of_another_size_are_refused(name, fitted, observe, demonstrations):
    policy = fitted(name)
    policy.reset([0], [0])
    observation = observe(demonstrations[0], [0], policy.requirements.obs_horizon)
    smaller = {camera: pixels[:, :, ::2] for camera, pixels in observation.pixels.items()}
    with pytest.raises(ContractError, match="40, 40"):
        policy.act(type(observation)(smaller, observation.agent_pos), [0])
    with pytest.raises(ContractError, match="'wrist'"):
        one = {"agentview": observation.pixels["agentview"]}
        policy.act(type(observation)(one, observation.agent_pos), [0])


@pytest.mark.parametrize("name", TRAINABLE)
def test_fitting_to_nothing_is_refused(name, make_policy):
    with pytest.raises(DatasetError, match="at least one demonstration"):
        make_policy(name).fit([], FitContext(0))


def test_presets_and_impossible_settings(make_policy):
    from altbench.core import registry

    for name in ALL:
        kind = registry.policy(name.partition(":")[0])
        for preset in kind.presets.values():
            kind.config_type.parse(preset, name)
        assert kind.runtime_fields <= set(kind.config_type.model_fields)
    with pytest.raises(ConfigError, match="multiple of 4"):
        make_policy("diffusion", widths=(8, 16, 32), pred_horizon=14)
    with pytest.raises(ConfigError, match="did you mean 'temperature'"):
        make_policy("alt", temprature=0.1)
    with pytest.raises(ConfigError, match="nowhere exceed"):
        make_policy("random", low=(1, 0, 0))


@pytest.mark.parametrize("name", ["act", "alt_plus", "bc", "bc_gmm", "diffusion"])
def test_more_actions_than_are_predicted_are_refused(name, make_policy):
    past = "" if name != "diffusion" else r" − 1 \(steps before the present frame\)"
    room = 12 if not past else 11
    make_policy(name, pred_horizon=12, action_horizon=room)
    with pytest.raises(ConfigError, match=rf"{name}: .*action_horizon {room + 1} exceeds pred_horizon 12{past}"):
        make_policy(name, pred_horizon=12, action_horizon=room + 1)


@pytest.mark.parametrize("call", ["names('policy')", "policy('random')"])
def test_policies_are_found_and_random_loaded_without_importing_torch(call):
    import subprocess
    import sys

    heavy = "{'torch', 'faiss', 'diffusers'}"
    code = f"import altbench.core.registry as r, sys; r.{call}; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
