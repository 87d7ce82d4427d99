"""Checkpoints of Stable-Baselines3: trust before anything else, spaces, decisions."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zipfile

import cloudpickle
import gymnasium
import numpy as np
import pytest
import stable_baselines3
from gymnasium import spaces

from altbench.checks.policy import check_policy
from altbench.core.errors import CheckpointError, ConfigError, ContractError
from altbench.core.policy import Observation
from altbench_policies.sb3 import StableBaselines, StableBaselinesSpec

POSE, STATE = 11, 5


class Reach(gymnasium.Env):
    """Bring three numbers of the state to zero; shows what a task shows with obs_type="state"."""

    def __init__(self, actions=7, pose=POSE):
        box = spaces.Box(-2, 2, (pose,), np.float32)
        self.observation_space = spaces.Dict(agent_pos=box, environment_state=spaces.Box(-2, 2, (STATE,), np.float32))
        self.action_space = spaces.Box(-1, 1, (actions,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._state, self._steps = self.np_random.uniform(-1, 1, STATE).astype(np.float32), 0
        return self._observation(), {}

    def step(self, action):
        self._state[:3] = np.clip(self._state[:3] + 0.2 * action[:3], -2, 2)
        self._steps += 1
        return self._observation(), -float(np.abs(self._state[:3]).sum()), False, self._steps >= 10, {}

    def _observation(self):
        pose = np.zeros(self.observation_space["agent_pos"].shape, np.float32)
        return {"agent_pos": pose, "environment_state": self._state.copy()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A SAC trained a little on Reach."""
    path = tmp_path_factory.mktemp("sb3") / "reach.zip"
    model = stable_baselines3.SAC(
        "MultiInputPolicy",
        Reach(),
        seed=0,
        device="cpu",
        learning_starts=50,
        batch_size=32,
        buffer_size=500,
        policy_kwargs={"net_arch": [16]},
    )
    model.learn(120)
    model.save(path)
    return path, model


@pytest.fixture
def make(task):
    def policy(path, algo="sac", **settings):
        return StableBaselines(task, StableBaselinesSpec.parse({"path": str(path), "algo": algo, **settings}, "sb3"))

    return policy


@pytest.fixture
def observation():
    rng = np.random.default_rng(0)
    pose, state = (rng.uniform(-1, 1, (3, 1, n)).astype(np.float32) for n in (POSE, STATE))
    return Observation({}, pose, state)


def save(tmp_path, env, algo="PPO", policy="MultiInputPolicy"):
    kind = getattr(stable_baselines3, algo)
    kind(policy, env, device="cpu", policy_kwargs={"net_arch": [8]}).save(tmp_path / "model.zip")
    return tmp_path / "model.zip"


