"""Sweeps from TOML: what is accepted, and how what is not is refused."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any, Literal

import published
import pytest

from altbench.core import registry
from altbench.core.errors import ConfigError, ContractError
from altbench.core.spec import Spec
from altbench.sweeps.kept import load_kept
from altbench.sweeps.plan import make_plan
from altbench.sweeps.rows import provenance_of
from altbench.sweeps.spec import BUILT_IN_SWEEPS, SweepSpec, load_sweep

TODAY = datetime.date(2025, 1, 1)
GOOD: dict[str, Any] = {
    "name": "x",
    "tasks": ["Lift"],
    "policies": [{"policy": "alt"}],
    "evaluations": [{"split": "recall", "episodes": 2}],
}


def refused(changes: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        make_plan(SweepSpec.parse({**GOOD, **changes}, "f.toml"), provenance_of("cpu", "egl", {}))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(p.stem for p in BUILT_IN_SWEEPS.glob("*.toml")))
def test_every_built_in_sweep_can_be_planned(name: str) -> None:
    plan = make_plan(load_sweep(name), provenance_of("cpu", "egl", {}))
    assert plan.cells and plan.sweep.name == name


def test_quick_asks_what_its_published_run_asked_for_less_than_half_of_the_training() -> None:
    former = load_kept(published.RESULTS / "quick" / "sweep.json")
    plans = [make_plan(sweep, provenance_of("cpu", "egl", {})) for sweep in (load_sweep("quick"), former)]
    cells, samples = [], []
    for plan in plans:
        cells.append({cell.name: cell.episodes for cell in plan.cells})
        trained = [point.config for point in plan.checkpoints if "train_steps" in point.config]
        samples.append(sum(config["train_steps"] * config["batch_size"] for config in trained))
    # `alt-hold` plays `alt`'s episodes where no image is out of distribution, and `random` has nothing to replay.
    left_out = ("/alt-hold/n30/s0/replay/clean", "/alt-hold/n30/s0/uniform/clean", "/random/n30/s0/replay/clean")
    assert sum(name.endswith(left_out) for name in cells[1]) == 3
    assert cells[0] == {name: episodes for name, episodes in cells[1].items() if not name.endswith(left_out)}
    assert samples[0] < 0.45 * samples[1]
    assert plans[0].checkpoints[0].policy == "diffusion"  # the longest fit begins first


def test_smoke_plays_every_part_of_the_bench_and_is_small() -> None:
    plan = make_plan(load_sweep("smoke"), provenance_of("cpu", "egl", {}))
    assert {cell.label for cell in plan.cells} == {"open_loop", "kdtree", "alt", "bc", "random"}
    assert {cell.checkpoint.n for cell in plan.cells} == {10} == {plan.sweep.demonstrations.n}
    assert {cell.split for cell in plan.cells} == {"replay", "recall", "uniform"}
    assert len({cell.condition for cell in plan.cells}) == 3  # clean, and two perturbations
    assert sum(cell.episodes for cell in plan.cells) <= 200
    assert sum(point.config.get("train_steps", 0) for point in plan.checkpoints) <= 300


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"task": ["Lift"]}, "unknown key 'task'; did you mean 'tasks'"),
        ({"tasks": ["lift"]}, "unknown task 'lift'; did you mean 'Lift'"),
        ({"tasks": []}, "tasks: expected a list of at least 1, got an empty list"),
        ({"tasks": "Lift"}, """tasks: expected a list, such as ["Lift"], got 'Lift'"""),
        ({"policies": [{"policy": "alt", "n": 30}]}, "policies.0.n: expected a list, such as [30], got 30"),
        ({"policies": {"policy": "alt"}}, "expected a list of tables, written [[policies]], got one table"),
        ({"policies": ["alt"]}, "policies.0: expected a table ({ key = value }), got 'alt'"),
        ({"image_size": 7}, "image_size: expected a list of 2 items, such as [84, 84], got 7"),
        ({"image_size": [84]}, "image_size: expected a list of 2 items, such as [84, 84], got [84]"),
        ({"image_size": [84] * 3}, "image_size: expected a list of 2 items, such as [84, 84], got [84, 84, 84]"),
        ({"image_size": [7, 84]}, "image_size.0: expected a number from 8 up, got 7"),
        ({"device": "gpu"}, "device: expected 'auto', 'cpu' or 'cuda', got 'gpu'"),
        ({"seed": "x"}, "seed: expected a whole number, got 'x'"),
        ({"seed": 1.5}, "seed: expected a whole number, got 1.5"),
        ({"decision_timeout_s": 0}, "decision_timeout_s: expected a number over 0, got 0"),
        ({"name": "a/b"}, "name: expected a text that matches "),
        (
            {"evaluations": [{"split": "recall", "episodes": "forty"}]},
            "evaluations.0.episodes: expected a whole number or 'each', got 'forty'",
        ),
        ({"policies": [{"policy": "sb3"}]}, "policy 'sb3': config: expected a value for path, but it is missing"),
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
        ({"measure": {"decision": 1}}, "unknown key 'measure.decision'; did you mean 'decisions'"),
        ({"measure": True}, "measure: expected a table ({ key = value }), got True"),
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
        (
            {"evaluations": [{"split": "recall", "perturbations": [{"name": "fog", "options": {"day": TODAY}}]}]},
            "options: expected values that JSON can hold (number, text, true, false, list, table), and date is not one",
        ),
    ],
)
def test_a_bad_sweep_is_refused_in_one_line(changes: dict[str, Any], expected: str) -> None:
    assert expected in refused(changes)


def test_measurements_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    rest = '[[policies]]\npolicy = "alt"\n[[evaluations]]\nsplit = "recall"\nepisodes = 2\n'
    path.write_text(f'name = "x"\ntasks = ["Lift"]\nmeasure = false\n{rest}')
    without = load_sweep(str(path))
    kept = SweepSpec.parse(json.loads(without.model_dump_json()), "sweep.json")
    assert without.measure is None and kept == without == SweepSpec.parse({**GOOD, "measure": None}, "x")
    plans = [make_plan(s, provenance_of("cpu", "egl", {})) for s in (without, SweepSpec.parse(GOOD, "x"))]
    assert [len(plan.measurements) for plan in plans] == [0, 1]
    assert [cell.key for cell in plans[0].cells] == [cell.key for cell in plans[1].cells]


def test_all_that_is_missing_is_named_at_once() -> None:
    for given, names in (({}, "name, tasks, policies and evaluations"), ({"name": "x"}, "tasks, policies and evalua")):
        with pytest.raises(ConfigError, match=rf"f\.toml: expected values for {names}.*, but they are missing"):
            SweepSpec.parse(given, "f.toml")


class Chosen(Spec):
    """Settings as a plug-in's author may write them."""

    gamma: float | Literal["calibrated"] = "calibrated"
    betas: tuple[float, float] | None = None
    on: bool = True


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"gamma": "x"}, "gamma: expected a number or 'calibrated', got 'x'"),
        ({"betas": 1}, "betas: expected a list of 2 items, such as [1, 1], got 1"),
        ({"on": "maybe"}, "on: expected true or false, got 'maybe'"),
        ({"on": "x" * 200}, f"on: expected true or false, got '{'x' * 79}..."),
    ],
)
def test_faults_of_a_policys_settings_are_told_in_the_same_words(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Chosen.parse(values, "mine")
    assert str(caught.value) == f"mine: {told}"


def test_a_default_that_is_none_of_its_kind_is_refused() -> None:
    class Settings(Spec):
        action_horizon: int = "x"  # type: ignore[assignment]

    with pytest.raises(ConfigError, match="mine: action_horizon: expected a whole number, got 'x'"):
        Settings.parse({}, "mine")


WANTS = """
from altbench.api import Policy, Requirements
from altbench.api import Spec

class Mine(Policy):
    config_type = Spec
    requirements = {}
    def reset(self, slots, seeds): pass
    def act(self, observation, slots): pass
"""


@pytest.mark.parametrize(
    ("requirements", "told"),
    [
        ("Requirements((), action_horizon='x')", "action_horizon: expected a whole number, got 'x'"),
        ("Requirements((), obs_horizon=2.0)", "obs_horizon: expected a whole number, got 2.0"),
        ("None", "expected altbench.api.Requirements, got None"),
    ],
)
def test_requirements_of_another_kind_are_refused(tmp_path: Path, requirements: str, told: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(WANTS.format(requirements))
    with pytest.raises(ContractError) as caught:
        make_plan(
            SweepSpec.parse({**GOOD, "policies": [{"policy": f"{path}:Mine"}]}, "x"), provenance_of("cpu", "egl", {})
        )
    assert str(caught.value) == f"policy 'Mine': requirements: {told}"


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown sweep 'quik'; did you mean 'quick'"):
        load_sweep("quik")
    with pytest.raises(ConfigError, match="no such file"):
        load_sweep(str(tmp_path / "none.toml"))
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_sweep(str(broken))


@pytest.mark.parametrize(
    ("evaluation", "where"),
    [
        ({"perturbations": [{"name": "occlusion", "severities": []}]}, r"evaluations\.0\.perturbations\.0\.severities"),
        ({"n": []}, r"evaluations\.0\.n"),
        ({"policies": []}, r"evaluations\.0\.policies"),
    ],
)
def test_an_evaluation_that_would_ask_for_nothing_is_refused(evaluation: dict[str, Any], where: str) -> None:
    values = {"name": "a", "tasks": ["Lift"], "policies": [{"policy": "random"}]}
    with pytest.raises(ConfigError, match=where):
        SweepSpec.parse({**values, "evaluations": [{"split": "recall", **evaluation}]}, "a.toml")


@pytest.mark.parametrize("spelt", ["EGL", " egl ", "egl"])
def test_the_renderers_name_enters_keys_in_lower_case(monkeypatch: pytest.MonkeyPatch, spelt: str) -> None:
    monkeypatch.setenv("MUJOCO_GL", spelt)
    assert registry.select_backend() == "egl"
