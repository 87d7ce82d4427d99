"""A diffusion model of points on a closed curve in the plane.

Here are the curves, the network, training, sampling, and how near samples are to the
training points. Source: He et al. 2025 (arXiv 2505.05787), the toy experiment, with its
authors' settings. The forward process is DDPM's (Ho et al. 2020, equation 4) with T
linear steps; an MLP predicts the noise from (x, y, t); Adam follows a cosine schedule.
Sampling predicts the clean point and adds fresh noise to it, at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

from altbench.core.types import Float64

SIZE = 2.0
"""Half the width of a curve, in the plane's units."""
NOISE = 0.5 * SIZE
"""Standard deviation of the noise, in the plane's units."""
BETA_FIRST, BETA_LAST = 1e-4, 0.02
"""Variance of the noise of the first and the last step, as in DDPM."""
SHAPES = ("ellipse", "rectangle", "heart", "star")
OUTLINE = 20_000
"""How many points stand for a whole curve."""


@dataclass(frozen=True)
class ToySettings:
    """Settings of one model: its curve, its network, its training and its sampling.

    The network has `layers` hidden layers of `width`. Each epoch sees each of the
    `points` training points `repeats` times.
    """

    shape: str
    width: int
    layers: int
    points: int
    repeats: int
    epochs: int
    learning_rate: float
    batch: int = 4096
    steps: int = 100
    samples: int = 5000
    seed: int = 0


@dataclass(frozen=True)
class ToyResult:
    """A trained model's `samples` (S, 2) and `training` points (P, 2) in the plane.

    `losses`: the mean of each epoch; `parameters`: how many the network has.
    """

    samples: Float64
    training: Float64
    losses: Float64
    parameters: int


@dataclass(frozen=True)
class Nearness:
    """How many of a model's `total` samples are near its training points and its curve.

    `recalled`: nearer than the tolerance to a training point; `on_curve`: to the curve.
    `chance`: the share of the curve that is so near to a training point, which samples
    spread evenly over the curve would reach.
    """

    recalled: int
    on_curve: int
    total: int
    chance: float


def training_points(shape: str, count: int, rng: np.random.Generator) -> Float64:
    """Return `count` points (count, 2) on a curve.

    They lie at random angles if the curve has a formula, else evenly along its edges.
    """
    if shape in _FORMULAE:
        return _FORMULAE[shape](rng.uniform(0.0, 2 * np.pi, count))
    return _along(_corners(shape), count)


def outline(shape: str) -> Float64:
    """Return the whole curve as `OUTLINE` points (OUTLINE, 2), in order."""
    if shape in _FORMULAE:
        return _FORMULAE[shape](np.linspace(0.0, 2 * np.pi, OUTLINE))
    return _along(_corners(shape), OUTLINE)


def fit_and_sample(settings: ToySettings, device: str, say: Callable[[str], None]) -> ToyResult:
    """Train one model and draw its samples."""
    rng = np.random.default_rng(np.random.SeedSequence([settings.seed, SHAPES.index(settings.shape)]))
    training = training_points(settings.shape, settings.points, rng)
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**31)))
    network = _network(settings, int(rng.integers(2**31))).to(device)
    losses = _train(network, torch.from_numpy(training).float().to(device), settings, generator, say)
    samples = _sample(network, settings, generator).cpu().numpy().astype(np.float64)
    return ToyResult(samples, training, np.array(losses), sum(p.numel() for p in network.parameters()))


def nearness(result: ToyResult, shape: str, tolerance: float) -> Nearness:
    """Count the samples within `tolerance` of a training point, and of the curve."""
    points, curve = cKDTree(result.training), outline(shape)
    recalled = points.query(result.samples)[0] < tolerance
    on_curve = cKDTree(curve).query(result.samples)[0] < tolerance
    chance = float((points.query(evenly(curve))[0] < tolerance).mean())
    return Nearness(int(recalled.sum()), int(on_curve.sum()), len(result.samples), chance)


def evenly(curve: Float64) -> Float64:
    """Return a curve as 2,000 points at equal distances (2000, 2).

    A formula's own points crowd where it moves slowly; they would bias the chance.
    """
    lengths = np.concatenate([[0.0], np.linalg.norm(np.diff(curve, axis=0), axis=1).cumsum()])
    places = np.linspace(0.0, lengths[-1], 2000)
    return np.stack([np.interp(places, lengths, curve[:, i]) for i in (0, 1)], axis=1)


def _network(settings: ToySettings, seed: int) -> nn.Sequential:
    """Build 3 → `width` (`layers` times, ReLU) → 2; its weights depend on `seed` alone."""
    # Weights come from the global generator: fork it, so that other draws stay equal.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        widths = [3, *[settings.width] * settings.layers]
        hidden = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*hidden, nn.Linear(settings.width, 2))


