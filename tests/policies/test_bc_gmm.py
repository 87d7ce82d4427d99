"""The mixture head and behaviour cloning with it: the likelihood, the draws, and that it can learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from learning import assert_learns, descend
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from altbench.core.errors import ConfigError
from altbench_policies.bc_gmm.config import MixtureCloningSpec
from altbench_policies.bc_gmm.policy import ChunkMixture, LikelihoodObjective
from altbench_policies.frames import join
from altbench_policies.mixture import Mixture, MixtureHead, MixtureSpec
from altbench_policies.vision import seeded_network


def make_mixture(*batch, modes=5, numbers=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    means, stds = (torch.randn(*batch, modes, numbers, generator=generator) for _ in range(2))
    return Mixture(torch.randn(*batch, modes, generator=generator), means, stds.exp() * 0.1)


def as_torch_has_it(mixture):
    return MixtureSameFamily(Categorical(logits=mixture.logits), Independent(Normal(mixture.means, mixture.stds), 1))


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_the_log_likelihood_is_that_of_torch_distributions():
    mixture = make_mixture(3, 8)
    values = mixture.means[..., 2, :] + 0.1 * torch.randn(3, 8, 10, generator=torch.Generator().manual_seed(1))
    expected = as_torch_has_it(mixture).log_prob(values)
    assert mixture.log_prob(values).shape == (3, 8)
    torch.testing.assert_close(mixture.log_prob(values), expected, rtol=1e-5, atol=1e-4)


def test_draws_come_from_the_mixture():
    mixture = make_mixture(1, modes=3, numbers=2)
    many = Mixture(*(t.expand(1, 20_000, *t.shape[1:]) for t in (mixture.logits, mixture.means, mixture.stds)))
    drawn = many.draw(generators(0), None)[0]
    distribution = as_torch_has_it(mixture)
    torch.testing.assert_close(drawn.mean(0), distribution.mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(0), distribution.variance[0], atol=0.05, rtol=0.05)


def test_with_little_noise_draws_are_means_as_often_as_their_weights_say():
    mixture = make_mixture(1, modes=3, numbers=2)
    many = Mixture(*(t.expand(1, 20_000, *t.shape[1:]) for t in (mixture.logits, mixture.means, mixture.stds)))
    drawn = many.draw(generators(0), 1e-4)[0]
    distances = (drawn[:, None] - mixture.means[0]).abs().amax(-1)
    assert distances.amin(1).max() < 1e-3
    shares = distances.argmin(1).bincount(minlength=3) / len(drawn)
    torch.testing.assert_close(shares, mixture.logits[0].softmax(-1), atol=0.015, rtol=0)


def test_a_row_is_drawn_from_its_own_generator():
    mixture = make_mixture(2, 8)
    together = mixture.draw(generators(4, 5), None)
    second = Mixture(mixture.logits[1:], mixture.means[1:], mixture.stds[1:])
    torch.testing.assert_close(second.draw(generators(5), None), together[1:])


def test_the_head_bounds_means_and_deviations_and_stays_in_fp32():
    head = MixtureHead(MixtureSpec(modes=3, min_std=0.01), 6, 4, 10)
    torch.nn.init.normal_(head.linear.weight, std=3)
    with torch.autocast("cpu", torch.bfloat16):
        mixture = head(torch.randn(5, 6, generator=torch.Generator().manual_seed(0)))
    assert (mixture.logits.shape, mixture.means.shape, mixture.stds.shape) == ((5, 4, 3), (5, 4, 3, 10), (5, 4, 3, 10))
    assert mixture.means.dtype == mixture.stds.dtype == torch.float32
    assert mixture.means.abs().max() <= 1
    assert mixture.stds.min() >= 0.01


@pytest.mark.parametrize("mixture", ["step", "chunk"])
def test_it_learns_one_batch_by_heart(mixture, demonstrations, task):
    settings = MixtureCloningSpec(width=0.25, view_features=16, hidden=(64,), batch_size=8, mixture=mixture)
    frames = join(demonstrations, task.cameras)

    def miss(seed):
        network = seeded_network(lambda: ChunkMixture(settings, task.cameras, task, (40, 40)), seed, "cpu")
        network.fit_ranges(frames)
        objective = LikelihoodObjective(network, settings, frames)
        batch = objective.sample(torch.Generator().manual_seed(0))
        descend(network.parameters(), lambda: objective.loss(batch), 300, 3e-3)
        learned = network(batch.seen)
        likeliest = learned.logits.argmax(-1)[..., None, None].expand(*learned.means[..., :1, :].shape)
        means = learned.means.gather(-2, likeliest).view_as(batch.chunk)
        return (means - batch.chunk).abs().mean().item()

    assert_learns(miss, below=0.08)


WAYS = torch.tensor([[-0.8, 0.5], [0.8, 0.5]])
"""Where a demonstrator went either way; regression would go between them."""


def head_with(first, second, std):
    """A head of two equally likely modes with the given means and standard deviation, whatever it sees."""
    head = MixtureHead(MixtureSpec(modes=2), 1, 1, 2)
    numbers = head.linear.bias.detach().view(2, 5)
    numbers[:, 0] = 0
    numbers[:, 1:3] = torch.tensor([first, second]).atanh()
    numbers[:, 3:] = math.log(math.expm1(std - head.min_std))
    torch.nn.init.zeros_(head.linear.weight)
    return head


def surprise(head):
    return -head(torch.ones(2, 1)).log_prob(WAYS[:, None]).mean()


def test_two_ways_are_likelier_apart_than_between_them():
    apart = surprise(head_with([-0.8, 0.5], [0.8, 0.5], 0.1))
    between = min(surprise(head_with([0.0, 0.5], [0.0, 0.5], std)) for std in np.geomspace(0.01, 10, 50))
    assert apart < between - 1
    drawn = head_with([-0.8, 0.5], [0.8, 0.5], 0.1)(torch.ones(40, 1)).draw(generators(*range(40)), 1e-4)[:, 0]
    sides = drawn[:, 0].sign()
    assert set(sides.tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(drawn, torch.stack([0.8 * sides, torch.full((40,), 0.5)], 1), atol=1e-3, rtol=0)


def test_training_moves_two_modes_to_two_ways():
    """The modes begin on different sides, so that their ways are fixed before the first step."""
    head = head_with([-0.2, 0.0], [0.2, 0.0], 0.5)
    descend(head.parameters(), lambda: surprise(head), 300, 2e-2)
    torch.testing.assert_close(head(torch.ones(1, 1)).means[0, 0], WAYS, atol=0.05, rtol=0)


def test_a_chunk_that_is_one_mixture_comes_from_one_mode(fit_policy, observe, demonstrations):
    policy = fit_policy("bc_gmm", mixture="chunk", train_steps=0)
    network = policy.fitted()
    seen = network.observation.observe(observe(demonstrations[0], [0], policy.requirements.obs_horizon))
    modes = network(seen).means.view(policy.config.modes, 8, 10)
    for seed in range(5):
        policy.reset([0], [seed])
        distances = (policy.decide(network, seen, [0]) - modes).abs().amax(dim=(1, 2))
        assert distances.min() < 1e-3


def test_one_checkpoint_serves_every_evaluation_noise(fit_policy, make_policy, observe, demonstrations, tmp_path):
    """A seed draws the same mode and the same noise; the settings scale the noise alone."""
    fit_policy("bc_gmm").save(tmp_path)
    observation = observe(demonstrations[0], [3], 2)

    def drawn(std):
        policy = make_policy("bc_gmm", evaluation_std=std)
        policy.load(tmp_path)
        policy.reset([0], [7])
        half = policy.fitted().action_range.half_range.numpy()
        return policy.act(observation, [0]).actions[0] / half

    means, little, twice, learned = (drawn(std) for std in (0.0, 1e-3, 2e-3, None))
    np.testing.assert_allclose(twice - means, 2 * (little - means), atol=1e-4)
    assert 1e-4 < np.abs(little - means).mean() < 3e-3
    assert np.abs(learned - means).max() > 1e-2
    assert make_policy("bc_gmm", modes=5).config == make_policy("bc_gmm").config


def test_impossible_horizons_are_refused(make_policy):
    with pytest.raises(ConfigError, match=r"bc_gmm: .*action_horizon 9 exceeds pred_horizon 8"):
        make_policy("bc_gmm", action_horizon=9)
