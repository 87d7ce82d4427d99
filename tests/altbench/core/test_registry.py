"""Names, and what they stand for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fakes
import gymnasium
import pytest

from altbench.core import registry
from altbench.core.errors import ConfigError, UnknownNameError
from altbench.core.seeds import STREAMS, derive_seed


@pytest.mark.parametrize("kind", ["task", "policy", "perturbation", "expert"])
def test_every_registered_name_leads_somewhere(kind: registry.Kind) -> None:
    find = {
        "task": registry.task,
        "policy": registry.policy,
        "perturbation": registry.perturbation,
        "expert": registry.expert,
    }
    for name in registry.names(kind):
        assert find[kind](name) is not None


def test_every_task_has_an_environment_and_an_expert() -> None:
    assert registry.names("task") == registry.names("expert")
    for name in registry.names("task"):
        assert gymnasium.spec(registry.task(name).env_id).kwargs == {"task": name}


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown task 'lfit'; did you mean 'Lift'"):
        registry.task("lfit")


def test_a_policy_of_ones_own_is_found_in_its_file(own_policies: Path, tmp_path: Path) -> None:
    assert registry.policy(f"{own_policies}:Good").name == "good"
    with pytest.raises(UnknownNameError, match=r"class in own_policies.py 'Goood'; did you mean 'Good'"):
        registry.policy(f"{own_policies}:Goood")
    with pytest.raises(ConfigError, match="there is no file"):
        registry.policy(f"{tmp_path}/none.py:Good")
    not_a_policy = tmp_path / "other.py"
    not_a_policy.write_text("Mine = int\n")
    with pytest.raises(ConfigError, match=r"expected a subclass of altbench\.api\.Policy"):
        registry.policy(f"{not_a_policy}:Mine")


@pytest.mark.parametrize("forgotten", ["{}", "{}:"])
def test_a_file_without_its_class_is_told_which_it_defines(tmp_path: Path, forgotten: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "raise SystemExit(3)\nclass Settings(Spec): pass\nclass Mine(api.Trainable): pass\nclass Other(Mine): pass\n"
    )
    told = r"expected PATH\.py:Class; it defines Mine, Other$"
    with pytest.raises(ConfigError, match=told):
        registry.policy(forgotten.format(path))


def test_what_looks_like_a_file_is_taken_for_one() -> None:
    for name in ("./nearest_pose", "nearest_pose.py", "here/alt"):
        with pytest.raises(ConfigError, match=rf"policy '{name}': expected PATH\.py:Class, but there is no file"):
            registry.policy(name)


def test_a_file_that_cannot_be_read_as_python_names_no_classes(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Mine(")
    with pytest.raises(ConfigError, match=r"expected PATH\.py:Class$"):
        registry.policy(str(tmp_path / "mine.py"))


@pytest.mark.parametrize("body", ["raise SystemExit(3)", "import no_such_module", "def"])
def test_a_file_that_ends_at_import_cannot_be_loaded(tmp_path: Path, body: str) -> None:
    (tmp_path / "mine.py").write_text(body)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"mine\.py cannot be loaded: (SystemExit|ModuleNotFound|Syntax)"):
            registry.policy(f"{tmp_path / 'mine.py'}:Mine")


def test_nothing_is_suggested_that_is_not_alike() -> None:
    with pytest.raises(UnknownNameError) as caught:
        registry.policy("nearest_pose")
    assert "did you mean" not in str(caught.value) and "(valid: act, alt, " in str(caught.value)


# ---------------------------------------------------------------------------------------------------- registering


@pytest.mark.parametrize(
    ("kind", "name", "target", "message"),
    [
        ("tsk", "Mine", "fakes:FakeTask", "unknown kind of plug-in 'tsk'; did you mean 'task'"),
        ("task", "my task", "fakes:FakeTask", "task 'my task': expected a name of letters, digits"),
        ("policy", "a/b", "fakes:FakeTask", "policy 'a/b': expected a name of letters, digits"),
        ("task", "Mine", "fakes.FakeTask", "expected \"module:attribute\" or the object itself, got 'fakes.FakeTask'"),
        ("task", "Lift", "fakes:FakeTask", "task 'Lift' is already registered, as altbench_envs.* pass replace=True"),
        ("task", "Fake", fakes.FakeTask, "task 'Fake' is already registered, as fakes:FakeTask"),
    ],
)
def test_what_cannot_be_registered_is_refused(kind: Any, name: str, target: object, message: str) -> None:
    before = {k: dict(registry.table(k)) for k in registry.GROUPS}
    with pytest.raises(ConfigError, match=message):
        registry.register(kind, name, target)
    assert {k: registry.table(k) for k in registry.GROUPS} == before


def test_registering_the_same_again_changes_nothing() -> None:
    before = registry.table("task")
    registry.register("task", "Fake", "fakes:FakeTask")
    assert registry.table("task") == before


def in_a_new_process(code: str, *places: Path) -> list[str]:
    """What `code` prints, line by line, with `places` on the path: what it registers is gone afterwards."""
    path = os.pathsep.join([*map(str, places), str(Path(fakes.__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


MINE = """
from dataclasses import replace
import fakes

class Mine(fakes.FakeTask):
    info = replace(fakes.TASK, name="Mine")

class Renamed(fakes.FakeTask):
    pass
