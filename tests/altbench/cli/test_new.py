"""What `altbench new` writes works as it stands, and nothing is overwritten."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from altbench.cli.starting_points import TEMPLATES, write
from altbench.core.errors import AltbenchError, ConfigError

NAMES = {"policy": "MyPolicy", "sweep": "my_sweep", "perturbation": "stripes", "task": "MilkRun"}


def run_tests(folder: Path) -> None:
    """Run the tests in `folder` as their author would."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
@pytest.mark.sim
@pytest.mark.parametrize("kind", ["task", "sweep"])
def test_a_starting_point_passes_its_own_test_in_the_simulator(kind: str, tmp_path: Path) -> None:
    write(kind, NAMES[kind], tmp_path)
    run_tests(tmp_path)


@pytest.mark.parametrize("kind", ["policy", "perturbation"])
def test_a_starting_point_passes_its_own_test(kind: str, tmp_path: Path) -> None:
    write(kind, NAMES[kind], tmp_path)
    run_tests(tmp_path)


def test_starting_points_are_clean_under_the_linters_defaults(tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    for kind, name in NAMES.items():
        write(kind, name, tmp_path)
    for command in (["check"], ["format", "--check"]):
        # In the author's folder, where altbench is not the folder beside.
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", "."]
        done = subprocess.run(ruff, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", ["task", "perturbation"])
def test_a_package_names_what_its_module_holds(kind: str, tmp_path: Path) -> None:
    paths, _ = write(kind, NAMES[kind], tmp_path)
    project = next(path for path in paths if path.name == "pyproject.toml")
    points = tomllib.loads(project.read_text())["project"]["entry-points"]
    assert f"altbench.{kind}s" in points
    for own in points.values():
        for name, target in own.items():
            module, _, attribute = target.partition(":")
            assert name == NAMES[kind]
            assert f"class {attribute}(" in (project.parent / f"{module}.py").read_text()


def test_the_commands_that_are_advised_name_the_files_that_were_written(tmp_path: Path) -> None:
    paths, advice = write("policy", "MyPolicy", tmp_path)
    assert advice[1] == f"  pytest {paths[1]}"
    assert advice[2] == f"  altbench run smoke --policy {paths[0]}:MyPolicy --only MyPolicy"
    assert [path.name for path in paths] == ["my_policy.py", "test_my_policy.py"]


@pytest.mark.parametrize(
    ("name", "module", "cls"),
    [("MyPolicy", "my_policy", "MyPolicy"), ("my_policy", "my_policy", "MyPolicy"), ("ABNet2", "ab_net2", "ABNet2")],
)
def test_a_name_becomes_a_module_and_a_class(name: str, module: str, cls: str, tmp_path: Path) -> None:
    (path, _), _ = write("policy", name, tmp_path)
    assert path.stem == module and f"class {cls}(" in path.read_text()


@pytest.mark.parametrize("existing", ["my_policy.py", "test_my_policy.py"])
def test_nothing_is_overwritten_and_nothing_is_half_written(existing: str, tmp_path: Path) -> None:
    (tmp_path / existing).write_text("mine")
    with pytest.raises(ConfigError, match=f"{existing}: exists already, and nothing is overwritten"):
        write("policy", "MyPolicy", tmp_path)
    assert (tmp_path / existing).read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
    (tmp_path / existing).unlink()
    (tmp_path / existing).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="exists already"):
        write("policy", "MyPolicy", tmp_path)


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("policy", "my-policy", "expected a Python identifier that begins with a letter"),
        ("policy", "2nd", "expected a Python identifier"),
        ("policy", "../up", "expected a Python identifier"),
        ("policy", "_hidden", "expected a Python identifier"),
        ("policy", "größe", "expected a Python identifier"),
        ("policy", "class", "expected a Python identifier"),
        ("policy", "", "expected a Python identifier"),
        ("policy", "Diffusion", "there is a policy of that name already"),
        ("task", "lift", "there is a task of that name already"),
        ("perturbation", "fog", "there is a perturbation of that name already"),
        ("sweep", "quick", "there is a sweep of that name already"),
        ("policy", "statistics", "would hide the installed module 'statistics'"),
        ("task", "numpy", "would hide the installed module 'numpy'"),
    ],
)
def test_names_that_cannot_be_are_refused(kind: str, name: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        write(kind, name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AltbenchError, match="expected a folder"):
        write("sweep", "mine", tmp_path / "file")


def test_a_second_starting_point_may_stand_beside_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    write("policy", "MyPolicy", Path())
    with pytest.raises(ConfigError, match=r"my_policy\.py: exists already"):
        write("policy", "MyPolicy", Path())
    assert sorted(path.name for path in Path().iterdir()) == ["my_policy.py", "test_my_policy.py"]


def test_each_kind_has_templates_that_no_tool_takes_for_python() -> None:
    kinds = {folder.name: [path.suffix for path in folder.iterdir()] for folder in TEMPLATES.iterdir()}
    assert set(kinds) == set(NAMES)
    assert all(suffixes and set(suffixes) == {".template"} for suffixes in kinds.values())
