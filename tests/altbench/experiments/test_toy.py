"""E1: curves, the toy diffusion model, and what counts as recall."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from learning import assert_learns

from altbench.experiments import e1_manifolds as toy_manifolds
from altbench.experiments.e1_diffusion import (
    SHAPES,
    SIZE,
    ToyResult,
    ToySettings,
    evenly,
    fit_and_sample,
    nearness,
    outline,
    training_points,
)
from altbench.experiments.e1_manifolds import Combination, combinations, settings
from altbench.experiments.shared.experiment_run import ExperimentRun

TINY = ToySettings("ellipse", 24, 1, 20, 5, 3, 1e-3, batch=64, samples=50)


@pytest.mark.parametrize("shape", SHAPES)
def test_training_points_lie_on_their_curve(shape: str) -> None:
    points, curve = training_points(shape, 20, np.random.default_rng(0)), outline(shape)
    gaps = np.linalg.norm(points[:, None] - curve[None], axis=-1).min(axis=1)
    assert points.shape == (20, 2) and gaps.max() < 2e-3
    assert np.abs(curve).max() <= 1.001 * SIZE


def test_evenly_spaces_what_a_formula_crowds() -> None:
    steps = np.linalg.norm(np.diff(evenly(outline("heart")), axis=0), axis=1)
    assert steps.max() < 1.05 * steps.mean()


def test_the_papers_networks_have_the_papers_numbers_of_parameters() -> None:
    small, large = (settings(Combination(net, "small data", "star"), "paper") for net in toy_manifolds.NETWORKS)
    assert (large.width, large.layers, large.learning_rate, large.epochs) == (1024, 10, 1e-4, 1000)
    fitted = fit_and_sample(ToySettings(**{**vars(small), "repeats": 1, "epochs": 1, "samples": 1}), "cpu", print)
    assert fitted.parameters == 146
    assert 3 * 1024 + 1024 + 9 * (1024 * 1024 + 1024) + 1024 * 2 + 2 == 9_452_546  # 9.45 M, as reported
    large_data = settings(Combination("large net", "large data", "star"), "paper")
    assert (large_data.points, large_data.epochs, large_data.learning_rate) == (100_000, 100, 1e-3)


def test_the_same_seed_gives_the_same_samples_and_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    first, second = (fit_and_sample(TINY, "cpu", lambda line: None) for _ in range(2))
    np.testing.assert_array_equal(first.samples, second.samples)
    assert torch.equal(state, torch.get_rng_state())
    assert first.samples.shape == (50, 2) and len(first.losses) == 3


def test_training_lowers_the_loss() -> None:
    longer = ToySettings("rectangle", 64, 2, 20, 200, 20, 3e-3, batch=256, samples=1)

    def share_left(seed: int) -> float:
        losses = fit_and_sample(dataclasses.replace(longer, seed=seed), "cpu", lambda line: None).losses
        return float(losses[-1] / losses[0])

    assert_learns(share_left, below=0.75)


def test_recall_is_told_from_drawing_the_curve() -> None:
    curve = evenly(outline("ellipse"))
    training = training_points("ellipse", 20, np.random.default_rng(0))

    def found(samples: np.ndarray) -> tuple[float, float, str]:
        near = nearness(ToyResult(samples, training, np.zeros(1), 1), "ellipse", 0.05)
        share = near.recalled / near.total
        beyond = toy_manifolds._beyond(share, near.chance)
        return share, near.chance, toy_manifolds._verdict(near.on_curve / near.total, beyond)

    assert found(np.repeat(training, 10, axis=0))[::2] == (1.0, "lookup table")
    share, chance, verdict = found(curve)
    assert share == pytest.approx(chance) and verdict == "draws the curve"
    assert found(curve * 1.3)[::2] == (0.0, "neither")


def test_what_is_there_is_not_trained_again_and_what_is_not_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ExperimentRun(tmp_path, tmp_path / "own")
    first = next(combinations())
    monkeypatch.setattr(
        toy_manifolds, "combinations", lambda: iter([first, Combination("large net", "small data", "star")])
    )
    monkeypatch.setattr(
        toy_manifolds, "settings", lambda one, preset: ToySettings(**{**vars(TINY), "shape": one.shape})
    )
    path = toy_manifolds.result_path(run, toy_manifolds.settings(first, "small"), "cpu")
    toy_manifolds.write_result(path, fit_and_sample(TINY, "cpu", lambda line: None))
    report = toy_manifolds.report(run)
    assert report.missing == ("star, large net, small data",)
    table = report.sections[1].tables["nearness"]
    assert [row[4] != "" for row in table.blocks[0].rows] == [True, False]
    before, lines = path.stat().st_mtime_ns, []
    toy_manifolds.compute(run, lines.append)
    assert path.stat().st_mtime_ns == before and lines[0].startswith("star")
    assert toy_manifolds.report(run).missing == ()
