"""The action lookup table: its loss, its table, its threshold, and what it does when a frame is strange."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from learning import assert_learns, descend

from altbench.core.errors import CheckpointError
from altbench.core.policy import FitContext, Observation
from altbench_policies.alt.config import NEAREST, PRESETS, AltSpec
from altbench_policies.alt.network import KeyNetwork, PairObjective, nt_xent
from altbench_policies.frames import join
from altbench_policies.lookup.appearance import thumbnails
from altbench_policies.lookup.table import Table, conformal_threshold, leave_one_out_scores
from altbench_policies.vision import seeded_network

AUGMENTED = {"shift": 3, "brightness": 0.3, "hue": 0.1, "crop_scale": 0.8}


def unit(*shape):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(0)), dim=-1)


def strange(observation):
    """The same pose, and noise in place of every image."""
    rng = np.random.default_rng(0)
    pixels = {c: rng.integers(0, 256, p.shape, np.uint8) for c, p in observation.pixels.items()}
    return Observation(pixels, observation.agent_pos)


def make_table(keys, last):
    """A table of episodes of two frames each."""
    frame, actions = np.arange(len(keys)) % 2, np.zeros((len(keys), 10), np.float32)
    return Table.from_arrays({"keys": keys, "actions": actions, "last": last, "episode": last // 2, "frame": frame})


def test_nt_xent_is_its_formula():
    first, second = unit(2, 5, 7)
    keys, temperature = torch.cat([first, second]).double().numpy(), 0.4
    total = 0.0
    for i in range(10):
        partner = (i + 5) % 10
        others = sum(math.exp(keys[i] @ keys[k] / temperature) for k in range(10) if k != i)
        total -= math.log(math.exp(keys[i] @ keys[partner] / temperature) / others)
    assert nt_xent(first, second, temperature).item() == pytest.approx(total / 10, rel=1e-5)


def gradient(keys, logits):
    keys = keys.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = nt_xent(*F.normalize(keys, dim=-1).chunk(2), 0.1, logits)
    loss.backward()
    return loss.detach(), keys.grad


def test_logits_are_float32_under_autocast():
    keys = unit(1, 7) + 0.1 * unit(16, 7)  # as alike as frames of one demonstration
    exact = nt_xent(*F.normalize(keys, dim=-1).chunk(2), 0.1)
    loss, full = gradient(keys, "fp32")
    assert loss.dtype == torch.float32 and torch.equal(loss, exact)
    _, rounded = gradient(keys, "autocast")  # as published runs were trained
    assert 0.01 < (rounded - full).norm() / full.norm() < 0.5


def test_logits_of_before_are_a_setting_of_their_own():
    assert AltSpec().logits == "fp32" and AltSpec().model_dump()["logits"] == "fp32"
    assert "logits" not in AltSpec(logits="autocast").model_dump()  # which is how published keys have it


def test_the_setting_of_the_logits_reaches_the_loss(demonstrations):
    frames = join(demonstrations[:1], ["agentview", "wrist"])
    losses = {}
    for logits in ("fp32", "autocast"):
        torch.manual_seed(0)
        network = KeyNetwork(AltSpec(width=0.5, batch_size=16, logits=logits), ["agentview", "wrist"], 11, (40, 40))
        objective = PairObjective(network, frames)
        with torch.autocast("cpu", torch.bfloat16):
            losses[logits] = objective.loss(objective.sample(torch.Generator().manual_seed(0))).item()
    assert losses["fp32"] != losses["autocast"]
    assert losses["fp32"] == pytest.approx(losses["autocast"], rel=0.05)


def test_the_loss_falls_on_one_batch(demonstrations):
    frames = join(demonstrations[:1], ["agentview", "wrist"])
    settings = AltSpec(width=0.5, batch_size=16, **AUGMENTED)

    def share_left(seed):
        network = seeded_network(lambda: KeyNetwork(settings, ["agentview", "wrist"], 11, (40, 40)), seed, "cpu")
        objective = PairObjective(network, frames)
        batch = objective.sample(torch.Generator().manual_seed(0))
        losses = descend(network.parameters(), lambda: objective.loss(batch), 40, 1e-3)
        return losses[-1] / losses[0]

    assert_learns(share_left, below=0.3)


def test_pairs_are_two_augmentations_of_one_frame_or_of_its_neighbour(demonstrations):
    frames = join(demonstrations, ["agentview"])
    marked = torch.arange(len(frames), dtype=torch.uint8)[:, None, None, None].expand(-1, 40, 40, 3).contiguous()
    frames = dataclasses.replace(frames, pixels={"agentview": marked})

    def rows(reach):
        settings = AltSpec(
            batch_size=32, temporal_positive=reach, shift=2, brightness=0, contrast=0, saturation=0, hue=0
        )
        network = KeyNetwork(settings, ["agentview"], 11, (40, 40))
        images = PairObjective(network, frames).sample(torch.Generator().manual_seed(1)).images
        return ((images[:, 0, 0, 0] + 1) * 127.5).round().long().chunk(2)

    anchors, partners = rows(0)
    assert torch.equal(anchors, partners)
    anchors, partners = rows(3)
    assert 0 < (anchors - partners).abs().max() <= 3
    assert torch.equal(frames.episode[anchors], frames.episode[partners])


def test_thumbnails_correlate_as_images_do():
    rng = np.random.default_rng(0)
    first, second = (rng.integers(20, 200, (3, 12, 12, 1), np.uint8).repeat(3, axis=3) for _ in range(2))
    views = [thumbnails([torch.from_numpy(image)], 12) for image in (first, second)]
    for b in range(3):
        expected = np.corrcoef(first[b, ..., 0].ravel(), second[b, ..., 0].ravel())[0, 1]
        assert float(views[0][b] @ views[1][b]) == pytest.approx(expected, abs=1e-4)
    brighter = torch.from_numpy((first // 2 + 60).astype(np.uint8))
    assert (views[0] * thumbnails([brighter], 12)).sum(1).min() > 0.999
    pair = thumbnails([torch.from_numpy(first), torch.from_numpy(second)], 6)
    torch.testing.assert_close(pair.norm(dim=1), torch.ones(3))
    assert not thumbnails([torch.full((1, 12, 12, 3), 90, dtype=torch.uint8)], 6).any()


def test_appearance_takes_its_share_of_the_similarity(fit_policy, observe, demonstrations):
    seen, other = (observe(demonstrations[i], [2], 1) for i in (0, 1))

    def similarity(weight):
        policy = fit_policy("alt", appearance=weight, appearance_size=5)
        return float(policy.embed(seen)[0] @ policy.embed(other)[0])

    plain_views = [[torch.from_numpy(o.pixels[c][:, -1]) for c in ("agentview", "wrist")] for o in (seen, other)]
    plain = float((thumbnails(plain_views[0], 5) * thumbnails(plain_views[1], 5)).sum())
    assert similarity(0.4) == pytest.approx(0.6 * similarity(0) + 0.4 * plain, abs=1e-5)


@pytest.mark.parametrize("pose", [False, True])
@pytest.mark.parametrize("fuse", ["mlp", "concat"])
@pytest.mark.parametrize("cameras", [(), ("agentview",)])
def test_the_table_is_embedded_without_augmentation(pose, fuse, cameras, fit_policy, observe, demonstrations):
    policy = fit_policy("alt", pose=pose, fuse=fuse, cameras=cameras, **AUGMENTED, **NEAREST)
    for demo in demonstrations:
        frames = list(range(len(demo)))
        policy.reset(frames, frames)
        decision = policy.act(observe(demo, frames, 1), frames)
        np.testing.assert_allclose(decision.similarities[:, 0], 1, atol=1e-5)
        np.testing.assert_allclose(decision.ood_score, 0, atol=1e-5)
        assert decision.matches[:, 0].tolist() == [[demo.index, t] for t in frames]


def test_the_pose_counts_as_much_as_its_weight_says(fit_policy, observe, demonstrations):
    def change(weight):
        policy = fit_policy("alt", pose=True, fuse="concat", pose_weight=weight, appearance=0)
        seen = observe(demonstrations[0], [0], 1)
        moved = Observation(seen.pixels, seen.agent_pos + 0.05)
        return np.abs(policy.embed(seen) - policy.embed(moved)).max()

    assert change(0.0) == 0
    assert 0 < change(0.1) < change(2.0)


def test_the_chunk_is_the_demonstrations_and_ends_at_its_end(fit_policy, observe, demonstrations):
    policy = fit_policy("alt", action_horizon=6)
    demo = demonstrations[1]
    policy.reset([0], [0])
    middle = policy.act(observe(demo, [4], 1), [0]).actions[0]
    np.testing.assert_array_equal(middle, demo.actions[4:10])
    end = policy.act(observe(demo, [len(demo) - 2], 1), [0]).actions[0]
    np.testing.assert_array_equal(end[:2], demo.actions[-2:])
    np.testing.assert_array_equal(end[2:], np.repeat(demo.actions[-1:], 4, axis=0))
    assert set(middle[:, -1]) | set(end[:, -1]) == {-1, 1}  # the gripper is in it


def test_top_k_are_the_nearest_frames_in_order(fit_policy, observe, demonstrations):
    policy = fit_policy("alt", top_k=5, **NEAREST)
    policy.reset([0], [0])
    observation = strange(observe(demonstrations[0], [0], 1))
    decision = policy.act(observation, [0])
    table = policy.fitted().table
    similarity = table.keys @ policy.embed(observation)[0]
    order = np.argsort(-similarity)[:5]
    np.testing.assert_allclose(decision.similarities[0], similarity[order], atol=1e-6)
    assert decision.matches[0].tolist() == table.demonstrated.names(order).tolist()
    assert decision.ood_score[0] == pytest.approx(1 - similarity.max(), abs=1e-6)


def test_holding_keeps_the_pose_and_the_last_gripper_command(fit_policy, observe, demonstrations):
    demo, hold = demonstrations[0], fit_policy("alt", gamma=0.999, when_ood="hold")
    hold.reset([0, 1], [0, 0])
    late, early = len(demo) - 3, 0
    clear = hold.act(observe(demo, [late, early], 1), [0, 1])
    assert not clear.is_ood.any()
    seen = strange(observe(demo, [4, 4], 1))
    held = hold.act(seen, [0, 1])
    assert held.is_ood.all()
    for b, gripper in ((0, 1), (1, -1)):
        expected = np.append(seen.agent_pos[b, -1, :9], gripper)
        np.testing.assert_array_equal(held.actions[b], np.tile(expected.astype(np.float32), (8, 1)))
    hold.reset([0], [0])
    assert set(hold.act(strange(observe(demo, [4], 1)), [0]).actions[0, :, -1]) == {-1}


def test_acting_anyway_plays_the_match(fit_policy, observe, demonstrations):
    policy = fit_policy("alt", gamma=0.999, when_ood="act")
    policy.reset([0], [0])
    decision = policy.act(strange(observe(demonstrations[0], [4], 1)), [0])
    assert decision.is_ood.all()
    episode, frame = decision.matches[0, 0]
    matched = next(d for d in demonstrations if d.index == episode)
    np.testing.assert_array_equal(decision.actions[0, 0], matched.actions[frame])


def test_two_arms_hold_both_poses():
    from altbench_policies.lookup.flag import Flag, FlagSpec

    agent_pos = np.arange(22, dtype=np.float32)
    action = Flag(FlagSpec(), arms=2)._hold(agent_pos, np.array([1, -1], np.float32))
    np.testing.assert_array_equal(action, [*range(9), 1, *range(11, 20), -1])


def test_one_checkpoint_serves_every_runtime_setting(fit_policy, make_policy, tmp_path):
    fitted = fit_policy("alt")
    fitted.save(tmp_path)
    for changes in ({"gamma": 0.75}, {"false_alarm_rate": 0.5}, {"when_ood": "hold"}, {"top_k": 1}):
        other = make_policy("alt", **changes)
        other.load(tmp_path)
        np.testing.assert_array_equal(other.fitted().calibration_scores, fitted.fitted().calibration_scores)
        if "gamma" in changes:
            assert other.threshold == 0.25
        if "false_alarm_rate" in changes:
            assert other.threshold == conformal_threshold(fitted.fitted().calibration_scores, 0.5) < fitted.threshold


def test_calibration_scores_leave_the_demonstration_out():
    angles = np.radians([0, 90, 10, 200, 12, 100])  # two frames of each of three demonstrations
    keys = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    last = np.array([1, 1, 3, 3, 5, 5])
    table = make_table(keys, last)

    def score(*degrees):
        return max(1 - math.cos(math.radians(d)) for d in degrees)

    np.testing.assert_allclose(leave_one_out_scores(table, 1), [score(10, 10), score(2, 100), score(2, 10)], atol=1e-6)
    np.testing.assert_allclose(leave_one_out_scores(table, 2), [score(10), score(2), score(2)], atol=1e-6)
    assert leave_one_out_scores(make_table(keys[:2], last[:2]), 1).size == 0


def test_the_threshold_is_the_conformal_quantile():
    scores = np.arange(1, 100, dtype=np.float32)[::-1].copy()  # 99 of them: (n + 1)(1 - rate) is whole
    assert conformal_threshold(scores, 0.05) == 95
    assert conformal_threshold(scores, 0.5) == 50
    assert conformal_threshold(scores[:30], 0.05) == scores[:30].max()
    assert conformal_threshold(scores[:10], 0.05) == scores[:10].max()  # too few: the largest
    assert conformal_threshold(scores[:0], 0.05) == math.inf


def test_the_false_alarm_rate_holds_on_exchangeable_scores():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4000, 31)).astype(np.float32)
    alarms = np.mean([row[30] > conformal_threshold(row[:30], 0.1) for row in draws])
    assert 0.08 < alarms <= 0.105


def test_a_table_of_uneven_arrays_is_refused():
    arrays = {k: np.zeros((3, 2), np.float32) for k in ("keys", "actions", "last", "episode", "frame")}
    with pytest.raises(CheckpointError, match=r"one length, got \[2, 3\]"):
        Table.from_arrays({**arrays, "last": np.zeros(2, np.int64)})


def test_the_paper_preset_is_the_papers():
    with torch.device("meta"):
        network = KeyNetwork(AltSpec.parse(PRESETS["paper"], "alt"), ["agentview", "wrist"], 11, (84, 84))
    assert sum(p.numel() for p in network.encoder.parameters()) == 11_176_512
    assert network.dimension == 128
    settings = network.config
    assert (settings.temperature, settings.batch_size, settings.learning_rate) == (0.4, 32, 1e-4)
    assert settings.total_steps(1600) == 40 * 50


def test_training_changes_the_key_and_not_the_actions(make_policy, demonstrations):
    tables = []
    for steps in (0, 3):
        policy = make_policy("alt", train_steps=steps)
        policy.fit(demonstrations, FitContext(0))
        tables.append(policy.fitted().table)
    assert not np.allclose(tables[0].keys, tables[1].keys)
    np.testing.assert_array_equal(tables[0].demonstrated.actions, tables[1].demonstrated.actions)
