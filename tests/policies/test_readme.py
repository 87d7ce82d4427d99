"""The example in policies/README.md runs, and every policy passes the checker that ships with the bench."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from pathlib import Path

import fakes
import numpy as np
import pytest

from altbench.checks.policy import check_policy
from altbench.core import registry
from altbench.core.errors import ContractError
from altbench.core.policy import FitContext, Observation, Trainable
from altbench.dataset import files
from altbench.sweeps.overrides import with_policies
from altbench.sweeps.plan import make_plan
from altbench.sweeps.rows import provenance_of
from altbench.sweeps.spec import load_sweep

ROOT = Path(__file__).parents[2]


def two_slots(observe, demonstrations, horizon):
    """One slot in each of two demonstrations."""
    first, second = (observe(demonstrations[i], [5], horizon) for i in (0, 2))
    pixels = {c: np.concatenate([first.pixels[c], second.pixels[c]]) for c in first.pixels}
    return Observation(pixels, np.concatenate([first.agent_pos, second.agent_pos]))


@pytest.mark.parametrize("name", ["alt", "bc", "diffusion", "fisher", "kdtree", "open_loop", "random", "vinn"])
def test_built_in_policies_pass_the_checker(name, fit_policy, observe, demonstrations):
    policy = fit_policy(name)
    check_policy(policy, two_slots(observe, demonstrations, policy.requirements.obs_horizon))


def readme_code():
    """Return the README's two pieces of Python: a policy, and its check."""
    readme = (ROOT / "policies" / "README.md").read_text(encoding="utf-8")
    example, check = re.findall(r"^```python\n(.*?)^```$", readme, flags=re.DOTALL | re.MULTILINE)
    return example, check


@pytest.mark.parametrize("broken", [False, True])
def test_the_lines_that_check_the_example_find_faults_alone(tmp_path, monkeypatch, broken):
    example, check = readme_code()
    if broken:
        example = example.replace("[distance.argmin(axis=1)]", "[np.random.randint(len(distance[0]), size=len(slots))]")
    (tmp_path / "nearest_pose.py").write_text(example, encoding="utf-8")
    files.write(tmp_path / "data" / "Lift.hdf5", fakes.make_demonstrations(3), fakes.make_meta())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ContractError, match="decisions") if broken else contextlib.nullcontext():
        exec(compile(check, "README.md", "exec"), {})


def test_the_row_of_a_policys_file_is_called_by_its_class_and_keyed_by_the_file_alone(tmp_path):
    path = tmp_path / "nearest_pose.py"
    (tmp_path / "helper.py").write_text("", encoding="utf-8")
    keys = []
    for addition in ("", "", "# edited\n"):
        path.write_text(readme_code()[0] + addition, encoding="utf-8")
        (tmp_path / "helper.py").write_text(f"NUMBER = {len(keys)}\n", encoding="utf-8")
        sweep = with_policies(load_sweep("quick"), [f"{path}:NearestPose"])
        cells = make_plan(sweep, provenance_of("cpu", "none", {})).cells
        keys.append(next(c.key for c in cells if c.name == "lift/NearestPose/n30/s0/recall/clean"))
    assert keys[0] == keys[1] != keys[2]


def test_the_example_is_a_policy(task, observe, demonstrations, tmp_path):
    (tmp_path / "nearest_pose.py").write_text(readme_code()[0], encoding="utf-8")
    kind = registry.policy(f"{tmp_path / 'nearest_pose.py'}:NearestPose")
    policy, again = (kind(task, kind.config_type()) for _ in range(2))
    assert isinstance(policy, Trainable)
    policy.fit(demonstrations, FitContext(0))
    (tmp_path / "saved").mkdir()
    policy.save(tmp_path / "saved")
    again.load(tmp_path / "saved")
    seen = two_slots(observe, demonstrations, 1)
    check_policy(again, seen)
    again.reset([0], [0])
    one = dataclasses.replace(seen, agent_pos=demonstrations[0].agent_pos[None, 5:6])
    np.testing.assert_array_equal(again.act(one, [0]).actions[0], demonstrations[0].actions[5:13])
