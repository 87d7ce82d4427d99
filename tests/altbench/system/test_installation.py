"""`altbench doctor --run`: recorded episodes and images tell whether an installation computes what it should."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import fakes
import gymnasium
import numpy as np
import pytest
from typer.testing import CliRunner

from altbench.cli.app import app
from altbench.core import registry
from altbench.core.errors import RenderingUnavailable
from altbench.system import doctor, installation
from altbench.system.doctor import Finding
from altbench.system.installation import FixedEpisode, Played, check_episode, compare_images, compare_states

FAKE = FixedEpisode("Fake", "uniform", 0)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An episode and images of the fake task, as if they had been shipped."""
    fakes.register()
    env = gymnasium.make(fakes.TASK.env_id, obs_type="state")
    task = FAKE.begin(env)
    expert, actions, done = fakes.FakeExpert(), [], False
    expert.reset(task, 0)
    while not done:
        actions.append(expert.act(task))
        done = task.advance(actions[-1])[1]
    played = installation.play(FAKE, env, np.stack(actions))
    arrays = {"actions0": played.actions, "states0": played.states, "success0": played.success}
    arrays["about"] = json.dumps({"episodes": [asdict(FAKE)]})
    arrays |= {f"Fake.{c}": i for c, i in installation.draw(FAKE, played.states[len(played.states) // 2]).items()}
    monkeypatch.setattr(installation, "_recorded", lambda: arrays)
    monkeypatch.setattr(installation, "_advice", lambda: "do this")
    return arrays


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    installation._recorded.cache_clear() if hasattr(installation._recorded, "cache_clear") else None


def test_the_same_episode_and_images_are_identical(recorded: dict[str, Any]) -> None:
    steps = len(recorded["actions0"])
    assert installation.check_installation() == [
        Finding("Fake, uniform", True, f"{steps} steps: identical"),
        Finding(
            "Fake, images",
            True,
            "agentview: identical; wrist: identical",
            "allowed: 6 of 255, 0.5% of pixels by more than 16; do this",
        ),
    ]


def test_what_differs_is_said_with_its_step_and_size(recorded: dict[str, Any]) -> None:
    recorded["states0"][3:, 2] += 1e-9
    finding = check_episode(FAKE)
    assert finding.ok and finding.detail.endswith("equal within 1e-06 (different since step 3, by 1e-09 at most)")
    recorded["states0"][5:, 4] += 0.02
    recorded["states0"][6:, 1] -= 0.5
    finding = check_episode(FAKE)
    assert not finding.ok and finding.advice == "do this"
    assert finding.detail.endswith("different by more than 1e-06 since step 5 (number 4 by 0.02), by 0.5 at most")


def test_a_number_that_is_not_a_number_is_a_difference() -> None:
    actions, states = np.zeros((1, 2), np.float32), np.zeros((2, 3))
    broken = states.copy()
    broken[1, 1] = np.nan
    assert not compare_states(Played(actions, broken, True), Played(actions, states, True), {})[0]


def test_another_outcome_or_another_model_is_a_difference() -> None:
    actions, states = np.zeros((1, 2), np.float32), np.zeros((2, 3))
    recorded = Played(actions, states, True)
    ok, text = compare_states(replace(recorded, success=False), recorded, {})
    assert (ok, text) == (False, "1 steps, success False where True was recorded: identical")
    ok, text = compare_states(replace(recorded, states=np.zeros((2, 4))), recorded, {})
    assert (ok, text) == (False, "expected states (2, 3), got (2, 4)")


def test_an_episode_that_cannot_be_played_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, recorded: dict[str, Any]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RenderingUnavailable("no OpenGL; install it")

    monkeypatch.setattr(gymnasium, "make", broken)
    for finding in installation.check_installation():
        assert finding == Finding(finding.name, False, "failed: no OpenGL; install it", "solve this first")


@pytest.mark.parametrize("number", range(3))
def test_small_changes_of_an_image_are_allowed_and_wrong_ones_are_not(number: int) -> None:
    task, camera = (("Lift", "agentview"), ("Lift", "wrist"), ("Can", "wrist"))[number]
    image = installation.read_image(task, camera)
    rng = np.random.default_rng(0)
    assert compare_images(image, image) == (True, "identical")
    noisy = np.clip(image.astype(int) + rng.integers(-4, 5, image.shape), 0, 255).astype(np.uint8)
    assert compare_images(noisy, image)[0]
    wrong = [image[::-1], image[:, ::-1], image[..., ::-1], np.roll(image, 1, axis=1), image // 2, image[:40]]
    assert not any(compare_images(one, image)[0] for one in wrong)


def test_what_ships_is_small_and_of_todays_tasks() -> None:
    assert installation.RECORDED.stat().st_size < 300_000
    assert {e.task: registry.task(e.task).version for e in installation.read_episodes()} == installation.read_about()[
        "tasks"
    ], "a task's version was raised: run benchmarks/record_installation.py"
    assert all(installation.read_played(i).success for i in range(len(installation.read_episodes())))


def test_advice_names_the_versions_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = installation.read_about()["versions"]
    monkeypatch.setattr(installation, "package_version", {**versions, "mujoco": "3.3.7"}.get)
    assert installation._advice().startswith(f"mujoco 3.3.7, recorded with {versions['mujoco']}: run `pip install -c")
    monkeypatch.setattr(installation, "package_version", versions.get)
    assert installation._advice().endswith("report this, with the output of `altbench doctor`")


def test_the_command_plays_only_if_asked_and_ends_with_1_if_something_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "diagnose", lambda: [Finding("Python", True, "3")])
    monkeypatch.setattr(
        installation, "check_installation", lambda: [Finding("Lift, uniform", False, "31 steps", "help")]
    )
    alone, played = (CliRunner().invoke(app, arguments) for arguments in (["doctor"], ["doctor", "--run"]))
    assert alone.exit_code == 0 and "Lift" not in alone.output
    assert played.exit_code == 1 and "→ help" in played.output


@pytest.mark.sim
def test_this_installation_is_right() -> None:
    """Also in tox, where it is the built wheel's: with its recorded file, on any processor."""
    wrong = [f"{one.name}: {one.detail}" for one in installation.check_installation() if not one.ok]
    assert wrong == [] and Path(installation.__file__).with_name("installation.npz").is_file()
