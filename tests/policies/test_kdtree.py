"""The KD-tree baseline: what it compares, and that the nearest is the nearest."""

from __future__ import annotations

import numpy as np
import pytest

from altbench.core.errors import CheckpointError
from altbench.core.policy import Observation


def features(policy, observation):
    """What the policy compares, written down again: float64 (B, F)."""
    parts, side = [], policy.config.side
    for camera in policy.cameras:
        images = observation.pixels[camera][:, -1].astype(np.float64) / 255
        block = images.shape[1] // side
        small = images.reshape(len(images), side, block, side, block, 3).mean(axis=(2, 4))
        parts.append(small.transpose(0, 3, 1, 2).reshape(len(images), -1))
    if policy.config.observation != "pixels":
        parts.append(observation.agent_pos[:, -1].astype(np.float64))
    return parts


@pytest.mark.parametrize("observation", ["pixels", "pose", "both"])
def test_a_demonstrated_frame_finds_itself_and_what_followed(observation, fit_policy, observe, demonstrations):
    policy = fit_policy("kdtree", observation=observation)
    for demo in demonstrations:
        frames = list(range(len(demo)))
        policy.reset(frames, frames)
        decision = policy.act(observe(demo, frames, 1), frames)
        assert decision.matches[:, 0].tolist() == [[demo.index, t] for t in frames]
        np.testing.assert_allclose(decision.similarities[:, 0], 0, atol=1e-5)
        np.testing.assert_array_equal(decision.actions[2], demo.actions[2:10])
        np.testing.assert_array_equal(decision.actions[-1], np.repeat(demo.actions[-1:], 8, axis=0))


@pytest.mark.parametrize("observation", ["pixels", "pose", "both"])
def test_matches_are_the_nearest_in_order(observation, fit_policy, observe, demonstrations):
    policy = fit_policy("kdtree", observation=observation, side=5, top_k=4, pose_weight=2.0)
    everything = [features(policy, observe(demo, range(len(demo)), 1)) for demo in demonstrations]
    known = [np.concatenate(part) for part in zip(*everything, strict=True)]
    names = [(demo.index, t) for demo in demonstrations for t in range(len(demo))]
    rng = np.random.default_rng(0)
    seen = observe(demonstrations[1], [8], 1)
    noisy = {c: np.clip(p + rng.integers(-60, 60, p.shape), 0, 255).astype(np.uint8) for c, p in seen.pixels.items()}
    strange = Observation(noisy, seen.agent_pos + rng.normal(0, 0.02, seen.agent_pos.shape).astype(np.float32))
    square = np.zeros(len(names))
    for part, (all_of_it, now) in enumerate(zip(known, features(policy, strange), strict=True)):
        weight = 4.0 if observation == "both" and part == len(known) - 1 else 1.0
        square += weight * np.square(all_of_it - now).sum(axis=1) / all_of_it.var(axis=0).sum()
    policy.reset([0], [0])
    decision = policy.act(strange, [0])
    order = np.argsort(square)[:4]
    assert [tuple(match) for match in decision.matches[0]] == [names[row] for row in order]
    np.testing.assert_allclose(decision.similarities[0], -np.sqrt(square[order]), rtol=1e-4)


def test_poses_alone_ask_for_no_images(fit_policy, observe, demonstrations, tmp_path, make_policy):
    policy = fit_policy("kdtree", observation="pose")
    assert policy.requirements.cameras == ()
    policy.save(tmp_path)
    again = make_policy("kdtree", observation="pose")
    again.load(tmp_path)
    blind = Observation({}, demonstrations[0].agent_pos[None, 4:5])
    again.reset([0], [0])
    np.testing.assert_array_equal(again.act(blind, [0]).actions[0], demonstrations[0].actions[4:12])


def test_a_tree_smaller_than_the_matches_asked_for(make_policy, observe, demonstrations):
    from altbench.core.policy import FitContext

    policy = make_policy("kdtree", top_k=100)
    policy.fit(demonstrations[1:2], FitContext(0))
    policy.reset([0], [0])
    assert policy.act(observe(demonstrations[0], [0], 1), [0]).matches.shape == (1, len(demonstrations[1]), 2)


def test_a_checkpoint_of_other_settings_is_refused(fit_policy, make_policy, tmp_path):
    fit_policy("kdtree").save(tmp_path)
    with pytest.raises(CheckpointError, match=r"216 numbers, this config makes 227: .* another configuration"):
        make_policy("kdtree", observation="both").load(tmp_path)


def test_footprint_is_what_the_tree_holds(fit_policy, demonstrations):
    frames = sum(len(d) for d in demonstrations)
    assert fit_policy("kdtree").footprint().table == frames * (216 * 8 + 8 + 10 * 4 + 3 * 8) + 2 * 4
