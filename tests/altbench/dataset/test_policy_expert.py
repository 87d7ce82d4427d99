"""A policy as an expert: chosen by name and file, in either control mode, and named in what it demonstrates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from typer.testing import CliRunner

from altbench.cli.demos.app import app
from altbench.core import registry
from altbench.core.errors import ConfigError, ContractError, DatasetError
from altbench.core.policy import Decision, Observation, Policy, Requirements
from altbench.core.spec import Spec
from altbench.core.task import PoseTask
from altbench.core.types import Float32
from altbench.dataset import files
from altbench.dataset.collecting import collect
from altbench.dataset.policy_expert import ExpertChoice

SIZE = (16, 16)


class Settings(Spec):
    path: str
    trust: bool = False
    mode: str = "ee_delta"
    speed: float = 1.0


class Homing(Policy):
    """Moves from the gripper to the target; the fake task's state shows both."""

    name = "homing"
    config_type = Settings
    runtime_fields = frozenset({"path", "trust"})

    @property
    def requirements(self) -> Requirements:
        cameras = ("wrist",) if self.config.path == "sees" else ()
        return Requirements(cameras, 1, 1, 1, control_mode=self.config.mode, needs_state=True)

    def reset(self, slots: Sequence[int], seeds: Sequence[int]) -> None:
        pass

    def act(self, observation: Observation, slots: Sequence[int]) -> Decision:
        assert observation.environment_state is not None
        state = observation.environment_state[0, -1]
        goal = np.append(state[:2], 0.0)
        if self.config.mode == "ee_pose":
            action = np.concatenate([goal, fakes.ROT6D, [-1.0]])
        else:
            step = np.clip((goal - state[2:5]) / fakes.MAX_STEP, -1, 1)
            action = np.concatenate([self.config.speed * step, np.zeros(3), [-1.0]])
        return Decision(action.astype(np.float32)[None, None])


PLAIN = fakes.FakeTask


class PosedTask(fakes.FakeTask, PoseTask):
    """Knows which pose a delta action leads to."""

    def as_pose(self, action: Float32) -> Float32:
        goal = self._gripper + fakes.MAX_STEP * np.asarray(action[:3], np.float64)
        return np.concatenate([goal, fakes.ROT6D, action[6:7]]).astype(np.float32)


@pytest.fixture(autouse=True)
def homing(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.register()
    monkeypatch.setitem(registry._REGISTERED["policy"], "homing", Homing)
    monkeypatch.setattr(fakes, "FakeTask", PosedTask)


def choice(**settings: Any) -> ExpertChoice:
    return ExpertChoice("homing", Settings(**{"path": "a", **settings}).model_dump())


@pytest.mark.parametrize("mode", ["ee_pose", "ee_delta"])
def test_a_policy_demonstrates_in_pose_actions(mode: str, tmp_path: Path) -> None:
    found = collect("Fake", 3, tmp_path / "d.hdf5", image_size=SIZE, expert=choice(mode=mode))
    for d in found.demonstrations:
        assert d.control_mode == "ee_pose"
        goal = np.append(d.initial_state.object_pose, 0.0)
        np.testing.assert_allclose(d.actions[-1, :3], goal, atol=fakes.MAX_STEP)
        assert np.abs(d.pixels["agentview"].astype(int)).max() > 0
    scripted = collect("Fake", 3, tmp_path / "s.hdf5", image_size=SIZE)
    assert not np.array_equal(found.demonstrations[0].actions, scripted.demonstrations[0].actions)


def test_a_file_names_its_expert_and_accepts_no_other(tmp_path: Path) -> None:
    path = tmp_path / "d.hdf5"
    found = collect("Fake", 2, path, image_size=SIZE, expert=choice())
    assert found.meta.versions["expert"] == choice().label
    assert choice().label.startswith("homing ")
    assert choice(path="moved", trust=True).label == choice().label != choice(speed=0.5).label
    assert len(collect("Fake", 3, path, image_size=SIZE, expert=choice(path="moved"))) == 3
    for other in (None, choice(speed=0.5)):
        with pytest.raises(DatasetError, match="exists with other settings: versions"):
            collect("Fake", 4, path, image_size=SIZE, expert=other)
    assert "expert" not in collect("Fake", 1, tmp_path / "s.hdf5", image_size=SIZE).meta.versions


def test_it_is_chosen_on_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "d.hdf5"
    arguments = ["collect", "Fake", "--n", "2", "--expert", "homing:file.zip", "--trust", "--image-size", "16"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    config = {**choice().config, "path": "file.zip", "trust": True}
    assert files.read(out).meta.versions["expert"] == ExpertChoice("homing", config).label
    with pytest.raises(ConfigError, match=r"expected POLICY:PATH, such as sb3:lift\.zip"):
        ExpertChoice.parse("homing", trust=True)
    with pytest.raises(ConfigError, match=r"--trust needs --expert"):
        CliRunner().invoke(app, ["collect", "Fake", "--trust"], catch_exceptions=False)


def test_a_policy_that_is_not_made_of_a_file_is_no_expert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Homing, "config_type", Spec)
    with pytest.raises(ConfigError, match=r"--expert homing:a: homing is not made of a file.*such as sb3:lift\.zip"):
        ExpertChoice.parse("homing:a", trust=True)


def test_policies_and_tasks_that_cannot_demonstrate_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ContractError, match=r"expert homing: expected a policy that sees no images.*'wrist'"):
        collect("Fake", 1, tmp_path / "a.hdf5", image_size=SIZE, expert=choice(path="sees"))
    monkeypatch.setattr(fakes, "FakeTask", PLAIN)
    with pytest.raises(ContractError, match="Fake cannot say which pose an ee_delta action leads to"):
        collect("Fake", 1, tmp_path / "b.hdf5", image_size=SIZE, expert=choice())
