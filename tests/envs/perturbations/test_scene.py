"""Perturbations of the scene: seen by the cameras, without effect on the physics, and gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import fakes
import numpy as np
import pytest

from altbench.checks import perturbation as checks
from altbench.core import registry
from altbench.core.errors import ConfigError, ContractError, PerturbationUnsupported
from altbench.core.perturbation import ScenePerturbation
from altbench.core.types import Float64, UInt8
from altbench_envs import perturbations as p
from altbench_envs.perturbations.distractors import APART, CLEARANCE
from altbench_envs.robosuite_env.adapter import RobosuiteEnv

NAMES = [n for n in registry.names("perturbation") if issubclass(registry.perturbation(n), ScenePerturbation)]
pytestmark = pytest.mark.sim


def made(name: str, severity: int) -> ScenePerturbation:
    perturbation = registry.perturbation(name)(severity)
    assert isinstance(perturbation, ScenePerturbation)
    return perturbation


@contextmanager
def perturbed(env: RobosuiteEnv, perturbation: ScenePerturbation, seed: int = 0) -> Iterator[None]:
    try:
        perturbation.begin(env, np.random.default_rng(seed), env.info.cameras)
        yield
    finally:
        perturbation.end(env)


def images(env: RobosuiteEnv) -> dict[str, UInt8]:
    found: dict[str, UInt8] = env.observe()["pixels"]
    return found


def play(env: RobosuiteEnv, steps: int = 6) -> tuple[Float64, list[UInt8]]:
    """States and images of an episode in which the arm goes down to the cube and closes its gripper."""
    env.reset(seed=4)
    cube = env.privileged()["cube_position"]
    states, seen = [env.sim_state()], list(images(env).values())
    for step in range(steps):
        action = np.array([*cube, 1, 0, 0, 0, -1, 0, 1.0 if step > 3 else -1.0], np.float32)
        env.advance(action)
        states.append(env.sim_state())
    return np.stack(states), seen + list(images(env).values())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in ("object_colour", "table_texture") else [])
        for name in NAMES
    ],
)
def test_passes_the_checker(name: str, pixels_env: RobosuiteEnv) -> None:
    checks.check_perturbation(registry.perturbation(name), pixels_env)


def test_the_episode_after_all_of_them_is_bit_for_bit_the_one_before(pixels_env: RobosuiteEnv) -> None:
    states, seen = play(pixels_env)
    for name in NAMES:
        pixels_env.reset(seed=9)
        with perturbed(pixels_env, made(name, 5)):
            pixels_env.advance(np.asarray(pixels_env.action_space.sample(), np.float32))
            images(pixels_env)
    after, seen_after = play(pixels_env)
    np.testing.assert_array_equal(states, after)
    for one, other in zip(seen, seen_after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_reset_restores_what_nobody_ended(pixels_env: RobosuiteEnv) -> None:
    _, seen = play(pixels_env, steps=0)
    for name in NAMES:
        made(name, 5).begin(pixels_env, np.random.default_rng(1), pixels_env.info.cameras)
    for one, other in zip(seen, play(pixels_env, steps=0)[1], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_actions_have_the_same_consequences_in_a_perturbed_scene(name: str, pixels_env: RobosuiteEnv) -> None:
    states, _ = play(pixels_env)
    pixels_env.reset(seed=4)
    cube = pixels_env.privileged()["cube_position"]
    with perturbed(pixels_env, made(name, 5)):
        for step in range(len(states) - 1):
            np.testing.assert_array_equal(pixels_env.sim_state(), states[step])
            action = np.array([*cube, 1, 0, 0, 0, -1, 0, 1.0 if step > 3 else -1.0], np.float32)
            pixels_env.advance(action)


def test_light_is_seen_without_shadows_in_every_camera(pixels_env: RobosuiteEnv) -> None:
    pixels_env.reset(seed=0)
    before = images(pixels_env)
    for name in ("light_direction", "light_colour", "light_strength"):
        with perturbed(pixels_env, made(name, 5)):
            for camera, image in images(pixels_env).items():
                assert np.abs(image.astype(int) - before[camera]).mean() > 3, (name, camera)


def test_a_moved_camera_is_drawn_whole(pixels_env: RobosuiteEnv) -> None:
    pixels_env.reset(seed=0)
    with perturbed(pixels_env, p.CameraPose(5), seed=3):
        culled = images(pixels_env)
        renderer = pixels_env.visuals.renderer
        assert renderer is not None
        renderer._fast = False  # draw everything, with the same lights and samples
        try:
            everything = images(pixels_env)
        finally:
            renderer._fast = True
    for camera, image in culled.items():
        np.testing.assert_array_equal(image, everything[camera])


def test_one_camera_moves_as_it_would_with_the_others(pixels_env: RobosuiteEnv) -> None:
    pixels_env.reset(seed=0)
    before = images(pixels_env)
    with perturbed(pixels_env, p.CameraPose(4)):
        both = images(pixels_env)
    pose = p.CameraPose(4)
    pose.begin(pixels_env, np.random.default_rng(0), ("wrist",))
    alone = images(pixels_env)
    pose.end(pixels_env)
    np.testing.assert_array_equal(alone["agentview"], before["agentview"])
    np.testing.assert_array_equal(alone["wrist"], both["wrist"])
    assert not np.array_equal(alone["wrist"], before["wrist"])


def test_distractors_stand_on_the_table_clear_of_the_way(pixels_env: RobosuiteEnv) -> None:
    for seed in range(5):
        pixels_env.reset(seed=seed)
        known, visuals = pixels_env.privileged(), pixels_env.visuals
        with perturbed(pixels_env, p.Distractors(5), seed):
            standing = [d for d in visuals.decorations if d.position[2] - d.size[2] < 0.86]
            spots = np.unique([d.position[:2] for d in standing], axis=0)
            assert len(spots) >= 7
            assert np.abs(spots).max() <= 0.35
            assert all(d.position[2] > 0.8 for d in visuals.decorations)
            way = np.linspace(known["cube_position"][:2], known["gripper_position"][:2], 50)
            gaps = np.linalg.norm(spots[:, None] - way[None], axis=-1)
            assert gaps.min() > CLEARANCE - 1e-3
            between = np.linalg.norm(spots[:, None] - spots[None], axis=-1)[~np.eye(len(spots), dtype=bool)]
            assert between.min() > APART
        assert not visuals.decorations


def test_object_colour_changes_the_object_alone(pixels_env: RobosuiteEnv) -> None:
    pixels_env.reset(seed=0)
    before = images(pixels_env)["agentview"].astype(int)
    red = (before[..., 0] > before[..., 1] + 40) & (before[..., 0] > before[..., 2] + 40)
    with perturbed(pixels_env, p.ObjectColour(5)):
        change = np.abs(images(pixels_env)["agentview"] - before).max(axis=-1)
    assert change[red].mean() > 40
    assert (change > 20).sum() < 3 * red.sum()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("severity", [True, -1, 6, "3"])
def test_severity_must_be_an_integer_from_0_to_5(name: str, severity: int) -> None:
    with pytest.raises(ConfigError, match=f"{name}: severity: expected an integer from 0 to 5, got {severity!r}"):
        made(name, severity)


def test_a_task_without_visuals_is_unsupported() -> None:
    with pytest.raises(PerturbationUnsupported, match="light_colour: Fake is not a robosuite task"):
        p.LightColour(3).begin(fakes.FakeTask(), np.random.default_rng(0), ())


def test_the_checker_wants_an_environment() -> None:
    with pytest.raises(ContractError, match="distractors changes a scene"):
        checks.check_perturbation(p.Distractors)
