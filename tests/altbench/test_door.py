"""The door for scripts: what `import altbench` offers, and how little it loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import altbench as ab


def test_every_public_name_is_there_and_is_listed() -> None:
    assert set(ab.__all__) <= set(dir(ab))
    for name in ab.__all__:
        assert getattr(ab, name) is not None, name


def test_no_public_name_is_a_package_or_module() -> None:
    folder = Path(ab.__file__).parent
    inside = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert not inside & set(ab.__all__)


def test_the_checker_of_types_sees_the_same_names() -> None:
    source = Path(ab.__file__).read_text()
    imported = source.partition("if TYPE_CHECKING:")[2].partition("_PLACES")[0]
    missing = [name for name in ab.__all__ if name not in imported.replace(",", " ").split()]
    assert not missing


def test_a_name_that_does_not_exist_is_refused_with_where_to_look() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'make_coffee'.*dir\(altbench\)"):
        _ = ab.make_coffee


def test_importing_altbench_loads_none_of_its_packages_but_the_names() -> None:
    code = "import sys, altbench; print(*sorted(m for m in sys.modules if m.startswith('altbench.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # They choose numba's folder, which must come before anything imports numba.
    light = ("altbench.system", "altbench.system.cache", "altbench.system.numba_cache")
    assert not [name for name in done.stdout.split() if name.split(".")[1] != "core" and name not in light]


def test_names_of_what_there_is(fake_names: None = None) -> None:
    assert {"Lift", "Stack"} <= set(ab.list_tasks()) and "alt" in ab.list_policies()
    assert "fog" in ab.list_perturbations() and "quick" in ab.list_sweeps()
    assert ab.get_task("Lift").horizon > 0
    assert ab.make_perturbation("fog", 3).severity == 3


def test_a_policy_is_made_with_a_preset_and_settings_over_it() -> None:
    policy = ab.make_policy("bc", "Lift", train_steps=7)
    assert policy.config.train_steps == 7
    with pytest.raises(ab.AltbenchError, match=r"policy 'bc': unknown preset 'smal'; did you mean 'small'"):
        ab.make_policy("bc", "Lift", preset="smal")
    with pytest.raises(ab.AltbenchError, match=r"unknown key 'train_step'; did you mean 'train_steps'"):
        ab.make_policy("bc", "Lift", train_step=7)
