"""The diffusion policy: sizes, schedules, sampling, and that it can learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from learning import assert_learns, descend

from altbench.core.task import TaskInfo
from altbench_policies.diffusion.config import PRESETS, DiffusionSpec
from altbench_policies.diffusion.policy import DENOISERS, DenoisingObjective, make_scheduler
from altbench_policies.diffusion.transformer import DiffusionTransformer
from altbench_policies.diffusion.unet import StepEmbedding, UNet
from altbench_policies.frames import join
from altbench_policies.observation import Seen
from altbench_policies.vision import seeded_network


def make_denoiser(config, task, size=(40, 40)):
    return DENOISERS[config.backbone](config, task.cameras, task, size)


def alpha_bars(steps=100):
    """Nichol & Dhariwal 2021, equation 17, with betas clipped at 0.999."""

    def level(t):
        return math.cos((t / steps + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - level(t + 1) / level(t), 0.999) for t in range(steps)]
    return np.cumprod(1 - np.array(betas)), np.array(betas)


def sample_and_noise():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 2, 16, 10, generator=generator)


def test_the_paper_preset_has_the_published_size(task):
    with torch.device("meta"):
        network = make_denoiser(DiffusionSpec.parse(PRESETS["paper"], "diffusion"), task, (84, 84))
    sizes = [sum(p.numel() for p in m.parameters()) for m in (network, network.unet, *network.observation.encoders)]
    assert sizes == [278_120_906, 255_726_730, 11_197_088, 11_197_088]


def test_a_ddim_step_is_its_formula():
    bars, _ = alpha_bars()
    scheduler = make_scheduler(DiffusionSpec(scheduler="ddim"))
    scheduler.set_timesteps(10)
    assert scheduler.timesteps.tolist() == list(range(90, -1, -10))
    sample, noise = sample_and_noise()
    x0 = ((sample - math.sqrt(1 - bars[50]) * noise) / math.sqrt(bars[50])).clamp(-1, 1)
    expected = math.sqrt(bars[40]) * x0 + math.sqrt(1 - bars[40]) * noise  # Song et al. 2021, equation 12, eta = 0
    torch.testing.assert_close(scheduler.step(noise, 50, sample).prev_sample, expected, atol=1e-5, rtol=1e-5)


def test_a_ddpm_step_is_its_formula():
    bars, betas = alpha_bars()
    scheduler = make_scheduler(DiffusionSpec(scheduler="ddpm", inference_steps=100))
    sample, noise = sample_and_noise()
    t = 50
    x0 = ((sample - math.sqrt(1 - bars[t]) * noise) / math.sqrt(bars[t])).clamp(-1, 1)
    mean = math.sqrt(bars[t - 1]) * betas[t] / (1 - bars[t]) * x0  # Ho et al. 2020, equation 7
    mean = mean + math.sqrt(1 - betas[t]) * (1 - bars[t - 1]) / (1 - bars[t]) * sample
    deviation = math.sqrt((1 - bars[t - 1]) / (1 - bars[t]) * betas[t])
    generators = [torch.Generator().manual_seed(i) for i in (4, 5)]
    drawn = torch.stack([torch.randn(16, 10, generator=torch.Generator().manual_seed(i)) for i in (4, 5)])
    stepped = scheduler.step(noise, t, sample, generator=generators).prev_sample
    torch.testing.assert_close(stepped, mean + deviation * drawn, atol=1e-5, rtol=1e-5)


def test_noise_is_added_as_its_formula_says():
    bars, _ = alpha_bars()
    chunk, noise = sample_and_noise()
    steps = torch.tensor([3, 97])
    noisy = make_scheduler(DiffusionSpec()).add_noise(chunk, noise, steps)
    for i, t in enumerate(steps.tolist()):
        expected = math.sqrt(bars[t]) * chunk[i] + math.sqrt(1 - bars[t]) * noise[i]
        torch.testing.assert_close(noisy[i], expected, atol=1e-5, rtol=1e-5)


def test_step_embeddings_begin_with_sinusoids():
    embedding = StepEmbedding(8)
    embedding.mlp = torch.nn.Identity()
    angles = 5 * np.exp(-math.log(10_000) * np.arange(4) / 3)
    np.testing.assert_allclose(
        embedding(torch.tensor([5]))[0], np.concatenate([np.sin(angles), np.cos(angles)]), rtol=1e-4
    )


@pytest.mark.parametrize("widths", [(8,), (8, 16), (8, 16, 24)])
def test_the_unet_keeps_the_shape_and_uses_all_its_inputs(widths):
    unet = UNet(10, 6, widths, kernel=3, groups=4, step_features=8)
    noisy, steps, condition = torch.randn(3, 16, 10), torch.tensor([1, 50, 99]), torch.randn(3, 6)
    out = unet(noisy, steps, condition)
    assert out.shape == (3, 16, 10)
    for changed in (
        unet(noisy + 0.1, steps, condition),
        unet(noisy, steps + 1, condition),
        unet(noisy, steps, -condition),
    ):
        assert ((changed - out).abs().amax(dim=(1, 2)) > 1e-6).all()
    out.sum().backward()
    assert all(p.grad is not None for p in unet.parameters())


def small_transformer():
    return DiffusionTransformer(10, 6, (2, 12), hidden=16, layers=2, heads=4, dropout=0.0)


def test_the_transformer_has_the_published_size(task):
    with torch.device("meta"):
        network = make_denoiser(DiffusionSpec.parse(PRESETS["paper_transformer"], "diffusion"), task, (84, 84))
    assert (
        sum(p.numel() for p in network.transformer.parameters()) == 8_998_154
    )  # 9 M in Chi et al.'s table of settings


def test_the_transformer_looks_back_alone():
    network = small_transformer()
    noisy, steps, seen = torch.randn(3, 12, 10), torch.tensor([1, 50, 99]), torch.randn(3, 2, 6)
    out = network(noisy, steps, seen)
    assert out.shape == (3, 12, 10)
    changed = noisy.clone()
    changed[:, 7] += 1
    differs = (network(changed, steps, seen) - out).abs().amax(dim=(0, 2)) > 1e-6
    assert differs.tolist() == [False] * 7 + [True] * 5
    later = seen.clone()
    later[:, 1] += 1  # the present observation, which the action of the step before does not know
    differs = (network(noisy, steps, later) - out).abs().amax(dim=(0, 2)) > 1e-6
    assert differs.tolist() == [False] + [True] * 11
    assert ((network(noisy, steps + 1, seen) - out).abs().amax(dim=2) > 1e-7).all()


def test_the_published_transformer_sets_no_size_of_a_unet():
    sizes = {"widths", "kernel", "groups", "step_features"}
    assert not sizes & PRESETS["paper_transformer"].keys()
    # as when it named the default widths, so that results keep their keys
    named = DiffusionSpec.parse({**PRESETS["paper_transformer"], "widths": (64, 128, 256)}, "diffusion")
    assert DiffusionSpec.parse(PRESETS["paper_transformer"], "diffusion") == named


def test_every_weight_of_the_transformer_learns():
    network = small_transformer()
    network(torch.randn(3, 12, 10), torch.tensor([1, 50, 99]), torch.randn(3, 2, 6)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_its_condition_is_what_the_encoder_sees_step_by_step(task):
    settings = DiffusionSpec(width=0.25, view_features=5, backbone="transformer", hidden=16, layers=1)
    network = make_denoiser(settings, task)
    images = {camera: torch.randn(6, 3, 40, 40) for camera in task.cameras}
    seen = Seen(images, torch.randn(3, 2, task.agent_pos_dim))
    condition = network.condition(seen)
    assert condition.shape == (3, 2, 10 + task.agent_pos_dim)
    for i, camera in enumerate(task.cameras):
        features = network.observation.encoders[i](images[camera]).view(3, 2, 5)
        torch.testing.assert_close(condition[:, :, 5 * i : 5 * i + 5], features)
    torch.testing.assert_close(condition[:, :, 10:], seen.pose)


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
@pytest.mark.parametrize(("scheduler", "steps"), [("ddim", 10), ("ddpm", 100)])
def test_a_denoiser_that_knows_the_answer_gives_its_executed_part(
    scheduler, steps, prediction, fit_policy, observe, demonstrations
):
    changes = {"scheduler": scheduler, "inference_steps": steps, "prediction": prediction}
    policy = fit_policy("diffusion", train_steps=0, **changes)
    policy.reset([0, 1], [1, 2])
    bars = torch.from_numpy(alpha_bars()[0]).float()
    answer = torch.rand(2, 16, 10, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9

    class Oracle(torch.nn.Module):
        def forward(self, noisy, t, condition):
            assert condition.shape[0] == 2
            if prediction == "sample":
                return answer
            bar = bars[t][:, None, None]
            return (noisy - bar.sqrt() * answer) / (1 - bar).sqrt()

    network = policy.fitted()
    network.unet = Oracle()
    seen = network.observation.observe(observe(demonstrations[0], [0, 5], policy.requirements.obs_horizon))
    torch.testing.assert_close(policy.decide(network, seen, [0, 1]), answer[:, 1:9], atol=2e-3, rtol=0)


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
def test_the_objective_is_the_error_of_the_noise_or_of_the_chunk(demonstrations, task, prediction):
    sizes = {"width": 0.25, "view_features": 8, "widths": (8, 16), "batch_size": 4, "noise_draws": 3, "groups": 4}
    settings = DiffusionSpec(prediction=prediction, **sizes)
    network = make_denoiser(settings, task)
    frames = join(demonstrations, task.cameras)
    network.fit_ranges(frames)
    objective = DenoisingObjective(network, settings, frames)
    batch = objective.sample(torch.Generator().manual_seed(0))
    assert batch.noise.shape == (12, 16, 10)
    assert batch.steps.shape == (12,)
    network.unet = Constant()
    target = batch.noise if prediction == "epsilon" else batch.chunk
    assert objective.loss(batch).item() == pytest.approx(target.square().mean().item())


class Constant(torch.nn.Module):
    def forward(self, noisy, steps, condition):
        return torch.zeros_like(noisy)


def test_the_prediction_of_noise_is_no_part_of_published_keys():
    assert "prediction" not in DiffusionSpec().model_dump()
    assert DiffusionSpec(prediction="sample").model_dump()["prediction"] == "sample"


@pytest.mark.parametrize("backbone", ["unet", "transformer"])
def test_it_learns_one_batch_by_heart(demonstrations, task, backbone):
    sizes = {"widths": (32, 64), "hidden": 64, "layers": 2, "dropout": 0.0}
    settings = DiffusionSpec(width=0.25, view_features=16, batch_size=8, noise_draws=2, backbone=backbone, **sizes)
    frames = join(demonstrations, task.cameras)

    def share_left(seed):
        network = seeded_network(lambda: make_denoiser(settings, task), seed, "cpu")
        network.fit_ranges(frames)
        objective = DenoisingObjective(network, settings, frames)
        batch = objective.sample(torch.Generator().manual_seed(0))
        losses = descend(network.parameters(), lambda: objective.loss(batch), 80, 3e-3)
        return losses[-1] / losses[0]

    assert_learns(share_left, below=0.07)


def test_the_same_noise_drives_a_slot_whoever_shares_its_batch(fit_policy, observe, demonstrations):
    policy = fit_policy("diffusion", scheduler="ddpm", inference_steps=100)
    observation = observe(demonstrations[0], [1, 6], 2)
    alone = observe(demonstrations[0], [6], 2)
    policy.reset([0, 1], [8, 9])
    together = [policy.act(observation, [0, 1]).actions[1] for _ in range(2)]
    policy.reset([3], [9])
    single = [policy.act(alone, [3]).actions[0] for _ in range(2)]
    np.testing.assert_allclose(together, single, atol=1e-5)


def test_cameras_are_encoded_apart_unless_shared(task):
    def encoders(**changes):
        settings = DiffusionSpec(width=0.25, widths=(8,), **changes)
        return len(make_denoiser(settings, TaskInfo("T", 1, 9, 1, ("x",))).observation.encoders)

    assert (encoders(), encoders(share_encoder=True)) == (2, 1)
