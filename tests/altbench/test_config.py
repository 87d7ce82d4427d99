"""Sweeps from TOML: what is accepted, and how what is not is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from altbench.config import BUILT_IN_SWEEPS, SweepSpec, load_sweep
from altbench.errors import ConfigError
from altbench.plan import make_plan, stamp

GOOD: dict[str, Any] = {
    "name": "x",
    "tasks": ["Lift"],
    "policies": [{"policy": "alt"}],
    "evaluations": [{"split": "recall", "episodes": 2}],
}


def refused(changes: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        make_plan(SweepSpec.parse({**GOOD, **changes}, "f.toml"), stamp("cpu", "egl", {}))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(p.stem for p in BUILT_IN_SWEEPS.glob("*.toml")))
def test_every_built_in_sweep_can_be_planned(name: str) -> None:
    plan = make_plan(load_sweep(name), stamp("cpu", "egl", {}))
    assert plan.cells and plan.sweep.name == name


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"task": ["Lift"]}, "unknown key 'task'; did you mean 'tasks'"),
        ({"tasks": ["lift"]}, "unknown task 'lift'; did you mean 'Lift'"),
        ({"tasks": []}, "tasks"),
        ({"policies": [{"policy": "alt", "presett": "small"}]}, "did you mean 'preset'"),
        ({"policies": [{"policy": "difusion"}]}, "unknown policy 'difusion'; did you mean 'diffusion'"),
        ({"policies": [{"policy": "alt", "preset": "smal"}]}, "unknown preset 'smal'; did you mean 'small'"),
        ({"policies": [{"policy": "alt", "config": {"temprature": 1}}]}, "did you mean 'temperature'"),
        ({"policies": [{"policy": "alt"}, {"policy": "alt"}]}, "two policies are called 'alt'"),
        (
            {"evaluations": [{"split": "recall", "episodes": 2}, {"split": "recall", "episodes": 3}]},
            "two evaluations make a cell called 'lift/alt/n30/s0/recall/clean'",
        ),
        ({"evaluations": [{"split": "recall", "n": [20]}]}, "no policy has that n"),
        ({"train_seeds": [-1]}, "train_seeds.0"),
        ({"policies": [{"policy": "alt", "n": [40]}]}, "n = 40, but the sweep collects demonstrations.n = 30"),
        ({"evaluations": [{"split": "recal"}]}, "unknown split 'recal'; did you mean 'recall'"),
        ({"evaluations": [{"split": "recall", "episodes": 0}]}, "expected a positive number"),
        ({"evaluations": [{"split": "recall", "policies": ["bc"]}]}, "unknown policy 'bc'"),
        (
            {"evaluations": [{"split": "recall", "perturbations": [{"name": "gausian_noise"}]}]},
            "unknown perturbation 'gausian_noise'; did you mean 'gaussian_noise'",
        ),
        (
            {"evaluations": [{"split": "recall", "perturbations": [{"name": "occlusion", "severities": [6]}]}]},
            "severity",
        ),
    ],
)
def test_a_bad_sweep_is_refused_in_one_line(changes: dict[str, Any], expected: str) -> None:
    assert expected in refused(changes)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown sweep 'quik'; did you mean 'quick'"):
        load_sweep("quik")
    with pytest.raises(ConfigError, match="no such file"):
        load_sweep(str(tmp_path / "none.toml"))
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_sweep(str(broken))
