"""`altbench.evaluate` on the fake task: functions and policies, the bench's own episodes, and clear refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest

import altbench as ab
from altbench import dataset
from altbench.results import load_episodes

SMALL = {"image_size": (32, 32)}


def seek(observation: dict[str, Any]) -> np.ndarray:
    """Goes to the red square that the fake task draws from above."""
    image = observation["pixels"]["agentview"]
    size = len(image)
    rows, columns = np.nonzero((image == fakes.COLOURS["target"]).all(-1))
    spot = [np.mean(i) if len(i) else size / 2 for i in (rows, columns)]
    xy = [(2 * (s + 0.5) / size - 1) * fakes.WORKSPACE for s in spot]
    return np.array([*xy, 0.0, *fakes.ROT6D, -1.0])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "Fake.hdf5"
    dataset.write(path, fakes.make_demonstrations(6, image_size=(32, 32)), fakes.make_meta((32, 32)))
    return path


def test_a_function_is_played_and_its_success_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    played = ab.evaluate(seek, "Fake", episodes=8, **SMALL)
    assert len(played) == 8 and played["success"].all() and (played["label"] == "seek").all()
    assert "seek on Fake, uniform: 8 of 8 succeed, 100 % [68, 100]" in capsys.readouterr().out


def test_a_function_sees_the_latest_observation_as_the_environment_gives_it() -> None:
    seen: list[dict[str, Any]] = []

    def still(observation: dict[str, Any]) -> list[float]:
        seen.append(observation)
        return [*observation["agent_pos"][:3], 0, 0, 0, 0, 0, 0, -1]

    ab.evaluate(still, "Fake", episodes=1, quiet=True, **SMALL)
    assert len(seen) == fakes.TASK.horizon
    assert set(seen[0]) == {"pixels", "agent_pos"} and seen[0]["pixels"]["wrist"].shape == (32, 32, 3)
    seen.clear()
    ab.evaluate(still, "Fake", episodes=1, quiet=True, obs_type="state")
    assert set(seen[0]) == {"environment_state", "agent_pos"} and seen[0]["environment_state"].ndim == 1


def test_recall_begins_from_a_file_s_demonstrations_or_a_list_s(file: Path) -> None:
    from_file = ab.evaluate(seek, "Fake", split="recall", episodes=7, demonstrations=file, quiet=True, **SMALL)
    from_list = ab.evaluate(
        seek, "Fake", split="recall", episodes=7, demonstrations=fakes.make_demonstrations(6), quiet=True, **SMALL
    )
    same = ["episode", "seed", "success", "steps"]
    assert from_file[same].equals(from_list[same])


def test_without_demonstrations_thirty_are_collected_once_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALTBENCH_CACHE", str(tmp_path))
    ab.evaluate(seek, "Fake", split="replay", episodes=30, **SMALL)
    first = capsys.readouterr()
    assert "collecting 30 demonstrations of Fake into" in first.err and str(tmp_path) in first.err
    ab.evaluate(seek, "Fake", split="replay", episodes=30, **SMALL)
    assert "collecting" not in capsys.readouterr().err


def test_the_episodes_are_those_of_a_sweep(file: Path, own_policies: Path, tmp_path: Path) -> None:
    sweep = ab.Sweep(
        name="s",
        tasks=["Fake"],
        image_size=(32, 32),
        demonstrations={"file": str(file), "n": 6},
        policies=[{"policy": f"{own_policies}:Good", "n": [6]}],
        evaluations=[{"split": "recall", "episodes": 9}, {"split": "uniform", "episodes": 5}],
        measure=None,
    )
    ab.run(sweep, tmp_path / "run", workers=0)
    swept = load_episodes(tmp_path / "run")
    policy = ab.make_policy(f"{own_policies}:Good", "Fake")
    for split, episodes in (("recall", 9), ("uniform", 5)):
        alone = ab.evaluate(policy, "Fake", split=split, episodes=episodes, demonstrations=file, quiet=True, **SMALL)
        same = ["episode", "seed", "status", "success", "steps", "episode_return"]
        theirs = swept[swept["split"] == split][same].reset_index(drop=True)
        assert alone[same].equals(theirs)


def test_a_policy_that_fails_is_a_row_and_a_printed_line(capsys: pytest.CaptureFixture[str]) -> None:
    played = ab.evaluate(lambda observation: np.zeros(3), "Fake", episodes=2, **SMALL)
    assert list(played["status"]) == ["policy_error"] * 2 and not played["success"].any()
    shown = capsys.readouterr().out
    assert (
        "2 ended with policy_error" in shown
        and "expected an action of shape (10,) (ee_pose), got float64 (3,)" in shown
    )


def test_a_perturbation_stands_between_camera_and_function() -> None:
    black = ab.make_perturbation("black_camera", 5)
    played = ab.evaluate(seek, "Fake", episodes=6, perturbation=black, quiet=True, **SMALL)
    assert not played["success"].all() and set(played["perturbation"]) == {"black_camera"}
    assert set(played["severity"]) == {5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "recal"}, "unknown split of Fake 'recal'; did you mean 'recall'"),
        ({"episodes": 0}, "episodes: expected at least 1, got 0"),
        ({"split": "replay", "episodes": 7}, "replay plays each demonstration once: expected up to 6 episodes, got 7"),
        ({"policy": "bc"}, "policy 'bc' must be trained first"),
        ({"policy": 3}, "policy: expected a Policy, a function or a registered name, got 3"),
        ({"policy": "rando"}, "unknown policy 'rando'; did you mean 'random'"),
        ({"task": "Fak"}, "unknown task 'Fak'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_the_first_episode(
    file: Path, arguments: dict[str, Any], message: str
) -> None:
    given = {"policy": seek, "task": "Fake", "demonstrations": file, **SMALL, **arguments}
    with pytest.raises(ab.AltbenchError, match=message):
        ab.evaluate(given.pop("policy"), given.pop("task"), **given)
