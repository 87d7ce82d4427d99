"""Demonstrations that no episode or row can use are refused before any work, or converted exactly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from running import run_bare

from altbench.core.errors import ConfigError, ContractError
from altbench.core.task import DeltaTask, task_of
from altbench.dataset import collecting, control_modes, files
from altbench.results import cells
from altbench.results.run import Run
from altbench.rollout.episode import make_env
from altbench.sweeps.spec import SweepSpec

LOOKUP = {"policy": "open_loop", "n": [3], "config": {"pixels": 4}}
DELTA = {"policy": "open_loop", "label": "deltas", "n": [3], "config": {"pixels": 4, "control_mode": "ee_delta"}}
HORIZON = fakes.TASK.horizon


def sweep(*policies: dict[str, Any], **changes: Any) -> SweepSpec:
    values = {
        "name": "fake",
        "tasks": ["Fake"],
        "image_size": [32, 32],
        "device": "cpu",
        "demonstrations": {"n": 3},
        "policies": list(policies),
        "evaluations": [{"split": "replay", "episodes": "each"}],
        "measure": False,
        **changes,
    }
    return SweepSpec.parse(values, "fake.toml")


def with_file(path: Path, *policies: dict[str, Any], **changes: Any) -> SweepSpec:
    return sweep(*policies, demonstrations={"n": 3, "file": str(path)}, **changes)


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """Three demonstrations; two of them wait for an episode's length before they begin."""

    def waiting(d: Any) -> Any:
        rows = np.concatenate([np.zeros(HORIZON, int), np.arange(len(d))])
        actions = d.actions[rows].copy()
        actions[:HORIZON, :3] = d.agent_pos[0, :3]
        pixels = {c: p[rows] for c, p in d.pixels.items()}
        return replace(d, pixels=pixels, agent_pos=d.agent_pos[rows], actions=actions, states=d.states[rows])

    shown = fakes.make_demonstrations(3, image_size=(32, 32))
    files.write(tmp_path / "slow.hdf5", [shown[0], *map(waiting, shown[1:])], fakes.make_meta((32, 32)))
    return tmp_path / "slow.hdf5"


def test_demonstrations_longer_than_an_episode_are_refused_with_the_horizon_that_helps(
    slow: Path, tmp_path: Path
) -> None:
    longest = max(files.info(slow).lengths)
    wanted = rf"2 of 3 demonstrations are longer .* {HORIZON} steps: the longest takes {longest}.* horizon = {longest}"
    with pytest.raises(ConfigError, match=wanted):
        run_bare(with_file(slow, LOOKUP), tmp_path / "run")
    assert not list((tmp_path / "run").rglob("checkpoints/*"))


def test_a_sweep_s_horizon_lets_them_finish_and_is_told(slow: Path, tmp_path: Path) -> None:
    longest = max(files.info(slow).lengths)
    summary = run_bare(with_file(slow, LOOKUP, horizon=longest), tmp_path / "run")
    assert summary.episodes()["success"].all()
    assert summary.run.fingerprint().horizon == f"Fake {longest} steps"
    assert f"horizon Fake {longest} steps" in summary.run.fingerprint().one_line()
    specification = json.loads(summary.run.plan.cells[0].specification)
    assert specification["horizon"] == longest
    kept = run_bare(with_file(slow, LOOKUP, horizon={"Fake": HORIZON}), tmp_path / "kept")
    assert kept.episodes()["success"].sum() == 1 and kept.run.fingerprint().horizon == ""


