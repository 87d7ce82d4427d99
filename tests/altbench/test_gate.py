"""The gate runs every test: what one command of tox leaves out, another one runs."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]


def gate_commands() -> str:
    """Return all commands that tox runs by default; `{[section]key}` stands for those of another part."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    chosen = "\n".join(tox[f"testenv:{name}"]["commands"] for name in re.split(r",\s*", tox["tox"]["env_list"]))
    return re.sub(r"\{\[([\w:]+)\](\w+)\}", lambda match: tox[match[1]][match[2]], chosen)


def test_every_test_is_in_one_command_that_tox_runs_by_default() -> None:
    expressions = sorted(re.findall(r"-m (\"not slow\"|slow)", gate_commands()))
    assert expressions == ['"not slow"', "slow"]
    assert "tox" in (ROOT / ".ci" / "run").read_text().split()


def test_tox_runs_every_static_check_by_default_and_builds_the_site_strictly() -> None:
    found = re.findall(r'"([^"]+)"', next(line for line in gate_commands().splitlines() if "beside.py" in line))
    assert found[:3] == ["ruff check .", "ruff format --check .", "mypy"]
    assert found[3].startswith("sphinx-build -q -W --keep-going ") and len(found) == 4


@pytest.mark.parametrize(("status", "said"), [(0, ""), (3, "failed with exit status 3")])
def test_commands_side_by_side_all_run_and_fail_if_one_does(status: int, said: str) -> None:
    commands = [
        f"{sys.executable} -S -c 'print({text!r}); raise SystemExit({status if text == 1 else 0})'" for text in (1, 2)
    ]
    script = str(ROOT / ".ci" / "beside.py")
    done = subprocess.run([sys.executable, script, *commands], capture_output=True, text=True, check=False)
    assert done.returncode == bool(status), done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line in "12"] == ["1", "2"] and said in done.stdout


def test_a_slow_test_whose_file_does_not_say_so_is_refused(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    # `-m slow` reads the files that say so alone.
    hooks = pytestconfig.pluginmanager.get_plugin(str(ROOT / "tests" / "conftest.py"))
    assert hooks is not None
    slow = SimpleNamespace(option=SimpleNamespace(markexpr="slow"))
    for text, said in (("from elsewhere import test_of_an_hour", False), ("@pytest.mark.slow", True)):
        file = tmp_path / f"test_{said}.py"
        file.write_text(text)
        item = SimpleNamespace(path=file, get_closest_marker=lambda name: name == "slow")
        assert (hooks.pytest_ignore_collect(file, slow) is None) is said
        if said:
            hooks.pytest_collection_modifyitems([item])
        else:
            with pytest.raises(pytest.UsageError, match=r"test_False\.py: a test is slow"):
                hooks.pytest_collection_modifyitems([item])
