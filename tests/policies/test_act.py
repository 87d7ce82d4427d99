"""ACT: tokens, the style and its divergence, what is minimised, and the ensemble over past chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from learning import assert_learns, descend
from torch.distributions import Normal, kl_divergence

from altbench.core.errors import ConfigError
from altbench_policies.act.config import PRESETS, ActSpec
from altbench_policies.act.network import ActNetwork, Style
from altbench_policies.act.policy import ActObjective, ensemble
from altbench_policies.frames import join
from altbench_policies.vision import seeded_network

TINY = {"width": 0.25, "hidden": 32, "feedforward": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
TINY |= {"pose": True, "pred_horizon": 16}


def make_objective(task, demonstrations, seed=0, **changes):
    settings = ActSpec(**{**TINY, "batch_size": 8, **changes})
    network = seeded_network(lambda: ActNetwork(settings, task.cameras, task, (40, 40)), seed, "cpu")
    frames = join(demonstrations, task.cameras)
    network.fit_ranges(frames)
    return network, ActObjective(network, settings, frames), frames


def sample(objective, seed=0):
    return objective.sample(torch.Generator().manual_seed(seed))


def test_the_paper_preset_has_the_published_layers(task):
    settings = ActSpec.parse(PRESETS["paper"], "act")
    with torch.device("meta"):
        network = ActNetwork(settings, task.cameras, task, (84, 84))
    layers = [len(t.layers) for t in (network.style.transformer, network.encoder, network.decoder)]
    assert layers == [4, 4, 7]
    layer = network.encoder.layers[0]
    assert (layer.self_attn.embed_dim, layer.self_attn.num_heads, layer.linear1.out_features) == (512, 8, 3200)
    assert (settings.latent, settings.kl_weight, settings.pred_horizon) == (32, 10, 100)
    assert [t.count for t in network.images] == [9, 9]  # 84 / 32, rounded up, squared
    expected = {"encoder": 4, "decoder": 7, "style": 4}
    for name, count in expected.items():
        attention = 4 * (512 * 512 + 512)
        rest = 512 * 3200 + 3200 + 3200 * 512 + 512 + 2 * 2 * 512
        layers = getattr(network, name).transformer.layers if name == "style" else getattr(network, name).layers
        cross = attention + 2 * 512 if name == "decoder" else 0
        assert sum(p.numel() for p in layers.parameters()) == count * (attention + rest + cross)


def test_the_divergence_is_that_of_torch_distributions():
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = (torch.randn(4, 6, generator=generator) for _ in range(2))
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(Style(mean, log_variance).divergence(), expected)


def test_styles_are_drawn_from_their_posterior():
    style = Style(torch.tensor([[2.0]]), torch.tensor([[-2.0]]))
    drawn = style.sample(torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0)))
    assert drawn.mean().item() == pytest.approx(2, abs=0.01)
    assert drawn.var().item() == pytest.approx(np.exp(-2), rel=0.05)


@pytest.mark.parametrize(("patch", "tokens"), [(1, 9), (2, 4), (3, 1)])
def test_patches_cover_the_whole_feature_map(patch, tokens, task, demonstrations):
    network, objective, _ = make_objective(task, demonstrations, patch=patch)
    assert [t.count for t in network.images] == [tokens, tokens]
    images = sample(objective).seen.images["wrist"].requires_grad_()
    out = network.images[1](images)
    assert out.shape == (8, tokens, 32)
    out.square().sum().backward()
    assert (images.grad.abs().sum((0, 1)) > 0).all()


def test_every_input_and_every_weight_counts(task, demonstrations):
    network, objective, _ = make_objective(task, demonstrations, encoder_layers=2, decoder_layers=2)
    batch = sample(objective)
    objective.loss(batch).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []
    plain = network(batch.seen)
    torch.testing.assert_close(network(batch.seen, torch.zeros(8, 32)), plain)
    seen = type(batch.seen)
    dark = {**batch.seen.images, "wrist": torch.zeros_like(batch.seen.images["wrist"])}
    for changed in (
        network(batch.seen, torch.ones(8, 32)),
        network(seen(batch.seen.images, batch.seen.pose + 0.5)),
        network(seen(dark, batch.seen.pose)),
    ):
        assert ((changed - plain).abs().amax(dim=(1, 2)) > 1e-6).all()


def test_the_pose_can_be_left_out(fit_policy, observe, demonstrations):
    def moved(**changes):
        policy = fit_policy("act", **changes)
        policy.reset([0], [0])
        here = observe(demonstrations[0], [3], 1)
        there = type(here)(here.pixels, here.agent_pos + 0.3)
        return np.abs(policy.act(here, [0]).actions - policy.act(there, [0]).actions).max()

    assert moved(pose=False) == 0
    assert moved(pose=True) > 1e-4


def test_actions_past_the_end_are_neither_seen_nor_learned(task, demonstrations):
    _, objective, frames = make_objective(task, demonstrations, batch_size=1000)
    batch = sample(objective)
    rows = torch.randperm(len(frames), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close((~batch.padded).sum(1), (frames.last[rows] - rows + 1).clamp(max=16))
    loss = objective.loss(batch)
    chunk = torch.where(batch.padded[..., None], 9.0, batch.chunk)
    torch.testing.assert_close(objective.loss(type(batch)(batch.seen, chunk, batch.noise, batch.padded)), loss)
    _, unmasked, _ = make_objective(task, demonstrations, batch_size=1000, mask_padding=False)
    assert unmasked.loss(type(batch)(batch.seen, chunk, batch.noise, batch.padded)) > loss + 0.1


def test_the_loss_is_distance_and_weighted_divergence(task, demonstrations):
    network, objective, _ = make_objective(task, demonstrations, kl_weight=3.0, mask_padding=False)
    batch = sample(objective)
    style = network.style(batch.seen.pose[:, -1], batch.chunk, None)
    chunk = network(batch.seen, style.mean + batch.noise * (style.log_variance / 2).exp())
    expected = (chunk - batch.chunk).abs().mean() + 3 * style.divergence().mean()
    torch.testing.assert_close(objective.loss(batch), expected)


def test_it_learns_one_batch_by_heart(task, demonstrations):
    def share_left(seed):
        network, objective, _ = make_objective(task, demonstrations, seed)
        batch = sample(objective)

        def distance():
            with torch.inference_mode():
                return (network(batch.seen) - batch.chunk).abs()[~batch.padded].mean()

        before = distance()
        descend(network.parameters(), lambda: objective.loss(batch), 110, 3e-3)
        network.eval()
        return distance() / before

    assert_learns(share_left, below=0.6)


def test_the_ensemble_is_its_formula():
    chunks = [torch.full((4, 2), float(i)) + torch.arange(4.0)[:, None] * 10 for i in range(3)]
    weights = np.exp(-0.5 * np.arange(3))
    says = np.array([20.0, 11.0, 2.0])  # the oldest chunk's third action, the newest one's first
    expected = (weights / weights.sum() * says).sum()
    np.testing.assert_allclose(ensemble(chunks, 0.5), [expected, expected], rtol=1e-5)


def test_an_ensemble_averages_what_a_slot_decided_before(fit_policy, make_policy, observe, demonstrations, tmp_path):
    fit_policy("act").save(tmp_path)
    plain = make_policy("act", action_horizon=16)
    averaged = make_policy("act", action_horizon=1, temporal_ensemble=True, ensemble_rate=0.1)
    for policy in (plain, averaged):
        policy.load(tmp_path)
        policy.reset([0, 1], [0, 0])
    demo = demonstrations[0]
    both = [observe(demo, [step, step + 3], 1) for step in range(3)]
    decided = [averaged.act(seen, [0, 1]).actions[:, 0] for seen in both]
    chunks = [plain.act(seen, [0, 1]).actions for seen in both]
    np.testing.assert_allclose(decided[0], chunks[0][:, 0], atol=1e-5)
    weights = np.exp(-0.1 * np.arange(3))
    says = np.stack([chunks[0][:, 2], chunks[1][:, 1], chunks[2][:, 0]])
    np.testing.assert_allclose(decided[2], np.tensordot(weights / weights.sum(), says, 1), atol=1e-5)
    averaged.reset([1], [0])
    again = averaged.act(both[2], [0, 1]).actions[:, 0]
    np.testing.assert_allclose(again[1], chunks[2][1, 0], atol=1e-5)
    assert np.abs(again[0] - chunks[2][0, 0]).max() > 1e-5


def test_an_ensemble_forgets_chunks_that_have_run_out(make_policy, fit_policy, observe, demonstrations):
    policy = fit_policy("act", pred_horizon=2, action_horizon=1, temporal_ensemble=True)
    policy.reset([0], [0])
    frames = [observe(demonstrations[0], [step], 1) for step in range(4)]
    long = [policy.act(seen, [0]).actions for seen in frames][-1]
    policy.reset([0], [0])
    short = [policy.act(seen, [0]).actions for seen in frames[2:]][-1]
    np.testing.assert_allclose(long, short, atol=1e-6)


def test_impossible_settings_are_refused(make_policy):
    with pytest.raises(
        ConfigError, match=r"act: .*temporal_ensemble decides at every step: action_horizon must be 1, got 8"
    ):
        make_policy("act", temporal_ensemble=True)
    with pytest.raises(ConfigError, match="hidden 32 is not a multiple of heads 5"):
        make_policy("act", heads=5)
    with pytest.raises(ConfigError, match="action_horizon 17 exceeds pred_horizon 16"):
        make_policy("act", action_horizon=17)
    with pytest.raises(ConfigError, match="obs_horizon"):
        make_policy("act", obs_horizon=2)
