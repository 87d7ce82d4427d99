"""Behaviour cloning, open-loop playback and random poses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from learning import assert_learns

from altbench.core.errors import CheckpointError
from altbench.core.policy import FitContext, Observation
from altbench.core.task import TaskInfo
from altbench_policies.bc.config import BehaviourCloningSpec
from altbench_policies.bc.policy import ChunkRegressor, RegressionObjective
from altbench_policies.frames import join
from altbench_policies.random import Random, RandomSpec


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_bc_learns_a_demonstration_by_heart(distance, make_policy, observe, demonstrations):
    demo = demonstrations[0]
    spread = demo.actions.max(0) - demo.actions.min(0)
    shown = np.stack([demo.actions[frame : frame + 8] for frame in (2, 9)])

    def miss(seed):
        policy = make_policy("bc", hidden=(64,), train_steps=300, batch_size=16, distance=distance, shift=0)
        policy.fit(demonstrations[:1], FitContext(seed))
        policy.reset([0, 1], [0, 0])
        decided = policy.act(observe(demo, [2, 9], 2), [0, 1]).actions
        return (np.abs(decided - shown) / spread).mean(axis=(1, 2)).max()

    assert_learns(miss, below=0.15)


def test_bc_regresses_the_actions_from_the_present_frame_on(demonstrations, task):
    settings = BehaviourCloningSpec(width=0.25, batch_size=1000, pred_horizon=8)
    frames = join(demonstrations, task.cameras)
    network = ChunkRegressor(settings, task.cameras, task, (40, 40))
    network.fit_ranges(frames)
    objective = RegressionObjective(network, settings, frames)
    batch = objective.sample(torch.Generator().manual_seed(2))
    rows = torch.randperm(len(frames), generator=torch.Generator().manual_seed(2))
    actions = network.action_range.restore(batch.chunk)
    torch.testing.assert_close(actions[:, 0], frames.actions[rows])
    following = torch.minimum(rows + 7, frames.last[rows])
    torch.testing.assert_close(actions[:, 7], frames.actions[following])


def test_the_pose_can_be_left_out(fit_policy, observe, demonstrations):
    def moved(**changes):
        policy = fit_policy("bc", **changes)
        policy.reset([0], [0])
        seen = observe(demonstrations[0], [3], 2)
        there = Observation(seen.pixels, seen.agent_pos + 0.1)
        return np.abs(policy.act(seen, [0]).actions - policy.act(there, [0]).actions).max()

    assert moved(pose=False) == 0
    assert moved(pose=True) > 0


def test_open_loop_plays_the_demonstration_that_began_alike_to_its_end(fit_policy, observe, demonstrations):
    policy = fit_policy("open_loop", action_horizon=5)
    demo = demonstrations[2]
    policy.reset([0], [0])
    played = []
    for frame in (0, 7, 3, 11, 0, 2):  # what is seen after the first frame does not matter
        decision = policy.act(observe(demo, [frame], 1), [0])
        played.append(decision.actions[0])
        assert decision.matches[0, 0].tolist() == [7, min(5 * (len(played) - 1), len(demo) - 1)]
    expected = np.concatenate([demo.actions, np.repeat(demo.actions[-1:], 30 - len(demo), axis=0)])
    np.testing.assert_array_equal(np.concatenate(played), expected)


def test_open_loop_starts_over_at_each_reset_and_keeps_slots_apart(fit_policy, observe, demonstrations):
    policy = fit_policy("open_loop")
    policy.reset([0, 1], [0, 0])
    policy.act(observe(demonstrations[0], [0], 1), [0])
    second = policy.act(observe(demonstrations[1], [0], 1), [1])
    np.testing.assert_array_equal(second.actions[0], demonstrations[1].actions[:8])
    policy.reset([0], [0])
    again = policy.act(observe(demonstrations[3], [0], 1), [0])
    np.testing.assert_array_equal(again.actions[0], demonstrations[3].actions[:8])
    assert again.similarities[0, 0] == 0


def test_open_loop_weighs_the_cameras_alike(make_policy, observe, demonstrations):
    """A camera that hardly changes decides as much as one that changes a lot."""
    import dataclasses

    faint = [
        dataclasses.replace(d, pixels={**d.pixels, "wrist": (120 + d.pixels["wrist"] // 64).astype(np.uint8)})
        for d in demonstrations
    ]
    policy = make_policy("open_loop")
    policy.fit(faint, FitContext(0))
    halves = policy.library().first_frames.reshape(4, 2, -1)
    spread = halves.std(axis=0).mean(axis=1)
    assert spread[0] == pytest.approx(spread[1], rel=1e-4)


def test_an_open_loop_checkpoint_of_other_settings_is_refused(fit_policy, make_policy, tmp_path):
    fit_policy("open_loop").save(tmp_path)
    with pytest.raises(CheckpointError, match="this config makes 600"):
        make_policy("open_loop", pixels=10).load(tmp_path)


def test_random_stays_in_its_box_and_keeps_the_orientation():
    task = TaskInfo("Two", version=1, horizon=9, grid_size=1, pose_names=("x",), arms=2)
    policy = Random(task, RandomSpec(low=(0, 0, 0.9), high=(0.1, 0.2, 1.0)))
    slots = list(range(200))
    policy.reset(slots, slots)
    empty = Observation({}, np.zeros((200, 1, 22), np.float32))
    actions = policy.act(empty, slots).actions.reshape(200, 8, 2, 10)
    assert np.array_equal(actions, np.repeat(actions[:, :1], 8, axis=1))
    assert (actions[..., :3].min((0, 1, 2)) >= np.float32([0, 0, 0.9])).all()
    assert (actions[..., :3].max((0, 1, 2)) <= np.float32([0.1, 0.2, 1.0])).all()
    assert (actions[..., :3].std((0, 1, 2)) > 0.02).all()
    assert not actions[..., 3:9].any()
    assert set(actions[..., 9].ravel()) == {-1, 1}