def test_nothing_is_read_unless_it_is_trusted(make, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    trap = {":type:": "Trap", ":serialized:": base64.b64encode(cloudpickle.dumps(Trap())).decode()}
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("data", json.dumps({"policy_class": trap}))
    for settings in ({}, {"trust": False}):
        with pytest.raises(ConfigError, match=r"sb3: .*holds Python pickles.*trust = true.*model.zip"):
            make(tmp_path / "model.zip", **settings)
    untrusted = StableBaselinesSpec.model_construct(path=str(tmp_path / "model.zip"), algo="sac", trust=False)
    with pytest.raises(CheckpointError, match="holds Python pickles"):
        StableBaselines(None, untrusted)
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(CheckpointError, match="cannot be loaded as SAC"):
        make(tmp_path / "model.zip", trust=True)
    assert (tmp_path / "sprung").exists()  # so the trap would have sprung


def test_it_decides_as_the_model_does(trained, make, observation):
    path, model = trained
    policy = make(path, trust=True)
    needs = policy.requirements
    assert (needs.cameras, needs.control_mode, needs.needs_state) == ((), "ee_delta", True)
    assert (needs.obs_horizon, needs.pred_horizon, needs.action_horizon) == (1, 1, 1)
    policy.reset([0, 1, 2], [0, 1, 2])
    decision = policy.act(observation, [0, 1, 2])
    seen = {"agent_pos": observation.agent_pos[:, 0], "environment_state": observation.environment_state[:, 0]}
    expected, _ = model.predict(seen, deterministic=True)
    assert decision.actions.shape == (3, 1, 7)
    np.testing.assert_allclose(decision.actions[:, 0], expected, atol=1e-6)
    assert np.ptp(expected, axis=0).max() > 1e-3
    assert policy.footprint().weights == sum(4 * p.numel() for p in model.policy.parameters())
    assert policy.inference_note() == "SAC, deterministic"


def test_it_fulfils_the_contract(trained, make, observation):
    check_policy(make(trained[0], trust=True), observation)


def test_loading_leaves_global_randomness_alone(trained, make):
    import random

    import torch

    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    make(trained[0], trust=True)
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize(("actions", "mode"), [(7, "ee_delta"), (10, "ee_pose")])
def test_flattened_observations_and_either_control_mode(actions, mode, make, observation, tmp_path):
    env = gymnasium.wrappers.FlattenObservation(Reach(actions))
    policy = make(save(tmp_path, env, policy="MlpPolicy"), "ppo", trust=True)
    assert policy.requirements.control_mode == mode
    policy.reset([0, 1, 2], [0, 0, 0])
    came = policy.act(observation, [0, 1, 2]).actions[:, 0]
    rows = np.concatenate([observation.agent_pos[:, 0], observation.environment_state[:, 0]], axis=1)
    expected, _ = stable_baselines3.PPO.load(tmp_path / "model.zip", device="cpu").predict(rows, deterministic=True)
    np.testing.assert_allclose(came, expected, atol=1e-6)


@pytest.mark.parametrize("algo", ["A2C", "DDPG", "PPO", "TD3"])
def test_the_algorithm_is_found_out(algo, make, observation, tmp_path):
    policy = make(save(tmp_path, Reach(), algo), None, trust=True)
    assert policy.inference_note() == f"{'TD3' if algo == 'DDPG' else algo}, deterministic"
    policy.reset([0, 1, 2], [0, 0, 0])
    assert policy.act(observation, [0, 1, 2]).actions.shape == (3, 1, 7)


def test_files_that_are_no_checkpoints_say_so(make, tmp_path):
    path = tmp_path / "model.zip"
    path.write_bytes(b"no zip at all")
    with pytest.raises(CheckpointError, match=r"model.zip: not the zip that an SB3 model's save\(path\) writes"):
        make(path, None, trust=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", "{}")
    with pytest.raises(CheckpointError, match="expected a model of ppo, a2c, td3, sac, found another; set algo"):
        make(path, None, trust=True)


def test_other_spaces_are_refused_with_both_sides(make, observation, tmp_path):
    with pytest.raises(ContractError, match=r"actions are Box\(.*\(4,\).*Fake takes 7 numbers \(ee_delta\) or 10"):
        make(save(tmp_path, Reach(actions=4)), "ppo", trust=True)
    with pytest.raises(ContractError, match=r"observes Dict\(.*\(9,\).*Fake shows.*agent_pos \(11,\)"):
        make(save(tmp_path, Reach(pose=9)), "ppo", trust=True)
    narrow = Reach()
    narrow.action_space = spaces.Box(-0.5, 0.5, (7,), np.float32)
    with pytest.raises(ContractError, match=r"expected the action space of Fake \(ee_delta\).*RescaleAction"):
        make(save(tmp_path, narrow), "ppo", trust=True)
    longer = Observation({}, observation.agent_pos, np.zeros((3, 1, STATE + 1), np.float32))
    policy = make(save(tmp_path, Reach()), "ppo", trust=True)
    policy.reset([0, 1, 2], [0, 0, 0])
    with pytest.raises(ContractError, match=r"environment_state: trained with \(5,\), the task shows .*6"):
        policy.act(longer, [0, 1, 2])
    with pytest.raises(ContractError, match="slot 4 has not begun"):
        policy.act(observation, [4])


def test_the_settings_name_the_contents(trained, make, tmp_path):
    path = trained[0]
    settings = StableBaselinesSpec.parse({"path": str(path), "algo": "sac", "trust": True}, "sb3")
    assert {"path", "trust"} == StableBaselines.runtime_fields
    assert settings.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    changed = tmp_path / "changed.zip"
    changed.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(CheckpointError, match="expected the file with SHA-256"):
        make(changed, trust=True, sha256=settings.sha256)
    with pytest.raises(ConfigError, match="no such file"):
        make(tmp_path / "missing.zip", trust=True)
    with pytest.raises(CheckpointError, match=r"cannot be loaded as PPO \(is `algo` right\?\)"):
        make(path, "ppo", trust=True)