def _kept(steps: int, device: torch.device) -> Tensor:
    """Return ᾱ_t for t = 1 … T (T,): the clean variance's share after t steps."""
    betas = torch.linspace(BETA_FIRST, BETA_LAST, steps, device=device)
    return torch.cumprod(1 - betas, dim=0)


def _predict(network: nn.Module, x: Tensor, step: Tensor, steps: int) -> Tensor:
    """Predict the noise in `x` (B, 2) after `step` (B,) steps, counted from 0."""
    time = step.float().unsqueeze(1) / (steps - 1)
    noise: Tensor = network(torch.cat([x, time], dim=1))
    return noise


def _train(
    network: nn.Module,
    points: Tensor,
    settings: ToySettings,
    generator: torch.Generator,
    say: Callable[[str], None],
) -> list[float]:
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=settings.epochs)
    kept, losses = _kept(settings.steps, points.device), []
    everything = points.repeat(settings.repeats, 1)
    for epoch in range(settings.epochs):
        order = torch.randperm(len(everything), generator=generator, device=points.device)
        total = torch.zeros((), device=points.device)
        for chosen in torch.split(order, settings.batch):
            loss = _loss(network, everything[chosen], kept, generator)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += loss.detach() * len(chosen)
        schedule.step()
        losses.append(float(total) / len(everything))
        if (epoch + 1) % max(1, settings.epochs // 5) == 0:
            say(f"  epoch {epoch + 1} of {settings.epochs}, loss {losses[-1]:.4f}")
    return losses


def _loss(network: nn.Module, clean: Tensor, kept: Tensor, generator: torch.Generator) -> Tensor:
    """Return the mean squared error of the predicted noise.

    Each of `clean` (B, 2) is at one random step.
    """
    step = torch.randint(len(kept), (len(clean),), generator=generator, device=clean.device)
    noise = NOISE * torch.randn(clean.shape, generator=generator, device=clean.device)
    share = kept[step].unsqueeze(1)
    noisy = share.sqrt() * clean + (1 - share).sqrt() * noise
    return nn.functional.mse_loss(_predict(network, noisy, step, len(kept)), noise)


@torch.no_grad()
def _sample(network: nn.Module, settings: ToySettings, generator: torch.Generator) -> Tensor:
    device = generator.device
    kept = _kept(settings.steps, device)
    shape = (settings.samples, 2)
    x = NOISE * torch.randn(shape, generator=generator, device=device)
    for step in reversed(range(settings.steps)):
        at = torch.full((settings.samples,), step, device=device)
        noise = _predict(network, x, at, settings.steps)
        x = (x - (1 - kept[step]).sqrt() * noise) / kept[step].sqrt()
        if step:
            fresh = NOISE * torch.randn(shape, generator=generator, device=device)
            x = kept[step - 1].sqrt() * x + (1 - kept[step - 1]).sqrt() * fresh
    return x


# ---------------------------------------------------------------------------------------------------------- curves


def _ellipse(angle: Float64) -> Float64:
    return np.stack([SIZE * np.cos(angle), 0.5 * SIZE * np.sin(angle)], axis=1)


def _heart(angle: Float64) -> Float64:
    """Return the usual heart curve, 32/20 of `SIZE` wide."""
    x = 16 * np.sin(angle) ** 3
    y = 13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle)
    return np.stack([SIZE / 20 * x, SIZE / 20 * y], axis=1)


_FORMULAE: dict[str, Callable[[Float64], Float64]] = {"ellipse": _ellipse, "heart": _heart}


def _corners(shape: str) -> Float64:
    """Return a polygon's corners (C, 2).

    The rectangle is a square of side 2 `SIZE`; the star has five points, and its
    notches are half as far out.
    """
    if shape == "rectangle":
        return SIZE * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    angles = math.pi / 2 + math.pi / 5 * np.arange(10)
    radii = np.where(np.arange(10) % 2 == 0, SIZE, 0.5 * SIZE)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _along(corners: Float64, count: int) -> Float64:
    """Place `count` points at equal distances along a closed polygon.

    The first is the polygon's first corner.
    """
    closed = np.concatenate([corners, corners[:1]])
    lengths = np.concatenate([[0.0], np.linalg.norm(np.diff(closed, axis=0), axis=1).cumsum()])
    places = np.linspace(0.0, lengths[-1], count, endpoint=False)
    return np.stack([np.interp(places, lengths, closed[:, i]) for i in (0, 1)], axis=1)