"""


def test_a_registered_task_is_known_to_the_bench_and_to_gymnasium(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    code = """
import sys
import gymnasium
from altbench.api import ConfigError, register
from altbench.core import registry
register("task", "Mine", "mine:Mine")
register("task", "Renamed", "mine:Renamed")
register("task", "Missing", "mine:Missing")
print("mine" in sys.modules, registry.names("task")[-3:])
env = gymnasium.make("altbench/Mine-v0", obs_type="state")
print(type(env.unwrapped).__name__, env.unwrapped.info is registry.task("Mine"), env.unwrapped.obs_type)
for name in ("Renamed", "Missing"):
    try:
        registry.task(name)
    except ConfigError as error:
        print(error)
"""
    assert in_a_new_process(code, tmp_path) == [
        "False ['Mine', 'Missing', 'Renamed']",
        "Mine True state",
        "task 'Renamed': expected a TaskInfo of that name, got 'Fake'",
        "task 'Missing': mine:Missing, which it is registered as, cannot be loaded: "
        "module 'mine' has no attribute 'Missing'",
    ]


def test_objects_are_registered_and_replaced_on_request() -> None:
    code = """
import gymnasium
import fakes
from dataclasses import replace
from altbench.core import registry
from altbench.core.policy import Policy
from altbench.core.spec import Spec

class Mine(Policy[Spec]):
    name = "mine"

class Better(Mine):
    pass

class Lift(fakes.FakeTask):
    info = replace(fakes.TASK, name="Lift")

registry.register("policy", "mine", Mine)
print(registry.policy("mine") is Mine)
registry.register("policy", "mine", Better, replace=True)
print(registry.policy("mine") is Better)
registry.register("task", "Lift", Lift, replace=True)
print(registry.task("Lift") is Lift.info, isinstance(gymnasium.make("altbench/Lift-v0").unwrapped, Lift))
registry.register("task", "Empty", Spec)
try:
    registry.task("Empty")
except registry.ConfigError as error:
    print(error)
"""
    *true, refused = in_a_new_process(code)
    assert true == ["True", "True", "True True"]
    assert refused.startswith("task 'Empty': expected a class with `info`, a TaskInfo, and `make`, got <class ")


def test_third_parties_register_through_entry_points(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "mine-1.0.dist-info").mkdir()
    (tmp_path / "mine-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (tmp_path / "mine-1.0.dist-info" / "entry_points.txt").write_text(
        "[altbench.tasks]\nMine = mine:Mine\nLift = mine:Mine\nwith space = mine:Mine\n"
        "[altbench.experts]\nMine = fakes:FakeExpert\n"
    )
    code = """
import sys
import altbench
import gymnasium
from altbench.core import registry
print("mine" in sys.modules, registry.table("task")["Lift"].partition(":")[0])
print(type(gymnasium.make("altbench/Mine-v0").unwrapped).__name__, type(registry.expert("Mine")).__name__)
registry.register("task", "Mine", "mine:Mine")  # what is declared may be registered too
try:
    registry.task("with space")
except registry.ConfigError as error:
    print(error)
"""
    known, made, misspelt = in_a_new_process(code, tmp_path)
    assert known == "False altbench_envs.tasks.lift", "nothing is imported, and a built-in cannot be taken over"
    assert made == "Mine FakeExpert"
    assert misspelt.startswith("task 'with space': expected a name of letters, digits")


CHECKED = """
import altbench, gymnasium, sys
{late}
from altbench.checks import check_env
check_env("altbench/Mine-v0")
print(gymnasium.make("altbench/Mine-v0").unwrapped.info.name)
try:
    check_env("altbench/Mane-v0")
except altbench.AltbenchError as error:
    print(error)
"""


@pytest.mark.parametrize("late", [False, True], ids=["installed", "installed after the import"])
def test_a_packages_task_is_checked_by_its_id_alone(tmp_path: Path, late: bool) -> None:
    """As envs/README.md says: `check_env('altbench/Milk-v0')`, and nothing before it."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "mine-1.0.dist-info").mkdir()
    (tmp_path / "mine-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (tmp_path / "mine-1.0.dist-info" / "entry_points.txt").write_text("[altbench.tasks]\nMine = mine:Mine\n")
    code = CHECKED.format(late=f"sys.path.append({str(tmp_path)!r})" if late else "")
    found, refused = in_a_new_process(code, *(() if late else (tmp_path,)))
    assert found == "Mine"
    assert refused.startswith("unknown environment 'altbench/Mane-v0'; did you mean 'altbench/Mine-v0'?")


def test_spawned_workers_know_what_an_imported_module_registers(tmp_path: Path) -> None:
    """A worker knows what the module of its function registers, and not what its parent registered."""
    (tmp_path / "job.py").write_text(
        'from altbench.core import registry\nregistry.register("policy", "mine", "fakes:FakeTask")\n'
        'def known():\n    return [n for n in registry.names("policy") if n in ("mine", "parents")]\n'
    )
    code = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import job
from altbench.core import registry
registry.register("policy", "parents", "fakes:FakeTask")
with ProcessPoolExecutor(1, get_context("spawn")) as pool:
    print(job.known(), pool.submit(job.known).result())
"""
    assert in_a_new_process(code, tmp_path) == ["['mine', 'parents'] ['mine']"]


def test_streams_of_seeds_are_disjoint() -> None:
    seeds = {(s, i): derive_seed(r, s, i) for r in (0,) for s in STREAMS for i in range(500)}  # type: ignore[arg-type]
    assert len(set(seeds.values())) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds.values())
    assert derive_seed(0, "demo", 3) == derive_seed(0, "demo", 3) != derive_seed(1, "demo", 3)