def test_the_task_s_own_horizon_leaves_every_key_as_it_was(tmp_path: Path) -> None:
    plain, same, longer = (
        [cell.key for cell in Run.begin(tmp_path, sweep(LOOKUP, **changes), "none").plan.cells]
        for changes in ({}, {"horizon": HORIZON}, {"horizon": {"Fake": 2 * HORIZON}})
    )
    assert plain == same != longer
    assert "horizon" not in sweep(LOOKUP).model_dump() and "control_mode" not in json.dumps(sweep(LOOKUP).model_dump())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "horizon"),
        (True, "expected control steps, such as 600"),
        ("long", "expected control steps, such as 600"),
        ({"Lift": 600}, "'Lift' is not a task of the sweep"),
        (10**9, "horizon"),
    ],
)
def test_a_horizon_that_cannot_be_is_refused(value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sweep(LOOKUP, horizon=value)


def test_events_and_perturbations_may_begin_up_to_the_sweep_s_horizon(tmp_path: Path) -> None:
    late = [{"split": "uniform", "episodes": 1, "event": {"move_at": HORIZON + 5, "by": 0.1}}]
    with pytest.raises(ConfigError, match="expected a step before the horizon, 40"):
        Run.begin(tmp_path, sweep(LOOKUP, evaluations=late), "none")
    Run.begin(tmp_path, sweep(LOOKUP, evaluations=late, horizon=100), "none")


def test_an_environment_is_made_with_the_limit(tmp_path: Path) -> None:
    needs = type("Needs", (), {"cameras": (), "control_mode": "ee_pose"})
    env = make_env(fakes.TASK, needs, (16, 16), "fast", horizon=7)  # type: ignore[arg-type]
    assert task_of(env).episode_limit == 7


@pytest.fixture
def deltas(tmp_path: Path) -> Path:
    """Three demonstrations in delta actions."""
    collecting.collect("Fake", 3, tmp_path / "deltas.hdf5", image_size=(32, 32), control_mode="ee_delta")
    return tmp_path / "deltas.hdf5"


def test_delta_files_are_refused_for_policies_that_learn_poses(deltas: Path, tmp_path: Path) -> None:
    wanted = (
        r"fake/open_loop/n3/s0: expected demonstrations in ee_pose.*control_mode = \"ee_delta\".*--control-mode ee_pose"
    )
    with pytest.raises(ConfigError, match=wanted):
        run_bare(with_file(deltas, DELTA, LOOKUP), tmp_path / "run")
    assert not list((tmp_path / "run").rglob("checkpoints/*"))


def test_delta_files_serve_policies_that_learn_deltas(deltas: Path, tmp_path: Path) -> None:
    assert files.info(deltas).meta.control_mode == "ee_delta"
    assert all(collecting.replay("Fake", files.read(deltas).demonstrations))
    assert run_bare(with_file(deltas, DELTA), tmp_path / "run").episodes()["success"].all()


def test_collected_poses_are_converted_for_policies_that_learn_deltas(tmp_path: Path) -> None:
    summary = run_bare(sweep(LOOKUP, DELTA), tmp_path)
    episodes = summary.episodes()
    assert len(episodes) == 6 and episodes["success"].all()
    delta = next(cell for cell in summary.run.plan.cells if cell.label == "deltas")
    recorded = cells.read_cell(cells.cell_path(tmp_path, delta.key)).episodes[0]
    assert {len(step.action) for step in recorded.trajectory} == {7}


def test_a_sweep_may_collect_delta_actions(tmp_path: Path) -> None:
    spec = sweep(DELTA, demonstrations={"n": 3, "control_mode": "ee_delta"})
    assert run_bare(spec, tmp_path).episodes()["success"].all()
    assert files.info(tmp_path / "demonstrations" / "Fake.hdf5").meta.control_mode == "ee_delta"
    with pytest.raises(ConfigError, match="expected demonstrations in ee_pose"):
        run_bare(sweep(LOOKUP, demonstrations={"n": 3, "control_mode": "ee_delta"}), tmp_path / "other")


def test_targets_out_of_reach_are_refused_before_anything_is_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        fakes, "MAX_STEP", 0.01
    )  # what one delta action can do; the expert's goals are up to 0.03 m away
    monkeypatch.setattr(fakes.FakeExpert, "reset", lambda self, env, seed: setattr(self, "_speed", 0.03))
    with pytest.raises(
        ConfigError, match=r"fake/deltas/n3/s0: .* the expert, step 0: .* [12]\.\d\d times as far.*set demonstr"
    ):
        run_bare(sweep(DELTA), tmp_path)
    assert not (tmp_path / "demonstrations").exists()


def test_a_task_that_cannot_convert_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = fakes.make_demonstrations(1)
    assert control_modes.in_control_mode(shown, "Fake", "ee_pose") == shown
    monkeypatch.setattr(control_modes, "DeltaTask", type("Other", (DeltaTask,), {}))
    with pytest.raises(Exception, match="cannot say which ee_delta action aims at a pose"):
        control_modes.in_control_mode(shown, "Fake", "ee_delta")


def test_a_control_mode_that_does_not_exist_is_refused(own_policies: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        own_policies.read_text().replace("Requirements(self.task.cameras)", "Requirements((), control_mode='x')")
    )
    with pytest.raises(ContractError, match="control_mode: expected ee_pose or ee_delta, got 'x'"):
        Run.begin(tmp_path, sweep({"policy": f"{own}:Good", "n": [3]}), "none")


def test_images_of_an_unknown_renderer_are_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shown = fakes.make_demonstrations(3, image_size=(32, 32))
    for profile in ("unknown", "robosuite"):
        meta = fakes.make_meta((32, 32)).model_copy(update={"render_profile": profile})
        files.write(tmp_path / f"{profile}.hdf5", shown, meta)
    run_bare(with_file(tmp_path / "unknown.hdf5", LOOKUP), tmp_path / "run")
    assert "unknown renderer" in caplog.text
    with pytest.raises(Exception, match='set render_profile = "robosuite" in the sweep, or import') as raised:
        run_bare(with_file(tmp_path / "robosuite.hdf5", LOOKUP), tmp_path / "other")
    assert "delete" not in str(raised.value)
