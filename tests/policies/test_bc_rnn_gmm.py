"""Recurrent behaviour cloning: sequences, the memory of a slot, and that it can learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from learning import assert_learns, descend

from altbench.core.errors import ConfigError
from altbench_policies.bc_rnn_gmm.config import RecurrentCloningSpec
from altbench_policies.bc_rnn_gmm.policy import RecurrentMixture, SequenceObjective
from altbench_policies.frames import join
from altbench_policies.vision import seeded_network

STEADY = {"modes": 1, "evaluation_std": 0.0, "sequence": 4}  # decisions without chance


def make_objective(task, demonstrations, seed=0, **changes):
    settings = RecurrentCloningSpec(
        **{"width": 0.25, "view_features": 16, "rnn_hidden": 32, "batch_size": 4, **changes}
    )
    network = seeded_network(lambda: RecurrentMixture(settings, task.cameras, task, (40, 40)), seed, "cpu")
    frames = join(demonstrations, task.cameras)
    network.fit_ranges(frames)
    return network, SequenceObjective(network, settings, frames), frames


def decide(policy, observe, demonstration, frames, slots):
    return policy.act(observe(demonstration, frames, 1), slots).actions[:, 0]


def test_sequences_begin_at_any_frame_and_repeat_the_last(task, demonstrations):
    network, objective, frames = make_objective(task, demonstrations, batch_size=1000, sequence=10)
    batch = objective.sample(torch.Generator().manual_seed(0))
    begin = torch.randperm(len(frames), generator=torch.Generator().manual_seed(0))
    rows = torch.minimum(begin[:, None] + torch.arange(10), frames.last[begin][:, None])
    torch.testing.assert_close(network.action_range.restore(batch.chunk), frames.actions[rows])
    pose = network.observation.pose_range.restore(batch.seen.pose[:, 0])
    torch.testing.assert_close(pose.view(len(begin), 10, -1), frames.agent_pos[rows])
    assert batch.seen.images["wrist"].shape == (len(begin) * 10, 3, 40, 40)


def test_images_and_poses_of_a_sequence_belong_together(task, demonstrations):
    _, objective, frames = make_objective(task, demonstrations, shift=0, sequence=3)
    batch = objective.sample(torch.Generator().manual_seed(1))
    begin = torch.randperm(len(frames), generator=torch.Generator().manual_seed(1))[:4]
    rows = torch.minimum(begin[:, None] + torch.arange(3), frames.last[begin][:, None]).flatten()
    images = frames.pixels["agentview"][rows].permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(batch.seen.images["agentview"], images)


def test_the_loss_is_the_likelihood_of_every_step(task, demonstrations):
    network, objective, _ = make_objective(task, demonstrations)
    batch = objective.sample(torch.Generator().manual_seed(0))
    mixture, _ = network(batch.seen, 10)
    assert mixture.logits.shape == (4, 10, 5)
    likelihoods = mixture.log_prob(batch.chunk)
    assert likelihoods.shape == (4, 10)
    torch.testing.assert_close(objective.loss(batch), -likelihoods.mean())


def test_it_learns_one_batch_by_heart(task, demonstrations):
    def miss(seed):
        network, objective, _ = make_objective(task, demonstrations, seed, modes=2, sequence=4, rnn_hidden=128)
        batch = objective.sample(torch.Generator().manual_seed(0))
        descend(network.parameters(), lambda: objective.loss(batch), 120, 2e-3)
        generators = [torch.Generator().manual_seed(i) for i in range(4)]
        return (network(batch.seen, 4)[0].draw(generators, 1e-4) - batch.chunk).abs().mean().item()

    assert_learns(miss, below=0.2)


@pytest.mark.parametrize(("pooling", "bounded"), [("spatial_softmax", True), ("flat", False)])
def test_what_the_lstm_sees_is_bounded_however_large_the_weights(task, demonstrations, pooling, bounded):
    network, objective, _ = make_objective(task, demonstrations, pooling=pooling, view_features=0)
    with torch.no_grad():
        for parameter in network.observation.parameters():
            parameter.mul_(10)
        seen = network.observation(objective.sample(torch.Generator().manual_seed(0)).seen)
    assert (seen.abs().max() < 1 + 1e-4) == bounded, seen.abs().max()


def test_decisions_step_by_step_are_those_of_the_whole_sequence(fit_policy, observe, demonstrations):
    policy, demo = fit_policy("bc_rnn_gmm", **STEADY), demonstrations[0]
    policy.reset([0], [0])
    came = np.concatenate([decide(policy, observe, demo, [frame], [0]) for frame in range(4)])
    network = policy.fitted()
    with torch.inference_mode():
        mixture, _ = network(network.observation.observe(observe(demo, [0, 1, 2, 3], 1)), 4)
    expected = network.action_range.restore(mixture.means[0, :, 0]).numpy()
    np.testing.assert_allclose(came, expected, atol=1e-5)


def test_the_memory_matters_and_is_cleared_after_a_sequence(fit_policy, observe, demonstrations):
    policy, demo = fit_policy("bc_rnn_gmm", **STEADY), demonstrations[0]
    policy.reset([0], [0])
    came = [decide(policy, observe, demo, [5], [0]) for _ in range(9)]
    np.testing.assert_array_equal(came[0], came[4])
    np.testing.assert_array_equal(came[1], came[5])
    np.testing.assert_array_equal(came[0], came[8])
    assert all(np.abs(came[0] - came[i]).max() > 1e-6 for i in (1, 2, 3))


def test_slots_keep_their_own_memories(fit_policy, observe, demonstrations):
    policy, demo = fit_policy("bc_rnn_gmm", **STEADY), demonstrations[0]
    policy.reset([0], [0])
    alone = [decide(policy, observe, demo, [frame], [0])[0] for frame in (2, 3, 9)]
    policy.reset([1, 2], [0, 0])
    decide(policy, observe, demo, [2], [1])
    decide(policy, observe, demo, [8, 3], [2, 1])
    policy.reset([2], [0])
    together = decide(policy, observe, demo, [2, 9], [2, 1])
    np.testing.assert_allclose(together, [alone[0], alone[2]], atol=1e-5)


def test_more_than_one_action_at_a_time_is_refused(make_policy):
    for field in ("obs_horizon", "pred_horizon", "action_horizon"):
        with pytest.raises(ConfigError, match=f"bc_rnn_gmm: config: {field}|bc_rnn_gmm: {field}"):
            make_policy("bc_rnn_gmm", **{field: 2})


def test_a_processor_without_a_bfloat16_lstm_computes_it_in_float32(task, demonstrations, monkeypatch):
    network, objective, _ = make_objective(task, demonstrations)
    batch, whole, seen = objective.sample(torch.Generator().manual_seed(0)), network.rnn.forward, []

    def forward(features, memory=None):
        seen.append(torch.is_autocast_enabled("cpu"))
        if seen[-1]:
            raise RuntimeError("could not create a primitive descriptor for the LSTM")  # oneDNN's words under AVX2
        return whole(features, memory)

    monkeypatch.setattr(network.rnn, "forward", forward)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.isfinite(objective.loss(batch))
    assert seen == [True, False]
    monkeypatch.setattr(network.rnn, "forward", lambda *_: (_ for _ in ()).throw(RuntimeError("another fault")))
    with pytest.raises(RuntimeError, match="another fault"):
        objective.loss(batch)
