"""Names, and what they stand for."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import fakes
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
    tasks = set(registry.names("task")) - {"Fake"}
    assert tasks == set(registry.ENVIRONMENTS) == set(registry.names("expert")) - {"Fake"}


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


def test_third_parties_register_through_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(group: str) -> list[EntryPoint]:
        mine = EntryPoint("Theirs", "fakes:TASK", "altbench.tasks")
        shadow = EntryPoint("Lift", "fakes:TASK", "altbench.tasks")
        return [mine, shadow] if group == "altbench.tasks" else []

    monkeypatch.setattr(registry, "entry_points", found)
    registry.table.cache_clear()
    try:
        assert registry.task("Theirs") is fakes.TASK
        assert registry.task("Lift").name == "Lift", "a built-in cannot be taken over"
    finally:
        registry.table.cache_clear()


def test_streams_of_seeds_are_disjoint() -> None:
    seeds = {(s, i): derive_seed(r, s, i) for r in (0,) for s in STREAMS for i in range(500)}  # type: ignore[arg-type]
    assert len(set(seeds.values())) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds.values())
    assert derive_seed(0, "demo", 3) == derive_seed(0, "demo", 3) != derive_seed(1, "demo", 3)
